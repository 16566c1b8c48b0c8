//! One state of the model: the real machines, what is on its way between them, and what may still go wrong.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use quorate::core::coordinator::{Input, OpId, Reply};
use quorate::core::ids::{Attempt, Epoch, Lineage, MeetingId, SessionId, Ticket};
use quorate::core::invariants::{self, CountedVote, Decisions};
use quorate::core::message::{AckKind, AgentMessage, SchedulerMessage, Vote};
use quorate::core::model::MeetingState;
use quorate::core::participant::PromiseState;
use quorate::core::record::{Applied, AttemptState, Write};
use quorate::core::time::Mono;
use quorate::engine::store::{Operation, OperationResult};

use super::fingerprint::{self, LANES, Lanes};
use super::memo::{Memo, exact};
use super::parts::{Agent, Disk, OnItsWay, Said, Scheduler, carried};
use super::setting::{Bounds, PARTICIPANTS, Plant, Setting, index_of, label_of, name};

/// One participant's stream, of a host of its own.
#[derive(Clone, Default)]
pub struct Link {
    /// The stream that the agent has.
    pub session: Option<SessionId>,
    /// How many there were.
    sessions: u64,
    pub to_agent: VecDeque<OnItsWay<SchedulerMessage>>,
    pub to_scheduler: VecDeque<OnItsWay<AgentMessage>>,
    /// Second copies, which come in at any time while the stream stays: behind all, or before what was said before.
    pub copies_to_agent: VecDeque<OnItsWay<SchedulerMessage>>,
    pub copies_to_scheduler: VecDeque<OnItsWay<AgentMessage>>,
    /// Streams that are gone, and what was said over them and may still come in.
    pub gone: VecDeque<(SessionId, VecDeque<OnItsWay<AgentMessage>>)>,
}

/// A request, as its caller sees it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    /// To be made, for the first time or once more.
    Due,
    Open(Ticket),
    Answered,
}

/// An observer's note of a participant's registration, by PROTOCOL.md and nothing that the scheduler says.
#[derive(Clone, Default)]
pub struct Registration {
    session: Option<SessionId>,
    epoch: i64,
    lineage: i64,
    journal: String,
}

/// An agent after something, and what it said.
type AgentDid = (Arc<Agent>, Arc<[OnItsWay<AgentMessage>]>);

/// What parts become, for all worlds.
#[derive(Default)]
pub struct Memos {
    scheduler: Memo<Scheduler, (Arc<Scheduler>, Arc<[Said]>)>,
    disk: Memo<Disk, (Option<Arc<Disk>>, Arc<OperationResult>)>,
    agents: Memo<Agent, AgentDid>,
}

impl Memos {
    /// Another level of the exploration begins.
    pub fn age(&self) {
        self.scheduler.age();
        self.disk.age();
        self.agents.age();
    }
}

/// What an agent does that is no message.
mod acts {
    pub const CONNECT: u64 = 1;
    pub const DISCONNECT: u64 = 2;
    pub const CRASH: u64 = 3;
    pub const LOSE_JOURNAL: u64 = 4;
    pub const TIMER: u64 = 5;
}

#[derive(Clone)]
pub struct World {
    pub memos: Arc<Memos>,
    pub scheduler: Arc<Scheduler>,
    pub disk: Arc<Disk>,
    /// Operations that are done, of which the scheduler has still to hear.
    quiet: Vec<OpId>,
    /// What the store has not done yet, in order.
    pub waiting: VecDeque<(OpId, OnItsWay<Operation>)>,
    pub agents: [Arc<Agent>; PARTICIPANTS],
    pub links: [Link; PARTICIPANTS],
    pub participants: usize,
    pub requests: Vec<Request>,
    /// How often each was made.
    asked: Vec<u64>,
    /// The meeting that it began with.
    pub booked: Option<MeetingId>,
    /// What may still go wrong.
    pub left: Bounds,
    registrations: [Registration; PARTICIPANTS],
    cast: BTreeMap<(usize, Attempt), (i64, i64)>,
    /// What does not hold, by the last step.
    pub broken: Vec<String>,
}

