//! Recurring meetings: one fan-out, one decision or one for each occurrence, and what may cross them on their way.

use std::time::Duration;

use quorate::core::coordinator::{Change, Command, Input, Refused, Reply, ScheduleRequest};
use quorate::core::ids::{Attempt, MeetingId, RequestId, SeriesId, Ticket};
use quorate::core::limits;
use quorate::core::message::{Hold, NoticeKind, Refusal, SchedulerMessage};
use quorate::core::model::{FailureReason, Meeting, MeetingSpec, MeetingState};
use quorate::core::record::{AttemptState, Read, ReadResult};
use quorate::core::series::{
    ConflictPolicy, Frequency, OccurrenceOutcome, Pattern, Series, SeriesRequest, SeriesState,
};
use quorate::core::time::TimeRange;

use super::desk::{Desk, attendees, hour, options, request, spec};

pub const DAY: i64 = 24;

/// Every week from `first` on, three times.
pub fn weekly(spec: MeetingSpec, first: Option<TimeRange>) -> SeriesRequest {
    SeriesRequest {
        request_id: None,
        body_hash: "body".into(),
        spec,
        first,
        pattern: Pattern::Rule("FREQ=WEEKLY;COUNT=3".into()),
        exclude: Vec::new(),
        policy: ConflictPolicy::FailSeries,
        options: options(),
        validate_only: false,
    }
}

pub fn week(n: i64) -> TimeRange {
    hour(n * 7 * DAY)
}

pub fn ask(desk: &mut Desk, request: SeriesRequest) -> Ticket {
    desk.command(Command::ScheduleSeries(Box::new(request)))
}

#[test]
fn a_rule_that_ends_before_its_first_slot_says_so() {
    let mut desk = Desk::new(&["alice"]);
    let first = quorate::core::zones::to_civil(week(1).start, &jiff::tz::TimeZone::UTC).date();
    let before = |date: jiff::civil::Date| date.yesterday().expect("a day");
    let last = before(first);
    for (pattern, field) in [
        (Pattern::Plain(Frequency::Weekly, Some(last)), "end_date"),
        (Pattern::Plain(Frequency::Monthly, Some(before(before(last)))), "end_date"),
        (Pattern::Rule(format!("FREQ=WEEKLY;UNTIL={}", last.strftime("%Y%m%d"))), "rrule"),
    ] {
        let request = SeriesRequest { pattern, ..weekly(spec(&["alice"], 1), Some(week(1))) };
        let ticket = ask(&mut desk, request);
        let Some(Reply::Refused(Refused::Invalid { field: found, description })) = desk.reply(ticket) else {
            panic!("{:?}", desk.reply(ticket))
        };
        assert_eq!(found, field);
        let expected = format!("lies before the first slot, which is on {first}");
        assert!(description.contains(&expected), "{description}");
    }
}

/// The holds that were sent last, in the order of their slots: one for each occurrence.
pub fn holds(desk: &Desk) -> Vec<Hold> {
    let mut holds: Vec<Hold> = desk
        .sent
        .iter()
        .filter_map(|(_, message)| match message {
            SchedulerMessage::Hold(hold) => Some((**hold).clone()),
            _ => None,
        })
        .collect();
    holds.sort_by_key(|hold| (hold.slot, hold.attempt.clone()));
    holds.dedup();
    holds
}

pub fn series_of(desk: &Desk, ticket: Ticket) -> SeriesId {
    match desk.reply(ticket) {
        Some(Reply::Series(id, failures)) => {
            assert!(failures.is_empty(), "{failures:?}");
            id.clone()
        }
        other => panic!("{ticket:?} was answered by {other:?}"),
    }
}

pub fn stored(desk: &mut Desk, id: &SeriesId) -> (Series, Vec<Meeting>) {
    match desk.read(Read::Series(id.clone())) {
        ReadResult::Series(Some(found)) => {
            (found.0, found.1.into_iter().map(|(meeting, _)| meeting).collect())
        }
        other => panic!("{id} is {other:?}"),
    }
}

