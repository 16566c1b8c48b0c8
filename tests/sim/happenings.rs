//! What a plan lets happen: requests, and faults that have a time of their own.

use std::time::Duration;

use quorate::core::coordinator::{Command, Input, Refused, Reply};
use quorate::core::model::MeetingState;
use quorate::core::random::Random;
use quorate::core::record::AttemptState;
use quorate::core::time::TimeRange;
use quorate::core::trace::{SpanId, TraceContext, TraceId, TraceState, Traced};

use super::agent::Agent;
use super::organizers::Call;
use super::plan::Happening;
use super::trace;
use super::world::{Event, Host, World};

impl World {
    /// Every item has chances of its own: leaving one out changes those of no other.
    pub(super) fn happens(&mut self, number: usize, happening: Happening) {
        let random = &mut Random::new(self.plan.seed ^ (0xe7e27 + number as u64 * 0x0100_0003));
        let now = self.now;
        let call = match happening {
            Happening::Schedule(wish) => Some(self.organizers.schedule(now, random, *wish)),
            Happening::Repeat { other_body } => self.organizers.repeat(now, random, other_body),
            Happening::ScheduleSeries(wish) => Some(self.organizers.schedule_series(now, random, *wish)),
            Happening::RepeatSeries => self.organizers.repeat_series(now, random),
            Happening::CancelSeries => self.organizers.cancel_series(now, random),
            Happening::MoveSeries { options } => {
                self.organizers.move_series(now, random, &self.plan, options)
            }
            Happening::Find(wish) => Some(self.organizers.find(now, *wish)),
            Happening::Reschedule { named, options } => {
                self.organizers.reschedule(now, random, &self.plan, named, options)
            }
            Happening::Update { options } => self.organizers.update(now, random, &self.plan, options),
            Happening::Cancel => {
                let meetings = self.checker.store.meetings.values();
                let sought = meetings.filter(|m| m.state == MeetingState::Scheduling).map(|m| m.id.clone());
                // First of all one that is about to be displaced: its displacer must notice.
                let holding =
                    self.checker.store.attempts.values().filter(|row| row.state == AttemptState::Holding);
                let overlaid = holding.flat_map(|row| row.displaces.iter().map(move |old| (row, old)));
                let overlaid = overlaid.filter(|(row, old)| row.attempt.meeting != old.meeting);
                let overlaid = overlaid.map(|(_, old)| old.meeting.clone());
                let sought = overlaid.chain(sought).collect();
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
            Happening::SecondScheduler { at_hold: true } => self.scheduler.second_next = true,
            Happening::SecondScheduler { at_hold: false } => self.second_scheduler(),
            Happening::Drain(millis) => self.drain(Duration::from_millis(millis)),
            Happening::BackupStore { then_crash } => self.scheduler.backup_next = Some(then_crash),
            Happening::Echo(host) => self.echo(host),
            Happening::Stranger => self.stranger(),
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
        self.explained.doubled(&format!("p{who}"));
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
    pub(super) fn took_over(&mut self, agent: usize) {
        let before = std::mem::replace(&mut self.truth[self.agents[agent].who], agent);
        if before == agent {
            return;
        }
        self.tally.saw("a second process spoke for a participant");
        let had = self.agents[before].view();
        self.agents[agent].takes_over(&had);
        self.installing.insert(agent);
        if !self.faults {
            // The operator keeps the one that the scheduler listens to.
            self.agents[before].ended = true;
            self.agents[agent].ended = false;
            self.agents[agent].superseded = true;
            self.after(Duration::from_millis(500), Event::Revive(agent));
        }
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
        let context = TraceContext {
            trace: TraceId([1; 16]),
            span: SpanId((ticket.0 + 1).to_be_bytes()),
            sampled: true,
            state: TraceState::parse(["sim=1"]),
        };
        let command = match self.plan.traced {
            true => Command::Within(Traced { context, record: true }, Box::new(command)),
            false => command,
        };
        self.input(life, Input::Command { ticket, command, deadline: Some(deadline) });
    }

    pub(super) fn withdraw(&mut self, agent: usize) {
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

    fn own_event(&mut self, who: usize, range: TimeRange) {
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
}
