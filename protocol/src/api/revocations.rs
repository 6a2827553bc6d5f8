//! Who is a member of the mesh no more, and how that is said.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::certificate::{CertificateError, SignedRevocations};
use crate::id::PeerId;
use crate::membership::Revocations;

/// Who is a member of the mesh no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationsView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Node keys.
    pub peers: Vec<PeerId>,
    /// Issuers whose signatures count no more.
    pub issuers: Vec<PeerId>,
    /// The signed lists, one a signer, as [`crate::certificate::SignedRevocations::to_bytes`] in base64.
    pub lists: Vec<String>,
}

impl RevocationsView {
    /// What is held, as the API shows it.
    pub fn of(revocations: &Revocations) -> Self {
        Self {
            schema: schema(),
            peers: revocations.peers().iter().copied().collect(),
            issuers: revocations.issuers().iter().copied().collect(),
            lists: revocations.lists().map(|list| STANDARD.encode(list.to_bytes())).collect(),
        }
    }
}

/// A revocation list to be believed and passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeRequest {
    /// As in [`RevocationsView::lists`].
    pub list: String,
}

impl RevokeRequest {
    /// The request that hands in a list.
    pub fn of(list: &SignedRevocations) -> Self {
        Self { list: STANDARD.encode(list.to_bytes()) }
    }
}

/// Reads a signed list of the API.
pub fn revocations_from_base64(text: &str) -> Result<SignedRevocations, CertificateError> {
    let bytes = STANDARD.decode(text);
    let bytes = bytes.map_err(|error| CertificateError::Unreadable { what: "revocation list", why: error.to_string() });
    SignedRevocations::from_bytes(&bytes?)
}
