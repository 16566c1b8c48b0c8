use super::*;

fn berlin() -> Zone {
    Zone::named("Europe/Berlin").unwrap()
}

fn stamp(text: &str) -> Option<prost_types::Timestamp> {
    Some(values::timestamp(text.parse().unwrap()))
}

fn slot_at(start: &str, end: &str) -> Option<pb::TimeRange> {
    Some(pb::TimeRange { start_time: stamp(start), end_time: stamp(end) })
}

fn person(id: &str, role: pb::attendee::Role, status: pb::attendee_outcome::Status) -> pb::AttendeeOutcome {
    pb::AttendeeOutcome {
        participant_id: id.to_owned(),
        role: role as i32,
        status: status as i32,
        ..Default::default()
    }
}

fn people() -> Vec<pb::AttendeeOutcome> {
    use pb::attendee::Role;
    use pb::attendee_outcome::Status;
    let mut alice = person("alice", Role::Required, Status::Attending);
    alice.confirmation_delivered = true;
    let mut bob = person("bob", Role::Invited, Status::Declined);
    bob.detail = "on \u{1b}[31mleave".to_owned();
    vec![bob, alice, person("carol", Role::Optional, Status::Attending)]
}

fn booked() -> pb::Meeting {
    pb::Meeting {
        meeting_id: "0190c2a4".to_owned(),
        spec: Some(pb::MeetingSpec {
            title: "Design review".to_owned(),
            duration: Some(prost_types::Duration { seconds: 1800, nanos: 0 }),
            window: Some(pb::Window {
                earliest: stamp("2026-12-01T00:00:00Z"),
                latest: stamp("2026-12-03T00:00:00Z"),
                working_hours: Some(pb::WorkingHours { days: vec![1, 3], ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        state: pb::meeting::State::Confirmed as i32,
        slot: slot_at("2026-12-01T09:00:00Z", "2026-12-01T09:30:00Z"),
        attendees: people(),
        attempts: 1,
        attempt_log: vec![pb::AttemptLogEntry::default()],
        time_zone: "Europe/Berlin".to_owned(),
        ..Default::default()
    }
}

fn why() -> pb::Failure {
    pb::Failure {
        reason: pb::failure::Reason::RequiredBusy as i32,
        message: "alice has no free slot".to_owned(),
        counts: Some(pb::CandidateCounts {
            considered: 36,
            required_busy: 30,
            quorum_missed: 6,
            ..Default::default()
        }),
        attendees: people(),
        relaxations: vec![
            pb::Relaxation {
                minimum_participants: 3,
                message: "minimum 3 instead of 4".to_owned(),
                slot: slot_at("2026-12-01T09:00:00Z", "2026-12-01T09:30:00Z"),
                ..Default::default()
            },
            pb::Relaxation {
                latest: stamp("2026-12-02T16:00:00Z"),
                message: "one day later".to_owned(),
                ..Default::default()
            },
            pb::Relaxation { release_required: "alice".to_owned(), ..Default::default() },
        ],
        attempt_log: Vec::new(),
    }
}

#[test]
fn a_booked_meeting_says_when_who_and_who_not() {
    let text = meeting(&booked(), "Booked", &berlin());
    let expected = "\
Booked: Design review
  when      Tue 2026-12-01 10:00–10:30  (Europe/Berlin)
  meeting   0190c2a4
  WHO     ROLE       STATUS     NOTE
 ───────────────────────────────────────────────────────
  alice   required   attends
  carol   optional   attends    confirmation on its way
  bob     invited    declined   on \u{fffd}[31mleave
1 slot tried.
";
    assert_eq!(text, expected);
}

#[test]
fn a_failure_gives_reason_counts_people_and_what_would_help() {
    let text = failure(&why(), &berlin());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "Reason: REQUIRED_BUSY: alice has no free slot");
    assert_eq!(lines[1], "36 slots looked at: 30 someone required is busy, 6 too few are free");
    assert!(lines[4].contains("alice") && lines[4].contains("free at some of them"), "{text}");
    assert_eq!(lines[7], "What would help:");
    assert_eq!(lines[8], "  - minimum 3 instead of 4 (Tue 2026-12-01 10:00–10:30)  [--minimum 3]");
    assert_eq!(lines[9], "  - one day later  [--until \"2026-12-02 17:00\"]");
    assert!(lines[10].contains("--with alice instead of --require alice"));
}

/// The words may have the slot in them, in the zone that was asked in.
#[test]
fn what_would_help_has_its_time_once() {
    let mut why = why();
    let words = "minimum 3 instead of 4: Tue 2026-12-01 10:00-10:30 (Europe/Berlin)";
    why.relaxations[0].message = words.to_owned();
    let line = |zone: &Zone| failure(&why, zone).lines().nth(8).unwrap().to_owned();
    assert_eq!(line(&berlin()), format!("  - {words}  [--minimum 3]"));
    let tokyo = Zone::named("Asia/Tokyo").unwrap();
    assert_eq!(line(&tokyo), format!("  - {words} (Tue 2026-12-01 18:00–18:30)  [--minimum 3]"));
}

#[test]
fn nobody_attends_a_meeting_that_does_not_stand() {
    for state in [pb::meeting::State::Cancelled, pb::meeting::State::Displaced] {
        let gone = pb::Meeting { state: state.into(), ..booked() };
        let text = meeting(&gone, state_headline(gone.state), &berlin());
        let statuses: Vec<_> = text.lines().filter(|line| line.contains("was to attend")).collect();
        assert_eq!(statuses.len(), 2, "{text}");
        assert!(!text.contains("attends") && !text.contains("on its way"), "{text}");
        assert!(text.contains("bob     invited    declined"), "{text}");
    }
}

#[test]
fn a_failed_meeting_shows_each_slot_that_was_tried() {
    let tried = |number, message: &str| pb::AttemptLogEntry {
        number,
        slot: slot_at("2026-12-01T09:00:00Z", "2026-12-01T09:30:00Z"),
        outcome: pb::attempt_log_entry::Outcome::NotAvailable as i32,
        attendees: people(),
        message: message.to_owned(),
    };
    let failed = pb::Meeting {
        state: pb::meeting::State::Failed as i32,
        slot: None,
        failure: Some(why()),
        attempts: 2,
        attempt_log: vec![tried(1, "alice is busy"), tried(2, "")],
        ..booked()
    };
    let text = meeting(&failed, state_headline(failed.state), &berlin());
    assert!(
        text.starts_with("Not booked: Design review\n  meeting   0190c2a4\nTimes are in Europe/Berlin.\n")
    );
    assert!(text.contains("2 slots tried.\n"));
    assert!(text.contains("not available   alice is busy"));
    assert!(text.lines().last().unwrap().ends_with("not available   bob"), "{text}");
    assert_eq!(text.matches("WHO").count(), 1, "everyone is listed once");
}

#[test]
fn what_was_asked_for_has_its_defaults() {
    let text = spec(&booked(), &berlin());
    assert!(text.contains("  length    30m\n"));
    assert!(text.contains("  minimum   all\n  priority  1\n  best      earliest\n"));
    assert!(text.contains("  window    Tue 2026-12-01 01:00 – Thu 2026-12-03 01:00\n"));
    assert!(text.contains("  hours     Mon,Wed 08:00-17:00\n"));
}

#[test]
fn candidates_are_ranked_with_those_who_cannot() {
    let candidate = |score, cost| pb::Candidate {
        slot: slot_at("2026-12-01T09:00:00Z", "2026-12-01T09:30:00Z"),
        score,
        attendees: people(),
        attending: 2,
        total_cost: cost,
        reason: String::new(),
        displaces: Vec::new(),
    };
    let answer = |candidates| pb::FindMeetingTimesResponse {
        candidates,
        time_zone: "Asia/Tokyo".to_owned(),
        counts: Some(pb::CandidateCounts { considered: 1, ..Default::default() }),
        ..Default::default()
    };
    let text = candidates(&answer(vec![candidate(100, 0), candidate(90, 0)]), &berlin());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "Times are in Europe/Berlin; hours and starts follow Asia/Tokyo.");
    assert_eq!(lines[1], "  #   WHEN                         SCORE   FREE     CAN'T");
    assert_eq!(lines[3], "  1   Tue 2026-12-01 10:00–10:30   100     2 of 3   bob (declined)");
    assert_eq!(lines[5], "1 slot looked at.");
    assert!(candidates(&answer(vec![candidate(1, 7)]), &berlin()).contains("COST"));
    let none = pb::FindMeetingTimesResponse { failure: Some(why()), ..answer(Vec::new()) };
    assert!(candidates(&none, &berlin()).contains("No slot found.\nReason: REQUIRED_BUSY"));
}

#[test]
fn lists_tell_of_further_pages() {
    assert_eq!(meetings(&pb::ListMeetingsResponse::default(), &berlin()), "No meetings.\n");
    let page = pb::ListMeetingsResponse { meetings: vec![booked()], next_page_token: "abc".to_owned() };
    let text = meetings(&page, &berlin());
    assert!(
        text.contains("  Tue 2026-12-01 10:00–10:30   Design review   confirmed   alice, carol   0190c2a4\n")
    );
    assert!(text.ends_with("There are more: --all, or --page-token abc\n"));
}

#[test]
fn an_occurrence_says_which_series_it_is_of() {
    let occurrence = pb::Meeting { series_id: "5e1e5".to_owned(), ..booked() };
    let text = meeting(&occurrence, "Booked", &berlin());
    assert!(text.contains("\n  meeting   0190c2a4\n  series    5e1e5\n"), "{text}");
    assert!(!meeting(&booked(), "Booked", &berlin()).contains("series"));
    let page = pb::ListMeetingsResponse { meetings: vec![booked(), occurrence], ..Default::default() };
    let text = meetings(&page, &berlin());
    assert!(text.contains("MEETING    SERIES\n") && text.ends_with("0190c2a4   5e1e5\n"), "{text}");
}

#[test]
fn an_event_is_one_line_whatever_it_holds() {
    let mut failed = booked();
    failed.spec.as_mut().unwrap().title = "a\nb".to_owned();
    failed.failure = Some(why());
    let happened = pb::MeetingEvent {
        sequence: 12,
        event_time: stamp("2026-12-01T09:00:03Z"),
        r#type: pb::meeting_event::Type::Failed as i32,
        meeting: Some(failed),
    };
    let line = event(&happened, &berlin());
    assert_eq!(line.matches('\n').count(), 1);
    assert!(line.starts_with("#12  2026-12-01 10:00:03  FAILED             a\u{fffd}b  Tue"), "{line}");
    assert!(line.ends_with("REQUIRED_BUSY  alice, carol  0190c2a4\n"), "{line}");
}

#[test]
fn participants_show_since_when() {
    let away = pb::Participant {
        participant_id: "alice".to_owned(),
        time_zone: "Asia/Tokyo".to_owned(),
        last_seen: stamp("2026-12-01T09:00:00Z"),
        ..Default::default()
    };
    assert_eq!(participant(&away, &berlin()), "alice  away  since Tue 2026-12-01 10:00  Asia/Tokyo\n");
    let here = pb::Participant { connected: true, connected_since: away.last_seen, ..away.clone() };
    let page = pb::ListParticipantsResponse { participants: vec![away, here], ..Default::default() };
    let text = participants(&page, &berlin());
    assert!(text.contains("  alice   Asia/Tokyo   connected   Tue 2026-12-01 10:00\n"), "{text}");
    assert!(participants(&pb::ListParticipantsResponse::default(), &berlin()).contains("No participants"));
}

#[test]
fn many_names_are_counted() {
    let ids: Vec<_> = (0..8).map(|n| format!("p{n}")).collect();
    assert_eq!(names(ids.iter().map(String::as_str)), "p0, p1, p2, p3, p4 and 3 more");
}

#[test]
fn a_slot_is_shown_where_each_attendee_is() {
    let mut meeting = booked();
    meeting.attendees[0].time_zone = "America/New_York".to_owned();
    meeting.attendees[1].time_zone = "Europe/Berlin".to_owned();
    meeting.clock_shifts =
        vec![pb::ClockShift { message: "working hours start at 03:00".to_owned(), ..Default::default() }];
    let text = super::meeting(&meeting, "Booked", &berlin());
    assert!(text.contains("\n  there     bob 04:00 America/New_York, alice 10:00 Europe/Berlin\n"), "{text}");
    assert!(text.ends_with("note: working hours start at 03:00\n"), "{text}");
    let mut attendees = meeting.attendees.clone();
    attendees[1].detail = "the agent's clock rules differ".to_owned();
    let found = pb::FindMeetingTimesResponse {
        candidates: vec![pb::Candidate { slot: meeting.slot, attendees, ..Default::default() }],
        clock_shifts: meeting.clock_shifts.clone(),
        ..Default::default()
    };
    // In the asker's own zone there is nothing to add; bob, who is elsewhere, would not attend.
    let text = candidates(&found, &berlin());
    assert!(!text.contains("Where the attendees are"), "{text}");
    assert!(text.contains("\nnote: alice: the agent's clock rules differ\n"), "{text}");
    assert!(text.contains("\nnote: working hours start at 03:00\n"), "{text}");
    let text = candidates(&found, &Zone::named("Asia/Tokyo").unwrap());
    assert!(
        text.contains("Where the attendees are:\n  1   Tue 18:00 (alice 10:00 Europe/Berlin)\n"),
        "{text}"
    );
}

#[test]
fn outdated_zone_data_are_told_of_a_participant() {
    let outdated = pb::Participant {
        participant_id: "bob".to_owned(),
        time_zone_detail: "the agent's clock rules differ".to_owned(),
        ..Default::default()
    };
    assert_eq!(participant(&outdated, &berlin()), "bob  away  the agent's clock rules differ\n");
    let page = pb::ListParticipantsResponse { participants: vec![outdated], ..Default::default() };
    assert!(participants(&page, &berlin()).contains("\nnote: bob: the agent's clock rules differ\n"));
    let person = pb::Participant {
        connected: true,
        calendar_problem: "bob.ics:7: no end".into(),
        participant_id: "bob".into(),
        ..Default::default()
    };
    let page = pb::ListParticipantsResponse { participants: vec![person], ..Default::default() };
    let text = participants(&page, &berlin());
    assert!(text.contains("degraded") && text.contains("\nnote: bob: bob.ics:7: no end\n"), "{text}");
}
