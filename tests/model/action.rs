//! What can happen next.

use std::fmt;

use super::setting::{Bounds, Setting};
use super::words;
use super::world::{Request, World};

/// A direction on a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    Agent,
    Scheduler,
}

/// One step of the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// An organizer asks.
    Ask(usize),
    /// The next message comes in at the agent, which syncs its journal and answers.
    ToAgent(usize),
    /// The next message of the agent comes in at the scheduler.
    ToScheduler(usize),
    /// A message over a stream that is gone comes in nevertheless.
    Late(usize),
    /// The scheduler notices that a stream is gone.
    Closed(usize),
    /// The store does its next operation, and the scheduler hears so.
    Commit,
    /// The agent connects and registers.
    Connect(usize),
    Lose(usize, To),
    /// The next message has a second copy, which stays on its way.
    Duplicate(usize, To),
    /// A second copy comes in.
    Copy(usize, To),
    Break(usize),
    CrashAgent(usize),
    LoseJournal(usize),
    /// With or without the store's next operation, of which the scheduler hears nothing.
    CrashScheduler {
        written: bool,
    },
    SchedulerTimer,
    AgentTimer(usize),
}

/// Takes one from a bound, if there is one left.
fn take(left: &mut Bounds, of: fn(&mut Bounds) -> &mut u8) {
    *of(left) -= 1;
    left.faults -= 1;
}

impl Action {
    /// All that can happen in this world.
    pub fn all(world: &World) -> Vec<Self> {
        let mut all = Vec::new();
        let heard = world.links.iter().position(|link| !link.to_agent.is_empty());
        if let Some(index) = heard.filter(|_| world.left.agents_hear_at_once) {
            Self::of_participant(world, index, &mut all);
            Self::of_scheduler(world, &mut all);
            all.retain(|action| action.is_of_message_to(index));
            return all;
        }
        let due = world.requests.iter().enumerate().filter(|(_, r)| **r == Request::Due);
        all.extend(due.map(|(index, _)| Self::Ask(index)));
        if !world.waiting.is_empty() {
            all.push(Self::Commit);
        }
        for index in 0..world.participants {
            Self::of_participant(world, index, &mut all);
        }
        Self::of_scheduler(world, &mut all);
        all
    }

    /// Whether it decides what becomes of a message on its way to this agent.
    fn is_of_message_to(self, index: usize) -> bool {
        match self {
            Self::Lose(i, To::Agent) | Self::Duplicate(i, To::Agent) => i == index,
            Self::ToAgent(i) | Self::Break(i) | Self::CrashAgent(i) | Self::LoseJournal(i) => i == index,
            Self::CrashScheduler { .. } => true,
            _ => false,
        }
    }

    fn of_scheduler(world: &World, all: &mut Vec<Self>) {
        let left = &world.left;
        if left.faults > 0 && left.scheduler_crashes > 0 {
            all.push(Self::CrashScheduler { written: false });
            if !world.waiting.is_empty() {
                all.push(Self::CrashScheduler { written: true });
            }
        }
        if left.scheduler_timers > 0 && world.scheduler.core.poll_timeout().is_some() {
            all.push(Self::SchedulerTimer);
        }
    }

    fn of_participant(world: &World, index: usize, all: &mut Vec<Self>) {
        let (link, left) = (&world.links[index], &world.left);
        let faults = left.faults > 0;
        let queues = [(To::Agent, link.to_agent.is_empty()), (To::Scheduler, link.to_scheduler.is_empty())];
        for (to, _) in queues.into_iter().filter(|(_, empty)| !empty) {
            all.push(match to {
                To::Agent => Self::ToAgent(index),
                To::Scheduler => Self::ToScheduler(index),
            });
            if faults && left.losses > 0 {
                all.push(Self::Lose(index, to));
            }
            if faults && left.duplicates > 0 {
                all.push(Self::Duplicate(index, to));
            }
        }
        if !link.copies_to_agent.is_empty() {
            all.push(Self::Copy(index, To::Agent));
        }
        if !link.copies_to_scheduler.is_empty() {
            all.push(Self::Copy(index, To::Scheduler));
        }
        if let Some((_, said)) = link.gone.front() {
            if !said.is_empty() {
                all.push(Self::Late(index));
            }
            all.push(Self::Closed(index));
        }
        match link.session {
            None => all.push(Self::Connect(index)),
            Some(_) if faults && left.breaks > 0 => all.push(Self::Break(index)),
            Some(_) => {}
        }
        if faults && left.agent_crashes > 0 {
            all.push(Self::CrashAgent(index));
        }
        if faults && left.journal_losses > 0 {
            all.push(Self::LoseJournal(index));
        }
        if left.agent_timers > 0 && world.agents[index].next_timer().is_some() {
            all.push(Self::AgentTimer(index));
        }
    }

