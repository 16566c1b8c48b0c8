//! Agents and organizers that mean harm: what they can harm is their own.

use super::support::*;
use pb::agent_message::Message as Says;
use pb::attendee_outcome::Status;
use pb::meeting::State;
use quorate::grpc::CallerLimits;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic_types::StatusExt;

fn person(name: &str, from: i64, until: i64) -> Person {
    Person::new(name).free(from, until)
}

/// Asks about so many attempts that never were.
fn resolves(id: &str, count: usize) -> pb::JoinRequest {
    let resolve = |_| {
        let meeting_id = uuid::Uuid::new_v4().to_string();
        says(Says::Resolve(pb::Resolve { participant_id: id.into(), meeting_id, attempt: 1 }))
    };
    pb::JoinRequest { messages: (0..count).map(resolve).collect() }
}

/// Books one hour after the other with alice and bob, while somebody does harm.
async fn others_book(world: &World, host: &Host) {
    for hour in 8..13 {
        let meeting = world.book(ask(&["alice", "bob"])).await;
        assert_eq!(slot_of(&meeting), (hour, hour + 1));
    }
    host.until_booked("alice", &[(8, 9), (9, 10), (10, 11), (11, 12), (12, 13)]).await;
    host.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_one_stream_slows_that_stream_down() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17), person("bob", 8, 17)]).await;
    let mallory = world.host(vec![person("mallory", 8, 17)]).await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let flood = tokio::spawn(async move {
        let mut frames = 0_u64;
        while stopped.try_recv().is_err() {
            mallory.say(resolves("mallory", 2_000).messages).await;
            frames += 1;
        }
        frames
    });
    others_book(&world, &host).await;
    stop.send(()).unwrap();
    assert!(flood.await.unwrap() > 0, "it went on all the time");
}

/// A journal full of bookings that nobody else knows of.
fn boasts(id: &str, count: usize) -> pb::AgentMessage {
    let made_up = |_| pb::Promise {
        meeting_id: uuid::Uuid::new_v4().to_string(),
        attempt: 1,
        blocked: Some(hours(8, 9)),
        ..Default::default()
    };
    let Some(Says::Register(mut register)) = Person::new(id).register().message else {
        panic!("a registration")
    };
    register.booked = (0..count).map(made_up).collect();
    register.withdrawn = (0..count)
        .map(|_| pb::Withdrawal {
            meeting_id: uuid::Uuid::new_v4().to_string(),
            attempt: 1,
            reason: String::new(),
        })
        .collect();
    says(Says::Register(register))
}

/// What a registration costs is what it reports: whoever registers with thousands of promises, over and over, waits for
/// its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_registrations_slows_its_own_streams_down() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17), person("bob", 8, 17)]).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let mut floods = tokio::task::JoinSet::new();
    for n in 0..4 {
        let (id, stop, url) = (format!("mallory-{n}"), stop.clone(), world.url());
        floods.spawn(async move {
            let frame = pb::JoinRequest { messages: vec![boasts(&id, 3_500)] };
            let (out, frames) = mpsc::channel(1);
            out.send(frame.clone()).await.unwrap();
            let mut client =
                pb::participant_service_client::ParticipantServiceClient::connect(url).await.unwrap();
            let mut heard = client.join(ReceiverStream::new(frames)).await.unwrap().into_inner();
            let hears = tokio::spawn(async move { while let Ok(Some(_)) = heard.message().await {} });
            let mut count = 1_u64;
            while !stop.is_cancelled() {
                out.send(frame.clone()).await.expect("the stream lives on");
                count += 1;
            }
            hears.abort();
            count
        });
    }
    others_book(&world, &host).await;
    stop.cancel();
    let sent: u64 = floods.join_all().await.into_iter().sum();
    let alarms = world.counters().await.alarms;
    assert!((1..=sent).contains(&alarms), "one for each registration at most: {alarms} of {sent}");
}

/// Nothing that it is sent is read: what waits for it is bounded, and then its stream ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_never_read_ends_and_delays_nobody() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17), person("bob", 8, 17)]).await;
    let (out, frames) = mpsc::channel(1);
    out.send(pb::JoinRequest { messages: vec![Person::new("mallory").register()] }).await.unwrap();
    let mut client =
        pb::participant_service_client::ParticipantServiceClient::connect(world.url()).await.unwrap();
    let unread = client.join(ReceiverStream::new(frames)).await.unwrap();
    world.until_connected("mallory", true).await;
    let flood = tokio::spawn(async move { while out.send(resolves("mallory", 2_000)).await.is_ok() {} });
    others_book(&world, &host).await;
    world.until_connected("mallory", false).await;
    flood.abort();
    drop(unread);
    // It heals by registering anew.
    let mallory = world.host(vec![person("mallory", 13, 14)]).await;
    world.book(ask(&["mallory", "alice"])).await;
    mallory.until_booked("mallory", &[(13, 14)]).await;
}

