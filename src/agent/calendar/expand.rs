//! From series to busy time in a range.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use jiff::tz::TimeZone;

use super::read::{Class, Event, Override, Series};
use super::rule::{GaveUpAt, Steps};
use super::value::{Length, When};
use super::{Busy, MAX_STEPS_PER_RULE};
use crate::core::time::TimeRange;

/// What a query asks for, and what was found so far.
pub(super) struct Query<'q> {
    pub range: TimeRange,
    /// The participant's zone, for floating times and dates.
    pub home: &'q TimeZone,
    pub steps: Steps,
    pub found: Busy,
}

/// The calendar needs more work than one query may cost.
pub(super) struct TooMuchWork;

/// A length as one query sees it.
#[derive(Clone, Copy)]
enum Span {
    Nominal { days: i64, seconds: i64 },
    Exact(TimeDelta),
}

impl Span {
    fn of(length: &Length, start: &When, home: &TimeZone) -> Self {
        match length {
            Length::Nominal { days, seconds } => Self::Nominal { days: *days, seconds: *seconds },
            // A gap may swallow more than a short event has; it never turns one around.
            Length::Until(end) => Self::Exact((end.instant(home) - start.instant(home)).abs()),
        }
    }

    fn is_zero(self) -> bool {
        self.at_most().is_zero()
    }

    fn at_most(self) -> TimeDelta {
        match self {
            Self::Nominal { days, seconds } => TimeDelta::days(days) + TimeDelta::seconds(seconds),
            Self::Exact(length) => length,
        }
    }

    fn end(self, start: &When, home: &TimeZone) -> DateTime<Utc> {
        let local = |days| start.local.checked_add_signed(TimeDelta::days(days)).unwrap_or(start.local);
        let (from, length) = match self {
            Self::Nominal { days: 0, seconds } => (start.instant(home), TimeDelta::seconds(seconds)),
            Self::Nominal { days, seconds } => {
                (start.zone.instant(local(days), home), TimeDelta::seconds(seconds))
            }
            Self::Exact(length) => (start.instant(home), length),
        };
        from.checked_add_signed(length).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

/// A set of occurrences named by RECURRENCE-ID or EXDATE. A date names the occurrence that
/// starts on it, whatever the time of day.
#[derive(Default)]
struct Marks {
    instants: HashSet<DateTime<Utc>>,
    dates: HashSet<NaiveDate>,
}

impl Marks {
    fn of<'w>(marks: impl Iterator<Item = &'w When>, master: &Event, home: &TimeZone) -> Self {
        let mut all = Self::default();
        for mark in marks {
            if mark.is_date || master.start.is_date {
                all.dates.insert(mark.local.date());
            }
            if !mark.is_date {
                all.instants.insert(mark.instant(home));
            }
        }
        all
    }

    fn has(&self, occurrence: &When, at: DateTime<Utc>) -> bool {
        self.instants.contains(&at) || self.dates.contains(&occurrence.local.date())
    }
}

/// A RANGE=THISANDFUTURE override, seen from the master.
struct Onward<'s> {
    from: DateTime<Utc>,
    /// The event that takes over, how far it moved, and its length; nothing if cancelled.
    event: Option<(&'s Event, TimeDelta, Span)>,
}

impl Query<'_> {
    /// Adds what `series` blocks.
    pub fn add(&mut self, series: &Series) -> Result<(), TooMuchWork> {
        let ends_before = |last| last < self.range.start.naive_utc();
        if series.last.is_some_and(ends_before) || series.first > self.range.end.naive_utc() {
            return Ok(());
        }
        for event in series.overrides.iter().filter_map(|change| change.event.as_ref()) {
            self.event(event, &[])?;
        }
        for event in &series.masters {
            self.event(event, &series.overrides)?;
        }
        Ok(())
    }

