//! Who is free at which slot, counted for all slots at once.
//!
//! Each attendee's free time is turned into ranges of slot numbers, and only the ends of those ranges are written
//! down; one pass over the slots then adds them up. So the work grows with the number of free ranges, not with
//! attendees × slots, and no order of attendees or answers can be seen in the result.

use std::collections::HashMap;
use std::time::Duration;

use super::LiveHold;
use crate::core::availability::{Answer, tidy, worse};
use crate::core::ids::ParticipantId;
use crate::core::model::{FreeTime, MeetingSpec, Objective, Preference, Role};
use crate::core::time::{Instant, TimeRange};

/// Finds slots by time: a coarse table leads near the slot, a few steps to it. Works in nanoseconds since the first
/// start, which are exact over 292 years and saturate beyond.
pub(super) struct SlotIndex {
    base: Instant,
    starts: Vec<i64>,
    length: i64,
    before: i64,
    after: i64,
    shift: u32,
    table: Vec<u32>,
}

impl SlotIndex {
    /// Over slots of equal length, sorted by start.
    pub(super) fn new(spec: &MeetingSpec, slots: &[TimeRange]) -> Self {
        let nanos = |length: Duration| i64::try_from(length.as_nanos()).unwrap_or(i64::MAX);
        let mut index = Self {
            base: slots.first().map(|slot| slot.start).unwrap_or_default(),
            starts: Vec::new(),
            length: slots.first().map(|slot| nanos(slot.length())).unwrap_or_default(),
            before: nanos(spec.buffer_before),
            after: nanos(spec.buffer_after),
            shift: 0,
            table: Vec::new(),
        };
        index.starts = slots.iter().map(|slot| index.nanos(slot.start)).collect();
        if let Some(&last) = index.starts.last() {
            // Buckets are powers of two, about as long as a step, and at most about eight for each slot.
            let bucket = (last / (4 * slots.len() as i64)).max(nanos(spec.window.step) / 2).max(1);
            index.shift = bucket.ilog2();
            let mut slot = 0;
            for bucket in 0..=last >> index.shift {
                while index.starts[slot] < bucket << index.shift {
                    slot += 1;
                }
                index.table.push(slot as u32);
            }
        }
        index
    }

    fn nanos(&self, instant: Instant) -> i64 {
        (instant.timestamp() - self.base.timestamp())
            .saturating_mul(1_000_000_000)
            .saturating_add(instant.timestamp_subsec_nanos().into())
            .saturating_sub(self.base.timestamp_subsec_nanos().into())
    }

    /// The first slot that starts at that time or later.
    fn first_from(&self, nanos: i64) -> usize {
        if nanos <= 0 {
            return 0;
        }
        let Some(&near) = self.table.get((nanos >> self.shift) as usize) else { return self.starts.len() };
        let mut slot = near as usize;
        while self.starts.get(slot).is_some_and(|start| *start < nanos) {
            slot += 1;
        }
        slot
    }

    /// The slots that, with their buffers, lie within the range.
    fn within(&self, range: &TimeRange) -> (usize, usize) {
        let from = self.first_from(self.nanos(range.start).saturating_add(self.before));
        let last = self.nanos(range.end).saturating_sub(self.after).saturating_sub(self.length);
        (from, self.first_from(last.saturating_add(1)).max(from))
    }

    /// The slots that, with their buffers, overlap the range.
    pub(super) fn touching(&self, range: &TimeRange) -> (usize, usize) {
        if range.is_empty() {
            return (0, 0);
        }
        let last_before = self.nanos(range.start).saturating_sub(self.after).saturating_sub(self.length);
        let from = self.first_from(last_before.saturating_add(1));
        (from, self.first_from(self.nanos(range.end).saturating_add(self.before)).max(from))
    }

    /// Start and end of a slot with its buffers.
    fn blocked(&self, slot: usize) -> (i64, i64) {
        let start = self.starts[slot];
        (start.saturating_sub(self.before), start.saturating_add(self.length).saturating_add(self.after))
    }
}

/// Slots `from..to`, and how welcome they are to one attendee.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: usize,
    to: usize,
    preference: Preference,
    cost: i32,
}

/// What the attendees of one slot add up to.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Sum {
    /// REQUIRED who are free.
    pub(super) required: i32,
    /// INVITED who are free.
    pub(super) invited: i32,
    /// OPTIONAL who are free.
    pub(super) optional: i32,
    /// The numbers, within the spec, of the REQUIRED who are free, added up: tells who the only missing one is.
    pub(super) required_numbers: i32,
    /// Counted as free though they answered busy, for the hold of a meeting of lower rank.
    pub(super) uncertain: i32,
}

/// What a slot is worth to its attendees.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Worth {
    /// Summed.
    pub(super) cost: i64,
    /// For whom it is IF_NEEDED.
    pub(super) if_needed: i32,
    /// For whom it is PREFERRED.
    pub(super) preferred: i32,
}

