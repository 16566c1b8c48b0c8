//! What the campaign found in the product, each as a case of its own that no change of the generator can lose.

use std::sync::mpsc;
use std::time::Duration;

use quorate::core::availability::Disclosure;
use quorate::core::coordinator::{Command, Coordinator, Effect, Input, Room, ScheduleRequest, Start};
use quorate::core::ids::{Attempt, AttemptNumber, MeetingId, RequestId, SessionId, Ticket};
use quorate::core::limits;
use quorate::core::message::{AgentMessage, Refusal, Register, ReleaseCause, SchedulerMessage, Vote};
use quorate::core::model::{Attendee, Options, Role};
use quorate::core::random::Random;
use quorate::core::time::{Mono, Now};
use quorate::engine::store::{Operation, OperationResult, Store};
use quorate::store::MemoryStore;

use super::plan::{Plan, hour, midnight, name};

/// A scheduler on a store that answers at once.
struct Small {
    core: Coordinator,
    store: MemoryStore,
    sent: Vec<SchedulerMessage>,
    answered: Vec<Ticket>,
    now: Now,
}

/// The stream that is there from the beginning.
const FIRST: SessionId = SessionId(1);

fn start() -> Now {
    Now { mono: Mono::default(), wall: midnight() }
}

impl Small {
    fn new() -> Self {
        let mut store = MemoryStore::new();
        let snapshot = store.snapshot().expect("a snapshot");
        let (core, effects) = Coordinator::start(start(), Start { snapshot, seed: 1, room: Room::default() });
        let mut small = Self { core, store, sent: Vec::new(), answered: Vec::new(), now: start() };
        small.carry_out(effects);
        small
    }

    fn says(&mut self, message: AgentMessage) {
        let effects = self.core.handle(self.now, Input::Agent(FIRST, message));
        self.carry_out(effects);
    }

    /// Ticket 1 asks for an hour with one of two; returns the attempt whose holds were sent.
    fn asks_for_one_of_two(&mut self) -> Attempt {
        let wish = Plan::new(1, None).wish(&mut Random::new(1));
        let mut spec = wish.spec;
        spec.attendees = (0..2).map(|who| Attendee { id: name(who), role: Role::Invited }).collect();
        spec.minimum_participants = 1;
        let request = ScheduleRequest {
            request_id: Some(RequestId::new("r")),
            body_hash: String::new(),
            spec,
            slot: Some(hour(&mut Random::new(1), 1)),
            options: wish.options,
            validate_only: false,
        };
        let command = Command::Schedule(Box::new(request));
        self.takes(Input::Command { ticket: Ticket(1), command, deadline: None });
        let hold = self.sent.iter().find_map(|message| match message {
            SchedulerMessage::Hold(hold) => Some(hold.attempt.clone()),
            _ => None,
        });
        hold.expect("a hold")
    }

    fn takes(&mut self, input: Input) {
        let effects = self.core.handle(self.now, input);
        self.carry_out(effects);
    }

    fn pass(&mut self, length: Duration) {
        self.now.mono = self.now.mono + length;
        self.takes(Input::Timeout);
    }

    /// Both come in over this stream before the store answers anything.
    fn says_both(&mut self, stream: SessionId, first: AgentMessage, second: AgentMessage) {
        let mut effects = self.core.handle(self.now, Input::Agent(stream, first));
        effects.extend(self.core.handle(self.now, Input::Agent(stream, second)));
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let (op, operation) = match effect {
                Effect::Apply(op, transaction) => (op, Operation::Apply(transaction)),
                Effect::Read(op, read) => (op, Operation::Read(read)),
                Effect::Send(_, _, message, _) => {
                    self.sent.push(message);
                    continue;
                }
                Effect::Reply(ticket, _) => {
                    self.answered.push(ticket);
                    continue;
                }
                _ => continue,
            };
            let input = match self.store.run(&[operation]).expect("the store").pop() {
                Some(OperationResult::Applied(applied)) => Input::Applied(op, applied),
                Some(OperationResult::Read(result)) => Input::Read(op, result),
                None => continue,
            };
            let effects = self.core.handle(self.now, input);
            self.carry_out(effects);
        }
    }
}

fn registers(journal_sequence: u64) -> AgentMessage {
    registers_as(0, journal_sequence)
}

fn registers_as(who: usize, journal_sequence: u64) -> AgentMessage {
    AgentMessage::Register(Box::new(Register {
        participant: name(who),
        display_name: String::new(),
        time_zone: None,
        zone_data: None,
        calendar_problem: String::new(),
        disclosure: Disclosure::FreeBusy,
        journal_id: "journal".into(),
        journal_sequence,
        held: Vec::new(),
        booked: Vec::new(),
        withdrawn: Vec::new(),
        scheduler_generation: 0,
        scheduler_incarnation: String::new(),
        origin: Default::default(),
    }))
}

fn withdraws(attempt: &Attempt) -> AgentMessage {
    AgentMessage::Withdraw {
        participant: name(0),
        meeting: attempt.meeting.clone(),
        attempt: Some(attempt.n),
        reason: "on leave".into(),
        sequence: 7,
    }
}

