//! Disks that are full, or may only be read: what can't be kept is refused with a reason, nothing is half done, and
//! service is back when the disk is.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use pb::meeting::State;
use quorate::core::random::Random;
use quorate::wire::pb;
use tonic::Code;
use tonic_types::StatusExt;

use super::campaign::{self, Crowd, verdict};
use super::checker;
use super::organizer::{self, Client, Organizer};
use super::process::{Recipe, free_port};
use super::support::{chance, millis, number, one, say, seed, until, within};
use super::world::World;

/// Size of a disk that is filled at once, in MiB.
const SMALL: u64 = 6;
/// Size of a disk that has to hold a whole campaign, in MiB.
const LARGER: u64 = 64;
/// How often disks fill up in the campaign, unless `FILLS` says.
const FILLS: u64 = 8;
/// How long a disk stays full while the program's temper is watched.
const FULL: Duration = Duration::from_secs(3);
/// What a program that waits for its disk may take of a processor, in hundredths of a second per second.
const IDLE: u64 = 25;
/// Lines that it may log in that time.
const LINES: usize = 30;

/// What disks are filled with.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Something mounted by us; unmounted when it is dropped.
struct Mounted(PathBuf);

fn mount(arguments: &[&str], at: &Path) -> Result<Mounted, String> {
    fs::create_dir_all(at).expect("a folder");
    let output = Command::new("mount").args(arguments).arg(at).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(Mounted(at.to_owned())),
        false => Err(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned()),
    }
}

impl Mounted {
    /// A file system in memory with so much room, in MiB.
    fn disk(at: &Path, size: u64) -> Result<Self, String> {
        mount(&["-t", "tmpfs", "-o", &format!("size={size}m"), "quorate-chaos"], at)
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let mut file = File::create(self.0.join("ballast")).expect("a file");
        for size in [ZEROS.len(), 1 << 12, 1] {
            while file.write_all(&ZEROS[..size]).is_ok() {}
        }
    }

    /// Gives it back.
    fn free(&self) {
        fs::remove_file(self.0.join("ballast")).expect("the ballast");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there is about to be killed.
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        if !done.is_ok_and(|status| status.success()) && !std::thread::panicking() {
            say(&format!("{} is still mounted", self.0.display()));
        }
    }
}

fn skipped(why: &str) {
    say(&format!("SKIPPED full and read-only disks: nothing can be mounted here: {why}"));
}

/// A scheduler and two hosts with one person each.
fn small_world(folder: &Path) -> (World, String) {
    let address = free_port();
    let url = format!("http://{address}");
    (World::new(folder, 2, 1, &address.to_string(), &url, |_, recipe| recipe), url)
}

/// For both people.
fn request(random: &mut Random, world: &World) -> pb::ScheduleMeetingRequest {
    let mut request = organizer::ask(random, "organizer", &world.people);
    let spec = request.spec.as_mut().expect("a spec");
    let required =
        |id: &String| pb::Attendee { participant_id: id.clone(), role: pb::attendee::Role::Required.into() };
    spec.attendees = world.people.iter().map(required).collect();
    spec.minimum_participants = 0;
    request
}

async fn schedule(
    client: &Client,
    request: &pb::ScheduleMeetingRequest,
) -> Result<pb::Meeting, tonic::Status> {
    let answer = within("an answer", client.clone().schedule_meeting(request.clone())).await?;
    Ok(answer.into_inner().meeting.expect("a meeting"))
}

