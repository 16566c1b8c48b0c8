//! Look-ups beside the writer: a pool of read-only connections.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row, params};

use crate::core::ids::{MeetingId, SeriesId};
use crate::core::model::{Meeting, MeetingState};
use crate::core::record::EventRow;
use crate::core::series::Series;
use crate::core::time::Instant;
use crate::engine::store::{EventFilter, EventPage, MeetingFilter, Reader, SeriesFilter, StoreError};

use super::EVENTS_LOOKED_AT;
use super::keys::{self, Place, Span};
use super::reads;
use super::rows::{self, text};

/// Idle connections that are kept; more readers at once open their own.
const IDLE_CONNECTIONS: usize = 8;

/// How long a statement waits for a lock of another connection.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Prepared statements kept for each connection: all that there are.
pub const STATEMENTS: usize = 64;

/// Where the store lies.
#[derive(Clone, Debug)]
pub enum Location {
    /// In this file.
    File(PathBuf),
    /// In this process's memory, for as long as a connection is open; the URI names it.
    Memory(String),
}

impl Location {
    /// Opens a connection.
    pub fn connect(&self, access: OpenFlags) -> rusqlite::Result<Connection> {
        let db = match self {
            Self::File(path) => Connection::open_with_flags(path, access)?,
            Self::Memory(uri) => Connection::open_with_flags(uri, access | OpenFlags::SQLITE_OPEN_URI)?,
        };
        db.busy_timeout(BUSY_TIMEOUT)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(db)
    }
}

/// The pool.
pub struct SqliteReader {
    location: Location,
    idle: Mutex<Vec<Connection>>,
}

impl SqliteReader {
    /// A pool without connections yet: they are opened when they are needed.
    pub fn new(location: Location) -> Self {
        Self { location, idle: Mutex::new(Vec::new()) }
    }

    /// Runs `look_up` in a read transaction of its own, so that all it sees is of one moment.
    fn with<T>(&self, look_up: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.read(look_up).map_err(|error| StoreError::Unreadable(error.to_string()))
    }

    fn read<T>(&self, look_up: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let db = match idle {
            Some(db) => db,
            None => {
                self.location.connect(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?
            }
        };
        let moment = db.unchecked_transaction()?;
        let found = look_up(&moment)?;
        moment.commit()?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(db);
        }
        Ok(found)
    }
}

impl Reader for SqliteReader {
    fn meeting(&self, id: &MeetingId) -> Result<Option<Meeting>, StoreError> {
        self.with(|db| {
            let mut found = reads::meeting(db, id)?;
            if let Some(meeting) = &mut found {
                show_delivered(db, meeting)?;
            }
            Ok(found)
        })
    }

    fn series(&self, id: &SeriesId) -> Result<Option<(Series, Vec<Meeting>)>, StoreError> {
        self.with(|db| {
            let mut found = reads::series(db, id)?;
            for meeting in found.iter_mut().flat_map(|(_, meetings)| meetings) {
                show_delivered(db, meeting)?;
            }
            Ok(found)
        })
    }

    fn series_list(&self, filter: &SeriesFilter) -> Result<Vec<Series>, StoreError> {
        self.with(|db| series_list(db, filter))
    }

    fn meetings(&self, filter: &MeetingFilter) -> Result<Vec<Meeting>, StoreError> {
        self.with(|db| list(db, filter))
    }

    fn events(&self, after: u64, filter: &EventFilter, limit: usize) -> Result<EventPage, StoreError> {
        self.with(|db| events(db, after, filter, limit))
    }

    fn booked(&self, after: Instant) -> Result<u64, StoreError> {
        self.with(|db| {
            let after = keys::micros(after);
            let first = after.saturating_sub(longest(db)?);
            let confirmed = rows::meeting_state_word(MeetingState::Confirmed);
            let count: i64 =
                db.prepare_cached(BOOKED)?.query_row(params![confirmed, first, after], |row| row.get(0))?;
            Ok(count.cast_unsigned())
        })
    }

    fn event_bounds(&self) -> Result<Option<(u64, u64)>, StoreError> {
        self.with(|db| {
            let bounds: (Option<i64>, Option<i64>) = db
                .prepare_cached(
                    "SELECT (SELECT min(sequence) FROM events), (SELECT max(sequence) FROM events)",
                )?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(match bounds {
                (Some(oldest), Some(newest)) => Some((oldest.cast_unsigned(), newest.cast_unsigned())),
                _ => None,
            })
        })
    }
}

/// Series after the id ?1, in one of the states of the list ?2 if given, that name ?3 if given.
pub const SERIES: &str = "SELECT id, body FROM series WHERE id > ?1
     AND (?2 IS NULL OR instr(?2, ',' || state || ',') > 0) AND (?3 IS NULL OR instr(body, ?3) > 0)
     ORDER BY id";

