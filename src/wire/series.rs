//! Series: requests read and checked, and series written for organizers.

use std::time::Duration;

use jiff::civil;
use prost::Message;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

use crate::core::coordinator::Change;
use crate::core::ids::{MeetingId, RequestId, SeriesId};
use crate::core::limits;
use crate::core::model::{AttendeeStatus, Failure, Meeting, MeetingState, Options};
use crate::core::series::{
    self, ConflictPolicy, Frequency, Occurrence, OccurrenceOutcome, Pattern, Series, SeriesRequest,
    SeriesState,
};
use crate::core::time::{Instant, TimeRange};
use crate::core::zones;

use super::meetings;
use super::pages::{self, SeriesList};
use super::pb;
use super::requests;
use super::scalars;
use super::scalars::{
    Lengths, at_most, each, known, length, optional_instant, pb_length, pb_range, text, timestamp, uuid,
};
use super::spec::Named;
use super::validate::{InvalidRequest, Path, ROOT, Violations};

/// A series to call off, or the rest of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CancelRequest {
    /// Which series.
    pub series: SeriesId,
    /// The version that it must still have; see [`pages::version`].
    pub version: Option<u64>,
    /// Only occurrences that take place here or later.
    pub from: Option<Instant>,
}

/// Reads a request for a series.
pub fn schedule(mut request: pb::ScheduleSeriesRequest) -> Result<SeriesRequest, InvalidRequest> {
    let mut found = Violations::default();
    let request_id = std::mem::take(&mut request.request_id);
    let id = requests::request_name(&request_id, &ROOT.field("request_id"), &mut found);
    let first = requests::optional_slot(request.first_slot.as_ref(), &ROOT.field("first_slot"), &mut found);
    let named = match first {
        Some(None) => Named::No,
        Some(Some(slot)) => Named::Slot(slot),
        None => Named::Refused,
    };
    let spec = requests::required_spec(request.spec.as_ref(), named, &mut found);
    let pattern = pattern(&request, &mut found);
    let exclude = exclude_dates(&request.exclude_dates, &ROOT.field("exclude_dates"), &mut found);
    let policy = policy(request.conflict_policy, request.move_tolerance.as_ref(), &mut found);
    let response = requests::response_timeout(request.response_timeout.as_ref(), &mut found);
    let connect = requests::connect_timeout(request.connect_timeout.as_ref(), &mut found);
    let attempts = requests::max_attempts(request.max_attempts, &mut found);
    let read = || {
        Some(SeriesRequest {
            request_id: id?,
            body_hash: pages::hex(&Sha256::digest(request.encode_to_vec())),
            spec: spec?,
            first: first?,
            pattern: pattern?,
            exclude: exclude?,
            policy: policy?,
            options: Options {
                response_timeout: response?,
                connect_timeout: connect?,
                max_attempts: attempts?,
                max_candidates_per_round: 0,
            },
            validate_only: request.validate_only,
        })
    };
    let read = read();
    found.finish(read)
}

fn pattern(request: &pb::ScheduleSeriesRequest, found: &mut Violations) -> Option<Pattern> {
    use pb::schedule_series_request::Frequency as Pb;
    let (rrule, frequency, end) = (ROOT.field("rrule"), ROOT.field("frequency"), ROOT.field("end_date"));
    let plain = known::<Pb>(request.frequency, "ScheduleSeriesRequest.Frequency", &frequency, found)?;
    let frequency = match plain {
        Pb::Unspecified => None,
        Pb::Daily => Some(Frequency::Daily),
        Pb::Weekly => Some(Frequency::Weekly),
        Pb::Monthly => Some(Frequency::Monthly),
    };
    match (request.rrule.is_empty(), frequency) {
        (true, None) => found.none(&rrule, "is required, unless frequency is set"),
        (false, Some(_)) => found.none(&rrule, "must be empty if frequency is set"),
        (true, Some(frequency)) => {
            let last = match request.end_date.as_str() {
                "" => None,
                text => Some(date(text, &end, found)?),
            };
            Some(Pattern::Plain(frequency, last))
        }
        (false, None) => {
            if !request.end_date.is_empty() {
                found.refuse(&end, "must be empty if rrule is set: say UNTIL or COUNT there");
            }
            let text = text(&request.rrule, limits::RULE_CHARS, &rrule, found)?;
            let text = text.trim();
            let bare = match text.get(..6) {
                Some(name) if name.eq_ignore_ascii_case("RRULE:") => &text[6..],
                _ => text,
            };
            let pattern = Pattern::Rule(bare.to_ascii_uppercase());
            match series::check(&pattern) {
                Ok(()) => Some(pattern),
                Err(error) => found.none(&rrule, error),
            }
        }
    }
}

