//! The event loop: one queue, one clock, one generator of chance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate::core::coordinator::Input;
use quorate::core::ids::{ParticipantId, SessionId};
use quorate::core::invariants::{self, SETTLED_AFTER};
use quorate::core::limits;
use quorate::core::message::{AgentMessage, SchedulerMessage};
use quorate::core::model::{AttemptOutcome, MeetingState};
use quorate::core::participant::Journal;
use quorate::core::random::Random;
use quorate::core::series::{ConflictPolicy, SeriesState};
use quorate::core::time::{Mono, Now};

use super::agent::Agent;
use super::checker::Checker;
use super::clock::Clock;
use super::organizers::Organizers;
use super::plan::{Happening, Plan, millis, name};
use super::scheduler::Scheduler;
use super::tally::Tally;
use super::trace::Trace;

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
    SecondScheduler,
    RestoreStore,
    StartHost(usize),
    Revive(usize),
    Reregister(usize),
    Withdraw(usize),
    CrashHost(usize),
    LoseJournal(usize),
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
    /// Processes that took over from another one and don't have its bookings yet: what they heard before, over the same
    /// stream, says nothing of them.
    pub(super) installing: BTreeSet<usize>,
    /// What happened that explains alarms.
    pub(super) explained: Explained,
    /// Older copies of journals, by process; the flag says whether something was held.
    pub(super) copies: BTreeMap<usize, Journal>,
    /// How many strangers have registered, and the process and stream of the last one.
    pub(super) strangers: (u64, Option<(u64, SessionId)>),
}

/// What explains an alarm: a journal or the store that is not what it was. An explanation holds until the participant's
/// registration was settled without one more alarm and lacked nothing; then everything is as it should be, and the next alarm
/// needs another.
#[derive(Default)]
pub(super) struct Explained {
    /// Their journal was lost or put back, or the store was; and the last stream that there was before.
    by_a_loss: BTreeMap<String, SessionId>,
    /// Two processes speak for them in turn, each with a journal of its own, which lacks what the other one promised.
    by_a_twin: BTreeSet<String>,
    /// About whom an alarm was raised since their last registration was settled.
    alarmed: BTreeSet<String>,
}

impl Explained {
    /// Differences that a loss explains. Whatever else raises an alarm, nothing explains.
    const DIFFERENCES: [&str; 4] = [
        "of the store: this one",
        "has booked what is undecided",
        "has bookings that are not known",
        "lost bookings from its journal",
    ];

    /// What comes over `before` and older streams may have been said before the loss.
    pub fn lost(&mut self, who: &str, before: SessionId) {
        self.by_a_loss.insert(who.to_owned(), before);
    }

    pub fn doubled(&mut self, who: &str) {
        self.by_a_twin.insert(who.to_owned());
    }

    /// An alarm is raised; whether it is explained.
    pub fn alarm(&mut self, alarm: &str) -> bool {
        let about = alarm.split([' ', ':']).next().unwrap_or_default();
        self.alarmed.insert(about.to_owned());
        let difference = Self::DIFFERENCES.iter().any(|words| alarm.contains(words));
        difference && (self.by_a_loss.contains_key(about) || self.by_a_twin.contains(about))
    }

    /// A registration over this stream was settled, and lacked something or not.
    pub fn settled(&mut self, who: &str, over: SessionId, lacked: bool) {
        let since = self.by_a_loss.get(who).is_some_and(|before| over > *before);
        if !self.alarmed.remove(who) && !lacked && since {
            self.by_a_loss.remove(who);
        }
    }
}

/// How a run ended.
pub struct Outcome {
    pub broken: Vec<String>,
    pub tally: Tally,
    pub hash: u64,
    pub steps: u64,
}

