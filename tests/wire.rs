//! What travels: every bad field is named, everything good survives the way there and back, nothing panics.

#[path = "wire/errors.rs"]
mod errors;
#[path = "wire/frames.rs"]
mod frames;
#[path = "wire/fuzz.rs"]
mod fuzz;
#[path = "wire/requests.rs"]
mod requests;
#[path = "wire/round_trips.rs"]
mod round_trips;
#[path = "wire/samples.rs"]
mod samples;
#[path = "wire/specs.rs"]
mod specs;
