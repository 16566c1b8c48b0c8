//! What an operator does with the program itself: configure it, stop it, copy its data, and get it wrong.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::support::*;
use pb::meeting::State;

/// The program, with nothing of the caller's configuration.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QUORATE_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Exit code, standard output and standard error.
async fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = within("the program ends", command.output()).await.expect("the program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// One line on standard error, and this exit code.
async fn refused(command: &mut Command, code: i32) -> String {
    // Without what is merely worth knowing.
    let (found, out, err) = run(command.env("QUORATE_LOG", "error")).await;
    assert_eq!((found, out.as_str()), (Some(code), ""), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    err
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[tokio::test]
async fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[serve]\nlisten = \"127.0.0.1:1\"\nmax_priority = 1\nmax_requests_per_caller = 1\nin_memory = true\n";
    let file = write(folder.path(), "q.toml", text);
    let mut check = program(&["config", "check", &file, "--", "serve", "--listen", "127.0.0.1:3"]);
    check.env("QUORATE_LISTEN", "127.0.0.1:2").env("QUORATE_MAX_PRIORITY", "2");
    let (code, out, err) = run(&mut check).await;
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for (key, value, origin) in [
        ("listen", "\"127.0.0.1:3\"", "flag".to_owned()),
        ("max_priority", "2", "environment QUORATE_MAX_PRIORITY".to_owned()),
        ("max_requests_per_caller", "1", format!("{file}:4")),
        ("filter", "\"info\"", "default".to_owned()),
    ] {
        let line = out.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}: {out}"));
        assert!(line.starts_with(&format!("{key} = {value} ")), "{line}");
        assert!(line.ends_with(&format!("# {origin}")), "{line}");
    }
    // A variable that says no wins over a file that says yes, and leaves the place to a folder.
    let mut no = program(&["config", "check", "--", "serve", "--config", &file, "--data-dir", "d"]);
    let (code, out, err) = run(no.env("QUORATE_IN_MEMORY", "no")).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("in_memory = false") && out.contains("environment QUORATE_IN_MEMORY"), "{out}");
}

#[tokio::test]
async fn a_scheduler_and_an_agent_run_from_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let calendar = write(folder.path(), "alice.ics", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n");
    let data = folder.path().join("data").display().to_string();
    let text = format!(
        "[serve]\nlisten = \"127.0.0.1:0\"\ndata_dir = {data:?}\n[agent]\ncalendar = {calendar:?}\n\
         [log]\nfilter = \"warn\"\n"
    );
    let file = write(folder.path(), "q.toml", text);
    let mut serve = program(&["serve"]).env("QUORATE_CONFIG", &file).stdout(Stdio::piped()).spawn().unwrap();
    let line = first_line(&mut serve).await;
    let address = line.rsplit(' ').next().unwrap().to_owned();
    assert!(Path::new(&data).join("quorate.db").exists());
    let mut agent = program(&["agent", "--config", &file, "--scheduler", &address]);
    let mut agent = agent.stdout(Stdio::piped()).spawn().unwrap();
    let line = first_line(&mut agent).await;
    assert!(line.starts_with("alice: registered with http://"), "{line}");
}

