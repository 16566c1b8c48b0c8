//! What traced jobs go through, written down for whoever keeps traces. Nothing is decided by it, and without a traced
//! command all of it is empty.
//!
//! The ids of spans are made from the caller's and the meeting's, so that tracing takes no number from the machine's own
//! randomness: a traced run decides as an untraced one does.

use super::*;
use crate::core::availability::Answer;
use crate::core::trace::{Details, Outcome, PhaseKind, PhaseSpan, SpanId, TraceContext, Traced};

#[derive(Clone, Debug)]
struct Open {
    kind: PhaseKind,
    context: TraceContext,
    parent: SpanId,
    start: Mono,
    details: Details,
}

impl Open {
    fn over(self, meeting: MeetingId, end: Mono) -> PhaseSpan {
        let Self { kind, context, parent, start, details } = self;
        PhaseSpan { context, parent, kind, meeting, start, end, details }
    }
}

#[derive(Clone, Debug)]
struct JobTrace {
    /// Of the whole job; none: its caller's trace is passed on and not recorded.
    own: Option<Open>,
    phase: Option<Open>,
    /// What agents are told while no phase is open.
    context: TraceContext,
    ids: Random,
}

/// The notes on all traced jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracer {
    now: Mono,
    /// Callers who wait for an answer.
    tickets: HashMap<Ticket, Traced>,
    jobs: HashMap<MeetingId, JobTrace>,
    /// Decisions whose confirms are not all acknowledged.
    deliveries: HashMap<Attempt, Open>,
    /// What the effects of this moment belong to, when no job of their own says so.
    cause: Option<Traced>,
    done: Vec<PhaseSpan>,
    lost: u64,
}

impl Tracer {
    fn is_idle(&self) -> bool {
        self.tickets.is_empty() && self.jobs.is_empty() && self.deliveries.is_empty()
    }

    /// The time of the input that is being handled.
    pub(super) fn tick(&mut self, now: Now) {
        if !self.is_idle() {
            self.now = now.mono;
        }
    }

    pub(super) fn asked(&mut self, now: Now, ticket: Ticket, traced: Traced) {
        self.now = now.mono;
        self.tickets.insert(ticket, traced);
    }

    /// Whoever is answered waits no longer.
    pub(super) fn answered(&mut self, effects: &[Effect]) {
        if self.tickets.is_empty() {
            return;
        }
        for effect in effects {
            if let Effect::Reply(ticket, _) = effect {
                self.tickets.remove(ticket);
            }
        }
    }

    fn of_job(&self, id: &MeetingId) -> Option<Traced> {
        let job = self.jobs.get(id)?;
        Some(Traced { context: job.context.clone(), record: job.own.is_some() })
    }

    fn begin(&mut self, id: &MeetingId, parent: Traced, request: RequestId) {
        let mut ids = ids(parent.context.span, id.as_str());
        let context = match parent.record {
            true => parent.context.within(span_id(&mut ids)),
            false => parent.context.clone(),
        };
        let own = parent.record.then(|| Open {
            kind: PhaseKind::Job,
            context: context.clone(),
            parent: parent.context.span,
            start: self.now,
            details: Details { request: Some(request), ..Details::default() },
        });
        self.jobs.insert(id.clone(), JobTrace { own, phase: None, context, ids });
    }

    /// What messages to agents about this job belong to.
    pub(super) fn context(&self, id: &MeetingId) -> Option<TraceContext> {
        let job = self.jobs.get(id)?;
        Some(job.phase.as_ref().map_or(&job.context, |phase| &phase.context).clone())
    }

    /// The same of a confirm or release.
    pub(super) fn of_delivery(&self, attempt: &Attempt) -> Option<TraceContext> {
        if self.is_idle() {
            return None;
        }
        let delivery = self.deliveries.get(attempt).map(|open| open.context.clone());
        let cause = || self.cause.as_ref().map(|cause| cause.context.clone());
        delivery.or_else(|| self.context(&attempt.meeting)).or_else(cause)
    }

