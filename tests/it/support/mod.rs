//! What the tests stand on.

mod ask;
mod calendar;
mod collector;
mod host;
mod http;
mod person;
mod process;
mod program;
mod world;

pub use ask::*;
pub use calendar::*;
pub use collector::{Collector, Exported, Manner};
pub use host::{Host, State as HostState};
pub use http::{Answer, http};
pub use person::{Free, Mode, Person, overlap, says};
pub use process::{Serve, stderr_of};
pub use program::Program;
pub use world::*;

pub use quorate::wire::pb;

use std::time::Duration;

/// How long a test waits for something that has to happen. Only a test that fails takes so long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The future's output, or a panic that says what was waited for.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited for {PATIENCE:?} in vain: {what}"),
    }
}
