//! From components to events: what blocks time, when, and how it recurs.

use std::collections::HashMap;

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use jiff::tz::TimeZone;

use super::rule::{Rule, Steps};
use super::tree::{Component, Property};
use super::value::{Length, MAX_DURATION_DAYS, When, duration, excerpt, local_time};
use super::zones::{Zone, ZoneBook};
use super::{MAX_DEAD_RULES, MAX_RULES_PER_EVENT, MAX_STEPS_PER_FILE, MAX_STEPS_PER_RULE, OWN_UID_SUFFIX};

/// A reason and the line it is about.
pub(super) type Wrong = (usize, String);

/// How an event counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Busy,
    Tentative,
    Unavailable,
    Free,
}

/// A component that takes time, perhaps repeatedly.
#[derive(Debug)]
pub(super) struct Event {
    pub line: usize,
    pub class: Class,
    pub start: When,
    pub length: Length,
    pub rules: Vec<Rule>,
    /// RDATE: further starts, with their own length if they are periods.
    pub extra: Vec<(When, Option<Length>)>,
    /// EXDATE: starts that are left out.
    pub except: Vec<When>,
}

/// One occurrence (or all from one on) that differs from its master.
#[derive(Debug)]
pub(super) struct Override {
    pub id: When,
    /// RANGE=THISANDFUTURE.
    pub onward: bool,
    sequence: i64,
    /// What takes its place; nothing if it was cancelled or made transparent.
    pub event: Option<Event>,
}

/// The components that share a UID.
#[derive(Debug, Default)]
pub(super) struct Series {
    pub masters: Vec<Event>,
    pub overrides: Vec<Override>,
    /// Nothing of it is before this, in any zone.
    pub first: NaiveDateTime,
    /// Nothing of it is after this, in any zone, if it ends.
    pub last: Option<NaiveDateTime>,
}

/// Reads all events below `roots`, sorted by `first`.
pub(super) fn series(
    roots: &[Component],
    zones: &mut ZoneBook<'_>,
    keep_own: bool,
) -> Result<Vec<Series>, Wrong> {
    let mut all = Vec::new();
    for root in roots {
        root.descendants(&mut all);
    }
    let mut found: Vec<Series> = Vec::new();
    let mut by_uid: HashMap<&str, usize> = HashMap::new();
    let mut dead_rules = 0;
    let mut steps = Steps::new(MAX_STEPS_PER_FILE);
    for component in all {
        let uid = component.first("UID").map(|uid| uid.value.as_str()).filter(|uid| !uid.is_empty());
        if !keep_own && uid.is_some_and(|uid| uid.ends_with(OWN_UID_SUFFIX)) {
            continue;
        }
        if component.is("VFREEBUSY") {
            let periods = free_busy(component, zones)?;
            found.extend(
                periods.into_iter().map(|event| Series { masters: vec![event], ..Series::default() }),
            );
        } else if component.is("VEVENT") {
            let entry = event(component, zones)?;
            if matches!(entry, Entry::Nothing) {
                continue;
            }
            let index = match uid {
                Some(uid) => *by_uid.entry(uid).or_insert(found.len()),
                None => found.len(),
            };
            if index == found.len() {
                found.push(Series::default());
            }
            match entry {
                Entry::Master(event) => {
                    if !event.rules.iter().all(|rule| steps.take(rule.first_steps())) {
                        let reason = format!("rules take more than {MAX_STEPS_PER_FILE} steps to read");
                        return Err((event.line, reason));
                    }
                    dead_rules += event.rules.iter().filter(|rule| rule.is_dead()).count();
                    if dead_rules > MAX_DEAD_RULES {
                        let reason = format!("more than {MAX_DEAD_RULES} rules that never match");
                        return Err((event.line, reason));
                    }
                    found[index].masters.push(event);
                }
                Entry::Override(change) => found[index].overrides.push(change),
                Entry::Nothing => {}
            }
        }
    }
    for series in &mut found {
        series.settle(&mut steps);
    }
    found.sort_by_key(|series| series.first);
    Ok(found)
}

enum Entry {
    Master(Event),
    Override(Override),
    Nothing,
}

fn event(component: &Component, zones: &mut ZoneBook<'_>) -> Result<Entry, Wrong> {
    let class = class(component);
    let id = component.first("RECURRENCE-ID");
    if class == Class::Free {
        // It blocks no time, so its faults harm nobody; but it may free one occurrence.
        let id = id.and_then(|id| Some((id, when(id, &id.value, zones).ok()?)));
        return Ok(id.map_or(Entry::Nothing, |(property, id)| {
            Entry::Override(change(component, property, id, None))
        }));
    }
    let start =
        once(component, "DTSTART")?.ok_or_else(|| (component.line, "event without DTSTART".to_owned()))?;
    let start = when(start, &start.value, zones)?;
    let length = length(component, &start, zones)?;
    let mut event =
        Event { line: component.line, class, start, length, rules: vec![], extra: vec![], except: vec![] };
    // What has a RECURRENCE-ID is one occurrence, whatever rules it repeats from its master.
    Ok(match id {
        None => {
            recurrence(component, &mut event, zones)?;
            Entry::Master(event)
        }
        Some(property) => {
            let id = when(property, &property.value, zones)?;
            Entry::Override(change(component, property, id, Some(event)))
        }
    })
}