pub fn outcomes(desk: &mut Desk, id: &SeriesId) -> Vec<OccurrenceOutcome> {
    let (series, meetings) = stored(desk, id);
    let of = |id: &Option<MeetingId>| meetings.iter().find(|meeting| Some(&meeting.id) == id.as_ref());
    series.occurrences.iter().map(|o| o.outcome(series.state, of(&o.meeting))).collect()
}

pub fn states(desk: &mut Desk, holds: &[Hold]) -> Vec<AttemptState> {
    holds.iter().map(|hold| desk.state(&hold.attempt)).collect()
}

/// Alice and Bob are free in all three weeks; the holds that follow.
fn held(desk: &mut Desk) -> (Ticket, Vec<Hold>) {
    let ticket = ask(desk, weekly(spec(&["alice", "bob"], 1), Some(week(0))));
    let query = desk.query();
    assert_eq!(query.windows, [week(0), week(1), week(2)], "one query asks for all of it");
    for name in ["alice", "bob"] {
        desk.free(name, &query, &[week(0), week(1), week(2)]);
    }
    let holds = holds(desk);
    assert_eq!(holds.iter().map(|hold| hold.slot).collect::<Vec<_>>(), [week(0), week(1), week(2)]);
    (ticket, holds)
}

#[test]
fn all_occurrences_are_decided_in_one_transaction_or_none() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let (ticket, holds) = held(&mut desk);
    for hold in &holds {
        desk.grants("alice", &hold.attempt);
    }
    for hold in &holds[..2] {
        desk.grants("bob", &hold.attempt);
    }
    assert_eq!(states(&mut desk, &holds), [AttemptState::Holding; 3], "two of three are no series");
    desk.slow = true;
    desk.grants("bob", &holds[2].attempt);
    assert_eq!(states(&mut desk, &holds), [AttemptState::Holding; 3]);
    assert_eq!(desk.reply(ticket), None, "nothing is said before it is on disk");
    desk.commit();
    assert_eq!(states(&mut desk, &holds), [AttemptState::Committed; 3]);
    let id = series_of(&desk, ticket);
    let (series, meetings) = stored(&mut desk, &id);
    assert_eq!((series.state, series.first), (SeriesState::Confirmed, Some(week(0))));
    assert!(meetings.iter().all(|meeting| meeting.state == MeetingState::Confirmed));
    let booked = |o: &OccurrenceOutcome| *o == OccurrenceOutcome::Booked;
    assert!(outcomes(&mut desk, &id).iter().all(booked));
    for (hold, n) in holds.iter().zip(0..) {
        assert_eq!(desk.confirmed(&hold.attempt), ["alice", "bob"]);
        let recurrence = meetings[n].series.clone().expect("it says which occurrence it is");
        assert_eq!((&recurrence.series, recurrence.instant), (&id, week(n as i64).start));
        assert_eq!(recurrence.rule, "FREQ=WEEKLY;COUNT=3");
    }
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

#[test]
fn one_occurrence_that_is_refused_gives_up_all_of_them() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let (ticket, holds) = held(&mut desk);
    for hold in &holds {
        desk.grants("alice", &hold.attempt);
    }
    desk.grants("bob", &holds[0].attempt);
    desk.refuses("bob", &holds[1].attempt, Refusal::Busy);
    assert_eq!(states(&mut desk, &holds), [AttemptState::Aborted; 3]);
    for hold in &holds {
        assert_eq!(desk.released(&hold.attempt).len(), 2, "everyone who was asked is released");
    }
    let id = series_of(&desk, ticket);
    let (series, meetings) = stored(&mut desk, &id);
    assert_eq!(series.state, SeriesState::Failed);
    let failure = series.failure.expect("the reasons");
    assert!(failure.message.contains("2030-01-15"), "{}", failure.message);
    assert!(meetings.iter().all(|meeting| meeting.state == MeetingState::Failed), "no row is left undecided");
    assert_eq!(desk.core.live_count(), 0);
}

