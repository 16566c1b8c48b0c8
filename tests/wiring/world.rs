//! One run: a scheduler, agent hosts and organizers on simulated hosts, and what happens to them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use quorate::agent::Connector;
use quorate::core::ids::ParticipantId;
use quorate::core::invariants::{self, Decisions};
use quorate::core::limits;
use quorate::core::random::Random;
use tokio::sync::watch;
use turmoil::Sim;

use super::agents::AgentHost;
use super::alarms;
use super::faults::{FAULTS, Fault, plan};
use super::judge::{at_rest, judge, last_words};
use super::lossy;
use super::net::{self, SCHEDULER};
use super::organizer::{Diary, Organizer};
use super::scheduler::{self, Disk, Engine};

/// Simulated time of one step; a message takes at least as long.
const TICK: Duration = Duration::from_millis(20);
/// Simulated time that may pass until every organizer knows everything. A connection that was cut stalls until HTTP/2's
/// keep-alive has ended it, 30 s later; agents then wait up to 10 s to connect.
const RESOLVED: Duration = Duration::from_secs(120);
/// Simulated time that may pass from then on until all is at rest.
const AT_REST: Duration = Duration::from_secs(120);
/// It has to stay so for this long: whatever an agent still held, it asks about in that time (L1).
const QUIET: Duration = limits::LEASE.saturating_add(invariants::HOLD_SLACK);
/// How often the store is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A fault of the house itself, to show that it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    Nothing,
    /// The scheduler's disk says that it has synced, and has not.
    LyingDisk,
    /// The first agent host's acknowledgements never leave it.
    LostAcks,
}

/// What a run came to.
#[derive(Default, Debug)]
pub struct Outcome {
    pub broken: Vec<String>,
    /// Calls and faults, by kind.
    pub tally: BTreeMap<String, usize>,
    /// Of all calls with their times, to compare two runs.
    pub hash: u64,
    /// Of the whole run.
    pub simulated: Duration,
    /// What happened, in order of time for each organizer and for the faults.
    pub trace: Vec<String>,
}

struct World {
    sim: Sim<'static>,
    disk: Disk,
    engine: Engine,
    agents: Vec<AgentHost>,
    diaries: Vec<Rc<RefCell<Diary>>>,
    people: Vec<ParticipantId>,
    over: watch::Sender<bool>,
    decisions: Decisions,
    /// Who is away.
    crashed: Vec<String>,
    faults: Vec<(Duration, Fault)>,
    outcome: Outcome,
}

/// Runs one seed.
pub fn run(seed: u64, plant: Plant) -> Outcome {
    let (mut outcome, alarms) = alarms::heard(|| live(seed, plant));
    outcome.broken.extend(alarms.into_iter().map(|words| format!("an alarm: {words}")));
    outcome
}

fn live(seed: u64, plant: Plant) -> Outcome {
    let folder = folder();
    let mut random = Random::new(seed);
    let mut world = World::new(&mut random, folder.path(), plant);
    if let Err(error) = world.live() {
        let at = world.sim.elapsed();
        world.outcome.broken.push(format!("at {at:?} a host ended: {error}"));
    }
    world.end()
}

/// Where journals are: in memory where there is such a place, since no disk is under test.
fn folder() -> tempfile::TempDir {
    let in_memory = Path::new("/dev/shm");
    match in_memory.is_dir() {
        true => tempfile::tempdir_in(in_memory),
        false => tempfile::tempdir(),
    }
    .expect("a folder")
}

/// How an agent's host connects.
fn connector(plant: Plant, host: u64) -> Connector {
    match plant {
        Plant::LostAcks if host == 0 => lossy::connector(),
        _ => net::connector(),
    }
}

