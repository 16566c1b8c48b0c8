//! `quorate series`: recurring meetings.

mod list;
mod text;

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use tonic::Code;

use super::change::{ChangeArgs, UPDATE_TRIES};
use super::client::{ClientArgs, Session, tell};
use super::error::{CliError, Exit};
use super::json;
use super::parse;
use super::render;
use super::request::{PatienceArgs, Reader, SpecArgs, WindowArgs};
use super::values;
use super::when::{self, DayEdge};
use super::zone::Asker;
use crate::wire::pb;

pub use text::{headline, text};

const EXAMPLES: &str = "\
Examples:
  quorate series schedule --title Weekly --with alice,bob --duration 30m --at \"tuesday 09:00\" --every week \\
      --last 2026-12-31
  quorate series schedule --with alice,bob --duration 1h --from monday --until friday \\
      --rrule \"FREQ=MONTHLY;BYDAY=1TU;COUNT=6\" --on-conflict move --move-within 2h
  quorate series move 0190c2a4-8f7e-7cc3-98c4-dc0c0c07398f --from 2026-12-01 --at \"2026-12-01 16:00\"
  quorate series update 0190c2a4-8f7e-7cc3-98c4-dc0c0c07398f --from 2026-12-01 --with erin --remove bob
  quorate series cancel 0190c2a4-8f7e-7cc3-98c4-dc0c0c07398f --from 2026-12-01

Occurrences are meetings: quorate get, reschedule, cancel and update change a single one.
Exits with 3 if nothing could be booked or moved, or an added attendee is not free at some of the occurrences: these then
stand as before. All exit codes: quorate --help";

/// How far `--on-conflict move` moves an occurrence unless it is said.
const NEARBY: Duration = Duration::from_secs(2 * 60 * 60);

/// Arguments of `quorate series`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SeriesArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SeriesCommand,
}

/// The commands for series.
#[derive(Subcommand, Clone, Debug)]
pub enum SeriesCommand {
    /// Book a recurring meeting: find a time that suits all occurrences, or take the one named
    Schedule(Box<ScheduleArgs>),
    /// Show a series with all its occurrences
    #[command(visible_alias = "show")]
    Get(GetArgs),
    /// List series, without their occurrences
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Call a series off, or the rest of it
    Cancel(CancelArgs),
    /// Move a series, or the rest of it: all of these occurrences or none. Those that were moved by themselves go along, and
    /// say where they were
    Move(MoveArgs),
    /// Change the title or the attendees of a series, or of the rest of it
    Update(UpdateArgs),
}

impl SeriesCommand {
    fn client(&self) -> &ClientArgs {
        match self {
            Self::Schedule(args) => &args.client,
            Self::Get(args) => &args.client,
            Self::List(args) => &args.client,
            Self::Cancel(args) => &args.client,
            Self::Move(args) => &args.client,
            Self::Update(args) => &args.client,
        }
    }

    /// Whether the answer is JSON.
    pub fn json(&self) -> bool {
        self.client().json
    }
}

/// How often, plainly.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum EveryArg {
    /// Every day
    Day,
    /// Every week, on the weekday of the first one
    Week,
    /// Every month, on the day of the first one; months without it are skipped
    Month,
}

/// What happens with occurrences that can't be had.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConflictArg {
    /// Then nothing is booked: all occurrences or none
    Fail,
    /// They are left out
    Skip,
    /// They are booked nearby, see --move-within
    Move,
}

