//! What traced jobs write down of themselves, and what agents are told of it.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::core::coordinator::{Change, Command, ScheduleRequest};
use quorate::core::ids::Ticket;
use quorate::core::limits;
use quorate::core::message::{AckKind, Refusal, SchedulerMessage};
use quorate::core::model::{MeetingSpec, MeetingState};
use quorate::core::time::TimeRange;
use quorate::core::trace::{Outcome, PhaseKind, PhaseSpan, SpanId, TraceContext, TraceState, Traced};

use super::desk::{Desk, hour, options, request, spec};
use super::series::{holds, week, weekly};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn caller() -> TraceContext {
    TraceContext::parse(CALLER).expect("a traceparent").stating(TraceState::parse(["rojo=1,congo=2"]))
}

fn traced(command: Command) -> Command {
    Command::Within(Traced { context: caller(), record: true }, Box::new(command))
}

fn schedule(spec: MeetingSpec) -> Command {
    Command::Schedule(Box::new(request(spec)))
}

fn at(slot: TimeRange, spec: MeetingSpec) -> Command {
    Command::Schedule(Box::new(ScheduleRequest { slot: Some(slot), ..request(spec) }))
}

/// What was written down since it was last taken; checked for what holds of all of it.
fn phases(desk: &mut Desk) -> Vec<PhaseSpan> {
    let (phases, lost) = desk.core.take_phases();
    assert_eq!(lost, 0);
    let ids: BTreeSet<SpanId> = phases.iter().map(|phase| phase.context.span).collect();
    assert_eq!(ids.len(), phases.len(), "each has an id of its own");
    for phase in &phases {
        assert_eq!((phase.context.trace, &phase.context.state), (caller().trace, &caller().state));
        assert!(phase.start <= phase.end && phase.end <= desk.mono, "{phase:?}");
        let parent = phases.iter().find(|other| other.context.span == phase.parent);
        if let Some(parent) = parent {
            assert!(parent.start <= phase.start, "{phase:?} within {parent:?}");
            let outlasts = phase.kind == PhaseKind::Deliver || parent.kind == PhaseKind::Deliver;
            assert!(outlasts || phase.end <= parent.end, "{phase:?} within {parent:?}");
        }
    }
    phases
}

fn words(phases: &[PhaseSpan]) -> Vec<(PhaseKind, Outcome)> {
    phases.iter().map(|phase| (phase.kind, phase.details.outcome)).collect()
}

fn one(phases: &[PhaseSpan], kind: PhaseKind) -> &PhaseSpan {
    let mut found = phases.iter().filter(|phase| phase.kind == kind);
    let one = found.next().unwrap_or_else(|| panic!("no {kind:?} in {phases:?}"));
    assert_eq!(found.next(), None);
    one
}

/// The trace of the last message of this kind.
fn told(desk: &Desk, is: impl Fn(&SchedulerMessage) -> bool) -> Option<TraceContext> {
    desk.traces.iter().rev().find(|(message, _)| is(message)).expect("such a message").1.clone()
}

fn is_query(message: &SchedulerMessage) -> bool {
    matches!(message, SchedulerMessage::Query(_))
}

fn is_hold(message: &SchedulerMessage) -> bool {
    matches!(message, SchedulerMessage::Hold(_))
}

fn is_confirm(message: &SchedulerMessage) -> bool {
    matches!(message, SchedulerMessage::Confirm { .. })
}

fn is_release(message: &SchedulerMessage) -> bool {
    matches!(message, SchedulerMessage::Release { .. })
}

const MOMENT: Duration = Duration::from_millis(10);

