//! Registration is reconciliation (PROTOCOL.md): sessions, epochs, lineages, and every difference settled.

use super::*;
use crate::core::message::{AckKind, Booking, Promise, Register, Registered, ReleaseCause};
use crate::core::record::{AttemptState, BookingRow, DeliveryBody, ParticipantPromises, Reported};

/// A registration whose promises are being read.
#[derive(Clone, Debug)]
pub(super) struct Registering {
    session: SessionId,
    register: Register,
    new_lineage: bool,
    /// It spoke over this stream before: the process is the same, and has or will have what is sent to it over it.
    same_stream: bool,
    /// Whether bookings may have changed since the read was handed in: then it is read again.
    stale: bool,
    /// Votes for these came in behind the registration, which can't report them yet.
    heard: BTreeSet<Attempt>,
    /// What it reports and the store has not been asked about yet.
    unread: Vec<Attempt>,
    /// What is read already of the rest, where it reports more than one read asks about.
    reported: Reported,
}

impl Registering {
    pub(super) fn is_over(&self, session: SessionId) -> bool {
        self.session == session
    }
}

/// For whom a stream speaks.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    now: BTreeSet<ParticipantId>,
    /// How often somebody joined: whoever comes and goes under names without end is to find one, too.
    joined: usize,
}

impl Members {
    /// Whether there is room for this participant.
    fn admit(&mut self, participant: &ParticipantId) -> bool {
        if self.now.contains(participant) {
            return true;
        }
        let room = self.joined < limits::PARTICIPANTS_PER_SESSION;
        if room {
            self.joined += 1;
            self.now.insert(participant.clone());
        }
        room
    }
}

/// A registration that is on its way to the store, and what follows.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    participant: ParticipantId,
    session: SessionId,
    epoch: Epoch,
    registered: Registered,
    /// Confirms of what the agent lacks.
    install: Vec<Delivery>,
    /// Live attempts whose hold is sent again.
    again: Vec<Attempt>,
    /// Live attempts whose vote is gone.
    gone: Vec<Attempt>,
    /// Live attempts whose lease is over at the agent.
    lease_over: Vec<Attempt>,
    /// Decided attempts that the agent has to be told of.
    tell: Vec<Attempt>,
    /// Holds that the store does not know.
    unknown: Vec<Attempt>,
    /// What it reports and is over: released before it gets what it lacks, which may lie in the same hour.
    over: Vec<Delivery>,
    withdrawn: Vec<(Attempt, String)>,
    /// Withdrawals from attempts that the store does not know.
    withdrawn_unknown: Vec<(Attempt, String)>,
}

