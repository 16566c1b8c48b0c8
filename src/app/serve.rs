//! `quorate serve`: one scheduler.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::telemetry::{Says, Telemetry};
use super::{AppError, stop_signal};
use crate::admin::{self, Admin};
use crate::cli::serve::ServeArgs;
use crate::engine::spans::Spans;
use crate::engine::{self, Clock, EngineHandle, StoreRuns};
use crate::grpc::{self, CallerLimits, Grpc, RequestMetrics, ServeError};
use crate::store::SqliteStore;

/// The database's name within the data dir.
pub const DATABASE: &str = "quorate.db";

/// How long connections to the admin port may last once everything else has ended.
const ADMIN_END: std::time::Duration = std::time::Duration::from_secs(1);

/// Where the scheduler keeps what it must not forget.
#[derive(Clone, Debug)]
pub enum Storage {
    /// A file in this folder.
    Dir(PathBuf),
    /// Nowhere: gone at the end.
    Memory,
}

/// How a scheduler is to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens for organizers and agents. Port 0: one that the system chooses.
    pub listen: SocketAddr,
    /// Where it keeps what it must not forget.
    pub storage: Storage,
    /// What each caller may ask for.
    pub limits: CallerLimits,
    /// Where operators look in ([`crate::admin`]); nowhere by default.
    pub admin: Option<SocketAddr>,
    /// Who keeps traces, if anybody does.
    pub spans: Option<Spans>,
}

impl Settings {
    /// These two, and defaults.
    pub fn new(listen: SocketAddr, storage: Storage) -> Self {
        Self { listen, storage, limits: CallerLimits::default(), admin: None, spans: None }
    }
}

/// A scheduler that runs within this process.
#[derive(Debug)]
pub struct Scheduler {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    engine: EngineHandle,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AppError>>,
}

impl Scheduler {
    /// Opens the store, listens, and serves in the background.
    ///
    /// # Errors
    /// The store can't be opened, or an address can't be listened on.
    pub async fn start(settings: Settings) -> Result<Self, AppError> {
        let Settings { listen, storage, limits, admin, spans } = settings;
        let clock = Clock::start();
        let store = match storage {
            Storage::Dir(dir) => SqliteStore::open(&dir.join(DATABASE))?,
            Storage::Memory => SqliteStore::in_memory()?,
        };
        let (listener, address) = bind(listen).await?;
        let admin = match admin {
            Some(admin) => Some(bind(admin).await?),
            None => None,
        };
        let seed = uuid::Uuid::new_v4().as_u64_pair().0;
        let (engine, running) =
            engine::start_traced(store, seed, StoreRuns::OwnThread, spans.clone()).await?;
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let requests = RequestMetrics::default();
        let grpc = Grpc {
            engine: engine.clone(),
            stop: CancellationToken::new(),
            limits,
            requests: requests.clone(),
            spans,
        };
        let until = either(stop.clone(), ended.clone());
        // Probes are answered until the last request is: who drains says so.
        let served = CancellationToken::new();
        let (admin_address, admin) = match admin {
            Some((listener, address)) => {
                let admin = Admin::new(engine.clone(), requests, clock);
                let serving = admin::serve(admin, listener, served.clone().cancelled_owned());
                (Some(address), Some(tokio::spawn(serving)))
            }
            None => (None, None),
        };
        let task = tokio::spawn(async move {
            let watched = tokio::spawn(async move {
                let end = running.await;
                ended.cancel();
                end
            });
            let grpc_end = grpc::serve(grpc, listener, until).await;
            // The engine ends by itself, once it is drained or nobody has a handle of it; not while its store hangs.
            let end = match &grpc_end {
                Err(ServeError::Stalled) => Ok(Ok(())),
                _ => watched.await.and_then(|end| end),
            };
            served.cancel();
            if let Some(admin) = admin {
                // A client that keeps its connection open does not keep the process.
                if tokio::time::timeout(ADMIN_END, admin).await.is_err() {
                    tracing::debug!("a connection to the admin port was cut");
                }
            }
            grpc_end?;
            match end {
                Ok(end) => Ok(end?),
                Err(error) => {
                    Err(AppError::Io { what: "the engine".into(), source: std::io::Error::other(error) })
                }
            }
        });
        Ok(Self { address, admin: admin_address, engine, stop, task })
    }

    /// Where it listens; with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators look in, if anywhere; with the port that the system chose.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
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

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
    let failed = |source| AppError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

async fn either(a: CancellationToken, b: CancellationToken) {
    tokio::select! {
        () = a.cancelled() => {}
        () = b.cancelled() => {}
    }
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: ServeArgs) -> Result<(), AppError> {
    let telemetry = Telemetry::start(&args.log, &args.telemetry, "quorate")?;
    let ended = serve(args, telemetry.spans(), telemetry.says()).await;
    telemetry.stop().await;
    ended
}

async fn serve(args: ServeArgs, spans: Option<Spans>, says: Says) -> Result<(), AppError> {
    let storage = match args.data_dir {
        Some(dir) => Storage::Dir(dir),
        None => Storage::Memory,
    };
    // Before anyone can know that we run: a signal that comes at once has to drain too.
    let stopped = stop_signal()?;
    let limits = CallerLimits {
        open: args.max_requests_per_caller,
        streams: args.max_streams_per_caller,
        participants: args.max_participants_per_caller,
        priority: args.max_priority,
        priorities: args.max_priority_from,
    };
    let settings = Settings { listen: args.listen, storage, limits, admin: args.admin, spans };
    let scheduler = Scheduler::start(settings).await?;
    let (version, address) = (env!("CARGO_PKG_VERSION"), scheduler.address().to_string());
    says.line(
        &format!("quorate {version} listens on {address}"),
        &[("version", version), ("listen", &address)],
    );
    if let Some(admin) = scheduler.admin() {
        let admin = admin.to_string();
        says.line(&format!("operators look in at http://{admin}/"), &[("admin", &admin)]);
    }
    let stop = scheduler.stop.clone();
    let signals = tokio::spawn(async move {
        stopped.await;
        stop.cancel();
    });
    let ended = scheduler.ended().await;
    signals.abort();
    ended
}
