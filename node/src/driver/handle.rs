//! What the API asks of the driver: one bounded queue of requests, each with its way back.
//!
//! **Not here:** HTTP. `crate::api` turns requests and refusals into that.

use std::ops::Range;
use std::time::Duration;

use shoal_protocol::api::{LabelRequest, LabelView, PipelineView, TaskView};
use shoal_protocol::certificate::{CertificateError, SignedRevocations};
use shoal_protocol::output::{TaskError, TaskResult};
use shoal_protocol::pipeline::PipelineSubmission;
use shoal_protocol::privacy::words::{Answer, Ask};
use shoal_protocol::rules::{RulesError, SignedRules};
use shoal_protocol::service::{DeployError, ServiceName, SignedService};
use shoal_protocol::task::durable::{Found, Keeping};
use shoal_protocol::task::spec::Payload;
use shoal_protocol::{BlobId, FindError, PeerId, TaskId, TaskSpec};
use tokio::sync::{mpsc, oneshot};

use super::Driver;
use super::news::Following;
use super::waiters::{CallReply, PipelineReply, Seeker, TaskReply};
use crate::blobs::{Arriving, Pin};
use crate::joining::OfficeError;

/// Requests that wait for the driver; beyond this callers wait to hand theirs in.
const REQUESTS_MAX: usize = 1_024;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error("too many callers wait for answers about tasks")]
    TooManyWaiters,
    #[error("the key names task {task}, of which fewer copies on disk were promised ({held}) than are asked for now")]
    KeptLess { task: TaskId, held: u8 },
    #[error("the key names task {task}, which runs another module or has other arguments")]
    KeyTaken { task: TaskId },
    #[error("{id} could not be had: {why}")]
    NoBlob { id: BlobId, why: String },
    #[error(transparent)]
    Revocations(#[from] CertificateError),
    #[error("it holds, and is told to others, but is not on this peer's disk: {0}")]
    NotKept(String),
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error("version {version} of the business rules does not replace version {held}, which is in force")]
    OldRules { version: u64, held: u64 },
    #[error("the business rules cannot be written down, and are not in force: {0}")]
    RulesNotKept(String),
    #[error("there is no service `{0}`")]
    NoService(String),
    #[error(transparent)]
    Service(#[from] DeployError),
    #[error("generation {generation} of service `{name}` does not replace generation {held}, which is in force")]
    OldService { name: ServiceName, generation: u64, held: u64 },
    #[error("{} services are deployed, and no more may be", shoal_protocol::service::SERVICES_MAX)]
    TooManyServices,
    #[error("the record of the service cannot be written down, and is not in force: {0}")]
    ServiceNotKept(String),
    #[error("that is this peer itself")]
    IsMe,
    #[error("the task ended, and its result is no longer kept")]
    Forgotten,
    #[error("no randomness for a task id: {0}")]
    NoEntropy(String),
    #[error("this peer is shutting down")]
    Stopping,
    #[error(transparent)]
    Office(#[from] OfficeError),
}

/// A task as a user hands it in.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) name: String,
    pub(crate) spec: TaskSpec,
    /// The only peer it may run at: a name, an id, or a prefix.
    pub(crate) pinned: Option<String>,
    pub(crate) keeping: Keeping,
    pub(crate) idempotency_key: Option<String>,
    /// Whose keys they are; this peer's own where it is not said.
    pub(crate) submitter: Option<PeerId>,
    /// Answer when it has ended.
    pub(crate) wait: bool,
    /// What it needs stays in the store until the peer has taken it on.
    pub(crate) held: Vec<Pin>,
}

/// A call of a service as a user makes it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) service: ServiceName,
    pub(crate) inputs: Vec<Payload>,
    /// Calls with the same key get the same version, as long as its share does not shrink.
    pub(crate) key: Option<String>,
    /// The only peer it may run at: a name, an id, or a prefix.
    pub(crate) pinned: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) deadline: Option<Duration>,
}

