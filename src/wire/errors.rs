//! The one place that says which gRPC status an error is: code, `ErrorInfo.reason`, words and details (AIP-193).

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation as PbViolation, StatusExt};

use crate::core::ids::{MeetingId, ParticipantId, RequestId, SeriesId};
use crate::core::model::MeetingState;
use crate::core::series::SeriesState;

use super::pb;
use super::validate::InvalidRequest;

/// `ErrorInfo.domain` of all errors.
pub const DOMAIN: &str = "quorate";

/// Most bytes that the listed violations may take in a status. Details travel base64 encoded in the trailers, together
/// with two copies of the message, and clients refuse trailers of more than 8 KiB.
const STATUS_BYTES: usize = 3_600;

/// The same for one request of a batch, so that an answer with a thousand of them stays below 4 MiB.
const BATCH_BYTES: usize = 2_048;

/// Every way in which a call can end that is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApiError {
    /// Bad fields.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// No meeting has this id.
    #[error("there is no meeting {0}")]
    MeetingNotFound(MeetingId),
    /// No series has this id.
    #[error("there is no series {0}")]
    SeriesNotFound(SeriesId),
    /// No participant ever registered with this id.
    #[error("no participant has registered as {0}")]
    ParticipantNotFound(ParticipantId),
    /// The etag is not the present one of the meeting or series.
    #[error("it was changed since: its etag is another one; read it again")]
    EtagMismatch,
    /// A change of the meeting is under way.
    #[error("another change of the meeting is under way; read it again when that is decided")]
    MeetingBeingChanged,
    /// The request id was used with another body.
    #[error("request_id {0} was used before, with another body")]
    RequestIdReused(RequestId),
    /// Only a confirmed meeting can be moved or changed.
    #[error("the meeting is {}, not CONFIRMED", state_name(*.0))]
    MeetingNotConfirmed(MeetingState),
    /// A meeting that failed can't be called off.
    #[error("the meeting FAILED: there is nothing to cancel")]
    MeetingFailed,
    /// Only a confirmed series can be moved or changed.
    #[error("the series is {}, not CONFIRMED", series_state_name(*.0))]
    SeriesNotConfirmed(SeriesState),
    /// A series that failed can't be called off.
    #[error("the series FAILED: there is nothing to cancel")]
    SeriesFailed,
    /// The series is being booked or changed.
    #[error("the series is being booked or changed; read it again when that is decided")]
    SeriesBeingChanged,
    /// Too much work.
    #[error("the scheduler is overloaded; try again in {retry_after:?}")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// One caller has too much open.
    #[error("this caller has {max} {what} open already, as many as it may; try again in {retry_after:?}")]
    CallerLimit {
        /// What: requests, or streams.
        what: &'static str,
        /// How many it may have.
        max: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// The reader of a stream is too slow.
    #[error("the stream is read too slowly: too many messages wait for it")]
    SlowReader,
    /// The scheduler is going away.
    #[error("the scheduler is shutting down; the same request_id finds the outcome later")]
    ShuttingDown,
    /// The store can't be read or written.
    #[error("the store is not available at this moment; the same request_id finds the outcome later")]
    StoreUnavailable,
    /// Events that were asked for are no longer kept.
    #[error(
        "the events after {after} are no longer kept: the oldest is {oldest}; list the meetings, then resume"
    )]
    EventsPruned {
        /// What was asked for.
        after: u64,
        /// The oldest sequence that is kept.
        oldest: u64,
    },
    /// The events that were asked for are of another store than this one, which has not come as far.
    #[error(
        "there is no event {after}: the newest is {newest}, of a store that was restored or begun anew; list the \
         meetings, then resume"
    )]
    EventsAhead {
        /// What was asked for.
        after: u64,
        /// The newest sequence that there is.
        newest: u64,
    },
    /// The caller's deadline came before the decision.
    #[error("the deadline of the call came first; the same request_id finds the outcome later")]
    DeadlineExceeded,
    /// The first frame of a stream had no register.
    #[error("the first frame of a stream must hold a register")]
    RegisterMissing,
    /// The first frame of a stream did not come in time.
    #[error("no first frame came in time")]
    RegisterTimeout,
    /// A fault of ours, whose words belong in the log.
    #[error("an internal error; the scheduler's log says more")]
    Internal,
}

impl ApiError {
    /// The canonical status code.
    pub fn code(&self) -> Code {
        self.entry().0
    }