/// Nobody need read what a program says of itself: a closed pipe and a full disk end nothing.
#[tokio::test]
async fn what_can_not_be_said_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let calendar = write(folder.path(), "alice.ics", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n");
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let closed = || Stdio::from(std::io::pipe().unwrap().1);
    for (name, output) in [("full", &full as &dyn Fn() -> Stdio), ("closed", &closed)] {
        let mut serve = program(&["serve", "--in-memory", "--listen", "127.0.0.1:0"]);
        let serve = serve.env("QUORATE_LOG", "warn").stdout(output()).stderr(Stdio::piped());
        let mut serve = serve.spawn().unwrap();
        // The log says it instead.
        let mut lines = BufReader::new(serve.stderr.take().unwrap()).lines();
        let line = within("a line in the log", lines.next_line()).await.unwrap().expect(name);
        assert!(line.contains("standard output can't be written"), "{name}: {line}");
        let url = format!(
            "http://{}",
            line.split("listens on ").nth(1).expect("an address").split(' ').next().unwrap()
        );
        let client = client_of(&url).await;
        let data = folder.path().join(name).display().to_string();
        let mut agent =
            program(&["agent", "--calendar", &calendar, "--scheduler", &url, "--data-dir", &data]);
        // Not even the log.
        let mut agent = agent.stdout(output()).stderr(output()).spawn().unwrap();
        within("the agent is connected, or has ended", async {
            tokio::select! {
                () = until_connected(&client, "alice", true) => {}
                status = agent.wait() => panic!("{name}: {status:?}"),
            }
        })
        .await;
        // Its line comes after it is connected: it drains as ever, so it has outlived that.
        let id = agent.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        let status = within("it ends", agent.wait()).await.unwrap();
        assert_eq!(status.code(), Some(0), "{name}");
        assert!(serve.try_wait().unwrap().is_none(), "{name}: the scheduler runs");
    }
}

#[tokio::test]
async fn with_a_log_in_json_all_that_is_said_is_json() {
    let mut serve = program(&["serve", "--in-memory", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    let mut serve = serve.stdout(Stdio::piped()).spawn().unwrap();
    let line: serde_json::Value = serde_json::from_str(&first_line(&mut serve).await).expect("JSON");
    let address = line["listen"].as_str().expect("an address");
    assert_eq!(line["message"], format!("quorate {} listens on {address}", env!("CARGO_PKG_VERSION")));
    assert_eq!(line["level"], "INFO");
    client_of(&format!("http://{address}")).await;
}

async fn first_line(child: &mut tokio::process::Child) -> String {
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    within("a line", lines.next_line()).await.expect("output").expect("a line")
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_one_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.toml").display().to_string();
    let error = refused(&mut program(&["serve", "--config", &missing]), 2).await;
    assert!(error.contains(&missing) && error.contains("No such file"), "{error}");
    let unknown = write(folder.path(), "unknown.toml", "[serve]\ndata_dri = \"d\"\n");
    let error = refused(&mut program(&["serve", "--config", &unknown]), 2).await;
    assert!(error.contains("unknown.toml:2:1: ") && error.contains("did you mean 'data_dir'?"), "{error}");
    let broken = write(folder.path(), "broken.toml", "[serve]\nlisten\n");
    let error = refused(&mut program(&["agent", "--config", &broken]), 2).await;
    assert!(error.contains("broken.toml:2:") && error.contains("is no TOML"), "{error}");
    let latin = write(folder.path(), "latin.toml", b"[serve]\n# Z\xfcrich\n");
    let error = refused(&mut program(&["config", "check", &latin]), 2).await;
    assert!(error.contains("latin.toml") && error.contains("not UTF-8 (line 2"), "{error}");
    let directory = folder.path().display().to_string();
    let error = refused(&mut program(&["serve", "--config", &directory]), 2).await;
    assert!(error.contains("can't be read"), "{error}");
    // A variable that can't be used is named.
    let (code, _, err) = run(program(&["serve", "--in-memory"]).env("QUORATE_LISTEN", "nowhere")).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("note: --listen comes from environment QUORATE_LISTEN"), "{err}");
    // Nothing was started.
    assert!(!folder.path().join("d").exists());
}

/// An address with a password is refused by whoever reads it, before anything prints it.
#[tokio::test]
async fn a_password_in_an_address_is_refused_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    for (key, address) in [
        ("otlp_endpoint", "http://me:s3cret@127.0.0.1:4317"),
        ("otlp_endpoint", "https://s3cret@collector"),
        ("scheduler", "http://me:s3cret@127.0.0.1:50051"),
        ("scheduler", "me:s3cret@scheduler:50051"),
    ] {
        let table = if key == "scheduler" { "agent" } else { "log" };
        let file = write(folder.path(), "q.toml", format!("[{table}]\n{key} = {address:?}\n"));
        let command: &[&str] = match table {
            "agent" => &["agent", "--calendar", "c"],
            _ => &["serve", "--in-memory"],
        };
        let (flag, variable) =
            (format!("--{}", key.replace('_', "-")), format!("QUORATE_{}", key.to_uppercase()));
        let typed = [command, &[&flag, address]].concat();
        let from_file = [command, &["--config", &file]].concat();
        let checked = [&["config", "check", "--"], &typed[..]].concat();
        let mut listed = program(&["list"]);
        let mut commands = vec![
            program(&["config", "check", &file]),
            program(&from_file),
            program(&checked),
            program(&typed),
        ];
        let mut by_variable = program(command);
        by_variable.env(&variable, address);
        commands.push(by_variable);
        if key == "scheduler" {
            listed.env(&variable, address);
            commands.push(listed);
        }
        for mut command in commands {
            let (code, out, err) = run(&mut command).await;
            assert_eq!(code, Some(2), "{command:?}: {out}{err}");
            assert!(err.contains(&format!("'{flag} <URL>'")), "the setting is named: {err}");
            assert!(!out.contains("s3cret") && !err.contains("s3cret"), "{out}{err}");
        }
        let (_, help, _) = run(program(&["agent", "--help"]).env(&variable, address)).await;
        assert!(help.contains(&variable) && !help.contains("s3cret"), "{help}");
    }
}

