//! Candidate slots and zones.

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::DateTime;
use proptest::prelude::*;
use quorate::core::availability::{Answer, Disclosure, clip, clip_to, fits, free_answer};
use quorate::core::model::{FreeTime, MeetingSpec, Preference, Role, WorkingHours};
use quorate::core::ranking::rank;
use quorate::core::slots::{SlotError, asked_slots, candidates, merged, query_windows, resolve_window};
use quorate::core::time::{Instant, TimeRange};
use quorate::core::zones::{first_showing, to_civil, zone};
use serde_json::Value;

use super::{at, attendee, free, hour, minutes, monday, range};

/// Days around which clocks change: (zone, a day, in UTC).
const CHANGES: [(&str, &str); 16] = [
    ("Europe/Berlin", "2025-03-30T00:00:00Z"),
    ("Europe/Berlin", "2025-10-26T00:00:00Z"),
    ("Australia/Lord_Howe", "2025-04-05T15:00:00Z"),
    ("Australia/Lord_Howe", "2025-10-04T15:30:00Z"),
    ("America/St_Johns", "2010-03-14T03:31:00Z"),
    ("America/St_Johns", "2010-11-07T02:31:00Z"),
    ("America/St_Johns", "2025-03-09T05:30:00Z"),
    ("Asia/Kathmandu", "2025-06-01T00:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("Africa/Cairo", "2024-04-25T22:00:00Z"),
    ("Africa/Cairo", "2024-10-31T21:00:00Z"),
    ("America/Sao_Paulo", "2017-02-19T02:00:00Z"),
    ("America/Sao_Paulo", "2017-10-15T03:00:00Z"),
    ("America/Havana", "2024-11-03T05:00:00Z"),
    ("Pacific/Chatham", "2025-04-05T14:00:00Z"),
    ("UTC", "2024-12-31T00:00:00Z"),
];

/// The folder of the shared cases, or a loud word that it is missing.
pub fn cases(file: &str) -> Option<Value> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/cases")).join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        crate::say::say(&format!("SKIPPED: no shared cases beside this checkout, {file} was not tested"));
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

/// Any request around a change of clocks, with a window of up to four days.
fn around_a_change() -> impl Strategy<Value = MeetingSpec> {
    let change = prop::sample::select(&CHANGES[..]);
    let step = prop::sample::select(vec![5, 7, 15, 30, 45, 60, 90, 1440]);
    let lengths = (1u64..200, 0u64..40, 0u64..40);
    let window = (0i64..2880, 60i64..3000);
    let hours = (
        prop::option::of(prop::sample::select(vec![
            (0, 1440),
            (480, 1020),
            (90, 1440),
            (150, 400),
            (60, 150),
        ])),
        prop::array::uniform7(prop::bool::weighted(0.8)),
        prop::option::of(prop::sample::select(&CHANGES[..])),
    );
    let exclude = prop::collection::vec((-2880i64..2880, 0i64..600), 0..4);
    (change, step, lengths, window, hours, exclude).prop_map(
        |((name, change), step, (length, before, after), (early, late), (hours, days, own), exclude)| {
            let mut spec = monday(&["alice"]);
            let minute = |minute: i64| at(change) + chrono::Duration::minutes(minute);
            spec.duration = minutes(length);
            (spec.buffer_before, spec.buffer_after) = (minutes(before), minutes(after));
            let window = &mut spec.window;
            window.earliest = Some(minute(-early) + chrono::Duration::seconds(early % 3));
            window.latest = Some(minute(late));
            window.time_zone = Some(name.into());
            window.step = minutes(step);
            window.working_hours =
                hours.map_or(WorkingHours::Unrestricted, |(start_minute, end_minute)| WorkingHours::Weekly {
                    days,
                    start_minute,
                    end_minute,
                    time_zone: own.map(|(name, _)| name.to_owned()),
                });
            let excluded =
                exclude.into_iter().map(|(from, long)| TimeRange::new(minute(from), minute(from + long)));
            window.exclude = excluded.collect();
            spec
        },
    )
}

/// Whether the slot lies within working hours, read minute by minute from the wall clock. The hours of a day begin
/// when the clock first shows their start and are over when it first shows their end, also if it then goes back.
fn in_hours(spec: &MeetingSpec, slot: &TimeRange) -> bool {
    let WorkingHours::Weekly { days, start_minute, end_minute, time_zone } = &spec.window.working_hours
    else {
        return true;
    };
    let zone = zone(time_zone.as_deref().or(spec.window.time_zone.as_deref()).unwrap()).unwrap();
    let minute_of = |wall: DateTime| wall.hour() as u16 * 60 + wall.minute() as u16;
    let works = |wall: DateTime| days[wall.weekday().to_monday_zero_offset() as usize];
    let start = to_civil(slot.start, &zone);
    let mut today = start.date();
    let mut minute = slot.start;
    let reached = |minute: u16| {
        let before = (0..=180).map(|back| to_civil(slot.start - chrono::Duration::minutes(back), &zone));
        before.into_iter().any(|wall| wall.date() == start.date() && minute_of(wall) >= minute)
    };
    let begins = works(start) && reached(*start_minute) && !reached(*end_minute);
    begins
        && std::iter::from_fn(|| {
            let wall = to_civil(minute, &zone);
            minute += chrono::Duration::minutes(1);
            (minute <= slot.end).then_some(wall)
        })
        .all(|wall| {
            if wall.date() > today {
                // Only hours until midnight go on into those of the next day, and only from midnight.
                today = wall.date();
                return (*start_minute, *end_minute) == (0, 1440) && works(wall);
            }
            wall.date() < today || minute_of(wall) < *end_minute
        })
}

/// All slots by looking at every minute of the window.
fn candidates_by_minutes(spec: &MeetingSpec) -> Vec<TimeRange> {
    let window = &spec.window;
    let zone = zone(window.time_zone.as_deref().unwrap()).unwrap();
    let (earliest, latest) = (window.earliest.unwrap(), window.latest.unwrap());
    let mut minute = earliest - chrono::Duration::seconds(earliest.timestamp().rem_euclid(60));
    let mut slots = Vec::new();
    while minute < latest {
        let slot = TimeRange::lasting(minute, spec.duration);
        let wall = to_civil(minute, &zone);
        let since_midnight = wall.hour() as u64 * 60 + wall.minute() as u64;
        if minute >= earliest
            && slot.end <= latest
            && since_midnight.is_multiple_of(window.step.as_secs() / 60)
            && first_showing(wall, &zone) == Some(minute)
            && !window.exclude.iter().any(|range| range.overlaps(&slot))
            && in_hours(spec, &slot)
        {
            slots.push(slot);
        }
        minute += chrono::Duration::minutes(1);
    }
    slots
}

fn asked(spec: &MeetingSpec, windows: &[TimeRange]) -> Vec<TimeRange> {
    asked_slots(windows, spec.duration, spec.buffer_before, spec.buffer_after, spec.window.step)
}

proptest! {
    #![proptest_config(super::checks(400))]

    #[test]
    fn candidates_are_what_the_wall_clock_says(spec in around_a_change()) {
        prop_assert_eq!(candidates(&spec).unwrap(), candidates_by_minutes(&spec));
    }

    #[test]
    fn queries_ask_for_exactly_the_candidates(spec in around_a_change()) {
        let slots = candidates(&spec).unwrap();
        let windows = query_windows(&spec, &slots);
        prop_assert_eq!(asked(&spec, &windows), slots);
    }

    /// An agent's answer says of each asked slot whether it is free, whatever it discloses; and at the lower level
    /// nothing beyond the asked slots, also if the agent itself says more.
    #[test]
    fn answers_say_what_was_asked(
        spec in around_a_change(),
        busy in prop::collection::vec((-2880i64..2880, 0i64..300), 0..8),
    ) {
        let slots = candidates(&spec).unwrap();
        let windows = query_windows(&spec, &slots);
        let minute = |minute: i64| spec.window.latest.unwrap() + chrono::Duration::minutes(minute);
        let busy = busy.into_iter().map(|(from, long)| TimeRange::new(minute(from), minute(from + long)));
        let busy = merged(busy.collect());
        let answer = |disclosure| free_answer(
            &windows, spec.duration, spec.buffer_before, spec.buffer_after, spec.window.step, &busy, disclosure,
        );
        let (little, much) = (answer(Disclosure::AskedSlotsOnly), answer(Disclosure::FreeBusy));
        let mut shown = Vec::new();
        for slot in &slots {
            let blocked = spec.blocked(slot);
            let is_free = !busy.iter().any(|range| range.overlaps(&blocked));
            prop_assert_eq!(fits(&little, &blocked).is_some(), is_free);
            prop_assert_eq!(fits(&much, &blocked).is_some(), is_free);
            shown.extend(is_free.then_some(blocked));
        }
        let little_ranges: Vec<_> = little.iter().map(|free| free.range).collect();
        prop_assert_eq!(little_ranges, merged(shown));
        prop_assert_eq!(clip(much.clone(), &windows), (much.clone(), 0));
        let clipped = clip_to(
            much, &windows, spec.duration, spec.buffer_before, spec.buffer_after, spec.window.step,
            Disclosure::AskedSlotsOnly,
        );
        prop_assert_eq!(clipped, (little, 0));
    }

    /// Clipped free time says of every range within the windows what the given ranges say, minute by minute.
    #[test]
    fn clipping_keeps_what_lies_within(
        given in prop::collection::vec((0i64..60, 0i64..30, 0u8..3, 0i32..3), 0..8),
        windows in prop::collection::vec((0i64..60, 0i64..30), 0..4),
        probe in (0i64..60, 1i64..20),
    ) {
        let minute = |minute: i64| at("2025-01-06T00:00:00Z") + chrono::Duration::minutes(minute);
        let long = |from: i64, long: i64| TimeRange::new(minute(from), minute(from + long));
        let preferences = [Preference::Preferred, Preference::Available, Preference::IfNeeded];
        let given: Vec<FreeTime> = given
            .into_iter()
            .map(|(from, length, preference, cost)| FreeTime {
                range: long(from, length), preference: preferences[preference as usize], cost,
            })
            .collect();
        let windows: Vec<_> = windows.into_iter().map(|(from, length)| long(from, length)).collect();
        let (cut, clipped) = clip(given.clone(), &windows);
        prop_assert!(cut.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
        let minutes_of = |range: &TimeRange| {
            let (start, end) = (range.start, range.end);
            (0..).map(move |k| start + chrono::Duration::minutes(k)).take_while(move |minute| *minute < end)
        };
        let minute_in = |ranges: &[TimeRange], minute: Instant| {
            ranges.iter().any(|range| range.start <= minute && minute < range.end)
        };
        let outside = given.iter().filter(|free| {
            free.range.is_empty() || minutes_of(&free.range).any(|minute| !minute_in(&windows, minute))
        });
        prop_assert_eq!(clipped, outside.count());
        let probe = long(probe.0, probe.1);
        let ranges: Vec<_> = given.iter().map(|free| free.range).collect();
        let covered = minutes_of(&probe).all(|m| minute_in(&windows, m) && minute_in(&ranges, m));
        let spanned = || given.iter().filter(|free| free.range.overlaps(&probe));
        let worst = spanned().map(|free| free.preference).max().zip(spanned().map(|free| free.cost).max());
        prop_assert_eq!(fits(&cut, &probe), worst.filter(|_| covered));
    }
}

#[test]
fn each_change_of_clocks_is_covered() {
    let days = [
        // A day of 23 hours, one of 25, half an hour less and more, and a day that there never was.
        ("Europe/Berlin", "2025-03-29T23:00:00Z", "2025-03-30T22:00:00Z", 23),
        ("Europe/Berlin", "2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z", 24),
        ("Australia/Lord_Howe", "2025-10-04T13:30:00Z", "2025-10-05T13:00:00Z", 23),
        ("Australia/Lord_Howe", "2025-04-05T13:00:00Z", "2025-04-06T13:30:00Z", 24),
        ("Pacific/Apia", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", 24),
        ("America/Sao_Paulo", "2017-10-15T03:00:00Z", "2017-10-16T02:00:00Z", 23),
    ];
    for (name, start, end, expected) in days {
        let mut spec = monday(&["alice"]);
        spec.duration = minutes(1);
        spec.window.time_zone = Some(name.into());
        (spec.window.earliest, spec.window.latest) = (Some(at(start)), Some(at(end)));
        spec.window.working_hours = WorkingHours::Unrestricted;
        assert_eq!(candidates(&spec).unwrap().len(), expected, "{name} {start}");
    }
}

#[test]
fn windows_are_completed_and_limited() {
    let now = at("2024-07-22T09:00:00Z");
    let mut spec = monday(&["alice"]);
    spec.window.earliest = None;
    spec.window.latest = None;
    spec.window.time_zone = None;
    assert_eq!(candidates(&spec), Err(SlotError::Unresolved("earliest")));
    let mut window = spec.window.clone();
    assert!(resolve_window(&mut window, Some("Moon/Base"), now).is_err());
    assert_eq!(window, spec.window);
    assert_eq!(resolve_window(&mut window.clone(), None, now).as_deref(), Ok("UTC"));
    assert_eq!(resolve_window(&mut window, Some("europe/berlin"), now).as_deref(), Ok("Europe/Berlin"));
    assert_eq!((window.earliest, window.latest), (Some(now), Some(at("2024-08-05T09:00:00Z"))));
    spec.window = window;
    spec.window.step = minutes(1);
    spec.window.working_hours = WorkingHours::Unrestricted;
    assert_eq!(candidates(&spec).unwrap().len(), 14 * 1440 - 59);
    spec.window.latest = Some(at("2025-07-22T09:00:00Z"));
    assert!(matches!(candidates(&spec), Err(SlotError::TooMany { .. })));
}

#[test]
fn hours_of_another_zone_count() {
    let mut spec = monday(&["alice"]);
    spec.window.time_zone = Some("Asia/Kathmandu".into());
    spec.window.working_hours = WorkingHours::Weekly {
        days: [true; 7],
        start_minute: 8 * 60,
        end_minute: 11 * 60,
        time_zone: Some("Europe/Berlin".into()),
    };
    // 08:00 in Berlin is 11:45 in Kathmandu, where starts are counted.
    let expected = ["2024-07-22T06:15:00Z", "2024-07-22T07:15:00Z"].map(at);
    let starts: Vec<_> = candidates(&spec).unwrap().iter().map(|slot| slot.start).collect();
    assert_eq!(starts, expected);
}

#[test]
fn free_ranges_that_touch_are_one() {
    let parts = vec![
        FreeTime { cost: 3, ..free(range("2024-07-22T08:30:00Z", "2024-07-22T09:00:00Z")) },
        FreeTime {
            preference: Preference::IfNeeded,
            ..free(range("2024-07-22T08:00:00Z", "2024-07-22T08:30:00Z"))
        },
    ];
    let (parts, clipped) = clip(parts, &[hour(8)]);
    assert_eq!(clipped, 0);
    assert_eq!(fits(&parts, &hour(8)), Some((Preference::IfNeeded, 3)));
    assert_eq!(fits(&parts, &hour(9)), None);
}

#[test]
fn slot_vectors_of_others() {
    let Some(file) = cases("slots/slots.json") else { return };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for vector in file["vectors"].as_array().unwrap() {
        let people = vector["free"].as_object().unwrap();
        let mut spec = monday(&[]);
        spec.attendees = people.keys().map(|name| attendee(name, Role::Invited)).collect();
        spec.duration = minutes(vector["duration_minutes"].as_u64().unwrap());
        spec.window.step = minutes(vector["grid_minutes"].as_u64().unwrap());
        spec.window.working_hours = WorkingHours::Unrestricted;
        spec.window.earliest = Some(at(&text(&vector["from"])));
        spec.window.latest = Some(at(&text(&vector["to"])));
        let slots = candidates(&spec).unwrap();
        let windows = query_windows(&spec, &slots);
        let answers: Vec<Answer> = people
            .values()
            .map(|ranges| {
                let ranges = ranges.as_array().unwrap().iter();
                let ranges = ranges.map(|pair| free(range(&text(&pair[0]), &text(&pair[1]))));
                Answer::Free(clip(ranges.collect(), &windows).0)
            })
            .collect();
        for (minimum, expected) in [(1, "expected_starts_any"), (0, "expected_starts_all")] {
            spec.minimum_participants = minimum;
            let ranking = rank(&spec, &slots, &answers, &[]);
            let starts: Vec<_> = ranking.feasible.iter().map(|scored| scored.slot.start).collect();
            let expected: Vec<_> =
                vector[expected].as_array().unwrap().iter().map(|start| at(&text(start))).collect();
            assert_eq!(starts, expected, "{} {minimum}", vector["id"]);
        }
    }
}

#[test]
fn overlap_vectors_of_others() {
    let Some(file) = cases("slots/overlap.json") else { return };
    for vector in file["vectors"].as_array().unwrap() {
        let range = |value: &Value| {
            let minute = |value: &Value| {
                at("2025-01-06T00:00:00Z") + Duration::from_secs(value.as_u64().unwrap() * 60)
            };
            TimeRange::new(minute(&value[0]), minute(&value[1]))
        };
        let collide = vector["collide"].as_bool().unwrap();
        assert_eq!(range(&vector["a"]).overlaps(&range(&vector["b"])), collide, "{}", vector["name"]);
    }
}
