//! Many seeds, and what each test says of them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::world::{Outcome, Plant, run};

/// Runs that are enough to find a planted fault.
const PLANTED_SEEDS: u64 = 12;

/// Runs of the campaign, unless `SEEDS` says.
const SEEDS: u64 = 280;
/// What so many runs must have had: a fault that never comes shows nothing.
const SOMETIMES: [&str; 16] = [
    "bookings",
    "displaced",
    "cancel answered STATE_CANCELLED",
    "get answered STATE_CONFIRMED",
    "reschedule answered STATE_CONFIRMED",
    "schedule answered STATE_CONFIRMED",
    "schedule answered STATE_FAILED",
    "schedule unknown Unavailable",
    "fault Bounce",
    "fault Crash",
    "fault Cut",
    "fault CutFrom",
    "fault CutTo",
    "fault Hold",
    "fault Repair",
    "fault Store",
];
/// Runs that go on at once.
const AT_ONCE: usize = 8;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// Runs seeds side by side; what they came to, by seed.
fn campaign(first: u64, seeds: u64, plant: Plant) -> BTreeMap<u64, Outcome> {
    let (next, all) = (AtomicU64::new(first), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let outcome = run(seed, plant);
                    if plant == Plant::Nothing && !outcome.broken.is_empty() {
                        let replay = format!("SEED={seed} cargo test --test wiring -- --nocapture");
                        println!("{replay}\n{:#?}", outcome.broken);
                    }
                    all.lock().unwrap().insert(seed, outcome);
                }
            });
        }
    });
    all.into_inner().unwrap()
}

#[test]
fn whatever_the_network_does_all_agree_in_the_end() {
    if let Some(seed) = number("SEED") {
        let outcome = run(seed, Plant::Nothing);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        println!("{:?} simulated, trace {:016x}", outcome.simulated, outcome.hash);
        assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}", outcome.broken);
        return;
    }
    let (first, seeds) = (number("FIRST").unwrap_or(1), number("SEEDS").unwrap_or(SEEDS));
    let began = Instant::now();
    let outcomes = campaign(first, seeds, Plant::Nothing);
    let simulated: Duration = outcomes.values().map(|outcome| outcome.simulated).sum();
    println!("{seeds} seeds, {simulated:?} simulated in {:?}", began.elapsed());
    let mut tally: BTreeMap<&str, usize> = BTreeMap::new();
    for (what, n) in outcomes.values().flat_map(|outcome| &outcome.tally) {
        *tally.entry(what).or_default() += n;
    }
    tally.iter().for_each(|(what, n)| println!("{n:7} {what}"));
    let never: Vec<_> =
        SOMETIMES.iter().filter(|what| tally.get(*what).is_none_or(|count| *count == 0)).collect();
    assert!(seeds < SEEDS || never.is_empty(), "no run had {never:?}");
    let failed: Vec<u64> =
        outcomes.iter().filter(|(_, outcome)| !outcome.broken.is_empty()).map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "seeds {failed:?} broke something");
}

/// In how many runs the fault is seen, and what the first of them says.
fn found(plant: Plant, words: &str) {
    if number("SEED").is_some() {
        return;
    }
    let outcomes = campaign(1, PLANTED_SEEDS, plant);
    let saw = |outcome: &&Outcome| outcome.broken.iter().any(|line| line.contains(words));
    let seen = outcomes.values().filter(saw).count();
    println!("{plant:?} is seen in {seen} of {PLANTED_SEEDS} runs");
    let first = outcomes.values().find(saw).map(|outcome| &outcome.broken);
    first.into_iter().flatten().for_each(|line| println!("  {line}"));
    assert!(seen > 0, "{plant:?} is not found: {words:?} is said in none of {PLANTED_SEEDS} runs");
}

/// What was answered is gone, or went back.
#[test]
fn a_disk_that_lies_about_its_syncs_is_found() {
    found(Plant::LyingDisk, "Seen {");
}

#[test]
fn acknowledgements_that_are_never_sent_are_found() {
    found(Plant::LostAcks, "is undelivered");
}
