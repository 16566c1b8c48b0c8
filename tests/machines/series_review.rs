//! Counterexamples for series, each found by reading: what crosses a group or a part, what a restart finds, what is left
//! behind, and how much one series may cost.

use std::time::Duration;

use quorate::core::coordinator::{Change, Command, Input, Refused, Reply, ScheduleRequest};
use quorate::core::ids::{ParticipantId, RequestId, SeriesId, Ticket};
use quorate::core::limits;
use quorate::core::message::{Hold, NoticeKind, Query, Refusal, SchedulerMessage};
use quorate::core::model::{EventKind, Meeting, MeetingSpec, MeetingState, Rank};
use quorate::core::record::AttemptState;
use quorate::core::series::{
    ConflictPolicy, Frequency, OccurrenceOutcome, Pattern, SeriesRequest, SeriesState,
};
use quorate::core::time::TimeRange;

use super::desk::{Desk, attendees, hour, options, request, session, spec, who};
use super::series::{
    DAY, acked, ask, booked, holds, outcomes, series_of, states, stored, to, until_asked, week, weekly,
};

const DAYS: Duration = Duration::from_secs(24 * 60 * 60);

fn weeks() -> Vec<TimeRange> {
    (0..60).map(week).collect()
}

fn at(desk: &mut Desk, slot: TimeRange, spec: MeetingSpec) -> Ticket {
    let slot = Some(slot);
    desk.command(Command::Schedule(Box::new(ScheduleRequest { slot, ..request(spec) })))
}

fn restarted(desk: &mut Desk, name: &str) {
    let rows: Vec<_> = desk.booked(name).iter().map(|attempt| desk.row(attempt)).collect();
    desk.restart();
    desk.register(name, 9, &[], &rows.iter().collect::<Vec<_>>());
}

/// Every week without an end, booked with Alice as far as the horizon.
fn endless(desk: &mut Desk, spec: MeetingSpec, policy: ConflictPolicy) -> SeriesId {
    let pattern = Pattern::Plain(Frequency::Weekly, None);
    let ticket = ask(desk, SeriesRequest { pattern, policy, ..weekly(spec, Some(week(0))) });
    answered(desk);
    series_of(desk, ticket)
}

/// Alice is free every week, grants what she is asked to hold, and acknowledges.
fn answered(desk: &mut Desk) {
    let query = desk.query();
    desk.free("alice", &query, &weeks());
    for hold in holds(desk) {
        desk.grants("alice", &hold.attempt);
    }
    acked(desk);
}

#[test]
fn an_occurrence_that_another_first_slot_does_not_have_is_not_booked_by_a_restart() {
    let mut desk = Desk::new(&["alice"]);
    let pattern = Pattern::Rule("FREQ=WEEKLY;UNTIL=20300122T093000Z".into());
    let ticket = ask(&mut desk, SeriesRequest { pattern, ..weekly(spec(&["alice"], 2), None) });
    let query = desk.query();
    let all: Vec<TimeRange> = (0..3).flat_map(|n| [week(n), hour(n * 7 * DAY + 1)]).collect();
    desk.free("alice", &query, &all);
    let three = holds(&desk);
    assert_eq!(three.len(), 3, "begun at nine it has three occurrences");
    desk.sent.clear();
    desk.refuses("alice", &three[0].attempt, Refusal::Busy);
    let two = holds(&desk);
    assert_eq!(two.len(), 2, "begun at ten it has two");
    for hold in &two {
        desk.grants("alice", &hold.attempt);
    }
    let id = series_of(&desk, ticket);
    assert_eq!(outcomes(&mut desk, &id), [OccurrenceOutcome::Booked; 2]);
    let third = desk.meeting(&three[2].attempt.meeting).expect("its row");
    assert_eq!(third.state, MeetingState::Failed, "nobody works on it any more");
    acked(&mut desk);
    restarted(&mut desk, "alice");
    assert_eq!(desk.core.live_count(), 0);
}

