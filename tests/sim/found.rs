//! What the campaign found in the product, each as a case of its own that no change of the generator can lose.

use quorate::core::availability::Disclosure;
use quorate::core::coordinator::{Coordinator, Effect, Input, Start};
use quorate::core::ids::{Attempt, AttemptNumber, MeetingId, SessionId};
use quorate::core::message::{AgentMessage, Register, ReleaseCause, SchedulerMessage};
use quorate::core::time::{Mono, Now};
use quorate::engine::store::{Operation, OperationResult, Store};
use quorate::store::MemoryStore;

use super::plan::{midnight, name};

/// A scheduler on a store that answers at once.
struct Small {
    core: Coordinator,
    store: MemoryStore,
    sent: Vec<SchedulerMessage>,
}

fn start() -> Now {
    Now { mono: Mono::default(), wall: midnight() }
}

impl Small {
    fn new() -> Self {
        let mut store = MemoryStore::new();
        let snapshot = store.snapshot().expect("a snapshot");
        let (core, effects) = Coordinator::start(start(), Start { snapshot, seed: 1 });
        let mut small = Self { core, store, sent: Vec::new() };
        small.carry_out(effects);
        small
    }

    fn says(&mut self, message: AgentMessage) {
        let effects = self.core.handle(start(), Input::Agent(SessionId(1), message));
        self.carry_out(effects);
    }

    /// Both come in before the store answers anything.
    fn says_both(&mut self, first: AgentMessage, second: AgentMessage) {
        let mut effects = self.core.handle(start(), Input::Agent(SessionId(1), first));
        effects.extend(self.core.handle(start(), Input::Agent(SessionId(1), second)));
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let (op, operation) = match effect {
                Effect::Apply(op, transaction) => (op, Operation::Apply(transaction)),
                Effect::Read(op, read) => (op, Operation::Read(read)),
                Effect::Send(_, _, message) => {
                    self.sent.push(message);
                    continue;
                }
                _ => continue,
            };
            let input = match self.store.run(&[operation]).expect("the store").pop() {
                Some(OperationResult::Applied(applied)) => Input::Applied(op, applied),
                Some(OperationResult::Read(result)) => Input::Read(op, result),
                None => continue,
            };
            let effects = self.core.handle(start(), input);
            self.carry_out(effects);
        }
    }
}

fn registers(journal_sequence: u64) -> AgentMessage {
    AgentMessage::Register(Box::new(Register {
        participant: name(0),
        display_name: String::new(),
        time_zone: None,
        disclosure: Disclosure::FreeBusy,
        journal_id: "journal".into(),
        journal_sequence,
        held: Vec::new(),
        booked: Vec::new(),
        withdrawn: Vec::new(),
        scheduler_generation: 0,
        scheduler_incarnation: String::new(),
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
    small.says(withdraws(&Attempt::new(MeetingId::new("lost"), AttemptNumber(1))));
    assert_eq!(small.core.undelivered_count(), 1, "a release to the older life");
    small.says_both(registers(0), registers(0));
    assert_eq!(small.core.undelivered_count(), 0, "it concerns nobody any more");
}

/// The same if the stream broke before the first registration was settled.
#[test]
fn a_new_life_whose_stream_broke_is_still_a_new_life() {
    let mut small = Small::new();
    small.says(registers(4));
    small.says(withdraws(&Attempt::new(MeetingId::new("lost"), AttemptNumber(1))));
    let mut effects = small.core.handle(start(), Input::Agent(SessionId(1), registers(0)));
    effects.extend(small.core.handle(start(), Input::SessionClosed(SessionId(1))));
    small.carry_out(effects);
    small.says(registers(0));
    assert_eq!(small.core.undelivered_count(), 0, "it concerns nobody any more");
}
