//! Room for names: whoever makes them up takes the room of its own first, and nobody's who is bound by a promise.

use std::net::IpAddr;

use quorate::core::coordinator::{Caller, Change, Command, Input, Rejected, Room};
use quorate::core::ids::{Epoch, ParticipantId, SessionId};
use quorate::core::limits;
use quorate::core::message::{AckKind, AgentMessage, Refusal, SchedulerMessage};

use super::desk::{Desk, attendees, hour, options, session, who};

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
fn whoever_is_bound_is_not_forgotten() {
    let mut desk = Desk::with_room(&["alice", "bob"], room(2));
    let [booked, other] = [hour(0), hour(1)].map(|at| desk.book(at, &["alice"]));
    // Bob has to be told that his is called off.
    let off = desk.book(hour(2), &["bob"]);
    desk.command(Command::Cancel { meeting: off.meeting.clone(), version: None });
    leaves(&mut desk, "alice");
    leaves(&mut desk, "bob");
    let full = |desk: &mut Desk| {
        for _ in 0..2 {
            desk.pass(limits::STRANGERS_LOOK);
            desk.rejected.clear();
            passes_by(desk, "made-up");
            assert_eq!(desk.rejected, [(who("made-up"), Rejected::TooManyKnown)]);
        }
        assert_eq!(desk.known(), [who("alice"), who("bob")]);
    };
    full(&mut desk);
    // The store remembers as much.
    desk.restart();
    full(&mut desk);
    desk.sent.clear();
    let rows = [desk.row(&booked), desk.row(&other)];
    desk.register("alice", 2, &[], &[&rows[0], &rows[1]]);
    assert_eq!(desk.booked("alice"), [booked, other]);
    assert_eq!(answered(&desk), [(who("alice"), Epoch(2))]);
    assert!(desk.alarms.is_empty(), "{:?}", desk.alarms);
}

/// What was refused, called off or is over binds nobody; and it is looked no more often than may be.
#[test]
fn whom_nothing_binds_any_more_makes_room_for_others() {
    let mut desk = Desk::with_room(&[], room(4));
    let one = caller("192.0.2.1", 1);
    for n in 0..4 {
        let name = format!("ghost-{n}");
        desk.input(Input::SessionOpened(session(&who(&name)), one));
        desk.register(&name, 0, &[], &[]);
        match n {
            0 => {
                desk.schedule_at(hour(n), &[&name]);
                let hold = desk.hold().attempt;
                desk.refuses(&name, &hold, Refusal::Busy);
                desk.acks(&name, &hold, AckKind::Release);
            }
            1 => {
                let off = desk.book(hour(n), &[&name]);
                desk.command(Command::Cancel { meeting: off.meeting.clone(), version: None });
                desk.acks(&name, &off, AckKind::Release);
            }
            2 => drop(desk.book(hour(-24 * 365), &[&name])),
            _ => drop(desk.book(hour(n), &[&name])),
        }
        leaves(&mut desk, &name);
    }
    for restart in [false, true] {
        if restart {
            desk.restart();
            desk.pass(limits::STRANGERS_LOOK);
        }
        let names = if restart { ["dave", "erin"] } else { ["alice", "bob"] };
        // The first one comes twice: who is to make room is looked up in between.
        desk.register(names[0], 0, &[], &[]);
        assert_eq!(desk.rejected.pop(), Some((who(names[0]), Rejected::TooManyKnown)));
        desk.register(names[0], 0, &[], &[]);
        if restart {
            assert_eq!(
                desk.rejected.pop(),
                Some((who("dave"), Rejected::TooManyKnown)),
                "all are bound or here"
            );
            break;
        }
        desk.register(names[1], 0, &[], &[]);
        desk.register("carol", 0, &[], &[]);
        assert_eq!(desk.rejected, []);
        // The last of them is booked for what is to come; and alice, bob and carol are here.
        desk.register("dave", 0, &[], &[]);
        assert_eq!(desk.rejected.pop(), Some((who("dave"), Rejected::TooManyKnown)));
        for name in ["alice", "bob", "carol"] {
            desk.book(hour(5), &[name]);
        }
    }
    assert_eq!(desk.forgotten, [who("ghost-0"), who("ghost-1"), who("ghost-2")]);
}

/// Bob is asked to join a meeting that does not name him yet, and has promised, when the scheduler restarts. He is not forgotten
/// before the release for him is on disk, nor later.
#[test]
fn whoever_holds_at_a_restart_is_not_forgotten() {
    let mut desk = Desk::with_room(&["alice", "bob"], room(2));
    let booked = desk.book(hour(0), &["alice"]);
    let change = Change {
        attendees: Some(attendees(&["alice", "bob"])),
        minimum_participants: Some(0),
        ..Change::default()
    };
    desk.command(Command::Update { meeting: booked.meeting, version: None, change, options: options() });
    let hold = desk.hold().attempt;
    desk.grants("bob", &hold);
    let row = desk.row(&hold);
    assert!(row.asked.contains(&who("bob")), "{:?}", row.asked);
    desk.slow = true;
    desk.restart();
    desk.register("made-up", 0, &[], &[]);
    desk.slow = false;
    desk.commit();
    desk.register("made-up", 0, &[], &[]);
    assert_eq!(desk.forgotten, []);
    desk.register("bob", 1, &[&row], &[]);
    assert!(!desk.released(&hold).is_empty());
}

/// Whoever makes up names has its own forgotten first: others may have registered long ago.
#[test]
fn those_of_whoever_has_most_are_forgotten_first() {
    let mut desk = Desk::with_room(&[], room(4));
    passes_by(&mut desk, "olga");
    desk.pass(std::time::Duration::from_secs(60));
    for n in 0..9 {
        let name = format!("ghost-{n}");
        desk.input(Input::SessionOpened(session(&who(&name)), caller("192.0.2.1", 1)));
        passes_by(&mut desk, &name);
    }
    assert_eq!(desk.known(), ["ghost-6", "ghost-7", "ghost-8", "olga"].map(who));
}

/// Names that are forgotten leave nothing behind.
#[test]
fn what_is_forgotten_takes_no_memory() {
    let mut desk = Desk::with_room(&["alice"], room(3));
    let mut size_after = |count: usize| {
        for n in 0..count {
            passes_by(&mut desk, &format!("ghost{n:03}"));
        }
        format!("{:?}", desk.core).len()
    };
    let first = size_after(100);
    // Numbers that rise have more digits.
    assert!(size_after(900) < first + 200);
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

/// Streams remember for whom they ever spoke, as long as they are open.
#[test]
fn one_caller_speaks_for_so_many_in_all_over_its_streams() {
    let mut desk = Desk::new(&[]);
    let most = limits::NAMES_PER_PARTICIPANT as u64;
    for n in 0..=most {
        desk.input(Input::SessionOpened(SessionId(n), caller("192.0.2.1", 1)));
        let name = format!("ghost-{n}");
        over(&mut desk, n, &name);
        desk.input(Input::Agent(SessionId(n), AgentMessage::Unregister { participant: who(&name) }));
    }
    let refused = (who(&format!("ghost-{most}")), Rejected::TooManyOfCaller);
    assert_eq!(desk.rejected.remove(0), refused);
    desk.rejected.clear();
    // Whoever was there before comes back over its stream, and a stream that ends makes room.
    over(&mut desk, 1, "ghost-1");
    desk.input(Input::SessionClosed(SessionId(1)));
    over(&mut desk, most, &format!("ghost-{most}"));
    assert_eq!(desk.rejected, []);
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
