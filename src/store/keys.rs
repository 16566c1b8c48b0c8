//! What both stores compare: microseconds, places in the list, sets of attendees.

use std::collections::BTreeSet;

use chrono::DateTime;

use crate::core::ids::{Attempt, ParticipantId};
use crate::core::model::{Meeting, MeetingState};
use crate::core::time::{Instant, TimeRange};
use crate::engine::store::MeetingKey;

/// Microseconds since 1970. All of chrono's range fits.
pub fn micros(instant: Instant) -> i64 {
    instant.timestamp_micros()
}

/// The instant of [`micros`]; `None` beyond what chrono can represent.
pub fn instant(micros: i64) -> Option<Instant> {
    DateTime::from_timestamp_micros(micros)
}

/// The instant, cut to the microsecond that is kept.
pub fn kept(at: Instant) -> Instant {
    instant(micros(at)).unwrap_or(at)
}

/// A half-open range in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First microsecond.
    pub start: i64,
    /// First microsecond after it.
    pub end: i64,
}

impl Span {
    /// The range, to the microsecond.
    pub fn of(range: &TimeRange) -> Self {
        Self { start: micros(range.start), end: micros(range.end) }
    }

    /// Whether some microsecond lies in both; touching is fine, and an empty span overlaps nothing.
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end && self.start < self.end && other.start < other.end
    }

    /// How long it is; never negative.
    pub fn length(self) -> i64 {
        self.end.saturating_sub(self.start).max(0)
    }
}

/// A meeting's place in the list as two numbers that sort like [`MeetingKey`]: the slot's start, or the greatest
/// number without one; the creation, which counts only without a slot. The id breaks ties.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Slot start, or `i64::MAX`.
    pub start: i64,
    /// Creation, or 0 with a slot.
    pub created: i64,
}

impl Place {
    /// The meeting's place.
    pub fn of(meeting: &Meeting) -> Self {
        Self::new(meeting.slot.map(|slot| micros(slot.start)), micros(meeting.create_time))
    }

    /// The place of a key.
    pub fn of_key(key: &MeetingKey) -> Self {
        Self::new(key.start, key.created)
    }

    fn new(start: Option<i64>, created: i64) -> Self {
        match start {
            Some(start) => Self { start, created: 0 },
            None => Self { start: i64::MAX, created },
        }
    }
}

/// Everyone who is asked for or listed in a meeting: a meeting that is still being sought has attendees too.
pub fn attendees(meeting: &Meeting) -> BTreeSet<&ParticipantId> {
    let asked = meeting.spec.attendees.iter().map(|attendee| &attendee.id);
    asked.chain(meeting.attendees.iter().map(|attendee| &attendee.id)).collect()
}

/// Whether the participant is one of [`attendees`].
pub fn attends(meeting: &Meeting, participant: &ParticipantId) -> bool {
    meeting.spec.attendees.iter().any(|attendee| attendee.id == *participant)
        || meeting.attendees.iter().any(|attendee| attendee.id == *participant)
}

/// Whether this attempt is what is booked for the meeting, and it may lose its slot to a priority above its own, as far
/// as the store can tell (`Read::Displaceable`).
pub fn displaceable(meeting: &Meeting, attempt: &Attempt, below: i32) -> bool {
    meeting.state == MeetingState::Confirmed
        && meeting.booked == Some(attempt.n)
        && meeting.spec.displaceable
        && meeting.rank.priority < below
}

/// Tells sets of attendees apart: 64 bit FNV-1a over their ids, each with its length before it.
pub fn fingerprint(attendees: &BTreeSet<&ParticipantId>) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for id in attendees {
        let text = id.as_str().as_bytes();
        let length = (text.len() as u64).to_le_bytes();
        for byte in length.iter().chain(text) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash.cast_signed()
}
