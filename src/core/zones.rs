//! Time zones by their IANA names, and the way between instants and wall clocks.
//!
//! Only the bundled time zone database is used, so that the same request gives the same slots on every machine.

use std::sync::LazyLock;

use chrono::DateTime;
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use super::time::{Instant, TimeRange};

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// No zone of the IANA database has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not the name of an IANA time zone")]
pub struct UnknownZone(
    /// The name, as it was given.
    pub String,
);

/// The zone of that IANA name, in any case of letters. The empty name, "local" and `Etc/Unknown` are unknown:
/// nothing falls back to UTC in silence.
pub fn zone(name: &str) -> Result<TimeZone, UnknownZone> {
    let unknown = || UnknownZone(name.to_owned());
    if name.is_empty() || name.eq_ignore_ascii_case("local") {
        return Err(unknown());
    }
    let zone = DATABASE.get(name).map_err(|_| unknown())?;
    if zone.is_unknown() { Err(unknown()) } else { Ok(zone) }
}

/// The zone's name in the spelling of the IANA database.
pub fn zone_name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("UTC")
}

/// The instant for jiff; the ends of its time (years -9999 and 9999) stand for all that lies beyond.
pub fn to_jiff(instant: Instant) -> Timestamp {
    // chrono counts the nanoseconds upwards from the whole second, also before 1970, and a leap second on top.
    let nanos = (instant.timestamp_subsec_nanos().min(999_999_999)) as i32;
    Timestamp::new(instant.timestamp(), nanos).unwrap_or(if instant.timestamp() < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// The instant for the rest of quorate.
pub fn from_jiff(timestamp: Timestamp) -> Instant {
    let nanos = timestamp.as_nanosecond();
    let (seconds, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    // jiff's years are a part of chrono's, so there always is such an instant.
    DateTime::from_timestamp(seconds as i64, rest as u32).unwrap_or(Instant::MAX_UTC)
}

/// What the wall clock of `zone` shows at `instant`.
pub fn to_civil(instant: Instant, zone: &TimeZone) -> civil::DateTime {
    zone.to_datetime(to_jiff(instant))
}

/// The instant that a wall-clock time means. In a gap the offset before it counts, in an overlap the first
/// occurrence ("compatible", as RFC 5545 section 3.3.5 has it).
pub fn to_instant(wall: civil::DateTime, zone: &TimeZone) -> Instant {
    match zone.to_ambiguous_timestamp(wall).compatible() {
        Ok(timestamp) => from_jiff(timestamp),
        Err(_) => edge(wall),
    }
}

/// The first instant at which the wall clock shows exactly this time; none if it skips it.
pub fn first_showing(wall: civil::DateTime, zone: &TimeZone) -> Option<Instant> {
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    match ambiguous.offset() {
        AmbiguousOffset::Gap { .. } => None,
        _ => ambiguous.compatible().ok().map(from_jiff),
    }
}

/// The first instant at which the wall clock shows this time or, where it skips it, a later one.
pub fn first_reaching(wall: civil::DateTime, zone: &TimeZone) -> Instant {
    if let Some(instant) = first_showing(wall, zone) {
        return instant;
    }
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    let (Ok(before), Ok(after)) = (ambiguous.earlier(), ambiguous.later()) else {
        return edge(wall);
    };
    // In a gap the two readings lie on either side of the change.
    let change =
        zone.following(before).map(|change| change.timestamp()).take_while(|change| *change <= after);
    from_jiff(change.last().unwrap_or(after))
}

/// The first instant of a day: 00:00, or later where the clocks skip it.
pub fn start_of_day(date: civil::Date, zone: &TimeZone) -> Instant {
    first_reaching(date.at(0, 0, 0, 0), zone)
}

/// The last whole second of a day.
pub fn end_of_day(date: civil::Date, zone: &TimeZone) -> Instant {
    let next = start_of_day(date.tomorrow().unwrap_or(date), zone);
    super::time::sub(next, std::time::Duration::from_secs(1))
}

/// What the wall clock of the zone of that name shows at `instant`, as `2026-03-29T10:00:00`. None if there is no such zone.
pub fn local_time(instant: Instant, name: &str) -> Option<String> {
    let zone = zone(name).ok()?;
    Some(to_civil(instant, &zone).strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

/// A range in words, on the wall clock of `zone`: "Mon 2024-07-22 08:00-09:00 (Europe/Berlin)".
pub fn in_words(range: &TimeRange, zone: &TimeZone) -> String {
    let (start, end) = (to_civil(range.start, zone), to_civil(range.end, zone));
    let name = zone_name(zone);
    if start.date() == end.date() {
        format!("{}-{} ({name})", start.strftime("%a %Y-%m-%d %H:%M"), end.strftime("%H:%M"))
    } else {
        format!("{} to {} ({name})", start.strftime("%a %Y-%m-%d %H:%M"), end.strftime("%a %Y-%m-%d %H:%M"))
    }
}

/// A wall-clock time at the end of jiff's time.
fn edge(wall: civil::DateTime) -> Instant {
    from_jiff(if wall.year() < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_zones_are_refused() {
        for name in
            ["", "local", "Local", "Etc/Unknown", "Europe/Atlantis", "+02:00", "CEST-1", "../etc/passwd"]
        {
            assert_eq!(zone(name), Err(UnknownZone(name.to_owned())), "{name}");
        }
        assert_eq!(zone_name(&zone("europe/berlin").unwrap()), "Europe/Berlin");
        assert_eq!(zone_name(&zone("UTC").unwrap()), "UTC");
    }

    #[test]
    fn instants_survive_the_way_to_jiff_and_back() {
        for text in ["1969-12-31T23:59:59.25Z", "2024-07-22T08:00:00Z", "0001-01-01T00:00:00.000000001Z"] {
            let instant: Instant = text.parse().unwrap();
            assert_eq!(from_jiff(to_jiff(instant)), instant);
        }
        assert_eq!(from_jiff(to_jiff(Instant::MAX_UTC)), from_jiff(Timestamp::MAX));
    }

    #[test]
    fn a_gap_is_reached_when_it_ends() {
        let berlin = zone("Europe/Berlin").unwrap();
        let skipped = civil::date(2025, 3, 30).at(2, 30, 0, 0);
        assert_eq!(first_showing(skipped, &berlin), None);
        assert_eq!(first_reaching(skipped, &berlin), "2025-03-30T01:00:00Z".parse::<Instant>().unwrap());
        assert_eq!(to_instant(skipped, &berlin), "2025-03-30T01:30:00Z".parse::<Instant>().unwrap());
        let apia = zone("Pacific/Apia").unwrap();
        let (missing, next) = (civil::date(2011, 12, 30), civil::date(2011, 12, 31));
        assert_eq!(start_of_day(missing, &apia), start_of_day(next, &apia));
    }

    #[test]
    fn ranges_in_words() {
        let range =
            TimeRange::new("2024-07-22T06:00:00Z".parse().unwrap(), "2024-07-22T07:00:00Z".parse().unwrap());
        assert_eq!(
            in_words(&range, &zone("Europe/Berlin").unwrap()),
            "Mon 2024-07-22 08:00-09:00 (Europe/Berlin)"
        );
    }
}
