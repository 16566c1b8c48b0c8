//! The requests of `SchedulerService`, read and checked. Each function takes the generated request and gives what
//! the engine needs, or every bad field at once.

use std::time::Duration;

use prost::Message;
use sha2::{Digest, Sha256};

pub use crate::core::coordinator::{Change, ScheduleRequest};
use crate::core::ids::{MeetingId, ParticipantId, RequestId};
use crate::core::limits;
use crate::core::model::{Attendee, MeetingSpec, MeetingState, Options, Window};
use crate::core::time::TimeRange;

use super::pages::{self, MeetingKey, MeetingList};
use super::pb;
use super::scalars::{
    self, Lengths, count, each, known, length, length_or, number, optional_participant, optional_range, uuid,
};
use super::spec::{self, Named};
use super::validate::{InvalidRequest, Path, Quoted, ROOT, Violations};

/// Slots that are asked for, without booking one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FindRequest {
    /// What is sought.
    pub spec: MeetingSpec,
    /// How to look for it; no slot is tried.
    pub options: Options,
    /// How many candidates to return.
    pub limit: usize,
}

/// A page of meetings that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListRequest {
    /// Which meetings.
    pub list: MeetingList,
    /// Only those after this one.
    pub after: Option<MeetingKey>,
    /// At most so many.
    pub limit: usize,
}

/// Another slot for a meeting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RescheduleRequest {
    /// Which meeting.
    pub meeting: MeetingId,
    /// The version that it must still have; see [`pages::version`].
    pub version: Option<u64>,
    /// Exactly this slot; `window` is none then.
    pub slot: Option<TimeRange>,
    /// Where to look; none: in the meeting's own window.
    pub window: Option<Window>,
    /// The new length; none: the old one.
    pub duration: Option<Duration>,
    /// How to look for it.
    pub options: Options,
}

/// A meeting to call off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CancelRequest {
    /// Which meeting.
    pub meeting: MeetingId,
    /// The version that it must still have; see [`pages::version`].
    pub version: Option<u64>,
}

/// Other attendees or details for a meeting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdateRequest {
    /// Which meeting.
    pub meeting: MeetingId,
    /// The version that it must still have; see [`pages::version`].
    pub version: Option<u64>,
    /// What changes.
    pub change: Change,
    /// How to ask those who are added.
    pub options: Options,
}

/// Which events somebody watches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchRequest {
    /// Replay events after this sequence first; none: only what comes.
    pub resume_after: Option<u64>,
    /// Only of this meeting.
    pub meeting: Option<MeetingId>,
    /// Only of meetings with this attendee.
    pub participant: Option<ParticipantId>,
}

/// A page of participants that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListParticipantsRequest {
    /// Only those after this one.
    pub after: Option<ParticipantId>,
    /// At most so many.
    pub limit: usize,
    /// Only those who are connected.
    pub connected_only: bool,
}

/// Reads a request for a meeting.
pub fn schedule(mut request: pb::ScheduleMeetingRequest) -> Result<ScheduleRequest, InvalidRequest> {
    let mut found = Violations::default();
    let request_id = std::mem::take(&mut request.request_id);
    let id = request_name(&request_id, &ROOT.field("request_id"), &mut found);
    let slot = optional_slot(request.slot.as_ref(), &ROOT.field("slot"), &mut found);
    let named = match slot {
        Some(None) => Named::No,
        Some(Some(slot)) => Named::Slot(slot),
        None => Named::Refused,
    };
    let spec = required_spec(request.spec.as_ref(), named, &mut found);
    let response = response_timeout(request.response_timeout.as_ref(), &mut found);
    let connect = connect_timeout(request.connect_timeout.as_ref(), &mut found);
    let attempts = max_attempts(request.max_attempts, &mut found);
    let path = ROOT.field("max_candidates_per_round");
    let per_round = count(request.max_candidates_per_round, 0, usize::MAX, &path, &mut found);
    let read = || {
        Some(ScheduleRequest {
            request_id: id?,
            body_hash: pages::hex(&Sha256::digest(request.encode_to_vec())),
            spec: spec?,
            slot: slot?,
            options: Options {
                response_timeout: response?,
                connect_timeout: connect?,
                max_attempts: attempts?,
                max_candidates_per_round: per_round? as u32,
            },
            validate_only: request.validate_only,
        })
    };
    let read = read();
    found.finish(read)
}

