//! Changing a series that stands: calling it off, moving it, changing its attendees or details; all of it, or "this and
//! following".

use jiff::tz::TimeZone;

use super::parts::being_changed;
use super::*;
use crate::core::model::EventKind;
use crate::core::record::BookedMeeting;
use crate::core::recurrence::Rule;
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
        let from = From::these(from, Instant::MIN_UTC);
        let ends = |state| matches!(state, MeetingState::Cancelled | MeetingState::Failed);
        let wanted = of_interest(&series, meetings, from, |meeting| !ends(meeting.state));
        let cut = series.cut_at(from, meetings);
        let cancel = |(meeting, at)| (Command::Cancel { meeting, version: None }, at);
        let commands = wanted.into_iter().map(cancel).collect();
        let job = SeriesJob::new(series, true, Task::Cancel(cut));
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
        let from = From::still_to_come(from, now.wall);
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

    /// All of these occurrences to another time, in one decision: each by an overlay of its own. Those that were moved by
    /// themselves go along, as "this and following" does in calendar programs.
    fn move_series(
        &mut self,
        now: Now,
        ticket: Ticket,
        (from, slot, options): (Option<Instant>, TimeRange, Options),
        deadline: Mono,
        series: Series,
        meetings: Vec<BookedMeeting>,
    ) {
        let Ok(zone) = zones::zone(&series.time_zone) else {
            return self.refuse(ticket, Refused::UnknownZone(series.time_zone));
        };
        let wanted = to_move(&series, &meetings, From::still_to_come(from, now.wall));
        let ids = || wanted.iter().filter_map(|occurrence| occurrence.meeting.as_ref());
        let busy = |id: &MeetingId| self.live.contains_key(id) || self.changing.contains_key(id);
        if ids().any(busy) {
            return self.refuse(ticket, Refused::BeingChanged);
        }
        let Some(first) = wanted.first() else {
            return self.refuse(ticket, nothing_from_then());
        };
        let distance = zones::to_civil(slot.start, &zone).duration_since(first.local);
        let by = Move { from: first.recurrence, seconds: distance.as_secs(), length: slot.length() };
        let mut planned = Vec::with_capacity(wanted.len());
        for occurrence in &wanted {
            let moved = series::moved(occurrence.local, &by, &zone).unwrap_or(occurrence.slot);
            planned.push(Planned { slot: moved, ..occurrence.as_planned() });
        }
        let blocked = |planned: &Planned| series.spec.blocked(&planned.slot);
        if planned.windows(2).any(|pair| blocked(&pair[0]).overlaps(&blocked(&pair[1]))) {
            let description =
                "is so long that occurrences would overlap each other, buffers included".to_owned();
            return self.refuse(ticket, Refused::Invalid { field: "slot".into(), description });
        }
        let wanted: Vec<MeetingId> = ids().cloned().collect();
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
        self.members_of_move(now, &mut job, &plan, &found, deadline);
        job.plans = vec![plan];
        self.start_series(now, job, vec![ticket], deadline, Duration::ZERO);
    }

    /// A job for each meeting that moves with its series, under the series'.
    fn members_of_move(
        &mut self,
        now: Now,
        job: &mut SeriesJob,
        plan: &Plan,
        found: &[(Meeting, AttemptRow)],
        deadline: Mono,
    ) {
        let id = job_id(&job.series.id);
        for ((meeting, row), planned) in found.iter().zip(&plan.occurrences) {
            let mut draft = meeting.clone();
            draft.spec.duration = planned.slot.length();
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
    }
}

/// From when on occurrences are meant, by the time at which each takes place.
#[derive(Clone, Copy)]
struct From {
    at: Instant,
    /// Whether one that begins just then is left out.
    behind: bool,
}

impl From {
    /// Those from an instant on that was named, or from another.
    fn these(named: Option<Instant>, else_from: Instant) -> Self {
        Self { at: named.unwrap_or(else_from), behind: false }
    }

    /// Unless an instant was named: those that have not begun.
    fn still_to_come(named: Option<Instant>, now: Instant) -> Self {
        Self { at: named.unwrap_or(now), behind: named.is_none() }
    }

    fn has(self, start: Instant) -> bool {
        start > self.at || start == self.at && !self.behind
    }
}

/// Where the end of a series is to be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Cut {
    /// What takes place here or later goes.
    from: Instant,
    /// The same by the rule, which ends before it; none: nothing is left.
    rule: Option<Instant>,
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

/// When an occurrence takes place; without a booked slot: where the series has it.
fn place(occurrence: &Occurrence, meetings: &HashMap<&MeetingId, &Meeting>) -> Instant {
    let meeting = occurrence.meeting.as_ref().and_then(|id| meetings.get(id));
    meeting.and_then(|meeting| meeting.slot).unwrap_or(occurrence.slot).start
}

