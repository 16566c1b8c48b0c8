//! The event loop: one queue, one clock, one generator of chance.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::core::coordinator::{Input, Refused, Reply};
use quorate::core::ids::{Attempt, ParticipantId, SessionId};
use quorate::core::invariants::{self, SETTLED_AFTER};
use quorate::core::limits;
use quorate::core::message::{AgentMessage, Refusal, SchedulerMessage, Vote};
use quorate::core::model::{AttemptOutcome, MeetingState};
use quorate::core::participant::{Journal, Output};
use quorate::core::random::Random;
use quorate::core::record::AttemptState;
use quorate::core::time::{Mono, Now, add};

use super::agent::Agent;
use super::checker::Checker;
use super::organizers::{Call, Organizers};
use super::plan::{Happening, Plan, chance, midnight, millis, name};
use super::scheduler::Scheduler;
use super::tally::Tally;
use super::trace::{self, Trace};

/// After faults and requests stop, everything has to be over by then.
const PATIENCE: Duration = Duration::from_secs(240);

#[derive(Debug)]
pub(super) enum Event {
    ToScheduler(SessionId, AgentMessage),
    ToAgent(SessionId, usize, SchedulerMessage),
    /// The scheduler takes note that a stream is gone.
    Closed(SessionId),
    /// A host takes note that its stream is gone.
    Lost(usize, SessionId),
    Connect(usize),
    /// The group on its way hits the disk.
    Disk(u64),
    /// Its answers come back.
    Answer(u64),
    StartScheduler,
    StartHost(usize),
    Revive(usize),
    Happens(Happening),
    Stop,
}

pub(super) struct Host {
    pub(super) agents: Vec<usize>,
    pub(super) up: bool,
    pub(super) session: Option<SessionId>,
}

pub(super) struct Link {
    pub(super) host: usize,
    /// Whether the scheduler takes it for open.
    pub(super) open: bool,
    /// When the last message arrives, in either direction: a stream is first in, first out.
    pub(super) last: [Mono; 2],
}

pub struct World {
    pub(super) plan: Plan,
    pub(super) random: Random,
    pub(super) now: Mono,
    queue: BTreeMap<(Mono, u64), Event>,
    next: u64,
    pub(super) scheduler: Scheduler,
    pub(super) hosts: Vec<Host>,
    pub(super) agents: Vec<Agent>,
    pub(super) links: BTreeMap<SessionId, Link>,
    pub(super) organizers: Organizers,
    pub(super) checker: Checker,
    pub tally: Tally,
    pub trace: Trace,
    pub(super) faults: bool,
    pub(super) broken: Vec<String>,
    copies: BTreeMap<usize, Journal>,
}

/// How a run ended.
pub struct Outcome {
    pub broken: Vec<String>,
    pub tally: Tally,
    pub hash: u64,
    pub steps: u64,
}

impl World {
    pub fn new(plan: Plan, trace: Trace) -> Self {
        let host_of = |agent: usize| plan.hosts.iter().position(|h| h.contains(&agent)).expect("a host");
        let agent = |i: usize| Agent::new(i, host_of(i), plan.small[i], plan.busy[i].clone());
        let agents: Vec<Agent> = (0..plan.small.len()).map(agent).collect();
        let host = |agents: &Vec<usize>| Host { agents: agents.clone(), up: true, session: None };
        let mut world = Self {
            random: Random::new(plan.seed ^ 0x5eed),
            now: Mono::default(),
            queue: BTreeMap::new(),
            next: 0,
            scheduler: Scheduler::new(),
            hosts: plan.hosts.iter().map(host).collect(),
            agents,
            links: BTreeMap::new(),
            organizers: Organizers::default(),
            checker: Checker::default(),
            tally: Tally::default(),
            trace,
            faults: true,
            broken: Vec::new(),
            copies: BTreeMap::new(),
            plan,
        };
        for index in 0..world.agents.len() {
            let view = world.agents[index].view(index);
            world.checker.agent(index, view);
        }
        world.at(Mono::default(), Event::StartScheduler);
        for host in 0..world.hosts.len() {
            let delay = millis(&mut world.random, 1, 1_000);
            world.at(Mono(delay), Event::Connect(host));
        }
        let events = std::mem::take(&mut world.plan.events);
        for (at, happening) in events {
            world.at(at, Event::Happens(happening));
        }
        world.at(world.plan.stop, Event::Stop);
        world
    }

