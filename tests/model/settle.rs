//! The schedule without faults: every message arrives, everybody comes back, every timer fires in its time.
//! It is a function of the world, so one run of it is a proof that rest can be reached.

use std::time::Duration;

use quorate::core::time::Mono;

use super::world::{Request, World};

/// After so many steps it is taken never to come to rest.
const STEPS: usize = 5_000;
/// After so much time on the clocks it is taken never to come to rest.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs the world to rest; `ask` makes a request that is due. Says what kept it from that, or what broke.
pub fn settle(world: &mut World, mut ask: impl FnMut(&mut World, usize)) -> Option<Vec<String>> {
    let mut passed = Duration::ZERO;
    for _ in 0..STEPS {
        world.broken.clear();
        if !deliver(world, &mut ask) {
            let unrest = world.unrest();
            if unrest.is_empty() {
                return None;
            }
            match wait(world) {
                Some(time) if passed <= PATIENCE => passed += time,
                _ => return Some(unrest),
            }
        }
        let broken = world.check();
        if !broken.is_empty() {
            return Some(broken);
        }
    }
    Some(vec!["it never comes to rest".into()])
}

/// What needs no time.
fn deliver(world: &mut World, ask: &mut impl FnMut(&mut World, usize)) -> bool {
    for index in 0..world.participants {
        let link = &world.links[index];
        if !link.gone.is_empty() {
            world.late(index);
        } else if link.session.is_none() {
            world.connect(index);
        } else if !link.to_agent.is_empty() {
            world.deliver_to_agent(index);
        } else if !link.to_scheduler.is_empty() {
            world.deliver_to_scheduler(index);
        } else if !link.copies_to_agent.is_empty() {
            world.copy_to_agent(index);
        } else if !link.copies_to_scheduler.is_empty() {
            world.copy_to_scheduler(index);
        } else {
            continue;
        }
        return true;
    }
    if !world.waiting.is_empty() {
        world.commit(true);
        return true;
    }
    if let Some(index) = world.requests.iter().position(|r| *r == Request::Due) {
        ask(world, index);
        return true;
    }
    false
}

/// All clocks go on alike to the first timer, which fires.
fn wait(world: &mut World) -> Option<Duration> {
    let left = |at: Mono, now: Mono| at.since(now);
    let scheduler = world.scheduler.core.poll_timeout().map(|at| (left(at, world.scheduler.mono), None));
    let agents = world.agents.iter().enumerate();
    let agents =
        agents.filter_map(|(index, agent)| Some((left(agent.next_timer()?, agent.mono), Some(index))));
    let (time, who) = scheduler.into_iter().chain(agents).min()?;
    world.pass(time);
    match who {
        None => world.scheduler_timer(),
        Some(index) => world.agent_timer(index),
    }
    Some(time)
}
