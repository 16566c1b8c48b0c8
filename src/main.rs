//! Arguments → command → exit code.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match quorate::cli::config::parse(std::env::args_os().collect()) {
        Ok(cli) => quorate::cli::run(cli).await,
        Err(stop) => stop.tell(),
    }
}
