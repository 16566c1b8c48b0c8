//! Waiting with a deadline, seeds, and speaking past the test harness.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use quorate::core::random::Random;

/// How long anything may take that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Says something even if the test passes: the harness captures `println!`, but not this.
pub fn say(text: &str) {
    writeln!(io::stdout(), "{text}").expect("stdout is open");
}

/// The future's output, or a panic that says what was waited for.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited for {PATIENCE:?} in vain: {what}"),
    }
}

/// Looks until there is something to see; the panic has the last reason why there was not. Returns how long it took.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> (T, Duration) {
    let started = Instant::now();
    loop {
        let why_not = match look() {
            Ok(seen) => return (seen, started.elapsed()),
            Err(why) => why,
        };
        assert!(started.elapsed() < PATIENCE, "waited for {PATIENCE:?} in vain: {what}: {why_not}");
        tokio::time::sleep(LOOK).await;
    }
}

/// A number from the environment.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// The run's seed, said aloud: `CHAOS_SEED`, or a new one.
pub fn seed(of: &str) -> u64 {
    let seed = number("CHAOS_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 % 1_000_000_000);
    say(&format!("{of}: CHAOS_SEED={seed}"));
    seed
}

/// A duration between these, in milliseconds.
pub fn millis(random: &mut Random, from: u64, to: u64) -> Duration {
    random.between(Duration::from_millis(from), Duration::from_millis(to))
}

/// True so many times of a hundred.
pub fn chance(random: &mut Random, percent: u64) -> bool {
    random.below(100) < percent
}

/// One of them.
pub fn one<'a, T>(random: &mut Random, of: &'a [T]) -> &'a T {
    &of[random.below(of.len() as u64) as usize]
}
