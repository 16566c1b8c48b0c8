//! What goes in and what comes out: the coordinator's inputs, effects, commands and replies.

use std::net::IpAddr;
use std::time::Duration;

use crate::core::ids::{MeetingId, ParticipantId, RequestId, SeriesId, SessionId, Ticket};
use crate::core::message::{AgentMessage, SchedulerMessage};
use crate::core::model::{
    Attendee, Candidate, CandidateCounts, Failure, Meeting, MeetingSpec, MeetingState, Options, Window,
};
use crate::core::record::{Applied, ParticipantRow, Read, ReadResult, Transaction};
use crate::core::series::{Series, SeriesRequest, SeriesState};
use crate::core::slots::ClockShift;
use crate::core::time::{Instant, TimeRange};
use crate::core::trace::{TraceContext, Traced};
use crate::core::zone_data::ZoneMatch;

/// Names one operation on the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct OpId(pub u64);

/// A meeting that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScheduleRequest {
    /// The caller's name for it; none: the scheduler makes one.
    pub request_id: Option<RequestId>,
    /// SHA-256 of the body, in hex.
    pub body_hash: String,
    /// What is asked for.
    pub spec: MeetingSpec,
    /// To book exactly this slot.
    pub slot: Option<TimeRange>,
    /// How to look for it.
    pub options: Options,
    /// Only check it.
    pub validate_only: bool,
}

/// What an organizer wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Ranked slots; books nothing.
    Find {
        /// What is sought.
        spec: MeetingSpec,
        /// How to look for it.
        options: Options,
        /// At most so many.
        limit: usize,
    },
    /// A meeting.
    Schedule(Box<ScheduleRequest>),
    /// Another slot.
    Reschedule {
        /// Of this meeting.
        meeting: MeetingId,
        /// Which must still have this version.
        version: Option<u64>,
        /// Exactly this one.
        slot: Option<TimeRange>,
        /// Somewhere in here; none: the meeting's own window.
        window: Option<Window>,
        /// Of this length; none: the old one.
        duration: Option<Duration>,
        /// How to look for it.
        options: Options,
    },
    /// Other attendees or details.
    Update {
        /// Of this meeting.
        meeting: MeetingId,
        /// Which must still have this version.
        version: Option<u64>,
        /// What changes.
        change: Change,
        /// How to ask those who are added.
        options: Options,
    },
    /// A recurring meeting.
    ScheduleSeries(Box<SeriesRequest>),
    /// Another time for a series, or the rest of it: for all of these occurrences or for none.
    RescheduleSeries {
        /// This series.
        series: SeriesId,
        /// Which must still have this version.
        version: Option<u64>,
        /// Only occurrences that take place here or later; none: those that are still to come.
        from: Option<Instant>,
        /// Where the first of them goes; the others move along.
        slot: TimeRange,
        /// How to ask.
        options: Options,
    },
    /// Other attendees or details for a series, or the rest of it: occurrence by occurrence.
    UpdateSeries {
        /// This series.
        series: SeriesId,
        /// Which must still have this version.
        version: Option<u64>,
        /// Only occurrences that take place here or later; none: those that are still to come.
        from: Option<Instant>,
        /// What changes.
        change: Change,
        /// How to ask those who are added.
        options: Options,
    },
    /// Call a series off, or the rest of it.
    CancelSeries {
        /// This series.
        series: SeriesId,
        /// Which must still have this version.
        version: Option<u64>,
        /// Only occurrences that take place here or later.
        from: Option<Instant>,
    },
    /// One of the others, in its caller's trace.
    Within(Traced, Box<Command>),
    /// Call it off.
    Cancel {
        /// This meeting.
        meeting: MeetingId,
        /// Which must still have this version.
        version: Option<u64>,
    },
}

/// What an update changes; none: stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// Its title.
    pub title: Option<String>,
    /// Its attendees.
    pub attendees: Option<Vec<Attendee>>,
    /// Its quorum.
    pub minimum_participants: Option<u32>,
    /// Whether it may be displaced.
    pub displaceable: Option<bool>,
}

/// What a caller is told.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// The meeting as decided.
    Meeting(Box<Meeting>),
    /// Ranked slots.
    Found {
        /// The best first.
        candidates: Vec<Candidate>,
        /// If there are none.
        failure: Option<Failure>,
        /// What the slots were lost to.
        counts: CandidateCounts,
        /// The zone that was used.
        time_zone: String,
        /// The bounds of working hours that the clocks skip in the window.
        clock_shifts: Vec<ClockShift>,
    },
    /// This series is decided, or changed: its row and its meetings' are on disk. With occurrences that could not be
    /// changed (by the instant that the rule has them begin), and why; one for all if none of them could.
    Series(SeriesId, Vec<(Instant, Failure)>),
    /// The series as its request was understood.
    SeriesPlan(Box<Series>),
    /// The meeting as it now stands, and why it was not changed.
    Changed(Box<Meeting>, Option<Failure>),
    /// The command could not be taken.
    Refused(Refused),
}

