//! The rules of a VTIMEZONE (RFC 5545, section 3.6.5), followed to the changes of offset that they bring.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

use super::tree::{Component, Property};
use super::value::{local_time, utc_offset};
use crate::core::recurrence::{MAX_FIRST_STEPS, Rule, RuleError, Steps};

/// Changes of offset that one VTIMEZONE may bring; a real one has a few per year.
pub(super) const MAX_TRANSITIONS: usize = 4_000;
/// The rules of a VTIMEZONE are followed up to this year; later times keep the last offset.
pub(super) const HORIZON_YEAR: i32 = 2100;

/// Steps that the rules of all VTIMEZONEs of a file take together, and changes of offset that they bring.
pub(super) const MAX_STEPS_PER_FILE: usize = 500_000;
/// The changes of offset that a VTIMEZONE describes.
#[derive(Debug)]
pub(super) struct CustomZone {
    /// The offset before the first change.
    before: TimeDelta,
    /// Ascending: the UTC time of a change and the offset from then on.
    changes: Vec<(NaiveDateTime, TimeDelta)>,
}

impl CustomZone {
    pub fn read(component: &Component, steps: &mut Steps) -> Result<Self, String> {
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

    /// When the offset changes.
    pub fn changes(&self) -> impl Iterator<Item = DateTime<Utc>> {
        self.changes.iter().map(|(at, _)| at.and_utc())
    }

    pub fn offset_at(&self, utc: NaiveDateTime) -> TimeDelta {
        self.offset_after(self.changes.partition_point(|(at, _)| *at <= utc))
    }

    /// The offset in force after the first `changes` changes.
    fn offset_after(&self, changes: usize) -> TimeDelta {
        changes.checked_sub(1).map_or(self.before, |last| self.changes[last].1)
    }

    pub fn instant(&self, local: NaiveDateTime) -> DateTime<Utc> {
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
