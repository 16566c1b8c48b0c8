//! What must be so at the end.

use quorate::core::ids::MeetingId;
use quorate::core::invariants::{self, AgentView, Decisions, StoreView};
use quorate::core::model::{Meeting, MeetingState};
use quorate::core::record::AttemptState;
use quorate::wire::pb;

use super::organizer::{Diary, Seen};

/// Whether nothing is in flight, by the store.
pub fn at_rest(store: &StoreView) -> bool {
    let sought = [MeetingState::Scheduling, MeetingState::Displaced];
    store.deliveries.is_empty()
        && store.attempts.values().all(|row| row.state != AttemptState::Holding)
        && store.meetings.values().all(|meeting| !sought.contains(&meeting.state))
}

/// All that is wrong, in words.
pub fn judge(store: &StoreView, agents: &[AgentView], decisions: &mut Decisions) -> Vec<String> {
    let found = invariants::check(store, agents, decisions);
    let unsettled = invariants::agents_equal_store(store, agents);
    found.into_iter().chain(unsettled).map(|violation| violation.to_string()).collect()
}

/// Whether the meeting lost its slot after its organizer saw it last: to a meeting that the store has.
pub fn displaced_since(store: &StoreView, meeting: &Meeting, seen: &Seen) -> bool {
    let by = meeting.displaced_by.as_ref().and_then(|by| store.meetings.get(by));
    let priority = |m: &Meeting| m.rank.priority;
    meeting.version > seen.version && by.is_some_and(|by| priority(by) > priority(meeting))
}

/// What organizers were told last is what the store has: nobody else changes their meetings, but by displacing them.
pub fn last_words(store: &StoreView, diary: &Diary) -> Vec<String> {
    let mut broken = diary.broken.clone();
    broken.extend(diary.open.iter().map(|request| format!("request {} is open", request.request_id)));
    broken.extend(diary.doubtful.iter().map(|id| format!("a change of {id} is open")));
    for seen in diary.last.values() {
        let Some(meeting) = store.meetings.get(&MeetingId::new(&*seen.meeting)) else {
            broken.push(format!("{seen:?} is not in the store"));
            continue;
        };
        let slot = meeting.slot.as_ref().map(|slot| (slot.start.timestamp(), slot.end.timestamp()));
        let booked =
            (meeting.state == MeetingState::Confirmed) == (seen.state == pb::meeting::State::Confirmed);
        if displaced_since(store, meeting, seen) {
            continue;
        }
        if !booked || meeting.version != seen.version || slot != seen.slot {
            broken.push(format!("{seen:?} is {:?} {slot:?} v{}", meeting.state, meeting.version));
        }
    }
    broken
}
