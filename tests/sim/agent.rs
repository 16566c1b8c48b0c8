//! An agent of the simulated world: the real machine, a journal that outlasts it, and a calendar.

use std::collections::BTreeSet;

use quorate::core::availability::Disclosure;
use quorate::core::ids::Attempt;
use quorate::core::invariants::AgentView;
use quorate::core::message::{AgentMessage, Origin, Refusal, Vote};
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

/// One process that speaks for a participant.
pub struct Agent {
    pub who: usize,
    pub host: usize,
    /// Keeps no journal, and refuses without naming the blocker.
    pub small: bool,
    pub machine: Participant,
    /// What a crash leaves.
    pub disk: Journal,
    pub calendar: Calendar,
    /// A newer stream has taken over: an operator has to start it again.
    pub superseded: bool,
    /// An operator ended this process: another one speaks for the participant.
    pub ended: bool,
    lost: BTreeSet<Attempt>,
    lives: u32,
    starts: u32,
}

impl Agent {
    pub fn new(index: usize, host: usize, small: bool, busy: Vec<TimeRange>) -> Self {
        let id = if small { String::new() } else { format!("journal-{index}-0") };
        let disk = Journal { id, ..Journal::default() };
        let mut agent = Self {
            who: index,
            host,
            small,
            machine: Participant::new(profile(index), disk.clone()),
            disk,
            calendar: Calendar(busy),
            superseded: false,
            ended: false,
            lost: BTreeSet::new(),
            lives: 0,
            starts: 0,
        };
        agent.start();
        agent
    }

    /// A process starts on the journal. A small one does not name itself.
    fn start(&mut self) {
        self.starts += 1;
        self.machine = Participant::new(profile(self.who), self.disk.clone());
        if !self.small {
            let process = format!("process-{}-{}-{}", self.who, self.host, self.starts);
            self.machine.set_origin(Origin { process, number: 0 });
        }
    }

    /// Another process for the same participant, with a copy of its journal.
    pub fn twin(&self, host: usize, disk: Journal) -> Self {
        let machine = Participant::new(profile(self.who), disk.clone());
        let (calendar, lost) = (self.calendar.clone(), BTreeSet::new());
        let mut twin = Self { host, machine, disk, calendar, superseded: false, ended: false, lost, ..*self };
        twin.start();
        twin
    }

    /// From now on this process speaks for the participant: what the one before had promised and this one has not is
    /// explained by the change of journals.
    pub fn takes_over(&mut self, had: &AgentView) {
        self.lost.extend(had.promises.keys().chain(&had.withdrawn).chain(&had.lost).cloned());
    }

    /// Whether it may speak for its participant.
    pub fn speaks(&self) -> bool {
        !self.superseded && !self.ended
    }

    /// Makes the records durable, all or none of them.
    pub fn sync(&mut self, records: &[JournalRecord]) {
        if !self.small {
            records.iter().for_each(|record| self.disk.apply(record));
        }
    }

    /// The process is gone, and with it what was not on disk: of a small agent all that it `had`.
    pub fn crash(&mut self) {
        if self.small {
            let had = self.view();
            self.takes_over(&had);
        }
        self.start();
        self.superseded = false;
    }

    /// The journal's disk is gone: a new one, or an older copy.
    pub fn lose_journal(&mut self, copy: Option<Journal>) {
        self.lives += 1;
        let had = self.view();
        self.takes_over(&had);
        let id = format!("journal-{}-{}-{}", self.who, self.host, self.lives);
        self.disk = copy.unwrap_or(Journal { id, ..Journal::default() });
        self.crash();
    }

    /// What it would find after a crash.
    pub fn view(&mut self) -> AgentView {
        let journal = if self.small { self.machine.journal() } else { &self.disk };
        self.lost.retain(|attempt| !journal.promises.contains_key(attempt));
        AgentView {
            participant: name(self.who),
            promises: journal.promises.clone(),
            withdrawn: journal.withdrawn.keys().cloned().collect(),
            lost: self.lost.clone(),
            orphaned: BTreeSet::new(),
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

/// Every other participant shows no more than was asked for.
pub fn disclosure(who: usize) -> Disclosure {
    if who.is_multiple_of(2) { Disclosure::AskedSlotsOnly } else { Disclosure::FreeBusy }
}

fn profile(who: usize) -> Profile {
    let display_name = format!("Agent {who}");
    Profile { id: name(who), display_name, time_zone: None, disclosure: disclosure(who) }
}
