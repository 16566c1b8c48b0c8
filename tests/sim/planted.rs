//! Planted bugs: each rule of PROTOCOL.md is left out in turn, and the campaign has to see it.
//!
//! By default the runs of a bug end at the first that sees it. `PLANTED=full` counts them over a fixed range of seeds
//! and writes `docs/planted-bugs.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use quorate::core::planted::{Planted, plant};

use super::campaign::{WORKERS, campaign, caught, name, shrink};
use super::plan::Plan;

/// Runs within which each bug has to be seen.
const CAP: u64 = 2_000;
/// Runs of each bug for the table.
const COUNTED: u64 = 600;

/// What the runs with one bug came to: which of them saw it, and by what.
struct Seen {
    bug: Planted,
    runs: u64,
    by: BTreeMap<u64, String>,
}

impl Seen {
    /// The check that sees it most often, with how often.
    fn first(&self) -> (String, usize) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        self.by.values().for_each(|check| *counts.entry(check).or_default() += 1);
        let most = counts.into_iter().max_by_key(|(check, count)| (*count, std::cmp::Reverse(*check)));
        most.map_or_else(|| ("nothing".into(), 0), |(check, count)| (check.to_owned(), count))
    }

    /// How many runs it takes until one sees it, from any seed on: the median.
    fn median(&self) -> Option<u64> {
        let next = |seed: u64| self.by.range(seed..).next().map(|(found, _)| found - seed + 1);
        let mut waits: Vec<u64> = (1..=self.runs).map_while(next).collect();
        waits.sort_unstable();
        waits.get(waits.len() / 2).copied()
    }
}

fn look_for(bug: Planted, runs: u64, until_seen: bool) -> Seen {
    plant(Some(bug));
    let mut seen = Seen { bug, runs: 0, by: BTreeMap::new() };
    for seed in 1..=CAP {
        // What is seen very rarely is looked for until it is seen.
        if seed > runs && !seen.by.is_empty() {
            break;
        }
        seen.runs = seed;
        let broken = caught(seed, None).broken;
        // A run that breaks something without the bug does not count; the campaign shows that there is none of these.
        if !broken.is_empty() && (!until_seen || sound_without(bug, seed)) {
            seen.by.insert(seed, name(&broken).to_owned());
            if until_seen {
                break;
            }
        }
    }
    plant(None);
    seen
}

fn sound_without(bug: Planted, seed: u64) -> bool {
    plant(None);
    let sound = caught(seed, None).broken.is_empty();
    plant(Some(bug));
    sound
}

/// All bugs, one after the other on each thread.
fn look_for_all(runs: u64, until_seen: bool) -> Vec<Seen> {
    let next = AtomicUsize::new(0);
    let work = || {
        let bugs = std::iter::from_fn(|| Planted::ALL.get(next.fetch_add(1, Ordering::Relaxed)));
        bugs.map(|bug| look_for(*bug, runs, until_seen)).collect::<Vec<_>>()
    };
    let mut all: Vec<Seen> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a worker")).collect()
    });
    all.sort_by_key(|seen| Planted::ALL.iter().position(|bug| *bug == seen.bug));
    all
}

fn table() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/planted-bugs.md")
}

fn words(all: &[Seen]) -> String {
    let mut text = format!(
        "# Planted bugs\n\nEach rule of the protocol is left out in turn (`src/core/planted.rs`), and the simulated world \
         runs {COUNTED} seeds\nwithout it. A rule whose loss nothing sees would not be tested. Written by\n\
         `PLANTED=full cargo test --profile sim --locked --test sim planted -- --nocapture`.\n\n\
         | rule left out | switch | seen in runs | by, first of all | runs until seen (median) |\n|---|---|---|---|---|\n"
    );
    for seen in all {
        let (check, times) = seen.first();
        let median = seen.median().map_or_else(|| "–".into(), |median| median.to_string());
        let (bug, found, runs) = (seen.bug, seen.by.len(), seen.runs);
        writeln!(text, "| {} | `{bug:?}` | {found} of {runs} | {check} ({times}) | {median} |", bug.rule())
            .expect("a string takes it");
    }
    text.push_str(
        "\nThe names are those of [PROTOCOL.md](PROTOCOL.md): I1–I8, L1–L3, and D1–D5 for what has to be on disk before what. *alarm*: \
         the\nscheduler itself saw a state that must not be. Each run counts for the check that failed first.\n\n\
         Three rules have no bug of their own, since others stand behind them: D3's compare of the meeting's version\n\
         (every change of a meeting passes the same job, and the generation fences off every other process), the\n\
         release of a late yes (the abort's release is delivered to everyone who was asked), and the attempt's state in\n\
         D3 without the generation beside it (so `DecideWithoutCompare` leaves out both).\n",
    );
    text
}

#[test]
fn every_planted_bug_is_seen() {
    let full = std::env::var("PLANTED").is_ok_and(|value| value == "full");
    if full {
        let failures = campaign(1, COUNTED).failures;
        assert!(failures.is_empty(), "without any bug: {failures:?}");
    }
    let all = if full { look_for_all(COUNTED, false) } else { look_for_all(CAP, true) };
    for seen in &all {
        let (check, times) = seen.first();
        println!(
            "{:<26} {:>4} of {:>4}  {check} ({times})",
            format!("{:?}", seen.bug),
            seen.by.len(),
            seen.runs
        );
    }
    if full {
        std::fs::write(table(), words(&all)).expect("the table is written");
    }
    let unseen: Vec<Planted> = all.iter().filter(|seen| seen.by.is_empty()).map(|seen| seen.bug).collect();
    assert!(unseen.is_empty(), "no run saw {unseen:?}");
}

/// A run that breaks something is made smaller, and the smaller one breaks the same.
#[test]
fn a_failing_run_is_made_smaller() {
    plant(Some(Planted::DisclosureIgnored));
    let failing =
        (1..=CAP).map(|seed| (seed, caught(seed, None).broken)).find(|(_, broken)| !broken.is_empty());
    let (seed, broken) = failing.expect("a run that sees it");
    let kept = shrink(seed, name(&broken));
    let again = caught(seed, Some(&kept)).broken;
    let sound = kept.iter().all(|item| {
        let rest: Vec<usize> = kept.iter().filter(|other| *other != item).copied().collect();
        name(&caught(seed, Some(&rest)).broken) != name(&broken)
    });
    plant(None);
    let items = Plan::new(seed, None).items();
    assert!(!broken.is_empty() && kept.len() < items, "{} of {items} items: {broken:?}", kept.len());
    assert_eq!(name(&again), name(&broken));
    assert!(sound, "an item could still be left out of {kept:?}");
}

#[test]
fn the_table_lists_every_planted_bug() {
    let text = std::fs::read_to_string(table()).expect("the table");
    for bug in Planted::ALL {
        let row = text.lines().find(|line| line.contains(&format!("`{bug:?}`")));
        let row = row.unwrap_or_else(|| panic!("{bug:?} is not in the table: write it anew"));
        assert!(row.contains(bug.rule()), "{bug:?}: the table is out of date");
        assert!(!row.contains("| 0 of"), "{bug:?} was never seen");
    }
}
