//! The one place where clocks are read.

use tokio::time::Instant;

use crate::core::time::{Mono, Now};

/// Reads both clocks; the monotonic one is the runtime's, so that simulated time is one, and counts from this clock's
/// creation.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// The time.
    #[allow(clippy::disallowed_methods)] // the adapter that everything else gets its time from
    pub fn now(&self) -> Now {
        Now { mono: Mono(self.started.elapsed()), wall: chrono::Utc::now() }
    }

    /// When a point of the core's monotonic clock comes, on the runtime's.
    pub fn at(&self, mono: Mono) -> Instant {
        self.started + mono.0
    }
}
