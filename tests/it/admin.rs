//! The port for operators: what a probe, a scrape and a person see.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::support::*;
use quorate::app::serve::{Scheduler, Settings, Storage};

async fn get(address: SocketAddr, path: &str) -> Answer {
    http(address, "GET", path).await.expect("an answer")
}

fn admin(world: &World) -> SocketAddr {
    world.scheduler.admin().expect("a port for operators")
}

/// The value of one series, as it is written.
fn value<'a>(text: &'a str, series: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

/// The names of all metrics.
fn families(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| {
            let (name, kind) = line.split_once(' ').expect("a name and a type");
            // As they are queried.
            if kind == "counter" { format!("{name}_total") } else { name.to_owned() }
        })
        .collect()
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let world = World::start_with_admin().await;
    let admin = admin(&world);
    let before = get(admin, "/metrics").await;
    assert_eq!(before.status, 200);
    assert!(
        before.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        before.head
    );
    let _host = world
        .host(vec![
            Person::new("alice").free(8, 17),
            Person::new("bob").free(10, 12),
            Person::new("carol"),
            Person::new("dave").free(8, 17).with(|p| p.votes = Mode::Refuse),
        ])
        .await;
    world.book(ask(&["alice", "bob"])).await;
    let failed = world.schedule(ask(&["alice", "carol"])).await;
    assert_eq!(failure(&failed).reason(), pb::failure::Reason::NoCommonSlot);
    let refused = world.schedule(ask(&["alice", "dave"]).between(12, 13)).await;
    assert_eq!(refused.state(), pb::meeting::State::Failed);
    world.try_schedule(ask(&["alice"]).priority(1000)).await.unwrap_err();
    let text = get(admin, "/metrics").await.body;
    for (series, expected) in [
        ("quorate_requests_total{method=\"ScheduleMeeting\",code=\"OK\"}", "3"),
        ("quorate_requests_total{method=\"ScheduleMeeting\",code=\"INVALID_ARGUMENT\"}", "1"),
        ("quorate_request_duration_seconds_count{method=\"ScheduleMeeting\"}", "4"),
        ("quorate_requests_in_flight{method=\"Join\"}", "1"),
        ("quorate_requests_in_flight{method=\"ScheduleMeeting\"}", "0"),
        ("quorate_rounds_total", "3"),
        ("quorate_round_duration_seconds_count", "3"),
        ("quorate_round_duration_seconds_bucket{le=\"+Inf\"}", "3"),
        ("quorate_answers_total{outcome=\"free\"}", "5"),
        ("quorate_answers_total{outcome=\"busy\"}", "1"),
        ("quorate_holds_requested_total", "4"),
        ("quorate_decisions_total{outcome=\"committed\"}", "1"),
        ("quorate_decisions_total{outcome=\"aborted\"}", "1"),
        ("quorate_decision_duration_seconds_count", "1"),
        ("quorate_attempts_aborted_total{cause=\"refused\"}", "1"),
        ("quorate_failures_total{reason=\"no_common_slot\"}", "2"),
        // All of it is in 2024, and over.
        ("quorate_meetings_booked", "0"),
        ("quorate_participants_connected", "4"),
        ("quorate_sessions", "1"),
        ("quorate_holds_live", "0"),
        ("quorate_meetings_in_flight{phase=\"holding\"}", "0"),
        ("quorate_alarms_total", "0"),
        ("quorate_ready", "1"),
        ("quorate_engine_up", "1"),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series}\n{text}");
    }
    let commits: u64 = value(&text, "quorate_store_commits_total").unwrap().parse().unwrap();
    let operations: f64 = value(&text, "quorate_store_commit_operations_sum").unwrap().parse().unwrap();
    assert!(commits >= 4 && operations >= commits as f64, "{text}");
    assert!(text.ends_with("# EOF\n"));
}

