//! Private keys.

use core::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey};

use super::signed::domain_separated;
use crate::id::{MeshId, PeerId};

/// A private key; its bytes are wiped from memory when it is dropped.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key made of these 32 bytes of entropy.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// The bytes to keep in a file that only its owner can read.
    pub fn to_bytes(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    pub(super) fn signature(&self, message: &[u8]) -> Signature {
        self.0.sign(message)
    }

    /// Signs what another protocol prescribes, like a TLS handshake. Documents of ours are signed by their kind.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signature(message).to_bytes()
    }

    /// Signs the bytes of a document of ours, by its kind.
    pub(crate) fn sign_document(&self, kind: &'static str, bytes: &[u8]) -> [u8; 64] {
        self.sign(&domain_separated(kind, bytes))
    }

    /// The public half, as the id of a peer.
    pub fn peer(&self) -> PeerId {
        PeerId(self.0.verifying_key().to_bytes())
    }

    /// The public half, as the id of a mesh.
    pub fn mesh(&self) -> MeshId {
        MeshId(self.0.verifying_key().to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}
