use std::collections::BTreeSet;
use std::path::Path;

use clap::{Args, CommandFactory, Parser};

use super::check::{CheckArgs, check};
use super::*;
use crate::cli::Command;
use crate::cli::secret::SecretFile;

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");
const EXAMPLE: &str = include_str!("../../../examples/quorate.toml");

fn read(text: &str) -> Result<ConfigFile, Problems> {
    ConfigFile::parse(Path::new("q.toml"), text, &Cli::command())
}

/// All problems of a text.
fn problems(text: &str) -> Vec<String> {
    read(text).map(|file| panic!("{text} was taken: {file:?}")).unwrap_or_else(|problems| problems.0)
}

fn resolve(text: &str, line: &str) -> Result<Resolved, Stop> {
    let line = line.split(' ').map(OsString::from).collect();
    Ok(Resolved::of(Cli::command(), line, Some(&read(text).unwrap()))?.unwrap())
}

/// One row of the document's tables.
fn row(key: &Key) -> String {
    let code = |text: Option<String>| text.map_or_else(|| "–".to_owned(), |text| format!("`{text}`"));
    let help = key.arg.get_help().map(ToString::to_string).unwrap_or_default();
    // A bar would end the cell.
    let value = key.arg.get_value_names().map(|names| names[0].to_string()).unwrap_or_default();
    let value = match key.kind {
        schema::Kind::Text => format!("string: {}", value.replace('|', " or ")),
        other => other.words().to_owned(),
    };
    let default = key.default().or_else(|| (key.kind == schema::Kind::Flag).then(|| "false".to_owned()));
    format!(
        "| `{}` | {value} | {} | `{}` | {} | {} |",
        key.name,
        code(default),
        key.flag(),
        code(key.variable()),
        help.replace('|', "\\|")
    )
}

#[test]
fn the_document_has_every_key_and_no_other() {
    let keys = schema::keys(&Cli::command());
    let wanted: Vec<String> = keys.iter().map(row).collect();
    let documented: Vec<&str> = DOCUMENT.lines().filter(|line| line.starts_with("| `")).collect();
    let missing: Vec<_> = wanted.iter().filter(|row| !documented.contains(&row.as_str())).collect();
    let stale: Vec<_> = documented.iter().filter(|row| !wanted.iter().any(|wanted| wanted == *row)).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "docs/configuration.md lacks these rows:\n{missing:#?}\nand has these, which are no more:\n{stale:#?}"
    );
    for table in schema::tables(&keys) {
        assert!(DOCUMENT.contains(&format!("## `[{table}]`")), "no section for [{table}]");
    }
}

#[test]
fn every_option_has_a_variable_of_its_own() {
    let keys = schema::keys(&Cli::command());
    let mut variables = BTreeSet::new();
    for key in &keys {
        let variable = key.variable().unwrap_or_else(|| panic!("{}.{} has no variable", key.table, key.name));
        assert!(variable.starts_with("QUORATE_"), "{variable}");
        assert!(variables.insert(variable.clone()), "{variable} is taken twice");
        // A secret is given by file only.
        let secret = ["secret", "password", "token", "headers"].iter().any(|word| key.name.contains(word));
        assert!(!secret || key.is_secret_file(), "{}.{}", key.table, key.name);
    }
}

#[test]
fn the_example_is_taken() {
    let file = read(EXAMPLE).unwrap();
    let tables: BTreeSet<_> = file.values.keys().map(|(table, _)| *table).collect();
    assert_eq!(tables, BTreeSet::from(["serve", "agent", "log"]));
    let serve = resolve(EXAMPLE, "quorate serve").unwrap();
    let Command::Serve(args) = Cli::from_arg_matches(&serve.matches).unwrap().command else { panic!() };
    assert_eq!(args.data_dir.as_deref(), Some(Path::new("/var/lib/quorate")));
    assert_eq!((args.max_requests_per_caller, args.max_priority), (500, 80));
    let agent = resolve(EXAMPLE, "quorate agent").unwrap();
    let Command::Agent(args) = Cli::from_arg_matches(&agent.matches).unwrap().command else { panic!() };
    assert_eq!(args.calendar, Path::new("/srv/calendars"));
    assert_eq!(args.working_hours.len(), 2);
    assert_eq!(args.log, "info,quorate=debug");
}

