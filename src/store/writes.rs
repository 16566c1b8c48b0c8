//! The writes of a transaction as SQL. They run inside the group's transaction of the database.

use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use crate::core::ids::{Attempt, ParticipantId};
use crate::core::message::AckKind;
use crate::core::model::Meeting;
use crate::core::record::{AttemptRow, BookingRow, Delivery, DeliveryBody, NewEvent, ParticipantRow, Write};
use crate::core::series::Series;

use super::keys::{self, Place, Span};
use super::prune_batch;
use super::rows::{self, number};

/// What the writes of one group remember of each other, to save work.
pub struct Writer<'group> {
    /// How many events are kept.
    events_kept: u64,
    /// No row is longer: what `store.longest_us` is known to be at least.
    longest: i64,
    /// The meeting written last, with its JSON: its event most often has the same.
    meeting: Option<(&'group Meeting, String)>,
    /// The confirm stored last: its siblings have the same body.
    confirm: Option<(&'group DeliveryBody, i64)>,
    /// Confirms that lost a delivery, and may be needed no more.
    orphans: BTreeSet<i64>,
}

impl<'group> Writer<'group> {
    /// Begins a group; `longest` is what is known of `store.longest_us`, 0 if nothing.
    pub fn new(events_kept: u64, longest: i64) -> Self {
        Self { events_kept, longest, meeting: None, confirm: None, orphans: BTreeSet::new() }
    }

    /// Runs one write.
    pub fn write(&mut self, db: &Connection, write: &'group Write) -> rusqlite::Result<()> {
        match write {
            Write::Meeting(meeting) => self.meeting(db, meeting),
            Write::Series(row) => series(db, row),
            Write::Attempt(row) => attempt(db, row),
            Write::AttemptState(attempt, state) => db
                .prepare_cached("UPDATE attempts SET state = ?3 WHERE meeting_id = ?1 AND n = ?2")?
                .execute(params![
                    attempt.meeting.as_str(),
                    number(attempt.n),
                    rows::attempt_state_word(*state)
                ])
                .map(drop),
            Write::Booking(row) => self.booking(db, row),
            Write::RemoveBookings(attempt, participant) => remove_bookings(db, attempt, participant.as_ref()),
            Write::BookingDelivered(participant, attempt) => db
                .prepare_cached(
                    "UPDATE bookings SET delivered = 1 WHERE meeting_id = ?1 AND n = ?2 AND participant = ?3",
                )?
                .execute(params![attempt.meeting.as_str(), number(attempt.n), participant.as_str()])
                .map(drop),
            Write::Delivery(delivery) => self.delivery(db, delivery),
            Write::RemoveDelivery(participant, attempt, kind) => {
                self.remove_delivery(db, participant, attempt, *kind)
            }
            Write::Participant(row) => participant(db, row),
            Write::JournalSeen(id, lineage, sequence) => db
                // Both numbers are unsigned: those from 2^63 on are stored as negative ones, and are the greater.
                .prepare_cached(
                    "UPDATE participants SET journal_sequence = ?3 WHERE id = ?1 AND lineage = ?2
                     AND CASE WHEN (journal_sequence < 0) = (?3 < 0)
                         THEN journal_sequence < ?3 ELSE journal_sequence >= 0 END",
                )?
                .execute(params![id.as_str(), lineage.0, sequence.cast_signed()])
                .map(drop),
            Write::LastSeen(id, at) => db
                .prepare_cached("UPDATE participants SET last_seen_us = ?2 WHERE id = ?1")?
                .execute(params![id.as_str(), keys::micros(*at)])
                .map(drop),
            Write::ForgetParticipant(id) => {
                db.prepare_cached("DELETE FROM participants WHERE id = ?1")?.execute([id.as_str()]).map(drop)
            }
            Write::Event(event) => self.event(db, event),
            Write::Generation { generation, incarnation } => db
                .prepare_cached("UPDATE store SET generation = ?1, incarnation = ?2")?
                .execute(params![generation, incarnation])
                .map(drop),
        }
    }

    /// Ends the group: drops the confirms that no delivery needs any more. Gives what is now known of
    /// `store.longest_us`.
    pub fn finish(self, db: &Connection) -> rusqlite::Result<i64> {
        for confirm in self.orphans {
            db.prepare_cached(
                "DELETE FROM confirms WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE confirm = ?1)",
            )?
            .execute([confirm])?;
        }
        Ok(self.longest)
    }

    fn meeting(&mut self, db: &Connection, meeting: &'group Meeting) -> rusqlite::Result<()> {
        let id = meeting.id.as_str();
        let body = rows::to_json(meeting)?;
        let new = Listed::of(meeting);
        let attendees = keys::attendees(meeting);
        let old = db
            .prepare_cached(
                "SELECT start_key, created_key, slot_end, attendees, state, request_id FROM meetings WHERE id = ?1",
            )?
            .query_row([id], |row| {
                let place = Place { start: row.get(0)?, created: row.get(1)? };
                let listed = Listed { place, slot_end: row.get(2)?, attendees: row.get(3)? };
                let same = rows::text(row, 4)? == rows::meeting_state_word(meeting.state)
                    && rows::text(row, 5)? == meeting.request_id.as_str();
                Ok((listed, same))
            })
            .optional()?;
        if let Some(slot) = &meeting.slot {
            self.raise_longest(db, Span::of(slot))?;
        }
        match old {
            None => {
                put_meeting(db.prepare_cached(INSERT_MEETING)?, meeting, &new, &body)?;
                list_attendees(db, id, &attendees, new.place)?;
            }
            // Nothing that an index holds has changed: they are left alone.
            Some((old, true)) if old == new => {
                db.prepare_cached(
                    "UPDATE meetings SET version = ?2, title = ?3, organizer = ?4, sequence = ?5, body = ?6
                     WHERE id = ?1",
                )?
                .execute(params![
                    id,
                    meeting.version.cast_signed(),
                    meeting.spec.title,
                    meeting.spec.organizer,
                    meeting.sequence,
                    body
                ])?;
            }
            Some((old, _)) => {
                if old.attendees != new.attendees {
                    unlist_attendees(db, id, old.place)?;
                    list_attendees(db, id, &attendees, new.place)?;
                } else if old.place != new.place {
                    move_attendees(db, id, &attendees, old.place, new.place)?;
                }
                put_meeting(db.prepare_cached(UPDATE_MEETING)?, meeting, &new, &body)?;
            }
        }
        self.meeting = Some((meeting, body));
        Ok(())
    }

    fn booking(&mut self, db: &Connection, row: &BookingRow) -> rusqlite::Result<()> {
        let during = Span::of(&row.during);
        self.raise_longest(db, during)?;
        db.prepare_cached(
            "INSERT INTO bookings (meeting_id, n, participant, start_us, end_us, delivered)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET
             start_us = excluded.start_us, end_us = excluded.end_us, delivered = excluded.delivered",
        )?
        .execute(params![
            row.attempt.meeting.as_str(),
            number(row.attempt.n),
            row.participant.as_str(),
            during.start,
            during.end,
            row.delivered
        ])
        .map(drop)
    }

    fn raise_longest(&mut self, db: &Connection, span: Span) -> rusqlite::Result<()> {
        let length = span.length();
        if length > self.longest {
            db.prepare_cached("UPDATE store SET longest_us = ?1 WHERE longest_us < ?1")?.execute([length])?;
            self.longest = length;
        }
        Ok(())
    }

    fn delivery(&mut self, db: &Connection, delivery: &'group Delivery) -> rusqlite::Result<()> {
        let Delivery { participant, attempt, body } = delivery;
        let key = (participant.as_str(), attempt.meeting.as_str(), number(attempt.n));
        let old: Option<Option<i64>> = db
            .prepare_cached(
                "SELECT confirm FROM deliveries WHERE participant = ?1 AND meeting_id = ?2 AND n = ?3",
            )?
            .query_row(key, |row| row.get(0))
            .optional()?;
        self.orphans.extend(old.flatten());
        let (confirm, cause) = match body {
            DeliveryBody::Confirm { .. } => (Some(self.confirm(db, body)?), None),
            DeliveryBody::Release(cause) => (None, Some(rows::release_cause_word(*cause))),
        };
        db.prepare_cached(
            "INSERT INTO deliveries (participant, meeting_id, n, kind, confirm, cause)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET
             kind = excluded.kind, confirm = excluded.confirm, cause = excluded.cause",
        )?
        .execute(params![key.0, key.1, key.2, rows::ack_kind_word(body.kind()), confirm, cause])
        .map(drop)
    }

    /// Stores the body of a confirm, unless the last one was the same.
    fn confirm(&mut self, db: &Connection, body: &'group DeliveryBody) -> rusqlite::Result<i64> {
        if let Some((last, id)) = self.confirm
            && last == body
        {
            return Ok(id);
        }
        let id =
            db.prepare_cached("INSERT INTO confirms (body) VALUES (?1)")?.insert([rows::to_json(body)?])?;
        self.confirm = Some((body, id));
        Ok(id)
    }

    fn remove_delivery(
        &mut self,
        db: &Connection,
        participant: &ParticipantId,
        attempt: &Attempt,
        kind: AckKind,
    ) -> rusqlite::Result<()> {
        let removed: Option<Option<i64>> = db
            .prepare_cached(
                "DELETE FROM deliveries WHERE participant = ?1 AND meeting_id = ?2 AND n = ?3 AND kind = ?4
                 RETURNING confirm",
            )?
            .query_row(
                params![
                    participant.as_str(),
                    attempt.meeting.as_str(),
                    number(attempt.n),
                    rows::ack_kind_word(kind)
                ],
                |row| row.get(0),
            )
            .optional()?;
        self.orphans.extend(removed.flatten());
        Ok(())
    }

    fn event(&mut self, db: &Connection, event: &NewEvent) -> rusqlite::Result<()> {
        let own;
        let body = match &self.meeting {
            Some((meeting, body)) if **meeting == event.meeting => body,
            _ => {
                own = rows::to_json(&event.meeting)?;
                &own
            }
        };
        let sequence = db
            .prepare_cached("INSERT INTO events (meeting_id, time_us, kind, body) VALUES (?1, ?2, ?3, ?4)")?
            .insert(params![
                event.meeting.id.as_str(),
                keys::micros(event.time),
                rows::event_kind_word(event.kind),
                body
            ])?;
        let newest = sequence.cast_unsigned();
        if newest > self.events_kept && newest.is_multiple_of(prune_batch(self.events_kept)) {
            db.prepare_cached("DELETE FROM events WHERE sequence <= ?1")?
                .execute([(newest - self.events_kept).cast_signed()])?;
        }
        Ok(())
    }
}

/// What the indexes hold of a meeting, but for its state and request id.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Listed {
    place: Place,
    slot_end: Option<i64>,
    attendees: i64,
}

