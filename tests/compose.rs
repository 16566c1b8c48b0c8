//! The compose file and the image that users get, on a real engine: booked, restarted, killed, cut off, put down and up again.
//!
//! Takes minutes, so only with COMPOSE=1 (`COMPOSE=1 cargo test --test compose`, as CI does); without it, or without an
//! engine, it says SKIPPED, and passes. Base images that can't be pulled are made by `tests/compose/base-images.sh`.

#[path = "compose/project.rs"]
mod project;
#[path = "support/python.rs"]
mod python;
#[path = "support/say.rs"]
mod say;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use project::{AGENTS, IMAGE, Project, answer, docker, http, percent, repository, succeed, until};
use say::say;
use serde_json::Value;

/// The image, built once; one test at a time uses the engine. The error says why there is none.
fn engine() -> Result<MutexGuard<'static, ()>, String> {
    static IMAGE_BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    IMAGE_BUILT.get_or_init(build).clone().map(|()| turn)
}

fn build() -> Result<(), String> {
    if std::env::var("COMPOSE").as_deref() != Ok("1") {
        return Err("it takes minutes; COMPOSE=1 runs it".into());
    }
    let bases = Command::new(repository().join("tests/compose/base-images.sh")).output();
    let bases = bases.map_err(|error| format!("tests/compose/base-images.sh: {error}"))?;
    let said = String::from_utf8_lossy(&bases.stdout).into_owned();
    match bases.status.code() {
        Some(0) => {}
        Some(3) => {
            let why = said.lines().find_map(|line| line.strip_prefix("SKIPPED: "));
            return Err(why.unwrap_or("no base images").to_owned());
        }
        _ => panic!("base-images.sh: {said}{}", String::from_utf8_lossy(&bases.stderr)),
    }
    say(&said);
    let mut build = Command::new("docker");
    build.current_dir(repository()).env("DOCKER_BUILDKIT", "0");
    build.args(["build", "--quiet", "--build-arg", "PROFILE=dev", "--tag", IMAGE, "."]);
    succeed(&mut build);
    Ok(())
}

/// The program that is `docker-compose` here, if any.
fn compose_here() -> Option<String> {
    let output = Command::new("docker-compose").args(["version", "--short"]).output().ok()?;
    output.status.success().then(|| "docker-compose".to_owned())
}

/// docker-compose 2, from PyPI: the engine's plugin as a program.
fn compose_two() -> Result<String, String> {
    let interpreter = python::with_packages("deploy", &repository().join("tests/compose/requirements.txt"))?;
    Ok(interpreter.with_file_name("docker-compose").display().to_string())
}

/// A booked meeting, as its organizer was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Booked {
    id: String,
    etag: String,
    start: String,
    with: BTreeSet<String>,
}

