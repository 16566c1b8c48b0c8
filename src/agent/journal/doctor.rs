//! Checks a journal's file and changes nothing, also while an agent runs on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::file::{APPLICATION_ID, VERSION};
use super::{JournalError, attempt};
use crate::core::checkup::Check;
use crate::core::ids::{Attempt, ParticipantId};
use crate::core::invariants::{self, AgentView};
use crate::core::participant::PromiseRow;

const READ_ONLY: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Checks the journal in the file at `path`: all checks, in a fixed order. Those that can't be asked of a damaged or
/// newer file are missing.
///
/// # Errors
/// [`JournalError::Unopenable`] if there is no such file, or it may not be read.
pub fn examine(path: &Path) -> Result<Vec<Check>, JournalError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        JournalError::Unopenable(format!("{} can't be read: {error}", path.display()))
    };
    if !fs::metadata(path).map_err(|error| unreadable(&error))?.is_file() {
        return Err(unreadable(&"it is not a file"));
    }
    // Nobody has it open if there is no log: then SQLite need not make one.
    let quiet = || {
        let log = fs::metadata(format!("{}-wal", path.display())).map_or(0, |log| log.len());
        path.to_str().filter(|_| log == 0)
    };
    if let Some(name) = quiet() {
        let name = name.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let uri = format!("file:{name}?immutable=1");
        let db = Connection::open_with_flags(uri, READ_ONLY | OpenFlags::SQLITE_OPEN_URI);
        let checks = checked(&db.map_err(|error| unreadable(&error))?);
        // An agent that has started meanwhile may have written what was read.
        if quiet().is_some() || checks.iter().all(Check::passed) {
            return Ok(checks);
        }
    }
    Ok(checked(&Connection::open_with_flags(path, READ_ONLY).map_err(|error| unreadable(&error))?))
}

fn checked(db: &Connection) -> Vec<Check> {
    let found = || -> rusqlite::Result<Vec<String>> {
        let mut check = db.prepare("PRAGMA integrity_check(50)")?;
        check
            .query_map([], |row| row.get::<_, String>(0))?
            .filter(|line| !matches!(line, Ok(l) if l == "ok"))
            .collect()
    };
    let problems = found().unwrap_or_else(|error| vec![error.to_string()]);
    let mut all = vec![Check { name: "file", claim: "SQLite finds the file whole", problems }];
    let number = |pragma: &str| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let schema = match (number("application_id"), number("user_version")) {
        (Ok(id), _) if id != i64::from(APPLICATION_ID) => Some("a database of another program".to_owned()),
        (_, Ok(version)) if version > VERSION => {
            Some(format!("schema {version}, from a newer version of quorate; this one knows up to {VERSION}"))
        }
        (Err(error), _) | (_, Err(error)) => Some(error.to_string()),
        _ => None,
    };
    let readable = schema.is_none();
    let claim = "a journal of quorate, of a schema that this version knows";
    all.push(Check { name: "schema", claim, problems: schema.into_iter().collect() });
    if readable {
        let mut rows = Vec::new();
        let agents = agents(db, &mut rows).unwrap_or_else(|error| {
            rows.push(error.to_string());
            Vec::new()
        });
        let overlapping = invariants::no_overlapping_promises(&agents);
        let problems = overlapping.into_iter().map(|violation| violation.what).collect();
        all.push(Check {
            name: "rows",
            claim: "every promise can be read and belongs to a participant",
            problems: rows,
        });
        all.push(Check { name: "I1", claim: "nobody promised the same time twice", problems });
    }
    all
}

fn agents(db: &Connection, problems: &mut Vec<String>) -> rusqlite::Result<Vec<AgentView>> {
    let moment = db.unchecked_transaction()?;
    let known: BTreeSet<String> = moment
        .prepare("SELECT id FROM participants")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut promises: BTreeMap<String, BTreeMap<Attempt, PromiseRow>> = BTreeMap::new();
    let mut select = moment.prepare("SELECT meeting, n, participant, body FROM promises")?;
    let mut found = select.query([])?;
    while let Some(row) = found.next()? {
        let (name, who, body): (_, String, String) = (attempt(row)?, row.get(2)?, row.get(3)?);
        match serde_json::from_str::<PromiseRow>(&body) {
            Ok(promise) if promise.booking.attempt != name => {
                problems.push(format!(
                    "the body of {who}'s promise {name} is that of {}",
                    promise.booking.attempt
                ));
            }
            Ok(promise) => drop(promises.entry(who.clone()).or_default().insert(name, promise)),
            Err(error) => problems.push(format!("{who}'s promise {name} makes no sense: {error}")),
        }
        if !known.contains(&who) {
            problems.push(format!("a promise of {who}, and no such participant is known"));
        }
    }
    Ok(promises
        .into_iter()
        .map(|(who, promises)| AgentView {
            participant: ParticipantId::new(who),
            promises,
            withdrawn: BTreeSet::new(),
            lost: BTreeSet::new(),
            orphaned: BTreeSet::new(),
        })
        .collect())
}
