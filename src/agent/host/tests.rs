use std::path::Path;

use rusqlite::Connection;

use super::super::journal::JOURNAL_FILE;
use super::super::{Folder, ParticipantConfig};
use super::*;
use crate::core::ids::{Attempt, AttemptNumber};
use crate::core::time::{Instant, TimeRange};
use crate::wire::pb::agent_message::Message as FromAgent;
use crate::wire::pb::scheduler_message::Message as ToAgent;
use crate::wire::scalars::{pb_length, pb_range, timestamp};

const MEETING: &str = "11111111-1111-4111-8111-111111111111";

fn at(hour: i64) -> Instant {
    Instant::from_timestamp(1_800_000_000 + hour * 3600, 0).unwrap()
}

fn slot(hour: i64) -> TimeRange {
    TimeRange::new(at(hour), at(hour + 1))
}

fn calendar(event: Option<TimeRange>) -> String {
    let utc = |instant: Instant| instant.format("%Y%m%dT%H%M%SZ").to_string();
    let event = event.map(|event| {
        let (start, end) = (utc(event.start), utc(event.end));
        format!("BEGIN:VEVENT\r\nUID:own\r\nDTSTART:{start}\r\nDTEND:{end}\r\nEND:VEVENT\r\n")
    });
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{}END:VCALENDAR\r\n", event.unwrap_or_default())
}

fn config(folder: &Path, name: &str) -> ParticipantConfig {
    let path = folder.join(format!("{name}.ics"));
    Folder::from(folder.to_owned()).participant(&path).unwrap()
}

/// Alice is busy in hour 5, bob never.
fn host(folder: &Path) -> Host {
    let participants = [("alice", Some(slot(5))), ("bob", None)].map(|(name, event)| {
        let config = config(folder, name);
        if !config.calendar.exists() {
            std::fs::write(&config.calendar, calendar(event)).unwrap();
        }
        let loaded = Loaded::read(&config.calendar);
        (config, loaded)
    });
    let journal = JournalFile::open(folder).unwrap();
    Host::open(Clock::start(), journal, Outputs::start().0, participants.into()).unwrap()
}

fn frame(messages: impl IntoIterator<Item = ToAgent>) -> pb::JoinResponse {
    let message = |message| pb::SchedulerMessage { message: Some(message) };
    pb::JoinResponse { messages: messages.into_iter().map(message).collect() }
}

fn registered(id: &str) -> ToAgent {
    ToAgent::Registered(pb::Registered {
        participant_id: id.into(),
        session_epoch: 1,
        lineage: 1,
        ..Default::default()
    })
}

fn to_both() -> Vec<String> {
    vec!["alice".into(), "bob".into()]
}

fn hold(attempt: u64, hour: i64) -> ToAgent {
    ToAgent::Hold(pb::Hold {
        participant_ids: to_both(),
        meeting_id: MEETING.into(),
        attempt,
        slot: Some(pb_range(&slot(hour))),
        blocked: Some(pb_range(&slot(hour))),
        lease: Some(pb_length(limits::LEASE)),
        priority: 1,
        title: "Plan".into(),
        ..Default::default()
    })
}

fn confirm(attempt: u64, hour: i64) -> ToAgent {
    let booking = pb::Booking {
        meeting_id: MEETING.into(),
        attempt,
        slot: Some(pb_range(&slot(hour))),
        blocked: Some(pb_range(&slot(hour))),
        title: "Plan".into(),
        attendees: to_both(),
        ..Default::default()
    };
    ToAgent::Confirm(pb::Confirm { participant_ids: to_both(), booking: Some(booking), ..Default::default() })
}

fn query(hour: i64) -> ToAgent {
    ToAgent::AvailabilityQuery(pb::AvailabilityQuery {
        query_id: "q".into(),
        participant_ids: to_both(),
        windows: vec![pb_range(&slot(hour))],
        duration: Some(pb_length(Duration::from_secs(3600))),
        step: Some(pb_length(Duration::from_secs(900))),
        deadline: Some(timestamp(at(0))),
        ..Default::default()
    })
}

/// What the agents say, in words.
fn said(reply: &Reply) -> Vec<String> {
    use pb::hold_answer::Answer;
    let messages = reply.frames.iter().flat_map(|frame| &frame.messages);
    let word = |message: &pb::AgentMessage| match message.message.as_ref().unwrap() {
        FromAgent::Register(r) => {
            format!("{} register {}/{}", r.participant_id, r.held.len(), r.booked.len())
        }
        FromAgent::Unregister(u) => format!("{} unregister", u.participant_id),
        FromAgent::AvailabilityAnswer(a) => match &a.declined {
            Some(declined) => format!("{} declines: {}", a.participant_id, declined.reason),
            None => format!("{} free {}", a.participant_id, a.free.len()),
        },
        FromAgent::HoldAnswer(a) => match a.answer {
            Some(Answer::Granted(_)) => format!("{} yes", a.participant_id),
            _ => format!("{} no", a.participant_id),
        },
        FromAgent::Ack(a) => format!("{} ack", a.participant_id),
        FromAgent::Resolve(r) => format!("{} resolve", r.participant_id),
        FromAgent::CalendarChanged(c) => format!("{} changed", c.participant_id),
        FromAgent::Withdraw(w) => format!("{} withdraws: {}", w.participant_id, w.reason),
    };
    messages.map(word).collect()
}

