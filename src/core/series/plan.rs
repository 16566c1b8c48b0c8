//! Which occurrences a series has, for each first slot that it might begin with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::civil;
use jiff::tz::TimeZone;

use super::{ConflictPolicy, Frequency, Move, Pattern};
use crate::core::limits;
use crate::core::model::{MeetingSpec, WorkingHours};
use crate::core::recurrence::Rule;
use crate::core::slots;
use crate::core::time::{self, Instant, TimeRange};
use crate::core::zones;

/// An occurrence by the rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    /// When.
    pub slot: TimeRange,
    /// When the rule has it begin.
    pub recurrence: Instant,
    /// The same on the wall clock.
    pub local: civil::DateTime,
    /// Whether that time does not exist on that day: it begins later, by the length of the gap.
    pub shifted: bool,
    /// Whether it lies on an excluded date.
    pub excluded: bool,
}

/// The series as it would be with one first slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The rule, its UNTIL in UTC.
    pub rule: String,
    /// The first occurrence by the rule.
    pub first: TimeRange,
    /// Its start on the wall clock: DTSTART.
    pub start: civil::DateTime,
    /// All occurrences, or those before `until`.
    pub occurrences: Vec<Planned>,
    /// Of a rule without an end: where `occurrences` ends.
    pub until: Option<Instant>,
}

/// Why a series can't be planned.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// The rule makes no sense, or not for a series.
    #[error("{0}")]
    Rule(String),
    /// The first slot that was named is none of the rule's.
    #[error("is no occurrence of the rule{0}")]
    NotAnOccurrence(String),
    /// The rule is over before the first slot that was named, which is on this date.
    #[error("lies before the first slot, which is on {0}")]
    OverBefore(civil::Date),
    /// More occurrences than are booked at once.
    #[error("has more than the {0} occurrences that are booked at once: shorten it, or leave its end open")]
    TooManyOccurrences(usize),
    /// More occurrences, each times its attendees, than are booked at once.
    #[error(
        "has {occurrences} occurrences, which with {attendees} attendees are more than the {max} places that are booked at once"
    )]
    TooManySeats {
        /// Of one first slot.
        occurrences: usize,
        /// Of the series.
        attendees: usize,
        /// [`limits::SERIES_SEATS`].
        max: usize,
    },
    /// Two occurrences would overlap.
    #[error("has occurrences that overlap each other, buffers included: {0} and {1}")]
    Overlapping(civil::DateTime, civil::DateTime),
    /// More slots, over all occurrences, than are looked at.
    #[error("has more than {0} slots over all occurrences: narrow the window, or name the first slot")]
    TooManySlots(usize),
}

/// The parts of a rule that a series may not have: its occurrences begin on a day, at the time of the first.
const FINER: [&str; 6] = ["SECONDLY", "MINUTELY", "HOURLY", "BYHOUR", "BYMINUTE", "BYSECOND"];

/// Whether the pattern can be the rule of a series.
pub fn check(pattern: &Pattern) -> Result<(), PlanError> {
    let Pattern::Rule(text) = pattern else { return Ok(()) };
    let upper = text.to_ascii_uppercase();
    if let Some(part) = FINER.iter().find(|part| upper.contains(**part)) {
        return Err(PlanError::Rule(format!(
            "{part} is finer than a day: a series recurs daily or less often"
        )));
    }
    Rule::parse(text).map(drop).map_err(|error| PlanError::Rule(error.to_string()))
}

/// How far ahead a series without an end is booked.
pub fn horizon(now: Instant, first: Instant) -> Instant {
    time::add(now.max(first), limits::SERIES_HORIZON)
}

/// The rule as text, as it is kept and told to agents: its UNTIL in UTC. A date there means the whole of that day in
/// `zone`, as the last date of a plain pattern does.
fn rule_text(pattern: &Pattern, zone: &TimeZone) -> Result<String, PlanError> {
    let (rule, until) = match pattern {
        Pattern::Rule(text) => {
            let rule = Rule::parse(text.trim()).map_err(|error| PlanError::Rule(error.to_string()))?;
            (text.trim().to_ascii_uppercase(), rule.until(zone))
        }
        Pattern::Plain(frequency, end) => {
            let frequency = match frequency {
                Frequency::Daily => "FREQ=DAILY",
                Frequency::Weekly => "FREQ=WEEKLY",
                Frequency::Monthly => "FREQ=MONTHLY",
            };
            (frequency.to_owned(), end.map(|end| zones::end_of_day(end, zone)))
        }
    };
    Ok(until.map_or(rule.clone(), |until| ending(&rule, until)))
}

