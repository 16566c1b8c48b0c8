//! Rounds and ranking, against brute force.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use quorate::core::availability::Answer;
use quorate::core::ids::{Attempt, AttemptNumber, MeetingId};
use quorate::core::model::{
    AttendeeStatus, CandidateCounts, FreeTime, MeetingSpec, Objective, Preference, Role, WorkingHours,
};
use quorate::core::ranking::{LiveHold, Ranking, rank};
use quorate::core::round::{Recorded, Round, RoundEnd, aligned};
use quorate::core::slots::candidates;
use quorate::core::time::{Mono, TimeRange};

use super::{at, attendee, hour, hours, id, minutes, monday};

/// A small request with answers and live holds, all on a grid of five minutes.
#[derive(Clone, Debug)]
pub struct Case {
    pub spec: MeetingSpec,
    pub slots: Vec<TimeRange>,
    pub answers: Vec<Answer>,
    pub live: Vec<LiveHold>,
}

impl Case {
    fn ranking(&self) -> Ranking<'_> {
        rank(&self.spec, &self.slots, &self.answers, &self.live)
    }
}

fn five(from: i64, long: i64) -> TimeRange {
    let start = at("2024-07-22T08:00:00Z") + chrono::Duration::minutes(5 * from);
    TimeRange::new(start, start + chrono::Duration::minutes(5 * long))
}

fn answer() -> impl Strategy<Value = Answer> {
    let preference =
        prop::sample::select(vec![Preference::Preferred, Preference::Available, Preference::IfNeeded]);
    let piece = (-4i64..36, 0i64..30, preference, 0i32..3);
    let free = prop::collection::vec(piece, 0..6).prop_map(|pieces| {
        let pieces = pieces.into_iter();
        let pieces = pieces.map(|(from, long, preference, cost)| FreeTime {
            range: five(from, long),
            preference,
            cost,
        });
        Answer::Free(pieces.collect())
    });
    prop_oneof![
        10 => free,
        2 => Just(Answer::Free(vec![FreeTime { range: five(-20, 200), preference: Preference::Available, cost: 1 }])),
        1 => prop::sample::select(vec![
            Answer::NoAnswer,
            Answer::Disconnected,
            Answer::NotAsked,
            Answer::Declined("no".into()),
        ]),
    ]
}

/// Any case; without live holds if `holds` is 0.
pub fn case(holds: usize) -> impl Strategy<Value = Case> {
    let role = prop::sample::select(vec![Role::Required, Role::Invited, Role::Invited, Role::Optional]);
    let objective =
        prop::sample::select(vec![Objective::Earliest, Objective::MostAttendees, Objective::BestScore]);
    let hold = (0usize..6, -4i64..36, 0i64..12, 0u64..3, any::<bool>());
    (
        prop::collection::vec((role, answer()), 1..6),
        objective,
        (1u64..6, 0u64..3, 0u64..3, prop::sample::select(vec![5u64, 10, 15])),
        0u32..5,
        prop::collection::vec(hold, 0..=holds),
    )
        .prop_map(|(people, objective, (length, before, after, step), minimum, holds)| {
            let mut spec = monday(&[]);
            spec.attendees = people
                .iter()
                .enumerate()
                .map(|(number, (role, _))| attendee(&format!("p{number}"), *role))
                .collect();
            spec.objective = objective;
            spec.duration = minutes(length * 5);
            (spec.buffer_before, spec.buffer_after) = (minutes(before * 5), minutes(after * 5));
            spec.minimum_participants = minimum;
            spec.window.step = minutes(step);
            spec.window.latest = Some(at("2024-07-22T11:00:00Z"));
            spec.window.exclude = vec![five(13, 2)];
            let slots = candidates(&spec).unwrap();
            // Whether an attempt outranks us is the same wherever it holds.
            let live = holds.into_iter().map(|(who, from, long, attempt, _)| LiveHold {
                participant: id(&format!("p{who}")),
                blocked: five(from, long),
                attempt: Attempt::new(MeetingId::new(format!("m{attempt}")), AttemptNumber(1)),
                outranks_us: attempt != 1,
            });
            let live = live.collect();
            Case { spec, slots, answers: people.into_iter().map(|(_, answer)| answer).collect(), live }
        })
}

