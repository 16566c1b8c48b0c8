use clap::Parser;

use super::super::when::Reference;
use super::super::zone::Zone;
use super::*;

#[derive(Parser)]
struct Schedule {
    #[command(flatten)]
    args: ScheduleArgs,
}

fn request(options: &[&str]) -> Result<pb::ScheduleSeriesRequest, String> {
    let words = std::iter::once(&"schedule").chain(options);
    let args = Schedule::try_parse_from(words).map_err(|error| error.to_string())?.args;
    let zone = Zone::named("Europe/Berlin").unwrap();
    let asker = Asker { zone: zone.clone(), chosen: true, note: None };
    let now = "2026-12-01T09:20:00Z".parse().unwrap();
    let mut reader = Reader::new(Reference { now, zone });
    let request = schedule_request(&args, "id".to_owned(), &asker, &mut reader);
    reader.finish().map(|_| request).map_err(|error| error.text())
}

#[test]
fn options_become_a_request() {
    let weekly = request(&["--every=week", "--last=2026-12-31", "--at=2026-12-08 09:00", "--duration=30m"]);
    let weekly = weekly.unwrap();
    assert_eq!((weekly.frequency, weekly.end_date.as_str(), weekly.rrule.as_str()), (2, "2026-12-31", ""));
    let start = values::instant(weekly.first_slot.unwrap().start_time.as_ref()).unwrap();
    assert_eq!(start.to_string(), "2026-12-08T08:00:00Z");
    assert_eq!(weekly.spec.unwrap().window.unwrap().time_zone, "Europe/Berlin");
    assert_eq!((weekly.conflict_policy, weekly.move_tolerance), (1, None));
    let moved = request(&["--rrule=FREQ=DAILY", "--duration=30m", "--on-conflict=move"]).unwrap();
    assert_eq!((moved.conflict_policy, moved.move_tolerance.unwrap().seconds), (3, 7_200));
}

#[test]
fn a_pattern_is_needed_and_only_one() {
    assert!(request(&["--duration=30m"]).unwrap_err().contains("--every"));
    let both = request(&["--duration=30m", "--every=day", "--rrule=FREQ=DAILY"]).unwrap_err();
    assert!(both.contains("cannot be used with"), "{both}");
    assert!(request(&["--every=week"]).unwrap_err().contains("--duration"));
}

#[test]
fn what_happens_with_conflicts() {
    let policy = |options: &[&str]| {
        let all: Vec<&str> = ["--every=week", "--duration=30m"].iter().chain(options).copied().collect();
        request(&all).map(|asked| (asked.conflict_policy, asked.move_tolerance.map(|t| t.seconds)))
    };
    assert_eq!(policy(&[]), Ok((1, None)));
    assert_eq!(policy(&["--on-conflict=skip"]), Ok((2, None)));
    assert_eq!(policy(&["--on-conflict=move"]), Ok((3, Some(7_200))));
    assert_eq!(policy(&["--move-within=1h"]), Ok((3, Some(3_600))));
    let both = policy(&["--on-conflict=skip", "--move-within=1h"]).unwrap_err();
    assert!(both.contains("--move-within: only goes with --on-conflict move"), "{both}");
}

#[test]
fn dates_are_read_like_everywhere() {
    let asked = request(&[
        "--every=week",
        "--duration=30m",
        "--last=2027-6-1",
        "--except=tomorrow,2026-12-25",
        "--except=fri",
        "--max-attempts=3",
    ]);
    let asked = asked.unwrap();
    assert_eq!(asked.end_date, "2027-06-01");
    assert_eq!(asked.exclude_dates, ["2026-12-02", "2026-12-25", "2026-12-04"]);
    assert_eq!(asked.max_attempts, 3);
    let bad = request(&["--every=week", "--duration=30m", "--last=2027-02-29", "--except=soon,never"]);
    let bad = bad.unwrap_err();
    assert!(bad.contains("'2027-02-29' for '--last': February 2027 has 28 days"), "{bad}");
    assert_eq!(bad.matches("for '--except'").count(), 2, "{bad}");
    assert!(request(&["--rrule=FREQ=DAILY", "--duration=1h", "--last=2027-01-01"]).is_err());
}

fn reader() -> Reader {
    let now = "2026-12-01T09:20:00Z".parse().unwrap();
    Reader::new(Reference { now, zone: Zone::named("Europe/Berlin").unwrap() })
}

#[derive(Parser)]
struct Move {
    #[command(flatten)]
    args: MoveArgs,
}

#[test]
fn a_move_keeps_the_length_that_it_does_not_name() {
    let moved = |options: &[&str]| Move::try_parse_from(["move", "s"].iter().chain(options)).unwrap().args;
    let seconds = |args: &MoveArgs, length| {
        let request = args.request(length, &mut reader());
        let (start, end) = values::range(request.slot.as_ref()).unwrap();
        end.duration_since(start).as_secs()
    };
    let start = moved(&["--at=2027-04-13 16:00", "--from=2027-04-01"]);
    assert!(start.lacks_length());
    assert_eq!(seconds(&start, Some(Duration::from_secs(2_700))), 2_700);
    let from = start.request(None, &mut reader()).from;
    assert_eq!(values::instant(from.as_ref()).unwrap().to_string(), "2027-03-31T22:00:00Z");
    for named in [&["--at=2027-04-13 16:00/17:00"][..], &["--at=2027-04-13 16:00", "--duration=1h"]] {
        let named = moved(named);
        assert!(!named.lacks_length());
        assert_eq!(seconds(&named, None), 3_600);
    }
}

#[derive(Parser)]
struct Update {
    #[command(flatten)]
    args: UpdateArgs,
}

#[test]
fn attendees_are_added_to_those_that_the_series_has() {
    let updated = |options: &[&str]| Update::try_parse_from(["update", "s"].iter().chain(options));
    let attendee = |id: &str| pb::Attendee { participant_id: id.to_owned(), role: 2 };
    let spec = pb::MeetingSpec { attendees: vec![attendee("alice"), attendee("bob")], ..Default::default() };
    let series = pb::Series { spec: Some(spec), etag: "seen".to_owned(), ..Default::default() };
    let args = updated(&["--with=erin", "--remove=bob", "--from=2027-04-01"]).unwrap().args;
    let request = args.request(Some(&series), &mut reader()).unwrap();
    let attendees = request.spec.unwrap().attendees;
    let names: Vec<&str> = attendees.iter().map(|a| a.participant_id.as_str()).collect();
    assert_eq!((names, request.etag.as_str()), (vec!["alice", "erin"], "seen"));
    assert_eq!(request.update_mask.unwrap().paths, ["attendees"]);
    assert!(request.from.is_some());
    let wrong = updated(&["--remove=zoe"]).unwrap().args.request(Some(&series), &mut reader());
    assert!(wrong.unwrap_err().text().contains("invalid value 'zoe' for '--remove'"));
    let title = updated(&["--title=New"]).unwrap().args;
    assert!(!title.change.changes_attendees());
    assert_eq!(title.request(None, &mut reader()).unwrap().update_mask.unwrap().paths, ["title"]);
    assert!(updated(&[]).is_err(), "nothing to change");
}
