//! `quorate doctor`: a sound store passes, and each way to spoil one is found by the check that is there for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;

use quorate::core::checkup::Check;
use quorate::core::ids::SeriesId;
use quorate::core::message::ReleaseCause;
use quorate::core::model::{EventKind, Meeting, MeetingState};
use quorate::core::record::{AttemptState, Write};
use quorate::core::series::{Recurrence, SeriesState};
use quorate::engine::store::StoreError;
use quorate::store::{Consent, SqliteStore, backup, doctor, restore};

use super::make::*;
use super::series::{put_series, series};

const REPLACE: Consent = Consent { replace: true, findings: false };

/// A meeting that is booked with ann and bob, of whom bob was not told yet.
fn booked(id: &str, n: u64, from: i64) -> (Meeting, Vec<Write>) {
    let slot = range(from, from + 30);
    let blocked = range(from, from + 40);
    let sought = meeting(id, &["ann", "bob"]);
    let mut meeting = confirmed(sought.clone(), n, slot);
    meeting.last_attempt = meeting.booked;
    for outcome in &mut meeting.attendees {
        outcome.status = quorate::core::model::AttendeeStatus::Attending;
    }
    let writes = vec![
        put(&meeting),
        put_attempt(&row(attempt(id, n), AttemptState::Committed, slot, &["ann", "bob"])),
        booking("ann", attempt(id, n), blocked),
        booking("bob", attempt(id, n), blocked),
        Write::BookingDelivered(who("ann"), attempt(id, n)),
        Write::Delivery(confirm("bob", attempt(id, n), slot, "Plan")),
        event(EventKind::Scheduling, from, &sought),
        event(EventKind::Confirmed, from, &meeting),
    ];
    (meeting, writes)
}

/// A bit of everything: booked meetings, one that is being sought, one that lost its slot to another, and a series.
pub fn fill(store: &mut SqliteStore) {
    let mut writes = vec![
        Write::Generation { generation: 3, incarnation: "three".into() },
        Write::Participant(participant("ann", 1, 1, 9)),
        Write::Participant(participant("bob", 2, 1, 0)),
    ];
    writes.extend(booked("a", 1, 0).1);
    // It was moved once, and whoever was booked then has not said that they let go.
    let (moved, rows) = booked("b", 2, 100);
    writes.extend(rows);
    writes.push(put_attempt(&row(attempt("b", 1), AttemptState::Superseded, range(0, 30), &["ann", "bob"])));
    writes.push(Write::Delivery(release("ann", attempt("b", 1), ReleaseCause::Moved)));
    assert_eq!(moved.id.as_str(), "b");
    // Sought, with a hold.
    let mut sought = meeting("c", &["ann"]);
    sought.last_attempt = Some(attempt("c", 1).n);
    writes.push(put(&sought));
    writes.push(put_attempt(&row(attempt("c", 1), AttemptState::Holding, range(200, 230), &["ann"])));
    // Displaced by e, which is booked in its place.
    let mut lost = meeting("d", &["ann", "bob"]);
    lost.state = MeetingState::Displaced;
    lost.last_attempt = Some(attempt("d", 1).n);
    writes.push(put(&lost));
    writes.push(put_attempt(&row(
        attempt("d", 1),
        AttemptState::Superseded,
        range(300, 330),
        &["ann", "bob"],
    )));
    let (_, rows) = booked("e", 1, 300);
    writes.extend(rows);
    let mut taker = row(attempt("e", 1), AttemptState::Committed, range(300, 330), &["ann", "bob"]);
    taker.displaces = vec![attempt("d", 1)];
    writes.push(put_attempt(&taker));
    // A series with one meeting that is booked.
    let (mut occurrence, mut rows) = booked("f", 1, 400);
    let of = Recurrence {
        series: SeriesId::new("s"),
        rule: "FREQ=DAILY;COUNT=1".into(),
        start: jiff::civil::date(2026, 3, 24).at(9, 0, 0, 0),
        time_zone: "Europe/Berlin".into(),
        duration: std::time::Duration::from_secs(1_800),
        local: jiff::civil::date(2026, 3, 24).at(9, 0, 0, 0),
        instant: at(400),
    };
    occurrence.series = Some(Arc::new(of));
    rows[0] = put(&occurrence);
    writes.extend(rows);
    writes.push(put_series(&series("s", SeriesState::Confirmed, &["f"])));
    write(store, writes);
}

fn sound() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quorate.db");
    fill(&mut SqliteStore::open(&path).expect("a store"));
    (folder, path)
}

