//! Looks at everything after each step, from outside: the store's rows, the journals, and the votes as they came in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate::core::checks;
use quorate::core::ids::{Attempt, Epoch, Lineage, MeetingId, ParticipantId, SeriesId, SessionId};
use quorate::core::invariants::{self, AgentView, CountedVote, Decisions, StoreView, Violation};
use quorate::core::message::{AgentMessage, Origin, Register, Vote};
use quorate::core::participant::PromiseState;
use quorate::core::record::{
    Applied, AttemptRow, AttemptState, BookingRow, ParticipantRow, Read, ReadResult, Write,
};
use quorate::core::series::Series;
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
    origin: Origin,
    /// The streams that ever spoke for it.
    spoke: BTreeSet<SessionId>,
}

/// What a message was to the scheduler.
pub enum Heard {
    NewLineage,
    /// A registration of a journal that has said more since: it comes late, or the journal went back.
    WentBack,
    /// It came over a stream that does not speak for the participant.
    Stale,
    Counted,
}

#[derive(Default)]
pub struct Checker {
    pub store: StoreView,
    pub series: BTreeMap<SeriesId, Series>,
    pub agents: Vec<AgentView>,
    decisions: Decisions,
    held_since: BTreeMap<(ParticipantId, Attempt), Mono>,
    registrations: BTreeMap<ParticipantId, Registration>,
    /// The highest numbers, epoch and lineage, of those whom this life of the scheduler has forgotten.
    forgotten: (i64, i64),
    forgotten_names: BTreeSet<ParticipantId>,
    /// Over which somebody registered.
    streams: BTreeSet<SessionId>,
    /// Every yes: one that comes in while the decision is on its way takes nothing from an earlier one.
    cast: BTreeMap<(ParticipantId, Attempt), BTreeSet<(Epoch, Lineage)>>,
    /// The journals' lives, as the store has them.
    lineages: BTreeMap<ParticipantId, Lineage>,
    pub found: Vec<Violation>,
    holding_since: BTreeMap<Attempt, Mono>,
    /// Attempts that a store put back knows otherwise than its later life decided.
    lost_decisions: BTreeSet<Attempt>,
    /// Bookings of the copy that its later life had ended.
    ended_bookings: BTreeSet<(ParticipantId, Attempt)>,
    /// Bookings that an agent takes for released, by what a process beside it heard from a life of the store that was lost.
    passed_over: BTreeSet<(ParticipantId, Attempt)>,
    was_restored: bool,
    /// How many attempts of each meeting were judged by its log.
    judged: BTreeMap<MeetingId, u32>,
    /// Whether the store changed, and which agents did.
    dirty: bool,
    changed: BTreeSet<usize>,
    looked: Mono,
}

impl Checker {
    pub fn agent(&mut self, index: usize, mut view: AgentView) {
        self.mark_orphans(&mut view);
        match self.agents.get_mut(index) {
            Some(old) => *old = view,
            None => self.agents.push(view),
        }
        self.changed.insert(index);
    }

    /// Two processes spoke for the participant, and one of them does not take this booking: it holds the number for over.
    /// That has no cure if the store was put back as well (`docs/reliability.md`), and has to be explained otherwise.
    pub fn pass_over(&mut self, participant: &ParticipantId, attempt: &Attempt) {
        if self.was_restored {
            self.passed_over.insert((participant.clone(), attempt.clone()));
            let mut agents = std::mem::take(&mut self.agents);
            agents.iter_mut().for_each(|view| self.mark_orphans(view));
            self.agents = agents;
        }
    }

    fn mark_orphans(&self, view: &mut AgentView) {
        view.orphaned.clone_from(&self.lost_decisions);
        let ended = self.ended_bookings.iter().chain(&self.passed_over);
        let ended = ended.filter(|(who, _)| *who == view.participant);
        view.orphaned.extend(ended.map(|(_, attempt)| attempt.clone()));
    }

    /// The store is put back to what it was: its later life explains what agents know of it.
    /// Returns whether a decision is lost with it.
    pub fn restored(&mut self, old: StoreView) -> bool {
        self.was_restored = true;
        let known = self.lost_decisions.len();
        let decided =
            |row: &AttemptRow| matches!(row.state, AttemptState::Committed | AttemptState::Superseded);
        for (attempt, _) in self.store.attempts.iter().filter(|(_, row)| decided(row)) {
            if !old.attempts.get(attempt).is_some_and(decided) {
                self.lost_decisions.insert(attempt.clone());
            }
        }
        let ended = old.bookings.keys().filter(|key| !self.store.bookings.contains_key(*key));
        self.ended_bookings.extend(ended.cloned());
        self.decisions.restored(&old);
        self.store = old;
        let mut agents = std::mem::take(&mut self.agents);
        agents.iter_mut().for_each(|view| self.mark_orphans(view));
        self.agents = agents;
        self.dirty = true;
        self.lost_decisions.len() > known
    }

