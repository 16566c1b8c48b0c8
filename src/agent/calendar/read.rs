//! From components to events: what blocks time, when, and how it recurs.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::rc::Rc;

use chrono::{NaiveDateTime, TimeDelta};
use jiff::tz::TimeZone;

use super::available::Availability;
use super::class::{Class, Owners, class};
use super::expand::is_doubtful;
use super::problem::{Problems, may_block};
use super::series::{Entry, Event, Groups, Override, Series};
use super::tree::{Component, Property};
use super::value::{Length, MAX_DURATION_DAYS, When, duration, excerpt, local_time};
use super::zonebook::{Doubtful, Resolved, ZoneBook, doubted_years};
use super::zones::Zone;
use super::{
    CalendarError, MAX_DATES_PER_FILE, MAX_DEAD_RULES, MAX_RULES_PER_EVENT, MAX_STEPS_PER_FILE,
    OWN_UID_SUFFIX,
};
use crate::core::recurrence::{Dated, MAX_FIRST_STEPS, Rule, RuleError, Steps};
use crate::core::time::TimeRange;

/// A reason and the line it is about.
pub(super) type Wrong = (usize, String);

/// Reads events, and notes those that can't be read.
pub(super) struct Reader<'r> {
    pub file: &'r str,
    /// Whose calendar it is; none: only the words of RFC 5545 count.
    pub owners: Option<&'r Owners>,
    /// Whether events that we wrote ourselves are read.
    pub keep_own: bool,
    pub problems: &'r mut Problems,
}

/// What the rules of a file may cost.
pub(super) struct Budget {
    pub steps: Steps,
    /// Rules that never match.
    dead: usize,
    /// Dates that may still be listed, in RDATE, EXDATE and FREEBUSY.
    dates: Steps,
}

impl Budget {
    /// Refuses a rule if too many never match: any may be one more of them.
    fn few_dead(&self, property: &Property) -> Result<(), Wrong> {
        match self.dead > MAX_DEAD_RULES {
            true => Err((property.line, format!("more than {MAX_DEAD_RULES} rules that never match"))),
            false => Ok(()),
        }
    }

    /// Takes one of the dates that a file may list.
    fn date(&mut self, property: &Property) -> Result<(), Wrong> {
        match self.dates.take(1) {
            true => Ok(()),
            false => Err((property.line, format!("more than {MAX_DATES_PER_FILE} dates in lists"))),
        }
    }
}

/// A component, the VCALENDAR that it is in, and its UID.
struct Item<'c> {
    calendar: usize,
    component: &'c Component,
    uid: Option<&'c str>,
}

/// What is known of the series of a file before they are read.
struct Facts<'c> {
    /// Those that block from some occurrence on, whatever they did before.
    resumed: HashSet<&'c str>,
    /// Those of which there is more than some occurrences.
    masters: HashSet<&'c str>,
}

/// What was read of a file, and what is to be read again.
#[derive(Default)]
struct Found<'c> {
    groups: Groups<'c>,
    availability: Vec<Availability>,
    /// Series with times that can be read in several zones; those without a UID, together.
    doubtful: HashSet<&'c str>,
    /// Most readings that one of them has beside the first.
    readings: usize,
    /// The lines of components that can't be read.
    unread: HashSet<usize>,
}

