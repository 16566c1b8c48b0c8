//! A scheduler, agent hosts with a few people each, and where all of it lies.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::evidence::{self, Places};
use super::organizer::Organizer;
use super::process::{Program, Recipe};
use super::support::{say, until};

/// Monday 2034-07-10 00:00 UTC: it lies ahead for as long as these tests will be run.
pub const MONDAY: i64 = 2_036_102_400;

/// A calendar with one hour taken on each day of the week, at an hour of its own.
pub fn calendar(index: usize) -> String {
    let hour = 9 + index % 8;
    let event = |day: usize| {
        format!(
            "BEGIN:VEVENT\r\nUID:own-{day}@example.org\r\nDTSTAMP:20340101T000000Z\r\n\
             DTSTART:203407{:02}T{hour:02}0000Z\r\nDTEND:203407{:02}T{:02}0000Z\r\nSUMMARY:Taken\r\nEND:VEVENT\r\n",
            10 + day,
            10 + day,
            hour + 1
        )
    };
    let events: String = (0..5).map(event).collect();
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//tests//EN\r\n{events}END:VCALENDAR\r\n")
}

/// One process of the world, running or not.
pub struct Seat {
    pub recipe: Recipe,
    pub program: Option<Program>,
}

impl Seat {
    pub fn new(recipe: Recipe) -> Self {
        Self { recipe, program: None }
    }

    pub fn start(&mut self) {
        assert!(self.program.is_none(), "{} runs already", self.recipe.what);
        self.program = Some(self.recipe.start());
    }

    pub async fn start_and_wait(&mut self) {
        self.start();
        self.running().ready().await;
    }

    pub fn running(&mut self) -> &mut Program {
        self.program.as_mut().expect("a process that runs")
    }

    pub async fn kill(&mut self) {
        self.program.take().expect("a process that runs").kill().await;
    }

    /// SIGTERM, and SIGKILL if it has not ended after so long.
    pub async fn terminate_or_kill(&mut self, after: Duration) {
        self.program.take().expect("a process that runs").terminate_or_kill(after).await;
    }

    pub async fn terminate(&mut self) {
        self.program.take().expect("a process that runs").terminate().await;
    }
}

/// Everything, in one folder.
pub struct World {
    pub scheduler: Seat,
    pub agents: Vec<Seat>,
    pub people: Vec<String>,
    pub places: Places,
}

/// The data directory of a host's journal, and its calendars.
pub fn host(folder: &Path, index: usize, people: &[String], first: usize) -> (PathBuf, PathBuf) {
    let calendars = folder.join(format!("calendars-{index}"));
    fs::create_dir_all(&calendars).expect("a folder");
    for (offset, name) in people.iter().enumerate() {
        fs::write(calendars.join(format!("{name}.ics")), calendar(first + offset)).expect("a calendar");
    }
    (folder.join(format!("agent-{index}")), calendars)
}

impl World {
    /// `hosts` agents with `each` people each; nothing runs yet. `seat` says how a process is started.
    pub fn new(
        folder: &Path,
        hosts: usize,
        each: usize,
        listen: &str,
        url: &str,
        seat: impl Fn(usize, Recipe) -> Recipe,
    ) -> Self {
        let data = folder.join("scheduler");
        let recipe = Recipe::serve(listen, &data, &folder.join("scheduler.log"));
        let mut world = Self {
            scheduler: Seat::new(seat(0, recipe)),
            agents: Vec::new(),
            people: Vec::new(),
            places: Places { database: data.join("quorate.db"), ..Places::default() },
        };
        for index in 0..hosts {
            let people: Vec<String> = (0..each).map(|n| format!("p{index}{n}")).collect();
            let (data, calendars) = host(folder, index, &people, index * each);
            let (what, log) = (format!("agent {index}"), folder.join(format!("agent-{index}.log")));
            let recipe = Recipe::agent(&what, url, &calendars, &data, &log);
            world.agents.push(Seat::new(seat(index + 1, recipe)));
            world.people.extend(people);
            world.places.journals.push(data.join("journal.db"));
            world.places.calendars.push(calendars);
        }
        world
    }

    /// Starts everything, and waits until everybody is registered.
    pub async fn start(&mut self) {
        self.scheduler.start_and_wait().await;
        for agent in &mut self.agents {
            agent.start_and_wait().await;
        }
    }

    /// An organizer whose log the checker reads.
    pub fn organizer(&mut self, folder: &Path, index: usize, seed: u64, url: &str) -> Organizer {
        let (name, log) = (format!("organizer {index}"), folder.join(format!("organizer-{index}.jsonl")));
        self.places.logs.push(log.clone());
        Organizer::new(&name, seed.wrapping_add(index as u64 + 1), url, &self.people, &log)
    }

    /// Waits until nothing is under way any more, by what is on disk.
    pub async fn rest(&self, what: &str) {
        let look = || match evidence::unrest(&self.places)? {
            Some(unrest) => Err(unrest),
            None => Ok(()),
        };
        let ((), took) = until(&format!("{what}: all is settled"), look).await;
        say(&format!("{what}: at rest after {took:.1?}"));
    }

    /// Ends everything in good order.
    pub async fn terminate(&mut self) {
        for agent in &mut self.agents {
            agent.terminate().await;
        }
        self.scheduler.terminate().await;
    }
}
