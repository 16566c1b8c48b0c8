//! Traces on their way to a collector, by OTLP over gRPC.
//!
//! One task sends; everyone else puts spans into its queue and never waits. Whatever does not fit, and whatever the
//! collector does not take, is lost, counted, and said once in the log for each time that it is away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::trace::{SpanContext, SpanKind as OtelKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::Endpoint;

use crate::core::trace::SpanId;
use crate::engine::spans::{Span, SpanKind, SpanSink, Spans, Value};

/// Spans that wait to be sent; more are lost.
const QUEUE: usize = 8_192;
/// Most spans sent at a time.
const BATCH: usize = 512;
/// How long spans gather before they are sent.
const GATHER: Duration = Duration::from_millis(500);
/// How long connecting to the collector may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the collector may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the end of the program waits for what is left to be sent.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why traces can't be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The address.
    #[error("{url:?} is no address of a collector: {reason}")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of headers can't be read.
    #[error("the headers file {} can't be read: {source}", path.display())]
    HeadersFile {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A line of it is no header. What it says may be secret, so it is not repeated.
    #[error("line {line} of the headers file {} is no header; expected NAME: VALUE", path.display())]
    Header {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// The exporter refused what it was given.
    #[error("traces can't be sent: {0}")]
    Exporter(String),
}

/// Sends spans until it is stopped.
#[derive(Debug)]
pub struct Traces {
    spans: Spans,
    tally: Arc<Tally>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Traces {
    /// Starts in the background. Whether the collector is there shows when the first spans are sent.
    ///
    /// # Errors
    /// The address or the file of headers makes no sense.
    pub fn start(endpoint: &str, headers: Option<&Path>, service: String) -> Result<Self, TracesError> {
        let channel = address(endpoint)?.connect_lazy();
        let metadata = headers.map_or(Ok(MetadataMap::new()), read_headers)?;
        let exporter = SpanExporter::builder().with_tonic().with_channel(channel).with_metadata(metadata);
        let exporter = exporter.with_timeout(ANSWER).build();
        let mut exporter = exporter.map_err(|error| TracesError::Exporter(error.to_string()))?;
        let resource = Resource::builder().with_service_name(service).with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
        ]);
        exporter.set_resource(&resource.build());
        let tally = Arc::new(Tally::default());
        let (queue, queued) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        let sender = Sender { exporter, queued, tally: tally.clone(), endpoint: endpoint.to_owned() };
        let task = tokio::spawn(sender.run(stop.clone()));
        Ok(Self { spans: Spans::to(Queue { queue, tally: tally.clone() }), tally, stop, task })
    }

    /// Where spans go in.
    pub fn spans(&self) -> Spans {
        self.spans.clone()
    }

    /// Sends what is left, for `FAREWELL` at most.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if timeout(FAREWELL, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("the collector did not take the last spans in time");
        }
        let lost = self.tally.lost.load(Ordering::Relaxed) + self.tally.waiting.load(Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "spans were lost");
        }
    }
}

/// What became of spans since the collector last took some.
#[derive(Debug, Default)]
struct Tally {
    lost: AtomicU64,
    /// In the queue, or being sent.
    waiting: AtomicU64,
}

impl Tally {
    /// Counts; the first time it is said.
    fn lost(&self, spans: usize, why: impl FnOnce() -> String) {
        let spans = spans as u64;
        if self.lost.fetch_add(spans, Ordering::Relaxed) == 0 {
            tracing::warn!("traces are lost until the collector takes them again: {}", why());
        }
    }
}

struct Queue {
    queue: mpsc::Sender<Span>,
    tally: Arc<Tally>,
}

impl SpanSink for Queue {
    fn take(&self, span: Span) {
        // Counted before it is in the queue: it may be out of it at once.
        self.tally.waiting.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(span).is_err() {
            self.tally.waiting.fetch_sub(1, Ordering::Relaxed);
            self.tally.lost(1, || "more spans wait than the queue takes".into());
        }
    }
}

