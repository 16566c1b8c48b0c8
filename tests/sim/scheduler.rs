//! The scheduler of the simulated world: the real coordinator over the memory store, with group commit.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::core::availability::Disclosure;
use quorate::core::checks;
use quorate::core::coordinator::{Coordinator, Counters, Effect, Input, OpId, Rejected, Reply, Room, Start};
use quorate::core::ids::{Attempt, ParticipantId, SeriesId, SessionId, Ticket};
use quorate::core::invariants::StoreView;
use quorate::core::message::{AgentMessage, Origin, Register, SchedulerMessage};
use quorate::core::random::Random;
use quorate::core::record::{Applied, AttemptRow, AttemptState, DeliveryBody, Snapshot, Write};
use quorate::core::series::Series;
use quorate::core::time::{Mono, Now};
use quorate::engine::store::{Operation, OperationResult, Store, StoreError};
use quorate::store::{MemoryDisk, MemoryStore, StoreFault};

use super::clock::Clock;
use super::plan::{chance, millis};
use super::trace::{self, short};
use super::world::{Event, Link, World};

pub type Group = Vec<(OpId, Operation)>;

/// One process of the scheduler's. More than one may live for a while; all but the newest are fenced off.
pub struct Process {
    core: Coordinator,
    store: MemoryStore,
    /// Waits for the group before it.
    gathered: Group,
    /// On its way to the disk.
    writing: Option<Group>,
    /// On the disk, and its answers on their way back.
    answers: Option<Vec<(OpId, OperationResult)>>,
    draining: bool,
    drained: bool,
}

/// A copy of the store, and what the checker knew of it then.
struct Backup {
    disk: MemoryDisk,
    view: StoreView,
    series: BTreeMap<SeriesId, Series>,
    /// Of the process that wrote it.
    life: u64,
}

pub struct Scheduler {
    disk: MemoryDisk,
    processes: BTreeMap<u64, Process>,
    /// The process that agents and organizers find.
    pub current: Option<u64>,
    lives: u64,
    /// Counters of all processes that are gone.
    past: Counters,
    pub clock: Clock,
    pub random: Random,
    backup: Option<Backup>,
    /// A copy is wanted as soon as something is HOLDING; whether a crash follows.
    pub backup_next: Option<bool>,
    /// Another process is to start as soon as something is HOLDING.
    pub second_next: bool,
    starting: bool,
    /// For names.
    room: Room,
    /// It takes until then to put a copy back.
    not_before: Mono,
}

impl Scheduler {
    pub fn new(seed: u64, rate: u64, room: Room) -> Self {
        Self {
            disk: MemoryDisk::new(),
            processes: BTreeMap::new(),
            current: None,
            lives: 0,
            past: Counters::default(),
            clock: Clock::new(rate),
            random: Random::new(seed),
            backup: None,
            backup_next: None,
            second_next: false,
            starting: false,
            room,
            not_before: Mono::default(),
        }
    }

    fn start(&mut self, now: Now, seed: u64) -> (Snapshot, Vec<Effect>) {
        self.lives += 1;
        let mut store = MemoryStore::on(&self.disk);
        let snapshot = store.snapshot().expect("a snapshot");
        let start = Start { snapshot: snapshot.clone(), seed: seed ^ self.lives, room: self.room };
        let (core, effects) = Coordinator::start(now, start);
        let process = Process {
            core,
            store,
            gathered: Vec::new(),
            writing: None,
            answers: None,
            draining: false,
            drained: false,
        };
        self.processes.insert(self.lives, process);
        self.current = Some(self.lives);
        (snapshot, effects)
    }

    fn process(&mut self, life: u64) -> Option<&mut Process> {
        self.processes.get_mut(&life)
    }

    /// The process that takes new streams.
    pub fn takes_streams(&self) -> Option<u64> {
        self.current.filter(|life| self.processes.get(life).is_some_and(|process| !process.draining))
    }

    pub fn lives(&self, life: u64) -> bool {
        self.processes.contains_key(&life)
    }

    pub fn counters(&self) -> Counters {
        let add = |sum: Counters, process: &Process| {
            let more = process.core.counters();
            Counters { pushed: sum.pushed + more.pushed, lineages: sum.lineages + more.lineages, ..sum }
        };
        self.processes.values().fold(self.past, add)
    }

