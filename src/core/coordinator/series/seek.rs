//! From the answers of a series' fan-out to the first slot that is tried, or to the reasons why there is none.

use super::*;
use crate::core::coordinator::seek::Carry;
use crate::core::model::FailureReason;
use crate::core::ranking;
use crate::core::reasons;
use crate::core::series::{self, Answers};

impl Coordinator {
    /// Everyone has answered about the slots of all occurrences, or the round's time is over.
    pub(in super::super) fn series_round_done(&mut self, now: Now, id: &MeetingId, candidates: &[TimeRange]) {
        let Some(live) = self.live.get(id) else { return };
        let Some(job) = live.series() else { return };
        let holds = self.holds_of_others(live);
        let answers = live.as_it_stands();
        let spec = &live.meeting.spec;
        let overlaid =
            (!live.displaceable.is_empty()).then(|| ranking::rank(spec, candidates, &live.answers, &holds));
        let found = Answers { standing: ranking::rank(spec, candidates, &answers, &holds), overlaid };
        let choice = series::choose(&job.plans, &job.dead, &job.places, job.policy(), &found);
        let unknown = live
            .answers
            .iter()
            .any(|answer| !matches!(answer, super::super::super::availability::Answer::Free(_)));
        let late = job.task == Task::Extend && unknown && job.ahead(now);
        // What begins soon, and can't be had: each occurrence of it is looked at by itself, and says why, instead of being asked
        // for until its time is over. What comes later has time.
        let stuck = choice.order.is_empty() && choice.blockers.is_empty();
        let soon = (job.task == Task::Extend && stuck && !job.ahead(now)).then(|| {
            let plan = job.soon(now);
            let plans = std::slice::from_ref(&plan);
            let order =
                series::choose(plans, &BTreeSet::new(), &job.places, ConflictPolicy::Skip, &found).order;
            let chosen = order.into_iter().next().unwrap_or_else(|| Chosen::of_nothing(&plan));
            (plan, chosen)
        });
        let Some(live) = self.live.get_mut(id) else { return };
        live.blockers = choice.blockers;
        if let Some(job) = live.series_mut() {
            job.order = choice.order.into();
        }
        // There is time: whoever is away now may be there when it is looked at again.
        if late {
            let again = super::super::super::time::add(now.wall, limits::SERIES_CHECK);
            let series = live.series().map(|job| job.series.id.clone());
            if let Some(series) = series {
                self.open_series.insert(series, again);
            }
            return self.finish(id, &Reply::Refused(Refused::BeingChanged));
        }
        let Some((plan, chosen)) = soon else { return self.advance(now, id, Carry::default()) };
        if let Some(job) = self.live.get_mut(id).and_then(Live::series_mut) {
            job.plans = vec![plan];
        }
        self.write_parts(now, id, chosen, Carry::default());
    }

    /// The next step of a series' job that holds nothing: the next first slot, a wait, or the end.
    pub(in super::super) fn advance_series(&mut self, now: Now, id: &MeetingId, mut carry: Carry) {
        loop {
            let Some(live) = self.live.get_mut(id) else { return };
            let spent = live.charged >= live.meeting.options.max_attempts;
            let Some(job) = live.series_mut() else { return };
            let policy = job.policy();
            let Some(chosen) = job.order.pop_front() else { break };
            if spent {
                return self.fail(now, id, Some(FailureReason::MaxAttempts), carry);
            }
            carry = match policy {
                ConflictPolicy::FailSeries => match self.hold_group(now, id, &chosen, carry) {
                    Ok(()) => return,
                    Err(carry) => carry,
                },
                ConflictPolicy::Skip | ConflictPolicy::MoveWithin(_) => {
                    return self.write_parts(now, id, chosen, carry);
                }
            };
        }
        let Some(live) = self.live.get(id) else { return };
        if !live.blockers.is_empty() {
            return self.wait(now, id, carry);
        }
        let spent = live.charged >= live.meeting.options.max_attempts;
        let reason = (spent && live.charged > 0).then_some(FailureReason::MaxAttempts);
        self.fail(now, id, reason, carry);
    }

