//! Many at once.

use std::collections::BTreeMap;

use super::support::*;
use pb::failure::Reason;
use pb::meeting::State;

fn person(name: &str, from: i64, until: i64) -> Person {
    Person::new(name).free(from, until)
}

async fn all(calls: Vec<tokio::task::JoinHandle<Result<pb::Meeting, tonic::Status>>>) -> Vec<pb::Meeting> {
    let mut meetings = Vec::new();
    for call in calls {
        meetings.push(call.await.unwrap().unwrap());
    }
    meetings
}

/// Nobody attends two meetings at the same time.
fn no_overlaps(meetings: &[pb::Meeting]) {
    let mut of: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for meeting in meetings.iter().filter(|m| m.state() == State::Confirmed) {
        for id in attending(meeting) {
            let slot = in_seconds(meeting.slot.as_ref().unwrap());
            let theirs = of.entry(id).or_default();
            assert!(theirs.iter().all(|other| !overlap(*other, slot)), "{id} is booked twice at {slot:?}");
            theirs.push(slot);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_organizers_and_the_last_free_hour() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 16, 17)]).await;
    let calls = (0..20).map(|_| world.spawn_schedule(ask(&["alice"]))).collect();
    let meetings = all(calls).await;
    let booked: Vec<_> = meetings.iter().filter(|m| m.state() == State::Confirmed).collect();
    assert_eq!(booked.len(), 1);
    assert_eq!(slot_of(booked[0]), (16, 17));
    for lost in meetings.iter().filter(|m| m.state() != State::Confirmed) {
        let failure = failure(lost);
        assert!(matches!(failure.reason(), Reason::NoCommonSlot | Reason::RequiredBusy), "{failure:?}");
        assert!(!failure.message.is_empty());
    }
    host.until_booked("alice", &[(16, 17)]).await;
    host.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_an_hour_moves_to_another_one() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", 8, 17), person("bob", 8, 17)]).await;
    let calls = (0..9).map(|_| world.spawn_schedule(ask(&["alice", "bob"]))).collect();
    let meetings = all(calls).await;
    let mut slots: Vec<_> = meetings.iter().map(slot_of).collect();
    slots.sort_unstable();
    assert_eq!(slots, (8..17).map(|h| (h, h + 1)).collect::<Vec<_>>());
    host.until_booked("alice", &slots).await;
    host.until_booked("bob", &slots).await;
    host.check();
}

#[tokio::test]
async fn a_higher_priority_pushes_a_hold() {
    let world = World::start().await;
    // Bob is in no hurry to vote, so that the low meeting holds alice's hour for long.
    let host =
        world.host(vec![person("alice", 8, 9), person("bob", 8, 9).with(|p| p.votes = Mode::Keep)]).await;
    let low = world.spawn_schedule(ask(&["alice", "bob"]).title("low"));
    host.until_kept("bob").await;
    host.until("alice holds", |s| (s.person("alice").held.len() == 1).then_some(())).await;
    host.barrier("alice").await;
    let high = world.book(ask(&["alice"]).title("high").priority(7)).await;
    assert_eq!((slot_of(&high), high.attempts), ((8, 9), 1));
    assert_eq!(world.counters().await.pushed, 1);
    host.let_go("bob").await;
    let low = low.await.unwrap().unwrap();
    assert_eq!(failure(&low).reason(), Reason::NoCommonSlot);
    assert_eq!(tried(&low.attempt_log)[0], (8, pb::attempt_log_entry::Outcome::HeldByOther));
    host.until_booked("alice", &[(8, 9)]).await;
    host.until("bob is free again", |s| s.person("bob").held.is_empty().then_some(())).await;
    host.check();
}

#[tokio::test]
async fn a_small_agent_need_not_name_what_is_in_the_way() {
    let world = World::start().await;
    let alice = person("alice", 8, 9).with(|p| p.names_blocker = false);
    let host = world.host(vec![alice, person("bob", 8, 9).with(|p| p.votes = Mode::Keep)]).await;
    let low = world.spawn_schedule(ask(&["alice", "bob"]));
    host.until_kept("bob").await;
    host.barrier("alice").await;
    let high = world.book(ask(&["alice"]).priority(7)).await;
    assert_eq!(slot_of(&high), (8, 9));
    host.let_go("bob").await;
    assert_eq!(low.await.unwrap().unwrap().state(), State::Failed);
    host.check();
}

