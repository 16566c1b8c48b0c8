//! Displacing what is booked (PROTOCOL.md, "Priority, displacement, moving"): the overlay, the one transaction, the
//! search for another slot, and what may cross it on its way.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::core::coordinator::{Change, Command, Input, Refused, Reply, ScheduleRequest};
use quorate::core::ids::{Attempt, Ticket};
use quorate::core::limits;
use quorate::core::message::{AckKind, Hold, NoticeKind, Refusal, ReleaseCause, SchedulerMessage};
use quorate::core::model::{AttendeeStatus, FailureReason, Meeting, MeetingSpec, MeetingState};
use quorate::core::record::AttemptState;
use quorate::core::time::TimeRange;

use super::desk::{Desk, hour, options, request, spec};

const HOUR: Duration = Duration::from_secs(3600);

/// May displace, with priority 5.
fn urgent(who: &[&str], hours: i64) -> MeetingSpec {
    MeetingSpec { priority: 5, displace: true, ..spec(who, hours) }
}

/// May be displaced, with priority 1.
fn yielding(who: &[&str]) -> MeetingSpec {
    MeetingSpec { displaceable: true, ..spec(who, 4) }
}

fn at(desk: &mut Desk, slot: TimeRange, spec: MeetingSpec) -> Ticket {
    let slot = Some(slot);
    desk.command(Command::Schedule(Box::new(ScheduleRequest { slot, ..request(spec) })))
}

/// Books exactly this slot; all confirms are acknowledged.
fn book(desk: &mut Desk, slot: TimeRange, spec: MeetingSpec) -> Attempt {
    let names: Vec<String> = spec.attendees.iter().map(|a| a.id.to_string()).collect();
    let ticket = at(desk, slot, spec);
    let attempt = desk.hold().attempt;
    for name in &names {
        desk.grants(name, &attempt);
    }
    assert_eq!(desk.answer(ticket).booked, Some(attempt.n));
    for name in &names {
        desk.acks(name, &attempt, AckKind::Confirm);
    }
    desk.sent.clear();
    attempt
}

fn stored(desk: &mut Desk, attempt: &Attempt) -> Meeting {
    desk.meeting(&attempt.meeting).expect("the meeting's row")
}

fn to(attempt: &Attempt, slot: TimeRange) -> Command {
    let meeting = attempt.meeting.clone();
    let slot = Some(slot);
    Command::Reschedule { meeting, version: None, slot, window: None, duration: None, options: options() }
}

fn refused(desk: &Desk, ticket: Ticket) -> Option<Refused> {
    match desk.reply(ticket) {
        Some(Reply::Refused(refused)) => Some(refused.clone()),
        _ => None,
    }
}

#[test]
fn a_slot_that_displaces_nobody_comes_first() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["alice", "bob"]));
    desk.schedule(urgent(&["alice"], 2));
    let query = desk.query();
    assert_eq!(query.disregard, std::slice::from_ref(&old), "asked as if it were gone");
    desk.free("alice", &query, &[hour(0), hour(1)]);
    let hold = desk.hold();
    assert_eq!((hold.slot, hold.displaces), (hour(1), vec![]));
}

