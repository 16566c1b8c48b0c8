//! VAVAILABILITY (RFC 7953).

use super::*;

/// RFC 7953, over two weeks from Thursday, 1 January 2026.
fn availability(text: &str) -> Vec<String> {
    let text = calendar(text);
    let found = query(&text, "UTC", "20260101", "20260115");
    let show = |name: &str, list: &[TimeRange]| -> Vec<String> {
        let at = |at: chrono::DateTime<chrono::Utc>| at.format("%d.%H").to_string();
        list.iter().map(|range| format!("{name} {}-{}", at(range.start), at(range.end))).collect()
    };
    [show("busy", &found.busy), show("tentative", &found.tentative), show("out", &found.unavailable)].concat()
}

const OFFICE: &str =
    "BEGIN:AVAILABLE\nUID:o\nDTSTART:20260105T080000Z\nDURATION:P4D\nRRULE:FREQ=WEEKLY\nEND:AVAILABLE\n";

#[test]
fn availability_leaves_only_its_own_time() {
    let whole = |parts: &str| format!("BEGIN:VAVAILABILITY\n{parts}END:VAVAILABILITY\n");
    let meeting = "BEGIN:VEVENT\nDTSTART:20260106T080000Z\nDURATION:P1D\nEND:VEVENT\n";
    assert_eq!(
        availability(&format!("{meeting}{}", whole(OFFICE))),
        ["busy 06.08-07.08", "out 01.00-05.08", "out 09.08-12.08"]
    );
    // Tentative by its own word, and only for its own time.
    let bounded = format!("BUSYTYPE:BUSY-TENTATIVE\nDTSTART:20260104T000000Z\nDURATION:P7D\n{OFFICE}");
    assert_eq!(availability(&whole(&bounded)), ["tentative 04.00-05.08", "tentative 09.08-11.00"]);
    // A holiday covers it if its number is lower, and not if it is higher or none.
    let holiday = |priority: &str| {
        let days = "DTSTART:20260106T000000Z\nDTEND:20260107T000000Z\n";
        whole(&format!("{days}BUSYTYPE:BUSY\n{priority}"))
    };
    let five = whole(&format!("PRIORITY:5\n{OFFICE}"));
    let out = ["out 01.00-05.08", "out 09.08-12.08"];
    assert_eq!(availability(&(five.clone() + &holiday("PRIORITY:9\n"))), out);
    assert_eq!(availability(&(five.clone() + &holiday(""))), out);
    let both = [&["busy 06.00-07.00"], &out[..]].concat();
    assert_eq!(availability(&(five + &holiday("PRIORITY:1\n"))), both);
    // Of the same priority: free only where nobody minds.
    assert_eq!(availability(&(whole(OFFICE) + &holiday(""))), both);
}

#[test]
fn availability_that_cannot_be_read_is_none() {
    let of = |available: &str| {
        let office = OFFICE.replace("RRULE:FREQ=WEEKLY\n", available);
        format!("BEGIN:VAVAILABILITY\n{office}END:VAVAILABILITY\n")
    };
    let never = ["out 01.00-15.00"];
    for bad in [
        "RRULE:FREQ=SOMETIMES\n",
        "RRULE:FREQ=WEEKLY\nEXDATE:tomorrow\n",
        "RRULE:FREQ=WEEKLY\nEND:AVAILABLE\nBEGIN:AVAILABLE\nUID:o\nDTSTART:20260106T080000Z\nRECURRENCE-ID:then\n",
    ] {
        let text = of(bad);
        assert_eq!(availability(&text), never, "{bad}");
        assert!(!problem(&calendar(&text)).reason.is_empty());
    }
    // Nor is what can't be followed to its end.
    let endless = "DTSTART:19700101T000000Z\nDURATION:PT1S\nRRULE:FREQ=SECONDLY;COUNT=900000000\n";
    let endless = format!("BEGIN:AVAILABLE\n{endless}END:AVAILABLE\n");
    assert_eq!(availability(&format!("BEGIN:VAVAILABILITY\n{endless}END:VAVAILABILITY\n")), never);
    // Without a time of its own that can be read, it may be about any.
    let text = calendar(&format!("BEGIN:VAVAILABILITY\nDTSTART:then\n{OFFICE}END:VAVAILABILITY\n"));
    assert_eq!(query(&text, "UTC", "20260101", "20260115").unknown, [range("20260101", "20260115")]);
}

#[test]
fn availability_that_contradicts_itself_is_not_free_in_silence() {
    let whole = |parts: &str| format!("BEGIN:VAVAILABILITY\n{parts}END:VAVAILABILITY\n");
    let unknown = |text: &str| {
        let text = calendar(text);
        assert!(!problem(&text).reason.is_empty());
        query(&text, "UTC", "20260101", "20260115").unknown
    };
    for bad in [
        "DTSTART:20260112T000000Z\nDTEND:20260105T000000Z\nBUSYTYPE:BUSY\n",
        "DTSTART:20260106T000000Z\nDTEND:20260106T000000Z\nBUSYTYPE:BUSY\n",
        "DTSTART:20260106T000000Z\nDURATION:PT0S\nBUSYTYPE:BUSY\n",
        "DTSTART:20260106T000000Z\nDTEND:20260107T000000Z\nBUSYTYPE:BUSY\nPRIORITY:high\n",
        "DTSTART:20260106T000000Z\nDTEND:20260107T000000Z\nBUSYTYPE:BUSY\nPRIORITY:10\n",
    ] {
        assert!(!unknown(&whole(bad)).is_empty(), "{bad}");
    }
    // A date that ends when it starts is what some producers write for one day.
    let day = "DTSTART;VALUE=DATE:20260106\nDTEND;VALUE=DATE:20260106\nBUSYTYPE:BUSY\n";
    assert_eq!(availability(&whole(day)), ["busy 06.00-07.00"]);
    // What an EXRULE takes from available time would be free.
    let excluded = OFFICE.replace("END:AVAILABLE", "EXRULE:FREQ=WEEKLY;BYDAY=TU\nEND:AVAILABLE");
    assert_eq!(availability(&whole(&excluded)), ["out 01.00-15.00"]);
    // A period of three hours, moved with all that follows one of an hour, and the other way round: it may be either long.
    for (period, later) in [("PT3H", "10"), ("PT1H", "12")] {
        let moved = format!(
            "BEGIN:AVAILABLE\nUID:a\nDTSTART:20260105T090000Z\nDTEND:20260105T100000Z\n\
             RDATE;VALUE=PERIOD:20260107T090000Z/{period}\nEND:AVAILABLE\n\
             BEGIN:AVAILABLE\nUID:a\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260105T090000Z\n\
             DTSTART:20260105T090000Z\nDTEND:20260105T{later}0000Z\nEND:AVAILABLE\n"
        );
        let found = availability(&whole(&moved));
        assert!(found.iter().any(|range| range.starts_with("out 07.10")), "{period}: {found:?}");
    }
}
