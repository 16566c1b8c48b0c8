//! The answers in words and tables, for people. Pure; times are in the asker's zone, which is named once.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::local;
use super::table::{cell, clean, table};
use super::values;
use super::zone::Zone;
use crate::wire::pb;

/// Most names in one cell.
const NAMES: usize = 5;
/// Characters of an id of which only the beginning is shown.
const SHORT_ID: usize = 8;

/// A slot in the asker's zone. Empty if there is none.
pub(super) fn slot(value: Option<&pb::TimeRange>, zone: &Zone) -> String {
    values::range(value).map(|(start, end)| zone.show_range(start, end)).unwrap_or_default()
}

fn instant(value: Option<&prost_types::Timestamp>, zone: &Zone) -> String {
    values::instant(value).map(|at| zone.show(at)).unwrap_or_default()
}

/// A meeting's title, or a word that it has none.
pub(super) fn title(meeting: &pb::Meeting) -> String {
    let title = meeting.spec.as_ref().map(|spec| clean(&spec.title)).unwrap_or_default();
    if title.is_empty() { "(no title)".to_owned() } else { title }
}

/// "1 slot", "2 slots".
pub(super) fn count(n: i32, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// The first few of many names.
pub(super) fn names<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let ids: Vec<_> = ids.collect();
    let shown = ids.iter().take(NAMES).map(|id| clean(id)).collect::<Vec<_>>().join(", ");
    if ids.len() > NAMES { format!("{shown} and {} more", ids.len() - NAMES) } else { shown }
}

fn status_word(status: i32) -> String {
    use pb::attendee_outcome::Status;
    let word = match Status::try_from(status) {
        Ok(Status::Unspecified) => "unknown",
        Ok(Status::Attending) => "attends",
        Ok(Status::Busy) => "busy",
        Ok(Status::NoAnswer) => "no answer",
        Ok(Status::Disconnected) => "not connected",
        Ok(Status::Declined) => "declined",
        Ok(Status::NotAsked) => "not asked",
        Err(_) => return format!("status {status}"),
    };
    word.to_owned()
}

fn role_word(role: i32) -> String {
    use pb::attendee::Role;
    let word = match Role::try_from(role) {
        Ok(Role::Unspecified | Role::Invited) => "invited",
        Ok(Role::Required) => "required",
        Ok(Role::Optional) => "optional",
        Err(_) => return format!("role {role}"),
    };
    word.to_owned()
}

fn attends(outcome: &pb::AttendeeOutcome) -> bool {
    outcome.status == pb::attendee_outcome::Status::Attending as i32
}

/// Everyone, those who attend first. `word` is the one for ATTENDING where it does not mean that they attend.
fn attendee_table(attendees: &[pb::AttendeeOutcome], confirmed: bool, word: Option<&str>) -> String {
    let row = |outcome: &pb::AttendeeOutcome| {
        let status = match word {
            Some(word) if attends(outcome) => word.to_owned(),
            _ => status_word(outcome.status),
        };
        let undelivered = confirmed && attends(outcome) && !outcome.confirmation_delivered;
        let note = match (undelivered, outcome.detail.as_str()) {
            (false, detail) => detail.to_owned(),
            (true, "") => "confirmation on its way".to_owned(),
            (true, detail) => format!("{detail}; confirmation on its way"),
        };
        vec![outcome.participant_id.clone(), role_word(outcome.role), status, note]
    };
    let (yes, no): (Vec<_>, Vec<_>) = attendees.iter().partition(|outcome| attends(outcome));
    let rows: Vec<_> = yes.into_iter().chain(no).map(row).collect();
    if rows.is_empty() { String::new() } else { table(&["WHO", "ROLE", "STATUS", "NOTE"], &rows) }
}

fn attempts(meeting: &pb::Meeting, zone: &Zone) -> String {
    let log = match meeting.failure.as_ref() {
        Some(failure) if meeting.attempt_log.is_empty() => &failure.attempt_log,
        _ => &meeting.attempt_log,
    };
    let mut text = if meeting.attempts > 0 || !log.is_empty() {
        format!("{} tried.\n", count(meeting.attempts.max(log.len() as i32), "slot"))
    } else {
        String::new()
    };
    // A first try that went well has nothing more to tell.
    if log.len() > 1 || meeting.state == pb::meeting::State::Failed as i32 {
        text.push_str(&attempt_table(log, zone));
    }
    text
}