impl Listed {
    fn of(meeting: &Meeting) -> Self {
        Self {
            place: Place::of(meeting),
            slot_end: meeting.slot.map(|slot| keys::micros(slot.end)),
            attendees: keys::fingerprint(&keys::attendees(meeting)),
        }
    }
}

const INSERT_MEETING: &str = "INSERT INTO meetings (id, request_id, state, version, start_key, created_key,
     slot_end, attendees, title, organizer, sequence, body)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

const UPDATE_MEETING: &str = "UPDATE meetings SET request_id = ?2, state = ?3, version = ?4, start_key = ?5,
     created_key = ?6, slot_end = ?7, attendees = ?8, title = ?9, organizer = ?10, sequence = ?11, body = ?12
     WHERE id = ?1";

/// Runs [`INSERT_MEETING`] or [`UPDATE_MEETING`].
fn put_meeting(
    mut statement: CachedStatement<'_>,
    meeting: &Meeting,
    listed: &Listed,
    body: &str,
) -> rusqlite::Result<()> {
    statement
        .execute(params![
            meeting.id.as_str(),
            meeting.request_id.as_str(),
            rows::meeting_state_word(meeting.state),
            meeting.version.cast_signed(),
            listed.place.start,
            listed.place.created,
            listed.slot_end,
            listed.attendees,
            meeting.spec.title,
            meeting.spec.organizer,
            meeting.sequence,
            body
        ])
        .map(drop)
}