/// A call that has ended.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) task: TaskId,
    pub(crate) version: u32,
    pub(crate) result: TaskResult,
    /// The name of who ran it.
    pub(crate) executor: String,
}

/// A pipeline as a user hands it in.
#[derive(Debug)]
pub(crate) struct GivenPipeline {
    pub(crate) submission: PipelineSubmission,
    /// By stage, the only peer it may run at: a name, an id, or a prefix.
    pub(crate) pinned: Vec<Option<String>>,
    pub(crate) idempotency_key: Option<String>,
    /// Whose key it is; this peer's own where it is not said.
    pub(crate) submitter: Option<PeerId>,
}

/// A question that changes nothing.
type Question = Box<dyn FnOnce(&Driver) + Send>;

pub(crate) enum Request {
    Read(Question),
    Submit(Box<Submission>, TaskReply),
    /// Answered when the call has ended.
    Call(Box<Call>, CallReply),
    /// Answered when the task has ended.
    AwaitEnd(String, TaskReply),
    Cancel(String, TaskReply),
    /// Answered by this peer, or by one that knows the task.
    Seek(TaskId, Seeker),
    SubmitPipeline(Box<GivenPipeline>, PipelineReply),
    /// Answered when the pipeline has ended.
    AwaitPipeline(String, PipelineReply),
    CancelPipeline(String, PipelineReply),
    Ping(String, oneshot::Sender<Result<Pinging, Refusal>>),
    FetchBlob {
        id: BlobId,
        from: Option<String>,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// Answered when neighbours have had time to say that they have it.
    SeekBlob(BlobId, oneshot::Sender<Vec<PeerId>>),
    /// Keeps the output of a task where it stayed.
    Hold(String, Duration, oneshot::Sender<Result<(), Refusal>>),
    /// Answered when its first bytes can be read.
    OpenBlob {
        id: BlobId,
        from: Option<String>,
        /// The bytes that are enough.
        range: Option<Range<u64>>,
        reply: oneshot::Sender<Result<Opened, Refusal>>,
    },
    Revoke(Box<SignedRevocations>, oneshot::Sender<Result<(), Refusal>>),
    Deploy(Box<SignedRules>, oneshot::Sender<Result<(), Refusal>>),
    DeployService(Box<SignedService>, oneshot::Sender<Result<ServiceName, Refusal>>),
    Follow {
        since: Option<u64>,
        reply: oneshot::Sender<Following>,
    },
    /// What the issuer is to vouch for.
    Relabel(String, LabelRequest, oneshot::Sender<Result<LabelView, Refusal>>),
    /// A statistic of a data set, here or at another keeper.
    Release(String, Box<Ask>, oneshot::Sender<Answer>),
    ShutDown,
}

/// A ping on its way.
#[derive(Debug)]
pub(crate) struct Pinging {
    pub(crate) peer: PeerId,
    pub(crate) name: String,
    pub(crate) answer: oneshot::Receiver<Option<Duration>>,
}

/// A blob that is read while it comes.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) arriving: Arriving,
    /// The end of the transfer, and why if it failed.
    pub(crate) is_over: oneshot::Receiver<Result<(), String>>,
}

/// The API's way to the driver.
#[derive(Debug, Clone)]
pub(crate) struct Handle(mpsc::Sender<Request>);