#[test]
fn the_next_first_slot_is_tried_when_one_is_refused() {
    let mut desk = Desk::new(&["alice"]);
    let ticket = ask(&mut desk, weekly(spec(&["alice"], 2), None));
    let query = desk.query();
    let all: Vec<TimeRange> = (0..3).flat_map(|n| [hour(n * 7 * DAY), hour(n * 7 * DAY + 1)]).collect();
    desk.free("alice", &query, &all);
    let first = holds(&desk);
    assert_eq!(first[0].slot, hour(0));
    desk.sent.clear();
    desk.refuses("alice", &first[2].attempt, Refusal::Busy);
    let second = holds(&desk);
    assert_eq!(second.iter().map(|hold| hold.slot).collect::<Vec<_>>(), [all[1], all[3], all[5]]);
    assert!(
        second.iter().zip(&first).all(|(a, b)| a.attempt.meeting == b.attempt.meeting),
        "the same meetings"
    );
    for hold in &second {
        desk.grants("alice", &hold.attempt);
    }
    let id = series_of(&desk, ticket);
    assert_eq!(outcomes(&mut desk, &id), [OccurrenceOutcome::Booked; 3]);
    assert_eq!(states(&mut desk, &first), [AttemptState::Aborted; 3]);
}

#[test]
fn a_first_slot_must_suit_every_occurrence() {
    let mut desk = Desk::new(&["alice"]);
    ask(&mut desk, weekly(spec(&["alice"], 2), None));
    let query = desk.query();
    // At nine she is busy in the second week; at ten she is always free.
    let ten = |n: i64| hour(n * 7 * DAY + 1);
    desk.free("alice", &query, &[week(0), week(2), ten(0), ten(1), ten(2)]);
    assert_eq!(holds(&desk).iter().map(|hold| hold.slot).collect::<Vec<_>>(), [ten(0), ten(1), ten(2)]);
}

#[test]
fn a_series_that_cannot_be_had_says_which_occurrences_and_why() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let ticket = ask(&mut desk, weekly(spec(&["alice", "bob"], 1), Some(week(0))));
    let query = desk.query();
    desk.free("alice", &query, &[week(0), week(1), week(2)]);
    desk.free("bob", &query, &[week(0), week(2)]);
    let id = series_of(&desk, ticket);
    let (series, meetings) = stored(&mut desk, &id);
    assert_eq!((series.state, meetings.len()), (SeriesState::Failed, 0), "nobody was asked to hold anything");
    let failure = series.failure.clone().expect("the reasons");
    assert_eq!(failure.reason, FailureReason::NoCommonSlot);
    assert!(
        failure.message.contains("1 of 3") && failure.message.contains("bob: not free"),
        "{}",
        failure.message
    );
    assert_eq!(series.occurrences[1].reason, "bob: not free");
    assert_eq!(outcomes(&mut desk, &id), [OccurrenceOutcome::Skipped; 3]);
    let told =
        |m: &SchedulerMessage| matches!(m, SchedulerMessage::Notice(n) if n.kind == NoticeKind::Failed);
    assert!(desk.sent.iter().any(|(_, message)| told(message)));
}

#[test]
fn a_higher_rank_pushes_the_whole_series_away_and_it_comes_back() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let (ticket, holds_before) = held(&mut desk);
    for hold in &holds_before {
        desk.grants("alice", &hold.attempt);
    }
    let urgent = MeetingSpec { priority: 9, ..spec(&["alice"], 1) };
    let other =
        desk.command(Command::Schedule(Box::new(ScheduleRequest { slot: Some(week(0)), ..request(urgent) })));
    desk.sent.retain(|(_, message)| !matches!(message, SchedulerMessage::Hold(hold) if holds_before.iter().any(|b| b.attempt == hold.attempt)));
    let theirs = desk.hold().attempt;
    desk.refuses("alice", &theirs, Refusal::Held(Some(holds_before[0].attempt.clone())));
    assert_eq!(states(&mut desk, &holds_before), [AttemptState::Aborted; 3], "the group gives way as one");
    desk.sent.clear();
    desk.refuses("alice", &theirs, Refusal::Busy);
    assert_eq!(desk.answer(other).state, MeetingState::Failed);
    // Their attempt is decided: the series asks again, and is booked.
    desk.pass(limits::BACKOFF_MAX);
    let query = desk.query();
    for name in ["alice", "bob"] {
        desk.free(name, &query, &[week(0), week(1), week(2)]);
    }
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
        desk.grants("bob", &hold.attempt);
    }
    let id = series_of(&desk, ticket);
    assert_eq!(outcomes(&mut desk, &id), [OccurrenceOutcome::Booked; 3]);
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

