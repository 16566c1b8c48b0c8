//! Changing a meeting that stands: moving, updating, cancelling, withdrawing. The old slot is given up only in
//! the transaction that wins the new one (overlay).

use std::sync::Arc;

use super::seek::Carry;
use super::*;
use crate::core::message::{AckKind, Notice, ReleaseCause};
use crate::core::model::{Attendee, AttendeeStatus, EventKind, Role};
use crate::core::record::{AttemptState, DeliveryBody};

/// A change without a job, on its way to the store.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    ticket: Ticket,
    meeting: Meeting,
    /// Whose booking and deliveries it replaces.
    attempt: Attempt,
    asked: Vec<ParticipantId>,
    deliveries: Vec<Delivery>,
    /// The command, to be taken up again if the meeting changed meanwhile.
    again: Command,
}

impl Direct {
    pub(super) fn meeting(&self) -> &MeetingId {
        &self.meeting.id
    }
}

impl Coordinator {
    /// Takes a command on a meeting that exists: by its live job, or after its row is read.
    pub(super) fn change_command(&mut self, now: Now, ticket: Ticket, command: Command, deadline: Mono) {
        let id = command.meeting().clone();
        let Some(live) = self.live.get_mut(&id) else {
            return self.read(Read::Meeting(id), Pending::ReadForCommand { ticket, command, deadline });
        };
        match (command, &live.job, &live.phase) {
            (_, Job::Series(_), _) => self.refuse(ticket, Refused::NoSuchMeeting(id)),
            _ if live.group.is_some() => self.refuse(ticket, Refused::BeingChanged),
            (Command::Cancel { version, .. }, _, Phase::Writing { .. }) => {
                live.inbox.push(Inbox::Cancel(ticket, version));
            }
            (Command::Cancel { version, .. }, _, _) => self.cancel_live(now, &id, ticket, version),
            (_, Job::Change { .. }, _) => self.refuse(ticket, Refused::BeingChanged),
            (_, Job::New | Job::Find { .. }, _) => {
                let state = live.meeting.state;
                self.refuse(ticket, Refused::NotConfirmed(state));
            }
        }
    }

    /// The row was read: the command is judged against it.
    pub(super) fn change(
        &mut self,
        now: Now,
        ticket: Ticket,
        command: Command,
        deadline: Mono,
        found: Option<(Meeting, Option<AttemptRow>)>,
    ) {
        let id = command.meeting().clone();
        // What was read is out of date if the meeting is being changed: read again, behind that change.
        if self.live.contains_key(&id) || self.changing.contains_key(&id) {
            return self.change_command(now, ticket, command, deadline);
        }
        let Some((meeting, row)) = found else { return self.refuse(ticket, Refused::NoSuchMeeting(id)) };
        let cancel = matches!(command, Command::Cancel { .. });
        if cancel && meeting.state == MeetingState::Cancelled {
            return self.out.push(Effect::Reply(ticket, Reply::Changed(Box::new(meeting), None)));
        }
        if command.version().is_some_and(|version| version != meeting.version) {
            return self.refuse(ticket, Refused::VersionMismatch);
        }
        if cancel && meeting.state == MeetingState::Failed {
            return self.refuse(ticket, Refused::AlreadyFailed);
        }
        let (MeetingState::Confirmed, Some(row)) = (meeting.state, row) else {
            return self.refuse(ticket, Refused::NotConfirmed(meeting.state));
        };
        match command {
            Command::Cancel { .. } => self.cancel_booked(now, ticket, meeting, &row, command),
            Command::Reschedule { slot, window, duration, options, .. } => {
                let wish = (slot, window, duration, options);
                self.reschedule(now, ticket, meeting, row, wish, deadline);
            }
            Command::Update { .. } => self.update(now, ticket, meeting, row, command, deadline),
            Command::Find { .. }
            | Command::Schedule(_)
            | Command::ScheduleSeries(_)
            | Command::RescheduleSeries { .. }
            | Command::UpdateSeries { .. }
            | Command::CancelSeries { .. }
            | Command::Within(..) => {}
        }
    }

