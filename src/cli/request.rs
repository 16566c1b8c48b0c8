//! From options to requests. Pure: the present and the zone are arguments.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::error::{BadValue, CliError};
use super::parse;
use super::values;
use super::when::{self, DayEdge, Moment, Reference};
use super::zone;
use crate::wire::pb;

/// Which of the possible slots is best.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectiveArg {
    /// The earliest start
    Earliest,
    /// The most attendees, then the earliest start
    MostAttendees,
    /// The least cost and the best preferences as the attendees' agents quote them
    BestScore,
}

/// Options that say who and what.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What and who")]
pub struct SpecArgs {
    /// What the meeting is called
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub title: String,
    /// Who asks: a participant or any name
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub organizer: String,
    /// Who is invited and counts to the minimum, such as alice,bob. Nobody named: everyone connected
    #[arg(long = "with", value_name = "IDS", value_delimiter = ',')]
    pub invited: Vec<String>,
    /// Who has to attend
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub require: Vec<String>,
    /// Who attends if free, and never decides
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub optional: Vec<String>,
    /// How many must attend, optional ones not counted. Default: all
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub minimum: i32,
    /// 1 to 100; higher wins where meetings compete. Default: 1
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub priority: i32,
    /// Which of the possible slots is best. Default: earliest
    #[arg(long, value_enum)]
    pub objective: Option<ObjectiveArg>,
    /// Time to keep free before, such as 10m
    #[arg(long, value_name = "LENGTH", value_parser = parse::length)]
    pub buffer_before: Option<Duration>,
    /// Time to keep free after, such as 10m
    #[arg(long, value_name = "LENGTH", value_parser = parse::length)]
    pub buffer_after: Option<Duration>,
    /// Where no slot is left, take that of a booked meeting of lower priority that is displaceable
    #[arg(long)]
    pub displace: bool,
    /// The meeting may lose its slot to one of higher priority
    #[arg(long)]
    pub displaceable: bool,
}

impl SpecArgs {
    /// The spec that these options ask for.
    pub fn spec(&self, duration: Option<Duration>, window: Option<pb::Window>) -> pb::MeetingSpec {
        use pb::meeting_spec::Objective;
        let objective = self.objective.map_or(Objective::Unspecified, |objective| match objective {
            ObjectiveArg::Earliest => Objective::Earliest,
            ObjectiveArg::MostAttendees => Objective::MostAttendees,
            ObjectiveArg::BestScore => Objective::BestScore,
        });
        pb::MeetingSpec {
            title: self.title.clone(),
            organizer: self.organizer.clone(),
            attendees: attendees(&self.require, &self.invited, &self.optional),
            duration: duration.map(values::duration),
            minimum_participants: self.minimum,
            priority: self.priority,
            window,
            objective: objective as i32,
            buffer_before: self.buffer_before.map(values::duration),
            buffer_after: self.buffer_after.map(values::duration),
            displace: self.displace,
            displaceable: self.displaceable,
        }
    }
}

/// The attendees that three lists name, in the order of their weight. Who is named twice is there twice: the
/// service refuses that.
pub fn attendees(require: &[String], invited: &[String], optional: &[String]) -> Vec<pb::Attendee> {
    use pb::attendee::Role;
    let lists = [(require, Role::Required), (invited, Role::Invited), (optional, Role::Optional)];
    let one =
        |id: &String, role: Role| pb::Attendee { participant_id: id.trim().to_owned(), role: role as i32 };
    lists.iter().flat_map(|(ids, role)| ids.iter().map(|id| one(id, *role))).collect()
}

