//! What can go wrong with a command, in words, and the exit code that scripts see.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::table::clean;
use crate::wire::errors::code_name;

/// The exit codes, for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the service or the connection failed
  2  wrong usage, or the service refused the arguments (INVALID_ARGUMENT)
  3  no slot found: nothing was booked or moved
  4  no such meeting or participant (NOT_FOUND)
  5  conflict: changed meanwhile, used before, or not in the state for it
     (ABORTED, ALREADY_EXISTS, FAILED_PRECONDITION)
  6  no scheduler can be reached, or it is shutting down (UNAVAILABLE)
  7  the time given with --timeout is over (DEADLINE_EXCEEDED)";

/// How a command ends, as in [`EXIT_CODES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The service or the connection failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// No slot.
    NoSlot = 3,
    /// No such thing.
    NotFound = 4,
    /// Somebody else was there first.
    Conflict = 5,
    /// No scheduler.
    Unavailable = 6,
    /// Too late.
    Deadline = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An option's value that can't be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadValue {
    /// The option, as it is typed.
    pub flag: &'static str,
    /// The value; empty if it is missing.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Why a command failed.
#[derive(Debug)]
pub enum CliError {
    /// Arguments that can't be used: all of them.
    Usage(Vec<BadValue>),
    /// No connection.
    Connect {
        /// Where a scheduler was sought.
        address: String,
        /// Why there is none.
        cause: String,
    },
    /// The service answered with an error.
    Call {
        /// The error.
        status: Box<Status>,
        /// What the person can do.
        hint: Option<String>,
    },
    /// No answer in time.
    Deadline {
        /// How long was waited.
        timeout: Duration,
        /// What the person can do.
        hint: Option<String>,
    },
    /// The connection broke off while an answer was awaited.
    Lost {
        /// Why.
        cause: String,
        /// What the person can do.
        hint: Option<String>,
    },
    /// The result can't be written.
    Output(io::Error),
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        let made_here = matches!(status.code(), Code::Unknown | Code::Internal | Code::Unavailable);
        match status.source().filter(|_| made_here) {
            // Only statuses that this end made from a broken connection have a source.
            Some(source) => Self::Lost { cause: innermost(source), hint: None },
            None => Self::Call { status: Box::new(status), hint: None },
        }
    }
}

/// The last cause of an error: the one that says what happened.
pub fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl CliError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Connect { .. } | Self::Lost { .. } => Exit::Unavailable,
            Self::Deadline { .. } => Exit::Deadline,
            Self::Output(_) => Exit::Failed,
            Self::Call { status, .. } => match status.code() {
                Code::InvalidArgument => Exit::Usage,
                Code::NotFound => Exit::NotFound,
                Code::Aborted | Code::AlreadyExists | Code::FailedPrecondition => Exit::Conflict,
                Code::Unavailable => Exit::Unavailable,
                Code::DeadlineExceeded => Exit::Deadline,
                _ => Exit::Failed,
            },
        }
    }

    /// Adds what the person can do, unless the error came before the service was asked, or it refused for good.
    pub fn or_hint(self, text: impl FnOnce() -> String) -> Self {
        match self {
            Self::Deadline { timeout, .. } => Self::Deadline { timeout, hint: Some(text()) },
            Self::Lost { cause, .. } => Self::Lost { cause, hint: Some(text()) },
            Self::Call { status, .. } if outcome_unknown(status.code()) => {
                Self::Call { status, hint: Some(text()) }
            }
            other => other,
        }
    }

    /// The error in words, for standard error. Ends with a line break.
    pub fn text(&self) -> String {
        match self {
            Self::Usage(values) => {
                values.iter().fold(String::new(), |text, bad| text + "error: " + &bad_value(bad) + "\n")
            }
            Self::Connect { address, cause } => format!(
                "error: no scheduler can be reached at {address}: {}\n\
                 hint: start one with `quorate serve --data-dir DIR`, or name another with --scheduler URL\n",
                clean(cause)
            ),
            Self::Call { status, hint } => with_hint(status_text(status), hint),
            Self::Deadline { timeout, hint } => {
                with_hint(format!("error: no answer within {timeout:?} (see --timeout)\n"), hint)
            }
            Self::Lost { cause, hint } => with_hint(
                format!("error: the connection to the scheduler was lost: {}\n", clean(cause)),
                hint,
            ),
            Self::Output(error) => format!("error: can't write the result: {error}\n"),
        }
    }

    /// The error as JSON, for scripts: `{"error": {"code", "message", "reason", "fieldViolations", "hint"}}`.
    pub fn json(&self) -> Value {
        let mut error = json!({ "code": self.code_name(), "exitCode": self.exit() as u8 });
        let hint = match self {
            Self::Call { hint, .. } | Self::Deadline { hint, .. } | Self::Lost { hint, .. } => hint.as_ref(),
            Self::Usage(_) | Self::Connect { .. } | Self::Output(_) => None,
        };
        match self {
            Self::Call { status, .. } => {
                let details = status.get_error_details();
                error["message"] = json!(status.message());
                if let Some(info) = details.error_info() {
                    error["reason"] = json!(info.reason);
                }
                if let Some(bad) = details.bad_request() {
                    error["fieldViolations"] = (bad.field_violations.iter())
                        .map(|v| json!({ "field": v.field, "description": v.description }))
                        .collect();
                }
                if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
                    error["retryDelay"] = json!(format!("{}s", delay.as_secs_f64()));
                }
            }
            Self::Usage(values) => {
                error["message"] = json!("arguments can't be used");
                error["fieldViolations"] = (values.iter())
                    .map(|bad| json!({ "field": bad.flag, "description": bad_value(bad) }))
                    .collect();
            }
            other => {
                let text = other.text();
                let first = text.lines().next().unwrap_or_default();
                error["message"] = json!(first.strip_prefix("error: ").unwrap_or(first));
            }
        }
        if let Some(hint) = hint {
            error["hint"] = json!(hint);
        }
        json!({ "error": error })
    }

    fn code_name(&self) -> &'static str {
        match self {
            Self::Usage(_) => "INVALID_ARGUMENT",
            Self::Connect { .. } | Self::Lost { .. } => "UNAVAILABLE",
            Self::Deadline { .. } => "DEADLINE_EXCEEDED",
            Self::Output(_) => "UNKNOWN",
            Self::Call { status, .. } => code_name(status.code()),
        }
    }
}