/// Why a command could not be taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// No such meeting.
    #[error("there is no meeting {0}")]
    NoSuchMeeting(MeetingId),
    /// No such series.
    #[error("there is no series {0}")]
    NoSuchSeries(SeriesId),
    /// It has another version.
    #[error("it was changed since: its etag is another one")]
    VersionMismatch,
    /// It is not CONFIRMED.
    #[error("the meeting is {0:?}, not confirmed")]
    NotConfirmed(MeetingState),
    /// It has FAILED: there is nothing to call off.
    #[error("the meeting failed: there is nothing to cancel")]
    AlreadyFailed,
    /// Another change of it is under way.
    #[error("another change of the meeting is under way")]
    BeingChanged,
    /// A series is not CONFIRMED.
    #[error("the series is {0:?}, not confirmed")]
    SeriesNotConfirmed(SeriesState),
    /// A series has FAILED: there is nothing to call off.
    #[error("the series failed: there is nothing to cancel")]
    SeriesFailed,
    /// A series is being booked or changed.
    #[error("the series is being booked or changed")]
    SeriesBeingChanged,
    /// The request id was used with another body.
    #[error("the request id was used before, with another body")]
    RequestReused,
    /// Too many requests are alive.
    #[error("too many requests are being worked on")]
    Overloaded,
    /// More candidate slots than are looked at.
    #[error(
        "the window has more candidate slots than the {max} that are looked at: narrow it, or widen the step"
    )]
    TooManySlots {
        /// `limits::CANDIDATES`.
        max: usize,
    },
    /// The organizer's registered zone is not known here.
    #[error("the time zone {0:?} is not known")]
    UnknownZone(String),
    /// A field does not fit the meeting as it stands.
    #[error("{field}: {description}")]
    Invalid {
        /// Which.
        field: String,
        /// Why.
        description: String,
    },
    /// The scheduler is going away; the same request id finds the outcome later.
    #[error("the scheduler is shutting down")]
    ShuttingDown,
}

/// What the core is told.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant)] // handed over once, by value, and never kept
pub enum Input {
    /// An organizer's command.
    Command {
        /// Who waits for the reply.
        ticket: Ticket,
        /// What is wanted.
        command: Command,
        /// How long the caller waits; none: `limits::DEADLINE_DEFAULT`.
        deadline: Option<Duration>,
    },
    /// A stream was opened, by this caller. A stream of which it is not known who opened it needs no word.
    SessionOpened(SessionId, Caller),
    /// Somebody's agent speaks, over this stream.
    Agent(SessionId, AgentMessage),
    /// The stream is gone.
    SessionClosed(SessionId),
    /// What became of a transaction.
    Applied(OpId, Applied),
    /// What was read.
    Read(OpId, ReadResult),
    /// Time went by.
    Timeout,
    /// Take no more commands, and give up what is not decided within this time.
    Drain(Duration),
}

/// Who opens a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Where it is: until there is authentication nothing else tells callers apart.
    pub address: IpAddr,
    /// For how many participants its streams may speak at a time, together.
    pub participants: usize,
}

/// What is noted of the agent that speaks, or spoke last, for a participant. Not kept over a restart of the scheduler.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Remarks {
    /// How its time-zone data compare with ours.
    pub zone: ZoneMatch,
    /// What it said to be wrong with its calendar; empty if nothing is.
    pub calendar_problem: String,
}

/// What the shell has to do, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Hand it to the store, in order; the result comes back as an input.
    Apply(OpId, Transaction),
    /// Read it, after the transactions before it.
    Read(OpId, Read),
    /// Send it over this stream to these participants, as a part of this trace.
    Send(SessionId, Vec<ParticipantId>, SchedulerMessage, Option<TraceContext>),
    /// Tell the agent host that a message could not be used.
    Reject(SessionId, ParticipantId, Rejected),
    /// Answer a caller.
    Reply(Ticket, Reply),
    /// A participant came, went, or has new details: since when it is connected, and what is noted of its agent.
    Participant(ParticipantRow, Option<Instant>, Remarks),
    /// A participant is known no more: it was not connected, nothing bound it, and there was no room for somebody new.
    Forgotten(ParticipantId),
    /// A state that must not happen; for the log, and an assertion in tests.
    Alarm(String),
    /// This process is fenced off: another one owns the store.
    Fenced,
    /// Nothing is in flight any more after [`Input::Drain`].
    Drained,
}

/// Why an agent's message could not be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejected {
    /// This stream does not speak for the participant.
    NotRegistered,
    /// The answer names no query that is open, or one that the participant was not asked.
    UnknownQuery,
    /// The stream has spoken for as many participants as it may.
    TooManyOnStream,
    /// The streams of its caller speak for as many participants as they may.
    TooManyOfCaller,
    /// As many participants are known as may be, and nobody of them can be forgotten.
    TooManyKnown,
}
