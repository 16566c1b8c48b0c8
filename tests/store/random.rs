//! Random groups, given to both stores: they must answer alike, and hold the same in the end.

use proptest::prelude::*;
use proptest::sample::select;

use quorate::core::ids::{Attempt, Epoch, Lineage, MeetingId, ParticipantId, RequestId};
use quorate::core::message::{AckKind, ReleaseCause};
use quorate::core::model::{EventKind, Meeting, MeetingState};
use quorate::core::record::{AttemptState, Condition, ParticipantRow, Read, Transaction, Write};
use quorate::core::time::TimeRange;
use quorate::engine::store::{EventFilter, MeetingFilter, Operation, Store};
use quorate::store::{MemoryStore, SqliteStore};

use super::make::*;

const STATES: [MeetingState; 5] = [
    MeetingState::Scheduling,
    MeetingState::Confirmed,
    MeetingState::Failed,
    MeetingState::Cancelled,
    MeetingState::Displaced,
];

fn meeting_ids() -> impl Strategy<Value = MeetingId> {
    select(vec!["a", "b", "c"]).prop_map(MeetingId::new)
}

fn requests() -> impl Strategy<Value = RequestId> {
    select(vec!["r-a", "r-b", "r-c", "r-d"]).prop_map(RequestId::new)
}

fn people() -> impl Strategy<Value = ParticipantId> {
    select(vec!["ann", "bob", "cat"]).prop_map(ParticipantId::new)
}

fn attempts() -> impl Strategy<Value = Attempt> {
    (meeting_ids(), 1..4_u64).prop_map(|(meeting, n)| attempt(meeting.as_str(), n))
}

fn ranges() -> impl Strategy<Value = TimeRange> {
    (0..10_i64, prop_oneof![4 => 0..4_i64, 1 => Just(30)])
        .prop_map(|(start, length)| range(start * 30, (start + length) * 30))
}

fn attempt_states() -> impl Strategy<Value = AttemptState> {
    select(vec![
        AttemptState::Holding,
        AttemptState::Committed,
        AttemptState::Aborted,
        AttemptState::Superseded,
    ])
}

fn groups_of_people() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(vec!["ann", "bob", "cat", "dan"], 0..=4)
}

fn meetings() -> impl Strategy<Value = Meeting> {
    let slot = prop::option::of(ranges());
    (
        meeting_ids(),
        requests(),
        groups_of_people(),
        slot,
        select(&STATES[..]),
        0..4_u64,
        prop::option::of(1..4_u64),
    )
        .prop_map(|(id, request_id, names, slot, state, version, booked)| {
            let booked = booked.map(quorate::core::ids::AttemptNumber);
            let mut made = meeting(id.as_str(), &names);
            made.spec.displaceable = version % 2 == 0;
            Meeting { request_id, slot, state, version, booked, ..made }
        })
}

fn participants() -> impl Strategy<Value = ParticipantRow> {
    let sequence = prop_oneof![0..4_u64, Just(1 << 63), Just(u64::MAX)];
    (people(), 0..3_i64, 0..3_i64, sequence)
        .prop_map(|(id, epoch, lineage, sequence)| participant(id.as_str(), epoch, lineage, sequence))
}

fn conditions() -> impl Strategy<Value = Condition> {
    let overlap = (people(), ranges(), prop::collection::vec(attempts(), 0..3))
        .prop_map(|(participant, during, except)| Condition::NoOverlap { participant, during, except });
    prop_oneof![
        (attempts(), attempt_states()).prop_map(|(attempt, state)| Condition::AttemptIs(attempt, state)),
        attempts().prop_map(Condition::AttemptUnused),
        (meeting_ids(), 0..4_u64).prop_map(|(id, version)| Condition::MeetingVersion(id, version)),
        (meeting_ids(), requests()).prop_map(|(id, request)| Condition::MeetingUnused(id, request)),
        (people(), 0..3_i64).prop_map(|(id, n)| Condition::LineageIs(id, Lineage(n))),
        (people(), 0..3_i64).prop_map(|(id, n)| Condition::EpochIs(id, Epoch(n))),
        overlap,
        attempts().prop_map(|attempt| Condition::NoAttemptAfter(attempt.meeting, attempt.n)),
        (0..2_u32).prop_map(Condition::GenerationIs),
    ]
}

fn attempt_and_booking_writes() -> impl Strategy<Value = Write> {
    prop_oneof![
        (attempts(), attempt_states(), ranges(), groups_of_people())
            .prop_map(|(attempt, state, slot, names)| put_attempt(&row(attempt, state, slot, &names))),
        (attempts(), attempt_states()).prop_map(|(attempt, state)| Write::AttemptState(attempt, state)),
        (people(), attempts(), ranges()).prop_map(|(name, attempt, during)| booking(
            name.as_str(),
            attempt,
            during
        )),
        (attempts(), prop::option::of(people()))
            .prop_map(|(attempt, participant)| Write::RemoveBookings(attempt, participant)),
        (people(), attempts()).prop_map(|(id, attempt)| Write::BookingDelivered(id, attempt)),
    ]
}