    /// The scheduler knows no more than its store says.
    pub fn restarted(&mut self, participants: &[ParticipantRow]) {
        self.cast.clear();
        self.forgotten = (0, 0);
        let known = |row: &ParticipantRow| {
            let registration = Registration {
                session: None,
                epoch: row.epoch.0,
                lineage: row.lineage.0,
                journal: row.journal_id.clone(),
                sequence: row.journal_sequence,
                origin: Origin::default(),
                spoke: BTreeSet::new(),
            };
            (row.id.clone(), registration)
        };
        self.registrations = participants.iter().map(known).collect();
        self.streams.clear();
    }

    /// A message comes in at the scheduler.
    pub fn heard(&mut self, session: SessionId, message: &AgentMessage) -> Heard {
        if let AgentMessage::Register(register) = message {
            return self.registered(session, register);
        }
        let Some(registration) = self.registrations.get_mut(message.participant()) else {
            return Heard::Stale;
        };
        if registration.session != Some(session) {
            return Heard::Stale;
        }
        match message {
            AgentMessage::Vote { participant, attempt, vote, sequence } => {
                registration.sequence = registration.sequence.max(*sequence);
                if *vote == Vote::Granted {
                    let cast = (Epoch(registration.epoch), Lineage(registration.lineage));
                    self.cast.entry((participant.clone(), attempt.clone())).or_default().insert(cast);
                }
            }
            AgentMessage::Ack { sequence, .. } | AgentMessage::Withdraw { sequence, .. } => {
                registration.sequence = registration.sequence.max(*sequence);
            }
            AgentMessage::Unregister { .. } => registration.session = None,
            _ => {}
        }
        Heard::Counted
    }

    fn registered(&mut self, session: SessionId, register: &Register) -> Heard {
        let known = self.registrations.entry(register.participant.clone()).or_default();
        let same_journal = !register.journal_id.is_empty() && known.journal == register.journal_id;
        // Opened before the one that speaks: of a process that may be dead, unless the stream is known, and this
        // participant is new to it, with a journal of its own.
        let older = known.session.is_some_and(|speaks| speaks > session);
        let dead = same_journal || known.spoke.contains(&session) || !self.streams.contains(&session);
        if register.origin.is_late(&known.origin) || older && dead {
            return Heard::Stale;
        }
        known.spoke.insert(session);
        self.streams.insert(session);
        let same = same_journal && known.sequence <= register.journal_sequence;
        known.origin.clone_from(&register.origin);
        known.session = Some(session);
        if known.epoch == 0 {
            (known.epoch, known.lineage) = self.forgotten;
        }
        known.epoch += 1;
        known.lineage += i64::from(!same);
        known.journal.clone_from(&register.journal_id);
        known.sequence = register.journal_sequence;
        match (same_journal, same) {
            (_, true) => Heard::Counted,
            (true, false) => Heard::WentBack,
            (false, false) => Heard::NewLineage,
        }
    }

    /// Of the registration that was heard last.
    pub fn epoch(&self, participant: &ParticipantId) -> Option<Epoch> {
        self.registrations.get(participant).map(|known| Epoch(known.epoch))
    }

    /// There was no room for this participant's name any more. It goes on later with numbers that were never given.
    pub fn forgot(&mut self, participant: &ParticipantId) -> Option<Violation> {
        let known = self.registrations.get_mut(participant)?;
        let speaks = known.session.is_some();
        let (epoch, lineage) = self.forgotten;
        self.forgotten = (epoch.max(known.epoch), lineage.max(known.lineage));
        let spoke = std::mem::take(&mut known.spoke);
        *known = Registration { spoke, ..Registration::default() };
        self.forgotten_names.insert(participant.clone());
        let booked = self.store.bookings.keys().any(|(who, _)| who == participant);
        let mut holding = self.store.attempts.values().filter(|row| row.state == AttemptState::Holding);
        let asked = holding.any(|row| row.asked.contains(participant));
        let told = self.store.deliveries.iter().any(|delivery| delivery.participant == *participant);
        let what = format!(
            "{participant} is forgotten: speaks {speaks}, booked {booked}, asked {asked}, told {told}"
        );
        (speaks || booked || asked || told).then_some(Violation { invariant: "I3", what })
    }