impl Booked {
    fn of(meeting: &Value) -> Self {
        assert_eq!(meeting["state"], "STATE_CONFIRMED", "{meeting:#}");
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{meeting:#}")).to_owned();
        let attendees = meeting["attendees"].as_array().expect("attendees");
        for attendee in attendees {
            assert_eq!(attendee["status"], "STATUS_ATTENDING", "{meeting:#}");
        }
        Self {
            id: text(&meeting["meetingId"]),
            etag: text(&meeting["etag"]),
            start: text(&meeting["slot"]["startTime"]),
            with: attendees.iter().map(|attendee| text(&attendee["participantId"])).collect(),
        }
    }

    /// The start as a calendar writes it.
    fn in_calendar(&self) -> String {
        self.start.replace(['-', ':'], "")
    }
}

/// Everything that was promised is kept: by the scheduler, and in the calendars of all who attend.
fn kept(project: &Project, promised: &[Booked]) {
    let (code, all) = project.quorate("scheduler", &["list", "--state", "confirmed", "--all"]);
    assert_eq!(code, 0, "{all}");
    let mut there: Vec<Booked> =
        all["meetings"].as_array().expect("meetings").iter().map(Booked::of).collect();
    let mut expected = promised.to_vec();
    there.sort_by(|a, b| a.id.cmp(&b.id));
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(there, expected, "the scheduler knows what it promised, and nothing else");
    for agent in AGENTS {
        let file = format!("/var/lib/quorate/{agent}.quorate.ics");
        let theirs: BTreeSet<(&str, String)> = promised
            .iter()
            .filter(|booked| booked.with.contains(agent))
            .map(|booked| (booked.id.as_str(), booked.in_calendar()))
            .collect();
        until(&format!("{agent}'s calendar holds what was promised"), || {
            let calendar = docker(&["exec", &project.container(agent), "cat", &file]);
            let events = calendar.matches("BEGIN:VEVENT").count();
            let all =
                theirs.iter().all(|(id, start)| calendar.contains(id) && calendar.contains(start.as_str()));
            if all && events == theirs.len() { Ok(()) } else { Err(format!("{theirs:?} of {calendar}")) }
        });
    }
}

/// Books a meeting of half an hour.
fn book(project: &Project, with: &str, more: &[&str]) -> (i32, Value) {
    let arguments = [&["schedule", "--with", with, "--duration", "30m"], more].concat();
    project.quorate("scheduler", &arguments)
}

/// What the service `book` has booked: it ends well, and there is one meeting for all three.
fn booked_by_itself(project: &Project) -> Booked {
    let code = docker(&["wait", &project.container("book")]);
    let said = docker(&["logs", &project.container("book")]);
    assert_eq!(code.trim(), "0", "{said}");
    let (_, all) = project.quorate("scheduler", &["list", "--all"]);
    assert_eq!(all["meetings"].as_array().map(Vec::len), Some(1), "{all:#}");
    let booked = Booked::of(&all["meetings"][0]);
    assert_eq!(all["meetings"][0]["spec"]["title"], "Roadmap");
    assert_eq!(booked.with, AGENTS.map(str::to_owned).into());
    assert!(said.contains(&booked.id), "{said}");
    booked
}

#[test]
fn every_promise_is_kept() {
    let Some(program) = compose_here() else { return say("SKIPPED: tests/compose: no docker-compose") };
    let _turn = match engine() {
        Ok(turn) => turn,
        Err(why) => return say(&format!("SKIPPED: tests/compose: {why}")),
    };
    let project = Project::new(&program, "promises");
    project.run(&["config", "--quiet"]);
    project.up();
    let roadmap = booked_by_itself(&project);
    project.all_healthy();
    let mut promised = vec![roadmap];
    kept(&project, &promised);
    nothing_more_than_needed(&project);

    // Asked for again, it is the same meeting.
    project.up();
    assert_eq!(docker(&["wait", &project.container("book")]).trim(), "0");
    kept(&project, &promised);

    project.run(&["restart", "scheduler"]);
    project.all_healthy();
    kept(&project, &promised);

    for service in ["scheduler", "alice"] {
        project.kill(service);
        project.all_healthy();
        kept(&project, &promised);
        let with = ["--connect-timeout", "60s"];
        let (code, answer) = book(&project, "alice,bob", &with);
        assert_eq!(code, 0, "{answer:#}");
        promised.push(Booked::of(&answer["meeting"]));
        kept(&project, &promised);
    }

    promised.push(killed_while_it_books(&project));
    kept(&project, &promised);
    cut_off(&project, &mut promised);
    kept(&project, &promised);
    scheduler_cut_off(&project, &mut promised);
    kept(&project, &promised);

    backed_up_and_restored(&project);
    kept(&project, &promised);

    let ended = project.down();
    let clean = ["alice", "bob", "charlie", "scheduler"].map(|service| (service.to_owned(), "0".to_owned()));
    assert_eq!(ended, clean, "each one drains and ends by itself");
    project.up();
    project.all_healthy();
    assert_eq!(docker(&["wait", &project.container("book")]).trim(), "0");
    kept(&project, &promised);

    project.remove();
    assert_eq!(project.left_over(), "");
}

/// As docs/operations.md has it: a backup of the running scheduler comes out of its volume, and goes back into it.
fn backed_up_and_restored(project: &Project) {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("backup.db").display().to_string();
    let (dir, file) = ("/var/lib/quorate", "/var/lib/quorate/backup.db");
    let scheduler = project.container("scheduler");
    docker(&["exec", &scheduler, "quorate", "backup", "--data-dir", dir, "--to", file, "--force"]);
    docker(&["cp", &format!("{scheduler}:{file}"), &copy]);
    docker(&["exec", &scheduler, "rm", file]);
    project.run(&["stop", "scheduler"]);
    succeed(Command::new("chmod").args(["a+r", &copy]));
    docker(&["cp", &copy, &format!("{scheduler}:{file}")]);
    let restore = ["restore", "--data-dir", dir, "--from", file, "--force"];
    let said = project.run(&[&["run", "--rm", "--no-deps", "-T", "scheduler"], &restore[..]].concat());
    assert!(said.contains("quorate.db.replaced"), "{said}");
    project.up();
    project.all_healthy();
}

/// What the compose file says of rights, as the engine has it.
fn nothing_more_than_needed(project: &Project) {
    for service in ["scheduler", "alice", "bob", "charlie"] {
        let container = project.inspect(service);
        let (host, config) = (&container["HostConfig"], &container["Config"]);
        assert_eq!(config["User"], "10001:10001", "{service}");
        assert_eq!(config["StopSignal"], "SIGTERM", "{service}");
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]), "{service}");
        assert_eq!(host["SecurityOpt"], serde_json::json!(["no-new-privileges:true"]), "{service}");
        assert_eq!(host["RestartPolicy"]["Name"], "unless-stopped", "{service}");
        assert!(host["Memory"].as_i64() > Some(0) && host["PidsLimit"].as_i64() > Some(0), "{service}");
        for published in container["NetworkSettings"]["Ports"].as_object().expect("ports").values() {
            for binding in published.as_array().into_iter().flatten() {
                assert_eq!(binding["HostIp"], "127.0.0.1", "{service}");
            }
        }
        let writable = container["Mounts"].as_array().expect("mounts").iter().filter(|m| m["RW"] == true);
        let places: Vec<&Value> = writable.map(|mount| &mount["Destination"]).collect();
        assert_eq!(places, ["/var/lib/quorate"], "{service}");
    }
}

