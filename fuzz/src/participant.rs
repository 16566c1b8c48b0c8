//! The agent's machine, told anything in any order by the scheduler, by its owner and by crashes.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use quorate::core::availability::Disclosure;
use quorate::core::ids::{Attempt, AttemptNumber, Epoch, Lineage, MeetingId, ParticipantId, QueryId};
use quorate::core::invariants::{self, AgentView};
use quorate::core::limits;
use quorate::core::message::{
    AckKind, AgentMessage, Booking, Hold, Query, Registered, ReleaseCause, SchedulerMessage, Vote,
};
use quorate::core::participant::{Journal, Output, OwnTime, Participant, Profile, PromiseState};
use quorate::core::time::{Instant, Mono, Now, TimeRange};
use quorate::wire::agent_frames::{agent_message, pb_agent_message};
use quorate::wire::pb;
use quorate::wire::scheduler_frames::{FromScheduler, from_scheduler};

use super::bytes::Bytes;

/// Steps of one run.
const STEPS: usize = 300;
/// Pauses in milliseconds: within and beyond what is asked again, and a lease.
const PAUSES: [u64; 4] = [0, 500, 2_500, 11_000];
const CAUSES: [ReleaseCause; 6] = [
    ReleaseCause::Aborted,
    ReleaseCause::NotNeeded,
    ReleaseCause::Cancelled,
    ReleaseCause::Moved,
    ReleaseCause::Displaced,
    ReleaseCause::Withdrawn,
];
/// How many attempts of how many meetings there are.
const MEETINGS: usize = 4;
const ATTEMPTS: usize = 4;

/// Busy at noon, and unreadable in the evening.
struct Own;

impl OwnTime for Own {
    fn busy(&self, range: TimeRange, _: bool) -> Result<Vec<TimeRange>, String> {
        if range.overlaps(&hour(11)) {
            return Err("line 7".to_owned());
        }
        Ok([hour(5)].into_iter().filter(|own| own.overlaps(&range)).collect())
    }
}

struct World {
    machine: Participant,
    /// What a crash would leave.
    disk: Journal,
    mono: Mono,
    /// A frame said what no scheduler would: attempts that change their slot, for example.
    lied: bool,
}

/// Runs a machine of which the bytes decide what it is told next.
pub fn participant(data: &[u8]) {
    let mut data = Bytes(data);
    let disk = Journal { id: "journal".to_owned(), ..Journal::default() };
    let disclosure = [Disclosure::FreeBusy, Disclosure::AskedSlotsOnly][data.below(2)];
    let machine = Participant::new(profile(disclosure), disk.clone());
    let mut world = World { machine, disk, mono: Mono::default(), lied: false };
    world.connect();
    for _ in 0..STEPS {
        if data.is_empty() {
            break;
        }
        world.step(&mut data, disclosure);
    }
}

fn profile(disclosure: Disclosure) -> Profile {
    Profile { id: alice(), display_name: "Alice".to_owned(), time_zone: None, disclosure }
}

fn alice() -> ParticipantId {
    ParticipantId::new("alice")
}

fn hour(n: i64) -> TimeRange {
    let start = "2030-01-08T07:00:00Z".parse::<Instant>().expect("an instant") + chrono::Duration::hours(n);
    TimeRange::new(start, start + chrono::Duration::hours(1))
}

fn meeting(n: usize) -> MeetingId {
    MeetingId::new(format!("00000000-0000-4000-8000-00000000000{n}"))
}

fn attempt(data: &mut Bytes<'_>) -> Attempt {
    let n = 1 + data.below(ATTEMPTS) as u64;
    Attempt::new(meeting(data.below(MEETINGS)), AttemptNumber(n))
}

/// An attempt has one slot for ever; many attempts share one.
fn slot(attempt: &Attempt) -> TimeRange {
    let meeting = attempt.meeting.as_str().bytes().last().unwrap_or_default();
    hour(i64::from(meeting % 3) * 2 + (attempt.n.0 as i64 % 4))
}

fn booking(attempt: Attempt) -> Booking {
    let slot = slot(&attempt);
    Booking {
        attempt,
        slot,
        blocked: slot,
        title: "planning".to_owned(),
        organizer: String::new(),
        attendees: vec![alice()],
        sequence: 0,
        revision: 1,
        series: None,
    }
}

impl World {
    fn now(&self) -> Now {
        Now { mono: self.mono, wall: hour(-24).start }
    }

