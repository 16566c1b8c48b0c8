//! What organizers were told, one line of JSON for each call, as a file that the checker reads.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What was called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Kind {
    Schedule,
    Reschedule,
    Update,
    Cancel,
    Get,
}

/// A meeting as an answer showed it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen {
    pub meeting: String,
    pub request: String,
    /// As the contract names it, such as CONFIRMED.
    pub state: String,
    pub etag: String,
    /// In seconds since 1970.
    pub slot: Option<(i64, i64)>,
    /// Who attends, sorted.
    pub attending: Vec<String>,
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// With an answer.
    Answered(Seen),
    /// With an error that says that nothing was done.
    Refused { code: String, reason: String },
    /// With an error after which the caller does not know what was done.
    Unknown { code: String, reason: String, words: String },
}

/// One call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Call {
    pub kind: Kind,
    /// Of Schedule.
    pub request: String,
    /// Of the others.
    pub meeting: String,
    pub outcome: Outcome,
}

/// The file of one organizer.
pub struct Log {
    file: File,
}

impl Log {
    pub fn create(path: &Path) -> Self {
        Self { file: File::create(path).expect("a log") }
    }

    pub fn write(&mut self, call: &Call) {
        let line = serde_json::to_string(call).expect("JSON");
        writeln!(self.file, "{line}").expect("the log is written");
    }
}

/// Reads the calls of a file, in order.
pub fn read(path: &PathBuf) -> Vec<Call> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a call")).collect()
}
