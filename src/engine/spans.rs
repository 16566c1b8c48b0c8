//! Spans that are over, on their way to whoever keeps traces.
//!
//! [`SpanSink`] is the port; [`Spans`] is what the program's parts hold of it. Its clock is the engine's too, so that the
//! spans of one process have one time.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::clock::Clock;
use crate::core::time::{Instant, Mono};
use crate::core::trace::{Details, PhaseKind, PhaseSpan, SpanId, TraceContext, TraceId};

/// How far the wall clock may be from where spans have it, before they follow: in nanoseconds. Within one trace the time
/// only goes on; after a step of the clock (or a machine that slept) later traces have the new one.
const STEP: i64 = 1_000_000_000;

/// What an attribute says.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Words.
    Text(String),
    /// A number.
    Number(i64),
}

/// Who is on the other side of a span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpanKind {
    /// Nobody: it is within one process.
    Internal,
    /// Whoever called us.
    Server,
    /// Whoever sent us a message.
    Consumer,
}

/// A span that is over.
#[derive(Clone, PartialEq, Debug)]
pub struct Span {
    /// Its own place.
    pub context: TraceContext,
    /// What it is part of; none: nothing that is known.
    pub parent: Option<SpanId>,
    /// Whether that is in another process.
    pub remote: bool,
    /// What it was: few different ones.
    pub name: Cow<'static, str>,
    /// Who is on the other side.
    pub kind: SpanKind,
    /// When it began.
    pub start: Instant,
    /// When it was over.
    pub end: Instant,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// If it did not come to a good end: why.
    pub error: Option<String>,
}

/// Takes spans. It never waits: what it can't take at once it counts and loses.
pub trait SpanSink: Send + Sync + 'static {
    /// Takes one.
    fn take(&self, span: Span);
}

/// A way to a [`SpanSink`]; cheap to clone.
#[derive(Clone)]
pub struct Spans {
    sink: Arc<dyn SpanSink>,
    clock: Clock,
    /// From the monotonic clock to the wall, in nanoseconds.
    offset: Arc<AtomicI64>,
}

impl std::fmt::Debug for Spans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spans")
    }
}

impl Spans {
    /// Hands spans to this sink.
    pub fn to(sink: impl SpanSink) -> Self {
        let clock = Clock::start();
        let spans = Self { sink: Arc::new(sink), clock, offset: Arc::new(AtomicI64::new(i64::MIN)) };
        spans.now();
        spans
    }

    /// The clock that spans are timed by.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The time; looks whether the wall clock was set.
    pub fn now(&self) -> Mono {
        let now = self.clock.now();
        let mono = i64::try_from(now.mono.0.as_nanos()).unwrap_or(i64::MAX);
        let wall = now.wall.timestamp_nanos_opt().unwrap_or_default();
        let offset = wall.saturating_sub(mono);
        let before = self.offset.load(Ordering::Relaxed);
        if before == i64::MIN || (offset - before).abs() > STEP {
            self.offset.store(offset, Ordering::Relaxed);
        }
        now.mono
    }

    /// When that was, on the wall.
    pub fn wall(&self, mono: Mono) -> Instant {
        let mono = i64::try_from(mono.0.as_nanos()).unwrap_or(i64::MAX);
        Instant::from_timestamp_nanos(self.offset.load(Ordering::Relaxed).saturating_add(mono))
    }

    /// Hands over a span, if its trace is kept.
    pub fn over(&self, span: Span) {
        if span.context.sampled {
            self.sink.take(span);
        }
    }

    /// Hands over what a job of the core went through.
    pub(super) fn phase(&self, phase: PhaseSpan) {
        let PhaseSpan { context, parent, kind, meeting, start, end, details } = phase;
        let (trace, outcome) = (context.trace, details.outcome.word());
        match &details.failed {
            Some(why) => tracing::debug!(
                trace_id = %trace, meeting_id = %meeting, outcome, why, "{} is over", name(kind)
            ),
            None => {
                tracing::debug!(trace_id = %trace, meeting_id = %meeting, outcome, "{} is over", name(kind));
            }
        }
        self.over(Span {
            context,
            parent: Some(parent),
            remote: false,
            name: name(kind).into(),
            kind: SpanKind::Internal,
            start: self.wall(start),
            end: self.wall(end),
            attributes: attributes(&meeting, &details),
            error: details.failed,
        });
    }
}

fn name(kind: PhaseKind) -> &'static str {
    match kind {
        PhaseKind::Job => "meeting",
        PhaseKind::Connect => "connect",
        PhaseKind::Round => "round",
        PhaseKind::Hold => "hold",
        PhaseKind::Decide => "decide",
        PhaseKind::Wait => "wait",
        PhaseKind::Deliver => "deliver",
    }
}

fn attributes(meeting: &impl std::fmt::Display, details: &Details) -> Vec<(&'static str, Value)> {
    let mut attributes = vec![
        ("quorate.meeting.id", Value::Text(meeting.to_string())),
        ("quorate.outcome", Value::Text(details.outcome.word().into())),
    ];
    let numbers = [
        ("quorate.asked", details.asked.map(i64::from)),
        ("quorate.answered", details.answered.map(i64::from)),
        ("quorate.slots", details.slots.map(i64::from)),
        ("quorate.attempt", details.attempt.map(|n| n.0.cast_signed())),
    ];
    attributes.extend(numbers.into_iter().filter_map(|(key, n)| Some((key, Value::Number(n?)))));
    let request = details.request.as_ref().map(ToString::to_string).filter(|id| !id.is_empty());
    attributes.extend(request.map(|id| ("quorate.request.id", Value::Text(id))));
    if let Some(slot) = &details.slot {
        attributes.push(("quorate.slot.start", Value::Text(slot.start.to_rfc3339())));
        attributes.push(("quorate.slot.end", Value::Text(slot.end.to_rfc3339())));
    }
    attributes
}

/// A new span's id: of the version of UUID that is random.
pub fn new_span() -> SpanId {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    // The first bytes of it are all random but for four bits, which are not zero.
    let mut id = [0; 8];
    id.copy_from_slice(&bytes[..8]);
    SpanId(id)
}

/// A new trace, with its first span.
pub fn new_trace(sampled: bool) -> TraceContext {
    let trace = TraceId(uuid::Uuid::new_v4().into_bytes());
    TraceContext { trace, span: new_span(), sampled, state: None }
}
