//! What those see who look in: counts, times, and what is being worked on.

use std::time::Duration;

use super::desk::*;
use quorate::core::coordinator::Work;
use quorate::core::limits;
use quorate::core::message::Refusal;
use quorate::core::model::AttemptOutcome;

const SECOND: Duration = Duration::from_secs(1);

fn phases(desk: &Desk) -> Vec<(&'static str, usize)> {
    desk.core.gauges().live.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn counted(each: impl Iterator<Item = (&'static str, u64)>) -> Vec<(&'static str, u64)> {
    each.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_booking_is_timed_by_its_parts() {
    let mut desk = Desk::new(&["alice", "bob"]);
    desk.schedule(spec(&["alice", "bob"], 2));
    assert_eq!(phases(&desk), [("querying", 1)]);
    let query = desk.query();
    desk.pass(SECOND / 2);
    desk.free("alice", &query, &[hour(0)]);
    let seen = desk.core.in_flight(desk.now(), 10).remove(0);
    assert_eq!((seen.work, seen.phase, seen.waiting_for), (Work::Booking, "querying", vec![who("bob")]));
    desk.pass(SECOND / 2);
    desk.free("bob", &query, &[hour(0)]);
    let attempt = desk.hold().attempt;
    assert_eq!((phases(&desk), desk.core.gauges().holds), (vec![("holding", 1)], 2));
    desk.pass(SECOND / 4);
    desk.grants("alice", &attempt);
    let seen = desk.core.in_flight(desk.now(), 10).remove(0);
    assert_eq!((seen.phase, seen.slot, seen.waiting_for), ("holding", Some(hour(0)), vec![who("bob")]));
    desk.grants("bob", &attempt);
    let counters = desk.core.counters();
    assert_eq!((counters.round_time.count(), counters.round_time.sum()), (1, SECOND));
    assert_eq!((counters.decision_time.count(), counters.decision_time.sum()), (1, SECOND / 4));
    assert_eq!(counted(counters.answers.each()), [("free", 2)]);
    assert!(phases(&desk).is_empty() && desk.core.gauges().holds == 0);
    assert_eq!(desk.core.gauges().undelivered, 2, "the confirms");
}

#[test]
fn answers_are_counted_when_their_round_is_over() {
    let mut desk = Desk::new(&["alice", "bob", "carol"]);
    desk.schedule(spec(&["alice", "bob", "carol"], 1));
    let query = desk.query();
    desk.free("alice", &query, &[hour(0)]);
    desk.free("bob", &query, &[]);
    assert!(counted(desk.core.counters().answers.each()).is_empty());
    desk.pass(options().response_timeout);
    let counters = desk.core.counters();
    assert_eq!(counted(counters.answers.each()), [("free", 1), ("busy", 1), ("no_answer", 1)]);
    assert_eq!(counters.round_time.sum(), options().response_timeout);
    assert_eq!(counters.failures.each().map(|(_, count)| count).sum::<u64>(), 1);
}

#[test]
fn aborts_are_counted_by_cause() {
    for (outcome, cause) in [(AttemptOutcome::Refused, "refused"), (AttemptOutcome::TimedOut, "timed_out")] {
        let mut desk = Desk::new(&["alice"]);
        desk.schedule_at(hour(0), &["alice"]);
        let attempt = desk.hold().attempt;
        match outcome {
            AttemptOutcome::Refused => desk.refuses("alice", &attempt, Refusal::Busy),
            _ => desk.pass(limits::ATTEMPT_TIMEOUT),
        }
        let counters = desk.core.counters();
        assert_eq!((counted(counters.aborts.each()), counters.aborted), (vec![(cause, 1)], 1));
        assert_eq!(counters.decision_time.count(), 0, "only what was committed is timed");
    }
}

#[test]
fn an_attempt_that_a_start_finds_is_counted_there() {
    let mut desk = Desk::new(&["alice"]);
    desk.schedule_at(hour(0), &["alice"]);
    desk.restart();
    assert_eq!(counted(desk.core.counters().aborts.each()), [("restart", 1)]);
}
