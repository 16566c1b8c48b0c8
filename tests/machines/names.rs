//! Room for names: whoever makes them up takes room from nobody but itself.

use std::net::IpAddr;

use quorate::core::coordinator::{Caller, Input, Rejected, Room};
use quorate::core::ids::{Epoch, ParticipantId, SessionId};
use quorate::core::message::{AckKind, AgentMessage, Refusal, SchedulerMessage};

use super::desk::{Desk, hour, session, who};

fn room(known: usize) -> Room {
    Room { known, ..Room::default() }
}

/// Registers over this stream, whoever spoke for it before.
fn over(desk: &mut Desk, stream: u64, name: &str) {
    let register = Desk::introduction(name, &format!("journal of {name}"), 0, &[], &[]);
    desk.input(Input::Agent(SessionId(stream), AgentMessage::Register(Box::new(register))));
}

fn leaves(desk: &mut Desk, name: &str) {
    desk.input(Input::SessionClosed(session(&who(name))));
}

/// Comes and goes, over a stream of its own.
fn passes_by(desk: &mut Desk, name: &str) {
    desk.register(name, 0, &[], &[]);
    leaves(desk, name);
}

/// The registrations that were answered, with their numbers.
fn answered(desk: &Desk) -> Vec<(ParticipantId, Epoch)> {
    let registered = |(to, message): &(ParticipantId, SchedulerMessage)| match message {
        SchedulerMessage::Registered(registered) => Some((to.clone(), registered.epoch)),
        _ => None,
    };
    desk.sent.iter().filter_map(registered).collect()
}

#[test]
fn names_without_end_lock_nobody_out() {
    let mut desk = Desk::with_room(&["alice"], room(3));
    // Who comes back is no stranger while there.
    leaves(&mut desk, "alice");
    desk.register("alice", 0, &[], &[]);
    for n in 0..10 {
        passes_by(&mut desk, &format!("ghost-{n}"));
    }
    assert_eq!(desk.known(), [who("alice"), who("ghost-8"), who("ghost-9")], "the last ones, and her");
    desk.sent.clear();
    desk.register("bob", 0, &[], &[]);
    desk.register("carol", 0, &[], &[]);
    let names: Vec<_> = answered(&desk).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [who("bob"), who("carol")]);
    assert_eq!(desk.known(), [who("alice"), who("bob"), who("carol")]);
    assert_eq!(desk.forgotten.last(), Some(&who("ghost-9")));
    assert!(desk.rejected.is_empty());
    // All are connected: nobody is forgotten for one more.
    desk.register("dave", 0, &[], &[]);
    assert_eq!(desk.rejected, [(who("dave"), Rejected::TooManyKnown)]);
    let booked = desk.book(hour(0), &["alice", "bob", "carol"]);
    assert_eq!(desk.booked("carol"), [booked]);
}

#[test]
fn whoever_left_first_is_forgotten_first() {
    let mut desk = Desk::with_room(&[], room(3));
    for (name, seconds) in [("bob", 1), ("alice", 1), ("carol", 1)] {
        desk.register(name, 0, &[], &[]);
        desk.pass(std::time::Duration::from_secs(seconds));
    }
    for name in ["carol", "alice", "bob"] {
        leaves(&mut desk, name);
        desk.pass(std::time::Duration::from_secs(1));
    }
    // A restart keeps the order.
    desk.restart();
    desk.register("carol", 0, &[], &[]);
    leaves(&mut desk, "carol");
    desk.register("dave", 0, &[], &[]);
    desk.register("erin", 0, &[], &[]);
    assert_eq!(desk.forgotten, [who("alice"), who("bob")]);
}

