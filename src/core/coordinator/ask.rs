//! D1 of one attempt: whom to ask for a slot, and what is on disk before anybody is.

use std::collections::BTreeSet;

use super::seek::Carry;
use super::*;
use crate::core::availability::Answer;
use crate::core::model::{Attendee, EventKind};

/// D1 of one attempt, before it goes to the store.
pub(super) struct D1 {
    pub holding: Box<Holding>,
    pub conditions: Vec<Condition>,
    pub writes: Vec<Write>,
}

impl Coordinator {
    /// D1 for one slot, together with whatever gives up the attempt before.
    pub(super) fn hold_slot(
        &mut self,
        now: Now,
        id: &MeetingId,
        slot: TimeRange,
        overlay: bool,
        carry: Carry,
    ) {
        let Some(live) = self.live.get(id) else { return };
        let whom = self.whom_to_ask(live, &slot, overlay);
        let Some((asked, displaces)) = whom.filter(|(asked, _)| !asked.is_empty()) else {
            if let Some(live) = self.live.get_mut(id) {
                live.dead.insert(slot);
            }
            return self.advance(now, id, carry);
        };
        let Some(D1 { holding, conditions, writes }) = self.first_durable(now, id, slot, asked, displaces)
        else {
            return;
        };
        self.write_for(id, Next::Hold, Some(holding), carry, conditions, writes);
    }

    /// All that D1 consists of for one slot.
    pub(super) fn first_durable(
        &mut self,
        now: Now,
        id: &MeetingId,
        slot: TimeRange,
        asked: Vec<ParticipantId>,
        displaces: BTreeSet<Attempt>,
    ) -> Option<D1> {
        let live = self.live.get_mut(id)?;
        let n = match live.meeting.last_attempt {
            Some(last) if planted(Planted::NumberReused) => last,
            last => AttemptNumber::after(last, self.generation),
        };
        live.meeting.last_attempt = Some(n);
        let mut row = live.attempt_row(n, slot, asked);
        row.displaces.extend(displaces);
        let mut conditions = live.unchanged();
        if !planted(Planted::NumberReused) {
            conditions.push(Condition::AttemptUnused(row.attempt.clone()));
        }
        // The first D1 makes the meeting durable; a change keeps the meeting's row as it is, but for the number.
        let mut writes = Vec::new();
        match &mut live.job {
            Job::Change { current, .. } => {
                current.last_attempt = Some(n);
                writes.push(Write::Meeting(current.clone()));
            }
            Job::New | Job::Find { .. } | Job::Series(_) => {
                if live.stored {
                    live.meeting.version += 1;
                }
                live.meeting.update_time = now.wall;
                writes.push(Write::Meeting(Box::new(live.meeting.clone())));
                if !live.stored {
                    writes.push(event(EventKind::Scheduling, &live.meeting));
                }
            }
        }
        writes.push(Write::Attempt(Box::new(row.clone())));
        let early = planted(Planted::HoldBeforeD1).then(|| live.hold_message(&row));
        let ballots = row.asked.iter().map(|p| (p.clone(), Ballot::Waiting)).collect();
        for participant in &row.asked {
            self.held.entry(participant.clone()).or_default().insert(row.attempt.clone());
            live.told.insert(participant.clone());
        }
        self.meet(&row.asked);
        let holding = Holding {
            row,
            ballots,
            journal: BTreeMap::new(),
            since: Mono::default(),
            deadline: Mono::default(),
            grace: None,
            again: 0,
        };
        if let Some(message) = early {
            self.send_all(holding.row.asked.clone(), &message);
        }
        self.tracer.holds(&holding.row);
        Some(D1 { holding: Box::new(holding), conditions, writes })
    }

    /// Everyone connected who may be free at the slot: answers are advisory, the hold is the check. With `overlay`,
    /// also what has to be displaced for it; `None` if that can't be.
    pub(super) fn whom_to_ask(
        &self,
        live: &Live,
        slot: &TimeRange,
        overlay: bool,
    ) -> Option<(Vec<ParticipantId>, BTreeSet<Attempt>)> {
        let spec = &live.meeting.spec;
        let blocked = spec.blocked(slot);
        let maybe_free = |id: &ParticipantId, answer: &Answer| match answer {
            Answer::Free(free) => {
                crate::core::availability::fits(free, &blocked).is_some() || self.held_at(id, &blocked)
            }
            _ => false,
        };
        let free = |answers: &[Answer]| -> BTreeSet<&ParticipantId> {
            let attendees = spec.attendees.iter().zip(answers);
            let asked = |a: &Attendee| self.ready(&a.id).is_some() && !live.has_left(a);
            let free = attendees.filter(|(a, answer)| maybe_free(&a.id, answer) && asked(a));
            free.map(|(a, _)| &a.id).collect()
        };
        let in_order = |asked: &dyn Fn(&ParticipantId) -> bool| -> Vec<ParticipantId> {
            spec.attendees.iter().map(|a| &a.id).filter(|id| asked(id)).cloned().collect()
        };
        if !overlay {
            let free = free(&live.as_it_stands());
            return Some((in_order(&|id| free.contains(id)), BTreeSet::new()));
        }
        let mut free = free(&live.answers);
        // Nobody was asked when a named slot is free: whoever refused it has other reasons.
        if live.meeting.named_slot.is_some() {
            free.retain(|id| !live.refused_by.contains(*id));
        }
        let chosen = live.displaceable.plan(spec, &blocked, |id| free.contains(id))?;
        if chosen.is_empty() {
            return None;
        }
        let cleared = |id: &ParticipantId| live.displaceable.cleared(id, &blocked, &chosen);
        Some((in_order(&|id| free.contains(id) && cleared(id)), chosen))
    }

    pub(super) fn held_at(&self, id: &ParticipantId, blocked: &TimeRange) -> bool {
        let attempts = self.held.get(id).into_iter().flatten();
        attempts.filter_map(|a| self.holding(a)).any(|h| h.row.blocked.overlaps(blocked))
    }
}
