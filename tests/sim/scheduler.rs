//! The scheduler of the simulated world: the real coordinator over the memory store, with group commit.

use quorate::core::coordinator::{Coordinator, Counters, Effect, Input, OpId, Start};
use quorate::core::ids::{Attempt, SessionId};
use quorate::core::message::SchedulerMessage;
use quorate::core::record::{Applied, AttemptRow, AttemptState, DeliveryBody, Snapshot, Write};
use quorate::core::time::Now;
use quorate::engine::store::{Operation, OperationResult, Store, StoreError};
use quorate::store::{MemoryDisk, MemoryStore, StoreFault};

use super::plan::{chance, millis};
use super::trace::{self, short};
use super::world::{Event, World};

pub type Group = Vec<(OpId, Operation)>;

#[derive(Default)]
pub struct Scheduler {
    pub disk: MemoryDisk,
    pub store: MemoryStore,
    pub core: Option<Coordinator>,
    /// Tells the answers of one process from those of the next.
    pub life: u64,
    /// Waits for the group before it.
    pub gathered: Group,
    /// On its way to the disk.
    pub writing: Option<Group>,
    /// On the disk, and its answers on their way back.
    pub answers: Option<Vec<(OpId, OperationResult)>>,
    /// Of all lives before this one.
    past: Counters,
}

impl Scheduler {
    pub fn new() -> Self {
        let disk = MemoryDisk::new();
        Self { store: MemoryStore::on(&disk), disk, ..Self::default() }
    }

    pub fn start(&mut self, now: Now, seed: u64) -> (Snapshot, Vec<quorate::core::coordinator::Effect>) {
        self.life += 1;
        self.store = MemoryStore::on(&self.disk);
        let snapshot = self.store.snapshot().expect("a snapshot");
        let start = Start { snapshot: snapshot.clone(), seed: seed ^ self.life };
        let (core, effects) = Coordinator::start(now, start);
        self.core = Some(core);
        (snapshot, effects)
    }

    /// Everything in memory is gone but for the group on its way to the disk.
    pub fn kill(&mut self) {
        self.past = self.counters();
        self.core = None;
        self.gathered.clear();
    }

    /// Nothing is on its way any more.
    pub fn forget(&mut self) {
        self.writing = None;
        self.answers = None;
    }

    pub fn counters(&self) -> Counters {
        let now = self.core.as_ref().map(Coordinator::counters).unwrap_or_default();
        Counters { pushed: self.past.pushed + now.pushed, lineages: self.past.lineages + now.lineages, ..now }
    }

    pub fn is_idle(&self) -> bool {
        let busy = self.writing.is_some() || self.answers.is_some() || !self.gathered.is_empty();
        !busy && self.core.as_ref().is_some_and(|core| core.live_count() == 0)
    }
}

