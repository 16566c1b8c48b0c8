//! How core values lie in columns: bodies as JSON, states and kinds as words that a person can read.

use rusqlite::types::Type;
use rusqlite::{Error, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::core::ids::{Attempt, AttemptNumber, Epoch, Lineage, MeetingId, ParticipantId};
use crate::core::message::{AckKind, ReleaseCause};
use crate::core::model::{EventKind, Meeting, MeetingState};
use crate::core::record::{AttemptRow, AttemptState, NewEvent, ParticipantRow};
use crate::core::series::{Recurrence, SeriesState};
use crate::core::time::{Instant, TimeRange};

use super::keys;

/// A column that this code did not write like that.
#[derive(Debug, thiserror::Error)]
#[error("the stored {what} of {of} makes no sense: {why}")]
struct BadColumn {
    what: &'static str,
    of: String,
    why: String,
}

/// The error for a column that can't be read; says of which row.
pub fn bad(what: &'static str, of: impl ToString, why: impl ToString) -> Error {
    let cause = BadColumn { what, of: of.to_string(), why: why.to_string() };
    Error::FromSqlConversionFailure(0, Type::Text, Box::new(cause))
}

/// A body as JSON.
pub fn to_json(body: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(body).map_err(|error| Error::ToSqlConversionFailure(Box::new(error)))
}

/// A body from JSON; `of` names the row if it can't be read.
pub fn from_json<T: DeserializeOwned>(text: &str, what: &'static str, of: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| bad(what, of, error))
}

/// The text of a column, without a copy.
pub fn text<'row>(row: &'row Row<'_>, column: usize) -> rusqlite::Result<&'row str> {
    Ok(row.get_ref(column)?.as_str()?)
}

/// The attempt of the two columns from `first` on.
pub fn attempt(row: &Row<'_>, first: usize) -> rusqlite::Result<Attempt> {
    let n = row.get::<_, i64>(first + 1)?;
    Ok(Attempt::new(MeetingId::new(text(row, first)?), AttemptNumber(n.cast_unsigned())))
}

/// The number as it is stored.
pub fn number(n: AttemptNumber) -> i64 {
    n.0.cast_signed()
}

/// The instant of a column.
pub fn instant(row: &Row<'_>, column: usize, of: &str) -> rusqlite::Result<Instant> {
    let micros = row.get(column)?;
    keys::instant(micros).ok_or_else(|| bad("time", of, micros))
}

/// The meeting of a body.
pub fn meeting(body: &str, id: &str) -> rusqlite::Result<Meeting> {
    from_json(body, "meeting", id)
}

/// An attempt's row from its state and body: the column is the truth, the body's state may be older.
pub fn attempt_row(state: &str, body: &str, of: &Attempt) -> rusqlite::Result<AttemptRow> {
    let mut row: AttemptRow = serde_json::from_str(body).map_err(|error| bad("attempt", of, error))?;
    row.state = attempt_state(state).ok_or_else(|| bad("state", of, state))?;
    Ok(row)
}

/// What a confirm needs of an attempt's body; the rest of it is skipped.
#[derive(serde::Deserialize)]
pub struct Promised {
    /// The slot.
    pub slot: TimeRange,
    /// With its buffers.
    pub blocked: TimeRange,
    /// The series of its meeting.
    #[serde(default)]
    pub series: Option<std::sync::Arc<Recurrence>>,
}

/// The columns of `participants`, in the order of [`participant`].
pub const PARTICIPANT_COLUMNS: &str =
    "id, display_name, time_zone, epoch, lineage, journal_id, journal_sequence, last_seen_us";

/// A participant's row from [`PARTICIPANT_COLUMNS`].
pub fn participant(row: &Row<'_>) -> rusqlite::Result<ParticipantRow> {
    let id = text(row, 0)?;
    Ok(ParticipantRow {
        id: ParticipantId::new(id),
        display_name: row.get(1)?,
        time_zone: row.get(2)?,
        epoch: Epoch(row.get(3)?),
        lineage: Lineage(row.get(4)?),
        journal_id: row.get(5)?,
        journal_sequence: row.get::<_, i64>(6)?.cast_unsigned(),
        last_seen: instant(row, 7, id)?,
    })
}

/// An event from the columns sequence, time, kind and body.
pub fn event(row: &Row<'_>) -> rusqlite::Result<(u64, NewEvent)> {
    let sequence = row.get::<_, i64>(0)?.cast_unsigned();
    let name = format!("event {sequence}");
    let kind = text(row, 2)?;
    let event = NewEvent {
        time: instant(row, 1, &name)?,
        kind: event_kind(kind).ok_or_else(|| bad("kind", &name, kind))?,
        meeting: from_json(text(row, 3)?, "meeting", &name)?,
    };
    Ok((sequence, event))
}

/// Declares an enum's words, once for both directions; the way back only where a column is read.
macro_rules! words {
    ($to:ident, $type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        /// The word for a column.
        pub fn $to(value: $type) -> &'static str {
            match value {
                $($type::$variant => $word,)+
            }
        }
    };
    ($to:ident, $from:ident, $type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        words!($to, $type { $($variant = $word),+ });

        /// The value of a column's word.
        pub fn $from(word: &str) -> Option<$type> {
            match word {
                $($word => Some($type::$variant),)+
                _ => None,
            }
        }
    };
}

words!(meeting_state_word, meeting_state, MeetingState {
    Scheduling = "SCHEDULING",
    Confirmed = "CONFIRMED",
    Failed = "FAILED",
    Cancelled = "CANCELLED",
    Displaced = "DISPLACED",
});

/// Every state of a meeting.
pub const MEETING_STATES: [MeetingState; 5] = [
    MeetingState::Scheduling,
    MeetingState::Confirmed,
    MeetingState::Failed,
    MeetingState::Cancelled,
    MeetingState::Displaced,
];

words!(series_state_word, SeriesState {
    Scheduling = "SCHEDULING",
    Confirmed = "CONFIRMED",
    Failed = "FAILED",
    Cancelled = "CANCELLED",
});

words!(attempt_state_word, attempt_state, AttemptState {
    Holding = "HOLDING",
    Committed = "COMMITTED",
    Aborted = "ABORTED",
    Superseded = "SUPERSEDED",
});

words!(ack_kind_word, AckKind {
    Confirm = "CONFIRM",
    Release = "RELEASE",
});

words!(release_cause_word, release_cause, ReleaseCause {
    Aborted = "ABORTED",
    NotNeeded = "NOT_NEEDED",
    Cancelled = "CANCELLED",
    Moved = "MOVED",
    Displaced = "DISPLACED",
    Withdrawn = "WITHDRAWN",
});

words!(event_kind_word, event_kind, EventKind {
    Scheduling = "SCHEDULING",
    Confirmed = "CONFIRMED",
    Failed = "FAILED",
    Rescheduled = "RESCHEDULED",
    Cancelled = "CANCELLED",
    Updated = "UPDATED",
    Displaced = "DISPLACED",
    AttendeeDeclined = "ATTENDEE_DECLINED",
    Delivered = "DELIVERED",
});
