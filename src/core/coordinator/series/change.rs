//! Changing a series that stands: calling it off, moving it, changing its attendees or details; all of it, or "this and
//! following".

use jiff::tz::TimeZone;

use super::parts::being_changed;
use super::*;
use crate::core::model::EventKind;
use crate::core::record::BookedMeeting;
use crate::core::series::{self, Planned};

impl Coordinator {
    /// Takes a command on a series that exists.
    pub(in super::super) fn change_series(&mut self, ticket: Ticket, command: Command, deadline: Mono) {
        let Some((series, _)) = named(&command) else { return };
        if self.is_at_work(series) {
            return self.refuse(ticket, Refused::SeriesBeingChanged);
        }
        let read = Read::Series(series.clone());
        self.read(
            read,
            Pending::ReadSeries(SeriesRead::Change { ticket, command: Box::new(command), deadline }),
        );
    }

    /// Whether a job of the series must come to its end first. One that only looks ahead, and has written nothing yet, ends
    /// here: it may wait for somebody to come back, and is begun again later.
    fn is_at_work(&mut self, series: &SeriesId) -> bool {
        let id = job_id(series);
        let Some(live) = self.live.get(&id) else { return false };
        let extends = live.series().is_some_and(|job| job.task == Task::Extend);
        if !extends || matches!(live.phase, Phase::Writing { .. } | Phase::Members(_)) {
            return true;
        }
        self.finish(&id, &Reply::Refused(Refused::BeingChanged));
        false
    }

    /// A series was read.
    pub(in super::super) fn series_read(
        &mut self,
        now: Now,
        why: SeriesRead,
        found: Option<(Series, Vec<BookedMeeting>)>,
    ) {
        match (why, found) {
            (SeriesRead::Resume(series), found) => {
                let found = found.map(|(_, meetings)| meetings).unwrap_or_default();
                let found: Vec<Meeting> = found.into_iter().map(|(meeting, _)| meeting).collect();
                self.resume_parts(now, *series, &found, Task::Book);
            }
            (SeriesRead::Extend, Some((series, found))) if !self.draining => {
                let found: Vec<Meeting> = found.into_iter().map(|(meeting, _)| meeting).collect();
                match series.all_begun(&found) {
                    true => self.extend_series(now, series),
                    false => self.resume_parts(now, series, &found, Task::Extend),
                }
            }
            (SeriesRead::Extend, _) => {}
            (SeriesRead::Change { ticket, command, deadline }, found) => {
                self.judge_change(now, ticket, *command, deadline, found);
            }
        }
    }

    /// The rows were read: the command is judged against them.
    fn judge_change(
        &mut self,
        now: Now,
        ticket: Ticket,
        command: Command,
        deadline: Mono,
        found: Option<(Series, Vec<BookedMeeting>)>,
    ) {
        let Some((id, version)) = named(&command) else { return };
        if self.is_at_work(id) {
            return self.refuse(ticket, Refused::SeriesBeingChanged);
        }
        let Some((series, meetings)) = found else {
            return self.refuse(ticket, Refused::NoSuchSeries(id.clone()));
        };
        let cancel = matches!(command, Command::CancelSeries { .. });
        if cancel && series.state == SeriesState::Cancelled {
            return self.out.push(Effect::Reply(ticket, Reply::Series(id.clone(), Vec::new())));
        }
        if version.is_some_and(|version| version != series.version) {
            return self.refuse(ticket, Refused::VersionMismatch);
        }
        match (series.state, cancel) {
            (SeriesState::Failed, true) => return self.refuse(ticket, Refused::SeriesFailed),
            (state @ (SeriesState::Failed | SeriesState::Cancelled), _) => {
                return self.refuse(ticket, Refused::SeriesNotConfirmed(state));
            }
            (SeriesState::Confirmed | SeriesState::Scheduling, _) => {}
        }
        match command {
            Command::CancelSeries { from, .. } => {
                self.cancel_series(now, ticket, from, deadline, series, &meetings);
            }
            Command::RescheduleSeries { from, slot, options, .. } => {
                self.move_series(now, ticket, (from, slot, options), deadline, series, meetings);
            }
            Command::UpdateSeries { from, change, options, .. } => {
                self.update_series(now, ticket, (from, change, options), deadline, series, &meetings);
            }
            _ => {}
        }
    }

