//! Values for the tests, and short ways to ask a store.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};

use quorate::core::ids::{Attempt, AttemptNumber, Epoch, Lineage, MeetingId, ParticipantId, RequestId};
use quorate::core::message::{Booking, ReleaseCause};
use quorate::core::model::{
    Attendee, AttendeeOutcome, AttendeeStatus, EventKind, Meeting, MeetingSpec, MeetingState, Objective,
    Options, Rank, Role, Window, WorkingHours,
};
use quorate::core::record::{
    Applied, AttemptRow, AttemptState, BookingRow, Condition, Delivery, DeliveryBody, NewEvent,
    ParticipantPromises, ParticipantRow, Read, ReadResult, Transaction, Write,
};
use quorate::core::time::{Instant, TimeRange};
use quorate::engine::store::{Operation, OperationResult, Store, StoreError};

/// So many minutes after some Monday morning.
pub fn at(minutes: i64) -> Instant {
    DateTime::from_timestamp(1_893_484_800, 0).expect("an instant") + TimeDelta::minutes(minutes)
}

pub fn range(from: i64, to: i64) -> TimeRange {
    TimeRange { start: at(from), end: at(to) }
}

pub fn who(name: &str) -> ParticipantId {
    ParticipantId::new(name)
}

pub fn all(names: &[&str]) -> Vec<ParticipantId> {
    names.iter().map(ParticipantId::new).collect()
}

pub fn attempt(meeting: &str, n: u64) -> Attempt {
    Attempt::new(MeetingId::new(meeting), AttemptNumber(n))
}

/// A meeting that is being sought; its request id is `r-` and its id.
pub fn meeting(id: &str, attendees: &[&str]) -> Meeting {
    let attendees: Vec<_> =
        attendees.iter().map(|name| Attendee { id: who(name), role: Role::Required }).collect();
    let outcomes =
        attendees.iter().map(|attendee| AttendeeOutcome::new(attendee, AttendeeStatus::NotAsked)).collect();
    Meeting {
        id: MeetingId::new(id),
        request_id: RequestId::new(format!("r-{id}")),
        body_hash: "00ff".into(),
        spec: spec(attendees),
        named_slot: None,
        options: Options {
            response_timeout: Duration::from_millis(1_500),
            connect_timeout: Duration::ZERO,
            max_attempts: 10,
            max_candidates_per_round: 0,
        },
        time_zone: "Europe/Zurich".into(),
        rank: rank(id),
        state: MeetingState::Scheduling,
        version: 1,
        sequence: 0,
        booked: None,
        slot: None,
        blocked: None,
        attendees: outcomes,
        last_attempt: None,
        attempts: 0,
        attempt_log: Vec::new(),
        failure: None,
        series: None,
        moved: 0,
        displaced_count: 0,
        displaced: Vec::new(),
        displaced_by: None,
        local_start: None,
        create_time: at(-600),
        update_time: at(-600) + TimeDelta::nanoseconds(123_456_789),
        deadline: at(-599),
    }
}

fn spec(attendees: Vec<Attendee>) -> MeetingSpec {
    MeetingSpec {
        title: "Plan \"Q3\" — Zürich".into(),
        organizer: "olga".into(),
        attendees,
        duration: Duration::from_secs(1_800),
        minimum_participants: 0,
        priority: 50,
        window: Window {
            earliest: Some(at(0)),
            latest: Some(at(10_000)),
            time_zone: None,
            step: Duration::from_secs(900),
            working_hours: WorkingHours::default(),
            respect_attendee_hours: true,
            exclude: vec![range(60, 90)],
        },
        objective: Objective::Earliest,
        buffer_before: Duration::ZERO,
        buffer_after: Duration::from_secs(600),
        displace: false,
        displaceable: true,
    }
}

fn rank(meeting: &str) -> Rank {
    Rank { priority: 50, submitted_at: at(-600), meeting: MeetingId::new(meeting) }
}

/// The meeting as it is once the attempt is booked at the slot.
pub fn confirmed(meeting: Meeting, n: u64, slot: TimeRange) -> Meeting {
    Meeting {
        state: MeetingState::Confirmed,
        version: meeting.version + 1,
        sequence: meeting.sequence + 1,
        booked: Some(AttemptNumber(n)),
        slot: Some(slot),
        blocked: Some(meeting.spec.blocked(&slot)),
        ..meeting
    }
}

pub fn row(attempt: Attempt, state: AttemptState, slot: TimeRange, asked: &[&str]) -> AttemptRow {
    let asked = all(asked);
    let decided = matches!(state, AttemptState::Committed | AttemptState::Superseded);
    AttemptRow {
        state,
        slot,
        blocked: slot.padded(Duration::ZERO, Duration::from_secs(600)),
        required: asked.clone(),
        minimum: 1,
        counted: asked.clone(),
        rank: rank(attempt.meeting.as_str()),
        displaces: Vec::new(),
        commit_set: if decided { asked.clone() } else { Vec::new() },
        series: None,
        asked,
        attempt,
    }
}

