//! The page for people: a picture of this moment, without scripts.

use std::fmt::Display;

use chrono::{SecondsFormat, TimeDelta};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Build, NotReady};
use crate::core::coordinator::{InFlight, Work};
use crate::core::model::{EventKind, Meeting, MeetingState};
use crate::core::record::EventRow;
use crate::core::time::{Instant, TimeRange};
use crate::engine::{ParticipantView, Vitals};

/// Names that a cell of the table has room for.
const NAMES: usize = 8;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--quiet:#888;--good:#2a7d46;--bad:#c0392b}\
body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
th{font-weight:600;color:var(--quiet)}td.n{text-align:right;font-variant-numeric:tabular-nums}\
code,.t{font-family:ui-monospace,monospace;font-size:.92em}.t{white-space:nowrap}\
.quiet{color:var(--quiet)}.good{color:var(--good)}.bad{color:var(--bad)}\
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));gap:.75rem;margin:1.25rem 0 0}\
dt{color:var(--quiet)}dd{margin:0;font-size:1.3rem;font-variant-numeric:tabular-nums}";

/// What the page shows.
#[derive(Debug)]
pub(super) struct View {
    pub build: Build,
    pub started: Instant,
    pub ready: Result<(), NotReady>,
    /// `None` if the engine does not answer.
    pub vitals: Option<Vitals>,
    pub participants: Vec<ParticipantView>,
    pub known: usize,
    pub connected: usize,
    /// Meetings that are booked and not over; `None` if the store could not be read.
    pub booked: Option<u64>,
    /// The newest come last.
    pub events: Result<Vec<EventRow>, String>,
}

/// The page.
pub(super) fn render(view: &View) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                meta http-equiv="refresh" content="5";
                title { "quorate" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 {
                        "quorate "
                        @match view.ready {
                            Ok(()) => span.good { "takes requests" },
                            Err(why) => span.bad { (why) },
                        }
                    }
                    div.quiet {
                        "version " (view.build.version) ", time-zone data " (view.build.zone_data)
                        ", up since " (time(view.started))
                    }
                }
                (figures(view))
                (in_flight(view.vitals.as_ref()))
                (decisions(&view.events))
                (participants(view))
            }
        }
    }
}

fn figures(view: &View) -> Markup {
    let figure = |name: &str, value: &dyn Display| html! { div { dt { (name) } dd { (value) } } };
    html! {
        dl {
            (figure("connected", &format_args!("{} of {}", view.connected, view.known)))
            @if let Some(booked) = view.booked {
                (figure("booked, upcoming", &booked))
            }
            @if let Some(vitals) = &view.vitals {
                @let counters = &vitals.counters;
                (figure("in flight", &vitals.gauges.iter().flat_map(|g| &g.live).map(|(_, n)| n).sum::<usize>()))
                (figure("holds", &vitals.gauges.as_ref().map_or(0, |gauges| gauges.holds)))
                (figure("committed", &counters.committed))
                (figure("aborted", &counters.aborted))
                (figure("failed", &counters.failures.each().map(|(_, n)| n).sum::<u64>()))
                (figure("displaced", &counters.displaced))
                (figure("pushed", &counters.pushed))
                (figure("alarms", &counters.alarms))
                (figure("store failures", &vitals.store.failures))
            }
        }
        @if let Some(vitals) = &view.vitals {
            @if vitals.counters.alarms > 0 {
                p.bad { "An alarm is a state that must not be: see the log for lines with alarm=true." }
            }
        }
    }
}

fn in_flight(vitals: Option<&Vitals>) -> Markup {
    let jobs: &[InFlight] = vitals.map_or(&[], |vitals| &vitals.in_flight);
    html! {
        h2 { "Meetings in flight" }
        @if jobs.is_empty() {
            p.quiet { "None at this moment." }
        } @else {
            table {
                tr { th { "meeting" } th { "for" } th { "phase" } th { "slot" } th { "waits for" } th { "slots tried" }
                     th { "time left" } }
                @for job in jobs {
                    tr {
                        td { code { (job.meeting) } }
                        td { (work(job.work)) }
                        td { (job.phase) }
                        td.t { @if let Some(slot) = &job.slot { (range(slot)) } }
                        td { (names(job.waiting_for.iter().map(ToString::to_string).collect())) " of "
                             (job.attendees) }
                        td.n { (job.attempts) }
                        td.n { (job.left.as_secs()) " s" }
                    }
                }
            }
        }
    }
}

