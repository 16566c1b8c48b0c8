use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::core::message::Booking;
use crate::core::participant::PromiseState;
use crate::core::time::{Instant, TimeRange};

fn who(name: &str) -> ParticipantId {
    ParticipantId::new(name)
}

fn attempt(meeting: u8, n: u64) -> Attempt {
    Attempt::new(MeetingId::new(format!("m{meeting}")), AttemptNumber(n))
}

fn promise(state: PromiseState, attempt: Attempt, start: i64) -> JournalRecord {
    let at = |hours: i64| Instant::from_timestamp(hours * 3600, 250_000).unwrap();
    let slot = TimeRange::new(at(start), at(start + 1));
    let booking = Booking {
        attempt,
        slot,
        blocked: slot,
        title: "Pl\u{e4}n \"x\"".to_owned(),
        organizer: "alice".to_owned(),
        attendees: vec![who("alice"), who("bob")],
        sequence: 3,
        revision: 1,
        series: None,
    };
    JournalRecord::Promise(PromiseRow { state, booking, displaces: vec![super::tests::attempt(9, 1)] })
}

fn record() -> impl Strategy<Value = JournalRecord> {
    let attempts =
        || (0_u8..4, prop_oneof![1_u64..5, Just(u64::MAX), Just(1 << 63)]).prop_map(|(m, n)| attempt(m, n));
    prop_oneof![
        (attempts(), any::<bool>(), -500_000_i64..900_000).prop_map(|(attempt, held, start)| promise(
            if held { PromiseState::Held } else { PromiseState::Confirmed },
            attempt,
            start
        )),
        attempts().prop_map(JournalRecord::Drop),
        attempts().prop_map(JournalRecord::Tombstone),
        (attempts(), any::<String>()).prop_map(|(attempt, reason)| JournalRecord::Withdrawn(attempt, reason)),
        attempts().prop_map(JournalRecord::WithdrawalDone),
        (any::<u32>(), "[a-z]{0,9}")
            .prop_map(|(generation, incarnation)| JournalRecord::Scheduler { generation, incarnation }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_a_restart_loads_is_what_was_in_memory(
        batches in prop::collection::vec(prop::collection::vec((0_usize..3, record()), 0..12), 1..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let ids = ["alice", "bob", "carol"].map(who);
        let mut file = JournalFile::open(folder.path()).unwrap();
        let mut memory = file.load_all(&ids).unwrap();
        for batch in &batches {
            let mut grouped: Vec<(ParticipantId, Vec<JournalRecord>)> =
                ids.iter().map(|id| (id.clone(), Vec::new())).collect();
            for (index, record) in batch {
                memory[*index].apply(record);
                grouped[*index].1.push(record.clone());
            }
            file.append(&grouped).unwrap();
        }
        drop(file);
        let mut file = JournalFile::open(folder.path()).unwrap();
        prop_assert_eq!(file.load_all(&ids).unwrap(), memory);
    }
}

#[test]
fn each_journal_has_a_name_of_its_own_for_life() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = JournalFile::open(folder.path()).unwrap();
    let (alice, bob) = (file.load(&who("alice")).unwrap(), file.load(&who("bob")).unwrap());
    assert_eq!(BTreeSet::from([alice.id.len(), bob.id.len()]), BTreeSet::from([36]));
    assert_ne!(alice.id, bob.id);
    drop(file);
    let mut file = JournalFile::open(folder.path()).unwrap();
    assert_eq!(file.load(&who("alice")).unwrap(), alice);
}

#[test]
fn a_batch_is_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = JournalFile::open(folder.path()).unwrap();
    let before = file.load(&who("alice")).unwrap();
    let records = vec![promise(PromiseState::Held, attempt(1, 1), 10)];
    let unknown = [(who("alice"), records.clone()), (who("never loaded"), records)];
    assert!(matches!(file.append(&unknown), Err(JournalError::Failed { .. })));
    assert_eq!(file.load(&who("alice")).unwrap(), before);
}

#[test]
fn two_hosts_do_not_share_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let first = JournalFile::open(folder.path()).unwrap();
    let refused = JournalFile::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("another agent runs on") && refused.contains("--data-dir"), "{refused}");
    drop(first);
    JournalFile::open(folder.path()).unwrap();
}

