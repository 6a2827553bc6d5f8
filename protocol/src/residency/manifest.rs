//! What the owner of a blob says of it, signed: it travels before the bytes, and is kept beside them.
//!
//! Whoever has the bytes may sign another manifest of them. It can tighten what is said, never loosen it: all manifests of a
//! blob hold together ([`Labels::join`]).
//!
//! **Invariant:** nothing in it is believed before its signature, and the name and size of the blob, have been checked.

use serde::{Deserialize, Serialize};

use super::Labels;
use crate::certificate::{CertificateError, SecretKey, Signed};
use crate::id::{BlobId, PeerId};

const MANIFEST: &str = "blob manifest";

/// Owners of one blob: their manifests travel together in the header of a transfer.
pub const MANIFESTS_PER_BLOB_MAX: usize = 4;

/// What is said of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Which blob.
    #[serde(rename = "b")]
    pub blob: BlobId,
    /// Its size.
    #[serde(rename = "n")]
    pub bytes: u64,
    /// Whose node key signs this.
    #[serde(rename = "o")]
    pub owner: PeerId,
    /// Where it may be, and how long.
    #[serde(rename = "l")]
    pub labels: Labels,
}

/// A manifest, and the signature of the owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedManifest {
    #[serde(rename = "o")]
    owner: PeerId,
    #[serde(rename = "d")]
    document: Signed,
}

/// Why a manifest is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read, or is not signed by whom it names.
    #[error(transparent)]
    Document(#[from] CertificateError),
    /// It is about something else.
    #[error("the manifest is of {named} with {bytes} bytes, not of this blob")]
    OtherBlob {
        /// What it is about.
        named: BlobId,
        /// The size it has there.
        bytes: u64,
    },
    /// The key that signed is not the one it names.
    #[error("the manifest names another owner than the one that signed it")]
    OtherOwner,
}

impl Manifest {
    /// Signs it with the node key of the owner.
    pub fn sign(blob: BlobId, bytes: u64, labels: Labels, node_key: &SecretKey) -> SignedManifest {
        let owner = node_key.peer();
        let manifest = Self { blob, bytes, owner, labels };
        SignedManifest { owner, document: Signed::new(MANIFEST, &manifest, node_key) }
    }
}

impl SignedManifest {
    /// What it says of this blob.
    pub fn verify(&self, blob: BlobId, bytes: u64) -> Result<Manifest, ManifestError> {
        let manifest: Manifest = self.document.open(MANIFEST, &self.owner.0)?;
        if manifest.owner != self.owner {
            return Err(ManifestError::OtherOwner);
        }
        if (manifest.blob, manifest.bytes) != (blob, bytes) {
            return Err(ManifestError::OtherBlob { named: manifest.blob, bytes: manifest.bytes });
        }
        Ok(manifest)
    }
}
