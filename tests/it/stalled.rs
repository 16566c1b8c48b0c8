//! A disk that hangs, and one that takes no writes: what operators are told meanwhile, and that a drain ends all the same.
//! Somebody else's lock on the database stands for the disk: the store waits for it for ten seconds, and then fails.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::support::*;
use pb::meeting::State;

/// A scheduler process with a port for operators, and alice's agent.
struct World {
    program: Program,
    url: String,
    admin: SocketAddr,
    client: Client,
    host: Host,
}

impl World {
    async fn start(folder: &Path) -> Self {
        let data = folder.display().to_string();
        let line = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data-dir", &data];
        let program = Program::start(&line);
        let listens = program.until("it listens", |line| line.contains(" listens on ")).await;
        let looks_in = program.until("operators look in", |line| line.contains("look in at")).await;
        let last = |line: &str| line.rsplit(' ').next().expect("an address").to_owned();
        let url = format!("http://{}", last(&listens));
        let admin = last(&looks_in).replace("http://", "").replace('/', "").parse().expect("an address");
        let client = client_of(&url).await;
        let mut host = Host::new(vec![Person::new("alice").free(8, 17)]);
        host.connect(&url).await;
        Self { program, url, admin, client, host }
    }

    async fn get(&self, path: &str) -> Answer {
        http(self.admin, "GET", path).await.expect("an answer")
    }

    async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.body;
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{name}: {text}")).parse().expect("a number")
    }

    /// Asks until the answer is as wanted.
    async fn until(&self, what: &str, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        within(what, async {
            loop {
                let answer = self.get(path).await;
                if wanted(&answer) {
                    break answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Asks for a meeting, in the background, and returns when the store has had it for a moment.
    async fn hang_on_a_request(&self) -> tokio::task::JoinHandle<Result<(), tonic::Status>> {
        let mut client = self.client.clone();
        let request = ask(&["alice"]).0;
        let asked = tokio::spawn(async move { client.schedule_meeting(request).await.map(drop) });
        within("the store does not answer", async {
            while self.metric("quorate_store_outstanding_seconds").await < 0.1 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        asked
    }
}

/// Takes the database's only place for writers.
fn lock(folder: &Path) -> rusqlite::Connection {
    let lock = rusqlite::Connection::open(folder.join("quorate.db")).expect("the database");
    lock.busy_timeout(PATIENCE).expect("a timeout");
    // Whoever closes the database last removes its log, and a scheduler that was not the one misses it.
    let keep = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    lock.set_db_config(keep, true).expect("a setting");
    lock.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    lock
}

#[tokio::test]
async fn a_store_that_hangs_is_not_ready_until_it_takes_a_write() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::start(folder.path()).await;
    assert_eq!(world.get("/readyz").await.status, 200);
    let lock = lock(folder.path());
    let asked = world.hang_on_a_request().await;
    let told = world.until("it is not ready", "/readyz", |answer| answer.status != 200).await;
    assert_eq!((told.status, told.body.as_str()), (503, "the store has not answered for 5 s\n"));
    assert!(world.metric("quorate_store_outstanding_seconds").await >= 5.0);
    assert_eq!(world.metric("quorate_ready").await, 0.0);
    assert_eq!(world.get("/livez").await.status, 200, "a restart would not help");
    assert_eq!(world.metric("quorate_store_commits_failed_total").await, 0.0);
    // The store gives up, is read anew, and has to be written for that: it is not ready meanwhile.
    let failed = world.program.until("the store fails", |line| line.contains("the store failed")).await;
    assert!(failed.contains("database is locked"), "{failed}");
    assert_eq!(within("the call ends", asked).await.unwrap().unwrap_err().code(), tonic::Code::Unavailable);
    let told = world.get("/readyz").await;
    assert_eq!((told.status, told.body.contains("can't be used")), (503, true), "{}", told.body);
    assert_eq!(world.metric("quorate_store_commits_failed_total").await, 1.0);
    assert_eq!(world.metric("quorate_store_failures_total").await, 1.0);
    assert!(world.host.ended().await.is_err(), "streams start over with the store");

    lock.execute_batch("ROLLBACK").expect("the lock is given back");
    let again = |line: &str| line.contains("the store is in order again");
    world.program.until("it is in order again", again).await;
    world.until("it is ready", "/readyz", |answer| answer.status == 200).await;
    world.host.connect(&world.url).await;
    let booked = world.client.schedule_meeting(ask(&["alice"]).0).await.expect("an answer").into_inner();
    assert_eq!(booked.meeting.expect("a meeting").state(), State::Confirmed);
    world.program.terminate().await;
    let (code, log) = world.program.exit().await;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.lines().filter(|line| again(line)).count(), 1, "said once it has taken a write: {log}");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_store_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let lock = lock(folder.path());
    let asked = world.hang_on_a_request().await;
    world.program.terminate().await;
    // The store itself would give up after ten seconds, which would be a drain as any other.
    let (code, log) = world.program.exit().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("the store hangs and did not take what was left to write"), "{log}");
    assert!(within("the call ends", asked).await.unwrap().is_err());
    drop(lock);
    let serve = Serve::start(folder.path()).await;
    let mut host = Host::new(vec![Person::new("alice").free(8, 17)]);
    host.connect(&serve.url).await;
    let mut client = client_of(&serve.url).await;
    let booked = client.schedule_meeting(ask(&["alice"]).0).await.expect("an answer").into_inner();
    assert_eq!(booked.meeting.expect("a meeting").state(), State::Confirmed);
}
