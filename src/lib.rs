//! quorate books meetings among participants who keep their own calendars.
//!
//! Each participant's agent registers over a stream, answers availability queries and promises slots; the
//! scheduler asks everyone at once, picks the best slot and books it with all who are needed or with nobody.
//! ARCHITECTURE.md tells where everything lives, and why.
//!
//! Modules from the bottom to the top; arrows point down only (a test reads the `use` lines).

pub mod core;
pub mod engine;
pub mod wire;

pub mod agent;
pub mod grpc;
pub mod store;

pub mod admin;

pub mod app;
pub mod cli;
