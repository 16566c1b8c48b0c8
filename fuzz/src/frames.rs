//! The frames of both streams, read as the other side reads them.

use std::collections::HashSet;
use std::sync::Arc;

use prost::Message;
use quorate::core::ids::ParticipantId;
use quorate::core::limits;
use quorate::core::message::{AgentMessage, Register, SchedulerMessage};
use quorate::wire::agent_frames::{
    FRAME_ERRORS, agent_message, agent_messages, member_name, pb_agent_message,
};
use quorate::wire::frames::{agent_frames, frames, frames_within};
use quorate::wire::pb;
use quorate::wire::pb::frame_error::Reason;
use quorate::wire::scheduler_frames::{FromScheduler, drain, from_scheduler, pack, refused};

use super::requests::told;

/// Most bytes of a frame error: its words are cut, and so is the id that it repeats.
const FRAME_ERROR_BYTES: usize = 4_096;
/// A small size of frames, so that small inputs are split too.
const SMALL_FRAME: usize = 256;

/// A `JoinRequest`, read as the scheduler does.
pub fn join_request(data: &[u8]) {
    let Ok(frame) = pb::JoinRequest::decode(data) else { return };
    let read = agent_messages(&frame);
    let mut good = Vec::new();
    let (mut bad, mut next) = (0, 0);
    for (index, message) in read {
        assert!(index < frame.messages.len(), "an answer to no message");
        match message {
            Ok(message) => {
                assert!(index >= next, "out of order");
                reads_the_same(&message);
                good.push((index, message));
            }
            Err(error) => {
                bad += 1;
                assert_eq!(usize::try_from(error.index), Ok(index));
                says_why(&error);
            }
        }
        next = index;
    }
    assert!(bad <= FRAME_ERRORS + 1);
    assert!(good.len() + bad == frame.messages.len() || bad == FRAME_ERRORS + 1, "a message was lost");
    // A bad message does not touch the others: each is read as if it stood alone.
    for (index, message) in &good {
        assert_eq!(agent_message(&frame.messages[*index]).as_ref(), Ok(message));
    }
    let written: Vec<_> = good.iter().map(|(_, message)| pb_agent_message(message)).collect();
    let packed = agent_frames(written.clone());
    for frame in &packed {
        assert!(frame.encoded_len() <= limits::FRAME_BYTES || frame.messages.len() == 1);
    }
    for (message, (_, read)) in written.iter().zip(&good) {
        let name = format!("{:?}", message.message).to_lowercase().replace('_', "");
        assert!(name.contains(&member_name(read).replace('_', "")), "{name} is called {}", member_name(read));
    }
    let unpacked: Vec<_> = packed.into_iter().flat_map(|frame| frame.messages).collect();
    assert_eq!(unpacked, written, "packing changed what was said");
}

/// A `Register` alone, read as the scheduler does.
pub fn register(data: &[u8]) {
    let Ok(value) = pb::Register::decode(data) else { return };
    let message = pb::AgentMessage { message: Some(pb::agent_message::Message::Register(value.clone())) };
    match agent_message(&message) {
        Ok(message) => {
            reads_the_same(&message);
            let AgentMessage::Register(read) = message else { panic!("a register became {message:?}") };
            keeps_the_bounds(&read);
            assert_eq!(read.participant.as_str(), value.participant_id);
            let lens = (read.held.len(), read.booked.len(), read.withdrawn.len());
            assert_eq!(lens, (value.held.len(), value.booked.len(), value.withdrawn.len()));
        }
        Err(error) => {
            says_why(&error);
            assert_eq!((error.member.as_str(), error.index), ("register", 0));
        }
    }
}

