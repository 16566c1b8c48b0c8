//! Writes the seeds of the corpus that are encoded messages: one of each kind, as scheduler, agents and organizers
//! say it. Calendars are written by hand, in `corpus/calendar`.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use quorate::core::availability::Disclosure;
use quorate::core::ids::{Attempt, AttemptNumber, Epoch, Lineage, MeetingId, ParticipantId, QueryId};
use quorate::core::message::{
    AckKind, AgentMessage, Booking, Hold, Notice, NoticeKind, Origin, Promise, Query, Refusal, Register,
    Registered, ReleaseCause, SchedulerMessage, Vote,
};
use quorate::core::model::{FreeTime, Preference};
use quorate::core::time::{Instant, TimeRange};
use quorate::wire::agent_frames::pb_agent_message;
use quorate::wire::pages::{MeetingKey, MeetingList, etag, participants_next};
use quorate::wire::pb;
use quorate::wire::scalars::{pb_length, pb_range, timestamp};
use quorate::wire::scheduler_frames::{drain, pack, refused};

const MEETING: &str = "0b8f5c1e-3f0d-4c77-9a52-6d1f2e9b7a10";

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("seed-{name}")), bytes)
    };
    let said = agent_messages();
    for (name, message) in &said {
        let frame = pb::JoinRequest { messages: vec![pb_agent_message(message)] };
        write("join_request", name, &frame.encode_to_vec())?;
    }
    let all = said.iter().map(|(_, message)| pb_agent_message(message)).collect();
    write("join_request", "all", &pb::JoinRequest { messages: all }.encode_to_vec())?;
    if let Some(pb::agent_message::Message::Register(register)) = pb_agent_message(&said[0].1).message {
        write("register", "full", &register.encode_to_vec())?;
        let small = pb::Register { participant_id: "alice".to_owned(), ..pb::Register::default() };
        write("register", "small", &small.encode_to_vec())?;
        let twice = pb::Register { booked: register.held.clone(), ..register };
        write("register", "held-and-booked", &twice.encode_to_vec())?;
    }
    for (name, message) in scheduler_messages() {
        let messages = pack(vec![(who("alice"), message.clone()), (who("bob"), message)]);
        write("join_response", name, &pb::JoinResponse { messages }.encode_to_vec())?;
    }
    let error = pb::FrameError { message: "no".to_owned(), ..pb::FrameError::default() };
    let messages = vec![drain(Duration::from_secs(1)), refused(error)];
    write("join_response", "drain-and-error", &pb::JoinResponse { messages }.encode_to_vec())?;
    for (name, kind, bytes) in requests() {
        write("requests", name, &[&[kind], bytes.as_slice()].concat())?;
    }
    for (name, bytes) in runs() {
        let (target, name) = name.split_once('/').expect("a target and a name");
        write(target, name, &bytes)?;
    }
    Ok(())
}

fn who(name: &str) -> ParticipantId {
    ParticipantId::new(name)
}

fn attempt(n: u64) -> Attempt {
    Attempt::new(MeetingId::new(MEETING), AttemptNumber(n))
}

fn range(start: &str, minutes: i64) -> TimeRange {
    let start: Instant = start.parse().expect("an instant");
    TimeRange::new(start, start + chrono::Duration::minutes(minutes))
}

fn slot() -> TimeRange {
    range("2026-12-01T10:00:00Z", 30)
}

