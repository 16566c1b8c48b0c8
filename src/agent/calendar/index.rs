//! Finding the events of a time without looking at all of them, and keeping what was worked out.
//!
//! A calendar does not change once it is read: a file that changes is read anew. So busy time is worked out for whole
//! chunks of four weeks, once for each participant's zone, and a query joins the chunks that it touches. What happens once
//! is worked out when the calendar is read, unless it depends on the participant's zone.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Utc};
use jiff::tz::TimeZone;

use super::Busy;
use super::class::Class;
use super::expand::{Span, Start};
use super::series::{Event, Series};
use super::value::Length;
use super::zones::Zone;
use crate::core::time::TimeRange;

/// Events that last longer, or recur over more months, are looked at by every query.
const MONTHS: i32 = 12;
/// The length of a chunk, in seconds.
const CHUNK: i64 = 28 * 86_400;
/// A longer range is worked out on its own, in chunks of that length.
const MOST_CHUNKS: i64 = 15;
/// So many chunks are kept; when there are more, the one that was not used for longest goes, and those that were worked out
/// ahead go last.
const KEPT_CHUNKS: usize = 64;

/// Which series may have something to say about a month, but for those that are worked out.
#[derive(Debug, Default)]
pub(super) struct Index {
    months: HashMap<i32, Vec<usize>>,
    always: Vec<usize>,
    /// Sorted by their starts.
    once: Vec<Once>,
    /// The length of the longest of them.
    longest: TimeDelta,
}

/// What happens once, at the same time wherever the participant is.
#[derive(Debug)]
struct Once {
    time: TimeRange,
    class: Class,
}

impl Once {
    /// All of a series; none if it recurs, has exceptions, lasts longer than a chunk, or depends on the participant's zone.
    fn all(series: &Series) -> Option<Vec<Self>> {
        if !series.overrides.is_empty() {
            return None;
        }
        series.masters.iter().map(Self::of).collect()
    }

    fn of(event: &Event) -> Option<Self> {
        let floats = |zone: &Zone| matches!(zone, Zone::Floating);
        let end_floats = matches!(&event.length, Length::Until { end, .. } if floats(&end.zone));
        if !event.is_plain() || floats(&event.start.zone) || end_floats {
            return None;
        }
        // Whichever it is.
        let home = &TimeZone::UTC;
        let start = Start::of(&event.start, home);
        let end = Span::of(&event.length, &event.start, home).end(start, home, true);
        let time = TimeRange { start: start.at, end };
        (end - start.at <= TimeDelta::seconds(CHUNK)).then_some(Self { time, class: event.class })
    }
}

fn month(at: NaiveDateTime) -> i32 {
    at.year() * 12 + at.month0() as i32
}

impl Index {
    pub fn new(series: &[Series]) -> Self {
        let mut index = Self::default();
        for (at, series) in series.iter().enumerate() {
            if let Some(all) = Once::all(series) {
                index.once.extend(all);
                continue;
            }
            let last = series.last.filter(|last| *last >= series.first).map(month);
            let first = month(series.first);
            match last {
                Some(last) if last - first < MONTHS => {
                    for month in first..=last {
                        index.months.entry(month).or_default().push(at);
                    }
                }
                _ => index.always.push(at),
            }
        }
        index.once.sort_by_key(|once| once.time.start);
        index.longest =
            index.once.iter().map(|once| once.time.end - once.time.start).max().unwrap_or_default();
        index
    }

    /// Adds what of `range` is blocked by what happens once and is worked out.
    pub fn add_once(&self, range: TimeRange, found: &mut Busy) {
        let from = range.start.checked_sub_signed(self.longest).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let first = self.once.partition_point(|once| once.time.start < from);
        for once in self.once[first..].iter().take_while(|once| once.time.start < range.end) {
            found.block(once.class, range, once.time.start, once.time.end);
        }
    }

