//! Confirms and releases: durable until acknowledged (D5), and what became of an attempt for an agent that asks.

use super::*;
use crate::core::message::{AckKind, ReleaseCause};
use crate::core::model::{AttendeeStatus, EventKind};
use crate::core::record::{AttemptState, DeliveryBody};
use crate::core::trace::Outcome;

impl Coordinator {
    /// Takes over a delivery that is on disk now, and sends it if its participant is there.
    pub(super) fn queue_delivery(&mut self, now: Now, delivery: Delivery) {
        self.note_delivery(now, delivery.clone());
        self.send_delivery(now, &delivery.participant, &delivery.attempt);
    }

    /// Deliveries are noted in the order of the store's answers, so that memory has what the store has.
    pub(super) fn note_delivery(&mut self, now: Now, delivery: Delivery) {
        let pause = limits::REDELIVER_MIN;
        let trace = self.tracer.of_delivery(&delivery.attempt);
        let entry = Undelivered { delivery: delivery.clone(), next: now.mono + pause, pause, trace };
        self.undelivered
            .entry(delivery.participant.clone())
            .or_default()
            .insert(delivery.attempt.clone(), entry);
    }

    /// The attempt is superseded: its confirms say nothing any more. A release of it still has to be heard.
    pub(super) fn forget_confirms(&mut self, attempt: &Attempt, of: &[ParticipantId]) {
        for participant in of {
            let entry = self.undelivered.get(participant).and_then(|all| all.get(attempt));
            if entry.is_some_and(|e| e.delivery.body.kind() == AckKind::Confirm) {
                self.forget_delivery(participant, attempt);
            }
        }
    }

    pub(super) fn forget_delivery(&mut self, participant: &ParticipantId, attempt: &Attempt) {
        if let Some(all) = self.undelivered.get_mut(participant) {
            all.remove(attempt);
            if all.is_empty() {
                self.undelivered.remove(participant);
            }
        }
    }

    /// Sends one delivery, if the participant is there.
    pub(super) fn send_delivery(&mut self, now: Now, participant: &ParticipantId, attempt: &Attempt) {
        let session = self.ready(participant);
        let of = self.undelivered.get_mut(participant);
        let (Some(session), Some(entry)) = (session, of.and_then(|all| all.get_mut(attempt))) else { return };
        entry.next = now.mono + entry.pause;
        let at = entry.next;
        let message = match &entry.delivery.body {
            DeliveryBody::Confirm { booking, displaces } => {
                SchedulerMessage::Confirm { booking: booking.clone(), displaces: displaces.clone() }
            }
            DeliveryBody::Release(cause) => {
                SchedulerMessage::Release { attempt: attempt.clone(), cause: *cause }
            }
        };
        let trace = entry.trace.clone();
        self.out.push(Effect::Send(session, vec![participant.clone()], message, trace));
        if planted(Planted::ForgottenBeforeAck) {
            return self.forget_sent(participant, attempt);
        }
        if self.timer_keys.participants.get(participant).and_then(|(_, at)| *at).is_none_or(|t| t > at) {
            self.set_delivery_timer(participant, Some(at));
        }
    }

    /// Planted: what was sent once is forgotten.
    fn forget_sent(&mut self, participant: &ParticipantId, attempt: &Attempt) {
        self.forget_delivery(participant, attempt);
        let gone = |kind| Write::RemoveDelivery(participant.clone(), attempt.clone(), kind);
        let writes = vec![gone(AckKind::Confirm), gone(AckKind::Release)];
        self.apply(Transaction { conditions: Vec::new(), writes }, Pending::Nothing);
    }

    /// Sends again what was not acknowledged in time.
    pub(super) fn redeliver(&mut self, now: Now, participant: &ParticipantId) {
        if self.ready(participant).is_none() {
            return;
        }
        let Some(all) = self.undelivered.get_mut(participant) else { return };
        let mut due = Vec::new();
        for (attempt, entry) in all.iter_mut() {
            if entry.next <= now.mono {
                entry.pause = (entry.pause * 2).min(limits::REDELIVER_MAX);
                due.push(attempt.clone());
            }
        }
        let next = all.values().filter(|e| e.next > now.mono).map(|e| e.next).min();
        self.set_delivery_timer(participant, next);
        for attempt in due {
            self.send_delivery(now, participant, &attempt);
        }
    }

    /// Everything that waits for a participant who just came back, but for what its registration carried.
    pub(super) fn deliver_all(&mut self, now: Now, participant: &ParticipantId, carried: &[Attempt]) {
        let all = self.undelivered.get(participant).into_iter().flat_map(|all| all.keys());
        let attempts: Vec<Attempt> = all.filter(|a| !carried.contains(a)).cloned().collect();
        for attempt in attempts {
            self.send_delivery(now, participant, &attempt);
        }
        let next = self.undelivered.get(participant).and_then(|all| all.values().map(|e| e.next).min());
        self.set_delivery_timer(participant, next);
    }

