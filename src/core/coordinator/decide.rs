//! D3, the decision: one transaction on everything that it rests on, and what follows once it is on disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::seek::Carry;
use super::*;
use crate::core::message::{Booking, Refusal, ReleaseCause};
use crate::core::model::EventKind;
use crate::core::record::{AttemptState, BookingRow, DeliveryBody};

impl Coordinator {
    /// D3: the commit set is exactly who voted yes, by compare-and-set on everything that the decision rests on.
    pub(super) fn decide(&mut self, now: Now, attempt: &Attempt) {
        let id = attempt.meeting.clone();
        let Some(live) = self.live.get_mut(&id) else { return };
        let over = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
        let Phase::Holding(holding) = std::mem::replace(&mut live.phase, over) else { return };
        let commit: BTreeSet<ParticipantId> = holding.granted().cloned().collect();
        let mut meeting = live.meeting.clone();
        let outcomes = live.outcomes(&holding, &commit);
        let words = format!("booked with {} of {}", commit.len(), meeting.spec.attendees.len());
        live::log(&mut meeting, holding.row.slot, AttemptOutcome::Booked, outcomes.clone(), words);
        let kind = match &live.job {
            Job::Change { current, kind, .. } => {
                meeting.version = current.version + 1;
                meeting.sequence = current.sequence + 1;
                *kind
            }
            Job::New | Job::Find { .. } => {
                meeting.version += 1;
                EventKind::Confirmed
            }
        };
        meeting.state = MeetingState::Confirmed;
        meeting.booked = Some(attempt.n);
        meeting.slot = Some(holding.row.slot);
        meeting.blocked = Some(holding.row.blocked);
        meeting.attendees = outcomes;
        meeting.failure = None;
        meeting.update_time = now.wall;
        let mut conditions = live.unchanged();
        let displaces = live.displaces();
        let old = live.old_attempt().cloned();
        if !planted(Planted::DecideWithoutCompare) {
            conditions.push(Condition::AttemptIs(attempt.clone(), AttemptState::Holding));
        }
        let mut row = holding.row.clone();
        row.state = AttemptState::Committed;
        row.commit_set = commit.iter().cloned().collect();
        let mut writes = vec![
            Write::Meeting(Box::new(meeting.clone())),
            Write::Attempt(Box::new(row)),
            event(kind, &meeting),
        ];
        if let Some(old) = &old {
            writes.push(Write::RemoveBookings(old.attempt.clone(), None));
            writes.push(Write::AttemptState(old.attempt.clone(), AttemptState::Superseded));
        }
        for participant in &commit {
            if let Some(known) = self.participants.get(participant) {
                conditions.push(Condition::LineageIs(participant.clone(), known.row.lineage));
                let sequence = holding.journal.get(participant).copied().unwrap_or_default();
                writes.push(Write::JournalSeen(participant.clone(), known.row.lineage, sequence));
            }
            conditions.push(Condition::NoOverlap {
                participant: participant.clone(),
                during: holding.row.blocked,
                except: displaces.clone(),
            });
            writes.push(Write::Booking(BookingRow {
                participant: participant.clone(),
                attempt: attempt.clone(),
                during: holding.row.blocked,
                delivered: false,
            }));
        }
        let left_cause = match kind {
            EventKind::Updated => ReleaseCause::Cancelled,
            _ => ReleaseCause::Moved,
        };
        let deliveries = deliveries_of(&meeting, &holding, &commit, old.as_ref(), left_cause);
        if let Some(old) = &old {
            for participant in &old.commit_set {
                writes.push(Write::RemoveDelivery(
                    participant.clone(),
                    old.attempt.clone(),
                    crate::core::message::AckKind::Confirm,
                ));
            }
        }
        if !planted(Planted::DeliveriesInMemory) {
            writes.extend(deliveries.iter().cloned().map(Write::Delivery));
        }
        let carry = Carry { release: deliveries, ..Carry::default() };
        self.write_for(
            &id,
            Next::Decide(Box::new(meeting), commit),
            Some(holding),
            carry,
            conditions,
            writes,
        );
    }

    /// D3 is on disk: answer, tell, deliver.
    pub(super) fn decided(
        &mut self,
        now: Now,
        id: &MeetingId,
        meeting: Meeting,
        commit: &BTreeSet<ParticipantId>,
        holding: &Holding,
    ) {
        self.counters.committed += 1;
        let attempt = holding.row.attempt.clone();
        let Some(live) = self.live.get(id) else { return };
        let (changed, live) = (matches!(live.job, Job::Change { .. }), live.clone());
        if let Some(old) = live.old_attempt() {
            self.confirms.remove(&old.attempt);
        }
        self.confirms.insert(attempt.clone(), (commit.len(), Some(Arc::new(meeting.clone()))));
        let words = format!("{:?} was confirmed without you", meeting.spec.title);
        self.notify(&live, &meeting, NoticeKind::ConfirmedWithoutYou, words);
        let reply = match changed {
            true => Reply::Changed(Box::new(meeting), None),
            false => Reply::Meeting(Box::new(meeting)),
        };
        self.unhold(&attempt, &holding.row.asked);
        self.finish_decided(now, id, live, reply);
        self.after_decision(now, &attempt, true);
    }