#[test]
fn flags_win_over_the_file() {
    let text =
        "[serve]\nlisten = \"127.0.0.1:1\"\ndata_dir = \"d\"\n[agent]\ncalendar = \"c\"\nowner = [\"a@b\"]\n";
    let serve = resolve(text, "quorate serve --listen 127.0.0.1:2").unwrap();
    assert_eq!(serve.origins["listen"], Origin::Flag);
    assert_eq!(serve.origins["data_dir"], Origin::File("q.toml".into(), 3));
    assert!(!serve.origins.contains_key("max_priority"));
    let Command::Serve(args) = Cli::from_arg_matches(&serve.matches).unwrap().command else { panic!() };
    assert_eq!(args.listen.to_string(), "127.0.0.1:2");
    // A list that is typed takes the place of the file's, whole.
    let agent = resolve(text, "quorate agent --owner c@d;e@f").unwrap();
    let Command::Agent(args) = Cli::from_arg_matches(&agent.matches).unwrap().command else { panic!() };
    assert_eq!(args.owner, ["c@d", "e@f"]);
}

#[test]
fn every_problem_is_told_with_its_place_and_the_nearest_key() {
    let text = "listen = \"x\"\n[serve]\nlistne = 1\nlisten = 5\nmax_priority = 101\ndata-dir = \"d\"\n\
                calendar = \"c\"\nin_memory = \"yes\"\nmax_requests_per_caller = 99999999999999999999\n[agent]\n\
                tentative = \"fre\"\nowner = [\"a@b\", 3]\nzzz = 1\n[lgo]\n[zzz]\nlog = 3\n";
    let found = problems(text);
    let expected = [
        "q.toml:1:1: the key 'listen' belongs in [serve]",
        "q.toml:3:1: unknown key 'listne' in [serve]; did you mean 'listen'?",
        "q.toml:4:10: serve.listen: expected a string, found an integer",
        "q.toml:5:16: serve.max_priority: invalid value '101' for '--max-priority <N>': 101 is not in 1..=100",
        "q.toml:6:1: unknown key 'data-dir' in [serve]; did you mean 'data_dir'?",
        "q.toml:7:1: unknown key 'calendar' in [serve]; it belongs in [agent]",
        "q.toml:8:13: serve.in_memory: expected true or false, found a string",
        "q.toml:9:27: serve.max_requests_per_caller: expected an integer, found 99999999999999999999, which is too large",
        "q.toml:11:13: agent.tentative: invalid value 'fre' for '--tentative <TENTATIVE>' [possible values: busy, free]",
        "q.toml:12:9: agent.owner: expected an array of strings, found an integer in the array",
        "q.toml:13:1: unknown key 'zzz' in [agent]",
        "q.toml:14:2: unknown table [lgo]; did you mean [log]?",
        "q.toml:15:2: unknown table [zzz]; there are [serve], [agent], [log]",
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_no_toml_is_told_by_line_and_column() {
    let found = problems("[serve]\nlisten = = 3\n");
    assert!(found[0].starts_with("q.toml:2:10: is no TOML: "), "{found:?}");
    let twice = problems("[serve]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n");
    assert!(twice[0].starts_with("q.toml:3:1: is no TOML: duplicate key"), "{twice:?}");
    // Columns count characters.
    let found = problems("[serve]\n\"ä\" = 1 x\n");
    assert!(found[0].starts_with("q.toml:2:7: "), "{found:?}");
}

#[test]
fn the_value_of_an_unknown_key_is_never_told() {
    for text in
        ["[serve]\npassword = \"hunter2\"\n", "password = \"hunter2\"\n", "[serve]\npassword = hunter2\n"]
    {
        let found = problems(text);
        assert!(!found.is_empty() && !found.join("\n").contains("hunter2"), "{found:?}");
    }
}

#[test]
fn what_excludes_each_other_does_so_wherever_it_comes_from() {
    for (text, line) in [
        ("[serve]\ndata_dir = \"d\"\nin_memory = true\n", "quorate serve"),
        ("[serve]\ndata_dir = \"d\"\n", "quorate serve --in-memory"),
        ("[serve]\nin_memory = true\n", "quorate serve --data-dir d"),
    ] {
        let Err(Stop::Usage(error, notes)) = resolve(text, line) else { panic!("{text} {line} was taken") };
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict, "{error}");
        assert!(notes.iter().any(|note| note.contains(" comes from q.toml:")), "{notes:?}");
    }
    assert!(resolve("[serve]\ndata_dir = \"d\"\nin_memory = false\n", "quorate serve").is_ok());
    let Err(Stop::Usage(error, _)) = resolve("[log]\nfilter = \"info\"\n", "quorate serve") else { panic!() };
    assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument);
}

fn checked(folder: &Path, text: &str, cli: clap::Command) -> Result<String, Stop> {
    let file = folder.join("q.toml");
    std::fs::write(&file, text).unwrap();
    check(&CheckArgs { file: Some(file), line: Vec::new() }, cli)
}

