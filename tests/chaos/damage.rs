//! Files that were cut, overwritten or lost while the program was not running: a store that is not whole is refused,
//! with its name and the way out, and is never taken for an empty one.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use quorate::core::random::Random;
use quorate::wire::pb;

use super::campaign::verdict;
use super::checker;
use super::organizer;
use super::process::{Recipe, free_port};
use super::world::World;

/// Meetings that are booked before the damage.
const BOOKED: usize = 12;

/// One way to spoil a database and its log.
struct Damage {
    name: &'static str,
    spoil: fn(&Path),
    /// What the refusal says beside the file's name.
    says: &'static [&'static str],
}

fn log_of(path: &Path) -> PathBuf {
    path.with_file_name(format!("{}-wal", path.file_name().expect("a name").to_string_lossy()))
}

fn cut(path: &Path, size: u64) {
    File::options().write(true).open(path).expect("a file").set_len(size).expect("cut");
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).len()
}

/// Overwrites some bytes with noise.
fn noise(path: &Path, from: u64, count: u64) {
    assert!(from + count <= size(path), "{} has {} bytes", path.display(), size(path));
    let mut random = Random::new(count);
    let bytes: Vec<u8> = (0..count).map(|_| random.number() as u8).collect();
    let mut file = File::options().write(true).open(path).expect("a file");
    file.seek(SeekFrom::Start(from)).expect("a place");
    file.write_all(&bytes).expect("written");
}

/// To a database that was closed in good order: there is no log.
const CLOSED: [Damage; 8] = [
    Damage { name: "cut to nothing", spoil: |path| cut(path, 0), says: &["is empty"] },
    Damage { name: "cut to half", spoil: |path| cut(path, size(path) / 2 / 4096 * 4096), says: &["damaged"] },
    Damage { name: "cut within a page", spoil: |path| cut(path, size(path) - 1000), says: &["damaged"] },
    Damage { name: "a spoilt header", spoil: |path| noise(path, 0, 100), says: &["damaged"] },
    Damage { name: "a spoilt page", spoil: |path| noise(path, 4096, 4096), says: &["damaged"] },
    Damage {
        name: "noise",
        spoil: |path| {
            let length = size(path);
            noise(path, 0, length);
        },
        says: &["damaged"],
    },
    Damage {
        name: "another program's database",
        spoil: |path| {
            fs::remove_file(path).expect("removed");
            let db = rusqlite::Connection::open(path).expect("a database");
            db.execute_batch("CREATE TABLE notes (text)").expect("a table");
        },
        says: &["another program"],
    },
    Damage {
        name: "a folder in its place",
        spoil: |path| {
            fs::remove_file(path).expect("removed");
            fs::create_dir(path).expect("a folder");
        },
        says: &["not a file"],
    },
];

/// To a database whose program was killed, so that what was committed last is in the log alone.
const KILLED: [Damage; 2] = [
    Damage { name: "the database cut to nothing", spoil: |path| cut(path, 0), says: &["is empty"] },
    Damage {
        name: "the database gone",
        spoil: |path| fs::remove_file(path).expect("removed"),
        says: &["is gone"],
    },
];

/// To the log alone: the database is whole, and older than what organizers were told.
const LOGS: [Damage; 4] = [
    Damage {
        name: "the log gone",
        spoil: |path| fs::remove_file(log_of(path)).expect("removed"),
        says: &["-wal"],
    },
    Damage { name: "the log cut to nothing", spoil: |path| cut(&log_of(path), 0), says: &["-wal"] },
    Damage { name: "the log's header spoilt", spoil: |path| noise(&log_of(path), 0, 32), says: &["-wal"] },
    Damage {
        name: "the log spoilt in the middle",
        spoil: |path| noise(&log_of(path), size(&log_of(path)) / 2, 64),
        says: &["-wal"],
    },
];

/// Everything in a folder, byte by byte.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

fn bytes(path: &Path) -> Option<Vec<u8>> {
    fs::read(path).ok()
}

