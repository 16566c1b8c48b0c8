//! Calendars as producers write them, broken ones, and what is kept of a query.

use super::*;

/// What is not free in January 2026 in somebody's own calendar, of whom nothing else is known.
fn personal(text: &str) -> Busy {
    let calendar = Calendar::parse_of("alice.ics", text, &[]).unwrap_or_else(|e| panic!("{e}"));
    calendar.busy(range("20260101", "20260201"), &TimeZone::UTC).unwrap()
}

#[test]
fn what_cannot_be_read_leaves_its_time_unknown_and_the_rest_known() {
    let good = "BEGIN:VEVENT\nDTSTART:20260105T100000Z\nDURATION:PT1H\nEND:VEVENT\n";
    let with = |bad: &str| {
        let text = calendar(&format!("{good}BEGIN:VEVENT\n{bad}\nEND:VEVENT"));
        assert_eq!(busy(&text)[0], "0105T1000-0105T1100", "{bad}");
        unknown(&text)
    };
    // All that may be known of it bounds it.
    assert_eq!(with("DTSTART:never"), ["20250101-20280101"]);
    assert_eq!(with("SUMMARY:no start"), ["20250101-20280101"]);
    assert_eq!(with("DTSTART;TZID=Mars/Base:20260610T100000\nDURATION:PT1H"), ["20260609-20260612"]);
    assert_eq!(with("DTSTART;TZID=Mars/Base:20260610T100000\nRRULE:FREQ=DAILY"), ["20260609-20280101"]);
    assert_eq!(with("DTSTART:20260610T100000Z\nDTEND:20260609T100000Z"), ["20260608-20260612"]);
    assert_eq!(with("DTSTART:20260610T100000Z\nDURATION:an hour"), ["20260609-20280101"]);
    assert_eq!(with("DTSTART:20260610T100000Z\nDTEND;X=\"a:20260610T110000Z"), ["20250101-20280101"]);
    assert_eq!(with("DTSTART:20260610T100000Z\nDURATION:PT1H\nRRULE:FREQ=NEVER"), ["20260609-20280101"]);
    assert_eq!(with("DTSTART:20260610T100000Z\nDURATION:PT1H\nRDATE:x"), ["20250101-20280101"]);
    assert_eq!(with("DTSTART:20260610\nDTSTART:20260611"), ["20250101-20280101"]);
    // An EXDATE or RECURRENCE-ID that can't be read only makes the person busier.
    let daily = "DTSTART:20260110T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3";
    assert_eq!(with(&format!("{daily}\nEXDATE:x,20260111T100000Z")), [""; 0]);
    assert_eq!(with("RECURRENCE-ID:x\nDTSTART:20260110T100000Z\nDURATION:PT1H"), [""; 0]);
    let text = event(&format!("{daily}\nEXDATE:x,20260111T100000Z"));
    assert_eq!(busy(&text), ["0110T1000-0110T1100", "0112T1000-0112T1100"]);
    assert_eq!(problem(&text).to_string(), "alice.ics:7: unreadable date 'x'");
}

#[test]
fn a_missing_end_spoils_one_component_only() {
    let text = calendar(
        "BEGIN:VEVENT\nDTSTART:20260105T100000Z\nDURATION:PT1H
         BEGIN:VEVENT\nDTSTART:20260106T100000Z\nDURATION:PT1H\nEND:VEVENT
         BEGIN:VEVENT\nDTSTART:20260107T100000Z\nDURATION:PT1H\nBEGIN:VALARM\nDTSTART:1\nEND:VEVENT
         BEGIN:VEVENT\nDTSTART:20260108T100000Z\nDURATION:PT1H",
    );
    assert_eq!(busy(&text), ["0106T1000-0106T1100"]);
    let calendar = Calendar::parse("alice.ics", &text).unwrap();
    let lines: Vec<_> = calendar.problems().iter().map(|problem| problem.error.to_string()).collect();
    assert_eq!(
        lines,
        [
            "alice.ics:3: BEGIN:VEVENT without its END",
            "alice.ics:13: BEGIN:VALARM without its END",
            "alice.ics:16: BEGIN:VEVENT without its END"
        ]
    );
    assert!(unknown(&text).len() == 1 && calendar.problem_in(range("20250101", "20250102")).is_some());
}

