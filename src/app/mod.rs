//! Starting and stopping: from arguments to a running scheduler, agent or demonstration.

pub mod agent;
pub mod demo;
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

/// Listens for SIGTERM and SIGINT from now on; the future ends with the first of them.
///
/// # Errors
/// If signals can't be listened for.
pub fn stop_signal() -> Result<impl Future<Output = ()>, AppError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind: SignalKind| {
        signal(kind).map_err(|source| AppError::Io { what: "can't listen for signals".into(), source })
    };
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
