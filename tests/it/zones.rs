//! Attendees in several zones: what an asker learns of them, and agents whose clock rules are not the scheduler's.

use super::support::*;
use pb::participant::TimeZoneData as Data;
use quorate::core::time::{Instant, TimeRange};
use quorate::core::zone_data::{ZoneData, fingerprint};

fn now() -> Instant {
    "2026-03-10T00:00:00Z".parse().unwrap()
}

fn said(data: ZoneData) -> Option<pb::TimeZoneData> {
    Some(pb::TimeZoneData {
        version: data.version,
        range: Some(seconds(data.range.start.timestamp(), data.range.end.timestamp())),
        fingerprint: data.fingerprint,
    })
}

/// A participant whose agent has these rules, which it takes for those of `zone`.
fn person(name: &str, zone: &str, data: Option<pb::TimeZoneData>) -> Person {
    let person = Person::new(name).free(8, 17);
    person.with(|p| (p.zone, p.zone_data) = (zone.into(), data))
}

/// Berlin as it would be without summer time.
fn without_summer() -> Option<pb::TimeZoneData> {
    let data = ZoneData::of("Europe/Berlin", now()).unwrap();
    let rules = jiff::tz::TimeZone::fixed(jiff::tz::offset(1));
    said(ZoneData { version: "2019a".into(), fingerprint: fingerprint(&rules, data.range), ..data })
}

#[tokio::test]
async fn outdated_zone_data_of_an_agent_are_said_where_they_matter() {
    let world = World::start().await;
    let atlantis = ZoneData {
        version: "2031a".into(),
        range: TimeRange::new(now(), now() + chrono::Duration::days(1)),
        fingerprint: "0f".repeat(32),
    };
    let host = world
        .host(vec![
            person("alice", "Europe/Berlin", said(ZoneData::of("Europe/Berlin", now()).unwrap())),
            person("bob", "Europe/Berlin", without_summer()),
            person("carol", "America/New_York", None),
            person("dave", "Europe/Atlantis", said(atlantis)),
        ])
        .await;
    let mut client = world.client.clone();
    let request = pb::ListParticipantsRequest::default();
    let listed = client.list_participants(request).await.unwrap().into_inner().participants;
    let data: Vec<_> = listed.iter().map(pb::Participant::time_zone_data).collect();
    // Who says nothing is not accused.
    assert_eq!(data, [Data::Same, Data::Different, Data::Unspecified, Data::UnknownZone]);
    let details: Vec<_> = listed.iter().map(|p| p.time_zone_detail.as_str()).collect();
    assert_eq!((details[0], details[2]), ("", ""));
    let ours = quorate::core::zone_data::version();
    let expected = format!("(agent 2019a, scheduler {ours})");
    assert!(details[1].contains("Europe/Berlin differ") && details[1].ends_with(&expected), "{}", details[1]);
    assert!(details[3].contains("Europe/Atlantis is not in the scheduler's"), "{}", details[3]);

    // It is said again wherever somebody reads at what time the attendee would meet.
    let spec = ask(&["alice", "bob", "carol", "dave"]).0.spec;
    let find = pb::FindMeetingTimesRequest { spec, ..Default::default() };
    let found = client.find_meeting_times(find).await.unwrap().into_inner();
    let meeting = world.schedule(ask(&["alice", "bob", "carol", "dave"])).await;
    let listed = client.list_meetings(pb::ListMeetingsRequest::default()).await.unwrap().into_inner();
    for attendees in [&found.candidates[0].attendees, &meeting.attendees, &listed.meetings[0].attendees] {
        let zones: Vec<_> = attendees.iter().map(|a| a.time_zone.as_str()).collect();
        assert_eq!(zones, ["Europe/Berlin", "Europe/Berlin", "America/New_York", "Europe/Atlantis"]);
        let told: Vec<_> = attendees.iter().map(|a| a.detail.contains("scheduler")).collect();
        assert_eq!(told, [false, true, false, true]);
    }

    // The agent is rebuilt with the scheduler's data, and registers anew.
    host.edit("bob", |bob| bob.zone_data = said(ZoneData::of("Europe/Berlin", now()).unwrap()));
    let again = host.edit("bob", Person::register);
    host.say(vec![again]).await;
    host.until("bob is registered anew", |state| state.person("bob").registered.clone()).await;
    let request = pb::GetParticipantRequest { participant_id: "bob".into() };
    let bob = client.get_participant(request).await.unwrap().into_inner().participant.unwrap();
    assert_eq!((bob.time_zone_data(), bob.time_zone_detail.as_str()), (Data::Same, ""));
}

