use super::*;
use crate::wire::pb::meeting_event::Type;

fn meeting(id: &str, title: &str) -> pb::Meeting {
    let at = |text: &str| Some(values::timestamp(text.parse().unwrap()));
    pb::Meeting {
        meeting_id: id.to_owned(),
        spec: Some(pb::MeetingSpec { title: title.to_owned(), ..Default::default() }),
        state: pb::meeting::State::Confirmed as i32,
        slot: Some(pb::TimeRange {
            start_time: at("2026-12-01T09:00:00Z"),
            end_time: at("2026-12-01T09:30:00Z"),
        }),
        attendees: vec![pb::AttendeeOutcome {
            participant_id: "alice".to_owned(),
            status: pb::attendee_outcome::Status::Attending as i32,
            ..Default::default()
        }],
        update_time: at("2026-11-30T08:00:00Z"),
        ..Default::default()
    }
}

fn event(kind: Type, meeting: pb::Meeting) -> pb::MeetingEvent {
    let at = values::timestamp("2026-11-30T08:00:05Z".parse().unwrap());
    pb::MeetingEvent {
        r#type: kind as i32,
        event_time: Some(at),
        meeting: Some(meeting),
        ..Default::default()
    }
}

fn person(id: &str, connected: bool) -> pb::Participant {
    pb::Participant { participant_id: id.to_owned(), connected, ..Default::default() }
}

fn shown(board: &Board, lines: usize) -> Vec<String> {
    let now = "2026-11-30T08:00:07Z".parse().unwrap();
    board.show(lines, "http://127.0.0.1:50051", now, &Zone::named("Europe/Berlin").unwrap())
}

#[test]
fn the_board_has_who_is_there_and_each_meeting_once() {
    let mut board = Board::default();
    assert_eq!(shown(&board, 24)[3], "No meetings yet.");
    board.person(person("alice", true));
    board.person(person("bob", true));
    board.person(person("bob", false));
    board.listed(meeting("a", "Review"));
    let mut failed = meeting("b", "Plan");
    (failed.slot, failed.attendees) = (None, Vec::new());
    failed.failure =
        Some(pb::Failure { reason: pb::failure::Reason::NoCommonSlot as i32, ..Default::default() });
    board.event(event(Type::Failed, failed));
    board.event(event(Type::Rescheduled, meeting("a", "Re\u{1b}[2Jview")));
    assert_eq!(
        shown(&board, 24),
        [
            "quorate at http://127.0.0.1:50051   2026-11-30 09:00:07  Europe/Berlin",
            "2 participants, 1 connected; away: bob",
            "",
            "  CHANGED               WHAT                     WHEN                         TITLE        WHO",
            " ────────────────────────────────────────────────────────────────────────────────────────────────",
            "  2026-11-30 09:00:05   rescheduled              Tue 2026-12-01 10:00–10:30   Re\u{fffd}[2Jview   alice",
            "  2026-11-30 09:00:05   failed: no common slot                                Plan",
            "Since this began: 1 failed, 1 rescheduled.  Ctrl-C ends.",
        ]
    );
}

#[test]
fn a_small_terminal_shows_what_it_has_room_for() {
    let mut board = Board::default();
    for n in 0..KEPT + 10 {
        board.event(event(Type::Confirmed, meeting(&n.to_string(), &format!("m{n}"))));
    }
    assert_eq!(board.meetings.len(), KEPT);
    for lines in 1..40 {
        let text = shown(&board, lines);
        assert!(text.len() <= lines, "{lines}: {text:?}");
        assert!(text.last().unwrap().starts_with("Since this began: 510 confirmed"), "{lines}: {text:?}");
    }
    assert!(shown(&board, 10)[5].contains("m509"));
}
