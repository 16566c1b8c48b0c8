//! Logs and traces of the programs themselves, with a collector that takes what they send, or doesn't.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::support::*;
use pb::meeting::State;
use pb::scheduler_message::Message as Heard;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// What two tracing systems say of it, in two headers.
const STATES: [&str; 2] = ["rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE , ,fw529a3039@dt=FfAABPz"];
const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,fw529a3039@dt=FfAABPz";
const SECRET: &str = "s3cret-of-the-collector";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// A request within a trace.
fn traced<T>(traceparent: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    request
}

/// The same, with what tracing systems say of the trace: a header for each.
fn stated<T>(traceparent: &str, states: &[&str], message: T) -> tonic::Request<T> {
    let mut request = traced(traceparent, message);
    for state in states {
        request.metadata_mut().append("tracestate", state.parse().unwrap());
    }
    request
}

async fn schedule(client: &Client, traceparent: &str, ask: Ask) -> pb::Meeting {
    schedule_stated(client, traceparent, &[], ask).await
}

async fn schedule_stated(client: &Client, traceparent: &str, states: &[&str], ask: Ask) -> pb::Meeting {
    let mut client = client.clone();
    let answer = within("a decision", client.schedule_meeting(stated(traceparent, states, ask.0))).await;
    answer.expect("an answer").into_inner().meeting.expect("a meeting")
}

/// A folder with a calendar for each of these, who are free all day.
fn calendars(people: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in people {
        let text = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\nEND:VCALENDAR\r\n";
        std::fs::write(folder.path().join(format!("{name}.ics")), text).unwrap();
    }
    folder
}

async fn serve(arguments: &[&str]) -> (Program, String) {
    let program = Program::start(&[&["serve", "--in-memory", "--listen", "127.0.0.1:0"], arguments].concat());
    let line = program.until("it listens", |line| line.contains(" listens on ")).await;
    let address = match serde_json::from_str::<Value>(&line) {
        Ok(line) => line["listen"].as_str().expect("an address").to_owned(),
        Err(_) => line.rsplit(' ').next().unwrap().to_owned(),
    };
    (program, format!("http://{address}"))
}

async fn agent(url: &str, folder: &Path, people: &[&str], arguments: &[&str]) -> Program {
    let calendar = folder.to_str().unwrap();
    let program =
        Program::start(&[&["agent", "--scheduler", url, "--calendar", calendar], arguments].concat());
    for name in people {
        program
            .until("everyone is registered", |line| line.contains(&format!("{name}: registered with")))
            .await;
    }
    program
}

