//! What arrives at either side, what an agent makes of it, and what is judged on the way.

use quorate::core::checks;
use quorate::core::coordinator::Input;
use quorate::core::ids::{Attempt, SessionId};
use quorate::core::message::{AckKind, AgentMessage, Query, Refusal, SchedulerMessage, Vote};
use quorate::core::participant::{Journal, JournalRecord, Output, PromiseState};
use quorate::core::record::AttemptState;
use quorate::core::time::TimeRange;

use super::agent;
use super::checker::Heard;
use super::plan::{chance, millis};
use super::trace;
use super::world::{Event, Link, World};

impl World {
    pub(super) fn arrives_at_scheduler(&mut self, session: SessionId, message: AgentMessage) {
        let Some(Link { host, life, open: true, .. }) = self.links.get(&session) else { return };
        let (host, life) = (*host, *life);
        if !self.scheduler.lives(life) {
            return;
        }
        let (who, text) = (message.participant().clone(), trace::from_agent(&message));
        self.trace.line(self.now, format_args!("s{} {who} → {text}", session.0));
        if self.scheduler.current == Some(life) {
            let heard = self.checker.heard(session, &message);
            let speaks = matches!(message, AgentMessage::Register(_)) && !matches!(heard, Heard::Stale);
            if speaks && self.checker.came_back(&who) {
                self.tally.saw("a forgotten participant came back");
            }
            if let Some(agent) = self.agent_on(host, &who).filter(|_| speaks) {
                self.took_over(agent);
            }
            match heard {
                Heard::NewLineage => self.tally.saw("a journal began a new life"),
                // What it lacks is missed, though only its registration is old.
                Heard::WentBack => {
                    let before = SessionId(session.0 - 1);
                    self.explained.lost(message.participant().as_str(), before);
                }
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

    pub(super) fn arrives_at_agent(&mut self, session: SessionId, index: usize, message: SchedulerMessage) {
        let agent = &mut self.agents[index];
        let host = &self.hosts[agent.host];
        if !host.up || host.session != Some(session) || !agent.speaks() {
            return;
        }
        let text = trace::from_scheduler(&message);
        self.trace.line(self.now, format_args!("s{} p{} ← {text}", session.0, agent.who));
        if let SchedulerMessage::Registered(registered) = &message
            && self.checker.epoch(&registered.participant) == Some(registered.epoch)
        {
            self.installing.remove(&index);
        }
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
        let told: Vec<Attempt> = match &message {
            SchedulerMessage::Confirm { booking, .. } => vec![booking.attempt.clone()],
            SchedulerMessage::Registered(r) => r.bookings.iter().map(|b| b.attempt.clone()).collect(),
            _ => Vec::new(),
        };
        let (now, calendar) = (host.clock.now(self.now), agent.calendar.clone());
        let query = if let SchedulerMessage::Query(query) = &message { Some(query.clone()) } else { None };
        let output = agent.machine.receive(now, message, &calendar);
        let who = self.agents[index].who;
        if self.agents.iter().filter(|other| other.who == who).count() > 1 {
            let journal = self.agents[index].machine.journal();
            let over = told.iter().filter(|attempt| is_over(journal, attempt));
            over.for_each(|attempt| self.checker.pass_over(&super::plan::name(who), attempt));
        }
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
            if chance(&mut self.hosts[host].random, 300) {
                self.copies.insert(index, self.agents[index].disk.clone());
            }
            self.show(index);
        }
        for message in messages {
            if let AgentMessage::Ack { kind: AckKind::Release, attempt, .. } = &message {
                let early = checks::acked_after_disk(&self.agents[index].view(), attempt);
                self.broken.extend(early.map(|violation| violation.to_string()));
            }
            let granted = matches!(&message, AgentMessage::Vote { vote: Vote::Granted, .. });
            let message = self.agents[index].says(message);
            self.send_to_scheduler(index, message);
            if granted {
                self.fault_at_vote(index);
            }
        }
    }

    /// I1 at the vote, of the process that speaks for the participant.
    fn judge_grants(&mut self, agent: usize, records: &[JournalRecord]) {
        let who = self.agents[agent].who;
        if self.truth[who] != agent || self.installing.contains(&agent) {
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
        if others && !chance(random, 300) && (self.faults || self.truth[who] != index) {
            self.agents[index].ended = true;
            return;
        }
        let delay = millis(random, 500, 5_000);
        self.after(delay, Event::Revive(index));
    }

    pub(super) fn lose_journal(&mut self, index: usize) {
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
        let before = self.newest_stream();
        self.explained.lost(&format!("p{}", self.agents[index].who), before);
        self.agents[index].lose_journal(copy);
    }
}

/// Whether the agent had the attempt released before.
fn is_over(journal: &Journal, attempt: &Attempt) -> bool {
    let released = journal.tombstones.get(&attempt.meeting).is_some_and(|n| *n >= attempt.n);
    released && !journal.promises.contains_key(attempt)
}
