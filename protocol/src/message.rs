//! Everything peers say to each other on the control stream.
//!
//! ```text
//! frame  = u32 length (big endian) · body; ≤ FRAME_BYTES_MAX on the control stream, ≤ MESSAGE_BYTES_MAX on its own
//! body   = u8 version · CBOR
//! stream = Hello (both ways, checked by the driver) · Message · Message · …
//! ```
//!
//! **Invariant:** durations only, no dates; and a reader skips keys it does not know (see `cbor.rs`).
//! **Not here:** what a message causes. That is the module that handles it.

use core::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use crate::brief::Marks;
use crate::cbor::{self, CborError};
use crate::certificate::{SignedRecord, SignedRevocations};
use crate::config::{MESSAGE_BYTES_MAX, Weights};
use crate::id::{BlobId, PeerId, ShortId, TaskId};
use crate::latency::Coordinate;
use crate::load::AHEAD;
use crate::pipeline::memo::MemoWord;
use crate::residency::Labels;
use crate::rules::SignedRules;
use crate::service::{IndexEntry, SignedService};
use crate::task::TaskState;
use crate::task::durable::{Counsel, Found};
use crate::task::receipt::SignedReceipt;
use crate::task::spec::{RunReport, TaskSpec};
use crate::time::{duration_us, optional_duration_us};

/// Version of the wire protocol; the first byte of every frame.
pub const VERSION: u8 = 1;

/// Why a frame is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing in it.
    #[error("an empty frame")]
    Empty,
    /// Longer than any frame may be.
    #[error("a frame of {0} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    TooLarge(usize),
    /// A version this peer does not speak.
    #[error("protocol version {theirs}; this peer speaks {VERSION}")]
    OtherVersion {
        /// The version byte of the frame.
        theirs: u8,
    },
    /// Not a message of this version.
    #[error(transparent)]
    Body(#[from] CborError),
}

/// The body of a frame that carries `value`.
fn encode_body<T: Serialize>(value: &T) -> Vec<u8> {
    let mut body = vec![VERSION];
    body.extend(cbor::encode(value));
    body
}

fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    if body.len() > MESSAGE_BYTES_MAX {
        return Err(DecodeError::TooLarge(body.len()));
    }
    match body.split_first() {
        None => Err(DecodeError::Empty),
        Some((&VERSION, body)) => Ok(cbor::decode(body)?),
        Some((&theirs, _)) => Err(DecodeError::OtherVersion { theirs }),
    }
}

/// The first frame each side sends. Who it is has been shown in the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Drawn at each start, so that a restart is not taken for a second connection of the same run.
    #[serde(rename = "b", default)]
    pub run: u64,
    /// Version of the software, for people.
    #[serde(rename = "v", default)]
    pub software: String,
}

impl Hello {
    /// The body of the frame that carries this.
    pub fn encode(&self) -> Vec<u8> {
        encode_body(self)
    }

    /// Reads the body of a first frame.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode_body(body)
    }
}

