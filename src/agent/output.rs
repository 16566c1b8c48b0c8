//! The calendar files that bookings are written to. The journal is the truth: what is written here can always be
//! written again, so a disk that refuses it never holds up the protocol.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::calendar::carry_on;

/// How long until a file that could not be written is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Takes what is to be written; the last text for a path wins.
#[derive(Clone, Debug)]
pub(super) struct Outputs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// How many of the texts that were put are written, or have failed once.
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    texts: BTreeMap<PathBuf, String>,
    /// How many were put so far.
    count: u64,
    closed: bool,
}

impl Outputs {
    /// Starts the writer. It ends after [`Outputs::close`].
    pub(super) fn start() -> (Self, JoinHandle<()>) {
        let (done, _) = watch::channel(0);
        let shared = Arc::new(Shared { waiting: Mutex::default(), wake: Notify::new(), done });
        (Self { shared: shared.clone() }, tokio::spawn(run(shared)))
    }

    /// Has `path` replaced by `text`, soon.
    pub(super) fn put(&self, path: PathBuf, text: String) {
        let mut waiting = self.shared.waiting();
        waiting.texts.insert(path, text);
        waiting.count += 1;
        drop(waiting);
        self.shared.wake.notify_one();
    }

    /// Waits until all that was put is written, or has failed once.
    pub(super) async fn written(&self) {
        let count = self.shared.waiting().count;
        // The sender lives as long as this does.
        self.shared.done.subscribe().wait_for(|done| *done >= count).await.ok();
    }

    /// Lets the writer end when all is written, or has failed once more.
    pub(super) fn close(&self) {
        self.shared.waiting().closed = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    /// A map of texts is whole whatever happened to its other users.
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(shared: Arc<Shared>) {
    let mut problems: BTreeMap<PathBuf, String> = BTreeMap::new();
    loop {
        let (texts, count, closed) = {
            let mut waiting = shared.waiting();
            (std::mem::take(&mut waiting.texts), waiting.count, waiting.closed)
        };
        let write = move || -> Vec<_> {
            let write = |(path, text): (PathBuf, String)| (replace(&path, &text), path, text);
            texts.into_iter().map(write).collect()
        };
        let written = match tokio::task::spawn_blocking(write).await {
            Ok(written) => written,
            Err(error) => {
                tracing::error!(%error, "the writer of calendar files failed");
                Vec::new()
            }
        };
        for (result, path, text) in written {
            report(&mut problems, &path, &result);
            if result.is_err() {
                shared.waiting().texts.entry(path).or_insert(text);
            }
        }
        shared.done.send_replace(count);
        if closed {
            return;
        }
        let again = async {
            match problems.is_empty() {
                true => std::future::pending().await,
                false => tokio::time::sleep(TRY_AGAIN).await,
            }
        };
        tokio::select! {
            () = shared.wake.notified() => {}
            () = again => {}
        }
    }
}

/// Logs a failure once, and its end.
fn report(problems: &mut BTreeMap<PathBuf, String>, path: &Path, result: &io::Result<()>) {
    match result {
        Ok(()) => {
            if problems.remove(path).is_some() {
                tracing::info!(path = %path.display(), "the bookings can be written again");
            }
        }
        Err(error) => {
            let words = error.to_string();
            if problems.insert(path.to_owned(), words.clone()).as_ref() != Some(&words) {
                tracing::error!(
                    path = %path.display(), %error,
                    "the bookings can't be written there; they stand, and it is tried again"
                );
            }
        }
    }
}

/// Replaces a file at once: a reader sees the old text or the new one, whole. A text that differs in its time stamps
/// only is not written; revisions go on from those of the old one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let old = fs::read_to_string(path).unwrap_or_default();
    let text = carry_on(&old, text);
    if same(&old, &text) {
        return Ok(());
    }
    let name = path.file_name().ok_or_else(|| io::Error::other("is not the name of a file"))?;
    let draft = path.with_file_name(format!(".{}.tmp", name.to_string_lossy()));
    let mut file = File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    // Not synced, so that no promise waits for it: after a power cut another text may be there, until the agent starts
    // again and writes this one anew from its journal.
    fs::rename(&draft, path)
}

fn same(old: &str, new: &str) -> bool {
    let lines = |text: &'_ str| {
        text.lines().filter(|line| !line.starts_with("DTSTAMP:")).map(str::to_owned).collect::<Vec<_>>()
    };
    lines(old) == lines(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_text_is_there_and_no_draft_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.quorate.ics");
        let (outputs, task) = Outputs::start();
        for number in 0..50 {
            outputs.put(path.clone(), format!("text {number}\n"));
        }
        outputs.written().await;
        assert_eq!(fs::read_to_string(&path).unwrap(), "text 49\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        outputs.put(path.clone(), "last\n".to_owned());
        outputs.close();
        task.await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "last\n");
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_tried_again_with_the_next_change() {
        let folder = tempfile::tempdir().unwrap();
        let later = folder.path().join("later");
        let path = later.join("alice.quorate.ics");
        let (outputs, _task) = Outputs::start();
        outputs.put(path.clone(), "text\n".to_owned());
        outputs.written().await;
        assert!(!path.exists());
        fs::create_dir(&later).unwrap();
        outputs.put(folder.path().join("bob.quorate.ics"), "another\n".to_owned());
        outputs.written().await;
        assert_eq!(fs::read_to_string(&path).unwrap(), "text\n");
    }

    #[test]
    fn another_time_stamp_alone_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ics");
        replace(&path, "UID:1\r\nDTSTAMP:1\r\n").unwrap();
        replace(&path, "UID:1\r\nDTSTAMP:2\r\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "UID:1\r\nDTSTAMP:1\r\n");
        replace(&path, "UID:2\r\nDTSTAMP:2\r\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "UID:2\r\nDTSTAMP:2\r\n");
    }
}
