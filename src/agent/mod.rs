//! The shipped agent: speaks for participants whose calendars are `.ics` files, over one stream to the scheduler.
//!
//! Bottom to top:
//! - [`calendar`]: `.ics` in and out.
//! - [`calendar_time`]: a participant's own time, from a calendar, a zone and working hours.
//! - [`journal`]: what was promised, on disk before anyone hears of it.
//! - `output`: the files that bookings are written to.
//! - `host`: one `core::participant` machine for each participant, over all of these.
//! - `connector`: how the scheduler is connected to.
//! - `link`: the stream, and its coming back.
//! - `watch`: calendar files that change, come and go.
//!
//! [`start`] runs all of it within this process, behind an [`AgentHandle`].

pub mod calendar;
pub mod calendar_time;
pub mod journal;

mod config;
mod connector;
mod handle;
mod host;
mod link;
mod output;
mod watch;

use std::path::PathBuf;

use crate::core::ids::ParticipantId;
use crate::core::zones::UnknownZone;

pub use calendar_time::Unreadable;
pub use config::{
    AgentConfig, Folder, ParticipantConfig, Reading, output_beside, participant_id, participant_of,
};
pub use connector::Connector;
pub use handle::{AgentHandle, start, start_traced, start_with};
pub use journal::JournalError;

/// One participant of a host, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Served {
    /// Who.
    pub participant: ParticipantId,
    /// The calendar's file.
    pub calendar: PathBuf,
    /// How many events it has, or why it can't be read: `file:line: reason`.
    pub events: Result<usize, String>,
    /// What can't be read in a calendar that can: `file:line: reason`, and how many more there are.
    pub degraded: Option<String>,
    /// The participant's IANA zone, if one is known.
    pub time_zone: Option<String>,
    /// How many bookings the journal has.
    pub bookings: usize,
}

/// Why an agent can't start, go on, or do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal failed while something was done for a caller: it was not done.
    #[error("nothing was changed: {0}")]
    NotWritten(String),
    /// A calendar file that was named is not there.
    #[error("there is no calendar {}", path.display())]
    NoCalendar {
        /// Where it should be.
        path: PathBuf,
    },
    /// The folder of calendars can't be listed.
    #[error("the folder {} can't be read: {source}", path.display())]
    Folder {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Neither participants nor a folder were named.
    #[error("the agent has nobody to speak for")]
    Nobody,
    /// An option that is for a single calendar file. Engines of containers make a folder of a mount whose file is missing.
    #[error(
        "{} is a folder, not a calendar file, which {option} is for; if this is a container, the calendar's file is missing on the host",
        path.display()
    )]
    NotForFolders {
        /// Which.
        option: &'static str,
        /// Where the folder is.
        path: PathBuf,
    },
    /// A participant id that no scheduler would take.
    #[error("{id:?} can't be the id of a participant: {reason}")]
    BadId {
        /// What was given.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An id stands twice.
    #[error("{0} has two calendars; a participant has one")]
    Twice(ParticipantId),
    /// An output would overwrite something else.
    #[error("{} is a calendar, or the output of another participant; the bookings need a file of their own", output.display())]
    Overwrites {
        /// The output.
        output: PathBuf,
    },
    /// A participant's time zone, or that of its working hours.
    #[error("{participant}: {error}")]
    UnknownZone {
        /// Whose.
        participant: ParticipantId,
        /// Which.
        error: UnknownZone,
    },
    /// The scheduler's address.
    #[error("{url:?} is no address of a scheduler: {reason}")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The agent does not speak for that participant.
    #[error("this agent does not speak for {0}")]
    UnknownParticipant(ParticipantId),
    /// Another agent speaks for that participant now.
    #[error("another agent speaks for {0} now")]
    Superseded(ParticipantId),
    /// Other agents speak for everyone now.
    #[error(
        "other agents have registered all participants of this one; it does not take them back by itself"
    )]
    AllSuperseded,
    /// The agent has ended.
    #[error("the agent has ended")]
    Ended,
    /// A fault of ours. What was promised is in the journal.
    #[error("the agent failed by a fault of its own; what it promised is in its journal")]
    Panicked,
}