fn agent_messages() -> Vec<(&'static str, AgentMessage)> {
    let participant = || who("alice");
    let promise = |n| Promise { attempt: attempt(n), blocked: slot(), lease_over: n == 2, revision: 1 };
    let register = Register {
        participant: participant(),
        display_name: "Alice".to_owned(),
        time_zone: Some("Europe/Berlin".to_owned()),
        zone_data: None,
        calendar_problem: "alice.ics:7: unreadable".to_owned(),
        disclosure: Disclosure::FreeBusy,
        journal_id: "journal".to_owned(),
        journal_sequence: 7,
        held: vec![promise(2)],
        booked: vec![promise(1)],
        withdrawn: vec![(attempt(3), "ill".to_owned())],
        scheduler_generation: 1,
        scheduler_incarnation: "one".to_owned(),
        origin: Origin { process: "host-1".to_owned(), number: 2 },
    };
    let free = FreeTime { range: slot(), preference: Preference::Preferred, cost: 5 };
    let vote =
        |vote| AgentMessage::Vote { participant: participant(), attempt: attempt(1), vote, sequence: 8 };
    let ack = |kind| AgentMessage::Ack {
        participant: participant(),
        attempt: attempt(1),
        kind,
        revision: 1,
        sequence: 9,
    };
    let answer =
        |answer| AgentMessage::Availability { participant: participant(), query: QueryId::new("q"), answer };
    vec![
        ("register", AgentMessage::Register(Box::new(register))),
        ("unregister", AgentMessage::Unregister { participant: participant() }),
        ("free", answer(Ok(vec![free]))),
        ("declined", answer(Err("away".to_owned()))),
        ("granted", vote(Vote::Granted)),
        ("busy", vote(Vote::Refused(Refusal::Busy))),
        ("held", vote(Vote::Refused(Refusal::Held(Some(attempt(2)))))),
        ("confirmed", ack(AckKind::Confirm)),
        ("released", ack(AckKind::Release)),
        ("resolve", AgentMessage::Resolve { participant: participant(), attempt: attempt(1) }),
        ("changed", AgentMessage::CalendarChanged { participant: participant() }),
        (
            "withdraw",
            AgentMessage::Withdraw {
                participant: participant(),
                meeting: MeetingId::new(MEETING),
                attempt: Some(AttemptNumber(1)),
                reason: "ill".to_owned(),
                sequence: 10,
            },
        ),
    ]
}

fn scheduler_messages() -> Vec<(&'static str, SchedulerMessage)> {
    let blocked = slot().padded(Duration::from_secs(300), Duration::from_secs(600));
    let booking = |n| Booking {
        attempt: attempt(n),
        slot: slot(),
        blocked,
        title: "Planning".to_owned(),
        organizer: "carol".to_owned(),
        attendees: vec![who("alice"), who("bob")],
        sequence: 1,
        revision: 1,
        series: None,
    };
    let registered = Registered {
        participant: who("alice"),
        epoch: Epoch(3),
        lineage: Lineage(2),
        bookings: vec![booking(1), booking(2)],
        generation: 1,
        incarnation: "one".to_owned(),
    };
    let query = Query {
        id: QueryId::new("q"),
        windows: vec![range("2026-12-01T08:00:00Z", 540), range("2026-12-02T08:00:00Z", 540)],
        duration: Duration::from_secs(1_800),
        buffer_before: Duration::from_secs(300),
        buffer_after: Duration::ZERO,
        step: Duration::from_secs(900),
        deadline: slot().start,
        disregard: vec![attempt(1)],
        respect_working_hours: true,
    };
    let hold = Hold {
        attempt: attempt(2),
        slot: slot(),
        blocked,
        lease: Duration::from_secs(10),
        displaces: vec![attempt(1)],
        priority: 2,
        title: "Planning".to_owned(),
        organizer: "carol".to_owned(),
    };
    let notice = Notice {
        meeting: MeetingId::new(MEETING),
        kind: NoticeKind::Cancelled,
        message: "called off".to_owned(),
        slot: Some(slot()),
        title: "Planning".to_owned(),
    };
    let confirm = SchedulerMessage::Confirm { booking: Arc::new(booking(2)), displaces: vec![attempt(1)] };
    vec![
        ("registered", SchedulerMessage::Registered(Box::new(registered))),
        ("query", SchedulerMessage::Query(Arc::new(query))),
        ("hold", SchedulerMessage::Hold(Arc::new(hold))),
        ("confirm", confirm),
        ("release", SchedulerMessage::Release { attempt: attempt(1), cause: ReleaseCause::Moved }),
        ("notice", SchedulerMessage::Notice(Arc::new(notice))),
        ("superseded", SchedulerMessage::Superseded { epoch: Epoch(4) }),
    ]
}

