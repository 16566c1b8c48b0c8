//! SEQUENCE of recurring events, which is of the whole event with its exceptions: it rises with every change of any part of
//! it, and never falls (RFC 5545 section 3.8.7.4, RFC 5546 section 2.1.4). A program that has seen a revision passes over
//! lower ones, so it must survive both a restart and the loss of a journal.

use std::collections::BTreeMap;

/// The highest number that SEQUENCE can have (INTEGER, RFC 5545 section 3.3.8).
pub(super) const HIGHEST: u64 = i32::MAX as u64;

/// The components of one UID.
#[derive(Default)]
struct Event<'a> {
    /// All lines but for DTSTAMP and SEQUENCE, which say nothing of the event itself.
    lines: Vec<&'a str>,
    sequence: u64,
    recurs: bool,
}

/// The text of a calendar output that is to replace an older one: each recurring event keeps its SEQUENCE if nothing of it
/// changed, and else has a higher one than it had there.
pub fn carry_on(old: &str, new: &str) -> String {
    let (before, after) = (events(old), events(new));
    let revision = |uid: &str| {
        let after = after.get(uid).filter(|after| after.recurs)?;
        let before = before.get(uid)?;
        Some(match before.lines == after.lines {
            true => before.sequence,
            false => after.sequence.max(before.sequence.saturating_add(1).min(HIGHEST)),
        })
    };
    let mut text = String::with_capacity(new.len());
    let mut known = None;
    for line in new.split_inclusive('\n') {
        if line.starts_with("UID:") {
            known = revision(line.trim_end());
        }
        match known.filter(|_| line.starts_with("SEQUENCE:")) {
            Some(sequence) => text.push_str(&format!("SEQUENCE:{sequence}\r\n")),
            None => text.push_str(line),
        }
    }
    text
}

/// The events of a calendar output, by the line that has their UID: of one that we wrote it is the first line.
fn events(text: &str) -> BTreeMap<&str, Event<'_>> {
    let mut events: BTreeMap<&str, Event<'_>> = BTreeMap::new();
    let mut uid = None;
    for line in text.lines() {
        uid = match line {
            _ if line.starts_with("UID:") => Some(line),
            "BEGIN:VEVENT" | "END:VEVENT" => None,
            _ => uid,
        };
        let Some(event) = uid.map(|uid| events.entry(uid).or_default()) else { continue };
        match line.split_once(':') {
            Some(("SEQUENCE", number)) => {
                let number = number.trim().parse().unwrap_or_default();
                event.sequence = event.sequence.max(number).min(HIGHEST);
            }
            Some(("DTSTAMP", _)) => {}
            _ => {
                event.recurs |= line.starts_with("RRULE:");
                event.lines.push(line);
            }
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(uid: &str, sequence: u64, lines: &str) -> String {
        format!("BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:1\r\nSEQUENCE:{sequence}\r\n{lines}\r\nEND:VEVENT\r\n")
    }

    #[test]
    fn a_recurring_event_keeps_its_revision_until_something_of_it_changes() {
        let one = |sequence, lines: &str| event("s", sequence, lines);
        for (old, new, want) in [
            (one(7, "RRULE:1"), one(9, "RRULE:1"), one(7, "RRULE:1")),
            (one(7, "RRULE:1"), one(9, "RRULE:2"), one(9, "RRULE:2")),
            // The journal was lost, and counts from one again.
            (one(7, "RRULE:1"), one(2, "RRULE:2"), one(8, "RRULE:2")),
            (one(7, "RRULE:1"), one(2, "RRULE:1"), one(7, "RRULE:1")),
            (one(HIGHEST, "RRULE:1"), one(2, "RRULE:2"), one(HIGHEST, "RRULE:2")),
            // Nothing is known of it, or it is a single event, which has the revision of its meeting.
            (String::new(), one(3, "RRULE:1"), one(3, "RRULE:1")),
            (one(7, "DTSTART:1"), one(3, "DTSTART:2"), one(3, "DTSTART:2")),
            ("no calendar\r\nSEQUENCE:9\r\nUID:s".into(), one(3, "RRULE:1"), one(3, "RRULE:1")),
        ] {
            assert_eq!(carry_on(&old, &new), want, "{old}");
        }
    }

    #[test]
    fn an_exception_is_a_part_of_its_event() {
        let with = |sequence, exception: &str| {
            event("s", sequence, "RRULE:1") + &event("s", sequence, exception) + &event("t", 1, "DTSTART:1")
        };
        let old = with(7, "RECURRENCE-ID:1");
        assert_eq!(carry_on(&old, &with(9, "RECURRENCE-ID:2")), with(9, "RECURRENCE-ID:2"));
        let gone = event("s", 2, "RRULE:1");
        assert_eq!(carry_on(&old, &gone), event("s", 8, "RRULE:1"), "it is with the others again");
    }
}
