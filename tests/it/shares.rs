//! What one stream, and all streams of one caller, may have on its way to the disk: an engine whose store runs when it is let.

use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex};

use quorate::core::coordinator::Caller;
use quorate::core::ids::ParticipantId;
use quorate::core::limits;
use quorate::core::message::{AgentMessage, Register};
use quorate::core::record::Snapshot;
use quorate::engine::store::{Operation, OperationResult, Reader, Store, StoreError};
use quorate::engine::{self, EngineHandle, Opener, Place, Seat, Session};
use quorate::store::MemoryStore;
use quorate::wire::agent_frames::agent_messages;
use tokio::sync::Semaphore;

use super::support::*;

/// How many groups the store may still run.
#[derive(Default)]
struct Gate {
    runs: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    fn allow(&self, runs: usize) {
        *self.runs.lock().unwrap() += runs;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut runs = self.runs.lock().unwrap();
        while *runs == 0 {
            runs = self.changed.wait(runs).unwrap();
        }
        *runs -= 1;
    }
}

/// A store that runs a group when the gate lets it.
struct Gated(MemoryStore, Arc<Gate>);

impl Store for Gated {
    fn run(&mut self, group: &[Operation]) -> Result<Vec<OperationResult>, StoreError> {
        self.1.pass();
        self.0.run(group)
    }

    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        self.0.snapshot()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        self.0.reader()
    }
}

/// An engine whose store has begun its life, and runs nothing more for now.
async fn gated() -> (EngineHandle, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    gate.allow(1);
    let (engine, _running) =
        engine::start(Gated(MemoryStore::new(), gate.clone()), 1).await.expect("an engine");
    (engine, gate)
}

fn opener(address: &str, share: &Arc<Semaphore>, seat: Seat) -> Option<Opener> {
    let address: IpAddr = address.parse().unwrap();
    Some(Opener { caller: Caller { address, participants: usize::MAX }, share: share.clone(), seat })
}

fn registers(name: &str) -> (Place, AgentMessage) {
    let frame = pb::JoinRequest { messages: vec![Person::new(name).register()] };
    let (_, message) = agent_messages(&frame).into_iter().next().expect("a message");
    (Place::default(), message.expect("a registration"))
}

async fn register(session: &Session, names: &[&str]) {
    session.received(names.iter().map(|name| registers(name)).collect()).await.expect("the engine runs");
}

async fn until_free(share: &Semaphore, permits: usize) {
    within("the permits are given back", async {
        while share.available_permits() < permits {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_streams_of_one_caller_share_what_they_have_on_its_way() {
    let (engine, gate) = gated().await;
    let (share, others) = (Arc::new(Semaphore::new(3)), Arc::new(Semaphore::new(3)));
    let seat = Arc::new(());
    let first = engine.open_session(opener("192.0.2.1", &share, Seat::taken(seat.clone()))).await.unwrap();
    let second = engine.open_session(opener("192.0.2.1", &share, Seat::default())).await.unwrap();
    let other = engine.open_session(opener("192.0.2.2", &others, Seat::default())).await.unwrap();
    register(&first, &["ann", "bob"]).await;
    register(&second, &["carl"]).await;
    // There is room on each of the streams, and none for the caller.
    let mut one_more = std::pin::pin!(register(&second, &["dora"]));
    tokio::select! {
        biased;
        () = &mut one_more => panic!("more is on its way than may be"),
        () = register(&other, &["eve"]) => {}
    }
    assert_eq!((share.available_permits(), others.available_permits()), (0, 2));
    // A stream counts as open until all that it said is on disk: coming and going brings nothing.
    engine.vitals(0).await.unwrap();
    drop(first);
    engine.vitals(0).await.unwrap();
    assert_eq!(Arc::strong_count(&seat), 2);
    gate.allow(usize::MAX / 2);
    within("room", one_more).await;
    until_free(&share, 3).await;
    within("the seat", async {
        while Arc::strong_count(&seat) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Registrations wait for what the store has of them; whoever registers the same participant over another stream keeps nobody
/// else's permits.
#[tokio::test]
async fn a_registration_is_settled_for_its_stream_once_another_one_has_taken_over() {
    let (engine, gate) = gated().await;
    let [older, newer] = [1, 1].map(|permits| Arc::new(Semaphore::new(permits)));
    let first = engine.open_session(opener("192.0.2.1", &older, Seat::default())).await.unwrap();
    let second = engine.open_session(opener("192.0.2.2", &newer, Seat::default())).await.unwrap();
    register(&first, &["ann"]).await;
    register(&second, &["ann"]).await;
    // What is read for the first is not what the second needs; then it is read for that one.
    gate.allow(2);
    until_free(&older, 1).await;
    engine.vitals(0).await.unwrap();
    assert_eq!(newer.available_permits(), 0, "its row is not on disk");
    gate.allow(usize::MAX / 2);
    until_free(&newer, 1).await;
}

/// Whoever reports much takes as much more of its share.
#[tokio::test]
async fn what_a_registration_reports_has_its_weight() {
    let (engine, gate) = gated().await;
    let all = limits::CALLER_UNSETTLED as usize;
    let share = Arc::new(Semaphore::new(all));
    let session = engine.open_session(opener("192.0.2.1", &share, Seat::default())).await.unwrap();
    let (place, message) = registers("ann");
    let AgentMessage::Register(register) = message else { panic!("a registration") };
    let promise = |n: usize| quorate::core::message::Promise {
        attempt: quorate::core::ids::Attempt::new(
            quorate::core::ids::MeetingId::new(format!("m{n}")),
            quorate::core::ids::AttemptNumber(1),
        ),
        blocked: quorate::core::time::TimeRange::new(
            chrono::DateTime::UNIX_EPOCH,
            chrono::DateTime::UNIX_EPOCH,
        ),
        lease_over: false,
        revision: 0,
    };
    let held = (0..80).map(promise).collect();
    let register = Register { participant: ParticipantId::new("ann"), held, ..*register };
    let weight = 1 + 80 / limits::PROMISES_PER_MESSAGE;
    session.received(vec![(place, AgentMessage::Register(Box::new(register)))]).await.unwrap();
    assert_eq!(share.available_permits(), all - weight);
    gate.allow(usize::MAX / 2);
    until_free(&share, all).await;
}
