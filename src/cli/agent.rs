//! What `quorate agent` takes. `app::agent` does the work.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::parse;
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

/// Arguments of `quorate agent`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct AgentArgs {
    /// URL of the scheduler
    #[arg(
        long,
        value_name = "URL",
        env = "QUORATE_SCHEDULER",
        default_value = parse::SCHEDULER_DEFAULT,
        value_parser = parse::scheduler_url
    )]
    pub scheduler: String,
    /// Who the agent speaks for; for a calendar that is a single file. Default: the file's name without .ics
    #[arg(long, value_name = "ID")]
    pub participant: Option<String>,
    /// An .ics file, or a folder with one .ics file per participant, whose id is the file's name
    #[arg(long, value_name = "FILE|DIR")]
    pub calendar: PathBuf,
    /// IANA zone of the participants, such as Europe/Berlin. Default: the calendar's own
    #[arg(long, value_name = "ZONE", value_parser = zone::iana_name)]
    pub time_zone: Option<String>,
    /// When the participants work, such as "Mon-Fri 09:00-17:30", or "any"
    #[arg(long, value_name = "DAYS HOURS", value_parser = parse::working_hours)]
    pub working_hours: Option<WorkingHours>,
    /// Folder for the journal of holds and bookings. Default: .quorate-agent/NAME beside the calendar
    /// file, or .quorate-agent in the calendar folder
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where to write the booked meetings; for one participant. Default: NAME.quorate.ics beside the calendar
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How much the answers reveal
    #[arg(long, value_enum, default_value = "asked-slots-only")]
    pub disclosure: DisclosureArg,
    /// What a tentative event means
    #[arg(long, value_enum, default_value = "busy")]
    pub tentative: TentativeArg,
    /// What to log, as a tracing filter such as info or quorate=debug
    #[arg(long, value_name = "FILTER", env = "QUORATE_LOG", default_value = "info")]
    pub log: String,
}
