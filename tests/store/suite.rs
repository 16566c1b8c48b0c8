//! Conditions, writes, reads and the snapshot.

use std::collections::BTreeMap;

use quorate::core::ids::{AttemptNumber, Epoch, Lineage, MeetingId, RequestId};
use quorate::core::message::{AckKind, Booking, ReleaseCause};
use quorate::core::model::{Meeting, MeetingState};
use quorate::core::record::{Applied, AttemptState, Condition, Read, ReadResult, Snapshot, Write};
use quorate::core::time::TimeRange;
use quorate::engine::store::{Operation, OperationResult, Store, StoreError};

use super::Factory;
use super::make::*;

const KEPT: u64 = 1_000;

pub fn a_new_store_is_empty(make: Factory) {
    let mut store = make(KEPT);
    assert_eq!(store.snapshot().expect("a snapshot"), Snapshot::default());
    assert_eq!(store.reader().event_bounds().expect("bounds"), None);
    assert!(store.run(&[]).expect("an empty group").is_empty());
}

pub fn attempt_conditions(make: Factory) {
    let mut store = make(KEPT);
    let name = attempt("m", 1);
    assert!(holds(&mut *store, Condition::AttemptUnused(name.clone())));
    assert!(!holds(&mut *store, Condition::AttemptIs(name.clone(), AttemptState::Holding)));
    write(&mut *store, vec![put_attempt(&row(name.clone(), AttemptState::Holding, range(0, 30), &["ann"]))]);
    assert!(!holds(&mut *store, Condition::AttemptUnused(name.clone())));
    assert!(holds(&mut *store, Condition::AttemptUnused(attempt("m", 2))));
    assert!(holds(&mut *store, Condition::AttemptUnused(attempt("m2", 1))));
    assert!(holds(&mut *store, Condition::AttemptIs(name.clone(), AttemptState::Holding)));
    assert!(!holds(&mut *store, Condition::AttemptIs(name, AttemptState::Committed)));
}

pub fn greatest_number_condition(make: Factory) {
    let mut store = make(KEPT);
    let none_after = |n| Condition::NoAttemptAfter(MeetingId::new("m"), AttemptNumber(n));
    assert!(holds(&mut *store, none_after(0)));
    for name in [attempt("a", 9), attempt("m", 3), attempt("m2", 9)] {
        write(&mut *store, vec![put_attempt(&row(name, AttemptState::Holding, range(0, 30), &["ann"]))]);
    }
    assert!(!holds(&mut *store, none_after(2)));
    assert!(holds(&mut *store, none_after(3)) && holds(&mut *store, none_after(4)));
}

pub fn displaceable_reads(make: Factory) {
    let mut store = make(KEPT);
    let mut put_booked = |id: &str, set: fn(&mut Meeting)| {
        let mut made = meeting(id, &["ann", "bob"]);
        (made.state, made.booked) = (MeetingState::Confirmed, Some(AttemptNumber(1)));
        (made.spec.displaceable, made.rank.priority) = (true, 1);
        set(&mut made);
        let name = attempt(id, 1);
        let row = row(name.clone(), AttemptState::Committed, range(60, 120), &["ann", "bob"]);
        let writes = vec![put(&made), put_attempt(&row), booking("ann", name, range(60, 120))];
        write(&mut *store, writes);
        (made, row)
    };
    let one = put_booked("a", |_| ());
    let two = put_booked("b", |m| m.rank.priority = 2);
    put_booked("c", |m| m.spec.displaceable = false);
    put_booked("d", |m| m.state = MeetingState::Cancelled);
    put_booked("e", |m| m.booked = Some(AttemptNumber(2)));
    let mut found = |names: &[&str], during, below| {
        let participants = names.iter().map(|name| who(name)).collect();
        match read(&mut *store, Read::Displaceable { participants, during, below }) {
            ReadResult::Displaceable(found) => found,
            other => panic!("{other:?}"),
        }
    };
    let all = vec![one.clone(), two];
    assert_eq!(found(&["ann"], range(0, 300), 3), all);
    assert_eq!(found(&["bob", "ann", "ann"], range(119, 300), 3), all, "each once");
    assert_eq!(found(&["ann"], range(0, 300), 2), vec![one]);
    assert_eq!(found(&["ann"], range(0, 60), 3), vec![], "touching");
    assert_eq!(found(&["bob"], range(0, 300), 3), vec![], "has no booked row");
    assert_eq!(found(&[], range(0, 300), 3), vec![]);
}

