//! From series to busy time in a range.

use std::collections::HashSet;
use std::ops::Range;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use jiff::tz::TimeZone;

use super::Busy;
use super::class::Class;
use super::series::{Event, Override, Series};
use super::value::{Length, When};
use super::zonebook::doubted_years;
use super::zones::Zone;
use crate::core::recurrence::{Dated, GaveUpAt, Steps};
use crate::core::time::TimeRange;

/// What a query asks for, and what was found so far.
pub(super) struct Query<'q> {
    pub range: TimeRange,
    /// The participant's zone, for floating times and dates.
    pub home: &'q TimeZone,
    pub steps: &'q mut Steps,
    /// Steps along one rule.
    pub per_rule: usize,
    pub found: Busy,
    /// Whether what isn't sure counts: what can't be followed to its end, and the longer of two lengths.
    pub guess: bool,
}

/// The calendar needs more work than one query may cost.
pub(super) struct TooMuchWork;

/// A start as one query sees it.
#[derive(Clone, Copy)]
pub(super) struct Start<'e> {
    local: NaiveDateTime,
    zone: &'e Zone,
    /// When that is.
    pub at: DateTime<Utc>,
}

impl<'e> Start<'e> {
    pub fn of(start: &'e When, home: &TimeZone) -> Self {
        Self::new(start.local, &start.zone, home)
    }

    fn new(local: NaiveDateTime, zone: &'e Zone, home: &TimeZone) -> Self {
        Self { local, zone, at: zone.instant(local, home) }
    }
}

/// A length as one query sees it.
#[derive(Clone, Copy)]
pub(super) enum Span {
    Nominal {
        days: i64,
        seconds: i64,
    },
    /// As long as the first, and on its wall clock until the same hour, if DTEND is on it: what blocks does so until the
    /// later of the two.
    Exact {
        length: TimeDelta,
        civil: Option<TimeDelta>,
    },
}

impl Span {
    pub fn of(length: &Length, start: &When, home: &TimeZone) -> Self {
        match length {
            Length::Nominal { days, seconds } => Self::Nominal { days: *days, seconds: *seconds },
            // A gap may swallow more than a short event has; it never turns one around.
            Length::Until { end, one_clock } => Self::Exact {
                length: (end.instant(home) - start.instant(home)).abs(),
                civil: one_clock.then(|| end.local - start.local),
            },
        }
    }

    fn is_zero(self) -> bool {
        self.at_most().is_zero()
    }

    /// Its length, but for a change of clocks while it lasts.
    fn at_most(self) -> TimeDelta {
        match self {
            Self::Nominal { days, seconds } => TimeDelta::days(days) + TimeDelta::seconds(seconds),
            Self::Exact { length, civil } => civil.map_or(length, |civil| length.max(civil)),
        }
    }

    /// When what starts so ends: of two readings at the later one if `latest`.
    pub fn end(self, start: Start<'_>, home: &TimeZone, latest: bool) -> DateTime<Utc> {
        let local = |days| start.local.checked_add_signed(TimeDelta::days(days)).unwrap_or(start.local);
        let (from, length) = match self {
            Self::Nominal { days: 0, seconds } => (start.at, TimeDelta::seconds(seconds)),
            Self::Nominal { days, seconds } => {
                (start.zone.instant(local(days), home), TimeDelta::seconds(seconds))
            }
            Self::Exact { length, .. } => (start.at, length),
        };
        let end = from.checked_add_signed(length).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let Self::Exact { civil: Some(civil), .. } = self else { return end };
        let Some(local) = start.local.checked_add_signed(civil) else { return end };
        let by_clock = start.zone.instant(local, home);
        if latest { end.max(by_clock) } else { end.min(by_clock).max(from) }
    }
}

/// A set of occurrences named by RECURRENCE-ID or EXDATE. A date names the occurrence that
/// starts on it, whatever the time of day.
struct Marks<'q> {
    instants: HashSet<DateTime<Utc>>,
    dates: HashSet<NaiveDate>,
    home: &'q TimeZone,
}

