//! Lengths, days, hours and addresses as people type them.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use jiff::{Span, SpanRelativeTo};

use crate::core::limits;
use crate::core::model::WorkingHours;
use crate::wire::scalars;
use crate::wire::validate::{ROOT, Violations};

/// Joins options with values behind them that begin like a negative number, as in `--duration -5m`: no option begins so, and
/// apart the value would be refused as an unknown one instead of by what is wrong with it.
pub fn with_negative_values(line: Vec<OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::with_capacity(line.len());
    let mut options = true;
    for word in line {
        let value = word.as_encoded_bytes();
        options &= value != b"--";
        let negative = matches!(value, [b'-', b'0'..=b'9', ..]);
        let lone = |before: &&mut OsString| {
            let before = before.as_encoded_bytes();
            before.len() > 2 && before.starts_with(b"--") && !before.contains(&b'=')
        };
        match joined.last_mut().filter(|before| options && negative && lone(before)) {
            Some(option) => {
                option.push("=");
                option.push(word);
            }
            None => joined.push(word),
        }
    }
    joined
}

/// Where a scheduler is sought unless the command says.
pub const SCHEDULER_DEFAULT: &str = "http://127.0.0.1:50051";

/// A scheduler's URL. `host:port` alone is taken as `http://host:port`.
///
/// # Errors
/// A sentence, for what is no URL, has another scheme, or has a path.
pub fn scheduler_url(text: &str) -> Result<String, String> {
    let expected = "expected a URL such as http://127.0.0.1:50051";
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: tonic::codegen::http::Uri = url.parse().map_err(|_| expected.to_owned())?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err("TLS is not supported by this client: use http://".to_owned()),
        _ => return Err(expected.to_owned()),
    }
    if uri.host().is_none_or(str::is_empty) || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(expected.to_owned());
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// Where to send traces.
///
/// # Errors
/// A sentence, for what can't be the address of a collector.
fn collector(text: &str) -> Result<String, String> {
    crate::app::otlp::is_address(text).map(|()| text.to_owned())
}

/// Judges an address, and refuses one with a user's name or password before anything repeats it: clap would, as do
/// `quorate config check` and errors.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    judge: fn(&str) -> Result<String, String>,
    instead: &'static str,
}

impl Address {
    /// Of a scheduler: [`scheduler_url`].
    pub const SCHEDULER: Self = Self { judge: scheduler_url, instead: "no scheduler asks for one" };
    /// Of a collector of traces.
    pub const COLLECTOR: Self =
        Self { judge: collector, instead: "put what proves who you are into --otlp-headers-file" };
}

impl TypedValueParser for Address {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        if !crate::app::otlp::names_user(&value.to_string_lossy()) {
            return self.judge.parse_ref(command, arg, value);
        }
        let option = arg.map(|arg| format!(" for '{arg}'")).unwrap_or_default();
        let words = format!(
            "invalid value{option}, which names a user or a password and is not repeated: {}",
            self.instead
        );
        Err(clap::Error::raw(ErrorKind::ValueValidation, format!("{words}\n")).with_cmd(command))
    }
}

/// What to log: a filter of tracing-subscriber.
///
/// # Errors
/// A sentence, for what can't be read as one.
pub fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("expected a tracing filter such as info or quorate=debug: {error}")),
    }
}

/// A participant's id, as every request has it.
///
/// # Errors
/// A sentence, for what no scheduler would take.
pub fn participant(text: &str) -> Result<String, String> {
    let mut found = Violations::default();
    let id = scalars::participant(text, &ROOT.field("participant_id"), &mut found);
    found.finish(id).map(|_| text.to_owned()).map_err(|invalid| invalid.in_words(400))
}

/// Why a text is not taken as a length.
enum NoLength {
    Negative,
    /// Longer than can be counted.
    TooLong,
    /// What else is wrong with it, in words.
    Other(String),
}

