//! FAIL_SERIES: the meetings of a series are held together, and decided in one transaction or given up together. Each
//! has its own attempt, votes and deliveries, so that everything that is true of an attempt (PROTOCOL.md) is true of it; that
//! the decision is one follows from its being one compare-and-set over all of their rows.

use super::*;
use crate::core::availability::{self, Answer};
use crate::core::coordinator::ask::D1;
use crate::core::coordinator::decide::Deciding;
use crate::core::coordinator::live::ALWAYS;
use crate::core::coordinator::seek::Carry;
use crate::core::message::Refusal;
use crate::core::model::{EventKind, FailureReason, FreeTime};

/// Meetings that are decided together.
#[derive(Clone, Debug)]
pub(in super::super) struct Group {
    plan: usize,
    /// Those of them whose votes suffice.
    ready: BTreeSet<MeetingId>,
    /// The transaction of all of them that is in flight, and the series' row with it.
    writing: Option<(OpId, Box<Series>)>,
    /// Whether that is D3.
    deciding: bool,
}

impl Group {
    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }
}

impl Live {
    /// Where the meeting is booked that is being changed.
    fn booked_slot(&self) -> Option<TimeRange> {
        match &self.job {
            Job::Change { current, .. } => current.slot,
            _ => None,
        }
    }

    fn group_mut(&mut self) -> Option<&mut Group> {
        match &mut self.phase {
            Phase::Members(Members::Group(group)) => Some(group),
            _ => None,
        }
    }
}

impl Coordinator {
    /// D1 for all occurrences of one first slot, together with whatever gives up the attempts before; that is given back if
    /// there is somebody missing whom to ask. The caller goes on: there may be thousands of such first slots.
    pub(super) fn hold_group(
        &mut self,
        now: Now,
        id: &MeetingId,
        chosen: &Chosen,
        mut carry: Carry,
    ) -> Result<(), Carry> {
        let Some((planned, plan)) = self.live.get(id).and_then(Live::series).and_then(|job| {
            let plan = job.plans.get(chosen.plan)?;
            Some((plan.wanted().cloned().collect::<Vec<_>>(), plan.clone()))
        }) else {
            return Ok(());
        };
        match self.live.get(id).and_then(Live::series).is_some_and(|job| job.task == Task::Book) {
            true => self.make_members(now, id, &plan),
            false => self.members_hear(id),
        }
        let Some(live) = self.live.get(id) else { return Ok(()) };
        let Some(job) = live.series() else { return Ok(()) };
        let members: Vec<MeetingId> = job.members.iter().take(planned.len()).cloned().collect();
        let mut whom = Vec::with_capacity(members.len());
        let mut overlaid = BTreeSet::new();
        for ((member, planned), chance) in members.iter().zip(&planned).zip(&chosen.chances) {
            let overlay = chance.free.is_empty() && chance.overlay;
            let asked = self.live.get(member).and_then(|live| self.whom_to_ask(live, &planned.slot, overlay));
            let words = match &asked {
                None => "what is in its way can't be displaced",
                Some((asked, _)) if asked.is_empty() => "nobody who is free is connected",
                // Each would mark it.
                Some((_, displaces)) if displaces.iter().any(|attempt| overlaid.contains(attempt)) => {
                    "two occurrences would displace the same meeting"
                }
                Some(_) => "",
            };
            match asked.filter(|_| words.is_empty()) {
                Some((asked, displaces)) => {
                    overlaid.extend(displaces.iter().cloned());
                    whom.push((asked, displaces));
                }
                None => {
                    if let Some(job) = self.live.get_mut(id).and_then(Live::series_mut) {
                        job.dead.insert(chosen.plan);
                        job.lost = format!("{}: {words}", planned.local.strftime("%Y-%m-%d %H:%M"));
                    }
                    return Err(carry);
                }
            }
        }
        let mut transaction =
            Transaction { conditions: vec![self.fence(), job.unchanged()], writes: carry.writes };
        transaction.conditions.append(&mut carry.conditions);
        let mut row = job.series.clone();
        // A series that is being moved stands as it is until the move is decided.
        if job.task == Task::Book {
            row = job.changed(now);
            row.first = Some(plan.first);
            row.rule.clone_from(&plan.rule);
            row.occurrences = plan.occurrences.iter().map(Occurrence::new).collect();
            let wanted = row.occurrences.iter_mut().filter(|occurrence| !occurrence.excluded);
            for (occurrence, member) in wanted.zip(&members) {
                occurrence.meeting = Some(member.clone());
            }
            transaction.writes.push(Write::Series(Box::new(row.clone())));
        }
        let mut holdings = Vec::with_capacity(members.len());
        for ((member, planned), (asked, displaces)) in members.iter().zip(&planned).zip(whom) {
            let Some(D1 { holding, conditions, writes }) =
                self.first_durable(now, member, planned.slot, asked, displaces)
            else {
                continue;
            };
            transaction.conditions.extend(conditions);
            transaction.writes.extend(writes);
            holdings.push((member.clone(), holding));
        }
        let op = self.apply(transaction, Pending::Group(id.clone()));
        let mut release = std::mem::take(&mut carry.release);
        for (member, holding) in holdings {
            let Some(live) = self.live.get_mut(&member) else { continue };
            let release = std::mem::take(&mut release);
            live.phase = Phase::Writing { op, next: Next::Hold, holding: Some(holding), release };
        }
        let Some(live) = self.live.get_mut(id) else { return Ok(()) };
        live.charged += 1;
        live.meeting.attempts += 1;
        let writing = Some((op, Box::new(row)));
        let group = Group { plan: chosen.plan, ready: BTreeSet::new(), writing, deciding: false };
        live.phase = Phase::Members(Members::Group(group));
        let deadline = live.deadline;
        self.set_meeting_timer(id, Some(deadline));
        Ok(())
    }

