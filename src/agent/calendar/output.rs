//! Bookings as a calendar that any calendar program reads (RFC 5545).

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::revisions::HIGHEST;
use super::{OWN_UID_SUFFIX, recurring};
use crate::core::series::Recurrence;
use crate::core::time::TimeRange;

/// A content line is folded before it gets longer than this, in octets (RFC 5545, section 3.1).
const MAX_LINE_OCTETS: usize = 75;

/// A booked meeting, as it stands in a participant's calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedEvent {
    /// The meeting; its UID is made of it, so it must not change when the meeting moves.
    pub meeting_id: String,
    /// Revision, rising with each change of when the meeting is.
    pub sequence: u32,
    /// What it is about.
    pub title: String,
    /// Participant id of the organizer; may be empty.
    pub organizer: String,
    /// Participant ids of those who attend.
    pub attendees: Vec<String>,
    /// When it takes place.
    pub slot: TimeRange,
    /// When this revision was made.
    pub stamp: DateTime<Utc>,
    /// The series that the meeting is an occurrence of.
    pub series: Option<Arc<Recurrence>>,
}

/// Renders the bookings of `participant` as one VCALENDAR, in the order given. The bookings of one series are one recurring
/// event, with exceptions for what is not booked or was changed; their SEQUENCE is `revision`, which has to be higher with
/// every change of the bookings ([`super::carry_on`] keeps it where nothing changed).
pub fn render(participant: &str, bookings: &[BookedEvent], revision: u64) -> String {
    let (series, alone) = recurring::sort(bookings);
    let mut out = String::new();
    let mut line = |text: String| fold(&mut out, &text);
    line("BEGIN:VCALENDAR".to_owned());
    line("VERSION:2.0".to_owned());
    line(format!("PRODID:-//quorate//quorate {}//EN", env!("CARGO_PKG_VERSION")));
    line("CALSCALE:GREGORIAN".to_owned());
    line(format!("X-WR-CALNAME:{}", escape(&format!("quorate: {participant}"))));
    recurring::zones(&series).into_iter().for_each(&mut line);
    for series in &series {
        let sequence = series.sequence.max(revision).min(HIGHEST);
        event(&series.id, sequence, series.master, series.times(), &mut line);
        for (booking, times) in series.changed() {
            event(&series.id, sequence, booking, times, &mut line);
        }
    }
    for booking in alone {
        event(&booking.meeting_id, booking.sequence.into(), booking, at(&booking.slot), &mut line);
    }
    line("END:VCALENDAR".to_owned());
    out
}

/// DTSTART and DTEND in UTC.
fn at(slot: &TimeRange) -> Vec<String> {
    vec![format!("DTSTART:{}", utc(slot.start)), format!("DTEND:{}", utc(slot.end))]
}

/// One VEVENT; `times` are the lines that say when it is.
fn event(uid: &str, sequence: u64, booking: &BookedEvent, times: Vec<String>, line: &mut impl FnMut(String)) {
    line("BEGIN:VEVENT".to_owned());
    line(format!("UID:{}{OWN_UID_SUFFIX}", escape(uid)));
    line(format!("DTSTAMP:{}", utc(booking.stamp)));
    times.into_iter().for_each(&mut *line);
    line(format!("SEQUENCE:{sequence}"));
    line(format!("SUMMARY:{}", escape(&booking.title)));
    // Attendees are of an event that somebody organizes (sections 3.8.4.1 and 3.8.4.3); else they are named in words.
    if !booking.organizer.is_empty() {
        line(format!("ORGANIZER{}", person(&booking.organizer)));
        for attendee in &booking.attendees {
            line(format!("ATTENDEE;PARTSTAT=ACCEPTED{}", person(attendee)));
        }
    } else if !booking.attendees.is_empty() {
        line(format!("DESCRIPTION:{}", escape(&format!("With: {}", booking.attendees.join(", ")))));
    }
    line("STATUS:CONFIRMED".to_owned());
    line("TRANSP:OPAQUE".to_owned());
    line("END:VEVENT".to_owned());
}

pub(super) fn utc(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

/// `;CN="…":urn:…`. A calendar address must be a URI, and we know no mail address.
fn person(id: &str) -> String {
    let mut urn = String::from("urn:x-quorate:participant:");
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            urn.push(char::from(byte));
        } else {
            urn.push_str(&format!("%{byte:02X}"));
        }
    }
    // RFC 6868: what must not stand in a parameter is written with a caret.
    let name = id.replace('^', "^^").replace('"', "^'").replace('\n', "^n");
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    format!(";CN=\"{name}\":{urn}")
}

