//! Displacing booked meetings (PROTOCOL.md, "Priority, displacement, moving"). The hold overlays the old booking, which
//! stands until D3; the same transaction marks the old meeting DISPLACED, gives up whatever was about to change it, and
//! queues the search for another slot, with the rank it always had.

use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::core::displacement::{Displaceable, may_displace};
use crate::core::measure::AbortCause;
use crate::core::message::{AckKind, Notice, ReleaseCause};
use crate::core::model::{AttendeeStatus, EventKind};
use crate::core::planted::{Planted, planted};
use crate::core::ranking::{self, LiveHold};
use crate::core::record::{AttemptState, DeliveryBody};

/// A meeting that loses its slot by a decision that is on its way to the store.
#[derive(Clone, Debug)]
pub(super) struct Displaced {
    before: Meeting,
    after: Meeting,
    row: AttemptRow,
    attending: BTreeSet<ParticipantId>,
    /// The attempt of a change of it that was under way, with everyone asked: aborted by the same transaction.
    open: Option<(Attempt, Vec<ParticipantId>)>,
}

/// What D3 says of everything that it displaces.
#[derive(Default)]
pub(super) struct Displacement {
    pub displaced: Vec<Displaced>,
    pub conditions: Vec<Condition>,
    pub writes: Vec<Write>,
    pub deliveries: Vec<Delivery>,
}

impl Displacement {
    pub(super) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.displaced.iter().map(|displaced| &displaced.row.attempt)
    }
}

impl Coordinator {
    /// Reads what a job that may displace could displace, then goes on with its round.
    pub(super) fn read_displaceable(&mut self, now: Now, id: &MeetingId, candidates: &[TimeRange]) {
        let Some(live) = self.live.get(id) else { return };
        let spec = &live.meeting.spec;
        let starts = candidates.iter().map(|slot| spec.blocked(slot).start).min();
        let ends = candidates.iter().map(|slot| spec.blocked(slot).end).max();
        let (Some(start), Some(end)) = (starts, ends) else { return self.fan_out(now, id) };
        let participants = spec.attendees.iter().map(|attendee| attendee.id.clone()).collect();
        let (during, below) = (TimeRange::new(start, end), live.meeting.rank.priority);
        let read = Read::Displaceable { participants, during, below };
        let op = self.read_op(read, Pending::ReadDisplaceable(id.clone()));
        let Some(live) = self.live.get_mut(id) else { return };
        live.phase = Phase::Reading { op };
        let deadline = live.deadline;
        self.set_meeting_timer(id, Some(deadline));
    }

    /// What may be displaced was read.
    pub(super) fn displaceable_read(
        &mut self,
        now: Now,
        id: &MeetingId,
        op: OpId,
        found: Vec<(Meeting, AttemptRow)>,
    ) {
        let Some(live) = self.live.get_mut(id) else { return };
        if !matches!(live.phase, Phase::Reading { op: ours } if ours == op) {
            return;
        }
        live.displaceable = Displaceable::new(&live.meeting, found, now.wall);
        self.fan_out(now, id);
    }

    /// Slots that suit only if something is displaced: where the least lies in the way first, then by the objective.
    pub(super) fn overlays(
        &self,
        live: &Live,
        candidates: &[TimeRange],
        holds: &[LiveHold],
        standing: &ranking::Ranking<'_>,
    ) -> Vec<TimeRange> {
        if live.displaceable.is_empty() {
            return Vec::new();
        }
        let spec = &live.meeting.spec;
        let without: HashSet<TimeRange> = standing.feasible.iter().map(|scored| scored.slot).collect();
        let ranking = ranking::rank(spec, candidates, &live.answers, holds);
        let slots = ranking.feasible.iter().map(|scored| scored.slot);
        // A named slot was asked of nobody: that it seems to suit says little.
        let named = live.meeting.named_slot.is_some();
        let in_the_way = |slot: &TimeRange| live.displaceable.overlapping(&spec.blocked(slot)) > 0;
        let wanted = |slot: &TimeRange| in_the_way(slot) && (named || !without.contains(slot));
        let mut slots: Vec<TimeRange> = slots.filter(wanted).collect();
        slots.sort_by_cached_key(|slot| live.displaceable.overlapping(&spec.blocked(slot)));
        slots
    }

    /// The same slots as candidates that say what they would displace.
    pub(super) fn overlaid_candidates(
        &self,
        live: &Live,
        overlays: &[TimeRange],
        holds: &[LiveHold],
        limit: usize,
    ) -> Vec<Candidate> {
        let ranking = ranking::rank(&live.meeting.spec, overlays, &live.answers, holds);
        let places = overlays.iter().filter_map(|slot| ranking.feasible.iter().find(|s| s.slot == *slot));
        let overlaid = places.filter_map(|scored| {
            let (_, displaces) = self.whom_to_ask(live, &scored.slot, true)?;
            let titles: BTreeSet<MeetingId> = displaces.into_iter().map(|attempt| attempt.meeting).collect();
            let mut candidate = ranking.candidate(scored);
            candidate.score = 0;
            candidate.reason = format!("only by displacing {} of lower priority", meetings(titles.len()));
            candidate.displaces = titles.into_iter().collect();
            Some(candidate)
        });
        overlaid.take(limit).collect()
    }

