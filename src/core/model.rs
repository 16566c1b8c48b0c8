//! What the protocol speaks of: a meeting, what was asked for, what each attendee answered.
//!
//! Validated values only: the wire refuses what these types can't mean (see `wire::validate`).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::{AttemptNumber, MeetingId, ParticipantId, RequestId};
use super::series::Recurrence;
use super::time::{Instant, TimeRange};

/// How much an attendee's presence matters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Role {
    /// Must attend.
    Required,
    /// Counts to the quorum.
    Invited,
    /// Asked, and booked if free; never decides.
    Optional,
}

/// Somebody whom the organizer wants in the meeting.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Attendee {
    /// Who.
    pub id: ParticipantId,
    /// How much it matters.
    pub role: Role,
}

/// Which of the possible slots is best.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Objective {
    /// The earliest start.
    Earliest,
    /// The most attendees, then the earliest start.
    MostAttendees,
    /// The least summed cost, then the better preferences, then the more attendees, then the earliest start.
    BestScore,
}

/// The hours of a week in which a meeting may lie.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum WorkingHours {
    /// Any hour of any day.
    Unrestricted,
    /// On these days between these wall-clock times.
    Weekly {
        /// Monday first.
        days: [bool; 7],
        /// Minutes after midnight.
        start_minute: u16,
        /// Minutes after midnight, up to 1440.
        end_minute: u16,
        /// IANA zone of the wall clock; none: the window's.
        time_zone: Option<String>,
    },
}

impl Default for WorkingHours {
    /// Monday to Friday, 08:00 to 17:00, in the window's zone.
    fn default() -> Self {
        Self::Weekly {
            days: [true, true, true, true, true, false, false],
            start_minute: 8 * 60,
            end_minute: 17 * 60,
            time_zone: None,
        }
    }
}

/// Where in time a meeting may lie. Absent bounds are filled in when the request is taken
/// (see `coordinator`), so that a stored window is complete.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Window {
    /// First instant at which it may start; none: now.
    pub earliest: Option<Instant>,
    /// Instant by which it must have ended; none: `limits::WINDOW_DEFAULT` after `earliest`.
    pub latest: Option<Instant>,
    /// IANA zone; none: the organizer's registered one, else UTC.
    pub time_zone: Option<String>,
    /// Distance of candidate starts, from local midnight.
    pub step: Duration,
    /// Hours of the week.
    pub working_hours: WorkingHours,
    /// Whether each agent applies its own working hours too.
    pub respect_attendee_hours: bool,
    /// What the meeting must not touch.
    pub exclude: Vec<TimeRange>,
}

/// What an organizer asks for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct MeetingSpec {
    /// For people.
    pub title: String,
    /// Who asks; may be empty.
    pub organizer: String,
    /// Each participant once. Empty: everyone connected when the request is taken.
    pub attendees: Vec<Attendee>,
    /// Length without buffers.
    pub duration: Duration,
    /// The quorum over REQUIRED and INVITED; 0: all of them.
    pub minimum_participants: u32,
    /// 1 to `limits::PRIORITY_MAX`; higher wins.
    pub priority: i32,
    /// Where it may lie.
    pub window: Window,
    /// Which slot is best.
    pub objective: Objective,
    /// Kept free before it.
    pub buffer_before: Duration,
    /// Kept free after it.
    pub buffer_after: Duration,
    /// Whether it may displace booked meetings.
    pub displace: bool,
    /// Whether it may be displaced.
    pub displaceable: bool,
}

impl MeetingSpec {
    /// The quorum as a number: how many of REQUIRED and INVITED must attend.
    pub fn quorum(&self) -> usize {
        match self.minimum_participants {
            0 => self.attendees.iter().filter(|a| a.role != Role::Optional).count(),
            n => n as usize,
        }
    }

    /// A slot with this meeting's buffers: what must be free.
    pub fn blocked(&self, slot: &TimeRange) -> TimeRange {
        slot.padded(self.buffer_before, self.buffer_after)
    }
}

/// How much a participant likes a time. Ordered from the best to the worst.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub enum Preference {
    /// Rather then than at another time.
    Preferred,
    /// Free.
    #[default]
    Available,
    /// Only if nothing else is found.
    IfNeeded,
}

/// A range of free time, as an agent quotes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FreeTime {
    /// When.
    pub range: TimeRange,
    /// How welcome.
    pub preference: Preference,
    /// What a meeting then costs its owner.
    pub cost: i32,
}

