//! The solver of the core: candidate slots, availability, rounds, ranking and reasons, against brute force and
//! against vectors that nobody here wrote.

#[path = "solver/ranking.rs"]
mod ranking;
#[path = "solver/reasons.rs"]
mod reasons;
#[path = "support/say.rs"]
mod say;
#[path = "solver/slots.rs"]
mod slots;
#[path = "solver/zones.rs"]
mod zones;

use std::time::Duration;

use proptest::test_runner::Config as ProptestConfig;
use quorate::core::availability::Answer;
use quorate::core::ids::ParticipantId;
use quorate::core::model::{
    Attendee, FreeTime, MeetingSpec, Objective, Preference, Role, Window, WorkingHours,
};
use quorate::core::ranking::rank;
use quorate::core::slots::candidates;
use quorate::core::time::{Instant, TimeRange};

/// So many cases of a property. Failures are printed, not kept in files.
fn checks(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// An instant in RFC 3339.
fn at(text: &str) -> Instant {
    text.parse().unwrap()
}

/// A range between two instants in RFC 3339.
fn range(start: &str, end: &str) -> TimeRange {
    TimeRange::new(at(start), at(end))
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn id(name: &str) -> ParticipantId {
    ParticipantId::new(name)
}

fn attendee(name: &str, role: Role) -> Attendee {
    Attendee { id: id(name), role }
}

fn free(range: TimeRange) -> FreeTime {
    FreeTime { range, preference: Preference::Available, cost: 0 }
}

/// One hour on Monday 2024-07-22, hourly, 8 to 17 in UTC, for these INVITED attendees, of whom two must attend.
fn monday(names: &[&str]) -> MeetingSpec {
    MeetingSpec {
        title: "Monday".into(),
        organizer: String::new(),
        attendees: names.iter().map(|name| attendee(name, Role::Invited)).collect(),
        duration: minutes(60),
        minimum_participants: 2,
        priority: 1,
        window: Window {
            earliest: Some(at("2024-07-22T00:00:00Z")),
            latest: Some(at("2024-07-23T00:00:00Z")),
            time_zone: Some("UTC".into()),
            step: minutes(60),
            working_hours: WorkingHours::default(),
            respect_attendee_hours: false,
            exclude: Vec::new(),
        },
        objective: Objective::Earliest,
        buffer_before: Duration::ZERO,
        buffer_after: Duration::ZERO,
        displace: false,
        displaceable: false,
    }
}

/// Free on that Monday between full hours.
fn hours(parts: &[(u32, u32)]) -> Answer {
    let hour = |hour: u32| at("2024-07-22T00:00:00Z") + chrono::Duration::hours(hour.into());
    Answer::Free(parts.iter().map(|(from, to)| free(TimeRange::new(hour(*from), hour(*to)))).collect())
}

/// Slot by slot, as the tutorial tries them: the start hour that suits, who attends, and how many slots it took.
fn slot_by_slot(
    spec: &MeetingSpec,
    answers: &[Answer],
    max: usize,
) -> Result<(TimeRange, usize, usize), usize> {
    let slots = candidates(spec).unwrap();
    for (tried, slot) in slots.iter().take(max).enumerate() {
        let slot = std::slice::from_ref(slot);
        let ranking = rank(spec, slot, answers, &[]);
        if let Some(best) = ranking.feasible.first() {
            return Ok((best.slot, best.attending, tried + 1));
        }
    }
    Err(max.min(slots.len()))
}

/// The hour `from` to `from + 1` of that Monday.
fn hour(from: u32) -> TimeRange {
    TimeRange::lasting(at("2024-07-22T00:00:00Z") + chrono::Duration::hours(from.into()), minutes(60))
}

#[test]
fn s1_the_first_slot_suits_two_of_three() {
    let spec = monday(&["alice", "bob", "charlie"]);
    let answers = [hours(&[(8, 17)]), hours(&[(8, 17)]), hours(&[(12, 17)])];
    assert_eq!(slot_by_slot(&spec, &answers, 10), Ok((hour(8), 2, 1)));
    let slots = candidates(&spec).unwrap();
    assert_eq!(slots, (8..17).map(hour).collect::<Vec<_>>());
    let ranking = rank(&spec, &slots, &answers, &[]);
    let best = ranking.candidate(&ranking.feasible[0]);
    assert_eq!((best.slot, best.attending, best.score), (hour(8), 2, 9));
    assert_eq!(best.reason, "earliest of 9 slots that suit at least 2 of 3");
}

#[test]
fn s2_the_second_slot() {
    let spec = monday(&["alice", "bob"]);
    let answers = [hours(&[(9, 17)]), hours(&[(9, 17)])];
    assert_eq!(slot_by_slot(&spec, &answers, 10), Ok((hour(9), 2, 2)));
    let slots = candidates(&spec).unwrap();
    assert_eq!(rank(&spec, &slots, &answers, &[]).feasible[0].slot, hour(9));
}

#[test]
fn s3_fails_after_three_slots_or_finds_the_third() {
    let spec = monday(&["alice", "bob"]);
    assert_eq!(slot_by_slot(&spec, &[hours(&[(14, 17)]), hours(&[(14, 17)])], 3), Err(3));
    let answers = [hours(&[(10, 17)]), hours(&[(10, 17)])];
    assert_eq!(slot_by_slot(&spec, &answers, 3), Ok((hour(10), 2, 3)));
}

#[test]
fn s4_the_booked_hour_is_gone() {
    let mut spec = monday(&["p1", "p2"]);
    let answers = [hours(&[(11, 17)]), hours(&[(11, 17)])];
    assert_eq!(slot_by_slot(&spec, &answers, 10), Ok((hour(11), 2, 4)));
    spec.window.earliest = Some(at("2024-07-22T10:00:00Z"));
    assert_eq!(slot_by_slot(&spec, &answers, 10), Ok((hour(11), 2, 2)));
}
