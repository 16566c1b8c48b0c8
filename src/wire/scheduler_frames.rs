//! What the scheduler says to agents, both ways: packed by host for the scheduler, read and checked for the agent.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::core::ids::{Attempt, Epoch, Lineage, ParticipantId, QueryId, SeriesId};
use crate::core::limits;
use crate::core::message::{
    Booking, Hold, Notice, NoticeKind, Query, Registered, ReleaseCause, SchedulerMessage,
};
use crate::core::series::Recurrence;
use crate::core::trace::{TraceContext, TraceState};

use super::pb;
use super::pb::scheduler_message::Message as Pb;
use super::scalars::{
    Lengths, attempt, attempt_ref, each, instant, length, meeting, number, optional_instant, optional_range,
    optional_zone, participant, pb_count, pb_length, pb_range, range, text, timestamp, uuid,
};
use super::validate::{InvalidRequest, Path, ROOT, Violations};

/// Joins messages for several participants of one host: neighbours that say the same to different participants
/// become one message that names them all. Each participant's messages keep their order.
#[derive(Debug, Default)]
pub struct Packer {
    done: Vec<pb::SchedulerMessage>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    message: SchedulerMessage,
    trace: Option<TraceContext>,
    to: Vec<String>,
    /// The same as `to`; a participant who is told twice gets two messages.
    known: HashSet<ParticipantId>,
}

impl Packer {
    /// Appends a message for these participants, each named once.
    pub fn push(&mut self, to: impl IntoIterator<Item = ParticipantId>, message: SchedulerMessage) {
        self.push_traced(to, message, None);
    }

    /// [`Self::push`], within a trace.
    pub fn push_traced(
        &mut self,
        to: impl IntoIterator<Item = ParticipantId>,
        message: SchedulerMessage,
        trace: Option<TraceContext>,
    ) {
        let to: Vec<ParticipantId> = to.into_iter().collect();
        if let Some(open) = &mut self.open
            && open.trace == trace
            && same(&open.message, &message)
            && !to.iter().any(|id| open.known.contains(id))
        {
            open.to.extend(to.iter().map(ParticipantId::to_string));
            open.known.extend(to);
            return;
        }
        self.close();
        let names = to.iter().map(ParticipantId::to_string).collect();
        self.open = Some(Open { message, trace, to: names, known: to.into_iter().collect() });
    }

    /// Appends a message that is the host's own: a drain or a frame error.
    pub fn push_plain(&mut self, message: pb::SchedulerMessage) {
        self.close();
        self.done.push(message);
    }

    /// The messages, in order.
    pub fn finish(mut self) -> Vec<pb::SchedulerMessage> {
        self.close();
        self.done
    }

    fn close(&mut self) {
        if let Some(Open { message, trace, to, .. }) = self.open.take() {
            let written = written(&message, to, trace.as_ref()).into_iter();
            self.done.extend(written.map(|message| pb::SchedulerMessage { message: Some(message) }));
        }
    }
}

/// Packs messages with one participant each; see [`Packer`].
pub fn pack(messages: Vec<(ParticipantId, SchedulerMessage)>) -> Vec<pb::SchedulerMessage> {
    let mut packer = Packer::default();
    for (to, message) in messages {
        packer.push([to], message);
    }
    packer.finish()
}

/// Tells the host that the scheduler is going away.
pub fn drain(reconnect_after: Duration) -> pb::SchedulerMessage {
    let drain = pb::Drain { reconnect_after: Some(pb_length(reconnect_after)) };
    pb::SchedulerMessage { message: Some(Pb::Drain(drain)) }
}

/// Tells the host that a message could not be used.
pub fn refused(error: pb::FrameError) -> pb::SchedulerMessage {
    pb::SchedulerMessage { message: Some(Pb::FrameError(error)) }
}

fn same(a: &SchedulerMessage, b: &SchedulerMessage) -> bool {
    use SchedulerMessage as M;
    match (a, b) {
        (M::Query(a), M::Query(b)) => Arc::ptr_eq(a, b) || a == b,
        (M::Hold(a), M::Hold(b)) => Arc::ptr_eq(a, b) || a == b,
        (
            M::Confirm { booking: a, displaces: displaced_by_a },
            M::Confirm { booking: b, displaces: displaced_by_b },
        ) => (Arc::ptr_eq(a, b) || a == b) && displaced_by_a == displaced_by_b,
        (M::Notice(a), M::Notice(b)) => Arc::ptr_eq(a, b) || a == b,
        (M::Release { .. }, M::Release { .. }) => a == b,
        _ => false,
    }
}

