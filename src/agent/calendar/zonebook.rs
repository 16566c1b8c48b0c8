//! Which zone a TZID means in a file. What the bundled data know by that name wins over the VTIMEZONE beside it; one that
//! contradicts its TZID, or another VTIMEZONE of the same TZID, is told, and makes the times in it doubtful if it is no
//! old copy.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use jiff::tz::TimeZone;

use super::read::Wrong;
use super::tree::Component;
use super::value::excerpt;
use super::vtimezone::{CustomZone, HORIZON_YEAR, MAX_STEPS_PER_FILE};
use super::zones::{Zone, known_zone};
use crate::core::recurrence::Steps;
use crate::core::zone_data::version;

/// So many different readings of one TZID are followed; with more, what is in it can't be read.
const MAX_READINGS: usize = 4;
/// What a zone has been at since this year may still be in somebody's copy of its rules.
const OLD_COPIES: i32 = 1990;

/// What a TZID means of which there are several readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubtful {
    /// The zone of that name, or the first definition.
    First,
    /// The definition of this number among those that contradict it; the first reading if there are fewer.
    Other(usize),
    /// It can't be read.
    Refused,
}

/// A VTIMEZONE that contradicts its TZID.
#[derive(Debug, Clone)]
pub(super) struct Doubt {
    /// Its line, and what it says instead.
    pub wrong: Wrong,
    /// Its rules, if nobody knows which reading is meant. With offsets that the zone of that name has had too, it is an old
    /// or a short copy of that zone's rules, as many producers write them, and the name is right.
    zone: Option<Zone>,
}

/// What a TZID means in one VCALENDAR.
#[derive(Debug)]
pub(super) struct Resolved {
    zone: Result<Zone, String>,
    /// What is to be told of it.
    pub doubts: Vec<Doubt>,
}

impl Resolved {
    fn others(&self) -> impl Iterator<Item = &Zone> {
        self.doubts.iter().filter_map(|doubt| doubt.zone.as_ref())
    }

    /// How many readings there are beside the first.
    pub fn open(&self) -> usize {
        self.others().count()
    }
}

/// The definitions that count for a TZID: some of one VCALENDAR, or all of the file.
type Meant = Option<Rc<Vec<usize>>>;

/// The zones that a file names, resolved on first use.
pub(super) struct ZoneBook<'t> {
    /// All VTIMEZONEs of the file that differ in any word.
    definitions: Vec<&'t Component>,
    /// Those of each VCALENDAR, by TZID.
    own: HashMap<(usize, &'t str), Rc<Vec<usize>>>,
    /// Those of the file.
    all: HashMap<&'t str, Vec<usize>>,
    /// Which VCALENDAR is read.
    calendar: usize,
    /// What was resolved for it, and for any.
    here: HashMap<String, Rc<Resolved>>,
    resolved: HashMap<(String, Meant), Rc<Resolved>>,
    /// How doubtful zones are read.
    pub doubtful: Doubtful,
    /// What the rules may still cost.
    steps: Steps,
}

impl<'t> ZoneBook<'t> {
    /// Collects the VTIMEZONEs of a file's VCALENDARs.
    pub fn new(calendars: &'t [Component]) -> Self {
        let mut definitions = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut own: HashMap<(usize, &str), Rc<Vec<usize>>> = HashMap::new();
        let mut all: HashMap<&str, Vec<usize>> = HashMap::new();
        for (calendar, root) in calendars.iter().enumerate() {
            for component in root.children.iter().filter(|child| child.is("VTIMEZONE")) {
                let Some(id) = component.first("TZID") else { continue };
                let mut text = String::new();
                component.write(&mut text);
                let next = definitions.len();
                let number = *known.entry(text).or_insert(next);
                if number == next {
                    definitions.push(component);
                    all.entry(&id.value).or_default().push(number);
                }
                let own = Rc::make_mut(own.entry((calendar, &id.value)).or_default());
                if !own.contains(&number) {
                    own.push(number);
                }
            }
        }
        let (here, resolved) = (HashMap::new(), HashMap::new());
        let (doubtful, steps) = (Doubtful::First, Steps::new(MAX_STEPS_PER_FILE));
        Self { definitions, own, all, calendar: 0, here, resolved, doubtful, steps }
    }