fn read_length(text: &str) -> Result<Duration, NoLength> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
        return Err(NoLength::Other(format!("a length needs a unit, such as {text}m")));
    }
    let Ok(span) = text.parse::<Span>() else {
        // The same with smaller numbers could be read: it is the numbers that are too large.
        let smaller = text.chars().fold(String::new(), |mut read, c| {
            match (c.is_ascii_digit(), read.ends_with('1')) {
                (true, true) => {}
                (true, false) => read.push('1'),
                (false, _) => read.push(c),
            }
            read
        });
        return Err(match smaller.parse::<Span>() {
            Ok(span) if span.is_negative() => NoLength::Negative,
            Ok(_) => NoLength::TooLong,
            Err(_) => NoLength::Other("expected a length such as 45m, 1h30m or PT1H".to_owned()),
        });
    };
    if span.get_years() != 0 || span.get_months() != 0 {
        let words = "months and years have no fixed length: use days, hours or minutes";
        return Err(NoLength::Other(words.to_owned()));
    }
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| NoLength::TooLong)?;
    Duration::try_from(signed).map_err(|_| NoLength::Negative)
}

/// A length of time: `45m`, `1h30m`, `90m`, `2d`, or ISO 8601 such as `PT1H`. A day has 24 hours.
///
/// # Errors
/// A sentence, for what has no unit, is negative, is in months or years, or is too long to count.
pub fn length(text: &str) -> Result<Duration, String> {
    read_length(text).map_err(|problem| match problem {
        NoLength::Negative => "a length can't be negative".to_owned(),
        NoLength::TooLong => "is longer than can be counted".to_owned(),
        NoLength::Other(words) => words,
    })
}

/// How long a meeting lasts, as [`length`], from [`limits::DURATION_MIN`] to [`limits::DURATION_MAX`].
///
/// # Errors
/// As [`length`]; for what no meeting can last, with these bounds.
pub fn meeting_length(text: &str) -> Result<Duration, String> {
    let (min, max) = (limits::DURATION_MIN, limits::DURATION_MAX);
    let problem = match read_length(text) {
        Ok(length) if (min..=max).contains(&length) => return Ok(length),
        Ok(Duration::ZERO) | Err(NoLength::Negative) => "must be positive",
        Ok(length) if length < min => "is too short",
        Ok(_) | Err(NoLength::TooLong) => "is too long",
        Err(NoLength::Other(words)) => return Err(words),
    };
    Err(format!("{problem}: a meeting lasts from {} to {}", scalars::words(min), scalars::words(max)))
}

/// A length of time above zero, as [`length`].
///
/// # Errors
/// As [`length`], and for zero.
pub fn positive_length(text: &str) -> Result<Duration, String> {
    match length(text)? {
        Duration::ZERO => Err("must be longer than zero".to_owned()),
        length => Ok(length),
    }
}

const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The day of the week that a word of at least three letters names: 0 is Monday. None for other words.
pub fn weekday(word: &str) -> Option<usize> {
    let word = word.to_lowercase();
    (word.len() >= 3).then(|| DAYS.iter().position(|day| day.starts_with(&word))).flatten()
}

/// Days of the week, Monday first: `Mon-Fri`, `Mon,Wed,Fri`, `Fri-Mon`, `weekdays`, `daily`.
///
/// # Errors
/// A sentence that says which word is no day.
pub fn days(text: &str) -> Result<[bool; 7], String> {
    let mut chosen = [false; 7];
    let day = |word: &str| {
        let word = word.trim();
        weekday(word)
            .ok_or_else(|| format!("'{word}' is no day; expected days such as Mon-Fri or Mon,Wed,Fri"))
    };
    for part in text.split(',') {
        match part.trim().to_lowercase().as_str() {
            "daily" | "all" => chosen = [true; 7],
            "weekdays" => chosen[..5].fill(true),
            _ => {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let (first, last) = (day(first)?, day(last)?);
                // Sun-Tue goes over the end of the week.
                let count = (last + 7 - first) % 7;
                (0..=count).for_each(|i| chosen[(first + i) % 7] = true);
            }
        }
    }
    Ok(chosen)
}