#[test]
fn the_old_booking_stands_until_the_one_transaction_that_displaces_it() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["alice", "bob"]));
    let before = stored(&mut desk, &old);
    let ticket = desk.schedule(urgent(&["alice"], 1));
    let query = desk.query();
    desk.free("alice", &query, &[hour(0)]);
    let hold = desk.hold();
    assert_eq!((hold.slot, &hold.displaces), (hour(0), &vec![old.clone()]));
    assert_eq!(desk.booked("alice"), std::slice::from_ref(&old));
    desk.slow = true;
    desk.grants("alice", &hold.attempt);
    assert_eq!((desk.state(&old), stored(&mut desk, &old)), (AttemptState::Committed, before.clone()));
    desk.commit();
    assert_eq!(
        (desk.state(&old), desk.state(&hold.attempt)),
        (AttemptState::Superseded, AttemptState::Committed)
    );
    assert_eq!(desk.booked("alice"), std::slice::from_ref(&hold.attempt));
    assert!(desk.booked("bob").is_empty());
    let after = stored(&mut desk, &old);
    assert_eq!((after.state, after.slot, after.booked), (MeetingState::Displaced, None, None));
    assert_eq!((after.displaced_count, after.displaced_by.as_ref()), (1, Some(&hold.attempt.meeting)));
    assert_eq!(
        (after.version, &after.rank),
        (before.version + 1, &before.rank),
        "its rank is fixed for life"
    );
    assert!(after.attendees.iter().all(|o| o.status == AttendeeStatus::NotAsked));
    assert_eq!(desk.answer(ticket).displaced, std::slice::from_ref(&old.meeting));
    // Alice drops it with the confirm; Bob is released.
    let confirm = desk.sent.iter().find_map(|(to, message)| match message {
        SchedulerMessage::Confirm { displaces, .. } => Some((to.to_string(), displaces.clone())),
        _ => None,
    });
    assert_eq!(confirm, Some(("alice".to_owned(), vec![old.clone()])));
    assert_eq!(desk.released(&old), [("bob".to_owned(), ReleaseCause::Displaced)]);
    let noticed: BTreeSet<String> = desk
        .sent
        .iter()
        .filter_map(|(to, message)| match message {
            SchedulerMessage::Notice(n) if n.kind == NoticeKind::BeingMoved && n.slot == Some(hour(0)) => {
                Some(to.to_string())
            }
            _ => None,
        })
        .collect();
    assert_eq!(noticed, BTreeSet::from(["alice".to_owned(), "bob".to_owned()]));
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

#[test]
fn a_displaced_meeting_is_sought_again_by_itself() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["alice", "bob"]));
    book(&mut desk, hour(0), urgent(&["alice"], 1));
    assert_eq!(stored(&mut desk, &old).state, MeetingState::Displaced);
    // What book() sent is cleared; the query of the new search is sent again on the agents' next registration only,
    // so the round runs out and the answers of a later one count.
    desk.pass(limits::RESPONSE_TIMEOUT_DEFAULT);
    assert_eq!(stored(&mut desk, &old).state, MeetingState::Failed, "nobody answered");
    assert_eq!(stored(&mut desk, &old).failure.map(|f| f.reason), Some(FailureReason::RequiredUnreachable));

    let old = book(&mut desk, hour(1), yielding(&["alice", "bob"]));
    at(&mut desk, hour(1), urgent(&["alice"], 4));
    let new = desk.hold().attempt;
    desk.grants("alice", &new);
    let query = desk.query();
    assert!(query.disregard.is_empty());
    desk.free("alice", &query, &[hour(2), hour(3)]);
    desk.free("bob", &query, &[hour(2), hour(3)]);
    let again = desk.hold();
    assert_eq!((&again.attempt.meeting, again.slot), (&old.meeting, hour(2)));
    assert!(again.attempt.n > old.n);
    assert_eq!(stored(&mut desk, &old).state, MeetingState::Displaced, "until it is booked");
    desk.grants("alice", &again.attempt);
    desk.grants("bob", &again.attempt);
    let moved = stored(&mut desk, &old);
    assert_eq!((moved.state, moved.slot, moved.sequence), (MeetingState::Confirmed, Some(hour(2)), 1));
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

#[test]
fn a_named_slot_that_was_displaced_is_sought_from_there_on() {
    let mut desk = Desk::new(&["alice", "bob"]);
    book(&mut desk, hour(2), yielding(&["alice", "bob"]));
    at(&mut desk, hour(2), urgent(&["alice"], 4));
    let new = desk.hold().attempt;
    desk.grants("alice", &new);
    let asked = desk.query().windows;
    let first = asked.iter().map(|window| window.start).min();
    assert_eq!(first, Some(hour(2).start), "no window was ever asked for: not before it");
    let last = asked.iter().map(|window| window.end).max();
    assert!(last > Some(hour(24).end), "{last:?}");
}