    /// A phase begins, unless it has begun before.
    pub(super) fn stay(&mut self, id: &MeetingId, kind: PhaseKind) {
        let open = self.jobs.get(id).and_then(|job| job.phase.as_ref());
        if open.is_none_or(|open| open.kind != kind) {
            self.phase(id, kind, Details::default());
        }
    }

    /// A round begins, with so many asked; the queries belong to what is returned.
    pub(super) fn asks(&mut self, id: &MeetingId, asked: usize) -> Option<TraceContext> {
        self.stay(id, PhaseKind::Round);
        self.note(id, PhaseKind::Round, |round| round.asked = Some(asked as u32));
        self.context(id)
    }

    /// A round has these answers.
    pub(super) fn heard<'a>(&mut self, id: &MeetingId, answers: impl Iterator<Item = &'a Answer>) {
        let answered = |answer: &&Answer| matches!(answer, Answer::Free(_) | Answer::Declined(_));
        self.note(id, PhaseKind::Round, |round| {
            round.answered = Some(answers.filter(answered).count() as u32)
        });
    }

    /// A round is over, and so many slots came out of it.
    pub(super) fn ranked(&mut self, id: &MeetingId, slots: usize) {
        self.note(id, PhaseKind::Round, |round| round.slots = Some(slots as u32));
        self.close(id, Outcome::Done, None);
    }

    /// D1 of an attempt goes to the store, and its holds after it.
    pub(super) fn holds(&mut self, row: &AttemptRow) {
        let asked = row.asked.len();
        self.attempt(row, PhaseKind::Hold, asked);
    }

    /// D3 of an attempt goes to the store: so many said yes.
    pub(super) fn decides(&mut self, row: &AttemptRow, commit: usize) {
        self.note(&row.attempt.meeting, PhaseKind::Hold, |hold| hold.answered = Some(commit as u32));
        self.attempt(row, PhaseKind::Decide, commit);
    }

    /// D3 met something else than it rests on: the attempt is held as before.
    pub(super) fn undecided(&mut self, row: &AttemptRow, condition: &Condition) {
        if self.jobs.contains_key(&row.attempt.meeting) {
            let words = format!("the store refused it: {condition:?}");
            self.close(&row.attempt.meeting, Outcome::Conflict, Some(&words));
            self.holds(row);
        }
    }

    /// An attempt is given up.
    pub(super) fn given_up(
        &mut self,
        attempt: &Attempt,
        holding: &Holding,
        outcome: AttemptOutcome,
        words: &str,
    ) {
        if self.jobs.contains_key(&attempt.meeting) {
            let yes = holding.granted().count() as u32;
            self.note(&attempt.meeting, PhaseKind::Hold, |hold| hold.answered = Some(yes));
            self.close(&attempt.meeting, outcome_of_attempt(outcome), Some(words));
        }
    }

    fn attempt(&mut self, row: &AttemptRow, kind: PhaseKind, asked: usize) {
        let (attempt, slot) = (Some(row.attempt.n), Some(row.slot));
        let details = Details { asked: Some(asked as u32), attempt, slot, ..Details::default() };
        self.phase(&row.attempt.meeting, kind, details);
    }

    /// A phase begins; one that is still open is over.
    pub(super) fn phase(&mut self, id: &MeetingId, kind: PhaseKind, details: Details) {
        self.close(id, Outcome::Done, None);
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.own.is_some()) else { return };
        let context = job.context.within(span_id(&mut job.ids));
        let (parent, start) = (job.context.span, self.now);
        job.phase = Some(Open { kind, context, parent, start, details });
    }

    /// Adds to what is known of the open phase, if it is of that kind.
    pub(super) fn note(&mut self, id: &MeetingId, kind: PhaseKind, note: impl FnOnce(&mut Details)) {
        let open = self.jobs.get_mut(id).and_then(|job| job.phase.as_mut());
        if let Some(open) = open.filter(|open| open.kind == kind) {
            note(&mut open.details);
        }
    }

    /// The open phase is over.
    pub(super) fn close(&mut self, id: &MeetingId, outcome: Outcome, failed: Option<&str>) {
        let open = self.jobs.get_mut(id).and_then(|job| job.phase.take());
        if let Some(mut open) = open {
            open.details.outcome = outcome;
            open.details.failed = failed.map(str::to_owned);
            self.keep(open.over(id.clone(), self.now));
        }
    }

    /// Why the job is about to end without what it was for; its answer does not say it.
    pub(super) fn fails(&mut self, id: &MeetingId, words: &str) {
        if let Some(own) = self.jobs.get_mut(id).and_then(|job| job.own.as_mut()) {
            own.details.failed = Some(words.to_owned());
        }
    }

    /// The job is over.
    pub(super) fn end(&mut self, live: &Live, reply: Option<&Reply>) {
        if self.jobs.is_empty() {
            return;
        }
        let id = &live.meeting.id;
        let (outcome, failed) = reply.map_or((Outcome::Aborted, None), outcome_of);
        self.close(id, outcome, failed.as_deref());
        let Some(mut own) = self.jobs.remove(id).and_then(|job| job.own) else { return };
        own.details.attempt = live.meeting.last_attempt;
        if let Some(Reply::Meeting(meeting) | Reply::Changed(meeting, _)) = reply {
            own.details.slot = meeting.slot;
        }
        own.details.outcome = outcome;
        own.details.failed = own.details.failed.or(failed);
        if own.details.failed.is_some() && outcome == Outcome::Changed {
            own.details.outcome = Outcome::Failed;
        }
        self.keep(own.over(id.clone(), self.now));
    }

    /// D3 is on disk: the decision is over, and its delivery begins. What is delivered with it belongs to it.
    pub(super) fn decided(&mut self, attempt: &Attempt, slot: TimeRange, confirms: usize) {
        let id = &attempt.meeting;
        self.close(id, Outcome::Booked, None);
        if let Some(parent) = self.of_job(id) {
            self.deliver(attempt, parent, slot, confirms);
        }
    }

    fn deliver(&mut self, attempt: &Attempt, parent: Traced, slot: TimeRange, confirms: usize) {
        self.cause = Some(parent.clone());
        if !parent.record {
            return;
        }
        if self.deliveries.len() >= limits::DELIVERIES_TRACED {
            let oldest = self.deliveries.iter().min_by_key(|(attempt, open)| (open.start, *attempt));
            let oldest = oldest.map(|(attempt, _)| attempt.clone());
            oldest.and_then(|attempt| self.deliveries.remove(&attempt));
            self.lost += 1;
        }
        let mut ids = ids(parent.context.span, &format!("{attempt} is delivered"));
        let context = parent.context.within(span_id(&mut ids));
        let details = Details {
            asked: Some(confirms as u32),
            attempt: Some(attempt.n),
            slot: Some(slot),
            ..Details::default()
        };
        self.cause = Some(Traced { context: context.clone(), record: true });
        let (parent, start) = (parent.context.span, self.now);
        let open = Open { kind: PhaseKind::Deliver, context, parent, start, details };
        self.deliveries.insert(attempt.clone(), open);
    }

    /// A change without a job is on disk: what is delivered with it belongs to its caller.
    pub(super) fn changed(
        &mut self,
        caller: Option<Traced>,
        attempt: &Attempt,
        slot: Option<TimeRange>,
        confirms: usize,
    ) {
        self.cause.clone_from(&caller);
        if let (Some(parent), Some(slot), 1..) = (caller, slot, confirms) {
            self.deliver(attempt, parent, slot, confirms);
        }
    }

    /// All that is delivered with one decision is queued.
    pub(super) fn queued(&mut self) {
        self.cause = None;
    }

    /// The last confirm is acknowledged, or what they say is no longer true.
    pub(super) fn delivered(&mut self, attempt: &Attempt, outcome: Outcome) {
        let Some(mut open) = self.deliveries.remove(attempt) else { return };
        open.details.outcome = outcome;
        if outcome == Outcome::Done {
            open.details.answered = open.details.asked;
        }
        self.keep(open.over(attempt.meeting.clone(), self.now));
    }

    fn keep(&mut self, span: PhaseSpan) {
        match self.done.len() < limits::PHASES_WAITING {
            true => self.done.push(span),
            false => self.lost += 1,
        }
    }
}

