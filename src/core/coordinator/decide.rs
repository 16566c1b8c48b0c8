//! D3, the decision: one transaction on everything that it rests on, and what follows once it is on disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::displace::Displacement;
use super::seek::Carry;
use super::*;
use crate::core::message::{Booking, Refusal, ReleaseCause};
use crate::core::model::EventKind;
use crate::core::record::{AttemptState, BookingRow, DeliveryBody};
use crate::core::zones;

/// D3 of one attempt, before it goes to the store.
pub(super) struct Deciding {
    pub decision: Decision,
    pub holding: Box<Holding>,
    pub deliveries: Vec<Delivery>,
    pub conditions: Vec<Condition>,
    pub writes: Vec<Write>,
}

impl Coordinator {
    /// D3: the commit set is exactly who voted yes, by compare-and-set on everything that the decision rests on.
    pub(super) fn decide(&mut self, now: Now, attempt: &Attempt) {
        let id = attempt.meeting.clone();
        let grouped = self.live.get(&id).is_some_and(|live| live.group.is_some());
        if grouped && !planted(Planted::SeriesDecidedInParts) {
            return self.ready_to_decide(now, attempt);
        }
        self.stop_groups_in_the_way(now, &id);
        let displacement = match self.would_displace(now, &id) {
            Some(Ok(displacement)) => displacement,
            Some(Err(words)) => return self.give_up(now, attempt, AttemptOutcome::Aborted, &words),
            None => return,
        };
        let Some(Deciding { decision, holding, deliveries, conditions, writes }) =
            self.decision(now, attempt, displacement)
        else {
            return;
        };
        let displaced = decision.displaced.clone();
        let carry = Carry { release: deliveries, ..Carry::default() };
        self.write_for(&id, Next::Decide(Box::new(decision)), Some(holding), carry, conditions, writes);
        self.suspend_displaced(&id, &displaced);
    }

    /// What the attempt that a meeting HOLDs would displace; `None` if it holds none.
    pub(super) fn would_displace(&self, now: Now, id: &MeetingId) -> Option<Result<Displacement, String>> {
        let live = self.live.get(id)?;
        let Phase::Holding(holding) = &live.phase else { return None };
        let commit: BTreeSet<ParticipantId> = holding.granted().cloned().collect();
        Some(self.displacement(now, live, holding, &commit))
    }

