//! What the scheduler keeps on disk, and how it changes: rows, conditions and writes.
//!
//! A [`Transaction`] is applied whole or not at all, and only if all its conditions hold: the compare-and-set
//! that every decision of PROTOCOL.md rests on. The store knows nothing of the protocol beyond these types.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{Attempt, AttemptNumber, Epoch, Lineage, MeetingId, ParticipantId, RequestId, SeriesId};
use super::message::{AckKind, Booking, ReleaseCause};
use super::model::{EventKind, Meeting, MeetingState, Rank};
use super::series::{Recurrence, Series};
use super::time::{Instant, TimeRange};

/// Where an attempt is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum AttemptState {
    /// Holds are being asked for; not decided.
    Holding,
    /// Decided: booked with its commit set.
    Committed,
    /// Decided: given up.
    Aborted,
    /// Was COMMITTED; the meeting has a newer slot, or was cancelled or displaced since.
    Superseded,
}

/// One attempt (D1, D3 of PROTOCOL.md).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttemptRow {
    /// Its name.
    pub attempt: Attempt,
    /// Where it is in its life.
    pub state: AttemptState,
    /// What it tries.
    pub slot: TimeRange,
    /// The slot with its buffers.
    pub blocked: TimeRange,
    /// Everyone who was sent a hold.
    pub asked: Vec<ParticipantId>,
    /// Those of them who must grant it.
    pub required: Vec<ParticipantId>,
    /// How many of REQUIRED and INVITED must grant it.
    pub minimum: u32,
    /// Those of `asked` who count to the minimum: REQUIRED and INVITED.
    pub counted: Vec<ParticipantId>,
    /// Rank of its meeting.
    pub rank: Rank,
    /// Bookings that it overlays and will replace.
    pub displaces: Vec<Attempt>,
    /// The commit set C, once COMMITTED; never changed afterwards (I4).
    pub commit_set: Vec<ParticipantId>,
    /// The series that its meeting is an occurrence of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Arc<Recurrence>>,
}

impl AttemptRow {
    /// Whether it asks this participant to hold anything of this time.
    pub fn asks_for(&self, participant: &ParticipantId, time: &TimeRange) -> bool {
        self.blocked.overlaps(time) && self.asked.contains(participant)
    }
}

/// One participant of one booked meeting: their time is taken (I1).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BookingRow {
    /// Whose time.
    pub participant: ParticipantId,
    /// By which attempt.
    pub attempt: Attempt,
    /// The slot with its buffers.
    pub during: TimeRange,
    /// Whether the agent acknowledged the confirm.
    pub delivered: bool,
}

/// What a delivery carries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DeliveryBody {
    /// A confirm.
    Confirm {
        /// The booking.
        booking: Arc<Booking>,
        /// To be dropped in the same write.
        displaces: Vec<Attempt>,
    },
    /// A release.
    Release(ReleaseCause),
}

impl DeliveryBody {
    /// Which ack ends it.
    pub fn kind(&self) -> AckKind {
        match self {
            Self::Confirm { .. } => AckKind::Confirm,
            Self::Release(_) => AckKind::Release,
        }
    }
}

/// A confirm or release that its agent has not acknowledged (D5). Keyed by participant and attempt: a release
/// takes the place of a confirm of the same attempt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delivery {
    /// To whom.
    pub participant: ParticipantId,
    /// About which attempt.
    pub attempt: Attempt,
    /// What.
    pub body: DeliveryBody,
}

/// A participant, as known from its registrations.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ParticipantRow {
    /// Who.
    pub id: ParticipantId,
    /// For people.
    pub display_name: String,
    /// IANA zone.
    pub time_zone: Option<String>,
    /// The number of the last registration.
    pub epoch: Epoch,
    /// The number of the journal's life.
    pub lineage: Lineage,
    /// The journal of that life; empty: none.
    pub journal_id: String,
    /// The highest journal sequence seen in that life.
    pub journal_sequence: u64,
    /// When it was last seen to connect or leave.
    pub last_seen: Instant,
}

/// An event for those who watch, before it has its number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub time: Instant,
    /// The meeting right after it.
    pub meeting: Meeting,
}

/// An event with its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventRow {
    /// Rises by at least one with each event.
    pub sequence: u64,
    /// The event.
    pub event: NewEvent,
}

/// What must be so for a transaction to be applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// The attempt's row has this state.
    AttemptIs(Attempt, AttemptState),
    /// The attempt has no row yet: its number was never used.
    AttemptUnused(Attempt),
    /// The meeting's row has this version.
    MeetingVersion(MeetingId, u64),
    /// No meeting has this id or this request id.
    MeetingUnused(MeetingId, RequestId),
    /// The series' row has this version.
    SeriesVersion(SeriesId, u64),
    /// No series has this id or this request id.
    SeriesUnused(SeriesId, RequestId),
    /// The participant's row has this lineage (I7).
    LineageIs(ParticipantId, Lineage),
    /// The participant's row has this epoch, or there is no row and the epoch is 0.
    EpochIs(ParticipantId, Epoch),
    /// No booked row of the participant overlaps the range, but for those of the attempts named (I1).
    NoOverlap {
        /// Whose rows.
        participant: ParticipantId,
        /// Which time.
        during: TimeRange,
        /// Rows of these attempts don't count.
        except: Vec<Attempt>,
    },
    /// The meeting has no attempt with a greater number: none is ever given out twice.
    NoAttemptAfter(MeetingId, AttemptNumber),
    /// The store's generation is this one: an older process is fenced off.
    GenerationIs(u32),
}

