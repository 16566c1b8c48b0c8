//! `quorate get`, `list` and `cancel`.

use clap::{Args, ValueEnum};

use super::client::{ClientArgs, Session, tell};
use super::error::{CliError, Exit};
use super::json;
use super::render;
use super::request::Reader;
use super::values;
use super::when::DayEdge;
use crate::core::limits;
use crate::wire::pb;

const GET_EXAMPLES: &str = "\
Example:
  quorate get 0190c2a4-8f7e-7cc3-98c4-dc0c0c07398f

Exits with 4 if there is no such meeting. All exit codes: quorate --help";

const LIST_EXAMPLES: &str = "\
Examples:
  quorate list --from today --until friday --participant alice
  quorate list --state confirmed,scheduling --all --json";

const CANCEL_EXAMPLES: &str = "\
Example:
  quorate cancel 0190c2a4-8f7e-7cc3-98c4-dc0c0c07398f

Cancelling twice does no harm. Exits with 4 if there is no such meeting, with 5 if --etag is stale or the meeting
had failed. All exit codes: quorate --help";

/// Arguments of `quorate get`.
#[derive(Args, Clone, Debug)]
#[command(after_help = GET_EXAMPLES)]
pub struct GetArgs {
    /// The meeting's id
    #[arg(value_name = "MEETING")]
    pub meeting: String,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Arguments of `quorate cancel`.
#[derive(Args, Clone, Debug)]
#[command(after_help = CANCEL_EXAMPLES)]
pub struct CancelArgs {
    /// The meeting's id
    #[arg(value_name = "MEETING")]
    pub meeting: String,
    /// Only if the meeting still has this etag
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    pub etag: String,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// A meeting's state, to filter by.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateArg {
    /// A slot is being sought
    Scheduling,
    /// Booked
    Confirmed,
    /// Could not be booked
    Failed,
    /// Called off
    Cancelled,
    /// Lost its slot to another meeting
    Displaced,
}

impl From<StateArg> for pb::meeting::State {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Scheduling => Self::Scheduling,
            StateArg::Confirmed => Self::Confirmed,
            StateArg::Failed => Self::Failed,
            StateArg::Cancelled => Self::Cancelled,
            StateArg::Displaced => Self::Displaced,
        }
    }
}

