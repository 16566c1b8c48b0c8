//! Calendars made from a seed: one series, or several, with whatever a calendar program may write about them.
//!
//! Left out, because RFC 5545 does not say what they mean, and the two differ:
//! - An RDATE period that begins when an occurrence of the rule does. Only one of them counts (section 3.8.5.3), but not
//!   which: the longer for us, the period for recurring-ical-events.
//! - An occurrence that is left out by EXDATE and has an override too: busy for us, not there for recurring-ical-events.
//! - An RDATE period after a change of this and the following: it lasts as long as the change says for us, as the period
//!   says for recurring-ical-events.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use quorate::core::random::Random;
use quorate::core::time::TimeRange;

/// Zones with whole hours, halves and quarters, changes of clocks by half an hour, at midnight, and none.
const ZONES: [&str; 14] = [
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "America/Sao_Paulo",
    "Europe/London",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Africa/Casablanca",
    "Pacific/Chatham",
    "Asia/Tokyo",
    "America/Santiago",
    "Africa/Cairo",
];

const DAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

/// A calendar, and what to ask about it.
pub struct Generated {
    pub seed: u64,
    pub text: String,
    /// The participant's zone.
    pub home: &'static str,
    pub windows: Vec<TimeRange>,
    /// What it has in it, to count by.
    pub features: Vec<&'static str>,
}

/// How times are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Zoned(&'static str),
    Utc,
    Floating,
    Date,
}

struct Maker {
    random: Random,
    text: String,
    features: Vec<&'static str>,
}

pub fn calendar(seed: u64) -> Generated {
    let mut maker = Maker { random: Random::new(seed), text: String::new(), features: Vec::new() };
    maker.text.push_str("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\n");
    let home = ZONES[maker.below(ZONES.len())];
    let series = if maker.one_in(5) { 2 + maker.below(5) } else { 1 };
    for number in 0..series {
        maker.series(number);
    }
    maker.text.push_str("END:VCALENDAR\r\n");
    let windows = vec![maker.window(14), maker.window(60), maker.window(366)];
    maker.features.sort_unstable();
    maker.features.dedup();
    Generated { seed, text: maker.text, home, windows, features: maker.features }
}

impl Maker {
    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn has(&mut self, feature: &'static str) {
        self.features.push(feature);
    }

    /// Up to 2027; it begins at any minute.
    fn window(&mut self, days: i64) -> TimeRange {
        let minute = 1_709_251_200 / 60 + self.below(1_000 * 1_440) as i64;
        let start = DateTime::<Utc>::from_timestamp(minute * 60, 0).expect("a time");
        TimeRange::new(start, start + TimeDelta::days(days))
    }

    /// A local time from 2023 to 2026, often near a change of clocks.
    fn start(&mut self) -> NaiveDateTime {
        let day = match self.below(4) {
            0 => {
                let changes = [
                    (2024, 3, 29),
                    (2024, 10, 25),
                    (2025, 3, 7),
                    (2025, 10, 31),
                    (2026, 3, 27),
                    (2025, 4, 4),
                ];
                let (year, month, day) = self.pick(&changes);
                NaiveDate::from_ymd_opt(year, month, day).expect("a date")
                    + TimeDelta::days(self.below(5) as i64)
            }
            _ => {
                NaiveDate::from_ymd_opt(2023, 1, 1).expect("a date")
                    + TimeDelta::days(self.below(1_300) as i64)
            }
        };
        let (hour, minute) = match self.below(5) {
            0 => (self.below(4), 15 * self.below(4)),
            1 => (23, 30),
            _ => (8 + self.below(10), 15 * self.below(4)),
        };
        day.and_hms_opt(hour as u32, minute as u32, 0).expect("a time")
    }

    fn series(&mut self, number: usize) {
        let uid = format!("{number}@example.com");
        let kind = match self.below(10) {
            0 => Kind::Utc,
            1 => Kind::Floating,
            2 | 3 => Kind::Date,
            _ => Kind::Zoned(ZONES[self.below(ZONES.len())]),
        };
        self.has(match kind {
            Kind::Zoned(_) => "zoned",
            Kind::Utc => "UTC",
            Kind::Floating => "floating",
            Kind::Date => "all-day",
        });
        let mut start = self.start();
        if kind == Kind::Date {
            start = start.date().into();
        }
        self.begin(&uid);
        self.time("DTSTART", kind, start);
        self.length(kind, start);
        self.standing();
        if !self.one_in(6) {
            let gone = self.recurrence(kind, start);
            self.text.push_str("END:VEVENT\r\n");
            self.overrides(&uid, kind, start, &gone);
        } else {
            self.text.push_str("END:VEVENT\r\n");
        }
    }

    fn begin(&mut self, uid: &str) {
        let _ = write!(self.text, "BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20240101T000000Z\r\n");
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push_str("\r\n");
    }

    fn time(&mut self, name: &str, kind: Kind, at: NaiveDateTime) {
        self.times(name, kind, &[at]);
    }

