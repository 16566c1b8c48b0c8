//! For whom streams speak, and whom there is room for: whoever makes up names takes the room of its own first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// Of each caller's streams together; nobody is kept who has none.
    callers: HashMap<IpAddr, Count>,
}

/// Of how many participants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Count {
    now: usize,
    /// Over streams that are open.
    ever: usize,
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
            let (speaks, spoke) = (stream.now.contains(participant), stream.ever.contains(participant));
            let count = self.callers.get(&caller.address).copied().unwrap_or_default();
            let most = caller.participants.saturating_mul(limits::NAMES_PER_PARTICIPANT);
            if !speaks && count.now >= caller.participants.saturating_add(usize::from(moves))
                || !spoke && count.ever >= most
            {
                return Err(Rejected::TooManyOfCaller);
            }
            let count = self.callers.entry(caller.address).or_default();
            count.now += usize::from(!speaks);
            count.ever += usize::from(!spoke);
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
            self.gave_back(caller, Count { now: 1, ever: 0 });
        }
    }

    /// The stream is gone: for whom it spoke.
    pub(super) fn closed(&mut self, session: SessionId) -> BTreeSet<ParticipantId> {
        let Stream { caller, now, ever } = self.streams.remove(&session).unwrap_or_default();
        self.gave_back(caller, Count { now: now.len(), ever: ever.len() });
        now
    }

    fn gave_back(&mut self, caller: Option<Caller>, less: Count) {
        let Some(Caller { address, .. }) = caller else { return };
        if let Some(count) = self.callers.get_mut(&address) {
            // A stream is opened before anything is said over it: what it gives back was counted.
            count.now = count.now.saturating_sub(less.now);
            count.ever = count.ever.saturating_sub(less.ever);
            if *count == Count::default() {
                self.callers.remove(&address);
            }
        }
    }

    /// Who opened the stream.
    pub(super) fn caller(&self, session: SessionId) -> Option<IpAddr> {
        Some(self.streams.get(&session)?.caller?.address)
    }

    /// Whether the stream spoke for the participant before; `None` if it spoke for nobody yet.
    pub(super) fn spoke_for(&self, session: SessionId, participant: &ParticipantId) -> Option<bool> {
        let stream = self.streams.get(&session).filter(|stream| !stream.ever.is_empty())?;
        Some(stream.ever.contains(participant))
    }
}

/// Those who are not connected, and whom nothing binds. If there is no room for somebody else, one of them is forgotten: of the
/// caller who has most of them, the one who left first.
#[derive(Clone, Debug, Default)]
pub(super) struct Strangers {
    /// By who spoke for them last, as far as that is known, and by when they left.
    by_caller: BTreeMap<Option<IpAddr>, BTreeSet<(Instant, ParticipantId)>>,
    sizes: BTreeSet<(usize, Option<IpAddr>)>,
    /// The highest numbers of those who are forgotten. Whoever comes back goes on from there: what is still on its way for an
    /// earlier registration must not pass for a later one's (I7).
    pub(super) forgotten: (Epoch, Lineage),
}

impl Strangers {
    pub(super) fn add(&mut self, caller: Option<IpAddr>, left: Instant, participant: ParticipantId) {
        self.change(caller, |all| all.insert((left, participant)));
    }

    pub(super) fn remove(&mut self, caller: Option<IpAddr>, left: Instant, participant: &ParticipantId) {
        self.change(caller, |all| all.remove(&(left, participant.clone())));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// The one to forget.
    pub(super) fn first(&mut self) -> Option<ParticipantId> {
        let (_, caller) = *self.sizes.last()?;
        self.change(caller, BTreeSet::pop_first).map(|(_, participant)| participant)
    }

    fn change<T>(
        &mut self,
        caller: Option<IpAddr>,
        change: impl FnOnce(&mut BTreeSet<(Instant, ParticipantId)>) -> T,
    ) -> T {
        let all = self.by_caller.entry(caller).or_default();
        self.sizes.remove(&(all.len(), caller));
        let changed = change(all);
        match all.len() {
            0 => drop(self.by_caller.remove(&caller)),
            size => {
                self.sizes.insert((size, caller));
            }
        }
        changed
    }
}
