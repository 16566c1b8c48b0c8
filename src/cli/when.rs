//! Points in time as people type them: `2026-12-01 10:00`, `tomorrow`, `monday 9:00`, RFC 3339.
//!
//! Pure: the present is an argument.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::AmbiguousOffset;
use jiff::{Timestamp, ToSpan, Zoned};

use super::parse;
use super::zone::Zone;

const EXPECTED: &str = "expected a time such as '2026-12-01 10:00', '2026-12-01T10:00:00Z', '2026-12-01', \
                        'today', 'tomorrow 9:00', 'monday' or '14:30'";

/// Against what a text is read.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The present.
    pub now: Timestamp,
    /// The zone of wall-clock times that name none.
    pub zone: Zone,
}

/// What a date without a time of day stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DayEdge {
    /// The first instant of the day.
    Start,
    /// The first instant after the day.
    End,
}

/// An instant that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The instant.
    pub at: Timestamp,
    /// What the person should know: the wall clock skips or repeats what they typed.
    pub note: Option<String>,
    /// Whether the wall clock skips what they typed.
    pub skipped: bool,
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self { at, note: None, skipped: false }
    }
}

/// Reads an instant. Weekdays mean the next such day after today.
///
/// # Errors
/// A sentence that says what is wrong: no such date, no such time of day, no such zone, or not a time at all.
pub fn instant(text: &str, edge: DayEdge, reference: &Reference) -> Result<Moment, String> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") {
        return Ok(reference.now.into());
    }
    if let Some((date, rest)) = leading_date(text)? {
        let zoned = if rest.is_empty() { None } else { with_own_zone(text, date, rest)? };
        return match zoned {
            Some(moment) => Ok(moment),
            None => on_date(date, rest, edge, &reference.zone),
        };
    }
    let today = reference.now.to_zoned(reference.zone.rules.clone()).date();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if let Some(date) = named_day(word, today)? {
        return on_date(date, rest.trim(), edge, &reference.zone);
    }
    if text.contains(':') && text.starts_with(|c: char| c.is_ascii_digit()) {
        return on_date(today, text, edge, &reference.zone);
    }
    Err(EXPECTED.to_owned())
}

/// Reads a date: `2026-12-25`, `today`, `tomorrow`, or a weekday, which means the next such day after today.
///
/// # Errors
/// A sentence that says what is wrong: no such date, or not a date at all.
pub fn date(text: &str, reference: &Reference) -> Result<Date, String> {
    let text = text.trim();
    let today = reference.now.to_zoned(reference.zone.rules.clone()).date();
    let read = match leading_date(text)? {
        Some((date, rest)) => Some(date).filter(|_| rest.is_empty()),
        None => named_day(text, today)?,
    };
    read.ok_or_else(|| "expected a date such as 2026-12-25, 'tomorrow' or 'friday'".to_owned())
}

/// Reads a range: `A/B`, where B may also be a time of day on A's date or a length, or a single date for all of that day.
///
/// # Errors
/// As [`instant`], and if the end is not after the start.
pub fn range(text: &str, reference: &Reference) -> Result<(Moment, Moment), String> {
    let Some((first, second)) = split_range(text) else {
        let start = instant(text, DayEdge::Start, reference)?;
        let end = instant(text, DayEdge::End, reference)?;
        if start.at == end.at {
            return Err("expected a range such as '2026-12-01 10:00/11:00' or a single date".to_owned());
        }
        return Ok((start, end));
    };
    let start = instant(first, DayEdge::Start, reference)?;
    let end = range_end(second, &start, reference)?;
    if end.at <= start.at {
        return Err("the end must be after the start".to_owned());
    }
    Ok((start, end))
}

/// The length of a range if `text` is one, for a named slot.
pub fn is_range(text: &str) -> bool {
    split_range(text).is_some()
}

fn range_end(text: &str, start: &Moment, reference: &Reference) -> Result<Moment, String> {
    let text = text.trim();
    if let Ok(length) = parse::positive_length(text) {
        return start.at.checked_add(length).map(Moment::from).map_err(|_| "ends too late".to_owned());
    }
    let looks_like_clock = text.len() <= 8 && text.contains(':');
    if looks_like_clock {
        let date = start.at.to_zoned(reference.zone.rules.clone()).date();
        return on_date(date, text, DayEdge::End, &reference.zone);
    }
    instant(text, DayEdge::End, reference)
}