impl Sum {
    /// REQUIRED and INVITED.
    pub(super) fn quorum(&self) -> i32 {
        self.required + self.invited
    }

    /// All.
    pub(super) fn attending(&self) -> i32 {
        self.quorum() + self.optional
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.required += other.required;
        self.invited += other.invited;
        self.optional += other.optional;
        self.required_numbers += other.required_numbers;
        self.uncertain += other.uncertain;
    }

    fn negated(self) -> Self {
        Self {
            required: -self.required,
            invited: -self.invited,
            optional: -self.optional,
            required_numbers: -self.required_numbers,
            uncertain: -self.uncertain,
        }
    }
}

impl Worth {
    pub(super) fn add(&mut self, other: &Self) {
        self.cost += other.cost;
        self.if_needed += other.if_needed;
        self.preferred += other.preferred;
    }

    fn of(span: &Span) -> Self {
        Self {
            cost: span.cost.into(),
            if_needed: (span.preference == Preference::IfNeeded).into(),
            preferred: (span.preference == Preference::Preferred).into(),
        }
    }

    fn negated(self) -> Self {
        Self { cost: -self.cost, if_needed: -self.if_needed, preferred: -self.preferred }
    }
}

/// Sums by slot, as differences from the slot before until `settle`.
pub(super) struct Tally {
    /// By slot.
    pub(super) sums: Vec<Sum>,
    /// By slot; empty unless the objective asks for it.
    pub(super) worth: Vec<Worth>,
}

impl Tally {
    fn new(slots: usize, with_worth: bool) -> Self {
        Self {
            sums: vec![Sum::default(); slots + 1],
            worth: if with_worth { vec![Worth::default(); slots + 1] } else { Vec::new() },
        }
    }

    fn count(&mut self, spans: &[Span], sum: Sum) {
        for span in spans.iter().filter(|span| span.from < span.to) {
            self.sums[span.from].add(&sum);
            self.sums[span.to].add(&sum.negated());
            if !self.worth.is_empty() {
                self.worth[span.from].add(&Worth::of(span));
                self.worth[span.to].add(&Worth::of(span).negated());
            }
        }
    }

    fn settle(&mut self) {
        let mut sum = Sum::default();
        for slot in &mut self.sums {
            sum.add(slot);
            *slot = sum;
        }
        let mut worth = Worth::default();
        for slot in &mut self.worth {
            worth.add(slot);
            *slot = worth;
        }
        self.sums.pop();
        self.worth.pop();
    }
}

/// The sums of all slots.
pub(super) struct Totals {
    /// Who can be had now.
    pub(super) now: Tally,
    /// Who might be had besides, once the live holds that outrank us are gone; none if there are no such holds.
    pub(super) held: Option<Tally>,
    /// By attendee, whether there is a slot at which they can be had, now or then.
    pub(super) somewhere: Vec<bool>,
}

/// Live holds by participant.
pub(super) fn by_participant(live: &[LiveHold]) -> HashMap<&ParticipantId, Vec<&LiveHold>> {
    let mut holds: HashMap<&ParticipantId, Vec<&LiveHold>> = HashMap::new();
    for hold in live {
        holds.entry(&hold.participant).or_default().push(hold);
    }
    holds
}

/// Adds up all attendees over all slots.
pub(super) fn totals(spec: &MeetingSpec, index: &SlotIndex, answers: &[Answer], live: &[LiveHold]) -> Totals {
    let with_worth = spec.objective == Objective::BestScore;
    let slots = index.starts.len();
    let holds = by_participant(live);
    let mut now = Tally::new(slots, with_worth);
    let mut held = live.iter().any(|hold| hold.outranks_us).then(|| Tally::new(slots, with_worth));
    let mut somewhere = vec![false; spec.attendees.len()];
    let mut spans = Vec::new();
    for (number, (attendee, answer)) in spec.attendees.iter().zip(answers).enumerate() {
        let Answer::Free(free) = answer else { continue };
        let sum = match attendee.role {
            Role::Required => Sum { required: 1, required_numbers: number as i32, ..Sum::default() },
            Role::Invited => Sum { invited: 1, ..Sum::default() },
            Role::Optional => Sum { optional: 1, ..Sum::default() },
        };
        spans.clear();
        free_spans(&tidy(free), index, with_worth, &mut spans);
        let Some(holds) = holds.get(&attendee.id) else {
            somewhere[number] = spans.iter().any(|span| span.from < span.to);
            now.count(&spans, sum);
            continue;
        };
        let blocked = |outranks: bool| {
            let ranges = holds.iter().filter(move |hold| hold.outranks_us == outranks);
            joined(ranges.map(|hold| index.touching(&hold.blocked)).collect())
        };
        let (above, below) = (blocked(true), blocked(false));
        let perhaps = without(&perhaps_free(&below), &spans);
        now.count(&without_ranges(&spans, &above), sum);
        now.count(&without_ranges(&perhaps, &above), Sum { uncertain: 1, ..sum });
        if let Some(held) = &mut held {
            held.count(&within_ranges(&spans, &above), sum);
            held.count(&without(&perhaps_free(&above), &spans), Sum { uncertain: 1, ..sum });
        }
        somewhere[number] = [&spans, &perhaps_free(&above), &perhaps]
            .iter()
            .any(|spans| spans.iter().any(|span| span.from < span.to));
    }
    now.settle();
    if let Some(held) = &mut held {
        held.settle();
    }
    Totals { now, held, somewhere }
}

