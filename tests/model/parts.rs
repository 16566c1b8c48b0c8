//! The parts of a world: each is the real thing, with its fingerprint, and shared by all worlds that have it alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use quorate::core::availability::Disclosure;
use quorate::core::coordinator::{Coordinator, Effect, Input, OpId, Reply, Room, Start};
use quorate::core::ids::{Attempt, Lineage, MeetingId, ParticipantId, SessionId, Ticket};
use quorate::core::invariants::{AgentView, StoreView};
use quorate::core::message::{AckKind, AgentMessage, Hold, ReleaseCause, SchedulerMessage};
use quorate::core::participant::{
    Journal, JournalRecord, Output, OwnTime, Participant, Profile, PromiseState,
};
use quorate::core::record::{BookingRow, Read, ReadResult, Write};
use quorate::core::time::{Instant, Mono, Now, TimeRange};
use quorate::engine::store::{Operation, OperationResult, Store};
use quorate::store::{MemoryDisk, MemoryStore};

use super::fingerprint::{self, Lanes};
use super::memo::exact;
use super::setting::{PARTICIPANTS, Plant, index_of, name, wall};

/// Random names, and what they stand for.
pub type Labels = Vec<(String, &'static str)>;

/// Something on its way, with its fingerprint and the hash of all that it says.
#[derive(Debug)]
pub struct Carried<T> {
    pub what: T,
    pub lanes: Lanes,
    pub exact: u64,
}

pub type OnItsWay<T> = Arc<Carried<T>>;

pub fn carried<T: std::fmt::Debug>(what: T, labels: &Labels) -> OnItsWay<T> {
    let (lanes, exact) = (fingerprint::of(&what, Mono::default(), 0, labels), exact(&what));
    Arc::new(Carried { what, lanes, exact })
}

/// What the scheduler wants done, ready to be shared by worlds.
pub enum Said {
    /// For the store; a quiet one only notes that something arrived, and is done at once if nothing that waits orders it
    /// otherwise.
    Store {
        op: OpId,
        operation: OnItsWay<Operation>,
        quiet: bool,
    },
    /// Over this stream, to these participants.
    Send(SessionId, Vec<usize>, OnItsWay<SchedulerMessage>),
    Reply(Ticket, Reply),
    Alarm(String),
    Fenced,
}

fn clocks(mono: Mono) -> Now {
    Now { mono, wall: wall() }
}

/// A calendar with nothing of its own in it.
struct Free;

impl OwnTime for Free {
    fn busy(&self, _: TimeRange, _: bool) -> Result<Vec<TimeRange>, String> {
        Ok(Vec::new())
    }
}

/// The scheduler's process.
pub struct Scheduler {
    pub core: Coordinator,
    pub mono: Mono,
    pub life: u64,
    last_op: u64,
    pub labels: Labels,
    lanes: OnceLock<Lanes>,
}

impl Scheduler {
    pub fn now(&self) -> Now {
        clocks(self.mono)
    }

    pub fn lanes(&self) -> Lanes {
        *self.lanes.get_or_init(|| fingerprint::of(&self.core, self.mono, self.last_op, &self.labels))
    }

    /// Another one that is the same, to be changed.
    fn again(&self) -> Self {
        let (core, labels) = (self.core.clone(), self.labels.clone());
        Self { core, labels, lanes: OnceLock::new(), ..*self }
    }

    pub fn start(disk: &Disk, life: u64) -> (Self, Vec<Said>) {
        let snapshot = disk.store().snapshot().expect("a snapshot");
        let start = Start { snapshot, seed: life, room: Room::default() };
        let (core, effects) = Coordinator::start(clocks(Mono::default()), start);
        let (mono, labels, lanes) = (Mono::default(), disk.labels.clone(), OnceLock::new());
        let mut scheduler = Self { core, mono, life, last_op: 0, labels, lanes };
        let said = scheduler.say(effects);
        (scheduler, said)
    }

    /// After this input.
    pub fn after(&self, input: Input) -> (Self, Vec<Said>) {
        let mut next = self.again();
        let effects = next.core.handle(next.now(), input);
        let said = next.say(effects);
        (next, said)
    }

    /// When its next timer is due, and after that.
    pub fn after_timer(&self) -> (Self, Vec<Said>) {
        let mut next = self.again();
        next.mono = next.mono.max(next.core.poll_timeout().unwrap_or_default());
        let effects = next.core.handle(next.now(), Input::Timeout);
        let said = next.say(effects);
        (next, said)
    }

    /// This much later.
    pub fn later(&self, time: std::time::Duration) -> Self {
        Self { mono: self.mono + time, ..self.again() }
    }

    fn say(&mut self, effects: Vec<Effect>) -> Vec<Said> {
        let mut said = Vec::with_capacity(effects.len());
        effects.iter().for_each(|effect| self.note(effect));
        for effect in effects {
            said.push(match effect {
                Effect::Apply(op, mut transaction) => {
                    // Events are for watchers; nothing is decided by them.
                    transaction.writes.retain(|write| !matches!(write, Write::Event(_)));
                    let quiet = transaction.writes.iter().all(only_notes);
                    let operation = carried(Operation::Apply(transaction), &self.labels);
                    Said::Store { op, operation, quiet }
                }
                Effect::Read(op, read) => {
                    let operation = carried(Operation::Read(read), &self.labels);
                    Said::Store { op, operation, quiet: false }
                }
                // A notice binds nobody, and changes nothing at an agent.
                Effect::Send(_, _, SchedulerMessage::Notice(_), _) => continue,
                Effect::Send(session, to, message, _) => {
                    let to = to.iter().map(index_of).collect();
                    Said::Send(session, to, carried(message, &self.labels))
                }
                Effect::Reply(ticket, reply) => Said::Reply(ticket, reply),
                Effect::Alarm(text) => Said::Alarm(text),
                Effect::Fenced => Said::Fenced,
                Effect::Reject(..) | Effect::Participant(..) | Effect::Forgotten(_) | Effect::Drained => {
                    continue;
                }
            });
        }
        said
    }

    /// Which operation was the last, and what new names stand for.
    fn note(&mut self, effect: &Effect) {
        if let Effect::Apply(op, _) | Effect::Read(op, _) = effect {
            self.last_op = self.last_op.max(op.0);
        }
        let Effect::Apply(_, transaction) = effect else { return };
        for write in &transaction.writes {
            let Write::Meeting(meeting) = write else { continue };
            let name = meeting.id.as_str().to_owned();
            let label = ["A", "B", "C", "FIRST"].into_iter().find(|l| *l == meeting.request_id.as_str());
            if let (Some(label), false) = (label, self.labels.iter().any(|(n, _)| *n == name)) {
                self.labels.push((name, label));
            }
        }
    }
}

/// Whether a write only notes that something arrived. Nothing is read or decided by it, so it commutes with all that
/// waits before it, and a crash before it is a crash before the message that caused it.
fn only_notes(write: &Write) -> bool {
    matches!(
        write,
        Write::RemoveDelivery(..)
            | Write::BookingDelivered(..)
            | Write::JournalSeen(..)
            | Write::LastSeen(..)
    )
}

/// The scheduler's store, and all its rows as the invariants read them.
pub struct Disk {
    disk: MemoryDisk,
    pub view: StoreView,
    pub lineages: BTreeMap<ParticipantId, Lineage>,
    labels: Labels,
    lanes: OnceLock<Lanes>,
}

impl Disk {
    pub fn new() -> Self {
        let disk = MemoryDisk::new();
        let (view, lineages) = (StoreView::default(), BTreeMap::new());
        Self { disk, view, lineages, labels: Vec::new(), lanes: OnceLock::new() }
    }

    pub fn lanes(&self) -> Lanes {
        *self.lanes.get_or_init(|| fingerprint::of(&self.disk, Mono::default(), 0, &self.labels))
    }

    /// A store on it.
    pub fn store(&self) -> MemoryStore {
        MemoryStore::on(&self.disk)
    }

    /// Another disk with the result of one operation; reads change nothing.
    pub fn after(&self, operation: &Operation, labels: &Labels) -> (Option<Self>, OperationResult) {
        let Operation::Apply(transaction) = operation else {
            return (None, run(&mut self.store(), operation));
        };
        let disk = self.disk.copy();
        let mut store = MemoryStore::on(&disk);
        let result = run(&mut store, operation);
        let mut next = Self {
            disk,
            view: self.view.clone(),
            lineages: BTreeMap::new(),
            labels: labels.clone(),
            lanes: OnceLock::new(),
        };
        let mut meetings: BTreeSet<MeetingId> = next.view.meetings.keys().cloned().collect();
        let mut attempts: BTreeSet<Attempt> = next.view.attempts.keys().cloned().collect();
        for write in &transaction.writes {
            match write {
                Write::Meeting(meeting) => drop(meetings.insert(meeting.id.clone())),
                Write::Attempt(row) => drop(attempts.insert(row.attempt.clone())),
                _ => {}
            }
        }
        next.read_all(&mut store, meetings, attempts);
        (Some(next), result)
    }

    fn read_all(
        &mut self,
        store: &mut MemoryStore,
        meetings: BTreeSet<MeetingId>,
        attempts: BTreeSet<Attempt>,
    ) {
        for id in meetings {
            if let ReadResult::Meeting(Some(found)) = read(store, Read::Meeting(id)) {
                self.view.meetings.insert(found.0.id.clone(), found.0);
            }
        }
        for attempt in attempts {
            if let ReadResult::Attempt(Some(found)) = read(store, Read::Attempt(attempt)) {
                self.view.attempts.insert(found.0.attempt.clone(), found.0);
            }
        }
        self.view.bookings.clear();
        for participant in (0..PARTICIPANTS).map(name) {
            let (reported, after) = (Vec::new(), Instant::UNIX_EPOCH);
            let asked = Read::Promises { participant: participant.clone(), reported, after };
            let ReadResult::Promises(promises) = read(store, asked) else { continue };
            for booking in promises.booked {
                let (attempt, during) = (booking.attempt, booking.blocked);
                let key = (participant.clone(), attempt.clone());
                let row = BookingRow { participant: participant.clone(), attempt, during, delivered: false };
                self.view.bookings.insert(key, row);
            }
        }
        let snapshot = store.snapshot().expect("a snapshot");
        self.view.deliveries = snapshot.deliveries;
        self.lineages = snapshot.participants.into_iter().map(|row| (row.id, row.lineage)).collect();
    }
}

fn run(store: &mut MemoryStore, operation: &Operation) -> OperationResult {
    let results = store.run(std::slice::from_ref(operation)).expect("the store works");
    results.into_iter().next().expect("one answer")
}

fn read(store: &mut MemoryStore, read: Read) -> ReadResult {
    match run(store, &Operation::Read(read)) {
        OperationResult::Read(result) => result,
        other => panic!("a read was answered by {other:?}"),
    }
}

/// An agent's process, and its journal's disk.
pub struct Agent {
    pub index: usize,
    machine: Participant,
    disk: Journal,
    pub mono: Mono,
    /// What lost journals had promised.
    lost: BTreeSet<Attempt>,
    lives: u32,
    pub view: AgentView,
    plant: Option<Plant>,
    /// A newer stream speaks for the participant: the process has stopped.
    pub superseded: bool,
    /// Once this agent is what worlds share.
    lanes: OnceLock<Lanes>,
}

impl Agent {
    pub fn new(index: usize, plant: Option<Plant>) -> Self {
        let disk = Journal { id: "journal-0".into(), ..Journal::default() };
        Self {
            index,
            machine: Participant::new(profile(index), disk.clone()),
            disk,
            mono: Mono::default(),
            lost: BTreeSet::new(),
            lives: 0,
            view: AgentView {
                participant: name(index),
                promises: BTreeMap::new(),
                withdrawn: BTreeSet::new(),
                lost: BTreeSet::new(),
                orphaned: BTreeSet::new(),
            },
            plant,
            superseded: false,
            lanes: OnceLock::new(),
        }
    }

    /// The labels are those of all worlds that share this agent.
    pub fn lanes(&self, labels: &Labels) -> Lanes {
        *self.lanes.get_or_init(|| {
            let machine = fingerprint::of(&self.machine, self.mono, 0, labels);
            let disk = fingerprint::of(&(&self.lost, &self.disk.id), self.mono, 0, labels);
            let lanes = fingerprint::chain(machine, disk);
            if self.plant != Some(Plant::ForgetsToJournal) {
                return lanes;
            }
            fingerprint::chain(lanes, fingerprint::of(&self.disk, self.mono, 0, labels))
        })
    }

    /// After it did something, and what it said.
    pub fn after(&self, act: impl FnOnce(&mut Self) -> Vec<AgentMessage>) -> (Self, Vec<AgentMessage>) {
        let mut next = Self {
            machine: self.machine.clone(),
            disk: self.disk.clone(),
            lost: self.lost.clone(),
            view: self.view.clone(),
            lanes: OnceLock::new(),
            ..*self
        };
        let said = act(&mut next);
        next.look();
        (next, said)
    }

    /// This much later.
    pub fn later(&self, time: std::time::Duration) -> Self {
        let pass = |agent: &mut Self| {
            agent.mono = agent.mono + time;
            Vec::new()
        };
        self.after(pass).0
    }

    /// What the invariants see of it.
    fn look(&mut self) {
        let has = |attempt: &&Attempt| self.disk.promises.contains_key(*attempt);
        self.view.promises.clone_from(&self.disk.promises);
        self.view.withdrawn = self.disk.withdrawn.keys().cloned().collect();
        self.view.lost = self.lost.iter().filter(|a| !has(a)).cloned().collect();
    }

    pub fn lost_a_journal(&self) -> bool {
        self.lives > 0
    }

    pub fn next_timer(&self) -> Option<Mono> {
        self.machine.poll_timeout()
    }

    pub fn connected(&mut self) -> Vec<AgentMessage> {
        self.superseded = false;
        let output = self.machine.connected(clocks(self.mono));
        self.keep(output)
    }

    pub fn disconnected(&mut self) {
        self.machine.disconnected();
    }

    /// The process dies, and another one starts on its journal: now, or at any time before it connects.
    pub fn crash(&mut self) {
        self.machine = Participant::new(profile(self.index), self.disk.clone());
        self.mono = Mono::default();
    }

    pub fn lose_journal(&mut self) {
        self.lives += 1;
        self.lost.extend(self.disk.promises.keys().chain(self.disk.withdrawn.keys()).cloned());
        self.disk = Journal { id: format!("journal-{}", self.lives), ..Journal::default() };
        self.crash();
    }

    pub fn receive(&mut self, message: SchedulerMessage) -> Vec<AgentMessage> {
        let now = clocks(self.mono);
        if let (Some(Plant::AlwaysYes), SchedulerMessage::Hold(hold)) = (self.plant, &message) {
            let overlay = self.disk.promises.keys().cloned().collect();
            let hold = Hold { displaces: overlay, ..(**hold).clone() };
            let output = self.machine.receive(now, SchedulerMessage::Hold(hold.into()), &Free);
            return self.keep(without_overlay(output));
        }
        if let (Some(Plant::KeepsWhatIsReleased), SchedulerMessage::Release { attempt, .. }) =
            (self.plant, &message)
            && self.disk.promises.contains_key(attempt)
        {
            let (participant, attempt, kind) = (name(self.index), attempt.clone(), AckKind::Release);
            return vec![AgentMessage::Ack {
                participant,
                attempt,
                kind,
                revision: 0,
                sequence: self.disk.sequence,
            }];
        }
        let output = self.machine.receive(now, message, &Free);
        self.keep(output)
    }

    pub fn timeout(&mut self) -> Vec<AgentMessage> {
        let now = clocks(self.mono);
        let output = self.machine.timeout(now);
        let messages = self.keep(output);
        let asked = |m: &AgentMessage| match m {
            AgentMessage::Resolve { attempt, .. } => Some(attempt.clone()),
            _ => None,
        };
        let over: Vec<Attempt> = messages.iter().filter_map(asked).collect();
        match self.plant {
            Some(Plant::ReleasesOnItsOwn) => {
                for attempt in over {
                    let cause = ReleaseCause::Aborted;
                    let release = SchedulerMessage::Release { attempt, cause };
                    let output = self.machine.receive(now, release, &Free);
                    self.keep(output);
                }
                Vec::new()
            }
            _ => messages,
        }
    }

    /// Syncs the records; the messages may then go. A crash between the two is a crash right after.
    fn keep(&mut self, output: Output) -> Vec<AgentMessage> {
        for record in &output.records {
            let hold = matches!(record, JournalRecord::Promise(row) if row.state == PromiseState::Held);
            if !(hold && self.plant == Some(Plant::ForgetsToJournal)) {
                self.disk.apply(record);
            }
        }
        self.superseded |= output.superseded;
        output.messages
    }
}

fn without_overlay(mut output: Output) -> Output {
    for record in &mut output.records {
        if let JournalRecord::Promise(row) = record {
            row.displaces.clear();
        }
    }
    output
}

fn profile(index: usize) -> Profile {
    Profile {
        id: name(index),
        display_name: String::new(),
        time_zone: None,
        disclosure: Disclosure::AskedSlotsOnly,
    }
}