impl<'q> Marks<'q> {
    fn of<'w>(marks: impl Iterator<Item = &'w When>, master: &Event, home: &'q TimeZone) -> Self {
        let mut all = Self { instants: HashSet::new(), dates: HashSet::new(), home };
        for mark in marks {
            let at = mark.instant(home);
            if !mark.is_date {
                all.instants.insert(at);
            }
            let day = mark.local.date();
            // On days a time in UTC is somebody's midnight, nobody knows whose; in a zone it is on the day that it says, if
            // that is the owner's as well.
            let names_a_day = master.start.is_date
                && !matches!(mark.zone, Zone::Utc)
                && Zone::Floating.local(at, home).date() == day;
            if mark.is_date || names_a_day {
                all.dates.insert(day);
            }
        }
        all
    }

    fn has(&self, occurrence: Start<'_>) -> bool {
        let date = || self.dates.contains(&occurrence.local.date());
        // A day may be one in UTC or one of the owner's: only what is on it by both is meant.
        let owners = || {
            !matches!(occurrence.zone, Zone::Utc)
                || self.dates.contains(&Zone::Floating.local(occurrence.at, self.home).date())
        };
        self.instants.contains(&occurrence.at) || (!self.dates.is_empty() && date() && owners())
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
        let onward = self.onward(event, overrides)?;
        let moved = |onward: &Onward<'_>| onward.event.as_ref().map(|to| to.1.abs());
        let slack = onward.iter().filter_map(moved).max().unwrap_or_default() + TimeDelta::days(2);
        // What lasts no time blocks none, however often it does so.
        let longest = onward.iter().filter_map(|onward| onward.event.as_ref().map(|to| to.2.at_most()));
        let longest = longest.chain([span.at_most()]).max().unwrap_or_default();
        let own = event.extra.iter().filter_map(|(start, length)| Some(length.as_ref()?.at_most(start)));
        let near = Near::of(self.range, own.chain([longest]).max().unwrap_or_default() + slack, slack);
        let except = near.marks(&event.except, |mark| mark.local);
        let replaced = near.marks(overrides, |change| change.id.instant(&TimeZone::UTC).naive_utc());
        if !self.steps.take(except.len() + replaced.len()) {
            return Err(TooMuchWork);
        }
        let except = Marks::of(except.iter(), event, home);
        let replaced = Marks::of(replaced.iter().map(|change| &change.id), event, home);
        let guess = self.guess;
        // `own` is the length of an RDATE that is a period.
        let add = |found: &mut Busy, range: TimeRange, start: Start<'_>, span: Span, own: bool| {
            if start.local < event.since || except.has(start) || replaced.has(start) {
                return;
            }
            let begun = onward.partition_point(|onward| onward.from <= start.at);
            let (class, start, span) = match begun.checked_sub(1).map(|last| &onward[last]) {
                None => (event.class, start, span),
                Some(Onward { event: None, .. }) => return,
                Some(Onward { event: Some((to, moved, later)), .. }) => {
                    let local = start.local.checked_add_signed(*moved).unwrap_or(start.local);
                    // Section 3.8.4.4 does not say which length counts.
                    let longer = span.at_most() > later.at_most();
                    let span = if own && longer == guess { span } else { *later };
                    (to.class, Start::new(local, start.zone, home), span)
                }
            };
            found.block(class, range, start.at, span.end(start, home, guess));
        };
        if near.has(event.start.local) {
            add(&mut self.found, self.range, Start::of(&event.start, home), span, false);
        }
        for (start, length) in event.extra.iter().filter(|(start, _)| near.has(start.local)) {
            let own = length.as_ref().map(|length| Span::of(length, start, home));
            let start = Start::of(start, home);
            add(&mut self.found, self.range, start, own.unwrap_or(span), own.is_some());
        }
        if (span.is_zero() && longest.is_zero()) || event.rules.is_empty() {
            return Ok(());
        }
        let zone = &event.start.zone;
        let from = zone.local(self.range.start, home).checked_sub_signed(longest + slack);
        let to = zone.local(self.range.end, home).checked_add_signed(slack);
        let window = from.unwrap_or(NaiveDateTime::MIN)..to.unwrap_or(NaiveDateTime::MAX);
        for rule in &event.rules {
            let until = self.until(rule, &event.start);
            let mut part = self.steps.split(self.per_rule);
            let (found, range) = (&mut self.found, self.range);
            let ended = rule.expand(until, window.clone(), &mut part, |local| {
                add(found, range, Start::new(local, zone, home), span, false);
                true
            });
            self.steps.give_back(part);
            if ended.is_err() && self.steps.is_empty() {
                return Err(TooMuchWork);
            }
            let unknown = ended.err().map(|GaveUpAt(local)| local).or(rule.unknown_from());
            if let Some(local) = unknown.filter(|_| self.guess) {
                // Nobody knows what the rest holds, so nobody is free in it.
                let class = if onward.is_empty() { event.class } else { Class::Busy };
                self.found.block(class, self.range, zone.instant(local, home), self.range.end);
            }
        }
        Ok(())
    }

    /// UNTIL (RFC 5545, section 3.3.10), inclusive, on the clock of a series that begins at `start`. Where it is not of the
    /// type of DTSTART there are several readings: what blocks does so until the last of them.
    fn until(&self, rule: &Dated, start: &When) -> Option<NaiveDateTime> {
        let (zone, home) = (&start.zone, self.home);
        let to_local = |utc: NaiveDateTime| {
            let local = zone.local(utc.and_utc(), home);
            match (start.is_date, self.guess) {
                (false, _) => local,
                // A date was meant: the owner's, or the one that is written.
                (true, true) => local.max(utc),
                (true, false) => local.min(utc),
            }
        };
        let of_day = |day: NaiveDate| {
            let (begin, next) =
                (NaiveDateTime::from(day), day.succ_opt().map_or(NaiveDateTime::MAX, Into::into));
            if start.is_date || !self.guess || !is_doubtful(day) {
                return begin;
            }
            let end = match zone {
                // The day where the owner is, or the one in UTC.
                Zone::Utc => next.max(Zone::Floating.instant(next, home).naive_utc()),
                _ => next,
            };
            end - TimeDelta::seconds(1)
        };
        rule.until_or(to_local, of_day)
    }

    /// The overrides of `event` that hold for all that follows, in order. Each is a step.
    fn onward<'s>(
        &mut self,
        event: &Event,
        overrides: &'s [Override],
    ) -> Result<Vec<Onward<'s>>, TooMuchWork> {
        let home = self.home;
        let mut onward = Vec::new();
        for change in overrides.iter().filter(|change| change.onward) {
            if !self.steps.take(1) {
                return Err(TooMuchWork);
            }
            let event = change.event.as_ref().map(|to| {
                let moved = event.start.zone.local(to.start.instant(home), home)
                    - event.start.zone.local(change.id.instant(home), home);
                // A day is moved by days, whatever time of it is named.
                let moved = match event.start.is_date {
                    true => TimeDelta::days((moved + TimeDelta::hours(12)).num_seconds().div_euclid(86_400)),
                    false => moved,
                };
                (to, moved, Span::of(&to.length, &to.start, home))
            });
            onward.push(Onward { from: change.id.instant(home), event });
        }
        onward.sort_by_key(|onward| onward.from);
        Ok(onward)
    }
}

