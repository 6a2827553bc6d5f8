//! Who is here and who has gone, as neighbours tell each other.

use serde::{Deserialize, Serialize};

use crate::certificate::SignedRecord;
use crate::id::{PeerId, ShortId};
use crate::latency::Coordinate;

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