/// `${NAME:-}` in a compose file is an empty variable where nothing is wanted.
#[tokio::test]
async fn an_empty_setting_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "q.toml", "[serve]\nadmin = \"127.0.0.1:3\"\n");
    let mut check =
        program(&["config", "check", "--", "serve", "--in-memory", "--otlp-endpoint", "", "--admin="]);
    for name in
        ["ADMIN", "OTLP_ENDPOINT", "OTLP_HEADERS_FILE", "DATA_DIR", "CONFIG", "LISTEN", "IN_MEMORY", "LOG"]
    {
        check.env(format!("QUORATE_{name}"), "");
    }
    let (code, out, err) = run(&mut check).await;
    assert_eq!(code, Some(0), "{err}");
    for line in ["# admin ", "# otlp_endpoint ", "# otlp_headers_file ", "# data_dir "] {
        assert!(
            out.lines().any(|found| found.starts_with(line) && found.ends_with("# not set")),
            "{line}: {out}"
        );
    }
    assert!(out.contains("listen = \"127.0.0.1:50051\"") && out.contains("filter = \"info\""), "{out}");
    // The next place counts.
    let mut check =
        program(&["config", "check", "--", "serve", "--in-memory", "--config", &file, "--admin", ""]);
    let (code, out, err) = run(check.env("QUORATE_ADMIN", "")).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("admin = \"127.0.0.1:3\""), "{out}");
    let mut agent = program(&["config", "check", "--", "agent", "--calendar", "c", "--participant", ""]);
    for name in ["SCHEDULER", "AGENT_PARTICIPANT", "AGENT_TIME_ZONE", "AGENT_OUTPUT", "AGENT_WORKING_HOURS"] {
        agent.env(format!("QUORATE_{name}"), "");
    }
    let (code, out, err) = run(&mut agent).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("# participant ") && out.contains("http://127.0.0.1:50051"), "{out}");
    let (code, _, err) = run(program(&["list"]).env("QUORATE_SCHEDULER", "")).await;
    assert_ne!(code, Some(2), "{err}");
    // What has to be there is missed, as ever.
    let (code, _, err) = run(program(&["serve"]).env("QUORATE_DATA_DIR", "")).await;
    assert_eq!(code, Some(2), "{err}");
}