impl Coordinator {
    /// What traced jobs went through since this was last asked, and how many phases were lost because nobody asked.
    pub fn take_phases(&mut self) -> (Vec<PhaseSpan>, u64) {
        (std::mem::take(&mut self.tracer.done), std::mem::take(&mut self.tracer.lost))
    }

    /// Notes that a job was begun: for a caller who is traced, under a job that is, or because of one.
    pub(super) fn trace(&mut self, id: &MeetingId) {
        if self.tracer.is_idle() {
            return;
        }
        let Some(live) = self.live.get(id) else { return };
        let parent = live.tickets.iter().find_map(|ticket| self.traced_by(ticket));
        let parent = parent.or_else(|| self.tracer.of_job(live.group.as_ref()?));
        let parent = parent.or_else(|| self.tracer.cause.clone());
        if let Some(parent) = parent {
            let request = live.meeting.request_id.clone();
            self.tracer.begin(id, parent, request);
        }
    }

    /// In whose trace somebody waits: the caller's, or that of the job that this is a part of.
    pub(super) fn traced_by(&self, ticket: &Ticket) -> Option<Traced> {
        let caller = self.tracer.tickets.get(ticket).cloned();
        caller.or_else(|| self.tracer.of_job(self.parts.get(ticket)?))
    }

