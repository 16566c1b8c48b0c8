//! What goes wrong in a run, and when: decided by the seed before it begins.

use std::time::Duration;

use quorate::core::random::Random;
use quorate::store::StoreFault;

use super::net::SCHEDULER;

/// Faults come for so long.
pub const FAULTS: Duration = Duration::from_secs(20);
/// From one fault to the next.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(3_500));
/// How long a link is out of order, or a host away.
const LASTS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(6));

/// One thing that happens to a host, or to its link to the scheduler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing gets through, and what is on its way is lost.
    Cut(String),
    /// What this host sends is lost.
    CutFrom(String),
    /// What is sent to this host is lost.
    CutTo(String),
    /// Everything waits.
    Hold(String),
    /// The link is whole; what was held is delivered.
    Release(String),
    /// The link is whole; what was held waits on, and comes late or never.
    Repair(String),
    /// All of its tasks end; what is on its disk stays.
    Crash(String),
    /// It starts again.
    Bounce(String),
    /// The store's next group fails.
    Store(StoreFault),
}

/// The faults of a run, in order.
pub fn plan(random: &mut Random, agents: &[String], organizers: &[String]) -> Vec<(Duration, Fault)> {
    let linked: Vec<&String> = agents.iter().chain(organizers).collect();
    let crashing: Vec<String> = agents.iter().cloned().chain([SCHEDULER.to_owned()]).collect();
    // Until when a link or a host is taken by a fault: turmoil can't combine those of one link.
    let mut links = vec![Duration::ZERO; linked.len()];
    let mut hosts = vec![Duration::ZERO; crashing.len()];
    let mut plan = Vec::new();
    let mut at = Duration::from_millis(500);
    while at < FAULTS {
        let end = (at + random.between(LASTS.0, LASTS.1)).min(FAULTS);
        match random.below(100) {
            0..65 => {
                let one = random.below(linked.len() as u64) as usize;
                let name = || linked[one].clone();
                let (fault, mended) = match random.below(8) {
                    // A link that loses something costs its connection half a minute, so that less happens.
                    0 => (Fault::Cut(name()), Fault::Release(name())),
                    1 => (Fault::CutFrom(name()), Fault::Release(name())),
                    2 => (Fault::CutTo(name()), Fault::Release(name())),
                    3..7 => (Fault::Hold(name()), Fault::Release(name())),
                    _ => (Fault::Hold(name()), Fault::Repair(name())),
                };
                if links[one] <= at {
                    links[one] = end + Duration::from_millis(1);
                    plan.extend([(at, fault), (end, mended)]);
                }
            }
            65..90 => {
                let one = random.below(crashing.len() as u64) as usize;
                if hosts[one] <= at {
                    hosts[one] = end + Duration::from_millis(1);
                    let name = || crashing[one].clone();
                    plan.extend([(at, Fault::Crash(name())), (end, Fault::Bounce(name()))]);
                }
            }
            _ => {
                let faults = [StoreFault::NotApplied, StoreFault::UnknownApplied, StoreFault::UnknownLost];
                plan.push((at, Fault::Store(faults[random.below(3) as usize])));
            }
        }
        at += random.between(PAUSE.0, PAUSE.1);
    }
    // Stable: what belongs together stays in order.
    plan.sort_by_key(|(at, _)| *at);
    plan
}
