//! Breadth first over all worlds that can be reached, so that the first thing found has a shortest trace.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use super::action::Action;
use super::setting::Setting;
use super::settle::settle;
use super::world::World;

/// Worlds looked at before what was found is put together.
const BATCH: usize = 1_024;
/// Threads that look.
const WORKERS: usize = 2;

/// What was explored.
pub struct Report {
    pub name: &'static str,
    pub states: usize,
    pub transitions: usize,
    pub depth: usize,
    /// Worlds in which nothing more can happen within the bounds: each was run to rest without faults.
    pub ends: usize,
    /// Worlds from which no such end is reached over explored steps: each was run to rest by itself.
    pub settled_alone: usize,
    pub time: Duration,
    pub found: Option<Counterexample>,
    /// The fingerprints of all worlds, each the least over all orders of the participants.
    pub worlds: BTreeSet<u64>,
    /// The fingerprints of all that the scheduler with its store, and each agent, ever was, if that was asked for.
    pub parts: BTreeSet<u64>,
}

/// What does not hold, and how to get there.
pub struct Counterexample {
    pub broken: Vec<String>,
    pub trace: Vec<String>,
}

struct Node {
    parent: u32,
    action: Option<Action>,
}

struct Step {
    from: u32,
    action: Action,
    fingerprint: u64,
    least: u64,
    parts: Vec<u64>,
    /// If it was not known before the batch.
    new: Option<World>,
    broken: Vec<String>,
}

/// What a worker found: steps, and the ends with what keeps them from rest.
type Found = (Vec<Step>, Vec<(u32, Option<Vec<String>>)>);

/// One exploration.
pub struct Explorer<'a> {
    setting: &'a Setting,
    symmetric: bool,
    with_parts: bool,
    nodes: Vec<Node>,
    known: HashMap<u64, u32>,
    edges: Vec<(u32, u32)>,
    settled: Vec<u32>,
    report: Report,
}

impl<'a> Explorer<'a> {
    pub fn new(setting: &'a Setting) -> Self {
        let report = Report {
            name: setting.name,
            states: 0,
            transitions: 0,
            depth: 0,
            ends: 0,
            settled_alone: 0,
            time: Duration::ZERO,
            found: None,
            worlds: BTreeSet::new(),
            parts: BTreeSet::new(),
        };
        let (nodes, known, edges, settled) = (Vec::new(), HashMap::new(), Vec::new(), Vec::new());
        Self { setting, symmetric: true, with_parts: false, nodes, known, edges, settled, report }
    }

    /// Tells worlds apart that differ only by who is who.
    pub fn by_name(self) -> Self {
        Self { symmetric: false, ..self }
    }

    /// Collects what each part ever was.
    pub fn with_parts(self) -> Self {
        Self { with_parts: true, ..self }
    }

    /// Explores everything within the setting's bounds, or up to the first thing that does not hold.
    pub fn run(mut self) -> Report {
        let began = Instant::now();
        let first = World::new(self.setting);
        let (own, least) = first.fingerprint();
        self.known.insert(if self.symmetric { least } else { own }, 0);
        self.report.worlds.insert(least);
        self.nodes.push(Node { parent: 0, action: None });
        let mut frontier = vec![(0, first)];
        while !frontier.is_empty() && self.report.found.is_none() {
            if std::env::var("MODEL_PROGRESS").is_ok() {
                eprintln!(
                    "  depth {}: {} states, {} new",
                    self.report.depth,
                    self.nodes.len(),
                    frontier.len()
                );
            }
            let memos = frontier.first().map(|(_, world)| std::sync::Arc::clone(&world.memos));
            frontier = self.level(frontier);
            memos.iter().for_each(|memos| memos.age());
            self.report.depth += usize::from(!frontier.is_empty());
        }
        if self.report.found.is_none() {
            self.rest_is_reached();
        }
        self.report.states = self.nodes.len();
        self.report.transitions = self.edges.len();
        self.report.time = began.elapsed();
        self.report
    }

    fn level(&mut self, frontier: Vec<(u32, World)>) -> Vec<(u32, World)> {
        let mut next = Vec::new();
        let mut frontier = frontier.into_iter().peekable();
        while frontier.peek().is_some() && self.report.found.is_none() {
            let batch: Vec<(u32, World)> = frontier.by_ref().take(BATCH).collect();
            for (steps, ends) in self.look(&batch) {
                for (end, unrest) in ends {
                    self.report.ends += 1;
                    match unrest {
                        None => self.settled.push(end),
                        Some(broken) => self.found(end, None, broken),
                    }
                }
                for step in steps {
                    self.take(step, &mut next);
                }
            }
        }
        next
    }

