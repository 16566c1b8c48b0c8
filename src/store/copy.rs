//! Backups: a copy of a store's file, also while a scheduler runs on it, and putting one in place.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

use super::doctor::{self, with_source};
use super::log::Mark;
use super::open::{self, sync_directory, with_suffix};
use super::reader::Location;
use super::schema;
use crate::core::checkup::Check;
use crate::core::limits;
use crate::engine::store::StoreError;

fn refused(message: String) -> StoreError {
    StoreError::Unopenable(message)
}

/// Copies the store in the file at `from` to the file at `to`: whole, of one moment, synced, and there under its name
/// only once it is complete. A scheduler may run on the store. Gives what a check of the copy found.
///
/// # Errors
/// [`StoreError::Unopenable`] if there is no store, `to` can't be written, or is there and may not be replaced.
pub fn backup(from: &Path, to: &Path, replace: bool) -> Result<Vec<Check>, StoreError> {
    let failed = |error: &dyn std::fmt::Display| {
        refused(format!("the backup {} can't be written: {error}", to.display()))
    };
    if let (Ok(a), Ok(b)) = (from.canonicalize(), to.canonicalize())
        && a == b
    {
        return Err(refused(format!("{} is the store itself; name another file", to.display())));
    }
    let side_files = ["-wal", "-shm"].map(|suffix| with_suffix(from, suffix).canonicalize().ok());
    if to.canonicalize().is_ok_and(|to| side_files.contains(&Some(to))) {
        return Err(refused(format!("{} is part of the store itself; name another file", to.display())));
    }
    let there = || refused(format!("{} is there already; name another file, or use --force", to.display()));
    if !replace && to.exists() {
        return Err(there());
    }
    let directory = open::directory(to);
    let draft = tempfile::Builder::new().prefix(".quorate-backup-").tempfile_in(directory);
    let draft = draft.map_err(|error| failed(&error))?;
    copy(from, draft.path()).map_err(|error| failed(&error))?;
    draft.as_file().sync_all().map_err(|error| failed(&error))?;
    let checks = doctor::examine_copy(draft.path())?;
    if replace {
        draft.persist(to).map_err(|error| failed(&error.error))?;
    } else {
        draft.persist_noclobber(to).map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => there(),
            _ => failed(&error.error),
        })?;
    }
    sync_directory(directory).map_err(|error| failed(&error))?;
    Ok(checks)
}

/// What a restore may do beyond putting a sound backup where there is no store.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Consent {
    /// A store that is there may be replaced.
    pub replace: bool,
    /// The backup's bookings may contradict each other. Its file, its schema and its rows must be sound all the same.
    pub findings: bool,
}

/// What a restore did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Where the store is kept that was there before.
    pub replaced: Option<PathBuf>,
    /// What was found in the backup, and put in place all the same.
    pub findings: Vec<String>,
}

/// Puts the backup at `from` in place as the store at `path`, in today's schema and as a later life of the store: its
/// generation is beyond that of the backup and of the store that it replaces, so that no attempt's number is given
/// again (PROTOCOL.md, "Points that are easy to get wrong"). What was there is kept beside it.
///
/// At every moment there is a store at `path` that is whole, or a start is refused: never does one begin empty.
///
/// # Errors
/// [`StoreError::Unopenable`] if a scheduler runs on the directory, the backup is not sound, or there is a store that
/// may not be replaced.
pub fn restore(from: &Path, path: &Path, consent: Consent) -> Result<Restored, StoreError> {
    let failed = |error: &dyn std::fmt::Display| {
        refused(format!("{} can't be put in place as {}: {error}", from.display(), path.display()))
    };
    let checks = doctor::examine_copy(from)?;
    let readable = checks.iter().filter(|check| doctor::NEEDED.contains(&check.name)).all(Check::passed);
    let findings: Vec<_> = checks.into_iter().flat_map(|check| check.problems).collect();
    if let Some(first) = findings.first().filter(|_| !(readable && consent.findings)) {
        let more = findings.len() - 1;
        let more = if more == 0 { String::new() } else { format!(", and {more} more") };
        let way_out = if readable { "; --accept-findings restores it all the same" } else { "" };
        return Err(refused(format!(
            "{} is not sound ({first}{more}): nothing was changed; quorate doctor --database {} tells all{way_out}",
            from.display(),
            from.display()
        )));
    }
    let lock = open::take_directory(path)?;
    let log = with_suffix(path, "-wal");
    let there = path.exists() || log.exists();
    if there && !consent.replace {
        return Err(refused(format!(
            "there is a store in {} already; use --force to replace it (it is kept beside)",
            open::directory(path).display()
        )));
    }
    if let (Ok(a), Ok(b)) = (from.canonicalize(), path.canonicalize())
        && a == b
    {
        return Err(refused(format!("{} is the store itself; name a backup", from.display())));
    }
    let draft = with_suffix(path, ".restore");
    for leftover in [draft.clone(), with_suffix(&draft, "-journal")] {
        remove(&leftover).map_err(|error| failed(&error))?;
    }
    copy(from, &draft).map_err(|error| failed(&error))?;
    begin_life(&draft, generation(path).unwrap_or(0)).map_err(|error| failed(&error))?;
    File::open(&draft).and_then(|file| file.sync_all()).map_err(|error| failed(&error))?;
    // From here on a start is refused whatever is missing, until all is in its place.
    Mark::Open.write(&lock).map_err(|error| failed(&error))?;
    let replaced = if there { Some(set_aside(path, &log).map_err(|error| failed(&error))?) } else { None };
    fs::rename(&draft, path).map_err(|error| failed(&error))?;
    sync_directory(open::directory(path)).map_err(|error| failed(&error))?;
    Mark::Closed.write(&lock).map_err(|error| failed(&error))?;
    Ok(Restored { replaced, findings })
}