pub fn meeting_conditions(make: Factory) {
    let mut store = make(KEPT);
    let unused =
        |id: &str, request: &str| Condition::MeetingUnused(MeetingId::new(id), RequestId::new(request));
    assert!(holds(&mut *store, unused("m", "r-m")));
    assert!(!holds(&mut *store, Condition::MeetingVersion(MeetingId::new("m"), 1)));
    write(&mut *store, vec![put(&meeting("m", &["ann"]))]);
    assert!(!holds(&mut *store, unused("m", "other")));
    assert!(!holds(&mut *store, unused("other", "r-m")));
    assert!(holds(&mut *store, unused("other", "other")));
    assert!(holds(&mut *store, Condition::MeetingVersion(MeetingId::new("m"), 1)));
    assert!(!holds(&mut *store, Condition::MeetingVersion(MeetingId::new("m"), 2)));
}

pub fn participant_conditions(make: Factory) {
    let mut store = make(KEPT);
    assert!(!holds(&mut *store, Condition::LineageIs(who("ann"), Lineage(0))));
    assert!(holds(&mut *store, Condition::EpochIs(who("ann"), Epoch(0))));
    assert!(!holds(&mut *store, Condition::EpochIs(who("ann"), Epoch(1))));
    write(&mut *store, vec![Write::Participant(participant("ann", 3, 2, 0))]);
    assert!(holds(&mut *store, Condition::LineageIs(who("ann"), Lineage(2))));
    assert!(!holds(&mut *store, Condition::LineageIs(who("ann"), Lineage(1))));
    assert!(holds(&mut *store, Condition::EpochIs(who("ann"), Epoch(3))));
    assert!(!holds(&mut *store, Condition::EpochIs(who("ann"), Epoch(0))));
}

fn free(store: &mut dyn Store, name: &str, during: TimeRange, except: &[(&str, u64)]) -> bool {
    let except = except.iter().map(|(meeting, n)| attempt(meeting, *n)).collect();
    holds(store, Condition::NoOverlap { participant: who(name), during, except })
}

pub fn overlap_condition(make: Factory) {
    let mut store = make(KEPT);
    assert!(free(&mut *store, "ann", range(0, 1_000), &[]));
    write(
        &mut *store,
        vec![
            booking("ann", attempt("m", 1), range(60, 120)),
            booking("bob", attempt("m", 1), range(60, 120)),
            booking("ann", attempt("other", 4), range(300, 330)),
        ],
    );
    for (from, to, expected) in [
        (0, 60, true),
        (120, 180, true),
        (120, 300, true),
        (0, 61, false),
        (119, 180, false),
        (80, 90, false),
        (0, 500, false),
        (60, 120, false),
        (90, 90, true),
    ] {
        assert_eq!(free(&mut *store, "ann", range(from, to), &[]), expected, "{from} to {to}");
    }
    assert!(free(&mut *store, "cat", range(0, 500), &[]));
    assert!(free(&mut *store, "ann", range(0, 200), &[("m", 1)]));
    assert!(!free(&mut *store, "ann", range(0, 200), &[("m", 2)]));
    assert!(!free(&mut *store, "ann", range(0, 500), &[("m", 1)]));
    assert!(free(&mut *store, "ann", range(0, 500), &[("other", 4), ("m", 1)]));
}

/// A row is found however long it is, and however many shorter ones lie between its start and the question.
pub fn overlap_beyond_longer_rows(make: Factory) {
    let mut store = make(KEPT);
    let long = range(0, 9 * 24 * 60);
    let mut writes = vec![booking("ann", attempt("long", 1), long)];
    writes.extend(
        (0..50).map(|i| booking("ann", attempt("short", i), range(i as i64 * 20, i as i64 * 20 + 10))),
    );
    write(&mut *store, writes);
    assert!(!free(&mut *store, "ann", range(9 * 24 * 60 - 1, 9 * 24 * 60 + 5), &[]));
    assert!(free(&mut *store, "ann", range(9 * 24 * 60, 9 * 24 * 60 + 5), &[]));
    assert!(free(&mut *store, "ann", range(9 * 24 * 60 - 1, 9 * 24 * 60 + 5), &[("long", 1)]));
    // The row gets another length, and another place.
    write(&mut *store, vec![booking("ann", attempt("long", 1), range(20_000, 40_000))]);
    assert!(free(&mut *store, "ann", range(9 * 24 * 60 - 1, 9 * 24 * 60 + 5), &[]));
    assert!(!free(&mut *store, "ann", range(39_999, 40_001), &[]));
}

