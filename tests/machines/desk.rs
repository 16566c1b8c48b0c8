//! A coordinator on a desk: a store in memory, a clock that is set by hand, and everything it says written down.

use std::collections::VecDeque;
use std::time::Duration;

use quorate::core::availability::Disclosure;
use quorate::core::coordinator::{
    Command, Coordinator, Effect, Input, OpId, Rejected, Reply, Room, ScheduleRequest, Start,
};
use quorate::core::ids::{Attempt, Lineage, MeetingId, ParticipantId, RequestId, SessionId, Ticket};
use quorate::core::message::{
    AckKind, AgentMessage, Hold, Promise, Query, Refusal, Register, ReleaseCause, SchedulerMessage, Vote,
};
use quorate::core::model::{
    Attendee, EventKind, FreeTime, Meeting, MeetingSpec, Objective, Options, Preference, Role, Window,
    WorkingHours,
};
use quorate::core::record::{
    Applied, AttemptRow, AttemptState, Condition, ParticipantRow, Read, ReadResult, Transaction, Write,
};
use quorate::core::time::{Instant, Mono, Now, TimeRange, add};
use quorate::core::trace::TraceContext;
use quorate::engine::store::{EventFilter, Operation, OperationResult, Store};
use quorate::store::{MemoryDisk, MemoryStore};

pub fn morning() -> Instant {
    "2030-01-08T09:00:00Z".parse().expect("an instant")
}

/// The hour that begins so many hours after nine.
pub fn hour(n: i64) -> TimeRange {
    let start = morning() + chrono::Duration::hours(n);
    TimeRange::new(start, start + chrono::Duration::hours(1))
}

pub fn who(name: &str) -> ParticipantId {
    ParticipantId::new(name)
}

/// `alice` REQUIRED, `bob?` OPTIONAL, `+carol` INVITED.
fn attendee(text: &str) -> Attendee {
    match (text.strip_suffix('?'), text.strip_prefix('+')) {
        (Some(name), _) => Attendee { id: who(name), role: Role::Optional },
        (_, Some(name)) => Attendee { id: who(name), role: Role::Invited },
        _ => Attendee { id: who(text), role: Role::Required },
    }
}

pub fn attendees(texts: &[&str]) -> Vec<Attendee> {
    texts.iter().map(|text| attendee(text)).collect()
}

pub fn options() -> Options {
    Options {
        response_timeout: Duration::from_secs(2),
        connect_timeout: Duration::ZERO,
        max_attempts: 10,
        max_candidates_per_round: 0,
    }
}

