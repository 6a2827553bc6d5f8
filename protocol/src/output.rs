//! Orders: everything a peer wants done, and the news its users may follow.
//!
//! **Invariant:** sub-machines push into the one [`Outbox`] they are lent, so effects keep one order.

use core::time::Duration;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::certificate::{SignedRecord, SignedRevocations};
use crate::id::{BlobId, PeerId, TaskId};
use crate::message::{Message, TaskRef};
use crate::pipeline::spec::PipelineId;
use crate::privacy::Export;
use crate::residency::Labels;
use crate::rules::SignedRules;
use crate::service::SignedService;
use crate::store::{Change, Ticket};
use crate::task::TaskState;
use crate::task::durable::Found;
use crate::task::receipt::Receipt;
use crate::task::spec::{BlobRef, Limits, Payload, RunReport};

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

/// A finished task, as its user sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// How the module ended, and what it wrote.
    pub report: RunReport,
    /// Where it ran.
    pub executor: PeerId,
    /// Which build was run.
    pub variant: u8,
    /// Attempts it took.
    pub attempts: u32,
    /// Runs that gave this answer, where runs were compared; 0 where its executor was believed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub agreed: u8,
    /// Where the time went.
    pub timings: Timings,
}

fn is_zero(value: &u8) -> bool {
    *value == 0
}

/// Where a task's time went, as its home peer saw it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// From acceptance to the award that was kept.
    pub placing_us: u64,
    /// Fetching and preparing at the executor.
    pub prepare_us: u64,
    /// Waiting in the executor's queue.
    pub queued_us: u64,
    /// Running.
    pub run_us: u64,
    /// From acceptance to the result at home.
    pub total_us: u64,
}

/// Why a task has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum TaskError {
    /// The policy excludes every peer there is.
    #[error("no peer can run this task: {excluded} of {candidates} peers are excluded ({reasons})")]
    NoCandidate {
        /// Peers considered.
        candidates: usize,
        /// Peers that policy excludes.
        excluded: usize,
        /// The reasons, counted.
        reasons: String,
    },
    /// Those that could run it may not have what it reads, or may not give back what it writes.
    #[error("no peer may run this task on data labelled {labels}: of {candidates} peers, {reasons}")]
    Residency {
        /// What is said of the data.
        labels: String,
        /// Peers considered.
        candidates: usize,
        /// Why each is excluded, counted.
        reasons: String,
    },
    /// Every peer that may run it said no.
    #[error("no peer accepted the task: {asked} were asked, {reasons}")]
    AllDeclined {
        /// Peers asked.
        asked: usize,
        /// The reasons, counted.
        reasons: String,
    },
    /// Too much is waiting here already.
    #[error("more is asked for than can be done: {held} tasks of this peer's users are unfinished")]
    Overloaded {
        /// Unfinished tasks of its users.
        held: usize,
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The user cancelled it.
    #[error("the task was cancelled")]
    Cancelled,
    /// Attempts kept dying with their executors.
    #[error("the task was tried {attempts} times; last: {last}")]
    AttemptsExhausted {
        /// How often.
        attempts: u32,
        /// How the last one ended.
        last: String,
    },
    /// Those that ran it do not agree on its answer.
    #[error("{runs} runs of the task gave {answers} answers, and none often enough")]
    Unverified {
        /// Runs that came to an end.
        runs: usize,
        /// Different answers.
        answers: usize,
    },
    /// The daemon is shutting down.
    #[error("this peer is shutting down")]
    ShuttingDown,
    /// Its record could not be written.
    #[error("the task cannot be kept: {why}")]
    NotStored {
        /// What the disk said.
        why: String,
    },
    /// Nobody holds a second copy of its record.
    #[error("no other peer keeps a copy of the task: {asked} were asked ({reasons})")]
    NoGuardian {
        /// Peers asked.
        asked: usize,
        /// Why not.
        reasons: String,
    },
    /// It had no result by its deadline, or by the end of its retention.
    #[error("the task had no result within {after:?}")]
    DeadlinePassed {
        /// From acceptance.
        after: Duration,
    },
    /// This peer does not know well enough who is revoked.
    #[error("the youngest revocation list here is older than {} h", crate::membership::REVOCATIONS_FRESH.as_secs() / 3_600)]
    RevocationsStale,
    /// What this peer kept of it cannot be read.
    #[error("the record of the task cannot be read: {why}")]
    RecordDamaged {
        /// What is wrong with it.
        why: String,
    },
}

impl TaskError {
    /// Whether the task was never taken on: a refusal, not the end of an accepted task.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Overloaded { .. }
            | Self::ShuttingDown
            | Self::NotStored { .. }
            | Self::NoGuardian { .. }
            | Self::RevocationsStale => true,
            Self::NoCandidate { .. }
            | Self::Residency { .. }
            | Self::AllDeclined { .. }
            | Self::Cancelled
            | Self::AttemptsExhausted { .. }
            | Self::Unverified { .. }
            | Self::DeadlinePassed { .. }
            | Self::RecordDamaged { .. } => false,
        }
    }
}

