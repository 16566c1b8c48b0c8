//! A rule that holds for one DTSTART, and its times, which are local: zones are applied by the caller. The `rrule` crate
//! expands what is by months and years, where it gets it right ([`super::by_crate`]), and [`Periods`] the rest; tests compare the
//! two on everything that both can do.

use std::ops::Range;

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta};

use super::by_crate::ByCrate;
use super::parts::{Frequency, Parts, Until};
use super::periods::Periods;
use super::steps::{GaveUpAt, Steps};
use super::{MAX_FIRST_STEPS, RuleError};

/// A rule that names no time in so many days is taken to name none.
const DEAD_DAYS: i64 = 100 * 366;

/// A rule with the DTSTART that it holds for, in floating time.
#[derive(Clone, Debug)]
pub struct Dated {
    start: NaiveDateTime,
    until: Option<Until>,
    /// The last time of a rule that had a COUNT.
    last: Option<NaiveDateTime>,
    /// Whether it was counted only so far.
    goes_on: bool,
    periods: Periods,
    /// The same rule, if the crate expands it.
    by_crate: Option<ByCrate>,
    /// It names no time at all (30 February), so that only DTSTART is left of the series.
    dead: bool,
    first_steps: usize,
}

/// The rule as the crate expands it: what is by months and years, if the crate gets it right. Days and weeks are sums of days,
/// and most rules; the crate takes ten times as long to find that out.
fn by_crate(parts: &Parts, start: NaiveDateTime) -> Option<ByCrate> {
    (parts.frequency >= Frequency::Monthly).then(|| ByCrate::of(parts, start))?
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
        let until = parts.until;
        let by_crate = by_crate(&parts, start);
        let periods = Periods::new(parts, start);
        let mut steps = Steps::new(MAX_FIRST_STEPS);
        let mut first = None;
        let looked = periods.each(start..=NaiveDateTime::MAX, &mut steps, |at| {
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
        Ok(Self { start, until, last, goes_on, periods, by_crate, dead, first_steps })
    }

    /// The same rule expanded by the crate, if it can be, and without it.
    #[cfg(test)]
    pub(super) fn both_ways(&self, parts: &Parts) -> Option<[Self; 2]> {
        let by_crate = Some(ByCrate::of(parts, self.start)?);
        Some([Self { by_crate, ..self.clone() }, Self { by_crate: None, ..self.clone() }])
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
        self.by_crate = by_crate(self.periods.uncount(), self.start);
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
        let from = if self.is_counted() { self.start } else { range.start.max(self.start) };
        let mut left = self.periods.count().unwrap_or(u32::MAX);
        let give = |at: NaiveDateTime| {
            if at >= range.end {
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
        let to = until.map_or(range.end, |until| until.min(range.end));
        let complete = match &self.by_crate {
            Some(by_crate) => by_crate.each(from..=to, steps, give).is_ok(),
            None => self.periods.each(from..=to, steps, give).is_ok(),
        };
        if complete { Ok(()) } else { Err(GaveUpAt(reached)) }
    }
}