    fn reschedule(
        &mut self,
        now: Now,
        ticket: Ticket,
        meeting: Meeting,
        row: AttemptRow,
        (slot, window, duration, options): (Option<TimeRange>, Option<Window>, Option<Duration>, Options),
        deadline: Mono,
    ) {
        let mut draft = meeting.clone();
        if let Some(window) = window {
            draft.spec.window = window;
        }
        draft.spec.duration = slot.map(|s| s.length()).or(duration).unwrap_or(draft.spec.duration);
        draft.named_slot = slot;
        draft.options = options;
        match self.resolve_window(now, &draft.spec.organizer.clone(), &mut draft.spec.window) {
            Ok(zone) => draft.time_zone = zone,
            Err(refused) => return self.refuse(ticket, refused),
        }
        self.start_change(now, ticket, meeting, row, draft, EventKind::Rescheduled, deadline);
    }

    #[allow(clippy::too_many_arguments)] // the parts of one job
    fn start_change(
        &mut self,
        now: Now,
        ticket: Ticket,
        current: Meeting,
        old: AttemptRow,
        mut draft: Meeting,
        kind: EventKind,
        deadline: Mono,
    ) {
        draft.attempts = 0;
        draft.attempt_log.clear();
        let job = Job::Change { current: Box::new(current), old: Box::new(old), kind };
        self.start_job(now, job, draft, vec![ticket], deadline);
    }

    fn update(
        &mut self,
        now: Now,
        ticket: Ticket,
        current: Meeting,
        row: AttemptRow,
        command: Command,
        deadline: Mono,
    ) {
        let Command::Update { change, options, .. } = &command else { return };
        let mut draft = current.clone();
        let spec = &mut draft.spec;
        spec.title = change.title.clone().unwrap_or_else(|| spec.title.clone());
        spec.displaceable = change.displaceable.unwrap_or(spec.displaceable);
        spec.minimum_participants = change.minimum_participants.unwrap_or(spec.minimum_participants);
        spec.attendees = change.attendees.clone().unwrap_or_else(|| spec.attendees.clone());
        let counted = spec.attendees.iter().filter(|a| a.role != Role::Optional).count();
        if spec.minimum_participants as usize > counted {
            return self.refuse(
                ticket,
                invalid(
                    "spec.minimum_participants",
                    format!(
                        "is {}, but only {counted} attendees are REQUIRED or INVITED",
                        spec.minimum_participants
                    ),
                ),
            );
        }
        if spec.attendees.is_empty() {
            return self
                .refuse(ticket, invalid("spec.attendees", "a meeting that stands can't be emptied".into()));
        }
        let attends = |id: &ParticipantId| {
            current.attendees.iter().any(|o| o.id == *id && o.status == AttendeeStatus::Attending)
        };
        let known = |a: &Attendee| current.spec.attendees.iter().any(|b| b.id == a.id);
        let missing = |a: &&Attendee| !attends(&a.id) && (!known(a) || a.role == Role::Required);
        let added = spec.attendees.iter().any(|a| missing(&a));
        let present = spec.attendees.iter().filter(|a| a.role != Role::Optional && attends(&a.id)).count();
        let quorum_kept =
            present >= spec.quorum() || change.attendees.is_none() && change.minimum_participants.is_none();
        if added || !quorum_kept {
            draft.named_slot = Some(row.slot);
            draft.options = options.clone();
            return self.start_change(now, ticket, current, row, draft, EventKind::Updated, deadline);
        }
        self.update_booked(now, ticket, &current, draft, &row, command);
    }