    pub fn is_idle(&self) -> bool {
        let quiet = |process: &Process| {
            process.writing.is_none()
                && process.answers.is_none()
                && process.gathered.is_empty()
                && process.core.live_count() == 0
        };
        self.current.is_some() && self.processes.values().all(quiet)
    }

    /// When a process has to be woken, in the world's time, and which.
    pub fn next_timer(&self) -> Option<(Mono, u64)> {
        let timers = self.processes.iter();
        timers.filter_map(|(life, p)| Some((self.clock.when(p.core.poll_timeout()?), *life))).min()
    }

    /// Confirms and releases that are kept in memory.
    pub fn undelivered(&self) -> usize {
        let current = self.current.and_then(|life| self.processes.get(&life));
        current.map_or(0, |process| process.core.undelivered_count())
    }
}

impl World {
    /// Hands one input to a process of the scheduler's and does what it says.
    pub(super) fn input(&mut self, life: u64, input: Input) {
        let now = self.scheduler.clock.now(self.now);
        let Some(process) = self.scheduler.process(life) else { return };
        let effects = process.core.handle(now, input);
        self.carry_out(life, effects);
    }

    fn carry_out(&mut self, life: u64, effects: Vec<Effect>) {
        for effect in effects {
            let may_crash = self.faults && !self.scheduler.starting;
            if may_crash && chance(&mut self.scheduler.random, self.plan.rates.crash_between) {
                self.tally.saw("the scheduler crashed between two actions");
                return self.crash_scheduler(life);
            }
            // What a message's trace is, is no part of what happens: agents hear the same with and without one.
            let effect = match effect {
                Effect::Send(session, to, message, _) => Effect::Send(session, to, message, None),
                other => other,
            };
            if self.trace.full {
                self.trace.line(self.now, format_args!("{effect:?}"));
            }
            let Some(process) = self.scheduler.process(life) else { return };
            match effect {
                Effect::Apply(op, transaction) => process.gathered.push((op, Operation::Apply(transaction))),
                Effect::Read(op, read) => process.gathered.push((op, Operation::Read(read))),
                Effect::Drained => process.drained = true,
                Effect::Send(session, to, message, _) => {
                    if matches!(message, SchedulerMessage::Superseded { .. }) {
                        self.tally.saw("an older stream was superseded");
                    }
                    if let (SchedulerMessage::Registered(answer), true) =
                        (&message, self.scheduler.current == Some(life))
                    {
                        let lacked = !answer.bookings.is_empty();
                        // What its host said over an older stream, before it lost what it knew, may be on its way.
                        let host = self.links.get(&session).map(|link| link.host);
                        let older = self.links.range(..session).filter(|(_, link)| link.open);
                        if !older.map(|(_, link)| Some(link.host)).any(|of| of == host) {
                            self.explained.settled(answer.participant.as_str(), session, lacked);
                        }
                    }
                    self.send_to_agents(session, &to, &message);
                }
                Effect::Reject(_, participant, why) => {
                    self.trace.line(self.now, format_args!("rejected {participant}: {why:?}"));
                    let locked_out = matches!(why, Rejected::TooManyKnown | Rejected::TooManyOnStream);
                    if locked_out && self.scheduler.current == Some(life) {
                        self.broken.push(format!("{participant} is not let in: {why:?}"));
                    }
                }
                Effect::Reply(ticket, reply) => self.reply(ticket, &reply),
                Effect::Participant(..) => {}
                Effect::Forgotten(participant) => self.forgotten(life, &participant),
                Effect::Alarm(text) => {
                    self.trace.line(self.now, format_args!("ALARM {text}"));
                    // An older process that is about to be fenced off reads what the newer one wrote.
                    if !self.explained.alarm(&text) && self.scheduler.current == Some(life) {
                        self.broken.push(format!("alarm: {text}"));
                    }
                }
                Effect::Fenced => return self.fenced(life),
            }
        }
        self.commit(life);
    }

    fn reply(&mut self, ticket: Ticket, reply: &Reply) {
        self.trace.line(self.now, format_args!("reply {ticket:?} {}", trace::outcome(reply)));
        if let Reply::Meeting(meeting) | Reply::Changed(meeting, _) = reply {
            let early = checks::answered_after_disk(&self.checker.store, meeting);
            self.broken.extend(early.map(|violation| violation.to_string()));
        }
        self.organizers.answered(self.now, ticket, reply, &mut self.tally);
    }