/// Arguments of `quorate list`.
#[derive(Args, Clone, Debug)]
#[command(after_help = LIST_EXAMPLES)]
pub struct ListArgs {
    /// Only meetings after this time. Default with --until: now
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Only meetings before this time; a date means the end of that day. Default with --from: a year later
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only meetings that this participant attends, or was asked for
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub participant: String,
    /// Only meetings in these states
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

/// Reads a meeting.
///
/// # Errors
/// As [`CliError`].
pub async fn read(session: &Session, meeting_id: &str) -> Result<pb::Meeting, CliError> {
    let request = pb::GetMeetingRequest { meeting_id: meeting_id.to_owned() };
    let answer = session.call(request, async |mut client, request| client.get_meeting(request).await).await?;
    Ok(answer.meeting.unwrap_or_default())
}

/// Shows a meeting.
///
/// # Errors
/// As [`CliError`].
pub async fn get(args: &GetArgs) -> Result<Exit, CliError> {
    let (asker, _) = args.client.asker();
    let meeting = read(&args.client.connect().await?, &args.meeting).await?;
    let text = || {
        render::meeting(&meeting, render::state_headline(meeting.state), &asker.zone)
            + "As asked for:\n"
            + &render::spec(&meeting, &asker.zone)
    };
    args.client.print(|| json::meeting_answer(Some(&meeting), None), text)?;
    Ok(Exit::Done)
}

/// Calls a meeting off.
///
/// # Errors
/// As [`CliError`].
pub async fn cancel(args: &CancelArgs) -> Result<Exit, CliError> {
    let (asker, _) = args.client.asker();
    let request = pb::CancelMeetingRequest { meeting_id: args.meeting.clone(), etag: args.etag.clone() };
    let session = args.client.connect().await?;
    let answer =
        session.call(request, async |mut client, request| client.cancel_meeting(request).await).await?;
    let meeting = answer.meeting.unwrap_or_default();
    let text = || render::meeting(&meeting, render::state_headline(meeting.state), &asker.zone);
    args.client.print(|| json::meeting_answer(Some(&meeting), None), text)?;
    Ok(Exit::Done)
}

/// The request for the first page. Problems are with the reader.
fn list_request(args: &ListArgs, now: jiff::Timestamp, reader: &mut Reader) -> pb::ListMeetingsRequest {
    let from = args.from.as_deref().map(|text| reader.instant("--from", text, DayEdge::Start));
    let until = args.until.as_deref().map(|text| reader.instant("--until", text, DayEdge::End));
    let range = match (from, until) {
        (None, None) => None,
        (Some(from), None) => {
            from.map(|from| (from, from.checked_add(limits::WINDOW_MAX).unwrap_or(jiff::Timestamp::MAX)))
        }
        (None, Some(until)) => until.map(|until| (now, until)),
        (Some(from), Some(until)) => from.zip(until),
    };
    if let (Some((from, until)), Some(typed)) = (range, args.until.as_deref()) {
        let what = match &args.from {
            Some(from) => format!("--from '{from}'"),
            None => "now, so name --from too".to_owned(),
        };
        reader.in_order(&what, from, typed, until);
    }
    pb::ListMeetingsRequest {
        range: range.map(|(from, until)| values::time_range(from, until)),
        participant_id: args.participant.clone(),
        states: args.state.iter().map(|state| pb::meeting::State::from(*state) as i32).collect(),
        // Everything comes in large pages, unless the size was chosen.
        page_size: if args.all && args.page_size == 0 { limits::PAGE_MAX as i32 } else { args.page_size },
        page_token: args.page_token.clone(),
    }
}

/// Lists meetings: a page, or all pages as one.
///
/// # Errors
/// As [`CliError`].
pub async fn list(args: &ListArgs) -> Result<Exit, CliError> {
    let (asker, reference) = args.client.asker();
    let now = reference.now;
    let mut reader = Reader::new(reference);
    let mut request = list_request(args, now, &mut reader);
    reader.finish()?.iter().for_each(|note| tell(&format!("note: {note}\n")));
    let session = args.client.connect().await?;
    let mut found = pb::ListMeetingsResponse::default();
    loop {
        let page = session
            .call(request.clone(), async |mut client, request| client.list_meetings(request).await)
            .await?;
        found.meetings.extend(page.meetings);
        found.next_page_token = page.next_page_token;
        if !args.all || found.next_page_token.is_empty() {
            break;
        }
        request.page_token.clone_from(&found.next_page_token);
    }
    args.client.print(|| json::meetings(&found), || render::meetings(&found, &asker.zone))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::when::Reference;
    use super::super::zone::Zone;
    use super::*;

    #[derive(Parser)]
    struct List {
        #[command(flatten)]
        args: ListArgs,
    }

    fn request(options: &[&str]) -> Result<pb::ListMeetingsRequest, String> {
        let words = std::iter::once(&"list").chain(options);
        let args = List::try_parse_from(words).map_err(|error| error.to_string())?.args;
        let now = "2026-12-01T09:20:00Z".parse().unwrap();
        let mut reader = Reader::new(Reference { now, zone: Zone::utc() });
        let request = list_request(&args, now, &mut reader);
        reader.finish().map(|_| request).map_err(|error| error.text())
    }

    fn range(options: &[&str]) -> Option<(String, String)> {
        let range = request(options).unwrap().range;
        values::range(range.as_ref()).map(|(from, until)| (from.to_string(), until.to_string()))
    }

    #[test]
    fn a_range_that_is_half_open_is_closed_on_the_other_side() {
        let day = |day: &str| format!("{day}T00:00:00Z");
        assert_eq!(range(&[]), None);
        assert_eq!(range(&["--from=2026-12-02"]), Some((day("2026-12-02"), day("2027-12-03"))));
        assert_eq!(
            range(&["--until=2026-12-02"]),
            Some(("2026-12-01T09:20:00Z".to_owned(), day("2026-12-03")))
        );
        assert_eq!(
            range(&["--from=2026-12-02", "--until=2026-12-02"]),
            Some((day("2026-12-02"), day("2026-12-03")))
        );
        let reversed = request(&["--from=2026-12-03", "--until=2026-12-01"]).unwrap_err();
        let words =
            "this is Wed 2026-12-02 00:00, which is not after --from '2026-12-03': Thu 2026-12-03 00:00";
        assert!(reversed.contains(words), "{reversed}");
        let over = request(&["--until=2026-11-30"]).unwrap_err();
        assert!(over.contains("this is Tue 2026-12-01 00:00, which is not after now, so name --from too: Tue 2026-12-01 09:20"), "{over}");
        assert!(request(&["--from=2024-02-30"]).unwrap_err().contains("'--from'"));
    }

    #[test]
    fn states_and_pages() {
        let all = request(&["--state=confirmed,failed", "--all", "--participant=alice"]).unwrap();
        assert_eq!((all.states, all.page_size, all.participant_id.as_str()), (vec![2, 3], 1_000, "alice"));
        assert_eq!(request(&["--page-size=7", "--all"]).unwrap().page_size, 7);
        assert_eq!(request(&["--page-token=t"]).unwrap().page_token, "t");
        assert!(request(&["--state=lost"]).unwrap_err().contains("confirmed"));
    }
}
