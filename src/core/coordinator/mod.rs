//! The scheduler's side of the booking protocol: takes inputs with the time, returns effects.
//!
//! One meeting that is being sought, moved or changed is a `Live` job. Its phases:
//!
//! | phase | event | next |
//! |---|---|---|
//! | Connecting | all named attendees are there, or the wait is over | a round: Querying (a named slot: straight to D1); one that may displace: Reading first |
//! | Reading | what may be displaced was read | Querying |
//! | Querying | all answers, or the round's timeout | rank: D1 for the best slot → Writing(Hold); none: Waiting, or Writing(Fail) |
//! | Holding | votes suffice, and all answered or the grace is over | D3 → Writing(Decide) |
//! | Holding | a required refusal, the quorum is gone, the attempt's deadline, pushed by a higher rank | ABORTED and the next slot's D1 in one transaction → Writing(Hold); or Writing(Wait), Writing(Fail) |
//! | Waiting | the attempts in the way are decided, or a calendar changed | after 50–500 ms a new round |
//! | Writing(…) | the store applied it | Hold: send releases and holds → Holding. Decide: answer, send confirms → done. Wait → Waiting. Fail, Cancel: answer → done |
//! | Writing(…) | the store refused: overlap or lineage | Decide: that participant's vote is struck → Holding, or given up |
//! | any but Writing | a meeting that displaces this one is decided | Writing(Displaced), until that D3 is applied: the job ends, and the meeting is sought anew |
//! | any | the meeting's deadline | given up: Writing(Fail) |
//!
//! Each job has at most one transaction in flight; what arrives meanwhile for its meeting waits in its inbox.
//! Effects that rest on a transaction are returned only after the store said that it is applied (D1, D3, D5).
//!
//! A store that failed is not guessed about: the engine drops the coordinator and starts another from the store's
//! snapshot, which is the same path as a restart.

mod ask;
mod change;
mod decide;
mod deliver;
mod displace;
mod hold;
mod intake;
mod interface;
mod live;
mod look;
mod reconcile;
mod register;
mod seek;
mod series;
mod sessions;
mod start;
mod storing;
mod timers;
mod tracer;
mod votes;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ids::{
    Attempt, AttemptNumber, Epoch, Lineage, MeetingId, ParticipantId, QueryId, RequestId, SessionId, Ticket,
};
use super::message::{AgentMessage, NoticeKind, Origin, SchedulerMessage};
use super::model::{
    AttemptOutcome, AttendeeOutcome, Candidate, Failure, Meeting, MeetingSpec, MeetingState, Options, Window,
};
use super::planted::{Planted, planted};
use super::random::Random;
use super::record::{
    Applied, AttemptRow, Condition, Delivery, ParticipantRow, Read, ReadResult, Transaction, Write,
};
use super::time::{Instant, Mono, Now, TimeRange};
use super::zone_data::ZoneMatch;
use super::{displacement::Displaceable, limits, round::Round};

pub use super::measure::Counters;
pub use interface::*;
pub use look::{Gauges, InFlight, Work};
pub use sessions::Room;
use sessions::{Sessions, Strangers};
pub use start::Start;
use timers::{Timer, TimerKeys};

#[derive(Clone, Debug)]
struct Connected {
    session: SessionId,
    epoch: Epoch,
    since: Instant,
    /// Whether it may be asked: the registration is on disk and answered.
    ready: bool,
    disclosure: super::availability::Disclosure,
}

#[derive(Clone, Debug)]
struct Known {
    row: ParticipantRow,
    /// The lineage that the last settled registration had, or the store.
    settled: Option<Lineage>,
    /// What is noted of the agent that registered last.
    remarks: Remarks,
    /// Who registered last.
    origin: Origin,
    connected: Option<Connected>,
    /// Whether it was asked to promise anything, or the store has anything of it but its row, since it was last looked.
    met: bool,
    /// Who spoke for it last, if that is known.
    caller: Option<IpAddr>,
}

#[derive(Clone, Debug)]
struct Undelivered {
    delivery: Delivery,
    /// When it is sent again.
    next: Mono,
    pause: Duration,
    /// Whose trace it belongs to.
    trace: Option<super::trace::TraceContext>,
}

/// Why a job exists.
#[derive(Clone, PartialEq, Debug)]
enum Job {
    /// Books a new meeting.
    New,
    /// Looks for slots only.
    Find { limit: usize },
    /// Gives a confirmed meeting another slot, or other attendees.
    Change { current: Box<Meeting>, old: Box<AttemptRow>, kind: super::model::EventKind },
    /// Books the occurrences of a series, or calls them off: by further jobs, one for each meeting.
    Series(Box<series::SeriesJob>),
}

