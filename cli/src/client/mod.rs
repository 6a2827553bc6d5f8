//! The connection to a `shoald`: one method for each route of [`shoal_protocol::api`].
//!
//! Connections are kept and used again, so a request in the ordinary course costs one write and one read. A [`Client`]
//! is cheap to clone; clones share the kept connections.
//!
//! **Invariant:** an answer whose schema is not ours is never interpreted.
//! **Not here:** what a person sees of it. That is `commands/`.

mod body;
mod connection;
mod error;
mod events;
mod patience;

use core::time::Duration;
use std::path::{Path, PathBuf};

use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shoal_protocol::api::flow::FlowView;
use shoal_protocol::api::policy::{DeployRequest, PolicyView};
use shoal_protocol::api::services::{
    PEER_HEADER, RUN_HEADER, ServiceRequest, ServiceView, TASK_HEADER, VERSION_HEADER,
};
use shoal_protocol::api::{
    BlobStat, BlobView, Check, ConfigView, DatasetView, Explanation, InvitationRequest, InvitationView, JoinerView,
    LabelRequest, LabelView, LabelsRequest, Listing, MemberView, PeerView, PingView, PipelineRequest, PipelineView,
    PlanView, PolicyCheck, PolicyCheckRequest, Problem, ReleaseRequest, RevocationsView, RevokeRequest, RttView,
    SCHEMA, Status, StreamRequest, StreamView, TakenView, TaskRequest, TaskView,
};
use shoal_protocol::certificate::SignedRevocations;
use shoal_protocol::id::BlobId;
use shoal_protocol::placement::explain::Decision;
use shoal_protocol::privacy::{Declaration, Release};
use shoal_protocol::rules::SignedRules;
use shoal_protocol::service::SignedService;
use tokio::io::AsyncRead;

use self::body::Body;
pub use self::connection::Download;
use self::connection::Pool;
pub use self::error::ClientError;
pub use self::events::EventStream;
pub use self::patience::Patience;

/// How long an ordinary request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time beyond that for a statistic: its keeper may be far away, and its rows many.
const RELEASE_PATIENCE: Duration = Duration::from_secs(150);
/// A JSON answer larger than this is not one of ours.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Longest single wait asked of the daemon; longer waits are several requests, so a frozen daemon is noticed.
const WAIT_SLICE: Duration = Duration::from_secs(20);

/// A way to talk to one daemon.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool,
    timeout: Duration,
}

