//! `SchedulerService`: organizers.

use std::pin::Pin;
use std::time::Duration;

use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::callers::{Caller, Callers, caller};
use super::homes::Homes;
use super::{batch, engine_failed, refused, store_failed, unexpected, watch};
use crate::core::coordinator::{Command, Reply};
use crate::core::model::Meeting;
use crate::engine::store::{MeetingFilter, MeetingKey};
use crate::engine::{EngineHandle, Seat};
use crate::wire::requests::{self, ListRequest, ScheduleRequest};
use crate::wire::{ApiError, meetings, pages, pb, series};

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Organizer {
    pub(super) engine: EngineHandle,
    pub(super) callers: Callers,
    /// Ends the streams at shutdown.
    pub(super) stop: CancellationToken,
}

/// The call's deadline, as the client sent it (gRPC over HTTP/2, "Timeout").
pub(super) fn deadline<T>(request: &Request<T>) -> Option<Duration> {
    let value = request.metadata().get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(n * 3600)),
        "M" => Some(Duration::from_secs(n * 60)),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

/// The stream, which keeps its caller's seat until it ends.
fn seated<T>(stream: impl Stream<Item = Result<T, Status>> + Send + 'static, seat: Seat) -> Boxed<T> {
    Box::pin(stream.map(move |item| {
        let _kept = &seat;
        item
    }))
}

impl Organizer {
    pub(super) async fn schedule(
        &self,
        request: ScheduleRequest,
        deadline: Option<Duration>,
        caller: Caller,
    ) -> Result<pb::Meeting, ApiError> {
        self.callers.may_ask_for(&caller, &request.spec, "spec")?;
        let (id, understood) = (request.request_id.clone(), request.validate_only.then(|| request.clone()));
        match self.call(Command::Schedule(Box::new(request)), deadline, caller).await? {
            Reply::Meeting(meeting) => Ok(match understood {
                Some(request) => {
                    self.homes().of_meeting(meetings::understood(&request, &meeting.spec, &meeting.time_zone))
                }
                None => self.homes().of_meeting(meetings::meeting(&meeting)),
            }),
            Reply::Refused(why) => Err(refused(why, id.as_ref())),
            reply => Err(unexpected(&reply)),
        }
    }

    pub(super) async fn call(
        &self,
        command: Command,
        deadline: Option<Duration>,
        caller: Caller,
    ) -> Result<Reply, ApiError> {
        let seat = self.callers.seat(&caller)?;
        let Some(trace) = caller.trace else {
            return self.engine.call(command, deadline, seat).await.map_err(engine_failed);
        };
        let reply = self.engine.call(trace.around(command), deadline, seat).await.map_err(engine_failed)?;
        trace.note(&reply);
        Ok(reply)
    }

    /// Changes a meeting; the failure says why it stands as before.
    async fn change(
        &self,
        command: Command,
        deadline: Option<Duration>,
        caller: Caller,
    ) -> Result<(pb::Meeting, Option<pb::Failure>), ApiError> {
        match self.call(command, deadline, caller).await? {
            Reply::Changed(meeting, failure) => {
                let mut homes = self.homes();
                let failure = failure.map(|failure| homes.of_failure(meetings::failure(&failure, &[])));
                Ok((homes.of_meeting(meetings::meeting(&meeting)), failure))
            }
            Reply::Refused(why) => Err(refused(why, None)),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Puts the attendees' zones into an answer.
    pub(super) fn homes(&self) -> Homes<'_> {
        Homes::new(self.engine.directory())
    }

    /// Reads off the runtime's threads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn crate::engine::store::Reader) -> Result<T, crate::engine::store::StoreError>
        + Send
        + 'static,
    ) -> Result<T, ApiError> {
        let reader = self.engine.reader();
        match tokio::task::spawn_blocking(move || read(&*reader)).await {
            Ok(found) => found.map_err(|error| store_failed(&error)),
            Err(error) => {
                tracing::error!(%error, "a read did not come to its end");
                Err(ApiError::Internal)
            }
        }
    }

    async fn list(&self, request: ListRequest) -> Result<pb::ListMeetingsResponse, ApiError> {
        let ListRequest { list, after, limit } = request;
        let filter = MeetingFilter {
            range: list.range,
            participant: list.participant.clone(),
            states: list.states.clone(),
            after,
            limit: limit + 1,
        };
        let mut found: Vec<Meeting> = self.read(move |reader| reader.meetings(&filter)).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| list.next(&MeetingKey::of(last)));
        let mut homes = self.homes();
        Ok(pb::ListMeetingsResponse {
            meetings: found.iter().map(|meeting| homes.of_meeting(meetings::meeting(meeting))).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }
}

#[tonic::async_trait]
impl pb::scheduler_service_server::SchedulerService for Organizer {
    async fn find_meeting_times(
        &self,
        request: Request<pb::FindMeetingTimesRequest>,
    ) -> Result<Response<pb::FindMeetingTimesResponse>, Status> {
        let (deadline, caller) = (deadline(&request), caller(&request));
        let find = requests::find(request.into_inner()).map_err(ApiError::from)?;
        self.callers.may_ask_for(&caller, &find.spec, "spec").map_err(ApiError::from)?;
        let command = Command::Find { spec: find.spec, options: find.options, limit: find.limit };
        match self.call(command, deadline, caller).await? {
            Reply::Found { candidates, failure, counts, time_zone, clock_shifts } => {
                let found =
                    meetings::found(&candidates, failure.as_ref(), &counts, &time_zone, &clock_shifts);
                Ok(Response::new(self.homes().of_found(found)))
            }
            Reply::Refused(why) => Err(refused(why, None).into()),
            reply => Err(unexpected(&reply).into()),
        }
    }

