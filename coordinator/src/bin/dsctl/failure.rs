//! Why a command did not do what it was told: a sentence, who must act, and what to do.

use std::io;
use std::path::PathBuf;

use ds_checkpoint::CheckpointError;
use ds_checkpoint::bridge::BridgeError;
use ds_coordinator::server::ServerError;
use ds_plan::spec::Problems;
use ds_plan::{NotExecutable, PlanError, SeatError};
use ds_topology::NoRoute;
use ds_topology::fabric::{FabricError, FaultError};
use ds_topology::import::ImportError;

use crate::output::Exit;

/// Why a command did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The spec is wrong; all of what is wrong with it.
    #[error("{0}")]
    Spec(#[from] Problems),
    /// What we wrote ourselves does not read.
    #[error("the resolved job is no YAML: {0}")]
    Yaml(serde_yaml::Error),
    /// It has no plan.
    #[error("{0}")]
    Plan(#[from] PlanError),
    /// It has one, but nobody can execute it.
    #[error("{0}")]
    NotExecutable(#[from] NotExecutable),
    /// No such kind of GPU.
    #[error("there is no hardware {given}; there are {}", known.join(", "))]
    NoSuchHardware { given: String, known: Vec<&'static str> },
    /// What `dsctl calibrate` writes looks otherwise.
    #[error("{} is no calibration: {reason}", path.display())]
    Calibration { path: PathBuf, reason: String },
    /// A file of published runs does not read.
    #[error("{}: {reason}", path.display())]
    Rows { path: PathBuf, reason: String },
    /// Some ranks would have no GPU.
    #[error("fabric {name} has {n_gpus} GPUs, the job needs {n_ranks}")]
    FabricTooSmall { name: String, n_gpus: u32, n_ranks: u32 },
    /// Nothing can be said about how long it takes.
    #[error("there is no forecast: {reason}")]
    NoForecast { reason: String },
    /// `--set` without a value.
    #[error("--set {given} has no `=`")]
    SetWithoutValue { given: String },
    /// Nothing can be learnt from it.
    #[error("{}: {reason}", path.display())]
    NoMeasurement { path: PathBuf, reason: String },
    /// Rows that do not make the constants of a machine.
    #[error("{0}")]
    Unfit(#[from] ds_forecast::rows::FitError),
    /// A file that the user named.
    #[error("cannot read {}: {}", path.display(), plain(source))]
    Read { path: PathBuf, source: io::Error },
    /// A file of ours.
    #[error("cannot write {}: {}", path.display(), plain(source))]
    Write { path: PathBuf, source: io::Error },
    /// It is not YAML, nor text at all.
    #[error("{} is no text", path.display())]
    NoText { path: PathBuf },
    /// There is no data.
    #[error("data.{key}: cannot read {}: {}", path.display(), plain(source))]
    DataMissing { key: &'static str, path: PathBuf, source: io::Error },
    /// The data cannot be used.
    #[error("data.{key}: {error}")]
    Data { key: &'static str, error: ds_data::DataError },
    /// Fewer tokens than one step eats.
    #[error("data.{key}: {} holds {n_tokens} tokens, a sequence of {sequence} needs {needed}", path.display())]
    TooFewTokens { key: &'static str, path: PathBuf, n_tokens: u64, sequence: u32, needed: u64 },
    /// The model's table of tokens is too small.
    #[error("data.{key}: {} needs {needed} tokens, model.vocab_size is {vocab_size}", path.display())]
    TooManyWords { key: &'static str, path: PathBuf, needed: u64, vocab_size: u64 },
    /// This machine is too small.
    #[error("this machine cannot seat the job: it {0}")]
    NoRoom(SeatError),
    /// There is a coordinator already.
    #[error("a coordinator runs in {} already, at {address}", home.display())]
    HomeTaken { home: PathBuf, address: String },
    /// Nobody looks after it.
    #[error("job {job} has not ended, and no coordinator runs in {}", home.display())]
    Unattended { job: String, home: PathBuf },
    /// There is nothing to go on with.
    #[error("job {job} is done, so there is nothing to go on with")]
    AlreadyDone { job: String },
    /// No home was given and there is no place for one.
    #[error("neither DSCTL_HOME nor HOME is set")]
    NoHome,
    /// The home cannot be used.
    #[error("the home {} cannot be written: {}", path.display(), plain(source))]
    Home { path: PathBuf, source: io::Error },
    /// Nobody to talk to.
    #[error("no coordinator runs in {}", home.display())]
    NoCoordinator { home: PathBuf },
    /// It does not answer.
    #[error("the coordinator at {address} cannot be reached: {reason}")]
    Unreachable { address: String, reason: String },
    /// It answered, and then it was gone.
    #[error("the coordinator at {address} is gone: {reason}")]
    Gone { address: String, reason: String },
    /// `--coordinator` that is not a URL.
    #[error("--coordinator {given} is no address: {reason}")]
    Address { given: String, reason: String },
    /// The token is not the coordinator's.
    #[error("the coordinator at {address} refused this token: {reason}")]
    WrongToken { address: String, reason: String },
    /// There is no token to show.
    #[error("there is no token for the coordinator at {address}")]
    NoToken { address: String },
    /// Two programs of different ages.
    #[error("the coordinator in {} is version {theirs}, this dsctl is {ours}", home.display())]
    Version { home: PathBuf, theirs: String, ours: &'static str },
    /// The coordinator says no.
    #[error("{reason}")]
    Refused { reason: String },
    /// The coordinator failed.
    #[error("the coordinator failed: {reason}")]
    Internal { reason: String },
    /// No such job.
    #[error("there is no job {given}{}", one_of(known))]
    NoSuchJob { given: String, known: Vec<String> },
    /// Neither a folder nor a job.
    #[error("{given} is neither a folder nor a job of this home")]
    NoSuchTarget { given: String },
    /// A prefix of several jobs.
    #[error("{given} could be any of {}", found.join(", "))]
    AmbiguousJob { given: String, found: Vec<String> },
    /// There is no `last` job.
    #[error("there is no job yet")]
    NoJobs,
    /// The embedded coordinator did not start.
    #[error("{0}")]
    Server(#[from] ServerError),
    /// A coordinator in the background did not come up.
    #[error("the coordinator in the background did not start{}", said(last_lines))]
    BackgroundNotStarted { log: PathBuf, last_lines: Vec<String> },
    /// Set-up is missing.
    #[error("the program ds-worker is missing; looked for {} and on the PATH", looked.display())]
    WorkerMissing { looked: PathBuf },
    /// It is there but does not run.
    #[error("{} cannot be started: {}", path.display(), plain(source))]
    WorkerNotStarted { path: PathBuf, source: io::Error },
    /// The node agent of this machine ended by itself.
    #[error("the node agent of this machine ended {how}{}", said(last_lines))]
    NodeEnded { how: String, last_lines: Vec<String>, log: PathBuf },
    /// What `dsctl data` was given.
    #[error("{0}")]
    Tokens(#[from] ds_data::DataError),
    /// What `data tokenize` would write to.
    #[error("--out {} is there already", path.display())]
    OutExists { path: PathBuf },
    /// What `data tokenize` was given needs no tokenizing.
    #[error("{} holds tokens already", path.display())]
    TokensAlready { path: PathBuf },
    /// A checkpoint cannot be used.
    #[error("{0}")]
    Checkpoint(#[from] ds_checkpoint::CheckpointError),
    /// There is none where one was looked for.
    #[error("there is no checkpoint in {}", path.display())]
    NoCheckpoint { path: PathBuf },
    /// Flags of a generation, all that are wrong.
    #[error("{0}")]
    Flags(#[from] ds_plan::generation::FlagProblems),
    /// What a checkpoint says of its model.
    #[error("{0}")]
    Source(#[from] ds_plan::generation::SourceError),
    /// The worker that wrote did not end by itself.
    #[error("ds-worker was ended from outside: {how}")]
    WriterKilled { how: String },
    /// A Hugging Face folder was not imported, or not exported.
    #[error("{0}")]
    Bridge(#[from] BridgeError),
    /// The user did not want to wait.
    #[error("ended at once; the same command goes on from what is finished")]
    LeftAtOnce,
    /// What a job would start from.
    #[error("checkpoint.start_from: {error}")]
    StartFrom { path: PathBuf, error: Box<CheckpointError> },
    /// A checkpoint that says nothing of its model.
    #[error("{} says neither which job trained it nor what it was imported from", path.display())]
    NoNetwork { path: PathBuf },
    /// A file of flows does not read, or they cannot be.
    #[error("{}: {reason}", path.display())]
    Flows { path: PathBuf, reason: String },
    /// A fabric does not read, or cannot be.
    #[error("{given}: {error}")]
    Fabric { given: String, error: FabricError },
    /// What is said to have failed is no part of the fabric.
    #[error("{given}: --fault {error}")]
    Fault { given: String, error: FaultError },
    /// Neither a file nor a name.
    #[error("there is no fabric {given}; there are {}", known.join(", "))]
    NoSuchFabric { given: String, known: Vec<&'static str> },
    /// What a cluster's tool printed does not read.
    #[error("{}: {error}", path.display())]
    Import { path: PathBuf, error: ImportError },
    /// So much has failed that some are cut off.
    #[error("{given}: {error}")]
    CutOff { given: String, error: NoRoute },
    /// Loads do not read.
    #[error("{}: {reason}", path.display())]
    Loads { path: PathBuf, reason: String },
    /// Nobody said which job.
    #[error("no job is named")]
    NoJob,
    /// Nobody said which fabric.
    #[error("no fabric is named")]
    FabricUnnamed,
    /// Nobody said which machine.
    #[error("no machine is named; there are {known}")]
    NoHardware { known: String },
    /// A step cannot be played.
    #[error("{reason}")]
    Simulation { reason: String },
    /// A thread of this program could not be started.
    #[error("the runtime cannot be started: {0}")]
    Runtime(io::Error),
    /// stdout cannot be written.
    #[error("stdout cannot be written: {0}")]
    Stdout(io::Error),
    /// Who read stdout has enough; nothing to tell anybody.
    #[error("nobody reads stdout any more")]
    ReaderLeft,
}

impl Failure {
    /// Who must act.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::ReaderLeft => Exit::Done,
            Self::Server(ServerError::Home(_) | ServerError::Taken { .. } | ServerError::Listen { .. }) => Exit::User,
            Self::Server(_) => Exit::Failed,
            Self::Unreachable { .. }
            | Self::Gone { .. }
            | Self::Internal { .. }
            | Self::Yaml(_)
            | Self::BackgroundNotStarted { .. }
            | Self::NodeEnded { .. }
            | Self::WriterKilled { .. }
            | Self::LeftAtOnce
            | Self::Bridge(BridgeError::Stopped { .. } | BridgeError::Checkpoint(CheckpointError::Write { .. }))
            | Self::Runtime(_)
            | Self::Stdout(_) => Exit::Failed,
            _ => Exit::User,
        }
    }

    /// What to do, when we know.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::SetWithoutValue { .. } => "write --set train.0.steps=100".to_owned(),
            Self::NotExecutable(_) => "dsctl plan and dsctl simulate take it as it is".to_owned(),
            Self::NoSuchHardware { .. } => "name one with --hardware, or measure yours: dsctl calibrate".to_owned(),
            Self::FabricTooSmall { .. } => "name a larger --fabric, or take fewer ranks".to_owned(),
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => "check the path".to_owned(),
            Self::OutExists { .. } => "name a folder that is not there yet".to_owned(),
            Self::TokensAlready { .. } => "dsctl data info shows them".to_owned(),
            Self::DataMissing { .. } => {
                "check the path; relative ones are taken from the folder of the job's file".to_owned()
            }
            Self::NoRoom(_) => {
                "let ranks share with --set cluster.share_devices=true, take fewer of them, or hand the job to a larger \
                 cluster with --coordinator URL"
                    .to_owned()
            }
            Self::HomeTaken { address, .. } => {
                format!("add --coordinator {address} to hand it the job, or set DSCTL_HOME to another folder")
            }
            Self::Unattended { job, .. } => format!("dsctl resume {job} goes on with it"),
            Self::AlreadyDone { .. } => "dsctl launch starts a new one".to_owned(),
            Self::Data { .. } => "dsctl data tokenize SOURCE --out DIR shows what can be read".to_owned(),
            Self::NoJob => "name the job's file, or traces with --chakra".to_owned(),
            Self::FabricUnnamed => "add --fabric deploy/fabrics/h800-mpft-2048.yaml, or set cluster.fabric".to_owned(),
            Self::NoHardware { .. } => "add --hardware h800, or set cluster.hardware".to_owned(),
            Self::TooFewTokens { .. } => "give more text, or a smaller train.sequence".to_owned(),
            Self::TooManyWords { .. } => "set model.vocab_size to the tokenizer's size".to_owned(),
            Self::NoHome | Self::Home { .. } => "set DSCTL_HOME to a folder that you may write".to_owned(),
            Self::NoCoordinator { .. } => {
                "dsctl launch job.yaml --detach or dsctl coordinator start one; --coordinator URL names another".to_owned()
            }
            Self::Unreachable { .. } => "is it running, and is the address right?".to_owned(),
            Self::Gone { .. } => "dsctl resume last goes on from the newest whole checkpoint".to_owned(),
            Self::Address { .. } => "write --coordinator http://NAME:PORT".to_owned(),
            Self::WrongToken { .. } | Self::NoToken { .. } => {
                "set DSCTL_TOKEN to the token in coordinator.json of the coordinator's home".to_owned()
            }
            Self::Version { .. } => "use the same version on both sides, or end that coordinator".to_owned(),
            Self::NoSuchFabric { .. } => "name one of these, or a file".to_owned(),
            Self::NoSuchJob { .. } | Self::NoSuchTarget { .. } | Self::AmbiguousJob { .. } => "dsctl list shows every job".to_owned(),
            Self::NoJobs => "dsctl launch job.yaml starts one".to_owned(),
            Self::BackgroundNotStarted { log, .. } => format!("all that it said is in {}", log.display()),
            Self::WorkerMissing { .. } => "make build makes it; DSCTL_WORKER names another place".to_owned(),
            Self::WorkerNotStarted { .. } => "make build makes it anew".to_owned(),
            Self::NoCheckpoint { .. } => "the end of a job leaves one; dsctl status shows how far it is".to_owned(),
            Self::WriterKilled { .. } => "if memory ran out: fewer prompts with --batch, or --compute bf16".to_owned(),
            Self::NodeEnded { log, .. } => format!("all that it said is in {}", log.display()),
            Self::StartFrom { path, .. } if path.is_dir() => {
                format!("name one checkpoint, such as {}/step-00000100", path.display())
            }
            Self::StartFrom { .. } => "dsctl import HF_DIR CKPT makes one of a Hugging Face folder".to_owned(),
            Self::Bridge(error) => return crossing_hint(error),
            _ => return None,
        };
        Some(hint)
    }
}

fn crossing_hint(error: &BridgeError) -> Option<String> {
    let hint = match error {
        BridgeError::Exists { .. } => "name a folder that is not there yet",
        BridgeError::InTheWay { .. } => "move it away, or name another folder to make",
        BridgeError::Memory { .. } => "allow more with --max-ram",
        BridgeError::Room { .. } => "free some space, or name a folder on another disk",
        BridgeError::Checkpoint(CheckpointError::Write { .. }) => "the same command goes on from what is finished",
        BridgeError::NoWeights { .. } => "name the folder with config.json and model*.safetensors",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// From our own writes to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::ReaderLeft } else { Self::Stdout(error) }
    }
}

/// Without the number of the error.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn one_of(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!("; there are {}", known.join(", ")) }
}

fn said(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("; its last words:\n  {}", lines.join("\n  ")) }
}
