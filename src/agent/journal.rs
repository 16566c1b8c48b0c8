//! The agent's journal on disk: one SQLite file for all participants of a host.
//!
//! PROTOCOL.md, D2 and D4: what is promised, and what is acknowledged, is in here and synced before the scheduler
//! hears of it. [`JournalFile::append`] takes the records of a whole batch, of any number of participants, in one
//! transaction with one sync.

pub mod doctor;
mod file;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::core::ids::{Attempt, AttemptNumber, MeetingId, ParticipantId};
use crate::core::participant::{Journal, JournalRecord, PromiseRow};

/// Name of the journal's file within the agent's data directory.
pub const JOURNAL_FILE: &str = "journal.db";

/// Why the journal can't be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another agent host has the data directory.
    #[error(
        "another agent runs on {}: it has the lock {}; stop it, or give this one a data directory of its own \
         (--data-dir)",
        directory.display(), lock.display()
    )]
    Taken {
        /// The data directory.
        directory: PathBuf,
        /// The lock.
        lock: PathBuf,
    },
    /// It can't be opened.
    #[error("{0}")]
    Unopenable(String),
    /// It is no whole journal.
    #[error(
        "the journal {} is damaged or not a journal ({what}); put a copy in its place, or move it and its -wal \
         file away: the agent then starts a new lineage, gets its bookings back from the scheduler, and its votes \
         on undecided meetings are void",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What was found.
        what: String,
    },
    /// A newer version of quorate wrote it.
    #[error(
        "the journal {} has schema {version}, from a newer version of quorate; this one knows schemas up to \
         {known}: run the newer version, or move it away: the agent then starts a new lineage and gets its \
         bookings back from the scheduler",
        file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its schema.
        version: i64,
        /// The newest schema that this code knows.
        known: i64,
    },
    /// A record could not be made durable, or not be read back. Nothing may be promised.
    #[error("the journal {} failed: {source}", file.display())]
    Failed {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// An open journal. Its directory is taken until it is dropped.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    db: Connection,
    /// Held, never read: the directory is free again when it is dropped.
    _lock: File,
}

impl JournalFile {
    /// Opens `journal.db` in the data directory; makes both if need be.
    ///
    /// # Errors
    /// Another host has the directory, or the file is damaged, newer than this code, or may not be written.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        let lock = file::take_directory(directory)?;
        let path = directory.join(JOURNAL_FILE);
        let db = file::open(&path)?;
        Ok(Self { path, db, _lock: lock })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the journal says of a participant. One that it doesn't know yet gets an empty journal with a new name.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] if a row makes no sense, [`JournalError::Failed`] if the file can't be read.
    pub fn load(&mut self, participant: &ParticipantId) -> Result<Journal, JournalError> {
        let mut all = self.load_all(std::slice::from_ref(participant))?;
        Ok(all.pop().unwrap_or_default())
    }

    /// [`JournalFile::load`] for many, in their order, with one sync for all that are new.
    ///
    /// # Errors
    /// As [`JournalFile::load`].
    pub fn load_all(&mut self, participants: &[ParticipantId]) -> Result<Vec<Journal>, JournalError> {
        let Self { path, db, .. } = self;
        let read = |db: &mut Connection| -> Result<Vec<Journal>, rusqlite::Error> {
            let tx = db.transaction()?;
            let journals = participants.iter().map(|id| load(&tx, id)).collect::<Result<_, _>>()?;
            tx.commit()?;
            Ok(journals)
        };
        read(db).map_err(|error| failed(path, error))
    }

    /// Makes records durable, those of each participant in their order: all or none, one sync. Every participant must
    /// have been loaded before.
    ///
    /// # Errors
    /// [`JournalError::Failed`]: none of them may be relied upon; [`JournalFile::load`] says what holds.
    pub fn append(&mut self, batch: &[(ParticipantId, Vec<JournalRecord>)]) -> Result<(), JournalError> {
        let Self { path, db, .. } = self;
        let write = |db: &mut Connection| -> Result<(), rusqlite::Error> {
            let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            for (participant, records) in batch {
                for record in records {
                    apply(&tx, participant, record)?;
                }
                count(&tx, participant, records.len())?;
            }
            tx.commit()
        };
        write(db).map_err(|error| failed(path, error))
    }
}

fn failed(path: &Path, error: rusqlite::Error) -> JournalError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let file = path.to_owned();
    let damaged = matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        || matches!(error, rusqlite::Error::FromSqlConversionFailure(..));
    match damaged {
        true => JournalError::Damaged { file, what: error.to_string() },
        false => JournalError::Failed { file, source: error },
    }
}

/// Unsigned numbers keep their 64 bits as signed ones, which is all that SQLite has.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

