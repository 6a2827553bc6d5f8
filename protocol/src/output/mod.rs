//! Orders: everything a peer wants done, and the news its users may follow.
//!
//! | file | what leaves a peer |
//! |---|---|
//! | `ending.rs` | how a task ended |
//! | `news.rs` | what happened, for whoever follows it |
//! | `outbox.rs` | all of it, in one order |
//!
//! **Invariant:** sub-machines push into the one [`Outbox`] they are lent, so effects keep one order.

mod ending;
mod news;
mod outbox;

use core::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::ending::{TaskError, TaskResult, Timings};
pub use self::news::{Event, Judgement, PeerState};
pub use self::outbox::Outbox;
use crate::certificate::{SignedRecord, SignedRevocations};
use crate::id::{BlobId, PeerId, TaskId};
use crate::message::{Message, TaskRef};
use crate::pipeline::spec::PipelineId;
use crate::privacy::Export;
use crate::residency::Labels;
use crate::rules::SignedRules;
use crate::service::SignedService;
use crate::store::{Change, Ticket};
use crate::task::durable::Found;
use crate::task::receipt::Receipt;
use crate::task::spec::{BlobRef, Limits, Payload};

/// An order to the driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Output {
    /// Say this to a neighbour.
    Send {
        /// Whom.
        to: PeerId,
        /// What.
        message: Message,
    },
    /// Open a connection; the answer is `Connected` or `DialFailed`.
    Dial {
        /// Who should be there, when that is known.
        peer: Option<PeerId>,
        /// Where it may be, best first.
        addresses: Vec<String>,
    },
    /// Close the connection to a peer.
    Disconnect {
        /// Which.
        peer: PeerId,
        /// For the log.
        reason: String,
    },
    /// Check the signatures of records a neighbour sent; the good ones come back as `RecordVerified`.
    VerifyRecords(Vec<SignedRecord>),
    /// Check the signatures of a revocation list; answered by `RevocationsVerified`, whatever comes of it.
    VerifyRevocations(Box<SignedRevocations>),
    /// The revocation lists have changed ([`crate::Peer::revocations`]): keep them, and let nobody in who is in them.
    KeepRevocations,
    /// Check the signatures of business rules that a neighbour sent and put them on disk, unless later ones are there; answered
    /// by `RulesVerified`, whatever comes of it.
    VerifyRules {
        /// Who sent them.
        from: PeerId,
        /// The rules.
        signed: Box<SignedRules>,
    },
    /// Check the signatures of services' records that a neighbour sent and put them on disk, but for those of which later ones
    /// are there; answered by `ServicesVerified`, whatever comes of it.
    VerifyServices {
        /// Who sent them.
        from: PeerId,
        /// The records.
        signed: Vec<SignedService>,
    },
    /// Bring the module of a service into the local store, keep it there, and so many instances ready to be called once it is
    /// prepared; instead of what was ordered of it before. Answered by `ModuleKept`.
    KeepModule {
        /// Which.
        module: BlobId,
        /// Its size.
        bytes: u64,
        /// How many instances; none where it is only held for others.
        instances: u16,
    },
    /// The module of a service is not needed here any more: its memory is given back.
    ReleaseModule {
        /// Which.
        module: BlobId,
    },
    /// Bring these blobs into the local store; answered by `Fetched`.
    Fetch {
        /// For which attempt.
        attempt: TaskRef,
        /// What, and who has it.
        blobs: Vec<BlobRef>,
    },
    /// Compile a module that is in the store; answered by `Prepared`.
    Prepare {
        /// Which.
        module: BlobId,
    },
    /// Run a prepared module; answered by `Finished`.
    Execute(Box<Execution>),
    /// Sign what came of a run with the key of this peer; answered by `Signed`.
    Sign(Box<Receipt>),
    /// Stop a run, or never start it; no answer is expected.
    Abort(TaskRef),
    /// A task of a user here reached its end: hand the result over.
    Finish {
        /// Which task.
        task: TaskId,
        /// Its result, or why there is none.
        result: Result<TaskResult, TaskError>,
    },
    /// The answer to `PingRequested`: the round trip, or nothing within a second.
    PingAnswered {
        /// From the request.
        ticket: u64,
        /// How long it took.
        rtt: Option<Duration>,
    },
    /// Make these changes durable, all or none; answered by `Persisted` or `PersistFailed`.
    Persist {
        /// Returned with the answer.
        ticket: Ticket,
        /// What to change, in this order.
        changes: Vec<Change>,
    },
    /// The task is kept as its user asked: its submission may be acknowledged.
    Acknowledged {
        /// Which task.
        task: TaskId,
    },
    /// What was handed in again is known here and cannot be acknowledged now; what becomes of it stays open.
    NotAcknowledged {
        /// Which task.
        task: TaskId,
        /// Why not; it may be handed in again.
        error: TaskError,
    },
    /// The time of a kept task is over, and how it ended is not known here: whoever waits for it hears so.
    Forgotten {
        /// Which task.
        task: TaskId,
    },
    /// Keep these blobs until `Forget`, instead of those named for the task before: a task that is on disk needs them.
    Keep {
        /// Which task.
        task: TaskId,
        /// What it reads or wrote; all of it is in the local store, or is being fetched.
        blobs: Vec<BlobId>,
    },
    /// The blobs of a task are not needed any more.
    Forget {
        /// Which task.
        task: TaskId,
    },
    /// The answer to `Sought`.
    Found {
        /// From the request.
        ticket: u64,
        /// What a peer within reach knows of the task; nothing when none does.
        found: Option<Box<Found>>,
    },
    /// A pipeline is on disk here: its submission may be acknowledged; or it was not taken.
    PipelineAnswered {
        /// Which.
        pipeline: PipelineId,
        /// Why it was not taken.
        result: Result<(), TaskError>,
    },
    /// Have the keeper of a data set make a statistic of this; answered by `Exported`.
    Export {
        /// Returned with the answer.
        task: TaskId,
        /// What is asked, of whom.
        export: Export,
        /// The rows.
        data: Vec<Payload>,
        /// What is said of them: a keeper elsewhere has to be one that may have them.
        labels: Labels,
    },
    /// A pipeline of a user here reached its end.
    PipelineEnded {
        /// Which.
        pipeline: PipelineId,
    },
    /// The answer to `BlobSought`: who has it, the nearest first as far as answers tell.
    BlobFound {
        /// From the request.
        ticket: u64,
        /// Who.
        holders: Vec<PeerId>,
    },
    /// Which of these blobs are in the local store? Answered by `LookedUp` where any is.
    LookUp {
        /// Who wants to know.
        from: PeerId,
        /// Which; a neighbour has named them.
        blobs: Vec<BlobId>,
    },
    /// The output of a task stays here, in the local store, for so long, over restarts. Later orders for the same task of the
    /// same home replace this one.
    Hold {
        /// Whose task.
        home: PeerId,
        /// Which task.
        task: TaskId,
        /// Its output; the one that is held already where none is named.
        blob: Option<BlobId>,
        /// From now; it is let go if that is nothing.
        lease: Duration,
    },
    /// News for whoever follows.
    Notify(Event),
    /// Everything that could be handed back was; the process may end.
    ShutdownReady,
}

/// What the sandbox needs to run one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// Which attempt.
    pub attempt: TaskRef,
    /// The prepared module.
    pub module: BlobId,
    /// Arguments after the program name.
    pub args: Vec<String>,
    /// Standard input; blobs among it are in the local store.
    pub inputs: Vec<Payload>,
    /// Bounds to enforce.
    pub limits: Limits,
    /// What is said of what it reads, as far as its home knows: the driver adds what the blobs here say of themselves.
    #[serde(default)]
    pub labels: Labels,
    /// Its output is stored as a blob, whatever its size.
    #[serde(default)]
    pub keep_output: bool,
    /// Its answer is compared with that of other runs: what the module can observe must follow from the task alone.
    pub is_compared: bool,
}
