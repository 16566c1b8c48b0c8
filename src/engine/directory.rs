//! Who is known and connected: a projection of the core's, for those who look it up. Never a calendar.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use tokio::sync::broadcast;

use crate::core::coordinator::Remarks;
use crate::core::ids::ParticipantId;
use crate::core::record::ParticipantRow;
use crate::core::time::Instant;

/// Changes that a slow watcher may be behind by, before it is given everything anew.
const CHANGES: usize = 1024;

/// A participant as known at this moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParticipantView {
    /// Who it is.
    pub row: ParticipantRow,
    /// Since when an agent speaks for it; `None` if none does.
    pub connected_since: Option<Instant>,
    /// What is noted of its agent, as last said.
    pub remarks: Remarks,
}

/// What a watcher receives next.
#[derive(Clone, Debug)]
pub enum DirectoryChange {
    /// One participant changed.
    One(ParticipantView),
    /// Too much changed: this is everybody.
    All(Vec<ParticipantView>),
}

/// All participants.
#[derive(Debug)]
pub struct Directory {
    all: RwLock<BTreeMap<ParticipantId, ParticipantView>>,
    changes: broadcast::Sender<ParticipantView>,
}

impl Directory {
    pub(super) fn new() -> Self {
        Self { all: RwLock::default(), changes: broadcast::Sender::new(CHANGES) }
    }

    pub(super) fn set(&self, row: ParticipantRow, connected_since: Option<Instant>, remarks: Remarks) {
        let view = ParticipantView { row, connected_since, remarks };
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if all.get(&view.row.id) == Some(&view) {
            return;
        }
        all.insert(view.row.id.clone(), view.clone());
        // Sent under the lock, so that a new watcher misses nothing between its snapshot and its first change.
        // Nobody watching is no error.
        self.changes.send(view).ok();
    }

    /// The participant is known no more. It was not connected, so that no watcher misses it.
    pub(super) fn remove(&self, id: &ParticipantId) {
        self.all.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// One participant.
    pub fn get(&self, id: &ParticipantId) -> Option<ParticipantView> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Up to `limit` participants after `after`, by id.
    pub fn page(
        &self,
        after: Option<&ParticipantId>,
        connected_only: bool,
        limit: usize,
    ) -> Vec<ParticipantView> {
        use std::ops::Bound::{Excluded, Unbounded};
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Unbounded, Excluded);
        let range = all.range::<ParticipantId, _>((from, Unbounded));
        let wanted = |view: &&ParticipantView| !connected_only || view.connected_since.is_some();
        range.map(|(_, view)| view).filter(wanted).take(limit).cloned().collect()
    }

    /// How many participants are known.
    pub fn known(&self) -> usize {
        self.all.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many participants are connected.
    pub fn connected(&self) -> usize {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.values().filter(|view| view.connected_since.is_some()).count()
    }

    /// Everybody as of now, and whatever changes from then on.
    pub fn watch(&self) -> (Vec<ParticipantView>, Watch<'_>) {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let watch = Watch { directory: self, changes: self.changes.subscribe() };
        (all.values().cloned().collect(), watch)
    }
}

/// Follows the changes.
#[derive(Debug)]
pub struct Watch<'a> {
    directory: &'a Directory,
    changes: broadcast::Receiver<ParticipantView>,
}

impl Watch<'_> {
    /// The next change; `None` once the engine has stopped.
    pub async fn next(&mut self) -> Option<DirectoryChange> {
        match self.changes.recv().await {
            Ok(view) => Some(DirectoryChange::One(view)),
            Err(broadcast::error::RecvError::Lagged(_)) => {
                let (all, watch) = self.directory.watch();
                self.changes = watch.changes;
                Some(DirectoryChange::All(all))
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
