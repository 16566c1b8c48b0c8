//! Arguments → command → exit code.

use std::process::ExitCode;
use std::time::Duration;

/// How long the process waits at its end for reads of a disk that may hang. Writers have their own end, before this.
const READS: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = match quorate::cli::config::parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(stop) => return stop.tell(),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime can be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(quorate::cli::run(cli));
    runtime.shutdown_timeout(READS);
    code
}