/// The slots at which the attendee is free. Free time must be tidy.
fn free_spans(free: &[FreeTime], index: &SlotIndex, with_worth: bool, spans: &mut Vec<Span>) {
    for run in free.chunk_by(|a, b| a.range.end == b.range.start) {
        let joined = TimeRange { start: run[0].range.start, end: run[run.len() - 1].range.end };
        let (from, to) = index.within(&joined);
        if from == to {
            continue;
        }
        if run.len() == 1 || !with_worth {
            spans.push(Span { from, to, preference: run[0].preference, cost: run[0].cost });
        } else {
            graded_spans(run, index, from, to, spans);
        }
    }
}

/// As `free_spans`, for slots `from..to` within one run of touching ranges that differ: each slot has the worst
/// of the ranges that it spans. Two stacks make a queue that knows its worst, so each range is looked at twice.
fn graded_spans(run: &[FreeTime], index: &SlotIndex, from: usize, to: usize, spans: &mut Vec<Span>) {
    let (mut first, mut next) = (0, 0);
    // The worst of each range in front and all behind it in the front stack; and the worst of the back stack.
    let mut front: Vec<(Preference, i32)> = Vec::new();
    let mut back: Option<(Preference, i32)> = None;
    for slot in from..to {
        let (start, end) = index.blocked(slot);
        while next < run.len() && index.nanos(run[next].range.start) < end {
            back = Some(worse(back, &run[next]));
            next += 1;
        }
        while index.nanos(run[first].range.end) <= start {
            if front.is_empty() {
                let mut worst = None;
                for piece in run[first..next].iter().rev() {
                    worst = Some(worse(worst, piece));
                    front.extend(worst);
                }
                back = None;
            }
            front.pop();
            first += 1;
        }
        let worst = front.last().copied().into_iter().chain(back);
        let (preference, cost) = worst
            .fold((Preference::Preferred, i32::MIN), |so_far, (preference, cost)| {
                (so_far.0.max(preference), so_far.1.max(cost))
            });
        match spans.last_mut() {
            Some(last) if last.to == slot && last.preference == preference && last.cost == cost => {
                last.to += 1;
            }
            _ => spans.push(Span { from: slot, to: slot + 1, preference, cost }),
        }
    }
}

/// Sorted ranges of slots, neither overlapping nor touching.
fn joined(mut ranges: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    ranges.retain(|(from, to)| from < to);
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let joins = next.0 <= last.1;
        if joins {
            last.1 = last.1.max(next.1);
        }
        joins
    });
    ranges
}

/// Slots about which nothing is known but that the attendee may be free.
fn perhaps_free(ranges: &[(usize, usize)]) -> Vec<Span> {
    let unknown =
        |&(from, to): &(usize, usize)| Span { from, to, preference: Preference::Available, cost: 0 };
    ranges.iter().map(unknown).collect()
}

/// What of `spans` lies outside the others.
fn without(spans: &[Span], others: &[Span]) -> Vec<Span> {
    let ranges: Vec<_> = others.iter().map(|span| (span.from, span.to)).collect();
    without_ranges(spans, &joined(ranges))
}

/// What of `spans` lies outside the ranges, which are `joined`.
fn without_ranges(spans: &[Span], ranges: &[(usize, usize)]) -> Vec<Span> {
    let mut rest = Vec::with_capacity(spans.len());
    for span in spans {
        let mut from = span.from;
        let first = ranges.partition_point(|range| range.1 <= span.from);
        for range in ranges[first..].iter().take_while(|range| range.0 < span.to) {
            rest.push(Span { from, to: range.0.max(from), ..*span });
            from = range.1;
        }
        rest.push(Span { from, to: span.to.max(from), ..*span });
    }
    rest
}

/// What of `spans` lies within the ranges, which are `joined`.
fn within_ranges(spans: &[Span], ranges: &[(usize, usize)]) -> Vec<Span> {
    let mut cut = Vec::new();
    for span in spans {
        let first = ranges.partition_point(|range| range.1 <= span.from);
        for range in ranges[first..].iter().take_while(|range| range.0 < span.to) {
            cut.push(Span { from: span.from.max(range.0), to: span.to.min(range.1), ..*span });
        }
    }
    cut
}