#[test]
fn a_check_asks_for_nothing_that_a_flag_may_bring_and_refuses_what_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let text = checked(folder.path(), "[agent]\ntentative = \"free\"\n", Cli::command()).unwrap();
    let line = text.lines().find(|line| line.starts_with("tentative")).unwrap();
    assert!(line.starts_with("tentative = \"free\"") && line.ends_with("q.toml:2"), "{line}");
    let both = "[serve]\ndata_dir = \"d\"\nin_memory = true\n";
    assert!(matches!(checked(folder.path(), both, Cli::command()), Err(Stop::Usage(..))));
    // What it prints is TOML again, and means the same.
    let printed = checked(folder.path(), EXAMPLE, Cli::command()).unwrap();
    let again = read(&printed).unwrap();
    for (key, value) in &read(EXAMPLE).unwrap().values {
        assert_eq!(again.values[key].arguments, value.arguments, "{key:?}");
    }
}

#[test]
fn a_check_refuses_what_no_start_could_use() {
    let folder = tempfile::tempdir().unwrap();
    let said = |text: &str| match checked(folder.path(), text, Cli::command()) {
        Ok(text) => panic!("{text}"),
        Err(Stop::Config(problems)) => problems.to_string(),
        Err(Stop::Usage(error, notes)) => format!("{error}\n{notes:?}"),
    };
    let same = said("[serve]\nin_memory = true\nlisten = \"127.0.0.1:50051\"\nadmin = \"127.0.0.1:50051\"\n");
    assert!(same.contains("127.0.0.1:50051 is serve.listen too"), "{same}");
    let collector = said("[serve]\nin_memory = true\n[log]\notlp_endpoint = \"nonsense\"\n");
    assert!(collector.contains("q.toml:4") && collector.contains("expected http://host:port"), "{collector}");
    let file = said("[serve]\nin_memory = true\n[log]\notlp_headers_file = \"/none/headers\"\n");
    assert!(file.contains("q.toml:4") && file.contains("can't read /none/headers"), "{file}");
    let free = "[serve]\nin_memory = true\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
    assert!(checked(folder.path(), free, Cli::command()).is_ok());
}

/// Nothing of ours has a secret yet: a command that does.
#[derive(Parser)]
#[command(name = "quorate")]
enum WithSecret {
    Serve(WithSecretArgs),
}

#[derive(Args)]
struct WithSecretArgs {
    #[arg(long, env = "QUORATE_TEST_TOKEN_FILE")]
    token_file: Option<SecretFile>,
}

#[test]
fn a_secret_is_named_by_its_file_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    std::fs::write(&secret, "hunter2").unwrap();
    let text = format!("[serve]\ntoken_file = {:?}\n", secret.display().to_string());
    let printed = checked(folder.path(), &text, WithSecret::command()).unwrap();
    assert!(printed.contains("token_file = ") && !printed.contains("hunter2"), "{printed}");
    std::fs::remove_file(&secret).unwrap();
    let Err(Stop::Config(problems)) = checked(folder.path(), &text, WithSecret::command()) else { panic!() };
    assert!(problems.0[0].contains("q.toml:2: serve.token_file: can't read"), "{problems}");
    let WithSecret::Serve(args) = WithSecret::parse_from(["quorate", "serve", "--token-file", "f"]);
    assert_eq!(args.token_file.unwrap().path(), Path::new("f"));
}

#[test]
fn misspelt_variables_are_refused_and_those_of_others_are_not() {
    let problems = |names: &[&str]| {
        super::misspelt_variables(&Cli::command(), names.iter().map(|name| (*name).to_owned()))
    };
    assert_eq!(
        problems(&["QUORATE_MAX_PRIORTY", "QUORATE_DATADIR", "QUORATE_LISTN", "QUORATE_AGENT_TIMEZONE"]),
        [
            "the variable QUORATE_MAX_PRIORTY is no setting; did you mean QUORATE_MAX_PRIORITY?",
            "the variable QUORATE_DATADIR is no setting; did you mean QUORATE_DATA_DIR?",
            "the variable QUORATE_LISTN is no setting; did you mean QUORATE_LISTEN?",
            "the variable QUORATE_AGENT_TIMEZONE is no setting; did you mean QUORATE_AGENT_TIME_ZONE?",
        ]
    );
    let others = [
        "PATH",
        "QUORATE_LISTEN",
        "QUORATE_SCHEDULER",
        // What Kubernetes sets for a service named quorate.
        "QUORATE_PORT",
        "QUORATE_SERVICE_HOST",
        "QUORATE_SERVICE_PORT",
        "QUORATE_SERVICE_PORT_GRPC",
        "QUORATE_PORT_50051_TCP",
        "QUORATE_PORT_50051_TCP_ADDR",
    ];
    assert!(problems(&others).is_empty());
}