pub fn generation_condition(make: Factory) {
    let mut store = make(KEPT);
    assert!(holds(&mut *store, Condition::GenerationIs(0)));
    write(&mut *store, vec![Write::Generation { generation: 7, incarnation: "abc".into() }]);
    assert!(!holds(&mut *store, Condition::GenerationIs(0)));
    assert!(holds(&mut *store, Condition::GenerationIs(7)));
    let snapshot = store.snapshot().expect("a snapshot");
    assert_eq!((snapshot.generation, snapshot.incarnation.as_str()), (7, "abc"));
}

pub fn a_conflict_changes_nothing_and_spares_the_others(make: Factory) {
    let mut store = make(KEPT);
    let (first, second, third) = (meeting("a", &["ann"]), meeting("b", &["ann"]), meeting("c", &["ann"]));
    let holding = |meeting: &Meeting| {
        put_attempt(&row(attempt(meeting.id.as_str(), 1), AttemptState::Holding, range(0, 30), &["ann"]))
    };
    let broken = Condition::MeetingVersion(MeetingId::new("a"), 9);
    let results = store
        .run(&[
            only_if(vec![Condition::GenerationIs(0)], vec![put(&first), holding(&first)]),
            only_if(
                vec![
                    Condition::GenerationIs(0),
                    Condition::MeetingVersion(MeetingId::new("a"), 1),
                    broken.clone(),
                    Condition::GenerationIs(9),
                ],
                vec![put(&second), holding(&second)],
            ),
            only_if(vec![Condition::MeetingVersion(MeetingId::new("a"), 1)], vec![put(&third)]),
        ])
        .expect("the store works");
    assert_eq!(
        results,
        [
            OperationResult::Applied(Applied::Yes),
            OperationResult::Applied(Applied::Conflict(broken)),
            OperationResult::Applied(Applied::Yes),
        ]
    );
    let snapshot = store.snapshot().expect("a snapshot");
    assert_eq!(snapshot.live_meetings, [first, third]);
    assert_eq!(snapshot.holding.len(), 1);
}

pub fn a_group_is_in_order_and_reads_see_what_came_before(make: Factory) {
    let mut store = make(KEPT);
    let sought = meeting("m", &["ann"]);
    let name = attempt("m", 1);
    let holding = row(name.clone(), AttemptState::Holding, range(0, 30), &["ann"]);
    let is = |state| Condition::AttemptIs(name.clone(), state);
    let ask = || Operation::Read(Read::Attempt(name.clone()));
    let results = store
        .run(&[
            ask(),
            only_if(vec![Condition::AttemptUnused(name.clone())], vec![put(&sought), put_attempt(&holding)]),
            ask(),
            only_if(
                vec![is(AttemptState::Holding)],
                vec![Write::AttemptState(name.clone(), AttemptState::Aborted)],
            ),
            only_if(
                vec![is(AttemptState::Holding)],
                vec![Write::AttemptState(name.clone(), AttemptState::Committed)],
            ),
            ask(),
        ])
        .expect("the store works");
    let aborted = row(name.clone(), AttemptState::Aborted, range(0, 30), &["ann"]);
    let found = |row| OperationResult::Read(ReadResult::Attempt(Some(Box::new((row, sought.clone())))));
    assert_eq!(
        results,
        [
            OperationResult::Read(ReadResult::Attempt(None)),
            OperationResult::Applied(Applied::Yes),
            found(holding),
            OperationResult::Applied(Applied::Yes),
            OperationResult::Applied(Applied::Conflict(is(AttemptState::Holding))),
            found(aborted),
        ]
    );
}

