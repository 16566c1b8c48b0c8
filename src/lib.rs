//! quorate books meetings among participants who keep their own calendars.
//!
//! Modules from the bottom to the top; arrows point down only (a test reads the `use` lines).

pub mod core;
