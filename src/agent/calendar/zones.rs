//! Time zones of a calendar: IANA names, Windows names, and the rules of a VTIMEZONE.
//!
//! Rules come from the time zone database that is compiled in, never from the system's, which
//! may be years old. A VTIMEZONE is followed only if its TZID says nothing to us; one that contradicts its TZID is told,
//! and makes the times in it doubtful if it is no old copy.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Utc};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::tree::{Component, Property};
use super::value::{excerpt, local_time, utc_offset};
use super::windows;
use crate::core::recurrence::{MAX_FIRST_STEPS, Rule, RuleError, Steps};
use crate::core::zone_data::version;

/// Changes of offset that one VTIMEZONE may bring; a real one has a few per year.
pub(super) const MAX_TRANSITIONS: usize = 4_000;
/// The rules of a VTIMEZONE are followed up to this year; later times keep the last offset.
pub(super) const HORIZON_YEAR: i32 = 2100;

/// Steps that the rules of all VTIMEZONEs of a file take together, and changes of offset that they bring.
pub(super) const MAX_STEPS_PER_FILE: usize = 500_000;
/// No zone's name is longer, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Where a local time is to be read.
#[derive(Debug, Clone)]
pub(super) enum Zone {
    /// Wherever the participant is.
    Floating,
    Utc,
    Named(TimeZone),
    Custom(Arc<CustomZone>),
}

impl Zone {
    /// Local time to instant. A time in a gap moves forward by the gap, a time that exists twice
    /// is the first (RFC 5545, section 3.3.5).
    pub fn instant(&self, local: NaiveDateTime, home: &TimeZone) -> DateTime<Utc> {
        match self {
            Self::Utc => local.and_utc(),
            Self::Floating => instant_in(home, local),
            Self::Named(zone) => instant_in(zone, local),
            Self::Custom(zone) => zone.instant(local),
        }
    }

    /// Instant to local time.
    pub fn local(&self, instant: DateTime<Utc>, home: &TimeZone) -> NaiveDateTime {
        let offset = match self {
            Self::Utc => TimeDelta::zero(),
            Self::Floating => offset_in(home, instant),
            Self::Named(zone) => offset_in(zone, instant),
            Self::Custom(zone) => zone.offset_at(instant.naive_utc()),
        };
        instant.naive_utc().checked_add_signed(offset).unwrap_or(instant.naive_utc())
    }
}

/// Outside the years that jiff knows (the last days of 9999), local time counts as UTC.
fn instant_in(zone: &TimeZone, local: NaiveDateTime) -> DateTime<Utc> {
    let resolve = || {
        let civil = jiff::civil::DateTime::new(
            i16::try_from(local.year()).ok()?,
            i8::try_from(local.month()).ok()?,
            i8::try_from(local.day()).ok()?,
            i8::try_from(local.hour()).ok()?,
            i8::try_from(local.minute()).ok()?,
            i8::try_from(local.second()).ok()?,
            0,
        );
        let stamp = zone.to_ambiguous_timestamp(civil.ok()?).compatible().ok()?;
        DateTime::from_timestamp(stamp.as_second(), 0)
    };
    resolve().unwrap_or_else(|| local.and_utc())
}

fn offset_in(zone: &TimeZone, instant: DateTime<Utc>) -> TimeDelta {
    match jiff::Timestamp::from_second(instant.timestamp()) {
        Ok(stamp) => TimeDelta::seconds(zone.to_offset(stamp).seconds().into()),
        Err(_) => TimeDelta::zero(),
    }
}

