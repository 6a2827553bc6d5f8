//! Where peers can be reached, as they say themselves.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CertificateError, Chain, MemberCertificate, SecretKey, Signed};
use crate::config::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};
use crate::id::{MeshId, PeerId};

const RECORD: &str = "peer record";

/// Where a peer can be reached, signed by itself, with the certificate that makes it a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRecord {
    /// What makes it a member.
    #[serde(rename = "c")]
    pub certificate: Chain,
    /// Multiaddresses, best first.
    #[serde(rename = "a")]
    pub addresses: Vec<String>,
    /// Grows with each new record of the same peer; the highest is the newest.
    #[serde(rename = "q")]
    pub sequence: u64,
}

/// A [`PeerRecord`] as it travels: who says it, and the signature. A copy is cheap: it is kept, and told to many, as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRecord {
    /// The peer that signs, and that the record is about.
    #[serde(rename = "k")]
    pub peer: PeerId,
    /// The signed record.
    #[serde(rename = "r", with = "shared")]
    pub(super) signed: Arc<Signed>,
}

mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(value: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
        T::serialize(value, serializer)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<T>, D::Error> {
        T::deserialize(deserializer).map(Arc::new)
    }
}

impl PeerRecord {
    /// Signs it with the node key.
    pub fn sign(&self, node_key: &SecretKey) -> SignedRecord {
        SignedRecord { peer: node_key.peer(), signed: Arc::new(Signed::new(RECORD, self, node_key)) }
    }
}

impl SignedRecord {
    /// Checks the record and the certificate inside.
    pub fn verify(&self, mesh: MeshId, now_unix_s: u64) -> Result<(PeerRecord, MemberCertificate), CertificateError> {
        let record: PeerRecord = self.signed.open(RECORD, &self.peer.0)?;
        if record.addresses.len() > ADDRESSES_MAX {
            return Err(CertificateError::TooLarge { what: "number of addresses", limit: ADDRESSES_MAX });
        }
        if record.addresses.iter().any(|address| address.len() > ADDRESS_BYTES_MAX) {
            return Err(CertificateError::TooLarge { what: "address", limit: ADDRESS_BYTES_MAX });
        }
        let certificate = record.certificate.verify(mesh, self.peer, now_unix_s)?;
        Ok((record, certificate))
    }
}