impl Reader<'_> {
    /// Reads all events below `roots`, sorted by `first`, and the availability that they rest on.
    pub fn series(
        mut self,
        roots: &[Component],
        zones: &mut ZoneBook<'_>,
    ) -> (Vec<Series>, Vec<Availability>) {
        let items = self.items(roots);
        let facts = Facts { resumed: resumed(&items, self.owners), masters: masters(&items) };
        let mut budget =
            Budget { steps: Steps::new(MAX_STEPS_PER_FILE), dead: 0, dates: Steps::new(MAX_DATES_PER_FILE) };
        let found = self.read(&items, &facts, zones, &mut budget);
        let mut series = found.groups.all;
        let first = series.len();
        // What is in a doubtful zone blocks the time of all readings.
        for reading in 0..found.readings {
            let mut again = Groups::default();
            for item in &items {
                zones.enter(item.calendar);
                let (component, uid) = (item.component, item.uid);
                let doubtful = found.doubtful.contains(uid.unwrap_or_default())
                    && (uid.is_some() || doubts(component, zones).iter().any(|doubt| doubt.open() > 0));
                if !component.is("VEVENT") || !doubtful || found.unread.contains(&component.line) {
                    continue;
                }
                zones.doubtful = Doubtful::Other(reading);
                let (tools, minor) = ((&mut *zones, &mut budget), &mut Vec::new());
                if let Err(wrong) = self.event(item, &facts, tools, &mut again, minor) {
                    self.tell(wrong, Some(may_block(component)));
                }
                zones.doubtful = Doubtful::First;
            }
            series.append(&mut again.all);
        }
        for (number, series) in series.iter_mut().enumerate() {
            for wrong in series.settle(&mut budget.steps) {
                // Once, of all readings.
                if number < first {
                    self.tell(wrong, None);
                }
            }
        }
        series.sort_by_key(|series| series.first);
        (series, found.availability)
    }

    /// The components below `roots` that may count.
    fn items<'c>(&self, roots: &'c [Component]) -> Vec<Item<'c>> {
        let mut items = Vec::new();
        for (calendar, root) in roots.iter().enumerate() {
            let mut all = Vec::new();
            root.descendants(&mut all);
            items.extend(all.into_iter().filter_map(|component| {
                let uid = component.first("UID").map(|uid| uid.value.as_str()).filter(|uid| !uid.is_empty());
                // Two UIDs are two events that became one.
                let ours = component.all("UID").all(|uid| uid.value.ends_with(OWN_UID_SUFFIX));
                let own = !self.keep_own && uid.is_some() && ours;
                let read = ["VEVENT", "VFREEBUSY", "VAVAILABILITY"].iter().any(|name| component.is(name));
                (read && !own).then_some(Item { calendar, component, uid })
            }));
        }
        items
    }

    /// Reads everything by the first of its readings.
    fn read<'c>(
        &mut self,
        items: &[Item<'c>],
        facts: &Facts<'_>,
        zones: &mut ZoneBook<'_>,
        budget: &mut Budget,
    ) -> Found<'c> {
        let mut found = Found::default();
        let mut told = BTreeMap::new();
        for item in items {
            let component = item.component;
            zones.enter(item.calendar);
            // What only makes the person busier than they are.
            let mut minor = Vec::new();
            let read = if component.is("VEVENT") {
                for doubt in doubts(component, zones) {
                    told.extend(doubt.doubts.iter().map(|doubt| doubt.wrong.clone()));
                    if doubt.open() > 0 {
                        found.doubtful.insert(item.uid.unwrap_or_default());
                        found.readings = found.readings.max(doubt.open());
                    }
                }
                self.event(item, facts, (&mut *zones, &mut *budget), &mut found.groups, &mut minor)
            } else {
                // Whoever is available at one of two times may be busy at the right one.
                zones.doubtful = Doubtful::Refused;
                let read = if component.is("VFREEBUSY") {
                    let mut alone = |event| found.groups.add(None, Entry::Master(event));
                    free_busy(component, zones, budget).map(|events| events.into_iter().for_each(&mut alone))
                } else {
                    Availability::read(component, zones, budget, &mut minor)
                        .map(|read| found.availability.push(read))
                };
                zones.doubtful = Doubtful::First;
                read
            };
            for wrong in minor {
                self.tell(wrong, None);
            }
            if let Err(wrong) = read {
                found.unread.insert(component.line);
                self.tell(wrong, Some(may_block(component)));
            }
        }
        for wrong in told {
            self.tell(wrong, None);
        }
        found
    }

    /// Reads an event into `groups`.
    fn event<'c>(
        &self,
        item: &Item<'c>,
        facts: &Facts<'_>,
        (zones, budget): (&mut ZoneBook<'_>, &mut Budget),
        groups: &mut Groups<'c>,
        minor: &mut Vec<Wrong>,
    ) -> Result<(), Wrong> {
        let (component, uid) = (item.component, item.uid);
        let (class, second) = class(component, self.owners);
        minor.extend(second);
        let resumed = uid.is_some_and(|uid| facts.resumed.contains(uid));
        let entry = event(component, class, zones, budget, minor, resumed)?;
        match &entry {
            Entry::Master(event) => minor.extend(until_a_date(component, event, budget)),
            Entry::Override(Override { line, event: Some(one), onward, .. })
                if !uid.is_some_and(|uid| facts.masters.contains(uid)) =>
            {
                let rule = ["RRULE", "RDATE"].into_iter().find_map(|name| component.first(name));
                if let Some(rule) = rule {
                    let mut all = one.clone();
                    recurrence(component, &mut all, zones, budget, minor)?;
                    // What is over is one occurrence, as other programs have it, and books nobody.
                    all.since = doubted_years().start.naive_utc();
                    if goes_on(&all, budget) {
                        let what = "an occurrence of a series that is not there recurs itself";
                        minor.push((rule.line, format!("{what}: all that it names block")));
                        groups.add(None, Entry::Master(all));
                    }
                } else if *onward {
                    return Err((*line, "all that follow, of a series that is not there".to_owned()));
                }
            }
            _ => {}
        }
        groups.add(uid, entry);
        Ok(())
    }

    /// Notes what is wrong, and the time that it may block.
    fn tell(&mut self, (line, reason): Wrong, unknown: Option<TimeRange>) {
        self.problems.add(CalendarError::new(self.file, line, reason), unknown);
    }
}

