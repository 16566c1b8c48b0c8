//! The requests of `SchedulerService`: the first byte says which, the others are the message.

use std::fmt::Debug;
use std::time::Duration;

use prost::Message;
use quorate::core::limits;
use quorate::core::model::{MeetingSpec, Options, WorkingHours};
use quorate::core::slots::{self, SlotError};
use quorate::core::time::Instant;
use quorate::wire::pages::{self, MeetingKey};
use quorate::wire::requests::{self, ListRequest, ScheduleRequest};
use quorate::wire::scalars::{pb_length, pb_range};
use quorate::wire::{ApiError, InvalidRequest, meetings, pb};
use tonic::Status;

use super::bytes::Bytes;

/// How many kinds of request there are.
const KINDS: usize = 11;
/// Most bytes of a status' details: with two copies of its message they fit the trailers of any client.
const STATUS_BYTES: usize = 6 * 1024;

/// What was read; what was refused names at least one field, and fits a status.
pub(super) fn told<T>(result: Result<T, InvalidRequest>) -> Option<T> {
    let invalid = match result {
        Ok(read) => return Some(read),
        Err(invalid) => invalid,
    };
    let violations = invalid.violations();
    assert!(invalid.count() > 0 && !violations.is_empty());
    assert!(!violations[0].field.is_empty() && !violations[0].description.is_empty());
    assert!(violations.len() <= invalid.count());
    let status = Status::from(ApiError::from(invalid));
    assert!(status.details().len() <= STATUS_BYTES, "{} bytes of details", status.details().len());
    assert!(!status.message().is_empty());
    None
}

fn decoded<M: Message + Default>(bytes: &[u8]) -> Option<M> {
    M::decode(bytes).ok()
}

/// Reads one request as its service does.
pub fn requests(data: &[u8]) {
    let mut data = Bytes(data);
    let kind = data.below(KINDS);
    let bytes = data.0;
    match kind {
        0 => decoded(bytes).map(schedule).unwrap_or_default(),
        1 => decoded(bytes).map(batch).unwrap_or_default(),
        2 => decoded(bytes).map(find).unwrap_or_default(),
        3 => decoded(bytes).map(list_meetings).unwrap_or_default(),
        4 => decoded(bytes).map(reschedule).unwrap_or_default(),
        5 => decoded(bytes).map(update).unwrap_or_default(),
        6 => decoded(bytes).map(list_participants).unwrap_or_default(),
        7 => decoded(bytes).map(watch).unwrap_or_default(),
        8 => decoded(bytes).map(cancel).unwrap_or_default(),
        9 => decoded(bytes).map(get_meeting).unwrap_or_default(),
        _ => decoded(bytes).map(get_participant).unwrap_or_default(),
    }
}

fn schedule(request: pb::ScheduleMeetingRequest) {
    let Some(read) = told(requests::schedule(request.clone())) else { return };
    assert_eq!(requests::schedule(request).as_ref(), Ok(&read));
    options(&read.options);
    spec(&read.spec);
    let again = requests::schedule(written(&read)).expect("what we write can be read");
    assert_eq!(ScheduleRequest { body_hash: read.body_hash.clone(), ..again }, read);
    if let Some(slot) = read.slot {
        assert_eq!(slot.length(), read.spec.duration);
    }
}

fn written(read: &ScheduleRequest) -> pb::ScheduleMeetingRequest {
    let understood = meetings::understood(read, &read.spec, "UTC");
    pb::ScheduleMeetingRequest {
        request_id: understood.request_id,
        spec: understood.spec,
        slot: understood.slot,
        response_timeout: Some(pb_length(read.options.response_timeout)),
        connect_timeout: Some(pb_length(read.options.connect_timeout)),
        max_attempts: read.options.max_attempts.try_into().expect("a small number"),
        max_candidates_per_round: read.options.max_candidates_per_round.try_into().expect("an int32"),
        validate_only: read.validate_only,
    }
}

fn options(options: &Options) {
    assert!(!options.response_timeout.is_zero());
    assert!(options.response_timeout <= limits::RESPONSE_TIMEOUT_MAX);
    assert!(options.connect_timeout <= limits::CONNECT_TIMEOUT_MAX);
    assert!((1..=limits::ATTEMPTS_MAX).contains(&options.max_attempts));
}

