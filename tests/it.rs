//! A real scheduler within the test process, real TCP, real clients, and agents of two kinds: a scripted one that can
//! be told to misbehave, and the one that is shipped. One binary; each test has a scheduler of its own.
//!
//! Nothing here sleeps to let something happen: tests wait for messages and events, each with a deadline.

#[allow(clippy::unwrap_used, clippy::expect_used)]
mod it {
    #[path = "../support/say.rs"]
    mod say;
    mod support;

    mod admin;
    mod bad_input;
    mod batch;
    mod calendars;
    mod change;
    mod completions;
    mod concurrency;
    mod displacing;
    mod hostile;
    mod live;
    mod operations;
    mod parity;
    mod process;
    mod reads;
    mod restart;
    mod schedule;
    mod series;
    mod server;
    mod shares;
    mod stalled;
    mod streams;
    mod tracing;
    mod watching;
    mod zones;
}