/// What one attendee says to one slot, by looking at every five minutes.
fn terms(answer: &Answer, blocked: &TimeRange) -> Option<(Preference, i32)> {
    let Answer::Free(pieces) = answer else { return None };
    let mut part = TimeRange::lasting(blocked.start, minutes(5));
    while part.start < blocked.end {
        pieces.iter().find(|piece| piece.range.contains(&part))?;
        part = TimeRange::lasting(part.end, minutes(5));
    }
    let spanned = || pieces.iter().filter(|piece| piece.range.overlaps(blocked));
    Some((
        spanned().map(|piece| piece.preference).max().unwrap(),
        spanned().map(|piece| piece.cost).max().unwrap(),
    ))
}

#[derive(Default)]
struct Plain {
    feasible: Vec<TimeRange>,
    deferred: Vec<(TimeRange, Vec<Attempt>)>,
    counts: CandidateCounts,
}

/// The same by the words of the definition, slot by slot and attendee by attendee.
fn by_brute_force(case: &Case) -> Plain {
    let Case { spec, slots, answers, live } = case;
    let mut plain = Plain::default();
    plain.counts.considered = slots.len() as u32;
    let (mut feasible, mut deferred) = (Vec::new(), Vec::new());
    for slot in slots {
        let blocked = spec.blocked(slot);
        let mut now = Vec::new();
        let mut later = Vec::new();
        let (mut required_busy, mut required_unknown) = (false, false);
        let mut blockers = BTreeSet::new();
        for (attendee, answer) in spec.attendees.iter().zip(answers) {
            let known = matches!(answer, Answer::Free(_));
            let holds = || {
                let own = live.iter().filter(|hold| hold.participant == attendee.id);
                own.filter(|hold| known && hold.blocked.overlaps(&blocked))
            };
            let above = holds().any(|hold| hold.outranks_us);
            let perhaps = holds().next().map(|_| (Preference::Available, 0));
            let terms = terms(answer, &blocked).or(perhaps);
            if let Some(terms) = terms {
                later.push((attendee.role, terms));
                if !above {
                    now.push((attendee.role, terms));
                }
            }
            if attendee.role == Role::Required {
                required_busy |= known && terms.is_none();
                required_unknown |= !known;
            }
            if attendee.role != Role::Optional {
                blockers.extend(holds().filter(|hold| hold.outranks_us).map(|hold| hold.attempt.clone()));
            }
        }
        let required = spec.attendees.iter().filter(|a| a.role == Role::Required).count();
        let met = |free: &[(Role, (Preference, i32))]| {
            free.iter().filter(|(role, _)| *role == Role::Required).count() == required
                && free.iter().filter(|(role, _)| *role != Role::Optional).count() >= spec.quorum()
        };
        let key = |free: &[(Role, (Preference, i32))]| {
            let cost: i64 = free.iter().map(|(_, (_, cost))| i64::from(*cost)).sum();
            let of = |wanted| free.iter().filter(|(_, (p, _))| *p == wanted).count() as i64;
            let (reluctant, glad) = (of(Preference::IfNeeded), of(Preference::Preferred));
            let all = free.len() as i64;
            match spec.objective {
                Objective::Earliest => (0, 0, 0, 0, slot.start),
                Objective::MostAttendees => (-all, 0, 0, 0, slot.start),
                Objective::BestScore => (cost, reluctant, -glad, -all, slot.start),
            }
        };
        let counts = &mut plain.counts;
        if met(&now) {
            feasible.push((key(&now), *slot));
        } else if met(&later) {
            deferred.push((key(&later), *slot, blockers.into_iter().collect()));
            counts.held_by_others += 1;
        } else if required_busy {
            counts.required_busy += 1;
        } else if required_unknown {
            counts.required_unreachable += 1;
        } else {
            counts.quorum_missed += 1;
        }
    }
    feasible.sort();
    deferred.sort_by_key(|(key, ..)| *key);
    plain.feasible = feasible.into_iter().map(|(_, slot)| slot).collect();
    plain.deferred = deferred.into_iter().map(|(_, slot, blockers)| (slot, blockers)).collect();
    plain
}

