//! What `quorate agent` takes. `app::agent` does the work.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::parse;
use super::telemetry::TelemetryArgs;
use super::zone;
use crate::core::model::WorkingHours;

const EXAMPLES: &str = "\
Examples:
  quorate agent --participant alice --calendar alice.ics --working-hours \"Mon-Fri 09:00-17:30\"
  quorate agent --calendar ./calendars      one participant per .ics file, named as the file is";

/// How much the agent's answers reveal.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum DisclosureArg {
    /// Only whether the slots that were asked for are free
    AskedSlotsOnly,
    /// All free time within the windows that were asked for
    FreeBusy,
}

/// What a tentative event means for the participant's time.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum TentativeArg {
    /// Its time is taken
    Busy,
    /// Its time is free
    Free,
}

/// What an event means that can't be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum UnreadableArg {
    /// Nothing is known of the time that it may block: queries about it are declined
    Unknown,
    /// The participant is busy in that time
    Busy,
}

/// Checks a mail address, with or without `mailto:`.
fn owner(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    match address.split_once('@') {
        Some((name, host))
            if !name.is_empty() && !host.is_empty() && !address.contains(char::is_whitespace) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("is no mail address".to_owned()),
    }
}

/// Arguments of `quorate agent`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct AgentArgs {
    /// A file with settings (docs/configuration.md); flags and environment variables win over it
    #[arg(long, value_name = "FILE", env = "QUORATE_CONFIG")]
    pub config: Option<PathBuf>,
    /// URL of the scheduler
    #[arg(
        long,
        value_name = "URL",
        env = "QUORATE_SCHEDULER",
        default_value = parse::SCHEDULER_DEFAULT,
        hide_env_values = true,
        value_parser = parse::Address::SCHEDULER
    )]
    pub scheduler: String,
    /// Who the agent speaks for; for a calendar that is a single file. Default: the file's name without .ics
    #[arg(long, value_name = "ID", env = "QUORATE_AGENT_PARTICIPANT", value_parser = parse::participant)]
    pub participant: Option<String>,
    /// An .ics file, or a folder with one .ics file per participant, whose id is the file's name
    #[arg(long, value_name = "FILE|DIR", env = "QUORATE_AGENT_CALENDAR")]
    pub calendar: PathBuf,
    /// IANA zone of the participants, such as Europe/Berlin. Default: the calendar's own
    #[arg(long, value_name = "ZONE", env = "QUORATE_AGENT_TIME_ZONE", value_parser = zone::iana_name)]
    pub time_zone: Option<String>,
    /// When the participants work, such as "Mon-Fri 09:00-17:30", or "any". May be given many times, for days with
    /// other hours or with a break, or once with ';' between
    #[arg(long, value_name = "DAYS HOURS", env = "QUORATE_AGENT_WORKING_HOURS", value_delimiter = ';',
          value_parser = parse::working_hours)]
    pub working_hours: Vec<WorkingHours>,
    /// Folder for the journal of holds and bookings. Default: .quorate-agent/NAME beside the calendar
    /// file, or .quorate-agent in the calendar folder
    #[arg(long, value_name = "DIR", env = "QUORATE_AGENT_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where to write the booked meetings; for one participant. Default: NAME.quorate.ics beside the calendar
    #[arg(long, value_name = "FILE", env = "QUORATE_AGENT_OUTPUT")]
    pub output: Option<PathBuf>,
    /// How much the answers reveal
    #[arg(long, value_enum, env = "QUORATE_AGENT_DISCLOSURE", default_value = "asked-slots-only")]
    pub disclosure: DisclosureArg,
    /// What a tentative event means
    #[arg(long, value_enum, env = "QUORATE_AGENT_TENTATIVE", default_value = "busy")]
    pub tentative: TentativeArg,
    /// What an event means that can't be read, for the time that it may block
    #[arg(long, value_enum, env = "QUORATE_AGENT_UNREADABLE", default_value = "unknown")]
    pub unreadable: UnreadableArg,
    /// A mail address of the calendar's owner: what they declined is free. May be given many times, or once
    /// with ';' between
    #[arg(long, value_name = "ADDRESS", env = "QUORATE_AGENT_OWNER", value_delimiter = ';', value_parser = owner)]
    pub owner: Vec<String>,
    /// What to log, as a tracing filter such as info or quorate=debug
    #[arg(long, value_name = "FILTER", env = "QUORATE_LOG", default_value = "info", value_parser = parse::log_filter)]
    pub log: String,
    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}
