//! What the store does, for people.

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
        Write::Attempt(row) => format!("{} {:?} C={:?}", row.attempt, row.state, row.commit_set),
        Write::AttemptState(attempt, state) => format!("{attempt} {state:?}"),
        Write::Booking(row) => format!("{} booked by {}", row.participant, row.attempt),
        Write::RemoveBookings(attempt, who) => format!("bookings of {attempt} removed ({who:?})"),
        Write::Delivery(d) => format!("{:?} of {} for {}", d.body.kind(), d.attempt, d.participant),
        Write::RemoveDelivery(who, attempt, kind) => format!("{kind:?} of {attempt} by {who} done"),
        Write::Participant(row) => {
            format!("{} registered, epoch {}, lineage {}", row.id, row.epoch.0, row.lineage.0)
        }
        Write::Generation { generation, .. } => format!("generation {generation}"),
        Write::BookingDelivered(..) | Write::JournalSeen(..) | Write::LastSeen(..) | Write::Event(_) => {
            return None;
        }
    })
}
