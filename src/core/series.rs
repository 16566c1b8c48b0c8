//! Recurring meetings: a rule, and one meeting for each of its occurrences. Which occurrences there are, which first
//! slot suits the series best, and what its rows say. The booking itself is the coordinator's (`coordinator::series`).

mod choose;
mod plan;

use std::time::Duration;

use jiff::civil;
use serde::{Deserialize, Serialize};

use super::ids::{MeetingId, RequestId, SeriesId};
use super::model::{AttendeeOutcome, Failure, Meeting, MeetingSpec, MeetingState, Options, Rank};
use super::time::{Instant, TimeRange};

pub use choose::{Answers, Chance, Choice, Chosen, choose, explain, in_the_way, who_is_away};
pub use plan::{Places, Plan, PlanError, Planned, check, ending, extension, horizon, moved, plans};

/// What happens with an occurrence for which the rule's slot can't be had.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ConflictPolicy {
    /// All occurrences or none, in one decision.
    FailSeries,
    /// It is left out.
    Skip,
    /// It is booked at the nearest slot that is no further away than this; else it is left out.
    MoveWithin(Duration),
}

/// How often a series recurs, as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pattern {
    /// An RFC 5545 rule.
    Rule(String),
    /// Plainly, on the day of the first occurrence, up to a last date in the series' zone.
    Plain(Frequency, Option<civil::Date>),
}

/// A plain frequency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Frequency {
    /// Every day.
    Daily,
    /// Every week.
    Weekly,
    /// Every month that has the day.
    Monthly,
}

/// A series that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeriesRequest {
    /// The caller's name for it; none: the scheduler makes one.
    pub request_id: Option<RequestId>,
    /// SHA-256 of the body, in hex.
    pub body_hash: String,
    /// What is asked for; its window is where the first occurrence may lie.
    pub spec: MeetingSpec,
    /// Exactly this first occurrence.
    pub first: Option<TimeRange>,
    /// How often.
    pub pattern: Pattern,
    /// Dates that are left out, in the series' zone.
    pub exclude: Vec<civil::Date>,
    /// What happens with occurrences that can't be had.
    pub policy: ConflictPolicy,
    /// How to look for it.
    pub options: Options,
    /// Only check it.
    pub validate_only: bool,
}

/// Where a series is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum SeriesState {
    /// Its occurrences are being booked.
    Scheduling,
    /// Booked, as far as its policy allows.
    Confirmed,
    /// Nothing of it is booked.
    Failed,
    /// Called off, from its first occurrence on or for the rest.
    Cancelled,
}

/// A series, as the store has it. What became of a booked occurrence is in the row of its meeting.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Series {
    /// Its name.
    pub id: SeriesId,
    /// The request that made it.
    pub request_id: RequestId,
    /// SHA-256 of the request's body, in hex.
    pub body_hash: String,
    /// What was asked for, defaults and attendees filled in.
    pub spec: MeetingSpec,
    /// The rule, without `RRULE:`; its UNTIL is in UTC.
    pub rule: String,
    /// The first occurrence that the request named, if it did.
    pub named: Option<TimeRange>,
    /// The first occurrence by the rule, once it is chosen.
    pub first: Option<TimeRange>,
    /// The IANA zone in which the rule is meant.
    pub time_zone: String,
    /// Dates that are left out.
    pub exclude: Vec<civil::Date>,
    /// What happens with occurrences that can't be had.
    pub policy: ConflictPolicy,
    /// How it is sought.
    pub options: Options,
    /// Of all its meetings, while they are decided together.
    pub rank: Rank,
    /// Where it is in its life.
    pub state: SeriesState,
    /// Rises with every change of this row.
    pub version: u64,
    /// All occurrences that were tried, in the order of the rule.
    pub occurrences: Vec<Occurrence>,
    /// Why it FAILED.
    pub failure: Option<Failure>,
    /// How occurrences were moved, the oldest first; of each occurrence the last one counts.
    pub moves: Vec<Move>,
    /// Of a rule without an end: occurrences before this instant were tried.
    pub booked_until: Option<Instant>,
    /// When the request was taken.
    pub create_time: Instant,
    /// When this row last changed.
    pub update_time: Instant,
    /// When the request has to end, on the wall clock, for a restart to find.
    pub deadline: Instant,
}

/// "This and following" were moved: all by the same distance on the wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Move {
    /// Occurrences that begin here or later by the rule.
    pub from: Instant,
    /// How far, in seconds of the wall clock.
    pub seconds: i64,
    /// How long they are since.
    pub length: Duration,
}

