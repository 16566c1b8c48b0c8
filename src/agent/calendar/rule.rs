//! Recurrence rules: checked once, then expanded in floating time (RFC 5545, section 3.3.10).
//!
//! The `rrule` crate is given local times only, as if they were UTC: its own zones come from an
//! older database and it reads gaps and folds differently. Zones are applied by the caller.

use std::ops::Range;

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike};
use rrule::{Frequency, RRule, RRuleSet, Tz, Unvalidated};

use super::value::{excerpt, local_time};

/// A rule longer than this, in bytes, is refused.
pub(super) const MAX_RULE_BYTES: usize = 4_096;
/// A rule may name this many times in one of its periods (a year of hours has 8,784).
pub(super) const MAX_TIMES_PER_PERIOD: usize = 50_000;

/// Hours, minutes or seconds without an occurrence that are passed over in one step.
const PASSED_PER_STEP: i64 = 8;
/// The crate looks at no more periods than this for one occurrence.
const CRATE_PERIODS: i64 = 100_000;

/// How much may still be looked at: an occurrence is a step, and so is a day, week, month or year without one.
#[derive(Debug)]
pub(super) struct Steps(usize);

impl Steps {
    pub fn new(steps: usize) -> Self {
        Self(steps)
    }

    /// Takes so many steps; `false` if fewer are left.
    pub fn take(&mut self, steps: usize) -> bool {
        let left = self.0 >= steps;
        self.0 = self.0.saturating_sub(steps);
        left
    }

    /// Splits off up to `most` steps.
    pub fn split(&mut self, most: usize) -> Self {
        let part = self.0.min(most);
        self.0 -= part;
        Self(part)
    }

    /// Gives back what a part did not use.
    pub fn give_back(&mut self, part: Self) {
        self.0 += part.0;
    }

    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

/// The work bound ended the expansion at this local time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GaveUpAt(pub NaiveDateTime);

#[derive(Debug, Clone, Copy)]
enum Until {
    Utc(NaiveDateTime),
    Local(NaiveDateTime),
}

/// A rule that holds for a DTSTART.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    rule: RRule,
    limits: Option<Limits>,
    until: Option<Until>,
    /// The rule repeats itself after this time, if that is an exact time.
    period: Option<TimeDelta>,
    /// It never matches (30 February): looked for once, in 100,000 periods, and never again.
    dead: bool,
    /// Steps that looking for the first occurrence takes.
    first_steps: usize,
}

impl Rule {
    /// Reads and checks an RRULE for an event that starts at `start`.
    pub fn read(text: &str, start: NaiveDateTime, is_date: bool) -> Result<Self, String> {
        if text.len() > MAX_RULE_BYTES || !text.is_ascii() {
            return Err("unreadable recurrence rule: too long or not ASCII".to_owned());
        }
        let wrong = |e: &dyn std::fmt::Display| format!("unreadable recurrence rule: {}", one_line(e));
        let (rest, until, limits) = normalise(text, start, is_date).map_err(|e| wrong(&e))?;
        let rule: RRule<Unvalidated> = rest.parse().map_err(|e| wrong(&e))?;
        let none = limits.as_ref().is_some_and(|limits| limits.count == Some(0));
        if rule.get_interval() == 0 || rule.get_count() == Some(0) || none {
            return Err(wrong(&"INTERVAL and COUNT start at 1"));
        }
        let times = times_per_period(&rule);
        if times > MAX_TIMES_PER_PERIOD {
            return Err(wrong(&format!("more than {MAX_TIMES_PER_PERIOD} times in one period")));
        }
        let positions = rule.get_by_set_pos();
        let out_of_reach = |pos: &i32| pos.unsigned_abs() as usize > times;
        let dead = !positions.is_empty() && positions.iter().all(out_of_reach);
        let rule = rule.validate(floating(start)).map_err(|e| wrong(&e))?;
        let mut rule = Self { rule, limits, until, period: None, dead, first_steps: 1 };
        rule.period = if rule.is_counted() { None } else { period(&rule.rule) };
        if !dead {
            let first = rule.iter(start).next();
            // No day in hundreds of years is proof enough; no second in a few days is none.
            if first.is_none() && rule.passes_parts_of_days() {
                return Err(wrong(&"it matches too rarely to be followed"));
            }
            rule.dead = first.is_none();
            rule.first_steps = first.map_or(1, |first| rule.steps(start, first));
        }
        Ok(rule)
    }

