//! Facts: everything that can happen to a peer, told to it by its driver.
//!
//! **Invariant:** each variant is something that *has happened*; a run of a peer is its seed and a list of `(Time, Input)`.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::certificate::{Member, SignedRecord, VerifiedRevocations};
use crate::id::{BlobId, PeerId, TaskId};
use crate::latency::PathSample;
use crate::message::{Held, Message, TaskRef};
use crate::pipeline::PipelineSubmission;
use crate::pipeline::spec::PipelineId;
use crate::privacy::Refused;
use crate::rules::VerifiedRules;
use crate::service::{ServiceName, VerifiedService};
use crate::store::Ticket;
use crate::task::durable::Keeping;
use crate::task::receipt::SignedReceipt;
use crate::task::report::RunReport;
use crate::task::spec::TaskSpec;

/// Why a module cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PrepareError {
    /// No peer could run it.
    #[error("the module cannot be run: {0}")]
    Invalid(String),
    /// Another peer might, or this one later.
    #[error("this peer cannot prepare the module: {0}")]
    Host(String),
}

/// A fact for [`crate::Peer::handle`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// Time has passed; the driver calls at [`crate::Peer::poll_timeout`].
    TimerFired,
    /// A neighbour showed a valid certificate on a new connection; earlier connections to it are gone.
    Connected {
        /// Who it is, as its certificate has it.
        member: Member,
        /// The address it was dialled at, when it was we who dialled.
        address: Option<String>,
    },
    /// The last connection to a neighbour closed: a hint, not a death.
    Disconnected {
        /// Which neighbour.
        peer: PeerId,
    },
    /// A dial ended without an admitted connection.
    DialFailed {
        /// Whom we wanted, when known.
        peer: Option<PeerId>,
        /// The address, for a dial by address.
        address: Option<String>,
        /// For people.
        reason: String,
    },
    /// A neighbour said something.
    Received {
        /// Which neighbour.
        from: PeerId,
        /// What it said.
        message: Message,
    },
    /// A neighbour sent bytes that are no message.
    Garbled {
        /// Which neighbour.
        from: PeerId,
    },
    /// An address where a peer may be: from mDNS, configuration or the list remembered on disk.
    Discovered {
        /// Who is said to be there, when that is known.
        peer: Option<PeerId>,
        /// Where.
        address: String,
        /// Configured by the owner: it is tried for ever.
        bootstrap: bool,
    },
    /// Our own addresses changed: our new signed record, to be handed to others.
    RecordSigned(SignedRecord),
    /// A record from disk, or the verdict on records that neighbours sent ([`crate::Output::VerifyRecords`]).
    RecordVerified {
        /// The record, to be passed on.
        record: SignedRecord,
        /// Who it is about.
        member: Member,
        /// Where it can be reached.
        addresses: Vec<String>,
        /// Which of two records of a peer is newer.
        sequence: u64,
    },
    /// The verdict on a revocation list that a neighbour told ([`crate::Output::VerifyRevocations`]).
    RevocationsVerified(Option<Box<VerifiedRevocations>>),
    /// A revocation list from disk, or from a user of this peer, that has been verified.
    Revoked(Box<VerifiedRevocations>),
    /// Whether revocations could have been missed: every list that is held is older than
    /// [`crate::membership::REVOCATIONS_FRESH`]. Told when it changes; restricted tasks are refused meanwhile.
    RevocationsAged {
        /// They are too old.
        is_stale: bool,
    },
    /// A peer is described by a newer certificate than before: a connected neighbour, whose connection goes on, or this peer
    /// itself.
    Recertified(Member),
    /// A user of this peer wants a task run.
    Submitted {
        /// Its id, by [`TaskId::derive`].
        task: TaskId,
        /// What its user calls it, for listings.
        name: String,
        /// What to run; the driver has called [`TaskSpec::check`].
        spec: Box<TaskSpec>,
        /// How it is kept. Where that is more than in memory, [`crate::Output::Acknowledged`] or a refusal by
        /// [`crate::Output::Finish`] follows.
        keeping: Keeping,
    },
    /// A user of this peer calls a service: a task whose version [`crate::Peer::call`] has chosen.
    Called {
        /// Its id, by [`TaskId::derive`].
        task: TaskId,
        /// Which service.
        service: ServiceName,
        /// Which version of it.
        version: u32,
        /// What to run; the driver has called [`TaskSpec::check`].
        spec: Box<TaskSpec>,
    },
    /// A user no longer wants a task.
    Cancelled(TaskId),
    /// A user of this peer wants a pipeline run; answered by [`crate::Output::PipelineAnswered`].
    PipelineSubmitted {
        /// Its id, derived as those of tasks are.
        pipeline: PipelineId,
        /// What to run; the driver has called [`crate::pipeline::check`].
        given: Box<PipelineSubmission>,
    },
    /// A user no longer wants a pipeline.
    PipelineCancelled(PipelineId),
    /// What an [`crate::Output::Export`] asked for was released, or was not.
    Exported {
        /// From the order.
        task: TaskId,
        /// Who keeps the data set.
        keeper: PeerId,
        /// From the order to this.
        took: Duration,
        /// The release as the output of its stage.
        result: Result<String, Refused>,
    },
    /// A user asks how far a peer is.
    PingRequested {
        /// Whom to ping.
        peer: PeerId,
        /// Returned with the answer.
        ticket: u64,
    },
    /// The blobs an [`crate::Output::Fetch`] asked for are here, or cannot be had.
    Fetched {
        /// For which attempt.
        attempt: TaskRef,
        /// Nothing, or why not.
        result: Result<(), String>,
    },
    /// The module an [`crate::Output::Prepare`] asked for can start at once, or cannot.
    Prepared {
        /// Which module.
        module: BlobId,
        /// What preparing it took, or why it cannot be run.
        result: Result<Duration, PrepareError>,
    },
    /// A run ended.
    Finished {
        /// Which attempt.
        attempt: TaskRef,
        /// How.
        report: RunReport,
    },
    /// The receipt that an [`crate::Output::Sign`] asked for.
    Signed {
        /// Of which attempt.
        attempt: TaskRef,
        /// The receipt.
        receipt: SignedReceipt,
    },
    /// Everything that is on disk; the first fact a peer with a store is told. Without it nothing can be kept here.
    Restored {
        /// Keys and records, as they were put.
        records: Vec<(Vec<u8>, Vec<u8>)>,
        /// Counts the starts of this peer on this store, from 1; fsynced before this is said.
        boot: u32,
        /// The date now, in milliseconds since 1970: ages of records are reckoned with it over restarts, and nothing else.
        unix_ms: u64,
    },
    /// The changes of an [`crate::Output::Persist`] are on disk; told in the order of the tickets.
    Persisted {
        /// Of the order.
        ticket: Ticket,
    },
    /// The changes of an [`crate::Output::Persist`] are not on disk, none of them.
    PersistFailed {
        /// Of the order.
        ticket: Ticket,
        /// For people: `no space left on device`.
        reason: String,
    },
    /// A user asks for a task that this peer does not know; answered by [`crate::Output::Found`].
    Sought {
        /// Which.
        task: TaskId,
        /// Returned with the answer.
        ticket: u64,
    },
    /// The driver looks for a blob that those who were named for it do not have; answered by [`crate::Output::BlobFound`].
    BlobSought {
        /// Which.
        blob: BlobId,
        /// Returned with the answer.
        ticket: u64,
    },
    /// What of [`crate::Output::LookUp`] is in the local store.
    LookedUp {
        /// Who wants to know.
        to: PeerId,
        /// What is here, and its size.
        here: Vec<Held>,
    },
    /// A peer sent bytes that are not those of the blob they were asked as.
    Lied {
        /// Who.
        peer: PeerId,
        /// Which blob.
        blob: BlobId,
    },
    /// A user of this peer needs the output of a finished task where it is for so long from now, or no longer at all.
    HoldWanted {
        /// Which task.
        task: TaskId,
        /// How long; nothing lets it go.
        lease: Duration,
    },
    /// The verdict on business rules that a neighbour sent ([`crate::Output::VerifyRules`]); what is given is on disk.
    RulesVerified(Option<Box<VerifiedRules>>),
    /// Business rules from disk, or from a user of this peer, that have been verified and are on disk.
    RulesDeployed(Box<VerifiedRules>),
    /// The verdict on records of services that a neighbour sent ([`crate::Output::VerifyServices`]); what is given is on disk.
    ServicesVerified(Vec<VerifiedService>),
    /// Records of services that have been verified and are on disk.
    ServicesDeployed {
        /// The records.
        records: Vec<VerifiedService>,
        /// A user here has handed them in just now: their modules are held here until others have fetched them.
        by_user: bool,
    },
    /// The module an [`crate::Output::KeepModule`] asked for is in the local store, or cannot be had now.
    ModuleKept {
        /// Which.
        module: BlobId,
        /// Nothing, or why not.
        result: Result<(), String>,
    },
    /// The date, in seconds since 1970: some rules hold at some hours. Told now and then; the peer's clock goes on from there.
    DateTold {
        /// Since 1970.
        unix_s: u64,
    },
    /// So much of a blob was sent to a peer that fetched it, since this was last told.
    Served {
        /// To whom.
        to: PeerId,
        /// Of which blob.
        blob: BlobId,
        /// How much.
        bytes: u64,
    },
    /// The host's load was sampled.
    LoadSampled(HostLoad),
    /// The transport has measured the path to a neighbour.
    PathMeasured {
        /// Which neighbour.
        peer: PeerId,
        /// What it measured.
        sample: PathSample,
    },
    /// The daemon was asked to stop.
    ShutdownRequested,
}

/// What the host's other programs leave to tasks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HostLoad {
    /// Share of all cores in use by anything, in percent.
    pub cpu_percent: u8,
    /// Cores' worth of CPU used by programs other than our tasks.
    pub foreign_cores: f64,
    /// Memory of the host that is free for use, in bytes.
    pub memory_free_bytes: u64,
}