pub fn booking(name: &str, attempt: Attempt, during: TimeRange) -> Write {
    Write::Booking(BookingRow { participant: who(name), attempt, during, delivered: false })
}

pub fn confirm(name: &str, attempt: Attempt, slot: TimeRange, title: &str) -> Delivery {
    let booking = Arc::new(Booking {
        attempt: attempt.clone(),
        slot,
        blocked: slot,
        title: title.into(),
        organizer: "olga".into(),
        attendees: all(&["ann", "bob"]),
        sequence: 1,
        revision: 2,
        series: None,
    });
    let displaces = vec![Attempt::new(MeetingId::new("old"), AttemptNumber(7))];
    Delivery { participant: who(name), attempt, body: DeliveryBody::Confirm { booking, displaces } }
}

pub fn release(name: &str, attempt: Attempt, cause: ReleaseCause) -> Delivery {
    Delivery { participant: who(name), attempt, body: DeliveryBody::Release(cause) }
}

pub fn participant(name: &str, epoch: i64, lineage: i64, sequence: u64) -> ParticipantRow {
    ParticipantRow {
        id: who(name),
        display_name: format!("{name} Müller"),
        time_zone: Some("Europe/Zurich".into()),
        epoch: Epoch(epoch),
        lineage: Lineage(lineage),
        journal_id: "j1".into(),
        journal_sequence: sequence,
        last_seen: at(0),
    }
}

pub fn event(kind: EventKind, minutes: i64, meeting: &Meeting) -> Write {
    Write::Event(Box::new(NewEvent { kind, time: at(minutes), meeting: meeting.clone() }))
}

pub fn put(meeting: &Meeting) -> Write {
    Write::Meeting(Box::new(meeting.clone()))
}

pub fn put_attempt(row: &AttemptRow) -> Write {
    Write::Attempt(Box::new(row.clone()))
}

/// The transaction with these conditions and writes.
pub fn only_if(conditions: Vec<Condition>, writes: Vec<Write>) -> Operation {
    Operation::Apply(Transaction { conditions, writes })
}

/// Applies the writes, and expects nothing else.
pub fn write(store: &mut dyn Store, writes: Vec<Write>) {
    let results = store.run(&[only_if(Vec::new(), writes)]).expect("the store works");
    assert_eq!(results, [OperationResult::Applied(Applied::Yes)]);
}

/// Whether the condition holds; a conflict has to name it.
pub fn holds(store: &mut dyn Store, condition: Condition) -> bool {
    let results = store.run(&[only_if(vec![condition.clone()], Vec::new())]).expect("the store works");
    match results.as_slice() {
        [OperationResult::Applied(Applied::Yes)] => true,
        [OperationResult::Applied(Applied::Conflict(found))] if *found == condition => false,
        other => panic!("{condition:?} was answered with {other:?}"),
    }
}

pub fn read(store: &mut dyn Store, read: Read) -> ReadResult {
    let results = store.run(&[Operation::Read(read)]).expect("the store works");
    match results.into_iter().next() {
        Some(OperationResult::Read(result)) => result,
        other => panic!("a read was answered with {other:?}"),
    }
}

pub fn stored_meeting(store: &mut dyn Store, id: &str) -> Option<(Meeting, Option<AttemptRow>)> {
    match read(store, Read::Meeting(MeetingId::new(id))) {
        ReadResult::Meeting(found) => found.map(|found| *found),
        other => panic!("{other:?}"),
    }
}

pub fn stored_attempt(store: &mut dyn Store, attempt: Attempt) -> Option<(AttemptRow, Meeting)> {
    match read(store, Read::Attempt(attempt)) {
        ReadResult::Attempt(found) => found.map(|found| *found),
        other => panic!("{other:?}"),
    }
}

pub fn promises(
    store: &mut dyn Store,
    name: &str,
    reported: Vec<Attempt>,
    after: Instant,
) -> ParticipantPromises {
    match read(store, Read::Promises { participant: who(name), reported, after }) {
        ReadResult::Promises(found) => *found,
        other => panic!("{other:?}"),
    }
}

/// A result that can be compared: of an error, only its kind.
pub fn comparable<T>(result: Result<T, StoreError>) -> Result<T, &'static str> {
    result.map_err(|error| match error {
        StoreError::NotApplied(_) => "not applied",
        StoreError::Unknown(_) => "unknown",
        StoreError::Unreadable(_) => "unreadable",
        StoreError::Unopenable(_) => "unopenable",
    })
}