#[test]
fn a_restart_goes_on_with_further_occurrences_that_were_begun() {
    let mut desk = Desk::new(&["alice"]);
    let id = endless(&mut desk, spec(&["alice"], 1), ConflictPolicy::Skip);
    until_asked(&mut desk);
    let query = desk.query();
    desk.slow = true;
    desk.free("alice", &query, &weeks());
    desk.commit();
    desk.slow = false;
    restarted(&mut desk, "alice");
    assert_eq!(stored(&mut desk, &id).0.occurrences.len(), 27, "it is written down");
    assert_eq!(outcomes(&mut desk, &id)[26], OccurrenceOutcome::Pending);
    desk.pass(limits::RECOVERY_CONNECT);
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
    }
    assert_eq!(outcomes(&mut desk, &id), [OccurrenceOutcome::Booked; 27]);
    desk.pass(limits::SERIES_CHECK);
    assert_eq!(desk.core.live_count(), 0);
}

#[test]
fn a_series_that_is_to_end_beyond_the_horizon_is_booked_until_then() {
    let mut desk = Desk::new(&["alice"]);
    let id = endless(&mut desk, spec(&["alice"], 1), ConflictPolicy::FailSeries);
    let from = Some(week(29).start);
    let ticket = desk.command(Command::CancelSeries { series: id.clone(), version: None, from });
    assert_eq!(series_of(&desk, ticket), id);
    for _ in 26..29 {
        until_asked(&mut desk);
        answered(&mut desk);
    }
    desk.pass(14 * DAYS);
    let (row, _) = stored(&mut desk, &id);
    assert_eq!((row.occurrences.len(), row.booked_until), (29, None));
    assert_eq!(outcomes(&mut desk, &id), [OccurrenceOutcome::Booked; 29]);
    assert_eq!(desk.core.live_count(), 0);
}

#[test]
fn no_two_meetings_of_a_series_have_one_rank_once_they_are_decided() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let own = |meeting: &Meeting| Rank { meeting: meeting.id.clone(), ..meeting.rank.clone() };
    for meeting in stored(&mut desk, &series).1 {
        assert_eq!(meeting.rank, own(&meeting), "they may have to compete, once displaced");
    }
    let later = |n: i64| hour(n * 7 * DAY + 2);
    let ticket = desk.command(to(&series, None, later(0)));
    let query = desk.query();
    desk.free("alice", &query, &[later(0), later(1), later(2)]);
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
    }
    assert_eq!(series_of(&desk, ticket), series);
    for meeting in stored(&mut desk, &series).1 {
        assert_eq!(meeting.rank, own(&meeting));
    }
}

#[test]
fn what_stood_in_the_way_may_be_gone_before_the_occurrence_is_begun() {
    let mut desk = Desk::new(&["alice"]);
    let urgent = MeetingSpec { priority: 9, ..spec(&["alice"], 1) };
    at(&mut desk, week(1), urgent);
    let theirs = desk.hold().attempt;
    let asked = SeriesRequest { policy: ConflictPolicy::Skip, ..weekly(spec(&["alice"], 1), Some(week(0))) };
    let ticket = ask(&mut desk, asked);
    let query = desk.query();
    desk.sent.clear();
    desk.slow = true;
    desk.free("alice", &query, &weeks());
    desk.refuses("alice", &theirs, Refusal::Busy);
    desk.slow = false;
    desk.commit();
    desk.pass(limits::BACKOFF_MAX);
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
    }
    let id = series_of(&desk, ticket);
    assert_eq!(outcomes(&mut desk, &id), [OccurrenceOutcome::Booked; 3]);
}

#[test]
fn thousands_of_first_slots_that_nobody_can_be_asked_for_are_passed_over_one_by_one() {
    let mut desk = Desk::new(&["alice"]);
    let long = TimeRange::new(hour(0).start, hour(6 * DAY).start);
    let yielding = MeetingSpec { displaceable: true, ..spec(&["alice"], 1) };
    at(&mut desk, long, yielding);
    let old = desk.hold().attempt;
    desk.grants("alice", &old);
    acked(&mut desk);
    // Whatever the first slot, two days would have to displace the same meeting.
    let mut urgent = MeetingSpec { priority: 5, displace: true, ..spec(&["alice"], 2 * DAY) };
    urgent.window.step = Duration::from_secs(60);
    let pattern = Pattern::Rule("FREQ=DAILY;COUNT=2".into());
    let ticket = ask(&mut desk, SeriesRequest { pattern, ..weekly(urgent, None) });
    let query = desk.query();
    assert_eq!(query.disregard, std::slice::from_ref(&old));
    desk.free("alice", &query, &[long]);
    let id = series_of(&desk, ticket);
    assert_eq!(stored(&mut desk, &id).0.state, SeriesState::Failed);
    assert_eq!(desk.state(&old), AttemptState::Committed);
}