fn delivery_writes() -> impl Strategy<Value = Write> {
    let causes = select(vec![ReleaseCause::Aborted, ReleaseCause::NotNeeded, ReleaseCause::Withdrawn]);
    prop_oneof![
        (people(), attempts(), 0..2_i64).prop_map(|(name, attempt, slot)| {
            Write::Delivery(confirm(name.as_str(), attempt, range(slot, 30), "Plan"))
        }),
        (people(), attempts(), causes).prop_map(|(name, attempt, cause)| Write::Delivery(release(
            name.as_str(),
            attempt,
            cause
        ))),
        (people(), attempts(), select(vec![AckKind::Confirm, AckKind::Release]))
            .prop_map(|(id, attempt, kind)| Write::RemoveDelivery(id, attempt, kind)),
    ]
}

fn other_writes() -> impl Strategy<Value = Write> {
    let sequence = prop_oneof![0..6_u64, Just(1 << 63), Just(u64::MAX)];
    prop_oneof![
        participants().prop_map(Write::Participant),
        (people(), 0..3_i64, sequence).prop_map(|(id, lineage, sequence)| Write::JournalSeen(
            id,
            Lineage(lineage),
            sequence
        )),
        (people(), 0..90_i64).prop_map(|(id, minutes)| Write::LastSeen(id, at(minutes))),
        people().prop_map(Write::ForgetParticipant),
        (meetings(), 0..90_i64).prop_map(|(meeting, minutes)| event(EventKind::Updated, minutes, &meeting)),
        (0..2_u32).prop_map(|generation| Write::Generation { generation, incarnation: "x".into() }),
    ]
}

fn writes() -> impl Strategy<Value = Write> {
    prop_oneof![
        2 => meetings().prop_map(|meeting| put(&meeting)),
        3 => attempt_and_booking_writes(),
        2 => delivery_writes(),
        2 => other_writes(),
    ]
}

fn reads() -> impl Strategy<Value = Read> {
    let promises = (people(), prop::collection::vec(attempts(), 0..3), 0..300_i64).prop_map(
        |(participant, reported, after)| Read::Promises { participant, reported, after: at(after) },
    );
    let displaceable = (prop::collection::vec(people(), 0..3), ranges(), 0..4_i32)
        .prop_map(|(participants, during, below)| Read::Displaceable { participants, during, below });
    prop_oneof![
        displaceable,
        requests().prop_map(Read::Request),
        meeting_ids().prop_map(Read::Meeting),
        attempts().prop_map(Read::Attempt),
        (0..300_i64).prop_map(|after| Read::Strangers { after: at(after) }),
        promises,
    ]
}

fn operations() -> impl Strategy<Value = Operation> {
    let transaction = (prop::collection::vec(conditions(), 0..3), prop::collection::vec(writes(), 0..5))
        .prop_map(|(conditions, writes)| Operation::Apply(Transaction { conditions, writes }));
    prop_oneof![3 => transaction, 1 => reads().prop_map(Operation::Read)]
}

fn filters() -> impl Strategy<Value = MeetingFilter> {
    let states = proptest::sample::subsequence(&STATES[..], 0..=3);
    (prop::option::of(ranges()), prop::option::of(people()), states, 0..4_usize).prop_map(
        |(range, participant, states, limit)| MeetingFilter {
            range,
            participant,
            states,
            after: None,
            limit,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_answer_alike(
        groups in prop::collection::vec(prop::collection::vec(operations(), 0..6), 1..12),
        filters in prop::collection::vec(filters(), 1..8),
    ) {
        // So few events are kept that they are pruned.
        let mut sqlite = SqliteStore::in_memory().expect("a store").keep_events(5);
        let mut memory = MemoryStore::new().keep_events(5);
        for group in &groups {
            prop_assert_eq!(comparable(sqlite.run(group)), comparable(memory.run(group)));
            prop_assert_eq!(comparable(sqlite.snapshot()), comparable(memory.snapshot()));
        }
        let (on_sqlite, on_memory) = (sqlite.reader(), memory.reader());
        for filter in &filters {
            prop_assert_eq!(comparable(on_sqlite.meetings(filter)), comparable(on_memory.meetings(filter)));
            let events = EventFilter { meeting: None, participant: filter.participant.clone() };
            let found = comparable(on_sqlite.events(2, &events, 3)).map(|page| (page.events, page.looked_until));
            let wanted = comparable(on_memory.events(2, &events, 3)).map(|page| (page.events, page.looked_until));
            prop_assert_eq!(found, wanted);
        }
        prop_assert_eq!(comparable(on_sqlite.event_bounds()), comparable(on_memory.event_bounds()));
        for range in filters.iter().filter_map(|filter| filter.range) {
            prop_assert_eq!(comparable(on_sqlite.booked(range.start)), comparable(on_memory.booked(range.start)));
        }
    }
}
