//! A scheduler, and those who use it.

use std::path::Path;
use std::time::Duration;

use quorate::app::serve::{Scheduler, Settings, Storage};
use quorate::grpc::CallerLimits;
use tonic::transport::Channel;

use super::pb::participant_service_client::ParticipantServiceClient;
use super::pb::scheduler_service_client::SchedulerServiceClient;
use super::{Ask, Host, Person, pb, within};

pub type Client = SchedulerServiceClient<Channel>;
pub type Agents = ParticipantServiceClient<Channel>;

/// A scheduler with its store in memory or in a folder, and a client.
pub struct World {
    pub scheduler: Scheduler,
    pub client: Client,
}

impl World {
    pub async fn start() -> Self {
        Self::start_on(Storage::Memory).await
    }

    pub async fn start_in(folder: &Path) -> Self {
        Self::start_on(Storage::Dir(folder.to_owned())).await
    }

    async fn start_on(storage: Storage) -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let scheduler = Scheduler::start(Settings::new(listen, storage)).await.expect("a scheduler");
        let client = client_of(&scheduler.url()).await;
        Self { scheduler, client }
    }

    /// With other limits for each caller.
    pub async fn start_limited(limits: CallerLimits) -> Self {
        Self::start_as(|settings| settings.limits = limits).await
    }

    /// With a port for operators.
    pub async fn start_with_admin() -> Self {
        Self::start_as(|settings| settings.admin = Some("127.0.0.1:0".parse().unwrap())).await
    }

    /// With other settings than usual.
    pub async fn start_as(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new("127.0.0.1:0".parse().unwrap(), Storage::Memory);
        change(&mut settings);
        let scheduler = Scheduler::start(settings).await.expect("a scheduler");
        let client = client_of(&scheduler.url()).await;
        Self { scheduler, client }
    }

    /// A client that calls from another address of this machine.
    pub async fn client_from(&self, address: &str) -> Client {
        let endpoint =
            Channel::from_shared(self.url()).unwrap().local_address(Some(address.parse().unwrap()));
        Client::new(within("a connection", endpoint.connect()).await.expect("a connection"))
    }

    /// A client of agents' from another address of this machine.
    pub async fn agents_from(&self, address: &str) -> Agents {
        let endpoint =
            Channel::from_shared(self.url()).unwrap().local_address(Some(address.parse().unwrap()));
        Agents::new(within("a connection", endpoint.connect()).await.expect("a connection"))
    }

    /// A host with these people, connected and registered.
    pub async fn host(&self, people: Vec<Person>) -> Host {
        let mut host = Host::new(people);
        host.connect(&self.scheduler.url()).await;
        host
    }

    pub fn url(&self) -> String {
        self.scheduler.url()
    }

    /// Schedules, and expects an answer.
    pub async fn schedule(&self, ask: Ask) -> pb::Meeting {
        self.try_schedule(ask).await.expect("an answer")
    }

    pub async fn try_schedule(&self, ask: Ask) -> Result<pb::Meeting, tonic::Status> {
        let mut client = self.client.clone();
        let answer = within("a decision", client.schedule_meeting(ask.0)).await?;
        Ok(answer.into_inner().meeting.expect("a meeting"))
    }

    /// Schedules by a deadline. The scheduler answers a moment before it; where a busy machine lets the caller's own clock
    /// be first, the same request, asked again, is answered with what was decided.
    pub async fn schedule_by(&self, deadline: Duration, ask: Ask) -> pb::Meeting {
        let request = ask.request_id(&uuid::Uuid::new_v4().to_string()).0;
        let mut client = self.client.clone();
        match within("a decision", client.schedule_meeting(by(deadline, request.clone()))).await {
            Ok(answer) => answer.into_inner().meeting.expect("a meeting"),
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::Cancelled, "the caller's own clock: {status}");
                self.schedule(Ask(request)).await
            }
        }
    }

    /// How many requests the scheduler works on.
    pub async fn in_flight(&self) -> usize {
        let vitals = self.scheduler.engine().vitals(0).await.expect("vitals");
        vitals.gauges.expect("the store is in order").live.iter().map(|(_, count)| count).sum()
    }

    /// Waits until it works on so many.
    pub async fn until_in_flight(&self, count: usize) {
        within(&format!("{count} requests are worked on"), async {
            while self.in_flight().await != count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Schedules in the background.
    pub fn spawn_schedule(&self, ask: Ask) -> tokio::task::JoinHandle<Result<pb::Meeting, tonic::Status>> {
        let mut client = self.client.clone();
        tokio::spawn(async move {
            let answer = within("a decision", client.schedule_meeting(ask.0)).await?;
            Ok(answer.into_inner().meeting.expect("a meeting"))
        })
    }

    /// Schedules, and expects it to be booked.
    pub async fn book(&self, ask: Ask) -> pb::Meeting {
        let meeting = self.schedule(ask).await;
        assert_eq!(meeting.state(), pb::meeting::State::Confirmed, "{:?}", meeting.failure);
        meeting
    }

    pub async fn get(&self, meeting: &pb::Meeting) -> pb::Meeting {
        get(&self.client, &meeting.meeting_id).await
    }

    pub async fn reschedule(
        &self,
        request: pb::RescheduleMeetingRequest,
    ) -> Result<pb::RescheduleMeetingResponse, tonic::Status> {
        let mut client = self.client.clone();
        within("a decision", client.reschedule_meeting(request)).await.map(tonic::Response::into_inner)
    }

    pub async fn update(
        &self,
        request: pb::UpdateMeetingRequest,
    ) -> Result<pb::UpdateMeetingResponse, tonic::Status> {
        let mut client = self.client.clone();
        within("a decision", client.update_meeting(request)).await.map(tonic::Response::into_inner)
    }

    pub async fn cancel(&self, meeting_id: &str, etag: &str) -> Result<pb::Meeting, tonic::Status> {
        let mut client = self.client.clone();
        let request = pb::CancelMeetingRequest { meeting_id: meeting_id.into(), etag: etag.into() };
        let answer = within("a decision", client.cancel_meeting(request)).await?;
        Ok(answer.into_inner().meeting.expect("a meeting"))
    }

    pub async fn list(&self, request: pb::ListMeetingsRequest) -> pb::ListMeetingsResponse {
        let mut client = self.client.clone();
        within("a list", client.list_meetings(request)).await.expect("a list").into_inner()
    }

    /// Events from after this sequence; none: from now on.
    pub async fn watch(&self, resume_after: Option<u64>) -> Events {
        self.watch_for(pb::WatchMeetingsRequest { resume_after, ..Default::default() }).await
    }

    pub async fn watch_for(&self, request: pb::WatchMeetingsRequest) -> Events {
        let mut client = self.client.clone();
        let stream = within("a watch", client.watch_meetings(request)).await.expect("a watch");
        Events { stream: stream.into_inner() }
    }

    /// Waits until a participant is connected, or is not.
    pub async fn until_connected(&self, id: &str, connected: bool) {
        until_connected(&self.client, id, connected).await;
    }

    pub async fn counters(&self) -> quorate::core::coordinator::Counters {
        self.scheduler.engine().vitals(0).await.expect("vitals").counters
    }
}

pub async fn client_of(url: &str) -> Client {
    let client = within("a connection", Client::connect(url.to_owned())).await;
    client.expect("a connection").max_decoding_message_size(64 << 20)
}

pub async fn get(client: &Client, meeting_id: &str) -> pb::Meeting {
    let request = pb::GetMeetingRequest { meeting_id: meeting_id.into() };
    let answer = within("a meeting", client.clone().get_meeting(request)).await.expect("a meeting");
    answer.into_inner().meeting.expect("a meeting")
}

pub async fn until_connected(client: &Client, id: &str, connected: bool) {
    let mut client = client.clone();
    let watched = client.watch_participants(pb::WatchParticipantsRequest {});
    let mut stream = within("a watch", watched).await.expect("a watch").into_inner();
    within(&format!("{id} is connected: {connected}"), async {
        while let Some(next) = stream.message().await.expect("a participant") {
            let participant = next.participant.expect("a participant");
            if participant.participant_id == id && participant.connected == connected {
                return;
            }
        }
        panic!("the watch ended");
    })
    .await;
}

/// Events of meetings.
pub struct Events {
    pub stream: tonic::Streaming<pb::WatchMeetingsResponse>,
}

impl Events {
    pub async fn next(&mut self) -> Result<pb::MeetingEvent, tonic::Status> {
        let next = within("an event", self.stream.message()).await?;
        Ok(next.expect("an event").event.expect("an event"))
    }

    /// The next event of this type.
    pub async fn until(&mut self, kind: pb::meeting_event::Type) -> pb::MeetingEvent {
        loop {
            let event = self.next().await.expect("an event");
            if event.r#type() == kind {
                return event;
            }
        }
    }
}

/// A request with a deadline of its own.
pub fn by<T>(deadline: Duration, request: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(request);
    request.set_timeout(deadline);
    request
}
