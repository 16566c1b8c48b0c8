//! What `quorate serve` takes. `app::serve` does the work.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args};

const EXAMPLES: &str = "\
Examples:
  quorate serve --data-dir /var/lib/quorate
  quorate serve --listen 0.0.0.0:50051 --data-dir ./data --log quorate=debug
  quorate serve --in-memory      to try it out: everything is forgotten at the end";

/// Arguments of `quorate serve`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("store").required(true).args(["data_dir", "in_memory"]))]
pub struct ServeArgs {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS", env = "QUORATE_LISTEN", default_value = "127.0.0.1:50051")]
    pub listen: SocketAddr,
    /// Folder for the database; made if it is missing
    #[arg(long, value_name = "DIR", env = "QUORATE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Keep everything in memory: a restart forgets all meetings
    #[arg(long)]
    pub in_memory: bool,
    /// What to log, as a tracing filter such as info or quorate=debug
    #[arg(long, value_name = "FILTER", env = "QUORATE_LOG", default_value = "info")]
    pub log: String,
}
