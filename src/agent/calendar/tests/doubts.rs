//! What is said twice, or broken in a way that two people would mend differently: it blocks, and it is told.

use super::*;

/// All problems of a calendar that can be read but for them.
fn told(text: &str) -> Vec<String> {
    let calendar = Calendar::parse("alice.ics", text).unwrap_or_else(|e| panic!("refused: {e}"));
    calendar.problems().iter().map(|problem| problem.error.to_string()).collect()
}

/// A VTIMEZONE with this offset all year.
fn zone(id: &str, offset: &str) -> String {
    format!(
        "BEGIN:VTIMEZONE\nTZID:{id}\nBEGIN:STANDARD\nDTSTART:16010101T000000
         TZOFFSETFROM:{offset}\nTZOFFSETTO:{offset}\nEND:STANDARD\nEND:VTIMEZONE\n"
    )
}

/// An event of an hour from ten on.
fn ten(id: &str, day: &str) -> String {
    format!("BEGIN:VEVENT\nUID:{day}\nDTSTART;TZID={id}:{day}T100000\nDURATION:PT1H\nEND:VEVENT\n")
}

#[test]
fn a_zone_counts_in_its_own_vcalendar() {
    let one = calendar(&format!("{}{}", zone("Custom", "+0100"), ten("Custom", "20260105")));
    let two = calendar(&format!("{}{}", zone("Custom", "-0500"), ten("Custom", "20260106")));
    let text = format!("{one}{two}");
    assert_eq!(busy(&text), ["0105T0900-0105T1000", "0106T1500-0106T1600"]);
    assert_eq!(told(&text), [""; 0]);
    // What a VCALENDAR does not explain itself, another of the file does; if two do so differently, it may be either.
    let third = calendar(&ten("Custom", "20260107"));
    assert_eq!(busy(&format!("{one}{third}"))[1], "0107T0900-0107T1000");
    let either = format!("{one}{two}{third}");
    assert_eq!(busy(&either)[2..], ["0107T0900-0107T1000", "0107T1500-0107T1600"]);
    assert_eq!(told(&either).len(), 1);
    // The same VTIMEZONE over and over costs its steps once.
    let many = one.repeat(20_000);
    assert_eq!((busy(&many).len(), told(&many)), (1, vec![]));
}

#[test]
fn two_different_zones_of_one_name_block_the_time_of_both() {
    let with = |id: &str, offsets: &[&str]| {
        let zones: String = offsets.iter().map(|offset| zone(id, offset)).collect();
        calendar(&format!("{zones}{}", ten(id, "20260105")))
    };
    let both = with("Custom", &["+0100", "-0500", "+0100"]);
    assert_eq!(busy(&both), ["0105T0900-0105T1000", "0105T1500-0105T1600"]);
    let words = told(&both);
    assert!(words[0].starts_with("alice.ics:11: the VTIMEZONE of 'Custom' has UTC-05:00 at "), "{words:?}");
    assert!(words[0].contains("where another one has UTC+01:00"), "{words:?}");
    assert_eq!((words.len(), unknown(&both)), (1, vec![]));
    // One that the bundled data know: all definitions are compared.
    let berlin = with("Europe/Berlin", &["+0100", "+0900"]);
    assert_eq!(busy(&berlin), ["0105T0100-0105T0200", "0105T0900-0105T1000"]);
    assert!(told(&berlin).iter().any(|words| words.contains("has UTC+09:00")), "{:?}", told(&berlin));
    // One of two that can't be read leaves the time unknown, and so do too many.
    let broken = with("Custom", &["+0100", "one"]);
    assert_eq!((unknown(&broken), told(&broken).len()), (vec!["20260104-20260107".to_owned()], 1));
    let many = with("Custom", &["+0100", "+0200", "+0300", "+0400", "+0500", "+0600"]);
    assert_eq!(unknown(&many), ["20260104-20260107"]);
    // What is written otherwise and means the same is no doubt.
    let same = with("Custom", &["+0100", "+010000"]);
    assert_eq!((busy(&same).len(), told(&same)), (1, vec![]));
}

