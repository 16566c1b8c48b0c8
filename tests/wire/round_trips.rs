//! What the core says arrives as it was said, over the bytes of the wire.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use quorate::core::availability::Disclosure;
use quorate::core::ids::{
    Attempt, AttemptNumber, Epoch, Lineage, MeetingId, ParticipantId, QueryId, SeriesId,
};
use quorate::core::message::{
    AckKind, AgentMessage, Booking, Hold, Notice, NoticeKind, Promise, Query, Refusal, Register, Registered,
    ReleaseCause, SchedulerMessage, Vote,
};
use quorate::core::model::{
    Attendee, FreeTime, MeetingSpec, Objective, Preference, Role, Window, WorkingHours,
};
use quorate::core::series::Recurrence;
use quorate::core::time::{Instant, TimeRange};
use quorate::core::zone_data::ZoneData;
use quorate::wire::agent_frames::{agent_messages, pb_agent_message};
use quorate::wire::frames::{agent_frames, frames_within};
use quorate::wire::scheduler_frames::{FromScheduler, from_scheduler, pack};
use quorate::wire::{meetings, pb, requests};

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Zäß🙂 .,]{0,40}"
}

fn participant() -> impl Strategy<Value = ParticipantId> {
    "[a-zA-Z0-9._@+:/-]{1,20}".prop_map(ParticipantId::new)
}

fn meeting() -> impl Strategy<Value = MeetingId> {
    any::<u128>().prop_map(|n| MeetingId::new(uuid::Uuid::from_u128(n).to_string()))
}

fn attempt() -> impl Strategy<Value = Attempt> {
    (meeting(), 1..=i64::MAX as u64).prop_map(|(meeting, n)| Attempt::new(meeting, AttemptNumber(n)))
}

fn instant() -> impl Strategy<Value = Instant> {
    (-62_135_596_800_i64..=253_402_300_799, 0..1_000_000_000_u32)
        .prop_map(|(seconds, nanos)| chrono::DateTime::from_timestamp(seconds, nanos).unwrap())
}

fn range() -> impl Strategy<Value = TimeRange> {
    (instant(), instant())
        .prop_filter("empty", |(a, b)| a != b)
        .prop_map(|(a, b)| TimeRange::new(a.min(b), a.max(b)))
}

