//! The rules of reading, one by one.

use chrono::{DateTime, NaiveDateTime, Utc};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

mod availability;
mod dates;
mod doubts;
mod once;
mod producers;

fn at(text: &str) -> DateTime<Utc> {
    let text = if text.len() == 8 { format!("{text}T0000") } else { text.to_owned() };
    NaiveDateTime::parse_from_str(&text, "%Y%m%dT%H%M").unwrap().and_utc()
}

fn range(start: &str, end: &str) -> TimeRange {
    TimeRange { start: at(start), end: at(end) }
}

/// A VCALENDAR around `body`, lines joined with CRLF.
fn calendar(body: &str) -> String {
    let body = body.trim().lines().map(str::trim_start).collect::<Vec<_>>().join("\r\n");
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{body}\r\nEND:VCALENDAR\r\n")
}

fn event(body: &str) -> String {
    calendar(&format!("BEGIN:VEVENT\n{}\nEND:VEVENT", body.trim()))
}

fn show(ranges: &[TimeRange]) -> Vec<String> {
    let text = |at: DateTime<Utc>| at.format("%m%dT%H%M").to_string();
    ranges.iter().map(|range| format!("{}-{}", text(range.start), text(range.end))).collect()
}

fn query(text: &str, zone: &str, from: &str, to: &str) -> Busy {
    let calendar = Calendar::parse("alice.ics", text).unwrap_or_else(|e| panic!("{e}"));
    calendar.busy(range(from, to), &known_zone(zone).unwrap()).unwrap_or_else(|e| panic!("{e}"))
}

/// Busy time in January and February 2026 of somebody in `zone`.
fn busy_in(zone: &str, text: &str) -> Vec<String> {
    show(&query(text, zone, "20260101", "20260301").busy)
}

fn busy(text: &str) -> Vec<String> {
    busy_in("UTC", text)
}

fn refused(text: &str) -> CalendarError {
    Calendar::parse("alice.ics", text).map(|_| ()).expect_err("should be refused")
}

/// The first problem of a calendar that can be read but for it.
fn problem(text: &str) -> CalendarError {
    let calendar = Calendar::parse("alice.ics", text).unwrap_or_else(|e| panic!("refused: {e}"));
    calendar.problems().first().unwrap_or_else(|| panic!("no problem in {text}")).error.clone()
}

/// What is unknown from 2025 to 2028.
fn unknown(text: &str) -> Vec<String> {
    let all = query(text, "UTC", "20250101", "20280101").unknown;
    all.iter()
        .map(|range| format!("{}-{}", range.start.format("%Y%m%d"), range.end.format("%Y%m%d")))
        .collect()
}

#[test]
fn a_plain_event_blocks_and_is_clipped_to_the_range() {
    let text = event("DTSTART:20260105T100000Z\nDTEND:20260105T110000Z");
    assert_eq!(busy(&text), ["0105T1000-0105T1100"]);
    let clipped = query(&text, "UTC", "20260105T1015", "20260105T1030").busy;
    assert_eq!(show(&clipped), ["0105T1015-0105T1030"]);
    // Half-open: what ends when the range starts is not in it.
    assert_eq!(query(&text, "UTC", "20260105T1100", "20260105T1200"), Busy::default());
}

#[test]
fn cancelled_and_transparent_events_never_block() {
    let span = "DTSTART:20260105T100000Z\nDURATION:PT1H\n";
    for line in ["STATUS:CANCELLED", "STATUS:cancelled", "TRANSP:TRANSPARENT", "TRANSP:Transparent"] {
        assert_eq!(busy(&event(&format!("{span}{line}"))), [""; 0], "{line}");
    }
    for line in ["TRANSP:OPAQUE", "STATUS:CONFIRMED", "STATUS:X-WHATEVER", "X-A:b"] {
        assert_eq!(busy(&event(&format!("{span}{line}"))).len(), 1, "{line}");
    }
}

#[test]
fn tentative_events_are_listed_apart() {
    let text = event("DTSTART:20260105T100000Z\nDURATION:PT1H\nSTATUS:TENTATIVE");
    let got = query(&text, "UTC", "20260101", "20260201");
    assert_eq!((show(&got.busy), show(&got.tentative)), (vec![], vec!["0105T1000-0105T1100".to_owned()]));
    assert_eq!((got.blocked(false).len(), got.blocked(true).len()), (0, 1));
}