impl World {
    /// Hands one input to the scheduler and does what it says.
    pub(super) fn input(&mut self, input: Input) {
        let now = self.clocks();
        let Some(core) = &mut self.scheduler.core else { return };
        let effects = core.handle(now, input);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if self.trace.full {
                self.trace.line(self.now, format_args!("{effect:?}"));
            }
            match effect {
                Effect::Apply(op, transaction) => {
                    self.scheduler.gathered.push((op, Operation::Apply(transaction)));
                }
                Effect::Read(op, read) => self.scheduler.gathered.push((op, Operation::Read(read))),
                Effect::Send(session, to, message) => {
                    if matches!(message, SchedulerMessage::Superseded { .. }) {
                        self.tally.saw("an older stream was superseded");
                    }
                    self.send_to_agents(session, &to, &message);
                }
                Effect::Reject(_, participant, why) => {
                    self.trace.line(self.now, format_args!("rejected {participant}: {why:?}"));
                }
                Effect::Reply(ticket, reply) => {
                    self.trace.line(self.now, format_args!("reply {ticket:?} {}", trace::outcome(&reply)));
                    self.organizers.answered(self.now, ticket, &reply, &mut self.tally);
                }
                Effect::Participant(..) | Effect::Drained => {}
                Effect::Alarm(text) => {
                    self.trace.line(self.now, format_args!("ALARM {text}"));
                    if !self.plan.journals_lost {
                        self.broken.push(format!("alarm: {text}"));
                    }
                }
                Effect::Fenced => self.broken.push("fenced off, with one scheduler".into()),
            }
        }
        self.commit();
    }

    fn commit(&mut self) {
        let scheduler = &mut self.scheduler;
        if scheduler.writing.is_some() || scheduler.answers.is_some() || scheduler.gathered.is_empty() {
            return;
        }
        scheduler.writing = Some(std::mem::take(&mut scheduler.gathered));
        let slow = self.faults && chance(&mut self.random, 50);
        let delay = millis(&mut self.random, 1, if slow { 300 } else { 8 });
        let life = self.scheduler.life;
        self.after(delay, Event::Disk(life));
    }

    pub(super) fn hit_disk(&mut self) {
        let crash = self.faults && chance(&mut self.random, self.plan.crash_at_commit);
        let fault = crash && chance(&mut self.random, 300);
        if fault {
            let faults = [StoreFault::NotApplied, StoreFault::UnknownApplied, StoreFault::UnknownLost];
            self.scheduler.disk.fail_next(faults[self.random.below(3) as usize]);
            self.tally.saw("the store's answer was lost");
        }
        self.write_group();
        if crash && self.scheduler.core.is_some() {
            self.crash_scheduler();
        } else if self.scheduler.answers.is_some() {
            let delay = millis(&mut self.random, 0, 3);
            let life = self.scheduler.life;
            self.after(delay, Event::Answer(life));
        }
    }

    /// The group on its way is applied. An error starts the scheduler over: never guess what is on disk.
    fn write_group(&mut self) {
        let Some(group) = self.scheduler.writing.take() else { return };
        let operations: Vec<Operation> = group.iter().map(|(_, operation)| operation.clone()).collect();
        let results = self.scheduler.store.run(&operations);
        self.checker.committed(&mut self.scheduler.store, &operations, results.as_deref().ok());
        self.trace_group(&group, results.as_deref().ok());
        match results {
            Ok(results) => {
                let answers = group.into_iter().zip(results).map(|((op, _), result)| (op, result)).collect();
                self.scheduler.answers = Some(answers);
            }
            Err(StoreError::NotApplied(_) | StoreError::Unknown(_)) => self.crash_scheduler(),
            Err(error) => self.broken.push(format!("the store: {error}")),
        }
    }

    fn trace_group(&mut self, group: &[(OpId, Operation)], results: Option<&[OperationResult]>) {
        for (index, (_, operation)) in group.iter().enumerate() {
            let Operation::Apply(transaction) = operation else { continue };
            let result = results.map(|r| &r[index]);
            if let Some(OperationResult::Applied(Applied::Conflict(condition))) = result {
                self.trace.line(self.now, format_args!("disk: CONFLICT {condition:?}"));
            }
            for write in &transaction.writes {
                match write {
                    Write::Attempt(row) => self.trace.line(
                        self.now,
                        format_args!(
                            "disk: {} {:?} {:?} C={:?}",
                            short(&row.attempt),
                            row.state,
                            row.slot,
                            row.commit_set
                        ),
                    ),
                    Write::AttemptState(attempt, state) => {
                        self.trace.line(self.now, format_args!("disk: {} {state:?}", short(attempt)));
                    }
                    _ => {}
                }
            }
        }
    }

    pub(super) fn answer(&mut self) {
        let answers = self.scheduler.answers.take().unwrap_or_default();
        for (op, result) in answers {
            let input = match result {
                OperationResult::Applied(applied) => Input::Applied(op, applied),
                OperationResult::Read(read) => Input::Read(op, read),
            };
            self.input(input);
        }
        self.commit();
    }

    pub(super) fn start_scheduler(&mut self) {
        if self.scheduler.core.is_some() {
            return;
        }
        self.trace.line(self.now, format_args!("scheduler starts"));
        let now = self.clocks();
        let (snapshot, effects) = self.scheduler.start(now, self.plan.seed);
        self.checker.restarted(&snapshot.participants);
        self.carry_out(effects);
        for call in self.organizers.ask_again(self.now) {
            self.call(call);
        }
    }

    pub(super) fn crash_scheduler(&mut self) {
        if self.scheduler.core.is_none() {
            return;
        }
        self.trace.line(self.now, format_args!("scheduler crashes"));
        self.count_crash();
        let written = self.scheduler.writing.is_some() && chance(&mut self.random, 500);
        // A process that dies while it syncs may have synced.
        self.scheduler.kill();
        if written {
            self.write_group();
        }
        self.scheduler.forget();
        self.organizers.scheduler_crashed(&mut self.random);
        let open: Vec<SessionId> = self.links.iter().filter(|(_, l)| l.open).map(|(id, _)| *id).collect();
        for session in open {
            if let Some(link) = self.links.get_mut(&session) {
                link.open = false;
                let host = link.host;
                let delay = millis(&mut self.random, 0, 200);
                self.after(delay, Event::Lost(host, session));
            }
        }
        let delay = millis(&mut self.random, 10, 5_000);
        self.after(delay, Event::StartScheduler);
    }

    fn count_crash(&mut self) {
        if self.scheduler.writing.is_some() {
            self.tally.saw("the scheduler crashed with a commit in flight");
        }
        let answers: Vec<OpId> = self.scheduler.answers.iter().flatten().map(|(op, _)| *op).collect();
        if answers.is_empty() {
            return;
        }
        // What was on the disk and not yet known to the scheduler when it went.
        let rows = self.checker.store.attempts.values();
        let state = |wanted: AttemptState| move |row: &&AttemptRow| row.state == wanted;
        if rows.clone().filter(state(AttemptState::Holding)).any(|row| self.is_unheard(&row.attempt)) {
            self.tally.saw("the scheduler crashed between D1 and the holds");
        }
        let confirms = &self.checker.store.deliveries;
        if confirms.iter().any(|d| matches!(d.body, DeliveryBody::Confirm { .. })) {
            self.tally.saw("the scheduler crashed between D3 and the confirms");
        }
    }

    /// Whether no agent holds it: nobody was sent the hold yet.
    fn is_unheard(&self, attempt: &Attempt) -> bool {
        self.checker.agents.iter().all(|agent| !agent.promises.contains_key(attempt))
    }
}
