//! A world in memory, from one seed: the real coordinator and the real agents over a network that loses,
//! repeats and delays, with crashes of everybody at any point. After each step the invariants of PROTOCOL.md hold.
//!
//! `SEED=17 cargo test --test sim -- --nocapture` replays one run and prints what happened.
//! `SEEDS=5000 cargo test --test sim` runs more of them; `FIRST=1000` begins elsewhere.

#[path = "sim/agent.rs"]
mod agent;
#[path = "sim/checker.rs"]
mod checker;
#[path = "sim/network.rs"]
mod network;
#[path = "sim/organizers.rs"]
mod organizers;
#[path = "sim/plan.rs"]
mod plan;
#[path = "sim/scheduler.rs"]
mod scheduler;
#[path = "sim/tally.rs"]
mod tally;
#[path = "sim/trace.rs"]
mod trace;
#[path = "sim/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use plan::Plan;
use tally::Tally;
use trace::Trace;
use world::{Outcome, World};

/// Runs of the campaign, unless `SEEDS` says.
const SEEDS: u64 = 400;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

fn run(seed: u64, print: bool, full: bool) -> Outcome {
    World::new(Plan::new(seed), Trace::new(print, full)).run()
}

/// One seed; a panic is what went wrong.
fn caught(seed: u64) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(seed, false, false))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let broken = vec![format!("panic: {}", text.unwrap_or_default())];
        Outcome { broken, tally: Tally::default(), hash: 0, steps: 0 }
    })
}

#[test]
fn the_invariants_hold_whatever_happens() {
    if let Some(seed) = number("SEED") {
        let outcome = run(seed, true, false);
        println!("{} steps, trace {:016x}", outcome.steps, outcome.hash);
        assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}", outcome.broken);
        return;
    }
    let first = number("FIRST").unwrap_or(1);
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let workers = 2;
    let work = |worker: u64| {
        let (mut tally, mut steps, mut failures) = (Tally::default(), 0, Vec::new());
        for seed in (first..first + seeds).filter(|seed| seed % workers == worker) {
            let outcome = caught(seed);
            tally.add(&outcome.tally);
            steps += outcome.steps;
            if !outcome.broken.is_empty() {
                failures.push((seed, outcome.broken));
            }
        }
        (tally, steps, failures)
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker")).collect()
    });
    let (mut tally, mut steps, mut failures) = (Tally::default(), 0, Vec::new());
    for (part, taken, failed) in parts {
        tally.add(&part);
        steps += taken;
        failures.extend(failed);
    }
    println!("{seeds} runs, {steps} steps");
    tally.print();
    failures.sort_by_key(|(seed, _)| *seed);
    for (seed, broken) in &failures {
        println!("seed {seed}: {}", broken.first().map_or("", String::as_str));
        println!("    SEED={seed} cargo test --test sim -- --nocapture");
    }
    assert!(failures.is_empty(), "{} of {seeds} runs broke something", failures.len());
    if seeds >= SEEDS {
        assert!(tally.never().is_empty(), "never reached: {:#?}", tally.never());
    }
}

/// Nothing but the seed decides: no order of a hash map, no clock, no thread.
#[test]
fn the_same_seed_gives_the_same_trace() {
    if number("SEED").is_some() {
        return;
    }
    for seed in 1..=25 {
        let (first, second) = (run(seed, false, true), run(seed, false, true));
        assert_eq!((first.hash, first.steps), (second.hash, second.steps), "seed {seed} is not replayed");
    }
}
