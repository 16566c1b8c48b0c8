//! Displacing booked meetings (PROTOCOL.md, "Priority, displacement, moving"): which ones may be, and which of them
//! a slot needs. A slot that can be had without displacing anybody always comes first.

use std::collections::BTreeSet;

use super::availability::{Answer, without};
use super::ids::{Attempt, ParticipantId};
use super::limits;
use super::model::{AttendeeStatus, Meeting, MeetingSpec, MeetingState, Role};
use super::record::AttemptRow;
use super::slots::merged;
use super::time::{Instant, TimeRange, add};

/// A booked meeting that may lose its slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overlaid {
    /// As it was read.
    pub meeting: Meeting,
    /// What is booked for it.
    pub row: AttemptRow,
    /// Who attends it: whose time it takes.
    pub attending: BTreeSet<ParticipantId>,
}

/// All that one request may displace, as read before its round.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Displaceable(Vec<Overlaid>);

/// Whether a meeting of `priority` may displace this one: it is booked, displaceable, of strictly lower priority,
/// starts more than `limits::DISPLACE_NOTICE` from now, and was displaced fewer than `limits::DISPLACED_MAX` times.
pub fn may_displace(priority: i32, meeting: &Meeting, now: Instant) -> bool {
    meeting.state == MeetingState::Confirmed
        && meeting.spec.displaceable
        && meeting.rank.priority < priority
        && meeting.displaced_count < limits::DISPLACED_MAX
        && meeting.slot.is_some_and(|slot| slot.start > add(now, limits::DISPLACE_NOTICE))
}

impl Displaceable {
    /// Those of the meetings found that `wanted` may displace.
    pub fn new(wanted: &Meeting, found: Vec<(Meeting, AttemptRow)>, now: Instant) -> Self {
        let may = |(meeting, _): &(Meeting, AttemptRow)| {
            meeting.id != wanted.id && may_displace(wanted.rank.priority, meeting, now)
        };
        let overlaid = |(meeting, row): (Meeting, AttemptRow)| {
            let attends = meeting.attendees.iter().filter(|o| o.status == AttendeeStatus::Attending);
            let attending = attends.map(|o| o.id.clone()).collect();
            Overlaid { meeting, row, attending }
        };
        Self(found.into_iter().filter(may).map(overlaid).collect())
    }

    /// Those of them that lie within the range or reach into it.
    pub fn about(&self, range: &TimeRange) -> Self {
        Self(self.0.iter().filter(|overlaid| overlaid.row.blocked.overlaps(range)).cloned().collect())
    }

    /// Whether there is nothing to displace.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names, for a query to disregard.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.0.iter().map(|overlaid| &overlaid.row.attempt)
    }

    /// One of them.
    pub fn get(&self, attempt: &Attempt) -> Option<&Overlaid> {
        self.0.iter().find(|overlaid| overlaid.row.attempt == *attempt)
    }

    /// The answers as they are if nothing is displaced, from answers that disregard all of these bookings.
    pub fn as_it_stands(&self, spec: &MeetingSpec, answers: &[Answer]) -> Vec<Answer> {
        let one = |(attendee, answer): (&super::model::Attendee, &Answer)| match answer {
            Answer::Free(free) => Answer::Free(without(free, &self.taken(&attendee.id))),
            other => other.clone(),
        };
        spec.attendees.iter().zip(answers).map(one).collect()
    }

    fn taken(&self, participant: &ParticipantId) -> Vec<TimeRange> {
        let theirs = self.0.iter().filter(|overlaid| overlaid.attending.contains(participant));
        merged(theirs.map(|overlaid| overlaid.row.blocked).collect())
    }

    /// How many of them lie in the way of a range, whoever attends them.
    pub fn overlapping(&self, blocked: &TimeRange) -> usize {
        self.0.iter().filter(|overlaid| overlaid.row.blocked.overlaps(blocked)).count()
    }

    /// Those of them that take the participant's time within the range.
    fn of<'a>(&'a self, participant: &'a ParticipantId, blocked: &'a TimeRange) -> BTreeSet<&'a Attempt> {
        let theirs = self.0.iter().filter(|overlaid| overlaid.attending.contains(participant));
        theirs.filter(|overlaid| overlaid.row.blocked.overlaps(blocked)).map(|o| &o.row.attempt).collect()
    }

    /// What has to be displaced so that the range suits the spec, for attendees who are free but for these
    /// bookings: all that takes a REQUIRED attendee's time, and then, attendee by attendee, the fewest that bring one
    /// more towards the quorum. Nothing is displaced for an OPTIONAL attendee. `None` if even that is not enough, or
    /// would displace more than `limits::DISPLACED_AT_ONCE`.
    pub fn plan(
        &self,
        spec: &MeetingSpec,
        blocked: &TimeRange,
        free: impl Fn(&ParticipantId) -> bool,
    ) -> Option<BTreeSet<Attempt>> {
        let mut chosen: BTreeSet<&Attempt> = BTreeSet::new();
        let mut counted: Vec<BTreeSet<&Attempt>> = Vec::new();
        for attendee in spec.attendees.iter().filter(|a| a.role != Role::Optional) {
            if !free(&attendee.id) {
                if attendee.role == Role::Required {
                    return None;
                }
                continue;
            }
            let theirs = self.of(&attendee.id, blocked);
            if attendee.role == Role::Required {
                chosen.extend(&theirs);
            }
            counted.push(theirs);
        }
        loop {
            let (have, lack): (Vec<_>, Vec<_>) = counted.iter().partition(|theirs| theirs.is_subset(&chosen));
            if have.len() >= spec.quorum() {
                break;
            }
            let next = lack.into_iter().min_by_key(|theirs| theirs.difference(&chosen).count())?;
            chosen.extend(next);
        }
        (chosen.len() <= limits::DISPLACED_AT_ONCE).then(|| chosen.into_iter().cloned().collect())
    }

    /// Whether the participant's time within the range is taken only by what is `chosen` to be displaced.
    pub fn cleared(
        &self,
        participant: &ParticipantId,
        blocked: &TimeRange,
        chosen: &BTreeSet<Attempt>,
    ) -> bool {
        self.of(participant, blocked).into_iter().all(|attempt| chosen.contains(attempt))
    }
}