    fn cancel_series(
        &mut self,
        now: Now,
        ticket: Ticket,
        from: Option<Instant>,
        deadline: Mono,
        series: Series,
        meetings: &[BookedMeeting],
    ) {
        let from = from.unwrap_or(Instant::MIN_UTC);
        let ends = |state| matches!(state, MeetingState::Cancelled | MeetingState::Failed);
        let wanted = of_interest(&series, meetings, from, |meeting| !ends(meeting.state));
        let cancel = |(meeting, at)| (Command::Cancel { meeting, version: None }, at);
        let commands = wanted.into_iter().map(cancel).collect();
        let job = SeriesJob::new(series, true, Task::Cancel(from));
        self.change_parts(now, ticket, job, commands, deadline);
    }

    fn update_series(
        &mut self,
        now: Now,
        ticket: Ticket,
        (from, change, options): (Option<Instant>, Change, Options),
        deadline: Mono,
        mut series: Series,
        meetings: &[BookedMeeting],
    ) {
        let from = from.unwrap_or(now.wall);
        let confirmed = |meeting: &Meeting| meeting.state == MeetingState::Confirmed;
        let wanted = of_interest(&series, meetings, from, confirmed);
        let undecided =
            |meeting: &Meeting| matches!(meeting.state, MeetingState::Displaced | MeetingState::Scheduling);
        let undecided = of_interest(&series, meetings, from, undecided);
        if wanted.is_empty() && undecided.is_empty() {
            return self.refuse(ticket, nothing_from_then());
        }
        let attendees = change.attendees.as_ref().unwrap_or(&series.spec.attendees).len();
        if change.attendees.is_some() && attendees.saturating_mul(wanted.len()) > limits::SERIES_SEATS {
            let description = format!(
                "{attendees} attendees of {} occurrences are more than the {} that are booked at once",
                wanted.len(),
                limits::SERIES_SEATS
            );
            return self.refuse(ticket, Refused::Invalid { field: "spec.attendees".into(), description });
        }
        let update = |(meeting, at)| {
            let (change, options) = (change.clone(), options.clone());
            (Command::Update { meeting, version: None, change, options }, at)
        };
        let commands = wanted.into_iter().map(update).collect();
        // What is booked later has the new details too.
        let spec = &mut series.spec;
        spec.title = change.title.clone().unwrap_or_else(|| spec.title.clone());
        spec.attendees = change.attendees.clone().unwrap_or_else(|| spec.attendees.clone());
        spec.minimum_participants = change.minimum_participants.unwrap_or(spec.minimum_participants);
        spec.displaceable = change.displaceable.unwrap_or(spec.displaceable);
        let mut job = SeriesJob::new(series, true, Task::Update);
        let words = "it is being booked, or sought again after another meeting took its slot";
        job.failures = undecided.into_iter().map(|(_, at)| (at, being_changed(words))).collect();
        self.change_parts(now, ticket, job, commands, deadline);
    }

    /// One command for each occurrence, then the series' row.
    fn change_parts(
        &mut self,
        now: Now,
        ticket: Ticket,
        job: SeriesJob,
        commands: Vec<(Command, Instant)>,
        deadline: Mono,
    ) {
        let parent = job_id(&job.series.id);
        let mut live = series_live(now, job, vec![ticket], deadline, Duration::ZERO);
        live.phase = Phase::Members(Members::Parts(Parts::default()));
        self.live.insert(parent.clone(), live);
        self.trace(&parent);
        for (command, at) in commands {
            let ticket = self.part(&parent, at);
            self.change_command(now, ticket, command, deadline);
        }
        self.parts_over(now, &parent);
    }

