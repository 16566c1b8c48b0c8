//! Names of things, as types that can't be mixed up.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is; whoever reads it from outside validates it first.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A participant: whoever has a calendar of their own.
    ParticipantId
}
text_id! {
    /// A meeting: a UUID in lower case.
    MeetingId
}
text_id! {
    /// An organizer's request: a UUID in lower case (AIP-155).
    RequestId
}
text_id! {
    /// A recurring meeting: a UUID in lower case.
    SeriesId
}
text_id! {
    /// One fan-out of availability queries.
    QueryId
}

/// Numbers a meeting's attempts over all lives of the scheduler's store: never used twice
/// (PROTOCOL.md, "The choice"). The store's generation is its upper half, so that a store restored from an
/// older copy can't give a number again; in the first generation (0) the numbers read 1, 2, 3.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptNumber(pub u64);

impl AttemptNumber {
    /// The `count`-th attempt (from 1) within a generation.
    pub const fn new(generation: u32, count: u32) -> Self {
        Self(((generation as u64) << 32) | count as u64)
    }

    /// The number after `last`, which may stem from an older generation.
    pub fn after(last: Option<Self>, generation: u32) -> Self {
        match last {
            Some(last) if last.0 >> 32 >= u64::from(generation) => Self(last.0 + 1),
            _ => Self::new(generation, 1),
        }
    }

    /// The store's generation that gave it out.
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Display for AttemptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One try at booking one slot for one meeting.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt {
    /// The meeting.
    pub meeting: MeetingId,
    /// Its number within the meeting.
    pub n: AttemptNumber,
}

impl Attempt {
    /// Names the attempt `n` of `meeting`.
    pub fn new(meeting: MeetingId, n: AttemptNumber) -> Self {
        Self { meeting, n }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.meeting, self.n)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.meeting, self.n)
    }
}

/// Numbers one participant's registrations; messages of older ones don't count (PROTOCOL.md, I7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub i64);

/// Numbers the lives of one participant's journal; votes of older ones are void (PROTOCOL.md, I7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lineage(pub i64);

/// One stream of an agent host, for as long as the process lives. They are numbered as they are opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SessionId(pub u64);

/// One caller that waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ticket(pub u64);
