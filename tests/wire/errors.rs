//! The status of each error, and that a thousand faults fit into the trailers.

use std::time::Duration;

use prost::Message;
use quorate::core::ids::{MeetingId, ParticipantId, RequestId};
use quorate::core::model::MeetingState;
use quorate::wire::validate::VIOLATIONS;
use quorate::wire::{ApiError, InvalidRequest, pb, requests};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::samples::{UUID, attendee, schedule};

#[test]
fn every_error_has_its_code_and_reason() {
    let invalid = InvalidRequest::one("spec.window", "has 60000 candidate slots; at most 50000 are allowed");
    let table = [
        (ApiError::Invalid(invalid), Code::InvalidArgument, "INVALID_REQUEST"),
        (ApiError::MeetingNotFound(MeetingId::new(UUID)), Code::NotFound, "MEETING_NOT_FOUND"),
        (ApiError::ParticipantNotFound(ParticipantId::new("x")), Code::NotFound, "PARTICIPANT_NOT_FOUND"),
        (ApiError::EtagMismatch, Code::Aborted, "ETAG_MISMATCH"),
        (ApiError::MeetingBeingChanged, Code::Aborted, "MEETING_BEING_CHANGED"),
        (ApiError::RequestIdReused(RequestId::new(UUID)), Code::AlreadyExists, "REQUEST_ID_REUSED"),
        (
            ApiError::MeetingNotConfirmed(MeetingState::Failed),
            Code::FailedPrecondition,
            "MEETING_NOT_CONFIRMED",
        ),
        (ApiError::MeetingFailed, Code::FailedPrecondition, "MEETING_FAILED"),
        (ApiError::Overloaded { retry_after: Duration::from_secs(1) }, Code::ResourceExhausted, "OVERLOADED"),
        (
            ApiError::CallerLimit { what: "requests", max: 7, retry_after: Duration::from_secs(1) },
            Code::ResourceExhausted,
            "CALLER_LIMIT",
        ),
        (ApiError::SlowReader, Code::ResourceExhausted, "SLOW_READER"),
        (ApiError::ShuttingDown, Code::Unavailable, "SHUTTING_DOWN"),
        (ApiError::StoreUnavailable, Code::Unavailable, "STORE_UNAVAILABLE"),
        (ApiError::EventsPruned { after: 3, oldest: 9 }, Code::OutOfRange, "EVENTS_PRUNED"),
        (ApiError::EventsAhead { after: 9, newest: 3 }, Code::OutOfRange, "EVENTS_AHEAD"),
        (ApiError::DeadlineExceeded, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (ApiError::RegisterMissing, Code::InvalidArgument, "REGISTER_MISSING"),
        (ApiError::RegisterTimeout, Code::DeadlineExceeded, "REGISTER_TIMEOUT"),
        (ApiError::Internal, Code::Internal, "INTERNAL"),
    ];
    for (error, code, reason) in table {
        let retry = matches!(error, ApiError::Overloaded { .. } | ApiError::CallerLimit { .. });
        let batch = error.batch_error();
        assert_eq!((batch.code, batch.reason.as_str()), (code as i32, reason));
        assert_eq!(batch.message, error.to_string());
        let status = Status::from(error);
        assert_eq!(status.code(), code, "{status:?}");
        assert!(!status.message().is_empty());
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "quorate"));
        assert_eq!(details.retry_info().is_some(), retry);
        assert_eq!(
            details.bad_request().is_some(),
            code == Code::InvalidArgument && reason == "INVALID_REQUEST"
        );
    }
}

#[test]
fn metadata_names_the_thing() {
    let status = Status::from(ApiError::MeetingNotFound(MeetingId::new(UUID)));
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata.get("meeting_id").map(String::as_str), Some(UUID));
}

fn many_faults(name: &str) -> InvalidRequest {
    let mut request = schedule();
    let spec = request.spec.as_mut().unwrap();
    spec.attendees = (0..10_000).map(|n| attendee(&format!("{name}{n}"))).collect();
    requests::schedule(request).unwrap_err()
}

#[test]
fn ten_thousand_faults_are_counted_and_a_hundred_listed() {
    let invalid = many_faults("not an id ");
    // Each attendee, and the list.
    assert_eq!(invalid.count(), 10_001);
    let listed = invalid.violations();
    assert_eq!(listed.len(), VIOLATIONS);
    assert_eq!(listed[0].field, "spec.attendees");
    let last = listed.last().unwrap();
    assert_eq!((last.field.as_str(), last.description.as_str()), ("", "and 9902 more"));
}

#[test]
fn exactly_a_hundred_faults_are_all_listed() {
    let faults = |n: usize| {
        let mut request = schedule();
        request.spec.as_mut().unwrap().attendees = (0..n).map(|n| attendee(&format!("{n}!"))).collect();
        requests::schedule(request).unwrap_err().violations()
    };
    assert_eq!(faults(VIOLATIONS).last().unwrap().field, "spec.attendees[99].participant_id");
    let more = faults(VIOLATIONS + 1);
    assert_eq!((more.len(), more.last().unwrap().description.as_str()), (VIOLATIONS, "and 2 more"));
}

#[test]
fn a_status_fits_into_the_trailers() {
    for name in ["not an id ", &"🙂".repeat(1_000), &"\u{10ffff}".repeat(1_000), &"\"".repeat(500)] {
        let invalid = many_faults(name);
        let count = invalid.count();
        let batch = ApiError::from(invalid.clone()).batch_error();
        assert!(batch.encoded_len() < 4_000, "{}", batch.encoded_len());
        let status = Status::from(invalid);
        let details = status.details().len();
        assert!(details.div_ceil(3) * 4 <= 6 * 1024, "{details} bytes for {name:.20}");
        assert!(status.message().len() < 1_500, "{}", status.message());
        let bad = status.get_details_bad_request().unwrap().field_violations;
        assert!(bad.len() > 1 && bad.len() <= VIOLATIONS);
        let more = format!("and {} more", count - (bad.len() - 1));
        assert_eq!(bad.last().unwrap().description, more);
    }
}

#[test]
fn few_faults_are_all_told_and_said() {
    let mut request = schedule();
    let spec = request.spec.as_mut().unwrap();
    (spec.duration, spec.priority) = (None, -1);
    let status = Status::from(requests::schedule(request).unwrap_err());
    let said = "spec.duration: is required; spec.priority: must not be negative, and is -1";
    assert_eq!(status.message(), said);
    assert_eq!(status.get_details_bad_request().unwrap().field_violations.len(), 2);
}

#[test]
fn the_descriptor_names_both_services() {
    let text = String::from_utf8_lossy(pb::DESCRIPTOR);
    assert!(text.contains("SchedulerService") && text.contains("ParticipantService"));
}
