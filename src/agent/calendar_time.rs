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
        // Everything that counts in a calendar is ASCII; titles in another encoding don't matter here.
        let text = String::from_utf8_lossy(&bytes);
        let calendar = Calendar::parse(&name, &text).map(Arc::new);
        let begins = |line: &&str| line.trim_end().eq_ignore_ascii_case("BEGIN:VEVENT");
        let events = text.lines().filter(begins).count();
        Self { calendar, events, digest: Some(Sha256::digest(&bytes).into()) }
    }

    /// What is wrong with it: `file:line: reason`.
    pub fn problem(&self) -> Option<String> {
        self.calendar.as_ref().err().map(ToString::to_string)
    }

    fn zone(&self) -> Option<(String, TimeZone)> {
        let name = self.calendar.as_ref().ok()?.zone()?;
        Some((name.to_owned(), calendar::known_zone(name)?))
    }
}

/// How a participant wants the calendar to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// IANA zone; none: the calendar's own.
    pub zone: Option<String>,
    /// When the participant works; none: at any time. Without a zone of their own they are in the participant's.
    pub working_hours: Option<WorkingHours>,
    /// Whether tentative events block their time.
    pub tentative_blocks: bool,
}

/// One participant's own time.
#[derive(Clone, Debug)]
pub struct CalendarTime {
    loaded: Loaded,
    policy: Policy,
    /// The participant's zone and its name, if any is known.
    zone: Option<(String, TimeZone)>,
    hours_zone: Option<TimeZone>,
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
        let hours_zone = match &policy.working_hours {
            Some(WorkingHours::Weekly { time_zone: Some(name), .. }) => Some(zones::zone(name)?),
            _ => None,
        };
        Ok(Self { loaded, policy, zone, hours_zone })
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
        let Some(WorkingHours::Weekly { days, start_minute, end_minute, .. }) = &self.policy.working_hours
        else {
            return Ok(Vec::new());
        };
        if (range.end - range.start).num_days() > MAX_DAYS {
            return Err(format!("working hours are worked out for {MAX_DAYS} days at most"));
        }
        let zone = &self.hours_zone.clone().unwrap_or_else(|| self.home());
        // Where clocks go back over midnight, a day begins before the one before it has ended.
        let first = zones::to_civil(range.start, zone).date();
        let last = zones::to_civil(range.end, zone).date();
        let (mut day, last) = (first.yesterday().unwrap_or(first), last.tomorrow().unwrap_or(last));
        let mut hours = Vec::new();
        while day <= last {
            if days[day.weekday().to_monday_zero_offset() as usize] {
                hours.push(TimeRange::new(reach(day, *start_minute, zone), reach(day, *end_minute, zone)));
            }
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
        Ok(calendar::free_within(range, &hours))
    }
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
        Policy { zone: None, working_hours, tentative_blocks: true }
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