    fn times(&mut self, name: &str, kind: Kind, list: &[NaiveDateTime]) {
        let values: Vec<String> = list.iter().map(|at| written(kind, *at)).collect();
        let values = values.join(",");
        self.line(&match kind {
            Kind::Zoned(zone) => format!("{name};TZID={zone}:{values}"),
            Kind::Date => format!("{name};VALUE=DATE:{values}"),
            Kind::Utc | Kind::Floating => format!("{name}:{values}"),
        });
    }

    /// DTEND, DURATION or neither.
    fn length(&mut self, kind: Kind, start: NaiveDateTime) {
        if kind == Kind::Date {
            let days = 1 + self.below(3) as i64;
            match self.below(3) {
                0 => self.line(&format!("DURATION:P{days}D")),
                1 => self.time("DTEND", kind, start + TimeDelta::days(days)),
                _ => {}
            }
            return;
        }
        let minutes = match self.below(8) {
            0 => 24 * 60,
            1 => 26 * 60 + 30,
            2 => 3 * 24 * 60,
            _ => 15 * (1 + self.below(16) as i64),
        };
        if self.one_in(3) {
            self.has("DURATION");
            let (days, rest) = (minutes / 1_440, minutes % 1_440);
            self.line(&match (days, rest) {
                (0, rest) => format!("DURATION:PT{rest}M"),
                (days, 0) => format!("DURATION:P{days}D"),
                (days, rest) => format!("DURATION:P{days}DT{}H{}M", rest / 60, rest % 60),
            });
        } else {
            self.has("DTEND");
            self.time("DTEND", kind, start + TimeDelta::minutes(minutes));
        }
    }

    /// STATUS and TRANSP.
    fn standing(&mut self) {
        match self.below(12) {
            0 | 1 => {
                self.has("TENTATIVE");
                self.line("STATUS:TENTATIVE");
            }
            2 => {
                self.has("CANCELLED");
                self.line("STATUS:CANCELLED");
            }
            3 => {
                self.has("TRANSPARENT");
                self.line("TRANSP:TRANSPARENT");
            }
            4 => self.line("STATUS:CONFIRMED"),
            5 => self.line("TRANSP:OPAQUE"),
            _ => {}
        }
    }

    /// RRULE, RDATE and EXDATE; what EXDATE leaves out.
    fn recurrence(&mut self, kind: Kind, start: NaiveDateTime) -> Vec<NaiveDateTime> {
        let ruled = !self.one_in(10);
        if ruled {
            let rule = self.rule(kind, start);
            self.line(&format!("RRULE:{rule}"));
        }
        if !ruled || self.one_in(4) {
            let extra: Vec<NaiveDateTime> =
                (0..1 + self.below(3)).map(|_| self.another(kind, start)).collect();
            if kind != Kind::Date && self.one_in(3) {
                self.has("RDATE;VALUE=PERIOD");
                // Minutes at which no rule has anything.
                let extra: Vec<NaiveDateTime> = extra.iter().map(|at| *at + TimeDelta::minutes(7)).collect();
                let end = |at: &NaiveDateTime| written(kind, *at + TimeDelta::minutes(45));
                let periods: Vec<String> = extra
                    .iter()
                    .enumerate()
                    .map(|(number, at)| match number % 2 {
                        0 => format!("{}/PT45M", written(kind, *at)),
                        _ => format!("{}/{}", written(kind, *at), end(at)),
                    })
                    .collect();
                let zone = if let Kind::Zoned(zone) = kind { format!(";TZID={zone}") } else { String::new() };
                self.line(&format!("RDATE;VALUE=PERIOD{zone}:{}", periods.join(",")));
            } else {
                self.has("RDATE");
                self.times("RDATE", kind, &extra);
            }
        }
        let mut gone = Vec::new();
        if self.one_in(3) {
            self.has("EXDATE");
            gone = (0..1 + self.below(3)).map(|_| start + TimeDelta::days(self.step())).collect();
            if self.one_in(4) {
                gone.push(start);
            }
            self.times("EXDATE", kind, &gone);
        }
        gone
    }

    /// Days to a later occurrence of many rules.
    fn step(&mut self) -> i64 {
        let days = self.pick(&[1, 7, 7, 14, 2]);
        days * (1 + self.below(20) as i64)
    }

    fn another(&mut self, kind: Kind, start: NaiveDateTime) -> NaiveDateTime {
        let days = TimeDelta::days(1 + self.below(300) as i64);
        let hours = if kind == Kind::Date { 0 } else { self.below(5) as i64 };
        start + days + TimeDelta::hours(hours)
    }

