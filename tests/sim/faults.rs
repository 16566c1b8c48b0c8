//! What goes wrong in a run: which kinds are switched on (swarm testing: each seed has its own), how often messages
//! and disks fail, and the faults that have a time of their own.

use std::time::Duration;

use quorate::core::random::Random;
use quorate::core::time::Mono;

use super::clock::EXACT;
use super::plan::{Happening, Plan, chance, pick};

/// How often things fail by themselves, per mille unless said otherwise.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Lossy, duplicating, reordering network; otherwise streams are first in, first out.
    pub harsh: bool,
    pub dropped: u64,
    pub duplicated: u64,
    /// Of the messages: late by up to `lateness`.
    pub late: u64,
    pub lateness: Duration,
    /// Longest delay of a message that is not late, in milliseconds.
    pub pace: u64,
    /// Of the messages: a host crashes or its stream breaks.
    pub fault_at_message: u64,
    /// Of the yes votes: the voter is cut off for longer than a lease, leaves, or restarts at once.
    pub fault_at_vote: u64,
    /// Of the commits: the scheduler crashes at the sync, or the store fails.
    pub crash_at_commit: u64,
    /// Of the journal writes: the agent's host crashes.
    pub crash_at_sync: u64,
    /// Of the actions of the scheduler: it crashes before it.
    pub crash_between: u64,
    /// Of the crashes of a host: an agent's journal is an older copy afterwards, or a new one.
    pub journal_at_crash: u64,
    /// Longest time until the scheduler notices that a stream is gone, in milliseconds.
    pub unnoticed: u64,
    /// Rate of the scheduler's clock and of each host's, in thousandths.
    pub clocks: Vec<u64>,
}

/// Items of a plan that stand for rates, in the order of their numbers.
pub const RATES: &[&str] = &[
    "drops",
    "duplicates",
    "late messages",
    "faults at messages",
    "crashes at commits",
    "crashes at journal writes",
    "crashes between actions",
    "journals lost at crashes",
    "streams that end unnoticed",
    "clock rates",
    "faults at votes",
];

impl Rates {
    pub fn calm(hosts: usize, pace: u64) -> Self {
        Self { pace, unnoticed: 6_000, clocks: vec![EXACT; hosts + 1], ..Self::default() }
    }

    fn drawn(random: &mut Random, hosts: usize, pace: u64, journals: bool) -> Self {
        let harsh = chance(random, 500);
        let longest = pick(random, &[12, 12, 30, 100]);
        let mut rates = Self {
            harsh,
            dropped: if harsh { random.below(201) } else { 0 },
            duplicated: if harsh { random.below(101) } else { 0 },
            late: pick(random, &[0, 5, 15, 30]),
            lateness: Duration::from_secs(longest),
            fault_at_vote: pick(random, &[0, 0, 50, 200]),
            fault_at_message: pick(random, &[0, 0, 5, 20]),
            crash_at_commit: pick(random, &[0, 0, 5, 20]),
            crash_at_sync: pick(random, &[0, 0, 10, 40]),
            crash_between: pick(random, &[0, 0, 0, 3]),
            journal_at_crash: if journals { pick(random, &[0, 100, 400]) } else { 0 },
            ..Self::calm(hosts, pace)
        };
        rates.unnoticed = pick(random, &[300, 6_000, 6_000, 120_000]);
        if chance(random, 300) {
            rates.clocks = (0..=hosts).map(|_| pick(random, &[500, 800, 1_000, 1_250, 2_000])).collect();
        }
        rates
    }

    /// Switches off the rates whose number is not kept.
    pub fn keep(&mut self, kept: &dyn Fn(usize) -> bool) {
        let off: [&dyn Fn(&mut Self); 11] = [
            &|r| r.dropped = 0,
            &|r| r.duplicated = 0,
            &|r| r.late = 0,
            &|r| r.fault_at_message = 0,
            &|r| r.crash_at_commit = 0,
            &|r| r.crash_at_sync = 0,
            &|r| r.crash_between = 0,
            &|r| r.journal_at_crash = 0,
            &|r| r.unnoticed = 300,
            &|r| r.clocks.fill(EXACT),
            &|r| r.fault_at_vote = 0,
        ];
        for (_, off) in off.iter().enumerate().filter(|(number, _)| !kept(*number)) {
            off(self);
        }
    }
}

/// The kinds of faults that have a time of their own, and how many shares of the faults each gets if it is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    CrashHost,
    BreakSession,
    Partition,
    Flap,
    WallJump,
    Twin,
    Journal,
    Unregister,
    CrashScheduler,
    Second,
    Drain,
    Restore,
    Echo,
    Stranger,
    Everything,
    Gone,
}

