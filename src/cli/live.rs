//! `quorate watch --live`: one screen with who is there and what became of meetings lately, drawn anew as it changes.
//!
//! [`Board`] decides what is on it; the rest of the file is the terminal.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IsTerminal};
use std::time::Duration;

use jiff::Timestamp;
use rustix::termios::tcgetwinsize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::client::put;
use super::error::{BadValue, CliError, Exit};
use super::render;
use super::table::table;
use super::values;
use super::watch::WatchArgs;
use super::zone::Zone;
use crate::wire::pb;

#[cfg(test)]
mod tests;

/// Meetings that are kept for the screen: more than any terminal has lines.
const KEPT: usize = 500;
/// Meetings to begin with: those whose time is still to come.
const FIRST: i32 = 100;
/// How often the screen is drawn. What happens meanwhile is drawn together.
const DRAWN: Duration = Duration::from_millis(250);
/// Lines of a terminal that does not tell.
const LINES: usize = 24;
/// Lines beside those of the meetings: three above, the table's head, one below.
const FRAME: usize = 6;

/// Another screen than the one that the shell is on, without a cursor, where long lines are cut.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A meeting on the board.
struct Row {
    at: Option<Timestamp>,
    what: String,
    meeting: pb::Meeting,
}

/// What is shown.
#[derive(Default)]
struct Board {
    people: BTreeMap<String, bool>,
    /// The one that changed last is the first.
    meetings: VecDeque<Row>,
    /// How often what happened, in the order of its first time.
    tally: Vec<(String, u64)>,
}

impl Board {
    fn person(&mut self, person: pb::Participant) {
        self.people.insert(person.participant_id, person.connected);
    }

    /// A meeting that was there before.
    fn listed(&mut self, meeting: pb::Meeting) {
        let what = values::state(meeting.state).to_lowercase();
        self.meetings.push_back(Row { at: values::instant(meeting.update_time.as_ref()), what, meeting });
    }

    fn event(&mut self, event: pb::MeetingEvent) {
        let kind = values::bare_name(event.r#type, pb::meeting_event::Type::as_str_name, "TYPE_");
        let kind = kind.to_lowercase().replace('_', " ");
        match self.tally.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => self.tally.push((kind.clone(), 1)),
        }
        let meeting = event.meeting.unwrap_or_default();
        self.meetings.retain(|row| row.meeting.meeting_id != meeting.meeting_id);
        let why = meeting.failure.as_ref();
        let why = why.map(|why| values::bare_name(why.reason, pb::failure::Reason::as_str_name, "REASON_"));
        let what =
            why.map_or(kind.clone(), |why| format!("{kind}: {}", why.to_lowercase().replace('_', " ")));
        self.meetings.push_front(Row { at: values::instant(event.event_time.as_ref()), what, meeting });
        self.meetings.truncate(KEPT);
    }

    /// The screen, for a terminal with so many lines.
    fn show(&self, lines: usize, address: &str, now: Timestamp, zone: &Zone) -> Vec<String> {
        let away: Vec<_> = self.people.iter().filter(|(_, there)| !**there).map(|(id, _)| id).collect();
        let names = render::names(away.iter().map(|id| id.as_str()));
        let count = |n: usize, one: &str| render::count(i32::try_from(n).unwrap_or(i32::MAX), one);
        let mut people = count(self.people.len(), "participant");
        people += &format!(", {} connected", self.people.len() - away.len());
        if !away.is_empty() {
            people += &format!("; away: {names}");
        }
        let mut text = vec![
            format!("quorate at {address}   {}  {}", render::clock(now, zone), zone.name),
            people,
            String::new(),
        ];
        let rows = self.meetings.iter().take(lines.saturating_sub(FRAME)).map(|row| {
            let at = row.at.map(|at| render::clock(at, zone)).unwrap_or_default();
            vec![
                at,
                row.what.clone(),
                render::slot(row.meeting.slot.as_ref(), zone),
                render::title(&row.meeting),
                render::attending(&row.meeting),
            ]
        });
        let rows: Vec<_> = rows.collect();
        match rows.is_empty() {
            true => text.push("No meetings yet.".to_owned()),
            false => {
                let heads = ["CHANGED", "WHAT", "WHEN", "TITLE", "WHO"];
                text.extend(table(&heads, &rows).lines().map(str::to_owned));
            }
        }
        let happened: Vec<_> = self.tally.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        let happened = if happened.is_empty() { "nothing yet".to_owned() } else { happened.join(", ") };
        text.truncate(lines.saturating_sub(1));
        text.push(format!("Since this began: {happened}.  Ctrl-C ends."));
        text
    }
}

