//! The answers as JSON, as protobuf's JSON mapping has them: lowerCamelCase names, enum names, RFC 3339, `"1800s"`,
//! 64-bit numbers as strings. Fields that hold their default are there too; messages that are absent are not.

use jiff::Timestamp;
use prost_types::{Duration as PbDuration, Timestamp as PbTimestamp};
use serde_json::{Map, Value, json};

use super::values;
use crate::wire::pb;

/// An object without the members that are absent.
fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let present = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

fn list<T>(items: &[T], one: fn(&T) -> Value) -> Option<Value> {
    Some(items.iter().map(one).collect())
}

fn named<E: TryFrom<i32>>(value: i32, name: fn(&E) -> &'static str) -> Option<Value> {
    Some(E::try_from(value).map_or(json!(value), |known| json!(name(&known))))
}

fn instant(value: &Option<PbTimestamp>) -> Option<Value> {
    values::instant(value.as_ref()).map(|at| json!(rfc3339(at)))
}

fn rfc3339(at: Timestamp) -> String {
    match at.subsec_nanosecond() {
        0 => format!("{at:.0}"),
        n if n % 1_000_000 == 0 => format!("{at:.3}"),
        n if n % 1_000 == 0 => format!("{at:.6}"),
        _ => format!("{at:.9}"),
    }
}