#[test]
fn a_displaced_meeting_is_not_moved_to_within_the_hour() {
    let mut desk = Desk::new(&["alice"]);
    let ticket = desk.schedule(yielding(&["alice"]));
    let query = desk.query();
    desk.free("alice", &query, &[hour(3)]);
    let old = desk.hold().attempt;
    desk.grants("alice", &old);
    assert_eq!(desk.answer(ticket).slot, Some(hour(3)));
    desk.pass(24 * HOUR);
    at(&mut desk, hour(3), urgent(&["alice"], 4));
    let new = desk.hold().attempt;
    desk.grants("alice", &new);
    let first = desk.query().windows.iter().map(|window| window.start).min();
    assert_eq!(first, Some(hour(2).start), "it is nine: ten is within the hour");
}

#[test]
fn a_repeated_request_finds_the_search_of_its_displaced_meeting() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["alice", "bob"]));
    let id = stored(&mut desk, &old).request_id.to_string();
    book(&mut desk, hour(0), urgent(&["alice"], 1));
    let ticket = desk.schedule_as(&id, "body", yielding(&["alice", "bob"]));
    assert!(desk.reply(ticket).is_none(), "being sought");
    let cancel = desk.command(Command::Cancel { meeting: old.meeting.clone(), version: None });
    assert_eq!(desk.answer(ticket).state, MeetingState::Cancelled);
    assert_eq!(desk.answer(cancel).state, MeetingState::Cancelled);
}

#[test]
fn a_repeated_request_that_crosses_the_displacing_decision_waits_for_the_outcome() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["alice", "bob"]));
    let id = stored(&mut desk, &old).request_id.to_string();
    at(&mut desk, hour(0), urgent(&["alice"], 1));
    let hold = desk.hold().attempt;
    desk.slow = true;
    desk.grants("alice", &hold);
    let ticket = desk.schedule_as(&id, "body", yielding(&["alice", "bob"]));
    desk.slow = false;
    desk.commit();
    assert!(desk.reply(ticket).is_none(), "being sought");
    let query = desk.query();
    desk.free("alice", &query, &[hour(2)]);
    desk.free("bob", &query, &[hour(2)]);
    let again = desk.hold().attempt;
    desk.grants("alice", &again);
    desk.grants("bob", &again);
    assert_eq!(desk.answer(ticket).slot, Some(hour(2)));
}

/// What must not be displaced, and why.
#[test]
fn only_what_may_be_displaced_is() {
    type Set = fn(&mut MeetingSpec, &mut MeetingSpec);
    let cases: [(&str, Set, bool); 4] = [
        ("lower, and displaceable", |_, _| (), true),
        ("of the same priority", |old, _| old.priority = 5, false),
        ("not displaceable", |old, _| old.displaceable = false, false),
        ("the request may not", |_, new| new.displace = false, false),
    ];
    for (what, set, expected) in cases {
        let mut desk = Desk::new(&["alice"]);
        let (mut low, mut high) = (yielding(&["alice"]), urgent(&["alice"], 1));
        set(&mut low, &mut high);
        let old = book(&mut desk, hour(0), low);
        at(&mut desk, hour(0), high);
        let displaces = desk.hold().displaces;
        assert_eq!(displaces, if expected { vec![old] } else { Vec::new() }, "{what}");
    }
}

#[test]
fn what_starts_within_the_hour_is_not_displaced() {
    for (left, expected) in [(HOUR + Duration::from_secs(1), true), (HOUR, false)] {
        let mut desk = Desk::new(&["alice"]);
        let old = book(&mut desk, hour(0), yielding(&["alice"]));
        desk.pass(24 * HOUR - left);
        at(&mut desk, hour(0), urgent(&["alice"], 1));
        assert_eq!(desk.hold().displaces, if expected { vec![old] } else { Vec::new() }, "{left:?}");
    }
}