    /// Nobody new has to be asked: one transaction, and everyone who stays is told the new details.
    fn update_booked(
        &mut self,
        now: Now,
        ticket: Ticket,
        current: &Meeting,
        mut draft: Meeting,
        row: &AttemptRow,
        again: Command,
    ) {
        draft.version += 1;
        draft.update_time = now.wall;
        let before = |id: &ParticipantId| current.attendees.iter().find(|o| o.id == *id);
        draft.attendees = draft
            .spec
            .attendees
            .iter()
            .map(|a| {
                let status = before(&a.id).map_or(AttendeeStatus::NotAsked, |o| o.status);
                let detail = before(&a.id).map(|o| o.detail.clone()).unwrap_or_default();
                AttendeeOutcome { detail, ..AttendeeOutcome::new(a, status) }
            })
            .collect();
        let stays = |id: &&ParticipantId| {
            draft.attendees.iter().any(|o| o.id == **id && o.status == AttendeeStatus::Attending)
        };
        let (staying, leaving): (Vec<_>, Vec<_>) = row.commit_set.iter().partition(stays);
        let names: Vec<ParticipantId> = staying.iter().map(|p| (*p).clone()).collect();
        let booking = Arc::new(decide::booking_of(&draft, row, names));
        let deliver =
            |p: &ParticipantId, body| Delivery { participant: p.clone(), attempt: row.attempt.clone(), body };
        let mut writes = vec![Write::Meeting(Box::new(draft.clone())), event(EventKind::Updated, &draft)];
        let mut deliveries = Vec::new();
        for participant in staying {
            // It takes the place of a confirm that may not have been heard, and has to do all that that one does.
            let displaces = row.displaces.clone();
            let body = DeliveryBody::Confirm { booking: booking.clone(), displaces };
            deliveries.push(deliver(participant, body));
        }
        let attended = |p: &&&ParticipantId| before(p).is_some_and(|o| o.status == AttendeeStatus::Attending);
        for participant in leaving.iter().filter(attended) {
            writes.push(Write::RemoveBookings(row.attempt.clone(), Some((*participant).clone())));
            deliveries.push(deliver(participant, DeliveryBody::Release(ReleaseCause::Cancelled)));
        }
        writes.extend(deliveries.iter().cloned().map(Write::Delivery));
        let direct = Direct {
            ticket,
            meeting: draft,
            attempt: row.attempt.clone(),
            asked: Vec::new(),
            deliveries,
            again,
        };
        self.submit_direct(current, direct, writes);
    }

    fn cancel_booked(
        &mut self,
        now: Now,
        ticket: Ticket,
        meeting: Meeting,
        row: &AttemptRow,
        again: Command,
    ) {
        let (cancelled, deliveries, writes) = cancellation(now, &meeting, Some(row));
        let attempt = row.attempt.clone();
        let asked = row.commit_set.clone();
        let direct = Direct { ticket, meeting: cancelled, attempt, asked, deliveries, again };
        self.submit_direct(&meeting, direct, writes);
    }

    fn submit_direct(&mut self, current: &Meeting, direct: Direct, writes: Vec<Write>) {
        let conditions = vec![self.fence(), Condition::MeetingVersion(current.id.clone(), current.version)];
        *self.changing.entry(current.id.clone()).or_default() += 1;
        self.apply(Transaction { conditions, writes }, Pending::Direct(Box::new(direct)));
    }

    /// A change that no job makes was applied or refused.
    pub(super) fn changed(&mut self, meeting: &MeetingId) {
        if let Some(left) = self.changing.get_mut(meeting) {
            *left -= 1;
            if *left == 0 {
                self.changing.remove(meeting);
            }
        }
    }