proptest! {
    #![proptest_config(super::checks(2_000))]

    #[test]
    fn ranking_equals_brute_force(case in case(5)) {
        let ranking = case.ranking();
        let plain = by_brute_force(&case);
        let feasible: Vec<_> = ranking.feasible.iter().map(|scored| scored.slot).collect();
        let deferred: Vec<_> =
            ranking.deferred.iter().map(|later| (later.slot, later.blockers.clone())).collect();
        prop_assert_eq!(&feasible, &plain.feasible);
        prop_assert_eq!(deferred, plain.deferred);
        prop_assert_eq!(ranking.counts, plain.counts);
        for scored in &ranking.feasible {
            let candidate = ranking.candidate(scored);
            let present = |roles: &[Role]| {
                let outcomes = candidate.attendees.iter().filter(|o| o.status == AttendeeStatus::Attending);
                outcomes.filter(|outcome| roles.contains(&outcome.role)).count()
            };
            prop_assert_eq!(present(&[Role::Required, Role::Invited, Role::Optional]), scored.attending);
            prop_assert_eq!(present(&[Role::Required, Role::Invited]), scored.quorum);
            prop_assert_eq!(candidate.score as usize, feasible.len() - scored.place);
            let blocked = case.spec.blocked(&scored.slot);
            for (outcome, answer) in candidate.attendees.iter().zip(&case.answers) {
                if let Some((preference, cost)) = terms(answer, &blocked)
                    && outcome.status == AttendeeStatus::Attending
                {
                    prop_assert_eq!((outcome.preference, outcome.cost), (preference, cost));
                }
            }
        }
        for (number, outcome) in ranking.attendees().iter().enumerate() {
            let anywhere = case.slots.iter().any(|slot| {
                let blocked = case.spec.blocked(slot);
                let held = |hold: &LiveHold| hold.participant == outcome.id && hold.blocked.overlaps(&blocked);
                terms(&case.answers[number], &blocked).is_some() || case.live.iter().any(held)
            });
            let known = matches!(case.answers[number], Answer::Free(_));
            prop_assert_eq!(outcome.status == AttendeeStatus::Attending, known && anywhere);
        }
    }

    #[test]
    fn no_order_changes_the_result(case in case(5), seed in any::<u64>()) {
        let mut shuffled = case.clone();
        let mut order: Vec<usize> = (0..case.answers.len()).collect();
        order.sort_by_key(|number| seed.rotate_left(*number as u32 * 11) % 1009);
        shuffled.spec.attendees = order.iter().map(|&n| case.spec.attendees[n].clone()).collect();
        shuffled.answers = order.iter().map(|&n| case.answers[n].clone()).collect();
        for answer in &mut shuffled.answers {
            if let Answer::Free(free) = answer {
                free.reverse();
            }
        }
        shuffled.live.reverse();
        let (one, other) = (case.ranking(), shuffled.ranking());
        prop_assert_eq!(&one.feasible, &other.feasible);
        prop_assert_eq!(&one.deferred, &other.deferred);
        prop_assert_eq!(one.counts, other.counts);
    }

    /// With one answer missing at the deadline, the round gives what it would give had that one been "no answer".
    #[test]
    fn a_missing_answer_is_no_answer(case in case(0), missing in 0usize..5, seed in any::<u64>()) {
        let missing = missing % case.answers.len();
        let ids: Vec<_> = case.spec.attendees.iter().map(|attendee| attendee.id.clone()).collect();
        let deadline = Mono(Duration::from_secs(2));
        let mut round = Round::new(ids.clone(), deadline);
        let mut order: Vec<usize> = (0..ids.len()).filter(|number| *number != missing).collect();
        order.sort_by_key(|number| seed.rotate_left(*number as u32 * 11) % 1009);
        for number in order {
            prop_assert_eq!(round.record(&ids[number], case.answers[number].clone()), Recorded::Counted);
            prop_assert_eq!(round.record(&ids[number], Answer::Free(vec![])), Recorded::Duplicate);
        }
        prop_assert_eq!(round.outcome(Mono::default()), None);
        prop_assert_eq!(round.outcome(deadline), Some(RoundEnd::TimedOut));
        let timed_out = aligned(&case.spec.attendees, round.into_answers(), &Answer::Disconnected);
        let mut said = case.answers.clone();
        said[missing] = Answer::NoAnswer;
        prop_assert_eq!(&timed_out, &said);
        let (one, other) =
            (rank(&case.spec, &case.slots, &timed_out, &[]), rank(&case.spec, &case.slots, &said, &[]));
        prop_assert_eq!(&one.feasible, &other.feasible);
        prop_assert_eq!(one.counts, other.counts);
    }
}

