//! What `quorate demo` takes. `app::demo` does the work.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  quorate demo
  quorate demo --keep ./demo      then look into the calendars in ./demo";

/// Arguments of `quorate demo`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// Keep the calendars, journals and the database in this folder instead of removing them at the end
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}
