//! `PARITY.md`: its four scenarios as vectors, by scripted agents and by shipped ones, and each row of its table.

use super::support::*;
use pb::attempt_log_entry::Outcome::{Booked, NotAvailable};
use pb::meeting::State::Confirmed;

use std::time::{Duration, Instant};

/// The people of a vector: each on a stream of its own, or all over calendar files.
#[allow(clippy::large_enum_variant)] // one at a time
enum Cast {
    Scripted(World, Vec<(&'static str, Host)>),
    /// The folder is removed when it is dropped.
    Shipped(World, Agent, #[allow(dead_code)] tempfile::TempDir),
}

impl Cast {
    async fn scripted(people: &[(&'static str, i64, i64)]) -> Self {
        let world = World::start().await;
        let mut hosts = Vec::new();
        for (name, from, until) in people {
            hosts.push((*name, world.host(vec![Person::new(name).free(*from, *until)]).await));
        }
        Self::Scripted(world, hosts)
    }

    async fn shipped(people: &[(&'static str, i64, i64)]) -> Self {
        let world = World::start().await;
        let folder = tempfile::tempdir().unwrap();
        let calendars: Vec<_> =
            people.iter().map(|(name, from, until)| (*name, free_only(*from, *until))).collect();
        let agent = Agent::start(folder.path(), &world.url(), &calendars).await;
        Self::Shipped(world, agent, folder)
    }

    fn world(&self) -> &World {
        match self {
            Self::Scripted(world, ..) | Self::Shipped(world, ..) => world,
        }
    }

    /// The meeting is in everybody's calendar who attends, at these hours and no others.
    async fn have(&self, meeting: &pb::Meeting, hours: &[(i64, i64)]) {
        let mut events = self.world().watch(Some(0)).await;
        loop {
            let delivered = events.until(pb::meeting_event::Type::Delivered).await;
            if delivered.meeting.unwrap().meeting_id == meeting.meeting_id {
                break;
            }
        }
        for name in attending(meeting) {
            match self {
                Self::Scripted(_, hosts) => {
                    let host = &hosts.iter().find(|(n, _)| *n == name).unwrap().1;
                    host.until_booked(name, hours).await;
                }
                Self::Shipped(_, agent, _) => {
                    assert_eq!(agent.booked(name).await, hours);
                    assert_eq!(agent.written(name).await, hours);
                }
            }
        }
    }

    /// A scripted person got a notice of this kind.
    async fn noticed(&self, name: &str, meeting: &pb::Meeting, kind: pb::notice::Kind) {
        if let Self::Scripted(_, hosts) = self {
            let host = &hosts.iter().find(|(n, _)| *n == name).unwrap().1;
            let notice = host.until("a notice", |s| s.notices_of(name).first().map(|n| (*n).clone())).await;
            assert_eq!((notice.kind(), &notice.meeting_id), (kind, &meeting.meeting_id));
        }
    }
}

async fn s1(cast: Cast) {
    for ask in [ask(&["alice", "bob", "charlie"]).one_by_one(), ask(&["alice", "bob", "charlie"])] {
        let meeting = cast.world().book(ask.minimum(2)).await;
        let first = meeting.slot == Some(hours(8, 9));
        if !first {
            // The same hour again: the first meeting has it.
            assert_eq!(slot_of(&meeting), (9, 10));
            continue;
        }
        assert_eq!(attending(&meeting), ["alice", "bob"]);
        assert_eq!((meeting.attempts, tried(&meeting.attempt_log)), (1, vec![(8, Booked)]));
        cast.have(&meeting, &[(8, 9)]).await;
        cast.noticed("charlie", &meeting, pb::notice::Kind::ConfirmedWithoutYou).await;
    }
}

const S1: [(&str, i64, i64); 3] = [("alice", 8, 17), ("bob", 8, 17), ("charlie", 12, 17)];

#[tokio::test]
async fn s1_success() {
    s1(Cast::scripted(&S1).await).await;
}

#[tokio::test]
async fn s1_success_with_shipped_agents() {
    s1(Cast::shipped(&S1).await).await;
}

async fn s2(cast: Cast) {
    let meeting = cast.world().book(ask(&["alice", "bob"]).minimum(2).one_by_one()).await;
    assert_eq!((slot_of(&meeting), attending(&meeting)), ((9, 10), vec!["alice", "bob"]));
    assert_eq!((meeting.attempts, tried(&meeting.attempt_log)), (2, vec![(8, NotAvailable), (9, Booked)]));
    cast.have(&meeting, &[(9, 10)]).await;
}

#[tokio::test]
async fn s2_second_attempt() {
    s2(Cast::scripted(&[("alice", 9, 17), ("bob", 9, 17)]).await).await;
}

#[tokio::test]
async fn s2_second_attempt_with_shipped_agents() {
    s2(Cast::shipped(&[("alice", 9, 17), ("bob", 9, 17)]).await).await;
}

#[tokio::test]
async fn s2_in_the_first_round_by_default() {
    let cast = Cast::scripted(&[("alice", 9, 17), ("bob", 9, 17)]).await;
    let meeting = cast.world().book(ask(&["alice", "bob"]).minimum(2)).await;
    assert_eq!((slot_of(&meeting), meeting.attempts), ((9, 10), 1));
    assert_eq!(cast.world().counters().await.rounds, 1);
}

async fn s3(cast: Cast) {
    let meeting = cast.world().schedule(ask(&["alice", "bob"]).minimum(2).one_by_one().attempts(3)).await;
    let failure = failure(&meeting);
    assert_eq!(failure.reason(), pb::failure::Reason::MaxAttempts, "{}", failure.message);
    let expected = vec![(8, NotAvailable), (9, NotAvailable), (10, NotAvailable)];
    assert_eq!((meeting.attempts, tried(&failure.attempt_log)), (3, expected));
    assert_eq!(meeting.attempt_log, failure.attempt_log);
    for name in ["alice", "bob"] {
        cast.noticed(name, &meeting, pb::notice::Kind::Failed).await;
    }
    assert_eq!(cast.world().get(&meeting).await, meeting);
}

#[tokio::test]
async fn s3_failure() {
    s3(Cast::scripted(&[("alice", 14, 17), ("bob", 14, 17)]).await).await;
}

#[tokio::test]
async fn s3_failure_with_shipped_agents() {
    s3(Cast::shipped(&[("alice", 14, 17), ("bob", 14, 17)]).await).await;
}

async fn s3b(cast: Cast) {
    let meeting = cast.world().book(ask(&["alice", "bob"]).minimum(2).one_by_one().attempts(3)).await;
    let expected = vec![(8, NotAvailable), (9, NotAvailable), (10, Booked)];
    assert_eq!((slot_of(&meeting), meeting.attempts), ((10, 11), 3));
    assert_eq!(tried(&meeting.attempt_log), expected);
    cast.have(&meeting, &[(10, 11)]).await;
}

#[tokio::test]
async fn s3b_third_attempt() {
    s3b(Cast::scripted(&[("alice", 10, 17), ("bob", 10, 17)]).await).await;
}

#[tokio::test]
async fn s3b_third_attempt_with_shipped_agents() {
    s3b(Cast::shipped(&[("alice", 10, 17), ("bob", 10, 17)]).await).await;
}

async fn s4(cast: Cast) {
    let world = cast.world();
    let first = world.book(ask(&["p1", "p2"]).at(10, 11)).await;
    cast.have(&first, &[(10, 11)]).await;
    let second = world.book(ask(&["p1", "p2"]).minimum(2).one_by_one()).await;
    assert_eq!((slot_of(&second), attending(&second), second.attempts), ((11, 12), vec!["p1", "p2"], 4));
    let expected = vec![(8, NotAvailable), (9, NotAvailable), (10, NotAvailable), (11, Booked)];
    assert_eq!(tried(&second.attempt_log), expected);
    cast.have(&second, &[(10, 11), (11, 12)]).await;
}

#[tokio::test]
async fn s4_conflict() {
    s4(Cast::scripted(&[("p1", 10, 17), ("p2", 10, 17)]).await).await;
}

#[tokio::test]
async fn s4_conflict_with_shipped_agents() {
    s4(Cast::shipped(&[("p1", 10, 17), ("p2", 10, 17)]).await).await;
}

#[tokio::test]
async fn s4_two_attempts_if_the_window_opens_at_ten() {
    let cast = Cast::scripted(&[("p1", 10, 17), ("p2", 10, 17)]).await;
    let world = cast.world();
    world.book(ask(&["p1", "p2"]).at(10, 11)).await;
    let meeting = world.book(ask(&["p1", "p2"]).minimum(2).between(10, 17).one_by_one()).await;
    assert_eq!((slot_of(&meeting), meeting.attempts), ((11, 12), 2));
}

#[tokio::test]
async fn s4_in_the_first_round_by_default() {
    let cast = Cast::scripted(&[("p1", 10, 17), ("p2", 10, 17)]).await;
    let world = cast.world();
    world.book(ask(&["p1", "p2"]).at(10, 11)).await;
    let meeting = world.book(ask(&["p1", "p2"]).minimum(2)).await;
    assert_eq!((slot_of(&meeting), meeting.attempts), ((11, 12), 1));
}

// The table, row by row.

#[tokio::test]
async fn row_one_no_does_not_move_everyone() {
    let world = World::start().await;
    let people =
        [("alice", 8), ("bob", 8), ("carol", 9)].map(|(name, from)| Person::new(name).free(from, 17));
    let host = world.host(people.into()).await;
    let meeting = world.book(ask(&["alice", "bob", "carol"]).minimum(2)).await;
    assert_eq!((slot_of(&meeting), attending(&meeting)), ((8, 9), vec!["alice", "bob"]));
    assert_eq!(with_status(&meeting, pb::attendee_outcome::Status::Busy), ["carol"]);
    host.check();
}

#[tokio::test]
async fn row_stale_and_duplicate_answers_are_counted_and_dropped() {
    let world = World::start().await;
    let twice = Person::new("alice").free(8, 17).with(|p| (p.answers, p.votes) = (Mode::Twice, Mode::Twice));
    let late = Person::new("bob").free(8, 17).with(|p| p.answers = Mode::Keep);
    let host = world.host(vec![twice, late]).await;
    let ask = ask(&["alice", "bob"]).minimum(1).response_timeout(Duration::from_secs(2));
    let meeting = world.book(ask).await;
    assert_eq!((slot_of(&meeting), attending(&meeting), meeting.attempts), ((8, 9), vec!["alice"], 1));
    let before = world.counters().await;
    // The late yes: nobody is asked anything for it, and nothing is booked.
    host.let_go("bob").await;
    host.barrier("bob").await;
    let after = world.counters().await;
    assert!(before.stale >= 1, "the answer that came twice: {before:?}");
    assert_eq!(
        (after.stale, after.holds, after.committed),
        (before.stale + 1, before.holds, before.committed)
    );
    assert_eq!(host.look(|s| s.holds_of("bob").len()), 0);
    host.until_booked("alice", &[(8, 9)]).await;
    assert_eq!(world.get(&meeting).await.slot, meeting.slot);
}

#[tokio::test]
async fn row_a_late_yes_books_no_dead_attempt() {
    let world = World::start().await;
    let host = world.host(vec![Person::new("alice").free(8, 9).with(|p| p.votes = Mode::Keep)]).await;
    // Long enough for the vote to be asked for.
    let (meeting, ()) =
        tokio::join!(world.schedule_by(Duration::from_secs(4), ask(&["alice"])), host.until_kept("alice"));
    assert_eq!(failure(&meeting).reason(), pb::failure::Reason::Deadline);
    host.let_go("alice").await;
    host.barrier("alice").await;
    host.look(|state| {
        assert_eq!(state.person("alice").booked.len() + state.person("alice").held.len(), 0);
        assert!(!state.releases_of("alice").is_empty());
    });
    assert_eq!(world.get(&meeting).await.state(), pb::meeting::State::Failed);
}

#[tokio::test]
async fn row_asks_who_is_connected_when_the_meeting_is_requested() {
    let world = World::start().await;
    let _alice = world.host(vec![Person::new("alice").free(8, 17)]).await;
    let alone = world.book(ask(&[])).await;
    assert_eq!(attending(&alone), ["alice"]);
    let bob = world.host(vec![Person::new("bob").free(8, 17)]).await;
    assert!(bob.look(|s| s.queries().is_empty()), "who comes late is not asked for what is decided");
    let together = world.book(ask(&[])).await;
    assert_eq!((slot_of(&together), attending(&together)), ((9, 10), vec!["alice", "bob"]));
}

#[tokio::test]
async fn row_can_wait_for_named_attendees_to_connect() {
    let world = World::start().await;
    let _alice = world.host(vec![Person::new("alice").free(8, 17)]).await;
    let ask = ask(&["alice", "bob"]).connect_timeout(PATIENCE);
    let waiting = world.spawn_schedule(ask);
    // By now the request has been taken: commands are taken in order.
    world.counters().await;
    let _bob = world.host(vec![Person::new("bob").free(10, 17)]).await;
    let meeting = waiting.await.unwrap().unwrap();
    assert_eq!((meeting.state(), slot_of(&meeting)), (Confirmed, (10, 11)));
}

#[tokio::test]
async fn row_fewer_connected_than_the_minimum_fails_at_once() {
    let world = World::start().await;
    let host = world.host(vec![Person::new("alice").free(8, 17)]).await;
    let started = Instant::now();
    let meeting = world.schedule(ask(&["alice", "bob", "carol"]).minimum(2)).await;
    assert!(started.elapsed() < UNHURRIED, "no answer is waited for");
    let failure = failure(&meeting);
    assert_eq!(failure.reason(), pb::failure::Reason::QuorumUnreachable, "{}", failure.message);
    assert_eq!(with_status(&meeting, pb::attendee_outcome::Status::Disconnected), ["bob", "carol"]);
    assert_eq!(host.look(|s| s.queries().len()), 0, "nobody is asked in vain");
}

#[tokio::test]
async fn row_slots_never_offered_and_invented_participants() {
    let world = World::start().await;
    let host = world.host(vec![Person::new("alice").free(0, 8).free(20, 40)]).await;
    // Alice says that she is free at night; the question was about the day.
    let meeting = world.schedule(ask(&["alice"])).await;
    assert_eq!(failure(&meeting).reason(), pb::failure::Reason::NoCommonSlot);
    assert_eq!(world.counters().await.clipped, 2);
    let query_id = host.look(|s| s.queries()[0].query_id.clone());
    let free = pb::FreeTime {
        start_time: hours(8, 17).start_time,
        end_time: hours(8, 17).end_time,
        ..Default::default()
    };
    let answer = pb::AvailabilityAnswer {
        query_id,
        participant_id: "mallory".into(),
        free: vec![free],
        ..Default::default()
    };
    host.say(vec![says(pb::agent_message::Message::AvailabilityAnswer(answer))]).await;
    let error = host.until("a frame error", |s| s.errors().first().map(|e| (*e).clone())).await;
    assert_eq!(error.reason(), pb::frame_error::Reason::NotRegistered);
    assert_eq!((error.participant_id.as_str(), error.member.as_str()), ("mallory", "availability_answer"));
}

#[tokio::test]
async fn row_every_request_ends_by_its_deadline() {
    let world = World::start().await;
    let _host = world.host(vec![Person::new("alice").free(8, 17).with(|p| p.answers = Mode::Silent)]).await;
    let meeting = world.schedule_by(Duration::from_secs(1), ask(&["alice"])).await;
    assert_eq!(failure(&meeting).reason(), pb::failure::Reason::Deadline);
    assert_eq!(with_status(&meeting, pb::attendee_outcome::Status::NoAnswer), ["alice"]);
}

#[tokio::test]
async fn row_a_killed_participant_that_said_yes_counts_only_by_its_journal() {
    let world = World::start().await;
    let keeping = |p: &mut Person| p.votes = Mode::Keep;
    let alice = world.host(vec![Person::new("alice").free(8, 17).with(keeping)]).await;
    let mut bob = world.host(vec![Person::new("bob").free(8, 17)]).await;
    let mut carol = world.host(vec![Person::new("carol").free(8, 17).with(|p| p.journal = None)]).await;
    let waiting = world.spawn_schedule(ask(&["alice", "bob", "carol"]).minimum(2).required("alice"));
    alice.until_kept("alice").await;
    for (host, name) in [(&bob, "bob"), (&carol, "carol")] {
        host.until("a yes", |s| (!s.person(name).held.is_empty()).then_some(())).await;
        host.barrier(name).await;
    }
    bob.cut();
    carol.cut();
    world.until_connected("bob", false).await;
    world.until_connected("carol", false).await;
    // Carol comes back and remembers nothing: her vote is void, and it is cast anew by the hold that is sent again.
    carol.edit("carol", |p| p.votes = Mode::Silent);
    carol.connect(&world.url()).await;
    alice.let_go("alice").await;
    let meeting = waiting.await.unwrap().unwrap();
    assert_eq!((meeting.state(), attending(&meeting)), (Confirmed, vec!["alice", "bob"]));
    bob.connect(&world.url()).await;
    bob.until_booked("bob", &[(8, 9)]).await;
    assert_eq!(carol.look(|s| s.person("carol").booked.len()), 0);
}

#[tokio::test]
async fn row_a_lost_stream_is_noticed_at_once() {
    let world = World::start().await;
    let _alice = world.host(vec![Person::new("alice").free(8, 17)]).await;
    let mut bob = world.host(vec![Person::new("bob").free(8, 17).with(|p| p.answers = Mode::Keep)]).await;
    let started = Instant::now();
    let waiting = world.spawn_schedule(ask(&["alice", "bob"]).minimum(1));
    bob.until_kept("bob").await;
    bob.cut();
    let meeting = waiting.await.unwrap().unwrap();
    assert!(started.elapsed() < UNHURRIED, "bob's answer is not waited for");
    assert_eq!((meeting.state(), attending(&meeting)), (Confirmed, vec!["alice"]));
    assert_eq!(with_status(&meeting, pb::attendee_outcome::Status::Disconnected), ["bob"]);
}

#[tokio::test]
async fn row_confirm_and_notice_to_everyone_asked_and_the_calendar_has_the_event() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let calendars = [("alice", calendar(&[])), ("bob", calendar(&[(8, 9)]))];
    let agent = Agent::start(folder.path(), &world.url(), &calendars).await;
    let carol = world.host(vec![Person::new("carol").free(14, 15)]).await;
    let mut events = world.watch(None).await;
    let meeting = world.book(ask(&["alice", "bob", "carol"]).minimum(2).title("Plan")).await;
    assert_eq!((slot_of(&meeting), attending(&meeting)), ((9, 10), vec!["alice", "bob"]));
    events.until(pb::meeting_event::Type::Delivered).await;
    for name in ["alice", "bob"] {
        assert_eq!(agent.written(name).await, [(9, 10)]);
        let text = std::fs::read_to_string(agent.output(name)).unwrap();
        assert!(text.contains("SUMMARY:Plan"), "{text}");
    }
    let notice = carol.until("a notice", |s| s.notices_of("carol").first().map(|n| (*n).clone())).await;
    assert_eq!(notice.kind(), pb::notice::Kind::ConfirmedWithoutYou);
    assert_eq!((notice.title.as_str(), notice.slot.as_ref().map(as_hours)), ("Plan", Some((9, 10))));
    let delivered = world.get(&meeting).await;
    let told = |a: &&pb::AttendeeOutcome| a.confirmation_delivered;
    let told: Vec<_> = delivered.attendees.iter().filter(told).map(|a| a.participant_id.as_str()).collect();
    assert_eq!(told, ["alice", "bob"]);
    // And it is gone when it is called off.
    world.cancel(&meeting.meeting_id, "").await.unwrap();
    within("the booking is gone", async {
        while !agent.booked("alice").await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(agent.written("alice").await, []);
}

#[tokio::test]
async fn row_the_length_is_validated() {
    let world = World::start().await;
    let _host = world.host(vec![Person::new("alice").free(0, 24)]).await;
    let nothing = ask(&["alice"]).spec(|spec| spec.duration = Some(minutes(0)));
    let status = world.try_schedule(nothing).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let long = ask(&["alice"]).between(0, 24).spec(|spec| spec.duration = Some(minutes(600)));
    let meeting = world.schedule(long).await;
    assert_eq!(failure(&meeting).reason(), pb::failure::Reason::WindowEmpty);
}

#[tokio::test]
async fn row_weekends_and_business_hours_are_applied() {
    let world = World::start().await;
    let _host = world.host(vec![Person::new("alice").free(-72, 72)]).await;
    // From Saturday morning: Monday at 8 comes first.
    let meeting = world.book(ask(&["alice"]).between(-48, 24)).await;
    assert_eq!(slot_of(&meeting), (8, 9));
    let any = |window: &mut pb::Window| {
        window.working_hours = Some(pb::WorkingHours { unrestricted: true, ..Default::default() });
    };
    let meeting = world.book(ask(&["alice"]).between(-48, 24).window(any)).await;
    assert_eq!(slot_of(&meeting), (-48, -47));
    let own = |window: &mut pb::Window| {
        window.working_hours = Some(pb::WorkingHours {
            days: vec![pb::DayOfWeek::Sunday.into()],
            start: Some(pb::TimeOfDay { hours: 20, minutes: 0 }),
            end: Some(pb::TimeOfDay { hours: 24, minutes: 0 }),
            ..Default::default()
        });
    };
    let meeting = world.book(ask(&["alice"]).between(-48, 24).window(own)).await;
    assert_eq!(slot_of(&meeting), (-4, -3));
}

#[tokio::test]
async fn row_dates_that_are_none_are_refused() {
    let world = World::start().await;
    let _host = world.host(vec![Person::new("alice").free(0, 24)]).await;
    for bad in [
        prost_types::Timestamp { seconds: MONDAY, nanos: -1 },
        prost_types::Timestamp { seconds: MONDAY, nanos: 1_000_000_000 },
        prost_types::Timestamp { seconds: i64::MAX, nanos: 0 },
        prost_types::Timestamp { seconds: i64::MIN, nanos: 0 },
    ] {
        let ask = ask(&["alice"]).window(|window| window.earliest = Some(bad));
        assert_eq!(
            world.try_schedule(ask).await.unwrap_err().code(),
            tonic::Code::InvalidArgument,
            "{bad:?}"
        );
    }
    // As a person types it, and as a calendar has it: 2024-02-30.
    let folder = tempfile::tempdir().unwrap();
    let event = "BEGIN:VEVENT\r\nUID:x@example.org\r\nDTSTAMP:20240701T000000Z\r\n\
                 DTSTART:20240230T100000Z\r\nDTEND:20240230T110000Z\r\nEND:VEVENT\r\n";
    let calendars = [("bob", in_calendar(event)), ("carol", free_only(8, 17))];
    let agent = Agent::start(folder.path(), &world.url(), &calendars).await;
    let problem = agent.handle.served().iter().find(|s| s.participant == id("bob")).unwrap();
    let problem = problem.degraded.clone().expect("a problem");
    assert!(problem.starts_with("bob.ics:7"), "file and line: {problem}");
    let meeting = world.book(ask(&["bob", "carol"]).minimum(1)).await;
    assert_eq!(attending(&meeting), ["carol"], "a calendar that can't be read is never free");
    assert_eq!(with_status(&meeting, pb::attendee_outcome::Status::Declined), ["bob"]);
}

#[tokio::test]
async fn row_recurrence_is_that_of_rfc_5545() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let event = |rule: &str| {
        in_calendar(&format!(
            "BEGIN:VEVENT\r\nUID:x@example.org\r\nDTSTAMP:20240101T000000Z\r\nDTSTART:20240131T100000Z\r\n\
             DTEND:20240131T110000Z\r\nRRULE:{rule}\r\nEND:VEVENT\r\n"
        ))
    };
    let calendars = [("alice", event("FREQ=MONTHLY")), ("bob", event("FREQ=FORTNIGHTLY"))];
    let _agent = Agent::start(folder.path(), &world.url(), &calendars).await;
    // Monthly from 31 January: on 31 July, and not on 30 June or 29 February.
    let day = 24;
    let at = |from: i64| ask(&["alice"]).at(from, from + 1);
    let july = world.schedule(at(9 * day + 10)).await;
    assert_eq!(failure(&july).reason(), pb::failure::Reason::SlotTaken);
    world.book(at(9 * day + 11)).await;
    world.book(at(-22 * day + 10)).await;
    world.book(at(-144 * day + 10)).await;
    // A frequency that nobody knows: no loop, no guess, and bob is not free.
    let unknown = world.schedule(ask(&["bob"])).await;
    assert_eq!(with_status(&unknown, pb::attendee_outcome::Status::Declined), ["bob"]);
}

#[tokio::test]
async fn row_two_meetings_at_once_never_double_book() {
    let world = World::start().await;
    let host = world.host(vec![Person::new("alice").free(8, 9), Person::new("bob").free(8, 9)]).await;
    let (one, two) =
        (world.spawn_schedule(ask(&["alice", "bob"])), world.spawn_schedule(ask(&["alice", "bob"])));
    let both = [one.await.unwrap().unwrap(), two.await.unwrap().unwrap()];
    let booked = both.iter().filter(|m| m.state() == Confirmed).count();
    assert_eq!(booked, 1, "{both:?}");
    host.until_booked("alice", &[(8, 9)]).await;
    host.until_booked("bob", &[(8, 9)]).await;
    host.check();
}

#[tokio::test]
async fn row_messages_go_to_whom_they_concern() {
    let world = World::start().await;
    let alice = world.host(vec![Person::new("alice").free(8, 17)]).await;
    let bob = world.host(vec![Person::new("bob").free(8, 17)]).await;
    let carol = world.host(vec![Person::new("carol").free(8, 17)]).await;
    let meeting = world.book(ask(&["alice", "bob"])).await;
    alice.until_booked("alice", &[(8, 9)]).await;
    bob.until_booked("bob", &[(8, 9)]).await;
    world.cancel(&meeting.meeting_id, "").await.unwrap();
    alice.until_booked("alice", &[]).await;
    carol.barrier("carol").await;
    let heard = carol.look(|s| s.heard.len());
    assert_eq!(heard, 2, "registered, and the answer to what she asked: nothing else");
    [alice, bob, carol].iter().for_each(Host::check);
}
