//! A participant's own time: the calendar, its zone, working hours, and what a tentative event means.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use jiff::civil;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::calendar::{self, Calendar, CalendarError, MAX_FILE_BYTES};
use crate::core::model::WorkingHours;
use crate::core::participant::OwnTime;
use crate::core::time::{Instant, TimeRange};
use crate::core::zones;

/// Longest range whose working hours are worked out, in days: a scheduler asks about a year at most.
const MAX_DAYS: i64 = 4_000;

/// A calendar file as it was read at one time.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The calendar, or why there is none. The error names the file without its folder: others read it.
    pub calendar: Result<Arc<Calendar>, CalendarError>,
    /// How many events the file has.
    pub events: usize,
    /// Of the file's bytes; none if they can't be read.
    pub(super) digest: Option<[u8; 32]>,
}

impl Loaded {
    /// Reads a calendar file. A file that can't be read is a `Loaded` that says so.
    pub fn read(path: &Path) -> Self {
        Self::read_of(path, &[])
    }

    /// As [`Loaded::read`], with the addresses of the calendar's owner.
    pub fn read_of(path: &Path, owners: &[String]) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let unread = |reason: String| {
            let error = CalendarError { file: name.clone(), line: 0, reason };
            Self { calendar: Err(error), events: 0, digest: None }
        };
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            return unread(format!("cannot be read: {error}"));
        }
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return unread(format!("larger than {} MiB", MAX_FILE_BYTES >> 20));
        }
        let text = calendar::decode(&bytes);
        let calendar = Calendar::parse_of(&name, &text, owners).map(Arc::new);
        let begins = |line: &&str| line.trim_end().eq_ignore_ascii_case("BEGIN:VEVENT");
        let events = text.lines().filter(begins).count();
        Self { calendar, events, digest: Some(Sha256::digest(&bytes).into()) }
    }

    /// [`Calendar::prepare`], in the zone of the policy or else the calendar's own.
    pub(super) fn prepare(&self, zone: Option<&str>, now: Instant) {
        let named = zone.map_or_else(|| self.zone(), |name| Some((name.to_owned(), zones::zone(name).ok()?)));
        let home = named.map_or(TimeZone::UTC, |(_, zone)| zone);
        if let Ok(calendar) = &self.calendar {
            calendar.prepare(now, &home);
        }
    }

    /// What is wrong with it: `file:line: reason`.
    pub fn problem(&self) -> Option<String> {
        self.calendar.as_ref().err().map(ToString::to_string)
    }

    /// What can't be read in a calendar that can, in one line: the first problem, and how many more there are.
    pub fn degraded(&self) -> Option<String> {
        let calendar = self.calendar.as_ref().ok()?;
        let first = &calendar.problems().first()?.error;
        Some(match calendar.problem_count() - 1 {
            0 => first.to_string(),
            more => format!("{first} (and {more} more)"),
        })
    }

    /// As [`Loaded::degraded`], with what it means until it is mended.
    pub(super) fn degraded_and_so(&self, unreadable: Unreadable) -> Option<String> {
        let degraded = self.degraded()?;
        let unknown = self.calendar.as_ref().is_ok_and(|calendar| calendar.leaves_unknown());
        Some(match unreadable {
            _ if !unknown => {
                format!("{degraded}; no time is unknown, the participant may be busier than they are")
            }
            Unreadable::Unknown => {
                format!(
                    "{degraded}; queries about the time that it may block are declined until it is mended"
                )
            }
            Unreadable::Busy => {
                format!("{degraded}; the time that it may block counts as busy until it is mended")
            }
        })
    }

    fn zone(&self) -> Option<(String, TimeZone)> {
        let name = self.calendar.as_ref().ok()?.zone()?;
        Some((name.to_owned(), calendar::known_zone(name)?))
    }
}

/// What an event means that can't be read, for the time that it may block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unreadable {
    /// Nothing is known of that time: queries that touch it are declined, holds refused.
    #[default]
    Unknown,
    /// The participant is busy.
    Busy,
}

/// How a participant wants the calendar to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// IANA zone; none: the calendar's own.
    pub zone: Option<String>,
    /// When the participant works: all of these together; none: at any time. Without a zone of their own they are in the
    /// participant's.
    pub working_hours: Option<Vec<WorkingHours>>,
    /// Whether tentative events block their time.
    pub tentative_blocks: bool,
    /// What events mean that can't be read.
    pub unreadable: Unreadable,
}

