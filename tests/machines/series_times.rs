//! Which occurrences a command on a series is about, by the time at which each takes place, and where a series ends.

use std::time::Duration;

use quorate::core::coordinator::{Change, Command, Refused, Reply};
use quorate::core::ids::{MeetingId, SeriesId};
use quorate::core::message::SchedulerMessage;
use quorate::core::series::{OccurrenceOutcome, Pattern, SeriesRequest};
use quorate::core::time::{Instant, TimeRange};
use quorate::wire::pb;

use super::desk::{Desk, hour, options, spec};
use super::series::{DAY, acked, ask, booked, holds, outcomes, series_of, stored, to, week, weekly};

fn at(start: &str) -> TimeRange {
    let start: Instant = start.parse().expect("an instant");
    TimeRange::new(start, start + chrono::Duration::hours(1))
}

/// The rule that a series gets, and on which days it is, begun at `first` in a zone.
fn planned(rule: &str, first: &str, zone: &str) -> (String, Vec<String>) {
    let mut desk = Desk::new(&["alice"]);
    let mut spec = spec(&["alice"], 1);
    spec.window.time_zone = Some(zone.into());
    let request = weekly(spec, Some(at(first)));
    let ticket =
        ask(&mut desk, SeriesRequest { pattern: Pattern::Rule(rule.into()), validate_only: true, ..request });
    match desk.reply(ticket) {
        Some(Reply::SeriesPlan(series)) => {
            let days = series.occurrences.iter().map(|o| o.local.date().to_string());
            (series.rule.clone(), days.collect())
        }
        other => panic!("{rule} was answered by {other:?}"),
    }
}

#[test]
fn a_date_as_the_end_is_the_whole_of_that_day_in_the_zone_of_the_series() {
    let september = ["2027-09-06", "2027-09-13", "2027-09-20"];
    for (until, zone, first, kept) in [
        ("20270920", "Europe/Berlin", "2027-09-06T08:00:00Z", "20270920T215959Z"),
        // Ten in the evening of the day before in UTC, and of the day after.
        ("20270920", "Asia/Tokyo", "2027-09-05T22:00:00Z", "20270920T145959Z"),
        ("20270920", "America/Los_Angeles", "2027-09-07T05:00:00Z", "20270921T065959Z"),
        ("20270920T100000", "Europe/Berlin", "2027-09-06T08:00:00Z", "20270920T080000Z"),
        ("20270920T080000Z", "Europe/Berlin", "2027-09-06T08:00:00Z", "20270920T080000Z"),
    ] {
        let (rule, days) = planned(&format!("FREQ=WEEKLY;UNTIL={until}"), first, zone);
        assert_eq!(rule, format!("FREQ=WEEKLY;UNTIL={kept}"), "{until} in {zone}");
        assert_eq!(days, september, "{until} in {zone}");
    }
    let (rule, days) =
        planned("FREQ=WEEKLY;UNTIL=20270920T095959;BYDAY=MO", "2027-09-06T08:00:00Z", "Europe/Berlin");
    assert_eq!((rule.as_str(), days.len()), ("FREQ=WEEKLY;BYDAY=MO;UNTIL=20270920T075959Z", 2));
}

#[test]
fn no_end_is_too_early_or_too_late_to_be_read() {
    let mut desk = Desk::new(&["alice"]);
    for zone in ["UTC", "Asia/Tokyo", "America/Los_Angeles"] {
        for until in
            ["00000101", "00010101", "00010101T000000", "99991231", "99991231T235959", "99991231T235959Z"]
        {
            let mut spec = spec(&["alice"], 1);
            spec.window.time_zone = Some(zone.into());
            let pattern = Pattern::Rule(format!("FREQ=YEARLY;INTERVAL=999;UNTIL={until}"));
            let request = weekly(spec, Some(at("2027-09-06T08:00:00Z")));
            let ticket = ask(&mut desk, SeriesRequest { pattern, validate_only: true, ..request });
            match desk.reply(ticket) {
                Some(Reply::SeriesPlan(_) | Reply::Refused(Refused::Invalid { .. })) => {}
                other => panic!("{until} in {zone} was answered by {other:?}"),
            }
        }
    }
}

/// Moves the series, or one of its meetings, as the command says; Alice is free at all of these.
fn moves(desk: &mut Desk, command: Command, free: &[TimeRange]) {
    desk.sent.clear();
    let ticket = desk.command(command);
    let asked = desk.sent.iter().any(|(_, message)| matches!(message, SchedulerMessage::Query(_)));
    if asked {
        let query = desk.query();
        desk.free("alice", &query, free);
    }
    for hold in holds(desk) {
        desk.grants("alice", &hold.attempt);
    }
    acked(desk);
    match desk.reply(ticket) {
        Some(Reply::Series(_, failures)) => assert!(failures.is_empty(), "{failures:?}"),
        Some(Reply::Changed(_, failure)) => assert_eq!(*failure, None),
        other => panic!("{ticket:?} was answered by {other:?}"),
    }
}

