//! What `shoal` and `shoald` say to each other: the JSON of the local HTTP API.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /v1/status` | | [`Status`] |
//! | `GET /v1/checks` | | [`Listing`] of [`Check`]: what of this machine stands in the way |
//! | `GET /v1/peers` | | [`Listing`] of [`PeerView`] |
//! | `POST /v1/peers/{peer}/ping` | | [`PingView`] |
//! | `GET /v1/rtt?a=&b=` | | [`RttView`] |
//! | `GET /v1/revocations` | | [`RevocationsView`] |
//! | `POST /v1/revocations` | [`RevokeRequest`] | [`RevocationsView`], once it holds here and is on disk |
//! | `POST /v1/tasks` | [`TaskRequest`] | [`TaskView`], ended (`wait`) or once it is kept as asked (`durable`); or a [`crate::placement::explain::Decision`] (`dry_run`) |
//! | `GET /v1/tasks` | | [`Listing`] of [`TaskView`] without outputs, newest first |
//! | `GET /v1/tasks/{id}?wait_ms=` | | [`TaskView`]; waits that long for the end; other peers are asked for a whole id that is unknown here |
//! | `POST /v1/tasks/{id}/cancel` | | [`TaskView`] |
//! | `GET /v1/tasks/{id}/result` | | the output's bytes |
//! | `GET /v1/tasks/{id}/logs` | | standard error's bytes |
//! | `GET /v1/tasks/{id}/explain` | | [`Listing`] of decisions, one an attempt |
//! | `GET /v1/blobs` | | [`Listing`] of [`BlobView`] |
//! | `POST /v1/blobs` | the bytes | [`BlobView`] |
//! | `GET /v1/blobs/{id}?from=PEER` | | the bytes, or the `Range` of them; fetched, and passed on as they are verified, when not here |
//! | `GET /v1/blobs/{id}/stat?seek=true` | | [`BlobStat`]; with `seek`, neighbours are asked who has it |
//! | `POST /v1/blobs/{id}/pin`, `…/unpin` | | |
//! | `DELETE /v1/blobs/{id}` | | |
//! | `POST /v1/tasks/{id}/hold?ms=N` | | keeps an output that stayed where it was made for so long from now; 0 lets it go |
//! | `GET /v1/events` | | server-sent events: [`EventView`] |
//! | `GET /v1/flow` | | [`flow::FlowView`]: what flows out of this peer, by source and by link |
//! | `GET /v1/policy` | | [`policy::PolicyView`]: the business rules in force here |
//! | `POST /v1/policy` | [`policy::DeployRequest`] | [`policy::PolicyView`], once they are on disk and in force here |
//! | `GET /v1/config` | | [`ConfigView`] |
//! | `POST /v1/invitations` | [`InvitationRequest`] | [`InvitationView`] with its ticket |
//! | `GET /v1/invitations` | | [`Listing`] of [`InvitationView`], without tickets |
//! | `POST /v1/invitations/{id}/withdraw` | | |
//! | `GET /v1/members` | | [`Listing`] of [`MemberView`]: for whom this peer has signed |
//! | `GET /v1/joiners` | | [`Listing`] of [`JoinerView`]: who waits for approval |
//! | `POST /v1/joiners/{number}/approve`, `…/deny` | | |
//! | `POST /v1/peers/{peer}/label` | [`LabelRequest`] | [`LabelView`] |
//! | `POST /v1/pipelines`, `GET /v1/pipelines`, … | | see [`PipelineRequest`] and the table in `api/pipelines.rs` |
//! | `POST /v1/privacy/releases`, `GET /v1/privacy/datasets`, … | | see [`ReleaseRequest`] and the table in `api/privacy.rs` |
//! | `POST /v1/policy/check` | [`PolicyCheckRequest`] | [`PolicyCheck`]; see `api/labels.rs`, also for labels of blobs |
//! | `POST /v1/services`, `POST /v1/services/{name}/call`, … | | see the table in `api/services.rs` |
//! | `POST /v1/streams`, `GET /v1/streams`, … | | see [`StreamRequest`] and the table in `api/streams.rs` |
//! | `POST /v1/shutdown` | | |
//!
//! `{id}` may be a unique prefix, or `last`; `{peer}` a name, an id or a unique prefix of either. Errors are
//! `application/problem+json`: [`Problem`]. Every top-level object carries `"schema":"shoal/v1"`.

