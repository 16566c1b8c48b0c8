//! Zones: published vectors, and candidate slots on days that are not like others.

use jiff::civil::{Date, DateTime, date};
use quorate::core::model::{MeetingSpec, WorkingHours};
use quorate::core::slots::{candidates, clock_shifts};
use quorate::core::time::Instant;
use quorate::core::zones::{first_showing, start_of_day, to_civil, to_instant, to_jiff, zone};
use serde_json::Value;

use super::slots::cases;
use super::{at, minutes, monday};

fn text<'v>(vector: &'v Value, key: &str) -> &'v str {
    vector[key].as_str().unwrap_or_else(|| panic!("no text '{key}' in {vector}"))
}

/// The vectors of a file, which are not none.
fn vectors(file: &Value) -> &[Value] {
    let vectors = file["vectors"].as_array().unwrap();
    assert!(!vectors.is_empty());
    vectors
}

/// What is wrong with our reading of a change of clocks, if anything: on both sides of it, one second apart, the wall
/// clock and its offset, and the way back.
fn misread(vector: &Value) -> Option<String> {
    let rules = zone(text(vector, "zone")).map_err(|error| error.to_string());
    let rules = match rules {
        Ok(rules) => rules,
        Err(error) => return Some(error),
    };
    for side in ["before", "after"] {
        let side = &vector[side];
        let (utc, local) = (at(text(side, "utc")), text(side, "local").parse::<DateTime>().unwrap());
        let offset = rules.to_offset(to_jiff(utc)).seconds();
        let expected = side["offset_min"].as_f64().unwrap() * 60.0;
        if to_civil(utc, &rules) != local || f64::from(offset) != expected {
            return Some(format!("{utc} is {} at {offset} s, not {local}", to_civil(utc, &rules)));
        }
        // Back again: the same instant, or, of a time that is shown twice, the first.
        let back = to_instant(local, &rules);
        if back > utc || to_civil(back, &rules) != local || first_showing(local, &rules) != Some(back) {
            return Some(format!("{local} is read as {back}, not {utc}"));
        }
    }
    None
}

#[test]
fn transition_vectors_of_others() {
    let Some(file) = cases("timezones/transitions.json") else { return };
    let of_cctz = |vector: &&Value| vector["source"].as_str().is_some_and(|source| source.contains("cctz"));
    let (cctz, moment): (Vec<_>, Vec<_>) = vectors(&file).iter().partition(of_cctz);
    let misses: Vec<_> =
        vectors(&file).iter().filter_map(|vector| Some(format!("{}: {vector}", misread(vector)?))).collect();
    println!(
        "transitions: {} of moment-timezone and {} of cctz, {} misread",
        moment.len(),
        cctz.len(),
        misses.len()
    );
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}

#[test]
fn vectors_that_depend_on_the_release_of_the_data_are_told_and_not_judged() {
    let Some(file) = cases("timezones/version_dependent.json") else { return };
    let differ: Vec<_> = vectors(&file).iter().filter(|vector| misread(vector).is_some()).collect();
    let version = quorate::core::zone_data::version();
    println!(
        "release-dependent: {} of {} are otherwise in our release {version}",
        differ.len(),
        vectors(&file).len()
    );
}

#[test]
fn resolution_vectors_of_others() {
    let Some(file) = cases("timezones/resolution.json") else { return };
    let (mut gaps, mut overlaps) = (0, 0);
    for vector in vectors(&file) {
        let rules = zone(text(vector, "zone")).unwrap();
        let wall = text(vector, "local").parse::<DateTime>().unwrap();
        let expected = at(text(vector, "rfc5545_utc"));
        assert_eq!(to_instant(wall, &rules), expected, "{vector}");
        match text(vector, "kind") {
            "gap" => {
                gaps += 1;
                assert_eq!(first_showing(wall, &rules), None, "{vector}");
            }
            "overlap" => {
                overlaps += 1;
                assert_eq!(first_showing(wall, &rules), Some(expected), "{vector}");
            }
            other => panic!("a new kind of vector: {other}"),
        }
        let shown = to_civil(expected, &rules);
        let shift = vector["valid_local_after_shift"].as_str().map(|text| text.parse().unwrap());
        assert_eq!(shown, shift.unwrap_or(wall), "{vector}");
    }
    println!("resolution: {gaps} gaps and {overlaps} overlaps, all read as RFC 5545 has it");
}