impl World {
    /// Everyone is registered, and the meeting that it begins with is booked and delivered.
    pub fn new(setting: &Setting) -> Self {
        let disk = Disk::new();
        let (scheduler, said) = Scheduler::start(&disk, 1);
        let mut world = Self {
            memos: Arc::default(),
            scheduler: Arc::new(scheduler),
            disk: Arc::new(disk),
            quiet: Vec::new(),
            waiting: VecDeque::new(),
            agents: std::array::from_fn(|index| Arc::new(Agent::new(index, setting.plant))),
            links: std::array::from_fn(|_| Link::default()),
            participants: setting.participants,
            requests: Vec::new(),
            asked: vec![0; 3],
            booked: None,
            left: Bounds::default(),
            registrations: std::array::from_fn(|_| Registration::default()),
            cast: BTreeMap::new(),
            broken: Vec::new(),
        };
        world.carry_out(&said);
        if let Some(half_hours) = setting.booked {
            world.requests.push(Request::Due);
            let fault = super::settle::settle(&mut world, |w, _| w.ask_first(setting, half_hours));
            assert_eq!(fault, None, "the prelude settles");
            world.booked = world.disk.view.meetings.keys().next().cloned();
        }
        (world.requests, world.asked) = (Vec::new(), vec![0; 3]);
        assert_eq!(super::settle::settle(&mut world, |_, _| ()), None, "the prelude settles");
        assert!(world.broken.is_empty(), "{:?}", world.broken);
        world.requests = vec![Request::Due; setting.wishes.len()];
        world.left = setting.bounds;
        world.pass(std::time::Duration::ZERO);
        world
    }

    fn ask_first(&mut self, setting: &Setting, half_hours: i64) {
        let command = setting.schedule("FIRST", half_hours, 1);
        self.command(0, command);
    }

    /// The organizer asks, or asks again after a crash.
    pub fn ask(&mut self, setting: &Setting, index: usize) {
        let command = setting.command(index, self.booked.as_ref());
        self.command(index, command);
    }

    fn command(&mut self, index: usize, command: quorate::core::coordinator::Command) {
        self.asked[index] += 1;
        let ticket = Ticket(self.asked[index] * 10 + index as u64);
        self.requests[index] = Request::Open(ticket);
        self.input(Input::Command { ticket, command, deadline: None });
    }

    /// Hands one input to the scheduler and does what it says.
    pub fn input(&mut self, input: Input) {
        let said = self.scheduler_takes(input);
        self.carry_out(&said);
    }

    fn scheduler_takes(&mut self, input: Input) -> Arc<[Said]> {
        let (scheduler, key) = (Arc::clone(&self.scheduler), exact(&input));
        self.scheduler_becomes(key, || scheduler.after(input))
    }

    fn scheduler_becomes(&mut self, key: u64, work: impl FnOnce() -> (Scheduler, Vec<Said>)) -> Arc<[Said]> {
        let shared = || {
            let (scheduler, said) = work();
            (Arc::new(scheduler), said.into())
        };
        let (scheduler, said) = self.memos.scheduler.of(&self.scheduler, key, shared);
        self.scheduler = scheduler;
        said
    }

    fn carry_out(&mut self, said: &[Said]) {
        for one in said {
            match one {
                Said::Store { op, operation, quiet } => self.queue(*op, operation, *quiet),
                Said::Send(session, to, message) => {
                    for index in to {
                        let link = &mut self.links[*index];
                        if link.session == Some(*session) {
                            link.to_agent.push_back(message.clone());
                        }
                    }
                }
                Said::Reply(ticket, reply) => self.answered(*ticket, reply),
                Said::Alarm(text) => {
                    if self.agents.iter().all(|agent| !agent.lost_a_journal()) {
                        self.broken.push(format!("alarm: {text}"));
                    }
                }
                Said::Fenced => self.broken.push("fenced off, with one scheduler".into()),
            }
        }
        // Nothing follows from these; the scheduler only forgets that it waits for them.
        while let Some(op) = self.quiet.pop() {
            let said = self.scheduler_takes(Input::Applied(op, Applied::Yes));
            assert!(said.is_empty(), "something follows from a note");
        }
    }