    fn look(&self, batch: &[(u32, World)]) -> Vec<Found> {
        let share = batch.len().div_ceil(WORKERS);
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                batch.chunks(share).map(|part| scope.spawn(move || self.work(part))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a worker")).collect()
        })
    }

    fn work(&self, part: &[(u32, World)]) -> Found {
        let (mut steps, mut ends) = (Vec::new(), Vec::new());
        for (from, world) in part {
            let actions = Action::all(world);
            if actions.is_empty() {
                let mut world = world.clone();
                let setting = self.setting;
                ends.push((*from, settle(&mut world, |w, index| w.ask(setting, index))));
            }
            for action in actions {
                let after = action.on(world, self.setting);
                let (own, least) = after.fingerprint();
                let fingerprint = if self.symmetric { least } else { own };
                let new = !self.known.contains_key(&fingerprint);
                let parts = if new && self.with_parts { after.parts() } else { Vec::new() };
                let broken = if new { after.check() } else { after.broken.clone() };
                steps.push(Step {
                    from: *from,
                    action,
                    fingerprint,
                    least,
                    parts,
                    new: new.then_some(after),
                    broken,
                });
            }
        }
        (steps, ends)
    }

    fn take(&mut self, step: Step, next: &mut Vec<(u32, World)>) {
        let Step { from, action, fingerprint, least, parts, new, broken } = step;
        if self.report.found.is_some() {
            return;
        }
        self.report.parts.extend(parts);
        if !broken.is_empty() {
            return self.found(from, Some(action), broken);
        }
        let to = match self.known.get(&fingerprint) {
            Some(to) => *to,
            None => {
                let id = self.nodes.len() as u32;
                self.known.insert(fingerprint, id);
                self.report.worlds.insert(least);
                self.nodes.push(Node { parent: from, action: Some(action) });
                next.push((id, new.expect("it was not known")));
                id
            }
        };
        self.edges.push((from, to));
    }

    fn found(&mut self, at: u32, last: Option<Action>, broken: Vec<String>) {
        if self.report.found.is_none() {
            let mut path = self.path(at);
            path.extend(last);
            let (world, trace) = self.replay(&path);
            let broken = broken.into_iter().map(|line| world.by_label(line)).collect();
            self.report.found = Some(Counterexample { broken, trace });
        }
    }

    fn path(&self, mut at: u32) -> Vec<Action> {
        let mut path = Vec::new();
        while let Some(action) = self.nodes[at as usize].action {
            path.push(action);
            at = self.nodes[at as usize].parent;
        }
        path.reverse();
        path
    }

    fn replay(&self, path: &[Action]) -> (World, Vec<String>) {
        let mut world = World::new(self.setting);
        let mut trace = Vec::new();
        for action in path {
            trace.push(action.tell(&world));
            world = action.on(&world, self.setting);
        }
        (world, trace)
    }

    /// Rest can be reached from every world: backwards from the ends that came to rest. A world from which no end
    /// is reached runs to rest by itself.
    fn rest_is_reached(&mut self) {
        let mut before: Vec<Vec<u32>> = vec![Vec::new(); self.nodes.len()];
        for (from, to) in &self.edges {
            before[*to as usize].push(*from);
        }
        let mut reached = vec![false; self.nodes.len()];
        let mut open = std::mem::take(&mut self.settled);
        loop {
            while let Some(at) = open.pop() {
                if !std::mem::replace(&mut reached[at as usize], true) {
                    open.extend(before[at as usize].iter().filter(|b| !reached[**b as usize]));
                }
            }
            let Some(alone) = reached.iter().position(|reached| !reached) else { return };
            let (mut world, _) = self.replay(&self.path(alone as u32));
            let setting = self.setting;
            if let Some(broken) = settle(&mut world, |w, index| w.ask(setting, index)) {
                return self.found(alone as u32, None, broken);
            }
            self.report.settled_alone += 1;
            open.push(alone as u32);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} states, {} transitions, depth {}, {} ends and {} others at rest, {:.1} s",
            self.name,
            self.states,
            self.transitions,
            self.depth,
            self.ends,
            self.settled_alone,
            self.time.as_secs_f64()
        )?;
        let Some(found) = &self.found else { return Ok(()) };
        for (number, line) in found.trace.iter().enumerate() {
            write!(f, "\n  {:3}  {line}", number + 1)?;
        }
        found.broken.iter().try_for_each(|line| write!(f, "\n    => {line}"))
    }
}