#[test]
fn all_day_events_are_days_of_the_participants_zone() {
    let one = event("DTSTART;VALUE=DATE:20260105");
    assert_eq!(busy(&one), ["0105T0000-0106T0000"]);
    assert_eq!(busy_in("America/New_York", &one), ["0105T0500-0106T0500"]);
    let two = event("DTSTART;VALUE=DATE:20260105\nDTEND;VALUE=DATE:20260107");
    assert_eq!(busy_in("Asia/Tokyo", &two), ["0104T1500-0106T1500"]);
    assert_eq!(busy(&event("DTSTART:20260105\nDURATION:P2D")), ["0105T0000-0107T0000"]);
    assert_eq!(busy(&event("DTSTART:20260105\nDTEND:20260105")), ["0105T0000-0106T0000"]);
    // 29 March has 23 hours in Berlin.
    let spring = event("DTSTART;VALUE=DATE:20260329");
    let got = query(&spring, "Europe/Berlin", "20260301", "20260401").busy;
    assert_eq!(show(&got), ["0328T2300-0329T2200"]);
}

#[test]
fn what_lasts_no_time_blocks_none() {
    assert_eq!(busy(&event("DTSTART:20260105T100000Z")), [""; 0]);
    assert_eq!(busy(&event("DTSTART:20260105T100000Z\nDTEND:20260105T100000Z")), [""; 0]);
    assert_eq!(busy(&event("DTSTART:20260105T100000Z\nDURATION:PT0S\nRRULE:FREQ=SECONDLY")), [""; 0]);
}

#[test]
fn floating_times_are_read_in_the_participants_zone() {
    let text = event("DTSTART:20260105T100000\nDTEND:20260105T110000");
    assert_eq!(busy_in("Europe/Berlin", &text), ["0105T0900-0105T1000"]);
    assert_eq!(busy_in("America/New_York", &text), ["0105T1500-0105T1600"]);
}

#[test]
fn durations_are_nominal_in_days_and_exact_below() {
    let text = |length| event(&format!("DTSTART;TZID=Europe/Berlin:20260328T120000\n{length}"));
    let march = |length| show(&query(&text(length), "UTC", "20260301", "20260401").busy);
    assert_eq!(march("DURATION:P1D"), ["0328T1100-0329T1000"]);
    assert_eq!(march("DURATION:PT24H"), ["0328T1100-0329T1100"]);
    assert_eq!(march("DTEND;TZID=Europe/Berlin:20260329T120000"), ["0328T1100-0329T1000"]);
}

#[test]
fn weekly_meetings_keep_their_wall_clock_time() {
    let text = event(
        "DTSTART;TZID=America/New_York:20260302T090000
         DTEND;TZID=America/New_York:20260302T093000
         RRULE:FREQ=WEEKLY;UNTIL=20260316T130000Z",
    );
    let got = query(&text, "Europe/Berlin", "20260301", "20260401").busy;
    assert_eq!(show(&got), ["0302T1400-0302T1430", "0309T1300-0309T1330", "0316T1300-0316T1330"]);
}

#[test]
fn until_is_an_instant_that_is_read_in_the_zone_of_the_event() {
    // 23:00 UTC on the 12th is 08:00 on the 13th in Tokyo: that occurrence is the last.
    let text = event(
        "DTSTART;TZID=Asia/Tokyo:20260106T080000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;UNTIL=20260112T230000Z",
    );
    assert_eq!(busy(&text), ["0105T2300-0106T0000", "0112T2300-0113T0000"]);
    let floating = event("DTSTART:20260106T080000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;UNTIL=20260112T230000Z");
    assert_eq!(busy_in("Asia/Tokyo", &floating).len(), 2);
    assert_eq!(busy_in("UTC", &floating).len(), 1);
}

