//! Opening a store's file: made whole or not at all, and refused rather than started empty.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::engine::store::StoreError;

use super::log::{self, Mark};
use super::reader::Location;
use super::schema;

/// Name of the file that tells a second scheduler that the data directory is taken.
pub const LOCK_FILE: &str = "quorate.lock";

/// Greatest file that is checked whole when it is opened, in bytes; a second's work.
const CHECKED_BYTES: u64 = 256 << 20;

/// After a heavy day the write-ahead log is cut back to this many bytes.
const LOG_BYTES: i64 = 64 << 20;

const READ_WRITE: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

fn refused(message: String) -> StoreError {
    StoreError::Unopenable(message)
}

/// Takes the data directory of the store's file, and makes it if need be. The directory is free again when the
/// file returned is dropped, or the process ends however it may.
pub fn take_directory(path: &Path) -> Result<File, StoreError> {
    let directory = directory(path);
    fs::create_dir_all(directory).map_err(|error| {
        refused(format!(
            "the data directory {} can't be made: {error}; name one that the scheduler may write to",
            directory.display()
        ))
    })?;
    let name = directory.join(LOCK_FILE);
    let lock = File::options().create(true).truncate(false).read(true).write(true).open(&name).map_err(|error| {
        refused(format!(
            "the lock {} can't be opened: {error}; the scheduler needs a data directory that it may write to",
            name.display()
        ))
    })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(refused(format!(
            "another scheduler runs on {}: it has the lock {}; stop it, or give this one a data directory of its own",
            path.display(),
            name.display()
        ))),
        Err(TryLockError::Error(error)) => Err(refused(format!(
            "the lock {} can't be taken: {error}; use a local file system that has locks",
            name.display()
        ))),
    }
}

/// The directory of a file.
pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Opens the file for writing, in today's schema; makes it if there is none. The directory must be taken: `lock` says
/// whether the log has to be there, which is returned too.
pub fn open_file(path: &Path, lock: &File) -> Result<(Connection, Mark), StoreError> {
    let name = directory(path).join(LOCK_FILE);
    let mark = Mark::read(lock);
    let mark =
        mark.map_err(|error| refused(format!("the lock {} can't be read: {error}", name.display())))?;
    open_marked(path, mark).map(|db| (db, mark))
}

