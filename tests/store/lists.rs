//! The reader: events, lists of meetings, and what is seen beside the writer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use chrono::TimeDelta;

use quorate::core::ids::MeetingId;
use quorate::core::model::{AttendeeOutcome, AttendeeStatus, EventKind, Meeting, MeetingState};
use quorate::core::record::Write;
use quorate::core::time::TimeRange;
use quorate::engine::store::{EventFilter, MeetingFilter, MeetingKey, Reader};
use quorate::store::EVENTS_LOOKED_AT;

use super::Factory;
use super::make::*;

const KEPT: u64 = 100_000;

fn sequences(reader: &dyn Reader, after: u64, filter: &EventFilter, limit: usize) -> (Vec<u64>, u64) {
    let page = reader.events(after, filter, limit).expect("a page");
    (page.events.iter().map(|row| row.sequence).collect(), page.looked_until)
}

pub fn events_are_numbered_in_order(make: Factory) {
    let mut store = make(KEPT);
    let (first, second) = (meeting("a", &["ann"]), confirmed(meeting("a", &["ann"]), 1, range(0, 30)));
    write(&mut *store, vec![put(&first), event(EventKind::Scheduling, 1, &first)]);
    write(
        &mut *store,
        vec![
            put(&second),
            event(EventKind::Confirmed, 2, &second),
            event(EventKind::Delivered, 2, &second),
            event(EventKind::AttendeeDeclined, 3, &first),
        ],
    );
    let reader = store.reader();
    assert_eq!(reader.event_bounds().expect("bounds"), Some((1, 4)));
    let page = reader.events(0, &EventFilter::default(), 10).expect("a page");
    let found: Vec<_> = page
        .events
        .into_iter()
        .map(|row| (row.sequence, row.event.kind, row.event.time, row.event.meeting))
        .collect();
    assert_eq!(
        found,
        [
            (1, EventKind::Scheduling, at(1), first.clone()),
            (2, EventKind::Confirmed, at(2), second.clone()),
            (3, EventKind::Delivered, at(2), second),
            (4, EventKind::AttendeeDeclined, at(3), first),
        ]
    );
    let any = EventFilter::default();
    assert_eq!(page.looked_until, 4);
    assert_eq!(sequences(&*reader, 1, &any, 2), (vec![2, 3], 3));
    assert_eq!(sequences(&*reader, 3, &any, 2), (vec![4], 4));
    assert_eq!(sequences(&*reader, 4, &any, 2), (vec![], 4));
    assert_eq!(sequences(&*reader, 99, &any, 2), (vec![], 99));
    assert_eq!(sequences(&*reader, u64::MAX, &any, 2), (vec![], u64::MAX));
    assert_eq!(sequences(&*reader, 0, &any, 0), (vec![], 0));
}

pub fn events_by_meeting_and_attendee(make: Factory) {
    let mut store = make(KEPT);
    // Ids that are contained in others, or look like JSON, are told apart.
    let a = meeting("a", &["ann", "quo\"te"]);
    let b = meeting("b", &["anna", "bob"]);
    let mut late = meeting("c", &["bob"]);
    let joined =
        quorate::core::model::Attendee { id: who("ann"), role: quorate::core::model::Role::Optional };
    late.attendees.push(AttendeeOutcome::new(&joined, AttendeeStatus::Attending));
    let named = Meeting { time_zone: "ann".into(), ..meeting("d", &["bob"]) };
    let writes = [&a, &b, &late, &named, &a].map(|meeting| event(EventKind::Updated, 0, meeting));
    write(&mut *store, writes.to_vec());
    let reader = store.reader();
    let find = |meeting: Option<&str>, participant: Option<&str>, limit| {
        let filter = EventFilter { meeting: meeting.map(MeetingId::new), participant: participant.map(who) };
        sequences(&*reader, 0, &filter, limit)
    };
    assert_eq!(find(Some("a"), None, 10), (vec![1, 5], 5));
    assert_eq!(find(Some("a"), None, 1), (vec![1], 1));
    assert_eq!(find(Some("none"), None, 10), (vec![], 5));
    assert_eq!(find(None, Some("ann"), 10), (vec![1, 3, 5], 5));
    assert_eq!(find(None, Some("ann"), 2), (vec![1, 3], 3));
    assert_eq!(find(None, Some("quo\"te"), 10), (vec![1, 5], 5));
    assert_eq!(find(None, Some("anna"), 10), (vec![2], 5));
    assert_eq!(find(Some("c"), Some("ann"), 10), (vec![3], 5));
    assert_eq!(find(Some("b"), Some("ann"), 10), (vec![], 5));
}

