//! Values of properties: dates, date-times, durations, periods and offsets (RFC 5545, section 3.3).

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use jiff::tz::TimeZone;

use super::zones::Zone;

/// No event that we believe lasts longer, in days; also keeps date arithmetic in range.
pub(super) const MAX_DURATION_DAYS: i64 = 366 * 100;

/// A point in a calendar: local time and the zone in which it is to be read.
#[derive(Debug, Clone)]
pub(super) struct When {
    /// Wall-clock time; midnight for a date.
    pub local: NaiveDateTime,
    /// Where the wall hangs.
    pub zone: Zone,
    /// Whether only a date was given.
    pub is_date: bool,
}

impl When {
    /// The instant, floating times read in `home`.
    pub fn instant(&self, home: &TimeZone) -> DateTime<Utc> {
        self.zone.instant(self.local, home)
    }

    /// A mark (EXDATE, RECURRENCE-ID) on a series that begins at `start`. On days a midnight is a date to whoever wrote it,
    /// and a floating time is on a day of the owner's.
    pub fn marking(self, start: &Self) -> Self {
        let mark = self.or_in(&start.zone);
        let is_day = mark.local.time() == NaiveTime::MIN || matches!(mark.zone, Zone::Floating);
        if !start.is_date || mark.is_date || !is_day {
            return mark;
        }
        Self { local: mark.local.date().and_time(NaiveTime::MIN), zone: Zone::Floating, is_date: true }
    }

    /// Why a mark, the value of a property `name`, may mean another day than it seems to.
    pub fn doubt(&self, name: &str, start: &Self) -> Option<String> {
        match (start.is_date, self.is_date) {
            (true, false) => Some(format!(
                "{name} is a time where DTSTART is a date: only a day that begins then is meant"
            )),
            (false, true) if matches!(start.zone, Zone::Utc) => Some(format!(
                "{name} is a date where DTSTART is in UTC: only what is on that day in UTC and for the owner is meant"
            )),
            _ => None,
        }
    }

    /// A floating time takes over `zone`: producers leave out the TZID of an EXDATE or DTEND.
    pub fn or_in(mut self, zone: &Zone) -> Self {
        if !self.is_date && matches!(self.zone, Zone::Floating) {
            self.zone = zone.clone();
        }
        self
    }
}

/// How long an event lasts.
#[derive(Debug, Clone)]
pub(super) enum Length {
    /// DURATION: whole days on the wall clock, then exact seconds (RFC 5545, section 3.3.6).
    Nominal { days: i64, seconds: i64 },
    /// DTEND: every occurrence has the exact length of the first (section 3.8.5.3).
    Until {
        end: When,
        /// Whether the end is on the wall clock of the start, one that may be put on and back.
        one_clock: bool,
    },
}

impl Length {
    pub const ZERO: Self = Self::Nominal { days: 0, seconds: 0 };
    pub const ONE_DAY: Self = Self::Nominal { days: 1, seconds: 0 };
}

/// Reads a DATE or DATE-TIME without its zone: local time, whether it ends in `Z`, whether it is
/// a date. Seconds may be missing, as some producers leave them out.
pub(super) fn local_time(text: &str) -> Result<(NaiveDateTime, bool, bool), String> {
    let unreadable = || format!("unreadable date '{}'", excerpt(text));
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| -> Option<u32> {
        let part = bytes.get(range)?;
        part.iter().all(u8::is_ascii_digit).then_some(())?;
        Some(part.iter().fold(0, |n, digit| n * 10 + u32::from(digit - b'0')))
    };
    let date = || {
        let year = i32::try_from(digits(0..4)?).ok().filter(|year| *year > 0)?;
        NaiveDate::from_ymd_opt(year, digits(4..6)?, digits(6..8)?)
    };
    let date = date().ok_or_else(unreadable)?;
    let Some((mark, clock)) = bytes.get(8..).and_then(<[u8]>::split_first) else {
        return Ok((date.and_time(NaiveTime::MIN), false, true));
    };
    let (clock, utc) = match clock.split_last() {
        Some((b'Z' | b'z', clock)) => (clock, true),
        _ => (clock, false),
    };
    let time = || {
        let seconds = match clock.len() {
            6 => digits(13..15)?,
            4 => 0,
            _ => return None,
        };
        // A leap second is the second before it to a calendar.
        NaiveTime::from_hms_opt(digits(9..11)?, digits(11..13)?, if seconds == 60 { 59 } else { seconds })
    };
    match (mark, time()) {
        (b'T' | b't', Some(time)) => Ok((date.and_time(time), utc, false)),
        _ => Err(unreadable()),
    }
}

