//! Dates where times are expected, and the other way round; and lengths over a change of clocks.

use super::*;

fn problems(text: &str) -> usize {
    Calendar::parse("alice.ics", text).unwrap_or_else(|e| panic!("refused: {e}")).problem_count()
}

#[test]
fn an_until_of_days_is_read_as_the_later_day() {
    let until = |until: &str| event(&format!("DTSTART;VALUE=DATE:20260105\nRRULE:FREQ=DAILY;UNTIL={until}"));
    let days = |zone: &str, text: &str| busy_in(zone, &until(text)).len();
    let last = |zone: &str, text: &str| {
        let all = query(&until(text), zone, "20260101", "20260301").busy;
        all.last().map(|range| (range.end - range.start).num_days())
    };
    assert_eq!(days("UTC", "20260107"), 1);
    // A UTC midnight is a date to whoever writes it.
    for zone in ["UTC", "America/New_York", "Asia/Tokyo"] {
        assert_eq!(last(zone, "20260107T000000Z"), Some(3), "{zone}");
    }
    // Midnight where the owner is.
    assert_eq!(last("Asia/Tokyo", "20260106T150000Z"), Some(3));
    assert_eq!(last("America/New_York", "20260107T040000Z"), Some(3));
    assert_eq!(last("UTC", "20260106T150000Z"), Some(2));
    // Who is available until then is so until the earlier day.
    let available = calendar(
        "BEGIN:VAVAILABILITY\nDTSTART:20260105T000000Z\nDTEND:20260110T000000Z\nBEGIN:AVAILABLE\nUID:1
         DTSTART;VALUE=DATE:20260105\nRRULE:FREQ=DAILY;UNTIL=20260107T000000Z\nEND:AVAILABLE\nEND:VAVAILABILITY",
    );
    let found = query(&available, "America/New_York", "20260101", "20260301").unavailable;
    assert_eq!(show(&found), ["0105T0000-0105T0500", "0107T0500-0110T0000"]);
}

#[test]
fn an_until_that_is_a_date_among_times_is_the_whole_of_its_day_and_told() {
    let text = |start: &str, until: &str| {
        event(&format!("DTSTART{start}\nDURATION:PT1H\nRRULE:FREQ=DAILY;INTERVAL=2;UNTIL={until}"))
    };
    let berlin = |until: &str| text(";TZID=Europe/Berlin:20260105T090000", until);
    assert_eq!(
        busy(&berlin("20260109")),
        ["0105T0800-0105T0900", "0107T0800-0107T0900", "0109T0800-0109T0900"]
    );
    let words = problem(&berlin("20260109")).to_string();
    assert_eq!(
        words,
        "alice.ics:6: UNTIL is the date 2026-01-09 where DTSTART has a time: what recurs on that day blocks as well"
    );
    // Where nothing recurs on that day, there is nothing to tell.
    assert_eq!((busy(&berlin("20260110")).len(), problems(&berlin("20260110"))), (3, 0));
    assert_eq!((busy(&berlin("20260109T090000Z")).len(), problems(&berlin("20260109T090000Z"))), (3, 0));
    // Of times in UTC, the day in UTC or the owner's.
    let utc = text(":20260105T020000Z", "20260108");
    assert_eq!(busy_in("America/Los_Angeles", &utc).len(), 3);
    assert_eq!(busy_in("UTC", &utc).len(), 2);
    assert_eq!(busy_in("Asia/Tokyo", &utc).len(), 2);
    assert_eq!(problems(&utc), 1);
    // What is over is read as recurring-ical-events and ical.js do, to which the shared cases hold us.
    let over = berlin("20260109").replace("2026", "2016");
    assert_eq!((query(&over, "UTC", "20160101", "20160301").busy.len(), problems(&over)), (2, 0));
    // With a COUNT that ends it sooner, that holds as well.
    let counted = berlin("20260109;COUNT=2");
    assert_eq!((busy(&counted).len(), problems(&counted)), (2, 0));
}

