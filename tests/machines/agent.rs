//! The agent's table, row by row.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate::core::availability::Disclosure;
use quorate::core::ids::{Attempt, AttemptNumber, Epoch, Lineage, MeetingId};
use quorate::core::limits;
use quorate::core::message::{
    AckKind, AgentMessage, Booking, Hold, Refusal, Registered, ReleaseCause, SchedulerMessage, Vote,
};
use quorate::core::participant::{
    ASK_AGAIN, Journal, JournalRecord, Output, OwnTime, Participant, Profile, PromiseState,
};
use quorate::core::time::{Mono, Now, TimeRange};

use super::desk::{hour, morning, who};

struct Own(Vec<TimeRange>);

impl OwnTime for Own {
    fn busy(&self, _: TimeRange, _: bool) -> Result<Vec<TimeRange>, String> {
        Ok(self.0.clone())
    }
}

struct Unreadable;

impl OwnTime for Unreadable {
    fn busy(&self, _: TimeRange, _: bool) -> Result<Vec<TimeRange>, String> {
        Err("line 7".into())
    }
}

fn now(seconds: u64) -> Now {
    Now { mono: Mono(Duration::from_secs(seconds)), wall: morning() - chrono::Duration::days(1) }
}

fn attempt(meeting: &str, n: u64) -> Attempt {
    Attempt::new(MeetingId::new(meeting), AttemptNumber(n))
}

fn hold(meeting: &str, n: u64, slot: TimeRange) -> SchedulerMessage {
    over(meeting, n, slot, &[])
}

fn over(meeting: &str, n: u64, slot: TimeRange, displaces: &[Attempt]) -> SchedulerMessage {
    SchedulerMessage::Hold(Arc::new(Hold {
        attempt: attempt(meeting, n),
        slot,
        blocked: slot,
        lease: limits::LEASE,
        displaces: displaces.to_vec(),
        priority: 1,
        title: "planning".into(),
        organizer: String::new(),
    }))
}

fn booking(meeting: &str, n: u64, slot: TimeRange) -> Booking {
    Booking {
        attempt: attempt(meeting, n),
        slot,
        blocked: slot,
        title: "planning".into(),
        organizer: String::new(),
        attendees: vec![who("alice")],
        sequence: 0,
        revision: 1,
        series: None,
    }
}

fn confirm(meeting: &str, n: u64, slot: TimeRange) -> SchedulerMessage {
    SchedulerMessage::Confirm { booking: Arc::new(booking(meeting, n, slot)), displaces: Vec::new() }
}

fn release(meeting: &str, n: u64, cause: ReleaseCause) -> SchedulerMessage {
    SchedulerMessage::Release { attempt: attempt(meeting, n), cause }
}

/// A machine and the journal that a crash would leave.
struct Alice {
    machine: Participant,
    disk: Journal,
    own: Own,
}

impl Alice {
    fn over(disk: Journal) -> Self {
        let profile = Profile {
            id: who("alice"),
            display_name: "Alice".into(),
            time_zone: None,
            disclosure: Disclosure::FreeBusy,
        };
        Self { machine: Participant::new(profile, disk.clone()), disk, own: Own(Vec::new()) }
    }

    fn new() -> Self {
        let mut alice = Self::over(Journal { id: "j".into(), ..Journal::default() });
        alice.connect(0);
        alice
    }

    fn connect(&mut self, at: u64) -> Output {
        let output = self.machine.connected(now(at));
        let registered = Registered {
            participant: who("alice"),
            epoch: Epoch(1),
            lineage: Lineage(1),
            bookings: Vec::new(),
            generation: 0,
            incarnation: "one".into(),
        };
        self.hears(at, SchedulerMessage::Registered(Box::new(registered)));
        output
    }

    fn hears(&mut self, at: u64, message: SchedulerMessage) -> Output {
        let output = self.machine.receive(now(at), message, &self.own);
        output.records.iter().for_each(|record| self.disk.apply(record));
        assert_eq!(self.machine.journal(), &self.disk, "all that the machine knows is in its records");
        output
    }

