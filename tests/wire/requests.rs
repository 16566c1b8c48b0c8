//! The requests of `SchedulerService`, apart from their spec.

use std::time::Duration;

use prost_types::{FieldMask, Timestamp};
use quorate::core::ids::{MeetingId, ParticipantId};
use quorate::core::model::MeetingState;
use quorate::wire::pages::{self, MeetingKey};
use quorate::wire::{pb, requests};

use crate::samples::{TEN, UUID, attendee, descriptions, fields, lasting, range, schedule, spec};

fn bad(change: impl FnOnce(&mut pb::ScheduleMeetingRequest)) -> Vec<String> {
    let mut request = schedule();
    change(&mut request);
    fields(requests::schedule(request))
}

const NOT_UUIDS: [&str; 6] = [
    "7",
    "0b8f5c1e3f0d4c779a526d1f2e9b7a10",
    "{0b8f5c1e-3f0d-4c77-9a52-6d1f2e9b7a10}",
    "urn:uuid:0b8f5c1e-3f0d-4c77-9a52-6d1f2e9b7a10",
    "0b8f5c1e-3f0d-4c77-9a52-6d1f2e9b7a1g",
    "0b8f5c1e-3f0d-4c77-9a52-6d1f2e9b7a1\u{e4}",
];

#[test]
fn schedule_fields() {
    assert_eq!(bad(|request| request.spec = None), ["spec"]);
    for id in NOT_UUIDS.into_iter().chain(["00000000-0000-0000-0000-000000000000"]) {
        assert_eq!(bad(|request| request.request_id = id.to_owned()), ["request_id"], "{id}");
    }
    for value in [lasting(-1), lasting(0), lasting(61)] {
        assert_eq!(bad(|request| request.response_timeout = value), ["response_timeout"], "{value:?}");
    }
    for value in [lasting(-1), lasting(301)] {
        assert_eq!(bad(|request| request.connect_timeout = value), ["connect_timeout"], "{value:?}");
    }
    for value in [-1, 1_001] {
        assert_eq!(bad(|request| request.max_attempts = value), ["max_attempts"]);
    }
    assert_eq!(bad(|request| request.max_candidates_per_round = -1), ["max_candidates_per_round"]);
    let all = bad(|request| {
        *request = pb::ScheduleMeetingRequest {
            request_id: "x".to_owned(),
            slot: Some(range(2, 1)),
            response_timeout: lasting(-1),
            connect_timeout: lasting(-1),
            max_attempts: -1,
            max_candidates_per_round: -1,
            ..pb::ScheduleMeetingRequest::default()
        };
    });
    let expected = [
        "request_id",
        "slot.end_time",
        "spec",
        "response_timeout",
        "connect_timeout",
        "max_attempts",
        "max_candidates_per_round",
    ];
    assert_eq!(all, expected);
}

#[test]
fn named_slots() {
    let slot = |start, end| bad(|request| request.slot = Some(range(start, end)));
    assert_eq!(slot(TEN, TEN + 1_800), [""; 0]);
    assert_eq!(slot(TEN, TEN), ["slot.end_time"]);
    assert_eq!(slot(TEN, TEN + 59), ["slot"]);
    assert_eq!(slot(TEN, TEN + 7 * 86_400 + 1), ["slot"]);
    assert_eq!(slot(TEN, TEN + 3_600), ["spec.duration"]);
    let fraction = Some(Timestamp { seconds: TEN, nanos: 5 });
    let fractions =
        bad(|request| request.slot = Some(pb::TimeRange { start_time: fraction, ..range(0, TEN + 1_800) }));
    assert_eq!(fractions, ["slot.start_time"]);
    assert_eq!(
        bad(|request| request.slot = Some(pb::TimeRange::default())),
        ["slot.start_time", "slot.end_time"]
    );

    let mut request = schedule();
    request.slot = Some(range(TEN, TEN + 2_700));
    request.spec.as_mut().unwrap().duration = None;
    let read = requests::schedule(request).unwrap();
    assert_eq!(read.spec.duration, Duration::from_secs(2_700));
    // A slot that is refused does not draw a complaint about the missing duration after it.
    let both = bad(|request| {
        request.slot = Some(range(TEN, TEN + 1));
        request.spec.as_mut().unwrap().duration = None;
    });
    assert_eq!(both, ["slot"]);
}