#[tokio::test]
async fn whoever_never_acknowledges_holds_nobody_up() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17), person("bob", 8, 17)]).await;
    let mallory = world.host(vec![person("mallory", 8, 17).with(|p| p.acks = Mode::Silent)]).await;
    let first = world.book(ask(&["alice", "mallory"])).await;
    assert_eq!(attending(&first), ["alice", "mallory"]);
    let second = world.book(ask(&["alice", "bob"])).await;
    host.until_booked("bob", &[(9, 10)]).await;
    assert_eq!(slot_of(&second), (9, 10));
    let delivered = |m: &pb::Meeting, id: &str| {
        m.attendees.iter().any(|a| a.participant_id == id && a.confirmation_delivered)
    };
    host.barrier("alice").await;
    let first = world.get(&first).await;
    assert!(delivered(&first, "alice") && !delivered(&first, "mallory"));
    mallory.check();
}

#[tokio::test]
async fn whoever_promises_nothing_and_refuses_nothing_costs_only_the_meetings_that_need_them() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17), person("bob", 8, 17)]).await;
    let _mallory = world.host(vec![person("mallory", 8, 17).with(|p| p.votes = Mode::Silent)]).await;
    let needs = ask(&["alice", "mallory"]).required("mallory").at(8, 9);
    let stuck = world.spawn_schedule(needs);
    host.until("the hold", |s| (!s.holds_of("alice").is_empty()).then_some(())).await;
    let without = world.book(ask(&["alice", "bob", "mallory"]).minimum(2).between(9, 10)).await;
    assert_eq!(
        (attending(&without), with_status(&without, Status::NoAnswer)),
        (vec!["alice", "bob"], vec!["mallory"])
    );
    let failed = within("the end of it", stuck).await.unwrap().unwrap();
    assert_eq!(failed.state(), State::Failed);
    host.until("alice is free again", |s| s.person("alice").held.is_empty().then_some(())).await;
    host.check();
}

#[tokio::test]
async fn a_vote_for_somebody_else_counts_for_nobody() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 9).with(|p| p.votes = Mode::Silent)]).await;
    let mallory = world.host(vec![person("mallory", 8, 17)]).await;
    let meeting = world.spawn_schedule(ask(&["alice"]).required("alice").at(8, 9));
    let hold = host.until("the hold", |s| s.holds_of("alice").first().map(|h| (*h).clone())).await;
    let vote = pb::HoldAnswer {
        participant_id: "alice".into(),
        meeting_id: hold.meeting_id,
        attempt: hold.attempt,
        answer: Some(pb::hold_answer::Answer::Granted(pb::Granted {})),
        journal_sequence: 1,
    };
    mallory.say(vec![says(Says::HoldAnswer(vote))]).await;
    let error = mallory.until("the error", |s| s.errors().first().map(|e| (*e).clone())).await;
    assert_eq!(error.reason(), pb::frame_error::Reason::NotRegistered);
    assert_eq!(within("the end of it", meeting).await.unwrap().unwrap().state(), State::Failed);
}

#[tokio::test]
async fn one_caller_does_not_take_the_places_of_others() {
    let world = World::start_limited(CallerLimits { open: 3, ..CallerLimits::default() }).await;
    let _host = world.host(vec![person("alice", 8, 17)]).await;
    // Requests that wait for somebody who is not there.
    let waits = || ask(&["ghost"]).required("ghost").connect_timeout(UNHURRIED);
    let pending: Vec<_> = (0..3).map(|_| world.spawn_schedule(waits())).collect();
    world.until_in_flight(3).await;
    let refused = |status: &tonic::Status| {
        let details = status.get_error_details();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
        assert_eq!(details.error_info().unwrap().reason, "CALLER_LIMIT");
        assert!(details.retry_info().unwrap().retry_delay.is_some());
    };
    let mut third = world.client_from("127.0.0.3").await;
    let other = world.client_from("127.0.0.2").await;
    refused(&world.try_schedule(ask(&["alice"])).await.unwrap_err());
    // Hanging up ends none of them.
    pending[0].abort();
    refused(&world.try_schedule(ask(&["alice"])).await.unwrap_err());
    let booked = within("a decision", other.clone().schedule_meeting(ask(&["alice"]).0)).await.unwrap();
    assert_eq!(booked.into_inner().meeting.unwrap().state(), State::Confirmed);
    let list = within("a list", third.list_participants(pb::ListParticipantsRequest::default())).await;
    assert_eq!(list.unwrap().into_inner().participants.len(), 1);
    // Once they are decided there is room again.
    let _ghost = world.host(vec![Person::new("ghost")]).await;
    for task in pending.into_iter().skip(1) {
        assert_eq!(task.await.unwrap().unwrap().state(), State::Failed);
    }
    world.book(ask(&["alice"])).await;
}

