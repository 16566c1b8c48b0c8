//! The `rrule` crate, another reading of the same rules. What it gets wrong, or refuses, is told apart by [`can`].
//!
//! It is given local times only, as if they were UTC: its own zones come from an older database and it reads gaps and
//! folds differently.

use std::ops::Range;

use chrono::{DateTime, NaiveDateTime};
use rrule::{RRule, RRuleSet, Tz, Unvalidated};

use super::super::parts::{Frequency, Parts, Skip, WEEKDAYS};

/// The crate holds this many times of one period at once, at most (a year of hours has 8,784).
const MOST_TIMES: usize = 50_000;

/// Whether the crate gives the right times for these parts.
fn can(parts: &Parts) -> bool {
    let frequency = parts.frequency;
    // It takes the first days of some years for a week 53 if weeks don't begin on Monday, and cuts the first week of a
    // BYSETPOS at DTSTART.
    let weeks = parts.weeks.is_empty() && (parts.positions.is_empty() || frequency != Frequency::Weekly);
    let with_frequency = (parts.year_days.is_empty() || frequency == Frequency::Yearly)
        && (parts.month_days.is_empty() || frequency != Frequency::Weekly);
    let in_range = parts.year_days.iter().all(|day| *day != 0 && day.unsigned_abs() <= 366)
        && parts.positions.iter().all(|position| position.unsigned_abs() <= 366);
    // It knows no fifth last day of a month, and reads a list with and without ordinals as one restricting the other.
    let ordinals = parts.days.iter().filter(|(ordinal, _)| *ordinal != 0).count();
    let far = parts.days.iter().any(|(ordinal, _)| ordinal.unsigned_abs() > 4);
    let ordinals = (ordinals == 0 || ordinals == parts.days.len()) && !far;
    // Within a day it loses the phase of an INTERVAL while it looks for an hour or minute that is allowed.
    frequency >= Frequency::Daily
        && u16::try_from(parts.interval).is_ok()
        && parts.skip == Skip::Omit
        && with_frequency
        && weeks
        && in_range
        && ordinals
        && times_per_period(parts) <= MOST_TIMES
}

fn times_per_period(parts: &Parts) -> usize {
    let days = match parts.frequency {
        Frequency::Yearly => 366,
        Frequency::Monthly => 31,
        Frequency::Weekly => 7,
        _ => 1,
    };
    [&parts.hours, &parts.minutes, &parts.seconds].iter().fold(days, |times, list| times * list.len().max(1))
}

/// The rule in the form that the crate reads, without its UNTIL.
fn text(parts: &Parts) -> String {
    let frequency = match parts.frequency {
        Frequency::Yearly => "YEARLY",
        Frequency::Monthly => "MONTHLY",
        Frequency::Weekly => "WEEKLY",
        _ => "DAILY",
    };
    let name =
        |day| WEEKDAYS.iter().find(|(_, known)| *known == day).map(|(name, _)| *name).unwrap_or_default();
    let mut text = format!("FREQ={frequency};INTERVAL={};WKST={}", parts.interval, name(parts.week_start));
    let mut add = |name: &str, list: Vec<String>| {
        if !list.is_empty() {
            text.push_str(&format!(";{name}={}", list.join(",")));
        }
    };
    let signed = |list: &[i32]| list.iter().map(ToString::to_string).collect();
    let unsigned = |list: &[u32]| list.iter().map(ToString::to_string).collect();
    add("COUNT", parts.count.iter().map(ToString::to_string).collect());
    add("BYMONTH", unsigned(&parts.months));
    add("BYYEARDAY", signed(&parts.year_days));
    add("BYMONTHDAY", signed(&parts.month_days));
    let day = |(ordinal, day): &(i32, chrono::Weekday)| match ordinal {
        0 => name(*day).to_owned(),
        _ => format!("{ordinal}{}", name(*day)),
    };
    add("BYDAY", parts.days.iter().map(day).collect());
    add("BYHOUR", unsigned(&parts.hours));
    add("BYMINUTE", unsigned(&parts.minutes));
    add("BYSECOND", unsigned(&parts.seconds));
    add("BYSETPOS", signed(&parts.positions));
    text
}

fn floating(local: NaiveDateTime) -> DateTime<Tz> {
    local.and_utc().with_timezone(&Tz::UTC)
}

/// The first `limit` times in `range` of the rule that begins at `start`; none if the crate can't tell.
pub fn times(
    parts: &Parts,
    start: NaiveDateTime,
    range: &Range<NaiveDateTime>,
    limit: usize,
) -> Option<Vec<NaiveDateTime>> {
    let rule = can(parts).then(|| text(parts).parse::<RRule<Unvalidated>>())?;
    let rule = rule.and_then(|rule| rule.validate(floating(start))).ok()?;
    let set = RRuleSet::new(floating(start)).rrule(rule).limit();
    let all = set.into_iter().map(|at| at.naive_utc());
    Some(all.skip_while(|at| *at < range.start).take_while(|at| *at < range.end).take(limit).collect())
}
