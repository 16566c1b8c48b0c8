//! What an agent's journal keeps for one participant, and how it changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::ids::{Attempt, AttemptNumber, MeetingId};
use crate::core::message::Booking;
use crate::core::planted::{Planted, planted};

/// Where a promise is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum PromiseState {
    /// Voted yes; not decided.
    Held,
    /// Booked.
    Confirmed,
}

/// A promise, as the journal has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PromiseRow {
    /// Held or booked.
    pub state: PromiseState,
    /// For what. Of a hold the attendees are not known yet.
    pub booking: Booking,
    /// Bookings that it replaces once it is confirmed.
    pub displaces: Vec<Attempt>,
}

/// One record of the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JournalRecord {
    /// Inserts or replaces a promise.
    Promise(PromiseRow),
    /// Drops a promise.
    Drop(Attempt),
    /// All attempts of the meeting up to this one are over.
    Tombstone(Attempt),
    /// The participant left a booking, for this reason.
    Withdrawn(Attempt, String),
    /// The scheduler took note of it.
    WithdrawalDone(Attempt),
    /// The life of the scheduler's store that was last seen.
    Scheduler {
        /// Its number.
        generation: u32,
        /// Its name.
        incarnation: String,
    },
}

/// All that the journal says.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Journal {
    /// Its name; empty: none is kept.
    pub id: String,
    /// Rises with every record.
    pub sequence: u64,
    /// Held and booked.
    pub promises: BTreeMap<Attempt, PromiseRow>,
    /// The highest released attempt of each meeting.
    pub tombstones: BTreeMap<MeetingId, AttemptNumber>,
    /// Left by the participant, with the reason.
    pub withdrawn: BTreeMap<Attempt, String>,
    /// The life of the scheduler's store that was last seen.
    pub scheduler: (u32, String),
}

impl Journal {
    /// Applies one record and counts it.
    pub fn apply(&mut self, record: &JournalRecord) {
        self.sequence += 1;
        match record {
            JournalRecord::Promise(row) => {
                self.promises.insert(row.booking.attempt.clone(), row.clone());
            }
            JournalRecord::Drop(attempt) => {
                self.promises.remove(attempt);
            }
            JournalRecord::Tombstone(attempt) => {
                let highest = self.tombstones.entry(attempt.meeting.clone()).or_insert(attempt.n);
                *highest = (*highest).max(attempt.n);
            }
            JournalRecord::Withdrawn(attempt, reason) => {
                self.withdrawn.insert(attempt.clone(), reason.clone());
            }
            JournalRecord::WithdrawalDone(attempt) => {
                self.withdrawn.remove(attempt);
            }
            JournalRecord::Scheduler { generation, incarnation } => {
                self.scheduler = (*generation, incarnation.clone());
            }
        }
    }

    pub(super) fn released(&self, attempt: &Attempt) -> bool {
        let forgotten = planted(Planted::TombstoneForgotten);
        self.tombstones.get(&attempt.meeting).is_some_and(|n| attempt.n <= *n) && !forgotten
    }
}
