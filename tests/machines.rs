//! Every transition of the two machines, one by one: the tables at the top of `core::participant` and
//! `core::coordinator`, and the table "Registration is reconciliation" of PROTOCOL.md.

#[path = "machines/agent.rs"]
mod agent;
#[path = "machines/changes.rs"]
mod changes;
#[path = "machines/desk.rs"]
mod desk;
#[path = "machines/displacing.rs"]
mod displacing;
#[path = "machines/lies.rs"]
mod lies;
#[path = "machines/looking.rs"]
mod looking;
#[path = "machines/names.rs"]
mod names;
#[path = "machines/registration.rs"]
mod registration;
#[path = "machines/scheduler.rs"]
mod scheduler;
#[path = "machines/series.rs"]
mod series;
#[path = "machines/series_review.rs"]
mod series_review;
#[path = "machines/series_standing.rs"]
mod series_standing;
#[path = "machines/series_times.rs"]
mod series_times;
#[path = "machines/tracing.rs"]
mod tracing;
