//! Why there is no slot: a typed reason, the same in words, and what would have worked.

mod relax;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::tz::TimeZone;

use super::availability::Answer;
use super::ids::ParticipantId;
use super::model::{
    AttendeeOutcome, AttendeeStatus, CandidateCounts, Failure, FailureReason, Meeting, MeetingSpec, Role,
    WorkingHours,
};
use super::ranking::{Ranking, suits};
use super::slots;
use super::time::TimeRange;
use super::zones;
use relax::words;

/// As many names as a message lists before it says "and 7 more".
const NAMES: usize = 5;

/// Why no slot was found within the window. The ranking is that of all candidates; `refused` are those among them that
/// looked possible and were refused when they were to be held.
///
/// The reason is the first of these that applies: `WindowEmpty`, `NobodyConnected` (the spec has no attendees),
/// `RequiredUnreachable`, `RequiredBusy`, `QuorumUnreachable`, `NoCommonSlot`. Relaxations are named only if the
/// request as it is has no slot left.
pub fn explain(ranking: &Ranking<'_>, refused: &[TimeRange]) -> Failure {
    let spec = ranking.spec;
    let attendees = ranking.attendees();
    let (reason, message) = if ranking.slots.is_empty() {
        (FailureReason::WindowEmpty, empty_window(spec))
    } else if spec.attendees.is_empty() {
        (FailureReason::NobodyConnected, "no attendees were named and nobody is connected".to_owned())
    } else if let Some(found) = unreachable(spec, &attendees) {
        found
    } else if let Some(message) = required_busy(ranking, &attendees) {
        (FailureReason::RequiredBusy, message)
    } else if let Some(message) = quorum_unreachable(spec, &attendees) {
        (FailureReason::QuorumUnreachable, message)
    } else {
        (FailureReason::NoCommonSlot, no_common_slot(ranking, refused))
    };
    let relaxations = match reason {
        FailureReason::NobodyConnected => Vec::new(),
        _ => relax::within_window(ranking, refused, reason),
    };
    Failure { reason, message, counts: counts(ranking, refused), relaxations, attendees }
}

/// Why the slot that the request named can't be booked; the ranking has that slot as its only candidate. `refused_by`
/// are those who answered that they were free, and refused to hold it.
///
/// `RequiredUnreachable` and `QuorumUnreachable` where somebody is unknown, else `SlotTaken`, with who is in the way.
pub fn slot_taken(ranking: &Ranking<'_>, refused_by: &[ParticipantId]) -> Failure {
    let spec = ranking.spec;
    let attendees = ranking.slots.first().map(|slot| ranking.outcomes_at(slot)).unwrap_or_default();
    let (reason, message) = if spec.attendees.is_empty() {
        (FailureReason::NobodyConnected, "no attendees were named and nobody is connected".to_owned())
    } else if let Some(found) = unreachable(spec, &attendees) {
        found
    } else if let Some(message) = quorum_unreachable(spec, &attendees) {
        (FailureReason::QuorumUnreachable, message)
    } else {
        (FailureReason::SlotTaken, taken(ranking, &attendees, refused_by))
    };
    let refused = if refused_by.is_empty() { &[] } else { ranking.slots };
    let relaxations = relax::of_slot(ranking, refused_by);
    Failure { reason, message, counts: counts(ranking, refused), relaxations, attendees }
}

/// Gives the failure the reason that only the course of the request knows: `MaxAttempts`, `Deadline`, `SlotTaken`
/// (or any other, which is then only named). What is known of the slots stays, behind it.
pub fn with_reason(failure: &mut Failure, reason: FailureReason, meeting: &Meeting) {
    let tried = match meeting.attempts {
        0 => "no slot was tried".to_owned(),
        1 => "1 slot was tried".to_owned(),
        tried => format!("{tried} slots were tried"),
    };
    let lead = match reason {
        FailureReason::MaxAttempts => {
            format!("{tried} in vain, and no more than {} may be", meeting.options.max_attempts)
        }
        FailureReason::Deadline => format!("the deadline came, and {tried} until then"),
        FailureReason::SlotTaken => match &meeting.named_slot {
            Some(slot) => format!("{} is taken", zones::in_words(slot, &zone_of(&meeting.spec))),
            None => "the slot is taken".to_owned(),
        },
        _ => String::new(),
    };
    let separator = if lead.is_empty() || failure.message.is_empty() { "" } else { ": " };
    failure.message = format!("{lead}{separator}{}", failure.message);
    failure.reason = reason;
}

