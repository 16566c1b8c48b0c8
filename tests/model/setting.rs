//! What is explored: the meetings, and how much may go wrong.

use std::time::Duration;

use quorate::core::coordinator::{Command, ScheduleRequest};
use quorate::core::ids::{MeetingId, ParticipantId, RequestId};
use quorate::core::model::{Attendee, MeetingSpec, Objective, Options, Role, Window, WorkingHours};
use quorate::core::time::{Instant, TimeRange};

/// How many participants there are at most; all of them are the same to the protocol.
pub const PARTICIPANTS: usize = 3;
/// Minutes. A slot lasts twice as long, so slots that begin so far apart overlap.
const HALF: i64 = 30;

/// How much may go wrong in one run. All of it at any point, in any order; the exploration is exhaustive within it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Bounds {
    /// Faults of any kind together.
    pub faults: u8,
    /// Messages that vanish from a stream that stays.
    pub losses: u8,
    /// Messages that come a second time, at any time while the stream stays.
    pub duplicates: u8,
    /// Streams that break; what the agent said before may still come in, or not.
    pub breaks: u8,
    /// Agents that die and start again on their journal.
    pub agent_crashes: u8,
    /// Schedulers that die, with or without the write that was on its way, and start again on the store.
    pub scheduler_crashes: u8,
    /// Journals that are gone: a new life of the agent.
    pub journal_losses: u8,
    /// Whether an agent hears (or loses) what is sent to it before anything else happens. What it says may be late all
    /// the same, and in any order with what others say.
    pub agents_hear_at_once: bool,
    /// How often the scheduler's next timer may fire while anything else may still happen first.
    pub scheduler_timers: u8,
    /// How often an agent's next timer may fire so: the lease runs out.
    pub agent_timers: u8,
}

/// A fault of the model's own, to see that it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// An agent lets go on its own when the lease ran out.
    ReleasesOnItsOwn,
    /// An agent votes yes without its journal.
    ForgetsToJournal,
    /// The network acknowledges a confirm that it lost.
    AcknowledgesForOthers,
    /// An agent acknowledges a release and keeps the hold.
    KeepsWhatIsReleased,
    /// An agent says yes whatever it has promised before.
    AlwaysYes,
}

/// What an organizer wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// A new meeting, so many half hours after nine, of this priority.
    Schedule { half_hours: i64, priority: i32 },
    /// The meeting that the world begins with, moved.
    Move { half_hours: i64 },
    /// The meeting that the world begins with, called off.
    Cancel,
}

/// One configuration.
#[derive(Clone, Debug)]
pub struct Setting {
    /// For the report.
    pub name: &'static str,
    /// How many take part.
    pub participants: usize,
    /// Booked, with everyone, before it begins: so many half hours after nine.
    pub booked: Option<i64>,
    /// What happens, in any order.
    pub wishes: Vec<Wish>,
    /// What each participant is to each meeting.
    pub role: Role,
    /// How many have to come.
    pub minimum: u32,
    /// How much may go wrong.
    pub bounds: Bounds,
    /// A fault that has to be found.
    pub plant: Option<Plant>,
}

pub fn name(index: usize) -> ParticipantId {
    ParticipantId::new(format!("p{index}"))
}

pub fn index_of(participant: &ParticipantId) -> usize {
    (0..PARTICIPANTS).find(|i| name(*i) == *participant).expect("one of ours")
}

/// The wall clock stands still: no safety rests on it.
pub fn wall() -> Instant {
    "2030-01-07T09:00:00Z".parse().expect("an instant")
}

pub fn slot(half_hours: i64) -> TimeRange {
    let start = wall() + chrono::Duration::days(1) + chrono::Duration::minutes(HALF * half_hours);
    TimeRange::lasting(start, Duration::from_secs(3600))
}

fn options() -> Options {
    Options {
        response_timeout: Duration::from_secs(2),
        connect_timeout: Duration::ZERO,
        max_attempts: 2,
        max_candidates_per_round: 0,
    }
}

impl Setting {
    fn spec(&self, priority: i32, slot: TimeRange) -> MeetingSpec {
        MeetingSpec {
            title: "planning".into(),
            organizer: String::new(),
            attendees: (0..self.participants).map(|i| Attendee { id: name(i), role: self.role }).collect(),
            duration: slot.length(),
            minimum_participants: self.minimum,
            priority,
            window: Window {
                earliest: Some(slot.start),
                latest: Some(slot.end),
                time_zone: Some("UTC".into()),
                step: slot.length(),
                working_hours: WorkingHours::Unrestricted,
                respect_attendee_hours: false,
                exclude: Vec::new(),
            },
            objective: Objective::Earliest,
            buffer_before: Duration::ZERO,
            buffer_after: Duration::ZERO,
            displace: false,
            displaceable: false,
        }
    }

    /// To book exactly this slot. Its request id is its label.
    pub fn schedule(&self, label: &str, half_hours: i64, priority: i32) -> Command {
        let slot = slot(half_hours);
        Command::Schedule(Box::new(ScheduleRequest {
            request_id: Some(RequestId::new(label)),
            body_hash: label.into(),
            spec: self.spec(priority, slot),
            slot: Some(slot),
            options: options(),
            validate_only: false,
        }))
    }

    /// The command of one wish.
    pub fn command(&self, index: usize, booked: Option<&MeetingId>) -> Command {
        let meeting = || booked.cloned().expect("the setting begins with a meeting");
        match self.wishes[index] {
            Wish::Schedule { half_hours, priority } => self.schedule(label_of(index), half_hours, priority),
            Wish::Move { half_hours } => Command::Reschedule {
                meeting: meeting(),
                version: None,
                slot: Some(slot(half_hours)),
                window: None,
                duration: None,
                options: options(),
            },
            Wish::Cancel => Command::Cancel { meeting: meeting(), version: None },
        }
    }
}

/// The request id of a wish.
pub fn label_of(index: usize) -> &'static str {
    ["A", "B", "C"][index]
}
