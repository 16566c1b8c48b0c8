//! One attempt: D1, the votes, the decision D3, and giving up. The heart of PROTOCOL.md, "Scheduler, per attempt".

use std::collections::BTreeSet;
use std::sync::Arc;

use super::seek::Carry;
use super::*;
use crate::core::availability::Answer;
use crate::core::message::{Booking, Hold, Refusal, ReleaseCause, Vote};
use crate::core::model::{AttendeeStatus, EventKind, FailureReason, Role};
use crate::core::record::{AttemptState, BookingRow, DeliveryBody};

/// How often holds of one attempt are sent again after pushes, before a refusal is final.
const HOLDS_AGAIN: u32 = 64;

/// What the votes of an attempt amount to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// Not yet anything.
    Open,
    /// Enough, and others may still answer.
    Enough,
    /// Enough, and all answered.
    Complete,
    /// Can't be enough any more.
    Lost,
}

impl Coordinator {
    /// D1 for one slot, together with whatever gives up the attempt before.
    pub(super) fn hold_slot(&mut self, now: Now, id: &MeetingId, slot: TimeRange, carry: Carry) {
        let Some(live) = self.live.get(id) else { return };
        let asked = self.whom_to_ask(live, &slot);
        let Some(live) = self.live.get_mut(id) else { return };
        if asked.is_empty() {
            live.dead.insert(slot);
            return self.advance(now, id, carry);
        }
        let n = AttemptNumber::after(live.meeting.last_attempt, self.generation);
        live.meeting.last_attempt = Some(n);
        let row = live.attempt_row(n, slot, asked);
        let mut conditions = live.unchanged();
        conditions.push(Condition::AttemptUnused(row.attempt.clone()));
        // The first D1 makes the meeting durable; a change keeps the meeting's row as it is, but for the number.
        let mut writes = Vec::new();
        match &mut live.job {
            Job::Change { current, .. } => {
                current.last_attempt = Some(n);
                writes.push(Write::Meeting(current.clone()));
            }
            Job::New | Job::Find { .. } => {
                if live.stored {
                    live.meeting.version += 1;
                }
                live.meeting.update_time = now.wall;
                writes.push(Write::Meeting(Box::new(live.meeting.clone())));
                if !live.stored {
                    writes.push(event(EventKind::Scheduling, &live.meeting));
                }
            }
        }
        writes.push(Write::Attempt(Box::new(row.clone())));
        let ballots = row.asked.iter().map(|p| (p.clone(), Ballot::Waiting)).collect();
        for participant in &row.asked {
            self.held.entry(participant.clone()).or_default().insert(row.attempt.clone());
            live.told.insert(participant.clone());
        }
        let holding = Holding {
            row,
            ballots,
            journal: BTreeMap::new(),
            deadline: Mono::default(),
            grace: None,
            again: 0,
        };
        self.write_for(id, Next::Hold, Some(Box::new(holding)), carry, conditions, writes);
    }

    /// Everyone connected who may be free at the slot: answers are advisory, the hold is the check.
    fn whom_to_ask(&self, live: &Live, slot: &TimeRange) -> Vec<ParticipantId> {
        let blocked = live.meeting.spec.blocked(slot);
        let maybe_free = |id: &ParticipantId, answer: &Answer| match answer {
            Answer::Free(free) => {
                crate::core::availability::fits(free, &blocked).is_some() || self.held_at(id, &blocked)
            }
            _ => false,
        };
        let attendees = live.meeting.spec.attendees.iter().zip(&live.answers);
        attendees
            .filter(|(a, answer)| maybe_free(&a.id, answer) && self.ready(&a.id).is_some())
            .map(|(a, _)| a.id.clone())
            .collect()
    }

    fn held_at(&self, id: &ParticipantId, blocked: &TimeRange) -> bool {
        let attempts = self.held.get(id).into_iter().flatten();
        attempts.filter_map(|a| self.holding(a)).any(|h| h.row.blocked.overlaps(blocked))
    }

