//! `quorate demo`: a scheduler and five people of an invented company, all real, over loopback.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::Channel;

use super::serve::{Scheduler, Settings, Storage};
use super::{AppError, telemetry};
use crate::agent::calendar::{Calendar, OUTPUT_SUFFIX};
use crate::agent::{self, AgentConfig, AgentHandle, ParticipantConfig};
use crate::cli::demo::DemoArgs;
use crate::cli::values::{duration, time_range};
use crate::cli::{render, series, zone::Zone};
use crate::core::availability::Disclosure;
use crate::wire::pb;
use crate::wire::pb::scheduler_service_client::SchedulerServiceClient;

/// The calendars, as in `examples/calendars`.
const CALENDARS: [(&str, &str); 5] = [
    ("alice", include_str!("../../examples/calendars/alice.ics")),
    ("bob", include_str!("../../examples/calendars/bob.ics")),
    ("carol", include_str!("../../examples/calendars/carol.ics")),
    ("dave", include_str!("../../examples/calendars/dave.ics")),
    ("erin", include_str!("../../examples/calendars/erin.ics")),
];
/// Who shares an agent host: one stream each.
const HOSTS: [&[&str]; 3] = [&["alice", "bob"], &["carol", "dave"], &["erin"]];
const ZONE: &str = "Europe/Berlin";
/// Longest wait for anything that has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

type Client = SchedulerServiceClient<Channel>;

/// Runs it from start to end, in a folder of its own.
pub async fn run(args: DemoArgs) -> Result<(), AppError> {
    telemetry::init("warn")?;
    let io = |what: &str| {
        let what = what.to_owned();
        move |source| AppError::Io { what, source }
    };
    let temporary = tempfile::tempdir().map_err(io("no folder for the demonstration"))?;
    let folder = args.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    for (name, text) in CALENDARS {
        let calendars = folder.join("calendars");
        std::fs::create_dir_all(&calendars).map_err(io("can't make the folder"))?;
        std::fs::write(calendars.join(format!("{name}.ics")), text).map_err(io("can't write a calendar"))?;
    }
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let scheduler = Scheduler::start(Settings::new(listen, Storage::Dir(folder.join("scheduler")))).await?;
    println!("A scheduler listens on {}, its database in a folder of its own.", scheduler.address());
    let mut agents = Vec::new();
    for host in HOSTS {
        agents.push(start_host(&scheduler, &folder, host).await?);
        println!("An agent host serves {} over one stream, from their own calendars.", host.join(" and "));
    }
    let told = tell_the_story(&scheduler).await;
    for agent in agents {
        agent.stop().await?;
    }
    scheduler.stop().await?;
    told?;
    print_calendars(&folder)?;
    match args.keep {
        Some(kept) => println!("\nKept in {}.", kept.display()),
        None => println!("\nScheduler and agents have stopped; their folder is removed."),
    }
    Ok(())
}

async fn start_host(scheduler: &Scheduler, folder: &Path, people: &[&str]) -> Result<AgentHandle, AppError> {
    let calendar = |name: &str| folder.join("calendars").join(format!("{name}.ics"));
    let participant = |name: &&str| ParticipantConfig {
        id: crate::core::ids::ParticipantId::new(name),
        display_name: None,
        calendar: calendar(name),
        zone: None,
        working_hours: None,
        disclosure: Disclosure::AskedSlotsOnly,
        tentative_blocks: true,
        reading: Default::default(),
        output: output_of(folder, name),
    };
    let handle = agent::start(AgentConfig {
        scheduler: scheduler.url(),
        participants: people.iter().map(participant).collect(),
        folder: None,
        data_dir: folder.join(format!("journal-{}", people.join("-"))),
    })
    .await?;
    match tokio::time::timeout(PATIENCE, handle.ready()).await {
        Ok(ready) => ready.map(|()| handle).map_err(AppError::from),
        Err(_) => Err(AppError::Demo(format!("{} did not register in time", people.join(" and ")))),
    }
}

fn output_of(folder: &Path, name: &str) -> PathBuf {
    folder.join("calendars").join(format!("{name}{OUTPUT_SUFFIX}"))
}