impl Client {
    /// A client of the daemon at this socket; connects when first used.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { pool: Pool::new(socket.into()), timeout: REQUEST_TIMEOUT }
    }

    /// A client of the daemon at an address as people write it: `unix:PATH`, or nothing for the default.
    pub fn at(address: Option<&str>) -> Result<Self, ClientError> {
        match address {
            None => Ok(Self::new(crate::home::socket())),
            Some(text) => match text.strip_prefix("unix:") {
                Some(path) if !path.is_empty() => Ok(Self::new(path)),
                Some(_) | None => Err(ClientError::Address { text: text.to_owned() }),
            },
        }
    }

    /// The same client, giving ordinary requests this long.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The daemon's socket.
    pub fn socket(&self) -> &Path {
        self.pool.socket()
    }

    /// This peer and its neighbours.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    /// What of its machine stands in its way.
    pub async fn checks(&self) -> Result<Listing<Check>, ClientError> {
        self.get("/v1/checks").await
    }

    /// The peers this one knows.
    pub async fn peers(&self) -> Result<Listing<PeerView>, ClientError> {
        self.get("/v1/peers").await
    }

    /// Measures the round trip to a peer once.
    pub async fn ping(&self, peer: &str) -> Result<PingView, ClientError> {
        self.post(&format!("/v1/peers/{}/ping", encode(peer)), Body::empty()).await
    }

    /// The distance of two peers.
    pub async fn rtt(&self, a: &str, b: &str) -> Result<RttView, ClientError> {
        self.get(&format!("/v1/rtt?a={}&b={}", encode(a), encode(b))).await
    }

    /// For whom the daemon has signed, if it may.
    pub async fn members(&self) -> Result<Listing<MemberView>, ClientError> {
        self.get("/v1/members").await
    }

    /// Who is a member of the mesh no more.
    pub async fn revocations(&self) -> Result<RevocationsView, ClientError> {
        self.get("/v1/revocations").await
    }

    /// Hands in a revocation list; it holds at the daemon when this returns.
    pub async fn revoke(&self, list: &SignedRevocations) -> Result<RevocationsView, ClientError> {
        self.post("/v1/revocations", Body::json(&RevokeRequest::of(list))).await
    }

    /// The business rules in force at the daemon.
    pub async fn policy(&self) -> Result<PolicyView, ClientError> {
        self.get("/v1/policy").await
    }

    /// Hands in business rules; they are in force at the daemon when this returns.
    pub async fn deploy(&self, signed: &SignedRules) -> Result<PolicyView, ClientError> {
        self.post("/v1/policy", Body::json(&DeployRequest::of(signed))).await
    }

    /// What flows out of the daemon's peer.
    pub async fn flow(&self) -> Result<FlowView, ClientError> {
        self.get("/v1/flow").await
    }

    /// Hands in a task and returns as soon as it is accepted.
    pub async fn submit(&self, request: &TaskRequest) -> Result<TaskView, ClientError> {
        debug_assert!(!request.dry_run, "a dry run is answered by a decision");
        self.post("/v1/tasks", Body::json(request)).await
    }

    /// Hands in a task and returns when it has ended, in one request; takes as long as the task does.
    pub async fn run(&self, request: TaskRequest) -> Result<TaskView, ClientError> {
        let request = TaskRequest { wait: true, dry_run: false, ..request };
        let answer = self.pool.send(Method::POST, "/v1/tasks", Body::json(&request)).await?;
        self.read(answer).await
    }

    /// Where a task would run if it were handed in now.
    pub async fn dry_run(&self, request: TaskRequest) -> Result<Decision, ClientError> {
        let request = TaskRequest { dry_run: true, wait: false, ..request };
        self.post("/v1/tasks", Body::json(&request)).await
    }

    /// Who might run a task or a pipeline on its data; nothing moves.
    pub async fn check_policy(&self, request: &PolicyCheckRequest) -> Result<PolicyCheck, ClientError> {
        self.post("/v1/policy/check", Body::json(request)).await
    }

    /// The newest `limit` tasks of this peer's users, newest first.
    pub async fn tasks(&self, limit: usize) -> Result<Listing<TaskView>, ClientError> {
        self.get(&format!("/v1/tasks?limit={limit}")).await
    }

    /// A task, by id, unique prefix or `last`, as it is now.
    pub async fn task(&self, id: &str) -> Result<TaskView, ClientError> {
        self.get(&format!("/v1/tasks/{}", encode(id))).await
    }

    /// A task when it has ended, or as it is after `wait`.
    pub async fn task_after(&self, id: &str, wait: Duration) -> Result<TaskView, ClientError> {
        let path = format!("/v1/tasks/{}?wait_ms={}", encode(id), wait.as_millis());
        self.within(self.timeout + wait, self.pool.send(Method::GET, &path, Body::empty())).await
    }

    /// A task when it has ended.
    pub async fn wait(&self, id: &str) -> Result<TaskView, ClientError> {
        loop {
            let view = self.task_after(id, WAIT_SLICE).await?;
            if view.state.is_final() {
                return Ok(view);
            }
        }
    }

    /// Withdraws a task.
    pub async fn cancel(&self, id: &str) -> Result<TaskView, ClientError> {
        self.post(&format!("/v1/tasks/{}/cancel", encode(id)), Body::empty()).await
    }

    /// What a task wrote to standard output.
    pub async fn result(&self, id: &str) -> Result<Download, ClientError> {
        self.download(&format!("/v1/tasks/{}/result", encode(id))).await
    }

    /// The end of what a task wrote to standard error.
    pub async fn logs(&self, id: &str) -> Result<Bytes, ClientError> {
        self.download(&format!("/v1/tasks/{}/logs", encode(id))).await?.bytes(ANSWER_BYTES_MAX).await
    }

    /// Why a task ran where it ran: one decision an attempt.
    pub async fn explain(&self, id: &str) -> Result<Explanation, ClientError> {
        self.get(&format!("/v1/tasks/{}/explain", encode(id))).await
    }

    /// Hands in a pipeline and returns once it is on the daemon's disk.
    pub async fn submit_pipeline(&self, request: &PipelineRequest) -> Result<PipelineView, ClientError> {
        debug_assert!(!request.dry_run, "a dry run is answered by a plan");
        self.post("/v1/pipelines", Body::json(request)).await
    }

    /// Where the tasks of a pipeline would run if it were handed in now.
    pub async fn plan(&self, request: PipelineRequest) -> Result<PlanView, ClientError> {
        let request = PipelineRequest { dry_run: true, ..request };
        self.post("/v1/pipelines", Body::json(&request)).await
    }

    /// The newest `limit` pipelines of this peer's users, newest first.
    pub async fn pipelines(&self, limit: usize) -> Result<Listing<PipelineView>, ClientError> {
        self.get(&format!("/v1/pipelines?limit={limit}")).await
    }

    /// A pipeline, by id, unique prefix or `last`: when it has ended, or as it is after `wait`.
    pub async fn pipeline(&self, id: &str, wait: Duration) -> Result<PipelineView, ClientError> {
        let path = format!("/v1/pipelines/{}?wait_ms={}", encode(id), wait.as_millis());
        self.within(self.timeout + wait, self.pool.send(Method::GET, &path, Body::empty())).await
    }

    /// Withdraws a pipeline.
    pub async fn cancel_pipeline(&self, id: &str) -> Result<PipelineView, ClientError> {
        self.post(&format!("/v1/pipelines/{}/cancel", encode(id)), Body::empty()).await
    }

    /// Declares a data set at the daemon's peer.
    pub async fn declare(&self, declared: &Declaration) -> Result<DatasetView, ClientError> {
        self.post("/v1/privacy/datasets", Body::json(declared)).await
    }

    /// The data sets that are declared there, and what is left of their budgets.
    pub async fn datasets(&self) -> Result<Listing<DatasetView>, ClientError> {
        self.get("/v1/privacy/datasets").await
    }

    /// A statistic of one, here or at its keeper; it may have to read many rows first.
    pub async fn release(&self, request: &ReleaseRequest) -> Result<Release, ClientError> {
        let sent = self.pool.send(Method::POST, "/v1/privacy/releases", Body::json(request));
        self.within(self.timeout + RELEASE_PATIENCE, sent).await
    }

    /// Starts a stream, or one that was stopped again.
    pub async fn start_stream(&self, request: &StreamRequest) -> Result<StreamView, ClientError> {
        self.post("/v1/streams", Body::json(request)).await
    }

    /// The streams that the daemon knows of.
    pub async fn streams(&self) -> Result<Listing<StreamView>, ClientError> {
        self.get("/v1/streams").await
    }

    /// One of them.
    pub async fn stream(&self, name: &str) -> Result<StreamView, ClientError> {
        self.get(&format!("/v1/streams/{}", encode(name))).await
    }

    /// Stops a stream; with `forget`, for good.
    pub async fn stop_stream(&self, name: &str, forget: bool) -> Result<StreamView, ClientError> {
        self.post(&format!("/v1/streams/{}/stop?forget={forget}", encode(name)), Body::empty()).await
    }

    /// Hands in lines of a feed, of which the first is its `from`-th, and returns when they are on disk.
    pub async fn feed_stream(
        &self,
        name: &str,
        feed: &str,
        from: u64,
        lines: impl Into<Bytes>,
    ) -> Result<TakenView, ClientError> {
        let path = format!("/v1/streams/{}/records?feed={}&from={from}", encode(name), encode(feed));
        // The daemon says itself when it has no room, or takes too long.
        self.within(2 * self.timeout, self.pool.send(Method::POST, &path, Body::full(lines.into()))).await
    }

    /// The services of the mesh, as the daemon knows them.
    pub async fn services(&self) -> Result<Listing<ServiceView>, ClientError> {
        self.get("/v1/services").await
    }

    /// One of them; with `removed`, also one that is there no more.
    pub async fn service(&self, name: &str, removed: bool) -> Result<ServiceView, ClientError> {
        self.get(&format!("/v1/services/{}?removed={removed}", encode(name))).await
    }

    /// Hands in the record of a service; it is in force at the daemon when this returns.
    pub async fn deploy_service(&self, signed: &SignedService) -> Result<ServiceView, ClientError> {
        self.post("/v1/services", Body::json(&ServiceRequest::of(signed))).await
    }

    /// Calls a service, and returns when its answer begins; takes as long as the call does.
    pub async fn call(&self, name: &str, how: &CallOptions, input: impl Into<Bytes>) -> Result<Answered, ClientError> {
        let path = how.path(name);
        let answer = self.pool.send(Method::POST, &path, Body::full(input.into())).await?;
        if !answer.status().is_success() {
            return Err(problem(answer).await);
        }
        let number = |name: &str| answer.header(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let text = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        Ok(Answered {
            version: number(VERSION_HEADER),
            run: Duration::from_micros(number(RUN_HEADER)),
            peer: text(PEER_HEADER),
            task: text(TASK_HEADER),
            output: answer,
        })
    }

    /// The blobs in the daemon's store.
    pub async fn blobs(&self) -> Result<Listing<BlobView>, ClientError> {
        self.get("/v1/blobs").await
    }

    /// Stores these bytes.
    pub async fn put_blob(&self, bytes: impl Into<Bytes>) -> Result<BlobView, ClientError> {
        self.put_labelled_blob(bytes, &LabelsRequest::default()).await
    }

    /// Stores these bytes, of which this is said.
    pub async fn put_labelled_blob(
        &self,
        bytes: impl Into<Bytes>,
        labels: &LabelsRequest,
    ) -> Result<BlobView, ClientError> {
        let answer = self.pool.send(Method::POST, &blobs_route(labels), Body::full(bytes.into())).await?;
        self.read(answer).await
    }

    /// Stores what the reader gives, `length` bytes of it, without holding it in memory.
    pub async fn put_blob_from(
        &self,
        reader: impl AsyncRead + Send + 'static,
        length: u64,
        labels: &LabelsRequest,
    ) -> Result<BlobView, ClientError> {
        let answer = self.pool.send(Method::POST, &blobs_route(labels), Body::reader(reader, length)).await?;
        self.read(answer).await
    }

    /// A blob's bytes, from here, from the peer named, or from any neighbour that has it.
    pub async fn blob(&self, id: BlobId, from: Option<&str>) -> Result<Download, ClientError> {
        match from {
            None => self.download(&format!("/v1/blobs/{id}")).await,
            Some(peer) => self.download(&format!("/v1/blobs/{id}?from={}", encode(peer))).await,
        }
    }

    /// What is known of a blob; with `seek`, the neighbours are asked who has it.
    pub async fn blob_stat(&self, id: BlobId, seek: bool) -> Result<BlobStat, ClientError> {
        self.get(&format!("/v1/blobs/{id}/stat?seek={seek}")).await
    }

    /// Keeps a blob at this peer.
    pub async fn pin_blob(&self, id: BlobId) -> Result<(), ClientError> {
        self.order(&format!("/v1/blobs/{id}/pin")).await
    }

    /// Lets it go when room is wanted.
    pub async fn unpin_blob(&self, id: BlobId) -> Result<(), ClientError> {
        self.order(&format!("/v1/blobs/{id}/unpin")).await
    }

    /// Removes a blob from this peer.
    pub async fn remove_blob(&self, id: BlobId) -> Result<(), ClientError> {
        self.download_by(Method::DELETE, &format!("/v1/blobs/{id}")).await?.bytes(ANSWER_BYTES_MAX).await.map(drop)
    }

    /// Keeps the output of a task where it stayed for so long from now; no longer, if that is nothing.
    pub async fn hold_output(&self, task: &str, lease: Duration) -> Result<(), ClientError> {
        let ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        self.order(&format!("/v1/tasks/{}/hold?ms={ms}", encode(task))).await
    }

    /// News from now on.
    pub async fn events(&self) -> Result<EventStream, ClientError> {
        Ok(EventStream::new(self.download("/v1/events").await?))
    }

    /// The daemon's configuration.
    pub async fn config(&self) -> Result<ConfigView, ClientError> {
        self.get("/v1/config").await
    }

    /// Makes an invitation, with its ticket.
    pub async fn invite(&self, request: &InvitationRequest) -> Result<InvitationView, ClientError> {
        self.post("/v1/invitations", Body::json(request)).await
    }

    /// The invitations this peer has made.
    pub async fn invitations(&self) -> Result<Listing<InvitationView>, ClientError> {
        self.get("/v1/invitations").await
    }

    /// Lets nobody in by an invitation any more; its id, or the beginning of it.
    pub async fn withdraw(&self, id: &str) -> Result<(), ClientError> {
        self.order(&format!("/v1/invitations/{}/withdraw", encode(id))).await
    }

    /// The machines that wait to be let in.
    pub async fn joiners(&self) -> Result<Listing<JoinerView>, ClientError> {
        self.get("/v1/joiners").await
    }

    /// Lets one in.
    pub async fn approve(&self, number: u64) -> Result<(), ClientError> {
        self.order(&format!("/v1/joiners/{number}/approve")).await
    }

    /// Keeps one out.
    pub async fn deny(&self, number: u64) -> Result<(), ClientError> {
        self.order(&format!("/v1/joiners/{number}/deny")).await
    }

    /// Changes what the issuer vouches for.
    pub async fn label(&self, peer: &str, change: &LabelRequest) -> Result<LabelView, ClientError> {
        self.post(&format!("/v1/peers/{}/label", encode(peer)), Body::json(change)).await
    }

    /// Asks the daemon to hand back queued work and end.
    pub async fn shutdown(&self) -> Result<(), ClientError> {
        self.order("/v1/shutdown").await
    }

    /// A request whose answer is that it was done.
    async fn order(&self, path: &str) -> Result<(), ClientError> {
        self.download_by(Method::POST, path).await?.bytes(ANSWER_BYTES_MAX).await.map(drop)
    }

    async fn get<T: Answer>(&self, path: &str) -> Result<T, ClientError> {
        self.within(self.timeout, self.pool.send(Method::GET, path, Body::empty())).await
    }

    async fn post<T: Answer>(&self, path: &str, body: Body) -> Result<T, ClientError> {
        self.within(self.timeout, self.pool.send(Method::POST, path, body)).await
    }

    async fn within<T: Answer>(
        &self,
        limit: Duration,
        request: impl Future<Output = Result<Download, ClientError>>,
    ) -> Result<T, ClientError> {
        let answer = async { self.read(request.await?).await };
        tokio::time::timeout(limit, answer).await.unwrap_or(Err(ClientError::Timeout { after: limit }))
    }

    async fn download(&self, path: &str) -> Result<Download, ClientError> {
        self.download_by(Method::GET, path).await
    }

    async fn download_by(&self, method: Method, path: &str) -> Result<Download, ClientError> {
        // A result or a blob may first have to come from another peer, so only the daemon can say when to give up.
        let answer = self.pool.send(method, path, Body::empty()).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(problem(answer).await) }
    }

    async fn read<T: Answer>(&self, answer: Download) -> Result<T, ClientError> {
        if !answer.status().is_success() {
            return Err(problem(answer).await);
        }
        parse(&answer.bytes(ANSWER_BYTES_MAX).await?)
    }
}

