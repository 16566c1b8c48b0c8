//! `quorate schedule` and `quorate find`.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::client::{ClientArgs, tell};
use super::error::{CliError, Exit};
use super::json;
use super::parse;
use super::render;
use super::request::{PatienceArgs, Reader, SpecArgs, WindowArgs};
use super::values;
use super::zone::Asker;
use crate::wire::pb;

const SCHEDULE_EXAMPLES: &str = "\
Examples:
  quorate schedule --title \"Design review\" --with alice,bob --require carol --duration 45m \\
      --from tomorrow --until friday --hours 09:00-17:00
  quorate schedule --title Standup --with alice,bob --duration 15m --at \"2026-12-01 10:00\"
  quorate schedule --with alice,bob --duration 30m --json | jq -r .meeting.meetingId

Exits with 3 if no slot was found. All exit codes: quorate --help";

const FIND_EXAMPLES: &str = "\
Examples:
  quorate find --with alice,bob,carol --minimum 2 --duration 1h --objective most-attendees
  quorate find --with alice --duration 30m --from 2026-12-01 --until 2026-12-04 --days Tue,Thu

Exits with 3 if there is no slot. All exit codes: quorate --help";

/// Arguments of `quorate schedule`.
#[derive(Args, Clone, Debug)]
#[command(after_help = SCHEDULE_EXAMPLES)]
pub struct ScheduleArgs {
    /// How long the meeting lasts: 45m, 1h30m, PT1H
    #[arg(long, value_name = "LENGTH", required_unless_present = "at", value_parser = parse::meeting_length)]
    pub duration: Option<Duration>,
    /// Who and what.
    #[command(flatten)]
    pub spec: SpecArgs,
    /// Book exactly this slot: START (with --duration) or START/END
    #[arg(
        long,
        value_name = "TIME",
        help_heading = "When",
        conflicts_with_all = ["from", "until", "step", "days", "hours", "any_hours", "exclude"]
    )]
    pub at: Option<String>,
    /// When.
    #[command(flatten)]
    pub window: WindowArgs,
    /// How long to wait.
    #[command(flatten)]
    pub patience: PatienceArgs,
    /// How many slots to try. Default: 10
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = "How long to try"
    )]
    pub max_attempts: i32,
    /// How many slots to ask the attendees about at a time. Default: all
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = "How long to try"
    )]
    pub max_candidates_per_round: i32,
    /// A UUID of yours: asking again with it gives the first outcome instead of a second meeting
    #[arg(long, value_name = "UUID", help_heading = "How long to try")]
    pub request_id: Option<String>,
    /// Only check the request, and show how it is understood
    #[arg(long, help_heading = "How long to try")]
    pub validate_only: bool,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Arguments of `quorate find`.