#[test]
fn a_series_that_may_displace_does_so_when_it_is_moved() {
    let mut desk = Desk::new(&["alice"]);
    let urgent = MeetingSpec { priority: 5, displace: true, ..spec(&["alice"], 1) };
    let ticket = ask(&mut desk, weekly(urgent, Some(week(0))));
    answered(&mut desk);
    let series = series_of(&desk, ticket);
    let later = |n: i64| hour(n * 7 * DAY + 2);
    at(&mut desk, later(1), MeetingSpec { displaceable: true, ..spec(&["alice"], 1) });
    let low = desk.hold().attempt;
    desk.grants("alice", &low);
    acked(&mut desk);
    desk.sent.clear();
    let ticket = desk.command(to(&series, None, later(0)));
    let query = desk.query();
    desk.free("alice", &query, &[later(0), later(1), later(2)]);
    let held = holds(&desk);
    assert!(held[1].displaces.contains(&low), "{:?}", held[1].displaces);
    for hold in &held {
        desk.grants("alice", &hold.attempt);
    }
    assert_eq!(series_of(&desk, ticket), series);
    assert_eq!(desk.state(&low), AttemptState::Superseded);
}

#[test]
fn an_occurrence_with_other_attendees_is_moved_with_its_series() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let series = booked(&mut desk);
    let meeting = stored(&mut desk, &series).1[1].id.clone();
    let change = Change { attendees: Some(attendees(&["bob", "alice"])), ..Change::default() };
    let ticket = desk.command(Command::Update { meeting, version: None, change, options: options() });
    let hold = desk.hold();
    desk.grants("alice", &hold.attempt);
    desk.grants("bob", &hold.attempt);
    assert_eq!(desk.answer(ticket).state, MeetingState::Confirmed);
    acked(&mut desk);
    desk.sent.clear();
    let later = |n: i64| hour(n * 7 * DAY + 2);
    let ticket = desk.command(to(&series, None, later(0)));
    let query = desk.query();
    desk.free("alice", &query, &[later(0), later(1), later(2)]);
    let held = holds(&desk);
    assert_eq!(desk.held_by(&held[1].attempt), ["bob", "alice"], "each of its own attendees is asked");
    for hold in &held {
        for name in desk.held_by(&hold.attempt) {
            desk.grants(&name, &hold.attempt);
        }
    }
    assert_eq!(series_of(&desk, ticket), series);
    let slots: Vec<_> = stored(&mut desk, &series).1.iter().filter_map(|meeting| meeting.slot).collect();
    assert_eq!(slots, [later(0), later(1), later(2)]);
}

/// Three weeks with Alice that may be displaced, being moved by two hours: the holds of the move.
fn being_moved(desk: &mut Desk) -> (SeriesId, Ticket, Vec<Hold>) {
    let yielding = MeetingSpec { displaceable: true, ..spec(&["alice", "bob"], 1) };
    let ticket = ask(desk, weekly(yielding, Some(week(0))));
    let query = desk.query();
    for name in ["alice", "bob"] {
        desk.free(name, &query, &weeks());
    }
    for hold in holds(desk) {
        desk.grants("alice", &hold.attempt);
        desk.grants("bob", &hold.attempt);
    }
    acked(desk);
    let series = series_of(desk, ticket);
    desk.sent.clear();
    let later = |n: i64| hour(n * 7 * DAY + 2);
    let ticket = desk.command(to(&series, None, later(0)));
    let query = desk.query();
    for name in ["alice", "bob"] {
        desk.free(name, &query, &[later(0), later(1), later(2)]);
    }
    let held = holds(desk);
    assert_eq!(held.len(), 3);
    (series, ticket, held)
}