/// A store put back to an older copy does not know the meeting that a participant leaves: the withdrawal is
/// answered all the same, or the agent repeats it for ever.
#[test]
fn a_withdrawal_from_a_meeting_that_the_store_lost_is_answered() {
    let mut small = Small::new();
    small.says(registers(4));
    let attempt = Attempt::new(MeetingId::new("lost"), AttemptNumber(1));
    small.says(withdraws(&attempt));
    let answer = SchedulerMessage::Release { attempt, cause: ReleaseCause::Withdrawn };
    assert!(small.sent.contains(&answer), "{:?}", small.sent);
}

/// A registration that is repeated before the first one is settled is of the same new life of the journal: what
/// concerned the older life is dropped (PROTOCOL.md, "Registration is reconciliation").
#[test]
fn a_new_life_of_a_journal_that_registers_twice_is_still_a_new_life() {
    let mut small = Small::new();
    small.says(registers(4));
    let attempt = small.asks_for_one_of_two();
    small.says(withdraws(&attempt));
    assert_eq!(small.core.undelivered_count(), 1, "a release to the older life");
    small.says_both(SessionId(2), registers(0), registers(0));
    assert_eq!(small.core.undelivered_count(), 0, "it concerns nobody any more");
}

/// The same if the stream broke before the first registration was settled.
#[test]
fn a_new_life_whose_stream_broke_is_still_a_new_life() {
    let mut small = Small::new();
    small.says(registers(4));
    let attempt = small.asks_for_one_of_two();
    small.says(withdraws(&attempt));
    assert_eq!(small.core.undelivered_count(), 1, "a release to the older life");
    let mut effects = small.core.handle(small.now, Input::Agent(SessionId(1), registers(0)));
    effects.extend(small.core.handle(small.now, Input::SessionClosed(SessionId(1))));
    small.carry_out(effects);
    small.says(registers(0));
    assert_eq!(small.core.undelivered_count(), 0, "it concerns nobody any more");
}

/// Enough had voted, the grace for the others began, and then a vote was lost with its journal: when the grace was over,
/// the timer was set to that same moment again and again, and the scheduler stood still.
#[test]
fn a_vote_that_is_lost_during_the_grace_stops_no_scheduler() {
    let (done, waits) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut small = Small::new();
        small.says(registers_as(0, 4));
        small.says(registers_as(1, 4));
        let attempt = small.asks_for_one_of_two();
        small.says(AgentMessage::Vote { participant: name(0), attempt, vote: Vote::Granted, sequence: 5 });
        small.says(registers_as(0, 0));
        small.pass(limits::VOTE_GRACE);
        let next = small.core.poll_timeout();
        done.send(next.is_some_and(|at| at > small.now.mono)).expect("somebody waits");
    });
    // Far longer than it takes: only a loop that never ends lets it pass.
    assert_eq!(waits.recv_timeout(Duration::from_secs(20)), Ok(true));
}

/// A cancel that came in while the failure of its meeting was on its way to the store was never answered.
#[test]
fn a_cancel_that_crosses_a_failure_is_answered() {
    let mut small = Small::new();
    small.says(registers_as(0, 4));
    small.says(registers_as(1, 4));
    let attempt = small.asks_for_one_of_two();
    let refuses = |who: usize| {
        let (participant, attempt) = (name(who), attempt.clone());
        AgentMessage::Vote { participant, attempt, vote: Vote::Refused(Refusal::Busy), sequence: 4 }
    };
    small.says(refuses(0));
    let mut effects = small.core.handle(small.now, Input::Agent(SessionId(1), refuses(1)));
    let command = Command::Cancel { meeting: attempt.meeting.clone(), version: None };
    effects
        .extend(small.core.handle(small.now, Input::Command { ticket: Ticket(2), command, deadline: None }));
    small.carry_out(effects);
    assert_eq!(small.answered, [Ticket(1), Ticket(2)]);
}

/// A move that fails while an attendee's withdrawal is on its way to the store is answered behind the withdrawal: what
/// a caller is told is on disk.
#[test]
fn a_failed_move_is_answered_behind_a_withdrawal() {
    let mut small = Small::new();
    small.says(registers_as(0, 4));
    small.says(registers_as(1, 4));
    let attempt = small.asks_for_one_of_two();
    for who in 0..2 {
        let (participant, attempt) = (name(who), attempt.clone());
        small.says(AgentMessage::Vote { participant, attempt, vote: Vote::Granted, sequence: 5 });
    }
    let plan = Plan::new(1, None);
    let wish = plan.wish(&mut Random::new(1));
    let command = Command::Reschedule {
        meeting: attempt.meeting.clone(),
        version: None,
        slot: None,
        window: Some(plan.window(&mut Random::new(1))),
        duration: None,
        options: Options { max_candidates_per_round: 0, ..wish.options },
    };
    small.takes(Input::Command { ticket: Ticket(2), command, deadline: None });
    let query = small.sent.iter().find_map(|message| match message {
        SchedulerMessage::Query(query) => Some(query.id.clone()),
        _ => None,
    });
    let query = query.expect("a query");
    let mut effects = small.core.handle(small.now, Input::Agent(SessionId(1), withdraws(&attempt)));
    for who in 0..2 {
        let (participant, query, answer) = (name(who), query.clone(), Err("no time".to_owned()));
        let message = AgentMessage::Availability { participant, query, answer };
        effects.extend(small.core.handle(small.now, Input::Agent(SessionId(1), message)));
    }
    let early = effects.iter().any(|effect| matches!(effect, Effect::Reply(..)));
    small.carry_out(effects);
    assert_eq!((early, small.answered.as_slice()), (false, [Ticket(1), Ticket(2)].as_slice()));
}
