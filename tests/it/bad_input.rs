//! Bad requests over the wire: every violation at once, and nobody else is disturbed.

use super::support::*;
use tonic_types::StatusExt;

/// The fields that a status names, in order, with what every error carries checked.
fn fields(status: &tonic::Status) -> Vec<String> {
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
    let details = status.get_error_details();
    let info = details.error_info().expect("ErrorInfo");
    assert_eq!((info.domain.as_str(), info.reason.as_str()), ("quorate", "INVALID_REQUEST"));
    let violations = details.bad_request().expect("BadRequest");
    let mut fields: Vec<_> = violations.field_violations.iter().map(|v| v.field.clone()).collect();
    assert!(violations.field_violations.iter().all(|v| !v.description.is_empty()));
    fields.sort_unstable();
    fields
}

async fn refused(world: &World, ask: Ask) -> Vec<String> {
    fields(&world.try_schedule(ask).await.expect_err("a bad request"))
}

#[tokio::test]
async fn all_violations_at_once() {
    let world = World::start().await;
    let host = world.host(vec![Person::new("alice").free(8, 17)]).await;
    let ask = Ask(pb::ScheduleMeetingRequest {
        request_id: "not a uuid".into(),
        spec: Some(pb::MeetingSpec {
            title: "t".repeat(501),
            organizer: "o".repeat(129),
            attendees: vec![
                attendee("alice", 0.try_into().unwrap()),
                attendee("alice", 0.try_into().unwrap()),
                attendee("", 0.try_into().unwrap()),
                pb::Attendee { participant_id: "bob".into(), role: 77 },
            ],
            duration: Some(prost_types::Duration { seconds: -60, nanos: 0 }),
            minimum_participants: -1,
            priority: 101,
            window: Some(pb::Window {
                earliest: Some(instant(MONDAY)),
                latest: Some(instant(MONDAY - 1)),
                time_zone: "Europe/Atlantis".into(),
                step: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
                working_hours: Some(pb::WorkingHours { days: vec![99], ..Default::default() }),
                exclude: vec![hours(10, 9)],
                ..Default::default()
            }),
            objective: 9,
            buffer_before: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
            buffer_after: Some(prost_types::Duration { seconds: 90_000_000, nanos: 0 }),
            ..Default::default()
        }),
        response_timeout: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
        connect_timeout: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        max_attempts: -1,
        max_candidates_per_round: -1,
        ..Default::default()
    });
    let found = refused(&world, ask).await;
    for field in [
        "request_id",
        "spec.title",
        "spec.organizer",
        "spec.attendees[1].participant_id",
        "spec.attendees[2].participant_id",
        "spec.attendees[3].role",
        "spec.duration",
        "spec.minimum_participants",
        "spec.priority",
        "spec.window.latest",
        "spec.window.time_zone",
        "spec.window.step",
        "spec.window.working_hours.days[0]",
        "spec.objective",
        "spec.buffer_before",
        "spec.buffer_after",
        "response_timeout",
        "connect_timeout",
        "max_attempts",
        "max_candidates_per_round",
    ] {
        assert!(found.iter().any(|f| f == field), "{field} is not among {found:?}");
    }
    assert!(found.iter().any(|f| f.starts_with("spec.window.exclude[0]")), "{found:?}");
    // Nobody was disturbed, and nothing is left of it.
    host.barrier("alice").await;
    assert!(host.look(|s| s.queries().is_empty()));
    world.book(super::support::ask(&["alice"])).await;
}

#[tokio::test]
async fn windows_durations_and_slots() {
    let world = World::start().await;
    let ten_years = ask(&["alice"]).window(|w| w.latest = Some(instant(MONDAY + 10 * 366 * 86_400)));
    assert_eq!(refused(&world, ten_years).await, ["spec.window.latest"]);
    let huge =
        ask(&["alice"]).spec(|s| s.duration = Some(prost_types::Duration { seconds: i64::MAX, nanos: 0 }));
    assert_eq!(refused(&world, huge).await, ["spec.duration"]);
    let missing = ask(&["alice"]).spec(|s| s.duration = None);
    assert_eq!(refused(&world, missing).await, ["spec.duration"]);
    let mixed =
        ask(&["alice"]).spec(|s| s.duration = Some(prost_types::Duration { seconds: 3_600, nanos: -1 }));
    assert_eq!(refused(&world, mixed).await, ["spec.duration"]);
    let other_length = ask(&["alice"]).at(8, 10);
    assert!(!refused(&world, other_length).await.is_empty());
    let reversed = ask(&["alice"]).at(10, 9);
    assert!(refused(&world, reversed).await.iter().all(|f| f.starts_with("slot")));
    let nothing = Ask(pb::ScheduleMeetingRequest::default());
    assert_eq!(refused(&world, nothing).await, ["spec"]);
    let minimum = ask(&["alice"]).minimum(2);
    assert_eq!(refused(&world, minimum).await, ["spec.minimum_participants"]);
    let slots = ask(&["alice"]).window(|w| {
        w.latest = Some(instant(MONDAY + 366 * 86_400));
        w.step = Some(minutes(1));
        w.working_hours = Some(pb::WorkingHours { unrestricted: true, ..Default::default() });
    });
    assert_eq!(refused(&world, slots).await, ["spec.window"]);
}