fn failed(checks: &[Check]) -> BTreeSet<&'static str> {
    checks.iter().filter(|check| !check.passed()).map(|check| check.name).collect()
}

fn examine(path: &Path) -> Vec<Check> {
    doctor::examine(path).expect("the file can be read")
}

#[test]
fn a_sound_store_passes_and_nothing_is_changed() {
    let (folder, path) = sound();
    let whole = fs::read(&path).expect("the file");
    let names = || {
        let entries = fs::read_dir(folder.path()).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name()).collect::<BTreeSet<_>>()
    };
    let before = names();
    let checks = examine(&path);
    assert_eq!(failed(&checks), BTreeSet::new(), "{checks:#?}");
    assert_eq!((fs::read(&path).expect("the file"), names()), (whole, before));
    // Beside a store that is open the same, and with what is in its log alone.
    let mut store = SqliteStore::open(&path).expect("a store");
    assert_eq!(failed(&examine(&path)), BTreeSet::new());
    write(&mut store, vec![booking("ann", attempt("a", 1), range(5_000, 5_001))]);
    assert_eq!(failed(&examine(&path)), BTreeSet::from(["bookings"]));
}

/// Which check finds it, and the SQL that spoils a sound store.
const SPOILT: [(&str, &str); 33] = [
    ("schema", "PRAGMA user_version = 99"),
    ("schema", "PRAGMA application_id = 1"),
    ("rows", "UPDATE meetings SET body = '{}' WHERE id = 'a'"),
    ("rows", "UPDATE meetings SET version = version + 1 WHERE id = 'a'"),
    ("rows", "UPDATE meetings SET state = 'FAILED' WHERE id = 'a'"),
    ("rows", "UPDATE meetings SET start_key = start_key + 1 WHERE id = 'a'"),
    ("rows", "UPDATE attempts SET state = 'LOST' WHERE meeting_id = 'a'"),
    (
        "rows",
        "UPDATE attempts SET body = (SELECT body FROM attempts WHERE meeting_id = 'b' AND n = 2) WHERE meeting_id = 'a'",
    ),
    ("rows", "UPDATE deliveries SET kind = 'RELEASE' WHERE meeting_id = 'a'"),
    ("rows", "UPDATE events SET meeting_id = 'b' WHERE meeting_id = 'a'"),
    ("rows", "UPDATE series SET live = 1 - live"),
    ("rows", "UPDATE confirms SET body = '[]'"),
    (
        "I1",
        "UPDATE bookings SET start_us = start_us + 6000000000, end_us = end_us + 6000000000 WHERE meeting_id = 'a'",
    ),
    ("I3", "DELETE FROM bookings WHERE meeting_id = 'a' AND participant = 'bob'"),
    ("I3", "UPDATE attempts SET state = 'ABORTED' WHERE meeting_id = 'a'"),
    (
        "I3",
        "INSERT INTO bookings SELECT 'c', 1, 'ann', start_us + 90000000000, end_us + 90000000000, 1 FROM bookings WHERE meeting_id = 'a' AND participant = 'ann'",
    ),
    (
        "I4",
        "UPDATE attempts SET body = json_set(body, '$.commit_set', json('[\"ann\"]')) WHERE meeting_id = 'a'",
    ),
    ("I4", "UPDATE attempts SET body = json_set(body, '$.minimum', 3) WHERE meeting_id = 'a'"),
    ("I5", "UPDATE attempts SET state = 'COMMITTED' WHERE meeting_id = 'd'"),
    ("I5", "UPDATE attempts SET body = json_set(body, '$.displaces', json('[]')) WHERE meeting_id = 'e'"),
    ("I6", "UPDATE meetings SET body = json_set(body, '$.request_id', 'r-a') WHERE id = 'b'"),
    ("attempts", "UPDATE attempts SET n = 7 WHERE meeting_id = 'c'"),
    ("attempts", "DELETE FROM meetings WHERE id = 'c'"),
    (
        "attempts",
        "UPDATE store SET generation = 0; UPDATE attempts SET n = n + (1 << 32) WHERE meeting_id = 'b'",
    ),
    ("attempts", "UPDATE attempts SET state = 'COMMITTED' WHERE meeting_id = 'b' AND n = 1"),
    ("bookings", "UPDATE bookings SET end_us = end_us + 1 WHERE meeting_id = 'a' AND participant = 'ann'"),
    ("bookings", "DELETE FROM participants WHERE id = 'bob'"),
    ("deliveries", "DELETE FROM confirms"),
    ("deliveries", "INSERT INTO confirms (body) SELECT body FROM confirms LIMIT 1"),
    ("deliveries", "INSERT INTO deliveries VALUES ('ann', 'a', 1, 'RELEASE', NULL, 'CANCELLED')"),
    ("series", "DELETE FROM series"),
    ("events", "DELETE FROM meetings WHERE id = 'a'"),
    ("index", "DELETE FROM meeting_attendees WHERE participant = 'bob'"),
];