impl World {
    /// The newest stream.
    pub(super) fn newest_stream(&self) -> SessionId {
        self.links.keys().next_back().copied().unwrap_or(SessionId(0))
    }

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
        let scheduler = Scheduler::new(plan.seed ^ 0xd15c, rates.clocks[0], plan.room());
        let jumps = plan.events.iter().any(|(_, h)| matches!(h, Happening::WallJump(None, _)));
        let patience = scheduler.clock.longest(LONGEST_WISH) - LONGEST_WISH;
        let patience = if jumps { patience + limits::DEADLINE_MAX } else { patience };
        let mut world = Self {
            now: Mono::default(),
            queue: BTreeMap::new(),
            next: 0,
            hosts: plan.hosts.iter().enumerate().map(host).collect(),
            truth: (0..agents.len()).collect(),
            installing: BTreeSet::new(),
            agents,
            links: BTreeMap::new(),
            organizers: Organizers::new(patience),
            checker: Checker::default(),
            tally: Tally::default(),
            trace,
            faults: true,
            broken: Vec::new(),
            explained: Explained::default(),
            copies: BTreeMap::new(),
            strangers: (0, None),
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
                let ready = self.agents[agent].machine.is_ready();
                let output = self.agents[agent].machine.timeout(now);
                // Whoever is READY waits for leases and withdrawals only, and either makes it speak.
                if ready && output.messages.is_empty() {
                    let who = self.agents[agent].who;
                    self.broken.push(format!("L1: a lease of p{who} is over, and it asks nobody"));
                }
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
            Event::SecondScheduler if self.faults => self.second_scheduler(),
            Event::RestoreStore if self.faults => self.restore(),
            Event::SecondScheduler | Event::RestoreStore => {}
            Event::StartHost(host) => self.start_host(host),
            Event::Revive(agent) => self.revive(agent),
            Event::Withdraw(agent) => self.withdraw(agent),
            Event::CrashHost(host) if self.faults => self.crash_host(host),
            Event::LoseJournal(agent) if self.faults => self.lose_journal(agent),
            Event::CrashHost(_) | Event::LoseJournal(_) => {}
            Event::Reregister(agent) => self.register_again(agent),
            Event::EndProcess(life) => self.end_process(life),
            Event::Happens(number, happening) => self.happens(number, happening),
            Event::Stop => self.stop_faults(),
        }
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
        let meetings = &self.checker.store.meetings;
        let astray = quorate::core::checks::series_have_their_meetings(&self.checker.series, meetings);
        self.broken.extend(astray.iter().map(ToString::to_string));
        let undecided = self.checker.series.values().filter(|series| series.state == SeriesState::Scheduling);
        self.broken.extend(undecided.map(|series| format!("L2: the series {} is not decided", series.id)));
        let ended = invariants::requests_end(&self.organizers.views(), self.now);
        self.broken.extend(settled.iter().chain(&ended).map(ToString::to_string));
        let (left, stored) = (self.scheduler.undelivered(), self.checker.store.deliveries.len());
        if left != stored && self.broken.is_empty() {
            self.broken.push(format!("D5: {left} deliveries in memory, {stored} in the store"));
        }
    }

    fn count_series(&mut self) {
        for series in self.checker.series.values() {
            let of =
                |o: &quorate::core::series::Occurrence| self.checker.store.meetings.get(o.meeting.as_ref()?);
            let meetings: Vec<_> = series.occurrences.iter().filter_map(of).collect();
            let any = |state| meetings.iter().any(|meeting| meeting.state == state);
            let whole = series.policy == ConflictPolicy::FailSeries;
            match series.state {
                SeriesState::Confirmed if whole => self.tally.saw("a series was booked whole"),
                SeriesState::Failed if whole => self.tally.saw("a series failed as a whole"),
                SeriesState::Confirmed if any(MeetingState::Failed) => {
                    self.tally.saw("an occurrence of a series was left out");
                }
                _ => {}
            }
            let generation = |meeting: &&quorate::core::model::Meeting| meeting.booked.map(|n| n.0 >> 32);
            let attempts = &self.checker.store.attempts;
            let earlier = |meeting: &&quorate::core::model::Meeting| {
                attempts.keys().any(|a| a.meeting == meeting.id && Some(a.n.0 >> 32) < generation(meeting))
            };
            if series.state == SeriesState::Confirmed && meetings.iter().any(earlier) {
                self.tally.saw("a series was taken up after a restart");
            }
        }
    }

    fn count(&mut self) {
        self.count_series();
        if self.scheduler.counters().pushed > 0 {
            self.tally.saw("a hold was pushed by a higher rank");
        }
        let meetings = self.checker.store.meetings.values();
        for meeting in meetings.filter(|m| m.displaced_count > 0) {
            self.tally.saw("a booked meeting was displaced");
            if meeting.displaced_count == 2 {
                self.tally.saw("a meeting was displaced twice");
            }
            match meeting.state {
                MeetingState::Confirmed => self.tally.saw("a displaced meeting found another slot"),
                MeetingState::Failed => self.tally.saw("a displaced meeting found no other slot"),
                _ => {}
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
                // Whoever was ended is started again, over the stream that its host may still have.
                self.agents[index].superseded |= std::mem::take(&mut self.agents[index].ended);
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
