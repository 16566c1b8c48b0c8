//! A meeting of higher priority takes the slot of a booked one, and that one finds another by itself.

use quorate::wire::pb;
use quorate::wire::pb::meeting::State;
use quorate::wire::pb::meeting_event::Type;

use super::support::{AHEAD, Ask, Mode, Person, World, ask, http, slot_of};

fn person(name: &str, from: i64, until: i64) -> Person {
    Person::new(name).free(from, until)
}

/// Between these hours of the far Monday.
fn between(people: &[&str], from: i64, until: i64) -> Ask {
    ask(people).between(AHEAD + from, AHEAD + until)
}

fn urgent(people: &[&str], from: i64, until: i64) -> Ask {
    between(people, from, until).priority(5).spec(|spec| spec.displace = true)
}

#[tokio::test]
async fn a_displaced_meeting_is_moved_and_everyone_is_told() {
    let world = World::start().await;
    let host =
        world.host(vec![person("alice", AHEAD + 8, AHEAD + 10), person("bob", AHEAD + 8, AHEAD + 17)]).await;
    let yielding = between(&["alice", "bob"], 8, 10).spec(|spec| spec.displaceable = true);
    let low = world.book(yielding).await;
    host.until_booked("bob", &[(AHEAD + 8, AHEAD + 9)]).await;
    let mut events = world.watch(None).await;

    let high = world.schedule(urgent(&["alice"], 8, 9)).await;
    assert_eq!((high.state(), slot_of(&high)), (State::Confirmed, (AHEAD + 8, AHEAD + 9)));
    assert_eq!(high.displaced_meetings, std::slice::from_ref(&low.meeting_id));

    let displaced = events.until(Type::Displaced).await.meeting.unwrap();
    assert_eq!(
        (displaced.meeting_id.as_str(), displaced.state()),
        (low.meeting_id.as_str(), State::Displaced)
    );
    assert_eq!((displaced.slot, displaced.displaced_by.as_str()), (None, high.meeting_id.as_str()));
    let moved = events.until(Type::Rescheduled).await.meeting.unwrap();
    assert_eq!(
        (moved.meeting_id.as_str(), slot_of(&moved)),
        (low.meeting_id.as_str(), (AHEAD + 9, AHEAD + 10))
    );
    assert_eq!((moved.sequence, moved.displaced_count), (low.sequence + 1, 1));
    host.until_booked("alice", &[(AHEAD + 8, AHEAD + 9), (AHEAD + 9, AHEAD + 10)]).await;
    host.until_booked("bob", &[(AHEAD + 9, AHEAD + 10)]).await;
    let told =
        |id: &str| host.look(|s| s.notices_of(id).iter().any(|n| n.kind() == pb::notice::Kind::BeingMoved));
    assert!(told("alice") && told("bob"));
    host.check();
}

#[tokio::test]
async fn a_displaced_meeting_that_finds_nothing_fails_with_its_reasons() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", AHEAD + 8, AHEAD + 9)]).await;
    let low = world.book(between(&["alice"], 8, 10).spec(|spec| spec.displaceable = true)).await;
    let mut events = world.watch(None).await;
    world.book(urgent(&["alice"], 8, 10)).await;
    let failed = events.until(Type::Failed).await.meeting.unwrap();
    assert_eq!((failed.meeting_id.as_str(), failed.state()), (low.meeting_id.as_str(), State::Failed));
    assert!(!failed.failure.unwrap().message.is_empty());
    host.until_booked("alice", &[(AHEAD + 8, AHEAD + 9)]).await;
    host.check();
}

#[tokio::test]
async fn nothing_is_displaced_unless_both_sides_said_so() {
    let world = World::start().await;
    let host = world.host(vec![person("alice", AHEAD + 8, AHEAD + 9)]).await;
    let low = world.book(between(&["alice"], 8, 9)).await;
    assert_eq!(world.schedule(urgent(&["alice"], 8, 9)).await.state(), State::Failed, "not displaceable");
    world.cancel(&low.meeting_id, "").await.unwrap();
    let low = world.book(between(&["alice"], 8, 9).spec(|spec| spec.displaceable = true)).await;
    assert_eq!(
        world.schedule(between(&["alice"], 8, 9).priority(5)).await.state(),
        State::Failed,
        "may not displace"
    );
    assert_eq!(world.get(&low).await.state(), State::Confirmed);
    host.check();
}

#[tokio::test]
async fn candidates_say_what_they_would_displace() {
    let world = World::start().await;
    let _host = world.host(vec![person("alice", AHEAD + 8, AHEAD + 10)]).await;
    let low = world.book(between(&["alice"], 8, 9).spec(|spec| spec.displaceable = true)).await;
    let request =
        pb::FindMeetingTimesRequest { spec: urgent(&["alice"], 8, 10).0.spec, ..Default::default() };
    let found = world.client.clone().find_meeting_times(request).await.unwrap().into_inner();
    let found: Vec<_> = found
        .candidates
        .iter()
        .map(|c| (super::support::as_hours(c.slot.as_ref().unwrap()), c.displaces.clone()))
        .collect();
    assert_eq!(found, [((AHEAD + 9, AHEAD + 10), vec![]), ((AHEAD + 8, AHEAD + 9), vec![low.meeting_id])]);
}

/// What a meeting is about is told to those who are in it, and to nobody who would have displaced it.
#[tokio::test]
async fn who_displaces_does_not_learn_the_title() {
    let world = World::start_with_admin().await;
    let people = ["alice", "bob", "carol"].map(|name| person(name, AHEAD + 8, AHEAD + 10));
    let host = world.host(people.into()).await;
    let low = between(&["alice", "bob", "carol"], 8, 10).title("Severance");
    let low = world.book(low.spec(|spec| spec.displaceable = true)).await;
    host.until_booked("carol", &[(AHEAD + 8, AHEAD + 9)]).await;
    host.edit("alice", |alice| alice.votes = Mode::Keep);
    let first = world.spawn_schedule(urgent(&["alice"], 8, 9));
    host.until_kept("alice").await;
    // It is displaced by somebody else meanwhile, and sought for as long as carol says nothing.
    host.edit("carol", |carol| carol.answers = Mode::Silent);
    let second = world.book(urgent(&["bob"], 8, 9)).await;
    assert_eq!(second.displaced_meetings, std::slice::from_ref(&low.meeting_id));
    host.edit("alice", |alice| alice.votes = Mode::Do);
    host.let_go("alice").await;
    let first = first.await.unwrap().expect("an answer");
    let words = &first.attempt_log[0].message;
    assert_eq!(*words, format!("meeting {} was changed meanwhile", low.meeting_id));
    assert_eq!((first.state(), first.attempts), (State::Confirmed, 2), "{first:?}");
    let admin = world.scheduler.admin().expect("a port for operators");
    let page = http(admin, "GET", "/").await.expect("the page").body;
    assert!(page.contains(words) && !page.contains("Severance"), "{page}");
}
