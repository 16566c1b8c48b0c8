//! Looking for a slot: taking requests, rounds of queries, and the choice of what to try next.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::live::{ALWAYS, not_booked, reachable};
use super::*;
use crate::core::availability::{self, Answer, Disclosure};
use crate::core::message::{Notice, Query};
use crate::core::model::{AttendeeStatus, EventKind, FailureReason, FreeTime};
use crate::core::ranking::{self, LiveHold};
use crate::core::reasons;
use crate::core::round::Recorded;
use crate::core::slots;
use crate::core::trace::{Details, Outcome, PhaseKind};

/// The writes and conditions that give up an attempt, to go into the transaction of what follows.
#[derive(Default)]
pub(super) struct Carry {
    pub conditions: Vec<Condition>,
    pub writes: Vec<Write>,
    pub release: Vec<Delivery>,
}

impl Coordinator {
    /// Goes on to the first round if everyone named is there or the wait is over.
    pub(super) fn connect(&mut self, now: Now, id: &MeetingId) {
        let Some(live) = self.live.get(id) else { return };
        let Phase::Connecting { until } = live.phase else { return };
        let all = live.meeting.spec.attendees.iter().all(|a| self.ready(&a.id).is_some());
        if all || until <= now.mono {
            self.connecting.remove(id);
            self.begin_round(now, id);
        } else {
            self.connecting.insert(id.clone());
            self.tracer.stay(id, PhaseKind::Connect);
            self.set_meeting_timer(id, Some(until));
        }
    }

    /// Asks everyone who is connected, once for all slots of the round; a named slot needs no question.
    pub(super) fn begin_round(&mut self, now: Now, id: &MeetingId) {
        self.tracer.close(id, Outcome::Done, None);
        let Some(live) = self.live.get(id) else { return };
        let spec = &live.meeting.spec;
        let candidates = match (&live.candidates, live.meeting.named_slot) {
            (Some(candidates), _) => candidates.clone(),
            (None, Some(slot)) => vec![slot],
            (None, None) => match slots::candidates(spec) {
                Ok(mut candidates) => {
                    let own = live.place_of_the_rule();
                    if let Some((place, slot)) =
                        own.and_then(|s| Some((candidates.binary_search(&s).err()?, s)))
                    {
                        candidates.insert(place, slot);
                    }
                    candidates
                }
                Err(slots::SlotError::TooMany { limit }) => {
                    return self.refuse_job(now, id, &Refused::TooManySlots { max: limit });
                }
                Err(error @ (slots::SlotError::Unresolved(_) | slots::SlotError::TooLong { .. })) => {
                    let (field, description) = ("spec.window".into(), error.to_string());
                    return self.refuse_job(now, id, &Refused::Invalid { field, description });
                }
                Err(slots::SlotError::UnknownZone(error)) => {
                    return self.refuse_job(now, id, &Refused::UnknownZone(error.0));
                }
            },
        };
        let old_slot = match &live.job {
            Job::Change { old, kind: EventKind::Rescheduled, .. } => Some(old.slot),
            _ => None,
        };
        // Whoever is displaced has as much notice of the new slot as was due of the old one.
        let displaced = live.meeting.state == MeetingState::Displaced;
        let soon = super::super::time::add(now.wall, limits::DISPLACE_NOTICE);
        let possible = |slot: &TimeRange| Some(*slot) != old_slot && !(displaced && slot.start <= soon);
        let all: Vec<TimeRange> = candidates.into_iter().filter(possible).collect();
        let displace = spec.displace;
        let Some(live) = self.live.get_mut(id) else { return };
        live.candidates = Some(all.clone());
        match displace {
            true => self.read_displaceable(now, id, &all),
            false => self.fan_out(now, id),
        }
    }

