//! Series: requests to the engine, and the store's rows as answers.

use std::time::Duration;

use super::callers::Caller;
use super::organizer::Organizer;
use super::{refused, unexpected};
use crate::core::coordinator::{Command, Reply};
use crate::core::ids::{RequestId, SeriesId};
use crate::core::model::Failure;
use crate::core::series::SeriesRequest;
use crate::core::time::Instant;
use crate::engine::store::SeriesFilter;
use crate::wire::series::{self, CancelRequest, ListRequest};
use crate::wire::{ApiError, pb};

impl Organizer {
    pub(super) async fn book_series(
        &self,
        request: SeriesRequest,
        deadline: Option<Duration>,
        caller: Caller,
    ) -> Result<pb::Series, ApiError> {
        self.callers.may_ask_for(&caller, &request.spec, "spec")?;
        let id = request.request_id.clone();
        self.series_command(Command::ScheduleSeries(Box::new(request)), id, deadline, caller).await
    }

    pub(super) async fn cancel_series_of(
        &self,
        request: CancelRequest,
        deadline: Option<Duration>,
        caller: Caller,
    ) -> Result<pb::CancelSeriesResponse, ApiError> {
        let CancelRequest { series, version, from } = request;
        let command = Command::CancelSeries { series, version, from };
        let (series, failures) = self.changed_series(command, None, deadline, caller).await?;
        Ok(pb::CancelSeriesResponse { series: Some(series), failures: self.failures(&failures) })
    }

    /// What could not be changed, for the answer.
    pub(super) fn failures(&self, failures: &[(Instant, Failure)]) -> Vec<pb::OccurrenceFailure> {
        let mut homes = self.homes();
        let failed = failures.iter().map(|(at, failure)| series::occurrence_failure(*at, failure));
        failed.map(|failed| homes.of_occurrence_failure(failed)).collect()
    }

    async fn series_command(
        &self,
        command: Command,
        request_id: Option<RequestId>,
        deadline: Option<Duration>,
        caller: Caller,
    ) -> Result<pb::Series, ApiError> {
        self.changed_series(command, request_id, deadline, caller).await.map(|(series, _)| series)
    }

    /// A series after a command, and what of it could not be changed.
    pub(super) async fn changed_series(
        &self,
        command: Command,
        request_id: Option<RequestId>,
        deadline: Option<Duration>,
        caller: Caller,
    ) -> Result<(pb::Series, Vec<(Instant, Failure)>), ApiError> {
        match self.call(command, deadline, caller).await? {
            Reply::Series(id, failures) => Ok((self.read_series(id).await?, failures)),
            Reply::SeriesPlan(plan) => Ok((series::understood(&plan, request_id.as_ref()), Vec::new())),
            Reply::Refused(why) => Err(refused(why, request_id.as_ref())),
            reply => Err(unexpected(&reply)),
        }
    }

    /// A page of series.
    pub(super) async fn list_series_page(
        &self,
        request: ListRequest,
    ) -> Result<pb::ListSeriesResponse, ApiError> {
        let ListRequest { list, after, limit } = request;
        let (participant, states) = (list.participant.clone(), list.states.clone());
        let filter = SeriesFilter { participant, states, after, limit: limit + 1 };
        let mut found = self.read(move |reader| reader.series_list(&filter)).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| list.next(&last.id));
        let mut homes = self.homes();
        Ok(pb::ListSeriesResponse {
            series: found.iter().map(|row| homes.of_series(series::listed(row))).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }

    /// The series as its rows are now.
    pub(super) async fn read_series(&self, id: SeriesId) -> Result<pb::Series, ApiError> {
        let wanted = id.clone();
        let found = self.read(move |reader| reader.series(&wanted)).await?;
        let (row, meetings) = found.ok_or(ApiError::SeriesNotFound(id))?;
        Ok(self.homes().of_series(series::series(&row, &meetings)))
    }
}