    /// Whether something waits behind which a quiet operation has to stay.
    fn something_orders(&self) -> bool {
        let orders = |write: &Write| matches!(write, Write::Generation { .. } | Write::Participant(_));
        let mut before = self.waiting.iter().filter_map(|(_, operation)| match &operation.what {
            Operation::Apply(transaction) => Some(&transaction.writes),
            Operation::Read(_) => None,
        });
        before.any(|writes| writes.iter().any(orders))
    }

    fn queue(&mut self, op: OpId, operation: &OnItsWay<Operation>, quiet: bool) {
        if quiet && !self.something_orders() {
            let (next, _) = self.disk_after(operation);
            self.quiet.push(op);
            self.disk = next.unwrap_or_else(|| Arc::clone(&self.disk));
            return;
        }
        self.waiting.push_back((op, operation.clone()));
    }

    fn disk_after(&self, operation: &OnItsWay<Operation>) -> (Option<Arc<Disk>>, Arc<OperationResult>) {
        let labels = &self.scheduler.labels;
        self.memos.disk.of(&self.disk, exact(&(operation.exact, labels)), || {
            let (next, result) = self.disk.after(&operation.what, labels);
            (next.map(Arc::new), Arc::new(result))
        })
    }

    fn lanes(&self, what: &impl std::fmt::Debug) -> Lanes {
        fingerprint::of(what, Mono::default(), 0, &self.scheduler.labels)
    }

    /// A caller is answered: what it is told must be on the disk.
    fn answered(&mut self, ticket: Ticket, reply: &Reply) {
        let Some(request) = self.requests.iter_mut().find(|r| **r == Request::Open(ticket)) else { return };
        *request = Request::Answered;
        let (Reply::Meeting(meeting) | Reply::Changed(meeting, _)) = reply else { return };
        let booked = meeting.booked.map(|n| Attempt::new(meeting.id.clone(), n));
        let row = booked.and_then(|attempt| self.disk.view.attempts.get(&attempt));
        let decided = row.is_some_and(|row| row.state != AttemptState::Holding);
        if meeting.state == MeetingState::Confirmed && !decided {
            self.broken.push(format!("D3: {ticket:?} was answered before the decision was on disk"));
        }
    }

    /// The store does its next operation and answers; or it is done, and the scheduler dies before it hears so.
    pub fn commit(&mut self, answered: bool) {
        let Some((op, operation)) = self.waiting.pop_front() else { return };
        let (next, result) = self.disk_after(&operation);
        if let Some(next) = next {
            let mut decisions = Decisions::default();
            invariants::decisions_stand(&self.disk.view, &mut decisions);
            let changed = invariants::decisions_stand(&next.view, &mut decisions);
            self.broken.extend(changed.iter().map(ToString::to_string));
            self.check_votes(&operation.what, &result);
            let decided =
                |a: &Attempt| next.view.attempts.get(a).is_some_and(|r| r.state != AttemptState::Holding);
            self.cast.retain(|(_, attempt), _| !decided(attempt));
            self.disk = next;
        }
        if answered {
            self.input(match (*result).clone() {
                OperationResult::Applied(applied) => Input::Applied(op, applied),
                OperationResult::Read(read) => Input::Read(op, read),
            });
        }
    }

    /// I7, as the decision takes effect.
    fn check_votes(&mut self, operation: &Operation, result: &OperationResult) {
        let Operation::Apply(transaction) = operation else { return };
        if *result != OperationResult::Applied(Applied::Yes) {
            return;
        }
        for write in &transaction.writes {
            let Write::Attempt(row) = write else { continue };
            let counted = row.commit_set.iter().map(|participant| {
                let cast = self.cast.get(&(index_of(participant), row.attempt.clone()));
                CountedVote {
                    attempt: row.attempt.clone(),
                    participant: participant.clone(),
                    cast: cast.map(|(epoch, lineage)| (Epoch(*epoch), Lineage(*lineage))),
                    lineage: self.disk.lineages.get(participant).copied().unwrap_or_default(),
                }
            });
            let votes: Vec<CountedVote> = counted.collect();
            self.broken.extend(invariants::votes_are_current(&votes).iter().map(ToString::to_string));
        }
    }