pub fn a_request_id_has_one_meeting(make: Factory) {
    let mut store = make(KEPT);
    let first = meeting("a", &["ann"]);
    let twin = Meeting { request_id: first.request_id.clone(), ..meeting("b", &["ann"]) };
    let guarded = |meeting: &Meeting| {
        let unused = Condition::MeetingUnused(meeting.id.clone(), meeting.request_id.clone());
        only_if(vec![unused], vec![put(meeting)])
    };
    // Both in one group: the second finds the first.
    let results = store.run(&[guarded(&first), guarded(&twin)]).expect("the store works");
    assert_eq!(results[0], OperationResult::Applied(Applied::Yes));
    assert!(matches!(&results[1], OperationResult::Applied(Applied::Conflict(_))));
    // Without the condition the store itself refuses, and with it the whole group.
    let other = meeting("c", &["ann"]);
    let answer = store.run(&[only_if(Vec::new(), vec![put(&other)]), only_if(Vec::new(), vec![put(&twin)])]);
    assert!(matches!(answer, Err(StoreError::NotApplied(_))), "{answer:?}");
    assert_eq!(store.snapshot().expect("a snapshot").live_meetings, std::slice::from_ref(&first));
    // It goes on working, and a meeting may be given its request id again, or another.
    write(&mut *store, vec![put(&first), put(&other)]);
    let renamed = Meeting { request_id: RequestId::new("new"), ..first.clone() };
    write(&mut *store, vec![put(&renamed), put(&twin)]);
    let of = |store: &mut dyn Store, request: &RequestId| match read(store, Read::Request(request.clone())) {
        ReadResult::Request(found) => found.map(|meeting| meeting.id.as_str().to_owned()),
        other => panic!("{other:?}"),
    };
    assert_eq!(of(&mut *store, &renamed.request_id).as_deref(), Some("a"));
    assert_eq!(of(&mut *store, &twin.request_id).as_deref(), Some("b"));
    assert_eq!(of(&mut *store, &RequestId::new("none")), None);
}

pub fn attempt_writes(make: Factory) {
    let mut store = make(KEPT);
    let sought = meeting("m", &["ann", "bob"]);
    let holding = row(attempt("m", 1), AttemptState::Holding, range(0, 30), &["ann", "bob"]);
    write(&mut *store, vec![put(&sought), put_attempt(&holding)]);
    let booked = confirmed(sought, 1, range(0, 30));
    let committed = row(attempt("m", 1), AttemptState::Committed, range(0, 30), &["ann", "bob"]);
    write(&mut *store, vec![put(&booked), put_attempt(&committed)]);
    assert_eq!(stored_meeting(&mut *store, "m"), Some((booked.clone(), Some(committed.clone()))));
    // Only the state changes; of an attempt that is not there, nothing.
    write(
        &mut *store,
        vec![
            Write::AttemptState(attempt("m", 1), AttemptState::Superseded),
            Write::AttemptState(attempt("m", 2), AttemptState::Aborted),
        ],
    );
    let superseded = quorate::core::record::AttemptRow { state: AttemptState::Superseded, ..committed };
    assert_eq!(stored_attempt(&mut *store, attempt("m", 1)), Some((superseded, booked)));
    assert_eq!(stored_attempt(&mut *store, attempt("m", 2)), None);
}

pub fn booking_writes(make: Factory) {
    let mut store = make(KEPT);
    let both = attempt("m", 1);
    let writes =
        |names: &[&str]| names.iter().map(|name| booking(name, both.clone(), range(0, 30))).collect();
    let taken =
        |store: &mut dyn Store| ["ann", "bob", "cat"].map(|name| !free(store, name, range(0, 30), &[]));
    write(&mut *store, writes(&["ann", "bob", "cat"]));
    assert_eq!(taken(&mut *store), [true, true, true]);
    write(
        &mut *store,
        vec![
            Write::RemoveBookings(both.clone(), Some(who("bob"))),
            Write::RemoveBookings(both.clone(), Some(who("dan"))),
            Write::RemoveBookings(attempt("m", 2), None),
            Write::BookingDelivered(who("ann"), both.clone()),
            Write::BookingDelivered(who("bob"), both.clone()),
        ],
    );
    assert_eq!(taken(&mut *store), [true, false, true]);
    write(&mut *store, vec![Write::RemoveBookings(both.clone(), None)]);
    assert_eq!(taken(&mut *store), [false, false, false]);
    // A row that is written again replaces the old one.
    write(&mut *store, vec![booking("ann", both.clone(), range(0, 30)), booking("ann", both, range(60, 90))]);
    assert!(free(&mut *store, "ann", range(0, 60), &[]));
    assert!(!free(&mut *store, "ann", range(60, 61), &[]));
}