    fn restart(&mut self, at: u64) -> Output {
        let own = std::mem::replace(&mut self.own, Own(Vec::new()));
        *self = Self::over(self.disk.clone());
        self.own = own;
        self.connect(at)
    }

    fn state(&self, meeting: &str, n: u64) -> Option<PromiseState> {
        self.disk.promises.get(&attempt(meeting, n)).map(|row| row.state)
    }

    fn tombstone(&self, meeting: &str) -> Option<u64> {
        self.disk.tombstones.get(&MeetingId::new(meeting)).map(|n| n.0)
    }
}

fn vote(output: &Output) -> Vote {
    match output.messages.as_slice() {
        [AgentMessage::Vote { vote, .. }] => vote.clone(),
        other => panic!("a vote, not {other:?}"),
    }
}

fn acked(output: &Output, kind: AckKind) -> bool {
    matches!(output.messages.as_slice(), [AgentMessage::Ack { kind: k, .. }] if *k == kind)
}

#[test]
fn none_hold_is_journalled_before_the_yes() {
    let mut alice = Alice::new();
    let output = alice.hears(1, hold("m", 1, hour(0)));
    assert_eq!(vote(&output), Vote::Granted);
    assert!(
        matches!(output.records.as_slice(), [JournalRecord::Promise(row)] if row.state == PromiseState::Held)
    );
    let [AgentMessage::Vote { sequence, .. }] = output.messages.as_slice() else { panic!("a vote") };
    assert_eq!(*sequence, alice.disk.sequence);
}

#[test]
fn none_hold_is_refused_for_what_stands_in_the_way() {
    let mut alice = Alice::new();
    alice.own = Own(vec![hour(5)]);
    alice.hears(1, hold("held", 1, hour(0)));
    alice.hears(1, confirm("booked", 1, hour(1)));
    let held = Refusal::Held(Some(attempt("held", 1)));
    for (slot, refusal) in [(hour(0), held), (hour(1), Refusal::Booked), (hour(5), Refusal::Busy)] {
        let output = alice.hears(2, hold("m", 1, slot));
        assert_eq!(vote(&output), Vote::Refused(refusal));
        assert!(output.records.is_empty());
    }
}

#[test]
fn a_hold_that_only_touches_is_granted() {
    let mut alice = Alice::new();
    alice.hears(1, hold("a", 1, hour(0)));
    assert_eq!(vote(&alice.hears(1, hold("b", 1, hour(1)))), Vote::Granted);
}

#[test]
fn an_unreadable_calendar_is_never_free() {
    let mut alice = Alice::new();
    let output = alice.machine.receive(now(1), hold("m", 1, hour(0)), &Unreadable);
    assert_eq!(vote(&output), Vote::Refused(Refusal::Busy));
}

#[test]
fn a_final_reason_is_named_before_one_that_may_pass() {
    let mut alice = Alice::new();
    alice.hears(1, hold("held", 1, hour(0)));
    alice.own = Own(vec![hour(0)]);
    assert_eq!(vote(&alice.hears(2, hold("m", 1, hour(0)))), Vote::Refused(Refusal::Busy));
}

#[test]
fn none_confirm_installs_a_lost_booking() {
    let mut alice = Alice::new();
    let output = alice.hears(1, confirm("m", 1, hour(0)));
    assert!(acked(&output, AckKind::Confirm) && output.bookings_changed);
    assert_eq!(alice.state("m", 1), Some(PromiseState::Confirmed));
}

#[test]
fn none_confirm_that_clashes_is_left() {
    let mut alice = Alice::new();
    alice.hears(1, hold("other", 1, hour(0)));
    let output = alice.hears(2, confirm("m", 1, hour(0)));
    assert!(matches!(output.messages.as_slice(), [AgentMessage::Withdraw { .. }]));
    assert_eq!((alice.state("m", 1), alice.disk.withdrawn.len()), (None, 1));
}

