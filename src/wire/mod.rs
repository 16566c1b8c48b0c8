//! The wire: the generated types, and the way between them and the core's, with all validation.
//!
//! The core's types can't say what is not allowed, so every check of outside input is here: [`requests`] for
//! organizers, [`agent_frames`] for agent hosts, [`scheduler_frames`] for what an agent hears. All bad fields of a
//! message are found in one go (AIP-193), and none of these functions panics, whatever the bytes say.

pub mod agent_frames;
pub mod errors;
pub mod frames;
pub mod meetings;
pub mod pages;
pub mod requests;
pub mod scalars;
pub mod scheduler_frames;
pub mod series;
pub mod spec;
pub mod validate;

pub use errors::ApiError;
pub use validate::InvalidRequest;

/// The types and services of `quorate.v1`, generated from the protos.
pub mod pb {
    #![allow(missing_docs, clippy::all, rustdoc::all)]

    tonic::include_proto!("quorate.v1");

    /// The descriptors of `quorate.v1` and all that it imports (a `FileDescriptorSet`), for server reflection.
    pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/quorate_descriptor.bin"));
}
