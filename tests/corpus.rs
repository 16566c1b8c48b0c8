//! Replays the corpus of the fuzz targets (`fuzz/`) through the properties that they check.

#[path = "../fuzz/src/lib.rs"]
mod properties;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// Longest time for one file, on a busy machine and without optimisation. Each takes far less; what takes longer would
/// let an agent or a scheduler stand still.
const PER_FILE: Duration = Duration::from_secs(60);

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn files(target: &str) -> Vec<PathBuf> {
    let folder = corpus().join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

/// Every file on its own, so that the name of the one that fails is known.
fn replay(target: &str) {
    let (_, property) = properties::TARGETS.into_iter().find(|(name, _)| *name == target).expect("a target");
    let files = files(target);
    for file in &files {
        let bytes = fs::read(file).expect("a file");
        let (done, is_done) = mpsc::sync_channel(1);
        let run = std::thread::spawn(move || {
            property(&bytes);
            // Nobody waits any more if it took too long.
            done.send(()).ok();
        });
        match is_done.recv_timeout(PER_FILE) {
            Ok(()) => run.join().expect("it was done"),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                panic!("{}: {:?}", file.display(), run.join().err().and_then(words));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{} takes over {PER_FILE:?}", file.display()),
        }
    }
    println!("{target}: {} files", files.len());
}

fn words(panic: Box<dyn std::any::Any + Send>) -> Option<String> {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
}

#[test]
fn every_folder_has_a_target_and_every_target_a_folder() {
    let mut folders: Vec<_> = fs::read_dir(corpus())
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    folders.sort();
    assert_eq!(folders, properties::TARGETS.map(|(name, _)| name));
}

macro_rules! replays {
    ($($target:ident)*) => { $(#[test] fn $target() { replay(stringify!($target)); })* };
}

replays!(calendar coordinator join_request join_response participant register requests);