/// Whether a call that ended so may still have taken effect.
fn outcome_unknown(code: Code) -> bool {
    use Code::{Cancelled, DeadlineExceeded, Internal, Unavailable, Unknown};
    matches!(code, Cancelled | DeadlineExceeded | Internal | Unavailable | Unknown)
}

fn with_hint(text: String, hint: &Option<String>) -> String {
    match hint {
        Some(hint) => format!("{text}hint: {hint}\n"),
        None => text,
    }
}

fn bad_value(bad: &BadValue) -> String {
    let BadValue { flag, value, problem } = bad;
    if value.is_empty() {
        format!("{flag}: {problem}")
    } else {
        format!("invalid value '{}' for '{flag}': {problem}", clean(value))
    }
}

/// A status in words: the message, the violated fields with the options that set them, and when to try again.
fn status_text(status: &Status) -> String {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| format!(", {}", clean(&info.reason))).unwrap_or_default();
    let mut text = format!("error: {} ({}{reason})\n", clean(status.message()), code_name(status.code()));
    for violation in details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default() {
        let flag = flag_of(&violation.field).map(|flag| format!(" ({flag})")).unwrap_or_default();
        let _ = writeln!(text, "  {}{flag}: {}", clean(&violation.field), clean(&violation.description));
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        let _ = writeln!(text, "hint: try again in {delay:?}");
    }
    text
}