const KINDS: &[(Kind, u64)] = &[
    (Kind::CrashHost, 6),
    (Kind::BreakSession, 8),
    (Kind::Partition, 8),
    (Kind::Flap, 3),
    (Kind::WallJump, 3),
    (Kind::Twin, 2),
    (Kind::Journal, 3),
    (Kind::Unregister, 3),
    (Kind::CrashScheduler, 3),
    (Kind::Second, 2),
    (Kind::Drain, 1),
    (Kind::Restore, 2),
    (Kind::Echo, 3),
    (Kind::Stranger, 4),
    (Kind::Everything, 1),
    (Kind::Gone, 1),
];

/// How many faults a run gets, besides what its rates bring. With few of them a run gets further before the next.
fn how_many(random: &mut Random) -> u64 {
    match random.below(10) {
        0..=1 => 3 + random.below(12),
        _ => 30 + random.below(51),
    }
}

impl Plan {
    pub fn add_faults(&mut self, random: &mut Random) {
        let on: Vec<(Kind, u64)> = KINDS.iter().filter(|_| chance(random, 450)).copied().collect();
        let journals = on.iter().any(|(kind, _)| *kind == Kind::Journal);
        self.rates = Rates::drawn(random, self.hosts.len(), self.rates.pace, journals);
        let shares: u64 = on.iter().map(|(_, share)| share).sum();
        if shares == 0 {
            return;
        }
        let many = how_many(random);
        if many >= 30 {
            self.stop = Mono(self.stop.0 * 2);
        }
        let mut left = many as i64;
        while left > 0 {
            let mut share = random.below(shares);
            let kind = on.iter().find(|(_, width)| {
                let ours = share < *width;
                share = share.saturating_sub(*width);
                ours
            });
            let Some((kind, _)) = kind else { break };
            let before = self.events.len();
            self.add_fault(random, *kind);
            left -= (self.events.len() - before).max(1) as i64;
        }
    }

    fn add_fault(&mut self, random: &mut Random, kind: Kind) {
        let at = self.time(random);
        let host = random.below(self.hosts.len() as u64) as usize;
        let agent = random.below(self.small.len() as u64) as usize;
        let happening = match kind {
            Kind::CrashHost => Happening::CrashHost(host),
            Kind::BreakSession => Happening::BreakSession(host),
            Kind::Partition => self.partition(random, host),
            Kind::Flap => return self.add_flaps(random, at, host),
            Kind::WallJump => {
                let hour = 3_600_000;
                let millis = pick(random, &[-hour, hour, -60_000, 60_000]);
                Happening::WallJump((host > 0 || chance(random, 500)).then_some(host), millis)
            }
            Kind::Twin => Happening::Twin { agent, older: chance(random, 300) },
            Kind::Journal => Happening::LoseJournal(agent),
            Kind::Unregister => Happening::Unregister(agent),
            Kind::CrashScheduler => Happening::CrashScheduler,
            Kind::Second => Happening::SecondScheduler { at_hold: chance(random, 600) },
            Kind::Drain => Happening::Drain(random.below(6_000)),
            Kind::Restore => return self.add_restore(random, at),
            Kind::Echo => Happening::Echo(host),
            Kind::Stranger => Happening::Stranger,
            Kind::Everything => Happening::CrashEverything,
            Kind::Gone if self.hosts.len() > 2 && !self.somebody_is_gone() => Happening::HostGone(host),
            Kind::Gone => Happening::CrashHost(host),
        };
        self.events.push((at, happening));
    }

    fn somebody_is_gone(&self) -> bool {
        self.events.iter().any(|(_, happening)| matches!(happening, Happening::HostGone(_)))
    }

    /// One direction, or both; shorter than a lease, or longer than several.
    fn partition(&self, random: &mut Random, host: usize) -> Happening {
        let (up, down) = pick(random, &[(true, false), (false, true), (true, true)]);
        let millis = pick(random, &[1_000, 5_000, 15_000, 60_000]);
        Happening::Partition { host, up, down, millis: 200 + random.below(millis) }
    }

    fn add_flaps(&mut self, random: &mut Random, at: Mono, host: usize) {
        let mut at = at;
        for _ in 0..3 + random.below(5) {
            let happening = match chance(random, 500) {
                true => Happening::BreakSession(host),
                false => {
                    Happening::Partition { host, up: true, down: true, millis: 100 + random.below(1_500) }
                }
            };
            self.events.push((at, happening));
            at = at + Duration::from_millis(300 + random.below(2_500));
        }
    }

    /// The store is copied, goes on, often through a restart, and is put back.
    fn add_restore(&mut self, random: &mut Random, at: Mono) {
        let after = |millis: u64| at + Duration::from_millis(millis);
        self.events.push((at, Happening::BackupStore { then_crash: chance(random, 800) }));
        // Soon, while what was HOLDING in the copy is sought by both lives; or when all that is long over.
        let longest = pick(random, &[4_000, 8_000, 25_000]);
        self.events.push((after(500 + random.below(longest)), Happening::RestoreStore));
    }
}