/// Books, conflicts, competes and fails; each step says what it shows, and is checked.
async fn tell_the_story(scheduler: &Scheduler) -> Result<(), AppError> {
    let transport = |error: tonic::transport::Error| AppError::Demo(error.to_string());
    let channel = tonic::transport::Endpoint::from_shared(scheduler.url()).map_err(transport)?;
    let mut client = SchedulerServiceClient::new(channel.connect().await.map_err(transport)?);
    let zone = Zone::named(ZONE).map_err(AppError::Demo)?;

    headline("A meeting of three, in two time zones: 30 minutes in the week of 7 December 2026");
    let first = book(&mut client, &zone, request("Roadmap", &["alice", "bob", "carol"], 30, 1)).await?;

    headline("The same people, the same week, once more: the slot is taken, so it becomes the next one");
    let second = book(&mut client, &zone, request("Pricing", &["alice", "bob", "carol"], 30, 1)).await?;
    check(first.slot != second.slot, "two meetings of the same people got the same slot")?;

    headline("Two meetings in one batch want dave's first hour with bob; the second has the higher priority");
    let batch =
        vec![request("Backlog", &["bob", "dave"], 60, 1), request("Outage review", &["bob", "dave"], 60, 9)];
    let outcomes = client.batch_schedule_meetings(pb::BatchScheduleMeetingsRequest { requests: batch }).await;
    let outcomes = outcomes.map_err(failed)?.into_inner().outcomes;
    let meetings: Vec<pb::Meeting> = outcomes.into_iter().filter_map(|outcome| outcome.meeting).collect();
    for meeting in &meetings {
        print!("{}", render::meeting(meeting, render::state_headline(meeting.state), &zone));
    }
    let starts: Vec<i64> = meetings.iter().filter_map(start_of).collect();
    check(starts.len() == 2 && starts[1] < starts[0], "the higher priority did not get the earlier slot")?;

    headline("All five, from Tokyo to New York, within Berlin's working hours: no slot, and why");
    let all = request("All hands", &["alice", "bob", "carol", "dave", "erin"], 30, 1);
    let failed_meeting = schedule(&mut client, all).await?;
    check(failed_meeting.failure.is_some(), "all five found a slot, which they can't have")?;
    print!("{}", render::meeting(&failed_meeting, render::state_headline(failed_meeting.state), &zone));

    headline("The first meeting is called off; everyone's calendar forgets it");
    let cancelled = pb::CancelMeetingRequest { meeting_id: first.meeting_id.clone(), etag: String::new() };
    let cancelled = client.cancel_meeting(cancelled).await.map_err(failed)?.into_inner().meeting;
    let cancelled = cancelled.ok_or_else(|| AppError::Demo("no answer to a cancel".into()))?;
    print!("{}", render::meeting(&cancelled, render::state_headline(cancelled.state), &zone));

    let mut booked: BTreeSet<String> =
        meetings.iter().chain([&second]).map(|meeting| meeting.meeting_id.clone()).collect();
    booked.extend(weekly(&mut client, &zone).await?);
    delivered(&mut client, booked).await
}

/// A weekly series over the change of clocks of 28 March 2027, with one Tuesday on which bob is taken.
async fn weekly(client: &mut Client, zone: &Zone) -> Result<Vec<String>, AppError> {
    use pb::occurrence::Outcome;
    headline(
        "Every Tuesday at 15:00, four times: the clocks go forward in between, and one of them is taken",
    );
    let at = |second| jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    // 15:00 in Berlin on Tuesday 2027-03-30 (UTC+2), and two weeks before (UTC+1).
    let (taken, first) = (at(1_806_411_600), at(1_805_205_600));
    let half = Duration::from_secs(30 * 60);
    let interview = pb::ScheduleMeetingRequest {
        slot: Some(time_range(taken, taken + half)),
        ..request("Interview", &["bob"], 30, 1)
    };
    let interview = book(client, zone, interview).await?;
    let asked = pb::ScheduleSeriesRequest {
        spec: request("Weekly", &["alice", "bob"], 30, 1).spec,
        first_slot: Some(time_range(first, first + half)),
        rrule: "FREQ=WEEKLY;COUNT=4".into(),
        conflict_policy: pb::ConflictPolicy::MoveWithin.into(),
        move_tolerance: Some(duration(Duration::from_secs(2 * 60 * 60))),
        ..Default::default()
    };
    let booked = client.schedule_series(asked).await.map_err(failed)?.into_inner().series.unwrap_or_default();
    print!("{}", series::text(&booked, series::headline(&booked), zone));
    let outcomes: Vec<Outcome> = booked.occurrences.iter().map(pb::Occurrence::outcome).collect();
    let wanted = [Outcome::Booked, Outcome::Booked, Outcome::Moved, Outcome::Booked];
    check(outcomes == wanted, "the series was not booked with one occurrence moved")?;
    let mut meetings: Vec<String> = booked.occurrences.into_iter().map(|o| o.meeting_id).collect();
    meetings.push(interview.meeting_id);
    Ok(meetings)
}

/// Waits until every agent has acknowledged these meetings.
async fn delivered(client: &mut Client, mut waiting: BTreeSet<String>) -> Result<(), AppError> {
    let watch = pb::WatchMeetingsRequest { resume_after: Some(0), ..Default::default() };
    let mut events = client.watch_meetings(watch).await.map_err(failed)?.into_inner();
    let all = async {
        while !waiting.is_empty() {
            let Some(message) = events.message().await.map_err(failed)? else {
                return Err(AppError::Demo("the events ended".into()));
            };
            let event = message.event.unwrap_or_default();
            if event.r#type() == pb::meeting_event::Type::Delivered {
                waiting.remove(&event.meeting.unwrap_or_default().meeting_id);
            }
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, all).await {
        Ok(done) => done,
        Err(_) => Err(AppError::Demo("not every agent acknowledged its bookings in time".into())),
    }
}

