//! Organizers: real clients that book, move and cancel, and ask again whenever they don't know.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use pb::scheduler_service_client::SchedulerServiceClient;
use quorate::core::random::Random;
use quorate::wire::pb;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::net;

/// Monday 2034-07-10 00:00 UTC: what lies ahead for as long as these tests will be run.
const MONDAY: i64 = 1_721_606_400 + 520 * 7 * 24 * 3600;
/// Meetings that one organizer keeps booked.
const KEPT: usize = 5;
/// How long a caller waits for an answer.
const PATIENT: Duration = Duration::from_secs(8);
/// The pace of a caller.
const PACE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(1_200));
/// Pause of a caller who was told nothing.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A meeting as an answer showed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub meeting: String,
    pub state: pb::meeting::State,
    pub version: u64,
    /// In seconds since 1970.
    pub slot: Option<(i64, i64)>,
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Answered(Seen),
    /// With an error that says that nothing was done.
    Refused(Code),
    /// With an error after which the caller does not know what was done.
    Unknown(Code),
}

/// What one organizer knows, and what it complains of.
#[derive(Default, Debug)]
pub struct Diary {
    /// As each meeting was last seen.
    pub last: BTreeMap<String, Seen>,
    /// Requests whose outcome is not known.
    pub open: Vec<pb::ScheduleMeetingRequest>,
    /// Meetings of which it is not known whether a change was made.
    pub doubtful: BTreeSet<String>,
    /// Which meeting a request id was answered with.
    requests: BTreeMap<String, String>,
    /// Answers that contradict earlier ones.
    pub broken: Vec<String>,
    /// How often each kind of call ended how.
    pub calls: BTreeMap<(&'static str, String), usize>,
    /// One line for each call, with the time.
    pub trace: Vec<String>,
}

pub struct Organizer {
    name: String,
    random: Random,
    client: SchedulerServiceClient<Channel>,
    people: Vec<String>,
    diary: Rc<RefCell<Diary>>,
}

impl Organizer {
    /// To be called on its host.
    pub fn new(name: &str, seed: u64, people: &[String], diary: Rc<RefCell<Diary>>) -> Self {
        let client = SchedulerServiceClient::new(net::channel());
        Self { name: name.to_owned(), random: Random::new(seed), client, people: people.to_vec(), diary }
    }

    /// Works until faults are over, then asks until everything is known.
    pub async fn run(mut self, mut over: watch::Receiver<bool>) -> turmoil::Result {
        while !*over.borrow() {
            self.step().await;
            let pause = self.random.between(PACE.0, PACE.1);
            tokio::time::timeout(pause, over.wait_for(|over| *over)).await.ok();
        }
        loop {
            let request = self.diary.borrow_mut().open.pop();
            let doubtful = self.diary.borrow().doubtful.first().cloned();
            let outcome = match (request, doubtful) {
                (Some(request), _) => self.schedule(request, PATIENT).await,
                (None, Some(id)) => self.get(&id).await,
                (None, None) => break,
            };
            if matches!(outcome, Outcome::Unknown(_)) {
                tokio::time::sleep(self.random.between(AGAIN.0, AGAIN.1)).await;
            }
        }
        let all: Vec<String> = self.diary.borrow().last.keys().cloned().collect();
        for id in all {
            while matches!(self.get(&id).await, Outcome::Unknown(_)) {
                tokio::time::sleep(self.random.between(AGAIN.0, AGAIN.1)).await;
            }
        }
        Ok(())
    }

    async fn step(&mut self) -> Outcome {
        let dice = self.random.below(100);
        if dice < 40 && !self.diary.borrow().open.is_empty() {
            let at = self.random.below(self.diary.borrow().open.len() as u64) as usize;
            let request = self.diary.borrow_mut().open.swap_remove(at);
            return self.schedule(request, PATIENT).await;
        }
        let booked = |seen: &&Seen| seen.state == pb::meeting::State::Confirmed;
        let ids: Vec<String> =
            self.diary.borrow().last.values().filter(booked).map(|seen| seen.meeting.clone()).collect();
        if ids.is_empty() || (dice < 70 && ids.len() < KEPT) {
            let request = self.ask();
            // Some hang up before they can know.
            let patience = match self.random.below(5) {
                0 => self.random.between(Duration::from_millis(20), Duration::from_millis(800)),
                _ => PATIENT,
            };
            return self.schedule(request, patience).await;
        }
        let id = &ids[self.random.below(ids.len() as u64) as usize];
        match self.random.below(3) {
            _ if self.diary.borrow().doubtful.contains(id) => self.get(id).await,
            0..2 => self.reschedule(id).await,
            _ => self.cancel(id).await,
        }
    }

