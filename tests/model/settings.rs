//! The settings that are explored, and their bounds.

use quorate::core::model::Role;

use super::setting::{Bounds, Setting, Wish};

/// The meeting of higher rank.
const FIRST: Wish = Wish::Schedule { half_hours: 0, priority: 2 };
/// Half an hour later: it overlaps, and has to give way.
const SECOND: Wish = Wish::Schedule { half_hours: 1, priority: 1 };

/// One fault of any kind.
const ANY_FAULT: Bounds = Bounds {
    faults: 1,
    losses: 1,
    duplicates: 1,
    breaks: 1,
    agent_crashes: 1,
    scheduler_crashes: 1,
    journal_losses: 1,
    agents_hear_at_once: true,
    scheduler_timers: 0,
    agent_timers: 0,
};
const NO_FAULT: Bounds = Bounds { faults: 0, ..ANY_FAULT };
const ONE_LOST_OR_TWICE: Bounds =
    Bounds { breaks: 0, agent_crashes: 0, scheduler_crashes: 0, journal_losses: 0, ..ANY_FAULT };

fn required(name: &'static str, participants: usize, wishes: &[Wish], bounds: Bounds) -> Setting {
    Setting {
        name,
        participants,
        booked: None,
        wishes: wishes.to_vec(),
        role: Role::Required,
        minimum: 0,
        bounds,
        plant: None,
    }
}

pub fn two_meetings() -> Setting {
    required("two meetings, 3 participants", 3, &[FIRST, SECOND], NO_FAULT)
}

pub fn one_meeting_any_fault() -> Setting {
    required("one meeting, 3 participants, any one fault", 3, &[FIRST], ANY_FAULT)
}

pub fn two_meetings_bad_network() -> Setting {
    required("two meetings, 2 participants, a message lost or twice", 2, &[FIRST, SECOND], ONE_LOST_OR_TWICE)
}

/// Two of two are wanted and one suffices, so that the grace for late votes counts too.
pub fn two_meetings_early_timer() -> Setting {
    let bounds = Bounds { scheduler_timers: 1, ..NO_FAULT };
    let setting =
        required("two meetings, 2 invited, one suffices, an early timer", 2, &[FIRST, SECOND], bounds);
    Setting { role: Role::Invited, minimum: 1, ..setting }
}

/// A meeting is moved by an hour, while another one wants half of its old time and half of its new one.
const MOVE: [Wish; 2] = [Wish::Move { half_hours: 2 }, Wish::Schedule { half_hours: 1, priority: 2 }];
/// A meeting is moved by half an hour, over half of its own time, while another one wants the rest of that.
const MOVE_OVER_ITSELF: [Wish; 2] =
    [Wish::Move { half_hours: 1 }, Wish::Schedule { half_hours: 2, priority: 2 }];
/// A meeting is called off, while another one wants half of its time.
const CANCEL: [Wish; 2] = [Wish::Cancel, Wish::Schedule { half_hours: 1, priority: 2 }];

fn booked(name: &'static str, wishes: &[Wish], bounds: Bounds) -> Setting {
    Setting { booked: Some(0), ..required(name, 2, wishes, bounds) }
}

pub fn move_and_race() -> Setting {
    booked("a move and a race, 2 participants, a message lost or twice", &MOVE, ONE_LOST_OR_TWICE)
}

pub fn cancel_and_race() -> Setting {
    booked("a cancel and a race, 2 participants, a message lost or twice", &CANCEL, ONE_LOST_OR_TWICE)
}

/// One participant: what matters is between its agent and the scheduler.
pub fn new_lives() -> Setting {
    let bounds = Bounds { faults: 2, losses: 0, duplicates: 0, breaks: 0, agent_crashes: 0, ..ANY_FAULT };
    required("one meeting, 1 participant, the scheduler dies and a journal is lost", 1, &[FIRST], bounds)
}

/// A lease runs out once, at any time.
pub fn lease_of_one_meeting() -> Setting {
    let bounds = Bounds { agent_timers: 1, ..NO_FAULT };
    required("one meeting, 3 participants, a lease runs out", 3, &[FIRST], bounds)
}

/// For a planted fault that only shows when all is said and done.
pub fn two_meetings_of_two() -> Setting {
    required("two meetings, 2 participants", 2, &[FIRST, SECOND], NO_FAULT)
}

/// Small enough to be explored by name too.
pub fn small() -> Vec<Setting> {
    let lost = Bounds { duplicates: 0, ..ONE_LOST_OR_TWICE };
    let any = Bounds { agents_hear_at_once: false, ..NO_FAULT };
    vec![
        required("one meeting, 3 participants, a message lost", 3, &[FIRST], lost),
        required("two meetings, 2 participants, any order", 2, &[FIRST, SECOND], any),
    ]
}

/// Explored with agents that hear at once, and with agents that hear at any time.
pub fn late_and_at_once() -> Vec<Setting> {
    vec![
        required("two meetings, 2 participants", 2, &[FIRST, SECOND], NO_FAULT),
        required("one meeting, 2 participants, a message lost or twice", 2, &[FIRST], ONE_LOST_OR_TWICE),
    ]
}

/// A message lost and one twice; or one of both, or none.
const LOST_AND_TWICE: Bounds = Bounds { faults: 2, ..ONE_LOST_OR_TWICE };

/// For `MODEL=wide`: two meetings and three participants, in any order, and with a lost message, a doubled one, or both.
pub fn wide() -> Vec<Setting> {
    let both = [FIRST, SECOND];
    let any_order = Bounds { agents_hear_at_once: false, ..NO_FAULT };
    vec![
        required("two meetings, 3 participants, any order", 3, &both, any_order),
        required("two meetings, 3 participants, a message lost and one twice", 3, &both, LOST_AND_TWICE),
    ]
}

/// For `MODEL=full`, besides.
pub fn full() -> Vec<Setting> {
    let both = [FIRST, SECOND];
    let timers = Bounds { scheduler_timers: 1, agent_timers: 1, ..NO_FAULT };
    vec![
        required("two meetings, 2 participants, a lease runs out and an early timer", 2, &both, timers),
        required("two meetings, 2 participants, any one fault", 2, &both, ANY_FAULT),
        booked("a move and a race, 2 participants, any one fault", &MOVE, ANY_FAULT),
        booked("a move over itself, 2 participants, any one fault", &MOVE_OVER_ITSELF, ANY_FAULT),
        booked("a cancel and a race, 2 participants, any one fault", &CANCEL, ANY_FAULT),
    ]
}
