//! VAVAILABILITY (RFC 7953): the time in which somebody can be had at all. Whatever it covers is busy but for its
//! AVAILABLE times; where several cover a time, that of the highest priority counts.

use std::collections::HashSet;

use jiff::tz::TimeZone;

use super::Busy;
use super::class::Class;
use super::expand::{Query, Span, Start, TooMuchWork};
use super::free::{free_within, merge};
use super::read::{Budget, Wrong, event, length_of, once, when_of};
use super::series::{Groups, Series};
use super::tree::Component;
use super::value::{Length, When};
use super::zonebook::ZoneBook;
use crate::core::recurrence::Steps;
use crate::core::time::TimeRange;

/// One VAVAILABILITY.
#[derive(Debug)]
pub(super) struct Availability {
    /// 1 is the highest; 10 stands for none.
    priority: u8,
    /// What its time is that is not available.
    class: Class,
    /// None: always was.
    from: Option<When>,
    /// None: always will be.
    until: Option<(When, Length)>,
    available: Vec<Series>,
}

impl Availability {
    /// Reads a VAVAILABILITY. Of its AVAILABLE times those that can't be read are not available, with all others of their
    /// UID; they go to `minor`.
    pub fn read(
        component: &Component,
        zones: &mut ZoneBook<'_>,
        budget: &mut Budget,
        minor: &mut Vec<Wrong>,
    ) -> Result<Self, Wrong> {
        if let Some(fault) = &component.fault {
            return Err(fault.clone());
        }
        // The second may be another one's, that became a part of this one.
        ["PRIORITY", "BUSYTYPE"].into_iter().try_for_each(|name| once(component, name).map(drop))?;
        let value = |name| component.first(name).map_or("", |property| property.value.trim());
        let class = match value("BUSYTYPE").to_ascii_uppercase().as_str() {
            "BUSY" => Class::Busy,
            "BUSY-TENTATIVE" => Class::Tentative,
            // Also what is new to us (section 3.2).
            _ => Class::Unavailable,
        };
        let priority =
            match component.first("PRIORITY").map(|property| (property.line, property.value.trim())) {
                None => 10,
                Some((line, text)) => match text.parse() {
                    // None is given, which is the lowest (section 3.1).
                    Ok(0) => 10,
                    Ok(priority @ 1..=9) => priority,
                    // Taken for the lowest, it might give way to what it stands above.
                    _ => return Err((line, format!("unreadable priority {text:?}"))),
                },
            };
        let from = when_of(component, "DTSTART", zones)?;
        let ends = ["DTEND", "DURATION"].iter().find_map(|name| component.first(name));
        let until = match (&from, ends) {
            (Some(start), Some(ends)) => match length_of(component, start, zones)? {
                Length::Nominal { days: 0, seconds: 0 } => {
                    return Err((ends.line, "availability ends when it starts".to_owned()));
                }
                length => Some((start.clone(), length)),
            },
            (None, Some(_)) => when_of(component, "DTEND", zones)?.map(|end| (end, Length::ZERO)),
            (_, None) => None,
        };
        let mut groups = Groups::default();
        let mut unreadable = HashSet::new();
        for child in component.children.iter().filter(|child| child.is("AVAILABLE")) {
            let uid = child.first("UID").map_or("", |uid| uid.value.as_str());
            let mut faults = Vec::new();
            match event(child, Class::Busy, zones, budget, &mut faults, false) {
                Ok(entry) => groups.add(Some(uid), entry),
                Err(wrong) => faults.push(wrong),
            }
            if let Some(rule) = child.first("EXRULE") {
                faults.push((rule.line, "EXRULE is not read".to_owned()));
            }
            // What was to be left out of it would be available.
            if !faults.is_empty() {
                unreadable.insert(uid);
            }
            minor.extend(faults);
        }
        let mut available = groups.without(&unreadable);
        for series in &mut available {
            let doubts = series.settle(&mut budget.steps);
            if !doubts.is_empty() {
                *series = Series::default();
            }
            minor.extend(doubts);
        }
        Ok(Self { priority, class, from, until, available })
    }

    /// The part of `range` that it is about.
    fn covers(&self, range: TimeRange, home: &TimeZone) -> Option<TimeRange> {
        let start = self.from.as_ref().map(|from| from.instant(home));
        let end = self
            .until
            .as_ref()
            .map(|(at, length)| Span::of(length, at, home).end(Start::of(at, home), home, true));
        let covered = TimeRange { start: start.unwrap_or(range.start), end: end.unwrap_or(range.end) };
        covered.intersection(&range)
    }

    /// When it is available in `range`. What can't be followed to its end is not.
    fn available(
        &self,
        range: TimeRange,
        home: &TimeZone,
        steps: &mut Steps,
        per_rule: usize,
    ) -> Result<Vec<TimeRange>, TooMuchWork> {
        let mut query = Query { range, home, steps, per_rule, found: Busy::default(), guess: false };
        self.available.iter().try_for_each(|series| query.add(series))?;
        Ok(merge(query.found.busy))
    }
}

/// Adds to `found` what the availability of `all` leaves no time for. What is busy or out of office anyway stays that alone.
pub(super) fn apply(
    all: &[Availability],
    found: &mut Busy,
    (range, home): (TimeRange, &TimeZone),
    steps: &mut Steps,
    per_rule: usize,
) -> Result<(), TooMuchWork> {
    if all.is_empty() {
        return Ok(());
    }
    let mut painted = Busy::default();
    // From the lowest priority on: each covers what lies below it.
    for priority in (1..=10).rev() {
        let mut own = Busy::default();
        let mut covered = Vec::new();
        for one in all.iter().filter(|one| one.priority == priority) {
            if !steps.take(1) {
                return Err(TooMuchWork);
            }
            let Some(part) = one.covers(range, home) else { continue };
            let available = one.available(part, home, steps, per_rule)?;
            let list = match one.class {
                Class::Tentative => &mut own.tentative,
                Class::Busy => &mut own.busy,
                _ => &mut own.unavailable,
            };
            let taken = free_within(part, &available);
            // Each range of them is remembered as long as the query lasts.
            if !steps.take(taken.len()) {
                return Err(TooMuchWork);
            }
            list.extend(taken);
            covered.push(part);
        }
        if covered.is_empty() {
            continue;
        }
        for (list, own) in [
            (&mut painted.busy, own.busy),
            (&mut painted.tentative, own.tentative),
            (&mut painted.unavailable, own.unavailable),
        ] {
            let mut kept = without(range, std::mem::take(list), &covered);
            kept.extend(own);
            *list = merge(kept);
        }
    }
    let certain = [found.busy.as_slice(), &found.unavailable].concat();
    found.busy.extend(without(range, painted.busy, &certain));
    found.tentative.extend(without(range, painted.tentative, &certain));
    found.unavailable.extend(without(range, painted.unavailable, &certain));
    Ok(())
}

/// What of a sorted list is not in another list.
fn without(range: TimeRange, list: Vec<TimeRange>, other: &[TimeRange]) -> Vec<TimeRange> {
    let gaps = free_within(range, other);
    let (mut next, mut left) = (0, Vec::new());
    for one in &list {
        while gaps.get(next).is_some_and(|gap| gap.end <= one.start) {
            next += 1;
        }
        let within = gaps[next..].iter().take_while(|gap| gap.start < one.end);
        left.extend(within.filter_map(|gap| gap.intersection(one)));
    }
    left
}
