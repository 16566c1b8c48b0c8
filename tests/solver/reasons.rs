//! Reasons and relaxations.

use proptest::prelude::*;
use quorate::core::availability::Answer;
use quorate::core::ids::{MeetingId, RequestId};
use quorate::core::model::{
    Failure, FailureReason, Meeting, MeetingState, Objective, Options, Rank, RelaxationChange, Role,
    WorkingHours,
};
use quorate::core::ranking::rank;
use quorate::core::reasons::{explain, names, slot_taken, with_reason};
use quorate::core::slots::candidates;

use super::ranking::{Case, case};
use super::{attendee, hour, hours, id, minutes, monday};

fn explained(case: &Case) -> Failure {
    explain(&rank(&case.spec, &case.slots, &case.answers, &case.live), &[])
}

/// Whether the changed request has a slot by the same answers, and that one first.
fn works(changed: &Case, slot: Option<quorate::core::time::TimeRange>) -> bool {
    let ranking = rank(&changed.spec, &changed.slots, &changed.answers, &changed.live);
    slot.is_some() && ranking.feasible.first().map(|scored| scored.slot) == slot
}

proptest! {
    #![proptest_config(super::checks(2_000))]

    /// Each relaxation that was computed from the answers works, and none that works is missing.
    #[test]
    fn relaxations_hold_what_they_promise(case in case(0)) {
        let ranking = rank(&case.spec, &case.slots, &case.answers, &case.live);
        let failure = explained(&case);
        if !ranking.feasible.is_empty() {
            prop_assert_eq!(failure.relaxations, []);
            return Ok(());
        }
        let (mut minimum, mut released, mut length) = (0, Vec::new(), None);
        for relaxation in &failure.relaxations {
            let mut changed = case.clone();
            match &relaxation.change {
                RelaxationChange::Minimum(number) => {
                    changed.spec.minimum_participants = *number;
                    minimum = *number;
                }
                RelaxationChange::ReleaseRequired(id) => {
                    let of = |attendee: &&mut quorate::core::model::Attendee| attendee.id == *id;
                    changed.spec.attendees.iter_mut().find(of).unwrap().role = Role::Optional;
                    released.push(id.clone());
                }
                RelaxationChange::Duration(duration) => {
                    changed.spec.duration = *duration;
                    changed.slots = candidates(&changed.spec).unwrap();
                    length = Some(*duration);
                }
                RelaxationChange::Latest(_) | RelaxationChange::UnrestrictedHours => {
                    prop_assert_eq!(relaxation.slot, None);
                    continue;
                }
            }
            prop_assert!(works(&changed, relaxation.slot), "{:?}", relaxation);
        }
        // No higher minimum than the one named, or any if none is named.
        for higher in minimum + 1..case.spec.quorum() as u32 {
            let mut changed = case.clone();
            changed.spec.minimum_participants = higher;
            let ranking = rank(&changed.spec, &changed.slots, &changed.answers, &changed.live);
            prop_assert!(ranking.feasible.is_empty());
        }
        let mut possible = 0;
        for number in 0..case.spec.attendees.len() {
            let mut changed = case.clone();
            if changed.spec.attendees[number].role == Role::Required {
                changed.spec.attendees[number].role = Role::Optional;
                let ranking = rank(&changed.spec, &changed.slots, &changed.answers, &changed.live);
                possible += usize::from(!ranking.feasible.is_empty());
            }
        }
        prop_assert_eq!(released.len(), possible.min(3));
        // No longer meeting than the one named: all are multiples of five minutes here.
        let longest = length.map_or(0, |length| length.as_secs() / 60);
        let step = case.spec.window.step.as_secs() / 60;
        let shorter = (1..case.spec.duration.as_secs() / 60).filter(|length| {
            *length > longest && (length % step == 0 || (*length < step && length % 5 == 0))
        });
        for length in shorter {
            let mut changed = case.clone();
            changed.spec.duration = minutes(length);
            changed.slots = candidates(&changed.spec).unwrap();
            let ranking = rank(&changed.spec, &changed.slots, &changed.answers, &changed.live);
            prop_assert!(ranking.feasible.is_empty(), "{} min", length);
        }
    }

    /// With holds about, the first relaxations still don't rest on what is unknown.
    #[test]
    fn relaxations_respect_holds(case in case(5)) {
        let ranking = rank(&case.spec, &case.slots, &case.answers, &case.live);
        let failure = explained(&case);
        prop_assert!(ranking.feasible.is_empty() || failure.relaxations.is_empty());
        for relaxation in failure.relaxations {
            let Some(slot) = relaxation.slot else { continue };
            let mut known = case.clone();
            known.live.retain(|hold| hold.outranks_us);
            match relaxation.change {
                RelaxationChange::Minimum(number) => known.spec.minimum_participants = number,
                RelaxationChange::ReleaseRequired(id) => {
                    let of = |attendee: &&mut quorate::core::model::Attendee| attendee.id == id;
                    known.spec.attendees.iter_mut().find(of).unwrap().role = Role::Optional;
                }
                RelaxationChange::Duration(duration) => {
                    known.spec.duration = duration;
                    known.slots = candidates(&known.spec).unwrap();
                }
                _ => {}
            }
            prop_assert!(works(&known, Some(slot)));
        }
    }

    #[test]
    fn the_reason_does_not_depend_on_the_order(case in case(3)) {
        let mut reversed = case.clone();
        reversed.spec.attendees.reverse();
        reversed.answers.reverse();
        let (one, other) = (explained(&case), explained(&reversed));
        prop_assert_eq!(one.reason, other.reason);
        prop_assert_eq!(one.counts, other.counts);
        prop_assert_eq!(one.relaxations, other.relaxations);
    }
}