fn hold(name: &str, blocked: TimeRange, outranks_us: bool) -> LiveHold {
    let attempt = Attempt::new(MeetingId::new("other"), AttemptNumber(7));
    LiveHold { participant: id(name), blocked, attempt, outranks_us }
}

#[test]
fn a_higher_hold_defers_and_a_lower_one_does_not() {
    let mut spec = monday(&["alice", "bob"]);
    spec.window.latest = Some(hour(8).end);
    let slots = candidates(&spec).unwrap();
    let everyone = [hours(&[(8, 17)]), hours(&[(8, 17)])];
    let without_bob = [hours(&[(8, 17)]), hours(&[])];
    for answers in [&everyone, &without_bob] {
        let live = [hold("bob", hour(8), true)];
        let ranking = rank(&spec, &slots, answers, &live);
        assert!(ranking.feasible.is_empty());
        assert_eq!(ranking.deferred.len(), 1);
        assert_eq!(ranking.deferred[0].blockers, [live[0].attempt.clone()]);
        assert_eq!(ranking.outcomes_at(&hour(8))[1].status, AttendeeStatus::Busy);
        let live = [hold("bob", hour(8), false)];
        let ranking = rank(&spec, &slots, answers, &live);
        assert_eq!(ranking.feasible.len(), 1);
        assert_eq!(ranking.feasible[0].uncertain, usize::from(answers == &without_bob));
    }
    // Somewhere else, or of somebody who is unknown, a hold changes nothing.
    let live = [hold("bob", hour(9), false)];
    assert!(rank(&spec, &slots, &without_bob, &live).feasible.is_empty());
    let live = [hold("bob", hour(8), true)];
    let unknown = [hours(&[(8, 17)]), Answer::NoAnswer];
    assert!(rank(&spec, &slots, &unknown, &live).deferred.is_empty());
}

#[test]
fn reasons_of_candidates_say_why() {
    let mut spec = monday(&["alice", "bob", "charlie"]);
    spec.objective = Objective::MostAttendees;
    let answers = [hours(&[(8, 17)]), hours(&[(8, 17)]), hours(&[(12, 17)])];
    let slots = candidates(&spec).unwrap();
    let ranking = rank(&spec, &slots, &answers, &[]);
    let told: Vec<_> = ranking.feasible.iter().map(|scored| ranking.candidate(scored).reason).collect();
    assert_eq!(ranking.feasible[0].slot, hour(12));
    assert_eq!(told[0], "most attendees of 9 slots that suit at least 2 of 3: 3 of 3 attend");
    assert_eq!(told[8], "number 9 by attendance of 9 slots that suit at least 2 of 3: 2 of 3 attend");
    spec.minimum_participants = 0;
    let answers = [hours(&[(8, 9)]), hours(&[(8, 17)]), hours(&[(8, 17)])];
    let ranking = rank(&spec, &slots, &answers, &[]);
    assert_eq!(ranking.candidate(&ranking.feasible[0]).reason, "the only slot that suits all 3");
}

/// Many attendees and slots: linear, so a debug build is done with it in no time; the figures are `quorate bench`'s.
#[test]
fn a_thousand_attendees_and_four_thousand_slots() {
    let names: Vec<String> = (0..1_000).map(|number| format!("p{number}")).collect();
    let mut spec = monday(&names.iter().map(String::as_str).collect::<Vec<_>>());
    spec.window.latest = Some(at("2024-08-05T00:00:00Z"));
    spec.window.step = minutes(5);
    spec.window.working_hours = WorkingHours::Unrestricted;
    spec.minimum_participants = 900;
    let slots = candidates(&spec).unwrap();
    assert_eq!(slots.len(), 14 * 288 - 11);
    let day = |day: i64, from: i64, to: i64| {
        let midnight = at("2024-07-22T00:00:00Z") + chrono::Duration::days(day);
        let hour = |hour| midnight + chrono::Duration::hours(hour);
        super::free(TimeRange::new(hour(from), hour(to)))
    };
    let answers: Vec<Answer> = (0..1_000)
        .map(|number| Answer::Free((0..14).map(|d| day(d, 8 + (number + d) % 3, 17)).collect()))
        .collect();
    let ranking = rank(&spec, &slots, &answers, &[]);
    // From 10:00 to 17:00 everybody is free, before that at most two thirds.
    assert_eq!(ranking.feasible.len(), 14 * 73);
    assert!(ranking.feasible.iter().all(|scored| scored.attending == 1_000));
}