/// The scheduler is killed while a request is on its way; whoever asks again gets its one outcome.
fn killed_while_it_books(project: &Project) -> Booked {
    let id = "3f0f5f1e-55d3-4f6e-9c56-0b7d0c1d9a11";
    let ask = |wait| {
        let more = ["--duration", "30m", "--request-id", id, "--connect-timeout", wait];
        project
            .quorate_command("scheduler", &[&["schedule", "--with", "alice,bob,charlie"], &more[..]].concat())
    };
    let mut begun = ask("60s").stdout(std::process::Stdio::null()).spawn().expect("docker starts");
    project.kill("scheduler");
    begun.wait().expect("it ends with its container");
    project.all_healthy();
    let (code, told) = answer(&ask("60s").output().expect("docker starts"));
    assert_eq!(code, 0, "{told:#}");
    Booked::of(&told["meeting"])
}

/// Bob is cut off: nothing is booked with him, and it is said why; others go on; afterwards he is there again.
fn cut_off(project: &Project, promised: &mut Vec<Booked>) {
    let (bob, network) = (project.container("bob"), project.network());
    docker(&["network", "disconnect", "--force", &network, &bob]);
    let (code, refused) = book(project, "alice,bob", &[]);
    assert_eq!(code, 3, "{refused:#}");
    let meeting = &refused["meeting"];
    assert_eq!(meeting["state"], "STATE_FAILED", "{refused:#}");
    assert_eq!(meeting["failure"]["reason"], "REASON_QUORUM_UNREACHABLE", "{refused:#}");
    let message = meeting["failure"]["message"].as_str().expect("a message");
    assert!(message.contains("bob"), "{message}");
    let (code, told) = book(project, "alice,charlie", &[]);
    assert_eq!(code, 0, "{told:#}");
    promised.push(Booked::of(&told["meeting"]));

    docker(&["network", "connect", &network, &bob]);
    until("bob reaches the scheduler", || {
        let (code, said) = project.quorate("bob", &["health", "--participant", "bob"]);
        if code == 0 { Ok(()) } else { Err(said.to_string()) }
    });
    let patient = ["--connect-timeout", "60s", "--response-timeout", "40s", "--timeout", "120s"];
    let (code, told) = book(project, "alice,bob,charlie", &patient);
    assert_eq!(code, 0, "{told:#}");
    promised.push(Booked::of(&told["meeting"]));
    project.all_healthy();
}

