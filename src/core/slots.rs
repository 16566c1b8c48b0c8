//! Candidate slots: where a meeting may lie, before anybody is asked.

use std::time::Duration;

use jiff::civil;
use jiff::tz::TimeZone;

use super::limits;
use super::model::{MeetingSpec, Window, WorkingHours};
use super::time::{self, Instant, TimeRange};
use super::zones::{self, UnknownZone};

/// Why a window has no list of candidates.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SlotError {
    /// More than `limits::CANDIDATES`.
    #[error("the window holds more than {limit} candidate slots: narrow it, or widen its step")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// From `earliest` to `latest` it is longer than `limits::WINDOW_MAX`: one of them was left open.
    #[error("the window lasts more than the {max} days that are looked through: name both of its bounds")]
    TooLong {
        /// The limit, in days.
        max: u64,
    },
    /// A zone that the window or its working hours name.
    #[error(transparent)]
    UnknownZone(#[from] UnknownZone),
    /// The window lacks a bound: `resolve_window` was not called.
    #[error("the window has no {0}")]
    Unresolved(&'static str),
}

/// Fills in what the request left open (API.md, `window`): `earliest` is now, `latest` is
/// `limits::WINDOW_DEFAULT` after it, and the zone is the organizer's, else UTC. Returns the zone's name as the
/// IANA database spells it. Fails if that zone, or the one of the working hours, is unknown; the window is then
/// as it was.
pub fn resolve_window(
    window: &mut Window,
    organizer_zone: Option<&str>,
    now: Instant,
) -> Result<String, UnknownZone> {
    let name = window.time_zone.as_deref().or(organizer_zone).unwrap_or("UTC");
    let name = zones::zone_name(&zones::zone(name)?).to_owned();
    if let WorkingHours::Weekly { time_zone: Some(hours), .. } = &window.working_hours {
        zones::zone(hours)?;
    }
    let earliest = *window.earliest.get_or_insert(now);
    window.latest.get_or_insert_with(|| time::add(earliest, limits::WINDOW_DEFAULT));
    window.time_zone = Some(name.clone());
    Ok(name)
}

/// All slots at which the meeting may lie, sorted, each once.
///
/// Starts lie k × step after local midnight on the wall clock of the window's zone: a time that the clock skips
/// gives no slot, one that it shows twice gives the first. Each slot lies within `[earliest, latest]` and the
/// working hours, and overlaps no exclusion. The window must be resolved.
pub fn candidates(spec: &MeetingSpec) -> Result<Vec<TimeRange>, SlotError> {
    let window = &spec.window;
    let earliest = window.earliest.ok_or(SlotError::Unresolved("earliest"))?;
    let latest = window.latest.ok_or(SlotError::Unresolved("latest"))?;
    let zone = zones::zone(window.time_zone.as_deref().ok_or(SlotError::Unresolved("time zone"))?)?;
    let mut slots = Vec::new();
    if time::add(earliest, spec.duration) > latest {
        return Ok(slots);
    }
    if TimeRange::new(earliest, latest).length() > limits::WINDOW_MAX {
        return Err(SlotError::TooLong { max: limits::WINDOW_MAX.as_secs() / (24 * 60 * 60) });
    }
    let mut allowed = Allowed::new(window, earliest, latest, &zone)?;
    let (mut day, last_day) = days_around(earliest, latest, &zone);
    let mut starts = Vec::new();
    while day <= last_day {
        starts.clear();
        starts_of_day(day, &zone, window.step, &mut starts);
        for &start in &starts {
            let slot = TimeRange::lasting(start, spec.duration);
            let in_order = slots.last().is_none_or(|last: &TimeRange| last.start < start);
            if start >= earliest && slot.end <= latest && in_order && allowed.admits(&slot) {
                if slots.len() == limits::CANDIDATES {
                    return Err(SlotError::TooMany { limit: limits::CANDIDATES });
                }
                slots.push(slot);
            }
        }
        let Ok(next) = day.tomorrow() else { break };
        day = next;
    }
    Ok(slots)
}

/// The local days between two instants, and one more on either side: where clocks go back over midnight, a day begins
/// before the one before it has ended.
fn days_around(earliest: Instant, latest: Instant, zone: &TimeZone) -> (civil::Date, civil::Date) {
    let (first, last) = (zones::to_civil(earliest, zone).date(), zones::to_civil(latest, zone).date());
    (first.yesterday().unwrap_or(first), last.tomorrow().unwrap_or(last))
}

/// The starts of one local day, in order.
fn starts_of_day(day: civil::Date, zone: &TimeZone, step: Duration, starts: &mut Vec<Instant>) {
    const DAY: i64 = 24 * 60 * 60;
    let step = step.max(limits::STEP_MIN).as_secs() as i64;
    let midnight = day.at(0, 0, 0, 0);
    let Ok(tomorrow) = day.tomorrow() else { return };
    let end = zones::start_of_day(tomorrow, zone);
    // On nearly all days the clock runs evenly; only on the others each time has to be looked up.
    if let Some(start) = zones::first_showing(midnight, zone)
        && (end - start).num_seconds() == DAY
        && zone
            .following(zones::to_jiff(start))
            .next()
            .is_none_or(|change| change.timestamp() >= zones::to_jiff(end))
    {
        let seconds = (0..DAY).step_by(step as usize);
        starts.extend(seconds.map(|second| start + chrono::Duration::seconds(second)));
        return;
    }
    for second in (0..DAY).step_by(step as usize) {
        let wall = day.at((second / 3600) as i8, (second / 60 % 60) as i8, (second % 60) as i8, 0);
        starts.extend(zones::first_showing(wall, zone));
    }
}

/// What working hours and exclusions leave. Slots have to come in the order of their starts.
struct Allowed {
    /// None: any time.
    hours: Option<Vec<TimeRange>>,
    next_hours: usize,
    exclude: Vec<TimeRange>,
    next_exclude: usize,
}

impl Allowed {
    fn new(
        window: &Window,
        earliest: Instant,
        latest: Instant,
        zone: &TimeZone,
    ) -> Result<Self, UnknownZone> {
        let hours = match &window.working_hours {
            WorkingHours::Unrestricted => None,
            WorkingHours::Weekly { days, start_minute, end_minute, time_zone } => {
                let own = time_zone.as_deref().map(zones::zone).transpose()?;
                let minutes = (*start_minute, *end_minute);
                Some(hours_between(days, minutes, own.as_ref().unwrap_or(zone), earliest, latest))
            }
        };
        Ok(Self { hours, next_hours: 0, exclude: merged(window.exclude.clone()), next_exclude: 0 })
    }

    fn admits(&mut self, slot: &TimeRange) -> bool {
        if let Some(hours) = &self.hours {
            while hours.get(self.next_hours).is_some_and(|range| range.end <= slot.start) {
                self.next_hours += 1;
            }
            if !hours.get(self.next_hours).is_some_and(|range| range.contains(slot)) {
                return false;
            }
        }
        while self.exclude.get(self.next_exclude).is_some_and(|range| range.end <= slot.start) {
            self.next_exclude += 1;
        }
        !self.exclude.get(self.next_exclude).is_some_and(|range| range.overlaps(slot))
    }
}

/// The working hours of each day from `earliest` to `latest` as instants. Hours up to 24:00 join those of the
/// next day from 00:00.
fn hours_between(
    days: &[bool; 7],
    (start_minute, end_minute): (u16, u16),
    zone: &TimeZone,
    earliest: Instant,
    latest: Instant,
) -> Vec<TimeRange> {
    let mut ranges = Vec::new();
    let (mut day, last_day) = days_around(earliest, latest, zone);
    while day <= last_day {
        if days[day.weekday().to_monday_zero_offset() as usize] {
            ranges.push(TimeRange::new(
                minute_of_day(day, start_minute, zone),
                minute_of_day(day, end_minute, zone),
            ));
        }
        let Ok(next) = day.tomorrow() else { break };
        day = next;
    }
    merged(ranges)
}

/// When the wall clock first reaches that minute of the day; 1440 is the next midnight.
fn minute_of_day(day: civil::Date, minute: u16, zone: &TimeZone) -> Instant {
    if minute >= 24 * 60 {
        return zones::start_of_day(day.tomorrow().unwrap_or(day), zone);
    }
    zones::first_reaching(day.at((minute / 60) as i8, (minute % 60) as i8, 0, 0), zone)
}

/// The same instants as sorted ranges that neither overlap nor touch; empty ranges are dropped.
pub fn merged(mut ranges: Vec<TimeRange>) -> Vec<TimeRange> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let joins = next.start <= last.end;
        if joins {
            last.end = last.end.max(next.end);
        }
        joins
    });
    ranges
}

