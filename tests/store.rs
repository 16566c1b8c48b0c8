//! The conformance suite of the store: what `engine::store` promises, asked of every implementation, and
//! what only the one on disk has to stand.

#[path = "store/disk.rs"]
mod disk;
#[path = "store/doctor.rs"]
mod doctor;
#[path = "store/lists.rs"]
mod lists;
#[path = "store/make.rs"]
mod make;
#[path = "store/random.rs"]
mod random;
#[path = "support/say.rs"]
mod say;
#[path = "store/series.rs"]
mod series;
#[path = "store/suite.rs"]
mod suite;
#[path = "store/upgrade.rs"]
mod upgrade;

use std::sync::Arc;

use quorate::core::record::Snapshot;
use quorate::engine::store::{Operation, OperationResult, Reader, Store, StoreError};
use quorate::store::{MemoryStore, SqliteStore};

/// Makes an empty store that keeps so many events.
pub type Factory = fn(events_kept: u64) -> Box<dyn Store>;

/// A store on a file, with the directory that it lies in.
struct OnFile {
    store: SqliteStore,
    _directory: tempfile::TempDir,
}

impl Store for OnFile {
    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        self.store.snapshot()
    }

    fn run(&mut self, group: &[Operation]) -> Result<Vec<OperationResult>, StoreError> {
        self.store.run(group)
    }

    fn reader(&self) -> Arc<dyn Reader> {
        self.store.reader()
    }
}

fn on_file(events_kept: u64) -> Box<dyn Store> {
    let directory = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(&directory.path().join("quorate.db")).expect("a store");
    Box::new(OnFile { store: store.keep_events(events_kept), _directory: directory })
}

fn in_memory(events_kept: u64) -> Box<dyn Store> {
    Box::new(SqliteStore::in_memory().expect("a store").keep_events(events_kept))
}

fn on_collections(events_kept: u64) -> Box<dyn Store> {
    Box::new(MemoryStore::new().keep_events(events_kept))
}

macro_rules! conformance {
    ($($suite:ident: $($case:ident),+ $(,)?;)+) => {
        mod sqlite_on_file {
            $($(#[test] fn $case() { super::$suite::$case(super::on_file); })+)+
        }
        mod sqlite_in_memory {
            $($(#[test] fn $case() { super::$suite::$case(super::in_memory); })+)+
        }
        mod collections {
            $($(#[test] fn $case() { super::$suite::$case(super::on_collections); })+)+
        }
    };
}

conformance! {
    suite:
        a_new_store_is_empty,
        attempt_conditions,
        meeting_conditions,
        greatest_number_condition,
        displaceable_reads,
        participant_conditions,
        overlap_condition,
        overlap_beyond_longer_rows,
        generation_condition,
        a_conflict_changes_nothing_and_spares_the_others,
        a_group_is_in_order_and_reads_see_what_came_before,
        a_request_id_has_one_meeting,
        attempt_writes,
        booking_writes,
        delivery_writes,
        participant_writes,
        strangers_can_be_forgotten,
        numbers_keep_all_their_bits,
        snapshot_is_live_work_only,
        promises_of_a_participant,
        reads_of_what_is_missing;
    lists:
        events_are_numbered_in_order,
        events_by_meeting_and_attendee,
        events_beyond_one_look,
        events_are_pruned,
        meetings_page_by_page,
        meetings_by_range_state_and_attendee,
        meetings_move_in_the_list,
        booked_meetings_are_counted,
        readers_see_whole_groups_from_other_threads,
        readers_see_who_acknowledged;
    series:
        series_conditions,
        a_series_is_read_with_its_meetings,
        a_snapshot_has_the_series_with_work,
        a_booking_tells_its_series,
        series_page_by_page_by_whom_and_how_they_stand;
}
