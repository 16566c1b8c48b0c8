//! Occurrences of a series that can't be booked or changed while the others can: each says so, and none in silence.

use quorate::core::coordinator::{Change, Command, Refused, Reply, ScheduleRequest};
use quorate::core::ids::{SeriesId, Ticket};
use quorate::core::limits;
use quorate::core::message::Refusal;
use quorate::core::model::{Failure, FailureReason, MeetingSpec, MeetingState};
use quorate::core::series::{ConflictPolicy, OccurrenceOutcome, Pattern, SeriesRequest, SeriesState};
use quorate::core::time::{Instant, TimeRange};

use super::desk::{Desk, attendees, hour, options, request, spec};
use super::series::{DAY, acked, ask, booked, holds, outcomes, series_of, stored, to, week, weekly};

fn titled(series: &SeriesId, from: Option<Instant>) -> Command {
    let change = Change { title: Some("retrospective".into()), ..Change::default() };
    Command::UpdateSeries { series: series.clone(), version: None, from, change, options: options() }
}

fn cancelled(series: &SeriesId) -> Command {
    Command::CancelSeries { series: series.clone(), version: None, from: None }
}

/// Why each occurrence stands as it does, as organizers are told.
fn reasons(desk: &mut Desk, series: &SeriesId) -> Vec<String> {
    let (row, meetings) = stored(desk, series);
    let told = quorate::wire::series::series(&row, &meetings);
    told.occurrences.into_iter().map(|occurrence| occurrence.reason).collect()
}

/// What of a series stands as before.
fn failures(desk: &Desk, ticket: Ticket) -> Vec<(Instant, Failure)> {
    match desk.reply(ticket) {
        Some(Reply::Series(_, failures)) => failures.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_occurrence_that_is_being_moved_stands_and_the_others_are_changed() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let (_, meetings) = stored(&mut desk, &series);
    desk.command(Command::Reschedule {
        meeting: meetings[1].id.clone(),
        version: None,
        slot: Some(hour(7 * DAY + 3)),
        window: None,
        duration: None,
        options: options(),
    });
    let hold = desk.hold();
    let ticket = desk.command(titled(&series, None));
    let stand = failures(&desk, ticket);
    assert_eq!(stand.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [week(1).start]);
    assert_eq!(stand[0].1.reason, FailureReason::BeingChanged);
    desk.grants("alice", &hold.attempt);
    let (row, meetings) = stored(&mut desk, &series);
    let titles: Vec<_> = meetings.iter().map(|meeting| meeting.spec.title.as_str()).collect();
    assert_eq!(titles, ["retrospective", "planning", "retrospective"]);
    assert_eq!((row.spec.title.as_str(), row.state), ("retrospective", SeriesState::Confirmed));
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

#[test]
fn an_occurrence_whose_row_changed_meanwhile_is_called_off_all_the_same() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let (_, meetings) = stored(&mut desk, &series);
    desk.slow = true;
    let ticket = desk.command(cancelled(&series));
    // The series is read, then its meetings; then each is written.
    for _ in 0..2 {
        desk.commit_once();
    }
    assert!(desk.written().contains(&meetings[1].id));
    desk.conflicts(&meetings[1].id);
    desk.slow = false;
    desk.commit();
    assert!(failures(&desk, ticket).is_empty(), "it was read again, and is gone");
    assert_eq!(outcomes(&mut desk, &series), [OccurrenceOutcome::Cancelled; 3]);
    assert_eq!(stored(&mut desk, &series).0.state, SeriesState::Cancelled);
}

#[test]
fn an_occurrence_that_lost_its_slot_says_that_it_was_not_changed() {
    let mut desk = Desk::new(&["alice"]);
    let yielding = MeetingSpec { displaceable: true, ..spec(&["alice"], 1) };
    let ticket = ask(&mut desk, weekly(yielding, Some(week(0))));
    let query = desk.query();
    desk.free("alice", &query, &[week(0), week(1), week(2)]);
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
    }
    acked(&mut desk);
    let series = series_of(&desk, ticket);
    desk.sent.clear();
    let urgent = MeetingSpec { priority: 5, displace: true, ..spec(&["alice"], 1) };
    desk.command(Command::Schedule(Box::new(ScheduleRequest { slot: Some(week(1)), ..request(urgent) })));
    let hold = desk.hold();
    desk.grants("alice", &hold.attempt);
    assert_eq!(stored(&mut desk, &series).1[1].state, MeetingState::Displaced);
    let ticket = desk.command(titled(&series, None));
    let stand = failures(&desk, ticket);
    assert_eq!(stand.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [week(1).start]);
    assert!(stand[0].1.message.contains("sought again"), "{}", stand[0].1.message);
}