    /// The live hold of an attempt, also while its decision is on its way to the store.
    pub(super) fn holding(&self, attempt: &Attempt) -> Option<&Holding> {
        let holding = match &self.live.get(&attempt.meeting)?.phase {
            Phase::Holding(holding) => holding,
            Phase::Writing { next: Next::Hold | Next::Decide(..), holding: Some(holding), .. } => holding,
            _ => return None,
        };
        (holding.row.attempt == *attempt).then_some(&**holding)
    }

    fn holding_mut(&mut self, attempt: &Attempt) -> Option<&mut Holding> {
        let holding = match &mut self.live.get_mut(&attempt.meeting)?.phase {
            Phase::Holding(holding) => holding,
            Phase::Writing { next: Next::Hold | Next::Decide(..), holding: Some(holding), .. } => holding,
            _ => return None,
        };
        (holding.row.attempt == *attempt).then_some(holding)
    }

    fn is_open(&self, attempt: &Attempt) -> bool {
        let phase = self.live.get(&attempt.meeting).map(|live| &live.phase);
        matches!(phase, Some(Phase::Holding(holding)) if holding.row.attempt == *attempt)
    }

    /// The store answered a job's transaction.
    pub(super) fn live_applied(&mut self, now: Now, id: &MeetingId, op: OpId, applied: Applied) {
        let Some(live) = self.live.get_mut(id) else { return };
        let over = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
        let (next, holding, release) = match std::mem::replace(&mut live.phase, over) {
            Phase::Writing { op: ours, next, holding, release } if ours == op => (next, holding, release),
            phase => {
                live.phase = phase;
                return self.alarm(format!("{id}: an answer to a transaction that is not in flight"));
            }
        };
        if let Applied::Conflict(condition) = applied {
            for delivery in &release {
                self.aborting.remove(&delivery.attempt);
            }
            return self.live_conflict(now, id, condition, next, holding);
        }
        if let (Next::Decide(..), Some(old)) = (&next, self.live.get(id).and_then(Live::old_attempt).cloned())
        {
            self.forget_confirms(&old.attempt, &old.commit_set);
        }
        let mut given_up = BTreeSet::new();
        for delivery in release {
            if self.aborting.remove(&delivery.attempt) {
                given_up.insert(delivery.attempt.clone());
            }
            self.queue_delivery(now, delivery);
        }
        match (next, holding) {
            (Next::Hold, Some(holding)) => self.send_holds(now, id, holding),
            (Next::Decide(meeting, commit), Some(holding)) => {
                self.decided(now, id, *meeting, &commit, &holding);
            }
            (Next::Seek, _) => match self.live.get(id).is_some_and(|live| live.blockers.is_empty()) {
                true => self.begin_round(now, id),
                false => self.advance(now, id, Carry::default()),
            },
            (Next::Fail(meeting), _) => self.failed(id, *meeting),
            (Next::FailChange(failure), _) => self.change_failed(id, *failure),
            (Next::Cancel(meeting), _) => self.cancelled(id, *meeting),
            (Next::Suspend, _) => self.finish(id, &Reply::Refused(Refused::ShuttingDown)),
            (next, None) => self.alarm(format!("{id}: {next:?} without a hold")),
        }
        for attempt in given_up {
            self.after_decision(now, &attempt, false);
        }
        self.empty_inbox(now, id);
    }

    fn send_holds(&mut self, now: Now, id: &MeetingId, mut holding: Box<Holding>) {
        let Some(live) = self.live.get_mut(id) else { return };
        live.stored = true;
        live.charged += 1;
        holding.deadline = live.deadline.min(now.mono + limits::ATTEMPT_TIMEOUT);
        let message = live.hold_message(&holding.row);
        let (asked, deadline) = (holding.row.asked.clone(), holding.deadline);
        live.phase = Phase::Holding(holding);
        self.set_meeting_timer(id, Some(deadline));
        self.counters.holds += asked.len() as u64;
        self.send_all(asked, &message);
    }

