//! What only a store on disk has to stand: being closed, killed, copied, damaged, and opened twice. And the
//! faults that the store on collections plays.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use quorate::core::model::EventKind;
use quorate::core::record::{AttemptState, Condition, Snapshot, Write};
use quorate::engine::store::{Store, StoreError};
use quorate::store::{MemoryStore, SqliteStore, StoreFault};

use super::make::*;

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("quorate.db");
    (directory, path)
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).expect("a store")
}

/// The message with which the file is refused; it has to name the file.
fn refusal(path: &Path) -> String {
    match SqliteStore::open(path) {
        Err(StoreError::Unopenable(message)) => {
            assert!(message.contains(&*path.to_string_lossy()), "does not name the file: {message}");
            message
        }
        Err(other) => panic!("refused with {other:?}"),
        Ok(_) => panic!("{} was opened", path.display()),
    }
}

/// A few of all rows.
fn fill(store: &mut dyn Store, id: &str) {
    let slot = range(0, 30);
    let sought = meeting(id, &["ann", "bob"]);
    write(
        store,
        vec![
            put(&sought),
            put_attempt(&row(attempt(id, 1), AttemptState::Holding, slot, &["ann", "bob"])),
            booking("ann", attempt(id, 2), slot),
            Write::Delivery(confirm("ann", attempt(id, 2), slot, "Plan")),
            Write::Participant(participant("ann", 1, 1, 9)),
            event(EventKind::Scheduling, 0, &sought),
        ],
    );
}

fn snapshot(store: &mut dyn Store) -> Snapshot {
    store.snapshot().expect("a snapshot")
}

#[test]
fn all_is_there_after_a_restart() {
    let (directory, _) = directory();
    let path = directory.path().join("made/on/the/way/quorate.db");
    let mut store = open(&path);
    write(&mut store, vec![Write::Generation { generation: 1, incarnation: "one".into() }]);
    fill(&mut store, "a");
    let before = snapshot(&mut store);
    drop(store);
    let mut store = open(&path);
    assert_eq!(snapshot(&mut store), before);
    assert_eq!(store.reader().event_bounds().expect("bounds"), Some((1, 1)));
    // The wall against overlaps stands, and numbers go on.
    let during = range(29, 31);
    assert!(!holds(&mut store, Condition::NoOverlap { participant: who("ann"), during, except: vec![] }));
    fill(&mut store, "b");
    assert_eq!(store.reader().event_bounds().expect("bounds"), Some((1, 2)));
}

/// What lies on disk when `run` has returned is all that a process killed right then leaves behind.
#[test]
fn nothing_that_was_answered_is_lost_when_the_process_is_killed() {
    let (_directory, path) = directory();
    let mut store = open(&path);
    for round in 0..20 {
        fill(&mut store, &format!("m{round}"));
        let (_elsewhere, copy) = self::directory();
        for suffix in ["", "-wal"] {
            let name = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
            fs::copy(name(&path), name(&copy)).expect("a copy");
        }
        assert_eq!(snapshot(&mut open(&copy)), snapshot(&mut store), "after group {round}");
    }
}

#[test]
fn a_second_store_on_the_directory_is_refused() {
    let (directory, path) = directory();
    let first = open(&path);
    let message = refusal(&path);
    assert!(message.contains("another scheduler") && message.contains("quorate.lock"), "{message}");
    refusal(&directory.path().join("another.db"));
    // A reader that outlives the store does not keep the directory.
    let reader = first.reader();
    drop(first);
    open(&path);
    assert_eq!(reader.event_bounds().expect("bounds"), None);
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let (_directory, path) = directory();
    let mut store = open(&path);
    for i in 0..50 {
        fill(&mut store, &format!("m{i}"));
    }
    drop(store);
    let whole = fs::read(&path).expect("the file");
    let with = |from: usize, bytes: &[u8]| {
        let mut damaged = whole.clone();
        damaged[from..from + bytes.len()].copy_from_slice(bytes);
        damaged
    };
    let cases = [
        ("cut to nothing", Vec::new()),
        ("cut to a few bytes", whole[..10].to_vec()),
        ("cut to its header", whole[..100].to_vec()),
        ("cut to a page", whole[..4_096].to_vec()),
        ("cut in half", whole[..whole.len() / 2].to_vec()),
        ("cut by a page", whole[..whole.len() - 4_096].to_vec()),
        ("cut by a byte", whole[..whole.len() - 1].to_vec()),
        ("text", b"The quick brown fox jumps over the lazy dog.\n".repeat(1_000)),
        ("zeros", vec![0; whole.len()]),
        ("a page overwritten", with(3 * 4_096, &[0xa5; 4_096])),
        ("its header overwritten", with(0, &[0x20; 16])),
    ];
    for (what, bytes) in cases {
        fs::write(&path, &bytes).expect("the file");
        let message = refusal(&path);
        println!("{what}: {message}");
        assert!(message.contains("copy in its place"), "names no way out: {message}");
        assert_eq!(fs::read(&path).expect("the file"), bytes, "{what}: the file was changed");
    }
    fs::write(&path, whole).expect("the file");
    assert_eq!(snapshot(&mut open(&path)).live_meetings.len(), 50);
}

