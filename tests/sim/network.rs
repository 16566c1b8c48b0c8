//! Streams, what travels over them, and what goes wrong with them.

use std::time::Duration;

use quorate::core::checks;
use quorate::core::coordinator::Input;
use quorate::core::ids::{ParticipantId, SessionId};
use quorate::core::limits;
use quorate::core::message::{AgentMessage, SchedulerMessage};
use quorate::core::random::Random;
use quorate::core::time::Mono;

use super::plan::{chance, millis};
use super::world::{Event, Link, UP, World};

impl World {
    pub(super) fn send_to_scheduler(&mut self, agent: usize, message: AgentMessage) {
        let host = self.agents[agent].host;
        let Some(session) = self.hosts[host].session else { return };
        // No stream says a registration twice; who names no process could not tell (the shipped agent does).
        let once = self.agents[agent].small && matches!(message, AgentMessage::Register(_));
        for at in self.arrivals(session, UP, once) {
            self.at(at, Event::ToScheduler(session, message.clone()));
        }
        self.fault_at_message(host);
    }

    /// Faults where it hurts: while something is on its way.
    fn fault_at_message(&mut self, host: usize) {
        let random = &mut self.hosts[host].random;
        if self.faults && chance(random, self.plan.rates.fault_at_message) {
            match chance(random, 400) {
                true => self.crash_host(host),
                false => self.break_session(host),
            }
        }
    }

    /// Faults at the moment that matters most: the vote is on its way, and nothing is decided.
    pub(super) fn fault_at_vote(&mut self, agent: usize) {
        let host = self.agents[agent].host;
        let random = &mut self.hosts[host].random;
        if !self.faults || !chance(random, self.plan.rates.fault_at_vote) {
            return;
        }
        let journals = self.plan.rates.journal_at_crash > 0;
        match random.below(if journals { 8 } else { 4 }) {
            4.. => {
                let soon = millis(random, 1, 60);
                let down = millis(random, 1, 150);
                self.after(soon, Event::LoseJournal(agent));
                self.after(soon + down, Event::StartHost(host));
            }
            0 => {
                let length = random.between(limits::LEASE, limits::LEASE * 6);
                self.partition(host, [false, true], length);
            }
            1 => {
                let soon = millis(random, 1, 400);
                self.after(soon, Event::Withdraw(agent));
            }
            2 => {
                let soon = millis(random, 5, 100);
                let down = millis(random, 20, 300);
                self.after(soon, Event::CrashHost(host));
                self.after(soon + down, Event::StartHost(host));
            }
            _ => self.break_session(host),
        }
    }

    pub(super) fn send_to_agents(
        &mut self,
        session: SessionId,
        to: &[ParticipantId],
        message: &SchedulerMessage,
    ) {
        self.broken.extend(checks::sent_after_disk(&self.checker.store, message).map(|v| v.to_string()));
        let Some(host) = self.links.get(&session).map(|link| link.host) else { return };
        for participant in to {
            let Some(agent) = self.agent_on(host, participant) else { continue };
            // Said once, and nothing follows it: what is lost with a stream that stays could never be made up for.
            let last = matches!(message, SchedulerMessage::Superseded { .. });
            for at in self.arrivals(session, 1 - UP, last) {
                self.at(at, Event::ToAgent(session, agent, message.clone()));
            }
            if matches!(message, SchedulerMessage::Hold(_) | SchedulerMessage::Confirm { .. }) {
                if let Some(link) = self.links.get_mut(&session).filter(|_| self.plan.rates.harsh) {
                    link.promises.push((agent, message.clone()));
                }
                self.fault_at_message(host);
            }
        }
    }

    /// When copies of a message arrive: once and in order over a stream as it is, any way in a harsh network.
    /// What has to arrive does so, unless the stream breaks before.
    fn arrivals(&mut self, session: SessionId, direction: usize, has_to: bool) -> Vec<Mono> {
        let (faults, now) = (self.faults, self.now);
        let Some(link) = self.links.get_mut(&session) else { return Vec::new() };
        let host = &mut self.hosts[link.host];
        let (rates, random) = (&self.plan.rates, &mut host.random);
        let late = faults && chance(random, rates.late);
        let delay = match late {
            true => random.between(Duration::from_millis(20), rates.lateness),
            false => millis(random, 1, if faults { rates.pace } else { 20 }),
        };
        let cut = host.cut[direction].filter(|until| *until > now);
        let at = cut.unwrap_or(now) + delay;
        if !(rates.harsh && faults) || has_to {
            let last = &mut link.last[direction];
            *last = at.max(*last);
            return vec![*last];
        }
        if cut.is_some() || chance(random, rates.dropped) {
            return Vec::new();
        }
        let mut arrivals = vec![at];
        if chance(random, rates.duplicated) {
            arrivals.push(at + again(random, rates.lateness));
        }
        arrivals
    }

    pub(super) fn connect(&mut self, host: usize) {
        if !self.hosts[host].up || self.hosts[host].session.is_some() {
            return;
        }
        let cut = self.hosts[host].cut.iter().flatten().any(|until| *until > self.now);
        let Some(life) = self.scheduler.takes_streams().filter(|_| !cut) else {
            let backoff = millis(&mut self.hosts[host].random, 100, 1_500);
            return self.after(backoff, Event::Connect(host));
        };
        let session = SessionId(self.links.len() as u64 + 1);
        self.links.insert(
            session,
            Link { host, life, open: true, last: [self.now, self.now], promises: Vec::new() },
        );
        self.hosts[host].session = Some(session);
        self.trace.line(self.now, format_args!("host {host} connects as s{}", session.0));
        for agent in self.hosts[host].agents.clone() {
            if self.agents[agent].speaks() && self.hosts[host].session == Some(session) {
                let now = self.clock_of(host);
                let output = self.agents[agent].machine.connected(now);
                self.output(agent, output);
            }
        }
    }

