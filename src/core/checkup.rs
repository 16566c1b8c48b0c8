//! What a check of somebody's files found, as a value: for `quorate doctor`, and before a backup is put in place.

use serde::Serialize;

/// One named check, and all that failed in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// Its name: one word, or an invariant of [`super::invariants`].
    pub name: &'static str,
    /// What holds if nothing was found.
    pub claim: &'static str,
    /// What does not hold, with names; empty: the check passed.
    pub problems: Vec<String>,
}

impl Check {
    /// Whether nothing was found.
    pub fn passed(&self) -> bool {
        self.problems.is_empty()
    }
}
