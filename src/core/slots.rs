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

/// Fills in what the request left open (`Window`): `earliest` is now, `latest` is
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

/// Whether working hours and exclusions of the window allow this one slot. Its bounds don't count.
pub fn admits(spec: &MeetingSpec, slot: &TimeRange) -> bool {
    let zone = spec.window.time_zone.as_deref().unwrap_or("UTC");
    let allowed = zones::zone(zone).and_then(|zone| Allowed::new(&spec.window, slot.start, slot.end, &zone));
    allowed.is_ok_and(|mut allowed| allowed.admits(slot))
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

/// A bound of working hours that the wall clock skips on one day, because the clocks go forward over it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClockShift {
    /// The time that is skipped.
    pub wall: civil::DateTime,
    /// The zone in whose hours it is, as the IANA database spells it.
    pub zone: String,
    /// The instant that is taken instead: when the clock has gone past it.
    pub taken: Instant,
    /// What that does to the day, in words.
    pub message: String,
}

/// Where the window's working hours begin or end at a time that the clocks skip, in order. A day that does not exist, or
/// whose hours are skipped as a whole, counts once. Empty if the window is not resolved, or names an unknown zone.
pub fn clock_shifts(window: &Window) -> Vec<ClockShift> {
    let WorkingHours::Weekly { days, start_minute, end_minute, time_zone } = &window.working_hours else {
        return Vec::new();
    };
    let name = time_zone.as_ref().or(window.time_zone.as_ref());
    let Some((name, zone)) = name.and_then(|name| Some((name, zones::zone(name).ok()?))) else {
        return Vec::new();
    };
    let (Some(earliest), Some(latest)) = (window.earliest, window.latest) else { return Vec::new() };
    let mut shifts = Vec::new();
    // Only days on which clocks change can lack a time of day.
    let from = zones::to_jiff(time::sub(earliest, Duration::from_secs(1)));
    let until = zones::to_jiff(latest);
    let mut seen = None;
    for change in zone.following(from).take_while(|change| change.timestamp() < until) {
        let at = zones::from_jiff(change.timestamp());
        let before = zones::to_civil(at - chrono::Duration::seconds(1), &zone).date();
        let last = zones::to_civil(at, &zone).date();
        let mut day = before;
        while day <= last {
            let works = days[day.weekday().to_monday_zero_offset() as usize];
            if works && seen < Some(day) {
                shifts.extend(shifts_of_day(day, (*start_minute, *end_minute), name, &zone));
                seen = Some(day);
            }
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
    }
    shifts
}

/// The bounds that one day lacks. Midnight is no bound: where the clocks skip it, the day begins later.
fn shifts_of_day(day: civil::Date, (start, end): (u16, u16), name: &str, zone: &TimeZone) -> Vec<ClockShift> {
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    let skipped = |minute: u16, message: &dyn Fn(String) -> String| {
        let wall = day.at((minute / 60 % 24) as i8, (minute % 60) as i8, 0, 0);
        let lacks = !minute.is_multiple_of(24 * 60) && zones::first_showing(wall, zone).is_none();
        lacks.then(|| {
            let taken = minute_of_day(day, minute, zone);
            let shown = zones::to_civil(taken, zone);
            let shown = match shown.date() == day {
                true => shown.strftime("%H:%M").to_string(),
                false => shown.strftime("%a %Y-%m-%d %H:%M").to_string(),
            };
            ClockShift { wall, zone: name.to_owned(), taken, message: message(shown) }
        })
    };
    let date = day.strftime("%a %Y-%m-%d");
    if minute_of_day(day, start, zone) >= minute_of_day(day, end, zone) {
        let words = |_| {
            let (start, end) = (clock(start), clock(end));
            format!("{date} has no working hours in {name}: the clocks go forward over {start}-{end}")
        };
        let whole = skipped(start, &words).or_else(|| skipped(end, &words));
        return whole.into_iter().collect();
    }
    let starts = |shown| {
        format!("working hours start at {shown} on {date} in {name}: the clocks skip {}", clock(start))
    };
    let ends =
        |shown| format!("working hours end at {shown} on {date} in {name}: the clocks skip {}", clock(end));
    skipped(start, &starts).into_iter().chain(skipped(end, &ends)).collect()
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
