//! The event loop: one queue, one clock, one generator of chance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate::core::checks;
use quorate::core::coordinator::{Input, Refused, Reply};
use quorate::core::ids::{Attempt, ParticipantId, SessionId};
use quorate::core::invariants::{self, SETTLED_AFTER};
use quorate::core::limits;
use quorate::core::message::{AckKind, AgentMessage, Query, Refusal, SchedulerMessage, Vote};
use quorate::core::model::{AttemptOutcome, MeetingState};
use quorate::core::participant::{Journal, JournalRecord, Output, PromiseState};
use quorate::core::random::Random;
use quorate::core::record::AttemptState;
use quorate::core::time::{Mono, Now, TimeRange};

use super::agent::{self, Agent};
use super::checker::{Checker, Heard};
use super::clock::Clock;
use super::organizers::{Call, Organizers};
use super::plan::{Happening, Plan, chance, millis, name};
use super::scheduler::Scheduler;
use super::tally::Tally;
use super::trace::{self, Trace};

/// Far more steps than any run takes that comes to rest.
const STEPS: u64 = 200_000;
/// The longest deadline that an organizer gives.
const LONGEST_WISH: Duration = Duration::from_secs(60);

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
    Reregister(usize),
    /// A process of the scheduler's is ended.
    EndProcess(u64),
    /// An item of the plan, by its number.
    Happens(usize, Happening),
    Stop,
}

/// Who waits for a time on its own clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Scheduler(u64),
    Agent(usize),
}

pub(super) struct Host {
    pub(super) agents: Vec<usize>,
    pub(super) up: bool,
    pub(super) session: Option<SessionId>,
    pub(super) clock: Clock,
    /// Whatever chance does to it and its stream.
    pub(super) random: Random,
    /// It never comes back.
    pub(super) gone: bool,
    /// Until when nothing travels to the scheduler, and from it.
    pub(super) cut: [Option<Mono>; 2],
}

/// The direction towards the scheduler; the other one is `1 - UP`.
pub(super) const UP: usize = 0;

pub(super) struct Link {
    pub(super) host: usize,
    /// Which process of the scheduler's.
    pub(super) life: u64,
    /// Whether the scheduler takes it for open.
    pub(super) open: bool,
    /// When the last message arrives, in either direction: a stream is first in, first out.
    pub(super) last: [Mono; 2],
    /// Holds and confirms that were sent over it, in a harsh network.
    pub(super) promises: Vec<(usize, SchedulerMessage)>,
}

