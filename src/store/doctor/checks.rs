//! The checks over a store's rows. Those of [`crate::core::invariants`] are the same that the tests ask.

use std::collections::{BTreeMap, BTreeSet};

use super::view::View;
use crate::core::checkup::Check;
use crate::core::ids::{Attempt, MeetingId, SeriesId};
use crate::core::invariants::{self, Violation};
use crate::core::message::AckKind;
use crate::core::model::MeetingState;
use crate::core::record::{AttemptState, DeliveryBody};
use crate::store::keys::{self, Place, Span};

/// All checks, in their order.
pub fn all(view: &View) -> Vec<Check> {
    let store = &view.store;
    let of = |name, claim, found: Vec<Violation>| Check {
        name,
        claim,
        problems: found.into_iter().map(|violation| violation.what).collect(),
    };
    let own = |name, claim, problems| Check { name, claim, problems };
    vec![
        of("I1", "nobody is booked twice at the same time", invariants::no_overlapping_bookings(store)),
        of(
            "I3",
            "a confirmed meeting is booked with everyone who attends, and nothing else is booked",
            invariants::bookings_have_causes(store),
        ),
        of(
            "I4",
            "every booking has all who are required, and as many as are needed",
            invariants::commit_sets_suffice(store),
        ),
        of("I5", "what was displaced lost its slot to a booking", invariants::displaced_by_committed(store)),
        of("I6", "a request has one meeting", invariants::one_meeting_per_request(store)),
        own(
            "attempts",
            "every attempt belongs to its meeting, and no number is of a later life",
            attempts(view),
        ),
        own(
            "bookings",
            "every booked row is of an attempt, with its time and its participant",
            bookings(view),
        ),
        own("deliveries", "what is to be delivered is what was decided", deliveries(view)),
        own("series", "every series has its occurrences, and they have it", series(view)),
        own("events", "no event is of an unknown meeting, or ahead of its meeting", events(view)),
        own(
            "index",
            "every meeting is listed with its attendees, and no row is longer than is known",
            index(view),
        ),
    ]
}

fn attempts(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    for (name, row) in &view.store.attempts {
        let Some(meeting) = view.store.meetings.get(&name.meeting) else {
            found.push(format!("attempt {name} has no meeting"));
            continue;
        };
        if meeting.last_attempt.is_none_or(|last| name.n > last) {
            found.push(format!("attempt {name} is numbered beyond the last that its meeting knows"));
        }
        if name.n.generation() > view.generation {
            found.push(format!("attempt {name} is of a later life than the store's, {}", view.generation));
        }
        let stands = meeting.state == MeetingState::Confirmed && meeting.booked == Some(name.n);
        match row.state {
            AttemptState::Committed if !stands => {
                found.push(format!("attempt {name} is COMMITTED, and its meeting does not stand by it"));
            }
            AttemptState::Holding
                if matches!(meeting.state, MeetingState::Failed | MeetingState::Cancelled) =>
            {
                found.push(format!("attempt {name} is HOLDING, and its meeting is {:?}", meeting.state));
            }
            _ => {}
        }
    }
    found
}

fn bookings(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    for row in view.store.bookings.values() {
        let (who, name) = (&row.participant, &row.attempt);
        match view.store.attempts.get(name) {
            None => found.push(format!("{who} is booked by {name}, which is no attempt")),
            Some(attempt) => {
                if Span::of(&attempt.blocked) != Span::of(&row.during) {
                    found.push(format!("{who} is booked by {name} at another time than the attempt's"));
                }
                if !attempt.commit_set.contains(who) {
                    found.push(format!("{who} is booked by {name}, which was decided without them"));
                }
            }
        }
        if !view.participants.contains_key(who) {
            found.push(format!("{who} is booked by {name}, and no such participant is known"));
        }
    }
    found
}

fn deliveries(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    let mut needed = BTreeSet::new();
    for delivery in &view.deliveries {
        let (who, name) = (&delivery.participant, &delivery.attempt);
        let booked = view.store.bookings.contains_key(&(who.clone(), name.clone()));
        match (delivery.kind, delivery.confirm) {
            (AckKind::Confirm, Some(id)) => {
                needed.insert(id);
                match view.confirms.get(&id) {
                    Some(DeliveryBody::Confirm { booking, .. }) if booking.attempt == *name => {}
                    Some(_) => found.push(format!("the confirm of {name} to {who} tells of something else")),
                    None => found.push(format!("the confirm of {name} to {who} has no body")),
                }
                if !booked {
                    found.push(format!("{who} is to confirm {name}, and is not booked by it"));
                }
            }
            _ if booked => found.push(format!("{who} is to release {name}, and is booked by it")),
            _ => {}
        }
    }
    let left = view.confirms.keys().filter(|id| !needed.contains(id));
    found.extend(left.map(|id| format!("the body of confirm {id} is of no delivery")));
    found
}

fn series(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    let mut occurrences: BTreeMap<&MeetingId, &SeriesId> = BTreeMap::new();
    let mut requests = BTreeMap::new();
    for (id, series) in &view.series {
        if let Some(other) = requests.insert(&series.request_id, id) {
            found.push(format!("request {} has the series {other} and {id}", series.request_id));
        }
        for meeting in series.occurrences.iter().filter_map(|occurrence| occurrence.meeting.as_ref()) {
            if occurrences.insert(meeting, id).is_some() {
                found.push(format!("meeting {meeting} is an occurrence twice"));
            }
        }
    }
    for (meeting, id) in &occurrences {
        let of = view.store.meetings.get(*meeting).map(|found| found.series.as_ref().map(|of| &of.series));
        match of {
            Some(of) if of != Some(id) => {
                found.push(format!("meeting {meeting} is an occurrence of series {id}, and says otherwise"));
            }
            _ => {}
        }
    }
    for (id, meeting) in &view.store.meetings {
        if let Some(of) = &meeting.series
            && !view.series.contains_key(&of.series)
        {
            found.push(format!("meeting {id} is of series {}, which is unknown", of.series));
        }
    }
    found
}

fn events(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    for (id, last) in &view.events {
        match view.store.meetings.get(id) {
            None => found.push(format!("event {} is of meeting {id}, which is unknown", last.sequence)),
            Some(meeting) if meeting.version < last.version => {
                let (is, was) = (meeting.version, last.version);
                found.push(format!(
                    "meeting {id} has version {is}, and event {} told of {was}",
                    last.sequence
                ));
            }
            Some(_) => {}
        }
    }
    found
}

fn index(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    let mut wanted = BTreeSet::new();
    for (id, meeting) in &view.store.meetings {
        let Place { start, created } = Place::of(meeting);
        for who in keys::attendees(meeting) {
            wanted.insert((who.clone(), start, created, id.clone()));
        }
    }
    let words =
        |(who, _, _, id): &(_, i64, i64, MeetingId), what: &str| format!("meeting {id} is {what} {who}");
    found.extend(wanted.difference(&view.listed).map(|row| words(row, "not listed with")));
    found.extend(view.listed.difference(&wanted).map(|row| words(row, "wrongly listed with")));
    let spans = view.store.bookings.iter().map(|((who, attempt), row)| (who, attempt, Span::of(&row.during)));
    let name = |attempt: &Attempt| attempt.to_string();
    for (who, attempt, span) in spans {
        if span.length() > view.longest {
            found.push(format!("the booking of {who} by {} is longer than any that is known", name(attempt)));
        }
        if span.start >= span.end {
            found.push(format!("the booking of {who} by {} takes no time", name(attempt)));
        }
    }
    found
}
