//! The streams that organizers watch. Events come from the store, so that none is lost however slow the reader is.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::organizer::Organizer;
use crate::engine::store::{EventFilter, EventPage};
use crate::engine::{DirectoryChange, ParticipantView};
use crate::wire::requests::WatchRequest;
use crate::wire::{ApiError, meetings, pb};

/// Events read at a time.
const PAGE: usize = 500;
/// Messages that wait for a reader.
const AHEAD: usize = 64;

/// Events from where the request says, then those that come.
pub(super) async fn meetings(
    organizer: Organizer,
    request: WatchRequest,
) -> Result<ReceiverStream<Result<pb::WatchMeetingsResponse, Status>>, ApiError> {
    let mut changed = organizer.engine.events_changed();
    changed.mark_unchanged();
    let bounds = organizer.read(|reader| reader.event_bounds()).await?;
    let newest = bounds.map_or(0, |(_, newest)| newest);
    let mut after = request.resume_after.unwrap_or(newest);
    if let Some((oldest, _)) = bounds.filter(|(oldest, _)| after > 0 && after + 1 < *oldest) {
        return Err(ApiError::EventsPruned { after, oldest });
    }
    // An event is on disk before anybody hears of it, so this number is of a store that was replaced since.
    if after > newest {
        return Err(ApiError::EventsAhead { after, newest });
    }
    let filter = EventFilter { meeting: request.meeting, participant: request.participant };
    let (send, stream) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        loop {
            let wanted = filter.clone();
            let page = organizer.read(move |reader| reader.events(after, &wanted, PAGE)).await;
            let EventPage { events, looked_until } = match page {
                Ok(page) => page,
                Err(error) => return drop(send.send(Err(error.into())).await),
            };
            for event in events {
                let mut event = meetings::event(&event);
                event.meeting = event.meeting.map(|meeting| organizer.homes().of_meeting(meeting));
                let event = Some(event);
                if send.send(Ok(pb::WatchMeetingsResponse { event })).await.is_err() {
                    return;
                }
            }
            if looked_until > after {
                after = looked_until;
                continue;
            }
            tokio::select! {
                more = changed.changed() => if more.is_err() {
                    return drop(send.send(Err(ApiError::ShuttingDown.into())).await);
                },
                () = organizer.stop.cancelled() => {
                    return drop(send.send(Err(ApiError::ShuttingDown.into())).await);
                }
                () = send.closed() => return,
            }
        }
    });
    Ok(ReceiverStream::new(stream))
}

/// Everybody as of now, then each change.
pub(super) fn participants(
    organizer: Organizer,
) -> ReceiverStream<Result<pb::WatchParticipantsResponse, Status>> {
    let (send, stream) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let (all, mut watch) = organizer.engine.directory().watch();
        let mut waiting = DirectoryChange::All(all);
        loop {
            let views = match waiting {
                DirectoryChange::One(view) => vec![view],
                DirectoryChange::All(views) => views,
            };
            for view in views {
                if send.send(Ok(response(&view))).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                change = watch.next() => match change {
                    Some(change) => waiting = change,
                    None => return drop(send.send(Err(ApiError::ShuttingDown.into())).await),
                },
                () = organizer.stop.cancelled() => {
                    return drop(send.send(Err(ApiError::ShuttingDown.into())).await);
                }
                () = send.closed() => return,
            }
        }
    });
    ReceiverStream::new(stream)
}

fn response(view: &ParticipantView) -> pb::WatchParticipantsResponse {
    let participant = Some(meetings::participant(&view.row, view.connected_since, &view.remarks));
    pb::WatchParticipantsResponse { participant }
}