fn length(value: &Option<PbDuration>) -> Option<Value> {
    let value = value.as_ref()?;
    let sign = if value.seconds < 0 || value.nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = (value.seconds.unsigned_abs(), value.nanos.unsigned_abs());
    let fraction = match nanos {
        0 => String::new(),
        n if n % 1_000_000 == 0 => format!(".{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => format!(".{:06}", n / 1_000),
        n => format!(".{n:09}"),
    };
    Some(json!(format!("{sign}{seconds}{fraction}s")))
}

/// A range.
pub fn time_range(value: &pb::TimeRange) -> Value {
    object([("startTime", instant(&value.start_time)), ("endTime", instant(&value.end_time))])
}

fn time_of_day(value: &pb::TimeOfDay) -> Value {
    json!({ "hours": value.hours, "minutes": value.minutes })
}

fn day(value: &i32) -> Value {
    named(*value, pb::DayOfWeek::as_str_name).unwrap_or_default()
}

fn working_hours(value: &pb::WorkingHours) -> Value {
    object([
        ("days", list(&value.days, day)),
        ("start", value.start.as_ref().map(time_of_day)),
        ("end", value.end.as_ref().map(time_of_day)),
        ("timeZone", Some(json!(value.time_zone))),
        ("unrestricted", Some(json!(value.unrestricted))),
    ])
}

fn window(value: &pb::Window) -> Value {
    object([
        ("earliest", instant(&value.earliest)),
        ("latest", instant(&value.latest)),
        ("timeZone", Some(json!(value.time_zone))),
        ("step", length(&value.step)),
        ("workingHours", value.working_hours.as_ref().map(working_hours)),
        ("respectAttendeeHours", Some(json!(value.respect_attendee_hours))),
        ("exclude", list(&value.exclude, time_range)),
    ])
}

fn attendee(value: &pb::Attendee) -> Value {
    object([
        ("participantId", Some(json!(value.participant_id))),
        ("role", named(value.role, pb::attendee::Role::as_str_name)),
    ])
}

fn spec(value: &pb::MeetingSpec) -> Value {
    object([
        ("title", Some(json!(value.title))),
        ("organizer", Some(json!(value.organizer))),
        ("attendees", list(&value.attendees, attendee)),
        ("duration", length(&value.duration)),
        ("minimumParticipants", Some(json!(value.minimum_participants))),
        ("priority", Some(json!(value.priority))),
        ("window", value.window.as_ref().map(window)),
        ("objective", named(value.objective, pb::meeting_spec::Objective::as_str_name)),
        ("bufferBefore", length(&value.buffer_before)),
        ("bufferAfter", length(&value.buffer_after)),
        ("displace", Some(json!(value.displace))),
        ("displaceable", Some(json!(value.displaceable))),
    ])
}

fn outcome(value: &pb::AttendeeOutcome) -> Value {
    object([
        ("participantId", Some(json!(value.participant_id))),
        ("role", named(value.role, pb::attendee::Role::as_str_name)),
        ("status", named(value.status, pb::attendee_outcome::Status::as_str_name)),
        ("confirmationDelivered", Some(json!(value.confirmation_delivered))),
        ("preference", named(value.preference, pb::Preference::as_str_name)),
        ("cost", Some(json!(value.cost))),
        ("detail", Some(json!(value.detail))),
        ("timeZone", Some(json!(value.time_zone))),
    ])
}

fn clock_shift(value: &pb::ClockShift) -> Value {
    object([
        ("localTime", Some(json!(value.local_time))),
        ("timeZone", Some(json!(value.time_zone))),
        ("takenAs", instant(&value.taken_as)),
        ("message", Some(json!(value.message))),
    ])
}

fn candidate(value: &pb::Candidate) -> Value {
    object([
        ("slot", value.slot.as_ref().map(time_range)),
        ("score", Some(json!(value.score))),
        ("attendees", list(&value.attendees, outcome)),
        ("attending", Some(json!(value.attending))),
        ("totalCost", Some(json!(value.total_cost.to_string()))),
        ("reason", Some(json!(value.reason))),
        ("displaces", list(&value.displaces, |id| json!(id))),
    ])
}

fn counts(value: &pb::CandidateCounts) -> Value {
    json!({
        "considered": value.considered,
        "requiredBusy": value.required_busy,
        "requiredUnreachable": value.required_unreachable,
        "quorumMissed": value.quorum_missed,
        "heldByOthers": value.held_by_others,
        "refused": value.refused,
    })
}

fn relaxation(value: &pb::Relaxation) -> Value {
    object([
        ("minimumParticipants", Some(json!(value.minimum_participants))),
        ("latest", instant(&value.latest)),
        ("releaseRequired", Some(json!(value.release_required))),
        ("unrestrictedHours", Some(json!(value.unrestricted_hours))),
        ("duration", length(&value.duration)),
        ("slot", value.slot.as_ref().map(time_range)),
        ("message", Some(json!(value.message))),
    ])
}

fn failure(value: &pb::Failure) -> Value {
    object([
        ("reason", named(value.reason, pb::failure::Reason::as_str_name)),
        ("message", Some(json!(value.message))),
        ("attemptLog", list(&value.attempt_log, attempt)),
        ("counts", value.counts.as_ref().map(counts)),
        ("relaxations", list(&value.relaxations, relaxation)),
        ("attendees", list(&value.attendees, outcome)),
    ])
}

fn attempt(value: &pb::AttemptLogEntry) -> Value {
    object([
        ("number", Some(json!(value.number))),
        ("slot", value.slot.as_ref().map(time_range)),
        ("outcome", named(value.outcome, pb::attempt_log_entry::Outcome::as_str_name)),
        ("attendees", list(&value.attendees, outcome)),
        ("message", Some(json!(value.message))),
    ])
}

/// A meeting by itself.
pub fn meeting(value: &pb::Meeting) -> Value {
    object([
        ("meetingId", Some(json!(value.meeting_id))),
        ("requestId", Some(json!(value.request_id))),
        ("spec", value.spec.as_ref().map(spec)),
        ("state", named(value.state, pb::meeting::State::as_str_name)),
        ("slot", value.slot.as_ref().map(time_range)),
        ("timeZone", Some(json!(value.time_zone))),
        ("attendees", list(&value.attendees, outcome)),
        ("attempts", Some(json!(value.attempts))),
        ("attemptLog", list(&value.attempt_log, attempt)),
        ("failure", value.failure.as_ref().map(failure)),
        ("seriesId", Some(json!(value.series_id))),
        ("createTime", instant(&value.create_time)),
        ("updateTime", instant(&value.update_time)),
        ("etag", Some(json!(value.etag))),
        ("sequence", Some(json!(value.sequence))),
        ("displacedMeetings", list(&value.displaced_meetings, |id| json!(id))),
        ("displacedBy", Some(json!(value.displaced_by))),
        ("displacedCount", Some(json!(value.displaced_count))),
        ("clockShifts", list(&value.clock_shifts, clock_shift)),
        ("localStartTime", Some(json!(value.local_start_time))),
        ("localTimeDetail", Some(json!(value.local_time_detail))),
    ])
}

/// An answer that holds a meeting, and for some calls the reason why it stands as before.
pub fn meeting_answer(value: Option<&pb::Meeting>, why_not: Option<&pb::Failure>) -> Value {
    object([("meeting", value.map(meeting)), ("failure", why_not.map(failure))])
}

/// An answer that holds a series alone.
pub fn series(value: &pb::Series) -> Value {
    json!({ "series": one_series(value) })
}

/// A `ListSeriesResponse`.
pub fn series_list(value: &pb::ListSeriesResponse) -> Value {
    object([
        ("series", list(&value.series, one_series)),
        ("nextPageToken", Some(json!(value.next_page_token))),
    ])
}

/// A `RescheduleSeriesResponse`.
pub fn moved_series(value: &pb::RescheduleSeriesResponse) -> Value {
    object([
        ("series", value.series.as_ref().map(one_series)),
        ("failure", value.failure.as_ref().map(failure)),
    ])
}

/// An `UpdateSeriesResponse` or a `CancelSeriesResponse`.
pub fn changed_series(series: &pb::Series, failures: &[pb::OccurrenceFailure]) -> Value {
    let one = |value: &pb::OccurrenceFailure| {
        object([
            ("recurrenceTime", instant(&value.recurrence_time)),
            ("failure", value.failure.as_ref().map(failure)),
        ])
    };
    object([("series", Some(one_series(series))), ("failures", list(failures, one))])
}

fn one_series(value: &pb::Series) -> Value {
    object([
        ("seriesId", Some(json!(value.series_id))),
        ("requestId", Some(json!(value.request_id))),
        ("spec", value.spec.as_ref().map(spec)),
        ("rrule", Some(json!(value.rrule))),
        ("firstSlot", value.first_slot.as_ref().map(time_range)),
        ("timeZone", Some(json!(value.time_zone))),
        ("conflictPolicy", named(value.conflict_policy, pb::ConflictPolicy::as_str_name)),
        ("moveTolerance", length(&value.move_tolerance)),
        ("excludeDates", list(&value.exclude_dates, |date| json!(date))),
        ("state", named(value.state, pb::series::State::as_str_name)),
        ("occurrences", list(&value.occurrences, occurrence)),
        ("failure", value.failure.as_ref().map(failure)),
        ("openEnded", Some(json!(value.open_ended))),
        ("bookedUntil", instant(&value.booked_until)),
        ("createTime", instant(&value.create_time)),
        ("updateTime", instant(&value.update_time)),
        ("etag", Some(json!(value.etag))),
    ])
}

fn occurrence(value: &pb::Occurrence) -> Value {
    object([
        ("recurrenceTime", instant(&value.recurrence_time)),
        ("localTime", Some(json!(value.local_time))),
        ("outcome", named(value.outcome, pb::occurrence::Outcome::as_str_name)),
        ("meetingId", Some(json!(value.meeting_id))),
        ("slot", value.slot.as_ref().map(time_range)),
        ("reason", Some(json!(value.reason))),
        ("attendees", list(&value.attendees, outcome)),
        ("shifted", Some(json!(value.shifted))),
        ("seriesSlot", value.series_slot.as_ref().map(time_range)),
    ])
}

/// A `FindMeetingTimesResponse`.
pub fn candidates(value: &pb::FindMeetingTimesResponse) -> Value {
    object([
        ("candidates", list(&value.candidates, candidate)),
        ("failure", value.failure.as_ref().map(failure)),
        ("timeZone", Some(json!(value.time_zone))),
        ("counts", value.counts.as_ref().map(counts)),
        ("clockShifts", list(&value.clock_shifts, clock_shift)),
    ])
}

/// A `ListMeetingsResponse`.
pub fn meetings(value: &pb::ListMeetingsResponse) -> Value {
    object([
        ("meetings", list(&value.meetings, meeting)),
        ("nextPageToken", Some(json!(value.next_page_token))),
    ])
}

/// A `WatchMeetingsResponse`.
pub fn event(value: &pb::MeetingEvent) -> Value {
    let event = object([
        ("sequence", Some(json!(value.sequence.to_string()))),
        ("eventTime", instant(&value.event_time)),
        ("type", named(value.r#type, pb::meeting_event::Type::as_str_name)),
        ("meeting", value.meeting.as_ref().map(meeting)),
    ]);
    json!({ "event": event })
}

fn person(value: &pb::Participant) -> Value {
    object([
        ("participantId", Some(json!(value.participant_id))),
        ("displayName", Some(json!(value.display_name))),
        ("timeZone", Some(json!(value.time_zone))),
        ("connected", Some(json!(value.connected))),
        ("connectedSince", instant(&value.connected_since)),
        ("lastSeen", instant(&value.last_seen)),
        ("sessionEpoch", Some(json!(value.session_epoch.to_string()))),
        ("timeZoneData", named(value.time_zone_data, pb::participant::TimeZoneData::as_str_name)),
        ("timeZoneDetail", Some(json!(value.time_zone_detail))),
        ("calendarProblem", Some(json!(value.calendar_problem))),
    ])
}

/// A `GetParticipantResponse` or `WatchParticipantsResponse`.
pub fn participant(value: &pb::Participant) -> Value {
    json!({ "participant": person(value) })
}

/// A `ListParticipantsResponse`.
pub fn participants(value: &pb::ListParticipantsResponse) -> Value {
    object([
        ("participants", list(&value.participants, person)),
        ("nextPageToken", Some(json!(value.next_page_token))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanos: i32) -> Option<PbTimestamp> {
        Some(PbTimestamp { seconds, nanos })
    }

    #[test]
    fn instants_and_lengths_have_0_3_6_or_9_decimals() {
        let shown = |nanos| instant(&at(1_796_115_600, nanos)).unwrap();
        assert_eq!(shown(0), json!("2026-12-01T09:00:00Z"));
        assert_eq!(shown(500_000_000), json!("2026-12-01T09:00:00.500Z"));
        assert_eq!(shown(1_000), json!("2026-12-01T09:00:00.000001Z"));
        assert_eq!(shown(1), json!("2026-12-01T09:00:00.000000001Z"));
        let shown = |seconds, nanos| length(&Some(PbDuration { seconds, nanos })).unwrap();
        assert_eq!(shown(1800, 0), json!("1800s"));
        assert_eq!(shown(0, 500_000_000), json!("0.500s"));
        assert_eq!(shown(-1, -500), json!("-1.000000500s"));
    }

    #[test]
    fn a_meeting_has_names_for_enums_and_keeps_its_defaults() {
        let value = pb::Meeting {
            meeting_id: "m".to_owned(),
            state: pb::meeting::State::Confirmed as i32,
            slot: Some(pb::TimeRange { start_time: at(1_796_115_600, 0), end_time: at(1_796_117_400, 0) }),
            spec: Some(pb::MeetingSpec {
                window: Some(pb::Window {
                    working_hours: Some(pb::WorkingHours {
                        days: vec![pb::DayOfWeek::Monday as i32],
                        start: Some(pb::TimeOfDay { hours: 8, minutes: 0 }),
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                duration: Some(PbDuration { seconds: 1800, nanos: 0 }),
                ..Default::default()
            }),
            attendees: vec![pb::AttendeeOutcome {
                participant_id: "alice".to_owned(),
                role: pb::attendee::Role::Required as i32,
                status: 99,
                ..Default::default()
            }],
            ..Default::default()
        };
        let json = meeting_answer(Some(&value), None);
        let meeting = &json["meeting"];
        assert_eq!(meeting["state"], "STATE_CONFIRMED");
        assert_eq!(
            meeting["slot"],
            json!({ "startTime": "2026-12-01T09:00:00Z", "endTime": "2026-12-01T09:30:00Z" })
        );
        assert_eq!(meeting["spec"]["duration"], "1800s");
        assert_eq!(meeting["spec"]["window"]["workingHours"]["days"], json!(["DAY_OF_WEEK_MONDAY"]));
        assert_eq!(meeting["spec"]["window"]["workingHours"]["start"], json!({ "hours": 8, "minutes": 0 }));
        assert_eq!(meeting["attendees"][0]["role"], "ROLE_REQUIRED");
        assert_eq!(meeting["attendees"][0]["status"], 99, "an unknown value is its number");
        assert_eq!(meeting["attemptLog"], json!([]));
        assert_eq!(meeting["seriesId"], "");
        assert!(meeting.get("failure").is_none() && json.get("failure").is_none());
    }

    #[test]
    fn a_series_is_as_the_contract_has_it() {
        let series = pb::Series {
            rrule: "FREQ=DAILY".to_owned(),
            state: pb::series::State::Confirmed as i32,
            conflict_policy: pb::ConflictPolicy::MoveWithin as i32,
            move_tolerance: Some(PbDuration { seconds: 7200, nanos: 0 }),
            occurrences: vec![pb::Occurrence {
                recurrence_time: at(1_796_115_600, 0),
                local_time: "2026-12-01T10:00:00".to_owned(),
                series_slot: Some(pb::TimeRange {
                    start_time: at(1_796_115_600, 0),
                    end_time: at(1_796_119_200, 0),
                }),
                outcome: pb::occurrence::Outcome::Skipped as i32,
                ..Default::default()
            }],
            open_ended: true,
            ..Default::default()
        };
        let json = super::series(&series);
        let shown = &json["series"];
        assert_eq!((&shown["state"], &shown["openEnded"]), (&json!("STATE_CONFIRMED"), &json!(true)));
        assert_eq!(shown["conflictPolicy"], "CONFLICT_POLICY_MOVE_WITHIN");
        assert_eq!(shown["moveTolerance"], "7200s");
        assert_eq!(shown["occurrences"][0]["outcome"], "OUTCOME_SKIPPED");
        assert_eq!(shown["occurrences"][0]["recurrenceTime"], "2026-12-01T09:00:00Z");
        assert_eq!(shown["occurrences"][0]["seriesSlot"]["endTime"], "2026-12-01T10:00:00Z");
        assert!(shown.get("bookedUntil").is_none());

        let why = pb::Failure { message: "bob: not free".to_owned(), ..Default::default() };
        let moved = pb::RescheduleSeriesResponse { series: Some(series), failure: Some(why.clone()) };
        assert_eq!(moved_series(&moved)["failure"]["message"], "bob: not free", "a Failure, no text");
        let stands = pb::OccurrenceFailure { recurrence_time: at(0, 0), failure: Some(why) };
        let series = moved.series.unwrap_or_default();
        let json = changed_series(&series, &[stands]);
        assert_eq!(json["failures"][0]["recurrenceTime"], "1970-01-01T00:00:00Z");
        assert_eq!(json["failures"][0]["failure"]["message"], "bob: not free");
        assert_eq!(changed_series(&series, &[])["failures"], json!([]));
    }

    #[test]
    fn sixty_four_bit_numbers_are_strings() {
        let watched = pb::MeetingEvent {
            sequence: u64::MAX,
            r#type: pb::meeting_event::Type::AttendeeDeclined as i32,
            ..Default::default()
        };
        let expected =
            json!({ "event": { "sequence": "18446744073709551615", "type": "TYPE_ATTENDEE_DECLINED" } });
        assert_eq!(event(&watched), expected);
        assert_eq!(candidate(&pb::Candidate { total_cost: -3, ..Default::default() })["totalCost"], "-3");
        assert_eq!(participant(&pb::Participant::default())["participant"]["sessionEpoch"], "0");
    }
}