pub fn events_beyond_one_look(make: Factory) {
    let mut store = make(KEPT);
    let looked_at = EVENTS_LOOKED_AT as u64;
    let (many, rare) = (meeting("many", &["ann"]), meeting("rare", &["bob"]));
    let mut writes: Vec<_> = (0..EVENTS_LOOKED_AT + 9).map(|_| event(EventKind::Updated, 0, &many)).collect();
    writes.push(event(EventKind::Updated, 0, &rare));
    // The group remembers the meeting written last, so that its JSON is made once.
    writes.insert(0, put(&many));
    write(&mut *store, writes);
    let reader = store.reader();
    for filter in [
        EventFilter { meeting: Some(MeetingId::new("rare")), participant: None },
        EventFilter { meeting: None, participant: Some(who("bob")) },
    ] {
        assert_eq!(sequences(&*reader, 0, &filter, 10), (vec![], looked_at));
        assert_eq!(sequences(&*reader, looked_at, &filter, 10), (vec![looked_at + 10], looked_at + 10));
    }
}

pub fn events_are_pruned(make: Factory) {
    let kept = 500;
    let mut store = make(kept);
    let meeting = meeting("a", &["ann"]);
    for round in 1..=24_u64 {
        write(&mut *store, (0..100).map(|_| event(EventKind::Updated, 0, &meeting)).collect());
        let newest = round * 100;
        let (oldest, last) = store.reader().event_bounds().expect("bounds").expect("events");
        assert_eq!(last, newest);
        assert!(newest - oldest + 1 >= kept.min(newest), "too few: {oldest} to {newest}");
        assert!(newest - oldest < kept + kept / 100, "too many: {oldest} to {newest}");
    }
    let page = store.reader().events(3, &EventFilter::default(), 1).expect("a page");
    assert!(page.events[0].sequence > 1_800);
}

fn page_through(reader: &dyn Reader, filter: &MeetingFilter) -> Vec<Meeting> {
    let mut all: Vec<Meeting> = Vec::new();
    loop {
        let after = all.last().map(MeetingKey::of);
        let page = reader.meetings(&MeetingFilter { after, ..filter.clone() }).expect("a page");
        assert!(page.len() <= filter.limit);
        let last = page.len() < filter.limit;
        all.extend(page);
        if last {
            return all;
        }
    }
}

fn ids(meetings: &[Meeting]) -> Vec<&str> {
    meetings.iter().map(|meeting| meeting.id.as_str()).collect()
}

/// Three hundred meetings: many at the same time, a third without a slot, many of those made at once.
fn three_hundred() -> Vec<Meeting> {
    let mut meetings: Vec<Meeting> = (0..300_i64)
        .map(|i| {
            let id = format!("{:03}", (i * 7_919) % 300);
            let attendees: &[&str] = [&["ann"][..], &["ann", "bob"], &["cat"]][(i % 3) as usize];
            let mut meeting = meeting(&id, attendees);
            meeting.create_time = at(-(i % 11) * 60) + TimeDelta::nanoseconds(i % 2);
            match i % 5 {
                0 => meeting.state = MeetingState::Failed,
                1 => {}
                _ => {
                    let slot = range((i * 31) % 40 * 30, (i * 31) % 40 * 30 + 10 + i % 60);
                    meeting = confirmed(meeting, 1, slot);
                    if i % 10 == 3 {
                        meeting.state = MeetingState::Cancelled;
                    }
                }
            }
            meeting
        })
        .collect();
    meetings.sort_by_key(|meeting| meeting.id.clone());
    meetings
}

