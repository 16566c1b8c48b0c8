//! What must hold of everything that comes from outside, whatever the bytes say. Each function takes one input and
//! panics if a property does not hold. The fuzz targets call them with made-up bytes; `tests/corpus.rs` calls the
//! same functions with every file of `corpus/`, in the normal test command.

mod bytes;
mod calendar;
mod coordinator;
mod frames;
mod participant;
mod requests;
mod series;

pub use calendar::calendar;
pub use coordinator::coordinator;
pub use frames::{join_request, join_response, register};
pub use participant::participant;
pub use requests::requests;
pub use series::series;

/// Takes one input, and panics if a property does not hold.
pub type Property = fn(&[u8]);

/// All of them, each by the name of its target and of its folder in `corpus/`.
pub const TARGETS: [(&str, Property); 8] = [
    ("calendar", calendar),
    ("coordinator", coordinator),
    ("join_request", join_request),
    ("join_response", join_response),
    ("participant", participant),
    ("register", register),
    ("requests", requests),
    ("series", series),
];