/// The rule with this end (inclusive), and no other.
pub fn ending(rule: &str, last: Instant) -> String {
    let ends = |part: &&str| !part.starts_with("UNTIL=") && !part.starts_with("COUNT=");
    let kept: Vec<&str> = rule.split(';').filter(ends).collect();
    format!("{};UNTIL={}", kept.join(";"), zones::to_jiff(last).strftime("%Y%m%dT%H%M%SZ"))
}

/// One plan for each of the slots that is an occurrence of the rule begun there, in the order of the slots. `named`: the
/// only slot was named by the caller, so that it must be one.
pub fn plans(
    pattern: &Pattern,
    exclude: &[civil::Date],
    spec: &MeetingSpec,
    slots: &[TimeRange],
    named: bool,
    zone: &TimeZone,
    now: Instant,
) -> Result<Vec<Plan>, PlanError> {
    check(pattern)?;
    let text = rule_text(pattern, zone)?;
    let rule = Rule::parse(&text).map_err(|error| PlanError::Rule(error.to_string()))?;
    let (counted, ends) = (text.contains("COUNT="), text.contains("UNTIL="));
    let open = !counted && !ends;
    // Days don't depend on the time of day, unless the rule ends at one: then each time has a list of its own.
    let mut known: BTreeMap<(civil::Date, Option<civil::Time>), Vec<civil::Date>> = BTreeMap::new();
    let mut found = Vec::new();
    let mut total = 0;
    for slot in slots {
        let start = zones::to_civil(slot.start, zone);
        let day = start.date();
        let until = zones::start_of_day(zones::to_civil(horizon(now, slot.start), zone).date(), zone);
        let key = (day, ends.then(|| start.time()));
        let dates = match known.get(&key) {
            Some(dates) => dates,
            None => {
                let from = if ends { start } else { day.at(12, 0, 0, 0) };
                let dates = dates(&rule, from, zone, if open { until } else { Instant::MAX_UTC })?;
                known.entry(key).or_insert(dates)
            }
        };
        if dates.first() != Some(&day) {
            if named && ends && dates.is_empty() {
                return Err(PlanError::OverBefore(day));
            }
            if named {
                let next = dates.first().map(|date| format!("; the next one is on {date}"));
                return Err(PlanError::NotAnOccurrence(next.unwrap_or_default()));
            }
            continue;
        }
        let planned =
            |date: &civil::Date| planned(date.to_datetime(start.time()), slot.length(), exclude, zone);
        let occurrences: Vec<Planned> = dates.iter().map(planned).collect();
        apart(spec, &occurrences)?;
        let attendees = spec.attendees.len();
        if occurrences.len().saturating_mul(attendees) > limits::SERIES_SEATS {
            let occurrences = occurrences.len();
            return Err(PlanError::TooManySeats { occurrences, attendees, max: limits::SERIES_SEATS });
        }
        total += occurrences.len();
        if total > limits::CANDIDATES {
            return Err(PlanError::TooManySlots(limits::CANDIDATES));
        }
        let until = open.then_some(until);
        found.push(Plan { rule: text.clone(), first: *slot, start, occurrences, until });
    }
    Ok(found)
}

/// The occurrences of a series without an end that begin at `from` or later and before `until`.
pub fn extension(
    rule: &str,
    exclude: &[civil::Date],
    start: civil::DateTime,
    length: Duration,
    zone: &TimeZone,
    from: Instant,
    until: Instant,
) -> Result<Vec<Planned>, PlanError> {
    let rule = Rule::parse(rule).map_err(|error| PlanError::Rule(error.to_string()))?;
    let found = rule
        .occurrences(start, zones::zone_name(zone), Some(from), limits::OCCURRENCES, until)
        .map_err(|error| PlanError::Rule(error.to_string()))?;
    Ok(found.into_iter().map(|occurrence| planned(occurrence.civil, length, exclude, zone)).collect())
}

fn dates(
    rule: &Rule,
    start: civil::DateTime,
    zone: &TimeZone,
    until: Instant,
) -> Result<Vec<civil::Date>, PlanError> {
    let limit = limits::OCCURRENCES + 1;
    let found = rule
        .occurrences(start, zones::zone_name(zone), None, limit, until)
        .map_err(|error| PlanError::Rule(error.to_string()))?;
    if found.len() == limit {
        return Err(PlanError::TooManyOccurrences(limits::OCCURRENCES));
    }
    Ok(found.into_iter().map(|occurrence| occurrence.civil.date()).collect())
}

