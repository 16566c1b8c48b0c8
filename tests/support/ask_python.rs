//! Asks `icalendar` and `recurring-ical-events` about calendars (`tests/differential/busy.py`).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::DateTime;
use quorate::core::time::TimeRange;
use serde_json::{Value, json};

use super::python;

/// One calendar, and what is asked about it.
pub struct Task {
    /// The calendar.
    pub file: PathBuf,
    /// The zone in which floating times and all-day events are read.
    pub zone: String,
    /// Of which the busy time is wanted.
    pub windows: Vec<TimeRange>,
}

/// What Python says about one calendar.
#[derive(Debug, Default)]
pub struct Answer {
    /// One for each window.
    pub windows: Vec<Theirs>,
    /// How long it took; nothing if that was not asked for.
    pub took: Took,
}

/// Seconds: reading the file, making it ready for queries, each query.
pub type Took = (f64, f64, Vec<f64>);

/// The busy time of one window: sorted, merged and clipped.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Theirs {
    /// Confirmed, or without a status.
    pub busy: Vec<TimeRange>,
    /// STATUS:TENTATIVE.
    pub tentative: Vec<TimeRange>,
    /// Where Python does not follow RFC 5545 (`busy.py` says how).
    pub unsure: Vec<TimeRange>,
}

/// The answers, in the order of the tasks; an error of its own for each calendar that Python can't read. The error of
/// the whole says why there is no such Python.
pub fn ask(tasks: &[Task], timed: bool) -> Result<Vec<Result<Answer, String>>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential");
    let interpreter = python::with_packages("differential", &folder.join("requirements.txt"))?;
    let pair = |range: &TimeRange| json!([range.start.timestamp(), range.end.timestamp()]);
    let input: Vec<Value> = tasks
        .iter()
        .map(|task| {
            let windows: Vec<Value> = task.windows.iter().map(pair).collect();
            json!({ "file": task.file, "zone": task.zone, "windows": windows })
        })
        .collect();
    let mut child = Command::new(interpreter)
        .arg("-B")
        .arg(folder.join("busy.py"))
        .args(timed.then_some("time"))
        // The zones are those of the package tzdata, not whatever the machine has.
        .env("PYTHONTZPATH", "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter of the virtual environment starts");
    // The script reads all of it before it writes; the pipe is closed behind it.
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(Value::from(input).to_string().as_bytes()).expect("the script reads its tasks");
    drop(pipe);
    let output = child.wait_with_output().expect("the script ends");
    assert!(output.status.success(), "busy.py ended with {}", output.status);
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).expect("busy.py writes a list");
    assert_eq!(answers.len(), tasks.len(), "an answer for each task");
    Ok(answers.iter().map(read).collect())
}

fn read(answer: &Value) -> Result<Answer, String> {
    if let Some(error) = answer["error"].as_str() {
        return Err(error.to_owned());
    }
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let time = |value: &Value| value.as_i64().and_then(|at| DateTime::from_timestamp(at, 0)).expect("a time");
    let ranges = |value: &Value| -> Vec<TimeRange> {
        list(value).iter().map(|pair| TimeRange::new(time(&pair[0]), time(&pair[1]))).collect()
    };
    let theirs = |value: &Value| Theirs {
        busy: ranges(&value["busy"]),
        tentative: ranges(&value["tentative"]),
        unsure: ranges(&value["unsure"]),
    };
    let seconds = |value: &Value| value.as_f64().unwrap_or_default();
    Ok(Answer {
        windows: list(&answer["windows"]).iter().map(theirs).collect(),
        took: (
            seconds(&answer["read"]),
            seconds(&answer["index"]),
            list(&answer["queries"]).iter().map(seconds).collect(),
        ),
    })
}