#[test]
fn rdates_add_and_exdates_remove() {
    let text = event(
        "DTSTART;TZID=Europe/Berlin:20260105T100000
         DTEND;TZID=Europe/Berlin:20260105T110000
         RRULE:FREQ=DAILY;COUNT=5
         EXDATE;TZID=Europe/Berlin:20260106T100000
         EXDATE:20260107T090000Z
         EXDATE;VALUE=DATE:20260108,20260120
         EXDATE;VALUE=DATE:
         RDATE;TZID=Europe/Berlin:20260201T150000
         RDATE;VALUE=PERIOD:20260202T100000Z/PT3H,20260203T100000Z/20260203T101500Z",
    );
    assert_eq!(
        busy(&text),
        [
            "0105T0900-0105T1000",
            "0109T0900-0109T1000",
            "0201T1400-0201T1500",
            "0202T1000-0202T1300",
            "0203T1000-0203T1015"
        ]
    );
    let floating = event("DTSTART;TZID=Europe/Berlin:20260105T100000\nDURATION:PT1H\nEXDATE:20260105T100000");
    assert_eq!(busy(&floating), [""; 0]);
    let days = event("DTSTART:20260105\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260106T000000");
    assert_eq!(busy_in("UTC", &days), ["0105T0000-0106T0000", "0107T0000-0108T0000"]);
}

const SERIES: &str = "BEGIN:VEVENT
    UID:1
    DTSTART;TZID=Europe/Berlin:20260105T100000
    DURATION:PT1H
    RRULE:FREQ=WEEKLY;COUNT=4
    END:VEVENT";

fn changed(change: &str) -> Vec<String> {
    busy(&calendar(&format!("BEGIN:VEVENT\nUID:1\n{change}\nEND:VEVENT\n{SERIES}")))
}

#[test]
fn overrides_take_the_place_of_their_occurrence() {
    assert_eq!(changed("TRANSP:TRANSPARENT").len(), 4);
    let moved = "RECURRENCE-ID;TZID=Europe/Berlin:20260112T100000\nDTSTART:20260114T100000Z\nDURATION:PT2H";
    let after = ["0105T0900-0105T1000", "0114T1000-0114T1200", "0119T0900-0119T1000", "0126T0900-0126T1000"];
    assert_eq!(changed(moved), after);
    assert_eq!(changed(&moved.replace(";TZID=Europe/Berlin", "")), after);
    assert_eq!(changed(&moved.replace(";TZID=Europe/Berlin:20260112T100000", ":20260112T090000Z")), after);
    let cancelled = "RECURRENCE-ID:20260112T090000Z\nSTATUS:CANCELLED";
    assert_eq!(changed(cancelled), ["0105T0900-0105T1000", "0119T0900-0119T1000", "0126T0900-0126T1000"]);
    assert_eq!(changed("RECURRENCE-ID;VALUE=DATE:20260112\nTRANSP:TRANSPARENT").len(), 3);
    // An override of which nobody can tell what it cancels leaves the master as it is.
    assert_eq!(changed("RECURRENCE-ID:soon\nSTATUS:CANCELLED").len(), 4);
}

#[test]
fn the_highest_sequence_of_an_override_counts() {
    let change = |sequence, hour| {
        format!(
            "BEGIN:VEVENT\nUID:1\nSEQUENCE:{sequence}\nRECURRENCE-ID:20260112T090000Z
            DTSTART:20260112T{hour}0000Z\nDURATION:PT1H\nEND:VEVENT\n"
        )
    };
    let text = calendar(&format!("{}{}{SERIES}", change(10, 15), change(9, 16)));
    assert_eq!(busy(&text)[1], "0112T1500-0112T1600");
}

#[test]
fn this_and_future_moves_all_that_follow() {
    let moved = "RECURRENCE-ID;RANGE=THISANDFUTURE:20260112T090000Z
        DTSTART;TZID=Europe/Berlin:20260113T110000\nDURATION:PT30M";
    assert_eq!(
        changed(moved),
        ["0105T0900-0105T1000", "0113T1000-0113T1030", "0120T1000-0120T1030", "0127T1000-0127T1030"]
    );
    let ended = "RECURRENCE-ID;RANGE=THISANDFUTURE:20260119T090000Z\nSTATUS:CANCELLED";
    assert_eq!(changed(ended), ["0105T0900-0105T1000", "0112T0900-0112T1000"]);
}

#[test]
fn an_override_without_its_master_stands_alone() {
    let text = event("UID:9\nRECURRENCE-ID:20260112T090000Z\nDTSTART:20260112T120000Z\nDURATION:PT1H");
    assert_eq!(busy(&text), ["0112T1200-0112T1300"]);
}

