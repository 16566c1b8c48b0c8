//! What `quorate backup`, `quorate restore` and `quorate doctor` take. `app::data` does the work.

use std::path::PathBuf;

use clap::Args;

const BACKUP_EXAMPLES: &str = "\
Examples:
  quorate backup --data-dir /var/lib/quorate --to /backup/quorate.db
  quorate backup --data-dir ./data --to \"$(date +%F).db\"

The scheduler may run meanwhile. The copy is one file, of one moment, synced, and checked as by quorate doctor.
Exits with 1 if there is none, or if it is not sound.";

const RESTORE_EXAMPLES: &str = "\
Examples:
  quorate restore --data-dir /var/lib/quorate --from /backup/quorate.db
  quorate restore --data-dir ./data --from quorate.db --force      what was there is kept as quorate.db.replaced

The scheduler must be stopped. The file is checked as by quorate doctor first. What a restore means for meetings booked
since the backup: docs/operations.md";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  quorate doctor --data-dir /var/lib/quorate
  quorate doctor --database /backup/quorate.db --json
  quorate doctor --journal ./calendars/.quorate-agent/journal.db

Changes nothing, and may be run beside a scheduler or an agent. Exits with 0 if all checks pass, else with 1.";

/// Arguments of `quorate backup`.
#[derive(Args, Clone, Debug)]
#[command(after_help = BACKUP_EXAMPLES)]
pub struct BackupArgs {
    /// Folder with the scheduler's database
    #[arg(long, value_name = "DIR", env = "QUORATE_DATA_DIR")]
    pub data_dir: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `quorate restore`.
#[derive(Args, Clone, Debug)]
#[command(after_help = RESTORE_EXAMPLES)]
pub struct RestoreArgs {
    /// Folder for the scheduler's database; made if it is missing
    #[arg(long, value_name = "DIR", env = "QUORATE_DATA_DIR")]
    pub data_dir: PathBuf,
    /// The backup
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// Replace the database that is there; it is kept beside as quorate.db.replaced
    #[arg(long)]
    pub force: bool,
    /// Restore a backup whose bookings contradict each other, as quorate doctor tells. One that can't be read is refused
    #[arg(long)]
    pub accept_findings: bool,
}

/// Arguments of `quorate doctor`.
#[derive(Args, Clone, Debug)]
#[command(after_help = DOCTOR_EXAMPLES)]
pub struct DoctorArgs {
    /// Folder with a scheduler's database. Default, if nothing else is named: QUORATE_DATA_DIR
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// A scheduler's database or a backup of one
    #[arg(long, value_name = "FILE")]
    pub database: Option<PathBuf>,
    /// An agent's journal. May be given many times
    #[arg(long, value_name = "FILE")]
    pub journal: Vec<PathBuf>,
    /// Print the checks as JSON, for scripts
    #[arg(long)]
    pub json: bool,
}
