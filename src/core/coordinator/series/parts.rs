//! SKIP and MOVE_WITHIN: the occurrences are booked by jobs of their own, each alone. The series' job waits for them; and
//! series without an end are booked further as time goes on.

use super::*;
use crate::core::availability;
use crate::core::coordinator::seek::Carry;
use crate::core::ranking;
use crate::core::series::{self, Chance, Planned};

/// Tickets from here on belong to the coordinator itself: the engine never gives them out.
const PARTS: u64 = 1 << 63;

/// Jobs that a series' job waits for.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Parts {
    /// With the occurrence that each is about.
    open: BTreeMap<Ticket, Instant>,
    /// Whether any of them booked a meeting.
    booked: bool,
    /// Whether any of them changed one.
    changed: bool,
    /// Why one of them could not come to its end.
    refused: Option<Refused>,
}

impl Coordinator {
    /// The row of the series with all occurrences that are to be tried, before any of them is.
    pub(super) fn write_parts(&mut self, now: Now, id: &MeetingId, chosen: Chosen, carry: Carry) {
        let Some(live) = self.live.get(id) else { return };
        let Some(job) = live.series() else { return };
        let Some(plan) = job.plans.get(chosen.plan) else { return };
        let mut row = job.changed(now);
        if job.task == Task::Book {
            row.first = Some(plan.first);
            row.rule.clone_from(&plan.rule);
            row.occurrences.clear();
        }
        row.booked_until = plan.until;
        let mut occurrences: Vec<Occurrence> = plan.occurrences.iter().map(Occurrence::new).collect();
        let condition = job.unchanged();
        // Of those whose own slot can't be had, and that go elsewhere: what stood in the way.
        let moves = |(planned, chance): (&Planned, &Chance)| {
            chance.free.first().filter(|free| **free != planned.slot).map(|_| planned.slot)
        };
        let moved: BTreeSet<TimeRange> = plan.wanted().zip(&chosen.chances).filter_map(moves).collect();
        if !moved.is_empty() {
            let (holds, answers) = (self.holds_of_others(live), live.as_it_stands());
            let places: Vec<TimeRange> = moved.iter().copied().collect();
            let ranking = ranking::rank(&live.meeting.spec, &places, &answers, &holds);
            let most = limits::ATTEMPT_LOG_OUTCOMES / live.meeting.spec.attendees.len().max(1);
            let moved = occurrences.iter_mut().filter(|o| !o.excluded && moved.contains(&o.slot));
            for occurrence in moved.take(most) {
                occurrence.attendees = ranking.outcomes_at(&occurrence.slot);
            }
        }
        for occurrence in occurrences.iter_mut().filter(|occurrence| !occurrence.excluded) {
            match job.places.at(&occurrence.slot).is_empty() {
                true => occurrence.reason = "the window of the series leaves its time out".to_owned(),
                false => occurrence.meeting = Some(MeetingId::new(self.random.uuid())),
            }
        }
        row.occurrences.extend(occurrences);
        let Some(live) = self.live.get_mut(id) else { return };
        live.charged += 1;
        let Some(job) = live.series_mut() else { return };
        job.series = row.clone();
        let next = Next::Series(SeriesNext::Started(Box::new(chosen)));
        self.write_for(id, next, None, carry, vec![condition], vec![Write::Series(Box::new(row))]);
    }