#[test]
fn a_hold_that_was_in_time_is_given_up_if_its_decision_is_not() {
    let mut desk = Desk::new(&["alice"]);
    let old = book(&mut desk, hour(0), yielding(&["alice"]));
    desk.pass(23 * HOUR - Duration::from_secs(1));
    at(&mut desk, hour(0), urgent(&["alice"], 1));
    let hold = desk.hold();
    assert_eq!(hold.displaces, std::slice::from_ref(&old));
    desk.pass(Duration::from_secs(2));
    desk.grants("alice", &hold.attempt);
    assert_eq!(desk.state(&hold.attempt), AttemptState::Aborted);
    assert_eq!(stored(&mut desk, &old).state, MeetingState::Confirmed);
}

#[test]
fn nothing_is_displaced_more_than_twice() {
    let mut desk = Desk::new(&["alice"]);
    let old = book(&mut desk, hour(0), yielding(&["alice"]));
    for (turn, slot) in [(1, hour(1)), (2, hour(2))] {
        let stands = stored(&mut desk, &old).slot.expect("a slot");
        at(&mut desk, stands, urgent(&["alice"], 1));
        let hold = desk.hold().attempt;
        desk.grants("alice", &hold);
        let query = desk.query();
        desk.free("alice", &query, &[slot]);
        let again = desk.hold().attempt;
        desk.grants("alice", &again);
        let meeting = stored(&mut desk, &old);
        assert_eq!((meeting.slot, meeting.displaced_count, meeting.moved), (Some(slot), turn, turn));
    }
    at(&mut desk, hour(2), urgent(&["alice"], 1));
    assert!(desk.hold().displaces.is_empty(), "a third time");
}

#[test]
fn only_as_much_is_displaced_as_the_quorum_needs() {
    let mut desk = Desk::new(&["alice", "bob", "carol"]);
    let first = book(&mut desk, hour(0), yielding(&["alice"]));
    let second = book(&mut desk, hour(0), yielding(&["bob"]));
    let third = book(&mut desk, hour(0), yielding(&["carol"]));
    let spec = MeetingSpec { minimum_participants: 2, ..urgent(&["+alice", "+bob", "carol?"], 1) };
    at(&mut desk, hour(0), spec);
    let hold = desk.hold();
    let displaces: BTreeSet<Attempt> = hold.displaces.iter().cloned().collect();
    assert_eq!(displaces, BTreeSet::from([first, second]), "two for the quorum, none for the optional one");
    assert_eq!(
        BTreeSet::from_iter(desk.held_by(&hold.attempt)),
        BTreeSet::from(["alice".into(), "bob".into()])
    );
    desk.grants("alice", &hold.attempt);
    desk.grants("bob", &hold.attempt);
    assert_eq!(stored(&mut desk, &third).state, MeetingState::Confirmed);
    assert!(desk.booked("carol").contains(&third));
}

#[test]
fn a_named_slot_that_is_refused_is_taken_by_displacing_if_that_is_enough() {
    let mut desk = Desk::new(&["alice", "carol"]);
    book(&mut desk, hour(0), spec(&["alice"], 4));
    let old = book(&mut desk, hour(0), yielding(&["carol"]));
    let spec = MeetingSpec { minimum_participants: 1, ..urgent(&["+alice", "+carol"], 1) };
    let ticket = at(&mut desk, hour(0), spec);
    let first = desk.hold();
    assert_eq!((desk.held_by(&first.attempt), first.displaces), (vec!["alice".to_owned()], vec![]));
    desk.refuses("alice", &first.attempt, Refusal::Booked);
    let second = desk.hold();
    assert_eq!((desk.held_by(&second.attempt), second.displaces), (vec!["carol".to_owned()], vec![old]));
    desk.grants("carol", &second.attempt);
    assert_eq!(desk.answer(ticket).slot, Some(hour(0)));
}