/// Everything said after [`Hello`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// I am here, and you will hear from me again within this time.
    #[serde(rename = "be")]
    Beat(Beat),
    /// Are you there? It is answered at once, and measures the way.
    #[serde(rename = "pi")]
    Ping(Ping),
    /// Yes.
    #[serde(rename = "po")]
    Pong(Pong),
    /// Ping that peer for me: I do not hear it.
    #[serde(rename = "pr")]
    ProbeRequest(ProbeRequest),
    /// It answered me.
    #[serde(rename = "pa")]
    ProbeAnswered(ProbeAnswered),
    /// News about who is here.
    #[serde(rename = "ru")]
    Rumour(Rumour),
    /// Peers you may not know.
    #[serde(rename = "rs")]
    Records(Records),
    /// Whom to tell if I die.
    #[serde(rename = "wi")]
    Will(Box<Will>),
    /// I close this connection, and live.
    #[serde(rename = "pt")]
    Parting(Parting),
    /// My load, because what you last heard would mislead you.
    #[serde(rename = "lo")]
    Load(LoadDigest),
    /// What would you offer for this task?
    #[serde(rename = "as")]
    Ask(Ask),
    /// I would start it then; the capacity is reserved.
    #[serde(rename = "of")]
    Offer(Offer),
    /// Somebody else won: your reservation is free.
    #[serde(rename = "re")]
    Release(TaskRef),
    /// Run this.
    #[serde(rename = "aw")]
    Award(Box<Award>),
    /// It is queued or running here.
    #[serde(rename = "ac")]
    Accepted(Accepted),
    /// Not here, for this reason.
    #[serde(rename = "de")]
    Declined(Declined),
    /// I passed it on, to be run there.
    #[serde(rename = "fo")]
    Forwarded(Forwarded),
    /// I have a free core, and this load: pass me something that waits.
    #[serde(rename = "pu")]
    Pull(LoadDigest),
    /// It is taking long: this is where it stands.
    #[serde(rename = "pg")]
    Progress(Progress),
    /// What has become of this attempt? Sent after a reconnection.
    #[serde(rename = "qu")]
    Query(TaskRef),
    /// It ended like this; repeated until acknowledged.
    #[serde(rename = "ou")]
    Outcome(Box<Outcome>),
    /// These results are safe at home; forget them.
    #[serde(rename = "oa")]
    OutcomesReceived(Vec<TaskRef>),
    /// Nobody wants this attempt any more.
    #[serde(rename = "ca")]
    Cancel(TaskRef),
    /// About a task that several peers keep.
    #[serde(rename = "co")]
    Council(Box<Counsel>),
    /// Does anybody know this task?
    #[serde(rename = "se")]
    Seek(Seek),
    /// I do.
    #[serde(rename = "fd")]
    Found(Box<FoundHere>),
    /// About outputs of stages that are known.
    #[serde(rename = "me")]
    Memo(Box<MemoWord>),
    /// Who of you has one of these blobs?
    #[serde(rename = "wa")]
    Want(Want),
    /// I have these.
    #[serde(rename = "ha")]
    Have(Have),
    /// Keep the output of my task for so long.
    #[serde(rename = "ho")]
    Hold(Hold),
    /// These are members no more.
    #[serde(rename = "rv")]
    Revocations(Box<SignedRevocations>),
    /// I am shutting down: give me nothing, expect nothing.
    #[serde(rename = "le")]
    Leaving,
    /// About business rules.
    #[serde(rename = "bu")]
    Rules(Box<RulesWord>),
    /// About services.
    #[serde(rename = "sv")]
    Services(Box<ServicesWord>),
}

impl Message {
    /// The body of the frame that carries this.
    pub fn encode(&self) -> Vec<u8> {
        encode_body(self)
    }

