//! One booking at a time, end to end, beside what it is made of: a bare fan-out over the same transport, and a sync.
//!
//! `cargo bench --bench schedule` prints medians and ratios measured in one run, interleaved. Everything is real:
//! TCP on loopback, the SQLite store on disk, the shipped agents with their journals on disk.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate::agent::{self, AgentConfig, AgentHandle, ParticipantConfig};
use quorate::app::serve::{Scheduler, Settings, Storage};
use quorate::core::availability::Disclosure;
use quorate::core::ids::ParticipantId;
use quorate::wire::pb;
use quorate::wire::pb::participant_service_client::ParticipantServiceClient;
use quorate::wire::pb::participant_service_server::{ParticipantService, ParticipantServiceServer};
use quorate::wire::pb::scheduler_service_client::SchedulerServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Bookings of each kind.
const RUNS: usize = 300;
/// Left out at the beginning.
const WARM_UP: usize = 30;

fn main() -> Result<(), Error> {
    let runtime = tokio::runtime::Runtime::new()?;
    for people in [3, 5] {
        runtime.block_on(compare(people))?;
    }
    Ok(())
}

async fn compare(people: usize) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let scheduler =
        Scheduler::start(Settings::new(([127, 0, 0, 1], 0).into(), Storage::Dir(folder.path().join("s"))))
            .await?;
    let names: Vec<String> = (0..people).map(|i| format!("p{i}")).collect();
    let mut agents = Vec::new();
    for name in &names {
        agents.push(start_agent(&scheduler, folder.path(), name).await?);
    }
    let mut client = SchedulerServiceClient::connect(scheduler.url()).await?;
    let mut bare = Bare::start(people).await?;
    let mut file = std::fs::File::create(folder.path().join("sync"))?;
    let (mut booked, mut fanned, mut synced) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..RUNS + WARM_UP {
        let begun = Instant::now();
        book(&mut client, &names, run).await?;
        booked.push(begun.elapsed());
        let begun = Instant::now();
        bare.round().await?;
        fanned.push(begun.elapsed());
        let begun = Instant::now();
        file.write_all(&[7; 200])?;
        file.sync_data()?;
        synced.push(begun.elapsed());
    }
    let [booked, fanned, synced] = [booked, fanned, synced].map(|mut times| {
        times.drain(..WARM_UP);
        times.sort_unstable();
        times
    });
    let at = |times: &[Duration], percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e3;
    println!(
        "{people} agents, a stream each: ScheduleMeeting p50 {:.2} ms, p95 {:.2} ms; bare fan-out p50 {:.3} ms; \
         one sync p50 {:.3} ms; ScheduleMeeting / (fan-out + sync) = {:.1}",
        at(&booked, 50),
        at(&booked, 95),
        at(&fanned, 50),
        at(&synced, 50),
        at(&booked, 50) / (at(&fanned, 50) + at(&synced, 50)),
    );
    for agent in agents {
        agent.stop().await?;
    }
    Ok(scheduler.stop().await?)
}

