//! One job: what it knows, what it rests on, and the log of its attempts.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use super::*;
use crate::core::availability::Answer;
use crate::core::model::{AttemptLogEntry, Attendee, AttendeeStatus, Role};

/// All of representable time.
pub(super) const ALWAYS: TimeRange = TimeRange { start: Instant::MIN_UTC, end: Instant::MAX_UTC };

impl Live {
    /// A job that waits for its attendees to connect, until `until` at the latest.
    pub(super) fn new(
        job: Job,
        meeting: Meeting,
        stored: bool,
        tickets: Vec<Ticket>,
        deadline: Mono,
        until: Mono,
    ) -> Self {
        Self {
            job,
            group: None,
            siblings: Vec::new(),
            meeting,
            stored,
            tickets,
            cancels: Vec::new(),
            deadline,
            phase: Phase::Connecting { until },
            candidates: None,
            asked_until: 0,
            answers: Vec::new(),
            earlier: HashMap::new(),
            dead: HashSet::new(),
            refused_by: BTreeSet::new(),
            displaceable: Displaceable::default(),
            overlays: VecDeque::new(),
            queue: VecDeque::new(),
            blockers: BTreeSet::new(),
            charged: 0,
            told: BTreeSet::new(),
            inbox: Vec::new(),
        }
    }

    /// With few slots a round, what was said of the earlier ones still counts.
    pub(super) fn remember_answers(&mut self, keep: bool) {
        self.earlier.clear();
        if keep {
            for (answer, attendee) in self.answers.iter().zip(&self.meeting.spec.attendees) {
                if let Answer::Free(free) = answer {
                    self.earlier.insert(attendee.id.clone(), free.clone());
                }
            }
        }
    }

    /// The booking that the job would replace, if it changes a meeting.
    pub(super) fn replaces(&self) -> Vec<Attempt> {
        match &self.job {
            Job::Change { old, .. } => std::iter::once(&old.attempt).chain(&self.siblings).cloned().collect(),
            Job::Series(job) => job.replaces().to_vec(),
            Job::New | Job::Find { .. } => Vec::new(),
        }
    }

    /// Where the rule has this occurrence of a series, if it may be booked elsewhere: the nearest slot is the best then.
    pub(super) fn nearest_to(&self) -> Option<Instant> {
        let free = self.job == Job::New && self.meeting.named_slot.is_none();
        self.meeting.series.as_ref().filter(|_| free).map(|series| series.instant)
    }

    /// The same as a slot of an occurrence that was never booked: one of its candidates wherever its window has them begin.
    pub(super) fn place_of_the_rule(&self) -> Option<TimeRange> {
        let start = self.nearest_to().filter(|_| self.meeting.state == MeetingState::Scheduling)?;
        let (spec, window) = (&self.meeting.spec, &self.meeting.spec.window);
        let slot = TimeRange::lasting(start, spec.duration);
        let within = window.earliest.is_none_or(|earliest| earliest <= slot.start)
            && window.latest.is_none_or(|latest| slot.end <= latest);
        (within && !window.exclude.iter().any(|range| range.overlaps(&slot))).then_some(slot)
    }

    /// The answers, with everything busy that could be displaced.
    pub(super) fn as_it_stands(&self) -> std::borrow::Cow<'_, [Answer]> {
        match self.displaceable.is_empty() {
            true => (&self.answers).into(),
            false => self.displaceable.as_it_stands(&self.meeting.spec, &self.answers).into(),
        }
    }

    /// The meeting's row is still the one that this job knows.
    pub(super) fn unchanged(&self) -> Vec<Condition> {
        let id = self.meeting.id.clone();
        match (&self.job, self.stored) {
            (Job::Change { current, .. }, _) => vec![Condition::MeetingVersion(id, current.version)],
            (_, true) => vec![Condition::MeetingVersion(id, self.meeting.version)],
            (_, false) => vec![Condition::MeetingUnused(id, self.meeting.request_id.clone())],
        }
    }

    pub(super) fn log(
        &mut self,
        slot: TimeRange,
        outcome: AttemptOutcome,
        attendees: Vec<AttendeeOutcome>,
        message: String,
    ) {
        log(&mut self.meeting, slot, outcome, attendees, message);
    }
}

/// Counts an attempt, and keeps what became of it: within `limits::ATTEMPT_LOG` and `limits::ATTEMPT_LOG_OUTCOMES`.
pub(super) fn log(
    meeting: &mut Meeting,
    slot: TimeRange,
    outcome: AttemptOutcome,
    attendees: Vec<AttendeeOutcome>,
    message: String,
) {
    meeting.attempts += 1;
    if meeting.attempt_log.len() == limits::ATTEMPT_LOG {
        meeting.attempt_log.remove(0);
    }
    let number = meeting.attempts;
    meeting.attempt_log.push(AttemptLogEntry { number, slot, outcome, attendees, message });
    let mut named = 0;
    for entry in meeting.attempt_log.iter_mut().rev() {
        named += entry.attendees.len();
        if named > limits::ATTEMPT_LOG_OUTCOMES {
            entry.attendees.clear();
        }
    }
}

/// Of a meeting, ATTENDING means booked: whoever is only free at some slot of a FAILED one isn't.
pub(super) fn not_booked(outcome: &AttendeeOutcome) -> AttendeeOutcome {
    let mut outcome = outcome.clone();
    if outcome.status == AttendeeStatus::Attending {
        outcome.status = AttendeeStatus::NotAsked;
        outcome.detail = "free at some of the slots; not booked".into();
    }
    outcome
}

/// Whether enough are connected for the meeting to take place at all.
pub(super) fn reachable(spec: &MeetingSpec, answers: &[Answer]) -> bool {
    let here =
        |(a, answer): &(&Attendee, &Answer)| matches!(answer, Answer::Free(_)) && a.role != Role::Optional;
    let all = || spec.attendees.iter().zip(answers);
    let required = all().all(|(a, answer)| a.role != Role::Required || matches!(answer, Answer::Free(_)));
    !spec.attendees.is_empty() && required && all().filter(here).count() >= spec.quorum()
}