#[test]
fn a_move_of_a_series_shields_none_of_its_meetings_from_a_higher_priority() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let (series, moving, held) = being_moved(&mut desk);
    let urgent = MeetingSpec { priority: 5, displace: true, ..spec(&["alice"], 1) };
    let ticket = at(&mut desk, week(1), urgent);
    let first = desk.hold();
    assert_eq!(first.displaces.len(), 1);
    desk.grants("alice", &first.attempt);
    if desk.reply(ticket).is_none() {
        // The move is given up for it first.
        desk.grants("alice", &desk.hold().attempt);
    }
    assert_eq!(desk.answer(ticket).state, MeetingState::Confirmed);
    assert_eq!(states(&mut desk, &held), [AttemptState::Aborted; 3]);
    match desk.reply(moving) {
        Some(Reply::Series(id, failures)) => assert_eq!((id, failures.len()), (&series, 1)),
        other => panic!("{other:?}"),
    }
    let meeting = desk.meeting(&held[1].attempt.meeting).expect("its row");
    assert_eq!(meeting.state, MeetingState::Displaced);
    assert_eq!(desk.core.live_count(), 1, "it is sought anew, and nothing else is under way");
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

#[test]
fn nor_from_a_series_of_higher_priority() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let (_, moving, held) = being_moved(&mut desk);
    desk.sent.clear();
    let urgent = MeetingSpec { priority: 5, displace: true, ..spec(&["alice"], 1) };
    let ticket = ask(&mut desk, weekly(urgent, Some(week(0))));
    let query = desk.query();
    desk.free("alice", &query, &weeks());
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
    }
    let id = series_of(&desk, ticket);
    assert_eq!(outcomes(&mut desk, &id), [OccurrenceOutcome::Booked; 3]);
    assert_eq!(states(&mut desk, &held), [AttemptState::Aborted; 3]);
    assert!(matches!(desk.reply(moving), Some(Reply::Series(_, failures)) if failures.len() == 1));
    for hold in &held {
        let meeting = desk.meeting(&hold.attempt.meeting).expect("its row");
        assert_eq!(meeting.state, MeetingState::Displaced);
    }
    assert_eq!(desk.core.live_count(), 3, "they are sought anew, and nothing else is under way");
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

#[test]
fn what_could_not_be_booked_ahead_in_time_is_not_booked_in_the_past() {
    let mut desk = Desk::new(&["alice"]);
    let id = endless(&mut desk, spec(&["alice"], 1), ConflictPolicy::FailSeries);
    // For 200 days the scheduler does not run.
    let rows: Vec<_> = desk.booked("alice").iter().map(|attempt| desk.row(attempt)).collect();
    desk.mono = desk.mono + 200 * DAYS;
    desk.restart();
    desk.register("alice", 9, &[], &rows.iter().collect::<Vec<_>>());
    until_asked(&mut desk);
    let (query, now) = (desk.query(), desk.now().wall);
    assert!(query.windows.iter().all(|window| window.start > now), "{:?}", query.windows);
    answered(&mut desk);
    let (row, _) = stored(&mut desk, &id);
    let missed: Vec<_> = row.occurrences.iter().filter(|o| o.meeting.is_none()).collect();
    assert!(!missed.is_empty() && missed.iter().all(|o| !o.reason.is_empty() && o.slot.start < now));
    let next = row.occurrences.iter().skip(26).zip(26..);
    assert!(next.into_iter().all(|(o, n)| o.slot == week(n)), "none is dropped in silence");
}

#[test]
fn shutting_down_waits_for_no_occurrence_that_is_begun_meanwhile() {
    let mut desk = Desk::new(&["alice"]);
    let asked = SeriesRequest { policy: ConflictPolicy::Skip, ..weekly(spec(&["alice"], 1), Some(week(0))) };
    let ticket = ask(&mut desk, asked);
    let query = desk.query();
    desk.slow = true;
    desk.free("alice", &query, &weeks());
    desk.input(Input::Drain(Duration::from_secs(1)));
    desk.pass(Duration::from_secs(2));
    desk.slow = false;
    desk.commit();
    assert_eq!(desk.reply(ticket), Some(&Reply::Refused(Refused::ShuttingDown)));
    assert_eq!(desk.core.live_count(), 0);
}

