//! For whom streams speak, and whom there is room for: whoever makes up names takes room from nobody but itself.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::interface::{Caller, Rejected};
use crate::core::ids::{Epoch, Lineage, ParticipantId, SessionId};
use crate::core::limits;
use crate::core::time::Instant;

/// How many participants there is room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Known in all, connected or not.
    pub known: usize,
    /// That one stream ever speaks for.
    pub per_session: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { known: limits::PARTICIPANTS, per_session: limits::PARTICIPANTS_PER_SESSION }
    }
}

/// One stream.
#[derive(Clone, Debug, Default)]
struct Stream {
    caller: Option<Caller>,
    /// For whom it speaks.
    now: BTreeSet<ParticipantId>,
    /// For whom it ever spoke: whoever comes and goes under names without end is to find one, too.
    ever: BTreeSet<ParticipantId>,
}

/// All streams.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    streams: HashMap<SessionId, Stream>,
    /// For how many participants the streams of each caller speak; nobody is kept who speaks for none.
    speaks_for: HashMap<IpAddr, usize>,
}

impl Sessions {
    /// A stream of this caller's is there.
    pub(super) fn opened(&mut self, session: SessionId, caller: Caller) {
        self.streams.entry(session).or_default().caller = Some(caller);
    }

    /// The stream speaks for the participant, who left `before`, if there is room.
    pub(super) fn admit(
        &mut self,
        session: SessionId,
        participant: &ParticipantId,
        before: Option<SessionId>,
        per_session: usize,
    ) -> Result<(), Rejected> {
        let left = before.and_then(|before| self.streams.get(&before)?.caller);
        let stream = self.streams.entry(session).or_default();
        if !stream.ever.contains(participant) && stream.ever.len() >= per_session {
            return Err(Rejected::TooManyOnStream);
        }
        if let Some(caller) = stream.caller {
            // Whoever comes over another stream of the same caller's is counted already.
            let moves = before != Some(session) && left.is_some_and(|left| left.address == caller.address);
            let speaks_for = self.speaks_for.get(&caller.address).copied().unwrap_or_default();
            let known = stream.now.contains(participant);
            if !known && speaks_for >= caller.participants.saturating_add(usize::from(moves)) {
                return Err(Rejected::TooManyOfCaller);
            }
            if !known {
                *self.speaks_for.entry(caller.address).or_default() += 1;
            }
        }
        stream.ever.insert(participant.clone());
        stream.now.insert(participant.clone());
        Ok(())
    }

    /// The stream speaks for the participant no more.
    pub(super) fn left(&mut self, session: SessionId, participant: &ParticipantId) {
        let Some(stream) = self.streams.get_mut(&session) else { return };
        if stream.now.remove(participant) {
            let caller = stream.caller;
            self.gave_back(caller, 1);
        }
    }

    /// The stream is gone: for whom it spoke.
    pub(super) fn closed(&mut self, session: SessionId) -> BTreeSet<ParticipantId> {
        let Stream { caller, now, .. } = self.streams.remove(&session).unwrap_or_default();
        self.gave_back(caller, now.len());
        now
    }

    fn gave_back(&mut self, caller: Option<Caller>, count: usize) {
        let Some(Caller { address, .. }) = caller else { return };
        if let Some(speaks_for) = self.speaks_for.get_mut(&address) {
            *speaks_for -= count;
            if *speaks_for == 0 {
                self.speaks_for.remove(&address);
            }
        }
    }

    /// Whether the stream spoke for the participant before; `None` if it spoke for nobody yet.
    pub(super) fn spoke_for(&self, session: SessionId, participant: &ParticipantId) -> Option<bool> {
        let stream = self.streams.get(&session).filter(|stream| !stream.ever.is_empty())?;
        Some(stream.ever.contains(participant))
    }
}

/// Those who are not connected and whom nobody ever asked to promise anything: if there is no room for somebody else, the one
/// who left first is forgotten.
#[derive(Clone, Debug, Default)]
pub(super) struct Strangers {
    by_leave: BTreeSet<(Instant, ParticipantId)>,
    /// The highest numbers of those who are forgotten. Whoever comes back goes on from there: what is still on its way for an
    /// earlier registration must not pass for a later one's (I7).
    pub(super) forgotten: (Epoch, Lineage),
}

impl Strangers {
    pub(super) fn add(&mut self, left: Instant, participant: ParticipantId) {
        self.by_leave.insert((left, participant));
    }

    pub(super) fn remove(&mut self, left: Instant, participant: &ParticipantId) {
        self.by_leave.remove(&(left, participant.clone()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_leave.is_empty()
    }

    /// The one to forget.
    pub(super) fn first(&mut self) -> Option<ParticipantId> {
        self.by_leave.pop_first().map(|(_, participant)| participant)
    }
}
