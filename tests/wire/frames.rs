//! Frames: bad messages of agents, packing by host, splitting by size.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use prost_types::Timestamp;
use quorate::core::ids::{Attempt, AttemptNumber, Epoch, Lineage, MeetingId, ParticipantId, QueryId};
use quorate::core::limits;
use quorate::core::message::{
    AgentMessage, Booking, Hold, Query, Registered, ReleaseCause, SchedulerMessage,
};
use quorate::core::time::TimeRange;
use quorate::core::trace::{TraceContext, TraceState};
use quorate::wire::agent_frames::{FRAME_ERRORS, agent_messages, frame_error, member_name};
use quorate::wire::frames::{agent_frames, frames, frames_within};
use quorate::wire::pb;
use quorate::wire::pb::agent_message::Message as Agent;
use quorate::wire::pb::frame_error::Reason;
use quorate::wire::pb::scheduler_message::Message as Scheduler;
use quorate::wire::scheduler_frames::{
    FromScheduler, Packer, drain, from_scheduler, pack, refused, trace_of,
};

use crate::samples::{TEN, UUID, at, range};

fn frame(messages: impl IntoIterator<Item = Agent>) -> pb::JoinRequest {
    let message = |message| pb::AgentMessage { message: Some(message) };
    pb::JoinRequest { messages: messages.into_iter().map(message).collect() }
}

/// The error that one message draws.
fn error(message: Agent) -> pb::FrameError {
    let mut read = agent_messages(&frame([message]));
    assert_eq!(read.len(), 1);
    read.remove(0).1.expect_err("a bad message was taken")
}

/// Where the fields that the error names are.
fn fields(error: &pb::FrameError) -> Vec<&str> {
    error.message.split("; ").filter_map(|part| part.split_once(": ")).map(|(field, _)| field).collect()
}

fn register() -> pb::Register {
    pb::Register { participant_id: "alice".to_owned(), ..pb::Register::default() }
}

fn promise(attempt: u64) -> pb::Promise {
    pb::Promise {
        meeting_id: UUID.to_owned(),
        attempt,
        blocked: Some(range(TEN, TEN + 60)),
        lease_over: false,
        revision: 0,
    }
}

fn hold_answer() -> pb::HoldAnswer {
    pb::HoldAnswer {
        participant_id: "alice".to_owned(),
        meeting_id: UUID.to_owned(),
        attempt: 1,
        answer: Some(pb::hold_answer::Answer::Granted(pb::Granted {})),
        journal_sequence: 1,
    }
}

fn free(start: i64, end: i64) -> pb::FreeTime {
    pb::FreeTime { start_time: at(start), end_time: at(end), preference: 0, cost: 0 }
}

fn answer(free: Vec<pb::FreeTime>) -> Agent {
    Agent::AvailabilityAnswer(pb::AvailabilityAnswer {
        query_id: "q1".to_owned(),
        participant_id: "alice".to_owned(),
        free,
        declined: None,
    })
}

