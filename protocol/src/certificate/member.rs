//! Members: who they are, and what an issuer says of them.

use core::fmt;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CertificateError, Chain, Issuer, Signed};
use crate::config::{LABELS_MAX, NAME_BYTES_MAX};
use crate::id::{MeshId, PeerId};

const CERTIFICATE: &str = "member certificate";

/// What kind of machine a peer is; part of its signed certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Near the data: gateways, cameras, small servers.
    Edge,
    /// High capacity, farther away: the fallback when the edge is full.
    Cloud,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Edge => "edge",
            Self::Cloud => "cloud",
        })
    }
}

/// What an issuer of a mesh says of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCertificate {
    /// The mesh whose issuer signs this.
    #[serde(rename = "m")]
    pub mesh: MeshId,
    /// The node key of the member.
    #[serde(rename = "k")]
    pub peer: PeerId,
    /// A name for people; unique by the issuer's care, not by this protocol's.
    #[serde(rename = "n")]
    pub name: String,
    /// Edge or cloud.
    #[serde(rename = "r")]
    pub role: Role,
    /// Facts that policy decides by, vouched for by the issuer.
    #[serde(rename = "l", default)]
    pub labels: BTreeMap<String, String>,
    /// Valid from this date on, in seconds since 1970.
    #[serde(rename = "f")]
    pub not_before_unix_s: u64,
    /// Not valid from this date on, in seconds since 1970.
    #[serde(rename = "t")]
    pub expires_unix_s: u64,
    /// Chosen by the issuer, to tell two certificates of one peer apart.
    #[serde(rename = "i", default)]
    pub serial: u64,
}

impl MemberCertificate {
    /// Has an issuer sign it.
    pub fn sign(&self, issuer: &Issuer) -> Chain {
        Chain::new(Signed::new(CERTIFICATE, self, issuer.key()), issuer.certificate().clone())
    }

    /// Reads one that `holder` shows and an issuer of `mesh` has signed, and believes it only if all is right.
    pub(super) fn verify(
        signed: &Signed,
        mesh: MeshId,
        issuer: PeerId,
        holder: PeerId,
        now_unix_s: u64,
    ) -> Result<Self, CertificateError> {
        let certificate: Self = signed.open(CERTIFICATE, &issuer.0)?;
        let name = || certificate.name.clone();
        if certificate.mesh != mesh {
            return Err(CertificateError::OtherMesh { name: name(), mesh: certificate.mesh });
        }
        if certificate.peer != holder {
            return Err(CertificateError::OtherHolder { name: name() });
        }
        let valid = certificate.not_before_unix_s..certificate.expires_unix_s;
        CertificateError::check_date(valid, now_unix_s, name)?;
        certificate.check_sizes()?;
        Ok(certificate)
    }

    /// What one that is not believed calls its holder.
    pub(super) fn claimed_name(signed: &Signed) -> String {
        let name = signed.read::<Self>(CERTIFICATE).map(|claim| claim.name);
        name.map_or_else(|_| "?".to_owned(), |name| name.chars().take(NAME_BYTES_MAX).collect())
    }

    fn check_sizes(&self) -> Result<(), CertificateError> {
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX {
            return Err(CertificateError::TooLarge { what: "name (or it is empty)", limit: NAME_BYTES_MAX });
        }
        check_labels(&self.labels)
    }

    /// What the rest of the protocol needs to know of the holder.
    pub fn member(&self) -> Member {
        Member { peer: self.peer, name: self.name.clone(), role: self.role, labels: self.labels.clone() }
    }
}

/// Whether labels are as few and as short as a certificate may have them.
pub(super) fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), CertificateError> {
    if labels.len() > LABELS_MAX {
        return Err(CertificateError::TooLarge { what: "number of labels", limit: LABELS_MAX });
    }
    let longest = labels.iter().map(|(key, value)| key.len().max(value.len())).max();
    if longest.is_some_and(|longest| longest > NAME_BYTES_MAX) {
        return Err(CertificateError::TooLarge { what: "label", limit: NAME_BYTES_MAX });
    }
    Ok(())
}

/// A peer as its checked certificate describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its node key.
    pub peer: PeerId,
    /// Its name for people.
    pub name: String,
    /// Edge or cloud.
    pub role: Role,
    /// Its signed labels.
    pub labels: BTreeMap<String, String>,
}
