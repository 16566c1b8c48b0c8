//! The stream to the scheduler: connects, registers, carries frames both ways, and comes back when it breaks.
//!
//! One task owns the host. Whatever has come in is taken in one go, so that one sync of the journal serves it all;
//! nothing waits for more to come.

mod backoff;
mod incoming;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use self::backoff::Backoff;
use self::incoming::Incoming;
use super::AgentError;
use super::connector::Connector;
use super::host::{Change, Host, Reply};
use super::journal::JournalError;
use crate::core::ids::{MeetingId, ParticipantId};
use crate::core::limits;
use crate::core::message::Booking;
use crate::engine::Clock;
use crate::wire::pb;
use crate::wire::pb::participant_service_client::ParticipantServiceClient;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How often an idle connection is tried (HTTP/2 PING).
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long the answer to that may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the first answer to a registration may take.
const REGISTRATION: Duration = Duration::from_secs(30);
/// How long the last messages may take when the agent stops.
const FAREWELL: Duration = Duration::from_secs(1);
/// Frames handed to the transport and not yet taken by it.
const OUTGOING: usize = 16;
/// Frames that wait behind those; while there are more, nothing is read.
const PENDING: usize = 256;
/// Frames taken at a time.
const TAKEN: usize = 64;
/// How long changed bookings gather before they are written out: off the way of the votes that follow.
const OUTPUT_PAUSE: Duration = Duration::from_millis(100);
/// Largest frame that is read: more than the scheduler packs, since it can't split every message.
const FRAME_MAX: usize = 4 * limits::FRAME_BYTES;

/// What others in the process ask of the link.
#[derive(Debug)]
pub(super) enum Command {
    /// Leave a meeting.
    Withdraw {
        participant: ParticipantId,
        meeting: MeetingId,
        reason: String,
        reply: oneshot::Sender<Result<bool, AgentError>>,
    },
    /// Say what is booked.
    Bookings { participant: ParticipantId, reply: oneshot::Sender<Result<Vec<Booking>, AgentError>> },
    /// Take new calendars.
    Calendars(Vec<Change>),
    /// Say that everything before this is done, and that the bookings are with the writer of calendar files.
    Barrier { reply: oneshot::Sender<Result<(), AgentError>> },
}

/// Why a stream ended.
#[derive(Debug)]
enum End {
    /// The agent is to stop.
    Stop,
    /// It broke, or was never there.
    Broken(String),
    /// The scheduler ended it.
    Ended(Status),
    /// The scheduler has asked us to come back after this long.
    Drained(Duration),
    /// The journal failed, so nothing more may be said over it.
    Journal(JournalError),
    /// Nobody is left to speak for.
    Nobody,
}

/// How the scheduler is reached.
#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) endpoint: Endpoint,
    pub(super) connector: Connector,
    /// For the pauses between tries.
    pub(super) seed: u64,
}

/// The task that owns the host.
#[derive(Debug)]
pub(super) struct Link {
    /// Away only while it works where blocking is allowed.
    host: Option<Box<Host>>,
    clock: Clock,
    endpoint: Endpoint,
    connector: Connector,
    commands: mpsc::Receiver<Command>,
    ready: watch::Sender<bool>,
    stop: CancellationToken,
    backoff: Backoff,
}

/// An open stream.
struct Stream {
    outgoing: mpsc::Sender<pb::JoinRequest>,
    pending: VecDeque<pb::JoinRequest>,
    incoming: Incoming,
    /// When it has to be left: with no answer to the registration, or after a drain.
    until: Option<Instant>,
    drained: Option<Duration>,
    /// When the bookings that changed are written out.
    write_at: Option<Instant>,
}

impl Stream {
    fn send(&mut self, frames: Vec<pb::JoinRequest>) {
        for frame in frames {
            let frame = match self.pending.is_empty() {
                true => match self.outgoing.try_send(frame) {
                    Ok(()) => continue,
                    Err(refused) => refused.into_inner(),
                },
                false => frame,
            };
            self.pending.push_back(frame);
        }
    }

    /// Sends what waits and ends our side, then waits for the scheduler to end its own.
    async fn farewell(self) {
        let Self { outgoing, pending, mut incoming, .. } = self;
        let bye = async {
            for frame in pending {
                if outgoing.send(frame).await.is_err() {
                    return;
                }
            }
            drop(outgoing);
            while let Some(Ok(_)) = incoming.next().await {}
        };
        if timeout(FAREWELL, bye).await.is_err() {
            tracing::debug!("the scheduler did not end the stream in time");
        }
    }
}

