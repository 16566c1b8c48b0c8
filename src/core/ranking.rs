//! Which slot, and why that one: all candidates at once, from what the attendees answered.

mod tally;

use std::collections::{BTreeSet, HashMap};

use super::availability::{Answer, fits, tidy};
use super::ids::{Attempt, ParticipantId};
use super::model::{
    Attendee, AttendeeOutcome, AttendeeStatus, Candidate, CandidateCounts, MeetingSpec, Objective,
    Preference, Role,
};
use super::time::TimeRange;
use tally::{SlotIndex, Sum, Tally, Totals, Worth};

/// A range that a participant holds at this moment for the live attempt of another meeting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveHold {
    /// Who holds.
    pub participant: ParticipantId,
    /// The other meeting's slot with its buffers.
    pub blocked: TimeRange,
    /// For which attempt.
    pub attempt: Attempt,
    /// Whether that meeting goes first (PROTOCOL.md, "Words": rank). If so, its slots have to wait; if not, it
    /// will be pushed aside.
    pub outranks_us: bool,
}

/// A slot that is feasible now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scored {
    /// When.
    pub slot: TimeRange,
    /// Its place, from 0 for the best.
    pub place: usize,
    /// How many would attend, OPTIONAL included.
    pub attending: usize,
    /// How many REQUIRED and INVITED would attend.
    pub quorum: usize,
    /// How many of those who would attend answered busy, and count as free only because the hold of a meeting
    /// that ranks lower may be all that keeps them busy.
    pub uncertain: usize,
}

/// A slot that is infeasible only because of live holds that outrank us: to be tried again when they are decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deferred {
    /// When.
    pub slot: TimeRange,
    /// The attempts in the way, sorted.
    pub blockers: Vec<Attempt>,
}

/// All candidates, sorted out. Borrows what it was made from.
#[derive(Clone, Debug)]
pub struct Ranking<'a> {
    /// The best first, by the spec's objective.
    pub feasible: Vec<Scored>,
    /// By the objective too, as if the holds in the way were gone.
    pub deferred: Vec<Deferred>,
    /// What became of each candidate; `refused` is left to whoever asks for holds.
    pub counts: CandidateCounts,
    pub(super) spec: &'a MeetingSpec,
    pub(super) slots: &'a [TimeRange],
    pub(super) answers: &'a [Answer],
    pub(super) live: &'a [LiveHold],
    somewhere: Vec<bool>,
}

/// Ranks the candidates: sorted by start, all of the same length, with one answer for each attendee in the order of
/// the spec (see `round::aligned`; an attendee without an answer counts as not asked).
///
/// A slot is feasible if all REQUIRED are free and REQUIRED and INVITED who are free reach the quorum. Whoever has
/// a live hold that overlaps the slot (with its buffers) can't be had if that hold outranks us; else, if they
/// answered busy, that hold may be the reason, and they count as free. Unknown is never free.
/// The result depends neither on the order of the attendees nor on that of the answers.
pub fn rank<'a>(
    spec: &'a MeetingSpec,
    candidates: &'a [TimeRange],
    answers: &'a [Answer],
    live: &'a [LiveHold],
) -> Ranking<'a> {
    let index = SlotIndex::new(spec, candidates);
    let Totals { now, held, somewhere } = tally::totals(spec, &index, answers, live);
    let needs = Needs::new(spec, answers);
    let mut counts = CandidateCounts { considered: candidates.len() as u32, ..CandidateCounts::default() };
    let mut feasible = Vec::new();
    let mut deferred = Vec::new();
    for (slot, sum) in now.sums.iter().enumerate() {
        if needs.met(sum) {
            feasible.push(slot);
            continue;
        }
        let mut later = *sum;
        if let Some(held) = &held {
            later.add(&held.sums[slot]);
        }
        if needs.met(&later) {
            deferred.push(slot);
            counts.held_by_others += 1;
        } else if later.required < needs.required_answered {
            counts.required_busy += 1;
        } else if needs.required_answered < needs.required {
            counts.required_unreachable += 1;
        } else {
            counts.quorum_missed += 1;
        }
    }
    order(spec.objective, &mut feasible, &now, None);
    order(spec.objective, &mut deferred, &now, held.as_ref());
    let feasible = feasible.into_iter().enumerate().map(|(place, slot)| {
        let sum = &now.sums[slot];
        Scored {
            slot: candidates[slot],
            place,
            attending: sum.attending() as usize,
            quorum: sum.quorum() as usize,
            uncertain: sum.uncertain as usize,
        }
    });
    let feasible = feasible.collect();
    let deferred = with_blockers(spec, &index, answers, live, deferred, candidates);
    Ranking { feasible, deferred, counts, spec, slots: candidates, answers, live, somewhere }
}

/// How many a slot needs.
struct Needs {
    required: i32,
    required_answered: i32,
    quorum: i32,
}

