//! Starting from what the store has, and stopping. A restart is no special path: undecided attempts are
//! aborted, deliveries resume, and each agent is reconciled as it comes back.

use super::*;
use crate::core::measure::AbortCause;
use crate::core::message::{AckKind, ReleaseCause};
use crate::core::planted::{Planted, planted};
use crate::core::record::{AttemptState, DeliveryBody, Snapshot};

/// What a coordinator starts from.
#[derive(Clone, Debug)]
pub struct Start {
    /// The store's live content.
    pub snapshot: Snapshot,
    /// Seeds jitter and names.
    pub seed: u64,
    /// Whom there is room for.
    pub room: Room,
}

impl Coordinator {
    /// A coordinator over the store's content, and what has to be done first.
    pub fn start(now: Now, start: Start) -> (Self, Vec<Effect>) {
        let Start { snapshot, seed, room } = start;
        let mut random = Random::new(seed);
        let fresh = snapshot.incarnation.is_empty();
        // By a random step: a copy of an older store must not tread where a life that it does not know of trod.
        let step = match planted(Planted::RestoredGenerationReused) {
            true => 1,
            false => 1 + random.below(limits::GENERATION_STEP) as u32,
        };
        let generation = if fresh { 0 } else { snapshot.generation.saturating_add(step) };
        let incarnation = random.uuid();
        // Whoever was asked holds, until the release that is to come is on disk.
        let asked: BTreeSet<&ParticipantId> = snapshot.holding.iter().flat_map(|row| &row.asked).collect();
        let unmet: BTreeSet<&ParticipantId> =
            snapshot.strangers.iter().filter(|id| !asked.contains(id)).collect();
        let known = |row: &ParticipantRow| {
            (
                row.id.clone(),
                Known {
                    row: row.clone(),
                    settled: Some(row.lineage),
                    remarks: Remarks::default(),
                    origin: Origin::default(),
                    connected: None,
                    met: !unmet.contains(&row.id),
                    caller: None,
                },
            )
        };
        let mut this = Self {
            generation,
            incarnation: incarnation.clone(),
            random,
            participants: snapshot.participants.iter().map(known).collect(),
            sessions: Sessions::default(),
            strangers: Strangers::default(),
            strangers_look: Mono::default(),
            room,
            live: HashMap::new(),
            requests: HashMap::new(),
            lookups: HashMap::new(),
            series_lookups: HashMap::new(),
            open_series: BTreeMap::new(),
            parts: HashMap::new(),
            next_part: 0,
            queries: HashMap::new(),
            connecting: BTreeSet::new(),
            reading_promises: BTreeSet::new(),
            along: HashMap::new(),
            waiting: BTreeSet::new(),
            changing: BTreeMap::new(),
            aborting: BTreeSet::new(),
            held: HashMap::new(),
            registering: HashMap::new(),
            undelivered: BTreeMap::new(),
            confirms: HashMap::new(),
            pending: HashMap::new(),
            delivering: HashMap::new(),
            delivered_anew: HashMap::new(),
            timers: BTreeSet::new(),
            timer_keys: TimerKeys::default(),
            next_op: 0,
            next_query: 0,
            draining: false,
            drained: false,
            counters: Counters::default(),
            tracer: Default::default(),
            out: Vec::new(),
        };
        let conditions = vec![Condition::GenerationIs(snapshot.generation)];
        let writes = vec![Write::Generation { generation, incarnation }];
        this.apply(Transaction { conditions, writes }, Pending::Nothing);
        for known in this.participants.values() {
            if !known.met {
                this.strangers.add(None, known.row.last_seen, known.row.id.clone());
            }
            this.out.push(Effect::Participant(known.row.clone(), None, known.remarks.clone()));
        }
        for delivery in snapshot.deliveries {
            if delivery.body.kind() == AckKind::Confirm {
                this.confirms.entry(delivery.attempt.clone()).or_insert((0, None)).0 += 1;
            }
            this.note_delivery(now, delivery);
        }
        for row in snapshot.holding {
            this.abort_found(&row);
        }
        let (together, alone) = this.of_series(&snapshot.live_series, snapshot.live_meetings);
        for meeting in alone {
            if matches!(meeting.state, MeetingState::Scheduling | MeetingState::Displaced) {
                this.resume(now, meeting);
            }
        }
        for series in snapshot.live_series {
            this.resume_series(now, series, &together);
        }
        let first = std::mem::take(&mut this.out);
        (this, first)
    }