/// A time of day in minutes after midnight, up to 24:00 (1440): `9`, `09:00`, `24:00`.
///
/// # Errors
/// A sentence.
pub fn minute_of_day(text: &str) -> Result<u16, String> {
    let bad = || format!("'{}' is no time of day; expected one such as 09:00", text.trim());
    let (hours, minutes) = text.trim().split_once(':').unwrap_or((text.trim(), "00"));
    let number = |digits: &str, len: std::ops::RangeInclusive<usize>| {
        let fits = len.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| digits.parse::<u16>().ok()).flatten().ok_or_else(bad)
    };
    let (hours, minutes) = (number(hours, 1..=2)?, number(minutes, 2..=2)?);
    let total = hours * 60 + minutes;
    if minutes < 60 && total <= 24 * 60 { Ok(total) } else { Err(bad()) }
}

/// Hours of a day, in minutes after midnight: `08:00-17:00`, `8-17`.
///
/// # Errors
/// A sentence, also if the end is not after the start.
pub fn hours(text: &str) -> Result<(u16, u16), String> {
    let (start, end) =
        text.split_once(['-', '–']).ok_or_else(|| "expected hours such as 08:00-17:00".to_owned())?;
    let (start, end) = (minute_of_day(start)?, minute_of_day(end)?);
    if end > start {
        Ok((start, end))
    } else {
        Err("the end must be after the start, on the same day".to_owned())
    }
}