/// A REQUIRED, the others INVITED.
fn with_required(answers: Vec<Answer>) -> Case {
    let mut spec = monday(&["alice", "bob", "carol"]);
    spec.attendees[0].role = Role::Required;
    spec.minimum_participants = 0;
    let slots = candidates(&spec).unwrap();
    Case { spec, slots, answers, live: vec![] }
}

fn changes(failure: &Failure) -> Vec<RelaxationChange> {
    failure.relaxations.iter().map(|relaxation| relaxation.change.clone()).collect()
}

#[test]
fn required_come_first() {
    let all = || hours(&[(8, 17)]);
    let failure = explained(&with_required(vec![Answer::Disconnected, all(), hours(&[])]));
    assert_eq!(failure.reason, FailureReason::RequiredUnreachable);
    assert_eq!(failure.message, "of 1 required: alice is not connected");
    assert_eq!(changes(&failure), []);
    assert_eq!(failure.counts.required_unreachable, 9);

    let failure = explained(&with_required(vec![hours(&[]), all(), all()]));
    assert_eq!(failure.reason, FailureReason::RequiredBusy);
    assert_eq!(failure.message, "alice (required) is not free at any of 9 slots");
    assert_eq!(failure.counts.required_busy, 9);
    assert_eq!(failure.relaxations[0].change, RelaxationChange::ReleaseRequired(id("alice")));
    assert_eq!(failure.relaxations[0].slot, Some(hour(8)));

    let failure = explained(&with_required(vec![all(), all(), Answer::NoAnswer]));
    assert_eq!(failure.reason, FailureReason::QuorumUnreachable);
    assert_eq!(
        failure.message,
        "3 must attend, and only 2 of 3 said when they are free: carol did not answer"
    );
    assert_eq!(changes(&failure), [RelaxationChange::Minimum(2)]);
    assert_eq!(failure.relaxations[0].message, "minimum 2 instead of 3: Mon 2024-07-22 08:00-09:00 (UTC)");
}

