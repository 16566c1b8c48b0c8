//! Time zones of a calendar: IANA names, Windows names, and the rules of a VTIMEZONE.
//!
//! Rules come from the time zone database that is compiled in, never from the system's, which
//! may be years old.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Utc};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::vtimezone::CustomZone;
use super::windows;

/// No zone's name is longer, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Where a local time is to be read.
#[derive(Debug, Clone)]
pub(super) enum Zone {
    /// Wherever the participant is.
    Floating,
    Utc,
    Named(TimeZone),
    Custom(Arc<CustomZone>),
}

impl Zone {
    /// Local time to instant. A time in a gap moves forward by the gap, a time that exists twice
    /// is the first (RFC 5545, section 3.3.5).
    pub fn instant(&self, local: NaiveDateTime, home: &TimeZone) -> DateTime<Utc> {
        match self {
            Self::Utc => local.and_utc(),
            Self::Floating => instant_in(home, local),
            Self::Named(zone) => instant_in(zone, local),
            Self::Custom(zone) => zone.instant(local),
        }
    }

    /// Whether both are the same wall clock, that may be put on and back.
    pub fn shows_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Floating, Self::Floating) => true,
            (Self::Named(zone), Self::Named(other)) => zone == other,
            (Self::Custom(zone), Self::Custom(other)) => Arc::ptr_eq(zone, other),
            _ => false,
        }
    }

    /// Instant to local time.
    pub fn local(&self, instant: DateTime<Utc>, home: &TimeZone) -> NaiveDateTime {
        let offset = self.offset(instant, home);
        instant.naive_utc().checked_add_signed(offset).unwrap_or(instant.naive_utc())
    }

    /// How far its clocks are ahead of UTC.
    pub fn offset(&self, instant: DateTime<Utc>, home: &TimeZone) -> TimeDelta {
        match self {
            Self::Utc => TimeDelta::zero(),
            Self::Floating => offset_in(home, instant),
            Self::Named(zone) => offset_in(zone, instant),
            Self::Custom(zone) => zone.offset_at(instant.naive_utc()),
        }
    }

    /// When its offset changes in `years`, in order; nothing of a floating one.
    pub fn changes(&self, years: &Range<DateTime<Utc>>) -> Vec<DateTime<Utc>> {
        match self {
            Self::Utc | Self::Floating => Vec::new(),
            Self::Custom(zone) => zone.changes().filter(|at| years.contains(at)).collect(),
            Self::Named(zone) => {
                let start = jiff::Timestamp::from_second(years.start.timestamp()).unwrap_or_default();
                let at = |at: jiff::Timestamp| DateTime::from_timestamp(at.as_second(), 0);
                let all = zone.following(start).map_while(|change| at(change.timestamp()));
                all.take_while(|at| *at < years.end).collect()
            }
        }
    }
}

/// Outside the years that jiff knows (the last days of 9999), local time counts as UTC.
fn instant_in(zone: &TimeZone, local: NaiveDateTime) -> DateTime<Utc> {
    let resolve = || {
        let civil = jiff::civil::DateTime::new(
            i16::try_from(local.year()).ok()?,
            i8::try_from(local.month()).ok()?,
            i8::try_from(local.day()).ok()?,
            i8::try_from(local.hour()).ok()?,
            i8::try_from(local.minute()).ok()?,
            i8::try_from(local.second()).ok()?,
            0,
        );
        let stamp = zone.to_ambiguous_timestamp(civil.ok()?).compatible().ok()?;
        DateTime::from_timestamp(stamp.as_second(), 0)
    };
    resolve().unwrap_or_else(|| local.and_utc())
}

fn offset_in(zone: &TimeZone, instant: DateTime<Utc>) -> TimeDelta {
    match jiff::Timestamp::from_second(instant.timestamp()) {
        Ok(stamp) => TimeDelta::seconds(zone.to_offset(stamp).seconds().into()),
        Err(_) => TimeDelta::zero(),
    }
}

/// The zone of a name that people and programs use: IANA, Windows, or an IANA name behind a
/// prefix (`/freeassociation.sourceforge.net/Europe/Berlin`). `None` if it is none of these.
pub fn known_zone(name: &str) -> Option<TimeZone> {
    static BUNDLED: OnceLock<TimeZoneDatabase> = OnceLock::new();
    let database = BUNDLED.get_or_init(TimeZoneDatabase::bundled);
    let name = name.trim();
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    // jiff's own name for "nobody knows where" is no place to book a meeting.
    let iana = |name: &str| {
        if name.eq_ignore_ascii_case("Etc/Unknown") { None } else { database.get(name).ok() }
    };
    if let Some(zone) = iana(name).or_else(|| windows::iana_name(name).and_then(iana)) {
        return Some(zone);
    }
    let path = name.strip_prefix('/')?;
    let suffixes = path.match_indices('/').map(|(at, _)| &path[at + 1..]);
    std::iter::once(path).chain(suffixes).find_map(iana)
}