#[test]
fn none_release_leaves_a_tombstone() {
    let mut alice = Alice::new();
    let output = alice.hears(1, release("m", 3, ReleaseCause::Aborted));
    assert!(acked(&output, AckKind::Release));
    assert_eq!(alice.tombstone("m"), Some(3));
    assert!(alice.hears(1, release("m", 2, ReleaseCause::Aborted)).records.is_empty());
    assert_eq!(alice.tombstone("m"), Some(3));
}

#[test]
fn held_hold_again_is_the_same_vote() {
    let mut alice = Alice::new();
    alice.hears(1, hold("m", 1, hour(0)));
    let output = alice.hears(2, hold("m", 1, hour(0)));
    assert_eq!(vote(&output), Vote::Granted);
    assert!(output.records.is_empty());
}

#[test]
fn held_confirm_drops_what_it_displaces_in_one_write() {
    let mut alice = Alice::new();
    alice.hears(1, confirm("m", 1, hour(0)));
    assert_eq!(vote(&alice.hears(2, over("m", 2, hour(0), &[attempt("m", 1)]))), Vote::Granted);
    let output = alice.hears(3, confirm("m", 2, hour(0)));
    assert!(acked(&output, AckKind::Confirm));
    assert_eq!((alice.state("m", 1), alice.state("m", 2)), (None, Some(PromiseState::Confirmed)));
    assert_eq!(alice.tombstone("m"), Some(1));
    assert!(output.records.contains(&JournalRecord::Drop(attempt("m", 1))));
}

#[test]
fn held_release_frees_the_time() {
    let mut alice = Alice::new();
    alice.hears(1, hold("m", 1, hour(0)));
    assert!(acked(&alice.hears(2, release("m", 1, ReleaseCause::Aborted)), AckKind::Release));
    assert_eq!((alice.state("m", 1), alice.tombstone("m")), (None, Some(1)));
    assert_eq!(vote(&alice.hears(3, hold("other", 1, hour(0)))), Vote::Granted);
}

#[test]
fn held_asks_after_its_lease_again_and_again_and_stays_held() {
    let mut alice = Alice::new();
    alice.hears(1, hold("m", 1, hour(0)));
    let lease = limits::LEASE.as_secs();
    assert_eq!(alice.machine.poll_timeout(), Some(Mono(Duration::from_secs(1 + lease))));
    assert!(alice.machine.timeout(now(lease)).messages.is_empty());
    for round in 0..3 {
        let output = alice.machine.timeout(now(1 + lease + round * ASK_AGAIN.as_secs()));
        assert!(matches!(output.messages.as_slice(), [AgentMessage::Resolve { .. }]), "round {round}");
        assert!(output.records.is_empty());
        assert_eq!(alice.state("m", 1), Some(PromiseState::Held));
    }
}

#[test]
fn held_survives_a_restart_with_its_lease_over() {
    let mut alice = Alice::new();
    alice.hears(1, hold("m", 1, hour(0)));
    let output = alice.restart(2);
    let [AgentMessage::Register(register)] = output.messages.as_slice() else { panic!("a registration") };
    assert_eq!(register.held.len(), 1);
    assert!(register.held[0].lease_over);
    assert_eq!(alice.state("m", 1), Some(PromiseState::Held));
    let asked = alice.machine.timeout(now(2));
    assert!(matches!(asked.messages.as_slice(), [AgentMessage::Resolve { .. }]));
}

#[test]
fn confirmed_confirm_takes_over_details_and_acks() {
    let mut alice = Alice::new();
    alice.hears(1, confirm("m", 1, hour(0)));
    let again = alice.hears(2, confirm("m", 1, hour(0)));
    assert!(acked(&again, AckKind::Confirm) && again.records.is_empty() && !again.bookings_changed);
    let renamed = Booking { title: "retrospective".into(), ..booking("m", 1, hour(0)) };
    let message = SchedulerMessage::Confirm { booking: Arc::new(renamed), displaces: Vec::new() };
    assert!(alice.hears(3, message).bookings_changed);
    assert_eq!(alice.machine.bookings().next().map(|b| b.title.as_str()), Some("retrospective"));
}