fn queries(desk: &Desk) -> Vec<Query> {
    let query = |message: &SchedulerMessage| match message {
        SchedulerMessage::Query(query) => Some((**query).clone()),
        _ => None,
    };
    desk.sent.iter().filter_map(|(_, message)| query(message)).collect()
}

#[test]
fn after_a_restart_the_slot_of_the_rule_is_still_the_best() {
    let half = |n: i64| {
        let start = week(n).start + chrono::Duration::minutes(30);
        TimeRange::new(start, start + chrono::Duration::hours(1))
    };
    let mut desk = Desk::new(&["alice"]);
    let policy = ConflictPolicy::MoveWithin(Duration::from_secs(2 * 3600));
    ask(&mut desk, SeriesRequest { policy, ..weekly(spec(&["alice"], 1), Some(half(0))) });
    let query = desk.query();
    desk.free("alice", &query, &[half(0), half(1), half(2)]);
    let before = holds(&desk);
    let meeting = desk.meeting(&before[0].attempt.meeting).expect("its row");
    let id = meeting.series.expect("an occurrence").series.clone();
    restarted(&mut desk, "alice");
    for query in queries(&desk) {
        desk.free("alice", &query, &[half(0), half(1), half(2)]);
    }
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
    }
    assert_eq!(outcomes(&mut desk, &id), [OccurrenceOutcome::Booked; 3]);
}

#[test]
fn a_further_occurrence_that_has_no_place_says_so() {
    let mut desk = Desk::new(&["alice"]);
    let mut spec = spec(&["alice"], 1);
    spec.window.exclude = vec![week(26)];
    let id = endless(&mut desk, spec, ConflictPolicy::Skip);
    desk.pass(9 * DAYS);
    let (row, meetings) = stored(&mut desk, &id);
    assert_eq!(row.occurrences.len(), 27);
    let last = &row.occurrences[26];
    let meeting = meetings.iter().find(|meeting| Some(&meeting.id) == last.meeting.as_ref());
    let failed = meeting.and_then(|meeting| meeting.failure.as_ref());
    assert_eq!(last.reason, "the window of the series leaves its time out");
    assert!(failed.is_none());
    assert_eq!(desk.core.live_count(), 0);
}

/// A later occurrence for which somebody has no time is asked for as long as there is some. Then the series says why, watchers
/// see it fail, its people are told, and what comes after it is booked: whatever the policy.
#[test]
fn a_further_occurrence_that_cannot_be_had_is_told() {
    for policy in [ConflictPolicy::Skip, ConflictPolicy::FailSeries] {
        let mut desk = Desk::new(&["alice"]);
        let id = endless(&mut desk, spec(&["alice"], 1), policy);
        let before = desk.events(EventKind::Failed).len();
        // Alice has no time in the second half of the year. There is time until two weeks before.
        for _ in 0..180 * 24 {
            until_asked(&mut desk);
            let query = desk.query();
            desk.free("alice", &query, &[]);
            if stored(&mut desk, &id).0.occurrences.len() > 26 {
                break;
            }
        }
        let (row, meetings) = stored(&mut desk, &id);
        let first = &row.occurrences[26];
        let ahead = first.slot.start - desk.now().wall;
        assert!(ahead > chrono::TimeDelta::days(13) && ahead <= chrono::TimeDelta::days(14), "{ahead}");
        let failed = |meeting: &&Meeting| {
            Some(&meeting.id) == first.meeting.as_ref() && meeting.state == MeetingState::Failed
        };
        let failed = meetings.iter().find(failed).expect("it failed");
        assert!(
            failed.failure.as_ref().is_some_and(|failure| failure.message.contains("alice")),
            "{failed:?}"
        );
        let told = |(who, message): &(ParticipantId, SchedulerMessage)| match message {
            SchedulerMessage::Notice(notice) => {
                who.as_str() == "alice" && notice.kind == NoticeKind::Failed && notice.meeting == failed.id
            }
            _ => false,
        };
        assert!(desk.sent.iter().any(told), "{:?}", desk.sent.iter().map(|(_, m)| m).collect::<Vec<_>>());
        assert!(desk.events(EventKind::Failed).len() > before);
        assert_eq!(desk.core.live_count(), 0);
        // It goes on: what comes later has time, and she has some then.
        assert_eq!((row.occurrences.len(), row.state), (27, SeriesState::Confirmed));
        until_asked(&mut desk);
        let query = desk.query();
        desk.free("alice", &query, &(0..60).map(week).collect::<Vec<_>>());
        for hold in holds(&desk) {
            desk.grants("alice", &hold.attempt);
        }
        acked(&mut desk);
        let (row, _) = stored(&mut desk, &id);
        let all: Vec<TimeRange> = row.occurrences.iter().map(|occurrence| occurrence.slot).collect();
        assert_eq!(all, (0..all.len() as i64).map(week).collect::<Vec<_>>(), "none twice, and none left out");
        assert!(all.len() >= 50, "{}", all.len());
        let mut outcomes = outcomes(&mut desk, &id);
        assert_eq!(outcomes.remove(26), OccurrenceOutcome::Skipped);
        assert!(outcomes.iter().all(|outcome| *outcome == OccurrenceOutcome::Booked), "{outcomes:?}");
    }
}