struct Sender {
    exporter: SpanExporter,
    queued: mpsc::Receiver<Span>,
    tally: Arc<Tally>,
    endpoint: String,
}

impl Sender {
    async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                n = self.queued.recv_many(&mut batch, BATCH) => if n == 0 { return },
                () = stop.cancelled() => break,
            }
            let until = Instant::now() + GATHER;
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                let more = timeout_at(until, self.queued.recv_many(&mut batch, room));
                tokio::select! {
                    more = more => if !matches!(more, Ok(1..)) { break },
                    () = stop.cancelled() => break,
                }
            }
            // Whoever stops us waits no longer than for `FAREWELL`, so what hangs now is given up there.
            self.send(&mut batch).await;
        }
        self.queued.close();
        while self.queued.recv_many(&mut batch, BATCH).await > 0 {
            self.send(&mut batch).await;
        }
        self.send(&mut batch).await;
    }

    async fn send(&self, batch: &mut Vec<Span>) {
        let spans: Vec<SpanData> = batch.drain(..).map(data).collect();
        let count = spans.len();
        if count == 0 {
            return;
        }
        let sent = timeout(ANSWER, self.exporter.export(spans)).await;
        let failed = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {ANSWER:?}")),
        };
        self.tally.waiting.fetch_sub(count as u64, Ordering::Relaxed);
        match failed {
            Some(why) => self.tally.lost(count, || format!("{}: {why}", self.endpoint)),
            None => {
                let lost = self.tally.lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    tracing::info!(lost, "the collector takes traces again; some spans were lost");
                }
            }
        }
    }
}

/// Why this can't be a collector's address.
pub fn is_address(url: &str) -> Result<(), String> {
    match address(url) {
        Err(TracesError::BadUrl { reason, .. }) => Err(reason),
        _ => Ok(()),
    }
}

/// Whether a URL has a user's name, and maybe a password, which nothing may print.
pub fn names_user(url: &str) -> bool {
    url != shown(url)
}

fn address(url: &str) -> Result<Endpoint, TracesError> {
    let bad = |reason: String| TracesError::BadUrl { url: shown(url), reason };
    if names_user(url) {
        return Err(bad("put what proves who you are into --otlp-headers-file".into()));
    }
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| bad(error.to_string()))?;
    if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none() {
        return Err(bad("expected http://host:port; TLS to a collector is not supported".into()));
    }
    Ok(endpoint.connect_timeout(CONNECT).timeout(ANSWER))
}

/// The address without a user's name and password, which are told to nobody.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) if scheme.is_empty() => format!("…{}", &rest[at..]),
        Some(at) => format!("{scheme}://…{}", &rest[at..]),
        None => url.to_owned(),
    }
}

