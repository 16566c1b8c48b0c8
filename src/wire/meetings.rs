//! What organizers are told: meetings, candidates, failures, events and participants, written for the wire.

use crate::core::coordinator::Remarks;
use crate::core::ids::RequestId;
use crate::core::model::{
    AttemptLogEntry, AttemptOutcome, Attendee, AttendeeOutcome, AttendeeStatus, Candidate, CandidateCounts,
    EventKind, Failure, FailureReason, Meeting, MeetingSpec, MeetingState, Objective, Preference, Relaxation,
    RelaxationChange, Role, Window, WorkingHours,
};
use crate::core::record::{EventRow, ParticipantRow};
use crate::core::slots::{self, ClockShift};
use crate::core::time::Instant;
use crate::core::zone_data::ZoneMatch;
use crate::core::zones;

use super::pages;
use super::pb;
use super::requests::ScheduleRequest;
use super::scalars::{pb_count, pb_length, pb_range, timestamp};

/// Writes a meeting.
pub fn meeting(value: &Meeting) -> pb::Meeting {
    let log = attempt_log(&value.attempt_log);
    pb::Meeting {
        meeting_id: value.id.to_string(),
        request_id: value.request_id.to_string(),
        spec: Some(spec(&value.spec)),
        state: state(value.state).into(),
        slot: value.slot.as_ref().map(pb_range),
        time_zone: value.time_zone.clone(),
        attendees: outcomes(&value.attendees),
        attempts: pb_count(value.attempts),
        failure: value.failure.as_ref().map(|failure| self::failure(failure, &value.attempt_log)),
        attempt_log: log,
        series_id: value.series.as_ref().map(|series| series.series.to_string()).unwrap_or_default(),
        create_time: Some(timestamp(value.create_time)),
        update_time: Some(timestamp(value.update_time)),
        etag: pages::etag(value.version),
        sequence: pb_count(value.sequence),
        displaced_meetings: value.displaced.iter().map(ToString::to_string).collect(),
        displaced_by: value.displaced_by.as_ref().map(ToString::to_string).unwrap_or_default(),
        displaced_count: pb_count(value.displaced_count),
        clock_shifts: clock_shifts(&value.spec.window),
        local_start_time: value.local_start.clone().unwrap_or_default(),
        local_time_detail: local_time_detail(value).unwrap_or_default(),
    }
}

/// Writes the answer to `validate_only`: the request as it was understood, without id and state. `spec` and
/// `time_zone` are the request's, or what the scheduler made of them.
pub fn understood(request: &ScheduleRequest, spec: &MeetingSpec, time_zone: &str) -> pb::Meeting {
    let not_asked = |attendee| AttendeeOutcome::new(attendee, AttendeeStatus::NotAsked);
    let attendees: Vec<_> = spec.attendees.iter().map(not_asked).collect();
    pb::Meeting {
        request_id: request.request_id.as_ref().map(RequestId::to_string).unwrap_or_default(),
        spec: Some(self::spec(spec)),
        slot: request.slot.as_ref().map(pb_range),
        time_zone: time_zone.to_owned(),
        clock_shifts: clock_shifts(&spec.window),
        attendees: outcomes(&attendees),
        ..pb::Meeting::default()
    }
}

/// Writes a spec.
pub fn spec(value: &MeetingSpec) -> pb::MeetingSpec {
    let attendee = |value: &Attendee| pb::Attendee {
        participant_id: value.id.to_string(),
        role: role(value.role).into(),
    };
    let objective = match value.objective {
        Objective::Earliest => pb::meeting_spec::Objective::Earliest,
        Objective::MostAttendees => pb::meeting_spec::Objective::MostAttendees,
        Objective::BestScore => pb::meeting_spec::Objective::BestScore,
    };
    pb::MeetingSpec {
        title: value.title.clone(),
        organizer: value.organizer.clone(),
        attendees: value.attendees.iter().map(attendee).collect(),
        duration: Some(pb_length(value.duration)),
        minimum_participants: pb_count(value.minimum_participants),
        priority: value.priority,
        window: Some(window(&value.window)),
        objective: objective.into(),
        buffer_before: Some(pb_length(value.buffer_before)),
        buffer_after: Some(pb_length(value.buffer_after)),
        displace: value.displace,
        displaceable: value.displaceable,
    }
}