/// One change of the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Inserts or replaces the meeting's row.
    Meeting(Box<Meeting>),
    /// Inserts or replaces the series' row.
    Series(Box<Series>),
    /// Inserts or replaces the attempt's row.
    Attempt(Box<AttemptRow>),
    /// Changes only the attempt's state.
    AttemptState(Attempt, AttemptState),
    /// Inserts or replaces a booked row.
    Booking(BookingRow),
    /// Removes the booked rows of an attempt: all, or one participant's.
    RemoveBookings(Attempt, Option<ParticipantId>),
    /// Marks the booked row as delivered; nothing happens if there is none.
    BookingDelivered(ParticipantId, Attempt),
    /// Inserts or replaces a delivery.
    Delivery(Delivery),
    /// Removes a delivery if it is of this kind; nothing happens if there is none.
    RemoveDelivery(ParticipantId, Attempt, AckKind),
    /// Inserts or replaces the participant's row.
    Participant(ParticipantRow),
    /// Raises `journal_sequence` if the participant's row has this lineage and a lower sequence.
    JournalSeen(ParticipantId, Lineage, u64),
    /// Sets `last_seen`.
    LastSeen(ParticipantId, Instant),
    /// Removes the participant's row; nothing happens if there is none.
    ForgetParticipant(ParticipantId),
    /// Appends an event; it gets the next number.
    Event(Box<NewEvent>),
    /// Begins a new life of the store.
    Generation {
        /// Its number.
        generation: u32,
        /// Its name.
        incarnation: String,
    },
}

/// Applied whole, if all conditions hold, or not at all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transaction {
    /// What must be so; judged before any of the writes.
    pub conditions: Vec<Condition>,
    /// What then changes, in this order.
    pub writes: Vec<Write>,
}

/// What became of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It is on disk.
    Yes,
    /// Nothing changed: this condition does not hold (the first that doesn't).
    Conflict(Condition),
}

/// All that the core needs to know when it starts: live work, never history.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The store's generation; 0 and an empty incarnation for a new store.
    pub generation: u32,
    /// The name of this life; empty for a new store.
    pub incarnation: String,
    /// Meetings that are SCHEDULING or DISPLACED, and CONFIRMED ones that have an attempt HOLDING.
    pub live_meetings: Vec<Meeting>,
    /// Series that are SCHEDULING, and booked ones without an end.
    pub live_series: Vec<Series>,
    /// Attempts that are HOLDING.
    pub holding: Vec<AttemptRow>,
    /// All participants.
    pub participants: Vec<ParticipantRow>,
    /// Those of them whom no meeting, booking or delivery names, in order.
    pub strangers: Vec<ParticipantId>,
    /// All deliveries not yet acknowledged.
    pub deliveries: Vec<Delivery>,
}

/// What is read for a registration: all that the store has on one participant's promises.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ParticipantPromises {
    /// The booked rows of the participant whose time has not ended, with what a confirm of each says.
    pub booked: Vec<Booking>,
    /// The attempts that the agent reported.
    pub reported: Reported,
}

/// For each attempt that was asked about: its row and where its meeting is in its life, if there is one.
pub type Reported = BTreeMap<Attempt, Option<(AttemptRow, MeetingState)>>;

/// A read that sees all transactions ordered before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    /// The meeting of a request id.
    Request(RequestId),
    /// A meeting and the attempt that is booked for it.
    Meeting(MeetingId),
    /// The series of a request id.
    SeriesRequest(RequestId),
    /// A series, and those of its occurrences' meetings that there are, with what is booked for each.
    Series(SeriesId),
    /// An attempt and its meeting.
    Attempt(Attempt),
    /// Meetings that are CONFIRMED, displaceable and of a lower priority, and take somebody's time within a range.
    Displaceable {
        /// Whose time.
        participants: Vec<ParticipantId>,
        /// Which range.
        during: TimeRange,
        /// Lower than this.
        below: i32,
    },
    /// Participants without a booking that ends later, and without a delivery.
    Strangers {
        /// Bookings that ended before it bind nobody.
        after: Instant,
    },
    /// What became of these attempts: a part of what is read for a registration that reports very many.
    Reported(Vec<Attempt>),
    /// What the store has on a participant who registers.
    Promises {
        /// Who.
        participant: ParticipantId,
        /// The attempts that the agent reports.
        reported: Vec<Attempt>,
        /// Bookings that ended before it are left out.
        after: Instant,
    },
}

/// A meeting, and the attempt that is booked for it.
pub type BookedMeeting = (Meeting, Option<AttemptRow>);

/// The answer to a [`Read`], of the same kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadResult {
    /// To [`Read::Request`].
    Request(Option<Box<Meeting>>),
    /// To [`Read::Meeting`].
    Meeting(Option<Box<(Meeting, Option<AttemptRow>)>>),
    /// To [`Read::SeriesRequest`], without meetings.
    SeriesRequest(Option<Box<Series>>),
    /// To [`Read::Series`]: each meeting with the attempt that is booked for it.
    Series(Option<Box<(Series, Vec<BookedMeeting>)>>),
    /// To [`Read::Attempt`].
    Attempt(Option<Box<(AttemptRow, Meeting)>>),
    /// To [`Read::Displaceable`]: each with what is booked for it, in the order of their attempts; no more than
    /// `limits::DISPLACEABLE` of them, and of the first `limits::DISPLACEABLE_READ` bookings only.
    Displaceable(Vec<(Meeting, AttemptRow)>),
    /// To [`Read::Strangers`], in order.
    Strangers(Vec<ParticipantId>),
    /// To [`Read::Reported`].
    Reported(Reported),
    /// To [`Read::Promises`].
    Promises(Box<ParticipantPromises>),
}