#[test]
fn outlooks_own_busy_status_counts() {
    let read = |status: &str, rest: &str| {
        let span = "DTSTART:20260105T100000Z\nDURATION:PT1H";
        let text = event(&format!("{span}\nX-MICROSOFT-CDO-BUSYSTATUS:{status}\n{rest}"));
        let got = personal(&text);
        [got.busy.len(), got.tentative.len(), got.unavailable.len()]
    };
    assert_eq!(read("FREE", "X-A:b"), [0, 0, 0]);
    assert_eq!(read("WORKINGELSEWHERE", "X-A:b"), [0, 0, 0]);
    assert_eq!(read("Tentative", "X-A:b"), [0, 1, 0]);
    assert_eq!(read("BUSY", "TRANSP:TRANSPARENT"), [1, 0, 0]);
    assert_eq!(read("BUSY", "STATUS:TENTATIVE"), [0, 1, 0]);
    assert_eq!(read("OOF", "TRANSP:OPAQUE"), [0, 0, 1]);
    assert_eq!(read("OOF", "STATUS:CANCELLED"), [0, 0, 0]);
    assert_eq!(read("NEW", "X-A:b"), [1, 0, 0]);
    assert_eq!(read("NEW", "TRANSP:TRANSPARENT"), [0, 0, 0]);
}

#[test]
fn the_owners_answer_counts_and_nobody_elses() {
    let owners = ["mailto:Alice@Example.com".to_owned(), "alice@home.example".to_owned()];
    let read = |attendees: &str| {
        let text = event(&format!("DTSTART:20260105T100000Z\nDURATION:PT1H\n{attendees}"));
        let calendar = Calendar::parse_of("alice.ics", &text, &owners).unwrap();
        let got = calendar.busy(range("20260101", "20260201"), &TimeZone::UTC).unwrap();
        [got.busy.len(), got.tentative.len(), got.unknown.len()]
    };
    assert_eq!(read("ATTENDEE;PARTSTAT=DECLINED:mailto:alice@example.com"), [0, 0, 0]);
    assert_eq!(read("ATTENDEE;PARTSTAT=declined;EMAIL=alice@home.example:urn:uuid:1"), [0, 0, 0]);
    assert_eq!(read("ATTENDEE;PARTSTAT=TENTATIVE:MAILTO:ALICE@example.com"), [0, 1, 0]);
    assert_eq!(read("ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:alice@example.com"), [1, 0, 0]);
    assert_eq!(read("ATTENDEE;PARTSTAT=DECLINED:mailto:bob@example.com"), [1, 0, 0]);
    let two = "ATTENDEE;PARTSTAT=DECLINED:mailto:alice@example.com\nATTENDEE:mailto:alice@home.example";
    assert_eq!(read(two), [1, 0, 0]);
    assert_eq!(read("ATTENDEE;PARTSTAT=DECLINED;CN=\"a:mailto:alice@example.com"), [1, 0, 0]);
    // Google writes the owner's address as the title.
    let body = "BEGIN:VEVENT\nDTSTART:20260105T100000Z\nDURATION:PT1H
        ATTENDEE;PARTSTAT=DECLINED:mailto:carol@example.com\nEND:VEVENT";
    assert_eq!(personal(&calendar(&format!("X-WR-CALNAME:Carol@example.com\n{body}"))), Busy::default());
    assert_eq!(personal(&calendar(&format!("X-WR-CALNAME:Of carol@example.com\n{body}"))).busy.len(), 1);
}

#[test]
fn a_declined_occurrence_is_free() {
    let text = calendar(
        "X-WR-CALNAME:a@b.example
         BEGIN:VEVENT\nUID:1\nDTSTART:20260105T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3\nEND:VEVENT
         BEGIN:VEVENT\nUID:1\nRECURRENCE-ID:20260106T100000Z\nDTSTART:20260106T100000Z\nDURATION:PT1H
         ATTENDEE;PARTSTAT=DECLINED:mailto:a@b.example\nEND:VEVENT",
    );
    assert_eq!(show(&personal(&text).busy), ["0105T1000-0105T1100", "0107T1000-0107T1100"]);
}

/// A zone at UTC+9 all year, by this name.
fn at_nine(id: &str) -> String {
    format!(
        "BEGIN:VTIMEZONE\nTZID:{id}\nBEGIN:STANDARD\nDTSTART:19700101T000000
         TZOFFSETFROM:+0900\nTZOFFSETTO:+0900\nEND:STANDARD\nEND:VTIMEZONE\n"
    )
}