impl Coordinator {
    pub(super) fn register(&mut self, now: Now, session: SessionId, register: Register) {
        let participant = register.participant.clone();
        let newer =
            |known: &Known| known.connected.as_ref().is_some_and(|connected| connected.session > session);
        if let Some(known) = self
            .participants
            .get(&participant)
            .filter(|known| register.origin.is_late(&known.origin) || newer(known))
        {
            // The same process has registered since: nobody listens on this stream any more, or it says it twice. Or a
            // stream that was opened later speaks: whoever spoke over this one may be dead, and so may what follows.
            self.counters.stale += 1;
            let here = known.connected.as_ref().is_some_and(|connected| connected.session == session);
            let superseded = SchedulerMessage::Superseded { epoch: known.row.epoch };
            return match here {
                true => {}
                false => self.out.push(Effect::Send(session, vec![participant], superseded, None)),
            };
        }
        let room =
            self.participants.len() < limits::PARTICIPANTS || self.participants.contains_key(&participant);
        if !room || !self.sessions.entry(session).or_default().admit(&participant) {
            return self.out.push(Effect::Reject(session, participant, Rejected::TooManyParticipants));
        }
        self.check_generation(&register);
        let before = self.participants.get(&participant).map(|known| known.row.clone());
        let row = next_row(now, before.as_ref(), &register);
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
        let zone = ZoneMatch::between(row.time_zone.as_deref(), register.zone_data.as_ref());
        let remarks = Remarks { zone, calendar_problem: register.calendar_problem.clone() };
        self.participants
            .insert(participant.clone(), Known { row, settled, remarks, origin, connected: Some(connected) });
        let registering = Registering {
            session,
            register,
            new_lineage,
            same_stream,
            stale: false,
            heard: BTreeSet::new(),
            unread: Vec::new(),
            reported: Reported::new(),
        };
        self.registering.insert(participant.clone(), registering);
        if new_lineage {
            self.counters.lineages += u64::from(other);
            self.void_votes(now, &participant);
        }
        self.read_promises(now, participant);
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
            self.reconcile(now, &participant, epoch, promises);
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
        if seen >= limits::GENERATION_BELIEVED || seen - self.generation > limits::GENERATION_JUMP {
            return;
        }
        let next = seen + 1;
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
            if let Some(members) = self.sessions.get_mut(&connected.session) {
                members.now.remove(participant);
            }
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

    /// A new life of the journal: votes of the older one are void, at once (I7).
    fn void_votes(&mut self, now: Now, participant: &ParticipantId) {
        if planted(Planted::OldLineageCounted) || planted(Planted::GoneVoteKept) {
            return;
        }
        for attempt in self.held.get(participant).cloned().unwrap_or_default() {
            if self.ballot(&attempt, participant) == Some(Ballot::Yes) {
                self.strike(now, participant, &attempt);
            }
        }
    }

    fn ballot(&self, attempt: &Attempt, participant: &ParticipantId) -> Option<Ballot> {
        self.holding(attempt)?.ballots.get(participant).cloned()
    }

    /// What the store has is known: settle every difference, in one transaction.
    fn reconcile(
        &mut self,
        now: Now,
        participant: &ParticipantId,
        epoch: Epoch,
        promises: ParticipantPromises,
    ) {
        let Some(registering) = self.registering.remove(participant) else { return };
        let row = match self.participants.get(participant) {
            Some(known) => known.row.clone(),
            None => return,
        };
        let mut writes = vec![Write::Participant(row.clone())];
        let mut admission = Admission {
            participant: participant.clone(),
            session: registering.session,
            epoch,
            registered: Registered {
                participant: participant.clone(),
                epoch,
                lineage: row.lineage,
                bookings: Vec::new(),
                generation: self.generation,
                incarnation: self.incarnation.clone(),
            },
            install: Vec::new(),
            again: Vec::new(),
            gone: Vec::new(),
            lease_over: Vec::new(),
            tell: Vec::new(),
            unknown: Vec::new(),
            over: Vec::new(),
            withdrawn: Vec::new(),
            withdrawn_unknown: Vec::new(),
        };
        let withdrawn = registering.register.withdrawn.iter().cloned();
        (admission.withdrawn, admission.withdrawn_unknown) =
            withdrawn.partition(|(attempt, _)| promises.is_known(attempt));
        if registering.new_lineage && !registering.same_stream {
            writes.extend(self.drop_releases(participant));
        }
        self.settle_held(now, &registering, &promises, &mut admission);
        self.settle_booked(now, &registering, &promises, &mut admission);
        writes.extend(admission.over.iter().cloned().map(Write::Delivery));
        self.settle_missing(&registering, promises.booked, &mut admission, &mut writes);
        let conditions = vec![self.fence()];
        self.apply(Transaction { conditions, writes }, Pending::Registered(Box::new(admission)));
    }

    /// Releases to an older life of the journal concern nobody any more.
    fn drop_releases(&mut self, participant: &ParticipantId) -> Vec<Write> {
        let all = self.undelivered.get(participant).into_iter().flatten();
        let release = |e: &Undelivered| matches!(e.delivery.body, DeliveryBody::Release(_));
        let dropped: Vec<Attempt> = all.filter(|(_, e)| release(e)).map(|(a, _)| a.clone()).collect();
        for attempt in &dropped {
            self.forget_delivery(participant, attempt);
        }
        dropped
            .into_iter()
            .map(|attempt| Write::RemoveDelivery(participant.clone(), attempt, AckKind::Release))
            .collect()
    }

    fn settle_held(
        &self,
        now: Now,
        registering: &Registering,
        promises: &ParticipantPromises,
        admission: &mut Admission,
    ) {
        let participant = &registering.register.participant;
        let booked: BTreeSet<&Attempt> = promises.booked.iter().map(|booking| &booking.attempt).collect();
        for held in &registering.register.held {
            let attempt = &held.attempt;
            match self.ballot(attempt, participant) {
                Some(Ballot::Yes) if planted(Planted::OldLineageCounted) => {}
                // Its vote counts only if it was cast in this life of the journal.
                Some(Ballot::Struck) => admission.tell.push(attempt.clone()),
                Some(_) if registering.new_lineage => admission.gone.push(attempt.clone()),
                Some(_) if held.lease_over => admission.lease_over.push(attempt.clone()),
                Some(Ballot::Yes) => {}
                Some(_) => admission.again.push(attempt.clone()),
                None if booked.contains(attempt) => {}
                None if !promises.is_known(attempt) => admission.unknown.push(attempt.clone()),
                None => admission.tell_or_release(now, promises, attempt),
            }
        }
        let held: BTreeSet<&Attempt> = registering.register.held.iter().map(|held| &held.attempt).collect();
        for booking in &promises.booked {
            if held.contains(&booking.attempt) {
                admission.registered.bookings.push(booking.clone());
            }
        }
    }

    fn settle_booked(
        &mut self,
        now: Now,
        registering: &Registering,
        promises: &ParticipantPromises,
        admission: &mut Admission,
    ) {
        let standing: BTreeSet<&Attempt> = promises.booked.iter().map(|booking| &booking.attempt).collect();
        let (mut unknown, mut undecided) = (Vec::new(), Vec::new());
        for booked in &registering.register.booked {
            let attempt = &booked.attempt;
            if standing.contains(attempt) {
                continue;
            }
            let row = promises.row(attempt).map(|(row, _)| row);
            // It took place: there is nothing to settle any more.
            let ours = |row: &&AttemptRow| row.commit_set.contains(booked_by(registering));
            if row
                .filter(ours)
                .is_some_and(|row| row.state == AttemptState::Committed && row.blocked.end <= now.wall)
            {
                continue;
            }
            match row.map(|row| row.state) {
                // Kept busy: a booking that was answered never vanishes without a cause that is on disk (I3).
                None => unknown.push(attempt),
                Some(AttemptState::Holding) => undecided.push(attempt),
                Some(AttemptState::Committed | AttemptState::Aborted | AttemptState::Superseded) => {
                    admission.tell_or_release(now, promises, attempt);
                }
            }
        }
        let participant = booked_by(registering);
        if !unknown.is_empty() {
            self.alarm(format!("{participant} has bookings that are not known: {}", some_of(&unknown)));
        }
        if !undecided.is_empty() {
            self.alarm(format!("{participant} has booked what is undecided: {}", some_of(&undecided)));
        }
    }

    /// What the scheduler has and the agent hasn't.
    fn settle_missing(
        &mut self,
        registering: &Registering,
        booked: Vec<Booking>,
        admission: &mut Admission,
        writes: &mut Vec<Write>,
    ) {
        let participant = &registering.register.participant;
        let register = &registering.register;
        let promised: BTreeSet<&Attempt> =
            register.held.iter().chain(&register.booked).map(|promise| &promise.attempt).collect();
        let reports = |attempt: &Attempt| promised.contains(attempt) || registering.heard.contains(attempt);
        let left: BTreeSet<&Attempt> = register.withdrawn.iter().map(|(attempt, _)| attempt).collect();
        let has: BTreeMap<&Attempt, &Promise> =
            register.booked.iter().rev().map(|promise| (&promise.attempt, promise)).collect();
        let mut lost = Vec::new();
        for booking in booked {
            // A journal that begins a new life may have older details, and so may one that names another revision.
            let has = has.get(&booking.attempt);
            let outdated = has.is_some_and(|p| {
                registering.new_lineage || p.revision != 0 && p.revision != booking.revision
            });
            if reports(&booking.attempt) && !outdated || left.contains(&booking.attempt) {
                continue;
            }
            // A confirm that was never acknowledged may never have been heard, like the answer to a registration that brought
            // the booking to a journal in its new life.
            let unheard = self.is_undelivered(participant, &booking.attempt);
            if !registering.new_lineage && !outdated && !unheard {
                lost.push(booking.attempt.clone());
            }
            let body = DeliveryBody::Confirm { booking: Arc::new(booking.clone()), displaces: Vec::new() };
            let delivery =
                Delivery { participant: participant.clone(), attempt: booking.attempt.clone(), body };
            writes.push(Write::Delivery(delivery.clone()));
            admission.install.push(delivery);
            if !planted(Planted::ReadyBeforeBookings) {
                admission.registered.bookings.push(booking);
            }
        }
        if !lost.is_empty() {
            let lost = some_of(&lost.iter().collect::<Vec<_>>());
            self.alarm(format!("{participant} lost bookings from its journal: {lost}"));
        }
        for attempt in self.held.get(participant).cloned().unwrap_or_default() {
            match self.ballot(&attempt, participant) {
                _ if reports(&attempt) => {}
                Some(Ballot::Yes) if planted(Planted::GoneVoteKept) => {}
                Some(Ballot::Yes) => admission.gone.push(attempt),
                Some(Ballot::Waiting) => admission.again.push(attempt),
                _ => {}
            }
        }
    }

    pub(super) fn is_undelivered(&self, participant: &ParticipantId, attempt: &Attempt) -> bool {
        self.undelivered.get(participant).is_some_and(|all| all.contains_key(attempt))
    }

    /// The registration is on disk: the participant may be asked from now on.
    pub(super) fn admitted(&mut self, now: Now, admission: Admission, applied: &Applied) {
        let participant = admission.participant.clone();
        if let Applied::Conflict(condition) = applied {
            return self.alarm(format!("{participant}: a registration was refused: {condition:?}"));
        }
        let mut carried: Vec<Attempt> =
            admission.registered.bookings.iter().map(|b| b.attempt.clone()).collect();
        for delivery in admission.install {
            if !self.is_undelivered(&participant, &delivery.attempt) {
                self.confirms.entry(delivery.attempt.clone()).or_insert((0, None)).0 += 1;
            }
            self.note_delivery(now, delivery);
        }
        for delivery in &admission.over {
            self.note_delivery(now, delivery.clone());
        }
        let Some(known) = self.participants.get_mut(&participant) else { return };
        let Some(connected) = known.connected.as_mut().filter(|c| c.epoch == admission.epoch) else { return };
        connected.ready = true;
        known.settled = Some(admission.registered.lineage);
        let (row, since, remarks) = (known.row.clone(), connected.since, known.remarks.clone());
        self.out.push(Effect::Participant(row, Some(since), remarks));
        for delivery in admission.over {
            self.send_delivery(now, &participant, &delivery.attempt);
            carried.push(delivery.attempt);
        }
        let message = SchedulerMessage::Registered(Box::new(admission.registered));
        self.out.push(Effect::Send(admission.session, vec![participant.clone()], message, None));
        self.deliver_all(now, &participant, &carried);
        for attempt in admission.gone {
            self.strike(now, &participant, &attempt);
            self.tell(now, &participant, attempt);
        }
        for attempt in admission.lease_over {
            self.resolve(now, participant.clone(), attempt);
        }
        for attempt in admission.again {
            self.hold_again(&participant, &attempt);
        }
        for attempt in admission.tell {
            self.tell(now, &participant, attempt);
        }
        for attempt in admission.unknown {
            match self.holding(&attempt).is_some_and(|h| h.row.asked.contains(&participant)) {
                false => self.settle(now, &participant, &attempt, None),
                true => self.tell(now, &participant, attempt),
            }
        }
        for (attempt, reason) in admission.withdrawn_unknown {
            match self.live.contains_key(&attempt.meeting) || self.changing.contains_key(&attempt.meeting) {
                true => self.withdraw(now, participant.clone(), attempt.meeting, Some(attempt.n), reason),
                false => self.release_withdrawn(now, participant.clone(), attempt, false),
            }
        }
        for (attempt, reason) in admission.withdrawn {
            self.withdraw(now, participant.clone(), attempt.meeting, Some(attempt.n), reason);
        }
        for id in self.connecting.clone() {
            self.connect(now, &id);
        }
    }

    /// Tells an agent what became of an attempt that it has, and whose vote does not count.
    fn tell(&mut self, now: Now, participant: &ParticipantId, attempt: Attempt) {
        match self.holding(&attempt) {
            // Its decision is on its way to the disk, and with it what this agent has to be told.
            Some(_) if !self.is_open(&attempt) => {}
            Some(_) => {
                let cause = crate::core::message::ReleaseCause::Aborted;
                self.release_one(now, participant.clone(), attempt, cause);
            }
            None => self.ask_what_became(participant.clone(), attempt),
        }
    }

    pub(super) fn unregister(&mut self, now: Now, session: SessionId, participant: &ParticipantId) {
        if let Some(members) = self.sessions.get_mut(&session) {
            members.now.remove(participant);
        }
        self.gone(now, participant);
    }

    /// A stream is gone, and with it everyone on it. What they promised stands.
    pub(super) fn session_closed(&mut self, now: Now, session: SessionId) {
        for participant in self.sessions.remove(&session).unwrap_or_default().now {
            self.gone(now, &participant);
        }
    }

    fn gone(&mut self, now: Now, participant: &ParticipantId) {
        self.registering.remove(participant);
        let Some(known) = self.participants.get_mut(participant) else { return };
        known.connected = None;
        known.row.last_seen = now.wall;
        let (row, remarks) = (known.row.clone(), known.remarks.clone());
        self.out.push(Effect::Participant(row, None, remarks));
        let conditions = vec![self.fence()];
        let writes = vec![Write::LastSeen(participant.clone(), now.wall)];
        self.apply(Transaction { conditions, writes }, Pending::Nothing);
        self.set_delivery_timer(participant, None);
        self.unanswered(now, participant);
    }
}

impl Admission {
    /// What is over for good is released with the registration itself; of everything else the store is asked.
    fn tell_or_release(&mut self, now: Now, promises: &ParticipantPromises, attempt: &Attempt) {
        let of_theirs = |row: &AttemptRow| row.commit_set.contains(&self.participant);
        let cause = match promises.row(attempt) {
            Some((row, _)) if row.state == AttemptState::Aborted => ReleaseCause::Aborted,
            Some((row, state)) if row.state == AttemptState::Superseded => deliver::superseded_by(*state),
            Some((row, _)) if row.state == AttemptState::Committed && !of_theirs(row) => {
                ReleaseCause::NotNeeded
            }
            // It left, or was taken out: callers have looked for its booking. What took place is told otherwise.
            Some((row, _)) if row.state == AttemptState::Committed && row.blocked.end > now.wall => {
                ReleaseCause::Withdrawn
            }
            _ => return self.tell.push(attempt.clone()),
        };
        let body = DeliveryBody::Release(cause);
        self.over.push(Delivery { participant: self.participant.clone(), attempt: attempt.clone(), body });
    }
}

impl ParticipantPromises {
    /// The row of an attempt that the agent reported, and where its meeting is in its life.
    fn row(&self, attempt: &Attempt) -> Option<&(AttemptRow, MeetingState)> {
        self.reported.get(attempt).and_then(Option::as_ref)
    }