/// Arguments of `quorate series schedule`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("pattern").required(true).args(["every", "rrule"]))]
pub struct ScheduleArgs {
    /// How long an occurrence lasts: 45m, 1h30m, PT1H
    #[arg(long, value_name = "LENGTH", required_unless_present = "at", value_parser = parse::meeting_length)]
    pub duration: Option<Duration>,
    /// Who and what.
    #[command(flatten)]
    pub spec: SpecArgs,
    /// How often
    #[arg(long, value_enum, help_heading = "How often")]
    pub every: Option<EveryArg>,
    /// With --every: the last day, such as 2026-12-31. Default: it has no end
    #[arg(long, value_name = "DATE", conflicts_with = "rrule", help_heading = "How often")]
    pub last: Option<String>,
    /// An RFC 5545 rule, such as "FREQ=WEEKLY;BYDAY=TU,TH;COUNT=10". Without UNTIL or COUNT it has no end;
    /// a date as UNTIL is the last day
    #[arg(long, value_name = "RULE", help_heading = "How often")]
    pub rrule: Option<String>,
    /// Dates without an occurrence, such as 2026-12-25
    #[arg(long, value_name = "DATES", value_delimiter = ',', help_heading = "How often")]
    pub except: Vec<String>,
    /// What happens with occurrences that can't be had. Default: fail
    #[arg(long, value_enum, help_heading = "How often")]
    pub on_conflict: Option<ConflictArg>,
    /// How far --on-conflict move, which this option implies, may move them, either way. Default: 2h
    #[arg(long, value_name = "LENGTH", value_parser = parse::positive_length, help_heading = "How often")]
    pub move_within: Option<Duration>,
    /// Exactly this first occurrence: START (with --duration) or START/END
    #[arg(
        long,
        value_name = "TIME",
        help_heading = "When",
        conflicts_with_all = ["from", "until", "step", "days", "hours", "any_hours"]
    )]
    pub at: Option<String>,
    /// Where the first occurrence may lie; all others follow from it.
    #[command(flatten)]
    pub window: WindowArgs,
    /// How long to wait.
    #[command(flatten)]
    pub patience: PatienceArgs,
    /// How many first occurrences to try. Default: 10
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = "How long to try"
    )]
    pub max_attempts: i32,
    /// A UUID of yours: asking again with it gives the first outcome instead of a second series
    #[arg(long, value_name = "UUID", help_heading = "How long to try")]
    pub request_id: Option<String>,
    /// Only check the request, and show its occurrences
    #[arg(long, help_heading = "How long to try")]
    pub validate_only: bool,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Arguments of `quorate series get`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct GetArgs {
    /// The series' id
    #[arg(value_name = "SERIES")]
    pub series: String,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Arguments of `quorate series cancel`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CancelArgs {
    /// The series' id
    #[arg(value_name = "SERIES")]
    pub series: String,
    /// Only meetings that take place from this time on. Default: all of them
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Only if the series still has this etag
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    pub etag: String,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Arguments of `quorate series move`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct MoveArgs {
    /// The series' id
    #[arg(value_name = "SERIES")]
    pub series: String,
    /// Where the first of these occurrences goes: START or START/END; the others move along in local time
    #[arg(long, value_name = "TIME")]
    pub at: String,
    /// A new length, such as 45m. Default: as it is
    #[arg(long, value_name = "LENGTH", value_parser = parse::meeting_length)]
    pub duration: Option<Duration>,
    /// Only meetings that take place from this time on. Default: those still to come, not one that has begun
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Only if the series still has this etag
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    pub etag: String,
    /// How long to wait for the attendees' answers. Default: 2s
    #[arg(long, value_name = "LENGTH", value_parser = parse::length)]
    pub response_timeout: Option<Duration>,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Arguments of `quorate series update`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct UpdateArgs {
    /// The series' id
    #[arg(value_name = "SERIES")]
    pub series: String,
    /// What changes. Who attends starts from the list that the series has now.
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Only meetings that take place from this time on. Default: those still to come, not one that has begun
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Only if the series still has this etag
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    pub etag: String,
    /// How long to wait for the answers of attendees who are added. Default: 2s
    #[arg(long, value_name = "LENGTH", value_parser = parse::length)]
    pub response_timeout: Option<Duration>,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Runs a command on series.
///
/// # Errors
/// As [`CliError`].
pub async fn series(args: &SeriesArgs) -> Result<Exit, CliError> {
    match &args.command {
        SeriesCommand::Schedule(args) => schedule(args).await,
        SeriesCommand::Get(args) => get(args).await,
        SeriesCommand::List(args) => list::list(args).await,
        SeriesCommand::Cancel(args) => cancel(args).await,
        SeriesCommand::Move(args) => reschedule(args).await,
        SeriesCommand::Update(args) => update(args).await,
    }
}

/// The request that the options ask for. Problems are with the reader.
fn schedule_request(
    args: &ScheduleArgs,
    request_id: String,
    asker: &Asker,
    reader: &mut Reader,
) -> pb::ScheduleSeriesRequest {
    use pb::schedule_series_request::Frequency;
    let first_slot = args.at.as_deref().and_then(|at| reader.slot_of_series(at, args.duration));
    let time_zone = if asker.chosen { asker.zone.name.clone() } else { String::new() };
    let window = args.window.over(pb::Window { time_zone, ..Default::default() }, reader);
    let frequency = args.every.map_or(Frequency::Unspecified, |every| match every {
        EveryArg::Day => Frequency::Daily,
        EveryArg::Week => Frequency::Weekly,
        EveryArg::Month => Frequency::Monthly,
    });
    let (policy, tolerance) = match (args.on_conflict, args.move_within) {
        (None | Some(ConflictArg::Fail), None) => (pb::ConflictPolicy::FailSeries, None),
        (Some(ConflictArg::Skip), None) => (pb::ConflictPolicy::Skip, None),
        (Some(ConflictArg::Move), within) => (pb::ConflictPolicy::MoveWithin, within.or(Some(NEARBY))),
        (None, within @ Some(_)) => (pb::ConflictPolicy::MoveWithin, within),
        (Some(ConflictArg::Fail | ConflictArg::Skip), Some(_)) => {
            reader.problem("--move-within", "", "only goes with --on-conflict move");
            (pb::ConflictPolicy::Unspecified, None)
        }
    };
    let end_date = args.last.as_deref().and_then(|last| reader.date("--last", last));
    let exclude_dates = args.except.iter().filter_map(|date| reader.date("--except", date)).collect();
    pb::ScheduleSeriesRequest {
        request_id,
        spec: Some(args.spec.spec(args.duration, Some(window))),
        first_slot,
        rrule: args.rrule.clone().unwrap_or_default(),
        frequency: frequency.into(),
        end_date: end_date.unwrap_or_default(),
        exclude_dates,
        conflict_policy: policy.into(),
        move_tolerance: tolerance.map(values::duration),
        response_timeout: args.patience.response_timeout.map(values::duration),
        connect_timeout: args.patience.connect_timeout.map(values::duration),
        max_attempts: args.max_attempts,
        validate_only: args.validate_only,
    }
}

async fn schedule(args: &ScheduleArgs) -> Result<Exit, CliError> {
    let (asker, reference) = args.client.asker();
    // With an id of our own, whoever loses the answer can ask for it again.
    let request_id = args.request_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
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
        .call(request, async |mut client, request| client.schedule_series(request).await)
        .await
        .map_err(|error| if args.validate_only { error } else { error.or_hint(again) })?;
    let series = answer.series.unwrap_or_default();
    let exit = if series.state() == pb::series::State::Failed { Exit::NoSlot } else { Exit::Done };
    args.client.print(|| json::series(&series), || text(&series, headline(&series), &asker.zone))?;
    Ok(exit)
}

async fn read(session: &Session, series_id: &str) -> Result<pb::Series, CliError> {
    let request = pb::GetSeriesRequest { series_id: series_id.to_owned() };
    let answer = session.call(request, async |mut client, request| client.get_series(request).await).await?;
    Ok(answer.series.unwrap_or_default())
}

async fn get(args: &GetArgs) -> Result<Exit, CliError> {
    let (asker, _) = args.client.asker();
    let series = read(&args.client.connect().await?, &args.series).await?;
    args.client.print(|| json::series(&series), || text(&series, headline(&series), &asker.zone))?;
    Ok(Exit::Done)
}

/// From which occurrence on, if it is not all of them. Problems are with the reader.
fn from(text: Option<&String>, reader: &mut Reader) -> Option<prost_types::Timestamp> {
    let at = reader.instant("--from", text?, DayEdge::Start)?;
    Some(values::timestamp(at))
}

async fn cancel(args: &CancelArgs) -> Result<Exit, CliError> {
    let (asker, reference) = args.client.asker();
    let mut reader = Reader::new(reference);
    let from = from(args.from.as_ref(), &mut reader);
    reader.finish()?.iter().for_each(|note| tell(&format!("note: {note}\n")));
    let request = pb::CancelSeriesRequest { series_id: args.series.clone(), etag: args.etag.clone(), from };
    let session = args.client.connect().await?;
    let again = || "asked again, it goes on where it was interrupted".to_owned();
    let answer = session
        .call(request, async |mut client, request| client.cancel_series(request).await)
        .await
        .map_err(|error| error.or_hint(again))?;
    let series = answer.series.clone().unwrap_or_default();
    let done = match (answer.failures.len(), series.state()) {
        (0, pb::series::State::Cancelled) => "Cancelled".to_owned(),
        (0, _) => "Cut short".to_owned(),
        (stand, _) => format!("Not cancelled, {stand} occurrences stand: ask again"),
    };
    let stand = || text::stand(&answer.failures, &series, &asker.zone);
    let json = || json::changed_series(&series, &answer.failures);
    args.client.print(json, || text(&series, &done, &asker.zone) + &stand())?;
    Ok(if answer.failures.is_empty() { Exit::Done } else { Exit::NoSlot })
}

impl MoveArgs {
    /// The request. `length` is that of the series, for a start without an end. Problems are with the reader.
    fn request(&self, length: Option<Duration>, reader: &mut Reader) -> pb::RescheduleSeriesRequest {
        pb::RescheduleSeriesRequest {
            series_id: self.series.clone(),
            etag: self.etag.clone(),
            from: from(self.from.as_ref(), reader),
            slot: reader.slot_of_series(&self.at, self.duration.or(length)),
            response_timeout: self.response_timeout.map(values::duration),
        }
    }

    /// Whether the request depends on how long the series' occurrences are.
    fn lacks_length(&self) -> bool {
        self.duration.is_none() && !when::is_range(&self.at)
    }
}

async fn reschedule(args: &MoveArgs) -> Result<Exit, CliError> {
    let (asker, reference) = args.client.asker();
    let mut reader = Reader::new(reference);
    // What is wrong with the options themselves is told before anything is asked of the scheduler.
    let mut trial = reader.clone();
    args.request(Some(NEARBY), &mut trial);
    trial.finish()?;
    let session = args.client.connect().await?;
    let length = match args.lacks_length() {
        true => read(&session, &args.series).await?.spec.unwrap_or_default().duration,
        false => None,
    };
    let request = args.request(length.as_ref().map(values::length), &mut reader);
    reader.finish()?.iter().for_each(|note| tell(&format!("note: {note}\n")));
    let look = || format!("it may have been moved: `quorate series get {}` tells", args.series);
    let answer = session
        .call(request, async |mut client, request| client.reschedule_series(request).await)
        .await
        .map_err(|error| error.or_hint(look))?;
    let words = || {
        let series = answer.series.clone().unwrap_or_default();
        match &answer.failure {
            None => text(&series, "Moved", &asker.zone),
            Some(why) => {
                text(&series, "Not moved, stands as before", &asker.zone) + &render::failure(why, &asker.zone)
            }
        }
    };
    args.client.print(|| json::moved_series(&answer), words)?;
    Ok(if answer.failure.is_none() { Exit::Done } else { Exit::NoSlot })
}

impl UpdateArgs {
    /// The request. `present` is the series, where the attendees change. Problems are with the reader.
    ///
    /// # Errors
    /// As [`ChangeArgs::over`].
    fn request(
        &self,
        present: Option<&pb::Series>,
        reader: &mut Reader,
    ) -> Result<pb::UpdateSeriesRequest, CliError> {
        let known = present.map(|present| present.spec.clone().unwrap_or_default());
        let (spec, mask) = self.change.over(known.as_ref())?;
        // The new list was made from this state: it must not undo what somebody else changed since.
        let etag = match present {
            Some(present) if self.etag.is_empty() => present.etag.clone(),
            _ => self.etag.clone(),
        };
        Ok(pb::UpdateSeriesRequest {
            series_id: self.series.clone(),
            etag,
            from: from(self.from.as_ref(), reader),
            spec: Some(spec),
            update_mask: Some(mask),
            response_timeout: self.response_timeout.map(values::duration),
        })
    }
}

async fn update(args: &UpdateArgs) -> Result<Exit, CliError> {
    let (asker, reference) = args.client.asker();
    let reader = Reader::new(reference);
    let mut trial = reader.clone();
    from(args.from.as_ref(), &mut trial);
    trial.finish()?.iter().for_each(|note| tell(&format!("note: {note}\n")));
    let session = args.client.connect().await?;
    let before = read(&session, &args.series).await?.etag;
    let answer = update_call(args, &session, &reader).await?;
    let series = answer.series.clone().unwrap_or_default();
    let done = match answer.failures.len() {
        0 => "Changed".to_owned(),
        _ if before == series.etag => "Not changed".to_owned(),
        n => format!("Changed, but for {}", render::count(n as i32, "occurrence")),
    };
    let stand = || text::stand(&answer.failures, &series, &asker.zone);
    args.client.print(
        || json::changed_series(&series, &answer.failures),
        || text(&series, &done, &asker.zone) + &stand(),
    )?;
    Ok(if answer.failures.is_empty() { Exit::Done } else { Exit::NoSlot })
}

/// Reads, changes and writes back, as long as somebody else is faster. An etag of the person's own is tried once.
async fn update_call(
    args: &UpdateArgs,
    session: &Session,
    reader: &Reader,
) -> Result<pb::UpdateSeriesResponse, CliError> {
    let mut tries = 1;
    loop {
        let present = match args.change.changes_attendees() {
            true => Some(read(session, &args.series).await?),
            false => None,
        };
        let request = args.request(present.as_ref(), &mut reader.clone())?;
        let answer =
            session.call(request, async |mut client, request| client.update_series(request).await).await;
        let stale = matches!(&answer, Err(CliError::Call { status, .. }) if status.code() == Code::Aborted);
        if !stale || present.is_none() || !args.etag.is_empty() || tries == UPDATE_TRIES {
            let look = || format!("it may have been changed: `quorate series get {}` tells", args.series);
            return answer.map_err(|error| error.or_hint(look));
        }
        tries += 1;
    }
}

#[cfg(test)]
mod tests;