/// How a service is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// Calls with the same key get the same version, as long as its share does not shrink.
    pub key: Option<String>,
    /// Only at this peer.
    pub peer: Option<String>,
    /// When the answer is wanted.
    pub deadline: Option<Duration>,
}

impl CallOptions {
    fn path(&self, name: &str) -> String {
        let text = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name}={}", encode(value)));
        let deadline = self.deadline.map(|deadline| format!("deadline_ms={}", deadline.as_millis()));
        let said = [text("key", &self.key), text("peer", &self.peer), deadline];
        let said = said.into_iter().flatten().collect::<Vec<_>>().join("&");
        let mark = if said.is_empty() { "" } else { "?" };
        format!("/v1/services/{}/call{mark}{said}", encode(name))
    }
}

/// What a service answered.
#[derive(Debug)]
pub struct Answered {
    /// Which version ran.
    pub version: u64,
    /// How long the module ran.
    pub run: Duration,
    /// Where.
    pub peer: String,
    /// The task that the call was.
    pub task: String,
    /// What it wrote.
    pub output: Download,
}

impl Answered {
    /// What it wrote, as a whole.
    pub async fn bytes(self) -> Result<Bytes, ClientError> {
        self.output.bytes(ANSWER_BYTES_MAX).await
    }
}

/// Where a blob is stored of which this is said.
fn blobs_route(labels: &LabelsRequest) -> String {
    let list =
        |name: &str, items: &[String]| (!items.is_empty()).then(|| format!("{name}={}", encode(&items.join(","))));
    let ttl = labels.ttl_ms.map(|ms| format!("ttl_ms={ms}"));
    let said = [list("residency", &labels.residency), list("class", &labels.class), ttl];
    let said = said.into_iter().flatten().collect::<Vec<_>>().join("&");
    if said.is_empty() { "/v1/blobs".to_owned() } else { format!("/v1/blobs?{said}") }
}