/// News about tasks and peers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A task of a user here entered a state.
    TaskChanged {
        /// Which task.
        task: TaskId,
        /// The state it entered.
        state: TaskState,
        /// Where, once that is known.
        executor: Option<PeerId>,
        /// Which attempt, from 1.
        epoch: u32,
        /// Why, when it is not the ordinary course.
        note: Option<String>,
    },
    /// A pipeline of a user here, or a stage of it, entered a state.
    PipelineChanged {
        /// Which pipeline.
        pipeline: PipelineId,
        /// Its stage; absent where it is about the whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<String>,
        /// `accepted`, `running`, `done`, `failed` or `cancelled`.
        state: String,
        /// Why, when it is not the ordinary course.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// A record on disk cannot be read; it is left there, and what it was about does not go on here.
    RecordDamaged {
        /// The task it was about, where its key says so.
        task: Option<TaskId>,
        /// What is wrong with it.
        why: String,
    },
    /// Runs of one task were compared, and this answer was not believed.
    AnswerNotBelieved {
        /// Which task.
        task: TaskId,
        /// Who answered so.
        peer: PeerId,
    },
    /// A peer is a member no more.
    PeerRevoked {
        /// Which peer; it may be this one.
        peer: PeerId,
        /// Its name.
        name: String,
    },
    /// Other business rules are in force.
    RulesDeployed {
        /// Which.
        version: u64,
    },
    /// Another record of a service is in force.
    ServiceDeployed {
        /// Which service.
        name: String,
        /// Which record.
        generation: u64,
        /// Whether it is there no more.
        removed: bool,
    },
    /// A version that came in fails here and is not called any more, until something else is deployed.
    ServiceHeldBack {
        /// Of which service.
        name: String,
        /// Its number.
        version: u32,
        /// Calls of it that failed here.
        failures: u64,
        /// Calls of it here.
        calls: u64,
    },
    /// A signer of revocations has signed two lists of one version, or one that does not follow on the one before: two
    /// people revoked at once, or the key is in other hands.
    RevocationsForked {
        /// Which version.
        version: u64,
    },
    /// This peer will not trust another, or not hear it, for a while, because of how that one behaved.
    PeerJudged {
        /// Whom.
        peer: PeerId,
        /// What follows for it.
        judgement: Judgement,
        /// For how many seconds.
        for_s: u64,
    },
    /// Data did not go to a peer, because of its labels.
    Withheld {
        /// Whom it was for.
        peer: PeerId,
        /// What it was: the kind of the message.
        what: String,
        /// Which part of the rule: `residency`, `site` or `version`.
        rule: String,
        /// The label at fault.
        why: String,
    },
    /// A peer was found, suspected, lost or came back.
    PeerChanged {
        /// Which peer.
        peer: PeerId,
        /// Its name.
        name: String,
        /// The state it entered.
        state: PeerState,
    },
}

/// What follows for a peer that behaves badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// It did not do what it said of itself: nothing is placed on it.
    Distrusted,
    /// It floods us, or talks nonsense: the same, and what it says of itself and others is not heard.
    CoolsOff,
    /// It went on: it has no connection.
    Banned,
}

/// What this peer believes of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// Connected and heard.
    Alive,
    /// Not heard, by us or by helpers; it may still refute.
    Suspect,
    /// It did not refute.
    Dead,
    /// It said goodbye.
    Left,
}

/// The one queue of orders; drained by the driver after each input.
///
/// What a peer says to itself never leaves it: placing a task at home is a negotiation like any other, at no distance.
#[derive(Debug, Default)]
pub struct Outbox {
    me: Option<PeerId>,
    orders: VecDeque<Output>,
    to_self: VecDeque<Message>,
}

impl Outbox {
    /// The outbox of this peer.
    pub fn of(me: PeerId) -> Self {
        Self { me: Some(me), ..Self::default() }
    }

    /// Adds an order.
    pub fn push(&mut self, output: Output) {
        self.orders.push_back(output);
    }

    /// Says something to a neighbour, or to oneself.
    pub fn send(&mut self, to: PeerId, message: Message) {
        if self.me == Some(to) {
            self.to_self.push_back(message);
        } else {
            self.push(Output::Send { to, message });
        }
    }

    /// What is about to be said to neighbours.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (PeerId, &Message)> {
        self.orders.iter().filter_map(|order| match order {
            Output::Send { to, message } => Some((*to, message)),
            _ => None,
        })
    }

    /// The same, to be said in other words.
    pub(crate) fn sent_mut(&mut self) -> impl Iterator<Item = (PeerId, &mut Message)> {
        self.orders.iter_mut().filter_map(|order| match order {
            Output::Send { to, message } => Some((*to, message)),
            _ => None,
        })
    }

    /// Ends that are about to be handed over.
    pub(crate) fn finished(&self) -> impl Iterator<Item = (TaskId, &Result<TaskResult, TaskError>)> {
        self.orders.iter().filter_map(|order| match order {
            Output::Finish { task, result } => Some((*task, result)),
            _ => None,
        })
    }

    /// Takes the oldest message to oneself.
    pub(crate) fn pop_to_self(&mut self) -> Option<Message> {
        self.to_self.pop_front()
    }

    /// Tells the news.
    pub fn notify(&mut self, event: Event) {
        self.push(Output::Notify(event));
    }

    /// Takes the oldest order.
    pub fn pop(&mut self) -> Option<Output> {
        self.orders.pop_front()
    }

    /// Whether all orders were taken.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// Takes all orders; for tests.
    pub fn drain(&mut self) -> Vec<Output> {
        self.orders.drain(..).collect()
    }
}