    /// Meetings that are about to be displaced are being moved together with others of their series: that move ends for the
    /// higher rank, whatever it waits for, unless its decision is on its way.
    pub(in super::super) fn stop_groups_in_the_way(&mut self, now: Now, id: &MeetingId) {
        let Some(Phase::Holding(holding)) = self.live.get(id).map(|live| &live.phase) else { return };
        let (displaces, own) =
            (holding.row.displaces.clone(), self.live.get(id).and_then(|live| live.group.clone()));
        for overlaid in displaces.iter().filter(|attempt| attempt.meeting != *id) {
            let group = self.live.get(&overlaid.meeting).and_then(|live| live.group.clone());
            if let Some(group) = group.filter(|group| own.as_ref() != Some(group)) {
                self.stop_move(now, &group, &overlaid.meeting);
            }
        }
    }

    fn stop_move(&mut self, now: Now, id: &MeetingId, member: &MeetingId) {
        let Some(live) = self.live.get(id) else { return };
        let writing = match &live.phase {
            Phase::Writing { .. } => true,
            Phase::Members(members) => members.are_writing(),
            _ => false,
        };
        let Some(job) = live.series().filter(|job| matches!(job.task, Task::Move(_)) && !writing) else {
            return;
        };
        let (series, until) = (job.series.id.clone(), job.series.booked_until);
        let words = "one of its meetings was displaced by one of higher priority";
        let failure = not_booked(FailureReason::SlotTaken, words);
        if let Some(open) = self.open_attempt(member) {
            let carry = self.abort_group(id, Some((&open, AttemptOutcome::Aborted, words)));
            let next = Next::Series(SeriesNext::Stands(Box::new(failure)));
            return self.write_for(id, next, None, carry, Vec::new(), Vec::new());
        }
        self.watch_ahead(now, &series, until);
        self.finish(id, &Reply::Series(series, vec![(Instant::MIN_UTC, failure)]));
    }

    /// Whether the group gives its meetings up, behind what is on its way to the store.
    pub(in super::super) fn has_ended(&self, id: &MeetingId) -> bool {
        let phase = self.live.get(id).map(|live| &live.phase);
        matches!(phase, Some(Phase::Writing { next: Next::Series(SeriesNext::Stands(_)), .. }))
    }