#[test]
fn a_zone_that_contradicts_its_name_blocks_the_time_of_both() {
    let at = |id: &str, more: &str| {
        let event = format!(
            "BEGIN:VEVENT\nUID:1\nDTSTART;TZID={id}:20260105T100000\nDURATION:PT1H\n{more}\nEND:VEVENT"
        );
        calendar(&format!("{}{event}", at_nine(id)))
    };
    // Berlin has not been at UTC+9: nobody knows which of the two the producer meant.
    let text = at("Europe/Berlin", "X-A:b");
    assert_eq!(busy(&text), ["0105T0100-0105T0200", "0105T0900-0105T1000"]);
    let words = problem(&text).to_string();
    assert!(words.starts_with("alice.ics:3: the VTIMEZONE of 'Europe/Berlin' has UTC+09:00 at "), "{words}");
    assert!(words.contains("where the zone of that name has UTC+01:00"), "{words}");
    assert_eq!(unknown(&text), Vec::<String>::new());
    let daily = busy(&at("Europe/Berlin", "RRULE:FREQ=DAILY;COUNT=2"));
    let both = ["0105T0100-0105T0200", "0105T0900-0105T1000", "0106T0100-0106T0200", "0106T0900-0106T1000"];
    assert_eq!(daily, both);
    // A name that only the file explains means what the file says, and one that is explained rightly is no problem.
    for (id, hour) in [("Our office", "0105T0100-0105T0200"), ("Asia/Tokyo", "0105T0100-0105T0200")] {
        let text = at(id, "X-A:b");
        assert_eq!(busy(&text), [hour], "{id}");
        assert_eq!(Calendar::parse("alice.ics", &text).unwrap().problems(), []);
    }
    // What is over does no harm; nor does a zone that no event names.
    let over = at("Europe/Berlin", "X-A:b").replace("20260105", "20150105");
    assert_eq!(Calendar::parse("alice.ics", &over).unwrap().problems(), []);
    let unused = event("DTSTART:20260105T100000Z\nDURATION:PT1H")
        .replace("BEGIN:VEVENT", &format!("{}BEGIN:VEVENT", at_nine("Europe/Berlin")));
    assert_eq!(Calendar::parse("alice.ics", &unused).unwrap().problems(), []);
}

#[test]
fn exceptions_of_a_doubtful_series_hold_in_both_readings() {
    let text = calendar(&format!(
        "{}BEGIN:VEVENT\nUID:1\nDTSTART;TZID=Europe/Berlin:20260105T100000\nDURATION:PT1H
         RRULE:FREQ=DAILY;COUNT=3\nEXDATE;TZID=Europe/Berlin:20260106T100000\nEND:VEVENT
         BEGIN:VEVENT\nUID:1\nRECURRENCE-ID;TZID=Europe/Berlin:20260107T100000
         DTSTART:20260107T200000Z\nDURATION:PT1H\nEND:VEVENT",
        at_nine("Europe/Berlin")
    ));
    assert_eq!(busy(&text), ["0105T0100-0105T0200", "0105T0900-0105T1000", "0107T2000-0107T2100"]);
}

#[test]
fn an_old_or_short_copy_of_a_zones_rules_is_told_and_read_by_its_name() {
    let weekly = |observances: &str| {
        calendar(&format!(
            "BEGIN:VTIMEZONE\nTZID:America/New_York\n{observances}\nEND:VTIMEZONE
             BEGIN:VEVENT\nDTSTART;TZID=America/New_York:20260301T100000\nDURATION:PT30M
             RRULE:FREQ=WEEKLY;COUNT=3\nEND:VEVENT"
        ))
    };
    // New York until 2006: from the first Sunday of April to the last of October. And without its summers.
    let winter = "BEGIN:STANDARD\nDTSTART:19671029T020000\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
        TZOFFSETFROM:-0400\nTZOFFSETTO:-0500\nEND:STANDARD\n";
    let summer = "BEGIN:DAYLIGHT\nDTSTART:19870405T020000\nRRULE:FREQ=YEARLY;BYMONTH=4;BYDAY=1SU
        TZOFFSETFROM:-0500\nTZOFFSETTO:-0400\nEND:DAYLIGHT";
    let standard = "BEGIN:STANDARD\nDTSTART:19700101T000000
        TZOFFSETFROM:-0500\nTZOFFSETTO:-0500\nEND:STANDARD";
    for text in [weekly(&format!("{winter}{summer}")), weekly(standard)] {
        let found = show(&query(&text, "UTC", "20260301", "20260401").busy);
        assert_eq!(found, ["0301T1500-0301T1530", "0308T1400-0308T1430", "0315T1400-0315T1430"]);
        let words = problem(&text).to_string();
        assert!(
            words.contains("UTC-05:00 at 2026-03-08T07:00Z, where the zone of that name has UTC-04:00"),
            "{words}"
        );
        assert!(words.ends_with("it is read by its name"), "{words}");
    }
}

