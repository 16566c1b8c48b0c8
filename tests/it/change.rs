//! Moving, changing and cancelling meetings that stand.

use super::support::*;
use pb::attendee_outcome::Status;
use pb::failure::Reason;
use pb::meeting::State;
use pb::release::Cause;

fn person(name: &str, from: i64, until: i64) -> Person {
    Person::new(name).free(from, until)
}

fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask { paths: paths.iter().map(|p| (*p).to_owned()).collect() })
}

/// Waits until a person was released from the meeting for this cause.
async fn released(host: &Host, name: &str, meeting: &pb::Meeting, cause: Cause) {
    let wanted = |r: &&pb::Release| r.meeting_id == meeting.meeting_id && r.cause() == cause;
    host.until("a release", |s| s.releases_of(name).iter().any(wanted).then_some(())).await;
}

#[tokio::test]
async fn a_move_gives_up_the_old_slot_with_the_new_one() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17), person("bob", 8, 17)]).await;
    let meeting = world.book(ask(&["alice", "bob"])).await;
    host.until_booked("bob", &[(8, 9)]).await;
    let request = pb::RescheduleMeetingRequest {
        meeting_id: meeting.meeting_id.clone(),
        etag: meeting.etag.clone(),
        slot: Some(hours(14, 15)),
        ..Default::default()
    };
    let moved = world.reschedule(request.clone()).await.unwrap();
    assert_eq!(moved.failure, None);
    let moved = moved.meeting.unwrap();
    assert_eq!(
        (slot_of(&moved), moved.state(), moved.sequence),
        ((14, 15), State::Confirmed, meeting.sequence + 1)
    );
    assert_ne!(moved.etag, meeting.etag);
    for name in ["alice", "bob"] {
        host.until_booked(name, &[(14, 15)]).await;
        let confirm = host.look(|s| s.confirms_of(name).last().map(|c| (*c).clone())).unwrap();
        assert_eq!(confirm.displaces.len(), 1, "the new booking replaces the old one in the same write");
    }
    // The old hour is free again, and an etag that was used up is refused.
    world.book(ask(&["alice", "bob"]).at(8, 9)).await;
    assert_eq!(world.reschedule(request).await.unwrap_err().code(), tonic::Code::Aborted);
    host.check();
}

#[tokio::test]
async fn a_move_looks_for_a_slot_in_the_meetings_own_window() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 12)]).await;
    let meeting = world.book(ask(&["alice"])).await;
    let request =
        pb::RescheduleMeetingRequest { meeting_id: meeting.meeting_id.clone(), ..Default::default() };
    let moved = world.reschedule(request).await.unwrap().meeting.unwrap();
    assert_eq!(slot_of(&moved), (9, 10), "the present slot is no candidate");
    host.until_booked("alice", &[(9, 10)]).await;
}

#[tokio::test]
async fn a_move_may_overlap_the_old_slot() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17)]).await;
    let meeting = world.book(ask(&["alice"]).at(8, 9)).await;
    host.until_booked("alice", &[(8, 9)]).await;
    let request = pb::RescheduleMeetingRequest {
        meeting_id: meeting.meeting_id.clone(),
        slot: Some(hours(8, 10)),
        ..Default::default()
    };
    let moved = world.reschedule(request).await.unwrap();
    assert_eq!((moved.failure, slot_of(moved.meeting.as_ref().unwrap())), (None, (8, 10)));
    host.until_booked("alice", &[(8, 10)]).await;
    host.check();
}

#[tokio::test]
async fn a_move_that_finds_nothing_leaves_the_meeting_as_it_was() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17)]).await;
    world.book(ask(&["alice"]).at(10, 11)).await;
    let meeting = world.book(ask(&["alice"]).at(8, 9)).await;
    let request = |slot| pb::RescheduleMeetingRequest {
        meeting_id: meeting.meeting_id.clone(),
        slot: Some(slot),
        ..Default::default()
    };
    let stands = world.reschedule(request(hours(10, 11))).await.unwrap();
    assert_eq!(stands.failure.unwrap().reason(), Reason::SlotTaken);
    let stands = stands.meeting.unwrap();
    assert_eq!((slot_of(&stands), &stands.etag), ((8, 9), &world.get(&meeting).await.etag));
    host.until_booked("alice", &[(8, 9), (10, 11)]).await;
    // And it can still be moved to another one.
    let moved = world.reschedule(request(hours(11, 12))).await.unwrap();
    assert_eq!(slot_of(&moved.meeting.unwrap()), (11, 12));
    host.until_booked("alice", &[(10, 11), (11, 12)]).await;
    host.check();
}

