//! The stream of an agent host: its beginning, its end, and everything that can be wrong on it.

use super::support::*;
use pb::agent_message::Message as Says;
use pb::attendee_outcome::Status;
use pb::frame_error::Reason;
use pb::meeting::State;
use tonic_types::StatusExt;

fn person(name: &str, from: i64, until: i64) -> Person {
    Person::new(name).free(from, until)
}

fn reason_of(status: &tonic::Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().expect("ErrorInfo");
    assert_eq!(info.domain, "quorate");
    info.reason.clone()
}

fn changed(id: &str) -> pb::AgentMessage {
    says(Says::CalendarChanged(pb::CalendarChanged { participant_id: id.into() }))
}

#[tokio::test]
async fn a_first_frame_without_register_ends_the_stream() {
    let world = World::start().await;
    for first in [vec![changed("alice")], vec![pb::AgentMessage::default()]] {
        let mut host = Host::new(Vec::new());
        host.open(&world.url(), first).await;
        let status = host.ended().await.unwrap_err();
        assert_eq!(
            (status.code(), reason_of(&status).as_str()),
            (tonic::Code::InvalidArgument, "REGISTER_MISSING")
        );
    }
}

/// Takes as long as the limit: ten seconds.
#[tokio::test]
async fn a_first_frame_that_never_comes_ends_the_stream() {
    let world = World::start().await;
    let mut host = Host::new(Vec::new());
    host.open(&world.url(), Vec::new()).await;
    let status = host.ended().await.unwrap_err();
    assert_eq!(
        (status.code(), reason_of(&status).as_str()),
        (tonic::Code::DeadlineExceeded, "REGISTER_TIMEOUT")
    );
}

#[tokio::test]
async fn an_oversized_frame_ends_its_stream_and_no_other() {
    let world = World::start().await;
    let big = world.host(vec![person("alice", 8, 17)]).await;
    let other = world.host(vec![person("bob", 8, 17)]).await;
    let register =
        pb::Register { participant_id: "x".into(), display_name: "x".repeat(2 << 20), ..Default::default() };
    big.say(vec![says(Says::Register(register))]).await;
    let status = big.ended().await.unwrap_err();
    assert!(matches!(status.code(), tonic::Code::OutOfRange | tonic::Code::ResourceExhausted), "{status}");
    world.until_connected("alice", false).await;
    world.book(ask(&["bob"])).await;
    other.check();
}

#[tokio::test]
async fn bad_messages_are_named_and_the_stream_lives_on() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17)]).await;
    let meeting_id = uuid::Uuid::new_v4().to_string();
    let reversed = hours(10, 9);
    let reversed =
        pb::FreeTime { start_time: reversed.start_time, end_time: reversed.end_time, ..Default::default() };
    let frame = vec![
        changed("alice"),
        pb::AgentMessage::default(),
        says(Says::HoldAnswer(pb::HoldAnswer {
            participant_id: "alice".into(),
            meeting_id: meeting_id.clone(),
            attempt: 1,
            ..Default::default()
        })),
        says(Says::Ack(pb::Ack {
            participant_id: "alice".into(),
            meeting_id,
            attempt: 1,
            ..Default::default()
        })),
        changed("bob"),
        says(Says::AvailabilityAnswer(pb::AvailabilityAnswer {
            query_id: "q".into(),
            participant_id: "alice".into(),
            free: vec![reversed],
            ..Default::default()
        })),
        changed("a b"),
        says(Says::Resolve(pb::Resolve {
            participant_id: "alice".into(),
            meeting_id: "m".into(),
            attempt: 0,
        })),
    ];
    host.say(frame).await;
    let mut errors = host
        .until("all frame errors", |s| {
            let errors: Vec<_> = s.errors().into_iter().cloned().collect();
            (errors.len() == 7).then_some(errors)
        })
        .await;
    errors.sort_by_key(|e| e.index);
    assert!(errors.iter().all(|e| !e.message.is_empty()));
    let short: Vec<_> =
        errors.iter().map(|e| (e.index, e.reason(), e.member.as_str(), e.participant_id.as_str())).collect();
    assert_eq!(
        short,
        [
            (1, Reason::Empty, "", ""),
            (2, Reason::Invalid, "hold_answer", "alice"),
            (3, Reason::Invalid, "ack", "alice"),
            (4, Reason::NotRegistered, "calendar_changed", "bob"),
            (5, Reason::Invalid, "availability_answer", "alice"),
            (6, Reason::Invalid, "calendar_changed", "a b"),
            (7, Reason::Invalid, "resolve", "alice"),
        ]
    );
    world.book(ask(&["alice"])).await;
}