    async fn schedule_meeting(
        &self,
        request: Request<pb::ScheduleMeetingRequest>,
    ) -> Result<Response<pb::ScheduleMeetingResponse>, Status> {
        let (deadline, caller) = (deadline(&request), caller(&request));
        let request = requests::schedule(request.into_inner()).map_err(ApiError::from)?;
        let meeting = Some(self.schedule(request, deadline, caller).await?);
        Ok(Response::new(pb::ScheduleMeetingResponse { meeting }))
    }

    async fn batch_schedule_meetings(
        &self,
        request: Request<pb::BatchScheduleMeetingsRequest>,
    ) -> Result<Response<pb::BatchScheduleMeetingsResponse>, Status> {
        let (deadline, caller) = (deadline(&request), caller(&request));
        let requests = requests::batch(request.into_inner()).map_err(ApiError::from)?;
        let outcomes = batch::run(self.clone(), requests, deadline, caller).await?;
        Ok(Response::new(pb::BatchScheduleMeetingsResponse { outcomes }))
    }

    async fn schedule_series(
        &self,
        request: Request<pb::ScheduleSeriesRequest>,
    ) -> Result<Response<pb::ScheduleSeriesResponse>, Status> {
        let (deadline, caller) = (deadline(&request), caller(&request));
        let request = series::schedule(request.into_inner()).map_err(ApiError::from)?;
        let series = Some(self.book_series(request, deadline, caller).await?);
        Ok(Response::new(pb::ScheduleSeriesResponse { series }))
    }

    async fn get_series(
        &self,
        request: Request<pb::GetSeriesRequest>,
    ) -> Result<Response<pb::GetSeriesResponse>, Status> {
        let id = series::get(request.into_inner()).map_err(ApiError::from)?;
        let series = Some(self.read_series(id).await?);
        Ok(Response::new(pb::GetSeriesResponse { series }))
    }

    async fn list_series(
        &self,
        request: Request<pb::ListSeriesRequest>,
    ) -> Result<Response<pb::ListSeriesResponse>, Status> {
        let request = series::list(request.into_inner()).map_err(ApiError::from)?;
        Ok(Response::new(self.list_series_page(request).await?))
    }

    async fn cancel_series(
        &self,
        request: Request<pb::CancelSeriesRequest>,
    ) -> Result<Response<pb::CancelSeriesResponse>, Status> {
        let (deadline, caller) = (deadline(&request), caller(&request));
        let request = series::cancel(request.into_inner()).map_err(ApiError::from)?;
        Ok(Response::new(self.cancel_series_of(request, deadline, caller).await?))
    }

    async fn reschedule_series(
        &self,
        request: Request<pb::RescheduleSeriesRequest>,
    ) -> Result<Response<pb::RescheduleSeriesResponse>, Status> {
        let (deadline, caller) = (deadline(&request), caller(&request));
        let r = series::reschedule(request.into_inner()).map_err(ApiError::from)?;
        let (series, version, from, slot) = (r.series, r.version, r.from, r.slot);
        let command = Command::RescheduleSeries { series, version, from, slot, options: r.options };
        let (series, failures) = self.changed_series(command, None, deadline, caller).await?;
        let failure = failures.first().map(|(_, failure)| meetings::failure(failure, &[]));
        let failure = failure.map(|failure| self.homes().of_failure(failure));
        Ok(Response::new(pb::RescheduleSeriesResponse { series: Some(series), failure }))
    }

    async fn update_series(
        &self,
        request: Request<pb::UpdateSeriesRequest>,
    ) -> Result<Response<pb::UpdateSeriesResponse>, Status> {
        let (deadline, caller) = (deadline(&request), caller(&request));
        let r = series::update(request.into_inner()).map_err(ApiError::from)?;
        let (series, version, from, change) = (r.series, r.version, r.from, r.change);
        let command = Command::UpdateSeries { series, version, from, change, options: r.options };
        let (series, failures) = self.changed_series(command, None, deadline, caller).await?;
        let failures = self.failures(&failures);
        Ok(Response::new(pb::UpdateSeriesResponse { series: Some(series), failures }))
    }