    /// Reads the body of a frame.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode_body(body)
    }

    /// How many bytes [`Message::encode`] would give.
    pub fn encoded_len(&self) -> usize {
        1 + cbor::encoded_len(self)
    }

    /// The sender's load, in a message that is sent for another reason.
    pub(crate) fn load_beside(&self) -> Option<&LoadDigest> {
        match self {
            Self::Offer(offer) => Some(&offer.load),
            Self::Accepted(accepted) => Some(&accepted.load),
            Self::Declined(declined) => declined.load.as_ref(),
            Self::Forwarded(forwarded) => Some(&forwarded.load),
            Self::Outcome(outcome) => Some(&outcome.load),
            Self::Pull(load) => Some(load),
            Self::Beat(_)
            | Self::Will(_)
            | Self::Parting(_)
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::ProbeRequest(_)
            | Self::ProbeAnswered(_)
            | Self::Rumour(_)
            | Self::Records(_)
            | Self::Load(_)
            | Self::Ask(_)
            | Self::Release(_)
            | Self::Award(_)
            | Self::Progress(_)
            | Self::Query(_)
            | Self::OutcomesReceived(_)
            | Self::Cancel(_)
            | Self::Council(_)
            | Self::Seek(_)
            | Self::Found(_)
            | Self::Memo(_)
            | Self::Want(_)
            | Self::Have(_)
            | Self::Hold(_)
            | Self::Revocations(_)
            | Self::Rules(_)
            | Self::Services(_)
            | Self::Leaving => None,
        }
    }

    /// The sender's load, in whatever message.
    pub(crate) fn load_mut(&mut self) -> Option<&mut LoadDigest> {
        match self {
            Self::Load(load) | Self::Pull(load) => Some(load),
            Self::Ping(ping) => ping.load.as_mut(),
            Self::Pong(pong) => pong.load.as_mut(),
            Self::Offer(offer) => Some(&mut offer.load),
            Self::Accepted(accepted) => Some(&mut accepted.load),
            Self::Declined(declined) => declined.load.as_mut(),
            Self::Forwarded(forwarded) => Some(&mut forwarded.load),
            Self::Outcome(outcome) => Some(&mut outcome.load),
            Self::Beat(_)
            | Self::Will(_)
            | Self::Parting(_)
            | Self::ProbeRequest(_)
            | Self::ProbeAnswered(_)
            | Self::Rumour(_)
            | Self::Records(_)
            | Self::Ask(_)
            | Self::Release(_)
            | Self::Award(_)
            | Self::Progress(_)
            | Self::Query(_)
            | Self::OutcomesReceived(_)
            | Self::Cancel(_)
            | Self::Council(_)
            | Self::Seek(_)
            | Self::Found(_)
            | Self::Memo(_)
            | Self::Want(_)
            | Self::Have(_)
            | Self::Hold(_)
            | Self::Revocations(_)
            | Self::Rules(_)
            | Self::Services(_)
            | Self::Leaving => None,
        }
    }

    /// Whether another of its kind comes soon, and this one is worth little by then: it may be lost, and needs no order. The
    /// transport need not repeat it, nor hold up what is behind it until it has arrived.
    pub fn is_heartbeat(&self) -> bool {
        matches!(self, Self::Beat(_) | Self::Ping(_) | Self::Pong(_) | Self::ProbeRequest(_) | Self::ProbeAnswered(_))
    }

    /// Its kind, for counters and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Beat(_) => "beat",
            Self::Will(_) => "will",
            Self::Parting(_) => "parting",
            Self::Ping(_) => "ping",
            Self::Pong(_) => "pong",
            Self::ProbeRequest(_) => "probe-request",
            Self::ProbeAnswered(_) => "probe-answered",
            Self::Rumour(_) => "rumour",
            Self::Records(_) => "records",
            Self::Load(_) => "load",
            Self::Ask(_) => "ask",
            Self::Offer(_) => "offer",
            Self::Release(_) => "release",
            Self::Award(_) => "award",
            Self::Accepted(_) => "accepted",
            Self::Declined(_) => "declined",
            Self::Forwarded(_) => "forwarded",
            Self::Pull(_) => "pull",
            Self::Progress(_) => "progress",
            Self::Query(_) => "query",
            Self::Outcome(_) => "outcome",
            Self::OutcomesReceived(_) => "outcomes-received",
            Self::Cancel(_) => "cancel",
            Self::Council(counsel) => counsel.kind(),
            Self::Seek(_) => "seek",
            Self::Found(_) => "found",
            Self::Memo(_) => "memo",
            Self::Want(_) => "want",
            Self::Have(_) => "have",
            Self::Hold(_) => "hold",
            Self::Revocations(_) => "revocations",
            Self::Leaving => "leaving",
            Self::Rules(_) => "rules",
            Self::Services(_) => "services",
        }
    }
}

/// A word to a monitor; it asks for nothing, and anything else that is said counts as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The sender's own incarnation.
    #[serde(rename = "i")]
    pub incarnation: u32,
    /// The next word comes within this, in milliseconds: after this one and after every other, until another beat says
    /// otherwise.
    #[serde(rename = "n")]
    pub next_ms: u32,
}

/// The neighbours of the sender, for a monitor: they are to hear of its death. Changes only, after the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Will {
    /// Which of its monitors this is, so that they share the calls to those they are not connected to.
    #[serde(rename = "t")]
    pub turn: u8,
    /// How many monitors there are.
    #[serde(rename = "o")]
    pub of: u8,
    /// New neighbours, by the first bytes of their ids.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<ShortId>,
    /// Neighbours that are none any more.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<ShortId>,
    /// New neighbours that the receiver is hardly connected to, and where they are.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub far: Vec<Contact>,
}