fn spec() -> pb::MeetingSpec {
    let attendee = |id: &str, role| pb::Attendee { participant_id: id.to_owned(), role };
    let time = |hours, minutes| Some(pb::TimeOfDay { hours, minutes });
    pb::MeetingSpec {
        title: "Planning".to_owned(),
        organizer: "carol".to_owned(),
        attendees: vec![attendee("alice", 1), attendee("bob", 2), attendee("dave", 3)],
        duration: Some(pb_length(Duration::from_secs(1_800))),
        minimum_participants: 1,
        priority: 3,
        window: Some(pb::Window {
            earliest: Some(timestamp(slot().start)),
            latest: Some(timestamp(slot().start + chrono::Duration::days(3))),
            time_zone: "Europe/Berlin".to_owned(),
            step: Some(pb_length(Duration::from_secs(900))),
            working_hours: Some(pb::WorkingHours {
                days: vec![1, 2, 3],
                start: time(9, 30),
                end: time(24, 0),
                time_zone: "America/New_York".to_owned(),
                unrestricted: false,
            }),
            respect_attendee_hours: true,
            exclude: vec![pb_range(&slot())],
        }),
        objective: 2,
        buffer_before: Some(pb_length(Duration::from_secs(300))),
        buffer_after: Some(pb_length(Duration::from_secs(60))),
        displace: false,
        displaceable: true,
    }
}

/// The kind as `requests` counts them, and the message.
fn requests() -> Vec<(&'static str, u8, Vec<u8>)> {
    let seconds = |n| Some(pb_length(Duration::from_secs(n)));
    let meeting_id = || MEETING.to_owned();
    let schedule = pb::ScheduleMeetingRequest {
        request_id: MEETING.to_owned(),
        spec: Some(spec()),
        response_timeout: seconds(2),
        connect_timeout: seconds(1),
        max_attempts: 3,
        max_candidates_per_round: 5,
        ..pb::ScheduleMeetingRequest::default()
    };
    let named = pb::ScheduleMeetingRequest { slot: Some(pb_range(&slot())), ..schedule.clone() };
    let open = pb::MeetingSpec {
        window: Some(pb::Window { latest: Some(timestamp(slot().start)), ..pb::Window::default() }),
        ..spec()
    };
    let batch = pb::BatchScheduleMeetingsRequest { requests: vec![named.clone(), schedule.clone()] };
    let find = pb::FindMeetingTimesRequest {
        spec: Some(open),
        response_timeout: seconds(2),
        connect_timeout: None,
        max_candidates: 4,
    };
    let ages = pb::MeetingSpec {
        // The last second that can be said: with no earliest, thousands of years from now.
        window: Some(pb::Window {
            latest: Some(timestamp(Instant::MAX_UTC)),
            step: seconds(24 * 3_600),
            ..pb::Window::default()
        }),
        ..spec()
    };
    let find_ages =
        pb::FindMeetingTimesRequest { spec: Some(ages), ..pb::FindMeetingTimesRequest::default() };
    let list = MeetingList { range: Some(slot()), participant: Some(who("alice")), states: Vec::new() };
    let key = MeetingKey { start: Some(1), created: 2, id: MeetingId::new(MEETING) };
    let meetings = pb::ListMeetingsRequest {
        page_token: list.next(&key),
        page_size: 7,
        range: Some(pb_range(&slot())),
        participant_id: "alice".to_owned(),
        states: Vec::new(),
    };
    let reschedule = pb::RescheduleMeetingRequest {
        meeting_id: meeting_id(),
        etag: etag(3),
        window: spec().window,
        duration: seconds(3_600),
        ..pb::RescheduleMeetingRequest::default()
    };
    let paths = ["title", "attendees", "minimum_participants", "displaceable"].map(str::to_owned).to_vec();
    let mut update = pb::UpdateMeetingRequest {
        meeting_id: meeting_id(),
        spec: Some(spec()),
        ..pb::UpdateMeetingRequest::default()
    };
    update.update_mask.get_or_insert_default().paths = paths;
    let participants = pb::ListParticipantsRequest {
        page_token: participants_next(true, &who("alice")),
        connected_only: true,
        ..pb::ListParticipantsRequest::default()
    };
    let watch = pb::WatchMeetingsRequest {
        resume_after: Some(5),
        meeting_id: meeting_id(),
        participant_id: "alice".to_owned(),
    };
    let cancel = pb::CancelMeetingRequest { meeting_id: meeting_id(), etag: etag(4) };
    let participant = pb::GetParticipantRequest { participant_id: "alice".to_owned() };
    vec![
        ("schedule", 0, schedule.encode_to_vec()),
        ("schedule-slot", 0, named.encode_to_vec()),
        ("batch", 1, batch.encode_to_vec()),
        ("find", 2, find.encode_to_vec()),
        ("find-in-all-ages", 2, find_ages.encode_to_vec()),
        ("list-meetings", 3, meetings.encode_to_vec()),
        ("reschedule", 4, reschedule.encode_to_vec()),
        ("update", 5, update.encode_to_vec()),
        ("list-participants", 6, participants.encode_to_vec()),
        ("watch", 7, watch.encode_to_vec()),
        ("cancel", 8, cancel.encode_to_vec()),
        ("get-meeting", 9, pb::GetMeetingRequest { meeting_id: meeting_id() }.encode_to_vec()),
        ("get-participant", 10, participant.encode_to_vec()),
    ]
}

