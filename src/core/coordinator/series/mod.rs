//! Series: one fan-out for all occurrences, then one job for each meeting. With FAIL_SERIES all of them are held and
//! decided together (`group`); else each is decided alone, and the series' job waits for them (`parts`).
//!
//! The series' job is a [`Live`] under the series' id, so that connecting, rounds, waiting for other meetings' holds and
//! the deadline are those of any meeting. Its phases:
//!
//! | phase | event | next |
//! |---|---|---|
//! | Connecting, Reading, Querying | as of a meeting, over the slots of all occurrences | the best first slot: Members; none: Waiting, or Writing(Fail) |
//! | Members(Group) | D1 of all attempts is on disk | holds go out; every meeting's job is HOLDING |
//! | Members(Group) | every occurrence has its votes | D3 of all attempts and the series' row, in one transaction |
//! | Members(Group) | one occurrence is lost, or pushed away | all attempts are given up; the next first slot, or Waiting |
//! | Writing(Started) | the series' row is on disk | Members(Parts): a job for each occurrence |
//! | Members(Parts) | the last of them has ended | Writing(Done): answer |

mod change;
mod group;
mod parts;
mod seek;

use std::collections::VecDeque;

use super::*;
use crate::core::ids::SeriesId;
use crate::core::model::{AttendeeStatus, Rank};
use crate::core::series::{
    Chosen, ConflictPolicy, Move, Occurrence, Pattern, Places, Plan, PlanError, Series, SeriesRequest,
    SeriesState,
};
use crate::core::zones;

pub(super) use group::Group;
pub(super) use parts::Parts;

/// What a series' job knows beside its search.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct SeriesJob {
    /// The row as it is, or will be.
    series: Series,
    /// Whether the store has the row.
    stored: bool,
    task: Task,
    /// What may be booked: one plan for each first slot.
    plans: Vec<Plan>,
    places: Places,
    /// Plans that are given up for good.
    dead: BTreeSet<usize>,
    /// First slots of the last round, the best first, that were not tried yet.
    order: VecDeque<Chosen>,
    /// The meetings that are decided together, in the order of the occurrences.
    members: Vec<MeetingId>,
    /// Why the last group was given up, in words.
    lost: String,
    /// The bookings that it would replace.
    replaces: Vec<Attempt>,
    /// Occurrences that could not be changed, and why.
    failures: Vec<(Instant, Failure)>,
}

/// What a series' job is there for.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Task {
    /// Books a new series.
    Book,
    /// Books further occurrences of a series without an end.
    Extend,
    /// Calls off the rest, from an instant on.
    Cancel(change::Cut),
    /// Moves them.
    Move(Move),
    /// Gives them other attendees or details.
    Update,
}

/// What a series' job waits for.
#[derive(Clone, Debug)]
pub(super) enum Members {
    /// Meetings that are decided together.
    Group(Group),
    /// Jobs that end one by one.
    Parts(Parts),
}

impl Members {
    /// Whether a transaction of all of them is in flight.
    pub(super) fn are_writing(&self) -> bool {
        matches!(self, Self::Group(group) if group.is_writing())
    }
}

/// What follows a write of a series' row.
#[derive(Clone, Debug)]
pub(super) enum SeriesNext {
    /// The occurrences are known: a job for each.
    Started(Box<Chosen>),
    /// Nothing could be booked.
    Failed(String),
    /// All is done.
    Done,
    /// It could not be moved, and stands as before.
    Stands(Box<Failure>),
}

/// Why a series was read.
#[derive(Clone, Debug)]
pub(super) enum SeriesRead {
    /// For a command.
    Change { ticket: Ticket, command: Box<Command>, deadline: Mono },
    /// After a restart, to see which of its meetings are there.
    Resume(Box<Series>),
    /// To book it further.
    Extend,
}

/// The name under which a series' job and its request are known among the meetings'.
fn job_id(id: &SeriesId) -> MeetingId {
    MeetingId::new(id.as_str())
}

fn request_key(id: &RequestId) -> RequestId {
    RequestId::new(format!("series:{id}"))
}

impl Live {
    fn series(&self) -> Option<&SeriesJob> {
        match &self.job {
            Job::Series(job) => Some(job),
            _ => None,
        }
    }

    fn series_mut(&mut self) -> Option<&mut SeriesJob> {
        match &mut self.job {
            Job::Series(job) => Some(job),
            _ => None,
        }
    }
}