/// The scheduler's address, and how connections to it are made.
///
/// # Errors
/// It is no URL.
pub(super) fn endpoint(url: &str) -> Result<Endpoint, AgentError> {
    let bad = |reason: &str| AgentError::BadUrl { url: url.to_owned(), reason: reason.to_owned() };
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| bad(&in_words(&error)))?;
    if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none() {
        return Err(bad("expected http://host:port"));
    }
    Ok(endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

impl Link {
    pub(super) fn new(
        host: Host,
        clock: Clock,
        scheduler: Scheduler,
        commands: mpsc::Receiver<Command>,
        ready: watch::Sender<bool>,
        stop: CancellationToken,
    ) -> Self {
        let Scheduler { endpoint, connector, seed } = scheduler;
        let backoff = Backoff::new(seed);
        Self { host: Some(Box::new(host)), clock, endpoint, connector, commands, ready, stop, backoff }
    }

    /// Runs until it is stopped, or newer streams speak for everyone.
    pub(super) async fn run(mut self) -> Result<(), AgentError> {
        loop {
            let end = match self.host()?.has_work() {
                true => self.stream().await?,
                false => End::Nobody,
            };
            self.host()?.disconnected();
            if self.host()?.all_superseded() {
                return Err(AgentError::AllSuperseded);
            }
            let pause = match end {
                End::Stop => return Ok(()),
                End::Nobody => Duration::MAX,
                End::Drained(pause) => {
                    let pause = self.backoff.around(pause);
                    tracing::info!("the scheduler is going away; connecting again in {pause:.1?}");
                    pause
                }
                End::Broken(why) => {
                    let pause = self.backoff.next();
                    let address = self.endpoint.uri();
                    tracing::warn!(
                        "no stream to the scheduler at {address}: {why}; trying again in {pause:.1?}"
                    );
                    pause
                }
                End::Ended(status) => self.pause_after(&status),
                End::Journal(error) => {
                    let pause = self.backoff.next();
                    tracing::error!(%error, "nothing is promised without the journal; trying again in {pause:.1?}");
                    pause
                }
            };
            if !self.pause(pause).await? {
                return Ok(());
            }
        }
    }

    fn pause_after(&mut self, status: &Status) -> Duration {
        let words = format!("{:?}: {}", status.code(), status.message());
        match status.code() {
            // What we say is not taken: saying it again soon changes nothing.
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::Unauthenticated => {
                let pause = self.backoff.slow();
                tracing::error!("the scheduler refuses the stream: {words}; trying again in {pause:.1?}");
                pause
            }
            // A broken connection surfaces as UNKNOWN.
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => {
                let pause = self.backoff.next();
                tracing::warn!("the stream ended: {words}; connecting again in {pause:.1?}");
                pause
            }
        }
    }

    /// Waits, and takes commands meanwhile; shorter if nobody was there and now somebody is. False: stop.
    async fn pause(&mut self, pause: Duration) -> Result<bool, AgentError> {
        let until = Instant::now().checked_add(pause);
        loop {
            let over = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(false),
                Some(command) = self.commands.recv() => {
                    self.unsent(command).await?;
                    if until.is_none() && self.host()?.has_work() {
                        return Ok(true);
                    }
                }
                () = over => return Ok(true),
            }
        }
    }

    /// Waits for something to do with connecting, and takes commands meanwhile. None: stop.
    async fn until<T>(&mut self, future: impl Future<Output = T>) -> Result<Option<T>, AgentError> {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(None),
                done = &mut future => return Ok(Some(done)),
                Some(command) = self.commands.recv() => self.unsent(command).await?,
            }
        }
    }

    /// A command without a stream: what it would send is told at the next registration.
    async fn unsent(&mut self, command: Command) -> Result<(), AgentError> {
        if let Err(error) = self.command(command).await? {
            tracing::error!(%error, "nothing is promised without the journal");
        }
        self.write_outputs().await
    }

    async fn write_outputs(&mut self) -> Result<(), AgentError> {
        match self.host()?.has_unwritten() {
            true => self.work(Host::write_outputs).await,
            false => Ok(()),
        }
    }

    /// One stream from beginning to end.
    async fn stream(&mut self) -> Result<End, AgentError> {
        let connecting = self.connector.connect(self.endpoint.clone());
        let channel = match self.until(connecting).await? {
            None => return Ok(End::Stop),
            Some(Err(error)) => return Ok(End::Broken(in_words(&error))),
            Some(Ok(channel)) => channel,
        };
        let register = match self.work(Host::connected).await? {
            Ok(reply) => reply,
            Err(error) => return Ok(End::Journal(error)),
        };
        let mut client = ParticipantServiceClient::new(channel).max_decoding_message_size(FRAME_MAX);
        let (outgoing, queue) = mpsc::channel(OUTGOING);
        let joining = async move { client.join(ReceiverStream::new(queue)).await };
        let mut stream = Stream {
            outgoing,
            pending: VecDeque::new(),
            incoming: Incoming::new(joining),
            until: Some(Instant::now() + REGISTRATION),
            drained: None,
            write_at: None,
        };
        stream.send(register.frames);
        let end = self.serve(&mut stream).await?;
        self.write_outputs().await?;
        if matches!(end, End::Stop | End::Drained(_) | End::Nobody) {
            stream.farewell().await;
        }
        Ok(end)
    }

    async fn serve(&mut self, stream: &mut Stream) -> Result<End, AgentError> {
        loop {
            let timer = self.host()?.poll_timeout().map(|at| self.clock.at(at));
            let leave = stream.until;
            if self.host()?.has_unwritten() {
                stream.write_at.get_or_insert_with(|| Instant::now() + OUTPUT_PAUSE);
            }
            let write = stream.write_at;
            let wait = async |at: Option<Instant>| match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            };
            let room = stream.pending.len() < PENDING;
            let reply = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(End::Stop),
                Some(command) = self.commands.recv(), if room => self.command(command).await?,
                () = wait(timer), if room => self.work(Host::timeout).await?,
                () = wait(write) => {
                    stream.write_at = None;
                    self.write_outputs().await?;
                    continue;
                }
                permit = stream.outgoing.reserve(), if !stream.pending.is_empty() => {
                    // If there is no permit, the stream has ended, and its incoming side says why.
                    if let Some(frame) = stream.pending.pop_front() && let Ok(permit) = permit {
                        permit.send(frame);
                    }
                    continue;
                }
                frame = stream.incoming.next(), if room => match frame {
                    Some(Ok(frame)) => {
                        let frames = stream.incoming.and_all_that_wait(frame, TAKEN);
                        self.work(move |host| host.receive(&frames)).await?
                    }
                    ended => return Ok(ended_with(ended.and_then(Result::err), stream.drained)),
                },
                () = wait(leave) => return Ok(match stream.drained {
                    Some(pause) => End::Drained(pause),
                    None => End::Broken("no answer to the registration".to_owned()),
                }),
            };
            match reply {
                Ok(reply) => self.sent(stream, reply).await?,
                Err(error) => return Ok(End::Journal(error)),
            }
            if !self.host()?.has_work() && stream.pending.is_empty() {
                return Ok(End::Nobody);
            }
        }
    }

    async fn sent(&mut self, stream: &mut Stream, reply: Reply) -> Result<(), AgentError> {
        stream.send(reply.frames);
        if reply.registered {
            self.backoff.reset();
            stream.until = stream.until.filter(|_| stream.drained.is_some());
        }
        if !*self.ready.borrow() && self.host()?.all_seen() {
            self.ready.send_replace(true);
        }
        if let Some(pause) = reply.drain {
            // Until the scheduler ends the stream, what is in flight can still be decided over it.
            stream.drained = Some(pause);
            stream.until = Some(Instant::now() + limits::DRAIN);
        }
        Ok(())
    }

    async fn command(&mut self, command: Command) -> Result<Result<Reply, JournalError>, AgentError> {
        match command {
            Command::Withdraw { participant, meeting, reason, reply } => {
                let left = self.work(move |host| host.withdraw(&participant, &meeting, &reason)).await?;
                let (sent, answer) = match left {
                    Ok((sent, left)) => (Ok(sent), Ok(left)),
                    // The caller is told of it by a copy in words; the link has to drop the stream.
                    Err(AgentError::Journal(error)) => {
                        let words = error.to_string();
                        (Err(error), Err(AgentError::NotWritten(words)))
                    }
                    Err(error) => (Ok(Reply::default()), Err(error)),
                };
                // Whoever asked may have left.
                reply.send(answer).ok();
                Ok(sent)
            }
            Command::Bookings { participant, reply } => {
                reply.send(self.host()?.bookings(&participant)).ok();
                Ok(Ok(Reply::default()))
            }
            Command::Barrier { reply } => {
                self.write_outputs().await?;
                reply.send(Ok(())).ok();
                Ok(Ok(Reply::default()))
            }
            Command::Calendars(changes) => self.work(move |host| host.calendars(changes)).await,
        }
    }

    fn host(&mut self) -> Result<&mut Host, AgentError> {
        self.host.as_deref_mut().ok_or(AgentError::Panicked)
    }

    /// Has the host do something where it may block: it syncs to disk and reads long calendars.
    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Host) -> T + Send + 'static,
    ) -> Result<T, AgentError> {
        let mut host = self.host.take().ok_or(AgentError::Panicked)?;
        let worked = tokio::task::spawn_blocking(move || {
            let done = work(&mut host);
            (host, done)
        });
        let (host, done) = worked.await.map_err(|_| AgentError::Panicked)?;
        self.host = Some(host);
        Ok(done)
    }
}

fn ended_with(status: Option<Status>, drained: Option<Duration>) -> End {
    match (drained, status) {
        (Some(pause), _) => End::Drained(pause),
        (None, Some(status)) => End::Ended(status),
        (None, None) => End::Broken("the scheduler ended the stream".to_owned()),
    }
}

/// An error with what caused it; tonic says only "transport error" by itself.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        // Layers that only pass an error on say the same again.
        if !words.ends_with(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_can_not_be_reached_are_refused_at_once() {
        for url in ["", "localhost", "ftp://host:1", "https://host:1", "http://", "http://a b"] {
            assert!(matches!(endpoint(url), Err(AgentError::BadUrl { .. })), "{url}");
        }
        assert!(endpoint("http://[::1]:50051").is_ok());
    }
}