fn load(tx: &Transaction<'_>, participant: &ParticipantId) -> Result<Journal, rusqlite::Error> {
    let mut journal = head(tx, participant)?;
    let who = participant.as_str();
    let mut rows = tx.prepare_cached("SELECT body FROM promises WHERE participant = ?1")?;
    for body in rows.query_map([who], |row| row.get::<_, String>(0))? {
        let row: PromiseRow = serde_json::from_str(&body?).map_err(|error| {
            let kind = rusqlite::types::Type::Text;
            rusqlite::Error::FromSqlConversionFailure(0, kind, Box::new(error))
        })?;
        journal.promises.insert(row.booking.attempt.clone(), row);
    }
    let mut rows = tx.prepare_cached("SELECT meeting, n FROM tombstones WHERE participant = ?1")?;
    for row in rows.query_map([who], attempt)? {
        let Attempt { meeting, n } = row?;
        journal.tombstones.insert(meeting, n);
    }
    let mut rows = tx.prepare_cached("SELECT meeting, n, reason FROM withdrawals WHERE participant = ?1")?;
    for row in rows.query_map([who], |row| Ok((attempt(row)?, row.get(2)?)))? {
        let (attempt, reason) = row?;
        journal.withdrawn.insert(attempt, reason);
    }
    Ok(journal)
}

fn attempt(row: &rusqlite::Row<'_>) -> Result<Attempt, rusqlite::Error> {
    let meeting: String = row.get(0)?;
    let n: i64 = row.get(1)?;
    Ok(Attempt::new(MeetingId::new(meeting), AttemptNumber(n.cast_unsigned())))
}

/// The participant's own row; made, with a new name for the journal, if there is none.
fn head(tx: &Transaction<'_>, participant: &ParticipantId) -> Result<Journal, rusqlite::Error> {
    let known = tx
        .prepare_cached(
            "SELECT journal_id, sequence, generation, incarnation FROM participants WHERE id = ?1",
        )?
        .query_row([participant.as_str()], |row| {
            let sequence: i64 = row.get(1)?;
            Ok(Journal {
                id: row.get(0)?,
                sequence: sequence.cast_unsigned(),
                scheduler: (row.get(2)?, row.get(3)?),
                ..Journal::default()
            })
        })
        .optional()?;
    if let Some(journal) = known {
        return Ok(journal);
    }
    let id = uuid::Uuid::new_v4().to_string();
    tx.prepare_cached("INSERT INTO participants (id, journal_id) VALUES (?1, ?2)")?
        .execute([participant.as_str(), &id])?;
    Ok(Journal { id, ..Journal::default() })
}

/// The same on disk as `Journal::apply` in memory.
fn apply(
    tx: &Transaction<'_>,
    participant: &ParticipantId,
    record: &JournalRecord,
) -> Result<(), rusqlite::Error> {
    let who = participant.as_str();
    match record {
        JournalRecord::Promise(row) => {
            let Attempt { meeting, n } = &row.booking.attempt;
            let body = serde_json::to_string(row)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
            tx.prepare_cached(
                "INSERT OR REPLACE INTO promises (participant, meeting, n, body) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![who, meeting.as_str(), signed(n.0), body])?;
        }
        JournalRecord::Drop(Attempt { meeting, n }) => {
            tx.prepare_cached("DELETE FROM promises WHERE participant = ?1 AND meeting = ?2 AND n = ?3")?
                .execute(params![who, meeting.as_str(), signed(n.0)])?;
        }
        JournalRecord::Tombstone(Attempt { meeting, n }) => {
            // The row values compare as the unsigned numbers do.
            tx.prepare_cached(
                "INSERT INTO tombstones (participant, meeting, n) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET n = excluded.n WHERE (excluded.n < 0, excluded.n) > (n < 0, n)",
            )?
            .execute(params![who, meeting.as_str(), signed(n.0)])?;
        }
        JournalRecord::Withdrawn(Attempt { meeting, n }, reason) => {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO withdrawals (participant, meeting, n, reason)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![who, meeting.as_str(), signed(n.0), reason])?;
        }
        JournalRecord::WithdrawalDone(Attempt { meeting, n }) => {
            tx.prepare_cached("DELETE FROM withdrawals WHERE participant = ?1 AND meeting = ?2 AND n = ?3")?
                .execute(params![who, meeting.as_str(), signed(n.0)])?;
        }
        JournalRecord::Scheduler { generation, incarnation } => {
            tx.prepare_cached("UPDATE participants SET generation = ?2, incarnation = ?3 WHERE id = ?1")?
                .execute(params![who, generation, incarnation])?;
        }
    }
    Ok(())
}

/// Counts records; fails for a participant who was never loaded.
fn count(tx: &Transaction<'_>, participant: &ParticipantId, records: usize) -> Result<(), rusqlite::Error> {
    let mut statement =
        tx.prepare_cached("UPDATE participants SET sequence = sequence + ?2 WHERE id = ?1")?;
    match statement.execute(params![participant.as_str(), signed(records as u64)])? {
        1 => Ok(()),
        _ => Err(rusqlite::Error::QueryReturnedNoRows),
    }
}