/// Options that say where in time.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "When")]
pub struct WindowArgs {
    /// Earliest start: 2026-12-01, "2026-12-01 10:00", today, tomorrow, monday, RFC 3339. Default: now
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Latest end; a date means the end of that day. Default: 14 days after --from
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Distance of possible starts. Default: 15m
    #[arg(long, value_name = "LENGTH", value_parser = parse::positive_length)]
    pub step: Option<Duration>,
    /// Days to look at, such as Mon-Fri (the default) or Tue,Thu
    #[arg(long, value_name = "DAYS", value_parser = parse_days)]
    pub days: Option<Days>,
    /// Hours to look at. Default: 08:00-17:00
    #[arg(long, value_name = "HOURS", value_parser = parse::hours)]
    pub hours: Option<(u16, u16)>,
    /// Look at any hour of any day
    #[arg(long, conflicts_with_all = ["days", "hours"])]
    pub any_hours: bool,
    /// IANA zone of --days, --hours and --step. Default: yours (see --time-zone)
    #[arg(long, value_name = "ZONE", value_parser = zone::iana_name)]
    pub zone: Option<String>,
    /// Keep to each attendee's own working hours as well
    #[arg(long)]
    pub respect_attendee_hours: bool,
    /// Time not to touch: START/END, or a date. May be given many times
    #[arg(long, value_name = "START/END")]
    pub exclude: Vec<String>,
}

/// Days of the week, Monday first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Days(pub [bool; 7]);

fn parse_days(text: &str) -> Result<Days, String> {
    parse::days(text).map(Days)
}

impl WindowArgs {
    /// Whether none of the options was given.
    pub fn is_empty(&self) -> bool {
        self.from.is_none()
            && self.until.is_none()
            && self.step.is_none()
            && self.days.is_none()
            && self.hours.is_none()
            && !self.any_hours
            && self.zone.is_none()
            && !self.respect_attendee_hours
            && self.exclude.is_empty()
    }

    /// Lays these options over a window: what they don't name stays as it is there.
    pub fn over(&self, mut window: pb::Window, reader: &mut Reader) -> pb::Window {
        if let Some(text) = &self.from {
            window.earliest = reader.instant("--from", text, DayEdge::Start).map(values::timestamp);
            // An end that the new start has passed was meant for the old start.
            let start = values::instant(window.earliest.as_ref());
            if values::instant(window.latest.as_ref()) <= start {
                window.latest = None;
            }
        }
        if let Some(text) = &self.until {
            let until = reader.instant("--until", text, DayEdge::End);
            window.latest = until.map(values::timestamp);
            let from = values::instant(window.earliest.as_ref());
            if let (Some(from), Some(until)) = (from, until) {
                let what = match &self.from {
                    Some(typed) => format!("--from '{typed}'"),
                    None => "the beginning of the meeting's window, so name --from too".to_owned(),
                };
                reader.in_order(&what, from, text, until);
            }
        }
        if let Some(step) = self.step {
            window.step = Some(values::duration(step));
        }
        if let Some(zone) = &self.zone {
            window.time_zone = zone.clone();
        }
        window.respect_attendee_hours |= self.respect_attendee_hours;
        for text in &self.exclude {
            window.exclude.extend(reader.range("--exclude", text));
        }
        window.working_hours = self.working_hours(window.working_hours);
        window
    }

    fn working_hours(&self, base: Option<pb::WorkingHours>) -> Option<pb::WorkingHours> {
        if self.any_hours {
            return Some(pb::WorkingHours { unrestricted: true, ..Default::default() });
        }
        if self.days.is_none() && self.hours.is_none() {
            return base;
        }
        // Days or hours on top of "any hour" start from the service's defaults.
        let mut hours = base.filter(|base| !base.unrestricted).unwrap_or_default();
        if let Some(Days(days)) = self.days {
            hours.days = (1..=7).zip(days).filter_map(|(number, chosen)| chosen.then_some(number)).collect();
        }
        if let Some((start, end)) = self.hours {
            let clock =
                |minute: u16| pb::TimeOfDay { hours: (minute / 60).into(), minutes: (minute % 60).into() };
            (hours.start, hours.end) = (Some(clock(start)), Some(clock(end)));
        }
        if self.zone.is_some() {
            hours.time_zone.clear();
        }
        Some(hours)
    }
}

/// Options that say how long to wait for others.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "How long to try")]
pub struct PatienceArgs {
    /// How long to wait for the attendees' answers. Default: 2s
    #[arg(long, value_name = "LENGTH", value_parser = parse::length)]
    pub response_timeout: Option<Duration>,
    /// How long to wait for attendees who are not connected. Default: 0s
    #[arg(long, value_name = "LENGTH", value_parser = parse::length)]
    pub connect_timeout: Option<Duration>,
}