    /// The series to look at for `range`, in order.
    pub fn of(&self, range: TimeRange) -> Vec<usize> {
        let (first, last) = (month(range.start.naive_utc()), month(range.end.naive_utc()));
        let mut found = self.always.clone();
        if i64::from(last) - i64::from(first) < self.months.len() as i64 {
            found.extend((first..=last).filter_map(|month| self.months.get(&month)).flatten());
        } else {
            found.extend(self.months.values().flatten());
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// What was worked out for the participant's zone; none for a chunk that takes too much work.
#[derive(Debug, Default)]
struct Kept {
    home: Option<TimeZone>,
    /// With the number of the last use of each.
    chunks: HashMap<i64, (Chunk, u64)>,
    uses: u64,
    /// Those that are worked out ahead.
    ahead: Range<i64>,
}

/// The chunks that were worked out.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Kept>);

/// The chunks of `range`, if it is one that is answered from chunks: number and time of each.
pub(super) fn chunks(range: TimeRange) -> Option<Vec<(i64, TimeRange)>> {
    let first = range.start.timestamp().div_euclid(CHUNK);
    let last = (range.end.timestamp() - 1).max(range.start.timestamp()).div_euclid(CHUNK);
    if last - first >= MOST_CHUNKS {
        return None;
    }
    let edge = |number: i64| DateTime::<Utc>::from_timestamp(number.checked_mul(CHUNK)?, 0);
    (first..=last)
        .map(|number| Some((number, TimeRange { start: edge(number)?, end: edge(number + 1)? })))
        .collect()
}

/// What was worked out of a chunk.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// None if it takes too much work.
    pub busy: Option<Arc<Busy>>,
    /// The steps that it took.
    pub cost: usize,
}

impl Cache {
    /// A chunk, if it was worked out.
    pub fn chunk(&self, number: i64, home: &TimeZone) -> Option<Chunk> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.home.as_ref() != Some(home) {
            return None;
        }
        kept.uses += 1;
        let use_of_it = kept.uses;
        let (found, used) = kept.chunks.get_mut(&number)?;
        *used = use_of_it;
        Some(found.clone())
    }

    /// From now on these are the chunks that are kept before others.
    pub fn work_ahead(&self, range: TimeRange) {
        let numbers = chunks(range).unwrap_or_default();
        if let (Some((first, _)), Some((last, _))) = (numbers.first(), numbers.last()) {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.ahead = *first..last + 1;
        }
    }

    /// Keeps what was worked out.
    pub fn keep(&self, number: i64, home: &TimeZone, found: Chunk) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.home.as_ref() != Some(home) {
            kept.chunks.clear();
            kept.home = Some(home.clone());
        }
        if kept.chunks.len() >= KEPT_CHUNKS && !kept.chunks.contains_key(&number) {
            let oldest = kept.chunks.iter().min_by_key(|(at, (_, used))| (kept.ahead.contains(at), *used));
            if let Some(oldest) = oldest.map(|(at, _)| *at) {
                kept.chunks.remove(&oldest);
            }
        }
        kept.uses += 1;
        let use_of_it = kept.uses;
        kept.chunks.insert(number, (found, use_of_it));
    }
}

/// The part of a sorted list that lies in `range`.
pub(super) fn clipped(list: &[TimeRange], range: TimeRange) -> impl Iterator<Item = TimeRange> {
    let begun = list.partition_point(|known| known.end <= range.start);
    list[begun..].iter().map_while(move |known| known.intersection(&range))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn the_chunk_that_was_not_used_for_longest_goes_and_those_ahead_go_last() {
        let (cache, home) = (Cache::default(), TimeZone::UTC);
        let start = DateTime::<Utc>::from_timestamp(0, 0).unwrap();
        cache.work_ahead(TimeRange { start, end: start + TimeDelta::weeks(52) });
        let keep = |number| cache.keep(number, &home, Chunk { busy: None, cost: 0 });
        let has = |number| cache.chunk(number, &home).is_some();
        // The year ahead is the oldest of all.
        (0..13).for_each(keep);
        let others = 100..100 + KEPT_CHUNKS as i64 - 13;
        others.clone().for_each(keep);
        assert!(has(100));
        keep(1_000);
        // What was just used stays, and what came after it has gone.
        assert!((0..13).all(has) && has(100) && !has(101) && has(102) && has(1_000));
        // However many come, the year ahead stays, and they replace each other.
        (2_000..3_000).for_each(keep);
        assert!((0..13).all(has) && (2_949..3_000).all(has) && !has(2_948) && !others.clone().any(has));
        // Once it is over, it goes like all others.
        let end = start + TimeDelta::weeks(520);
        cache.work_ahead(TimeRange { start: end - TimeDelta::weeks(52), end });
        (3_000..4_000).for_each(keep);
        assert!(!(0..13).any(has));
    }
}