    /// The round, once it is known what there is to ask about.
    pub(super) fn fan_out(&mut self, now: Now, id: &MeetingId) {
        let Some(live) = self.live.get(id) else { return };
        let spec = &live.meeting.spec;
        let all = live.candidates.clone().unwrap_or_default();
        let chunk = live.meeting.options.max_candidates_per_round as usize;
        let (from, until) = match chunk {
            0 => (0, all.len()),
            n => (live.asked_until.min(all.len()), (live.asked_until + n).min(all.len())),
        };
        let asked: Vec<TimeRange> =
            all[from..until].iter().filter(|s| !live.dead.contains(s)).copied().collect();
        let (respect, named) = (spec.window.respect_attendee_hours, live.meeting.named_slot.is_some());
        let attendees: Vec<ParticipantId> = spec.attendees.iter().map(|a| a.id.clone()).collect();
        let (here, absent): (Vec<_>, HashSet<_>) = {
            let ready = |p: &ParticipantId| self.ready(p).is_some();
            let (here, absent): (Vec<_>, Vec<_>) = attendees.into_iter().partition(ready);
            (here, absent.into_iter().collect())
        };
        let Some(live) = self.live.get_mut(id) else { return };
        live.asked_until = until;
        live.remember_answers(from > 0);
        if from == 0 {
            live.overlays.clear();
        }
        let maybe = |p: &ParticipantId| match absent.contains(p) {
            true => Answer::Disconnected,
            false => Answer::Free(vec![FreeTime { range: ALWAYS, preference: Default::default(), cost: 0 }]),
        };
        live.answers = live.meeting.spec.attendees.iter().map(|a| maybe(&a.id)).collect();
        let hopeless = !reachable(&live.meeting.spec, &live.answers) || asked.is_empty();
        if named || hopeless {
            if hopeless && chunk != 0 {
                live.asked_until = usize::MAX;
            }
            return self.round_done(now, id, &asked);
        }
        let windows = slots::query_windows(&live.meeting.spec, &asked);
        self.ask(now, id, here, asked, windows, respect);
    }

    fn ask(
        &mut self,
        now: Now,
        id: &MeetingId,
        here: Vec<ParticipantId>,
        candidates: Vec<TimeRange>,
        windows: Vec<TimeRange>,
        respect_working_hours: bool,
    ) {
        self.next_query += 1;
        let query_id = QueryId::new(format!("q{}-{}", self.generation, self.next_query));
        let trace = self.tracer.asks(id, here.len());
        let Some(live) = self.live.get_mut(id) else { return };
        let until = live.deadline.min(now.mono + live.meeting.options.response_timeout);
        let spec = &live.meeting.spec;
        let query = Query {
            id: query_id.clone(),
            windows: windows.clone(),
            duration: spec.duration,
            buffer_before: spec.buffer_before,
            buffer_after: spec.buffer_after,
            step: spec.window.step,
            deadline: super::super::time::add(now.wall, until.since(now.mono)),
            disregard: live.replaces().into_iter().chain(live.displaceable.attempts().cloned()).collect(),
            respect_working_hours,
        };
        live.told.extend(here.iter().cloned());
        let round = Round::new(here.clone(), until);
        let since = now.mono;
        live.phase = Phase::Querying { query: query_id.clone(), round, candidates, windows, since };
        self.queries.insert(query_id, id.clone());
        self.set_meeting_timer(id, Some(until));
        self.counters.rounds += 1;
        self.send_traced(here, &SchedulerMessage::Query(Arc::new(query)), trace);
    }

    /// An agent answered a query.
    pub(super) fn answered(
        &mut self,
        now: Now,
        session: SessionId,
        participant: ParticipantId,
        query: &QueryId,
        answer: Result<Vec<FreeTime>, String>,
    ) {
        let Some(id) = self.queries.get(query).cloned() else {
            self.counters.stale += 1;
            // A late answer to a query of ours is no fault of the agent's; a name we never gave is.
            if !self.ever_asked(query) {
                self.out.push(Effect::Reject(session, participant, Rejected::UnknownQuery));
            }
            return;
        };
        let connected = self.participants.get(&participant).and_then(|known| known.connected.as_ref());
        let disclosure = connected.map_or(Disclosure::AskedSlotsOnly, |c| c.disclosure);
        let Some(live) = self.live.get_mut(&id) else { return };
        let Phase::Querying { round, windows, .. } = &mut live.phase else { return };
        let answer = match answer {
            // An answer reveals no more than the participant's disclosure level, whatever the agent sent (I8).
            Ok(free) => {
                let spec = &live.meeting.spec;
                let (free, clipped) = availability::clip_to(
                    free,
                    windows,
                    spec.duration,
                    spec.buffer_before,
                    spec.buffer_after,
                    spec.window.step,
                    disclosure,
                );
                self.counters.clipped += clipped as u64;
                Answer::Free(free)
            }
            Err(reason) => Answer::Declined(reason),
        };
        match round.record(&participant, answer) {
            Recorded::Counted if round.is_complete() => self.round_over(now, &id),
            Recorded::Counted => {}
            Recorded::Duplicate => self.counters.stale += 1,
            Recorded::NotAsked => {
                self.out.push(Effect::Reject(session, participant, Rejected::UnknownQuery));
            }
        }
    }