#[test]
fn free_busy_components_count_by_their_type() {
    let text = calendar(
        "BEGIN:VFREEBUSY
         FREEBUSY:20260105T100000Z/PT1H,20260105T110000Z/20260105T120000Z
         FREEBUSY;FBTYPE=FREE:20260106T100000Z/PT1H
         FREEBUSY;FBTYPE=BUSY-TENTATIVE:20260107T100000Z/PT1H
         FREEBUSY;FBTYPE=BUSY-UNAVAILABLE:20260108T100000Z/PT1H
         FREEBUSY;FBTYPE=X-NEW:20260109T100000Z/PT1H
         END:VFREEBUSY",
    );
    let got = query(&text, "UTC", "20260101", "20260201");
    assert_eq!(show(&got.busy), ["0105T1000-0105T1200", "0109T1000-0109T1100"]);
    assert_eq!(show(&got.tentative), ["0107T1000-0107T1100"]);
    assert_eq!(show(&got.unavailable), ["0108T1000-0108T1100"]);
    assert_eq!(got.blocked(false).len(), 3);
}

#[test]
fn our_own_events_are_left_out() {
    let text = event("UID:0190@quorate\nDTSTART:20260105T100000Z\nDURATION:PT1H");
    assert_eq!(busy(&text), [""; 0]);
    let own = Calendar::parse_with_own("out", &text).unwrap();
    assert_eq!(own.busy(range("20260101", "20260201"), &TimeZone::UTC).unwrap().busy.len(), 1);
    // Not even its faults are ours to report.
    assert_eq!(busy(&event("UID:0190@quorate\nDTSTART:never")), [""; 0]);
}

#[test]
fn zones_by_iana_windows_and_prefixed_names() {
    for zone in [
        "Europe/Berlin",
        "europe/berlin",
        "\"W. Europe Standard Time\"",
        "/Europe/Berlin",
        "/freeassociation.sourceforge.net/Tzfile/Europe/Berlin",
        "/x.org/Olson_2001_5/Europe/Berlin",
    ] {
        let text = event(&format!("DTSTART;TZID={zone}:20260105T100000\nDURATION:PT1H"));
        assert_eq!(busy(&text), ["0105T0900-0105T1000"], "{zone}");
    }
    let error = problem(&event("SUMMARY:x\nDTSTART;TZID=Mars/Base:20260105T100000\nDURATION:PT1H"));
    assert_eq!(error.to_string(), "alice.ics:5: unknown time zone 'Mars/Base'");
}

fn custom_zone(extra: &str) -> String {
    format!(
        "BEGIN:VTIMEZONE\nTZID:Office\n{extra}
         BEGIN:STANDARD\nDTSTART:20001029T030000\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
         TZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nEND:STANDARD
         BEGIN:DAYLIGHT\nDTSTART:20000326T020000\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
         TZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nEND:DAYLIGHT\nEND:VTIMEZONE\n"
    )
}

#[test]
fn a_vtimezone_explains_an_unknown_name() {
    // Every hour around both changes of 2026, against the zone whose rules these are.
    for (day, hour) in [("20260329", 0..6), ("20261025", 0..6), ("20260701", 0..2), ("19990701", 0..1)] {
        for at in hour.flat_map(|hour| [format!("{day}T{hour:02}00"), format!("{day}T{hour:02}30")]) {
            let text = |zone: &str| {
                let event = format!("BEGIN:VEVENT\nDTSTART;TZID={zone}:{at}00\nDURATION:PT15M\nEND:VEVENT");
                show(
                    &query(&calendar(&format!("{}{event}", custom_zone(""))), "UTC", "19980101", "20280101")
                        .busy,
                )
            };
            // Before its first change a VTIMEZONE knows standard time only.
            let known = if day.starts_with("1999") { "Etc/GMT-1" } else { "Europe/Berlin" };
            assert_eq!(text("Office"), text(known), "{at}");
        }
    }
    let event = "BEGIN:VEVENT\nDTSTART;TZID=Office:20260105T100000\nDURATION:PT1H\nEND:VEVENT";
    let tokyo = calendar(&format!("{}{event}", custom_zone("X-LIC-LOCATION:Asia/Tokyo")));
    assert_eq!(busy(&tokyo), ["0105T0100-0105T0200"]);
    let error = problem(&calendar(&format!("BEGIN:VTIMEZONE\nTZID:Office\nEND:VTIMEZONE\n{event}")));
    assert_eq!(error.to_string(), "alice.ics:7: its VTIMEZONE has no rules");
}