    pub(super) fn at(&mut self, at: Mono, event: Event) {
        self.next += 1;
        self.queue.insert((at.max(self.now), self.next), event);
    }

    pub(super) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(super) fn clocks(&self) -> Now {
        Now { mono: self.now, wall: add(midnight(), self.now.0) }
    }

    /// Runs to the end, or to the first thing that does not hold.
    pub fn run(mut self) -> Outcome {
        let mut quiet_since = self.plan.stop;
        let mut steps = 0;
        while self.broken.is_empty() {
            steps += 1;
            let timers = self.next_timer();
            let queued = self.queue.first_key_value().map(|(key, _)| key.0);
            let Some(at) = queued.into_iter().chain(timers.map(|(at, _)| at)).min() else { break };
            // Over a stream that stays, a message that was lost waits for its next turn.
            let turn = if self.plan.all_reconnect { Duration::ZERO } else { limits::REDELIVER_MAX };
            let end = quiet_since + SETTLED_AFTER + turn;
            if !self.faults && at > end && self.scheduler.is_idle() && self.organizers.open() == 0 {
                self.now = end;
                break;
            }
            if at.since(self.plan.stop) > PATIENCE {
                self.broken.push("it never comes to rest".into());
            }
            self.now = self.now.max(at);
            match timers {
                Some((at, who)) if queued.is_none_or(|queued| at < queued) => self.timer(who),
                _ => {
                    if let Some((_, event)) = self.queue.pop_first() {
                        self.step(event);
                    }
                }
            }
            if !self.scheduler.is_idle() || self.organizers.open() > 0 {
                quiet_since = self.now.max(self.plan.stop);
            }
            self.check();
        }
        self.last_check();
        self.count();
        let hash = self.trace.hash();
        Outcome { broken: self.broken, tally: self.tally, hash, steps }
    }

    /// Who has to be woken first: the scheduler (`None`) or an agent.
    fn next_timer(&self) -> Option<(Mono, Option<usize>)> {
        let scheduler =
            self.scheduler.core.as_ref().and_then(|core| core.poll_timeout()).map(|at| (at, None));
        let up = |(_, agent): &(usize, &Agent)| self.hosts[agent.host].up && !agent.superseded;
        let agents = self.agents.iter().enumerate().filter(up);
        let agents = agents.filter_map(|(i, agent)| Some((agent.machine.poll_timeout()?, Some(i))));
        scheduler.into_iter().chain(agents).min()
    }

    fn timer(&mut self, who: Option<usize>) {
        match who {
            None => self.input(Input::Timeout),
            Some(agent) => {
                let now = self.clocks();
                let output = self.agents[agent].machine.timeout(now);
                self.output(agent, output);
            }
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::ToScheduler(session, message) => self.arrives_at_scheduler(session, message),
            Event::ToAgent(session, agent, message) => self.arrives_at_agent(session, agent, message),
            Event::Closed(session) => self.close(session),
            Event::Lost(host, session) => self.lost(host, session),
            Event::Connect(host) => self.connect(host),
            Event::Disk(life) if life == self.scheduler.life => self.hit_disk(),
            Event::Answer(life) if life == self.scheduler.life => self.answer(),
            Event::Disk(_) | Event::Answer(_) => {}
            Event::StartScheduler => self.start_scheduler(),
            Event::StartHost(host) => self.start_host(host),
            Event::Revive(agent) => self.revive(agent),
            Event::Happens(happening) => self.happens(happening),
            Event::Stop => self.stop_faults(),
        }
    }

    fn happens(&mut self, happening: Happening) {
        let (now, random) = (self.now, &mut self.random);
        let call = match happening {
            Happening::Schedule(wish) => Some(self.organizers.schedule(now, random, *wish)),
            Happening::Repeat { other_body } => self.organizers.repeat(now, random, other_body),
            Happening::Find(wish) => Some(self.organizers.find(now, *wish)),
            Happening::Reschedule { named, options } => {
                self.organizers.reschedule(now, random, &self.plan, named, options)
            }
            Happening::Update { options } => self.organizers.update(now, random, &self.plan, options),
            Happening::Cancel => {
                let meetings = self.checker.store.meetings.values();
                let sought = meetings.filter(|m| m.state == MeetingState::Scheduling).map(|m| m.id.clone());
                let sought = sought.collect();
                self.organizers.cancel(now, random, sought)
            }
            Happening::Withdraw(agent) => return self.withdraw(agent),
            Happening::OwnEvent(agent, range) => return self.own_event(agent, range),
            Happening::CrashScheduler => return self.crash_scheduler(),
            Happening::CrashHost(host) => return self.crash_host(host),
            Happening::BreakSession(host) => return self.break_session(host),
            Happening::LoseJournal(agent) => return self.lose_journal(agent),
        };
        if let Some(call) = call {
            self.call(call);
        }
    }

