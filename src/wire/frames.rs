//! Frames: as many messages as fit, in order, each frame small enough for the other side (`ParticipantService.Join`).

use prost::Message;
use prost::length_delimiter_len;

use crate::core::limits;

use super::pb;
use super::pb::scheduler_message::Message as Scheduler;

/// Packs what waits at the scheduler into frames of at most `limits::FRAME_BYTES`. A message that is too large is
/// split by its participants, a `registered` by its bookings: those that don't fit follow as confirms, which
/// bind in the same way. What can't be split is a frame of its own.
pub fn frames(messages: Vec<pb::SchedulerMessage>) -> Vec<pb::JoinResponse> {
    frames_within(messages, limits::FRAME_BYTES)
}

/// As [`frames`], with another size.
pub fn frames_within(messages: Vec<pb::SchedulerMessage>, bytes: usize) -> Vec<pb::JoinResponse> {
    let mut fill = Fill::new(bytes);
    for message in messages {
        let size = message.encoded_len();
        match entry_len(size) > bytes {
            true => split(message, bytes).into_iter().for_each(|part| fill.push(part)),
            false => fill.push_sized(message, size),
        }
    }
    fill.finish().into_iter().map(|messages| pb::JoinResponse { messages }).collect()
}

/// Packs what waits at an agent host into frames of at most `limits::FRAME_BYTES`. A message that is larger is a frame
/// of its own, which the scheduler will refuse: a register with more than about 13,000 promises, for example.
pub fn agent_frames(messages: Vec<pb::AgentMessage>) -> Vec<pb::JoinRequest> {
    let mut fill = Fill::new(limits::FRAME_BYTES);
    messages.into_iter().for_each(|message| fill.push(message));
    fill.finish().into_iter().map(|messages| pb::JoinRequest { messages }).collect()
}

/// What an element of `size` bytes takes in a repeated field with a number below 16.
fn entry_len(size: usize) -> usize {
    1 + length_delimiter_len(size) + size
}

struct Fill<M> {
    bytes: usize,
    done: Vec<Vec<M>>,
    open: Vec<M>,
    used: usize,
}

impl<M: Message> Fill<M> {
    fn new(bytes: usize) -> Self {
        Self { bytes, done: Vec::new(), open: Vec::new(), used: 0 }
    }

    fn push(&mut self, message: M) {
        let size = message.encoded_len();
        self.push_sized(message, size);
    }

    fn push_sized(&mut self, message: M, size: usize) {
        let size = entry_len(size);
        if self.used + size > self.bytes && !self.open.is_empty() {
            self.done.push(std::mem::take(&mut self.open));
            self.used = 0;
        }
        self.used += size;
        self.open.push(message);
    }

    fn finish(mut self) -> Vec<Vec<M>> {
        if !self.open.is_empty() {
            self.done.push(self.open);
        }
        self.done
    }
}

/// Room for the tags and lengths around a list: each length may grow to five bytes.
const ENVELOPE: usize = 16;

fn split(mut message: pb::SchedulerMessage, bytes: usize) -> Vec<pb::SchedulerMessage> {
    if let Some(Scheduler::Registered(registered)) = &mut message.message {
        let bookings = std::mem::take(&mut registered.bookings);
        let registered = registered.clone();
        return split_registered(registered, bookings, bytes);
    }
    let Some(ids) = participants(&mut message).map(std::mem::take) else { return vec![message] };
    let room = bytes.saturating_sub(message.encoded_len() + ENVELOPE);
    let part = |ids: Vec<String>| {
        let mut part = message.clone();
        if let Some(list) = participants(&mut part) {
            *list = ids;
        }
        part
    };
    chunks(ids, room, String::len).into_iter().map(part).collect()
}

fn split_registered(
    registered: pb::Registered,
    bookings: Vec<pb::Booking>,
    bytes: usize,
) -> Vec<pb::SchedulerMessage> {
    let room = bytes.saturating_sub(registered.encoded_len() + 2 * ENVELOPE);
    let id = registered.participant_id.clone();
    let mut fits = true;
    let mut used = 0;
    let (first, rest) = bookings.into_iter().partition(|booking| {
        used += entry_len(booking.encoded_len());
        fits &= used <= room;
        fits
    });
    let rest: Vec<pb::Booking> = rest;
    let confirm = |booking| {
        Scheduler::Confirm(pb::Confirm {
            participant_ids: vec![id.clone()],
            booking: Some(booking),
            ..pb::Confirm::default()
        })
    };
    let first = Scheduler::Registered(pb::Registered { bookings: first, ..registered });
    let all = std::iter::once(first).chain(rest.into_iter().map(confirm));
    all.map(|message| pb::SchedulerMessage { message: Some(message) }).collect()
}

/// The list of those whom a message concerns, if it has one.
fn participants(message: &mut pb::SchedulerMessage) -> Option<&mut Vec<String>> {
    match message.message.as_mut()? {
        Scheduler::AvailabilityQuery(query) => Some(&mut query.participant_ids),
        Scheduler::Hold(hold) => Some(&mut hold.participant_ids),
        Scheduler::Confirm(confirm) => Some(&mut confirm.participant_ids),
        Scheduler::Release(release) => Some(&mut release.participant_ids),
        Scheduler::Notice(notice) => Some(&mut notice.participant_ids),
        Scheduler::Registered(_)
        | Scheduler::Superseded(_)
        | Scheduler::Drain(_)
        | Scheduler::FrameError(_) => None,
    }
}

/// Cuts a list into runs of at most `room` bytes and at least one element.
fn chunks<T>(list: Vec<T>, room: usize, len: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut chunks = vec![Vec::new()];
    let mut used = 0;
    for item in list {
        let size = entry_len(len(&item));
        if let Some(last) = chunks.last_mut()
            && (used + size <= room || last.is_empty())
        {
            used += size;
            last.push(item);
            continue;
        }
        used = size;
        chunks.push(vec![item]);
    }
    chunks
}