/// Reads times against the asker's clock and zone, and gathers what is wrong with all of them.
#[derive(Clone, Debug)]
pub struct Reader {
    reference: Reference,
    problems: Vec<BadValue>,
    notes: Vec<String>,
}

impl Reader {
    /// Reads against this clock and zone.
    pub fn new(reference: Reference) -> Self {
        Self { reference, problems: Vec::new(), notes: Vec::new() }
    }

    /// Reads an instant; None after a problem.
    pub fn instant(&mut self, flag: &'static str, text: &str, edge: DayEdge) -> Option<jiff::Timestamp> {
        let read = when::instant(text, edge, &self.reference);
        self.keep(flag, text, read).map(|moment| self.told(flag, moment))
    }

    /// Whether what --until was read as lies after the start: a problem if not, told as both were typed and as they were
    /// read. `what` is the start, in words.
    pub fn in_order(
        &mut self,
        what: &str,
        from: jiff::Timestamp,
        typed: &str,
        until: jiff::Timestamp,
    ) -> bool {
        let zone = &self.reference.zone;
        if until > from {
            return true;
        }
        let (end, start) = (zone.show(until), zone.show(from));
        let problem = format!("this is {end}, which is not after {what}: {start} ({})", zone.name);
        self.problem("--until", typed, problem);
        false
    }

    /// Reads a date, and gives it as requests have it; None after a problem.
    pub fn date(&mut self, flag: &'static str, text: &str) -> Option<String> {
        let read = when::date(text, &self.reference);
        self.keep(flag, text, read).map(|date| date.to_string())
    }

    /// Reads a range; None after a problem.
    pub fn range(&mut self, flag: &'static str, text: &str) -> Option<pb::TimeRange> {
        let read = when::range(text, &self.reference);
        let (start, end) = self.keep(flag, text, read)?;
        Some(values::time_range(self.told(flag, start), self.told(flag, end)))
    }

    /// Reads a slot: `START/END`, or `START` with a length. Without either the length is missing: a problem.
    pub fn slot(&mut self, text: &str, length: Option<Duration>) -> Option<pb::TimeRange> {
        if when::is_range(text) {
            return self.range("--at", text);
        }
        let start = self.instant("--at", text, DayEdge::Start)?;
        let Some(length) = length else {
            self.problem("--duration", "", "needed with --at START; or name the end too: --at START/END");
            return None;
        };
        let end = start.checked_add(length).map_err(|_| "the slot ends too late".to_owned());
        self.keep("--at", text, end).map(|end| values::time_range(start, end))
    }

    /// [`Self::slot`] of a series. The other occurrences are at the same time of the wall clock, so one that the clocks
    /// skip on that day would not be the time that was meant: a problem.
    pub fn slot_of_series(&mut self, text: &str, length: Option<Duration>) -> Option<pb::TimeRange> {
        let start = match when::is_range(text) {
            true => when::range(text, &self.reference).map(|(start, _)| start),
            false => when::instant(text, DayEdge::Start, &self.reference),
        };
        if start.is_ok_and(|start| start.skipped) {
            let problem = format!(
                "the clocks of {} skip this time on that day, so it can't be the time of a series; begin it on another day",
                self.reference.zone.name
            );
            self.problem("--at", text, problem);
            return None;
        }
        self.slot(text, length)
    }

    /// Notes a problem.
    pub fn problem(&mut self, flag: &'static str, value: &str, problem: impl Into<String>) {
        self.problems.push(BadValue { flag, value: value.to_owned(), problem: problem.into() });
    }

    /// What the person should know of the times they typed.
    ///
    /// # Errors
    /// All problems found.
    pub fn finish(self) -> Result<Vec<String>, CliError> {
        if self.problems.is_empty() { Ok(self.notes) } else { Err(CliError::Usage(self.problems)) }
    }

    fn keep<T>(&mut self, flag: &'static str, text: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|problem| self.problem(flag, text, problem)).ok()
    }

    fn told(&mut self, flag: &'static str, moment: Moment) -> jiff::Timestamp {
        self.notes.extend(moment.note.map(|note| format!("{flag}: {note}")));
        moment.at
    }
}

