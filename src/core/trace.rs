//! Trace contexts as values (W3C Trace Context, level 1), and what a job went through, for whoever keeps traces.
//!
//! Nothing here decides anything: the protocol never reads it.

use std::fmt;

use super::ids::{AttemptNumber, MeetingId, RequestId};
use super::time::{Mono, TimeRange};

/// Names a span within its trace: never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub [u8; 8]);

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// Names a trace: never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Where in which trace something happens: what `traceparent` carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span that is the parent of what follows.
    pub span: SpanId,
    /// Whether the spans of this trace are kept.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`. None if it is not one that the recommendation has us use: then a new trace begins.
    /// A higher version than 00 may say more behind the fields that are known.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let (fields, rest) = text.split_at_checked(55)?;
        let [a, b, b'-', ..] = fields else { return None };
        let version = bytes::<1>(&[*a, *b])?[0];
        let known = version == 0 && rest.is_empty();
        let newer = version != 0 && version != 0xff && (rest.is_empty() || rest[0] == b'-');
        if !(known || newer) || fields[35] != b'-' || fields[52] != b'-' {
            return None;
        }
        let (trace, span, [flags]) =
            (bytes(&fields[3..35])?, bytes(&fields[36..52])?, bytes::<1>(&fields[53..])?);
        (trace != [0; 16] && span != [0; 8]).then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            sampled: flags & 1 == 1,
        })
    }

    /// The same trace, with another span as the parent of what follows.
    pub fn within(self, span: SpanId) -> Self {
        Self { span, ..self }
    }
}

/// As `traceparent` has it.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// Lower-case hexadecimal digits only: the recommendation refuses capitals.
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut read = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in read.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(read)
}

/// In whose trace a command is carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traced {
    /// The caller's span.
    pub context: TraceContext,
    /// Whether phases are recorded. If not, agents are told the caller's span as their parent.
    pub record: bool,
}

/// What a job goes through.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PhaseKind {
    /// All of it, from the command to the answer; a series has one for each of its meetings too.
    Job,
    /// Waiting for attendees to connect.
    Connect,
    /// One fan-out of queries, and the answers.
    Round,
    /// One attempt: D1, holds and votes.
    Hold,
    /// D3, until it is on disk or refused.
    Decide,
    /// Waiting for what is in the way.
    Wait,
    /// From the decision to the last acknowledged confirm.
    Deliver,
}

/// One phase that is over.
#[derive(Clone, PartialEq, Debug)]
pub struct PhaseSpan {
    /// Its own place: the parent of what happened within.
    pub context: TraceContext,
    /// The span that it is part of.
    pub parent: SpanId,
    /// What it was.
    pub kind: PhaseKind,
    /// Whose job.
    pub meeting: MeetingId,
    /// When it began.
    pub start: Mono,
    /// When it was over.
    pub end: Mono,
    /// What is known of it.
    pub details: Details,
}

/// How a phase ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Outcome {
    /// It came to its end, and the next one begins.
    #[default]
    Done,
    /// Booked.
    Booked,
    /// A booked meeting was changed, or a series.
    Changed,
    /// Slots were found, or none: nothing was to be booked.
    Found,
    /// Called off.
    Cancelled,
    /// Its slot went to a meeting of higher priority.
    Displaced,
    /// It could not be booked.
    Failed,
    /// Somebody needed is not free any more, or the command could not be taken.
    Refused,
    /// Lost to the hold of another meeting.
    HeldByOther,
    /// Given up.
    Aborted,
    /// Not everyone needed answered in time.
    TimedOut,
    /// The store met something else than it rests on.
    Conflict,
    /// What was to be told is no longer true.
    Superseded,
}

impl Outcome {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Booked => "booked",
            Self::Changed => "changed",
            Self::Found => "found",
            Self::Cancelled => "cancelled",
            Self::Displaced => "displaced",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::HeldByOther => "held_by_other",
            Self::Aborted => "aborted",
            Self::TimedOut => "timed_out",
            Self::Conflict => "conflict",
            Self::Superseded => "superseded",
        }
    }
}

/// What is known of a phase.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Details {
    /// How many participants were asked, or are told.
    pub asked: Option<u32>,
    /// How many of them answered; of a hold: said yes.
    pub answered: Option<u32>,
    /// Which attempt.
    pub attempt: Option<AttemptNumber>,
    /// About which slot.
    pub slot: Option<TimeRange>,
    /// How many slots came out of it.
    pub slots: Option<u32>,
    /// Of a job: the organizer's request.
    pub request: Option<RequestId>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not come to a good end, in words.
    pub failed: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let read = TraceContext::parse(GIVEN).unwrap();
        assert!(read.sampled);
        assert_eq!(read.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(read.span.to_string(), "00f067aa0ba902b7");
        assert_eq!(read.to_string(), GIVEN);
        assert!(!TraceContext::parse(&GIVEN.replace("-01", "-02")).unwrap().sampled);
        let newer = format!("{}-what-comes-later", GIVEN.replacen("00", "cc", 1));
        assert_eq!(TraceContext::parse(&newer), Some(read));
    }

    #[test]
    fn what_is_no_traceparent_is_ignored() {
        for bad in [
            "".to_owned(),
            "00".to_owned(),
            GIVEN.to_uppercase(),
            format!("{GIVEN}-00"),
            format!("{GIVEN} "),
            GIVEN.replacen("00", "ff", 1),
            format!("{}x", GIVEN.replacen("00", "cc", 1)),
            GIVEN.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GIVEN.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GIVEN.replace("4bf9", "4bg9"),
            GIVEN.replace('-', "_"),
            format!("00-{}-é", "4".repeat(51)),
        ] {
            assert_eq!(TraceContext::parse(&bad), None, "{bad}");
        }
    }
}