/// One meeting by itself.
fn alone(desk: &mut Desk, series: &SeriesId, n: usize, slot: TimeRange) -> Command {
    let meeting = stored(desk, series).0.occurrences[n].meeting.clone().expect("its meeting");
    let slot = Some(slot);
    Command::Reschedule { meeting, version: None, slot, window: None, duration: None, options: options() }
}

/// When the meetings take place, in the order of the rule.
fn slots(desk: &mut Desk, series: &SeriesId) -> Vec<TimeRange> {
    let (row, meetings) = stored(desk, series);
    let of = |id: &MeetingId| meetings.iter().find(|meeting| meeting.id == *id)?.slot;
    row.occurrences.iter().map(|o| o.meeting.as_ref().and_then(of).unwrap_or(o.slot)).collect()
}

fn cancel(desk: &mut Desk, series: &SeriesId, from: Instant) {
    let ticket =
        desk.command(Command::CancelSeries { series: series.clone(), version: None, from: Some(from) });
    series_of(desk, ticket);
}

const STANDS: OccurrenceOutcome = OccurrenceOutcome::Booked;
const GONE: OccurrenceOutcome = OccurrenceOutcome::Cancelled;

#[test]
fn the_rest_begins_where_the_meetings_take_place() {
    // From Tuesday at nine to Monday at eleven: what is called off from Tuesday on leaves that week's Monday.
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let monday = |n: i64| hour(n * 7 * DAY - 22);
    moves(&mut desk, to(&series, None, monday(0)), &[monday(0), monday(1), monday(2)]);
    cancel(&mut desk, &series, hour(7 * DAY - 9).start);
    assert_eq!(outcomes(&mut desk, &series), [STANDS, STANDS, GONE]);
    assert_eq!(stored(&mut desk, &series).0.rule, "FREQ=WEEKLY;UNTIL=20300115T215959Z");
    // From nine to four: what is called off from noon on takes that day's meeting along.
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let four = |n: i64| hour(n * 7 * DAY + 7);
    moves(&mut desk, to(&series, None, four(0)), &[four(0), four(1), four(2)]);
    cancel(&mut desk, &series, hour(7 * DAY + 3).start);
    assert_eq!(outcomes(&mut desk, &series), [STANDS, GONE, GONE]);
    assert_eq!(stored(&mut desk, &series).0.rule, "FREQ=WEEKLY;UNTIL=20300115T045959Z");
}

/// Whoever calls off what comes behind the end of a series makes it no longer.
#[test]
fn what_is_cut_short_behind_its_end_stays_as_it_is() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let rule = stored(&mut desk, &series).0.rule;
    assert!(rule.contains("COUNT="), "{rule}");
    cancel(&mut desk, &series, hour(1_000 * DAY).start);
    assert_eq!(stored(&mut desk, &series).0.rule, rule);
    cancel(&mut desk, &series, hour(8 * DAY).start);
    let ended = stored(&mut desk, &series).0.rule;
    assert!(ended.contains("UNTIL="), "{ended}");
    cancel(&mut desk, &series, hour(1_000 * DAY).start);
    assert_eq!(stored(&mut desk, &series).0.rule, ended);
    assert_eq!(outcomes(&mut desk, &series), [STANDS, STANDS, GONE]);
}

/// Where one went by itself counts for that one alone.
#[test]
fn the_rest_begins_where_each_meeting_takes_place() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let early = hour(DAY);
    moves_alone(&mut desk, &series, 2, early);
    let late = hour(10 * DAY);
    moves_alone(&mut desk, &series, 0, late);
    cancel(&mut desk, &series, hour(8 * DAY).start);
    assert_eq!(outcomes(&mut desk, &series), [GONE, STANDS, OccurrenceOutcome::Moved]);
    assert_eq!(stored(&mut desk, &series).0.rule, "FREQ=WEEKLY;COUNT=3", "the third stands");
}

fn moves_alone(desk: &mut Desk, series: &SeriesId, n: usize, slot: TimeRange) {
    let command = alone(desk, series, n, slot);
    moves(desk, command, &[slot]);
}