/// One hour somewhere in the first `hours` after nine.
pub fn spec(who: &[&str], hours: i64) -> MeetingSpec {
    MeetingSpec {
        title: "planning".into(),
        organizer: String::new(),
        attendees: attendees(who),
        duration: Duration::from_secs(3600),
        minimum_participants: 0,
        priority: 1,
        window: Window {
            earliest: Some(morning()),
            latest: Some(hour(hours - 1).end),
            time_zone: Some("UTC".into()),
            step: Duration::from_secs(3600),
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

pub fn request(spec: MeetingSpec) -> ScheduleRequest {
    ScheduleRequest {
        request_id: None,
        body_hash: "body".into(),
        spec,
        slot: None,
        options: options(),
        validate_only: false,
    }
}

/// What was sent, to whom.
pub type Sent = (ParticipantId, SchedulerMessage);

pub struct Desk {
    pub core: Coordinator,
    disk: MemoryDisk,
    store: MemoryStore,
    pub mono: Mono,
    /// What waits for the store.
    waiting: VecDeque<(OpId, Operation)>,
    /// Leaves it waiting, until [`Desk::commit`].
    pub slow: bool,
    pub sent: Vec<Sent>,
    /// The trace of each message that was sent.
    pub traces: Vec<(SchedulerMessage, Option<TraceContext>)>,
    pub replies: Vec<(Ticket, Reply)>,
    pub alarms: Vec<String>,
    /// Whose messages could not be used, and why.
    pub rejected: Vec<(ParticipantId, Rejected)>,
    /// Who was forgotten.
    pub forgotten: Vec<ParticipantId>,
    room: Room,
    tickets: u64,
    seed: u64,
}

impl Desk {
    /// A scheduler on an empty store, with these agents registered, each over its own stream.
    pub fn new(agents: &[&str]) -> Self {
        Self::with_room(agents, Room::default())
    }

    /// The same, with room for so many names.
    pub fn with_room(agents: &[&str], room: Room) -> Self {
        let disk = MemoryDisk::new();
        let mut store = MemoryStore::on(&disk);
        let snapshot = store.snapshot().expect("a snapshot");
        let now = Now { mono: Mono::default(), wall: clock(Mono::default()) };
        let (core, effects) = Coordinator::start(now, Start { snapshot, seed: 1, room });
        let mut desk = Self {
            core,
            disk,
            store,
            mono: Mono::default(),
            waiting: VecDeque::new(),
            slow: false,
            sent: Vec::new(),
            traces: Vec::new(),
            replies: Vec::new(),
            alarms: Vec::new(),
            rejected: Vec::new(),
            forgotten: Vec::new(),
            room,
            tickets: 0,
            seed: 1,
        };
        desk.carry_out(effects);
        desk.settle();
        for agent in agents {
            desk.register(agent, 0, &[], &[]);
        }
        desk.sent.clear();
        desk
    }

    /// Another desk, on a copy of the disk.
    pub fn twin(&self) -> Self {
        let mut twin = Self::new(&[]);
        twin.disk = self.disk.copy();
        twin.seed = self.seed + 100;
        twin
    }

    /// The process dies and another one starts on what is on the disk.
    pub fn restart(&mut self) {
        self.waiting.clear();
        self.store = MemoryStore::on(&self.disk);
        self.seed += 1;
        let snapshot = self.store.snapshot().expect("a snapshot");
        let start = Start { snapshot, seed: self.seed, room: self.room };
        let (core, effects) = Coordinator::start(self.now(), start);
        self.core = core;
        self.sent.clear();
        self.carry_out(effects);
        self.settle();
    }

    pub fn now(&self) -> Now {
        Now { mono: self.mono, wall: clock(self.mono) }
    }

    pub fn input(&mut self, input: Input) {
        let effects = self.core.handle(self.now(), input);
        self.carry_out(effects);
        self.settle();
    }

    /// Lets the store answer, unless it is slow.
    fn settle(&mut self) {
        while !self.slow && !self.waiting.is_empty() {
            self.commit_group();
        }
    }

    /// The store works again: all that waits is answered, in order.
    pub fn commit(&mut self) {
        self.commit_group();
        self.settle();
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Apply(op, t) => self.waiting.push_back((op, Operation::Apply(t))),
                Effect::Read(op, read) => self.waiting.push_back((op, Operation::Read(read))),
                Effect::Send(_, to, message, trace) => {
                    self.traces.push((message.clone(), trace));
                    self.sent.extend(to.into_iter().map(|p| (p, message.clone())))
                }
                Effect::Reply(ticket, reply) => self.replies.push((ticket, reply)),
                Effect::Alarm(text) => self.alarms.push(text),
                Effect::Reject(_, participant, why) => self.rejected.push((participant, why)),
                Effect::Forgotten(participant) => self.forgotten.push(participant),
                Effect::Participant(..) | Effect::Drained => {}
                Effect::Fenced => panic!("fenced off"),
            }
        }
    }

    /// What waits hits the disk as one group, and the answers come back.
    fn commit_group(&mut self) {
        let group: Vec<_> = self.waiting.drain(..).collect();
        let operations: Vec<_> = group.iter().map(|(_, operation)| operation.clone()).collect();
        let results = self.store.run(&operations).expect("the store works");
        for ((op, _), result) in group.into_iter().zip(results) {
            let input = match result {
                OperationResult::Applied(applied) => Input::Applied(op, applied),
                OperationResult::Read(read) => Input::Read(op, read),
            };
            let effects = self.core.handle(self.now(), input);
            self.carry_out(effects);
        }
    }

    /// What waits is answered, and what follows waits again.
    pub fn commit_once(&mut self) {
        self.commit_group();
    }

    /// The reads that wait.
    pub fn reads(&self) -> Vec<Read> {
        let reads = self.waiting.iter().filter_map(|(_, operation)| match operation {
            Operation::Read(read) => Some(read.clone()),
            Operation::Apply(_) => None,
        });
        reads.collect()
    }

    /// The meetings that wait to be written.
    pub fn written(&self) -> Vec<MeetingId> {
        let writes = self.waiting.iter().filter_map(|(_, operation)| match operation {
            Operation::Apply(transaction) => Some(&transaction.writes),
            Operation::Read(_) => None,
        });
        let meetings = writes.flatten().filter_map(|write| match write {
            Write::Meeting(row) => Some(row.id.clone()),
            _ => None,
        });
        meetings.collect()
    }

    /// The store refuses what waits to be written of this meeting, as if its row were another one.
    pub fn conflicts(&mut self, meeting: &MeetingId) {
        let is_of = |write: &Write| matches!(write, Write::Meeting(row) if row.id == *meeting);
        let is_of = |(_, operation): &(OpId, Operation)| matches!(operation, Operation::Apply(transaction) if transaction.writes.iter().any(is_of));
        let at = self.waiting.iter().position(is_of).expect("a transaction of that meeting");
        let (op, _) = self.waiting.remove(at).expect("it waits");
        let condition = Condition::MeetingVersion(meeting.clone(), 1);
        self.input(Input::Applied(op, Applied::Conflict(condition)));
    }

    /// Time goes by, with every timer on its way.
    pub fn pass(&mut self, length: Duration) {
        let end = self.mono + length;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.mono = self.mono.max(at);
            self.input(Input::Timeout);
        }
        self.mono = end;
    }

    pub fn agent(&mut self, message: AgentMessage) {
        let session = session(message.participant());
        self.input(Input::Agent(session, message));
    }

    /// Registers with a journal of its own at this sequence, which has these holds and bookings.
    pub fn register(&mut self, name: &str, sequence: u64, held: &[&AttemptRow], booked: &[&AttemptRow]) {
        self.register_as(name, &format!("journal of {name}"), sequence, held, booked);
    }

    pub fn register_as(
        &mut self,
        name: &str,
        journal: &str,
        journal_sequence: u64,
        held: &[&AttemptRow],
        booked: &[&AttemptRow],
    ) {
        let register = Self::introduction(name, journal, journal_sequence, held, booked);
        self.agent(AgentMessage::Register(Box::new(register)));
    }

    /// Registers with a journal of its own, and says what `set` adds.
    pub fn register_with(&mut self, name: &str, sequence: u64, set: impl FnOnce(&mut Register)) {
        let mut register = Self::introduction(name, &format!("journal of {name}"), sequence, &[], &[]);
        set(&mut register);
        self.agent(AgentMessage::Register(Box::new(register)));
    }

    pub fn introduction(
        name: &str,
        journal: &str,
        journal_sequence: u64,
        held: &[&AttemptRow],
        booked: &[&AttemptRow],
    ) -> Register {
        let promises = |rows: &[&AttemptRow]| {
            let promise = |row: &&AttemptRow| Promise {
                attempt: row.attempt.clone(),
                blocked: row.blocked,
                lease_over: false,
                revision: 0,
            };
            rows.iter().map(promise).collect::<Vec<_>>()
        };
        Register {
            participant: who(name),
            display_name: name.into(),
            time_zone: None,
            zone_data: None,
            calendar_problem: String::new(),
            disclosure: Disclosure::FreeBusy,
            journal_id: journal.into(),
            journal_sequence,
            held: promises(held),
            booked: promises(booked),
            withdrawn: Vec::new(),
            scheduler_generation: 0,
            scheduler_incarnation: String::new(),
            origin: Default::default(),
        }
    }

    pub fn command(&mut self, command: Command) -> Ticket {
        self.command_within(command, Duration::from_secs(60))
    }

    pub fn command_within(&mut self, command: Command, deadline: Duration) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.input(Input::Command { ticket, command, deadline: Some(deadline) });
        ticket
    }

    pub fn schedule(&mut self, spec: MeetingSpec) -> Ticket {
        self.command(Command::Schedule(Box::new(request(spec))))
    }

    pub fn schedule_as(&mut self, id: &str, body: &str, spec: MeetingSpec) -> Ticket {
        let request_id = Some(RequestId::new(id));
        let body_hash = body.into();
        self.command(Command::Schedule(Box::new(ScheduleRequest { request_id, body_hash, ..request(spec) })))
    }

    /// To book exactly this slot: no question, straight to the holds.
    pub fn schedule_at(&mut self, slot: TimeRange, who: &[&str]) -> Ticket {
        let slot = Some(slot);
        self.command(Command::Schedule(Box::new(ScheduleRequest { slot, ..request(spec(who, 8)) })))
    }

    /// Free then; at no other time.
    pub fn free(&mut self, name: &str, query: &Query, at: &[TimeRange]) {
        let free = |range: &TimeRange| FreeTime { range: *range, preference: Preference::Available, cost: 0 };
        self.agent(AgentMessage::Availability {
            participant: who(name),
            query: query.id.clone(),
            answer: Ok(at.iter().map(free).collect()),
        });
    }

    pub fn grants(&mut self, name: &str, attempt: &Attempt) {
        self.vote(name, attempt, Vote::Granted);
    }

    pub fn refuses(&mut self, name: &str, attempt: &Attempt, refusal: Refusal) {
        self.vote(name, attempt, Vote::Refused(refusal));
    }

    fn vote(&mut self, name: &str, attempt: &Attempt, vote: Vote) {
        let attempt = attempt.clone();
        self.agent(AgentMessage::Vote { participant: who(name), attempt, vote, sequence: 1 });
    }

    pub fn acks(&mut self, name: &str, attempt: &Attempt, kind: AckKind) {
        self.acks_revision(name, attempt, kind, 0);
    }

    pub fn acks_revision(&mut self, name: &str, attempt: &Attempt, kind: AckKind, revision: u64) {
        self.agent(AgentMessage::Ack {
            participant: who(name),
            attempt: attempt.clone(),
            kind,
            revision,
            sequence: 2,
        });
    }

    pub fn withdraws(&mut self, name: &str, attempt: &Attempt) {
        self.agent(AgentMessage::Withdraw {
            participant: who(name),
            meeting: attempt.meeting.clone(),
            attempt: Some(attempt.n),
            reason: "ill".into(),
            sequence: 3,
        });
    }

    pub fn resolves(&mut self, name: &str, attempt: &Attempt) {
        self.agent(AgentMessage::Resolve { participant: who(name), attempt: attempt.clone() });
    }

    /// The last query that was sent.
    pub fn query(&self) -> Query {
        let query = self.sent.iter().rev().find_map(|(_, message)| match message {
            SchedulerMessage::Query(query) => Some((**query).clone()),
            _ => None,
        });
        query.expect("a query")
    }

    /// The last hold that was sent.
    pub fn hold(&self) -> Hold {
        let hold = self.sent.iter().rev().find_map(|(_, message)| match message {
            SchedulerMessage::Hold(hold) => Some((**hold).clone()),
            _ => None,
        });
        hold.expect("a hold")
    }

    /// Who was sent the hold of the attempt, and how often in all.
    pub fn held_by(&self, attempt: &Attempt) -> Vec<String> {
        let names =
            self.sent.iter().filter(|(_, m)| matches!(m, SchedulerMessage::Hold(h) if h.attempt == *attempt));
        names.map(|(p, _)| p.to_string()).collect()
    }

    pub fn confirmed(&self, attempt: &Attempt) -> Vec<String> {
        let is = |m: &SchedulerMessage| matches!(m, SchedulerMessage::Confirm { booking, .. } if booking.attempt == *attempt);
        self.sent.iter().filter(|(_, m)| is(m)).map(|(p, _)| p.to_string()).collect()
    }

    pub fn released(&self, attempt: &Attempt) -> Vec<(String, ReleaseCause)> {
        let cause = |(p, m): &Sent| match m {
            SchedulerMessage::Release { attempt: a, cause } if a == attempt => Some((p.to_string(), *cause)),
            _ => None,
        };
        self.sent.iter().filter_map(cause).collect()
    }

    pub fn reply(&self, ticket: Ticket) -> Option<&Reply> {
        self.replies.iter().find(|(t, _)| *t == ticket).map(|(_, reply)| reply)
    }

    /// The meeting that a caller was told of.
    pub fn answer(&self, ticket: Ticket) -> Meeting {
        match self.reply(ticket) {
            Some(Reply::Meeting(meeting) | Reply::Changed(meeting, _)) => (**meeting).clone(),
            other => panic!("{ticket:?} was answered by {other:?}"),
        }
    }

    pub fn row(&mut self, attempt: &Attempt) -> AttemptRow {
        match self.read(Read::Attempt(attempt.clone())) {
            ReadResult::Attempt(Some(found)) => found.0,
            other => panic!("{attempt} is {other:?}"),
        }
    }

    pub fn state(&mut self, attempt: &Attempt) -> AttemptState {
        self.row(attempt).state
    }

    pub fn meeting(&mut self, id: &MeetingId) -> Option<Meeting> {
        match self.read(Read::Meeting(id.clone())) {
            ReadResult::Meeting(found) => found.map(|found| found.0),
            other => panic!("{other:?}"),
        }
    }

    /// What the participant is booked for.
    pub fn booked(&mut self, name: &str) -> Vec<Attempt> {
        let asked =
            Read::Promises { participant: who(name), reported: Vec::new(), after: Instant::UNIX_EPOCH };
        match self.read(asked) {
            ReadResult::Promises(promises) => promises.booked.into_iter().map(|b| b.attempt).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Who is on record, in order.
    pub fn known(&mut self) -> Vec<ParticipantId> {
        self.store.snapshot().expect("a snapshot").participants.into_iter().map(|row| row.id).collect()
    }

    /// What the store still has to deliver, by participant, attempt and kind.
    pub fn undelivered(&mut self) -> Vec<(String, Attempt, AckKind)> {
        let snapshot = self.store.snapshot().expect("a snapshot");
        let deliveries = snapshot.deliveries.into_iter();
        deliveries.map(|d| (d.participant.to_string(), d.attempt, d.body.kind())).collect()
    }

    /// What another life of the store wrote: the participant's journal is not the one that voted.
    pub fn new_lineage(&mut self, name: &str) {
        let snapshot = self.store.snapshot().expect("a snapshot");
        let row = snapshot.participants.into_iter().find(|row| row.id == who(name)).expect("a participant");
        let row = ParticipantRow { lineage: Lineage(row.lineage.0 + 1), ..row };
        let transaction = Transaction { conditions: Vec::new(), writes: vec![Write::Participant(row)] };
        self.store.run(&[Operation::Apply(transaction)]).expect("the store works");
    }

    pub fn read(&mut self, read: Read) -> ReadResult {
        match self.store.run(&[Operation::Read(read)]).expect("a read").pop() {
            Some(OperationResult::Read(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    /// The meetings that events of this kind tell of, in order.
    pub fn events(&mut self, kind: EventKind) -> Vec<Meeting> {
        let page = self.store.reader().events(0, &EventFilter::default(), usize::MAX).expect("events");
        page.events.into_iter().filter(|row| row.event.kind == kind).map(|row| row.event.meeting).collect()
    }

    /// Books the slot with everyone named; all confirms are acknowledged.
    pub fn book(&mut self, slot: TimeRange, names: &[&str]) -> Attempt {
        let ticket = self.schedule_at(slot, names);
        let names: Vec<&str> = names.iter().map(|name| name.trim_matches(['?', '+'])).collect();
        let attempt = self.hold().attempt;
        for name in &names {
            self.grants(name, &attempt);
        }
        assert_eq!(self.answer(ticket).booked, Some(attempt.n));
        for name in &names {
            self.acks(name, &attempt, AckKind::Confirm);
        }
        self.sent.clear();
        attempt
    }
}

/// A stream for each participant; names are short, and of one length where the order of messages matters.
pub fn session(participant: &ParticipantId) -> SessionId {
    SessionId(participant.as_str().bytes().fold(0, |number, byte| number * 256 + u64::from(byte)))
}

fn clock(mono: Mono) -> Instant {
    add(morning() - chrono::Duration::days(1), mono.0)
}