/// Short lives of the two machines, as their targets read them.
fn runs() -> Vec<(&'static str, Vec<u8>)> {
    let nanosecond = Query {
        id: QueryId::new("q"),
        windows: vec![range("2030-01-08T07:00:00Z", 120)],
        duration: Duration::from_secs(1),
        buffer_before: Duration::ZERO,
        buffer_after: Duration::ZERO,
        step: Duration::from_nanos(1),
        deadline: slot().start,
        disregard: Vec::new(),
        respect_working_hours: false,
    };
    let nanosecond = pack(vec![(who("alice"), SchedulerMessage::Query(Arc::new(nanosecond)))]);
    let nanosecond = pb::JoinResponse { messages: nanosecond }.encode_to_vec();
    let schedule = [12, 3, 3, 0, 1, 1, 0, 2, 0];
    let grants = [3, 0, 0, 0, 0, 3, 1, 0, 0, 0];
    let acks = [6, 0, 0, 0, 6, 1, 0, 0];
    let seek = [13, 7, 1, 0, 3, 1, 1, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 2, 0, 0, 10, 5];
    let booked = [&schedule[..], &grants, &acks].concat();
    let slots = range("2030-01-08T09:00:00Z", 60);
    let request = pb::ScheduleMeetingRequest {
        slot: Some(pb_range(&slots)),
        spec: Some(short()),
        ..Default::default()
    };
    let raw = request.encode_to_vec();
    let frame = pb::JoinRequest {
        messages: agent_messages().iter().map(|(_, m)| pb_agent_message(m)).take(1).collect(),
    };
    let frame = frame.encode_to_vec();
    let told =
        pack(scheduler_messages().into_iter().skip(2).take(1).map(|(_, m)| (who("alice"), m)).collect());
    let told = pb::JoinResponse { messages: told }.encode_to_vec();
    let with = |op: u8, bytes: &[u8]| [&[op, bytes.len() as u8], bytes].concat();
    vec![
        ("coordinator/booked", booked.clone()),
        ("coordinator/moved", [&booked[..], &[14, 0, 1, 3], &grants, &acks].concat()),
        ("coordinator/cancelled", [&booked[..], &[14, 0, 0, 0], &acks].concat()),
        ("coordinator/restarted", [&schedule[..], &[15, 0, 0, 0, 0, 10, 6]].concat()),
        ("coordinator/sought", seek.to_vec()),
        ("coordinator/frame", [with(18, &frame), with(19, &raw), grants.to_vec()].concat()),
        ("participant/booked", vec![0, 7, 0, 1, 0, 0, 0, 1, 3, 0, 0, 1, 5, 0, 0, 0]),
        ("participant/asked", vec![1, 7, 0, 1, 8, 0, 2, 1, 30, 5, 5, 15]),
        ("participant/restarted", vec![0, 7, 0, 1, 0, 0, 0, 1, 10, 2, 10, 4, 3, 7, 0, 1, 9, 0]),
        ("participant/every-nanosecond", [&[1, 7, 0, 1][..], &with(11, &nanosecond)].concat()),
        ("participant/frame", [&[0, 7, 0, 1][..], &with(11, &told)].concat()),
    ]
}

fn short() -> pb::MeetingSpec {
    let attendee = |id: &str| pb::Attendee { participant_id: id.to_owned(), role: 1 };
    pb::MeetingSpec { attendees: vec![attendee("a"), attendee("b")], ..pb::MeetingSpec::default() }
}