#[test]
fn the_calendars_own_zone_and_title() {
    let read = |body: &str| {
        let calendar = Calendar::parse("alice.ics", &calendar(body)).unwrap();
        (calendar.zone().map(str::to_owned), calendar.display_name().map(str::to_owned))
    };
    let (zone, name) = read("X-WR-TIMEZONE:America/New_York\nX-WR-CALNAME:Alice at work");
    assert_eq!((zone.as_deref(), name.as_deref()), (Some("America/New_York"), Some("Alice at work")));
    assert_eq!(read("X-WR-TIMEZONE;VALUE=TEXT:Tokyo Standard Time").0.as_deref(), Some("Asia/Tokyo"));
    let zone = |id: &str| format!("BEGIN:VTIMEZONE\nTZID:{id}\nEND:VTIMEZONE\n");
    assert_eq!(read(&zone("Europe/Paris")).0.as_deref(), Some("Europe/Paris"));
    assert_eq!(read(&(zone("Europe/Paris") + &zone("Asia/Tokyo"))).0, None);
    assert_eq!(read("X-WR-TIMEZONE:Atlantis\nX-A:b").0, None);
}

#[test]
fn faults_name_file_and_line() {
    let line = |text: &str| refused(text).line;
    assert_eq!(refused("").line, 1);
    assert_eq!(line("<!DOCTYPE html>\n<html>"), 1);
    assert_eq!(line("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20260101\r\n"), 2);
    assert_eq!(line("BEGIN:VCALENDAR\nEND:VEVENT\n"), 2);
    assert_eq!(line("BEGIN:VCALENDAR\nEND:VCALENDAR\n\nUID:1\n"), 4);
    assert_eq!(line("BEGIN:VCALENDAR\nX-WR-TIMEZONE;X=\"a:UTC\nEND:VCALENDAR\n"), 2);
    let line = |text: &str| problem(text).line;
    assert_eq!(line(&event("SUMMARY:no start")), 3);
    assert_eq!(line(&event("DTSTART:2026")), 4);
    assert_eq!(line(&event("DTSTART:20260230T100000Z")), 4);
    assert_eq!(line(&event("SUMMARY:a\n DTSTART:20260105T100000Z\nDTEND:20260104T100000Z")), 6);
    assert_eq!(line(&event("DTSTART:20260105T100000Z\nDURATION:1H")), 5);
    assert_eq!(line(&event("DTSTART:20260105T100000Z\nDURATION:PT1H\nRRULE:FREQ=NEVER")), 6);
    assert_eq!(line(&event("DTSTART:20260105T100000Z\nDTSTART:20260106T100000Z")), 5);
    assert_eq!(line(&event("DTSTART:20260105T100000Z\nDURATION:PT1H\nRDATE:x")), 6);
    assert_eq!(line(&calendar("BEGIN:VFREEBUSY\nFREEBUSY:20260105T100000Z\nEND:VFREEBUSY")), 4);
    let deep = "BEGIN:VCALENDAR\n".repeat(100_000);
    assert_eq!(refused(&deep).line, 17);
}

#[test]
fn what_blocks_no_time_may_be_as_broken_as_it_likes() {
    assert_eq!(busy(&event("TRANSP:TRANSPARENT\nDTSTART:x\nRRULE:y")), [""; 0]);
    let alarm = event(
        "DTSTART:20260105T100000Z\nDURATION:PT1H\nBEGIN:VALARM\nTRIGGER;X=\"open:-PT15M\nDURATION:x
         END:VALARM\nX-ODD;=:\nATTENDEE;CN=\"a",
    );
    assert_eq!(busy(&alarm), ["0105T1000-0105T1100"]);
    let todo = calendar("BEGIN:VTODO\nDTSTART:x\nEND:VTODO\nBEGIN:VJOURNAL\nEND:VJOURNAL");
    assert_eq!(busy(&todo), [""; 0]);
}