/// What is known of one attendee.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum AttendeeStatus {
    /// Free (of a candidate), or booked (of a meeting).
    Attending,
    /// Not free.
    Busy,
    /// Asked, and did not answer in time: unknown.
    NoAnswer,
    /// Not connected.
    Disconnected,
    /// Said no.
    Declined,
    /// Not asked yet.
    NotAsked,
}

/// One attendee, for one slot or for the meeting.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttendeeOutcome {
    /// Who.
    pub id: ParticipantId,
    /// In which role.
    pub role: Role,
    /// What became of them.
    pub status: AttendeeStatus,
    /// Whether the agent acknowledged the booking.
    pub delivered: bool,
    /// Of a candidate: how welcome.
    pub preference: Preference,
    /// Of a candidate: what it costs.
    pub cost: i32,
    /// More about it in words; may be empty.
    pub detail: String,
}

impl AttendeeOutcome {
    /// An outcome without preference, cost and detail.
    pub fn new(attendee: &Attendee, status: AttendeeStatus) -> Self {
        Self {
            id: attendee.id.clone(),
            role: attendee.role,
            status,
            delivered: false,
            preference: Preference::default(),
            cost: 0,
            detail: String::new(),
        }
    }
}

/// A slot at which the meeting could take place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// When.
    pub slot: TimeRange,
    /// Higher is better; comparable within one ranking.
    pub score: i32,
    /// Every attendee as of this slot, in the order of the spec.
    pub attendees: Vec<AttendeeOutcome>,
    /// How many would attend.
    pub attending: usize,
    /// Summed over those who would attend.
    pub total_cost: i64,
    /// Why it stands at this place, in words.
    pub reason: String,
    /// Booked meetings that it would displace.
    pub displaces: Vec<MeetingId>,
}

/// How many candidate slots there were, and what they were lost to; each lost slot counts once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CandidateCounts {
    /// Slots within window, working hours and exclusions.
    pub considered: u32,
    /// Lost: a REQUIRED attendee is not free.
    pub required_busy: u32,
    /// Lost: a REQUIRED attendee is unknown.
    pub required_unreachable: u32,
    /// Lost: too few are free.
    pub quorum_missed: u32,
    /// Lost, so far, to the live hold of another meeting.
    pub held_by_others: u32,
    /// Looked possible, and was refused when it was to be held.
    pub refused: u32,
}

/// The smallest change of a request under which a slot would have been found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Relaxation {
    /// What to change.
    pub change: RelaxationChange,
    /// The slot that it would give, where known.
    pub slot: Option<TimeRange>,
    /// In words.
    pub message: String,
}

/// What to change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RelaxationChange {
    /// Fewer participants at the least.
    Minimum(u32),
    /// A later end of the window.
    Latest(Instant),
    /// This REQUIRED attendee need not attend.
    ReleaseRequired(ParticipantId),
    /// Any hour of any day.
    UnrestrictedHours,
    /// A shorter meeting.
    Duration(Duration),
}

/// Why there is no slot, typed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum FailureReason {
    /// Everyone answered; no slot suits all who must attend.
    NoCommonSlot,
    /// Fewer answered, or are connected, than the minimum.
    QuorumUnreachable,
    /// One REQUIRED attendee has no free slot in the window.
    RequiredBusy,
    /// A REQUIRED attendee is not connected, did not answer, or declined.
    RequiredUnreachable,
    /// `max_attempts` slots were tried.
    MaxAttempts,
    /// The deadline came first.
    Deadline,
    /// The window has no slot at all.
    WindowEmpty,
    /// The slot that was named is taken.
    SlotTaken,
    /// Nobody was named, and nobody is connected.
    NobodyConnected,
    /// Another change of it is under way.
    BeingChanged,
}

/// Why there is no slot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// Typed.
    pub reason: FailureReason,
    /// In words, with names and numbers.
    pub message: String,
    /// What the slots were lost to.
    pub counts: CandidateCounts,
    /// What would have worked, the least change first.
    pub relaxations: Vec<Relaxation>,
    /// What each attendee answered over the whole window: `Attending` if free somewhere in it.
    pub attendees: Vec<AttendeeOutcome>,
}

/// How one attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum AttemptOutcome {
    /// Booked.
    Booked,
    /// Too few are free by the availability answers; no hold was asked for.
    NotAvailable,
    /// Too few granted the hold.
    Refused,
    /// Given up for the hold of another meeting.
    HeldByOther,
    /// Not everybody needed answered in time.
    TimedOut,
    /// Taken back by the scheduler.
    Aborted,
}