#[test]
fn a_booking_goes_through_round_hold_decision_and_delivery() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let ticket = desk.command(traced(schedule(spec(&["alice", "bob"], 2))));
    let query = desk.query();
    desk.pass(MOMENT);
    desk.free("alice", &query, &[hour(0), hour(1)]);
    desk.free("bob", &query, &[hour(1)]);
    let attempt = desk.hold().attempt;
    desk.pass(MOMENT);
    desk.grants("alice", &attempt);
    desk.grants("bob", &attempt);
    assert_eq!(desk.answer(ticket).state, MeetingState::Confirmed);
    desk.pass(MOMENT);
    desk.acks("alice", &attempt, AckKind::Confirm);
    desk.pass(MOMENT);
    desk.acks("bob", &attempt, AckKind::Confirm);
    let phases = phases(&mut desk);
    assert_eq!(
        words(&phases),
        [
            (PhaseKind::Round, Outcome::Done),
            (PhaseKind::Hold, Outcome::Done),
            (PhaseKind::Decide, Outcome::Booked),
            (PhaseKind::Job, Outcome::Booked),
            (PhaseKind::Deliver, Outcome::Done),
        ]
    );
    let job = one(&phases, PhaseKind::Job);
    assert_eq!(job.parent, caller().span);
    assert_eq!((job.details.slot, job.details.attempt), (Some(hour(1)), Some(attempt.n)));
    assert_eq!(job.details.request, Some(desk.answer(ticket).request_id));
    for phase in &phases {
        assert_eq!(phase.meeting, attempt.meeting);
        assert_eq!(phase.details.failed, None);
        assert!(phase.kind == PhaseKind::Job || phase.parent == job.context.span);
    }
    let round = one(&phases, PhaseKind::Round);
    assert_eq!(
        (round.details.asked, round.details.answered, round.details.slots),
        (Some(2), Some(2), Some(1))
    );
    assert_eq!(round.end.0 - round.start.0, MOMENT);
    let hold = one(&phases, PhaseKind::Hold);
    assert_eq!(
        (hold.details.asked, hold.details.answered, hold.details.slot),
        (Some(2), Some(2), Some(hour(1)))
    );
    assert_eq!((hold.start, hold.end.0 - hold.start.0), (round.end, MOMENT));
    let deliver = one(&phases, PhaseKind::Deliver);
    assert_eq!((deliver.details.asked, deliver.details.answered), (Some(2), Some(2)));
    assert_eq!(deliver.end.0 - deliver.start.0, MOMENT * 2);
    // Each message names the phase that it belongs to.
    assert_eq!(told(&desk, is_query).as_ref(), Some(&round.context));
    assert_eq!(told(&desk, is_hold).as_ref(), Some(&hold.context));
    assert_eq!(told(&desk, is_confirm).as_ref(), Some(&deliver.context));
}

#[test]
fn an_attempt_that_is_refused_says_why_and_the_next_one_follows() {
    let mut desk = Desk::new(&["alice", "bob"]);
    desk.command(traced(schedule(spec(&["alice", "bob"], 2))));
    let query = desk.query();
    for name in ["alice", "bob"] {
        desk.free(name, &query, &[hour(0), hour(1)]);
    }
    let first = desk.hold().attempt;
    desk.grants("alice", &first);
    desk.refuses("bob", &first, Refusal::Busy);
    let second = desk.hold().attempt;
    let phases = phases(&mut desk);
    assert_eq!(
        words(&phases),
        [(PhaseKind::Round, Outcome::Done), (PhaseKind::Hold, Outcome::Refused)],
        "what is not over is not told"
    );
    let hold = one(&phases, PhaseKind::Hold);
    assert_eq!((hold.details.attempt, hold.details.answered), (Some(first.n), Some(1)));
    assert_eq!(hold.details.failed.as_deref(), Some("bob: not free any more"));
    let release = told(&desk, is_release).expect("a traced release");
    let now = told(&desk, is_hold).expect("a traced hold");
    assert_ne!(now.span, hold.context.span, "the second attempt {second} is a span of its own");
    assert_eq!(release.trace, caller().trace);
}

#[test]
fn a_meeting_that_fails_says_why() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let ticket = desk.command(traced(schedule(spec(&["alice", "bob"], 2))));
    let query = desk.query();
    desk.free("alice", &query, &[hour(0)]);
    desk.pass(Duration::from_secs(2));
    let failed = desk.answer(ticket);
    let phases = phases(&mut desk);
    assert_eq!(words(&phases), [(PhaseKind::Round, Outcome::Done), (PhaseKind::Job, Outcome::Failed)]);
    let round = one(&phases, PhaseKind::Round);
    assert_eq!(
        (round.details.asked, round.details.answered, round.details.slots),
        (Some(2), Some(1), Some(0))
    );
    assert_eq!(round.end.0 - round.start.0, Duration::from_secs(2));
    let job = one(&phases, PhaseKind::Job);
    assert_eq!(job.details.failed, failed.failure.map(|failure| failure.message));
    assert!(job.details.failed.is_some());
}

