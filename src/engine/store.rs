//! The port to the store: what the engine asks of it, whichever it is.

use std::sync::Arc;

use crate::core::ids::{MeetingId, SeriesId};
pub use crate::core::listing::{EventFilter, MeetingFilter, MeetingKey, SeriesFilter};
use crate::core::model::Meeting;
use crate::core::record::{Applied, EventRow, Read, ReadResult, Snapshot, Transaction};
use crate::core::series::Series;
use crate::core::time::Instant;

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was applied: the whole group is rolled back.
    #[error("the store can't be written: {0}")]
    NotApplied(String),
    /// It is not known whether the group is on disk: read again, never guess (PROTOCOL.md, "Scheduler").
    #[error("the store's answer was lost: {0}")]
    Unknown(String),
    /// It can't be read.
    #[error("the store can't be read: {0}")]
    Unreadable(String),
    /// It can't be opened; says which file, and the way out.
    #[error("{0}")]
    Unopenable(String),
}

/// One operation of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Apply a transaction.
    Apply(Transaction),
    /// Read, seeing all transactions before it.
    Read(Read),
}

/// What came of an [`Operation`], of the same kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationResult {
    /// Of a transaction.
    Applied(Applied),
    /// Of a read.
    Read(ReadResult),
}

/// The scheduler's store: one writer, in order.
///
/// A second implementation has to pass the conformance suite in `tests/store.rs`.
pub trait Store: Send + 'static {
    /// Reads what the core needs to start.
    fn snapshot(&mut self) -> Result<Snapshot, StoreError>;

    /// Runs the operations in order as one group with one sync (group commit): when it returns `Ok`, all that
    /// was applied is durable. A transaction whose conditions fail changes nothing and does not
    /// touch the others of the group.
    fn run(&mut self, group: &[Operation]) -> Result<Vec<OperationResult>, StoreError>;

    /// A handle for reads that may run beside the writer and see whole committed groups only.
    fn reader(&self) -> Arc<dyn Reader>;
}

/// Reads for those who look things up. Blocking: call it off the runtime's own threads.
pub trait Reader: Send + Sync + 'static {
    /// One meeting.
    fn meeting(&self, id: &MeetingId) -> Result<Option<Meeting>, StoreError>;

    /// One series, with those of its occurrences' meetings that there are, in the order of the occurrences.
    fn series(&self, id: &SeriesId) -> Result<Option<(Series, Vec<Meeting>)>, StoreError>;

    /// Series by id, without their meetings.
    fn series_list(&self, filter: &SeriesFilter) -> Result<Vec<Series>, StoreError>;

    /// Meetings by slot start, then id; those without a slot last, by creation, then id.
    fn meetings(&self, filter: &MeetingFilter) -> Result<Vec<Meeting>, StoreError>;

    /// Up to `limit` events with a sequence greater than `after`, in order, that match the filter.
    fn events(&self, after: u64, filter: &EventFilter, limit: usize) -> Result<EventPage, StoreError>;

    /// How many meetings are booked whose slot ends after this instant.
    fn booked(&self, after: Instant) -> Result<u64, StoreError>;

    /// The sequences of the oldest kept and of the newest event; `None` if there never was one.
    fn event_bounds(&self) -> Result<Option<(u64, u64)>, StoreError>;
}

/// Some events, and how far was looked.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    /// The events that match.
    pub events: Vec<EventRow>,
    /// Every event up to this sequence was looked at.
    pub looked_until: u64,
}
