//! Single values both ways: instants, lengths, ranges, names, zones, counts.
//!
//! A reader takes the wire's value and where it lies. It gives the core's value, or notes every fault and gives `None`.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use jiff::tz::TimeZoneDatabase;
use prost_types::{Duration as PbDuration, Timestamp};

use crate::core::ids::{Attempt, AttemptNumber, MeetingId, ParticipantId};
use crate::core::time::{Instant, TimeRange};
use crate::core::{limits, zones};

use super::pb;
use super::validate::{Path, Quoted, Violations};

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: the ends of `google.protobuf.Timestamp`.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// The end of `google.protobuf.Duration`: about 10,000 years.
const DURATION_SECONDS: u64 = 315_576_000_000;
const NANOS: i32 = 999_999_999;
/// The store's integers have a sign.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// Reads an instant, to the nanosecond.
pub fn instant(value: &Timestamp, path: &Path<'_>, found: &mut Violations) -> Option<Instant> {
    if !(0..=NANOS).contains(&value.nanos) {
        return found
            .none(path, format_args!("nanos must be between 0 and {NANOS}, and they are {}", value.nanos));
    }
    if !TIMESTAMP_SECONDS.contains(&value.seconds) {
        return found.none(path, "must lie within the years 1 to 9999");
    }
    DateTime::from_timestamp(value.seconds, value.nanos as u32)
        .or_else(|| found.none(path, "is not an instant"))
}