fn attempt_table(log: &[pb::AttemptLogEntry], zone: &Zone) -> String {
    let row = |entry: &pb::AttemptLogEntry| {
        let outcome =
            values::bare_name(entry.outcome, pb::attempt_log_entry::Outcome::as_str_name, "OUTCOME_");
        let outcome = outcome.to_lowercase().replace('_', " ");
        let missing = entry.attendees.iter().filter(|outcome| !attends(outcome));
        let why = match entry.message.as_str() {
            "" => names(missing.map(|outcome| outcome.participant_id.as_str())),
            message => message.to_owned(),
        };
        vec![entry.number.to_string(), slot(entry.slot.as_ref(), zone), outcome, why]
    };
    let rows: Vec<_> = log.iter().map(row).collect();
    if rows.is_empty() { String::new() } else { table(&["#", "SLOT", "OUTCOME", "WHY"], &rows) }
}

/// What the slots were lost to: "120 slots considered: 90 lost because …".
fn counts(value: &pb::CandidateCounts) -> String {
    let causes = [
        (value.required_busy, "someone required is busy"),
        (value.required_unreachable, "someone required did not answer"),
        (value.quorum_missed, "too few are free"),
        (value.held_by_others, "held for another meeting"),
        (value.refused, "refused when it was to be held"),
    ];
    let lost: Vec<_> =
        causes.iter().filter(|(n, _)| *n > 0).map(|(n, cause)| format!("{n} {cause}")).collect();
    let colon = if lost.is_empty() { "." } else { ": " };
    format!("{} looked at{colon}{}", count(value.considered, "slot"), lost.join(", "))
}

/// The option that would carry out a relaxation.
fn relaxation_option(value: &pb::Relaxation, zone: &Zone) -> Option<String> {
    if value.minimum_participants > 0 {
        Some(format!("--minimum {}", value.minimum_participants))
    } else if let Some(latest) = values::instant(value.latest.as_ref()) {
        let local = latest.to_zoned(zone.rules.clone());
        Some(format!("--until \"{}\"", local.strftime("%Y-%m-%d %H:%M")))
    } else if !value.release_required.is_empty() {
        let id = clean(&value.release_required);
        Some(format!("--with {id} instead of --require {id}"))
    } else if value.unrestricted_hours {
        Some("--any-hours".to_owned())
    } else {
        value.duration.as_ref().map(|length| format!("--duration {}", values::show_length(length)))
    }
}

/// Why there is no slot: reason, counts, everyone's status, and what would have worked.
pub fn failure(value: &pb::Failure, zone: &Zone) -> String {
    let reason = values::bare_name(value.reason, pb::failure::Reason::as_str_name, "REASON_");
    let mut text = format!("Reason: {reason}");
    if !value.message.is_empty() {
        let _ = write!(text, ": {}", clean(&value.message));
    }
    text.push('\n');
    if let Some(value) = value.counts.as_ref().filter(|counts| counts.considered > 0) {
        let _ = writeln!(text, "{}", counts(value));
    }
    text.push_str(&attendee_table(&value.attendees, false, Some("free at some of them")));
    if !value.relaxations.is_empty() {
        text.push_str("What would help:\n");
    }
    for relaxation in &value.relaxations {
        let words = clean(&relaxation.message);
        let option = relaxation_option(relaxation, zone);
        let option = option.map(|option| format!("  [{option}]")).unwrap_or_default();
        // The words have the slot in the zone that was asked in.
        let told = words.contains(&format!("({})", zone.name));
        let at = match slot(relaxation.slot.as_ref(), zone).as_str() {
            slot if slot.is_empty() || told => String::new(),
            slot => format!(" ({slot})"),
        };
        let _ = writeln!(text, "  - {words}{at}{option}");
    }
    text
}