/// Writes a window.
pub fn window(value: &Window) -> pb::Window {
    pb::Window {
        earliest: value.earliest.map(timestamp),
        latest: value.latest.map(timestamp),
        time_zone: value.time_zone.clone().unwrap_or_default(),
        step: Some(pb_length(value.step)),
        working_hours: Some(working_hours(&value.working_hours)),
        respect_attendee_hours: value.respect_attendee_hours,
        exclude: value.exclude.iter().map(pb_range).collect(),
    }
}

fn working_hours(value: &WorkingHours) -> pb::WorkingHours {
    match value {
        WorkingHours::Unrestricted => pb::WorkingHours { unrestricted: true, ..pb::WorkingHours::default() },
        WorkingHours::Weekly { days, start_minute, end_minute, time_zone } => {
            let days = (1..).zip(days).filter(|(_, on)| **on).map(|(day, _)| day).collect();
            let time = |minute: u16| pb::TimeOfDay {
                hours: i32::from(minute / 60),
                minutes: i32::from(minute % 60),
            };
            pb::WorkingHours {
                days,
                start: Some(time(*start_minute)),
                end: Some(time(*end_minute)),
                time_zone: time_zone.clone().unwrap_or_default(),
                unrestricted: false,
            }
        }
    }
}

/// Writes a candidate.
pub fn candidate(value: &Candidate) -> pb::Candidate {
    pb::Candidate {
        slot: Some(pb_range(&value.slot)),
        score: value.score,
        attendees: value.attendees.iter().map(candidate_outcome).collect(),
        attending: pb_count(value.attending),
        total_cost: value.total_cost,
        reason: value.reason.clone(),
        displaces: value.displaces.iter().map(ToString::to_string).collect(),
    }
}

/// Writes what was found: the candidates, or why there are none.
pub fn found(
    candidates: &[Candidate],
    failure: Option<&Failure>,
    counts: &CandidateCounts,
    time_zone: &str,
    shifts: &[ClockShift],
) -> pb::FindMeetingTimesResponse {
    pb::FindMeetingTimesResponse {
        candidates: candidates.iter().map(candidate).collect(),
        failure: failure.map(|failure| self::failure(failure, &[])),
        time_zone: time_zone.to_owned(),
        counts: Some(self::counts(counts)),
        clock_shifts: shifts.iter().map(clock_shift).collect(),
    }
}

fn clock_shift(value: &ClockShift) -> pb::ClockShift {
    pb::ClockShift {
        local_time: value.wall.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        time_zone: value.zone.clone(),
        taken_as: Some(timestamp(value.taken)),
        message: value.message.clone(),
    }
}

/// Whether the start of a booked meeting has another local time by now than when it was booked.
fn local_time_detail(value: &Meeting) -> Option<String> {
    let (meant, slot) = (value.local_start.as_ref()?, value.slot.as_ref()?);
    let shown = zones::local_time(slot.start, &value.time_zone)?;
    let zone = &value.time_zone;
    (shown != *meant).then(|| {
        format!(
            "it was booked for {meant} in {zone}, whose clocks will show {shown}: their rules have changed"
        )
    })
}

/// What the clocks do to the working hours of a window that is resolved.
fn clock_shifts(window: &Window) -> Vec<pb::ClockShift> {
    slots::clock_shifts(window).iter().map(clock_shift).collect()
}