#[test]
fn a_move_under_way_is_given_up_in_the_transaction_that_displaces_its_meeting() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["alice", "bob"]));
    let moving = desk.command(to(&old, hour(2)));
    let open = desk.hold().attempt;
    desk.grants("bob", &open);
    at(&mut desk, hour(0), urgent(&["alice"], 1));
    let hold = desk.hold();
    assert_eq!(hold.displaces, std::slice::from_ref(&old));
    desk.slow = true;
    desk.grants("alice", &hold.attempt);
    desk.grants("alice", &open);
    assert_eq!(desk.state(&open), AttemptState::Holding);
    desk.commit();
    assert_eq!((desk.state(&open), desk.state(&old)), (AttemptState::Aborted, AttemptState::Superseded));
    assert_eq!(refused(&desk, moving), Some(Refused::NotConfirmed(MeetingState::Displaced)));
    let released = desk.released(&open);
    let names: BTreeSet<&str> = released.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["alice", "bob"]));
    assert!(released.iter().all(|(_, cause)| *cause == ReleaseCause::Aborted));
    // No number is given out twice.
    desk.slow = false;
    let query = desk.query();
    desk.free("alice", &query, &[hour(3)]);
    desk.free("bob", &query, &[hour(3)]);
    assert!(desk.hold().attempt.n > open.n);
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

/// Bob's meeting at nine is to give way, and everybody has granted it. But alice's journal begins a new life, and her vote
/// overtakes it on its way to the disk: with [`Desk::commit`] the decision is refused.
fn displaces_in_vain(desk: &mut Desk) -> Hold {
    displaces_in_vain_after(desk, |_| {})
}

/// The same; what `first` does is on its way to the disk before.
fn displaces_in_vain_after(desk: &mut Desk, first: impl FnOnce(&mut Desk)) -> Hold {
    at(desk, hour(0), urgent(&["+alice", "+bob"], 1));
    let hold = desk.hold();
    desk.grants("bob", &hold.attempt);
    desk.slow = true;
    first(desk);
    desk.register_as("alice", "another journal", 1, &[], &[]);
    desk.grants("alice", &hold.attempt);
    hold
}

#[test]
fn a_move_under_way_goes_on_if_the_displacing_decision_is_refused() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["bob"]));
    let moving = desk.command(to(&old, hour(2)));
    let open = desk.hold().attempt;
    let hold = displaces_in_vain(&mut desk);
    desk.slow = false;
    desk.commit();
    assert_ne!(desk.state(&hold.attempt), AttemptState::Committed);
    assert_eq!(stored(&mut desk, &old).state, MeetingState::Confirmed);
    assert_eq!(desk.state(&open), AttemptState::Holding);
    desk.grants("bob", &open);
    assert_eq!(desk.answer(moving).slot, Some(hour(2)));
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

/// What was said to it while it was suspended counts.
#[test]
fn a_vote_for_a_move_that_comes_during_the_displacing_decision_is_not_lost() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["bob"]));
    let moving = desk.command(to(&old, hour(2)));
    let open = desk.hold().attempt;
    let hold = displaces_in_vain(&mut desk);
    desk.grants("bob", &open);
    desk.slow = false;
    desk.commit();
    assert_ne!(desk.state(&hold.attempt), AttemptState::Committed);
    assert_eq!(desk.answer(moving).slot, Some(hour(2)));
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

/// A move is suspended while its meeting may be displaced, and goes on as the displacing decision is refused. `rank` is of a
/// third meeting that wants the new slot of the move, for bob, who refused it for the move's hold meanwhile. Returns the move's
/// attempt and the other one.
fn resumed_beside(desk: &mut Desk, rank: i32) -> [Attempt; 2] {
    let old = book(desk, hour(0), MeetingSpec { priority: 2, ..yielding(&["bob"]) });
    let third = |desk: &mut Desk| {
        at(desk, hour(2), MeetingSpec { priority: rank, ..spec(&["bob"], 4) });
        desk.hold().attempt
    };
    // The lower rank asks first, or it would not ask beside the higher one; bob hears of the move first.
    let before = (rank < 2).then(|| third(desk));
    desk.command(to(&old, hour(2)));
    let open = desk.hold().attempt;
    let other = before.unwrap_or_else(|| third(desk));
    assert_ne!(open, other);
    let hold = displaces_in_vain(desk);
    assert_eq!(hold.displaces, [old]);
    desk.refuses("bob", &other, Refusal::Held(Some(open.clone())));
    desk.slow = false;
    desk.commit();
    assert_ne!(desk.state(&hold.attempt), AttemptState::Committed);
    [open, other]
}

