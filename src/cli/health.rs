//! `quorate health`: the standard health service, for containers and load balancers.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::client::{connect, put};
use super::error::{CliError, Exit};
use super::parse;
use crate::wire::pb::{self, scheduler_service_client::SchedulerServiceClient};

const EXAMPLES: &str = "\
Examples:
  quorate health
  quorate health --service quorate.v1.SchedulerService --scheduler http://scheduler:50051
  quorate health --participant alice      whether an agent speaks for her
  HEALTHCHECK CMD [\"quorate\", \"health\"]      in a Dockerfile

Exits with 0 if it serves, and the participant asked about is connected; else with 1, whatever the cause.";

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
        hide_env_values = true,
        value_parser = parse::Address::SCHEDULER
    )]
    pub scheduler: String,
    /// Full name of one service. Default: the whole server
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub service: String,
    /// Also ask whether an agent speaks for this participant: the health of a container with an agent
    #[arg(long, value_name = "ID")]
    pub participant: Option<String>,
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
        let status = HealthClient::new(channel.clone()).check(request).await?.into_inner().status();
        let connected = match &args.participant {
            Some(id) if status == ServingStatus::Serving => Some(connected(channel, id).await?),
            Some(_) | None => None,
        };
        Ok::<_, CliError>((status, connected))
    };
    let late = |_| CliError::Deadline { timeout: args.timeout, hint: None };
    let (status, connected) = tokio::time::timeout(args.timeout, check).await.map_err(late)??;
    let name = status.as_str_name();
    put(&if args.json {
        let mut answer = json!({ "status": name });
        if let Some(connected) = connected {
            answer["connected"] = connected.into();
        }
        format!("{answer}\n")
    } else {
        match connected {
            None => format!("{name}\n"),
            Some(true) => format!("{name}, connected\n"),
            Some(false) => format!("{name}, not connected\n"),
        }
    })?;
    let healthy = status == ServingStatus::Serving && connected != Some(false);
    Ok(if healthy { Exit::Done } else { Exit::Failed })
}

/// Whether an agent speaks for somebody. Who never registered is not connected.
async fn connected(channel: Channel, id: &str) -> Result<bool, CliError> {
    let request = pb::GetParticipantRequest { participant_id: id.to_owned() };
    match SchedulerServiceClient::new(channel).get_participant(request).await {
        Ok(answer) => Ok(answer.into_inner().participant.is_some_and(|participant| participant.connected)),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status.into()),
    }
}