/// Reads a batch: an outcome for each request, or a fault of the call itself.
pub fn batch(
    request: pb::BatchScheduleMeetingsRequest,
) -> Result<Vec<Result<ScheduleRequest, InvalidRequest>>, InvalidRequest> {
    match request.requests.len() {
        1..=limits::BATCH => Ok(request.requests.into_iter().map(schedule).collect()),
        len => {
            let description = format!("must have 1 to {} entries, and has {len}", limits::BATCH);
            Err(InvalidRequest::one("requests", description))
        }
    }
}

/// Reads a request for slots.
pub fn find(request: pb::FindMeetingTimesRequest) -> Result<FindRequest, InvalidRequest> {
    let mut found = Violations::default();
    let spec = required_spec(request.spec.as_ref(), Named::No, &mut found);
    let response = response_timeout(request.response_timeout.as_ref(), &mut found);
    let connect = connect_timeout(request.connect_timeout.as_ref(), &mut found);
    let (default, max) = (limits::CANDIDATES_RETURNED_DEFAULT, limits::CANDIDATES_RETURNED_MAX);
    let limit = count(request.max_candidates, default, max, &ROOT.field("max_candidates"), &mut found);
    let read = || {
        let options = Options {
            response_timeout: response?,
            connect_timeout: connect?,
            max_attempts: limits::ATTEMPTS_DEFAULT,
            max_candidates_per_round: 0,
        };
        Some(FindRequest { spec: spec?, options, limit: limit? })
    };
    let read = read();
    found.finish(read)
}

/// Reads which meeting is asked for.
pub fn get_meeting(request: pb::GetMeetingRequest) -> Result<MeetingId, InvalidRequest> {
    let mut found = Violations::default();
    let meeting = meeting_id(&request.meeting_id, &mut found);
    found.finish(meeting)
}

/// Reads a request for a page of meetings.
pub fn list_meetings(request: pb::ListMeetingsRequest) -> Result<ListRequest, InvalidRequest> {
    let mut found = Violations::default();
    let range = optional_range(request.range.as_ref(), &ROOT.field("range"), &mut found);
    let participant =
        optional_participant(&request.participant_id, &ROOT.field("participant_id"), &mut found);
    let states = states(&request.states, &ROOT.field("states"), &mut found);
    let limit = page_size(request.page_size, &mut found);
    let list = || Some(MeetingList { range: range?, participant: participant?, states: states? });
    let list = list();
    // A token can only be judged against fields that are good themselves.
    let after = list.as_ref().map(|list| list.after(&request.page_token, &mut found));
    let read = || Some(ListRequest { list: list?, after: after??, limit: limit? });
    let read = read();
    found.finish(read)
}

/// Reads a request to move a meeting.
pub fn reschedule(request: pb::RescheduleMeetingRequest) -> Result<RescheduleRequest, InvalidRequest> {
    let mut found = Violations::default();
    let meeting = meeting_id(&request.meeting_id, &mut found);
    let slot = optional_slot(request.slot.as_ref(), &ROOT.field("slot"), &mut found);
    let window = request.window.as_ref().map(|window| {
        let path = ROOT.field("window");
        if request.slot.is_some() {
            found.refuse(&path, "must be unset if slot is set");
        }
        spec::window(window, &path, &mut found)
    });
    let duration = request.duration.as_ref().map(|duration| {
        let path = ROOT.field("duration");
        let duration = length(duration, Lengths::MEETING, &path, &mut found)?;
        match slot {
            Some(Some(slot)) => spec::same_length(duration, &slot, &path, &mut found),
            _ => Some(duration),
        }
    });
    let response = response_timeout(request.response_timeout.as_ref(), &mut found);
    let connect = connect_timeout(request.connect_timeout.as_ref(), &mut found);
    let attempts = max_attempts(request.max_attempts, &mut found);
    let read = || {
        Some(RescheduleRequest {
            meeting: meeting?,
            version: pages::version(&request.etag),
            slot: slot?,
            window: all(window)?,
            duration: all(duration)?,
            options: Options {
                response_timeout: response?,
                connect_timeout: connect?,
                max_attempts: attempts?,
                max_candidates_per_round: 0,
            },
        })
    };
    let read = read();
    found.finish(read)
}