pub mod flow;
mod joining;
mod labels;
mod pipelines;
pub mod policy;
mod privacy;
pub mod services;
mod streams;

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::certificate::{CertificateError, Role, SignedRevocations};
use crate::id::{BlobId, MeshId, PeerId, TaskId};
use crate::membership::Revocations;
use crate::output::{PeerState, TaskError, TaskResult, Timings};
use crate::placement::explain::Decision;
use crate::task::durable::Found;
use crate::task::spec::{CloudUse, Ending, LimitKind, Payload, Priority};
use crate::task::{TaskState, problem};
use crate::time::micros;

pub use self::joining::{
    InvitationRequest, InvitationView, JoinReport, JoinedView, JoinerView, LabelRequest, LabelView, MemberView,
};
pub use self::labels::{LabelsRequest, LabelsView, PolicyCheck, PolicyCheckRequest, PolicySubject, PolicyVerdict};
pub use self::pipelines::{
    PipelineRequest, PipelineView, PlanView, PlannedTask, PlannedTransfer, ResultView, StageRequest, StageView,
    WithoutPeer,
};
pub use self::privacy::{BudgetView, DatasetView, ReleaseRequest};
pub use self::streams::{StreamRequest, StreamState, StreamView, TakenView};

/// Value of the `schema` field of every answer.
pub const SCHEMA: &str = "shoal/v1";

/// The default for `schema` fields.
pub fn schema() -> String {
    SCHEMA.to_owned()
}

/// Where the daemon of a user listens, and its tools look for it, when neither was told otherwise.
pub fn default_socket(xdg_runtime_dir: Option<&str>, uid: u32) -> PathBuf {
    match xdg_runtime_dir {
        _ if uid == 0 => PathBuf::from("/run/shoal/shoald.sock"),
        Some(dir) if dir.starts_with('/') => PathBuf::from(dir).join("shoal/shoald.sock"),
        // The directory is made with mode 0700, and one that somebody else made is refused.
        Some(_) | None => PathBuf::from(format!("/tmp/shoal-{uid}/shoald.sock")),
    }
}

/// A list, so that an answer is always an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listing<T> {
    /// [`SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// The things.
    pub items: Vec<T>,
}

impl<T> Listing<T> {
    /// A list in the current schema.
    pub fn new(items: Vec<T>) -> Self {
        Self { schema: schema(), items }
    }
}

/// An error, as a person and a program need it (RFC 9457 with Shoal's members).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable: `SH0412`.
    pub code: String,
    /// HTTP status.
    pub status: u16,
    /// One line: what happened.
    pub title: String,
    /// Why, with the figures.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// When to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Stable error codes.