#[test]
fn waiting_is_a_phase_too() {
    let mut desk = Desk::new(&["alice"]);
    let first = desk.schedule_at(hour(0), &["alice"]);
    let attempt = desk.hold().attempt;
    let mut asked = request(spec(&["alice", "bob"], 1));
    asked.options.connect_timeout = Duration::from_secs(5);
    let second = desk.command(traced(Command::Schedule(Box::new(asked))));
    desk.pass(MOMENT);
    desk.register("bob", 0, &[], &[]);
    let query = desk.query();
    desk.free("alice", &query, &[]);
    desk.free("bob", &query, &[hour(0)]);
    desk.grants("alice", &attempt);
    assert_eq!(desk.answer(first).state, MeetingState::Confirmed);
    desk.pass(Duration::from_secs(1));
    let query = desk.query();
    desk.free("alice", &query, &[]);
    desk.free("bob", &query, &[hour(0)]);
    assert_eq!(desk.answer(second).state, MeetingState::Failed);
    let phases = phases(&mut desk);
    assert_eq!(
        words(&phases),
        [
            (PhaseKind::Connect, Outcome::Done),
            (PhaseKind::Round, Outcome::Done),
            (PhaseKind::Wait, Outcome::Done),
            (PhaseKind::Round, Outcome::Done),
            (PhaseKind::Job, Outcome::Failed),
        ]
    );
    assert_eq!(phases[0].end.0 - phases[0].start.0, MOMENT);
    assert!(phases[2].end.0 - phases[2].start.0 >= limits::BACKOFF_MIN);
}

#[test]
fn a_decision_that_the_store_refuses_is_a_conflict() {
    let mut desk = Desk::new(&["alice", "bob"]);
    let ticket = desk.command(traced(at(hour(0), spec(&["alice", "bob?"], 2))));
    let attempt = desk.hold().attempt;
    desk.grants("alice", &attempt);
    desk.new_lineage("bob");
    desk.grants("bob", &attempt);
    assert_eq!(desk.answer(ticket).state, MeetingState::Confirmed, "without bob");
    let phases = phases(&mut desk);
    assert_eq!(
        words(&phases),
        [
            (PhaseKind::Hold, Outcome::Done),
            (PhaseKind::Decide, Outcome::Conflict),
            (PhaseKind::Hold, Outcome::Done),
            (PhaseKind::Decide, Outcome::Booked),
            (PhaseKind::Job, Outcome::Booked),
        ]
    );
    assert!(phases[1].details.failed.as_ref().is_some_and(|why| why.contains("LineageIs")), "{phases:?}");
}

#[test]
fn what_is_displaced_is_sought_again_in_the_trace_that_displaced_it() {
    let mut desk = Desk::new(&["alice"]);
    let old = {
        let yielding = MeetingSpec { displaceable: true, ..spec(&["alice"], 4) };
        desk.command(at(hour(0), yielding));
        let old = desk.hold().attempt;
        desk.grants("alice", &old);
        desk.acks("alice", &old, AckKind::Confirm);
        old
    };
    assert_eq!(phases(&mut desk), [], "nobody is traced");
    let urgent = MeetingSpec { priority: 5, displace: true, ..spec(&["alice"], 1) };
    let ticket = desk.command(traced(schedule(urgent)));
    let query = desk.query();
    desk.free("alice", &query, &[hour(0)]);
    let new = desk.hold().attempt;
    desk.grants("alice", &new);
    assert_eq!(desk.answer(ticket).state, MeetingState::Confirmed);
    let query = desk.query();
    desk.free("alice", &query, &[hour(2)]);
    let again = desk.hold().attempt;
    assert_eq!(again.meeting, old.meeting);
    desk.grants("alice", &again);
    desk.acks("alice", &new, AckKind::Confirm);
    let phases = phases(&mut desk);
    let of = |meeting, kind| {
        let mut found = phases.iter().filter(|phase| phase.meeting == meeting && phase.kind == kind);
        found.next().cloned().unwrap_or_else(|| panic!("{kind:?} in {phases:?}"))
    };
    let deliver = of(new.meeting.clone(), PhaseKind::Deliver);
    let sought = of(old.meeting.clone(), PhaseKind::Job);
    assert_eq!(sought.parent, deliver.context.span);
    assert_eq!(sought.details.outcome, Outcome::Booked);
    assert_eq!(of(old.meeting.clone(), PhaseKind::Hold).parent, sought.context.span);
}

