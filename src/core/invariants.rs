//! The invariants of PROTOCOL.md as named checks over a plain view of the world.
//!
//! Every test layer fills the same view, from memory, from a database or over the wire, and asks the same
//! questions. What concerns a single message or a single transaction is in [`super::checks`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::ids::{Attempt, Epoch, Lineage, MeetingId, ParticipantId, RequestId};
use super::limits;
use super::model::{AttendeeStatus, Meeting, MeetingState};
use super::participant::{PromiseRow, PromiseState};
use super::record::{AttemptRow, AttemptState, BookingRow, Delivery};
use super::time::Mono;

/// Beyond its lease a hold may last so long, once faults have stopped (L1).
pub const HOLD_SLACK: Duration = Duration::from_secs(10);
/// Agents equal the store after so long, once faults have stopped (L1).
pub const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// What does not hold, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// `I1` to `I8`, `L1` to `L3`, or `D1` to `D4`.
    pub invariant: &'static str,
    /// In words, with names.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// What one agent has promised, by what it would find after a crash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentView {
    /// Whose calendar.
    pub participant: ParticipantId,
    /// Held and booked.
    pub promises: BTreeMap<Attempt, PromiseRow>,
    /// Left by the participant's own durable will.
    pub withdrawn: BTreeSet<Attempt>,
    /// Promises that a lost journal explains: had by an earlier life, and not given back yet.
    pub lost: BTreeSet<Attempt>,
    /// Attempts that a store restored from an older copy knows otherwise than the agent: the later life of the
    /// store decided on them, and that is lost (table of "Registration", row CONFIRMED, "Unknown").
    pub orphaned: BTreeSet<Attempt>,
}

/// The rows of the scheduler's store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreView {
    /// All meetings.
    pub meetings: BTreeMap<MeetingId, Meeting>,
    /// All attempts.
    pub attempts: BTreeMap<Attempt, AttemptRow>,
    /// All booked rows, by participant and attempt.
    pub bookings: BTreeMap<(ParticipantId, Attempt), BookingRow>,
    /// What is not acknowledged.
    pub deliveries: Vec<Delivery>,
}

/// What was decided so far: a decision and its commit set never change (I4).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decisions {
    attempts: BTreeMap<Attempt, (bool, Vec<ParticipantId>)>,
    over: BTreeMap<MeetingId, MeetingState>,
}

impl Decisions {
    /// The store was restored from an older copy: only decisions that it still has the same way stand.
    pub fn restored(&mut self, store: &StoreView) {
        let stands = |attempt: &Attempt, decision: &(bool, Vec<ParticipantId>)| {
            store.attempts.get(attempt).and_then(decision_of).as_ref() == Some(decision)
        };
        self.attempts.retain(|attempt, decision| stands(attempt, decision));
        let is = |id: &MeetingId| store.meetings.get(id).map(|meeting| meeting.state);
        self.over.retain(|id, state| is(id) == Some(*state));
    }
}

/// Whether the attempt was committed, and with whom; `None` while it is HOLDING.
fn decision_of(row: &AttemptRow) -> Option<(bool, Vec<ParticipantId>)> {
    let committed = match row.state {
        AttemptState::Holding => return None,
        AttemptState::Committed | AttemptState::Superseded => true,
        AttemptState::Aborted => false,
    };
    Some((committed, row.commit_set.clone()))
}

/// One vote that a decision rests on, as an observer outside the scheduler saw it come in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CountedVote {
    /// Which attempt was decided.
    pub attempt: Attempt,
    /// Whose vote.
    pub participant: ParticipantId,
    /// The registration and the journal's life it came in under; `None` if no vote came in over a current stream.
    pub cast: Option<(Epoch, Lineage)>,
    /// The journal's life as registered when the decision took effect.
    pub lineage: Lineage,
}

/// A request, as its caller sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestView {
    /// For the message.
    pub name: String,
    /// By when it had to be answered.
    pub due: Mono,
    /// When it was.
    pub answered: Option<Mono>,
    /// Whether the scheduler crashed while it was open: then its caller has to ask again.
    pub lost: bool,
}