    /// An acknowledgement: the delivery is done (D5).
    pub(super) fn acked(
        &mut self,
        now: Now,
        participant: ParticipantId,
        attempt: Attempt,
        kind: AckKind,
        revision: u64,
    ) {
        let entry = self.undelivered.get(&participant).and_then(|all| all.get(&attempt));
        let answers = |body: &DeliveryBody| match body {
            DeliveryBody::Confirm { booking, .. } => revision == 0 || revision == booking.revision,
            DeliveryBody::Release(_) => true,
        };
        // An ack of what was said before ends neither what is said now nor what is on its way to the disk.
        let key = (participant, attempt);
        let outdated = self.delivered_anew.contains_key(&key);
        let (participant, attempt) = key;
        if outdated || entry.is_none_or(|e| e.delivery.body.kind() != kind || !answers(&e.delivery.body)) {
            self.counters.stale += 1;
            return;
        }
        self.forget_delivery(&participant, &attempt);
        let mut writes = vec![Write::RemoveDelivery(participant.clone(), attempt.clone(), kind)];
        if kind == AckKind::Confirm {
            writes.push(Write::BookingDelivered(participant.clone(), attempt.clone()));
        }
        if let Some(row) = self.participants.get(&participant).map(|known| &known.row) {
            writes.push(Write::JournalSeen(participant, row.lineage, row.journal_sequence));
        }
        let conditions = vec![self.fence()];
        self.apply(Transaction { conditions, writes }, Pending::Nothing);
        if kind == AckKind::Confirm {
            self.confirm_acked(now, &attempt);
        }
    }

    /// A confirm is on disk once more for an agent that asked. Its acknowledgement counts for that confirm, not for
    /// somebody else's.
    pub(super) fn told_again(&mut self, now: Now, confirm: Delivery) {
        let unheard = self.is_undelivered(&confirm.participant, &confirm.attempt);
        if let Some((left, _)) = self.confirms.get_mut(&confirm.attempt).filter(|_| !unheard) {
            *left += 1;
        }
        self.queue_delivery(now, confirm);
    }

    /// A participant left a booking. The others are waited for without it, and the meeting is not what was decided any more.
    pub(super) fn left(&mut self, now: Now, release: Delivery) {
        let (participant, attempt) = (release.participant.clone(), release.attempt.clone());
        let open = self.undelivered.get(&participant).and_then(|all| all.get(&attempt));
        let unheard = open.is_some_and(|entry| entry.delivery.body.kind() == AckKind::Confirm);
        self.queue_delivery(now, release);
        if let Some((_, meeting)) = self.confirms.get_mut(&attempt) {
            *meeting = None;
        }
        if unheard {
            self.confirm_acked(now, &attempt);
        }
    }

    fn confirm_acked(&mut self, now: Now, attempt: &Attempt) {
        let Some((left, _)) = self.confirms.get_mut(attempt) else { return };
        *left = left.saturating_sub(1);
        if *left > 0 {
            return;
        }
        self.tracer.delivered(attempt, Outcome::Done);
        match self.confirms.remove(attempt) {
            Some((_, Some(meeting))) => self.all_delivered(now, attempt, Meeting::clone(&meeting)),
            _ => self.read(Read::Meeting(attempt.meeting.clone()), Pending::ReadDelivered(attempt.clone())),
        }
    }

    /// All agents acknowledged the booking: an event says so.
    pub(super) fn all_delivered(&mut self, now: Now, attempt: &Attempt, mut meeting: Meeting) {
        if meeting.booked != Some(attempt.n) {
            return;
        }
        for outcome in &mut meeting.attendees {
            outcome.delivered = outcome.status == AttendeeStatus::Attending;
        }
        meeting.update_time = now.wall;
        let writes = vec![event(EventKind::Delivered, &meeting)];
        let conditions = vec![self.fence()];
        self.apply(Transaction { conditions, writes }, Pending::Nothing);
    }

    /// Releases one participant from an attempt: on disk first, then sent until acknowledged.
    pub(super) fn release_one(
        &mut self,
        now: Now,
        participant: ParticipantId,
        attempt: Attempt,
        cause: ReleaseCause,
    ) {
        let delivery = Delivery { participant, attempt, body: DeliveryBody::Release(cause) };
        let key = (delivery.participant.clone(), delivery.attempt.clone());
        let same = self.undelivered.get(&key.0).and_then(|all| all.get(&key.1));
        if same.is_some_and(|e| e.delivery.body == delivery.body) {
            return self.send_delivery(now, &key.0, &key.1);
        }
        let conditions = vec![self.fence()];
        let writes = vec![Write::Delivery(delivery.clone())];
        self.apply(Transaction { conditions, writes }, Pending::Deliver(vec![delivery]));
    }