fn ready(folder: &Path) -> Host {
    let mut host = host(folder);
    assert!(!host.all_seen());
    assert_eq!(said(&host.connected().unwrap()), ["alice register 0/0", "bob register 0/0"]);
    let reply = host.receive(&[frame(["alice", "bob"].map(registered))]).unwrap();
    assert!(reply.registered && host.all_seen());
    host
}

fn rows(folder: &Path) -> i64 {
    let db = Connection::open(folder.join(JOURNAL_FILE)).unwrap();
    db.query_row("SELECT count(*) FROM promises", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn promises_are_in_the_journal_when_the_votes_are_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = ready(folder.path());
    assert_eq!(said(&host.receive(&[frame([query(5)])]).unwrap()), ["alice free 0", "bob free 1"]);
    assert_eq!(said(&host.receive(&[frame([hold(1, 5)])]).unwrap()), ["alice no", "bob yes"]);
    assert_eq!(rows(folder.path()), 1);
    // Several frames are one batch.
    let reply = host.receive(&[frame([hold(2, 7)]), frame([confirm(2, 7)])]).unwrap();
    assert_eq!(said(&reply), ["alice yes", "bob yes", "alice ack", "bob ack"]);
    assert_eq!(rows(folder.path()), 3);
    let bob = ParticipantId::new("bob");
    assert_eq!(host.bookings(&bob).unwrap().len(), 1);
    assert!(host.bookings(&ParticipantId::new("carol")).is_err());

    assert!(host.has_unwritten());
    host.write_outputs();
    host.outputs.written().await;
    let written = std::fs::read_to_string(folder.path().join("bob.quorate.ics")).unwrap();
    assert!(written.contains("SUMMARY:Plan") && written.contains(MEETING), "{written}");
    drop(host);
    let mut host = self::host(folder.path());
    assert_eq!(said(&host.connected().unwrap()), ["alice register 0/1", "bob register 1/1"]);
}

#[tokio::test]
async fn without_a_journal_nothing_is_promised() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = ready(folder.path());
    let db = Connection::open(folder.path().join(JOURNAL_FILE)).unwrap();
    db.execute_batch("ALTER TABLE promises RENAME TO away").unwrap();
    let error = host.receive(&[frame([query(7), hold(1, 7)])]).unwrap_err();
    assert!(matches!(error, JournalError::Failed { .. }), "{error}");
    // The journal can't be read either: not even a new stream makes the machines speak.
    host.disconnected();
    assert!(host.connected().is_err());
    assert!(matches!(
        host.withdraw(&ParticipantId::new("bob"), &MeetingId::new(MEETING), ""),
        Err(AgentError::Journal(_))
    ));
    db.execute_batch("ALTER TABLE away RENAME TO promises").unwrap();
    assert_eq!(said(&host.connected().unwrap()), ["alice register 0/0", "bob register 0/0"]);
    host.receive(&[frame(["alice", "bob"].map(registered))]).unwrap();
    assert_eq!(said(&host.receive(&[frame([hold(1, 7)])]).unwrap()), ["alice yes", "bob yes"]);
    let alice = host.members.get(&ParticipantId::new("alice")).unwrap().machine.journal().clone();
    assert_eq!(host.journal.load(&ParticipantId::new("alice")).unwrap(), alice);
}

