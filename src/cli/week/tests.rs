use unicode_width::UnicodeWidthStr;

use super::*;

fn outcome(id: &str, zone: &str, attends: bool) -> pb::AttendeeOutcome {
    use pb::attendee_outcome::Status;
    let status = if attends { Status::Attending } else { Status::Busy };
    pb::AttendeeOutcome {
        participant_id: id.to_owned(),
        time_zone: zone.to_owned(),
        status: status as i32,
        ..Default::default()
    }
}

fn meeting(title: &str, start: &str, end: &str, state: pb::meeting::State) -> pb::Meeting {
    pb::Meeting {
        meeting_id: title.to_owned(),
        spec: Some(pb::MeetingSpec { title: title.to_owned(), ..Default::default() }),
        state: state as i32,
        slot: Some(values::time_range(start.parse().unwrap(), end.parse().unwrap())),
        attendees: vec![
            outcome("alice", "Europe/Berlin", true),
            outcome("bob", "America/New_York", true),
            outcome("carol", "", false),
        ],
        ..Default::default()
    }
}

fn view(people: &[&str]) -> View {
    use pb::meeting::State;
    let zone = Zone::named("Europe/Berlin").unwrap();
    View {
        week: Week::of("2026-03-29".parse().unwrap(), &zone).unwrap(),
        people: people.iter().map(|id| (*id).to_owned()).collect(),
        left_out: 0,
        meeting: None,
        meetings: vec![
            meeting("Review", "2026-03-24T09:00:00Z", "2026-03-24T10:00:00Z", State::Confirmed),
            meeting("Gone", "2026-03-25T09:00:00Z", "2026-03-25T10:00:00Z", State::Cancelled),
        ],
        own: Vec::new(),
        hours: (9 * 60, 12 * 60),
    }
}

#[test]
fn a_week_is_a_grid_and_a_list() {
    let mut alice = view(&["alice"]);
    alice.meeting = Some("Review".to_owned());
    let text = alice.text();
    let expected = "\
Week 2026-W13 of alice: 2026-03-23 to 2026-03-29, times in Europe/Berlin.
      │ Mon 23  │ Tue 24  │ Wed 25  │ Thu 26  │ Fri 27  │ Sat 28  │ Sun 29* │
──────┼─────────┼─────────┼─────────┼─────────┼─────────┼─────────┼─────────┤
09:00 │         │         │         │         │         │         │         │
      │         │         │         │         │         │         │         │
10:00 │         │▌Review  │         │         │         │         │         │
      │         │▌        │         │         │         │         │         │
11:00 │         │         │         │         │         │         │         │
      │         │         │         │         │         │         │         │
▌ booked by quorate
note: the clocks go forward from Sun 2026-03-29 02:00 to 03:00
note: Sun 2026-03-29 has 23 hours
Meetings:
* Tue 2026-03-24 10:00–11:00  Review  (confirmed)
      alice, bob (without carol)
      alice 10:00 Europe/Berlin, bob 05:00 America/New_York
  Wed 2026-03-25 10:00–11:00  Gone  (cancelled)
      alice, bob (without carol)
      alice 10:00 Europe/Berlin, bob 05:00 America/New_York
Only what quorate has booked: nobody's own events are shown by a scheduler.
";
    assert_eq!(text, expected);
    assert!(text.lines().all(|line| line.width() <= 80));
}

#[test]
fn who_was_asked_and_does_not_attend_has_the_time() {
    let carol = view(&["carol"]);
    let text = carol.text();
    assert!(!text.contains('▌'), "{text}");
    assert!(text.contains("Review  (confirmed)\n      alice, bob (without carol)"), "{text}");
    assert!(view(&["carol", "bob"]).text().contains("▌Review"));
}

#[test]
fn own_time_is_shown_and_what_is_not_known_of_it_is_said() {
    let at = |text: &str| text.parse().unwrap();
    let busy = |participant: &str, busy, zoneless| OwnTime {
        participant: participant.to_owned(),
        busy,
        zoneless,
        degraded: None,
    };
    let range = TimeRange::new(at("2026-03-26T08:00:00Z"), at("2026-03-26T09:00:00Z"));
    let mut one = view(&["alice"]);
    one.own = vec![busy("alice", Ok(vec![range]), false)];
    let text = one.text();
    assert!(text.contains("│░░░░░░░░░│") && text.contains("░ own events"), "{text}");
    assert!(!text.contains(ASIDE), "{text}");
    // What lies outside of the drawn hours, 09:00 to 12:00, is counted.
    assert!(!text.contains("not drawn"), "{text}");
    let early = TimeRange::new(at("2026-03-26T05:00:00Z"), at("2026-03-26T06:00:00Z"));
    let across = TimeRange::new(at("2026-03-27T10:30:00Z"), at("2026-03-27T13:00:00Z"));
    one.own = vec![busy("alice", Ok(vec![early, range, across]), false)];
    let words = "\nnote: own events at 1 time lie outside the hours that are drawn: --hours 0-24 shows all\n";
    assert!(one.text().contains(words), "{}", one.text());
    one.hours = (0, 24 * 60);
    assert!(!one.text().contains("are drawn"), "{}", one.text());
    let mut three = view(&["alice", "bob", "carol"]);
    three.left_out = 7;
    three.own = vec![
        busy("alice", Ok(vec![range]), false),
        busy("bob", Ok(vec![range]), true),
        busy("carol", Err("carol.ics:3: no".to_owned()), false),
    ];
    three.own[0].degraded = Some("alice.ics:7: two readings".to_owned());
    let text = three.text();
    assert!(text.contains("│░alice,b…│"), "{text}");
    assert!(
        text.contains("\nnote: the calendar of alice can't be read for certain: alice.ics:7: two readings\n"),
        "{text}"
    );
    assert!(text.contains("\nnote: own events of carol: unknown: carol.ics:3: no\n"), "{text}");
    assert!(text.contains("\nnote: the calendar of bob names no time zone"), "{text}");
    assert!(text.contains("\nnote: the first 3 attendees are shown; 7 more are not\n"), "{text}");
    let json = three.json();
    assert_eq!(json["ownTime"][0]["busy"][0]["startTime"], "2026-03-26T08:00:00Z");
    assert_eq!(json["ownTime"][2], json!({ "participantId": "carol", "problem": "carol.ics:3: no" }));
    assert_eq!((&json["week"], &json["timeZone"]), (&json!("2026-W13"), &json!("Europe/Berlin")));
    assert_eq!(json["days"][6]["length"], "82800s");
    assert_eq!(json["days"][6]["range"]["startTime"], "2026-03-28T23:00:00Z");
    assert_eq!(json["meetings"][0]["meetingId"], "Review");
    assert_eq!(json["participantsLeftOut"], 7);
}