#[test]
fn a_bad_message_leaves_the_others_alone() {
    let unregister = |id: &str| Agent::Unregister(pb::Unregister { participant_id: id.to_owned() });
    let mut frame = frame([unregister("a"), unregister("no good"), unregister("b"), unregister("c")]);
    frame.messages[2].message = None;
    let read = agent_messages(&frame);
    assert_eq!(read.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(read[0].1.is_ok() && read[3].1.is_ok());
    let bad = read[1].1.as_ref().unwrap_err();
    assert_eq!((bad.reason(), bad.index, bad.member.as_str()), (Reason::Invalid, 1, "unregister"));
    assert_eq!(bad.participant_id, "no good");
    assert!(bad.message.starts_with("participant_id: "), "{}", bad.message);
    let empty = read[2].1.as_ref().unwrap_err();
    assert_eq!((empty.reason(), empty.index), (Reason::Empty, 2));
}

#[test]
fn registers() {
    let bad = |change: fn(&mut pb::Register)| {
        let mut register = register();
        change(&mut register);
        error(Agent::Register(register))
    };
    let one = |change: fn(&mut pb::Register), field: &str| {
        let error = bad(change);
        assert_eq!(fields(&error), [field], "{error:?}");
        assert_eq!(error.member, "register");
    };
    one(|value| value.participant_id.clear(), "participant_id");
    one(|value| value.participant_id = "ä".to_owned(), "participant_id");
    one(|value| value.display_name = "x".repeat(201), "display_name");
    one(|value| value.time_zone = "Mars/Phobos".to_owned(), "time_zone");
    one(|value| value.disclosure = 3, "disclosure");
    one(|value| value.journal_id = "x".repeat(129), "journal_id");
    one(|value| value.journal_sequence = u64::MAX, "journal_sequence");
    one(|value| value.held = vec![promise(1), promise(0)], "held[1].attempt");
    one(|value| value.held = vec![promise(1); 2], "held[1]");
    one(|value| (value.held, value.booked) = (vec![promise(1)], vec![promise(1)]), "booked[0]");
    one(|value| value.held = vec![promise(1); 10_001], "held");
    one(|value| value.booked = vec![promise(1); 100_001], "booked");
    one(|value| value.withdrawn = vec![pb::Withdrawal::default(); 10_001], "withdrawn");
    one(|value| value.scheduler_generation = 1 << 32, "scheduler_generation");
    one(|value| value.scheduler_incarnation = "\n".to_owned(), "scheduler_incarnation");
    let data = |change: fn(&mut pb::TimeZoneData)| {
        let mut data = pb::TimeZoneData {
            version: "2026b".to_owned(),
            range: Some(range(0, 60)),
            fingerprint: "0f".repeat(32),
        };
        change(&mut data);
        let time_zone = "Europe/Berlin".to_owned();
        error(Agent::Register(pb::Register { time_zone, time_zone_data: Some(data), ..register() }))
    };
    let of_data = |change: fn(&mut pb::TimeZoneData), field: &str| {
        assert_eq!(fields(&data(change)), [format!("time_zone_data.{field}")]);
    };
    of_data(|data| data.version = "x".repeat(65), "version");
    of_data(|data| data.range = None, "range");
    of_data(|data| data.range = Some(range(0, 3_663 * 86_400)), "range");
    of_data(|data| data.fingerprint.clear(), "fingerprint");
    of_data(|data| data.fingerprint = "0F".repeat(32), "fingerprint");
    // A zone that only the agent's data have is taken, but it has to look like one.
    for name in ["", "local", "Atlantis", "Europe/Atl antis", "../etc/passwd"] {
        let data = Some(pb::TimeZoneData {
            range: Some(range(0, 60)),
            fingerprint: "0f".repeat(32),
            ..Default::default()
        });
        let value = pb::Register { time_zone: name.to_owned(), time_zone_data: data, ..register() };
        assert_eq!(fields(&error(Agent::Register(value))), ["time_zone"], "{name}");
    }
    let all = bad(|value| {
        *value = pb::Register {
            booked: vec![pb::Promise { blocked: Some(range(2, 1)), ..promise(1) }],
            withdrawn: vec![pb::Withdrawal { meeting_id: UUID.to_owned(), ..Default::default() }],
            ..pb::Register::default()
        };
    });
    assert_eq!(fields(&all), ["participant_id", "booked[0].blocked.end_time", "withdrawn[0].attempt"]);
    let long = bad(|value| value.participant_id = "x".repeat(1 << 19));
    assert!(long.encoded_len() < 1_000, "{}", long.encoded_len());
}

#[test]
fn votes_and_acks() {
    let vote = |change: fn(&mut pb::HoldAnswer)| {
        let mut vote = hold_answer();
        change(&mut vote);
        error(Agent::HoldAnswer(vote))
    };
    assert_eq!(fields(&vote(|vote| vote.answer = None)), ["answer"]);
    assert_eq!(fields(&vote(|vote| vote.meeting_id = "7".to_owned())), ["meeting_id"]);
    assert_eq!(fields(&vote(|vote| vote.attempt = 0)), ["attempt"]);
    assert_eq!(fields(&vote(|vote| vote.attempt = u64::MAX)), ["attempt"]);
    assert_eq!(fields(&vote(|vote| vote.journal_sequence = u64::MAX)), ["journal_sequence"]);
    let held = |reason, held_by| {
        let refused = pb::Refused { reason, held_by };
        let answer = Some(pb::hold_answer::Answer::Refused(refused));
        error(Agent::HoldAnswer(pb::HoldAnswer { answer, ..hold_answer() }))
    };
    assert_eq!(fields(&held(5, None)), ["refused.reason"]);
    let nameless = Some(pb::AttemptRef::default());
    assert_eq!(fields(&held(2, nameless)), ["refused.held_by.meeting_id", "refused.held_by.attempt"]);
    for kind in [0, 3, -1] {
        let ack = pb::Ack {
            participant_id: "alice".to_owned(),
            meeting_id: UUID.to_owned(),
            attempt: 1,
            kind,
            journal_sequence: 0,
            revision: 0,
        };
        assert_eq!(fields(&error(Agent::Ack(ack))), ["kind"]);
    }
    let resolve = error(Agent::Resolve(pb::Resolve::default()));
    assert_eq!(fields(&resolve), ["participant_id", "meeting_id", "attempt"]);
    let withdraw = error(Agent::Withdraw(pb::Withdraw { attempt: u64::MAX, ..Default::default() }));
    assert_eq!(fields(&withdraw), ["participant_id", "meeting_id", "attempt"]);
}

#[test]
fn availability() {
    let bad = |free: Vec<pb::FreeTime>| error(answer(free));
    assert_eq!(fields(&bad(vec![free(1, 2), free(2, 2)])), ["free[1].end_time"]);
    assert_eq!(fields(&bad(vec![pb::FreeTime { end_time: None, ..free(1, 2) }])), ["free[0].end_time"]);
    let nanos = Some(Timestamp { seconds: 0, nanos: -1 });
    assert_eq!(fields(&bad(vec![pb::FreeTime { start_time: nanos, ..free(1, 2) }])), ["free[0].start_time"]);
    for cost in [-1, limits::COST_MAX + 1] {
        assert_eq!(fields(&bad(vec![pb::FreeTime { cost, ..free(1, 2) }])), ["free[0].cost"]);
    }
    assert_eq!(fields(&bad(vec![pb::FreeTime { preference: 4, ..free(1, 2) }])), ["free[0].preference"]);
    assert_eq!(fields(&bad(vec![free(1, 2); limits::FREE_RANGES + 1])), ["free"]);
    let many = bad(vec![free(2, 1); limits::FREE_RANGES]);
    assert!(many.message.ends_with("more") && many.message.len() < 500, "{}", many.message);
    let nameless = Agent::AvailabilityAnswer(pb::AvailabilityAnswer::default());
    assert_eq!(fields(&error(nameless)), ["participant_id", "query_id"]);

    // Who declines may leave nonsense in `free`; a long reason is cut, and made printable.
    let declined = Agent::AvailabilityAnswer(pb::AvailabilityAnswer {
        query_id: "q".to_owned(),
        participant_id: "alice".to_owned(),
        free: vec![free(2, 1)],
        declined: Some(pb::Declined { reason: "ü\n".repeat(1_000) }),
    });
    let read = agent_messages(&frame([declined])).remove(0).1.unwrap();
    let AgentMessage::Availability { answer: Err(reason), .. } = read else { panic!("{read:?}") };
    assert_eq!(reason, "ü ".repeat(limits::REASON_CHARS / 2));
}

#[test]
fn a_flood_of_bad_messages_draws_a_bounded_answer() {
    let mut flood = pb::JoinRequest { messages: vec![pb::AgentMessage { message: None }; 50_000] };
    flood.messages.extend(frame([Agent::HoldAnswer(hold_answer())]).messages);
    let read = agent_messages(&flood);
    assert_eq!(read.iter().filter(|(_, read)| read.is_ok()).count(), 1);
    assert_eq!(read.len(), FRAME_ERRORS + 2);
    let last = read.last().unwrap().1.as_ref().unwrap_err();
    assert_eq!(last.reason(), Reason::Limit);
    assert!(last.message.starts_with("49000 more"));
}

#[test]
fn members_have_their_names() {
    let read = agent_messages(&frame([Agent::HoldAnswer(hold_answer()), answer(vec![])]));
    let names: Vec<_> = read.iter().map(|(_, read)| member_name(read.as_ref().unwrap())).collect();
    assert_eq!(names, ["hold_answer", "availability_answer"]);
    let error = frame_error(Reason::NotRegistered, &ParticipantId::new("bob"), "not yours");
    assert_eq!((error.participant_id.as_str(), error.message.as_str()), ("bob", "not yours"));
}

// The scheduler's side.

fn id(name: &str) -> ParticipantId {
    ParticipantId::new(name)
}

fn attempt(n: u64) -> Attempt {
    Attempt::new(MeetingId::new(UUID), AttemptNumber(n))
}

fn core_range(start: i64, end: i64) -> TimeRange {
    let at = |seconds| chrono::DateTime::from_timestamp(seconds, 0).unwrap();
    TimeRange::new(at(start), at(end))
}

fn hold(n: u64) -> SchedulerMessage {
    SchedulerMessage::Hold(Arc::new(Hold {
        attempt: attempt(n),
        slot: core_range(TEN, TEN + 60),
        blocked: core_range(TEN - 60, TEN + 120),
        lease: Duration::from_secs(10),
        displaces: vec![],
        priority: 1,
        title: "Planning".to_owned(),
        organizer: String::new(),
    }))
}

fn query(name: &str) -> SchedulerMessage {
    SchedulerMessage::Query(Arc::new(Query {
        id: QueryId::new(name),
        windows: vec![core_range(TEN, TEN + 3_600)],
        duration: Duration::from_secs(60),
        buffer_before: Duration::ZERO,
        buffer_after: Duration::ZERO,
        step: Duration::from_secs(60),
        deadline: core_range(TEN, TEN).start,
        disregard: vec![],
        respect_working_hours: false,
    }))
}

fn release(n: u64, cause: ReleaseCause) -> SchedulerMessage {
    SchedulerMessage::Release { attempt: attempt(n), cause }
}

fn booking(attendees: usize) -> Booking {
    Booking {
        attempt: attempt(1),
        slot: core_range(TEN, TEN + 60),
        blocked: core_range(TEN, TEN + 60),
        title: "Planning".to_owned(),
        organizer: "alice".to_owned(),
        attendees: (0..attendees).map(|n| id(&format!("p{n:0>127}"))).collect(),
        sequence: 0,
        revision: 3,
        series: None,
    }
}

/// What the agent hears, message by message.
fn heard<'a>(
    frames: impl IntoIterator<Item = &'a pb::JoinResponse>,
) -> Vec<(ParticipantId, SchedulerMessage)> {
    let messages = frames.into_iter().flat_map(|frame| &frame.messages);
    messages
        .flat_map(|message| match from_scheduler(message).unwrap() {
            FromScheduler::Messages(messages) => messages,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn neighbours_that_say_the_same_become_one() {
    let (shared, again) = (hold(1), query("q"));
    let sent = vec![
        (id("a"), shared.clone()),
        (id("b"), shared.clone()),
        // Equal, though not the same allocation.
        (id("c"), hold(1)),
        // A second time for the same participant: must not be swallowed.
        (id("a"), shared.clone()),
        (id("b"), hold(2)),
        (id("c"), again.clone()),
        (id("a"), again),
        (id("a"), release(1, ReleaseCause::Aborted)),
        (id("b"), release(1, ReleaseCause::Aborted)),
        (id("c"), release(1, ReleaseCause::NotNeeded)),
        (id("a"), SchedulerMessage::Superseded { epoch: Epoch(3) }),
        (id("b"), SchedulerMessage::Superseded { epoch: Epoch(3) }),
    ];
    let packed = pack(sent.clone());
    assert_eq!(packed.len(), 8);
    let Some(Scheduler::Hold(first)) = &packed[0].message else { panic!("{:?}", packed[0]) };
    assert_eq!(first.participant_ids, ["a", "b", "c"]);
    let frames = frames(packed);
    assert_eq!(frames.len(), 1);
    assert_eq!(heard(&frames), sent);
}

#[test]
fn what_is_for_many_at_once_is_packed_like_what_is_for_each() {
    let trace = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let state = TraceState::parse(["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"]);
    let stated = trace.clone().map(|trace| trace.stating(state));
    let mut packer = Packer::default();
    packer.push_traced([id("a")], hold(1), trace.clone());
    packer.push_traced([id("b")], hold(1), trace.clone());
    packer.push_traced([id("c")], hold(1), stated.clone());
    packer.push_traced([id("d")], hold(1), stated.clone());
    packer.push([id("e")], hold(1));
    let packed = packer.finish();
    assert_eq!(
        packed.iter().map(trace_of).collect::<Vec<_>>(),
        [trace, stated, None],
        "joined within one trace only, and where the same is said of it"
    );

    let mut packer = Packer::default();
    packer.push([id("a"), id("b")], hold(1));
    packer.push([id("c")], hold(1));
    packer.push([id("a"), id("b")], SchedulerMessage::Superseded { epoch: Epoch(1) });
    packer.push_plain(drain(Duration::from_millis(1_500)));
    packer.push([id("d")], hold(1));
    packer.push_plain(refused(pb::FrameError::default()));
    let packed = packer.finish();
    assert_eq!(packed.len(), 6);
    let reconnect_after = Duration::from_millis(1_500);
    assert_eq!(from_scheduler(&packed[3]).unwrap(), FromScheduler::Drain { reconnect_after });
    assert_eq!(from_scheduler(&packed[5]).unwrap(), FromScheduler::FrameError(Default::default()));
}

/// Whoever fills a frame with it, or says nothing that can be used, is in the trace all the same.
#[test]
fn a_trace_is_kept_without_a_tracestate_that_can_not_be_used() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let of = |traceparent: &str, tracestate: &str| {
        let (traceparent, tracestate) = (traceparent.to_owned(), tracestate.to_owned());
        let release = pb::Release { traceparent, tracestate, ..pb::Release::default() };
        trace_of(&pb::SchedulerMessage { message: Some(Scheduler::Release(release)) })
    };
    let trace = TraceContext::parse(PARENT).unwrap();
    let state = TraceState::parse(["a=1,b=2"]);
    assert_eq!(of(PARENT, "a=1, b=2"), Some(trace.clone().stating(state)));
    for bad in ["", "nonsense", "a=1,a=2", &",".repeat(limits::FRAME_BYTES), &"a=1,".repeat(200_000)] {
        assert_eq!(of(PARENT, bad), Some(trace.clone()));
    }
    assert_eq!(of("", "a=1"), None);
}

#[test]
fn frames_stay_below_their_size_and_keep_the_order() {
    let mut sent: Vec<_> = (0..5_000).map(|n| (id(&format!("p{n:0>127}")), query("q"))).collect();
    sent.extend((1..5_000).map(|n| (id("alice"), hold(n))));
    for bytes in [1 << 20, 100_000, 4_096, 1_000] {
        let frames = frames_within(pack(sent.clone()), bytes);
        assert!(frames.len() > 1 || bytes > 1_000_000);
        for frame in &frames {
            assert!(frame.encoded_len() <= bytes, "{} > {bytes}", frame.encoded_len());
        }
        assert_eq!(heard(&frames), sent);
    }
}

#[test]
fn a_confirm_for_thousands_who_all_attend_is_split() {
    let booking = Arc::new(booking(5_000));
    let confirm = SchedulerMessage::Confirm { booking: booking.clone(), displaces: vec![attempt(7)] };
    let sent: Vec<_> = booking.attendees.iter().map(|id| (id.clone(), confirm.clone())).collect();
    let packed = pack(sent.clone());
    assert_eq!(packed.len(), 1);
    assert!(packed[0].encoded_len() > limits::FRAME_BYTES);
    let frames = frames(packed);
    assert_eq!(frames.len(), 2);
    assert!(frames.iter().all(|frame| frame.encoded_len() <= limits::FRAME_BYTES));
    assert_eq!(heard(&frames), sent);
}

#[test]
fn bookings_that_a_registered_has_no_room_for_follow_as_confirms() {
    let registered = Registered {
        participant: id("alice"),
        epoch: Epoch(2),
        lineage: Lineage(1),
        bookings: (0..10).map(|n| Booking { attempt: attempt(n + 1), ..booking(2_000) }).collect(),
        generation: 1,
        incarnation: "first".to_owned(),
    };
    let sent = SchedulerMessage::Registered(Box::new(registered.clone()));
    let frames = frames(pack(vec![(id("alice"), sent)]));
    assert!(frames.len() > 2);
    assert!(frames.iter().all(|frame| frame.encoded_len() <= limits::FRAME_BYTES));
    let heard = heard(&frames);
    let SchedulerMessage::Registered(first) = &heard[0].1 else { panic!("{:?}", heard[0]) };
    assert!(!first.bookings.is_empty());
    let mut bookings = first.bookings.clone();
    for (to, message) in &heard[1..] {
        let SchedulerMessage::Confirm { booking, displaces } = message else { panic!("{message:?}") };
        assert_eq!((to, displaces.len()), (&id("alice"), 0));
        bookings.push((**booking).clone());
    }
    assert_eq!(bookings, registered.bookings);
    assert_eq!((first.epoch, first.generation), (Epoch(2), 1));
}

#[test]
fn an_agents_frames_stay_below_their_size() {
    let one = pb::AgentMessage { message: Some(answer(vec![free(TEN, TEN + 60); 1_000])) };
    let frames = agent_frames(vec![one; 200]);
    assert!(frames.len() > 1);
    assert!(frames.iter().all(|frame| frame.encoded_len() <= limits::FRAME_BYTES));
    assert_eq!(frames.iter().map(|frame| frame.messages.len()).sum::<usize>(), 200);
}

#[test]
fn an_agent_bears_what_a_newer_scheduler_says() {
    let read = |message| from_scheduler(&pb::SchedulerMessage { message });
    assert_eq!(read(None).unwrap(), FromScheduler::Unknown);
    let notice = pb::Notice { kind: 99, ..pb::Notice::default() };
    assert_eq!(read(Some(Scheduler::Notice(notice))).unwrap(), FromScheduler::Unknown);
    let release = pb::Release {
        participant_ids: vec!["a".to_owned()],
        meeting_id: UUID.to_owned(),
        attempt: 1,
        cause: 99,
        ..pb::Release::default()
    };
    let FromScheduler::Messages(heard) = read(Some(Scheduler::Release(release))).unwrap() else { panic!() };
    assert_eq!(heard, [(id("a"), self::release(1, ReleaseCause::Aborted))]);

    // A query without a step names slots without end.
    let query = pb::AvailabilityQuery { query_id: "q".to_owned(), ..pb::AvailabilityQuery::default() };
    let bad = crate::samples::fields(read(Some(Scheduler::AvailabilityQuery(query))));
    assert_eq!(bad, ["duration", "step", "deadline"]);
    let hold = pb::Hold {
        meeting_id: UUID.to_owned(),
        attempt: 1,
        slot: Some(range(TEN, TEN + 60)),
        blocked: Some(range(TEN, TEN + 30)),
        ..pb::Hold::default()
    };
    assert_eq!(crate::samples::fields(read(Some(Scheduler::Hold(hold)))), ["blocked"]);
}
