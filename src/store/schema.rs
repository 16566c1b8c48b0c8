//! The tables, and how older files become today's.

use rusqlite_migration::{M, Migrations};

/// Marks the file as quorate's (`PRAGMA application_id`): "quor" in ASCII.
pub const APPLICATION_ID: i32 = 0x7175_6f72;

/// The schema that this code reads and writes (`PRAGMA user_version`): the number of [`STEPS`].
pub const VERSION: i64 = STEPS.len() as i64;

/// The first schema with the table `series`.
pub const SERIES_SINCE: i64 = 2;

/// Every step from an empty file to today's schema. A step that was released never changes: add another.
const STEPS: &[M<'static>] = &[M::up(FIRST), M::up(SERIES)];

/// The steps, ready to be run.
pub const fn migrations() -> Migrations<'static> {
    Migrations::from_slice(STEPS)
}

/// Notes on the tables:
/// - Times are microseconds since 1970, ranges half-open.
/// - Numbers that are unsigned in the code keep their 64 bits as signed ones.
/// - A column that is also in a body wins over the body: `attempts.state` changes without it.
/// - `store.longest_us`: no slot and no booked row ever was longer. Rows are found by their start, and
///   those that overlap an instant start at most this long before it.
/// - `meetings.start_key` is the slot's start, or the greatest number without a slot; `created_key` is 0 with a
///   slot, else the creation: sorting by both and the id gives the list's order.
/// - `meetings.attendees` is a fingerprint of the ids in `meeting_attendees`, so that most updates of a
///   meeting need not touch them.
/// - `confirms`: one body for all deliveries of a meeting; it names all attendees, so that a copy
///   for each would grow with their square.
const FIRST: &str = "
CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL,
    incarnation TEXT NOT NULL,
    longest_us INTEGER NOT NULL
) STRICT;
INSERT INTO store (id, generation, incarnation, longest_us) VALUES (1, 0, '', 0);

CREATE TABLE meetings (
    id TEXT NOT NULL PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    version INTEGER NOT NULL,
    start_key INTEGER NOT NULL,
    created_key INTEGER NOT NULL,
    slot_end INTEGER,
    attendees INTEGER NOT NULL,
    title TEXT NOT NULL,
    organizer TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX meetings_by_state ON meetings (state, start_key, created_key, id, slot_end);

CREATE TABLE meeting_attendees (
    participant TEXT NOT NULL,
    start_key INTEGER NOT NULL,
    created_key INTEGER NOT NULL,
    meeting_id TEXT NOT NULL,
    PRIMARY KEY (participant, start_key, created_key, meeting_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    meeting_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    state TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (meeting_id, n)
) STRICT;
CREATE INDEX attempts_holding ON attempts (meeting_id, n) WHERE state = 'HOLDING';

CREATE TABLE bookings (
    meeting_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    participant TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    PRIMARY KEY (meeting_id, n, participant)
) STRICT, WITHOUT ROWID;
CREATE INDEX bookings_by_time ON bookings (participant, start_us, end_us);

CREATE TABLE confirms (
    id INTEGER PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE deliveries (
    participant TEXT NOT NULL,
    meeting_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    kind TEXT NOT NULL,
    confirm INTEGER,
    cause TEXT,
    PRIMARY KEY (participant, meeting_id, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_by_confirm ON deliveries (confirm) WHERE confirm IS NOT NULL;

CREATE TABLE participants (
    id TEXT NOT NULL PRIMARY KEY,
    display_name TEXT NOT NULL,
    time_zone TEXT,
    epoch INTEGER NOT NULL,
    lineage INTEGER NOT NULL,
    journal_id TEXT NOT NULL,
    journal_sequence INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    meeting_id TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
";

/// Recurring meetings. `live` is 1 while there is work for a scheduler that starts: SCHEDULING, or booked and without an end.
const SERIES: &str = "
CREATE TABLE series (
    id TEXT NOT NULL PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    version INTEGER NOT NULL,
    live INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX series_live ON series (id) WHERE live = 1;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_valid_sql() {
        migrations().validate().expect("every step runs on an empty database");
    }
}