#[tokio::test]
async fn ten_thousand_attendees() {
    let world = World::start().await;
    let host = world.host(vec![Person::new("alice").free(8, 17)]).await;
    let names: Vec<String> = (0..10_000).map(|n| format!("p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(refused(&world, ask(&names)).await, ["spec.attendees"]);
    // As many as are allowed: an answer, and one that an ordinary client can read.
    let mut client =
        pb::scheduler_service_client::SchedulerServiceClient::connect(world.url()).await.unwrap();
    let request = ask(&names[..5_000]).minimum(1).one_by_one().0;
    let answer = within("a decision", client.schedule_meeting(request)).await.unwrap().into_inner();
    let meeting = answer.meeting.unwrap();
    assert_eq!(failure(&meeting).reason(), pb::failure::Reason::QuorumUnreachable);
    let request = pb::GetMeetingRequest { meeting_id: meeting.meeting_id.clone() };
    assert_eq!(client.get_meeting(request).await.unwrap().into_inner().meeting.unwrap(), meeting);
    host.check();
}

#[tokio::test]
async fn the_log_of_many_attempts_with_many_attendees_fits_in_an_answer() {
    let world = World::start().await;
    let host = world.host(vec![Person::new("p0")]).await;
    let names: Vec<String> = (0..5_000).map(|n| format!("p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ask = ask(&names).minimum(1).one_by_one().attempts(100).between(0, 24 * 30);
    let mut client =
        pb::scheduler_service_client::SchedulerServiceClient::connect(world.url()).await.unwrap();
    let answer = within("a decision", client.schedule_meeting(ask.0)).await.unwrap().into_inner();
    let meeting = answer.meeting.unwrap();
    assert_eq!((failure(&meeting).reason(), meeting.attempts), (pb::failure::Reason::MaxAttempts, 100));
    let list = client.list_meetings(pb::ListMeetingsRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.meetings.len(), 1);
    host.check();
}

#[tokio::test]
async fn ten_thousand_bad_attendees_fit_in_a_status() {
    let world = World::start().await;
    let ask =
        ask(&[]).spec(|s| s.attendees = vec![attendee("no spaces here", pb::attendee::Role::Invited); 5_000]);
    let found = refused(&world, ask).await;
    assert!(found.len() > 10, "{found:?}");
}

#[tokio::test]
async fn an_oversized_message() {
    let world = World::start().await;
    let _host = world.host(vec![Person::new("alice").free(8, 17)]).await;
    let big = ask(&["alice"]).title(&"x".repeat(5 << 20));
    let status = world.try_schedule(big).await.unwrap_err();
    assert!(matches!(status.code(), tonic::Code::OutOfRange | tonic::Code::ResourceExhausted), "{status}");
    world.book(ask(&["alice"])).await;
}

#[tokio::test]
async fn ids_tokens_and_masks_of_the_other_calls() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let bad = "not-an-id".to_owned();
    let get = client.get_meeting(pb::GetMeetingRequest { meeting_id: bad.clone() }).await.unwrap_err();
    assert_eq!(fields(&get), ["meeting_id"]);
    assert_eq!(fields(&world.cancel(&bad, "").await.unwrap_err()), ["meeting_id"]);
    let request = pb::RescheduleMeetingRequest {
        meeting_id: String::new(),
        slot: Some(hours(9, 8)),
        duration: Some(minutes(0)),
        max_attempts: 1_001,
        ..Default::default()
    };
    let found = fields(&world.reschedule(request).await.unwrap_err());
    for field in ["meeting_id", "duration", "max_attempts"] {
        assert!(found.iter().any(|f| f == field), "{field} is not among {found:?}");
    }
    let meeting_id = uuid::Uuid::new_v4().to_string();
    let both = pb::RescheduleMeetingRequest {
        meeting_id: meeting_id.clone(),
        slot: Some(hours(8, 9)),
        window: Some(pb::Window::default()),
        ..Default::default()
    };
    assert_eq!(world.reschedule(both).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let update = pb::UpdateMeetingRequest {
        meeting_id,
        spec: Some(pb::MeetingSpec::default()),
        update_mask: Some(prost_types::FieldMask { paths: vec!["duration".into()] }),
        ..Default::default()
    };
    assert!(fields(&world.update(update).await.unwrap_err()).iter().all(|f| f.starts_with("update_mask")));
    let list = pb::ListMeetingsRequest {
        range: Some(hours(9, 8)),
        participant_id: "a b".into(),
        states: vec![77],
        page_size: -1,
        page_token: "garbage".into(),
    };
    let found = fields(&client.list_meetings(list).await.unwrap_err());
    for field in ["participant_id", "states[0]", "page_size"] {
        assert!(found.iter().any(|f| f == field), "{field} is not among {found:?}");
    }
    let list =
        pb::ListParticipantsRequest { page_size: -1, page_token: "garbage".into(), ..Default::default() };
    assert_eq!(fields(&client.list_participants(list).await.unwrap_err()), ["page_size", "page_token"]);
    let find = pb::FindMeetingTimesRequest { max_candidates: -1, ..Default::default() };
    assert_eq!(fields(&client.find_meeting_times(find).await.unwrap_err()), ["max_candidates", "spec"]);
    let watch = pb::WatchMeetingsRequest { meeting_id: bad, ..Default::default() };
    assert_eq!(fields(&client.watch_meetings(watch).await.unwrap_err()), ["meeting_id"]);
}

#[tokio::test]
async fn an_organizer_whose_registered_zone_is_unknown_here() {
    let world = World::start().await;
    let mut host = Host::new(vec![Person::new("alice").free(8, 17).with(|p| p.zone = "Mars/Olympus".into())]);
    let register = host.edit("alice", Person::register);
    host.open(&world.url(), vec![register]).await;
    let error = host.until("a frame error", |s| s.errors().first().map(|e| (*e).clone())).await;
    assert_eq!((error.reason(), error.member.as_str()), (pb::frame_error::Reason::Invalid, "register"));
    assert!(error.message.contains("time_zone"), "{}", error.message);
}
