//! Notices when calendar files change, come and go.
//!
//! The system tells of changes in the files' folders; a change is taken up when the folder has been quiet for a moment.
//! Every file's size and times are looked at as well, now and then: not all file systems tell. A file counts as
//! changed only if its content is another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::calendar::{OUTPUT_SUFFIX, PREPARED, PREPARED_AT_LEAST, calendar_files, no_calendars};
use super::calendar_time::Loaded;
use super::config::{AgentConfig, ParticipantConfig};
use super::host::Change;
use super::link::Command;
use crate::core::ids::ParticipantId;
use crate::engine::Clock;

/// How long the folders must be quiet.
const QUIET: Duration = Duration::from_millis(200);
/// After this long they are looked at although they are not quiet.
const LOUD: Duration = Duration::from_secs(2);
/// How often files are looked at if the system can't tell.
const POLL: Duration = Duration::from_secs(5);
/// How often they are looked at although it can.
const SLOW_POLL: Duration = Duration::from_secs(30);
/// Paths that wait to be looked at; when there are more, all files are.
const EVENTS: usize = 1_024;

/// What tells a changed file without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    /// On Unix: which file it is, and when anything about it last changed.
    inode: (u64, i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = {
            use std::os::unix::fs::MetadataExt;
            (file.ino(), file.ctime(), file.ctime_nsec())
        };
        #[cfg(not(unix))]
        let inode = (0, 0, 0);
        Some(Self { length: file.len(), modified: file.modified().ok(), inode })
    }
}

#[derive(Clone, Debug)]
struct Watched {
    participant: ParticipantId,
    stamp: Option<Stamp>,
    digest: Option<[u8; 32]>,
    /// One of the folder's: it may go.
    of_folder: bool,
    reading: Reading,
    /// As it was handed out, and until when its busy time is worked out ahead.
    loaded: Loaded,
    ahead: chrono::DateTime<chrono::Utc>,
}

/// How a file is read.
#[derive(Debug, Clone)]
struct Reading {
    /// The addresses of the calendar's owner.
    owners: Vec<String>,
    /// The zone in which it is asked about; none: its own.
    zone: Option<String>,
}

impl Reading {
    fn of(participant: &ParticipantConfig) -> Self {
        Self { owners: participant.owners(), zone: participant.policy().zone }
    }
}

/// The calendar files of a host as they were last read.
#[derive(Debug)]
pub(super) struct Files {
    config: AgentConfig,
    /// For what is worked out ahead when a calendar is read.
    clock: Clock,
    known: BTreeMap<PathBuf, Watched>,
    /// Files of the folder that can't be served, so that each is logged once.
    refused: BTreeSet<PathBuf>,
}

impl Files {
    /// Reads everyone's calendar.
    pub(super) fn read(
        config: AgentConfig,
        clock: Clock,
        everyone: Vec<ParticipantConfig>,
    ) -> (Self, Vec<(ParticipantConfig, Loaded)>) {
        let mut files = Self { config, clock, known: BTreeMap::new(), refused: BTreeSet::new() };
        let mut read = Vec::with_capacity(everyone.len());
        for participant in everyone {
            let named = &files.config.participants;
            let of_folder = !named.iter().any(|named| named.id == participant.id);
            let loaded =
                files.load(&participant.calendar, &participant.id, of_folder, Reading::of(&participant));
            read.push((participant, loaded));
        }
        if let Some(folder) = &files.config.folder {
            let all = calendar_files(&folder.path).unwrap_or_default();
            files.refused = all.into_iter().filter(|file| folder.participant(file).is_err()).collect();
        }
        files.tell_of_others();
        (files, read)
    }

    /// What is named like a calendar and is none is told once: somebody may miss it.
    fn tell_of_others(&mut self) {
        let Some(folder) = &self.config.folder else { return };
        // That the folder can't be listed is told where it is needed.
        for path in no_calendars(&folder.path).unwrap_or_default() {
            if !self.refused.contains(&path) {
                tracing::warn!(path = %path.display(), "is no file: nobody is served by it");
                self.refused.insert(path);
            }
        }
    }

    /// Reads a file. Its stamp is taken before, so that what changes meanwhile is seen the next time.
    fn load(
        &mut self,
        path: &Path,
        participant: &ParticipantId,
        of_folder: bool,
        reading: Reading,
    ) -> Loaded {
        let stamp = Stamp::of(path);
        let loaded = Loaded::read_of(path, &reading.owners);
        let now = self.clock.now().wall;
        loaded.prepare(reading.zone.as_deref(), now);
        let (participant, digest) = (participant.clone(), loaded.digest);
        let (loaded_too, ahead) = (loaded.clone(), now.checked_add_signed(PREPARED).unwrap_or(now));
        let watched = Watched { participant, stamp, digest, of_folder, reading, loaded: loaded_too, ahead };
        self.known.insert(path.to_owned(), watched);
        loaded
    }