#[test]
fn sloppy_files_are_read() {
    let text = event("DTSTART:20260105T100000Z\nDURATION:PT1H");
    assert_eq!(busy(&format!("\u{feff}{}", text.replace("\r\n", "\n\n"))), ["0105T1000-0105T1100"]);
    assert_eq!(busy(&text.to_lowercase().replace("20260105t", "20260105T")), ["0105T1000-0105T1100"]);
    let folded = event("DTSTART\n\t:2026010\n\t5T100000Z\nDURATION:PT1H\nDESCRIPTION:one\ntwo");
    assert_eq!(
        problem(&folded).reason,
        "unreadable line 'DTSTART:20260105T100000Z'",
        "the helper strips the blanks"
    );
    let folded = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART\n :2026010\n\t5T100000Z\nDURATION:PT1H\n\
        DESCRIPTION:one\ntwo\nEND:VEVENT\nEND:VCALENDARD";
    assert_eq!(busy(folded), ["0105T1000-0105T1100"]);
}

#[test]
fn rules_without_end_are_bounded_and_never_free() {
    let endless = event("DTSTART:20000101T000000Z\nDURATION:PT1S\nRRULE:FREQ=SECONDLY;INTERVAL=2");
    let got = query(&endless, "UTC", "20260101", "20260301").busy;
    assert!(got.len() <= MAX_STEPS_PER_RULE + 1);
    // Where the bound ends it, the rest counts as busy.
    assert_eq!(got.last().map(|last| last.end), Some(at("20260301")));
    // A count that cannot be followed to the range says nothing about it: busy.
    let counted = event("DTSTART:20000101T000000Z\nDURATION:PT1S\nRRULE:FREQ=SECONDLY;COUNT=900000000");
    assert_eq!(busy(&counted), ["0101T0000-0301T0000"]);
    let one = "BEGIN:VEVENT\nDTSTART:20000101T000000Z\nDURATION:PT1S\nRRULE:FREQ=SECONDLY\nEND:VEVENT\n";
    let many =
        Calendar::parse("alice.ics", &calendar(&one.repeat(MAX_STEPS_PER_QUERY / MAX_STEPS_PER_RULE + 1)))
            .unwrap();
    let error = many.busy(range("20250101", "20260301"), &TimeZone::UTC).unwrap_err();
    assert!(error.line > 0 && error.reason.contains("recurs too often"), "{error}");
}

#[test]
fn a_rule_that_never_matches_leaves_its_first_day() {
    let dead = "DTSTART:20260105T100000Z\nDURATION:PT1H\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30";
    assert_eq!(busy(&event(dead)), ["0105T1000-0105T1100"]);
    assert!(unknown(&event(dead)).is_empty());
    let many = |rules| calendar(&format!("BEGIN:VEVENT\n{dead}\nEND:VEVENT\n").repeat(rules));
    assert_eq!(Calendar::parse("alice.ics", &many(MAX_DEAD_RULES)).unwrap().problem_count(), 0);
    assert!(problem(&many(MAX_DEAD_RULES + 1)).reason.contains("never match"));
}

/// Section 3.8.4.4 gives the length of the change to all that follows; an RDATE that is a period has one of its own.
#[test]
fn a_period_after_a_change_of_all_that_follows_keeps_the_longer_length() {
    let series = |length| {
        let uid = "UID:a\nDTSTART:";
        let master = format!(
            "BEGIN:VEVENT\n{uid}20260105T100000Z\nDURATION:PT1H\nRDATE:20260106T100000Z\n\
             RDATE;VALUE=PERIOD:20260107T100000Z/PT3H\nEND:VEVENT\n"
        );
        let change = "RECURRENCE-ID;RANGE=THISANDFUTURE:20260106T100000Z";
        calendar(&format!(
            "{master}BEGIN:VEVENT\n{uid}20260106T110000Z\n{change}\nDURATION:{length}\nEND:VEVENT\n"
        ))
    };
    assert_eq!(busy(&series("PT1H")), ["0105T1000-0105T1100", "0106T1100-0106T1200", "0107T1100-0107T1400"]);
    assert_eq!(busy(&series("PT4H")), ["0105T1000-0105T1100", "0106T1100-0106T1500", "0107T1100-0107T1500"]);
}

#[test]
fn times_at_the_end_of_the_calendar_do_no_harm() {
    let text =
        event("DTSTART:20260105T100000Z\nDTEND:99991231T235959Z\nRRULE:FREQ=YEARLY;UNTIL=99991231T235959Z");
    assert_eq!(busy_in("Asia/Tokyo", &text), ["0105T1000-0301T0000"]);
    let text = event("DTSTART;TZID=America/New_York:99991231T235959\nDTEND:99991231\nTRANSP:OPAQUE");
    let _either = Calendar::parse("alice.ics", &text);
    assert_eq!(busy(&event("DTSTART:00010101T000000\nDURATION:P1D")), [""; 0]);
}

