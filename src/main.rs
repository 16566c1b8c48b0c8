//! Arguments → command → exit code.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    quorate::cli::run(quorate::cli::Cli::parse()).await
}