    fn rule(&mut self, kind: Kind, start: NaiveDateTime) -> String {
        let own = DAYS[start.weekday().num_days_from_monday() as usize];
        let (day, month) = (start.day(), start.month());
        let mut rule = match self.below(14) {
            0 | 1 => self.named("DAILY", "FREQ=DAILY"),
            2 | 3 => self.named("WEEKLY", "FREQ=WEEKLY"),
            4 | 5 => {
                let mut days = vec![own];
                for _ in 0..self.below(3) {
                    days.push(self.pick(&DAYS));
                }
                let week = self.pick(&["", ";WKST=SU", ";WKST=MO", ";WKST=WE"]);
                let rule = format!("FREQ=WEEKLY;BYDAY={}{week}", unique(&days));
                self.named("WEEKLY;BYDAY", &rule)
            }
            6 => self.named("MONTHLY", "FREQ=MONTHLY"),
            7 => {
                let nth = day.div_ceil(7);
                self.named("MONTHLY;BYDAY", &format!("FREQ=MONTHLY;BYDAY={nth}{own}"))
            }
            8 => {
                let day = self
                    .pick(&[format!("{day}"), format!("{day},-1"), format!("1,15,{day}")].each_ref())
                    .clone();
                self.named("MONTHLY;BYMONTHDAY", &format!("FREQ=MONTHLY;BYMONTHDAY={day}"))
            }
            9 => {
                let position = self.pick(&[-1, 1, 2, -2]);
                let rule = format!("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS={position}");
                self.named("BYSETPOS", &rule)
            }
            10 => self.named("YEARLY", "FREQ=YEARLY"),
            11 => self.named("YEARLY;BYMONTH", &format!("FREQ=YEARLY;BYMONTH={month};BYDAY=1{own},-1{own}")),
            12 => {
                let rule =
                    self.pick(&["FREQ=YEARLY;BYYEARDAY=1,100,-1", "FREQ=YEARLY;BYWEEKNO=20,53;BYDAY=MO"]);
                self.named("BYYEARDAY, BYWEEKNO", rule)
            }
            _ if kind == Kind::Date => self.named("DAILY", "FREQ=DAILY"),
            _ => {
                let rule = self.pick(&[
                    "FREQ=DAILY;BYHOUR=9,13;BYMINUTE=0,30",
                    "FREQ=HOURLY;INTERVAL=5",
                    "FREQ=MINUTELY;INTERVAL=90",
                ]);
                self.named("within a day", rule)
            }
        };
        if self.one_in(3) && !rule.contains("INTERVAL") {
            self.has("INTERVAL");
            let _ = write!(rule, ";INTERVAL={}", 2 + self.below(3));
        }
        match self.below(3) {
            0 => {
                self.has("COUNT");
                let _ = write!(rule, ";COUNT={}", 1 + self.below(60));
            }
            1 => {
                self.has("UNTIL");
                let end = start + TimeDelta::days(self.below(700) as i64);
                let written = match kind {
                    Kind::Date => written(Kind::Date, end),
                    Kind::Floating => written(Kind::Floating, end),
                    _ => written(Kind::Utc, end),
                };
                let _ = write!(rule, ";UNTIL={written}");
            }
            _ => self.has("without an end"),
        }
        rule
    }

    fn named(&mut self, feature: &'static str, rule: &str) -> String {
        self.has(feature);
        rule.to_owned()
    }

    /// Occurrences that are moved, cancelled or freed; and this and the following.
    fn overrides(&mut self, uid: &str, kind: Kind, start: NaiveDateTime, gone: &[NaiveDateTime]) {
        if !self.one_in(3) {
            return;
        }
        let mut days = vec![0];
        for _ in 0..1 + self.below(2) {
            let day = if self.one_in(6) { 0 } else { self.step() };
            let excluded = gone.contains(&(start + TimeDelta::days(day)));
            if excluded || (days.contains(&day) && day != 0) {
                continue;
            }
            days.push(day);
            let id = start + TimeDelta::days(day);
            self.begin(uid);
            let onward = self.one_in(4) && !self.features.contains(&"RDATE;VALUE=PERIOD");
            self.time(if onward { "RECURRENCE-ID;RANGE=THISANDFUTURE" } else { "RECURRENCE-ID" }, kind, id);
            let moved = match kind {
                Kind::Date => id + TimeDelta::days(self.below(3) as i64),
                _ => id + TimeDelta::minutes(30 * self.below(60) as i64),
            };
            self.time("DTSTART", kind, moved);
            self.length(kind, moved);
            match self.below(4) {
                0 => {
                    self.has("cancelled occurrence");
                    self.line("STATUS:CANCELLED");
                }
                1 => {
                    self.has("transparent occurrence");
                    self.line("TRANSP:TRANSPARENT");
                }
                _ => self.has("moved occurrence"),
            }
            if onward {
                self.has("THISANDFUTURE");
            }
            self.text.push_str("END:VEVENT\r\n");
            if day == 0 {
                break;
            }
        }
    }
}

fn unique(days: &[&'static str]) -> String {
    let mut days = days.to_vec();
    days.sort_unstable();
    days.dedup();
    days.join(",")
}

fn written(kind: Kind, at: NaiveDateTime) -> String {
    let format = match kind {
        Kind::Date => "%Y%m%d",
        Kind::Utc => "%Y%m%dT%H%M%SZ",
        Kind::Zoned(_) | Kind::Floating => "%Y%m%dT%H%M%S",
    };
    at.format(format).to_string()
}