/// Every day at half past eleven at night by the rule, moved to nine in the morning.
#[test]
fn a_meeting_that_was_held_is_not_moved_with_those_to_come() {
    let mut desk = Desk::new(&["alice"]);
    let half = |n: i64| {
        let start = hour(n * DAY).start + chrono::Duration::minutes(14 * 60 + 30);
        TimeRange::new(start, start + chrono::Duration::hours(1))
    };
    let request = weekly(spec(&["alice"], 1), Some(half(0)));
    let request = SeriesRequest { pattern: Pattern::Rule("FREQ=DAILY;COUNT=3".into()), ..request };
    let ticket = ask(&mut desk, request);
    let query = desk.query();
    desk.free("alice", &query, &[half(0), half(1), half(2)]);
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
    }
    acked(&mut desk);
    let series = series_of(&desk, ticket);
    let (nine, ten) = (|n: i64| hour(n * DAY), |n: i64| hour(n * DAY + 1));
    moves(&mut desk, to(&series, None, nine(0)), &[nine(0), nine(1), nine(2)]);
    // The same evening, before the time of the rule.
    desk.pass(Duration::from_secs(37 * 3600 + 39 * 60));
    moves(&mut desk, to(&series, None, ten(1)), &[ten(1), ten(2)]);
    assert_eq!(slots(&mut desk, &series), [nine(0), ten(1), ten(2)], "each keeps its day");
    // The details of what was held stay too.
    let change = Change { title: Some("retrospective".into()), ..Change::default() };
    let (from, version, options) = (None, None, options());
    let ticket =
        desk.command(Command::UpdateSeries { series: series.clone(), version, from, change, options });
    series_of(&desk, ticket);
    let titles: Vec<_> = stored(&mut desk, &series).1.into_iter().map(|meeting| meeting.spec.title).collect();
    assert_eq!(titles, ["planning", "retrospective", "retrospective"]);
    // And what has just begun is none of those to come.
    desk.pass((ten(1).start - desk.now().wall).to_std().expect("later"));
    moves(&mut desk, to(&series, None, nine(2)), &[nine(2)]);
    assert_eq!(slots(&mut desk, &series), [nine(0), ten(1), nine(2)]);
}

#[test]
fn one_that_was_moved_by_itself_goes_along_with_its_series_and_says_so() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let elsewhere = hour(8 * DAY + 4);
    moves_alone(&mut desk, &series, 1, elsewhere);
    let ten = |n: i64| hour(n * 7 * DAY + 1);
    moves(&mut desk, to(&series, None, ten(0)), &[ten(0), ten(1), ten(2)]);
    assert_eq!(slots(&mut desk, &series), [ten(0), ten(1), ten(2)]);
    let told = |desk: &mut Desk| -> Vec<String> {
        let (row, meetings) = stored(desk, &series);
        quorate::wire::series::series(&row, &meetings).occurrences.into_iter().map(|o| o.reason).collect()
    };
    let words = "had been at Wed 2030-01-16 13:00 by itself, and went along when the series was moved";
    assert_eq!(told(&mut desk), ["", words, ""]);
    // Until it is moved again, with the others or by itself.
    moves_alone(&mut desk, &series, 1, elsewhere);
    assert_eq!(told(&mut desk), [""; 3]);
    let (row, meetings) = stored(&mut desk, &series);
    let shown = quorate::wire::series::series(&row, &meetings).occurrences.remove(1);
    let seconds = |range: Option<pb::TimeRange>| range.and_then(|range| Some(range.start_time?.seconds));
    let (own, slot) = (ten(1).start.timestamp(), elsewhere.start.timestamp());
    assert_eq!((seconds(shown.series_slot), seconds(shown.slot)), (Some(own), Some(slot)));
    let nine = |n: i64| hour(n * 7 * DAY);
    moves(&mut desk, to(&series, Some(ten(2)), nine(2)), &[nine(2)]);
    assert_eq!(slots(&mut desk, &series), [ten(0), elsewhere, nine(2)]);
    moves(&mut desk, to(&series, Some(ten(0)), nine(0)), &[nine(0), nine(1), nine(2)]);
    assert_eq!(told(&mut desk), ["", words, ""]);
    moves(&mut desk, to(&series, Some(nine(0)), ten(0)), &[ten(0), ten(1), ten(2)]);
    assert_eq!(told(&mut desk), [""; 3]);
}

/// The first was moved behind the second by itself: the second is the first of those from then on.
#[test]
fn one_that_came_in_between_by_itself_does_not_count_as_the_first() {
    let mut desk = Desk::new(&["alice"]);
    let series = booked(&mut desk);
    let late = hour(10 * DAY);
    moves_alone(&mut desk, &series, 0, late);
    let ten = |n: i64| hour(n * 7 * DAY + 1);
    moves(&mut desk, to(&series, Some(week(1)), ten(1)), &[ten(1), ten(2)]);
    assert_eq!(slots(&mut desk, &series), [late, ten(1), ten(2)], "it stays: by the rule it comes before");
    // If it is the only one, it is the first.
    cancel(&mut desk, &series, hour(10 * DAY + 1).start);
    moves(&mut desk, to(&series, Some(hour(9 * DAY)), hour(11 * DAY)), &[hour(11 * DAY)]);
    assert_eq!(slots(&mut desk, &series)[..2], [hour(11 * DAY), ten(1)]);
}
