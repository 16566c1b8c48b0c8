//! The services: thin. A handler reads the request, hands a command to the engine, and writes the reply.
//!
//! Invariant: no decision and no commit lives in a handler's future; it is dropped when its client leaves.

mod batch;
mod callers;
mod homes;
mod join;
mod measure;
mod organizer;
mod series;
mod server;
mod trace;
mod watch;

pub use callers::CallerLimits;
pub use measure::RequestMetrics;
pub use server::{BoxError, Grpc, ServeError, serve, serve_incoming};

use crate::core::coordinator::{Refused, Reply};
use crate::core::ids::RequestId;
use crate::engine::EngineError;
use crate::engine::store::StoreError;
use crate::wire::{ApiError, InvalidRequest};

/// How long an overloaded caller is told to wait.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(500);

/// The one place where the engine's refusals become errors of the API.
fn refused(refused: Refused, request_id: Option<&RequestId>) -> ApiError {
    match refused {
        Refused::NoSuchMeeting(id) => ApiError::MeetingNotFound(id),
        Refused::NoSuchSeries(id) => ApiError::SeriesNotFound(id),
        Refused::VersionMismatch => ApiError::EtagMismatch,
        Refused::NotConfirmed(state) => ApiError::MeetingNotConfirmed(state),
        Refused::AlreadyFailed => ApiError::MeetingFailed,
        Refused::BeingChanged => ApiError::MeetingBeingChanged,
        Refused::SeriesNotConfirmed(state) => ApiError::SeriesNotConfirmed(state),
        Refused::SeriesFailed => ApiError::SeriesFailed,
        Refused::SeriesBeingChanged => ApiError::SeriesBeingChanged,
        Refused::RequestReused => {
            ApiError::RequestIdReused(request_id.cloned().unwrap_or_else(|| RequestId::new("")))
        }
        Refused::Overloaded => ApiError::Overloaded { retry_after: RETRY_AFTER },
        too_many @ Refused::TooManySlots { .. } => {
            InvalidRequest::one("spec.window", too_many.to_string()).into()
        }
        unknown @ Refused::UnknownZone(_) => {
            InvalidRequest::one("spec.window.time_zone", unknown.to_string()).into()
        }
        Refused::Invalid { field, description } => InvalidRequest::one(field, description).into(),
        Refused::ShuttingDown => ApiError::ShuttingDown,
    }
}

fn engine_failed(error: EngineError) -> ApiError {
    match error {
        EngineError::Overloaded => ApiError::Overloaded { retry_after: RETRY_AFTER },
        EngineError::Stopped => ApiError::ShuttingDown,
        EngineError::StoreUnavailable => ApiError::StoreUnavailable,
    }
}

fn store_failed(error: &StoreError) -> ApiError {
    tracing::error!(%error, "a read of the store failed");
    ApiError::StoreUnavailable
}

/// A reply of another kind than the command's: a fault of ours.
fn unexpected(reply: &Reply) -> ApiError {
    tracing::error!(?reply, "the engine answered with something else");
    ApiError::Internal
}