pub mod codes {
    /// The request is not of the form it must have.
    pub const BAD_REQUEST: &str = "SH0400";
    /// Denied.
    pub const DENIED: &str = "SH0403";
    /// No such task.
    pub const NO_TASK: &str = "SH0404";
    /// No such peer.
    pub const NO_PEER: &str = "SH0405";
    /// No such blob, here or at the neighbours asked.
    pub const NO_BLOB: &str = "SH0406";
    /// No such pipeline.
    pub const NO_PIPELINE: &str = "SH0408";
    /// The graph of the pipeline is not one that can be run.
    pub const BAD_PIPELINE: &str = "SH0411";
    /// No such stream, or it has ended.
    pub const NO_STREAM: &str = "SH0416";
    /// A stream that cannot be run, or of which there is another under that name.
    pub const BAD_STREAM: &str = "SH0417";
    /// No such invitation, or nobody who waits by that number.
    pub const NO_INVITATION: &str = "SH0407";
    /// A prefix fits several.
    pub const AMBIGUOUS: &str = "SH0409";
    /// It is held, or under way, and cannot be changed now.
    pub const IN_USE: &str = "SH0410";
    /// No peer can run the task.
    pub const NO_CANDIDATE: &str = "SH0412";
    /// Every peer declined.
    pub const ALL_DECLINED: &str = "SH0413";
    /// Over a size limit.
    pub const TOO_LARGE: &str = "SH0414";
    /// Not a module that can be run.
    pub const INVALID_MODULE: &str = "SH0415";
    /// The module exited with another code than 0.
    pub const TASK_FAILED: &str = "SH0420";
    /// The module trapped.
    pub const TRAPPED: &str = "SH0421";
    /// The module hit one of its limits.
    pub const LIMIT_HIT: &str = "SH0422";
    /// This peer may not sign for the mesh.
    pub const NO_ISSUER: &str = "SH0425";
    /// The ticket is of no use.
    pub const TICKET: &str = "SH0426";
    /// The inviting peer does not answer.
    pub const NO_INVITER: &str = "SH0427";
    /// One of two clocks is wrong.
    pub const CLOCK: &str = "SH0428";
    /// No peer may have the data, or give back what was made of it.
    pub const RESIDENCY: &str = "SH0434";
    /// It is not known well enough who is revoked.
    pub const REVOCATIONS_STALE: &str = "SH0430";
    /// Too much is waiting.
    pub const OVERLOADED: &str = "SH0429";
    /// Cancelled by its user.
    pub const CANCELLED: &str = "SH0499";
    /// A fault of this peer.
    pub const INTERNAL: &str = "SH0500";
    /// Shutting down.
    pub const SHUTTING_DOWN: &str = "SH0503";
    /// Attempts kept dying.
    pub const ATTEMPTS_EXHAUSTED: &str = "SH0504";
    /// No other peer keeps a second copy of the task.
    pub const NO_GUARDIAN: &str = "SH0505";
    /// No such data set, at the peer that was asked.
    pub const NO_DATASET: &str = "SH0440";
    /// What is left of a privacy budget does not pay for a release.
    pub const BUDGET_SPENT: &str = "SH0441";
    /// A data set of that name is declared in other words.
    pub const DECLARED_OTHERWISE: &str = "SH0442";
    /// A declaration, a question or rows that no release can be made of.
    pub const BAD_RELEASE: &str = "SH0443";
    /// The one peer that keeps a privacy budget cannot be asked.
    pub const KEEPER_AWAY: &str = "SH0444";
    /// No result by the deadline.
    pub const DEADLINE_PASSED: &str = "SH0506";
    /// Those that ran the task do not agree on its answer.
    pub const UNVERIFIED: &str = "SH0508";
    /// The disk failed or is full.
    pub const STORE: &str = "SH0507";
    /// The business rules are not believed.
    pub const POLICY_DENIED: &str = "SH0431";
    /// The business rules are older than those in force.
    pub const POLICY_OLD: &str = "SH0432";
    /// The business rules cannot be meant as they are written.
    pub const BAD_POLICY: &str = "SH0433";
    /// No such service.
    pub const NO_SERVICE: &str = "SH0460";
    /// The record of a service is not believed.
    pub const SERVICE_DENIED: &str = "SH0461";
    /// The record of a service is older than the one in force.
    pub const SERVICE_OLD: &str = "SH0462";
    /// The record of a service cannot be meant, or its name is none.
    pub const BAD_SERVICE: &str = "SH0463";
    /// The module of a service failed a call.
    pub const CALL_FAILED: &str = "SH0464";
    /// As many services are deployed as there may be.
    pub const TOO_MANY_SERVICES: &str = "SH0465";
}

/// This peer and its mesh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Software version.
    pub version: String,
    /// The mesh's name in this peer's configuration.
    pub mesh_name: String,
    /// The mesh.
    pub mesh: MeshId,
    /// This peer, as it sees itself.
    pub me: PeerView,
    /// Microseconds since start.
    pub uptime_us: u64,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// Its neighbours, this peer not included.
    pub peers: Vec<PeerView>,
    /// Tasks by state: of users of this peer.
    pub tasks: TaskCounts,
    /// What holds the worker processes that tasks run in here.
    #[serde(default)]
    pub sandbox: Vec<SandboxPart>,
    /// Things worth a person's attention, each with the next command.
    pub warnings: Vec<String>,
    /// Counters since start, by name: frames, bytes, refusals, drops.
    pub counters: BTreeMap<String, u64>,
}

/// One of the things that hold a worker process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxPart {
    /// `parent`, `limits`, `privileges`, `files` or `syscalls`.
    pub name: String,
    /// Whether it is in force; a peer that lacks a part declines work that is marked `restricted`.
    pub enforced: bool,
    /// How, or why not.
    pub detail: String,
}

/// Something about a machine that a peer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at: `sandbox: files`.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What it matters for.
    pub why: String,
    /// What to do where it is not as it should be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

/// Tasks of users of this peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Not finished, and running somewhere.
    pub running: u64,
    /// Not finished, and not running yet.
    pub waiting: u64,
    /// Done since start.
    pub done: u64,
    /// Failed since start.
    pub failed: u64,
    /// Cancelled since start.
    pub cancelled: u64,
    /// Runs made here for anyone since start.
    pub executed_here: u64,
}