#[tokio::test]
async fn nobody_asks_for_more_than_the_highest_priority() {
    let world = World::start_limited(CallerLimits { priority: 5, ..CallerLimits::default() }).await;
    let _host = world.host(vec![person("alice", 8, 17)]).await;
    let status = world.try_schedule(ask(&["alice"]).priority(6)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let details = status.get_error_details();
    let violation = &details.bad_request().unwrap().field_violations[0];
    assert_eq!(violation.field, "spec.priority");
    assert!(violation.description.contains("at most 5"), "{}", violation.description);
    world.book(ask(&["alice"]).priority(5)).await;
}

#[tokio::test]
async fn some_networks_may_ask_for_more() {
    let priorities = vec![("127.0.0.2/32".parse().unwrap(), 50), ("127.0.0.0/24".parse().unwrap(), 7)];
    let limits = CallerLimits { priority: 5, priorities, ..CallerLimits::default() };
    let world = World::start_limited(limits).await;
    let _host = world.host(vec![person("alice", 8, 17)]).await;
    let mut trusted = world.client_from("127.0.0.2").await;
    for (priority, refused) in [(8, true), (7, false)] {
        assert_eq!(world.try_schedule(ask(&["alice"]).priority(priority)).await.is_err(), refused);
    }
    let booked = within("a decision", trusted.schedule_meeting(ask(&["alice"]).priority(50).0)).await;
    assert_eq!(booked.unwrap().into_inner().meeting.unwrap().state(), State::Confirmed);
    let status = within("an answer", trusted.schedule_meeting(ask(&["alice"]).priority(51).0)).await;
    assert!(status.unwrap_err().message().contains("at most 50 from this caller"));
    // A dry run and a series are asked for like any other meeting.
    let find = pb::FindMeetingTimesRequest {
        spec: ask(&["alice"]).priority(8).0.spec,
        ..pb::FindMeetingTimesRequest::default()
    };
    assert!(world.client.clone().find_meeting_times(find).await.is_err());
}

/// Streams of whoever opens too many are refused, and others' are not.
#[tokio::test]
async fn one_caller_does_not_take_the_streams_of_others() {
    let world = World::start_limited(CallerLimits { streams: 2, ..CallerLimits::default() }).await;
    let first = world.host(vec![person("alice", 8, 17)]).await;
    let second = world.host(vec![person("bob", 8, 17)]).await;
    let register = |id: &str| pb::JoinRequest { messages: vec![Person::new(id).register()] };
    let frames = |id: &str| tokio_stream::iter([register(id)]).chain(tokio_stream::pending());
    let mut here = world.agents_from("127.0.0.1").await;
    let status = within("an answer", here.join(frames("carol"))).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "CALLER_LIMIT");
    assert!(status.message().contains("2 streams open"), "{status}");
    let mut there = world.agents_from("127.0.0.2").await;
    let _elsewhere = within("a stream", there.join(frames("dave"))).await.unwrap();
    world.until_connected("dave", true).await;
    // What ends makes room, once the scheduler is done with it.
    drop(second);
    world.until_connected("bob", false).await;
    let again = world.host(vec![person("bob", 8, 17)]).await;
    world.book(ask(&["alice", "bob"])).await;
    first.until_booked("alice", &[(8, 9)]).await;
    again.until_booked("bob", &[(8, 9)]).await;
}

/// However many streams they come over: who makes up names is told when there is no more room, and others come in.
#[tokio::test]
async fn one_caller_does_not_take_the_names_of_others() {
    let world = World::start_limited(CallerLimits { participants: 2, ..CallerLimits::default() }).await;
    let first = world.host(vec![person("alice", 8, 17), person("bob", 8, 17)]).await;
    let mut mallory = Host::new(vec![person("mallory", 8, 17)]);
    mallory.open(&world.url(), vec![person("mallory", 8, 17).register()]).await;
    let error = mallory.until("the error", |s| s.errors().first().map(|e| (*e).clone())).await;
    assert_eq!(error.reason(), pb::frame_error::Reason::Limit);
    assert_eq!(error.participant_id, "mallory");
    assert!(error.message.contains("from this address"), "{}", error.message);
    let mut there = world.agents_from("127.0.0.2").await;
    let frames = tokio_stream::iter([pb::JoinRequest { messages: vec![Person::new("carol").register()] }]);
    let _carol = within("a stream", there.join(frames.chain(tokio_stream::pending()))).await.unwrap();
    world.until_connected("carol", true).await;
    first.say(vec![says(Says::Unregister(pb::Unregister { participant_id: "bob".into() }))]).await;
    world.until_connected("bob", false).await;
    mallory.say(vec![person("mallory", 8, 17).register()]).await;
    world.until_connected("mallory", true).await;
}
