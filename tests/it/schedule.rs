//! `ScheduleMeeting` and `FindMeetingTimes`: what is chosen, why not, and when the answer comes.

use std::time::{Duration, Instant};

use super::support::*;
use pb::attendee_outcome::Status;
use pb::failure::Reason;
use pb::meeting::State;
use pb::meeting_spec::Objective;

fn person(name: &str, from: i64, until: i64) -> Person {
    Person::new(name).free(from, until)
}

#[tokio::test]
async fn validate_only_asks_nobody_and_books_nothing() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17)]).await;
    let mut request = ask(&["alice"]).window(|w| w.time_zone.clear());
    request.0.validate_only = true;
    let understood = world.schedule(request).await;
    assert_eq!((understood.meeting_id.as_str(), understood.state()), ("", State::Unspecified));
    assert_eq!(understood.time_zone, "UTC");
    let spec = understood.spec.unwrap();
    assert_eq!((spec.priority, spec.objective()), (1, Objective::Earliest));
    let window = spec.window.unwrap();
    assert_eq!(window.working_hours.unwrap().days.len(), 5);
    host.barrier("alice").await;
    assert!(host.look(|s| s.queries().is_empty()));
    let listed = world.list(pb::ListMeetingsRequest::default()).await;
    assert_eq!(listed.meetings, []);
}

#[tokio::test]
async fn the_zone_of_the_organizer_counts_if_the_window_has_none() {
    let world = World::start().await;
    let berlin = |p: &mut Person| p.zone = "Europe/Berlin".into();
    let _host = world.host(vec![person("alice", 0, 24).with(berlin), person("bob", 0, 24)]).await;
    let ask = ask(&["alice", "bob"]).between(0, 24).window(|w| w.time_zone.clear());
    let meeting = world.book(ask.spec(|s| s.organizer = "alice".into())).await;
    // 08:00 in Berlin is 06:00 UTC in summer.
    assert_eq!((slot_of(&meeting), meeting.time_zone.as_str()), ((6, 7), "Europe/Berlin"));
}

#[tokio::test]
async fn a_named_slot_skips_search_and_working_hours() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 0, 24)]).await;
    let meeting = world.book(ask(&["alice"]).at(22, 23)).await;
    assert_eq!((slot_of(&meeting), meeting.attempts), ((22, 23), 1));
    assert!(host.look(|s| s.queries().is_empty()), "a named slot needs no question");
}

#[tokio::test]
async fn a_named_slot_that_is_taken() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17), person("bob", 8, 17)]).await;
    world.book(ask(&["alice"]).at(10, 11)).await;
    let taken = world.schedule(ask(&["alice", "bob"]).at(10, 11)).await;
    let failure = failure(&taken);
    assert_eq!(failure.reason(), Reason::SlotTaken, "{}", failure.message);
    assert!(failure.message.contains("alice") && !failure.message.contains("bob"), "{}", failure.message);
    assert_eq!(taken.slot, None);
    host.until("bob holds nothing", |s| s.person("bob").held.is_empty().then_some(())).await;
    // The hour is still bob's own.
    world.book(ask(&["bob"]).at(10, 11)).await;
    host.check();
}

#[tokio::test]
async fn the_same_request_id_at_the_same_time_is_one_meeting() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17)]).await;
    let request_id = uuid::Uuid::new_v4().to_string();
    let calls: Vec<_> =
        (0..10).map(|_| world.spawn_schedule(ask(&["alice"]).request_id(&request_id))).collect();
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap().unwrap());
    }
    outcomes.push(world.book(ask(&["alice"]).request_id(&request_id)).await);
    for outcome in &outcomes {
        assert_eq!((outcome.state(), slot_of(outcome)), (State::Confirmed, (8, 9)));
        assert_eq!((&outcome.meeting_id, &outcome.request_id), (&outcomes[0].meeting_id, &request_id));
    }
    host.until_booked("alice", &[(8, 9)]).await;
    let other = ask(&["alice"]).title("Another").request_id(&request_id);
    let status = world.try_schedule(other).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::AlreadyExists);
    assert_eq!(world.list(pb::ListMeetingsRequest::default()).await.meetings.len(), 1);
}

#[tokio::test]
async fn another_body_under_a_request_id_that_is_being_worked_on() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17).with(|p| p.answers = Mode::Keep)]).await;
    let request_id = uuid::Uuid::new_v4().to_string();
    let first = world.spawn_schedule(ask(&["alice"]).request_id(&request_id));
    host.until_kept("alice").await;
    let other = world.try_schedule(ask(&["alice"]).minimum(1).request_id(&request_id)).await.unwrap_err();
    assert_eq!(other.code(), tonic::Code::AlreadyExists);
    host.edit("alice", |p| p.answers = Mode::Do);
    host.let_go("alice").await;
    assert_eq!(first.await.unwrap().unwrap().state(), State::Confirmed);
}