#[test]
fn a_time_that_names_a_day_frees_that_day_or_none() {
    let series =
        |mark: &str| event(&format!("DTSTART;VALUE=DATE:20260105\nRRULE:FREQ=DAILY;COUNT=5\n{mark}"));
    let days = |zone: &str, text: &str| {
        let all = query(text, zone, "20260101", "20260301").busy;
        let local = known_zone(zone).unwrap();
        let day = |range: &TimeRange| {
            let at = jiff::Timestamp::from_second(range.start.timestamp()).unwrap().to_zoned(local.clone());
            (at.day(), (range.end - range.start).num_days())
        };
        all.iter().map(day).collect::<Vec<_>>()
    };
    let whole = [(5, 5)];
    // Midnight in Berlin on the 7th.
    let berlin = series("EXDATE:20260106T230000Z");
    assert_eq!(days("Europe/Berlin", &berlin), [(5, 2), (8, 2)]);
    assert_eq!(days("America/New_York", &berlin), whole);
    assert_eq!(days("UTC", &berlin), whole);
    assert_eq!(problems(&berlin), 1);
    assert!(problem(&berlin).reason.contains("EXDATE"), "{}", problem(&berlin));
    // A midnight in its own zone is a date, wherever the owner is.
    for mark in ["20260107T000000Z", "20260107T000000", "20260107"] {
        for zone in ["Europe/Berlin", "America/New_York", "Asia/Tokyo"] {
            assert_eq!(days(zone, &series(&format!("EXDATE:{mark}"))), [(5, 2), (8, 2)], "{mark} {zone}");
        }
        assert_eq!(problems(&series(&format!("EXDATE:{mark}"))), 0);
    }
    assert_eq!(days("Asia/Tokyo", &series("EXDATE;TZID=Europe/Berlin:20260107T000000")), [(5, 2), (8, 2)]);
    // A moved or cancelled day likewise.
    let cancelled = |id: &str| {
        calendar(&format!(
            "BEGIN:VEVENT\nUID:1\nDTSTART;VALUE=DATE:20260105\nRRULE:FREQ=DAILY;COUNT=5\nEND:VEVENT
             BEGIN:VEVENT\nUID:1\nRECURRENCE-ID{id}\nSTATUS:CANCELLED\nDTSTART;VALUE=DATE:20260107\nEND:VEVENT"
        ))
    };
    assert_eq!(days("Europe/Berlin", &cancelled(":20260106T230000Z")), [(5, 2), (8, 2)]);
    assert_eq!(days("UTC", &cancelled(":20260106T230000Z")), whole);
    assert_eq!(
        (problems(&cancelled(":20260106T230000Z")), problems(&cancelled(";VALUE=DATE:20260107"))),
        (1, 0)
    );
    assert_eq!(days("America/New_York", &cancelled(":20260107T000000Z")), [(5, 2), (8, 2)]);
    let onward = cancelled(";RANGE=THISANDFUTURE:20260107T000000Z");
    assert_eq!(days("Europe/Berlin", &onward), [(5, 2)]);
    assert_eq!(days("America/New_York", &onward), [(5, 2)]);
}

#[test]
fn a_day_that_is_left_out_of_times_in_utc_is_the_same_day_everywhere() {
    let text = event(
        "DTSTART:20260106T020000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE;VALUE=DATE:20260107",
    );
    // In Los Angeles the one at 02:00 UTC on the 7th is on the 6th, and the one of the 7th is on the 8th in UTC.
    assert_eq!(busy_in("America/Los_Angeles", &text).len(), 4);
    assert_eq!(
        busy_in("Europe/Berlin", &text),
        ["0106T0200-0106T0300", "0108T0200-0108T0300", "0109T0200-0109T0300"]
    );
    assert!(problem(&text).reason.contains("EXDATE"), "{}", problem(&text));
    // Where the day is the event's own, it is clear.
    let zoned = text.replace("DTSTART:20260106T020000Z", "DTSTART;TZID=Asia/Tokyo:20260106T110000");
    assert_eq!((busy_in("America/Los_Angeles", &zoned).len(), problems(&zoned)), (3, 0));
    // And what is left out of available time is left out of either.
    let available = calendar(
        "BEGIN:VAVAILABILITY\nDTSTART:20260105T000000Z\nDTEND:20260109T000000Z\nBEGIN:AVAILABLE\nUID:1
         DTSTART:20260106T020000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=2\nEXDATE;VALUE=DATE:20260107
         END:AVAILABLE\nEND:VAVAILABILITY",
    );
    assert_eq!(show(&query(&available, "UTC", "20260101", "20260301").unavailable), ["0105T0000-0109T0000"]);
}

#[test]
fn a_shift_ends_at_the_later_of_its_length_and_its_hour() {
    // The first night is an hour short in Berlin, and the second is as long as the wall clock says.
    let text = event(
        "DTSTART;TZID=Europe/Berlin:20260328T220000\nDTEND;TZID=Europe/Berlin:20260329T060000\nRRULE:FREQ=WEEKLY;COUNT=2",
    );
    let found = show(&query(&text, "UTC", "20260301", "20260501").busy);
    assert_eq!(found, ["0328T2100-0329T0400", "0404T2000-0405T0400"]);
    // The other way round: a night of eight hours ends an hour later by its length.
    let text = text.replace("20260328", "20260321").replace("20260329", "20260322");
    let found = show(&query(&text, "UTC", "20260301", "20260501").busy);
    assert_eq!(found, ["0321T2100-0322T0500", "0328T2100-0329T0500"]);
    // Who is available so is available for the shorter of the two.
    let available = calendar(
        "BEGIN:VAVAILABILITY\nDTSTART:20260404T200000Z\nDTEND:20260405T060000Z\nBEGIN:AVAILABLE\nUID:1
         DTSTART;TZID=Europe/Berlin:20260328T220000\nDTEND;TZID=Europe/Berlin:20260329T060000
         RRULE:FREQ=WEEKLY\nEND:AVAILABLE\nEND:VAVAILABILITY",
    );
    assert_eq!(show(&query(&available, "UTC", "20260401", "20260501").unavailable), ["0405T0300-0405T0600"]);
}