/// Each line as JSON.
fn json(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[tokio::test]
async fn one_trace_from_the_organizer_to_the_agents_and_json_logs_that_name_it() {
    let (mut collector, folder) = (Collector::start(Manner::Takes).await, calendars(&["alice", "bob"]));
    let headers = folder.path().join("headers");
    std::fs::write(&headers, format!("# of the collector\nX-Key: {SECRET}\n")).unwrap();
    let telemetry = [
        "--otlp-endpoint",
        &collector.url,
        "--otlp-headers-file",
        headers.to_str().unwrap(),
        "--log-format",
        "json",
        "--log",
        "quorate=debug",
    ];
    let (scheduler, url) = serve(&telemetry).await;
    let agent = agent(&url, folder.path(), &["alice", "bob"], &telemetry).await;
    let mut client = client_of(&url).await;
    let watch = client.watch_meetings(pb::WatchMeetingsRequest::default());
    let mut events = Events { stream: within("a watch", watch).await.unwrap().into_inner() };
    let asked = ask(&["alice", "bob"]).between(AHEAD + 8, AHEAD + 10);
    let meeting = schedule_stated(&client, &traceparent("01"), &STATES, asked).await;
    assert_eq!(meeting.state(), State::Confirmed, "{meeting:?}");
    events.until(pb::meeting_event::Type::Delivered).await;
    let cancel = pb::CancelMeetingRequest { meeting_id: meeting.meeting_id.clone(), etag: String::new() };
    let cancel = stated(&traceparent("01"), &STATES, cancel);
    within("it is called off", client.clone().cancel_meeting(cancel)).await.unwrap();
    for name in ["alice", "bob"] {
        let released = |line: &str| {
            line.contains("agent.release") && line.contains(&format!("\"participant\":\"{name}\""))
        };
        agent.until("it is released", released).await;
    }
    // A request of its own, in no trace.
    let nobody = client.get_participant(pb::GetParticipantRequest { participant_id: "x".into() });
    within("an answer", nobody).await.unwrap_err();
    drop(events);
    agent.terminate().await;
    let (code, agent_log) = agent.exit().await;
    assert_eq!(code, Some(0), "{agent_log}");
    scheduler.terminate().await;
    let (code, log) = scheduler.exit().await;
    assert_eq!(code, Some(0), "{log}");

    let spans = collector.spans();
    let ours: Vec<&Exported> = spans.iter().filter(|span| span.trace == TRACE).collect();
    let named = |name: &str| -> Vec<&Exported> { ours.iter().filter(|s| s.name == name).copied().collect() };
    let one = |name: &str| match named(name)[..] {
        [one] => one,
        ref others => panic!("{name}: {others:?}"),
    };
    let request = one("quorate.v1.SchedulerService/ScheduleMeeting");
    assert_eq!((request.parent.as_str(), request.kind), (CALLER, "SERVER"));
    let attribute = |name: &str| request.attributes.get(name).map(String::as_str);
    assert_eq!(attribute("rpc.system"), Some("grpc"));
    assert_eq!(attribute("rpc.service"), Some("quorate.v1.SchedulerService"));
    assert_eq!(attribute("rpc.method"), Some("ScheduleMeeting"));
    assert_eq!(attribute("rpc.grpc.status_code"), Some("0"));
    assert_eq!(attribute("quorate.meeting.id"), Some(meeting.meeting_id.as_str()));
    assert_eq!(attribute("quorate.request.id"), Some(meeting.request_id.as_str()));
    let job = one("meeting");
    assert_eq!(job.parent, request.span);
    assert_eq!(job.attributes["quorate.outcome"], "booked");
    for (phase, handled) in [("round", "agent.query"), ("hold", "agent.hold"), ("deliver", "agent.confirm")] {
        let phase = one(phase);
        assert_eq!(phase.parent, job.span);
        let agents = named(handled);
        let who: BTreeSet<&str> =
            agents.iter().map(|s| s.attributes["quorate.participant"].as_str()).collect();
        // More than once each where a busy machine is told again.
        assert_eq!(who, BTreeSet::from(["alice", "bob"]), "{agents:?}");
        for agent in agents {
            assert_eq!((agent.parent.as_str(), agent.kind), (phase.span.as_str(), "CONSUMER"));
            assert_eq!(agent.resource["service.name"], "quorate-agent");
            let about = agent.attributes.get("quorate.meeting.id");
            assert!(about.is_none_or(|id| *id == meeting.meeting_id), "{agent:?}");
        }
    }
    assert_eq!(one("decide").parent, job.span);
    let cancel = one("quorate.v1.SchedulerService/CancelMeeting");
    assert_eq!(cancel.parent, CALLER);
    let released = named("agent.release");
    assert!(released.len() >= 2 && released.iter().all(|s| s.parent == cancel.span), "{released:?}");
    // Nothing else is in it, and the scheduler's own spans lie within one another; a delivery goes on behind the answer.
    let own: BTreeMap<&str, &Exported> = ours.iter().map(|span| (span.span.as_str(), *span)).collect();
    assert_eq!(ours.len(), own.len(), "each has an id of its own: {ours:#?}");
    let names: BTreeSet<&str> = ours.iter().map(|span| span.name.as_str()).collect();
    let (calls, phases, agents) = (
        ["quorate.v1.SchedulerService/ScheduleMeeting", "quorate.v1.SchedulerService/CancelMeeting"],
        ["meeting", "round", "hold", "decide", "deliver"],
        ["agent.query", "agent.hold", "agent.confirm", "agent.release"],
    );
    assert_eq!(names, calls.into_iter().chain(phases).chain(agents).collect());
    for span in &ours {
        assert!(span.start <= span.end, "{span:?}");
        assert_eq!(span.state, STATE, "{span:?}");
        assert_eq!(span.error, None);
        assert_eq!(span.resource["service.version"], env!("CARGO_PKG_VERSION"));
        let Some(parent) = own.get(span.parent.as_str()) else {
            assert_eq!(span.parent, CALLER);
            continue;
        };
        if span.resource["service.name"] == "quorate" {
            assert!(parent.start <= span.start, "{span:?} in {parent:?}");
            assert!(span.end <= parent.end || span.name == "deliver", "{span:?} in {parent:?}");
        }
    }
    let instances: BTreeSet<&String> = spans.iter().map(|s| &s.resource["service.instance.id"]).collect();
    assert_eq!(instances.len(), 2, "two processes");
    let alone = spans.iter().find(|s| s.name.ends_with("/GetParticipant")).expect("a span of its own");
    assert!(alone.trace != TRACE && alone.parent.is_empty() && alone.state.is_empty(), "{alone:?}");
    assert_eq!(alone.attributes["rpc.grpc.status_code"], "5", "NOT_FOUND");
    assert_eq!(alone.error, None, "which is the caller's own fault");

    // The headers went along, and nowhere else.
    assert_eq!(collector.keys(), BTreeSet::from([SECRET.to_owned()]));
    assert!(!log.contains(SECRET) && !agent_log.contains(SECRET));
    let lines = json(&log);
    let answered = lines
        .iter()
        .find(|line| line["message"] == "answered" && line["span"]["method"] == "ScheduleMeeting");
    let answered = answered.unwrap_or_else(|| panic!("{log}"));
    assert_eq!(answered["span"]["trace_id"], TRACE);
    assert_eq!(answered["span"]["meeting_id"], meeting.meeting_id.as_str());
    let of_job = lines.iter().find(|line| line["message"] == "hold is over");
    assert_eq!(of_job.expect("a line of the job")["trace_id"], TRACE);
    let held = json(&agent_log).into_iter().filter(|line| line["message"] == "agent.hold");
    let held: Vec<_> = held.map(|line| line["trace_id"].clone()).collect();
    assert!(held.len() >= 2 && held.iter().all(|trace| trace == TRACE), "{held:?}");
}

/// `traceparent`'s trace and `tracestate` of a message that can be a part of a trace.
fn context(heard: &Heard) -> Option<(&str, &str)> {
    let (parent, state) = match heard {
        Heard::AvailabilityQuery(m) => (&m.traceparent, &m.tracestate),
        Heard::Hold(m) => (&m.traceparent, &m.tracestate),
        Heard::Confirm(m) => (&m.traceparent, &m.tracestate),
        Heard::Release(m) => (&m.traceparent, &m.tracestate),
        Heard::Registered(_)
        | Heard::Notice(_)
        | Heard::Superseded(_)
        | Heard::Drain(_)
        | Heard::FrameError(_) => return None,
    };
    Some((parent.get(3..35).unwrap_or_default(), state))
}

#[tokio::test]
async fn a_tracestate_reaches_the_agents_with_its_trace_also_what_is_told_again() {
    let world = World::start().await;
    let mut host = Host::new(vec![Person::new("alice").free(8, 17).with(|p| p.acks = Mode::Silent)]);
    host.connect(&world.url()).await;
    let booked = schedule_stated(&world.client, &traceparent("01"), &STATES, ask(&["alice"])).await;
    assert_eq!(booked.state(), State::Confirmed);
    host.until("a confirm", |state| (!state.confirms_of("alice").is_empty()).then_some(())).await;
    // It was not acknowledged, so whoever comes back is told again.
    host.cut();
    world.until_connected("alice", false).await;
    host.edit("alice", |person| person.booked.clear());
    host.connect(&world.url()).await;
    host.edit("alice", |person| person.acks = Mode::Do);
    host.until("the confirm again", |state| (state.confirms_of("alice").len() >= 2).then_some(())).await;
    let cancel = pb::CancelMeetingRequest { meeting_id: booked.meeting_id, etag: String::new() };
    let cancel = stated(&traceparent("01"), &STATES, cancel);
    within("it is called off", world.client.clone().cancel_meeting(cancel)).await.unwrap();
    host.until("a release", |state| (!state.releases_of("alice").is_empty()).then_some(())).await;
    host.look(|state| {
        let told: Vec<_> = state.heard.iter().filter_map(context).collect();
        assert!(told.len() >= 5, "{told:?}");
        assert!(told.iter().all(|told| *told == (TRACE, STATE)), "{told:?}");
    });
}

#[tokio::test]
async fn a_tracestate_that_can_not_be_used_is_dropped_and_its_trace_kept() {
    let world = World::start().await;
    let host = world.host(vec![Person::new("alice").free(8, 17)]).await;
    let many: Vec<String> = (0..33).map(|n| format!("k{n}=v")).collect();
    let many = many.join(",");
    let bad = [vec!["no member"], vec!["a=1", "Big=2"], vec!["a=1,b=2", "a=3"], vec![&many]];
    let count = bad.len();
    for states in bad {
        schedule_stated(&world.client, &traceparent("01"), &states, ask(&["alice"])).await;
    }
    // Without a trace that can be used it says nothing.
    let capitals = traceparent("01").to_uppercase();
    schedule_stated(&world.client, &capitals, &STATES, ask(&["alice"])).await;
    host.look(|state| {
        let asked: Vec<_> = state.queries();
        assert_eq!(asked.len(), count + 1);
        for query in &asked[..count] {
            assert!(query.traceparent.contains(TRACE) && query.tracestate.is_empty(), "{query:?}");
        }
        let last = asked[count];
        assert!(!last.traceparent.contains(TRACE) && last.tracestate.is_empty(), "{last:?}");
    });
}

#[tokio::test]
async fn a_booking_that_fails_says_why_and_bad_traceparents_begin_traces_of_their_own() {
    let (mut collector, folder) = (Collector::start(Manner::Takes).await, calendars(&["alice"]));
    let (scheduler, url) = serve(&["--otlp-endpoint", &collector.url]).await;
    let agent = agent(&url, folder.path(), &["alice"], &["--otlp-endpoint", &collector.url]).await;
    let client = client_of(&url).await;
    let round = ask(&["alice", "nobody"]);
    let failed = schedule(&client, &traceparent("01"), round).await;
    let words = failure(&failed).message.clone();
    let zeros = "0".repeat(32);
    let bad = [
        "nonsense".to_owned(),
        format!("00-{zeros}-{CALLER}-01"),
        format!("00-{TRACE}-0000000000000000-01"),
        format!("ff-{TRACE}-{CALLER}-01"),
        traceparent("01").to_uppercase(),
    ];
    let mut meetings = BTreeSet::new();
    for traceparent in &bad {
        meetings.insert(schedule(&client, traceparent, ask(&["nobody"])).await.meeting_id);
    }
    // A trace that is not kept is passed on and not recorded.
    let unkept = schedule(&client, &traceparent("00"), ask(&["alice"])).await.meeting_id;
    agent.terminate().await;
    assert_eq!(agent.exit().await.0, Some(0));
    scheduler.terminate().await;
    assert_eq!(scheduler.exit().await.0, Some(0));

    let spans = collector.spans();
    let ours: Vec<&Exported> = spans.iter().filter(|span| span.trace == TRACE).collect();
    let names: Vec<&str> = ours.iter().map(|span| span.name.as_str()).collect();
    let request = "quorate.v1.SchedulerService/ScheduleMeeting";
    assert!(names.contains(&"meeting") && names.contains(&request), "{names:?}");
    for span in &ours {
        assert_ne!(span.attributes.get("quorate.meeting.id"), Some(&unkept));
        let why = (span.name == "meeting").then_some(words.as_str());
        assert_eq!(span.error.as_deref(), why, "{span:?}");
    }
    let others: Vec<&Exported> =
        spans.iter().filter(|span| span.trace != TRACE && span.name == request).collect();
    let traces: BTreeSet<&str> = others.iter().map(|span| span.trace.as_str()).collect();
    assert_eq!((others.len(), traces.len()), (bad.len(), bad.len()), "{others:?}");
    assert!(others.iter().all(|span| span.parent.is_empty()), "{others:?}");
    let about: BTreeSet<String> = others.iter().map(|s| s.attributes["quorate.meeting.id"].clone()).collect();
    assert_eq!(about, meetings);
}

/// Books while the collector is away; the process ends in order, and its log says once that spans were lost.
async fn books_without_a_collector(manner: Manner) {
    let (mut collector, folder) = (Collector::start(manner).await, calendars(&["alice"]));
    let (scheduler, url) = serve(&["--otlp-endpoint", &collector.url]).await;
    let agent = agent(&url, folder.path(), &["alice"], &["--otlp-endpoint", &collector.url]).await;
    let client = client_of(&url).await;
    for hour in 8..11 {
        let booked =
            schedule(&client, &traceparent("01"), ask(&["alice"]).at(AHEAD + hour, AHEAD + hour + 1)).await;
        assert_eq!(booked.state(), State::Confirmed);
        match manner {
            Manner::Silent | Manner::Refuses => collector.asked().await,
            Manner::Absent => {
                scheduler.until("spans are lost", |line| line.contains("traces are lost until")).await;
            }
            Manner::Takes => panic!("this one is there"),
        }
    }
    agent.terminate().await;
    assert_eq!(agent.exit().await.0, Some(0));
    scheduler.terminate().await;
    let (code, log) = scheduler.exit().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains('\x1b'), "colours, and there is no terminal: {log}");
    let said = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    match manner {
        // It hangs for longer than anybody waits at the end; what hung before is counted when its time is over.
        Manner::Silent => {
            assert!(said("traces are lost until") <= 1, "{log}");
            assert_eq!(said("did not take the last spans in time"), 1, "{log}");
            assert_eq!(said("spans were lost"), 1, "{log}");
        }
        _ => assert_eq!((said("traces are lost until"), said("spans were lost")), (1, 1), "{log}"),
    }
}