/// The state invariants I1 to I6, all that are violated. `decisions` is what earlier calls saw.
pub fn check(store: &StoreView, agents: &[AgentView], decisions: &mut Decisions) -> Vec<Violation> {
    let mut found = Vec::new();
    found.extend(no_overlapping_promises(agents));
    found.extend(no_overlapping_bookings(store));
    found.extend(commit_sets_are_held(store, agents));
    found.extend(confirmed_is_committed(store, agents));
    found.extend(bookings_have_causes(store));
    found.extend(commit_sets_suffice(store));
    found.extend(decisions_stand(store, decisions));
    found.extend(displaced_by_committed(store));
    found.extend(what_is_over_stays_over(store, decisions));
    found.extend(one_meeting_per_request(store));
    found
}

pub(super) fn violation(invariant: &'static str, what: String) -> Violation {
    Violation { invariant, what }
}

/// I1 at the agents: no two overlapping promises, an overlay and what it displaces excepted.
pub fn no_overlapping_promises(agents: &[AgentView]) -> Vec<Violation> {
    let mut found = Vec::new();
    for agent in agents {
        let rows: Vec<(&Attempt, &PromiseRow)> = agent.promises.iter().collect();
        for (index, (a, first)) in rows.iter().enumerate() {
            for (b, second) in &rows[index + 1..] {
                let overlay = first.displaces.contains(b) || second.displaces.contains(a);
                if first.booking.blocked.overlaps(&second.booking.blocked) && !overlay {
                    let who = &agent.participant;
                    found.push(violation("I1", format!("{who} promised {a} and {b}, which overlap")));
                }
            }
        }
    }
    found
}

/// I1 in the store: no two booked rows of one participant overlap.
pub fn no_overlapping_bookings(store: &StoreView) -> Vec<Violation> {
    let mut found = Vec::new();
    let rows: Vec<&BookingRow> = store.bookings.values().collect();
    for (index, a) in rows.iter().enumerate() {
        let same = rows[index + 1..].iter().take_while(|b| b.participant == a.participant);
        for b in same.filter(|b| b.during.overlaps(&a.during)) {
            let what =
                format!("{} is booked by {} and {}, which overlap", a.participant, a.attempt, b.attempt);
            found.push(violation("I1", what));
        }
    }
    found
}

/// I2: whoever is booked has promised it, unless a withdrawal or a lost journal explains it.
pub fn commit_sets_are_held(store: &StoreView, agents: &[AgentView]) -> Vec<Violation> {
    let mut found = Vec::new();
    for agent in agents {
        let rows = store.bookings.values().filter(|row| row.participant == agent.participant);
        for row in rows {
            let attempt = &row.attempt;
            let explained = agent.withdrawn.contains(attempt)
                || agent.lost.contains(attempt)
                || agent.orphaned.contains(attempt);
            match agent.promises.get(attempt) {
                Some(promise) if promise.booking.blocked != row.during => {
                    let (who, promised) = (&agent.participant, promise.booking.blocked);
                    let what = format!(
                        "{who} is booked for {attempt} at {:?}, and promised {promised:?}",
                        row.during
                    );
                    found.push(violation("I2", what));
                }
                None if !explained => {
                    let what =
                        format!("{} is booked for {attempt} and has not promised it", agent.participant);
                    found.push(violation("I2", what));
                }
                _ => {}
            }
        }
    }
    found
}

/// I3: what an agent has booked was committed with it, and may have been superseded since.
pub fn confirmed_is_committed(store: &StoreView, agents: &[AgentView]) -> Vec<Violation> {
    let mut found = Vec::new();
    for agent in agents {
        let confirmed = agent.promises.iter().filter(|(_, row)| row.state == PromiseState::Confirmed);
        for (attempt, _) in confirmed.filter(|(attempt, _)| !agent.orphaned.contains(attempt)) {
            let row = store.attempts.get(attempt);
            let committed = row.is_some_and(|row| {
                matches!(row.state, AttemptState::Committed | AttemptState::Superseded)
                    && row.commit_set.contains(&agent.participant)
            });
            if !committed {
                let state = row.map(|row| row.state);
                let what = format!("{} has {attempt} booked, whose row is {state:?}", agent.participant);
                found.push(violation("I3", what));
            }
        }
    }
    found
}