/// A meeting: what became of it, when, who attends, who does not and why. `headline` tells what was done.
pub fn meeting(value: &pb::Meeting, headline: &str, zone: &Zone) -> String {
    use pb::meeting::State;
    let mut text = format!("{headline}: {}\n", title(value));
    let when = slot(value.slot.as_ref(), zone);
    if !when.is_empty() {
        let _ = writeln!(text, "  when      {when}  ({})", zone.name);
    }
    if let Some((start, _)) = values::range(value.slot.as_ref())
        && let Some(there) = local::times(start, value.attendees.iter(), zone)
    {
        let _ = writeln!(text, "  there     {there}");
    }
    let spec = value.spec.clone().unwrap_or_default();
    if !spec.organizer.is_empty() {
        let _ = writeln!(text, "  asked by  {}", clean(&spec.organizer));
    }
    if !value.meeting_id.is_empty() {
        let _ = writeln!(text, "  meeting   {}", clean(&value.meeting_id));
    }
    if !value.series_id.is_empty() {
        let _ = writeln!(text, "  series    {}", clean(&value.series_id));
    }
    if !value.displaced_meetings.is_empty() {
        let displaced = names(value.displaced_meetings.iter().map(String::as_str));
        let _ = writeln!(text, "  displaced {displaced}, being scheduled again");
    }
    if when.is_empty() {
        let _ = writeln!(text, "Times are in {}.", zone.name);
    }
    if let Some(why) = &value.failure {
        text.push_str(&failure(why, zone));
        if why.attendees.is_empty() {
            text.push_str(&attendee_table(&value.attendees, false, None));
        }
    } else {
        // Of one that does not stand, the service tells who was booked.
        let gone = matches!(value.state(), State::Cancelled | State::Displaced).then_some("was to attend");
        text.push_str(&attendee_table(&value.attendees, value.state() == State::Confirmed, gone));
    }
    text.push_str(&attempts(value, zone));
    if !value.local_time_detail.is_empty() {
        let _ = writeln!(text, "note: {}", clean(&value.local_time_detail));
    }
    text + &clock_shifts(&value.clock_shifts)
}

/// What the clocks do to the hours that were asked for.
fn clock_shifts(shifts: &[pb::ClockShift]) -> String {
    shifts.iter().map(|shift| format!("note: {}\n", clean(&shift.message))).collect()
}

/// The headline for a meeting's state.
pub fn state_headline(state: i32) -> &'static str {
    use pb::meeting::State;
    match State::try_from(state) {
        Ok(State::Confirmed) => "Booked",
        Ok(State::Failed) => "Not booked",
        Ok(State::Cancelled) => "Cancelled",
        Ok(State::Scheduling) => "Being scheduled",
        Ok(State::Displaced) => "Displaced, being scheduled again",
        Ok(State::Unspecified) | Err(_) => "Meeting",
    }
}

/// What was asked for, with the defaults filled in: for `get` and `--validate-only`.
pub fn spec(value: &pb::Meeting, zone: &Zone) -> String {
    let spec = value.spec.clone().unwrap_or_default();
    let window = spec.window.clone().unwrap_or_default();
    let length = spec.duration.as_ref().map(values::show_length).unwrap_or_default();
    let minimum = match spec.minimum_participants {
        0 => "all".to_owned(),
        n => n.to_string(),
    };
    let within = match (instant(window.earliest.as_ref(), zone), instant(window.latest.as_ref(), zone)) {
        (from, until) if from.is_empty() && until.is_empty() => String::new(),
        (from, until) if until.is_empty() => format!("from {from}"),
        (from, until) if from.is_empty() => format!("until {until}"),
        (from, until) => format!("{from} – {until}"),
    };
    let hours = window.working_hours.as_ref().map(working_hours).unwrap_or_default();
    let attendees = names(spec.attendees.iter().map(|attendee| attendee.participant_id.as_str()));
    let objective = values::bare_name(spec.objective, pb::meeting_spec::Objective::as_str_name, "OBJECTIVE_");
    let objective = objective.to_lowercase().replace('_', " ");
    let lines = [
        ("length", length),
        ("attendees", attendees),
        ("minimum", minimum),
        ("priority", spec.priority.max(1).to_string()),
        ("best", if spec.objective == 0 { "earliest".to_owned() } else { objective }),
        ("window", within),
        ("hours", hours),
        ("zone", clean(&value.time_zone)),
        ("request", clean(&value.request_id)),
        ("etag", clean(&value.etag)),
        ("created", instant(value.create_time.as_ref(), zone)),
        ("changed", instant(value.update_time.as_ref(), zone)),
    ];
    let filled = lines.iter().filter(|(_, text)| !text.is_empty());
    filled.map(|(name, text)| format!("  {name:<9} {text}\n")).collect()
}