    fn connect(&mut self) {
        let output = self.machine.connected(self.now());
        assert!(matches!(output.messages.as_slice(), [AgentMessage::Register(_)]));
        self.sync(&output);
    }

    fn step(&mut self, data: &mut Bytes<'_>, disclosure: Disclosure) {
        match data.below(12) {
            0..=2 => self.hold(data),
            3 | 4 => {
                let (attempt, displaces) = (attempt(data), displaced(data));
                let booking = Arc::new(booking(attempt));
                self.hears(SchedulerMessage::Confirm { booking, displaces });
            }
            5 | 6 => {
                let (attempt, cause) = (attempt(data), data.one_of(&CAUSES));
                self.hears(SchedulerMessage::Release { attempt, cause });
            }
            7 => self.registered(data),
            8 => self.query(data),
            9 => {
                let left = meeting(data.below(MEETINGS));
                let output = self.machine.withdraw(self.now(), &left, "ill");
                self.sync(&output);
                let promised = self.disk.promises.keys().any(|attempt| attempt.meeting == left);
                assert!(!promised, "a withdrawal left something promised");
            }
            10 => self.happens(data, disclosure),
            _ => self.raw_frame(data),
        }
        self.check();
    }

    fn hold(&mut self, data: &mut Bytes<'_>) {
        let attempt = attempt(data);
        let slot = slot(&attempt);
        let hold = Hold {
            attempt: attempt.clone(),
            slot,
            blocked: slot,
            lease: limits::LEASE,
            displaces: displaced(data),
            priority: 1,
            title: "planning".to_owned(),
            organizer: String::new(),
        };
        let ready = self.machine.is_ready();
        let output = self.hears(SchedulerMessage::Hold(Arc::new(hold)));
        let [AgentMessage::Vote { vote, sequence, .. }] = output.messages.as_slice() else {
            assert!(!ready && output.messages.is_empty() && output.records.is_empty());
            return;
        };
        assert_eq!(*sequence, self.disk.sequence, "a vote rests on all that is journalled (D2)");
        let promised = self.disk.promises.contains_key(&attempt);
        assert_eq!(promised, *vote == Vote::Granted, "voted {vote:?}");
    }

    fn registered(&mut self, data: &mut Bytes<'_>) {
        let count = data.below(3);
        let registered = Registered {
            participant: alice(),
            epoch: Epoch(1),
            lineage: Lineage(1),
            bookings: (0..count).map(|_| booking(attempt(data))).collect(),
            generation: data.below(3) as u32,
            incarnation: "one".to_owned(),
        };
        self.hears(SchedulerMessage::Registered(Box::new(registered)));
    }

    fn query(&mut self, data: &mut Bytes<'_>) {
        let (from, length) = (data.below(10) as i64, 1 + data.below(4) as i64);
        let window = TimeRange::new(hour(from).start, hour(from + length).start);
        let disregard = displaced(data);
        let query = Query {
            id: QueryId::new("q"),
            windows: vec![window],
            duration: Duration::from_secs(60 * (1 + data.below(120)) as u64),
            buffer_before: Duration::from_secs(60 * data.below(30) as u64),
            buffer_after: Duration::from_secs(60 * data.below(30) as u64),
            step: Duration::from_secs(60 * (1 + data.below(60)) as u64),
            deadline: window.start,
            disregard: disregard.clone(),
            respect_working_hours: false,
        };
        let output = self.hears(SchedulerMessage::Query(Arc::new(query)));
        let [AgentMessage::Availability { answer, .. }] = output.messages.as_slice() else {
            assert!(!self.machine.is_ready());
            return;
        };
        // The window has too few slots to be declined for their number.
        let Ok(free) = answer else {
            return assert!(window.overlaps(&hour(11)), "declined without a reason");
        };
        assert!(!window.overlaps(&hour(11)), "an unreadable calendar is never free");
        assert!(free.windows(2).all(|pair| pair[0].range.end < pair[1].range.start));
        let standing = || self.machine.bookings().filter(|b| !disregard.contains(&b.attempt));
        for free in free {
            assert!(!free.range.is_empty() && window.contains(&free.range));
            assert!(!free.range.overlaps(&hour(5)), "an own event is no free time");
            assert!(standing().all(|booking| !booking.blocked.overlaps(&free.range)), "booked, and free");
        }
    }

