//! One stream of an agent host, as the engine and the stream's own tasks share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::core::coordinator::{Caller, Rejected};
use crate::core::ids::{ParticipantId, SessionId};
use crate::core::limits;
use crate::core::message::{AgentMessage, SchedulerMessage};
use crate::core::trace::TraceContext;

use super::handle::{EngineError, EngineHandle, Seat};
use super::run::ToEngine;

/// What goes out over a stream.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// A message for these participants, as a part of this trace.
    Message(Vec<ParticipantId>, SchedulerMessage, Option<TraceContext>),
    /// A message of the agent's could not be used.
    Rejected(ParticipantId, Rejected, Place),
    /// The scheduler is going away.
    Drain,
}

/// Which message of a frame it was, for those who are told that it could not be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Its position within the frame, from 0.
    pub index: usize,
    /// What kind it was, as the wire calls it.
    pub member: &'static str,
}

/// Why the engine ends a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Shutdown.
    ShuttingDown,
    /// More is waiting for it than `limits::SESSION_QUEUE`: it reads too slowly.
    Overflow,
    /// The store failed; reconciliation heals it.
    StoreFailed,
}

/// Who opens a stream, and what that one's streams have in common.
#[derive(Debug)]
pub struct Opener {
    /// Who it is.
    pub caller: Caller,
    /// A permit for each message of all its streams that may be on its way ([`limits::CALLER_UNSETTLED`]): whoever opens many
    /// streams has no more of the scheduler.
    pub share: Arc<Semaphore>,
    /// Kept until the stream is gone, and all that it caused is on disk.
    pub seat: Seat,
}

/// The messages of one stream that are on their way. Dropped when all that they caused is on disk.
#[derive(Debug)]
pub(super) struct Unsettled {
    _of_stream: OwnedSemaphorePermit,
    _of_caller: Option<OwnedSemaphorePermit>,
    _opener: Option<Arc<Opener>>,
}

/// The engine's end of a stream.
#[derive(Debug)]
pub(super) struct SessionSender {
    queue: mpsc::Sender<Outgoing>,
    end: Option<oneshot::Sender<End>>,
    gone: Arc<AtomicBool>,
}

impl SessionSender {
    /// Whether the stream is gone already.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Queues without waiting; `false` if the stream is gone or too far behind.
    pub(super) fn send(&self, outgoing: Outgoing) -> bool {
        self.queue.try_send(outgoing).is_ok()
    }

    pub(super) fn end(&mut self, why: End) {
        if let Some(end) = self.end.take() {
            // A stream that is gone already needs no end.
            end.send(why).ok();
        }
    }
}

/// A stream's end of it. Dropping it tells the engine that the stream is gone.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    engine: EngineHandle,
    queue: Option<mpsc::Receiver<Outgoing>>,
    end: Option<oneshot::Receiver<End>>,
    gone: Arc<AtomicBool>,
    /// A permit for each message that may be on its way.
    unsettled: Arc<Semaphore>,
    opener: Option<Arc<Opener>>,
}

impl Session {
    pub(super) fn new(id: SessionId, engine: EngineHandle, opener: Option<Opener>) -> (Self, SessionSender) {
        let (queue_in, queue_out) = mpsc::channel(limits::SESSION_QUEUE);
        let (end_in, end_out) = oneshot::channel();
        let gone = Arc::new(AtomicBool::new(false));
        let sender = SessionSender { queue: queue_in, end: Some(end_in), gone: gone.clone() };
        let unsettled = Arc::new(Semaphore::new(limits::SESSION_UNSETTLED as usize));
        let (queue, end, opener) = (Some(queue_out), Some(end_out), opener.map(Arc::new));
        (Self { id, engine, queue, end, gone, unsettled, opener }, sender)
    }

    /// The outgoing half, once: messages, and the end.
    pub fn outgoing(&mut self) -> Option<(mpsc::Receiver<Outgoing>, oneshot::Receiver<End>)> {
        Some((self.queue.take()?, self.end.take()?))
    }

    /// Hands in what the agent host said, in order. Waits while the engine is busy, while more of this stream's than
    /// `limits::SESSION_UNSETTLED` messages are not settled, and while more of its caller's than `limits::CALLER_UNSETTLED`
    /// are not: whoever floods is slowed down, and nobody else.
    pub async fn received(&self, messages: Vec<(Place, AgentMessage)>) -> Result<(), EngineError> {
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let (mut some, mut weight) = (Vec::new(), 0);
            // One that weighs more than all permits goes alone, with all of them.
            while let Some(next) = messages.next_if(|(_, message)| {
                weight == 0 || weight + weight_of(message) <= limits::SESSION_UNSETTLED
            }) {
                weight += weight_of(&next.1);
                some.push(next);
            }
            let unsettled = self.unsettled(weight.min(limits::SESSION_UNSETTLED)).await?;
            self.engine.send_at_leisure(ToEngine::Agent(self.id, some, unsettled)).await?;
        }
        Ok(())
    }

    /// Permits for messages of this weight: first the stream's own, so that no stream takes all of its caller's while it waits.
    async fn unsettled(&self, weight: u32) -> Result<Unsettled, EngineError> {
        let stopped = |_| EngineError::Stopped;
        let of_stream = self.unsettled.clone().acquire_many_owned(weight).await.map_err(stopped)?;
        let of_caller = match &self.opener {
            Some(opener) => Some(opener.share.clone().acquire_many_owned(weight).await.map_err(stopped)?),
            None => None,
        };
        Ok(Unsettled { _of_stream: of_stream, _of_caller: of_caller, _opener: self.opener.clone() })
    }
}

/// How many permits a message takes: for each promise of a registration the store is asked.
fn weight_of(message: &AgentMessage) -> u32 {
    let promises = match message {
        AgentMessage::Register(register) => register.reports().count(),
        _ => 0,
    };
    1 + u32::try_from(promises / limits::PROMISES_PER_MESSAGE).unwrap_or(limits::SESSION_UNSETTLED)
}

impl Drop for Session {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
        // Before anybody can see that it is gone: then there is room for another.
        self.opener = None;
        self.engine.close(self.id);
    }
}
