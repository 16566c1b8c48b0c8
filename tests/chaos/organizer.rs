//! Organizers: real clients that book, move, change and cancel, and ask again when they don't know.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use pb::scheduler_service_client::SchedulerServiceClient;
use quorate::core::random::Random;
use quorate::wire::pb;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::calls::{Call, Kind, Log, Outcome, Seen};
use super::support::{PATIENCE, chance, millis, one};
use super::world::MONDAY;

/// Meetings that one organizer keeps booked; with more it cancels.
const KEPT: usize = 12;
/// Longest that a patient caller waits for an answer.
const PATIENT: Duration = Duration::from_secs(9);
/// Longest pause of a caller who was told UNAVAILABLE, in milliseconds.
const AGAIN: u64 = 150;

pub type Client = SchedulerServiceClient<Channel>;

/// A client that connects when it has to, and again.
pub fn client(url: &str) -> Client {
    let endpoint = Endpoint::from_shared(url.to_owned()).expect("a URL");
    let endpoint = endpoint
        .connect_timeout(Duration::from_secs(2))
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5));
    Client::new(endpoint.connect_lazy()).max_decoding_message_size(64 << 20)
}

pub struct Organizer {
    name: String,
    random: Random,
    client: Client,
    log: Log,
    people: Vec<String>,
    /// The organizer's booked meetings, as they were last seen.
    mine: BTreeMap<String, Seen>,
    /// Requests whose outcome is not known.
    open: Vec<pb::ScheduleMeetingRequest>,
    /// Meetings of which it is not known whether a change was made.
    doubtful: BTreeSet<String>,
}

fn instant(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

fn minutes(n: i64) -> prost_types::Duration {
    prost_types::Duration { seconds: n * 60, nanos: 0 }
}

fn seen(meeting: &pb::Meeting) -> Seen {
    use pb::attendee_outcome::Status::Attending;
    let attending = meeting.attendees.iter().filter(|attendee| attendee.status() == Attending);
    let mut attending: Vec<String> = attending.map(|attendee| attendee.participant_id.clone()).collect();
    attending.sort();
    let second = |at: &Option<prost_types::Timestamp>| at.as_ref().expect("a time").seconds;
    Seen {
        meeting: meeting.meeting_id.clone(),
        request: meeting.request_id.clone(),
        state: meeting.state().as_str_name().trim_start_matches("STATE_").to_owned(),
        etag: meeting.etag.clone(),
        slot: meeting.slot.as_ref().map(|slot| (second(&slot.start_time), second(&slot.end_time))),
        attending,
    }
}

/// What a status tells its caller.
pub fn told(status: &Status) -> Outcome {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let code = format!("{:?}", status.code());
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::Aborted
        | Code::FailedPrecondition
        | Code::ResourceExhausted => Outcome::Refused { code, reason },
        _ => Outcome::Unknown { code, reason, words: status.message().to_owned() },
    }
}

/// A request of half an hour to an hour and a half in the campaign's week.
pub fn ask(random: &mut Random, organizer: &str, people: &[String]) -> pb::ScheduleMeetingRequest {
    let mut attendees = Vec::new();
    let count = people.len().min(2 + random.below(3) as usize);
    while attendees.len() < count {
        let id = one(random, people).clone();
        if !attendees.iter().any(|attendee: &pb::Attendee| attendee.participant_id == id) {
            let roles = [pb::attendee::Role::Required, pb::attendee::Role::Invited];
            let role = match chance(random, 15) && !attendees.is_empty() {
                true => pb::attendee::Role::Optional,
                false => *one(random, &roles),
            };
            attendees.push(pb::Attendee { participant_id: id, role: role.into() });
        }
    }
    let needed = attendees.iter().filter(|attendee| attendee.role() != pb::attendee::Role::Optional).count();
    let fewer = chance(random, 20) && needed > 2;
    // Some want one morning, whoever is booked there already.
    let urgent = chance(random, 20);
    let last = if urgent { 11 } else { 4 * 24 + 18 };
    let window = pb::Window {
        earliest: Some(instant(MONDAY + 8 * 3600)),
        latest: Some(instant(MONDAY + last * 3600)),
        time_zone: "UTC".into(),
        step: Some(minutes(30)),
        ..Default::default()
    };
    pb::ScheduleMeetingRequest {
        request_id: random.uuid(),
        spec: Some(pb::MeetingSpec {
            title: format!("Review {}", random.below(1_000)),
            organizer: organizer.to_owned(),
            attendees,
            duration: Some(minutes(30 * (1 + random.below(3) as i64))),
            minimum_participants: if fewer { needed as i32 - 1 } else { 0 },
            priority: if urgent { 4 + random.below(2) as i32 } else { 1 + random.below(3) as i32 },
            displace: urgent,
            displaceable: chance(random, 70),
            window: Some(window),
            buffer_before: chance(random, 10).then(|| minutes(15)),
            ..Default::default()
        }),
        response_timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        connect_timeout: chance(random, 50).then_some(prost_types::Duration { seconds: 2, nanos: 0 }),
        max_attempts: 5,
        ..Default::default()
    }
}

