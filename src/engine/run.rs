//! The loop: inputs in, core, operations and effects out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::clock::Clock;
use super::directory::Directory;
use super::handle::{EngineError, EngineHandle, Seat, Shared};
use super::session::{End, Outgoing, Place, SessionSender, Unsettled};
use super::spans::Spans;
use super::store::{Operation, OperationResult, Store, StoreError};
use super::vitals::{StoreVitals, Vitals};
use super::writer::{Answer, Ask, StoreRuns, Writer};
use crate::core::coordinator::{Caller, Command, Coordinator, Effect, Input, OpId, Reply, Room, Start};
use crate::core::ids::{ParticipantId, SessionId, Ticket};
use crate::core::limits;
use crate::core::measure::Counters;
use crate::core::message::AgentMessage;
use crate::core::record::{Applied, Snapshot, Write};

/// Inputs taken before effects are carried out: many decisions share one commit.
const BATCH: usize = 1024;
/// How long a store that failed is left alone before it is tried again. A store that can be read but not written (a full
/// disk) fails anew right after each start: there is at least this long from one start to the next.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// What is on its way to the store.
#[derive(Clone, Copy, Debug)]
struct Left {
    at: tokio::time::Instant,
    operations: usize,
    writes: bool,
    has_events: bool,
}

impl Left {
    /// It leaves now.
    fn now(group: &[(OpId, Operation)]) -> Self {
        let writes = group.iter().flat_map(|(_, operation)| match operation {
            Operation::Apply(transaction) => transaction.writes.as_slice(),
            Operation::Read(_) => &[],
        });
        Self {
            at: tokio::time::Instant::now(),
            operations: group.len(),
            writes: writes.clone().next().is_some(),
            has_events: writes.into_iter().any(|write| matches!(write, Write::Event(_))),
        }
    }
}

/// What the handle sends.
#[derive(Debug)]
pub(super) enum ToEngine {
    Command {
        command: Box<Command>,
        deadline: Option<Duration>,
        reply: Waiting,
    },
    Open(SessionId, SessionSender, Option<Caller>),
    /// What an agent host said.
    Agent(SessionId, Vec<(Place, AgentMessage)>, Unsettled),
    Closed(SessionId),
    Drain(Duration, oneshot::Sender<()>),
    /// How it is, with up to so many of the requests that are being worked on.
    Look(usize, oneshot::Sender<Vitals>),
}

/// Who waits for a reply.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) reply: oneshot::Sender<Result<Reply, EngineError>>,
    pub(super) seat: Seat,
}

impl Waiting {
    fn answer(self, reply: Result<Reply, EngineError>) {
        // Callers that hung up need no answer; an organizer asks again with its request id.
        self.reply.send(reply).ok();
        drop(self.seat);
    }
}

/// Starts the engine over a store: reads what is live, and runs until the last handle is gone or it is drained.
///
/// `seed` is for jitter and names. The join handle ends when the engine has ended; an error is a reason for the
/// process to end too (it was fenced off by another one).
pub async fn start(
    store: impl Store,
    seed: u64,
) -> Result<(EngineHandle, JoinHandle<Result<(), EngineError>>), StoreError> {
    start_with(store, seed, StoreRuns::OwnThread).await
}

/// [`start`], with a say in where the store runs.
pub async fn start_with(
    store: impl Store,
    seed: u64,
    runs: StoreRuns,
) -> Result<(EngineHandle, JoinHandle<Result<(), EngineError>>), StoreError> {
    start_traced(store, seed, runs, None).await
}