    /// The steps that reading it took: looking for the first occurrence.
    pub fn first_steps(&self) -> usize {
        self.first_steps
    }

    /// The steps that the crate needs, at most, from one occurrence to the next.
    fn steps(&self, from: NaiveDateTime, to: NaiveDateTime) -> usize {
        let length = to - from;
        let months =
            12 * i64::from(to.year() - from.year()) + i64::from(to.month()) - i64::from(from.month());
        let interval = i64::from(self.rule.get_interval());
        let steps = match self.rule.get_freq() {
            Frequency::Yearly => months / 12 / interval,
            Frequency::Monthly => months / interval,
            Frequency::Weekly => length.num_weeks() / interval,
            Frequency::Daily => length.num_days() / interval,
            Frequency::Hourly => part_steps(length.num_hours() / interval),
            Frequency::Minutely => part_steps(length.num_minutes() / interval),
            Frequency::Secondly => part_steps(length.num_seconds() / interval),
        };
        usize::try_from(steps).unwrap_or_default().max(1)
    }

    fn passes_parts_of_days(&self) -> bool {
        matches!(self.rule.get_freq(), Frequency::Hourly | Frequency::Minutely | Frequency::Secondly)
    }

    /// Whether it names no time at all, so that only DTSTART is left of the series.
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// UNTIL in the wall-clock time of the event; `to_local` converts from UTC.
    pub fn until_in(&self, to_local: impl Fn(NaiveDateTime) -> NaiveDateTime) -> Option<NaiveDateTime> {
        self.until.map(|until| match until {
            Until::Utc(utc) => to_local(utc),
            Until::Local(local) => local,
        })
    }

    /// Whether the rule ends by COUNT.
    pub fn is_counted(&self) -> bool {
        self.count().is_some()
    }

    fn count(&self) -> Option<u32> {
        self.rule.get_count().or(self.limits.as_ref().and_then(|limits| limits.count))
    }

    /// Calls `found` with the local starts in `range`, ascending. `start` is the DTSTART that the
    /// rule was read for, `until` is inclusive.
    pub fn expand(
        &self,
        start: NaiveDateTime,
        until: Option<NaiveDateTime>,
        range: Range<NaiveDateTime>,
        steps: &mut Steps,
        mut found: impl FnMut(NaiveDateTime),
    ) -> Result<(), GaveUpAt> {
        let mut reached = range.start.max(start);
        if self.dead || start >= range.end || until.is_some_and(|until| until < range.start) {
            return Ok(());
        }
        let (mut before, mut count) = (self.near(start, range.start), 0);
        for at in self.iter(before) {
            // What lies after the range was looked for too.
            let left = steps.take(self.steps(before, at));
            if at >= range.end || until.is_some_and(|until| at > until) {
                return Ok(());
            }
            if !left {
                return Err(GaveUpAt(reached));
            }
            (before, count) = (at, count + 1);
            if at >= range.start {
                reached = at;
                found(at);
            }
        }
        // Only COUNT ends a series of the crate in good order; else it stopped looking.
        if self.count() == Some(count) {
            return Ok(());
        }
        steps.take(part_steps(CRATE_PERIODS) as usize);
        Err(GaveUpAt(reached))
    }

