//! The bookings of a series as one recurring event (RFC 5545): one VEVENT with the rule, EXDATE for occurrences that are
//! not booked, and one VEVENT with RECURRENCE-ID for each that is booked otherwise than the rule has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::civil;
use jiff::tz::{Dst, Offset, TimeZone};

use super::output::{BookedEvent, utc};
use crate::core::recurrence::Rule;
use crate::core::series::{Recurrence, ending};
use crate::core::time::Instant;
use crate::core::zones as tz;

/// Occurrences of one series that are looked through at most; bookings behind them are written one by one.
const OCCURRENCES: usize = 5_000;

/// One recurring event.
pub(super) struct Recurring<'a> {
    /// The series.
    pub id: String,
    /// Whose details and length the rule's occurrences have: as most of them.
    pub master: &'a BookedEvent,
    /// The highest revision of its meetings.
    pub sequence: u64,
    recurrence: &'a Recurrence,
    zone: TimeZone,
    /// The rule, which ends with the last booking.
    rule: String,
    last: Instant,
    left_out: Vec<civil::DateTime>,
    changed: Vec<&'a BookedEvent>,
}

/// The recurring events among the bookings, and the bookings that are events of their own.
pub(super) fn sort(bookings: &[BookedEvent]) -> (Vec<Recurring<'_>>, Vec<&BookedEvent>) {
    let mut of_series: BTreeMap<&str, Vec<&BookedEvent>> = BTreeMap::new();
    let mut alone = Vec::new();
    for booking in bookings {
        match &booking.series {
            Some(recurrence) => of_series.entry(recurrence.series.as_str()).or_default().push(booking),
            None => alone.push(booking),
        }
    }
    let mut recurring = Vec::new();
    for members in of_series.into_values() {
        match one(&members) {
            Some((series, strays)) => {
                recurring.push(series);
                alone.extend(strays);
            }
            None => alone.extend(members),
        }
    }
    alone.sort_by_key(|booking| (booking.slot, &booking.meeting_id));
    (recurring, alone)
}

/// The recurring event of one series, and bookings that its rule does not name; `None` if the rule can't be used.
fn one<'a>(members: &[&'a BookedEvent]) -> Option<(Recurring<'a>, Vec<&'a BookedEvent>)> {
    let of = |booking: &&'a BookedEvent| booking.series.as_deref();
    let recurrence = members.iter().find_map(of)?;
    let zone = tz::zone(&recurrence.time_zone).ok()?;
    let last = members.iter().filter_map(of).map(|recurrence| recurrence.instant).max()?;
    let until = last + chrono::Duration::seconds(1);
    let named = Rule::parse(&ending(&recurrence.rule, last)).ok()?;
    let named = named.occurrences(recurrence.start, &recurrence.time_zone, None, OCCURRENCES, until).ok()?;
    // What comes behind the last one that is looked at is no part of the event, and so must be none of its rule.
    let last = if named.len() == OCCURRENCES { named.last()?.instant } else { last };
    let rule = ending(&recurrence.rule, last);
    let named: BTreeSet<civil::DateTime> = named.into_iter().map(|occurrence| occurrence.civil).collect();
    let (mut booked, mut strays) = (BTreeMap::new(), Vec::new());
    for booking in members {
        let local = of(booking)?.local;
        match named.contains(&local) && !booked.contains_key(&local) {
            true => {
                booked.insert(local, *booking);
            }
            false => strays.push(*booking),
        }
    }
    let master = master(booked.values().copied())?;
    let as_master = |booking: &BookedEvent| as_ruled(booking) && details(booking) == details(master);
    let changed = booked.values().filter(|booking| !as_master(booking)).copied().collect();
    let left_out = named.iter().filter(|local| !booked.contains_key(local)).copied().collect();
    let id = recurrence.series.to_string();
    let sequence = booked.values().map(|booking| u64::from(booking.sequence)).max()?;
    Some((Recurring { id, master, sequence, recurrence, zone, rule, last, left_out, changed }, strays))
}