    /// Adds what `event` blocks, but for the occurrences that `overrides` replace.
    fn event(&mut self, event: &Event, overrides: &[Override]) -> Result<(), TooMuchWork> {
        let home = self.home;
        let span = Span::of(&event.length, &event.start, home);
        let except = Marks::of(event.except.iter(), event, home);
        let replaced = Marks::of(overrides.iter().map(|change| &change.id), event, home);
        let onward: Vec<Onward<'_>> = overrides
            .iter()
            .filter(|change| change.onward)
            .map(|change| Onward {
                from: change.id.instant(home),
                event: change.event.as_ref().map(|to| {
                    let moved = event.start.zone.local(to.start.instant(home), home)
                        - event.start.zone.local(change.id.instant(home), home);
                    (to, moved, Span::of(&to.length, &to.start, home))
                }),
            })
            .collect();
        let add = |found: &mut Busy, range: TimeRange, start: When, span: Span| {
            let at = start.instant(home);
            if except.has(&start, at) || replaced.has(&start, at) {
                return;
            }
            let (class, start, span) = match onward.iter().rev().find(|onward| onward.from <= at) {
                None => (event.class, start, span),
                Some(Onward { event: None, .. }) => return,
                Some(Onward { event: Some((to, moved, span)), .. }) => {
                    let local = start.local.checked_add_signed(*moved).unwrap_or(start.local);
                    (to.class, When { local, ..start }, *span)
                }
            };
            let (at, end) = (start.instant(home), span.end(&start, home));
            found.block(class, range, at, end);
        };
        add(&mut self.found, self.range, event.start.clone(), span);
        for (start, length) in &event.extra {
            let own = length.as_ref().map_or(span, |length| Span::of(length, start, home));
            add(&mut self.found, self.range, start.clone(), own);
        }
        // What lasts no time blocks none, however often it does so.
        let longest = onward.iter().filter_map(|onward| onward.event.as_ref().map(|to| to.2.at_most()));
        let longest = longest.chain([span.at_most()]).max().unwrap_or_default();
        if (span.is_zero() && longest.is_zero()) || event.rules.is_empty() {
            return Ok(());
        }
        let moved = onward.iter().filter_map(|onward| onward.event.as_ref().map(|to| to.1.abs()));
        let slack = moved.max().unwrap_or_default() + TimeDelta::days(2);
        let zone = &event.start.zone;
        let from = zone.local(self.range.start, home).checked_sub_signed(longest + slack);
        let to = zone.local(self.range.end, home).checked_add_signed(slack);
        let window = from.unwrap_or(NaiveDateTime::MIN)..to.unwrap_or(NaiveDateTime::MAX);
        for rule in &event.rules {
            let until = rule.until_in(|utc| zone.local(utc.and_utc(), home));
            let mut part = self.steps.split(MAX_STEPS_PER_RULE);
            let (found, range) = (&mut self.found, self.range);
            let ended = rule.expand(event.start.local, until, window.clone(), &mut part, |local| {
                add(found, range, When { local, ..event.start.clone() }, span);
            });
            self.steps.give_back(part);
            if let Err(GaveUpAt(local)) = ended {
                if self.steps.is_empty() {
                    return Err(TooMuchWork);
                }
                // Nobody knows what the rest holds, so nobody is free in it.
                let class = if onward.is_empty() { event.class } else { Class::Busy };
                self.found.block(class, self.range, zone.instant(local, home), self.range.end);
            }
        }
        Ok(())
    }
}

impl Busy {
    /// Notes `[start, end)` as far as it lies in `range`.
    fn block(&mut self, class: Class, range: TimeRange, start: DateTime<Utc>, end: DateTime<Utc>) {
        let clipped = TimeRange { start: start.max(range.start), end: end.min(range.end) };
        let list = match class {
            Class::Busy => &mut self.busy,
            Class::Tentative => &mut self.tentative,
            Class::Unavailable => &mut self.unavailable,
            Class::Free => return,
        };
        if clipped.start < clipped.end {
            list.push(clipped);
        }
    }
}
