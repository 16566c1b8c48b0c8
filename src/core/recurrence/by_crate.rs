//! Rules expanded by the `rrule` crate. What it gets wrong, or refuses, is told apart by [`can`]; [`super::periods`] does the rest.
//!
//! It is given local times only, as if they were UTC: its own zones come from an older database and it reads gaps and
//! folds differently. Zones are applied by the caller.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, TimeDelta};
use rrule::{RRule, RRuleSet, Tz, Unvalidated};

use super::parts::{Frequency, Parts, Skip, WEEKDAYS};
use super::periods::LAST_YEAR;
use super::steps::Steps;

/// The crate holds this many times of one period at once, at most (a year of hours has 8,784).
const MOST_TIMES: usize = 50_000;

/// Whether the crate gives the right times for these parts.
fn can(parts: &Parts) -> bool {
    let frequency = parts.frequency;
    // It takes the first days of some years for a week 53 if weeks don't begin on Monday, and cuts the first week of a
    // BYSETPOS at DTSTART.
    let weeks = parts.weeks.is_empty() && (parts.positions.is_empty() || frequency != Frequency::Weekly);
    let with_frequency = (parts.year_days.is_empty() || frequency == Frequency::Yearly)
        && (parts.month_days.is_empty() || frequency != Frequency::Weekly);
    let in_range = parts.year_days.iter().all(|day| *day != 0 && day.unsigned_abs() <= 366)
        && parts.positions.iter().all(|position| position.unsigned_abs() <= 366);
    // It knows no fifth last day of a month, and reads a list with and without ordinals as one restricting the other.
    let ordinals = parts.days.iter().filter(|(ordinal, _)| *ordinal != 0).count();
    let far = parts.days.iter().any(|(ordinal, _)| ordinal.unsigned_abs() > 4);
    let ordinals = (ordinals == 0 || ordinals == parts.days.len()) && !far;
    // Within a day it loses the phase of an INTERVAL while it looks for an hour or minute that is allowed.
    frequency >= Frequency::Daily
        && u16::try_from(parts.interval).is_ok()
        && parts.skip == Skip::Omit
        && with_frequency
        && weeks
        && in_range
        && ordinals
        && times_per_period(parts) <= MOST_TIMES
}

fn times_per_period(parts: &Parts) -> usize {
    let days = match parts.frequency {
        Frequency::Yearly => 366,
        Frequency::Monthly => 31,
        Frequency::Weekly => 7,
        _ => 1,
    };
    [&parts.hours, &parts.minutes, &parts.seconds].iter().fold(days, |times, list| times * list.len().max(1))
}

/// The rule in the form that the crate reads, without its UNTIL.
fn text(parts: &Parts) -> String {
    let frequency = match parts.frequency {
        Frequency::Yearly => "YEARLY",
        Frequency::Monthly => "MONTHLY",
        Frequency::Weekly => "WEEKLY",
        _ => "DAILY",
    };
    let name =
        |day| WEEKDAYS.iter().find(|(_, known)| *known == day).map(|(name, _)| *name).unwrap_or_default();
    let mut text = format!("FREQ={frequency};INTERVAL={};WKST={}", parts.interval, name(parts.week_start));
    let mut add = |name: &str, list: Vec<String>| {
        if !list.is_empty() {
            text.push_str(&format!(";{name}={}", list.join(",")));
        }
    };
    let signed = |list: &[i32]| list.iter().map(ToString::to_string).collect();
    let unsigned = |list: &[u32]| list.iter().map(ToString::to_string).collect();
    add("COUNT", parts.count.iter().map(ToString::to_string).collect());
    add("BYMONTH", unsigned(&parts.months));
    add("BYYEARDAY", signed(&parts.year_days));
    add("BYMONTHDAY", signed(&parts.month_days));
    let day = |(ordinal, day): &(i32, chrono::Weekday)| match ordinal {
        0 => name(*day).to_owned(),
        _ => format!("{ordinal}{}", name(*day)),
    };
    add("BYDAY", parts.days.iter().map(day).collect());
    add("BYHOUR", unsigned(&parts.hours));
    add("BYMINUTE", unsigned(&parts.minutes));
    add("BYSECOND", unsigned(&parts.seconds));
    add("BYSETPOS", signed(&parts.positions));
    text
}

/// The months that its times are in, where they are named, or follow from DTSTART; none if they may be in any.
fn months(parts: &Parts, start: NaiveDateTime) -> Vec<u32> {
    let days = [parts.days.len(), parts.month_days.len(), parts.year_days.len(), parts.weeks.len()];
    match parts.frequency {
        Frequency::Yearly if parts.months.is_empty() && days == [0; 4] => vec![start.month()],
        _ => parts.months.clone(),
    }
}

