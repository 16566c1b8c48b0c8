//! Registration is reconciliation (PROTOCOL.md): sessions, epochs and lineages, and reading what the store has.

use super::*;
use crate::core::message::Register;
use crate::core::record::{BookingRow, ParticipantPromises, Reported};

/// A registration whose promises are being read.
#[derive(Clone, Debug)]
pub(super) struct Registering {
    pub(super) session: SessionId,
    pub(super) register: Register,
    pub(super) new_lineage: bool,
    /// It spoke over this stream before: the process is the same, and has or will have what is sent to it over it.
    pub(super) same_stream: bool,
    /// Whether bookings may have changed since the read was handed in: then it is read again.
    stale: bool,
    /// Votes for these came in behind the registration, which can't report them yet.
    pub(super) heard: BTreeSet<Attempt>,
    /// What it reports and the store has not been asked about yet.
    unread: Vec<Attempt>,
    /// What is read already of the rest, where it reports more than one read asks about.
    reported: Reported,
    /// What ended before this was not read.
    pub(super) after: Instant,
}

impl Registering {
    pub(super) fn is_over(&self, session: SessionId) -> bool {
        self.session == session
    }
}

impl Coordinator {
    pub(super) fn register(&mut self, now: Now, session: SessionId, register: Register) {
        let participant = register.participant.clone();
        if let Some(known) = self.participants.get(&participant).filter(|known| {
            register.origin.is_late(&known.origin) || self.comes_late(session, &register, known)
        }) {
            // The same process has registered since: nobody listens on this stream any more, or it says it twice. Or
            // whoever spoke over this one may be dead, and so may what follows.
            self.counters.stale += 1;
            let here = known.connected.as_ref().is_some_and(|connected| connected.session == session);
            let superseded = SchedulerMessage::Superseded { epoch: known.row.epoch };
            return match here {
                true => {}
                false => self.out.push(Effect::Send(session, vec![participant], superseded, None)),
            };
        }
        let forgotten = self.strangers.forgotten;
        if let Err(why) = self.admit(now, session, &participant) {
            return self.out.push(Effect::Reject(session, participant, why));
        }
        self.check_generation(&register);
        let before = self.participants.get(&participant).map(|known| known.row.clone());
        let row = next_row(now, before.as_ref(), forgotten, &register);
        // Compared with what is settled: a registration that was cut short or is repeated settles nothing.
        let origin = register.origin.clone();
        let settled = self.participants.get(&participant).and_then(|known| known.settled);
        let new_lineage = settled != Some(row.lineage);
        let other = before.is_none_or(|before| before.lineage != row.lineage);
        let connected = self.participants.get(&participant).and_then(|known| known.connected.as_ref());
        // A repetition that comes before the first one is read stands for it.
        let same_stream = connected.is_some_and(|connected| connected.session == session)
            && self.registering.get(&participant).is_none_or(|first| first.same_stream);
        self.leave_session(now, session, &participant, row.epoch);
        let connected = Connected {
            session,
            epoch: row.epoch,
            since: now.wall,
            ready: false,
            disclosure: register.disclosure,
        };
        let known = self.participants.get(&participant);
        let met = known.is_some_and(|known| known.met) || self.undelivered.contains_key(&participant);
        let caller = self.sessions.caller(session);
        let zone = ZoneMatch::between(row.time_zone.as_deref(), register.zone_data.as_ref());
        let remarks = Remarks { zone, calendar_problem: register.calendar_problem.clone() };
        self.participants.insert(
            participant.clone(),
            Known { row, settled, remarks, origin, connected: Some(connected), met, caller },
        );
        let registering = Registering {
            session,
            register,
            new_lineage,
            same_stream,
            stale: false,
            heard: BTreeSet::new(),
            unread: Vec::new(),
            reported: Reported::new(),
            after: now.wall,
        };
        let reports: BTreeSet<Attempt> = registering.register.reports().cloned().collect();
        self.registering.insert(participant.clone(), registering);
        self.counters.lineages += u64::from(new_lineage && other);
        self.void_votes(now, &participant, |attempt| new_lineage || !reports.contains(attempt));
        self.read_promises(now, participant);
    }

