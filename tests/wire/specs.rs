//! `MeetingSpec` field by field: a table of bad values with the exact paths that must be named.

use std::time::Duration;

use prost_types::{Duration as PbDuration, Timestamp};
use quorate::core::limits;
use quorate::core::model::{Objective, Role, WorkingHours};
use quorate::wire::{pb, requests};

use crate::samples::{TEN, at, attendee, descriptions, fields, lasting, range, schedule};

/// The bad fields of a good spec after `change`.
fn bad(change: impl FnOnce(&mut pb::MeetingSpec)) -> Vec<String> {
    let mut request = schedule();
    change(request.spec.as_mut().unwrap());
    fields(requests::schedule(request))
}

fn words(change: impl FnOnce(&mut pb::MeetingSpec)) -> String {
    let mut request = schedule();
    change(request.spec.as_mut().unwrap());
    descriptions(requests::schedule(request)).join("; ")
}

fn window(change: impl FnOnce(&mut pb::Window)) -> Vec<String> {
    bad(|spec| change(spec.window.get_or_insert_default()))
}

fn hours(change: impl FnOnce(&mut pb::WorkingHours)) -> Vec<String> {
    window(|window| change(window.working_hours.get_or_insert_default()))
}

fn time(hours: i32, minutes: i32) -> Option<pb::TimeOfDay> {
    Some(pb::TimeOfDay { hours, minutes })
}

#[test]
fn the_smallest_spec_gets_every_default() {
    let spec = pb::MeetingSpec { duration: lasting(60), ..pb::MeetingSpec::default() };
    let request = pb::ScheduleMeetingRequest { spec: Some(spec), ..pb::ScheduleMeetingRequest::default() };
    let read = requests::schedule(request).unwrap();
    assert_eq!(read.request_id, None);
    assert_eq!(read.slot, None);
    assert_eq!(read.body_hash.len(), 64);
    assert_eq!(read.options.response_timeout, Duration::from_secs(2));
    assert_eq!(read.options.connect_timeout, Duration::ZERO);
    assert_eq!(read.options.max_attempts, 10);
    assert_eq!(read.options.max_candidates_per_round, 0);
    let spec = read.spec;
    assert_eq!((spec.duration, spec.priority), (Duration::from_secs(60), 1));
    assert_eq!(spec.objective, Objective::Earliest);
    assert_eq!(spec.window.step, Duration::from_secs(900));
    assert_eq!(spec.window.working_hours, WorkingHours::default());
    assert_eq!((spec.window.earliest, spec.window.latest, spec.window.time_zone), (None, None, None));
}

#[test]
fn the_greatest_values_are_taken() {
    let nobody = bad(|spec| {
        spec.title = "ü".repeat(limits::TITLE_CHARS);
        spec.organizer = "Jörg Müller, Einkauf".to_owned();
        spec.attendees = (0..limits::ATTENDEES).map(|n| attendee(&format!("p{n}"))).collect();
        spec.attendees[0].participant_id = format!("a.b_c@d+e:f/g-{}", "x".repeat(114));
        spec.minimum_participants = limits::ATTENDEES as i32;
        spec.duration = lasting(7 * 86_400);
        spec.priority = 100;
        (spec.buffer_before, spec.buffer_after) = (lasting(86_400), lasting(0));
        let window = spec.window.get_or_insert_default();
        window.earliest = Some(Timestamp { seconds: TEN, nanos: 1 });
        window.latest = Some(Timestamp { seconds: TEN + 366 * 86_400, nanos: 1 });
        window.time_zone = "europe/berlin".to_owned();
        window.step = lasting(86_400);
        window.exclude = vec![range(TEN, TEN + 1); limits::EXCLUDES];
        window.working_hours = Some(pb::WorkingHours {
            days: (1..=7).collect(),
            start: time(0, 0),
            end: time(24, 0),
            time_zone: "UTC".to_owned(),
            unrestricted: false,
        });
    });
    assert_eq!(nobody, [""; 0]);
}

#[test]
fn zones_are_spelled_as_the_database_does() {
    let mut request = schedule();
    request.spec.as_mut().unwrap().window.get_or_insert_default().time_zone = "america/NEW_york".to_owned();
    let spec = requests::schedule(request).unwrap().spec;
    assert_eq!(spec.window.time_zone.as_deref(), Some("America/New_York"));
}

#[test]
fn texts() {
    assert_eq!(bad(|spec| spec.title = "x".repeat(501)), ["spec.title"]);
    assert_eq!(bad(|spec| spec.title = "two\nlines".to_owned()), ["spec.title"]);
    assert_eq!(bad(|spec| spec.title = "\u{7f}".repeat(501)), ["spec.title", "spec.title"]);
    assert_eq!(bad(|spec| spec.organizer = "x".repeat(129)), ["spec.organizer"]);
    assert_eq!(bad(|spec| spec.organizer = "\0".to_owned()), ["spec.organizer"]);
    assert!(words(|spec| spec.title = "x".repeat(612)).contains("612 characters; at most 500"));
}

