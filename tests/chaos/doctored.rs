//! The checker finds what it is there for: a sound set of files passes, and each way to spoil one file is noticed.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::calls::{Call, Kind, Log, Outcome, Seen};
use super::checker::{Findings, check};
use super::evidence::Places;

const M: &str = "11111111-1111-4111-8111-111111111111";
const R: &str = "22222222-2222-4222-8222-222222222222";
const NINE: &str = "2034-07-10T09:00:00Z";
const TEN: &str = "2034-07-10T10:00:00Z";
const NINE_S: i64 = super::world::MONDAY + 9 * 3600;

/// A database, one journal for alice and bob, their calendars, and an organizer's log: one meeting at nine, first not
/// answered, then answered.
struct Sound {
    _folder: tempfile::TempDir,
    places: Places,
}

fn body(version: i64) -> String {
    let attendee = |id: &str| format!(r#"{{"id":"{id}","status":"Attending"}}"#);
    format!(
        r#"{{"id":"{M}","request_id":"{R}","state":"Confirmed","version":{version},"booked":1,
        "slot":{{"start":"{NINE}","end":"{TEN}"}},"attendees":[{},{}]}}"#,
        attendee("alice"),
        attendee("bob")
    )
}

fn promise(state: &str, meeting: &str) -> String {
    let slot = format!(r#"{{"start":"{NINE}","end":"{TEN}"}}"#);
    let attempt = format!(r#"{{"meeting":"{meeting}","n":1}}"#);
    format!(
        r#"{{"state":"{state}","booking":{{"attempt":{attempt},"slot":{slot},"blocked":{slot}}},"displaces":[]}}"#
    )
}

fn calendar(uid: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nDTSTART:20340710T090000Z\r\nDTEND:20340710T100000Z\r\n\
         END:VEVENT\r\nEND:VCALENDAR\r\n"
    )
}

fn seen() -> Seen {
    Seen {
        meeting: M.into(),
        request: R.into(),
        state: "CONFIRMED".into(),
        etag: "v2".into(),
        slot: Some((NINE_S, NINE_S + 3600)),
        attending: vec!["alice".into(), "bob".into()],
    }
}

fn unknown() -> Outcome {
    Outcome::Unknown { code: "Unavailable".into(), reason: String::new(), words: String::new() }
}

fn scheduled(outcome: Outcome) -> Call {
    Call { kind: Kind::Schedule, request: R.into(), meeting: String::new(), outcome }
}

fn changed(kind: Kind, outcome: Outcome) -> Call {
    Call { kind, request: String::new(), meeting: M.into(), outcome }
}

fn write_log(path: &Path, calls: &[Call]) {
    let mut log = Log::create(path);
    calls.iter().for_each(|call| log.write(call));
}

impl Sound {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let calendars = at("calendars");
        fs::create_dir(&calendars).expect("a folder");
        let db = Connection::open(at("quorate.db")).expect("a database");
        db.execute_batch(
            "CREATE TABLE meetings (id, request_id, state, version, body);
             CREATE TABLE bookings (meeting_id, n, participant, start_us, end_us, delivered);
             CREATE TABLE attempts (meeting_id, n, state);
             CREATE TABLE deliveries (participant, meeting_id, n, kind);
             CREATE TABLE events (sequence INTEGER PRIMARY KEY, body);",
        )
        .expect("tables");
        let columns = (M, R, "CONFIRMED", 2, body(2));
        db.execute("INSERT INTO meetings VALUES (?1, ?2, ?3, ?4, ?5)", columns).expect("a row");
        db.execute("INSERT INTO events (body) VALUES (?1)", [body(2)]).expect("a row");
        let journal = Connection::open(at("journal.db")).expect("a journal");
        journal
            .execute_batch(
                "CREATE TABLE participants (id); CREATE TABLE promises (participant, meeting, n, body);
                 CREATE TABLE withdrawals (participant, meeting, n);
                 INSERT INTO participants VALUES ('alice'), ('bob');",
            )
            .expect("tables");
        for who in ["alice", "bob"] {
            let (start, end) = (NINE_S * 1_000_000, (NINE_S + 3600) * 1_000_000);
            db.execute("INSERT INTO bookings VALUES (?1, 1, ?2, ?3, ?4, 1)", (M, who, start, end))
                .expect("a row");
            let row = (who, M, promise("Confirmed", M));
            journal.execute("INSERT INTO promises VALUES (?1, ?2, 1, ?3)", row).expect("a row");
            let file = calendars.join(format!("{who}.quorate.ics"));
            fs::write(file, calendar(&format!("{M}@quorate"))).expect("a calendar");
        }
        write_log(&at("calls.jsonl"), &[scheduled(unknown()), scheduled(Outcome::Answered(seen()))]);
        let places = Places {
            database: at("quorate.db"),
            journals: vec![at("journal.db")],
            calendars: vec![calendars],
            logs: vec![at("calls.jsonl")],
        };
        Self { _folder: folder, places }
    }

    fn check(&self) -> Findings {
        check(&self.places).expect("the files can be read")
    }

    /// Changes the database.
    fn database(self, sql: &str) -> Self {
        Connection::open(&self.places.database).expect("a database").execute_batch(sql).expect("SQL");
        self
    }

    /// Afterwards somebody else took its time: the history has the meeting DISPLACED by `other`, which displaced it, and
    /// then FAILED.
    fn displaced(self, other: &str) -> Self {
        let taker = body(1).replace(M, "other").replace(R, "another");
        let taker = taker.replace(NINE, "2034-07-10T08:30:00Z").replace(TEN, "2034-07-10T09:30:00Z");
        let taker = taker.replace(r#""booked":1"#, &format!(r#""booked":1,"displaced":["{other}"]"#));
        let lost = |state: &str, version: i64| {
            let lost = body(version).replace("Confirmed", state).replace("Attending", "NotAsked");
            let lost = lost.replace(r#""booked":1"#, r#""booked":null,"displaced_by":"other""#);
            lost.replace(r#""slot":{"#, r#""slot":null,"once":{"#)
        };
        self.database(&format!(
            "INSERT INTO events (body) VALUES ('{}'), ('{taker}'), ('{}');
             UPDATE meetings SET state = 'FAILED', version = 4, body = '{}'; DELETE FROM bookings;",
            lost("Displaced", 3),
            lost("Failed", 4),
            lost("Failed", 4)
        ))
        .journal("DELETE FROM promises")
        .without_calendars()
    }

    fn without_calendars(self) -> Self {
        for who in ["alice", "bob"] {
            fs::remove_file(self.calendar(&format!("{who}.quorate.ics"))).expect("a calendar");
        }
        self
    }

    /// Changes the journal.
    fn journal(self, sql: &str) -> Self {
        Connection::open(&self.places.journals[0]).expect("a journal").execute_batch(sql).expect("SQL");
        self
    }

    fn calls(self, calls: &[Call]) -> Self {
        write_log(&self.places.logs[0], calls);
        self
    }

    fn calendar(&self, name: &str) -> PathBuf {
        self.places.calendars[0].join(name)
    }
}

#[test]
fn sound_files_pass() {
    let findings = Sound::new().check();
    assert!(findings.is_clean(), "{findings}");
    assert_eq!((findings.tally.answers, findings.tally.unknown), (1, 1));
}

#[test]
fn a_lost_meeting_is_found() {
    let spoilt = [
        Sound::new().database("DELETE FROM meetings"),
        Sound::new().database("UPDATE meetings SET state = 'FAILED'"),
        Sound::new().database("UPDATE meetings SET version = 1"),
        Sound::new().database("UPDATE meetings SET body = replace(body, 'T09:', 'T08:')"),
        Sound::new().database("UPDATE meetings SET body = replace(body, 'bob', 'carol')"),
        Sound::new().database("DELETE FROM bookings WHERE participant = 'bob'"),
        Sound::new().journal("DELETE FROM promises WHERE participant = 'bob'"),
        Sound::new().journal("UPDATE promises SET body = replace(body, 'T09:', 'T08:')"),
        Sound::new().calls(&[
            scheduled(Outcome::Answered(seen())),
            changed(Kind::Get, Outcome::Refused { code: "NotFound".into(), reason: String::new() }),
        ]),
        // An answer that no event tells of, though the meeting is as it was told last.
        Sound::new().calls(&[
            scheduled(Outcome::Answered(Seen { etag: "v1".into(), ..seen() })),
            changed(Kind::Get, Outcome::Answered(seen())),
        ]),
    ];
    for (index, sound) in spoilt.iter().enumerate() {
        assert!(!sound.check().lost.is_empty(), "{index}: {}", sound.check());
    }
    let sound = Sound::new();
    fs::write(sound.calendar("bob.quorate.ics"), "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n").expect("a calendar");
    assert_eq!(sound.check().lost.len(), 1, "{}", sound.check());
}

/// A meeting loses its slot to one that displaced it, and to nothing else.
#[test]
fn a_displaced_meeting_without_a_cause_is_found() {
    let sound = Sound::new().displaced(M).check();
    assert!(sound.is_clean(), "{sound}");
    assert_eq!(sound.tally.displaced, 1);
    let spoilt = [
        Sound::new().displaced("somebody else"),
        Sound::new().displaced(M).database("DELETE FROM events WHERE body LIKE '%\"other\",\"request%'"),
        Sound::new().displaced(M).database("UPDATE events SET body = replace(replace(body, 'T08:30', 'T05:30'), 'T09:30', 'T06:30') WHERE body LIKE '%T08:30%'"),
        // It lost its slot, and no event says so.
        Sound::new().displaced(M).database("DELETE FROM events WHERE body LIKE '%Displaced%'"),
        // What is gone is in the rows still.
        Sound::new().displaced(M).database("UPDATE meetings SET state = 'CONFIRMED'"),
    ];
    for (index, sound) in spoilt.iter().enumerate() {
        assert!(!sound.check().lost.is_empty(), "{index}: {}", sound.check());
    }
}

#[test]
fn a_double_booking_is_found() {
    let other = promise("Confirmed", "other").replace("T09:00", "T09:30").replace("T10:00", "T10:30");
    let spoilt = [
        Sound::new().database(
            "INSERT INTO bookings SELECT 'other', n, participant, start_us + 1, end_us, 1 FROM bookings",
        ),
        Sound::new().journal(&format!("INSERT INTO promises VALUES ('bob', 'other', 1, '{other}')")),
        Sound::new()
            .database("INSERT INTO meetings SELECT 'other', 'other', state, version, body FROM meetings"),
    ];
    for (index, sound) in spoilt.iter().enumerate() {
        assert!(!sound.check().double_booked.is_empty(), "{index}: {}", sound.check());
    }
    let sound = Sound::new();
    let own = calendar("dentist").replace("T090000Z", "T093000Z").replace("T100000Z", "T110000Z");
    fs::write(sound.calendar("bob.ics"), own).expect("a calendar");
    assert_eq!(sound.check().double_booked.len(), 1, "{}", sound.check());
}

#[test]
fn what_is_left_over_is_found() {
    let held = promise("Held", M);
    let spoilt = [
        Sound::new().journal(&format!("UPDATE promises SET body = '{held}' WHERE participant = 'bob'")),
        Sound::new().journal(&format!("INSERT INTO promises VALUES ('carol', 'gone', 1, '{held}')")),
        Sound::new().journal("INSERT INTO withdrawals VALUES ('bob', 'gone', 1)"),
        Sound::new().database(&format!("INSERT INTO attempts VALUES ('{M}', 2, 'HOLDING')")),
        Sound::new().database(&format!("INSERT INTO deliveries VALUES ('bob', '{M}', 1, 'CONFIRM')")),
        Sound::new().database("UPDATE bookings SET delivered = 0"),
        Sound::new().database("INSERT INTO bookings VALUES ('gone', 1, 'carol', 0, 1, 1)"),
        Sound::new().database("INSERT INTO meetings VALUES ('m', 'r', 'SCHEDULING', 1, '{}')"),
        Sound::new().database("UPDATE meetings SET state = 'CANCELLED'"),
        Sound::new().calls(&[]),
    ];
    for (index, sound) in spoilt.iter().enumerate() {
        assert!(!sound.check().left_over.is_empty(), "{index}: {}", sound.check());
    }
    let sound = Sound::new();
    fs::write(sound.calendar("carol.quorate.ics"), calendar("gone@quorate")).expect("a calendar");
    assert_eq!(sound.check().left_over.len(), 1, "{}", sound.check());
}

#[test]
fn what_stays_unknown_is_found() {
    let answered = || scheduled(Outcome::Answered(seen()));
    let refused = || Outcome::Refused { code: "Unavailable".into(), reason: String::new() };
    let spoilt = [
        Sound::new().calls(&[scheduled(unknown())]),
        // A refusal says nothing of what became of the first call.
        Sound::new().calls(&[scheduled(unknown()), scheduled(refused())]),
        Sound::new().calls(&[answered(), changed(Kind::Cancel, unknown()), changed(Kind::Cancel, refused())]),
        Sound::new().calls(&[answered(), changed(Kind::Cancel, unknown())]),
        Sound::new().calls(&[answered(), changed(Kind::Update, unknown()), changed(Kind::Get, unknown())]),
        // Asked twice, booked twice.
        Sound::new()
            .calls(&[answered(), scheduled(Outcome::Answered(Seen { meeting: "other".into(), ..seen() }))]),
        Sound::new()
            .database("INSERT INTO meetings SELECT 'other', request_id, 'FAILED', 1, '{}' FROM meetings"),
    ];
    for (index, sound) in spoilt.iter().enumerate() {
        assert!(!sound.check().unresolved.is_empty(), "{index}: {}", sound.check());
    }
}