/// One participant's own time.
#[derive(Clone, Debug)]
pub struct CalendarTime {
    loaded: Loaded,
    policy: Policy,
    /// The participant's zone and its name, if any is known.
    zone: Option<(String, TimeZone)>,
    /// The zones that the working hours name themselves, in their order.
    hours_zones: Vec<Option<TimeZone>>,
}

impl CalendarTime {
    /// The time that `loaded` and `policy` describe.
    ///
    /// # Errors
    /// The policy names a zone that no one knows.
    pub fn new(loaded: Loaded, policy: Policy) -> Result<Self, zones::UnknownZone> {
        let zone = match &policy.zone {
            Some(name) => {
                let zone = zones::zone(name)?;
                Some((zones::zone_name(&zone).to_owned(), zone))
            }
            None => loaded.zone(),
        };
        let hours_zone = |hours: &WorkingHours| match hours {
            WorkingHours::Weekly { time_zone: Some(name), .. } => zones::zone(name).map(Some),
            _ => Ok(None),
        };
        let hours_zones = policy.working_hours.iter().flatten().map(hours_zone).collect::<Result<_, _>>()?;
        Ok(Self { loaded, policy, zone, hours_zones })
    }

    /// The participant's IANA zone: the one of the policy, or else the calendar's. With neither, times without a zone
    /// are read as UTC.
    pub fn time_zone(&self) -> Option<&str> {
        self.zone.as_ref().map(|(name, _)| name.as_str())
    }

    /// Replaces the calendar.
    pub fn replace(&mut self, loaded: Loaded) {
        // The zone of a calendar that can't be read stays what it was: nothing is answered from it.
        if self.policy.zone.is_none() && loaded.calendar.is_ok() {
            self.zone = loaded.zone();
        }
        self.loaded = loaded;
    }

    /// The calendar as it was last read.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The calendar's title, if it has one.
    pub fn title(&self) -> Option<&str> {
        self.loaded.calendar.as_ref().ok().and_then(|calendar| calendar.display_name())
    }

    fn home(&self) -> TimeZone {
        self.zone.as_ref().map_or(TimeZone::UTC, |(_, zone)| zone.clone())
    }

    /// What lies outside the participant's working hours.
    fn outside(&self, range: TimeRange) -> Result<Vec<TimeRange>, String> {
        let Some(all) = &self.policy.working_hours else { return Ok(Vec::new()) };
        if (range.end - range.start).num_days() > MAX_DAYS {
            return Err(format!("working hours are worked out for {MAX_DAYS} days at most"));
        }
        let mut works = Vec::new();
        for (hours, zone) in all.iter().zip(&self.hours_zones) {
            let WorkingHours::Weekly { days, start_minute, end_minute, .. } = hours else {
                // Any hour of any day.
                return Ok(Vec::new());
            };
            let zone = zone.clone().unwrap_or_else(|| self.home());
            works.extend(hours_of(range, days, (*start_minute, *end_minute), &zone));
        }
        Ok(calendar::free_within(range, &calendar::merge(works)))
    }
}

/// The hours of the days around a range.
fn hours_of(range: TimeRange, days: &[bool; 7], (start, end): (u16, u16), zone: &TimeZone) -> Vec<TimeRange> {
    // Where clocks go back over midnight, a day begins before the one before it has ended.
    let first = zones::to_civil(range.start, zone).date();
    let last = zones::to_civil(range.end, zone).date();
    let (mut day, last) = (first.yesterday().unwrap_or(first), last.tomorrow().unwrap_or(last));
    let mut hours = Vec::new();
    while day <= last {
        if days[day.weekday().to_monday_zero_offset() as usize] {
            hours.push(TimeRange::new(reach(day, start, zone), reach(day, end, zone)));
        }
        let Ok(next) = day.tomorrow() else { break };
        day = next;
    }
    hours
}

/// When the wall clock first reaches that minute of the day; 1440 is the next midnight.
fn reach(day: civil::Date, minute: u16, zone: &TimeZone) -> Instant {
    match minute {
        0..1440 => zones::first_reaching(day.at((minute / 60) as i8, (minute % 60) as i8, 0, 0), zone),
        _ => zones::start_of_day(day.tomorrow().unwrap_or(day), zone),
    }
}