#[test]
fn attendees() {
    let id = "spec.attendees[1].participant_id";
    for name in ["", "two words", "ärger", "tab\t", "x!", "emoji🙂", &"x".repeat(129)] {
        assert_eq!(bad(|spec| spec.attendees[1] = attendee(name)), [id], "{name}");
    }
    assert_eq!(bad(|spec| spec.attendees[1] = attendee("alice")), [id]);
    assert!(words(|spec| spec.attendees[1] = attendee("alice")).contains("attendees[0]"));
    assert_eq!(bad(|spec| spec.attendees[1].role = 4), ["spec.attendees[1].role"]);
    assert_eq!(bad(|spec| spec.attendees[1].role = -1), ["spec.attendees[1].role"]);
    let many = |spec: &mut pb::MeetingSpec| {
        spec.attendees = (0..10_000).map(|n| attendee(&format!("p{n}"))).collect();
    };
    assert_eq!(bad(many), ["spec.attendees"]);
    assert!(words(many).contains("10000 entries; at most 5000"));
    let mut request = schedule();
    request.spec.as_mut().unwrap().attendees[0].role = 1;
    let roles: Vec<_> =
        requests::schedule(request).unwrap().spec.attendees.iter().map(|attendee| attendee.role).collect();
    assert_eq!(roles, [Role::Required, Role::Invited]);
}

#[test]
fn lengths() {
    let length = |seconds, nanos| Some(PbDuration { seconds, nanos });
    let not_a_length = [
        length(-1, 0),
        length(0, -1),
        length(i64::MAX, 0),
        length(i64::MIN, i32::MIN),
        length(1, -1),
        length(-1, 1),
        length(60, 1_000_000_000),
        length(60, i32::MIN),
    ];
    for value in not_a_length {
        assert_eq!(bad(|spec| spec.duration = value), ["spec.duration"], "{value:?}");
        assert_eq!(bad(|spec| spec.buffer_before = value), ["spec.buffer_before"], "{value:?}");
        assert_eq!(bad(|spec| spec.buffer_after = value), ["spec.buffer_after"], "{value:?}");
        assert_eq!(window(|window| window.step = value), ["spec.window.step"], "{value:?}");
    }
    for value in [None, length(0, 0), length(59, 0), length(604_801, 0), length(90, 500_000_000)] {
        assert_eq!(bad(|spec| spec.duration = value), ["spec.duration"], "{value:?}");
    }
    for value in [length(86_401, 0), length(1, 1)] {
        assert_eq!(bad(|spec| spec.buffer_before = value), ["spec.buffer_before"], "{value:?}");
    }
    for value in [length(0, 0), length(59, 0), length(90, 0), length(86_460, 0), length(60, 1)] {
        assert_eq!(window(|window| window.step = value), ["spec.window.step"], "{value:?}");
    }
    assert!(words(|spec| spec.duration = length(59, 0)).contains("at least 1 min"));
    assert!(words(|spec| spec.duration = length(90, 1)).contains("whole seconds"));
    assert!(words(|spec| spec.duration = length(604_801, 0)).contains("at most 7 days"));
    assert!(words(|spec| spec.duration = length(1, -1)).contains("same sign"));
}

#[test]
fn numbers() {
    assert_eq!(bad(|spec| spec.minimum_participants = -1), ["spec.minimum_participants"]);
    assert_eq!(bad(|spec| spec.minimum_participants = 3), ["spec.minimum_participants"]);
    assert_eq!(bad(|spec| spec.minimum_participants = 2), [""; 0]);
    let optional = |spec: &mut pb::MeetingSpec| {
        spec.attendees[0].role = 3;
        spec.minimum_participants = 2;
    };
    assert_eq!(bad(optional), ["spec.minimum_participants"]);
    let everybody = |spec: &mut pb::MeetingSpec| {
        spec.attendees.clear();
        spec.minimum_participants = 2;
    };
    assert_eq!(bad(everybody), [""; 0]);
    for priority in [-1, 101, i32::MAX, i32::MIN] {
        assert_eq!(bad(|spec| spec.priority = priority), ["spec.priority"]);
    }
    assert_eq!(bad(|spec| spec.objective = 4), ["spec.objective"]);
}

