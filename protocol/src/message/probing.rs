//! Asking whether a peer is there, directly and through others.

use serde::{Deserialize, Serialize};

use super::load::LoadDigest;
use super::unsaid::{is_false, is_zero};
use crate::id::PeerId;
use crate::latency::Coordinate;

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
    /// The sender has not heard the receiver's load on this connection: one that the receiver takes for the same may be another.
    #[serde(rename = "n", default, skip_serializing_if = "is_false")]
    pub wants_load: bool,
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