#[test]
fn an_exception_in_a_doubtful_zone_frees_nothing() {
    let series = "DTSTART:20260105T090000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=2";
    let zone = zone("Europe/Berlin", "+0900");
    let excepted = calendar(&format!(
        "{zone}BEGIN:VEVENT\nUID:1\n{series}\nEXDATE;TZID=Europe/Berlin:20260105T100000\nEND:VEVENT"
    ));
    assert_eq!(busy(&excepted), ["0105T0900-0105T1000", "0106T0900-0106T1000"]);
    let cancelled = calendar(&format!(
        "{zone}BEGIN:VEVENT\nUID:1\n{series}\nEND:VEVENT\nBEGIN:VEVENT\nUID:1\nSTATUS:CANCELLED
         RECURRENCE-ID;TZID=Europe/Berlin:20260105T100000\nDTSTART:20260105T090000Z\nEND:VEVENT"
    ));
    assert_eq!(busy(&cancelled), ["0105T0900-0105T1000", "0106T0900-0106T1000"]);
    assert_eq!((told(&excepted).len(), told(&cancelled).len()), (1, 1));
}

#[test]
fn an_old_copy_of_a_zone_that_gave_up_its_summer_is_read_by_its_name() {
    // Mexico until 2022.
    let text = calendar(
        "BEGIN:VTIMEZONE\nTZID:Central Standard Time (Mexico)
         BEGIN:STANDARD\nDTSTART:16010101T020000\nTZOFFSETFROM:-0500\nTZOFFSETTO:-0600
         RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\nEND:STANDARD
         BEGIN:DAYLIGHT\nDTSTART:16010101T020000\nTZOFFSETFROM:-0600\nTZOFFSETTO:-0500
         RRULE:FREQ=YEARLY;BYDAY=1SU;BYMONTH=4\nEND:DAYLIGHT\nEND:VTIMEZONE
         BEGIN:VEVENT\nDTSTART;TZID=Central Standard Time (Mexico):20260601T100000\nDURATION:PT1H\nEND:VEVENT",
    );
    assert_eq!(show(&query(&text, "UTC", "20260501", "20260701").busy), ["0601T1600-0601T1700"]);
    assert!(told(&text)[0].ends_with("it is read by its name"), "{:?}", told(&text));
}

#[test]
fn a_freebusy_that_cannot_be_read_is_told() {
    let text = calendar(
        "BEGIN:VFREEBUSY\nFREEBUSY:20260105T090000Z/PT1H\nFREEBUSY;FBTYPE=\"BUSY:20260106T090000Z/PT1H\nEND:VFREEBUSY",
    );
    assert_eq!(unknown(&text), ["20250101-20280101"]);
    assert_eq!(told(&text), ["alice.ics:5: unreadable property parameters"]);
    let unended = calendar(
        "BEGIN:VFREEBUSY\nFREEBUSY:20260105T090000Z/PT1H
         BEGIN:VEVENT\nDTSTART:20260106T090000Z\nDURATION:PT1H\nEND:VEVENT",
    );
    assert_eq!(unknown(&unended), ["20250101-20280101"]);
    assert_eq!(told(&unended), ["alice.ics:3: BEGIN:VFREEBUSY without its END"]);
    assert_eq!(busy(&unended), ["0106T0900-0106T1000"]);
    let zone = zone("Europe/Berlin", "+0900");
    let doubtful =
        format!("{zone}BEGIN:VFREEBUSY\nFREEBUSY;TZID=Europe/Berlin:20260105T090000/PT1H\nEND:VFREEBUSY");
    assert_eq!(unknown(&calendar(&doubtful)), ["20250101-20280101"]);
}

