//! The scheduler's machine among agents and organizers that say anything at any time, over a store in memory.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use prost::Message;
use quorate::core::availability::Disclosure;
use quorate::core::coordinator::{
    Change, Command, Coordinator, Effect, Input, OpId, Room, ScheduleRequest, Start,
};
use quorate::core::ids::{Attempt, MeetingId, ParticipantId, QueryId, SessionId, Ticket};
use quorate::core::invariants::{self, Decisions, StoreView};
use quorate::core::limits;
use quorate::core::message::{AckKind, AgentMessage, Promise, Refusal, Register, SchedulerMessage, Vote};
use quorate::core::model::{
    Attendee, FreeTime, MeetingSpec, Objective, Options, Preference, Role, Window, WorkingHours,
};
use quorate::core::record::{Applied, BookingRow, Read, ReadResult, Write};
use quorate::core::time::{Instant, Mono, Now, TimeRange, add};
use quorate::engine::store::{Operation, OperationResult, Store};
use quorate::store::{MemoryDisk, MemoryStore};
use quorate::wire::agent_frames::agent_messages;
use quorate::wire::{pb, requests};

use super::bytes::Bytes;

/// Those who take part; short names, so that few bytes say much.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// One name too few, so that somebody is forgotten or not let in.
const ROOM: Room = Room { known: NAMES.len() - 1, per_session: NAMES.len() };
/// Steps of one run.
const STEPS: usize = 200;
/// How time goes by, in milliseconds: within a grace, a round, an attempt, a lease, a request.
const PAUSES: [u64; 8] = [0, 60, 310, 700, 2_100, 5_100, 10_100, 61_000];
/// Timers that may be due one after the other without time going by.
const TIMEOUTS_AT_ONCE: usize = 1_000;
/// Effects of one input: some for each participant and meeting of a run.
const EFFECTS: usize = 10_000;
/// How long after the last step every caller has its answer.
const ENOUGH: Duration = Duration::from_secs(700);

struct World {
    core: Coordinator,
    disk: MemoryDisk,
    store: MemoryStore,
    mono: Mono,
    waiting: VecDeque<(OpId, Operation)>,
    /// The store takes its time.
    slow: bool,
    view: StoreView,
    decisions: Decisions,
    holds: Vec<(Attempt, TimeRange)>,
    queries: Vec<(QueryId, Vec<TimeRange>)>,
    meetings: Vec<MeetingId>,
    open: BTreeSet<Ticket>,
    tickets: u64,
    starts: u64,
    drained: bool,
}

/// Runs a world of which the bytes decide what happens next.
pub fn coordinator(data: &[u8]) {
    let mut data = Bytes(data);
    let mut world = World::new();
    for name in NAMES {
        world.register(name, 0, Vec::new(), Vec::new());
    }
    for _ in 0..STEPS {
        if data.is_empty() {
            break;
        }
        world.step(&mut data);
        world.check();
    }
    world.end();
}

fn morning() -> Instant {
    "2030-01-08T09:00:00Z".parse().expect("an instant")
}

fn hours(from: usize, to: usize) -> TimeRange {
    let at = |n: usize| morning() + chrono::Duration::hours(n as i64);
    TimeRange::new(at(from), at(to))
}