pub fn delivery_writes(make: Factory) {
    let mut store = make(KEPT);
    let (one, two) = (attempt("m", 1), attempt("m", 2));
    let deliveries = |store: &mut dyn Store| store.snapshot().expect("a snapshot").deliveries;
    let to_ann = confirm("ann", one.clone(), range(0, 30), "Plan");
    let to_bob = confirm("bob", one.clone(), range(0, 30), "Plan");
    let to_cat = confirm("cat", one.clone(), range(0, 30), "Plan, with another word for Cat");
    write(&mut *store, [&to_cat, &to_bob, &to_ann].map(|to| Write::Delivery(to.clone())).to_vec());
    assert_eq!(deliveries(&mut *store), [to_ann.clone(), to_bob, to_cat.clone()]);
    // A release takes the place of the confirm of the same attempt only.
    let instead = release("bob", one.clone(), ReleaseCause::Displaced);
    let earlier = release("ann", two.clone(), ReleaseCause::NotNeeded);
    write(&mut *store, vec![Write::Delivery(instead.clone()), Write::Delivery(earlier.clone())]);
    assert_eq!(deliveries(&mut *store), [to_ann.clone(), earlier.clone(), instead.clone(), to_cat.clone()]);
    // An ack of another kind, or of nothing, is not an ack of it.
    write(
        &mut *store,
        vec![
            Write::RemoveDelivery(who("bob"), one.clone(), AckKind::Confirm),
            Write::RemoveDelivery(who("ann"), one.clone(), AckKind::Release),
            Write::RemoveDelivery(who("dan"), one.clone(), AckKind::Confirm),
        ],
    );
    assert_eq!(deliveries(&mut *store).len(), 4);
    write(
        &mut *store,
        vec![
            Write::RemoveDelivery(who("bob"), one.clone(), AckKind::Release),
            Write::RemoveDelivery(who("ann"), one.clone(), AckKind::Confirm),
        ],
    );
    assert_eq!(deliveries(&mut *store), [earlier.clone(), to_cat]);
    // A release after which a confirm of the same body comes again.
    write(
        &mut *store,
        vec![
            Write::Delivery(to_ann.clone()),
            Write::RemoveDelivery(who("ann"), one.clone(), AckKind::Confirm),
            Write::Delivery(to_ann.clone()),
            Write::RemoveDelivery(who("cat"), one, AckKind::Confirm),
        ],
    );
    assert_eq!(deliveries(&mut *store), [to_ann, earlier]);
}

pub fn participant_writes(make: Factory) {
    let mut store = make(KEPT);
    let ann = participant("ann", 1, 4, 10);
    let stored = |store: &mut dyn Store| store.snapshot().expect("a snapshot").participants;
    let bob = quorate::core::record::ParticipantRow { time_zone: None, ..participant("bob", 1, 1, 0) };
    write(&mut *store, vec![Write::Participant(bob.clone()), Write::Participant(ann.clone())]);
    assert_eq!(stored(&mut *store), [ann.clone(), bob.clone()]);
    let sequence_after = |store: &mut dyn Store, name: &str, lineage, sequence| {
        write(store, vec![Write::JournalSeen(who(name), Lineage(lineage), sequence)]);
        stored(store)[0].journal_sequence
    };
    assert_eq!(sequence_after(&mut *store, "ann", 4, 12), 12);
    assert_eq!(sequence_after(&mut *store, "ann", 4, 11), 12);
    assert_eq!(sequence_after(&mut *store, "ann", 3, 20), 12);
    assert_eq!(sequence_after(&mut *store, "ann", 5, 20), 12);
    assert_eq!(sequence_after(&mut *store, "nobody", 4, 20), 12);
    write(&mut *store, vec![Write::LastSeen(who("bob"), at(77)), Write::LastSeen(who("nobody"), at(77))]);
    let ann = participant("ann", 2, 5, 3);
    write(&mut *store, vec![Write::Participant(ann.clone())]);
    let bob = quorate::core::record::ParticipantRow { last_seen: at(77), ..bob };
    assert_eq!(stored(&mut *store), [ann, bob]);
}