#[cfg(test)]
mod tests {
    use super::super::zone::Zone;
    use super::*;

    fn reader() -> Reader {
        let now = "2026-12-01T09:20:00Z".parse().unwrap();
        Reader::new(Reference { now, zone: Zone::named("Europe/Berlin").unwrap() })
    }

    fn shown(at: Option<&prost_types::Timestamp>) -> String {
        values::instant(at).unwrap().to_string()
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn attendees_keep_their_roles() {
        let ids = |list: &[&str]| list.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let all = attendees(&ids(&["carol"]), &ids(&["alice", " bob"]), &ids(&["dave"]));
        let seen: Vec<_> = all.iter().map(|a| (a.participant_id.as_str(), a.role)).collect();
        assert_eq!(seen, [("carol", 1), ("alice", 2), ("bob", 2), ("dave", 3)]);
    }

    #[test]
    fn a_window_of_dates_days_and_hours() {
        let args = WindowArgs {
            from: text("2026-12-07"),
            until: text("2026-12-11"),
            days: Some(Days([true, false, true, false, false, false, true])),
            hours: Some((9 * 60, 24 * 60)),
            exclude: vec!["2026-12-08".to_owned(), "2026-12-09 12:00/13:00".to_owned()],
            ..Default::default()
        };
        let mut reader = reader();
        let window = args.over(pb::Window::default(), &mut reader);
        assert_eq!(reader.finish().unwrap(), Vec::<String>::new());
        assert_eq!(shown(window.earliest.as_ref()), "2026-12-06T23:00:00Z");
        assert_eq!(shown(window.latest.as_ref()), "2026-12-11T23:00:00Z", "the whole last day");
        let hours = window.working_hours.unwrap();
        assert_eq!(hours.days, [1, 3, 7]);
        assert_eq!(hours.start, Some(pb::TimeOfDay { hours: 9, minutes: 0 }));
        assert_eq!(hours.end, Some(pb::TimeOfDay { hours: 24, minutes: 0 }));
        assert_eq!(window.exclude.len(), 2);
        assert_eq!(shown(window.exclude[1].end_time.as_ref()), "2026-12-09T12:00:00Z");
    }

    #[test]
    fn all_bad_times_are_reported_at_once_and_by_option() {
        let args = WindowArgs {
            from: text("2024-02-30"),
            until: text("someday"),
            exclude: vec!["2026-12-01 25:00/26:00".to_owned()],
            ..Default::default()
        };
        let mut reader = reader();
        args.over(pb::Window::default(), &mut reader);
        let Err(CliError::Usage(problems)) = reader.finish() else { panic!("no problems") };
        let flags: Vec<_> = problems.iter().map(|problem| problem.flag).collect();
        assert_eq!(flags, ["--from", "--until", "--exclude"]);
        assert!(problems[0].problem.contains("February 2024 has 29 days"));
    }

    #[test]
    fn a_window_that_ends_before_it_begins_is_told_as_it_was_typed() {
        let refused = |args: WindowArgs, base: pb::Window| {
            let mut reader = reader();
            args.over(base, &mut reader);
            reader.finish().unwrap_err().text()
        };
        let (from, until) = (text("2026-12-11"), text("tomorrow 9:00"));
        let both = WindowArgs { from, until: until.clone(), ..Default::default() };
        assert_eq!(
            refused(both, pb::Window::default()),
            "error: invalid value 'tomorrow 9:00' for '--until': this is Wed 2026-12-02 09:00, \
             which is not after --from '2026-12-11': Fri 2026-12-11 00:00 (Europe/Berlin)\n"
        );
        // Of a meeting that is moved, the beginning may be the one that it has.
        let at = |text: &str| Some(values::timestamp(text.parse().unwrap()));
        let base = pb::Window { earliest: at("2026-12-03T08:00:00Z"), ..Default::default() };
        let alone = WindowArgs { until: until.clone(), ..Default::default() };
        assert_eq!(
            refused(alone, base),
            "error: invalid value 'tomorrow 9:00' for '--until': this is Wed 2026-12-02 09:00, \
             which is not after the beginning of the meeting's window, so name --from too: Thu 2026-12-03 09:00 \
             (Europe/Berlin)\n"
        );
        // A date as the end is all of that day.
        let day = WindowArgs { from: text("2026-12-11"), until: text("2026-12-11"), ..Default::default() };
        let mut reader = reader();
        day.over(pb::Window::default(), &mut reader);
        assert!(reader.finish().is_ok());
    }

    #[test]
    fn a_change_of_the_clocks_is_told_with_the_option() {
        let mut reader = reader();
        reader.instant("--from", "2026-03-29 02:30", DayEdge::Start).unwrap();
        assert!(reader.finish().unwrap()[0].starts_with("--from: 2026-03-29 02:30 does not exist"));
    }

    #[test]
    fn what_a_move_does_not_name_stays() {
        let at = |text: &str| Some(values::timestamp(text.parse().unwrap()));
        let base = pb::Window {
            earliest: at("2026-12-01T00:00:00Z"),
            latest: at("2026-12-05T00:00:00Z"),
            time_zone: "Asia/Tokyo".to_owned(),
            working_hours: Some(pb::WorkingHours { unrestricted: true, ..Default::default() }),
            ..Default::default()
        };
        let mut reader = reader();
        let later =
            WindowArgs { from: text("2026-12-07"), ..Default::default() }.over(base.clone(), &mut reader);
        assert_eq!(later.latest, None, "the old end lies before the new start");
        assert_eq!(later.time_zone, "Asia/Tokyo");
        assert!(later.working_hours.unwrap().unrestricted);
        let hours =
            WindowArgs { hours: Some((480, 600)), ..Default::default() }.over(base.clone(), &mut reader);
        assert_eq!(hours.latest, base.latest);
        assert!(!hours.working_hours.unwrap().unrestricted);
        assert!(WindowArgs::default().is_empty());
    }

    #[test]
    fn a_named_slot_has_a_length_or_an_end() {
        let slot = |text: &str, length: Option<u64>| {
            let mut reader = reader();
            let slot = reader.slot(text, length.map(|minutes| Duration::from_secs(minutes * 60)));
            (slot.map(|slot| shown(slot.end_time.as_ref())), reader.finish().is_ok())
        };
        assert_eq!(slot("2026-12-02 10:00", Some(30)), (text("2026-12-02T09:30:00Z"), true));
        assert_eq!(slot("2026-12-02 10:00/11:00", None), (text("2026-12-02T10:00:00Z"), true));
        assert_eq!(slot("2026-12-02 10:00", None), (None, false));
        assert_eq!(slot("2024-02-30 10:00", Some(30)), (None, false));
        assert_eq!(slot("9999-12-30 10:00", Some(u64::MAX / 60)), (None, false));
    }

    #[test]
    fn a_series_does_not_begin_at_a_time_that_the_clocks_skip() {
        let begun = |text: &str| {
            let mut reader = reader();
            let slot = reader.slot_of_series(text, Some(Duration::from_secs(1800)));
            (slot.is_some(), reader.finish().is_ok())
        };
        assert_eq!(begun("2027-03-28 02:30"), (false, false));
        assert_eq!(begun("2027-03-28 02:30/03:30"), (false, false));
        assert_eq!(begun("2027-03-28 03:00"), (true, true));
        assert_eq!(begun("2027-03-27 02:30"), (true, true));
        assert_eq!(begun("nonsense"), (false, false));
    }

    #[test]
    fn a_spec_with_everything() {
        let args = SpecArgs {
            title: "Review".to_owned(),
            require: vec!["carol".to_owned()],
            minimum: 2,
            objective: Some(ObjectiveArg::BestScore),
            buffer_after: Some(Duration::from_secs(600)),
            displace: true,
            displaceable: true,
            ..Default::default()
        };
        let spec = args.spec(Some(Duration::from_secs(1800)), None);
        assert_eq!(spec.duration.unwrap().seconds, 1800);
        assert_eq!(spec.objective, pb::meeting_spec::Objective::BestScore as i32);
        assert_eq!((spec.minimum_participants, spec.priority), (2, 0));
        assert_eq!((spec.buffer_before, spec.buffer_after.unwrap().seconds), (None, 600));
        assert!(spec.displaceable && spec.displace);
    }
}
