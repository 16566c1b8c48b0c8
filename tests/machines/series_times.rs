//! Where a series ends.

use quorate::core::coordinator::Reply;
use quorate::core::series::{Pattern, SeriesRequest};
use quorate::core::time::{Instant, TimeRange};

use super::desk::{Desk, spec};
use super::series::{ask, weekly};

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