/// Reads a DURATION that does not run backwards (RFC 5545, section 3.3.6), as whole days and
/// seconds.
pub(super) fn duration(text: &str) -> Result<Length, String> {
    let unreadable = || format!("unreadable duration '{}'", excerpt(text));
    let body = text.strip_prefix('+').unwrap_or(text);
    let body = body.strip_prefix(['P', 'p']).ok_or_else(unreadable)?;
    let (mut days, mut seconds, mut in_time, mut number) = (0_i64, 0_i64, false, None::<i64>);
    let mut any = false;
    for c in body.bytes() {
        if c.is_ascii_digit() {
            let digit = i64::from(c - b'0');
            let next = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(digit));
            number = Some(next.filter(|n| *n <= i64::from(u32::MAX)).ok_or_else(unreadable)?);
            continue;
        }
        if matches!(c, b'T' | b't') && number.is_none() && !in_time {
            in_time = true;
            continue;
        }
        let count = number.take().ok_or_else(unreadable)?;
        any = true;
        match (c.to_ascii_uppercase(), in_time) {
            (b'W', false) => days += count * 7,
            (b'D', false) => days += count,
            (b'H', true) => seconds += count * 3600,
            (b'M', true) => seconds += count * 60,
            (b'S', true) => seconds += count,
            _ => return Err(unreadable()),
        }
    }
    let sane = days <= MAX_DURATION_DAYS && seconds <= MAX_DURATION_DAYS * 86_400;
    if any && number.is_none() && sane { Ok(Length::Nominal { days, seconds }) } else { Err(unreadable()) }
}

/// Reads a UTC-OFFSET (`+HHMM` or `+HHMMSS`), in seconds east of Greenwich.
pub(super) fn utc_offset(text: &str) -> Result<TimeDelta, String> {
    let read = || {
        let (sign, digits) = match text.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        };
        let fits = matches!(digits.len(), 4 | 6) && digits.bytes().all(|b| b.is_ascii_digit());
        let part = |range| digits.get(range).map_or(Some(0), |part: &str| part.parse::<i64>().ok());
        let (hours, minutes, seconds) = (part(0..2)?, part(2..4)?, part(4..6)?);
        (fits && hours < 24 && minutes < 60 && seconds < 60)
            .then(|| TimeDelta::seconds(sign * (hours * 3600 + minutes * 60 + seconds)))
    };
    read().ok_or_else(|| format!("unreadable UTC offset '{}'", excerpt(text)))
}

/// The start of a text that someone else wrote, short and printable, for an error message.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(40).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_date_times() {
        let (local, utc, is_date) = local_time("20240229").unwrap();
        assert_eq!((local.to_string().as_str(), utc, is_date), ("2024-02-29 00:00:00", false, true));
        assert!(local_time("20240101T100000Z").unwrap().1);
        assert_eq!(local_time("20240101T1000").unwrap().0.to_string(), "2024-01-01 10:00:00");
        assert_eq!(local_time("20161231T235960Z").unwrap().0.to_string(), "2016-12-31 23:59:59");
        for bad in [
            "",
            "2024",
            "20240230",
            "20240101T",
            "20240101T25",
            "20240101T250000",
            "00000101",
            "20240101X100000",
            "20240101T10000\u{e9}",
            "2024-01-01",
            "20240101T100000ZZ",
        ] {
            assert!(local_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        let read = |text| match duration(text) {
            Ok(Length::Nominal { days, seconds }) => Some((days, seconds)),
            _ => None,
        };
        assert_eq!(read("P15DT5H0M20S"), Some((15, 18_020)));
        assert_eq!(read("P7W"), Some((49, 0)));
        assert_eq!(read("P1DT"), Some((1, 0)));
        assert_eq!(read("+PT1H"), Some((0, 3600)));
        for bad in ["", "P", "PT", "1H", "P1H", "PT1D", "-PT1H", "PT1", "P999999999999999999W", "P1000000D"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn offsets() {
        assert_eq!(utc_offset("-0330"), Ok(TimeDelta::seconds(-12_600)));
        assert_eq!(utc_offset("+013030"), Ok(TimeDelta::seconds(5430)));
        for bad in ["", "0100", "+1", "+01:00", "+2500", "-0060", "+é10"] {
            assert!(utc_offset(bad).is_err(), "{bad}");
        }
    }
}