impl Handle {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, receiver) = mpsc::channel(REQUESTS_MAX);
        (Self(sender), receiver)
    }

    /// Asks something that changes nothing.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Driver) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.ask(|reply| {
            Request::Read(Box::new(move |driver| {
                // Whoever asked may have gone.
                let _ = reply.send(question(driver));
            }))
        })
        .await
    }

    pub(crate) async fn submit(&self, submission: Submission) -> Result<TaskView, Refusal> {
        self.ask(|reply| Request::Submit(Box::new(submission), reply)).await?
    }

    pub(crate) async fn call(&self, call: Call) -> Result<Called, Refusal> {
        self.ask(|reply| Request::Call(Box::new(call), reply)).await?
    }

    pub(crate) async fn await_end(&self, task: String) -> Result<TaskView, Refusal> {
        self.ask(|reply| Request::AwaitEnd(task, reply)).await?
    }

    pub(crate) async fn cancel(&self, task: String) -> Result<TaskView, Refusal> {
        self.ask(|reply| Request::Cancel(task, reply)).await?
    }

    pub(crate) async fn submit_pipeline(&self, given: GivenPipeline) -> Result<PipelineView, Refusal> {
        self.ask(|reply| Request::SubmitPipeline(Box::new(given), reply)).await?
    }

    pub(crate) async fn await_pipeline(&self, pipeline: String) -> Result<PipelineView, Refusal> {
        self.ask(|reply| Request::AwaitPipeline(pipeline, reply)).await?
    }

    pub(crate) async fn cancel_pipeline(&self, pipeline: String) -> Result<PipelineView, Refusal> {
        self.ask(|reply| Request::CancelPipeline(pipeline, reply)).await?
    }

    pub(crate) async fn seek(&self, task: TaskId) -> Result<Option<Found>, Refusal> {
        Ok(self.ask(|reply| Request::Seek(task, reply)).await??.map(|found| *found))
    }

    pub(crate) async fn ping(&self, peer: String) -> Result<Pinging, Refusal> {
        self.ask(|reply| Request::Ping(peer, reply)).await?
    }

    pub(crate) async fn fetch_blob(&self, id: BlobId, from: Option<String>) -> Result<(), Refusal> {
        self.ask(|reply| Request::FetchBlob { id, from, reply }).await?
    }

    pub(crate) async fn open_blob(
        &self,
        id: BlobId,
        from: Option<String>,
        range: Option<Range<u64>>,
    ) -> Result<Opened, Refusal> {
        self.ask(|reply| Request::OpenBlob { id, from, range, reply }).await?
    }

    pub(crate) async fn seek_blob(&self, id: BlobId) -> Result<Vec<PeerId>, Refusal> {
        self.ask(|reply| Request::SeekBlob(id, reply)).await
    }

    pub(crate) async fn hold(&self, task: String, lease: Duration) -> Result<(), Refusal> {
        self.ask(|reply| Request::Hold(task, lease, reply)).await?
    }

    pub(crate) async fn revoke(&self, list: SignedRevocations) -> Result<(), Refusal> {
        self.ask(|reply| Request::Revoke(Box::new(list), reply)).await?
    }

    pub(crate) async fn deploy(&self, signed: SignedRules) -> Result<(), Refusal> {
        self.ask(|reply| Request::Deploy(Box::new(signed), reply)).await?
    }

    pub(crate) async fn deploy_service(&self, signed: SignedService) -> Result<ServiceName, Refusal> {
        self.ask(|reply| Request::DeployService(Box::new(signed), reply)).await?
    }

    pub(crate) async fn follow(&self, since: Option<u64>) -> Result<Following, Refusal> {
        self.ask(|reply| Request::Follow { since, reply }).await
    }

    pub(crate) async fn relabel(&self, peer: String, change: LabelRequest) -> Result<LabelView, Refusal> {
        self.ask(|reply| Request::Relabel(peer, change, reply)).await?
    }

    pub(crate) async fn release(&self, dataset: String, ask: Ask) -> Result<Answer, Refusal> {
        self.ask(|reply| Request::Release(dataset, Box::new(ask), reply)).await
    }

    pub(crate) async fn shut_down(&self) -> Result<(), Refusal> {
        self.0.send(Request::ShutDown).await.map_err(|_| Refusal::Stopping)
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.0.send(request(reply)).await.map_err(|_| Refusal::Stopping)?;
        answer.await.map_err(|_| Refusal::Stopping)
    }
}
