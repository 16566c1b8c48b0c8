//! Between protobuf's values and those that people and scripts read.

use std::time::Duration;

use jiff::Timestamp;
use prost_types::{Duration as PbDuration, Timestamp as PbTimestamp};

use crate::wire::pb;

/// The instant of a timestamp. None if it is absent, or outside the years -9999 to 9999.
pub fn instant(value: Option<&PbTimestamp>) -> Option<Timestamp> {
    value.and_then(|v| Timestamp::new(v.seconds, v.nanos).ok())
}

/// The instants of a range. None if one is absent.
pub fn range(value: Option<&pb::TimeRange>) -> Option<(Timestamp, Timestamp)> {
    let value = value?;
    Some((instant(value.start_time.as_ref())?, instant(value.end_time.as_ref())?))
}

/// An instant as a timestamp.
pub fn timestamp(at: Timestamp) -> PbTimestamp {
    // jiff's sign goes with the whole value; protobuf's nanos always count forward.
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    if nanos < 0 {
        PbTimestamp { seconds: seconds - 1, nanos: nanos + 1_000_000_000 }
    } else {
        PbTimestamp { seconds, nanos }
    }
}

/// A range of instants as a message.
pub fn time_range(start: Timestamp, end: Timestamp) -> pb::TimeRange {
    pb::TimeRange { start_time: Some(timestamp(start)), end_time: Some(timestamp(end)) }
}

/// A length as a message; cut off at what a message can hold, which the service refuses as too long.
pub fn duration(length: Duration) -> PbDuration {
    let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
    PbDuration { seconds, nanos: length.subsec_nanos() as i32 }
}

/// The length of a message; zero if it is negative.
pub fn length(value: &PbDuration) -> Duration {
    let (seconds, nanos) = (u64::try_from(value.seconds), u32::try_from(value.nanos));
    seconds.ok().zip(nanos.ok()).map_or(Duration::ZERO, |(s, n)| Duration::new(s, n.min(999_999_999)))
}

/// A length in words that the command line reads back: `1h30m`.
pub fn show_length(value: &PbDuration) -> String {
    let length = length(value);
    let total = length.as_secs();
    let parts = [(total / 3600, "h"), (total / 60 % 60, "m"), (total % 60, "s")];
    let mut text: String =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if length.subsec_millis() > 0 {
        text.push_str(&format!("{}ms", length.subsec_millis()));
    }
    if text.is_empty() { "0m".to_owned() } else { text }
}

/// The proto name of an enum value without its prefix: `CONFIRMED`. The number if this release doesn't know it.
pub fn bare_name<E: TryFrom<i32>>(value: i32, name: fn(&E) -> &'static str, prefix: &str) -> String {
    match E::try_from(value) {
        Ok(known) => name(&known).strip_prefix(prefix).unwrap_or(name(&known)).to_owned(),
        Err(_) => value.to_string(),
    }
}

/// The name of a meeting's state: `CONFIRMED`.
pub fn state(value: i32) -> String {
    bare_name(value, pb::meeting::State::as_str_name, "STATE_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_before_1970_keep_their_nanoseconds_forward() {
        let at: Timestamp = "1969-12-31T23:59:58.25Z".parse().unwrap();
        let message = timestamp(at);
        assert_eq!((message.seconds, message.nanos), (-2, 250_000_000));
        assert_eq!(instant(Some(&message)), Some(at));
        assert_eq!(instant(Some(&PbTimestamp { seconds: i64::MAX, nanos: 0 })), None);
    }

    #[test]
    fn lengths_read_as_they_are_typed() {
        let show = |seconds, nanos| show_length(&PbDuration { seconds, nanos });
        assert_eq!(show(5400, 0), "1h30m");
        assert_eq!(show(1800, 0), "30m");
        assert_eq!(show(90_061, 0), "25h1m1s");
        assert_eq!(show(0, 500_000_000), "500ms");
        assert_eq!(show(0, 0), "0m");
        assert_eq!(show(-1, 0), "0m");
    }

    #[test]
    fn unknown_enum_values_show_their_number() {
        assert_eq!(state(2), "CONFIRMED");
        assert_eq!(state(77), "77");
    }
}