fn working_hours(hours: &pb::WorkingHours) -> String {
    if hours.unrestricted {
        return "any".to_owned();
    }
    let day = |day: &i32| {
        let name = values::bare_name(*day, pb::DayOfWeek::as_str_name, "DAY_OF_WEEK_");
        name.chars().take(3).enumerate().fold(String::new(), |mut short, (at, c)| {
            short.push(if at == 0 { c } else { c.to_ascii_lowercase() });
            short
        })
    };
    let days = hours.days.iter().map(day).collect::<Vec<_>>().join(",");
    let clock = |time: Option<&pb::TimeOfDay>, default: &str| {
        time.map_or(default.to_owned(), |time| format!("{:02}:{:02}", time.hours, time.minutes))
    };
    let (start, end) = (clock(hours.start.as_ref(), "08:00"), clock(hours.end.as_ref(), "17:00"));
    let days = if days.is_empty() { "Mon-Fri".to_owned() } else { days };
    let zone =
        if hours.time_zone.is_empty() { String::new() } else { format!(" {}", clean(&hours.time_zone)) };
    format!("{days} {start}-{end}{zone}")
}

/// The answer to `find`: the slots, the best first, or why there are none.
pub fn candidates(value: &pb::FindMeetingTimesResponse, zone: &Zone) -> String {
    let mut text = format!("Times are in {}", zone.name);
    if !value.time_zone.is_empty() && value.time_zone != zone.name {
        let _ = write!(text, "; hours and starts follow {}", clean(&value.time_zone));
    }
    text.push_str(".\n");
    text.push_str(&clock_shifts(&value.clock_shifts));
    if value.candidates.is_empty() {
        text.push_str("No slot found.\n");
        let fallback = value.counts.as_ref().map(|c| counts(c) + "\n");
        let why = value.failure.as_ref().map(|why| failure(why, zone));
        return text + &why.or(fallback).unwrap_or_default();
    }
    let costly = value.candidates.iter().any(|candidate| candidate.total_cost != 0);
    let row = |(at, candidate): (usize, &pb::Candidate)| {
        let missing = candidate.attendees.iter().filter(|outcome| !attends(outcome));
        let missing: Vec<_> = missing
            .map(|outcome| format!("{} ({})", outcome.participant_id, status_word(outcome.status)))
            .collect();
        vec![
            (at + 1).to_string(),
            slot(candidate.slot.as_ref(), zone),
            candidate.score.to_string(),
            format!("{} of {}", candidate.attending, candidate.attendees.len()),
            if costly { candidate.total_cost.to_string() } else { String::new() },
            names(missing.iter().map(String::as_str)),
            candidate.reason.clone(),
        ]
    };
    let rows: Vec<_> = value.candidates.iter().enumerate().map(row).collect();
    text.push_str(&table(&["#", "WHEN", "SCORE", "FREE", "COST", "CAN'T", "WHY"], &rows));
    text.push_str(&elsewhere(&value.candidates, zone));
    if let Some(value) = value.counts.as_ref().filter(|counts| counts.considered > 0) {
        let _ = writeln!(text, "{}", counts(value));
    }
    text
}

/// The slots where their attendees live, and what there is to know of the attendees; empty if all clocks agree.
fn elsewhere(candidates: &[pb::Candidate], zone: &Zone) -> String {
    let line = |(at, candidate): (usize, &pb::Candidate)| {
        let there = candidate.attendees.iter().filter(|outcome| attends(outcome));
        local::line(candidate.slot.as_ref(), there, zone).map(|line| format!("  {:<3} {line}\n", at + 1))
    };
    let mut text: String = candidates.iter().enumerate().filter_map(line).collect();
    if !text.is_empty() {
        text.insert_str(0, "Where the attendees are:\n");
    }
    // Of somebody who would attend there is something to say only if it holds for all slots.
    let told = candidates.first().into_iter().flat_map(|candidate| &candidate.attendees);
    for outcome in told.filter(|outcome| attends(outcome) && !outcome.detail.is_empty()) {
        let _ = writeln!(text, "note: {}: {}", clean(&outcome.participant_id), clean(&outcome.detail));
    }
    text
}

/// Who attends a meeting, for a line.
pub(super) fn attending(meeting: &pb::Meeting) -> String {
    let yes = meeting.attendees.iter().filter(|outcome| attends(outcome));
    names(yes.map(|outcome| outcome.participant_id.as_str()))
}

