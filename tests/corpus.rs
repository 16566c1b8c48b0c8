//! Replays the corpus of the fuzz targets (`fuzz/`) through the properties that they check.

#[path = "../fuzz/src/lib.rs"]
mod properties;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use chrono::{NaiveDate, Timelike};
use jiff::tz::TimeZone;
use quorate::agent::calendar::Calendar;
use quorate::core::time::TimeRange;

/// Longest time for one file, on a busy machine and without optimisation. Each takes far less; what takes longer would
/// let an agent or a scheduler stand still.
const PER_FILE: Duration = Duration::from_secs(60);

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn files(target: &str) -> Vec<PathBuf> {
    let folder = corpus().join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

/// Every file on its own, so that the name of the one that fails is known.
fn replay(target: &str) {
    let (_, property) = properties::TARGETS.into_iter().find(|(name, _)| *name == target).expect("a target");
    let files = files(target);
    let mut slowest = (Duration::ZERO, PathBuf::new());
    for file in &files {
        let begun = Instant::now();
        let bytes = fs::read(file).expect("a file");
        let (done, is_done) = mpsc::sync_channel(1);
        let run = std::thread::spawn(move || {
            property(&bytes);
            // Nobody waits any more if it took too long.
            done.send(()).ok();
        });
        match is_done.recv_timeout(PER_FILE) {
            Ok(()) => run.join().expect("it was done"),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                panic!("{}: {:?}", file.display(), run.join().err().and_then(words));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{} takes over {PER_FILE:?}", file.display()),
        }
        slowest = slowest.max((begun.elapsed(), file.clone()));
    }
    println!("{target}: {} files; {:.1?} for {}", files.len(), slowest.0, slowest.1.display());
}

fn words(panic: Box<dyn std::any::Any + Send>) -> Option<String> {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
}

#[test]
fn every_folder_has_a_target_and_every_target_a_folder() {
    let mut folders: Vec<_> = fs::read_dir(corpus())
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    folders.sort();
    assert_eq!(folders, properties::TARGETS.map(|(name, _)| name));
}

/// 09:00 on the first of a month, if that is a whole number of 11 seconds after the start: about once a year, with
/// hundreds of thousands of seconds between that are followed in vain.
#[test]
fn a_rule_that_is_given_up_is_never_free() {
    let at = |year, month| {
        let day = NaiveDate::from_ymd_opt(year, month, 1).expect("a day");
        day.and_hms_opt(9, 0, 0).expect("a time").and_utc()
    };
    let window = TimeRange { start: at(2026, 1), end: at(2029, 1) };
    let starts: Vec<_> = (2026..2029)
        .flat_map(|year| (1..=12).map(move |month| at(year, month)))
        .filter(|start| (*start - window.start).num_seconds() % 11 == 0)
        .collect();
    assert!(starts.len() >= 3);
    let rule = "FREQ=SECONDLY;INTERVAL=11;BYMONTHDAY=1;BYHOUR=9;BYMINUTE=0;BYSECOND=0;COUNT=1000";
    let event = format!("BEGIN:VEVENT\nDTSTART:20260101T090000Z\nDURATION:PT1M\nRRULE:{rule}\nEND:VEVENT");
    let text = format!("BEGIN:VCALENDAR\n{event}\nEND:VCALENDAR\n");
    // An error would do as well: what is not known is not free.
    let busy = Calendar::parse("alice.ics", &text).and_then(|calendar| calendar.busy(window, &TimeZone::UTC));
    if let Ok(busy) = busy {
        let busy = busy.blocked(true);
        for start in starts {
            let minute = TimeRange { start, end: start + chrono::Duration::minutes(1) };
            assert!(busy.iter().any(|range| range.contains(&minute)), "{start} is free");
        }
    }
}

/// "Every 45 minutes between nine and twelve" and the like: an INTERVAL that is no part of an hour, with BYHOUR.
#[test]
fn an_interval_that_is_no_part_of_an_hour_keeps_its_phase() {
    let start = NaiveDate::from_ymd_opt(2026, 1, 5).and_then(|day| day.and_hms_opt(9, 0, 0)).expect("a time");
    let rules = [
        ("FREQ=MINUTELY;INTERVAL=45;BYHOUR=9,10,11", 45 * 60, 9..12, 0..60),
        ("FREQ=MINUTELY;INTERVAL=50;BYHOUR=9,14,20;COUNT=25", 50 * 60, 9..21, 0..60),
        (
            "FREQ=SECONDLY;INTERVAL=1000;BYHOUR=9,10,11;BYMINUTE=0,1,2,3,4,5,6,7,8,9;COUNT=40",
            1_000,
            9..12,
            0..10,
        ),
    ];
    for (rule, seconds, hours, minutes) in rules {
        let listed = |hour: &u32| !rule.contains("14,20") || [9, 14, 20].contains(hour);
        let count = rule.split("COUNT=").nth(1).map_or(usize::MAX, |count| count.parse().expect("a number"));
        let starts: Vec<_> = (0..20 * 86_400 / seconds)
            .map(|n| (start + chrono::Duration::seconds(n * seconds)).and_utc())
            .filter(|at| hours.contains(&at.hour()) && listed(&at.hour()) && minutes.contains(&at.minute()))
            .take(count)
            .map(|start| TimeRange { start, end: start + chrono::Duration::minutes(1) })
            .collect();
        let event =
            format!("BEGIN:VEVENT\nDTSTART:20260105T090000Z\nDURATION:PT1M\nRRULE:{rule}\nEND:VEVENT");
        let text = format!("BEGIN:VCALENDAR\n{event}\nEND:VCALENDAR\n");
        let calendar = Calendar::parse("alice.ics", &text).unwrap_or_else(|e| panic!("{rule}: {e}"));
        let window = TimeRange { start: start.and_utc(), end: start.and_utc() + chrono::Duration::days(20) };
        let busy = calendar.busy(window, &TimeZone::UTC).unwrap_or_else(|e| panic!("{rule}: {e}"));
        assert_eq!(busy.blocked(true), starts, "{rule}");
    }
}

macro_rules! replays {
    ($($target:ident)*) => { $(#[test] fn $target() { replay(stringify!($target)); })* };
}

replays!(calendar coordinator join_request join_response participant register requests series);
