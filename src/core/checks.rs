//! Named checks of PROTOCOL.md on a single message, a single transaction or a single decision, beside those on
//! whole states in [`super::invariants`]. An observer outside the scheduler asks them at the moment it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ids::{Attempt, MeetingId, ParticipantId, SeriesId};
use super::invariants::{AgentView, StoreView, Violation, violation};
use super::message::{Query, SchedulerMessage};
use super::model::{AttemptLogEntry, AttemptOutcome, AttendeeStatus, Meeting, MeetingState};
use super::participant::{Journal, PromiseRow};
use super::record::{AttemptRow, AttemptState, DeliveryBody, Write};
use super::series::{ConflictPolicy, Series, SeriesState};
use super::time::{Mono, TimeRange, add};
use super::{availability::Disclosure, limits, slots};

/// Beyond a lease, the top-ranked attempt may take so long to be decided: the store has to answer too (L3).
pub const DECISION_SLACK: Duration = Duration::from_secs(1);

/// I8: an answer lies within the asked windows, and with `AskedSlotsOnly` it is made of asked slots with their
/// buffers and of nothing else.
pub fn answers_reveal_no_more(
    participant: &ParticipantId,
    query: &Query,
    free: &[TimeRange],
    disclosure: Disclosure,
) -> Option<Violation> {
    let windows = slots::merged(query.windows.clone());
    let outside = free.iter().find(|range| !windows.iter().any(|window| window.contains(range)));
    if let Some(range) = outside {
        let what = format!("{participant} answers {} with {range:?}, which was not asked", query.id);
        return Some(violation("I8", what));
    }
    if disclosure == Disclosure::FreeBusy {
        return None;
    }
    let more = free.iter().find(|range| !made_of_asked_slots(query, range));
    more.map(|range| {
        let what = format!("{participant} answers {} with {range:?}, more than the asked slots", query.id);
        violation("I8", what)
    })
}

/// Whether asked slots that lie within the range, with their buffers, cover all of it. Written without the code
/// that the agent answers with.
fn made_of_asked_slots(query: &Query, range: &TimeRange) -> bool {
    let length = query.buffer_before + query.duration + query.buffer_after;
    let mut inside = Vec::new();
    for window in &query.windows {
        let mut start = window.start;
        while add(start, length) <= window.end {
            let blocked = TimeRange::lasting(start, length);
            if range.contains(&blocked) {
                inside.push(blocked);
            }
            if query.step.is_zero() {
                break;
            }
            start = add(start, query.step);
        }
    }
    slots::merged(inside) == [*range]
}

/// I1 at the vote: no agent grants a new hold over a time that the scheduler has it booked for, unless the hold
/// overlays that booking or the participant left it. Whoever is READY knows its bookings.
pub fn grants_spare_bookings(
    store: &StoreView,
    agent: &AgentView,
    granted: &PromiseRow,
) -> Option<Violation> {
    let who = &agent.participant;
    let mut rows = store.bookings.values().filter(|row| row.participant == *who);
    let clash = rows.find(|row| {
        let excused = granted.displaces.contains(&row.attempt)
            || agent.withdrawn.contains(&row.attempt)
            || agent.orphaned.contains(&row.attempt);
        row.during.overlaps(&granted.booking.blocked) && row.attempt != granted.booking.attempt && !excused
    })?;
    let what = format!("{who} granted {} over its booking {}", granted.booking.attempt, clash.attempt);
    Some(violation("I1", what))
}

/// I3 at the agent: what was released is never taken up again, neither by a late hold nor by a late confirm. `journal`
/// is as it was before.
pub fn released_stays_released(
    who: &ParticipantId,
    journal: &Journal,
    promised: &PromiseRow,
) -> Option<Violation> {
    let attempt = &promised.booking.attempt;
    let released = journal.tombstones.get(&attempt.meeting).is_some_and(|n| attempt.n <= *n);
    let again = released && !journal.promises.contains_key(attempt);
    again.then(|| violation("I3", format!("{who} took up {attempt}, which it had released")))
}