/// A stranger is named by nothing but its row.
pub fn strangers_can_be_forgotten(make: Factory) {
    let mut store = make(KEPT);
    let names = ["ann", "bob", "carl", "dora", "eve"];
    let mut writes: Vec<_> = names.map(|name| Write::Participant(participant(name, 1, 1, 0))).to_vec();
    writes.push(put(&Meeting { state: MeetingState::Failed, ..meeting("m", &["ann"]) }));
    writes.push(booking("bob", attempt("n", 1), range(0, 30)));
    writes.push(Write::Delivery(release("carl", attempt("o", 1), ReleaseCause::Aborted)));
    write(&mut *store, writes);
    let now = |store: &mut dyn Store| store.snapshot().expect("a snapshot");
    assert_eq!(now(&mut *store).strangers, [who("dora"), who("eve")]);
    write(
        &mut *store,
        vec![
            Write::RemoveDelivery(who("carl"), attempt("o", 1), AckKind::Release),
            Write::ForgetParticipant(who("eve")),
            Write::ForgetParticipant(who("nobody")),
        ],
    );
    let Snapshot { participants, strangers, .. } = now(&mut *store);
    assert_eq!(strangers, [who("carl"), who("dora")]);
    assert_eq!(participants.len(), 4);
}

pub fn numbers_keep_all_their_bits(make: Factory) {
    let mut store = make(KEPT);
    let n = (9 << 32) | 5;
    let versioned = Meeting { version: u64::MAX - 1, ..meeting("m", &["ann"]) };
    let holding = row(attempt("m", n), AttemptState::Holding, range(0, 30), &["ann"]);
    write(
        &mut *store,
        vec![put(&versioned), put_attempt(&holding), Write::Participant(participant("ann", i64::MAX, -1, 5))],
    );
    assert!(holds(&mut *store, Condition::MeetingVersion(MeetingId::new("m"), u64::MAX - 1)));
    assert!(holds(&mut *store, Condition::EpochIs(who("ann"), Epoch(i64::MAX))));
    assert_eq!(stored_attempt(&mut *store, attempt("m", n)), Some((holding, versioned)));
    let mut sequence_after = |sequence| {
        write(&mut *store, vec![Write::JournalSeen(who("ann"), Lineage(-1), sequence)]);
        store.snapshot().expect("a snapshot").participants[0].journal_sequence
    };
    assert_eq!(sequence_after(u64::MAX - 5), u64::MAX - 5);
    assert_eq!(sequence_after(9), u64::MAX - 5);
    assert_eq!(sequence_after(u64::MAX - 6), u64::MAX - 5);
    assert_eq!(sequence_after(u64::MAX), u64::MAX);
}

pub fn snapshot_is_live_work_only(make: Factory) {
    let mut store = make(KEPT);
    let state = |id: &str, state| Meeting { state, ..meeting(id, &["ann"]) };
    let meetings = [
        state("a", MeetingState::Scheduling),
        state("b", MeetingState::Displaced),
        confirmed(meeting("c", &["ann"]), 1, range(0, 30)),
        confirmed(meeting("d", &["ann"]), 1, range(60, 90)),
        state("e", MeetingState::Failed),
        state("f", MeetingState::Cancelled),
    ];
    let attempts = [
        row(attempt("a", 1), AttemptState::Aborted, range(0, 30), &["ann"]),
        row(attempt("a", 2), AttemptState::Holding, range(30, 60), &["ann"]),
        row(attempt("c", 1), AttemptState::Committed, range(0, 30), &["ann"]),
        row(attempt("c", 3), AttemptState::Holding, range(90, 120), &["ann"]),
        row(attempt("c", 2), AttemptState::Holding, range(30, 60), &["ann"]),
        row(attempt("d", 1), AttemptState::Committed, range(60, 90), &["ann"]),
        row(attempt("e", 1), AttemptState::Holding, range(60, 90), &["ann"]),
    ];
    let mut writes: Vec<_> = meetings.iter().rev().map(put).collect();
    writes.extend(attempts.iter().map(put_attempt));
    writes.push(Write::Participant(participant("ann", 1, 1, 0)));
    writes.push(Write::Delivery(release("ann", attempt("f", 1), ReleaseCause::Cancelled)));
    write(&mut *store, writes);
    let [a, b, c, ..] = meetings;
    let [_, a2, _, c3, c2, _, e1] = attempts;
    let expected = Snapshot {
        live_series: Vec::new(),
        generation: 0,
        incarnation: String::new(),
        live_meetings: vec![a, b, c],
        holding: vec![a2, c2, c3, e1],
        participants: vec![participant("ann", 1, 1, 0)],
        strangers: Vec::new(),
        deliveries: vec![release("ann", attempt("f", 1), ReleaseCause::Cancelled)],
    };
    assert_eq!(store.snapshot().expect("a snapshot"), expected);
}

