//! A collector of traces (OTLP over gRPC), good and bad ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::within;

/// What a collector does with what it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    Takes,
    /// Accepts connections and requests, and never answers.
    Silent,
    Refuses,
    /// Nobody listens.
    Absent,
}

/// One span as it was sent.
#[derive(Clone, Debug)]
pub struct Exported {
    pub trace: String,
    pub span: String,
    /// Empty: a root.
    pub parent: String,
    /// `tracestate`.
    pub state: String,
    pub name: String,
    pub kind: &'static str,
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, String>,
    pub resource: BTreeMap<String, String>,
    pub error: Option<String>,
}

pub struct Collector {
    pub url: String,
    manner: Arc<Mutex<Manner>>,
    taken: Arc<Mutex<Vec<Exported>>>,
    keys: Arc<Mutex<BTreeSet<String>>>,
    requests: mpsc::Receiver<()>,
    server: Option<tokio::task::JoinHandle<()>>,
}

struct Service {
    manner: Arc<Mutex<Manner>>,
    taken: Arc<Mutex<Vec<Exported>>>,
    keys: Arc<Mutex<BTreeSet<String>>>,
    asked: mpsc::Sender<()>,
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        // Whoever waits for a request takes one of those that came; more than that need not be kept.
        self.asked.try_send(()).ok();
        let keys = request.metadata().get_all("x-key").iter();
        self.keys.lock().unwrap().extend(keys.map(|key| key.to_str().unwrap().to_owned()));
        let manner = *self.manner.lock().unwrap();
        match manner {
            Manner::Takes => {
                self.taken.lock().unwrap().extend(exported(request.into_inner()));
                Ok(Response::new(ExportTraceServiceResponse::default()))
            }
            Manner::Silent => std::future::pending().await,
            Manner::Refuses | Manner::Absent => Err(Status::permission_denied("no key")),
        }
    }
}

impl Collector {
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (taken, keys) = (Arc::default(), Arc::default());
        let (asked, requests) = mpsc::channel(64);
        let now = Arc::new(Mutex::new(manner));
        let service =
            Service { manner: Arc::clone(&now), taken: Arc::clone(&taken), keys: Arc::clone(&keys), asked };
        let server = (manner != Manner::Absent).then(|| {
            let served = tonic::transport::Server::builder()
                .add_service(TraceServiceServer::new(service))
                .serve_with_incoming(TcpIncoming::from(listener));
            tokio::spawn(async move { served.await.expect("the collector serves") })
        });
        Self { url, manner: now, taken, keys, requests, server }
    }

    /// From here on it takes what it is sent. For one that refused; nobody comes back to one that was absent.
    pub fn takes_again(&self) {
        *self.manner.lock().unwrap() = Manner::Takes;
    }

    /// Waits until it was sent something.
    pub async fn asked(&mut self) {
        // A sender that hangs on the first request makes no second one: that one is enough.
        if self.requests.is_closed() {
            return;
        }
        within("the collector is asked", self.requests.recv()).await.expect("the collector runs");
        self.requests.close();
    }

    /// All that was taken so far.
    pub fn spans(&mut self) -> Vec<Exported> {
        self.taken.lock().unwrap().clone()
    }

    /// The values of `x-key` that came with it.
    pub fn keys(&self) -> BTreeSet<String> {
        self.keys.lock().unwrap().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

fn exported(request: ExportTraceServiceRequest) -> Vec<Exported> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut all = Vec::new();
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.map(|r| r.attributes).unwrap_or_default());
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let kind = span.kind().as_str_name().trim_start_matches("SPAN_KIND_");
            let failed = span.status.filter(|status| status.code() == StatusCode::Error);
            assert_ne!(span.kind, i32::from(SpanKind::Unspecified));
            all.push(Exported {
                trace: hex(&span.trace_id),
                span: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                state: span.trace_state,
                kind,
                name: span.name,
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                attributes: attributes(span.attributes),
                resource: resource.clone(),
                error: failed.map(|status| status.message),
            });
        }
    }
    all
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: any_value::Value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    list.into_iter()
        .map(|kv| (kv.key, kv.value.and_then(|v| v.value).map(text).unwrap_or_default()))
        .collect()
}