#[test]
fn confirmed_release_drops_it() {
    let mut alice = Alice::new();
    alice.hears(1, confirm("m", 1, hour(0)));
    let output = alice.hears(2, release("m", 1, ReleaseCause::Cancelled));
    assert!(acked(&output, AckKind::Release) && output.bookings_changed);
    assert_eq!((alice.state("m", 1), alice.tombstone("m")), (None, Some(1)));
}

#[test]
fn released_hold_is_stale_and_confirm_is_ignored() {
    let mut alice = Alice::new();
    alice.hears(1, release("m", 2, ReleaseCause::Aborted));
    for n in 1..=2 {
        assert_eq!(vote(&alice.hears(2, hold("m", n, hour(0)))), Vote::Refused(Refusal::Stale));
        assert!(acked(&alice.hears(2, confirm("m", n, hour(0))), AckKind::Confirm));
        assert_eq!(alice.state("m", n), None);
    }
    assert_eq!(vote(&alice.hears(3, hold("m", 3, hour(0)))), Vote::Granted);
}

#[test]
fn withdrawn_is_repeated_until_released() {
    let mut alice = Alice::new();
    alice.hears(1, confirm("m", 1, hour(0)));
    let output = alice.machine.withdraw(now(2), &MeetingId::new("m"), "ill");
    output.records.iter().for_each(|record| alice.disk.apply(record));
    assert!(matches!(output.messages.as_slice(), [AgentMessage::Withdraw { .. }]));
    assert!(acked(&alice.hears(3, confirm("m", 1, hour(0))), AckKind::Confirm));
    assert_eq!(alice.state("m", 1), None);
    assert!(acked(&alice.hears(3, release("m", 1, ReleaseCause::Moved)), AckKind::Release));
    let again = alice.machine.timeout(now(2 + ASK_AGAIN.as_secs()));
    assert!(matches!(again.messages.as_slice(), [AgentMessage::Withdraw { .. }]));
    let restarted = alice.restart(10);
    let [AgentMessage::Register(register)] = restarted.messages.as_slice() else { panic!("a registration") };
    assert_eq!(register.withdrawn, vec![(attempt("m", 1), "ill".to_owned())]);
    assert!(acked(&alice.hears(11, release("m", 1, ReleaseCause::Withdrawn)), AckKind::Release));
    assert!(alice.disk.withdrawn.is_empty());
    assert_eq!(alice.machine.poll_timeout(), None);
}

#[test]
fn a_withdrawal_is_written_down_before_the_stream_is_back() {
    let mut alice = Alice::new();
    alice.hears(1, confirm("m", 1, hour(0)));
    alice.machine.disconnected();
    let output = alice.machine.withdraw(now(2), &MeetingId::new("m"), "ill");
    assert!(output.messages.is_empty() && !output.records.is_empty());
}

#[test]
fn nothing_is_promised_before_the_registration_is_answered() {
    let mut alice = Alice::over(Journal { id: "j".into(), ..Journal::default() });
    alice.machine.connected(now(0));
    assert!(!alice.machine.is_ready());
    assert!(alice.hears(1, hold("m", 1, hour(0))).messages.is_empty());
    assert_eq!(alice.machine.poll_timeout(), Some(Mono(ASK_AGAIN)));
    let again = alice.machine.timeout(now(ASK_AGAIN.as_secs()));
    assert!(matches!(again.messages.as_slice(), [AgentMessage::Register(_)]));
}

#[test]
fn a_superseded_agent_stops() {
    let mut alice = Alice::new();
    let output = alice.hears(1, SchedulerMessage::Superseded { epoch: Epoch(2) });
    assert!(output.superseded && !alice.machine.is_ready());
    assert_eq!(alice.machine.poll_timeout(), None);
}

