//! A rule's text, taken apart and checked (RFC 5545 section 3.3.10, RFC 7529 section 4).

use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Weekday};

use super::RuleError;

/// A rule longer than this, in bytes, is refused.
pub const MAX_RULE_BYTES: usize = 4_096;
/// So many characters of somebody's text are repeated in an error.
const EXCERPT_CHARS: usize = 40;

/// FREQ.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Frequency {
    Secondly,
    Minutely,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// SKIP (RFC 7529): what becomes of a day that its month does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Skip {
    #[default]
    Omit,
    Backward,
    Forward,
}

/// UNTIL, inclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Until {
    Date(NaiveDate),
    Local(NaiveDateTime),
    Utc(NaiveDateTime),
}

/// All parts of a rule; empty lists were not given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Parts {
    pub frequency: Frequency,
    pub interval: u32,
    pub count: Option<u32>,
    pub until: Option<Until>,
    pub week_start: Weekday,
    pub skip: Skip,
    pub seconds: Vec<u32>,
    pub minutes: Vec<u32>,
    pub hours: Vec<u32>,
    /// With the ordinal, 0 for every such day.
    pub days: Vec<(i32, Weekday)>,
    pub month_days: Vec<i32>,
    pub year_days: Vec<i32>,
    pub weeks: Vec<i32>,
    pub months: Vec<u32>,
    pub positions: Vec<i32>,
}

/// One thing that is wrong with a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuleFault {
    /// More than [`MAX_RULE_BYTES`] bytes.
    TooLong,
    /// A character that is no printable ASCII.
    Character,
    /// No FREQ.
    NoFrequency,
    /// A part that is empty, or without `=`.
    NoPart(String),
    /// A part that neither RFC 5545 nor RFC 7529 knows.
    Unknown(String),
    /// A part that is there twice.
    Twice(&'static str),
    /// A value that is none of this part.
    Value(&'static str, String),
    /// A part that RFC 5545 does not allow with this FREQ.
    NotWithFrequency(&'static str),
    /// COUNT and UNTIL.
    CountAndUntil,
    /// SKIP without RSCALE.
    SkipWithoutScale,
    /// Another calendar than the Gregorian one.
    Scale(String),
    /// BYSETPOS without another BY part.
    OnlyPositions,
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "longer than {MAX_RULE_BYTES} bytes"),
            Self::Character => f.write_str("has characters other than printable ASCII"),
            Self::NoFrequency => f.write_str("has no FREQ"),
            Self::NoPart(text) => write!(f, "'{text}' is no NAME=VALUE"),
            Self::Unknown(name) => write!(f, "'{name}' is no part of a recurrence rule"),
            Self::Twice(name) => write!(f, "{name} is there twice"),
            Self::Value(name, value) => write!(f, "{name} can't be '{value}'"),
            Self::NotWithFrequency(name) => write!(f, "{name} is not allowed with this FREQ"),
            Self::CountAndUntil => f.write_str("COUNT and UNTIL exclude each other"),
            Self::SkipWithoutScale => f.write_str("SKIP needs RSCALE=GREGORIAN"),
            Self::Scale(name) => write!(f, "RSCALE '{name}' is not supported, only GREGORIAN is"),
            Self::OnlyPositions => f.write_str("BYSETPOS needs another BY part"),
        }
    }
}

/// How a rule is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    /// As RFC 5545 has it.
    Strict,
    /// As calendar programs write rules, where the meaning is plain.
    Lenient,
}

const NAMES: [&str; 16] = [
    "FREQ",
    "UNTIL",
    "COUNT",
    "INTERVAL",
    "BYSECOND",
    "BYMINUTE",
    "BYHOUR",
    "BYDAY",
    "BYMONTHDAY",
    "BYYEARDAY",
    "BYWEEKNO",
    "BYMONTH",
    "BYSETPOS",
    "WKST",
    "RSCALE",
    "SKIP",
];

const FREQUENCIES: [(&str, Frequency); 7] = [
    ("SECONDLY", Frequency::Secondly),
    ("MINUTELY", Frequency::Minutely),
    ("HOURLY", Frequency::Hourly),
    ("DAILY", Frequency::Daily),
    ("WEEKLY", Frequency::Weekly),
    ("MONTHLY", Frequency::Monthly),
    ("YEARLY", Frequency::Yearly),
];

pub(super) const WEEKDAYS: [(&str, Weekday); 7] = [
    ("MO", Weekday::Mon),
    ("TU", Weekday::Tue),
    ("WE", Weekday::Wed),
    ("TH", Weekday::Thu),
    ("FR", Weekday::Fri),
    ("SA", Weekday::Sat),
    ("SU", Weekday::Sun),
];

fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS).map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// The parts by name, and what is wrong so far.
struct Reader {
    values: Vec<(&'static str, String)>,
    faults: Vec<RuleFault>,
    reading: Reading,
}

impl Reader {
    /// Notes what only RFC 5545 minds.
    fn sloppy(&mut self, fault: RuleFault) {
        if self.reading == Reading::Strict {
            self.faults.push(fault);
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.values.iter().position(|(known, _)| *known == name)?;
        Some(self.values.swap_remove(at).1)
    }

    fn one<T>(&mut self, name: &'static str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.take(name)?;
        let value = read(&text);
        if value.is_none() {
            self.faults.push(RuleFault::Value(name, excerpt(&text)));
        }
        value
    }

    /// A list without doubles, in order.
    fn list<T: Ord>(&mut self, name: &'static str, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let Some(text) = self.take(name) else { return Vec::new() };
        let mut list = Vec::new();
        for item in text.split(',') {
            match read(item) {
                Some(value) => list.push(value),
                None => self.faults.push(RuleFault::Value(name, excerpt(item))),
            }
        }
        list.sort_unstable();
        list.dedup();
        list
    }

    fn numbers(&mut self, name: &'static str, from: u32, to: u32) -> Vec<u32> {
        self.list(name, |text| text.parse().ok().filter(|n| (from..=to).contains(n)))
    }

    /// Numbers that may count from the end. With `any`, a lenient reader takes those out of range: they name nothing.
    fn signed(&mut self, name: &'static str, to: u32, any: bool) -> Vec<i32> {
        let any = any && self.reading == Reading::Lenient;
        self.list(name, |text| {
            let number = text.parse::<i32>().ok()?;
            (any || (number != 0 && number.unsigned_abs() <= to)).then_some(number)
        })
    }
}

impl Parts {
    /// Reads a rule, and finds all that is wrong with it.
    pub fn read(text: &str, reading: Reading) -> Result<Self, RuleError> {
        let fault = |fault| Err(RuleError::Malformed(vec![fault]));
        if text.len() > MAX_RULE_BYTES {
            return fault(RuleFault::TooLong);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            return fault(RuleFault::Character);
        }
        let mut reader = split(text, reading);
        let parts = reader.parts();
        match parts {
            Some(parts) if reader.faults.is_empty() => Ok(parts),
            _ => Err(RuleError::Malformed(reader.faults)),
        }
    }

    /// Whether a part says which days of a week count.
    pub fn names_weekday(&self) -> bool {
        !(self.days.is_empty() && self.month_days.is_empty() && self.year_days.is_empty())
    }

    /// Whether any BY part is there that names days.
    pub fn names_days(&self) -> bool {
        !(self.days.is_empty()
            && self.month_days.is_empty()
            && self.year_days.is_empty()
            && self.weeks.is_empty())
    }
}

fn split(text: &str, reading: Reading) -> Reader {
    let text = text.to_ascii_uppercase();
    let mut reader = Reader { values: Vec::new(), faults: Vec::new(), reading };
    for part in text.split(';') {
        let lenient = reading == Reading::Lenient;
        let part = if lenient { part.trim() } else { part };
        let (name, value) = match part.split_once('=') {
            Some((name, value)) if lenient => (name.trim(), value.replace(' ', "")),
            Some((name, value)) => (name, value.to_owned()),
            None if part.is_empty() => {
                // A semicolon too many.
                reader.sloppy(RuleFault::NoPart(String::new()));
                continue;
            }
            None => {
                reader.faults.push(RuleFault::NoPart(excerpt(part)));
                continue;
            }
        };
        match NAMES.iter().find(|known| **known == name) {
            Some(known) if reader.values.iter().any(|(there, _)| there == known) => {
                reader.faults.push(RuleFault::Twice(known));
            }
            Some(known) => reader.values.push((known, value)),
            None if name.starts_with("X-") => reader.sloppy(RuleFault::Unknown(excerpt(name))),
            None => reader.faults.push(RuleFault::Unknown(excerpt(name))),
        }
    }
    reader
}

impl Reader {
    fn parts(&mut self) -> Option<Parts> {
        let frequency = match self.take("FREQ") {
            None => {
                self.faults.push(RuleFault::NoFrequency);
                None
            }
            Some(text) => {
                let known = find(&FREQUENCIES, &text);
                if known.is_none() {
                    self.faults.push(RuleFault::Value("FREQ", excerpt(&text)));
                }
                known
            }
        };
        let positive = |text: &str| text.parse::<u32>().ok().filter(|n| *n > 0);
        let scaled = self.scale();
        let skip = self.one("SKIP", |text| {
            find(&[("OMIT", Skip::Omit), ("BACKWARD", Skip::Backward), ("FORWARD", Skip::Forward)], text)
        });
        if skip.is_some() && !scaled {
            self.sloppy(RuleFault::SkipWithoutScale);
        }
        let parts = Parts {
            // Whatever it is: nobody sees these parts if there is no frequency.
            frequency: frequency.unwrap_or(Frequency::Daily),
            interval: self.one("INTERVAL", positive).unwrap_or(1),
            count: self.one("COUNT", positive),
            until: self.one("UNTIL", until),
            week_start: self.one("WKST", |text| find(&WEEKDAYS, text)).unwrap_or(Weekday::Mon),
            skip: skip.unwrap_or_default(),
            // A leap second is the second before it to a calendar.
            seconds: self
                .list("BYSECOND", |text| text.parse::<u32>().ok().filter(|n| *n <= 60).map(|n| n.min(59))),
            minutes: self.numbers("BYMINUTE", 0, 59),
            hours: self.numbers("BYHOUR", 0, 23),
            days: self.week_days(),
            month_days: self.signed("BYMONTHDAY", 31, false),
            year_days: self.signed("BYYEARDAY", 366, true),
            weeks: self.signed("BYWEEKNO", 53, true),
            months: self.numbers("BYMONTH", 1, 12),
            positions: self.signed("BYSETPOS", i32::MAX as u32, false),
        };
        frequency.map(|_| self.together(parts))
    }

