//! Series: their rows, conditions and reads.

use std::sync::Arc;
use std::time::Duration;

use quorate::core::ids::ParticipantId;
use quorate::core::ids::{MeetingId, RequestId, SeriesId};
use quorate::core::model::Meeting;
use quorate::core::record::{AttemptState, Condition, Read, ReadResult, Write};
use quorate::core::series::{ConflictPolicy, Move, Occurrence, Recurrence, Series, SeriesState};
use quorate::engine::store::{SeriesFilter, Store};

use super::Factory;
use super::make::*;

const KEPT: u64 = 1_000;

pub fn series(id: &str, state: SeriesState, meetings: &[&str]) -> Series {
    let like = meeting(id, &["ann", "bob"]);
    let occurrence = |(n, id): (usize, &&str)| Occurrence {
        slot: range(60 * n as i64, 60 * n as i64 + 30),
        recurrence: at(60 * n as i64),
        local: jiff::civil::date(2026, 3, 24).at(9, n as i8, 0, 0),
        shifted: false,
        excluded: false,
        meeting: Some(MeetingId::new(id)),
        reason: String::new(),
        alone: None,
        attendees: Vec::new(),
    };
    Series {
        id: SeriesId::new(id),
        request_id: RequestId::new(format!("request of {id}")),
        body_hash: "hash".into(),
        rule: "FREQ=DAILY;COUNT=2".into(),
        named: None,
        first: Some(range(0, 30)),
        time_zone: "Europe/Berlin".into(),
        exclude: vec![jiff::civil::date(2026, 12, 25)],
        policy: ConflictPolicy::MoveWithin(Duration::from_secs(3600)),
        options: like.options,
        rank: like.rank,
        state,
        version: 7,
        occurrences: meetings.iter().enumerate().map(occurrence).collect(),
        failure: None,
        moves: vec![Move { from: at(60), seconds: -3600, length: Duration::from_secs(1800) }],
        booked_until: None,
        create_time: at(0),
        update_time: at(1),
        deadline: at(2),
        spec: like.spec,
    }
}

pub fn put_series(series: &Series) -> Write {
    Write::Series(Box::new(series.clone()))
}

fn stored(store: &mut dyn Store, id: &str) -> Option<(Series, Vec<(Meeting, bool)>)> {
    match read(store, Read::Series(SeriesId::new(id))) {
        ReadResult::Series(found) => found.map(|found| {
            let (series, meetings) = *found;
            (series, meetings.into_iter().map(|(meeting, row)| (meeting, row.is_some())).collect())
        }),
        other => panic!("{other:?}"),
    }
}

fn of_request(store: &mut dyn Store, request: &str) -> Option<Series> {
    match read(store, Read::SeriesRequest(RequestId::new(request))) {
        ReadResult::SeriesRequest(found) => found.map(|series| *series),
        other => panic!("{other:?}"),
    }
}

pub fn series_conditions(make: Factory) {
    let mut store = make(KEPT);
    let unused =
        |id: &str, request: &str| Condition::SeriesUnused(SeriesId::new(id), RequestId::new(request));
    let version = |id: &str, version| Condition::SeriesVersion(SeriesId::new(id), version);
    assert!(holds(&mut *store, unused("s", "request of s")));
    assert!(!holds(&mut *store, version("s", 7)));
    write(&mut *store, vec![put_series(&series("s", SeriesState::Scheduling, &[]))]);
    assert!(!holds(&mut *store, unused("s", "another")));
    assert!(!holds(&mut *store, unused("another", "request of s")));
    assert!(holds(&mut *store, unused("another", "another")));
    assert!(holds(&mut *store, version("s", 7)) && !holds(&mut *store, version("s", 8)));
    write(&mut *store, vec![put_series(&Series { version: 8, ..series("s", SeriesState::Confirmed, &[]) })]);
    assert!(holds(&mut *store, version("s", 8)) && !holds(&mut *store, version("s", 7)));
}

pub fn a_series_is_read_with_its_meetings(make: Factory) {
    let mut store = make(KEPT);
    assert_eq!((stored(&mut *store, "s"), of_request(&mut *store, "request of s")), (None, None));
    let whole = series("s", SeriesState::Confirmed, &["b", "missing", "a"]);
    let booked = confirmed(meeting("a", &["ann"]), 1, range(120, 150));
    let sought = meeting("b", &["ann"]);
    let row = row(attempt("a", 1), AttemptState::Committed, range(120, 150), &["ann"]);
    write(&mut *store, vec![put_series(&whole), put(&booked), put_attempt(&row), put(&sought)]);
    let wanted = vec![(sought.clone(), false), (booked.clone(), true)];
    assert_eq!(stored(&mut *store, "s"), Some((whole.clone(), wanted)), "in the order of its occurrences");
    assert_eq!(of_request(&mut *store, "request of s"), Some(whole.clone()));
    let read = store.reader().series(&SeriesId::new("s")).expect("a reader");
    assert_eq!(read, Some((whole, vec![sought, booked])));
    assert_eq!(store.reader().series(&SeriesId::new("t")).expect("a reader"), None);
}