/// The scheduler is cut off from everybody: it books nothing with people who can't answer; afterwards all go on.
fn scheduler_cut_off(project: &Project, promised: &mut Vec<Booked>) {
    let (scheduler, network) = (project.container("scheduler"), project.network());
    docker(&["network", "disconnect", "--force", &network, &scheduler]);
    // Whoever is in there still has its loopback, though nobody to ask for names.
    let within = ["--scheduler", "http://127.0.0.1:50051", "--response-timeout", "2s"];
    let (code, refused) = book(project, "alice,bob", &within);
    assert_eq!(code, 3, "{refused:#}");
    assert_eq!(refused["meeting"]["state"], "STATE_FAILED", "{refused:#}");

    docker(&["network", "connect", "--alias", "scheduler", &network, &scheduler]);
    for agent in AGENTS {
        until(&format!("{agent} reaches the scheduler"), || {
            let (code, said) = project.quorate(agent, &["health", "--participant", agent]);
            if code == 0 { Ok(()) } else { Err(said.to_string()) }
        });
    }
    let patient = ["--connect-timeout", "60s", "--response-timeout", "40s", "--timeout", "120s"];
    let (code, told) = book(project, "alice,bob,charlie", &patient);
    assert_eq!(code, 0, "{told:#}");
    promised.push(Booked::of(&told["meeting"]));
    project.all_healthy();
}

#[test]
fn compose_two_books_drains_and_cleans_up() {
    let _turn = match engine() {
        Ok(turn) => turn,
        Err(why) => return say(&format!("SKIPPED: tests/compose with docker-compose 2: {why}")),
    };
    let program = match compose_two() {
        Ok(program) => program,
        Err(why) => return say(&format!("SKIPPED: tests/compose with docker-compose 2: {why}")),
    };
    let project = Project::new(&program, "two");
    assert!(project.run(&["version", "--short"]).trim().starts_with('2'));
    project.up();
    let promised = [booked_by_itself(&project)];
    project.all_healthy();
    kept(&project, &promised);
    let ended = project.down();
    let clean = ["alice", "bob", "charlie", "scheduler"].map(|service| (service.to_owned(), "0".to_owned()));
    assert_eq!(ended, clean);
    project.remove();
    assert_eq!(project.left_over(), "");
}

/// Each expression of the dashboard, with the title of its panel, and with values for what Grafana fills in.
fn expressions() -> Vec<(String, String)> {
    let file = repository().join("deploy/grafana/dashboards/quorate.json");
    let dashboard = std::fs::read_to_string(file).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("an expression");
            let expression = expression.replace("$__rate_interval", "1m").replace("$__range", "1h");
            found.push((title.to_owned(), expression));
        }
    }
    found
}