#[test]
fn calling_off_is_told_within_the_callers_trace() {
    let mut desk = Desk::new(&["alice"]);
    let attempt = desk.book(hour(0), &["alice"]);
    let meeting = attempt.meeting.clone();
    desk.command(traced(Command::Cancel { meeting: meeting.clone(), version: None }));
    assert_eq!(told(&desk, is_release), Some(caller()), "there is no job, so no phase of one");
    assert_eq!(phases(&mut desk), []);
    // One that is sought is a job.
    let sought = desk.command(traced(schedule(spec(&["alice"], 2))));
    let query = desk.query();
    desk.free("alice", &query, &[hour(1)]);
    let attempt = desk.hold().attempt;
    desk.command(Command::Cancel { meeting: attempt.meeting.clone(), version: None });
    assert_eq!(desk.answer(sought).state, MeetingState::Cancelled);
    let phases = phases(&mut desk);
    assert_eq!(
        words(&phases),
        [
            (PhaseKind::Round, Outcome::Done),
            (PhaseKind::Hold, Outcome::Aborted),
            (PhaseKind::Job, Outcome::Cancelled)
        ]
    );
    assert_eq!(phases[1].details.failed.as_deref(), Some("the meeting was called off"));
}

#[test]
fn a_change_is_traced_as_a_booking_is_and_new_details_are_delivered() {
    let mut desk = Desk::new(&["alice"]);
    let old = desk.book(hour(0), &["alice"]);
    let meeting = old.meeting.clone();
    let moved = Command::Reschedule {
        meeting: meeting.clone(),
        version: None,
        slot: Some(hour(1)),
        window: None,
        duration: None,
        options: options(),
    };
    let ticket = desk.command(traced(moved));
    let attempt = desk.hold().attempt;
    desk.grants("alice", &attempt);
    assert_eq!(desk.answer(ticket).slot, Some(hour(1)));
    // Before it is acknowledged the title changes: the first delivery is overtaken by the second.
    let change = Change { title: Some("other".into()), ..Change::default() };
    desk.command(traced(Command::Update { meeting, version: None, change, options: options() }));
    let second = told(&desk, is_confirm).expect("a traced confirm");
    desk.acks("alice", &attempt, AckKind::Confirm);
    let phases = phases(&mut desk);
    assert_eq!(
        words(&phases),
        [
            (PhaseKind::Hold, Outcome::Done),
            (PhaseKind::Decide, Outcome::Booked),
            (PhaseKind::Job, Outcome::Changed),
            (PhaseKind::Deliver, Outcome::Superseded),
            (PhaseKind::Deliver, Outcome::Done),
        ]
    );
    assert_eq!((&phases[4].context, phases[4].parent), (&second, caller().span));
}

#[test]
fn a_series_has_a_span_for_each_of_its_meetings() {
    let mut desk = Desk::new(&["alice"]);
    let series = weekly(spec(&["alice"], 1), Some(week(0)));
    desk.command(traced(Command::ScheduleSeries(Box::new(series))));
    let query = desk.query();
    desk.free("alice", &query, &[week(0), week(1), week(2)]);
    for hold in holds(&desk) {
        desk.grants("alice", &hold.attempt);
    }
    for hold in holds(&desk) {
        desk.acks("alice", &hold.attempt, AckKind::Confirm);
    }
    let phases = phases(&mut desk);
    let jobs: Vec<&PhaseSpan> = phases.iter().filter(|phase| phase.kind == PhaseKind::Job).collect();
    let (parents, members): (Vec<&PhaseSpan>, Vec<&PhaseSpan>) =
        jobs.iter().partition(|job| job.parent == caller().span);
    let [whole] = parents[..] else { panic!("{parents:?}") };
    assert_eq!(whole.details.outcome, Outcome::Changed);
    assert_eq!(members.len(), 3);
    assert_eq!(one(&phases, PhaseKind::Round).parent, whole.context.span);
    for member in members {
        assert_eq!((member.parent, member.details.outcome), (whole.context.span, Outcome::Booked));
        let own: Vec<PhaseKind> = phases
            .iter()
            .filter(|phase| phase.parent == member.context.span)
            .map(|phase| phase.kind)
            .collect();
        assert_eq!(own, [PhaseKind::Hold, PhaseKind::Decide, PhaseKind::Deliver]);
    }
}

