//! The port for operators: probes, metrics, and a page to look at. Plain HTTP, read-only; nothing on it changes anything.
//!
//! | path | says |
//! |---|---|
//! | `/livez` | 200 while the engine works: restart the process otherwise |
//! | `/readyz` | 200 while requests are taken: not before the start is done, nor while draining, nor without a store that takes writes |
//! | `/metrics` | metrics (OpenMetrics 1.0, which Prometheus reads) |
//! | `/buildinfo` | what this program was built from, as JSON |
//! | `/` | participants, meetings in flight, recent decisions with their reasons |
//!
//! Titles of meetings are not shown: whoever operates a service need not know what people meet about.

mod metrics;
mod page;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::core::limits;
use crate::core::time::Instant;
use crate::engine::store::{EventFilter, Reader, StoreError};
use crate::engine::{Clock, EngineError, EngineHandle, Vitals};
use crate::grpc::RequestMetrics;

/// How long the engine, or a read of the store, has for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Reads of the store at once. Where the disk hangs they do too, and those who ask again and again must not pile up.
const READS: usize = 4;
/// Requests in flight that the page shows.
const IN_FLIGHT: usize = 100;
/// Participants that the page shows.
const PARTICIPANTS: usize = 200;
/// How far back the page looks for decisions, in events: a meeting that is booked has three of them.
const EVENTS: u64 = 150;

/// What the build was made from.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// The package's version.
    pub version: &'static str,
    /// The commit, if whoever built it said so (`QUORATE_REVISION`), else `unknown`.
    pub revision: &'static str,
    /// The release of the time-zone data that is built in.
    pub zone_data: &'static str,
    /// `release`, or `debug` with its checks.
    pub profile: &'static str,
}

/// This build.
pub fn build() -> Build {
    Build {
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("QUORATE_REVISION").unwrap_or("unknown"),
        zone_data: crate::core::zone_data::version(),
        profile: if cfg!(debug_assertions) { "debug" } else { "release" },
    }
}

/// What the port tells about.
#[derive(Clone, Debug)]
pub struct Admin {
    engine: EngineHandle,
    requests: RequestMetrics,
    clock: Clock,
    /// When the process started.
    started: Instant,
    /// A permit for each read of the store that has not ended.
    reads: Arc<Semaphore>,
}

/// Why the scheduler takes no requests, or can't say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
enum NotReady {
    #[error("the scheduler is draining")]
    Draining,
    #[error("the store can't be used; it is tried again every second")]
    NoStore,
    #[error("the store has not answered for {0} s")]
    Stalled(u64),
    #[error("the engine has ended")]
    Ended,
    #[error("the engine does not answer")]
    Silent,
}

impl Admin {
    /// Of this engine and these calls; `clock` began with the process.
    pub fn new(engine: EngineHandle, requests: RequestMetrics, clock: Clock) -> Self {
        let (started, reads) = (clock.now().wall, Arc::new(Semaphore::new(READS)));
        Self { engine, requests, clock, started, reads }
    }

    /// Reads the store beside the engine, off the runtime's own threads. The error says why there is no answer, or none in time.
    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, String> {
        let Ok(permit) = self.reads.clone().try_acquire_owned() else {
            return Err("reads of the store have not ended yet".into());
        };
        let reader = self.engine.reader();
        let reading = tokio::task::spawn_blocking(move || {
            let found = look(&*reader);
            drop(permit);
            found
        });
        match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(found)) => found.map_err(|error| error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("the store was not read within {PATIENCE:?}")),
        }
    }

    async fn vitals(&self, in_flight: usize) -> Result<Vitals, NotReady> {
        match tokio::time::timeout(PATIENCE, self.engine.vitals(in_flight)).await {
            Ok(Ok(vitals)) => Ok(vitals),
            Ok(Err(EngineError::Stopped)) => Err(NotReady::Ended),
            Ok(Err(EngineError::Overloaded | EngineError::StoreUnavailable)) | Err(_) => {
                Err(NotReady::Silent)
            }
        }
    }

    /// How many meetings are booked that are not over yet.
    async fn booked(&self) -> Result<u64, String> {
        let now = self.clock.now().wall;
        self.read(move |reader| reader.booked(now)).await
    }

    /// The router, for any server of HTTP.
    pub fn router(self) -> Router {
        Router::new()
            .route("/", get(status))
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(exposition))
            .route("/buildinfo", get(buildinfo))
            .with_state(self)
    }
}

/// Serves until `until` comes; requests that are open then are answered.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    admin: Admin,
    listener: TcpListener,
    until: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, admin.router()).with_graceful_shutdown(until).await
}

fn ready(vitals: &Vitals) -> Result<(), NotReady> {
    match &vitals.gauges {
        None => Err(NotReady::NoStore),
        Some(gauges) if gauges.draining => Err(NotReady::Draining),
        // What was read after a failure may be a disk that takes no writes.
        Some(_) if vitals.store.doubtful => Err(NotReady::NoStore),
        Some(_) if vitals.store.outstanding >= limits::STORE_STALLED => {
            Err(NotReady::Stalled(vitals.store.outstanding.as_secs()))
        }
        Some(_) => Ok(()),
    }
}

fn probe(result: Result<(), NotReady>) -> Response {
    match result {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn livez(State(admin): State<Admin>) -> Response {
    let before = admin.engine.turns();
    probe(match admin.vitals(0).await {
        // Busy is not stuck: a restart would only make more work.
        Err(NotReady::Silent) if admin.engine.turns() != before => Ok(()),
        looked => looked.map(drop),
    })
}

async fn readyz(State(admin): State<Admin>) -> Response {
    probe(admin.vitals(0).await.and_then(|vitals| ready(&vitals)))
}

async fn buildinfo() -> Response {
    let Build { version, revision, zone_data, profile } = build();
    let info = serde_json::json!({
        "version": version, "revision": revision, "zone_data": zone_data, "profile": profile
    });
    ([(header::CONTENT_TYPE, "application/json")], format!("{info}\n")).into_response()
}

async fn exposition(State(admin): State<Admin>) -> Response {
    // An engine that does not answer is a figure too.
    let (vitals, booked) = tokio::join!(admin.vitals(0), admin.booked());
    match metrics::text(&admin, vitals.ok(), booked.ok()) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics can't be written");
            (StatusCode::INTERNAL_SERVER_ERROR, "metrics can't be written\n").into_response()
        }
    }
}

async fn status(State(admin): State<Admin>) -> Response {
    let events = admin.read(|reader| {
        let Some((_, newest)) = reader.event_bounds()? else { return Ok(Vec::new()) };
        let everything = EventFilter::default();
        let page = reader.events(newest.saturating_sub(EVENTS), &everything, EVENTS as usize)?;
        Ok(page.events)
    });
    let (vitals, booked, events) = tokio::join!(admin.vitals(IN_FLIGHT), admin.booked(), events);
    let directory = admin.engine.directory();
    let view = page::View {
        build: build(),
        started: admin.started,
        ready: vitals.as_ref().map_err(|why| *why).and_then(ready),
        vitals: vitals.ok(),
        participants: directory.page(None, false, PARTICIPANTS),
        known: directory.known(),
        connected: directory.connected(),
        booked: booked.ok(),
        events,
    };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ];
    (headers, Html(page::render(&view).into_string())).into_response()
}