    fn iter(&self, start: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> + use<> {
        let set = RRuleSet::new(floating(start)).rrule(self.rule.clone()).limit();
        let (limits, mut in_vain) = (self.limits.clone().unwrap_or_default(), 0);
        let most = limits.count.map_or(usize::MAX, |count| count as usize);
        (&set)
            .into_iter()
            .map_while(move |at| {
                let at = Some(at.naive_utc()).filter(|at| limits.admit(at));
                in_vain = if at.is_some() { 0 } else { in_vain + 1 };
                (in_vain < CRATE_PERIODS).then_some(at)
            })
            .flatten()
            .take(most)
    }

    /// A start from which the rule gives the same times in and after `wanted`, but sooner.
    fn near(&self, start: NaiveDateTime, wanted: NaiveDateTime) -> NaiveDateTime {
        let Some(period) = self.period else { return start };
        // Two periods early: the first one may be cut by its start.
        let period = period.num_seconds();
        let skip = period * ((wanted - start).num_seconds() / period - 2).max(0);
        start.checked_add_signed(TimeDelta::seconds(skip)).unwrap_or(start)
    }
}

/// BYHOUR and BYMINUTE of a rule, applied here because the crate loses the phase of an INTERVAL that is no part of an
/// hour (or minute) while it looks for the next hour (or minute) that they allow; and COUNT, which counts after them.
#[derive(Debug, Clone, Default)]
struct Limits {
    hours: Vec<u32>,
    minutes: Vec<u32>,
    count: Option<u32>,
}

impl Limits {
    fn admit(&self, at: &NaiveDateTime) -> bool {
        let allows = |list: &[u32], value| list.is_empty() || list.contains(&value);
        allows(&self.hours, at.hour()) && allows(&self.minutes, at.minute())
    }
}

/// Takes from `parts` what the crate can't apply.
fn own_limits(parts: &mut Vec<(&str, String)>, frequency: &str) -> Result<Option<Limits>, String> {
    let value = |name: &str| parts.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    let interval: u32 = value("INTERVAL").and_then(|n| n.parse().ok()).unwrap_or(1);
    let ours: &[&str] = match frequency {
        "MINUTELY" => &["BYHOUR"],
        "SECONDLY" => &["BYHOUR", "BYMINUTE"],
        _ => &[],
    };
    if interval == 0 || 60 % interval == 0 || !ours.iter().any(|name| value(name).is_some()) {
        return Ok(None);
    }
    if value("BYSETPOS").is_some() {
        return Err("BYSETPOS with this INTERVAL".to_owned());
    }
    let numbers = |name: &str, below: u32| -> Result<Vec<u32>, String> {
        let Some(list) = value(name).filter(|_| ours.contains(&name)) else { return Ok(Vec::new()) };
        let number = |text: &str| text.parse().ok().filter(|n| *n < below);
        let read = |text| number(text).ok_or_else(|| format!("{name} '{}'", excerpt(text)));
        list.split(',').map(read).collect()
    };
    let count = value("COUNT").map(|n| n.parse().map_err(|_| format!("COUNT '{}'", excerpt(&n))));
    let limits = Limits {
        hours: numbers("BYHOUR", 24)?,
        minutes: numbers("BYMINUTE", 60)?,
        count: count.transpose()?,
    };
    parts.retain(|(key, _)| *key != "COUNT" && !ours.contains(key));
    Ok(Some(limits))
}

/// Steps for so many hours, minutes or seconds. The crate passes over whole days that have no occurrence.
fn part_steps(parts: i64) -> i64 {
    parts.min(CRATE_PERIODS) / PASSED_PER_STEP
}

/// The crate's message without its line breaks, and without the control characters of the rule that it repeats.
fn one_line(e: &dyn std::fmt::Display) -> String {
    let text = e.to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(160).map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn floating(local: NaiveDateTime) -> DateTime<Tz> {
    local.and_utc().with_timezone(&Tz::UTC)
}

/// The rule in the form that the crate reads, its UNTIL, and what is left to us.
type Normal = (String, Option<Until>, Option<Limits>);

fn normalise(text: &str, start: NaiveDateTime, is_date: bool) -> Result<Normal, String> {
    let text = text.to_ascii_uppercase();
    let mut until = None;
    let mut parts = Vec::new();
    let (mut frequency, mut backward) = ("", false);
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("'{}'", excerpt(part)))?;
        let (key, value) = (key.trim(), value.trim());
        match (key, value) {
            ("UNTIL", value) => until = Some(read_until(value, is_date)?),
            // RFC 7529: these two say what RFC 5545 does anyway.
            ("RSCALE", "GREGORIAN") | ("SKIP", "OMIT") => {}
            ("SKIP", "BACKWARD") => backward = true,
            (key, _) if key.starts_with("X-") => {}
            (key, value) => {
                if key == "FREQ" {
                    frequency = value;
                }
                let value: String = value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
                parts.push((key, value));
            }
        }
    }
    if backward {
        skip_backward(&mut parts, frequency, start)?;
    }
    let mut fifth_last = false;
    for (key, value) in &mut parts {
        if *key == "BYDAY" {
            *value = week_days(value, matches!(frequency, "MONTHLY" | "YEARLY"))?;
            fifth_last = value.contains("-5") && frequency == "MONTHLY";
        }
    }
    let has = |name: &str| parts.iter().any(|(key, _)| *key == name);
    if fifth_last && !has("INTERVAL") && !has("BYSETPOS") {
        // The crate knows no fifth last day in a monthly rule, but does in a month of a year.
        let by_month = has("BYMONTH");
        parts.retain(|(key, _)| *key != "FREQ");
        parts.push(("FREQ", "YEARLY".to_owned()));
        if !by_month {
            parts.push(("BYMONTH", "1,2,3,4,5,6,7,8,9,10,11,12".to_owned()));
        }
    }
    let limits = own_limits(&mut parts, frequency)?;
    let parts: Vec<String> = parts.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Ok((parts.join(";"), until, limits))
}