fn date(value: &str, path: &Path<'_>, found: &mut Violations) -> Option<civil::Date> {
    let shape = value.len() == 10 && value.as_bytes()[4] == b'-';
    let date = value.parse::<civil::Date>().ok().filter(|_| shape);
    date.or_else(|| found.none(path, "must be a date such as 2026-12-31"))
}

fn exclude_dates(list: &[String], path: &Path<'_>, found: &mut Violations) -> Option<Vec<civil::Date>> {
    at_most(list.len(), limits::EXCLUDE_DATES, path, found)?;
    let mut dates = each(list, path, found, |value, path, found| date(value, path, found))?;
    dates.sort_unstable();
    dates.dedup();
    Some(dates)
}

fn policy(
    value: i32,
    tolerance: Option<&prost_types::Duration>,
    found: &mut Violations,
) -> Option<ConflictPolicy> {
    let path = ROOT.field("move_tolerance");
    let policy = known::<pb::ConflictPolicy>(value, "ConflictPolicy", &ROOT.field("conflict_policy"), found)?;
    match (policy, tolerance) {
        (pb::ConflictPolicy::MoveWithin, None) => {
            found.none(&path, "is required with CONFLICT_POLICY_MOVE_WITHIN")
        }
        (pb::ConflictPolicy::MoveWithin, Some(tolerance)) => {
            length(tolerance, Lengths::TOLERANCE, &path, found).map(ConflictPolicy::MoveWithin)
        }
        (_, Some(_)) => {
            found.none(&path, "must be unset unless conflict_policy is CONFLICT_POLICY_MOVE_WITHIN")
        }
        (pb::ConflictPolicy::Unspecified | pb::ConflictPolicy::FailSeries, None) => {
            Some(ConflictPolicy::FailSeries)
        }
        (pb::ConflictPolicy::Skip, None) => Some(ConflictPolicy::Skip),
    }
}

/// Reads which series is asked for.
pub fn get(request: pb::GetSeriesRequest) -> Result<SeriesId, InvalidRequest> {
    let mut found = Violations::default();
    let series = series_id(&request.series_id, &mut found);
    found.finish(series)
}

/// A page of series that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListRequest {
    /// Which series.
    pub list: SeriesList,
    /// Only those after this one.
    pub after: Option<SeriesId>,
    /// At most so many.
    pub limit: usize,
}

/// Reads which series are to be listed.
pub fn list(request: pb::ListSeriesRequest) -> Result<ListRequest, InvalidRequest> {
    use pb::series::State;
    let mut found = Violations::default();
    let participant =
        scalars::optional_participant(&request.participant_id, &ROOT.field("participant_id"), &mut found);
    let states = each(&request.states, &ROOT.field("states"), &mut found, |value, path, found| {
        Some(match known(*value, "Series.State", path, found)? {
            State::Unspecified => return found.none(path, "is not a state of a series"),
            State::Scheduling => SeriesState::Scheduling,
            State::Confirmed => SeriesState::Confirmed,
            State::Failed => SeriesState::Failed,
            State::Cancelled => SeriesState::Cancelled,
        })
    });
    let states = states.map(|mut states| {
        states.sort_by_key(|state| *state as u8);
        states.dedup();
        states
    });
    let limit = requests::page_size(request.page_size, &mut found);
    let list = participant.zip(states).map(|(participant, states)| SeriesList { participant, states });
    // A token can only be judged against fields that are good themselves.
    let after = list.as_ref().map(|list| list.after(&request.page_token, &mut found));
    let read = || Some(ListRequest { list: list?, after: after??, limit: limit? });
    let read = read();
    found.finish(read)
}

/// Reads a request to call a series off.
pub fn cancel(request: pb::CancelSeriesRequest) -> Result<CancelRequest, InvalidRequest> {
    let mut found = Violations::default();
    let series = series_id(&request.series_id, &mut found);
    let version = pages::version(&request.etag);
    let from = optional_instant(request.from.as_ref(), &ROOT.field("from"), &mut found);
    let read = || Some(CancelRequest { series: series?, version, from: from? });
    let read = read();
    found.finish(read)
}

/// A series to move, or the rest of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RescheduleRequest {
    /// Which series.
    pub series: SeriesId,
    /// The version that it must still have.
    pub version: Option<u64>,
    /// Only occurrences that take place here or later.
    pub from: Option<Instant>,
    /// Where the first of them goes.
    pub slot: TimeRange,
    /// How to ask.
    pub options: Options,
}

