//! Many meetings in one call: each is a meeting of its own, started when those before it that share an attendee
//! are decided.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use super::callers::Caller;
use super::organizer::Organizer;
use crate::core::batch::{BatchItem, waits_for};
use crate::wire::requests::ScheduleRequest;
use crate::wire::{ApiError, InvalidRequest, pb};

/// Books them all. Runs in a task of its own: an organizer that hangs up ends nothing.
pub(super) async fn run(
    organizer: Organizer,
    requests: Vec<Result<ScheduleRequest, InvalidRequest>>,
    deadline: Option<Duration>,
    caller: Caller,
) -> Result<Vec<pb::BatchOutcome>, ApiError> {
    let log = tracing::Span::current();
    let all = tokio::spawn(run_all(organizer, requests, deadline, caller.of_many()).instrument(log));
    all.await.map_err(|error| {
        tracing::error!(%error, "a batch did not come to its end");
        ApiError::Internal
    })
}

async fn run_all(
    organizer: Organizer,
    requests: Vec<Result<ScheduleRequest, InvalidRequest>>,
    deadline: Option<Duration>,
    caller: Caller,
) -> Vec<pb::BatchOutcome> {
    let until = deadline.map(|deadline| Instant::now() + deadline);
    let items: Vec<BatchItem> = requests.iter().flatten().map(item).collect();
    let waits = waits_for(&items);
    let (done, decided): (Vec<_>, Vec<_>) = items.iter().map(|_| watch::channel(false)).unzip();
    // What a request that never comes to its end is answered with.
    let lost = || pb::BatchOutcome { error: Some(ApiError::Internal.batch_error()), ..Default::default() };
    let mut outcomes: Vec<pb::BatchOutcome> = requests.iter().map(|_| lost()).collect();
    let mut tasks = tokio::task::JoinSet::new();
    let mut valid = waits.into_iter().zip(done);
    for (index, request) in requests.into_iter().enumerate() {
        let request = match request {
            Ok(request) => request,
            Err(invalid) => {
                outcomes[index].error = Some(ApiError::from(invalid).batch_error());
                continue;
            }
        };
        if let Some((waits, done)) = valid.next() {
            let before = waits.iter().map(|i| decided[*i].clone()).collect();
            let (organizer, caller) = (organizer.clone(), caller.clone());
            // Only the task has the sender: however it ends, those behind it go on.
            tasks.spawn(async move { (index, one(organizer, request, before, done, (until, caller)).await) });
        }
    }
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok((index, Ok(meeting))) => {
                outcomes[index] = pb::BatchOutcome { meeting: Some(meeting), error: None };
            }
            Ok((index, Err(error))) => outcomes[index].error = Some(error.batch_error()),
            Err(error) => tracing::error!(%error, "one meeting of a batch did not come to its end"),
        }
    }
    outcomes
}

fn item(request: &ScheduleRequest) -> BatchItem {
    BatchItem {
        priority: request.spec.priority,
        attendees: request.spec.attendees.iter().map(|a| a.id.clone()).collect(),
    }
}

async fn one(
    organizer: Organizer,
    request: ScheduleRequest,
    before: Vec<watch::Receiver<bool>>,
    done: watch::Sender<bool>,
    (until, caller): (Option<Instant>, Caller),
) -> Result<pb::Meeting, ApiError> {
    for mut other in before {
        // A sender that is gone has ended, however: nothing is left to wait for.
        other.wait_for(|decided| *decided).await.ok();
    }
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let meeting = organizer.schedule(request, left, caller).await;
    done.send_replace(true);
    meeting
}
