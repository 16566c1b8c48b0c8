//! What is said and what the store does, for people.

use quorate::core::message::{AgentMessage, SchedulerMessage};
use quorate::core::record::Write;
use quorate::engine::store::Operation;

/// One operation in a line.
pub fn operation(operation: &Operation) -> String {
    let Operation::Apply(transaction) = operation else { return format!("{operation:?}") };
    let words: Vec<String> = transaction.writes.iter().filter_map(write).collect();
    words.join(", ")
}

fn write(write: &Write) -> Option<String> {
    Some(match write {
        Write::Meeting(meeting) => format!("meeting {} {:?}", meeting.id, meeting.state),
        Write::Series(series) => format!("series {} is {:?}", series.id, series.state),
        Write::Attempt(row) => format!("{} {:?} C={:?}", row.attempt, row.state, row.commit_set),
        Write::AttemptState(attempt, state) => format!("{attempt} {state:?}"),
        Write::Booking(row) => format!("{} booked by {}", row.participant, row.attempt),
        Write::RemoveBookings(attempt, who) => format!("bookings of {attempt} removed ({who:?})"),
        Write::Delivery(d) => format!("{:?} of {} for {}", d.body.kind(), d.attempt, d.participant),
        Write::RemoveDelivery(who, attempt, kind) => format!("{kind:?} of {attempt} by {who} done"),
        Write::Participant(row) => {
            format!("{} registered, epoch {}, lineage {}", row.id, row.epoch.0, row.lineage.0)
        }
        Write::ForgetParticipant(who) => format!("{who} is forgotten"),
        Write::Generation { generation, .. } => format!("generation {generation}"),
        Write::BookingDelivered(..) | Write::JournalSeen(..) | Write::LastSeen(..) | Write::Event(_) => {
            return None;
        }
    })
}

/// What the scheduler says, in a line.
pub fn to_agent(message: &SchedulerMessage) -> String {
    match message {
        SchedulerMessage::Registered(r) => {
            let bookings: Vec<_> = r.bookings.iter().map(|b| &b.attempt).collect();
            format!("Registered, epoch {}, lineage {}, bookings {bookings:?}", r.epoch.0, r.lineage.0)
        }
        SchedulerMessage::Hold(hold) => format!("Hold {} instead of {:?}", hold.attempt, hold.displaces),
        SchedulerMessage::Confirm { booking, displaces } => {
            format!("Confirm {} instead of {displaces:?}", booking.attempt)
        }
        other => format!("{other:?}"),
    }
}

/// What an agent says, in a line.
pub fn to_scheduler(message: &AgentMessage) -> String {
    match message {
        AgentMessage::Register(r) => {
            let of = |promises: &[quorate::core::message::Promise]| {
                promises.iter().map(|p| p.attempt.to_string()).collect::<Vec<_>>().join(" ")
            };
            format!("Register {} held [{}] booked [{}]", r.journal_id, of(&r.held), of(&r.booked))
        }
        AgentMessage::Vote { attempt, vote, .. } => format!("Vote {attempt} {vote:?}"),
        AgentMessage::Ack { attempt, kind, .. } => format!("Ack {kind:?} {attempt}"),
        AgentMessage::Resolve { attempt, .. } => format!("Resolve {attempt}"),
        other => format!("{other:?}"),
    }
}
