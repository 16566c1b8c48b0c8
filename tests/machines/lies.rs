//! What an agent says that is none of its business harms nobody else (SECURITY.md).

use quorate::core::coordinator::{Command, ScheduleRequest};
use quorate::core::ids::Attempt;
use quorate::core::limits;
use quorate::core::message::{AckKind, Promise, Refusal, ReleaseCause};
use quorate::core::model::MeetingSpec;
use quorate::core::record::AttemptState;
use quorate::core::time::TimeRange;

use super::desk::{Desk, hour, request, spec};

/// A meeting of the highest priority at exactly this time.
fn urgent(desk: &mut Desk, slot: TimeRange, who: &[&str]) -> Attempt {
    let spec = MeetingSpec { priority: 9, ..spec(who, 8) };
    desk.command(Command::Schedule(Box::new(ScheduleRequest { slot: Some(slot), ..request(spec) })));
    desk.hold().attempt
}

#[test]
fn nobody_has_a_hold_given_up_that_they_were_not_asked_for() {
    let mut desk = Desk::new(&["alice", "mallory"]);
    desk.schedule_at(hour(0), &["alice"]);
    let others = desk.hold().attempt;
    let asked = urgent(&mut desk, hour(0), &["mallory"]);
    desk.refuses("mallory", &asked, Refusal::Held(Some(others.clone())));
    assert_eq!(desk.state(&others), AttemptState::Holding);
    desk.grants("alice", &others);
    assert_eq!(desk.state(&others), AttemptState::Committed);
    assert_eq!(desk.core.counters().pushed, 0);
}

#[test]
fn a_hold_at_another_time_is_in_nobodys_way() {
    let mut desk = Desk::new(&["alice", "mallory"]);
    desk.schedule_at(hour(0), &["alice", "mallory?"]);
    let others = desk.hold().attempt;
    let asked = urgent(&mut desk, hour(5), &["mallory"]);
    desk.refuses("mallory", &asked, Refusal::Held(Some(others.clone())));
    assert_eq!(desk.state(&others), AttemptState::Holding);
    assert_eq!(desk.core.counters().pushed, 0);
}

/// Other people's attempts, reported, asked about or voted for: answered, and nothing is kept.
#[test]
fn what_somebody_was_never_asked_for_fills_no_disk() {
    let mut desk = Desk::new(&["alice"]);
    let booked = desk.book(hour(0), &["alice"]);
    desk.acks("alice", &booked, AckKind::Confirm);
    desk.schedule_at(hour(1), &["alice"]);
    let holding = desk.hold().attempt;
    desk.sent.clear();
    let both = [booked.clone(), holding.clone()];
    desk.register_with("mallory", 1, |register| {
        let blocked = hour(0);
        let promise =
            |attempt: &Attempt| Promise { attempt: attempt.clone(), blocked, lease_over: true, revision: 0 };
        register.held = both.iter().map(promise).collect();
        register.withdrawn = both.iter().map(|attempt| (attempt.clone(), "ill".into())).collect();
    });
    for attempt in &both {
        desk.resolves("mallory", attempt);
        desk.grants("mallory", attempt);
        desk.withdraws("mallory", attempt);
        let told = desk.released(attempt);
        assert!(!told.is_empty() && told.iter().all(|(to, _)| to == "mallory"), "{told:?}");
        let known = |cause: &ReleaseCause| {
            matches!(cause, ReleaseCause::Aborted | ReleaseCause::Withdrawn | ReleaseCause::NotNeeded)
        };
        assert!(told.iter().all(|(_, cause)| known(cause)), "{told:?}");
    }
    let kept: Vec<_> = desk.undelivered().into_iter().filter(|(who, ..)| who == "mallory").collect();
    assert_eq!(kept, [], "nothing is kept for her");
    assert_eq!(desk.state(&booked), AttemptState::Committed);
    assert_eq!(desk.state(&holding), AttemptState::Holding);
    desk.grants("alice", &holding);
    assert_eq!(desk.state(&holding), AttemptState::Committed);
}

#[test]
fn no_agent_takes_the_stores_generation_far_at_once() {
    let mut desk = Desk::new(&["alice"]);
    let far = 2 * limits::GENERATION_JUMP;
    for steps in 1..=2 {
        desk.register_with("mallory", steps, |register| register.scheduler_generation = far);
        let generation = u64::from(desk.core.generation());
        assert_eq!(generation, (steps * (u64::from(limits::GENERATION_JUMP) + 1)).min(u64::from(far) + 1));
    }
    desk.register_with("mallory", 3, |register| register.scheduler_generation = far);
    assert_eq!((desk.core.generation(), desk.alarms.len()), (far + 1, 2), "whoever is right is heard");
}