fn change(component: &Component, property: &Property, id: When, event: Option<Event>) -> Override {
    let sequence = component.first("SEQUENCE").and_then(|n| n.value.parse().ok()).unwrap_or(0);
    let onward = property.param("RANGE").is_some_and(|r| r.eq_ignore_ascii_case("THISANDFUTURE"));
    Override { id, onward, sequence, event }
}

/// STATUS and TRANSP (RFC 5545, sections 3.8.1.11 and 3.8.2.7); an event without TRANSP blocks.
fn class(component: &Component) -> Class {
    let value = |name| component.first(name).map_or("", |property| property.value.as_str());
    let (status, transp) = (value("STATUS"), value("TRANSP"));
    let starts_with = |text: &str, prefix: &str| {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if status.eq_ignore_ascii_case("CANCELLED") || starts_with(transp, "TRANSPARENT") {
        Class::Free
    } else if status.eq_ignore_ascii_case("TENTATIVE") {
        Class::Tentative
    } else {
        Class::Busy
    }
}

/// The property `name`; an error if it is there twice and says two things.
fn once<'c>(component: &'c Component, name: &str) -> Result<Option<&'c Property>, Wrong> {
    let first = component.first(name);
    match component.all(name).find(|other| first.is_some_and(|first| first.value != other.value)) {
        Some(other) => Err((other.line, format!("second {name} in one event"))),
        None => Ok(first),
    }
}

/// One date or date-time of `property`, in its TZID.
fn when(property: &Property, text: &str, zones: &mut ZoneBook<'_>) -> Result<When, Wrong> {
    let mut read = || {
        let (local, utc, is_date) = local_time(text)?;
        let as_date = property.param("VALUE").is_some_and(|value| value.eq_ignore_ascii_case("DATE"));
        // VALUE=DATE with a time of midnight means the date.
        let is_date = is_date || (as_date && local.time() == chrono::NaiveTime::MIN);
        let zone = match property.param("TZID") {
            _ if utc && !is_date => Zone::Utc,
            Some(id) if !is_date && !id.is_empty() => zones.resolve(id)?,
            _ => Zone::Floating,
        };
        Ok(When { local, zone, is_date })
    };
    read().map_err(|reason: String| (property.line, reason))
}

fn length(component: &Component, start: &When, zones: &mut ZoneBook<'_>) -> Result<Length, Wrong> {
    if let Some(property) = once(component, "DTEND")? {
        let end = when(property, &property.value, zones)?.or_in(&start.zone);
        return until(start, end).map_err(|reason| (property.line, reason));
    }
    if let Some(property) = once(component, "DURATION")? {
        return duration(&property.value).map_err(|reason| (property.line, reason));
    }
    Ok(if start.is_date { Length::ONE_DAY } else { Length::ZERO })
}

/// The length from `start` to `end`. Between dates it is days; a date that ends when it starts
/// is what some producers write for one day.
fn until(start: &When, end: When) -> Result<Length, String> {
    let span = end.instant(&TimeZone::UTC) - start.instant(&TimeZone::UTC);
    if span < TimeDelta::zero() {
        return Err("event ends before it starts".to_owned());
    }
    Ok(match (start.is_date && end.is_date, span.num_days()) {
        (true, 0) => Length::ONE_DAY,
        (true, days) if days <= MAX_DURATION_DAYS => Length::Nominal { days, seconds: 0 },
        _ if span.is_zero() => Length::ZERO,
        _ => Length::Until(end),
    })
}

/// RRULE, RDATE and EXDATE. EXRULE is deprecated and ignored, which leaves the person busier.
fn recurrence(component: &Component, event: &mut Event, zones: &mut ZoneBook<'_>) -> Result<(), Wrong> {
    for property in component.all("RRULE") {
        if event.rules.len() == MAX_RULES_PER_EVENT {
            return Err((property.line, format!("more than {MAX_RULES_PER_EVENT} rules in one event")));
        }
        let rule = Rule::read(&property.value, event.start.local, event.start.is_date);
        event.rules.push(rule.map_err(|reason| (property.line, reason))?);
    }
    for property in component.all("EXDATE") {
        for text in property.values() {
            event.except.push(when(property, text, zones)?.or_in(&event.start.zone));
        }
    }
    for property in component.all("RDATE") {
        for text in property.values() {
            let (mut start, length) = period(property, text, zones, &event.start.zone)?;
            if start.is_date && !event.start.is_date {
                // A date alone: on that day, at the event's own time.
                let local = start.local.date().and_time(event.start.local.time());
                start = When { local, zone: event.start.zone.clone(), is_date: false };
            }
            event.extra.push((start, length));
        }
    }
    Ok(())
}

