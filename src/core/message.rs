//! What scheduler and agents say to each other, as the core sees it: one participant a message.
//! The wire packs messages for several participants of a host into one (see `wire::frames`).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::availability::Disclosure;
use super::ids::{Attempt, Epoch, Lineage, MeetingId, ParticipantId, QueryId};
use super::model::FreeTime;
use super::series::Recurrence;
use super::time::{Instant, TimeRange};
use super::zone_data::ZoneData;

/// Something that an agent has promised, as it reports it when it registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promise {
    /// For which attempt.
    pub attempt: Attempt,
    /// The slot with its buffers.
    pub blocked: TimeRange,
    /// Of a hold: whether its lease is over.
    pub lease_over: bool,
    /// Of a booking: the revision of its details; 0: unsaid.
    pub revision: u64,
}

/// A booking that an agent has to have.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Booking {
    /// Which attempt won it.
    pub attempt: Attempt,
    /// When the meeting takes place.
    pub slot: TimeRange,
    /// The slot with its buffers.
    pub blocked: TimeRange,
    /// For people.
    pub title: String,
    /// Who asked.
    pub organizer: String,
    /// The commit set C.
    pub attendees: Vec<ParticipantId>,
    /// SEQUENCE of RFC 5545.
    pub sequence: u32,
    /// The meeting's version when this was said: rises with the details.
    #[serde(default)]
    pub revision: u64,
    /// The series that the meeting is an occurrence of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Arc<Recurrence>>,
}

/// How a registration introduces a participant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Register {
    /// Who.
    pub participant: ParticipantId,
    /// For people.
    pub display_name: String,
    /// IANA zone, if the agent named one.
    pub time_zone: Option<String>,
    /// What the agent has of that zone's rules, if it says.
    pub zone_data: Option<ZoneData>,
    /// Why its calendar can't be read, or not all of it; empty if all of it was.
    pub calendar_problem: String,
    /// How much its answers reveal.
    pub disclosure: Disclosure,
    /// The journal's name; empty: none is kept.
    pub journal_id: String,
    /// The journal's sequence number.
    pub journal_sequence: u64,
    /// Held and not decided.
    pub held: Vec<Promise>,
    /// Booked and not over.
    pub booked: Vec<Promise>,
    /// Left by the participant, with the reason.
    pub withdrawn: Vec<(Attempt, String)>,
    /// As last seen; 0 if never.
    pub scheduler_generation: u32,
    /// As last seen; empty if never.
    pub scheduler_incarnation: String,
    /// Which process says it, and after how many others.
    pub origin: Origin,
}

impl Register {
    /// Every attempt that it reports, as held, booked or left.
    pub fn reports(&self) -> impl Iterator<Item = &Attempt> {
        let promised = self.held.iter().chain(&self.booked).map(|promise| &promise.attempt);
        promised.chain(self.withdrawn.iter().map(|(attempt, _)| attempt))
    }
}

/// Which agent process registers: what comes late over a stream that it has given up is told by its number.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// Names the process, anew at each start; empty: unsaid.
    pub process: String,
    /// Rises with each registration of the process.
    pub number: u64,
}

impl Origin {
    /// Whether the same process said something newer, `last`, before this arrived.
    pub fn is_late(&self, last: &Self) -> bool {
        !self.process.is_empty() && self.process == last.process && self.number <= last.number
    }
}

/// Why an agent refuses a hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// An event of its own.
    Busy,
    /// Held for another attempt, named if the agent can tell.
    Held(Option<Attempt>),
    /// Booked for another meeting.
    Booked,
    /// Released before.
    Stale,
}

/// A vote.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Vote {
    /// Yes: it is in the journal.
    Granted,
    /// No.
    Refused(Refusal),
}

/// What is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum AckKind {
    /// A confirm.
    Confirm,
    /// A release.
    Release,
}