/// What the list has to be, from its definition.
fn expected(meetings: &[Meeting], matches: impl Fn(&Meeting) -> bool) -> Vec<Meeting> {
    let mut found: Vec<_> = meetings.iter().filter(|meeting| matches(meeting)).cloned().collect();
    found.sort_by_key(|meeting| {
        let created = meeting.create_time.timestamp_micros();
        match meeting.slot {
            Some(slot) => (0, slot.start.timestamp_micros(), 0, meeting.id.clone()),
            None => (1, 0, created, meeting.id.clone()),
        }
    });
    found
}

pub fn meetings_page_by_page(make: Factory) {
    let mut store = make(KEPT);
    let meetings = three_hundred();
    write(&mut *store, meetings.iter().rev().map(put).collect());
    let reader = store.reader();
    let all = expected(&meetings, |_| true);
    assert_eq!(all.len(), 300);
    for limit in [1, 7, 100, 300, 1_000] {
        let filter = MeetingFilter { limit, ..MeetingFilter::default() };
        assert_eq!(ids(&page_through(&*reader, &filter)), ids(&all), "pages of {limit}");
    }
    let whole = MeetingFilter { limit: usize::MAX, ..MeetingFilter::default() };
    assert_eq!(reader.meetings(&whole).expect("a page"), all);
    assert!(reader.meetings(&MeetingFilter::default()).expect("a page").is_empty(), "a limit of 0");
}

pub fn booked_meetings_are_counted(make: Factory) {
    let mut store = make(KEPT);
    assert_eq!(store.reader().booked(at(-1_000_000)).expect("a count"), 0, "a new store");
    let meetings = three_hundred();
    write(&mut *store, meetings.iter().map(put).collect());
    // One that is longer than all others, and has begun long before.
    write(&mut *store, vec![put(&confirmed(meeting("long", &["ann"]), 1, range(-50_000, 301)))]);
    let reader = store.reader();
    for minute in [-60_000, -1, 0, 10, 29, 30, 300, 301, 599, 600, 1_000_000] {
        let booked = meetings.iter().filter(|meeting| meeting.state == MeetingState::Confirmed);
        let later = booked.filter(|meeting| meeting.slot.is_some_and(|slot| slot.end > at(minute))).count();
        let expected = later as u64 + u64::from(minute < 301);
        assert_eq!(reader.booked(at(minute)).expect("a count"), expected, "at minute {minute}");
    }
}

pub fn meetings_by_range_state_and_attendee(make: Factory) {
    let mut store = make(KEPT);
    let meetings = three_hundred();
    write(&mut *store, meetings.iter().map(put).collect());
    let reader = store.reader();
    let ranges = [None, Some(range(0, 10)), Some(range(300, 330)), Some(range(600, 600)), Some(range(-9, 0))];
    let state_sets = [
        vec![],
        vec![MeetingState::Confirmed],
        vec![MeetingState::Failed, MeetingState::Cancelled, MeetingState::Failed],
        vec![MeetingState::Displaced],
    ];
    for slot in ranges {
        for states in &state_sets {
            for name in [None, Some("ann"), Some("cat"), Some("nobody")] {
                let within = |range: TimeRange, meeting: &Meeting| {
                    meeting.slot.is_some_and(|slot| slot.overlaps(&range))
                };
                let wanted = expected(&meetings, |meeting| {
                    slot.is_none_or(|range| within(range, meeting))
                        && (states.is_empty() || states.contains(&meeting.state))
                        && name.is_none_or(|name| meeting.attendees.iter().any(|a| a.id == who(name)))
                });
                let filter = MeetingFilter {
                    range: slot,
                    participant: name.map(who),
                    states: states.clone(),
                    after: None,
                    limit: 9,
                };
                let found = page_through(&*reader, &filter);
                assert_eq!(ids(&found), ids(&wanted), "{slot:?}, {states:?}, {name:?}");
            }
        }
    }
}