/// A peer and its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Who.
    #[serde(rename = "p")]
    pub peer: PeerId,
    /// Where.
    #[serde(rename = "a")]
    pub address: String,
}

/// Why a connection is closed by its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parting {
    /// There are better neighbours than there is room for.
    #[serde(rename = "r")]
    NoRoom,
    /// The receiver was silent, to the sender and to others: it was taken for dead.
    #[serde(rename = "s")]
    Silent,
}

/// A direct probe; it carries what the receiver's view of the sender may lack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ping {
    /// Matches the answer to the question.
    #[serde(rename = "q")]
    pub sequence: u32,
    /// The sender's own incarnation.
    #[serde(rename = "i")]
    pub incarnation: u32,
    /// The sender's coordinate.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub coordinate: Option<Coordinate>,
    /// The sender's load, where the receiver's picture of it is off.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadDigest>,
    /// Which revocation lists the sender holds, as one number; 0 is none.
    #[serde(rename = "v", default, skip_serializing_if = "is_zero")]
    pub revocations: u64,
    /// Which business rules the sender holds, as one number that grows with their version; 0 is none.
    #[serde(rename = "u", default, skip_serializing_if = "is_zero")]
    pub rules: u64,
    /// Which services the sender knows, as one number; 0 is none.
    #[serde(rename = "w", default, skip_serializing_if = "is_zero")]
    pub services: u64,
}

/// The answer to a [`Ping`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pong {
    /// Of the ping.
    #[serde(rename = "q")]
    pub sequence: u32,
    /// The sender's own incarnation.
    #[serde(rename = "i")]
    pub incarnation: u32,
    /// The sender's coordinate.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub coordinate: Option<Coordinate>,
    /// The sender's load, where the receiver's picture of it is off.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadDigest>,
    /// Which revocation lists the sender holds, as one number; 0 is none.
    #[serde(rename = "v", default, skip_serializing_if = "is_zero")]
    pub revocations: u64,
    /// Which business rules the sender holds, as one number that grows with their version; 0 is none.
    #[serde(rename = "u", default, skip_serializing_if = "is_zero")]
    pub rules: u64,
    /// Which services the sender knows, as one number; 0 is none.
    #[serde(rename = "w", default, skip_serializing_if = "is_zero")]
    pub services: u64,
}

/// An indirect probe (SWIM, Das et al. 2002).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRequest {
    /// Matches the answer to the request.
    #[serde(rename = "q")]
    pub sequence: u32,
    /// Whom to ping.
    #[serde(rename = "t")]
    pub target: PeerId,
}

/// The good end of an indirect probe; a bad end is silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeAnswered {
    /// Of the request.
    #[serde(rename = "q")]
    pub sequence: u32,
    /// Who answered.
    #[serde(rename = "t")]
    pub target: PeerId,
    /// The incarnation it answered with.
    #[serde(rename = "i")]
    pub incarnation: u32,
}

/// News about one peer, fenced by its incarnation (SWIM).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rumour {
    /// Whom it is about.
    #[serde(rename = "p")]
    pub peer: PeerId,
    /// The incarnation it is about; only the peer itself raises it.
    #[serde(rename = "i")]
    pub incarnation: u32,
    /// What is said.
    #[serde(rename = "s")]
    pub state: RumourState,
}

/// What a [`Rumour`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RumourState {
    /// It refutes a suspicion.
    #[serde(rename = "a")]
    Alive,
    /// Neither it nor our helpers hear it.
    #[serde(rename = "s")]
    Suspect,
    /// It did not refute in time.
    #[serde(rename = "d")]
    Dead,
}

/// Peer exchange: a few signed records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Records {
    /// At most [`crate::config::RECORDS_PER_MESSAGE_MAX`].
    #[serde(rename = "r")]
    pub records: Vec<SignedRecord>,
    /// Where those peers are, as far as the sender knows; in the order of the records.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Option<Coordinate>>,
}