impl OwnTime for CalendarTime {
    fn busy(&self, range: TimeRange, working_hours: bool) -> Result<Vec<TimeRange>, String> {
        let calendar = self.loaded.calendar.as_ref().map_err(ToString::to_string)?;
        let busy = calendar.busy(range, &self.home()).map_err(|error| error.to_string())?;
        if self.policy.unreadable == Unreadable::Unknown && !busy.unknown.is_empty() {
            let problem = calendar.problem_in(range).map(ToString::to_string);
            return Err(problem.unwrap_or_else(|| "an event can't be read".to_owned()));
        }
        let mut blocked = busy.blocked(self.policy.tentative_blocks);
        if working_hours {
            blocked.extend(self.outside(range)?);
            blocked = calendar::merge(blocked);
        }
        Ok(blocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nX-WR-TIMEZONE:Europe/Berlin\r\n";

    fn event(rest: &str) -> String {
        format!("BEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20250101T000000Z\r\n{rest}\r\nEND:VEVENT\r\n")
    }

    fn loaded(body: &str) -> Loaded {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.ics");
        std::fs::write(&path, format!("{HEAD}{body}END:VCALENDAR\r\n")).unwrap();
        Loaded::read(&path)
    }

    fn policy(working_hours: Option<WorkingHours>) -> Policy {
        let working_hours = working_hours.map(|hours| vec![hours]);
        Policy { zone: None, working_hours, tentative_blocks: true, unreadable: Unreadable::Unknown }
    }

    fn range(start: &str, end: &str) -> TimeRange {
        TimeRange::new(start.parse().unwrap(), end.parse().unwrap())
    }

    #[test]
    fn an_unreadable_calendar_is_never_free() {
        let broken = loaded(&event("DTSTART:20250230T090000Z\r\nDTEND:20250230T100000Z"));
        let time = CalendarTime::new(broken, policy(None)).unwrap();
        let asked = range("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z");
        let reason = time.busy(asked, false).unwrap_err();
        assert!(reason.starts_with("alice.ics:") && !reason.contains('/'), "{reason}");
        let missing = Loaded::read(Path::new("no such folder/bob.ics"));
        let time = CalendarTime::new(missing, policy(None)).unwrap();
        assert!(time.busy(asked, true).unwrap_err().starts_with("bob.ics: cannot be read"));
    }

    #[test]
    fn a_broken_change_is_not_answered_from_the_last_good_version() {
        let good = loaded("");
        let mut time = CalendarTime::new(good.clone(), policy(None)).unwrap();
        let asked = range("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z");
        assert_eq!(time.busy(asked, false), Ok(vec![]));
        time.replace(loaded("BEGIN:VEVENT\r\n"));
        assert!(time.busy(asked, false).is_err());
        assert_eq!(time.time_zone(), Some("Europe/Berlin"));
        time.replace(good);
        assert_eq!(time.busy(asked, false), Ok(vec![]));
    }

    #[test]
    fn an_event_that_cannot_be_read_is_unknown_or_busy_and_the_rest_is_known() {
        let good = event("DTSTART:20250101T090000Z\r\nDURATION:PT1H");
        let bad = event("DTSTART;TZID=Atlantis:20250601T090000\r\nDURATION:PT1H");
        let degraded = loaded(&(good + &bad));
        assert_eq!(degraded.problem(), None);
        assert_eq!(degraded.degraded().as_deref(), Some("alice.ics:13: unknown time zone 'Atlantis'"));
        assert_eq!(loaded(&bad.repeat(3)).degraded().unwrap().split_once(" (").unwrap().1, "and 2 more)");
        let says = |loaded: &Loaded, unreadable, words| {
            assert!(loaded.degraded_and_so(unreadable).unwrap().contains(words), "{loaded:?}");
        };
        says(&degraded, Unreadable::Unknown, "; queries about the time that it may block are declined until");
        says(&degraded, Unreadable::Busy, "; the time that it may block counts as busy");
        // What only makes busier declines nothing.
        let busier = loaded(&event("DTSTART:20250101T090000Z\r\nDURATION:PT1H\r\nEXDATE:never"));
        says(
            &busier,
            Unreadable::Unknown,
            "; no time is unknown, the participant may be busier than they are",
        );
        let (known, touched) = (
            range("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"),
            range("2025-06-01T00:00:00Z", "2025-06-02T00:00:00Z"),
        );
        let time = CalendarTime::new(degraded.clone(), policy(None)).unwrap();
        assert_eq!(time.busy(known, false), Ok(vec![range("2025-01-01T09:00:00Z", "2025-01-01T10:00:00Z")]));
        assert!(time.busy(touched, false).unwrap_err().contains("alice.ics:13: unknown time zone"));
        let policy = Policy { unreadable: Unreadable::Busy, ..policy(None) };
        let time = CalendarTime::new(degraded, policy).unwrap();
        assert_eq!(time.busy(touched, false), Ok(vec![touched]));
    }

    #[test]
    fn the_zone_is_the_option_or_else_the_calendars() {
        let floating = loaded(&event("DTSTART:20250701T090000\r\nDTEND:20250701T100000"));
        let asked = range("2025-07-01T00:00:00Z", "2025-07-02T00:00:00Z");
        let busy = |zone: Option<&str>| {
            let policy = Policy { zone: zone.map(str::to_owned), ..policy(None) };
            let time = CalendarTime::new(floating.clone(), policy).unwrap();
            (time.time_zone().unwrap().to_owned(), time.busy(asked, false).unwrap())
        };
        let berlin =
            ("Europe/Berlin".to_owned(), vec![range("2025-07-01T07:00:00Z", "2025-07-01T08:00:00Z")]);
        assert_eq!(busy(None), berlin);
        let tokyo = ("Asia/Tokyo".to_owned(), vec![range("2025-07-01T00:00:00Z", "2025-07-01T01:00:00Z")]);
        assert_eq!(busy(Some("asia/tokyo")), tokyo);
        let unknown = Policy { zone: Some("Mars/Olympus".to_owned()), ..policy(None) };
        assert!(CalendarTime::new(floating.clone(), unknown).is_err());
        assert_eq!(floating.events, 1);
    }

    #[test]
    fn tentative_events_block_if_the_participant_says_so() {
        let tentative = loaded(&event("STATUS:TENTATIVE\r\nDTSTART:20250701T090000Z\r\nDURATION:PT1H"));
        let asked = range("2025-07-01T00:00:00Z", "2025-07-02T00:00:00Z");
        for tentative_blocks in [true, false] {
            let time =
                CalendarTime::new(tentative.clone(), Policy { tentative_blocks, ..policy(None) }).unwrap();
            assert_eq!(time.busy(asked, false).unwrap().is_empty(), !tentative_blocks);
        }
    }

    #[test]
    fn hours_follow_the_wall_clock_over_a_change_of_clocks() {
        let hours = WorkingHours::Weekly {
            days: [true; 7],
            start_minute: 9 * 60,
            end_minute: 17 * 60,
            time_zone: None,
        };
        let time = CalendarTime::new(loaded(""), policy(Some(hours.clone()))).unwrap();
        // Clocks go forward on 30 March 2025: 09:00 is 08:00 UTC before it, 07:00 UTC from then on.
        let asked = range("2025-03-29T00:00:00Z", "2025-03-31T00:00:00Z");
        let outside = vec![
            range("2025-03-29T00:00:00Z", "2025-03-29T08:00:00Z"),
            range("2025-03-29T16:00:00Z", "2025-03-30T07:00:00Z"),
            range("2025-03-30T15:00:00Z", "2025-03-31T00:00:00Z"),
        ];
        assert_eq!(time.busy(asked, true).unwrap(), outside);
        assert_eq!(time.busy(asked, false).unwrap(), []);
        let WorkingHours::Weekly { days, start_minute, end_minute, .. } = hours else { unreachable!() };
        let elsewhere = WorkingHours::Weekly {
            days,
            start_minute,
            end_minute,
            time_zone: Some("America/New_York".to_owned()),
        };
        let time = CalendarTime::new(loaded(""), policy(Some(elsewhere))).unwrap();
        let free = range("2025-03-29T13:00:00Z", "2025-03-29T21:00:00Z");
        let around = range("2025-03-29T12:00:00Z", "2025-03-29T22:00:00Z");
        assert_eq!(calendar::free_within(around, &time.busy(around, true).unwrap()), [free]);
    }

    #[test]
    fn hours_may_differ_by_day_and_have_breaks() {
        let weekly = |days: [u8; 7], start_minute, end_minute| WorkingHours::Weekly {
            days: days.map(|day| day == 1),
            start_minute,
            end_minute,
            time_zone: None,
        };
        let (mon_to_thu, friday) = ([1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0]);
        let hours = vec![
            weekly(mon_to_thu, 9 * 60, 12 * 60),
            weekly(mon_to_thu, 13 * 60, 17 * 60),
            weekly(friday, 9 * 60, 13 * 60),
        ];
        let free = |hours: Vec<WorkingHours>, day: &str| {
            let policy = Policy { working_hours: Some(hours), ..policy(None) };
            let time = CalendarTime::new(loaded(""), policy).unwrap();
            let range = range(&format!("{day}T00:00:00Z"), &format!("{day}T23:00:00Z"));
            calendar::free_within(range, &time.busy(range, true).unwrap())
        };
        // A Thursday, a Friday and a Saturday in Berlin's summer.
        let thursday = vec![
            range("2025-07-03T07:00:00Z", "2025-07-03T10:00:00Z"),
            range("2025-07-03T11:00:00Z", "2025-07-03T15:00:00Z"),
        ];
        assert_eq!(free(hours.clone(), "2025-07-03"), thursday);
        assert_eq!(
            free(hours.clone(), "2025-07-04"),
            [range("2025-07-04T07:00:00Z", "2025-07-04T11:00:00Z")]
        );
        assert_eq!(free(hours.clone(), "2025-07-05"), []);
        let any = [hours, vec![WorkingHours::Unrestricted]].concat();
        assert_eq!(free(any, "2025-07-05"), [range("2025-07-05T00:00:00Z", "2025-07-05T23:00:00Z")]);
    }

    #[test]
    fn hours_of_days_that_are_not_like_others() {
        let night = |start_minute, end_minute| {
            Some(WorkingHours::Weekly { days: [true; 7], start_minute, end_minute, time_zone: None })
        };
        let free = |zone: &str, hours, around: TimeRange| {
            let policy = Policy { zone: Some(zone.to_owned()), ..policy(hours) };
            let time = CalendarTime::new(loaded(""), policy).unwrap();
            calendar::free_within(around, &time.busy(around, true).unwrap())
        };
        // 02:30 is skipped: work starts when the clock has gone past it, at 03:00.
        let sunday = range("2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z");
        assert_eq!(
            free("Europe/Berlin", night(150, 600), sunday),
            [range("2026-03-29T01:00:00Z", "2026-03-29T08:00:00Z")]
        );
        // 30 December 2011 does not exist in Samoa: nobody worked on it.
        let days = range("2011-12-29T10:00:00Z", "2011-12-31T10:00:00Z");
        assert_eq!(
            free("Pacific/Apia", night(540, 1020), days),
            [
                range("2011-12-29T19:00:00Z", "2011-12-30T03:00:00Z"),
                range("2011-12-30T19:00:00Z", "2011-12-31T03:00:00Z"),
            ]
        );
        // Midnight does not exist in São Paulo on 4 November 2018: the day begins at 01:00.
        let day = range("2018-11-04T02:00:00Z", "2018-11-04T06:00:00Z");
        assert_eq!(
            free("America/Sao_Paulo", night(0, 120), day),
            [range("2018-11-04T03:00:00Z", "2018-11-04T04:00:00Z")]
        );
        // A zone that lies three quarters of an hour off.
        let day = range("2026-06-15T00:00:00Z", "2026-06-15T12:00:00Z");
        assert_eq!(
            free("Asia/Kathmandu", night(540, 600), day),
            [range("2026-06-15T03:15:00Z", "2026-06-15T04:15:00Z")]
        );
    }

    #[test]
    fn an_absurd_range_is_no_endless_work() {
        let hours = WorkingHours::default();
        let time = CalendarTime::new(loaded(""), policy(Some(hours))).unwrap();
        let ages = range("0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z");
        assert!(time.busy(ages, true).is_err());
    }

    #[test]
    fn our_own_bookings_are_not_read_back() {
        let own = event("DTSTART:20250701T090000Z\r\nDURATION:PT1H").replace("UID:1", "UID:1@quorate");
        let time = CalendarTime::new(loaded(&own), policy(None)).unwrap();
        let asked = range("2025-07-01T00:00:00Z", "2025-07-02T00:00:00Z");
        assert_eq!(time.busy(asked, false).unwrap(), []);
    }
}