/// Names in words, at most five: "alice, bob and carol", "alice, bob, carol, dave, erin and 7 more".
pub fn names<'a>(ids: impl IntoIterator<Item = &'a ParticipantId>) -> String {
    let ids: Vec<&ParticipantId> = ids.into_iter().collect();
    let shown: Vec<&str> = ids.iter().take(NAMES).map(|id| id.as_str()).collect();
    match (shown.split_last(), ids.len().saturating_sub(NAMES)) {
        (None, _) => "nobody".to_owned(),
        (_, more @ 1..) => format!("{} and {more} more", shown.join(", ")),
        (Some((last, [])), _) => (*last).to_owned(),
        (Some((last, others)), _) => format!("{} and {last}", others.join(", ")),
    }
}

/// The ranking's counts, with the refused slots; whichever of those is lost by now for another cause counts there.
fn counts(ranking: &Ranking<'_>, refused: &[TimeRange]) -> CandidateCounts {
    let refused: BTreeSet<&TimeRange> = refused.iter().collect();
    let lost = ranking.feasible.iter().filter(|scored| refused.contains(&scored.slot));
    CandidateCounts { refused: lost.count() as u32, ..ranking.counts }
}

/// "1 slot", "12 slots".
fn some_slots(count: usize) -> String {
    if count == 1 { "1 slot".to_owned() } else { format!("{count} slots") }
}

fn empty_window(spec: &MeetingSpec) -> String {
    let length = words(spec.duration);
    let window = match (spec.window.earliest, spec.window.latest) {
        (Some(earliest), Some(latest)) => TimeRange::new(earliest, latest),
        _ => return format!("the window has no slot of {length}"),
    };
    if window.length() < spec.duration {
        return format!("the window lasts {}, the meeting {length}", words(window.length()));
    }
    let has_slots_with = |change: fn(&mut MeetingSpec)| {
        let mut other = spec.clone();
        change(&mut other);
        slots::candidates(&other).is_ok_and(|slots| !slots.is_empty())
    };
    if has_slots_with(|spec| spec.window.working_hours = WorkingHours::Unrestricted) {
        format!("no slot of {length} lies within the working hours of the window")
    } else if has_slots_with(|spec| spec.window.exclude.clear()) {
        format!("the excluded times leave no slot of {length} in the window")
    } else {
        format!("working hours, excluded times and step leave no slot of {length} in the window")
    }
}

/// REQUIRED attendees of whom nothing is known.
fn unreachable(spec: &MeetingSpec, attendees: &[AttendeeOutcome]) -> Option<(FailureReason, String)> {
    let of_required = absent(attendees, |outcome| outcome.role == Role::Required);
    if of_required.is_empty() {
        return None;
    }
    let required = spec.attendees.iter().filter(|attendee| attendee.role == Role::Required).count();
    Some((FailureReason::RequiredUnreachable, format!("of {required} required: {of_required}")))
}

/// Those among them who gave no free time, by the kind of their silence: "carol did not answer; dave declined".
fn absent(attendees: &[AttendeeOutcome], among: impl Fn(&AttendeeOutcome) -> bool) -> String {
    let mut text = String::new();
    for (status, one, many) in [
        (AttendeeStatus::Declined, "declined", "declined"),
        (AttendeeStatus::NoAnswer, "did not answer", "did not answer"),
        (AttendeeStatus::Disconnected, "is not connected", "are not connected"),
        (AttendeeStatus::NotAsked, "was not asked", "were not asked"),
    ] {
        let silent: Vec<_> = attendees
            .iter()
            .filter(|outcome| outcome.status == status && among(outcome))
            .map(|outcome| &outcome.id)
            .collect();
        if !silent.is_empty() {
            let separator = if text.is_empty() { "" } else { "; " };
            let verb = if silent.len() == 1 { one } else { many };
            // Writing to a string can't fail.
            let _ = write!(text, "{separator}{} {verb}", names(silent));
        }
    }
    text
}