    /// Whether RSCALE is there and names our calendar.
    fn scale(&mut self) -> bool {
        match self.take("RSCALE") {
            Some(name) if name != "GREGORIAN" => {
                self.faults.push(RuleFault::Scale(excerpt(&name)));
                true
            }
            scale => scale.is_some(),
        }
    }

    fn week_days(&mut self) -> Vec<(i32, Weekday)> {
        let list = self.list("BYDAY", |text| {
            let (ordinal, name) = text.split_at_checked(text.len().checked_sub(2)?)?;
            let number = match ordinal {
                "" => 0,
                _ => ordinal.parse::<i32>().ok().filter(|n| (1..=53).contains(&n.unsigned_abs()))?,
            };
            find(&WEEKDAYS, name).map(|day| (number, day.num_days_from_monday()))
        });
        let day = |number: u32| WEEKDAYS.iter().find(|(_, day)| day.num_days_from_monday() == number);
        list.into_iter().filter_map(|(ordinal, number)| Some((ordinal, day(number)?.1))).collect()
    }

    /// What the parts say of each other.
    fn together(&mut self, mut parts: Parts) -> Parts {
        use Frequency::{Daily, Monthly, Weekly, Yearly};
        let frequency = parts.frequency;
        if parts.count.is_some() && parts.until.is_some() {
            self.sloppy(RuleFault::CountAndUntil);
        }
        if !parts.weeks.is_empty() && frequency != Yearly {
            self.sloppy(RuleFault::NotWithFrequency("BYWEEKNO"));
        }
        if !parts.year_days.is_empty() && matches!(frequency, Daily | Weekly | Monthly) {
            self.sloppy(RuleFault::NotWithFrequency("BYYEARDAY"));
        }
        if !parts.month_days.is_empty() && frequency == Weekly {
            self.sloppy(RuleFault::NotWithFrequency("BYMONTHDAY"));
        }
        let may_count = frequency == Monthly || (frequency == Yearly && parts.weeks.is_empty());
        if !may_count && parts.days.iter().any(|(ordinal, _)| *ordinal != 0) {
            self.sloppy(RuleFault::NotWithFrequency("BYDAY with a number"));
            // Where ordinals mean nothing they are dropped, which can only make the person busier.
            for (ordinal, _) in &mut parts.days {
                *ordinal = 0;
            }
            parts.days.dedup();
        }
        let others = parts.names_days()
            || !(parts.months.is_empty()
                && parts.hours.is_empty()
                && parts.minutes.is_empty()
                && parts.seconds.is_empty());
        if !parts.positions.is_empty() && !others {
            self.sloppy(RuleFault::OnlyPositions);
        }
        parts
    }
}

/// A DATE, a local DATE-TIME or one in UTC. Seconds may be missing, as some producers leave them out.
fn until(text: &str) -> Option<Until> {
    let digits = |range: std::ops::Range<usize>| -> Option<u32> {
        let part = text.get(range)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let date = NaiveDate::from_ymd_opt(i32::try_from(digits(0..4)?).ok()?, digits(4..6)?, digits(6..8)?)?;
    let clock = text.get(8..)?;
    if clock.is_empty() {
        return Some(Until::Date(date));
    }
    let utc = clock.ends_with('Z');
    let seconds = match clock.strip_prefix('T')?.trim_end_matches('Z').len() {
        6 => digits(13..15)?.min(59),
        4 => 0,
        _ => return None,
    };
    let extra = clock.len() - clock.trim_end_matches('Z').len();
    let time = NaiveTime::from_hms_opt(digits(9..11)?, digits(11..13)?, seconds)?;
    let at = date.and_time(time);
    (extra <= 1).then_some(if utc { Until::Utc(at) } else { Until::Local(at) })
}
