//! `quorate week`: a participant's week, or that of everybody in a meeting, as a grid and a list.
//!
//! A scheduler never shows a participant's own calendar: the week is what quorate has booked. Own events come
//! only from a folder of calendars on the asker's machine.

mod days;
mod grid;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::client::{ClientArgs, Session};
use super::error::{BadValue, CliError, Exit};
use super::json;
use super::local;
use super::meetings::read as read_meeting;
use super::parse;
use super::render;
use super::request::Reader;
use super::table::clean;
use super::values;
use super::zone::{self, Zone};
use crate::app::calendars::{self, OwnTime};
use crate::core::limits;
use crate::core::time::TimeRange;
use crate::core::zones::{from_jiff, to_jiff};
use crate::wire::pb;
use days::Week;
use grid::Item;

/// Hours of a day that are drawn in any case, in minutes.
const HOURS: (u16, u16) = (8 * 60, 18 * 60);
/// Most attendees of a meeting whose weeks are shown together: each is asked for by itself.
const PEOPLE: usize = 50;
/// What names nobody.
const ASIDE: &str = "Only what quorate has booked: nobody's own events are shown by a scheduler.";

const EXAMPLES: &str = "\
Examples:
  quorate week --participant alice
  quorate week --participant alice,bob --week next --zone America/New_York
  quorate week --participant alice --week 2026-W13 --calendars ./calendars
  quorate week --meeting 0190c2a4-8f7e-7cc3-98c4-dc0c0c07398f

A scheduler never shows anybody's own calendar: the week is what quorate has booked. Own events are shown only from
calendars on this machine (--calendars), without their titles. Exits with 4 if there is no such meeting or participant.";

/// Arguments of `quorate week`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct WeekArgs {
    /// Whose week, such as alice or alice,bob
    #[arg(long, value_name = "IDS", value_delimiter = ',', required_unless_present = "meeting")]
    pub participant: Vec<String>,
    /// The meeting whose attendees' week to show
    #[arg(long, value_name = "MEETING", conflicts_with = "participant")]
    pub meeting: Option<String>,
    /// Which week: 2026-W13, a date in it, this, next or last. Default: the meeting's, else this one
    #[arg(long, value_name = "WEEK")]
    pub week: Option<String>,
    /// IANA zone on whose wall clock to show the week. Default: yours (see --time-zone)
    #[arg(long, value_name = "ZONE", value_parser = zone::iana_name)]
    pub zone: Option<String>,
    /// Hours to draw; more are drawn where a meeting needs them. Default: 08:00-18:00
    #[arg(long, value_name = "HOURS", value_parser = parse::hours)]
    pub hours: Option<(u16, u16)>,
    /// Folder with calendars, one NAME.ics per participant as for `quorate agent`, to show own events from
    #[arg(long, value_name = "DIR")]
    pub calendars: Option<PathBuf>,
    /// The connection.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// All that a week is drawn from.
#[derive(Clone, Debug)]
struct View {
    week: Week,
    /// Whose week.
    people: Vec<String>,
    /// Attendees of the meeting who are not shown.
    left_out: usize,
    /// The meeting that was asked for.
    meeting: Option<String>,
    /// In the order of their slots.
    meetings: Vec<pb::Meeting>,
    /// Of the folder, if one was named.
    own: Vec<OwnTime>,
    hours: (u16, u16),
}

/// Shows a week.
///
/// # Errors
/// As [`CliError`].
pub async fn week(args: &WeekArgs) -> Result<Exit, CliError> {
    let (_, mut reference) = args.client.asker();
    let mut reader = Reader::new(reference.clone());
    if let Some(name) = &args.zone {
        match Zone::named(name) {
            Ok(zone) => reference.zone = zone,
            Err(problem) => reader.problem("--zone", name, problem),
        }
    }
    let text = args.week.as_deref();
    let date = text.map(|text| (text, days::read(text, &reference)));
    let mut chosen = None;
    if let Some((text, date)) = date {
        match date.and_then(|date| Week::of(date, &reference.zone)) {
            Ok(week) => chosen = Some(week),
            Err(problem) => reader.problem("--week", text, problem),
        }
    }
    reader.finish()?;
    let session = args.client.connect().await?;
    let meeting = match &args.meeting {
        Some(id) => Some(read_meeting(&session, id).await?),
        None => None,
    };
    let week = match chosen {
        Some(week) => week,
        None => {
            let slot = meeting.as_ref().and_then(|meeting| values::range(meeting.slot.as_ref()));
            let at = slot.map_or(reference.now, |(start, _)| start);
            let date = at.to_zoned(reference.zone.rules.clone()).date();
            Week::of(date, &reference.zone).map_err(|problem| bad("--week", "", problem))?
        }
    };
    let (people, left_out) = people(args, meeting.as_ref());
    if meeting.is_none() {
        // A name that nobody has would have an empty week.
        for id in &people {
            known(&session, id).await?;
        }
    }
    let meetings = meetings(&session, &week, &people).await?;
    let own = own(args, &week, &people)?;
    let view = View {
        week,
        people,
        left_out,
        meeting: meeting.map(|meeting| meeting.meeting_id),
        meetings,
        own,
        hours: args.hours.unwrap_or(HOURS),
    };
    args.client.print(|| view.json(), || view.text())?;
    Ok(Exit::Done)
}