fn list_attendees(
    db: &Connection,
    meeting: &str,
    attendees: &BTreeSet<&ParticipantId>,
    place: Place,
) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO meeting_attendees (participant, start_key, created_key, meeting_id) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for id in attendees {
        insert.execute(params![id.as_str(), place.start, place.created, meeting])?;
    }
    Ok(())
}

/// Takes the attendees of the meeting as it is stored off the list; it is seldom that they change.
fn unlist_attendees(db: &Connection, meeting: &str, place: Place) -> rusqlite::Result<()> {
    let stored = db
        .prepare_cached("SELECT body FROM meetings WHERE id = ?1")?
        .query_row([meeting], |row| rows::meeting(rows::text(row, 0)?, meeting))?;
    let mut delete = db.prepare_cached(
        "DELETE FROM meeting_attendees
         WHERE participant = ?1 AND start_key = ?2 AND created_key = ?3 AND meeting_id = ?4",
    )?;
    for id in keys::attendees(&stored) {
        delete.execute(params![id.as_str(), place.start, place.created, meeting])?;
    }
    Ok(())
}

fn move_attendees(
    db: &Connection,
    meeting: &str,
    attendees: &BTreeSet<&ParticipantId>,
    from: Place,
    to: Place,
) -> rusqlite::Result<()> {
    let mut update = db.prepare_cached(
        "UPDATE meeting_attendees SET start_key = ?5, created_key = ?6
         WHERE participant = ?1 AND start_key = ?2 AND created_key = ?3 AND meeting_id = ?4",
    )?;
    for id in attendees {
        update.execute(params![id.as_str(), from.start, from.created, meeting, to.start, to.created])?;
    }
    Ok(())
}