/// Not what was counted since the process started: a dashboard that was begun later shows it too.
#[tokio::test]
async fn booked_meetings_are_told_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let storage = || Storage::Dir(folder.path().to_owned());
    let world = World::start_as(|settings| {
        settings.storage = storage();
        settings.admin = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let _host = world.host(vec![Person::new("alice").free(8, 9).free(AHEAD + 8, AHEAD + 17)]).await;
    let booked = async |world: &World| {
        let text = get(admin(world), "/metrics").await.body;
        value(&text, "quorate_meetings_booked").map(str::to_owned)
    };
    assert_eq!(booked(&world).await.as_deref(), Some("0"));
    world.book(ask(&["alice"]).at(8, 9)).await;
    assert_eq!(booked(&world).await.as_deref(), Some("0"), "it is over");
    let upcoming = world.book(ask(&["alice"]).at(AHEAD + 8, AHEAD + 9)).await;
    world.book(ask(&["alice"]).at(AHEAD + 10, AHEAD + 11)).await;
    assert_eq!(booked(&world).await.as_deref(), Some("2"));
    world.cancel(&upcoming.meeting_id, &upcoming.etag).await.expect("called off");
    assert_eq!(booked(&world).await.as_deref(), Some("1"));
    within("an orderly end", world.scheduler.stop()).await.unwrap();
    let world = World::start_as(|settings| {
        settings.storage = storage();
        settings.admin = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let text = get(admin(&world), "/metrics").await.body;
    assert_eq!(value(&text, "quorate_decisions_total{outcome=\"committed\"}"), Some("0"), "counted anew");
    assert_eq!(value(&text, "quorate_meetings_booked"), Some("1"));
}

#[tokio::test]
async fn every_metric_is_described_and_nothing_else_is() {
    let world = World::start_with_admin().await;
    let _host = world.host(vec![Person::new("alice").free(8, 17)]).await;
    world.book(ask(&["alice"])).await;
    let there = families(&get(admin(&world), "/metrics").await.body);
    let manual = include_str!("../../docs/observability.md");
    let section = manual.split("\n## Metrics\n").nth(1).expect("a section");
    let section = section.split("\n## ").next().expect("its text");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let described: BTreeSet<String> =
        rows.map(|name| name.split('{').next().unwrap_or(name).to_owned()).collect();
    assert_eq!(there, described);
}

#[tokio::test]
async fn a_request_in_flight_is_seen_and_draining_is_told() {
    let world = World::start_with_admin().await;
    let admin = admin(&world);
    assert_eq!(get(admin, "/livez").await.status, 200);
    assert_eq!(get(admin, "/readyz").await.status, 200);
    let host = vec![
        Person::new("alice").free(8, 17).with(|p| p.answers = Mode::Silent),
        Person::new("bob").free(8, 17),
    ];
    let _host = world.host(host).await;
    let absent = ask(&["bob", "zoe"]).connect_timeout(UNHURRIED);
    let connecting = world.spawn_schedule(absent);
    let waiting = world.spawn_schedule(ask(&["alice", "bob"]).title("Severance"));
    let page = within("both are on the page", async {
        loop {
            let page = get(admin, "/").await.body;
            if page.contains("querying") && page.contains("alice of 2") && page.contains("zoe of 2") {
                break page;
            }
        }
    })
    .await;
    assert!(!page.contains("Severance"), "what people meet about is not shown: {page}");
    let text = get(admin, "/metrics").await.body;
    assert_eq!(value(&text, "quorate_meetings_in_flight{phase=\"querying\"}"), Some("1"));
    let stopping = tokio::spawn(world.scheduler.stop());
    let told = within("that it drains is told", async {
        loop {
            let ready = http(admin, "GET", "/readyz").await.expect("who drains says so");
            if ready.status != 200 {
                break ready;
            }
        }
    })
    .await;
    assert_eq!((told.status, told.body.as_str()), (503, "the scheduler is draining\n"));
    assert_eq!(get(admin, "/livez").await.status, 200, "draining is no reason to be killed");
    within("an orderly end", stopping).await.unwrap().unwrap();
    assert!(waiting.await.unwrap().is_err() && connecting.await.unwrap().is_err());
    assert!(http(admin, "GET", "/livez").await.is_none(), "nobody listens any more");
}

#[tokio::test]
async fn the_page_shows_decisions_with_their_reasons() {
    let world = World::start_with_admin().await;
    let admin = admin(&world);
    let empty = get(admin, "/").await;
    assert!(empty.body.contains("Nobody has registered yet.") && empty.body.contains("None yet."));
    let problem = "a.ics:1: <script>alert(1)</script>";
    let mut people = vec![Person::new("alice").free(8, 17), Person::new("bob")];
    people[0].calendar_problem = problem.into();
    let _host = world.host(people).await;
    let booked = world.book(ask(&["alice"]).title("Severance")).await;
    let failed = world.schedule(ask(&["alice", "bob"]).title("Severance")).await;
    let page = get(admin, "/").await;
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    let words = &failure(&failed).message;
    for part in [
        "takes requests",
        &booked.meeting_id,
        "confirmed",
        "2024-07-22 08:00–09:00",
        "first slot tried",
        &failed.meeting_id,
        words.as_str(),
        "a.ics:1: &lt;script&gt;",
    ] {
        assert!(page.body.contains(part), "{part}\n{}", page.body);
    }
    assert!(!page.body.contains("<script") && !page.body.contains("Severance"), "{}", page.body);
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let world = World::start_with_admin().await;
    let admin = admin(&world);
    assert_eq!(get(admin, "/nothing").await.status, 404);
    assert_eq!(http(admin, "POST", "/metrics").await.expect("an answer").status, 405);
    let info: serde_json::Value = serde_json::from_str(&get(admin, "/buildinfo").await.body).expect("JSON");
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["revision"], option_env!("QUORATE_REVISION").unwrap_or("unknown"));
    // The port is taken: a start says which, and leaves nothing behind.
    let mut settings = Settings::new("127.0.0.1:0".parse().unwrap(), Storage::Memory);
    settings.admin = Some(admin);
    let words = Scheduler::start(settings).await.expect_err("refused").to_string();
    assert!(words.starts_with(&format!("can't listen on {admin}")), "{words}");
    assert!(World::start().await.scheduler.admin().is_none(), "nowhere unless asked for");
}

#[tokio::test]
async fn what_was_counted_outlives_a_failure_of_the_store() {
    use quorate::core::coordinator::Command;
    use quorate::engine::{self, Seat};
    use quorate::store::{MemoryStore, StoreFault};
    use quorate::wire::requests;

    let store = MemoryStore::new();
    let disk = store.disk();
    let (engine, _running) = engine::start(store, 1).await.expect("an engine");
    let schedule = || {
        let request = requests::schedule(ask(&["alice"]).0).expect("a request");
        engine.call(Command::Schedule(Box::new(request)), None, Seat::default())
    };
    schedule().await.expect("an answer");
    disk.fail_next(StoreFault::UnknownApplied);
    schedule().await.expect_err("the store's answer was lost");
    // Until what the store has is read again, requests are refused.
    within("the store is read again", async {
        while engine.vitals(0).await.expect("vitals").gauges.is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    schedule().await.expect("it is in order again");
    let vitals = engine.vitals(0).await.expect("vitals");
    assert_eq!(vitals.store.failures, 1);
    let failures: u64 = vitals.counters.failures.each().map(|(_, count)| count).sum();
    assert_eq!(failures, 2, "one before the failure, one after it: {:?}", vitals.counters);
    assert!(vitals.gauges.is_some() && vitals.counters.alarms == 0);
}

/// Reading needs no sync, so it is no commit.
#[tokio::test]
async fn groups_that_only_read_are_no_commits() {
    use quorate::core::coordinator::Command;
    use quorate::engine::{self, Seat};
    use quorate::store::MemoryStore;
    use quorate::wire::requests;

    let (engine, _running) = engine::start(MemoryStore::new(), 1).await.expect("an engine");
    let request = ask(&["alice"]).request_id("6f9c5d0e-3f53-4f7e-9a55-0d6ce1a1f7c2");
    let schedule = || {
        let request = requests::schedule(request.clone().0).expect("a request");
        engine.call(Command::Schedule(Box::new(request)), None, Seat::default())
    };
    let commits = async || engine.vitals(0).await.expect("vitals").store.commits.count();
    let before = commits().await;
    schedule().await.expect("an answer");
    let booked = commits().await;
    assert!(booked > before, "{before} {booked}");
    // What became of it is read from the store.
    schedule().await.expect("the same answer");
    assert_eq!(commits().await, booked);
}

/// A browser that is installed here.
fn browser() -> Option<std::path::PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&folders)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|path| path.is_file())
}

#[tokio::test]
async fn a_browser_shows_the_page_without_a_complaint() {
    let Some(browser) = browser() else {
        super::say::say("SKIPPED the status page in a browser: there is no Chromium here");
        return;
    };
    let world = World::start_with_admin().await;
    let _host = world.host(vec![Person::new("alice").free(8, 17), Person::new("bob")]).await;
    world.book(ask(&["alice"])).await;
    world.schedule(ask(&["alice", "bob"])).await;
    let profile = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("http://{}/", admin(&world))).kill_on_drop(true);
    let shown = within("the browser shows it", command.output()).await.expect("the browser");
    let (dom, log) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    for part in ["takes requests</span>", ">confirmed</td>", ">failed</td>", "<td>alice</td>"] {
        assert!(dom.contains(part), "{part}\n{dom}\n{log}");
    }
    // Whatever its policy forbids, a page says on the console.
    assert!(!log.contains("CONSOLE"), "{log}");
}
