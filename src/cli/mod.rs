//! What a person types, and what they read back.
//!
//! Parsing ([`parse`], [`when`], [`request`]) and rendering ([`render`], [`json`]) are pure; the commands between them
//! are thin, and [`client`] does their I/O. `serve`, `agent` and `demo` only have their arguments here.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::AppError;

pub mod agent;
pub mod change;
pub mod client;
pub mod completions;
pub mod config;
pub mod data;
pub mod demo;
pub mod error;
pub mod health;
pub mod json;
mod live;
pub mod local;
pub mod meetings;
pub mod parse;
pub mod render;
pub mod request;
pub mod schedule;
pub mod secret;
pub mod series;
pub mod serve;
pub mod table;
pub mod telemetry;
pub mod values;
pub mod watch;
pub mod week;
pub mod when;
pub mod zone;

use client::tell;
use error::{CliError, EXIT_CODES, Exit};

/// Books meetings among participants who keep their own calendars
#[derive(Parser, Clone, Debug)]
#[command(name = "quorate", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Run a scheduler
    Serve(serve::ServeArgs),
    /// Speak for participants whose calendars are .ics files
    Agent(agent::AgentArgs),
    /// Show it all: a scheduler, five people and their meetings, cleaned up afterwards
    Demo(demo::DemoArgs),
    /// Book a meeting: find the best slot, or take the one named
    Schedule(Box<schedule::ScheduleArgs>),
    /// Show the slots at which a meeting could take place, and book nothing
    Find(Box<schedule::FindArgs>),
    /// Show a meeting
    Get(meetings::GetArgs),
    /// List meetings
    List(meetings::ListArgs),
    /// Show a week: a participant's, or that of everybody in a meeting
    Week(week::WeekArgs),
    /// Call a meeting off
    Cancel(meetings::CancelArgs),
    /// Move a meeting
    Reschedule(Box<change::RescheduleArgs>),
    /// Change a meeting's title, attendees or minimum
    Update(Box<change::UpdateArgs>),
    /// Recurring meetings: book, show, call off, move, change
    Series(series::SeriesArgs),
    /// Show what happens to meetings, as it happens
    Watch(watch::WatchArgs),
    /// Show who takes part, and who is connected
    Participants(watch::ParticipantsArgs),
    /// Ask whether the scheduler serves
    Health(health::HealthArgs),
    /// The configuration of a scheduler and an agent: check it, and see where each value comes from
    Config(config::ConfigArgs),
    /// Copy a scheduler's database, also of a running one
    Backup(data::BackupArgs),
    /// Put a backup in place
    Restore(data::RestoreArgs),
    /// Check a scheduler's database or an agent's journal, and change nothing
    Doctor(data::DoctorArgs),
    /// Print a script that completes commands in a shell
    Completions(completions::CompletionsArgs),
}

/// Runs a command. Errors are printed; the exit code is as in [`error::EXIT_CODES`].
pub async fn run(cli: Cli) -> ExitCode {
    let (result, json) = match cli.command {
        Command::Serve(args) => return service_exit(crate::app::serve::run(args).await),
        Command::Agent(args) => return service_exit(crate::app::agent::run(args).await),
        Command::Demo(args) => return service_exit(crate::app::demo::run(args).await),
        Command::Schedule(args) => (schedule::schedule(&args).await, args.client.json),
        Command::Find(args) => (schedule::find(&args).await, args.client.json),
        Command::Get(args) => (meetings::get(&args).await, args.client.json),
        Command::List(args) => (meetings::list(&args).await, args.client.json),
        Command::Week(args) => (week::week(&args).await, args.client.json),
        Command::Cancel(args) => (meetings::cancel(&args).await, args.client.json),
        Command::Reschedule(args) => (change::reschedule(&args).await, args.client.json),
        Command::Update(args) => (change::update(&args).await, args.client.json),
        Command::Series(args) => (series::series(&args).await, args.command.json()),
        Command::Watch(args) => (watch::watch(&args).await, args.client.json),
        Command::Participants(args) => (watch::participants(&args).await, args.client.json),
        Command::Health(args) => {
            // Container runtimes know healthy and unhealthy only.
            let exit = client_exit(health::health(&args).await, args.json);
            return if exit == Exit::Done { Exit::Done } else { Exit::Failed }.into();
        }
        Command::Config(args) => return config::config(&args),
        Command::Backup(args) => return service_exit(crate::app::data::backup(&args)),
        Command::Restore(args) => return service_exit(crate::app::data::restore(&args)),
        Command::Doctor(args) => return service_exit(crate::app::data::doctor(&args)),
        Command::Completions(args) => (completions::completions(args), false),
    };
    client_exit(result, json).into()
}