pub fn meetings_move_in_the_list(make: Factory) {
    let mut store = make(KEPT);
    let reader = store.reader();
    let find = |name: Option<&str>, range: Option<TimeRange>| {
        let filter =
            MeetingFilter { participant: name.map(who), range, limit: 10, ..MeetingFilter::default() };
        let found = reader.meetings(&filter).expect("a page");
        ids(&found).join(" ")
    };
    let (a, b) = (meeting("a", &["ann", "bob"]), meeting("b", &["ann"]));
    write(&mut *store, vec![put(&a), put(&b)]);
    assert_eq!(find(Some("ann"), None), "a b");
    // Each gets a slot, and later another, longer than any before.
    let (a, b) = (confirmed(a, 1, range(600, 630)), confirmed(b, 1, range(300, 330)));
    write(&mut *store, vec![put(&a), put(&b)]);
    assert_eq!(find(Some("ann"), None), "b a");
    assert_eq!(find(None, None), "b a");
    let a = confirmed(a, 2, range(0, 2_000));
    write(&mut *store, vec![put(&a)]);
    assert_eq!(find(Some("ann"), None), "a b");
    assert_eq!(find(None, Some(range(1_999, 3_000))), "a");
    assert_eq!(find(Some("bob"), Some(range(1_999, 3_000))), "a");
    assert_eq!(find(None, Some(range(2_000, 3_000))), "");
    // Other attendees, at the same time and with another time.
    let swapped = Meeting { slot: b.slot, ..meeting("b", &["bob", "cat"]) };
    write(&mut *store, vec![put(&swapped)]);
    assert_eq!((find(Some("ann"), None), find(Some("bob"), None)), ("a".into(), "a b".into()));
    let emptied = Meeting { slot: None, ..meeting("a", &["cat"]) };
    write(&mut *store, vec![put(&emptied)]);
    assert_eq!((find(Some("ann"), None), find(Some("bob"), None)), (String::new(), "b".into()));
    assert_eq!((find(Some("cat"), None), find(None, None)), ("b a".into(), "b a".into()));
}

/// Each group writes two meetings with one version: a reader that found two versions saw half a group.
pub fn readers_see_whole_groups_from_other_threads(make: Factory) {
    let mut store = make(KEPT);
    let pair = |version| {
        ["a", "b"]
            .map(|id| Meeting { version, ..meeting(id, &["ann"]) })
            .iter()
            .map(put)
            .collect::<Vec<Write>>()
    };
    write(&mut *store, pair(1));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (reader, done) = (store.reader(), &done);
                scope.spawn(move || {
                    let filter = MeetingFilter { limit: 10, ..MeetingFilter::default() };
                    let mut last = 0;
                    loop {
                        let ended = done.load(Ordering::Acquire);
                        let found = reader.meetings(&filter).expect("a page");
                        let versions: Vec<_> = found.iter().map(|meeting| meeting.version).collect();
                        assert_eq!(versions[0], versions[1], "half a group was seen");
                        assert!(versions[0] >= last, "a reader went back in time");
                        last = versions[0];
                        if ended {
                            return last;
                        }
                    }
                })
            })
            .collect();
        for version in 2..=100 {
            write(&mut *store, pair(version));
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            assert_eq!(reader.join().expect("a reader"), 100);
        }
    });
}

pub fn readers_see_who_acknowledged(make: Factory) {
    let mut store = make(KEPT);
    let m = confirmed(meeting("m", &["ann", "bob"]), 1, range(0, 30));
    let booked = attempt("m", 1);
    let rows = ["ann", "bob"].map(|name| booking(name, booked.clone(), range(0, 30)));
    write(&mut *store, [vec![put(&m)], rows.to_vec()].concat());
    let delivered = |store: &dyn quorate::engine::store::Store| {
        let reader = store.reader();
        let one = reader.meeting(&m.id).expect("a read").expect("the meeting");
        let listed = reader.meetings(&MeetingFilter { limit: 10, ..Default::default() }).expect("a list");
        assert_eq!(listed, vec![one.clone()]);
        one.attendees.iter().map(|outcome| outcome.delivered).collect::<Vec<_>>()
    };
    assert_eq!(delivered(&*store), [false, false]);
    write(&mut *store, vec![Write::BookingDelivered(who("bob"), booked)]);
    assert_eq!(delivered(&*store), [false, true]);
}
