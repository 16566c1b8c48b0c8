//! Whatever bytes come: no reader panics, and what is refused says why.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use prost_types::{Duration, Timestamp};
use quorate::wire::agent_frames::agent_messages;
use quorate::wire::scheduler_frames::from_scheduler;
use quorate::wire::{ApiError, InvalidRequest, meetings, pb, requests};
use tonic::Status;

use crate::samples::{TEN, UUID, at, range, schedule};

fn told<T>(result: Result<T, InvalidRequest>) -> Option<T> {
    result
        .map_err(|invalid| {
            assert!(invalid.count() > 0 && !invalid.violations().is_empty());
            assert!(!invalid.to_string().is_empty());
            let status = Status::from(ApiError::from(invalid));
            assert!(status.details().len() < 6 * 1024);
        })
        .ok()
}

/// Reads the bytes as every message that comes from outside.
fn read_all(bytes: &[u8]) {
    fn decoded<M: Message + Default>(bytes: &[u8]) -> Option<M> {
        M::decode(bytes).ok()
    }
    decoded(bytes).and_then(|request| told(requests::find(request)));
    decoded(bytes).and_then(|request| told(requests::batch(request)));
    decoded(bytes).and_then(|request| told(requests::get_meeting(request)));
    decoded(bytes).and_then(|request| told(requests::list_meetings(request)));
    decoded(bytes).and_then(|request| told(requests::reschedule(request)));
    decoded(bytes).and_then(|request| told(requests::cancel(request)));
    decoded(bytes).and_then(|request| told(requests::update(request)));
    decoded(bytes).and_then(|request| told(requests::watch_meetings(request)));
    decoded(bytes).and_then(|request| told(requests::list_participants(request)));
    decoded(bytes).and_then(|request| told(requests::get_participant(request)));
    if let Some(read) = decoded(bytes).and_then(|request| told(requests::schedule(request))) {
        let written = meetings::understood(&read, &read.spec, "UTC");
        assert!(written.spec.is_some());
    }
    if let Some(frame) = decoded::<pb::JoinRequest>(bytes) {
        for (_, read) in agent_messages(&frame) {
            if let Err(error) = read {
                assert!(!error.message.is_empty() && error.encoded_len() < 4_096);
            }
        }
    }
    if let Some(frame) = decoded::<pb::JoinResponse>(bytes) {
        frame.messages.iter().for_each(|message| drop(told(from_scheduler(message))));
    }
}

/// Good messages of many kinds, to be damaged.
fn seeds() -> Vec<Vec<u8>> {
    let mut request = schedule();
    request.request_id = UUID.to_owned();
    request.slot = Some(range(TEN, TEN + 1_800));
    let window = request.spec.as_mut().unwrap().window.get_or_insert_default();
    (window.earliest, window.latest) = (at(TEN), at(TEN + 86_400));
    window.time_zone = "Europe/Berlin".to_owned();
    window.working_hours = Some(pb::WorkingHours { days: vec![1, 2], ..pb::WorkingHours::default() });
    window.exclude = vec![range(TEN, TEN + 60)];
    let update = pb::UpdateMeetingRequest {
        meeting_id: UUID.to_owned(),
        spec: request.spec.clone(),
        update_mask: Some(prost_types::FieldMask { paths: vec!["title".to_owned(), "attendees".to_owned()] }),
        ..pb::UpdateMeetingRequest::default()
    };
    let register = pb::Register {
        participant_id: "alice".to_owned(),
        time_zone: "UTC".to_owned(),
        held: vec![pb::Promise {
            meeting_id: UUID.to_owned(),
            attempt: 1,
            blocked: Some(range(TEN, TEN + 60)),
            lease_over: true,
            revision: 1,
        }],
        ..pb::Register::default()
    };
    let answer = pb::AvailabilityAnswer {
        query_id: "q".to_owned(),
        participant_id: "alice".to_owned(),
        free: vec![pb::FreeTime { start_time: at(1), end_time: at(2), preference: 1, cost: 1 }],
        declined: None,
    };
    use pb::agent_message::Message as Agent;
    let messages = [Agent::Register(register), Agent::AvailabilityAnswer(answer)];
    let frame = pb::JoinRequest {
        messages: messages.map(|message| pb::AgentMessage { message: Some(message) }).to_vec(),
    };
    let hold = pb::Hold {
        participant_ids: vec!["a".to_owned(), "b".to_owned()],
        meeting_id: UUID.to_owned(),
        attempt: 1,
        slot: Some(range(TEN, TEN + 60)),
        blocked: Some(range(TEN, TEN + 60)),
        ..pb::Hold::default()
    };
    use pb::scheduler_message::Message as Scheduler;
    let response =
        pb::JoinResponse { messages: vec![pb::SchedulerMessage { message: Some(Scheduler::Hold(hold)) }] };
    vec![
        request.encode_to_vec(),
        pb::BatchScheduleMeetingsRequest { requests: vec![request; 2] }.encode_to_vec(),
        update.encode_to_vec(),
        frame.encode_to_vec(),
        response.encode_to_vec(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn damaged_messages(seed in 0..5_usize, damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = seeds().swap_remove(seed);
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        read_all(&bytes);
    }

    #[test]
    fn well_formed_nonsense(
        stamps in vec((any::<i64>(), any::<i32>()), 6),
        near in vec((-62_135_596_802_i64..=253_402_300_801, -1..=1_000_000_000_i32), 6),
        numbers in vec(any::<i32>(), 8),
        texts in vec(any::<String>(), 4),
    ) {
        for stamps in [stamps, near] {
            let stamp = |n: usize| Some(Timestamp { seconds: stamps[n].0, nanos: stamps[n].1 });
            let length = |n: usize| Some(Duration { seconds: stamps[n].0, nanos: stamps[n].1 });
            let time = |n: usize| Some(pb::TimeOfDay { hours: numbers[n], minutes: numbers[n + 1] });
            let range = |n: usize| pb::TimeRange { start_time: stamp(n), end_time: stamp(n + 1) };
            let request = pb::ScheduleMeetingRequest {
                request_id: texts[0].clone(),
                spec: Some(pb::MeetingSpec {
                    title: texts[1].clone(),
                    organizer: texts[2].clone(),
                    attendees: vec![pb::Attendee { participant_id: texts[3].clone(), role: numbers[0] }; 2],
                    duration: length(0),
                    minimum_participants: numbers[1],
                    priority: numbers[2],
                    window: Some(pb::Window {
                        earliest: stamp(0),
                        latest: stamp(1),
                        time_zone: texts[0].clone(),
                        step: length(2),
                        working_hours: Some(pb::WorkingHours {
                            days: numbers.clone(),
                            start: time(3),
                            end: time(5),
                            time_zone: texts[1].clone(),
                            unrestricted: numbers[0] > 0,
                        }),
                        respect_attendee_hours: true,
                        exclude: vec![range(2), range(3)],
                    }),
                    objective: numbers[6],
                    buffer_before: length(3),
                    buffer_after: length(4),
                    displace: numbers[1] > 0,
                    displaceable: true,
                }),
                slot: Some(range(4)),
                response_timeout: length(5),
                connect_timeout: length(0),
                max_attempts: numbers[7],
                max_candidates_per_round: numbers[0],
                validate_only: true,
            };
            read_all(&request.encode_to_vec());
        }
    }
}
