//! A world in memory, from one seed: the real coordinator and the real agents over a network that loses, repeats
//! and delays, with crashes of everybody at any point, clocks that run wild, and disks put back to older copies.
//! After each step the invariants of PROTOCOL.md hold; once faults stop, everything comes to rest.
//!
//! - `SEED=17 cargo test --test sim -- --nocapture` replays one run and prints what happened.
//! - `SEED=17 ONLY=3,8,12 …` keeps only these items of its plan; a run that fails prints such a command.
//! - `SEEDS=1000000 cargo test --profile sim --test sim -- --nocapture` runs a million; `FIRST=1000` begins elsewhere.
//! - `PLANTED=full cargo test --profile sim --test sim planted -- --nocapture` counts in how many runs each bug is seen,
//!   and writes `docs/planted-bugs.md`.

#[path = "sim/agent.rs"]
mod agent;
#[path = "sim/campaign.rs"]
mod campaign;
#[path = "sim/checker.rs"]
mod checker;
#[path = "sim/clock.rs"]
mod clock;
#[path = "sim/faults.rs"]
mod faults;
#[path = "sim/found.rs"]
mod found;
#[path = "sim/happenings.rs"]
mod happenings;
#[path = "sim/network.rs"]
mod network;
#[path = "sim/organizers.rs"]
mod organizers;
#[path = "sim/plan.rs"]
mod plan;
#[cfg(debug_assertions)]
#[path = "sim/planted.rs"]
mod planted;
#[path = "sim/recurring.rs"]
mod recurring;
#[path = "sim/scheduler.rs"]
mod scheduler;
#[path = "sim/speech.rs"]
mod speech;
#[path = "sim/tally.rs"]
mod tally;
#[path = "sim/trace.rs"]
mod trace;
#[path = "sim/world.rs"]
mod world;

use campaign::{campaign, run};

/// Runs of the campaign, unless `SEEDS` says.
const SEEDS: u64 = 2_000;
/// Failing runs that are made smaller.
const SHRUNK: usize = 3;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// The items that `ONLY` names.
fn only() -> Option<Vec<usize>> {
    let text = std::env::var("ONLY").ok()?;
    let item = |item: &str| item.parse().unwrap_or_else(|_| panic!("ONLY={text}: {item} is not a number"));
    Some(text.split(',').filter(|item| !item.is_empty()).map(item).collect())
}

#[test]
fn the_invariants_hold_whatever_happens() {
    if let Some(seed) = number("SEED") {
        let outcome = run(seed, only().as_deref(), true, false);
        println!("{} steps, trace {:016x}", outcome.steps, outcome.hash);
        assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}", outcome.broken);
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let whole = campaign(number("FIRST").unwrap_or(1), seeds);
    println!("{seeds} runs, {} steps", whole.steps);
    whole.tally.print();
    for (index, (seed, broken)) in whole.failures.iter().enumerate() {
        campaign::report(*seed, broken, index < SHRUNK);
    }
    assert!(whole.failures.is_empty(), "{} of {seeds} runs broke something", whole.failures.len());
    if seeds >= SEEDS {
        assert!(whole.tally.never().is_empty(), "never reached: {:#?}", whole.tally.never());
    }
}

/// Nothing but the seed decides: no order of a hash map, no clock, no thread.
#[test]
fn the_same_seed_gives_the_same_trace() {
    if number("SEED").is_some() {
        return;
    }
    for seed in 1..=25 {
        let (first, second) = (run(seed, None, false, true), run(seed, None, false, true));
        assert_eq!((first.hash, first.steps), (second.hash, second.steps), "seed {seed} is not replayed");
    }
}

/// Tracing decides nothing: not a line of what happens is another one.
#[test]
fn a_traced_run_is_the_run_without_a_trace() {
    if number("SEED").is_some() {
        return;
    }
    for seed in 1..=25 {
        let (traced, untraced) = (campaign::run_traced(seed, true), campaign::run_traced(seed, false));
        assert_eq!((traced.hash, traced.steps), (untraced.hash, untraced.steps), "seed {seed}");
        assert!(traced.broken.is_empty(), "seed {seed}: {:#?}", traced.broken);
    }
}

/// Items that are all kept change nothing; without any, nobody asks for anything and nothing goes wrong.
#[test]
fn a_part_of_a_run_is_replayed_as_well() {
    if number("SEED").is_some() {
        return;
    }
    for seed in 1..=10 {
        let all: Vec<usize> = (0..plan::Plan::new(seed, None).items()).collect();
        let (whole, kept) = (run(seed, None, false, false), run(seed, Some(&all), false, false));
        assert_eq!(whole.hash, kept.hash, "seed {seed} with all its items");
        let nothing = run(seed, Some(&[]), false, false);
        assert!(nothing.broken.is_empty() && nothing.steps < whole.steps, "seed {seed} without items");
    }
}
