//! Spans of what an agent host does for traced messages: one for each participant and message, from taking it until
//! what was promised by it is in the journal.

use super::{Batch, Host};
use crate::core::ids::ParticipantId;
use crate::core::message::{AgentMessage, Refusal, SchedulerMessage, Vote};
use crate::core::time::{Mono, Now};
use crate::core::trace::TraceContext;
use crate::engine::Clock;
use crate::engine::spans::{Span, SpanKind, Spans, Value, new_span};

/// A traced message that is being handled.
#[derive(Debug)]
struct Handling {
    trace: TraceContext,
    name: &'static str,
    meeting: Option<(String, u64)>,
    start: Mono,
}

/// One that was handled, but for the journal.
#[derive(Debug)]
pub(super) struct Handled {
    handling: Handling,
    participant: ParticipantId,
    outcome: &'static str,
}

impl Handling {
    /// Of those messages that can be a part of a trace.
    fn begin(trace: TraceContext, message: &SchedulerMessage, clock: Clock) -> Option<Self> {
        let (name, attempt) = match message {
            SchedulerMessage::Query(_) => ("agent.query", None),
            SchedulerMessage::Hold(hold) => ("agent.hold", Some(&hold.attempt)),
            SchedulerMessage::Confirm { booking, .. } => ("agent.confirm", Some(&booking.attempt)),
            SchedulerMessage::Release { attempt, .. } => ("agent.release", Some(attempt)),
            SchedulerMessage::Registered(_)
            | SchedulerMessage::Notice(_)
            | SchedulerMessage::Superseded { .. } => return None,
        };
        let meeting = attempt.map(|attempt| (attempt.meeting.to_string(), attempt.n.0));
        Some(Self { trace, name, meeting, start: clock.now().mono })
    }

    /// What the participant's machine says to it.
    fn done(self, participant: ParticipantId, answers: &[AgentMessage]) -> Handled {
        let outcome = answers.iter().find_map(word).unwrap_or("silent");
        Handled { handling: self, participant, outcome }
    }
}

impl Host {
    /// Hands spans to `spans` from now on.
    pub(in crate::agent) fn trace_to(&mut self, spans: Option<Spans>) {
        self.spans = spans;
    }

    /// Takes a message, and notes what came of it if it is part of a trace.
    pub(super) fn take_traced(
        &mut self,
        now: Now,
        to: &ParticipantId,
        message: SchedulerMessage,
        trace: Option<TraceContext>,
        batch: &mut Batch,
    ) {
        let handling = trace.and_then(|trace| Handling::begin(trace, &message, self.clock));
        let said = batch.messages.len();
        self.take(now, to, message, batch);
        let answers = &batch.messages[said..];
        batch.handled.extend(handling.map(|handling| handling.done(to.clone(), answers)));
    }
}

fn word(answer: &AgentMessage) -> Option<&'static str> {
    Some(match answer {
        AgentMessage::Availability { answer: Ok(_), .. } => "answered",
        AgentMessage::Availability { answer: Err(_), .. } => "declined",
        AgentMessage::Vote { vote: Vote::Granted, .. } => "granted",
        AgentMessage::Vote { vote: Vote::Refused(refusal), .. } => match refusal {
            Refusal::Busy => "busy",
            Refusal::Held(_) => "held",
            Refusal::Booked => "booked",
            Refusal::Stale => "stale",
        },
        AgentMessage::Ack { .. } => "acknowledged",
        AgentMessage::Register(_)
        | AgentMessage::Unregister { .. }
        | AgentMessage::Resolve { .. }
        | AgentMessage::CalendarChanged { .. }
        | AgentMessage::Withdraw { .. } => return None,
    })
}

impl Handled {
    /// The journal has it; or it failed, and nothing was said.
    pub(super) fn over(self, spans: Option<&Spans>, failed: Option<&str>) {
        let Self { handling: Handling { trace, name, meeting, start }, participant, outcome } = self;
        let meeting_id = meeting.as_ref().map(|(meeting, _)| meeting.as_str());
        tracing::debug!(trace_id = %trace.trace, %participant, meeting_id, outcome, "{name}");
        let Some(spans) = spans.filter(|_| trace.sampled) else { return };
        let mut attributes = vec![
            ("quorate.participant", Value::Text(participant.to_string())),
            ("quorate.outcome", Value::Text(outcome.into())),
        ];
        if let Some((meeting, attempt)) = meeting {
            attributes.push(("quorate.meeting.id", Value::Text(meeting)));
            attributes.push(("quorate.attempt", Value::Number(attempt.cast_signed())));
        }
        let end = spans.now();
        spans.over(Span {
            context: trace.within(new_span()),
            parent: Some(trace.span),
            remote: true,
            name: name.into(),
            kind: SpanKind::Consumer,
            start: spans.wall(start),
            end: spans.wall(end),
            attributes,
            error: failed.map(str::to_owned),
        });
    }
}