    /// A job for each occurrence of the plan, under the series'; those of an earlier first slot are taken again.
    fn make_members(&mut self, now: Now, id: &MeetingId, plan: &Plan) {
        let Some(live) = self.live.get(id) else { return };
        let Some(job) = live.series() else { return };
        let (mut members, mut series) = (job.members.clone(), job.series.clone());
        let (deadline, answers, displaceable) =
            (live.deadline, live.answers.clone(), live.displaceable.clone());
        series.rule.clone_from(&plan.rule);
        for (index, planned) in plan.wanted().enumerate() {
            if members.len() == index {
                let member = MeetingId::new(self.random.uuid());
                let meeting = occurrence_meeting(now, &series, member.clone(), index, series.rank.clone());
                let fresh = Live::new(Job::New, meeting, false, Vec::new(), deadline, now.mono);
                self.live.insert(member.clone(), Live { group: Some(id.clone()), ..fresh });
                self.trace(&member);
                members.push(member);
            }
            let Some(member) = self.live.get_mut(&members[index]) else { continue };
            member.meeting.series = Some(Arc::new(series.recurrence(&plan.first, plan.start, planned)));
            member.meeting.named_slot = Some(planned.slot);
            let blocked = series.spec.blocked(&planned.slot);
            member.answers = availability::about(&answers, &blocked);
            member.displaceable = displaceable.about(&blocked);
            member.phase = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
        }
        if let Some(job) = self.live.get_mut(id).and_then(Live::series_mut) {
            job.members = members;
        }
    }

    /// The store answered a transaction of the whole group.
    pub(in super::super) fn group_applied(&mut self, now: Now, id: &MeetingId, op: OpId, applied: Applied) {
        let Some(live) = self.live.get_mut(id) else { return };
        let decided = live.group_mut().is_some_and(|group| group.deciding);
        let Some((ours, row)) = live.group_mut().and_then(|group| group.writing.take()) else { return };
        if ours != op {
            return self.alarm(format!("{id}: an answer to a transaction that is not in flight"));
        }
        let Some(job) = live.series_mut() else { return };
        let members = job.members.clone();
        if let Applied::Conflict(condition) = applied {
            return self.group_conflict(now, id, condition, &members);
        }
        job.stored = true;
        job.series = *row;
        for member in &members {
            let Some(live) = self.live.get_mut(member) else { continue };
            let over = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
            match std::mem::replace(&mut live.phase, over) {
                Phase::Writing { op: theirs, next, holding, release } if theirs == op => {
                    self.on_disk(now, member, next, holding, release);
                }
                phase => live.phase = phase,
            }
        }
        if decided {
            return self.series_on_disk(now, id, SeriesNext::Done);
        }
        for member in &members {
            self.empty_inbox(now, member);
        }
        self.empty_inbox(now, id);
    }

    /// D1 or D3 of the group met something else than it rests on.
    fn group_conflict(&mut self, now: Now, id: &MeetingId, condition: Condition, members: &[MeetingId]) {
        let mut held = Vec::new();
        for member in members {
            let Some(live) = self.live.get_mut(member) else { continue };
            let over = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
            match std::mem::replace(&mut live.phase, over) {
                Phase::Writing { next: Next::Decide(decision), holding: Some(holding), .. } => {
                    self.tracer.undecided(&holding.row, &condition);
                    live.phase = Phase::Holding(holding);
                    self.resume_displaced(now, &decision.displaced);
                    held.push(member.clone());
                }
                Phase::Writing { release, .. } => {
                    for delivery in &release {
                        self.aborting.remove(&delivery.attempt);
                    }
                }
                phase => live.phase = phase,
            }
        }
        let struck = |holding: &Holding| match &condition {
            Condition::NoOverlap { participant, during, .. } if *during == holding.row.blocked => {
                Some((participant.clone(), Ballot::No(Refusal::Booked)))
            }
            Condition::LineageIs(participant, _) if holding.ballots.contains_key(participant) => {
                Some((participant.clone(), Ballot::Struck))
            }
            _ => None,
        };
        let mut any = false;
        for member in &held {
            let Some(Phase::Holding(holding)) = self.live.get_mut(member).map(|live| &mut live.phase) else {
                continue;
            };
            if let Some((participant, ballot)) = struck(holding) {
                holding.ballots.insert(participant, ballot);
                any = true;
            }
        }
        if held.is_empty() {
            self.alarm(format!("{id}: the store refused a transaction: {condition:?}"));
            return self.finish(id, &Reply::Refused(Refused::BeingChanged));
        }
        if let Some(group) = self.live.get_mut(id).and_then(Live::group_mut) {
            group.ready.clear();
            group.deciding = false;
        }
        let attempts: Vec<Attempt> = held.iter().filter_map(|member| self.open_attempt(member)).collect();
        if !any {
            // Something that was to be displaced is not what it was: all is sought anew.
            if let Some(first) = attempts.first() {
                let words = "a meeting that it would have displaced was changed meanwhile";
                self.give_up(now, first, AttemptOutcome::Aborted, words);
            }
        }
        for attempt in &attempts {
            if self.is_open(attempt) {
                self.set_attempt_timer(attempt);
                self.evaluate(now, attempt);
                self.contend_again(now, attempt);
            }
        }
        for member in &held {
            self.empty_inbox(now, member);
        }
        self.empty_inbox(now, id);
    }

