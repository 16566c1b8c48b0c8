//! What agents say, both ways: read and checked by the scheduler, written by the agent host.

use std::collections::HashSet;

use crate::core::availability::Disclosure;
use crate::core::ids::{Attempt, AttemptNumber, ParticipantId, QueryId};
use crate::core::limits;
use crate::core::message::{AckKind, AgentMessage, Origin, Promise, Refusal, Register, Vote};
use crate::core::model::{FreeTime, Preference};
use crate::core::zone_data::ZoneData;
use crate::core::zones;

use super::meetings;
use super::pb;
use super::pb::agent_message::Message as Pb;
use super::pb::frame_error::Reason;
use super::scalars::{
    self, at_most, attempt, attempt_ref, bounds, each, known, meeting, number, optional_zone, participant,
    pb_range, range, reason, text, timestamp,
};
use super::validate::{Path, ROOT, Violations};

/// Most frame errors that one frame is answered with; a last one says how many more messages were bad.
pub const FRAME_ERRORS: usize = 1_000;

/// Reads a frame: each message with its position, or why it can't be used. A bad message does not touch the others.
pub fn agent_messages(frame: &pb::JoinRequest) -> Vec<(usize, Result<AgentMessage, pb::FrameError>)> {
    let mut read = Vec::with_capacity(frame.messages.len());
    let mut bad = 0_usize;
    for (index, message) in frame.messages.iter().enumerate() {
        match agent_message(message) {
            Ok(message) => read.push((index, Ok(message))),
            Err(mut error) => {
                bad += 1;
                error.index = scalars::pb_count(index);
                if bad <= FRAME_ERRORS {
                    read.push((index, Err(error)));
                }
            }
        }
    }
    if let Some(more) = bad.checked_sub(FRAME_ERRORS).filter(|more| *more > 0) {
        let words = format!("{more} more messages of this frame could not be used");
        let index = frame.messages.len() - 1;
        let error = pb::FrameError { index: scalars::pb_count(index), ..error(Reason::Limit, words) };
        read.push((index, Err(error)));
    }
    read
}

/// Reads one message. The index of an error is 0.
pub fn agent_message(message: &pb::AgentMessage) -> Result<AgentMessage, pb::FrameError> {
    let Some(message) = &message.message else {
        return Err(error(Reason::Empty, "the message holds no member that is known here".to_owned()));
    };
    let mut found = Violations::default();
    let read = member(message, &mut found);
    found.finish(read).map_err(|invalid| {
        let (name, participant) = names(message);
        pb::FrameError {
            participant_id: participant.chars().take(limits::ID_CHARS).collect(),
            member: name.to_owned(),
            ..error(Reason::Invalid, invalid.in_words(400))
        }
    })
}

fn error(reason: Reason, message: String) -> pb::FrameError {
    pb::FrameError { reason: reason.into(), message, ..pb::FrameError::default() }
}

/// An error about a message that was well-formed: its sender may not send it, or it answers nothing.
pub fn frame_error(reason: Reason, participant: &ParticipantId, words: &str) -> pb::FrameError {
    pb::FrameError { participant_id: participant.to_string(), ..error(reason, words.to_owned()) }
}

/// The oneof member that carries a message: `FrameError.member`.
pub fn member_name(message: &AgentMessage) -> &'static str {
    match message {
        AgentMessage::Register(_) => "register",
        AgentMessage::Unregister { .. } => "unregister",
        AgentMessage::Availability { .. } => "availability_answer",
        AgentMessage::Vote { .. } => "hold_answer",
        AgentMessage::Ack { .. } => "ack",
        AgentMessage::Resolve { .. } => "resolve",
        AgentMessage::CalendarChanged { .. } => "calendar_changed",
        AgentMessage::Withdraw { .. } => "withdraw",
    }
}

fn names(message: &Pb) -> (&'static str, &str) {
    match message {
        Pb::Register(value) => ("register", &value.participant_id),
        Pb::Unregister(value) => ("unregister", &value.participant_id),
        Pb::AvailabilityAnswer(value) => ("availability_answer", &value.participant_id),
        Pb::HoldAnswer(value) => ("hold_answer", &value.participant_id),
        Pb::Ack(value) => ("ack", &value.participant_id),
        Pb::Resolve(value) => ("resolve", &value.participant_id),
        Pb::CalendarChanged(value) => ("calendar_changed", &value.participant_id),
        Pb::Withdraw(value) => ("withdraw", &value.participant_id),
    }
}