/// What is to be told of the zones of an event, if it takes time that may be asked about.
fn doubts(component: &Component, zones: &mut ZoneBook<'_>) -> Vec<Rc<Resolved>> {
    let names = ["DTSTART", "DTEND", "RDATE", "EXDATE", "RECURRENCE-ID"];
    let named = names.into_iter().flat_map(|name| component.all(name));
    let mut ids: Vec<&str> = named.filter_map(|property| property.param("TZID")).collect();
    ids.dedup();
    let all = ids.into_iter().map(|id| zones.look_up(id)).filter(|zone| !zone.doubts.is_empty());
    let all: Vec<_> = all.collect();
    // Once, and long ago: the zone's rules of today are not the ones that it was written by.
    let repeats = ["RRULE", "RDATE"].into_iter().any(|name| component.first(name).is_some());
    let end = ["DTEND", "DTSTART", "RECURRENCE-ID"].into_iter().find_map(|name| component.first(name));
    let end = end.and_then(|end| local_time(&end.value).ok());
    let over = !repeats && end.is_none_or(|(end, ..)| end.and_utc() < doubted_years().start);
    if over { Vec::new() } else { all }
}

/// The UIDs of series whose first event is there.
fn masters<'c>(items: &[Item<'c>]) -> HashSet<&'c str> {
    let whole = |component: &Component| component.is("VEVENT") && component.first("RECURRENCE-ID").is_none();
    items.iter().filter(|item| whole(item.component)).filter_map(|item| item.uid).collect()
}

/// The UIDs of series that block time from some occurrence on (RANGE=THISANDFUTURE), whatever they did before: when
/// they recur counts even if they begin as free.
fn resumed<'c>(items: &[Item<'c>], owners: Option<&Owners>) -> HashSet<&'c str> {
    let blocks = |component: &Component| {
        component.is("VEVENT")
            && component.first("RECURRENCE-ID").is_some_and(is_onward)
            && class(component, owners).0 != Class::Free
    };
    items.iter().filter(|item| blocks(item.component)).filter_map(|item| item.uid).collect()
}

pub(super) fn event(
    component: &Component,
    class: Class,
    zones: &mut ZoneBook<'_>,
    budget: &mut Budget,
    minor: &mut Vec<Wrong>,
    resumed: bool,
) -> Result<Entry, Wrong> {
    // Two events may have become one, of which only the other is free.
    if class == Class::Free {
        if let Some(fault) = component.fault.as_ref().filter(|_| component.torn) {
            return Err(fault.clone());
        }
        ONCE.into_iter().try_for_each(|name| once(component, name).map(drop))?;
    }
    let id = component.first("RECURRENCE-ID");
    if class == Class::Free && !(resumed && id.is_none()) {
        // It blocks no time, so its faults harm nobody; but it may free one occurrence.
        let id = id.and_then(|id| Some((id, when(id, &id.value, zones).ok()?)));
        return Ok(id.map_or(Entry::Nothing, |(property, id)| {
            Entry::Override(change(component, property, id, None))
        }));
    }
    if let Some(fault) = &component.fault {
        return Err(fault.clone());
    }
    ONCE.into_iter().try_for_each(|name| once(component, name).map(drop))?;
    let start =
        once(component, "DTSTART")?.ok_or_else(|| (component.line, "event without DTSTART".to_owned()))?;
    let start = when(start, &start.value, zones)?;
    let length = length_of(component, &start, zones)?;
    let mut event = Event::once(component.line, class, start, length);
    // What has a RECURRENCE-ID is one occurrence, whatever rules it repeats from its master.
    Ok(match id {
        None => {
            recurrence(component, &mut event, zones, budget, minor)?;
            Entry::Master(event)
        }
        Some(property) => match when(property, &property.value, zones) {
            Ok(id) => Entry::Override(change(component, property, id, Some(event))),
            Err(wrong) if is_onward(property) => return Err(wrong),
            Err(wrong) => {
                // Nobody knows which occurrence it replaces: both block.
                minor.push(wrong);
                Entry::Master(event)
            }
        },
    })
}