#[tokio::test]
async fn the_shipped_agent_has_the_data_of_its_scheduler() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let calendar = in_calendar("X-WR-TIMEZONE:Australia/Lord_Howe\r\n");
    let agent = Agent::start(folder.path(), &world.url(), &[("alice", calendar)]).await;
    let request = pb::GetParticipantRequest { participant_id: "alice".into() };
    let alice =
        world.client.clone().get_participant(request).await.unwrap().into_inner().participant.unwrap();
    assert_eq!((alice.time_zone.as_str(), alice.time_zone_data()), ("Australia/Lord_Howe", Data::Same));
    agent.stop().await;
}

#[tokio::test]
async fn working_hours_that_the_clocks_skip_are_told_in_the_answer() {
    let world = World::start().await;
    let _host = world.host(vec![person("alice", "Europe/Berlin", None)]).await;
    let night = |window: &mut pb::Window| {
        window.time_zone = "Europe/Berlin".into();
        let midnight = "2026-03-29T00:00:00+01:00".parse::<Instant>().unwrap().timestamp();
        (window.earliest, window.latest) = (Some(instant(midnight)), Some(instant(midnight + 86_400)));
        window.working_hours = Some(pb::WorkingHours {
            days: vec![pb::DayOfWeek::Sunday as i32],
            start: Some(pb::TimeOfDay { hours: 2, minutes: 30 }),
            end: Some(pb::TimeOfDay { hours: 10, minutes: 0 }),
            ..Default::default()
        });
    };
    let spec = ask(&["alice"]).window(night).0.spec;
    let find = pb::FindMeetingTimesRequest { spec, ..Default::default() };
    let found = world.client.clone().find_meeting_times(find).await.unwrap().into_inner();
    let meeting = world.schedule(ask(&["alice"]).window(night)).await;
    for shifts in [&found.clock_shifts, &meeting.clock_shifts] {
        assert_eq!(shifts.len(), 1);
        assert_eq!(
            (shifts[0].local_time.as_str(), shifts[0].time_zone.as_str()),
            ("2026-03-29T02:30:00", "Europe/Berlin")
        );
        let taken = "2026-03-29T03:00:00+02:00".parse::<Instant>().unwrap().timestamp();
        assert_eq!(shifts[0].taken_as.as_ref().map(|at| at.seconds), Some(taken));
        assert!(shifts[0].message.starts_with("working hours start at 03:00"), "{}", shifts[0].message);
    }
}

