//! The program itself: killed, terminated, and started twice.

use std::time::Instant;

use super::support::*;
use pb::meeting::State;

fn person(name: &str, from: i64, until: i64) -> Person {
    Person::new(name).free(from, until)
}

async fn schedule(client: &Client, ask: Ask) -> pb::Meeting {
    let answer = within("a decision", client.clone().schedule_meeting(ask.0)).await;
    answer.expect("an answer").into_inner().meeting.expect("a meeting")
}

#[tokio::test]
async fn killed_in_the_middle_of_everything() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path()).await;
    let client = client_of(&serve.url).await;
    let deaf = person("carol", 8, 17).with(|p| p.acks = Mode::Silent);
    let mut host = Host::new(vec![person("alice", 8, 17), person("bob", 8, 17), deaf]);
    host.connect(&serve.url).await;
    // One is booked and delivered, one is booked and not acknowledged, one is holding, one is being asked about.
    let delivered = schedule(&client, ask(&["alice"]).at(8, 9)).await;
    host.until_booked("alice", &[(8, 9)]).await;
    let undelivered = schedule(&client, ask(&["carol"]).at(8, 9)).await;
    host.edit("bob", |p| p.votes = Mode::Keep);
    let request_id = uuid::Uuid::new_v4().to_string();
    let holding = ask(&["alice", "bob"]).request_id(&request_id);
    let (mut calling, request) = (client.clone(), holding.clone());
    let waiting = tokio::spawn(async move { calling.schedule_meeting(request.0).await });
    host.until_kept("bob").await;
    host.until("alice holds", |s| (!s.person("alice").held.is_empty()).then_some(())).await;
    serve.kill().await;
    assert!(within("the call ends", waiting).await.unwrap().is_err());
    assert!(host.ended().await.is_err());

    host.edit("bob", |p| {
        p.kept.clear();
        p.votes = Mode::Do;
    });
    host.edit("carol", |p| p.acks = Mode::Do);
    let serve = Serve::start(folder.path()).await;
    let client = client_of(&serve.url).await;
    for meeting in [&delivered, &undelivered] {
        let read = get(&client, &meeting.meeting_id).await;
        assert_eq!(
            (read.state(), slot_of(&read)),
            (State::Confirmed, (8, 9)),
            "an answered booking is there"
        );
    }
    host.connect(&serve.url).await;
    // The meeting that was being booked is decided, for whoever asks again.
    let meeting = schedule(&client, holding).await;
    assert_eq!((meeting.state(), slot_of(&meeting)), (State::Confirmed, (9, 10)));
    host.until_booked("alice", &[(8, 9), (9, 10)]).await;
    host.until_booked("bob", &[(9, 10)]).await;
    host.until_booked("carol", &[(8, 9)]).await;
    host.until("no hold is left over", |s| s.people.values().all(|p| p.held.is_empty()).then_some(())).await;
    let states = pb::ListMeetingsRequest { states: vec![State::Scheduling.into()], ..Default::default() };
    assert_eq!(client.clone().list_meetings(states).await.unwrap().into_inner().meetings, []);
    host.check();
}

#[tokio::test]
async fn terminated_it_ends_its_streams_and_exits_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path()).await;
    let client = client_of(&serve.url).await;
    let mut host = Host::new(vec![person("alice", 8, 17).with(|p| p.answers = Mode::Keep)]);
    host.connect(&serve.url).await;
    let silent = within("a connection", tokio::net::TcpStream::connect(&serve.address)).await.unwrap();
    let mut calling = client.clone();
    let request = ask(&["alice"]).0;
    let waiting = tokio::spawn(async move { calling.schedule_meeting(request).await });
    host.until_kept("alice").await;
    let started = Instant::now();
    serve.terminate().await;
    let status = within("the call ends", waiting).await.unwrap().unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(host.ended().await.unwrap_err().code(), tonic::Code::Unavailable);
    let (code, stderr) = serve.exit().await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(started.elapsed() < UNHURRIED, "the call's answer is not waited for: {:?}", started.elapsed());
    drop(silent);
}

#[tokio::test]
async fn an_idle_scheduler_exits_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path()).await;
    let started = Instant::now();
    serve.terminate().await;
    assert_eq!(serve.exit().await.0, Some(0));
    assert!(started.elapsed() < quorate::core::limits::DRAIN, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_second_scheduler_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path()).await;
    let (code, stderr) = stderr_of(folder.path()).await;
    assert!(code.is_some_and(|code| code != 0), "{code:?}");
    assert!(stderr.contains("another scheduler runs on"), "{stderr}");
    assert!(stderr.contains(&folder.path().display().to_string()), "{stderr}");
    // The first one goes on as if nothing had been.
    let client = client_of(&serve.url).await;
    let mut host = Host::new(vec![person("alice", 8, 17)]);
    host.connect(&serve.url).await;
    assert_eq!(schedule(&client, ask(&["alice"])).await.state(), State::Confirmed);
}

#[tokio::test]
async fn dates_that_are_none_are_refused_on_the_command_line() {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["find", "--with", "alice", "--duration", "1h", "--from", "2024-02-30"]);
    let output = within("the program ends", command.output()).await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("2024-02-30"), "{stderr}");
}

#[tokio::test]
async fn the_health_of_an_agent_is_whether_the_scheduler_knows_it() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path()).await;
    let health = async |more: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(["health", "--scheduler", &serve.url]).args(more);
        let output = within("health", command.output()).await.expect("the program");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let of_alice = ["--participant", "alice"];
    assert_eq!(health(&[]).await, (Some(0), "SERVING\n".into()));
    assert_eq!(health(&of_alice).await, (Some(1), "SERVING, not connected\n".into()), "never heard of");
    let mut host = Host::new(vec![person("alice", 8, 17)]);
    host.connect(&serve.url).await;
    assert_eq!(health(&of_alice).await, (Some(0), "SERVING, connected\n".into()));
    let (code, text) = health(&["--participant", "alice", "--json"]).await;
    assert_eq!(code, Some(0));
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer, serde_json::json!({ "status": "SERVING", "connected": true }));
    assert_eq!(health(&["--participant", "bob"]).await.0, Some(1));
}
