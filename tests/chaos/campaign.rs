//! Everybody is killed and frozen at random moments while organizers go on.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use quorate::core::limits;
use quorate::core::random::Random;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::checker;
use super::organizer::Organizer;
use super::process::free_port;
use super::support::{chance, millis, number, say, seed, within};
use super::world::{Seat, World};

/// Kills of the campaign, unless `KILLS` says.
const KILLS: u64 = 50;
const HOSTS: usize = 3;
const PEOPLE: usize = 3;
pub const ORGANIZERS: usize = 4;
/// Longer than a lease: whoever wakes up finds that its hold has to be asked about.
const FREEZE: Duration = limits::LEASE.saturating_add(Duration::from_millis(1_500));
/// Longest pause between two faults, in milliseconds.
const PAUSE: u64 = 900;

/// Organizers at work in the background.
pub struct Crowd {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<Organizer>>,
}

impl Crowd {
    pub fn start(organizers: Vec<Organizer>) -> Self {
        let stop = CancellationToken::new();
        let work = |mut organizer: Organizer| {
            let stop = stop.clone();
            tokio::spawn(async move {
                organizer.work(&stop).await;
                organizer
            })
        };
        let tasks = organizers.into_iter().map(work).collect();
        Self { stop, tasks }
    }

    /// Has them end the call that they are in, and nothing more.
    pub async fn stop(self) -> Vec<Organizer> {
        self.stop.cancel();
        let mut organizers = Vec::new();
        for task in self.tasks {
            organizers.push(within("an organizer stops", task).await.expect("an organizer"));
        }
        organizers
    }
}

/// What was done to the processes.
#[derive(Default)]
struct Done {
    scheduler_kills: u64,
    agent_kills: u64,
    killed_while_starting: u64,
    asked_first: u64,
    freezes: u64,
    long_freezes: u64,
}

/// The processes under fault, the scheduler first, and who of them is frozen for long.
struct Faults<'a> {
    random: &'a mut Random,
    world: &'a mut World,
    done: Done,
    frozen: Option<(usize, Instant)>,
}

impl Faults<'_> {
    fn count(&self) -> u64 {
        self.done.scheduler_kills + self.done.agent_kills + self.done.killed_while_starting
    }

    fn seat(&mut self, index: usize) -> &mut Seat {
        match index.checked_sub(1) {
            None => &mut self.world.scheduler,
            Some(agent) => &mut self.world.agents[agent],
        }
    }

    fn is_frozen(&self, index: usize) -> bool {
        self.frozen.is_some_and(|(frozen, _)| frozen == index)
    }

    /// Kills, and starts again after a while. The next fault may come before the process is ready.
    async fn kill(&mut self, seats: &[usize]) {
        for index in seats {
            match chance(self.random, 20) {
                // While it ends in good order, or after that.
                true => {
                    let after = millis(self.random, 0, 1_000);
                    self.seat(*index).terminate_or_kill(after).await;
                    self.done.asked_first += 1;
                }
                false => self.seat(*index).kill().await,
            }
            match index {
                0 => self.done.scheduler_kills += 1,
                _ => self.done.agent_kills += 1,
            }
        }
        tokio::time::sleep(millis(self.random, 0, 400)).await;
        for index in seats {
            self.seat(*index).start();
            if chance(self.random, 15) {
                // Once more, anywhere in its start.
                tokio::time::sleep(millis(self.random, 0, 60)).await;
                self.seat(*index).kill().await;
                self.seat(*index).start();
                self.done.killed_while_starting += 1;
            }
        }
    }

    /// Stops a process for a moment.
    async fn freeze(&mut self, index: usize) {
        self.seat(index).running().signal("-STOP").await;
        tokio::time::sleep(millis(self.random, 50, 1_200)).await;
        self.seat(index).running().signal("-CONT").await;
        self.done.freezes += 1;
    }

    /// Stops a process for longer than a lease; faults go on for the others.
    async fn freeze_for_long(&mut self, index: usize) {
        self.seat(index).running().signal("-STOP").await;
        self.frozen = Some((index, Instant::now() + FREEZE));
    }

    async fn thaw(&mut self, index: usize) {
        self.seat(index).running().signal("-CONT").await;
        self.frozen = None;
        self.done.long_freezes += 1;
    }

    async fn run(mut self, kills: u64) -> Done {
        // An agent in the first half, the scheduler in the second.
        let mut long = vec![0, 1 + self.random.below(self.world.agents.len() as u64) as usize];
        while self.count() < kills || self.frozen.is_some() || !long.is_empty() {
            tokio::time::sleep(millis(self.random, 20, PAUSE)).await;
            match self.frozen {
                Some((index, until)) if Instant::now() >= until => self.thaw(index).await,
                None if self.count() >= kills / 4 * (self.done.long_freezes * 2 + 1)
                    || self.count() >= kills =>
                {
                    if let Some(index) = long.pop() {
                        self.freeze_for_long(index).await;
                    }
                }
                _ => {}
            }
            let agent = 1 + self.random.below(self.world.agents.len() as u64) as usize;
            let seats = match self.random.below(100) {
                0..45 => vec![0],
                45..85 => vec![agent],
                _ => vec![0, agent],
            };
            let short = chance(self.random, 15);
            if seats.iter().any(|index| self.is_frozen(*index)) {
                continue;
            }
            match short {
                true => self.freeze(seats[0]).await,
                false => self.kill(&seats).await,
            }
        }
        self.done
    }
}