#[tokio::test]
async fn each_attendees_own_hours_count_where_they_live() {
    use quorate::agent::{Folder, ParticipantConfig};
    use quorate::core::model::WorkingHours;
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    // Nine to five, each at home.
    let person = |name: &str, zone: &str| {
        let calendar = folder.path().join(format!("{name}.ics"));
        std::fs::write(&calendar, in_calendar("")).unwrap();
        let config = Folder::from(folder.path().to_owned()).participant(&calendar).unwrap();
        let hours = WorkingHours::Weekly {
            days: [true, true, true, true, true, false, false],
            start_minute: 9 * 60,
            end_minute: 17 * 60,
            time_zone: None,
        };
        ParticipantConfig { zone: Some(zone.into()), working_hours: Some(vec![hours]), ..config }
    };
    let agent = Agent::start_with(quorate::agent::AgentConfig {
        scheduler: world.url(),
        participants: vec![person("alice", "Europe/Berlin"), person("bob", "America/New_York")],
        folder: None,
        data_dir: folder.path().join("journal"),
    })
    .await;
    let starts = async |day: &str, respect: bool| {
        let midnight = format!("{day}T00:00:00Z").parse::<Instant>().unwrap().timestamp();
        let window = |window: &mut pb::Window| {
            (window.earliest, window.latest) = (Some(instant(midnight)), Some(instant(midnight + 86_400)));
            window.working_hours = Some(pb::WorkingHours { unrestricted: true, ..Default::default() });
            window.respect_attendee_hours = respect;
        };
        let find = pb::FindMeetingTimesRequest {
            spec: ask(&["alice", "bob"]).window(window).0.spec,
            max_candidates: 1_000,
            ..Default::default()
        };
        let found = world.client.clone().find_meeting_times(find).await.unwrap().into_inner();
        let hour = |candidate: &pb::Candidate| {
            (in_seconds(candidate.slot.as_ref().unwrap()).0 - midnight).div_euclid(3_600)
        };
        found.candidates.iter().map(hour).collect::<Vec<_>>()
    };
    // Both in winter time, six hours apart; for two weeks five, as America changes its clocks first; then six again.
    assert_eq!(starts("2027-03-08", true).await, [14, 15]);
    assert_eq!(starts("2027-03-15", true).await, [13, 14, 15]);
    assert_eq!(starts("2027-03-29", true).await, [13, 14]);
    assert_eq!(starts("2027-03-28", true).await, [0_i64; 0], "a Sunday");
    assert_eq!(starts("2027-03-29", false).await.len(), 24);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_week_is_drawn_of_what_is_booked_and_of_calendars_at_hand() {
    let world = World::start().await;
    let _host =
        world.host(vec![person("alice", "Europe/Berlin", None), person("bob", "Asia/Kolkata", None)]).await;
    // Monday at eight in UTC.
    let meeting = world.book(ask(&["alice", "bob"]).title("Review")).await;
    let (start, end) = in_seconds(meeting.slot.as_ref().unwrap());
    let date = jiff::Timestamp::from_second(start).unwrap().to_zoned(jiff::tz::TimeZone::UTC).date();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("alice.ics"), calendar(&[(10, 11)])).unwrap();
    let week = async |options: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.arg("week").args(options).args(["--scheduler", &world.url()]);
        let output = within("a week", command.kill_on_drop(true).output()).await.unwrap();
        let (out, error) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
        (output.status.code(), out.unwrap(), error.unwrap())
    };
    let (date, id) = (date.to_string(), meeting.meeting_id.as_str());
    let (code, text, error) = week(&["--meeting", id, "--zone", "Asia/Kolkata"]).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(text.contains("of alice, bob") && text.contains("times in Asia/Kolkata"), "{text}");
    assert!(text.contains("│▌Review") && text.contains(" 13:30–14:30  Review  (confirmed)\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.ends_with("nobody's own events are shown by a scheduler.\n"), "{text}");
    let calendars = folder.path().display().to_string();
    let options = ["--participant", "alice", "--week", &date, "--calendars", &calendars, "--json"];
    let (code, text, _) = week(&options).await;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["meetings"][0]["meetingId"]), (Some(0), &serde_json::json!(id)));
    assert_eq!(json["meetings"][0]["attendees"][1]["timeZone"], "Asia/Kolkata");
    let (from, until) = (start + 2 * 3_600, end + 2 * 3_600);
    let at = |second| jiff::Timestamp::from_second(second).unwrap().to_string();
    let busy = serde_json::json!([{ "startTime": at(from), "endTime": at(until) }]);
    assert_eq!(json["ownTime"], serde_json::json!([{ "participantId": "alice", "busy": busy }]));
    for (options, expected) in [
        (&["--participant", "nobody"][..], 4),
        (&["--meeting", "00000000-0000-4000-8000-000000000000"], 4),
        (&["--participant", "alice", "--week", "2026-W99"], 2),
        (&["--participant", "alice", "--meeting", id], 2),
    ] {
        let (code, text, error) = week(options).await;
        assert_eq!((code, text.as_str()), (Some(expected), ""), "{options:?}: {error}");
    }
}
