//! Starting an agent, and asking it for things.

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::config::AgentConfig;
use super::connector::Connector;
use super::host::Host;
use super::journal::JournalFile;
use super::link::{self, Command, Link, Scheduler};
use super::output::Outputs;
use super::watch::{self as files, Files};
use super::{AgentError, Served};
use crate::core::ids::{MeetingId, ParticipantId};
use crate::core::message::Booking;
use crate::engine::Clock;
use crate::engine::spans::Spans;

/// Commands that wait for the agent.
const COMMANDS: usize = 64;

/// Starts an agent in the background. It connects, and comes back to the scheduler whenever it can, until it is stopped
/// or its handle is dropped.
///
/// # Errors
/// The configuration makes no sense, a calendar that it names is missing, or the journal can't be opened. A calendar
/// that is there and can't be read is no error: its participant declines, with the reason. Nor is a scheduler that
/// can't be reached.
pub async fn start(config: AgentConfig) -> Result<AgentHandle, AgentError> {
    start_traced(config, None).await
}

/// [`start`], and spans are handed to `spans`.
///
/// # Errors
/// As [`start`].
pub async fn start_traced(config: AgentConfig, spans: Option<Spans>) -> Result<AgentHandle, AgentError> {
    start_over(config, Connector::tcp(), uuid::Uuid::new_v4().as_u64_pair().0, spans).await
}

/// [`start`], with a say in how the scheduler is connected to; `seed` is for the pauses between tries.
///
/// # Errors
/// As [`start`].
pub async fn start_with(
    config: AgentConfig,
    connector: Connector,
    seed: u64,
) -> Result<AgentHandle, AgentError> {
    start_over(config, connector, seed, None).await
}

async fn start_over(
    config: AgentConfig,
    connector: Connector,
    seed: u64,
    spans: Option<Spans>,
) -> Result<AgentHandle, AgentError> {
    let endpoint = link::endpoint(&config.scheduler)?;
    let clock = spans.as_ref().map_or_else(Clock::start, Spans::clock);
    let (outputs, writer) = Outputs::start();
    let to_outputs = outputs.clone();
    let open = move || {
        let everyone = config.everyone()?;
        let journal = JournalFile::open(&config.data_dir)?;
        let (files, read) = Files::read(config, clock, everyone);
        let mut host = Host::open(clock, journal, to_outputs, read)?;
        host.trace_to(spans);
        Ok::<_, AgentError>((files, host))
    };
    let opened = tokio::task::spawn_blocking(open).await.map_err(|_| AgentError::Panicked).flatten();
    let (files, host) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            // Nothing is to be written; a writer that is cut off with the program would complain.
            outputs.close();
            return Err(writer.await.map_or(AgentError::Panicked, |()| error));
        }
    };
    let served = host.served();
    let (commands, commands_out) = mpsc::channel(COMMANDS);
    let (ready, ready_out) = watch::channel(served.is_empty());
    let stop = CancellationToken::new();
    let scheduler = Scheduler { endpoint, connector, seed };
    let link = Link::new(host, clock, scheduler, commands_out, ready, stop.clone());
    let to_link = commands.clone();
    let closing = outputs.clone();
    let task = tokio::spawn(async move {
        // The watcher ends when the link no longer takes commands.
        let (ended, ()) = tokio::join!(link.run(), files::run(files, to_link));
        closing.close();
        writer.await.map_err(|_| AgentError::Panicked)?;
        ended
    });
    Ok(AgentHandle { commands, ready: ready_out, served, outputs, task, stop: stop.drop_guard() })
}

/// A running agent. It ends when this is dropped; [`AgentHandle::stop`] also waits for that.
#[derive(Debug)]
pub struct AgentHandle {
    commands: mpsc::Sender<Command>,
    ready: watch::Receiver<bool>,
    served: Vec<Served>,
    outputs: Outputs,
    task: JoinHandle<Result<(), AgentError>>,
    stop: DropGuard,
}

impl AgentHandle {
    /// Waits until everyone was registered at least once; an agent with nobody is ready at once.
    ///
    /// # Errors
    /// The agent has ended.
    pub async fn ready(&self) -> Result<(), AgentError> {
        let mut ready = self.ready.clone();
        let reached = ready.wait_for(|ready| *ready).await;
        reached.map(|_| ()).map_err(|_| AgentError::Ended)
    }

    /// Who was served when the agent started, by id.
    pub fn served(&self) -> &[Served] {
        &self.served
    }

    /// Has a participant leave a meeting, whatever the scheduler says; it is told as soon as it can be. True if something
    /// was promised to the meeting; false if there was nothing to leave.
    ///
    /// # Errors
    /// The agent doesn't speak for the participant, the journal failed, or the agent has ended.
    pub async fn withdraw(
        &self,
        participant: &ParticipantId,
        meeting: &MeetingId,
        reason: &str,
    ) -> Result<bool, AgentError> {
        let (participant, meeting, reason) = (participant.clone(), meeting.clone(), reason.to_owned());
        self.ask(|reply| Command::Withdraw { participant, meeting, reason, reply }).await
    }

    /// The bookings of a participant that stand.
    ///
    /// # Errors
    /// The agent doesn't speak for the participant, or has ended.
    pub async fn bookings(&self, participant: &ParticipantId) -> Result<Vec<Booking>, AgentError> {
        let participant = participant.clone();
        self.ask(|reply| Command::Bookings { participant, reply }).await
    }

    /// Waits until the calendar outputs have all bookings up to now, or could not be written.
    ///
    /// # Errors
    /// The agent has ended.
    pub async fn outputs_written(&self) -> Result<(), AgentError> {
        self.ask(|reply| Command::Barrier { reply }).await?;
        self.outputs.written().await;
        Ok(())
    }

    /// Waits until the agent ends by itself.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn ended(&mut self) -> Result<(), AgentError> {
        (&mut self.task).await.map_err(|_| AgentError::Panicked)?
    }

    /// Ends the agent: what it was about to say is said, calendar outputs are written, promises stand.
    ///
    /// # Errors
    /// It had ended before by an error.
    pub async fn stop(self) -> Result<(), AgentError> {
        let Self { task, stop, commands, .. } = self;
        drop(stop);
        drop(commands);
        task.await.map_err(|_| AgentError::Panicked)?
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, AgentError>>) -> Command,
    ) -> Result<T, AgentError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| AgentError::Ended)?;
        answer.await.map_err(|_| AgentError::Ended)?
    }
}