#[tokio::test]
async fn a_failure_is_an_outcome_of_its_request_id_too() {
    let world = World::start().await;
    let request_id = uuid::Uuid::new_v4().to_string();
    let failed = world.schedule(ask(&["alice"]).request_id(&request_id)).await;
    let _host = world.host(vec![person("alice", 8, 17)]).await;
    let (again, read) =
        (world.schedule(ask(&["alice"]).request_id(&request_id)).await, world.get(&failed).await);
    // Where alice lives is no part of the outcome: it is told as it is known by now, which at first it was not.
    assert_eq!((failed.attendees[0].time_zone.as_str(), again.attendees[0].time_zone.as_str()), ("", "UTC"));
    assert_eq!((without_zones(again), without_zones(read)), (failed.clone(), failed));
}

/// A meeting as it was decided, without what answers add on attendees.
fn without_zones(mut meeting: pb::Meeting) -> pb::Meeting {
    let of_failure = meeting.failure.iter_mut().flat_map(|failure| &mut failure.attendees);
    meeting.attendees.iter_mut().chain(of_failure).for_each(|attendee| attendee.time_zone.clear());
    meeting
}

#[tokio::test]
async fn a_silent_required_attendee() {
    let world = World::start().await;
    let silent = person("bob", 8, 17).with(|p| p.answers = Mode::Silent);
    let _host = world.host(vec![person("alice", 8, 17), silent]).await;
    let ask = ask(&["alice", "bob"]).required("bob");
    // The round's own timeout comes first.
    let meeting = world.schedule(ask.clone().response_timeout(Duration::from_millis(200))).await;
    assert_eq!(failure(&meeting).reason(), Reason::RequiredUnreachable);
    assert!(with_status(&meeting, Status::NoAnswer).contains(&"bob"), "{meeting:?}");
    // The caller's deadline comes first.
    let meeting = world.schedule_by(Duration::from_secs(1), ask).await;
    assert_eq!(failure(&meeting).reason(), Reason::Deadline);
}

#[tokio::test]
async fn a_silent_vote_ends_by_the_deadline() {
    let world = World::start().await;
    let silent = person("bob", 8, 17).with(|p| p.votes = Mode::Silent);
    let host = world.host(vec![person("alice", 8, 17), silent]).await;
    let meeting = world.schedule_by(Duration::from_secs(1), ask(&["alice", "bob"])).await;
    assert_eq!(failure(&meeting).reason(), Reason::Deadline);
    host.until("nothing is held", |s| s.person("alice").held.is_empty().then_some(())).await;
    assert_eq!(host.look(|s| s.person("alice").booked.len()), 0);
}

#[tokio::test]
async fn an_organizer_that_hangs_up_loses_the_call_and_never_the_meeting() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17).with(|p| p.votes = Mode::Keep)]).await;
    let mut events = world.watch(None).await;
    let request_id = uuid::Uuid::new_v4().to_string();
    let call = world.spawn_schedule(ask(&["alice"]).request_id(&request_id));
    host.until_kept("alice").await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    host.let_go("alice").await;
    let event = events.until(pb::meeting_event::Type::Confirmed).await;
    let found = world.book(ask(&["alice"]).request_id(&request_id)).await;
    assert_eq!(found.meeting_id, event.meeting.unwrap().meeting_id);
    host.until_booked("alice", &[(8, 9)]).await;
}

#[tokio::test]
async fn waiting_to_connect_ends_with_the_connect_timeout() {
    let world = World::start().await;
    let _host = world.host(vec![person("alice", 8, 17)]).await;
    let ask = ask(&["alice", "bob"]).minimum(1).connect_timeout(Duration::from_millis(300));
    let started = Instant::now();
    let meeting = world.book(ask).await;
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(attending(&meeting), ["alice"]);
    assert_eq!(with_status(&meeting, Status::Disconnected), ["bob"]);
}

#[tokio::test]
async fn nobody_connected() {
    let world = World::start().await;
    let started = Instant::now();
    let meeting = world.schedule(ask(&[])).await;
    assert_eq!(failure(&meeting).reason(), Reason::NobodyConnected);
    assert!(started.elapsed() < UNHURRIED, "no answer is waited for");
}

#[tokio::test]
async fn a_required_attendee_who_is_not_connected_fails_it_at_once() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17)]).await;
    let ask = ask(&["alice", "bob"]).minimum(1).required("bob");
    let meeting = world.schedule(ask).await;
    assert_eq!(failure(&meeting).reason(), Reason::RequiredUnreachable);
    assert!(host.look(|s| s.queries().is_empty()));
}