fn open_marked(path: &Path, mark: Mark) -> Result<Connection, StoreError> {
    match fs::metadata(path) {
        Ok(file) if file.is_file() && file.len() > 0 => {
            check_log(path, mark)?;
            open_existing(path, file.len())
        }
        Ok(file) if file.is_file() => Err(refused(format!(
            "{} is empty, so what it held is lost; put a copy in its place, or remove it to start anew with no \
             meetings",
            path.display()
        ))),
        Ok(_) => Err(refused(format!("{} is not a file; name a file for the store", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(path),
        Err(error) => Err(refused(format!(
            "{} can't be read: {error}; give the scheduler the right to read and write it",
            path.display()
        ))),
    }
}

/// Refuses a store that was not closed and whose log is not whole: the latest commits were in there.
fn check_log(path: &Path, mark: Mark) -> Result<(), StoreError> {
    let log = with_suffix(path, "-wal");
    let unreadable = |error: std::io::Error| refused(format!("{} can't be read: {error}", log.display()));
    if mark == Mark::Closed {
        return Ok(());
    }
    match log::problem(&log).map_err(unreadable)? {
        None => Ok(()),
        Some(problem) => Err(refused(format!(
            "the log {} of {} {problem}: the scheduler was not stopped in good order, so the latest bookings were in \
             it; put a copy of both in place, or remove {} to go on without those bookings",
            log.display(),
            path.display(),
            directory(path).join(LOCK_FILE).display()
        ))),
    }
}

/// Makes a new store beside its place and then moves it there, so that a file at its place is always whole.
fn make(path: &Path) -> Result<Connection, StoreError> {
    if with_suffix(path, "-wal").exists() {
        return Err(refused(format!(
            "{} is gone, but its log {} is there, so a store was here; put a copy of both in place, or remove \
             the log to start anew with no meetings",
            path.display(),
            with_suffix(path, "-wal").display()
        )));
    }
    let draft = with_suffix(path, ".new");
    let failed = |error: &dyn std::fmt::Display| {
        refused(format!(
            "the store {} can't be made: {error}; the scheduler needs a data directory that it may write to, \
             with space on it",
            path.display()
        ))
    };
    for leftover in [draft.clone(), with_suffix(&draft, "-wal"), with_suffix(&draft, "-shm")] {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(&error)),
            _ => {}
        }
    }
    let mut db = Location::File(draft.clone())
        .connect(READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
        .map_err(|error| failed(&error))?;
    db.pragma_update(None, "application_id", schema::APPLICATION_ID).map_err(|error| failed(&error))?;
    // A rollback journal until it is in place: the draft is then one file, whole and synced.
    schema::migrations().to_latest(&mut db).map_err(|error| failed(&error))?;
    db.close().map_err(|(_, error)| failed(&error))?;
    fs::rename(&draft, path).map_err(|error| failed(&error))?;
    sync_directory(directory(path)).map_err(|error| failed(&error))?;
    let size = fs::metadata(path).map_err(|error| failed(&error))?.len();
    open_existing(path, size)
}

/// A new name in a directory outlasts a power cut only once the directory is synced; only Unix can do that.
pub fn sync_directory(directory: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// A name with more at its end.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn open_existing(path: &Path, size: u64) -> Result<Connection, StoreError> {
    let failed = |error: rusqlite::Error| refused(explain(path, &error));
    let log = fs::metadata(with_suffix(path, "-wal")).map_or(0, |log| log.len());
    let mut db = Location::File(path.to_owned()).connect(READ_WRITE).map_err(failed)?;
    // Whatever is refused is left as it is, and its log with it.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    check(&db, path, size, log)?;
    if db.is_readonly("main").map_err(failed)? {
        return Err(refused(format!(
            "{} may only be read; give the scheduler the right to write it and its directory",
            path.display()
        )));
    }
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(refused(format!(
            "{} can't have a write-ahead log (SQLite says {mode}); use a local file system",
            path.display()
        )));
    }
    db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    db.pragma_update(None, "journal_size_limit", LOG_BYTES).map_err(failed)?;
    schema::migrations().to_latest(&mut db).map_err(|error| {
        refused(format!(
            "{} can't be brought to schema {}: {error}; it is unchanged, go on with the older version or put a \
             copy in its place",
            path.display(),
            schema::VERSION
        ))
    })?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;
    Ok(db)
}

/// Refuses what is not a whole store of this schema or an older one. Changes nothing. `size` and `log` are the
/// bytes of the file and of its log before it was opened.
fn check(db: &Connection, path: &Path, size: u64, log: u64) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| refused(explain(path, &error));
    let number = |pragma: &str| -> Result<i64, StoreError> {
        db.pragma_query_value(None, pragma, |row| row.get(0)).map_err(failed)
    };
    if let Some(problem) = schema_problem(db, path)? {
        return Err(refused(problem));
    }
    // SQLite fills up a last page that was cut. A crash may leave one too, but then the log has the whole page.
    let page = number("page_size")?.cast_unsigned();
    if log == 0 && !size.is_multiple_of(page) {
        return Err(refused(damaged(path, "its last page was cut")));
    }
    if size < CHECKED_BYTES {
        let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if verdict != "ok" {
            return Err(refused(damaged(path, &verdict)));
        }
    }
    Ok(())
}

/// Why the database is none that this code knows, or nothing.
pub fn schema_problem(db: &Connection, path: &Path) -> Result<Option<String>, StoreError> {
    let number = |pragma: &str| -> Result<i64, StoreError> {
        let number = db.pragma_query_value(None, pragma, |row| row.get(0));
        number.map_err(|error| refused(explain(path, &error)))
    };
    if number("application_id")? != i64::from(schema::APPLICATION_ID) {
        return Ok(Some(format!(
            "{} is a database of another program; name another file for the store",
            path.display()
        )));
    }
    let version = number("user_version")?;
    Ok((version > schema::VERSION).then(|| {
        format!(
            "{} has schema {version}, from a newer version of quorate; this one knows schemas up to {}: run the \
             newer version, or put an older copy in its place",
            path.display(),
            schema::VERSION
        )
    }))
}

fn explain(path: &Path, error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(path, &error.to_string()),
        _ => format!(
            "{} can't be opened: {error}; the scheduler needs the right to read and write it and its directory",
            path.display()
        ),
    }
}

fn damaged(path: &Path, what: &str) -> String {
    format!(
        "{} is damaged or not a store ({what}); put a copy in its place, or move it and its log away to start \
         anew with no meetings",
        path.display()
    )
}

/// Opens a new store in memory.
pub fn open_memory(location: &Location) -> Result<Connection, StoreError> {
    let failed = |error: &dyn std::fmt::Display| refused(format!("no store can be made in memory: {error}"));
    let mut db =
        location.connect(READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE).map_err(|error| failed(&error))?;
    schema::migrations().to_latest(&mut db).map_err(|error| failed(&error))?;
    Ok(db)
}
