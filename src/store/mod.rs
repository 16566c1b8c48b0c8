//! The stores that implement [`crate::engine::store::Store`].
//!
//! [`SqliteStore`] is the one that runs in production, on a file or in memory. [`MemoryStore`] does the same on
//! plain collections, for the simulated world: no I/O, no threads, faults on demand. Both pass one conformance
//! suite (`tests/store.rs`) and give the same answers to the same operations.
//!
//! Both keep instants that are compared or listed to the microsecond: bookings, list order, `last_seen` and the
//! time of an event. What is kept as JSON (meetings, attempts, confirms) keeps every nanosecond.
//!
//! Invariant: a store judges and applies what it is told and knows no rule of the protocol.

mod copy;
pub mod doctor;
mod keys;
mod log;
mod memory;
mod open;
mod reader;
mod reads;
mod rows;
mod schema;
mod sqlite;
mod writes;

pub use copy::{Consent, Restored, backup, restore};
pub use memory::{MemoryDisk, MemoryStore, StoreFault};
pub use sqlite::SqliteStore;

/// Most events that one call of [`crate::engine::store::Reader::events`] looks at; a caller whose filter matches
/// few of them goes on from `looked_until`.
pub const EVENTS_LOOKED_AT: usize = 5_000;

/// How often events are pruned: each time so many numbers were given out since the last time.
const fn prune_batch(kept: u64) -> u64 {
    if kept < 100 { 1 } else { kept / 100 }
}