    /// What is not said by the scheduler: time, broken streams, crashes.
    fn happens(&mut self, data: &mut Bytes<'_>, disclosure: Disclosure) {
        match data.below(6) {
            0 => self.machine.disconnected(),
            1 => self.connect(),
            2 => {
                self.machine = Participant::new(profile(disclosure), self.disk.clone());
                self.connect();
            }
            3 => self.sync(&self.machine.calendar_changed()),
            _ => self.pass(Duration::from_millis(data.one_of(&PAUSES))),
        }
    }

    fn pass(&mut self, length: Duration) {
        self.mono = self.mono + length;
        let output = self.machine.timeout(self.now());
        assert!(output.records.is_empty(), "time alone changes no promise");
        self.sync(&output);
        let next = self.machine.poll_timeout();
        assert!(next.is_none_or(|next| next > self.mono), "the timer fires for ever");
    }

    /// A frame as it comes from the network.
    fn raw_frame(&mut self, data: &mut Bytes<'_>) {
        let len = data.below(256);
        let Ok(frame) = pb::JoinResponse::decode(data.take(len)) else { return };
        for message in &frame.messages {
            if let Ok(FromScheduler::Messages(messages)) = from_scheduler(message) {
                for (_, message) in messages {
                    self.lied = true;
                    self.hears(message);
                }
            }
        }
    }

    fn hears(&mut self, message: SchedulerMessage) -> Output {
        let (before, ready) = (self.disk.clone(), self.machine.is_ready());
        let output = self.machine.receive(self.now(), message.clone(), &Own);
        self.sync(&output);
        // Before it knows what stands, it learns nothing of attempts that it does not know.
        let too_early = |attempt: &Attempt| {
            !ready && !before.promises.contains_key(attempt) && !before.withdrawn.contains_key(attempt)
        };
        match &message {
            SchedulerMessage::Confirm { booking, .. } if too_early(&booking.attempt) => {
                assert!(output.messages.is_empty() && self.disk == before, "it is said again");
            }
            SchedulerMessage::Release { attempt, .. } if too_early(attempt) => {
                assert!(output.messages.is_empty() && self.disk == before, "it is said again");
            }
            SchedulerMessage::Release { attempt, .. } => {
                assert!(acks(&output, attempt, AckKind::Release));
                assert!(!self.disk.promises.contains_key(attempt), "released, and still promised");
            }
            SchedulerMessage::Confirm { booking, .. } => {
                let left = self.disk.withdrawn.contains_key(&booking.attempt);
                assert!(acks(&output, &booking.attempt, AckKind::Confirm) || left);
            }
            SchedulerMessage::Registered(_) => {}
            // Nothing else ends a promise (PROTOCOL.md, the central rule).
            _ => assert!(before.promises.keys().all(|attempt| self.disk.promises.contains_key(attempt))),
        }
        // A tombstone is for ever, and never falls.
        for (meeting, n) in &before.tombstones {
            assert!(self.disk.tombstones.get(meeting).is_some_and(|now| now >= n));
        }
        output
    }

    /// Makes the records durable, and looks at what is sent after that.
    fn sync(&mut self, output: &Output) {
        output.records.iter().for_each(|record| self.disk.apply(record));
        assert_eq!(self.machine.journal(), &self.disk, "all that the machine knows is in its records");
        if self.lied {
            return;
        }
        for message in &output.messages {
            assert_eq!(message.participant(), &alice());
            assert_eq!(agent_message(&pb_agent_message(message)).as_ref(), Ok(message), "can't be sent");
        }
    }

    fn check(&self) {
        if self.lied {
            return;
        }
        let view = AgentView {
            participant: alice(),
            promises: self.disk.promises.clone(),
            withdrawn: self.disk.withdrawn.keys().cloned().collect(),
            lost: Default::default(),
            orphaned: Default::default(),
        };
        // A booking stands where its time was promised: own events are asked about before a hold only.
        let held = self.disk.promises.values().filter(|row| row.state == PromiseState::Held);
        assert!(
            held.into_iter().all(|row| !row.booking.blocked.overlaps(&hour(5))),
            "held over an own event"
        );
        let found = invariants::no_overlapping_promises(&[view]);
        assert!(found.is_empty(), "{found:?}");
    }
}

/// No attempt at most times, else one of any meeting.
fn displaced(data: &mut Bytes<'_>) -> Vec<Attempt> {
    if data.below(4) == 0 { vec![attempt(data)] } else { Vec::new() }
}

fn acks(output: &Output, attempt: &Attempt, kind: AckKind) -> bool {
    output.messages.iter().any(
        |message| matches!(message, AgentMessage::Ack { attempt: a, kind: k, .. } if a == attempt && *k == kind),
    )
}
