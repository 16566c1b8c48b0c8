//! Counts and times the calls, whichever service they are for.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Frame, SizeHint};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use prost::Message;
use prost_types::FileDescriptorSet;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::core::measure::LATENCY_BOUNDS;
use crate::wire::errors::code_name;
use crate::wire::pb;

/// What stands for every method that is none of ours: whoever calls must not make up names for metrics.
const OTHER: &str = "other";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    method: Arc<str>,
    code: &'static str,
}

/// A method: its name in metrics, and whether a call of it lasts as long as somebody listens.
#[derive(Clone, Debug)]
struct Known {
    name: Arc<str>,
    streams: bool,
}

/// Calls by method and status code; cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    methods: Arc<HashMap<String, Known>>,
    other: Known,
    handled: Family<Outcome, Counter>,
    open: Family<Method, Gauge>,
    took: Family<Method, Histogram, fn() -> Histogram>,
}

impl Default for RequestMetrics {
    fn default() -> Self {
        Self {
            methods: Arc::new(methods()),
            other: Known { name: OTHER.into(), streams: true },
            handled: Family::default(),
            open: Family::default(),
            took: Family::new_with_constructor(latency),
        }
    }
}

fn latency() -> Histogram {
    Histogram::new(LATENCY_BOUNDS.map(|micros| Duration::from_micros(micros).as_secs_f64()))
}

/// The methods of the services that are described, by the path of a call. Without descriptors there are none.
fn methods() -> HashMap<String, Known> {
    let sets = [pb::DESCRIPTOR, tonic_health::pb::FILE_DESCRIPTOR_SET];
    let mut methods = HashMap::new();
    for file in sets.into_iter().flat_map(|set| FileDescriptorSet::decode(set).unwrap_or_default().file) {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let streams = method.client_streaming() || method.server_streaming();
                methods.insert(path, Known { name: method.name().into(), streams });
            }
        }
    }
    methods
}

impl RequestMetrics {
    /// Makes them part of what is exposed.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "quorate_requests",
            "Calls that ended, by gRPC method and status code",
            self.handled.clone(),
        );
        registry.register(
            "quorate_requests_in_flight",
            "Calls that have not ended; of methods that stream, what is listened to",
            self.open.clone(),
        );
        registry.register_with_unit(
            "quorate_request_duration",
            "From a call's coming in to its end, of methods that don't stream",
            Unit::Seconds,
            self.took.clone(),
        );
    }

    fn begin(&self, path: &str) -> Call {
        let Known { name, streams } = self.methods.get(path).unwrap_or(&self.other).clone();
        let open = self.open.get_or_create_owned(&Method { method: name.clone() });
        open.inc();
        let began = (!streams).then(Instant::now);
        Call { metrics: self.clone(), name, began, open, code: None }
    }
}

/// A call that is open. It ends when this is dropped: without a code, its client left.
#[derive(Debug)]
struct Call {
    metrics: RequestMetrics,
    name: Arc<str>,
    began: Option<Instant>,
    open: Gauge,
    code: Option<Code>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.open.dec();
        let (method, code) = (self.name.clone(), code_name(self.code.unwrap_or(Code::Cancelled)));
        self.metrics.handled.get_or_create(&Outcome { method: method.clone(), code }).inc();
        if let Some(began) = self.began {
            self.metrics.took.get_or_create(&Method { method }).observe(began.elapsed().as_secs_f64());
        }
    }
}

/// Puts [`RequestMetrics`] around services.
#[derive(Clone, Debug)]
pub(super) struct Measure(pub(super) RequestMetrics);

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured { inner, metrics: self.0.clone() }
    }
}

/// A service whose calls are counted.
#[derive(Clone, Debug)]
pub(super) struct Measured<S> {
    inner: S,
    metrics: RequestMetrics,
}

impl<S, B> Service<http::Request<B>> for Measured<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let mut call = self.metrics.begin(request.uri().path());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            // An error without a message is all in the headers; otherwise the trailers tell.
            call.code = Status::from_header_map(response.headers()).map(|status| status.code());
            Ok(response.map(|body| Body::new(Answer { body, call })))
        })
    }
}

/// The body of an answer, which keeps its call open until it ends.
#[derive(Debug)]
struct Answer {
    body: Body,
    call: Call,
}

impl http_body::Body for Answer {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.code = Status::from_header_map(trailers).map(|status| status.code());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_those_of_the_contract() {
        let methods = methods();
        let known = |path: &str| methods.get(path).map(|known| (&*known.name, known.streams));
        assert_eq!(known("/quorate.v1.SchedulerService/ScheduleMeeting"), Some(("ScheduleMeeting", false)));
        assert_eq!(known("/quorate.v1.ParticipantService/Join"), Some(("Join", true)));
        assert_eq!(known("/grpc.health.v1.Health/Check"), Some(("Check", false)));
    }

    #[test]
    fn a_name_that_a_caller_makes_up_is_no_label() {
        let metrics = RequestMetrics::default();
        for n in 0..3 {
            drop(metrics.begin(&format!("/made.up/Method{n}")));
        }
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        assert!(text.contains("quorate_requests_total{method=\"other\",code=\"CANCELLED\"} 3"), "{text}");
        assert!(!text.contains("made") && !text.contains("Method0"), "{text}");
    }
}