#[test]
fn registered_installs_what_the_scheduler_has() {
    let mut alice = Alice::over(Journal { id: "j".into(), ..Journal::default() });
    alice.machine.connected(now(0));
    let registered = Registered {
        participant: who("alice"),
        epoch: Epoch(1),
        lineage: Lineage(2),
        bookings: vec![booking("m", 1, hour(0))],
        generation: 3,
        incarnation: "three".into(),
    };
    let output = alice.hears(1, SchedulerMessage::Registered(Box::new(registered)));
    assert!(acked(&output, AckKind::Confirm));
    assert_eq!(alice.state("m", 1), Some(PromiseState::Confirmed));
    assert_eq!(alice.disk.scheduler, (3, "three".into()));
}

#[test]
fn a_journal_is_its_records() {
    let mut alice = Alice::new();
    alice.hears(1, hold("a", 1, hour(0)));
    alice.hears(1, confirm("a", 1, hour(0)));
    alice.hears(1, hold("b", 1, hour(1)));
    alice.hears(1, release("b", 1, ReleaseCause::Aborted));
    let expected: BTreeMap<_, _> = [(MeetingId::new("b"), AttemptNumber(1))].into();
    assert_eq!(alice.disk.tombstones, expected);
    assert_eq!(alice.disk.promises.len(), 1);
}

/// Found by the simulated world (seed 53953): the confirm of a move was lost, and the next move confirmed.
#[test]
fn what_a_lost_confirm_would_have_dropped_goes_with_the_next_one() {
    for cancelled in [false, true] {
        let mut alice = Alice::new();
        alice.hears(1, confirm("m", 1, hour(0)));
        alice.hears(2, over("m", 2, hour(1), &[attempt("m", 1)]));
        if cancelled {
            alice.hears(3, release("m", 2, ReleaseCause::Cancelled));
        } else {
            alice.hears(3, over("m", 3, hour(2), &[attempt("m", 2)]));
            alice.hears(4, confirm("m", 3, hour(2)));
        }
        let left: Vec<u64> = alice.disk.promises.keys().map(|a| a.n.0).collect();
        assert_eq!(left, if cancelled { vec![] } else { vec![3] });
    }
}

/// Found by the simulated world (seed 16123): left while HELD, and decided all the same.
#[test]
fn whoever_left_what_displaces_drops_what_was_displaced() {
    for released_before in [false, true] {
        let mut alice = Alice::new();
        alice.hears(1, confirm("old", 1, hour(0)));
        alice.hears(2, over("new", 1, hour(0), &[attempt("old", 1)]));
        let output = alice.machine.withdraw(now(3), &MeetingId::new("new"), "ill");
        output.records.iter().for_each(|record| alice.disk.apply(record));
        if released_before {
            alice.hears(4, release("new", 1, ReleaseCause::Withdrawn));
        }
        let displaces = vec![attempt("old", 1)];
        let booking = booking("new", 1, hour(0)).into();
        let output = alice.hears(5, SchedulerMessage::Confirm { booking, displaces });
        assert!(acked(&output, AckKind::Confirm));
        assert!(alice.disk.promises.is_empty(), "{:?}", alice.disk.promises);
        assert_eq!(alice.tombstone("old"), Some(1));
    }
}

/// Found by the simulated world (seed 22655), whose network may turn the order of messages.
#[test]
fn an_answer_to_an_older_registration_of_the_same_stream_installs_nothing() {
    let mut alice = Alice::new();
    let older = Registered {
        participant: who("alice"),
        epoch: Epoch(0),
        lineage: Lineage(1),
        bookings: vec![booking("m", 1, hour(0))],
        generation: 0,
        incarnation: "one".into(),
    };
    let output = alice.hears(2, SchedulerMessage::Registered(Box::new(older)));
    assert!(output.messages.is_empty() && alice.disk.promises.is_empty());
}