#[tokio::test]
async fn a_calendar_that_breaks_declines_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = ready(folder.path());
    let (alice, bob) = (ParticipantId::new("alice"), config(folder.path(), "bob"));
    std::fs::write(&bob.calendar, "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n").unwrap();
    let broken = Change::Changed(bob.id.clone(), Loaded::read(&bob.calendar));
    // What is wrong with it is told by registering again, and once.
    let reply = host.calendars(vec![broken]).unwrap();
    assert_eq!(said(&reply), ["bob register 0/0"]);
    let FromAgent::Register(register) = reply.frames[0].messages[0].message.clone().unwrap() else {
        unreachable!()
    };
    assert!(register.calendar_problem.starts_with("bob.ics:2: "), "{}", register.calendar_problem);
    host.receive(&[frame([registered("bob")])]).unwrap();
    std::fs::write(&bob.calendar, "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\n").unwrap();
    let broken = Change::Changed(bob.id.clone(), Loaded::read(&bob.calendar));
    assert_eq!(said(&host.calendars(vec![broken]).unwrap()), ["bob changed"]);
    let answers = said(&host.receive(&[frame([query(7), hold(1, 7)])]).unwrap());
    assert!(answers[1].starts_with("bob declines: bob.ics:"), "{answers:?}");
    assert_eq!([&answers[0], &answers[2], &answers[3]], ["alice free 1", "alice yes", "bob no"]);
    // Another zone is told by registering again.
    std::fs::write(&bob.calendar, calendar(None).replace("VERSION", "X-WR-TIMEZONE:Asia/Tokyo\r\nVERSION"))
        .unwrap();
    let mended = Change::Changed(bob.id.clone(), Loaded::read(&bob.calendar));
    assert_eq!(said(&host.calendars(vec![mended]).unwrap()), ["bob register 0/0"]);
    assert_eq!(host.served()[1].time_zone.as_deref(), Some("Asia/Tokyo"));
    // Who comes is registered, who goes is not.
    let carol = config(folder.path(), "carol");
    std::fs::write(&carol.calendar, calendar(None)).unwrap();
    let loaded = Loaded::read(&carol.calendar);
    let changes = vec![Change::Removed(alice.clone()), Change::Added(Box::new(carol), loaded)];
    let reply = host.calendars(changes).unwrap();
    assert_eq!(said(&reply), ["alice unregister", "carol register 0/0"]);
    assert!(host.bookings(&alice).is_err());
}

#[tokio::test]
async fn who_is_superseded_is_silent() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = ready(folder.path());
    let superseded = |id: &str| {
        frame([ToAgent::Superseded(pb::Superseded { participant_id: id.into(), session_epoch: 2 })])
    };
    host.receive(&[superseded("alice")]).unwrap();
    assert!(host.has_work() && !host.all_superseded());
    assert_eq!(said(&host.receive(&[frame([query(7), hold(1, 7)])]).unwrap()), ["bob free 1", "bob yes"]);
    host.disconnected();
    assert_eq!(said(&host.connected().unwrap()), ["bob register 1/0"]);
    assert!(matches!(
        host.withdraw(&ParticipantId::new("alice"), &MeetingId::new(MEETING), "no"),
        Err(AgentError::Superseded(_))
    ));
    host.receive(&[superseded("bob")]).unwrap();
    assert!(host.all_superseded());
}

#[tokio::test]
async fn timers_ask_again_and_a_withdrawal_is_told_when_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = ready(folder.path());
    assert_eq!(host.poll_timeout(), None);
    host.receive(&[frame([hold(1, 7), confirm(1, 7)])]).unwrap();
    host.disconnected();
    let (bob, meeting) = (ParticipantId::new("bob"), MeetingId::new(MEETING));
    let (reply, left) = host.withdraw(&bob, &meeting, "ill").unwrap();
    assert!(left && reply.frames.is_empty());
    assert!(!host.withdraw(&bob, &meeting, "ill").unwrap().1);
    assert_eq!(host.poll_timeout(), None);
    let reply = host.connected().unwrap();
    let FromAgent::Register(register) = reply.frames[0].messages[1].message.clone().unwrap() else {
        panic!()
    };
    assert_eq!(register.withdrawn[0].reason, "ill");
    assert!(host.poll_timeout().is_some());
    let release = pb::Release {
        participant_ids: vec!["bob".into()],
        meeting_id: MEETING.into(),
        attempt: 1,
        cause: pb::release::Cause::Withdrawn.into(),
        ..Default::default()
    };
    let reply =
        host.receive(&[frame([registered("alice"), registered("bob"), ToAgent::Release(release)])]).unwrap();
    assert_eq!(said(&reply), ["bob ack"]);
    assert_eq!(host.poll_timeout(), None);
    let attempt = Attempt::new(meeting, AttemptNumber(1));
    assert!(!host.members[&bob].machine.journal().withdrawn.contains_key(&attempt));
}

#[tokio::test]
async fn nonsense_disturbs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = ready(folder.path());
    let mut strange = hold(1, 7);
    if let ToAgent::Hold(hold) = &mut strange {
        hold.participant_ids = vec!["nobody".into()];
    }
    let bad = ToAgent::Release(pb::Release { meeting_id: "no uuid".into(), ..Default::default() });
    let drain = ToAgent::Drain(pb::Drain { reconnect_after: Some(pb_length(Duration::from_secs(1))) });
    let error = ToAgent::FrameError(pb::FrameError { reason: 1, ..Default::default() });
    let mut messages = frame([strange, bad, drain, error, query(7)]);
    messages.messages.push(pb::SchedulerMessage { message: None });
    let reply = host.receive(&[messages]).unwrap();
    assert_eq!(said(&reply), ["alice free 1", "bob free 1"]);
    assert_eq!(reply.drain, Some(Duration::from_secs(1)));
}
