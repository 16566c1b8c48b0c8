//! Conditions, reads and the snapshot as SQL, on the writer's connection.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension, params};

use crate::core::ids::{Attempt, Epoch, MeetingId, ParticipantId, RequestId, SeriesId};
use crate::core::limits;
use crate::core::message::Booking;
use crate::core::model::{Meeting, MeetingState};
use crate::core::record::{
    AttemptRow, AttemptState, Condition, Delivery, DeliveryBody, ParticipantPromises, Read, ReadResult,
    Reported, Snapshot,
};
use crate::core::series::Series;
use crate::core::time::{Instant, TimeRange};

use super::keys::{self, Span};
use super::rows::{self, number, text};

/// Booked rows of ?1 that overlap [?2, ?3). By their start, which lies at most the longest row before ?2.
pub const OVERLAPPING: &str = "SELECT meeting_id, n FROM bookings
     WHERE participant = ?1 AND start_us > ?2 - (SELECT longest_us FROM store)
     AND start_us < ?3 AND end_us > ?2 AND start_us < end_us";

/// What a confirm of each booked row of ?1 that ends after ?2 says.
pub const PROMISED: &str = "SELECT b.meeting_id, b.n, a.body, m.title, m.organizer, m.sequence,
       m.version
     FROM bookings b
     CROSS JOIN attempts a ON a.meeting_id = b.meeting_id AND a.n = b.n
     CROSS JOIN meetings m ON m.id = b.meeting_id
     WHERE b.participant = ?1 AND b.start_us > ?2 - (SELECT longest_us FROM store) AND b.end_us > ?2
     ORDER BY b.start_us, b.end_us, b.meeting_id, b.n";

/// Who has a booked row of an attempt: who attends it now.
pub const ATTENDING: &str =
    "SELECT participant FROM bookings WHERE meeting_id = ?1 AND n = ?2 ORDER BY participant";

/// Meetings with live work. The confirmed ones are found by their attempts: most of all meetings are confirmed.
pub const LIVE_MEETINGS: &str = "SELECT id, body FROM meetings WHERE state IN ('SCHEDULING', 'DISPLACED')
     UNION ALL
     SELECT m.id, m.body FROM (SELECT DISTINCT meeting_id FROM attempts WHERE state = 'HOLDING') h
     CROSS JOIN meetings m ON m.id = h.meeting_id WHERE m.state = 'CONFIRMED'
     ORDER BY id";

/// Participants of whom nothing is on record but their row.
pub const STRANGERS: &str = "
    SELECT id FROM participants p
    WHERE NOT EXISTS (SELECT 1 FROM meeting_attendees WHERE participant = p.id)
      AND NOT EXISTS (SELECT 1 FROM bookings WHERE participant = p.id)
      AND NOT EXISTS (SELECT 1 FROM deliveries WHERE participant = p.id)
    ORDER BY id";

/// Participants without a booking that ends after an instant, and without a delivery.
pub const UNBOUND: &str = "
    SELECT id FROM participants p
    WHERE NOT EXISTS (SELECT 1 FROM bookings WHERE participant = p.id AND end_us > ?1)
      AND NOT EXISTS (SELECT 1 FROM deliveries WHERE participant = p.id)
    ORDER BY id";

/// Attempts that are not decided.
pub const HOLDING: &str =
    "SELECT meeting_id, n, state, body FROM attempts WHERE state = 'HOLDING' ORDER BY meeting_id, n";

