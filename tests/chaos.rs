//! The real program under faults: `quorate serve` and `quorate agent` as processes that are killed, frozen, cut off
//! from each other, run out of disk and find their files damaged, while organizers book, move, change and cancel.
//!
//! Afterwards a checker that sees nothing but files looks at the scheduler's database, the agents' journals and calendar
//! files, and what the organizers were told.
//!
//! `KILLS=5000 cargo test --release --test chaos killed -- --nocapture` runs a long campaign, `CHAOS_SEED=…` the same
//! plan of faults again (not the same interleaving: these are real processes). `PARTITIONS=500` does the same for
//! `cut_off`. What needs root, namespaces or mounts says SKIPPED where it can't have them.
//!
//! Pauses in here are faults and the pace of clients; nothing waits for an effect by sleeping.

#[allow(clippy::unwrap_used, clippy::expect_used)]
mod chaos {
    mod calls;
    mod campaign;
    mod checker;
    mod damage;
    mod disk;
    mod doctored;
    mod evidence;
    mod network;
    mod organizer;
    mod partition;
    mod process;
    mod support;
    mod world;
}