#[tokio::test]
async fn an_answer_to_a_query_never_asked() {
    let world = World::start().await;
    let host = world
        .host(vec![person("alice", 8, 17).with(|p| p.answers = Mode::WrongId), person("bob", 8, 17)])
        .await;
    let waiting = world.spawn_schedule(ask(&["alice", "bob"]).minimum(1));
    let error = host.until("a frame error", |s| s.errors().first().map(|e| (*e).clone())).await;
    assert_eq!((error.reason(), error.participant_id.as_str()), (Reason::UnknownQuery, "alice"));
    assert_eq!(error.member, "availability_answer");
    // It answered nothing: alice is waited for until she leaves.
    host.say(vec![says(Says::Unregister(pb::Unregister { participant_id: "alice".into() }))]).await;
    let meeting = waiting.await.unwrap().unwrap();
    assert_eq!((meeting.state(), attending(&meeting)), (State::Confirmed, vec!["bob"]));
    assert_eq!(with_status(&meeting, Status::Disconnected), ["alice"]);
}

#[tokio::test]
async fn an_answer_of_somebody_who_was_not_asked() {
    let world = World::start().await;
    let host =
        world.host(vec![person("alice", 8, 17).with(|p| p.answers = Mode::Keep), person("bob", 8, 17)]).await;
    let waiting = world.spawn_schedule(ask(&["alice"]));
    host.until_kept("alice").await;
    let answer = pb::AvailabilityAnswer {
        query_id: host.look(|s| s.queries()[0].query_id.clone()),
        participant_id: "bob".into(),
        ..Default::default()
    };
    host.say(vec![says(Says::AvailabilityAnswer(answer))]).await;
    let error = host.until("a frame error", |s| s.errors().first().map(|e| (*e).clone())).await;
    assert_eq!((error.reason(), error.participant_id.as_str()), (Reason::UnknownQuery, "bob"));
    host.let_go("alice").await;
    assert_eq!(waiting.await.unwrap().unwrap().state(), State::Confirmed);
}

#[tokio::test]
async fn a_vote_for_an_attempt_that_never_was() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17).with(|p| p.votes = Mode::WrongId)]).await;
    let waiting = world.spawn_schedule(ask(&["alice"]));
    // Whoever says that it holds something is told what became of it.
    let meeting_id = host
        .until("the attempt that never was is released", |s| {
            s.releases_of("alice").iter().find(|r| r.attempt > 1_000).map(|r| r.meeting_id.clone())
        })
        .await;
    assert_eq!(meeting_id, host.look(|s| s.holds_of("alice")[0].meeting_id.clone()));
    // Nobody voted: there is nothing to book.
    let cancelled = world.cancel(&meeting_id, "").await.unwrap();
    assert_eq!(cancelled.state(), State::Cancelled);
    assert_eq!(waiting.await.unwrap().unwrap().state(), State::Cancelled);
}

#[tokio::test]
async fn a_newer_stream_supersedes_one_participant_of_the_older() {
    let world = World::start().await;
    let older = world.host(vec![person("alice", 8, 17), person("bob", 8, 17)]).await;
    let newer = world.host(vec![person("alice", 10, 17)]).await;
    let superseded = |s: &HostState| {
        s.heard.iter().find_map(|m| match m {
            pb::scheduler_message::Message::Superseded(superseded) => Some(superseded.clone()),
            _ => None,
        })
    };
    let superseded = older.until("superseded", superseded).await;
    assert_eq!((superseded.participant_id.as_str(), superseded.session_epoch), ("alice", 2));
    assert_eq!(newer.look(|s| s.person("alice").registered.as_ref().unwrap().session_epoch), 2);
    older.say(vec![changed("alice")]).await;
    let error = older.until("a frame error", |s| s.errors().first().map(|e| (*e).clone())).await;
    assert_eq!((error.reason(), error.participant_id.as_str()), (Reason::NotRegistered, "alice"));
    let meeting = world.book(ask(&["alice", "bob"])).await;
    assert_eq!(slot_of(&meeting), (10, 11));
    newer.until_booked("alice", &[(10, 11)]).await;
    older.until_booked("bob", &[(10, 11)]).await;
    assert_eq!(older.look(|s| s.holds_of("alice").len()), 0);
}

#[tokio::test]
async fn unregistered_people_are_not_asked_any_more() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17), person("bob", 8, 17)]).await;
    host.say(vec![says(Says::Unregister(pb::Unregister { participant_id: "alice".into() }))]).await;
    world.until_connected("alice", false).await;
    let meeting = world.book(ask(&["alice", "bob"]).minimum(1)).await;
    assert_eq!(with_status(&meeting, Status::Disconnected), ["alice"]);
    assert_eq!(host.look(|s| s.queries()[0].participant_ids.clone()), ["bob"]);
}