/// I3 in the store: a meeting that stands has its booked rows, one for each who attends; no row stands without
/// such a meeting.
pub fn bookings_have_causes(store: &StoreView) -> Vec<Violation> {
    let mut found = Vec::new();
    for meeting in store.meetings.values().filter(|m| m.state == MeetingState::Confirmed) {
        let Some(n) = meeting.booked else {
            found.push(violation("I3", format!("{} is CONFIRMED without an attempt", meeting.id)));
            continue;
        };
        let attempt = Attempt::new(meeting.id.clone(), n);
        if store.attempts.get(&attempt).map(|row| row.state) != Some(AttemptState::Committed) {
            found.push(violation("I3", format!("{attempt} is booked and not COMMITTED")));
        }
        for outcome in meeting.attendees.iter().filter(|o| o.status == AttendeeStatus::Attending) {
            if !store.bookings.contains_key(&(outcome.id.clone(), attempt.clone())) {
                found.push(violation("I3", format!("{} attends {attempt} without a booked row", outcome.id)));
            }
        }
    }
    for row in store.bookings.values() {
        let stands = store.meetings.get(&row.attempt.meeting).is_some_and(|meeting| {
            meeting.booked == Some(row.attempt.n)
                && meeting
                    .attendees
                    .iter()
                    .any(|o| o.id == row.participant && o.status == AttendeeStatus::Attending)
        });
        if !stands {
            found.push(violation(
                "I3",
                format!("{} is booked by {}, which does not stand", row.participant, row.attempt),
            ));
        }
    }
    found
}

/// I4: required ⊆ C ⊆ asked, and C has the quorum.
pub fn commit_sets_suffice(store: &StoreView) -> Vec<Violation> {
    let mut found = Vec::new();
    let committed =
        |row: &&AttemptRow| matches!(row.state, AttemptState::Committed | AttemptState::Superseded);
    for row in store.attempts.values().filter(committed) {
        let booked = |id: &&ParticipantId| row.commit_set.contains(id);
        if let Some(missing) = row.required.iter().find(|id| !booked(id)) {
            found.push(violation(
                "I4",
                format!("{} is booked without {missing}, who is required", row.attempt),
            ));
        }
        if let Some(stranger) = row.commit_set.iter().find(|id| !row.asked.contains(id)) {
            found.push(violation(
                "I4",
                format!("{} is booked with {stranger}, who was not asked", row.attempt),
            ));
        }
        let counted = row.counted.iter().filter(booked).count();
        if counted < row.minimum as usize {
            let what = format!("{} is booked with {counted} of at least {}", row.attempt, row.minimum);
            found.push(violation("I4", what));
        }
    }
    found
}

/// I4 over time: one decision per attempt, and its commit set never changes.
pub fn decisions_stand(store: &StoreView, decisions: &mut Decisions) -> Vec<Violation> {
    let mut found = Vec::new();
    for (attempt, row) in &store.attempts {
        let now = decision_of(row);
        match (decisions.attempts.get(attempt), now) {
            (None, None) => {}
            (None, Some(now)) => {
                decisions.attempts.insert(attempt.clone(), now);
            }
            (Some(before), now) if now.as_ref() == Some(before) => {}
            (Some(before), now) => {
                found.push(violation("I4", format!("{attempt} was decided {before:?} and is now {now:?}")));
            }
        }
    }
    let gone = decisions.attempts.keys().filter(|attempt| !store.attempts.contains_key(attempt));
    found.extend(gone.map(|attempt| violation("I4", format!("the decision of {attempt} is gone"))));
    found
}

/// I3 over time: a meeting that was called off or FAILED stays so.
pub fn what_is_over_stays_over(store: &StoreView, decisions: &mut Decisions) -> Vec<Violation> {
    let mut found = Vec::new();
    for meeting in store.meetings.values() {
        let over = matches!(meeting.state, MeetingState::Cancelled | MeetingState::Failed);
        match decisions.over.get(&meeting.id) {
            Some(state) if *state != meeting.state => {
                found.push(violation(
                    "I3",
                    format!("{} was {state:?} and is {:?}", meeting.id, meeting.state),
                ));
            }
            None if over => {
                decisions.over.insert(meeting.id.clone(), meeting.state);
            }
            _ => {}
        }
    }
    found
}

/// I5: a displaced meeting has lost its slot to one that is committed, and what a committed one displaced is over.
pub fn displaced_by_committed(store: &StoreView) -> Vec<Violation> {
    let mut found = Vec::new();
    let committed = |row: &&AttemptRow| row.state == AttemptState::Committed;
    for row in store.attempts.values().filter(committed) {
        let over =
            |old: &Attempt| store.attempts.get(old).map(|old| old.state) == Some(AttemptState::Superseded);
        if let Some(old) = row.displaces.iter().find(|old| !over(old)) {
            found.push(violation(
                "I5",
                format!("{} is committed, and {old} stands, which it displaced", row.attempt),
            ));
        }
    }
    for meeting in store.meetings.values().filter(|m| m.state == MeetingState::Displaced) {
        let displaced = store.attempts.values().any(|row| {
            matches!(row.state, AttemptState::Committed | AttemptState::Superseded)
                && row.attempt.meeting != meeting.id
                && row.displaces.iter().any(|old| old.meeting == meeting.id)
        });
        if !displaced {
            found.push(violation(
                "I5",
                format!("{} is DISPLACED, and nothing committed displaced it", meeting.id),
            ));
        }
    }
    found
}