/// Writes a failure; `log` is that of the meeting.
pub fn failure(value: &Failure, log: &[AttemptLogEntry]) -> pb::Failure {
    pb::Failure {
        reason: failure_reason(value.reason).into(),
        message: value.message.clone(),
        attempt_log: attempt_log(log),
        counts: Some(counts(&value.counts)),
        relaxations: value.relaxations.iter().map(relaxation).collect(),
        attendees: outcomes(&value.attendees),
    }
}

/// Writes what candidate slots were lost to.
pub fn counts(value: &CandidateCounts) -> pb::CandidateCounts {
    pb::CandidateCounts {
        considered: pb_count(value.considered),
        required_busy: pb_count(value.required_busy),
        required_unreachable: pb_count(value.required_unreachable),
        quorum_missed: pb_count(value.quorum_missed),
        held_by_others: pb_count(value.held_by_others),
        refused: pb_count(value.refused),
    }
}

fn relaxation(value: &Relaxation) -> pb::Relaxation {
    let mut written = pb::Relaxation {
        slot: value.slot.as_ref().map(pb_range),
        message: value.message.clone(),
        ..pb::Relaxation::default()
    };
    match &value.change {
        RelaxationChange::Minimum(minimum) => written.minimum_participants = pb_count(*minimum),
        RelaxationChange::Latest(latest) => written.latest = Some(timestamp(*latest)),
        RelaxationChange::ReleaseRequired(id) => written.release_required = id.to_string(),
        RelaxationChange::UnrestrictedHours => written.unrestricted_hours = true,
        RelaxationChange::Duration(duration) => written.duration = Some(pb_length(*duration)),
    }
    written
}

fn attempt_log(log: &[AttemptLogEntry]) -> Vec<pb::AttemptLogEntry> {
    let entry = |value: &AttemptLogEntry| pb::AttemptLogEntry {
        number: pb_count(value.number),
        slot: Some(pb_range(&value.slot)),
        outcome: attempt_outcome(value.outcome).into(),
        attendees: outcomes(&value.attendees),
        message: value.message.clone(),
    };
    log.iter().map(entry).collect()
}

pub(super) fn outcomes(list: &[AttendeeOutcome]) -> Vec<pb::AttendeeOutcome> {
    list.iter().map(outcome).collect()
}

fn outcome(value: &AttendeeOutcome) -> pb::AttendeeOutcome {
    pb::AttendeeOutcome {
        participant_id: value.id.to_string(),
        role: role(value.role).into(),
        status: status(value.status).into(),
        confirmation_delivered: value.delivered,
        detail: value.detail.clone(),
        ..pb::AttendeeOutcome::default()
    }
}

/// What an agent said of a slot is known of candidates only.
fn candidate_outcome(value: &AttendeeOutcome) -> pb::AttendeeOutcome {
    pb::AttendeeOutcome {
        preference: preference(value.preference).into(),
        cost: value.cost,
        ..outcome(value)
    }
}

/// Writes an event.
pub fn event(value: &EventRow) -> pb::MeetingEvent {
    use pb::meeting_event::Type;
    let kind = match value.event.kind {
        EventKind::Scheduling => Type::Scheduling,
        EventKind::Confirmed => Type::Confirmed,
        EventKind::Failed => Type::Failed,
        EventKind::Rescheduled => Type::Rescheduled,
        EventKind::Cancelled => Type::Cancelled,
        EventKind::Updated => Type::Updated,
        EventKind::Displaced => Type::Displaced,
        EventKind::AttendeeDeclined => Type::AttendeeDeclined,
        EventKind::Delivered => Type::Delivered,
    };
    pb::MeetingEvent {
        sequence: value.sequence,
        event_time: Some(timestamp(value.event.time)),
        r#type: kind.into(),
        meeting: Some(meeting(&value.event.meeting)),
    }
}