#[test]
fn without_recording_agents_are_told_the_callers_own_span() {
    let mut desk = Desk::new(&["alice"]);
    let passed_on = Traced { context: caller(), record: false };
    desk.command(Command::Within(passed_on, Box::new(schedule(spec(&["alice"], 1)))));
    let query = desk.query();
    desk.free("alice", &query, &[hour(0)]);
    let attempt = desk.hold().attempt;
    desk.grants("alice", &attempt);
    for is in [is_query, is_hold, is_confirm] {
        assert_eq!(told(&desk, is), Some(caller()));
    }
    desk.acks("alice", &attempt, AckKind::Confirm);
    assert_eq!(phases(&mut desk), []);
}

/// Tracing decides nothing: with and without it the same is said, in the same order and at the same time.
#[test]
fn a_traced_run_is_the_run_without_a_trace() {
    let run = |wrap: &dyn Fn(Command) -> Command| {
        let mut desk = Desk::new(&["alice", "bob"]);
        let mut tickets: Vec<Ticket> = Vec::new();
        tickets.push(desk.command(wrap(schedule(spec(&["alice", "bob"], 3)))));
        let query = desk.query();
        for name in ["alice", "bob"] {
            desk.free(name, &query, &[hour(0), hour(1)]);
        }
        let first = desk.hold().attempt;
        tickets.push(desk.command(wrap(schedule(spec(&["bob"], 1)))));
        let query = desk.query();
        desk.free("bob", &query, &[hour(0)]);
        desk.refuses("bob", &first, Refusal::Busy);
        desk.pass(Duration::from_secs(20));
        (desk.sent, desk.replies, desk.mono)
    };
    assert_eq!(run(&traced), run(&|command| command));
}

#[test]
fn phases_that_nobody_takes_are_counted_and_lost() {
    let mut desk = Desk::new(&[]);
    let more = 10;
    for _ in 0..limits::PHASES_WAITING + more {
        desk.command(traced(schedule(spec(&["nobody"], 1))));
    }
    let (phases, lost) = desk.core.take_phases();
    assert_eq!((phases.len(), lost), (limits::PHASES_WAITING, more as u64));
    assert_eq!(desk.core.take_phases(), (Vec::new(), 0));
}

/// An agent that never acknowledges takes no other delivery's place for long.
#[test]
fn of_too_many_deliveries_the_oldest_is_given_up() {
    let mut desk = Desk::new(&["alice"]);
    let mut book = |n: usize| {
        desk.command(traced(at(hour(n as i64), spec(&["alice"], 8))));
        let attempt = desk.hold().attempt;
        desk.grants("alice", &attempt);
        desk.pass(Duration::from_micros(1));
        desk.sent.clear();
        desk.traces.clear();
        desk.pass(Duration::from_millis(1));
        attempt
    };
    let all: Vec<_> = (0..=limits::DELIVERIES_TRACED).map(&mut book).collect();
    let (phases, lost) = desk.core.take_phases();
    assert!(phases.iter().all(|phase| phase.kind != PhaseKind::Deliver));
    assert_eq!(lost, 1);
    for attempt in &all[..2] {
        desk.acks("alice", attempt, AckKind::Confirm);
    }
    let (phases, _) = desk.core.take_phases();
    let delivered: Vec<_> = phases.iter().map(|phase| (phase.kind, phase.meeting.clone())).collect();
    assert_eq!(delivered, [(PhaseKind::Deliver, all[1].meeting.clone())]);
}