    /// All that D3 consists of for one attempt, which is HOLDING; it is taken out of its job.
    pub(super) fn decision(
        &mut self,
        now: Now,
        attempt: &Attempt,
        displacement: Displacement,
    ) -> Option<Deciding> {
        let live = self.live.get_mut(&attempt.meeting)?;
        let over = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
        let mut holding = match std::mem::replace(&mut live.phase, over) {
            Phase::Holding(holding) => holding,
            phase => {
                live.phase = phase;
                return None;
            }
        };
        let commit: BTreeSet<ParticipantId> = holding.granted().cloned().collect();
        self.tracer.decides(&holding.row, commit.len());
        // What was overlaid in vain stands.
        holding.row.displaces = live.replaces();
        holding.row.displaces.extend(displacement.attempts().cloned());
        let mut meeting = live.meeting.clone();
        let outcomes = live.outcomes(&holding, &commit);
        let words = format!("booked with {} of {}", commit.len(), meeting.spec.attendees.len());
        live::log(&mut meeting, holding.row.slot, AttemptOutcome::Booked, outcomes.clone(), words);
        let kind = match &live.job {
            Job::Change { current, kind, .. } => {
                meeting.version = current.version + 1;
                meeting.sequence = current.sequence + 1;
                meeting.moved = current.moved + u32::from(current.slot != Some(holding.row.slot));
                *kind
            }
            Job::New | Job::Find { .. } | Job::Series(_) if meeting.state == MeetingState::Displaced => {
                meeting.version += 1;
                meeting.sequence += 1;
                meeting.moved += 1;
                EventKind::Rescheduled
            }
            Job::New | Job::Find { .. } | Job::Series(_) => {
                meeting.version += 1;
                EventKind::Confirmed
            }
        };
        meeting.displaced = displacement.attempts().map(|attempt| attempt.meeting.clone()).collect();
        meeting.state = MeetingState::Confirmed;
        meeting.booked = Some(attempt.n);
        // Who stays at their time keeps the local time that was meant, whatever became of the zone's rules since.
        if meeting.slot != Some(holding.row.slot) || meeting.local_start.is_none() {
            meeting.local_start = zones::local_time(holding.row.slot.start, &meeting.time_zone);
        }
        meeting.slot = Some(holding.row.slot);
        meeting.blocked = Some(holding.row.blocked);
        meeting.attendees = outcomes;
        meeting.failure = None;
        meeting.update_time = now.wall;
        // The one rank of a series ends with its decision: two that are displaced later compete as any others.
        meeting.rank.meeting = meeting.id.clone();
        let mut conditions = live.unchanged();
        let old = live.old_attempt().cloned();
        let displaces = holding.row.displaces.clone();
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
        let mut deliveries = deliveries_of(&meeting, &holding, &commit, old.as_ref(), left_cause);
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
        let Displacement { displaced, conditions: rests_on, writes: displacing, deliveries: more } =
            displacement;
        conditions.extend(rests_on);
        writes.extend(displacing);
        deliveries.extend(more);
        let decision = Decision { meeting, commit, displaced };
        Some(Deciding { decision, holding, deliveries, conditions, writes })
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
        self.counters.decision_time.record(now.mono.since(holding.since));
        let attempt = holding.row.attempt.clone();
        let Some(live) = self.live.get(id) else { return };
        let (changed, live) = (matches!(live.job, Job::Change { .. }), live.clone());
        if let Some(old) = live.old_attempt() {
            self.drop_confirms(&old.attempt);
        }
        self.confirms.insert(attempt.clone(), (commit.len(), Some(Arc::new(meeting.clone()))));
        let words = format!("{:?} was confirmed without you", meeting.spec.title);
        self.notify(&live, &meeting, NoticeKind::ConfirmedWithoutYou, words);
        let reply = match changed {
            true => Reply::Changed(Box::new(meeting), None),
            false => Reply::Meeting(Box::new(meeting)),
        };
        self.unhold(&attempt, &holding.row.asked);
        self.finish(id, &reply);
        self.after_decision(now, &attempt, true);
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
        let (next, holding) = match (next, holding) {
            (Next::Decide(decision), Some(holding)) => {
                self.tracer.undecided(&holding.row, &condition);
                self.resume_displaced(now, &decision.displaced);
                if of_another(&condition, id) {
                    return self.overlaid_changed(now, id, holding);
                }
                (Next::Decide(decision), Some(holding))
            }
            other => other,
        };
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
            self.contend_again(now, &attempt);
            return self.empty_inbox(now, id);
        }
        // The row is not the one that this job knows: never guess, read it.
        if !matches!(condition, Condition::MeetingUnused(..)) {
            self.alarm(format!("{id}: the store refused a transaction: {condition:?}"));
        }
        let Some(live) = self.live.get_mut(id) else { return };
        let tickets = std::mem::take(&mut live.tickets);
        let change = matches!(live.job, Job::Change { .. });
        self.finish(id, &Reply::Refused(Refused::BeingChanged));
        self.read(Read::Meeting(id.clone()), Pending::ReadUnexpected { tickets, change });
    }

    /// A meeting that was to be displaced is not what it was: the slot is sought anew.
    fn overlaid_changed(&mut self, now: Now, id: &MeetingId, holding: Box<Holding>) {
        let attempt = holding.row.attempt.clone();
        let Some(live) = self.live.get_mut(id) else { return };
        live.phase = Phase::Holding(holding);
        let words = "a meeting that it would have displaced was changed meanwhile";
        self.give_up(now, &attempt, AttemptOutcome::Aborted, words);
        self.empty_inbox(now, id);
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

/// Whether the condition is about another meeting than this one.
fn of_another(condition: &Condition, id: &MeetingId) -> bool {
    match condition {
        Condition::AttemptIs(attempt, _) => attempt.meeting != *id,
        Condition::MeetingVersion(meeting, _) | Condition::NoAttemptAfter(meeting, _) => meeting != id,
        _ => false,
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
        revision: meeting.version,
        series: row.series.clone(),
    }
}