/// Reads a request to call a meeting off.
pub fn cancel(request: pb::CancelMeetingRequest) -> Result<CancelRequest, InvalidRequest> {
    let mut found = Violations::default();
    let meeting = meeting_id(&request.meeting_id, &mut found);
    let version = pages::version(&request.etag);
    found.finish(meeting.map(|meeting| CancelRequest { meeting, version }))
}

/// Reads a request to change a meeting. Fields of the spec that the mask does not name are not looked at.
pub fn update(request: pb::UpdateMeetingRequest) -> Result<UpdateRequest, InvalidRequest> {
    let mut found = Violations::default();
    let meeting = meeting_id(&request.meeting_id, &mut found);
    let change = change(request.spec.as_ref(), request.update_mask.as_ref(), &mut found);
    let response = response_timeout(request.response_timeout.as_ref(), &mut found);
    let read = || {
        Some(UpdateRequest {
            meeting: meeting?,
            version: pages::version(&request.etag),
            change: change?,
            options: Options {
                response_timeout: response?,
                connect_timeout: Duration::ZERO,
                max_attempts: limits::ATTEMPTS_DEFAULT,
                max_candidates_per_round: 0,
            },
        })
    };
    let read = read();
    found.finish(read)
}

/// The fields that UpdateMeeting can change.
const UPDATABLE: &str = "title, attendees, minimum_participants, displaceable";

/// Reads which fields of `spec` the mask takes, and their new values.
pub(super) fn change(
    spec: Option<&pb::MeetingSpec>,
    update_mask: Option<&prost_types::FieldMask>,
    found: &mut Violations,
) -> Option<Change> {
    if spec.is_none() {
        found.refuse(&ROOT.field("spec"), "is required");
    }
    let mask = ROOT.field("update_mask");
    let paths = update_mask.map_or(&[][..], |mask| &mask.paths);
    if paths.is_empty() {
        found.refuse(&mask, format_args!("is required: one or more of {UPDATABLE}"));
    }
    let empty = pb::MeetingSpec::default();
    let (value, path) = (spec.unwrap_or(&empty), ROOT.field("spec"));
    let mut change = Change::default();
    let mut seen: Vec<&str> = Vec::new();
    for (index, name) in paths.iter().enumerate() {
        let name = name.as_str();
        if seen.contains(&name) {
            continue;
        }
        match name {
            "title" => change.title = spec::title(&value.title, &path.field(name), found),
            "attendees" => change.attendees = new_attendees(&value.attendees, &path.field(name), found),
            "minimum_participants" => {
                let path = path.field(name);
                change.minimum_participants = spec::minimum(value.minimum_participants, &path, found);
            }
            "displaceable" => change.displaceable = Some(value.displaceable),
            other => {
                let lists = mask.field("paths");
                let quoted = Quoted(other);
                found.refuse(&lists.at(index), format_args!("is {quoted}, and may be one of {UPDATABLE}"));
                continue;
            }
        }
        seen.push(name);
    }
    if let (Some(minimum), Some(attendees)) = (change.minimum_participants, &change.attendees) {
        spec::minimum_fits(minimum, attendees, &path.field("minimum_participants"), found);
    }
    found.is_empty().then_some(change)
}

fn new_attendees(list: &[pb::Attendee], path: &Path<'_>, found: &mut Violations) -> Option<Vec<Attendee>> {
    if list.is_empty() {
        return found.none(path, "must name somebody: a meeting can't lose all its attendees");
    }
    spec::attendees(list, path, found)
}

/// Reads which events somebody watches.
pub fn watch_meetings(request: pb::WatchMeetingsRequest) -> Result<WatchRequest, InvalidRequest> {
    let mut found = Violations::default();
    let path = ROOT.field("resume_after");
    let after = request.resume_after.map(|after| number(after, &path, &mut found));
    let meeting = match request.meeting_id.is_empty() {
        true => Some(None),
        false => meeting_id(&request.meeting_id, &mut found).map(Some),
    };
    let participant =
        optional_participant(&request.participant_id, &ROOT.field("participant_id"), &mut found);
    let read =
        || Some(WatchRequest { resume_after: all(after)?, meeting: meeting?, participant: participant? });
    let read = read();
    found.finish(read)
}