    /// The jobs of a move know what the last round brought, and what was read before it.
    fn members_hear(&mut self, id: &MeetingId) {
        let Some(live) = self.live.get(id) else { return };
        let attendees = live.meeting.spec.attendees.iter().map(|attendee| attendee.id.clone());
        let heard: HashMap<ParticipantId, Answer> = attendees.zip(live.answers.iter().cloned()).collect();
        let displaceable = live.displaceable.clone();
        for member in live.series().map(|job| job.members.clone()).unwrap_or_default() {
            let Some(draft) = self.live.get(&member).map(|live| &live.meeting) else { continue };
            let around = draft.named_slot.map_or(ALWAYS, |slot| draft.spec.blocked(&slot));
            let attendees = draft.spec.attendees.clone();
            // An occurrence may have attendees of its own. Who was not asked may be free: the hold tells.
            let unasked = |id: &ParticipantId| match self.ready(id) {
                Some(_) => {
                    Answer::Free(vec![FreeTime { range: ALWAYS, preference: Default::default(), cost: 0 }])
                }
                None => Answer::Disconnected,
            };
            let of = |id: &ParticipantId| heard.get(id).cloned().unwrap_or_else(|| unasked(id));
            let answers: Vec<Answer> = attendees.iter().map(|attendee| of(&attendee.id)).collect();
            if let Some(member) = self.live.get_mut(&member) {
                member.answers = availability::about(&answers, &around);
                member.displaceable = displaceable.about(&around);
                member.phase = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
            }
        }
    }

    fn open_attempt(&self, member: &MeetingId) -> Option<Attempt> {
        match &self.live.get(member)?.phase {
            Phase::Holding(holding) => Some(holding.row.attempt.clone()),
            _ => None,
        }
    }

    fn set_attempt_timer(&mut self, attempt: &Attempt) {
        if let Some(deadline) = self.holding(attempt).map(|holding| holding.deadline) {
            self.set_meeting_timer(&attempt.meeting, Some(deadline));
        }
    }

    /// A vote that was enough is lost.
    pub(in super::super) fn not_ready(&mut self, attempt: &Attempt) {
        let parent = self.live.get(&attempt.meeting).and_then(|live| live.group.clone());
        if let Some(group) = parent.and_then(|id| self.live.get_mut(&id)).and_then(Live::group_mut) {
            group.ready.remove(&attempt.meeting);
        }
    }

    /// The votes of one occurrence suffice: D3 once those of all do.
    pub(in super::super) fn ready_to_decide(&mut self, now: Now, attempt: &Attempt) {
        let member = &attempt.meeting;
        let Some(id) = self.live.get(member).and_then(|live| live.group.clone()) else { return };
        // Until then nothing is due but the attempt's own end.
        self.set_attempt_timer(attempt);
        let Some(live) = self.live.get_mut(&id) else { return };
        let Some(group) = live.group_mut() else { return };
        group.ready.insert(member.clone());
        let (ready, plan) = (group.ready.len(), group.plan);
        let Some(job) = live.series() else { return };
        let wanted = job.plans.get(plan).map_or(0, |plan| plan.wanted().count());
        if ready == wanted {
            self.decide_group(now, &id, attempt);
        }
    }