/// One message; of those that name one participant only, as many as there are participants.
fn written(message: &SchedulerMessage, to: Vec<String>, trace: Option<&TraceContext>) -> Vec<Pb> {
    let traceparent = trace.map(ToString::to_string).unwrap_or_default();
    let state = trace.and_then(|trace| trace.state.as_ref());
    let tracestate = state.map(|state| state.as_str().to_owned()).unwrap_or_default();
    vec![match message {
        SchedulerMessage::Registered(value) => Pb::Registered(pb_registered(value)),
        SchedulerMessage::Query(value) => {
            Pb::AvailabilityQuery(pb::AvailabilityQuery { traceparent, tracestate, ..pb_query(value, to) })
        }
        SchedulerMessage::Hold(value) => Pb::Hold(pb::Hold { traceparent, tracestate, ..pb_hold(value, to) }),
        SchedulerMessage::Confirm { booking, displaces } => Pb::Confirm(pb::Confirm {
            participant_ids: to,
            booking: Some(pb_booking(booking)),
            displaces: displaces.iter().map(attempt_ref).collect(),
            traceparent,
            tracestate,
        }),
        SchedulerMessage::Release { attempt, cause } => Pb::Release(pb::Release {
            participant_ids: to,
            meeting_id: attempt.meeting.to_string(),
            attempt: attempt.n.0,
            cause: pb_cause(*cause).into(),
            traceparent,
            tracestate,
        }),
        SchedulerMessage::Notice(value) => Pb::Notice(pb_notice(value, to)),
        SchedulerMessage::Superseded { epoch } => {
            let session_epoch = epoch.0;
            let each = |participant_id| Pb::Superseded(pb::Superseded { participant_id, session_epoch });
            return to.into_iter().map(each).collect();
        }
    }]
}

fn pb_registered(value: &Registered) -> pb::Registered {
    pb::Registered {
        participant_id: value.participant.to_string(),
        session_epoch: value.epoch.0,
        lineage: value.lineage.0,
        bookings: value.bookings.iter().map(pb_booking).collect(),
        scheduler_generation: u64::from(value.generation),
        scheduler_incarnation: value.incarnation.clone(),
    }
}

fn pb_booking(value: &Booking) -> pb::Booking {
    pb::Booking {
        meeting_id: value.attempt.meeting.to_string(),
        attempt: value.attempt.n.0,
        slot: Some(pb_range(&value.slot)),
        blocked: Some(pb_range(&value.blocked)),
        title: value.title.clone(),
        organizer: value.organizer.clone(),
        attendees: value.attendees.iter().map(ParticipantId::to_string).collect(),
        sequence: pb_count(value.sequence),
        revision: value.revision,
        recurrence: value.series.as_deref().map(pb_recurrence),
    }
}

fn pb_recurrence(value: &Recurrence) -> pb::Recurrence {
    pb::Recurrence {
        series_id: value.series.to_string(),
        rrule: value.rule.clone(),
        start_local: value.start.to_string(),
        time_zone: value.time_zone.clone(),
        duration: Some(pb_length(value.duration)),
        recurrence_local: value.local.to_string(),
        recurrence_time: Some(timestamp(value.instant)),
    }
}

fn pb_query(value: &Query, participant_ids: Vec<String>) -> pb::AvailabilityQuery {
    pb::AvailabilityQuery {
        query_id: value.id.to_string(),
        participant_ids,
        windows: value.windows.iter().map(pb_range).collect(),
        duration: Some(pb_length(value.duration)),
        buffer_before: Some(pb_length(value.buffer_before)),
        buffer_after: Some(pb_length(value.buffer_after)),
        step: Some(pb_length(value.step)),
        deadline: Some(timestamp(value.deadline)),
        disregard: value.disregard.iter().map(attempt_ref).collect(),
        respect_working_hours: value.respect_working_hours,
        traceparent: String::new(),
        tracestate: String::new(),
    }
}

fn pb_hold(value: &Hold, participant_ids: Vec<String>) -> pb::Hold {
    pb::Hold {
        participant_ids,
        meeting_id: value.attempt.meeting.to_string(),
        attempt: value.attempt.n.0,
        slot: Some(pb_range(&value.slot)),
        blocked: Some(pb_range(&value.blocked)),
        lease: Some(pb_length(value.lease)),
        displaces: value.displaces.iter().map(attempt_ref).collect(),
        priority: value.priority,
        title: value.title.clone(),
        organizer: value.organizer.clone(),
        traceparent: String::new(),
        tracestate: String::new(),
    }
}

