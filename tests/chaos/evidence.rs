//! Reads what is on disk, by its published form and not by the program's own code: the scheduler's database, the
//! agents' journals, and the calendar files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::calls::{self, Call};

/// Seconds since 1970, half-open.
pub type Span = (i64, i64);

/// Where everything lies.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The scheduler's database.
    pub database: PathBuf,
    /// The agents' journals.
    pub journals: Vec<PathBuf>,
    /// Folders with calendars: `NAME.ics` and `NAME.quorate.ics`.
    pub calendars: Vec<PathBuf>,
    /// The organizers' logs.
    pub logs: Vec<PathBuf>,
}

/// A meeting's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meeting {
    pub request: String,
    /// As the table spells it, such as CONFIRMED.
    pub state: String,
    pub version: i64,
    pub slot: Option<Span>,
    pub booked: Option<i64>,
    /// Who attends, sorted.
    pub attending: Vec<String>,
    /// The meeting that took its slot last; empty: none ever did.
    pub displaced_by: String,
    /// The meetings whose slot its booking took.
    pub displaced: Vec<String>,
}

/// A row of a booking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Booking {
    pub meeting: String,
    pub n: i64,
    pub participant: String,
    pub during: Span,
    pub delivered: bool,
}

/// A promise in a journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promise {
    pub participant: String,
    pub meeting: String,
    pub n: i64,
    pub held: bool,
    pub slot: Span,
    pub blocked: Span,
}

/// All of it.
#[derive(Clone, Default, Debug)]
pub struct Evidence {
    pub meetings: BTreeMap<String, Meeting>,
    pub bookings: Vec<Booking>,
    /// Attempts that are not decided.
    pub holding: Vec<(String, i64)>,
    /// Confirms and releases that are not acknowledged.
    pub deliveries: Vec<String>,
    /// Each meeting as it was at each version that an event tells of.
    pub history: BTreeMap<(String, i64), Vec<Meeting>>,
    /// Whether older events are gone.
    pub pruned: bool,
    pub promises: Vec<Promise>,
    /// Withdrawals that the scheduler has not taken note of.
    pub withdrawals: Vec<String>,
    /// The events of `NAME.quorate.ics`: by participant, the meeting and its time.
    pub booked: BTreeMap<String, Vec<(String, Span)>>,
    /// The events of `NAME.ics`.
    pub own: BTreeMap<String, Vec<Span>>,
    /// One list for each organizer.
    pub calls: Vec<Vec<Call>>,
}

impl Evidence {
    /// Reads everything.
    ///
    /// # Errors
    /// What can't be read, and why.
    pub fn read(places: &Places) -> Result<Self, String> {
        let mut found = Self::default();
        found
            .database(&places.database)
            .map_err(|error| format!("{}: {error}", places.database.display()))?;
        for journal in &places.journals {
            found.journal(journal).map_err(|error| format!("{}: {error}", journal.display()))?;
        }
        for folder in &places.calendars {
            found.calendars(folder)?;
        }
        found.calls = places.logs.iter().map(calls::read).collect();
        Ok(found)
    }

    fn database(&mut self, path: &Path) -> rusqlite::Result<()> {
        let db = open(path)?;
        let db = db.unchecked_transaction()?;
        for row in rows(&db, "SELECT id, request_id, state, version, body FROM meetings", |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })? {
            let (id, request, state, version, body): (String, String, String, i64, String) = row;
            let body: Value = json(&body)?;
            self.meetings.insert(id, Meeting { request, state, version, ..meeting(&body) });
        }
        let columns = "SELECT meeting_id, n, participant, start_us, end_us, delivered FROM bookings";
        self.bookings = rows(&db, columns, |row| {
            let during = (row.get::<_, i64>(3)? / 1_000_000, row.get::<_, i64>(4)? / 1_000_000);
            let (meeting, n, participant) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Booking { meeting, n, participant, during, delivered: row.get(5)? })
        })?;
        let holding = "SELECT meeting_id, n FROM attempts WHERE state = 'HOLDING'";
        self.holding = rows(&db, holding, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let deliveries = "SELECT participant || ' ' || kind || ' ' || meeting_id || '/' || n FROM deliveries";
        self.deliveries = rows(&db, deliveries, |row| row.get(0))?;
        for body in rows(&db, "SELECT body FROM events ORDER BY sequence", |row| row.get::<_, String>(0))? {
            let body = json(&body)?;
            let was = meeting(&body);
            let key = (string(&body["id"]), was.version);
            self.history.entry(key).or_default().push(was);
        }
        let first: Option<i64> = db.query_row("SELECT min(sequence) FROM events", [], |row| row.get(0))?;
        self.pruned = first.is_some_and(|first| first > 1);
        Ok(())
    }

    fn journal(&mut self, path: &Path) -> rusqlite::Result<()> {
        let db = open(path)?;
        let db = db.unchecked_transaction()?;
        for row in rows(&db, "SELECT participant, meeting, n, body FROM promises", |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?))
        })? {
            let (participant, meeting, n, body) = row;
            let body = json(&body)?;
            let (slot, blocked) = (span(&body["booking"]["slot"]), span(&body["booking"]["blocked"]));
            let (slot, blocked) = (slot.expect("a slot"), blocked.expect("a blocked range"));
            let held = string(&body["state"]) == "Held";
            self.promises.push(Promise { participant, meeting, n, held, slot, blocked });
        }
        let left = "SELECT participant || ' ' || meeting || '/' || n FROM withdrawals";
        self.withdrawals.extend(rows(&db, left, |row| row.get::<_, String>(0))?);
        Ok(())
    }

    fn calendars(&mut self, folder: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(name) = name.strip_suffix(".ics").filter(|name| !name.starts_with('.')) else {
                continue;
            };
            let events = events(&fs::read_to_string(&path).map_err(failed)?);
            match name.strip_suffix(".quorate") {
                Some(name) => {
                    let meeting = |uid: String| uid.trim_end_matches("@quorate").to_owned();
                    let events = events.into_iter().map(|(uid, span)| (meeting(uid), span));
                    self.booked.insert(name.to_owned(), events.collect());
                }
                None => {
                    self.own.insert(name.to_owned(), events.into_iter().map(|(_, span)| span).collect());
                }
            }
        }
        Ok(())
    }
}