#[test]
fn a_lower_rank_pushes_no_move_that_goes_on() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let [open, other] = resumed_beside(&mut desk, 1);
    assert_eq!((desk.state(&open), desk.state(&other)), (AttemptState::Holding, AttemptState::Aborted));
    assert_eq!(desk.core.counters().pushed, 0);
}

#[test]
fn a_higher_rank_pushes_a_move_that_goes_on() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let [open, other] = resumed_beside(&mut desk, 3);
    assert_eq!((desk.state(&open), desk.state(&other)), (AttemptState::Aborted, AttemptState::Holding));
    assert_eq!(desk.core.counters().pushed, 1);
}

/// A meeting of priority 2 has two of the three whom it needs two of, and its decision is refused: one of them has a new
/// journal. It goes on, and waits for the third. `rank` is of another one that wants bob at that time, who told it meanwhile that
/// he is held. Returns both attempts.
fn undecided_beside(desk: &mut Desk, rank: i32) -> [Attempt; 2] {
    let other = |desk: &mut Desk| {
        at(desk, hour(0), MeetingSpec { priority: rank, ..spec(&["bob"], 4) });
        desk.hold().attempt
    };
    let before = (rank < 2).then(|| other(desk));
    let two = MeetingSpec { priority: 2, minimum_participants: 2, ..spec(&["+alice", "+bob", "+carol"], 4) };
    at(desk, hour(0), two);
    let open = desk.hold().attempt;
    desk.grants("bob", &open);
    let other = before.unwrap_or_else(|| other(desk));
    desk.slow = true;
    desk.register_as("alice", "another journal", 1, &[], &[]);
    desk.grants("alice", &open);
    desk.pass(limits::VOTE_GRACE);
    desk.refuses("bob", &other, Refusal::Held(Some(open.clone())));
    desk.slow = false;
    desk.commit();
    [open, other]
}

#[test]
fn a_higher_rank_that_waits_for_a_decision_pushes_what_is_not_decided_after_all() {
    let mut desk = Desk::new(&["alice", "bob", "carol"]);
    let [open, other] = undecided_beside(&mut desk, 3);
    assert_eq!((desk.state(&open), desk.state(&other)), (AttemptState::Aborted, AttemptState::Holding));
    assert_eq!(desk.core.counters().pushed, 1);
}

#[test]
fn a_lower_rank_that_waits_for_a_decision_gives_way_to_what_is_not_decided_after_all() {
    let mut desk = Desk::new(&["alice", "bob", "carol"]);
    let [open, other] = undecided_beside(&mut desk, 1);
    assert_eq!((desk.state(&open), desk.state(&other)), (AttemptState::Holding, AttemptState::Aborted));
    assert_eq!(desk.core.counters().pushed, 0);
    desk.grants("carol", &open);
    assert_eq!(desk.state(&open), AttemptState::Committed);
}

/// What a suspended move waits for is decided meanwhile: bob is asked again.
#[test]
fn a_move_that_goes_on_waits_for_nothing_that_is_decided() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), MeetingSpec { priority: 2, ..yielding(&["bob"]) });
    desk.schedule_at(hour(2), &["bob"]);
    let other = desk.hold().attempt;
    let moving = desk.command(to(&old, hour(2)));
    let open = desk.hold().attempt;
    displaces_in_vain_after(&mut desk, |desk| {
        desk.command(Command::Cancel { meeting: other.meeting.clone(), version: None });
    });
    desk.refuses("bob", &open, Refusal::Held(Some(other.clone())));
    assert_eq!(desk.held_by(&open), ["bob"]);
    desk.slow = false;
    desk.commit();
    assert_eq!(desk.held_by(&open), ["bob", "bob"]);
    assert_eq!((desk.state(&open), desk.state(&other)), (AttemptState::Holding, AttemptState::Aborted));
    desk.grants("bob", &open);
    assert_eq!(desk.answer(moving).slot, Some(hour(2)));
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