#[test]
fn nobody_is_available_at_one_of_two_times() {
    let text = calendar(&format!(
        "{}BEGIN:VAVAILABILITY\nUID:a\nDTSTART:20260105T000000Z\nDTEND:20260106T000000Z
         BEGIN:AVAILABLE\nUID:b\nDTSTART;TZID=Europe/Berlin:20260105T100000\nDURATION:PT1H\nEND:AVAILABLE
         BEGIN:AVAILABLE\nUID:c\nDTSTART:20260105T150000Z\nDURATION:PT1H\nEND:AVAILABLE\nEND:VAVAILABILITY",
        at_nine("Europe/Berlin")
    ));
    let found = query(&text, "UTC", "20260101", "20260301");
    assert_eq!(show(&found.unavailable), ["0105T0000-0105T1500", "0105T1600-0106T0000"]);
    assert!(problem(&text).to_string().contains("times in it block both hours"), "{}", problem(&text));
}

#[test]
fn large_and_hostile_files_end() {
    let junk = "x".repeat(70) + "\n";
    let junk = junk.repeat(200_000);
    assert!(refused(&junk).line == 1);
    assert!(Calendar::parse("alice.ics", &format!("BEGIN:VCALENDAR\n{junk}")).is_err());
    let many = "BEGIN:VEVENT\nEND:VEVENT\n".repeat(100_000);
    let many = Calendar::parse("alice.ics", &calendar(&many)).unwrap();
    assert_eq!((many.problems().len(), many.problem_count()), (MAX_PROBLEMS, 100_000));
    assert!(refused(&calendar(&"BEGIN:VALARM\nEND:VALARM\n".repeat(500_001))).reason.contains("500000"));
    let excepted: Vec<String> = (0..100_000).map(|n| format!("{}T{:06}Z", 20260101 + n % 28, n)).collect();
    let text = event(&format!(
        "DTSTART:20260105T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260106T100000Z
         EXDATE:{}",
        excepted
            .iter()
            .filter(|at| at[9..11] < *"24" && at[11..13] < *"60" && at[13..15] < *"60")
            .cloned()
            .collect::<Vec<_>>()
            .join(",")
    ));
    assert!(busy(&text).len() <= 2);
    let rare =
        "BEGIN:VEVENT\nDTSTART:20260105T100000Z\nRRULE:FREQ=SECONDLY;INTERVAL=60;BYSECOND=5\nEND:VEVENT\n";
    let rare = Calendar::parse("alice.ics", &calendar(&rare.repeat(10_000))).unwrap();
    assert_eq!(rare.problem_count(), 10_000);
    let other_type = "DTSTART:20260105\nRRULE:FREQ=DAILY;UNTIL=20260107T235959Z";
    assert_eq!(busy(&event(other_type)), ["0105T0000-0108T0000"]);
}

/// What was worked out in chunks is what would be without them.
#[test]
fn chunks_change_no_answer() {
    let text = calendar(
        "BEGIN:VEVENT\nUID:1\nDTSTART;TZID=Europe/Berlin:20250303T230000\nDURATION:PT3H\nRRULE:FREQ=WEEKLY\nEND:VEVENT
         BEGIN:VEVENT\nUID:1\nRECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Europe/Berlin:20260105T230000
         DTSTART;TZID=Europe/Berlin:20260106T010000\nDURATION:PT2H\nEND:VEVENT
         BEGIN:VEVENT\nDTSTART;VALUE=DATE:20251220\nDTEND;VALUE=DATE:20260420\nSTATUS:TENTATIVE\nEND:VEVENT
         BEGIN:VEVENT\nDTSTART:20260110T090000\nDURATION:PT26H\nRRULE:FREQ=MONTHLY;COUNT=9\nEND:VEVENT
         BEGIN:VEVENT\nDTSTART;TZID=X:20260210T090000\nDURATION:PT26H\nEND:VEVENT",
    );
    let calendar = Calendar::parse("alice.ics", &text).unwrap();
    let mut random = crate::core::random::Random::new(28);
    for zone in ["UTC", "Pacific/Apia", "America/New_York"] {
        let zone = known_zone(zone).unwrap();
        for _ in 0..200 {
            let start = at("20250101") + chrono::TimeDelta::minutes(random.below(800_000) as i64);
            let range =
                TimeRange { start, end: start + chrono::TimeDelta::minutes(random.below(400_000) as i64) };
            let alone =
                calendar.work_out(range, &zone, &mut Steps::new(MAX_STEPS_PER_QUERY), MAX_STEPS_PER_RULE);
            assert_eq!(calendar.busy(range, &zone), alone, "{range:?}");
        }
    }
}