    pub(super) fn call(&mut self, call: Call) {
        let Call { ticket, command, deadline } = call;
        if self.scheduler.core.is_none() {
            return self.organizers.answered(
                self.now,
                ticket,
                &Reply::Refused(Refused::Overloaded),
                &mut self.tally,
            );
        }
        self.trace.line(self.now, format_args!("organizer {ticket:?} {}", trace::words(&command)));
        self.input(Input::Command { ticket, command, deadline: Some(deadline) });
    }

    fn withdraw(&mut self, agent: usize) {
        let journal = self.agents[agent].machine.journal();
        let Some(meeting) = journal.promises.keys().next().map(|a| a.meeting.clone()) else { return };
        if !self.hosts[self.agents[agent].host].up {
            return;
        }
        self.trace.line(self.now, format_args!("p{agent} withdraws from {meeting}"));
        let now = self.clocks();
        let output = self.agents[agent].machine.withdraw(now, &meeting, "on leave");
        self.output(agent, output);
    }

    fn own_event(&mut self, agent: usize, range: quorate::core::time::TimeRange) {
        let calendar = &mut self.agents[agent].calendar.0;
        match calendar.iter().position(|own| *own == range) {
            Some(index) => drop(calendar.remove(index)),
            None => calendar.push(range),
        }
        if self.hosts[self.agents[agent].host].up {
            let output = self.agents[agent].machine.calendar_changed();
            self.output(agent, output);
        }
    }

    fn arrives_at_scheduler(&mut self, session: SessionId, message: AgentMessage) {
        let open = self.links.get(&session).is_some_and(|link| link.open);
        if !open || self.scheduler.core.is_none() {
            return;
        }
        let (who, text) = (message.participant().clone(), trace::from_agent(&message));
        self.trace.line(self.now, format_args!("s{} {who} → {text}", session.0));
        if self.checker.heard(session, &message) {
            self.tally.saw("a journal began a new life");
        }
        self.count_message(&message);
        self.input(Input::Agent(session, message));
    }

    fn count_message(&mut self, message: &AgentMessage) {
        let state = |attempt: &Attempt| self.checker.store.attempts.get(attempt).map(|row| row.state);
        let situation = match message {
            AgentMessage::Vote { attempt, vote: Vote::Granted, .. }
                if state(attempt) == Some(AttemptState::Aborted) =>
            {
                "a late yes after the abort"
            }
            AgentMessage::Register(register)
                if register
                    .held
                    .iter()
                    .any(|held| held.lease_over && state(&held.attempt) == Some(AttemptState::Holding)) =>
            {
                "a resolve while HOLDING"
            }
            AgentMessage::Vote { vote: Vote::Refused(Refusal::Stale), .. } => "a hold was refused as stale",
            AgentMessage::Resolve { attempt, .. } if state(attempt) == Some(AttemptState::Holding) => {
                "a resolve while HOLDING"
            }
            AgentMessage::Withdraw { attempt: Some(n), meeting, .. }
                if state(&Attempt::new(meeting.clone(), *n)) == Some(AttemptState::Committed) =>
            {
                "a withdrawal from a booking"
            }
            _ => return,
        };
        self.tally.saw(situation);
    }

    fn arrives_at_agent(&mut self, session: SessionId, index: usize, message: SchedulerMessage) {
        let agent = &mut self.agents[index];
        let host = &self.hosts[agent.host];
        if !host.up || host.session != Some(session) || agent.superseded {
            return;
        }
        let text = trace::from_scheduler(&message);
        self.trace.line(self.now, format_args!("s{} p{index} ← {text}", session.0));
        if matches!(&message, SchedulerMessage::Registered(r) if !r.bookings.is_empty()) && agent.small {
            self.tally.saw("a small agent got its booking back");
        }
        let now = Now { mono: self.now, wall: add(midnight(), self.now.0) };
        let calendar = agent.calendar.clone();
        let output = agent.machine.receive(now, message, &calendar);
        self.output(index, output);
    }