#[test]
fn a_change_of_nothing_is_refused() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let before = stored(&mut desk, &series);
    let ticket = desk.command(titled(&series, Some(week(3).start)));
    match desk.reply(ticket) {
        Some(Reply::Refused(Refused::Invalid { field, .. })) => assert_eq!(field, "from"),
        other => panic!("{other:?}"),
    }
    assert_eq!(stored(&mut desk, &series), before);
}

#[test]
fn a_series_with_an_occurrence_that_cannot_be_written_is_decided_all_the_same() {
    let mut desk = Desk::new(&["alice"]);
    let skip = SeriesRequest { policy: ConflictPolicy::Skip, ..weekly(spec(&["alice"], 1), Some(week(0))) };
    let ticket = ask(&mut desk, skip);
    let query = desk.query();
    desk.slow = true;
    desk.free("alice", &query, &[week(0), week(1), week(2)]);
    desk.commit_once();
    let waiting = desk.written();
    assert_eq!(waiting.len(), 3, "one transaction for each");
    desk.conflicts(&waiting[1]);
    desk.slow = false;
    desk.commit();
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
    }
    let series = series_of(&desk, ticket);
    let (row, _) = stored(&mut desk, &series);
    assert_eq!(row.state, SeriesState::Confirmed);
    assert_eq!(
        outcomes(&mut desk, &series),
        [OccurrenceOutcome::Booked, OccurrenceOutcome::Skipped, OccurrenceOutcome::Booked]
    );
    assert!(!row.occurrences[1].reason.is_empty());
}

#[test]
fn an_occurrence_that_goes_elsewhere_says_who_was_in_the_way() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let policy = ConflictPolicy::MoveWithin(std::time::Duration::from_secs(2 * 3_600));
    let ask_for = weekly(spec(&["alice", "bob"], 8), Some(week(0)));
    let ticket = ask(&mut desk, SeriesRequest { policy, ..ask_for });
    let query = desk.query();
    let later = hour(7 * DAY + 1);
    desk.free("alice", &query, &[week(0), week(1), later, week(2)]);
    desk.free("bob", &query, &[week(0), later, week(2)]);
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
        desk.grants("bob", &hold.attempt);
    }
    let series = series_of(&desk, ticket);
    assert_eq!(
        outcomes(&mut desk, &series),
        [OccurrenceOutcome::Booked, OccurrenceOutcome::Moved, OccurrenceOutcome::Booked]
    );
    let (row, meetings) = stored(&mut desk, &series);
    let told = quorate::wire::series::series(&row, &meetings);
    assert_eq!(told.occurrences[1].reason, "at its own time bob: not free");
    assert_eq!((told.occurrences[0].reason.as_str(), told.occurrences[2].reason.as_str()), ("", ""));
    // Who joins it where it is moves it nowhere.
    let meeting = row.occurrences[1].meeting.clone().expect("a meeting");
    let change = Change { attendees: Some(attendees(&["alice", "bob", "carol"])), ..Change::default() };
    desk.register("carol", 0, &[], &[]);
    desk.command(Command::Update { meeting: meeting.clone(), version: None, change, options: options() });
    let attempt = desk.hold().attempt;
    for name in ["alice", "bob", "carol"] {
        desk.grants(name, &attempt);
    }
    assert_eq!(reasons(&mut desk, &series)[1], "at its own time bob: not free");
    // Moved once more, by itself, that is not why it is where it is.
    let slot = Some(hour(7 * DAY + 3));
    let moved = Command::Reschedule {
        meeting,
        version: None,
        slot,
        window: None,
        duration: None,
        options: options(),
    };
    desk.command(moved);
    let attempt = desk.hold().attempt;
    for name in ["alice", "bob", "carol"] {
        desk.grants(name, &attempt);
    }
    let (_, meetings) = stored(&mut desk, &series);
    assert!(meetings.iter().any(|meeting| meeting.slot == slot), "{meetings:?}");
    assert_eq!(reasons(&mut desk, &series)[1], "at its own time bob: not free; moved again since then");
}