    /// What the decision of this attempt displaces: those of the overlaid meetings that take the time of somebody who
    /// is booked now. `Err` says why it can't be decided as it stands: one of them has changed since.
    pub(super) fn displacement(
        &self,
        now: Now,
        live: &Live,
        holding: &Holding,
        commit: &BTreeSet<ParticipantId>,
    ) -> Result<Displacement, String> {
        let mut all = Displacement::default();
        for attempt in &holding.row.displaces {
            let Some(overlaid) = live.displaceable.get(attempt) else { continue };
            if overlaid.attending.is_disjoint(commit) {
                continue;
            }
            let (before, open) = self.as_it_is(&overlaid.meeting)?;
            if !may_displace(live.meeting.rank.priority, &before, now.wall) {
                // Its title is nobody else's business.
                return Err(format!("meeting {} can't be displaced any more", before.id));
            }
            let after = displaced_meeting(now, &before, &live.meeting.id);
            let (row, attending) = (overlaid.row.clone(), overlaid.attending.clone());
            let displaced = Displaced { before, after, row, attending, open };
            if !planted(Planted::DisplacedNotCompared) {
                all.conditions.extend(displaced.conditions());
            }
            let deliveries = displaced.deliveries(commit);
            if !planted(Planted::DisplacedNotMarked) {
                all.writes.extend(displaced.writes());
            }
            all.writes.extend(deliveries.iter().cloned().map(Write::Delivery));
            all.deliveries.extend(deliveries);
            all.displaced.push(displaced);
        }
        Ok(all)
    }

    /// The overlaid meeting with the attempt of a change that is under way, unless that is being written.
    #[allow(clippy::type_complexity)] // two halves of one look
    fn as_it_is(&self, read: &Meeting) -> Result<(Meeting, Option<(Attempt, Vec<ParticipantId>)>), String> {
        let changed = || Err(format!("meeting {} was changed meanwhile", read.id));
        if self.changing.contains_key(&read.id) {
            return changed();
        }
        let Some(live) = self.live.get(&read.id) else { return Ok((read.clone(), None)) };
        if live.group.as_ref().is_some_and(|group| !self.has_ended(group)) {
            return changed();
        }
        match (&live.job, &live.phase) {
            (Job::Change { current, .. }, phase) if current.version == read.version => match phase {
                Phase::Writing { .. } => changed(),
                Phase::Holding(h) => {
                    Ok(((**current).clone(), Some((h.row.attempt.clone(), h.row.asked.clone()))))
                }
                _ => Ok(((**current).clone(), None)),
            },
            _ => changed(),
        }
    }

    /// D3 is on its way: whatever was about to change what it displaces waits for it.
    pub(super) fn suspend_displaced(&mut self, displacer: &MeetingId, displaced: &[Displaced]) {
        let Some(&Phase::Writing { op, .. }) = self.live.get(displacer).map(|live| &live.phase) else {
            return;
        };
        for one in displaced {
            *self.changing.entry(one.before.id.clone()).or_default() += 1;
            if let Some((open, _)) = &one.open {
                self.aborting.insert(open.clone());
            }
            let Some(live) = self.live.get_mut(&one.before.id) else { continue };
            if let Phase::Querying { query, .. } = &live.phase {
                self.queries.remove(query);
            }
            let over = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
            let was = Box::new(std::mem::replace(&mut live.phase, over));
            let next = Next::Displaced(was);
            live.phase = Phase::Writing { op, next, holding: None, release: Vec::new() };
        }
    }

    /// D3 met something else than it rests on: what was about to change goes on.
    pub(super) fn resume_displaced(&mut self, now: Now, displaced: &[Displaced]) {
        for one in displaced {
            let id = &one.before.id;
            self.changed(id);
            if let Some((open, _)) = &one.open {
                self.aborting.remove(open);
            }
            let Some(live) = self.live.get_mut(id) else { continue };
            let over = Phase::Waiting { blockers: BTreeSet::new(), wake: None };
            match std::mem::replace(&mut live.phase, over) {
                Phase::Writing { next: Next::Displaced(was), .. } => match *was {
                    Phase::Holding(holding) => {
                        let attempt = holding.row.attempt.clone();
                        live.phase = Phase::Holding(holding);
                        self.vote_timeout(now, id);
                        // With the votes that came in meanwhile.
                        self.evaluate(now, &attempt);
                        self.contend_again(now, &attempt);
                    }
                    // An answer may have come in meanwhile: everyone is asked anew.
                    _ => self.begin_round(now, id),
                },
                phase => live.phase = phase,
            }
            self.empty_inbox(now, id);
        }
    }

