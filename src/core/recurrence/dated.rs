//! A rule that holds for one DTSTART, and its times.
//!
//! The `rrule` crate is given local times only, as if they were UTC: its own zones come from an older database and it
//! reads gaps and folds differently. Zones are applied by the caller. What the crate gets wrong, or refuses, is told
//! apart by [`crate_can`] and expanded by [`Periods`]; tests compare the two on everything that both can do.

use std::ops::Range;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, TimeDelta};
use rrule::{RRule, RRuleSet, Tz, Unvalidated};

use super::parts::{Frequency, Parts, Skip, Until, WEEKDAYS};
use super::periods::Periods;
use super::steps::{GaveUpAt, Steps};
use super::{MAX_FIRST_STEPS, RuleError};

/// The crate holds this many times of one period at once, at most (a year of hours has 8,784).
const CRATE_TIMES: usize = 50_000;
/// A rule that names no time in so many days is taken to name none.
const DEAD_DAYS: i64 = 100 * 366;

#[derive(Clone, Debug)]
enum Engine {
    /// The rule as the crate has checked it.
    Crate(Box<RRule>),
    Periods,
}

/// A rule with the DTSTART that it holds for, in floating time.
#[derive(Clone, Debug)]
pub struct Dated {
    start: NaiveDateTime,
    frequency: Frequency,
    interval: u32,
    until: Option<Until>,
    /// The last time of a rule that had a COUNT.
    last: Option<NaiveDateTime>,
    /// Whether it was counted only so far.
    goes_on: bool,
    engine: Engine,
    periods: Periods,
    /// It names no time at all (30 February), so that only DTSTART is left of the series.
    dead: bool,
    first_steps: usize,
}