/// The option that sets a request's field.
fn flag_of(field: &str) -> Option<&'static str> {
    let path: String = field.split('.').filter(|part| *part != "spec").collect::<Vec<_>>().join(".");
    let starts = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let flags = [
        ("title", "--title"),
        ("organizer", "--organizer"),
        ("attendees", "--with, --require, --optional"),
        ("duration", "--duration"),
        ("minimum_participants", "--minimum"),
        ("priority", "--priority"),
        ("objective", "--objective"),
        ("buffer_before", "--buffer-before"),
        ("buffer_after", "--buffer-after"),
        ("window.earliest", "--from"),
        ("window.latest", "--until"),
        ("window.time_zone", "--zone"),
        ("window.step", "--step"),
        ("window.working_hours", "--days, --hours"),
        ("window.exclude", "--exclude"),
        ("window", "--from, --until"),
        ("slot", "--at"),
        ("first_slot", "--at"),
        ("rrule", "--rrule"),
        ("frequency", "--every"),
        ("end_date", "--last"),
        ("exclude_dates", "--except"),
        ("conflict_policy", "--on-conflict"),
        ("move_tolerance", "--move-within"),
        ("from", "--from"),
        ("range", "--from, --until"),
        ("request_id", "--request-id"),
        ("response_timeout", "--response-timeout"),
        ("connect_timeout", "--connect-timeout"),
        ("max_attempts", "--max-attempts"),
        ("max_candidates_per_round", "--max-candidates-per-round"),
        ("max_candidates", "--max-candidates"),
        ("page_size", "--page-size"),
        ("page_token", "--page-token"),
        ("resume_after", "--resume-after"),
    ];
    flags.iter().find(|(prefix, _)| starts(prefix)).map(|(_, flag)| *flag)
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn refused() -> CliError {
        let mut details = ErrorDetails::new();
        details
            .set_error_info("INVALID_FIELDS", "quorate", std::collections::HashMap::new())
            .add_bad_request_violation("spec.duration", "must be at least 1 min")
            .add_bad_request_violation("spec.attendees[3].participant_id", "named twice")
            .add_bad_request_violation("spec.window.working_hours.days", "\u{1b}[31mred");
        Status::with_error_details(Code::InvalidArgument, "3 fields are invalid", details).into()
    }

    #[test]
    fn all_violations_are_shown_with_their_options_and_without_control_characters() {
        let text = refused().text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "error: 3 fields are invalid (INVALID_ARGUMENT, INVALID_FIELDS)");
        assert_eq!(lines[1], "  spec.duration (--duration): must be at least 1 min");
        assert_eq!(
            lines[2],
            "  spec.attendees[3].participant_id (--with, --require, --optional): named twice"
        );
        assert_eq!(lines[3], "  spec.window.working_hours.days (--days, --hours): \u{fffd}[31mred");
        assert_eq!(refused().exit(), Exit::Usage);
    }

    #[test]
    fn scripts_get_the_same_as_json() {
        let json = refused().json();
        assert_eq!(json["error"]["code"], "INVALID_ARGUMENT");
        assert_eq!(json["error"]["reason"], "INVALID_FIELDS");
        assert_eq!(json["error"]["exitCode"], 2);
        assert_eq!(json["error"]["fieldViolations"][0]["field"], "spec.duration");
    }

    #[test]
    fn codes_of_the_service_become_exit_codes() {
        for (code, exit) in [
            (Code::InvalidArgument, Exit::Usage),
            (Code::NotFound, Exit::NotFound),
            (Code::Aborted, Exit::Conflict),
            (Code::AlreadyExists, Exit::Conflict),
            (Code::FailedPrecondition, Exit::Conflict),
            (Code::Unavailable, Exit::Unavailable),
            (Code::DeadlineExceeded, Exit::Deadline),
            (Code::ResourceExhausted, Exit::Failed),
            (Code::OutOfRange, Exit::Failed),
            (Code::Internal, Exit::Failed),
        ] {
            assert_eq!(CliError::from(Status::new(code, "")).exit(), exit, "{code:?}");
        }
    }

    #[test]
    fn who_cannot_connect_learns_where_and_what_to_do() {
        let error = CliError::Connect {
            address: "http://127.0.0.1:1".to_owned(),
            cause: "Connection refused (os error 111)".to_owned(),
        };
        assert_eq!(error.exit(), Exit::Unavailable);
        let text = error.text();
        assert!(text.contains("at http://127.0.0.1:1: Connection refused") && text.contains("quorate serve"));
        assert_eq!(error.json()["error"]["code"], "UNAVAILABLE");
    }

    #[test]
    fn a_broken_connection_is_told_apart_from_an_error_of_the_service() {
        let lost = || {
            let broken: Box<dyn Error + Send + Sync> = Box::new(io::Error::other("reset by peer"));
            CliError::from(Status::from_error(broken))
        };
        assert_eq!(lost().exit(), Exit::Unavailable);
        assert_eq!(
            lost().json()["error"]["message"],
            "the connection to the scheduler was lost: reset by peer"
        );
        let text = lost().or_hint(|| "ask again".to_owned()).text();
        assert!(text.ends_with("reset by peer\nhint: ask again\n"), "{text}");
        assert_eq!(CliError::from(Status::unknown("reset by peer")).exit(), Exit::Failed);
    }

    #[test]
    fn a_hint_is_for_calls_whose_outcome_is_unknown() {
        let hinted = |code| CliError::from(Status::new(code, "x")).or_hint(|| "ask again".to_owned()).text();
        assert!(hinted(Code::Unavailable).ends_with("hint: ask again\n"));
        assert!(!hinted(Code::InvalidArgument).contains("hint"));
        let late = CliError::Deadline { timeout: Duration::from_secs(5), hint: None };
        assert_eq!(
            late.or_hint(|| "ask again".to_owned()).text(),
            "error: no answer within 5s (see --timeout)\nhint: ask again\n"
        );
    }

    #[test]
    fn bad_values_name_their_options() {
        let bad =
            |value: &str| BadValue { flag: "--from", value: value.to_owned(), problem: "no".to_owned() };
        let text = CliError::Usage(vec![bad("2024-02-30"), bad("")]).text();
        assert_eq!(text, "error: invalid value '2024-02-30' for '--from': no\nerror: --from: no\n");
    }
}
