//! A calendar of 10,000 events, 300 of them recurring: loading it as an agent does (it is read, and a year is worked out
//! ahead), and asking it about two weeks, within that year and, for the first time, outside of it; beside it the same with the Python packages
//! `icalendar` and `recurring-ical-events`.
//!
//! `cargo bench --bench calendar` prints medians and ratios measured in one run, on one file. Both must find the same
//! busy time. Without Python or the packages it says so, and prints its own figures.

#[path = "../tests/support/ask_python.rs"]
mod ask_python;
#[path = "../tests/support/python.rs"]
mod python;

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use ask_python::{Answer, Task};
use chrono::{DateTime, TimeDelta, Utc};
use jiff::tz::TimeZone;
use quorate::agent::calendar::{Busy, Calendar, known_zone};
use quorate::core::random::Random;
use quorate::core::time::TimeRange;

type Error = Box<dyn std::error::Error>;

const EVENTS: usize = 10_000;
const RECURRING: usize = 300;
/// Recurring events with one occurrence that was moved: an event more.
const MOVED: usize = 60;
const ZONE: &str = "Europe/Berlin";
/// Times that the file is read, in each of two rounds.
const LOADS: usize = 15;
/// Two-week windows, five days apart: the first of them lie in what is worked out ahead, and the others outside of it.
const WINDOWS: i64 = 100;
const AHEAD: usize = 70;
/// When the others begin, in days from the first window: what is worked out ahead ends with a whole chunk of four weeks.
const OUTSIDE: i64 = 52 * 7 + 4 * 7;
/// Times that each window is asked for once more, in each of two rounds.
const AGAIN: usize = 100;

fn main() -> Result<(), Error> {
    let text = calendar();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("person.ics");
    std::fs::write(&file, &text)?;
    let zone = known_zone(ZONE).ok_or("no such zone")?;
    let windows: Vec<TimeRange> = (0..WINDOWS).map(window).collect();

    // Ours, theirs, ours: what slows the machine down for a while slows both down.
    let mut ours = Ours::default();
    ours.measure(&text, &zone, &windows)?;
    let theirs = peer(&file, &windows);
    ours.measure(&text, &zone, &windows)?;

    println!(
        "{EVENTS} events, {RECURRING} recurring, {} KiB; {WINDOWS} windows of two weeks",
        text.len() >> 10
    );
    let line = |what: &str, times: &mut Vec<Duration>| {
        let typical = median(times);
        println!("  {what}: p50 {}, worst {} of {}", show(typical), show(worst(times)), times.len());
        typical
    };
    println!("quorate");
    let load = line("loading", &mut ours.load);
    let first = line("the first query after it", &mut ours.first);
    let fresh = line("two weeks inside the year worked out ahead", &mut ours.fresh);
    let beyond = line("two weeks outside it, the first query there", &mut ours.beyond);
    let again = line("two weeks that were asked for before", &mut ours.again);
    let theirs = match theirs {
        Ok(theirs) => theirs,
        Err(reason) => {
            println!("SKIPPED: recurring-ical-events: {reason}");
            return Ok(());
        }
    };
    for (window, (ours, theirs)) in windows.iter().zip(ours.answers.iter().zip(&theirs.windows)) {
        if (&ours.busy, &ours.tentative) != (&theirs.busy, &theirs.tentative) {
            return Err(format!("{window:?}: not the same busy time").into());
        }
    }
    let seconds = |time: f64| Duration::from_secs_f64(time);
    let (read, index, queries) = theirs.took;
    let peer_load = seconds(read + index);
    let mut queries: Vec<Duration> = queries.into_iter().map(seconds).collect();
    let (peer_first, peer_query) = (queries[0], median(&mut queries));
    println!("recurring-ical-events: reading {}", show(peer_load));
    println!("  the first query after it {}; two weeks p50 {}", show(peer_first), show(peer_query));
    let ratio = |theirs: Duration, ours: Duration| theirs.as_secs_f64() / ours.as_secs_f64();
    println!(
        "recurring-ical-events / quorate: loading {:.0}, first query {:.0}, two weeks {:.0}, outside the year {:.0}, \
         asked for before {:.0}; the same busy time in all windows",
        ratio(peer_load, load),
        ratio(peer_first, first),
        ratio(peer_query, fresh),
        ratio(peer_query, beyond),
        ratio(peer_query, again),
    );
    Ok(())
}

#[derive(Default)]
struct Ours {
    load: Vec<Duration>,
    first: Vec<Duration>,
    fresh: Vec<Duration>,
    beyond: Vec<Duration>,
    again: Vec<Duration>,
    answers: Vec<Busy>,
}

