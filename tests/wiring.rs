//! The real wiring over a simulated network: the tonic services, the engine and the agents' links run as they are, each on
//! a host of [turmoil](https://docs.rs/turmoil), which simulates TCP and time. Links are cut (both ways and one way), held,
//! released and repaired; agent hosts and the scheduler crash and come back; commits fail, or lose their answer. Then faults
//! stop, and everything has to come to rest.
//!
//! - `SEED=17 cargo test --test wiring -- --nocapture` runs one seed again and says what happened.
//! - `SEEDS=5000 cargo test --test wiring -- --nocapture` runs more; `FIRST=1000` begins elsewhere.
//!
//! What this can't reach, or only in part:
//! - The disk. The scheduler's store is [`quorate::store::MemoryStore`], which keeps its content over a crash; the agents'
//!   journals are SQLite files on the real disk. Neither tears a write (`tests/chaos.rs` does).
//! - Threads. Agents' journals and organizers' reads are worked on by real threads while simulated time stands still
//!   (tokio's paused clock waits for `spawn_blocking`), so a disk takes no time here. The store's own thread, of which that clock
//!   knows nothing, is replaced ([`quorate::engine::StoreRuns::OnRuntime`]). Crashes come between ticks, never within a sync
//!   or between a commit and what follows it.
//! - The wall clock, hash maps' order, journals' names, and whether blocking work ends before or after what else its host does
//!   within a tick stay real. A seed gives the same plan of faults and, as long as the answers are the same, of requests; of
//!   the run it gives much, not all.
//! - TCP. A lost segment is never sent again, so that a connection that was cut stalls until HTTP/2's keep-alive ends it,
//!   also if the link was repaired long before; the kernel's own time limits and resets under load don't exist.
//! - Signals and draining: a crash is the end of all tasks at once, and its sockets are closed.

#[allow(clippy::unwrap_used, clippy::expect_used)]
mod wiring {
    mod agents;
    mod alarms;
    mod campaign;
    mod faults;
    mod judge;
    mod lossy;
    mod net;
    mod organizer;
    mod scheduler;
    mod world;
}
