//! `quorate agent`: speaks for one participant, or for a folder of them.

use std::path::{Path, PathBuf};
use std::pin::pin;

use super::telemetry::{Says, Telemetry};
use super::{AppError, stop_signal};
use crate::agent::{
    self, AgentConfig, AgentError, Folder, ParticipantConfig, Reading, Served, Unreadable, output_beside,
    participant_id, participant_of,
};
use crate::cli::agent::{AgentArgs, DisclosureArg, TentativeArg, UnreadableArg};
use crate::core::availability::Disclosure;
use crate::core::ids::ParticipantId;
use crate::engine::spans::Spans;

/// Where journals are, unless the arguments say.
const DATA_DIR: &str = ".quorate-agent";
/// Participants named one by one when they are registered.
const LINES: usize = 20;

/// Runs until SIGTERM or SIGINT, or until other agents speak for all participants.
///
/// # Errors
/// Arguments that make no sense together, a calendar that is not there, or a journal that can't be used.
pub async fn run(args: AgentArgs) -> Result<(), AppError> {
    let telemetry = Telemetry::start(&args.log, &args.telemetry, "quorate-agent")?;
    let ended = serve(args, telemetry.spans(), telemetry.says()).await;
    telemetry.stop().await;
    ended
}

async fn serve(args: AgentArgs, spans: Option<Spans>, says: Says) -> Result<(), AppError> {
    let config = config(args)?;
    let scheduler = config.scheduler.clone();
    let mut stop = pin!(stop_signal()?);
    let mut agent = agent::start_traced(config, spans).await?;
    let ready = tokio::select! {
        ready = agent.ready() => ready,
        () = &mut stop => return Ok(agent.stop().await?),
    };
    // If it is not ready it has ended, which is told below.
    if ready.is_ok() {
        tell(says, agent.served(), &scheduler);
    }
    tokio::select! {
        ended = agent.ended() => Ok(ended?),
        () = &mut stop => Ok(agent.stop().await?),
    }
}

fn tell(says: Says, served: &[Served], scheduler: &str) {
    if served.is_empty() {
        says.line("no calendars yet: waiting for .ics files", &[]);
    }
    for served in served.iter().take(LINES) {
        let who = [("participant", served.participant.as_str()), ("scheduler", scheduler)];
        says.line(&line(served, scheduler), &who);
    }
    if let Some(more @ 1..) = served.len().checked_sub(LINES) {
        says.line(&format!("and {more} more"), &[]);
    }
}

fn line(served: &Served, scheduler: &str) -> String {
    let mut line = format!("{}: registered with {scheduler}, ", served.participant);
    line += &match &served.events {
        Ok(1) => "1 event".to_owned(),
        Ok(events) => format!("{events} events"),
        Err(problem) => format!("declines all queries: {problem}"),
    };
    if let Some(degraded) = &served.degraded {
        line += &format!(", degraded: {degraded}");
    }
    line += &match &served.time_zone {
        Some(zone) => format!(", {zone}"),
        None => ", UTC for want of a time zone".to_owned(),
    };
    line
}