    /// A vote came in. A yes that can't count any more is answered with what became of the attempt.
    pub(super) fn voted(&mut self, now: Now, participant: ParticipantId, attempt: Attempt, vote: Vote) {
        let row = self.participants.get(&participant).map(|known| known.row.journal_sequence);
        let Some(holding) = self.holding_mut(&attempt) else {
            self.counters.stale += 1;
            if vote == Vote::Granted {
                self.ask_what_became(participant, attempt);
            }
            return;
        };
        let ballot = match holding.ballots.get_mut(&participant) {
            Some(ballot @ (Ballot::Waiting | Ballot::No(_) | Ballot::Pushing(_))) => ballot,
            Some(Ballot::Yes) => return,
            Some(Ballot::Struck) | None => {
                self.counters.stale += 1;
                if vote == Vote::Granted {
                    self.release_one(now, participant, attempt, ReleaseCause::NotNeeded);
                }
                return;
            }
        };
        match vote {
            Vote::Granted => {
                *ballot = Ballot::Yes;
                holding.journal.insert(participant, row.unwrap_or_default());
            }
            // A refusal that overtook our second hold says nothing new.
            Vote::Refused(_) if matches!(ballot, Ballot::Pushing(_) | Ballot::No(_)) => return,
            Vote::Refused(Refusal::Held(by)) => return self.held_by(now, participant, attempt, by),
            Vote::Refused(refusal) => *ballot = Ballot::No(refusal),
        }
        self.evaluate(now, &attempt);
    }

    /// Refused for another hold: the higher rank pushes, the lower one gives way (PROTOCOL.md, "Scheduler").
    fn held_by(&mut self, now: Now, participant: ParticipantId, attempt: Attempt, by: Option<Attempt>) {
        let Some(holding) = self.holding(&attempt) else { return };
        let (blocked, rank) = (holding.row.blocked, holding.row.rank.clone());
        let by = by.or_else(|| self.infer_blocker(&participant, &attempt, &blocked));
        let Some(by) = by else {
            return self.refused(now, &participant, &attempt, Refusal::Held(None));
        };
        if self.aborting.contains(&by) {
            return self.wait_for_push(participant, &attempt, by);
        }
        let Some(blocker) = self.holding(&by).map(|h| h.row.rank.clone()) else {
            return self.blocker_gone(now, &participant, &attempt, &by);
        };
        if blocker > rank {
            if let Some(live) = self.live.get_mut(&attempt.meeting) {
                live.blockers.insert(by.clone());
            }
            return self.refused(now, &participant, &attempt, Refusal::Held(Some(by)));
        }
        self.wait_for_push(participant, &attempt, by.clone());
        self.push(now, &attempt, &by);
    }

    fn wait_for_push(&mut self, participant: ParticipantId, attempt: &Attempt, by: Attempt) {
        if let Some(holding) = self.holding_mut(attempt) {
            holding.ballots.insert(participant, Ballot::Pushing(by));
            self.waiting.insert(attempt.meeting.clone());
        }
    }

    /// Aborts a hold of lower rank, unless its decision is on its way: then that comes first.
    fn push(&mut self, now: Now, attempt: &Attempt, by: &Attempt) {
        if self.is_open(by) {
            self.counters.pushed += 1;
            if let Some(live) = self.live.get_mut(&by.meeting) {
                live.blockers.insert(attempt.clone());
            }
            self.give_up(now, by, AttemptOutcome::HeldByOther, "given up for a meeting of higher rank");
        }
    }

    /// Small agents refuse without naming the blocker: it is one of our own live holds.
    fn infer_blocker(
        &self,
        participant: &ParticipantId,
        attempt: &Attempt,
        blocked: &TimeRange,
    ) -> Option<Attempt> {
        let attempts = self.held.get(participant)?.iter();
        let others = attempts.filter(|other| other.meeting != attempt.meeting);
        let overlaps = |a: &&Attempt| self.holding(a).is_some_and(|h| h.row.blocked.overlaps(blocked));
        others.filter(overlaps).max_by_key(|a| self.holding(a).map(|h| h.row.rank.clone())).cloned()
    }

    /// The hold in the way is decided already: the agent has yet to hear it, and is then asked again. If it
    /// was booked, the second answer says so.
    fn blocker_gone(&mut self, now: Now, participant: &ParticipantId, attempt: &Attempt, by: &Attempt) {
        let Some(holding) = self.holding_mut(attempt) else { return };
        holding.again += 1;
        if holding.again > HOLDS_AGAIN {
            return self.refused(now, participant, attempt, Refusal::Held(None));
        }
        self.send_delivery(now, participant, by);
        self.hold_again(participant, attempt);
    }