/// What is still under way, by the scheduler's database.
const UNDER_WAY: [(&str, &str); 4] = [
    ("meetings that are sought", "SELECT count(*) FROM meetings WHERE state IN ('SCHEDULING', 'DISPLACED')"),
    ("attempts HOLDING", "SELECT count(*) FROM attempts WHERE state = 'HOLDING'"),
    ("deliveries", "SELECT count(*) FROM deliveries"),
    ("bookings not delivered", "SELECT count(*) FROM bookings WHERE NOT delivered"),
];
/// The same by a journal.
const PROMISED: [(&str, &str); 2] = [
    ("promises HELD", "SELECT count(*) FROM promises WHERE body ->> 'state' = 'Held'"),
    ("withdrawals", "SELECT count(*) FROM withdrawals"),
];

/// Why the system is not at rest, or nothing.
///
/// # Errors
/// A file can't be read.
pub fn unrest(places: &Places) -> Result<Option<String>, String> {
    let mut words = Vec::new();
    let database = [(&places.database, &UNDER_WAY[..])];
    for (path, queries) in
        database.into_iter().chain(places.journals.iter().map(|path| (path, &PROMISED[..])))
    {
        let failed = |error: rusqlite::Error| format!("{}: {error}", path.display());
        let db = open(path).map_err(failed)?;
        for (what, query) in queries {
            let count: i64 = db.query_row(query, [], |row| row.get(0)).map_err(failed)?;
            if count > 0 {
                words.push(format!("{count} {what}"));
            }
        }
    }
    Ok((!words.is_empty()).then(|| words.join(", ")))
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(db)
}

fn rows<T>(
    db: &Connection,
    query: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    db.prepare(query)?.query_map([], read)?.collect()
}

fn json(text: &str) -> rusqlite::Result<Value> {
    serde_json::from_str(text).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn second(value: &Value) -> Option<i64> {
    let at: jiff::Timestamp = value.as_str()?.parse().ok()?;
    Some(at.as_second())
}

fn span(value: &Value) -> Option<Span> {
    Some((second(&value["start"])?, second(&value["end"])?))
}

/// A meeting from its body.
fn meeting(body: &Value) -> Meeting {
    let none = Vec::new();
    let attendees = body["attendees"].as_array().unwrap_or(&none).iter();
    let attending = attendees.filter(|attendee| attendee["status"] == "Attending");
    let mut attending: Vec<String> = attending.map(|attendee| string(&attendee["id"])).collect();
    attending.sort();
    Meeting {
        request: string(&body["request_id"]),
        state: string(&body["state"]).to_uppercase(),
        version: body["version"].as_i64().unwrap_or_default(),
        slot: span(&body["slot"]),
        booked: body["booked"].as_i64(),
        attending,
        displaced_by: string(&body["displaced_by"]),
        displaced: body["displaced"].as_array().unwrap_or(&none).iter().map(string).collect(),
    }
}

/// The events of a calendar with times in UTC: UID and time (RFC 5545).
fn events(text: &str) -> Vec<(String, Span)> {
    let text = text.replace("\r\n ", "").replace("\n ", "");
    let (mut uid, mut start, mut found) = (String::new(), 0, Vec::new());
    for line in text.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name {
            "UID" => uid = value.to_owned(),
            "DTSTART" => start = instant(value),
            "DTEND" => found.push((uid.clone(), (start, instant(value)))),
            _ => {}
        }
    }
    found
}

fn instant(value: &str) -> i64 {
    let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", value).expect("a time in UTC");
    at.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp().as_second()
}