#[test]
fn each_check_finds_what_it_is_there_for() {
    let mut found = BTreeSet::new();
    for (check, sql) in SPOILT {
        let (folder, path) = sound();
        Connection::open(&path).expect("the file").execute_batch(sql).expect("SQL");
        let checks = examine(&path);
        assert!(failed(&checks).contains(check), "{check}, {sql}: {checks:#?}");
        assert!(!failed(&checks).contains("file"), "{sql}: {checks:#?}");
        // It may be all that there is: it's restored if whoever asks says that they know.
        let place = folder.path().join("elsewhere/quorate.db");
        let unsound = restore(&path, &place, Consent::default()).unwrap_err().to_string();
        assert!(unsound.contains("nothing was changed") && !place.exists(), "{unsound}");
        let readable = failed(&checks).is_disjoint(&BTreeSet::from(["schema", "rows"]));
        assert_eq!(unsound.contains("--accept-findings"), readable, "{unsound}");
        let restored = restore(&path, &place, Consent { replace: false, findings: true });
        assert_eq!(restored.is_ok(), readable, "{sql}: {restored:?}");
        if let Ok(restored) = restored {
            let findings = checks.into_iter().flat_map(|check| check.problems);
            assert_eq!(restored.findings, findings.collect::<Vec<_>>());
        }
        found.insert(check);
    }
    let (_folder, path) = sound();
    Connection::open(&path).expect("the file").execute_batch("UPDATE store SET longest_us = 0").expect("SQL");
    assert_eq!(failed(&examine(&path)), BTreeSet::from(["index"]));
    let all: BTreeSet<_> =
        examine(&path).iter().map(|check| check.name).filter(|name| *name != "file").collect();
    assert_eq!(found, all, "a check that was never seen to fail");
}

#[test]
fn a_damaged_file_is_found() {
    let (folder, path) = sound();
    let whole = fs::read(&path).expect("the file");
    let mut overwritten = whole.clone();
    overwritten[3 * 4_096..4 * 4_096].fill(0xa5);
    for (what, bytes) in [
        ("cut in half", whole[..whole.len() / 2].to_vec()),
        ("cut by a byte", whole[..whole.len() - 1].to_vec()),
        ("a page overwritten", overwritten),
        ("text", b"The quick brown fox jumps over the lazy dog.\n".repeat(1_000)),
        ("nothing", Vec::new()),
    ] {
        fs::write(&path, bytes).expect("the file");
        let checks = examine(&path);
        assert!(!failed(&checks).is_empty(), "{what}: {checks:#?}");
        // What is not sound is not put in place.
        let place = folder.path().join("elsewhere/quorate.db");
        assert!(
            matches!(
                restore(&path, &place, Consent { replace: false, findings: true }),
                Err(StoreError::Unopenable(_))
            ),
            "{what}"
        );
        assert!(!place.exists(), "{what}");
    }
    // A store that was not closed, and whose log is gone.
    fs::write(&path, &whole).expect("the file");
    fs::write(folder.path().join("quorate.lock"), "open  \n").expect("the lock");
    assert_eq!(failed(&examine(&path)), BTreeSet::from(["file"]));
    assert!(doctor::examine(&folder.path().join("none.db")).is_err());
    assert!(doctor::examine(folder.path()).is_err());
}

#[test]
fn a_backup_is_of_one_moment_and_never_over_something_else() {
    let (folder, path) = sound();
    let copy = folder.path().join("copy.db");
    let mut store = SqliteStore::open(&path).expect("a store");
    write(&mut store, vec![Write::Participant(participant("cat", 1, 1, 0))]);
    assert_eq!(failed(&backup(&path, &copy, false).expect("a backup")), BTreeSet::new());
    let names = |path: &Path| -> Vec<String> {
        let db = Connection::open(path).expect("a database");
        let mut select = db.prepare("SELECT id FROM participants ORDER BY id").expect("SQL");
        let rows = select.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("rows")
    };
    assert_eq!(names(&copy), ["ann", "bob", "cat"], "what is in the log alone is in the backup");
    write(&mut store, vec![Write::Participant(participant("dan", 1, 1, 0))]);
    let message = |result: Result<_, StoreError>| result.map(|_: Vec<Check>| ()).unwrap_err().to_string();
    assert!(message(backup(&path, &copy, false)).contains("is there already"));
    assert_eq!(names(&copy), ["ann", "bob", "cat"]);
    backup(&path, &copy, true).expect("a backup");
    assert_eq!(names(&copy), ["ann", "bob", "cat", "dan"]);
    assert!(message(backup(&path, &path, true)).contains("is the store itself"));
    let log = path.with_file_name("quorate.db-wal");
    let commits = fs::read(&log).expect("the log of an open store");
    assert!(message(backup(&path, &log, true)).contains("is part of the store itself"));
    assert_eq!(fs::read(&log).expect("the log"), commits);
    assert!(message(backup(&path, &folder.path().join("no/such/folder"), true)).contains("can't be written"));
    let left = fs::read_dir(folder.path()).expect("a folder");
    let left: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("backup")), "{left:?}");
}