    /// All of these occurrences to another time, in one decision: each by an overlay of its own.
    fn move_series(
        &mut self,
        now: Now,
        ticket: Ticket,
        (from, slot, options): (Option<Instant>, TimeRange, Options),
        deadline: Mono,
        series: Series,
        meetings: Vec<BookedMeeting>,
    ) {
        let from = from.unwrap_or(now.wall);
        let Ok(zone) = zones::zone(&series.time_zone) else {
            return self.refuse(ticket, Refused::UnknownZone(series.time_zone));
        };
        let confirmed = |meeting: &Meeting| meeting.state == MeetingState::Confirmed;
        let wanted = of_interest(&series, &meetings, from, confirmed);
        let wanted: Vec<MeetingId> = wanted.into_iter().map(|(meeting, _)| meeting).collect();
        let busy = |id: &MeetingId| self.live.contains_key(id) || self.changing.contains_key(id);
        if wanted.iter().any(busy) {
            return self.refuse(ticket, Refused::BeingChanged);
        }
        let occurrence_of =
            |id: &MeetingId| series.occurrences.iter().find(|o| o.meeting.as_ref() == Some(id));
        let Some(first) = wanted.first().and_then(occurrence_of) else {
            return self.refuse(ticket, nothing_from_then());
        };
        let distance = zones::to_civil(slot.start, &zone).duration_since(first.local);
        let by = Move { from: first.recurrence, seconds: distance.as_secs(), length: slot.length() };
        let mut planned = Vec::with_capacity(wanted.len());
        for occurrence in wanted.iter().filter_map(occurrence_of) {
            let moved = series::moved(occurrence.local, &by, &zone).unwrap_or(occurrence.slot);
            planned.push(Planned { slot: moved, ..occurrence.as_planned() });
        }
        let blocked = |planned: &Planned| series.spec.blocked(&planned.slot);
        if planned.windows(2).any(|pair| blocked(&pair[0]).overlaps(&blocked(&pair[1]))) {
            let description =
                "is so long that occurrences would overlap each other, buffers included".to_owned();
            return self.refuse(ticket, Refused::Invalid { field: "slot".into(), description });
        }
        let id = job_id(&series.id);
        let mut rows: HashMap<MeetingId, BookedMeeting> =
            meetings.into_iter().map(|found| (found.0.id.clone(), found)).collect();
        let found = wanted.iter().filter_map(|id| rows.remove(id));
        let found: Vec<(Meeting, AttemptRow)> =
            found.filter_map(|(meeting, row)| Some((meeting, row?))).collect();
        let start = zones::to_civil(slot.start, &zone);
        let plan = Plan { rule: series.rule.clone(), first: slot, start, occurrences: planned, until: None };
        let mut job = SeriesJob::new(series, true, Task::Move(by));
        job.series.options = options;
        job.series.spec.duration = slot.length();
        job.replaces = found.iter().map(|(_, row)| row.attempt.clone()).collect();
        job.places = Places::exactly(plan.wanted());
        for ((meeting, row), planned) in found.iter().zip(&plan.occurrences) {
            let mut draft = meeting.clone();
            draft.spec.duration = slot.length();
            draft.named_slot = Some(planned.slot);
            draft.options = job.series.options.clone();
            draft.attempts = 0;
            draft.attempt_log.clear();
            // While they are decided together they have one rank: none of them stands in another's way.
            draft.rank = Rank { meeting: id.clone(), ..meeting.rank.clone() };
            let blocked = draft.spec.blocked(&planned.slot);
            let others = found.iter().filter(|(other, _)| other.id != meeting.id);
            let siblings = others.map(|(_, row)| row).filter(|row| row.blocked.overlaps(&blocked));
            let siblings = siblings.map(|row| row.attempt.clone()).collect();
            let (current, old) = (Box::new(meeting.clone()), Box::new(row.clone()));
            let change = Job::Change { current, old, kind: EventKind::Rescheduled };
            let member = Live::new(change, draft, true, Vec::new(), deadline, now.mono);
            let phase = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
            self.live.insert(meeting.id.clone(), Live { group: Some(id.clone()), siblings, phase, ..member });
            job.members.push(meeting.id.clone());
        }
        job.plans = vec![plan];
        self.start_series(now, job, vec![ticket], deadline, Duration::ZERO);
    }
}

