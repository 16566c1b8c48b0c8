//! Looks at everything after each step, from outside: the store's rows, the journals, and the votes as they came in.

use std::collections::BTreeMap;

use quorate::core::ids::{Attempt, Epoch, Lineage, MeetingId, ParticipantId, SessionId};
use quorate::core::invariants::{self, AgentView, CountedVote, Decisions, StoreView, Violation};
use quorate::core::message::{AgentMessage, Register, Vote};
use quorate::core::participant::PromiseState;
use quorate::core::record::{Applied, AttemptState, BookingRow, ParticipantRow, Read, ReadResult, Write};
use quorate::core::time::{Instant, Mono};
use quorate::engine::store::{Operation, OperationResult, Store};
use quorate::store::MemoryStore;

/// A participant's registration, by the rules of PROTOCOL.md and nothing that the scheduler says.
#[derive(Clone, Default)]
struct Registration {
    session: Option<SessionId>,
    epoch: i64,
    lineage: i64,
    journal: String,
    sequence: u64,
}

#[derive(Default)]
pub struct Checker {
    pub store: StoreView,
    pub agents: Vec<AgentView>,
    decisions: Decisions,
    held_since: BTreeMap<(ParticipantId, Attempt), Mono>,
    registrations: BTreeMap<ParticipantId, Registration>,
    cast: BTreeMap<(ParticipantId, Attempt), (Epoch, Lineage)>,
    /// The journals' lives, as the store has them.
    lineages: BTreeMap<ParticipantId, Lineage>,
    pub found: Vec<Violation>,
    dirty: bool,
}

impl Checker {
    pub fn agent(&mut self, index: usize, view: AgentView) {
        match self.agents.get_mut(index) {
            Some(old) => *old = view,
            None => self.agents.push(view),
        }
        self.dirty = true;
    }

    /// The scheduler knows no more than its store says.
    pub fn restarted(&mut self, participants: &[ParticipantRow]) {
        self.cast.clear();
        let known = |row: &ParticipantRow| {
            let registration = Registration {
                session: None,
                epoch: row.epoch.0,
                lineage: row.lineage.0,
                journal: row.journal_id.clone(),
                sequence: row.journal_sequence,
            };
            (row.id.clone(), registration)
        };
        self.registrations = participants.iter().map(known).collect();
    }

    /// A message comes in at the scheduler. Returns whether a registration began a new lineage.
    pub fn heard(&mut self, session: SessionId, message: &AgentMessage) -> bool {
        if let AgentMessage::Register(register) = message {
            return self.registered(session, register);
        }
        let Some(registration) = self.registrations.get_mut(message.participant()) else { return false };
        if registration.session != Some(session) {
            return false;
        }
        match message {
            AgentMessage::Vote { participant, attempt, vote, sequence } => {
                registration.sequence = registration.sequence.max(*sequence);
                if *vote == Vote::Granted {
                    let cast = (Epoch(registration.epoch), Lineage(registration.lineage));
                    self.cast.insert((participant.clone(), attempt.clone()), cast);
                }
            }
            AgentMessage::Ack { sequence, .. } | AgentMessage::Withdraw { sequence, .. } => {
                registration.sequence = registration.sequence.max(*sequence);
            }
            AgentMessage::Unregister { .. } => registration.session = None,
            _ => {}
        }
        false
    }

    fn registered(&mut self, session: SessionId, register: &Register) -> bool {
        let known = self.registrations.entry(register.participant.clone()).or_default();
        let same = !register.journal_id.is_empty()
            && known.journal == register.journal_id
            && known.sequence <= register.journal_sequence;
        known.session = Some(session);
        known.epoch += 1;
        known.lineage += i64::from(!same);
        known.journal.clone_from(&register.journal_id);
        known.sequence = register.journal_sequence;
        !same
    }

    pub fn closed(&mut self, session: SessionId) {
        for registration in self.registrations.values_mut().filter(|r| r.session == Some(session)) {
            registration.session = None;
        }
    }

