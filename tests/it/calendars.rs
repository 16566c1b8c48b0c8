//! Agents over real calendars of many producers: they register, answer, and are booked where the vectors say that
//! their people are free.

use std::path::{Path, PathBuf};

use quorate::agent::{AgentConfig, ParticipantConfig, output_beside};
use quorate::core::availability::Disclosure;

use super::say::say;
use super::support::*;

fn cases() -> Option<PathBuf> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/cases/freebusy"));
    if !folder.is_dir() {
        say("SKIPPED: no shared cases beside this checkout, no real calendars were booked");
        return None;
    }
    Some(folder.to_owned())
}

struct Vector {
    id: String,
    ics: PathBuf,
    zone: String,
    from: i64,
    to: i64,
    busy: Vec<(i64, i64)>,
}

fn instant_of(text: &str) -> i64 {
    let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).expect("a time in UTC");
    at.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second()
}

fn vectors(folder: &Path) -> Vec<Vector> {
    let text = std::fs::read_to_string(folder.join("calendars.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let of = |vector: &serde_json::Value| {
        let text = |key: &str| vector[key].as_str().unwrap().to_owned();
        let ranges = |key: &str| -> Vec<(i64, i64)> {
            let all = vector["expected"][key].as_array().cloned().unwrap_or_default();
            all.iter()
                .map(|r| (instant_of(r[0].as_str().unwrap()), instant_of(r[1].as_str().unwrap())))
                .collect()
        };
        let mut busy = ranges("busy");
        busy.extend(ranges("tentative"));
        busy.extend(ranges("unavailable"));
        Vector {
            id: text("id"),
            ics: folder.join(text("ics")),
            zone: text("zone"),
            from: instant_of(&text("from")),
            to: instant_of(&text("to")),
            busy,
        }
    };
    file["vectors"].as_array().unwrap().iter().map(of).collect()
}

const HOUR: i64 = 3_600;

/// The first free and the first busy hour of a vector, if there are such.
fn hours_of(vector: &Vector) -> (Option<i64>, Option<i64>) {
    let first = (vector.from + HOUR - 1).div_euclid(HOUR) * HOUR;
    let mut all = (first..vector.to - HOUR).step_by(HOUR as usize);
    let busy = |from: &i64| vector.busy.iter().any(|b| overlap(*b, (*from, from + HOUR)));
    (all.clone().find(|h| !busy(h)), all.find(busy))
}

fn named(vector: &Vector, id: &str, at: i64) -> Ask {
    let mut ask = ask(&[id]).title(&vector.id);
    ask.0.slot = Some(seconds(at, at + HOUR));
    ask
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_calendars_are_booked_where_they_are_free() {
    let Some(folder) = cases() else { return };
    let world = World::start().await;
    let work = tempfile::tempdir().unwrap();
    let vectors = vectors(&folder);
    assert!(vectors.len() > 100, "all vectors are read");
    // One person per vector, so that each has the zone that the vector says.
    let person = |(n, vector): (usize, &Vector)| {
        let calendar = work.path().join(format!("person-{n}.ics"));
        std::fs::copy(&vector.ics, &calendar).unwrap();
        ParticipantConfig {
            id: id(&format!("person-{n}")),
            display_name: None,
            output: output_beside(&calendar),
            calendar,
            zone: Some(vector.zone.clone()),
            working_hours: None,
            disclosure: Disclosure::AskedSlotsOnly,
            tentative_blocks: true,
            reading: Default::default(),
        }
    };
    let agent = Agent::start_with(AgentConfig {
        scheduler: world.url(),
        participants: vectors.iter().enumerate().map(person).collect(),
        folder: None,
        data_dir: work.path().join("journal"),
    })
    .await;
    let unreadable: Vec<_> = agent.handle.served().iter().filter(|s| s.events.is_err()).collect();
    assert!(unreadable.is_empty(), "{unreadable:?}");
    let mut calls = Vec::new();
    for (n, vector) in vectors.iter().enumerate() {
        let name = format!("person-{n}");
        let (free, busy) = hours_of(vector);
        let free = free.map(|at| world.spawn_schedule(named(vector, &name, at)));
        let busy = busy.map(|at| world.spawn_schedule(named(vector, &name, at)));
        calls.push((vector, free, busy));
    }
    let mut wrong = Vec::new();
    let (mut booked, mut refused) = (0, 0);
    for (vector, free, busy) in calls {
        if let Some(call) = free {
            let meeting = call.await.unwrap().unwrap();
            booked += 1;
            if meeting.state() != pb::meeting::State::Confirmed {
                wrong.push(format!("{} is free, and was not booked: {:?}", vector.id, meeting.failure));
            }
        }
        if let Some(call) = busy {
            let meeting = call.await.unwrap().unwrap();
            refused += 1;
            if meeting.state() != pb::meeting::State::Failed {
                wrong.push(format!("{} is busy, and was booked at {:?}", vector.id, meeting.slot));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(booked > 100 && refused > 50, "{booked} booked, {refused} refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_real_calendars_meets_as_one() {
    let Some(folder) = cases() else { return };
    let world = World::start().await;
    let work = tempfile::tempdir().unwrap();
    let calendars = work.path().join("calendars");
    std::fs::create_dir(&calendars).unwrap();
    for file in std::fs::read_dir(folder.join("calendars")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), calendars.join(file.file_name())).unwrap();
    }
    let agent = Agent::of_folder(&calendars, &world.url()).await;
    let people: Vec<_> = agent.handle.served().iter().map(|s| s.participant.clone()).collect();
    assert!(people.len() > 100, "{}", people.len());
    // Everyone connected, most of them at some hour of a week long after their last event.
    let least = i32::try_from(people.len() / 2).unwrap();
    let meeting = world
        .book(
            ask(&[]).minimum(least).between(0, 7 * 24).objective(pb::meeting_spec::Objective::MostAttendees),
        )
        .await;
    assert!(attending(&meeting).len() >= people.len() / 2);
    let mut events = world.watch(Some(0)).await;
    events.until(pb::meeting_event::Type::Delivered).await;
    within("the outputs are written", agent.handle.outputs_written()).await.expect("the outputs");
    for name in attending(&meeting) {
        let output = read_output(&calendars.join(format!("{name}.quorate.ics")));
        assert_eq!(output, [slot_of(&meeting)], "{name}");
    }
}

/// A calendar that can't be read as a whole, one that has an event which can't be, and one that is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_calendar_is_said_in_the_list_of_participants() {
    let world = World::start().await;
    let work = tempfile::tempdir().unwrap();
    let calendars = work.path().join("calendars");
    std::fs::create_dir(&calendars).unwrap();
    let event =
        |start: &str| format!("BEGIN:VEVENT\r\nUID:a\r\nDTSTART:{start}\r\nDURATION:PT1H\r\nEND:VEVENT\r\n");
    let whole = in_calendar(&event("20340321T090000Z"));
    std::fs::write(calendars.join("alice.ics"), &whole).unwrap();
    std::fs::write(calendars.join("bob.ics"), in_calendar(&event("tomorrow"))).unwrap();
    std::fs::write(calendars.join("carol.ics"), &whole[..whole.len() / 2]).unwrap();
    let agent = Agent::of_folder(&calendars, &world.url()).await;
    let mut client = world.client.clone();
    let listed = within("a list", client.list_participants(pb::ListParticipantsRequest::default())).await;
    let listed = listed.unwrap().into_inner().participants;
    let problems: Vec<_> =
        listed.iter().map(|p| (p.participant_id.as_str(), p.calendar_problem.as_str())).collect();
    assert_eq!(problems[0], ("alice", ""));
    assert_eq!(problems[1].0, "bob");
    assert!(problems[1].1.contains("bob.ics:") && problems[1].1.contains("'tomorrow'"), "{problems:?}");
    assert_eq!(problems[2].0, "carol");
    assert!(problems[2].1.contains("carol.ics:"), "{problems:?}");
    // Neither is free in silence; and what is mended is no longer said.
    let failed = world.schedule(ask(&["bob"])).await;
    assert_eq!(failed.state(), pb::meeting::State::Failed, "{failed:?}");
    agent.stop().await;
}

/// A file that goes, and comes back a moment later, as synchronisation and editors have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_calendar_that_was_gone_for_a_while_is_answered_for_again() {
    let world = World::start().await;
    let work = tempfile::tempdir().unwrap();
    let calendars = work.path().join("calendars");
    std::fs::create_dir(&calendars).unwrap();
    let whole = in_calendar("BEGIN:VEVENT\r\nUID:a\r\nDTSTART:20340321T090000Z\r\nEND:VEVENT\r\n");
    for name in ["alice.ics", "bob.ics"] {
        std::fs::write(calendars.join(name), &whole).unwrap();
    }
    let agent = Agent::of_folder(&calendars, &world.url()).await;
    let first = world.book(ask(&["alice", "bob"])).await;
    for _ in 0..2 {
        std::fs::remove_file(calendars.join("alice.ics")).unwrap();
        world.until_connected("alice", false).await;
        std::fs::write(calendars.join("alice.ics"), &whole).unwrap();
        world.until_connected("alice", true).await;
    }
    let second = world.book(ask(&["alice", "bob"])).await;
    assert_ne!(slot_of(&first), slot_of(&second));
    agent.stop().await;
}