#[tokio::test]
async fn required_busy_says_who() {
    let world = World::start().await;
    let _host = world.host(vec![person("alice", 8, 17), Person::new("bob"), person("carol", 8, 17)]).await;
    let meeting = world.schedule(ask(&["alice", "bob", "carol"]).minimum(2).required("bob")).await;
    let failure = failure(&meeting);
    assert_eq!(failure.reason(), Reason::RequiredBusy);
    let counts = failure.counts.as_ref().unwrap();
    assert_eq!((counts.considered, counts.required_busy), (9, 9));
    let released = |r: &&pb::Relaxation| r.release_required == "bob";
    let relaxation = failure.relaxations.iter().find(released).expect("without bob it would work");
    assert_eq!(relaxation.slot.as_ref().map(as_hours), Some((8, 9)));
}

#[tokio::test]
async fn a_failure_names_the_smallest_relaxations() {
    let world = World::start().await;
    let people = vec![person("a", 8, 10), person("b", 8, 10), person("c", 8, 10), person("d", 12, 13)];
    let _host = world.host(people).await;
    let meeting = world.schedule(ask(&["a", "b", "c", "d"])).await;
    let failure = failure(&meeting);
    assert_eq!(failure.reason(), Reason::NoCommonSlot);
    let fewer = failure.relaxations.iter().find(|r| r.minimum_participants > 0).expect("fewer would work");
    assert_eq!((fewer.minimum_participants, fewer.slot.as_ref().map(as_hours)), (3, Some((8, 9))));
    assert!(!fewer.message.is_empty());
    assert_eq!(failure.counts.as_ref().unwrap().considered, 9);
}

#[tokio::test]
async fn the_objectives() {
    let world = World::start().await;
    let people = vec![
        Person::new("a").free_at(8, 17, pb::Preference::Available, 5),
        Person::new("b").free_at(9, 12, pb::Preference::Available, 5).free_at(
            12,
            13,
            pb::Preference::Preferred,
            5,
        ),
        Person::new("c").free_at(10, 15, pb::Preference::Available, 5).free_at(
            15,
            16,
            pb::Preference::IfNeeded,
            0,
        ),
    ];
    let _host = world.host(people).await;
    let find = |ask: Ask| {
        let mut client = world.client.clone();
        async move {
            let request = pb::FindMeetingTimesRequest { spec: ask.0.spec, ..Default::default() };
            let found = within("candidates", client.find_meeting_times(request)).await.unwrap().into_inner();
            as_hours(found.candidates[0].slot.as_ref().unwrap())
        }
    };
    let all = ask(&["a", "b", "c"]).minimum(1);
    assert_eq!(find(all.clone()).await, (8, 9));
    assert_eq!(find(all.clone().objective(Objective::MostAttendees)).await, (10, 11));
    // All three are needed: the same cost at 10, 11 and 12, and at 12 somebody prefers it.
    let three = ask(&["a", "b", "c"]).objective(Objective::BestScore);
    assert_eq!(find(three).await, (12, 13));
}

#[tokio::test]
async fn the_cheapest_slot_wins_by_score() {
    let world = World::start().await;
    let people = vec![
        Person::new("a").free_at(8, 12, pb::Preference::Preferred, 40).free_at(
            12,
            17,
            pb::Preference::IfNeeded,
            3,
        ),
        Person::new("b").free_at(8, 17, pb::Preference::Available, 10),
    ];
    let _host = world.host(people).await;
    let meeting = world.book(ask(&["a", "b"]).objective(Objective::BestScore)).await;
    assert_eq!(slot_of(&meeting), (12, 13));
}

#[tokio::test]
async fn optional_attendees_are_booked_if_free_and_never_decide() {
    let world = World::start().await;
    let people = vec![person("alice", 8, 17), person("bob", 9, 17), person("carol", 8, 9)];
    let host = world.host(people).await;
    let optional = pb::attendee::Role::Optional;
    let ask = ask(&["alice", "bob", "carol"]).role("bob", optional).role("carol", optional);
    let meeting = world.book(ask).await;
    assert_eq!((slot_of(&meeting), attending(&meeting)), ((8, 9), vec!["alice", "carol"]));
    let notice = host.until("a notice", |s| s.notices_of("bob").first().map(|n| n.kind())).await;
    assert_eq!(notice, pb::notice::Kind::ConfirmedWithoutYou);
}

