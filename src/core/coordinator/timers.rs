//! What is due when: one timer a job, one for each participant's deliveries, one for the drain.

use super::*;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    Meeting(u64),
    Deliveries(u64),
    Series,
    Drain,
}

/// Timers are kept by number, so that the set of them stays small and ordered.
#[derive(Clone, Debug, Default)]
pub(super) struct TimerKeys {
    next: u64,
    meetings: HashMap<MeetingId, (u64, Option<Mono>)>,
    meeting_of: HashMap<u64, MeetingId>,
    pub(super) participants: HashMap<ParticipantId, (u64, Option<Mono>)>,
    participant_of: HashMap<u64, ParticipantId>,
}

impl Coordinator {
    pub(super) fn timeouts(&mut self, now: Now) {
        while let Some((at, timer)) = self.timers.first().copied() {
            if at > now.mono {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Meeting(key) => {
                    if let Some(id) = self.timer_keys.meeting_of.get(&key).cloned() {
                        if let Some(entry) = self.timer_keys.meetings.get_mut(&id) {
                            entry.1 = None;
                        }
                        self.meeting_timeout(now, &id);
                    }
                }
                Timer::Deliveries(key) => {
                    if let Some(id) = self.timer_keys.participant_of.get(&key).cloned() {
                        if let Some(entry) = self.timer_keys.participants.get_mut(&id) {
                            entry.1 = None;
                        }
                        self.redeliver(now, &id);
                    }
                }
                Timer::Series => self.look_ahead(now),
                Timer::Drain => self.suspend_all(),
            }
        }
    }

    pub(super) fn set_meeting_timer(&mut self, id: &MeetingId, at: Option<Mono>) {
        let keys = &mut self.timer_keys;
        let entry = keys.meetings.entry(id.clone()).or_insert_with(|| {
            keys.next += 1;
            keys.meeting_of.insert(keys.next, id.clone());
            (keys.next, None)
        });
        if let Some(old) = std::mem::replace(&mut entry.1, at) {
            self.timers.remove(&(old, Timer::Meeting(entry.0)));
        }
        if let Some(at) = at {
            self.timers.insert((at, Timer::Meeting(entry.0)));
        }
    }

    pub(super) fn drop_meeting_timer(&mut self, id: &MeetingId) {
        self.set_meeting_timer(id, None);
        if let Some((key, _)) = self.timer_keys.meetings.remove(id) {
            self.timer_keys.meeting_of.remove(&key);
        }
    }

    /// Nothing is left of the participant's timer.
    pub(super) fn drop_delivery_timer(&mut self, id: &ParticipantId) {
        self.set_delivery_timer(id, None);
        if let Some((key, _)) = self.timer_keys.participants.remove(id) {
            self.timer_keys.participant_of.remove(&key);
        }
    }

    pub(super) fn set_delivery_timer(&mut self, id: &ParticipantId, at: Option<Mono>) {
        if at.is_none() && !self.timer_keys.participants.contains_key(id) {
            return;
        }
        let keys = &mut self.timer_keys;
        let entry = keys.participants.entry(id.clone()).or_insert_with(|| {
            keys.next += 1;
            keys.participant_of.insert(keys.next, id.clone());
            (keys.next, None)
        });
        if let Some(old) = std::mem::replace(&mut entry.1, at) {
            self.timers.remove(&(old, Timer::Deliveries(entry.0)));
        }
        if let Some(at) = at {
            self.timers.insert((at, Timer::Deliveries(entry.0)));
        }
    }
}