    /// From now on TZIDs are those of the file's VCALENDAR of this number.
    pub fn enter(&mut self, calendar: usize) {
        if self.calendar != calendar {
            self.calendar = calendar;
            self.here.clear();
        }
    }

    /// The TZID of the file's VTIMEZONEs, if it is only one.
    pub fn only_id(&self) -> Option<&str> {
        let mut ids = self.all.keys();
        ids.next().filter(|_| ids.next().is_none()).copied()
    }

    /// The zone of a TZID parameter.
    pub fn resolve(&mut self, id: &str) -> Result<Zone, String> {
        let found = self.look_up(id);
        let first = found.zone.clone();
        match self.doubtful {
            Doubtful::First => first,
            Doubtful::Other(number) => found.others().nth(number).map_or(first, |other| Ok(other.clone())),
            Doubtful::Refused => {
                let doubt = found.doubts.iter().find(|doubt| doubt.zone.is_some());
                doubt.map_or(first, |doubt| Err(doubt.wrong.1.clone()))
            }
        }
    }

    /// What a TZID means here. A VCALENDAR that does not define it borrows from the others of the file.
    pub fn look_up(&mut self, id: &str) -> Rc<Resolved> {
        if let Some(known) = self.here.get(id) {
            return known.clone();
        }
        let key = (id.to_owned(), self.own.get(&(self.calendar, id)).cloned());
        let found = match self.resolved.get(&key) {
            Some(known) => known.clone(),
            None => {
                let meant = match &key.1 {
                    Some(own) => own.as_slice(),
                    None => self.all.get(id).map_or(&[][..], Vec::as_slice),
                };
                let meant: Vec<&Component> = meant.iter().map(|number| self.definitions[*number]).collect();
                let found = Rc::new(match known_zone(id) {
                    Some(zone) => by_name(id, zone, &meant, &mut self.steps),
                    None => by_rules(id, &meant, &mut self.steps),
                });
                self.resolved.insert(key, found.clone());
                found
            }
        };
        self.here.insert(id.to_owned(), found.clone());
        found
    }
}

/// A TZID that the bundled data know, and what its VTIMEZONEs say otherwise. Compared are the years for which the data were
/// released; what a file says of the past is often simplified, and books nobody.
fn by_name(id: &str, named: TimeZone, definitions: &[&Component], steps: &mut Steps) -> Resolved {
    let named = Zone::Named(named);
    let mut found = Resolved { zone: Ok(named.clone()), doubts: Vec::new() };
    let years = doubted_years();
    let mut had = None;
    for component in definitions {
        // One that can't be read says nothing.
        let Ok(zone) = CustomZone::read(component, steps) else { continue };
        let zone = Zone::Custom(Arc::new(zone));
        if component.fault.is_some() || found.others().any(|other| difference(&zone, other, &years).is_none())
        {
            continue;
        }
        let Some(difference) = difference(&zone, &named, &years) else { continue };
        let had = had.get_or_insert_with(|| {
            let years = new_year(OLD_COPIES)..years.end;
            let all = named.changes(&years).into_iter().chain([years.start]);
            all.map(|at| named.offset(at, &TimeZone::UTC)).collect::<Vec<_>>()
        });
        let open = zone.changes(&years).into_iter().chain([years.start]);
        let open = open.map(|at| zone.offset(at, &TimeZone::UTC)).any(|theirs| !had.contains(&theirs));
        let outcome = if open { "times in it block both hours" } else { "it is read by its name" };
        let reason = difference.in_words(id, "the zone of that name", outcome);
        found.doubts.push(Doubt { wrong: (component.line, reason), zone: open.then_some(zone) });
        if found.open() == MAX_READINGS {
            found.zone = Err(too_many(id));
            break;
        }
    }
    found
}