async fn start_agent(
    scheduler: &Scheduler,
    folder: &std::path::Path,
    name: &str,
) -> Result<AgentHandle, Error> {
    let calendar = folder.join(format!("{name}.ics"));
    std::fs::write(&calendar, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//bench//EN\r\nEND:VCALENDAR\r\n")?;
    let handle = agent::start(AgentConfig {
        scheduler: scheduler.url(),
        participants: vec![ParticipantConfig {
            id: ParticipantId::new(name),
            display_name: None,
            calendar,
            zone: None,
            working_hours: None,
            disclosure: Disclosure::AskedSlotsOnly,
            tentative_blocks: true,
            reading: Default::default(),
            output: folder.join(format!("{name}.quorate.ics")),
        }],
        folder: None,
        data_dir: folder.join(format!("journal-{name}")),
    })
    .await?;
    handle.ready().await?;
    Ok(handle)
}

/// Each booking has a day of its own, so that nothing stands in its way.
async fn book(
    client: &mut SchedulerServiceClient<Channel>,
    names: &[String],
    run: usize,
) -> Result<(), Error> {
    let second = |seconds: i64| prost_types::Timestamp { seconds, nanos: 0 };
    let day = 1_800_000_000 / 86_400 * 86_400 + run as i64 * 86_400;
    let spec = pb::MeetingSpec {
        title: "bench".into(),
        attendees: names
            .iter()
            .map(|name| pb::Attendee { participant_id: name.clone(), ..Default::default() })
            .collect(),
        duration: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
        window: Some(pb::Window {
            earliest: Some(second(day)),
            latest: Some(second(day + 86_400)),
            working_hours: Some(pb::WorkingHours { unrestricted: true, ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = pb::ScheduleMeetingRequest { spec: Some(spec), ..Default::default() };
    let meeting = client.schedule_meeting(request).await?.into_inner().meeting.unwrap_or_default();
    match meeting.state() {
        pb::meeting::State::Confirmed => Ok(()),
        state => Err(format!("a booking ended as {state:?}: {:?}", meeting.failure).into()),
    }
}

/// The transport alone: a query to each of n streams, and an answer from each.
struct Bare {
    queries: Vec<mpsc::Sender<Result<pb::JoinResponse, Status>>>,
    answers: mpsc::Receiver<()>,
}

impl Bare {
    async fn start(people: usize) -> Result<Self, Error> {
        let (joined, mut joins) = mpsc::channel(people);
        let (answered, answers) = mpsc::channel(people);
        let service = ParticipantServiceServer::new(BareService { joined, answered: Arc::new(answered) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        let mut queries = Vec::new();
        for _ in 0..people {
            let mut client = ParticipantServiceClient::connect(url.clone()).await?;
            let (send, frames) = mpsc::channel(8);
            let mut incoming = client.join(ReceiverStream::new(frames)).await?.into_inner();
            tokio::spawn(async move {
                while let Some(Ok(_)) = incoming.next().await {
                    let message = pb::agent_message::Message::AvailabilityAnswer(pb::AvailabilityAnswer {
                        query_id: "q".into(),
                        participant_id: "p".into(),
                        ..Default::default()
                    });
                    let frame =
                        pb::JoinRequest { messages: vec![pb::AgentMessage { message: Some(message) }] };
                    if send.send(frame).await.is_err() {
                        return;
                    }
                }
            });
            queries.push(joins.recv().await.ok_or("no stream")?);
        }
        Ok(Self { queries, answers })
    }

    async fn round(&mut self) -> Result<(), Error> {
        let query = pb::scheduler_message::Message::AvailabilityQuery(pb::AvailabilityQuery {
            query_id: "q".into(),
            participant_ids: vec!["p".into()],
            ..Default::default()
        });
        let frame = pb::JoinResponse { messages: vec![pb::SchedulerMessage { message: Some(query) }] };
        for stream in &self.queries {
            stream.send(Ok(frame.clone())).await?;
        }
        for _ in &self.queries {
            self.answers.recv().await.ok_or("no answer")?;
        }
        Ok(())
    }
}

struct BareService {
    joined: mpsc::Sender<mpsc::Sender<Result<pb::JoinResponse, Status>>>,
    answered: Arc<mpsc::Sender<()>>,
}

#[tonic::async_trait]
impl ParticipantService for BareService {
    type JoinStream = Pin<Box<dyn Stream<Item = Result<pb::JoinResponse, Status>> + Send>>;

    async fn join(
        &self,
        request: Request<Streaming<pb::JoinRequest>>,
    ) -> Result<Response<Self::JoinStream>, Status> {
        let (send, frames) = mpsc::channel(8);
        self.joined.send(send).await.map_err(|_| Status::unavailable("over"))?;
        let (mut incoming, answered) = (request.into_inner(), self.answered.clone());
        tokio::spawn(async move {
            while let Ok(Some(_)) = incoming.message().await {
                if answered.send(()).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(frames))))
    }
}
