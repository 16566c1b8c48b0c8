//! What a server has beside its services: health, reflection, and a limit to what it takes on.

use std::time::Duration;

use super::support::*;
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_types::StatusExt;

const SERVICES: [&str; 2] = ["quorate.v1.ParticipantService", "quorate.v1.SchedulerService"];

async fn channel(world: &World) -> Channel {
    let endpoint = Channel::from_shared(world.url()).unwrap();
    within("a connection", endpoint.connect()).await.unwrap()
}

#[tokio::test]
async fn health_is_told_for_each_service_and_ends_with_it() {
    let world = World::start().await;
    let mut health = HealthClient::new(channel(&world).await);
    let mut watches = Vec::new();
    for service in SERVICES.iter().chain(&[""]) {
        let request = HealthCheckRequest { service: (*service).to_owned() };
        let status = health.check(request.clone()).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service:?}");
        watches.push(health.watch(request).await.unwrap().into_inner());
    }
    let unknown =
        health.check(HealthCheckRequest { service: "quorate.v1.Nothing".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let stopping = tokio::spawn(world.scheduler.stop());
    for mut watch in watches {
        let told = async {
            while let Ok(Some(HealthCheckResponse { status })) = watch.message().await {
                if status == ServingStatus::NotServing as i32 {
                    return true;
                }
            }
            false
        };
        assert!(within("the health service says so", told).await);
    }
    within("an orderly end", stopping).await.unwrap().unwrap();
}

macro_rules! reflects {
    ($name:ident, $version:ident) => {
        #[tokio::test]
        async fn $name() {
            use reflection::server_reflection_client::ServerReflectionClient;
            use reflection::server_reflection_request::MessageRequest;
            use reflection::server_reflection_response::MessageResponse;
            use tonic_reflection::pb::$version as reflection;
            let world = World::start().await;
            let mut client = ServerReflectionClient::new(channel(&world).await);
            let ask = |message| reflection::ServerReflectionRequest {
                message_request: Some(message),
                ..Default::default()
            };
            let asked = vec![
                ask(MessageRequest::ListServices(String::new())),
                ask(MessageRequest::FileContainingSymbol(
                    "quorate.v1.SchedulerService.ScheduleMeeting".into(),
                )),
                ask(MessageRequest::FileContainingSymbol("google.rpc.BadRequest".into())),
            ];
            let stream = client.server_reflection_info(tokio_stream::iter(asked)).await.unwrap();
            let mut stream = stream.into_inner();
            let mut next = async || {
                let answer = within("an answer", stream.message()).await.unwrap().expect("an answer");
                answer.message_response.expect("an answer")
            };
            let MessageResponse::ListServicesResponse(list) = next().await else { panic!("a list") };
            let names: Vec<_> = list.service.into_iter().map(|s| s.name).collect();
            for service in SERVICES.iter().chain(&["grpc.health.v1.Health"]) {
                assert!(names.iter().any(|name| name == service), "{service} is not among {names:?}");
            }
            for _ in 0..2 {
                let answer = next().await;
                let MessageResponse::FileDescriptorResponse(files) = answer else { panic!("{answer:?}") };
                assert!(!files.file_descriptor_proto.is_empty());
            }
        }
    };
}

reflects!(reflection_for_new_clients, v1);
reflects!(reflection_for_old_clients, v1alpha);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_can_be_worked_on_is_refused_with_a_time_to_come_back() {
    use quorate::core::limits::{BATCH, LIVE_MEETINGS};
    use quorate::grpc::CallerLimits;
    let world = World::start_limited(CallerLimits { open: usize::MAX, ..CallerLimits::default() }).await;
    let host = world.host(vec![Person::new("alice").free(8, 17)]).await;
    let waiting = |name: &str| ask(&[name]).connect_timeout(Duration::from_secs(300)).0;
    let mut batches = tokio::task::JoinSet::new();
    // Each waits for somebody of its own to connect. A batch is let in before the next is sent: more at once than the
    // engine's queue has places for would be refused for that.
    for batch in 0..LIVE_MEETINGS / BATCH {
        let requests = (0..BATCH).map(|n| waiting(&format!("absent-{batch}-{n}"))).collect();
        let mut client = world.client.clone();
        batches.spawn(async move {
            let batch = pb::BatchScheduleMeetingsRequest { requests };
            client.batch_schedule_meetings(by(Duration::from_secs(600), batch)).await
        });
        world.until_in_flight((batch + 1) * BATCH).await;
    }
    let status = world.try_schedule(ask(&["alice"])).await.expect_err("there is no room");
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
    assert!(details.retry_info().unwrap().retry_delay.is_some());
    // Cancelling and agents' messages are still taken.
    host.barrier("alice").await;
    within("an orderly end", world.scheduler.stop()).await.unwrap();
    batches.abort_all();
}