    /// A message comes in at the scheduler.
    pub fn hear(&mut self, session: SessionId, message: AgentMessage) {
        let index = index_of(message.participant());
        let known = &mut self.registrations[index];
        match &message {
            // A stream that was opened before the one that speaks changes nothing.
            AgentMessage::Register(_) if known.session.is_some_and(|speaks| speaks > session) => {}
            AgentMessage::Register(register) => {
                known.session = Some(session);
                known.epoch += 1;
                known.lineage += i64::from(known.journal != register.journal_id);
                known.journal.clone_from(&register.journal_id);
            }
            AgentMessage::Vote { attempt, vote: Vote::Granted, .. } if known.session == Some(session) => {
                let key = (index, attempt.clone());
                let undecided =
                    self.disk.view.attempts.get(attempt).is_some_and(|r| r.state == AttemptState::Holding);
                if undecided {
                    self.cast.insert(key, (known.epoch, known.lineage));
                }
            }
            _ => {}
        }
        self.input(Input::Agent(session, message));
    }

    pub fn connect(&mut self, index: usize) {
        let link = &mut self.links[index];
        link.sessions += 1;
        link.session = Some(SessionId(link.sessions * 10 + index as u64));
        self.with_agent(index, acts::CONNECT, Agent::connected);
    }

    /// Lets an agent do something, for which `key` stands; what it says goes out over its stream.
    pub fn with_agent(&mut self, index: usize, key: u64, act: impl FnOnce(&mut Agent) -> Vec<AgentMessage>) {
        let (before, labels) = (&self.agents[index], &self.scheduler.labels);
        let (agent, said) = self.memos.agents.of(before, exact(&(key, labels)), || {
            let (agent, said) = before.after(act);
            (Arc::new(agent), said.into_iter().map(|message| carried(message, labels)).collect())
        });
        self.agents[index] = agent;
        if self.agents[index].superseded && self.links[index].session.is_some() {
            return self.break_stream(index);
        }
        let link = &mut self.links[index];
        if link.session.is_some() {
            link.to_scheduler.extend(said.iter().cloned());
        }
    }

    fn agent_hears(&mut self, index: usize, message: &OnItsWay<SchedulerMessage>) {
        self.with_agent(index, message.exact, |agent| agent.receive(message.what.clone()));
    }

    pub fn deliver_to_agent(&mut self, index: usize) {
        if let Some(message) = self.links[index].to_agent.pop_front() {
            self.agent_hears(index, &message);
        }
    }

    /// A second copy comes in at the agent.
    pub fn copy_to_agent(&mut self, index: usize) {
        if let Some(message) = self.links[index].copies_to_agent.pop_front() {
            self.agent_hears(index, &message);
        }
    }

    /// A second copy comes in at the scheduler.
    pub fn copy_to_scheduler(&mut self, index: usize) {
        let link = &mut self.links[index];
        if let (Some(session), Some(message)) = (link.session, link.copies_to_scheduler.pop_front()) {
            self.hear(session, message.what.clone());
        }
    }

    pub fn deliver_to_scheduler(&mut self, index: usize) {
        let link = &mut self.links[index];
        if let (Some(session), Some(message)) = (link.session, link.to_scheduler.pop_front()) {
            self.hear(session, message.what.clone());
        }
    }

    /// What was said over the oldest stream that is gone comes in; then the scheduler notices that it is gone.
    pub fn late(&mut self, index: usize) {
        let Some((session, said)) = self.links[index].gone.front_mut() else { return };
        let session = *session;
        match said.pop_front() {
            Some(message) => self.hear(session, message.what.clone()),
            None => self.closed(index),
        }
    }

    /// The scheduler notices that the oldest stream is gone, and what was said over it with it.
    pub fn closed(&mut self, index: usize) {
        let Some((session, _)) = self.links[index].gone.pop_front() else { return };
        let known = &mut self.registrations[index];
        if known.session == Some(session) {
            known.session = None;
        }
        self.input(Input::SessionClosed(session));
    }