    /// The folders to watch.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let parent = |path: &PathBuf| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let folder = self.config.folder.iter().map(|folder| folder.path.clone());
        self.known.keys().map(parent).chain(folder).collect()
    }

    /// What has changed since the last look. Files in `touched` are read in any case, others if their stamp is
    /// another one.
    fn changes(&mut self, touched: &BTreeSet<PathBuf>) -> Vec<Change> {
        let mut changes = Vec::new();
        let present = self.config.folder.as_ref().and_then(|folder| match calendar_files(&folder.path) {
            Ok(files) => Some(files.into_iter().collect::<BTreeSet<PathBuf>>()),
            Err(error) => {
                // Nobody has left because of that: their calendars just can't be read.
                tracing::error!(path = %folder.path.display(), %error, "the folder can't be listed");
                None
            }
        });
        let known: Vec<(PathBuf, Watched)> =
            self.known.iter().map(|(path, watched)| (path.clone(), watched.clone())).collect();
        for (path, watched) in known {
            if watched.of_folder && present.as_ref().is_some_and(|present| !present.contains(&path)) {
                self.known.remove(&path);
                changes.push(Change::Removed(watched.participant));
            } else if touched.contains(&path) || Stamp::of(&path) != watched.stamp {
                let loaded =
                    self.load(&path, &watched.participant, watched.of_folder, watched.reading.clone());
                // Of a file that can't be read there is no digest; it is told each time that anything about it changes.
                if loaded.digest.is_none() || loaded.digest != watched.digest {
                    changes.push(Change::Changed(watched.participant, loaded));
                } else if let Some(known) = self.known.get_mut(&path) {
                    // The one that answers stays the one that it was.
                    (known.loaded, known.ahead) = (watched.loaded, watched.ahead);
                }
            }
        }
        self.tell_of_others();
        for path in present.unwrap_or_default() {
            if !self.known.contains_key(&path) && !self.config.writes(&path) {
                changes.extend(self.appeared(path));
            }
        }
        changes
    }

    /// Works out ahead what is due again: a file that nobody changes is asked about all the same. How many were.
    fn prepare_again(&mut self, now: chrono::DateTime<chrono::Utc>) -> usize {
        let due = self.known.values_mut().filter(|watched| watched.ahead - now < PREPARED_AT_LEAST);
        let mut prepared = 0;
        for watched in due {
            watched.loaded.prepare(watched.reading.zone.as_deref(), now);
            watched.ahead = now.checked_add_signed(PREPARED).unwrap_or(now);
            prepared += 1;
        }
        prepared
    }

    fn appeared(&mut self, path: PathBuf) -> Option<Change> {
        let participant = match self.config.folder.as_ref()?.participant(&path) {
            Ok(participant) => participant,
            Err(error) => {
                if self.refused.insert(path) {
                    tracing::warn!(%error, "a calendar is not served");
                }
                return None;
            }
        };
        if self.known.values().any(|known| known.participant == participant.id) {
            if self.refused.insert(path) {
                tracing::warn!(participant = %participant.id, "a second calendar of a participant is not served");
            }
            return None;
        }
        let loaded = self.load(&path, &participant.id, true, Reading::of(&participant));
        Some(Change::Added(Box::new(participant), loaded))
    }
}

/// What the system has told.
#[derive(Debug)]
struct Touched(Vec<PathBuf>);

/// Has the system tell of changes in these folders.
fn notified(
    folders: &BTreeSet<PathBuf>,
    events: mpsc::Sender<Touched>,
) -> Result<RecommendedWatcher, notify::Error> {
    let mut watcher = notify::recommended_watcher(move |event: Result<Event, notify::Error>| {
        let touched = match event {
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => return,
            Ok(event) => event.paths,
            Err(error) => {
                tracing::warn!(%error, "a change of calendar files may have been missed");
                Vec::new()
            }
        };
        let ours = |path: &PathBuf| path.to_string_lossy().ends_with(OUTPUT_SUFFIX);
        if touched.is_empty() || !touched.iter().all(ours) {
            // With a full queue all files are looked at anyway.
            events.try_send(Touched(touched)).ok();
        }
    })?;
    for folder in folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Watches until nobody wants to know any more.
pub(super) async fn run(mut files: Files, commands: mpsc::Sender<Command>) {
    let (sender, mut events) = mpsc::channel(EVENTS);
    let watcher = notified(&files.folders(), sender);
    let every = match &watcher {
        Ok(_) => SLOW_POLL,
        Err(error) => {
            let every = POLL.as_secs();
            tracing::warn!(%error, "the system does not tell of changed files: looking every {every} s instead");
            POLL
        }
    };
    // What changed before the watcher was there.
    let mut touched = BTreeSet::new();
    loop {
        let look = tokio::task::spawn_blocking(move || {
            let changes = files.changes(&touched);
            (files, changes)
        });
        let changes = match look.await {
            Ok((back, changes)) => {
                files = back;
                changes
            }
            Err(error) => {
                tracing::error!(%error, "calendar files are no longer watched");
                return;
            }
        };
        if !changes.is_empty() && commands.send(Command::Calendars(changes)).await.is_err() {
            return;
        }
        // After the changes, which somebody may wait for.
        let prepare = tokio::task::spawn_blocking(move || {
            let now = files.clock.now().wall;
            files.prepare_again(now);
            files
        });
        match prepare.await {
            Ok(back) => files = back,
            Err(error) => {
                tracing::error!(%error, "calendar files are no longer watched");
                return;
            }
        }
        touched = tokio::select! {
            touched = quiet(&mut events, every) => touched,
            () = commands.closed() => return,
        };
    }
}

/// Waits for a change, and then until no more come; at most `every`. Returns what was touched.
async fn quiet(events: &mut mpsc::Receiver<Touched>, every: Duration) -> BTreeSet<PathBuf> {
    let mut touched = BTreeSet::new();
    let mut until = Instant::now() + every;
    let mut loud = None;
    // The sender is gone if there is no watcher: then the time alone counts.
    while !events.is_closed() || !events.is_empty() {
        match timeout_at(until, events.recv()).await {
            Ok(Some(Touched(paths))) => {
                touched.extend(paths);
                let now = Instant::now();
                until = (now + QUIET).min(*loud.get_or_insert(now + LOUD));
            }
            Ok(None) => break,
            Err(_) => return touched,
        }
    }
    tokio::time::sleep_until(until).await;
    touched
}

#[cfg(test)]
mod tests;