#[tokio::test]
async fn a_stream_lost_between_yes_and_decision_gets_its_confirm_later() {
    let world = World::start().await;
    let slow = world.host(vec![person("alice", 8, 17).with(|p| p.votes = Mode::Keep)]).await;
    let mut host = world.host(vec![person("bob", 8, 17)]).await;
    let waiting = world.spawn_schedule(ask(&["alice", "bob"]));
    slow.until_kept("alice").await;
    host.until("bob has voted", |s| (!s.person("bob").held.is_empty()).then_some(())).await;
    host.barrier("bob").await;
    host.cut();
    world.until_connected("bob", false).await;
    slow.let_go("alice").await;
    let meeting = waiting.await.unwrap().unwrap();
    assert_eq!(attending(&meeting), ["alice", "bob"]);
    let delivered =
        |m: &pb::Meeting| m.attendees.iter().map(|a| a.confirmation_delivered).collect::<Vec<_>>();
    slow.until_booked("alice", &[(8, 9)]).await;
    let mut events = world.watch(Some(0)).await;
    host.connect(&world.url()).await;
    host.until_booked("bob", &[(8, 9)]).await;
    events.until(pb::meeting_event::Type::Delivered).await;
    assert_eq!(delivered(&world.get(&meeting).await), [true, true]);
    host.check();
}

#[tokio::test]
async fn an_agent_without_a_journal_gets_its_bookings_back() {
    let world = World::start().await;
    let mut host = world.host(vec![person("alice", AHEAD + 8, AHEAD + 17).with(|p| p.journal = None)]).await;
    let meeting = world.book(ask(&["alice"]).between(AHEAD + 8, AHEAD + 17)).await;
    host.until_booked("alice", &[(AHEAD + 8, AHEAD + 9)]).await;
    let mut lineage = host.look(|s| s.person("alice").registered.as_ref().unwrap().lineage);
    for _ in 0..2 {
        host.cut();
        host.connect(&world.url()).await;
        let registered = host.look(|s| s.person("alice").registered.clone().unwrap());
        assert_eq!(registered.lineage, lineage + 1, "no journal: a new life each time");
        lineage = registered.lineage;
        assert_eq!(registered.bookings.len(), 1);
        assert_eq!(registered.bookings[0].meeting_id, meeting.meeting_id);
        host.until_booked("alice", &[(AHEAD + 8, AHEAD + 9)]).await;
    }
    let second = world.book(ask(&["alice"]).between(AHEAD + 8, AHEAD + 17)).await;
    assert_eq!(slot_of(&second), (AHEAD + 9, AHEAD + 10));
    host.check();
}

#[tokio::test]
async fn a_confirm_is_repeated_until_it_is_acknowledged() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17).with(|p| p.acks = Mode::Silent)]).await;
    let mut events = world.watch(None).await;
    let meeting = world.book(ask(&["alice"])).await;
    host.until("a second confirm", |s| (s.confirms_of("alice").len() >= 2).then_some(())).await;
    assert!(!world.get(&meeting).await.attendees[0].confirmation_delivered);
    host.edit("alice", |p| p.acks = Mode::Twice);
    events.until(pb::meeting_event::Type::Delivered).await;
    assert!(world.get(&meeting).await.attendees[0].confirmation_delivered);
    host.check();
}

#[tokio::test]
async fn withdrawing_after_the_decision() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17), person("bob", 8, 17)]).await;
    let mut events = world.watch(None).await;
    let meeting = world.book(ask(&["alice", "bob"]).required("bob")).await;
    host.until_booked("bob", &[(8, 9)]).await;
    let withdraw = pb::Withdraw {
        participant_id: "bob".into(),
        meeting_id: meeting.meeting_id.clone(),
        reason: "ill".into(),
        ..Default::default()
    };
    host.say(vec![says(Says::Withdraw(withdraw))]).await;
    let declined = events.until(pb::meeting_event::Type::AttendeeDeclined).await.meeting.unwrap();
    assert_eq!(with_status(&declined, Status::Declined), ["bob"]);
    host.until("the withdrawal is taken note of", |s| {
        s.releases_of("bob").iter().any(|r| r.cause() == pb::release::Cause::Withdrawn).then_some(())
    })
    .await;
    let stands = world.get(&meeting).await;
    assert_eq!((stands.state(), attending(&stands)), (State::Confirmed, vec!["alice"]));
    let bob = stands.attendees.iter().find(|a| a.participant_id == "bob").unwrap();
    assert_eq!(bob.detail, "ill");
    host.until_booked("bob", &[]).await;
    // The hour is bob's own again.
    world.book(ask(&["bob"]).at(8, 9)).await;
    host.check();
}