fn client_exit(result: Result<Exit, CliError>, json: bool) -> Exit {
    result.unwrap_or_else(|error| {
        tell(&if json { format!("{}\n", error.json()) } else { error.text() });
        error.exit()
    })
}

fn service_exit(result: Result<(), AppError>) -> ExitCode {
    match result {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            tell(&format!("error: {}\n", with_causes(&error)));
            if error.is_usage() { Exit::Usage.into() } else { Exit::Failed.into() }
        }
    }
}

/// An error with those of its causes that it does not quote itself.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let words = source.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(words: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(words.split_whitespace()).map(|cli| cli.command)
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        let all = Cli::command();
        let nested = all.get_subcommands().flat_map(clap::Command::get_subcommands);
        for command in nested {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:\n  quorate "), "{}", command.get_name());
        }
        for command in all.get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("quorate {}", command.get_name())), "{}", command.get_name());
            assert!(command.get_about().is_some());
        }
        let help = Cli::command().render_help().to_string();
        assert!(help.contains("Exit codes:") && help.contains("UNAVAILABLE"));
    }

    #[test]
    fn a_store_must_be_chosen_and_only_one() {
        assert!(matches!(parse("quorate serve --in-memory"), Ok(Command::Serve(args)) if args.in_memory));
        let Ok(Command::Serve(args)) = parse("quorate serve --data-dir d") else { panic!() };
        assert_eq!((args.listen.to_string().as_str(), args.log.as_str()), ("127.0.0.1:50051", "info"));
        assert_eq!(parse("quorate serve").unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
        let both = parse("quorate serve --data-dir d --in-memory").unwrap_err();
        assert_eq!(both.kind(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn an_agent_has_its_hours_and_zone_checked() {
        let Ok(Command::Agent(args)) =
            parse("quorate agent --calendar c --working-hours 9-17 --time-zone utc")
        else {
            panic!()
        };
        assert_eq!(args.time_zone.as_deref(), Some("UTC"));
        assert_eq!(args.disclosure, agent::DisclosureArg::AskedSlotsOnly);
        assert_eq!(args.tentative, agent::TentativeArg::Busy);
        let wrong = parse("quorate agent --calendar c --time-zone Mars/Olympus").unwrap_err();
        assert!(wrong.to_string().contains("no IANA time zone"), "{wrong}");
    }

    #[test]
    fn wrong_usage_is_told_by_option() {
        for (words, part) in [
            ("quorate schedule --duration 30", "such as 30m"),
            ("quorate find --duration -5m", "must be positive: a meeting lasts from 1 min to 7 days"),
            ("quorate find --duration 1h --buffer-after -5m", "a length can't be negative"),
            ("quorate find --duration --title x", "a value is required for '--duration <LENGTH>'"),
            ("quorate find", "--duration"),
            ("quorate find --duration 30m --days Funday", "'Funday' is no day"),
            ("quorate find --duration 30m --any-hours --hours 8-9", "cannot be used with"),
            ("quorate list --state lost", "confirmed"),
            ("quorate watch --count 0", "--count"),
            ("quorate participants alice --watch", "cannot be used with"),
            ("quorate get --timeout 0s m", "longer than zero"),
            ("quorate get --scheduler https://a m", "TLS"),
            ("quorate nonsense", "nonsense"),
        ] {
            let line = words.split_whitespace().map(Into::into).collect();
            let Err(config::Stop::Usage(error, _)) = config::parse(line) else { panic!("{words}") };
            assert_eq!(error.exit_code(), 2, "{words}");
            assert!(error.to_string().contains(part), "{words}: {error}");
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("can't start{}", if *.0 { ": no room" } else { "" })]
    struct Outer(bool, #[source] std::io::Error);

    #[test]
    fn causes_are_told_once() {
        let outer = |quoted| with_causes(&Outer(quoted, std::io::Error::other("no room")));
        assert_eq!(outer(true), "can't start: no room");
        assert_eq!(outer(false), "can't start: no room");
    }
}