/// After the faults: everybody comes to rest, organizers ask what became of what, and the files are judged.
pub async fn conclude(world: &mut World, crowd: Crowd, what: &str) -> checker::Findings {
    let mut organizers = crowd.stop().await;
    world.rest(&format!("{what}, faults stopped")).await;
    // Changes that a caller gave up on may still be sought in memory. A last kill ends them; what is on disk goes on.
    world.scheduler.kill().await;
    world.scheduler.start_and_wait().await;
    world.rest(&format!("{what}, started again")).await;
    for organizer in &mut organizers {
        organizer.resolve().await;
    }
    world.rest(&format!("{what}, asked again")).await;
    world.terminate().await;
    checker::check(&world.places).expect("the files can be read")
}

/// Fails, and leaves everything where it is, if the checker found something.
pub fn verdict(findings: &checker::Findings, folder: tempfile::TempDir, what: &str) {
    say(&format!("{what}:\n{findings}"));
    // What `quorate doctor` says of the store, too: it must not cry wolf over whatever a campaign leaves behind.
    let store = folder.path().join("scheduler/quorate.db");
    let checks = quorate::store::doctor::examine(&store).expect("the store can be read");
    let failed: Vec<_> = checks.iter().filter(|check| !check.passed()).collect();
    let alarms = alarms(folder.path());
    if !findings.is_clean() || !failed.is_empty() || !alarms.is_empty() {
        failed.iter().for_each(|check| say(&format!("doctor: {check:?}")));
        alarms.iter().for_each(|alarm| say(&format!("alarm: {alarm}")));
        panic!("{what}: see {}", folder.keep().display());
    }
    let booked = findings.tally.meetings.get("CONFIRMED").copied().unwrap_or_default();
    assert!(booked > 0 && findings.tally.answers > 0, "{what}: nothing was booked, so nothing was shown");
}

/// What schedulers and agents logged of states that must not be.
fn alarms(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let text = fs::read_to_string(&path).expect("a log");
            found.extend(text.lines().filter(|line| line.contains("alarm=true")).map(str::to_owned));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_frozen_at_random_moments() {
    let what = "killed and frozen";
    let (seed, kills) = (seed(what), number("KILLS").unwrap_or(KILLS));
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_port();
    let url = format!("http://{address}");
    let mut world = World::new(folder.path(), HOSTS, PEOPLE, &address.to_string(), &url, |_, recipe| recipe);
    world.start().await;
    let organizers = (0..ORGANIZERS).map(|n| world.organizer(folder.path(), n, seed, &url)).collect();
    let (started, crowd) = (Instant::now(), Crowd::start(organizers));
    let faults = Faults { random: &mut random, world: &mut world, done: Done::default(), frozen: None };
    let done = faults.run(kills).await;
    let took = started.elapsed();
    let findings = conclude(&mut world, crowd, what).await;
    say(&format!(
        "{what}: {} kills of the scheduler, {} of agents, {} of processes that were starting ({} were told \
         to end first), {} short freezes, {} longer than the lease, in {took:.0?}",
        done.scheduler_kills + 1,
        done.agent_kills,
        done.killed_while_starting,
        done.asked_first,
        done.freezes,
        done.long_freezes
    ));
    verdict(&findings, folder, what);
}

/// What the program logs of a state that must not be is found, in each of its logs, and nothing else is taken for it.
#[test]
fn an_alarm_in_a_log_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = "2034-07-10T09:00:00.000000Z ERROR quorate::engine::run: alice lost bookings from its journal alarm=true";
    let log = |name: &str, lines: &[&str]| {
        fs::write(folder.path().join(name), lines.join("\n")).expect("a log");
    };
    log("scheduler.log", &["an engine starts", line]);
    log("agent-0.log", &["alarm=false", "nothing"]);
    log("calls.jsonl", &[line]);
    assert_eq!(alarms(folder.path()), [line]);
}
