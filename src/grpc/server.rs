//! The server: services, reflection, health, and its end.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};

use super::callers::{CallerLimits, Callers};
use super::join::Join;
use super::measure::{Measure, RequestMetrics};
use super::organizer::Organizer;
use super::trace::WithSpans;
use crate::core::limits;
use crate::engine::spans::Spans;
use crate::engine::{EngineError, EngineHandle};
use crate::wire::pb;
use crate::wire::pb::participant_service_server::ParticipantServiceServer;
use crate::wire::pb::scheduler_service_server::SchedulerServiceServer;

/// Any error, for messages.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why the server ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport failed.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The store hangs while there is something left to write. Nobody waits for it: what was answered is on disk, and the next
    /// start reads what became of the rest, as after a crash.
    #[error(
        "the store hangs and did not take what was left to write: ended as by a crash; what was answered is kept"
    )]
    Stalled,
    /// The descriptors for reflection are unusable: a fault of the build.
    #[error("server reflection can't start: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the engine and then open connections have, of [`limits::DRAIN`]: the rest is for what ends after them.
const DRAINED: Duration = Duration::from_secs(limits::DRAIN.as_secs() - 1);
/// How long the last answers have, however late it is.
const ANSWERS: Duration = Duration::from_secs(1);
/// A store that has not answered for so long, when that time is over, hangs.
const HANGS: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Streams on one connection; an organizer's calls count too.
const STREAMS: u32 = 2_048;
/// As hyper has it; tonic would undo it.
const LOCAL_RESETS: usize = 1_024;

/// What is served.
#[derive(Clone, Debug)]
pub struct Grpc {
    /// Who decides.
    pub engine: EngineHandle,
    /// Cancelled when streams have to end.
    pub stop: CancellationToken,
    /// What each caller may ask for.
    pub limits: CallerLimits,
    /// Where calls are counted.
    pub requests: RequestMetrics,
    /// Who keeps traces, if anybody does.
    pub spans: Option<Spans>,
}

/// Serves until `until` comes: then the health service says NOT_SERVING, the engine drains, streams end with
/// UNAVAILABLE, and what is left of open connections is cut, all within `limits::DRAIN`. A store that does not answer
/// is not waited for any longer: [`ServeError::Stalled`].
pub async fn serve(
    grpc: Grpc,
    listener: TcpListener,
    until: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let incoming =
        TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(Duration::from_secs(30)));
    serve_incoming(grpc, incoming, until).await
}

/// [`serve`], over connections of any kind.
pub async fn serve_incoming<IO, E>(
    grpc: Grpc,
    incoming: impl Stream<Item = Result<IO, E>>,
    until: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<BoxError>,
{
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<SchedulerServiceServer<Organizer>>().await;
    health.set_serving::<ParticipantServiceServer<Join>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let callers = Callers::new(grpc.limits);
    let organizer =
        Organizer { engine: grpc.engine.clone(), callers: callers.clone(), stop: grpc.stop.clone() };
    let organizer = SchedulerServiceServer::new(organizer).max_decoding_message_size(limits::REQUEST_BYTES);
    let organizer = WithSpans::new(organizer, grpc.spans);
    let join = Join { engine: grpc.engine.clone(), callers };
    let join = ParticipantServiceServer::new(join).max_decoding_message_size(limits::FRAME_BYTES);
    let drained = CancellationToken::new();
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS)
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS))
        .layer(Measure(grpc.requests.clone()))
        .add_service(organizer)
        .add_service(join)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(incoming, drained.clone().cancelled_owned());
    let stopping = async {
        until.await;
        health.set_not_serving::<SchedulerServiceServer<Organizer>>().await;
        health.set_not_serving::<ParticipantServiceServer<Join>>().await;
        // And the server as a whole, which is what a probe asks for that names no service.
        health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        let last = Instant::now() + DRAINED;
        let engine = drained_by(last, &grpc.engine).await;
        grpc.stop.cancel();
        drained.cancel();
        if let Err(error) = engine? {
            tracing::warn!(%error, "the engine was gone before it drained");
        }
        // Who waits for an answer gets it, and who keeps a connection open for nothing keeps nobody.
        let now = Instant::now();
        sleep_until(last.min(now + limits::DRAIN / 2).max(now + ANSWERS)).await;
        tracing::warn!("connections that are still open are cut");
        Ok(())
    };
    tokio::select! {
        served = server => Ok(served?),
        stopped = stopping => stopped,
    }
}

/// Drains the engine. It may take longer than until `last`, if tens of thousands of requests are in flight on a slow machine,
/// but only while the store answers: a disk that hangs is not waited for.
async fn drained_by(last: Instant, engine: &EngineHandle) -> Result<Result<(), EngineError>, ServeError> {
    let mut drain = pin!(engine.drain(limits::DRAIN / 2));
    let mut until = last;
    loop {
        if let Ok(ended) = timeout_at(until, &mut drain).await {
            return Ok(ended);
        }
        let turns = engine.turns();
        let works = match timeout(LOOK, engine.vitals(0)).await {
            Ok(Ok(vitals)) => vitals.store.outstanding < HANGS,
            // The drain's own answer tells.
            Ok(Err(EngineError::Stopped)) => true,
            // Busy is not stuck.
            Ok(Err(EngineError::Overloaded | EngineError::StoreUnavailable)) | Err(_) => {
                engine.turns() != turns
            }
        };
        if !works {
            tracing::error!("the store has not answered for the rest of the drain: it is not waited for");
            return Err(ServeError::Stalled);
        }
        until = Instant::now() + LOOK;
    }
}