#[test]
fn whoever_was_asked_to_promise_is_not_forgotten() {
    let mut desk = Desk::with_room(&["alice", "bob"], room(2));
    let booked = desk.book(hour(0), &["alice"]);
    desk.schedule_at(hour(1), &["bob"]);
    let refused = desk.hold().attempt;
    desk.refuses("bob", &refused, Refusal::Busy);
    desk.acks("bob", &refused, AckKind::Release);
    leaves(&mut desk, "alice");
    leaves(&mut desk, "bob");
    let full = |desk: &mut Desk| {
        desk.rejected.clear();
        passes_by(desk, "made-up");
        assert_eq!(desk.rejected, [(who("made-up"), Rejected::TooManyKnown)]);
        assert_eq!(desk.known(), [who("alice"), who("bob")]);
    };
    full(&mut desk);
    // The store remembers as much.
    desk.restart();
    full(&mut desk);
    desk.sent.clear();
    let row = desk.row(&booked);
    desk.register("alice", 2, &[], &[&row]);
    assert_eq!(desk.booked("alice"), [booked]);
    assert_eq!(answered(&desk), [(who("alice"), Epoch(2))]);
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

/// Whoever is asked while the hold is on its way may leave before it is on disk.
#[test]
fn whoever_is_about_to_be_asked_is_not_forgotten() {
    let mut desk = Desk::with_room(&["alice"], room(1));
    desk.slow = true;
    desk.schedule_at(hour(0), &["alice"]);
    leaves(&mut desk, "alice");
    desk.register("made-up", 0, &[], &[]);
    assert_eq!(desk.rejected, [(who("made-up"), Rejected::TooManyKnown)]);
}

/// An answer to an earlier registration, which is on its way to the disk, is none to the later one (I7).
#[test]
fn whoever_is_forgotten_comes_back_under_numbers_that_were_never_given() {
    let mut desk = Desk::with_room(&[], room(1));
    desk.slow = true;
    over(&mut desk, 1, "alice");
    // What it has is read; its row is on its way.
    desk.commit_once();
    desk.input(Input::SessionClosed(SessionId(1)));
    over(&mut desk, 2, "made-up");
    assert_eq!(desk.forgotten, [who("alice")]);
    desk.input(Input::SessionClosed(SessionId(2)));
    over(&mut desk, 3, "alice");
    assert_eq!(desk.forgotten, [who("alice"), who("made-up")]);
    desk.commit_once();
    assert_eq!(
        answered(&desk),
        [],
        "the row of the first registration is on disk, and says nothing of the second"
    );
    desk.slow = false;
    desk.commit();
    assert_eq!(answered(&desk), [(who("alice"), Epoch(2))]);
    assert_eq!(desk.known(), [who("alice")]);
}

fn caller(address: &str, participants: usize) -> Caller {
    Caller { address: address.parse::<IpAddr>().expect("an address"), participants }
}

#[test]
fn one_caller_speaks_for_no_more_than_it_may() {
    let mut desk = Desk::new(&[]);
    for stream in [1, 2, 3] {
        desk.input(Input::SessionOpened(SessionId(stream), caller("192.0.2.1", 2)));
    }
    desk.input(Input::SessionOpened(SessionId(4), caller("192.0.2.2", 2)));
    over(&mut desk, 1, "a");
    over(&mut desk, 2, "b");
    over(&mut desk, 2, "c");
    assert_eq!(desk.rejected, [(who("c"), Rejected::TooManyOfCaller)]);
    over(&mut desk, 4, "d");
    // Whoever is there already, over this stream or another of the same caller's, takes no more room.
    over(&mut desk, 3, "a");
    over(&mut desk, 3, "a");
    assert_eq!(desk.rejected.len(), 1);
    // Somebody of another caller's takes room here, and gives it back there.
    over(&mut desk, 5, "d");
    desk.input(Input::SessionOpened(SessionId(6), caller("192.0.2.1", 2)));
    over(&mut desk, 6, "d");
    assert_eq!(desk.rejected[1..], [(who("d"), Rejected::TooManyOfCaller)]);
    desk.input(Input::Agent(SessionId(2), AgentMessage::Unregister { participant: who("b") }));
    over(&mut desk, 6, "d");
    desk.input(Input::SessionClosed(SessionId(6)));
    desk.input(Input::SessionClosed(SessionId(3)));
    over(&mut desk, 1, "c");
    over(&mut desk, 1, "e");
    assert_eq!(desk.rejected.len(), 2);
    over(&mut desk, 2, "b");
    assert_eq!(desk.rejected[2..], [(who("b"), Rejected::TooManyOfCaller)]);
}

#[test]
fn one_stream_speaks_for_so_many_in_all_its_life() {
    let mut desk = Desk::with_room(&[], Room { per_session: 2, ..Room::default() });
    for name in ["a", "b", "c"] {
        over(&mut desk, 1, name);
        desk.input(Input::Agent(SessionId(1), AgentMessage::Unregister { participant: who(name) }));
    }
    assert_eq!(desk.rejected[0], (who("c"), Rejected::TooManyOnStream));
    over(&mut desk, 1, "a");
    over(&mut desk, 2, "c");
    let full = desk.rejected.iter().filter(|(_, why)| *why == Rejected::TooManyOnStream).count();
    assert_eq!(full, 1, "{:?}", desk.rejected);
}

/// A stream's messages count as settled by what came over it: whoever registers the same participant over another stream
/// meanwhile is that one's to wait for.
#[test]
fn a_registration_is_waited_for_by_the_stream_that_it_came_over() {
    let mut desk = Desk::new(&[]);
    desk.slow = true;
    let waits = |desk: &Desk| [1, 2].map(|stream| desk.core.is_registering(&who("alice"), SessionId(stream)));
    over(&mut desk, 1, "alice");
    assert_eq!(waits(&desk), [true, false]);
    over(&mut desk, 2, "alice");
    assert_eq!(waits(&desk), [false, true]);
    desk.commit_once();
    assert_eq!(waits(&desk), [false, true], "what was read was read for the first");
    desk.commit_once();
    assert_eq!(waits(&desk), [false, false]);
}