/// Reads an instant that may be missing: `Some(None)`.
pub fn optional_instant(
    value: Option<&Timestamp>,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<Option<Instant>> {
    match value {
        None => Some(None),
        Some(value) => instant(value, path, found).map(Some),
    }
}

/// Writes an instant; those beyond the years 1 to 9999 become the nearest that can be written.
pub fn timestamp(value: Instant) -> Timestamp {
    let (seconds, nanos) = (value.timestamp(), value.timestamp_subsec_nanos().min(NANOS as u32) as i32);
    match seconds {
        seconds if seconds < *TIMESTAMP_SECONDS.start() => {
            Timestamp { seconds: *TIMESTAMP_SECONDS.start(), nanos: 0 }
        }
        seconds if seconds > *TIMESTAMP_SECONDS.end() => {
            Timestamp { seconds: *TIMESTAMP_SECONDS.end(), nanos: NANOS }
        }
        seconds => Timestamp { seconds, nanos },
    }
}

/// Reads two instants as a range: both are required, and the second must come after the first.
pub fn bounds(
    start: Option<&Timestamp>,
    end: Option<&Timestamp>,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<TimeRange> {
    let mut bound = |value: Option<&Timestamp>, name| match value {
        Some(value) => instant(value, &path.field(name), found),
        None => found.none(&path.field(name), "is required"),
    };
    let (start, end) = (bound(start, "start_time"), bound(end, "end_time"));
    let (start, end) = (start?, end?);
    match start < end {
        true => Some(TimeRange { start, end }),
        false => found.none(
            &path.field("end_time"),
            format_args!("{} must be after start_time, {}", rfc3339(end), rfc3339(start)),
        ),
    }
}

/// Reads a range that must be there.
pub fn range(value: Option<&pb::TimeRange>, path: &Path<'_>, found: &mut Violations) -> Option<TimeRange> {
    match value {
        Some(value) => bounds(value.start_time.as_ref(), value.end_time.as_ref(), path, found),
        None => found.none(path, "is required"),
    }
}

/// Reads a range that may be missing: `Some(None)`.
pub fn optional_range(
    value: Option<&pb::TimeRange>,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<Option<TimeRange>> {
    match value {
        None => Some(None),
        value => range(value, path, found).map(Some),
    }
}

/// Reads a slot: a range of whole seconds, as long as a meeting may be.
pub fn slot(value: &pb::TimeRange, path: &Path<'_>, found: &mut Violations) -> Option<TimeRange> {
    let slot = range(Some(value), path, found)?;
    let mut whole = true;
    for (instant, name) in [(slot.start, "start_time"), (slot.end, "end_time")] {
        if instant.timestamp_subsec_nanos() != 0 {
            found.refuse(&path.field(name), "must be a whole second");
            whole = false;
        }
    }
    let length = slot.length();
    if length < limits::DURATION_MIN || length > limits::DURATION_MAX {
        let (min, max) = (words(limits::DURATION_MIN), words(limits::DURATION_MAX));
        return found.none(path, format_args!("lasts {}; must last {min} to {max}", words(length)));
    }
    whole.then_some(slot)
}

/// Writes a range.
pub fn pb_range(value: &TimeRange) -> pb::TimeRange {
    pb::TimeRange { start_time: Some(timestamp(value.start)), end_time: Some(timestamp(value.end)) }
}

/// Which lengths are allowed.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    /// What it must be a multiple of.
    pub grain: Grain,
}

/// What a length must be a multiple of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grain {
    /// Nothing.
    Any,
    /// A second.
    Second,
    /// A minute.
    Minute,
}

impl Lengths {
    /// Of a meeting.
    pub const MEETING: Self =
        Self { min: limits::DURATION_MIN, max: limits::DURATION_MAX, grain: Grain::Second };
    /// Of a buffer.
    pub const BUFFER: Self = Self { min: Duration::ZERO, max: limits::BUFFER_MAX, grain: Grain::Second };
    /// How far an occurrence of a series may be moved.
    pub const TOLERANCE: Self =
        Self { min: limits::STEP_MIN, max: limits::DURATION_MAX, grain: Grain::Minute };
    /// Of the distance between starts.
    pub const STEP: Self = Self { min: limits::STEP_MIN, max: limits::STEP_MAX, grain: Grain::Minute };
    /// Of `response_timeout`.
    pub const RESPONSE: Self =
        Self { min: Duration::from_nanos(1), max: limits::RESPONSE_TIMEOUT_MAX, grain: Grain::Any };
    /// Of `connect_timeout`.
    pub const CONNECT: Self =
        Self { min: Duration::ZERO, max: limits::CONNECT_TIMEOUT_MAX, grain: Grain::Any };
    /// What the scheduler may say to an agent.
    pub const ANY: Self =
        Self { min: Duration::ZERO, max: Duration::from_secs(DURATION_SECONDS), grain: Grain::Any };
    /// As `ANY`, but not nothing.
    pub const SOME: Self = Self { min: Duration::from_nanos(1), ..Self::ANY };
}

/// Reads a length.
pub fn length(
    value: &PbDuration,
    lengths: Lengths,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<Duration> {
    let PbDuration { seconds, nanos } = *value;
    if !(-NANOS..=NANOS).contains(&nanos) {
        return found.none(path, format_args!("nanos must be between -{NANOS} and {NANOS}, and are {nanos}"));
    }
    if (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0) {
        return found.none(path, "seconds and nanos must have the same sign");
    }
    let (Ok(whole), Ok(rest)) = (u64::try_from(seconds), u32::try_from(nanos)) else {
        return found.none(path, "must not be negative");
    };
    let length = Duration::new(whole, rest);
    if length > lengths.max {
        return found.none(path, format_args!("must be at most {}", words(lengths.max)));
    }
    if length < lengths.min && lengths.min < Duration::from_micros(1) {
        return found.none(path, "must be longer than 0");
    }
    if length < lengths.min {
        return found.none(path, format_args!("must be at least {}", words(lengths.min)));
    }
    match lengths.grain {
        Grain::Second if rest != 0 => found.none(path, "must be whole seconds"),
        Grain::Minute if rest != 0 || whole % 60 != 0 => found.none(path, "must be whole minutes"),
        _ => Some(length),
    }
}

/// Reads a length that may be missing.
pub fn length_or(
    value: Option<&PbDuration>,
    default: Duration,
    lengths: Lengths,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<Duration> {
    value.map_or(Some(default), |value| length(value, lengths, path, found))
}

/// Writes a length.
pub fn pb_length(value: Duration) -> PbDuration {
    match i64::try_from(value.as_secs().min(DURATION_SECONDS)) {
        Ok(seconds) if value.as_secs() < DURATION_SECONDS => {
            PbDuration { seconds, nanos: value.subsec_nanos() as i32 }
        }
        _ => PbDuration { seconds: DURATION_SECONDS as i64, nanos: 0 },
    }
}

/// A length for people: `90 min`, `24 h`, `7 days`.
pub fn words(length: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    match length.as_secs() {
        _ if length.subsec_nanos() != 0 => format!("{length:?}"),
        seconds if seconds > DAY && seconds % DAY == 0 => format!("{} days", seconds / DAY),
        seconds if seconds > 0 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds > 0 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// An instant for people, in UTC.
pub fn rfc3339(value: Instant) -> String {
    value.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Reads a text of one line: at most `max` characters, none of them a control character. May be empty.
pub fn text(value: &str, max: usize, path: &Path<'_>, found: &mut Violations) -> Option<String> {
    let mut good = true;
    // No text has more characters than bytes, so that most need no count.
    let characters = if value.len() > max { value.chars().count() } else { 0 };
    if characters > max {
        found.refuse(path, format_args!("has {characters} characters; at most {max} are allowed"));
        good = false;
    }
    if let Some(at) = value.chars().position(char::is_control) {
        found.refuse(path, format_args!("must not contain control characters; character {} is one", at + 1));
        good = false;
    }
    good.then(|| value.to_owned())
}

/// A reason for people, from an agent: cut at `limits::REASON_CHARS`, control characters become spaces.
pub fn reason(value: &str) -> String {
    let spaced = |c: char| if c.is_control() { ' ' } else { c };
    value.chars().take(limits::REASON_CHARS).map(spaced).collect()
}

/// Reads a participant id.
pub fn participant(value: &str, path: &Path<'_>, found: &mut Violations) -> Option<ParticipantId> {
    if value.is_empty() {
        return found.none(path, "is required");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._@+:/-".contains(c);
    let characters = if value.len() > limits::ID_CHARS { value.chars().count() } else { 0 };
    let long = characters > limits::ID_CHARS;
    if long {
        let max = limits::ID_CHARS;
        found.refuse(path, format_args!("has {characters} characters; at most {max} are allowed"));
    }
    if !value.chars().all(allowed) {
        let rule = "may contain only the letters A to Z and a to z, digits and . _ @ + : / -";
        return found.none(path, format_args!("{rule}, and is {}", Quoted(value)));
    }
    (!long).then(|| ParticipantId::new(value))
}

/// Reads a participant id that may be empty: `Some(None)`.
pub fn optional_participant(
    value: &str,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<Option<ParticipantId>> {
    if value.is_empty() { Some(None) } else { participant(value, path, found).map(Some) }
}

/// Reads a UUID in the form with hyphens and in either case (RFC 9562 section 4); gives it in lower case.
pub fn uuid(value: &str, path: &Path<'_>, found: &mut Violations) -> Option<String> {
    if value.is_empty() {
        return found.none(path, "is required");
    }
    // The crate takes other forms too (braces, URN, no hyphens), which would give one meeting several names.
    match (value.len() == 36).then(|| uuid::Uuid::try_parse(value)) {
        Some(Ok(uuid)) => Some(uuid.hyphenated().to_string()),
        _ => {
            let form = "must be a UUID such as 0b8f5c1e-3f0d-4c77-9a52-6d1f2e9b7a10";
            found.none(path, format_args!("{form}, and is {}", Quoted(value)))
        }
    }
}

/// Reads a meeting's id.
pub fn meeting(value: &str, path: &Path<'_>, found: &mut Violations) -> Option<MeetingId> {
    uuid(value, path, found).map(MeetingId::new)
}

/// Reads a number that has to fit the store's integers.
pub fn number(value: u64, path: &Path<'_>, found: &mut Violations) -> Option<u64> {
    match value {
        0..=NUMBER_MAX => Some(value),
        _ => found.none(path, format_args!("must be at most {NUMBER_MAX}")),
    }
}

/// Reads the name of an attempt: the fields `meeting_id` and `attempt` of the message at `path`.
pub fn attempt(meeting_id: &str, n: u64, path: &Path<'_>, found: &mut Violations) -> Option<Attempt> {
    let meeting = meeting(meeting_id, &path.field("meeting_id"), found);
    let n = match n {
        0 => found.none(&path.field("attempt"), "must be at least 1"),
        n => number(n, &path.field("attempt"), found),
    };
    Some(Attempt::new(meeting?, AttemptNumber(n?)))
}

/// Writes the name of an attempt.
pub fn attempt_ref(value: &Attempt) -> pb::AttemptRef {
    pb::AttemptRef { meeting_id: value.meeting.to_string(), attempt: value.n.0 }
}

/// Reads a count: 0 stands for `default`.
pub fn count(
    value: i32,
    default: usize,
    max: usize,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<usize> {
    match usize::try_from(value) {
        Err(_) => found.none(path, format_args!("must not be negative, and is {value}")),
        Ok(0) => Some(default),
        Ok(count) if count > max => found.none(path, format_args!("must be at most {max}, and is {count}")),
        Ok(count) => Some(count),
    }
}

/// Writes a count; what an `int32` can't hold becomes its greatest number.
pub fn pb_count(value: impl TryInto<i32>) -> i32 {
    value.try_into().unwrap_or(i32::MAX)
}

/// Reads an enum's value: `name` is the enum's.
pub fn known<E: TryFrom<i32>>(value: i32, name: &str, path: &Path<'_>, found: &mut Violations) -> Option<E> {
    E::try_from(value).ok().or_else(|| found.none(path, format_args!("{value} is not a value of {name}")))
}

/// Reads each element of a list; gives the list only if all of them are good.
pub fn each<T, U>(
    list: &[T],
    path: &Path<'_>,
    found: &mut Violations,
    mut read: impl FnMut(&T, &Path<'_>, &mut Violations) -> Option<U>,
) -> Option<Vec<U>> {
    let mut good = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        good.extend(read(item, &path.at(index), found));
    }
    (good.len() == list.len()).then_some(good)
}

/// Refuses a list of more than `max` entries.
pub fn at_most(len: usize, max: usize, path: &Path<'_>, found: &mut Violations) -> Option<()> {
    if len > max {
        return found.none(path, format_args!("has {len} entries; at most {max} are allowed"));
    }
    Some(())
}

/// Reads the name of a zone, which may be empty: `Some(None)`. Gives it as the IANA database spells it.
pub fn optional_zone(value: &str, path: &Path<'_>, found: &mut Violations) -> Option<Option<String>> {
    if value.is_empty() {
        return Some(None);
    }
    if let Ok(zone) = zones::zone(value) {
        return Some(Some(zones::zone_name(&zone).to_owned()));
    }
    let quoted = Quoted(value);
    match near_zone(value) {
        Some(near) => {
            found.none(path, format_args!("{quoted} is not the name of an IANA time zone; {near} is"))
        }
        None => found.none(
            path,
            format_args!("{quoted} is not the name of an IANA time zone, such as Europe/Berlin or UTC"),
        ),
    }
}

/// The zone that differs only in case or punctuation ("America/New York"), or whose last part alone was given.
fn near_zone(value: &str) -> Option<&'static str> {
    /// Of each zone, without case and punctuation: its name, its last part; and the name.
    static NAMES: LazyLock<Vec<[String; 3]>> = LazyLock::new(|| {
        let last = |name: &str| plain(name.rsplit('/').next().unwrap_or(name));
        let entry = |name: &str| [plain(name), last(name), name.to_owned()];
        TimeZoneDatabase::bundled().available().map(|name| entry(name.as_str())).collect()
    });
    fn plain(name: &str) -> String {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    }
    // No name is as long; outside input may be.
    if value.len() > 64 {
        return None;
    }
    let asked = plain(value);
    let same = NAMES.iter().find(|[name, ..]| *name == asked && !asked.is_empty());
    let last = || NAMES.iter().find(|[_, last, _]| *last == asked && !asked.is_empty());
    same.or_else(last).map(|[.., name]| name.as_str())
}
