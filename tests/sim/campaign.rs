//! Many runs: over the seeds, on two threads; and of a run that breaks something, a smaller one that still does.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::plan::Plan;
use super::tally::Tally;
use super::trace::Trace;
use super::world::{Outcome, World};

/// Threads of a campaign.
pub const WORKERS: u64 = 2;
/// Runs that are spent on making one failing run smaller.
const SHRINK_RUNS: usize = 400;

pub fn run(seed: u64, only: Option<&[usize]>, print: bool, full: bool) -> Outcome {
    World::new(Plan::new(seed, only), Trace::new(print, full)).run()
}

/// The same with every command part of a trace, or none.
pub fn run_traced(seed: u64, traced: bool) -> Outcome {
    World::new(Plan { traced, ..Plan::new(seed, None) }, Trace::new(false, true)).run()
}

/// One run; a panic is what went wrong.
pub fn caught(seed: u64, only: Option<&[usize]>) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(seed, only, false, false))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let broken = vec![format!("panic: {}", text.unwrap_or_default())];
        Outcome { broken, tally: Tally::default(), hash: 0, steps: 0 }
    })
}

/// What the runs of a campaign came to.
#[derive(Default)]
pub struct Campaign {
    pub tally: Tally,
    pub steps: u64,
    /// Seeds that broke something, and what.
    pub failures: Vec<(u64, Vec<String>)>,
}

/// Runs all seeds of a range.
pub fn campaign(first: u64, seeds: u64) -> Campaign {
    let work = |worker: u64| {
        let mut part = Campaign::default();
        for seed in (first..first + seeds).filter(|seed| seed % WORKERS == worker) {
            let outcome = caught(seed, None);
            part.tally.add(&outcome.tally);
            part.steps += outcome.steps;
            if !outcome.broken.is_empty() {
                part.failures.push((seed, outcome.broken));
            }
        }
        part
    };
    let parts: Vec<Campaign> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker")).collect()
    });
    let mut whole = Campaign::default();
    for part in parts {
        whole.tally.add(&part.tally);
        whole.steps += part.steps;
        whole.failures.extend(part.failures);
    }
    whole.failures.sort_by_key(|(seed, _)| *seed);
    whole
}

/// The name of what broke: `I3` of `I3: …`.
pub fn name(broken: &[String]) -> &str {
    broken.first().map_or("", |text| text.split(':').next().unwrap_or_default())
}

/// Fewer items of the seed's plan that break the same, by leaving out ever smaller parts (delta debugging, Zeller
/// and Hildebrandt 2002).
pub fn shrink(seed: u64, what: &str) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..Plan::new(seed, None).items()).collect();
    let mut parts = 2;
    let mut left = SHRINK_RUNS;
    while parts <= kept.len() && left > 0 {
        let size = kept.len().div_ceil(parts);
        let smaller = kept.chunks(size).find_map(|chunk| {
            if left == 0 {
                return None;
            }
            left -= 1;
            let rest: Vec<usize> = kept.iter().filter(|item| !chunk.contains(item)).copied().collect();
            (name(&caught(seed, Some(&rest)).broken) == what).then_some(rest)
        });
        match smaller {
            Some(rest) => {
                kept = rest;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(kept.len()),
        }
    }
    kept
}

/// Says what broke in a run, and how to see it again.
pub fn report(seed: u64, broken: &[String], shrunk: bool) {
    println!("seed {seed}: {}", broken.first().map_or("", String::as_str));
    println!("    SEED={seed} cargo test --test sim -- --nocapture");
    if !shrunk {
        return;
    }
    let plan = Plan::new(seed, None);
    let kept = shrink(seed, name(broken));
    let numbers: Vec<String> = kept.iter().map(ToString::to_string).collect();
    println!("    the same with {} of {} items:", kept.len(), plan.items());
    kept.iter().for_each(|item| println!("        {item:>3} {}", plan.item(*item)));
    println!("    SEED={seed} ONLY={} cargo test --test sim -- --nocapture", numbers.join(","));
}