    fn is_known(&self, attempt: &Attempt) -> bool {
        self.row(attempt).is_some()
    }
}

/// The first few of them, and how many more there are.
fn some_of(attempts: &[&Attempt]) -> String {
    const NAMED: usize = 3;
    let named: Vec<String> = attempts.iter().take(NAMED).map(ToString::to_string).collect();
    match attempts.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn booked_by(registering: &Registering) -> &ParticipantId {
    &registering.register.participant
}

/// The row after this registration: a new epoch, and the old lineage only if the journal is provably the same
/// and went on.
fn next_row(now: Now, before: Option<&ParticipantRow>, register: &Register) -> ParticipantRow {
    let same = before.is_some_and(|row| {
        (!register.journal_id.is_empty() || planted(Planted::JournalLessKeepsLineage))
            && row.journal_id == register.journal_id
            && (row.journal_sequence <= register.journal_sequence
                || planted(Planted::JournalWentBackKept)
                || planted(Planted::JournalLessKeepsLineage) && register.journal_id.is_empty())
    });
    let (epoch, lineage) = before.map_or((0, 0), |row| (row.epoch.0, row.lineage.0));
    ParticipantRow {
        id: register.participant.clone(),
        display_name: register.display_name.clone(),
        time_zone: register.time_zone.clone(),
        epoch: Epoch(epoch + 1),
        lineage: super::super::ids::Lineage(lineage + i64::from(!same)),
        journal_id: register.journal_id.clone(),
        journal_sequence: register.journal_sequence,
        last_seen: now.wall,
    }
}
