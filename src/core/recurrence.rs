//! Recurrence rules (RFC 5545 section 3.3.10), read, checked and expanded within bounds.
//!
//! A rule is expanded in civil time and each occurrence is then read in the zone: what recurs at 09:00 does so at 09:00
//! on every day, whatever the clocks do. Where they skip that time, the occurrence is later by the length of the gap,
//! and says so; where they show it twice, it is the first. DTSTART is an occurrence only if the rule names it.
//! The choices that RFC 5545 leaves open are in docs/time.md.

mod by_crate;
mod dated;
mod parts;
mod periods;
mod steps;

#[cfg(test)]
mod tests;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use jiff::civil;
use jiff::tz::TimeZone;

use super::time::Instant;
use super::zones;

pub use dated::Dated;
pub use parts::{MAX_RULE_BYTES, RuleFault};
pub use steps::{GaveUpAt, Steps};

use parts::{Parts, Reading, Until};

/// Steps that looking for the first occurrence of a rule makes.
pub const MAX_FIRST_STEPS: usize = 50_000;
/// Steps that [`Rule::occurrences`] makes: occurrences, and periods without one.
pub const MAX_STEPS: usize = 200_000;

/// A recurrence rule, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    parts: Parts,
}

/// Why a rule can't be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RuleError {
    /// Everything that is wrong with its text.
    #[error("the recurrence rule {}", in_words(.0))]
    Malformed(Vec<RuleFault>),
    /// It recurs within a day, but begins on a date.
    #[error("the recurrence rule is finer than a day, and its start is a date")]
    FinerThanADay,
    /// It names a time so rarely that it can't be followed.
    #[error("the recurrence rule matches too rarely to be followed")]
    TooRare,
    /// Finding the occurrences takes more than [`MAX_STEPS`] steps.
    #[error("the recurrence rule takes more than {MAX_STEPS} steps to expand")]
    TooMuchWork,
    /// The start is not in the years 1 to 9999.
    #[error("a recurrence rule can't start in the year {0}")]
    Start(i16),
    /// Of the zone to expand in.
    #[error(transparent)]
    Zone(#[from] zones::UnknownZone),
}

fn in_words(faults: &[RuleFault]) -> String {
    let words: Vec<String> = faults.iter().take(8).map(ToString::to_string).collect();
    words.join("; ")
}

/// One occurrence of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Occurrence {
    /// When, on the wall clock, as the rule has it.
    pub civil: civil::DateTime,
    /// When.
    pub instant: Instant,
    /// Whether the wall clock skips that time, so that `instant` is later by the length of the gap.
    pub shifted: bool,
}