impl Needs {
    fn new(spec: &MeetingSpec, answers: &[Answer]) -> Self {
        let is_required = |attendee: &Attendee| attendee.role == Role::Required;
        let answered = spec.attendees.iter().zip(answers);
        let answered = answered.filter(|(a, answer)| is_required(a) && matches!(answer, Answer::Free(_)));
        Self {
            required: spec.attendees.iter().filter(|attendee| is_required(attendee)).count() as i32,
            required_answered: answered.count() as i32,
            quorum: i32::try_from(spec.quorum()).unwrap_or(i32::MAX),
        }
    }

    fn met(&self, sum: &Sum) -> bool {
        sum.required == self.required && sum.quorum() >= self.quorum
    }
}

/// Sorts slot numbers by the objective. They come in the order of time, which stays where all else is equal.
fn order(objective: Objective, slots: &mut [usize], now: &Tally, held: Option<&Tally>) {
    let attending =
        |slot: usize| now.sums[slot].attending() + held.map_or(0, |held| held.sums[slot].attending());
    let worth = |slot: usize| {
        let mut worth: Worth = now.worth[slot];
        if let Some(held) = held {
            worth.add(&held.worth[slot]);
        }
        worth
    };
    match objective {
        Objective::Earliest => {}
        Objective::MostAttendees => slots.sort_by_key(|&slot| -attending(slot)),
        Objective::BestScore => slots.sort_by_cached_key(|&slot| {
            let worth = worth(slot);
            (worth.cost, worth.if_needed, -worth.preferred, -attending(slot))
        }),
    }
}

/// Names the attempts whose holds on REQUIRED and INVITED attendees keep each slot.
fn with_blockers(
    spec: &MeetingSpec,
    index: &SlotIndex,
    answers: &[Answer],
    live: &[LiveHold],
    slots: Vec<usize>,
    candidates: &[TimeRange],
) -> Vec<Deferred> {
    if slots.is_empty() {
        return Vec::new();
    }
    let counted = spec.attendees.iter().zip(answers);
    let counted = counted.filter(|(a, answer)| a.role != Role::Optional && matches!(answer, Answer::Free(_)));
    let counted: BTreeSet<&ParticipantId> = counted.map(|(attendee, _)| &attendee.id).collect();
    let in_the_way = live.iter().filter(|hold| hold.outranks_us && counted.contains(&hold.participant));
    // One attempt holds the same range at all of its attendees.
    let spans: BTreeSet<(&Attempt, (usize, usize))> =
        in_the_way.map(|hold| (&hold.attempt, index.touching(&hold.blocked))).collect();
    let deferred = slots.into_iter().map(|slot| {
        let mut blockers: Vec<Attempt> = spans
            .iter()
            .filter(|(_, (from, to))| (*from..*to).contains(&slot))
            .map(|(attempt, _)| (*attempt).clone())
            .collect();
        blockers.dedup();
        Deferred { slot: candidates[slot], blockers }
    });
    deferred.collect()
}

/// For each REQUIRED attendee without whom alone some slot would be feasible: their number within the spec, and the
/// earliest such slot. They become OPTIONAL: the quorum no longer counts them.
pub(super) fn released(
    spec: &MeetingSpec,
    candidates: &[TimeRange],
    answers: &[Answer],
    live: &[LiveHold],
    usable: impl Fn(&TimeRange) -> bool,
) -> Vec<(usize, TimeRange)> {
    let index = SlotIndex::new(spec, candidates);
    let totals = tally::totals(spec, &index, answers, live);
    let needs = Needs::new(spec, answers);
    let quorum = if spec.minimum_participants == 0 { needs.quorum - 1 } else { needs.quorum };
    let numbers = spec.attendees.iter().enumerate().filter(|(_, a)| a.role == Role::Required);
    let all: i32 = numbers.map(|(number, _)| number as i32).sum();
    let mut found: HashMap<usize, TimeRange> = HashMap::new();
    for (slot, sum) in candidates.iter().zip(&totals.now.sums) {
        if sum.required == needs.required - 1 && sum.quorum() >= quorum && usable(slot) {
            found.entry((all - sum.required_numbers) as usize).or_insert(*slot);
        }
    }
    found.into_iter().collect()
}

