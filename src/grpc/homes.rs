//! Where attendees live: put into answers, so that whoever asks can show everybody's local time.

use std::collections::HashMap;

use crate::core::ids::ParticipantId;
use crate::engine::Directory;
use crate::wire::pb;

/// The zones of the attendees of one answer. Each is looked up once.
#[derive(Debug)]
pub(super) struct Homes<'a> {
    directory: &'a Directory,
    seen: HashMap<String, Home>,
}

/// What is known of one attendee.
#[derive(Clone, Debug, Default)]
struct Home {
    /// IANA zone; may be empty.
    zone: String,
    /// What is wrong with the zone data of their agent; may be empty.
    problem: String,
}

impl<'a> Homes<'a> {
    pub(super) fn new(directory: &'a Directory) -> Self {
        Self { directory, seen: HashMap::new() }
    }

    /// The meeting with its attendees' zones.
    pub(super) fn of_meeting(&mut self, mut meeting: pb::Meeting) -> pb::Meeting {
        self.put(&mut meeting.attendees);
        meeting.failure = meeting.failure.map(|failure| self.of_failure(failure));
        meeting
    }

    /// The failure with its attendees' zones. Those of single attempts are left alone: they are the same people.
    pub(super) fn of_failure(&mut self, mut failure: pb::Failure) -> pb::Failure {
        self.put(&mut failure.attendees);
        failure
    }

    /// The series with its attendees' zones, at each of its occurrences.
    pub(super) fn of_series(&mut self, mut series: pb::Series) -> pb::Series {
        series.occurrences.iter_mut().for_each(|occurrence| self.put(&mut occurrence.attendees));
        series.failure = series.failure.map(|failure| self.of_failure(failure));
        series
    }

    /// Why an occurrence stands as before, with its attendees' zones.
    pub(super) fn of_occurrence_failure(
        &mut self,
        mut failed: pb::OccurrenceFailure,
    ) -> pb::OccurrenceFailure {
        failed.failure = failed.failure.map(|failure| self.of_failure(failure));
        failed
    }

    /// The slots found with their attendees' zones.
    pub(super) fn of_found(
        &mut self,
        mut found: pb::FindMeetingTimesResponse,
    ) -> pb::FindMeetingTimesResponse {
        found.candidates.iter_mut().for_each(|candidate| self.put(&mut candidate.attendees));
        found.failure = found.failure.map(|failure| self.of_failure(failure));
        found
    }

    fn put(&mut self, outcomes: &mut [pb::AttendeeOutcome]) {
        for outcome in outcomes {
            let home = self.home(&outcome.participant_id);
            outcome.time_zone.clone_from(&home.zone);
            if !home.problem.is_empty() {
                let gap = if outcome.detail.is_empty() { "" } else { "; " };
                outcome.detail = format!("{}{gap}{}", outcome.detail, home.problem);
            }
        }
    }

    fn home(&mut self, id: &str) -> &Home {
        let directory = self.directory;
        self.seen.entry(id.to_owned()).or_insert_with(|| {
            let view = directory.get(&ParticipantId::new(id));
            view.map_or_else(Home::default, |view| Home {
                zone: view.row.time_zone.clone().unwrap_or_default(),
                problem: view.remarks.zone.problem().unwrap_or_default().to_owned(),
            })
        })
    }
}
