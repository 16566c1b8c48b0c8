//! What participants answer: free time, how welcome it is, and how much of it may be shown.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::{FreeTime, Preference};
use super::slots::{asked, merged};
use super::time::{Instant, TimeRange};

/// What became of asking one participant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Free then, and busy at all other times that were asked for. As `clip` gives it.
    Free(Vec<FreeTime>),
    /// Gave no answer, for this reason.
    Declined(String),
    /// Asked, and silent until the deadline: unknown.
    NoAnswer,
    /// Not connected, or lost while asked: unknown.
    Disconnected,
    /// Not asked: unknown.
    NotAsked,
}

/// How much a participant's answers reveal (PROTOCOL.md, I8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub enum Disclosure {
    /// Only which of the asked slots are free.
    #[default]
    AskedSlotsOnly,
    /// All free time within the windows.
    FreeBusy,
}

/// Cuts an answer to the windows of its query. Returns the free time, sorted and without overlaps, and how many
/// of the given ranges lay outside in part or as a whole. Where ranges overlap, the worst preference and the
/// highest cost count.
pub fn clip(free: Vec<FreeTime>, windows: &[TimeRange]) -> (Vec<FreeTime>, usize) {
    let windows = merged(windows.to_vec());
    let window_at = |instant: Instant| windows.partition_point(|window| window.end <= instant);
    let inside =
        |range: &TimeRange| windows.get(window_at(range.start)).is_some_and(|window| window.contains(range));
    let clipped = free.iter().filter(|free| free.range.is_empty() || !inside(&free.range)).count();
    let free = tidy(&free).into_owned();
    if clipped == 0 {
        return (free, 0);
    }
    let mut cut = Vec::with_capacity(free.len());
    for piece in free {
        let from = window_at(piece.range.start);
        let parts = windows[from..].iter().map_while(|window| window.intersection(&piece.range));
        cut.extend(parts.map(|range| FreeTime { range, ..piece.clone() }));
    }
    (cut, clipped)
}

/// The free time but for what is `taken` (sorted, merged). `free` as `clip` gives it, and so is the result.
pub fn without(free: &[FreeTime], taken: &[TimeRange]) -> Vec<FreeTime> {
    let mut left = Vec::with_capacity(free.len());
    for piece in free {
        let mut start = piece.range.start;
        let first = taken.partition_point(|range| range.end <= start);
        for range in taken[first..].iter().take_while(|range| range.start < piece.range.end) {
            left.push(FreeTime { range: TimeRange::new(start, range.start), ..piece.clone() });
            start = range.end;
        }
        left.push(FreeTime { range: TimeRange::new(start, piece.range.end), ..piece.clone() });
    }
    left.retain(|piece| !piece.range.is_empty());
    left
}

/// As `clip`, and for `Disclosure::AskedSlotsOnly` only the slots that were asked for, with their buffers, are
/// kept, as far as they are free: an agent that says more than it promised is not heard (I8).
pub fn clip_to(
    free: Vec<FreeTime>,
    windows: &[TimeRange],
    duration: Duration,
    buffer_before: Duration,
    buffer_after: Duration,
    step: Duration,
    disclosure: Disclosure,
) -> (Vec<FreeTime>, usize) {
    let (free, clipped) = clip(free, windows);
    if disclosure == Disclosure::FreeBusy {
        return (free, clipped);
    }
    let shown = asked(windows, duration, buffer_before, buffer_after, step)
        .map(|slot| slot.padded(buffer_before, buffer_after))
        .filter(|blocked| fits(&free, blocked).is_some())
        .collect();
    (clip(free, &merged(shown)).0, clipped)
}

/// The agent's answer to a query, from its busy time (sorted, merged): the asked slots that are free with their
/// buffers, or all free time within the windows. Sorted, without overlaps, each AVAILABLE at cost 0.
pub fn free_answer(
    windows: &[TimeRange],
    duration: Duration,
    buffer_before: Duration,
    buffer_after: Duration,
    step: Duration,
    busy: &[TimeRange],
    disclosure: Disclosure,
) -> Vec<FreeTime> {
    let busy_from = |instant: Instant| busy.partition_point(|range| range.end <= instant);
    let free = match disclosure {
        Disclosure::AskedSlotsOnly => asked(windows, duration, buffer_before, buffer_after, step)
            .map(|slot| slot.padded(buffer_before, buffer_after))
            .filter(|blocked| {
                !busy.get(busy_from(blocked.start)).is_some_and(|range| range.overlaps(blocked))
            })
            .collect(),
        Disclosure::FreeBusy => {
            let mut free = Vec::new();
            for window in merged(windows.to_vec()) {
                let mut start = window.start;
                for range in
                    busy[busy_from(window.start)..].iter().take_while(|range| range.start < window.end)
                {
                    free.push(TimeRange::new(start, range.start));
                    start = range.end;
                }
                free.push(TimeRange::new(start, window.end));
            }
            free
        }
    };
    let available = |range| FreeTime { range, preference: Preference::Available, cost: 0 };
    merged(free).into_iter().map(available).collect()
}