#[tokio::test]
async fn a_program_that_cannot_start_says_why_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = refused(&mut program(&["serve", "--in-memory", "--listen", &address]), 1).await;
    assert!(error.contains(&format!("can't listen on {address}")) && error.contains("in use"), "{error}");
    // No folder can be made within a file, whoever we are.
    let file = write(folder.path(), "file", "");
    let error = refused(&mut program(&["serve", "--data-dir", &file]), 1).await;
    assert!(error.contains(&file), "{error}");
    let missing = folder.path().join("calendars").display().to_string();
    let error = refused(&mut program(&["agent", "--calendar", &missing]), 2).await;
    assert!(error.contains(&missing), "{error}");
    let error = refused(&mut program(&["agent", "--calendar", &format!("{missing}/alice.ics")]), 2).await;
    assert!(error.contains("alice.ics"), "{error}");
    // What an engine of containers makes of a mount whose file is missing on the host.
    let mount = folder.path().join("bob.ics").display().to_string();
    fs::create_dir(&mount).unwrap();
    let error = refused(&mut program(&["agent", "--participant", "bob", "--calendar", &mount]), 2).await;
    assert!(error.contains(&format!("{mount} is a folder, not a calendar file")), "{error}");
    assert!(error.contains("the calendar's file is missing on the host"), "{error}");
    let newer = folder.path().join("newer");
    fs::create_dir(&newer).unwrap();
    let db = rusqlite::Connection::open(newer.join("quorate.db")).unwrap();
    db.execute_batch("CREATE TABLE t (a); PRAGMA application_id = 1903521650; PRAGMA user_version = 99;")
        .unwrap();
    drop(db);
    let error = refused(
        &mut program(&["serve", "--listen", "127.0.0.1:0", "--data-dir", newer.to_str().unwrap()]),
        1,
    )
    .await;
    assert!(error.contains("has schema 99, from a newer version of quorate"), "{error}");
}

/// A drain that has something to wait for: an agent that does not answer, and a request that has a minute for it.
async fn draining(folder: &Path) -> (Serve, Host, tokio::task::JoinHandle<()>) {
    let serve = Serve::start(folder).await;
    let client = client_of(&serve.url).await;
    let mut host = Host::new(vec![Person::new("alice").free(8, 17).with(|p| p.votes = Mode::Keep)]);
    host.connect(&serve.url).await;
    let request = ask(&["alice"]).0;
    let waiting = tokio::spawn(async move { drop(client.clone().schedule_meeting(request).await) });
    host.until_kept("alice").await;
    (serve, host, waiting)
}

#[tokio::test]
async fn a_second_signal_ends_the_drain_at_once() {
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let folder = tempfile::tempdir().unwrap();
        let (serve, host, waiting) = draining(folder.path()).await;
        // Whoever says nothing is waited for until the drain's own end.
        let silent = within("a connection", tokio::net::TcpStream::connect(&serve.address)).await.unwrap();
        serve.terminate().await;
        // It drains: agents are told so, and the hold that nobody has voted on is not decided.
        host.until("the drain is told", |s| {
            let drain =
                |m: &pb::scheduler_message::Message| matches!(m, pb::scheduler_message::Message::Drain(_));
            s.heard.iter().any(drain).then_some(())
        })
        .await;
        serve.signal(signal).await;
        let (found, stderr) = serve.exit().await;
        assert_eq!(found, Some(code), "{stderr}");
        assert!(stderr.contains("a second signal"), "{stderr}");
        drop(silent);
        within("the call ends", waiting).await.unwrap();
        // What is on disk is sound, as after a crash, and the next start is none of its business.
        let data = folder.path().display().to_string();
        let (code, out, err) = run(&mut program(&["doctor", "--data-dir", &data])).await;
        assert_eq!(code, Some(0), "{out}{err}");
        drop(Serve::start(folder.path()).await);
    }
}

