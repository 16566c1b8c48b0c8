//! Decides. No I/O, no clock, no runtime: time and randomness are arguments.

pub mod ids;
pub mod limits;
pub mod model;
pub mod recurrence;
pub mod time;
pub mod zone_data;
pub mod zones;

pub mod availability;
pub mod ranking;
pub mod reasons;
pub mod round;
pub mod slots;

pub mod batch;
pub mod listing;
pub mod measure;
pub mod message;
pub mod random;
pub mod record;
pub mod series;
pub mod trace;

pub mod checks;
pub mod checkup;
pub mod coordinator;
pub mod displacement;
pub mod invariants;
pub mod participant;
pub mod planted;
