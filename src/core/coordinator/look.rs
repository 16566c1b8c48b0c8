//! What the machine is at, for those who look in. Nothing here changes it.

use super::*;

/// What a job is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Books a meeting.
    Booking,
    /// Looks for slots, and books nothing.
    Search,
    /// Moves a meeting, or changes who attends.
    Change,
    /// Books or changes a series.
    Series,
}

/// One request that is being worked on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InFlight {
    /// The meeting, or what stands for it in a search or a series.
    pub meeting: MeetingId,
    /// What for.
    pub work: Work,
    /// The phase, as in the table of `core::coordinator`, in lower case.
    pub phase: &'static str,
    /// The slot that is held.
    pub slot: Option<TimeRange>,
    /// How many attendees it names.
    pub attendees: usize,
    /// Who has not answered, or is not connected yet.
    pub waiting_for: Vec<ParticipantId>,
    /// Slots tried so far.
    pub attempts: u32,
    /// Until its deadline.
    pub left: Duration,
}

/// How much there is of what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gauges {
    /// Requests that are being worked on, by phase; all phases are there.
    pub live: Vec<(&'static str, usize)>,
    /// Holds that wait for a decision, of all participants.
    pub holds: usize,
    /// Confirms and releases that are not acknowledged.
    pub undelivered: usize,
    /// Whether no further requests are taken.
    pub draining: bool,
}

const PHASES: [&str; 7] =
    ["connecting", "reading", "querying", "holding", "waiting", "occurrences", "writing"];

impl Phase {
    fn place(&self) -> usize {
        match self {
            Phase::Connecting { .. } => 0,
            Phase::Reading { .. } => 1,
            Phase::Querying { .. } => 2,
            Phase::Holding(_) => 3,
            Phase::Waiting { .. } => 4,
            Phase::Members(_) => 5,
            Phase::Writing { .. } => 6,
        }
    }
}

impl Coordinator {
    fn waits_for(&self, live: &Live) -> Vec<ParticipantId> {
        match &live.phase {
            Phase::Connecting { .. } => {
                let named = live.meeting.spec.attendees.iter().map(|attendee| &attendee.id);
                named.filter(|id| self.ready(id).is_none()).cloned().collect()
            }
            Phase::Querying { round, .. } => round.silent().cloned().collect(),
            Phase::Holding(holding) => {
                let silent =
                    holding.ballots.iter().filter(|(_, b)| matches!(b, Ballot::Waiting | Ballot::Pushing(_)));
                silent.map(|(id, _)| id.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// How much there is of what.
    pub fn gauges(&self) -> Gauges {
        let mut live = PHASES.map(|phase| (phase, 0));
        for job in self.live.values() {
            live[job.phase.place()].1 += 1;
        }
        Gauges {
            live: live.to_vec(),
            holds: self.held.values().map(BTreeSet::len).sum(),
            undelivered: self.undelivered_count(),
            draining: self.draining,
        }
    }

    /// Up to `limit` of the requests that are being worked on, by name.
    pub fn in_flight(&self, now: Now, limit: usize) -> Vec<InFlight> {
        let mut jobs: Vec<(&MeetingId, &Live)> = self.live.iter().collect();
        jobs.sort_by_key(|(id, _)| *id);
        jobs.truncate(limit);
        let shown = |(id, live): (&MeetingId, &Live)| {
            let slot = match &live.phase {
                Phase::Holding(holding) | Phase::Writing { holding: Some(holding), .. } => {
                    Some(holding.row.slot)
                }
                _ => None,
            };
            let mut waiting_for = self.waits_for(live);
            waiting_for.sort();
            InFlight {
                meeting: id.clone(),
                work: match live.job {
                    Job::New => Work::Booking,
                    Job::Find { .. } => Work::Search,
                    Job::Change { .. } => Work::Change,
                    Job::Series(_) => Work::Series,
                },
                phase: PHASES[live.phase.place()],
                slot,
                attendees: live.meeting.spec.attendees.len(),
                waiting_for,
                attempts: live.meeting.attempts,
                left: live.deadline.since(now.mono),
            }
        };
        jobs.into_iter().map(shown).collect()
    }
}