    /// The series' row is on disk: a job for each of the plan's occurrences.
    pub(super) fn start_parts(&mut self, now: Now, id: &MeetingId, chosen: &Chosen) {
        let Some(live) = self.live.get_mut(id) else { return };
        live.phase = Phase::Members(Members::Parts(Parts::default()));
        let live = live.clone();
        let Some(job) = live.series() else { return };
        let Some(plan) = job.plans.get(chosen.plan) else { return };
        let from = job.series.occurrences.len() - plan.occurrences.len();
        let wanted = job.series.occurrences.iter().enumerate().skip(from).filter(|(_, o)| !o.excluded);
        let mut begun = Vec::new();
        for ((index, occurrence), chance) in wanted.zip(&chosen.chances) {
            let Some(meeting) = occurrence.meeting.clone() else { continue };
            let places = job.places.at(&occurrence.slot).to_vec();
            let member = self.start_part(now, &live, index, meeting, places, Some(chance));
            // What was in the way is decided by now: nothing would wake it.
            let deferred = chance.free.is_empty() && !chance.deferred.is_empty();
            let waits = self.live.get(&member).is_some_and(|part| !part.blockers.is_empty());
            begun.push((member, deferred && !waits));
        }
        for (member, gone) in begun {
            match gone {
                true => self.begin_round(now, &member),
                false => self.advance(now, &member, Carry::default()),
            }
        }
        self.parts_over(now, id);
    }

    /// A job for one occurrence, with what is known of its slots; it has not taken a step yet.
    fn start_part(
        &mut self,
        now: Now,
        parent: &Live,
        index: usize,
        id: MeetingId,
        places: Vec<TimeRange>,
        chance: Option<&Chance>,
    ) -> MeetingId {
        let Some(job) = parent.series() else { return id };
        let (series, occurrence) = (&job.series, &job.series.occurrences[index]);
        let rank = Rank { meeting: id.clone(), ..series.rank.clone() };
        let mut meeting = occurrence_meeting(now, series, id.clone(), index, rank);
        if let Some(first) = series.first {
            let start = zones::zone(&series.time_zone).map(|zone| zones::to_civil(first.start, &zone));
            let start = start.unwrap_or(occurrence.local);
            meeting.series = Some(Arc::new(series.recurrence(&first, start, &occurrence.as_planned())));
        }
        match job.policy() {
            ConflictPolicy::MoveWithin(tolerance) => {
                let window = &mut meeting.spec.window;
                let around = occurrence.slot.padded(tolerance, tolerance);
                (window.earliest, window.latest) = (Some(around.start), Some(around.end));
                if series.named.is_some() {
                    window.working_hours = crate::core::model::WorkingHours::Unrestricted;
                }
            }
            ConflictPolicy::FailSeries | ConflictPolicy::Skip => meeting.named_slot = Some(occurrence.slot),
        }
        let ticket = self.part(&parent.meeting.id, occurrence.recurrence);
        let mut live = Live::new(Job::New, meeting, false, vec![ticket], parent.deadline, now.mono);
        if job.task == Task::Extend {
            // No caller waits for the answer: whoever was asked is told what can't be had.
            live.told.clone_from(&parent.told);
        }
        let mut sorted = places;
        sorted.sort_unstable();
        // What is known of all other occurrences would be kept as often as there are occurrences.
        let (first, last) =
            (sorted.first().unwrap_or(&occurrence.slot), sorted.last().unwrap_or(&occurrence.slot));
        let spec = &live.meeting.spec;
        let around = TimeRange::new(spec.blocked(first).start, spec.blocked(last).end);
        live.answers = availability::about(&parent.answers, &around);
        live.displaceable = parent.displaceable.about(&around);
        if let Some(chance) = chance {
            live.queue = chance.free.iter().copied().collect();
            if chance.overlay {
                live.overlays.push_back(occurrence.slot);
            }
            if chance.free.is_empty() && !chance.deferred.is_empty() {
                // Asked again when what is in the way is decided.
                live.blockers = self.blockers_at(&live, &chance.deferred);
            }
        }
        live.candidates = Some(sorted);
        live.phase = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
        self.live.insert(id.clone(), live);
        self.trace(&id);
        id
    }

    /// The live holds that overlap one of the slots.
    fn blockers_at(&self, live: &Live, slots: &[TimeRange]) -> BTreeSet<Attempt> {
        let spec = &live.meeting.spec;
        let overlaps = |blocked: &TimeRange| slots.iter().any(|slot| spec.blocked(slot).overlaps(blocked));
        let holds = self.holds_of_others(live).into_iter();
        holds.filter(|hold| overlaps(&hold.blocked)).map(|hold| hold.attempt).collect()
    }