    fn ever_asked(&self, query: &QueryId) -> bool {
        let number = query.as_str().strip_prefix(&format!("q{}-", self.generation));
        number.and_then(|n| n.parse::<u64>().ok()).is_some_and(|n| n >= 1 && n <= self.next_query)
    }

    /// The round is complete, or its time is over: unanswered is unknown.
    pub(super) fn round_over(&mut self, now: Now, id: &MeetingId) {
        let Some(live) = self.live.get_mut(id) else { return };
        let over = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
        let Phase::Querying { query, round, candidates, since, .. } =
            std::mem::replace(&mut live.phase, over)
        else {
            return;
        };
        self.queries.remove(&query);
        let mut answers: HashMap<ParticipantId, Answer> = round.into_answers();
        self.counters.round_over(now.mono.since(since), answers.values());
        self.tracer.heard(id, answers.values());
        for (known, attendee) in live.answers.iter_mut().zip(&live.meeting.spec.attendees) {
            let answer = answers.remove(&attendee.id).unwrap_or(Answer::Disconnected);
            *known = match (live.earlier.remove(&attendee.id), answer) {
                (Some(mut earlier), Answer::Free(free)) => {
                    earlier.extend(free);
                    Answer::Free(availability::clip(earlier, &[ALWAYS]).0)
                }
                (_, answer) => answer,
            };
        }
        self.round_done(now, id, &candidates);
    }

    /// Ranks what came in, and goes on with the best slot.
    fn round_done(&mut self, now: Now, id: &MeetingId, candidates: &[TimeRange]) {
        let Some(live) = self.live.get(id) else { return };
        if matches!(live.job, Job::Series(_)) {
            self.tracer.close(id, Outcome::Done, None);
            return self.series_round_done(now, id, candidates);
        }
        let holds = self.holds_of_others(live);
        let answers = live.as_it_stands();
        let ranking = ranking::rank(&live.meeting.spec, candidates, &answers, &holds);
        let overlays = self.overlays(live, candidates, &holds, &ranking);
        self.tracer.ranked(id, ranking.feasible.len() + overlays.len());
        if let Job::Find { limit } = live.job {
            let mut candidates: Vec<Candidate> =
                ranking.feasible.iter().take(limit).map(|s| ranking.candidate(s)).collect();
            candidates.extend(self.overlaid_candidates(live, &overlays, &holds, limit - candidates.len()));
            let failure = candidates.is_empty().then(|| reasons::explain(&ranking, &[]));
            let (counts, time_zone) = (ranking.counts, live.meeting.time_zone.clone());
            let clock_shifts = slots::clock_shifts(&live.meeting.spec.window);
            let found = Reply::Found { candidates, failure, counts, time_zone, clock_shifts };
            return self.finish(id, &found);
        }
        let mut queue: VecDeque<TimeRange> = ranking.feasible.iter().map(|scored| scored.slot).collect();
        if let Some(near) = live.nearest_to() {
            queue.make_contiguous().sort_by_key(|slot| (slot.start - near).abs());
        }
        let blockers: BTreeSet<Attempt> =
            ranking.deferred.iter().flat_map(|d| d.blockers.iter().cloned()).collect();
        // Slot by slot, a round without a usable slot takes a number too (`Meeting.attempts`).
        let by_slot = live.meeting.options.max_candidates_per_round == 1;
        let nothing = queue.is_empty() && blockers.is_empty() && overlays.is_empty();
        let tried = candidates.first().filter(|_| by_slot && nothing);
        let tried = tried.map(|slot| (*slot, ranking.outcomes_at(slot)));
        let Some(live) = self.live.get_mut(id) else { return };
        (live.queue, live.blockers) = (queue, blockers);
        live.overlays.extend(overlays);
        if let Some((slot, outcomes)) = tried {
            live.log(slot, AttemptOutcome::NotAvailable, outcomes, "too few are free at this time".into());
            live.charged += 1;
        }
        self.advance(now, id, Carry::default());
    }