    pub(super) fn hold_again(&mut self, participant: &ParticipantId, attempt: &Attempt) {
        let Some(holding) = self.holding_mut(attempt) else { return };
        holding.ballots.insert(participant.clone(), Ballot::Waiting);
        let row = holding.row.clone();
        let Some(live) = self.live.get(&attempt.meeting) else { return };
        let message = live.hold_message(&row);
        self.send_all([participant.clone()], &message);
    }

    fn refused(&mut self, now: Now, participant: &ParticipantId, attempt: &Attempt, refusal: Refusal) {
        if let Some(holding) = self.holding_mut(attempt) {
            holding.ballots.insert(participant.clone(), Ballot::No(refusal));
        }
        self.evaluate(now, attempt);
    }

    /// Takes a vote back for good: the agent's journal has it no more, or began a new life (I7).
    pub(super) fn strike(&mut self, now: Now, participant: &ParticipantId, attempt: &Attempt) {
        if let Some(holding) = self.holding_mut(attempt) {
            holding.ballots.insert(participant.clone(), Ballot::Struck);
        }
        self.evaluate(now, attempt);
    }

    /// An agent whose lease is over asks. What is undecided is decided against it: others go on without it
    /// where they can.
    pub(super) fn resolve(&mut self, now: Now, participant: ParticipantId, attempt: Attempt) {
        self.counters.resolved += 1;
        if self.is_open(&attempt) {
            self.strike(now, &participant, &attempt);
            if self.is_open(&attempt) {
                self.release_one(now, participant, attempt, ReleaseCause::Aborted);
            }
        } else if self.holding(&attempt).is_none() {
            self.ask_what_became(participant, attempt);
        }
    }

    fn evaluate(&mut self, now: Now, attempt: &Attempt) {
        if !self.is_open(attempt) {
            return;
        }
        let Some(holding) = self.holding_mut(attempt) else { return };
        match holding.verdict() {
            Verdict::Open => {}
            Verdict::Complete => self.decide(now, attempt),
            Verdict::Enough if holding.grace.is_none() => {
                let grace = holding.deadline.min(now.mono + limits::VOTE_GRACE);
                holding.grace = Some(grace);
                self.set_meeting_timer(&attempt.meeting, Some(grace));
            }
            Verdict::Enough => {}
            Verdict::Lost => {
                let (outcome, words) = holding.why_lost();
                self.give_up(now, attempt, outcome, &words);
            }
        }
    }

    pub(super) fn vote_timeout(&mut self, now: Now, id: &MeetingId) {
        let Some(Phase::Holding(holding)) = self.live.get(id).map(|live| &live.phase) else { return };
        let attempt = holding.row.attempt.clone();
        let grace_over = holding.grace.is_some_and(|grace| grace <= now.mono);
        match holding.verdict() {
            Verdict::Enough | Verdict::Complete if grace_over || holding.deadline <= now.mono => {
                self.decide(now, &attempt);
            }
            _ if holding.deadline <= now.mono => {
                self.give_up(now, &attempt, AttemptOutcome::TimedOut, "not everyone needed answered in time");
            }
            _ => {
                let at = holding.grace.unwrap_or(holding.deadline).min(holding.deadline);
                self.set_meeting_timer(id, Some(at));
            }
        }
    }