/// [`start_with`], and what traced commands went through is handed to `spans`.
pub async fn start_traced(
    store: impl Store,
    seed: u64,
    runs: StoreRuns,
    spans: Option<Spans>,
) -> Result<(EngineHandle, JoinHandle<Result<(), EngineError>>), StoreError> {
    let reader = store.reader();
    let spawn_failed =
        |error: std::io::Error| StoreError::Unopenable(format!("no thread for the store: {error}"));
    let mut writer = Writer::start(store, runs).map_err(spawn_failed)?;
    let snapshot = read_snapshot(&mut writer).await?;
    let (inputs, inputs_out) = mpsc::channel(limits::ENGINE_QUEUE);
    let closed = Arc::new(Notify::new());
    let (events_in, events) = watch::channel(0);
    let directory = Arc::new(Directory::new());
    let clock = spans.as_ref().map_or_else(Clock::start, Spans::clock);
    let (core, effects) = Coordinator::start(clock.now(), Start { snapshot, seed, room: Room::default() });
    let mut engine = Engine {
        core: Some(core),
        clock,
        seed,
        writer,
        gathered: Vec::new(),
        committing: false,
        left: Left::now(&[]),
        store: StoreVitals::default(),
        overflows: 0,
        past: Counters::default(),
        retry: None,
        restarted: None,
        sessions: HashMap::new(),
        replies: HashMap::new(),
        permits: Vec::new(),
        committing_permits: Vec::new(),
        registering: Vec::new(),
        next_ticket: 0,
        place: Place::default(),
        directory: directory.clone(),
        events: events_in,
        drain: None,
        drained: false,
        fenced: false,
        turns: Arc::new(AtomicU64::new(0)),
        spans,
        lost_phases: 0,
    };
    engine.carry_out(effects);
    let handle = EngineHandle {
        inputs,
        closed: closed.clone(),
        sessions: Arc::new(AtomicU64::new(1)),
        reader: Shared(reader),
        directory,
        events,
        turns: engine.turns.clone(),
    };
    let task = tokio::spawn(engine.run(inputs_out, closed));
    Ok((handle, task))
}

async fn read_snapshot(writer: &mut Writer) -> Result<Snapshot, StoreError> {
    let gone = || StoreError::Unreadable("the store's thread has ended".into());
    writer.asks.send(Ask::Snapshot).await.map_err(|_| gone())?;
    match writer.answers.recv().await {
        Some(Answer::Snapshot(snapshot)) => snapshot.map(|s| *s),
        Some(Answer::Ran(_)) | None => Err(gone()),
    }
}

struct Engine {
    /// `None` while the store is out of order.
    core: Option<Coordinator>,
    clock: Clock,
    seed: u64,
    writer: Writer,
    gathered: Vec<(OpId, Operation)>,
    committing: bool,
    left: Left,
    store: StoreVitals,
    overflows: u64,
    /// What the coordinators counted that the store's failures ended.
    past: Counters,
    retry: Option<tokio::time::Instant>,
    /// When the core last started over.
    restarted: Option<tokio::time::Instant>,
    sessions: HashMap<SessionId, SessionSender>,
    replies: HashMap<Ticket, Waiting>,
    /// Of the streams whose messages caused what is gathered, and what is on its way to the disk.
    permits: Vec<Unsettled>,
    committing_permits: Vec<Unsettled>,
    /// Of those who registered over a stream, until what the store has of them is read: a stream that registers anew before
    /// that would have it read from the beginning, over and over. Whoever registers over another stream meanwhile is that
    /// one's to wait for.
    registering: Vec<(SessionId, Vec<ParticipantId>, Unsettled)>,
    next_ticket: u64,
    /// Where the agent's message stands that the core is being told.
    place: Place,
    directory: Arc<Directory>,
    events: watch::Sender<u64>,
    drain: Option<oneshot::Sender<()>>,
    drained: bool,
    fenced: bool,
    turns: Arc<AtomicU64>,
    /// Who keeps traces, if anybody does.
    spans: Option<Spans>,
    /// Phases of traced jobs that were lost, since the start.
    lost_phases: u64,
}

impl Engine {
    /// Runs to the end, and returns when the store is closed too: whoever starts again finds it free.
    async fn run(mut self, inputs: mpsc::Receiver<ToEngine>, closed: Arc<Notify>) -> Result<(), EngineError> {
        let ended = self.work(inputs, closed).await;
        self.end_all(End::ShuttingDown);
        if self.lost_phases > 0 {
            tracing::warn!(lost = self.lost_phases, "phases of traced jobs were lost");
        }
        self.writer.close().await;
        ended
    }