    pub(super) fn direct_applied(&mut self, now: Now, direct: Direct, applied: &Applied) {
        if let Applied::Conflict(_) = applied {
            // Somebody else changed the meeting first: judged anew, against what it is now.
            let deadline = now.mono + limits::DEADLINE_DEFAULT;
            return self.change_command(now, direct.ticket, direct.again, deadline);
        }
        let Direct { ticket, meeting, attempt, asked, deliveries, .. } = direct;
        self.forget_confirms(&attempt, &asked);
        self.drop_confirms(&attempt);
        let confirms = deliveries.iter().filter(|d| d.body.kind() == AckKind::Confirm).count();
        let caller = self.traced_by(&ticket);
        self.tracer.changed(caller, &attempt, meeting.slot, confirms);
        if confirms > 0 {
            self.confirms.insert(attempt, (confirms, Some(Arc::new(meeting.clone()))));
        }
        if meeting.state == MeetingState::Cancelled {
            self.notify_cancelled(&meeting, &deliveries);
        }
        for delivery in deliveries {
            self.queue_delivery(now, delivery);
        }
        self.tracer.queued();
        self.out.push(Effect::Reply(ticket, Reply::Changed(Box::new(meeting), None)));
    }

    fn notify_cancelled(&mut self, meeting: &Meeting, deliveries: &[Delivery]) {
        let to: Vec<ParticipantId> = deliveries.iter().map(|d| d.participant.clone()).collect();
        let notice = Notice {
            meeting: meeting.id.clone(),
            kind: NoticeKind::Cancelled,
            message: format!("{:?} was called off", meeting.spec.title),
            slot: meeting.slot,
            title: meeting.spec.title.clone(),
        };
        self.send_all(to, &SchedulerMessage::Notice(Arc::new(notice)));
    }

    /// Cancels a meeting that is being sought or moved; it has no transaction in flight.
    pub(super) fn cancel_live(&mut self, now: Now, id: &MeetingId, ticket: Ticket, version: Option<u64>) {
        let Some(live) = self.live.get_mut(id) else { return };
        let known = match &live.job {
            Job::Find { .. } | Job::Series(_) => {
                return self.refuse(ticket, Refused::NoSuchMeeting(id.clone()));
            }
            Job::Change { current, .. } => current.version,
            Job::New => live.meeting.version,
        };
        if version.is_some_and(|version| version != known) {
            return self.refuse(ticket, Refused::VersionMismatch);
        }
        live.cancels.push(ticket);
        let open = match &live.phase {
            Phase::Holding(holding) => Some(holding.row.attempt.clone()),
            _ => None,
        };
        let carry = open.and_then(|a| self.abort(&a, AttemptOutcome::Aborted, "the meeting was called off"));
        let mut carry = carry.map(|(carry, _)| carry).unwrap_or_default();
        let Some(live) = self.live.get_mut(id) else { return };
        if let Phase::Querying { query, .. } = &live.phase {
            let query = query.clone();
            self.queries.remove(&query);
        }
        let Some(live) = self.live.get_mut(id) else { return };
        let conditions = live.unchanged();
        let (cancelled, writes) = match &live.job {
            Job::Change { current, old, .. } => {
                let (cancelled, deliveries, writes) = cancellation(now, current, Some(old));
                carry.release.extend(deliveries);
                (cancelled, writes)
            }
            Job::New | Job::Find { .. } | Job::Series(_) => {
                let mut meeting = live.meeting.clone();
                if !live.stored {
                    meeting.version = 0;
                }
                let (cancelled, _, writes) = cancellation(now, &meeting, None);
                (cancelled, writes)
            }
        };
        self.write_for(id, Next::Cancel(Box::new(cancelled)), None, carry, conditions, writes);
    }

    pub(super) fn cancelled(&mut self, id: &MeetingId, meeting: Meeting) {
        let Some(live) = self.live.get(id).cloned() else { return };
        let (changed, old) = (matches!(live.job, Job::Change { .. }), live.old_attempt().cloned());
        if let Some(old) = old {
            self.drop_confirms(&old.attempt);
        }
        self.notify(
            &live,
            &meeting,
            NoticeKind::Cancelled,
            format!("{:?} was called off", meeting.spec.title),
        );
        let reply = match changed {
            true => Reply::Changed(Box::new(meeting), None),
            false => Reply::Meeting(Box::new(meeting)),
        };
        self.finish(id, &reply);
    }