/// Headers, one a line; empty lines and those that begin with `#` say nothing.
fn read_headers(path: &Path) -> Result<MetadataMap, TracesError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| TracesError::HeadersFile { path: path.to_owned(), source })?;
    let mut headers = MetadataMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) =
            header(line).ok_or_else(|| TracesError::Header { path: path.to_owned(), line: index + 1 })?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(line: &str) -> Option<(MetadataKey<Ascii>, MetadataValue<Ascii>)> {
    let (name, value) = line.split_once(':')?;
    let name = MetadataKey::from_bytes(name.trim().to_ascii_lowercase().as_bytes()).ok()?;
    let mut value = MetadataValue::try_from(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

fn data(span: Span) -> SpanData {
    let flags = if span.context.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let id = |id: SpanId| opentelemetry::trace::SpanId::from_bytes(id.0);
    let trace = opentelemetry::trace::TraceId::from_bytes(span.context.trace.0);
    let attribute = |(key, value): (&'static str, Value)| match value {
        Value::Text(text) => KeyValue::new(key, text),
        Value::Number(number) => KeyValue::new(key, number),
    };
    // What the exporter's own reading refuses (it is a character stricter about keys) is not in spans, and passed on all
    // the same.
    let members = span.context.state.iter().flat_map(|state| state.members());
    let state = TraceState::from_key_value(members).unwrap_or_default();
    SpanData {
        span_context: SpanContext::new(trace, id(span.context.span), flags, false, state),
        parent_span_id: span.parent.map_or(opentelemetry::trace::SpanId::INVALID, id),
        parent_span_is_remote: span.remote,
        span_kind: match span.kind {
            SpanKind::Internal => OtelKind::Internal,
            SpanKind::Server => OtelKind::Server,
            SpanKind::Consumer => OtelKind::Consumer,
        },
        name: span.name,
        start_time: span.start.into(),
        end_time: span.end.into(),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("quorate")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core;
    use crate::core::trace::TraceContext;

    #[test]
    fn headers_are_read_and_never_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("headers");
        std::fs::write(&path, "# the key\n\nX-Key: s3cret: with colon\nother:2\n").unwrap();
        let headers = read_headers(&path).unwrap();
        assert_eq!(headers.get("x-key").unwrap(), "s3cret: with colon");
        assert_eq!(headers.get("other").unwrap(), "2");
        assert!(!format!("{headers:?}").contains("s3cret"));
        for bad in ["no colon s3cret", "na me: s3cret", "x: s3\u{7f}cret", "bytes-bin: s3cret", ": s3cret"] {
            std::fs::write(&path, format!("ok: 1\n{bad}\n")).unwrap();
            let error = read_headers(&path).unwrap_err().to_string();
            assert!(error.starts_with("line 2 of the headers file"), "{error}");
            assert!(!error.contains("s3"), "{error}");
        }
        let missing = read_headers(&dir.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("none can't be read: No such file"), "{missing}");
    }

    #[test]
    fn an_address_is_plain_http() {
        for bad in ["", "collector:4317", "https://collector:4317", "http://", "http://a b"] {
            assert!(matches!(address(bad), Err(TracesError::BadUrl { .. })), "{bad}");
        }
        assert!(address("http://[::1]:4317").is_ok());
        assert!(address("http://collector:4317/a@b").is_ok());
        for secret in
            ["http://me:s3cret@collector:4317/x", "me:s3cret@collector", "https://s3cret@collector?x@y"]
        {
            let error = address(secret).unwrap_err().to_string();
            assert!(!error.contains("s3cret") && error.contains("…@collector"), "{error}");
            assert!(error.contains("--otlp-headers-file"), "{error}");
        }
    }

    fn span(state: &str) -> Span {
        let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        Span {
            context: TraceContext::parse(context).unwrap().stating(core::trace::TraceState::parse([state])),
            parent: None,
            remote: false,
            name: "a span".into(),
            kind: SpanKind::Internal,
            start: chrono::DateTime::UNIX_EPOCH,
            end: chrono::DateTime::UNIX_EPOCH,
            attributes: Vec::new(),
            error: None,
        }
    }

    #[test]
    fn a_tracestate_is_sent_as_it_came_unless_the_exporter_refuses_it() {
        let sent = |state: &str| data(span(state)).span_context.trace_state().header();
        for state in ["", "rojo=1", "b=2,a= 1,1@t=z*~", "1@thirteen-long=1"] {
            assert_eq!(sent(state), state);
        }
        // One character more is allowed by the recommendation.
        let fourteen = "1@fourteen-chars=1,a=1";
        assert_eq!(span(fourteen).context.state.unwrap().as_str(), fourteen);
        assert_eq!(sent(fourteen), "");
    }

    /// Nobody who books waits for the collector's queue.
    #[tokio::test]
    async fn more_spans_than_can_wait_are_lost_and_counted() {
        // It accepts connections, and never says a word.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let traces = Traces::start(&url, None, "test".into()).unwrap();
        let (span, spans) = (span(""), traces.spans());
        // No await is between them, so nothing leaves the queue.
        for _ in 0..QUEUE + 10 {
            spans.over(span.clone());
        }
        assert_eq!(traces.tally.lost.load(Ordering::Relaxed), 10);
        assert_eq!(traces.tally.waiting.load(Ordering::Relaxed), QUEUE as u64);
        traces.stop().await;
    }
}