/// Reads a request for a page of participants.
pub fn list_participants(
    request: pb::ListParticipantsRequest,
) -> Result<ListParticipantsRequest, InvalidRequest> {
    let mut found = Violations::default();
    let connected_only = request.connected_only;
    let limit = page_size(request.page_size, &mut found);
    let after = pages::participants_after(connected_only, &request.page_token, &mut found);
    let read = || Some(ListParticipantsRequest { after: after?, limit: limit?, connected_only });
    let read = read();
    found.finish(read)
}

/// Reads which participant is asked for.
pub fn get_participant(request: pb::GetParticipantRequest) -> Result<ParticipantId, InvalidRequest> {
    let mut found = Violations::default();
    let id = scalars::participant(&request.participant_id, &ROOT.field("participant_id"), &mut found);
    found.finish(id)
}

/// An absent field is good: none. One that is there must be good itself.
fn all<T>(field: Option<Option<T>>) -> Option<Option<T>> {
    match field {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}

fn meeting_id(value: &str, found: &mut Violations) -> Option<MeetingId> {
    scalars::meeting(value, &ROOT.field("meeting_id"), found)
}

/// AIP-155 leaves out the zero UUID: it is what programs send that forgot to make one.
pub(super) fn request_name(
    value: &str,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<Option<RequestId>> {
    if value.is_empty() {
        return Some(None);
    }
    let id = uuid(value, path, found)?;
    match id.bytes().all(|byte| byte == b'0' || byte == b'-') {
        true => found.none(path, "must not be the zero UUID"),
        false => Some(Some(RequestId::new(id))),
    }
}

pub(super) fn required_spec(
    value: Option<&pb::MeetingSpec>,
    named: Named,
    found: &mut Violations,
) -> Option<MeetingSpec> {
    let path = ROOT.field("spec");
    match value {
        Some(value) => spec::meeting_spec(value, named, &path, found),
        None => found.none(&path, "is required"),
    }
}

pub(super) fn optional_slot(
    value: Option<&pb::TimeRange>,
    path: &Path<'_>,
    found: &mut Violations,
) -> Option<Option<TimeRange>> {
    all(value.map(|value| scalars::slot(value, path, found)))
}

pub(super) fn response_timeout(
    value: Option<&prost_types::Duration>,
    found: &mut Violations,
) -> Option<Duration> {
    let path = ROOT.field("response_timeout");
    length_or(value, limits::RESPONSE_TIMEOUT_DEFAULT, Lengths::RESPONSE, &path, found)
}

pub(super) fn connect_timeout(
    value: Option<&prost_types::Duration>,
    found: &mut Violations,
) -> Option<Duration> {
    length_or(value, Duration::ZERO, Lengths::CONNECT, &ROOT.field("connect_timeout"), found)
}

pub(super) fn max_attempts(value: i32, found: &mut Violations) -> Option<u32> {
    let (default, max) = (limits::ATTEMPTS_DEFAULT as usize, limits::ATTEMPTS_MAX as usize);
    count(value, default, max, &ROOT.field("max_attempts"), found).map(|count| count as u32)
}

/// More than a page may hold is taken as a full page (AIP-158).
pub(super) fn page_size(value: i32, found: &mut Violations) -> Option<usize> {
    let path = ROOT.field("page_size");
    let size = count(value, limits::PAGE_DEFAULT, usize::MAX, &path, found)?;
    Some(size.min(limits::PAGE_MAX))
}

fn states(list: &[i32], path: &Path<'_>, found: &mut Violations) -> Option<Vec<MeetingState>> {
    use pb::meeting::State;
    let mut states = each(list, path, found, |value, path, found| {
        Some(match known(*value, "Meeting.State", path, found)? {
            State::Unspecified => return found.none(path, "is not a state of a meeting"),
            State::Scheduling => MeetingState::Scheduling,
            State::Confirmed => MeetingState::Confirmed,
            State::Failed => MeetingState::Failed,
            State::Cancelled => MeetingState::Cancelled,
            State::Displaced => MeetingState::Displaced,
        })
    })?;
    states.sort_by_key(|state| *state as u8);
    states.dedup();
    Some(states)
}