#[test]
fn a_series_has_no_more_places_than_are_booked_at_once() {
    let mut desk = Desk::new(&[]);
    let names: Vec<String> = (0..500).map(|n| format!("p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let daily = |count: usize| {
        let pattern = Pattern::Rule(format!("FREQ=DAILY;COUNT={count}"));
        SeriesRequest { pattern, ..weekly(spec(&names, 1), Some(week(0))) }
    };
    let ticket = ask(&mut desk, daily(101));
    match desk.reply(ticket) {
        Some(Reply::Refused(Refused::Invalid { field, description })) => {
            assert_eq!(field, "rrule");
            assert!(description.contains("101 occurrences, which with 500 attendees"), "{description}");
        }
        other => panic!("{other:?}"),
    }
    let ticket = ask(&mut desk, daily(limits::SERIES_SEATS / 500));
    assert!(matches!(desk.reply(ticket), Some(Reply::Series(..))), "as many as may be");
    // Nor does it get them later.
    let mut desk = Desk::new(&["alice"]);
    let pattern = Pattern::Rule("FREQ=DAILY;COUNT=101".into());
    let ticket = ask(&mut desk, SeriesRequest { pattern, ..weekly(spec(&["alice"], 1), Some(week(0))) });
    let query = desk.query();
    desk.free("alice", &query, &(0..101).map(|n| hour(n * DAY)).collect::<Vec<TimeRange>>());
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
    }
    let series = series_of(&desk, ticket);
    let change = Change { attendees: Some(attendees(&names)), ..Change::default() };
    let ticket =
        desk.command(Command::UpdateSeries { series, version: None, from: None, change, options: options() });
    match desk.reply(ticket) {
        Some(Reply::Refused(Refused::Invalid { field, .. })) => assert_eq!(field, "spec.attendees"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_about_a_series_say_series() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let moving = desk.command(to(&series, None, hour(2)));
    for command in [titled(&series, None), cancelled(&series), to(&series, None, hour(4))] {
        let ticket = desk.command(command);
        assert_eq!(desk.reply(ticket), Some(&Reply::Refused(Refused::SeriesBeingChanged)));
    }
    let query = desk.query();
    desk.free("alice", &query, &[]);
    assert!(desk.reply(moving).is_some());
    let ticket = desk.command(cancelled(&series));
    assert_eq!(series_of(&desk, ticket), series);
    for command in [titled(&series, None), to(&series, None, hour(4))] {
        let ticket = desk.command(command);
        let refused = Refused::SeriesNotConfirmed(SeriesState::Cancelled);
        assert_eq!(desk.reply(ticket), Some(&Reply::Refused(refused)));
    }
    let failed = ask(&mut desk, weekly(spec(&["nobody"], 1), Some(week(0))));
    let failed = series_of(&desk, failed);
    let ticket = desk.command(cancelled(&failed));
    assert_eq!(desk.reply(ticket), Some(&Reply::Refused(Refused::SeriesFailed)));
}

/// None of its occurrences could be changed: neither is the series, which would name people whom no meeting has.
#[test]
fn a_series_of_which_nothing_could_be_changed_stands_as_before() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let series = booked(&mut desk);
    let before = stored(&mut desk, &series);
    let change = Change {
        title: Some("retrospective".into()),
        attendees: Some(attendees(&["alice", "bob"])),
        ..Change::default()
    };
    let command = Command::UpdateSeries {
        series: series.clone(),
        version: None,
        from: None,
        change,
        options: options(),
    };
    let ticket = desk.command(command);
    let held = holds(&desk);
    for hold in &held {
        desk.grants("alice", &hold.attempt);
        desk.refuses("bob", &hold.attempt, Refusal::Busy);
    }
    let stand: Vec<Instant> = failures(&desk, ticket).into_iter().map(|(at, _)| at).collect();
    assert_eq!(stand, [week(0).start, week(1).start, week(2).start]);
    let after = stored(&mut desk, &series);
    assert_eq!((&after.0.spec, after.0.version), (&before.0.spec, before.0.version));
    assert_eq!(desk.core.live_count(), 0);
    // And it can be changed still.
    let ticket = desk.command(titled(&series, None));
    assert_eq!(failures(&desk, ticket), []);
    assert_eq!(stored(&mut desk, &series).0.spec.title, "retrospective");
}