impl Rule {
    /// Reads the value of an RRULE. Names are read in any case of letters.
    ///
    /// # Errors
    /// [`RuleError::Malformed`] with everything that is not as RFC 5545 and RFC 7529 have it.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        Ok(Self { parts: Parts::read(text, Reading::Strict)? })
    }

    /// Reads a rule as calendar programs write it. Beyond [`Rule::parse`]: blanks, empty parts and unknown X- parts
    /// are passed over; COUNT and UNTIL may both be there, and both hold; parts that RFC 5545 does not allow with this
    /// FREQ limit it; numbers in a BYDAY that can't have them are dropped; numbers of BYYEARDAY and BYWEEKNO that are
    /// out of range name no day; SKIP needs no RSCALE.
    ///
    /// # Errors
    /// [`RuleError::Malformed`] with what can't be read even so.
    pub fn parse_leniently(text: &str) -> Result<Self, RuleError> {
        Ok(Self { parts: Parts::read(text, Reading::Lenient)? })
    }

    /// The rule for a DTSTART, in floating time. `is_date`: DTSTART is a date, and the rule's times of day are ignored.
    ///
    /// # Errors
    /// The rule is finer than a day and the start is a date, or it names no time within [`MAX_FIRST_STEPS`] steps
    /// though it might name one later.
    pub fn dated(&self, start: NaiveDateTime, is_date: bool) -> Result<Dated, RuleError> {
        Dated::new(self.parts.clone(), start, is_date)
    }

    /// Whether the rule ends, by COUNT or UNTIL.
    pub fn ends(&self) -> bool {
        self.parts.count.is_some() || self.parts.until.is_some()
    }

    /// UNTIL (inclusive) of a rule whose times are those of `zone`: of a date the end of that day there, of a local time
    /// that time there. RFC 5545 (section 3.3.10) wants it in UTC where DTSTART has a zone; people write dates.
    pub fn until(&self, zone: &TimeZone) -> Option<Instant> {
        self.parts.until.and_then(|until| match until {
            Until::Date(date) => {
                let midnight = civil_time(date.and_time(NaiveTime::MIN))?;
                Some(zones::end_of_day(midnight.date(), zone))
            }
            Until::Local(local) => Some(zones::to_instant(civil_time(local)?, zone)),
            Until::Utc(utc) => Some(utc.and_utc()),
        })
    }

    /// The occurrences of the rule from `after` (inclusive) and before `until`, ascending, at most `limit`; `start` is
    /// DTSTART in the zone named `zone`. COUNT is counted from `start` on, wherever `after` is. The time that it takes
    /// does not depend on how far `after` is from `start`, unless the rule has a COUNT.
    ///
    /// # Errors
    /// The zone is unknown, the start out of range, or the rule takes more than [`MAX_STEPS`] steps.
    pub fn occurrences(
        &self,
        start: civil::DateTime,
        zone: &str,
        after: Option<Instant>,
        limit: usize,
        until: Instant,
    ) -> Result<Vec<Occurrence>, RuleError> {
        let zone = zones::zone(zone)?;
        let from = naive(start).ok_or(RuleError::Start(start.year()))?;
        let local = |at: Instant| naive(zones::to_civil(at, &zone));
        let dated = self.dated(from, false)?;
        let last = dated.until_in(|utc| local(utc.and_utc()).unwrap_or(utc));
        // Local times may be in another order than instants by the length of a gap; no gap is longer than a day.
        let slack = TimeDelta::days(2);
        let begin = after.and_then(local).and_then(|at| at.checked_sub_signed(slack)).unwrap_or(from);
        let end = local(until).and_then(|at| at.checked_add_signed(slack)).unwrap_or(NaiveDateTime::MAX);
        let mut found: Vec<Occurrence> = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let mut steps = Steps::new(MAX_STEPS);
        let ended = dated.expand(last, begin..end, &mut steps, |at| {
            let Some(occurrence) = occurrence(at, &zone) else { return false };
            let (early, late) =
                (after.is_some_and(|after| occurrence.instant < after), occurrence.instant >= until);
            let shifted = occurrence.shifted;
            if !early && !late {
                found.push(occurrence);
            }
            // A shifted one may come after the next, so one more is found than is wanted.
            (shifted || !late) && found.len() <= limit
        });
        found.sort_by_key(|occurrence| (occurrence.instant, occurrence.shifted));
        found.dedup_by_key(|occurrence| occurrence.instant);
        if ended.is_err() && found.len() < limit {
            return Err(RuleError::TooMuchWork);
        }
        found.truncate(limit);
        Ok(found)
    }
}

fn occurrence(at: NaiveDateTime, zone: &TimeZone) -> Option<Occurrence> {
    let civil = civil_time(at)?;
    let shifted = zones::first_showing(civil, zone).is_none();
    Some(Occurrence { civil, instant: zones::to_instant(civil, zone), shifted })
}

/// For chrono, without parts of seconds; none outside of the years 1 to 9999.
fn naive(at: civil::DateTime) -> Option<NaiveDateTime> {
    let (month, day) = (u32::try_from(at.month()).ok()?, u32::try_from(at.day()).ok()?);
    let part = |number: i8| u32::try_from(number).ok();
    let time = NaiveTime::from_hms_opt(part(at.hour())?, part(at.minute())?, part(at.second())?)?;
    let date = NaiveDate::from_ymd_opt(i32::from(at.year()), month, day)?;
    (date.year() > 0).then(|| date.and_time(time))
}

/// For jiff; none outside of its years.
fn civil_time(at: NaiveDateTime) -> Option<civil::DateTime> {
    civil::DateTime::new(
        i16::try_from(at.year()).ok()?,
        i8::try_from(at.month()).ok()?,
        i8::try_from(at.day()).ok()?,
        i8::try_from(at.hour()).ok()?,
        i8::try_from(at.minute()).ok()?,
        i8::try_from(at.second()).ok()?,
        0,
    )
    .ok()
}