#[tokio::test]
async fn a_withdrawal_made_while_away_is_repeated_at_registration() {
    let world = World::start().await;
    let mut host = world.host(vec![person("alice", 8, 17)]).await;
    let meeting = world.book(ask(&["alice"])).await;
    host.until_booked("alice", &[(8, 9)]).await;
    host.cut();
    host.edit("alice", |p| {
        let (key, _) = p.booked.pop_first().unwrap();
        p.withdrawn.insert(key, "on leave".into());
        p.sequence += 1;
    });
    let mut events = world.watch(None).await;
    host.connect(&world.url()).await;
    events.until(pb::meeting_event::Type::AttendeeDeclined).await;
    host.until("it is taken note of", |s| s.person("alice").withdrawn.is_empty().then_some(())).await;
    assert_eq!(with_status(&world.get(&meeting).await, Status::Declined), ["alice"]);
    host.until_booked("alice", &[]).await;
}

#[tokio::test]
async fn a_lease_that_ran_out_gives_the_right_to_ask() {
    let world = World::start().await;
    let host =
        world.host(vec![person("alice", 8, 9), person("bob", 8, 9).with(|p| p.votes = Mode::Keep)]).await;
    let waiting = world.spawn_schedule(ask(&["alice", "bob"]));
    host.until_kept("bob").await;
    host.barrier("alice").await;
    let key = host.look(|s| s.person("alice").held.keys().next().cloned()).unwrap();
    let resolve = pb::Resolve { participant_id: "alice".into(), meeting_id: key.0.clone(), attempt: key.1 };
    host.say(vec![says(Says::Resolve(resolve))]).await;
    // Undecided: it is given up, and everyone is released.
    host.until("alice is released", |s| (!s.person("alice").held.contains_key(&key)).then_some(())).await;
    // It may be tried again; bob's late yes books nothing that is dead.
    host.edit("bob", |p| p.votes = Mode::Do);
    host.let_go("bob").await;
    let meeting = waiting.await.unwrap().unwrap();
    if meeting.state() == State::Confirmed {
        host.until_booked("alice", &[(8, 9)]).await;
        host.until_booked("bob", &[(8, 9)]).await;
    }
    host.check();
}

#[tokio::test]
async fn free_time_outside_the_windows_is_clipped() {
    let world = World::start().await;
    let _host = world.host(vec![person("alice", -24, 72)]).await;
    let meeting = world.book(ask(&["alice"]).between(11, 12)).await;
    assert_eq!(slot_of(&meeting), (11, 12));
    assert!(world.counters().await.clipped >= 1);
}

#[tokio::test]
async fn more_people_join_a_stream_at_any_time() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17)]).await;
    let mut bob = person("bob", 8, 17);
    host.say(vec![bob.register()]).await;
    host.add(bob);
    world.until_connected("bob", true).await;
    let meeting = world.book(ask(&["alice", "bob"])).await;
    assert_eq!(attending(&meeting), ["alice", "bob"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_is_cut_off_and_delays_nobody() {
    use pb::participant_service_client::ParticipantServiceClient;
    let world = World::start().await;
    let other = world.host(vec![person("bob", 8, 17)]).await;
    let mut client = within("a connection", ParticipantServiceClient::connect(world.url())).await.unwrap();
    let (say, frames) = tokio::sync::mpsc::channel(4);
    let register = pb::JoinRequest { messages: vec![person("alice", 8, 17).register()] };
    say.send(register).await.unwrap();
    let stream = client.join(tokio_stream::wrappers::ReceiverStream::new(frames)).await.unwrap();
    let mut stream = stream.into_inner();
    world.until_connected("alice", true).await;
    // Each of these is answered with an error, and nobody reads the answers.
    let frame = pb::JoinRequest { messages: vec![changed("mallory"); 20_000] };
    let talking = tokio::spawn(async move { while say.send(frame.clone()).await.is_ok() {} });
    for hour in 8..17 {
        let meeting = world.book(ask(&["bob"])).await;
        assert_eq!(slot_of(&meeting).0, hour);
    }
    world.until_connected("alice", false).await;
    // Whoever reads at last learns why.
    let status = within("the end of the stream", async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a reason"),
                Err(status) => return status,
            }
        }
    })
    .await;
    assert_eq!((status.code(), reason_of(&status).as_str()), (tonic::Code::ResourceExhausted, "SLOW_READER"));
    talking.abort();
    other.check();
}
