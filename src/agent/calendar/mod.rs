//! A participant's own calendar: `.ics` in, busy time out, bookings written back as `.ics`.
//!
//! Reading is forgiving where real programs are merely sloppy (bare LF, odd folding, unknown
//! properties, broken alarms) and strict where a guess could call a busy person free: whatever
//! blocks time and cannot be read is a `CalendarError` that names file and line, and work that
//! a rule makes beyond the bounds here counts as busy or as an error, never as free.
//!
//! Sources: RFC 5545 (iCalendar), RFC 4791 section 7.10 (what blocks), RFC 7529 (RSCALE, SKIP).

mod expand;
mod free;
mod lines;
mod output;
mod read;
mod rule;
mod source;
mod tree;
mod value;
mod windows;
mod zones;

#[cfg(test)]
mod tests;

use jiff::tz::TimeZone;

use crate::core::time::TimeRange;

pub use free::{free_within, merge};
pub use output::{BookedEvent, render};
pub use source::{MAX_FILE_BYTES, OUTPUT_SUFFIX, calendar_files, load_file};
pub use zones::known_zone;

/// How the UIDs of the events end that we write ourselves.
pub const OWN_UID_SUFFIX: &str = "@quorate";
/// Steps along one rule that one query makes: occurrences, and periods without one. The time after them counts as busy.
pub const MAX_STEPS_PER_RULE: usize = 50_000;
/// Steps that one query makes altogether; more is an error.
pub const MAX_STEPS_PER_QUERY: usize = 1_000_000;
/// Steps that reading a file makes, to learn when rules begin and when counted ones end.
pub const MAX_STEPS_PER_FILE: usize = 2_000_000;
/// Recurrence rules of one event; RFC 5545 advises one.
pub const MAX_RULES_PER_EVENT: usize = 16;
/// Rules in one file that may turn out never to match; each of them costs a long look.
pub const MAX_DEAD_RULES: usize = 4;

/// A calendar that cannot be used, and where the fault is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {reason}", place(*line))]
pub struct CalendarError {
    /// The file, as the caller named it.
    pub file: String,
    /// Line of the fault, from 1; 0 if it is the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

fn place(line: usize) -> String {
    if line == 0 { String::new() } else { format!(":{line}") }
}

impl CalendarError {
    fn new(file: &str, line: usize, reason: String) -> Self {
        Self { file: file.to_owned(), line, reason }
    }
}

/// A calendar, parsed once.
#[derive(Debug)]
pub struct Calendar {
    name: String,
    display_name: Option<String>,
    zone: Option<String>,
    /// Sorted by their first occurrence.
    series: Vec<read::Series>,
}

/// Time that is not free, each list sorted, merged and clipped to the range that was asked for.
/// The lists may overlap each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Busy {
    /// Confirmed, or without a status.
    pub busy: Vec<TimeRange>,
    /// STATUS:TENTATIVE, or FBTYPE=BUSY-TENTATIVE.
    pub tentative: Vec<TimeRange>,
    /// FBTYPE=BUSY-UNAVAILABLE: no event, but not to be booked either.
    pub unavailable: Vec<TimeRange>,
}

impl Busy {
    /// All time in which nothing may be booked; tentative events count if `tentative_blocks`.
    pub fn blocked(&self, tentative_blocks: bool) -> Vec<TimeRange> {
        let mut all = [self.busy.as_slice(), &self.unavailable].concat();
        if tentative_blocks {
            all.extend_from_slice(&self.tentative);
        }
        merge(all)
    }
}

impl Calendar {
    /// Reads iCalendar text; `name` is how errors call it. Components that we wrote ourselves
    /// (UID ends with [`OWN_UID_SUFFIX`]) are left out.
    ///
    /// # Errors
    /// `text` is no iCalendar, is cut short, or has an event that blocks time and cannot be
    /// read: no DTSTART, an unreadable date, duration or rule, an unknown time zone.
    pub fn parse(name: &str, text: &str) -> Result<Self, CalendarError> {
        Self::read(name, text, false)
    }

    /// As [`Calendar::parse`], with the components that we wrote ourselves.
    ///
    /// # Errors
    /// As [`Calendar::parse`].
    pub fn parse_with_own(name: &str, text: &str) -> Result<Self, CalendarError> {
        Self::read(name, text, true)
    }

    fn read(name: &str, text: &str, keep_own: bool) -> Result<Self, CalendarError> {
        let roots = tree::read(name, text)?;
        let timezones = roots.iter().flat_map(|root| &root.children);
        let mut zones = zones::ZoneBook::new(timezones.filter(|child| child.is("VTIMEZONE")));
        let property = |property| roots.iter().find_map(|root| root.first(property));
        let display_name = property("X-WR-CALNAME");
        let named = property("X-WR-TIMEZONE").map(|zone| zone.value.as_str());
        let iana = |id| known_zone(id).and_then(|zone| zone.iana_name().map(str::to_owned));
        let zone = named.and_then(iana).or_else(|| zones.only_id().and_then(iana));
        let series = read::series(&roots, &mut zones, keep_own)
            .map_err(|(line, reason)| CalendarError::new(name, line, reason))?;
        let display_name = display_name.map(|name| name.value.clone());
        Ok(Self { name: name.to_owned(), display_name, zone, series })
    }

    /// The IANA zone that the calendar is kept in: its X-WR-TIMEZONE, or else its VTIMEZONE if it
    /// has just one. `None` if it names none that we know.
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// The calendar's title (X-WR-CALNAME), as written.
    pub fn display_name(&self) -> Option<&str> {
        self.display_name.as_deref()
    }

    /// What is not free in `range`. Floating times and all-day events are read in `zone`, the
    /// participant's.
    ///
    /// # Errors
    /// The recurring events take more than [`MAX_STEPS_PER_QUERY`] steps.
    pub fn busy(&self, range: TimeRange, zone: &TimeZone) -> Result<Busy, CalendarError> {
        let steps = rule::Steps::new(MAX_STEPS_PER_QUERY);
        let mut query = expand::Query { range, home: zone, steps, found: Busy::default() };
        for series in &self.series {
            query.add(series).map_err(|expand::TooMuchWork| {
                let line = series.masters.first().map_or(0, |event| event.line);
                let reason = format!("recurs too often: more than {MAX_STEPS_PER_QUERY} steps");
                CalendarError::new(&self.name, line, reason)
            })?;
        }
        let Busy { busy, tentative, unavailable } = query.found;
        let (busy, tentative) = (merge(busy), merge(tentative));
        Ok(Busy { busy, tentative, unavailable: merge(unavailable) })
    }
}
