//! Get and list: meetings and participants.

use super::support::*;
use pb::meeting::State;

async fn three(world: &World) -> Vec<pb::Meeting> {
    let mut meetings = Vec::new();
    for ask in [ask(&["alice", "bob"]).at(12, 13), ask(&["alice"]).at(9, 10), ask(&["bob"]).at(15, 16)] {
        meetings.push(world.book(ask).await);
    }
    meetings
}

#[tokio::test]
async fn get_reads_what_was_decided() {
    let world = World::start().await;
    let host = world.host(vec![Person::new("alice").free(8, 17), Person::new("bob").free(8, 17)]).await;
    let mut events = world.watch(None).await;
    let meeting = world.book(ask(&["alice", "bob"]).title("Plan")).await;
    events.until(pb::meeting_event::Type::Delivered).await;
    let read = world.get(&meeting).await;
    assert!(read.attendees.iter().all(|a| a.confirmation_delivered), "{read:?}");
    assert_eq!((&read.spec, &read.slot, &read.etag), (&meeting.spec, &meeting.slot, &meeting.etag));
    assert_eq!((read.state(), read.create_time), (State::Confirmed, meeting.create_time));
    host.check();
}

#[tokio::test]
async fn unknown_ids_are_not_found() {
    let world = World::start().await;
    let meeting_id = uuid::Uuid::new_v4().to_string();
    let mut client = world.client.clone();
    let get = client.get_meeting(pb::GetMeetingRequest { meeting_id: meeting_id.clone() }).await;
    let cancel = world.cancel(&meeting_id, "").await;
    let request = pb::RescheduleMeetingRequest { meeting_id: meeting_id.clone(), ..Default::default() };
    let moved = world.reschedule(request).await;
    let participant =
        client.get_participant(pb::GetParticipantRequest { participant_id: "nobody".into() }).await;
    for status in [get.unwrap_err(), cancel.unwrap_err(), moved.unwrap_err(), participant.unwrap_err()] {
        assert_eq!(status.code(), tonic::Code::NotFound);
    }
}

#[tokio::test]
async fn list_by_time_participant_and_state() {
    let world = World::start().await;
    let _host = world.host(vec![Person::new("alice").free(8, 17), Person::new("bob").free(8, 17)]).await;
    let meetings = three(&world).await;
    let failed = world.schedule(ask(&["alice"]).at(12, 13)).await;
    world.cancel(&meetings[2].meeting_id, "").await.unwrap();
    let ids = |list: pb::ListMeetingsResponse| -> Vec<String> {
        assert_eq!(list.next_page_token, "");
        list.meetings.into_iter().map(|m| m.meeting_id).collect()
    };
    let of = |indices: &[usize]| -> Vec<String> {
        indices.iter().map(|i| meetings[*i].meeting_id.clone()).collect()
    };
    let all = ids(world.list(pb::ListMeetingsRequest::default()).await);
    let mut expected = of(&[1, 0, 2]);
    expected.push(failed.meeting_id.clone());
    assert_eq!(all, expected, "by start; those without a slot last");
    let request = pb::ListMeetingsRequest { range: Some(hours(9, 13)), ..Default::default() };
    assert_eq!(ids(world.list(request).await), of(&[1, 0]));
    let request = pb::ListMeetingsRequest { range: Some(hours(10, 12)), ..Default::default() };
    assert_eq!(ids(world.list(request).await), of(&[]), "ranges are half-open");
    let request = pb::ListMeetingsRequest { participant_id: "bob".into(), ..Default::default() };
    assert_eq!(ids(world.list(request).await), of(&[0, 2]));
    let request = pb::ListMeetingsRequest { states: vec![State::Failed.into()], ..Default::default() };
    assert_eq!(ids(world.list(request).await), std::slice::from_ref(&failed.meeting_id));
    let request = pb::ListMeetingsRequest {
        states: vec![State::Confirmed.into(), State::Cancelled.into()],
        participant_id: "alice".into(),
        ..Default::default()
    };
    assert_eq!(ids(world.list(request).await), of(&[1, 0]));
}

#[tokio::test]
async fn list_page_by_page() {
    let world = World::start().await;
    let _host = world.host(vec![Person::new("alice").free(8, 17)]).await;
    for _ in 0..7 {
        world.book(ask(&["alice"])).await;
    }
    let mut request = pb::ListMeetingsRequest { page_size: 3, ..Default::default() };
    let mut starts = Vec::new();
    let mut pages = 0;
    loop {
        let page = world.list(request.clone()).await;
        starts.extend(page.meetings.iter().map(|m| slot_of(m).0));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!((starts, pages), ((8..15).collect(), 3));
    // A token belongs to its list.
    let page = world.list(pb::ListMeetingsRequest { page_size: 3, ..Default::default() }).await;
    let other = pb::ListMeetingsRequest {
        page_size: 3,
        page_token: page.next_page_token,
        participant_id: "alice".into(),
        ..Default::default()
    };
    let status = world.client.clone().list_meetings(other).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn participants_are_listed_and_never_their_calendars() {
    let world = World::start().await;
    let people: Vec<_> = ["alice", "bob", "carol"].iter().map(|n| Person::new(n).free(8, 17)).collect();
    let _host = world.host(people).await;
    let mut dave = world.host(vec![Person::new("dave").with(|p| p.zone = "Asia/Tokyo".into())]).await;
    dave.cut();
    world.until_connected("dave", false).await;
    let mut client = world.client.clone();
    let mut names = Vec::new();
    let mut request = pb::ListParticipantsRequest { page_size: 3, ..Default::default() };
    loop {
        let page = client.list_participants(request.clone()).await.unwrap().into_inner();
        names.extend(page.participants.into_iter().map(|p| (p.participant_id, p.connected)));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let expected = [("alice", true), ("bob", true), ("carol", true), ("dave", false)];
    assert_eq!(names, expected.map(|(name, connected)| (name.to_owned(), connected)));
    let request = pb::ListParticipantsRequest { connected_only: true, ..Default::default() };
    assert_eq!(client.list_participants(request).await.unwrap().into_inner().participants.len(), 3);
    let request = pb::GetParticipantRequest { participant_id: "dave".into() };
    let participant = client.get_participant(request).await.unwrap().into_inner().participant.unwrap();
    assert_eq!(
        (participant.time_zone.as_str(), participant.display_name.as_str()),
        ("Asia/Tokyo", "dave (scripted)")
    );
    assert_eq!(
        (participant.connected, participant.connected_since, participant.session_epoch),
        (false, None, 1)
    );
    assert!(participant.last_seen.is_some());
}
