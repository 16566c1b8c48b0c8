//! A planted fault: a host whose acknowledgements are taken out of its stream, between HTTP/2 and the network.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_util::rt::TokioIo;
use prost::Message;
use quorate::agent::Connector;
use quorate::wire::pb;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::Endpoint;
use turmoil::net::TcpStream;

use super::net::dial;

/// What a client says first (RFC 9113 §3.4).
const PREFACE: usize = 24;
/// Header of a frame (RFC 9113 §4.1): length, type, flags, stream.
const HEADER: usize = 9;
/// The type of DATA frames.
const DATA: u8 = 0;
/// Header of a gRPC message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// How a host connects that never acknowledges.
pub fn connector() -> Connector {
    let lossy = async |uri| Ok::<_, io::Error>(TokioIo::new(Lossy::new(dial(uri).await?.into_inner())));
    Connector::new(move |endpoint: Endpoint| async move {
        endpoint.connect_with_connector(tower::service_fn(lossy)).await
    })
}

struct Lossy {
    stream: TcpStream,
    /// What was written and is no whole frame yet.
    begun: Vec<u8>,
    /// What is to go out.
    out: Vec<u8>,
    preface_is_out: bool,
}

impl Lossy {
    fn new(stream: TcpStream) -> Self {
        Self { stream, begun: Vec::new(), out: Vec::new(), preface_is_out: false }
    }

    /// Moves all whole frames on.
    fn take(&mut self) {
        if !self.preface_is_out && self.begun.len() >= PREFACE {
            self.out.extend(self.begun.drain(..PREFACE));
            self.preface_is_out = true;
        }
        while self.preface_is_out && self.begun.len() >= HEADER {
            let length = u32::from_be_bytes([0, self.begun[0], self.begun[1], self.begun[2]]) as usize;
            if self.begun.len() < HEADER + length {
                return;
            }
            let frame: Vec<u8> = self.begun.drain(..HEADER + length).collect();
            let (header, payload) = frame.split_at(HEADER);
            let without = if header[3] == DATA { without_acks(payload) } else { None };
            let payload = without.as_deref().unwrap_or(payload);
            self.out.extend(&(payload.len() as u32).to_be_bytes()[1..]);
            self.out.extend(&header[3..]);
            self.out.extend(payload);
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out))?;
            self.out.drain(..n);
        }
        Poll::Ready(Ok(()))
    }
}

/// The same messages but for acknowledgements; none if they are not whole.
fn without_acks(mut payload: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((prefix, rest)) = payload.split_at_checked(PREFIX) {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        let (body, rest) = rest.split_at_checked(length)?;
        let mut request = pb::JoinRequest::decode(body).ok()?;
        let is_ack =
            |message: &pb::AgentMessage| matches!(message.message, Some(pb::agent_message::Message::Ack(_)));
        request.messages.retain(|message| !is_ack(message));
        let body = request.encode_to_vec();
        out.push(prefix[0]);
        out.extend((body.len() as u32).to_be_bytes());
        out.extend(body);
        payload = rest;
    }
    payload.is_empty().then_some(out)
}

impl AsyncRead for Lossy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lossy {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.send(cx))?;
        self.begun.extend(buf);
        self.take();
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