/// Opens a journal that was spoilt, and returns what the error says.
fn spoilt(spoil: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut file = JournalFile::open(folder.path()).unwrap();
    file.load(&who("alice")).unwrap();
    let path = file.path().to_owned();
    file.append(&[(who("alice"), vec![promise(PromiseState::Held, attempt(1, 1), 10)])]).unwrap();
    drop(file);
    spoil(&path);
    let opened = JournalFile::open(folder.path());
    let error = opened.and_then(|mut file| file.load(&who("alice"))).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
    assert!(error.contains("new lineage"), "{error}");
    error
}

#[test]
fn a_spoilt_journal_is_refused_with_the_way_out() {
    spoilt(|path| std::fs::write(path, b"").unwrap());
    spoilt(|path| std::fs::write(path, b"this is not a database, however long it may be").unwrap());
    spoilt(|path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    });
    spoilt(|path| {
        let db = Connection::open(path).unwrap();
        db.execute("UPDATE promises SET body = '{}'", []).unwrap();
    });
    spoilt(|path| Connection::open(path).unwrap().pragma_update(None, "application_id", 7).unwrap());
    let newer = spoilt(|path| {
        let db = Connection::open(path).unwrap();
        db.pragma_update(None, "user_version", file::VERSION + 1).unwrap();
    });
    assert!(newer.contains("newer version"), "{newer}");
    let gone = spoilt(|path| {
        std::fs::rename(path, path.with_extension("away")).unwrap();
        std::fs::write(path.with_extension("db-wal"), b"x").unwrap();
    });
    assert!(gone.contains("-wal"), "{gone}");
}

#[test]
fn the_steps_are_valid_sql() {
    file::migrations().validate().unwrap();
}

#[test]
fn a_full_disk_is_an_error_and_nothing_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = JournalFile::open(folder.path()).unwrap();
    let before = file.load(&who("alice")).unwrap();
    let pages: i64 = file.db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let limit = format!("PRAGMA max_page_count = {pages}");
    file.db.query_row(&limit, [], |row| row.get::<_, i64>(0)).unwrap();
    let many = (1..200).map(|n| promise(PromiseState::Held, attempt(1, n), 10)).collect();
    let error = file.append(&[(who("alice"), many)]).unwrap_err().to_string();
    assert!(error.contains("full"), "{error}");
    assert_eq!(file.load(&who("alice")).unwrap(), before);
}

/// `quorate doctor`: a sound journal passes, also beside an agent, and each way to spoil one is found.
#[test]
fn the_doctor_finds_what_is_wrong_with_a_journal() {
    let failed = |path: &Path| -> Vec<&str> {
        let checks = doctor::examine(path).unwrap();
        checks.iter().filter(|check| !check.passed()).map(|check| check.name).collect()
    };
    let make = |folder: &Path| -> JournalFile {
        let mut journal = JournalFile::open(folder).unwrap();
        journal.load(&who("alice")).unwrap();
        let records =
            (0..3).map(|n| promise(PromiseState::Confirmed, attempt(n, 1), i64::from(n))).collect::<Vec<_>>();
        journal.append(&[(who("alice"), records)]).unwrap();
        journal
    };
    let folder = tempfile::tempdir().unwrap();
    let open = make(folder.path());
    assert_eq!(failed(open.path()), Vec::<&str>::new());
    drop(open);
    for (check, sql) in [
        ("schema", "PRAGMA user_version = 99"),
        ("schema", "PRAGMA application_id = 1"),
        ("rows", "UPDATE promises SET body = '{}' WHERE meeting = 'm1'"),
        ("rows", "UPDATE promises SET n = 7 WHERE meeting = 'm1'"),
        ("rows", "DELETE FROM participants"),
        (
            "I1",
            "UPDATE promises SET body = replace((SELECT body FROM promises WHERE meeting = 'm0'), 'm0', 'm1')
             WHERE meeting = 'm1'",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = make(folder.path()).path().to_owned();
        assert_eq!(failed(&path), Vec::<&str>::new());
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        assert_eq!(failed(&path), [check], "{sql}");
    }
    let path = folder.path().join(JOURNAL_FILE);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(failed(&path).contains(&"file"));
    assert!(doctor::examine(folder.path()).is_err());
}