/// A request for one minute, at every step of that local day in full.
fn all_day(name: &str, day: Date, step: u64) -> MeetingSpec {
    let mut spec = monday(&["alice"]);
    let rules = zone(name).unwrap();
    spec.duration = minutes(1);
    let window = &mut spec.window;
    (window.time_zone, window.step) = (Some(name.into()), minutes(step));
    window.working_hours = WorkingHours::Unrestricted;
    window.earliest = Some(start_of_day(day, &rules));
    window.latest = Some(start_of_day(day.tomorrow().unwrap(), &rules));
    spec
}

/// Length of the day in minutes, its first wall-clock time, and how many starts lie half an hour apart.
fn day_in(name: &str, day: Date) -> (i64, String, usize) {
    let spec = all_day(name, day, 30);
    let (start, end) = (spec.window.earliest.unwrap(), spec.window.latest.unwrap());
    let starts = candidates(&spec).unwrap();
    let rules = zone(name).unwrap();
    for slot in &starts {
        let wall = to_civil(slot.start, &rules);
        assert_eq!((wall.date(), wall.minute() % 30, wall.second()), (day, 0, 0), "{name} {wall}");
        // Of a time that the clock shows twice, the first.
        assert_eq!(first_showing(wall, &rules), Some(slot.start), "{name} {wall}");
    }
    let first = to_civil(start, &rules).strftime("%Y-%m-%d %H:%M").to_string();
    ((end - start).num_minutes(), first, starts.len())
}

#[test]
fn days_of_every_length() {
    for (name, day, hours, first, starts) in [
        ("Europe/Berlin", date(2026, 3, 28), 24.0, "2026-03-28 00:00", 48),
        ("Europe/Berlin", date(2026, 3, 29), 23.0, "2026-03-29 00:00", 46),
        // The hour that comes twice is offered once.
        ("Europe/Berlin", date(2026, 10, 25), 25.0, "2026-10-25 00:00", 48),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5, "2026-04-05 00:00", 48),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5, "2026-10-04 00:00", 47),
        ("Pacific/Chatham", date(2026, 4, 5), 25.0, "2026-04-05 00:00", 48),
        // Days that begin at 01:00, as the clocks skip midnight.
        ("America/Sao_Paulo", date(2018, 11, 4), 23.0, "2018-11-04 01:00", 46),
        ("Asia/Beirut", date(2022, 3, 27), 23.0, "2022-03-27 01:00", 46),
        ("Africa/Cairo", date(2024, 4, 26), 23.0, "2024-04-26 01:00", 46),
        // Clocks go back over midnight: the day has its last hour twice.
        ("America/Sao_Paulo", date(2018, 2, 17), 25.0, "2018-02-17 00:00", 48),
        // A zone that changed its offset by a quarter of an hour, once.
        ("Asia/Kathmandu", date(1986, 1, 1), 23.75, "1986-01-01 00:15", 47),
    ] {
        assert_eq!(day_in(name, day), ((hours * 60.0) as i64, first.to_owned(), starts), "{name} {day}");
    }
}

#[test]
fn a_day_that_does_not_exist_has_no_slots_and_no_hours() {
    let missing = date(2011, 12, 30);
    let spec = all_day("Pacific/Apia", missing, 30);
    assert_eq!(spec.window.earliest, spec.window.latest);
    assert_eq!(candidates(&spec).unwrap(), []);
    // Over the whole week there are four days of working hours, and it is told why.
    let mut week = monday(&["alice"]);
    week.window.time_zone = Some("Pacific/Apia".into());
    let midnight = |day: Date| start_of_day(day, &zone("Pacific/Apia").unwrap());
    week.window.earliest = Some(midnight(date(2011, 12, 26)));
    week.window.latest = Some(midnight(date(2012, 1, 2)));
    let rules = zone("Pacific/Apia").unwrap();
    let slots = candidates(&week).unwrap();
    let mut days: Vec<_> = slots.iter().map(|slot| to_civil(slot.start, &rules).date().day()).collect();
    days.dedup();
    assert_eq!((days, slots.len()), (vec![26, 27, 28, 29], 4 * 9));
    let shifts = clock_shifts(&week.window);
    assert_eq!(
        shifts.iter().map(|shift| shift.message.as_str()).collect::<Vec<_>>(),
        ["Fri 2011-12-30 has no working hours in Pacific/Apia: the clocks go forward over 08:00-17:00"]
    );
}

