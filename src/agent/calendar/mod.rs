//! A participant's own calendar: `.ics` in, busy time out, bookings written back as `.ics`.
//!
//! Reading is forgiving where real programs are merely sloppy (bare LF, odd folding, unknown
//! properties, broken alarms) and strict where a guess could call a busy person free: whatever
//! blocks time and cannot be read is a `CalendarError` that names file and line, and work that
//! a rule makes beyond the bounds here counts as busy or as an error, never as free.
//!
//! Sources: RFC 5545 (iCalendar), RFC 4791 section 7.10 (what blocks), RFC 7529 (RSCALE, SKIP), RFC 7953 (VAVAILABILITY).

mod available;
mod class;
mod expand;
mod free;
mod index;
mod lines;
mod output;
mod problem;
mod read;
mod recurring;
mod revisions;
mod series;
mod source;
mod tree;
mod value;
mod vtimezone;
mod windows;
mod zonebook;
mod zones;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::core::recurrence::Steps;
use crate::core::time::{Instant, TimeRange};

use value::Length;

pub use free::{free_within, merge};
pub use output::{BookedEvent, render};
pub use problem::{MAX_PROBLEMS, Problem};
pub use revisions::carry_on;
pub use source::{MAX_FILE_BYTES, OUTPUT_SUFFIX, calendar_files, decode, load_file, no_calendars};
pub use zones::known_zone;

/// How the UIDs of the events end that we write ourselves.
pub const OWN_UID_SUFFIX: &str = "@quorate";
/// Steps along one rule that one query makes: occurrences, and periods without one. The time after them counts as busy.
pub const MAX_STEPS_PER_RULE: usize = 50_000;
/// Steps that one query makes altogether; more is an error.
pub const MAX_STEPS_PER_QUERY: usize = 500_000;
/// Steps along one rule for a chunk of four weeks (an occurrence every three minutes). As for a query, the time after them
/// counts as busy.
pub const MAX_STEPS_PER_RULE_IN_CHUNK: usize = 15_000;
/// Steps that working out a chunk of four weeks takes at most; one that takes more is worked out for each query alone.
pub const MAX_STEPS_PER_CHUNK: usize = 100_000;
/// Steps that reading a file makes, to learn when rules begin and when counted ones end.
pub const MAX_STEPS_PER_FILE: usize = 2_000_000;
/// Recurrence rules of one event; RFC 5545 advises one.
pub const MAX_RULES_PER_EVENT: usize = 16;
/// Dates that the RDATEs, EXDATEs and FREEBUSYs of a file may list altogether.
pub const MAX_DATES_PER_FILE: usize = 500_000;
/// How far ahead of the queries busy time is worked out.
pub const PREPARED: chrono::TimeDelta = chrono::TimeDelta::weeks(52);
/// When less than this is left of it, it is worked out again.
pub const PREPARED_AT_LEAST: chrono::TimeDelta = chrono::TimeDelta::weeks(48);
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
    series: Vec<series::Series>,
    availability: Vec<available::Availability>,
    index: index::Index,
    cache: index::Cache,
    problems: problem::Problems,
}

/// Time that is not free, each list sorted, merged and clipped to the range that was asked for.
/// The lists may overlap each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Busy {
    /// Confirmed, or without a status.
    pub busy: Vec<TimeRange>,
    /// STATUS:TENTATIVE, or FBTYPE=BUSY-TENTATIVE.
    pub tentative: Vec<TimeRange>,
    /// FBTYPE=BUSY-UNAVAILABLE, or out of office: no event, but not to be booked either.
    pub unavailable: Vec<TimeRange>,
    /// Events that can't be read may be in it ([`Calendar::problems`]).
    pub unknown: Vec<TimeRange>,
}

impl Busy {
    /// All time in which nothing may be booked, with what is not known; tentative events count if `tentative_blocks`.
    pub fn blocked(&self, tentative_blocks: bool) -> Vec<TimeRange> {
        let mut all = [self.busy.as_slice(), &self.unavailable, &self.unknown].concat();
        if tentative_blocks {
            all.extend_from_slice(&self.tentative);
        }
        merge(all)
    }
}