#[derive(Clone, PartialEq, Debug)]
enum Ballot {
    /// Not answered.
    Waiting,
    /// Granted.
    Yes,
    /// Refused, finally.
    No(super::message::Refusal),
    /// Refused for a hold that is being pushed away.
    Pushing(Attempt),
    /// Its vote is gone or void, and never counts again in this attempt.
    Struck,
}

#[derive(Clone, Debug)]
struct Holding {
    row: AttemptRow,
    ballots: BTreeMap<ParticipantId, Ballot>,
    journal: BTreeMap<ParticipantId, u64>,
    /// When the holds left.
    since: Mono,
    deadline: Mono,
    grace: Option<Mono>,
    /// How often a hold was sent again after a push, for all participants.
    again: u32,
}

#[derive(Clone, Debug)]
enum Next {
    /// D1 is on its way: send the holds.
    Hold,
    /// D3 is on its way.
    Decide(Box<Decision>),
    /// The attempt is given up: look for another slot, or wait for what is in the way.
    Seek,
    /// The failure is on its way.
    Fail(Box<Meeting>),
    /// The attempt of a change is given up, and nothing else is left to try.
    FailChange(Box<Failure>),
    /// The cancellation is on its way.
    Cancel(Box<Meeting>),
    /// The job ends without a word, for a restart to take up: shutdown.
    Suspend,
    /// D3 of a meeting that displaces this one is on its way; what this job did until then.
    Displaced(Box<Phase>),
    /// A row of the series is on its way.
    Series(series::SeriesNext),
}

/// What D3 says.
#[derive(Clone, Debug)]
struct Decision {
    /// The meeting as booked.
    meeting: Meeting,
    /// The commit set C.
    commit: BTreeSet<ParticipantId>,
    /// What loses its slot to it.
    displaced: Vec<displace::Displaced>,
}

#[derive(Clone, Debug)]
enum Phase {
    Connecting {
        until: Mono,
    },
    Reading {
        op: OpId,
    },
    Querying {
        query: QueryId,
        round: Round,
        candidates: Vec<TimeRange>,
        windows: Vec<TimeRange>,
        /// When it was asked.
        since: Mono,
    },
    Holding(Box<Holding>),
    Waiting {
        blockers: BTreeSet<Attempt>,
        wake: Option<Mono>,
    },
    /// Of a series: its meetings' jobs are at work.
    Members(series::Members),
    Writing {
        op: OpId,
        next: Next,
        holding: Option<Box<Holding>>,
        release: Vec<Delivery>,
    },
}

/// What happens to a live meeting while a transaction of it is in flight.
#[derive(Clone, Debug)]
enum Inbox {
    Cancel(Ticket, Option<u64>),
    Withdraw { participant: ParticipantId, n: Option<AttemptNumber>, reason: String },
    Deadline,
    Drain,
}