#[test]
fn a_vote_that_is_lost_before_the_decision_counts_no_more() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let (ticket, holds) = held(&mut desk);
    for hold in &holds {
        desk.grants("alice", &hold.attempt);
    }
    for hold in &holds[..2] {
        desk.grants("bob", &hold.attempt);
    }
    // Alice's lease on the first one is over: she is needed, so all of it is given up and asked for again.
    desk.resolves("alice", &holds[0].attempt);
    desk.grants("bob", &holds[2].attempt);
    assert_eq!(states(&mut desk, &holds), [AttemptState::Aborted; 3]);
    assert_eq!(desk.reply(ticket), None);
}

#[test]
fn the_decision_compares_every_lineage() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let (ticket, holds) = held(&mut desk);
    desk.slow = true;
    for hold in &holds {
        desk.grants("alice", &hold.attempt);
        desk.grants("bob", &hold.attempt);
    }
    desk.slow = false;
    // Another scheduler's store says that Bob's journal began a new life.
    desk.new_lineage("bob");
    desk.commit();
    assert_eq!(states(&mut desk, &holds), [AttemptState::Aborted; 3]);
    assert_eq!(desk.reply(ticket), None, "it is sought anew");
}

#[test]
fn a_restart_gives_the_attempts_up_and_goes_on_with_the_same_meetings() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let (_, before) = held(&mut desk);
    for hold in &before {
        desk.grants("alice", &hold.attempt);
    }
    let series = stored_by_meeting(&mut desk, &before[0].attempt);
    desk.restart();
    assert_eq!(states(&mut desk, &before), [AttemptState::Aborted; 3]);
    for name in ["alice", "bob"] {
        desk.register(name, 9, &[], &[]);
    }
    let query = desk.query();
    for name in ["alice", "bob"] {
        desk.free(name, &query, &[week(0), week(1), week(2)]);
    }
    let ids: Vec<MeetingId> = before.iter().map(|hold| hold.attempt.meeting.clone()).collect();
    let again: Vec<Hold> =
        holds(&desk).into_iter().filter(|hold| !before.iter().any(|b| b.attempt == hold.attempt)).collect();
    assert_eq!(again.iter().map(|hold| hold.attempt.meeting.clone()).collect::<Vec<_>>(), ids);
    for hold in &again {
        desk.grants("alice", &hold.attempt);
        desk.grants("bob", &hold.attempt);
    }
    assert_eq!(outcomes(&mut desk, &series), [OccurrenceOutcome::Booked; 3]);
    assert_eq!(desk.core.live_count(), 0);
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

fn stored_by_meeting(desk: &mut Desk, attempt: &Attempt) -> SeriesId {
    let meeting = desk.meeting(&attempt.meeting).expect("its row");
    meeting.series.expect("an occurrence").series.clone()
}

#[test]
fn skip_leaves_out_what_cannot_be_had() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let asked =
        SeriesRequest { policy: ConflictPolicy::Skip, ..weekly(spec(&["alice", "bob"], 1), Some(week(0))) };
    let ticket = ask(&mut desk, asked);
    let query = desk.query();
    desk.free("alice", &query, &[week(0), week(1), week(2)]);
    desk.free("bob", &query, &[week(0), week(2)]);
    let held = holds(&desk);
    assert_eq!(held.iter().map(|hold| hold.slot).collect::<Vec<_>>(), [week(0), week(2)]);
    desk.grants("alice", &held[0].attempt);
    desk.grants("bob", &held[0].attempt);
    assert_eq!(desk.reply(ticket), None, "the last one is not decided");
    assert_eq!(desk.state(&held[0].attempt), AttemptState::Committed, "each is decided alone");
    desk.grants("alice", &held[1].attempt);
    desk.refuses("bob", &held[1].attempt, Refusal::Busy);
    let id = series_of(&desk, ticket);
    let wanted = [OccurrenceOutcome::Booked, OccurrenceOutcome::Skipped, OccurrenceOutcome::Skipped];
    assert_eq!(outcomes(&mut desk, &id), wanted);
    let (series, meetings) = stored(&mut desk, &id);
    assert_eq!(series.state, SeriesState::Confirmed);
    assert!(
        meetings[1].failure.as_ref().is_some_and(|failure| failure.message.contains("bob")),
        "{meetings:?}"
    );
}