/// Whether the crate gives the right times for these parts.
fn crate_can(parts: &Parts) -> bool {
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
        && times_per_period(parts) <= CRATE_TIMES
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
fn crate_text(parts: &Parts) -> String {
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

impl Engine {
    fn new(parts: &Parts, start: NaiveDateTime) -> Self {
        if !crate_can(parts) {
            return Self::Periods;
        }
        let rule = crate_text(parts).parse::<RRule<Unvalidated>>();
        match rule.and_then(|rule| rule.validate(floating(start))) {
            Ok(rule) => Self::Crate(Box::new(rule)),
            Err(_) => Self::Periods,
        }
    }
}

fn floating(local: NaiveDateTime) -> DateTime<Tz> {
    local.and_utc().with_timezone(&Tz::UTC)
}

impl Dated {
    pub(super) fn new(mut parts: Parts, start: NaiveDateTime, is_date: bool) -> Result<Self, RuleError> {
        if is_date && parts.frequency < Frequency::Daily {
            return Err(RuleError::FinerThanADay);
        }
        if is_date {
            // RFC 5545 section 3.3.10: these are ignored if DTSTART is a date.
            (parts.hours, parts.minutes, parts.seconds) = Default::default();
        }
        if parts.frequency == Frequency::Yearly && !parts.weeks.is_empty() && !parts.names_weekday() {
            // "In week 20" means on the weekday of DTSTART (docs/time.md).
            parts.days.push((0, start.weekday()));
        }
        let engine = Engine::new(&parts, start);
        let (frequency, interval, until) = (parts.frequency, parts.interval, parts.until);
        let periods = Periods::new(parts, start);
        let mut steps = Steps::new(MAX_FIRST_STEPS);
        let mut first = None;
        let looked = periods.each(start, &mut steps, |at| {
            first = Some(at);
            false
        });
        // No day in a hundred years is proof enough; no second in a few days is none.
        if let Err(reached) = looked
            && reached - start < TimeDelta::days(DEAD_DAYS)
        {
            return Err(RuleError::TooRare);
        }
        let first_steps = MAX_FIRST_STEPS - steps.left();
        let (dead, last, goes_on) = (first.is_none(), None, false);
        Ok(Self { start, frequency, interval, until, last, goes_on, engine, periods, dead, first_steps })
    }

    /// The same rule expanded without the crate, if it is one of the crate's.
    #[cfg(test)]
    pub(super) fn by_periods(&self) -> Option<Self> {
        matches!(self.engine, Engine::Crate(_)).then(|| Self { engine: Engine::Periods, ..self.clone() })
    }

    /// The steps that looking for the first occurrence took.
    pub fn first_steps(&self) -> usize {
        self.first_steps
    }

    /// Whether it names no time at all, so that only DTSTART is left of the series.
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// The rule of the same times for a COUNT that was counted to its end: `last` is its last time. Looking far into it no
    /// longer means counting from its start.
    pub fn ending_at(mut self, last: NaiveDateTime) -> Self {
        self.engine = Engine::new(self.periods.uncount(), self.start);
        self.last = Some(last);
        self
    }

    /// The rule of the same times up to `last`, for a COUNT that was counted so far: what comes after is not known.
    pub fn known_until(self, last: NaiveDateTime) -> Self {
        Self { goes_on: true, ..self.ending_at(last) }
    }

    /// The local time after which nobody knows whether it goes on.
    pub fn unknown_from(&self) -> Option<NaiveDateTime> {
        self.last.filter(|_| self.goes_on)
    }

    /// UNTIL (inclusive) in the wall-clock time of the event; `to_local` converts from UTC. A date means its midnight.
    pub fn until_in(&self, to_local: impl Fn(NaiveDateTime) -> NaiveDateTime) -> Option<NaiveDateTime> {
        self.until_or(to_local, NaiveDateTime::from)
    }

    /// As [`Dated::until_in`]; `of_day` says what a date means.
    pub fn until_or(
        &self,
        to_local: impl Fn(NaiveDateTime) -> NaiveDateTime,
        of_day: impl Fn(NaiveDate) -> NaiveDateTime,
    ) -> Option<NaiveDateTime> {
        let until = self.until.map(|until| match until {
            Until::Utc(utc) => to_local(utc),
            Until::Local(local) => local,
            Until::Date(date) => of_day(date),
        });
        until.into_iter().chain(self.last).min()
    }

    /// The day of an UNTIL that is a date.
    pub fn until_day(&self) -> Option<NaiveDate> {
        match self.until {
            Some(Until::Date(date)) => Some(date),
            _ => None,
        }
    }

    /// Whether the rule ends by COUNT.
    pub fn is_counted(&self) -> bool {
        self.periods.count().is_some()
    }

    /// Calls `found` with the local starts in `range`, ascending, until it says no. `until` is inclusive.
    ///
    /// # Errors
    /// The steps are used up.
    pub fn expand(
        &self,
        until: Option<NaiveDateTime>,
        range: Range<NaiveDateTime>,
        steps: &mut Steps,
        mut found: impl FnMut(NaiveDateTime) -> bool,
    ) -> Result<(), GaveUpAt> {
        let mut reached = range.start.max(self.start);
        if self.dead || self.start >= range.end || until.is_some_and(|until| until < range.start) {
            return Ok(());
        }
        let goes_on = |at: NaiveDateTime| at < range.end && until.is_none_or(|until| at <= until);
        let from = if self.is_counted() { self.start } else { range.start.max(self.start) };
        let mut left = self.periods.count().unwrap_or(u32::MAX);
        let mut give = |at: NaiveDateTime| {
            if !goes_on(at) {
                return false;
            }
            left = left.saturating_sub(1);
            if at >= range.start {
                reached = at;
                if !found(at) {
                    return false;
                }
            }
            left > 0
        };
        let complete = match &self.engine {
            Engine::Periods => self.periods.each(from, steps, give).is_ok(),
            Engine::Crate(rule) => {
                let begin = self.near(from);
                let mut before = begin;
                let set = RRuleSet::new(floating(begin)).rrule((**rule).clone()).limit();
                let mut ended = false;
                for at in &set {
                    let at = at.naive_utc();
                    let enough = steps.take(self.steps(before, at));
                    if at < from {
                        before = at;
                        if !enough {
                            break;
                        }
                        continue;
                    }
                    // What lies after the range was looked for too.
                    if !goes_on(at) || at.year() > super::periods::LAST_YEAR {
                        ended = true;
                        break;
                    }
                    if !enough {
                        break;
                    }
                    before = at;
                    if !give(at) {
                        ended = true;
                        break;
                    }
                }
                ended
            }
        };
        if complete { Ok(()) } else { Err(GaveUpAt(reached)) }
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
        usize::try_from(units / i64::from(self.interval)).unwrap_or_default().max(1)
    }

    /// A start from which the rule gives the same times in and after `wanted`, but sooner.
    fn near(&self, wanted: NaiveDateTime) -> NaiveDateTime {
        if self.is_counted() {
            return self.start;
        }
        let interval = i64::from(self.interval);
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