fn series_list(db: &Connection, filter: &SeriesFilter) -> rusqlite::Result<Vec<Series>> {
    let words: Vec<_> = filter.states.iter().copied().map(rows::series_state_word).collect();
    let states = Some(format!(",{},", words.join(","))).filter(|_| !words.is_empty());
    // A body names people as JSON strings; one that does not contain the id need not be parsed.
    let quoted = filter.participant.as_ref().map(rows::to_json).transpose()?;
    let after = filter.after.as_ref().map_or("", |id| id.as_str());
    let mut found = Vec::new();
    let mut select = db.prepare_cached(SERIES)?;
    let mut next = select.query(params![after, states, quoted])?;
    while found.len() < filter.limit
        && let Some(row) = next.next()?
    {
        let series: Series = rows::from_json(text(row, 1)?, "series", text(row, 0)?)?;
        if filter.fits(&series) {
            found.push(series);
        }
    }
    Ok(found)
}

/// Meetings of state ?1 after the place (?2, ?3, ?4); ?5 at most.
pub const BY_STATE: &str = "SELECT start_key, created_key, id FROM meetings
     WHERE state = ?1 AND (start_key, created_key, id) > (?2, ?3, ?4)
     ORDER BY start_key, created_key, id LIMIT ?5";

/// The same, whose slot also overlaps [?6, ?7).
pub const BY_STATE_WITHIN: &str = "SELECT start_key, created_key, id FROM meetings
     WHERE state = ?1 AND (start_key, created_key, id) > (?2, ?3, ?4)
     AND start_key < ?7 AND slot_end > ?6 AND start_key < slot_end
     ORDER BY start_key, created_key, id LIMIT ?5";

/// Meetings with the attendee ?1, in one of the states of the list ?6, after the place (?2, ?3, ?4); ?5 at most.
pub const BY_PARTICIPANT: &str = "SELECT a.start_key, a.created_key, a.meeting_id
     FROM meeting_attendees a CROSS JOIN meetings m ON m.id = a.meeting_id
     WHERE a.participant = ?1 AND (a.start_key, a.created_key, a.meeting_id) > (?2, ?3, ?4)
     AND instr(?6, ',' || m.state || ',') > 0
     ORDER BY a.start_key, a.created_key, a.meeting_id LIMIT ?5";

/// The same, whose slot also overlaps [?7, ?8).
pub const BY_PARTICIPANT_WITHIN: &str = "SELECT a.start_key, a.created_key, a.meeting_id
     FROM meeting_attendees a CROSS JOIN meetings m ON m.id = a.meeting_id
     WHERE a.participant = ?1 AND (a.start_key, a.created_key, a.meeting_id) > (?2, ?3, ?4)
     AND instr(?6, ',' || m.state || ',') > 0
     AND a.start_key < ?8 AND m.slot_end > ?7 AND m.start_key < m.slot_end
     ORDER BY a.start_key, a.created_key, a.meeting_id LIMIT ?5";

/// How many meetings of state ?1 there are whose slot begins at ?2 or later and ends after ?3; from the index alone.
pub const BOOKED: &str =
    "SELECT count(*) FROM meetings WHERE state = ?1 AND start_key >= ?2 AND slot_end > ?3";

/// A meeting's place and id: what the list is sorted by.
type Listed = (i64, i64, String);

fn list(db: &Connection, filter: &MeetingFilter) -> rusqlite::Result<Vec<Meeting>> {
    let within = filter.range.as_ref().map(Span::of);
    if filter.limit == 0 || within.is_some_and(|span| span.length() == 0) {
        return Ok(Vec::new());
    }
    let after = first_place(db, filter, within)?;
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let words = state_words(filter);
    let listed = match &filter.participant {
        Some(participant) => {
            let states = format!(",{},", words.join(","));
            let id = participant.as_str();
            match within {
                None => places(db, BY_PARTICIPANT, params![id, after.0, after.1, after.2, limit, states])?,
                Some(span) => places(
                    db,
                    BY_PARTICIPANT_WITHIN,
                    params![id, after.0, after.1, after.2, limit, states, span.start, span.end],
                )?,
            }
        }
        None => {
            // Each state is sorted in its index: the first of all are among the first of each.
            let mut all = Vec::new();
            for state in words {
                all.extend(match within {
                    None => places(db, BY_STATE, params![state, after.0, after.1, after.2, limit])?,
                    Some(span) => places(
                        db,
                        BY_STATE_WITHIN,
                        params![state, after.0, after.1, after.2, limit, span.start, span.end],
                    )?,
                });
            }
            all.sort_unstable();
            all.truncate(filter.limit);
            all
        }
    };
    let mut select = db.prepare_cached("SELECT body FROM meetings WHERE id = ?1")?;
    let mut found = Vec::with_capacity(listed.len());
    for (_, _, id) in &listed {
        let mut meeting = select.query_row([id], |row| rows::meeting(text(row, 0)?, id))?;
        show_delivered(db, &mut meeting)?;
        found.push(meeting);
    }
    Ok(found)
}

