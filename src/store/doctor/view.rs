//! All rows of a store, with every column held against the body that it was taken from.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Row};

use crate::core::ids::{Attempt, MeetingId, ParticipantId, SeriesId};
use crate::core::invariants::StoreView;
use crate::core::message::AckKind;
use crate::core::model::Meeting;
use crate::core::record::{BookingRow, DeliveryBody, ParticipantRow};
use crate::core::series::Series;
use crate::core::time::TimeRange;
use crate::store::keys::{self, Place};
use crate::store::rows::{self, text};

/// A delivery's row, with its body where it has one.
pub struct DeliveryRow {
    /// To whom.
    pub participant: ParticipantId,
    /// About what.
    pub attempt: Attempt,
    /// Which.
    pub kind: AckKind,
    /// The confirm's number.
    pub confirm: Option<i64>,
}

/// What the newest event of a meeting says.
pub struct LastEvent {
    /// Its number.
    pub sequence: u64,
    /// The version of the meeting.
    pub version: u64,
}

/// All rows.
#[derive(Default)]
pub struct View {
    /// Meetings, attempts and booked rows.
    pub store: StoreView,
    /// The store's generation.
    pub generation: u32,
    /// No row is longer, so the store says; in microseconds.
    pub longest: i64,
    /// All series.
    pub series: BTreeMap<SeriesId, Series>,
    /// All participants.
    pub participants: BTreeMap<ParticipantId, ParticipantRow>,
    /// All deliveries.
    pub deliveries: Vec<DeliveryRow>,
    /// All bodies of confirms.
    pub confirms: BTreeMap<i64, DeliveryBody>,
    /// The newest event of each meeting.
    pub events: BTreeMap<MeetingId, LastEvent>,
    /// Who is listed with which meeting, where in the list.
    pub listed: BTreeSet<(ParticipantId, i64, i64, MeetingId)>,
}

