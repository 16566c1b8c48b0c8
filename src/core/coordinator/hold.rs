//! One attempt: D1, the votes, the decision D3, and giving up. The heart of PROTOCOL.md, "Scheduler, per attempt".

use std::collections::BTreeSet;

use super::seek::Carry;
use super::votes::Verdict;
use super::*;
use crate::core::message::{Refusal, ReleaseCause, Vote};
use crate::core::model::FailureReason;
use crate::core::record::{AttemptState, DeliveryBody};

/// How often holds of one attempt are sent again after pushes, before a refusal is final.
const HOLDS_AGAIN: u32 = 64;

impl Coordinator {
    /// The live hold of an attempt, also while its decision is on its way to the store.
    pub(super) fn holding(&self, attempt: &Attempt) -> Option<&Holding> {
        let holding = match &self.live.get(&attempt.meeting)?.phase {
            Phase::Holding(holding) => holding,
            Phase::Writing { next: Next::Hold | Next::Decide(..), holding: Some(holding), .. } => holding,
            // Suspended, and perhaps soon to go on: what is said meanwhile counts.
            Phase::Writing { next: Next::Displaced(was), .. } => match &**was {
                Phase::Holding(holding) => holding,
                _ => return None,
            },
            _ => return None,
        };
        (holding.row.attempt == *attempt).then_some(&**holding)
    }

    pub(super) fn holding_mut(&mut self, attempt: &Attempt) -> Option<&mut Holding> {
        let holding = match &mut self.live.get_mut(&attempt.meeting)?.phase {
            Phase::Holding(holding) => holding,
            Phase::Writing { next: Next::Hold | Next::Decide(..), holding: Some(holding), .. } => holding,
            Phase::Writing { next: Next::Displaced(was), .. } => match &mut **was {
                Phase::Holding(holding) => holding,
                _ => return None,
            },
            _ => return None,
        };
        (holding.row.attempt == *attempt).then_some(holding)
    }

    pub(super) fn is_open(&self, attempt: &Attempt) -> bool {
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
        self.on_disk(now, id, next, holding, release);
        self.empty_inbox(now, id);
    }

    /// A job's transaction is on disk: what follows from it.
    pub(super) fn on_disk(
        &mut self,
        now: Now,
        id: &MeetingId,
        next: Next,
        holding: Option<Box<Holding>>,
        release: Vec<Delivery>,
    ) {
        if let Next::Decide(decision) = &next {
            self.forget_displaced(&decision.displaced);
        }
        if let (Next::Decide(decision), Some(holding)) = (&next, &holding) {
            self.tracer.decided(&holding.row.attempt, holding.row.slot, decision.commit.len());
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
            (Next::Decide(decision), Some(holding)) => {
                let Decision { meeting, commit, displaced } = *decision;
                self.decided(now, id, meeting, &commit, &holding);
                self.was_displaced(now, displaced);
            }
            (Next::Seek, _) => match self.live.get(id).is_some_and(|live| live.blockers.is_empty()) {
                true => self.begin_round(now, id),
                false => self.advance(now, id, Carry::default()),
            },
            (Next::Fail(meeting), _) => self.failed(id, *meeting),
            (Next::FailChange(failure), _) => self.change_failed(id, *failure),
            (Next::Cancel(meeting), _) => self.cancelled(id, *meeting),
            (Next::Series(next), _) => self.series_on_disk(now, id, next),
            (Next::Suspend, _) => self.finish(id, &Reply::Refused(Refused::ShuttingDown)),
            (next @ Next::Displaced(_), _) | (next, None) => {
                self.alarm(format!("{id}: {next:?} is not a step of its own, or lacks its hold"));
            }
        }
        self.tracer.queued();
        for attempt in given_up {
            self.after_decision(now, &attempt, false);
        }
    }