/// The answers as far as they are about this range, pieces that reach beyond it whole.
pub fn about(answers: &[Answer], range: &TimeRange) -> Vec<Answer> {
    let one = |answer: &Answer| match answer {
        Answer::Free(free) => {
            let first = free.partition_point(|piece| piece.range.end <= range.start);
            let last = free.partition_point(|piece| piece.range.start < range.end);
            Answer::Free(free.get(first..last).unwrap_or_default().to_vec())
        }
        other => other.clone(),
    };
    answers.iter().map(one).collect()
}

/// Whether `blocked` lies in the free time without a hole, ranges that touch being one; and then the worst
/// preference and the highest cost of all that it spans. The free time must be as `clip` gives it.
pub fn fits(free: &[FreeTime], blocked: &TimeRange) -> Option<(Preference, i32)> {
    let first = free.partition_point(|piece| piece.range.end <= blocked.start);
    let mut reached = blocked.start;
    let mut worst: Option<(Preference, i32)> = None;
    for piece in &free[first..] {
        if piece.range.start > reached {
            return None;
        }
        worst = Some(worse(worst, piece));
        reached = piece.range.end;
        if reached >= blocked.end {
            return worst;
        }
    }
    None
}

/// The worse of both, in preference and in cost.
pub(super) fn worse(so_far: Option<(Preference, i32)>, piece: &FreeTime) -> (Preference, i32) {
    match so_far {
        None => (piece.preference, piece.cost),
        Some((preference, cost)) => (preference.max(piece.preference), cost.max(piece.cost)),
    }
}

/// The same free time sorted and without overlaps, the worst preference and highest cost where ranges overlapped.
pub(super) fn tidy(free: &[FreeTime]) -> Cow<'_, [FreeTime]> {
    let in_order = free.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start);
    if in_order && !free.iter().any(|piece| piece.range.is_empty()) {
        return Cow::Borrowed(free);
    }
    Cow::Owned(flatten(free))
}

/// Sweeps over starts and ends, with the preferences and costs that count at each moment.
fn flatten(free: &[FreeTime]) -> Vec<FreeTime> {
    let mut edges: Vec<(Instant, bool, &FreeTime)> = Vec::with_capacity(free.len() * 2);
    for piece in free.iter().filter(|piece| !piece.range.is_empty()) {
        edges.push((piece.range.start, true, piece));
        edges.push((piece.range.end, false, piece));
    }
    edges.sort_unstable_by_key(|(at, ..)| *at);
    let mut active: (BTreeMap<Preference, usize>, BTreeMap<i32, usize>) = Default::default();
    let mut flat: Vec<FreeTime> = Vec::with_capacity(free.len());
    for (index, (at, starts, piece)) in edges.iter().enumerate() {
        if *starts {
            *active.0.entry(piece.preference).or_default() += 1;
            *active.1.entry(piece.cost).or_default() += 1;
        } else {
            leave(&mut active.0, &piece.preference);
            leave(&mut active.1, &piece.cost);
        }
        let Some((until, ..)) = edges.get(index + 1) else { break };
        let range = TimeRange { start: *at, end: *until };
        let (Some((&preference, _)), Some((&cost, _))) =
            (active.0.last_key_value(), active.1.last_key_value())
        else {
            continue;
        };
        match flat.last_mut() {
            _ if range.is_empty() => {}
            Some(last)
                if last.range.end == range.start && (last.preference, last.cost) == (preference, cost) =>
            {
                last.range.end = range.end;
            }
            _ => flat.push(FreeTime { range, preference, cost }),
        }
    }
    flat
}

/// Takes one away from a counted set.
fn leave<K: Ord>(counted: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counted.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counted.remove(key);
        }
    }
}