    fn fenced(&mut self, life: u64) {
        self.trace.line(self.now, format_args!("scheduler {life} is fenced off"));
        if self.scheduler.current == Some(life) {
            return self.broken.push("the newest scheduler is fenced off".into());
        }
        self.tally.saw("an older scheduler was fenced off");
        self.end_process(life);
    }

    fn commit(&mut self, life: u64) {
        let faults = self.faults;
        let scheduler = &mut self.scheduler;
        let Some(process) = scheduler.processes.get_mut(&life) else { return };
        if process.writing.is_some() || process.answers.is_some() {
            return;
        }
        if process.gathered.is_empty() {
            if process.drained {
                self.stop_drained(life);
            }
            return;
        }
        process.writing = Some(std::mem::take(&mut process.gathered));
        let slow = faults && chance(&mut scheduler.random, 50);
        let delay = millis(&mut scheduler.random, 1, if slow { 300 } else { 8 });
        self.after(delay, Event::Disk(life));
    }

    pub(super) fn hit_disk(&mut self, life: u64) {
        let random = &mut self.scheduler.random;
        let crash = self.faults && chance(random, self.plan.rates.crash_at_commit);
        let writes = self.scheduler.processes.get(&life).is_some_and(|process| process.writing.is_some());
        // Without anything to write the fault would wait for whoever reads next: the checker.
        if crash && writes && chance(random, 300) {
            let faults = [StoreFault::NotApplied, StoreFault::UnknownApplied, StoreFault::UnknownLost];
            let fault = faults[random.below(3) as usize];
            self.scheduler.disk.fail_next(fault);
            self.tally.saw("the store's answer was lost");
            if fault == StoreFault::UnknownApplied && self.decides(life) {
                self.tally.saw("a decision whose answer was lost");
            }
        }
        self.write_group(life);
        let then_crash = self.backup_if_wanted();
        self.second_if_wanted();
        self.restore_if_it_hurts();
        if crash || then_crash {
            self.crash_scheduler(life);
        } else if self.scheduler.process(life).is_some_and(|process| process.answers.is_some()) {
            let delay = millis(&mut self.scheduler.random, 0, 3);
            self.after(delay, Event::Answer(life));
        }
    }

    /// Whether a decision is on its way to the disk.
    fn decides(&mut self, life: u64) -> bool {
        let group = self.scheduler.process(life).and_then(|process| process.writing.as_ref());
        group.into_iter().flatten().any(|(_, operation)| match operation {
            Operation::Apply(transaction) => transaction
                .writes
                .iter()
                .any(|write| matches!(write, Write::Attempt(row) if row.state == AttemptState::Committed)),
            Operation::Read(_) => false,
        })
    }