    /// Takes the participant in, over this stream, if there is room.
    fn admit(&mut self, now: Now, session: SessionId, participant: &ParticipantId) -> Result<(), Rejected> {
        let known = self.participants.get(participant);
        let before = known.and_then(|known| Some(known.connected.as_ref()?.session));
        // Nobody is forgotten for a name that is not taken in anyway.
        if known.is_none() && !self.has_room() {
            self.look_for_strangers(now);
            return Err(Rejected::TooManyKnown);
        }
        self.sessions.admit(session, participant, before, self.room.per_session)?;
        match self.participants.get(participant).map(|known| (known.caller, known.row.last_seen)) {
            Some((caller, left)) => self.strangers.remove(caller, left, participant),
            None => self.make_room(),
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.participants.len() < self.room.known || !self.strangers.is_empty()
    }

    /// Forgets whoever must be forgotten for one more to be known.
    fn make_room(&mut self) {
        let mut writes = Vec::new();
        while self.participants.len() >= self.room.known {
            let Some(stranger) = self.strangers.first() else { break };
            if let Some(known) = self.participants.remove(&stranger) {
                let (epoch, lineage) = self.strangers.forgotten;
                self.strangers.forgotten = (epoch.max(known.row.epoch), lineage.max(known.row.lineage));
            }
            self.drop_delivery_timer(&stranger);
            self.out.push(Effect::Forgotten(stranger.clone()));
            writes.push(Write::ForgetParticipant(stranger));
        }
        if !writes.is_empty() {
            let conditions = vec![self.fence()];
            self.apply(Transaction { conditions, writes }, Pending::Nothing);
        }
    }

    /// There is no room for somebody new: whom nothing binds any more may be forgotten for them, when they come again.
    fn look_for_strangers(&mut self, now: Now) {
        if now.mono >= self.strangers_look {
            self.strangers_look = now.mono + limits::STRANGERS_LOOK;
            self.read(Read::Strangers { after: now.wall }, Pending::ReadStrangers);
        }
    }

    /// Nothing that is on disk binds these.
    pub(super) fn strangers_read(&mut self, found: Vec<ParticipantId>) {
        // What is on its way there may.
        let on_the_way: BTreeSet<ParticipantId> =
            self.delivering.values().flatten().map(|(participant, _)| participant.clone()).collect();
        for participant in found {
            let bound = self.held.contains_key(&participant)
                || self.undelivered.contains_key(&participant)
                || on_the_way.contains(&participant);
            let Some(known) = self.participants.get_mut(&participant).filter(|_| !bound) else { continue };
            if known.met && known.connected.is_none() {
                known.met = false;
                self.strangers.add(known.caller, known.row.last_seen, participant);
            }
        }
    }

    /// These are asked to promise something, or have to be told something: they are not forgotten.
    pub(super) fn meet<'a>(&mut self, asked: impl IntoIterator<Item = &'a ParticipantId>) {
        for participant in asked {
            if let Some(known) = self.participants.get_mut(participant).filter(|known| !known.met) {
                known.met = true;
                self.strangers.remove(known.caller, known.row.last_seen, participant);
            }
        }
    }

    /// Whether a registration may be of a process that is dead, though it comes last: a stream speaks that was opened after
    /// this one, and this one said so before, says anything only now, or speaks for the same journal. A host that was there
    /// before, and gets somebody new whom another host speaks for, is another matter.
    fn comes_late(&self, session: SessionId, register: &Register, known: &Known) -> bool {
        let newer = known.connected.as_ref().is_some_and(|connected| connected.session > session);
        let spoke = self.sessions.spoke_for(session, &register.participant);
        let same_journal = !register.journal_id.is_empty() && register.journal_id == known.row.journal_id;
        newer && (same_journal || spoke.unwrap_or(true))
    }

    /// Reads what the store has, from the beginning. If it is being read for an earlier registration, that comes to its
    /// end first: whoever registers over and over has one read at a time.
    fn read_promises(&mut self, now: Now, participant: ParticipantId) {
        if self.reading_promises.contains(&participant) {
            return;
        }
        let Some(registering) = self.registering.get_mut(&participant) else { return };
        registering.stale = false;
        let reports: BTreeSet<&Attempt> = registering.register.reports().collect();
        registering.unread = reports.into_iter().cloned().collect();
        registering.reported.clear();
        self.read_on(now, participant);
    }