#[test]
fn the_body_hash_is_the_body_without_its_name() {
    let hash = |change: fn(&mut pb::ScheduleMeetingRequest)| {
        let mut request = schedule();
        change(&mut request);
        requests::schedule(request).unwrap().body_hash
    };
    let plain = hash(|_| {});
    assert_eq!(plain, hash(|request| request.request_id = UUID.to_owned()));
    assert_ne!(plain, hash(|request| request.max_attempts = 3));
    assert_ne!(plain, hash(|request| request.validate_only = true));
    assert_ne!(plain, hash(|request| request.spec.as_mut().unwrap().title.push('!')));

    let mut request = schedule();
    request.request_id = UUID.to_uppercase();
    assert_eq!(requests::schedule(request).unwrap().request_id.unwrap().as_str(), UUID);
}

#[test]
fn find_fields() {
    let find = |max_candidates| pb::FindMeetingTimesRequest {
        spec: Some(spec()),
        max_candidates,
        ..pb::FindMeetingTimesRequest::default()
    };
    assert_eq!(requests::find(find(0)).unwrap().limit, 10);
    assert_eq!(requests::find(find(1_000)).unwrap().limit, 1_000);
    assert_eq!(fields(requests::find(find(1_001))), ["max_candidates"]);
    assert_eq!(fields(requests::find(find(-1))), ["max_candidates"]);
    let all = pb::FindMeetingTimesRequest {
        spec: None,
        response_timeout: lasting(0),
        connect_timeout: lasting(301),
        max_candidates: -1,
    };
    let expected = ["spec", "response_timeout", "connect_timeout", "max_candidates"];
    assert_eq!(fields(requests::find(all)), expected);
}

#[test]
fn batches() {
    let batch = |n| pb::BatchScheduleMeetingsRequest { requests: vec![schedule(); n] };
    assert_eq!(fields(requests::batch(batch(0))), ["requests"]);
    assert_eq!(fields(requests::batch(batch(1_001))), ["requests"]);
    assert_eq!(requests::batch(batch(1_000)).unwrap().len(), 1_000);
    let mut request = batch(3);
    request.requests[1].spec.as_mut().unwrap().duration = None;
    let outcomes = requests::batch(request).unwrap();
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert_eq!(fields(outcomes[1].clone()), ["spec.duration"]);
}

#[test]
fn names() {
    for id in NOT_UUIDS.into_iter().chain([""]) {
        let meeting_id = id.to_owned();
        let get = pb::GetMeetingRequest { meeting_id: meeting_id.clone() };
        assert_eq!(fields(requests::get_meeting(get)), ["meeting_id"]);
        let cancel = pb::CancelMeetingRequest { meeting_id: meeting_id.clone(), etag: String::new() };
        assert_eq!(fields(requests::cancel(cancel)), ["meeting_id"]);
        let watch = pb::WatchMeetingsRequest { meeting_id, ..pb::WatchMeetingsRequest::default() };
        assert_eq!(fields(requests::watch_meetings(watch)).len(), usize::from(!id.is_empty()));
    }
    for id in ["", "a b"] {
        let get = pb::GetParticipantRequest { participant_id: id.to_owned() };
        assert_eq!(fields(requests::get_participant(get)), ["participant_id"]);
    }
    let watch = pb::WatchMeetingsRequest {
        resume_after: Some(u64::MAX),
        meeting_id: "x".to_owned(),
        participant_id: "a b".to_owned(),
    };
    assert_eq!(fields(requests::watch_meetings(watch)), ["resume_after", "meeting_id", "participant_id"]);
    let watch = pb::WatchMeetingsRequest { resume_after: Some(0), ..pb::WatchMeetingsRequest::default() };
    assert_eq!(requests::watch_meetings(watch).unwrap().resume_after, Some(0));
}