/// What a peer says of its spare capacity. Who was told what does not change is told the rest only, see `brief.rs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct LoadDigest {
    /// Grows with every digest of one peer; a later one replaces an earlier one.
    #[serde(rename = "q")]
    pub sequence: u32,
    /// Numbers what describes the peer: all below that does not change with its tasks. None for a peer that says all each
    /// time, and reads nothing shorter.
    #[serde(rename = "d", default, skip_serializing_if = "says_nothing")]
    pub description: u32,
    /// A task arriving now would start in this time, what is queued, reserved and on its way included.
    #[serde(rename = "s", with = "duration_us")]
    pub start_in: Duration,
    /// What `start_in` was on average lately: what it tends back to.
    #[serde(rename = "su", default, with = "duration_us")]
    pub usual_start_in: Duration,
    /// How long its runs take on average: what it says of itself now is news for about that time.
    #[serde(rename = "tu", default, with = "duration_us")]
    pub turnover: Duration,
    /// How much later than `start_in` further tasks of a usual length would start that arrive now too, in units of 100 µs:
    /// the second, the third, the fifth, and so on, see [`crate::load::AHEAD`].
    #[serde(rename = "sn", default, skip_serializing_if = "is_idle")]
    pub later_start: [u32; AHEAD.len()],
    /// Tasks that arrive there in a thousand seconds, lately.
    #[serde(rename = "ar", default, skip_serializing_if = "says_nothing")]
    pub arrivals_per_ks: u32,
    /// Tasks it runs at once.
    #[serde(rename = "k")]
    pub cores: u16,
    /// Tasks running.
    #[serde(rename = "r")]
    pub running: u16,
    /// Tasks waiting.
    #[serde(rename = "w")]
    pub queued: u16,
    /// Tasks that may wait.
    #[serde(rename = "x")]
    pub queue_max: u16,
    /// Share of the host's CPU in use by anything, in percent.
    #[serde(rename = "u", default)]
    pub cpu_percent: u8,
    /// Speed of one core relative to the reference core, after what other programs take.
    #[serde(rename = "v")]
    pub speed: f64,
    /// Memory that tasks may still claim, in bytes.
    #[serde(rename = "m")]
    pub memory_free_bytes: u64,
    /// Memory given to tasks, in bytes.
    #[serde(rename = "mt", default)]
    pub memory_bytes: u64,
    /// Uplink in bits a second.
    #[serde(rename = "b")]
    pub uplink_bits_per_s: u64,
    /// Its weights in the objective.
    #[serde(rename = "g", default)]
    pub weights: Weights,
    /// Price of a second of one core.
    #[serde(rename = "p", default)]
    pub price: f64,
    /// It enforces the labels of data: a version that does not gets none that has any.
    #[serde(rename = "lb", default, skip_serializing_if = "is_false")]
    pub understands_labels: bool,
}

fn is_idle(later_start: &[u32; AHEAD.len()]) -> bool {
    later_start.iter().all(says_nothing)
}

fn says_nothing(number: &u32) -> bool {
    *number == 0
}

/// One attempt at one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskRef {
    /// The task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// The attempt; only the latest may commit. See [`crate::task::epoch`].
    #[serde(rename = "e")]
    pub epoch: u64,
}

/// What a peer must know to offer for a task, without its input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// The builds to choose from, and the requester's estimate of each one's work.
    #[serde(rename = "v")]
    pub variants: Vec<AskVariant>,
    /// Size of its input, in bytes.
    #[serde(rename = "i")]
    pub input_bytes: u64,
    /// Linear memory it may claim, in bytes.
    #[serde(rename = "m")]
    pub memory_bytes: u64,
    /// Time left to its deadline.
    #[serde(rename = "d", default, with = "optional_duration_us", skip_serializing_if = "Option::is_none")]
    pub deadline_in: Option<Duration>,
}

/// One build in an [`Ask`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AskVariant {
    /// The module.
    #[serde(rename = "m")]
    pub module: BlobId,
    /// Its size, in bytes.
    #[serde(rename = "b")]
    pub module_bytes: u64,
    /// Work on a reference core, as the requester's experience has it.
    #[serde(rename = "w", with = "duration_us")]
    pub work: Duration,
}