#[derive(Clone, Debug)]
struct Live {
    job: Job,
    /// The series that decides this meeting together with its other ones, or not at all.
    group: Option<MeetingId>,
    /// Bookings of the same series that are moved together with this one, and lie where this one goes.
    siblings: Vec<Attempt>,
    /// The meeting as it will be; of a change, with the new wishes filled in.
    meeting: Meeting,
    /// Whether the store has the meeting's row.
    stored: bool,
    tickets: Vec<Ticket>,
    cancels: Vec<Ticket>,
    deadline: Mono,
    phase: Phase,
    /// All candidate slots, computed once; `None` until the first round.
    candidates: Option<Vec<TimeRange>>,
    /// How many of the candidates were asked about, with `max_candidates_per_round`.
    asked_until: usize,
    /// Answers of the last round, in the order of the spec's attendees.
    answers: Vec<super::availability::Answer>,
    /// What was said of the slots of earlier rounds, with `max_candidates_per_round`.
    earlier: HashMap<ParticipantId, Vec<super::model::FreeTime>>,
    /// Slots that are given up for good.
    dead: HashSet<TimeRange>,
    /// Who refused to hold a slot.
    refused_by: BTreeSet<ParticipantId>,
    /// What it may displace, as read before the last round.
    displaceable: Displaceable,
    /// Slots for which something has to be displaced, the best first: tried when there is no other.
    overlays: std::collections::VecDeque<TimeRange>,
    /// Slots of the last round, the best first, that were not tried yet.
    queue: std::collections::VecDeque<TimeRange>,
    /// Attempts that stood in the way of a slot that is possible otherwise.
    blockers: BTreeSet<Attempt>,
    /// Attempts that count against `max_attempts`.
    charged: u32,
    /// Everyone who was asked anything, for notices.
    told: BTreeSet<ParticipantId>,
    inbox: Vec<Inbox>,
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // few at a time, and most are of the largest kind
enum Pending {
    /// A transaction of a live meeting.
    Live(MeetingId),
    /// A registration's row: the participant is ready once it is on disk.
    Registered(Box<reconcile::Admission>),
    /// Deliveries that may be sent once they are on disk.
    Deliver(Vec<Delivery>),
    /// A confirm to an agent that asks; what became of the attempt is read again if it changed meanwhile.
    Tell(Delivery),
    /// A change without a job: cancel or details.
    Direct(Box<change::Direct>),
    /// A withdrawal from a booking; read again if the meeting changed meanwhile.
    Withdraw {
        participant: ParticipantId,
        attempt: Attempt,
        reason: String,
        release: Delivery,
    },
    /// Nothing follows.
    Nothing,
    /// Reads.
    ReadRequest(RequestId),
    ReadForCommand {
        ticket: Ticket,
        command: Command,
        deadline: Mono,
    },
    ReadPromises {
        participant: ParticipantId,
        epoch: Epoch,
    },
    /// Whom nothing binds, as far as the store can tell.
    ReadStrangers,
    /// What became of a part of the attempts that a registration reports.
    ReadReported {
        participant: ParticipantId,
        epoch: Epoch,
    },
    ReadAttempt {
        participant: ParticipantId,
        attempt: Attempt,
    },
    ReadWithdraw {
        participant: ParticipantId,
        meeting: MeetingId,
        n: Option<AttemptNumber>,
        reason: String,
    },
    /// The meeting of an attempt whose last confirm was acknowledged.
    ReadDelivered(Attempt),
    /// What this job may displace.
    ReadDisplaceable(MeetingId),
    /// D1 or D3 of all meetings of a series.
    Group(MeetingId),
    /// The series of a request id.
    ReadSeriesRequest(RequestId),
    /// A series that is to be changed, resumed or booked further.
    ReadSeries(series::SeriesRead),
    /// The row of a job whose transaction met an unexpected state.
    ReadUnexpected {
        tickets: Vec<Ticket>,
        change: bool,
    },
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Coordinator {
    generation: u32,
    incarnation: String,
    random: Random,
    participants: BTreeMap<ParticipantId, Known>,
    sessions: Sessions,
    strangers: Strangers,
    /// When it may be looked again whom nothing binds.
    strangers_look: Mono,
    room: Room,
    live: HashMap<MeetingId, Live>,
    requests: HashMap<RequestId, MeetingId>,
    /// Requests whose id is being looked up, with everyone who sent the same one.
    lookups: HashMap<RequestId, Vec<(Ticket, Box<ScheduleRequest>, Mono)>>,
    series_lookups: HashMap<RequestId, Vec<(Ticket, Box<super::series::SeriesRequest>, Mono)>>,
    /// Series without an end, and when they have to be booked further.
    open_series: BTreeMap<super::ids::SeriesId, Instant>,
    /// Tickets of the jobs that a series' job waits for.
    parts: HashMap<Ticket, MeetingId>,
    next_part: u64,
    queries: HashMap<QueryId, MeetingId>,
    /// Meetings that wait for attendees to connect.
    connecting: BTreeSet<MeetingId>,
    /// Meetings that wait for an attempt of another one to be decided.
    waiting: BTreeSet<MeetingId>,
    /// Meetings with changes on their way to the store that no job makes, and how many.
    changing: BTreeMap<MeetingId, usize>,
    /// Attempts whose abort is on its way to the store.
    aborting: BTreeSet<Attempt>,
    /// Live holds, by whom they were asked of.
    held: HashMap<ParticipantId, BTreeSet<Attempt>>,
    registering: HashMap<ParticipantId, register::Registering>,
    /// Whose promises are being read, for this registration or for an earlier one: one read at a time for each.
    reading_promises: BTreeSet<ParticipantId>,
    undelivered: BTreeMap<ParticipantId, BTreeMap<Attempt, Undelivered>>,
    /// Confirms not yet acknowledged, by attempt.
    confirms: HashMap<Attempt, (usize, Option<Arc<Meeting>>)>,
    pending: HashMap<OpId, Pending>,
    /// Deliveries on their way to the store, by the transaction that carries them, and how often each is.
    delivering: HashMap<OpId, Vec<(ParticipantId, Attempt)>>,
    /// Releases that go along with the writes of a transaction.
    along: HashMap<OpId, Vec<Delivery>>,
    delivered_anew: HashMap<(ParticipantId, Attempt), u32>,
    timers: BTreeSet<(Mono, Timer)>,
    timer_keys: TimerKeys,
    next_op: u64,
    next_query: u64,
    draining: bool,
    drained: bool,
    counters: Counters,
    tracer: tracer::Tracer,
    out: Vec<Effect>,
}

impl Coordinator {
    /// Takes one input at the time `now`; returns what has to be done, in order.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Effect> {
        self.tracer.tick(now);
        match input {
            Input::Command { ticket, command, deadline } => self.command(now, ticket, command, deadline),
            Input::SessionOpened(session, caller) => self.sessions.opened(session, caller),
            Input::Agent(session, message) => self.agent(now, session, message),
            Input::SessionClosed(session) => self.session_closed(now, session),
            Input::Applied(op, applied) => self.applied(now, op, applied),
            Input::Read(op, result) => self.was_read(now, op, result),
            Input::Timeout => self.timeouts(now),
            Input::Drain(grace) => {
                self.draining = true;
                self.timers.insert((now.mono + grace, Timer::Drain));
            }
        }
        self.hear_parts(now);
        self.check_drained();
        self.tracer.answered(&self.out);
        std::mem::take(&mut self.out)
    }