    /// D3: the commit set is exactly who voted yes, by compare-and-set on everything that the decision rests on.
    fn decide(&mut self, now: Now, attempt: &Attempt) {
        let id = attempt.meeting.clone();
        let Some(live) = self.live.get_mut(&id) else { return };
        let over = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
        let Phase::Holding(holding) = std::mem::replace(&mut live.phase, over) else { return };
        let commit: BTreeSet<ParticipantId> = holding.granted().cloned().collect();
        let mut meeting = live.meeting.clone();
        let outcomes = live.outcomes(&holding, &commit);
        meeting.attempts += 1;
        meeting.attempt_log.push(crate::core::model::AttemptLogEntry {
            number: meeting.attempts,
            slot: holding.row.slot,
            outcome: AttemptOutcome::Booked,
            attendees: outcomes.clone(),
            message: format!("booked with {} of {}", commit.len(), meeting.spec.attendees.len()),
        });
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
        conditions.push(Condition::AttemptIs(attempt.clone(), AttemptState::Holding));
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
        writes.extend(deliveries.iter().cloned().map(Write::Delivery));
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
    fn decided(
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
    fn finish_decided(&mut self, now: Now, id: &MeetingId, live: Live, reply: Reply) {
        self.finish(id, &reply);
        for waiting in live.inbox {
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
    fn live_conflict(
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
        let change = matches!(live.job, Job::Change { .. });
        self.finish(id, &Reply::Refused(Refused::BeingChanged));
        self.read(Read::Meeting(id.clone()), Pending::ReadUnexpected { tickets, change });
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

    /// Gives up an attempt that is HOLDING, and goes on with the next slot in the same transaction.
    pub(super) fn give_up(&mut self, now: Now, attempt: &Attempt, outcome: AttemptOutcome, words: &str) {
        let id = attempt.meeting.clone();
        let Some((carry, slot)) = self.abort(attempt, outcome, words) else { return };
        let Some(live) = self.live.get_mut(&id) else { return };
        match outcome {
            // A slot lost to a live hold is tried again when its blocker has decided, and costs no attempt.
            AttemptOutcome::HeldByOther => live.charged = live.charged.saturating_sub(1),
            // Nothing is known against the slot: after the next round it may be tried again.
            AttemptOutcome::Aborted => {}
            _ => {
                live.dead.insert(slot);
            }
        }
        if outcome == AttemptOutcome::Aborted && live.deadline > now.mono {
            live.queue.clear();
            if live.charged < live.meeting.options.max_attempts {
                return self.seek_again(now, &id, carry);
            }
        }
        self.advance(now, &id, carry);
    }

    /// Takes an attempt out of the job: the writes that abort it, and the releases.
    pub(super) fn abort(
        &mut self,
        attempt: &Attempt,
        outcome: AttemptOutcome,
        words: &str,
    ) -> Option<(Carry, TimeRange)> {
        let live = self.live.get_mut(&attempt.meeting)?;
        let over = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
        let holding = match std::mem::replace(&mut live.phase, over) {
            Phase::Holding(holding) if holding.row.attempt == *attempt => holding,
            phase => {
                live.phase = phase;
                return None;
            }
        };
        self.counters.aborted += 1;
        let outcomes = live.outcomes(&holding, &BTreeSet::new());
        live.log(holding.row.slot, outcome, outcomes, words.into());
        let no = holding.ballots.iter().filter(|(_, ballot)| matches!(ballot, Ballot::No(_)));
        live.refused_by.extend(no.map(|(id, _)| id.clone()));
        let release: Vec<Delivery> = holding
            .row
            .asked
            .iter()
            .map(|participant| Delivery {
                participant: participant.clone(),
                attempt: attempt.clone(),
                body: DeliveryBody::Release(ReleaseCause::Aborted),
            })
            .collect();
        let mut writes = vec![Write::AttemptState(attempt.clone(), AttemptState::Aborted)];
        writes.extend(release.iter().cloned().map(Write::Delivery));
        self.unhold(attempt, &holding.row.asked);
        self.aborting.insert(attempt.clone());
        let conditions = vec![Condition::AttemptIs(attempt.clone(), AttemptState::Holding)];
        Some((Carry { conditions, writes, release }, holding.row.slot))
    }

    fn unhold(&mut self, attempt: &Attempt, asked: &[ParticipantId]) {
        for participant in asked {
            if let Some(attempts) = self.held.get_mut(participant) {
                attempts.remove(attempt);
                if attempts.is_empty() {
                    self.held.remove(participant);
                }
            }
        }
    }

    /// An attempt is decided, durably: those whom it kept waiting go on.
    fn after_decision(&mut self, now: Now, attempt: &Attempt, booked: bool) {
        self.blocker_decided(now, attempt);
        for ours in self.pushers(attempt) {
            let Some(ballots) = self.holding(&ours).map(|h| h.ballots.clone()) else { continue };
            for (participant, ballot) in ballots {
                if ballot != Ballot::Pushing(attempt.clone()) {
                    continue;
                }
                match booked {
                    true => self.refused(now, &participant, &ours, Refusal::Booked),
                    false => self.hold_again(&participant, &ours),
                }
            }
        }
    }

    /// Attempts that wait for this one to be decided, in a fixed order.
    fn pushers(&self, attempt: &Attempt) -> Vec<Attempt> {
        let of = |id: &MeetingId| match &self.live.get(id)?.phase {
            Phase::Holding(h) => Some(h),
            _ => None,
        };
        let wanted = Ballot::Pushing(attempt.clone());
        let holdings = self.waiting.iter().filter_map(of);
        holdings.filter(|h| h.ballots.values().any(|b| *b == wanted)).map(|h| h.row.attempt.clone()).collect()
    }

    fn failed(&mut self, id: &MeetingId, meeting: Meeting) {
        let Some(live) = self.live.get(id).cloned() else { return };
        let words = meeting.failure.as_ref().map(|f| f.message.clone()).unwrap_or_default();
        self.notify(&live, &meeting, NoticeKind::Failed, words);
        self.finish(id, &Reply::Meeting(Box::new(meeting)));
    }

    /// What came in while a transaction was in flight is taken up now.
    fn empty_inbox(&mut self, now: Now, id: &MeetingId) {
        loop {
            let Some(live) = self.live.get_mut(id) else { return };
            if matches!(live.phase, Phase::Writing { .. }) || live.inbox.is_empty() {
                return;
            }
            match live.inbox.remove(0) {
                Inbox::Cancel(ticket, version) => self.cancel_live(now, id, ticket, version),
                Inbox::Withdraw { participant, n, reason } => {
                    self.withdraw(now, participant, id.clone(), n, reason);
                }
                Inbox::Deadline => self.deadline_over(now, id),
                Inbox::Drain => self.suspend(id),
            }
        }
    }

    /// The meeting's deadline passed while something was on its way to the store.
    fn deadline_over(&mut self, now: Now, id: &MeetingId) {
        match self.live.get(id).map(|live| &live.phase) {
            Some(Phase::Holding(_)) => self.vote_timeout(now, id),
            Some(Phase::Writing { .. }) | None => {}
            Some(_) => self.fail(now, id, Some(FailureReason::Deadline), Carry::default()),
        }
    }
}

impl Holding {
    fn granted(&self) -> impl Iterator<Item = &ParticipantId> {
        self.ballots.iter().filter(|(_, ballot)| **ballot == Ballot::Yes).map(|(id, _)| id)
    }

    fn verdict(&self) -> Verdict {
        let open = |b: &Ballot| matches!(b, Ballot::Waiting | Ballot::Pushing(_));
        let of = |id: &ParticipantId| self.ballots.get(id).unwrap_or(&Ballot::Struck);
        let count =
            |wanted: &dyn Fn(&Ballot) -> bool| self.row.counted.iter().filter(|id| wanted(of(id))).count();
        let yes = count(&|b| *b == Ballot::Yes);
        let possible = yes + count(&open);
        let minimum = self.row.minimum as usize;
        let required_gone = self.row.required.iter().any(|id| !open(of(id)) && *of(id) != Ballot::Yes);
        let nobody = self.ballots.values().all(|b| !open(b) && *b != Ballot::Yes);
        if required_gone || possible < minimum || nobody {
            return Verdict::Lost;
        }
        let required_yes = self.row.required.iter().all(|id| *of(id) == Ballot::Yes);
        let somebody = self.granted().next().is_some();
        match (required_yes && yes >= minimum && somebody, self.ballots.values().any(open)) {
            (true, false) => Verdict::Complete,
            (true, true) => Verdict::Enough,
            (false, _) => Verdict::Open,
        }
    }

    /// Lost to a live hold only if every refusal of someone needed is one.
    fn why_lost(&self) -> (AttemptOutcome, String) {
        let refusals = || {
            self.ballots.iter().filter(|(id, b)| {
                self.row.counted.contains(id) && matches!(b, Ballot::No(_) | Ballot::Struck)
            })
        };
        let names: Vec<&str> = refusals().map(|(id, _)| id.as_str()).take(5).collect();
        let names = names.join(", ");
        if refusals().all(|(_, b)| matches!(b, Ballot::No(Refusal::Held(Some(_))))) {
            return (AttemptOutcome::HeldByOther, format!("{names}: held for another meeting"));
        }
        if refusals()
            .all(|(_, b)| matches!(b, Ballot::Struck | Ballot::No(Refusal::Held(Some(_)) | Refusal::Stale)))
        {
            return (AttemptOutcome::Aborted, format!("{names}: the promise was lost"));
        }
        (AttemptOutcome::Refused, format!("{names}: not free any more"))
    }
}

impl Live {
    pub(super) fn old_attempt(&self) -> Option<&AttemptRow> {
        match &self.job {
            Job::Change { old, .. } => Some(old),
            Job::New | Job::Find { .. } => None,
        }
    }

    fn attempt_row(&self, n: AttemptNumber, slot: TimeRange, asked: Vec<ParticipantId>) -> AttemptRow {
        let spec = &self.meeting.spec;
        let with = |wanted: &dyn Fn(Role) -> bool| {
            spec.attendees.iter().filter(|a| wanted(a.role)).map(|a| a.id.clone()).collect::<Vec<_>>()
        };
        let mut required = with(&|role| role == Role::Required);
        // Who was booked stays booked when others are added: the change takes place with all of them or not at all.
        if let Job::Change { old, kind: EventKind::Updated, .. } = &self.job {
            let kept =
                |id: &&ParticipantId| spec.attendees.iter().any(|a| a.id == **id) && !required.contains(id);
            let kept: Vec<_> = old.commit_set.iter().filter(kept).cloned().collect();
            required.extend(kept);
        }
        AttemptRow {
            attempt: Attempt::new(self.meeting.id.clone(), n),
            state: AttemptState::Holding,
            slot,
            blocked: spec.blocked(&slot),
            asked,
            required,
            minimum: spec.quorum() as u32,
            counted: with(&|role| role != Role::Optional),
            rank: self.meeting.rank.clone(),
            displaces: self.displaces(),
            commit_set: Vec::new(),
        }
    }

    pub(super) fn hold_message(&self, row: &AttemptRow) -> SchedulerMessage {
        SchedulerMessage::Hold(Arc::new(Hold {
            attempt: row.attempt.clone(),
            slot: row.slot,
            blocked: row.blocked,
            lease: limits::LEASE,
            displaces: row.displaces.clone(),
            priority: row.rank.priority,
            title: self.meeting.spec.title.clone(),
            organizer: self.meeting.spec.organizer.clone(),
        }))
    }

    /// What became of each attendee by the votes of an attempt; those who were not asked to hold it, by their answers.
    pub(super) fn outcomes(
        &self,
        holding: &Holding,
        commit: &BTreeSet<ParticipantId>,
    ) -> Vec<AttendeeOutcome> {
        let attendees = self.meeting.spec.attendees.iter().zip(&self.answers);
        let status = |attendee: &crate::core::model::Attendee, answer: &Answer| {
            let mut detail = String::new();
            let status = match holding.ballots.get(&attendee.id) {
                Some(_) if commit.contains(&attendee.id) => AttendeeStatus::Attending,
                Some(Ballot::Yes) => AttendeeStatus::Attending,
                Some(Ballot::Waiting | Ballot::Pushing(_) | Ballot::Struck) => AttendeeStatus::NoAnswer,
                Some(Ballot::No(_)) => AttendeeStatus::Busy,
                None => match answer {
                    Answer::Free(_) => AttendeeStatus::Busy,
                    Answer::Declined(reason) => {
                        detail.clone_from(reason);
                        AttendeeStatus::Declined
                    }
                    Answer::NoAnswer => AttendeeStatus::NoAnswer,
                    Answer::Disconnected => AttendeeStatus::Disconnected,
                    Answer::NotAsked => AttendeeStatus::NotAsked,
                },
            };
            AttendeeOutcome { detail, ..AttendeeOutcome::new(attendee, status) }
        };
        attendees.map(|(attendee, answer)| status(attendee, answer)).collect()
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
