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
//!
//! Each part of it has a file. Here is what all parts have in common.

mod blobs;
pub mod codes;
mod config;
mod events;
pub mod flow;
mod joining;
mod labels;
mod peers;
mod pipelines;
pub mod policy;
mod privacy;
mod problem;
mod revocations;
pub mod services;
mod status;
mod streams;
mod task_request;
mod task_view;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::blobs::{BlobStat, BlobView, HolderView};
pub use self::config::{ConfigValue, ConfigView};
pub use self::events::EventView;
pub use self::joining::{
    InvitationRequest, InvitationView, JoinReport, JoinedView, JoinerView, LabelRequest, LabelView, MemberView,
};
pub use self::labels::{LabelsRequest, LabelsView, PolicyCheck, PolicyCheckRequest, PolicySubject, PolicyVerdict};
pub use self::peers::{LoadView, PathView, PeerView, PingView, RttView};
pub use self::pipelines::{
    PipelineRequest, PipelineView, PlanView, PlannedTask, PlannedTransfer, ResultView, StageRequest, StageView,
    WithoutPeer,
};
pub use self::privacy::{BudgetView, DatasetView, ReleaseRequest};
pub use self::problem::Problem;
pub use self::revocations::{RevocationsView, RevokeRequest, revocations_from_base64};
pub use self::status::{Check, SandboxPart, Status, TaskCounts};
pub use self::streams::{StreamRequest, StreamState, StreamView, TakenView};
pub use self::task_request::{InputRequest, TaskRequest, VariantRequest};
pub use self::task_view::{ExecutorView, Explanation, OutputView, TaskView};

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