fn required_busy(ranking: &Ranking<'_>, attendees: &[AttendeeOutcome]) -> Option<String> {
    let busy = attendees
        .iter()
        .filter(|outcome| (outcome.role, outcome.status) == (Role::Required, AttendeeStatus::Busy));
    let busy: Vec<_> = busy.map(|outcome| &outcome.id).collect();
    let verb = if busy.len() == 1 { "is" } else { "are" };
    let all = some_slots(ranking.slots.len());
    (!busy.is_empty()).then(|| format!("{} (required) {verb} not free at any of {all}", names(busy)))
}

fn quorum_unreachable(spec: &MeetingSpec, attendees: &[AttendeeOutcome]) -> Option<String> {
    let counted = |outcome: &AttendeeOutcome| outcome.role != Role::Optional;
    let known = |outcome: &&AttendeeOutcome| {
        counted(outcome) && matches!(outcome.status, AttendeeStatus::Attending | AttendeeStatus::Busy)
    };
    let (known, all) =
        (attendees.iter().filter(known).count(), attendees.iter().filter(|o| counted(o)).count());
    let quorum = spec.quorum();
    (known < quorum).then(|| {
        let missing = absent(attendees, counted);
        let missing = if missing.is_empty() { String::new() } else { format!(": {missing}") };
        format!("{quorum} must attend, and only {known} of {all} said when they are free{missing}")
    })
}

fn no_common_slot(ranking: &Ranking<'_>, refused: &[TimeRange]) -> String {
    let (counts, all) = (&ranking.counts, ranking.slots.len());
    let possible = ranking.feasible.len();
    let mut text = if possible == 0 {
        format!("none of {} suits {}", some_slots(all), suits(ranking.spec))
    } else {
        format!("{possible} of {} looked possible", some_slots(all))
    };
    let mut parts = Vec::new();
    if !refused.is_empty() {
        parts.push(format!("{} refused when asked to hold", refused.len()));
    }
    for (count, cause) in [
        (counts.required_busy, "a required attendee is busy"),
        (counts.required_unreachable, "a required attendee is unknown"),
        (counts.quorum_missed, "too few are free"),
        (counts.held_by_others, "held for other meetings at this moment"),
    ] {
        if count > 0 {
            parts.push(format!("{count}: {cause}"));
        }
    }
    if !parts.is_empty() {
        text.push_str("; ");
        text.push_str(&parts.join("; "));
    }
    let silent = absent(&ranking.attendees(), |outcome| outcome.role != Role::Optional);
    if !silent.is_empty() {
        text.push_str("; ");
        text.push_str(&silent);
    }
    text
}

fn taken(ranking: &Ranking<'_>, attendees: &[AttendeeOutcome], refused_by: &[ParticipantId]) -> String {
    let zone = zone_of(ranking.spec);
    let slot = ranking.slots.first().map(|slot| zones::in_words(slot, &zone)).unwrap_or_default();
    let busy = attendees
        .iter()
        .filter(|outcome| outcome.status == AttendeeStatus::Busy || refused_by.contains(&outcome.id))
        .map(|outcome| &outcome.id);
    let busy: Vec<_> = busy.collect();
    let verb = if busy.len() == 1 { "is" } else { "are" };
    let in_the_way = if busy.is_empty() { String::new() } else { format!(": {} {verb} busy", names(busy)) };
    let silent = absent(attendees, |_| true);
    let silent = if silent.is_empty() { String::new() } else { format!("; {silent}") };
    format!("{slot} does not suit {}{in_the_way}{silent}", suits(ranking.spec))
}

/// The zone of the window, for messages.
fn zone_of(spec: &MeetingSpec) -> TimeZone {
    let name = spec.window.time_zone.as_deref();
    name.and_then(|name| zones::zone(name).ok()).unwrap_or(TimeZone::UTC)
}

/// The attendees' answers without those of the given participants, who are busy instead.
fn struck(spec: &MeetingSpec, answers: &[Answer], busy: &[ParticipantId]) -> Vec<Answer> {
    let answers = spec.attendees.iter().zip(answers);
    answers
        .map(|(attendee, answer)| match answer {
            Answer::Free(_) if busy.contains(&attendee.id) => Answer::Free(Vec::new()),
            answer => answer.clone(),
        })
        .collect()
}
