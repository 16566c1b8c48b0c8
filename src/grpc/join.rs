//! `ParticipantService.Join`: the stream of an agent host. One task reads frames; the response stream packs
//! whatever waits into frames and never waits for more.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::callers::{Callers, caller};
use super::engine_failed;
use crate::core::coordinator::Rejected;
use crate::core::limits;
use crate::engine::{End, EngineHandle, Outgoing, Place, Session};
use crate::wire::agent_frames::{agent_messages, frame_error, member_name};
use crate::wire::frames::frames;
use crate::wire::pb::agent_message::Message;
use crate::wire::pb::frame_error::Reason;
use crate::wire::scheduler_frames::{self, Packer};
use crate::wire::{ApiError, pb};

/// Messages packed at a time.
const PACKED: usize = 8_192;
/// Frame errors that wait for a reader; a host that makes more is cut off.
const FAULTS: usize = 4_096;

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Join {
    pub(super) engine: EngineHandle,
    pub(super) callers: Callers,
}

#[tonic::async_trait]
impl pb::participant_service_server::ParticipantService for Join {
    type JoinStream = Frames;

    async fn join(
        &self,
        request: Request<Streaming<pb::JoinRequest>>,
    ) -> Result<Response<Self::JoinStream>, Status> {
        let opener = self.callers.opener(&caller(&request))?;
        let mut session = self.engine.open_session(opener).await.map_err(engine_failed)?;
        let (queue, end) = session.outgoing().ok_or(ApiError::Internal)?;
        let (errors, errors_out) = mpsc::channel(FAULTS);
        let (fault, fault_out) = oneshot::channel();
        tokio::spawn(receive(request.into_inner(), session, errors, fault));
        let frames = Frames {
            queue,
            errors: errors_out,
            end: Some(end),
            fault: Some(fault_out),
            ready: VecDeque::new(),
            waiting: Vec::new(),
            last: None,
            over: false,
        };
        Ok(Response::new(frames))
    }
}

/// Reads frames until the stream ends. `fault` is closed when the client has left.
async fn receive(
    mut frames: Streaming<pb::JoinRequest>,
    session: Session,
    errors: mpsc::Sender<pb::FrameError>,
    mut fault: oneshot::Sender<Status>,
) {
    let ended = tokio::select! {
        ended = read_frames(&mut frames, &session, &errors) => ended,
        () = fault.closed() => return,
    };
    if let Err(status) = ended {
        tracing::debug!(%status, "a stream ended");
        // The client may have left at the same moment.
        fault.send(status).ok();
    }
}

async fn read_frames(
    frames: &mut Streaming<pb::JoinRequest>,
    session: &Session,
    errors: &mpsc::Sender<pb::FrameError>,
) -> Result<(), Status> {
    let first = tokio::time::timeout(limits::FIRST_FRAME, frames.message());
    let Some(first) = first.await.map_err(|_| ApiError::RegisterTimeout)?? else {
        return Err(ApiError::RegisterMissing.into());
    };
    if !first.messages.iter().any(|m| matches!(m.message, Some(Message::Register(_)))) {
        return Err(ApiError::RegisterMissing.into());
    }
    let mut frame = Some(first);
    while let Some(received) = frame {
        let mut good = Vec::with_capacity(received.messages.len());
        for (index, message) in agent_messages(&received) {
            match message {
                Ok(message) => good.push((Place { index, member: member_name(&message) }, message)),
                Err(error) => errors.try_send(error).map_err(|_| ApiError::SlowReader)?,
            }
        }
        session.received(good).await.map_err(engine_failed)?;
        frame = frames.message().await?;
    }
    Ok(())
}

/// The frames to the host.
#[derive(Debug)]
pub(super) struct Frames {
    queue: mpsc::Receiver<Outgoing>,
    errors: mpsc::Receiver<pb::FrameError>,
    end: Option<oneshot::Receiver<End>>,
    fault: Option<oneshot::Receiver<Status>>,
    ready: VecDeque<pb::JoinResponse>,
    waiting: Vec<Outgoing>,
    /// How the stream ends, once what was packed is sent.
    last: Option<Status>,
    over: bool,
}