#[tokio::test]
async fn a_collector_that_is_down_delays_nothing() {
    books_without_a_collector(Manner::Absent).await;
}

#[tokio::test]
async fn a_collector_that_never_answers_delays_nothing() {
    books_without_a_collector(Manner::Silent).await;
}

#[tokio::test]
async fn a_collector_that_refuses_delays_nothing() {
    books_without_a_collector(Manner::Refuses).await;
}

#[tokio::test]
async fn a_collector_that_takes_again_gets_what_follows() {
    let (mut collector, folder) = (Collector::start(Manner::Refuses).await, calendars(&["alice"]));
    let (scheduler, url) = serve(&["--otlp-endpoint", &collector.url]).await;
    let _agent = agent(&url, folder.path(), &["alice"], &[]).await;
    let client = client_of(&url).await;
    let book = async |hour: i64| {
        let at = AHEAD + hour;
        let booked = schedule(&client, &traceparent("01"), ask(&["alice"]).at(at, at + 1)).await;
        assert_eq!(booked.state(), State::Confirmed);
        booked.meeting_id
    };
    book(8).await;
    scheduler.until("spans are lost", |line| line.contains("traces are lost until")).await;
    collector.takes_again();
    let kept = book(9).await;
    let again = "the collector takes traces again; some spans were lost";
    scheduler.until("they are taken again", |line| line.contains(again)).await;
    scheduler.terminate().await;
    let (code, log) = scheduler.exit().await;
    assert_eq!(code, Some(0), "{log}");
    // All that was lost was told when it was over: nothing is left to tell at the end.
    assert_eq!(log.lines().filter(|line| line.contains("lost")).count(), 2, "{log}");
    let spans = collector.spans();
    let about = |span: &&Exported| span.attributes.get("quorate.meeting.id") == Some(&kept);
    let requests = spans.iter().filter(about).filter(|span| span.kind == "SERVER").count();
    assert_eq!(requests, 1, "{spans:?}");
}

