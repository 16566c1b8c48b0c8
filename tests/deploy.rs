//! The files that others run us by: `docker-compose.yml`, `deploy/kubernetes.yaml`, the dashboard and the alerts. Without an
//! engine or a cluster; `tests/compose.rs` has the engine. Python, or its packages, missing: SKIPPED.

#[path = "support/python.rs"]
mod python;
#[path = "support/say.rs"]
mod say;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use clap::Parser as _;
use quorate::agent::calendar::Calendar;
use quorate::cli::Cli;
use say::say;
use serde_json::Value;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Made once, whichever test is first.
fn python() -> Result<PathBuf, String> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let make = || python::with_packages("deploy", &repository().join("tests/compose/requirements.txt"));
    MADE.get_or_init(make).clone()
}

/// The metrics that an expression names.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("quorate_"))
}

/// The metrics that there are; that the list is complete and true is shown by the tests of the admin port.
fn described() -> BTreeSet<String> {
    let manual = read("docs/observability.md");
    let section = manual.split("\n## Metrics\n").nth(1).expect("a section about metrics");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut names = BTreeSet::new();
    for row in rows.map(|row| row.split('{').next().unwrap_or(row)) {
        names.insert(row.to_owned());
        for part in ["_bucket", "_sum", "_count"] {
            names.insert(format!("{row}{part}"));
        }
    }
    names
}

#[test]
fn the_dashboard_shows_metrics_that_exist_and_leaves_none_out() {
    let dashboard: Value =
        serde_json::from_str(&read("deploy/grafana/dashboards/quorate.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let described = described();
    let mut shown = BTreeSet::new();
    for panel in panels {
        let row = panel["type"] == "row";
        assert!(
            row || panel["description"].as_str().is_some_and(|text| !text.is_empty()),
            "{}",
            panel["title"]
        );
        for target in panel["targets"].as_array().into_iter().flatten() {
            for metric in metrics(target["expr"].as_str().expect("an expression")) {
                assert!(described.contains(metric), "{}: {metric}", panel["title"]);
                let name = ["_bucket", "_sum", "_count"].iter().find_map(|part| metric.strip_suffix(part));
                shown.insert(name.unwrap_or(metric).to_owned());
            }
        }
    }
    let manual = read("docs/observability.md");
    let all = manual.lines().filter_map(|line| line.strip_prefix("| `quorate_")?.split(['`', '{']).next());
    let missing: Vec<_> =
        all.map(|name| format!("quorate_{name}")).filter(|name| !shown.contains(name)).collect();
    assert_eq!(missing, Vec::<String>::new(), "not on the dashboard");
}

#[test]
fn manifests_are_valid_and_run_commands_that_exist() {
    let interpreter = match python() {
        Ok(interpreter) => interpreter,
        Err(why) => return say(&format!("SKIPPED: tests/compose/manifests.py: {why}")),
    };
    let mut check = Command::new(interpreter);
    check.arg("-B").arg(repository().join("tests/compose/manifests.py")).arg(repository());
    let output = check.output().expect("the interpreter of the virtual environment starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");

    let lines = |of: &str| -> BTreeMap<String, Vec<String>> {
        serde_json::from_value(found[of].clone()).expect("arguments by name")
    };
    for (of, names) in [("kubernetes", 2), ("compose", 5)] {
        let containers = lines(of);
        assert_eq!(containers.len(), names, "{containers:?}");
        for (name, arguments) in containers {
            let read = Cli::try_parse_from([vec!["quorate".to_owned()], arguments].concat());
            assert!(
                read.is_ok(),
                "{of}, {name}: {}",
                read.err().map(|error| error.to_string()).unwrap_or_default()
            );
        }
    }
    let checks = lines("checks");
    assert_eq!(checks.len(), 5, "{checks:?}");
    for (name, command) in checks {
        let read = Cli::try_parse_from(&command);
        assert!(read.is_ok(), "{name}: {}", read.err().map(|error| error.to_string()).unwrap_or_default());
    }
    let described = described();
    let alerts: Vec<String> = serde_json::from_value(found["alerts"].clone()).expect("expressions");
    for metric in alerts.iter().flat_map(|expression| metrics(expression)) {
        assert!(described.contains(metric), "alerts.yml: {metric}");
    }
    let mut calendars: BTreeMap<String, String> =
        serde_json::from_value(found["calendars"].clone()).expect("calendars");
    calendars.insert("charlie.ics".into(), read("deploy/calendars/charlie.ics"));
    for (name, text) in calendars {
        let calendar = Calendar::parse(&name, &text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(calendar.problem_count(), 0, "{name}");
    }
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let mut promtool = Command::new("promtool");
    promtool.current_dir(repository()).args(["test", "rules", "tests/compose/alerts.yml"]);
    let Ok(output) = promtool.output() else {
        return say("SKIPPED: tests/compose/alerts.yml: no promtool here; tests/compose.rs has one");
    };
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn both_generations_of_compose_read_the_file() {
    let mut programs = Vec::new();
    match python() {
        Ok(interpreter) => programs.push(interpreter.with_file_name("docker-compose")),
        Err(why) => say(&format!("SKIPPED: docker-compose 2 on docker-compose.yml: {why}")),
    }
    match Command::new("docker-compose").args(["version", "--short"]).output() {
        Ok(output) if output.status.success() => programs.push("docker-compose".into()),
        _ => say("SKIPPED: no docker-compose here to read docker-compose.yml"),
    }
    for program in programs {
        let output = Command::new(&program)
            .current_dir(repository())
            .args(["--profile", "observability", "config", "--services"])
            .output()
            .expect("it starts");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {err}", program.display());
        assert!(!err.to_lowercase().contains("warn"), "{}: {err}", program.display());
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let services: BTreeSet<&str> = out.lines().collect();
        let all = ["alice", "bob", "book", "charlie", "grafana", "jaeger", "prometheus", "scheduler"];
        assert_eq!(services, all.into(), "{}", program.display());
    }
}
