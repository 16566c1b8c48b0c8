//! The days of a week on one zone's wall clock: also the short, the long, and those that do not exist. Pure.

use jiff::civil::{Date, DateTime, ISOWeekDate, Weekday};
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};

use super::super::when::{self, DayEdge, Reference};
use super::super::zone::Zone;
use crate::core::zones::{start_of_day, to_jiff};

/// One day of a week.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Day {
    /// Its date.
    pub date: Date,
    /// Its first instant.
    pub start: Timestamp,
    /// The first instant of the next day; `start` if the day does not exist.
    pub end: Timestamp,
}

impl Day {
    /// How long it lasts, in minutes.
    pub fn minutes(&self) -> i64 {
        (self.end.as_second() - self.start.as_second()) / 60
    }
}

/// A change of the clocks within a week.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// What the clock would have shown then.
    pub from: DateTime,
    /// What it shows instead.
    pub to: DateTime,
}

/// A stretch of time over which the clock runs evenly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// Its first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
    /// What the clock is ahead of UTC by.
    pub offset: Offset,
}

/// Seven days from a Monday on.
#[derive(Clone, Debug)]
pub struct Week {
    /// On whose wall clock.
    pub zone: Zone,
    /// Monday first.
    pub days: Vec<Day>,
    /// Of the clocks, in order.
    pub changes: Vec<Change>,
    /// From a day before the week to a day after it, without gaps.
    pub stretches: Vec<Stretch>,
}

impl Week {
    /// The week that a date lies in.
    ///
    /// # Errors
    /// A sentence: the week ends beyond the year 9999.
    pub fn of(date: Date, zone: &Zone) -> Result<Self, String> {
        let far = |_| "the week is too far away".to_owned();
        let monday = date.iso_week_date().weekday().to_monday_zero_offset();
        let monday = date.checked_sub(i64::from(monday).days()).map_err(far)?;
        let midnight = |date: Date| to_jiff(start_of_day(date, &zone.rules));
        let mut days = Vec::with_capacity(7);
        let mut date = monday;
        for _ in 0..7 {
            let next = date.tomorrow().map_err(far)?;
            days.push(Day { date, start: midnight(date), end: midnight(next) });
            date = next;
        }
        let (start, end) = (days[0].start, days[6].end);
        let (mut from, until) =
            (start.checked_sub(24.hours()).map_err(far)?, end.checked_add(24.hours()).map_err(far)?);
        let (mut changes, mut stretches) = (Vec::new(), Vec::new());
        let mut offset = zone.rules.to_offset(from);
        for change in zone.rules.following(from).take_while(|change| change.timestamp() < until) {
            let (at, next) = (change.timestamp(), change.offset());
            if next == offset {
                continue;
            }
            if start <= at && at < end {
                changes.push(Change { at, from: offset.to_datetime(at), to: next.to_datetime(at) });
            }
            stretches.push(Stretch { start: from, end: at, offset });
            (from, offset) = (at, next);
        }
        stretches.push(Stretch { start: from, end: until, offset });
        Ok(Self { zone: zone.clone(), days, changes, stretches })
    }

    /// The first instant of the week, and the first after it.
    pub fn range(&self) -> (Timestamp, Timestamp) {
        (self.days[0].start, self.days[6].end)
    }

    /// Its name after ISO 8601: `2026-W13`.
    pub fn name(&self) -> String {
        let week = self.days[0].date.iso_week_date();
        format!("{:04}-W{:02}", week.year(), week.week())
    }

    /// What is not as in other weeks, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let show = |wall: DateTime| wall.strftime("%a %Y-%m-%d %H:%M").to_string();
        let change = |change: &Change| {
            let way = if change.to > change.from { "forward" } else { "back" };
            let (from, to) = (show(change.from), show(change.to));
            let to = if change.from.date() == change.to.date() { to[15..].to_owned() } else { to };
            format!("the clocks go {way} from {from} to {to}")
        };
        let length = |day: &&Day| day.minutes() != 24 * 60;
        let day = |day: &Day| {
            let date = day.date.strftime("%a %Y-%m-%d");
            match day.minutes() {
                0 => format!("{date} does not exist in {}", self.zone.name),
                minutes if minutes % 60 == 0 => format!("{date} has {} hours", minutes / 60),
                minutes => format!("{date} has {} hours {} minutes", minutes / 60, minutes % 60),
            }
        };
        let days = self.days.iter().filter(length).map(day);
        self.changes.iter().map(change).chain(days).collect()
    }
}