pub fn promises_of_a_participant(make: Factory) {
    let mut store = make(KEPT);
    let mut writes = Vec::new();
    for (id, start) in [("a", 600), ("b", 0), ("c", 300)] {
        let slot = range(start, start + 30);
        let committed = row(attempt(id, 1), AttemptState::Committed, slot, &["ann", "bob"]);
        writes.push(put(&confirmed(meeting(id, &["ann", "bob"]), 1, slot)));
        writes.push(booking("ann", attempt(id, 1), committed.blocked));
        writes.push(booking("bob", attempt(id, 1), committed.blocked));
        writes.push(put_attempt(&committed));
    }
    let holding = row(attempt("d", 1), AttemptState::Holding, range(900, 930), &["ann"]);
    writes.push(put_attempt(&holding));
    write(&mut *store, writes);
    let stored_version = confirmed(meeting("b", &["ann", "bob"]), 1, range(0, 30)).version;
    let told = |id: &str, start| Booking {
        attempt: attempt(id, 1),
        slot: range(start, start + 30),
        blocked: range(start, start + 40),
        title: "Plan \"Q3\" — Zürich".into(),
        organizer: "olga".into(),
        attendees: all(&["ann", "bob"]),
        sequence: 1,
        revision: stored_version,
        series: None,
    };
    let found = promises(&mut *store, "ann", vec![attempt("d", 1), attempt("d", 2), attempt("d", 1)], at(39));
    assert_eq!(found.booked, [told("b", 0), told("c", 300), told("a", 600)]);
    let nothing = BTreeMap::from([(attempt("d", 1), None), (attempt("d", 2), None)]);
    assert_eq!(found.reported, nothing, "no meeting, no fate");
    // The time is over at the end, buffers included.
    assert_eq!(promises(&mut *store, "ann", Vec::new(), at(40)).booked, [told("c", 300), told("a", 600)]);
    assert!(promises(&mut *store, "cat", Vec::new(), at(0)).booked.is_empty());
    let found = promises(&mut *store, "ann", vec![attempt("b", 1)], at(39)).reported;
    let row = stored_attempt(&mut *store, attempt("b", 1)).map(|(row, meeting)| (row, meeting.state));
    assert!(row.is_some());
    let expected = BTreeMap::from([(attempt("b", 1), row), (attempt("d", 1), None)]);
    assert_eq!(found[&attempt("b", 1)], expected[&attempt("b", 1)]);
    let alone = Read::Reported(vec![attempt("b", 1), attempt("d", 1)]);
    assert_eq!(read(&mut *store, alone), ReadResult::Reported(expected));
    // Who attends is who has a row now.
    write(&mut *store, vec![Write::RemoveBookings(attempt("b", 1), Some(who("bob")))]);
    assert_eq!(promises(&mut *store, "ann", Vec::new(), at(39)).booked[0].attendees, all(&["ann"]));
    write(&mut *store, vec![Write::RemoveBookings(attempt("c", 1), Some(who("ann")))]);
    assert_eq!(promises(&mut *store, "ann", Vec::new(), at(40)).booked, [told("a", 600)]);
}

pub fn reads_of_what_is_missing(make: Factory) {
    let mut store = make(KEPT);
    assert_eq!(stored_meeting(&mut *store, "m"), None);
    assert_eq!(store.reader().meeting(&MeetingId::new("m")).expect("a reader"), None);
    // An attempt is read with its meeting; a meeting whose attempt is missing is read without.
    let booked = confirmed(meeting("m", &["ann"]), 1, range(0, 30));
    write(
        &mut *store,
        vec![put_attempt(&row(attempt("n", 1), AttemptState::Holding, range(0, 30), &["ann"]))],
    );
    write(&mut *store, vec![put(&booked)]);
    assert_eq!(stored_attempt(&mut *store, attempt("n", 1)), None);
    assert_eq!(stored_meeting(&mut *store, "m"), Some((booked.clone(), None)));
    assert_eq!(store.reader().meeting(&MeetingId::new("m")).expect("a reader"), Some(booked));
}