impl World {
    fn new(random: &mut Random, folder: &Path, plant: Plant) -> Self {
        let mut sim = turmoil::Builder::new()
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(3_600))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(random.between(Duration::from_millis(2), Duration::from_millis(120)))
            .tcp_capacity(4_096)
            .rng_seed(random.number())
            .enable_random_order()
            .build();
        let (disk, engine) = (Disk::new(plant == Plant::LyingDisk), Engine::default());
        let (on, seen, lives) = (disk.clone(), engine.clone(), Cell::new(random.number()));
        sim.host(SCHEDULER, move || {
            lives.set(lives.get().wrapping_add(1));
            scheduler::run(on.clone(), lives.get(), seen.clone())
        });
        let mut agents = Vec::new();
        for host in 0..3 + random.below(3) {
            let name = format!("agent{host}");
            let ids = (0..1 + random.below(3)).map(|n| ParticipantId::new(format!("p{host}-{n}")));
            let agent = AgentHost::new(&name, ids.collect(), folder, random.number());
            let connect = connector(plant, host);
            agents.push(agent.clone());
            sim.host(name, move || agent.clone().run(connect.clone()));
        }
        let people: Vec<ParticipantId> = agents.iter().flat_map(|host| host.participants.clone()).collect();
        let ids: Vec<String> = people.iter().map(ToString::to_string).collect();
        let (over, is_over) = watch::channel(false);
        let mut diaries = Vec::new();
        let mut organizers = Vec::new();
        for n in 0..1 + random.below(2) {
            let (name, diary) = (format!("organizer{n}"), Rc::<RefCell<Diary>>::default());
            diaries.push(diary.clone());
            organizers.push(name.clone());
            let (name_of, ids, over, seed) = (name.clone(), ids.clone(), is_over.clone(), random.number());
            sim.client(name, async move { Organizer::new(&name_of, seed, &ids, diary).run(over).await });
        }
        let names: Vec<String> = agents.iter().map(|host| host.name.clone()).collect();
        let mut faults = plan(random, &names, &organizers);
        faults.reverse();
        let (decisions, crashed, outcome) = Default::default();
        Self { sim, disk, engine, agents, diaries, people, over, decisions, crashed, faults, outcome }
    }

    fn live(&mut self) -> turmoil::Result {
        let mut done = false;
        while self.sim.elapsed() < FAULTS {
            while let Some((_, fault)) = self.faults.pop_if(|(at, _)| *at <= self.sim.elapsed()) {
                self.happen(&fault);
            }
            done = self.step()?;
        }
        self.mend();
        let limit = self.sim.elapsed() + RESOLVED;
        while !done && self.sim.elapsed() < limit {
            done = self.step()?;
        }
        let limit = self.sim.elapsed() + AT_REST;
        let mut since = self.sim.elapsed();
        while self.sim.elapsed() < limit && self.sim.elapsed() < since + QUIET {
            self.step()?;
            if self.is_time_to_look() && !self.is_at_rest() {
                since = self.sim.elapsed();
            }
        }
        Ok(())
    }

    fn step(&mut self) -> turmoil::Result<bool> {
        let done = self.sim.step()?;
        if self.is_time_to_look() {
            let found = invariants::check(&self.disk.view(&self.people), &[], &mut self.decisions);
            let at = self.sim.elapsed();
            // What agents have said is judged at the end; without them I2 has nothing to say.
            self.outcome.broken.extend(found.iter().map(|violation| format!("at {at:?}: {violation}")));
        }
        Ok(done)
    }

    fn is_time_to_look(&self) -> bool {
        self.sim.elapsed().as_millis().is_multiple_of(LOOK.as_millis())
    }

    fn is_at_rest(&self) -> bool {
        let engine = self.engine.borrow();
        let connected = |id| {
            let directory = engine.as_ref().map(|engine| engine.directory());
            directory.and_then(|all| all.get(id)).is_some_and(|view| view.connected_since.is_some())
        };
        self.people.iter().all(connected) && at_rest(&self.disk.view(&self.people))
    }

    fn happen(&mut self, fault: &Fault) {
        let at = self.sim.elapsed();
        self.outcome.trace.push(format!("{at:?} {fault:?}"));
        let kind = format!("{fault:?}");
        let kind = kind.split('(').next().unwrap_or_default();
        *self.outcome.tally.entry(format!("fault {kind}")).or_default() += 1;
        match fault {
            Fault::Cut(name) => self.sim.partition(name.as_str(), SCHEDULER),
            Fault::CutFrom(name) => self.sim.partition_oneway(name.as_str(), SCHEDULER),
            Fault::CutTo(name) => self.sim.partition_oneway(SCHEDULER, name.as_str()),
            Fault::Hold(name) => self.sim.hold(name.as_str(), SCHEDULER),
            Fault::Release(name) => self.sim.release(name.as_str(), SCHEDULER),
            Fault::Repair(name) => self.sim.repair(name.as_str(), SCHEDULER),
            Fault::Crash(name) => self.crash(name),
            Fault::Bounce(name) => {
                self.crashed.retain(|crashed| crashed != name);
                self.sim.bounce(name.as_str());
            }
            Fault::Store(fault) => self.disk.fail_next(*fault),
        }
    }

    fn crash(&mut self, name: &str) {
        self.crashed.push(name.to_owned());
        if name == SCHEDULER {
            *self.engine.borrow_mut() = None;
        }
        self.sim.crash(name);
        if name == SCHEDULER {
            self.disk.crashed();
        }
    }

    /// No more faults: every link is whole, everyone is there.
    fn mend(&mut self) {
        while let Some((_, fault)) = self.faults.pop() {
            self.happen(&fault);
        }
        let organizers = (0..self.diaries.len()).map(|n| format!("organizer{n}"));
        let names = self.agents.iter().map(|host| host.name.clone()).chain(organizers);
        names.for_each(|name| self.sim.release(name, SCHEDULER));
        assert!(self.crashed.is_empty(), "whoever crashed is back: {:?}", self.crashed);
        self.over.send_replace(true);
    }

    fn end(mut self) -> Outcome {
        let mut agents = Vec::new();
        for host in &self.agents {
            self.sim.crash(host.name.as_str());
            agents.extend(host.views());
        }
        let store = self.disk.view(&self.people);
        let mut outcome = self.outcome;
        outcome.broken.extend(judge(&store, &agents, &mut self.decisions));
        let mut hash = DefaultHasher::new();
        for diary in &self.diaries {
            let diary = diary.borrow();
            outcome.broken.extend(last_words(&store, &diary));
            diary.trace.hash(&mut hash);
            outcome.trace.extend(diary.trace.iter().cloned());
            for ((kind, how), n) in &diary.calls {
                *outcome.tally.entry(format!("{kind} {how}")).or_default() += n;
            }
        }
        *outcome.tally.entry("bookings".to_owned()).or_default() += store.bookings.len();
        let displaced: u32 = store.meetings.values().map(|meeting| meeting.displaced_count).sum();
        *outcome.tally.entry("displaced".to_owned()).or_default() += displaced as usize;
        outcome.hash = hash.finish();
        outcome.simulated = self.sim.elapsed();
        outcome
    }
}
