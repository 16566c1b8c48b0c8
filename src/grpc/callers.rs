//! Limits per caller, so that no organizer can take everybody's places. A caller is the address that a connection comes
//! from: until there is authentication nothing else tells callers apart. Behind a proxy all are one caller.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tonic::Request;

use super::trace::RequestTrace;
use crate::core::limits;
use crate::core::model::MeetingSpec;
use crate::engine::Seat;
use crate::wire::{ApiError, InvalidRequest};

/// What a caller may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallerLimits {
    /// Requests and watches that may be open at once.
    pub open: usize,
    /// The highest priority that may be asked for.
    pub priority: i32,
}

impl Default for CallerLimits {
    fn default() -> Self {
        Self { open: limits::REQUESTS_PER_CALLER, priority: limits::PRIORITY_MAX }
    }
}

/// Who has how many requests open. Nobody is kept who has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Callers {
    limits: CallerLimits,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One open request of a caller. It lasts as long as the engine works on it, also if the caller hangs up.
#[derive(Debug)]
struct Open {
    caller: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.caller);
            }
        }
    }
}

/// Where a request comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller {
    /// Its address; `None` within the process.
    address: Option<IpAddr>,
    /// Its place in a trace.
    pub(super) trace: Option<RequestTrace>,
}

impl Caller {
    /// The same for a request that asks for many meetings.
    pub(super) fn of_many(self) -> Self {
        Self { trace: self.trace.map(RequestTrace::of_many), ..self }
    }
}

/// Where a request comes from.
pub(super) fn caller<T>(request: &Request<T>) -> Caller {
    Caller {
        address: request.remote_addr().map(|address| address.ip()),
        trace: request.extensions().get().cloned(),
    }
}

impl Callers {
    pub(super) fn new(limits: CallerLimits) -> Self {
        Self { limits, open: Arc::default() }
    }

    /// A seat for one more request.
    ///
    /// # Errors
    /// The caller has as many open as it may.
    pub(super) fn seat(&self, caller: &Caller) -> Result<Seat, ApiError> {
        let Some(caller) = caller.address else { return Ok(Seat::default()) };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(caller).or_default();
        if *count >= self.limits.open {
            let max = self.limits.open;
            return Err(ApiError::CallerLimit { max, retry_after: super::RETRY_AFTER });
        }
        *count += 1;
        drop(open);
        Ok(Seat::taken(Open { caller, open: self.open.clone() }))
    }

    /// Whether the caller may ask for a meeting of this priority.
    ///
    /// # Errors
    /// It is above the cap; `field` names the spec.
    pub(super) fn may_ask_for(&self, spec: &MeetingSpec, field: &str) -> Result<(), InvalidRequest> {
        let cap = self.limits.priority;
        match spec.priority <= cap {
            true => Ok(()),
            false => Err(InvalidRequest::one(
                format!("{field}.priority"),
                format!("is {}, and this scheduler takes at most {cap}", spec.priority),
            )),
        }
    }
}