    async fn get_meeting(
        &self,
        request: Request<pb::GetMeetingRequest>,
    ) -> Result<Response<pb::GetMeetingResponse>, Status> {
        let id = requests::get_meeting(request.into_inner()).map_err(ApiError::from)?;
        let wanted = id.clone();
        let found = self.read(move |reader| reader.meeting(&wanted)).await?;
        let meeting = found.ok_or(ApiError::MeetingNotFound(id))?;
        let meeting = Some(self.homes().of_meeting(meetings::meeting(&meeting)));
        Ok(Response::new(pb::GetMeetingResponse { meeting }))
    }

    async fn list_meetings(
        &self,
        request: Request<pb::ListMeetingsRequest>,
    ) -> Result<Response<pb::ListMeetingsResponse>, Status> {
        let request = requests::list_meetings(request.into_inner()).map_err(ApiError::from)?;
        Ok(Response::new(self.list(request).await?))
    }

    async fn reschedule_meeting(
        &self,
        request: Request<pb::RescheduleMeetingRequest>,
    ) -> Result<Response<pb::RescheduleMeetingResponse>, Status> {
        let (deadline, caller) = (deadline(&request), caller(&request));
        let r = requests::reschedule(request.into_inner()).map_err(ApiError::from)?;
        let (meeting, version, slot) = (r.meeting, r.version, r.slot);
        let (window, duration, options) = (r.window, r.duration, r.options);
        let command = Command::Reschedule { meeting, version, slot, window, duration, options };
        let (meeting, failure) = self.change(command, deadline, caller).await?;
        Ok(Response::new(pb::RescheduleMeetingResponse { meeting: Some(meeting), failure }))
    }

    async fn cancel_meeting(
        &self,
        request: Request<pb::CancelMeetingRequest>,
    ) -> Result<Response<pb::CancelMeetingResponse>, Status> {
        let (deadline, caller) = (deadline(&request), caller(&request));
        let r = requests::cancel(request.into_inner()).map_err(ApiError::from)?;
        let command = Command::Cancel { meeting: r.meeting, version: r.version };
        let (meeting, _) = self.change(command, deadline, caller).await?;
        Ok(Response::new(pb::CancelMeetingResponse { meeting: Some(meeting) }))
    }

    async fn update_meeting(
        &self,
        request: Request<pb::UpdateMeetingRequest>,
    ) -> Result<Response<pb::UpdateMeetingResponse>, Status> {
        let (deadline, caller) = (deadline(&request), caller(&request));
        let r = requests::update(request.into_inner()).map_err(ApiError::from)?;
        let command =
            Command::Update { meeting: r.meeting, version: r.version, change: r.change, options: r.options };
        let (meeting, failure) = self.change(command, deadline, caller).await?;
        Ok(Response::new(pb::UpdateMeetingResponse { meeting: Some(meeting), failure }))
    }

    type WatchMeetingsStream = Boxed<pb::WatchMeetingsResponse>;

    async fn watch_meetings(
        &self,
        request: Request<pb::WatchMeetingsRequest>,
    ) -> Result<Response<Self::WatchMeetingsStream>, Status> {
        let seat = self.callers.seat(&caller(&request))?;
        let request = requests::watch_meetings(request.into_inner()).map_err(ApiError::from)?;
        let events = watch::meetings(self.clone(), request).await?;
        Ok(Response::new(seated(events, seat)))
    }

    async fn list_participants(
        &self,
        request: Request<pb::ListParticipantsRequest>,
    ) -> Result<Response<pb::ListParticipantsResponse>, Status> {
        let r = requests::list_participants(request.into_inner()).map_err(ApiError::from)?;
        let mut found = self.engine.directory().page(r.after.as_ref(), r.connected_only, r.limit + 1);
        let more = found.len() > r.limit;
        found.truncate(r.limit);
        let next = found.last().filter(|_| more);
        let next = next.map(|last| pages::participants_next(r.connected_only, &last.row.id));
        Ok(Response::new(pb::ListParticipantsResponse {
            participants: found
                .iter()
                .map(|v| meetings::participant(&v.row, v.connected_since, &v.remarks))
                .collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn get_participant(
        &self,
        request: Request<pb::GetParticipantRequest>,
    ) -> Result<Response<pb::GetParticipantResponse>, Status> {
        let id = requests::get_participant(request.into_inner()).map_err(ApiError::from)?;
        let view = self.engine.directory().get(&id).ok_or(ApiError::ParticipantNotFound(id))?;
        let participant = Some(meetings::participant(&view.row, view.connected_since, &view.remarks));
        Ok(Response::new(pb::GetParticipantResponse { participant }))
    }

    type WatchParticipantsStream = Boxed<pb::WatchParticipantsResponse>;

    async fn watch_participants(
        &self,
        request: Request<pb::WatchParticipantsRequest>,
    ) -> Result<Response<Self::WatchParticipantsStream>, Status> {
        let seat = self.callers.seat(&caller(&request))?;
        Ok(Response::new(seated(watch::participants(self.clone()), seat)))
    }
}