/// The other screen, until it is dropped.
struct Screen;

impl Screen {
    fn enter() -> Result<Self, CliError> {
        put(ENTER)?;
        Ok(Self)
    }

    /// Whether somebody still looks.
    fn draw(&self, lines: &[String]) -> Result<bool, CliError> {
        // Each line is written over the old one and then cleared behind it: nothing flickers.
        let text: Vec<_> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
        put(&format!("\x1b[H{}\x1b[J", text.join("\r\n")))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs no tidying.
        put(LEAVE).ok();
    }
}

fn lines() -> usize {
    tcgetwinsize(io::stdout())
        .ok()
        .map(|size| usize::from(size.ws_row))
        .filter(|rows| *rows > 0)
        .unwrap_or(LINES)
}

fn listen(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(CliError::Output)
}

/// Draws until it is interrupted.
///
/// # Errors
/// As [`CliError`]; standard output is no terminal.
pub async fn live(args: &WatchArgs) -> Result<Exit, CliError> {
    if !io::stdout().is_terminal() {
        let problem =
            "draws on a terminal, and standard output is none; without it there is a line for each event";
        return Err(CliError::Usage(vec![BadValue {
            flag: "--live",
            value: String::new(),
            problem: problem.to_owned(),
        }]));
    }
    let (asker, _) = args.client.asker();
    let session = args.client.connect().await?;
    let of = pb::WatchMeetingsRequest {
        resume_after: None,
        meeting_id: args.meeting.clone(),
        participant_id: args.participant.clone(),
    };
    // First the events, then what is there: nothing falls between the two.
    let mut events =
        session.open(of, async |mut client, request| client.watch_meetings(request).await).await?;
    let mut people = session
        .open(pb::WatchParticipantsRequest {}, async |mut client, request| {
            client.watch_participants(request).await
        })
        .await?;
    let mut board = Board::default();
    for meeting in first(args, &session).await? {
        board.listed(meeting);
    }
    let (mut interrupted, mut terminated) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut resized = listen(SignalKind::window_change())?;
    let mut tick = tokio::time::interval(DRAWN);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let screen = Screen::enter()?;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = resized.recv() => {}
            _ = interrupted.recv() => return Ok(Exit::Done),
            _ = terminated.recv() => return Ok(Exit::Done),
            event = events.message() => match event? {
                Some(answer) => {
                    board.event(answer.event.unwrap_or_default());
                    continue;
                }
                None => return Ok(Exit::Done),
            },
            person = people.message() => match person? {
                Some(answer) => {
                    board.person(answer.participant.unwrap_or_default());
                    continue;
                }
                None => return Ok(Exit::Done),
            },
        }
        let now = Timestamp::now();
        if !screen.draw(&board.show(lines(), &args.client.scheduler, now, &asker.zone))? {
            return Ok(Exit::Done);
        }
    }
}

/// What there is to begin with.
async fn first(args: &WatchArgs, session: &super::client::Session) -> Result<Vec<pb::Meeting>, CliError> {
    if !args.meeting.is_empty() {
        let request = pb::GetMeetingRequest { meeting_id: args.meeting.clone() };
        let answer =
            session.call(request, async |mut client, request| client.get_meeting(request).await).await?;
        return Ok(answer.meeting.into_iter().collect());
    }
    let now = Timestamp::now();
    let request = pb::ListMeetingsRequest {
        range: Some(values::time_range(now, Timestamp::MAX)),
        participant_id: args.participant.clone(),
        page_size: FIRST,
        ..Default::default()
    };
    let answer =
        session.call(request, async |mut client, request| client.list_meetings(request).await).await?;
    let mut meetings = answer.meetings;
    meetings.sort_by_key(|meeting| std::cmp::Reverse(values::instant(meeting.update_time.as_ref())));
    Ok(meetings)
}
