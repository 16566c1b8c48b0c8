//! Files of every released schema are brought to today's, with everything that they have.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;

use quorate::core::checkup::Check;
use quorate::core::ids::{RequestId, SeriesId};
use quorate::core::record::{Condition, Snapshot};
use quorate::engine::store::Store;
use quorate::store::{Consent, SqliteStore, doctor, restore};

use super::doctor::fill;
use super::make::*;

/// The tables of the first schema.
const TABLES: [&str; 8] = [
    "store",
    "meetings",
    "meeting_attendees",
    "attempts",
    "bookings",
    "confirms",
    "deliveries",
    "participants",
];
/// What the first schema's meetings and attempts could not say.
const LATER: &str = "'$.series', '$.displaced', '$.displaced_by', '$.local_start'";

/// A file as the first release left it: its own SQL, and rows of all kinds.
fn first_schema(path: &Path) {
    let today = tempfile::tempdir().expect("a folder");
    let full = today.path().join("today.db");
    let mut store = SqliteStore::open(&full).expect("a store");
    fill(&mut store);
    drop(store);
    let old = Connection::open(path).expect("a file");
    old.execute_batch(include_str!("schema-1.sql")).expect("the first schema");
    old.execute("ATTACH ?1 AS today", [full.to_str().expect("a name")]).expect("attached");
    for table in TABLES.iter().chain(&["events"]) {
        old.execute_batch(&format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM today.{table};"))
            .expect("the rows");
    }
    for table in ["meetings", "attempts", "events"] {
        old.execute(&format!("UPDATE {table} SET body = json_remove(body, {LATER})"), []).expect("as it was");
    }
    old.execute_batch("DETACH today").expect("detached");
}

/// All rows of the first schema's tables.
fn rows(path: &Path) -> BTreeMap<&'static str, Vec<Vec<Value>>> {
    let db = Connection::open(path).expect("a file");
    let all = TABLES.iter().chain(&["events"]).map(|table| {
        let mut select = db.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).expect("SQL");
        let columns = select.column_count();
        let rows = select.query_map([], |row| (0..columns).map(|at| row.get(at)).collect()).expect("rows");
        (*table, rows.collect::<Result<_, _>>().expect("rows"))
    });
    all.collect()
}

#[test]
fn a_file_of_the_first_schema_is_brought_to_todays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("quorate.db");
    first_schema(&path);
    let before = rows(&path);
    assert!(before.values().all(|rows| !rows.is_empty()), "a table without a row shows nothing");
    // The doctor knows the older schema, and leaves it.
    let checks = doctor::examine(&path).expect("the file can be read");
    assert!(checks.iter().all(Check::passed), "{checks:#?}");
    let version = |path: &Path| -> i64 {
        let db = Connection::open(path).expect("a file");
        db.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
    };
    assert_eq!(version(&path), 1);

    let mut store = SqliteStore::open(&path).expect("an older store is opened");
    let Snapshot { live_meetings, holding, participants, deliveries, live_series, .. } =
        store.snapshot().expect("a snapshot");
    assert_eq!((live_meetings.len(), holding.len(), participants.len(), deliveries.len()), (2, 1, 2, 5));
    assert_eq!(live_series, []);
    assert!(stored_meeting(&mut store, "a").is_some_and(|(_, booked)| booked.is_some()));
    let unused = Condition::SeriesUnused(SeriesId::new("s"), RequestId::new("r"));
    assert!(holds(&mut store, unused), "what is new is there");
    drop(store);
    assert!(version(&path) > 1);
    assert_eq!(rows(&path), before, "every row is as it was");
    let checks = doctor::examine(&path).expect("the file can be read");
    assert!(checks.iter().all(Check::passed), "{checks:#?}");
}

#[test]
fn a_backup_of_the_first_schema_is_restored_into_todays() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = folder.path().join("old.db");
    first_schema(&old);
    let place = folder.path().join("data/quorate.db");
    restore(&old, &place, Consent::default()).expect("restored");
    let mut store = SqliteStore::open(&place).expect("a store");
    assert!(stored_meeting(&mut store, "a").is_some());
}
