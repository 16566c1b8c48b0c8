//! What the scheduler's machine counts and times, for those who look in. Nothing of the protocol reads it.

use std::time::Duration;

use super::availability::Answer;
use super::model::{AttemptOutcome, FailureReason};

/// Upper bounds of the buckets of a [`Latency`], inclusive, in microseconds: half a millisecond to ten seconds, within which
/// a round (`limits`: at most half a minute) and a sync of the store usually fall.
pub const LATENCY_BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];
/// Upper bounds of the buckets of [`Sizes`], inclusive.
pub const SIZE_BOUNDS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];

/// How long something took.
pub type Latency = Histogram<14>;
/// How many there were of something.
pub type Sizes = Histogram<10>;

/// Values by bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Histogram<const N: usize> {
    within: [u64; N],
    above: u64,
    sum: u64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { within: [0; N], above: 0, sum: 0 }
    }
}

impl<const N: usize> Histogram<N> {
    fn note(&mut self, bounds: &[u64; N], value: u64) {
        let place = bounds.iter().position(|bound| value <= *bound);
        *place.map_or(&mut self.above, |place| &mut self.within[place]) += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.within.iter().sum::<u64>() + self.above
    }

    /// Of each bucket, the lowest first, how many values it has; those above the last bound come last.
    pub fn buckets(&self) -> impl Iterator<Item = u64> {
        self.within.into_iter().chain([self.above])
    }

    /// Adds what another one counted.
    pub fn add(&mut self, more: &Self) {
        for (mine, other) in self.within.iter_mut().zip(more.within) {
            *mine += other;
        }
        self.above += more.above;
        self.sum = self.sum.saturating_add(more.sum);
    }
}

impl Latency {
    /// Notes one.
    pub fn record(&mut self, took: Duration) {
        self.note(&LATENCY_BOUNDS, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum)
    }
}

impl Sizes {
    /// Notes one.
    pub fn record(&mut self, size: usize) {
        self.note(&SIZE_BOUNDS, size as u64);
    }

    /// All of them together.
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

/// Counts of each member of a closed set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts<const N: usize>([u64; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Counts<N> {
    fn add(&mut self, more: &Self) {
        for (mine, other) in self.0.iter_mut().zip(more.0) {
            *mine += other;
        }
    }
}

macro_rules! counted {
    ($what:ty, $n:literal: $($member:ident = $name:literal),+ $(,)?) => {
        impl Counts<$n> {
            /// Counts one more.
            pub fn note(&mut self, what: $what) {
                self.0[what as usize] += 1;
            }

            /// Each, by its name in metrics, also those that there were none of.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($name, self.0[<$what>::$member as usize])),+].into_iter()
            }
        }
    };
}

/// What came of asking one participant in a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerKind {
    /// Free at some of the time.
    Free,
    /// Free at none of it.
    Busy,
    /// Gave no answer, for a reason.
    Declined,
    /// Silent until the deadline.
    NoAnswer,
    /// Its stream ended.
    Disconnected,
}

impl AnswerKind {
    /// Of an answer; `None` for who was not asked.
    pub fn of(answer: &Answer) -> Option<Self> {
        match answer {
            Answer::Free(free) if free.is_empty() => Some(Self::Busy),
            Answer::Free(_) => Some(Self::Free),
            Answer::Declined(_) => Some(Self::Declined),
            Answer::NoAnswer => Some(Self::NoAnswer),
            Answer::Disconnected => Some(Self::Disconnected),
            Answer::NotAsked => None,
        }
    }
}

counted!(AnswerKind, 5: Free = "free", Busy = "busy", Declined = "declined", NoAnswer = "no_answer",
    Disconnected = "disconnected");

/// Why an attempt was aborted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AbortCause {
    /// Too few granted the hold.
    Refused,
    /// It gave way to the hold of another meeting.
    Pushed,
    /// Not everybody needed answered in time.
    TimedOut,
    /// Taken back: called off, a promise was lost, another occurrence could not be had, a slot was not to be displaced.
    TakenBack,
    /// Its meeting lost its slot while it was being moved.
    Displaced,
    /// Found in the store at a start, where nobody worked on it any more.
    Restart,
}

impl From<AttemptOutcome> for AbortCause {
    fn from(outcome: AttemptOutcome) -> Self {
        match outcome {
            AttemptOutcome::Refused | AttemptOutcome::NotAvailable => Self::Refused,
            AttemptOutcome::HeldByOther => Self::Pushed,
            AttemptOutcome::TimedOut => Self::TimedOut,
            AttemptOutcome::Aborted | AttemptOutcome::Booked => Self::TakenBack,
        }
    }
}

counted!(AbortCause, 6: Refused = "refused", Pushed = "pushed", TimedOut = "timed_out", TakenBack = "taken_back",
    Displaced = "displaced", Restart = "restart");

