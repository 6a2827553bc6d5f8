//! Invitations, those who come with them, and what an issuer vouches for.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Problem, schema};
use crate::certificate::Role;
use crate::id::{MeshId, PeerId};

/// Whom to let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationRequest {
    /// What they will be.
    pub role: Role,
    /// What the issuer will vouch for.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What they are called; what they wish where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long the ticket can be used, in seconds.
    pub ttl_s: u64,
    /// By how many machines.
    pub uses: u32,
    /// Whether somebody here has to say yes to each.
    #[serde(default)]
    pub approve: bool,
    /// How long their certificates are valid, in seconds; 30 days where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_s: Option<u64>,
    /// Where they find this peer, before the addresses it knows itself.
    #[serde(default)]
    pub addresses: Vec<SocketAddr>,
}

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationView {
    /// `shoal/v1`.
    #[serde(default = "schema")]
    pub schema: String,
    /// Its name: 32 hexadecimal digits, no secret.
    pub id: String,
    /// The text to hand over; only in the answer that makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// What joiners will be.
    pub role: Role,
    /// What the issuer will vouch for.
    pub labels: BTreeMap<String, String>,
    /// What they are called, when that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of no use from this date on, in seconds since 1970.
    pub expires_unix_s: u64,
    /// By how many machines it can be used.
    pub uses: u32,
    /// Who has used it.
    pub used: Vec<PeerId>,
    /// Whether somebody here has to say yes to each.
    pub approve: bool,
}

/// A machine that has a ticket and waits for somebody to say yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinerView {
    /// To answer by.
    pub number: u64,
    /// The invitation it has.
    pub invitation: String,
    /// What it shows as well: six words.
    pub words: String,
    /// What it would be called.
    pub name: String,
    /// Its node key.
    pub peer: PeerId,
    /// Where it comes from.
    pub address: String,
}

/// For whom an issuer has signed, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// Its node key.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Edge or cloud.
    pub role: Role,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Until when its newest certificate is valid, in seconds since 1970.
    pub expires_unix_s: u64,
}

/// A change of what the issuer vouches for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelRequest {
    /// Labels to add, or to give another value.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Labels to take away.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// What the issuer vouches for from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelView {
    /// `shoal/v1`.
    #[serde(default = "schema")]
    pub schema: String,
    /// Of whom.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Edge or cloud.
    pub role: Role,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it has the new certificate; otherwise it gets it when it connects.
    pub delivered: bool,
    /// Until when the new certificate is valid, in seconds since 1970.
    pub expires_unix_s: u64,
}

/// What `shoald join` says while it joins, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JoinReport {
    /// A person at the inviting peer is asked.
    Waiting {
        /// What is shown there as well.
        words: String,
        /// How long that may take, in seconds.
        patience_s: u64,
    },
    /// It is done.
    Joined(Box<JoinedView>),
    /// It came to nothing.
    Failed(Box<Problem>),
}

/// A new member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedView {
    /// `shoal/v1`.
    #[serde(default = "schema")]
    pub schema: String,
    /// The mesh.
    pub mesh: MeshId,
    /// What people call it; may be empty.
    pub mesh_name: String,
    /// The new member.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Edge or cloud.
    pub role: Role,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Until when its certificate is valid, in seconds since 1970.
    pub expires_unix_s: u64,
    /// Where its files are.
    pub data_dir: String,
    /// What a person should look at.
    pub warnings: Vec<String>,
}
