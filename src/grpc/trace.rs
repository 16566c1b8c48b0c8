//! The span of each organizer's request: from the call to its answer, part of the caller's trace if it names one
//! (`traceparent` and `tracestate`, W3C Trace Context). What is logged meanwhile carries the trace's id.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;
use tracing::Instrument;

use crate::core::coordinator::{Command, Reply};
use crate::core::ids::{MeetingId, RequestId, SeriesId};
use crate::core::time::Mono;
use crate::core::trace::{SpanId, TraceContext, TraceState, Traced};
use crate::engine::spans::{Span, SpanKind, Spans, Value, new_span, new_trace};

/// What a request turned out to be about.
#[derive(Clone, Debug, Default)]
struct Noted {
    meeting: Option<MeetingId>,
    request: Option<RequestId>,
    series: Option<SeriesId>,
}

/// A request's place in its trace, for its handler.
#[derive(Clone, Debug)]
pub(super) struct RequestTrace {
    traced: Traced,
    noted: Arc<Mutex<Noted>>,
    log: tracing::Span,
    /// It asks for many meetings: none of them is what it is about.
    many: bool,
}

impl RequestTrace {
    /// The command, in this trace.
    pub(super) fn around(&self, command: Command) -> Command {
        Command::Within(self.traced.clone(), Box::new(command))
    }

    /// The same for a request that asks for many meetings.
    pub(super) fn of_many(self) -> Self {
        Self { many: true, ..self }
    }

    /// Notes what the answer is about.
    pub(super) fn note(&self, reply: &Reply) {
        if self.many {
            return;
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        match reply {
            Reply::Meeting(meeting) | Reply::Changed(meeting, _) if !meeting.id.as_str().is_empty() => {
                self.log.record("meeting_id", meeting.id.as_str());
                self.log.record("request_id", meeting.request_id.as_str());
                noted.meeting = Some(meeting.id.clone());
                noted.request = Some(meeting.request_id.clone());
            }
            Reply::Series(series, _) => {
                self.log.record("series_id", series.as_str());
                noted.series = Some(series.clone());
            }
            Reply::Meeting(_)
            | Reply::Changed(..)
            | Reply::Found { .. }
            | Reply::SeriesPlan(_)
            | Reply::Refused(_) => {}
        }
    }
}

/// A service whose requests have spans.
#[derive(Clone, Debug)]
pub(super) struct WithSpans<S> {
    inner: S,
    spans: Option<Spans>,
}

impl<S> WithSpans<S> {
    /// Around `inner`. Without `spans` nothing is recorded; the caller's trace is passed on all the same.
    pub(super) fn new(inner: S, spans: Option<Spans>) -> Self {
        Self { inner, spans }
    }
}

impl<S: NamedService> NamedService for WithSpans<S> {
    const NAME: &'static str = S::NAME;
}

type Answer = Result<Response<Body>, Infallible>;

impl<S> Service<Request<Body>> for WithSpans<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let parent = given(request.headers());
        let (traced, recording) = begin(parent, self.spans.as_ref());
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let log = tracing::info_span!(
            "request",
            trace_id = %traced.context.trace,
            span_id = %traced.context.span,
            method,
            meeting_id = tracing::field::Empty,
            request_id = tracing::field::Empty,
            series_id = tracing::field::Empty,
        );
        let noted = Arc::new(Mutex::new(Noted::default()));
        let trace = RequestTrace { traced, noted: noted.clone(), log: log.clone(), many: false };
        request.extensions_mut().insert(trace);
        let service = S::NAME;
        let mut ending = Ending { recording, service, method, noted, code: Code::Cancelled, words: None };
        let answer = self.inner.call(request);
        let answered = async move {
            let Ok(response) = answer.await;
            // An answer that succeeds, and a stream, say how they end after their body.
            let status = Status::from_header_map(response.headers());
            ending.code = status.as_ref().map_or(Code::Ok, Status::code);
            ending.words = status.map(|status| status.message().to_owned());
            tracing::debug!(code = ?ending.code, "answered");
            Ok(response)
        };
        Box::pin(answered.instrument(log))
    }
}

/// The caller's place; more than one is none. What else is said of it may stand in several headers.
fn given(headers: &HeaderMap) -> Option<TraceContext> {
    let mut all = headers.get_all("traceparent").iter();
    let one = all.next().filter(|_| all.next().is_none())?;
    let context = TraceContext::parse(one.to_str().ok()?)?;
    let states: Option<Vec<&str>> =
        headers.get_all("tracestate").iter().map(|state| state.to_str().ok()).collect();
    Some(context.stating(states.and_then(TraceState::parse)))
}

/// A span that is being recorded.
#[derive(Debug)]
struct Recording {
    spans: Spans,
    context: TraceContext,
    parent: Option<SpanId>,
    start: Mono,
}

/// Records unless the caller says that its trace is not kept.
fn begin(parent: Option<TraceContext>, spans: Option<&Spans>) -> (Traced, Option<Recording>) {
    match (parent, spans) {
        (None, None) => (Traced { context: new_trace(false), record: false }, None),
        (Some(context), None) => (Traced { context, record: false }, None),
        (Some(context), Some(_)) if !context.sampled => (Traced { context, record: false }, None),
        (parent, Some(spans)) => {
            let context = parent.as_ref().map_or_else(|| new_trace(true), |parent| parent.within(new_span()));
            let parent = parent.map(|parent| parent.span);
            let start = spans.now();
            let recording = Recording { spans: spans.clone(), context: context.clone(), parent, start };
            (Traced { context, record: true }, Some(recording))
        }
    }
}

/// The end of a request: its answer, or its caller's leaving.
struct Ending {
    recording: Option<Recording>,
    service: &'static str,
    method: String,
    noted: Arc<Mutex<Noted>>,
    code: Code,
    words: Option<String>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(Recording { spans, context, parent, start }) = self.recording.take() else { return };
        // Names are few: a method that is not there could be called anything.
        let method = if self.code == Code::Unimplemented { "_OTHER" } else { &self.method };
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = |value: &dyn std::fmt::Display| Value::Text(value.to_string());
        let mut attributes = vec![
            ("rpc.system", text(&"grpc")),
            ("rpc.service", text(&self.service)),
            ("rpc.method", text(&method)),
            ("rpc.grpc.status_code", Value::Number(i64::from(i32::from(self.code)))),
        ];
        attributes.extend(noted.meeting.map(|id| ("quorate.meeting.id", text(&id))));
        attributes.extend(noted.request.map(|id| ("quorate.request.id", text(&id))));
        attributes.extend(noted.series.map(|id| ("quorate.series.id", text(&id))));
        let words = self.words.take().unwrap_or_else(|| self.code.description().to_owned());
        let end = spans.now();
        spans.over(Span {
            context,
            parent,
            remote: parent.is_some(),
            name: format!("{}/{method}", self.service).into(),
            kind: SpanKind::Server,
            start: spans.wall(start),
            end: spans.wall(end),
            attributes,
            error: ours(self.code).then_some(words),
        });
    }
}

/// Whether it is the server's fault: the caller's own is no error of this span (OpenTelemetry, "Semantic conventions for
/// gRPC").
fn ours(code: Code) -> bool {
    match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => false,
    }
}