    /// Cancels that came in while the decision was on its way are taken up now, against what was decided.
    pub(super) fn finish_decided(&mut self, now: Now, id: &MeetingId, live: Live, reply: Reply) {
        self.finish(id, &reply);
        self.take_up(now, id, live.inbox);
    }

    /// What came in for a job that has ended since.
    pub(super) fn take_up(&mut self, now: Now, id: &MeetingId, inbox: Vec<Inbox>) {
        for waiting in inbox {
            match waiting {
                Inbox::Cancel(ticket, version) => {
                    let command = Command::Cancel { meeting: id.clone(), version };
                    self.change_command(now, ticket, command, now.mono + limits::DEADLINE_DEFAULT);
                }
                Inbox::Withdraw { participant, n, reason } => {
                    self.withdraw(now, participant, id.clone(), n, reason);
                }
                Inbox::Deadline | Inbox::Drain => {}
            }
        }
    }

    /// D3 or D1 met something else than it rests on.
    pub(super) fn live_conflict(
        &mut self,
        now: Now,
        id: &MeetingId,
        condition: Condition,
        next: Next,
        holding: Option<Box<Holding>>,
    ) {
        let struck = match (&condition, &next) {
            (Condition::NoOverlap { participant, .. }, Next::Decide(..)) => {
                Some((participant.clone(), Ballot::No(Refusal::Booked)))
            }
            (Condition::LineageIs(participant, _), Next::Decide(..)) => {
                Some((participant.clone(), Ballot::Struck))
            }
            _ => None,
        };
        if let (Some((participant, ballot)), Some(mut holding)) = (struck, holding) {
            holding.ballots.insert(participant, ballot);
            let attempt = holding.row.attempt.clone();
            let at = holding.deadline;
            let Some(live) = self.live.get_mut(id) else { return };
            live.phase = Phase::Holding(holding);
            self.set_meeting_timer(id, Some(at));
            self.evaluate(now, &attempt);
            // Who wanted to push it waited for a decision that did not come.
            if let Some(pusher) = self.pushers(&attempt).into_iter().next() {
                self.push(now, &pusher, &attempt);
            }
            return self.empty_inbox(now, id);
        }
        // The row is not the one that this job knows: never guess, read it.
        if !matches!(condition, Condition::MeetingUnused(..)) {
            self.alarm(format!("{id}: the store refused a transaction: {condition:?}"));
        }
        let Some(live) = self.live.get_mut(id) else { return };
        let tickets = std::mem::take(&mut live.tickets);
        let inbox = std::mem::take(&mut live.inbox);
        let change = matches!(live.job, Job::Change { .. });
        self.finish(id, &Reply::Refused(Refused::BeingChanged));
        self.read(Read::Meeting(id.clone()), Pending::ReadUnexpected { tickets, change });
        self.take_up(now, id, inbox);
    }

    pub(super) fn answer_as_read(&mut self, tickets: Vec<Ticket>, change: bool, found: Option<Meeting>) {
        for ticket in tickets {
            let reply = match (&found, change) {
                (Some(meeting), false) => Reply::Meeting(Box::new(meeting.clone())),
                _ => Reply::Refused(Refused::BeingChanged),
            };
            self.out.push(Effect::Reply(ticket, reply));
        }
    }
}

/// Confirm to C, Release to asked∖C, and Release of the old attempt to who was in the old C and is not in the new.
fn deliveries_of(
    meeting: &Meeting,
    holding: &Holding,
    commit: &BTreeSet<ParticipantId>,
    old: Option<&AttemptRow>,
    left_cause: ReleaseCause,
) -> Vec<Delivery> {
    let attempt = &holding.row.attempt;
    let booking = Arc::new(booking_of(meeting, &holding.row, commit.iter().cloned().collect()));
    let mut deliveries: Vec<Delivery> = holding
        .row
        .asked
        .iter()
        .map(|participant| Delivery {
            participant: participant.clone(),
            attempt: attempt.clone(),
            body: match commit.contains(participant) {
                true => DeliveryBody::Confirm {
                    booking: booking.clone(),
                    displaces: holding.row.displaces.clone(),
                },
                false => DeliveryBody::Release(ReleaseCause::NotNeeded),
            },
        })
        .collect();
    let old = old.filter(|_| !planted(Planted::OldCommitSetForgotten));
    let left = old.into_iter().flat_map(|old| old.commit_set.iter().map(move |p| (p, old)));
    deliveries.extend(left.filter(|(p, _)| !commit.contains(*p)).map(|(p, old)| Delivery {
        participant: p.clone(),
        attempt: old.attempt.clone(),
        body: DeliveryBody::Release(left_cause),
    }));
    deliveries
}

/// What a confirm of the attempt says.
pub(super) fn booking_of(meeting: &Meeting, row: &AttemptRow, attendees: Vec<ParticipantId>) -> Booking {
    Booking {
        attempt: row.attempt.clone(),
        slot: row.slot,
        blocked: row.blocked,
        title: meeting.spec.title.clone(),
        organizer: meeting.spec.organizer.clone(),
        attendees,
        sequence: meeting.sequence,
    }
}
