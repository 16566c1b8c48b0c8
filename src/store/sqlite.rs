//! The embedded store: SQLite, one connection that writes, some that read.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};
use uuid::Uuid;

use crate::core::limits;
use crate::core::record::{Applied, Snapshot, Transaction};
use crate::engine::store::{Operation, OperationResult, Reader, Store, StoreError};

use super::open;
use super::reader::{Location, SqliteReader};
use super::reads;
use super::writes::Writer;

/// A store in an SQLite file (write-ahead log, every group synced), or in memory.
///
/// It is meant for one thread that writes; [`Store::reader`] gives a handle for the others.
pub struct SqliteStore {
    db: Connection,
    reader: Arc<SqliteReader>,
    events_kept: u64,
    /// What `store.longest_us` is known to be at least.
    longest: i64,
    /// Held for as long as the store lives; closed after the connection.
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the store in the file at `path`, or makes it and its directory. The directory is taken: a second
    /// store in it is refused until this one is dropped.
    ///
    /// # Errors
    /// [`StoreError::Unopenable`] if the directory is taken or can't be written, or if the file is empty, damaged,
    /// of another program or of a newer schema. Such a file is left as it is.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = open::take_directory(path)?;
        let db = open::open_file(path)?;
        Ok(Self::new(db, Location::File(path.to_owned()), Some(lock)))
    }

    /// Makes a store that is lost when it and all its readers are dropped.
    ///
    /// # Errors
    /// [`StoreError::Unopenable`] if there is no memory for it.
    pub fn in_memory() -> Result<Self, StoreError> {
        let location = Location::Memory(format!("file:/quorate-{}?vfs=memdb", Uuid::new_v4()));
        let db = open::open_memory(&location)?;
        Ok(Self::new(db, location, None))
    }

    fn new(db: Connection, location: Location, lock: Option<File>) -> Self {
        Self {
            db,
            reader: Arc::new(SqliteReader::new(location)),
            events_kept: limits::EVENTS_KEPT,
            longest: 0,
            _lock: lock,
        }
    }

    /// Keeps at least the last `kept` events, instead of [`limits::EVENTS_KEPT`].
    #[must_use]
    pub fn keep_events(mut self, kept: u64) -> Self {
        self.events_kept = kept.max(1);
        self
    }

    /// Runs the operations within the open transaction; gives their results, and what is now known of the longest
    /// row.
    fn operate(&self, group: &[Operation]) -> rusqlite::Result<(Vec<OperationResult>, i64)> {
        let mut writer = Writer::new(self.events_kept, self.longest);
        let mut results = Vec::with_capacity(group.len());
        for operation in group {
            results.push(match operation {
                Operation::Apply(transaction) => {
                    OperationResult::Applied(apply(&self.db, &mut writer, transaction)?)
                }
                Operation::Read(read) => OperationResult::Read(reads::read(&self.db, read)?),
            });
        }
        Ok((results, writer.finish(&self.db)?))
    }

    /// Gives the group up. Whatever the error was, nothing of the group is on disk afterwards, unless the
    /// rollback fails too: then the next group's `BEGIN` will.
    fn roll_back(&mut self) {
        self.longest = 0;
        if !self.db.is_autocommit()
            && let Err(error) = self.db.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a group that failed can't be rolled back");
        }
    }

    /// After a `COMMIT` that failed: whether the group may be on disk all the same.
    fn commit_failed(&mut self, error: &rusqlite::Error) -> StoreError {
        self.roll_back();
        // An I/O error may come after the commit's record was written: it may be found by the next process.
        let may_be_there = error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
        if may_be_there || !self.db.is_autocommit() {
            StoreError::Unknown(describe(error))
        } else {
            StoreError::NotApplied(describe(error))
        }
    }
}

fn apply<'group>(
    db: &Connection,
    writer: &mut Writer<'group>,
    transaction: &'group Transaction,
) -> rusqlite::Result<Applied> {
    for condition in &transaction.conditions {
        if !reads::holds(db, condition)? {
            return Ok(Applied::Conflict(condition.clone()));
        }
    }
    for write in &transaction.writes {
        writer.write(db, write)?;
    }
    Ok(Applied::Yes)
}

fn describe(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => format!("the disk is full ({error}); make room for the data directory"),
        _ => error.to_string(),
    }
}

impl Store for SqliteStore {
    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        let unreadable = |error: rusqlite::Error| StoreError::Unreadable(describe(&error));
        let moment = self.db.unchecked_transaction().map_err(unreadable)?;
        let snapshot = reads::snapshot(&moment).map_err(unreadable)?;
        moment.commit().map_err(unreadable)?;
        Ok(snapshot)
    }

    fn run(&mut self, group: &[Operation]) -> Result<Vec<OperationResult>, StoreError> {
        let writes = group
            .iter()
            .any(|operation| matches!(operation, Operation::Apply(transaction) if !transaction.writes.is_empty()));
        let failed = |error: &rusqlite::Error| {
            if writes { StoreError::NotApplied(describe(error)) } else { StoreError::Unreadable(describe(error)) }
        };
        // Without writes no lock is taken, and nothing has to be synced.
        let begin = if writes { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.db.execute_batch(begin).map_err(|error| failed(&error))?;
        match self.operate(group) {
            Ok((results, longest)) => match self.db.execute_batch("COMMIT") {
                Ok(()) => {
                    self.longest = longest;
                    Ok(results)
                }
                Err(error) => Err(self.commit_failed(&error)),
            },
            Err(error) => {
                self.roll_back();
                Err(failed(&error))
            }
        }
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::clone(&self.reader) as Arc<dyn Reader>
    }
}
