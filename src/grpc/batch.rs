//! Many meetings in one call: each is a meeting of its own, started when those before it that share an attendee
//! are decided.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::organizer::Organizer;
use crate::core::batch::{BatchItem, waits_for};
use crate::wire::requests::ScheduleRequest;
use crate::wire::{ApiError, InvalidRequest, pb};

/// Books them all. Runs in a task of its own: an organizer that hangs up ends nothing.
pub(super) async fn run(
    organizer: Organizer,
    requests: Vec<Result<ScheduleRequest, InvalidRequest>>,
    deadline: Option<Duration>,
) -> Result<Vec<pb::BatchOutcome>, ApiError> {
    let all = tokio::spawn(run_all(organizer, requests, deadline));
    all.await.map_err(|error| {
        tracing::error!(%error, "a batch did not come to its end");
        ApiError::Internal
    })
}

async fn run_all(
    organizer: Organizer,
    requests: Vec<Result<ScheduleRequest, InvalidRequest>>,
    deadline: Option<Duration>,
) -> Vec<pb::BatchOutcome> {
    let until = deadline.map(|deadline| Instant::now() + deadline);
    let valid: Vec<usize> = (0..requests.len()).filter(|i| requests[*i].is_ok()).collect();
    let items: Vec<BatchItem> = requests.iter().flatten().map(item).collect();
    let waits = waits_for(&items);
    let decided: Vec<watch::Sender<bool>> = valid.iter().map(|_| watch::Sender::new(false)).collect();
    let mut outcomes: Vec<pb::BatchOutcome> = Vec::with_capacity(requests.len());
    let mut tasks = tokio::task::JoinSet::new();
    let mut of_valid = 0;
    for (index, request) in requests.into_iter().enumerate() {
        outcomes.push(pb::BatchOutcome::default());
        match request {
            Err(invalid) => outcomes[index].error = Some(ApiError::from(invalid).batch_error()),
            Ok(request) => {
                let before = waits[of_valid].iter().map(|i| decided[*i].subscribe()).collect();
                let (organizer, done) = (organizer.clone(), decided[of_valid].clone());
                tasks.spawn(async move { (index, one(organizer, request, before, done, until).await) });
                of_valid += 1;
            }
        }
    }
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok((index, Ok(meeting))) => outcomes[index].meeting = Some(meeting),
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
    until: Option<Instant>,
) -> Result<pb::Meeting, ApiError> {
    for mut other in before {
        // A sender that is gone has ended, however: nothing is left to wait for.
        other.wait_for(|decided| *decided).await.ok();
    }
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let meeting = organizer.schedule(request, left).await;
    done.send_replace(true);
    meeting
}
