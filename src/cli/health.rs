//! `quorate health`: the standard health service, for containers and load balancers.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tonic::Request;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::client::{connect, put};
use super::error::{CliError, Exit};
use super::parse;

const EXAMPLES: &str = "\
Examples:
  quorate health
  quorate health --service quorate.v1.SchedulerService --scheduler http://scheduler:50051
  HEALTHCHECK CMD [\"quorate\", \"health\"]      in a Dockerfile

Exits with 0 if it serves, else with 1, whatever the cause.";

/// Arguments of `quorate health`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct HealthArgs {
    /// URL of the scheduler
    #[arg(
        long,
        value_name = "URL",
        env = "QUORATE_SCHEDULER",
        default_value = parse::SCHEDULER_DEFAULT,
        value_parser = parse::scheduler_url
    )]
    pub scheduler: String,
    /// Full name of one service. Default: the whole server
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub service: String,
    /// Print the answer as JSON, for scripts
    #[arg(long)]
    pub json: bool,
    /// How long the check may take
    #[arg(long, value_name = "LENGTH", default_value = "5s", value_parser = parse::positive_length)]
    pub timeout: Duration,
}

/// Asks whether the scheduler serves, and prints the answer.
///
/// # Errors
/// As [`CliError`]; the caller exits with 1 for all of them.
pub async fn health(args: &HealthArgs) -> Result<Exit, CliError> {
    let check = async {
        let channel = connect(&args.scheduler, args.timeout).await?;
        let request = Request::new(HealthCheckRequest { service: args.service.clone() });
        Ok::<_, CliError>(HealthClient::new(channel).check(request).await?.into_inner())
    };
    let late = |_| CliError::Deadline { timeout: args.timeout, hint: None };
    let status = tokio::time::timeout(args.timeout, check).await.map_err(late)??.status();
    let name = status.as_str_name();
    put(&if args.json { format!("{}\n", json!({ "status": name })) } else { format!("{name}\n") })?;
    Ok(if status == ServingStatus::Serving { Exit::Done } else { Exit::Failed })
}
