//! Which first slot suits a series best, from what the attendees answered over all its occurrences.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::ConflictPolicy;
use super::plan::{Places, Plan, Planned};
use crate::core::ids::{Attempt, ParticipantId};
use crate::core::model::{AttendeeOutcome, AttendeeStatus, Failure, FailureReason, Objective};
use crate::core::ranking::{Ranking, Scored};
use crate::core::reasons;
use crate::core::time::TimeRange;

/// What came of one fan-out for a whole series.
#[derive(Debug)]
pub struct Answers<'a> {
    /// All slots, as things stand.
    pub standing: Ranking<'a>,
    /// The same as if everything that may be displaced were gone, where the request may displace.
    pub overlaid: Option<Ranking<'a>>,
}

/// One occurrence, as far as the answers tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chance {
    /// Slots that suit, nearest to the rule's first.
    pub free: Vec<TimeRange>,
    /// Slots that suit once other meetings are decided, nearest first.
    pub deferred: Vec<TimeRange>,
    /// Whether the rule's slot suits if something is displaced.
    pub overlay: bool,
}

impl Chance {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.free.is_empty() && self.deferred.is_empty() && !self.overlay
    }
}

/// A first slot that may be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// Which plan.
    pub plan: usize,
    /// For each of its occurrences that are wanted.
    pub chances: Vec<Chance>,
}

impl Chosen {
    /// The first plan, of which nothing can be had.
    pub fn of_nothing(plan: &Plan) -> Self {
        let none = Chance { free: Vec::new(), deferred: Vec::new(), overlay: false };
        Self { plan: 0, chances: plan.wanted().map(|_| none.clone()).collect() }
    }
}

/// What to try.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Choice {
    /// The best first.
    pub order: Vec<Chosen>,
    /// Attempts in the way of what would be possible otherwise.
    pub blockers: BTreeSet<Attempt>,
}

/// Looks-up by slot.
struct Index<'a> {
    free: HashMap<TimeRange, &'a Scored>,
    deferred: HashMap<TimeRange, &'a [Attempt]>,
    overlaid: HashMap<TimeRange, &'a Scored>,
}

/// The first slots that may be taken under the policy, best first: with FAIL_SERIES those that suit every occurrence, else
/// those that suit the most of them; then those that displace least; then by the objective, summed over all occurrences; then
/// the earliest.
pub fn choose(
    plans: &[Plan],
    dead: &BTreeSet<usize>,
    places: &Places,
    policy: ConflictPolicy,
    answers: &Answers<'_>,
) -> Choice {
    let index = Index {
        free: answers.standing.feasible.iter().map(|scored| (scored.slot, scored)).collect(),
        deferred: answers.standing.deferred.iter().map(|d| (d.slot, d.blockers.as_slice())).collect(),
        overlaid: answers.overlaid.iter().flat_map(|r| &r.feasible).map(|s| (s.slot, s)).collect(),
    };
    let objective = answers.standing.spec.objective;
    let mut choice = Choice::default();
    let mut order = BTreeMap::new();
    for (number, plan) in plans.iter().enumerate().filter(|(number, _)| !dead.contains(number)) {
        let chances: Vec<Chance> = plan.wanted().map(|planned| chance(planned, places, &index)).collect();
        let missing = chances.iter().filter(|chance| chance.is_none()).count();
        let waits = |chance: &&Chance| chance.free.is_empty() && !chance.deferred.is_empty();
        let waiting = chances.iter().filter(waits).count();
        let all = policy == ConflictPolicy::FailSeries;
        if missing == chances.len() || all && missing > 0 {
            continue;
        }
        if all && waiting > 0 {
            for slot in chances.iter().filter(waits).flat_map(|chance| &chance.deferred) {
                choice.blockers.extend(index.deferred.get(slot).into_iter().copied().flatten().cloned());
            }
            continue;
        }
        let displacing =
            |chance: &&Chance| chance.free.is_empty() && chance.deferred.is_empty() && chance.overlay;
        let overlays = chances.iter().filter(displacing).count();
        let key = (missing, overlays, worth(objective, &chances, &index), plan.first.start, number);
        order.insert(key, Chosen { plan: number, chances });
    }
    choice.order = order.into_values().collect();
    choice
}