    /// An attempt that nobody works on any more.
    pub(super) fn abort_found(&mut self, row: &AttemptRow) {
        let release = |participant: &ParticipantId| Delivery {
            participant: participant.clone(),
            attempt: row.attempt.clone(),
            body: DeliveryBody::Release(ReleaseCause::Aborted),
        };
        let deliveries: Vec<Delivery> = row.asked.iter().map(release).collect();
        let mut writes = vec![Write::AttemptState(row.attempt.clone(), AttemptState::Aborted)];
        writes.extend(deliveries.iter().cloned().map(Write::Delivery));
        let conditions = vec![self.fence(), Condition::AttemptIs(row.attempt.clone(), AttemptState::Holding)];
        self.counters.abort(AbortCause::Restart);
        self.apply(Transaction { conditions, writes }, Pending::Deliver(deliveries));
    }

    /// A meeting that was being sought goes on being sought, until its deadline, with those who come back; a displaced
    /// one likewise.
    pub(super) fn resume(&mut self, now: Now, meeting: Meeting) {
        let left = (meeting.deadline - now.wall).to_std().unwrap_or_default().min(limits::DEADLINE_MAX);
        let deadline = now.mono + left;
        let id = meeting.id.clone();
        self.requests.insert(meeting.request_id.clone(), id.clone());
        let displaced = meeting.state == MeetingState::Displaced;
        let wait = if displaced { limits::DISPLACED_CONNECT } else { limits::RECOVERY_CONNECT };
        let wait = meeting.options.connect_timeout.max(wait);
        // Its row exists already, whatever comes first: a round, a named slot, or the end.
        let mut live =
            Live::new(Job::New, meeting, true, Vec::new(), deadline, deadline.min(now.mono + wait));
        if displaced {
            live.told = live.meeting.spec.attendees.iter().map(|attendee| attendee.id.clone()).collect();
        }
        self.live.insert(id.clone(), live);
        self.trace(&id);
        self.connect(now, &id);
    }

    /// The time for a decision is over: what is undecided is given up, and a restart takes it up again.
    pub(super) fn suspend_all(&mut self) {
        let mut ids: Vec<MeetingId> = self.live.keys().cloned().collect();
        ids.sort();
        for id in ids {
            self.suspend(&id);
        }
        let meetings = std::mem::take(&mut self.lookups).into_values().flatten().map(|(ticket, ..)| ticket);
        let series =
            std::mem::take(&mut self.series_lookups).into_values().flatten().map(|(ticket, ..)| ticket);
        for ticket in meetings.chain(series).collect::<Vec<_>>() {
            self.refuse(ticket, Refused::ShuttingDown);
        }
    }

    pub(super) fn suspend(&mut self, id: &MeetingId) {
        let Some(live) = self.live.get_mut(id) else { return };
        if live.group.is_some() {
            return;
        }
        let attempt = match &live.phase {
            Phase::Writing { .. } => return live.inbox.push(Inbox::Drain),
            Phase::Members(_) => return self.suspend_series(id),
            Phase::Holding(holding) => Some(holding.row.attempt.clone()),
            _ => None,
        };
        let carry =
            attempt.and_then(|a| self.abort(&a, AttemptOutcome::Aborted, "the scheduler is shutting down"));
        match carry {
            Some((carry, _)) => self.write_for(id, Next::Suspend, None, carry, Vec::new(), Vec::new()),
            None => self.finish(id, &Reply::Refused(Refused::ShuttingDown)),
        }
    }
}