fn member(message: &Pb, found: &mut Violations) -> Option<AgentMessage> {
    let who = participant(names(message).1, &ROOT.field("participant_id"), found);
    match message {
        Pb::Register(value) => register(value, who, found).map(Box::new).map(AgentMessage::Register),
        Pb::Unregister(_) => Some(AgentMessage::Unregister { participant: who? }),
        Pb::AvailabilityAnswer(value) => availability(value, who, found),
        Pb::HoldAnswer(value) => vote(value, who, found),
        Pb::Ack(value) => ack(value, who, found),
        Pb::Resolve(value) => {
            let attempt = attempt(&value.meeting_id, value.attempt, &ROOT, found);
            Some(AgentMessage::Resolve { participant: who?, attempt: attempt? })
        }
        Pb::CalendarChanged(_) => Some(AgentMessage::CalendarChanged { participant: who? }),
        Pb::Withdraw(value) => {
            let meeting = meeting(&value.meeting_id, &ROOT.field("meeting_id"), found);
            let n = number(value.attempt, &ROOT.field("attempt"), found);
            let sequence = sequence(value.journal_sequence, found);
            Some(AgentMessage::Withdraw {
                participant: who?,
                meeting: meeting?,
                attempt: Some(n?).filter(|n| *n > 0).map(AttemptNumber),
                reason: reason(&value.reason),
                sequence: sequence?,
            })
        }
    }
}

fn sequence(value: u64, found: &mut Violations) -> Option<u64> {
    number(value, &ROOT.field("journal_sequence"), found)
}

fn register(value: &pb::Register, who: Option<ParticipantId>, found: &mut Violations) -> Option<Register> {
    use pb::register::Disclosure as Level;
    let display_name =
        text(&value.display_name, limits::DISPLAY_NAME_CHARS, &ROOT.field("display_name"), found);
    let zone_data = value.time_zone_data.as_ref().map(|data| zone_data(data, found));
    let time_zone = match zone_data {
        // The agent's own data have the zone: then it is no slip of the pen.
        Some(_) if zones::zone(&value.time_zone).is_err() => foreign_zone(&value.time_zone, found),
        _ => optional_zone(&value.time_zone, &ROOT.field("time_zone"), found),
    };
    let path = ROOT.field("calendar_problem");
    let calendar_problem = text(&value.calendar_problem, limits::CALENDAR_PROBLEM_CHARS, &path, found);
    let disclosure = known(value.disclosure, "Register.Disclosure", &ROOT.field("disclosure"), found);
    let journal_id = text(&value.journal_id, limits::ID_CHARS, &ROOT.field("journal_id"), found);
    let journal_sequence = sequence(value.journal_sequence, found);
    let held = promises(&value.held, limits::REGISTER_HELD, &ROOT.field("held"), found);
    let booked = promises(&value.booked, limits::REGISTER_BOOKED, &ROOT.field("booked"), found);
    if let (Some(held), Some(booked)) = (&held, &booked) {
        each_once(held, booked, found);
    }
    let withdrawn = withdrawn(&value.withdrawn, &ROOT.field("withdrawn"), found);
    let generation = u32::try_from(value.scheduler_generation).ok().or_else(|| {
        found.none(&ROOT.field("scheduler_generation"), format_args!("must be at most {}", u32::MAX))
    });
    let path = ROOT.field("scheduler_incarnation");
    let incarnation = text(&value.scheduler_incarnation, limits::ID_CHARS, &path, found);
    let process = text(&value.process_id, limits::ID_CHARS, &ROOT.field("process_id"), found);
    let process_sequence = number(value.process_sequence, &ROOT.field("process_sequence"), found);
    Some(Register {
        participant: who?,
        display_name: display_name?,
        time_zone: time_zone?,
        zone_data: match zone_data {
            None => None,
            Some(read) => Some(read?),
        },
        calendar_problem: calendar_problem?,
        disclosure: match disclosure? {
            Level::Unspecified | Level::AskedSlotsOnly => Disclosure::AskedSlotsOnly,
            Level::FreeBusy => Disclosure::FreeBusy,
        },
        journal_id: journal_id?,
        journal_sequence: journal_sequence?,
        held: held?,
        booked: booked?,
        withdrawn: withdrawn?,
        scheduler_generation: generation?,
        scheduler_incarnation: incarnation?,
        origin: Origin { process: process?, number: process_sequence? },
    })
}