    /// The group on its way is applied. An error starts the scheduler over: never guess what is on disk.
    fn write_group(&mut self, life: u64) {
        let Some(process) = self.scheduler.processes.get_mut(&life) else { return };
        let Some(group) = process.writing.take() else { return };
        let operations: Vec<Operation> = group.iter().map(|(_, operation)| operation.clone()).collect();
        let results = process.store.run(&operations);
        self.checker.committed(&mut process.store, &operations, results.as_deref().ok());
        self.trace_group(&group, results.as_deref().ok());
        match results {
            Ok(results) => {
                let answers = group.into_iter().zip(results).map(|((op, _), result)| (op, result)).collect();
                if let Some(process) = self.scheduler.process(life) {
                    process.answers = Some(answers);
                }
            }
            Err(StoreError::NotApplied(_) | StoreError::Unknown(_)) => self.crash_scheduler(life),
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

    pub(super) fn answer(&mut self, life: u64) {
        let Some(process) = self.scheduler.process(life) else { return };
        for (op, result) in process.answers.take().unwrap_or_default() {
            let input = match result {
                OperationResult::Applied(applied) => Input::Applied(op, applied),
                OperationResult::Read(read) => Input::Read(op, read),
            };
            self.input(life, input);
        }
        self.commit(life);
    }

    pub(super) fn start_scheduler(&mut self) {
        if self.scheduler.current.is_some() {
            return;
        }
        if self.now < self.scheduler.not_before {
            return self.at(self.scheduler.not_before, Event::StartScheduler);
        }
        self.new_process(false);
    }

    /// Starts a process on the store as it is. Beside another one it takes the store over at once: what reads the
    /// store and what fences the older process off must not be apart (a store has one writer).
    fn new_process(&mut self, at_once: bool) {
        self.trace.line(self.now, format_args!("scheduler {} starts", self.scheduler.lives + 1));
        let now = self.scheduler.clock.now(self.now);
        let (snapshot, effects) = self.scheduler.start(now, self.plan.seed);
        let life = self.scheduler.lives;
        self.checker.restarted(&snapshot.participants);
        // Half a start would leave an older process that nobody knows of.
        self.scheduler.starting = at_once;
        self.carry_out(life, effects);
        self.scheduler.starting = false;
        if at_once {
            self.write_group(life);
            self.after(Duration::from_millis(1), Event::Answer(life));
        }
        for call in self.organizers.ask_again(self.now) {
            self.call(call);
        }
    }

    /// The copy is put back while a later life asks for what was HOLDING in it: the next life will ask as well.
    fn restore_if_it_hurts(&mut self) {
        let holding = |view: &StoreView| -> Vec<_> {
            let rows = view.attempts.values().filter(|row| row.state == AttemptState::Holding);
            rows.map(|row| row.attempt.meeting.clone()).collect()
        };
        let Some(backup) = &self.scheduler.backup else { return };
        if !self.faults || self.scheduler.lives <= backup.life {
            return;
        }
        let (then, now) = (holding(&backup.view), holding(&self.checker.store));
        if then.iter().any(|meeting| now.contains(meeting)) && chance(&mut self.scheduler.random, 300) {
            let soon = millis(&mut self.scheduler.random, 5, 300);
            self.after(soon, Event::RestoreStore);
        }
    }

    /// Starts a second process before the votes are in, or with them.
    fn second_if_wanted(&mut self) {
        let holding = self.checker.store.attempts.values().any(|row| row.state == AttemptState::Holding);
        if self.faults && holding && std::mem::take(&mut self.scheduler.second_next) {
            let soon = millis(&mut self.scheduler.random, 1, 40);
            self.after(soon, Event::SecondScheduler);
        }
    }

    pub(super) fn second_scheduler(&mut self) {
        let Some(older) = self.scheduler.current else { return };
        self.tally.saw("a second scheduler started beside the first");
        self.new_process(true);
        // Whoever fenced it off ends it some time.
        let delay = millis(&mut self.scheduler.random, 100, 20_000);
        self.after(delay, Event::EndProcess(older));
    }

    /// A made-up name comes, and the one before it has left.
    pub(super) fn stranger(&mut self) {
        /// Far from all streams of hosts.
        const FIRST: u64 = 1 << 40;
        if let Some((life, session)) = self.strangers.1.take() {
            self.checker.closed(session);
            self.input(life, Input::SessionClosed(session));
        }
        let Some(life) = self.scheduler.takes_streams() else { return };
        let session = SessionId(FIRST + self.strangers.0);
        let name = format!("stranger-{}", self.strangers.0);
        let register = Register {
            participant: ParticipantId::new(&name),
            display_name: String::new(),
            time_zone: None,
            zone_data: None,
            calendar_problem: String::new(),
            disclosure: Disclosure::FreeBusy,
            journal_id: format!("journal of {name}"),
            journal_sequence: 0,
            held: Vec::new(),
            booked: Vec::new(),
            withdrawn: Vec::new(),
            scheduler_generation: 0,
            scheduler_incarnation: String::new(),
            origin: Origin::default(),
        };
        self.strangers = (self.strangers.0 + 1, Some((life, session)));
        self.trace.line(self.now, format_args!("{name} registers with scheduler {life}"));
        let message = AgentMessage::Register(Box::new(register));
        self.checker.heard(session, &message);
        self.input(life, Input::Agent(session, message));
    }

    /// Whoever is forgotten was never needed by anybody.
    fn forgotten(&mut self, life: u64, participant: &ParticipantId) {
        self.trace.line(self.now, format_args!("{participant} is forgotten"));
        if self.scheduler.current == Some(life) {
            self.broken.extend(self.checker.forgot(participant).map(|violation| violation.to_string()));
        }
        if participant.as_str().starts_with('p') {
            self.tally.saw("a participant was forgotten for a stranger");
        }
    }

    pub(super) fn drain(&mut self, grace: Duration) {
        let Some(life) = self.scheduler.takes_streams() else { return };
        self.trace.line(self.now, format_args!("scheduler {life} drains within {grace:?}"));
        if self.checker.store.attempts.values().any(|row| row.state == AttemptState::Holding) {
            self.tally.saw("a drain while HOLDING");
        }
        if let Some(process) = self.scheduler.process(life) {
            process.draining = true;
        }
        self.input(life, Input::Drain(grace));
    }

    fn stop_drained(&mut self, life: u64) {
        self.trace.line(self.now, format_args!("scheduler {life} has drained"));
        self.tally.saw("a scheduler drained");
        self.end_process(life);
    }

    /// Copies the store if that is wanted and something is HOLDING. Returns whether a crash is to follow.
    fn backup_if_wanted(&mut self) -> bool {
        let holding = self.checker.store.attempts.values().any(|row| row.state == AttemptState::Holding);
        let Some(then_crash) = self.scheduler.backup_next.take_if(|_| holding) else { return false };
        self.trace.line(self.now, format_args!("the store is copied"));
        let backup = Backup {
            disk: self.scheduler.disk.copy(),
            view: self.checker.store.clone(),
            series: self.checker.series.clone(),
            life: self.scheduler.lives,
        };
        self.scheduler.backup = Some(backup);
        then_crash && self.faults
    }

    /// An operator puts the copy back: everything stops, and starts again from it.
    pub(super) fn restore(&mut self) {
        self.backup_if_wanted();
        let Some(Backup { disk, view, series, .. }) = self.scheduler.backup.take() else { return };
        self.trace.line(self.now, format_args!("the store is put back"));
        self.tally.saw("the store was restored from an older copy");
        self.checker.series = series;
        if self.checker.restored(view) {
            self.tally.saw("a restored store lost a decision");
        }
        let before = self.newest_stream();
        (0..self.truth.len()).for_each(|who| self.explained.lost(&format!("p{who}"), before));
        for life in self.scheduler.processes.keys().copied().collect::<Vec<_>>() {
            self.end_process(life);
        }
        self.scheduler.disk = disk;
        self.scheduler.not_before = self.now + Duration::from_secs(1);
        self.organizers.store_restored();
        self.at(self.scheduler.not_before, Event::StartScheduler);
    }

    /// A process that dies while it syncs may have synced.
    pub(super) fn crash_scheduler(&mut self, life: u64) {
        if !self.scheduler.lives(life) {
            return;
        }
        self.trace.line(self.now, format_args!("scheduler {life} crashes"));
        self.count_crash(life);
        let writes = self.scheduler.process(life).is_some_and(|process| process.writing.is_some());
        if writes && chance(&mut self.scheduler.random, 500) {
            self.write_group(life);
        }
        self.end_process(life);
    }

    /// The process is gone, with everything in its memory; its streams end. Another one starts if it was the newest.
    pub(super) fn end_process(&mut self, life: u64) {
        let Some(process) = self.scheduler.processes.remove(&life) else { return };
        let (past, more) = (&mut self.scheduler.past, process.core.counters());
        past.pushed += more.pushed;
        past.lineages += more.lineages;
        self.organizers.scheduler_crashed(&mut self.scheduler.random, life);
        let ours = |link: &&mut Link| link.open && link.life == life;
        let mut lost = Vec::new();
        for (session, link) in self.links.iter_mut().filter(|(_, link)| ours(link)) {
            link.open = false;
            lost.push((*session, link.host));
        }
        for (session, host) in lost {
            let delay = millis(&mut self.scheduler.random, 0, 200);
            self.after(delay, Event::Lost(host, session));
        }
        if self.scheduler.current == Some(life) {
            self.scheduler.current = None;
            let delay = millis(&mut self.scheduler.random, 10, 5_000);
            self.after(delay, Event::StartScheduler);
        }
    }

    fn count_crash(&mut self, life: u64) {
        let Some(process) = self.scheduler.processes.get(&life) else { return };
        if process.writing.is_some() {
            self.tally.saw("the scheduler crashed with a commit in flight");
        }
        if process.answers.as_ref().is_none_or(Vec::is_empty) {
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