    /// Releases somebody who withdrew. It is on disk only if the attempt had something to do with them: numbers that were
    /// made up must not fill it, and whoever withdrew says so until they hear the release.
    pub(super) fn release_withdrawn(
        &mut self,
        now: Now,
        participant: ParticipantId,
        attempt: Attempt,
        asked: bool,
    ) {
        let owed = self.undelivered.get(&participant).is_some_and(|all| all.contains_key(&attempt));
        match asked || owed {
            true => self.release_one(now, participant, attempt, ReleaseCause::Withdrawn),
            false => self.release_unknown(participant, attempt, ReleaseCause::Withdrawn),
        }
    }

    /// Releases an attempt that the store does not know. Nothing has to outlast a crash, as the agent asks until it hears it,
    /// and whoever asks about attempts that never were must not fill the disk.
    pub(super) fn release_unknown(
        &mut self,
        participant: ParticipantId,
        attempt: Attempt,
        cause: ReleaseCause,
    ) {
        self.send_all([participant], &SchedulerMessage::Release { attempt, cause });
    }

    /// An agent holds an attempt that is not live: what the store says of it decides.
    pub(super) fn ask_what_became(&mut self, participant: ParticipantId, attempt: Attempt) {
        self.read(Read::Attempt(attempt.clone()), Pending::ReadAttempt { participant, attempt });
    }

    /// Tells an agent what became of an attempt (the table of "Registration is reconciliation").
    pub(super) fn settle(
        &mut self,
        now: Now,
        participant: &ParticipantId,
        attempt: &Attempt,
        found: Option<(AttemptRow, Meeting)>,
    ) {
        let waiting = self.undelivered.get(participant).and_then(|all| all.get(attempt));
        if waiting.is_some() {
            return self.send_delivery(now, participant, attempt);
        }
        let (participant, attempt) = (participant.clone(), attempt.clone());
        // Nor is anything kept for somebody who was never asked for it.
        let Some((row, meeting)) = found.filter(|(row, _)| row.asked.contains(&participant)) else {
            return self.release_unknown(participant, attempt, ReleaseCause::Aborted);
        };
        let joins = planted(Planted::CommitSetRecomputed);
        let booked = row.commit_set.contains(&participant) || joins;
        let attending = |o: &AttendeeOutcome| o.id == participant && o.status == AttendeeStatus::Attending;
        let attends = meeting.attendees.iter().any(attending) || joins;
        let cause = match row.state {
            // Its abort or decision is on its way, and with it the delivery. Else nobody works on it any more.
            AttemptState::Holding if self.holding(&attempt).is_some() || self.aborting.contains(&attempt) => {
                return;
            }
            AttemptState::Holding => return self.abort_found(&row),
            AttemptState::Committed if booked && attends => {
                let attends = |o: &&AttendeeOutcome| o.status == AttendeeStatus::Attending;
                let attending = meeting.attendees.iter().filter(attends).map(|o| o.id.clone()).collect();
                let booking = Arc::new(decide::booking_of(&meeting, &row, attending));
                let body = DeliveryBody::Confirm { booking, displaces: row.displaces.clone() };
                return self.tell_booked(&meeting, Delivery { participant, attempt, body });
            }
            AttemptState::Committed if booked => ReleaseCause::Withdrawn,
            AttemptState::Committed => ReleaseCause::NotNeeded,
            AttemptState::Aborted => ReleaseCause::Aborted,
            AttemptState::Superseded => superseded_by(meeting.state),
        };
        self.release_one(now, participant, attempt, cause);
    }

    /// Confirms once more, if the meeting is still as it was read: a confirm must not replace a release.
    fn tell_booked(&mut self, meeting: &Meeting, delivery: Delivery) {
        let conditions = vec![
            self.fence(),
            Condition::AttemptIs(delivery.attempt.clone(), AttemptState::Committed),
            Condition::MeetingVersion(meeting.id.clone(), meeting.version),
        ];
        let writes = vec![Write::Delivery(delivery.clone())];
        self.apply(Transaction { conditions, writes }, Pending::Tell(delivery));
    }
}

/// Why a booking is over that once stood, by where its meeting is now.
pub(super) fn superseded_by(state: MeetingState) -> ReleaseCause {
    match state {
        MeetingState::Cancelled => ReleaseCause::Cancelled,
        MeetingState::Displaced => ReleaseCause::Displaced,
        MeetingState::Scheduling | MeetingState::Confirmed | MeetingState::Failed => ReleaseCause::Moved,
    }
}