/// Whether the condition holds.
pub fn holds(db: &Connection, condition: &Condition) -> rusqlite::Result<bool> {
    match condition {
        Condition::AttemptIs(attempt, state) => Ok(attempt_state(db, attempt)? == Some(*state)),
        Condition::AttemptUnused(attempt) => Ok(attempt_state(db, attempt)?.is_none()),
        Condition::MeetingVersion(id, version) => {
            let stored: Option<i64> = db
                .prepare_cached("SELECT version FROM meetings WHERE id = ?1")?
                .query_row([id.as_str()], |row| row.get(0))
                .optional()?;
            Ok(stored == Some(version.cast_signed()))
        }
        Condition::MeetingUnused(id, request) => db
            .prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM meetings WHERE id = ?1 OR request_id = ?2)")?
            .query_row([id.as_str(), request.as_str()], |row| row.get(0)),
        Condition::SeriesVersion(id, version) => {
            let stored: Option<i64> = db
                .prepare_cached("SELECT version FROM series WHERE id = ?1")?
                .query_row([id.as_str()], |row| row.get(0))
                .optional()?;
            Ok(stored == Some(version.cast_signed()))
        }
        Condition::SeriesUnused(id, request) => db
            .prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM series WHERE id = ?1 OR request_id = ?2)")?
            .query_row([id.as_str(), request.as_str()], |row| row.get(0)),
        Condition::LineageIs(id, lineage) => {
            let stored: Option<i64> = db
                .prepare_cached("SELECT lineage FROM participants WHERE id = ?1")?
                .query_row([id.as_str()], |row| row.get(0))
                .optional()?;
            Ok(stored == Some(lineage.0))
        }
        Condition::EpochIs(id, epoch) => {
            let stored: Option<i64> = db
                .prepare_cached("SELECT epoch FROM participants WHERE id = ?1")?
                .query_row([id.as_str()], |row| row.get(0))
                .optional()?;
            Ok(stored.map_or_else(Epoch::default, Epoch) == *epoch)
        }
        Condition::NoAttemptAfter(id, n) => db
            .prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM attempts WHERE meeting_id = ?1 AND n > ?2)")?
            .query_row(params![id.as_str(), number(*n)], |row| row.get(0)),
        Condition::NoOverlap { participant, during, except } => free(db, participant, during, except),
        Condition::GenerationIs(generation) => {
            let stored: i64 =
                db.prepare_cached("SELECT generation FROM store")?.query_row([], |row| row.get(0))?;
            Ok(stored == i64::from(*generation))
        }
    }
}

fn attempt_state(db: &Connection, attempt: &Attempt) -> rusqlite::Result<Option<AttemptState>> {
    db.prepare_cached("SELECT state FROM attempts WHERE meeting_id = ?1 AND n = ?2")?
        .query_row(params![attempt.meeting.as_str(), number(attempt.n)], |row| {
            let word = text(row, 0)?;
            rows::attempt_state(word).ok_or_else(|| rows::bad("state", attempt, word))
        })
        .optional()
}