    /// Half an hour to an hour and a half of two days, for two to four of the people.
    fn ask(&mut self) -> pb::ScheduleMeetingRequest {
        let mut people = self.people.clone();
        let count = people.len().min(2 + self.random.below(3) as usize);
        let mut attendees = Vec::new();
        while attendees.len() < count {
            let id = people.swap_remove(self.random.below(people.len() as u64) as usize);
            let roles = [pb::attendee::Role::Required, pb::attendee::Role::Invited];
            let role = roles[self.random.below(2) as usize];
            attendees.push(pb::Attendee { participant_id: id, role: role.into() });
        }
        // Some want one morning, whoever is booked there already.
        let urgent = self.random.below(4) == 0;
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let at = |hour: i64| Some(prost_types::Timestamp { seconds: MONDAY + hour * 3600, nanos: 0 });
        pb::ScheduleMeetingRequest {
            request_id: self.random.uuid(),
            spec: Some(pb::MeetingSpec {
                title: format!("Review {}", self.random.below(1_000)),
                organizer: self.name.clone(),
                minimum_participants: if count > 2 && self.random.below(3) == 0 {
                    count as i32 - 1
                } else {
                    0
                },
                attendees,
                duration: seconds(1_800 * (1 + self.random.below(3) as i64)),
                priority: if urgent { 5 } else { 1 + self.random.below(3) as i32 },
                displace: urgent,
                displaceable: self.random.below(4) > 0,
                window: Some(pb::Window {
                    earliest: at(8),
                    latest: at(if urgent { 10 } else { 24 + 18 }),
                    time_zone: "UTC".into(),
                    step: seconds(1_800),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            response_timeout: seconds(1),
            connect_timeout: if self.random.below(2) == 0 { seconds(2) } else { None },
            max_attempts: 5,
            ..Default::default()
        }
    }

    async fn schedule(&mut self, request: pb::ScheduleMeetingRequest, patience: Duration) -> Outcome {
        let mut client = self.client.clone();
        let answer = answer(patience, client.schedule_meeting(by(patience, request.clone()))).await;
        let outcome = outcome(answer.map(|answer| answer.meeting));
        let mut diary = self.diary.borrow_mut();
        match &outcome {
            Outcome::Answered(seen) => {
                let id = request.request_id.clone();
                let first = diary.requests.entry(id).or_insert_with(|| seen.meeting.clone()).clone();
                if first != seen.meeting {
                    let (id, second) = (&request.request_id, &seen.meeting);
                    diary.broken.push(format!("request {id} was answered with {first} and with {second}"));
                }
            }
            Outcome::Unknown(_) => diary.open.push(request),
            Outcome::Refused(code) => diary.broken.push(format!("a sound request was refused: {code:?}")),
        }
        drop(diary);
        self.note("schedule", "", outcome)
    }

    async fn reschedule(&mut self, id: &str) -> Outcome {
        let request = pb::RescheduleMeetingRequest {
            meeting_id: id.to_owned(),
            response_timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            max_attempts: 5,
            ..Default::default()
        };
        let mut client = self.client.clone();
        let answer = answer(PATIENT, client.reschedule_meeting(by(PATIENT, request))).await;
        self.changed("reschedule", id, outcome(answer.map(|answer| answer.meeting)))
    }

    async fn cancel(&mut self, id: &str) -> Outcome {
        let request = pb::CancelMeetingRequest { meeting_id: id.to_owned(), etag: String::new() };
        let mut client = self.client.clone();
        let answer = answer(PATIENT, client.cancel_meeting(by(PATIENT, request))).await;
        self.changed("cancel", id, outcome(answer.map(|answer| answer.meeting)))
    }

    async fn get(&mut self, id: &str) -> Outcome {
        let request = pb::GetMeetingRequest { meeting_id: id.to_owned() };
        let mut client = self.client.clone();
        let answer = answer(PATIENT, client.get_meeting(by(PATIENT, request))).await;
        let outcome = outcome(answer.map(|answer| answer.meeting));
        if !matches!(outcome, Outcome::Unknown(_)) {
            self.diary.borrow_mut().doubtful.remove(id);
        }
        self.note("get", id, outcome)
    }

    fn changed(&mut self, kind: &'static str, id: &str, outcome: Outcome) -> Outcome {
        if !matches!(outcome, Outcome::Answered(_)) {
            self.diary.borrow_mut().doubtful.insert(id.to_owned());
        }
        self.note(kind, id, outcome)
    }

    fn note(&mut self, kind: &'static str, id: &str, outcome: Outcome) -> Outcome {
        let mut diary = self.diary.borrow_mut();
        let at = turmoil::sim_elapsed().unwrap_or_default();
        diary.trace.push(format!("{at:?} {} {kind} {id}: {outcome:?}", self.name));
        let how = match &outcome {
            Outcome::Answered(seen) => format!("answered {}", seen.state.as_str_name()),
            Outcome::Refused(code) => format!("refused {code:?}"),
            Outcome::Unknown(code) => format!("unknown {code:?}"),
        };
        *diary.calls.entry((kind, how)).or_default() += 1;
        match &outcome {
            Outcome::Answered(seen) => {
                let before = diary.last.insert(seen.meeting.clone(), seen.clone());
                if let Some(before) = before.filter(|before| before.version > seen.version) {
                    diary.broken.push(format!("{before:?} became {seen:?}: it went back"));
                }
            }
            Outcome::Refused(Code::NotFound) => diary.broken.push(format!("{id} was seen and is gone")),
            _ => {}
        }
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
    match tokio::time::timeout(patience, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("the caller left")),
    }
}

fn outcome(answer: Result<Option<pb::Meeting>, Status>) -> Outcome {
    match answer {
        Ok(meeting) => Outcome::Answered(seen(&meeting.expect("an answer has a meeting"))),
        Err(status) => match status.code() {
            code @ (Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::Aborted
            | Code::FailedPrecondition) => Outcome::Refused(code),
            code => Outcome::Unknown(code),
        },
    }
}

fn seen(meeting: &pb::Meeting) -> Seen {
    let second = |at: &Option<prost_types::Timestamp>| at.as_ref().expect("a time").seconds;
    Seen {
        meeting: meeting.meeting_id.clone(),
        state: meeting.state(),
        version: meeting.etag.strip_prefix('v').and_then(|v| v.parse().ok()).expect("an etag"),
        slot: meeting.slot.as_ref().map(|slot| (second(&slot.start_time), second(&slot.end_time))),
    }
}