    /// D3 of all occurrences, by compare-and-set on everything that each of them rests on.
    fn decide_group(&mut self, now: Now, id: &MeetingId, last: &Attempt) {
        let Some(job) = self.live.get(id).and_then(Live::series) else { return };
        let (condition, mut row) = (job.unchanged(), job.changed(now));
        let plan = match self.live.get_mut(id).and_then(Live::group_mut) {
            Some(group) => group.plan,
            None => return,
        };
        let Some(job) = self.live.get(id).and_then(Live::series) else { return };
        match job.task {
            Task::Move(by) => {
                row.moves.push(by);
                let planned = job.plans.get(plan).map(Plan::wanted).into_iter().flatten();
                let moved: BTreeMap<&MeetingId, TimeRange> =
                    job.members.iter().zip(planned.map(|planned| planned.slot)).collect();
                for occurrence in &mut row.occurrences {
                    let Some(meeting) = occurrence.meeting.as_ref() else { continue };
                    let Some(slot) = moved.get(meeting) else { continue };
                    // One that was elsewhere by itself goes along, and says so.
                    let was = self.live.get(meeting).and_then(Live::booked_slot);
                    occurrence.alone = was.filter(|was| *was != occurrence.slot);
                    occurrence.slot = *slot;
                    // That was at another time of its own.
                    occurrence.attendees.clear();
                }
            }
            _ => {
                row.booked_until = job.plans.get(plan).and_then(|plan| plan.until);
                row.state = SeriesState::Confirmed;
            }
        }
        let attempts: Vec<Attempt> =
            job.members.iter().filter_map(|member| self.open_attempt(member)).collect();
        for attempt in &attempts {
            self.stop_groups_in_the_way(now, &attempt.meeting);
        }
        let mut displacements = Vec::with_capacity(attempts.len());
        let mut taken = BTreeSet::new();
        for attempt in &attempts {
            let words = match self.would_displace(now, &attempt.meeting) {
                Some(Ok(displacement)) => {
                    if displacement.attempts().all(|attempt| taken.insert(attempt.clone())) {
                        displacements.push(displacement);
                        continue;
                    }
                    "two occurrences would displace the same meeting".to_owned()
                }
                Some(Err(words)) => words,
                None => return,
            };
            return self.give_up(now, last, AttemptOutcome::Aborted, &words);
        }
        let mut transaction = Transaction { conditions: vec![self.fence(), condition], writes: Vec::new() };
        transaction.writes.push(Write::Series(Box::new(row.clone())));
        // Occurrences of a first slot that was tried before, and that this one does not have: nobody works on them any more.
        let Some(job) = self.live.get(id).and_then(Live::series) else { return };
        let decided: BTreeSet<&MeetingId> = attempts.iter().map(|attempt| &attempt.meeting).collect();
        let left = job.members.iter().filter(|member| !decided.contains(member));
        let words = "the series was booked with another first slot, which has fewer occurrences";
        let fewer = not_booked(FailureReason::NoCommonSlot, words);
        let (conditions, writes) = self.members_failed(now, left, &fewer);
        transaction.conditions.extend(conditions);
        transaction.writes.extend(writes);
        let mut next = Vec::with_capacity(attempts.len());
        for (attempt, displacement) in attempts.iter().zip(displacements) {
            let Some(Deciding { decision, holding, deliveries, conditions, writes }) =
                self.decision(now, attempt, displacement)
            else {
                continue;
            };
            transaction.conditions.extend(conditions);
            transaction.writes.extend(writes);
            next.push((attempt.meeting.clone(), decision, holding, deliveries));
        }
        let op = self.apply(transaction, Pending::Group(id.clone()));
        for (member, decision, holding, release) in next {
            let displaced = decision.displaced.clone();
            let Some(live) = self.live.get_mut(&member) else { continue };
            let next = Next::Decide(Box::new(decision));
            live.phase = Phase::Writing { op, next, holding: Some(holding), release };
            let deadline = live.deadline;
            self.set_meeting_timer(&member, Some(deadline));
            self.suspend_displaced(&member, &displaced);
        }
        if let Some(group) = self.live.get_mut(id).and_then(Live::group_mut) {
            group.writing = Some((op, Box::new(row)));
            group.deciding = true;
        }
    }