/// What an agent says for one participant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AgentMessage {
    /// Speaks for the participant from now on.
    Register(Box<Register>),
    /// Speaks for it no longer.
    Unregister {
        /// Who.
        participant: ParticipantId,
    },
    /// Answers a query.
    Availability {
        /// Who.
        participant: ParticipantId,
        /// Which query.
        query: QueryId,
        /// Free time, or why there is no answer.
        answer: Result<Vec<FreeTime>, String>,
    },
    /// Answers a hold.
    Vote {
        /// Who.
        participant: ParticipantId,
        /// Which hold.
        attempt: Attempt,
        /// Yes or no.
        vote: Vote,
        /// The journal's sequence number after it.
        sequence: u64,
    },
    /// Acknowledges.
    Ack {
        /// Who.
        participant: ParticipantId,
        /// Of which attempt.
        attempt: Attempt,
        /// What.
        kind: AckKind,
        /// Of a confirm: the revision of its booking; 0: unsaid.
        revision: u64,
        /// The journal's sequence number after it.
        sequence: u64,
    },
    /// Asks what became of an attempt.
    Resolve {
        /// Who.
        participant: ParticipantId,
        /// Which attempt.
        attempt: Attempt,
    },
    /// The calendar changed.
    CalendarChanged {
        /// Whose.
        participant: ParticipantId,
    },
    /// The participant leaves a meeting.
    Withdraw {
        /// Who.
        participant: ParticipantId,
        /// Which meeting.
        meeting: MeetingId,
        /// Which attempt; none: the one that is booked.
        attempt: Option<super::ids::AttemptNumber>,
        /// Why, for people.
        reason: String,
        /// The journal's sequence number after it.
        sequence: u64,
    },
}

impl AgentMessage {
    /// For whom it speaks.
    pub fn participant(&self) -> &ParticipantId {
        match self {
            Self::Register(register) => &register.participant,
            Self::Unregister { participant }
            | Self::Availability { participant, .. }
            | Self::Vote { participant, .. }
            | Self::Ack { participant, .. }
            | Self::Resolve { participant, .. }
            | Self::CalendarChanged { participant }
            | Self::Withdraw { participant, .. } => participant,
        }
    }
}

/// An availability query, the same for everyone who is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// Its name.
    pub id: QueryId,
    /// Where to look: runs of asked slots, with their buffers.
    pub windows: Vec<TimeRange>,
    /// Length without buffers.
    pub duration: Duration,
    /// Kept free before.
    pub buffer_before: Duration,
    /// Kept free after.
    pub buffer_after: Duration,
    /// Distance of the asked starts.
    pub step: Duration,
    /// Later answers are not counted; on the scheduler's wall clock.
    pub deadline: Instant,
    /// Bookings to count as free.
    pub disregard: Vec<Attempt>,
    /// Whether own working hours count.
    pub respect_working_hours: bool,
}

/// A hold, the same for everyone who is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    /// Which attempt.
    pub attempt: Attempt,
    /// When the meeting would take place.
    pub slot: TimeRange,
    /// What has to be free.
    pub blocked: TimeRange,
    /// After this long, ask.
    pub lease: Duration,
    /// Bookings that don't stand in the way (overlay).
    pub displaces: Vec<Attempt>,
    /// The meeting's priority.
    pub priority: i32,
    /// For people.
    pub title: String,
    /// Who asks.
    pub organizer: String,
}

/// Why a promise or booking is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum ReleaseCause {
    /// The attempt was given up.
    Aborted,
    /// Booked without this participant.
    NotNeeded,
    /// Called off.
    Cancelled,
    /// Moved.
    Moved,
    /// Displaced by another meeting.
    Displaced,
    /// The participant's own withdrawal.
    Withdrawn,
}

/// What a notice is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NoticeKind {
    /// Confirmed without them.
    ConfirmedWithoutYou,
    /// Could not be booked.
    Failed,
    /// Called off.
    Cancelled,
    /// Lost its slot and is being moved.
    BeingMoved,
}

/// Tells what concerns but does not bind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Which meeting.
    pub meeting: MeetingId,
    /// About what.
    pub kind: NoticeKind,
    /// In words.
    pub message: String,
    /// When, if any.
    pub slot: Option<TimeRange>,
    /// For people.
    pub title: String,
}

/// The answer to a registration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    /// Who.
    pub participant: ParticipantId,
    /// Numbers the registrations.
    pub epoch: Epoch,
    /// Numbers the journal's lives.
    pub lineage: Lineage,
    /// What the agent lacks and must have.
    pub bookings: Vec<Booking>,
    /// Numbers the lives of the scheduler's store.
    pub generation: u32,
    /// Names this life.
    pub incarnation: String,
}

/// What the scheduler says to one or several participants of one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SchedulerMessage {
    /// Answers a registration.
    Registered(Box<Registered>),
    /// Asks for free time.
    Query(Arc<Query>),
    /// Asks for a promise.
    Hold(Arc<Hold>),
    /// It is booked.
    Confirm {
        /// The booking.
        booking: Arc<Booking>,
        /// To be dropped in the same write.
        displaces: Vec<Attempt>,
    },
    /// It is over.
    Release {
        /// What.
        attempt: Attempt,
        /// Why.
        cause: ReleaseCause,
    },
    /// For information.
    Notice(Arc<Notice>),
    /// A newer stream speaks for the participant.
    Superseded {
        /// Its epoch.
        epoch: Epoch,
    },
}