fn pb_notice(value: &Notice, participant_ids: Vec<String>) -> pb::Notice {
    use pb::notice::Kind;
    let kind = match value.kind {
        NoticeKind::ConfirmedWithoutYou => Kind::ConfirmedWithoutYou,
        NoticeKind::Failed => Kind::Failed,
        NoticeKind::Cancelled => Kind::Cancelled,
        NoticeKind::BeingMoved => Kind::BeingMoved,
    };
    pb::Notice {
        participant_ids,
        meeting_id: value.meeting.to_string(),
        kind: kind.into(),
        message: value.message.clone(),
        slot: value.slot.as_ref().map(pb_range),
        title: value.title.clone(),
    }
}

fn pb_cause(value: ReleaseCause) -> pb::release::Cause {
    use pb::release::Cause;
    match value {
        ReleaseCause::Aborted => Cause::Aborted,
        ReleaseCause::NotNeeded => Cause::NotNeeded,
        ReleaseCause::Cancelled => Cause::Cancelled,
        ReleaseCause::Moved => Cause::Moved,
        ReleaseCause::Displaced => Cause::Displaced,
        ReleaseCause::Withdrawn => Cause::Withdrawn,
    }
}

/// What an agent host hears.
#[derive(Clone, PartialEq, Debug)]
pub enum FromScheduler {
    /// The same for each participant it names, in order.
    Messages(Vec<(ParticipantId, SchedulerMessage)>),
    /// The scheduler is going away.
    Drain {
        /// Wait this long before reconnecting.
        reconnect_after: Duration,
    },
    /// A message of the host's could not be used.
    FrameError(pb::FrameError),
    /// Of a newer scheduler: nothing that this agent knows. Nothing is to be done.
    Unknown,
}

/// The trace that a message is part of, if it says so in a way that can be used.
pub fn trace_of(message: &pb::SchedulerMessage) -> Option<TraceContext> {
    let (traceparent, tracestate) = match message.message.as_ref()? {
        Pb::AvailabilityQuery(value) => (&value.traceparent, &value.tracestate),
        Pb::Hold(value) => (&value.traceparent, &value.tracestate),
        Pb::Confirm(value) => (&value.traceparent, &value.tracestate),
        Pb::Release(value) => (&value.traceparent, &value.tracestate),
        Pb::Registered(_) | Pb::Notice(_) | Pb::Superseded(_) | Pb::Drain(_) | Pb::FrameError(_) => {
            return None;
        }
    };
    Some(TraceContext::parse(traceparent)?.stating(TraceState::parse([tracestate.as_str()])))
}

/// Reads one message of the scheduler. What a newer scheduler may say beyond this version is no error.
///
/// # Errors
/// The bad fields of a message that makes no sense; the others of its frame stand.
pub fn from_scheduler(message: &pb::SchedulerMessage) -> Result<FromScheduler, InvalidRequest> {
    let mut found = Violations::default();
    let read = match &message.message {
        None => Some(FromScheduler::Unknown),
        Some(message) => read(message, &mut found),
    };
    found.finish(read)
}

fn read(message: &Pb, found: &mut Violations) -> Option<FromScheduler> {
    match message {
        Pb::Registered(value) => {
            let read = registered(value, found)?;
            one(read.participant.clone(), SchedulerMessage::Registered(Box::new(read)))
        }
        Pb::AvailabilityQuery(value) => {
            let to = participants(&value.participant_ids, found);
            let query = query(value, found);
            several(to?, SchedulerMessage::Query(Arc::new(query?)))
        }
        Pb::Hold(value) => {
            let to = participants(&value.participant_ids, found);
            let hold = hold(value, found);
            several(to?, SchedulerMessage::Hold(Arc::new(hold?)))
        }
        Pb::Confirm(value) => {
            let to = participants(&value.participant_ids, found);
            let booking = match &value.booking {
                Some(value) => booking(value, &ROOT.field("booking"), found),
                None => found.none(&ROOT.field("booking"), "is required"),
            };
            let displaces = attempts(&value.displaces, &ROOT.field("displaces"), found);
            let confirm = SchedulerMessage::Confirm { booking: Arc::new(booking?), displaces: displaces? };
            several(to?, confirm)
        }
        Pb::Release(value) => {
            let to = participants(&value.participant_ids, found);
            let attempt = attempt(&value.meeting_id, value.attempt, &ROOT, found);
            let cause = cause(value.cause());
            several(to?, SchedulerMessage::Release { attempt: attempt?, cause })
        }
        Pb::Notice(value) => {
            let to = participants(&value.participant_ids, found);
            match notice(value, found)? {
                Some(notice) => several(to?, SchedulerMessage::Notice(Arc::new(notice))),
                None => Some(FromScheduler::Unknown),
            }
        }
        Pb::Superseded(value) => {
            let to = participant(&value.participant_id, &ROOT.field("participant_id"), found);
            one(to?, SchedulerMessage::Superseded { epoch: Epoch(value.session_epoch) })
        }
        Pb::Drain(value) => {
            let path = ROOT.field("reconnect_after");
            let reconnect_after = needed(value.reconnect_after.as_ref(), Lengths::ANY, &path, found)?;
            Some(FromScheduler::Drain { reconnect_after })
        }
        Pb::FrameError(value) => Some(FromScheduler::FrameError(value.clone())),
    }
}

