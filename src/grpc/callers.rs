//! Limits per caller, so that no organizer can take everybody's places. A caller is the address that a connection comes
//! from: until there is authentication nothing else tells callers apart. Of IPv6 it is the network of 64 bits, which is one
//! host's as a rule. Behind a proxy all are one caller.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use tokio::sync::Semaphore;
use tonic::Request;

use super::trace::RequestTrace;
use crate::core::limits;
use crate::core::model::MeetingSpec;
use crate::engine::{Opener, Seat};
use crate::wire::{ApiError, InvalidRequest};

/// What a caller may ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallerLimits {
    /// Requests and watches that may be open at once.
    pub open: usize,
    /// Streams of agent hosts that may be open at once.
    pub streams: usize,
    /// Participants that these may speak for at a time, together.
    pub participants: usize,
    /// The highest priority that may be asked for.
    pub priority: i32,
    /// The same for callers of these networks; of several the narrowest counts.
    pub priorities: Vec<(IpNet, i32)>,
}

impl Default for CallerLimits {
    fn default() -> Self {
        Self {
            open: limits::REQUESTS_PER_CALLER,
            streams: limits::STREAMS_PER_CALLER,
            participants: limits::PARTICIPANTS_PER_CALLER,
            priority: limits::PRIORITY_MAX,
            priorities: Vec::new(),
        }
    }
}

impl CallerLimits {
    fn priority_of(&self, caller: Option<IpAddr>) -> i32 {
        let mine =
            self.priorities.iter().filter(|(net, _)| caller.is_some_and(|address| net.contains(&address)));
        mine.max_by_key(|(net, _)| net.prefix_len()).map_or(self.priority, |(_, priority)| *priority)
    }
}

/// Who has how much open. Nobody is kept who has nothing.
#[derive(Clone, Debug)]
pub(super) struct Callers {
    limits: Arc<CallerLimits>,
    open: Arc<Mutex<HashMap<IpAddr, Open>>>,
}

/// What one caller has open.
#[derive(Debug)]
struct Open {
    requests: usize,
    streams: usize,
    /// What its streams share.
    share: Arc<Semaphore>,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Request,
    Stream,
}

impl Open {
    fn new() -> Self {
        Self { requests: 0, streams: 0, share: Arc::new(Semaphore::new(limits::CALLER_UNSETTLED as usize)) }
    }

    fn count(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Request => &mut self.requests,
            Kind::Stream => &mut self.streams,
        }
    }
}

/// One open request or stream of a caller. It lasts as long as the engine works on it, also if the caller hangs up.
#[derive(Debug)]
struct Taken {
    caller: IpAddr,
    kind: Kind,
    open: Arc<Mutex<HashMap<IpAddr, Open>>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = all.get_mut(&self.caller) {
            *open.count(self.kind) -= 1;
            if open.requests == 0 && open.streams == 0 {
                all.remove(&self.caller);
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
        // One caller is one, whichever way the listener has it.
        address: request.remote_addr().map(|address| address.ip().to_canonical()),
        trace: request.extensions().get().cloned(),
    }
}

/// What an address counts as.
fn counted(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => (address & Ipv6Addr::from(u128::MAX << 64)).into(),
    }
}

impl Callers {
    pub(super) fn new(limits: CallerLimits) -> Self {
        Self { limits: Arc::new(limits), open: Arc::default() }
    }

    /// A seat for one more request.
    ///
    /// # Errors
    /// The caller has as many open as it may.
    pub(super) fn seat(&self, caller: &Caller) -> Result<Seat, ApiError> {
        let taken = self.take(caller, Kind::Request)?;
        Ok(taken.map_or_else(Seat::default, |(_, taken, _)| Seat::taken(taken)))
    }

    /// Who opens one more stream; none within the process.
    ///
    /// # Errors
    /// The caller has as many open as it may.
    pub(super) fn opener(&self, caller: &Caller) -> Result<Option<Opener>, ApiError> {
        let participants = self.limits.participants;
        Ok(self.take(caller, Kind::Stream)?.map(|(address, taken, share)| Opener {
            caller: crate::core::coordinator::Caller { address, participants },
            share,
            seat: Seat::taken(taken),
        }))
    }

    fn take(&self, caller: &Caller, kind: Kind) -> Result<Option<(IpAddr, Taken, Arc<Semaphore>)>, ApiError> {
        let Some(caller) = caller.address.map(counted) else { return Ok(None) };
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (max, what) = match kind {
            Kind::Request => (self.limits.open, "requests"),
            Kind::Stream => (self.limits.streams, "streams"),
        };
        let open = all.entry(caller).or_insert_with(Open::new);
        if *open.count(kind) >= max {
            return Err(ApiError::CallerLimit { what, max, retry_after: super::RETRY_AFTER });
        }
        *open.count(kind) += 1;
        let share = open.share.clone();
        drop(all);
        Ok(Some((caller, Taken { caller, kind, open: self.open.clone() }, share)))
    }

    /// Whether the caller may ask for a meeting of this priority.
    ///
    /// # Errors
    /// It is above the cap; `field` names the spec.
    pub(super) fn may_ask_for(
        &self,
        caller: &Caller,
        spec: &MeetingSpec,
        field: &str,
    ) -> Result<(), InvalidRequest> {
        let cap = self.limits.priority_of(caller.address);
        match spec.priority <= cap {
            true => Ok(()),
            false => Err(InvalidRequest::one(
                format!("{field}.priority"),
                format!("is {}, and this scheduler takes at most {cap} from this caller", spec.priority),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_is_one_caller() {
        let callers = Callers::new(CallerLimits { open: 1, ..CallerLimits::default() });
        let caller = |address: &str| Caller { address: Some(address.parse().unwrap()), ..Caller::default() };
        let _kept = callers.seat(&caller("2001:db8::1")).unwrap();
        assert!(callers.seat(&caller("2001:db8::ffff:ffff:ffff:ffff")).is_err());
        let _other = callers.seat(&caller("2001:db8:0:1::1")).unwrap();
        let _older = callers.seat(&caller("192.0.2.1")).unwrap();
        assert!(callers.seat(&caller("192.0.2.1")).is_err() && callers.seat(&caller("192.0.2.2")).is_ok());
    }

    #[test]
    fn the_narrowest_network_says_how_high_a_caller_may_ask() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let limits = CallerLimits {
            priority: 10,
            priorities: vec![
                (net("10.0.0.0/8"), 50),
                (net("10.1.0.0/16"), 90),
                (net("10.0.0.0/9"), 60),
                (net("::1/128"), 100),
            ],
            ..CallerLimits::default()
        };
        let of = |address: &str| limits.priority_of(Some(address.parse().unwrap()));
        assert_eq!(
            [of("10.1.2.3"), of("10.2.0.1"), of("10.200.0.1"), of("::1"), of("192.0.2.1")],
            [90, 60, 50, 100, 10]
        );
        assert_eq!(limits.priority_of(None), 10);
    }
}
