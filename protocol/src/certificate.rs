//! Who a peer is: the member certificate a mesh key signs, and the record a peer signs of itself.
//!
//! ```text
//! mesh key ──signs──► MemberCertificate (node key, name, role, labels, expiry)
//! node key ──signs──► PeerRecord (that certificate, addresses, sequence)
//! ```
//!
//! **Invariant:** nothing inside a signed document is looked at before its signature has been checked.
//! **Not here:** who is asked for a certificate, and when: that is the driver's admission. The caller hands in the date.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::config::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, LABELS_MAX, NAME_BYTES_MAX};
use crate::id::{MeshId, PeerId};

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

    /// Signs what another protocol prescribes, like a TLS handshake. Documents of ours are signed by their kind.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
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

/// Why a certificate or record is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The bytes are not the document they should be.
    #[error("the {what} cannot be read: {why}")]
    Unreadable {
        /// Which document.
        what: &'static str,
        /// The decoder's words.
        why: String,
    },
    /// The signature is not by the expected key over these bytes.
    #[error("the signature of the {what} is not valid")]
    BadSignature {
        /// Which document.
        what: &'static str,
    },
    /// Signed by another mesh than ours.
    #[error("the certificate of `{name}` belongs to another mesh ({mesh:?})")]
    OtherMesh {
        /// The holder's name.
        name: String,
        /// The mesh it claims.
        mesh: MeshId,
    },
    /// The holder of the connection is not the holder of the certificate.
    #[error("the certificate of `{name}` was shown by another key than its own")]
    OtherHolder {
        /// The holder's name.
        name: String,
    },
    /// Its time is over.
    #[error("the certificate of `{name}` expired {ago_s} s ago")]
    Expired {
        /// The holder's name.
        name: String,
        /// Seconds since expiry.
        ago_s: u64,
    },
    /// Its time has not come; most often a wrong clock.
    #[error("the certificate of `{name}` is not valid for another {wait_s} s")]
    NotYetValid {
        /// The holder's name.
        name: String,
        /// Seconds until it is valid.
        wait_s: u64,
    },
    /// A field is longer, or there are more of them, than any honest document has.
    #[error("the {what} is over its limit of {limit}")]
    TooLarge {
        /// Which field.
        what: &'static str,
        /// The limit it broke.
        limit: usize,
    },
}

impl CertificateError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } | Self::BadSignature { .. } | Self::TooLarge { .. } => {
                "get a new certificate from whoever holds the mesh key: `shoal mesh admit`"
            }
            Self::OtherMesh { .. } => "compare the mesh ids with `shoal status`; a peer belongs to one mesh",
            Self::OtherHolder { .. } => {
                "a certificate works only with the node key it names; do not copy data directories"
            }
            Self::Expired { .. } => "renew it with `shoal mesh admit`, and check the clock of this machine",
            Self::NotYetValid { .. } => "check the clocks of both machines",
        }
    }
}

/// A document and the signature over its exact bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The CBOR of the document.
    #[serde(rename = "p", with = "serde_bytes")]
    payload: Vec<u8>,
    /// Ed25519 over the document's kind and the payload.
    #[serde(rename = "s", with = "serde_bytes")]
    signature: Vec<u8>,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({} bytes)", self.payload.len())
    }
}

impl Signed {
    fn new<T: Serialize>(what: &'static str, document: &T, key: &SecretKey) -> Self {
        let payload = crate::cbor::encode(document);
        let signature = key.0.sign(&domain_separated(what, &payload)).to_bytes().to_vec();
        Self { payload, signature }
    }

    fn open<T: DeserializeOwned>(&self, what: &'static str, signer: &[u8; 32]) -> Result<T, CertificateError> {
        let key = VerifyingKey::from_bytes(signer).map_err(|_| CertificateError::BadSignature { what })?;
        let signature = Signature::from_slice(&self.signature).map_err(|_| CertificateError::BadSignature { what })?;
        key.verify_strict(&domain_separated(what, &self.payload), &signature)
            .map_err(|_| CertificateError::BadSignature { what })?;
        self.read(what)
    }