/// A date, a date-time or a PERIOD (`start/end` or `start/duration`).
fn period(
    property: &Property,
    text: &str,
    zones: &mut ZoneBook<'_>,
    zone: &Zone,
) -> Result<(When, Option<Length>), Wrong> {
    let Some((start, end)) = text.split_once('/') else {
        return Ok((when(property, text, zones)?.or_in(zone), None));
    };
    let start = when(property, start, zones)?.or_in(zone);
    let length = match end.strip_prefix(['P', 'p', '+', '-']) {
        Some(_) => duration(end),
        None => until(&start, when(property, end, zones)?.or_in(&start.zone)),
    };
    Ok((start, Some(length.map_err(|reason| (property.line, reason))?)))
}

/// The FREEBUSY periods of a VFREEBUSY (RFC 5545, section 3.8.2.6).
fn free_busy(component: &Component, zones: &mut ZoneBook<'_>) -> Result<Vec<Event>, Wrong> {
    let mut events = Vec::new();
    for property in component.all("FREEBUSY") {
        let class = match property.param("FBTYPE").map(str::to_ascii_uppercase).as_deref() {
            Some("FREE") => continue,
            Some("BUSY-TENTATIVE") => Class::Tentative,
            Some("BUSY-UNAVAILABLE") => Class::Unavailable,
            _ => Class::Busy,
        };
        for text in property.values() {
            let (start, length) = period(property, text, zones, &Zone::Floating)?;
            let length =
                length.ok_or_else(|| (property.line, format!("'{}' is no period", excerpt(text))))?;
            let (rules, extra, except) = (vec![], vec![], vec![]);
            events.push(Event { line: property.line, class, start, length, rules, extra, except });
        }
    }
    Ok(events)
}

/// More than two zones can differ by.
const SLACK: TimeDelta = TimeDelta::days(3);

impl Series {
    /// Drops overrides that a later revision replaced, reads floating RECURRENCE-IDs in the
    /// zone of the master, and notes when the series begins and ends.
    fn settle(&mut self, steps: &mut Steps) {
        if let Some(master) = self.masters.first() {
            for change in &mut self.overrides {
                change.id = change.id.clone().or_in(&master.start.zone);
            }
        }
        let id = |change: &Override| (change.id.instant(&TimeZone::UTC), change.id.is_date);
        self.overrides.sort_by_key(|change| (id(change), change.sequence));
        let mut kept: Vec<Override> = Vec::with_capacity(self.overrides.len());
        for change in self.overrides.drain(..) {
            if kept.last().is_some_and(|last| id(last) == id(&change)) {
                kept.pop();
            }
            kept.push(change);
        }
        self.overrides = kept;
        let events = self.overrides.iter().filter_map(|change| change.event.as_ref());
        let spans: Vec<_> = self.masters.iter().chain(events).map(|event| event.span(steps)).collect();
        // A master that others moved onward may be anywhere.
        let moved = !self.masters.is_empty() && self.overrides.iter().any(|change| change.onward);
        self.first = spans.iter().map(|span| span.0).min().unwrap_or(NaiveDateTime::MAX);
        self.last =
            spans.iter().map(|span| span.1).try_fold(NaiveDateTime::MIN, |last, end| Some(last.max(end?)));
        if moved {
            (self.first, self.last) = (NaiveDateTime::MIN, None);
        }
    }
}

impl Event {
    /// When it begins and ends at the outside, with slack for the zones.
    fn span(&self, steps: &mut Steps) -> (NaiveDateTime, Option<NaiveDateTime>) {
        let starts = || self.extra.iter().map(|(start, _)| start.local).chain([self.start.local]);
        let first = starts().min().and_then(|at| at.checked_sub_signed(SLACK));
        let longest = self.extra.iter().filter_map(|(start, length)| Some(length.as_ref()?.at_most(start)));
        let longest = longest.chain([self.length.at_most(&self.start)]).max();
        let last = self.rules.iter().map(|rule| self.rule_end(rule, steps));
        let last =
            last.chain(starts().map(Some)).try_fold(NaiveDateTime::MIN, |last, end| Some(last.max(end?)));
        let last = last.and_then(|at| at.checked_add_signed(longest? + SLACK));
        (first.unwrap_or(NaiveDateTime::MIN), last)
    }

    fn rule_end(&self, rule: &Rule, steps: &mut Steps) -> Option<NaiveDateTime> {
        if rule.is_dead() {
            return Some(self.start.local);
        }
        let until = rule.until_in(|utc| utc).and_then(|until| until.checked_add_signed(SLACK));
        if until.is_some() || !rule.is_counted() {
            return until;
        }
        let (start, mut last) = (self.start.local, self.start.local);
        let forever = NaiveDate::from_ymd_opt(9999, 12, 31)?.into();
        let mut part = steps.split(MAX_STEPS_PER_RULE);
        let ended = rule.expand(start, None, start..forever, &mut part, |at| last = at);
        steps.give_back(part);
        ended.is_ok().then_some(last)
    }
}

impl Length {
    /// No occurrence that starts like `start` lasts longer than this.
    pub fn at_most(&self, start: &When) -> TimeDelta {
        match self {
            Self::Nominal { days, seconds } => TimeDelta::days(*days) + TimeDelta::seconds(*seconds),
            Self::Until(end) => end.local - start.local + SLACK,
        }
    }
}