/// Asks again, with the same request id, until there is an answer.
async fn insist(client: &Client, request: &pb::ScheduleMeetingRequest) -> pb::Meeting {
    let asking = async {
        loop {
            match schedule(client, request).await {
                Ok(meeting) => return meeting,
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within("service is back by itself", asking).await
}

/// Asks for meetings until one is booked.
async fn until_booked(organizer: &mut Organizer, random: &mut Random, world: &World) {
    let booking = async {
        while organizer.book(request(random, world)).await.is_none_or(|seen| seen.state != "CONFIRMED") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("there are bookings again", booking).await;
}

/// Processor time and lines of log that the program takes while its disk stays full.
async fn temper(seat: &mut super::world::Seat) -> (u64, usize) {
    let lines = |log: &Path| fs::read_to_string(log).expect("a log").lines().count();
    let (log, program) = (seat.recipe.log.clone(), seat.running());
    let (time, said) = (program.processor_time(), lines(&log));
    tokio::time::sleep(FULL).await;
    program.must_run();
    (program.processor_time() - time, lines(&log) - said)
}

/// Both come back in good order, and the files are judged.
async fn conclude(mut world: World, folder: tempfile::TempDir, mut organizer: Organizer, what: &str) {
    organizer.resolve().await;
    world.rest(what).await;
    world.terminate().await;
    let findings = checker::check(&world.places).expect("the files can be read");
    verdict(&findings, folder, what);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scheduler_with_a_full_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = match Mounted::disk(&folder.path().join("scheduler"), SMALL) {
        Ok(disk) => disk,
        Err(why) => return skipped(&why),
    };
    let (mut world, url) = small_world(folder.path());
    world.start().await;
    let mut random = Random::new(1);
    let mut organizer = world.organizer(folder.path(), 0, 1, &url);
    let client = organizer::client(&url);
    let before = organizer.book(request(&mut random, &world)).await;
    assert!(before.is_some(), "booked while there was room");

    disk.fill();
    // There may be room in the log that is there already: it does not last.
    let refused = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let request = request(&mut random, &world);
            if organizer.book(request.clone()).await.is_none() {
                return request;
            }
        }
    });
    let refused = refused.await.expect("a full disk is noticed");
    let status = schedule(&client, &refused).await.expect_err("the disk is full");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let info = status.get_details_error_info().expect("a reason");
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("STORE_UNAVAILABLE", "quorate"));
    let (time, lines) = temper(&mut world.scheduler).await;
    disk.free();
    let started = Instant::now();
    // As soon as the store is back there is an answer; and as soon as the agents are, bookings.
    let meeting = insist(&client, &refused).await;
    until_booked(&mut organizer, &mut random, &world).await;
    say(&format!(
        "full disk, scheduler: {time} ticks and {lines} lines in {FULL:?} without room; back after {:.1?}, {:?}",
        started.elapsed(),
        meeting.state()
    ));
    assert!(time <= IDLE * FULL.as_secs(), "it spins while it waits: {time} ticks in {FULL:?}");
    assert!(lines <= LINES, "it floods its log while it waits: {lines} lines in {FULL:?}");
    assert!(matches!(meeting.state(), State::Confirmed | State::Failed), "{meeting:?}");
    conclude(world, folder, organizer, "full disk, scheduler").await;
    drop(disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_a_full_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = match Mounted::disk(&folder.path().join("agent-0"), SMALL) {
        Ok(disk) => disk,
        Err(why) => return skipped(&why),
    };
    let (mut world, url) = small_world(folder.path());
    world.start().await;
    let mut random = Random::new(2);
    let mut organizer = world.organizer(folder.path(), 0, 2, &url);
    let booked = organizer.book(request(&mut random, &world)).await;
    assert!(booked.is_some(), "booked while there was room");

    disk.fill();
    // Nobody is booked without a journal that can keep it; the scheduler itself goes on.
    let failed = tokio::time::timeout(Duration::from_secs(120), async {
        loop {
            let meeting = organizer.book(request(&mut random, &world)).await.expect("the scheduler answers");
            if meeting.state == "FAILED" {
                return;
            }
        }
    });
    failed.await.expect("a full disk is noticed");
    let (time, lines) = temper(&mut world.agents[0]).await;
    disk.free();
    let started = Instant::now();
    until_booked(&mut organizer, &mut random, &world).await;
    say(&format!(
        "full disk, agent: {time} ticks and {lines} lines in {FULL:?} without room; back after {:.1?}",
        started.elapsed()
    ));
    assert!(time <= IDLE * FULL.as_secs(), "it spins while it waits: {time} ticks in {FULL:?}");
    assert!(lines <= LINES, "it floods its log while it waits: {lines} lines in {FULL:?}");
    conclude(world, folder, organizer, "full disk, agent").await;
    drop(disk);
}

#[tokio::test]
async fn data_that_may_only_be_read_is_refused_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut world, _) = small_world(folder.path());
    world.start().await;
    world.terminate().await;
    let log = folder.path().join("refused.log");
    let agent_data = folder.path().join("agent-0");
    let seats = [
        (world.scheduler.recipe.clone(), folder.path().join("scheduler")),
        (world.agents[0].recipe.clone(), agent_data),
    ];
    for (recipe, data) in seats {
        let path = data.to_str().expect("a path in UTF-8").to_owned();
        let disk = match mount(&["--bind", &path], &data) {
            Ok(disk) => disk,
            Err(why) => return skipped(&why),
        };
        let read_only = Command::new("mount").args(["-o", "remount,bind,ro", &path]).status();
        assert!(read_only.expect("mount").success(), "{path} can be made read-only");
        let mut program = Recipe { log: log.clone(), ..recipe.clone() }.start();
        let refusal = program.refusal().await;
        let words = program.last_words();
        assert!(refusal.flatten().is_some_and(|code| code != 0), "{}: {refusal:?} {words}", recipe.what);
        assert!(words.contains(&path) && words.contains("write"), "{}: {words}", recipe.what);
        drop(disk);
    }
    // As soon as it may be written again, all is as it was.
    world.start().await;
    world.terminate().await;
}

