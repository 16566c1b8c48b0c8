//! Streams, what travels over them, and what goes wrong with them.

use std::time::Duration;

use quorate::core::coordinator::Input;
use quorate::core::ids::{ParticipantId, SessionId};
use quorate::core::limits;
use quorate::core::message::{AgentMessage, SchedulerMessage};
use quorate::core::time::Mono;

use super::plan::{chance, millis};
use super::world::{Event, Link, World};

impl World {
    pub(super) fn send_to_scheduler(&mut self, agent: usize, message: AgentMessage) {
        let Some(session) = self.hosts[self.agents[agent].host].session else { return };
        for at in self.arrivals(session, 0) {
            self.at(at, Event::ToScheduler(session, message.clone()));
        }
        self.fault_at_message(self.agents[agent].host);
    }

    /// Faults where it hurts: while something is on its way.
    fn fault_at_message(&mut self, host: usize) {
        if self.faults && chance(&mut self.random, self.plan.fault_at_message) {
            match chance(&mut self.random, 400) {
                true => self.crash_host(host),
                false => self.break_session(host),
            }
        }
    }

    pub(super) fn send_to_agents(
        &mut self,
        session: SessionId,
        to: &[ParticipantId],
        message: &SchedulerMessage,
    ) {
        for agent in to.iter().filter_map(|participant| self.index_of(participant)).collect::<Vec<_>>() {
            for at in self.arrivals(session, 1) {
                self.at(at, Event::ToAgent(session, agent, message.clone()));
            }
            let promises = matches!(message, SchedulerMessage::Hold(_) | SchedulerMessage::Confirm { .. });
            if promises {
                self.fault_at_message(self.agents[agent].host);
            }
        }
    }

    /// When copies of a message arrive: once and in order over a stream as it is, any way in a harsh network.
    fn arrivals(&mut self, session: SessionId, direction: usize) -> Vec<Mono> {
        let late = self.faults && chance(&mut self.random, self.plan.late);
        let longest = limits::LEASE + Duration::from_secs(2);
        let delay = match late {
            true => self.random.between(Duration::from_millis(20), longest),
            false => millis(&mut self.random, 1, if self.faults { self.plan.pace } else { 20 }),
        };
        let at = self.now + delay;
        if !(self.plan.harsh && self.faults) {
            let Some(link) = self.links.get_mut(&session) else { return Vec::new() };
            let last = &mut link.last[direction];
            *last = at.max(*last);
            return vec![*last];
        }
        if chance(&mut self.random, self.plan.dropped) {
            return Vec::new();
        }
        let mut arrivals = vec![at];
        if chance(&mut self.random, self.plan.duplicated) {
            arrivals.push(at + millis(&mut self.random, 0, 3_000));
        }
        arrivals
    }

    pub(super) fn connect(&mut self, host: usize) {
        if !self.hosts[host].up || self.hosts[host].session.is_some() {
            return;
        }
        if self.scheduler.core.is_none() {
            let backoff = millis(&mut self.random, 100, 1_500);
            return self.after(backoff, Event::Connect(host));
        }
        let session = SessionId(self.links.len() as u64 + 1);
        self.links.insert(session, Link { host, open: true, last: [self.now, self.now] });
        self.hosts[host].session = Some(session);
        self.trace.line(self.now, format_args!("host {host} connects as s{}", session.0));
        for agent in self.hosts[host].agents.clone() {
            if !self.agents[agent].superseded && self.hosts[host].session == Some(session) {
                let now = self.clocks();
                let output = self.agents[agent].machine.connected(now);
                self.output(agent, output);
            }
        }
    }

    /// The scheduler takes note that a stream is gone.
    pub(super) fn close(&mut self, session: SessionId) {
        let Some(link) = self.links.get_mut(&session) else { return };
        if std::mem::replace(&mut link.open, false) && self.scheduler.core.is_some() {
            self.checker.closed(session);
            self.trace.line(self.now, format_args!("s{} is closed", session.0));
            self.input(Input::SessionClosed(session));
        }
    }

    /// The host takes note, and tries again after a while.
    pub(super) fn lost(&mut self, host: usize, session: SessionId) {
        if self.hosts[host].session != Some(session) {
            return;
        }
        self.trace.line(self.now, format_args!("host {host} lost s{}", session.0));
        self.hosts[host].session = None;
        for agent in self.hosts[host].agents.clone() {
            self.agents[agent].machine.disconnected();
        }
        let backoff = millis(&mut self.random, 100, if self.faults { 3_000 } else { 1_000 });
        self.after(backoff, Event::Connect(host));
    }

    /// The two ends notice at different times; half of the time the host comes back before the scheduler knows.
    pub(super) fn break_session(&mut self, host: usize) {
        let Some(session) = self.hosts[host].session else { return };
        let unnoticed = if self.faults { 6_000 } else { 300 };
        let (mut host_after, scheduler_after) =
            (millis(&mut self.random, 0, unnoticed), millis(&mut self.random, 0, unnoticed));
        if chance(&mut self.random, 500) {
            host_after /= 20;
        }
        self.after(host_after, Event::Lost(host, session));
        self.after(scheduler_after, Event::Closed(session));
    }

    pub(super) fn crash_host(&mut self, host: usize) {
        if !self.hosts[host].up {
            return;
        }
        self.trace.line(self.now, format_args!("host {host} crashes"));
        self.hosts[host].up = false;
        if let Some(session) = self.hosts[host].session.take() {
            let noticed = millis(&mut self.random, 0, 6_000);
            self.after(noticed, Event::Closed(session));
        }
        for agent in self.hosts[host].agents.clone() {
            let had = self.checker.agents[agent].clone();
            self.agents[agent].crash(agent, &had);
            let view = self.agents[agent].view(agent);
            self.checker.agent(agent, view);
        }
        let longest = if chance(&mut self.random, 200) { 20_000 } else { 3_000 };
        let down = millis(&mut self.random, 100, longest);
        self.after(down, Event::StartHost(host));
    }

    pub(super) fn start_host(&mut self, host: usize) {
        if !self.hosts[host].up {
            self.trace.line(self.now, format_args!("host {host} starts"));
            self.hosts[host].up = true;
            self.connect(host);
        }
    }

    /// An operator starts a superseded agent again.
    pub(super) fn revive(&mut self, agent: usize) {
        if !std::mem::replace(&mut self.agents[agent].superseded, false) {
            return;
        }
        let host = self.agents[agent].host;
        if self.hosts[host].up && self.hosts[host].session.is_some() {
            let now = self.clocks();
            let output = self.agents[agent].machine.connected(now);
            self.output(agent, output);
        }
    }
}
