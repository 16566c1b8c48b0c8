//! Small good messages to start from.

use prost_types::{Duration, Timestamp};
use quorate::wire::InvalidRequest;
use quorate::wire::pb;

pub const UUID: &str = "0b8f5c1e-3f0d-4c77-9a52-6d1f2e9b7a10";
/// 2026-12-01T10:00:00Z.
pub const TEN: i64 = 1_796_119_200;

pub fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

pub fn lasting(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

pub fn range(start: i64, end: i64) -> pb::TimeRange {
    pb::TimeRange { start_time: at(start), end_time: at(end) }
}

pub fn attendee(id: &str) -> pb::Attendee {
    pb::Attendee { participant_id: id.to_owned(), role: 0 }
}

pub fn spec() -> pb::MeetingSpec {
    pb::MeetingSpec {
        title: "Planning".to_owned(),
        attendees: vec![attendee("alice"), attendee("bob")],
        duration: lasting(1_800),
        ..pb::MeetingSpec::default()
    }
}

pub fn schedule() -> pb::ScheduleMeetingRequest {
    pb::ScheduleMeetingRequest { spec: Some(spec()), ..pb::ScheduleMeetingRequest::default() }
}

/// The paths of the bad fields.
pub fn fields<T: std::fmt::Debug>(result: Result<T, InvalidRequest>) -> Vec<String> {
    match result {
        Ok(_) => Vec::new(),
        Err(invalid) => invalid.violations().into_iter().map(|violation| violation.field).collect(),
    }
}

/// The descriptions of the bad fields.
pub fn descriptions<T: std::fmt::Debug>(result: Result<T, InvalidRequest>) -> Vec<String> {
    let invalid = result.expect_err("a bad request was taken");
    invalid.violations().into_iter().map(|violation| violation.description).collect()
}
