//! The scheduler's frames, from the moment that the stream is asked for.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio_stream::Stream;
use tonic::{Response, Status, Streaming};

use crate::wire::pb;

type Joined = Result<Response<Streaming<pb::JoinResponse>>, Status>;
type Frame = Result<pb::JoinResponse, Status>;

/// First the answer to the call, which a scheduler may hold back until it has read a frame; then the frames.
pub(super) struct Incoming {
    state: State,
    /// What came with the last take and belongs to the next: the end.
    next: Option<Option<Frame>>,
}

enum State {
    Joining(Pin<Box<dyn Future<Output = Joined> + Send>>),
    Open(Box<Streaming<pb::JoinResponse>>),
    Ended,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Joining(_) => "Incoming::Joining",
            State::Open(_) => "Incoming::Open",
            State::Ended => "Incoming::Ended",
        })
    }
}

impl Incoming {
    pub(super) fn new(joining: impl Future<Output = Joined> + Send + 'static) -> Self {
        Self { state: State::Joining(Box::pin(joining)), next: None }
    }

    /// The next frame; nothing is lost if this is dropped.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// A frame and up to `most - 1` of those that are here already.
    pub(super) fn and_all_that_wait(
        &mut self,
        first: pb::JoinResponse,
        most: usize,
    ) -> Vec<pb::JoinResponse> {
        let mut frames = vec![first];
        // Whoever calls `next` afterwards is woken by that.
        let mut cx = Context::from_waker(Waker::noop());
        while frames.len() < most {
            match self.poll_next(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => frames.push(frame),
                Poll::Ready(end) => {
                    self.next = Some(end);
                    break;
                }
                Poll::Pending => break,
            }
        }
        frames
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(next);
        }
        loop {
            let end = match &mut self.state {
                State::Joining(joining) => match joining.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(response)) => {
                        self.state = State::Open(Box::new(response.into_inner()));
                        continue;
                    }
                    Poll::Ready(Err(status)) => Some(Err(status)),
                },
                State::Open(frames) => match Pin::new(frames.as_mut()).poll_next(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(frame))),
                    Poll::Ready(end) => end,
                },
                State::Ended => None,
            };
            self.state = State::Ended;
            return Poll::Ready(end);
        }
    }
}