impl SeriesJob {
    fn new(series: Series, stored: bool, task: Task) -> Self {
        Self {
            series,
            stored,
            task,
            plans: Vec::new(),
            places: Places::default(),
            dead: BTreeSet::new(),
            order: VecDeque::new(),
            members: Vec::new(),
            lost: String::new(),
            replaces: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// The series' row is still the one that this job knows.
    fn unchanged(&self) -> Condition {
        let series = &self.series;
        match self.stored {
            true => Condition::SeriesVersion(series.id.clone(), series.version),
            false => Condition::SeriesUnused(series.id.clone(), series.request_id.clone()),
        }
    }

    /// The row as it is to be written next.
    fn changed(&self, now: Now) -> Series {
        let mut series = self.series.clone();
        series.version += u64::from(self.stored);
        series.update_time = now.wall;
        series
    }

    /// The conflict policy of what this job books: what is booked later can't take all of a series back, and what is moved
    /// is moved as one.
    fn policy(&self) -> ConflictPolicy {
        match (self.task, self.series.policy) {
            (Task::Move(_), _) => ConflictPolicy::FailSeries,
            (Task::Extend, ConflictPolicy::FailSeries) => ConflictPolicy::Skip,
            (_, policy) => policy,
        }
    }
}

impl Coordinator {
    pub(super) fn schedule_series(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: Box<SeriesRequest>,
        deadline: Mono,
    ) {
        if request.validate_only {
            return self.validate_series(now, ticket, *request, deadline);
        }
        let Some(id) = request.request_id.clone() else {
            let id = RequestId::new(self.random.uuid());
            return self.begin_series(now, id, vec![ticket], *request, deadline);
        };
        let job = self.requests.get(&request_key(&id)).cloned();
        if let Some(live) = job.and_then(|id| self.live.get_mut(&id)) {
            if live.meeting.body_hash == request.body_hash {
                return live.tickets.push(ticket);
            }
            return self.refuse(ticket, Refused::RequestReused);
        }
        let waiting = self.series_lookups.entry(id.clone()).or_default();
        waiting.push((ticket, request, deadline));
        if waiting.len() == 1 {
            self.read(Read::SeriesRequest(id.clone()), Pending::ReadSeriesRequest(id));
        }
    }

    /// The store answered whether the request id was used before.
    pub(super) fn series_looked_up(&mut self, now: Now, id: &RequestId, found: Option<Series>) {
        let Some(waiting) = self.series_lookups.remove(id) else { return };
        let mut first: Option<(Vec<Ticket>, Box<SeriesRequest>, Mono)> = None;
        for (ticket, request, deadline) in waiting {
            match (&found, &mut first) {
                (Some(series), _) if series.body_hash != request.body_hash => {
                    self.refuse(ticket, Refused::RequestReused);
                }
                (Some(series), _) => match self.live.get_mut(&job_id(&series.id)) {
                    // It may be sought by now: then its outcome is still to come.
                    Some(live) if series.state == SeriesState::Scheduling => live.tickets.push(ticket),
                    _ => self.out.push(Effect::Reply(ticket, Reply::Series(series.id.clone(), Vec::new()))),
                },
                (None, None) => first = Some((vec![ticket], request, deadline)),
                (None, Some((tickets, first, _))) if first.body_hash == request.body_hash => {
                    tickets.push(ticket);
                }
                (None, Some(_)) => self.refuse(ticket, Refused::RequestReused),
            }
        }
        if let Some((tickets, request, deadline)) = first {
            match self.draining {
                true => tickets.into_iter().for_each(|t| self.refuse(t, Refused::ShuttingDown)),
                false => self.begin_series(now, id.clone(), tickets, *request, deadline),
            }
        }
    }

    fn validate_series(&mut self, now: Now, ticket: Ticket, request: SeriesRequest, deadline: Mono) {
        let id = request.request_id.clone().unwrap_or_else(|| RequestId::new(""));
        let planned = self.new_series(now, SeriesId::new(""), id, &request, deadline);
        let planned = planned.and_then(|draft| {
            let job = self.planned(now, &draft, &request.pattern, Task::Book, false)?;
            Ok((draft, job))
        });
        match planned {
            Ok((_, mut job)) => {
                if let Some(plan) = job.plans.first() {
                    job.series.first = Some(plan.first);
                    job.series.booked_until = plan.until;
                    job.series.occurrences = plan.occurrences.iter().map(Occurrence::new).collect();
                }
                self.out.push(Effect::Reply(ticket, Reply::SeriesPlan(Box::new(job.series))));
            }
            Err(refused) => self.refuse(ticket, refused),
        }
    }

    fn begin_series(
        &mut self,
        now: Now,
        request_id: RequestId,
        tickets: Vec<Ticket>,
        request: SeriesRequest,
        deadline: Mono,
    ) {
        let id = SeriesId::new(self.random.uuid());
        let job = self
            .new_series(now, id.clone(), request_id.clone(), &request, deadline)
            .and_then(|draft| self.planned(now, &draft, &request.pattern, Task::Book, false));
        match job {
            Ok(job) => {
                self.requests.insert(request_key(&request_id), job_id(&id));
                self.start_series(now, job, tickets, deadline, Duration::ZERO);
            }
            Err(refused) => tickets.into_iter().for_each(|t| self.refuse(t, refused.clone())),
        }
    }

    /// The series' first row, with all defaults filled in.
    fn new_series(
        &mut self,
        now: Now,
        id: SeriesId,
        request_id: RequestId,
        request: &SeriesRequest,
        deadline: Mono,
    ) -> Result<Series, Refused> {
        let meeting = ScheduleRequest {
            request_id: None,
            body_hash: request.body_hash.clone(),
            spec: request.spec.clone(),
            slot: None,
            options: request.options.clone(),
            validate_only: false,
        };
        let draft = self.new_meeting(now, job_id(&id), request_key(&request_id), meeting, deadline)?;
        Ok(Series {
            id,
            request_id,
            body_hash: draft.body_hash,
            spec: draft.spec,
            rule: String::new(),
            named: request.first,
            first: None,
            time_zone: draft.time_zone,
            exclude: request.exclude.clone(),
            policy: request.policy,
            options: draft.options,
            rank: draft.rank,
            state: SeriesState::Scheduling,
            version: 1,
            occurrences: Vec::new(),
            failure: None,
            moves: Vec::new(),
            booked_until: None,
            create_time: draft.create_time,
            update_time: draft.update_time,
            deadline: draft.deadline,
        })
    }

    /// A job for the series, with every plan that there is.
    fn planned(
        &self,
        now: Now,
        series: &Series,
        pattern: &Pattern,
        task: Task,
        stored: bool,
    ) -> Result<SeriesJob, Refused> {
        use crate::core::{series, slots};
        let mut job = SeriesJob::new(series.clone(), stored, task);
        let zone = zones::zone(&series.time_zone).map_err(|error| Refused::UnknownZone(error.0))?;
        let spec = &series.spec;
        let slots = match series.named {
            Some(slot) => vec![slot],
            None => slots::candidates(spec).map_err(|error| match error {
                slots::SlotError::TooMany { limit } => Refused::TooManySlots { max: limit },
                slots::SlotError::UnknownZone(error) => Refused::UnknownZone(error.0),
                error => Refused::Invalid { field: "spec.window".into(), description: error.to_string() },
            })?,
        };
        let named = series.named.is_some();
        let field = |error: &PlanError| match (error, pattern) {
            (PlanError::NotAnOccurrence(_), _) => "first_slot",
            (PlanError::OverBefore(_), Pattern::Plain(..)) => "end_date",
            (PlanError::TooManySlots(_), _) => "spec.window",
            (_, Pattern::Rule(_)) => "rrule",
            (_, Pattern::Plain(..)) => "frequency",
        };
        let refused = |error: PlanError| Refused::Invalid {
            field: field(&error).into(),
            description: error.to_string(),
        };
        job.plans =
            series::plans(pattern, &series.exclude, spec, &slots, named, &zone, now.wall).map_err(refused)?;
        if let Some(plan) = job.plans.first() {
            job.series.rule.clone_from(&plan.rule);
        }
        let wanted = job.plans.iter().flat_map(Plan::wanted);
        job.places = Places::of(wanted, spec, job.policy(), named).map_err(refused)?;
        Ok(job)
    }

    /// Begins to work: once its attendees are there, everyone is asked about all of its occurrences.
    fn start_series(
        &mut self,
        now: Now,
        job: SeriesJob,
        tickets: Vec<Ticket>,
        deadline: Mono,
        wait: Duration,
    ) {
        let id = job_id(&job.series.id);
        let (candidates, members) = (job.places.all(), job.members.clone());
        let live = series_live(now, job, tickets, deadline, wait);
        self.live.insert(id.clone(), live);
        std::iter::once(&id).chain(&members).for_each(|job| self.trace(job));
        if let Some(live) = self.live.get_mut(&id) {
            live.candidates = Some(candidates);
        }
        self.connect(now, &id);
    }

    /// A row of a series is on disk.
    pub(super) fn series_on_disk(&mut self, now: Now, id: &MeetingId, next: SeriesNext) {
        let Some(job) = self.live.get_mut(id).and_then(Live::series_mut) else { return };
        job.stored = true;
        let (series, open) = (job.series.id.clone(), job.series.booked_until);
        match next {
            SeriesNext::Started(chosen) => self.start_parts(now, id, &chosen),
            SeriesNext::Done => {
                let failures = std::mem::take(&mut job.failures);
                self.watch_ahead(now, &series, open);
                self.finish(id, &Reply::Series(series, failures));
            }
            SeriesNext::Stands(failure) => {
                self.watch_ahead(now, &series, open);
                self.finish(id, &Reply::Series(series, vec![(Instant::MIN_UTC, *failure)]));
            }
            SeriesNext::Failed(words) => {
                let Some(live) = self.live.get(id).cloned() else { return };
                self.tracer.fails(id, &words);
                self.notify(&live, &live.meeting, NoticeKind::Failed, words);
                self.finish(id, &Reply::Series(series, Vec::new()));
            }
        }
    }

    /// Takes the jobs of a group's meetings away, with whatever they hold in memory.
    pub(super) fn drop_members(&mut self, id: &MeetingId, job: &SeriesJob) {
        for member in &job.members {
            let Some(live) = self.live.get(member).filter(|live| live.group.as_ref() == Some(id)) else {
                continue;
            };
            if let Phase::Holding(holding) = &live.phase {
                let (attempt, asked) = (holding.row.attempt.clone(), holding.row.asked.clone());
                self.unhold(&attempt, &asked);
            }
            let gone = self.live.remove(member);
            gone.iter().for_each(|live| self.tracer.end(live, None));
            let inbox = gone.map(|live| (live.deadline, live.inbox));
            self.drop_meeting_timer(member);
            self.waiting.remove(member);
            if let Some((deadline, inbox)) = inbox {
                self.take_up(member, deadline, inbox);
            }
        }
    }
}

/// A series' job, with the series as if it were a meeting: that is what is connected, asked and ranked.
fn series_live(now: Now, job: SeriesJob, tickets: Vec<Ticket>, deadline: Mono, wait: Duration) -> Live {
    let series = &job.series;
    let until = deadline.min(now.mono + series.options.connect_timeout.max(wait));
    let meeting = Meeting {
        request_id: request_key(&series.request_id),
        body_hash: series.body_hash.clone(),
        attendees: Vec::new(),
        ..occurrence_meeting(now, series, job_id(&series.id), 0, series.rank.clone())
    };
    Live::new(Job::Series(Box::new(job)), meeting, false, tickets, deadline, until)
}

/// The first row of one occurrence's meeting.
fn occurrence_meeting(now: Now, series: &Series, id: MeetingId, index: usize, rank: Rank) -> Meeting {
    let asked_nobody = |a| AttendeeOutcome::new(a, AttendeeStatus::NotAsked);
    Meeting {
        request_id: RequestId::new(format!("{}#{index}", series.id)),
        id,
        body_hash: String::new(),
        attendees: series.spec.attendees.iter().map(asked_nobody).collect(),
        spec: series.spec.clone(),
        named_slot: None,
        options: series.options.clone(),
        time_zone: series.time_zone.clone(),
        rank,
        state: MeetingState::Scheduling,
        version: 1,
        sequence: 0,
        local_start: None,
        booked: None,
        slot: None,
        blocked: None,
        last_attempt: None,
        attempts: 0,
        attempt_log: Vec::new(),
        failure: None,
        series: None,
        moved: 0,
        displaced_count: 0,
        displaced: Vec::new(),
        displaced_by: None,
        create_time: now.wall,
        update_time: now.wall,
        deadline: series.deadline,
    }
}