    /// A group is on the disk, with these results if the answer is not lost.
    pub fn committed(
        &mut self,
        store: &mut MemoryStore,
        group: &[Operation],
        results: Option<&[OperationResult]>,
    ) {
        self.dirty = true;
        let mut votes = Vec::new();
        for (index, operation) in group.iter().enumerate() {
            let Operation::Apply(transaction) = operation else { continue };
            let applied = results.map(|r| &r[index]) == Some(&OperationResult::Applied(Applied::Yes));
            for write in &transaction.writes {
                self.refresh(store, write);
                match write {
                    Write::Participant(row) if applied => {
                        self.lineages.insert(row.id.clone(), row.lineage);
                    }
                    Write::Attempt(row) if applied && row.state == AttemptState::Committed => {
                        let counted = |participant: &ParticipantId| CountedVote {
                            attempt: row.attempt.clone(),
                            participant: participant.clone(),
                            cast: self.cast.get(&(participant.clone(), row.attempt.clone())).copied(),
                            lineage: self.lineages.get(participant).copied().unwrap_or_default(),
                        };
                        votes.extend(row.commit_set.iter().map(counted));
                    }
                    _ => {}
                }
            }
        }
        self.found.extend(invariants::votes_are_current(&votes));
        let snapshot = store.snapshot().expect("a snapshot");
        self.lineages = snapshot.participants.iter().map(|row| (row.id.clone(), row.lineage)).collect();
        self.store.deliveries = snapshot.deliveries;
    }

    /// Reads again what a write may have changed: the store itself is the witness, not what it was told.
    fn refresh(&mut self, store: &mut MemoryStore, write: &Write) {
        match write {
            Write::Meeting(meeting) => self.refresh_meeting(store, &meeting.id),
            Write::Attempt(row) => self.refresh_attempt(store, &row.attempt),
            Write::AttemptState(attempt, _) => self.refresh_attempt(store, attempt),
            Write::Booking(row) => self.refresh_bookings(store, &row.participant),
            Write::RemoveBookings(attempt, Some(participant)) => {
                self.refresh_bookings(store, participant);
                self.refresh_attempt(store, attempt);
            }
            Write::RemoveBookings(attempt, None) => {
                let rows = self.store.bookings.keys().filter(|(_, a)| a == attempt);
                let participants: Vec<ParticipantId> = rows.map(|(p, _)| p.clone()).collect();
                participants.iter().for_each(|participant| self.refresh_bookings(store, participant));
            }
            _ => {}
        }
    }

    fn refresh_meeting(&mut self, store: &mut MemoryStore, id: &MeetingId) {
        if let ReadResult::Meeting(Some(found)) = read(store, Read::Meeting(id.clone())) {
            self.store.meetings.insert(id.clone(), found.0);
        }
    }

    fn refresh_attempt(&mut self, store: &mut MemoryStore, attempt: &Attempt) {
        if let ReadResult::Attempt(Some(found)) = read(store, Read::Attempt(attempt.clone())) {
            self.store.attempts.insert(attempt.clone(), found.0);
        }
    }

    fn refresh_bookings(&mut self, store: &mut MemoryStore, participant: &ParticipantId) {
        self.store.bookings.retain(|(id, _), _| id != participant);
        let (participant, reported, after) = (participant.clone(), Vec::new(), Instant::UNIX_EPOCH);
        let asked = Read::Promises { participant: participant.clone(), reported, after };
        if let ReadResult::Promises(promises) = read(store, asked) {
            for booking in promises.booked {
                let (attempt, during) = (booking.attempt.clone(), booking.blocked);
                let row = BookingRow { participant: participant.clone(), attempt, during, delivered: false };
                self.store.bookings.insert((participant.clone(), booking.attempt), row);
            }
        }
    }

    /// I1 to I6, if anything changed.
    pub fn check(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.found.extend(invariants::check(&self.store, &self.agents, &mut self.decisions));
        }
    }

    /// L1 while it settles.
    pub fn check_holds(&mut self, now: Mono) {
        let mut held = BTreeMap::new();
        for agent in &self.agents {
            for (attempt, _) in agent.promises.iter().filter(|(_, row)| row.state == PromiseState::Held) {
                let key = (agent.participant.clone(), attempt.clone());
                let since = self.held_since.get(&key).copied().unwrap_or(now);
                held.insert(key, since);
            }
        }
        self.held_since = held;
        self.found.extend(invariants::holds_end(&self.held_since, now));
    }
}

/// One read of the store.
pub fn read(store: &mut MemoryStore, read: Read) -> ReadResult {
    match store.run(&[Operation::Read(read)]).expect("a read").pop() {
        Some(OperationResult::Read(result)) => result,
        other => panic!("a read was answered by {other:?}"),
    }
}