fn is_onward(id: &Property) -> bool {
    id.param("RANGE").is_some_and(|range| range.eq_ignore_ascii_case("THISANDFUTURE"))
}

fn change(component: &Component, property: &Property, id: When, event: Option<Event>) -> Override {
    let sequence = component.first("SEQUENCE").and_then(|n| n.value.parse().ok()).unwrap_or(0);
    Override { line: property.line, id, onward: is_onward(property), sequence, event }
}

/// What an event says once, or else it is two that became one.
const ONCE: [&str; 5] = ["UID", "RECURRENCE-ID", "DTSTART", "DTEND", "DURATION"];

/// The property `name`; an error if it is there twice and says two things.
pub(super) fn once<'c>(component: &'c Component, name: &str) -> Result<Option<&'c Property>, Wrong> {
    let first = component.first(name);
    let differs = |other: &&Property| {
        first.is_some_and(|first| first.value != other.value || first.param("TZID") != other.param("TZID"))
    };
    match component.all(name).find(differs) {
        Some(other) => Err((other.line, format!("second {name} in one {}", component.word()))),
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

/// The date or date-time `name` of a component, if it has one.
pub(super) fn when_of(
    component: &Component,
    name: &str,
    zones: &mut ZoneBook<'_>,
) -> Result<Option<When>, Wrong> {
    once(component, name)?.map(|property| when(property, &property.value, zones)).transpose()
}

/// How long a component lasts that starts at `start`.
pub(super) fn length_of(
    component: &Component,
    start: &When,
    zones: &mut ZoneBook<'_>,
) -> Result<Length, Wrong> {
    let end = match once(component, "DTEND")? {
        Some(property) => Some((property.line, when(property, &property.value, zones)?.or_in(&start.zone))),
        None => None,
    };
    let lasts = match once(component, "DURATION")? {
        Some(property) => Some(duration(&property.value).map_err(|reason| (property.line, reason))?),
        None => None,
    };
    match (end, lasts) {
        // Section 3.6.1 allows one of them. Producers are known to write DURATION:PT0S beside DTEND; but what lasts longer may be
        // of two events that became one.
        (Some((line, end)), Some(length)) if ends_after(start, &length, &end) => {
            Err((line, "DURATION goes on after DTEND".to_owned()))
        }
        (Some((line, end)), _) => until(start, end).map_err(|reason| (line, reason)),
        (None, Some(length)) => Ok(length),
        (None, None) => Ok(if start.is_date { Length::ONE_DAY } else { Length::ZERO }),
    }
}

/// Whether what begins at `start` and is so long ends after `end`.
fn ends_after(start: &When, length: &Length, end: &When) -> bool {
    let Length::Nominal { days, seconds } = length else { return false };
    let (days, seconds) = (TimeDelta::days(*days), TimeDelta::seconds(*seconds));
    let day = start.local.checked_add_signed(days).unwrap_or(start.local);
    let after = start.zone.instant(day, &TimeZone::UTC).checked_add_signed(seconds);
    after.is_none_or(|after| after > end.instant(&TimeZone::UTC))
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
        _ => Length::Until { one_clock: start.zone.shows_with(&end.zone), end },
    })
}