#[test]
fn a_series_that_fails_names_no_more_attendees_than_are_kept_of_a_meeting() {
    let mut desk = Desk::new(&[]);
    let names: Vec<String> = (0..100).map(|n| format!("p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let pattern = Pattern::Rule("FREQ=DAILY;COUNT=365".into());
    let ticket = ask(&mut desk, SeriesRequest { pattern, ..weekly(spec(&names, 1), Some(week(0))) });
    let id = series_of(&desk, ticket);
    let (row, _) = stored(&mut desk, &id);
    assert_eq!((row.state, row.occurrences.len()), (SeriesState::Failed, 365));
    let named: usize = row.occurrences.iter().map(|o| o.attendees.len()).sum();
    assert!(named <= limits::ATTEMPT_LOG_OUTCOMES, "{named}");
    assert!(row.occurrences.iter().all(|o| !o.reason.is_empty()));
}

#[test]
fn a_series_is_called_off_while_it_waits_for_somebody_to_come_back() {
    let mut desk = Desk::new(&["alice"]);
    let id = endless(&mut desk, spec(&["alice"], 1), ConflictPolicy::FailSeries);
    desk.input(Input::SessionClosed(session(&who("alice"))));
    while desk.core.live_count() == 0 {
        let at = desk.core.poll_timeout().expect("it looks ahead");
        desk.mono = desk.mono.max(at);
        desk.input(Input::Timeout);
    }
    let ticket = desk.command(Command::CancelSeries { series: id.clone(), version: None, from: None });
    assert_eq!(series_of(&desk, ticket), id);
    assert_eq!(stored(&mut desk, &id).0.state, SeriesState::Cancelled);
    assert_eq!(desk.core.live_count(), 0);
}

#[test]
fn series_that_are_looked_up_count_as_requests_alive() {
    let mut desk = Desk::new(&[]);
    desk.slow = true;
    let request = weekly(spec(&["alice"], 1), Some(week(0)));
    for n in 0..limits::LIVE_MEETINGS {
        let request_id = Some(RequestId::new(format!("r{n}")));
        ask(&mut desk, SeriesRequest { request_id, ..request.clone() });
    }
    let last = ask(&mut desk, SeriesRequest { request_id: Some(RequestId::new("last")), ..request });
    assert_eq!(desk.reply(last), Some(&Reply::Refused(Refused::Overloaded)));
}

#[test]
fn each_occurrence_keeps_the_answers_about_its_own_time() {
    for policy in [ConflictPolicy::Skip, ConflictPolicy::FailSeries] {
        let names: Vec<String> = (0..10).map(|n| format!("p{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut desk = Desk::new(&names);
        let pattern = Pattern::Rule("FREQ=DAILY;COUNT=100".into());
        ask(&mut desk, SeriesRequest { pattern, policy, ..weekly(spec(&names, 1), Some(week(0))) });
        let query = desk.query();
        let free: Vec<TimeRange> = (0..100).map(|n| hour(n * DAY)).collect();
        for name in &names {
            desk.free(name, &query, &free);
        }
        assert_eq!(holds(&desk).len(), 100);
        let kept = format!("{:?}", desk.core).matches("FreeTime").count();
        assert!(kept < 5_000, "{kept} ranges are kept of 1,000 that were answered");
    }
}