    fn read<T: DeserializeOwned>(&self, what: &'static str) -> Result<T, CertificateError> {
        crate::cbor::decode(&self.payload)
            .map_err(|error| CertificateError::Unreadable { what, why: error.to_string() })
    }

    /// The bytes to keep in a file or show to another peer.
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::cbor::encode(self)
    }

    /// Reads what [`Signed::to_bytes`] wrote; checks nothing but the form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        crate::cbor::decode(bytes)
            .map_err(|error| CertificateError::Unreadable { what: CERTIFICATE, why: error.to_string() })
    }
}

/// A signature over one kind of document must never pass for another kind.
fn domain_separated(what: &str, payload: &[u8]) -> Vec<u8> {
    [b"shoal v1 ", what.as_bytes(), b"\0", payload].concat()
}

const CERTIFICATE: &str = "member certificate";
const RECORD: &str = "peer record";

/// What the mesh key says of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCertificate {
    /// The mesh whose key signs this.
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
    /// Signs it with the mesh key.
    pub fn sign(&self, mesh_key: &SecretKey) -> Signed {
        Signed::new(CERTIFICATE, self, mesh_key)
    }

    /// Reads a certificate that `holder` shows to a member of `mesh` at the given date, and believes it only if all is right.
    pub fn verify(signed: &Signed, mesh: MeshId, holder: PeerId, now_unix_s: u64) -> Result<Self, CertificateError> {
        let certificate: Self = match signed.open(CERTIFICATE, &mesh.0) {
            Ok(certificate) => certificate,
            Err(CertificateError::BadSignature { what }) => return Err(Self::why_not_ours(signed, mesh, what)),
            Err(other) => return Err(other),
        };
        let name = || certificate.name.clone();
        if certificate.mesh != mesh {
            return Err(CertificateError::OtherMesh { name: name(), mesh: certificate.mesh });
        }
        if certificate.peer != holder {
            return Err(CertificateError::OtherHolder { name: name() });
        }
        if now_unix_s >= certificate.expires_unix_s {
            let ago_s = now_unix_s.saturating_sub(certificate.expires_unix_s);
            return Err(CertificateError::Expired { name: name(), ago_s });
        }
        if now_unix_s < certificate.not_before_unix_s {
            let wait_s = certificate.not_before_unix_s.saturating_sub(now_unix_s);
            return Err(CertificateError::NotYetValid { name: name(), wait_s });
        }
        certificate.check_sizes()?;
        Ok(certificate)
    }

    /// A member of another mesh deserves a better word than "bad signature"; the claim is used for that word only.
    fn why_not_ours(signed: &Signed, mesh: MeshId, what: &'static str) -> CertificateError {
        match signed.read::<Self>(what) {
            Ok(claim) if claim.mesh != mesh => CertificateError::OtherMesh {
                name: claim.name.chars().take(NAME_BYTES_MAX).collect(),
                mesh: claim.mesh,
            },
            Ok(_) | Err(_) => CertificateError::BadSignature { what },
        }
    }

    fn check_sizes(&self) -> Result<(), CertificateError> {
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX {
            return Err(CertificateError::TooLarge { what: "name (or it is empty)", limit: NAME_BYTES_MAX });
        }
        if self.labels.len() > LABELS_MAX {
            return Err(CertificateError::TooLarge { what: "number of labels", limit: LABELS_MAX });
        }
        let longest = self.labels.iter().map(|(key, value)| key.len().max(value.len())).max();
        if longest.is_some_and(|longest| longest > NAME_BYTES_MAX) {
            return Err(CertificateError::TooLarge { what: "label", limit: NAME_BYTES_MAX });
        }
        Ok(())
    }

    /// What the rest of the protocol needs to know of the holder.
    pub fn member(&self) -> Member {
        Member { peer: self.peer, name: self.name.clone(), role: self.role, labels: self.labels.clone() }
    }
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