/// The error an answer stands for.
async fn problem(answer: Download) -> ClientError {
    let status = answer.status();
    match answer.bytes(ANSWER_BYTES_MAX).await {
        Ok(bytes) => match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            Err(_) => ClientError::Malformed { why: unexpected(status) },
        },
        Err(error) => error,
    }
}

fn unexpected(status: StatusCode) -> String {
    format!("HTTP status {status} without a problem document")
}

fn parse<T: Answer>(bytes: &[u8]) -> Result<T, ClientError> {
    #[derive(serde::Deserialize)]
    struct Probe {
        #[serde(default)]
        schema: Option<String>,
    }

    let read = serde_json::from_slice::<T>(bytes);
    match read {
        Ok(answer) if answer.schema().is_none_or(|schema| schema == SCHEMA) => Ok(answer),
        Ok(answer) => Err(ClientError::Schema { theirs: answer.schema().unwrap_or_default().to_owned() }),
        // Fields of another schema may not fit ours at all, so its name is read by itself.
        Err(error) => match serde_json::from_slice::<Probe>(bytes) {
            Ok(Probe { schema: Some(theirs) }) if theirs != SCHEMA => Err(ClientError::Schema { theirs }),
            Ok(_) | Err(_) => Err(ClientError::Malformed { why: error.to_string() }),
        },
    }
}

