//! Trace contexts as values (W3C Trace Context, level 1), and what a job went through, for whoever keeps traces.
//!
//! Nothing here decides anything: the protocol never reads it.

use std::fmt;
use std::sync::Arc;

use super::ids::{AttemptNumber, MeetingId, RequestId};
use super::limits;
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

/// What tracing systems tell one another of a trace: what `tracestate` carries. It is passed on and never read; cheap to
/// clone.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TraceState(Arc<str>);

impl TraceState {
    /// Reads what all headers of this name say, in their order. None if that is nothing, or if any of it is not as the
    /// recommendation has it (a member that is malformed, a key that comes twice, more than
    /// [`limits::TRACESTATE_MEMBERS`]): it is dropped as a whole then, and the trace itself is not. Of what is longer than
    /// [`limits::TRACESTATE_CHARS`] whole members are left out.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut members: Vec<(&str, &str)> = Vec::new();
        for member in headers.into_iter().flat_map(|header| header.split(',')) {
            let member = member.trim_matches([' ', '\t']);
            // Empty ones are allowed: whoever joins headers can't always avoid them.
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let again = members.iter().any(|(other, _)| *other == key);
            if again || !is_key(key) || !is_value(value) || members.len() == limits::TRACESTATE_MEMBERS {
                return None;
            }
            members.push((key, value));
        }
        let members = shortened(members);
        let text: Vec<String> = members.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        (!text.is_empty()).then(|| Self(text.join(",").into()))
    }

    /// As it goes into one header.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Keys and values, in order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split(',').filter_map(|member| member.split_once('='))
    }
}

/// Leaves out whole members until the rest is short enough: first those that are longer than
/// [`limits::TRACESTATE_LONG_MEMBER`], then any, and of both the last ones first.
fn shortened<'a>(mut members: Vec<(&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    let chars = |(key, value): &(&str, &str)| key.len() + 1 + value.len();
    while members.iter().map(|member| chars(member) + 1).sum::<usize>() > limits::TRACESTATE_CHARS + 1 {
        let long = members.iter().rposition(|member| chars(member) > limits::TRACESTATE_LONG_MEMBER);
        members.remove(long.unwrap_or(members.len() - 1));
    }
    members
}

/// `system`, or `tenant@system`.
fn is_key(key: &str) -> bool {
    let rest =
        |text: &str| text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'));
    let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase());
    match key.split_once('@') {
        None => key.len() <= 256 && begins(key) && rest(key),
        Some((tenant, system)) => {
            let begun = begins(tenant) || tenant.starts_with(|c: char| c.is_ascii_digit());
            tenant.len() <= 241
                && begun
                && rest(tenant)
                && system.len() <= 14
                && begins(system)
                && rest(system)
        }
    }
}

/// Printable ASCII without commas and equals signs. A blank at its end can't be: those were taken off.
fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value.bytes().all(|b| matches!(b, b' '..=b'~') && b != b',' && b != b'=')
}

/// Where in which trace something happens: what `traceparent` carries, and what `tracestate` says of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span that is the parent of what follows.
    pub span: SpanId,
    /// Whether the spans of this trace are kept.
    pub sampled: bool,
    /// What else tracing systems say of it.
    pub state: Option<TraceState>,
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
            state: None,
        })
    }

    /// The same place, of which tracing systems say this.
    pub fn stating(self, state: Option<TraceState>) -> Self {
        Self { state, ..self }
    }

    /// The same trace, with another span as the parent of what follows.
    pub fn within(&self, span: SpanId) -> Self {
        Self { span, ..self.clone() }
    }
}

/// As `traceparent` has it; `tracestate` is beside it.
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
#[derive(Clone, PartialEq, Eq, Debug)]
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

    fn state(headers: &[&str]) -> Option<String> {
        TraceState::parse(headers.iter().copied()).map(|state| state.as_str().to_owned())
    }

    #[test]
    fn a_tracestate_is_kept_as_it_is_and_its_headers_are_joined_in_order() {
        for whole in [
            "rojo=00f067aa0ba902b7",
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
            "z*-_/9=!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~",
            "fw529a3039@dt=FfAABPz,1a@b=c",
            "a= b  c",
        ] {
            assert_eq!(state(&[whole]).as_deref(), Some(whole));
        }
        let long = |tenant: usize, system: usize| {
            format!("{}@{}={}", "0".repeat(tenant), "s".repeat(system), "v".repeat(256 - 2 - 241 + 1))
        };
        assert_eq!(state(&[&long(241, 14)]), Some(long(241, 14)));
        assert_eq!(state(&["b=1", "", " \t", "a=2 ,\tc=3\t,,", "d=4"]).as_deref(), Some("b=1,a=2,c=3,d=4"));
        let read = TraceState::parse(["b=1,a= 2"]).unwrap();
        assert_eq!(read.members().collect::<Vec<_>>(), [("b", "1"), ("a", " 2")]);
        let context = TraceContext::parse(GIVEN).unwrap().stating(Some(read.clone()));
        assert_eq!((context.to_string().as_str(), context.within(SpanId([1; 8])).state), (GIVEN, Some(read)));
    }

    #[test]
    fn what_is_no_tracestate_is_dropped_as_a_whole() {
        let (tenant, system) = ("t".repeat(242), "s".repeat(15));
        for bad in [
            "",
            " , ,",
            "a",
            "=1",
            "a=",
            "a= ",
            "A=1",
            "1=1",
            "a =1",
            "a b=1",
            "a.b=1",
            "a==1",
            "a=1=2",
            "a=1;b=\u{7f}",
            "a=\u{e9}",
            "a=b\tc",
            "@a=1",
            "a@=1",
            "a@1=1",
            "a@@b=1",
            "a@b@c=1",
            &format!("{tenant}@s=1"),
            &format!("t@{system}=1"),
            &format!("{}=1", "k".repeat(257)),
            &format!("k={}", "v".repeat(257)),
        ] {
            assert_eq!(state(&[bad]), None, "{bad}");
            assert_eq!(state(&["ok=1", bad]).is_some(), bad.trim_matches([' ', ',']).is_empty(), "{bad}");
        }
        for again in [&["a=1,b=2,a=1"][..], &["a=1", "b=2", "a=2"]] {
            assert_eq!(state(again), None, "a key that comes twice: {again:?}");
        }
        let members = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(state(&[&members(32), ","]), Some(members(32)));
        assert_eq!(state(&[&members(33)]), None);
        assert_eq!(state(&[&members(32), "x=1"]), None);
    }

    #[test]
    fn of_a_tracestate_that_is_too_long_whole_members_are_left_out() {
        let member = |key: &str, chars: usize| format!("{key}={}", "v".repeat(chars - key.len() - 1));
        let (a, b, c) = (member("a", 128), member("b", 128), member("c", 128));
        let fits = [&a, &b, &c, &member("d", 125)].map(String::as_str).join(",");
        assert_eq!(fits.len(), limits::TRACESTATE_CHARS);
        assert_eq!(state(&[&fits]), Some(fits.clone()));
        // One character more, and the last member goes.
        let over = [&a, &b, &c, &member("d", 126)].map(String::as_str).join(",");
        assert_eq!(state(&[&over]), Some([&a, &b, &c].map(String::as_str).join(",")));
        // Long ones go before it, the last of them first, and no more than have to.
        let (long, longer) = (member("l", 129), member("m", 200));
        let short = "s=1".to_owned();
        let over = [&long, &a, &longer, &b, &short].map(String::as_str).join(",");
        assert_eq!(state(&[&over]), Some([&long, &a, &b, &short].map(String::as_str).join(",")));
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
