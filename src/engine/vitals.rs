//! How the engine is: for metrics, probes and people. Taken when asked for; nothing is kept up to date meanwhile.

use std::time::Duration;

use crate::core::coordinator::{Gauges, InFlight};
use crate::core::measure::{Counters, Latency, Sizes};

/// How the engine is at this moment.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    /// What was counted since the process started.
    pub counters: Counters,
    /// `None` while the store is out of order: nothing is worked on then.
    pub gauges: Option<Gauges>,
    /// Streams of agent hosts.
    pub sessions: usize,
    /// Commands that wait for their reply.
    pub callers: usize,
    /// What the store was asked.
    pub store: StoreVitals,
    /// Streams that were ended because they read too slowly.
    pub overflows: u64,
    /// Some of the requests that are being worked on.
    pub in_flight: Vec<InFlight>,
}

/// How the store does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreVitals {
    /// Each group that wrote, from its leaving to its being on disk.
    pub commits: Latency,
    /// How many operations shared such a group, and so a sync.
    pub sizes: Sizes,
    /// Groups with writes that are not on disk, or of which that is not known.
    pub failed_commits: u64,
    /// Groups that failed, those that only read too, and all that rested on them started over.
    pub failures: u64,
    /// How long it has had what it was asked last; zero if it owes no answer.
    pub outstanding: Duration,
    /// It failed, and nothing was committed since: that it can be read says nothing about writing.
    pub doubtful: bool,
}