/// An answer of the API; most say which schema they are of.
trait Answer: DeserializeOwned {
    fn schema(&self) -> Option<&str>;
}

macro_rules! answers_with_schema {
    ($($name:ty),*) => {$(
        impl Answer for $name {
            fn schema(&self) -> Option<&str> {
                Some(&self.schema)
            }
        }
    )*};
}

answers_with_schema!(
    Status,
    BlobStat,
    PingView,
    RttView,
    RevocationsView,
    PolicyView,
    ServiceView,
    FlowView,
    TaskView,
    PipelineView,
    PlanView,
    StreamView,
    TakenView,
    BlobView,
    PolicyCheck,
    ConfigView,
    InvitationView,
    LabelView,
    DatasetView,
    Release
);

impl<T: DeserializeOwned> Answer for Listing<T> {
    fn schema(&self) -> Option<&str> {
        Some(&self.schema)
    }
}

impl Answer for Decision {
    fn schema(&self) -> Option<&str> {
        None
    }
}

/// A path segment or query value with everything but letters, digits and `-._~` escaped.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn to_json<T: Serialize>(value: &T) -> Bytes {
    // Requests are plain structs with text keys, which cannot fail to serialize.
    serde_json::to_vec(value).map(Bytes::from).unwrap_or_default()
}