impl Ours {
    fn measure(&mut self, text: &str, zone: &TimeZone, windows: &[TimeRange]) -> Result<(), Error> {
        for round in 0..LOADS {
            let begun = Instant::now();
            let calendar = Calendar::parse("person.ics", black_box(text))?;
            calendar.prepare(windows[0].start, zone);
            self.load.push(begun.elapsed());
            let begun = Instant::now();
            black_box(calendar.busy(windows[round * 7 % AHEAD], zone)?);
            self.first.push(begun.elapsed());
        }
        let calendar = Calendar::parse("person.ics", text)?;
        calendar.prepare(windows[0].start, zone);
        self.answers.clear();
        for window in &windows[..AHEAD] {
            let begun = Instant::now();
            let busy = calendar.busy(black_box(*window), zone)?;
            self.fresh.push(begun.elapsed());
            self.answers.push(busy);
        }
        for window in &windows[AHEAD..] {
            // Each on a calendar of its own: a window touches what the one before it has worked out.
            let cold = Calendar::parse("person.ics", text)?;
            cold.prepare(windows[0].start, zone);
            let begun = Instant::now();
            let busy = cold.busy(black_box(*window), zone)?;
            self.beyond.push(begun.elapsed());
            self.answers.push(busy);
        }
        // Once more, so that all of them are known.
        windows.iter().try_for_each(|window| calendar.busy(*window, zone).map(drop))?;
        for window in windows.iter().cycle().take(AGAIN * windows.len()) {
            let begun = Instant::now();
            black_box(calendar.busy(black_box(*window), zone)?);
            self.again.push(begun.elapsed());
        }
        Ok(())
    }
}

fn peer(file: &Path, windows: &[TimeRange]) -> Result<Answer, String> {
    let task = Task { file: file.to_owned(), zone: ZONE.to_owned(), windows: windows.to_vec() };
    let mut answers = ask_python::ask(&[task], true)?;
    answers.pop().ok_or("no answer")?
}

fn window(number: i64) -> TimeRange {
    let ahead = AHEAD as i64;
    let days = if number < ahead { 5 * number } else { OUTSIDE + 5 * (number - ahead) };
    let start = day(0) + TimeDelta::days(365 + days);
    TimeRange::new(start, start + TimeDelta::days(14))
}

/// Days from the first of the calendar, 1 January 2024, on.
fn day(number: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_704_067_200 + number * 86_400, 0).unwrap_or_default()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn worst(times: &[Duration]) -> Duration {
    times.iter().copied().max().unwrap_or_default()
}

fn show(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.1} µs", s * 1e6),
    }
}

/// Somebody's calendar over three years.
fn calendar() -> String {
    let mut random = Random::new(1);
    let mut text = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//bench//EN\r\n".to_owned();
    for number in 0..RECURRING {
        recurring(&mut text, number, &mut random);
    }
    for number in 0..EVENTS - RECURRING - MOVED {
        let start = at(random.below(3 * 365) as i64, &mut random);
        event(&mut text, &format!("single-{number}"), start, &mut random, "");
    }
    text + "END:VCALENDAR\r\n"
}

/// A quarter of an hour in the working day.
fn at(day_number: i64, random: &mut Random) -> DateTime<Utc> {
    day(day_number) + TimeDelta::minutes(8 * 60 + 15 * random.below(36) as i64)
}

fn recurring(text: &mut String, number: usize, random: &mut Random) {
    const DAYS: [&str; 5] = ["MO", "TU", "WE", "TH", "FR"];
    // The first of a series is on a day that its rule names: libraries differ about one that is not.
    let begin = random.below(700) as i64;
    let start = at(begin - begin % 7 + (number % 5) as i64, random);
    let day_name = DAYS[number % 5];
    let rule = match number % 6 {
        0 => format!("FREQ=WEEKLY;BYDAY={day_name}"),
        1 => format!("FREQ=WEEKLY;INTERVAL=2;BYDAY={day_name};COUNT=40"),
        2 => format!("FREQ=WEEKLY;UNTIL={}", stamp(start + TimeDelta::days(7 * 60))),
        3 => format!(
            "FREQ=MONTHLY;BYDAY={}{day_name}",
            start.format("%d").to_string().parse().map_or(1, |d: u32| d.div_ceil(7))
        ),
        4 => "FREQ=YEARLY".to_owned(),
        _ => "FREQ=DAILY;COUNT=10".to_owned(),
    };
    let uid = format!("series-{number}");
    let mut more = format!("RRULE:{rule}\r\n");
    if number.is_multiple_of(4) {
        let _ = write!(more, "EXDATE;TZID={ZONE}:{}\r\n", local(start + TimeDelta::days(14)));
    }
    event(text, &uid, start, random, &more);
    if number.is_multiple_of(RECURRING / MOVED) {
        let id = format!("RECURRENCE-ID;TZID={ZONE}:{}\r\n", local(start));
        event(text, &uid, start + TimeDelta::hours(1), random, &id);
    }
}

fn event(text: &mut String, uid: &str, start: DateTime<Utc>, random: &mut Random, more: &str) {
    let end = start + TimeDelta::minutes(15 * (1 + random.below(6) as i64));
    let status = if random.below(10) == 0 { "TENTATIVE" } else { "CONFIRMED" };
    let _ = write!(
        text,
        "BEGIN:VEVENT\r\nUID:{uid}@example.com\r\nDTSTAMP:20240101T000000Z\r\nDTSTART;TZID={ZONE}:{}\r\n\
         DTEND;TZID={ZONE}:{}\r\n{more}SUMMARY:A meeting about number {}\r\nSTATUS:{status}\r\n\
         ORGANIZER;CN=Somebody:mailto:somebody@example.com\r\nEND:VEVENT\r\n",
        local(start),
        local(end),
        random.below(1_000_000),
    );
}

fn local(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%S").to_string()
}

fn stamp(at: DateTime<Utc>) -> String {
    local(at) + "Z"
}
