//! `quorate serve`: one scheduler.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{AppError, stop_signal, telemetry};
use crate::cli::serve::ServeArgs;
use crate::engine::{self, EngineHandle};
use crate::grpc::{self, CallerLimits, Grpc};
use crate::store::SqliteStore;

/// The database's name within the data dir.
pub const DATABASE: &str = "quorate.db";

/// Where the scheduler keeps what it must not forget.
#[derive(Clone, Debug)]
pub enum Storage {
    /// A file in this folder.
    Dir(PathBuf),
    /// Nowhere: gone at the end.
    Memory,
}

/// A scheduler that runs within this process.
#[derive(Debug)]
pub struct Scheduler {
    address: SocketAddr,
    engine: EngineHandle,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AppError>>,
}

impl Scheduler {
    /// Opens the store, listens, and serves in the background.
    pub async fn start(listen: SocketAddr, storage: Storage) -> Result<Self, AppError> {
        Self::start_limited(listen, storage, CallerLimits::default()).await
    }

    /// The same, with other limits for each caller.
    pub async fn start_limited(
        listen: SocketAddr,
        storage: Storage,
        limits: CallerLimits,
    ) -> Result<Self, AppError> {
        let store = match storage {
            Storage::Dir(dir) => SqliteStore::open(&dir.join(DATABASE))?,
            Storage::Memory => SqliteStore::in_memory()?,
        };
        let failed = |source| AppError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let seed = uuid::Uuid::new_v4().as_u64_pair().0;
        let (engine, running) = engine::start(store, seed).await?;
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let grpc = Grpc { engine: engine.clone(), stop: CancellationToken::new(), limits };
        let until = either(stop.clone(), ended.clone());
        let task = tokio::spawn(async move {
            let watched = async {
                let end = running.await;
                ended.cancel();
                end
            };
            let (served, end) = tokio::join!(grpc::serve(grpc, listener, until), watched);
            served?;
            match end {
                Ok(end) => Ok(end?),
                Err(error) => {
                    Err(AppError::Io { what: "the engine".into(), source: std::io::Error::other(error) })
                }
            }
        });
        Ok(Self { address, engine, stop, task })
    }

    /// Where it listens; with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://…`, for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its engine, for those in the same process.
    pub fn engine(&self) -> &EngineHandle {
        &self.engine
    }

    /// Drains and ends: what is in flight is decided or given up, and everything is on disk.
    pub async fn stop(self) -> Result<(), AppError> {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits for the end.
    pub async fn ended(self) -> Result<(), AppError> {
        let Self { engine, task, .. } = self;
        drop(engine);
        task.await.map_err(|error| AppError::Io {
            what: "the server".into(),
            source: std::io::Error::other(error),
        })?
    }
}

async fn either(a: CancellationToken, b: CancellationToken) {
    tokio::select! {
        () = a.cancelled() => {}
        () = b.cancelled() => {}
    }
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: ServeArgs) -> Result<(), AppError> {
    telemetry::init(&args.log)?;
    let storage = match args.data_dir {
        Some(dir) => Storage::Dir(dir),
        None => Storage::Memory,
    };
    // Before anyone can know that we run: a signal that comes at once has to drain too.
    let stopped = stop_signal()?;
    let limits = CallerLimits { open: args.max_requests_per_caller, priority: args.max_priority };
    let scheduler = Scheduler::start_limited(args.listen, storage, limits).await?;
    println!("quorate {} listens on {}", env!("CARGO_PKG_VERSION"), scheduler.address());
    let stop = scheduler.stop.clone();
    let signals = tokio::spawn(async move {
        stopped.await;
        stop.cancel();
    });
    let ended = scheduler.ended().await;
    signals.abort();
    ended
}