impl World {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let mut store = MemoryStore::on(&disk);
        let start = Start { snapshot: store.snapshot().expect("a snapshot"), seed: 1, room: ROOM };
        let now = Now { mono: Mono::default(), wall: wall(Mono::default()) };
        let (core, effects) = Coordinator::start(now, start);
        let mut world = Self {
            core,
            disk,
            store,
            mono: Mono::default(),
            waiting: VecDeque::new(),
            slow: false,
            view: StoreView::default(),
            decisions: Decisions::default(),
            holds: Vec::new(),
            queries: Vec::new(),
            meetings: Vec::new(),
            open: BTreeSet::new(),
            tickets: 0,
            starts: 1,
            drained: false,
        };
        world.carry_out(effects);
        world.settle();
        world
    }

    fn now(&self) -> Now {
        Now { mono: self.mono, wall: wall(self.mono) }
    }

    fn step(&mut self, data: &mut Bytes<'_>) {
        match data.below(20) {
            0 => self.registers(data),
            1 | 2 => self.answers(data),
            3..=5 => self.votes(data),
            6..=8 => self.says(data),
            9 => self.input(Input::SessionClosed(session(data.one_of(&NAMES), data.below(2)))),
            10 | 11 => self.pass(Duration::from_millis(data.one_of(&PAUSES))),
            12 => self.schedules(data, true),
            13 => self.schedules(data, false),
            14 => self.changes(data),
            15 => self.restart(),
            16 => self.slow = data.flag(),
            17 => self.commit_group(),
            18 => self.raw_frame(data),
            _ => self.raw_request(data),
        }
        self.settle();
    }

    fn agent(&mut self, second_stream: usize, message: AgentMessage) {
        let session = session(message.participant().as_str(), second_stream);
        self.input(Input::Agent(session, message));
    }

    fn register(&mut self, name: &str, variant: usize, held: Vec<Promise>, booked: Vec<Promise>) {
        let journal_id = match variant % 4 {
            0 | 1 => format!("journal of {name}"),
            2 => String::new(),
            _ => format!("another journal of {name}"),
        };
        let register = Register {
            participant: ParticipantId::new(name),
            display_name: name.to_owned(),
            time_zone: None,
            zone_data: None,
            calendar_problem: String::new(),
            disclosure: [Disclosure::FreeBusy, Disclosure::AskedSlotsOnly][variant / 4 % 2],
            journal_id,
            journal_sequence: [0, 5, u64::MAX >> 1, 2][variant / 8 % 4],
            held,
            booked,
            withdrawn: Vec::new(),
            scheduler_generation: 0,
            scheduler_incarnation: String::new(),
            origin: Default::default(),
        };
        self.agent(variant / 32 % 2, AgentMessage::Register(Box::new(register)));
        self.settle();
    }

    fn registers(&mut self, data: &mut Bytes<'_>) {
        let (name, variant) = (data.one_of(&NAMES), data.below(64));
        let (mut held, mut booked) = (Vec::new(), Vec::new());
        for (attempt, blocked) in self.holds.iter().rev().take(4) {
            let promise =
                |lease_over| Promise { attempt: attempt.clone(), blocked: *blocked, lease_over, revision: 0 };
            match data.below(4) {
                0 => held.push(promise(false)),
                1 => held.push(promise(true)),
                2 => booked.push(promise(false)),
                _ => {}
            }
        }
        self.register(name, variant, held, booked);
    }

    fn answers(&mut self, data: &mut Bytes<'_>) {
        let (name, back, how) = (data.one_of(&NAMES), data.below(2), data.below(4));
        let Some((query, windows)) = self.queries.iter().rev().nth(back).cloned() else { return };
        let free = |range: TimeRange| FreeTime { range, preference: Preference::Available, cost: 0 };
        let answer = match how {
            0 | 1 => Ok(windows.into_iter().map(free).collect()),
            2 => Ok(vec![free(hours(data.below(8), 9))]),
            _ => Err("away".to_owned()),
        };
        self.agent(0, AgentMessage::Availability { participant: ParticipantId::new(name), query, answer });
    }

    /// One of the last attempts that were asked for.
    fn attempt(&self, data: &mut Bytes<'_>) -> Option<Attempt> {
        self.holds.iter().rev().nth(data.below(4)).map(|(attempt, _)| attempt.clone())
    }

    fn votes(&mut self, data: &mut Bytes<'_>) {
        let participant = ParticipantId::new(data.one_of(&NAMES));
        let (Some(attempt), other) = (self.attempt(data), self.attempt(data)) else { return };
        let vote = match data.below(8) {
            0..=3 => Vote::Granted,
            4 => Vote::Refused(Refusal::Busy),
            5 => Vote::Refused(Refusal::Booked),
            6 => Vote::Refused(Refusal::Stale),
            _ => Vote::Refused(Refusal::Held(other)),
        };
        self.agent(0, AgentMessage::Vote { participant, attempt, vote, sequence: 1 });
    }

    fn says(&mut self, data: &mut Bytes<'_>) {
        let participant = ParticipantId::new(data.one_of(&NAMES));
        let kind = data.below(7);
        let Some(attempt) = self.attempt(data) else { return };
        self.agent(
            0,
            match kind {
                0 => AgentMessage::Ack {
                    participant,
                    attempt,
                    kind: AckKind::Confirm,
                    revision: 0,
                    sequence: 2,
                },
                1 => AgentMessage::Ack {
                    participant,
                    attempt,
                    kind: AckKind::Release,
                    revision: 0,
                    sequence: 2,
                },
                2 => AgentMessage::Resolve { participant, attempt },
                3 => AgentMessage::CalendarChanged { participant },
                4 => AgentMessage::Unregister { participant },
                kind => AgentMessage::Withdraw {
                    participant,
                    meeting: attempt.meeting,
                    attempt: (kind == 5).then_some(attempt.n),
                    reason: "ill".to_owned(),
                    sequence: 3,
                },
            },
        );
    }

    fn command(&mut self, command: Command) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.open.insert(ticket);
        self.input(Input::Command { ticket, command, deadline: Some(Duration::from_secs(60)) });
    }

    fn schedules(&mut self, data: &mut Bytes<'_>, named: bool) {
        let (spec, hour, find) = (spec(data), data.below(8), data.below(8) == 7);
        if find {
            return self.command(Command::Find { spec, options: options(), limit: 3 });
        }
        let slot = named.then(|| hours(hour, hour + 1));
        self.schedule(ScheduleRequest {
            request_id: None,
            body_hash: "body".to_owned(),
            spec,
            slot,
            options: options(),
            validate_only: false,
        });
    }

    fn schedule(&mut self, request: ScheduleRequest) {
        self.command(Command::Schedule(Box::new(request)));
    }

    fn changes(&mut self, data: &mut Bytes<'_>) {
        let (back, kind, hour) = (data.below(3), data.below(4), data.below(8));
        let Some(meeting) = self.meetings.iter().rev().nth(back).cloned() else { return };
        let version = None;
        self.command(match kind {
            0 => Command::Cancel { meeting, version },
            1 | 2 => Command::Reschedule {
                meeting,
                version,
                slot: (kind == 1).then(|| hours(hour, hour + 1)),
                window: None,
                duration: None,
                options: options(),
            },
            _ => {
                let attendees = Some(spec(data).attendees).filter(|list| !list.is_empty());
                let minimum_participants = Some(data.below(3) as u32);
                let change = Change { attendees, minimum_participants, ..Change::default() };
                Command::Update { meeting, version, change, options: options() }
            }
        });
    }

    /// A frame as it comes from the network, over the stream of the first participant.
    fn raw_frame(&mut self, data: &mut Bytes<'_>) {
        let len = data.below(256);
        let Ok(frame) = pb::JoinRequest::decode(data.take(len)) else { return };
        for (_, message) in agent_messages(&frame) {
            if let Ok(message) = message {
                self.input(Input::Agent(session(NAMES[0], 0), message));
            }
        }
    }

    fn raw_request(&mut self, data: &mut Bytes<'_>) {
        let len = data.below(256);
        let Ok(request) = pb::ScheduleMeetingRequest::decode(data.take(len)) else { return };
        if let Ok(request) = requests::schedule(request) {
            self.schedule(request);
        }
    }

    fn restart(&mut self) {
        self.waiting.clear();
        self.open.clear();
        self.starts += 1;
        self.store = MemoryStore::on(&self.disk);
        let start =
            Start { snapshot: self.store.snapshot().expect("a snapshot"), seed: self.starts, room: ROOM };
        let (core, effects) = Coordinator::start(self.now(), start);
        self.core = core;
        self.carry_out(effects);
    }

    fn input(&mut self, input: Input) {
        let effects = self.core.handle(self.now(), input);
        self.carry_out(effects);
        self.settle();
    }

    fn settle(&mut self) {
        while !self.slow && !self.waiting.is_empty() {
            self.commit_group();
        }
    }

    fn pass(&mut self, length: Duration) {
        let end = self.mono + length;
        let mut at_once = 0;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            at_once = if at > self.mono { 0 } else { at_once + 1 };
            assert!(at_once < TIMEOUTS_AT_ONCE, "the timer fires for ever");
            self.mono = self.mono.max(at);
            self.input(Input::Timeout);
        }
        self.mono = end;
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        assert!(effects.len() < EFFECTS, "{} effects of one input", effects.len());
        for effect in effects {
            match effect {
                Effect::Apply(op, t) => self.waiting.push_back((op, Operation::Apply(t))),
                Effect::Read(op, read) => self.waiting.push_back((op, Operation::Read(read))),
                Effect::Send(_, _, SchedulerMessage::Hold(hold), _) => {
                    if !self.holds.iter().any(|(known, _)| *known == hold.attempt) {
                        self.holds.push((hold.attempt.clone(), hold.blocked));
                    }
                }
                Effect::Send(_, _, SchedulerMessage::Query(query), _) => {
                    self.queries.push((query.id.clone(), query.windows.clone()));
                }
                Effect::Reply(ticket, _) => {
                    assert!(self.open.remove(&ticket), "{ticket:?} was answered twice");
                }
                Effect::Fenced => panic!("fenced off, with one scheduler"),
                Effect::Drained => self.drained = true,
                // Agents that lie may well alarm it.
                Effect::Send(..)
                | Effect::Reject(..)
                | Effect::Participant(..)
                | Effect::Forgotten(_)
                | Effect::Alarm(_) => {}
            }
        }
    }

    fn commit_group(&mut self) {
        let group: Vec<_> = self.waiting.drain(..).collect();
        let operations: Vec<_> = group.iter().map(|(_, operation)| operation.clone()).collect();
        let results = self.store.run(&operations).expect("the store works");
        for ((op, operation), result) in group.into_iter().zip(results) {
            let input = match result {
                OperationResult::Applied(applied) => {
                    if let (Operation::Apply(transaction), Applied::Yes) = (&operation, &applied) {
                        transaction.writes.iter().for_each(|write| self.refresh(write));
                    }
                    Input::Applied(op, applied)
                }
                OperationResult::Read(read) => Input::Read(op, read),
            };
            let effects = self.core.handle(self.now(), input);
            self.carry_out(effects);
        }
    }

    fn read(&mut self, read: Read) -> ReadResult {
        match self.store.run(&[Operation::Read(read)]).expect("a read").pop() {
            Some(OperationResult::Read(result)) => result,
            other => panic!("a read was answered by {other:?}"),
        }
    }

    /// Reads again what a write may have changed.
    fn refresh(&mut self, write: &Write) {
        match write {
            Write::Meeting(meeting) => {
                if let ReadResult::Meeting(Some(found)) = self.read(Read::Meeting(meeting.id.clone())) {
                    if !self.meetings.contains(&meeting.id) {
                        self.meetings.push(meeting.id.clone());
                    }
                    self.view.meetings.insert(meeting.id.clone(), found.0);
                }
            }
            Write::Attempt(row) => self.refresh_attempt(&row.attempt),
            Write::AttemptState(attempt, _) => self.refresh_attempt(attempt),
            Write::Booking(row) => self.refresh_bookings(&row.participant),
            Write::RemoveBookings(attempt, participant) => {
                let rows = self.view.bookings.keys().filter(|(_, a)| a == attempt).map(|(p, _)| p);
                let those: Vec<_> = rows.chain(participant).cloned().collect();
                those.iter().for_each(|participant| self.refresh_bookings(participant));
                self.refresh_attempt(attempt);
            }
            _ => {}
        }
    }

    fn refresh_attempt(&mut self, attempt: &Attempt) {
        if let ReadResult::Attempt(Some(found)) = self.read(Read::Attempt(attempt.clone())) {
            self.view.attempts.insert(attempt.clone(), found.0);
        }
    }

    fn refresh_bookings(&mut self, participant: &ParticipantId) {
        self.view.bookings.retain(|(id, _), _| id != participant);
        let (reported, after) = (Vec::new(), Instant::MIN_UTC);
        let asked = Read::Promises { participant: participant.clone(), reported, after };
        if let ReadResult::Promises(promises) = self.read(asked) {
            for booking in promises.booked {
                let (attempt, during) = (booking.attempt, booking.blocked);
                let key = (participant.clone(), attempt.clone());
                let row = BookingRow { participant: participant.clone(), attempt, during, delivered: false };
                self.view.bookings.insert(key, row);
            }
        }
    }

    /// What holds of the store's rows, whatever agents say.
    fn check(&mut self) {
        let store = &self.view;
        let mut found = invariants::no_overlapping_bookings(store);
        found.extend(invariants::bookings_have_causes(store));
        found.extend(invariants::commit_sets_suffice(store));
        found.extend(invariants::decisions_stand(store, &mut self.decisions));
        found.extend(invariants::displaced_by_committed(store));
        found.extend(invariants::one_meeting_per_request(store));
        assert!(found.is_empty(), "{found:?}");
    }

    /// Every caller is answered, and shutdown comes to an end.
    fn end(&mut self) {
        self.slow = false;
        self.settle();
        self.pass(ENOUGH);
        assert!(self.open.is_empty(), "never answered: {:?}", self.open);
        self.input(Input::Drain(limits::DRAIN));
        self.pass(limits::DRAIN + Duration::from_secs(1));
        assert!(self.drained, "the shutdown never ends");
        self.check();
    }
}

