//! The calendar reader beside `icalendar` and `recurring-ical-events` (PyPI), on generated calendars.
//!
//! `CASES=5000 cargo test --test differential -- --nocapture` asks about more of them. Without Python or the packages
//! it says SKIPPED, and passes.

#[path = "support/ask_python.rs"]
mod ask_python;
#[path = "differential/generate.rs"]
mod generate;
#[path = "support/python.rs"]
mod python;

use std::collections::BTreeMap;
use std::io::Write as _;

use ask_python::{Task, Theirs};
use generate::Generated;
use quorate::agent::calendar::{Calendar, free_within, known_zone};
use quorate::core::time::TimeRange;

/// Calendars that are generated if nothing else is said.
const CASES: u64 = 600;

/// The busy time that we find in one window of a calendar.
fn ours(text: &str, home: &str, window: TimeRange) -> Result<Theirs, String> {
    let zone = known_zone(home).expect("a zone of the generator");
    let calendar = Calendar::parse("generated.ics", text).map_err(|error| error.to_string())?;
    let busy = calendar.busy(window, &zone).map_err(|error| error.to_string())?;
    Ok(Theirs { busy: busy.busy, tentative: busy.tentative, unsure: Vec::new() })
}

/// What differs in one window, if anything, outside of what is unsure.
fn difference(ours: &Result<Theirs, String>, theirs: &Theirs, window: TimeRange) -> Option<String> {
    let ours = match ours {
        Ok(ours) => ours,
        Err(error) => return Some(format!("we refuse it: {error}")),
    };
    let sure = |list: &[TimeRange]| -> Vec<TimeRange> {
        let free = free_within(window, list);
        free_within(window, &[free.as_slice(), &theirs.unsure].concat())
    };
    let only = |a: &[TimeRange], b: &[TimeRange]| -> Vec<String> {
        let all = a.iter().filter(|range| !b.contains(range));
        all.take(3).map(|range| format!("{} to {}", range.start, range.end)).collect()
    };
    let lists = [("busy", &ours.busy, &theirs.busy), ("tentative", &ours.tentative, &theirs.tentative)];
    lists.into_iter().find_map(|(name, ours, theirs)| {
        let (ours, theirs) = (sure(ours), sure(theirs));
        let what = || {
            format!("{name}: only ours {:?}, only theirs {:?}", only(&ours, &theirs), only(&theirs, &ours))
        };
        (ours != theirs).then(what)
    })
}

fn ask(calendars: &[Generated]) -> Option<Vec<Result<ask_python::Answer, String>>> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tasks = Vec::new();
    for generated in calendars {
        let file = folder.path().join(format!("{}.ics", generated.seed));
        std::fs::write(&file, &generated.text).expect("a file");
        tasks.push(Task { file, zone: generated.home.to_owned(), windows: generated.windows.clone() });
    }
    match ask_python::ask(&tasks, false) {
        Ok(answers) => Some(answers),
        Err(reason) => {
            writeln!(
                std::io::stderr(),
                "\nSKIPPED: nothing was compared with recurring-ical-events: {reason}"
            )
            .expect("stderr is open");
            None
        }
    }
}

#[test]
fn the_same_busy_time_as_recurring_ical_events() {
    let cases = std::env::var("CASES").map_or(CASES, |cases| cases.parse().expect("CASES is a number"));
    let calendars: Vec<Generated> = (0..cases).map(generate::calendar).collect();
    let Some(answers) = ask(&calendars) else { return };
    let (mut different, mut ranges) = (Vec::new(), 0);
    let mut features: BTreeMap<&str, usize> = BTreeMap::new();
    for (generated, answer) in calendars.iter().zip(&answers) {
        for feature in &generated.features {
            *features.entry(feature).or_default() += 1;
        }
        let answer = match answer {
            Ok(answer) => {
                assert!(answer.took.2.is_empty(), "nobody asked for the time");
                answer
            }
            Err(error) => {
                different
                    .push(format!("seed {}: they refuse it: {error}\n{}", generated.seed, generated.text));
                continue;
            }
        };
        for (window, theirs) in generated.windows.iter().zip(&answer.windows) {
            ranges += theirs.busy.len() + theirs.tentative.len();
            let ours = ours(&generated.text, generated.home, *window);
            if let Some(what) = difference(&ours, theirs, *window) {
                let Generated { seed, text, home, .. } = generated;
                different
                    .push(format!("seed {seed}, {home}, {} to {}: {what}\n{text}", window.start, window.end));
                break;
            }
        }
    }
    assert!(ranges as u64 > 10 * cases, "only {ranges} ranges: the generator makes too little");
    println!(
        "{cases} calendars, {ranges} ranges of theirs, {} calendars differ; calendars with {features:?}",
        different.len()
    );
    assert!(different.is_empty(), "{}", different[..different.len().min(10)].join("\n"));
}

/// Found by the comparison: a series that is free at first, and blocks from a change of this and the following on.
#[test]
fn a_series_that_begins_as_free_may_block_later() {
    for free in ["TRANSP:TRANSPARENT", "STATUS:CANCELLED"] {
        let text = format!(
            "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260105T100000Z\r\nDURATION:PT1H\r\n\
             RRULE:FREQ=WEEKLY;COUNT=4\r\n{free}\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nUID:1\r\n\
             RECURRENCE-ID;RANGE=THISANDFUTURE:20260119T100000Z\r\nDTSTART:20260119T110000Z\r\nDURATION:PT1H\r\n\
             END:VEVENT\r\nEND:VCALENDAR\r\n"
        );
        let at = |text: &str| text.parse().expect("a time");
        let window = TimeRange::new(at("2026-01-01T00:00:00Z"), at("2026-03-01T00:00:00Z"));
        let hour = |start: &str, end: &str| TimeRange::new(at(start), at(end));
        let blocked = vec![
            hour("2026-01-19T11:00:00Z", "2026-01-19T12:00:00Z"),
            hour("2026-01-26T11:00:00Z", "2026-01-26T12:00:00Z"),
        ];
        assert_eq!(ours(&text, "UTC", window).expect("a calendar").busy, blocked, "{free}");
    }
}