#[test]
fn of_two_words_on_whether_it_blocks_the_one_that_does_counts() {
    let span = "DTSTART:20260105T100000Z\nDURATION:PT1H";
    for (one, other) in [
        ("STATUS:CANCELLED", "STATUS:CONFIRMED"),
        ("STATUS:CANCELLED", "STATUS:X-NEW"),
        ("TRANSP:TRANSPARENT", "TRANSP:OPAQUE"),
        ("STATUS:TENTATIVE", "STATUS:CONFIRMED"),
    ] {
        for (line, two) in [(7, format!("{one}\n{other}")), (7, format!("{other}\n{one}"))] {
            let text = event(&format!("SUMMARY:x\n{span}\n{two}"));
            assert_eq!(busy(&text), ["0105T1000-0105T1100"], "{two}");
            let name = one.split(':').next().unwrap();
            let line = line + 1;
            assert_eq!(
                told(&text),
                [format!("alice.ics:{line}: second {name} in one event: the one that blocks counts")]
            );
        }
    }
    for same in ["STATUS:CANCELLED\nSTATUS:cancelled", "TRANSP:TRANSPARENT\nTRANSP:TRANSPARENT-CONFLICT"] {
        let text = event(&format!("{span}\n{same}"));
        assert_eq!((busy(&text), told(&text)), (vec![], vec![]), "{same}");
    }
    let outlook = event(&format!("{span}\nX-MICROSOFT-CDO-BUSYSTATUS:FREE\nX-MICROSOFT-CDO-BUSYSTATUS:OOF"));
    let outlook = Calendar::parse_of("alice.ics", &outlook, &[]).unwrap();
    let found = outlook.busy(range("20260101", "20260301"), &TimeZone::UTC).unwrap();
    assert_eq!((show(&found.unavailable).len(), outlook.problem_count()), (1, 1));
}

#[test]
fn two_events_that_became_one_are_not_free() {
    // END and BEGIN are lost between them.
    for second in ["TRANSP:OPAQUE", "X-A:b"] {
        let text = event(&format!(
            "UID:1\nDTSTART:20260105T100000Z\nDURATION:PT1H\nTRANSP:TRANSPARENT
             UID:2\nDTSTART:20260106T100000Z\nDURATION:PT1H\n{second}"
        ));
        assert_eq!(unknown(&text), ["20250101-20280101"], "{second}");
        assert!(
            told(&text).contains(&"alice.ics:8: second UID in one event".to_owned()),
            "{:?}",
            told(&text)
        );
    }
    let text = event(
        "DTSTART;TZID=America/New_York:20260105T090000\nDTSTART;TZID=Europe/Berlin:20260105T090000\nDURATION:PT1H",
    );
    assert_eq!(unknown(&text), ["20260104-20260107"]);
    assert_eq!(told(&text), ["alice.ics:5: second DTSTART in one event"]);
    let same = event("UID:1\nUID:1\nDTSTART:20260105T100000Z\nDTSTART:20260105T100000Z\nDURATION:PT1H");
    assert_eq!((busy(&same).len(), told(&same)), (1, vec![]));
    // Not even if the first is one of ours.
    let ours = event("UID:0190@quorate\nDTSTART:20260105T100000Z\nDURATION:PT1H\nUID:2");
    assert_eq!(unknown(&ours), ["20260104-20260107"]);
    // It is not available either.
    let text = calendar(
        "BEGIN:VAVAILABILITY\nDTSTART:20260105T000000Z\nDTEND:20260106T000000Z
         BEGIN:AVAILABLE\nUID:1\nUID:2\nDTSTART:20260105T100000Z\nDURATION:PT1H\nEND:AVAILABLE\nEND:VAVAILABILITY",
    );
    assert_eq!(show(&query(&text, "UTC", "20260101", "20260301").unavailable), ["0105T0000-0106T0000"]);
}

