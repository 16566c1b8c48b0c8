//! What the votes of an attempt amount to, and what they say of each attendee.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::core::availability::Answer;
use crate::core::message::{Hold, Refusal};
use crate::core::model::{AttendeeStatus, EventKind, Role};
use crate::core::record::AttemptState;

/// What the votes of an attempt amount to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Not yet anything.
    Open,
    /// Enough, and others may still answer.
    Enough,
    /// Enough, and all answered.
    Complete,
    /// Can't be enough any more.
    Lost,
}

impl Holding {
    pub(super) fn granted(&self) -> impl Iterator<Item = &ParticipantId> {
        self.ballots.iter().filter(|(_, ballot)| **ballot == Ballot::Yes).map(|(id, _)| id)
    }

    pub(super) fn verdict(&self) -> Verdict {
        let open = |b: &Ballot| matches!(b, Ballot::Waiting | Ballot::Pushing(_));
        let of = |id: &ParticipantId| self.ballots.get(id).unwrap_or(&Ballot::Struck);
        let count =
            |wanted: &dyn Fn(&Ballot) -> bool| self.row.counted.iter().filter(|id| wanted(of(id))).count();
        let yes = count(&|b| *b == Ballot::Yes);
        let possible = yes + count(&open);
        let minimum = self.row.minimum as usize;
        let required_gone = self.row.required.iter().any(|id| !open(of(id)) && *of(id) != Ballot::Yes);
        let nobody = self.ballots.values().all(|b| !open(b) && *b != Ballot::Yes);
        if required_gone || possible < minimum || nobody {
            return Verdict::Lost;
        }
        let required_yes = self.row.required.iter().all(|id| *of(id) == Ballot::Yes);
        let somebody = self.granted().next().is_some();
        match (required_yes && yes >= minimum && somebody, self.ballots.values().any(open)) {
            (true, false) => Verdict::Complete,
            (true, true) => Verdict::Enough,
            (false, _) => Verdict::Open,
        }
    }

    /// Lost to a live hold only if every refusal of someone needed is one.
    pub(super) fn why_lost(&self) -> (AttemptOutcome, String) {
        let refusals = || {
            self.ballots.iter().filter(|(id, b)| {
                self.row.counted.contains(id) && matches!(b, Ballot::No(_) | Ballot::Struck)
            })
        };
        let names: Vec<&str> = refusals().map(|(id, _)| id.as_str()).take(5).collect();
        let names = names.join(", ");
        if refusals().all(|(_, b)| matches!(b, Ballot::No(Refusal::Held(Some(_))))) {
            return (AttemptOutcome::HeldByOther, format!("{names}: held for another meeting"));
        }
        if refusals()
            .all(|(_, b)| matches!(b, Ballot::Struck | Ballot::No(Refusal::Held(Some(_)) | Refusal::Stale)))
        {
            return (AttemptOutcome::Aborted, format!("{names}: the promise was lost"));
        }
        (AttemptOutcome::Refused, format!("{names}: not free any more"))
    }
}

impl Live {
    /// Whether the attendee left the meeting that is to get further attendees, and need not be there: not asked again.
    pub(super) fn has_left(&self, attendee: &crate::core::model::Attendee) -> bool {
        let Job::Change { current, kind: EventKind::Updated, .. } = &self.job else { return false };
        let declined = |o: &AttendeeOutcome| o.id == attendee.id && o.status == AttendeeStatus::Declined;
        attendee.role != Role::Required && current.attendees.iter().any(declined)
    }

    /// What whoever left said then.
    fn why_left(&self, id: &ParticipantId) -> String {
        let Job::Change { current, .. } = &self.job else { return String::new() };
        current.attendees.iter().find(|o| o.id == *id).map(|o| o.detail.clone()).unwrap_or_default()
    }

    pub(super) fn old_attempt(&self) -> Option<&AttemptRow> {
        match &self.job {
            Job::Change { old, .. } => Some(old),
            Job::New | Job::Find { .. } | Job::Series(_) => None,
        }
    }

    pub(super) fn attempt_row(
        &self,
        n: AttemptNumber,
        slot: TimeRange,
        asked: Vec<ParticipantId>,
    ) -> AttemptRow {
        let spec = &self.meeting.spec;
        let with = |wanted: &dyn Fn(Role) -> bool| {
            spec.attendees.iter().filter(|a| wanted(a.role)).map(|a| a.id.clone()).collect::<Vec<_>>()
        };
        let mut required = with(&|role| role == Role::Required);
        // Who was booked stays booked when others are added: the change takes place with all of them or not at all.
        if let Job::Change { current, old, kind: EventKind::Updated } = &self.job {
            let attends = |id: &ParticipantId| {
                current.attendees.iter().any(|o| o.id == *id && o.status == AttendeeStatus::Attending)
            };
            let kept = |id: &&ParticipantId| {
                spec.attendees.iter().any(|a| a.id == **id) && !required.contains(id) && attends(id)
            };
            let kept: Vec<_> = old.commit_set.iter().filter(kept).cloned().collect();
            required.extend(kept);
        }
        AttemptRow {
            attempt: Attempt::new(self.meeting.id.clone(), n),
            state: AttemptState::Holding,
            slot,
            blocked: spec.blocked(&slot),
            asked,
            required,
            minimum: spec.quorum() as u32,
            counted: with(&|role| role != Role::Optional),
            rank: self.meeting.rank.clone(),
            displaces: self.replaces(),
            commit_set: Vec::new(),
            series: self.meeting.series.clone(),
        }
    }

    pub(super) fn hold_message(&self, row: &AttemptRow) -> SchedulerMessage {
        SchedulerMessage::Hold(Arc::new(Hold {
            attempt: row.attempt.clone(),
            slot: row.slot,
            blocked: row.blocked,
            lease: limits::LEASE,
            displaces: row.displaces.clone(),
            priority: row.rank.priority,
            title: self.meeting.spec.title.clone(),
            organizer: self.meeting.spec.organizer.clone(),
        }))
    }

    /// What became of each attendee by the votes of an attempt; those who were not asked to hold it, by their answers.
    pub(super) fn outcomes(
        &self,
        holding: &Holding,
        commit: &BTreeSet<ParticipantId>,
    ) -> Vec<AttendeeOutcome> {
        let attendees = self.meeting.spec.attendees.iter().zip(&self.answers);
        let status = |attendee: &crate::core::model::Attendee, answer: &Answer| {
            let mut detail = String::new();
            let status = match holding.ballots.get(&attendee.id) {
                Some(_) if commit.contains(&attendee.id) => AttendeeStatus::Attending,
                Some(Ballot::Yes) => AttendeeStatus::Attending,
                Some(Ballot::Waiting | Ballot::Pushing(_) | Ballot::Struck) => AttendeeStatus::NoAnswer,
                Some(Ballot::No(_)) => AttendeeStatus::Busy,
                None if self.has_left(attendee) => {
                    detail = self.why_left(&attendee.id);
                    AttendeeStatus::Declined
                }
                None => match answer {
                    Answer::Free(_) => AttendeeStatus::Busy,
                    Answer::Declined(reason) => {
                        detail.clone_from(reason);
                        AttendeeStatus::Declined
                    }
                    Answer::NoAnswer => AttendeeStatus::NoAnswer,
                    Answer::Disconnected => AttendeeStatus::Disconnected,
                    Answer::NotAsked => AttendeeStatus::NotAsked,
                },
            };
            AttendeeOutcome { detail, ..AttendeeOutcome::new(attendee, status) }
        };
        attendees.map(|(attendee, answer)| status(attendee, answer)).collect()
    }
}