    /// `ErrorInfo.reason`.
    pub fn reason(&self) -> &'static str {
        self.entry().1
    }

    fn entry(&self) -> (Code, &'static str) {
        match self {
            Self::Invalid(_) => (Code::InvalidArgument, "INVALID_REQUEST"),
            Self::MeetingNotFound(_) => (Code::NotFound, "MEETING_NOT_FOUND"),
            Self::SeriesNotFound(_) => (Code::NotFound, "SERIES_NOT_FOUND"),
            Self::ParticipantNotFound(_) => (Code::NotFound, "PARTICIPANT_NOT_FOUND"),
            Self::EtagMismatch => (Code::Aborted, "ETAG_MISMATCH"),
            Self::MeetingBeingChanged => (Code::Aborted, "MEETING_BEING_CHANGED"),
            Self::RequestIdReused(_) => (Code::AlreadyExists, "REQUEST_ID_REUSED"),
            Self::MeetingNotConfirmed(_) => (Code::FailedPrecondition, "MEETING_NOT_CONFIRMED"),
            Self::MeetingFailed => (Code::FailedPrecondition, "MEETING_FAILED"),
            Self::SeriesNotConfirmed(_) => (Code::FailedPrecondition, "SERIES_NOT_CONFIRMED"),
            Self::SeriesFailed => (Code::FailedPrecondition, "SERIES_FAILED"),
            Self::SeriesBeingChanged => (Code::Aborted, "SERIES_BEING_CHANGED"),
            Self::Overloaded { .. } => (Code::ResourceExhausted, "OVERLOADED"),
            Self::CallerLimit { .. } => (Code::ResourceExhausted, "CALLER_LIMIT"),
            Self::SlowReader => (Code::ResourceExhausted, "SLOW_READER"),
            Self::ShuttingDown => (Code::Unavailable, "SHUTTING_DOWN"),
            Self::StoreUnavailable => (Code::Unavailable, "STORE_UNAVAILABLE"),
            Self::EventsPruned { .. } => (Code::OutOfRange, "EVENTS_PRUNED"),
            Self::EventsAhead { .. } => (Code::OutOfRange, "EVENTS_AHEAD"),
            Self::DeadlineExceeded => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            Self::RegisterMissing => (Code::InvalidArgument, "REGISTER_MISSING"),
            Self::RegisterTimeout => (Code::DeadlineExceeded, "REGISTER_TIMEOUT"),
            Self::Internal => (Code::Internal, "INTERNAL"),
        }
    }

    /// What a program may want to know beside the reason: `ErrorInfo.metadata`.
    fn metadata(&self) -> HashMap<String, String> {
        let entry = |key: &str, value: String| HashMap::from([(key.to_owned(), value)]);
        match self {
            Self::MeetingNotFound(id) => entry("meeting_id", id.to_string()),
            Self::SeriesNotFound(id) => entry("series_id", id.to_string()),
            Self::ParticipantNotFound(id) => entry("participant_id", id.to_string()),
            Self::RequestIdReused(id) => entry("request_id", id.to_string()),
            Self::MeetingNotConfirmed(state) => entry("state", state_name(*state).to_owned()),
            Self::SeriesNotConfirmed(state) => entry("state", series_state_name(*state).to_owned()),
            Self::EventsPruned { oldest, .. } => entry("oldest", oldest.to_string()),
            Self::EventsAhead { newest, .. } => entry("newest", newest.to_string()),
            _ => HashMap::new(),
        }
    }

    /// The error of one request of a batch.
    pub fn batch_error(&self) -> pb::BatchError {
        let violations = match self {
            Self::Invalid(invalid) => invalid.violations_within(BATCH_BYTES),
            _ => Vec::new(),
        };
        let violation = |violation: super::validate::FieldViolation| pb::BatchFieldViolation {
            field: violation.field,
            description: violation.description,
        };
        pb::BatchError {
            code: self.code() as i32,
            message: self.to_string(),
            reason: self.reason().to_owned(),
            field_violations: violations.into_iter().map(violation).collect(),
        }
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let mut details = ErrorDetails::with_error_info(error.reason(), DOMAIN, error.metadata());
        match &error {
            ApiError::Invalid(invalid) => {
                let violations = invalid.violations_within(STATUS_BYTES).into_iter();
                let violations = violations.map(|v| PbViolation::new(v.field, v.description));
                details.set_bad_request(violations.collect::<Vec<_>>());
            }
            ApiError::Overloaded { retry_after } | ApiError::CallerLimit { retry_after, .. } => {
                details.set_retry_info(Some(*retry_after));
            }
            _ => {}
        }
        Status::with_error_details(error.code(), error.to_string(), details)
    }
}

impl From<InvalidRequest> for Status {
    fn from(invalid: InvalidRequest) -> Self {
        ApiError::Invalid(invalid).into()
    }
}

fn series_state_name(state: SeriesState) -> &'static str {
    match state {
        SeriesState::Scheduling => "SCHEDULING",
        SeriesState::Confirmed => "CONFIRMED",
        SeriesState::Failed => "FAILED",
        SeriesState::Cancelled => "CANCELLED",
    }
}

fn state_name(state: MeetingState) -> &'static str {
    match state {
        MeetingState::Scheduling => "SCHEDULING",
        MeetingState::Confirmed => "CONFIRMED",
        MeetingState::Failed => "FAILED",
        MeetingState::Cancelled => "CANCELLED",
        MeetingState::Displaced => "DISPLACED",
    }
}

/// A code as its specification writes it (gRPC, "Status codes and their use").
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
