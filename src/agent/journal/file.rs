//! The journal's file: made whole or not at all, and refused rather than started empty.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rusqlite_migration::{M, Migrations};

use super::JournalError;

/// Tells a second host that the data directory is taken.
const LOCK_FILE: &str = "agent.lock";
/// Marks the file as an agent's journal (`PRAGMA application_id`): "quoj" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x7175_6f6a;
/// The schema that this code reads and writes (`PRAGMA user_version`): the number of [`STEPS`].
pub(super) const VERSION: i64 = STEPS.len() as i64;
/// After a heavy day the write-ahead log is cut back to this many bytes.
const LOG_BYTES: i64 = 16 << 20;
/// Greatest file that is checked whole when it is opened, in bytes.
const CHECKED_BYTES: u64 = 64 << 20;

/// Every step from an empty file to today's schema. A step that was released never changes: add another.
const STEPS: &[M<'static>] = &[M::up(FIRST)];

/// `participants` has one row each, made when a participant is first served; the rest is what binds it.
/// `promises.body` is a `PromiseRow` in JSON.
const FIRST: &str = "
CREATE TABLE participants (
    id TEXT NOT NULL PRIMARY KEY,
    journal_id TEXT NOT NULL,
    sequence INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0,
    incarnation TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE TABLE promises (
    participant TEXT NOT NULL,
    meeting TEXT NOT NULL,
    n INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (participant, meeting, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE tombstones (
    participant TEXT NOT NULL,
    meeting TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (participant, meeting)
) STRICT, WITHOUT ROWID;
CREATE TABLE withdrawals (
    participant TEXT NOT NULL,
    meeting TEXT NOT NULL,
    n INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (participant, meeting, n)
) STRICT, WITHOUT ROWID;
";

pub(super) const fn migrations() -> Migrations<'static> {
    Migrations::from_slice(STEPS)
}

fn refused(path: &Path, what: &str, error: &dyn std::fmt::Display) -> JournalError {
    let path = path.display();
    JournalError::Unopenable(format!("{path} {what}: {error}; the agent needs a data directory to write to"))
}

/// Makes the data directory if need be, and takes it until the file returned is dropped.
pub(super) fn take_directory(directory: &Path) -> Result<File, JournalError> {
    fs::create_dir_all(directory).map_err(|error| refused(directory, "can't be made", &error))?;
    let name = directory.join(LOCK_FILE);
    let lock = File::options().create(true).truncate(false).write(true).open(&name);
    let lock = lock.map_err(|error| refused(&name, "can't be opened", &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(JournalError::Taken { directory: directory.to_owned(), lock: name })
        }
        Err(TryLockError::Error(error)) => Err(refused(&name, "can't be locked", &error)),
    }
}

/// Opens the journal in today's schema; makes it if there is none. The directory must be taken.
pub(super) fn open(path: &Path) -> Result<Connection, JournalError> {
    match fs::metadata(path) {
        Ok(file) if file.is_file() && file.len() > 0 => open_existing(path, file.len()),
        Ok(file) if file.is_file() => Err(damaged(path, "it is empty, so what it held is lost")),
        Ok(_) => Err(damaged(path, "it is not a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
        Err(error) => Err(refused(path, "can't be read", &error)),
    }
}

fn damaged(path: &Path, what: &str) -> JournalError {
    JournalError::Damaged { file: path.to_owned(), what: what.to_owned() }
}

/// Makes a journal beside its place and then moves it there, so that a file at its place is always whole.
fn make(path: &Path) -> Result<Connection, JournalError> {
    if with_suffix(path, "-wal").exists() {
        return Err(damaged(path, "it is gone, but its -wal file is there"));
    }
    let draft = with_suffix(path, ".new");
    let failed = |error: &dyn std::fmt::Display| refused(path, "can't be made", error);
    for leftover in [draft.clone(), with_suffix(&draft, "-journal")] {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&error)),
            _ => {}
        }
    }
    let mut db = Connection::open(&draft).map_err(|error| failed(&error))?;
    db.pragma_update(None, "application_id", APPLICATION_ID).map_err(|error| failed(&error))?;
    // A rollback journal until it is in place: the draft is then one file, whole and synced.
    migrations().to_latest(&mut db).map_err(|error| failed(&error))?;
    db.close().map_err(|(_, error)| failed(&error))?;
    fs::rename(&draft, path).map_err(|error| failed(&error))?;
    // A new name outlasts a power cut only once its directory is synced; the directory may be new as well.
    let directories = path.ancestors().skip(1).take(2).filter(|directory| !directory.as_os_str().is_empty());
    for directory in directories.filter(|_| cfg!(unix)) {
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| failed(&error))?;
    }
    let size = fs::metadata(path).map_err(|error| failed(&error))?.len();
    open_existing(path, size)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn open_existing(path: &Path, size: u64) -> Result<Connection, JournalError> {
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(path, &error.to_string()),
        _ => refused(path, "can't be opened", &error),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(failed)?;
    check(&db, path, size, &failed)?;
    if db.is_readonly("main").map_err(failed)? {
        return Err(refused(path, "can't be opened", &"it may only be read"));
    }
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(refused(path, "can't have a write-ahead log", &format!("SQLite says {mode}")));
    }
    db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    db.pragma_update(None, "journal_size_limit", LOG_BYTES).map_err(failed)?;
    migrations()
        .to_latest(&mut db)
        .map_err(|error| refused(path, "can't be brought to today's schema", &error))?;
    Ok(db)
}

/// Refuses what is not a whole journal of this schema or an older one. Changes nothing.
fn check(
    db: &Connection,
    path: &Path,
    size: u64,
    failed: &dyn Fn(rusqlite::Error) -> JournalError,
) -> Result<(), JournalError> {
    let number = |pragma: &str| -> Result<i64, JournalError> {
        db.pragma_query_value(None, pragma, |row| row.get(0)).map_err(failed)
    };
    if number("application_id")? != i64::from(APPLICATION_ID) {
        return Err(damaged(path, "it is a database of another program"));
    }
    let version = number("user_version")?;
    if version > VERSION {
        return Err(JournalError::Newer { file: path.to_owned(), version, known: VERSION });
    }
    if size < CHECKED_BYTES {
        let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if verdict != "ok" {
            return Err(damaged(path, &verdict));
        }
    }
    Ok(())
}