/// Spoils copies of a data directory, one by one: the program must refuse each and leave the file alone. Returns
/// where it did not.
async fn refused(
    data: &Path,
    file: &str,
    recipe: impl Fn(&Path) -> Recipe,
    damages: &[Damage],
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, damage) in damages.iter().enumerate() {
        let spoilt = data.with_file_name(format!("spoilt-{}-{index}", damages.len()));
        copy(data, &spoilt);
        let path = spoilt.join(file);
        (damage.spoil)(&path);
        let before = bytes(&path);
        let recipe = recipe(&spoilt);
        let mut program = recipe.start();
        let refusal = program.refusal().await;
        let name = path.to_str().expect("a path in UTF-8");
        let words = program.last_words();
        let clear = words.contains(name)
            && damage.says.iter().all(|word| words.contains(word))
            && ["put a copy", "name ", "remove", "move it"].iter().any(|way| words.contains(way));
        match refusal {
            None => wrong.push(format!("{}: started as if nothing were wrong", damage.name)),
            Some(code) if code == Some(0) || code.is_none() => {
                wrong.push(format!("{}: ended with {code:?}", damage.name))
            }
            Some(_) if !clear => wrong.push(format!("{}: not clear: {words}", damage.name)),
            Some(_) if bytes(&path) != before => wrong.push(format!("{}: the file was changed", damage.name)),
            Some(_) => {}
        }
        drop(program);
        fs::remove_dir_all(&spoilt).expect("removed");
    }
    wrong
}

/// A world that has booked some meetings, all settled; and what the organizer was told.
async fn booked(folder: &Path) -> World {
    let address = free_port();
    let url = format!("http://{address}");
    let mut world = World::new(folder, 2, 2, &address.to_string(), &url, |_, recipe| recipe);
    world.start().await;
    let mut organizer = world.organizer(folder, 0, 7, &url);
    let mut random = Random::new(7);
    let mut count = 0;
    while count < BOOKED {
        let request: pb::ScheduleMeetingRequest = organizer::ask(&mut random, "organizer", &world.people);
        let seen = organizer.book(request).await.expect("an answer");
        count += usize::from(seen.state == "CONFIRMED");
    }
    world.rest("before the damage").await;
    world
}

fn serve(data: &Path) -> Recipe {
    Recipe::serve("127.0.0.1:0", data, &data.join("log"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_refuses_a_store_that_is_not_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = booked(folder.path()).await;
    let data = folder.path().join("scheduler");
    world.scheduler.kill().await;
    assert!(size(&log_of(&data.join("quorate.db"))) > 0, "a killed scheduler leaves its log");
    let mut wrong = refused(&data, "quorate.db", serve, &KILLED).await;
    wrong.extend(refused(&data, "quorate.db", serve, &LOGS).await);
    // A write that was cut off by the kill is no damage: nobody was told of it.
    let log = log_of(&data.join("quorate.db"));
    cut(&log, size(&log) + 1_000);
    noise(&log, size(&log) - 1_000, 1_000);
    world.scheduler.start_and_wait().await;
    world.scheduler.terminate().await;
    wrong.extend(refused(&data, "quorate.db", serve, &CLOSED).await);
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The files that were not spoilt are as good as before.
    world.scheduler.start_and_wait().await;
    world.rest("after the damage").await;
    world.terminate().await;
    verdict(&checker::check(&world.places).expect("the files can be read"), folder, "undamaged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_refuses_a_journal_that_is_not_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = booked(folder.path()).await;
    let data = folder.path().join("agent-0");
    let calendars = folder.path().join("calendars-0");
    // Nobody listens there: an agent that starts says so.
    let nobody = format!("http://{}", free_port());
    let agent = |data: &Path| Recipe::agent("agent", &nobody, &calendars, data, &data.join("log"));
    world.agents[0].kill().await;
    assert!(size(&log_of(&data.join("journal.db"))) > 0, "a killed agent leaves its log");
    let mut wrong = refused(&data, "journal.db", agent, &KILLED).await;
    world.agents[0].start_and_wait().await;
    world.agents[0].terminate().await;
    wrong.extend(refused(&data, "journal.db", agent, &CLOSED).await);
    assert!(wrong.is_empty(), "{wrong:#?}");
    world.agents[0].start_and_wait().await;
    world.rest("after the damage").await;
    world.terminate().await;
    verdict(&checker::check(&world.places).expect("the files can be read"), folder, "undamaged");
}

/// The scheduler knows how far a journal was: one that lost its end is a new life of it, and gets its bookings back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_lost_its_end_is_made_whole_by_the_scheduler() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = booked(folder.path()).await;
    let journal = world.places.journals[0].clone();
    for damage in &LOGS {
        world.agents[0].kill().await;
        (damage.spoil)(&journal);
        world.agents[0].start_and_wait().await;
        world.rest(damage.name).await;
    }
    // The way out that the refusal names: both files moved away.
    world.agents[0].kill().await;
    for path in [journal.clone(), log_of(&journal)] {
        fs::rename(&path, path.with_extension("away")).expect("moved away");
    }
    world.agents[0].start_and_wait().await;
    world.rest("the journal moved away").await;
    world.terminate().await;
    verdict(
        &checker::check(&world.places).expect("the files can be read"),
        folder,
        "journals that lost their end",
    );
}