#[test]
fn starts_lie_on_the_wall_clock_of_odd_offsets() {
    // (zone, the minute of the hour in UTC at which its hours begin)
    for (name, minute) in [
        ("Asia/Kolkata", 30),
        ("Asia/Kathmandu", 15),
        ("Pacific/Chatham", 15),
        ("Australia/Eucla", 15),
        ("Australia/Lord_Howe", 30),
        ("America/St_Johns", 30),
        ("Asia/Tehran", 30),
    ] {
        let mut spec = all_day(name, date(2026, 6, 15), 60);
        spec.window.working_hours = WorkingHours::default();
        let starts: Vec<_> = candidates(&spec).unwrap().iter().map(|slot| slot.start).collect();
        assert_eq!(starts.len(), 9, "{name}");
        for start in &starts {
            let wall = to_civil(*start, &zone(name).unwrap());
            assert_eq!((wall.minute(), start.timestamp() / 60 % 60), (0, minute), "{name} {start}");
        }
    }
}

/// The window of working hours between two minutes on every day of a fortnight around a day.
fn shifts(name: &str, around: Date, hours: (u16, u16)) -> Vec<(String, Instant, String)> {
    let mut window = monday(&["alice"]).window;
    let rules = zone(name).unwrap();
    let day = |days: i64| around.checked_add(jiff::Span::new().days(days)).unwrap();
    (window.earliest, window.latest) =
        (Some(start_of_day(day(-7), &rules)), Some(start_of_day(day(7), &rules)));
    window.time_zone = Some(name.into());
    window.working_hours =
        WorkingHours::Weekly { days: [true; 7], start_minute: hours.0, end_minute: hours.1, time_zone: None };
    let found = clock_shifts(&window);
    found.into_iter().map(|shift| (shift.wall.to_string(), shift.taken, shift.message)).collect()
}

#[test]
fn hours_that_the_clocks_skip_are_told() {
    let berlin = |hours| shifts("Europe/Berlin", date(2026, 3, 29), hours);
    let taken = at("2026-03-29T01:00:00Z");
    assert_eq!(
        berlin((150, 600)),
        [(
            "2026-03-29T02:30:00".to_owned(),
            taken,
            "working hours start at 03:00 on Sun 2026-03-29 in Europe/Berlin: the clocks skip 02:30"
                .to_owned()
        )]
    );
    let (wall, at_end, words) = berlin((60, 150)).remove(0);
    assert_eq!((wall.as_str(), at_end), ("2026-03-29T02:30:00", taken));
    assert!(words.starts_with("working hours end at 03:00 on Sun 2026-03-29"), "{words}");
    let (_, _, words) = berlin((130, 170)).remove(0);
    assert!(words.contains("has no working hours in Europe/Berlin"), "{words}");
    assert_eq!(berlin((130, 170)).len(), 1);
    for hours in [(480, 1020), (0, 1440), (120, 180), (180, 600)] {
        let found = berlin(hours);
        // 02:00 is skipped too; 03:00 is not.
        assert_eq!(found.len(), usize::from(hours.0 == 120), "{hours:?} {found:?}");
    }
    // Where midnight is skipped the day begins later: nobody meant another time.
    assert_eq!(shifts("America/Sao_Paulo", date(2018, 11, 4), (0, 1440)), []);
    assert_eq!(shifts("America/Sao_Paulo", date(2018, 11, 4), (30, 600)).len(), 1);
    // Clocks that go back skip nothing.
    assert_eq!(shifts("Europe/Berlin", date(2026, 10, 25), (150, 600)), []);
}