    pub(super) fn holds_of_others(&self, live: &Live) -> Vec<LiveHold> {
        let mut holds = Vec::new();
        for attendee in &live.meeting.spec.attendees {
            for attempt in self.held.get(&attendee.id).into_iter().flatten() {
                if attempt.meeting == live.meeting.id {
                    continue;
                }
                if let Some(row) = self.holding(attempt).map(|h| &h.row) {
                    holds.push(LiveHold {
                        participant: attendee.id.clone(),
                        blocked: row.blocked,
                        attempt: attempt.clone(),
                        outranks_us: row.rank > live.meeting.rank,
                    });
                }
            }
        }
        holds
    }

    /// Takes the next step of a job that holds nothing: the next slot, a further round, a wait, or the end.
    pub(super) fn advance(&mut self, now: Now, id: &MeetingId, carry: Carry) {
        let Some(live) = self.live.get_mut(id) else { return };
        if live.deadline <= now.mono {
            return self.fail(now, id, Some(FailureReason::Deadline), carry);
        }
        if matches!(live.job, Job::Series(_)) {
            return self.advance_series(now, id, carry);
        }
        while let Some(slot) = live.queue.pop_front() {
            if live.dead.contains(&slot) {
                continue;
            }
            if live.charged >= live.meeting.options.max_attempts {
                return self.fail(now, id, Some(FailureReason::MaxAttempts), carry);
            }
            return self.hold_slot(now, id, slot, false, carry);
        }
        if !live.blockers.is_empty() {
            return self.wait(now, id, carry);
        }
        let total = live.candidates.as_ref().map_or(0, Vec::len);
        if live.meeting.options.max_candidates_per_round > 0 && live.asked_until < total {
            if live.charged >= live.meeting.options.max_attempts {
                return self.fail(now, id, Some(FailureReason::MaxAttempts), carry);
            }
            return self.seek_again(now, id, carry);
        }
        while let Some(slot) = live.overlays.pop_front() {
            if live.dead.contains(&slot) && live.meeting.named_slot.is_none() {
                continue;
            }
            if live.charged >= live.meeting.options.max_attempts {
                return self.fail(now, id, Some(FailureReason::MaxAttempts), carry);
            }
            return self.hold_slot(now, id, slot, true, carry);
        }
        let exhausted = live.charged > 0 && live.charged >= live.meeting.options.max_attempts;
        let reason = exhausted.then_some(FailureReason::MaxAttempts);
        self.fail(now, id, reason, carry);
    }

    /// Asks again, after what is carried is on disk.
    pub(super) fn seek_again(&mut self, now: Now, id: &MeetingId, carry: Carry) {
        if carry.writes.is_empty() {
            return self.begin_round(now, id);
        }
        self.write_for(id, Next::Seek, None, carry, Vec::new(), Vec::new());
    }

    /// A slot is possible but for holds of others: waits until they are decided, and loses no attempt.
    pub(super) fn wait(&mut self, now: Now, id: &MeetingId, carry: Carry) {
        if !carry.writes.is_empty() {
            return self.write_for(id, Next::Seek, None, carry, Vec::new(), Vec::new());
        }
        let Some(live) = self.live.get(id) else { return };
        let decided = live.blockers.iter().any(|b| self.holding(b).is_none());
        let wake = decided.then(|| now.mono + self.jitter());
        let Some(live) = self.live.get_mut(id) else { return };
        let blockers = std::mem::take(&mut live.blockers);
        if live.meeting.options.max_candidates_per_round > 0 {
            live.asked_until = 0;
        }
        live.phase = Phase::Waiting { blockers, wake };
        self.waiting.insert(id.clone());
        self.tracer.phase(id, PhaseKind::Wait, Details::default());
        let deadline = live.deadline;
        self.set_meeting_timer(id, Some(wake.unwrap_or(deadline).min(deadline)));
    }

    pub(super) fn jitter(&mut self) -> Duration {
        self.random.between(limits::BACKOFF_MIN, limits::BACKOFF_MAX)
    }

    /// An attempt is decided: who waited for it may try again.
    pub(super) fn blocker_decided(&mut self, now: Now, attempt: &Attempt) {
        let waits = |live: &Live| matches!(&live.phase, Phase::Waiting { blockers, wake: None } if blockers.contains(attempt));
        let ids = self.waiting.iter().filter(|id| self.live.get(id).is_some_and(waits));
        let waiting: Vec<MeetingId> = ids.cloned().collect();
        self.wake(now, waiting);
    }

