-- The first schema, as it was released: an older file is one of these. It never changes.
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
PRAGMA application_id = 0x71756f72;
PRAGMA user_version = 1;