    /// A ticket for a job that the series' job waits for, about the occurrence that the rule has begin then.
    pub(super) fn part(&mut self, id: &MeetingId, at: Instant) -> Ticket {
        let ticket = Ticket(PARTS | self.next_part);
        self.next_part += 1;
        self.parts.insert(ticket, id.clone());
        if let Some(Phase::Members(Members::Parts(parts))) = self.live.get_mut(id).map(|live| &mut live.phase)
        {
            parts.open.insert(ticket, at);
        }
        ticket
    }

    /// Takes the replies to the coordinator's own tickets out of what is said, and acts on them.
    pub(in super::super) fn hear_parts(&mut self, now: Now) {
        if self.parts.is_empty() {
            return;
        }
        loop {
            let ours = |effect: &Effect| matches!(effect, Effect::Reply(ticket, _) if ticket.0 & PARTS != 0);
            let Some(at) = self.out.iter().position(ours) else { return };
            let Effect::Reply(ticket, reply) = self.out.remove(at) else { return };
            let Some(id) = self.parts.remove(&ticket) else { continue };
            let Some(Phase::Members(Members::Parts(parts))) =
                self.live.get_mut(&id).map(|live| &mut live.phase)
            else {
                continue;
            };
            let at = parts.open.remove(&ticket);
            match reply {
                Reply::Meeting(meeting) => parts.booked |= meeting.state == MeetingState::Confirmed,
                Reply::Changed(meeting, failure) => {
                    parts.changed |= failure.is_none();
                    let instant = meeting.series.as_ref().map(|series| series.instant);
                    if let (Some(instant), Some(failure)) = (instant, failure)
                        && let Some(job) = self.live.get_mut(&id).and_then(Live::series_mut)
                    {
                        job.failures.push((instant, failure));
                    }
                }
                Reply::Refused(refused) => self.part_refused(&id, at, refused),
                Reply::Found { .. } | Reply::Series(..) | Reply::SeriesPlan(_) => {}
            }
            self.parts_over(now, &id);
        }
    }

    /// An occurrence could not be booked or changed: that is its own affair, and the others go on.
    fn part_refused(&mut self, id: &MeetingId, at: Option<Instant>, refused: Refused) {
        let Some(live) = self.live.get_mut(id) else { return };
        let (Some(job), Some(at)) = (live.series_mut(), at) else { return };
        match (job.task, &refused) {
            // A restart goes on.
            (_, Refused::ShuttingDown) => {}
            (Task::Book | Task::Extend, _) => {
                let mut named = job.series.occurrences.iter_mut();
                if let Some(occurrence) = named.find(|occurrence| occurrence.recurrence == at) {
                    occurrence.reason = refused.to_string();
                }
                return;
            }
            // There is nothing to call off or to change.
            (
                _,
                Refused::AlreadyFailed
                | Refused::NoSuchMeeting(_)
                | Refused::NotConfirmed(MeetingState::Cancelled | MeetingState::Failed),
            ) => return,
            (_, Refused::BeingChanged | Refused::NotConfirmed(_) | Refused::Overloaded) => {
                job.failures.push((at, being_changed(&refused.to_string())));
                return;
            }
            // Wrong for one, wrong for all.
            _ => {}
        }
        if let Phase::Members(Members::Parts(parts)) = &mut live.phase {
            parts.refused = Some(refused);
        }
    }