#[tokio::test]
async fn buffers_are_kept_free() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17)]).await;
    world.book(ask(&["alice"]).at(10, 11)).await;
    let ask = ask(&["alice"]).between(9, 17).spec(|spec| {
        (spec.buffer_before, spec.buffer_after) = (Some(minutes(60)), Some(minutes(30)));
    });
    let meeting = world.book(ask).await;
    // 9 to 10 would need time until 10:30; 11 to 12 from 10 on.
    assert_eq!(slot_of(&meeting), (12, 13));
    let blocked = host
        .until("a confirm", |s| {
            s.confirms_of("alice")
                .iter()
                .find_map(|c| c.booking.clone().filter(|b| b.meeting_id == meeting.meeting_id))
        })
        .await
        .blocked
        .unwrap();
    assert_eq!(in_seconds(&blocked), (MONDAY + 11 * 3600, MONDAY + 13 * 3600 + 1800));
}

#[tokio::test]
async fn excluded_times_are_left_out() {
    let world = World::start().await;
    let _host = world.host(vec![person("alice", 8, 17)]).await;
    let ask = ask(&["alice"]).window(|w| w.exclude = vec![hours(8, 10), hours(11, 12)]);
    assert_eq!(slot_of(&world.book(ask.clone()).await), (10, 11));
    assert_eq!(slot_of(&world.book(ask).await), (12, 13));
}

#[tokio::test]
async fn a_hold_refused_goes_on_to_the_next_slot() {
    let world = World::start().await;
    // Bob's agent said that he is free all day, and then he is not until 10.
    let host =
        world.host(vec![person("alice", 8, 17), person("bob", 8, 17).with(|p| p.answers = Mode::Keep)]).await;
    let waiting = world.spawn_schedule(ask(&["alice", "bob"]));
    host.until_kept("bob").await;
    host.edit("bob", |p| p.free[0].range.0 = MONDAY + 10 * 3600);
    host.let_go("bob").await;
    let meeting = waiting.await.unwrap().unwrap();
    use pb::attempt_log_entry::Outcome::{Booked, Refused};
    assert_eq!((slot_of(&meeting), meeting.attempts), ((10, 11), 3));
    assert_eq!(tried(&meeting.attempt_log), [(8, Refused), (9, Refused), (10, Booked)]);
    host.until("alice holds nothing", |s| s.person("alice").held.is_empty().then_some(())).await;
    host.until_booked("alice", &[(10, 11)]).await;
    host.check();
}

#[tokio::test]
async fn holds_are_tried_as_often_as_allowed() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17).with(|p| p.votes = Mode::Refuse)]).await;
    let meeting = world.schedule(ask(&["alice"]).attempts(4)).await;
    assert_eq!((failure(&meeting).reason(), meeting.attempts), (Reason::MaxAttempts, 4));
    assert_eq!(host.look(|s| s.holds_of("alice").len()), 4);
}

#[tokio::test]
async fn find_ranks_and_books_nothing() {
    let world = World::start().await;
    let declines = person("carol", 8, 17).with(|p| p.answers = Mode::Refuse);
    let host = world.host(vec![person("alice", 8, 12), person("bob", 10, 17), declines]).await;
    let spec = ask(&["alice", "bob", "carol", "dave"]).minimum(2).0.spec;
    let request = pb::FindMeetingTimesRequest { spec, max_candidates: 1, ..Default::default() };
    let found =
        within("candidates", world.client.clone().find_meeting_times(request)).await.unwrap().into_inner();
    assert_eq!((found.candidates.len(), found.time_zone.as_str()), (1, "UTC"));
    let best = &found.candidates[0];
    assert_eq!((as_hours(best.slot.as_ref().unwrap()), best.attending), ((10, 11), 2));
    let status: Vec<_> = best.attendees.iter().map(|a| a.status()).collect();
    assert_eq!(status, [Status::Attending, Status::Attending, Status::Declined, Status::Disconnected]);
    assert!(!best.reason.is_empty());
    let counts = found.counts.unwrap();
    assert_eq!((counts.considered, counts.quorum_missed), (9, 7));
    assert_eq!(host.look(|s| s.holds_of("alice").len() + s.holds_of("bob").len()), 0);
    assert_eq!(world.list(pb::ListMeetingsRequest::default()).await.meetings, []);
}

#[tokio::test]
async fn find_says_why_there_is_nothing() {
    let world = World::start().await;
    let _host = world.host(vec![person("alice", 8, 12), person("bob", 13, 17)]).await;
    let request = pb::FindMeetingTimesRequest { spec: ask(&["alice", "bob"]).0.spec, ..Default::default() };
    let found =
        within("candidates", world.client.clone().find_meeting_times(request)).await.unwrap().into_inner();
    assert_eq!(found.candidates, []);
    let failure = found.failure.expect("a reason");
    assert_eq!(failure.reason(), Reason::NoCommonSlot);
    assert_eq!(failure.counts.unwrap().considered, 9);
}