/// Working hours: `Mon-Fri 09:00-17:30`; days or hours may be left out; `any` for any hour of any day.
/// They have no zone of their own.
///
/// # Errors
/// A sentence that says which part can't be read.
pub fn working_hours(text: &str) -> Result<WorkingHours, String> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("any") {
        return Ok(WorkingHours::Unrestricted);
    }
    let (day_part, hour_part) = match text.find(|c: char| c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let (day_part, hour_part) = (day_part.trim(), hour_part.trim());
    if day_part.is_empty() && hour_part.is_empty() {
        return Err("expected working hours such as \"Mon-Fri 09:00-17:30\"".to_owned());
    }
    let days = if day_part.is_empty() { days("weekdays")? } else { days(day_part)? };
    let (start_minute, end_minute) = if hour_part.is_empty() { (8 * 60, 17 * 60) } else { hours(hour_part)? };
    Ok(WorkingHours::Weekly { days, start_minute, end_minute, time_zone: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_and_ids_that_nobody_would_take_are_refused() {
        assert_eq!(log_filter("info,quorate=debug").unwrap(), "info,quorate=debug");
        assert!(log_filter("=x==").unwrap_err().contains("quorate=debug"));
        assert_eq!(participant("rooms/b:1").unwrap(), "rooms/b:1");
        for bad in ["", "a b", &"x".repeat(5_000)] {
            assert!(participant(bad).unwrap_err().starts_with("participant_id: "), "{bad}");
        }
    }

    #[test]
    fn lengths_are_read_in_words_and_in_iso_8601() {
        let minutes = |text| length(text).map(|l| l.as_secs() / 60);
        for (text, expected) in [
            ("45m", 45),
            ("1h30m", 90),
            ("90m", 90),
            ("PT1H", 60),
            ("1h 30m", 90),
            ("1d", 24 * 60),
            ("P1DT1H", 25 * 60),
            ("1w", 7 * 24 * 60),
            ("0", 0),
            ("0m", 0),
        ] {
            assert_eq!(minutes(text), Ok(expected), "{text}");
        }
        assert_eq!(length("500ms"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn a_negative_value_belongs_to_the_option_before_it() {
        for (line, expected) in [
            ("q find --duration -5m --json", "q find --duration=-5m --json"),
            ("q find --step -5m --duration -1h", "q find --step=-5m --duration=-1h"),
            ("q find --duration=1h -5m", "q find --duration=1h -5m"),
            ("q find --duration --json", "q find --duration --json"),
            ("q find -h -5m", "q find -h -5m"),
            ("q x -- --duration -5m", "q x -- --duration -5m"),
            ("q -- -5m", "q -- -5m"),
            ("-5m", "-5m"),
        ] {
            let joined = with_negative_values(line.split(' ').map(OsString::from).collect());
            assert_eq!(joined.join(OsStr::new(" ")), expected);
        }
    }

    #[test]
    fn what_is_no_length_is_refused_with_a_hint() {
        for (text, hint) in [
            ("30", "such as 30m"),
            ("", "such as 45m"),
            ("soon", "such as 45m"),
            ("-5m", "can't be negative"),
            ("P1M", "months and years"),
            ("5m ago", "can't be negative"),
            ("-99999999999999999999h", "can't be negative"),
            ("99999999999999999999h", "longer than can be counted"),
            ("1d999999999h", "longer than can be counted"),
            ("99999999999999999999x", "such as 45m"),
        ] {
            assert!(length(text).unwrap_err().contains(hint), "{text}: {:?}", length(text));
        }
        assert!(positive_length("0s").unwrap_err().contains("longer than zero"));
    }

    #[test]
    fn days_may_be_ranges_lists_and_wrap_around() {
        let read = |text| days(text).map(|d| d.map(u8::from));
        assert_eq!(read("Mon-Fri"), Ok([1, 1, 1, 1, 1, 0, 0]));
        assert_eq!(read("mon,WEDNESDAY, fri"), Ok([1, 0, 1, 0, 1, 0, 0]));
        assert_eq!(read("Sat-Tue"), Ok([1, 1, 0, 0, 0, 1, 1]));
        assert_eq!(read("daily"), Ok([1; 7]));
        assert_eq!(read("weekdays,sun"), Ok([1, 1, 1, 1, 1, 0, 1]));
        for bad in ["", "mo", "Mon-", "Funday", "Mon-Fri-Sun"] {
            assert!(days(bad).unwrap_err().contains("is no day"), "{bad}");
        }
    }

    #[test]
    fn hours_must_run_forward_within_a_day() {
        assert_eq!(hours("08:00-17:00"), Ok((480, 1020)));
        assert_eq!(hours("8-24"), Ok((480, 1440)));
        for bad in
            ["17:00-08:00", "08:00", "8-8", "8-24:01", "08:60-09:00", "a-b", "08:0-9", "-5-9", "8:+5-9"]
        {
            assert!(hours(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn working_hours_of_an_agent() {
        let weekly = |days, start_minute, end_minute| {
            Ok(WorkingHours::Weekly { days, start_minute, end_minute, time_zone: None })
        };
        let workdays = [true, true, true, true, true, false, false];
        assert_eq!(working_hours("Mon-Fri 09:00-17:30"), weekly(workdays, 540, 1050));
        assert_eq!(working_hours("9-17"), weekly(workdays, 540, 1020));
        assert_eq!(
            working_hours("Tue, Thu"),
            weekly([false, true, false, true, false, false, false], 480, 1020)
        );
        assert_eq!(working_hours("any"), Ok(WorkingHours::Unrestricted));
        assert!(working_hours("").unwrap_err().contains("expected working hours"));
        assert!(working_hours("Mon-Fri 17:00-09:00").unwrap_err().contains("after the start"));
    }

    #[test]
    fn addresses_of_schedulers() {
        assert_eq!(scheduler_url("http://[::1]:50051/"), Ok("http://[::1]:50051".to_owned()));
        assert_eq!(scheduler_url("scheduler:50051"), Ok("http://scheduler:50051".to_owned()));
        assert!(scheduler_url("https://scheduler").unwrap_err().contains("TLS"));
        for bad in ["", "ftp://a", "http://", "http://a/b", "http://a b"] {
            assert!(scheduler_url(bad).is_err(), "{bad}");
        }
    }
}