/// SKIP=BACKWARD (RFC 7529): where a month has no such day, its last one. Said in RFC 5545's
/// words for a rule that takes its day from DTSTART; others are refused.
fn skip_backward(
    parts: &mut Vec<(&str, String)>,
    frequency: &str,
    start: NaiveDateTime,
) -> Result<(), String> {
    let has = |name: &str| parts.iter().any(|(key, _)| *key == name);
    let by_day = ["BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYSETPOS"].into_iter().any(has);
    if by_day || !matches!(frequency, "MONTHLY" | "YEARLY") {
        return Err("SKIP=BACKWARD with these parts".to_owned());
    }
    let needs_month = frequency == "YEARLY" && !has("BYMONTH");
    if start.day() > 28 {
        let days: Vec<String> = (28..=start.day()).map(|day| day.to_string()).collect();
        parts.push(("BYMONTHDAY", days.join(",")));
        parts.push(("BYSETPOS", "-1".to_owned()));
        if needs_month {
            parts.push(("BYMONTH", start.month().to_string()));
        }
    }
    Ok(())
}

/// BYDAY, checked. The crate ignores an ordinal that it cannot read; in a rule where ordinals
/// mean nothing we drop them, which can only make the person busier.
fn week_days(list: &str, ordinals: bool) -> Result<String, String> {
    let day = |day: &str| {
        let (ordinal, name) = day.split_at_checked(day.len().checked_sub(2)?)?;
        let fits = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"].contains(&name)
            && (ordinal.is_empty() || ordinal.parse::<i16>().is_ok_and(|n| n != 0));
        fits.then(|| if ordinals { day.to_owned() } else { name.to_owned() })
    };
    let read = |text| day(text).ok_or_else(|| format!("BYDAY '{}'", excerpt(text)));
    let days: Vec<String> = list.split(',').map(read).collect::<Result<_, _>>()?;
    Ok(days.join(","))
}

/// UNTIL is inclusive. A date in a timed event, which some producers write, is its midnight.
fn read_until(text: &str, is_date: bool) -> Result<Until, String> {
    let (local, utc, _) = local_time(text).map_err(|e| format!("UNTIL: {e}"))?;
    Ok(if utc && !is_date { Until::Utc(local) } else { Until::Local(local) })
}

fn times_per_period<S>(rule: &RRule<S>) -> usize {
    let (days, hours, minutes, seconds) = match rule.get_freq() {
        Frequency::Yearly => (366, true, true, true),
        Frequency::Monthly => (31, true, true, true),
        Frequency::Weekly => (7, true, true, true),
        Frequency::Daily => (1, true, true, true),
        Frequency::Hourly => (1, false, true, true),
        Frequency::Minutely => (1, false, false, true),
        Frequency::Secondly => (1, false, false, false),
    };
    let count = |counts: bool, list: &[u8]| if counts { list.len().max(1) } else { 1 };
    days * count(hours, rule.get_by_hour())
        * count(minutes, rule.get_by_minute())
        * count(seconds, rule.get_by_second())
}