#[test]
fn a_meeting_cancelled_meanwhile_is_not_displaced() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["alice", "bob"]));
    let ticket = at(&mut desk, hour(0), urgent(&["alice"], 1));
    let first = desk.hold().attempt;
    desk.command(Command::Cancel { meeting: old.meeting.clone(), version: None });
    desk.grants("alice", &first);
    assert_eq!(desk.state(&first), AttemptState::Aborted, "D3 rests on the meeting as it was read");
    let second = desk.hold();
    assert_eq!((second.slot, &second.displaces), (hour(0), &vec![]));
    desk.grants("alice", &second.attempt);
    assert_eq!(desk.answer(ticket).slot, Some(hour(0)));
    assert_eq!(stored(&mut desk, &old).state, MeetingState::Cancelled);
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

#[test]
fn a_cancel_that_crosses_the_decision_cancels_the_displaced_meeting() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["alice", "bob"]));
    at(&mut desk, hour(0), urgent(&["alice"], 1));
    let hold = desk.hold().attempt;
    desk.slow = true;
    desk.grants("alice", &hold);
    let cancel = desk.command(Command::Cancel { meeting: old.meeting.clone(), version: None });
    desk.slow = false;
    desk.commit();
    assert_eq!(desk.answer(cancel).state, MeetingState::Cancelled);
    assert_eq!(stored(&mut desk, &old).state, MeetingState::Cancelled);
    assert_eq!(desk.state(&hold), AttemptState::Committed);
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

#[test]
fn a_refused_overlay_displaces_nobody() {
    let mut desk = Desk::new(&["alice"]);
    let old = book(&mut desk, hour(0), yielding(&["alice"]));
    let ticket = at(&mut desk, hour(0), urgent(&["alice"], 1));
    let hold = desk.hold().attempt;
    desk.refuses("alice", &hold, Refusal::Busy);
    assert_eq!(desk.answer(ticket).state, MeetingState::Failed);
    assert_eq!(stored(&mut desk, &old).state, MeetingState::Confirmed);
    assert_eq!(desk.booked("alice"), [old]);
}

#[test]
fn a_restart_goes_on_with_what_was_displaced() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["alice", "bob"]));
    book(&mut desk, hour(0), urgent(&["alice"], 1));
    desk.restart();
    desk.register("alice", 0, &[], &[]);
    desk.register("bob", 0, &[], &[]);
    let query = desk.query();
    desk.free("alice", &query, &[hour(3)]);
    desk.free("bob", &query, &[hour(3)]);
    let again = desk.hold();
    assert_eq!((&again.attempt.meeting, again.slot), (&old.meeting, hour(3)));
}

#[test]
fn a_drain_leaves_the_search_to_the_next_start() {
    let mut desk = Desk::new(&["alice"]);
    let old = book(&mut desk, hour(0), yielding(&["alice"]));
    at(&mut desk, hour(0), urgent(&["alice"], 1));
    let hold = desk.hold().attempt;
    desk.input(Input::Drain(limits::DRAIN));
    desk.grants("alice", &hold);
    assert_eq!((desk.core.live_count(), desk.state(&hold)), (0, AttemptState::Committed));
    assert_eq!(stored(&mut desk, &old).state, MeetingState::Displaced);
}

#[test]
fn what_was_found_says_what_it_would_displace() {
    let mut desk = Desk::new(&["alice"]);
    let old = book(&mut desk, hour(0), yielding(&["alice"]));
    let ticket = desk.command(Command::Find { spec: urgent(&["alice"], 2), options: options(), limit: 10 });
    let query = desk.query();
    desk.free("alice", &query, &[hour(0), hour(1)]);
    let Some(Reply::Found { candidates, .. }) = desk.reply(ticket) else { panic!("no answer") };
    let found: Vec<_> = candidates.iter().map(|c| (c.slot, c.displaces.clone())).collect();
    assert_eq!(found, [(hour(1), vec![]), (hour(0), vec![old.meeting.clone()])]);
}

