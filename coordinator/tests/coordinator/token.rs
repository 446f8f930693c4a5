//! No call without the token.

use ds_proto::TokenInterceptor;
use ds_proto::v1;
use ds_proto::v1::jobs_client::JobsClient;
use ds_proto::v1::node_agents_client::NodeAgentsClient;
use ds_proto::v1::ranks_client::RanksClient;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::v1alpha;

use crate::world::World;

fn list_services() -> ServerReflectionRequest {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    ServerReflectionRequest { host: String::new(), message_request }
}

#[track_caller]
fn turned_away<T>(service: &str, result: Result<T, Status>) {
    let status = result.err().unwrap_or_else(|| panic!("{service} answers without the token"));
    assert_eq!(status.code(), Code::Unauthenticated, "{service}: {status:?}");
}

#[tokio::test]
async fn no_service_answers_without_the_token() {
    let world = World::start().await;
    let channel = world.channel().await;
    turned_away("jobs", JobsClient::new(channel.clone()).list(v1::ListRequest {}).await);
    let silence = || tokio_stream::pending::<v1::NodeReport>();
    turned_away("node agents", NodeAgentsClient::new(channel.clone()).attach(silence()).await);
    turned_away("ranks", RanksClient::new(channel.clone()).attach(tokio_stream::pending::<v1::RankReport>()).await);
    turned_away("health", HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await);
    let ask = tokio_stream::once(list_services());
    turned_away("reflection", ServerReflectionClient::new(channel.clone()).server_reflection_info(ask).await);
    let ask = tokio_stream::once(v1alpha::ServerReflectionRequest::default());
    let mut old = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    turned_away("reflection v1alpha", old.server_reflection_info(ask).await);
}

#[tokio::test]
async fn another_token_is_no_token() {
    let world = World::start().await;
    let wrong = TokenInterceptor::new(&world.server.token().replace(|_: char| true, "0")).ok().unwrap();
    let mut client = JobsClient::with_interceptor(world.channel().await, wrong);
    turned_away("jobs", client.list(v1::ListRequest {}).await);
}

#[tokio::test]
async fn with_the_token_any_client_learns_what_there_is() {
    let world = World::start().await;
    let mut health = HealthClient::with_interceptor(world.channel().await, world.interceptor());
    let request = HealthCheckRequest { service: "dsctl.v1.Jobs".to_owned() };
    assert_eq!(health.check(request).await.unwrap().into_inner().status, 1);
    let mut reflection = ServerReflectionClient::with_interceptor(world.channel().await, world.interceptor());
    let answers = reflection.server_reflection_info(tokio_stream::once(list_services())).await.unwrap();
    let answer: ServerReflectionResponse = answers.into_inner().message().await.unwrap().unwrap();
    let text = format!("{answer:?}");
    for service in ["dsctl.v1.Jobs", "dsctl.v1.NodeAgents", "dsctl.v1.Ranks", "grpc.health.v1.Health"] {
        assert!(text.contains(service), "{service} is missing in {text}");
    }
}
