//! The connection to a scheduler, and the terminal: the only parts of the organizer's commands that do I/O.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::error::{CliError, innermost};
use super::parse;
use super::when::Reference;
use super::zone::{self, Asker, SystemHints, Zone};
use crate::core::trace::{TraceContext, TraceState};
use crate::wire::pb::scheduler_service_client::SchedulerServiceClient;

/// Longest wait for a connection, also if the call may take longer.
const CONNECT: Duration = Duration::from_secs(10);
/// Largest answer that is read, in bytes: a thousand candidates with all attendees of a large meeting.
const ANSWER_BYTES: usize = 512 << 20;
/// How often an idle connection is probed, so that a watch notices a scheduler that is gone.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Options of every organizer's command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection and output")]
pub struct ClientArgs {
    /// URL of the scheduler
    #[arg(
        long,
        value_name = "URL",
        env = "QUORATE_SCHEDULER",
        default_value = parse::SCHEDULER_DEFAULT,
        hide_env_values = true,
        value_parser = parse::Address::SCHEDULER
    )]
    pub scheduler: String,
    /// Print the answer as JSON, for scripts
    #[arg(long)]
    pub json: bool,
    /// Your IANA zone, to read and to show times. Default: the system's (TZ, /etc/localtime), else UTC
    #[arg(long, value_name = "ZONE", value_parser = zone::iana_name)]
    pub time_zone: Option<String>,
    /// How long a call may take
    #[arg(long, value_name = "LENGTH", default_value = "60s", value_parser = parse::positive_length)]
    pub timeout: Duration,
}

impl ClientArgs {
    /// The asker's zone and clock. Tells on standard error what there is to tell of the zone.
    pub fn asker(&self) -> (Asker, Reference) {
        let system = SystemHints::read();
        let asker = zone::asker(self.time_zone.as_deref(), &system).unwrap_or_else(|note| Asker {
            zone: Zone::utc(),
            chosen: false,
            note: Some(note),
        });
        asker.note.iter().for_each(|note| tell(&format!("note: {note}\n")));
        let reference = Reference { now: Timestamp::now(), zone: asker.zone.clone() };
        (asker, reference)
    }

    /// Prints an answer, in words or as JSON. Whether somebody still reads.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub fn print(
        &self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> Result<bool, CliError> {
        if self.json { put(&format!("{:#}\n", json())) } else { put(&text()) }
    }

    /// Prints one of many answers, on one line. Whether somebody still reads.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub fn print_line(
        &self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> Result<bool, CliError> {
        if self.json { put(&format!("{}\n", json())) } else { put(&text()) }
    }

    /// Connects to the scheduler.
    ///
    /// # Errors
    /// [`CliError::Connect`].
    pub async fn connect(&self) -> Result<Session, CliError> {
        let channel = connect(&self.scheduler, self.timeout).await?;
        Ok(Session { channel, timeout: self.timeout })
    }
}

/// Connects to a gRPC server.
///
/// # Errors
/// [`CliError::Connect`].
pub async fn connect(address: &str, timeout: Duration) -> Result<Channel, CliError> {
    let failed = |error: tonic::transport::Error| CliError::Connect {
        address: address.to_owned(),
        cause: innermost(&error),
    };
    let endpoint = Endpoint::from_shared(address.to_owned())
        .and_then(|endpoint| endpoint.user_agent(concat!("quorate/", env!("CARGO_PKG_VERSION"))))
        .map_err(failed)?
        .connect_timeout(timeout.min(CONNECT))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE);
    endpoint.connect().await.map_err(failed)
}

/// A connection to a scheduler.
#[derive(Clone, Debug)]
pub struct Session {
    channel: Channel,
    timeout: Duration,
}

impl Session {
    /// Calls an RPC within the time that the person gave: the scheduler learns the deadline.
    ///
    /// # Errors
    /// The call's status, or that the time is over.
    pub async fn call<Q, A>(
        &self,
        message: Q,
        rpc: impl AsyncFnOnce(SchedulerServiceClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, CliError> {
        let mut request = in_trace(message);
        request.set_timeout(self.timeout);
        let begun = Instant::now();
        let answer = rpc(self.client(), request).await;
        answer.map(Response::into_inner).map_err(|status| self.late_or(status, begun.elapsed()))
    }

    /// Opens a stream. Only the opening is bound to the time that the person gave; the stream has no deadline.
    ///
    /// # Errors
    /// The call's status, or that the time is over.
    pub async fn open<Q, A>(
        &self,
        message: Q,
        rpc: impl AsyncFnOnce(SchedulerServiceClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, CliError> {
        let opening = rpc(self.client(), in_trace(message));
        match tokio::time::timeout(self.timeout, opening).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(CliError::Deadline { timeout: self.timeout, hint: None }),
        }
    }

    fn client(&self) -> SchedulerServiceClient<Channel> {
        SchedulerServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    /// tonic, on either side, ends a call whose time is over with CANCELLED.
    fn late_or(&self, status: Status, elapsed: Duration) -> CliError {
        let nearly = self.timeout - self.timeout / 20;
        match status.code() {
            Code::Cancelled if elapsed >= nearly => CliError::Deadline { timeout: self.timeout, hint: None },
            _ => status.into(),
        }
    }
}

/// A request that is part of the trace in which the command was run, if the environment names one (`TRACEPARENT`, and
/// `TRACESTATE` for what is said of it).
fn in_trace<Q>(message: Q) -> Request<Q> {
    let mut request = Request::new(message);
    let trace = std::env::var("TRACEPARENT").ok().and_then(|text| TraceContext::parse(&text));
    let Some(trace) = trace else { return request };
    if let Ok(value) = trace.to_string().parse() {
        request.metadata_mut().insert("traceparent", value);
    }
    let state = std::env::var("TRACESTATE").ok().and_then(|text| TraceState::parse([text.as_str()]));
    if let Some(value) = state.and_then(|state| state.as_str().parse().ok()) {
        request.metadata_mut().insert("tracestate", value);
    }
    request
}

/// Writes to standard output. False: nobody reads it any more, as after `| head`, which is no error.
///
/// # Errors
/// It can't be written to for another reason.
pub fn put(text: &str) -> Result<bool, CliError> {
    put_to(&mut io::stdout().lock(), text)
}

fn put_to(out: &mut dyn Write, text: &str) -> Result<bool, CliError> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::Output(error)),
    }
}

/// Writes to standard error. If nobody can read that, there is nowhere left to say so.
pub fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_leaves_is_no_error() {
        assert!(!put_to(&mut Broken(io::ErrorKind::BrokenPipe), "x").unwrap());
        assert!(matches!(put_to(&mut Broken(io::ErrorKind::StorageFull), "x"), Err(CliError::Output(_))));
        let mut written = Vec::new();
        assert!(put_to(&mut written, "x\n").unwrap());
        assert_eq!(written, b"x\n");
    }

    #[tokio::test]
    async fn an_address_without_a_scheduler_gives_the_cause() {
        // A port that was free a moment ago: nobody listens.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("http://127.0.0.1:{port}");
        let error = connect(&address, Duration::from_secs(5)).await.unwrap_err();
        let CliError::Connect { address: named, cause } = error else { panic!("{error:?}") };
        assert_eq!(named, address);
        assert!(cause.to_lowercase().contains("refused"), "{cause}");
    }
}