/// A peer, as this one sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its id.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its signed labels.
    pub labels: BTreeMap<String, String>,
    /// What we believe of it.
    pub state: PeerState,
    /// Round trip over the last samples, in milliseconds: median.
    pub rtt_p50_ms: Option<f64>,
    /// The same: 99th percentile.
    pub rtt_p99_ms: Option<f64>,
    /// What the coordinates predict, in milliseconds.
    pub rtt_predicted_ms: Option<f64>,
    /// Packets on the way to it that are lost, in percent, as its connection has measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_percent: Option<f64>,
    /// Its load, as last heard.
    pub load: Option<LoadView>,
    /// Attempts we gave it that ended well, of all that ended, in percent.
    pub ok_percent: Option<f64>,
    /// Microseconds since it was last heard.
    pub heard_us_ago: Option<u64>,
    /// Address of the connection, when we dialled it.
    pub address: Option<String>,
    /// How the connection gets there; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathView>,
}

/// How a connection gets to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathView {
    /// From machine to machine.
    Direct,
    /// Through another member, which cannot read it.
    Relayed,
}

impl core::fmt::Display for PathView {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Relayed => "relayed",
        })
    }
}

/// Load of a peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadView {
    /// A task arriving now would start in this many milliseconds.
    pub start_in_ms: f64,
    /// Tasks it runs at once.
    pub cores: u16,
    /// Running tasks.
    pub running: u16,
    /// Waiting tasks.
    pub queued: u16,
    /// Tasks that may wait.
    pub queue_max: u16,
    /// Host CPU in use, in percent.
    pub cpu_percent: u8,
    /// Speed of a core relative to the reference core.
    pub speed: f64,
    /// Memory free for tasks, in bytes.
    pub memory_free_bytes: u64,
    /// Memory given to tasks, in bytes.
    pub memory_bytes: u64,
    /// Microseconds since it was heard.
    pub age_us: u64,
}

/// A task to be run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRequest {
    /// Builds of the module, already in the peer's blob store.
    pub variants: Vec<VariantRequest>,
    /// Arguments after the program name.
    #[serde(default)]
    pub args: Vec<String>,
    /// Standard input, in order.
    #[serde(default)]
    pub inputs: Vec<InputRequest>,
    /// Linear memory, in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Wall time of the run, in milliseconds.
    #[serde(default)]
    pub wall_ms: Option<u64>,
    /// Standard output, in bytes.
    #[serde(default)]
    pub output_bytes: Option<u64>,
    /// Time after which the answer is worth less, in milliseconds.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// Labels the executor must have.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The role it must have.
    #[serde(default)]
    pub role: Option<Role>,
    /// How cloud peers may be used; the peer's own configuration where absent.
    #[serde(default)]
    pub cloud: Option<CloudUse>,
    /// Only here.
    #[serde(default)]
    pub local_only: bool,
    /// Only at this peer: a name, an id, or a prefix.
    #[serde(default)]
    pub peer: Option<String>,
    /// Only where the sandbox is whole: a peer whose system lacks a part of it declines.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub restricted: bool,
    /// No variant with a greater declared loss.
    #[serde(default)]
    pub loss_max: Option<f64>,
    /// The same said otherwise: no variant with a smaller accuracy, which is 1 less its loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_accuracy: Option<f64>,
    /// λ for this task.
    #[serde(default)]
    pub lambda: Option<f64>,
    /// How long it is expected to run on a reference core; without it the module's earlier runs say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<f64>,
    /// Attempts after the first where an executor is lost, or fails it: 0 to 7, 7 where absent. A module that ends with an
    /// error has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u8>,
    /// Which of those that wait it goes before: `high`, `normal` (where absent) or `low`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// How long it may be expected to wait for a core, in milliseconds; where it would wait longer it is refused as overload.
    /// Where absent, a task in memory is refused while the mesh is offered more than it can do and this is no burst that
    /// passes; a task on disk waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_within_ms: Option<u64>,
    /// How its answer is made sure of: `never` (where absent), `auto`, `sample:P`, `quorum:K/N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// Copies on disk before it is acknowledged: 0 (in memory), 1 (here), 2 (here and at a guardian elsewhere).
    #[serde(default)]
    pub durable: u8,
    /// How long its result is kept, in milliseconds; 24 hours where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
    /// Its output stays as a blob where it was made, whatever its size, for as long as its result is kept, so that a task that
    /// reads it runs near it. It is lost with that peer, also where `durable` is not 0.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub keep_output: bool,
    /// Where its inputs may be: regions (`eu`) and sites (`site:street-9`). It is run there only, and what it writes goes there
    /// only. Input blobs that are here are labelled so from then on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub residency: Vec<String>,
    /// What kind of data its inputs are, and what it writes: `personal`. The first is also what business rules know it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class: Vec<String>,
    /// The same key of the same submitter always names the same task.
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// Whose key it is: 32 bytes that only the user knows, written like a peer's id. With them the same user finds its
    /// task from any peer; the peer's own id where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitter: Option<PeerId>,
    /// Answer when it has ended, not when it is accepted.
    #[serde(default)]
    pub wait: bool,
    /// Only say where it would run.
    #[serde(default)]
    pub dry_run: bool,
    /// For listings; the module's file name, usually.
    #[serde(default)]
    pub name: String,
}

