//! `WatchMeetings` and `WatchParticipants`.

use super::support::*;
use pb::meeting_event::Type;

async fn world_with_two() -> (World, Host) {
    let world = World::start().await;
    let host = world.host(vec![Person::new("alice").free(8, 17), Person::new("bob").free(8, 17)]).await;
    (world, host)
}

#[tokio::test]
async fn events_of_a_meetings_life() {
    let (world, _host) = world_with_two().await;
    let mut events = world.watch(None).await;
    let meeting = world.book(ask(&["alice", "bob"])).await;
    let mut last = 0;
    for expected in [Type::Scheduling, Type::Confirmed, Type::Delivered] {
        let event = events.next().await.unwrap();
        assert_eq!(event.r#type(), expected);
        assert!(event.sequence > last, "sequences rise");
        last = event.sequence;
        assert_eq!(event.meeting.unwrap().meeting_id, meeting.meeting_id);
    }
    let request =
        pb::RescheduleMeetingRequest { meeting_id: meeting.meeting_id.clone(), ..Default::default() };
    world.reschedule(request).await.unwrap();
    let moved = events.until(Type::Rescheduled).await.meeting.unwrap();
    assert_eq!(slot_of(&moved), (9, 10));
    events.until(Type::Delivered).await;
    world.cancel(&meeting.meeting_id, "").await.unwrap();
    events.until(Type::Cancelled).await;
    world.schedule(ask(&["nobody"])).await;
    assert_eq!(events.next().await.unwrap().r#type(), Type::Failed);
}

#[tokio::test]
async fn what_was_missed_is_replayed() {
    let (world, _host) = world_with_two().await;
    let mut events = world.watch(None).await;
    let first = world.book(ask(&["alice"])).await;
    let mut seen = vec![events.next().await.unwrap()];
    let second = world.book(ask(&["bob"])).await;
    for _ in 0..5 {
        seen.push(events.next().await.unwrap());
    }
    drop(events);
    let third = world.book(ask(&["alice", "bob"])).await;
    let mut replayed = world.watch(Some(seen[0].sequence)).await;
    for event in &seen[1..] {
        assert_eq!(replayed.next().await.unwrap(), *event);
    }
    let of_third = replayed.until(Type::Confirmed).await;
    assert_eq!(of_third.meeting.unwrap().meeting_id, third.meeting_id);
    let mut all = world.watch(Some(0)).await;
    assert_eq!(all.next().await.unwrap(), seen[0]);
    assert_ne!(first.meeting_id, second.meeting_id);
    // A number that no event has yet is of another store: nobody waits in silence for it to come round.
    let ahead = pb::WatchMeetingsRequest { resume_after: Some(1 << 40), ..Default::default() };
    let refused = within("an answer", world.client.clone().watch_meetings(ahead)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused}");
    // And then what comes.
    world.cancel(&first.meeting_id, "").await.unwrap();
    replayed.until(Type::Cancelled).await;
    all.until(Type::Cancelled).await;
}

#[tokio::test]
async fn filters_by_meeting_and_participant() {
    let (world, _host) = world_with_two().await;
    let first = world.book(ask(&["alice"])).await;
    let of_bob = pb::WatchMeetingsRequest {
        participant_id: "bob".into(),
        resume_after: Some(0),
        ..Default::default()
    };
    let mut of_bob = world.watch_for(of_bob).await;
    let of_first = pb::WatchMeetingsRequest {
        meeting_id: first.meeting_id.clone(),
        resume_after: Some(0),
        ..Default::default()
    };
    let mut of_first = world.watch_for(of_first).await;
    let second = world.book(ask(&["bob"])).await;
    world.cancel(&first.meeting_id, "").await.unwrap();
    world.cancel(&second.meeting_id, "").await.unwrap();
    for (events, meeting) in [(&mut of_bob, &second), (&mut of_first, &first)] {
        loop {
            let event = events.next().await.unwrap();
            assert_eq!(event.meeting.as_ref().unwrap().meeting_id, meeting.meeting_id);
            if event.r#type() == Type::Cancelled {
                break;
            }
        }
    }
}

#[tokio::test]
async fn many_watchers_miss_nothing() {
    let (world, _host) = world_with_two().await;
    let mut watchers = Vec::new();
    for _ in 0..20 {
        watchers.push(world.watch(Some(0)).await);
    }
    let calls: Vec<_> = (0..9).map(|_| world.spawn_schedule(ask(&["alice"]))).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    for events in &mut watchers {
        let mut last = 0;
        for _ in 0..9 {
            let event = events.until(Type::Confirmed).await;
            assert!(event.sequence > last);
            last = event.sequence;
        }
    }
}

#[tokio::test]
async fn participants_come_and_go() {
    let (world, mut host) = world_with_two().await;
    let watched = world.client.clone().watch_participants(pb::WatchParticipantsRequest {}).await;
    let mut stream = watched.unwrap().into_inner();
    let mut next = async || {
        let next = within("a participant", stream.message()).await.unwrap().unwrap().participant.unwrap();
        (next.participant_id, next.connected, next.session_epoch)
    };
    assert_eq!(next().await, ("alice".into(), true, 1));
    assert_eq!(next().await, ("bob".into(), true, 1));
    let unregister = pb::Unregister { participant_id: "alice".into() };
    host.say(vec![says(pb::agent_message::Message::Unregister(unregister))]).await;
    assert_eq!(next().await, ("alice".into(), false, 1));
    host.cut();
    assert_eq!(next().await, ("bob".into(), false, 1));
    host.connect(&world.url()).await;
    let mut both = [next().await, next().await];
    both.sort();
    assert_eq!(both, [("alice".into(), true, 2), ("bob".into(), true, 2)]);
}
