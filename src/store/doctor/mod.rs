//! Checks a store's file and changes nothing, also while a scheduler runs on it: SQLite's own check, the schema, that
//! every row can be read and agrees with its body, and the invariants of [`crate::core::invariants`] over the rows.
//!
//! The rows are read in one transaction. A file that nobody has open is read as it is, so that not even SQLite's
//! side files are made beside it.

mod checks;
mod view;

use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags};

use super::log::{self, Mark};
use super::open::{self, LOCK_FILE, with_suffix};
use super::reader::BUSY_TIMEOUT;
use super::schema;
use crate::core::checkup::Check;
use crate::engine::store::StoreError;

use view::View;

const READ_ONLY: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Most findings of SQLite's own check.
const FILE_FINDINGS: usize = 50;
/// How often a log is looked at that changes under the look: then a scheduler has it, and it isn't lost.
const LOOKS: usize = 100;

/// The checks without which nothing can be said of a store's rows.
pub(super) const NEEDED: [&str; 3] = ["file", "schema", "rows"];

/// Checks the store in the file at `path`, within its data directory: all checks, in a fixed order. Those that can't be
/// asked of a damaged or newer file are missing.
///
/// # Errors
/// [`StoreError::Unopenable`] if there is no such file, or it may not be read.
pub fn examine(path: &Path) -> Result<Vec<Check>, StoreError> {
    with_source(path, |db| {
        let mut checks = checked(db, path);
        checks[0].problems.extend(lost_log(path));
        Ok(checks)
    })
}

/// The same of a copy, wherever it lies: a lock beside it is that of another file.
///
/// # Errors
/// As [`examine`].
pub fn examine_copy(path: &Path) -> Result<Vec<Check>, StoreError> {
    with_source(path, |db| Ok(checked(db, path)))
}

/// Runs something on a read-only connection to the file; once more if a scheduler came meanwhile and wrote to a file
/// that was read as one that nobody writes.
pub(super) fn with_source<T>(
    path: &Path,
    run: impl Fn(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        StoreError::Unopenable(format!("{} can't be read: {error}", path.display()))
    };
    let before = stamp(path).map_err(|error| unreadable(&error))?;
    if let Some(uri) = quiet(path) {
        let db = Connection::open_with_flags(uri, READ_ONLY | OpenFlags::SQLITE_OPEN_URI);
        let result = run(&db.map_err(|error| unreadable(&error))?);
        if quiet(path).is_some() && stamp(path).is_ok_and(|after| after == before) {
            return result;
        }
    }
    let db = Connection::open_with_flags(path, READ_ONLY).map_err(|error| unreadable(&error))?;
    db.busy_timeout(BUSY_TIMEOUT).map_err(|error| unreadable(&error))?;
    run(&db)
}

/// The name under which SQLite reads the file without a log and without locks, if nobody has it open.
fn quiet(path: &Path) -> Option<String> {
    let log = fs::metadata(with_suffix(path, "-wal")).map_or(0, |log| log.len());
    let name = path.to_str().filter(|_| log == 0)?;
    let name = name.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Some(format!("file:{name}?immutable=1"))
}

fn stamp(path: &Path) -> std::io::Result<(u64, SystemTime)> {
    let file = fs::metadata(path)?;
    match file.is_file() {
        true => Ok((file.len(), file.modified()?)),
        false => Err(std::io::Error::other("it is not a file")),
    }
}

fn checked(db: &Connection, path: &Path) -> Vec<Check> {
    let mut all = vec![Check {
        name: "file",
        claim: "SQLite finds the file whole, and its log",
        problems: file_problems(db, path),
    }];
    let schema = open::schema_problem(db, path).unwrap_or_else(|error| Some(error.to_string()));
    let readable = schema.is_none();
    all.push(Check {
        name: "schema",
        claim: "a store of quorate, of a schema that this version knows",
        problems: schema.into_iter().collect(),
    });
    if !readable {
        return all;
    }
    let mut rows = Vec::new();
    let view = match view(db, &mut rows) {
        Ok(view) => Some(view),
        Err(error) => {
            rows.push(error.to_string());
            None
        }
    };
    all.push(Check {
        name: "rows",
        claim: "every row can be read and says the same as its body",
        problems: rows,
    });
    all.extend(view.iter().flat_map(checks::all));
    all
}

fn view(db: &Connection, problems: &mut Vec<String>) -> rusqlite::Result<View> {
    let moment = db.unchecked_transaction()?;
    let version: i64 = moment.pragma_query_value(None, "user_version", |row| row.get(0))?;
    View::read(&moment, version >= schema::SERIES_SINCE, problems)
}

fn file_problems(db: &Connection, path: &Path) -> Vec<String> {
    let found = || -> rusqlite::Result<Vec<String>> {
        let mut check = db.prepare(&format!("PRAGMA integrity_check({FILE_FINDINGS})"))?;
        check.query_map([], |row| row.get::<_, String>(0))?.collect()
    };
    let mut problems = match found() {
        Ok(lines) => lines.into_iter().filter(|line| line != "ok").collect(),
        Err(error) => vec![error.to_string()],
    };
    let size = fs::metadata(path).map_or(0, |file| file.len());
    let page = db.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0)).unwrap_or(1);
    if quiet(path).is_some() && !size.is_multiple_of(page.cast_unsigned().max(1)) {
        problems.push("its last page was cut".to_owned());
    }
    problems
}

/// What is wrong with the log, if commits may be in there alone.
fn lost_log(path: &Path) -> Option<String> {
    let log = with_suffix(path, "-wal");
    let look = || {
        let lock = File::open(path.with_file_name(LOCK_FILE)).ok()?;
        let open = Mark::read(&lock).ok()? == Mark::Open;
        let problem = if open { log::problem(&log).ok()? } else { None };
        problem.map(|problem| (problem, stamp(&log).ok()))
    };
    // A scheduler that runs may begin the log anew while it is read. What stays as it is, nobody writes.
    let mut found = look()?;
    for _ in 0..LOOKS {
        let again = look()?;
        if again == found {
            return Some(format!("the log {}: the latest bookings were in it", found.0));
        }
        found = again;
    }
    None
}