impl View {
    /// Reads everything. Rows that can't be read, or whose columns say something else than their body, are `problems`,
    /// and left out.
    pub fn read(db: &Connection, has_series: bool, problems: &mut Vec<String>) -> rusqlite::Result<Self> {
        let mut view = Self::default();
        (view.generation, view.longest) =
            db.query_row("SELECT generation, longest_us FROM store", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let meetings =
            "SELECT id, body, request_id, state, version, start_key, created_key, slot_end, attendees
                        FROM meetings ORDER BY id";
        each(db, meetings, problems, |row, differ| {
            let id = text(row, 0)?;
            let meeting = rows::meeting(text(row, 1)?, id)?;
            if let Some(what) = differs(row, &meeting)? {
                differ(format!("the {what} of meeting {id} is not that of its body"));
            }
            view.store.meetings.insert(MeetingId::new(id), meeting);
            Ok(())
        })?;
        let attempts = "SELECT meeting_id, n, state, body FROM attempts ORDER BY meeting_id, n";
        each(db, attempts, problems, |row, differ| {
            let name = rows::attempt(row, 0)?;
            let found = rows::attempt_row(text(row, 2)?, text(row, 3)?, &name)?;
            if found.attempt != name {
                differ(format!("the body of attempt {name} is that of {}", found.attempt));
            }
            view.store.attempts.insert(name, found);
            Ok(())
        })?;
        let bookings = "SELECT meeting_id, n, participant, start_us, end_us, delivered FROM bookings";
        each(db, bookings, problems, |row, _| {
            let attempt = rows::attempt(row, 0)?;
            let participant = ParticipantId::new(text(row, 2)?);
            let of = attempt.to_string();
            let during = TimeRange { start: rows::instant(row, 3, &of)?, end: rows::instant(row, 4, &of)? };
            let found =
                BookingRow { participant: participant.clone(), attempt, during, delivered: row.get(5)? };
            view.store.bookings.insert((participant, found.attempt.clone()), found);
            Ok(())
        })?;
        let participants = format!("SELECT {} FROM participants", rows::PARTICIPANT_COLUMNS);
        each(db, &participants, problems, |row, _| {
            let found = rows::participant(row)?;
            view.participants.insert(found.id.clone(), found);
            Ok(())
        })?;
        each(db, "SELECT id, body FROM confirms", problems, |row, _| {
            let id: i64 = row.get(0)?;
            view.confirms.insert(id, rows::from_json(text(row, 1)?, "confirm", &id.to_string())?);
            Ok(())
        })?;
        let deliveries = "SELECT participant, meeting_id, n, kind, confirm, cause FROM deliveries";
        each(db, deliveries, problems, |row, _| {
            let attempt = rows::attempt(row, 1)?;
            let bad = || rows::bad("delivery", &attempt, "its kind has another body");
            let (confirm, cause): (Option<i64>, Option<String>) = (row.get(4)?, row.get(5)?);
            let kind = match (text(row, 3)?, confirm, cause.as_deref().map(rows::release_cause)) {
                ("CONFIRM", Some(_), None) => AckKind::Confirm,
                ("RELEASE", None, Some(Some(_))) => AckKind::Release,
                _ => return Err(bad()),
            };
            let participant = ParticipantId::new(text(row, 0)?);
            view.deliveries.push(DeliveryRow { participant, attempt, kind, confirm });
            Ok(())
        })?;
        let events = "SELECT sequence, time_us, kind, body, meeting_id FROM events ORDER BY sequence";
        each(db, events, problems, |row, differ| {
            let (sequence, event) = rows::event(row)?;
            if event.meeting.id.as_str() != text(row, 4)? {
                differ(format!(
                    "event {sequence} is of meeting {} and tells of {}",
                    text(row, 4)?,
                    event.meeting.id
                ));
            }
            let version = event.meeting.version;
            view.events.insert(event.meeting.id, LastEvent { sequence, version });
            Ok(())
        })?;
        let listed = "SELECT participant, start_key, created_key, meeting_id FROM meeting_attendees";
        each(db, listed, problems, |row, _| {
            let (who, meeting) = (ParticipantId::new(text(row, 0)?), MeetingId::new(text(row, 3)?));
            view.listed.insert((who, row.get(1)?, row.get(2)?, meeting));
            Ok(())
        })?;
        if has_series {
            let series = "SELECT id, body, request_id, state, version, live FROM series";
            each(db, series, problems, |row, differ| {
                let id = text(row, 0)?;
                let found: Series = rows::from_json(text(row, 1)?, "series", id)?;
                let same = found.id.as_str() == id
                    && found.request_id.as_str() == text(row, 2)?
                    && rows::series_state_word(found.state) == text(row, 3)?
                    && found.version.cast_signed() == row.get::<_, i64>(4)?
                    && found.is_live() == row.get::<_, bool>(5)?;
                if !same {
                    differ(format!("a column of series {id} is not that of its body"));
                }
                view.series.insert(SeriesId::new(id), found);
                Ok(())
            })?;
        }
        Ok(view)
    }
}

/// Which column of a meeting's row says something else than its body.
fn differs(row: &Row<'_>, meeting: &Meeting) -> rusqlite::Result<Option<&'static str>> {
    let place = Place { start: row.get(5)?, created: row.get(6)? };
    let slot_end: Option<i64> = row.get(7)?;
    let same = [
        ("id", meeting.id.as_str() == text(row, 0)?),
        ("request id", meeting.request_id.as_str() == text(row, 2)?),
        ("state", rows::meeting_state_word(meeting.state) == text(row, 3)?),
        ("version", meeting.version.cast_signed() == row.get::<_, i64>(4)?),
        ("place in the list", place == Place::of(meeting)),
        ("end", slot_end == meeting.slot.map(|slot| keys::micros(slot.end))),
        ("attendees' fingerprint", keys::fingerprint(&keys::attendees(meeting)) == row.get::<_, i64>(8)?),
    ];
    Ok(same.into_iter().find(|(_, same)| !same).map(|(what, _)| what))
}

/// Reads every row. What can't be read is a problem, and so is what `read` says differs.
fn each(
    db: &Connection,
    sql: &str,
    problems: &mut Vec<String>,
    mut read: impl FnMut(&Row<'_>, &mut dyn FnMut(String)) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut select = db.prepare(sql)?;
    let mut found = select.query([])?;
    while let Some(row) = found.next()? {
        let mut differing = Vec::new();
        if let Err(error) = read(row, &mut |what| differing.push(what)) {
            differing.push(match error {
                rusqlite::Error::FromSqlConversionFailure(_, _, why) => why.to_string(),
                other => other.to_string(),
            });
        }
        problems.append(&mut differing);
    }
    Ok(())
}
