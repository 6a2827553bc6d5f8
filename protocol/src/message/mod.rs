//! Everything peers say to each other on the control stream.
//!
//! ```text
//! frame  = u32 length (big endian) · body; ≤ FRAME_BYTES_MAX on the control stream, ≤ MESSAGE_BYTES_MAX on its own
//! body   = u8 version · CBOR
//! stream = Hello (both ways, checked by the driver) · Message · Message · …
//! ```
//!
//! | file | one conversation |
//! |---|---|
//! | `frame.rs` | which version do you speak, and which run of yours is this? |
//! | `membership.rs` | who is here, and who has gone? |
//! | `probing.rs` | are you there? |
//! | `load.rs` | how busy are you? |
//! | `placement.rs` | who runs this task? |
//! | `attempt.rs` | where does it stand, and how did it end? |
//! | `task/durable/wire.rs` | what have we decided about a task that several of us keep? |
//! | `seeking.rs` | who knows this task? |
//! | `pipeline/memo.rs` | who knows the output of this stage? |
//! | `blobs.rs` | who has these bytes, and for how long? |
//! | `certificate/revocation.rs` | who is a member no more? |
//! | `rules.rs` | which business rules hold? |
//! | `services.rs` | which services are there, and where are they ready? |
//!
//! **Invariant:** durations only, no dates; and a reader skips keys it does not know (see `cbor.rs`).
//! **Not here:** what a message causes. That is the module that handles it.

mod attempt;
mod blobs;
mod frame;
mod load;
mod membership;
mod placement;
mod probing;
mod rules;
mod seeking;
mod services;
#[cfg(test)]
mod tests;
mod unsaid;

use serde::{Deserialize, Serialize};

pub use crate::brief::Marks;
use crate::cbor;
use crate::certificate::SignedRevocations;
use crate::pipeline::memo::MemoWord;
use crate::task::durable::Counsel;

pub use self::attempt::{Outcome, Progress, TaskRef};
pub use self::blobs::{Have, Held, Hold, Want};
pub use self::frame::{DecodeError, Hello, VERSION};
use self::frame::{decode_body, encode_body};
pub use self::load::LoadDigest;
pub use self::membership::{Beat, Contact, Parting, Records, Rumour, RumourState, Will};
pub use self::placement::{Accepted, Ask, AskVariant, Award, DeclineReason, Declined, Forwarded, Offer};
pub use self::probing::{Ping, Pong, ProbeAnswered, ProbeRequest};
pub use self::rules::RulesWord;
pub use self::seeking::{FoundHere, Seek};
pub use self::services::{ServicesWord, WarmModule};

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
