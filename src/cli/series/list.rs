//! `quorate series list`.

use clap::{Args, ValueEnum};

use super::super::client::ClientArgs;
use super::super::error::{CliError, Exit};
use super::super::json;
use super::text;
use crate::core::limits;
use crate::wire::pb;

/// A series' state, to filter by.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateArg {
    /// Its occurrences are being booked
    Scheduling,
    /// Booked
    Confirmed,
    /// Nothing of it could be booked
    Failed,
    /// Called off
    Cancelled,
}

impl From<StateArg> for pb::series::State {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Scheduling => Self::Scheduling,
            StateArg::Confirmed => Self::Confirmed,
            StateArg::Failed => Self::Failed,
            StateArg::Cancelled => Self::Cancelled,
        }
    }
}

const EXAMPLES: &str = "Examples:
  quorate series list
  quorate series list --participant alice --state confirmed --all --json";

/// Arguments of `quorate series list`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ListArgs {
    /// Only series that this participant was asked to attend, or organizes
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub participant: String,
    /// Only series in these states
    #[arg(long, value_name = "STATES", value_enum, value_delimiter = ',')]
    pub state: Vec<StateArg>,
    /// All of them instead of one page
    #[arg(long, conflicts_with = "page_token")]
    pub all: bool,
    /// How many on a page. Default: 50
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub page_size: i32,
    /// The page after the one that gave this token
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    pub page_token: String,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Lists series: a page, or all pages as one.
///
/// # Errors
/// As [`CliError`].
pub async fn list(args: &ListArgs) -> Result<Exit, CliError> {
    let (asker, _) = args.client.asker();
    let mut request = pb::ListSeriesRequest {
        participant_id: args.participant.clone(),
        states: args.state.iter().map(|state| pb::series::State::from(*state) as i32).collect(),
        // Everything comes in large pages, unless the size was chosen.
        page_size: if args.all && args.page_size == 0 { limits::PAGE_MAX as i32 } else { args.page_size },
        page_token: args.page_token.clone(),
    };
    let session = args.client.connect().await?;
    let mut found = pb::ListSeriesResponse::default();
    loop {
        let page = session
            .call(request.clone(), async |mut client, request| client.list_series(request).await)
            .await?;
        found.series.extend(page.series);
        found.next_page_token = page.next_page_token;
        if !args.all || found.next_page_token.is_empty() {
            break;
        }
        request.page_token.clone_from(&found.next_page_token);
    }
    args.client.print(|| json::series_list(&found), || text::list(&found, &asker.zone))?;
    Ok(Exit::Done)
}