#[test]
fn move_within_takes_the_nearest_slot() {
    let mut desk = Desk::new(&["alice"]);
    let policy = ConflictPolicy::MoveWithin(Duration::from_secs(2 * 3600));
    let asked = SeriesRequest { policy, ..weekly(spec(&["alice"], 1), Some(week(0))) };
    let ticket = ask(&mut desk, asked);
    let query = desk.query();
    let at = |n: i64, hours: i64| hour(n * 7 * DAY + hours);
    desk.free("alice", &query, &[week(0), at(1, -2), at(1, 1), at(1, 2)]);
    let held = holds(&desk);
    assert_eq!(held.iter().map(|hold| hold.slot).collect::<Vec<_>>(), [week(0), at(1, 1)]);
    for hold in &held {
        desk.grants("alice", &hold.attempt);
    }
    let id = series_of(&desk, ticket);
    let wanted = [OccurrenceOutcome::Booked, OccurrenceOutcome::Moved, OccurrenceOutcome::Skipped];
    assert_eq!(outcomes(&mut desk, &id), wanted);
}

#[test]
fn a_restart_in_the_midst_finds_what_was_booked_and_begins_the_rest() {
    let mut desk = Desk::new(&["alice"]);
    let asked = SeriesRequest { policy: ConflictPolicy::Skip, ..weekly(spec(&["alice"], 1), Some(week(0))) };
    ask(&mut desk, asked);
    let query = desk.query();
    desk.free("alice", &query, &[week(0), week(1), week(2)]);
    let before = holds(&desk);
    desk.grants("alice", &before[0].attempt);
    let series = stored_by_meeting(&mut desk, &before[0].attempt);
    desk.restart();
    let row = desk.row(&before[0].attempt);
    desk.register("alice", 9, &[], &[&row]);
    let again: Vec<Hold> =
        holds(&desk).into_iter().filter(|hold| !before.iter().any(|b| b.attempt == hold.attempt)).collect();
    assert_eq!(again.iter().map(|hold| hold.slot).collect::<Vec<_>>(), [week(1), week(2)]);
    for hold in &again {
        desk.grants("alice", &hold.attempt);
    }
    assert_eq!(outcomes(&mut desk, &series), [OccurrenceOutcome::Booked; 3]);
    assert_eq!(stored(&mut desk, &series).0.state, SeriesState::Confirmed);
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

#[test]
fn one_series_for_each_request_id() {
    let mut desk = Desk::new(&["alice"]);
    let request = |body: &str| SeriesRequest {
        request_id: Some(RequestId::new("r")),
        body_hash: body.into(),
        ..weekly(spec(&["alice"], 1), Some(week(0)))
    };
    let (first, second) = (ask(&mut desk, request("a")), ask(&mut desk, request("a")));
    let other = ask(&mut desk, request("b"));
    assert_eq!(desk.reply(other), Some(&Reply::Refused(Refused::RequestReused)));
    let query = desk.query();
    desk.free("alice", &query, &[week(0), week(1), week(2)]);
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
    }
    let id = series_of(&desk, first);
    assert_eq!(series_of(&desk, second), id);
    let (later, other) = (ask(&mut desk, request("a")), ask(&mut desk, request("b")));
    assert_eq!(series_of(&desk, later), id);
    assert_eq!(desk.reply(other), Some(&Reply::Refused(Refused::RequestReused)));
}

/// Whatever was confirmed is acknowledged.
pub fn acked(desk: &mut Desk) {
    for (name, attempt, kind) in desk.undelivered() {
        desk.acks(&name, &attempt, kind);
    }
}