    /// The calendar changed: meetings that wait for a slot may find one.
    pub(super) fn calendar_changed(&mut self, now: Now, participant: &ParticipantId) {
        let waits = |live: &Live| {
            matches!(live.phase, Phase::Waiting { wake: None, .. })
                && live.meeting.spec.attendees.iter().any(|a| a.id == *participant)
        };
        let ids = self.waiting.iter().filter(|id| self.live.get(id).is_some_and(waits));
        let waiting: Vec<MeetingId> = ids.cloned().collect();
        self.wake(now, waiting);
    }

    fn wake(&mut self, now: Now, waiting: Vec<MeetingId>) {
        for id in waiting {
            let at = now.mono + self.jitter();
            let Some(live) = self.live.get_mut(&id) else { continue };
            if let Phase::Waiting { wake, .. } = &mut live.phase {
                *wake = Some(at);
            }
            let at = at.min(live.deadline);
            self.set_meeting_timer(&id, Some(at));
        }
    }

    pub(super) fn meeting_timeout(&mut self, now: Now, id: &MeetingId) {
        let Some(live) = self.live.get_mut(id) else { return };
        let over = live.deadline <= now.mono;
        match &live.phase {
            Phase::Connecting { .. } if over => {
                self.fail(now, id, Some(FailureReason::Deadline), Carry::default())
            }
            Phase::Connecting { .. } => self.connect(now, id),
            // Also at the deadline: what came in may explain more than that time ran out.
            Phase::Querying { round, .. } if round.is_over(now.mono) => self.round_over(now, id),
            Phase::Querying { .. } => {}
            Phase::Reading { .. } if over => {
                self.fail(now, id, Some(FailureReason::Deadline), Carry::default())
            }
            Phase::Reading { .. } => {}
            Phase::Holding(_) => self.vote_timeout(now, id),
            Phase::Members(_) => {}
            Phase::Waiting { .. } if live.group.is_some() => {}
            Phase::Waiting { .. } if over => {
                self.fail(now, id, Some(FailureReason::Deadline), Carry::default())
            }
            Phase::Waiting { wake, .. } if wake.is_some_and(|at| at <= now.mono) => self.begin_round(now, id),
            Phase::Waiting { .. } => {}
            Phase::Writing { .. } if over => live.inbox.push(Inbox::Deadline),
            Phase::Writing { .. } => {}
        }
    }

    /// The job ends without a slot.
    pub(super) fn fail(&mut self, now: Now, id: &MeetingId, reason: Option<FailureReason>, carry: Carry) {
        let Some(live) = self.live.get(id) else { return };
        if matches!(live.job, Job::Series(_)) {
            return self.fail_series(now, id, reason, carry);
        }
        let holds = self.holds_of_others(live);
        let all = live.candidates.as_deref().unwrap_or_default();
        let asked = match live.meeting.options.max_candidates_per_round {
            0 => all,
            _ => &all[..live.asked_until.min(all.len())],
        };
        let answers = live.as_it_stands();
        let ranking = ranking::rank(&live.meeting.spec, asked, &answers, &holds);
        let refused: Vec<TimeRange> = asked.iter().filter(|s| live.dead.contains(s)).copied().collect();
        let mut failure = match live.meeting.named_slot {
            Some(_) if reason.is_none() => {
                let by: Vec<ParticipantId> = live.refused_by.iter().cloned().collect();
                reasons::slot_taken(&ranking, &by)
            }
            _ => reasons::explain(&ranking, &refused),
        };
        if let Some(reason) = reason {
            reasons::with_reason(&mut failure, reason, &live.meeting);
        }
        let Some(live) = self.live.get_mut(id) else { return };
        match &live.job {
            Job::Find { .. } => {
                let reply = Reply::Found {
                    candidates: Vec::new(),
                    counts: failure.counts,
                    failure: Some(failure),
                    time_zone: live.meeting.time_zone.clone(),
                    clock_shifts: slots::clock_shifts(&live.meeting.spec.window),
                };
                self.finish(id, &reply);
            }
            Job::Change { .. } => self.fail_change(id, failure, carry),
            Job::Series(_) => {}
            Job::New => {
                let mut failed = live.meeting.clone();
                failed.state = MeetingState::Failed;
                failed.version += u64::from(live.stored);
                failed.update_time = now.wall;
                failed.attendees = failure.attendees.iter().map(not_booked).collect();
                failed.failure = Some(failure);
                let conditions = live.unchanged();
                let mut writes =
                    vec![Write::Meeting(Box::new(failed.clone())), event(EventKind::Failed, &failed)];
                if planted(Planted::RequestNotDurable) {
                    writes.clear();
                }
                if planted(Planted::FailedBeforeDurable) {
                    let (tickets, reply) =
                        (std::mem::take(&mut live.tickets), Reply::Meeting(Box::new(failed.clone())));
                    self.out.extend(tickets.into_iter().map(|ticket| Effect::Reply(ticket, reply.clone())));
                }
                self.write_for(id, Next::Fail(Box::new(failed)), None, carry, conditions, writes);
            }
        }
    }

