//! What has to happen sometimes: a campaign that never gets there shows nothing.

use std::collections::BTreeMap;

/// Every situation that the whole campaign has to reach at least once.
pub const SITUATIONS: &[&str] = &[
    "a hold was pushed by a higher rank",
    "a late yes after the abort",
    "a resolve while HOLDING",
    "a journal began a new life",
    "waited for a blocker, then booked",
    "a change succeeded while others competed",
    "a move succeeded",
    "an update with new attendees succeeded",
    "a change failed and the meeting stood",
    "the scheduler crashed between D1 and the holds",
    "the scheduler crashed between D3 and the confirms",
    "the scheduler crashed with a commit in flight",
    "the store's answer was lost",
    "an agent crashed between its sync and its vote",
    "an agent crashed before its sync",
    "a duplicate request attached",
    "a request id was refused with another body",
    "a request was asked again after a crash",
    "an older stream was superseded",
    "a withdrawal from a booking",
    "a cancel of a live meeting",
    "a cancel of a booked meeting",
    "a hold was refused as stale",
    "a small agent got its booking back",
    "a meeting failed",
    "a meeting was booked without somebody",
    "a restart took up a meeting and booked it",
    "a booked meeting was displaced",
    "a meeting was displaced twice",
    "a displaced meeting found another slot",
    "a displaced meeting found no other slot",
    "a journal was restored from an older copy",
    "a restored journal still had a hold",
    "the store was restored from an older copy",
    "a restored store lost a decision",
    "an older scheduler was fenced off",
    "a second scheduler started beside the first",
    "the scheduler crashed between two actions",
    "a decision whose answer was lost",
    "a drain while HOLDING",
    "a scheduler drained",
    "a second process spoke for a participant",
    "a wall clock jumped during a hold",
    "a clock ran at another rate",
    "a stream was cut in one direction or both",
    "a participant unregistered and came back",
    "an organizer hung up before the answer",
    "everything crashed at once",
    "a host never came back",
    "a message came over an older stream",
    "a late confirm after the release",
    "a participant was forgotten for a stranger",
    "a forgotten participant came back",
    "a withdrawal while HOLDING",
    "a series was booked whole",
    "a series failed as a whole",
    "an occurrence of a series was left out",
    "a series was taken up after a restart",
    "a series was moved",
    "a series could not be moved and stood",
    "the rest of a series was called off",
];

/// How often each situation came up.
#[derive(Clone, Default)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub fn saw(&mut self, situation: &'static str) {
        assert!(SITUATIONS.contains(&situation), "no such situation: {situation}");
        *self.0.entry(situation).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (situation, count) in &other.0 {
            *self.0.entry(situation).or_default() += count;
        }
    }

    pub fn never(&self) -> Vec<&'static str> {
        SITUATIONS.iter().filter(|situation| !self.0.contains_key(*situation)).copied().collect()
    }

    pub fn print(&self) {
        for situation in SITUATIONS {
            println!("{:>8}  {situation}", self.0.get(situation).unwrap_or(&0));
        }
    }
}