/// Whether an UNTIL that is a date among times may mean the whole of that day, and not its midnight as other programs have
/// it. What is over books nobody.
pub(super) fn is_doubtful(day: NaiveDate) -> bool {
    day >= doubted_years().start.date_naive()
}

/// The local times, in any zone, of occurrences that may matter for a range.
struct Near(Range<NaiveDateTime>);

impl Near {
    /// More than zones and dates can make of a time.
    const ZONES: TimeDelta = TimeDelta::days(3);

    fn of(range: TimeRange, before: TimeDelta, after: TimeDelta) -> Self {
        let from = range.start.naive_utc().checked_sub_signed(before + Self::ZONES);
        let to = range.end.naive_utc().checked_add_signed(after + Self::ZONES);
        Self(from.unwrap_or(NaiveDateTime::MIN)..to.unwrap_or(NaiveDateTime::MAX))
    }

    fn has(&self, local: NaiveDateTime) -> bool {
        self.0.contains(&local)
    }

    /// Those of a sorted list that lie in it.
    fn marks<'m, T>(&self, all: &'m [T], at: impl Fn(&T) -> NaiveDateTime) -> &'m [T] {
        let from = all.partition_point(|mark| at(mark) < self.0.start);
        let to = all.partition_point(|mark| at(mark) < self.0.end);
        &all[from..to.max(from)]
    }
}

impl Busy {
    /// Notes `[start, end)` as far as it lies in `range`.
    pub(super) fn block(&mut self, class: Class, range: TimeRange, start: DateTime<Utc>, end: DateTime<Utc>) {
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