fn by_id(meetings: &[BookedMeeting]) -> HashMap<&MeetingId, &Meeting> {
    meetings.iter().map(|(meeting, _)| (&meeting.id, meeting)).collect()
}

/// The occurrences from then on, in the order of the rule, whose meetings are wanted.
fn occurrences_from<'a>(
    series: &'a Series,
    meetings: &HashMap<&MeetingId, &Meeting>,
    from: From,
    wanted: impl Fn(&Meeting) -> bool,
) -> impl Iterator<Item = &'a Occurrence> {
    let wanted = move |id: &MeetingId| meetings.get(id).is_some_and(|meeting| wanted(meeting));
    let named =
        move |o: &&Occurrence| o.meeting.as_ref().is_some_and(&wanted) && from.has(place(o, meetings));
    series.occurrences.iter().filter(named)
}

/// The meetings of these occurrences, and when the rule has them begin.
fn of_interest(
    series: &Series,
    meetings: &[BookedMeeting],
    from: From,
    wanted: impl Fn(&Meeting) -> bool,
) -> Vec<(MeetingId, Instant)> {
    let meetings = by_id(meetings);
    let found = occurrences_from(series, &meetings, from, wanted);
    found.filter_map(|o| Some((o.meeting.clone()?, o.recurrence))).collect()
}

/// The occurrences that a move from then on takes along, in the order of the rule. The first of them is one that the series
/// has there: others may have come behind it by themselves, and stay, as they come before it by the rule.
fn to_move(series: &Series, meetings: &[BookedMeeting], from: From) -> Vec<Occurrence> {
    let meetings = by_id(meetings);
    let confirmed = |meeting: &Meeting| meeting.state == MeetingState::Confirmed;
    let found: Vec<&Occurrence> = occurrences_from(series, &meetings, from, confirmed).collect();
    let own = found.iter().find(|occurrence| from.has(occurrence.slot.start));
    let first = own.or_else(|| found.iter().min_by_key(|occurrence| place(occurrence, &meetings)));
    let first = first.map(|occurrence| occurrence.recurrence);
    found.into_iter().filter(|occurrence| Some(occurrence.recurrence) >= first).cloned().collect()
}

impl SeriesJob {
    /// The bookings that it would replace.
    pub(in super::super) fn replaces(&self) -> &[Attempt] {
        &self.replaces
    }
}

impl Series {
    /// Where the series ends by the rule if it ends before `from`: behind what takes place before. What is not booked yet
    /// begins where the last move puts it.
    fn cut_at(&self, from: From, meetings: &[BookedMeeting]) -> Cut {
        let meetings = by_id(meetings);
        let stay = self.occurrences.iter().filter(|occurrence| !from.has(place(occurrence, &meetings)));
        let last = stay.map(|occurrence| occurrence.recurrence).max();
        let second = Duration::from_secs(1);
        let behind = |last| self.before_moves(from.at).max(super::super::super::time::add(last, second));
        Cut { from: from.at, rule: last.map(behind) }
    }

    /// When the rule has something begin that takes place at this instant.
    fn before_moves(&self, at: Instant) -> Instant {
        let Ok(zone) = zones::zone(&self.time_zone) else { return at };
        let by_rule = |by: &Move| {
            let back = jiff::SignedDuration::from_secs(by.seconds);
            let local = zones::to_civil(at, &zone).checked_sub(back).ok()?;
            Some(zones::to_instant(local, &zone)).filter(|rule| by.from <= *rule)
        };
        self.moves.iter().rev().find_map(by_rule).unwrap_or(at)
    }

    /// Ends the series there.
    pub(super) fn cut(&mut self, cut: Cut) {
        let Some(rule) = cut.rule else {
            self.booked_until = None;
            self.state = SeriesState::Cancelled;
            return;
        };
        let last = super::super::super::time::sub(rule, Duration::from_secs(1));
        if self.ends_by(last) {
            return;
        }
        // Of an end beyond what is booked so far, the rest is still to be booked.
        self.booked_until = self.booked_until.filter(|until| *until < rule);
        let stays = |o: &Occurrence| o.slot.start < cut.from || o.meeting.is_some();
        self.occurrences.retain(stays);
        self.rule = series::ending(&self.rule, last);
    }

    /// Whether the rule has nothing behind this instant as it is: what is cut short never gets longer.
    fn ends_by(&self, last: Instant) -> bool {
        let counted = self.rule.contains("COUNT=") && self.booked_until.is_none();
        if counted {
            return self.occurrences.iter().all(|occurrence| occurrence.recurrence <= last);
        }
        let zone = zones::zone(&self.time_zone).ok();
        let until = Rule::parse(&self.rule).ok().zip(zone).and_then(|(rule, zone)| rule.until(&zone));
        until.is_some_and(|until| until <= last)
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