    /// Its confirms say nothing any more; called before the releases of the same transaction are queued.
    pub(super) fn forget_displaced(&mut self, displaced: &[Displaced]) {
        for one in displaced {
            self.drop_confirms(&one.row.attempt);
            self.forget_confirms(&one.row.attempt, &one.row.commit_set);
        }
    }

    /// D3 is on disk: everyone who attended is told, and the meeting is sought again.
    pub(super) fn was_displaced(&mut self, now: Now, displaced: Vec<Displaced>) {
        for one in displaced {
            let id = one.before.id.clone();
            self.changed(&id);
            self.counters.displaced += 1;
            self.finish(&id, &Reply::Refused(Refused::NotConfirmed(MeetingState::Displaced)));
            if let Some((open, asked)) = &one.open {
                self.counters.abort(AbortCause::Displaced);
                self.unhold(open, asked);
            }
            let notice = Notice {
                meeting: id.clone(),
                kind: NoticeKind::BeingMoved,
                message: format!(
                    "{:?} lost its time to a meeting of higher priority and is being moved",
                    one.before.spec.title
                ),
                slot: one.before.slot,
                title: one.before.spec.title.clone(),
            };
            self.send_all(one.attending, &SchedulerMessage::Notice(Arc::new(notice)));
            if !self.draining {
                self.resume(now, one.after);
            }
        }
    }
}

impl Displaced {
    fn conditions(&self) -> Vec<Condition> {
        let id = self.before.id.clone();
        let mut conditions = vec![
            Condition::MeetingVersion(id.clone(), self.before.version),
            Condition::AttemptIs(self.row.attempt.clone(), AttemptState::Committed),
        ];
        conditions.extend(self.before.last_attempt.map(|last| Condition::NoAttemptAfter(id, last)));
        let holding = |(open, _): &(Attempt, _)| Condition::AttemptIs(open.clone(), AttemptState::Holding);
        conditions.extend(self.open.as_ref().map(holding));
        conditions
    }

    fn writes(&self) -> Vec<Write> {
        let mut writes = vec![
            Write::Meeting(Box::new(self.after.clone())),
            Write::AttemptState(self.row.attempt.clone(), AttemptState::Superseded),
            Write::RemoveBookings(self.row.attempt.clone(), None),
            event(EventKind::Displaced, &self.after),
        ];
        let confirm = |participant: &ParticipantId| {
            Write::RemoveDelivery(participant.clone(), self.row.attempt.clone(), AckKind::Confirm)
        };
        writes.extend(self.row.commit_set.iter().map(confirm));
        let aborted = |(open, _): &(Attempt, _)| Write::AttemptState(open.clone(), AttemptState::Aborted);
        writes.extend(self.open.as_ref().map(aborted));
        writes
    }

    /// Whoever is booked by the displacer drops it with that confirm; everyone else is released.
    fn deliveries(&self, commit: &BTreeSet<ParticipantId>) -> Vec<Delivery> {
        let release = |participant: &ParticipantId, attempt: &Attempt, cause| Delivery {
            participant: participant.clone(),
            attempt: attempt.clone(),
            body: DeliveryBody::Release(cause),
        };
        let others = self.attending.difference(commit);
        let mut deliveries: Vec<Delivery> =
            others.map(|p| release(p, &self.row.attempt, ReleaseCause::Displaced)).collect();
        if let Some((open, asked)) = &self.open {
            deliveries.extend(asked.iter().map(|p| release(p, open, ReleaseCause::Aborted)));
        }
        deliveries
    }
}

/// The meeting without its slot, to be sought again within its window. If its organizer had named the slot, no window was
/// ever asked for: then from that slot on.
fn displaced_meeting(now: Now, before: &Meeting, by: &MeetingId) -> Meeting {
    let mut after = before.clone();
    if let (Some(_), Some(slot)) = (before.named_slot, before.slot) {
        after.spec.window.earliest = Some(slot.start);
        after.spec.window.latest = Some(super::super::time::add(slot.end, limits::WINDOW_DEFAULT));
    }
    after.state = MeetingState::Displaced;
    after.version += 1;
    after.displaced_count += 1;
    after.displaced_by = Some(by.clone());
    after.displaced.clear();
    after.booked = None;
    after.slot = None;
    after.local_start = None;
    after.blocked = None;
    after.named_slot = None;
    after.update_time = now.wall;
    after.deadline = super::super::time::add(now.wall, limits::DISPLACED_DEADLINE);
    for outcome in after.attendees.iter_mut().filter(|o| o.status == AttendeeStatus::Attending) {
        outcome.status = AttendeeStatus::NotAsked;
        outcome.delivered = false;
    }
    after
}

fn meetings(count: usize) -> String {
    match count {
        1 => "1 booked meeting".into(),
        n => format!("{n} booked meetings"),
    }
}