    /// Whether this participant was forgotten; it is asked once.
    pub fn came_back(&mut self, participant: &ParticipantId) -> bool {
        self.forgotten_names.remove(participant)
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
            if applied {
                self.judge_aborts(&transaction.writes);
                let whole = checks::series_decided_whole(&self.series, &transaction.writes);
                self.found.extend(whole);
            }
            for write in &transaction.writes {
                self.refresh(store, write);
                match write {
                    Write::AttemptState(attempt, AttemptState::Aborted) if applied => {
                        let row = self.store.attempts.get(attempt);
                        let undelivered =
                            row.map(|row| checks::decided_with_deliveries(row, &transaction.writes));
                        self.found.extend(undelivered.into_iter().flatten());
                    }
                    Write::Series(_) => {
                        let snapshot = self.read_series(store, write);
                        self.series.extend(snapshot);
                    }
                    Write::Participant(row) if applied => {
                        self.lineages.insert(row.id.clone(), row.lineage);
                    }
                    Write::Attempt(row) if applied && row.state == AttemptState::Committed => {
                        let counted = |participant: &ParticipantId| CountedVote {
                            attempt: row.attempt.clone(),
                            participant: participant.clone(),
                            cast: self.counted(participant, &row.attempt),
                            lineage: self.lineages.get(participant).copied().unwrap_or_default(),
                        };
                        votes.extend(row.commit_set.iter().map(counted));
                        self.found.extend(checks::decided_with_deliveries(row, &transaction.writes));
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

    /// A series as the store has it.
    fn read_series(&self, store: &mut MemoryStore, write: &Write) -> Option<(SeriesId, Series)> {
        let Write::Series(series) = write else { return None };
        match read(store, Read::Series(series.id.clone())) {
            ReadResult::Series(found) => found.map(|found| (found.0.id.clone(), found.0)),
            other => panic!("a series was answered by {other:?}"),
        }
    }

    /// The yes that a decision may rest on, or else the last one.
    fn counted(&self, participant: &ParticipantId, attempt: &Attempt) -> Option<(Epoch, Lineage)> {
        let all = self.cast.get(&(participant.clone(), attempt.clone()))?;
        let lineage = self.lineages.get(participant).copied().unwrap_or_default();
        all.iter().rev().find(|(_, cast)| *cast == lineage).or(all.last()).copied()
    }

    /// Attempts that were given up, by the log that their meetings keep. `self.store` is as it was before.
    fn judge_aborts(&mut self, writes: &[Write]) {
        for write in writes {
            let Write::Meeting(meeting) = write else { continue };
            // A change of the booked meeting may be written between two attempts to move it, and tells of neither.
            let judged_to = self.judged.entry(meeting.id.clone()).or_default();
            let judged = std::mem::replace(judged_to, meeting.attempts.max(*judged_to));
            for (index, entry) in meeting.attempt_log.iter().enumerate().filter(|(_, e)| e.number > judged) {
                // The log of a change comes with its end, several attempts at once: the last entry tells of the last row.
                let later = meeting.attempt_log[index + 1..].iter().filter(|l| l.slot == entry.slot).count();
                let rows = self.store.attempts.values().rev();
                let mut rows = rows.filter(|row| row.attempt.meeting == meeting.id && row.slot == entry.slot);
                if let Some(row) = rows.nth(later) {
                    self.found.extend(checks::aborts_are_needed(row, entry));
                    // Who pushed is known only in the transaction that gives way.
                    if writes.contains(&Write::AttemptState(row.attempt.clone(), AttemptState::Aborted)) {
                        self.found.extend(checks::pushed_by_higher_rank(&self.store, row, entry));
                    }
                }
            }
        }
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

    /// I1 to I6, of whatever changed.
    pub fn check(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        if std::mem::take(&mut self.dirty) {
            self.found.extend(invariants::check(&self.store, &self.agents, &mut self.decisions));
            return;
        }
        for index in changed {
            let agent = std::slice::from_ref(&self.agents[index]);
            self.found.extend(invariants::no_overlapping_promises(agent));
            self.found.extend(invariants::commit_sets_are_held(&self.store, agent));
            self.found.extend(invariants::confirmed_is_committed(&self.store, agent));
        }
    }

    /// L1 and L3 while it settles, twice a second. Agents that never come back owe nothing.
    pub fn check_progress(&mut self, now: Mono, gone: &BTreeSet<usize>) {
        if now.since(self.looked) < Duration::from_millis(500) {
            return;
        }
        self.looked = now;
        let mut held = BTreeMap::new();
        for agent in self.agents.iter().enumerate().filter(|(index, _)| !gone.contains(index)).map(|(_, a)| a)
        {
            for (attempt, _) in agent.promises.iter().filter(|(_, row)| row.state == PromiseState::Held) {
                let key = (agent.participant.clone(), attempt.clone());
                let since = self.held_since.get(&key).copied().unwrap_or(now);
                held.insert(key, since);
            }
        }
        self.held_since = held;
        self.found.extend(invariants::holds_end(&self.held_since, now));
        let holding = self.store.attempts.values().filter(|row| row.state == AttemptState::Holding);
        let since = |row: &AttemptRow| self.holding_since.get(&row.attempt).copied().unwrap_or(now);
        self.holding_since = holding.map(|row| (row.attempt.clone(), since(row))).collect();
        self.found.extend(checks::top_rank_decides(&self.store, &self.holding_since, now));
    }

    /// L1 at the end, but for those who never come back.
    pub fn settled(&self, gone: &BTreeSet<usize>) -> Vec<Violation> {
        let back = |index: &usize| !gone.contains(index);
        let agents: Vec<AgentView> =
            (0..self.agents.len()).filter(back).map(|index| self.agents[index].clone()).collect();
        let mut store = self.store.clone();
        store.deliveries.retain(|d| agents.iter().any(|agent| agent.participant == d.participant));
        invariants::agents_equal_store(&store, &agents)
    }
}

/// One read of the store.
pub fn read(store: &mut MemoryStore, read: Read) -> ReadResult {
    match store.run(&[Operation::Read(read)]).expect("a read").pop() {
        Some(OperationResult::Read(result)) => result,
        other => panic!("a read was answered by {other:?}"),
    }
}