/// One slot that was tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttemptLogEntry {
    /// From 1 within the meeting.
    pub number: u32,
    /// What was tried.
    pub slot: TimeRange,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The attendees as of this slot.
    pub attendees: Vec<AttendeeOutcome>,
    /// In words.
    pub message: String,
}

/// Where a meeting is in its life (AIP-216).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum MeetingState {
    /// A slot is being sought.
    Scheduling,
    /// Booked.
    Confirmed,
    /// Could not be booked.
    Failed,
    /// Called off.
    Cancelled,
    /// Lost its slot to a meeting of higher priority; being scheduled again.
    Displaced,
}

/// Who goes first where meetings compete: fixed for the life of a meeting (PROTOCOL.md, "Words").
/// The greater rank wins: higher priority, then earlier submission, then the smaller id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rank {
    /// Higher wins.
    pub priority: i32,
    /// Earlier wins.
    pub submitted_at: Instant,
    /// Breaks ties: the smaller wins.
    pub meeting: MeetingId,
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.priority.cmp(&other.priority))
            .then_with(|| other.submitted_at.cmp(&self.submitted_at))
            .then_with(|| other.meeting.cmp(&self.meeting))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// How a meeting is to be sought, beside what is sought.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Options {
    /// How long one fan-out waits for answers.
    pub response_timeout: Duration,
    /// How long to wait for named attendees to connect.
    pub connect_timeout: Duration,
    /// How many slots may be tried.
    pub max_attempts: u32,
    /// How many candidate slots one fan-out asks about; 0: all.
    pub max_candidates_per_round: u32,
}

/// A meeting, as the store has it. `version` changes with every change and is the compare-and-set's witness.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Meeting {
    /// Its name.
    pub id: MeetingId,
    /// The request that made it.
    pub request_id: RequestId,
    /// SHA-256 of the request's body, in hex (AIP-155).
    pub body_hash: String,
    /// What was asked for, defaults and attendees filled in.
    pub spec: MeetingSpec,
    /// The slot that the request named, if it did.
    pub named_slot: Option<TimeRange>,
    /// How it is sought.
    pub options: Options,
    /// The zone that was used.
    pub time_zone: String,
    /// Who goes first.
    pub rank: Rank,
    /// Where it is in its life.
    pub state: MeetingState,
    /// Rises with every change.
    pub version: u64,
    /// Rises with every new slot (SEQUENCE, RFC 5545 §3.8.7.4).
    pub sequence: u32,
    /// The attempt that is booked, while CONFIRMED.
    pub booked: Option<AttemptNumber>,
    /// When it takes place.
    pub slot: Option<TimeRange>,
    /// The slot with the buffers it was booked with.
    pub blocked: Option<TimeRange>,
    /// Every attendee.
    pub attendees: Vec<AttendeeOutcome>,
    /// The highest attempt number given out.
    pub last_attempt: Option<AttemptNumber>,
    /// How many slots were tried.
    pub attempts: u32,
    /// The slots tried, the last `limits::ATTEMPT_LOG` of them.
    pub attempt_log: Vec<AttemptLogEntry>,
    /// Why it FAILED.
    pub failure: Option<Failure>,
    /// The series that it is an occurrence of.
    #[serde(default)]
    pub series: Option<Arc<Recurrence>>,
    /// How often it got another slot than the one that it was booked at before.
    #[serde(default)]
    pub moved: u32,
    /// How often it was displaced (PROTOCOL.md, "Priority"): at most twice.
    pub displaced_count: u32,
    /// The meetings that its booking displaced.
    #[serde(default)]
    pub displaced: Vec<MeetingId>,
    /// The meeting that displaced it last.
    #[serde(default)]
    pub displaced_by: Option<MeetingId>,
    /// What the wall clock of `time_zone` showed for the start of `slot` when it was booked: `2026-03-29T10:00:00`.
    #[serde(default)]
    pub local_start: Option<String>,
    /// When the request was taken.
    pub create_time: Instant,
    /// When it last changed.
    pub update_time: Instant,
    /// When the request has to end, on the wall clock, for a restart to find.
    pub deadline: Instant,
}

/// What happened to a meeting.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum EventKind {
    /// Its first hold is about to be asked for.
    Scheduling,
    /// Booked.
    Confirmed,
    /// Could not be booked.
    Failed,
    /// Moved.
    Rescheduled,
    /// Called off.
    Cancelled,
    /// Attendees or details changed.
    Updated,
    /// Lost its slot.
    Displaced,
    /// An attendee withdrew.
    AttendeeDeclined,
    /// All agents acknowledged the booking.
    Delivered,
}