pub fn a_snapshot_has_the_series_with_work(make: Factory) {
    let mut store = make(KEPT);
    let open = Series { booked_until: Some(at(900)), ..series("d", SeriesState::Confirmed, &[]) };
    let called_off = Series { booked_until: Some(at(900)), ..series("e", SeriesState::Cancelled, &[]) };
    let all = [
        open.clone(),
        series("b", SeriesState::Confirmed, &["m"]),
        series("a", SeriesState::Scheduling, &["m"]),
        series("c", SeriesState::Failed, &[]),
        called_off,
    ];
    write(&mut *store, all.iter().map(put_series).collect());
    let live = store.snapshot().expect("a snapshot").live_series;
    assert_eq!(live, [series("a", SeriesState::Scheduling, &["m"]), open]);
}

pub fn a_booking_tells_its_series(make: Factory) {
    let mut store = make(KEPT);
    let recurrence = Arc::new(Recurrence {
        series: SeriesId::new("s"),
        rule: "FREQ=WEEKLY".into(),
        start: jiff::civil::date(2026, 3, 24).at(9, 0, 0, 0),
        time_zone: "Europe/Berlin".into(),
        duration: Duration::from_secs(1800),
        local: jiff::civil::date(2026, 3, 31).at(9, 0, 0, 0),
        instant: at(60),
    });
    let mut booked = confirmed(meeting("m", &["ann"]), 1, range(60, 90));
    booked.series = Some(recurrence.clone());
    let mut row = row(attempt("m", 1), AttemptState::Committed, range(60, 90), &["ann"]);
    row.series = Some(recurrence.clone());
    let writes = vec![put(&booked), put_attempt(&row), booking("ann", attempt("m", 1), row.blocked)];
    write(&mut *store, writes);
    let told = promises(&mut *store, "ann", Vec::new(), at(0)).booked;
    assert_eq!(told.first().and_then(|booking| booking.series.clone()), Some(recurrence.clone()));
    assert_eq!(stored_meeting(&mut *store, "m").and_then(|(meeting, _)| meeting.series), Some(recurrence));
}

pub fn series_page_by_page_by_whom_and_how_they_stand(make: Factory) {
    let mut store = make(KEPT);
    let mut other = series("d", SeriesState::Confirmed, &[]);
    other.spec.attendees.retain(|attendee| attendee.id.as_str() == "bob");
    other.spec.organizer = "carol".into();
    let rows = [
        series("a", SeriesState::Failed, &[]),
        series("b", SeriesState::Confirmed, &[]),
        series("c", SeriesState::Cancelled, &[]),
        other,
    ];
    write(&mut *store, rows.iter().map(put_series).collect());
    let reader = store.reader();
    let list = |filter: SeriesFilter| -> String {
        let found = reader.series_list(&filter).expect("a list");
        assert!(found.iter().all(|found| rows.contains(found)));
        found.iter().map(|series| series.id.as_str()).collect()
    };
    let all = || SeriesFilter { limit: 10, ..SeriesFilter::default() };
    let of = |name: &str| SeriesFilter { participant: Some(ParticipantId::new(name)), ..all() };
    assert_eq!(list(all()), "abcd");
    assert_eq!(list(SeriesFilter { limit: 2, ..all() }), "ab");
    assert_eq!(list(SeriesFilter { after: Some(SeriesId::new("b")), ..all() }), "cd");
    assert_eq!(list(SeriesFilter { limit: 0, ..all() }), "");
    assert_eq!(
        (list(of("ann")), list(of("bob")), list(of("carol")), list(of("an"))),
        ("abc".into(), "abcd".into(), "d".into(), String::new())
    );
    let states = vec![SeriesState::Confirmed, SeriesState::Failed];
    assert_eq!(list(SeriesFilter { states: states.clone(), ..all() }), "abd");
    assert_eq!(list(SeriesFilter { states, limit: 1, after: Some(SeriesId::new("a")), ..of("ann") }), "b");
}