/// The first of those whose details and length most have: of those that begin when the rule has them, if there are any.
fn master<'a>(booked: impl Iterator<Item = &'a BookedEvent> + Clone) -> Option<&'a BookedEvent> {
    let mut counts = BTreeMap::new();
    for booking in booked.clone() {
        *counts.entry((as_ruled(booking), details(booking))).or_insert(0_usize) += 1;
    }
    let worth = |booking: &&BookedEvent| {
        let ruled = as_ruled(booking);
        (ruled, counts.get(&(ruled, details(booking))).copied())
    };
    let best = booked.clone().map(|booking| worth(&booking)).max()?;
    booked.into_iter().find(|booking| worth(booking) == best)
}

/// Whether it begins when the rule has it.
fn as_ruled(booking: &BookedEvent) -> bool {
    booking.series.as_deref().is_some_and(|recurrence| booking.slot.start == recurrence.instant)
}

/// What the rule's occurrences have in common, beside when they begin.
fn details(booking: &BookedEvent) -> (&str, &str, &[String], Duration) {
    (&booking.title, &booking.organizer, &booking.attendees, booking.slot.length())
}

impl<'a> Recurring<'a> {
    /// The lines that say when the recurring event is.
    pub(super) fn times(&self) -> Vec<String> {
        let Recurrence { time_zone, start, .. } = self.recurrence;
        let duration = self.master.slot.length();
        let mut lines = vec![
            format!("DTSTART;TZID={time_zone}:{}", local(*start)),
            format!("DURATION:PT{}S", duration.as_secs()),
            format!("RRULE:{}", self.rule),
        ];
        lines.extend(self.left_out.iter().map(|at| format!("EXDATE;TZID={time_zone}:{}", local(*at))));
        lines
    }

    /// The occurrences that are otherwise, with the lines that say which they are and when.
    pub(super) fn changed(&self) -> impl Iterator<Item = (&'a BookedEvent, Vec<String>)> {
        self.changed.iter().filter_map(|booking| {
            let recurrence = booking.series.as_deref()?;
            let lines = vec![
                format!("RECURRENCE-ID;TZID={}:{}", recurrence.time_zone, local(recurrence.local)),
                format!("DTSTART:{}", utc(booking.slot.start)),
                format!("DTEND:{}", utc(booking.slot.end)),
            ];
            Some((*booking, lines))
        })
    }
}

fn local(at: civil::DateTime) -> String {
    at.strftime("%Y%m%dT%H%M%S").to_string()
}