    pub fn break_stream(&mut self, index: usize) {
        let link = &mut self.links[index];
        link.to_agent.clear();
        link.copies_to_agent.clear();
        let mut said = std::mem::take(&mut link.to_scheduler);
        said.append(&mut link.copies_to_scheduler);
        if let Some(session) = link.session.take() {
            link.gone.push_back((session, said));
        }
        self.with_agent(index, acts::DISCONNECT, |agent| {
            agent.disconnected();
            Vec::new()
        });
    }

    pub fn crash_agent(&mut self, index: usize, journal_too: bool) {
        self.break_stream(index);
        let key = if journal_too { acts::LOSE_JOURNAL } else { acts::CRASH };
        self.with_agent(index, key, |agent| {
            match journal_too {
                true => agent.lose_journal(),
                false => agent.crash(),
            }
            Vec::new()
        });
    }

    /// All clocks go on by this much.
    pub fn pass(&mut self, time: std::time::Duration) {
        self.scheduler = Arc::new(self.scheduler.later(time));
        for agent in &mut self.agents {
            *agent = Arc::new(agent.later(time));
        }
    }

    pub fn crash_scheduler(&mut self, written: bool) {
        if written {
            self.commit(false);
        }
        self.waiting.clear();
        self.cast.clear();
        for index in 0..PARTICIPANTS {
            let link = &mut self.links[index];
            (link.session, link.gone) = (None, VecDeque::new());
            link.to_agent.clear();
            link.to_scheduler.clear();
            link.copies_to_agent.clear();
            link.copies_to_scheduler.clear();
            self.with_agent(index, acts::DISCONNECT, |agent| {
                agent.disconnected();
                Vec::new()
            });
        }
        for request in self.requests.iter_mut().filter(|r| matches!(r, Request::Open(_))) {
            *request = Request::Due;
        }
        // The observer knows the registrations by what is on the disk.
        let rows = quorate::engine::store::Store::snapshot(&mut self.disk.store()).expect("a snapshot");
        for row in rows.participants {
            let known = &mut self.registrations[index_of(&row.id)];
            (known.session, known.epoch, known.lineage) = (None, row.epoch.0, row.lineage.0);
            known.journal = row.journal_id;
        }
        let life = self.scheduler.life + 1;
        let (scheduler, said) = Scheduler::start(&self.disk, life);
        self.scheduler = Arc::new(scheduler);
        self.carry_out(&said);
    }

    /// The head of what is on its way to the agent is lost. The planted network acknowledges it nevertheless.
    pub fn lose_to_agent(&mut self, index: usize, plant: Option<Plant>) {
        let Some(message) = self.links[index].to_agent.pop_front() else { return };
        if let (Some(Plant::AcknowledgesForOthers), SchedulerMessage::Confirm { booking, .. }) =
            (plant, &message.what)
        {
            let ack = AgentMessage::Ack {
                participant: name(index),
                attempt: booking.attempt.clone(),
                kind: AckKind::Confirm,
                revision: booking.revision,
                sequence: 0,
            };
            self.links[index].to_scheduler.push_back(carried(ack, &self.scheduler.labels));
        }
    }

    pub fn scheduler_timer(&mut self) {
        if self.scheduler.core.poll_timeout().is_none() {
            return;
        }
        let scheduler = Arc::clone(&self.scheduler);
        let said = self.scheduler_becomes(exact(&"timer"), || scheduler.after_timer());
        self.carry_out(&said);
    }

    pub fn agent_timer(&mut self, index: usize) {
        let Some(at) = self.agents[index].next_timer() else { return };
        self.with_agent(index, acts::TIMER, |agent| {
            agent.mono = agent.mono.max(at);
            agent.timeout()
        });
    }

    /// With the meetings' labels for their random names.
    pub fn by_label(&self, text: String) -> String {
        let labels = self.scheduler.labels.iter();
        labels.fold(text, |text, (name, label)| text.replace(name, label))
    }