/// Splits at the slash that is not part of a zone's name in brackets.
fn split_range(text: &str) -> Option<(&str, &str)> {
    let mut within = false;
    let at = text.char_indices().find(|(_, c)| {
        within = (within || *c == '[') && *c != ']';
        *c == '/' && !within
    });
    at.map(|(at, _)| (&text[..at], &text[at + 1..]))
}

/// The date that the text starts with, and what follows it. None if it starts with no date.
fn leading_date(text: &str) -> Result<Option<(Date, &str)>, String> {
    let digits = |part: Option<&str>, lengths: &[usize]| {
        part.is_some_and(|p| lengths.contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
    };
    let end = text.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(text.len());
    let (date, rest) = text.split_at(end);
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    if !digits(year, &[4]) || !digits(month, &[1, 2]) || !digits(day, &[1, 2]) || parts.next().is_some() {
        return Ok(None);
    }
    let number = |part: Option<&str>| part.and_then(|p| p.parse::<i16>().ok()).unwrap_or_default();
    let date = checked_date(number(year), number(month) as i8, number(day) as i8)?;
    let rest = rest.strip_prefix(['T', 't']).unwrap_or(rest).trim();
    Ok(Some((date, rest)))
}

fn checked_date(year: i16, month: i8, day: i8) -> Result<Date, String> {
    let first = Date::new(year, month, 1).map_err(|_| format!("a year has no month {month}"))?;
    let last = first.days_in_month();
    Date::new(year, month, day)
        .map_err(|_| format!("{} has {last} days, so there is no day {day}", first.strftime("%B %Y")))
}

/// Reads what names its own zone or offset; None if it names neither.
fn with_own_zone(text: &str, date: Date, rest: &str) -> Result<Option<Moment>, String> {
    if let Some((clock, zone)) = rest.split_once('[') {
        let name = zone.strip_suffix(']').ok_or_else(|| "the zone's name lacks its ']'".to_owned())?;
        let zone = Zone::named(name)?;
        if !has_offset(clock) {
            return on_date(date, clock.trim(), DayEdge::Start, &zone).map(Some);
        }
        let zoned: Zoned = iso(date, clock, &format!("[{}]", zone.name))
            .parse()
            .map_err(|_| format!("'{text}' is no time, or its offset is not that of {}", zone.name))?;
        return Ok(Some(zoned.timestamp().into()));
    }
    if !has_offset(rest) {
        return Ok(None);
    }
    let parsed: Timestamp =
        iso(date, rest, "").parse().map_err(|_| format!("'{text}' is no time in RFC 3339; {EXPECTED}"))?;
    Ok(Some(parsed.into()))
}

fn has_offset(clock: &str) -> bool {
    clock.ends_with(['Z', 'z']) || clock.contains(['+', '-', '−'])
}

fn iso(date: Date, clock: &str, zone: &str) -> String {
    let clock: String = clock.chars().filter(|c| !c.is_whitespace()).collect();
    format!("{date}T{clock}{zone}")
}

/// The day that a word names: today, tomorrow, yesterday, or the next such weekday.
fn named_day(word: &str, today: Date) -> Result<Option<Date>, String> {
    let days_ahead = match word.to_lowercase().as_str() {
        "today" => 0,
        "tomorrow" => 1,
        "yesterday" => -1,
        other => {
            let Some(index) = parse::weekday(other) else { return Ok(None) };
            let weekday = Weekday::from_monday_zero_offset(index as i8).map_err(|e| e.to_string())?;
            return today.nth_weekday(1, weekday).map(Some).map_err(|e| e.to_string());
        }
    };
    today.checked_add(i64::from(days_ahead).days()).map(Some).map_err(|e| e.to_string())
}

/// A time of day on a date, or an edge of the date if there is none.
fn on_date(date: Date, clock: &str, edge: DayEdge, zone: &Zone) -> Result<Moment, String> {
    if !clock.is_empty() {
        return local(clock_on(date, clock)?, zone);
    }
    let date = match edge {
        DayEdge::Start => date,
        DayEdge::End => date.tomorrow().map_err(|e| e.to_string())?,
    };
    // Where a day starts later than at midnight, its start is its first instant; nothing to tell.
    local(date.to_datetime(jiff::civil::Time::midnight()), zone).map(|moment| moment.at.into())
}

fn clock_on(date: Date, clock: &str) -> Result<DateTime, String> {
    let bad = || format!("'{clock}' is no time of day; expected one such as 10:00");
    let (minutes, seconds) = match clock.match_indices(':').nth(1) {
        Some((at, _)) => (&clock[..at], &clock[at + 1..]),
        None => (clock, "00"),
    };
    let minute = if minutes.contains(':') { parse::minute_of_day(minutes)? } else { return Err(bad()) };
    let two_digits = seconds.len() == 2 && seconds.bytes().all(|b| b.is_ascii_digit());
    let second =
        two_digits.then(|| seconds.parse::<i64>().ok()).flatten().filter(|s| *s < 60).ok_or_else(bad)?;
    if minute == 24 * 60 && second > 0 {
        return Err(bad());
    }
    // Counted on the wall clock, so 24:00 is the next day's midnight and a change of the clocks has no part in it.
    let midnight = date.to_datetime(jiff::civil::Time::midnight());
    midnight.checked_add(i64::from(minute).minutes().seconds(second)).map_err(|e| e.to_string())
}

/// The instant at which a zone's wall clock shows `local`: the earlier of two; the later side of a gap.
fn local(local: DateTime, zone: &Zone) -> Result<Moment, String> {
    let ambiguous = zone.rules.to_ambiguous_zoned(local);
    let offset = ambiguous.offset();
    let chosen = ambiguous.compatible().map_err(|_| format!("{local} is out of range"))?;
    let wanted = local.strftime("%Y-%m-%d %H:%M");
    let note = match offset {
        AmbiguousOffset::Unambiguous { .. } => None,
        AmbiguousOffset::Gap { .. } => Some(format!(
            "{wanted} does not exist in {}: the clocks go forward then. Taken as {}.",
            zone.name,
            chosen.strftime("%H:%M %:z")
        )),
        AmbiguousOffset::Fold { .. } => Some(format!(
            "{wanted} comes twice in {}: the clocks go back then. Taken as the first, {}.",
            zone.name,
            chosen.strftime("%H:%M %:z")
        )),
    };
    Ok(Moment { at: chosen.timestamp(), note, skipped: matches!(offset, AmbiguousOffset::Gap { .. }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tuesday, 2026-12-01, 10:20 in Berlin.
    fn reference() -> Reference {
        Reference {
            now: "2026-12-01T09:20:00Z".parse().unwrap(),
            zone: Zone::named("Europe/Berlin").unwrap(),
        }
    }

    fn read(text: &str) -> Result<String, String> {
        instant(text, DayEdge::Start, &reference()).map(|m| m.at.to_string())
    }

    fn ends(text: &str) -> String {
        instant(text, DayEdge::End, &reference()).unwrap().at.to_string()
    }

    #[test]
    fn times_are_read_in_the_askers_zone_unless_they_name_another() {
        for (text, expected) in [
            ("2026-12-01 10:00", "2026-12-01T09:00:00Z"),
            ("2026-12-01T10:00", "2026-12-01T09:00:00Z"),
            ("2026-07-01 10:00:30", "2026-07-01T08:00:30Z"),
            ("2026-12-01T10:00:00Z", "2026-12-01T10:00:00Z"),
            ("2026-12-01 10:00Z", "2026-12-01T10:00:00Z"),
            ("2026-12-01T10:00:00+05:30", "2026-12-01T04:30:00Z"),
            ("2026-12-01T10:00-05:00", "2026-12-01T15:00:00Z"),
            ("2026-12-01 10:00[America/New_York]", "2026-12-01T15:00:00Z"),
            ("2026-12-01T10:00:00-05:00[America/New_York]", "2026-12-01T15:00:00Z"),
            ("2026-12-01", "2026-11-30T23:00:00Z"),
            ("2026-12-1 9:05", "2026-12-01T08:05:00Z"),
            ("2026-12-01 24:00", "2026-12-01T23:00:00Z"),
            ("now", "2026-12-01T09:20:00Z"),
            ("14:30", "2026-12-01T13:30:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn dates_have_no_time_of_day() {
        let read = |text| date(text, &reference()).map(|date| date.to_string());
        for (text, expected) in [
            ("2026-12-25", "2026-12-25"),
            (" 2026-12-5 ", "2026-12-05"),
            ("tomorrow", "2026-12-02"),
            ("Tue", "2026-12-08"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        assert!(read("2026-02-29").unwrap_err().contains("February 2026 has 28 days"));
        for bad in ["", "soon", "2026-12-25 10:00", "2026-12-25Z", "25.12.2026"] {
            assert!(read(bad).unwrap_err().contains("expected a date"), "{bad}");
        }
    }

    #[test]
    fn words_name_days() {
        for (text, expected) in [
            ("today", "2026-11-30T23:00:00Z"),
            ("Tomorrow", "2026-12-01T23:00:00Z"),
            ("tomorrow 9:00", "2026-12-02T08:00:00Z"),
            ("monday", "2026-12-06T23:00:00Z"),
            ("wed 15:00", "2026-12-02T14:00:00Z"),
            // Today is a Tuesday: the next one is in a week.
            ("tuesday", "2026-12-07T23:00:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_date_as_an_end_is_the_end_of_that_day() {
        assert_eq!(ends("2026-12-01"), "2026-12-01T23:00:00Z");
        assert_eq!(ends("today"), "2026-12-01T23:00:00Z");
        assert_eq!(ends("friday"), "2026-12-04T23:00:00Z");
        assert_eq!(ends("2026-12-01 10:00"), "2026-12-01T09:00:00Z");
        // A day of 25 hours.
        assert_eq!(ends("2026-10-25"), "2026-10-25T23:00:00Z");
    }

    #[test]
    fn what_is_no_time_says_why() {
        for (text, why) in [
            ("2024-02-30", "February 2024 has 29 days, so there is no day 30"),
            ("2023-02-29 10:00", "February 2023 has 28 days"),
            ("2026-13-01", "no month 13"),
            ("2026-00-01", "no month 0"),
            ("2026-12-00", "no day 0"),
            ("2026-12-01 25:00", "'25:00' is no time of day"),
            ("2026-12-01 10:60", "'10:60' is no time of day"),
            ("2026-12-01 24:00:01", "is no time of day"),
            ("2026-12-01 1000", "'1000' is no time of day"),
            ("2026-12-01T10:00:00+25:99", "RFC 3339"),
            ("2026-12-01 10:00[Mars/Olympus]", "'Mars/Olympus' is no IANA time zone"),
            ("2026-12-01T10:00+02:00[Europe/Berlin]", "offset is not that of Europe/Berlin"),
            ("soon", "expected a time such as"),
            ("", "expected a time such as"),
            ("12026-01-01", "expected a time such as"),
            ("tomorrow at nine", "'at nine' is no time of day"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn skipped_and_repeated_hours_come_with_a_note() {
        let gap = instant("2026-03-29 02:30", DayEdge::Start, &reference()).unwrap();
        assert_eq!(gap.at.to_string(), "2026-03-29T01:30:00Z");
        assert_eq!(
            gap.note.unwrap(),
            "2026-03-29 02:30 does not exist in Europe/Berlin: the clocks go forward then. Taken as 03:30 +02:00."
        );
        let fold = instant("2026-10-25 02:30", DayEdge::Start, &reference()).unwrap();
        assert_eq!(fold.at.to_string(), "2026-10-25T00:30:00Z");
        assert!(fold.note.unwrap().contains("comes twice in Europe/Berlin"));
    }

    #[test]
    fn a_day_without_a_midnight_starts_at_its_first_instant() {
        // Beirut's clocks went from 2022-03-26 24:00 to 01:00.
        let beirut = Reference { zone: Zone::named("Asia/Beirut").unwrap(), ..reference() };
        let start = instant("2022-03-27", DayEdge::Start, &beirut).unwrap();
        assert_eq!((start.at.to_string().as_str(), start.note), ("2022-03-26T22:00:00Z", None));
    }

    #[test]
    fn ranges() {
        let read = |text: &str| {
            range(text, &reference()).map(|(a, b)| format!("{}/{}", a.at, b.at).replace(":00Z", ""))
        };
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(read("2026-12-24"), ok("2026-12-23T23:00/2026-12-24T23:00"));
        assert_eq!(read("2026-12-24/2026-12-26"), ok("2026-12-23T23:00/2026-12-26T23:00"));
        assert_eq!(read("2026-12-01 12:00/13:00"), ok("2026-12-01T11:00/2026-12-01T12:00"));
        assert_eq!(read("2026-12-01T12:00Z/PT1H"), ok("2026-12-01T12:00/2026-12-01T13:00"));
        assert_eq!(read("tomorrow 12:00/45m"), ok("2026-12-02T11:00/2026-12-02T11:45"));
        assert_eq!(
            read("2026-12-01 12:00[America/New_York]/2026-12-01 20:00"),
            ok("2026-12-01T17:00/2026-12-01T19:00")
        );
        assert!(read("2026-12-01 12:00").unwrap_err().contains("expected a range"));
        assert!(read("2026-12-02/2026-12-01").unwrap_err().contains("after the start"));
        assert!(read("2026-12-01 12:00/11:00").unwrap_err().contains("after the start"));
        assert!(read("2024-02-30/2024-03-01").unwrap_err().contains("29 days"));
    }
}