#[tokio::test]
async fn a_backup_of_a_running_scheduler_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy.db").display().to_string());
    let data_dir = data.display().to_string();
    let serve = Serve::start(&data).await;
    let client = client_of(&serve.url).await;
    let mut host = Host::new(vec![Person::new("alice").free(8, 17), Person::new("bob").free(8, 17)]);
    host.connect(&serve.url).await;
    let book = async |client: &Client, from: i64| {
        let answer = client.clone().schedule_meeting(ask(&["alice", "bob"]).at(from, from + 1).0).await;
        let meeting = answer.expect("an answer").into_inner().meeting.expect("a meeting");
        assert_eq!(meeting.state(), State::Confirmed);
        meeting.meeting_id
    };
    let before = book(&client, 8).await;
    let backup = |force: bool| {
        let mut command = program(&["backup", "--data-dir", &data_dir, "--to", &copy]);
        if force {
            command.arg("--force");
        }
        command
    };
    let (code, out, err) = run(&mut backup(false)).await;
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let error = refused(&mut backup(false), 1).await;
    assert!(error.contains("is there already"), "{error}");
    assert_eq!(run(&mut backup(true)).await.0, Some(0));
    let after = book(&client, 10).await;
    // The doctor sees a running scheduler's rows too.
    let (code, out, _) = run(&mut program(&["doctor", "--data-dir", &data_dir])).await;
    assert_eq!(code, Some(0), "{out}");
    let (code, same, _) = run(program(&["doctor"]).env("QUORATE_DATA_DIR", &data_dir)).await;
    assert_eq!((code, &same), (Some(0), &out));
    // Nothing else is looked at where something is named.
    let (code, out, err) =
        run(program(&["doctor", "--database", &copy]).env("QUORATE_DATA_DIR", "/none")).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let error = refused(&mut program(&["doctor"]), 2).await;
    assert!(error.contains("--data-dir (or QUORATE_DATA_DIR)"), "{error}");

    let restore = |more: &[&str]| {
        let mut command = program(&["restore", "--data-dir", &data_dir, "--from", &copy]);
        command.args(more);
        command
    };
    let error = refused(&mut restore(&["--force"]), 1).await;
    assert!(error.contains("another scheduler runs on"), "{error}");
    serve.kill().await;
    assert!(host.ended().await.is_err());
    let error = refused(&mut restore(&[]), 1).await;
    assert!(error.contains("--force"), "{error}");
    let (code, out, err) = run(&mut restore(&["--force"])).await;
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("quorate.db.replaced"), "{out}");

    let serve = Serve::start(&data).await;
    let client = client_of(&serve.url).await;
    assert_eq!(get(&client, &before).await.state(), State::Confirmed);
    let gone = client.clone().get_meeting(pb::GetMeetingRequest { meeting_id: after.clone() }).await;
    assert_eq!(gone.unwrap_err().code(), tonic::Code::NotFound);
    // The agents still keep the hour of the meeting that the backup does not know: it is not given away.
    host.connect(&serve.url).await;
    let answer = client.clone().schedule_meeting(ask(&["alice", "bob"]).at(10, 11).0).await;
    assert_eq!(answer.unwrap().into_inner().meeting.unwrap().state(), State::Failed);
    book(&client, 12).await;
    let kept = data.join("quorate.db.replaced").display().to_string();
    for file in [&kept, &copy] {
        let (code, out, _) = run(&mut program(&["doctor", "--database", file])).await;
        assert_eq!(code, Some(0), "{out}");
    }
}

#[tokio::test]
async fn only_a_sound_backup_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let song = folder.path().join("songs.db");
    rusqlite::Connection::open(&song).unwrap().execute_batch("CREATE TABLE songs (title)").unwrap();
    let text = write(folder.path(), "text", "The quick brown fox jumps over the lazy dog.\n".repeat(200));
    let none = folder.path().join("none.db").display().to_string();
    for (from, why) in
        [(song.to_str().unwrap(), "another program"), (&text, "not a database"), (&none, "No such file")]
    {
        let error = refused(&mut program(&["restore", "--data-dir", &data, "--from", from]), 1).await;
        assert!(error.contains(from) && error.contains(why), "{error}");
    }
    let error = refused(&mut program(&["backup", "--data-dir", &data, "--to", &none]), 1).await;
    assert!(error.contains("quorate.db") && error.contains("No such file"), "{error}");
    assert!(!Path::new(&data).exists() && !Path::new(&none).exists(), "something was made");
}