    /// Reads the next part of what is reported; with the last one, the bookings. An earlier part is as good as the last: a
    /// change in between that matters for this participant makes the registration stale, like one behind a single read.
    fn read_on(&mut self, now: Now, participant: ParticipantId) {
        let Some(registering) = self.registering.get_mut(&participant) else { return };
        let from = registering.unread.len().saturating_sub(limits::PROMISES_PER_READ);
        let reported = registering.unread.split_off(from);
        registering.after = now.wall;
        let last = registering.unread.is_empty();
        let epoch = self.participants.get(&participant).map(|known| known.row.epoch).unwrap_or_default();
        self.reading_promises.insert(participant.clone());
        match last {
            true => {
                let read = Read::Promises { participant: participant.clone(), reported, after: now.wall };
                self.read(read, Pending::ReadPromises { participant, epoch });
            }
            false => self.read(Read::Reported(reported), Pending::ReadReported { participant, epoch }),
        }
    }

    /// Whether what was read for a registration is of use; if not, it is read anew for the one that is there now.
    fn is_current(&mut self, now: Now, participant: &ParticipantId, epoch: Epoch) -> bool {
        self.reading_promises.remove(participant);
        let Some(registering) = self.registering.get(participant) else { return false };
        let known = self.participants.get(participant).and_then(|known| known.connected.as_ref());
        let current = !registering.stale && known.is_some_and(|connected| connected.epoch == epoch);
        if !current {
            self.read_promises(now, participant.clone());
        }
        current
    }

    /// A part of what a registration reports is known.
    pub(super) fn reported_read(
        &mut self,
        now: Now,
        participant: ParticipantId,
        epoch: Epoch,
        reported: Reported,
    ) {
        if self.is_current(now, &participant, epoch) {
            if let Some(registering) = self.registering.get_mut(&participant) {
                registering.reported.extend(reported);
            }
            self.read_on(now, participant);
        }
    }

    /// All that the store has for a registration is known.
    pub(super) fn promises_read(
        &mut self,
        now: Now,
        participant: ParticipantId,
        epoch: Epoch,
        mut promises: ParticipantPromises,
    ) {
        if self.is_current(now, &participant, epoch) {
            if let Some(registering) = self.registering.get_mut(&participant) {
                promises.reported.append(&mut registering.reported);
            }
            // What it was never asked for is none of its business, and is answered like what never was.
            for found in promises.reported.values_mut() {
                found.take_if(|(row, _)| !row.asked.contains(&participant));
            }
            self.reconcile(&participant, epoch, promises);
        }
    }

    /// A yes on a stream whose registration is not answered yet: said after it (a stream is first in, first out).
    pub(super) fn heard_vote(&mut self, participant: &ParticipantId, attempt: &Attempt) {
        if let Some(registering) = self.registering.get_mut(participant) {
            registering.heard.insert(attempt.clone());
        }
    }