fn config(args: AgentArgs) -> Result<AgentConfig, AgentError> {
    let disclosure = match args.disclosure {
        DisclosureArg::AskedSlotsOnly => Disclosure::AskedSlotsOnly,
        DisclosureArg::FreeBusy => Disclosure::FreeBusy,
    };
    let working_hours = (!args.working_hours.is_empty()).then_some(args.working_hours);
    let tentative_blocks = match args.tentative {
        TentativeArg::Busy => true,
        TentativeArg::Free => false,
    };
    let unreadable = match args.unreadable {
        UnreadableArg::Unknown => Unreadable::Unknown,
        UnreadableArg::Busy => Unreadable::Busy,
    };
    let reading = Reading { unreadable, owners: args.owner };
    if args.calendar.is_dir() {
        for (given, option) in
            [(args.participant.is_some(), "--participant"), (args.output.is_some(), "--output")]
        {
            if given {
                return Err(AgentError::NotForFolders { option, path: args.calendar });
            }
        }
        let data_dir = args.data_dir.unwrap_or_else(|| args.calendar.join(DATA_DIR));
        let folder = Folder {
            path: args.calendar,
            zone: args.time_zone,
            working_hours,
            disclosure,
            tentative_blocks,
            reading,
        };
        return Ok(AgentConfig {
            scheduler: args.scheduler,
            participants: Vec::new(),
            folder: Some(folder),
            data_dir,
        });
    }
    let id = match &args.participant {
        Some(id) => participant_id(id)?,
        None => participant_of(&args.calendar)?,
    };
    let data_dir = args.data_dir.unwrap_or_else(|| data_dir_beside(&args.calendar, &id));
    let participant = ParticipantConfig {
        id,
        display_name: None,
        output: args.output.unwrap_or_else(|| output_beside(&args.calendar)),
        calendar: args.calendar,
        zone: args.time_zone,
        working_hours,
        disclosure,
        tentative_blocks,
        reading,
    };
    Ok(AgentConfig { scheduler: args.scheduler, participants: vec![participant], folder: None, data_dir })
}

/// `.quorate-agent/alice` beside the calendar: agents for several files of one folder don't share a journal.
fn data_dir_beside(calendar: &Path, id: &ParticipantId) -> PathBuf {
    let mut name = String::new();
    for (at, byte) in id.as_str().bytes().enumerate() {
        match byte {
            b'.' if at > 0 => name.push('.'),
            b'-' | b'_' | b'@' | b'+' => name.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => name += &format!("%{byte:02X}"),
        }
    }
    calendar.with_file_name(DATA_DIR).join(name)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn config_of(line: &[&str]) -> Result<AgentConfig, AgentError> {
        let line = ["quorate", "agent"].iter().chain(line);
        match Cli::try_parse_from(line).unwrap().command {
            Command::Agent(args) => config(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_is_one_participant_with_a_journal_of_its_own() {
        let config = config_of(&["--calendar", "people/alice.ics", "--tentative", "free"]).unwrap();
        let alice = &config.participants[0];
        assert_eq!(alice.id.as_str(), "alice");
        assert_eq!(alice.output, Path::new("people/alice.quorate.ics"));
        assert!(!alice.tentative_blocks);
        assert_eq!(config.data_dir, Path::new("people/.quorate-agent/alice"));
        let named =
            config_of(&["--calendar", "a.ics", "--participant", "../b:c", "--output", "o.ics"]).unwrap();
        assert_eq!(named.data_dir, Path::new(".quorate-agent/%2E.%2Fb%3Ac"));
        assert_eq!(named.participants[0].output, Path::new("o.ics"));
        assert!(config_of(&["--calendar", "a b.ics"]).is_err());
    }

    #[test]
    fn a_folder_is_many_participants() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let config = config_of(&["--calendar", path, "--time-zone", "Asia/Tokyo"]).unwrap();
        assert!(config.participants.is_empty());
        assert_eq!(config.folder.unwrap().zone.as_deref(), Some("Asia/Tokyo"));
        assert_eq!(config.data_dir, folder.path().join(".quorate-agent"));
        let refused = config_of(&["--calendar", path, "--participant", "alice"]).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("{path} is a folder, not a calendar file")), "{refused}");
        assert!(refused.contains("--participant") && refused.contains("missing on the host"), "{refused}");
    }

    #[test]
    fn one_line_says_who_is_registered() {
        let served = Served {
            degraded: None,
            participant: ParticipantId::new("alice"),
            calendar: PathBuf::from("alice.ics"),
            events: Ok(42),
            time_zone: Some("Europe/Berlin".to_owned()),
            bookings: 0,
        };
        let text = line(&served, "http://localhost:1");
        assert_eq!(text, "alice: registered with http://localhost:1, 42 events, Europe/Berlin");
        let broken = Served { events: Err("alice.ics:3: no".to_owned()), time_zone: None, ..served };
        assert!(line(&broken, "x").contains("declines all queries: alice.ics:3: no, UTC"));
    }
}
