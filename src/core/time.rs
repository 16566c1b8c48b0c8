//! Instants, ranges and the two clocks. Nothing here reads a clock: time is an argument.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// An instant on the wall clock. For calendars and people; no safety rests on it (PROTOCOL.md, "Clocks").
pub type Instant = DateTime<Utc>;

/// A half-open range of instants, `[start, end)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimeRange {
    /// First instant of the range.
    pub start: Instant,
    /// First instant after it.
    pub end: Instant,
}

impl TimeRange {
    /// The range `[start, end)`. An end before the start gives an empty range at `start`.
    pub fn new(start: Instant, end: Instant) -> Self {
        Self { start, end: end.max(start) }
    }

    /// The range that starts at `start` and lasts `length`; cut off at the end of representable time.
    pub fn lasting(start: Instant, length: Duration) -> Self {
        Self { start, end: add(start, length) }
    }

    /// Whether no instant lies in it.
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// How long it lasts.
    pub fn length(&self) -> Duration {
        (self.end - self.start).to_std().unwrap_or_default()
    }

    /// Whether some instant lies in both. Ranges that only touch don't overlap.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end && !self.is_empty() && !other.is_empty()
    }

    /// Whether all of `other` lies in it.
    pub fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// What lies in both, if anything.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let both = Self { start: self.start.max(other.start), end: self.end.min(other.end) };
        (!both.is_empty()).then_some(both)
    }

    /// The range made longer by `before` and `after`.
    pub fn padded(&self, before: Duration, after: Duration) -> Self {
        Self { start: sub(self.start, before), end: add(self.end, after) }
    }
}

impl fmt::Debug for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start.format("%Y-%m-%dT%H:%M:%SZ"), self.end.format("%Y-%m-%dT%H:%M:%SZ"))
    }
}

/// `instant + length`, cut off at the end of representable time.
pub fn add(instant: Instant, length: Duration) -> Instant {
    chrono::Duration::from_std(length)
        .ok()
        .and_then(|length| instant.checked_add_signed(length))
        .unwrap_or(Instant::MAX_UTC)
}

/// `instant - length`, cut off at the start of representable time.
pub fn sub(instant: Instant, length: Duration) -> Instant {
    chrono::Duration::from_std(length)
        .ok()
        .and_then(|length| instant.checked_sub_signed(length))
        .unwrap_or(Instant::MIN_UTC)
}

/// A point on this process's monotonic clock: leases and timeouts are measured on it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Mono(pub Duration);

impl Mono {
    /// How long from `earlier` to this; zero if it lies before.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Mono {
    type Output = Self;
    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(length))
    }
}

/// The two clocks, read once by the shell for each input that it hands to the core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// For leases and timeouts.
    pub mono: Mono,
    /// For calendars and people.
    pub wall: Instant,
}