/// The zone of a name that people and programs use: IANA, Windows, or an IANA name behind a
/// prefix (`/freeassociation.sourceforge.net/Europe/Berlin`). `None` if it is none of these.
pub fn known_zone(name: &str) -> Option<TimeZone> {
    static BUNDLED: OnceLock<TimeZoneDatabase> = OnceLock::new();
    let database = BUNDLED.get_or_init(TimeZoneDatabase::bundled);
    let name = name.trim();
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    // jiff's own name for "nobody knows where" is no place to book a meeting.
    let iana = |name: &str| {
        if name.eq_ignore_ascii_case("Etc/Unknown") { None } else { database.get(name).ok() }
    };
    if let Some(zone) = iana(name).or_else(|| windows::iana_name(name).and_then(iana)) {
        return Some(zone);
    }
    let path = name.strip_prefix('/')?;
    let suffixes = path.match_indices('/').map(|(at, _)| &path[at + 1..]);
    std::iter::once(path).chain(suffixes).find_map(iana)
}

/// What a TZID means whose VTIMEZONE has other rules than the zone of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubtful {
    /// The zone of that name.
    ByName,
    /// What the file's own rules say.
    ByRules,
    /// It can't be read.
    Refused,
}

/// A VTIMEZONE that contradicts its TZID.
#[derive(Debug, Clone)]
pub(super) struct Doubt {
    /// Its line, and what it says instead.
    pub wrong: (usize, String),
    /// Its rules, if they know an offset that the zone of that name does not have. With the same offsets at other times it
    /// is an old or a short copy of that zone's rules, as many producers write them, and the name is right.
    zone: Option<Arc<CustomZone>>,
}

impl Doubt {
    /// Whether nobody knows which of the two is meant.
    pub fn is_open(&self) -> bool {
        self.zone.is_some()
    }
}

/// The zones that a file names, resolved on first use.
pub(super) struct ZoneBook<'t> {
    definitions: HashMap<String, &'t Component>,
    resolved: HashMap<String, Result<Zone, String>>,
    doubts: HashMap<String, Option<Doubt>>,
    /// How doubtful zones are read.
    pub doubtful: Doubtful,
    /// What their rules may still cost.
    steps: Steps,
}

impl<'t> ZoneBook<'t> {
    /// Collects the VTIMEZONEs of a file; of two with the same TZID, the first counts.
    pub fn new(timezones: impl Iterator<Item = &'t Component>) -> Self {
        let mut definitions = HashMap::new();
        for component in timezones {
            if let Some(id) = component.first("TZID") {
                definitions.entry(id.value.clone()).or_insert(component);
            }
        }
        Self {
            definitions,
            resolved: HashMap::new(),
            doubts: HashMap::new(),
            doubtful: Doubtful::ByName,
            steps: Steps::new(MAX_STEPS_PER_FILE),
        }
    }

    /// What is wrong with the VTIMEZONE of this TZID: the bundled data know the name, and other offsets for it. Compared are
    /// the years for which the data were released; what a file says of the past is often simplified, and books nobody.
    pub fn doubt(&mut self, id: &str) -> Option<&Doubt> {
        if !self.doubts.contains_key(id) {
            let doubt = self.compare(id);
            self.doubts.insert(id.to_owned(), doubt);
        }
        self.doubts.get(id)?.as_ref()
    }

    fn compare(&mut self, id: &str) -> Option<Doubt> {
        let component = *self.definitions.get(id)?;
        let named = known_zone(id)?;
        // One that can't be read says nothing.
        let zone = CustomZone::read(component, &mut self.steps).ok().filter(|_| component.fault.is_none())?;
        let offsets = zone.beside(&named, doubted_years());
        let (at, theirs, ours) = *offsets.iter().find(|(_, theirs, ours)| theirs != ours)?;
        let open = offsets.iter().any(|(_, theirs, _)| offsets.iter().all(|(.., ours)| ours != theirs));
        let outcome = if open { "times in it block both hours" } else { "it is read by its name" };
        let reason = format!(
            "the VTIMEZONE of '{}' has UTC{} at {}, where the zone of that name has UTC{}: {outcome}",
            excerpt(id),
            offset_text(theirs),
            at.format("%Y-%m-%dT%H:%MZ"),
            offset_text(ours),
        );
        Some(Doubt { wrong: (component.line, reason), zone: open.then(|| Arc::new(zone)) })
    }

