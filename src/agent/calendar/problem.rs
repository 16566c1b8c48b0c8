//! What can't be read in a calendar that can: where it is, and which time it may block.
//!
//! An event that can't be read takes an unknown time. How long that may be follows from what of it can be read: its
//! start, its length, whether it recurs. Nobody is called free within it.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::free::merge;
use super::tree::Component;
use super::value::{duration, local_time};
use super::{CalendarError, Length};
use crate::core::time::TimeRange;

/// So many problems of a file are kept; the others are counted.
pub const MAX_PROBLEMS: usize = 100;
/// No zone is further from UTC than this.
const ZONES: TimeDelta = TimeDelta::hours(30);

/// Something in a calendar that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File, line and reason.
    pub error: CalendarError,
    /// The time that it may block; none if it can only make the participant busier than they are.
    pub unknown: Option<TimeRange>,
}

/// The problems of a file.
#[derive(Debug, Default)]
pub(super) struct Problems {
    pub list: Vec<Problem>,
    /// Those that were not kept.
    pub more: usize,
    unknown: Vec<TimeRange>,
}

impl Problems {
    pub fn add(&mut self, error: CalendarError, unknown: Option<TimeRange>) {
        self.unknown.extend(unknown);
        if self.unknown.len() > 2 * MAX_PROBLEMS {
            // Many problems: they are merged, and if that does not help, all time between them is unknown too.
            self.unknown = merge(std::mem::take(&mut self.unknown));
            if self.unknown.len() > MAX_PROBLEMS {
                let start = self.unknown.iter().map(|range| range.start).min();
                let end = self.unknown.iter().map(|range| range.end).max();
                self.unknown =
                    start.zip(end).map(|(start, end)| TimeRange { start, end }).into_iter().collect();
            }
        }
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(Problem { error, unknown });
        } else {
            self.more += 1;
        }
    }

    /// The time that may be blocked by what can't be read.
    pub fn unknown(&self) -> &[TimeRange] {
        &self.unknown
    }
}

/// All time.
pub(super) const ALWAYS: TimeRange =
    TimeRange { start: DateTime::<Utc>::MIN_UTC, end: DateTime::<Utc>::MAX_UTC };

/// The time that a component which can't be read may block.
pub(super) fn may_block(component: &Component) -> TimeRange {
    let known = |name: &str| {
        let mut all = component.all(name);
        let first = all.next()?;
        // Two of them: nobody knows which.
        all.all(|other| other.value == first.value).then_some(first.value.as_str())
    };
    let there = |name: &str| component.first(name).is_some();
    let local = |text: &str| local_time(text).ok().map(|(local, _, is_date)| (local, is_date));
    // What has a fault in its text may have parts that nobody saw.
    let Some((start, is_date)) = known("DTSTART").and_then(local).filter(|_| component.fault.is_none())
    else {
        return ALWAYS;
    };
    if there("RDATE") {
        return ALWAYS;
    }
    let from = at(start, -ZONES);
    let onward = component
        .all("RECURRENCE-ID")
        .any(|id| id.param("RANGE").is_some_and(|range| range.eq_ignore_ascii_case("THISANDFUTURE")));
    if there("RRULE") || onward {
        return TimeRange { start: from, end: DateTime::<Utc>::MAX_UTC };
    }
    let lasts = || match known("DURATION").map(duration) {
        Some(Ok(Length::Nominal { days, seconds })) => {
            start.checked_add_signed(TimeDelta::days(days) + TimeDelta::seconds(seconds))
        }
        _ => None,
    };
    let named = || known("DTEND").and_then(local).map(|(end, _)| end);
    let end = match (there("DTEND"), there("DURATION")) {
        (true, false) => match named() {
            // The wrong way round: one of the two is wrong, and it may be all that lies between.
            Some(end) if end < start => {
                return TimeRange { start: at(end, -ZONES), end: at(start, ZONES + TimeDelta::days(1)) };
            }
            end => end,
        },
        (false, true) => lasts(),
        (false, false) if is_date => start.checked_add_signed(TimeDelta::days(1)),
        (false, false) => Some(start),
        // The later of them.
        (true, true) => named().zip(lasts()).map(|(end, after)| end.max(after)).filter(|end| *end >= start),
    };
    let end = end.map_or(DateTime::<Utc>::MAX_UTC, |end| at(end, ZONES + TimeDelta::days(1)));
    TimeRange { start: from, end }
}

fn at(local: NaiveDateTime, slack: TimeDelta) -> DateTime<Utc> {
    let edge = if slack < TimeDelta::zero() { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    local.and_utc().checked_add_signed(slack).unwrap_or(edge)
}