#[test]
fn instants_and_windows() {
    let stamp = |seconds, nanos| Some(Timestamp { seconds, nanos });
    let not_an_instant = [
        stamp(TEN, -1),
        stamp(TEN, 1_000_000_000),
        stamp(-62_135_596_801, 0),
        stamp(253_402_300_800, 0),
        stamp(i64::MAX, i32::MAX),
        stamp(i64::MIN, i32::MIN),
    ];
    for value in not_an_instant {
        assert_eq!(window(|window| window.earliest = value), ["spec.window.earliest"], "{value:?}");
        assert_eq!(window(|window| window.latest = value), ["spec.window.latest"], "{value:?}");
        let exclude = pb::TimeRange { start_time: value, end_time: at(TEN) };
        let path = "spec.window.exclude[0].start_time";
        assert_eq!(window(|window| window.exclude = vec![exclude]), [path], "{value:?}");
    }
    for (earliest, latest) in [(TEN, TEN), (TEN, TEN - 1), (TEN, TEN + 366 * 86_400 + 1), (TEN, TEN * 2)] {
        let reversed = |window: &mut pb::Window| {
            (window.earliest, window.latest) = (at(earliest), at(latest));
        };
        assert_eq!(window(reversed), ["spec.window.latest"]);
    }
    let exclude = |range| window(|window| window.exclude = vec![range]);
    let end = "spec.window.exclude[0].end_time";
    assert_eq!(exclude(range(TEN, TEN)), [end]);
    assert_eq!(exclude(range(TEN, TEN - 1)), [end]);
    assert_eq!(exclude(pb::TimeRange { start_time: at(TEN), end_time: None }), [end]);
    let both = ["spec.window.exclude[0].start_time", end];
    assert_eq!(exclude(pb::TimeRange::default()), both);
    let many = |window: &mut pb::Window| window.exclude = vec![range(TEN, TEN + 1); 1_001];
    assert_eq!(window(many), ["spec.window.exclude"]);
}

#[test]
fn zones() {
    for name in ["Europe/Atlantis", "+02:00", "local", "CEST", "../etc/passwd", &"x".repeat(10_000), "🙂"] {
        let path = ["spec.window.time_zone"];
        assert_eq!(window(|window| window.time_zone = name.to_owned()), path, "{name}");
        let path = ["spec.window.working_hours.time_zone"];
        assert_eq!(hours(|hours| hours.time_zone = name.to_owned()), path, "{name}");
    }
    let said = |name: &str| words(|spec| spec.window.get_or_insert_default().time_zone = name.to_owned());
    assert!(said("America/New York").ends_with("America/New_York is"), "{}", said("America/New York"));
    assert!(said("america-new-york").ends_with("America/New_York is"));
    assert!(said("Berlin").ends_with("Europe/Berlin is"));
    assert!(said(&"x".repeat(10_000)).len() < 200);
}

#[test]
fn working_hours() {
    let path = |rest: &str| vec![format!("spec.window.working_hours.{rest}")];
    for day in [0, 8, -1] {
        assert_eq!(hours(|hours| hours.days = vec![1, day]), path("days[1]"));
    }
    for (value, field) in [
        ((25, 0), "hours"),
        ((-1, 0), "hours"),
        ((9, 60), "minutes"),
        ((9, -1), "minutes"),
        ((24, 1), "hours"),
    ] {
        assert_eq!(hours(|hours| hours.start = time(value.0, value.1)), path(&format!("start.{field}")));
        assert_eq!(hours(|hours| hours.end = time(value.0, value.1)), path(&format!("end.{field}")));
    }
    assert_eq!(hours(|hours| hours.start = time(24, 0)), path("start.hours"));
    assert_eq!(hours(|hours| hours.end = time(24, 0)), [""; 0]);
    assert_eq!(hours(|hours| hours.end = time(8, 0)), path("end"));
    assert_eq!(hours(|hours| hours.start = time(18, 0)), path("end"));
    let all = |hours: &mut pb::WorkingHours| {
        hours.unrestricted = true;
        hours.days = vec![1];
        (hours.start, hours.end) = (time(9, 0), time(10, 0));
    };
    assert_eq!(hours(all), [path("days"), path("start"), path("end")].concat());
    assert_eq!(hours(|hours| hours.unrestricted = true), [""; 0]);
}

#[test]
fn all_bad_fields_are_named_at_once() {
    let all = bad(|spec| {
        spec.title = "x".repeat(501);
        spec.organizer = "\n".to_owned();
        spec.attendees[0].role = 9;
        spec.attendees[1].participant_id = String::new();
        spec.duration = lasting(-5);
        spec.minimum_participants = -2;
        spec.priority = 1_000;
        spec.objective = 77;
        (spec.buffer_before, spec.buffer_after) = (lasting(-1), lasting(1 << 40));
        let window = spec.window.get_or_insert_default();
        (window.earliest, window.latest) = (at(TEN), at(TEN - 60));
        window.time_zone = "Nowhere".to_owned();
        window.step = lasting(1);
        window.working_hours = Some(pb::WorkingHours { days: vec![9], ..pb::WorkingHours::default() });
        window.exclude = vec![range(1, 2), range(2, 1)];
    });
    let expected = [
        "spec.title",
        "spec.organizer",
        "spec.attendees[0].role",
        "spec.attendees[1].participant_id",
        "spec.duration",
        "spec.minimum_participants",
        "spec.priority",
        "spec.window.latest",
        "spec.window.time_zone",
        "spec.window.step",
        "spec.window.working_hours.days[0]",
        "spec.window.exclude[1].end_time",
        "spec.objective",
        "spec.buffer_before",
        "spec.buffer_after",
    ];
    assert_eq!(all, expected);
}