/// Copies a store of one moment, without its log, into a file that is new or empty.
fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let name = to.to_str().ok_or_else(|| refused("its name is no UTF-8".to_owned()))?;
    with_source(from, |db| {
        // Only a store is copied: a mistyped name must not give a backup of something else.
        if let Some(problem) = open::schema_problem(db, from)? {
            return Err(refused(problem));
        }
        // Of an earlier try.
        File::create(to).map_err(|error| refused(error.to_string()))?;
        db.execute("VACUUM INTO ?1", [name]).map_err(|error| refused(error.to_string())).map(drop)
    })
}

/// The generation of a store that may be damaged.
fn generation(path: &Path) -> Option<u32> {
    let read = |db: &Connection| {
        let generation = db.query_row("SELECT generation FROM store", [], |row| row.get(0));
        generation.map_err(|error| refused(error.to_string()))
    };
    with_source(path, read).ok()
}

/// Brings the copy to today's schema, in a life after both.
fn begin_life(draft: &Path, replaced: u32) -> Result<(), StoreError> {
    let failed = |error: &dyn std::fmt::Display| refused(error.to_string());
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Location::File(draft.to_owned()).connect(access).map_err(|error| failed(&error))?;
    schema::migrations().to_latest(&mut db).map_err(|error| failed(&error))?;
    let own: u32 =
        db.query_row("SELECT generation FROM store", [], |row| row.get(0)).map_err(|error| failed(&error))?;
    let (random, _) = Uuid::new_v4().as_u64_pair();
    let step = 1 + u32::try_from(random % limits::GENERATION_STEP).unwrap_or_default();
    let life = own.max(replaced).saturating_add(step);
    db.execute("UPDATE store SET generation = ?1, incarnation = ?2", (life, Uuid::new_v4().to_string()))
        .map_err(|error| failed(&error))?;
    db.close().map_err(|(_, error)| failed(&error))
}

/// Keeps the store that is there under another name, with its log. Until the new one is moved to its place the old
/// file is there, without its log, which a start refuses if commits were in it.
fn set_aside(path: &Path, log: &Path) -> std::io::Result<PathBuf> {
    // Never over what an earlier restore kept: it may have ended halfway, and that may be all there is.
    let names = (1..).map(|n| if n == 1 { ".replaced".to_owned() } else { format!(".replaced-{n}") });
    let mut names = names.map(|suffix| with_suffix(path, &suffix));
    let free = |kept: &PathBuf| !kept.exists() && !with_suffix(kept, "-wal").exists();
    let kept = names.find(free).ok_or_else(|| std::io::Error::other("no name is left"))?;
    let kept_log = with_suffix(&kept, "-wal");
    let only_log = !path.exists();
    if !only_log && fs::hard_link(path, &kept).is_err() {
        fs::copy(path, &kept)?;
        File::open(&kept)?.sync_all()?;
    }
    if log.exists() {
        fs::rename(log, &kept_log)?;
    }
    remove(&with_suffix(path, "-shm"))?;
    sync_directory(open::directory(path))?;
    Ok(if only_log { kept_log } else { kept })
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