    /// What keeps the world from being at rest: nobody HELD, all agents equal the store, all requests answered.
    pub fn unrest(&self) -> Vec<String> {
        let views: Vec<_> = self.agents.iter().map(|a| a.view.clone()).collect();
        let mut unrest: Vec<String> =
            invariants::agents_equal_store(&self.disk.view, &views).iter().map(ToString::to_string).collect();
        let open = self.requests.iter().enumerate().filter(|(_, r)| **r != Request::Answered);
        unrest.extend(open.map(|(index, r)| format!("L2: request {} is {r:?}", label_of(index))));
        unrest
    }

    /// All invariants of this state, those of the last step included.
    pub fn check(&self) -> Vec<String> {
        let views: Vec<_> = self.agents.iter().map(|a| a.view.clone()).collect();
        let found = invariants::check(&self.disk.view, &views, &mut Decisions::default());
        let mut broken = self.broken.clone();
        broken.extend(found.iter().map(ToString::to_string));
        broken.extend(self.undelivered());
        broken
    }

    /// D5: what is forgotten as delivered has arrived.
    fn undelivered(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (participant, attempt) in self.disk.view.bookings.keys() {
            let view = &self.agents[index_of(participant)].view;
            let confirmed =
                view.promises.get(attempt).is_some_and(|row| row.state == PromiseState::Confirmed);
            let open = self
                .disk
                .view
                .deliveries
                .iter()
                .any(|d| d.participant == *participant && d.attempt == *attempt);
            if !confirmed && !open && !view.withdrawn.contains(attempt) && !view.lost.contains(attempt) {
                found.push(format!(
                    "D5: {attempt} was acknowledged for {participant}, who has it not CONFIRMED"
                ));
            }
        }
        found
    }

    /// The scheduler with its store, and each agent, as the least over all orders of the participants.
    pub fn parts(&self) -> Vec<u64> {
        let least = |lanes: Lanes| lanes.into_iter().min().unwrap_or_default();
        let agents = self.agents.iter().enumerate().take(self.participants);
        let agents = agents.map(|(index, agent)| {
            least(fingerprint::of_participant(index, agent.lanes(&self.scheduler.labels)))
        });
        let scheduler = least(fingerprint::chain(self.scheduler.lanes(), self.disk.lanes()));
        agents.chain([scheduler]).collect()
    }

    /// As it is, and the least over all orders of the participants: worlds that differ only by who is who have the
    /// same.
    pub fn fingerprint(&self) -> (u64, u64) {
        let mut all: Lanes = [0; LANES];
        for (index, (agent, link)) in self.agents.iter().zip(&self.links).enumerate() {
            let mut one = agent.lanes(&self.scheduler.labels);
            let mut chain = |next: Lanes| one = fingerprint::chain(one, next);
            link.to_agent.iter().for_each(|m| chain(m.lanes));
            chain([1; LANES]);
            link.to_scheduler.iter().for_each(|m| chain(m.lanes));
            chain([2; LANES]);
            link.copies_to_agent.iter().for_each(|m| chain(m.lanes));
            chain([3; LANES]);
            link.copies_to_scheduler.iter().for_each(|m| chain(m.lanes));
            for (session, said) in &link.gone {
                chain([session.0 / 10 + 2; LANES]);
                said.iter().for_each(|m| chain(m.lanes));
            }
            chain([link.session.map_or(0, |s| s.0 / 10); LANES]);
            chain([link.sessions; LANES]);
            let mut cast: Lanes = [0; LANES];
            for ((_, attempt), vote) in self.cast.iter().filter(|((i, _), _)| *i == index) {
                cast = fingerprint::add(cast, self.lanes(&(attempt, vote)));
            }
            chain(cast);
            all = fingerprint::add(all, fingerprint::of_participant(index, one));
        }
        all = fingerprint::chain(all, self.scheduler.lanes());
        all = fingerprint::chain(all, self.disk.lanes());
        for (_, operation) in &self.waiting {
            all = fingerprint::chain(all, operation.lanes);
        }
        let rest = self.lanes(&(&self.requests, &self.asked, &self.left));
        all = fingerprint::chain(all, rest);
        (all[0], all.into_iter().min().unwrap_or_default())
    }
}