/// Books the three weeks with Alice; all confirms are acknowledged.
pub fn booked(desk: &mut Desk) -> SeriesId {
    let ticket = ask(desk, weekly(spec(&["alice"], 1), Some(week(0))));
    let query = desk.query();
    desk.free("alice", &query, &[week(0), week(1), week(2)]);
    for hold in holds(desk) {
        desk.grants("alice", &hold.attempt);
    }
    acked(desk);
    desk.sent.clear();
    series_of(desk, ticket)
}

#[test]
fn this_and_following_are_called_off() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let ticket = desk.command(Command::CancelSeries {
        series: series.clone(),
        version: None,
        from: Some(week(1).start),
    });
    assert_eq!(series_of(&desk, ticket), series);
    let wanted = [OccurrenceOutcome::Booked, OccurrenceOutcome::Cancelled, OccurrenceOutcome::Cancelled];
    assert_eq!(outcomes(&mut desk, &series), wanted);
    let (row, _) = stored(&mut desk, &series);
    assert_eq!(
        (row.state, row.rule.as_str()),
        (SeriesState::Confirmed, "FREQ=WEEKLY;UNTIL=20300115T085959Z")
    );
    assert_eq!(desk.booked("alice").len(), 1);
    // The rest, and once more.
    for _ in 0..2 {
        let ticket =
            desk.command(Command::CancelSeries { series: series.clone(), version: None, from: None });
        assert_eq!(series_of(&desk, ticket), series);
    }
    assert_eq!(stored(&mut desk, &series).0.state, SeriesState::Cancelled);
    assert!(desk.booked("alice").is_empty());
}

#[test]
fn one_occurrence_is_moved_and_the_others_stay() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let (_, meetings) = stored(&mut desk, &series);
    let moved = hour(7 * DAY + 3);
    let ticket = desk.command(Command::Reschedule {
        meeting: meetings[1].id.clone(),
        version: None,
        slot: Some(moved),
        window: None,
        duration: None,
        options: options(),
    });
    let hold = desk.hold();
    desk.grants("alice", &hold.attempt);
    assert_eq!(desk.answer(ticket).slot, Some(moved));
    let wanted = [OccurrenceOutcome::Booked, OccurrenceOutcome::Moved, OccurrenceOutcome::Booked];
    assert_eq!(outcomes(&mut desk, &series), wanted);
    let again = desk.meeting(&meetings[1].id).expect("its row").series.expect("still of the series");
    assert_eq!(again.instant, week(1).start, "it is named by its place in the rule");
}

pub fn to(series: &SeriesId, from: Option<TimeRange>, slot: TimeRange) -> Command {
    let (series, from) = (series.clone(), from.map(|slot| slot.start));
    Command::RescheduleSeries { series, version: None, from, slot, options: options() }
}

#[test]
fn this_and_following_are_moved_in_one_decision() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let before = desk.booked("alice");
    let later = |n: i64| hour(n * 7 * DAY + 26);
    let ticket = desk.command(to(&series, Some(week(1)), later(1)));
    let query = desk.query();
    assert_eq!(query.windows, [later(1), later(2)]);
    assert_eq!(query.disregard, before[1..], "as if they were gone");
    desk.free("alice", &query, &[later(1), later(2)]);
    let held = holds(&desk);
    desk.grants("alice", &held[0].attempt);
    assert_eq!(desk.booked("alice"), before, "the old slots stand");
    desk.grants("alice", &held[1].attempt);
    assert_eq!(series_of(&desk, ticket), series);
    assert_eq!(desk.booked("alice").len(), 3);
    let (row, meetings) = stored(&mut desk, &series);
    let slots: Vec<_> = meetings.iter().filter_map(|meeting| meeting.slot).collect();
    assert_eq!(slots, [week(0), later(1), later(2)]);
    let named: Vec<_> = row.occurrences.iter().map(|o| o.recurrence).collect();
    assert_eq!(named, [week(0).start, week(1).start, week(2).start], "they keep their names");
    assert_eq!(outcomes(&mut desk, &series), [OccurrenceOutcome::Booked; 3]);
    assert_eq!(states(&mut desk, &held), [AttemptState::Committed; 2]);
    assert_eq!(desk.core.live_count(), 0);
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