#[test]
fn etags() {
    assert_eq!(pages::version(""), None);
    for version in [0, 1, 7, 1 << 40] {
        assert_eq!(pages::version(&pages::etag(version)), Some(version));
    }
    let long = "v".repeat(100_000);
    for other in ["7", "v", "v-1", "v+7", "v007", "*", "v99999999999999999999999", "\"v7\"", &long] {
        assert_eq!(pages::version(other), Some(pages::NO_VERSION), "{}", &other[..other.len().min(30)]);
    }
}

#[test]
fn pages_of_meetings() {
    let request = pb::ListMeetingsRequest {
        range: Some(range(TEN, TEN + 60)),
        participant_id: "alice".to_owned(),
        states: vec![2, 1, 2],
        ..pb::ListMeetingsRequest::default()
    };
    let read = requests::list_meetings(request.clone()).unwrap();
    assert_eq!(read.limit, 50);
    assert_eq!(read.list.states, [MeetingState::Scheduling, MeetingState::Confirmed]);
    for (start, created) in [(Some(i64::MIN), 0), (None, i64::MAX), (Some(TEN * 1_000_000), 1)] {
        let key = MeetingKey { start, created, id: MeetingId::new(UUID) };
        let token = read.list.next(&key);
        let next = |change: fn(&mut pb::ListMeetingsRequest)| {
            let mut request = pb::ListMeetingsRequest { page_token: token.clone(), ..request.clone() };
            change(&mut request);
            requests::list_meetings(request)
        };
        assert_eq!(next(|_| {}).unwrap().after, Some(key));
        assert_eq!(next(|request| request.page_size = 2_000).unwrap().limit, 1_000);
        // The same states in another order are the same list.
        assert!(next(|request| request.states = vec![1, 2]).is_ok());
        let foreign = [
            next(|request| request.range = None),
            next(|request| request.participant_id = "bob".to_owned()),
            next(|request| request.participant_id = String::new()),
            next(|request| request.states = vec![1]),
            next(|request| request.page_token.push('0')),
            next(|request| request.page_token.truncate(40)),
            next(|request| request.page_token = request.page_token.to_uppercase() + "zz"),
            next(|request| request.page_token = "ä".to_owned()),
            next(|request| request.page_token = "0".repeat(200_000)),
        ];
        for result in foreign {
            assert_eq!(fields(result), ["page_token"]);
        }
    }
    let all = pb::ListMeetingsRequest {
        range: Some(range(2, 1)),
        participant_id: "a b".to_owned(),
        states: vec![0, 1, 9],
        page_size: -1,
        page_token: "x".to_owned(),
    };
    let expected = ["range.end_time", "participant_id", "states[0]", "states[2]", "page_size"];
    assert_eq!(fields(requests::list_meetings(all)), expected);
}

#[test]
fn pages_of_participants() {
    let list = |connected_only, page_token: &str| {
        requests::list_participants(pb::ListParticipantsRequest {
            page_size: 0,
            page_token: page_token.to_owned(),
            connected_only,
        })
    };
    let token = pages::participants_next(true, &ParticipantId::new("alice"));
    assert_eq!(list(true, &token).unwrap().after, Some(ParticipantId::new("alice")));
    assert_eq!(list(true, "").unwrap().after, None);
    assert_eq!(fields(list(false, &token)), ["page_token"]);
    assert_eq!(fields(list(true, &token[2..])), ["page_token"]);
    let bad =
        pb::ListParticipantsRequest { page_size: -1, page_token: "00".to_owned(), connected_only: false };
    assert_eq!(fields(requests::list_participants(bad)), ["page_size", "page_token"]);
}