fn decisions(events: &Result<Vec<EventRow>, String>) -> Markup {
    html! {
        h2 { "Recent decisions" }
        @match events {
            Err(why) => p.bad { (why) },
            Ok(events) if !events.iter().any(decides) => p.quiet { "None yet." },
            Ok(events) => table {
                tr { th { "time (UTC)" } th { "event" } th { "meeting" } th { "slot (UTC)" } th { "attendees" }
                     th { "why" } }
                @for row in events.iter().rev().filter(|row| decides(row)) {
                    @let meeting = &row.event.meeting;
                    tr {
                        td.t { (time(row.event.time)) }
                        td class=[tone(row.event.kind)] { (kind(row.event.kind)) }
                        td.t { (meeting.id) }
                        td.t { @if let Some(slot) = &meeting.slot { (range(slot)) } }
                        td { (names(meeting.spec.attendees.iter().map(|a| a.id.to_string()).collect())) }
                        td { (reason(row.event.kind, meeting)) }
                    }
                }
            },
        }
    }
}

fn participants(view: &View) -> Markup {
    let more = view.known.saturating_sub(view.participants.len());
    html! {
        h2 { "Participants" }
        @if view.participants.is_empty() {
            p.quiet { "Nobody has registered yet." }
        } @else {
            table {
                tr { th { "id" } th { "agent" } th { "zone" } th { "registrations" } th { "remarks" } }
                @for participant in &view.participants {
                    tr {
                        td { (participant.row.id) }
                        td {
                            @match participant.connected_since {
                                Some(since) => { span.good { "connected" } " since " span.t { (time(since)) } },
                                None => { span.bad { "away" } ", last seen "
                                          span.t { (time(participant.row.last_seen)) } },
                            }
                        }
                        td { (participant.row.time_zone.as_deref().unwrap_or("")) }
                        td.n { (participant.row.epoch.0) }
                        td { (remarks(participant)) }
                    }
                }
            }
            @if more > 0 { p.quiet { "and " (more) " more" } }
        }
    }
}

fn remarks(participant: &ParticipantView) -> String {
    let zone = participant.remarks.zone.problem().unwrap_or_default();
    let calendar = &participant.remarks.calendar_problem;
    match (zone.is_empty(), calendar.is_empty()) {
        (false, false) => format!("{calendar}; {zone}"),
        _ => format!("{calendar}{zone}"),
    }
}

/// In UTC, to the second.
fn time(at: Instant) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true).replace('T', " ").replace('Z', "")
}

fn range(slot: &TimeRange) -> String {
    let same_day =
        slot.end - slot.start < TimeDelta::days(1) && slot.end.date_naive() == slot.start.date_naive();
    let end =
        if same_day { slot.end.format("%H:%M").to_string() } else { slot.end.format("%F %H:%M").to_string() };
    format!("{}–{end}", slot.start.format("%F %H:%M"))
}

fn names(mut all: Vec<String>) -> String {
    let more = all.len().saturating_sub(NAMES);
    all.truncate(NAMES);
    match (all.is_empty(), more) {
        (true, _) => "nobody".into(),
        (false, 0) => all.join(", "),
        (false, more) => format!("{}, and {more} more", all.join(", ")),
    }
}

fn work(work: Work) -> &'static str {
    match work {
        Work::Booking => "booking",
        Work::Search => "search",
        Work::Change => "change",
        Work::Series => "series",
    }
}

fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Scheduling => "scheduling",
        EventKind::Confirmed => "confirmed",
        EventKind::Failed => "failed",
        EventKind::Rescheduled => "moved",
        EventKind::Cancelled => "called off",
        EventKind::Updated => "updated",
        EventKind::Displaced => "displaced",
        EventKind::AttendeeDeclined => "attendee declined",
        EventKind::Delivered => "delivered",
    }
}

/// Whether an event is a decision, or only a step to one.
fn decides(row: &EventRow) -> bool {
    !matches!(row.event.kind, EventKind::Scheduling | EventKind::Delivered)
}

fn tone(kind: EventKind) -> Option<&'static str> {
    match kind {
        EventKind::Confirmed | EventKind::Rescheduled => Some("good"),
        EventKind::Failed | EventKind::Displaced => Some("bad"),
        _ => None,
    }
}

/// Why it came so, as far as the event tells: a failure in its own words, or after how many slots.
fn reason(kind: EventKind, meeting: &Meeting) -> String {
    match (kind, &meeting.failure, &meeting.displaced_by) {
        (EventKind::Failed, Some(failure), _) => failure.message.clone(),
        (EventKind::Displaced, _, Some(by)) => format!("for meeting {by}"),
        (EventKind::Confirmed | EventKind::Rescheduled, ..) => {
            let tried = match meeting.attempts {
                0 | 1 => "first slot tried".to_owned(),
                n => format!("{n} slots tried"),
            };
            let lost = meeting.attempt_log.iter().rev().skip(1).map(|entry| entry.message.as_str()).next();
            match lost.filter(|_| meeting.attempts > 1 && meeting.state == MeetingState::Confirmed) {
                Some(lost) => format!("{tried}; the one before: {lost}"),
                None => tried,
            }
        }
        _ => String::new(),
    }
}