fn length() -> impl Strategy<Value = Duration> {
    (0..10_000_000_u64, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn some_length() -> impl Strategy<Value = Duration> {
    length().prop_map(|length| length + Duration::from_nanos(1))
}

fn free() -> impl Strategy<Value = FreeTime> {
    let preferences = [Preference::Preferred, Preference::Available, Preference::IfNeeded];
    let preference = prop::sample::select(preferences.to_vec());
    let parts = (range(), preference, 0..=1_000_000);
    parts.prop_map(|(range, preference, cost)| FreeTime { range, preference, cost })
}

/// A number that fits the store.
fn sequence() -> impl Strategy<Value = u64> {
    0..=i64::MAX as u64
}

fn register() -> impl Strategy<Value = Register> {
    let promise = || {
        (attempt(), range(), any::<bool>(), sequence()).prop_map(
            |(attempt, blocked, lease_over, revision)| Promise { attempt, blocked, lease_over, revision },
        )
    };
    let zone = option::of(prop::sample::select(vec!["Europe/Berlin".to_owned(), "UTC".to_owned()]));
    let disclosure = prop::sample::select(vec![Disclosure::AskedSlotsOnly, Disclosure::FreeBusy]);
    let lists = (vec(promise(), 0..5), vec(promise(), 0..5), vec((attempt(), text()), 0..5));
    let origin =
        (text(), sequence()).prop_map(|(process, number)| quorate::core::message::Origin { process, number });
    let data = (text(), range(), "[0-9a-f]{64}").prop_map(|(version, range, fingerprint)| {
        let length = range.length().min(quorate::core::limits::ZONE_DATA_RANGE_MAX);
        ZoneData { version, range: TimeRange::lasting(range.start, length), fingerprint }
    });
    // A zone that only the agent knows comes with its data; data alone say nothing.
    let foreign = Just(Some("Europe/Atlantis".to_owned()));
    let zone = prop_oneof![
        zone.prop_map(|zone| (zone, None)),
        (foreign, data).prop_map(|(zone, data)| (zone, Some(data))),
    ];
    let rest = (sequence(), any::<u32>(), text(), origin, text());
    (participant(), text(), zone, disclosure, text(), lists, rest).prop_map(
        |(participant, display_name, (time_zone, zone_data), disclosure, journal_id, lists, rest)| Register {
            participant,
            display_name,
            time_zone,
            zone_data,
            calendar_problem: rest.4,
            disclosure,
            journal_id,
            journal_sequence: rest.0,
            held: lists.0,
            booked: lists.1,
            withdrawn: lists.2,
            scheduler_generation: rest.1,
            scheduler_incarnation: rest.2,
            origin: rest.3,
        },
    )
}

fn vote() -> impl Strategy<Value = Vote> {
    prop_oneof![
        Just(Vote::Granted),
        Just(Vote::Refused(Refusal::Busy)),
        Just(Vote::Refused(Refusal::Booked)),
        Just(Vote::Refused(Refusal::Stale)),
        option::of(attempt()).prop_map(|by| Vote::Refused(Refusal::Held(by))),
    ]
}

fn agent_message() -> impl Strategy<Value = AgentMessage> {
    let kind = prop::sample::select(vec![AckKind::Confirm, AckKind::Release]);
    let answer = prop_oneof![vec(free(), 0..10).prop_map(Ok), text().prop_map(Err)];
    let leaves = (participant(), meeting(), option::of(1..=i64::MAX as u64), text(), sequence());
    prop_oneof![
        register().prop_map(|register| AgentMessage::Register(Box::new(register))),
        participant().prop_map(|participant| AgentMessage::Unregister { participant }),
        (participant(), "[a-z0-9]{1,20}", answer).prop_map(|(participant, query, answer)| {
            AgentMessage::Availability { participant, query: QueryId::new(query), answer }
        }),
        (participant(), attempt(), vote(), sequence()).prop_map(|(participant, attempt, vote, sequence)| {
            AgentMessage::Vote { participant, attempt, vote, sequence }
        }),
        (participant(), attempt(), kind, sequence(), sequence()).prop_map(
            |(participant, attempt, kind, revision, sequence)| AgentMessage::Ack {
                participant,
                attempt,
                kind,
                revision,
                sequence
            }
        ),
        (participant(), attempt())
            .prop_map(|(participant, attempt)| AgentMessage::Resolve { participant, attempt }),
        participant().prop_map(|participant| AgentMessage::CalendarChanged { participant }),
        leaves.prop_map(|(participant, meeting, n, reason, sequence)| {
            let attempt = n.map(AttemptNumber);
            AgentMessage::Withdraw { participant, meeting, attempt, reason, sequence }
        }),
    ]
}

/// A slot, and the slot with its buffers.
fn slots() -> impl Strategy<Value = (TimeRange, TimeRange)> {
    (range(), 0..86_400_u64).prop_map(|(slot, buffer)| {
        let first = chrono::DateTime::from_timestamp(-62_135_596_800, 0).unwrap();
        let buffer = Duration::from_secs(buffer);
        let blocked = slot.padded(buffer, Duration::ZERO);
        (slot, TimeRange::new(blocked.start.max(first), blocked.end))
    })
}

fn recurrence() -> impl Strategy<Value = Recurrence> {
    let local = || {
        let date = (1_i16..=9_999, 1_i8..=12, 1_i8..=28);
        (date, 0_i8..24, 0_i8..60).prop_map(|((y, m, d), hour, minute)| date_time(y, m, d, hour, minute))
    };
    let rule = proptest::sample::select(vec!["FREQ=WEEKLY;BYDAY=TU", "FREQ=DAILY;COUNT=2", ""]);
    let zone = proptest::sample::select(vec!["Europe/Berlin", "UTC"]);
    (any::<u128>(), rule, local(), zone, 60..604_800_u64, local(), instant()).prop_map(
        |(id, rule, start, zone, seconds, local, instant)| Recurrence {
            series: SeriesId::new(uuid::Uuid::from_u128(id).to_string()),
            rule: rule.to_owned(),
            start,
            time_zone: zone.to_owned(),
            duration: Duration::from_secs(seconds),
            local,
            instant,
        },
    )
}

fn date_time(year: i16, month: i8, day: i8, hour: i8, minute: i8) -> jiff::civil::DateTime {
    jiff::civil::date(year, month, day).at(hour, minute, 0, 0)
}

fn booking() -> impl Strategy<Value = Booking> {
    let numbers = (0..i32::MAX as u32, sequence(), option::of(recurrence()));
    (attempt(), slots(), text(), text(), vec(participant(), 0..5), numbers).prop_map(
        |(attempt, (slot, blocked), title, organizer, attendees, (sequence, revision, series))| Booking {
            attempt,
            slot,
            blocked,
            title,
            organizer,
            attendees,
            sequence,
            revision,
            series: series.map(Arc::new),
        },
    )
}

fn query() -> impl Strategy<Value = Query> {
    let lengths = (some_length(), length(), length(), some_length());
    ("[a-z0-9]{1,20}", vec(range(), 0..5), lengths, instant(), vec(attempt(), 0..3), any::<bool>()).prop_map(
        |(id, windows, lengths, deadline, disregard, respect_working_hours)| Query {
            id: QueryId::new(id),
            windows,
            duration: lengths.0,
            buffer_before: lengths.1,
            buffer_after: lengths.2,
            step: lengths.3,
            deadline,
            disregard,
            respect_working_hours,
        },
    )
}

fn hold() -> impl Strategy<Value = Hold> {
    (attempt(), slots(), length(), vec(attempt(), 0..3), any::<i32>(), text(), text()).prop_map(
        |(attempt, (slot, blocked), lease, displaces, priority, title, organizer)| Hold {
            attempt,
            slot,
            blocked,
            lease,
            displaces,
            priority,
            title,
            organizer,
        },
    )
}

fn scheduler_message() -> impl Strategy<Value = SchedulerMessage> {
    let causes = [
        ReleaseCause::Aborted,
        ReleaseCause::NotNeeded,
        ReleaseCause::Cancelled,
        ReleaseCause::Moved,
        ReleaseCause::Displaced,
        ReleaseCause::Withdrawn,
    ];
    let kinds =
        [NoticeKind::ConfirmedWithoutYou, NoticeKind::Failed, NoticeKind::Cancelled, NoticeKind::BeingMoved];
    let notice = (meeting(), prop::sample::select(kinds.to_vec()), text(), option::of(range()), text());
    let release = (attempt(), prop::sample::select(causes.to_vec()));
    prop_oneof![
        query().prop_map(|query| SchedulerMessage::Query(Arc::new(query))),
        hold().prop_map(|hold| SchedulerMessage::Hold(Arc::new(hold))),
        (booking(), vec(attempt(), 0..3)).prop_map(|(booking, displaces)| {
            SchedulerMessage::Confirm { booking: Arc::new(booking), displaces }
        }),
        release.prop_map(|(attempt, cause)| SchedulerMessage::Release { attempt, cause }),
        notice.prop_map(|(meeting, kind, message, slot, title)| {
            SchedulerMessage::Notice(Arc::new(Notice { meeting, kind, message, slot, title }))
        }),
        any::<i64>().prop_map(|n| SchedulerMessage::Superseded { epoch: Epoch(n) }),
    ]
}

fn registered() -> impl Strategy<Value = Registered> {
    let numbers = (any::<i64>(), any::<i64>(), any::<u32>());
    (participant(), numbers, vec(booking(), 0..5), text()).prop_map(
        |(participant, (epoch, lineage, generation), bookings, incarnation)| Registered {
            participant,
            epoch: Epoch(epoch),
            lineage: Lineage(lineage),
            bookings,
            generation,
            incarnation,
        },
    )
}

fn spec() -> impl Strategy<Value = MeetingSpec> {
    let hours = prop_oneof![
        Just(WorkingHours::Unrestricted),
        (prop::array::uniform7(any::<bool>()), 0..1_440_u16, 1..=1_440_u16)
            .prop_filter("no hours", |(days, start, end)| start < end && days.contains(&true))
            .prop_map(|(days, start_minute, end_minute)| WorkingHours::Weekly {
                days,
                start_minute,
                end_minute,
                time_zone: Some("Asia/Tokyo".to_owned()),
            }),
    ];
    let bounds = option::of((instant(), 1..366 * 86_400_i64)).prop_map(|bounds| {
        bounds.map(|(start, length)| {
            let seconds = (start.timestamp() + length).min(253_402_300_799);
            (start, chrono::DateTime::from_timestamp(seconds, 999_999_999).unwrap())
        })
    });
    let window = (bounds, 1..=1_440_u64, hours, any::<bool>(), vec(range(), 0..5)).prop_map(
        |(bounds, step, working_hours, respect_attendee_hours, exclude)| Window {
            earliest: bounds.map(|bounds| bounds.0),
            latest: bounds.map(|bounds| bounds.1).filter(|latest| bounds.unwrap().0 < *latest),
            time_zone: None,
            step: Duration::from_secs(step * 60),
            working_hours,
            respect_attendee_hours,
            exclude,
        },
    );
    let role = prop::sample::select(vec![Role::Required, Role::Invited, Role::Optional]);
    let attendees = prop::collection::btree_map("[a-z]{1,8}", role, 0..8).prop_map(|attendees| {
        let attendee = |(id, role)| Attendee { id: ParticipantId::new(id), role };
        attendees.into_iter().map(attendee).collect::<Vec<_>>()
    });
    let objectives = [Objective::Earliest, Objective::MostAttendees, Objective::BestScore];
    let objective = prop::sample::select(objectives.to_vec());
    let numbers = (60..=604_800_u64, 1..=100, 0..=86_400_u64, 0..=86_400_u64);
    (text(), text(), attendees, numbers, window, objective, any::<bool>()).prop_map(
        |(title, organizer, attendees, numbers, window, objective, displaceable)| MeetingSpec {
            title,
            organizer,
            minimum_participants: attendees.iter().filter(|a| a.role != Role::Optional).count() as u32,
            attendees,
            duration: Duration::from_secs(numbers.0),
            priority: numbers.1,
            window,
            objective,
            buffer_before: Duration::from_secs(numbers.2),
            buffer_after: Duration::from_secs(numbers.3),
            displace: false,
            displaceable,
        },
    )
}

fn over_the_wire<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

proptest! {
    #[test]
    fn agents_are_understood(said in vec(agent_message(), 0..20)) {
        let frames = agent_frames(said.iter().map(pb_agent_message).collect());
        let heard: Vec<_> = frames.iter().flat_map(|frame| agent_messages(&over_the_wire(frame))).collect();
        let heard: Vec<_> = heard.into_iter().map(|(_, message)| message.unwrap()).collect();
        prop_assert_eq!(heard, said);
    }

    #[test]
    fn the_scheduler_is_understood(
        messages in vec((vec("[ab]", 1..4), scheduler_message()), 0..20),
        bytes in 200..5_000_usize,
    ) {
        // Few names and runs of the same message, so that there is something to join and something to keep apart.
        let said: Vec<_> = messages
            .into_iter()
            .flat_map(|(to, message)| {
                to.into_iter().map(move |to| (ParticipantId::new(to), message.clone()))
            })
            .collect();
        let frames = frames_within(pack(said.clone()), bytes);
        let mut heard = Vec::new();
        for message in frames.iter().flat_map(|frame| over_the_wire(frame).messages) {
            match from_scheduler(&message).unwrap() {
                FromScheduler::Messages(messages) => heard.extend(messages),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(heard, said);
        for frame in &frames {
            prop_assert!(frame.encoded_len() <= bytes || frame.messages.len() == 1);
        }
    }

    #[test]
    fn registrations_are_answered(registered in registered()) {
        let to = registered.participant.clone();
        let said = SchedulerMessage::Registered(Box::new(registered));
        let packed = pack(vec![(to.clone(), said.clone())]);
        let heard = from_scheduler(&over_the_wire(&packed[0])).unwrap();
        prop_assert_eq!(heard, FromScheduler::Messages(vec![(to, said)]));
    }

    #[test]
    fn what_is_echoed_can_be_asked_again(spec in spec()) {
        let request = pb::ScheduleMeetingRequest {
            spec: Some(meetings::spec(&spec)),
            ..pb::ScheduleMeetingRequest::default()
        };
        let read = requests::schedule(over_the_wire(&request)).unwrap();
        prop_assert_eq!(&read.spec, &spec);
        let echo = meetings::understood(&read, &read.spec, "UTC");
        prop_assert_eq!(echo.spec, request.spec);
        prop_assert_eq!(echo.attendees.len(), spec.attendees.len());
    }
}