    /// What ends meetings of the group whose rows are on disk, and that are not booked.
    pub(super) fn members_failed<'a>(
        &self,
        now: Now,
        members: impl Iterator<Item = &'a MeetingId>,
        failure: &Failure,
    ) -> (Vec<Condition>, Vec<Write>) {
        let (mut conditions, mut writes) = (Vec::new(), Vec::new());
        for member in members.filter_map(|member| self.live.get(member)).filter(|live| live.stored) {
            conditions.extend(member.unchanged());
            let mut meeting = member.meeting.clone();
            meeting.state = MeetingState::Failed;
            meeting.version += 1;
            meeting.update_time = now.wall;
            meeting.failure = Some(failure.clone());
            writes.push(Write::Meeting(Box::new(meeting.clone())));
            writes.push(event(EventKind::Failed, &meeting));
        }
        (conditions, writes)
    }

    /// One occurrence can't be had, or has to give way: so do all of them.
    pub(in super::super) fn give_up_group(
        &mut self,
        now: Now,
        id: &MeetingId,
        lost: &Attempt,
        outcome: AttemptOutcome,
        words: &str,
    ) {
        if !self.is_open(lost) {
            return;
        }
        let carry = self.abort_group(id, Some((lost, outcome, words)));
        let Some(live) = self.live.get_mut(id) else { return };
        let Some(plan) = live.group_mut().map(|group| group.plan) else { return };
        live.phase = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
        let again = match outcome {
            AttemptOutcome::HeldByOther => {
                live.charged = live.charged.saturating_sub(1);
                false
            }
            // Nothing is known against the slot: after the next round it may be tried again.
            AttemptOutcome::Aborted => true,
            _ => {
                if let Some(job) = live.series_mut() {
                    job.dead.insert(plan);
                }
                false
            }
        };
        if again && live.deadline > now.mono && live.charged < live.meeting.options.max_attempts {
            if let Some(job) = live.series_mut() {
                job.order.clear();
            }
            return self.seek_again(now, id, carry);
        }
        self.advance(now, id, carry);
    }

    /// Takes the attempts of all occurrences out of their jobs: the writes that abort them, and the releases.
    pub(super) fn abort_group(
        &mut self,
        id: &MeetingId,
        lost: Option<(&Attempt, AttemptOutcome, &str)>,
    ) -> Carry {
        let mut all = Carry::default();
        let Some(job) = self.live.get(id).and_then(Live::series) else { return all };
        let members = job.members.clone();
        let mut blockers = BTreeSet::new();
        let mut refused_by = BTreeSet::new();
        let mut words_of_lost = String::new();
        for member in &members {
            let Some(attempt) = self.open_attempt(member) else { continue };
            let (outcome, words) = match lost {
                Some((lost, outcome, words)) if *lost == attempt => (outcome, words),
                _ => (AttemptOutcome::Aborted, "another occurrence of the series could not be had"),
            };
            if let Some((carry, slot)) = self.abort(&attempt, outcome, words) {
                all.conditions.extend(carry.conditions);
                all.writes.extend(carry.writes);
                all.release.extend(carry.release);
                if lost.is_some_and(|(lost, ..)| *lost == attempt) {
                    let zone =
                        self.live.get(member).map(|live| live.meeting.time_zone.clone()).unwrap_or_default();
                    let when = zones::zone(&zone).map(|zone| zones::in_words(&slot, &zone));
                    words_of_lost = format!("{}: {words}", when.unwrap_or_default());
                }
            }
            self.set_meeting_timer(member, None);
            if let Some(live) = self.live.get_mut(member) {
                blockers.append(&mut live.blockers);
                refused_by.append(&mut live.refused_by);
            }
        }
        let Some(live) = self.live.get_mut(id) else { return all };
        live.blockers.append(&mut blockers);
        live.refused_by.append(&mut refused_by);
        for member in &members {
            let told = self.live.get(member).map(|live| live.told.clone()).unwrap_or_default();
            if let Some(live) = self.live.get_mut(id) {
                live.told.extend(told);
            }
        }
        if let Some(job) = self.live.get_mut(id).and_then(Live::series_mut) {
            job.lost = words_of_lost;
        }
        all
    }
}

fn not_booked(reason: FailureReason, message: &str) -> Failure {
    Failure {
        reason,
        message: message.to_owned(),
        counts: Default::default(),
        relaxations: Vec::new(),
        attendees: Vec::new(),
    }
}