impl Calendar {
    /// Reads iCalendar text; `name` is how errors call it. Components that we wrote ourselves
    /// (UID ends with [`OWN_UID_SUFFIX`]) are left out. An event that blocks time and can't be read is one of the
    /// calendar's [problems](Calendar::problems).
    ///
    /// # Errors
    /// `text` is no iCalendar, is cut short, or has too much in it: nobody knows what the rest holds.
    pub fn parse(name: &str, text: &str) -> Result<Self, CalendarError> {
        Self::read(name, text, None, false)
    }

    /// As [`Calendar::parse`], read as one person's calendar, whose mail addresses are `owners`: what they declined is
    /// free, and Outlook's own busy status counts. A title (X-WR-CALNAME) that is an address is the owner's too.
    ///
    /// # Errors
    /// As [`Calendar::parse`].
    pub fn parse_of(name: &str, text: &str, owners: &[String]) -> Result<Self, CalendarError> {
        Self::read(name, text, Some(owners), false)
    }

    /// As [`Calendar::parse`], with the components that we wrote ourselves.
    ///
    /// # Errors
    /// As [`Calendar::parse`].
    pub fn parse_with_own(name: &str, text: &str) -> Result<Self, CalendarError> {
        Self::read(name, text, None, true)
    }

    fn read(
        name: &str,
        text: &str,
        owners: Option<&[String]>,
        keep_own: bool,
    ) -> Result<Self, CalendarError> {
        let roots = tree::read(name, text, owners.is_some())?;
        let mut zones = zonebook::ZoneBook::new(&roots);
        let property = |property| roots.iter().find_map(|root| root.first(property));
        let display_name = property("X-WR-CALNAME");
        let named = property("X-WR-TIMEZONE").map(|zone| zone.value.as_str());
        let iana = |id| known_zone(id).and_then(|zone| zone.iana_name().map(str::to_owned));
        let zone = named.and_then(iana).or_else(|| zones.only_id().and_then(iana));
        let title = display_name.map(|name| name.value.as_str());
        let title_address = title.filter(|title| !title.trim().contains(char::is_whitespace));
        let owners =
            owners.map(|owners| class::Owners::new(owners.iter().map(String::as_str).chain(title_address)));
        let mut problems = problem::Problems::default();
        let reader = read::Reader { file: name, owners: owners.as_ref(), keep_own, problems: &mut problems };
        let (series, availability) = reader.series(&roots, &mut zones);
        let (index, cache) = (index::Index::new(&series), index::Cache::default());
        let display_name = display_name.map(|name| name.value.clone());
        Ok(Self { name: name.to_owned(), display_name, zone, series, availability, index, cache, problems })
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

    /// What can't be read in it, in the order of the file; the first [`MAX_PROBLEMS`].
    pub fn problems(&self) -> &[Problem] {
        &self.problems.list
    }

    /// How many problems it has.
    pub fn problem_count(&self) -> usize {
        self.problems.list.len() + self.problems.more
    }

    /// Whether its problems leave any time unknown; if not, they only make the participant busier than they are.
    pub fn leaves_unknown(&self) -> bool {
        !self.problems.unknown().is_empty()
    }

    /// A problem that makes `range` unknown, if there is one.
    pub fn problem_in(&self, range: TimeRange) -> Option<&CalendarError> {
        if !self.problems.unknown().iter().any(|unknown| unknown.overlaps(&range)) {
            return None;
        }
        let within = |problem: &&Problem| problem.unknown.is_some_and(|unknown| unknown.overlaps(&range));
        let all = &self.problems.list;
        all.iter().find(within).or(all.first()).map(|problem| &problem.error)
    }

    /// What is not free in `range`. Floating times and all-day events are read in `zone`, the
    /// participant's.
    ///
    /// # Errors
    /// The recurring events take more than [`MAX_STEPS_PER_QUERY`] steps.
    pub fn busy(&self, range: TimeRange, zone: &TimeZone) -> Result<Busy, CalendarError> {
        let mut steps = Steps::new(MAX_STEPS_PER_QUERY);
        let Some(chunks) = index::chunks(range) else {
            return self.work_out(range, zone, &mut steps, MAX_STEPS_PER_RULE);
        };
        let mut all = Busy::default();
        for (number, time) in chunks {
            let Some(part) = time.intersection(&range) else { continue };
            match self.chunk(number, time, zone, &mut steps)? {
                Some(known) => all.extend(&known, part),
                None => {
                    all.extend(&self.work_out(part, zone, &mut steps, MAX_STEPS_PER_RULE_IN_CHUNK)?, part)
                }
            }
        }
        Ok(all.merged())
    }

    /// Works out the busy time of [`PREPARED`] from `now` on, so that no query waits for it; what is known of it already
    /// costs nothing. What takes too much work is told by the queries that touch it.
    pub fn prepare(&self, now: Instant, zone: &TimeZone) {
        let ahead = TimeRange { start: now, end: now.checked_add_signed(PREPARED).unwrap_or(now) };
        self.cache.work_ahead(ahead);
        self.busy(ahead, zone).ok();
    }

    /// A chunk, worked out now or before; none if it takes more than [`MAX_STEPS_PER_CHUNK`] steps. What was worked out
    /// before costs the query as much as it did then, so that an answer never depends on what was asked before.
    fn chunk(
        &self,
        number: i64,
        time: TimeRange,
        zone: &TimeZone,
        steps: &mut Steps,
    ) -> Result<Option<Arc<Busy>>, CalendarError> {
        if let Some(known) = self.cache.chunk(number, zone)
            && known.cost <= steps.left()
        {
            steps.take(known.cost);
            return Ok(known.busy);
        }
        let mut some = steps.split(MAX_STEPS_PER_CHUNK);
        let before = some.left();
        let found = self.work_out(time, zone, &mut some, MAX_STEPS_PER_RULE_IN_CHUNK);
        let cost = before - some.left();
        steps.give_back(some);
        match found {
            Err(error) if before < MAX_STEPS_PER_CHUNK => Err(error),
            found => {
                let busy = found.ok().map(Arc::new);
                self.cache.keep(number, zone, index::Chunk { busy: busy.clone(), cost });
                Ok(busy)
            }
        }
    }

    /// As [`Calendar::busy`], without what was worked out before, in so many steps.
    fn work_out(
        &self,
        range: TimeRange,
        zone: &TimeZone,
        steps: &mut Steps,
        per_rule: usize,
    ) -> Result<Busy, CalendarError> {
        let too_much = |line| {
            let reason = format!("recurs too often: more than {MAX_STEPS_PER_QUERY} steps");
            CalendarError::new(&self.name, line, reason)
        };
        let mut found = Busy::default();
        self.index.add_once(range, &mut found);
        let mut query = expand::Query { range, home: zone, steps, per_rule, found, guess: true };
        for series in self.index.of(range) {
            let series = &self.series[series];
            let line = series.masters.first().map_or(0, |event| event.line);
            query.add(series).map_err(|expand::TooMuchWork| too_much(line))?;
        }
        let mut found = query.found;
        available::apply(&self.availability, &mut found, (range, zone), steps, per_rule)
            .map_err(|expand::TooMuchWork| too_much(0))?;
        found.unknown.extend(self.problems.unknown().iter().filter_map(|time| time.intersection(&range)));
        Ok(found.merged())
    }
}

impl Busy {
    /// Adds what of another answer lies in `range`.
    fn extend(&mut self, other: &Self, range: TimeRange) {
        self.busy.extend(index::clipped(&other.busy, range));
        self.tentative.extend(index::clipped(&other.tentative, range));
        self.unavailable.extend(index::clipped(&other.unavailable, range));
        self.unknown.extend(index::clipped(&other.unknown, range));
    }

    fn merged(self) -> Self {
        let Self { busy, tentative, unavailable, unknown } = self;
        let (busy, tentative) = (merge(busy), merge(tentative));
        Self { busy, tentative, unavailable: merge(unavailable), unknown: merge(unknown) }
    }
}
