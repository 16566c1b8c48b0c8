//! `quorate watch` and `quorate participants`.

use clap::Args;
use tonic::{Code, Streaming};

use super::client::{ClientArgs, Session, tell};
use super::error::{CliError, Exit};
use super::json;
use super::live;
use super::render;
use super::zone::Zone;
use crate::core::limits;
use crate::wire::pb;

const WATCH_EXAMPLES: &str = "\
Examples:
  quorate watch --participant alice
  quorate watch --live                                           one screen, drawn anew as it changes
  quorate watch --resume-after 0 --json | jq -r .event.type      all events that are kept, then new ones
  quorate watch --meeting 0190c2a4-8f7e-7cc3-98c4-dc0c0c07398f --count 1

Prints one line per event, until the scheduler ends (6) or --count is reached. With --live: until Ctrl-C,
or until the scheduler ends. All exit codes: quorate --help";

const PARTICIPANTS_EXAMPLES: &str = "\
Examples:
  quorate participants --connected
  quorate participants alice --json
  quorate participants --watch";

/// Arguments of `quorate watch`.
#[derive(Args, Clone, Debug)]
#[command(after_help = WATCH_EXAMPLES)]
pub struct WatchArgs {
    /// First show all kept events after this number; 0 for all
    #[arg(long, value_name = "NUMBER")]
    pub resume_after: Option<u64>,
    /// Only events of this meeting
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub meeting: String,
    /// Only events of meetings that this participant attends, or was asked for
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub participant: String,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// One screen with who is there and what changed last, drawn anew as it changes
    #[arg(long, conflicts_with_all = ["resume_after", "count", "json"])]
    pub live: bool,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Arguments of `quorate participants`.
#[derive(Args, Clone, Debug)]
#[command(after_help = PARTICIPANTS_EXAMPLES)]
pub struct ParticipantsArgs {
    /// Only this participant
    #[arg(value_name = "ID", conflicts_with_all = ["connected", "watch", "all"])]
    pub participant: Option<String>,
    /// Only those who are connected now
    #[arg(long)]
    pub connected: bool,
    /// Show everyone as they are now, then each change
    #[arg(long, conflicts_with_all = ["connected", "all"])]
    pub watch: bool,
    /// With --watch: end after so many lines
    #[arg(long, value_name = "N", requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// All of them instead of one page
    #[arg(long)]
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

/// Prints what a stream brings, one line each, until it ends, `count` lines are out, or nobody reads any more.
/// `hint` is for the case that the stream breaks off.
async fn follow<M>(
    mut stream: Streaming<M>,
    count: Option<u64>,
    mut print: impl FnMut(M) -> Result<bool, CliError>,
    hint: impl Fn(u64) -> Option<String>,
) -> Result<Exit, CliError> {
    let mut printed = 0;
    while count.is_none_or(|count| printed < count) {
        let message = stream.message().await.map_err(|status| match hint(printed) {
            Some(hint) => CliError::from(status).or_hint(|| hint),
            None => status.into(),
        })?;
        let Some(message) = message else { break };
        if !print(message)? {
            break;
        }
        printed += 1;
    }
    Ok(Exit::Done)
}

/// Tells the zone of the times, aside of the lines on standard output.
fn tell_zone(client: &ClientArgs, zone: &Zone) {
    if !client.json {
        tell(&format!("Times are in {}.\n", zone.name));
    }
}

/// Prints events as they happen.
///
/// # Errors
/// As [`CliError`].
pub async fn watch(args: &WatchArgs) -> Result<Exit, CliError> {
    if args.live {
        return live::live(args).await;
    }
    let (asker, _) = args.client.asker();
    let session = args.client.connect().await?;
    let request = pb::WatchMeetingsRequest {
        resume_after: args.resume_after,
        meeting_id: args.meeting.clone(),
        participant_id: args.participant.clone(),
    };
    let stream = session
        .open(request, async |mut client, request| client.watch_meetings(request).await)
        .await
        .map_err(too_old)?;
    tell_zone(&args.client, &asker.zone);
    let last = std::cell::Cell::new(args.resume_after);
    let print = |answer: pb::WatchMeetingsResponse| {
        let event = answer.event.unwrap_or_default();
        last.set(Some(event.sequence));
        args.client.print_line(|| json::event(&event), || render::event(&event, &asker.zone))
    };
    let hint = |_| last.get().map(|sequence| format!("go on with --resume-after {sequence}"));
    follow(stream, args.count, print, hint).await.map_err(too_old)
}

/// Adds what to do when the events asked for are gone.
fn too_old(error: CliError) -> CliError {
    match error {
        CliError::Call { status, .. } if status.code() == Code::OutOfRange => {
            let hint = "those events are not kept; `quorate list` shows the meetings as they are, and \
                        `quorate watch --resume-after 0` what is kept";
            CliError::Call { status, hint: Some(hint.to_owned()) }
        }
        other => other,
    }
}

/// Shows participants: one, a page, all, or as they come and go.
///
/// # Errors
/// As [`CliError`].
pub async fn participants(args: &ParticipantsArgs) -> Result<Exit, CliError> {
    let (asker, _) = args.client.asker();
    let session = args.client.connect().await?;
    let zone = &asker.zone;
    if let Some(id) = &args.participant {
        let request = pb::GetParticipantRequest { participant_id: id.clone() };
        let answer =
            session.call(request, async |mut client, request| client.get_participant(request).await).await?;
        let person = answer.participant.unwrap_or_default();
        let one = pb::ListParticipantsResponse { participants: vec![person.clone()], ..Default::default() };
        args.client.print(|| json::participant(&person), || render::participants(&one, zone))?;
        return Ok(Exit::Done);
    }
    if args.watch {
        let request = pb::WatchParticipantsRequest {};
        let stream = session
            .open(request, async |mut client, request| client.watch_participants(request).await)
            .await?;
        tell_zone(&args.client, zone);
        let print = |answer: pb::WatchParticipantsResponse| {
            let person = answer.participant.unwrap_or_default();
            args.client.print_line(|| json::participant(&person), || render::participant(&person, zone))
        };
        return follow(stream, args.count, print, |_| None).await;
    }
    let found = list(args, &session).await?;
    args.client.print(|| json::participants(&found), || render::participants(&found, zone))?;
    Ok(Exit::Done)
}

async fn list(args: &ParticipantsArgs, session: &Session) -> Result<pb::ListParticipantsResponse, CliError> {
    let mut request = pb::ListParticipantsRequest {
        page_size: if args.all && args.page_size == 0 { limits::PAGE_MAX as i32 } else { args.page_size },
        page_token: args.page_token.clone(),
        connected_only: args.connected,
    };
    let mut found = pb::ListParticipantsResponse::default();
    loop {
        let page = session
            .call(request.clone(), async |mut client, request| client.list_participants(request).await)
            .await?;
        found.participants.extend(page.participants);
        found.next_page_token = page.next_page_token;
        if !args.all || found.next_page_token.is_empty() {
            return Ok(found);
        }
        request.page_token.clone_from(&found.next_page_token);
    }
}