#[test]
fn a_series_moves_over_its_own_slots() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let before = desk.booked("alice");
    let ticket = desk.command(to(&series, Some(week(0)), week(1)));
    let query = desk.query();
    desk.free("alice", &query, &[week(1), week(2), week(3)]);
    let held = holds(&desk);
    assert_eq!(
        held[0].displaces,
        [before[0].clone(), before[1].clone()],
        "its own old slot, and its sibling's"
    );
    for hold in &held {
        desk.grants("alice", &hold.attempt);
    }
    assert_eq!(series_of(&desk, ticket), series);
    let (_, meetings) = stored(&mut desk, &series);
    let slots: Vec<_> = meetings.iter().filter_map(|meeting| meeting.slot).collect();
    assert_eq!(slots, [week(1), week(2), week(3)]);
    assert_eq!(desk.booked("alice").len(), 3);
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

/// Whatever its policy was when it was booked.
#[test]
fn a_series_with_another_policy_moves_as_one_too() {
    for policy in [ConflictPolicy::Skip, ConflictPolicy::MoveWithin(Duration::from_secs(3600))] {
        let mut desk = Desk::new(&["alice"]);
        let ticket = ask(&mut desk, SeriesRequest { policy, ..weekly(spec(&["alice"], 1), Some(week(0))) });
        let query = desk.query();
        desk.free("alice", &query, &[week(0), week(1), week(2)]);
        for hold in holds(&desk) {
            desk.grants("alice", &hold.attempt);
        }
        acked(&mut desk);
        desk.sent.clear();
        let series = series_of(&desk, ticket);
        let later = |n: i64| hour(n * 7 * DAY + 2);
        let ticket = desk.command(to(&series, Some(week(1)), later(1)));
        let query = desk.query();
        assert_eq!(query.windows, [later(1), later(2)]);
        desk.free("alice", &query, &[later(1), later(2)]);
        let held = holds(&desk);
        desk.grants("alice", &held[0].attempt);
        assert_eq!(desk.state(&held[0].attempt), AttemptState::Holding, "not without the other");
        desk.grants("alice", &held[1].attempt);
        assert_eq!(series_of(&desk, ticket), series);
        let (row, meetings) = stored(&mut desk, &series);
        let slots: Vec<_> = meetings.iter().filter_map(|meeting| meeting.slot).collect();
        assert_eq!((slots, row.occurrences.len()), (vec![week(0), later(1), later(2)], 3));
        assert_eq!(row.policy, policy);
        assert_eq!(desk.booked("alice").len(), 3);
    }
}

#[test]
fn a_series_that_cannot_be_moved_stands_as_before() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let (before, row) = (desk.booked("alice"), stored(&mut desk, &series).0);
    let later = |n: i64| hour(n * 7 * DAY + 2);
    let ticket = desk.command(to(&series, None, later(0)));
    let query = desk.query();
    desk.free("alice", &query, &[later(0), later(1), later(2)]);
    let held = holds(&desk);
    desk.grants("alice", &held[0].attempt);
    desk.refuses("alice", &held[1].attempt, Refusal::Busy);
    match desk.reply(ticket) {
        Some(Reply::Series(id, failures)) => assert_eq!((id, failures.len()), (&series, 1)),
        other => panic!("{other:?}"),
    }
    assert_eq!((desk.booked("alice"), stored(&mut desk, &series).0), (before, row));
    assert_eq!(states(&mut desk, &held), [AttemptState::Aborted; 3]);
    assert_eq!(desk.core.live_count(), 0);
}