#[test]
fn nobody_has_a_common_slot() {
    let mut case = with_required(vec![hours(&[(8, 12)]), hours(&[(11, 17)]), hours(&[(12, 17)])]);
    let failure = explained(&case);
    assert_eq!(failure.reason, FailureReason::NoCommonSlot);
    assert_eq!(
        failure.message,
        "none of 9 slots suits all 3; 5: a required attendee is busy; 4: too few are free"
    );
    let latest = case.spec.window.latest.unwrap() + chrono::Duration::days(1);
    assert_eq!(
        changes(&failure),
        [
            RelaxationChange::Minimum(2),
            RelaxationChange::ReleaseRequired(id("alice")),
            RelaxationChange::Latest(latest),
            RelaxationChange::UnrestrictedHours,
        ]
    );
    assert_eq!(failure.relaxations[0].slot, Some(hour(11)));
    assert_eq!(failure.relaxations[1].slot, Some(hour(12)));
    // The one slot that looked possible with two was refused when it was to be held.
    case.spec.minimum_participants = 2;
    let ranking = rank(&case.spec, &case.slots, &case.answers, &[]);
    assert_eq!(ranking.feasible.len(), 1);
    let failure = explain(&ranking, &[hour(11)]);
    assert_eq!(failure.counts.refused, 1);
    assert_eq!(failure.reason, FailureReason::NoCommonSlot);
    assert_eq!(failure.relaxations[0].change, RelaxationChange::Minimum(1));
}

#[test]
fn the_course_of_a_request_gives_reasons_too() {
    let case = with_required(vec![hours(&[(8, 12)]), hours(&[(11, 17)]), hours(&[(12, 17)])]);
    let known = explained(&case);
    let now = super::at("2024-07-22T00:00:00Z");
    let id = MeetingId::new("m");
    let meeting = Meeting {
        rank: Rank { priority: 1, submitted_at: now, meeting: id.clone() },
        id,
        request_id: RequestId::new("r"),
        body_hash: String::new(),
        spec: case.spec,
        named_slot: Some(hour(8)),
        options: Options {
            response_timeout: minutes(1),
            connect_timeout: minutes(0),
            max_attempts: 3,
            max_candidates_per_round: 0,
        },
        time_zone: "UTC".into(),
        state: MeetingState::Scheduling,
        version: 1,
        sequence: 0,
        booked: None,
        slot: None,
        blocked: None,
        attendees: vec![],
        last_attempt: None,
        attempts: 3,
        attempt_log: vec![],
        failure: None,
        series: None,
        moved: 0,
        displaced_count: 0,
        displaced: Vec::new(),
        displaced_by: None,
        local_start: None,
        create_time: now,
        update_time: now,
        deadline: now,
    };
    for (reason, lead) in [
        (FailureReason::MaxAttempts, "3 slots were tried in vain, and no more than 3 may be: none of 9"),
        (FailureReason::Deadline, "the deadline came, and 3 slots were tried until then: none of 9"),
        (FailureReason::SlotTaken, "Mon 2024-07-22 08:00-09:00 (UTC) is taken: none of 9"),
        (FailureReason::QuorumUnreachable, "none of 9"),
    ] {
        let mut failure = known.clone();
        with_reason(&mut failure, reason, &meeting);
        assert_eq!(failure.reason, reason);
        assert!(failure.message.starts_with(lead), "{}", failure.message);
        assert_eq!(failure.relaxations, known.relaxations);
    }
}

#[test]
fn a_shorter_meeting_fits() {
    let mut case = with_required(vec![hours(&[(8, 10)]), hours(&[(8, 10)]), hours(&[(9, 17)])]);
    case.spec.duration = minutes(120);
    case.slots = candidates(&case.spec).unwrap();
    let failure = explained(&case);
    let shorter = failure.relaxations.iter().find(|r| matches!(r.change, RelaxationChange::Duration(_)));
    let shorter = shorter.unwrap();
    assert_eq!(shorter.change, RelaxationChange::Duration(minutes(60)));
    assert_eq!(shorter.slot, Some(hour(9)));
    assert_eq!(shorter.message, "1 h instead of 2 h: Mon 2024-07-22 09:00-10:00 (UTC)");
}