/// Reads a request to move a series.
pub fn reschedule(request: pb::RescheduleSeriesRequest) -> Result<RescheduleRequest, InvalidRequest> {
    let mut found = Violations::default();
    let series = series_id(&request.series_id, &mut found);
    let version = pages::version(&request.etag);
    let from = optional_instant(request.from.as_ref(), &ROOT.field("from"), &mut found);
    let path = ROOT.field("slot");
    let slot = match request.slot.as_ref() {
        Some(slot) => scalars::slot(slot, &path, &mut found),
        None => found.none(&path, "is required"),
    };
    let options = options(request.response_timeout.as_ref(), &mut found);
    let read =
        || Some(RescheduleRequest { series: series?, version, from: from?, slot: slot?, options: options? });
    let read = read();
    found.finish(read)
}

/// Other attendees or details for a series, or the rest of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdateRequest {
    /// Which series.
    pub series: SeriesId,
    /// The version that it must still have.
    pub version: Option<u64>,
    /// Only occurrences that take place here or later.
    pub from: Option<Instant>,
    /// What changes.
    pub change: Change,
    /// How to ask those who are added.
    pub options: Options,
}

/// Reads a request to change a series.
pub fn update(request: pb::UpdateSeriesRequest) -> Result<UpdateRequest, InvalidRequest> {
    let mut found = Violations::default();
    let series = series_id(&request.series_id, &mut found);
    let version = pages::version(&request.etag);
    let from = optional_instant(request.from.as_ref(), &ROOT.field("from"), &mut found);
    let change = requests::change(request.spec.as_ref(), request.update_mask.as_ref(), &mut found);
    let options = options(request.response_timeout.as_ref(), &mut found);
    let read =
        || Some(UpdateRequest { series: series?, version, from: from?, change: change?, options: options? });
    let read = read();
    found.finish(read)
}

fn options(response: Option<&prost_types::Duration>, found: &mut Violations) -> Option<Options> {
    Some(Options {
        response_timeout: requests::response_timeout(response, found)?,
        connect_timeout: Duration::ZERO,
        max_attempts: limits::ATTEMPTS_DEFAULT,
        max_candidates_per_round: 0,
    })
}

fn series_id(value: &str, found: &mut Violations) -> Option<SeriesId> {
    uuid(value, &ROOT.field("series_id"), found).map(SeriesId::new)
}

/// Writes a series, its occurrences as their meetings have them.
pub fn series(value: &Series, rows: &[Meeting]) -> pb::Series {
    let rows: HashMap<&MeetingId, &Meeting> = rows.iter().map(|meeting| (&meeting.id, meeting)).collect();
    let (policy, tolerance) = match value.policy {
        ConflictPolicy::FailSeries => (pb::ConflictPolicy::FailSeries, None),
        ConflictPolicy::Skip => (pb::ConflictPolicy::Skip, None),
        ConflictPolicy::MoveWithin(tolerance) => (pb::ConflictPolicy::MoveWithin, Some(tolerance)),
    };
    let state = match value.state {
        SeriesState::Scheduling => pb::series::State::Scheduling,
        SeriesState::Confirmed => pb::series::State::Confirmed,
        SeriesState::Failed => pb::series::State::Failed,
        SeriesState::Cancelled => pb::series::State::Cancelled,
    };
    let occurrence = |occurrence: &Occurrence| {
        let meeting = occurrence.meeting.as_ref().and_then(|id| rows.get(id)).copied();
        self::occurrence(occurrence, value, meeting)
    };
    pb::Series {
        series_id: value.id.to_string(),
        request_id: value.request_id.to_string(),
        spec: Some(meetings::spec(&value.spec)),
        rrule: value.rule.clone(),
        first_slot: value.first.as_ref().map(pb_range),
        time_zone: value.time_zone.clone(),
        conflict_policy: policy.into(),
        move_tolerance: tolerance.map(pb_length),
        exclude_dates: value.exclude.iter().map(ToString::to_string).collect(),
        state: state.into(),
        occurrences: value.occurrences.iter().map(occurrence).collect(),
        failure: value.failure.as_ref().map(|failure| meetings::failure(failure, &[])),
        open_ended: value.open_ended(),
        booked_until: value.booked_until.map(timestamp),
        create_time: Some(timestamp(value.create_time)),
        update_time: Some(timestamp(value.update_time)),
        etag: pages::etag(value.version),
    }
}

