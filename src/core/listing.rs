//! What can be listed, and in which order.

use super::ids::{MeetingId, ParticipantId, SeriesId};
use super::model::{Meeting, MeetingState};
use super::series::{Series, SeriesState};
use super::time::TimeRange;

/// Which meetings to list. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct MeetingFilter {
    /// The slot overlaps this.
    pub range: Option<TimeRange>,
    /// Has this attendee.
    pub participant: Option<ParticipantId>,
    /// Is in one of these states; empty: any.
    pub states: Vec<MeetingState>,
    /// Comes after this one in the order of the list: (slot start in µs, or none; create time in µs; id).
    pub after: Option<MeetingKey>,
    /// At most so many.
    pub limit: usize,
}

/// A meeting's place in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeetingKey {
    /// Slot start, microseconds since 1970; none sorts last.
    pub start: Option<i64>,
    /// Creation, microseconds since 1970; counts only among those without a slot.
    pub created: i64,
    /// Breaks ties.
    pub id: MeetingId,
}

impl MeetingKey {
    /// The meeting's place.
    pub fn of(meeting: &Meeting) -> Self {
        Self {
            start: meeting.slot.map(|slot| slot.start.timestamp_micros()),
            created: meeting.create_time.timestamp_micros(),
            id: meeting.id.clone(),
        }
    }
}

/// Which series to list. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct SeriesFilter {
    /// Has this attendee, or this organizer.
    pub participant: Option<ParticipantId>,
    /// Is in one of these states; empty: any.
    pub states: Vec<SeriesState>,
    /// Comes after this one.
    pub after: Option<SeriesId>,
    /// At most so many.
    pub limit: usize,
}

impl SeriesFilter {
    /// Whether the series is one of those, wherever in the list.
    pub fn fits(&self, series: &Series) -> bool {
        let of = |id: &ParticipantId| {
            series.spec.organizer == id.as_str() || series.spec.attendees.iter().any(|a| a.id == *id)
        };
        self.participant.as_ref().is_none_or(of)
            && (self.states.is_empty() || self.states.contains(&series.state))
    }
}

/// Which events to read. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of this meeting.
    pub meeting: Option<MeetingId>,
    /// Of meetings with this attendee.
    pub participant: Option<ParticipantId>,
}