#[tokio::test]
async fn a_lower_priority_waits_for_a_hold_and_goes_on() {
    let world = World::start().await;
    let host =
        world.host(vec![person("alice", 8, 9), person("bob", 8, 9).with(|p| p.votes = Mode::Keep)]).await;
    let high = world.spawn_schedule(ask(&["alice", "bob"]).priority(7));
    host.until_kept("bob").await;
    host.barrier("alice").await;
    let low = world.spawn_schedule(ask(&["alice"]));
    // The low one has been told that alice's hour is held; then the high one fails, and the hour is to be had.
    host.until("the low one asks", |s| (s.queries().len() >= 2).then_some(())).await;
    let meeting_id = host.look(|s| s.holds_of("bob")[0].meeting_id.clone());
    world.cancel(&meeting_id, "").await.unwrap();
    assert_eq!(high.await.unwrap().unwrap().state(), State::Cancelled);
    let low = low.await.unwrap().unwrap();
    assert_eq!((low.state(), slot_of(&low)), (State::Confirmed, (8, 9)));
    host.until_booked("alice", &[(8, 9)]).await;
    host.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_organizers_over_the_same_ten_people() {
    let world = World::start().await;
    let names: Vec<String> = (0..10).map(|n| format!("p{n}")).collect();
    // Some on one stream, some on their own.
    let mut hosts = vec![world.host(names[..5].iter().map(|n| person(n, 8, 17)).collect()).await];
    for name in &names[5..] {
        hosts.push(world.host(vec![person(name, 8, 17)]).await);
    }
    let calls = (0..32).map(|n| {
        let people: Vec<&str> = (0..3).map(|k| names[(n * 7 + k * 3) % 10].as_str()).collect();
        world.spawn_schedule(ask(&people).priority(1 + (n as i32 % 4)).attempts(1_000))
    });
    let meetings = all(calls.collect()).await;
    no_overlaps(&meetings);
    for meeting in meetings.iter().filter(|m| m.state() != State::Confirmed) {
        assert_eq!(failure(meeting).reason(), Reason::NoCommonSlot, "{:?}", meeting.failure);
    }
    // 32 meetings of three fill 96 of the 90 hours there are: most find a place.
    let booked: Vec<_> = meetings.iter().filter(|m| m.state() == State::Confirmed).collect();
    assert!(booked.len() >= 20, "{}", booked.len());
    for name in &names {
        let mut expected: Vec<_> =
            booked.iter().filter(|m| attending(m).contains(&name.as_str())).map(|m| slot_of(m)).collect();
        expected.sort_unstable();
        let host = hosts.iter().find(|h| h.look(|s| s.people.contains_key(name))).unwrap();
        host.until_booked(name, &expected).await;
        host.until("nothing is held", |s| s.person(name).held.is_empty().then_some(())).await;
    }
    hosts.iter().for_each(Host::check);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rounds_in_flight_over_one_stream() {
    let world = World::start().await;
    let names: Vec<String> = (0..200).map(|n| format!("p{n}")).collect();
    let host =
        world.host(names.iter().map(|n| person(n, 8, 17).with(|p| p.answers = Mode::Keep)).collect()).await;
    let calls: Vec<_> = names.iter().map(|n| world.spawn_schedule(ask(&[n]))).collect();
    host.until("all are asked before one has answered", |s| (s.queries().len() == 200).then_some(())).await;
    let kept: Vec<_> = names.iter().flat_map(|n| host.edit(n, |p| std::mem::take(&mut p.kept))).collect();
    assert_eq!(kept.len(), 200);
    host.say(kept.into_iter().rev().collect()).await;
    for meeting in all(calls).await {
        assert_eq!((meeting.state(), slot_of(&meeting)), (State::Confirmed, (8, 9)));
    }
    host.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_people_on_one_stream() {
    let world = World::start().await;
    let names: Vec<String> = (0..1_000).map(|n| format!("person-{n:04}")).collect();
    let host = world.host(names.iter().map(|n| person(n, 8, 17)).collect()).await;
    let people: Vec<&str> = names.iter().map(String::as_str).collect();
    let meeting = world.book(ask(&people)).await;
    assert_eq!(attending(&meeting).len(), 1_000);
    host.until("everyone is booked", |s| s.people.values().all(|p| p.booked.len() == 1).then_some(())).await;
    host.look(|s| {
        let queries = s.queries();
        assert_eq!(queries.len(), 1, "one query names everyone once");
        let mut asked = queries[0].participant_ids.clone();
        asked.sort();
        assert_eq!(asked, names);
        assert_eq!(s.holds_of("person-0000").len(), 1);
        assert_eq!(s.holds_of("person-0000")[0].participant_ids.len(), 1_000);
    });
    host.check();
}
