//! An agent of the simulated world: the real machine, a journal that outlasts it, and a calendar.

use std::collections::BTreeSet;

use quorate::core::availability::Disclosure;
use quorate::core::ids::Attempt;
use quorate::core::invariants::AgentView;
use quorate::core::message::{AgentMessage, Refusal, Vote};
use quorate::core::participant::{Journal, JournalRecord, OwnTime, Participant, Profile};
use quorate::core::time::TimeRange;

use super::plan::name;

/// The participant's own events.
#[derive(Clone, Default)]
pub struct Calendar(pub Vec<TimeRange>);

impl OwnTime for Calendar {
    fn busy(&self, range: TimeRange, _working_hours: bool) -> Result<Vec<TimeRange>, String> {
        let mut busy: Vec<TimeRange> = self.0.iter().filter(|own| own.overlaps(&range)).copied().collect();
        busy.sort_unstable();
        Ok(quorate::core::slots::merged(busy))
    }
}

pub struct Agent {
    pub host: usize,
    /// Keeps no journal, and refuses without naming the blocker.
    pub small: bool,
    pub machine: Participant,
    /// What a crash leaves.
    pub disk: Journal,
    pub calendar: Calendar,
    /// A newer stream has taken over: an operator has to start it again.
    pub superseded: bool,
    lost: BTreeSet<Attempt>,
    lives: u32,
}

impl Agent {
    pub fn new(index: usize, host: usize, small: bool, busy: Vec<TimeRange>) -> Self {
        let id = if small { String::new() } else { format!("journal-{index}-0") };
        let disk = Journal { id, ..Journal::default() };
        Self {
            host,
            small,
            machine: Participant::new(profile(index), disk.clone()),
            disk,
            calendar: Calendar(busy),
            superseded: false,
            lost: BTreeSet::new(),
            lives: 0,
        }
    }

    /// Makes the records durable, all or none of them.
    pub fn sync(&mut self, records: &[JournalRecord]) {
        if !self.small {
            records.iter().for_each(|record| self.disk.apply(record));
        }
    }

    /// The process is gone, and with it what was not on disk: of a small agent all that it `had`.
    pub fn crash(&mut self, index: usize, had: &AgentView) {
        if self.small {
            self.lost.extend(had.promises.keys().chain(&had.withdrawn).cloned());
        }
        self.machine = Participant::new(profile(index), self.disk.clone());
        self.superseded = false;
    }

    /// The journal's disk is gone: a new one, or an older copy.
    pub fn lose_journal(&mut self, index: usize, had: &AgentView, copy: Option<Journal>) {
        self.lives += 1;
        self.lost.extend(had.promises.keys().chain(&had.withdrawn).cloned());
        let id = format!("journal-{index}-{}", self.lives);
        self.disk = copy.unwrap_or(Journal { id, ..Journal::default() });
        self.crash(index, had);
    }

    /// What it would find after a crash.
    pub fn view(&self, index: usize) -> AgentView {
        let journal = if self.small { self.machine.journal() } else { &self.disk };
        let has = |attempt: &&Attempt| journal.promises.contains_key(*attempt);
        AgentView {
            participant: name(index),
            promises: journal.promises.clone(),
            withdrawn: journal.withdrawn.keys().cloned().collect(),
            lost: self.lost.iter().filter(|a| !has(a)).cloned().collect(),
        }
    }

    /// What a small agent makes of a message: it can't tell which hold is in the way.
    pub fn says(&self, message: AgentMessage) -> AgentMessage {
        match message {
            AgentMessage::Vote { participant, attempt, vote: Vote::Refused(Refusal::Held(_)), sequence }
                if self.small =>
            {
                AgentMessage::Vote {
                    participant,
                    attempt,
                    vote: Vote::Refused(Refusal::Held(None)),
                    sequence,
                }
            }
            message => message,
        }
    }
}

fn profile(index: usize) -> Profile {
    let disclosure = if index.is_multiple_of(2) { Disclosure::AskedSlotsOnly } else { Disclosure::FreeBusy };
    Profile { id: name(index), display_name: format!("Agent {index}"), time_zone: None, disclosure }
}