/// Within its bounds; and looking for slots stays within theirs.
fn spec(spec: &MeetingSpec) {
    assert!(spec.attendees.len() <= limits::ATTENDEES && spec.window.exclude.len() <= limits::EXCLUDES);
    assert!((limits::DURATION_MIN..=limits::DURATION_MAX).contains(&spec.duration));
    assert!((limits::STEP_MIN..=limits::STEP_MAX).contains(&spec.window.step));
    assert!((1..=limits::PRIORITY_MAX).contains(&spec.priority));
    assert!(spec.attendees.is_empty() || spec.quorum() <= spec.attendees.len());
    if let WorkingHours::Weekly { start_minute, end_minute, .. } = spec.window.working_hours {
        assert!(start_minute < end_minute && end_minute <= 24 * 60);
    }
    // At some time that lies in most of the windows that the corpus has.
    let now: Instant = "2026-12-01T00:00:00Z".parse().expect("an instant");
    let mut spec = spec.clone();
    slots::resolve_window(&mut spec.window, None, now).expect("the zones were checked");
    match slots::candidates(&spec) {
        Ok(slots) => slots_are_good(&spec, &slots),
        Err(SlotError::TooMany { limit }) => assert_eq!(limit, limits::CANDIDATES),
        Err(SlotError::TooLong { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

fn slots_are_good(spec: &MeetingSpec, slots: &[quorate::core::time::TimeRange]) {
    let window = (spec.window.earliest.expect("resolved"), spec.window.latest.expect("resolved"));
    let max = chrono::Duration::from_std(limits::WINDOW_MAX).expect("a year or so");
    assert!(slots.len() <= limits::CANDIDATES);
    assert!(window.1 - window.0 <= max, "looked through a window of {}", window.1 - window.0);
    assert!(slots.windows(2).all(|pair| pair[0].start < pair[1].start));
    for slot in slots {
        assert_eq!(slot.length(), spec.duration);
        assert!(window.0 <= slot.start && slot.end <= window.1);
    }
    let windows = slots::query_windows(spec, slots);
    let (before, after) = (spec.buffer_before, spec.buffer_after);
    let asked = slots::asked_slots(&windows, spec.duration, before, after, spec.window.step);
    assert_eq!(asked, slots, "a query asks for other slots than were meant");
}

fn batch(request: pb::BatchScheduleMeetingsRequest) {
    let Some(read) = told(requests::batch(request.clone())) else { return };
    assert_eq!(read.len(), request.requests.len());
    for (read, alone) in read.into_iter().zip(request.requests) {
        assert_eq!(read, requests::schedule(alone));
        told(read);
    }
}

fn find(request: pb::FindMeetingTimesRequest) {
    let Some(read) = told(requests::find(request)) else { return };
    options(&read.options);
    spec(&read.spec);
    assert!((1..=limits::CANDIDATES_RETURNED_MAX).contains(&read.limit));
    let again = pb::FindMeetingTimesRequest {
        spec: Some(meetings::spec(&read.spec)),
        response_timeout: Some(pb_length(read.options.response_timeout)),
        connect_timeout: Some(pb_length(read.options.connect_timeout)),
        max_candidates: read.limit.try_into().expect("a small number"),
    };
    assert_eq!(requests::find(again), Ok(read));
}

fn list_meetings(request: pb::ListMeetingsRequest) {
    let Some(read) = told(requests::list_meetings(request.clone())) else { return };
    assert!((1..=limits::PAGE_MAX).contains(&read.limit));
    // A token of any place reads as that place, and only with the same other fields.
    let id = requests::get_meeting(pb::GetMeetingRequest { meeting_id: MEETING.to_owned() });
    let key = read.after.clone().unwrap_or(MeetingKey { start: None, created: -1, id: id.expect("an id") });
    let next = pb::ListMeetingsRequest { page_token: read.list.next(&key), ..request };
    let again = requests::list_meetings(next.clone()).expect("our own token");
    assert_eq!(again, ListRequest { after: Some(key), ..read });
    let other = if next.participant_id == "x" { "y" } else { "x" };
    same_token_elsewhere(pb::ListMeetingsRequest { participant_id: other.to_owned(), ..next });
}

fn same_token_elsewhere(request: pb::ListMeetingsRequest) {
    let refused = requests::list_meetings(request).expect_err("a token of another list was taken");
    assert_eq!(refused.violations()[0].field, "page_token");
}

const MEETING: &str = "0b8f5c1e-3f0d-4c77-9a52-6d1f2e9b7a10";

fn reschedule(request: pb::RescheduleMeetingRequest) {
    let Some(read) = told(requests::reschedule(request.clone())) else { return };
    options(&read.options);
    assert!(read.slot.is_none() || read.window.is_none());
    assert_eq!(
        (read.slot.is_some(), read.window.is_some()),
        (request.slot.is_some(), request.window.is_some())
    );
    let again = pb::RescheduleMeetingRequest {
        meeting_id: read.meeting.to_string(),
        etag: request.etag,
        slot: read.slot.as_ref().map(pb_range),
        window: read.window.as_ref().map(meetings::window),
        duration: read.duration.map(pb_length),
        response_timeout: Some(pb_length(read.options.response_timeout)),
        connect_timeout: Some(pb_length(read.options.connect_timeout)),
        max_attempts: read.options.max_attempts.try_into().expect("a small number"),
    };
    assert_eq!(requests::reschedule(again), Ok(read));
}

fn update(request: pb::UpdateMeetingRequest) {
    let Some(read) = told(requests::update(request.clone())) else { return };
    assert_eq!(read.options.connect_timeout, Duration::ZERO);
    let change = &read.change;
    let masked = request.update_mask.as_ref().map_or(&[][..], |mask| &mask.paths);
    let has = |name: &str| masked.iter().any(|path| path == name);
    assert_eq!(change.title.is_some(), has("title"));
    assert_eq!(change.attendees.is_some(), has("attendees"));
    assert_eq!(change.minimum_participants.is_some(), has("minimum_participants"));
    assert_eq!(change.displaceable.is_some(), has("displaceable"));
    assert!(change.attendees.as_ref().is_none_or(|list| (1..=limits::ATTENDEES).contains(&list.len())));
    assert!(!masked.is_empty(), "an update of nothing");
}

fn list_participants(request: pb::ListParticipantsRequest) {
    let Some(read) = told(requests::list_participants(request.clone())) else { return };
    assert!((1..=limits::PAGE_MAX).contains(&read.limit));
    if let Some(last) = &read.after {
        assert_eq!(pages::participants_next(read.connected_only, last), request.page_token.to_lowercase());
        let other = pb::ListParticipantsRequest { connected_only: !request.connected_only, ..request };
        assert!(requests::list_participants(other).is_err(), "a token of another list was taken");
    }
}

fn watch(request: pb::WatchMeetingsRequest) {
    let Some(read) = told(requests::watch_meetings(request.clone())) else { return };
    assert_eq!(read.resume_after, request.resume_after);
    assert_eq!(read.meeting.is_none(), request.meeting_id.is_empty());
    assert_eq!(read.participant.is_none(), request.participant_id.is_empty());
}

fn cancel(request: pb::CancelMeetingRequest) {
    let Some(read) = told(requests::cancel(request.clone())) else { return };
    same_id(&read.meeting, &request.meeting_id);
    // What is no etag of ours is a version that no meeting has.
    let etag = read.version.map(pages::etag).unwrap_or_default();
    assert!(etag == request.etag || read.version == Some(pages::NO_VERSION));
}

fn get_meeting(request: pb::GetMeetingRequest) {
    if let Some(read) = told(requests::get_meeting(request.clone())) {
        same_id(&read, &request.meeting_id);
    }
}

fn get_participant(request: pb::GetParticipantRequest) {
    if let Some(read) = told(requests::get_participant(request.clone())) {
        assert_eq!(read.as_str(), request.participant_id);
        assert!(read.as_str().len() <= limits::ID_CHARS);
    }
}

fn same_id(read: &(impl ToString + Debug), given: &str) {
    assert_eq!(read.to_string(), given.to_lowercase());
}