fn keeps_the_bounds(read: &Register) {
    assert!(read.held.len() <= limits::REGISTER_HELD && read.booked.len() <= limits::REGISTER_BOOKED);
    assert!(read.withdrawn.len() <= limits::REGISTER_WITHDRAWN);
    assert!(read.display_name.chars().count() <= limits::DISPLAY_NAME_CHARS);
    assert!(read.journal_id.chars().count() <= limits::ID_CHARS);
    assert!(i64::try_from(read.journal_sequence).is_ok());
    let promises = || read.held.iter().chain(&read.booked);
    let attempts: HashSet<_> = promises().map(|promise| &promise.attempt).collect();
    assert_eq!(attempts.len(), promises().count(), "an attempt is reported twice");
    for promise in promises() {
        assert!(!promise.blocked.is_empty() && promise.attempt.n.0 > 0);
    }
    assert!(read.withdrawn.iter().all(|(_, reason)| reason.chars().count() <= limits::REASON_CHARS));
}

fn reads_the_same(message: &AgentMessage) {
    let bytes = pb_agent_message(message).encode_to_vec();
    let again = pb::AgentMessage::decode(bytes.as_slice()).expect("what we write can be decoded");
    assert_eq!(agent_message(&again).as_ref(), Ok(message));
}

fn says_why(error: &pb::FrameError) {
    assert!(error.encoded_len() <= FRAME_ERROR_BYTES, "{} bytes", error.encoded_len());
    assert!(error.participant_id.chars().count() <= limits::ID_CHARS);
    assert!(!error.message.is_empty());
    match error.reason() {
        Reason::Invalid => {
            let field = error.message.split_once(": ").map(|(field, _)| field).unwrap_or_default();
            assert!(!field.is_empty() && !field.contains(' '), "names no field: {}", error.message);
            assert!(!error.member.is_empty());
        }
        Reason::Empty | Reason::Limit => {}
        other => panic!("{other:?} is not for a message that can't be read"),
    }
}

/// A `JoinResponse`, read as the agent host does.
pub fn join_response(data: &[u8]) {
    let Ok(frame) = pb::JoinResponse::decode(data) else { return };
    let mut all = Vec::new();
    for message in &frame.messages {
        let Some(read) = told(from_scheduler(message)) else { continue };
        match read {
            FromScheduler::Messages(messages) => all.extend(messages),
            FromScheduler::Drain { reconnect_after } => {
                let again = from_scheduler(&drain(reconnect_after));
                assert_eq!(again, Ok(FromScheduler::Drain { reconnect_after }));
            }
            FromScheduler::FrameError(error) => {
                let again = from_scheduler(&refused(error.clone()));
                assert_eq!(again, Ok(FromScheduler::FrameError(error)));
            }
            FromScheduler::Unknown => {}
        }
    }
    let packed = pack(all.clone());
    assert_eq!(unpacked(&frames(packed.clone())), flat(&all), "packing changed what was said");
    let small = frames_within(packed, SMALL_FRAME);
    for frame in &small {
        assert!(frame.encoded_len() <= SMALL_FRAME || frame.messages.len() == 1);
    }
    assert_eq!(unpacked(&small), flat(&all), "splitting changed what was said");
}

type Told = (ParticipantId, SchedulerMessage);

fn unpacked(frames: &[pb::JoinResponse]) -> Vec<Told> {
    let mut all = Vec::new();
    for message in frames.iter().flat_map(|frame| &frame.messages) {
        match from_scheduler(message) {
            Ok(FromScheduler::Messages(messages)) => all.extend(messages),
            other => panic!("what we write reads as {other:?}"),
        }
    }
    flat(&all)
}

/// A registration's bookings may be split off as confirms, which bind in the same way.
fn flat(all: &[Told]) -> Vec<Told> {
    let mut flat = Vec::new();
    for (to, message) in all {
        match message {
            SchedulerMessage::Registered(registered) => {
                let mut alone = registered.clone();
                let bookings = std::mem::take(&mut alone.bookings);
                flat.push((to.clone(), SchedulerMessage::Registered(alone)));
                flat.extend(bookings.into_iter().map(|booking| {
                    let confirm =
                        SchedulerMessage::Confirm { booking: Arc::new(booking), displaces: Vec::new() };
                    (to.clone(), confirm)
                }));
            }
            message => flat.push((to.clone(), message.clone())),
        }
    }
    flat
}