    /// Submits the job's next transaction; it has none in flight.
    pub(super) fn write_for(
        &mut self,
        id: &MeetingId,
        next: Next,
        holding: Option<Box<Holding>>,
        carry: Carry,
        conditions: Vec<Condition>,
        writes: Vec<Write>,
    ) {
        let mut transaction = Transaction { conditions: vec![self.fence()], writes: carry.writes };
        if planted(Planted::DecideWithoutCompare) && matches!(next, Next::Decide(..)) {
            transaction.conditions.clear();
        }
        transaction.conditions.extend(carry.conditions);
        transaction.conditions.extend(conditions);
        transaction.writes.extend(writes);
        let op = self.apply(transaction, Pending::Live(id.clone()));
        let Some(live) = self.live.get_mut(id) else { return };
        live.phase = Phase::Writing { op, next, holding, release: carry.release };
        let deadline = live.deadline;
        self.set_meeting_timer(id, Some(deadline));
    }

    /// Answers everyone who waits for the job, and forgets it.
    pub(super) fn finish(&mut self, id: &MeetingId, reply: &Reply) {
        let Some(live) = self.live.remove(id) else { return };
        if let Job::Series(job) = &live.job {
            self.drop_members(id, job);
        }
        self.tracer.end(&live, Some(reply));
        self.drop_meeting_timer(id);
        self.connecting.remove(id);
        self.waiting.remove(id);
        if let Phase::Querying { query, .. } = &live.phase {
            self.queries.remove(query);
        }
        if self.requests.get(&live.meeting.request_id) == Some(id) {
            self.requests.remove(&live.meeting.request_id);
        }
        for ticket in live.tickets {
            self.out.push(Effect::Reply(ticket, reply.clone()));
        }
        let cancelled = |m: &Meeting| m.state == MeetingState::Cancelled;
        for ticket in live.cancels {
            let reply = match reply {
                Reply::Meeting(m) | Reply::Changed(m, _) if cancelled(m) => Reply::Changed(m.clone(), None),
                _ => Reply::Refused(Refused::AlreadyFailed),
            };
            self.out.push(Effect::Reply(ticket, reply));
        }
        self.take_up(id, live.deadline, live.inbox);
    }

    /// What came in for a job that is over is taken up against what is there now.
    pub(super) fn take_up(&mut self, id: &MeetingId, deadline: Mono, inbox: Vec<Inbox>) {
        for waiting in inbox {
            let read = Read::Meeting(id.clone());
            match waiting {
                Inbox::Cancel(ticket, version) => {
                    let command = Command::Cancel { meeting: id.clone(), version };
                    self.read(read, Pending::ReadForCommand { ticket, command, deadline });
                }
                Inbox::Withdraw { participant, n, reason } => {
                    let meeting = id.clone();
                    self.read(read, Pending::ReadWithdraw { participant, meeting, n, reason });
                }
                Inbox::Deadline | Inbox::Drain => {}
            }
        }
    }

    /// The job can't even begin. What is on disk already ends there too.
    pub(super) fn refuse_job(&mut self, now: Now, id: &MeetingId, refused: &Refused) {
        if self.live.get(id).is_some_and(|live| live.stored && live.job == Job::New) {
            return self.fail(now, id, None, Carry::default());
        }
        self.finish(id, &Reply::Refused(refused.clone()));
    }

    pub(super) fn notify(&mut self, live: &Live, meeting: &Meeting, kind: NoticeKind, message: String) {
        let booked = |p: &&ParticipantId| {
            let outcome = meeting.attendees.iter().find(|o| o.id == **p);
            kind == NoticeKind::Failed || outcome.is_none_or(|o| o.status != AttendeeStatus::Attending)
        };
        let to: Vec<ParticipantId> = live.told.iter().filter(booked).cloned().collect();
        let notice = Notice {
            meeting: meeting.id.clone(),
            kind,
            message,
            slot: meeting.slot,
            title: meeting.spec.title.clone(),
        };
        self.send_all(to, &SchedulerMessage::Notice(Arc::new(notice)));
    }
}