fn planned(local: civil::DateTime, length: Duration, exclude: &[civil::Date], zone: &TimeZone) -> Planned {
    let start = zones::to_instant(local, zone);
    Planned {
        slot: TimeRange::lasting(start, length),
        recurrence: start,
        local,
        shifted: zones::first_showing(local, zone).is_none(),
        excluded: exclude.contains(&local.date()),
    }
}

/// Where an occurrence lies after a move of the series.
pub fn moved(local: civil::DateTime, by: &Move, zone: &TimeZone) -> Option<TimeRange> {
    let local = local.checked_add(jiff::SignedDuration::from_secs(by.seconds)).ok()?;
    Some(TimeRange::lasting(zones::to_instant(local, zone), by.length))
}

/// Refuses occurrences that would take each other's time.
fn apart(spec: &MeetingSpec, occurrences: &[Planned]) -> Result<(), PlanError> {
    for pair in occurrences.windows(2) {
        if spec.blocked(&pair[0].slot).overlaps(&spec.blocked(&pair[1].slot)) {
            return Err(PlanError::Overlapping(pair[0].local, pair[1].local));
        }
    }
    Ok(())
}

impl Plan {
    /// The occurrences that are to be booked.
    pub fn wanted(&self) -> impl Iterator<Item = &Planned> {
        self.occurrences.iter().filter(|occurrence| !occurrence.excluded)
    }
}

/// Where each occurrence may lie, nearest to its place by the rule first: that place alone, or all within the tolerance
/// that the working hours allow (any hour, if the first slot was named). Exclusions of the window hold everywhere.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Places(BTreeMap<TimeRange, Vec<TimeRange>>);

impl Places {
    /// The places of all occurrences of these plans.
    pub fn of<'a>(
        wanted: impl Iterator<Item = &'a Planned>,
        spec: &MeetingSpec,
        policy: ConflictPolicy,
        named: bool,
    ) -> Result<Self, PlanError> {
        let mut rules = spec.clone();
        if named {
            rules.window.working_hours = WorkingHours::Unrestricted;
        }
        let mut admitted: BTreeMap<TimeRange, bool> = BTreeMap::new();
        let mut places = BTreeMap::new();
        let mut total = 0;
        for planned in wanted {
            if places.contains_key(&planned.slot) {
                continue;
            }
            let excluded = |slot: &TimeRange| spec.window.exclude.iter().any(|range| range.overlaps(slot));
            let mut found: Vec<TimeRange> =
                Some(planned.slot).filter(|slot| !excluded(slot)).into_iter().collect();
            for slot in around(&planned.slot, policy, spec.window.step) {
                if *admitted.entry(slot).or_insert_with(|| slots::admits(&rules, &slot)) {
                    found.push(slot);
                }
            }
            total += found.len();
            if admitted.len() > limits::CANDIDATES || total > limits::SERIES_PLACES {
                return Err(PlanError::TooManySlots(limits::CANDIDATES));
            }
            places.insert(planned.slot, found);
        }
        Ok(Self(places))
    }

    /// Just where these occurrences are.
    pub fn exactly<'a>(wanted: impl Iterator<Item = &'a Planned>) -> Self {
        Self(wanted.map(|planned| (planned.slot, vec![planned.slot])).collect())
    }

    /// Where this occurrence may lie.
    pub fn at(&self, slot: &TimeRange) -> &[TimeRange] {
        self.0.get(slot).map(Vec::as_slice).unwrap_or_default()
    }

    /// All of them, sorted, each once.
    pub fn all(&self) -> Vec<TimeRange> {
        let all: BTreeSet<TimeRange> = self.0.values().flatten().copied().collect();
        all.into_iter().collect()
    }
}

/// The other slots to which an occurrence may be moved, nearest first.
fn around(slot: &TimeRange, policy: ConflictPolicy, step: Duration) -> Vec<TimeRange> {
    let mut slots = Vec::new();
    if let ConflictPolicy::MoveWithin(tolerance) = policy {
        let mut distance = step;
        while distance <= tolerance {
            slots.push(TimeRange::lasting(time::sub(slot.start, distance), slot.length()));
            slots.push(TimeRange::lasting(time::add(slot.start, distance), slot.length()));
            distance += step;
        }
    }
    slots
}