    async fn work(
        &mut self,
        mut inputs: mpsc::Receiver<ToEngine>,
        closed: Arc<Notify>,
    ) -> Result<(), EngineError> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            self.turns.fetch_add(1, Ordering::Relaxed);
            if self.fenced {
                return Err(EngineError::StoreUnavailable);
            }
            if self.drained && self.gathered.is_empty() && !self.committing {
                self.end_all(End::ShuttingDown);
                if let Some(done) = self.drain.take() {
                    // Whoever asked for the drain may have given up waiting.
                    done.send(()).ok();
                }
                return Ok(());
            }
            self.commit_next();
            let wake = self.core.as_ref().and_then(Coordinator::poll_timeout).map(|at| self.clock.at(at));
            let wake = wake.or(self.retry);
            // However much comes in, deadlines are kept.
            if wake.is_some_and(|at| at <= tokio::time::Instant::now()) {
                self.timeout();
            }
            tokio::select! {
                biased;
                Some(answer) = self.writer.answers.recv() => self.answered(answer),
                () = closed.notified() => self.sweep(),
                n = inputs.recv_many(&mut batch, BATCH) => {
                    if n == 0 {
                        return Ok(());
                    }
                    for input in batch.drain(..) {
                        self.input(input);
                    }
                }
                () = sleep_until(wake) => self.timeout(),
            }
        }
    }

    /// One group at a time is on its way; the rest gathers behind it.
    fn commit_next(&mut self) {
        if self.committing || self.gathered.is_empty() {
            return;
        }
        let rest = self.gathered.split_off(self.gathered.len().min(limits::COMMIT_GROUP));
        let group = std::mem::replace(&mut self.gathered, rest);
        // What is left for the next group keeps its permits: the last of a stream's messages may be among it.
        if self.gathered.is_empty() {
            self.committing_permits.append(&mut self.permits);
        }
        self.committing = true;
        self.left = Left::now(&group);
        // There is room for one question, and none is open; a thread that is gone answers nothing, which ends the loop.
        if self.writer.asks.try_send(Ask::Run(group)).is_err() {
            tracing::error!("the store's thread is gone");
            self.fenced = true;
        }
    }

    fn answered(&mut self, answer: Answer) {
        self.committing = false;
        self.committing_permits.clear();
        match answer {
            Answer::Ran(Ok(results)) => {
                let applied = |(_, result): &(OpId, OperationResult)| {
                    matches!(result, OperationResult::Applied(Applied::Yes))
                };
                if self.left.writes && results.iter().any(applied) {
                    self.committed();
                }
                for (op, result) in results {
                    let input = match result {
                        OperationResult::Applied(applied) => Input::Applied(op, applied),
                        OperationResult::Read(read) => Input::Read(op, read),
                    };
                    self.handle(input);
                }
                for (over, registering, permit) in std::mem::take(&mut self.registering) {
                    if registering.iter().any(|id| self.is_registering(id, over)) {
                        self.registering.push((over, registering, permit));
                    } else if !self.gathered.is_empty() {
                        self.permits.push(permit);
                    }
                }
            }
            Answer::Ran(Err(error)) => self.store_failed(&error),
            Answer::Snapshot(Ok(snapshot)) => self.restart(*snapshot),
            Answer::Snapshot(Err(error)) => {
                tracing::warn!(%error, "the store is still out of order");
                self.retry = Some(tokio::time::Instant::now() + STORE_PAUSE);
            }
        }
    }

    /// A group that writes is on disk.
    fn committed(&mut self) {
        self.store.commits.record(self.left.at.elapsed());
        self.store.sizes.record(self.left.operations);
        if std::mem::take(&mut self.store.doubtful) {
            tracing::info!("the store is in order again");
        }
        if self.left.has_events {
            self.events.send_modify(|n| *n += 1);
        }
    }

    /// Never guess what is on disk: everything in memory is dropped, and read anew.
    fn store_failed(&mut self, error: &StoreError) {
        tracing::error!(%error, "the store failed: starting over from what it has");
        self.store.failures += 1;
        self.store.failed_commits += u64::from(self.left.writes);
        self.store.doubtful = true;
        if let Some(core) = self.core.take() {
            self.past.add(&core.counters());
        }
        self.gathered.clear();
        self.permits.clear();
        self.registering.clear();
        self.end_all(End::StoreFailed);
        for (_, reply) in self.replies.drain() {
            reply.answer(Err(EngineError::StoreUnavailable));
        }
        let now = tokio::time::Instant::now();
        self.retry = Some(self.restarted.map_or(now, |restarted| now.max(restarted + STORE_PAUSE)));
    }

    fn restart(&mut self, snapshot: Snapshot) {
        self.retry = None;
        self.restarted = Some(tokio::time::Instant::now());
        self.seed = self.seed.wrapping_add(1);
        let start = Start { snapshot, seed: self.seed, room: Room::default() };
        let (core, effects) = Coordinator::start(self.clock.now(), start);
        self.core = Some(core);
        // Which writes that it began: only then is it known whether the store can be written.
        self.carry_out(effects);
        if let Some(done) = self.drain.take() {
            self.begin_drain(Duration::ZERO, done);
        }
    }

    fn timeout(&mut self) {
        match (&self.core, self.retry) {
            (Some(_), _) => self.handle(Input::Timeout),
            (None, Some(_)) if !self.committing => {
                self.retry = None;
                self.committing = true;
                self.left = Left::now(&[]);
                if self.writer.asks.try_send(Ask::Snapshot).is_err() {
                    self.fenced = true;
                }
            }
            (None, _) => {}
        }
    }

    fn input(&mut self, input: ToEngine) {
        match input {
            ToEngine::Command { command, deadline, reply } if self.core.is_some() => {
                self.next_ticket += 1;
                let ticket = Ticket(self.next_ticket);
                self.replies.insert(ticket, reply);
                self.handle(Input::Command { ticket, command: *command, deadline });
            }
            ToEngine::Command { reply, .. } => reply.answer(Err(EngineError::StoreUnavailable)),
            ToEngine::Open(id, mut sender, caller) => match (&self.core, &self.drain) {
                (None, _) => sender.end(End::StoreFailed),
                (_, Some(_)) => sender.end(End::ShuttingDown),
                // Its end was noted before its beginning came through the queue.
                _ if sender.is_gone() => {}
                (Some(_), None) => {
                    self.sessions.insert(id, sender);
                    if let Some(caller) = caller {
                        self.handle(Input::SessionOpened(id, caller));
                    }
                }
            },
            ToEngine::Agent(id, messages, permit) => {
                let mut registering: Vec<ParticipantId> = Vec::new();
                for (place, message) in messages {
                    if self.sessions.contains_key(&id) {
                        self.place = place;
                        if let AgentMessage::Register(register) = &message {
                            registering.push(register.participant.clone());
                        }
                        self.handle(Input::Agent(id, message));
                    }
                }
                if registering.iter().any(|participant| self.is_registering(participant, id)) {
                    self.registering.push((id, registering, permit));
                } else if !self.gathered.is_empty() {
                    self.permits.push(permit);
                }
            }
            ToEngine::Closed(id) => self.closed(id),
            ToEngine::Drain(grace, done) => self.begin_drain(grace, done),
            // Who asked may have stopped waiting.
            ToEngine::Look(limit, reply) => drop(reply.send(self.vitals(limit))),
        }
    }

    fn is_registering(&self, participant: &ParticipantId, over: SessionId) -> bool {
        self.core.as_ref().is_some_and(|core| core.is_registering(participant, over))
    }

    fn vitals(&self, limit: usize) -> Vitals {
        let mut counters = self.past;
        if let Some(core) = &self.core {
            counters.add(&core.counters());
        }
        let now = self.clock.now();
        Vitals {
            counters,
            gauges: self.core.as_ref().map(Coordinator::gauges),
            sessions: self.sessions.len(),
            callers: self.replies.len(),
            store: StoreVitals {
                outstanding: if self.committing { self.left.at.elapsed() } else { Duration::ZERO },
                ..self.store
            },
            overflows: self.overflows,
            in_flight: self.core.as_ref().map(|core| core.in_flight(now, limit)).unwrap_or_default(),
        }
    }

    fn begin_drain(&mut self, grace: Duration, done: oneshot::Sender<()>) {
        self.drain = Some(done);
        match self.core {
            Some(_) => self.handle(Input::Drain(grace)),
            None => self.drained = true,
        }
    }

    fn closed(&mut self, id: SessionId) {
        if self.sessions.remove(&id).is_some() && self.core.is_some() {
            self.handle(Input::SessionClosed(id));
        }
    }

    /// Closes every stream that is gone.
    fn sweep(&mut self) {
        let gone = self.sessions.iter().filter(|(_, sender)| sender.is_gone());
        let gone: Vec<SessionId> = gone.map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.closed(id));
    }

    fn handle(&mut self, input: Input) {
        let now = self.clock.now();
        if let Some(core) = &mut self.core {
            let effects = core.handle(now, input);
            if let Some(spans) = &self.spans {
                let (phases, lost) = core.take_phases();
                phases.into_iter().for_each(|phase| spans.phase(phase));
                if lost > 0 && self.lost_phases == 0 {
                    tracing::warn!("more is traced than can be kept: some phases are lost");
                }
                self.lost_phases += lost;
            }
            self.carry_out(effects);
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut behind = Vec::new();
        for effect in effects {
            match effect {
                Effect::Apply(op, transaction) => self.gathered.push((op, Operation::Apply(transaction))),
                Effect::Read(op, read) => self.gathered.push((op, Operation::Read(read))),
                Effect::Send(session, to, message, trace) => {
                    if !self.send(session, Outgoing::Message(to, message, trace)) {
                        behind.push(session);
                    }
                }
                Effect::Reject(session, participant, why) => {
                    if !self.send(session, Outgoing::Rejected(participant, why, self.place)) {
                        behind.push(session);
                    }
                }
                Effect::Reply(ticket, reply) => {
                    if let Some(waiting) = self.replies.remove(&ticket) {
                        waiting.answer(Ok(reply));
                    }
                }
                Effect::Participant(row, since, remarks) => {
                    // Said once, not with each registration.
                    let new =
                        || self.directory.get(&row.id).is_none_or(|known| known.remarks.zone != remarks.zone);
                    if let Some(problem) = remarks.zone.problem().filter(|_| since.is_some() && new()) {
                        tracing::warn!(participant = %row.id, "{problem}");
                    }
                    self.directory.set(row, since, remarks);
                }
                Effect::Forgotten(participant) => {
                    tracing::debug!(%participant, "forgotten: there was no room for another name");
                    self.directory.remove(&participant);
                }
                Effect::Alarm(text) => tracing::error!(alarm = true, "{text}"),
                Effect::Fenced => {
                    tracing::error!("another scheduler has taken over the store");
                    self.fenced = true;
                }
                Effect::Drained => self.drained = true,
            }
        }
        for session in behind {
            self.overflow(session);
        }
    }

    fn send(&self, session: SessionId, outgoing: Outgoing) -> bool {
        self.sessions.get(&session).is_none_or(|sender| sender.send(outgoing))
    }

    /// A stream that reads too slowly delays nobody: it ends, and reconciliation heals it.
    fn overflow(&mut self, id: SessionId) {
        if let Some(mut sender) = self.sessions.remove(&id) {
            self.overflows += 1;
            tracing::warn!(session = id.0, "a stream is too far behind, or gone: ended");
            sender.end(End::Overflow);
            self.handle(Input::SessionClosed(id));
        }
    }

    fn end_all(&mut self, why: End) {
        for (_, mut sender) in self.sessions.drain() {
            if why == End::ShuttingDown {
                sender.send(Outgoing::Drain);
            }
            sender.end(why);
        }
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