/// After this time a rule without COUNT gives the same pattern again. Months and years have no fixed length.
fn period(rule: &RRule) -> Option<TimeDelta> {
    let unit = match rule.get_freq() {
        Frequency::Weekly => TimeDelta::weeks(1),
        Frequency::Daily => TimeDelta::days(1),
        Frequency::Hourly => TimeDelta::hours(1),
        Frequency::Minutely => TimeDelta::minutes(1),
        Frequency::Secondly => TimeDelta::seconds(1),
        Frequency::Monthly | Frequency::Yearly => return None,
    };
    Some(unit * i32::from(rule.get_interval()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        local_time(text).unwrap().0
    }

    fn expand(rule: &str, start: &str, from: &str, to: &str) -> Result<Vec<String>, GaveUpAt> {
        let (rule, mut got) = (Rule::read(rule, at(start), false).unwrap(), Vec::new());
        let until = rule.until_in(|utc| utc);
        let mut steps = Steps::new(1_000);
        rule.expand(at(start), until, at(from)..at(to), &mut steps, |at| {
            got.push(at.format("%Y%m%dT%H%M").to_string());
        })?;
        Ok(got)
    }

    #[test]
    fn skipping_ahead_keeps_the_phase() {
        let got =
            expand("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;WKST=SU", "19970810T090000", "20260601", "20260630");
        let whole = expand(
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;WKST=SU;COUNT=1600",
            "19970810T090000",
            "20260601",
            "20260630",
        );
        assert_eq!(got.as_ref().map(Vec::len), Ok(4));
        assert!(whole.is_err(), "1,600 occurrences take more than 1,000 steps");
        assert_eq!(
            expand("FREQ=HOURLY;INTERVAL=7", "20000101T000000", "20260601", "20260602").unwrap().len(),
            4
        );
        assert_eq!(
            expand("FREQ=DAILY;INTERVAL=3;BYHOUR=9,10", "20260101T090000", "20260301", "20260304").unwrap(),
            ["20260302T0900", "20260302T1000"]
        );
    }

    #[test]
    fn until_is_inclusive_and_a_date_means_its_midnight() {
        let days = |rule| expand(rule, "20260101T090000", "20260101", "20260201").unwrap().len();
        assert_eq!(days("FREQ=DAILY;UNTIL=20260103T090000Z"), 3);
        assert_eq!(days("FREQ=DAILY;UNTIL=20260103T085959Z"), 2);
        assert_eq!(days("FREQ=DAILY;UNTIL=20260103"), 2);
        assert_eq!(days("FREQ=DAILY;UNTIL=20251231"), 0);
        assert_eq!(days("FREQ=DAILY;UNTIL=99991231T235959Z;X-WHO=ME;"), 31);
    }

    #[test]
    fn an_endless_rule_gives_up_and_says_where() {
        let gave_up = expand("FREQ=SECONDLY", "20000101T000000", "20260101", "20260201");
        assert_eq!(gave_up, Err(GaveUpAt(at("20260101T001639") - TimeDelta::seconds(2))));
    }

    #[test]
    fn wrong_rules_are_refused() {
        for bad in [
            "",
            "FREQ=SOMETIMES",
            "FREQ=DAILY;INTERVAL=0",
            "FREQ=DAILY;COUNT=0",
            "FREQ=DAILY;COUNT",
            "FREQ=MONTHLY;BYDAY=\u{e9}",
            "FREQ=MONTHLY;BYDAY=XMO",
            "FREQ=MONTHLY;BYDAY=",
            "FREQ=DAILY;UNTIL=soon",
            "FREQ=MONTHLY;SKIP=FORWARD",
            "FREQ=DAILY;SKIP=BACKWARD",
            "RSCALE=HEBREW;FREQ=YEARLY",
            "FREQ=DAILY;FREQ=DAILY",
        ] {
            assert!(Rule::read(bad, at("20260131T090000"), false).is_err(), "{bad}");
        }
        let minutes: Vec<String> = (0..60).map(|n| n.to_string()).collect();
        let minutes = minutes.join(",");
        let flood = format!("FREQ=YEARLY;BYMINUTE={minutes};BYSECOND={minutes}");
        assert!(Rule::read(&flood, at("20260101"), false).unwrap_err().contains("50000"));
    }

    #[test]
    fn a_rule_that_never_matches_is_found_out_once() {
        let dead = |rule| Rule::read(rule, at("20260131T090000"), false).unwrap().is_dead();
        assert!(dead("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"));
        assert!(dead("FREQ=SECONDLY;BYSETPOS=2;BYSECOND=1"));
        assert!(!dead("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"));
        assert_eq!(
            expand("FREQ=MONTHLY;BYDAY=1TU;BYSETPOS=2", "20260131", "20260101", "20300101"),
            Ok(vec![])
        );
    }

    #[test]
    fn the_fifth_day_from_the_end_of_a_month() {
        let got = expand("FREQ=MONTHLY;BYDAY=-4TH,-5TH;COUNT=4", "20150101", "20150101", "20160101");
        assert_eq!(got.unwrap(), ["20150101T0000", "20150108T0000", "20150205T0000", "20150305T0000"]);
        assert!(Rule::read("FREQ=MONTHLY;INTERVAL=2;BYDAY=-5TH", at("20150101"), false).is_err());
    }

    #[test]
    fn sloppy_rules_are_read() {
        let count = |rule| expand(rule, "20260105T090000", "20260101", "20260201").map(|got| got.len());
        assert_eq!(count("freq=weekly;byday=mo, we"), Ok(8));
        assert_eq!(count("FREQ=WEEKLY;BYDAY=1MO"), Ok(4));
        assert_eq!(count("FREQ=MONTHLY;BYDAY=+1MO;"), Ok(1));
    }
}