/// One occurrence of a series.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Occurrence {
    /// Where it is to be: by the rule, or where the series was moved to.
    pub slot: TimeRange,
    /// When the rule has it begin: names it.
    pub recurrence: Instant,
    /// The same on the wall clock of the series' zone: RECURRENCE-ID.
    pub local: civil::DateTime,
    /// Whether its wall-clock time does not exist on that day.
    pub shifted: bool,
    /// Whether it lies on an excluded date.
    pub excluded: bool,
    /// Its meeting, if one was made.
    pub meeting: Option<MeetingId>,
    /// Why it has no meeting.
    pub reason: String,
    /// Where it was by itself when the series was moved last, and took it along.
    #[serde(default)]
    pub alone: Option<TimeRange>,
    /// What was known of the attendees then.
    pub attendees: Vec<AttendeeOutcome>,
}

/// Which occurrence of which series a meeting is: what an agent needs to write one recurring event.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Recurrence {
    /// The series.
    pub series: SeriesId,
    /// Its rule, without `RRULE:`.
    pub rule: String,
    /// When its first occurrence begins on the wall clock: DTSTART.
    pub start: civil::DateTime,
    /// The zone of that clock.
    pub time_zone: String,
    /// How long an occurrence is by the rule.
    pub duration: Duration,
    /// When this occurrence begins by the rule, on the wall clock: RECURRENCE-ID.
    pub local: civil::DateTime,
    /// The same as an instant.
    pub instant: Instant,
}

/// What became of an occurrence.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OccurrenceOutcome {
    /// Booked where the rule has it.
    Booked,
    /// Booked elsewhere.
    Moved,
    /// Not booked.
    Skipped,
    /// Called off.
    Cancelled,
    /// On an excluded date.
    Excluded,
    /// Not decided.
    Pending,
}

impl Series {
    /// Whether the rule has no end.
    pub fn open_ended(&self) -> bool {
        self.booked_until.is_some()
    }

    /// Whether a scheduler that starts has work with it.
    pub fn is_live(&self) -> bool {
        match self.state {
            SeriesState::Scheduling => true,
            SeriesState::Confirmed => self.open_ended(),
            SeriesState::Failed | SeriesState::Cancelled => false,
        }
    }

    /// What a meeting of the series says of its occurrence.
    pub fn recurrence(&self, first: &TimeRange, start: civil::DateTime, occurrence: &Planned) -> Recurrence {
        Recurrence {
            series: self.id.clone(),
            rule: self.rule.clone(),
            start,
            time_zone: self.time_zone.clone(),
            duration: first.length(),
            local: occurrence.local,
            instant: occurrence.recurrence,
        }
    }
}

impl Occurrence {
    /// Not tried yet.
    pub fn new(planned: &Planned) -> Self {
        Self {
            slot: planned.slot,
            recurrence: planned.recurrence,
            local: planned.local,
            shifted: planned.shifted,
            excluded: planned.excluded,
            meeting: None,
            reason: String::new(),
            alone: None,
            attendees: Vec::new(),
        }
    }

    /// What became of it, by its meeting's row if there is one.
    pub fn outcome(&self, series: SeriesState, meeting: Option<&Meeting>) -> OccurrenceOutcome {
        match (meeting.map(|meeting| (meeting.state, meeting.slot)), series) {
            _ if self.excluded => OccurrenceOutcome::Excluded,
            (Some((MeetingState::Confirmed, slot)), _) if slot == Some(self.slot) => {
                OccurrenceOutcome::Booked
            }
            (Some((MeetingState::Confirmed, _)), _) => OccurrenceOutcome::Moved,
            (Some((MeetingState::Cancelled, _)), _) => OccurrenceOutcome::Cancelled,
            (Some((MeetingState::Failed, _)), _) => OccurrenceOutcome::Skipped,
            (Some((MeetingState::Scheduling | MeetingState::Displaced, _)), _) => OccurrenceOutcome::Pending,
            (None, SeriesState::Scheduling) if self.reason.is_empty() => OccurrenceOutcome::Pending,
            // Of a series that is being booked further: its turn is to come.
            (None, SeriesState::Confirmed) if self.reason.is_empty() && self.meeting.is_some() => {
                OccurrenceOutcome::Pending
            }
            (None, SeriesState::Cancelled) if self.reason.is_empty() => OccurrenceOutcome::Cancelled,
            (None, _) => OccurrenceOutcome::Skipped,
        }
    }
}