    /// The scheduler takes note that a stream is gone.
    pub(super) fn close(&mut self, session: SessionId) {
        let Some(link) = self.links.get_mut(&session) else { return };
        let life = link.life;
        if std::mem::replace(&mut link.open, false) {
            self.checker.closed(session);
            self.trace.line(self.now, format_args!("s{} is closed", session.0));
            self.input(life, Input::SessionClosed(session));
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
        let backoff = millis(&mut self.hosts[host].random, 100, if self.faults { 3_000 } else { 1_000 });
        self.after(backoff, Event::Connect(host));
    }

    /// The two ends notice at different times; half of the time the host comes back before the scheduler knows.
    pub(super) fn break_session(&mut self, host: usize) {
        let Some(session) = self.hosts[host].session else { return };
        let unnoticed = if self.faults { self.plan.rates.unnoticed } else { 300 };
        let random = &mut self.hosts[host].random;
        let (mut host_after, scheduler_after) =
            (millis(random, 0, unnoticed.min(6_000)), millis(random, 0, unnoticed));
        if chance(random, 500) {
            host_after /= 20;
        }
        self.after(host_after, Event::Lost(host, session));
        self.after(scheduler_after, Event::Closed(session));
    }

    /// Nothing travels in these directions for a while; either end may take the stream for broken or not.
    pub(super) fn partition(&mut self, host: usize, directions: [bool; 2], length: Duration) {
        self.trace.line(self.now, format_args!("host {host} is cut off {directions:?} for {length:?}"));
        for (cut, wanted) in self.hosts[host].cut.iter_mut().zip(directions) {
            if wanted {
                *cut = Some(self.now + length);
            }
        }
        self.tally.saw("a stream was cut in one direction or both");
        if chance(&mut self.hosts[host].random, 400) {
            self.break_session(host);
        }
    }

    pub(super) fn crash_host(&mut self, host: usize) {
        if !self.hosts[host].up {
            return;
        }
        self.trace.line(self.now, format_args!("host {host} crashes"));
        self.hosts[host].up = false;
        if let Some(session) = self.hosts[host].session.take() {
            let unnoticed = if self.faults { self.plan.rates.unnoticed } else { 300 };
            let noticed = millis(&mut self.hosts[host].random, 0, unnoticed);
            self.after(noticed, Event::Closed(session));
        }
        for agent in self.hosts[host].agents.clone() {
            self.agents[agent].crash();
            if self.faults && chance(&mut self.hosts[host].random, self.plan.rates.journal_at_crash) {
                self.replace_journal(agent);
            }
            self.show(agent);
        }
        let random = &mut self.hosts[host].random;
        let longest = if chance(random, 200) { 20_000 } else { 3_000 };
        let down = millis(random, 100, longest);
        self.after(down, Event::StartHost(host));
    }

    pub(super) fn start_host(&mut self, host: usize) {
        if !self.hosts[host].up && !self.hosts[host].gone {
            self.trace.line(self.now, format_args!("host {host} starts"));
            self.hosts[host].up = true;
            self.connect(host);
        }
    }

    /// An operator starts a superseded agent again.
    pub(super) fn revive(&mut self, agent: usize) {
        if self.agents[agent].ended || !std::mem::replace(&mut self.agents[agent].superseded, false) {
            return;
        }
        self.register_again(agent);
    }

    pub(super) fn register_again(&mut self, agent: usize) {
        let host = self.agents[agent].host;
        if self.agents[agent].speaks() && self.hosts[host].up && self.hosts[host].session.is_some() {
            let now = self.clock_of(host);
            let output = self.agents[agent].machine.connected(now);
            self.output(agent, output);
        }
    }

    /// In a harsh network, whatever promised something comes once more.
    pub(super) fn echo(&mut self, host: usize) {
        let Some(session) = self.hosts[host].session else { return };
        let sent = self.links.get(&session).map(|link| link.promises.clone()).unwrap_or_default();
        for (agent, message) in sent {
            let delay = millis(&mut self.hosts[host].random, 0, 2_000);
            self.after(delay, Event::ToAgent(session, agent, message));
        }
    }

    /// The participant says goodbye on a stream that stays, and comes back.
    pub(super) fn unregister(&mut self, agent: usize) {
        let host = self.agents[agent].host;
        if self.plan.rates.harsh || !self.hosts[host].up || self.hosts[host].session.is_none() {
            return;
        }
        self.trace.line(self.now, format_args!("p{} unregisters", self.agents[agent].who));
        self.tally.saw("a participant unregistered and came back");
        let participant = super::plan::name(self.agents[agent].who);
        self.send_to_scheduler(agent, AgentMessage::Unregister { participant });
        self.agents[agent].machine.disconnected();
        let away = millis(&mut self.hosts[host].random, 50, 5_000);
        self.after(away, Event::Reregister(agent));
    }
}

/// How much later a copy comes: most soon, some when everything about it is over.
fn again(random: &mut Random, lateness: Duration) -> Duration {
    match chance(random, 250) {
        true => random.between(Duration::ZERO, lateness.max(Duration::from_secs(3))),
        false => millis(random, 0, 3_000),
    }
}