    /// The TZID of the file's VTIMEZONE, if it has exactly one.
    pub fn only_id(&self) -> Option<&str> {
        let mut ids = self.definitions.keys();
        ids.next().filter(|_| ids.next().is_none()).map(String::as_str)
    }

    /// The zone of a TZID parameter.
    pub fn resolve(&mut self, id: &str) -> Result<Zone, String> {
        if self.doubtful != Doubtful::ByName
            && let refused = self.doubtful == Doubtful::Refused
            && let Some(Doubt { zone: Some(zone), wrong }) = self.doubt(id)
        {
            return if refused { Err(wrong.1.clone()) } else { Ok(Zone::Custom(zone.clone())) };
        }
        if let Some(known) = self.resolved.get(id) {
            return known.clone();
        }
        let zone = match (known_zone(id), self.definitions.get(id)) {
            (Some(zone), _) => Ok(Zone::Named(zone)),
            (None, Some(component)) => defined_zone(component, &mut self.steps),
            (None, None) => Err(format!("unknown time zone '{}'", excerpt(id))),
        };
        self.resolved.insert(id.to_owned(), zone.clone());
        zone
    }
}

/// The year of the bundled data and the two after it.
pub(super) fn doubted_years() -> Range<DateTime<Utc>> {
    let released = version().get(..4).and_then(|year| year.parse().ok()).unwrap_or(2026);
    let new_year = |year| {
        let day = NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or(NaiveDate::MAX);
        day.and_time(chrono::NaiveTime::MIN).and_utc()
    };
    new_year(released)..new_year(released + 3)
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

/// The changes of offset that a VTIMEZONE describes (RFC 5545, section 3.6.5).
#[derive(Debug)]
pub(super) struct CustomZone {
    /// The offset before the first change.
    before: TimeDelta,
    /// Ascending: the UTC time of a change and the offset from then on.
    changes: Vec<(NaiveDateTime, TimeDelta)>,
}

impl CustomZone {
    fn read(component: &Component, steps: &mut Steps) -> Result<Self, String> {
        let mut onsets: Vec<(NaiveDateTime, TimeDelta, TimeDelta)> = Vec::new();
        for observance in &component.children {
            if observance.is("STANDARD") || observance.is("DAYLIGHT") {
                read_observance(observance, &mut onsets, steps)
                    .map_err(|(line, e)| format!("its VTIMEZONE, line {line}: {e}"))?;
            }
        }
        onsets.sort_unstable();
        onsets.dedup_by_key(|onset| onset.0);
        let before = onsets.first().ok_or("its VTIMEZONE has no rules")?.1;
        Ok(Self { before, changes: onsets.into_iter().map(|(at, _, to)| (at, to)).collect() })
    }

    /// Its offset and that of `zone` at the beginning of `years`, and whenever one of the two changes in them.
    fn beside(
        &self,
        zone: &TimeZone,
        years: Range<DateTime<Utc>>,
    ) -> Vec<(DateTime<Utc>, TimeDelta, TimeDelta)> {
        let theirs = self.changes.iter().map(|(at, _)| at.and_utc());
        let start = jiff::Timestamp::from_second(years.start.timestamp()).unwrap_or_default();
        let ours = zone.following(start).map_while(|change| {
            let at = DateTime::from_timestamp(change.timestamp().as_second(), 0)?;
            (at < years.end).then_some(at)
        });
        let mut all: Vec<_> =
            theirs.filter(|at| years.contains(at)).chain(ours).chain([years.start]).collect();
        all.sort_unstable();
        let offsets = |at: DateTime<Utc>| (at, self.offset_at(at.naive_utc()), offset_in(zone, at));
        all.into_iter().map(offsets).collect()
    }

    fn offset_at(&self, utc: NaiveDateTime) -> TimeDelta {
        self.offset_after(self.changes.partition_point(|(at, _)| *at <= utc))
    }

    /// The offset in force after the first `changes` changes.
    fn offset_after(&self, changes: usize) -> TimeDelta {
        changes.checked_sub(1).map_or(self.before, |last| self.changes[last].1)
    }

    fn instant(&self, local: NaiveDateTime) -> DateTime<Utc> {
        // A day's slack brackets the change that matters, whatever the offsets are.
        let early = local.checked_sub_signed(TimeDelta::days(2)).unwrap_or(local);
        let mut passed = self.changes.partition_point(|(at, _)| *at <= early);
        while let Some((at, _)) = self.changes.get(passed) {
            // Read by the clock that is about to change: neither a gap nor a second hour yet.
            if local - self.offset_after(passed) < *at {
                break;
            }
            passed += 1;
        }
        let mut offset = self.offset_after(passed);
        if let Some(last) = passed.checked_sub(1)
            && local - offset < self.changes[last].0
        {
            // In the gap: the offset before it.
            offset = self.offset_after(last);
        }
        (local - offset).and_utc()
    }
}

type Onsets = Vec<(NaiveDateTime, TimeDelta, TimeDelta)>;

/// Adds (UTC onset, offset before, offset after) of each time this observance takes effect.
fn read_observance(
    observance: &Component,
    onsets: &mut Onsets,
    budget: &mut Steps,
) -> Result<(), (usize, String)> {
    let too_many = |line| (line, format!("the zones of the file take more than {MAX_STEPS_PER_FILE} steps"));
    let need = |name: &str| -> Result<&Property, (usize, String)> {
        observance.first(name).ok_or_else(|| (observance.line, format!("missing {name}")))
    };
    let read = |name| {
        let property = need(name)?;
        utc_offset(&property.value).map_err(|e| (property.line, e))
    };
    let (from, to) = (read("TZOFFSETFROM")?, read("TZOFFSETTO")?);
    let at = |property: &Property, text: &str| {
        let (local, utc, _) = local_time(text).map_err(|e| (property.line, e))?;
        Ok(if utc { local + from } else { local })
    };
    let property = need("DTSTART")?;
    let start = at(property, &property.value)?;
    let mut locals = vec![start];
    for property in observance.all("RDATE") {
        for text in property.values() {
            if !budget.take(1) {
                return Err(too_many(property.line));
            }
            locals.push(at(property, text)?);
        }
    }
    let horizon = NaiveDate::from_ymd_opt(HORIZON_YEAR, 1, 1).map_or(start, NaiveDateTime::from);
    for property in observance.all("RRULE") {
        if budget.is_empty() {
            return Err(too_many(property.line));
        }
        let rule = Rule::parse_leniently(&property.value).and_then(|rule| rule.dated(start, false));
        let rule = rule.map_err(|error| {
            budget.take(if error == RuleError::TooRare { MAX_FIRST_STEPS } else { 1 });
            (property.line, error.to_string())
        })?;
        budget.take(rule.first_steps());
        if rule.is_dead() {
            return Err((property.line, "a rule that never matches".to_owned()));
        }
        let until = rule.until_in(|utc| utc + from);
        let mut steps = budget.split(MAX_TRANSITIONS);
        let complete = rule.expand(until, start..horizon, &mut steps, |at| {
            locals.push(at);
            true
        });
        budget.give_back(steps);
        if complete.is_err() && budget.is_empty() {
            return Err(too_many(property.line));
        }
        if complete.is_err() {
            return Err((property.line, "too many changes of offset".to_owned()));
        }
    }
    onsets.extend(locals.into_iter().map(|local| (local - from, from, to)));
    if onsets.len() > MAX_TRANSITIONS {
        return Err((observance.line, "too many changes of offset".to_owned()));
    }
    Ok(())
}
