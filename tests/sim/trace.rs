//! What happened, line by line: hashed always, printed for one seed.

use std::fmt;

use quorate::core::coordinator::{Command, Reply};
use quorate::core::ids::Attempt;
use quorate::core::message::{AgentMessage, SchedulerMessage};
use quorate::core::time::Mono;

pub struct Trace {
    pub print: bool,
    /// Hashes every message in full.
    pub full: bool,
    hash: u64,
}

impl Trace {
    pub fn new(print: bool, full: bool) -> Self {
        Self { print, full, hash: 0xcbf2_9ce4_8422_2325 }
    }

    pub fn line(&mut self, now: Mono, line: fmt::Arguments<'_>) {
        let text = format!("{:>9.3} {line}", now.0.as_secs_f64());
        for byte in text.as_bytes() {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.print {
            println!("{text}");
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// A meeting's attempt, short enough to read.
pub fn short(attempt: &Attempt) -> String {
    let meeting = attempt.meeting.as_str();
    format!("{}#{}.{}", &meeting[..meeting.len().min(4)], attempt.n.0 >> 32, attempt.n.0 & 0xffff_ffff)
}

pub fn from_agent(message: &AgentMessage) -> String {
    match message {
        AgentMessage::Register(r) => {
            let list = |promises: &[quorate::core::message::Promise]| {
                promises.iter().map(|p| short(&p.attempt)).collect::<Vec<_>>().join(",")
            };
            let id = &r.journal_id;
            format!(
                "Register {id}@{} held[{}] booked[{}]",
                r.journal_sequence,
                list(&r.held),
                list(&r.booked)
            )
        }
        AgentMessage::Unregister { .. } => "Unregister".into(),
        AgentMessage::Availability { query, answer, .. } => {
            format!("Availability {query} {:?}", answer.as_ref().map(Vec::len))
        }
        AgentMessage::Vote { attempt, vote, sequence, .. } => {
            format!("Vote {} {vote:?} @{sequence}", short(attempt))
        }
        AgentMessage::Ack { attempt, kind, sequence, .. } => {
            format!("Ack {} {kind:?} @{sequence}", short(attempt))
        }
        AgentMessage::Resolve { attempt, .. } => format!("Resolve {}", short(attempt)),
        AgentMessage::CalendarChanged { .. } => "CalendarChanged".into(),
        AgentMessage::Withdraw { meeting, attempt, .. } => format!("Withdraw {meeting} {attempt:?}"),
    }
}

pub fn from_scheduler(message: &SchedulerMessage) -> String {
    match message {
        SchedulerMessage::Registered(r) => {
            let bookings: Vec<_> = r.bookings.iter().map(|b| short(&b.attempt)).collect();
            format!("Registered epoch {} lineage {} [{}]", r.epoch.0, r.lineage.0, bookings.join(","))
        }
        SchedulerMessage::Query(q) => format!("Query {}", q.id),
        SchedulerMessage::Hold(h) => {
            let displaces: Vec<_> = h.displaces.iter().map(short).collect();
            format!("Hold {} {:?} over [{}]", short(&h.attempt), h.blocked, displaces.join(","))
        }
        SchedulerMessage::Confirm { booking, displaces } => {
            let displaces: Vec<_> = displaces.iter().map(short).collect();
            format!("Confirm {} over [{}]", short(&booking.attempt), displaces.join(","))
        }
        SchedulerMessage::Release { attempt, cause } => format!("Release {} {cause:?}", short(attempt)),
        SchedulerMessage::Notice(n) => format!("Notice {:?}", n.kind),
        SchedulerMessage::Superseded { epoch } => format!("Superseded {}", epoch.0),
    }
}

pub fn words(command: &Command) -> String {
    match command {
        Command::Find { .. } => "find".into(),
        Command::Within(_, command) => words(command),
        Command::Schedule(r) => {
            let who: Vec<String> =
                r.spec.attendees.iter().map(|a| format!("{}:{:?}", a.id, a.role)).collect();
            format!(
                "schedule {:?} priority {} min {} [{}]",
                r.slot,
                r.spec.priority,
                r.spec.minimum_participants,
                who.join(" ")
            )
        }
        Command::Reschedule { meeting, slot, .. } => format!("reschedule {meeting} {slot:?}"),
        Command::Update { meeting, change, .. } => {
            let who: Vec<String> =
                change.attendees.iter().flatten().map(|a| format!("{}:{:?}", a.id, a.role)).collect();
            format!("update {meeting} to [{}] min {:?}", who.join(" "), change.minimum_participants)
        }
        Command::Cancel { meeting, .. } => format!("cancel {meeting}"),
        Command::ScheduleSeries(r) => {
            let who: Vec<String> =
                r.spec.attendees.iter().map(|a| format!("{}:{:?}", a.id, a.role)).collect();
            format!(
                "schedule series {:?} {:?} {:?} priority {} [{}]",
                r.first,
                r.pattern,
                r.policy,
                r.spec.priority,
                who.join(" ")
            )
        }
        Command::RescheduleSeries { series, from, slot, .. } => {
            format!("reschedule series {series} from {from:?} to {slot:?}")
        }
        Command::UpdateSeries { series, from, .. } => format!("update series {series} from {from:?}"),
        Command::CancelSeries { series, from, .. } => format!("cancel series {series} from {from:?}"),
    }
}

pub fn outcome(reply: &Reply) -> String {
    match reply {
        Reply::Meeting(m) => {
            format!("{} {:?} {:?} {:?}", m.id, m.state, m.slot, m.failure.as_ref().map(|f| f.reason))
        }
        Reply::Changed(m, failure) => {
            format!("{} {:?} {:?} {:?}", m.id, m.state, m.slot, failure.as_ref().map(|f| f.reason))
        }
        Reply::Found { candidates, .. } => format!("found {}", candidates.len()),
        Reply::Series(id, failures) => format!("series {id}, {} failures", failures.len()),
        Reply::SeriesPlan(_) => "a plan".into(),
        Reply::Refused(refused) => format!("refused: {refused}"),
    }
}