pub struct World {
    pub(super) plan: Plan,
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
    /// The process that speaks for each participant: the last one that the scheduler heard register.
    pub(super) truth: Vec<usize>,
    /// Whether something happened that explains alarms: a lost or doubled journal, or a restored store.
    pub(super) alarms_explained: bool,
    /// Older copies of journals, by process; the flag says whether something was held.
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
        let rates = &plan.rates;
        let host = |(index, agents): (usize, &Vec<usize>)| Host {
            agents: agents.clone(),
            up: true,
            session: None,
            clock: Clock::new(rates.clocks[index + 1]),
            random: Random::new(plan.seed ^ (0x5eed + index as u64 * 0x1_0001)),
            gone: false,
            cut: [None, None],
        };
        let scheduler = Scheduler::new(plan.seed ^ 0xd15c, rates.clocks[0]);
        let jumps = plan.events.iter().any(|(_, h)| matches!(h, Happening::WallJump(None, _)));
        let patience = scheduler.clock.longest(LONGEST_WISH) - LONGEST_WISH;
        let patience = if jumps { patience + limits::DEADLINE_MAX } else { patience };
        let mut world = Self {
            now: Mono::default(),
            queue: BTreeMap::new(),
            next: 0,
            hosts: plan.hosts.iter().enumerate().map(host).collect(),
            truth: (0..agents.len()).collect(),
            agents,
            links: BTreeMap::new(),
            organizers: Organizers::new(patience),
            checker: Checker::default(),
            tally: Tally::default(),
            trace,
            faults: true,
            broken: Vec::new(),
            alarms_explained: false,
            copies: BTreeMap::new(),
            scheduler,
            plan,
        };
        for agent in 0..world.agents.len() {
            world.show(agent);
        }
        if world.plan.rates.clocks.iter().any(|rate| *rate != super::clock::EXACT) {
            world.tally.saw("a clock ran at another rate");
        }
        world.at(Mono::default(), Event::StartScheduler);
        for host in 0..world.hosts.len() {
            let delay = millis(&mut world.hosts[host].random, 1, 1_000);
            world.at(Mono(delay), Event::Connect(host));
        }
        let events = std::mem::take(&mut world.plan.events);
        for (number, (at, happening)) in events.into_iter().enumerate() {
            world.at(at, Event::Happens(number, happening));
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

    pub(super) fn clock_of(&self, host: usize) -> Now {
        self.hosts[host].clock.now(self.now)
    }

    /// Shows the checker what the participant's process would find after a crash.
    pub(super) fn show(&mut self, agent: usize) {
        let who = self.agents[agent].who;
        if self.truth[who] == agent {
            let view = self.agents[agent].view();
            self.checker.agent(who, view);
        }
    }

    /// The process on a host that speaks for a participant.
    pub(super) fn agent_on(&self, host: usize, participant: &ParticipantId) -> Option<usize> {
        self.hosts[host].agents.iter().copied().find(|agent| name(self.agents[*agent].who) == *participant)
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
            if at.since(self.plan.stop) > PATIENCE + self.organizers.patience || steps > STEPS {
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

    /// Who has to be woken first, and when.
    fn next_timer(&self) -> Option<(Mono, Timer)> {
        let scheduler = self.scheduler.next_timer().map(|(at, life)| (at, Timer::Scheduler(life)));
        let up = |(_, agent): &(usize, &Agent)| self.hosts[agent.host].up && agent.speaks();
        let agents = self.agents.iter().enumerate().filter(up);
        let agents = agents.filter_map(|(index, agent)| {
            let at = agent.machine.poll_timeout()?;
            Some((self.hosts[agent.host].clock.when(at), Timer::Agent(index)))
        });
        scheduler.into_iter().chain(agents).min()
    }

    fn timer(&mut self, who: Timer) {
        match who {
            Timer::Scheduler(life) => self.input(life, Input::Timeout),
            Timer::Agent(agent) => {
                let now = self.clock_of(self.agents[agent].host);
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
            Event::Disk(life) => self.hit_disk(life),
            Event::Answer(life) => self.answer(life),
            Event::StartScheduler => self.start_scheduler(),
            Event::StartHost(host) => self.start_host(host),
            Event::Revive(agent) => self.revive(agent),
            Event::Reregister(agent) => self.register_again(agent),
            Event::EndProcess(life) => self.end_process(life),
            Event::Happens(number, happening) => self.happens(number, happening),
            Event::Stop => self.stop_faults(),
        }
    }

    /// Every item has chances of its own: leaving one out changes those of no other.
    fn happens(&mut self, number: usize, happening: Happening) {
        let random = &mut Random::new(self.plan.seed ^ (0xe7e27 + number as u64 * 0x0100_0003));
        let now = self.now;
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
            Happening::HangUp => {
                if let Some(ticket) = self.organizers.hang_up(random) {
                    self.trace.line(now, format_args!("organizer {ticket:?} hangs up"));
                }
                None
            }
            Happening::Withdraw(agent) => return self.withdraw(self.truth[agent]),
            Happening::OwnEvent(agent, range) => return self.own_event(agent, range),
            fault => {
                return if self.faults {
                    self.fault(random, fault)
                };
            }
        };
        if let Some(call) = call {
            self.call(call);
        }
    }

    fn fault(&mut self, random: &mut Random, fault: Happening) {
        match fault {
            Happening::CrashScheduler => self.crash_current(),
            Happening::SecondScheduler => self.second_scheduler(),
            Happening::Drain(millis) => self.drain(Duration::from_millis(millis)),
            Happening::BackupStore { then_crash } => self.scheduler.backup_next = Some(then_crash),
            Happening::Echo(host) => self.echo(host),
            Happening::RestoreStore => self.restore(),
            Happening::CrashHost(host) => self.crash_host(host),
            Happening::HostGone(host) => {
                self.tally.saw("a host never came back");
                self.crash_host(host);
                self.hosts[host].gone = true;
            }
            Happening::CrashEverything => {
                self.tally.saw("everything crashed at once");
                self.crash_current();
                (0..self.hosts.len()).for_each(|host| self.crash_host(host));
            }
            Happening::BreakSession(host) => self.break_session(host),
            Happening::Partition { host, up, down, millis } => {
                self.partition(host, [up, down], Duration::from_millis(millis));
            }
            Happening::LoseJournal(agent) => self.lose_journal(self.truth[agent]),
            Happening::Twin { agent, older } => self.twin(random, self.truth[agent], older),
            Happening::Unregister(agent) => self.unregister(self.truth[agent]),
            Happening::WallJump(node, millis) => self.wall_jump(node, millis),
            _ => {}
        }
    }

    fn crash_current(&mut self) {
        if let Some(life) = self.scheduler.current {
            self.crash_scheduler(life);
        }
    }

    fn wall_jump(&mut self, node: Option<usize>, millis: i64) {
        self.trace.line(self.now, format_args!("the wall clock of {node:?} jumps by {millis} ms"));
        match node {
            Some(host) => self.hosts[host].clock.jump(millis),
            None => self.scheduler.clock.jump(millis),
        }
        if self.checker.store.attempts.values().any(|row| row.state == AttemptState::Holding) {
            self.tally.saw("a wall clock jumped during a hold");
        }
    }

    /// Somebody starts a second process for the participant, on a host of its own.
    fn twin(&mut self, random: &mut Random, agent: usize, older: bool) {
        if self.hosts[self.agents[agent].host].gone {
            return;
        }
        let host = self.hosts.len();
        let copy = self.copies.get(&agent).filter(|_| older).cloned();
        let disk = copy.unwrap_or_else(|| self.agents[agent].disk.clone());
        let (index, who) = (self.agents.len(), self.agents[agent].who);
        self.trace.line(self.now, format_args!("p{who} has a second process, on host {host}"));
        self.alarms_explained = true;
        self.agents.push(self.agents[agent].twin(host, disk));
        self.hosts.push(Host {
            agents: vec![index],
            up: true,
            session: None,
            clock: self.hosts[self.agents[agent].host].clock,
            random: Random::new(random.number()),
            gone: false,
            cut: [None, None],
        });
        self.connect(host);
    }

    /// The scheduler heard a process register: from now on that one speaks for the participant.
    fn took_over(&mut self, agent: usize) {
        let before = std::mem::replace(&mut self.truth[self.agents[agent].who], agent);
        if before == agent {
            return;
        }
        self.tally.saw("a second process spoke for a participant");
        let had = self.agents[before].view();
        self.agents[agent].takes_over(&had);
        self.show(agent);
    }

    pub(super) fn call(&mut self, call: Call) {
        let Call { ticket, command, deadline } = call;
        let Some(life) = self.scheduler.current else {
            let overloaded = Reply::Refused(Refused::Overloaded);
            return self.organizers.answered(self.now, ticket, &overloaded, &mut self.tally);
        };
        self.trace.line(self.now, format_args!("organizer {ticket:?} {}", trace::words(&command)));
        self.organizers.handed(ticket, life);
        self.input(life, Input::Command { ticket, command, deadline: Some(deadline) });
    }

    fn withdraw(&mut self, agent: usize) {
        let Agent { who, host, .. } = self.agents[agent];
        let journal = self.agents[agent].machine.journal();
        let Some(meeting) = journal.promises.keys().next().map(|a| a.meeting.clone()) else { return };
        if !self.hosts[host].up || !self.agents[agent].speaks() {
            return;
        }
        self.trace.line(self.now, format_args!("p{who} withdraws from {meeting}"));
        let now = self.clock_of(host);
        let output = self.agents[agent].machine.withdraw(now, &meeting, "on leave");
        self.output(agent, output);
    }

    fn own_event(&mut self, who: usize, range: quorate::core::time::TimeRange) {
        for agent in (0..self.agents.len()).filter(|a| self.agents[*a].who == who).collect::<Vec<_>>() {
            let calendar = &mut self.agents[agent].calendar.0;
            match calendar.iter().position(|own| *own == range) {
                Some(index) => drop(calendar.remove(index)),
                None => calendar.push(range),
            }
            if self.hosts[self.agents[agent].host].up && self.agents[agent].speaks() {
                let output = self.agents[agent].machine.calendar_changed();
                self.output(agent, output);
            }
        }
    }

    fn arrives_at_scheduler(&mut self, session: SessionId, message: AgentMessage) {
        let Some(Link { host, life, open: true, .. }) = self.links.get(&session) else { return };
        let (host, life) = (*host, *life);
        if !self.scheduler.lives(life) {
            return;
        }
        let (who, text) = (message.participant().clone(), trace::from_agent(&message));
        self.trace.line(self.now, format_args!("s{} {who} → {text}", session.0));
        if self.scheduler.current == Some(life) {
            if let (AgentMessage::Register(_), Some(agent)) = (&message, self.agent_on(host, &who)) {
                self.took_over(agent);
            }
            match self.checker.heard(session, &message) {
                Heard::NewLineage => self.tally.saw("a journal began a new life"),
                Heard::Stale => self.tally.saw("a message came over an older stream"),
                Heard::Counted => {}
            }
        }
        self.count_message(&message);
        self.input(life, Input::Agent(session, message));
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
            AgentMessage::Withdraw { attempt: Some(n), meeting, .. }
                if state(&Attempt::new(meeting.clone(), *n)) == Some(AttemptState::Holding) =>
            {
                "a withdrawal while HOLDING"
            }
            _ => return,
        };
        self.tally.saw(situation);
    }

    fn arrives_at_agent(&mut self, session: SessionId, index: usize, message: SchedulerMessage) {
        let agent = &mut self.agents[index];
        let host = &self.hosts[agent.host];
        if !host.up || host.session != Some(session) || !agent.speaks() {
            return;
        }
        let text = trace::from_scheduler(&message);
        self.trace.line(self.now, format_args!("s{} p{} ← {text}", session.0, agent.who));
        let journal = agent.machine.journal();
        let situation = match &message {
            SchedulerMessage::Registered(r) if !r.bookings.is_empty() && agent.small => {
                Some("a small agent got its booking back")
            }
            SchedulerMessage::Confirm { booking, .. } if is_over(journal, &booking.attempt) => {
                Some("a late confirm after the release")
            }
            _ => None,
        };
        situation.into_iter().for_each(|situation| self.tally.saw(situation));
        let (now, calendar) = (host.clock.now(self.now), agent.calendar.clone());
        let query = if let SchedulerMessage::Query(query) = &message { Some(query.clone()) } else { None };
        let output = agent.machine.receive(now, message, &calendar);
        if let Some(query) = query {
            self.judge_answers(index, &query, &output);
        }
        self.output(index, output);
    }

    /// I8.
    fn judge_answers(&mut self, agent: usize, query: &Query, output: &Output) {
        let who = self.agents[agent].who;
        for message in &output.messages {
            if let AgentMessage::Availability { participant, answer: Ok(free), .. } = message {
                let ranges: Vec<TimeRange> = free.iter().map(|free| free.range).collect();
                let level = agent::disclosure(who);
                let more = checks::answers_reveal_no_more(participant, query, &ranges, level);
                self.broken.extend(more.map(|violation| violation.to_string()));
            }
        }
    }

    /// Makes an agent's records durable, then sends its messages; a crash may fall before, or between the two.
    pub(super) fn output(&mut self, index: usize, output: Output) {
        let Output { records, messages, superseded, .. } = output;
        let host = self.agents[index].host;
        let random = &mut self.hosts[host].random;
        let crash = self.faults && !records.is_empty() && chance(random, self.plan.rates.crash_at_sync);
        let synced = !crash || chance(random, 500);
        if synced {
            self.judge_grants(index, &records);
            self.agents[index].sync(&records);
        }
        if crash {
            match synced {
                true => self.tally.saw("an agent crashed between its sync and its vote"),
                false => self.tally.saw("an agent crashed before its sync"),
            }
            return self.crash_host(host);
        }
        if superseded {
            self.supersede(index);
        }
        if !records.is_empty() {
            if chance(&mut self.hosts[host].random, 150) {
                self.copies.insert(index, self.agents[index].disk.clone());
            }
            self.show(index);
        }
        for message in messages {
            if let AgentMessage::Ack { kind: AckKind::Release, attempt, .. } = &message {
                let early = checks::acked_after_disk(&self.agents[index].view(), attempt);
                self.broken.extend(early.map(|violation| violation.to_string()));
            }
            let message = self.agents[index].says(message);
            self.send_to_scheduler(index, message);
        }
    }

    /// I1 at the vote, of the process that speaks for the participant.
    fn judge_grants(&mut self, agent: usize, records: &[JournalRecord]) {
        let who = self.agents[agent].who;
        if self.truth[who] != agent {
            return;
        }
        let view = &self.checker.agents[who];
        let granted = records.iter().filter_map(|record| match record {
            JournalRecord::Promise(row) if row.state == PromiseState::Held => Some(row),
            _ => None,
        });
        let store = &self.checker.store;
        let clashes = granted.filter_map(|row| checks::grants_spare_bookings(store, view, row));
        let promised = records.iter().filter_map(|record| match record {
            JournalRecord::Promise(row) => Some(row),
            _ => None,
        });
        let disk = &self.agents[agent].disk;
        let again = promised.filter_map(|row| checks::released_stays_released(&view.participant, disk, row));
        let found: Vec<String> = clashes.chain(again).map(|violation| violation.to_string()).collect();
        self.broken.extend(found);
    }

    /// An operator starts it again after a while, or ends it if there is another one.
    fn supersede(&mut self, index: usize) {
        self.agents[index].superseded = true;
        let who = self.agents[index].who;
        let others = self.agents.iter().filter(|agent| agent.who == who && !agent.ended).count() > 1;
        let random = &mut self.hosts[self.agents[index].host].random;
        if others && !chance(random, 300) {
            self.agents[index].ended = true;
            return;
        }
        let delay = millis(random, 500, 5_000);
        self.after(delay, Event::Revive(index));
    }

    fn lose_journal(&mut self, index: usize) {
        let host = self.agents[index].host;
        self.crash_host(host);
        self.replace_journal(index);
        self.show(index);
    }

    /// While its host is down, a journal becomes an older copy of itself, or a new one.
    pub(super) fn replace_journal(&mut self, index: usize) {
        let random = &mut self.hosts[self.agents[index].host].random;
        let copy = self.copies.get(&index).cloned().filter(|_| chance(random, 700));
        self.trace.line(self.now, format_args!("p{} loses its journal", self.agents[index].who));
        if let Some(copy) = &copy {
            self.tally.saw("a journal was restored from an older copy");
            if copy.promises.values().any(|row| row.state == PromiseState::Held) {
                self.tally.saw("a restored journal still had a hold");
            }
        }
        self.alarms_explained = true;
        self.agents[index].lose_journal(copy);
    }

    /// Participants whose only host never comes back.
    fn gone(&self) -> BTreeSet<usize> {
        let gone = |who: &usize| self.hosts[self.agents[self.truth[*who]].host].gone;
        (0..self.truth.len()).filter(gone).collect()
    }

    fn check(&mut self) {
        self.checker.check();
        if !self.faults {
            let gone = self.gone();
            self.checker.check_progress(self.now, &gone);
        }
        let found = std::mem::take(&mut self.checker.found);
        self.broken.extend(found.iter().map(ToString::to_string));
        self.broken.append(&mut self.organizers.broken);
    }

    fn last_check(&mut self) {
        if !self.broken.is_empty() {
            return;
        }
        let settled = self.checker.settled(&self.gone());
        let ended = invariants::requests_end(&self.organizers.views(), self.now);
        self.broken.extend(settled.iter().chain(&ended).map(ToString::to_string));
        let (left, stored) = (self.scheduler.undelivered(), self.checker.store.deliveries.len());
        if left != stored && self.broken.is_empty() {
            self.broken.push(format!("D5: {left} deliveries in memory, {stored} in the store"));
        }
    }

    fn count(&mut self) {
        if self.scheduler.counters().pushed > 0 {
            self.tally.saw("a hold was pushed by a higher rank");
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

    /// What is on its way arrives soon, in the order in which it would have arrived.
    fn deliver_what_is_late(&mut self) {
        let travels = |event: &Event| matches!(event, Event::ToScheduler(..) | Event::ToAgent(..));
        let late: Vec<(Mono, u64)> =
            self.queue.iter().filter(|(_, event)| travels(event)).map(|(key, _)| *key).collect();
        for (index, key) in late.into_iter().enumerate() {
            if let Some(event) = self.queue.remove(&key) {
                self.after(Duration::from_micros(index as u64), event);
            }
        }
        let now = self.now;
        self.links.values_mut().for_each(|link| link.last = [now + Duration::from_millis(1); 2]);
    }

    fn stop_faults(&mut self) {
        self.trace.line(self.now, format_args!("faults stop"));
        self.faults = false;
        let now = self.now;
        self.deliver_what_is_late();
        self.scheduler.clock.run_exactly(now);
        for host in &mut self.hosts {
            host.clock.run_exactly(now);
            host.cut = [None, None];
        }
        for index in 0..self.agents.len() {
            if self.truth[self.agents[index].who] != index {
                self.agents[index].ended = true;
            } else {
                self.agents[index].ended = false;
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

/// Whether the agent had the attempt released before.
fn is_over(journal: &Journal, attempt: &Attempt) -> bool {
    let released = journal.tombstones.get(&attempt.meeting).is_some_and(|n| *n >= attempt.n);
    released && !journal.promises.contains_key(attempt)
}