    /// The world after it.
    pub fn on(self, before: &World, setting: &Setting) -> World {
        let mut world = before.clone();
        world.broken.clear();
        let left = &mut world.left;
        match self {
            Self::Ask(index) => world.ask(setting, index),
            Self::ToAgent(index) => world.deliver_to_agent(index),
            Self::ToScheduler(index) => world.deliver_to_scheduler(index),
            Self::Late(index) => world.late(index),
            Self::Closed(index) => world.closed(index),
            Self::Commit => world.commit(true),
            Self::Connect(index) => world.connect(index),
            Self::Lose(index, to) => {
                take(left, |b| &mut b.losses);
                match to {
                    To::Agent => world.lose_to_agent(index, setting.plant),
                    To::Scheduler => drop(world.links[index].to_scheduler.pop_front()),
                }
            }
            Self::Duplicate(index, to) => {
                take(left, |b| &mut b.duplicates);
                let link = &mut world.links[index];
                match to {
                    To::Agent => link.copies_to_agent.extend(link.to_agent.front().cloned()),
                    To::Scheduler => link.copies_to_scheduler.extend(link.to_scheduler.front().cloned()),
                }
            }
            Self::Copy(index, To::Agent) => world.copy_to_agent(index),
            Self::Copy(index, To::Scheduler) => world.copy_to_scheduler(index),
            Self::Break(index) => {
                take(left, |b| &mut b.breaks);
                world.break_stream(index);
            }
            Self::CrashAgent(index) => {
                take(left, |b| &mut b.agent_crashes);
                world.crash_agent(index, false);
            }
            Self::LoseJournal(index) => {
                take(left, |b| &mut b.journal_losses);
                world.crash_agent(index, true);
            }
            Self::CrashScheduler { written } => {
                take(left, |b| &mut b.scheduler_crashes);
                world.crash_scheduler(written);
            }
            Self::SchedulerTimer => {
                left.scheduler_timers -= 1;
                world.scheduler_timer();
            }
            Self::AgentTimer(index) => {
                left.agent_timers -= 1;
                world.agent_timer(index);
            }
        }
        world
    }

    /// In words, as it happens in this world.
    pub fn tell(self, world: &World) -> String {
        let head = |index: usize, to: To| match to {
            To::Agent => world.links[index].to_agent.front().map(|m| words::to_agent(&m.what)),
            To::Scheduler => world.links[index].to_scheduler.front().map(|m| words::to_scheduler(&m.what)),
        };
        let copy = |index: usize, to: To| match to {
            To::Agent => world.links[index].copies_to_agent.front().map(|m| words::to_agent(&m.what)),
            To::Scheduler => {
                world.links[index].copies_to_scheduler.front().map(|m| words::to_scheduler(&m.what))
            }
        };
        let what = match self {
            Self::Copy(index, to) => copy(index, to),
            Self::ToAgent(index) => head(index, To::Agent),
            Self::ToScheduler(index) => head(index, To::Scheduler),
            Self::Lose(index, to) | Self::Duplicate(index, to) => head(index, to),
            Self::Late(index) => world.links[index]
                .gone
                .front()
                .and_then(|g| g.1.front())
                .map(|m| words::to_scheduler(&m.what)),
            Self::Commit | Self::CrashScheduler { written: true } => {
                world.waiting.front().map(|(_, operation)| words::operation(&operation.what))
            }
            _ => None,
        };
        world.by_label(format!("{self} {}", what.unwrap_or_default()))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(index) => write!(f, "organizer {} asks", super::setting::label_of(*index)),
            Self::ToAgent(index) => write!(f, "p{index} hears"),
            Self::ToScheduler(index) => write!(f, "scheduler hears of p{index}"),
            Self::Late(index) => write!(f, "scheduler hears of p{index}, over the broken stream"),
            Self::Closed(index) => write!(f, "scheduler notices that p{index}'s stream broke"),
            Self::Commit => write!(f, "store:"),
            Self::Connect(index) => write!(f, "p{index} connects"),
            Self::Lose(index, To::Agent) => write!(f, "LOST on its way to p{index}:"),
            Self::Lose(index, To::Scheduler) => write!(f, "LOST on its way from p{index}:"),
            Self::Duplicate(index, To::Agent) => write!(f, "TWICE to p{index}:"),
            Self::Duplicate(index, To::Scheduler) => write!(f, "TWICE from p{index}:"),
            Self::Copy(index, To::Agent) => write!(f, "p{index} hears AGAIN"),
            Self::Copy(index, To::Scheduler) => write!(f, "scheduler hears AGAIN of p{index}"),
            Self::Break(index) => write!(f, "p{index}'s stream BREAKS"),
            Self::CrashAgent(index) => write!(f, "p{index} CRASHES"),
            Self::LoseJournal(index) => write!(f, "p{index} LOSES ITS JOURNAL"),
            Self::CrashScheduler { written: false } => write!(f, "the scheduler CRASHES"),
            Self::CrashScheduler { written: true } => write!(f, "the scheduler CRASHES after"),
            Self::SchedulerTimer => write!(f, "the scheduler's next timer fires"),
            Self::AgentTimer(index) => write!(f, "p{index}'s next timer fires"),
        }
    }
}