fn one(to: ParticipantId, message: SchedulerMessage) -> Option<FromScheduler> {
    Some(FromScheduler::Messages(vec![(to, message)]))
}

fn several(to: Vec<ParticipantId>, message: SchedulerMessage) -> Option<FromScheduler> {
    Some(FromScheduler::Messages(to.into_iter().map(|id| (id, message.clone())).collect()))
}

fn participants(list: &[String], found: &mut Violations) -> Option<Vec<ParticipantId>> {
    each(list, &ROOT.field("participant_ids"), found, |id, path, found| participant(id, path, found))
}

fn attempts(list: &[pb::AttemptRef], path: &Path<'_>, found: &mut Violations) -> Option<Vec<Attempt>> {
    each(list, path, found, |value, path, found| attempt(&value.meeting_id, value.attempt, path, found))
}

fn needed(
    value: Option<&prost_types::Duration>,
    lengths: Lengths,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<Duration> {
    match value {
        Some(value) => length(value, lengths, path, found),
        None if lengths.min == Duration::ZERO => Some(Duration::ZERO),
        None => found.none(path, "is required"),
    }
}

fn registered(value: &pb::Registered, found: &mut Violations) -> Option<Registered> {
    let who = participant(&value.participant_id, &ROOT.field("participant_id"), found);
    let bookings = each(&value.bookings, &ROOT.field("bookings"), found, booking);
    let generation = u32::try_from(value.scheduler_generation).ok().or_else(|| {
        found.none(&ROOT.field("scheduler_generation"), format_args!("must be at most {}", u32::MAX))
    });
    Some(Registered {
        participant: who?,
        epoch: Epoch(value.session_epoch),
        lineage: Lineage(value.lineage),
        bookings: bookings?,
        generation: generation?,
        incarnation: value.scheduler_incarnation.clone(),
    })
}

fn booking(value: &pb::Booking, path: &Path<'_>, found: &mut Violations) -> Option<Booking> {
    let attempt = attempt(&value.meeting_id, value.attempt, path, found);
    let slot = range(value.slot.as_ref(), &path.field("slot"), found);
    let blocked = range(value.blocked.as_ref(), &path.field("blocked"), found);
    if let (Some(slot), Some(blocked)) = (&slot, &blocked)
        && !blocked.contains(slot)
    {
        found.refuse(&path.field("blocked"), "must contain the slot");
    }
    let attendees = each(&value.attendees, &path.field("attendees"), found, |id, path, found| {
        participant(id, path, found)
    });
    let sequence = u32::try_from(value.sequence)
        .ok()
        .or_else(|| found.none(&path.field("sequence"), "must not be negative"));
    let revision = number(value.revision, &path.field("revision"), found);
    let series = match &value.recurrence {
        Some(value) => recurrence(value, &path.field("recurrence"), found).map(Some),
        None => Some(None),
    };
    Some(Booking {
        attempt: attempt?,
        slot: slot?,
        blocked: blocked?,
        title: value.title.clone(),
        organizer: value.organizer.clone(),
        attendees: attendees?,
        sequence: sequence?,
        revision: revision?,
        series: series?.map(Arc::new),
    })
}

fn recurrence(value: &pb::Recurrence, path: &Path<'_>, found: &mut Violations) -> Option<Recurrence> {
    let series = uuid(&value.series_id, &path.field("series_id"), found);
    let rule = text(&value.rrule, limits::RULE_CHARS, &path.field("rrule"), found);
    let zone = optional_zone(&value.time_zone, &path.field("time_zone"), found);
    let duration = length(value.duration.as_ref()?, Lengths::MEETING, &path.field("duration"), found);
    let mut local = |value: &str, name| {
        let read = value.parse::<jiff::civil::DateTime>();
        read.ok()
            .or_else(|| found.none(&path.field(name), "must be a local time such as 2026-03-24T09:00:00"))
    };
    let (start, this) =
        (local(&value.start_local, "start_local"), local(&value.recurrence_local, "recurrence_local"));
    let time = optional_instant(value.recurrence_time.as_ref(), &path.field("recurrence_time"), found);
    Some(Recurrence {
        series: SeriesId::new(series?),
        rule: rule?,
        start: start?,
        time_zone: zone?.unwrap_or_else(|| "UTC".to_owned()),
        duration: duration?,
        local: this?,
        instant: time??,
    })
}

fn query(value: &pb::AvailabilityQuery, found: &mut Violations) -> Option<Query> {
    if value.query_id.is_empty() {
        found.refuse(&ROOT.field("query_id"), "is required");
    }
    let windows = each(&value.windows, &ROOT.field("windows"), found, |value, path, found| {
        range(Some(value), path, found)
    });
    let mut lengths = |value: Option<&_>, lengths, name| needed(value, lengths, &ROOT.field(name), found);
    let duration = lengths(value.duration.as_ref(), Lengths::SOME, "duration");
    let before = lengths(value.buffer_before.as_ref(), Lengths::ANY, "buffer_before");
    let after = lengths(value.buffer_after.as_ref(), Lengths::ANY, "buffer_after");
    // A step of nothing would name no end of slots.
    let step = lengths(value.step.as_ref(), Lengths::SOME, "step");
    let deadline = match &value.deadline {
        Some(value) => instant(value, &ROOT.field("deadline"), found),
        None => found.none(&ROOT.field("deadline"), "is required"),
    };
    let disregard = attempts(&value.disregard, &ROOT.field("disregard"), found);
    Some(Query {
        id: QueryId::new(&value.query_id),
        windows: windows?,
        duration: duration?,
        buffer_before: before?,
        buffer_after: after?,
        step: step?,
        deadline: deadline?,
        disregard: disregard?,
        respect_working_hours: value.respect_working_hours,
    })
}

fn hold(value: &pb::Hold, found: &mut Violations) -> Option<Hold> {
    let attempt = attempt(&value.meeting_id, value.attempt, &ROOT, found);
    let slot = range(value.slot.as_ref(), &ROOT.field("slot"), found);
    let blocked = range(value.blocked.as_ref(), &ROOT.field("blocked"), found);
    if let (Some(slot), Some(blocked)) = (&slot, &blocked)
        && !blocked.contains(slot)
    {
        found.refuse(&ROOT.field("blocked"), "must contain the slot");
    }
    let lease = needed(value.lease.as_ref(), Lengths::ANY, &ROOT.field("lease"), found);
    let displaces = attempts(&value.displaces, &ROOT.field("displaces"), found);
    Some(Hold {
        attempt: attempt?,
        slot: slot?,
        blocked: blocked?,
        lease: lease?,
        displaces: displaces?,
        priority: value.priority,
        title: value.title.clone(),
        organizer: value.organizer.clone(),
    })
}

/// `Some(None)`: of a kind that this version doesn't know. A notice binds nobody, so it may be passed over.
fn notice(value: &pb::Notice, found: &mut Violations) -> Option<Option<Notice>> {
    use pb::notice::Kind;
    let kind = match value.kind() {
        Kind::Unspecified => return Some(None),
        Kind::ConfirmedWithoutYou => NoticeKind::ConfirmedWithoutYou,
        Kind::Failed => NoticeKind::Failed,
        Kind::Cancelled => NoticeKind::Cancelled,
        Kind::BeingMoved => NoticeKind::BeingMoved,
    };
    let meeting = meeting(&value.meeting_id, &ROOT.field("meeting_id"), found);
    let slot = optional_range(value.slot.as_ref(), &ROOT.field("slot"), found);
    Some(Some(Notice {
        meeting: meeting?,
        kind,
        message: value.message.clone(),
        slot: slot?,
        title: value.title.clone(),
    }))
}

/// A release is obeyed whatever its cause; one that this version doesn't know counts as given up.
fn cause(value: pb::release::Cause) -> ReleaseCause {
    use pb::release::Cause;
    match value {
        Cause::Unspecified | Cause::Aborted => ReleaseCause::Aborted,
        Cause::NotNeeded => ReleaseCause::NotNeeded,
        Cause::Cancelled => ReleaseCause::Cancelled,
        Cause::Moved => ReleaseCause::Moved,
        Cause::Displaced => ReleaseCause::Displaced,
        Cause::Withdrawn => ReleaseCause::Withdrawn,
    }
}