fn free(
    db: &Connection,
    participant: &ParticipantId,
    during: &TimeRange,
    except: &[Attempt],
) -> rusqlite::Result<bool> {
    let span = Span::of(during);
    if span.length() == 0 {
        return Ok(true);
    }
    let mut statement = db.prepare_cached(OVERLAPPING)?;
    let mut found = statement.query(params![participant.as_str(), span.start, span.end])?;
    while let Some(row) = found.next()? {
        if !except.contains(&rows::attempt(row, 0)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Answers a read.
pub fn read(db: &Connection, read: &Read) -> rusqlite::Result<ReadResult> {
    Ok(match read {
        Read::Request(request) => ReadResult::Request(by_request(db, request)?.map(Box::new)),
        Read::Meeting(id) => ReadResult::Meeting(match meeting(db, id)? {
            Some(meeting) => {
                let booked = match meeting.booked {
                    Some(n) => attempt(db, &Attempt::new(id.clone(), n))?,
                    None => None,
                };
                Some(Box::new((meeting, booked)))
            }
            None => None,
        }),
        Read::SeriesRequest(request) => {
            let found = db
                .prepare_cached("SELECT id, body FROM series WHERE request_id = ?1")?
                .query_row([request.as_str()], |row| rows::from_json(text(row, 1)?, "series", text(row, 0)?))
                .optional()?
                .map(Box::new);
            ReadResult::SeriesRequest(found)
        }
        Read::Series(id) => ReadResult::Series(match series(db, id)? {
            Some((series, meetings)) => {
                let booked = |meeting: Meeting| -> rusqlite::Result<(Meeting, Option<AttemptRow>)> {
                    let name = meeting.booked.map(|n| Attempt::new(meeting.id.clone(), n));
                    let row = name.map(|name| attempt(db, &name)).transpose()?.flatten();
                    Ok((meeting, row))
                };
                let meetings = meetings.into_iter().map(booked).collect::<rusqlite::Result<_>>()?;
                Some(Box::new((series, meetings)))
            }
            None => None,
        }),
        Read::Attempt(name) => ReadResult::Attempt(match attempt(db, name)? {
            Some(row) => meeting(db, &name.meeting)?.map(|meeting| Box::new((row, meeting))),
            None => None,
        }),
        Read::Displaceable { participants, during, below } => {
            ReadResult::Displaceable(displaceable(db, participants, during, *below)?)
        }
        Read::Strangers { after } => ReadResult::Strangers(
            db.prepare_cached(UNBOUND)?
                .query_map([keys::micros(*after)], |row| Ok(ParticipantId::new(text(row, 0)?)))?
                .collect::<rusqlite::Result<_>>()?,
        ),
        Read::Reported(attempts) => ReadResult::Reported(reported(db, attempts)?),
        Read::Promises { participant, reported: attempts, after } => {
            let booked = promised(db, participant, *after)?;
            let reported = reported(db, attempts)?;
            ReadResult::Promises(Box::new(ParticipantPromises { booked, reported }))
        }
    })
}

fn reported(db: &Connection, attempts: &[Attempt]) -> rusqlite::Result<Reported> {
    let found = |name: &Attempt| -> rusqlite::Result<Option<(AttemptRow, MeetingState)>> {
        Ok(match attempt(db, name)? {
            Some(row) => meeting_state(db, &name.meeting)?.map(|state| (row, state)),
            None => None,
        })
    };
    attempts.iter().map(|name| Ok((name.clone(), found(name)?))).collect()
}

fn meeting_state(db: &Connection, id: &MeetingId) -> rusqlite::Result<Option<MeetingState>> {
    db.prepare_cached("SELECT state FROM meetings WHERE id = ?1")?
        .query_row([id.as_str()], |row| {
            let word = text(row, 0)?;
            rows::meeting_state(word).ok_or_else(|| rows::bad("state", id, word))
        })
        .optional()
}

/// The meeting of an id.
pub fn meeting(db: &Connection, id: &MeetingId) -> rusqlite::Result<Option<Meeting>> {
    db.prepare_cached("SELECT body FROM meetings WHERE id = ?1")?
        .query_row([id.as_str()], |row| rows::meeting(text(row, 0)?, id.as_str()))
        .optional()
}

/// A series, and those of its occurrences' meetings that there are.
pub fn series(db: &Connection, id: &SeriesId) -> rusqlite::Result<Option<(Series, Vec<Meeting>)>> {
    let found: Option<Series> = db
        .prepare_cached("SELECT body FROM series WHERE id = ?1")?
        .query_row([id.as_str()], |row| rows::from_json(text(row, 0)?, "series", id.as_str()))
        .optional()?;
    let Some(series) = found else { return Ok(None) };
    let mut meetings = Vec::new();
    for occurrence in series.occurrences.iter().filter_map(|occurrence| occurrence.meeting.as_ref()) {
        meetings.extend(meeting(db, occurrence)?);
    }
    Ok(Some((series, meetings)))
}

fn by_request(db: &Connection, request: &RequestId) -> rusqlite::Result<Option<Meeting>> {
    db.prepare_cached("SELECT id, body FROM meetings WHERE request_id = ?1")?
        .query_row([request.as_str()], |row| rows::meeting(text(row, 1)?, text(row, 0)?))
        .optional()
}

fn attempt(db: &Connection, name: &Attempt) -> rusqlite::Result<Option<AttemptRow>> {
    db.prepare_cached("SELECT state, body FROM attempts WHERE meeting_id = ?1 AND n = ?2")?
        .query_row(params![name.meeting.as_str(), number(name.n)], |row| {
            rows::attempt_row(text(row, 0)?, text(row, 1)?, name)
        })
        .optional()
}

fn promised(db: &Connection, participant: &ParticipantId, after: Instant) -> rusqlite::Result<Vec<Booking>> {
    let mut attending = db.prepare_cached(ATTENDING)?;
    db.prepare_cached(PROMISED)?
        .query_map(params![participant.as_str(), keys::micros(after)], |row| {
            let name = rows::attempt(row, 0)?;
            let promised: rows::Promised = rows::from_json(text(row, 2)?, "attempt", &name.to_string())?;
            let attendees = attending
                .query_map(params![name.meeting.as_str(), number(name.n)], |row| {
                    Ok(ParticipantId::new(text(row, 0)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Booking {
                attempt: name,
                slot: promised.slot,
                blocked: promised.blocked,
                title: row.get(3)?,
                organizer: row.get(4)?,
                attendees,
                sequence: row.get(5)?,
                revision: row.get::<_, i64>(6)?.cast_unsigned(),
                series: promised.series,
            })
        })?
        .collect()
}

fn displaceable(
    db: &Connection,
    participants: &[ParticipantId],
    during: &TimeRange,
    below: i32,
) -> rusqlite::Result<Vec<(Meeting, AttemptRow)>> {
    let span = Span::of(during);
    let mut names = BTreeSet::new();
    let mut statement = db.prepare_cached(OVERLAPPING)?;
    for participant in participants {
        let mut found = statement.query(params![participant.as_str(), span.start, span.end])?;
        while let Some(row) = found.next()? {
            if names.len() < limits::DISPLACEABLE_READ {
                names.insert(rows::attempt(row, 0)?);
            }
        }
    }
    let mut found = Vec::new();
    for name in names {
        let Some(meeting) = meeting(db, &name.meeting)?.filter(|m| keys::displaceable(m, &name, below))
        else {
            continue;
        };
        if let Some(row) = attempt(db, &name)? {
            found.push((meeting, row));
        }
        if found.len() == limits::DISPLACEABLE {
            break;
        }
    }
    Ok(found)
}

/// What the core needs to start.
pub fn snapshot(db: &Connection) -> rusqlite::Result<Snapshot> {
    let (generation, incarnation) = db
        .prepare_cached("SELECT generation, incarnation FROM store")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let live_meetings = db
        .prepare_cached(LIVE_MEETINGS)?
        .query_map([], |row| rows::meeting(text(row, 1)?, text(row, 0)?))?
        .collect::<rusqlite::Result<_>>()?;
    let live_series = db
        .prepare_cached("SELECT id, body FROM series WHERE live = 1 ORDER BY id")?
        .query_map([], |row| rows::from_json(text(row, 1)?, "series", text(row, 0)?))?
        .collect::<rusqlite::Result<_>>()?;
    let holding = db
        .prepare_cached(HOLDING)?
        .query_map([], |row| rows::attempt_row(text(row, 2)?, text(row, 3)?, &rows::attempt(row, 0)?))?
        .collect::<rusqlite::Result<_>>()?;
    let participants = db
        .prepare_cached(&format!("SELECT {} FROM participants ORDER BY id", rows::PARTICIPANT_COLUMNS))?
        .query_map([], rows::participant)?
        .collect::<rusqlite::Result<_>>()?;
    let strangers = db
        .prepare_cached(STRANGERS)?
        .query_map([], |row| Ok(ParticipantId::new(text(row, 0)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Snapshot {
        generation,
        incarnation,
        live_meetings,
        live_series,
        holding,
        participants,
        strangers,
        deliveries: deliveries(db)?,
    })
}

fn deliveries(db: &Connection) -> rusqlite::Result<Vec<Delivery>> {
    let mut bodies: HashMap<i64, DeliveryBody> = HashMap::new();
    let mut select = db.prepare_cached("SELECT id, body FROM confirms")?;
    let mut found = select.query([])?;
    while let Some(row) = found.next()? {
        let id: i64 = row.get(0)?;
        bodies.insert(id, rows::from_json(text(row, 1)?, "confirm", &id.to_string())?);
    }
    db.prepare_cached(
        "SELECT participant, meeting_id, n, kind, confirm, cause FROM deliveries
         ORDER BY participant, meeting_id, n",
    )?
    .query_map([], |row| {
        let attempt = rows::attempt(row, 1)?;
        let (confirm, cause): (Option<i64>, Option<String>) = (row.get(4)?, row.get(5)?);
        let body = match (confirm, cause) {
            (Some(id), None) => bodies.get(&id).cloned(),
            (None, Some(cause)) => rows::release_cause(&cause).map(DeliveryBody::Release),
            _ => None,
        };
        let body =
            body.filter(|body| text(row, 3).is_ok_and(|kind| kind == rows::ack_kind_word(body.kind())));
        let body =
            body.ok_or_else(|| rows::bad("delivery", &attempt, "its body is missing or of another kind"))?;
        Ok(Delivery { participant: ParticipantId::new(text(row, 0)?), attempt, body })
    })?
    .collect()
}