impl Organizer {
    pub fn new(name: &str, seed: u64, url: &str, people: &[String], log: &Path) -> Self {
        Self {
            name: name.to_owned(),
            random: Random::new(seed),
            client: client(url),
            log: Log::create(log),
            people: people.to_vec(),
            mine: BTreeMap::new(),
            open: Vec::new(),
            doubtful: BTreeSet::new(),
        }
    }

    /// Works until it is told to stop; a call that has begun is waited for.
    pub async fn work(&mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let outcome = self.step().await;
            if matches!(&outcome, Some(Outcome::Unknown { .. })) {
                tokio::time::sleep(millis(&mut self.random, 1, AGAIN)).await;
            }
        }
    }

    /// Asks for one meeting; none if it is not known what became of it.
    pub async fn book(&mut self, request: pb::ScheduleMeetingRequest) -> Option<Seen> {
        match self.schedule(request, PATIENT).await {
            Outcome::Answered(seen) => Some(seen),
            Outcome::Refused { code, reason } => panic!("refused: {code} {reason}"),
            Outcome::Unknown { .. } => None,
        }
    }

    /// Asks until everything is known: what became of each request and each change.
    pub async fn resolve(&mut self) {
        let all = async {
            while let Some(request) = self.open.pop() {
                self.schedule(request, PATIENT).await;
            }
            while let Some(id) = self.doubtful.first().cloned() {
                self.get(&id).await;
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            panic!("{}: {} requests and {:?} are still unknown", self.name, self.open.len(), self.doubtful);
        }
        for id in self.mine.keys().cloned().collect::<Vec<_>>() {
            self.get(&id).await;
        }
    }

    async fn step(&mut self) -> Option<Outcome> {
        let dice = self.random.below(100);
        if !self.open.is_empty() && dice < 40 {
            let at = self.random.below(self.open.len() as u64) as usize;
            let request = self.open.swap_remove(at);
            return Some(self.schedule(request, PATIENT).await);
        }
        let ids: Vec<String> = self.mine.keys().cloned().collect();
        if ids.is_empty() || (dice < 60 && ids.len() < KEPT) {
            let request = ask(&mut self.random, &self.name, &self.people);
            // Some hang up before they can know.
            let patience = match chance(&mut self.random, 10) {
                true => millis(&mut self.random, 20, 800),
                false => PATIENT,
            };
            return Some(self.schedule(request, patience).await);
        }
        let id = one(&mut self.random, &ids).clone();
        if self.doubtful.contains(&id) {
            return Some(self.get(&id).await);
        }
        Some(match self.random.below(100) {
            0..40 => self.reschedule(&id).await,
            40..70 => self.update(&id).await,
            _ => self.cancel(&id).await,
        })
    }

    async fn schedule(&mut self, request: pb::ScheduleMeetingRequest, patience: Duration) -> Outcome {
        let mut client = self.client.clone();
        let asked = by(patience, request.clone());
        let answer = answer(patience, client.schedule_meeting(asked)).await;
        let outcome = outcome(answer.map(|answer| answer.meeting));
        if matches!(outcome, Outcome::Unknown { .. }) {
            self.open.push(request.clone());
        }
        self.note(Kind::Schedule, request.request_id, String::new(), outcome)
    }

    async fn reschedule(&mut self, id: &str) -> Outcome {
        let request = pb::RescheduleMeetingRequest {
            meeting_id: id.to_owned(),
            etag: self.etag(id),
            response_timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            max_attempts: 5,
            ..Default::default()
        };
        let mut client = self.client.clone();
        let answer = answer(PATIENT, client.reschedule_meeting(by(PATIENT, request))).await;
        self.changed(Kind::Reschedule, id, outcome(answer.map(|answer| answer.meeting)))
    }

    async fn update(&mut self, id: &str) -> Outcome {
        let mut spec =
            pb::MeetingSpec { title: format!("Changed {}", self.random.below(1_000)), ..Default::default() };
        let mut paths = vec!["title".to_owned()];
        if chance(&mut self.random, 70) {
            let mut people: BTreeSet<String> = self.mine[id].attending.iter().cloned().collect();
            match chance(&mut self.random, 50) && people.len() > 2 {
                true => drop(people.pop_first()),
                false => drop(people.insert(one(&mut self.random, &self.people).clone())),
            }
            let attendee = |id: String| pb::Attendee { participant_id: id, ..Default::default() };
            spec.attendees = people.into_iter().map(attendee).collect();
            spec.minimum_participants = 0;
            paths.extend(["attendees".to_owned(), "minimum_participants".to_owned()]);
        }
        let request = pb::UpdateMeetingRequest {
            meeting_id: id.to_owned(),
            etag: self.etag(id),
            spec: Some(spec),
            update_mask: Some(prost_types::FieldMask { paths }),
            response_timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        };
        let mut client = self.client.clone();
        let answer = answer(PATIENT, client.update_meeting(by(PATIENT, request))).await;
        self.changed(Kind::Update, id, outcome(answer.map(|answer| answer.meeting)))
    }

    async fn cancel(&mut self, id: &str) -> Outcome {
        let request = pb::CancelMeetingRequest { meeting_id: id.to_owned(), etag: self.etag(id) };
        let mut client = self.client.clone();
        let answer = answer(PATIENT, client.cancel_meeting(by(PATIENT, request))).await;
        self.changed(Kind::Cancel, id, outcome(answer.map(|answer| answer.meeting)))
    }

    async fn get(&mut self, id: &str) -> Outcome {
        let request = pb::GetMeetingRequest { meeting_id: id.to_owned() };
        let mut client = self.client.clone();
        let answer = answer(PATIENT, client.get_meeting(by(PATIENT, request))).await;
        let outcome = outcome(answer.map(|answer| answer.meeting));
        if matches!(outcome, Outcome::Answered(_)) {
            self.doubtful.remove(id);
        }
        self.note(Kind::Get, String::new(), id.to_owned(), outcome)
    }

    fn etag(&mut self, id: &str) -> String {
        match chance(&mut self.random, 80) {
            true => self.mine[id].etag.clone(),
            false => String::new(),
        }
    }

    /// After an error nobody knows, and after a refusal the meeting may be another one than was believed.
    fn changed(&mut self, kind: Kind, id: &str, outcome: Outcome) -> Outcome {
        if !matches!(outcome, Outcome::Answered(_)) {
            self.doubtful.insert(id.to_owned());
        }
        self.note(kind, String::new(), id.to_owned(), outcome)
    }

    fn note(&mut self, kind: Kind, request: String, meeting: String, outcome: Outcome) -> Outcome {
        if let Outcome::Answered(seen) = &outcome {
            match seen.state == "CONFIRMED" {
                true => drop(self.mine.insert(seen.meeting.clone(), seen.clone())),
                false => drop(self.mine.remove(&seen.meeting)),
            }
        }
        self.log.write(&Call { kind, request, meeting, outcome: outcome.clone() });
        outcome
    }
}

fn by<T>(deadline: Duration, request: T) -> Request<T> {
    let mut request = Request::new(request);
    request.set_timeout(deadline);
    request
}

/// The answer, or what a caller is left with when none comes.
async fn answer<T>(
    patience: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    // The client's own timer may be late: the connection may still be being made.
    match tokio::time::timeout(patience + Duration::from_secs(1), call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("the caller left")),
    }
}

fn outcome(answer: Result<Option<pb::Meeting>, Status>) -> Outcome {
    match answer {
        Ok(meeting) => Outcome::Answered(seen(&meeting.expect("an answer has a meeting"))),
        Err(status) => told(&status),
    }
}