/// One build of a module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantRequest {
    /// `full`, `int8`.
    #[serde(default)]
    pub name: String,
    /// The module.
    pub module: BlobId,
    /// Declared loss, 0 to 1.
    #[serde(default)]
    pub loss: f64,
}

/// A piece of standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputRequest {
    /// UTF-8 text.
    Text(String),
    /// Base64 of the bytes (standard alphabet, padded).
    Base64(String),
    /// A blob in the peer's store.
    Blob(BlobId),
}

/// A task, as its home peer knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    /// [`SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Its id.
    pub task: TaskId,
    /// The name it was submitted under.
    pub name: String,
    /// Where it is in its life.
    pub state: TaskState,
    /// The latest attempt, from 1.
    pub attempt: u32,
    /// Where it runs or ran.
    pub executor: Option<ExecutorView>,
    /// Which build.
    pub variant: Option<String>,
    /// Size of its input, in bytes.
    pub input_bytes: u64,
    /// Microseconds since it was accepted.
    pub age_us: u64,
    /// Where the time went, once it is done.
    pub timings: Option<Timings>,
    /// The module's exit code, when it exited.
    pub exit_code: Option<u32>,
    /// What it wrote, when small enough to be carried here and asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputView>,
    /// The end of its standard error, as text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// Why it has no good end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// The limit it hit, when that is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitKind>,
    /// Runs that gave this answer, where runs were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<u8>,
}

impl TaskView {
    /// A task that another peer told of; `executor` is how this one knows who ran it.
    pub fn of_found(found: &Found, executor: Option<ExecutorView>) -> Self {
        let mut view = Self {
            schema: schema(),
            task: found.task,
            name: found.name.clone(),
            state: found.state,
            attempt: 0,
            executor,
            variant: None,
            input_bytes: 0,
            age_us: micros(found.age),
            timings: None,
            exit_code: None,
            output: None,
            log: String::new(),
            problem: None,
            limit: None,
            agreed: None,
        };
        if let Some(end) = &found.result {
            view.end(end, true);
        }
        view
    }

    /// Enters how it ended.
    pub fn end(&mut self, end: &Result<TaskResult, TaskError>, with_output: bool) {
        let result = match end {
            Ok(result) => result,
            Err(error) => {
                self.problem = Some(problem::of_error(error));
                return;
            }
        };
        self.attempt = result.attempts.max(self.attempt);
        self.timings = Some(result.timings);
        self.agreed = Some(result.agreed).filter(|agreed| *agreed > 0);
        self.log = String::from_utf8_lossy(&result.report.log).into_owned();
        self.output = with_output.then(|| OutputView::of(&result.report.output));
        self.problem = problem::of_ending(&result.report.ending);
        match &result.report.ending {
            Ending::Exited(code) => self.exit_code = Some(*code),
            Ending::LimitHit(limit) => self.limit = Some(*limit),
            Ending::Trapped(_) | Ending::Invalid(_) | Ending::HostFailed(_) => {}
        }
    }
}

impl OutputView {
    /// Text where it is text.
    pub fn of(output: &Payload) -> Self {
        match output {
            Payload::Inline(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Self::Text(text.to_owned()),
                Err(_) => Self::Base64(STANDARD.encode(bytes)),
            },
            Payload::Blob(blob) => Self::Blob { id: blob.id, bytes: blob.bytes, holder: Some(blob.holder) },
        }
    }
}

/// Who ran a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorView {
    /// Its id.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
}

/// What a task wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputView {
    /// It is valid UTF-8.
    Text(String),
    /// It is not.
    Base64(String),
    /// It is large, or was to stay where it was made: a blob.
    Blob {
        /// The blob.
        id: BlobId,
        /// Its size.
        bytes: u64,
        /// A peer that has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        holder: Option<PeerId>,
    },
}