#[test]
fn an_agent_that_still_has_it_is_told_that_it_was_displaced() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["alice", "bob"]));
    let row = desk.row(&old);
    book(&mut desk, hour(0), urgent(&["alice"], 1));
    desk.acks("bob", &old, AckKind::Release);
    desk.sent.clear();
    desk.register("bob", 9, &[], &[&row]);
    assert_eq!(desk.released(&old), [("bob".to_owned(), ReleaseCause::Displaced)]);
}

/// Found by the simulated world (seed 5023947): whoever leaves before the confirm is heard keeps what it displaced for a
/// booking, as only the confirm would have dropped it.
#[test]
fn whoever_leaves_before_the_confirm_is_told_what_it_displaced() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["alice", "bob"]));
    desk.schedule(urgent(&["alice"], 1));
    let query = desk.query();
    desk.free("alice", &query, &[hour(0)]);
    let new = desk.hold().attempt;
    desk.grants("alice", &new);
    // The confirm is lost; alice leaves the hold that she knows of.
    desk.sent.clear();
    desk.withdraws("alice", &new);
    assert_eq!(desk.released(&new), [("alice".to_owned(), ReleaseCause::Withdrawn)]);
    let told = desk.released(&old);
    assert_eq!(told.last(), Some(&("alice".to_owned(), ReleaseCause::Displaced)), "{told:?}");
    let owed = |desk: &mut Desk| {
        desk.undelivered().into_iter().filter(|(name, ..)| name == "alice").collect::<Vec<_>>()
    };
    let release = |attempt: &Attempt| ("alice".to_owned(), attempt.clone(), AckKind::Release);
    let expected: BTreeSet<_> = [release(&old), release(&new)].into();
    assert_eq!(owed(&mut desk).into_iter().collect::<BTreeSet<_>>(), expected);
}

/// The same for a move that is called off before it was heard of.
#[test]
fn a_move_called_off_before_its_confirm_releases_what_it_replaced() {
    let mut desk = Desk::new(&["alice"]);
    let old = book(&mut desk, hour(0), yielding(&["alice"]));
    desk.command(to(&old, hour(1)));
    let new = desk.hold().attempt;
    desk.grants("alice", &new);
    desk.sent.clear();
    desk.command(Command::Cancel { meeting: new.meeting.clone(), version: None });
    assert_eq!(desk.released(&new), [("alice".to_owned(), ReleaseCause::Cancelled)]);
    assert_eq!(desk.released(&old), [("alice".to_owned(), ReleaseCause::Moved)]);
    desk.acks("alice", &new, AckKind::Release);
    desk.acks("alice", &old, AckKind::Release);
    assert_eq!((desk.undelivered(), desk.core.undelivered_count()), (Vec::new(), 0));
}

/// The same if the meeting's details were changed in between: the newer confirm does all that the unheard one does.
#[test]
fn new_details_before_the_confirm_was_heard_still_drop_what_it_displaced() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let old = book(&mut desk, hour(0), yielding(&["alice", "bob"]));
    desk.schedule(urgent(&["alice"], 1));
    let query = desk.query();
    desk.free("alice", &query, &[hour(0)]);
    let new = desk.hold().attempt;
    desk.grants("alice", &new);
    let change = Change { title: Some("retrospective".into()), ..Change::default() };
    desk.sent.clear();
    desk.command(Command::Update { meeting: new.meeting.clone(), version: None, change, options: options() });
    let dropped = desk.sent.iter().find_map(|(_, message)| match message {
        SchedulerMessage::Confirm { booking, displaces } if booking.attempt == new => Some(displaces.clone()),
        _ => None,
    });
    assert_eq!(dropped.as_deref(), Some(std::slice::from_ref(&old)));
    desk.sent.clear();
    desk.withdraws("alice", &new);
    let told = desk.released(&old);
    assert_eq!(told.last(), Some(&("alice".to_owned(), ReleaseCause::Displaced)), "{told:?}");
}