    pub(super) fn send_holds(&mut self, now: Now, id: &MeetingId, mut holding: Box<Holding>) {
        let Some(live) = self.live.get_mut(id) else { return };
        live.stored = true;
        live.charged += 1;
        holding.since = now.mono;
        holding.deadline = live.deadline.min(now.mono + limits::ATTEMPT_TIMEOUT);
        let message = live.hold_message(&holding.row);
        let (asked, deadline) = (holding.row.asked.clone(), holding.deadline);
        live.phase = Phase::Holding(holding);
        self.set_meeting_timer(id, Some(deadline));
        self.counters.holds += asked.len() as u64;
        let trace = self.tracer.context(id);
        self.send_traced(asked, &message, trace);
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
            Some(Ballot::Struck) => {
                self.counters.stale += 1;
                if vote == Vote::Granted {
                    self.release_one(now, participant, attempt, ReleaseCause::NotNeeded);
                }
                return;
            }
            // Never asked.
            None => {
                self.counters.stale += 1;
                if vote == Vote::Granted {
                    self.release_unknown(participant, attempt, ReleaseCause::NotNeeded);
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
    pub(super) fn held_by(
        &mut self,
        now: Now,
        participant: ParticipantId,
        attempt: Attempt,
        by: Option<Attempt>,
    ) {
        let Some(holding) = self.holding(&attempt) else { return };
        let (blocked, rank) = (holding.row.blocked, holding.row.rank.clone());
        // Only what this participant was asked to hold, at this time, can be in its way: whoever names another hold would
        // have other people's meetings given up.
        let theirs = |by: &Attempt| self.holding(by).is_none_or(|h| h.row.asks_for(&participant, &blocked));
        let by = by.filter(theirs).or_else(|| self.infer_blocker(&participant, &attempt, &blocked));
        let Some(by) = by else {
            return self.refused(now, &participant, &attempt, Refusal::Held(None));
        };
        if self.aborting.contains(&by) {
            return self.wait_for_push(participant, &attempt, by);
        }
        let Some(blocker) = self.holding(&by).map(|h| h.row.rank.clone()) else {
            return self.blocker_gone(now, &participant, &attempt, &by);
        };
        if blocker > rank && !planted(Planted::LowerRankPushes) {
            if let Some(live) = self.live.get_mut(&attempt.meeting) {
                live.blockers.insert(by.clone());
            }
            return self.refused(now, &participant, &attempt, Refusal::Held(Some(by)));
        }
        self.wait_for_push(participant, &attempt, by.clone());
        // Whose decision is on its way needs nobody else to give way.
        if self.is_open(&attempt) {
            self.push(now, &attempt, &by);
        }
    }

    /// A decision did not come about: what this attempt waits for, and whoever waits for it, is looked at again, by rank.
    pub(super) fn contend_again(&mut self, now: Now, attempt: &Attempt) {
        let waits = |holding: &Holding| -> Vec<(ParticipantId, Attempt)> {
            let pushing = holding.ballots.iter().filter_map(|(participant, ballot)| match ballot {
                Ballot::Pushing(by) => Some((participant.clone(), by.clone())),
                _ => None,
            });
            pushing.collect()
        };
        for (participant, by) in self.holding(attempt).map(waits).unwrap_or_default() {
            match self.holding(&by).is_some() || self.aborting.contains(&by) {
                true => self.held_by(now, participant, attempt.clone(), Some(by)),
                // Decided meanwhile, when nobody told this attempt.
                false => self.hold_again(&participant, attempt),
            }
        }
        for ours in self.pushers(attempt) {
            for (participant, by) in self.holding(&ours).map(waits).unwrap_or_default() {
                if by == *attempt {
                    self.held_by(now, participant, ours.clone(), Some(by));
                }
            }
        }
    }

    pub(super) fn wait_for_push(&mut self, participant: ParticipantId, attempt: &Attempt, by: Attempt) {
        if let Some(holding) = self.holding_mut(attempt) {
            holding.ballots.insert(participant, Ballot::Pushing(by));
            self.waiting.insert(attempt.meeting.clone());
        }
    }

    /// Aborts a hold of lower rank, unless its decision is on its way: then that comes first.
    pub(super) fn push(&mut self, now: Now, attempt: &Attempt, by: &Attempt) {
        if self.is_open(by) {
            self.counters.pushed += 1;
            if let Some(live) = self.live.get_mut(&by.meeting) {
                live.blockers.insert(attempt.clone());
            }
            self.give_up(now, by, AttemptOutcome::HeldByOther, "given up for a meeting of higher rank");
        }
    }

    /// Small agents refuse without naming the blocker: it is one of our own live holds.
    pub(super) fn infer_blocker(
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
    pub(super) fn blocker_gone(
        &mut self,
        now: Now,
        participant: &ParticipantId,
        attempt: &Attempt,
        by: &Attempt,
    ) {
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
        let trace = self.tracer.context(&attempt.meeting);
        self.send_traced([participant.clone()], &message, trace);
    }

    pub(super) fn refused(
        &mut self,
        now: Now,
        participant: &ParticipantId,
        attempt: &Attempt,
        refusal: Refusal,
    ) {
        if let Some(holding) = self.holding_mut(attempt) {
            holding.ballots.insert(participant.clone(), Ballot::No(refusal));
        }
        self.evaluate(now, attempt);
    }

    /// Takes a vote back for good: the agent's journal has it no more, or began a new life (I7).
    pub(super) fn strike(&mut self, now: Now, participant: &ParticipantId, attempt: &Attempt) {
        if planted(Planted::FlappingAbortsOthers) {
            return self.give_up(now, attempt, AttemptOutcome::Aborted, "the promise was lost");
        }
        if let Some(holding) = self.holding_mut(attempt) {
            holding.ballots.insert(participant.clone(), Ballot::Struck);
        }
        self.evaluate(now, attempt);
    }

    /// An agent whose lease is over asks. What is undecided is decided against it: others go on without it
    /// where they can.
    pub(super) fn resolve(&mut self, now: Now, participant: ParticipantId, attempt: Attempt) {
        self.counters.resolved += 1;
        if self.holding(&attempt).is_some_and(|h| !h.row.asked.contains(&participant)) {
            return self.release_unknown(participant, attempt, ReleaseCause::Aborted);
        }
        if self.is_open(&attempt) {
            self.strike(now, &participant, &attempt);
            if self.is_open(&attempt) {
                self.release_one(now, participant, attempt, ReleaseCause::Aborted);
            }
        } else if self.holding(&attempt).is_none() {
            self.ask_what_became(participant, attempt);
        }
    }

    pub(super) fn evaluate(&mut self, now: Now, attempt: &Attempt) {
        if !self.is_open(attempt) {
            return;
        }
        let Some(holding) = self.holding_mut(attempt) else { return };
        match holding.verdict() {
            // A vote that was enough is lost: the grace begins anew once there are enough again.
            Verdict::Open => {
                self.not_ready(attempt);
                let Some(holding) = self.holding_mut(attempt) else { return };
                if holding.grace.take().is_some() {
                    let deadline = holding.deadline;
                    self.set_meeting_timer(&attempt.meeting, Some(deadline));
                }
            }
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
                let (over, grouped) = (holding.deadline <= now.mono, self.live[id].group.is_some());
                self.decide(now, &attempt);
                if over && grouped && self.is_open(&attempt) {
                    let words = "the other occurrences of the series were not promised in time";
                    self.give_up(now, &attempt, AttemptOutcome::TimedOut, words);
                }
            }
            _ if holding.deadline <= now.mono => {
                self.give_up(now, &attempt, AttemptOutcome::TimedOut, "not everyone needed answered in time");
            }
            _ => {
                // Never a moment that has passed: the timer would be due for ever.
                let grace = holding.grace.filter(|grace| *grace > now.mono);
                let at = grace.unwrap_or(holding.deadline).min(holding.deadline);
                self.set_meeting_timer(id, Some(at));
            }
        }
    }

    /// Gives up an attempt that is HOLDING, and goes on with the next slot in the same transaction.
    pub(super) fn give_up(&mut self, now: Now, attempt: &Attempt, outcome: AttemptOutcome, words: &str) {
        let id = attempt.meeting.clone();
        if let Some(series) = self.live.get(&id).and_then(|live| live.group.clone()) {
            return self.give_up_group(now, &series, attempt, outcome, words);
        }
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
            live.overlays.clear();
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
        self.counters.abort(outcome.into());
        self.tracer.given_up(attempt, &holding, outcome, words);
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

    pub(super) fn unhold(&mut self, attempt: &Attempt, asked: &[ParticipantId]) {
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
    pub(super) fn after_decision(&mut self, now: Now, attempt: &Attempt, booked: bool) {
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
    pub(super) fn pushers(&self, attempt: &Attempt) -> Vec<Attempt> {
        let of = |id: &MeetingId| match &self.live.get(id)?.phase {
            Phase::Holding(h) => Some(h),
            _ => None,
        };
        let wanted = Ballot::Pushing(attempt.clone());
        let holdings = self.waiting.iter().filter_map(of);
        holdings.filter(|h| h.ballots.values().any(|b| *b == wanted)).map(|h| h.row.attempt.clone()).collect()
    }

    pub(super) fn failed(&mut self, id: &MeetingId, meeting: Meeting) {
        let Some(live) = self.live.get(id).cloned() else { return };
        if let Some(failure) = &meeting.failure {
            self.counters.failures.note(failure.reason);
        }
        let words = meeting.failure.as_ref().map(|f| f.message.clone()).unwrap_or_default();
        self.notify(&live, &meeting, NoticeKind::Failed, words);
        self.finish(id, &Reply::Meeting(Box::new(meeting)));
    }

    /// What came in while a transaction was in flight is taken up now.
    pub(super) fn empty_inbox(&mut self, now: Now, id: &MeetingId) {
        loop {
            let Some(live) = self.live.get_mut(id) else { return };
            let writing = match &live.phase {
                Phase::Writing { .. } => true,
                Phase::Members(members) => members.are_writing(),
                _ => false,
            };
            if writing || live.inbox.is_empty() {
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
    pub(super) fn deadline_over(&mut self, now: Now, id: &MeetingId) {
        match self.live.get(id).map(|live| &live.phase) {
            Some(Phase::Holding(_)) => self.vote_timeout(now, id),
            Some(Phase::Writing { .. } | Phase::Members(_)) | None => {}
            // Of a series: its own job looks at the deadline.
            Some(_) if self.live.get(id).is_some_and(|live| live.group.is_some()) => {}
            Some(_) => self.fail(now, id, Some(FailureReason::Deadline), Carry::default()),
        }
    }
}
