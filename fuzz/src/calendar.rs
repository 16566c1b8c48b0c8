//! The calendar reader: an `.ics` file, read and asked for its busy time in several windows.

use chrono::DateTime;
use jiff::tz::TimeZone;
use quorate::agent::calendar::{Busy, Calendar, CalendarError, MAX_STEPS_PER_QUERY, free_within, known_zone};
use quorate::core::time::{Instant, TimeRange};

/// How errors call the file.
const NAME: &str = "alice.ics";
/// Zones that participants live in: with changes of half an hour, a skipped day, and odd offsets.
const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"];
/// Windows that every file is asked about. The first is where the corpus has most of its events, the last two are
/// the ends of what the wire can ask for.
const WINDOWS: [(&str, &str); 4] = [
    ("2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"),
    ("2025-06-01T12:34:56Z", "2026-06-02T12:34:56Z"),
    ("0001-01-01T00:00:00Z", "0001-02-01T00:00:00Z"),
    ("9999-11-30T00:00:00Z", "9999-12-31T23:59:59Z"),
];
/// Longest reason of an error, in bytes: it quotes only a little of the file.
const REASON_BYTES: usize = 400;

/// Reads a calendar and asks what is busy.
pub fn calendar(data: &[u8]) {
    // As files are read: what is no UTF-8 becomes something that is.
    let text = String::from_utf8_lossy(data);
    let calendar = match Calendar::parse(NAME, &text) {
        Ok(calendar) => calendar,
        Err(error) => {
            same_without_cr(&text, None);
            return says_where(&error, &text);
        }
    };
    for problem in calendar.problems() {
        says_where(&problem.error, &text);
    }
    let number = fingerprint(data);
    let zone = known_zone(ZONES[(number % 6) as usize]).expect("a zone of the list");
    let windows = WINDOWS.map(|(start, end)| TimeRange { start: instant(start), end: instant(end) });
    for window in windows.into_iter().chain([somewhere(number)]) {
        match calendar.busy(window, &zone) {
            Ok(busy) => {
                is_tidy(&busy, window);
                parts_agree(&calendar, window, &zone, &busy, !mentions(&text, "RRULE"));
            }
            Err(error) => says_where(&error, &text),
        }
    }
    same_without_cr(&text, Some((&calendar, windows[0], &zone)));
    // Our own events are some of all events.
    if !mentions(&text, "@quorate") {
        let own = Calendar::parse_with_own(NAME, &text).expect("nothing in it is ours");
        assert_eq!(own.busy(windows[0], &zone), calendar.busy(windows[0], &zone));
    }
}

fn instant(text: &str) -> Instant {
    text.parse().expect("an instant")
}

fn mentions(text: &str, word: &str) -> bool {
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    plain.to_ascii_uppercase().contains(&word.to_ascii_uppercase())
}

/// FNV-1a: a number that is the same for the same file everywhere.
fn fingerprint(data: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    data.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// A window of an hour to a year between 1970 and 2100.
fn somewhere(number: u64) -> TimeRange {
    let start = (number >> 8) % 4_102_444_800;
    let hours = 1 + (number >> 40) % (366 * 24);
    let at = |seconds: u64| DateTime::from_timestamp(seconds as i64, 0).expect("a time before 2102");
    TimeRange { start: at(start), end: at(start + hours * 3600) }
}

fn says_where(error: &CalendarError, text: &str) {
    assert_eq!(error.file, NAME);
    assert!(error.line <= text.split('\n').count(), "line {} does not exist", error.line);
    assert!(!error.reason.is_empty() && error.reason.len() <= REASON_BYTES, "{} bytes", error.reason.len());
    assert!(!error.reason.contains(char::is_control), "{:?}", error.reason);
}

/// No range is inverted, empty or outside of the window; each list is sorted and nothing in it touches.
fn is_tidy(busy: &Busy, window: TimeRange) {
    for list in [&busy.busy, &busy.tentative, &busy.unavailable, &busy.unknown, &busy.blocked(true)] {
        assert!(list.len() <= 3 * MAX_STEPS_PER_QUERY);
        for range in list {
            assert!(range.start < range.end, "{range:?} is inverted or empty");
            assert!(window.contains(range), "{range:?} lies outside of {window:?}");
        }
        assert!(list.windows(2).all(|pair| pair[0].end < pair[1].start), "not sorted and merged");
    }
    let all = busy.blocked(true);
    let certain = busy.blocked(false);
    assert_eq!(uncovered(&certain, &all, window), [], "what is not tentative must block too");
    let free: i64 =
        free_within(window, &all).iter().map(|range| (range.end - range.start).num_seconds()).sum();
    let taken: i64 = all.iter().map(|range| (range.end - range.start).num_seconds()).sum();
    assert_eq!(free + taken, (window.end - window.start).num_seconds());
}

/// Busy in a part of the window means busy in the window. The other way round only if nothing recurs: a longer
/// look may give up, and then calls the rest busy.
fn parts_agree(calendar: &Calendar, window: TimeRange, zone: &TimeZone, busy: &Busy, exactly: bool) {
    let third = (window.end - window.start) / 3;
    let part = TimeRange { start: window.start + third, end: window.end - third };
    let Ok(inside) = calendar.busy(part, zone) else {
        panic!("the whole window could be answered, and {part:?} can't");
    };
    let (whole, inside) = (busy.blocked(true), inside.blocked(true));
    assert_eq!(uncovered(&inside, &whole, part), [], "busy in a part, and free in the whole");
    if exactly {
        assert_eq!(uncovered(&whole, &inside, part), [], "busy in the whole, and free in a part");
    }
}

/// What of `some` within `part` is not in `all`.
fn uncovered(some: &[TimeRange], all: &[TimeRange], part: TimeRange) -> Vec<TimeRange> {
    let free = free_within(part, all);
    // Both lists are sorted: one walk over both is enough.
    let (mut next, mut found) = (0, Vec::new());
    for range in some {
        while free.get(next).is_some_and(|gap| gap.end <= range.start) {
            next += 1;
        }
        found.extend(free.get(next).and_then(|gap| gap.intersection(range)));
    }
    found
}

/// Line ends are CRLF or LF: it makes no difference which.
fn same_without_cr(text: &str, read: Option<(&Calendar, TimeRange, &TimeZone)>) {
    if !text.contains("\r\n") {
        return;
    }
    let bare = Calendar::parse(NAME, &text.replace("\r\n", "\n"));
    match read {
        None => assert!(bare.is_err(), "readable without CR only"),
        Some((calendar, window, zone)) => {
            let bare = bare.unwrap_or_else(|error| panic!("readable with CR only: {error}"));
            let (with, without) = (calendar.busy(window, zone), bare.busy(window, zone));
            assert_eq!(with.map_err(|e| e.reason), without.map_err(|e| e.reason));
        }
    }
}