/// A promise to start a task, backed by a reservation until it expires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Index of the build this is for.
    #[serde(rename = "v")]
    pub variant: u8,
    /// The run would start this long after the award arrives (fetching and compiling the module included).
    #[serde(rename = "s", with = "duration_us")]
    pub start_in: Duration,
    /// The run would take this long here.
    #[serde(rename = "r", with = "duration_us")]
    pub run: Duration,
    /// The reservation stands this long.
    #[serde(rename = "x", with = "duration_us")]
    pub expires_in: Duration,
    /// Whether it holds the module already.
    #[serde(rename = "h", default)]
    pub has_module: bool,
    /// Fresh load, this reservation not counted.
    #[serde(rename = "l")]
    pub load: LoadDigest,
}

/// An order to run a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Award {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Where the result goes.
    #[serde(rename = "h", default = "PeerId::unsaid", skip_serializing_if = "PeerId::is_unsaid")]
    pub home: PeerId,
    /// Index of the build to run.
    #[serde(rename = "v")]
    pub variant: u8,
    /// The task with its input, inline or as blobs.
    #[serde(rename = "s")]
    pub spec: TaskSpec,
    /// Work on a reference core, as home's experience has it.
    #[serde(rename = "w", with = "duration_us")]
    pub work: Duration,
    /// The same of each build, in microseconds, where there are several: who starts late may choose another.
    #[serde(rename = "ws", default, skip_serializing_if = "Vec::is_empty")]
    pub works_us: Vec<u64>,
    /// When home believes it would start; much later, and the receiver counters or forwards.
    #[serde(rename = "x", with = "duration_us")]
    pub expected_start: Duration,
    /// Home has seen the real start time and wants it nevertheless: run it or decline it.
    #[serde(rename = "f", default, skip_serializing_if = "is_false")]
    pub firm: bool,
    /// Times it was passed on already.
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    pub hops: u8,
    /// Candidates that home would also accept, best first: a receiver forwards to no other.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<PeerId>,
    /// The same by their short ids, for a receiver that reads them.
    #[serde(rename = "as", default, skip_serializing_if = "Marks::is_empty")]
    pub near: Marks,
    /// It is on disk at home: what is here of it is kept longer while home is away.
    #[serde(rename = "k", default, skip_serializing_if = "is_false")]
    pub kept: bool,
    /// Earlier results that are safe at home, so that saying so costs no message; at most [`crate::config::ACKNOWLEDGED_MAX`].
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub received: Vec<TaskRef>,
    /// The same by marks, for a receiver that reads them.
    #[serde(rename = "rs", default, skip_serializing_if = "Marks::is_empty")]
    pub safe: Marks,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The award stands here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Where it stands: fetching what it lacks, queued, or running.
    #[serde(rename = "g")]
    pub state: TaskState,
    /// It will start in this time.
    #[serde(rename = "s", with = "duration_us")]
    pub start_in: Duration,
    /// Fresh load.
    #[serde(rename = "l")]
    pub load: LoadDigest,
}

/// The award or ask is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declined {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Why.
    #[serde(rename = "r")]
    pub reason: DeclineReason,
    /// Fresh load.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadDigest>,
}

/// Why a peer does not run a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum DeclineReason {
    /// As many wait as may wait.
    #[serde(rename = "q")]
    QueueFull,
    /// Not enough memory for it.
    #[serde(rename = "m")]
    Memory {
        /// What it asked for, in bytes.
        #[serde(rename = "w")]
        wanted_bytes: u64,
        /// What there is, in bytes.
        #[serde(rename = "f")]
        free_bytes: u64,
    },
    /// It would start later than home believed; the counter-offer is reserved until it expires.
    #[serde(rename = "c")]
    Counter(Box<Offer>),
    /// This peer is shutting down.
    #[serde(rename = "l")]
    Leaving,
    /// This peer does not know the attempt that was asked about.
    #[serde(rename = "u")]
    Unknown,
    /// Its module or input could not be had.
    #[serde(rename = "f")]
    FetchFailed(String),
    /// The spec breaks a limit.
    #[serde(rename = "s")]
    Unacceptable(String),
    /// It is restricted to whole sandboxes, and this peer's system lacks a part of one.
    #[serde(rename = "b")]
    Sandbox,
}