fn request(title: &str, people: &[&str], minutes: u64, priority: i32) -> pb::ScheduleMeetingRequest {
    let attendee = |id: &&str| pb::Attendee { participant_id: (*id).into(), ..Default::default() };
    let at = |second| jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    // Monday 2026-12-07 00:00 to Saturday 2026-12-12 00:00 in Berlin (UTC+1).
    let week = time_range(at(1_796_598_000), at(1_797_030_000));
    pb::ScheduleMeetingRequest {
        spec: Some(pb::MeetingSpec {
            title: title.into(),
            organizer: "alice".into(),
            attendees: people.iter().map(attendee).collect(),
            duration: Some(duration(Duration::from_secs(minutes * 60))),
            priority,
            window: Some(pb::Window {
                earliest: week.start_time,
                latest: week.end_time,
                time_zone: ZONE.into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn schedule(client: &mut Client, request: pb::ScheduleMeetingRequest) -> Result<pb::Meeting, AppError> {
    let answer = client.schedule_meeting(request).await.map_err(failed)?.into_inner();
    answer.meeting.ok_or_else(|| AppError::Demo("an answer without a meeting".into()))
}

async fn book(
    client: &mut Client,
    zone: &Zone,
    request: pb::ScheduleMeetingRequest,
) -> Result<pb::Meeting, AppError> {
    let meeting = schedule(client, request).await?;
    print!("{}", render::meeting(&meeting, render::state_headline(meeting.state), zone));
    check(meeting.state() == pb::meeting::State::Confirmed, "a meeting that has a slot was not booked")?;
    Ok(meeting)
}

/// What each person's own calendar says now: read back with the reader of any other calendar file.
fn print_calendars(folder: &Path) -> Result<(), AppError> {
    headline("What is now in everyone's own calendar");
    let week = jiff::civil::date(2026, 12, 7).to_zoned(jiff::tz::TimeZone::UTC);
    let week = week.map_err(|error| AppError::Demo(error.to_string()))?.timestamp();
    let start = crate::core::zones::from_jiff(week);
    // From that week to the last one of the series.
    let range = crate::core::time::TimeRange::lasting(start, Duration::from_secs(20 * 7 * 24 * 3600));
    for (name, calendar) in CALENDARS {
        let own = Calendar::parse(name, calendar).map_err(|error| AppError::Demo(error.to_string()))?;
        let zone = Zone::named(own.zone().unwrap_or("UTC")).map_err(AppError::Demo)?;
        let path = output_of(folder, name);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| AppError::Io { what: format!("can't read {}", path.display()), source })?;
        let booked =
            Calendar::parse_with_own(name, &text).map_err(|error| AppError::Demo(error.to_string()))?;
        let utc = jiff::tz::TimeZone::UTC;
        let busy = booked.busy(range, &utc).map_err(|error| AppError::Demo(error.to_string()))?;
        let title = |line: &str| line.strip_prefix("SUMMARY:").map(str::to_owned);
        // The title of a series is there once more for each exception.
        let mut titles: Vec<String> = text.lines().filter_map(title).collect();
        titles.sort_unstable();
        titles.dedup();
        println!("{name:<6} {:<17} {}", own.zone().unwrap_or("UTC"), titles.join(", "));
        for slot in busy.blocked(true) {
            let (start, end) =
                (crate::core::zones::to_jiff(slot.start), crate::core::zones::to_jiff(slot.end));
            println!("       {}", zone.show_range(start, end));
        }
        // How other calendar programs see a series: the first one, the rule, and its exceptions.
        let of_series = ["DTSTART;TZID=", "RRULE:", "EXDATE", "RECURRENCE-ID"];
        for line in text.lines().filter(|line| of_series.iter().any(|name| line.starts_with(name))) {
            println!("       {line}");
        }
    }
    Ok(())
}

fn start_of(meeting: &pb::Meeting) -> Option<i64> {
    Some(meeting.slot.as_ref()?.start_time.as_ref()?.seconds)
}

fn headline(text: &str) {
    println!("\n── {text}");
}

fn check(holds: bool, otherwise: &str) -> Result<(), AppError> {
    if holds { Ok(()) } else { Err(AppError::Demo(otherwise.into())) }
}

fn failed(status: tonic::Status) -> AppError {
    AppError::Demo(format!("{:?}: {}", status.code(), status.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_demonstration_runs_to_its_end_and_leaves_a_recurring_event() {
        let folder = tempfile::tempdir().unwrap();
        run(DemoArgs { keep: Some(folder.path().to_owned()) }).await.unwrap();
        let calendar = |name: &str| std::fs::read_to_string(output_of(folder.path(), name)).unwrap();
        for name in ["alice", "bob"] {
            let text = calendar(name);
            assert_eq!(text.matches("RRULE:FREQ=WEEKLY").count(), 1, "{text}");
            assert_eq!(text.matches("SUMMARY:Weekly").count(), 2, "the rule, and one that was moved: {text}");
            assert!(text.contains("RECURRENCE-ID;TZID=Europe/Berlin:20270330T150000\r\n"), "{text}");
        }
        assert!(!calendar("carol").contains("RRULE"));
        assert!(!calendar("alice").contains("Roadmap"), "it was called off");
    }
}