    /// The confirms of an attempt say nothing any more.
    pub(super) fn drop_confirms(&mut self, attempt: &Attempt) {
        self.confirms.remove(attempt);
        self.tracer.delivered(attempt, Outcome::Superseded);
    }
}

/// Numbers for span ids: the same for the same parent and name, and different for others.
fn ids(parent: SpanId, name: &str) -> Random {
    // FNV-1a over the name, begun with the parent.
    let begun = u64::from_be_bytes(parent.0);
    Random::new(
        name.bytes().fold(begun, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)),
    )
}

fn span_id(ids: &mut Random) -> SpanId {
    loop {
        let id = ids.number();
        if id != 0 {
            return SpanId(id.to_be_bytes());
        }
    }
}

fn outcome_of_attempt(outcome: AttemptOutcome) -> Outcome {
    match outcome {
        AttemptOutcome::Booked => Outcome::Booked,
        AttemptOutcome::Refused | AttemptOutcome::NotAvailable => Outcome::Refused,
        AttemptOutcome::HeldByOther => Outcome::HeldByOther,
        AttemptOutcome::Aborted => Outcome::Aborted,
        AttemptOutcome::TimedOut => Outcome::TimedOut,
    }
}

fn outcome_of(reply: &Reply) -> (Outcome, Option<String>) {
    let of_state = |meeting: &Meeting| match meeting.state {
        MeetingState::Confirmed => Outcome::Booked,
        MeetingState::Failed => Outcome::Failed,
        MeetingState::Cancelled => Outcome::Cancelled,
        MeetingState::Displaced => Outcome::Displaced,
        MeetingState::Scheduling => Outcome::Done,
    };
    let words = |failure: &Failure| failure.message.clone();
    match reply {
        Reply::Meeting(meeting) => (of_state(meeting), meeting.failure.as_ref().map(words)),
        Reply::Changed(_, Some(failure)) => (Outcome::Failed, Some(words(failure))),
        Reply::Changed(meeting, None) if meeting.state == MeetingState::Confirmed => (Outcome::Changed, None),
        Reply::Changed(meeting, None) => (of_state(meeting), None),
        Reply::Found { failure, .. } => (Outcome::Found, failure.as_ref().map(words)),
        Reply::Series(_, failures) => (Outcome::Changed, failures.first().map(|(_, failure)| words(failure))),
        Reply::SeriesPlan(_) => (Outcome::Done, None),
        Reply::Refused(Refused::NotConfirmed(MeetingState::Displaced)) => (Outcome::Displaced, None),
        Reply::Refused(refused) => (Outcome::Refused, Some(refused.to_string())),
    }
}