/// Writes a series for a list: without its occurrences.
pub fn listed(value: &Series) -> pb::Series {
    series(&Series { occurrences: Vec::new(), ..value.clone() }, &[])
}

/// Writes why an occurrence stands as before.
pub fn occurrence_failure(at: Instant, failure: &Failure) -> pb::OccurrenceFailure {
    let failure = Some(meetings::failure(failure, &[]));
    pb::OccurrenceFailure { recurrence_time: Some(timestamp(at)), failure }
}

/// Writes the answer to `validate_only`: the series as it was understood, without id and state.
pub fn understood(value: &Series, request_id: Option<&RequestId>) -> pb::Series {
    pb::Series {
        series_id: String::new(),
        request_id: request_id.map(ToString::to_string).unwrap_or_default(),
        state: pb::series::State::Unspecified.into(),
        etag: String::new(),
        create_time: None,
        update_time: None,
        ..series(value, &[])
    }
}

fn occurrence(value: &Occurrence, series: &Series, meeting: Option<&Meeting>) -> pb::Occurrence {
    let outcome = match value.outcome(series.state, meeting) {
        OccurrenceOutcome::Booked => pb::occurrence::Outcome::Booked,
        OccurrenceOutcome::Moved => pb::occurrence::Outcome::Moved,
        OccurrenceOutcome::Skipped => pb::occurrence::Outcome::Skipped,
        OccurrenceOutcome::Cancelled => pb::occurrence::Outcome::Cancelled,
        OccurrenceOutcome::Excluded => pb::occurrence::Outcome::Excluded,
        OccurrenceOutcome::Pending => pb::occurrence::Outcome::Pending,
    };
    let slot = meeting.and_then(|meeting| meeting.slot).unwrap_or(value.slot);
    pb::Occurrence {
        recurrence_time: Some(timestamp(value.recurrence)),
        local_time: value.local.to_string(),
        outcome: outcome.into(),
        meeting_id: meeting.map(|meeting| meeting.id.to_string()).unwrap_or_default(),
        slot: Some(pb_range(&slot)),
        reason: reason(value, meeting, &series.time_zone),
        attendees: meetings::outcomes(meeting.map_or(&value.attendees, |meeting| &meeting.attendees)),
        shifted: value.shifted,
        series_slot: Some(pb_range(&value.slot)),
    }
}

/// Why an occurrence stands as it does; times are in the zone of the series.
fn reason(value: &Occurrence, meeting: Option<&Meeting>, zone: &str) -> String {
    let gap = "its local time does not exist on that day: it begins later by the gap";
    let away = |meeting: &Meeting| {
        let gone = meeting.attendees.iter().filter(|o| o.status != AttendeeStatus::Attending);
        let gone: Vec<&str> = gone.map(|o| o.id.as_str()).take(5).collect();
        if gone.is_empty() { String::new() } else { format!("without {}", gone.join(", ")) }
    };
    let all =
        |told: [String; 3]| told.into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join("; ");
    // Why it went elsewhere when it was booked, and whether that is where it is.
    let moved = |meeting: &Meeting| {
        let was = series::who_is_away(&value.attendees);
        let again = if meeting.moved > 0 && !was.is_empty() { "moved again since then" } else { "" };
        let first = if was.is_empty() { was } else { format!("at its own time {was}") };
        all([first, again.to_owned(), away(meeting)])
    };
    let along = |was: &TimeRange| {
        let zone = zones::zone(zone).unwrap_or(jiff::tz::TimeZone::UTC);
        let was = zones::to_civil(was.start, &zone).strftime("%a %Y-%m-%d %H:%M");
        format!("had been at {was} by itself, and went along when the series was moved")
    };
    match meeting {
        _ if value.excluded => "on an excluded date".to_owned(),
        None => value.reason.clone(),
        Some(meeting) => match (meeting.state, &meeting.failure) {
            (MeetingState::Failed, Some(failure)) => failure.message.clone(),
            (MeetingState::Displaced, _) => "lost its slot to a meeting of higher priority".to_owned(),
            (MeetingState::Confirmed, _)
                if meeting.slot != Some(value.slot) && !value.attendees.is_empty() =>
            {
                moved(meeting)
            }
            (MeetingState::Confirmed, _) if meeting.slot == Some(value.slot) && value.alone.is_some() => {
                all([value.alone.as_ref().map(along).unwrap_or_default(), String::new(), away(meeting)])
            }
            (MeetingState::Confirmed, _) if value.shifted => gap.to_owned(),
            (MeetingState::Confirmed, _) => away(meeting),
            _ => String::new(),
        },
    }
}