fn bad(flag: &'static str, value: &str, problem: String) -> CliError {
    CliError::Usage(vec![BadValue { flag, value: value.to_owned(), problem }])
}

/// Whose week it is, each once, and how many attendees are too many.
fn people(args: &WeekArgs, meeting: Option<&pb::Meeting>) -> (Vec<String>, usize) {
    let Some(meeting) = meeting else {
        let mut people: Vec<String> = Vec::new();
        for id in args.participant.iter().map(|id| id.trim()) {
            if !people.iter().any(|known| known == id) {
                people.push(id.to_owned());
            }
        }
        return (people, 0);
    };
    let all = meeting.attendees.iter().map(|attendee| attendee.participant_id.clone());
    (all.take(PEOPLE).collect(), meeting.attendees.len().saturating_sub(PEOPLE))
}

async fn known(session: &Session, id: &str) -> Result<(), CliError> {
    let request = pb::GetParticipantRequest { participant_id: id.to_owned() };
    session.call(request, async |mut client, request| client.get_participant(request).await).await.map(drop)
}

/// The meetings of these people whose slots lie in the week, booked or cancelled, each once.
async fn meetings(session: &Session, week: &Week, people: &[String]) -> Result<Vec<pb::Meeting>, CliError> {
    use pb::meeting::State;
    let (start, end) = week.range();
    let mut found = BTreeMap::new();
    for id in people {
        let mut request = pb::ListMeetingsRequest {
            range: Some(values::time_range(start, end)),
            participant_id: id.clone(),
            states: vec![State::Confirmed as i32, State::Cancelled as i32],
            page_size: limits::PAGE_MAX as i32,
            page_token: String::new(),
        };
        loop {
            let page = session
                .call(request.clone(), async |mut client, request| client.list_meetings(request).await)
                .await?;
            for meeting in page.meetings {
                let start = values::range(meeting.slot.as_ref()).map(|(start, _)| start);
                found.insert((start, meeting.meeting_id.clone()), meeting);
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
    }
    Ok(found.into_values().collect())
}

/// The own time of the people, from the folder that was named.
fn own(args: &WeekArgs, week: &Week, people: &[String]) -> Result<Vec<OwnTime>, CliError> {
    let Some(folder) = &args.calendars else { return Ok(Vec::new()) };
    let (start, end) = week.range();
    let range = TimeRange::new(from_jiff(start), from_jiff(end));
    calendars::own_time(folder, people, range)
        .map_err(|problem| bad("--calendars", &folder.display().to_string(), problem))
}

fn attends(outcome: &pb::AttendeeOutcome) -> bool {
    outcome.status == pb::attendee_outcome::Status::Attending as i32
}

impl View {
    /// Whether one of the people takes part in a meeting that stands: who was asked and is busy has the time.
    fn takes_time(&self, meeting: &pb::Meeting) -> bool {
        let here =
            |outcome: &pb::AttendeeOutcome| attends(outcome) && self.people.contains(&outcome.participant_id);
        meeting.state == pb::meeting::State::Confirmed as i32 && meeting.attendees.iter().any(here)
    }

    fn booked(&self) -> Vec<Item> {
        let taken = self.meetings.iter().filter(|meeting| self.takes_time(meeting));
        let item = |meeting: &pb::Meeting| {
            let (start, end) = values::range(meeting.slot.as_ref())?;
            Some(Item { start, end, label: render::title(meeting) })
        };
        taken.filter_map(item).collect()
    }

    fn own_items(&self) -> Vec<Item> {
        let alone = self.people.len() == 1;
        let of = |own: &OwnTime| {
            let label = if alone { String::new() } else { own.participant.clone() };
            let busy = own.busy.as_deref().unwrap_or_default().iter();
            let item = |range: &TimeRange| Item {
                start: to_jiff(range.start),
                end: to_jiff(range.end),
                label: label.clone(),
            };
            busy.map(item).collect::<Vec<_>>()
        };
        self.own.iter().flat_map(of).collect()
    }

    /// What the person should know beside the grid.
    fn notes(&self) -> Vec<String> {
        let mut notes = self.week.notes();
        if self.left_out > 0 {
            let (shown, left) = (self.people.len(), self.left_out);
            notes.push(format!("the first {shown} attendees are shown; {left} more are not"));
        }
        for own in &self.own {
            let whose = &own.participant;
            if let Err(problem) = &own.busy {
                notes.push(format!("own events of {whose}: unknown: {problem}"));
            }
            if let Some(degraded) = &own.degraded {
                notes.push(format!("the calendar of {whose} can't be read for certain: {degraded}"));
            }
            if own.zoneless {
                let rest = "names no time zone: times without one are read as UTC";
                notes.push(format!("the calendar of {whose} {rest}"));
            }
        }
        notes
    }

    fn text(&self) -> String {
        let (week, name) = (&self.week, &self.week.zone.name);
        let (first, last) = (week.days[0].date, week.days[6].date);
        let who = self.people.iter().take(5).map(|id| clean(id)).collect::<Vec<_>>().join(", ");
        let more = match self.people.len().saturating_sub(5) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let mut text = format!("Week {} of {who}{more}: {first} to {last}, times in {name}.\n", week.name());
        let (booked, own) = (self.booked(), self.own_items());
        text.push_str(&grid::draw(week, &booked, &own, self.hours));
        match grid::undrawn(week, &booked, &own, self.hours) {
            0 => {}
            undrawn => {
                let count = render::count(i32::try_from(undrawn).unwrap_or(i32::MAX), "time");
                let _ = writeln!(
                    text,
                    "note: own events at {count} lie outside the hours that are drawn: --hours 0-24 shows all"
                );
            }
        }
        for note in self.notes() {
            let _ = writeln!(text, "note: {}", clean(&note));
        }
        text.push_str(if self.meetings.is_empty() { "No meetings.\n" } else { "Meetings:\n" });
        for meeting in &self.meetings {
            self.list(meeting, &mut text);
        }
        if self.own.is_empty() {
            let _ = writeln!(text, "{ASIDE}");
        }
        text
    }

    /// One meeting on a few lines: when, what, its state; who; and everybody's local time.
    fn list(&self, meeting: &pb::Meeting, text: &mut String) {
        let zone = &self.week.zone;
        let Some((start, end)) = values::range(meeting.slot.as_ref()) else { return };
        let mark = if self.meeting.as_ref() == Some(&meeting.meeting_id) { '*' } else { ' ' };
        let state = values::state(meeting.state).to_lowercase();
        let title = render::title(meeting);
        let _ = writeln!(text, "{mark} {}  {title}  ({state})", zone.show_range(start, end));
        let names = |yes: bool| {
            let of = meeting.attendees.iter().filter(|outcome| attends(outcome) == yes);
            render::names(of.map(|outcome| outcome.participant_id.as_str()))
        };
        let (yes, no) = (names(true), names(false));
        let without = if no.is_empty() { String::new() } else { format!(" (without {no})") };
        let _ = writeln!(text, "      {}{without}", if yes.is_empty() { "nobody" } else { &yes });
        let there = meeting.attendees.iter().filter(|outcome| attends(outcome));
        if let Some(there) = local::times(start, there, zone) {
            let _ = writeln!(text, "      {there}");
        }
        if !meeting.local_time_detail.is_empty() {
            let _ = writeln!(text, "      {}", clean(&meeting.local_time_detail));
        }
        for outcome in meeting.attendees.iter().filter(|outcome| attends(outcome)) {
            if !outcome.detail.is_empty() {
                let (id, detail) = (clean(&outcome.participant_id), clean(&outcome.detail));
                let _ = writeln!(text, "      {id}: {detail}");
            }
        }
    }

    fn json(&self) -> Value {
        let week = &self.week;
        let range = |start, end| json::time_range(&values::time_range(start, end));
        let day = |day: &days::Day| {
            json!({
                "date": day.date.to_string(),
                "range": range(day.start, day.end),
                "length": format!("{}s", day.minutes() * 60),
            })
        };
        let own = |own: &OwnTime| match &own.busy {
            Ok(busy) => {
                let busy = busy.iter().map(|busy| range(to_jiff(busy.start), to_jiff(busy.end)));
                json!({ "participantId": own.participant, "busy": busy.collect::<Value>() })
            }
            Err(problem) => json!({ "participantId": own.participant, "problem": problem }),
        };
        json!({
            "week": week.name(),
            "timeZone": week.zone.name,
            "participants": self.people,
            "participantsLeftOut": self.left_out,
            "days": week.days.iter().map(day).collect::<Value>(),
            "meetings": self.meetings.iter().map(json::meeting).collect::<Value>(),
            "ownTime": self.own.iter().map(own).collect::<Value>(),
            "notes": self.notes(),
        })
    }
}

#[cfg(test)]
mod tests;