/// D1 and D3: a hold is sent of an attempt that is on disk, a confirm of one that is COMMITTED there.
pub fn sent_after_disk(store: &StoreView, message: &SchedulerMessage) -> Option<Violation> {
    match message {
        SchedulerMessage::Hold(hold) if !store.attempts.contains_key(&hold.attempt) => {
            Some(violation("D1", format!("a hold of {} was sent, which is not on disk", hold.attempt)))
        }
        SchedulerMessage::Confirm { booking, .. } => {
            let state = store.attempts.get(&booking.attempt).map(|row| row.state);
            let decided = matches!(state, Some(AttemptState::Committed | AttemptState::Superseded));
            let what = || format!("a confirm of {} was sent, which is {state:?}", booking.attempt);
            (!decided).then(|| violation("D3", what()))
        }
        _ => None,
    }
}

/// D3 and D5: the transaction that decides an attempt stores a delivery for everyone who was asked: a confirm to C, a
/// release to the others.
pub fn decided_with_deliveries(row: &AttemptRow, writes: &[Write]) -> Vec<Violation> {
    let has = |participant: &ParticipantId, confirm: bool| {
        writes.iter().any(|write| match write {
            Write::Delivery(d) if d.participant == *participant && d.attempt == row.attempt => {
                matches!(d.body, DeliveryBody::Confirm { .. }) == confirm
            }
            _ => false,
        })
    };
    let lacks = row.asked.iter().filter(|p| !has(p, row.commit_set.contains(p)));
    lacks
        .map(|p| violation("D3", format!("{} is decided, and no delivery to {p} is stored", row.attempt)))
        .collect()
}

/// I4 of a series that is booked whole or not at all: the transaction that books one of its occurrences books all of them.
/// `before` has the series as they were.
pub fn series_decided_whole(before: &BTreeMap<SeriesId, Series>, writes: &[Write]) -> Vec<Violation> {
    let mut decided: BTreeMap<&SeriesId, BTreeSet<&MeetingId>> = BTreeMap::new();
    let mut rows: BTreeMap<&SeriesId, &Series> = BTreeMap::new();
    for write in writes {
        match write {
            Write::Attempt(row) if row.state == AttemptState::Committed => {
                if let Some(recurrence) = &row.series {
                    decided.entry(&recurrence.series).or_default().insert(&row.attempt.meeting);
                }
            }
            Write::Series(series) => {
                rows.insert(&series.id, series);
            }
            _ => {}
        }
    }
    let together = |id: &SeriesId| {
        before.get(id).is_some_and(|series| {
            series.state == SeriesState::Scheduling && series.policy == ConflictPolicy::FailSeries
        })
    };
    let mut found = Vec::new();
    for (id, booked) in decided.into_iter().filter(|(id, _)| together(id)) {
        let after = rows.get(id).filter(|series| series.state == SeriesState::Confirmed);
        let all = after.map(|series| series.occurrences.iter().filter_map(|o| o.meeting.as_ref()).collect());
        if all.as_ref() != Some(&booked) {
            let what =
                format!("of the series {id} {} occurrences were booked, and not the others", booked.len());
            found.push(violation("I4", what));
        }
    }
    found
}

/// I6 of a series, at rest: each of its occurrences is there once, and each of its meetings that stands belongs to one.
pub fn series_have_their_meetings(
    series: &BTreeMap<SeriesId, Series>,
    meetings: &BTreeMap<MeetingId, Meeting>,
) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut listed = BTreeSet::new();
    for series in series.values() {
        let mut named = BTreeSet::new();
        for occurrence in &series.occurrences {
            if !named.insert(occurrence.recurrence) {
                let what =
                    format!("the series {} has its occurrence of {} twice", series.id, occurrence.local);
                found.push(violation("I6", what));
            }
            listed.extend(&occurrence.meeting);
        }
    }
    let stands = |meeting: &&Meeting| {
        let known = meeting.series.as_ref().is_some_and(|recurrence| series.contains_key(&recurrence.series));
        known && !matches!(meeting.state, MeetingState::Failed | MeetingState::Cancelled)
    };
    for meeting in meetings.values().filter(stands).filter(|meeting| !listed.contains(&meeting.id)) {
        let what = format!("{} is {:?}, and is no occurrence of its series", meeting.id, meeting.state);
        found.push(violation("I6", what));
    }
    found
}