#[test]
fn a_broken_line_is_no_end_of_the_line_before() {
    let span = "SUMMARY:Standup\nDTSTART:20260105T100000Z\nDURATION:PT1H\nDESCRIPTION:one";
    for broken in [
        "RRULE :FREQ=DAILY;COUNT=3",
        "rrule\t:FREQ=DAILY",
        "RRULE",
        "RRULE=FREQ=DAILY",
        "RDATE ;X=1:20260106T100000Z",
    ] {
        let text = event(&format!("{span}\n{broken}\nLOCATION:x"));
        assert_eq!(unknown(&text), ["20250101-20280101"], "{broken}");
        let words = format!("alice.ics:8: unreadable line '{}'", broken.replace('\t', "?"));
        assert_eq!(told(&text), [words]);
    }
    // Text that was broken without a blank, as some producers do it, is no property.
    for text in ["and so on", "Status of it", "RRULES:", "Duration about an hour", "STATUSES are three"] {
        let text = event(&format!("{span}\n{text}\nLOCATION:x"));
        assert_eq!((busy(&text).len(), told(&text)), (1, vec![]), "{text}");
    }
    // An END or BEGIN that is lost that way ends the event for nobody.
    let two = "BEGIN:VEVENT\nUID:1\nDTSTART:20260105T100000Z\nTRANSP:TRANSPARENT\nEND :VEVENT\n\
        BEGIN :VEVENT\nDURATION:PT1H\nEND:VEVENT";
    assert_eq!(unknown(&calendar(two)), ["20250101-20280101"]);
    // Right behind a BEGIN as well; and an alarm's faults are nobody's.
    assert_eq!(
        told(&event("DTSTART :20260105T100000Z")),
        ["alice.ics:4: unreadable line 'DTSTART :20260105T100000Z'"]
    );
    let alarm = event(&format!("{span}\nBEGIN:VALARM\nTRIGGER:-PT5M\nDURATION :PT1H\nEND:VALARM"));
    assert_eq!((busy(&alarm).len(), told(&alarm)), (1, vec![]));
}

/// RFC 5545 section 3.6.1 allows one end. Of two, nobody knows which was meant.
#[test]
fn an_event_with_two_ends_is_not_over_at_the_first() {
    let text = event("DTSTART:20260107T090000Z\nDTEND:20260107T100000Z\nDURATION:PT3H");
    assert_eq!(told(&text), ["alice.ics:5: DURATION goes on after DTEND"]);
    assert_eq!(unknown(&text), ["20260106-20260109"]);
    // The same end said twice is one, and what is shorter says nothing.
    for text in [
        "DTSTART:20260107T090000Z\nDTEND:20260107T100000Z\nDURATION:PT0S",
        "DTSTART:20260107T090000Z\nDTEND:20260107T100000Z\nDURATION:PT30M",
        "DTSTART:20260107T090000Z\nDTEND:20260107T100000Z\nDURATION:PT1H",
        "DTSTART;TZID=Europe/Berlin:20260107T100000\nDURATION:P1D\nDTEND;TZID=Europe/Berlin:20260108T100000",
        "DTSTART;VALUE=DATE:20260107\nDTEND;VALUE=DATE:20260109\nDURATION:P2D",
    ] {
        assert_eq!((busy(&event(text)).len(), told(&event(text))), (1, vec![]), "{text}");
    }
}

#[test]
fn an_occurrence_without_its_series_that_recurs_blocks_both_readings() {
    let text = event(
        "UID:9\nRECURRENCE-ID:20260112T090000Z\nDTSTART:20260112T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3",
    );
    assert_eq!(busy(&text), ["0112T1000-0112T1100", "0113T1000-0113T1100", "0114T1000-0114T1100"]);
    assert_eq!(
        told(&text),
        ["alice.ics:8: an occurrence of a series that is not there recurs itself: all that it names block"]
    );
    // What is over is one occurrence, to which the shared cases hold us; if it goes on, that counts from now on.
    let old = text.replace("2026", "2016");
    assert_eq!((query(&old, "UTC", "20160101", "20170101").busy.len(), told(&old)), (1, vec![]));
    let endless = old.replace(";COUNT=3", "");
    assert_eq!(query(&endless, "UTC", "20160101", "20170101").busy.len(), 1);
    assert_eq!((busy(&endless).len(), told(&endless).len()), (59, 1));
    // All that follow, of a series that nobody knows.
    let onward = event(
        "UID:9\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260112T090000Z\nDTSTART:20260112T100000Z\nDURATION:PT1H",
    );
    assert_eq!(unknown(&onward), ["20260111-20280101"]);
    // With its series it is one occurrence, whatever rules it repeats.
    let master = "BEGIN:VEVENT\nUID:9\nDTSTART:20260111T090000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3\nEND:VEVENT\n";
    let inner = text.split("\r\n").filter(|line| !line.contains("VCALENDAR")).collect::<Vec<_>>().join("\n");
    let whole = calendar(&format!("{master}{inner}"));
    assert_eq!(busy(&whole), ["0111T0900-0111T1000", "0112T1000-0112T1100", "0113T0900-0113T1000"]);
    assert_eq!(told(&whole), [""; 0]);
}