#[tokio::test]
async fn who_can_not_come_to_the_new_slot_is_released() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17), person("bob", 8, 9)]).await;
    let meeting = world.book(ask(&["alice", "bob"]).minimum(1)).await;
    assert_eq!(attending(&meeting), ["alice", "bob"]);
    host.until_booked("bob", &[(8, 9)]).await;
    let request = pb::RescheduleMeetingRequest {
        meeting_id: meeting.meeting_id.clone(),
        slot: Some(hours(12, 13)),
        ..Default::default()
    };
    let moved = world.reschedule(request).await.unwrap().meeting.unwrap();
    assert_eq!(attending(&moved), ["alice"]);
    host.until_booked("bob", &[]).await;
    host.until_booked("alice", &[(12, 13)]).await;
    released(&host, "bob", &meeting, Cause::Moved).await;
}

#[tokio::test]
async fn only_a_confirmed_meeting_is_moved_or_changed() {
    let world = World::start().await;
    let failed = world.schedule(ask(&["alice"])).await;
    let request =
        pb::RescheduleMeetingRequest { meeting_id: failed.meeting_id.clone(), ..Default::default() };
    assert_eq!(world.reschedule(request).await.unwrap_err().code(), tonic::Code::FailedPrecondition);
    let request = pb::UpdateMeetingRequest {
        meeting_id: failed.meeting_id.clone(),
        spec: Some(pb::MeetingSpec { title: "Other".into(), ..Default::default() }),
        update_mask: mask(&["title"]),
        ..Default::default()
    };
    assert_eq!(world.update(request).await.unwrap_err().code(), tonic::Code::FailedPrecondition);
    let cancelled = world.cancel(&failed.meeting_id, "").await;
    assert_eq!(cancelled.unwrap_err().code(), tonic::Code::FailedPrecondition);
}

#[tokio::test]
async fn updates_of_title_and_attendees() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17), person("bob", 8, 17), person("carol", 10, 17)]).await;
    let meeting = world.book(ask(&["alice", "bob"])).await;
    let update = |attendees: &[&str], title: &str, paths: &[&str]| {
        let mut spec = ask(attendees).0.spec.unwrap();
        spec.title = title.into();
        pb::UpdateMeetingRequest {
            meeting_id: meeting.meeting_id.clone(),
            spec: Some(spec),
            update_mask: mask(paths),
            ..Default::default()
        }
    };
    let titled = world.update(update(&[], "Retro", &["title"])).await.unwrap();
    assert_eq!(
        (titled.failure, titled.meeting.as_ref().unwrap().spec.as_ref().unwrap().title.as_str()),
        (None, "Retro")
    );
    let has_title = |s: &HostState| s.person("bob").booked.values().any(|b| b.title == "Retro").then_some(());
    host.until("bob knows the new title", has_title).await;
    // Carol is busy at 8: the meeting stays as it was, and the answer says why.
    let busy = world.update(update(&["alice", "bob", "carol"], "", &["attendees"])).await.unwrap();
    let failure = busy.failure.expect("a failure");
    assert_eq!(failure.reason(), Reason::SlotTaken, "{}", failure.message);
    assert!(failure.message.contains("carol"), "{}", failure.message);
    let stands = busy.meeting.unwrap();
    assert_eq!(
        (attending(&stands), stands.attendees.len(), slot_of(&stands)),
        (vec!["alice", "bob"], 2, (8, 9))
    );
    // Now she is free.
    host.edit("carol", |p| p.free[0].range.0 = MONDAY);
    let added = world.update(update(&["alice", "bob", "carol"], "", &["attendees"])).await.unwrap();
    assert_eq!(added.failure, None);
    assert_eq!(attending(&added.meeting.unwrap()), ["alice", "bob", "carol"]);
    for name in ["alice", "bob", "carol"] {
        host.until_booked(name, &[(8, 9)]).await;
    }
    // Bob leaves.
    let removed = world.update(update(&["alice", "carol"], "", &["attendees"])).await.unwrap();
    assert_eq!(
        (removed.failure, attending(removed.meeting.as_ref().unwrap())),
        (None, vec!["alice", "carol"])
    );
    host.until_booked("bob", &[]).await;
    released(&host, "bob", &meeting, Cause::Cancelled).await;
    host.until("alice knows who comes", |s| {
        let of = s.person("alice").booked.values().next().map(|b| b.attendees.clone());
        (of == Some(vec!["alice".into(), "carol".into()])).then_some(())
    })
    .await;
    host.check();
}

#[tokio::test]
async fn cancelling_is_idempotent_and_frees_the_slot() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 9), person("bob", 8, 9)]).await;
    let meeting = world.book(ask(&["alice", "bob"])).await;
    host.until_booked("alice", &[(8, 9)]).await;
    let stale = world.cancel(&meeting.meeting_id, "another").await.unwrap_err();
    assert!(matches!(stale.code(), tonic::Code::Aborted | tonic::Code::InvalidArgument), "{stale}");
    let current = world.get(&meeting).await.etag;
    let cancelled = world.cancel(&meeting.meeting_id, &current).await.unwrap();
    assert_eq!((cancelled.state(), slot_of(&cancelled)), (State::Cancelled, (8, 9)));
    assert_eq!(world.cancel(&meeting.meeting_id, "").await.unwrap(), world.get(&meeting).await);
    for name in ["alice", "bob"] {
        host.until_booked(name, &[]).await;
        released(&host, name, &meeting, Cause::Cancelled).await;
    }
    world.book(ask(&["alice", "bob"])).await;
}