/// RRULE, RDATE and EXDATE. EXRULE is deprecated and ignored, which leaves the person busier.
fn recurrence(
    component: &Component,
    event: &mut Event,
    zones: &mut ZoneBook<'_>,
    budget: &mut Budget,
    minor: &mut Vec<Wrong>,
) -> Result<(), Wrong> {
    for property in component.all("RRULE") {
        if event.rules.len() == MAX_RULES_PER_EVENT {
            return Err((property.line, format!("more than {MAX_RULES_PER_EVENT} rules in one event")));
        }
        if budget.steps.is_empty() {
            return Err((property.line, format!("rules take more than {MAX_STEPS_PER_FILE} steps to read")));
        }
        budget.few_dead(property)?;
        let rule = Rule::parse_leniently(&property.value)
            .and_then(|rule| rule.dated(event.start.local, event.start.is_date))
            .map_err(|error| {
                // It was looked for as long as may be.
                budget.steps.take(if error == RuleError::TooRare { MAX_FIRST_STEPS } else { 1 });
                (property.line, error.to_string())
            })?;
        budget.steps.take(rule.first_steps());
        budget.dead += usize::from(rule.is_dead());
        budget.few_dead(property)?;
        event.rules.push(rule);
    }
    // Told once: a long list may be of the wrong type from its first date to its last.
    let mut doubt = None;
    'dates: for property in component.all("EXDATE") {
        for text in property.values() {
            if let Err(wrong) = budget.date(property) {
                // What is not left out only makes the person busier.
                minor.push(wrong);
                break 'dates;
            }
            match when(property, text, zones) {
                Ok(at) => {
                    let mark = at.marking(&event.start);
                    if doubt.is_none() && is_doubtful(mark.local.date()) {
                        doubt = mark.doubt("EXDATE", &event.start).map(|reason| (property.line, reason));
                    }
                    event.except.push(mark);
                }
                Err(wrong) => minor.push(wrong),
            }
        }
    }
    minor.extend(doubt);
    for property in component.all("RDATE") {
        for text in property.values() {
            budget.date(property)?;
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

/// Steps that looking for an occurrence in a doubtful time takes at most.
const MAX_STEPS_TO_TELL: usize = 1_000;

/// Whether a rule names a time in `range`, or may.
fn may_name(rule: &Dated, range: Range<NaiveDateTime>, budget: &mut Budget) -> bool {
    let mut steps = budget.steps.split(MAX_STEPS_TO_TELL);
    let mut named = false;
    let until = rule.until_in(|utc| utc).filter(|_| rule.until_day().is_none());
    let looked = rule.expand(until, range, &mut steps, |_| {
        named = true;
        false
    });
    budget.steps.give_back(steps);
    named || looked.is_err()
}

/// Whether something of an event is not over.
fn goes_on(event: &Event, budget: &mut Budget) -> bool {
    event.extra.iter().any(|(start, _)| start.local >= event.since)
        || event.rules.iter().any(|rule| may_name(rule, event.since..NaiveDateTime::MAX, budget))
}

/// An UNTIL that is a date where DTSTART has a time (RFC 5545, section 3.3.10, allows none) is its midnight to other
/// programs. If the rule names a time on that day, whoever wrote it may have meant the whole of it: it blocks, and is told.
fn until_a_date(component: &Component, event: &Event, budget: &mut Budget) -> Option<Wrong> {
    let rules = component.all("RRULE").zip(&event.rules).filter(|_| !event.start.is_date);
    let dates = rules.filter_map(|(property, rule)| Some((property, rule, rule.until_day()?)));
    for (property, rule, day) in dates.filter(|(.., day)| is_doubtful(*day)) {
        let begin = NaiveDateTime::from(day) + TimeDelta::seconds(1);
        // A day in UTC may be the owner's too, wherever they are.
        let hours = if matches!(event.start.zone, Zone::Utc) { 36 } else { 24 };
        let Some(end) = begin.checked_add_signed(TimeDelta::hours(hours)) else { continue };
        if may_name(rule, begin..end, budget) {
            let what = "where DTSTART has a time: what recurs on that day blocks as well";
            return Some((property.line, format!("UNTIL is the date {day} {what}")));
        }
    }
    None
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
fn free_busy(
    component: &Component,
    zones: &mut ZoneBook<'_>,
    budget: &mut Budget,
) -> Result<Vec<Event>, Wrong> {
    if let Some(fault) = &component.fault {
        return Err(fault.clone());
    }
    let mut events = Vec::new();
    for property in component.all("FREEBUSY") {
        let class = match property.param("FBTYPE").map(str::to_ascii_uppercase).as_deref() {
            Some("FREE") => continue,
            Some("BUSY-TENTATIVE") => Class::Tentative,
            Some("BUSY-UNAVAILABLE") => Class::Unavailable,
            _ => Class::Busy,
        };
        for text in property.values() {
            budget.date(property)?;
            let (start, length) = period(property, text, zones, &Zone::Floating)?;
            let length =
                length.ok_or_else(|| (property.line, format!("'{}' is no period", excerpt(text))))?;
            events.push(Event::once(property.line, class, start, length));
        }
    }
    Ok(events)
}