fn floating(local: NaiveDateTime) -> DateTime<Tz> {
    local.and_utc().with_timezone(&Tz::UTC)
}

/// A rule as the crate has checked it, with its DTSTART.
#[derive(Clone, Debug)]
pub(super) struct ByCrate {
    rule: Box<RRule>,
    start: NaiveDateTime,
    frequency: Frequency,
    interval: i64,
    is_counted: bool,
    /// The months, from 1, that its times are in; empty if they may be in any.
    months: Vec<u32>,
}

impl ByCrate {
    /// None if the crate can't tell.
    pub fn of(parts: &Parts, start: NaiveDateTime) -> Option<Self> {
        let rule = can(parts).then(|| text(parts).parse::<RRule<Unvalidated>>())?;
        let rule = Box::new(rule.and_then(|rule| rule.validate(floating(start))).ok()?);
        let (frequency, interval) = (parts.frequency, i64::from(parts.interval));
        let is_counted = parts.count.is_some();
        Some(Self { rule, start, frequency, interval, is_counted, months: months(parts, start) })
    }

    /// Calls `found` with each time in `wanted`, ascending, until it says no. COUNT is the caller's.
    ///
    /// # Errors
    /// The steps were used up before this time was looked at.
    pub fn each(
        &self,
        wanted: RangeInclusive<NaiveDateTime>,
        steps: &mut Steps,
        mut found: impl FnMut(NaiveDateTime) -> bool,
    ) -> Result<(), NaiveDateTime> {
        let (from, to) = wanted.into_inner();
        // The crate would look through the whole year.
        if !self.is_about(from, to) {
            return if steps.take(1) { Ok(()) } else { Err(from) };
        }
        let begin = self.near(from);
        let mut before = begin;
        let set = RRuleSet::new(floating(begin)).rrule((*self.rule).clone()).limit();
        for at in &set {
            let at = at.naive_utc();
            // What lies after the range was looked for too.
            let enough = steps.take(self.steps(before, at));
            if at > to || at.year() > LAST_YEAR {
                return Ok(());
            }
            if !enough {
                break;
            }
            before = at;
            if at >= from && !found(at) {
                return Ok(());
            }
        }
        // Without a COUNT it goes on for ever, and a COUNT is the caller's: the crate gave up.
        Err(before.max(from))
    }

    /// Whether some of its months lie in this range.
    fn is_about(&self, from: NaiveDateTime, to: NaiveDateTime) -> bool {
        let number = |at: NaiveDateTime| 12 * i64::from(at.year()) + i64::from(at.month0());
        let mut months = (number(from)..=number(to)).take(12).map(|month| month.rem_euclid(12) as u32 + 1);
        self.months.is_empty() || months.any(|month| self.months.contains(&month))
    }

    /// The steps that the crate needs, at most, from one occurrence to the next.
    fn steps(&self, from: NaiveDateTime, to: NaiveDateTime) -> usize {
        let length = to - from;
        let months =
            12 * i64::from(to.year() - from.year()) + i64::from(to.month()) - i64::from(from.month());
        let units = match self.frequency {
            Frequency::Yearly => months / 12,
            Frequency::Monthly => months,
            Frequency::Weekly => length.num_weeks(),
            _ => length.num_days(),
        };
        usize::try_from(units / self.interval).unwrap_or_default().max(1)
    }

    /// A start from which the rule gives the same times in and after `wanted`, but sooner.
    fn near(&self, wanted: NaiveDateTime) -> NaiveDateTime {
        if self.is_counted {
            return self.start;
        }
        let interval = self.interval;
        // Two periods early: the first one may be cut by its start.
        let skip = |units: i64| interval * (units / interval - 2).max(0);
        let shifted = match self.frequency {
            Frequency::Yearly | Frequency::Monthly => {
                let years = i64::from(wanted.year()) - i64::from(self.start.year());
                let yearly = self.frequency == Frequency::Yearly;
                let months = 12 * years + i64::from(wanted.month()) - i64::from(self.start.month());
                let skip = if yearly { 12 * skip(years) } else { skip(months) };
                // The whole period from its first day on; the crate keeps what the rule took from DTSTART.
                let month = if yearly { 1 } else { self.start.month() };
                let first = NaiveDate::from_ymd_opt(self.start.year(), month, 1);
                let skip = u32::try_from(skip).ok().filter(|skip| *skip > 0);
                skip.and_then(|skip| first?.checked_add_months(Months::new(skip))).map(NaiveDateTime::from)
            }
            _ => {
                let unit = if self.frequency == Frequency::Weekly { 7 } else { 1 };
                let days = skip((wanted - self.start).num_days() / unit) * unit;
                self.start.checked_add_signed(TimeDelta::days(days))
            }
        };
        shifted.unwrap_or(self.start)
    }
}