    /// All jobs that the series' job waits for have ended: the series is decided.
    pub(super) fn parts_over(&mut self, now: Now, id: &MeetingId) {
        let Some(live) = self.live.get_mut(id) else { return };
        let Phase::Members(Members::Parts(parts)) = &live.phase else { return };
        if !parts.open.is_empty() {
            return;
        }
        let (booked, changed, refused) = (parts.booked, parts.changed, parts.refused.clone());
        if let Some(refused) = refused {
            // The store has how far it came: a restart goes on, or the same request again.
            return self.finish(id, &Reply::Refused(refused));
        }
        let Some(job) = live.series_mut() else { return };
        // It stands as before, as all of its occurrences do.
        if matches!(job.task, Task::Update) && !changed {
            let reply = Reply::Series(job.series.id.clone(), std::mem::take(&mut job.failures));
            return self.finish(id, &reply);
        }
        let condition = job.unchanged();
        let mut row = job.changed(now);
        match job.task {
            // Asked again, it goes on with those that are left.
            Task::Cancel(_) if !job.failures.is_empty() => {}
            Task::Cancel(cut) => row.cut(cut),
            Task::Book if !booked => {
                row.state = SeriesState::Failed;
                row.booked_until = None;
                row.failure = Some(nothing_booked());
            }
            Task::Book | Task::Extend => row.state = SeriesState::Confirmed,
            Task::Move(_) | Task::Update => {}
        }
        job.series = row.clone();
        let next = Next::Series(SeriesNext::Done);
        let writes = vec![Write::Series(Box::new(row))];
        self.write_for(id, next, None, Carry::default(), vec![condition], writes);
    }

    /// The scheduler is shutting down: what is undecided is given up, for a restart to take up.
    pub(in super::super) fn suspend_series(&mut self, id: &MeetingId) {
        let Some(live) = self.live.get_mut(id) else { return };
        match &live.phase {
            Phase::Members(Members::Group(group)) if group.is_writing() => live.inbox.push(Inbox::Drain),
            Phase::Members(Members::Group(_)) => {
                let carry = self.abort_group(id, None);
                self.write_for(id, Next::Suspend, None, carry, Vec::new(), Vec::new());
            }
            // Its meetings' jobs are suspended one by one, and say so: also those that were begun since.
            _ => {
                let ours = |live: &Live| live.tickets.iter().any(|ticket| self.parts.get(ticket) == Some(id));
                let parts = self.live.iter().filter(|(_, live)| ours(live));
                let mut parts: Vec<MeetingId> = parts.map(|(part, _)| part.clone()).collect();
                parts.sort();
                for part in parts {
                    self.suspend(&part);
                }
            }
        }
    }

    /// From now on the series is looked at when it has to be booked further.
    pub(super) fn watch_ahead(&mut self, now: Now, id: &SeriesId, booked_until: Option<Instant>) {
        let Some(until) = booked_until else {
            self.open_series.remove(id);
            return;
        };
        let day = Duration::from_secs(24 * 60 * 60);
        let ahead = limits::SERIES_HORIZON.saturating_sub(day);
        self.open_series.insert(id.clone(), super::super::super::time::sub(until, ahead));
        self.timers.insert((now.mono + limits::SERIES_CHECK, Timer::Series));
    }

    /// Looks for series without an end that have to be booked further.
    pub(in super::super) fn look_ahead(&mut self, now: Now) {
        self.timers.retain(|(_, timer)| *timer != Timer::Series);
        if self.open_series.is_empty() || self.draining {
            return;
        }
        self.timers.insert((now.mono + limits::SERIES_CHECK, Timer::Series));
        let due: Vec<SeriesId> =
            self.open_series.iter().filter(|(_, at)| **at <= now.wall).map(|(id, _)| id.clone()).collect();
        for id in due {
            if !self.live.contains_key(&job_id(&id)) {
                self.read(Read::Series(id), Pending::ReadSeries(SeriesRead::Extend));
            }
        }
    }

