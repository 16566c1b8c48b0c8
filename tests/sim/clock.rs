//! A node's two clocks: the monotonic one runs at a rate of its own, the wall clock may jump.

use std::time::Duration;

use quorate::core::time::{Mono, Now, add, sub};

use super::plan::midnight;

/// Parts of a rate: 1000 is as fast as the world's own time.
pub const EXACT: u64 = 1_000;

/// One node's clocks, by the world's time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    rate: u64,
    /// When the rate was set, in the world's time, and what the clock showed.
    since: Mono,
    showed: Duration,
    /// How far the wall clock is off, in milliseconds.
    jump: i64,
}

impl Clock {
    /// `rate` in thousandths of the world's time.
    pub fn new(rate: u64) -> Self {
        Self { rate, since: Mono::default(), showed: Duration::ZERO, jump: 0 }
    }

    pub fn now(&self, world: Mono) -> Now {
        let mono = self.showed + scaled(world.since(self.since), self.rate, EXACT, false);
        let wall = add(midnight(), mono);
        let jump = Duration::from_millis(self.jump.unsigned_abs());
        let wall = if self.jump < 0 { sub(wall, jump) } else { add(wall, jump) };
        Now { mono: Mono(mono), wall }
    }

    /// When the clock will show this, in the world's time.
    pub fn when(&self, local: Mono) -> Mono {
        self.since + scaled(local.0.saturating_sub(self.showed), EXACT, self.rate, true)
    }

    /// From now on it runs as fast as the world's own time.
    pub fn run_exactly(&mut self, world: Mono) {
        self.showed = self.now(world).mono.0;
        self.since = world;
        self.rate = EXACT;
    }

    pub fn jump(&mut self, millis: i64) {
        self.jump += millis;
    }

    /// What a length on this clock takes at most in the world's time, now or once it runs exactly.
    pub fn longest(&self, length: Duration) -> Duration {
        length.max(scaled(length, EXACT, self.rate, true))
    }
}

fn scaled(length: Duration, by: u64, of: u64, up: bool) -> Duration {
    let product = length.as_nanos() * u128::from(by);
    let of = u128::from(of);
    let nanos = if up { product.div_ceil(of) } else { product / of };
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