/// TEXT (RFC 5545, section 3.3.11); control characters have no place in it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\\' | ';' | ',' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push(c),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// Appends `text` with CRLF, folded between characters.
fn fold(out: &mut String, text: &str) {
    let mut octets = 0;
    for c in text.chars() {
        if octets + c.len_utf8() > MAX_LINE_OCTETS {
            out.push_str("\r\n ");
            octets = 1;
        }
        out.push(c);
        octets += c.len_utf8();
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::Calendar;
    use super::*;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn booking(title: &str) -> BookedEvent {
        BookedEvent {
            meeting_id: "0190".to_owned(),
            sequence: 2,
            title: title.to_owned(),
            organizer: "alice".to_owned(),
            attendees: vec!["alice".to_owned(), "b\u{f6}b \"the\" builder".to_owned()],
            slot: TimeRange { start: at(0), end: at(1800) },
            stamp: at(-60),
            series: None,
        }
    }

    #[test]
    fn a_booking_is_a_confirmed_opaque_event() {
        let text = render("alice", &[booking("Plan; review, ship\nthen \\ rest")], 9);
        for line in [
            "BEGIN:VCALENDAR",
            "VERSION:2.0",
            "UID:0190@quorate",
            "DTSTART:20270115T080000Z",
            "DTEND:20270115T083000Z",
            "SEQUENCE:2",
            "SUMMARY:Plan\\; review\\, ship\\nthen \\\\ rest",
            "ORGANIZER;CN=\"alice\":urn:x-quorate:participant:alice",
            "STATUS:CONFIRMED",
            "TRANSP:OPAQUE",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
        }
        assert!(text.replace("\r\n ", "").contains("participant:b%C3%B6b%20%22the%22%20builder\r\n"));
        assert!(!text.contains("METHOD"));
    }

    /// RFC 5545, sections 3.8.4.1 and 3.8.4.3: attendees are of an event that somebody organizes.
    #[test]
    fn without_an_organizer_there_are_no_attendees_but_their_names() {
        let mut alone = booking("x");
        alone.organizer.clear();
        let text = render("alice", &[alone.clone()], 9);
        assert!(!text.contains("ATTENDEE") && !text.contains("ORGANIZER"), "{text}");
        assert!(text.contains("DESCRIPTION:With: alice\\, b\u{f6}b \"the\" builder\r\n"), "{text}");
        alone.attendees.clear();
        assert!(!render("alice", &[alone], 9).contains("DESCRIPTION"));
        assert!(!render("alice", &[booking("x")], 9).contains("DESCRIPTION"));
    }

    #[test]
    fn nothing_booked_is_still_a_calendar() {
        assert!(Calendar::parse("out", &render("alice", &[], 9)).is_ok());
    }

    #[test]
    fn our_own_events_are_ignored_on_input() {
        let window = TimeRange { start: at(-3600), end: at(3600) };
        let calendar = Calendar::parse("out", &render("alice", &[booking("x")], 9)).unwrap();
        assert_eq!(calendar.busy(window, &TimeZone::UTC).unwrap().busy, []);
    }

    proptest! {
        #[test]
        fn what_we_write_we_read_back(
            title in any::<String>(),
            who in any::<String>(),
            id in "[a-z0-9;,\\\\-]{1,90}",
            start in 0_i64..1_000_000,
            minutes in 1_i64..600,
        ) {
            let slot = TimeRange { start: at(start), end: at(start + minutes * 60) };
            let attendees = vec![who.clone()];
            let booking = BookedEvent { meeting_id: id, slot, organizer: who.clone(), attendees, ..booking(&title) };
            let text = render(&who, &[booking], 9);
            for line in text.split("\r\n") {
                prop_assert!(line.len() <= MAX_LINE_OCTETS, "{line}");
                prop_assert!(!line.contains(['\r', '\n']));
            }
            let calendar = Calendar::parse_with_own("out", &text).unwrap();
            let window = TimeRange { start: at(-86_400), end: at(2_000_000) };
            prop_assert_eq!(calendar.busy(window, &TimeZone::UTC).unwrap().busy, vec![slot]);
        }
    }
}