#[test]
fn an_overlay_that_is_given_up_leaves_what_it_lay_over() {
    let mut alice = Alice::new();
    alice.hears(1, confirm("m", 1, hour(0)));
    alice.hears(2, over("m", 2, hour(0), &[attempt("m", 1)]));
    alice.hears(3, release("m", 2, ReleaseCause::Aborted));
    assert_eq!((alice.state("m", 1), alice.state("m", 2)), (Some(PromiseState::Confirmed), None));
}

/// What it says of itself when it registers.
fn introduction(output: &Output) -> &quorate::core::message::Register {
    match output.messages.as_slice() {
        [AgentMessage::Register(register)] => register,
        other => panic!("{other:?}"),
    }
}

fn registered(bookings: Vec<Booking>) -> SchedulerMessage {
    SchedulerMessage::Registered(Box::new(Registered {
        participant: who("alice"),
        epoch: Epoch(1),
        lineage: Lineage(1),
        bookings,
        generation: 0,
        incarnation: String::new(),
    }))
}

/// A machine over a new journal whose registration is under way.
fn registering() -> Participant {
    let mut machine = Participant::new(profile("alice"), Journal { id: "j".into(), ..Journal::default() });
    machine.connected(now(0));
    machine
}

fn profile(display_name: &str) -> Profile {
    Profile {
        id: who("alice"),
        display_name: display_name.into(),
        time_zone: None,
        disclosure: Disclosure::AskedSlotsOnly,
    }
}

#[test]
fn another_name_ends_no_lease() {
    let mut machine = registering();
    machine.receive(now(0), registered(Vec::new()), &Own(Vec::new()));
    machine.receive(now(1), hold("m", 1, hour(0)), &Own(Vec::new()));
    machine.set_profile(profile("Alice"));
    let output = machine.connected(now(2));
    let register = introduction(&output);
    assert_eq!((register.display_name.as_str(), register.held[0].lease_over), ("Alice", false));
}

#[test]
fn what_has_just_ended_is_still_reported() {
    let mut machine = registering();
    machine.receive(now(0), registered(vec![booking("m", 1, hour(0))]), &Own(Vec::new()));
    let ended =
        |seconds| Now { mono: Mono::default(), wall: hour(0).end + chrono::Duration::seconds(seconds) };
    assert_eq!(introduction(&machine.connected(ended(60))).booked.len(), 1);
    assert!(introduction(&machine.connected(ended(24 * 3600))).booked.is_empty());
}

#[test]
fn a_booking_under_a_hold_that_overlays_it_is_installed() {
    let mut machine = registering();
    machine.receive(now(0), registered(Vec::new()), &Own(Vec::new()));
    machine.receive(now(0), over("new", 1, hour(0), &[attempt("old", 1)]), &Own(Vec::new()));
    let output = machine.receive(now(0), confirm("old", 1, hour(0)), &Own(Vec::new()));
    assert!(acked(&output, AckKind::Confirm));
    assert_eq!(machine.journal().promises.len(), 2);
}

#[test]
fn a_release_that_overtakes_the_registration_keeps_no_lost_booking_out() {
    let mut machine = registering();
    let early = machine.receive(now(0), release("m", 2, ReleaseCause::Aborted), &Own(Vec::new()));
    assert!(early.messages.is_empty() && early.records.is_empty(), "it is sent again");
    let early = machine.receive(now(0), confirm("m", 3, hour(3)), &Own(Vec::new()));
    assert!(early.messages.is_empty() && early.records.is_empty());
    machine.receive(now(0), registered(vec![booking("m", 1, hour(0))]), &Own(Vec::new()));
    let promises: Vec<Attempt> = machine.journal().promises.keys().cloned().collect();
    assert_eq!(promises, [attempt("m", 1)]);
    assert!(acked(
        &machine.receive(now(1), release("m", 2, ReleaseCause::Aborted), &Own(Vec::new())),
        AckKind::Release
    ));
    assert_eq!(machine.journal().promises.len(), 1);
}