/// The series that a command names, and the version that it must still have.
fn named(command: &Command) -> Option<(&SeriesId, Option<u64>)> {
    match command {
        Command::CancelSeries { series, version, .. }
        | Command::RescheduleSeries { series, version, .. }
        | Command::UpdateSeries { series, version, .. } => Some((series, *version)),
        _ => None,
    }
}

fn nothing_from_then() -> Refused {
    let description = "there is no booked occurrence from then on".to_owned();
    Refused::Invalid { field: "from".into(), description }
}

/// The meetings of occurrences from an instant on, by the rule, and when it has them begin.
fn of_interest(
    series: &Series,
    meetings: &[BookedMeeting],
    from: Instant,
    wanted: impl Fn(&Meeting) -> bool,
) -> Vec<(MeetingId, Instant)> {
    let meetings = meetings.iter().map(|(meeting, _)| meeting).filter(|meeting| wanted(meeting));
    let wanted: HashSet<&MeetingId> = meetings.map(|meeting| &meeting.id).collect();
    let occurrences = series.occurrences.iter().filter(|occurrence| occurrence.recurrence >= from);
    let named = occurrences.filter_map(|o| Some((o.meeting.clone()?, o.recurrence)));
    named.filter(|(id, _)| wanted.contains(id)).collect()
}

impl SeriesJob {
    /// The bookings that it would replace.
    pub(in super::super) fn replaces(&self) -> &[Attempt] {
        &self.replaces
    }
}

impl Series {
    /// Ends the series before `from`.
    pub(super) fn cut(&mut self, from: Instant) {
        // Of an end beyond what is booked so far, the rest is still to be booked.
        self.booked_until = self.booked_until.filter(|until| *until < from);
        if self.occurrences.iter().all(|occurrence| occurrence.recurrence >= from) {
            self.booked_until = None;
            self.state = SeriesState::Cancelled;
            return;
        }
        self.occurrences.retain(|occurrence| occurrence.recurrence < from || occurrence.meeting.is_some());
        let last = super::super::super::time::sub(from, Duration::from_secs(1));
        self.rule = series::ending(&self.rule, last);
    }

    /// Whether each occurrence that has a meeting has its row too: else a restart, or the end, crossed its beginning.
    fn all_begun(&self, found: &[Meeting]) -> bool {
        let rows: HashSet<&MeetingId> = found.iter().map(|meeting| &meeting.id).collect();
        self.occurrences
            .iter()
            .filter_map(|occurrence| occurrence.meeting.as_ref())
            .all(|id| rows.contains(id))
    }

    /// An occurrence by the rule, where the last move of the series puts it.
    pub(super) fn as_moved(&self, planned: Planned, zone: &TimeZone) -> Planned {
        let by = self.moves.iter().rev().find(|by| by.from <= planned.recurrence);
        let slot = by.and_then(|by| series::moved(planned.local, by, zone)).unwrap_or(planned.slot);
        Planned { slot, ..planned }
    }
}

impl Occurrence {
    /// As the rule has it.
    pub(super) fn as_planned(&self) -> Planned {
        let Self { slot, recurrence, local, shifted, excluded, .. } = *self;
        Planned { slot, recurrence, local, shifted, excluded }
    }
}
