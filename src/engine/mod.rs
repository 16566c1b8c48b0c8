//! Runs the core: one loop owns the coordinator, the store commits in groups on a thread of its own, and
//! effects are carried out only after what they rest on is committed.
//!
//! Outside sees an [`EngineHandle`] and, for each stream of an agent host, a [`Session`]. Never a channel.

mod clock;
mod directory;
mod handle;
mod run;
mod session;
pub mod spans;
pub mod store;
mod vitals;
mod writer;

pub use clock::Clock;
pub use directory::{Directory, DirectoryChange, ParticipantView};
pub use handle::{EngineError, EngineHandle, Seat};
pub use run::{start, start_traced, start_with};
pub use session::{End, Opener, Outgoing, Place, Session};
pub use vitals::{StoreVitals, Vitals};
pub use writer::StoreRuns;