/// The beginning of an id, enough to see what belongs together; `get` and `--json` have all of it.
fn short(id: &str) -> String {
    let begin: String = id.chars().take(SHORT_ID).collect();
    if begin.len() < id.len() { begin + "…" } else { begin }
}

/// A page of meetings, or all of them.
pub fn meetings(value: &pb::ListMeetingsResponse, zone: &Zone) -> String {
    if value.meetings.is_empty() {
        return "No meetings.\n".to_owned();
    }
    let row = |meeting: &pb::Meeting| {
        let state = values::state(meeting.state).to_lowercase();
        vec![
            slot(meeting.slot.as_ref(), zone),
            title(meeting),
            state,
            attending(meeting),
            meeting.meeting_id.clone(),
            short(&meeting.series_id),
        ]
    };
    let rows: Vec<_> = value.meetings.iter().map(row).collect();
    let mut text = format!("Times are in {}.\n", zone.name);
    text.push_str(&table(&["WHEN", "TITLE", "STATE", "WHO", "MEETING", "SERIES"], &rows));
    text + &more(&value.next_page_token)
}

pub(super) fn more(next_page_token: &str) -> String {
    match next_page_token {
        "" => String::new(),
        token => format!("There are more: --all, or --page-token {}\n", clean(token)),
    }
}

/// An event as one line.
pub fn event(value: &pb::MeetingEvent, zone: &Zone) -> String {
    let kind = values::bare_name(value.r#type, pb::meeting_event::Type::as_str_name, "TYPE_");
    let at = values::instant(value.event_time.as_ref());
    let at = at.map(|at| clock(at, zone)).unwrap_or_default();
    let mut fields = vec![format!("#{}", value.sequence), at, format!("{kind:<17}")];
    if let Some(meeting) = &value.meeting {
        let why = meeting.failure.as_ref();
        let why = why.map(|why| values::bare_name(why.reason, pb::failure::Reason::as_str_name, "REASON_"));
        let details = [
            cell(&title(meeting)),
            slot(meeting.slot.as_ref(), zone),
            why.unwrap_or_default(),
            attending(meeting),
            clean(&meeting.meeting_id),
        ];
        fields.extend(details.into_iter().filter(|field| !field.is_empty()));
    }
    fields.join("  ") + "\n"
}

/// An instant to the second, for logs.
pub(super) fn clock(at: Timestamp, zone: &Zone) -> String {
    at.to_zoned(zone.rules.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn presence(value: &pb::Participant, zone: &Zone) -> (String, String) {
    if value.connected {
        let state = if value.calendar_problem.is_empty() { "connected" } else { "degraded" };
        (state.to_owned(), instant(value.connected_since.as_ref(), zone))
    } else {
        ("away".to_owned(), instant(value.last_seen.as_ref(), zone))
    }
}

/// Participants, a page or all of them.
pub fn participants(value: &pb::ListParticipantsResponse, zone: &Zone) -> String {
    if value.participants.is_empty() {
        return "No participants.\n".to_owned();
    }
    let row = |person: &pb::Participant| {
        let (state, since) = presence(person, zone);
        vec![
            person.participant_id.clone(),
            person.display_name.clone(),
            person.time_zone.clone(),
            state,
            since,
        ]
    };
    let rows: Vec<_> = value.participants.iter().map(row).collect();
    let mut text = format!("Times are in {}.\n", zone.name);
    text.push_str(&table(&["ID", "NAME", "ZONE", "STATE", "SINCE"], &rows));
    for person in &value.participants {
        for what in [&person.time_zone_detail, &person.calendar_problem] {
            if !what.is_empty() {
                let _ = writeln!(text, "note: {}: {}", clean(&person.participant_id), clean(what));
            }
        }
    }
    text + &more(&value.next_page_token)
}

/// A participant as one line.
pub fn participant(value: &pb::Participant, zone: &Zone) -> String {
    let (state, since) = presence(value, zone);
    let since = if since.is_empty() { since } else { format!("since {since}") };
    let problem = cell(&value.calendar_problem);
    let fields = [
        clean(&value.participant_id),
        state,
        since,
        clean(&value.time_zone),
        cell(&value.display_name),
        clean(&value.time_zone_detail),
        problem,
    ];
    fields.into_iter().filter(|field| !field.is_empty()).collect::<Vec<_>>().join("  ") + "\n"
}

#[cfg(test)]
mod tests;
