//! How long to wait before the next try.

use std::time::Duration;

use crate::core::random::Random;

/// Bound of the first pause.
const FIRST: Duration = Duration::from_millis(100);
/// Bound of the longest pause.
const LONGEST: Duration = Duration::from_secs(10);

/// Pauses with bounds that double from [`FIRST`] to [`LONGEST`], each anywhere below its bound ("full jitter"), so that
/// a thousand agents don't come back at the same moment.
#[derive(Debug)]
pub(super) struct Backoff {
    random: Random,
    bound: Duration,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), bound: FIRST }
    }

    /// The pause after another failure.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.random.between(Duration::ZERO, self.bound);
        self.bound = (self.bound * 2).min(LONGEST);
        pause
    }

    /// The pause after a failure that won't go away by itself.
    pub(super) fn slow(&mut self) -> Duration {
        self.bound = LONGEST;
        self.random.between(LONGEST / 2, LONGEST)
    }

    /// The pause that the scheduler asked for, spread over as much again.
    pub(super) fn around(&mut self, pause: Duration) -> Duration {
        let pause = pause.min(LONGEST);
        self.random.between(pause, pause * 2)
    }

    /// All is well.
    pub(super) fn reset(&mut self) {
        self.bound = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_ten_seconds_and_start_anew_after_success() {
        let mut backoff = Backoff::new(7);
        let mut bound = FIRST;
        for _ in 0..100 {
            assert!(backoff.next() < bound);
            bound = (bound * 2).min(LONGEST);
        }
        assert!((0..100).any(|_| backoff.next() > LONGEST / 2));
        backoff.reset();
        assert!(backoff.next() < FIRST);
        assert!(backoff.slow() >= LONGEST / 2);
        assert!((FIRST..FIRST * 2).contains(&backoff.around(FIRST)));
    }
}