    /// When [`Input::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The life of the store that this coordinator works for.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// How many requests are alive.
    pub fn live_count(&self) -> usize {
        self.live.len()
    }

    /// Whether a registration of this participant that came over this stream waits for what the store has of it. One that
    /// came over another stream since has taken its place.
    pub fn is_registering(&self, participant: &ParticipantId, over: SessionId) -> bool {
        self.registering.get(participant).is_some_and(|registering| registering.is_over(over))
    }

    /// How many confirms and releases are not acknowledged.
    pub fn undelivered_count(&self) -> usize {
        self.undelivered.values().map(BTreeMap::len).sum()
    }

    fn agent(&mut self, now: Now, session: SessionId, message: AgentMessage) {
        if let AgentMessage::Register(register) = message {
            return self.register(now, session, *register);
        }
        let participant = message.participant().clone();
        let current = self.participants.get(&participant).and_then(|known| known.connected.as_ref());
        if current.is_none_or(|c| c.session != session) && !planted(Planted::StaleEpochAccepted) {
            self.counters.stale += 1;
            return self.out.push(Effect::Reject(session, participant, Rejected::NotRegistered));
        }
        match message {
            AgentMessage::Register(_) => {}
            AgentMessage::Unregister { participant } => self.unregister(now, session, &participant),
            AgentMessage::Availability { participant, query, answer } => {
                self.answered(now, session, participant, &query, answer);
            }
            AgentMessage::Vote { participant, attempt, vote, sequence } => {
                self.saw_sequence(&participant, sequence);
                if vote == crate::core::message::Vote::Granted {
                    self.heard_vote(&participant, &attempt);
                }
                self.voted(now, participant, attempt, vote);
            }
            AgentMessage::Ack { participant, attempt, kind, revision, sequence } => {
                self.saw_sequence(&participant, sequence);
                self.acked(now, participant, attempt, kind, revision);
            }
            AgentMessage::Resolve { participant, attempt } => self.resolve(now, participant, attempt),
            AgentMessage::CalendarChanged { participant } => self.calendar_changed(now, &participant),
            AgentMessage::Withdraw { participant, meeting, attempt, reason, sequence } => {
                self.saw_sequence(&participant, sequence);
                self.withdraw(now, participant, meeting, attempt, reason);
            }
        }
    }

    /// Notes the highest sequence in memory; it is stored with the next decision, ack or registration.
    fn saw_sequence(&mut self, participant: &ParticipantId, sequence: u64) {
        if let Some(known) = self.participants.get_mut(participant) {
            known.row.journal_sequence = known.row.journal_sequence.max(sequence);
        }
    }

    /// The stream over which a participant may be asked, if there is one.
    fn ready(&self, participant: &ParticipantId) -> Option<SessionId> {
        let connected = self.participants.get(participant)?.connected.as_ref()?;
        connected.ready.then_some(connected.session)
    }

    /// Sends one message to many: once for each stream.
    fn send_all(&mut self, to: impl IntoIterator<Item = ParticipantId>, message: &SchedulerMessage) {
        self.send_traced(to, message, None);
    }

    /// [`Self::send_all`], within a trace.
    fn send_traced(
        &mut self,
        to: impl IntoIterator<Item = ParticipantId>,
        message: &SchedulerMessage,
        trace: Option<super::trace::TraceContext>,
    ) {
        let mut by_session: BTreeMap<SessionId, Vec<ParticipantId>> = BTreeMap::new();
        for participant in to {
            if let Some(session) = self.ready(&participant) {
                by_session.entry(session).or_default().push(participant);
            }
        }
        for (session, participants) in by_session {
            self.out.push(Effect::Send(session, participants, message.clone(), trace.clone()));
        }
    }

    fn check_drained(&mut self) {
        let idle = self.live.is_empty() && self.lookups.is_empty() && self.series_lookups.is_empty();
        if self.draining && !self.drained && idle {
            self.drained = true;
            self.out.push(Effect::Drained);
        }
    }
}

fn event(kind: super::model::EventKind, meeting: &Meeting) -> Write {
    Write::Event(Box::new(super::record::NewEvent {
        kind,
        time: meeting.update_time,
        meeting: meeting.clone(),
    }))
}