impl Ranking<'_> {
    /// The candidate with everything that the API tells of it.
    pub fn candidate(&self, scored: &Scored) -> Candidate {
        let attendees = self.outcomes_at(&scored.slot);
        let total_cost = total_cost(&attendees);
        Candidate {
            slot: scored.slot,
            score: (self.feasible.len() - scored.place.min(self.feasible.len())) as i32,
            attending: scored.attending,
            total_cost,
            reason: self.reason(scored, total_cost),
            attendees,
            displaces: Vec::new(),
        }
    }

    /// Every attendee as of that slot, in the order of the spec. The slot need not be a candidate.
    pub fn outcomes_at(&self, slot: &TimeRange) -> Vec<AttendeeOutcome> {
        outcomes_at(self.spec, self.answers, self.live, slot)
    }

    /// Every attendee over all candidates, in the order of the spec: `Attending` if free at one of them.
    pub fn attendees(&self) -> Vec<AttendeeOutcome> {
        let attendees = self.spec.attendees.iter().enumerate();
        let outcomes = attendees.map(|(number, attendee)| match self.answers.get(number) {
            Some(Answer::Free(_)) if self.somewhere[number] => {
                AttendeeOutcome::new(attendee, AttendeeStatus::Attending)
            }
            Some(Answer::Free(_)) => AttendeeOutcome::new(attendee, AttendeeStatus::Busy),
            answer => unknown(attendee, answer),
        });
        outcomes.collect()
    }

    /// Why a feasible slot stands at its place, in words.
    fn reason(&self, scored: &Scored, total_cost: i64) -> String {
        let (number, all) = (scored.place + 1, self.feasible.len());
        let suits = suits(self.spec);
        if all == 1 {
            return format!("the only slot that suits {suits}");
        }
        let present = format!("{} of {} attend", scored.attending, self.spec.attendees.len());
        match self.spec.objective {
            Objective::Earliest if number == 1 => format!("earliest of {all} slots that suit {suits}"),
            Objective::Earliest => format!("number {number} by time of {all} slots that suit {suits}"),
            Objective::MostAttendees if number == 1 => {
                format!("most attendees of {all} slots that suit {suits}: {present}")
            }
            Objective::MostAttendees => {
                format!("number {number} by attendance of {all} slots that suit {suits}: {present}")
            }
            Objective::BestScore if number == 1 => {
                format!("best score of {all} slots that suit {suits}: cost {total_cost}, {present}")
            }
            Objective::BestScore => {
                format!(
                    "number {number} by score of {all} slots that suit {suits}: cost {total_cost}, {present}"
                )
            }
        }
    }
}

/// Whom a feasible slot suits, in words: "all 3", "at least 2 of 3".
pub(super) fn suits(spec: &MeetingSpec) -> String {
    let mut counted = spec.attendees.iter().filter(|attendee| attendee.role != Role::Optional);
    let all = counted.clone().count();
    match (spec.quorum(), all) {
        (_, 1) => counted.next().map(|attendee| attendee.id.to_string()).unwrap_or_default(),
        (quorum, all) if quorum >= all => format!("all {all}"),
        (quorum, all) => format!("at least {quorum} of {all}"),
    }
}

/// The summed cost over those who attend.
fn total_cost(attendees: &[AttendeeOutcome]) -> i64 {
    let attending = attendees.iter().filter(|outcome| outcome.status == AttendeeStatus::Attending);
    attending.map(|outcome| i64::from(outcome.cost)).sum()
}

/// Every attendee as of one slot, in the order of the spec, by the rules of `rank`.
pub fn outcomes_at(
    spec: &MeetingSpec,
    answers: &[Answer],
    live: &[LiveHold],
    slot: &TimeRange,
) -> Vec<AttendeeOutcome> {
    let blocked = spec.blocked(slot);
    let mut above: BTreeSet<&ParticipantId> = BTreeSet::new();
    let mut below: BTreeSet<&ParticipantId> = BTreeSet::new();
    for hold in live.iter().filter(|hold| hold.blocked.overlaps(&blocked)) {
        if hold.outranks_us { &mut above } else { &mut below }.insert(&hold.participant);
    }
    let attendees = spec.attendees.iter().enumerate();
    let outcomes = attendees.map(|(number, attendee)| {
        let Some(Answer::Free(free)) = answers.get(number) else {
            return unknown(attendee, answers.get(number));
        };
        let with = |status, (preference, cost), detail: &str| AttendeeOutcome {
            preference,
            cost,
            detail: detail.to_owned(),
            ..AttendeeOutcome::new(attendee, status)
        };
        let nothing = (Preference::default(), 0);
        if above.contains(&attendee.id) {
            return with(AttendeeStatus::Busy, nothing, "held for another meeting at this moment");
        }
        match fits(&tidy(free), &blocked) {
            Some(terms) => with(AttendeeStatus::Attending, terms, ""),
            None if below.contains(&attendee.id) => {
                let detail = "perhaps free: held for a meeting that ranks lower";
                with(AttendeeStatus::Attending, nothing, detail)
            }
            None => with(AttendeeStatus::Busy, nothing, ""),
        }
    });
    outcomes.collect()
}

/// The outcome of an attendee who did not say when they are free.
fn unknown(attendee: &Attendee, answer: Option<&Answer>) -> AttendeeOutcome {
    let (status, detail) = match answer {
        Some(Answer::Declined(reason)) => (AttendeeStatus::Declined, reason.clone()),
        Some(Answer::NoAnswer) => (AttendeeStatus::NoAnswer, String::new()),
        Some(Answer::Disconnected) => (AttendeeStatus::Disconnected, String::new()),
        Some(Answer::NotAsked | Answer::Free(_)) | None => (AttendeeStatus::NotAsked, String::new()),
    };
    AttendeeOutcome { detail, ..AttendeeOutcome::new(attendee, status) }
}