#[test]
fn a_series_gets_another_title_and_others_from_then_on() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let series = booked(&mut desk);
    let change = Change {
        title: Some("retrospective".into()),
        attendees: Some(attendees(&["alice", "bob"])),
        ..Change::default()
    };
    let ticket = desk.command(Command::UpdateSeries {
        series: series.clone(),
        version: None,
        from: Some(week(1).start),
        change,
        options: options(),
    });
    let held = holds(&desk);
    assert_eq!(held.iter().map(|hold| hold.slot).collect::<Vec<_>>(), [week(1), week(2)]);
    for hold in &held {
        desk.grants("alice", &hold.attempt);
    }
    desk.grants("bob", &held[0].attempt);
    desk.refuses("bob", &held[1].attempt, Refusal::Busy);
    match desk.reply(ticket) {
        Some(Reply::Series(id, failures)) => {
            assert_eq!((id, failures.len(), failures[0].0), (&series, 1, week(2).start));
        }
        other => panic!("{other:?}"),
    }
    let (row, meetings) = stored(&mut desk, &series);
    let titles: Vec<_> = meetings.iter().map(|meeting| meeting.spec.title.as_str()).collect();
    assert_eq!(
        (titles, row.spec.title.as_str()),
        (vec!["planning", "retrospective", "planning"], "retrospective")
    );
    assert_eq!(desk.booked("bob").len(), 1);
}

/// Timer by timer, until somebody is asked something.
pub fn until_asked(desk: &mut Desk) {
    desk.sent.clear();
    let asked = |desk: &Desk| desk.sent.iter().any(|(_, m)| matches!(m, SchedulerMessage::Query(_)));
    for _ in 0..10_000 {
        let at = desk.core.poll_timeout().expect("it looks ahead");
        desk.mono = desk.mono.max(at);
        desk.input(Input::Timeout);
        if asked(desk) {
            return;
        }
    }
    panic!("nobody was asked");
}

#[test]
fn a_series_without_an_end_is_booked_ahead_and_rolled_forward() {
    let mut desk = Desk::new(&["alice"]);
    let asked = SeriesRequest {
        pattern: Pattern::Plain(Frequency::Weekly, None),
        ..weekly(spec(&["alice"], 1), Some(week(0)))
    };
    let ticket = ask(&mut desk, asked);
    let query = desk.query();
    let weeks: Vec<TimeRange> = (0..40).map(week).collect();
    desk.free("alice", &query, &weeks);
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
    }
    acked(&mut desk);
    let id = series_of(&desk, ticket);
    let (row, _) = stored(&mut desk, &id);
    assert_eq!(row.occurrences.len(), 26, "half a year");
    let until = row.booked_until.expect("it has no end");
    // A week later one more is due. At first nobody answers: there is time, so it is asked again.
    until_asked(&mut desk);
    until_asked(&mut desk);
    assert_eq!(stored(&mut desk, &id).0.occurrences.len(), 26);
    let query = desk.query();
    desk.free("alice", &query, &weeks);
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
    }
    acked(&mut desk);
    let (row, _) = stored(&mut desk, &id);
    assert_eq!(row.occurrences.len(), 27);
    assert!(row.booked_until > Some(until));
    assert_eq!(outcomes(&mut desk, &id), vec![OccurrenceOutcome::Booked; 27]);
    // A restart looks ahead as well.
    let rows: Vec<_> = desk.booked("alice").iter().map(|attempt| desk.row(attempt)).collect();
    desk.restart();
    desk.register("alice", 9, &[], &rows.iter().collect::<Vec<_>>());
    until_asked(&mut desk);
    let query = desk.query();
    desk.free("alice", &query, &weeks);
    assert_eq!(stored(&mut desk, &id).0.occurrences.len(), 28);
}

#[test]
fn shutting_down_gives_a_series_up_for_a_restart_to_find() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let (ticket, holds) = held(&mut desk);
    desk.input(Input::Drain(Duration::from_secs(1)));
    desk.pass(Duration::from_secs(2));
    assert_eq!(desk.reply(ticket), Some(&Reply::Refused(Refused::ShuttingDown)));
    assert_eq!(states(&mut desk, &holds), [AttemptState::Aborted; 3]);
    assert_eq!(desk.core.live_count(), 0);
    let series = stored_by_meeting(&mut desk, &holds[0].attempt);
    assert_eq!(stored(&mut desk, &series).0.state, SeriesState::Scheduling);
}

#[test]
fn no_occurrence_is_called_off_alone_before_all_are_decided() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let (_, holds) = held(&mut desk);
    let meeting = holds[0].attempt.meeting.clone();
    let ticket = desk.command(Command::Cancel { meeting, version: None });
    assert_eq!(desk.reply(ticket), Some(&Reply::Refused(Refused::BeingChanged)));
}