/// While the log grows and begins anew, nothing is missing from it.
#[test]
fn a_store_that_is_written_to_is_sound() {
    let (_folder, path) = sound();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut looks = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) || looks == 0 {
                let checks = examine(&path);
                assert_eq!(failed(&checks), BTreeSet::new(), "look {looks}: {checks:#?}");
                looks += 1;
            }
        });
        let mut store = SqliteStore::open(&path).expect("a store");
        for n in 0..3_000 {
            write(&mut store, vec![Write::Participant(participant("cat", 1, n, 0))]);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        drop(store);
        looker.join().expect("the one who looks");
    });
}

/// The numbers of a restored store are beyond those of every life before it.
#[test]
fn a_restored_store_is_a_later_life_and_the_old_one_is_kept() {
    let (folder, path) = sound();
    let copy = folder.path().join("copy.db");
    backup(&path, &copy, false).expect("a backup");
    let generation = |path: &Path| -> (u32, String) {
        let db = Connection::open(path).expect("a database");
        db.query_row("SELECT generation, incarnation FROM store", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .expect("a row")
    };
    let later = Write::Generation { generation: 90_000, incarnation: "later".into() };
    let mut store = SqliteStore::open(&path).expect("a store");
    write(&mut store, vec![later]);
    let message = restore(&copy, &path, REPLACE).unwrap_err().to_string();
    assert!(message.contains("another scheduler runs on"), "{message}");
    drop(store);
    let message = restore(&copy, &path, Consent::default()).unwrap_err().to_string();
    assert!(message.contains("--force"), "{message}");
    assert_eq!(generation(&path).0, 90_000);
    let kept = restore(&copy, &path, REPLACE).expect("restored").replaced.expect("what was there");
    let (life, name) = generation(&path);
    assert!(life > 90_000 && name != "later" && name != "three", "{life} {name}");
    assert_eq!(generation(&kept), (90_000, "later".to_owned()));
    // Twice the same backup: two lives.
    restore(&copy, &path, REPLACE).expect("restored");
    assert_ne!(generation(&path).1, name);
    assert_eq!(failed(&examine(&path)), BTreeSet::new());
    drop(SqliteStore::open(&path).expect("a store"));
    // Into a new place, and over a store that was not closed and whose log is beside it.
    let elsewhere = folder.path().join("new/quorate.db");
    assert_eq!(restore(&copy, &elsewhere, Consent::default()).expect("restored").replaced, None);
    assert!(generation(&elsewhere).0 > 3);
    let mut killed = SqliteStore::open(&elsewhere).expect("a store");
    write(&mut killed, vec![Write::Participant(participant("cat", 1, 1, 0))]);
    let log = folder.path().join("new/quorate.db-wal");
    let (file, log_bytes) = (fs::read(&elsewhere).expect("the file"), fs::read(&log).expect("the log"));
    drop(killed);
    fs::write(&elsewhere, file).expect("the file");
    fs::write(&log, log_bytes).expect("the log");
    fs::write(folder.path().join("new/quorate.lock"), "open  \n").expect("the lock");
    let kept = restore(&copy, &elsewhere, REPLACE).expect("restored").replaced.expect("what was there");
    assert!(!log.exists());
    let mut store = SqliteStore::open(&elsewhere).expect("a store");
    let count = |snapshot: quorate::core::record::Snapshot| snapshot.participants.len();
    assert_eq!(count(quorate::engine::store::Store::snapshot(&mut store).expect("a snapshot")), 2);
    let old = Connection::open(kept).expect("what was there");
    let old: i64 = old.query_row("SELECT count(*) FROM participants", [], |row| row.get(0)).expect("a row");
    assert_eq!(old, 3, "with what was in its log");
}