/// D3 and D1: what a caller is told of a meeting is on disk.
pub fn answered_after_disk(store: &StoreView, told: &Meeting) -> Option<Violation> {
    let version = store.meetings.get(&told.id).map(|meeting| meeting.version);
    let durable = version.is_some_and(|version| version >= told.version);
    let what = || {
        format!(
            "{} was answered {:?} in version {}, on disk is {version:?}",
            told.id, told.state, told.version
        )
    };
    (!durable).then(|| violation("D3", what()))
}

/// D4: a release is acknowledged by an agent whose journal has the promise no more.
pub fn acked_after_disk(agent: &AgentView, attempt: &Attempt) -> Option<Violation> {
    let has = agent.promises.contains_key(attempt);
    let what =
        || format!("{} acknowledged the release of {attempt}, which its journal has", agent.participant);
    has.then(|| violation("D4", what()))
}

/// L3: an attempt that others' promises still carry is not given up because one of them was lost. Judged by the
/// log entry of the attempt.
pub fn aborts_are_needed(row: &AttemptRow, entry: &AttemptLogEntry) -> Option<Violation> {
    let lost = entry.outcome == AttemptOutcome::Aborted && entry.message.contains("promise was lost");
    let yes = |id: &ParticipantId| {
        entry.attendees.iter().any(|o| o.id == *id && o.status == AttendeeStatus::Attending)
    };
    let enough = row.required.iter().all(yes)
        && row.counted.iter().filter(|id| yes(id)).count() >= row.minimum as usize;
    let somebody = row.asked.iter().any(yes);
    let what = || format!("{} was given up for a lost promise, with enough others", row.attempt);
    (lost && enough && somebody).then(|| violation("L3", what()))
}

/// L3: an attempt that was pushed away gave way to one of higher rank that was HOLDING, at the same time, for somebody whom
/// both ask. Occurrences of a series give way together: it may be in the way of any of them. `store` is as it was before.
pub fn pushed_by_higher_rank(
    store: &StoreView,
    row: &AttemptRow,
    entry: &AttemptLogEntry,
) -> Option<Violation> {
    let pushed = entry.outcome == AttemptOutcome::HeldByOther && entry.message.contains("of higher rank");
    let series = row.series.as_ref().map(|recurrence| &recurrence.series);
    let together = |sibling: &&AttemptRow| {
        let of = sibling.series.as_ref().map(|recurrence| &recurrence.series);
        sibling.state == AttemptState::Holding && series.is_some() && of == series
    };
    let in_the_way_of = |other: &AttemptRow, row: &AttemptRow| {
        other.asked.iter().any(|participant| row.asks_for(participant, &other.blocked))
    };
    let in_its_way = |other: &AttemptRow| {
        in_the_way_of(other, row)
            || store.attempts.values().filter(together).any(|sibling| in_the_way_of(other, sibling))
    };
    let higher = |other: &&AttemptRow| {
        other.state == AttemptState::Holding && other.rank > row.rank && in_its_way(other)
    };
    let what =
        || format!("{} was pushed away, and nothing of higher rank in its way was HOLDING", row.attempt);
    (pushed && !store.attempts.values().any(|other| higher(&other))).then(|| violation("L3", what()))
}

/// L3, once faults have stopped: the attempt of the highest rank is decided within one lease. `holding_since`
/// says since when each attempt is HOLDING, or when faults stopped if that is later.
pub fn top_rank_decides(
    store: &StoreView,
    holding_since: &BTreeMap<Attempt, Mono>,
    now: Mono,
) -> Option<Violation> {
    let holding = store.attempts.values().filter(|row| row.state == AttemptState::Holding);
    let top = holding.max_by(|a, b| a.rank.cmp(&b.rank))?;
    let since = holding_since.get(&top.attempt)?;
    let late = now.since(*since) > limits::LEASE + DECISION_SLACK;
    let what = || format!("{}, of the highest rank, is HOLDING for {:?}", top.attempt, now.since(*since));
    late.then(|| violation("L3", what()))
}