/// The candidates as windows of an availability query: each run of starts exactly one step apart gives one
/// window, from the first slot's buffer before to the last slot's buffer after. `asked_slots` is the way back.
pub fn query_windows(spec: &MeetingSpec, candidates: &[TimeRange]) -> Vec<TimeRange> {
    candidates
        .chunk_by(|a, b| time::add(a.start, spec.window.step) == b.start)
        .map(|run| TimeRange {
            start: time::sub(run[0].start, spec.buffer_before),
            end: time::add(run[run.len() - 1].end, spec.buffer_after),
        })
        .collect()
}

/// The slots, without buffers, that the windows of a query ask about: starts lie at the window's start plus
/// `buffer_before` plus k × `step`, as long as slot and buffers end within the window (AvailabilityQuery.windows).
/// In the order of the windows; a step of zero asks for one slot a window.
pub fn asked_slots(
    windows: &[TimeRange],
    duration: Duration,
    buffer_before: Duration,
    buffer_after: Duration,
    step: Duration,
) -> Vec<TimeRange> {
    asked(windows, duration, buffer_before, buffer_after, step).collect()
}

/// As `asked_slots`, one by one.
pub(super) fn asked(
    windows: &[TimeRange],
    duration: Duration,
    buffer_before: Duration,
    buffer_after: Duration,
    step: Duration,
) -> impl Iterator<Item = TimeRange> {
    windows.iter().flat_map(move |window| {
        let first = TimeRange::lasting(time::add(window.start, buffer_before), duration);
        std::iter::successors(Some(first), move |last| {
            let next = TimeRange::lasting(time::add(last.start, step), duration);
            (next.start > last.start).then_some(next)
        })
        .take_while(move |slot| time::add(slot.end, buffer_after) <= window.end)
    })
}