fn chance(planned: &Planned, places: &Places, index: &Index<'_>) -> Chance {
    let places = places.at(&planned.slot);
    let of =
        |wanted: &dyn Fn(&TimeRange) -> bool| places.iter().filter(|slot| wanted(slot)).copied().collect();
    Chance {
        free: of(&|slot| index.free.contains_key(slot)),
        deferred: of(&|slot| index.deferred.contains_key(slot)),
        overlay: places.contains(&planned.slot) && index.overlaid.contains_key(&planned.slot),
    }
}

/// Lower is better.
fn worth(objective: Objective, chances: &[Chance], index: &Index<'_>) -> i64 {
    let of = |chance: &Chance| {
        let slot = chance.free.first().or(chance.deferred.first())?;
        let scored = index.free.get(slot).or(index.overlaid.get(slot))?;
        Some(match objective {
            Objective::Earliest => 0,
            Objective::MostAttendees => -(scored.attending as i64),
            Objective::BestScore => scored.place as i64,
        })
    };
    chances.iter().filter_map(of).sum()
}

/// Who stands in the way of a slot, in words.
pub fn in_the_way(ranking: &Ranking<'_>, slot: &TimeRange) -> String {
    let words = who_is_away(&ranking.outcomes_at(slot));
    if words.is_empty() { "the slot was refused when it was to be held".to_owned() } else { words }
}

/// Who could not be had at a slot, in words; empty if nobody is known to be away.
pub fn who_is_away(outcomes: &[AttendeeOutcome]) -> String {
    let mut parts = Vec::new();
    for (status, words) in [
        (AttendeeStatus::Busy, "not free"),
        (AttendeeStatus::NoAnswer, "no answer"),
        (AttendeeStatus::Disconnected, "not connected"),
        (AttendeeStatus::Declined, "declined"),
    ] {
        let named: Vec<&ParticipantId> =
            outcomes.iter().filter(|o| o.status == status).map(|o| &o.id).collect();
        if !named.is_empty() {
            parts.push(format!("{}: {words}", reasons::names(named)));
        }
    }
    parts.join("; ")
}

/// Why no first slot can be had, with what stands in the way of the one that comes closest.
pub fn explain(plans: &[Plan], places: &Places, policy: ConflictPolicy, ranking: &Ranking<'_>) -> Failure {
    let mut failure = reasons::explain(ranking, &[]);
    failure.relaxations.clear();
    let free: BTreeSet<TimeRange> = ranking.feasible.iter().map(|scored| scored.slot).collect();
    let lost = |plan: &Plan| -> Vec<Planned> {
        let none = |planned: &&Planned| !places.at(&planned.slot).iter().any(|slot| free.contains(slot));
        plan.wanted().filter(none).cloned().collect()
    };
    let closest =
        plans.iter().map(|plan| (lost(plan), plan)).min_by_key(|(lost, plan)| (lost.len(), plan.first));
    let Some((lost, plan)) = closest else {
        failure.reason = FailureReason::WindowEmpty;
        failure.message = "no slot of the window is a first occurrence of the rule".to_owned();
        return failure;
    };
    let all = plan.wanted().count();
    if lost.is_empty() || failure.reason == FailureReason::NobodyConnected {
        return failure;
    }
    let which: Vec<String> = lost
        .iter()
        .take(3)
        .map(|planned| {
            format!("{} ({})", planned.local.strftime("%Y-%m-%d %H:%M"), in_the_way(ranking, &planned.slot))
        })
        .collect();
    let more = match lost.len().saturating_sub(3) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let closest = format!(
        "begun at {}, {} of {all} occurrences can't be had: {}{more}",
        plan.start.strftime("%Y-%m-%d %H:%M"),
        lost.len(),
        which.join(", ")
    );
    if matches!(failure.reason, FailureReason::NoCommonSlot | FailureReason::RequiredBusy) {
        failure.reason = FailureReason::NoCommonSlot;
        failure.message = closest;
    } else {
        failure.message = format!("{}; {closest}", failure.message);
    }
    if policy == ConflictPolicy::FailSeries && lost.len() < all {
        failure.message += &format!("; conflict policy SKIP would book the other {}", all - lost.len());
    }
    failure
}