/// The date that names a week: `2026-W13`, `this`, `next`, `last`, or what [`when::instant`] reads.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn read(text: &str, reference: &Reference) -> Result<Date, String> {
    let text = text.trim();
    let today = reference.now.to_zoned(reference.zone.rules.clone()).date();
    let far = |_| "the week is too far away".to_owned();
    match text.to_lowercase().as_str() {
        "this" | "now" => return Ok(today),
        "next" => return today.checked_add(7.days()).map_err(far),
        "last" | "previous" => return today.checked_sub(7.days()).map_err(far),
        _ => {}
    }
    if let Some((year, week)) = text.split_once(['-']).and_then(iso_parts) {
        let number: i8 = week.parse().unwrap_or(i8::MAX);
        return ISOWeekDate::new(year, number, Weekday::Monday).map(|week| week.date()).map_err(|_| {
            // The 28th of December always lies in a year's last week.
            let last = Date::new(year, 12, 28).map_or(52, |date| date.iso_week_date().week());
            format!("{year} has the weeks W01 to W{last}")
        });
    }
    // A date is taken as it stands, for a zone may lack that very day.
    if let Ok(date) = text.parse::<Date>() {
        return Ok(date);
    }
    let at = when::instant(text, DayEdge::Start, reference).map_err(|problem| {
        match problem.starts_with("expected") {
            true => "expected a week such as 2026-W13, this, next or last, or a date in it".to_owned(),
            false => problem,
        }
    })?;
    Ok(at.at.to_zoned(reference.zone.rules.clone()).date())
}

/// The year and the week's digits of `2026-W13`, split at its hyphen.
fn iso_parts<'a>((year, week): (&'a str, &'a str)) -> Option<(i16, &'a str)> {
    let digits = |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    let week = week.strip_prefix(['W', 'w'])?;
    (digits(year, 4) && (digits(week, 2) || digits(week, 1))).then_some((year.parse().ok()?, week))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::named(name).unwrap()
    }

    fn week(name: &str, date: &str) -> Week {
        Week::of(date.parse().unwrap(), &zone(name)).unwrap()
    }

    #[test]
    fn weeks_are_named_in_many_ways() {
        // A Tuesday.
        let reference =
            Reference { now: "2026-03-24T09:20:00Z".parse().unwrap(), zone: zone("Europe/Berlin") };
        let name = |text: &str| {
            let date = read(text, &reference)?;
            Week::of(date, &reference.zone).map(|week| week.name())
        };
        for (text, expected) in [
            ("2026-W13", "2026-W13"),
            ("2026-w1", "2026-W01"),
            ("2020-W53", "2020-W53"),
            ("this", "2026-W13"),
            ("Next", "2026-W14"),
            ("last", "2026-W12"),
            ("2026-03-29", "2026-W13"),
            ("2027-01-01", "2026-W53"),
            ("2025-12-29", "2026-W01"),
            ("today", "2026-W13"),
            ("monday", "2026-W14"),
            ("2026-03-29T23:00:00Z", "2026-W14"),
        ] {
            assert_eq!(name(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("2026-W54", "2026 has the weeks W01 to W53"),
            ("2025-W53", "2025 has the weeks W01 to W52"),
            ("2026-W00", "W01"),
            ("2026-W999", "expected a week such as"),
            ("whenever", "expected a week such as 2026-W13"),
            ("", "expected a week such as"),
            ("2026-02-30", "February 2026 has 28 days"),
            ("9999-12-31", "too far away"),
        ] {
            assert!(name(text).unwrap_err().contains(why), "{text}: {:?}", name(text));
        }
    }

    #[test]
    fn weeks_have_short_and_long_days() {
        let lengths = |name, date| week(name, date).days.iter().map(Day::minutes).collect::<Vec<_>>();
        const DAY: i64 = 1_440;
        assert_eq!(lengths("UTC", "2026-03-29"), [DAY; 7]);
        assert_eq!(lengths("Europe/Berlin", "2026-03-29"), [DAY, DAY, DAY, DAY, DAY, DAY, 23 * 60]);
        assert_eq!(lengths("Europe/Berlin", "2026-10-25"), [DAY, DAY, DAY, DAY, DAY, DAY, 25 * 60]);
        assert_eq!(lengths("Australia/Lord_Howe", "2026-04-05")[6], 24 * 60 + 30);
        assert_eq!(lengths("Pacific/Apia", "2011-12-30"), [DAY, DAY, DAY, DAY, 0, DAY, DAY]);
        assert_eq!(lengths("America/Sao_Paulo", "2018-02-17")[5], 25 * 60);
    }

    #[test]
    fn what_is_not_as_in_other_weeks_is_told() {
        assert_eq!(
            week("Europe/Berlin", "2026-03-25").notes(),
            ["the clocks go forward from Sun 2026-03-29 02:00 to 03:00", "Sun 2026-03-29 has 23 hours"]
        );
        assert_eq!(
            week("Pacific/Apia", "2011-12-26").notes(),
            [
                "the clocks go forward from Fri 2011-12-30 00:00 to Sat 2011-12-31 00:00",
                "Fri 2011-12-30 does not exist in Pacific/Apia"
            ]
        );
        assert_eq!(
            week("America/Sao_Paulo", "2018-02-12").notes(),
            [
                "the clocks go back from Sun 2018-02-18 00:00 to Sat 2018-02-17 23:00",
                "Sat 2018-02-17 has 25 hours"
            ]
        );
        assert_eq!(
            week("Australia/Lord_Howe", "2026-04-05").notes()[1],
            "Sun 2026-04-05 has 24 hours 30 minutes"
        );
        assert!(week("Asia/Kolkata", "2026-03-25").notes().is_empty());
    }
}