fn series(db: &Connection, row: &Series) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO series (id, request_id, state, version, live, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET request_id = excluded.request_id, state = excluded.state,
         version = excluded.version, live = excluded.live, body = excluded.body",
    )?
    .execute(params![
        row.id.as_str(),
        row.request_id.as_str(),
        rows::series_state_word(row.state),
        row.version.cast_signed(),
        row.is_live(),
        rows::to_json(row)?
    ])
    .map(drop)
}

fn attempt(db: &Connection, row: &AttemptRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO attempts (meeting_id, n, state, body) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET state = excluded.state, body = excluded.body",
    )?
    .execute(params![
        row.attempt.meeting.as_str(),
        number(row.attempt.n),
        rows::attempt_state_word(row.state),
        rows::to_json(row)?
    ])
    .map(drop)
}

fn remove_bookings(
    db: &Connection,
    attempt: &Attempt,
    participant: Option<&ParticipantId>,
) -> rusqlite::Result<()> {
    let (meeting, n) = (attempt.meeting.as_str(), number(attempt.n));
    match participant {
        None => db
            .prepare_cached("DELETE FROM bookings WHERE meeting_id = ?1 AND n = ?2")?
            .execute(params![meeting, n]),
        Some(participant) => db
            .prepare_cached("DELETE FROM bookings WHERE meeting_id = ?1 AND n = ?2 AND participant = ?3")?
            .execute(params![meeting, n, participant.as_str()]),
    }
    .map(drop)
}

fn participant(db: &Connection, row: &ParticipantRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO participants (id, display_name, time_zone, epoch, lineage, journal_id,
         journal_sequence, last_seen_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT DO UPDATE SET display_name = excluded.display_name, time_zone = excluded.time_zone,
         epoch = excluded.epoch, lineage = excluded.lineage, journal_id = excluded.journal_id,
         journal_sequence = excluded.journal_sequence, last_seen_us = excluded.last_seen_us",
    )?
    .execute(params![
        row.id.as_str(),
        row.display_name,
        row.time_zone,
        row.epoch.0,
        row.lineage.0,
        row.journal_id,
        row.journal_sequence.cast_signed(),
        keys::micros(row.last_seen)
    ])
    .map(drop)
}
