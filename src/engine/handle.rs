//! What the rest of the program holds of the engine: cheap to clone, and never a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::core::coordinator::{Command, Reply};
use crate::core::ids::SessionId;

use super::directory::Directory;
use super::run::{ToEngine, Waiting};
use super::session::{Opener, Session};
use super::store::Reader;
use super::vitals::Vitals;

/// How long a caller waits for a place in the engine's queue.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why the engine did not take something, or can't say what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EngineError {
    /// Its queue is full.
    #[error("too many requests at once")]
    Overloaded,
    /// It has stopped, or is about to.
    #[error("the scheduler is shutting down")]
    Stopped,
    /// The store failed: nothing was promised; the same request id finds out later what became of it.
    #[error("the store can't be used at the moment; ask again with the same request_id")]
    StoreUnavailable,
}

/// A handle on the running engine.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    pub(super) inputs: mpsc::Sender<ToEngine>,
    pub(super) closed: Arc<Notify>,
    pub(super) sessions: Arc<AtomicU64>,
    pub(super) reader: Shared,
    pub(super) directory: Arc<Directory>,
    pub(super) events: watch::Receiver<u64>,
    /// Turns of the engine's loop.
    pub(super) turns: Arc<AtomicU64>,
}

/// Something of the caller's that is kept until its command is answered, whether or not the caller still waits.
#[derive(Default)]
pub struct Seat(Option<Box<dyn Send + Sync>>);

impl Seat {
    /// Keeps it.
    pub fn taken(kept: impl Send + Sync + 'static) -> Self {
        Self(Some(Box::new(kept)))
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Seat").field(&self.0.is_some()).finish()
    }
}

/// The reader, wrapped for `Debug`.
#[derive(Clone)]
pub(super) struct Shared(pub(super) Arc<dyn Reader>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl EngineHandle {
    /// Hands in a command and waits for its reply. Whoever stops waiting stops nothing (PROTOCOL.md: an organizer
    /// that hangs up ends nothing).
    /// `seat` is given up when the command is answered.
    pub async fn call(
        &self,
        command: Command,
        deadline: Option<Duration>,
        seat: Seat,
    ) -> Result<Reply, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.send(ToEngine::Command { command: Box::new(command), deadline, reply: Waiting { reply, seat } })
            .await?;
        answer.await.map_err(|_| EngineError::Stopped)?
    }

    /// A new stream of an agent host. Without an opener it is bound by what holds for one stream only.
    pub async fn open_session(&self, opener: Option<Opener>) -> Result<Session, EngineError> {
        let id = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let caller = opener.as_ref().map(|opener| opener.caller);
        let (session, sender) = Session::new(id, self.clone(), opener);
        self.send(ToEngine::Open(id, sender, caller)).await?;
        Ok(session)
    }

    /// Takes no more commands, decides or gives up what is in flight within `grace`, and ends all streams. Returns
    /// when all that is on disk.
    pub async fn drain(&self, grace: Duration) -> Result<(), EngineError> {
        let (done, drained) = oneshot::channel();
        self.send(ToEngine::Drain(grace, done)).await?;
        drained.await.map_err(|_| EngineError::Stopped)
    }

    /// How the engine is, with up to `in_flight` of the requests that it works on.
    pub async fn vitals(&self, in_flight: usize) -> Result<Vitals, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.send(ToEngine::Look(in_flight, reply)).await?;
        answer.await.map_err(|_| EngineError::Stopped)
    }

    /// How often the engine's loop went round: who sees it rise knows that the engine works, however much waits for it.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// How many inputs wait for the engine.
    pub fn queued(&self) -> usize {
        self.inputs.max_capacity() - self.inputs.capacity()
    }

    /// Who is known and connected.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Reads beside the writer.
    pub fn reader(&self) -> Arc<dyn Reader> {
        self.reader.0.clone()
    }

    /// Changes whenever events were committed.
    pub fn events_changed(&self) -> watch::Receiver<u64> {
        self.events.clone()
    }

    pub(super) async fn send(&self, input: ToEngine) -> Result<(), EngineError> {
        use mpsc::error::SendTimeoutError;
        match self.inputs.send_timeout(input, PATIENCE).await {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Timeout(_)) => Err(EngineError::Overloaded),
            Err(SendTimeoutError::Closed(_)) => Err(EngineError::Stopped),
        }
    }

    /// Waits for a place however long it takes: a busy engine slows streams down, and cuts none.
    pub(super) async fn send_at_leisure(&self, input: ToEngine) -> Result<(), EngineError> {
        self.inputs.send(input).await.map_err(|_| EngineError::Stopped)
    }

    /// Called from a destructor, so it can't wait. In the queue it stands behind what the stream said before; if that
    /// is full, the engine looks for streams that are gone by itself.
    pub(super) fn close(&self, id: SessionId) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.inputs.try_send(ToEngine::Closed(id)) {
            self.closed.notify_one();
        }
    }
}