    /// Nothing of the series can be booked: its row says why, for each occurrence of the first slot that came closest.
    pub(in super::super) fn fail_series(
        &mut self,
        now: Now,
        id: &MeetingId,
        reason: Option<FailureReason>,
        carry: Carry,
    ) {
        let Some(live) = self.live.get(id) else { return };
        let Some(job) = live.series() else { return };
        if !matches!(job.task, Task::Book | Task::Move(_)) {
            return self.finish(id, &Reply::Refused(Refused::BeingChanged));
        }
        let holds = self.holds_of_others(live);
        let candidates = live.candidates.clone().unwrap_or_default();
        let answers = live.as_it_stands();
        let ranking = ranking::rank(&live.meeting.spec, &candidates, &answers, &holds);
        let mut failure = series::explain(&job.plans, &job.places, job.policy(), &ranking);
        if !job.lost.is_empty() {
            failure.message = format!("{}; last tried: {}", failure.message, job.lost);
        }
        if let Some(reason) = reason {
            reasons::with_reason(&mut failure, reason, &live.meeting);
        }
        if let Task::Move(_) = job.task {
            let next = Next::Series(SeriesNext::Stands(Box::new(failure)));
            return self.write_for(id, next, None, carry, Vec::new(), Vec::new());
        }
        let words = failure.message.clone();
        let mut row = job.changed(now);
        let free: BTreeSet<TimeRange> = ranking.feasible.iter().map(|scored| scored.slot).collect();
        let lost = |plan: &&Plan| plan.wanted().filter(|planned| !free.contains(&planned.slot)).count();
        if let Some(plan) = job.plans.iter().min_by_key(|plan| (lost(plan), plan.first)) {
            row.first = Some(plan.first);
            row.rule.clone_from(&plan.rule);
            row.occurrences = plan.occurrences.iter().map(Occurrence::new).collect();
            let mut named = 0;
            for occurrence in row.occurrences.iter_mut().filter(|occurrence| !occurrence.excluded) {
                // As many as the log of a meeting's attempts names; the reason is there for each.
                named += live.meeting.spec.attendees.len();
                if named <= limits::ATTEMPT_LOG_OUTCOMES {
                    occurrence.attendees = ranking.outcomes_at(&occurrence.slot);
                }
                occurrence.reason = match free.contains(&occurrence.slot) {
                    true => "free, and not booked: the series failed".to_owned(),
                    false => series::in_the_way(&ranking, &occurrence.slot),
                };
            }
        }
        row.state = SeriesState::Failed;
        row.failure = Some(failure.clone());
        let mut conditions = vec![job.unchanged()];
        let mut writes = vec![Write::Series(Box::new(row.clone()))];
        let (unchanged, failed) = self.members_failed(now, job.members.iter(), &failure);
        conditions.extend(unchanged);
        writes.extend(failed);
        let Some(job) = self.live.get_mut(id).and_then(Live::series_mut) else { return };
        job.series = row;
        self.write_for(id, Next::Series(SeriesNext::Failed(words)), None, carry, conditions, writes);
    }
}

impl SeriesJob {
    /// The part of the plan that begins soon, and all before it.
    fn soon(&self, now: Now) -> Plan {
        let soon = super::super::super::time::add(now.wall, limits::SERIES_SOON);
        let mut plan = self.plans[0].clone();
        let last =
            plan.occurrences.iter().rposition(|planned| !planned.excluded && planned.slot.start <= soon);
        let kept = last.map_or(0, |last| last + 1);
        if let Some(next) = plan.occurrences.get(kept) {
            plan.until = Some(next.recurrence);
        }
        plan.occurrences.truncate(kept);
        plan
    }

    /// Whether there is time to ask again later: nothing of what is to be booked begins soon.
    fn ahead(&self, now: Now) -> bool {
        let soon = super::super::super::time::add(now.wall, limits::SERIES_SOON);
        self.plans.iter().flat_map(Plan::wanted).all(|planned| planned.slot.start > soon)
    }
}
