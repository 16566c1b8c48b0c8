//! The scheduler's host: the real engine and services over a store that keeps its content over a crash.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use quorate::core::ids::{Attempt, ParticipantId};
use quorate::core::invariants::StoreView;
use quorate::core::record::{BookingRow, Read, ReadResult, Snapshot, Write};
use quorate::core::time::Instant;
use quorate::engine::store::{MeetingFilter, Operation, OperationResult, Reader, Store, StoreError};
use quorate::engine::{self, EngineHandle, StoreRuns};
use quorate::grpc::{self, Grpc};
use quorate::store::{MemoryDisk, MemoryStore, StoreFault};
use tokio_util::sync::CancellationToken;
use turmoil::net::TcpListener;

use super::net;

/// Groups that a disk which lies about syncs forgets at a crash.
const FORGOTTEN: usize = 20;

/// The scheduler's disk, over all its lives.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<Inner>>);

struct Inner {
    now: MemoryDisk,
    /// Copies from before each of the last groups, oldest first; none unless the disk lies.
    before: Vec<MemoryDisk>,
    lies: bool,
    /// Every attempt that was ever written.
    attempts: BTreeSet<Attempt>,
}

impl Disk {
    /// One that `lies` forgets its last groups at a crash, although it said that they were synced.
    pub fn new(lies: bool) -> Self {
        let (now, before, attempts) = (MemoryDisk::new(), Vec::new(), BTreeSet::new());
        Self(Arc::new(Mutex::new(Inner { now, before, lies, attempts })))
    }

    pub fn fail_next(&self, fault: StoreFault) {
        self.0.lock().unwrap().now.fail_next(fault);
    }

    /// The scheduler has crashed.
    pub fn crashed(&self) {
        let mut inner = self.0.lock().unwrap();
        if let Some(old) = inner.before.first().cloned() {
            inner.now = old;
            inner.before.clear();
        }
    }

    /// All that is on it, of these participants.
    pub fn view(&self, participants: &[ParticipantId]) -> StoreView {
        let inner = self.0.lock().unwrap();
        let mut store = MemoryStore::on(&inner.now.copy());
        let filter = MeetingFilter {
            range: None,
            participant: None,
            states: Vec::new(),
            after: None,
            limit: usize::MAX,
        };
        let meetings = store.reader().meetings(&filter).expect("memory is read");
        let mut view = StoreView {
            meetings: meetings.into_iter().map(|meeting| (meeting.id.clone(), meeting)).collect(),
            deliveries: store.snapshot().expect("memory is read").deliveries,
            ..StoreView::default()
        };
        let reads = inner.attempts.iter().cloned().map(Read::Attempt);
        let promises = participants.iter().cloned().map(|participant| Read::Promises {
            participant,
            reported: Vec::new(),
            after: Instant::UNIX_EPOCH,
        });
        let reads: Vec<Operation> = reads.chain(promises).map(Operation::Read).collect();
        for (read, result) in reads.iter().zip(store.run(&reads).expect("memory is read")) {
            match (read, result) {
                (_, OperationResult::Read(ReadResult::Attempt(Some(found)))) => {
                    view.attempts.insert(found.0.attempt.clone(), found.0);
                }
                (Operation::Read(Read::Promises { participant, .. }), OperationResult::Read(found)) => {
                    let ReadResult::Promises(promises) = found else { continue };
                    for booking in promises.booked {
                        let (attempt, during) = (booking.attempt, booking.blocked);
                        let key = (participant.clone(), attempt.clone());
                        let participant = participant.clone();
                        let row = BookingRow { participant, attempt, during, delivered: false };
                        view.bookings.insert(key, row);
                    }
                }
                _ => {}
            }
        }
        view
    }
}

/// The store of one life.
struct OnDisk {
    disk: Disk,
    store: MemoryStore,
}

impl Store for OnDisk {
    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        self.store.snapshot()
    }

    fn run(&mut self, group: &[Operation]) -> Result<Vec<OperationResult>, StoreError> {
        let mut inner = self.disk.0.lock().unwrap();
        for operation in group {
            let Operation::Apply(transaction) = operation else { continue };
            let rows = transaction.writes.iter().filter_map(|write| match write {
                Write::Attempt(row) => Some(row.attempt.clone()),
                _ => None,
            });
            inner.attempts.extend(rows);
        }
        if inner.lies && group.iter().any(|operation| matches!(operation, Operation::Apply(_))) {
            let copy = inner.now.copy();
            inner.before.push(copy);
            if inner.before.len() > FORGOTTEN {
                inner.before.remove(0);
            }
        }
        drop(inner);
        self.store.run(group)
    }

    fn reader(&self) -> Arc<dyn Reader> {
        self.store.reader()
    }
}

/// The engine of the life that runs, for those who look.
pub type Engine = Rc<RefCell<Option<EngineHandle>>>;

/// One life of the scheduler.
pub async fn run(disk: Disk, seed: u64, engine: Engine) -> turmoil::Result {
    let store = MemoryStore::on(&disk.0.lock().unwrap().now);
    let (handle, running) = engine::start_with(OnDisk { disk, store }, seed, StoreRuns::OnRuntime).await?;
    *engine.borrow_mut() = Some(handle.clone());
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, net::PORT)).await?;
    let grpc = Grpc {
        engine: handle,
        stop: CancellationToken::new(),
        limits: Default::default(),
        requests: Default::default(),
        spans: None,
    };
    grpc::serve_incoming(grpc, net::incoming(listener), std::future::pending()).await?;
    running.await??;
    Ok(())
}