/// The README's way: the booking comes first, and whoever then asks for the dashboard has the scheduler started anew, since
/// traces have somewhere to go. The meeting is on the dashboard all the same.
fn with_observability_later(project: &Project) -> Booked {
    project.up();
    let booked = booked_by_itself(project);
    let before = project.container("scheduler");
    let mut again = project.compose(&["up", "-d", "--no-build"]);
    again.args(["scheduler", "alice", "bob", "charlie", "book", "prometheus"]);
    succeed(again.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://jaeger:4317"));
    assert_ne!(project.container("scheduler"), before, "its counters begin anew");
    assert_eq!(docker(&["wait", &project.container("book")]).trim(), "0");
    booked
}

/// The picture for who has no Grafana.
fn draws_the_dashboard(prometheus: &str) {
    let folder = repository().join("deploy/grafana");
    let interpreter = match python::with_packages("draw", &folder.join("requirements.txt")) {
        Ok(interpreter) => interpreter,
        Err(why) => return say(&format!("SKIPPED: deploy/grafana/draw.py: {why}")),
    };
    let picture = tempfile::Builder::new().suffix(".png").tempfile().expect("a file");
    let mut draw = Command::new(interpreter);
    draw.arg(folder.join("draw.py")).args([
        "--minutes",
        "5",
        "--prometheus",
        &format!("http://{prometheus}"),
    ]);
    let drawn = draw.arg("--out").arg(picture.path()).output().expect("Python starts");
    let said = String::from_utf8_lossy(&drawn.stderr);
    assert!(drawn.status.success(), "{said}");
    assert!(std::fs::read(picture.path()).expect("a picture").starts_with(b"\x89PNG"), "{said}");
    // What is a gauge has a value from the first scrape on.
    for title in ["Ready", "Participants connected", "Booked meetings", "Version", "Up"] {
        assert!(!said.lines().any(|line| line == format!("no data: {title}")), "{said}");
    }
}

#[test]
fn prometheus_reads_what_the_dashboard_shows() {
    let Some(program) = compose_here() else { return say("SKIPPED: tests/compose: no docker-compose") };
    let _turn = match engine() {
        Ok(turn) => turn,
        Err(why) => return say(&format!("SKIPPED: tests/compose, Prometheus: {why}")),
    };
    for name in ["grafana/grafana", "jaegertracing/jaeger"] {
        say(&format!("SKIPPED: {name} is not run: only its configuration is looked at"));
    }
    let project = Project::new(&program, "prometheus");
    let booked = with_observability_later(&project);
    let prometheus = project.container("prometheus");
    let checked =
        docker(&["exec", &prometheus, "promtool", "check", "config", "/etc/prometheus/prometheus.yml"]);
    assert!(checked.contains("alerts.yml"), "{checked}");
    let image = project.inspect("prometheus")["Config"]["Image"].as_str().expect("a name").to_owned();
    let files = format!("{}:/quorate:ro", repository().display());
    let promtool = ["run", "--rm", "--network=none", "--volume", &files, "--entrypoint=promtool", &image];
    docker(&[&promtool[..], &["test", "rules", "/quorate/tests/compose/alerts.yml"]].concat());
    let address = project.run(&["port", "prometheus", "9090"]).trim().to_owned();
    let query = |expression: &str| -> Result<Value, String> {
        let body = http(&address, &format!("/api/v1/query?query={}", percent(expression)))?;
        serde_json::from_str(&body).map_err(|error| error.to_string())
    };
    let expressions = expressions();
    let (_, panel) = expressions.iter().find(|(title, _)| title == "Booked meetings").expect("a panel");
    until("the dashboard shows the booking", || {
        let seen = query(panel)?;
        if seen["data"]["result"][0]["value"][1] == "1" { Ok(()) } else { Err(seen.to_string()) }
    });
    kept(&project, &[booked]);
    let names = http(&address, "/api/v1/label/__name__/values").expect("names");
    let names: Value = serde_json::from_str(&names).expect("JSON");
    let names: BTreeSet<&str> =
        names["data"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    assert!(expressions.len() > 40, "{}", expressions.len());
    for (_, expression) in &expressions {
        let answer = query(expression).unwrap_or_else(|why| panic!("{expression}: {why}"));
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for metric in words.filter(|word| word.starts_with("quorate_") || word.starts_with("process_")) {
            assert!(names.contains(metric), "{expression}: there is no {metric} in {names:?}");
        }
    }
    let rules: Value = serde_json::from_str(&http(&address, "/api/v1/rules").expect("rules")).expect("JSON");
    for rule in rules["data"]["groups"][0]["rules"].as_array().expect("rules") {
        assert_ne!(rule["health"], "err", "{rule:#}");
    }
    draws_the_dashboard(&address);
    let ended: BTreeSet<String> = project.down().into_iter().map(|(service, _)| service).collect();
    assert!(ended.contains("prometheus") && ended.contains("scheduler"), "{ended:?}");
    project.remove();
    assert_eq!(project.left_over(), "");
}