#[test]
fn empty_windows_say_what_empties_them() {
    let mut case = with_required(vec![]);
    let empty = |change: &dyn Fn(&mut Case)| {
        let mut case = case.clone();
        change(&mut case);
        case.slots = candidates(&case.spec).unwrap();
        let failure = explained(&case);
        assert_eq!(failure.reason, FailureReason::WindowEmpty);
        (failure.message.clone(), changes(&failure))
    };
    let (message, _) = empty(&|case| case.spec.window.latest = Some(hour(0).start + minutes(30)));
    assert_eq!(message, "the window lasts 30 min, the meeting 1 h");
    let (message, changes) = empty(&|case| case.spec.window.latest = Some(hour(6).end));
    assert_eq!(message, "no slot of 1 h lies within the working hours of the window");
    assert_eq!(changes.len(), 2);
    let (message, changes) = empty(&|case| {
        case.spec.window.exclude =
            vec![hour(0), hour(8), super::range("2024-07-22T09:00:00Z", "2024-07-22T17:00:00Z")]
    });
    assert!(message.starts_with("no slot of 1 h lies within the working hours"));
    assert_eq!(changes.len(), 2);
    case.spec.attendees.clear();
    case.spec.window.working_hours = WorkingHours::Unrestricted;
    assert_eq!(explained(&case).reason, FailureReason::NobodyConnected);
}

#[test]
fn a_named_slot_is_taken() {
    let mut case = with_required(vec![hours(&[(8, 17)]), hours(&[(12, 17)]), hours(&[(8, 17)])]);
    case.slots = vec![hour(8)];
    let failure = slot_taken(&rank(&case.spec, &case.slots, &case.answers, &[]), &[]);
    assert_eq!(failure.reason, FailureReason::SlotTaken);
    assert_eq!(failure.message, "Mon 2024-07-22 08:00-09:00 (UTC) does not suit all 3: bob is busy");
    assert_eq!(changes(&failure), [RelaxationChange::Minimum(2)]);
    // Everybody said yes, and alice refused to hold.
    case.answers[1] = hours(&[(8, 17)]);
    let failure = slot_taken(&rank(&case.spec, &case.slots, &case.answers, &[]), &[id("alice")]);
    assert_eq!(failure.message, "Mon 2024-07-22 08:00-09:00 (UTC) does not suit all 3: alice is busy");
    assert_eq!(changes(&failure), [RelaxationChange::ReleaseRequired(id("alice"))]);
    assert_eq!(failure.counts.refused, 1);
}

#[test]
fn long_lists_of_names_are_cut() {
    let ids: Vec<_> = (1..=12).map(|number| id(&format!("p{number}"))).collect();
    assert_eq!(names(&ids[..0]), "nobody");
    assert_eq!(names(&ids[..1]), "p1");
    assert_eq!(names(&ids[..5]), "p1, p2, p3, p4 and p5");
    assert_eq!(names(&ids), "p1, p2, p3, p4, p5 and 7 more");
}

#[test]
fn all_objectives_find_the_relaxed_slot() {
    for objective in [Objective::Earliest, Objective::MostAttendees, Objective::BestScore] {
        let mut case = with_required(vec![hours(&[(8, 12)]), hours(&[]), hours(&[(9, 17)])]);
        case.spec.attendees.push(attendee("dave", Role::Optional));
        case.answers.push(hours(&[(10, 11)]));
        case.spec.objective = objective;
        let failure = explained(&case);
        let expected = if objective == Objective::MostAttendees { hour(10) } else { hour(9) };
        match objective {
            // With equal costs, more attendees count.
            Objective::BestScore => assert_eq!(failure.relaxations[0].slot, Some(hour(10))),
            _ => assert_eq!(failure.relaxations[0].slot, Some(expected)),
        }
    }
}
