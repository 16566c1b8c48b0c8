//! How much work a rule may make.

use chrono::NaiveDateTime;

/// How much may still be looked at: an occurrence is a step, and so is a day, week, month or year without one.
/// A rule that recurs within a day takes one for each hour, minute or second too that it looks at, with or without one.
#[derive(Debug)]
pub struct Steps(usize);

impl Steps {
    /// So many steps.
    pub fn new(steps: usize) -> Self {
        Self(steps)
    }

    /// Takes so many steps; `false` if fewer are left.
    pub fn take(&mut self, steps: usize) -> bool {
        let left = self.0 >= steps;
        self.0 = self.0.saturating_sub(steps);
        left
    }

    /// Splits off up to `most` steps.
    pub fn split(&mut self, most: usize) -> Self {
        let part = self.0.min(most);
        self.0 -= part;
        Self(part)
    }

    /// Gives back what a part did not use.
    pub fn give_back(&mut self, part: Self) {
        self.0 += part.0;
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.0
    }
}

/// The bound on work ended the expansion at this local time: whatever comes after it is not known.
#[derive(Debug, PartialEq, Eq)]
pub struct GaveUpAt(pub NaiveDateTime);
