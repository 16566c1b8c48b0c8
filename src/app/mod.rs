//! Starting and stopping: from arguments to a running scheduler, agent or demonstration.

pub mod agent;
pub mod calendars;
pub mod data;
pub mod demo;
pub mod otlp;
pub mod serve;
pub mod telemetry;

use std::net::SocketAddr;

use crate::agent::AgentError;
use crate::engine::EngineError;
use crate::engine::store::StoreError;
use crate::grpc::ServeError;

/// Why a program could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The engine ended by itself.
    #[error("the engine ended: {0}")]
    Engine(#[from] EngineError),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The log filter can't be read.
    #[error("the log filter {filter:?} can't be read: {reason}")]
    LogFilter {
        /// What was given.
        filter: String,
        /// Why.
        reason: String,
    },
    /// Traces can't be sent as the arguments say.
    #[error(transparent)]
    Traces(#[from] otlp::TracesError),
    /// The doctor was not told what to look at.
    #[error("nothing is named: --data-dir (or QUORATE_DATA_DIR), --database or --journal")]
    NothingNamed,
    /// Files were checked, and are not as they should be.
    #[error("{0}")]
    Unsound(String),
    /// Anything else that the system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The demonstration did not go as it has to.
    #[error("the demonstration failed: {0}")]
    Demo(String),
}

impl AppError {
    /// Whether it is about what was typed, and not about what was found.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::LogFilter { .. }
                | Self::NothingNamed
                | Self::Traces(otlp::TracesError::BadUrl { .. })
                | Self::Agent(
                    AgentError::NoCalendar { .. }
                        | AgentError::NotForFolders { .. }
                        | AgentError::BadId { .. }
                        | AgentError::UnknownZone { .. }
                )
        )
    }
}

/// Exit code of a program that a second signal ended: 128 and the signal's number, as shells have it.
const SIGNALLED: i32 = 128;

/// Listens for SIGTERM and SIGINT from now on; the future ends with the first of them. A second one ends the process at
/// once, with exit code 143 or 130: whatever is on disk holds, as after a crash.
///
/// # Errors
/// If signals can't be listened for.
pub fn stop_signal() -> Result<impl Future<Output = ()>, AppError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind: SignalKind| {
        signal(kind).map_err(|source| AppError::Io { what: "can't listen for signals".into(), source })
    };
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let stopping = tokio_util::sync::CancellationToken::new();
    let first = stopping.clone();
    tokio::spawn(async move {
        loop {
            let kind = tokio::select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            };
            if first.is_cancelled() {
                tracing::warn!("a second signal: the drain is cut short");
                std::process::exit(SIGNALLED + kind.as_raw_value());
            }
            first.cancel();
        }
    });
    Ok(stopping.cancelled_owned())
}