#[tokio::test]
async fn a_stale_etag_is_aborted() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17)]).await;
    let meeting = world.book(ask(&["alice"])).await;
    let update = pb::UpdateMeetingRequest {
        meeting_id: meeting.meeting_id.clone(),
        etag: meeting.etag.clone(),
        spec: Some(pb::MeetingSpec { title: "Other".into(), ..Default::default() }),
        update_mask: mask(&["title"]),
        ..Default::default()
    };
    world.update(update.clone()).await.unwrap();
    assert_eq!(world.update(update).await.unwrap_err().code(), tonic::Code::Aborted);
    let stale = world.cancel(&meeting.meeting_id, &meeting.etag).await.unwrap_err();
    assert_eq!(stale.code(), tonic::Code::Aborted);
    let request = pb::RescheduleMeetingRequest {
        meeting_id: meeting.meeting_id.clone(),
        etag: meeting.etag.clone(),
        ..Default::default()
    };
    assert_eq!(world.reschedule(request).await.unwrap_err().code(), tonic::Code::Aborted);
    host.until_booked("alice", &[(8, 9)]).await;
}

#[tokio::test]
async fn a_meeting_that_is_still_being_scheduled_is_called_off() {
    let world = World::start().await;
    let host =
        world.host(vec![person("alice", 8, 17), person("bob", 8, 17).with(|p| p.votes = Mode::Keep)]).await;
    let mut events = world.watch(None).await;
    let waiting = world.spawn_schedule(ask(&["alice", "bob"]));
    let begun = events.until(pb::meeting_event::Type::Scheduling).await.meeting.unwrap();
    host.until_kept("bob").await;
    let cancelled = world.cancel(&begun.meeting_id, "").await.unwrap();
    assert_eq!(cancelled.state(), State::Cancelled);
    assert_eq!(waiting.await.unwrap().unwrap().state(), State::Cancelled);
    host.let_go("bob").await;
    host.barrier("bob").await;
    for name in ["alice", "bob"] {
        host.until("nothing is promised", |s| {
            (s.person(name).held.is_empty() && s.person(name).booked.is_empty()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_move_is_cancelled_with_its_meeting() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17)]).await;
    let meeting = world.book(ask(&["alice"])).await;
    host.until_booked("alice", &[(8, 9)]).await;
    host.edit("alice", |p| p.votes = Mode::Keep);
    let request = pb::RescheduleMeetingRequest {
        meeting_id: meeting.meeting_id.clone(),
        slot: Some(hours(12, 13)),
        ..Default::default()
    };
    let mut client = world.client.clone();
    let moving = tokio::spawn(async move { client.reschedule_meeting(request).await });
    host.until_kept("alice").await;
    let cancelled = world.cancel(&meeting.meeting_id, "").await.unwrap();
    assert_eq!(cancelled.state(), State::Cancelled);
    let outcome = within("the move ends", moving).await.unwrap().unwrap().into_inner().meeting.unwrap();
    assert_eq!(outcome.state(), State::Cancelled);
    host.let_go("alice").await;
    host.until("nothing is left", |s| {
        let alice = s.person("alice");
        (alice.held.is_empty() && alice.booked.is_empty()).then_some(())
    })
    .await;
    assert_eq!(with_status(&world.get(&meeting).await, Status::Busy), Vec::<&str>::new());
}

#[tokio::test]
async fn two_moves_at_once() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17)]).await;
    let meeting = world.book(ask(&["alice"])).await;
    host.until_booked("alice", &[(8, 9)]).await;
    host.edit("alice", |p| p.votes = Mode::Keep);
    let request = |slot| pb::RescheduleMeetingRequest {
        meeting_id: meeting.meeting_id.clone(),
        slot: Some(slot),
        ..Default::default()
    };
    let (mut client, first) = (world.client.clone(), request(hours(12, 13)));
    let moving = tokio::spawn(async move { client.reschedule_meeting(first).await });
    host.until_kept("alice").await;
    let second = world.reschedule(request(hours(14, 15))).await.unwrap_err();
    assert_eq!(second.code(), tonic::Code::Aborted);
    host.let_go("alice").await;
    let moved = within("the move ends", moving).await.unwrap().unwrap().into_inner().meeting.unwrap();
    assert_eq!(slot_of(&moved), (12, 13));
    host.until_booked("alice", &[(12, 13)]).await;
}