/// Where a peer can be reached, signed by itself, with the certificate that makes it a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRecord {
    /// Its member certificate.
    #[serde(rename = "c")]
    pub certificate: Signed,
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
    signed: Arc<Signed>,
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
        let certificate = MemberCertificate::verify(&record.certificate, mesh, self.peer, now_unix_s)?;
        Ok((record, certificate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_bytes(&[seed; 32])
    }

    fn certificate(mesh: &SecretKey, node: &SecretKey) -> MemberCertificate {
        MemberCertificate {
            mesh: mesh.mesh(),
            peer: node.peer(),
            name: "cam-17".into(),
            role: Role::Edge,
            labels: BTreeMap::from([("site".into(), "a".into())]),
            not_before_unix_s: NOW - 60,
            expires_unix_s: NOW + 60,
            serial: 1,
        }
    }

    #[test]
    fn a_certificate_is_believed_only_when_all_of_it_is_right() {
        let (mesh, node) = (key(1), key(2));
        let honest = certificate(&mesh, &node);
        let check = |signed: &Signed, now| MemberCertificate::verify(signed, mesh.mesh(), node.peer(), now);

        assert_eq!(check(&honest.sign(&mesh), NOW), Ok(honest.clone()));
        assert!(matches!(check(&honest.sign(&mesh), NOW + 60), Err(CertificateError::Expired { ago_s: 0, .. })));
        assert!(matches!(check(&honest.sign(&mesh), NOW - 61), Err(CertificateError::NotYetValid { wait_s: 1, .. })));
        assert!(matches!(check(&honest.sign(&node), NOW), Err(CertificateError::BadSignature { .. })));
        let foreign = certificate(&key(9), &node).sign(&key(9));
        assert!(matches!(check(&foreign, NOW), Err(CertificateError::OtherMesh { .. })));
        let stolen = certificate(&mesh, &key(3)).sign(&mesh);
        assert!(matches!(check(&stolen, NOW), Err(CertificateError::OtherHolder { .. })));
    }

    #[test]
    fn a_changed_label_breaks_the_signature() {
        let (mesh, node) = (key(1), key(2));
        let mut signed = certificate(&mesh, &node).sign(&mesh);
        let at = signed.payload.windows(4).position(|window| window == b"site").expect("the label is in the payload");
        signed.payload[at] = b'S';

        let verdict = MemberCertificate::verify(&signed, mesh.mesh(), node.peer(), NOW);

        assert!(matches!(verdict, Err(CertificateError::BadSignature { .. })));
    }

    #[test]
    fn a_record_signed_by_another_peer_is_refused() {
        let (mesh, node, other) = (key(1), key(2), key(3));
        let certificate = certificate(&mesh, &node).sign(&mesh);
        let record = PeerRecord { certificate, addresses: vec!["/ip4/127.0.0.1".into()], sequence: 3 };

        assert!(record.sign(&node).verify(mesh.mesh(), NOW).is_ok());
        let forged = SignedRecord { peer: node.peer(), ..record.sign(&other) };
        assert!(matches!(forged.verify(mesh.mesh(), NOW), Err(CertificateError::BadSignature { .. })));
        assert!(record.sign(&other).verify(mesh.mesh(), NOW).is_err(), "the certificate names another holder");
    }

    #[test]
    fn a_certificate_with_three_labels_stays_small() {
        let (mesh, node) = (key(1), key(2));
        let mut certificate = certificate(&mesh, &node);
        certificate.labels.insert("residency".into(), "eu".into());
        certificate.labels.insert("owner".into(), "lab".into());

        assert!(certificate.sign(&mesh).to_bytes().len() <= 300);
    }
}