#[tokio::test]
async fn what_can_not_be_used_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let headers = folder.path().join("headers");
    std::fs::write(&headers, format!("no header but {SECRET}\n")).unwrap();
    let path = headers.to_str().unwrap();
    let secret = format!("http://me:{SECRET}@127.0.0.1:4317");
    for (arguments, expected, words) in [
        (vec!["--otlp-endpoint", "https://collector:4317"], 2, "TLS to a collector is not supported"),
        (vec!["--otlp-endpoint", "nonsense"], 2, "expected http://host:port"),
        (vec!["--otlp-endpoint", &secret], 2, "put what proves who you are into --otlp-headers-file"),
        (
            vec!["--otlp-endpoint", "http://127.0.0.1:1", "--otlp-headers-file", path],
            1,
            "line 1 of the headers",
        ),
        (vec!["--otlp-endpoint", "http://127.0.0.1:1", "--otlp-headers-file", "/none"], 1, "can't be read"),
    ] {
        let program = Program::start(&[&["serve", "--in-memory"], &arguments[..]].concat());
        let (code, log) = program.exit().await;
        assert_eq!(code, Some(expected), "{log}");
        assert!(log.contains(words) && !log.contains(SECRET), "{log}");
    }
}

/// `TRACEPARENT` and `TRACESTATE` in a command's environment are passed on.
#[tokio::test]
async fn a_command_is_part_of_the_trace_that_it_is_run_in() {
    let mut collector = Collector::start(Manner::Takes).await;
    let (scheduler, url) = serve(&["--otlp-endpoint", &collector.url]).await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["participants", "--scheduler", &url]);
    command.env("TRACEPARENT", traceparent("01")).env("TRACESTATE", STATE);
    assert!(within("the command ends", command.output()).await.unwrap().status.success());
    scheduler.terminate().await;
    assert_eq!(scheduler.exit().await.0, Some(0));
    let spans = collector.spans();
    let found: Vec<_> = spans.iter().map(|s| [&s.trace, &s.parent, &s.state, &s.name]).collect();
    assert_eq!(found, [[TRACE, CALLER, STATE, "quorate.v1.SchedulerService/ListParticipants"]]);
}