fn promises(
    list: &[pb::Promise],
    max: usize,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<Vec<Promise>> {
    at_most(list.len(), max, path, found)?;
    each(list, path, found, |value, path, found| {
        let attempt = attempt(&value.meeting_id, value.attempt, path, found);
        let blocked = range(value.blocked.as_ref(), &path.field("blocked"), found);
        let revision = number(value.revision, &path.field("revision"), found);
        Some(Promise {
            attempt: attempt?,
            blocked: blocked?,
            lease_over: value.lease_over,
            revision: revision?,
        })
    })
}

/// Reconciliation needs one answer for each attempt: held or booked, not both.
fn each_once(held: &[Promise], booked: &[Promise], found: &mut Violations) {
    let mut seen = HashSet::with_capacity(held.len() + booked.len());
    for (name, list) in [("held", held), ("booked", booked)] {
        for (index, promise) in list.iter().enumerate() {
            if !seen.insert(&promise.attempt) {
                let words = "names an attempt that held or booked name before";
                found.refuse(&ROOT.field(name).at(index), words);
            }
        }
    }
}

fn withdrawn(
    list: &[pb::Withdrawal],
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<Vec<(Attempt, String)>> {
    at_most(list.len(), limits::REGISTER_WITHDRAWN, path, found)?;
    each(list, path, found, |value, path, found| {
        let attempt = attempt(&value.meeting_id, value.attempt, path, found)?;
        Some((attempt, reason(&value.reason)))
    })
}

fn availability(
    value: &pb::AvailabilityAnswer,
    who: Option<ParticipantId>,
    found: &mut Violations,
) -> Option<AgentMessage> {
    let query = match value.query_id.as_str() {
        "" => found.none(&ROOT.field("query_id"), "is required"),
        id => text(id, limits::ID_CHARS, &ROOT.field("query_id"), found),
    };
    let answer = match &value.declined {
        Some(declined) => Some(Err(reason(&declined.reason))),
        None => free(&value.free, &ROOT.field("free"), found).map(Ok),
    };
    Some(AgentMessage::Availability { participant: who?, query: QueryId::new(query?), answer: answer? })
}

fn free(list: &[pb::FreeTime], path: &Path<'_>, found: &mut Violations) -> Option<Vec<FreeTime>> {
    at_most(list.len(), limits::FREE_RANGES, path, found)?;
    each(list, path, found, |value, path, found| {
        let range = bounds(value.start_time.as_ref(), value.end_time.as_ref(), path, found);
        let preference = preference(value.preference, &path.field("preference"), found);
        let (cost, max) = (value.cost, limits::COST_MAX);
        if !(0..=max).contains(&cost) {
            let path = path.field("cost");
            return found.none(&path, format_args!("must be between 0 and {max}, and is {cost}"));
        }
        Some(FreeTime { range: range?, preference: preference?, cost })
    })
}

fn preference(value: i32, path: &Path<'_>, found: &mut Violations) -> Option<Preference> {
    Some(match known(value, "Preference", path, found)? {
        pb::Preference::Preferred => Preference::Preferred,
        pb::Preference::Unspecified | pb::Preference::Available => Preference::Available,
        pb::Preference::IfNeeded => Preference::IfNeeded,
    })
}

fn vote(value: &pb::HoldAnswer, who: Option<ParticipantId>, found: &mut Violations) -> Option<AgentMessage> {
    use pb::hold_answer::Answer;
    let attempt = attempt(&value.meeting_id, value.attempt, &ROOT, found);
    let vote = match &value.answer {
        Some(Answer::Granted(_)) => Some(Vote::Granted),
        Some(Answer::Refused(value)) => refusal(value, &ROOT.field("refused"), found).map(Vote::Refused),
        None => found.none(&ROOT.field("answer"), "is required: granted or refused"),
    };
    let sequence = sequence(value.journal_sequence, found);
    Some(AgentMessage::Vote { participant: who?, attempt: attempt?, vote: vote?, sequence: sequence? })
}

fn refusal(value: &pb::Refused, path: &Path<'_>, found: &mut Violations) -> Option<Refusal> {
    use pb::refused::Reason;
    Some(match known(value.reason, "Refused.Reason", &path.field("reason"), found)? {
        Reason::Unspecified | Reason::Busy => Refusal::Busy,
        Reason::Booked => Refusal::Booked,
        Reason::Stale => Refusal::Stale,
        Reason::Held => Refusal::Held(match &value.held_by {
            Some(by) => Some(attempt(&by.meeting_id, by.attempt, &path.field("held_by"), found)?),
            None => None,
        }),
    })
}

fn ack(value: &pb::Ack, who: Option<ParticipantId>, found: &mut Violations) -> Option<AgentMessage> {
    use pb::ack::Kind;
    let attempt = attempt(&value.meeting_id, value.attempt, &ROOT, found);
    let path = ROOT.field("kind");
    let kind = match known(value.kind, "Ack.Kind", &path, found) {
        Some(Kind::Confirm) => Some(AckKind::Confirm),
        Some(Kind::Release) => Some(AckKind::Release),
        Some(Kind::Unspecified) => found.none(&path, "is required"),
        None => None,
    };
    let revision = number(value.revision, &ROOT.field("revision"), found);
    let sequence = sequence(value.journal_sequence, found);
    Some(AgentMessage::Ack {
        participant: who?,
        attempt: attempt?,
        kind: kind?,
        revision: revision?,
        sequence: sequence?,
    })
}

/// Writes what an agent says.
pub fn pb_agent_message(message: &AgentMessage) -> pb::AgentMessage {
    let participant_id = message.participant().to_string();
    let message = match message {
        AgentMessage::Register(register) => Pb::Register(pb_register(register)),
        AgentMessage::Unregister { .. } => Pb::Unregister(pb::Unregister { participant_id }),
        AgentMessage::Availability { query, answer, .. } => {
            let (free, declined) = match answer {
                Ok(free) => (free.iter().map(pb_free).collect(), None),
                Err(reason) => (Vec::new(), Some(pb::Declined { reason: reason.clone() })),
            };
            let query_id = query.to_string();
            Pb::AvailabilityAnswer(pb::AvailabilityAnswer { query_id, participant_id, free, declined })
        }
        AgentMessage::Vote { attempt, vote, sequence, .. } => Pb::HoldAnswer(pb::HoldAnswer {
            participant_id,
            meeting_id: attempt.meeting.to_string(),
            attempt: attempt.n.0,
            answer: Some(pb_vote(vote)),
            journal_sequence: *sequence,
        }),
        AgentMessage::Ack { attempt, kind, revision, sequence, .. } => {
            let kind = match kind {
                AckKind::Confirm => pb::ack::Kind::Confirm,
                AckKind::Release => pb::ack::Kind::Release,
            };
            Pb::Ack(pb::Ack {
                participant_id,
                meeting_id: attempt.meeting.to_string(),
                attempt: attempt.n.0,
                kind: kind.into(),
                journal_sequence: *sequence,
                revision: *revision,
            })
        }
        AgentMessage::Resolve { attempt, .. } => Pb::Resolve(pb::Resolve {
            participant_id,
            meeting_id: attempt.meeting.to_string(),
            attempt: attempt.n.0,
        }),
        AgentMessage::CalendarChanged { .. } => Pb::CalendarChanged(pb::CalendarChanged { participant_id }),
        AgentMessage::Withdraw { meeting, attempt, reason, sequence, .. } => Pb::Withdraw(pb::Withdraw {
            participant_id,
            meeting_id: meeting.to_string(),
            reason: reason.clone(),
            attempt: attempt.map_or(0, |n| n.0),
            journal_sequence: *sequence,
        }),
    };
    pb::AgentMessage { message: Some(message) }
}

/// Reads what an agent has of a zone's rules.
fn zone_data(value: &pb::TimeZoneData, found: &mut Violations) -> Option<ZoneData> {
    let path = ROOT.field("time_zone_data");
    let version = text(&value.version, limits::ZONE_VERSION_CHARS, &path.field("version"), found);
    let range = range(value.range.as_ref(), &path.field("range"), found);
    let range = range.and_then(|range| match range.length() <= limits::ZONE_DATA_RANGE_MAX {
        true => Some(range),
        false => found.none(&path.field("range"), "must last at most ten years"),
    });
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let fingerprint = match value.fingerprint.len() == 64 && digits(&value.fingerprint) {
        true => Some(value.fingerprint.clone()),
        false => found.none(&path.field("fingerprint"), "must be SHA-256 as 64 lower-case hex digits"),
    };
    Some(ZoneData { version: version?, range: range?, fingerprint: fingerprint? })
}

/// Reads the name of a zone that only the agent knows.
fn foreign_zone(value: &str, found: &mut Violations) -> Option<Option<String>> {
    let path = ROOT.field("time_zone");
    if value.is_empty() {
        return found.none(&path, "is required if time_zone_data is set");
    }
    let name = text(value, limits::ID_CHARS, &path, found)?;
    let odd = |c: char| !(c.is_ascii_alphanumeric() || "/_+-".contains(c));
    match name.contains('/') && !name.contains(odd) {
        true => Some(Some(name)),
        false => optional_zone(value, &path, found),
    }
}

fn pb_register(value: &Register) -> pb::Register {
    use pb::register::Disclosure as Level;
    let promise = |value: &Promise| pb::Promise {
        meeting_id: value.attempt.meeting.to_string(),
        attempt: value.attempt.n.0,
        blocked: Some(pb_range(&value.blocked)),
        lease_over: value.lease_over,
        revision: value.revision,
    };
    let withdrawal = |(attempt, reason): &(Attempt, String)| pb::Withdrawal {
        meeting_id: attempt.meeting.to_string(),
        attempt: attempt.n.0,
        reason: reason.clone(),
    };
    let disclosure = match value.disclosure {
        Disclosure::AskedSlotsOnly => Level::AskedSlotsOnly,
        Disclosure::FreeBusy => Level::FreeBusy,
    };
    pb::Register {
        participant_id: value.participant.to_string(),
        display_name: value.display_name.clone(),
        time_zone: value.time_zone.clone().unwrap_or_default(),
        calendar_problem: value.calendar_problem.clone(),
        disclosure: disclosure.into(),
        journal_id: value.journal_id.clone(),
        journal_sequence: value.journal_sequence,
        held: value.held.iter().map(promise).collect(),
        booked: value.booked.iter().map(promise).collect(),
        withdrawn: value.withdrawn.iter().map(withdrawal).collect(),
        scheduler_generation: u64::from(value.scheduler_generation),
        scheduler_incarnation: value.scheduler_incarnation.clone(),
        process_id: value.origin.process.clone(),
        process_sequence: value.origin.number,
        time_zone_data: value.zone_data.as_ref().map(|data| pb::TimeZoneData {
            version: data.version.clone(),
            range: Some(pb_range(&data.range)),
            fingerprint: data.fingerprint.clone(),
        }),
    }
}

fn pb_free(value: &FreeTime) -> pb::FreeTime {
    pb::FreeTime {
        start_time: Some(timestamp(value.range.start)),
        end_time: Some(timestamp(value.range.end)),
        preference: meetings::preference(value.preference).into(),
        cost: value.cost,
    }
}

fn pb_vote(value: &Vote) -> pb::hold_answer::Answer {
    use pb::refused::Reason;
    let (reason, held_by) = match value {
        Vote::Granted => return pb::hold_answer::Answer::Granted(pb::Granted {}),
        Vote::Refused(Refusal::Busy) => (Reason::Busy, None),
        Vote::Refused(Refusal::Held(by)) => (Reason::Held, by.as_ref()),
        Vote::Refused(Refusal::Booked) => (Reason::Booked, None),
        Vote::Refused(Refusal::Stale) => (Reason::Stale, None),
    };
    pb::hold_answer::Answer::Refused(pb::Refused { reason: reason.into(), held_by: held_by.map(attempt_ref) })
}