    /// The next occurrences of a series without an end.
    pub(super) fn extend_series(&mut self, now: Now, mut series: Series) {
        let (Some(from), Some(first)) = (series.booked_until, series.first) else { return };
        if series.state != SeriesState::Confirmed || self.live.contains_key(&job_id(&series.id)) {
            return;
        }
        let Ok(zone) = zones::zone(&series.time_zone) else { return };
        let start = zones::to_civil(first.start, &zone);
        let mut until =
            zones::start_of_day(zones::to_civil(series::horizon(now.wall, first.start), &zone).date(), &zone);
        let (rule, exclude) = (series.rule.clone(), series.exclude.clone());
        let between =
            |from, until| series::extension(&rule, &exclude, start, first.length(), &zone, from, until);
        let found = match between(from, until) {
            Ok(found) => found,
            Err(error) => {
                return self.alarm(format!("{}: its rule can't be read any more: {error}", series.id));
            }
        };
        if until <= from {
            return self.watch_ahead(now, &series.id, Some(from));
        }
        // No more than are booked at once; the rest follows.
        if let Some(last) = found.last().filter(|_| found.len() == limits::OCCURRENCES) {
            until = super::super::super::time::add(last.recurrence, Duration::from_secs(1));
        }
        let found: Vec<Planned> = found.into_iter().map(|planned| series.as_moved(planned, &zone)).collect();
        let (past, occurrences): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|planned| planned.slot.start <= now.wall);
        // Nobody could be asked in time. Nothing is booked in the past, and nothing dropped in silence.
        series.occurrences.extend(past.iter().map(|planned| {
            let reason = if planned.excluded { "" } else { "its time was over before it could be booked" };
            Occurrence { reason: reason.to_owned(), ..Occurrence::new(planned) }
        }));
        // One that was given an end is looked at until that is booked.
        let ends = || between(until, Instant::MAX_UTC).is_ok_and(|rest| rest.is_empty());
        let ahead = Some(until).filter(|_| !series.rule.contains("UNTIL=") || !ends());
        let plan = Plan { rule: series.rule.clone(), first, start, occurrences, until: ahead };
        let mut job = SeriesJob::new(series, true, Task::Extend);
        let named = job.series.named.is_some();
        let places = Places::of(plan.wanted(), &job.series.spec, job.policy(), named);
        job.places = places.unwrap_or_else(|_| Places::exactly(plan.wanted()));
        job.plans = vec![plan];
        let deadline = now.mono + limits::DEADLINE_MAX;
        job.series.deadline = super::super::super::time::add(now.wall, limits::DEADLINE_MAX);
        if job.places.all().is_empty() {
            // Nothing falls into this time: only how far it was looked changes.
            let id = job_id(&job.series.id);
            let chosen = Chosen { plan: 0, chances: Vec::new() };
            self.live.insert(id.clone(), series_live(now, job, Vec::new(), deadline, Duration::ZERO));
            return self.write_parts(now, &id, chosen, Carry::default());
        }
        self.start_series(now, job, Vec::new(), deadline, limits::DISPLACED_CONNECT);
    }

    /// After a restart: the meetings of series that are decided together, and all others.
    pub(in super::super) fn of_series(
        &self,
        series: &[Series],
        meetings: Vec<Meeting>,
    ) -> (BTreeMap<SeriesId, Vec<Meeting>>, Vec<Meeting>) {
        let together = |series: &&Series| {
            series.state == SeriesState::Scheduling && series.policy == ConflictPolicy::FailSeries
        };
        let together: BTreeSet<&SeriesId> = series.iter().filter(together).map(|series| &series.id).collect();
        let (mut grouped, mut alone) = (BTreeMap::<SeriesId, Vec<Meeting>>::new(), Vec::new());
        for meeting in meetings {
            match meeting.series.as_ref().filter(|recurrence| together.contains(&recurrence.series)) {
                Some(recurrence) => grouped.entry(recurrence.series.clone()).or_default().push(meeting),
                None => alone.push(meeting),
            }
        }
        (grouped, alone)
    }

    /// After a restart: a series that was being booked goes on, and one without an end is watched again.
    pub(in super::super) fn resume_series(
        &mut self,
        now: Now,
        series: Series,
        together: &BTreeMap<SeriesId, Vec<Meeting>>,
    ) {
        if series.state == SeriesState::Confirmed {
            self.open_series.insert(series.id.clone(), now.wall);
            self.timers.insert((now.mono + limits::RECOVERY_CONNECT, Timer::Series));
            return;
        }
        if series.policy != ConflictPolicy::FailSeries {
            let read = Read::Series(series.id.clone());
            return self.read(read, Pending::ReadSeries(SeriesRead::Resume(Box::new(series))));
        }
        let left = (series.deadline - now.wall).to_std().unwrap_or_default().min(limits::DEADLINE_MAX);
        let deadline = now.mono + left;
        let pattern = Pattern::Rule(series.rule.clone());
        let planned = self.planned(now, &series, &pattern, Task::Book, true);
        let mut job = planned.unwrap_or_else(|_| SeriesJob::new(series.clone(), true, Task::Book));
        let id = job_id(&series.id);
        self.requests.insert(request_key(&series.request_id), id.clone());
        let mut members = together.get(&series.id).cloned().unwrap_or_default();
        let index = |meeting: &Meeting| {
            let number = meeting.request_id.as_str().rsplit('#').next().and_then(|n| n.parse::<usize>().ok());
            number.unwrap_or(usize::MAX)
        };
        members.sort_by_key(index);
        for meeting in members {
            job.members.push(meeting.id.clone());
            let live = Live::new(Job::New, meeting.clone(), true, Vec::new(), deadline, now.mono);
            let phase = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
            self.live.insert(meeting.id, Live { group: Some(id.clone()), phase, ..live });
        }
        self.start_series(now, job, Vec::new(), deadline, limits::RECOVERY_CONNECT);
    }

    /// After a restart: what became of the occurrences that were booked one by one. Those that no row tells of are begun anew.
    pub(super) fn resume_parts(&mut self, now: Now, mut series: Series, found: &[Meeting], task: Task) {
        let id = job_id(&series.id);
        if self.live.contains_key(&id) {
            return;
        }
        if task == Task::Book {
            self.requests.insert(request_key(&series.request_id), id.clone());
        } else {
            series.deadline = super::super::super::time::add(now.wall, limits::DEADLINE_MAX);
        }
        let left = (series.deadline - now.wall).to_std().unwrap_or_default().min(limits::DEADLINE_MAX);
        let deadline = now.mono + left;
        let job = SeriesJob::new(series.clone(), true, task);
        let mut live = series_live(now, job, Vec::new(), deadline, limits::RECOVERY_CONNECT);
        let rows: HashSet<&MeetingId> = found.iter().map(|meeting| &meeting.id).collect();
        let booked = found.iter().any(|meeting| meeting.state == MeetingState::Confirmed);
        live.phase = Phase::Members(Members::Parts(Parts { booked, ..Parts::default() }));
        self.live.insert(id.clone(), live.clone());
        let mut begun = Vec::new();
        for (index, occurrence) in series.occurrences.iter().enumerate() {
            let Some(meeting) = occurrence.meeting.clone() else { continue };
            if let Some(part) = self.live.get(&meeting) {
                debug_assert!(part.group.is_none());
                if part.job != Job::New {
                    continue;
                }
                let ticket = self.part(&id, occurrence.recurrence);
                if let Some(part) = self.live.get_mut(&meeting) {
                    part.tickets.push(ticket);
                }
            } else if !rows.contains(&meeting) {
                let until = deadline.min(now.mono + limits::RECOVERY_CONNECT);
                let member = self.start_part(now, &live, index, meeting, vec![occurrence.slot], None);
                if let Some(part) = self.live.get_mut(&member) {
                    part.phase = Phase::Connecting { until };
                    if part.meeting.named_slot.is_none() {
                        part.candidates = None;
                    }
                }
                begun.push(member);
            }
        }
        for member in begun {
            self.connect(now, &member);
        }
        self.parts_over(now, &id);
    }
}

/// Why an occurrence stands as before that nobody could be asked about.
pub(super) fn being_changed(words: &str) -> Failure {
    Failure {
        reason: crate::core::model::FailureReason::BeingChanged,
        message: words.to_owned(),
        ..nothing_booked()
    }
}

fn nothing_booked() -> Failure {
    Failure {
        reason: crate::core::model::FailureReason::NoCommonSlot,
        message: "none of its occurrences could be booked: each says why".to_owned(),
        counts: Default::default(),
        relaxations: Vec::new(),
        attendees: Vec::new(),
    }
}