    /// Makes an agent's records durable, then sends its messages; a crash may fall before, or between the two.
    pub(super) fn output(&mut self, index: usize, output: Output) {
        let Output { records, messages, superseded, .. } = output;
        let agent = &mut self.agents[index];
        let crash = self.faults && !records.is_empty() && chance(&mut self.random, self.plan.crash_at_sync);
        let synced = !crash || chance(&mut self.random, 500);
        if synced {
            agent.sync(&records);
        }
        if crash {
            let host = agent.host;
            match synced {
                true => self.tally.saw("an agent crashed between its sync and its vote"),
                false => self.tally.saw("an agent crashed before its sync"),
            }
            return self.crash_host(host);
        }
        if superseded {
            self.agents[index].superseded = true;
            let delay = millis(&mut self.random, 500, 5_000);
            self.after(delay, Event::Revive(index));
        }
        if !records.is_empty() {
            if chance(&mut self.random, 100) {
                self.copies.insert(index, self.agents[index].disk.clone());
            }
            let view = self.agents[index].view(index);
            self.checker.agent(index, view);
        }
        for message in messages {
            let message = self.agents[index].says(message);
            self.send_to_scheduler(index, message);
        }
    }

    fn lose_journal(&mut self, index: usize) {
        self.trace.line(self.now, format_args!("p{index} loses its journal"));
        let host = self.agents[index].host;
        self.crash_host(host);
        let copy = self.copies.get(&index).cloned().filter(|_| chance(&mut self.random, 500));
        let had = self.checker.agents[index].clone();
        self.agents[index].lose_journal(index, &had, copy);
        let view = self.agents[index].view(index);
        self.checker.agent(index, view);
    }

    fn check(&mut self) {
        self.checker.check();
        if !self.faults {
            self.checker.check_holds(self.now);
        }
        let found = std::mem::take(&mut self.checker.found);
        self.broken.extend(found.iter().map(ToString::to_string));
        self.broken.append(&mut self.organizers.broken);
    }

    fn last_check(&mut self) {
        if !self.broken.is_empty() {
            return;
        }
        let settled = invariants::agents_equal_store(&self.checker.store, &self.checker.agents);
        let ended = invariants::requests_end(&self.organizers.views(), self.now);
        self.broken.extend(settled.iter().chain(&ended).map(ToString::to_string));
        let left = self.scheduler.core.as_ref().map_or(0, |core| core.undelivered_count());
        if left > 0 && self.broken.is_empty() {
            self.broken.push(format!("{left} deliveries in memory that the store does not have"));
        }
    }

    fn count(&mut self) {
        if self.scheduler.counters().pushed > 0 {
            self.tally.saw("a hold was pushed by a higher rank");
        }
        let meetings = self.checker.store.meetings.values();
        for meeting in meetings.filter(|m| m.displaced_count > 0) {
            self.tally.saw("a booked meeting was displaced");
            if meeting.state == MeetingState::Confirmed {
                self.tally.saw("a displaced meeting found another slot");
            }
        }
        let resumed = |m: &&quorate::core::model::Meeting| {
            let generations = m.attempt_log.len() > 1 || m.booked.is_some_and(|n| n.0 & 0xffff_ffff == 1);
            m.state == MeetingState::Confirmed && m.booked.is_some_and(|n| n.0 >> 32 > 0) && generations
        };
        let mut meetings = self.checker.store.meetings.values();
        let restarted = meetings.any(|m| {
            resumed(&m)
                && self
                    .checker
                    .store
                    .attempts
                    .keys()
                    .any(|a| a.meeting == m.id && m.booked.is_some_and(|n| a.n.0 >> 32 < n.0 >> 32))
                && m.attempt_log.iter().any(|e| e.outcome == AttemptOutcome::Booked)
        });
        if restarted {
            self.tally.saw("a restart took up a meeting and booked it");
        }
    }

    pub(super) fn index_of(&self, participant: &ParticipantId) -> Option<usize> {
        (0..self.agents.len()).find(|index| name(*index) == *participant)
    }

    fn stop_faults(&mut self) {
        self.trace.line(self.now, format_args!("faults stop"));
        self.faults = false;
        for index in 0..self.agents.len() {
            if self.agents[index].superseded {
                self.revive(index);
            }
        }
        self.start_scheduler();
        for host in 0..self.hosts.len() {
            if !self.hosts[host].up {
                self.start_host(host);
            } else if self.plan.all_reconnect {
                self.break_session(host);
            }
        }
    }
}