    /// A change found no slot: the meeting stands as before.
    pub(super) fn fail_change(&mut self, id: &MeetingId, failure: Failure, carry: Carry) {
        // A withdrawal that is on its way is part of what is answered: behind it, not before.
        if carry.writes.is_empty() && !self.changing.contains_key(id) {
            return self.change_failed(id, failure);
        }
        self.write_for(id, Next::FailChange(Box::new(failure)), None, carry, Vec::new(), Vec::new());
    }

    pub(super) fn change_failed(&mut self, id: &MeetingId, failure: Failure) {
        let Some(Live { job: Job::Change { current, .. }, .. }) = self.live.get(id) else { return };
        self.counters.failures.note(failure.reason);
        let reply = Reply::Changed(current.clone(), Some(failure));
        self.finish(id, &reply);
    }

    /// A participant leaves a hold or a booking, by its own durable will.
    pub(super) fn withdraw(
        &mut self,
        now: Now,
        participant: ParticipantId,
        meeting: MeetingId,
        n: Option<AttemptNumber>,
        reason: String,
    ) {
        let Some(live) = self.live.get_mut(&meeting) else {
            let read = Read::Meeting(meeting.clone());
            return self.read(read, Pending::ReadWithdraw { participant, meeting, n, reason });
        };
        if matches!(live.phase, Phase::Writing { .. }) {
            return live.inbox.push(Inbox::Withdraw { participant, n, reason });
        }
        let open = match &live.phase {
            Phase::Holding(h) if h.ballots.contains_key(&participant) => Some(h.row.attempt.clone()),
            _ => None,
        };
        let booked = match &live.job {
            Job::Change { current, old, .. } => Some(((**current).clone(), (**old).clone())),
            Job::New | Job::Find { .. } | Job::Series(_) => None,
        };
        let of_old = booked.as_ref().is_some_and(|(_, old)| n.is_none_or(|n| n == old.attempt.n));
        if let (Some((current, old)), true) = (booked, of_old) {
            self.withdraw_booked(now, &participant, n, &reason, Some((current, Some(old))));
        } else if let Some(n) = n {
            let attempt = Attempt::new(meeting, n);
            let asked = open.as_ref() == Some(&attempt);
            self.release_withdrawn(now, participant.clone(), attempt, asked);
        }
        if let Some(open) = open.filter(|open| n.is_none_or(|n| n == open.n) || of_old) {
            self.strike(now, &participant, &open);
        }
    }

    /// The row was read: judged against it, unless the meeting is being changed meanwhile.
    pub(super) fn withdraw_read(
        &mut self,
        now: Now,
        participant: ParticipantId,
        meeting: &MeetingId,
        n: Option<AttemptNumber>,
        reason: String,
        found: Option<(Meeting, Option<AttemptRow>)>,
    ) {
        match (found.as_ref().map(|(meeting, _)| &meeting.id), n) {
            (Some(id), _) if self.live.contains_key(id) || self.changing.contains_key(id) => {
                self.withdraw(now, participant, id.clone(), n, reason);
            }
            // Not known here: there is nothing to leave, and the agent may forget it.
            (None, Some(n)) => {
                let attempt = Attempt::new(meeting.clone(), n);
                self.release_unknown(participant, attempt, ReleaseCause::Withdrawn);
            }
            _ => self.withdraw_booked(now, &participant, n, &reason, found),
        }
    }