fn spec(data: &mut Bytes<'_>) -> MeetingSpec {
    let (who, required, from, length) = (data.below(16), data.below(16), data.below(8), 1 + data.below(4));
    let attendee = |(bit, name): (usize, &&str)| {
        let role = match required >> bit & 1 {
            1 => Role::Required,
            _ if required & 3 == 2 => Role::Optional,
            _ => Role::Invited,
        };
        (who >> bit & 1 == 1).then(|| Attendee { id: ParticipantId::new(*name), role })
    };
    let window = hours(from, from + length);
    MeetingSpec {
        title: "planning".to_owned(),
        organizer: String::new(),
        attendees: NAMES.iter().enumerate().filter_map(attendee).collect(),
        duration: Duration::from_secs(3600),
        minimum_participants: 0,
        priority: 1 + data.below(3) as i32,
        window: Window {
            earliest: Some(window.start),
            latest: Some(window.end),
            time_zone: Some("UTC".to_owned()),
            step: Duration::from_secs(1800),
            working_hours: WorkingHours::Unrestricted,
            respect_attendee_hours: false,
            exclude: Vec::new(),
        },
        objective: data.one_of(&[Objective::Earliest, Objective::MostAttendees, Objective::BestScore]),
        buffer_before: Duration::ZERO,
        buffer_after: Duration::ZERO,
        displace: false,
        displaceable: false,
    }
}

fn options() -> Options {
    Options {
        response_timeout: Duration::from_secs(2),
        connect_timeout: Duration::ZERO,
        max_attempts: 10,
        max_candidates_per_round: 0,
    }
}

/// A participant has two streams, of two hosts.
fn session(name: &str, second: usize) -> SessionId {
    let number = NAMES.iter().position(|known| *known == name).unwrap_or(NAMES.len());
    SessionId((2 * number + second) as u64)
}

fn wall(mono: Mono) -> Instant {
    add(morning() - chrono::Duration::days(1), mono.0)
}