/// The award was passed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forwarded {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Who got it.
    #[serde(rename = "p")]
    pub to: PeerId,
    /// Fresh load of the one that passed it on.
    #[serde(rename = "l")]
    pub load: LoadDigest,
}

/// Where a long attempt stands; short ones end before anybody would read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Fetching, queued or running.
    #[serde(rename = "s")]
    pub state: TaskState,
}

/// The end of one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Which build was run: a home that has started anew since does not know.
    #[serde(rename = "b", default, skip_serializing_if = "is_zero")]
    pub variant: u8,
    /// How the run ended.
    #[serde(rename = "r")]
    pub report: RunReport,
    /// Speed of the executor's core relative to the reference core, so that home learns the work.
    #[serde(rename = "v")]
    pub speed: f64,
    /// Time fetching and preparing took at the executor.
    #[serde(rename = "p", default, with = "duration_us", skip_serializing_if = "Duration::is_zero")]
    pub prepare: Duration,
    /// Time it waited in the executor's queue.
    #[serde(rename = "w", default, with = "duration_us", skip_serializing_if = "Duration::is_zero")]
    pub queued: Duration,
    /// Fresh load.
    #[serde(rename = "l")]
    pub load: LoadDigest,
    /// What its executor signed of it, where its answer is to be checked.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<SignedReceipt>,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A user of the sender, or of a neighbour of it, asks for a task by its id, which nobody else can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seek {
    /// Matches the answer to the question.
    #[serde(rename = "q")]
    pub ticket: u64,
    /// Which task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// Times it may be passed on; at most [`crate::config::SEEK_HOPS`].
    #[serde(rename = "h", default, skip_serializing_if = "is_zero")]
    pub hops: u8,
}

/// The answer to a [`Seek`]; whoever does not know is silent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundHere {
    /// Of the question.
    #[serde(rename = "q")]
    pub ticket: u64,
    /// What is known.
    #[serde(rename = "f")]
    pub found: Found,
}

/// Looking for blobs; whoever has none of them is silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Which; at most [`crate::blobs::BLOBS_PER_MESSAGE_MAX`].
    #[serde(rename = "b")]
    pub blobs: Vec<BlobId>,
}

/// The answer to a [`Want`]: what of it the sender holds as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// Which; at most [`crate::blobs::BLOBS_PER_MESSAGE_MAX`].
    #[serde(rename = "b")]
    pub blobs: Vec<Held>,
}

/// A blob that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    #[serde(rename = "i")]
    pub blob: BlobId,
    /// Its size.
    #[serde(rename = "b")]
    pub bytes: u64,
    /// What its owners say of it.
    #[serde(rename = "lb", default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// What home wants of an output that stayed where it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Of which task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// It is to stay so long from now; no longer at all, if that is nothing.
    #[serde(rename = "f", with = "duration_us")]
    pub lease: Duration,
}

/// What is said of business rules; to those only who say in their pings that they read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RulesWord {
    /// Send me what you hold.
    #[serde(rename = "w")]
    Wanted,
    /// This is it.
    #[serde(rename = "h")]
    Here(SignedRules),
}

/// What is said of services; to those only who say in their pings that they read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServicesWord {
    /// This is what I hold; send me what of it is older than yours, or missing.
    #[serde(rename = "i")]
    Index(Vec<IndexEntry>),
    /// That is this.
    #[serde(rename = "h")]
    Here(Vec<SignedService>),
    /// These modules are ready to be called at my place, and no others of services; at most [`crate::service::WARM_MAX`].
    #[serde(rename = "w")]
    Warm(Vec<WarmModule>),
}

/// A module of a service that is ready to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmModule {
    /// Which.
    #[serde(rename = "m")]
    pub module: BlobId,
    /// How many instances are kept.
    #[serde(rename = "n")]
    pub instances: u16,
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
