//! Times and requests, in few words. All times are hours of Monday 2024-07-22 in UTC, unless said otherwise.

use std::time::Duration;

use super::pb;

/// Monday 2024-07-22 00:00 UTC.
pub const MONDAY: i64 = 1_721_606_400;

/// Hours from that Monday to one in 2034: what lies ahead, for as long as these tests will be run.
pub const AHEAD: i64 = 520 * 7 * 24;

pub fn instant(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

pub fn length(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap()
}

pub fn minutes(n: u64) -> prost_types::Duration {
    length(Duration::from_secs(n * 60))
}

/// From one hour of the Monday to another; 24 and more is the day after.
pub fn hours(from: i64, until: i64) -> pb::TimeRange {
    seconds(MONDAY + from * 3600, MONDAY + until * 3600)
}

pub fn seconds(from: i64, until: i64) -> pb::TimeRange {
    pb::TimeRange { start_time: Some(instant(from)), end_time: Some(instant(until)) }
}

/// The hours of the Monday that a range begins and ends at.
pub fn as_hours(range: &pb::TimeRange) -> (i64, i64) {
    let hour = |at: &Option<prost_types::Timestamp>| {
        let seconds = at.unwrap().seconds - MONDAY;
        assert_eq!(seconds % 3600, 0, "a whole hour");
        seconds / 3600
    };
    (hour(&range.start_time), hour(&range.end_time))
}

pub fn in_seconds(range: &pb::TimeRange) -> (i64, i64) {
    (range.start_time.unwrap().seconds, range.end_time.unwrap().seconds)
}

/// The hours of a meeting's slot.
pub fn slot_of(meeting: &pb::Meeting) -> (i64, i64) {
    as_hours(meeting.slot.as_ref().expect("a meeting with a slot"))
}

/// The ids of those with a status, in the meeting's order.
pub fn with_status(meeting: &pb::Meeting, status: pb::attendee_outcome::Status) -> Vec<&str> {
    let of = meeting.attendees.iter().filter(|a| a.status() == status);
    of.map(|a| a.participant_id.as_str()).collect()
}

pub fn attending(meeting: &pb::Meeting) -> Vec<&str> {
    with_status(meeting, pb::attendee_outcome::Status::Attending)
}

/// The hours and outcomes of an attempt log.
pub fn tried(log: &[pb::AttemptLogEntry]) -> Vec<(i64, pb::attempt_log_entry::Outcome)> {
    for (index, entry) in log.iter().enumerate() {
        assert_eq!(entry.number as usize, index + 1, "attempts are numbered from 1");
    }
    log.iter().map(|entry| (as_hours(entry.slot.as_ref().unwrap()).0, entry.outcome())).collect()
}

pub fn failure(meeting: &pb::Meeting) -> &pb::Failure {
    assert_eq!(meeting.state(), pb::meeting::State::Failed, "{meeting:?}");
    meeting.failure.as_ref().expect("a failed meeting says why")
}

pub fn attendee(id: &str, role: pb::attendee::Role) -> pb::Attendee {
    pb::Attendee { participant_id: id.into(), role: role.into() }
}

/// The longest that a request may wait for answers.
pub const UNHURRIED: Duration = Duration::from_secs(60);

/// A meeting of one hour, on the hour, between 8 and 17 of the Monday, of these people. Whoever answers late because the
/// machine is busy is waited for: a test that is about silence says how long it waits.
pub fn ask(people: &[&str]) -> Ask {
    let invited = |id: &&str| attendee(id, pb::attendee::Role::Unspecified);
    Ask(pb::ScheduleMeetingRequest {
        spec: Some(pb::MeetingSpec {
            title: "Review".into(),
            attendees: people.iter().map(invited).collect(),
            duration: Some(minutes(60)),
            window: Some(pb::Window {
                earliest: hours(8, 9).start_time,
                latest: hours(16, 17).end_time,
                time_zone: "UTC".into(),
                step: Some(minutes(60)),
                ..Default::default()
            }),
            ..Default::default()
        }),
        response_timeout: Some(length(UNHURRIED)),
        ..Default::default()
    })
}

/// A request in the making.
#[derive(Clone, Debug)]
pub struct Ask(pub pb::ScheduleMeetingRequest);

impl Ask {
    pub fn spec(mut self, change: impl FnOnce(&mut pb::MeetingSpec)) -> Self {
        change(self.0.spec.as_mut().unwrap());
        self
    }

    pub fn window(self, change: impl FnOnce(&mut pb::Window)) -> Self {
        self.spec(|spec| change(spec.window.as_mut().unwrap()))
    }

    pub fn title(self, title: &str) -> Self {
        self.spec(|spec| spec.title = title.into())
    }

    pub fn minimum(self, minimum: i32) -> Self {
        self.spec(|spec| spec.minimum_participants = minimum)
    }

    pub fn priority(self, priority: i32) -> Self {
        self.spec(|spec| spec.priority = priority)
    }

    pub fn role(self, id: &str, role: pb::attendee::Role) -> Self {
        self.spec(|spec| {
            let found = spec.attendees.iter_mut().find(|a| a.participant_id == id);
            found.expect("an attendee").role = role.into();
        })
    }

    pub fn required(self, id: &str) -> Self {
        self.role(id, pb::attendee::Role::Required)
    }

    pub fn objective(self, objective: pb::meeting_spec::Objective) -> Self {
        self.spec(|spec| spec.objective = objective.into())
    }

    /// The window, in hours of the Monday.
    pub fn between(self, from: i64, until: i64) -> Self {
        let range = hours(from, until);
        self.window(|window| (window.earliest, window.latest) = (range.start_time, range.end_time))
    }

    /// Slot by slot.
    pub fn one_by_one(mut self) -> Self {
        self.0.max_candidates_per_round = 1;
        self
    }

    pub fn attempts(mut self, most: i32) -> Self {
        self.0.max_attempts = most;
        self
    }

    /// Exactly this slot.
    pub fn at(mut self, from: i64, until: i64) -> Self {
        self.0.slot = Some(hours(from, until));
        self
    }

    pub fn request_id(mut self, id: &str) -> Self {
        self.0.request_id = id.into();
        self
    }

    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.0.response_timeout = Some(length(timeout));
        self
    }

    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.0.connect_timeout = Some(length(timeout));
        self
    }
}