#[test]
fn a_file_of_something_else_is_refused() {
    let (directory, path) = directory();
    drop(open(&path));
    let newer = Connection::open(&path).expect("the file");
    newer.pragma_update(None, "user_version", 99).expect("the version");
    newer.close().expect("closed");
    let message = refusal(&path);
    assert!(message.contains("99") && message.contains("newer"), "{message}");

    let foreign = directory.path().join("foreign.db");
    Connection::open(&foreign)
        .expect("a file")
        .execute_batch("CREATE TABLE songs (title TEXT)")
        .expect("a table");
    let message = refusal(&foreign);
    assert!(message.contains("another program"), "{message}");

    let folder = directory.path().join("folder.db");
    fs::create_dir(&folder).expect("a folder");
    let message = refusal(&folder);
    assert!(message.contains("not a file"), "{message}");
}

#[test]
fn a_file_that_went_missing_is_not_replaced_by_an_empty_one() {
    let (_directory, path) = directory();
    let store = open(&path);
    let log = PathBuf::from(format!("{}-wal", path.display()));
    let copy = fs::read(&log).expect("the log");
    drop(store);
    fs::remove_file(&path).expect("removed");
    fs::write(&log, copy).expect("the log");
    let message = refusal(&path);
    assert!(message.contains("is gone"), "{message}");
    fs::remove_file(&log).expect("removed");
    assert_eq!(snapshot(&mut open(&path)), Snapshot::default());
}

#[test]
fn a_start_that_was_cut_short_is_made_good() {
    let (_directory, path) = directory();
    let draft = PathBuf::from(format!("{}.new", path.display()));
    fs::write(&draft, b"half a store").expect("a draft");
    fill(&mut open(&path), "a");
    assert!(!draft.exists());
    assert_eq!(snapshot(&mut open(&path)).live_meetings.len(), 1);
}

#[cfg(unix)]
#[test]
fn a_directory_that_may_only_be_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let (directory, path) = directory();
    let allow = |mode| {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).expect("permissions");
    };
    allow(0o555);
    if fs::write(directory.path().join("probe"), b"").is_ok() {
        crate::say::say("SKIPPED: this user may write to a directory without write permission (root?)");
        allow(0o755);
        return;
    }
    match SqliteStore::open(&path) {
        Err(StoreError::Unopenable(message)) => {
            assert!(message.contains(&*directory.path().to_string_lossy()), "{message}");
            assert!(message.contains("may write"), "{message}");
        }
        Err(other) => panic!("refused with {other:?}"),
        Ok(_) => panic!("a directory that may only be read was taken"),
    }
    allow(0o755);
}

#[test]
fn a_directory_that_cannot_be_made_is_refused() {
    let (directory, _) = directory();
    let file = directory.path().join("file");
    fs::write(&file, b"").expect("a file");
    match SqliteStore::open(&file.join("quorate.db")) {
        Err(StoreError::Unopenable(message)) => {
            assert!(message.contains(&*file.to_string_lossy()), "{message}");
        }
        Err(other) => panic!("refused with {other:?}"),
        Ok(_) => panic!("a file was taken for a directory"),
    }
}

/// A body that can't be read is an error that names its row, and costs no other row.
#[test]
fn a_row_that_makes_no_sense_is_reported() {
    let (_directory, path) = directory();
    let mut store = open(&path);
    fill(&mut store, "a");
    fill(&mut store, "b");
    Connection::open(&path)
        .expect("the file")
        .execute("UPDATE meetings SET body = '{}' WHERE id = 'a'", [])
        .expect("an update");
    let ask = |id: &str| {
        quorate::engine::store::Operation::Read(quorate::core::record::Read::Meeting(
            quorate::core::ids::MeetingId::new(id),
        ))
    };
    match store.run(&[ask("a")]) {
        Err(StoreError::Unreadable(message)) => assert!(message.contains("meeting of a"), "{message}"),
        other => panic!("{other:?}"),
    }
    let aborted = Write::AttemptState(attempt("b", 1), AttemptState::Aborted);
    let answer = store.run(&[only_if(vec![], vec![aborted.clone()]), ask("a")]);
    assert!(matches!(answer, Err(StoreError::NotApplied(_))), "{answer:?}");
    assert!(holds(&mut store, Condition::AttemptIs(attempt("b", 1), AttemptState::Holding)));
    write(&mut store, vec![aborted]);
    assert!(stored_meeting(&mut store, "b").is_some());
}

#[test]
fn the_store_on_collections_plays_its_faults() {
    let mut store = MemoryStore::new();
    let disk = store.disk();
    let sought = meeting("a", &["ann"]);
    let group = [only_if(vec![], vec![put(&sought)])];
    disk.fail_next(StoreFault::NotApplied);
    store.fail_next(StoreFault::UnknownLost);
    disk.fail_next(StoreFault::UnknownApplied);
    assert!(matches!(store.run(&group), Err(StoreError::NotApplied(_))));
    assert!(matches!(store.run(&group), Err(StoreError::Unknown(_))));
    assert!(snapshot(&mut store).live_meetings.is_empty());
    assert!(matches!(store.run(&group), Err(StoreError::Unknown(_))));
    assert_eq!(snapshot(&mut store).live_meetings, std::slice::from_ref(&sought));
    // A crash keeps the disk; a backup does not follow it.
    let backup = disk.copy();
    drop(store);
    let mut store = MemoryStore::on(&disk);
    write(&mut store, vec![put(&meeting("b", &["ann"]))]);
    assert_eq!(snapshot(&mut store).live_meetings.len(), 2);
    assert_eq!(snapshot(&mut MemoryStore::on(&backup)).live_meetings, [sought]);
}