#[tokio::test]
async fn no_room_for_a_start_is_refused_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("scheduler");
    let disk = match Mounted::disk(&data, SMALL) {
        Ok(disk) => disk,
        Err(why) => return skipped(&why),
    };
    let recipe = Recipe::serve("127.0.0.1:0", &data, &folder.path().join("scheduler.log"));
    disk.fill();
    let mut program = recipe.start();
    let refusal = program.refusal().await;
    let words = program.last_words();
    assert!(refusal.flatten().is_some_and(|code| code != 0), "{refusal:?} {words}");
    assert!(words.contains(data.to_str().expect("UTF-8")) && words.contains("space"), "{words}");
    disk.free();
    // What the first try left is no store, and is not taken for one.
    let mut program = recipe.start();
    program.ready().await;
    program.terminate().await;
    let started = until("the store is made", || match data.join("quorate.db").is_file() {
        true => Ok(()),
        false => Err("no file".to_owned()),
    });
    started.await;
    drop(disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_that_fill_up_and_are_freed_again() {
    let what = "disks that fill up";
    let folder = tempfile::tempdir().expect("a folder");
    // The store's, a journal's, and that of the calendar files that are written from it.
    let names = ["scheduler", "agent-0", "calendars-0"];
    let disks = names.map(|name| Mounted::disk(&folder.path().join(name), LARGER));
    let disks: Result<Vec<Mounted>, String> = disks.into_iter().collect();
    let disks = match disks {
        Ok(disks) => disks,
        Err(why) => return skipped(&why),
    };
    let (seed, fills) = (seed(what), number("FILLS").unwrap_or(FILLS));
    let mut random = Random::new(seed);
    let (mut world, url) = small_world(folder.path());
    world.start().await;
    let organizers = (0..2).map(|n| world.organizer(folder.path(), n, seed, &url)).collect();
    let (started, crowd) = (Instant::now(), Crowd::start(organizers));
    let mut kills = 0;
    for n in 0..fills {
        tokio::time::sleep(millis(&mut random, 100, 1_500)).await;
        // Each of them once for sure, then one or two.
        let full: Vec<&Mounted> = match disks.get(n as usize) {
            Some(disk) => vec![disk],
            None if chance(&mut random, 30) => vec![&disks[0], &disks[1 + random.below(2) as usize]],
            None => vec![one(&mut random, &disks)],
        };
        full.iter().for_each(|disk| disk.fill());
        tokio::time::sleep(millis(&mut random, 100, 2_500)).await;
        // Half of an agent's journal may be on the disk, and the rest not.
        if chance(&mut random, 30) {
            world.agents[0].kill().await;
            kills += 1;
        }
        full.iter().for_each(|disk| disk.free());
        if world.agents[0].program.is_none() {
            // A start without room is refused, which is another test.
            world.agents[0].start_and_wait().await;
        }
    }
    let took = started.elapsed();
    let findings = campaign::conclude(&mut world, crowd, what).await;
    say(&format!("{what}: {fills} times full, {kills} kills of the agent meanwhile, in {took:.0?}"));
    verdict(&findings, folder, what);
    drop(disks);
}