    /// A write that follows a registration's read may change what was read. Whoever loses a booking with everybody else
    /// (`RemoveBookings(_, None)`) is sent a delivery by the same transaction.
    pub(super) fn outdate_registrations(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Booking(BookingRow { participant, .. })
                | Write::RemoveBookings(_, Some(participant))
                | Write::Delivery(Delivery { participant, .. }) => {
                    if let Some(registering) = self.registering.get_mut(participant) {
                        registering.stale = true;
                    }
                }
                _ => {}
            }
        }
    }

    /// The agent saw a later life of the store, or another one of the same number: this store is an older copy.
    /// A new generation keeps its attempt numbers apart (PROTOCOL.md, "Points that are easy to get wrong").
    fn check_generation(&mut self, register: &Register) {
        if planted(Planted::RestoredGenerationReused) {
            return;
        }
        let (seen, name) = (register.scheduler_generation, &register.scheduler_incarnation);
        let other = seen == self.generation && !name.is_empty() && *name != self.incarnation;
        if seen <= self.generation && !other {
            return;
        }
        self.alarm(format!(
            "{} has seen generation {seen} of the store: this one ({}) is an older copy",
            register.participant, self.generation
        ));
        // No store of ours gets there: a journal that is damaged, or not meant well. Followed, it would leave no room for
        // lives to come.
        if seen >= limits::GENERATION_BELIEVED {
            return;
        }
        // Whoever is right says it again, if it takes more than one step.
        let next = seen.min(self.generation.saturating_add(limits::GENERATION_JUMP)) + 1;
        let conditions = vec![self.fence()];
        self.generation = next;
        self.incarnation = self.random.uuid();
        let (generation, incarnation) = (self.generation, self.incarnation.clone());
        let writes = vec![Write::Generation { generation, incarnation }];
        self.apply(Transaction { conditions, writes }, Pending::Nothing);
    }

    /// Takes a participant off the stream that spoke for it so far.
    fn leave_session(&mut self, now: Now, newer: SessionId, participant: &ParticipantId, epoch: Epoch) {
        let Some(known) = self.participants.get_mut(participant) else { return };
        let Some(connected) = known.connected.take() else { return };
        if connected.session != newer {
            self.sessions.left(connected.session, participant);
            let message = SchedulerMessage::Superseded { epoch };
            self.out.push(Effect::Send(connected.session, vec![participant.clone()], message, None));
        }
        self.unanswered(now, participant);
    }

    /// The participant can't answer open queries any more: its stream is gone.
    fn unanswered(&mut self, now: Now, participant: &ParticipantId) {
        let mut complete = Vec::new();
        for id in self.queries.values() {
            if let Some(Live { phase: Phase::Querying { round, .. }, .. }) = self.live.get_mut(id) {
                round.lost(participant);
                if round.is_complete() {
                    complete.push(id.clone());
                }
            }
        }
        complete.sort();
        for id in complete {
            self.round_over(now, &id);
        }
    }

    /// A new life of the journal: votes of the older one are void, at once (I7). So is a yes that the registration does not
    /// report: while its answer is on its way, a decision that counts it would tell an agent of a booking that knows of no hold.
    fn void_votes(&mut self, now: Now, participant: &ParticipantId, void: impl Fn(&Attempt) -> bool) {
        if planted(Planted::OldLineageCounted) || planted(Planted::GoneVoteKept) {
            return;
        }
        let held = self.held.get(participant).into_iter().flatten();
        for attempt in held.filter(|attempt| void(attempt)).cloned().collect::<Vec<_>>() {
            if self.ballot(&attempt, participant) == Some(Ballot::Yes) {
                self.strike(now, participant, &attempt);
            }
        }
    }

    pub(super) fn ballot(&self, attempt: &Attempt, participant: &ParticipantId) -> Option<Ballot> {
        self.holding(attempt)?.ballots.get(participant).cloned()
    }

    pub(super) fn unregister(&mut self, now: Now, session: SessionId, participant: &ParticipantId) {
        self.sessions.left(session, participant);
        self.gone(now, participant);
    }

    /// A stream is gone, and with it everyone on it. What they promised stands.
    pub(super) fn session_closed(&mut self, now: Now, session: SessionId) {
        for participant in self.sessions.closed(session) {
            self.gone(now, &participant);
        }
    }

    fn gone(&mut self, now: Now, participant: &ParticipantId) {
        self.registering.remove(participant);
        let Some(known) = self.participants.get_mut(participant) else { return };
        known.connected = None;
        known.row.last_seen = now.wall;
        if !known.met {
            self.strangers.add(known.caller, now.wall, participant.clone());
        }
        let (row, remarks) = (known.row.clone(), known.remarks.clone());
        self.out.push(Effect::Participant(row, None, remarks));
        let conditions = vec![self.fence()];
        let writes = vec![Write::LastSeen(participant.clone(), now.wall)];
        self.apply(Transaction { conditions, writes }, Pending::Nothing);
        self.set_delivery_timer(participant, None);
        self.unanswered(now, participant);
    }
}

/// The row after this registration: a new epoch, and the old lineage only if the journal is provably the same
/// and went on. Whoever is not known goes on from what was `forgotten`.
fn next_row(
    now: Now,
    before: Option<&ParticipantRow>,
    forgotten: (Epoch, Lineage),
    register: &Register,
) -> ParticipantRow {
    let same = before.is_some_and(|row| {
        (!register.journal_id.is_empty() || planted(Planted::JournalLessKeepsLineage))
            && row.journal_id == register.journal_id
            && (row.journal_sequence <= register.journal_sequence
                || planted(Planted::JournalWentBackKept)
                || planted(Planted::JournalLessKeepsLineage) && register.journal_id.is_empty())
    });
    let (Epoch(epoch), Lineage(lineage)) = before.map_or(forgotten, |row| (row.epoch, row.lineage));
    ParticipantRow {
        id: register.participant.clone(),
        display_name: register.display_name.clone(),
        time_zone: register.time_zone.clone(),
        epoch: Epoch(epoch + 1),
        lineage: Lineage(lineage + i64::from(!same)),
        journal_id: register.journal_id.clone(),
        journal_sequence: register.journal_sequence,
        last_seen: now.wall,
    }
}