#[test]
fn reschedules() {
    let good = pb::RescheduleMeetingRequest {
        meeting_id: UUID.to_uppercase(),
        etag: "v7".to_owned(),
        ..pb::RescheduleMeetingRequest::default()
    };
    let read = requests::reschedule(good.clone()).unwrap();
    assert_eq!((read.meeting.as_str(), read.version), (UUID, Some(7)));
    assert_eq!((read.slot, read.window, read.duration), (None, None, None));
    let bad = |change: fn(&mut pb::RescheduleMeetingRequest)| {
        let mut request = good.clone();
        change(&mut request);
        fields(requests::reschedule(request))
    };
    assert_eq!(
        bad(|request| {
            request.slot = Some(range(TEN, TEN + 60));
            request.window = Some(pb::Window::default());
        }),
        ["window"]
    );
    assert_eq!(
        bad(|request| {
            request.slot = Some(range(TEN, TEN + 60));
            request.duration = lasting(120);
        }),
        ["duration"]
    );
    let all = bad(|request| {
        request.meeting_id = String::new();
        request.slot = Some(range(TEN, TEN));
        request.window = Some(pb::Window { time_zone: "x".to_owned(), ..pb::Window::default() });
        request.duration = lasting(1);
        request.response_timeout = lasting(99);
        request.connect_timeout = lasting(999);
        request.max_attempts = 9_999;
    });
    let expected = [
        "meeting_id",
        "slot.end_time",
        "window",
        "window.time_zone",
        "duration",
        "response_timeout",
        "connect_timeout",
        "max_attempts",
    ];
    assert_eq!(all, expected);
}

#[test]
fn updates() {
    let update = |paths: &[&str], change: fn(&mut pb::MeetingSpec)| {
        let mut spec = spec();
        change(&mut spec);
        requests::update(pb::UpdateMeetingRequest {
            meeting_id: UUID.to_owned(),
            spec: Some(spec),
            update_mask: Some(FieldMask { paths: paths.iter().map(|path| path.to_string()).collect() }),
            ..pb::UpdateMeetingRequest::default()
        })
    };
    let read = update(&["title", "title"], |spec| spec.duration = None).unwrap();
    assert_eq!(read.change.title.as_deref(), Some("Planning"));
    assert_eq!((read.change.attendees, read.change.displaceable), (None, None));
    let all = ["title", "attendees", "minimum_participants", "displaceable"];
    let read = update(&all, |spec| spec.minimum_participants = 1).unwrap();
    assert_eq!(read.change.attendees.unwrap().len(), 2);
    assert_eq!((read.change.minimum_participants, read.change.displaceable), (Some(1), Some(false)));

    assert_eq!(fields(update(&[], |_| {})), ["update_mask"]);
    assert_eq!(
        fields(update(&["*", "title", "window", "Title"], |_| {})),
        ["update_mask.paths[0]", "update_mask.paths[2]", "update_mask.paths[3]"]
    );
    assert_eq!(fields(update(&["attendees"], |spec| spec.attendees.clear())), ["spec.attendees"]);
    let bad = fields(update(&all, |spec| {
        spec.title = "\n".to_owned();
        spec.attendees.push(attendee("alice"));
        spec.minimum_participants = -1;
    }));
    assert_eq!(bad, ["spec.title", "spec.attendees[2].participant_id", "spec.minimum_participants"]);
    assert_eq!(
        fields(update(&["attendees", "minimum_participants"], |spec| spec.minimum_participants = 3)),
        ["spec.minimum_participants"]
    );
    let nothing = pb::UpdateMeetingRequest { response_timeout: lasting(0), ..Default::default() };
    assert_eq!(fields(requests::update(nothing)), ["meeting_id", "spec", "update_mask", "response_timeout"]);
    let long = "x".repeat(1 << 20);
    let said = descriptions(update(&[long.as_str()], |_| {}));
    assert!(said[0].len() < 300, "{}", said[0]);
}