/// Writes a participant; `connected_since` is set while an agent speaks for it.
pub fn participant(
    value: &ParticipantRow,
    connected_since: Option<Instant>,
    remarks: &Remarks,
) -> pb::Participant {
    use pb::participant::TimeZoneData;
    let data = match &remarks.zone {
        ZoneMatch::Unsaid => TimeZoneData::Unspecified,
        ZoneMatch::Same => TimeZoneData::Same,
        ZoneMatch::Different(_) => TimeZoneData::Different,
        ZoneMatch::UnknownZone(_) => TimeZoneData::UnknownZone,
    };
    pb::Participant {
        participant_id: value.id.to_string(),
        display_name: value.display_name.clone(),
        time_zone: value.time_zone.clone().unwrap_or_default(),
        connected: connected_since.is_some(),
        connected_since: connected_since.map(timestamp),
        last_seen: connected_since.is_none().then(|| timestamp(value.last_seen)),
        session_epoch: value.epoch.0,
        time_zone_data: data.into(),
        time_zone_detail: remarks.zone.problem().unwrap_or_default().to_owned(),
        calendar_problem: remarks.calendar_problem.clone(),
    }
}

/// Writes a preference.
pub fn preference(value: Preference) -> pb::Preference {
    match value {
        Preference::Preferred => pb::Preference::Preferred,
        Preference::Available => pb::Preference::Available,
        Preference::IfNeeded => pb::Preference::IfNeeded,
    }
}

/// Writes a state.
pub fn state(value: MeetingState) -> pb::meeting::State {
    use pb::meeting::State;
    match value {
        MeetingState::Scheduling => State::Scheduling,
        MeetingState::Confirmed => State::Confirmed,
        MeetingState::Failed => State::Failed,
        MeetingState::Cancelled => State::Cancelled,
        MeetingState::Displaced => State::Displaced,
    }
}

fn role(value: Role) -> pb::attendee::Role {
    match value {
        Role::Required => pb::attendee::Role::Required,
        Role::Invited => pb::attendee::Role::Invited,
        Role::Optional => pb::attendee::Role::Optional,
    }
}

fn status(value: AttendeeStatus) -> pb::attendee_outcome::Status {
    use pb::attendee_outcome::Status;
    match value {
        AttendeeStatus::Attending => Status::Attending,
        AttendeeStatus::Busy => Status::Busy,
        AttendeeStatus::NoAnswer => Status::NoAnswer,
        AttendeeStatus::Disconnected => Status::Disconnected,
        AttendeeStatus::Declined => Status::Declined,
        AttendeeStatus::NotAsked => Status::NotAsked,
    }
}

fn attempt_outcome(value: AttemptOutcome) -> pb::attempt_log_entry::Outcome {
    use pb::attempt_log_entry::Outcome;
    match value {
        AttemptOutcome::Booked => Outcome::Booked,
        AttemptOutcome::NotAvailable => Outcome::NotAvailable,
        AttemptOutcome::Refused => Outcome::Refused,
        AttemptOutcome::HeldByOther => Outcome::HeldByOther,
        AttemptOutcome::TimedOut => Outcome::TimedOut,
        AttemptOutcome::Aborted => Outcome::Aborted,
    }
}

fn failure_reason(value: FailureReason) -> pb::failure::Reason {
    use pb::failure::Reason;
    match value {
        FailureReason::NoCommonSlot => Reason::NoCommonSlot,
        FailureReason::QuorumUnreachable => Reason::QuorumUnreachable,
        FailureReason::RequiredBusy => Reason::RequiredBusy,
        FailureReason::RequiredUnreachable => Reason::RequiredUnreachable,
        FailureReason::MaxAttempts => Reason::MaxAttempts,
        FailureReason::Deadline => Reason::Deadline,
        FailureReason::WindowEmpty => Reason::WindowEmpty,
        FailureReason::SlotTaken => Reason::SlotTaken,
        FailureReason::NobodyConnected => Reason::NobodyConnected,
        FailureReason::BeingChanged => Reason::BeingChanged,
    }
}