    pub(super) fn withdraw_booked(
        &mut self,
        now: Now,
        participant: &ParticipantId,
        n: Option<AttemptNumber>,
        reason: &str,
        found: Option<(Meeting, Option<AttemptRow>)>,
    ) {
        let Some((mut meeting, row)) = found else { return };
        let row = row.filter(|row| n.is_none_or(|n| n == row.attempt.n));
        let attempt_is_known = row.is_some();
        let version = meeting.version;
        let attends =
            |o: &&mut AttendeeOutcome| o.id == *participant && o.status == AttendeeStatus::Attending;
        let outcome = meeting.attendees.iter_mut().find(attends);
        let (Some(row), Some(outcome), MeetingState::Confirmed) = (row, outcome, meeting.state) else {
            if let Some(n) = n {
                let asked = attempt_is_known && meeting.attendees.iter().any(|o| o.id == *participant);
                let attempt = Attempt::new(meeting.id, n);
                self.release_withdrawn(now, participant.clone(), attempt, asked);
            }
            return;
        };
        outcome.status = AttendeeStatus::Declined;
        outcome.detail = reason.chars().take(limits::REASON_CHARS).collect();
        meeting.version += 1;
        meeting.update_time = now.wall;
        let attempt = row.attempt.clone();
        let body = DeliveryBody::Release(ReleaseCause::Withdrawn);
        let release = Delivery { participant: participant.clone(), attempt: attempt.clone(), body };
        let writes = vec![
            Write::Meeting(Box::new(meeting.clone())),
            Write::RemoveBookings(attempt.clone(), Some(participant.clone())),
            Write::Delivery(release.clone()),
            event(EventKind::AttendeeDeclined, &meeting),
        ];
        let conditions = vec![self.fence(), Condition::MeetingVersion(meeting.id.clone(), version)];
        // A move that is under way rests on the meeting as it is now.
        if let Some(Live { job: Job::Change { current, .. }, .. }) = self.live.get_mut(&meeting.id) {
            **current = meeting;
        }
        let (participant, reason) = (participant.clone(), reason.to_owned());
        *self.changing.entry(attempt.meeting.clone()).or_default() += 1;
        let pending = Pending::Withdraw { participant, attempt, reason, release };
        self.apply(Transaction { conditions, writes }, pending);
    }
}

impl Command {
    fn meeting(&self) -> &MeetingId {
        match self {
            Self::Reschedule { meeting, .. }
            | Self::Update { meeting, .. }
            | Self::Cancel { meeting, .. } => meeting,
            _ => unreachable!("only changes name a meeting"),
        }
    }

    fn version(&self) -> Option<u64> {
        match self {
            Self::Reschedule { version, .. }
            | Self::Update { version, .. }
            | Self::Cancel { version, .. } => *version,
            _ => None,
        }
    }
}

fn invalid(field: &str, description: String) -> Refused {
    Refused::Invalid { field: field.into(), description }
}

/// The cancelled meeting, what is to be delivered, and the writes of both.
fn cancellation(
    now: Now,
    meeting: &Meeting,
    booked: Option<&AttemptRow>,
) -> (Meeting, Vec<Delivery>, Vec<Write>) {
    let mut cancelled = meeting.clone();
    cancelled.state = MeetingState::Cancelled;
    cancelled.version += 1;
    cancelled.sequence += u32::from(booked.is_some());
    cancelled.update_time = now.wall;
    cancelled.booked = None;
    let mut writes =
        vec![Write::Meeting(Box::new(cancelled.clone())), event(EventKind::Cancelled, &cancelled)];
    let mut deliveries = Vec::new();
    if let Some(row) = booked {
        writes.push(Write::RemoveBookings(row.attempt.clone(), None));
        writes.push(Write::AttemptState(row.attempt.clone(), AttemptState::Superseded));
        for participant in &row.commit_set {
            let body = DeliveryBody::Release(ReleaseCause::Cancelled);
            deliveries.push(Delivery {
                participant: participant.clone(),
                attempt: row.attempt.clone(),
                body,
            });
        }
        writes.extend(deliveries.iter().cloned().map(Write::Delivery));
    }
    (cancelled, deliveries, writes)
}