const RULE_PARTS: [&str; 36] = [
    "FREQ=YEARLY",
    "FREQ=MONTHLY",
    "FREQ=WEEKLY",
    "FREQ=DAILY",
    "FREQ=HOURLY",
    "FREQ=MINUTELY",
    "INTERVAL=2",
    "INTERVAL=53",
    "INTERVAL=65535",
    "INTERVAL=-1",
    "COUNT=3",
    "COUNT=4000",
    "COUNT=-2",
    "UNTIL=20260201T000000Z",
    "UNTIL=20250101",
    "UNTIL=",
    "WKST=SU",
    "WKST=XX",
    "BYDAY=MO,-1FR",
    "BYDAY=5SU",
    "BYDAY=-53TU",
    "BYMONTH=2",
    "BYMONTH=0",
    "BYMONTHDAY=-31,31",
    "BYMONTHDAY=29",
    "BYYEARDAY=-366,366",
    "BYWEEKNO=53",
    "BYWEEKNO=-53,1",
    "BYHOUR=0,23",
    "BYMINUTE=59",
    "BYSECOND=0",
    "BYSETPOS=-1",
    "BYSETPOS=366",
    "SKIP=BACKWARD",
    "BYEASTER=1",
    "=",
];

const LINES: [&str; 30] = [
    "BEGIN:VEVENT",
    "END:VEVENT",
    "BEGIN:VTIMEZONE",
    "END:VTIMEZONE",
    "BEGIN:STANDARD",
    "END:STANDARD",
    "BEGIN:VFREEBUSY",
    "END:VFREEBUSY",
    "UID:1",
    "UID:2",
    "DTSTART:20260105T100000Z",
    "DTSTART:20260105",
    "DTSTART;TZID=Office:20260329T023000",
    "DTEND:20260105T110000",
    "DURATION:P1DT2H",
    "RRULE:FREQ=DAILY",
    "RDATE;VALUE=PERIOD:20260105T100000/PT1H,/",
    "EXDATE;TZID=Office:20260106T100000",
    "RECURRENCE-ID;RANGE=THISANDFUTURE:20260106",
    "RECURRENCE-ID:20260106T100000Z",
    "STATUS:TENTATIVE",
    "TRANSP:TRANSPARENT",
    "TZID:Office",
    "TZOFFSETFROM:+1400",
    "TZOFFSETTO:-1200",
    "FREEBUSY:20260105T100000Z/P",
    " 0",
    "\u{e9}",
    "X;=\":",
    "RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU",
];

proptest! {
    #[test]
    fn no_rule_panics(
        parts in prop::collection::vec(select(&RULE_PARTS[..]), 1..6),
        start in select(&["20260105T100000", "20240229", "00010101", "99991231T235959", "19700101T000000Z"][..]),
    ) {
        let text = event(&format!("DTSTART:{start}\nDURATION:PT1H\nRRULE:{}", parts.join(";")));
        if let Ok(calendar) = Calendar::parse("alice.ics", &text) {
            let zone = known_zone("America/New_York").unwrap();
            prop_assert!(calendar.busy(range("20260101", "20260301"), &zone).is_ok());
        }
    }

    #[test]
    fn no_order_of_lines_panics(lines in prop::collection::vec(select(&LINES[..]), 0..40)) {
        let inner = lines.join("\n");
        for text in [format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\n{inner}\nEND:VEVENT\nEND:VCALENDAR"), inner] {
            if let Ok(calendar) = Calendar::parse("alice.ics", &text) {
                let everything = TimeRange { start: DateTime::<Utc>::MIN_UTC, end: DateTime::<Utc>::MAX_UTC };
                for range in [range("20260101", "20260301"), everything] {
                    let busy = calendar.busy(range, &TimeZone::UTC).map(|busy| busy.blocked(true));
                    let sorted = |busy: &[TimeRange]| busy.windows(2).all(|two| two[0].end < two[1].start);
                    prop_assert!(busy.is_ok_and(|busy| sorted(&busy)));
                }
            }
        }
    }
}
