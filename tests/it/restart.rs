//! A scheduler that ends in order and comes back on the same folder.

use super::support::*;
use pb::meeting::State;
use quorate::app::serve::{Scheduler, Settings, Storage};

fn person(name: &str, from: i64, until: i64) -> Person {
    Person::new(name).free(from, until)
}

#[tokio::test]
async fn bookings_are_there_and_undelivered_confirms_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start_in(folder.path()).await;
    let silent = person("alice", 8, 17).with(|p| p.acks = Mode::Silent);
    let mut host = world.host(vec![silent, person("bob", 8, 17)]).await;
    let meeting = world.book(ask(&["alice", "bob"])).await;
    let cancelled = world.book(ask(&["alice"])).await;
    let cancelled = world.cancel(&cancelled.meeting_id, "").await.unwrap();
    world.scheduler.stop().await.unwrap();
    let status = host.ended().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(host.look(|s| s.heard.iter().any(|m| matches!(m, pb::scheduler_message::Message::Drain(_)))));
    // Alice's agent was killed before anything of it came to its disk: it holds, and knows no more.
    host.edit("alice", |p| {
        for (key, booking) in std::mem::take(&mut p.booked) {
            p.hold_again(key, &booking);
        }
        p.acks = Mode::Do;
    });
    // At once, on the same folder: the store was closed.
    let world = World::start_in(folder.path()).await;
    let read = world.get(&meeting).await;
    assert_eq!((read.state(), slot_of(&read)), (State::Confirmed, (8, 9)));
    assert_eq!(world.get(&cancelled).await.state(), State::Cancelled);
    assert_eq!(world.list(pb::ListMeetingsRequest::default()).await.meetings.len(), 2);
    let mut events = world.watch(Some(0)).await;
    host.connect(&world.url()).await;
    host.until_booked("alice", &[(8, 9)]).await;
    host.until_booked("bob", &[(8, 9)]).await;
    host.until("nothing is held", |s| s.people.values().all(|p| p.held.is_empty()).then_some(())).await;
    loop {
        let event = events.until(pb::meeting_event::Type::Delivered).await;
        if event.meeting.unwrap().meeting_id == meeting.meeting_id {
            break;
        }
    }
    assert_eq!(slot_of(&world.book(ask(&["alice", "bob"])).await), (9, 10));
    host.check();
}

#[tokio::test]
async fn a_meeting_that_was_being_sought_is_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start_in(folder.path()).await;
    let mut host =
        world.host(vec![person("alice", 8, 17), person("bob", 8, 17).with(|p| p.votes = Mode::Keep)]).await;
    let request_id = uuid::Uuid::new_v4().to_string();
    let ask = ask(&["alice", "bob"]).request_id(&request_id);
    let waiting = world.spawn_schedule(ask.clone());
    host.until_kept("bob").await;
    host.until("alice holds", |s| (!s.person("alice").held.is_empty()).then_some(())).await;
    world.scheduler.stop().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), tonic::Code::Unavailable);
    host.edit("bob", |p| {
        p.kept.clear();
        p.votes = Mode::Do;
    });
    let world = World::start_in(folder.path()).await;
    host.connect(&world.url()).await;
    // Asking again attaches to the meeting that is being taken up, or finds what became of it.
    let meeting = world.book(ask).await;
    assert_eq!((slot_of(&meeting), attending(&meeting)), ((8, 9), vec!["alice", "bob"]));
    assert_eq!(world.list(pb::ListMeetingsRequest::default()).await.meetings.len(), 1);
    host.until_booked("alice", &[(8, 9)]).await;
    host.until_booked("bob", &[(8, 9)]).await;
    host.until("no hold is left over", |s| s.people.values().all(|p| p.held.is_empty()).then_some(())).await;
    host.check();
}

#[tokio::test]
async fn calls_and_watches_end_with_unavailable() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17).with(|p| p.answers = Mode::Keep)]).await;
    let mut events = world.watch(None).await;
    let watched = world.client.clone().watch_participants(pb::WatchParticipantsRequest {}).await.unwrap();
    let mut people = watched.into_inner();
    let waiting = world.spawn_schedule(ask(&["alice"]));
    host.until_kept("alice").await;
    within("an orderly end", world.scheduler.stop()).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), tonic::Code::Unavailable);
    let end = loop {
        if let Err(status) = events.next().await {
            break status;
        }
    };
    assert_eq!(end.code(), tonic::Code::Unavailable);
    let end = loop {
        if let Err(status) = people.message().await {
            break status;
        }
    };
    assert_eq!(end.code(), tonic::Code::Unavailable);
    assert_eq!(host.ended().await.unwrap_err().code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn two_schedulers_never_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start_in(folder.path()).await;
    let listen = "127.0.0.1:0".parse().unwrap();
    let second = Scheduler::start(Settings::new(listen, Storage::Dir(folder.path().to_owned()))).await;
    let words = second.expect_err("refused").to_string();
    assert!(words.contains("another scheduler runs on"), "{words}");
    world.scheduler.stop().await.unwrap();
    for _ in 0..5 {
        let world = World::start_in(folder.path()).await;
        world.scheduler.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_shipped_agent_comes_back_by_itself() {
    let (folder, calendars) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = World::start_in(folder.path()).await;
    let address = world.scheduler.address();
    let agent = Agent::start(calendars.path(), &world.url(), &[("alice", free_only(8, 17))]).await;
    world.book(ask(&["alice"])).await;
    world.scheduler.stop().await.unwrap();
    let scheduler =
        Scheduler::start(Settings::new(address, Storage::Dir(folder.path().to_owned()))).await.unwrap();
    let client = client_of(&scheduler.url()).await;
    let world = World { scheduler, client };
    world.until_connected("alice", true).await;
    let mut events = world.watch(Some(0)).await;
    events.until(pb::meeting_event::Type::Delivered).await;
    assert_eq!(agent.booked("alice").await, [(8, 9)]);
    assert_eq!(slot_of(&world.book(ask(&["alice"])).await), (9, 10));
    // The agent too may restart: its journal has what it promised.
    let config = agent.stop().await;
    world.until_connected("alice", false).await;
    let agent = Agent::start_with(config).await;
    assert_eq!(agent.booked("alice").await, [(8, 9), (9, 10)]);
    assert_eq!(agent.written("alice").await, [(8, 9), (9, 10)]);
    assert_eq!(slot_of(&world.book(ask(&["alice"])).await), (10, 11));
}
