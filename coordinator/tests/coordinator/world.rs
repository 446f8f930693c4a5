//! A coordinator in a folder of its own, and those who call it.

use std::path::PathBuf;
use std::time::Duration;

use ds_coordinator::server::{self, Server, ServerConfig};
use ds_proto::TokenInterceptor;
use ds_proto::v1;
use ds_proto::v1::jobs_client::JobsClient;
use tokio::time::{sleep, timeout};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

/// Longer than anything takes on a machine with other work to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at what gives no event to wait for.
pub(crate) async fn pause() {
    sleep(Duration::from_millis(10)).await;
}

pub(crate) type Carrier = InterceptedService<Channel, TokenInterceptor>;
pub(crate) type Jobs = JobsClient<Carrier>;

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) server: Server,
    embedded: bool,
}

impl World {
    /// A coordinator that runs alone.
    pub(crate) async fn start() -> Self {
        Self::with(false).await
    }

    /// One whose ranks end with it.
    pub(crate) async fn embedded() -> Self {
        Self::with(true).await
    }

    async fn with(embedded: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["train.txt", "validation.txt"] {
            let text = "the king sees a fool, and the fool sees the queen\n".repeat(200);
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let server = start(&folder, embedded).await;
        Self { folder, server, embedded }
    }

    /// Ends it and starts another one in the same home.
    pub(crate) async fn restart(self) -> Self {
        let Self { folder, server, embedded } = self;
        server.shutdown().await;
        let server = start(&folder, embedded).await;
        Self { folder, server, embedded }
    }

    pub(crate) fn home(&self) -> PathBuf {
        home(&self.folder)
    }

    pub(crate) fn run(&self, job: &str) -> PathBuf {
        self.home().join("runs").join(job)
    }

    pub(crate) async fn channel(&self) -> Channel {
        let url = format!("http://{}", self.server.address());
        Endpoint::from_shared(url).unwrap().connect().await.unwrap()
    }

    pub(crate) fn interceptor(&self) -> TokenInterceptor {
        TokenInterceptor::new(self.server.token()).expect("a token can stand in a header")
    }

    pub(crate) async fn jobs(&self) -> Jobs {
        JobsClient::with_interceptor(self.channel().await, self.interceptor())
    }

    /// On `n_ranks` stages of a pipeline.
    pub(crate) fn yaml(&self, n_ranks: u32, n_steps: u64) -> String {
        let folder = self.folder.path().display();
        format!(
            "version: 1
kind: train
name: tiny
seed: 7
model: {{ preset: tiny }}
data: {{ train: {folder}/train.txt, validation: {folder}/validation.txt, tokenizer: bytes }}
parallel: {{ pipeline: {n_ranks} }}
train:
  - steps: {n_steps}
    sequence: 32
    batch: 8
    microbatch: 1
    learning_rate: {{ peak: 1.0e-3, warmup: 0 }}
    mtp_weight: 0.3
    evaluate_bytes: 2048
checkpoint: {{ every: 0, keep: 2 }}
cluster: {{ device: cpu }}
"
        )
    }

    pub(crate) async fn submit(&self, n_ranks: u32, n_steps: u64) -> String {
        let request = v1::SubmitRequest { spec_yaml: self.yaml(n_ranks, n_steps), priority: None };
        self.jobs().await.submit(request).await.unwrap().into_inner().job
    }

    pub(crate) async fn job(&self, job: &str) -> v1::Job {
        let request = v1::JobRequest { job: job.to_owned() };
        self.jobs().await.get(request).await.unwrap().into_inner()
    }

    /// Waits until a job looks so.
    pub(crate) async fn until(&self, job: &str, is_so: impl Fn(&v1::Job) -> bool) {
        let mut jobs = self.jobs().await;
        let so = async {
            let request = v1::JobRequest { job: job.to_owned() };
            while !is_so(jobs.get(request.clone()).await.unwrap().get_ref()) {
                pause().await;
            }
        };
        timeout(PATIENCE, so).await.expect("the job comes to look so");
    }

    /// All that a watcher is told until the stream ends.
    pub(crate) async fn watch(&self, job: &str, from_step: u64) -> Vec<v1::watch_event::Event> {
        let request = v1::WatchRequest { job: job.to_owned(), from_step };
        let mut stream = self.jobs().await.watch(request).await.unwrap().into_inner();
        let mut events = Vec::new();
        while let Some(event) = timeout(PATIENCE, stream.message()).await.expect("it ends").unwrap() {
            events.extend(event.event);
        }
        events
    }
}

async fn start(folder: &tempfile::TempDir, embedded: bool) -> Server {
    let config = ServerConfig { home: home(folder), listen: ([127, 0, 0, 1], 0).into(), embedded };
    server::start(config).await.unwrap()
}

fn home(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("home")
}