counted!(FailureReason, 9: NoCommonSlot = "no_common_slot", QuorumUnreachable = "quorum_unreachable",
    RequiredBusy = "required_busy", RequiredUnreachable = "required_unreachable", MaxAttempts = "max_attempts",
    Deadline = "deadline", WindowEmpty = "window_empty", SlotTaken = "slot_taken",
    NobodyConnected = "nobody_connected");

/// What one coordinator counted since its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Rounds begun.
    pub rounds: u64,
    /// From the query's leaving to the end of the round.
    pub round_time: Latency,
    /// What those who were asked said, in all rounds that are over.
    pub answers: Counts<5>,
    /// Holds asked for.
    pub holds: u64,
    /// From the holds' leaving to COMMITTED on disk.
    pub decision_time: Latency,
    /// Attempts decided COMMITTED.
    pub committed: u64,
    /// Attempts decided ABORTED.
    pub aborted: u64,
    /// The same, by cause.
    pub aborts: Counts<6>,
    /// Meetings that could not be booked, moved or changed.
    pub failures: Counts<9>,
    /// Attempts aborted for a higher rank.
    pub pushed: u64,
    /// Booked meetings that lost their slot to a higher priority.
    pub displaced: u64,
    /// Votes and answers that came too late or from an older registration.
    pub stale: u64,
    /// Free ranges that agents sent outside the asked windows.
    pub clipped: u64,
    /// Agents whose journal began a new life.
    pub lineages: u64,
    /// Resolves answered: agents whose lease ran out asked what became of their hold.
    pub resolved: u64,
    /// States seen that must not be; each is an error in the log too.
    pub alarms: u64,
}

impl Counters {
    /// Adds what another coordinator counted.
    pub fn add(&mut self, more: &Self) {
        let Self {
            rounds,
            round_time,
            answers,
            holds,
            decision_time,
            committed,
            aborted,
            aborts,
            failures,
            pushed,
            displaced,
            stale,
            clipped,
            lineages,
            resolved,
            alarms,
        } = more;
        self.round_time.add(round_time);
        self.answers.add(answers);
        self.decision_time.add(decision_time);
        self.aborts.add(aborts);
        self.failures.add(failures);
        for (mine, other) in [
            (&mut self.rounds, rounds),
            (&mut self.holds, holds),
            (&mut self.committed, committed),
            (&mut self.aborted, aborted),
            (&mut self.pushed, pushed),
            (&mut self.displaced, displaced),
            (&mut self.stale, stale),
            (&mut self.clipped, clipped),
            (&mut self.lineages, lineages),
            (&mut self.resolved, resolved),
            (&mut self.alarms, alarms),
        ] {
            *mine += other;
        }
    }

    /// Counts what came of a round.
    pub fn round_over<'a>(&mut self, took: Duration, answers: impl Iterator<Item = &'a Answer>) {
        self.round_time.record(took);
        answers.filter_map(AnswerKind::of).for_each(|kind| self.answers.note(kind));
    }

    /// Counts an attempt that was aborted.
    pub fn abort(&mut self, cause: AbortCause) {
        self.aborted += 1;
        self.aborts.note(cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut latency = Latency::default();
        for micros in [0, 500, 501, 10_000_000, 10_000_001, u64::MAX] {
            latency.record(Duration::from_micros(micros));
        }
        let buckets: Vec<u64> = latency.buckets().collect();
        assert_eq!((buckets[0], buckets[1], buckets[13], buckets[14]), (2, 1, 1, 2));
        assert_eq!((latency.count(), latency.sum()), (6, Duration::from_micros(u64::MAX)));
        let mut sizes = Sizes::default();
        sizes.record(1000);
        sizes.record(1001);
        let twice = sizes;
        sizes.add(&twice);
        assert_eq!((sizes.count(), sizes.sum()), (4, 4002));
        assert_eq!(sizes.buckets().collect::<Vec<_>>()[9..], [2, 2]);
    }

    #[test]
    fn every_name_is_of_its_own_count() {
        let mut counters = Counters::default();
        counters.failures.note(FailureReason::NobodyConnected);
        counters.answers.note(AnswerKind::Disconnected);
        counters.abort(AbortCause::Restart);
        counters.abort(AbortCause::Pushed);
        let more = counters;
        counters.add(&more);
        let last = |each: Vec<(&'static str, u64)>| each.last().copied();
        assert_eq!(last(counters.failures.each().collect()), Some(("nobody_connected", 2)));
        assert_eq!(last(counters.answers.each().collect()), Some(("disconnected", 2)));
        assert_eq!(last(counters.aborts.each().collect()), Some(("restart", 2)));
        assert_eq!(counters.aborts.each().nth(1), Some(("pushed", 2)));
        assert_eq!(counters.aborted, 4);
    }
}