#[derive(Args, Clone, Debug)]
#[command(after_help = FIND_EXAMPLES)]
pub struct FindArgs {
    /// How long the meeting lasts: 45m, 1h30m, PT1H
    #[arg(long, value_name = "LENGTH", value_parser = parse::meeting_length)]
    pub duration: Duration,
    /// Who and what.
    #[command(flatten)]
    pub spec: SpecArgs,
    /// When.
    #[command(flatten)]
    pub window: WindowArgs,
    /// How long to wait.
    #[command(flatten)]
    pub patience: PatienceArgs,
    /// How many slots to show. Default: 10
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub max_candidates: i32,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// The window that the options ask for. It names the asker's zone if they have one, so that working hours are
/// theirs; else the scheduler takes the organizer's.
fn window(args: &WindowArgs, asker: &Asker, reader: &mut Reader) -> Option<pb::Window> {
    let time_zone = if asker.chosen { asker.zone.name.clone() } else { String::new() };
    let window = args.over(pb::Window { time_zone, ..Default::default() }, reader);
    (window != pb::Window::default()).then_some(window)
}

/// The request that the options ask for. Problems are with the reader.
fn schedule_request(
    args: &ScheduleArgs,
    request_id: String,
    asker: &Asker,
    reader: &mut Reader,
) -> pb::ScheduleMeetingRequest {
    let slot = args.at.as_deref().and_then(|at| reader.slot(at, args.duration));
    let window = window(&args.window, asker, reader);
    pb::ScheduleMeetingRequest {
        request_id,
        spec: Some(args.spec.spec(args.duration, window)),
        slot,
        response_timeout: args.patience.response_timeout.map(values::duration),
        connect_timeout: args.patience.connect_timeout.map(values::duration),
        max_attempts: args.max_attempts,
        max_candidates_per_round: args.max_candidates_per_round,
        validate_only: args.validate_only,
    }
}

/// How a meeting that was asked for ends the command.
fn schedule_exit(state: i32) -> Exit {
    use pb::meeting::State;
    match State::try_from(state) {
        Ok(State::Failed | State::Cancelled) => Exit::NoSlot,
        Ok(State::Confirmed | State::Unspecified | State::Scheduling | State::Displaced) | Err(_) => {
            Exit::Done
        }
    }
}

/// Books a meeting and prints what became of it.
///
/// # Errors
/// As [`CliError`].
pub async fn schedule(args: &ScheduleArgs) -> Result<Exit, CliError> {
    let (asker, reference) = args.client.asker();
    // With an id of our own, whoever loses the answer can ask for it again.
    let request_id = args.request_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let now = reference.now;
    let mut reader = Reader::new(reference);
    let request = schedule_request(args, request_id.clone(), &asker, &mut reader);
    reader.finish()?.iter().for_each(|note| tell(&format!("note: {note}\n")));
    let session = args.client.connect().await?;
    let again = || {
        format!(
            "the scheduler may still book it; the same command with --request-id {request_id} gives the outcome"
        )
    };
    let answer = session
        .call(request, async |mut client, request| client.schedule_meeting(request).await)
        .await
        .map_err(|error| if args.validate_only { error } else { error.or_hint(again) })?;
    let meeting = answer.meeting.unwrap_or_default();
    let text = || {
        if args.validate_only {
            return render::meeting(&meeting, "The request is valid", &asker.zone)
                + &render::spec(&meeting, &asker.zone);
        }
        render::meeting(&meeting, render::state_headline(meeting.state), &asker.zone)
    };
    args.client.print(|| json::meeting_answer(Some(&meeting), None), text)?;
    if is_over(&meeting, now) {
        tell("note: that time is over\n");
    }
    Ok(schedule_exit(meeting.state))
}

/// Whether a meeting has a slot that has passed: what is asked for in the past is booked there, and may be mistyped.
fn is_over(meeting: &pb::Meeting, now: Timestamp) -> bool {
    let end = meeting.slot.as_ref().and_then(|slot| slot.end_time.as_ref());
    end.is_some_and(|end| end.seconds <= now.as_second())
}

/// The request that the options ask for. Problems are with the reader.
fn find_request(args: &FindArgs, asker: &Asker, reader: &mut Reader) -> pb::FindMeetingTimesRequest {
    let window = window(&args.window, asker, reader);
    pb::FindMeetingTimesRequest {
        spec: Some(args.spec.spec(Some(args.duration), window)),
        response_timeout: args.patience.response_timeout.map(values::duration),
        connect_timeout: args.patience.connect_timeout.map(values::duration),
        max_candidates: args.max_candidates,
    }
}

/// Shows the slots at which a meeting could take place.
///
/// # Errors
/// As [`CliError`].
pub async fn find(args: &FindArgs) -> Result<Exit, CliError> {
    let (asker, reference) = args.client.asker();
    let mut reader = Reader::new(reference);
    let request = find_request(args, &asker, &mut reader);
    reader.finish()?.iter().for_each(|note| tell(&format!("note: {note}\n")));
    let session = args.client.connect().await?;
    let answer =
        session.call(request, async |mut client, request| client.find_meeting_times(request).await).await?;
    args.client.print(|| json::candidates(&answer), || render::candidates(&answer, &asker.zone))?;
    Ok(if answer.candidates.is_empty() { Exit::NoSlot } else { Exit::Done })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::when::Reference;
    use super::super::zone::Zone;
    use super::*;

    #[derive(Parser)]
    struct Schedule {
        #[command(flatten)]
        args: ScheduleArgs,
    }

    fn asker(chosen: bool) -> Asker {
        Asker { zone: Zone::named("Europe/Berlin").unwrap(), chosen, note: None }
    }

    fn request(options: &[&str]) -> Result<pb::ScheduleMeetingRequest, String> {
        let words = std::iter::once(&"schedule").chain(options);
        let args = Schedule::try_parse_from(words).map_err(|error| error.to_string())?.args;
        let now = "2026-12-01T09:20:00Z".parse().unwrap();
        let mut reader = Reader::new(Reference { now, zone: asker(true).zone });
        let request = schedule_request(&args, "id".to_owned(), &asker(true), &mut reader);
        reader.finish().map(|_| request).map_err(|error| error.text())
    }

    #[test]
    fn options_become_a_request() {
        let request = request(&[
            "--title=Review",
            "--with=alice,bob",
            "--require=carol",
            "--duration=1h30m",
            "--from=tomorrow",
            "--zone=asia/tokyo",
            "--max-attempts=3",
            "--max-candidates-per-round=1",
            "--response-timeout=500ms",
        ])
        .unwrap();
        let spec = request.spec.unwrap();
        assert_eq!(spec.attendees.len(), 3);
        assert_eq!(spec.duration.unwrap().seconds, 5400);
        assert_eq!(spec.window.unwrap().time_zone, "Asia/Tokyo");
        assert_eq!((request.max_attempts, request.max_candidates_per_round), (3, 1));
        assert_eq!(request.response_timeout.unwrap().nanos, 500_000_000);
        assert_eq!(request.slot, None);
    }

    #[test]
    fn a_named_slot_excludes_a_window() {
        let named = request(&["--at=2026-12-02 10:00", "--duration=30m"]).unwrap();
        assert_eq!(
            values::instant(named.slot.unwrap().end_time.as_ref()).unwrap().to_string(),
            "2026-12-02T09:30:00Z"
        );
        assert!(request(&["--at=2026-12-02 10:00/11:00"]).unwrap().spec.unwrap().duration.is_none());
        assert!(request(&["--at=2026-12-02 10:00"]).unwrap_err().contains("--duration: needed"));
        assert!(request(&["--at=today", "--from=today"]).unwrap_err().contains("cannot be used with"));
        assert!(request(&[]).unwrap_err().contains("--duration"));
    }

    #[test]
    fn a_length_that_no_meeting_has_is_told_with_the_bounds() {
        for (typed, why) in [
            ("-5m", "must be positive: a meeting lasts from 1 min to 7 days"),
            ("0m", "must be positive: a meeting lasts from 1 min to 7 days"),
            ("59s", "is too short: a meeting lasts from 1 min to 7 days"),
            ("169h", "is too long: a meeting lasts from 1 min to 7 days"),
            ("999999999h", "is too long: a meeting lasts from 1 min to 7 days"),
            ("99999999999999999999h", "is too long: a meeting lasts from 1 min to 7 days"),
            ("30", "a length needs a unit, such as 30m"),
            ("soon", "expected a length such as 45m"),
        ] {
            let error = request(&[&format!("--duration={typed}")]).unwrap_err();
            let expected = format!("invalid value '{typed}' for '--duration <LENGTH>': {why}");
            assert!(error.contains(&expected), "{error}");
        }
        for (typed, seconds) in [("1m", 60), ("7d", 7 * 86_400)] {
            let taken = request(&[&format!("--duration={typed}")]).unwrap().spec.unwrap().duration.unwrap();
            assert_eq!(taken.seconds, seconds);
        }
        let buffer = request(&["--duration=30m", "--buffer-after=-5m"]).unwrap_err();
        assert!(buffer.contains("a length can't be negative"), "{buffer}");
    }

    #[test]
    fn bad_times_name_their_option() {
        let error = request(&["--duration=30m", "--from=2024-02-30", "--until=never"]).unwrap_err();
        assert!(
            error.contains("invalid value '2024-02-30' for '--from': February 2024 has 29 days"),
            "{error}"
        );
        assert!(error.contains("'--until'"), "{error}");
    }

    #[test]
    fn a_zone_that_nobody_chose_is_left_to_the_scheduler() {
        let reader = || Reader::new(Reference { now: jiff::Timestamp::UNIX_EPOCH, zone: Zone::utc() });
        let none = WindowArgs::default();
        assert_eq!(window(&none, &asker(false), &mut reader()), None);
        assert_eq!(window(&none, &asker(true), &mut reader()).unwrap().time_zone, "Europe/Berlin");
    }

    #[test]
    fn only_a_booked_meeting_is_a_success() {
        use pb::meeting::State;
        assert_eq!(schedule_exit(State::Confirmed as i32), Exit::Done);
        assert_eq!(schedule_exit(State::Unspecified as i32), Exit::Done);
        assert_eq!(schedule_exit(State::Failed as i32), Exit::NoSlot);
        assert_eq!(schedule_exit(State::Cancelled as i32), Exit::NoSlot);
    }

    #[test]
    fn a_slot_that_has_passed_is_told() {
        let ends = |seconds| pb::Meeting {
            slot: Some(pb::TimeRange {
                start_time: None,
                end_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            }),
            ..Default::default()
        };
        let now = Timestamp::from_second(1_000).unwrap();
        assert!(is_over(&ends(1_000), now) && !is_over(&ends(1_001), now));
        assert!(!is_over(&pb::Meeting::default(), now));
    }
}
