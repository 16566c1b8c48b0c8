//! The store's thread: runs one group at a time while the engine gathers the next (group commit).

use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::store::{Operation, OperationResult, Store, StoreError};
use crate::core::coordinator::OpId;
use crate::core::record::Snapshot;

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Ask {
    /// Run these as one group.
    Run(Vec<(OpId, Operation)>),
    /// Read what the core starts from.
    Snapshot,
}

/// What it answers.
#[derive(Debug)]
pub(super) enum Answer {
    /// To [`Ask::Run`].
    Ran(Result<Vec<(OpId, OperationResult)>, StoreError>),
    /// To [`Ask::Snapshot`].
    Snapshot(Result<Box<Snapshot>, StoreError>),
}

/// The engine's end: at most one question is open.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) answers: mpsc::Receiver<Answer>,
    ended: oneshot::Receiver<()>,
}

impl Writer {
    /// Starts the thread; it ends when this is dropped.
    pub(super) fn start(mut store: impl Store) -> std::io::Result<Self> {
        let (asks, mut asked) = mpsc::channel(1);
        let (answer, answers) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("quorate-store".into()).spawn(move || {
            while let Some(ask) = asked.blocking_recv() {
                let answered = match ask {
                    Ask::Run(group) => Answer::Ran(run(&mut store, group)),
                    Ask::Snapshot => Answer::Snapshot(store.snapshot().map(Box::new)),
                };
                if answer.blocking_send(answered).is_err() {
                    break;
                }
            }
            drop(store);
            // Whoever started the thread may not wait for its end.
            end.send(()).ok();
        })?;
        Ok(Self { asks, answers, ended })
    }

    /// Ends the thread, and waits until the store is closed.
    pub(super) async fn close(self) {
        let Self { asks, answers, ended } = self;
        drop((asks, answers));
        if ended.await.is_err() {
            tracing::error!("the store's thread ended by a fault of ours");
        }
    }
}

fn run(
    store: &mut impl Store,
    group: Vec<(OpId, Operation)>,
) -> Result<Vec<(OpId, OperationResult)>, StoreError> {
    let (ids, operations): (Vec<OpId>, Vec<Operation>) = group.into_iter().unzip();
    let results = store.run(&operations)?;
    if results.len() != ids.len() {
        let (got, want) = (results.len(), ids.len());
        return Err(StoreError::Unknown(format!("{got} results for {want} operations")));
    }
    Ok(ids.into_iter().zip(results).collect())
}
