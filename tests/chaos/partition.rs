//! Agents and scheduler can't hear each other: both ways, one way, and now and then, while organizers go on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use quorate::core::limits;
use quorate::core::random::Random;

use super::campaign::{Crowd, ORGANIZERS, conclude, verdict};
use super::network::{Cut, Network};
use super::support::{chance, millis, number, say, seed};
use super::world::World;

/// Partitions, unless `PARTITIONS` says.
const PARTITIONS: u64 = 24;
const HOSTS: usize = 3;
const PEOPLE: usize = 2;
const PORT: u16 = 50_051;
/// Of two partitions: longer than the lease, so that agents have to ask.
const LONG: Duration = limits::LEASE.saturating_add(Duration::from_secs(2));

/// Longer than an agent takes to notice by itself that nobody answers (its HTTP/2 PING: 20 s and 10 s); only in longer
/// campaigns.
const DEAD: Duration = Duration::from_secs(35);
/// Every so many partitions one is as long as that.
const DEAD_EVERY: u64 = 40;

#[derive(Default)]
struct Done {
    both_ways: u64,
    unheard_agent: u64,
    unheard_scheduler: u64,
    flaps: u64,
    long: u64,
    kills: u64,
}

/// What one fault cuts.
fn cuts(random: &mut Random, done: &mut Done) -> BTreeSet<Cut> {
    let agent = 1 + random.below(HOSTS as u64) as usize;
    let (to, from) = ((agent, 0), (0, agent));
    match random.below(5) {
        0 => {
            done.both_ways += 1;
            BTreeSet::from([to, from])
        }
        1 => {
            done.both_ways += 1;
            (1..=HOSTS).flat_map(|agent| [(agent, 0), (0, agent)]).collect()
        }
        2 => {
            done.unheard_agent += 1;
            BTreeSet::from([to])
        }
        3 => {
            done.unheard_scheduler += 1;
            BTreeSet::from([from])
        }
        _ => {
            // Each of them hears somebody else.
            done.unheard_agent += 1;
            done.unheard_scheduler += 1;
            let other = 1 + agent % HOSTS;
            BTreeSet::from([to, (0, other)])
        }
    }
}

async fn faults(random: &mut Random, network: &mut Network, world: &mut World, count: u64) -> Done {
    let mut done = Done::default();
    for n in 0..count {
        tokio::time::sleep(millis(random, 50, 600)).await;
        let cut = cuts(random, &mut done);
        network.cut(cut.clone());
        let long = n == count / 3 || n == 2 * count / 3;
        if n % DEAD_EVERY == DEAD_EVERY - 1 {
            done.long += 1;
            tokio::time::sleep(DEAD).await;
        } else if long {
            done.long += 1;
            tokio::time::sleep(LONG).await;
        } else if chance(random, 30) {
            for _ in 0..1 + random.below(8) {
                tokio::time::sleep(millis(random, 20, 200)).await;
                let other = if network.cuts().is_empty() { cut.clone() } else { BTreeSet::new() };
                network.cut(other);
                done.flaps += 1;
            }
        } else {
            tokio::time::sleep(millis(random, 50, 1_500)).await;
        }
        if chance(random, 20) {
            // Behind the partition, so that whoever comes back finds another one.
            let index = random.below(HOSTS as u64 + 1) as usize;
            let seat = index.checked_sub(1).map_or(&mut world.scheduler, |agent| &mut world.agents[agent]);
            seat.kill().await;
            seat.start();
            done.kills += 1;
        }
        network.cut(BTreeSet::new());
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_from_each_other() {
    let what = "cut off";
    let mut network = match Network::build(HOSTS) {
        Ok(network) => network,
        Err(why) => return say(&format!("SKIPPED partitions: this machine has no namespaces for us: {why}")),
    };
    let (seed, count) = (seed(what), number("PARTITIONS").unwrap_or(PARTITIONS));
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let (inside, outside) =
        (format!("http://{}:{PORT}", network.address(0)), format!("http://{}:{PORT}", network.public()));
    let listen = format!("0.0.0.0:{PORT}");
    let mut world = World::new(folder.path(), HOSTS, PEOPLE, &listen, &inside, |index, recipe| {
        recipe.within(&network.namespace(index))
    });
    world.start().await;
    let organizers = (0..ORGANIZERS).map(|n| world.organizer(folder.path(), n, seed, &outside)).collect();
    let (started, crowd) = (Instant::now(), Crowd::start(organizers));
    let done = faults(&mut random, &mut network, &mut world, count).await;
    let took = started.elapsed();
    let findings = conclude(&mut world, crowd, what).await;
    say(&format!(
        "{what}: {} partitions both ways, {} with an agent unheard, {} with the scheduler unheard, {} flaps, {} \
         longer than the lease, {} kills, {} packets dropped, in {took:.0?}",
        done.both_ways,
        done.unheard_agent,
        done.unheard_scheduler,
        done.flaps,
        done.long,
        done.kills + 1,
        network.dropped()
    ));
    assert!(network.dropped() > 0, "nothing was cut off");
    drop(world);
    verdict(&findings, folder, what);
}
