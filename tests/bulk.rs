//! Calendar files of 50 MB and hostile ones: each is refused with its line and a reason, or read. Nothing here is timed.
//! The inputs are so large that work which grows faster than they do would not come to its end, and what can be counted
//! is: components, dates, steps, and the memory of this process. One test, alone in its process, so that its memory is its
//! own.

#[path = "support/say.rs"]
mod say;

use std::fs;

use jiff::tz::TimeZone;
use quorate::agent::calendar::{Calendar, CalendarError, MAX_DATES_PER_FILE, MAX_PROBLEMS, decode};
use quorate::core::time::TimeRange;

const SIZE: usize = 50_000_000;
/// More than any of them takes, in bytes, the file itself included.
const MEMORY: usize = 1_200_000_000;

/// What a file must come to.
enum Fate {
    /// Refused, at this line (0: whichever), with these words.
    Refused(usize, &'static str),
    /// Read; so many problems, the first of them with these words; busy in January 2026, in hours, if that is known.
    Read { problems: usize, words: &'static str, busy: Option<i64> },
    /// Read, and then each query is refused with these words.
    Declines(&'static str),
}

/// `text` again and again, up to 50 MB, between the lines of a calendar.
fn filled(head: &str, text: impl Fn(usize) -> String, tail: &str) -> String {
    let mut all = String::with_capacity(SIZE + 1_000);
    all.push_str(head);
    for n in 0.. {
        if all.len() >= SIZE {
            break;
        }
        all.push_str(&text(n));
    }
    all + tail
}

fn times(most: usize, head: &str, text: impl Fn(usize) -> String, tail: &str) -> String {
    let mut all = head.to_owned();
    (0..most).for_each(|n| all.push_str(&text(n)));
    all + tail
}

const HEAD: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n";
const TAIL: &str = "END:VCALENDAR\r\n";
/// A daily event whose lists of dates follow.
const DAILY: &str =
    "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTART:20260101T090000Z\r\nDURATION:PT1H\r\n";
const DAILY_TAIL: &str = "END:VEVENT\r\nEND:VCALENDAR\r\n";

/// The `n`th day after 2026-01-01.
fn day(n: usize) -> String {
    let first = jiff::civil::date(2026, 1, 1);
    let day = first.checked_add(jiff::Span::new().days(i64::try_from(n).expect("few days"))).expect("a day");
    day.strftime("%Y%m%d").to_string()
}

/// The `n`th second after 2026-01-01.
fn second(n: usize) -> String {
    let first = jiff::civil::date(2026, 1, 1).at(0, 0, 0, 0);
    let at = first.checked_add(jiff::Span::new().seconds(i64::try_from(n).expect("few"))).expect("a time");
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// SplitMix64, from one seed.
fn noise() -> Vec<u8> {
    let mut state = 0x5eed_u64;
    let mut bytes = Vec::with_capacity(SIZE + 8);
    while bytes.len() < SIZE {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((z ^ (z >> 31)).to_le_bytes());
    }
    bytes
}

type Kind = (&'static str, fn() -> Vec<u8>, Fate);

fn kinds() -> Vec<Kind> {
    use Fate::{Declines, Read, Refused};
    vec![
        ("random bytes", noise, Refused(0, "no BEGIN:VCALENDAR")),
        ("one letter", || vec![b'A'; SIZE], Refused(1, "no BEGIN:VCALENDAR")),
        ("line ends", || vec![b'\n'; SIZE], Refused(1, "no BEGIN:VCALENDAR")),
        (
            "one line without an end",
            || filled(&format!("{HEAD}SUMMARY:"), |_| "x".repeat(1_000), "").into(),
            Refused(1, "the file is cut short"),
        ),
        (
            "a line folded for ever, and no name on it",
            || filled("A", |_| "\n B".into(), "").into(),
            Refused(1, "no BEGIN:VCALENDAR"),
        ),
        (
            "a name without an end",
            || filled(&format!("{HEAD}BEGIN:"), |_| "VEVENT".into(), "\r\n").into(),
            Refused(0, "cut short"),
        ),
        (
            "parameters without an end",
            || {
                filled(
                    &format!("{HEAD}BEGIN:VEVENT\r\nDTSTART"),
                    |_| ";A=b".into(),
                    &format!(":20260101\r\n{DAILY_TAIL}"),
                )
                .into()
            },
            Read { problems: 1, words: "more than 100 parameters", busy: None },
        ),
        (
            "events that begin and never end",
            || filled(HEAD, |_| "BEGIN:VEVENT\r\n".into(), TAIL).into(),
            Refused(0, "more than 500000 components"),
        ),
        (
            "components within each other",
            || filled(HEAD, |_| "BEGIN:X\r\n".into(), "").into(),
            Refused(18, "nest deeper than 16"),
        ),
        (
            "tiny events",
            || {
                let event = "BEGIN:VEVENT\r\nDTSTART:20260101T090000Z\r\nDURATION:PT1H\r\nEND:VEVENT\r\n";
                filled(HEAD, |_| event.into(), TAIL).into()
            },
            Refused(0, "more than 500000 components"),
        ),
        (
            "events of their own",
            || {
                let event = |n| {
                    let start = second(n);
                    format!(
                        "BEGIN:VEVENT\r\nUID:event-{n}\r\nDTSTART:{start}\r\nDTEND:{start}\r\nSUMMARY:{n:060}\r\nEND:VEVENT\r\n"
                    )
                };
                filled(HEAD, event, TAIL).into()
            },
            Read { problems: 0, words: "", busy: Some(0) },
        ),
        (
            "properties that count",
            || filled(&format!("{HEAD}BEGIN:VEVENT\r\n"), |_| "RDATE:20260101\r\n".into(), DAILY_TAIL).into(),
            Refused(0, "more than 2000000 properties"),
        ),
        (
            "100,000 EXDATEs in one list",
            || {
                times(
                    100_000,
                    &format!("{DAILY}RRULE:FREQ=DAILY\r\nEXDATE;VALUE=DATE:{}", day(3)),
                    |n| format!(",{}", day(n + 4)),
                    &format!("\r\n{DAILY_TAIL}"),
                )
                .into()
            },
            Read { problems: 1, words: "EXDATE is a date where DTSTART is in UTC", busy: Some(3) },
        ),
        (
            "100,000 EXDATEs, each a property",
            || {
                times(
                    100_000,
                    &format!("{DAILY}RRULE:FREQ=DAILY\r\n"),
                    |n| format!("EXDATE:{}T090000Z\r\n", day(n + 4)),
                    DAILY_TAIL,
                )
                .into()
            },
            Read { problems: 0, words: "", busy: Some(4) },
        ),
        (
            "EXDATEs",
            || {
                filled(
                    &format!("{DAILY}RRULE:FREQ=DAILY\r\nEXDATE:{}", second(0)),
                    |_| ",20260102T090000Z".into(),
                    &format!("\r\n{DAILY_TAIL}"),
                )
                .into()
            },
            Declines("recurs too often"),
        ),
        (
            "RDATEs",
            || {
                filled(
                    &format!("{DAILY}RDATE:{}", second(0)),
                    |_| ",20260102T090000Z/PT1H".into(),
                    &format!("\r\n{DAILY_TAIL}"),
                )
                .into()
            },
            Read { problems: 1, words: "more than 500000 dates", busy: None },
        ),
        (
            "FREEBUSY",
            || {
                filled(
                    "BEGIN:VCALENDAR\r\nBEGIN:VFREEBUSY\r\nFREEBUSY:20260101T090000Z/PT1H",
                    |_| ",20260102T090000Z/PT1H".into(),
                    "\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n",
                )
                .into()
            },
            Read { problems: 1, words: "more than 500000 dates", busy: None },
        ),
        (
            "changes of one series, each for all that follows",
            || {
                let change = |n| {
                    let start = second(n);
                    format!(
                        "BEGIN:VEVENT\r\nUID:a\r\nRECURRENCE-ID;RANGE=THISANDFUTURE:{start}\r\nDTSTART:{start}\r\nDURATION:PT1S\r\nEND:VEVENT\r\n"
                    )
                };
                filled(&format!("{DAILY}RRULE:FREQ=SECONDLY\r\nEND:VEVENT\r\n"), change, TAIL).into()
            },
            Declines("recurs too often"),
        ),
        (
            "a series that begins again and again, and is changed as often",
            || {
                let both = |n| {
                    let start = second(n);
                    format!(
                        "BEGIN:VEVENT\r\nUID:a\r\nRECURRENCE-ID;RANGE=THISANDFUTURE:{start}\r\nDTSTART:{start}\r\nDURATION:PT1S\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTART:{start}\r\nDURATION:PT1S\r\nRRULE:FREQ=DAILY\r\nEND:VEVENT\r\n"
                    )
                };
                filled(HEAD, both, TAIL).into()
            },
            Declines("recurs too often"),
        ),
        (
            "zones",
            || {
                let zone = |n| {
                    format!(
                        "BEGIN:VTIMEZONE\r\nTZID:Zone {n}\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n\
                         RRULE:FREQ=MONTHLY;BYMONTHDAY=1\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\n\
                         END:VTIMEZONE\r\nBEGIN:VEVENT\r\nDTSTART;TZID=Zone {n}:20260101T090000\r\nDURATION:PT1H\r\n\
                         END:VEVENT\r\n"
                    )
                };
                times(20_000, HEAD, zone, TAIL).into()
            },
            Read { problems: 19_680, words: "the zones of the file take more than", busy: None },
        ),
    ]
}

/// The hours of January 2026 that are busy, asked for in pieces as a scheduler would; none if any of them are unknown.
fn january(calendar: &Calendar) -> Result<Option<i64>, CalendarError> {
    let at = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().expect("a time");
    let range = TimeRange { start: at("2026-01-01T00:00:00Z"), end: at("2026-02-01T00:00:00Z") };
    let busy = calendar.busy(range, &TimeZone::UTC)?;
    let hours = |list: &[TimeRange]| {
        list.iter().map(|range| (range.end - range.start).num_seconds()).sum::<i64>() / 3_600
    };
    Ok(busy.unknown.is_empty().then(|| hours(&busy.blocked(true))))
}

/// The most memory that this process has had since it was last asked, in bytes; none where Linux does not say.
fn peak() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
    fs::write("/proc/self/clear_refs", "5").ok()?;
    Some(kilobytes * 1_024)
}

#[test]
fn fifty_megabytes_of_anything_are_read_or_refused() {
    assert_eq!(MAX_DATES_PER_FILE, 500_000, "the words below name it");
    if peak().is_none() {
        say::say("SKIPPED: memory is not measured, Linux alone says how much there was");
    }
    let mut wrong = Vec::new();
    for (kind, bytes, fate) in kinds() {
        let bytes = bytes();
        peak();
        let read = Calendar::parse("bulk.ics", &decode(&bytes));
        let found = match &read {
            Ok(calendar) => {
                let first = calendar.problems().first().map(|problem| problem.error.to_string());
                format!("{} problems, {first:?}, busy {:?}", calendar.problem_count(), january(calendar))
            }
            Err(error) => error.to_string(),
        };
        let fits = match (&fate, &read) {
            (Fate::Refused(line, words), Err(error)) => {
                (*line == 0 && error.line > 0 || *line == error.line) && error.reason.contains(words)
            }
            (Fate::Read { problems, words, busy }, Ok(calendar)) => {
                let first = calendar.problems().first();
                calendar.problem_count() == *problems
                    && first
                        .is_none_or(|problem| problem.error.line > 0 && problem.error.reason.contains(words))
                    && january(calendar) == Ok(*busy)
            }
            (Fate::Declines(words), Ok(calendar)) => {
                january(calendar).is_err_and(|error| error.line > 0 && error.reason.contains(words))
            }
            _ => false,
        };
        let memory = peak();
        println!("{kind}: {found}; {} MB", memory.map_or(0, |bytes| bytes / 1_000_000));
        if !fits {
            wrong.push(format!("{kind}: {found}"));
        }
        if memory.is_some_and(|bytes| bytes > MEMORY) {
            wrong.push(format!("{kind}: {memory:?} bytes of memory"));
        }
        assert!(read.is_err() || read.is_ok_and(|calendar| calendar.problems().len() <= MAX_PROBLEMS));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