impl Frames {
    fn pack(&mut self, errors: &mut Vec<pb::FrameError>) {
        let mut packer = Packer::default();
        for outgoing in self.waiting.drain(..) {
            match outgoing {
                Outgoing::Message(to, message, trace) => packer.push_traced(to, message, trace),
                Outgoing::Rejected(participant, why, place) => {
                    let (reason, words) = rejected(why);
                    let error = pb::FrameError {
                        index: i32::try_from(place.index).unwrap_or(i32::MAX),
                        member: place.member.to_owned(),
                        ..frame_error(reason, &participant, words)
                    };
                    packer.push_plain(scheduler_frames::refused(error));
                }
                Outgoing::Drain => {
                    packer.push_plain(scheduler_frames::drain(limits::BACKOFF_MAX));
                }
            }
        }
        for error in errors.drain(..) {
            packer.push_plain(scheduler_frames::refused(error));
        }
        self.ready.extend(frames(packer.finish()));
    }

    /// Whether the engine or the reading task has ended the stream, and how.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Option<Status> {
        if let Some(fault) = &mut self.fault
            && let Poll::Ready(status) = Pin::new(fault).poll(cx)
        {
            self.fault = None;
            if let Ok(status) = status {
                return Some(status);
            }
        }
        if let Some(end) = &mut self.end
            && let Poll::Ready(why) = Pin::new(end).poll(cx)
        {
            self.end = None;
            return why.ok().map(|why| match why {
                End::ShuttingDown => ApiError::ShuttingDown.into(),
                End::Overflow => ApiError::SlowReader.into(),
                End::StoreFailed => ApiError::StoreUnavailable.into(),
            });
        }
        None
    }
}

impl Stream for Frames {
    type Item = Result<pb::JoinResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(frame) = this.ready.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if this.over {
            return Poll::Ready(None);
        }
        if this.last.is_none() {
            this.last = this.poll_end(cx);
        }
        let mut errors = Vec::new();
        let errors_ended = matches!(this.errors.poll_recv_many(cx, &mut errors, PACKED), Poll::Ready(0));
        let ended = matches!(this.queue.poll_recv_many(cx, &mut this.waiting, PACKED), Poll::Ready(0));
        if ended && this.last.is_none() {
            // Whoever closed the queue said why before: perhaps since we last looked.
            this.last = this.poll_end(cx);
        }
        let received = !errors.is_empty() || !this.waiting.is_empty();
        this.pack(&mut errors);
        if let Some(frame) = this.ready.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(status) = this.last.take() {
            this.over = true;
            return Poll::Ready(Some(Err(status)));
        }
        if ended {
            this.over = true;
            // The reading task ends before the queue does, unless the engine ended without a word.
            let orderly = errors_ended || matches!(this.errors.poll_recv(cx), Poll::Ready(None));
            return Poll::Ready((!orderly).then(|| Err(ApiError::ShuttingDown.into())));
        }
        if received {
            // All that came was packed to nothing: there is no waker for what comes next.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

fn rejected(why: Rejected) -> (Reason, &'static str) {
    match why {
        Rejected::NotRegistered => (Reason::NotRegistered, "this stream does not speak for that participant"),
        Rejected::UnknownQuery => {
            (Reason::UnknownQuery, "the answer names no query that the participant was asked")
        }
        Rejected::TooManyOnStream => {
            (Reason::Limit, "this stream has spoken for as many participants as one may; open another")
        }
        Rejected::TooManyOfCaller => (
            Reason::Limit,
            "the streams from this address speak for as many participants as they may; unregister some",
        ),
        Rejected::TooManyKnown => (
            Reason::Limit,
            "the scheduler knows as many participants as it may, all connected or in meetings",
        ),
    }
}
