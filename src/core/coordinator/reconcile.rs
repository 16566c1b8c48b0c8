//! What a registration reports, and what the store has of the same participant: every difference settled in one
//! transaction (PROTOCOL.md, "Registration is reconciliation").

use super::register::Registering;
use super::*;
use crate::core::message::{AckKind, Booking, Promise, Registered, ReleaseCause};
use crate::core::record::{AttemptState, DeliveryBody, ParticipantPromises};

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
    /// What the store has is known: settle every difference, in one transaction.
    pub(super) fn reconcile(
        &mut self,
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
        self.settle_held(&registering, &promises, &mut admission);
        self.settle_booked(&registering, &promises, &mut admission);
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
                None => admission.tell_or_release(registering.after, promises, attempt),
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
            if row.filter(ours).is_some_and(|row| {
                row.state == AttemptState::Committed && row.blocked.end <= registering.after
            }) {
                continue;
            }
            match row.map(|row| row.state) {
                // Kept busy: a booking that was answered never vanishes without a cause that is on disk (I3).
                None => unknown.push(attempt),
                Some(AttemptState::Holding) => undecided.push(attempt),
                Some(AttemptState::Committed | AttemptState::Aborted | AttemptState::Superseded) => {
                    admission.tell_or_release(registering.after, promises, attempt);
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
}

impl Admission {
    /// What is over for good is released with the registration itself; of everything else the store is asked.
    fn tell_or_release(&mut self, after: Instant, promises: &ParticipantPromises, attempt: &Attempt) {
        let of_theirs = |row: &AttemptRow| row.commit_set.contains(&self.participant);
        let cause = match promises.row(attempt) {
            Some((row, _)) if row.state == AttemptState::Aborted => ReleaseCause::Aborted,
            Some((row, state)) if row.state == AttemptState::Superseded => deliver::superseded_by(*state),
            Some((row, _)) if row.state == AttemptState::Committed && !of_theirs(row) => {
                ReleaseCause::NotNeeded
            }
            // It left, or was taken out: callers have looked for its booking. What took place is told otherwise.
            Some((row, _)) if row.state == AttemptState::Committed && row.blocked.end > after => {
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
