//! Simulated connections, as tonic wants them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use quorate::agent::Connector;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_stream::Stream;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};
use turmoil::net::{TcpListener, TcpStream};

/// The scheduler's port.
pub const PORT: u16 = 50_051;
/// The scheduler's host.
pub const SCHEDULER: &str = "scheduler";

/// A connection at the server's end.
pub struct Accepted(TcpStream);

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// All connections that come in.
pub fn incoming(listener: TcpListener) -> impl Stream<Item = io::Result<Accepted>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while sender.send(listener.accept().await.map(|(stream, _)| Accepted(stream))).await.is_ok() {}
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

pub async fn dial(uri: Uri) -> io::Result<TokioIo<TcpStream>> {
    let host = uri.host().expect("a host").to_owned();
    let port = uri.port_u16().unwrap_or(PORT);
    Ok(TokioIo::new(TcpStream::connect((host, port)).await?))
}

/// The scheduler's address.
pub fn url() -> String {
    format!("http://{SCHEDULER}:{PORT}")
}

/// How agents connect: with the endpoint that the agent made, over the simulated network.
pub fn connector() -> Connector {
    Connector::new(|endpoint: Endpoint| async move {
        endpoint.connect_with_connector(tower::service_fn(dial)).await
    })
}

/// An organizer's channel, which connects when it has to, and again.
pub fn channel() -> Channel {
    Endpoint::from_shared(url())
        .expect("a URL")
        .connect_timeout(Duration::from_secs(2))
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5))
        .connect_with_connector_lazy(tower::service_fn(dial))
}