/// A VTIMEZONE for each zone that the recurring events name, with every change of its clocks in their time.
pub(super) fn zones(series: &[Recurring<'_>]) -> Vec<String> {
    let mut spans: BTreeMap<&str, (&TimeZone, Instant, Instant)> = BTreeMap::new();
    for one in series {
        let first = tz::to_instant(one.recurrence.start, &one.zone);
        let span = spans.entry(&one.recurrence.time_zone).or_insert((&one.zone, first, one.last));
        (span.1, span.2) = (span.1.min(first), span.2.max(one.last));
    }
    let mut lines = Vec::new();
    for (name, (zone, first, last)) in spans {
        lines.extend(["BEGIN:VTIMEZONE".to_owned(), format!("TZID:{name}")]);
        let begin = tz::to_jiff(first - chrono::Duration::days(1));
        let info = zone.to_offset_info(begin);
        let mut before = info.offset();
        let mut observance = |dst: Dst, at: civil::DateTime, from: Offset, to: Offset, name: &str| {
            let kind = if dst.is_dst() { "DAYLIGHT" } else { "STANDARD" };
            lines.extend([
                format!("BEGIN:{kind}"),
                format!("DTSTART:{}", local(at)),
                format!("TZOFFSETFROM:{}", offset(from)),
                format!("TZOFFSETTO:{}", offset(to)),
                format!("TZNAME:{name}"),
                format!("END:{kind}"),
            ]);
        };
        let at = before.to_datetime(begin);
        observance(info.dst(), at, before, before, info.abbreviation());
        let end = tz::to_jiff(last + chrono::Duration::days(1));
        for change in zone.following(begin).take_while(|change| change.timestamp() <= end) {
            let at = before.to_datetime(change.timestamp());
            observance(change.dst(), at, before, change.offset(), change.abbreviation());
            before = change.offset();
        }
        lines.push("END:VTIMEZONE".to_owned());
    }
    lines
}

/// UTC-OFFSET (RFC 5545, section 3.3.14).
fn offset(offset: Offset) -> String {
    let seconds = offset.seconds();
    let (sign, rest) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    match seconds {
        0 => format!("{sign}{hours:02}{minutes:02}"),
        _ => format!("{sign}{hours:02}{minutes:02}{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Calendar, carry_on, render};
    use super::*;
    use crate::core::ids::SeriesId;
    use crate::core::time::TimeRange;

    const HOUR: Duration = Duration::from_secs(3600);

    /// The `n`-th Tuesday, 09:00 in Berlin, from a week before the clocks go forward.
    fn occurrence(n: i64) -> BookedEvent {
        let berlin = tz::zone("Europe/Berlin").unwrap();
        let start = civil::date(2026, 3, 24).at(9, 0, 0, 0);
        let local = start.checked_add(jiff::Span::new().weeks(n)).unwrap();
        let instant = tz::to_instant(local, &berlin);
        let series = Recurrence {
            series: SeriesId::new("5e71"),
            rule: "FREQ=WEEKLY;BYDAY=TU;COUNT=10".into(),
            start,
            time_zone: "Europe/Berlin".into(),
            duration: HOUR,
            local,
            instant,
        };
        BookedEvent {
            meeting_id: format!("m{n}"),
            sequence: 0,
            title: "weekly".into(),
            organizer: "alice".into(),
            attendees: vec!["alice".into(), "bob".into()],
            slot: TimeRange::lasting(instant, HOUR),
            stamp: "2026-03-01T00:00:00Z".parse().unwrap(),
            series: Some(Arc::new(series)),
        }
    }

    /// What our own reader makes of it, over a year.
    fn read(text: &str) -> Vec<TimeRange> {
        let year =
            TimeRange::new("2026-01-01T00:00:00Z".parse().unwrap(), "2027-01-01T00:00:00Z".parse().unwrap());
        Calendar::parse_with_own("out", text).unwrap().busy(year, &TimeZone::UTC).unwrap().busy
    }

    #[test]
    fn a_series_is_one_event_and_keeps_its_hour_over_a_change_of_clocks() {
        let bookings: Vec<BookedEvent> = (0..3).map(occurrence).collect();
        let text = render("alice", &bookings, 9);
        assert_eq!(text.matches("BEGIN:VEVENT").count(), 1, "{text}");
        for line in [
            "UID:5e71@quorate",
            "DTSTART;TZID=Europe/Berlin:20260324T090000",
            "DURATION:PT3600S",
            "RRULE:FREQ=WEEKLY;BYDAY=TU;UNTIL=20260407T070000Z",
            "BEGIN:VTIMEZONE",
            "DTSTART:20260329T020000",
            "TZOFFSETFROM:+0100",
            "TZOFFSETTO:+0200",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
        }
        assert_eq!(read(&text), bookings.iter().map(|b| b.slot).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_missing_is_left_out_and_what_is_otherwise_is_an_exception() {
        let mut bookings: Vec<BookedEvent> = [0, 2, 3, 5].map(occurrence).into();
        let later = bookings[2].slot.start + chrono::Duration::hours(30);
        bookings[2].slot = TimeRange::lasting(later, 2 * HOUR);
        bookings[3].title = "the last one".into();
        let text = render("alice", &bookings, 9);
        assert_eq!(text.matches("BEGIN:VEVENT").count(), 3, "{text}");
        for line in [
            "EXDATE;TZID=Europe/Berlin:20260331T090000",
            "EXDATE;TZID=Europe/Berlin:20260421T090000",
            "RECURRENCE-ID;TZID=Europe/Berlin:20260414T090000",
            "RECURRENCE-ID;TZID=Europe/Berlin:20260428T090000",
            "SUMMARY:the last one",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
        }
        let mut slots: Vec<TimeRange> = bookings.iter().map(|b| b.slot).collect();
        slots.sort();
        assert_eq!(read(&text), slots);
    }

    #[test]
    fn the_event_has_the_details_of_most_occurrences() {
        let mut bookings: Vec<BookedEvent> = (0..5).map(occurrence).collect();
        bookings[0].title = "the first one".into();
        for booking in &mut bookings[1..4] {
            booking.slot = TimeRange::lasting(booking.slot.start, HOUR / 2);
        }
        // Most have these details, but elsewhere.
        bookings[4].title = "the first one".into();
        let text = render("alice", &bookings, 9);
        let (before, master) = text.split_once("DTSTART;TZID=Europe/Berlin:20260324T090000").unwrap();
        assert!(before.contains("BEGIN:VEVENT\r\nUID:5e71@quorate"), "{text}");
        let master = master.split_once("END:VEVENT").unwrap().0;
        assert!(master.contains("SUMMARY:weekly\r\n") && master.contains("DURATION:PT1800S\r\n"), "{text}");
        assert_eq!(text.matches("SUMMARY:the first one\r\n").count(), 2, "{text}");
        assert_eq!(text.matches("BEGIN:VEVENT").count(), 3, "{text}");
        assert_eq!(read(&text), bookings.iter().map(|b| b.slot).collect::<Vec<_>>());
    }

    /// What a program has seen is never taken back: an occurrence that was moved away and back (revision 2), and is then
    /// called off, changes the event.
    #[test]
    fn the_revision_is_of_the_whole_event_and_never_falls() {
        let mut bookings: Vec<BookedEvent> = (0..3).map(occurrence).collect();
        bookings[0].sequence = 2;
        let sequences = |text: &str| -> Vec<u64> {
            text.lines().filter_map(|line| line.strip_prefix("SEQUENCE:")?.parse().ok()).collect()
        };
        let first = render("alice", &bookings, 1);
        assert_eq!(sequences(&first), [2]);
        // Something else was booked meanwhile.
        let again = carry_on(&first, &render("alice", &bookings, 5));
        assert_eq!(sequences(&again), [2]);
        let cancelled = carry_on(&again, &render("alice", &bookings[1..], 6));
        assert!(cancelled.contains("EXDATE;TZID=Europe/Berlin:20260324T090000\r\n"), "{cancelled}");
        assert_eq!(sequences(&cancelled), [6]);
        // Another journal, which counts anew.
        bookings[2].title = "the last one".into();
        let text = carry_on(&cancelled, &render("alice", &bookings[1..], 3));
        assert_eq!(sequences(&text), [7, 7]);
    }

    /// Of a rule that names more days than are looked at, those behind are events of their own, and none of the rule's.
    #[test]
    fn what_lies_beyond_all_that_is_looked_at_is_there_once() {
        let daily = |n: i64| {
            let mut booking = occurrence(0);
            let mut series = (**booking.series.as_ref().unwrap()).clone();
            series.rule = "FREQ=DAILY".into();
            series.local = series.start.checked_add(jiff::Span::new().days(n)).unwrap();
            series.instant = tz::to_instant(series.local, &tz::zone("Europe/Berlin").unwrap());
            booking.slot = TimeRange::lasting(series.instant, HOUR);
            booking.meeting_id = format!("m{n}");
            BookedEvent { series: Some(Arc::new(series)), ..booking }
        };
        let most = OCCURRENCES as i64;
        let bookings = [most - 2, most - 1, most, most + 1].map(daily);
        let text = render("alice", &bookings, 9);
        let last = utc(bookings[1].slot.start);
        assert!(text.contains(&format!("RRULE:FREQ=DAILY;UNTIL={last}\r\n")), "{last} in {text}");
        assert_eq!(text.matches("BEGIN:VEVENT").count(), 3);
        for (booking, uid) in bookings.iter().zip(["5e71", "5e71", "m5000", "m5001"]) {
            assert!(text.contains(&format!("UID:{uid}@quorate\r\n")), "{uid}: {}", booking.meeting_id);
        }
        // Nothing but such bookings is left: the rule is not used at all.
        let text = render("alice", &bookings[2..], 9);
        assert_eq!((text.matches("RRULE").count(), text.matches("BEGIN:VEVENT").count()), (0, 2));
    }

    #[test]
    fn a_rule_that_cannot_be_used_gives_single_events() {
        let broken = |n| {
            let booking = occurrence(n);
            let mut series = (**booking.series.as_ref().unwrap()).clone();
            series.rule = "FREQ=SOMETIMES".into();
            BookedEvent { series: Some(Arc::new(series)), ..booking }
        };
        let bookings = [broken(0), broken(1)];
        let text = render("alice", &bookings, 9);
        assert!(text.contains("UID:m0@quorate") && text.contains("UID:m1@quorate"), "{text}");
        assert_eq!(read(&text), bookings.map(|b| b.slot));
    }
}