/// I6: one meeting per request id.
pub fn one_meeting_per_request(store: &StoreView) -> Vec<Violation> {
    let mut by_request: BTreeMap<&RequestId, &MeetingId> = BTreeMap::new();
    let mut found = Vec::new();
    for meeting in store.meetings.values() {
        if let Some(other) = by_request.insert(&meeting.request_id, &meeting.id) {
            let what = format!("request {} has the meetings {other} and {}", meeting.request_id, meeting.id);
            found.push(violation("I6", what));
        }
    }
    found
}

/// I7: no vote counts that came in from a stale registration or an older life of the journal.
pub fn votes_are_current(votes: &[CountedVote]) -> Vec<Violation> {
    let stale = votes.iter().filter(|vote| vote.cast.is_none_or(|(_, lineage)| lineage != vote.lineage));
    stale
        .map(|vote| {
            let CountedVote { attempt, participant, cast, lineage } = vote;
            let what = format!("{attempt} counts a vote of {participant} cast in {cast:?}, now {lineage:?}");
            violation("I7", what)
        })
        .collect()
}

/// L1, once faults have stopped: no hold is older than its lease and [`HOLD_SLACK`]. `held_since` says when each
/// hold was promised, or when faults stopped if that is later.
pub fn holds_end(held_since: &BTreeMap<(ParticipantId, Attempt), Mono>, now: Mono) -> Vec<Violation> {
    let old = held_since.iter().filter(|(_, since)| now.since(**since) > limits::LEASE + HOLD_SLACK);
    old.map(|((who, attempt), since)| {
        violation("L1", format!("{who} has held {attempt} for {:?}", now.since(*since)))
    })
    .collect()
}

/// L1, [`SETTLED_AFTER`] faults and requests have stopped: agents equal the store, and nothing is undelivered.
pub fn agents_equal_store(store: &StoreView, agents: &[AgentView]) -> Vec<Violation> {
    let mut found = Vec::new();
    for agent in agents {
        let who = &agent.participant;
        let booked: BTreeSet<&Attempt> =
            store.bookings.keys().filter(|(id, _)| id == who).map(|(_, attempt)| attempt).collect();
        for (attempt, row) in &agent.promises {
            let orphan = agent.orphaned.contains(attempt);
            if row.state == PromiseState::Held || !booked.contains(attempt) && !orphan {
                found.push(violation("L1", format!("{who} still has {attempt} {:?}", row.state)));
            }
        }
        let missing =
            booked.into_iter().filter(|a| !agent.promises.contains_key(a) && !agent.orphaned.contains(a));
        found.extend(missing.map(|attempt| violation("L1", format!("{who} still lacks {attempt}"))));
        let left = agent.withdrawn.iter();
        found.extend(
            left.map(|attempt| violation("L1", format!("{who}'s withdrawal from {attempt} is open"))),
        );
    }
    for delivery in &store.deliveries {
        let (who, attempt, kind) = (&delivery.participant, &delivery.attempt, delivery.body.kind());
        found.push(violation("L1", format!("a {kind:?} of {attempt} to {who} is undelivered")));
    }
    let holding = store.attempts.values().filter(|row| row.state == AttemptState::Holding);
    found.extend(holding.map(|row| violation("L1", format!("{} is still HOLDING", row.attempt))));
    let sought = store.meetings.values().filter(|m| m.state == MeetingState::Scheduling);
    found.extend(sought.map(|m| violation("L1", format!("{} is still SCHEDULING", m.id))));
    found
}

/// L2: every request is answered by its deadline, unless the scheduler crashed under it.
pub fn requests_end(requests: &[RequestView], now: Mono) -> Vec<Violation> {
    let late = requests.iter().filter(|r| !r.lost && r.answered.unwrap_or(now) > r.due);
    late.map(|r| {
        violation("L2", format!("{} was due at {:?}, answered at {:?}", r.name, r.due.0, r.answered))
    })
    .collect()
}