/// A blob in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobView {
    /// [`SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Its id.
    pub id: BlobId,
    /// Its size, in bytes.
    pub bytes: u64,
    /// Whether it has been compiled as a module here.
    #[serde(default)]
    pub is_module: bool,
    /// Whether a user has pinned it.
    #[serde(default)]
    pub pinned: bool,
    /// Whether all of it is here; of the rest something was fetched, and the rest of it is fetched when it is wanted.
    #[serde(default = "yes")]
    pub complete: bool,
    /// What its owners say of it.
    #[serde(default, skip_serializing_if = "LabelsView::is_empty")]
    pub labels: LabelsView,
}

fn yes() -> bool {
    true
}

/// Everything that is known of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobStat {
    /// [`SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Its id.
    pub id: BlobId,
    /// Its size, in bytes, if anybody within reach knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether all of it is here.
    pub local: bool,
    /// Of a blob that is here in part, about how many bytes are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_bytes: Option<u64>,
    /// Whether it is known to survive a power cut here.
    pub durable: bool,
    /// Whether a user has pinned it here.
    pub pinned: bool,
    /// Tasks of other peers whose output it is, and for which it stays here.
    pub leases: usize,
    /// Whether it has been compiled as a module here.
    pub is_module: bool,
    /// Other peers that are known to hold it.
    pub holders: Vec<HolderView>,
    /// What its owners say of it.
    #[serde(default, skip_serializing_if = "LabelsView::is_empty")]
    pub labels: LabelsView,
    /// Who says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<HolderView>,
}

/// A peer that holds a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderView {
    /// Its id.
    pub peer: PeerId,
    /// Its name, or the beginning of its id.
    pub name: String,
}

/// A round trip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PingView {
    /// [`SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// To whom.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// How long, in milliseconds; absent when there was no answer within a second.
    pub rtt_ms: Option<f64>,
    /// How the connection gets there; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathView>,
}

/// Who is a member of the mesh no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationsView {
    /// [`SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Node keys.
    pub peers: Vec<PeerId>,
    /// Issuers whose signatures count no more.
    pub issuers: Vec<PeerId>,
    /// The signed lists, one a signer, as [`crate::certificate::SignedRevocations::to_bytes`] in base64.
    pub lists: Vec<String>,
}

/// A revocation list to be believed and passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeRequest {
    /// As in [`RevocationsView::lists`].
    pub list: String,
}

impl RevokeRequest {
    /// The request that hands in a list.
    pub fn of(list: &SignedRevocations) -> Self {
        Self { list: STANDARD.encode(list.to_bytes()) }
    }
}

impl RevocationsView {
    /// What is held, as the API shows it.
    pub fn of(revocations: &Revocations) -> Self {
        Self {
            schema: schema(),
            peers: revocations.peers().iter().copied().collect(),
            issuers: revocations.issuers().iter().copied().collect(),
            lists: revocations.lists().map(|list| STANDARD.encode(list.to_bytes())).collect(),
        }
    }
}

/// Reads a signed list of the API.
pub fn revocations_from_base64(text: &str) -> Result<SignedRevocations, CertificateError> {
    let bytes = STANDARD.decode(text);
    let bytes = bytes.map_err(|error| CertificateError::Unreadable { what: "revocation list", why: error.to_string() });
    SignedRevocations::from_bytes(&bytes?)
}

/// The distance of two peers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RttView {
    /// [`SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// One.
    pub a: String,
    /// The other.
    pub b: String,
    /// Measured, when this peer is one of them, in milliseconds.
    pub measured_ms: Option<f64>,
    /// Predicted from coordinates, in milliseconds.
    pub predicted_ms: Option<f64>,
}

/// One event of the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventView {
    /// [`SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Counts the events of this run of the daemon.
    pub sequence: u64,
    /// Microseconds since the daemon's start.
    pub at_us: u64,
    /// The news; its fields stand beside these.
    #[serde(flatten)]
    pub event: crate::output::Event,
    /// Names of the peers spoken of, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<PeerId, String>,
}

/// The daemon's configuration and where each value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigView {
    /// [`SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// In the order of the file format.
    pub values: Vec<ConfigValue>,
}

/// One configured value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigValue {
    /// `node.name`.
    pub key: String,
    /// As TOML.
    pub value: String,
    /// `default`, a file, an environment variable or `flag`.
    pub origin: String,
}

/// Decisions of one task, one an attempt.
pub type Explanation = Listing<Decision>;