/// A TZID that only the file explains: by the first VTIMEZONE, and as well by each that contradicts it.
fn by_rules(id: &str, definitions: &[&Component], steps: &mut Steps) -> Resolved {
    let years = doubted_years().start..new_year(HORIZON_YEAR);
    let mut first: Option<Zone> = None;
    let mut doubts: Vec<Doubt> = Vec::new();
    let refused = |reason| Resolved { zone: Err(reason), doubts: Vec::new() };
    for component in definitions {
        let zone = match defined_zone(component, steps) {
            Ok(zone) => zone,
            Err(reason) => return refused(reason),
        };
        let Some(first) = &first else {
            first = Some(zone);
            continue;
        };
        let known = doubts.iter().filter_map(|doubt| doubt.zone.as_ref());
        if known.chain([first]).any(|other| difference(&zone, other, &years).is_none()) {
            continue;
        }
        let Some(difference) = difference(&zone, first, &years) else { continue };
        let reason = difference.in_words(id, "another one", "times in it block both hours");
        doubts.push(Doubt { wrong: (component.line, reason), zone: Some(zone) });
        if doubts.len() == MAX_READINGS {
            return refused(too_many(id));
        }
    }
    match first {
        Some(zone) => Resolved { zone: Ok(zone), doubts },
        None => refused(format!("unknown time zone '{}'", excerpt(id))),
    }
}

fn too_many(id: &str) -> String {
    format!("more than {MAX_READINGS} different readings of the time zone '{}'", excerpt(id))
}

/// When two zones first differ, and their offsets then.
struct Difference {
    at: DateTime<Utc>,
    offset: TimeDelta,
    other: TimeDelta,
}

impl Difference {
    fn in_words(&self, id: &str, than: &str, outcome: &str) -> String {
        let (id, at) = (excerpt(id), self.at.format("%Y-%m-%dT%H:%MZ"));
        let (offset, other) = (offset_text(self.offset), offset_text(self.other));
        format!("the VTIMEZONE of '{id}' has UTC{offset} at {at}, where {than} has UTC{other}: {outcome}")
    }
}

/// Where a zone first differs from another one in `years`.
fn difference(zone: &Zone, other: &Zone, years: &Range<DateTime<Utc>>) -> Option<Difference> {
    let mut all = zone.changes(years);
    all.extend(other.changes(years));
    all.push(years.start);
    all.sort_unstable();
    let offsets = |at| {
        let (offset, other) = (zone.offset(at, &TimeZone::UTC), other.offset(at, &TimeZone::UTC));
        Difference { at, offset, other }
    };
    all.into_iter().map(offsets).find(|found| found.offset != found.other)
}

/// The year of the bundled data and the two after it.
pub(super) fn doubted_years() -> Range<DateTime<Utc>> {
    let released = version().get(..4).and_then(|year| year.parse().ok()).unwrap_or(2026);
    new_year(released)..new_year(released + 3)
}

fn new_year(year: i32) -> DateTime<Utc> {
    let day = NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or(NaiveDate::MAX);
    day.and_time(NaiveTime::MIN).and_utc()
}

fn offset_text(offset: TimeDelta) -> String {
    let (sign, seconds) = (if offset < TimeDelta::zero() { '-' } else { '+' }, offset.num_seconds().abs());
    format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60)
}

fn defined_zone(component: &Component, steps: &mut Steps) -> Result<Zone, String> {
    let faults = std::iter::once(component).chain(&component.children).filter_map(|part| part.fault.as_ref());
    if let Some((line, reason)) = faults.min_by_key(|fault| fault.0) {
        return Err(format!("its VTIMEZONE, line {line}: {reason}"));
    }
    let location = component.first("X-LIC-LOCATION").and_then(|name| known_zone(&name.value));
    if let Some(zone) = location {
        return Ok(Zone::Named(zone));
    }
    CustomZone::read(component, steps).map(|zone| Zone::Custom(Arc::new(zone)))
}
