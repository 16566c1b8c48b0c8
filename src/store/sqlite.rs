//! The embedded store: SQLite, one connection that writes, some that read.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use uuid::Uuid;

use crate::core::limits;
use crate::core::record::{Applied, Snapshot, Transaction};
use crate::engine::store::{Operation, OperationResult, Reader, Store, StoreError};

use super::log::Mark;
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
    /// What `store.longest_us` is known to be at least; raised only once a group is committed.
    longest: i64,
    /// What the lock file says.
    mark: Mark,
    /// Held for as long as the store lives; closed after the connection.
    lock: Option<File>,
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
        let (db, mark) = open::open_file(path, &lock)?;
        let mut store = Self::new(db, Location::File(path.to_owned()), Some(lock));
        store.mark = mark;
        Ok(store)
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
            mark: Mark::Closed,
            lock,
        }
    }

    /// Keeps at least the last `kept` events, instead of [`limits::EVENTS_KEPT`].
    #[must_use]
    pub fn keep_events(mut self, kept: u64) -> Self {
        self.events_kept = kept.max(1);
        self
    }

    /// Notes in the lock file whether commits may be in the log alone.
    fn note(&mut self, mark: Mark) -> std::io::Result<()> {
        if let Some(lock) = &self.lock
            && self.mark != mark
        {
            mark.write(lock)?;
            self.mark = mark;
        }
        Ok(())
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

impl Drop for SqliteStore {
    /// Closing puts the log into the file, and removes it. If that can't be noted, the log has to stay.
    fn drop(&mut self) {
        if let Err(error) = self.note(Mark::Closed) {
            tracing::warn!(%error, "the lock can't be marked: the log stays for the next start");
            if let Err(error) = self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
                tracing::error!(%error, "the log can't be kept");
            }
        }
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
        let writes = group.iter().any(
            |operation| matches!(operation, Operation::Apply(transaction) if !transaction.writes.is_empty()),
        );
        let failed = |error: &rusqlite::Error| {
            if writes {
                StoreError::NotApplied(describe(error))
            } else {
                StoreError::Unreadable(describe(error))
            }
        };
        // Without writes no lock is taken, and nothing has to be synced.
        let begin = if writes { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.db.execute_batch(begin).map_err(|error| failed(&error))?;
        match self.operate(group) {
            Ok((results, longest)) => match self.db.execute_batch("COMMIT") {
                Ok(()) => {
                    self.longest = longest;
                    if writes && let Err(error) = self.note(Mark::Open) {
                        tracing::warn!(%error, "the lock can't be marked: a lost log would not be noticed");
                    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;

    use super::*;
    use crate::core::ids::{Attempt, AttemptNumber, Epoch, Lineage, MeetingId, ParticipantId};
    use crate::core::message::{AckKind, Booking, ReleaseCause};
    use crate::core::record::{BookingRow, Delivery, DeliveryBody, ParticipantRow, Write};
    use crate::core::time::TimeRange;
    use crate::store::reader;

    fn hour() -> TimeRange {
        TimeRange::lasting(DateTime::UNIX_EPOCH, Duration::from_secs(3_600))
    }

    fn attempt(n: u64) -> Attempt {
        Attempt::new(MeetingId::new("m"), AttemptNumber(n))
    }

    fn group(writes: Vec<Write>) -> [Operation; 1] {
        [Operation::Apply(Transaction { conditions: Vec::new(), writes })]
    }

    fn participant(id: &str, name_bytes: usize) -> Write {
        Write::Participant(ParticipantRow {
            id: ParticipantId::new(id),
            display_name: "n".repeat(name_bytes),
            time_zone: None,
            epoch: Epoch(1),
            lineage: Lineage(1),
            journal_id: String::new(),
            journal_sequence: 0,
            last_seen: DateTime::UNIX_EPOCH,
        })
    }

    fn count(store: &SqliteStore, query: &str) -> i64 {
        store.db.query_row(query, [], |row| row.get(0)).expect("a count")
    }

    #[test]
    fn a_full_disk_applies_nothing_and_says_so() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = SqliteStore::open(&directory.path().join("quorate.db")).expect("a store");
        store.run(&group(vec![participant("ann", 10)])).expect("room for one");
        let pages = count(&store, "PRAGMA page_count");
        store.db.pragma_update(None, "max_page_count", pages).expect("a limit");
        let row = BookingRow {
            participant: ParticipantId::new("ann"),
            attempt: attempt(1),
            during: hour(),
            delivered: false,
        };
        match store.run(&group(vec![Write::Booking(row.clone()), participant("bob", 100_000)])) {
            Err(StoreError::NotApplied(message)) => assert!(message.contains("disk is full"), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(count(&store, "SELECT count(*) FROM participants"), 1);
        assert_eq!(count(&store, "SELECT longest_us FROM store"), 0);
        // With room again it goes on, and what it knew of the lost group is forgotten.
        store.db.pragma_update(None, "max_page_count", pages + 1_000).expect("a limit");
        store.run(&group(vec![Write::Booking(row), participant("bob", 100_000)])).expect("room again");
        assert_eq!(count(&store, "SELECT longest_us FROM store"), 3_600_000_000);
    }

    #[test]
    fn an_ack_is_noted_in_its_row_only() {
        let mut store = SqliteStore::in_memory().expect("a store");
        let row = |name: &str, n| BookingRow {
            participant: ParticipantId::new(name),
            attempt: attempt(n),
            during: hour(),
            delivered: false,
        };
        let mut writes: Vec<_> =
            [row("ann", 1), row("ann", 2), row("bob", 1)].into_iter().map(Write::Booking).collect();
        writes.push(Write::BookingDelivered(ParticipantId::new("ann"), attempt(2)));
        store.run(&group(writes)).expect("applied");
        assert_eq!(count(&store, "SELECT sum(delivered) FROM bookings"), 1);
        assert_eq!(count(&store, "SELECT delivered FROM bookings WHERE participant = 'ann' AND n = 2"), 1);
    }

    #[test]
    fn one_body_serves_all_confirms_and_goes_with_the_last() {
        let mut store = SqliteStore::in_memory().expect("a store");
        let names = ["ann", "bob", "cat"];
        let confirms = || {
            let booking = Arc::new(Booking {
                attempt: attempt(1),
                slot: hour(),
                blocked: hour(),
                title: String::new(),
                organizer: String::new(),
                attendees: names.iter().map(ParticipantId::new).collect(),
                sequence: 0,
                revision: 1,
                series: None,
            });
            names.map(|name| {
                let body = DeliveryBody::Confirm { booking: booking.clone(), displaces: Vec::new() };
                Write::Delivery(Delivery { participant: ParticipantId::new(name), attempt: attempt(1), body })
            })
        };
        store.run(&group(confirms().to_vec())).expect("applied");
        assert_eq!(count(&store, "SELECT count(*) FROM confirms"), 1);
        // Sent anew, they share a new body, and the old one goes.
        store.run(&group(confirms().to_vec())).expect("applied");
        assert_eq!(count(&store, "SELECT count(*) FROM confirms"), 1);
        let [ann, bob, cat] = names.map(ParticipantId::new);
        let released = DeliveryBody::Release(ReleaseCause::Moved);
        store
            .run(&group(vec![
                Write::RemoveDelivery(ann, attempt(1), AckKind::Confirm),
                Write::Delivery(Delivery { participant: bob, attempt: attempt(1), body: released }),
            ]))
            .expect("applied");
        assert_eq!(count(&store, "SELECT count(*) FROM confirms"), 1);
        store.run(&group(vec![Write::RemoveDelivery(cat, attempt(1), AckKind::Confirm)])).expect("applied");
        assert_eq!(count(&store, "SELECT count(*) FROM confirms"), 0);
        assert_eq!(count(&store, "SELECT count(*) FROM deliveries"), 1);
    }

    /// No query of a running scheduler may walk a whole table: it would slow down as history grows.
    #[test]
    fn every_query_finds_its_rows_by_an_index() {
        let store = SqliteStore::in_memory().expect("a store");
        for query in [
            reads::OVERLAPPING,
            reads::PROMISED,
            reads::ATTENDING,
            reads::LIVE_MEETINGS,
            reads::HOLDING,
            reader::BY_STATE,
            reader::BY_STATE_WITHIN,
            reader::BY_PARTICIPANT,
            reader::BY_PARTICIPANT_WITHIN,
            reader::BOOKED,
            reader::EVENTS,
            reader::LAST_LOOKED_AT,
        ] {
            let mut explain = store.db.prepare(&format!("EXPLAIN QUERY PLAN {query}")).expect("a query");
            let mut steps = explain.raw_query();
            let mut plan = Vec::new();
            while let Some(step) = steps.next().expect("a step") {
                plan.push(step.get::<_, String>(3).expect("its text"));
            }
            // What is read at the start is only live work: the index of holding attempts has no others, and the
            // store's table has one row.
            let live = [reads::LIVE_MEETINGS, reads::HOLDING].contains(&query);
            let walks = |step: &&String| {
                step.starts_with("SCAN") && !live && *step != "SCAN store"
                    || step.starts_with("SCAN") && step.contains("meetings")
                    || step.contains("TEMP B-TREE") && !live
            };
            let by_state_alone = plan.iter().filter(|step| step.ends_with("(state=?)")).count();
            assert_eq!(plan.iter().find(walks), None, "{query}: {plan:#?}");
            assert!(by_state_alone <= usize::from(live), "{query}: {plan:#?}");
        }
    }
}