/// Marks the attendees whose agents acknowledged the booking: the booked rows know, the meeting's body doesn't.
fn show_delivered(db: &Connection, meeting: &mut Meeting) -> rusqlite::Result<()> {
    let Some(n) = meeting.booked else { return Ok(()) };
    let mut select = db.prepare_cached(
        "SELECT participant FROM bookings WHERE meeting_id = ?1 AND n = ?2 AND delivered = 1",
    )?;
    let rows = select.query_map(params![meeting.id.as_str(), n.0 as i64], |row| row.get::<_, String>(0))?;
    let delivered = rows.collect::<rusqlite::Result<HashSet<String>>>()?;
    for outcome in &mut meeting.attendees {
        outcome.delivered = delivered.contains(outcome.id.as_str());
    }
    Ok(())
}

/// The words of the states asked for, each once; none asked for: all.
fn state_words(filter: &MeetingFilter) -> Vec<&'static str> {
    let asked = if filter.states.is_empty() { &rows::MEETING_STATES } else { filter.states.as_slice() };
    let mut words: Vec<_> = asked.iter().copied().map(rows::meeting_state_word).collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// The place after which to list: the page's, or the one before the first slot that may overlap the range.
fn first_place(db: &Connection, filter: &MeetingFilter, within: Option<Span>) -> rusqlite::Result<Listed> {
    let page = match &filter.after {
        Some(key) => {
            let place = Place::of_key(key);
            (place.start, place.created, key.id.as_str().to_owned())
        }
        None => (i64::MIN, i64::MIN, String::new()),
    };
    let Some(span) = within else { return Ok(page) };
    Ok(page.max((span.start.saturating_sub(longest(db)?), i64::MIN, String::new())))
}

/// No slot ever was longer, in microseconds: what overlaps an instant begins at most so long before it.
fn longest(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("SELECT longest_us FROM store")?.query_row([], |row| row.get(0))
}

fn places(db: &Connection, query: &str, params: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<Vec<Listed>> {
    db.prepare_cached(query)?
        .query_map(params, |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// Events of (?1, ?2], of the meeting ?3 if given, that name ?4 if given.
pub const EVENTS: &str = "SELECT sequence, time_us, kind, body FROM events
     WHERE sequence > ?1 AND sequence <= ?2
     AND (?3 IS NULL OR meeting_id = ?3) AND (?4 IS NULL OR instr(body, ?4) > 0)
     ORDER BY sequence";

/// The last sequence of the ?2 events after ?1.
pub const LAST_LOOKED_AT: &str =
    "SELECT max(sequence) FROM (SELECT sequence FROM events WHERE sequence > ?1 ORDER BY sequence LIMIT ?2)";

fn events(db: &Connection, after: u64, filter: &EventFilter, limit: usize) -> rusqlite::Result<EventPage> {
    let nothing = EventPage { events: Vec::new(), looked_until: after };
    let Ok(first) = i64::try_from(after) else { return Ok(nothing) };
    let looked_at = i64::try_from(EVENTS_LOOKED_AT).unwrap_or(i64::MAX);
    let last: Option<i64> =
        db.prepare_cached(LAST_LOOKED_AT)?.query_row(params![first, looked_at], |row| row.get(0))?;
    let Some(last) = last.filter(|_| limit > 0) else { return Ok(nothing) };
    // A body names its attendees as JSON strings; one that does not contain the id need not be parsed.
    let quoted = filter.participant.as_ref().map(rows::to_json).transpose()?;
    let meeting = filter.meeting.as_ref().map(|id| id.as_str());
    let mut page = EventPage { events: Vec::new(), looked_until: last.cast_unsigned() };
    let mut select = db.prepare_cached(EVENTS)?;
    let mut found = select.query(params![first, last, meeting, quoted])?;
    while let Some(row) = found.next()? {
        let (sequence, event) = rows::event(row)?;
        if filter.participant.as_ref().is_some_and(|id| !keys::attends(&event.meeting, id)) {
            continue;
        }
        page.events.push(EventRow { sequence, event });
        if page.events.len() == limit {
            page.looked_until = sequence;
            break;
        }
    }
    Ok(page)
}
