//! Keys that the mesh has taken its word back from: a list that grows, signed anew as a whole each time.
//!
//! Each signer has a list of its own, so that two of them cannot get in each other's way; what holds is all of them
//! together. Versions count up, and each names the one before by its hash: whoever holds one back, or signs two of one
//! version, is found out.
//!
//! **Invariant:** only the mesh key takes its word back from issuers: an issuer that was stolen can be stopped, and cannot
//! stop the others.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{CertificateError, Issuer, IssuerCertificate, SecretKey, Signed};
use crate::id::{MeshId, PeerId};

const LIST: &str = "revocation list";

/// Keys in one list: as many fill a message (35 KB), and a mesh that has lost more devices needs another mesh key.
pub const REVOKED_MAX: usize = 1_024;

/// Who signs a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Signer {
    /// The mesh key itself.
    Mesh,
    /// Whoever holds this key, while the mesh has certified it.
    Issuer(PeerId),
}

/// What a list says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationList {
    /// The mesh it is about.
    #[serde(rename = "m")]
    pub mesh: MeshId,
    /// Counts the lists of one signer, from 1.
    #[serde(rename = "v")]
    pub version: u64,
    /// BLAKE3 of the signer's list before this one; zeros for its first.
    #[serde(rename = "h")]
    pub previous: [u8; 32],
    /// When it was signed, in seconds since 1970.
    #[serde(rename = "a")]
    pub issued_unix_s: u64,
    /// Node keys that are no members any more, whatever certificates they have.
    #[serde(rename = "k")]
    pub peers: BTreeSet<PeerId>,
    /// Issuers whose signatures count no more.
    #[serde(rename = "i", default, skip_serializing_if = "BTreeSet::is_empty")]
    pub issuers: BTreeSet<PeerId>,
}

impl RevocationList {
    /// Signs it as an issuer.
    pub fn sign(&self, issuer: &Issuer) -> SignedRevocations {
        SignedRevocations { list: Signed::new(LIST, self, issuer.key()), issuer: Some(issuer.certificate().clone()) }
    }

    /// Signs it as the mesh.
    pub fn sign_as_mesh(&self, mesh_key: &SecretKey) -> SignedRevocations {
        SignedRevocations { list: Signed::new(LIST, self, mesh_key), issuer: None }
    }

    /// The list that follows on this one, with more keys in it.
    pub fn next(&self, digest: [u8; 32], issued_unix_s: u64) -> Self {
        Self { version: self.version.saturating_add(1), previous: digest, issued_unix_s, ..self.clone() }
    }

    /// What `signer` signs next after the lists that are `held`. All that anybody has revoked is in it: an issuer's list is
    /// dropped with the issuer.
    pub fn following(held: &[VerifiedRevocations], mesh: MeshId, signer: Signer, issued_unix_s: u64) -> Self {
        let mut next = match held.iter().find(|verified| verified.signer == signer) {
            Some(own) => own.list.next(own.signed.digest(), issued_unix_s),
            None => Self {
                mesh,
                version: 1,
                previous: [0; 32],
                issued_unix_s,
                peers: BTreeSet::new(),
                issuers: BTreeSet::new(),
            },
        };
        next.peers.extend(held.iter().flat_map(|verified| verified.list.peers.iter().copied()));
        if signer == Signer::Mesh {
            next.issuers.extend(held.iter().flat_map(|verified| verified.list.issuers.iter().copied()));
        }
        next
    }

    fn check_sizes(&self) -> Result<(), CertificateError> {
        if self.peers.len().saturating_add(self.issuers.len()) > REVOKED_MAX {
            return Err(CertificateError::TooLarge { what: "number of revoked keys", limit: REVOKED_MAX });
        }
        Ok(())
    }
}

/// A list as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRevocations {
    #[serde(rename = "l")]
    list: Signed,
    /// Who has signed, unless that is the mesh key itself.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    issuer: Option<Signed>,
}

/// A list whose signatures are right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedRevocations {
    /// Who has signed it.
    pub signer: Signer,
    /// What it says.
    pub list: RevocationList,
    /// As it travels.
    pub signed: SignedRevocations,
}

impl SignedRevocations {
    /// Reads one of `mesh`, and believes it only if all is right. What an issuer signed in its time holds for ever: all
    /// peers must come to the same verdict whenever they ask, and a revoked key does not come back with the years.
    pub fn verify(self, mesh: MeshId) -> Result<VerifiedRevocations, CertificateError> {
        let issuer = self.issuer.as_ref().map(|issuer| IssuerCertificate::verify_undated(issuer, mesh)).transpose()?;
        let key = issuer.as_ref().map_or(mesh.0, |issuer| issuer.issuer.0);
        let list: RevocationList = self.list.open(LIST, &key)?;
        if list.mesh != mesh {
            return Err(CertificateError::OtherMesh { name: LIST.into(), mesh: list.mesh });
        }
        if let Some(issuer) = &issuer {
            let valid = issuer.not_before_unix_s..issuer.expires_unix_s;
            CertificateError::check_date(valid, list.issued_unix_s, || LIST.into())?;
            if !list.issuers.is_empty() {
                return Err(CertificateError::NotAllowed { what: "an issuer revokes issuers" });
            }
        }
        let signer = issuer.map_or(Signer::Mesh, |issuer| Signer::Issuer(issuer.issuer));
        list.check_sizes()?;
        Ok(VerifiedRevocations { signer, list, signed: self })
    }

    /// Whose list it claims to be, and which: to pass over those that are known, before any signature is checked.
    pub fn claim(&self) -> Option<(Signer, u64)> {
        let version = self.list.read::<RevocationList>(LIST).ok()?.version;
        let signer = match &self.issuer {
            None => Signer::Mesh,
            Some(issuer) => Signer::Issuer(IssuerCertificate::claimed_issuer(issuer).ok()?),
        };
        Some((signer, version))
    }

    /// BLAKE3 of what is signed: the next list names it.
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&self.list.to_bytes()).as_bytes()
    }

    /// The bytes to keep in a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::cbor::encode(self)
    }

    /// Reads what [`SignedRevocations::to_bytes`] wrote; checks nothing but the form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        let unreadable = |why: String| CertificateError::Unreadable { what: LIST, why };
        crate::cbor::decode(bytes).map_err(|error| unreadable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn mesh_key() -> SecretKey {
        SecretKey::from_bytes(&[1; 32])
    }

    fn list(peers: &[u8], issuers: &[u8]) -> RevocationList {
        let ids = |of: &[u8]| of.iter().map(|n| PeerId([*n; 32])).collect();
        let (peers, issuers) = (ids(peers), ids(issuers));
        RevocationList { mesh: mesh_key().mesh(), version: 1, previous: [0; 32], issued_unix_s: NOW, peers, issuers }
    }

    #[test]
    fn what_an_issuer_signs_is_believed_of_it() {
        let signed = list(&[7], &[]).sign(&Issuer::of(&mesh_key()));

        let verified = signed.clone().verify(mesh_key().mesh()).unwrap();

        assert_eq!(verified.list, list(&[7], &[]));
        assert_eq!(signed.claim(), Some((verified.signer, 1)));
        assert!(matches!(verified.signer, Signer::Issuer(_)));
        assert_eq!(SignedRevocations::from_bytes(&signed.to_bytes()).unwrap(), signed);
    }

    #[test]
    fn issuers_are_revoked_by_the_mesh_key_and_nobody_else() {
        let list = list(&[], &[9]);

        let by_mesh = list.sign_as_mesh(&mesh_key()).verify(mesh_key().mesh());
        let by_issuer = list.sign(&Issuer::of(&mesh_key())).verify(mesh_key().mesh());

        assert_eq!(by_mesh.unwrap().signer, Signer::Mesh);
        assert_eq!(by_issuer.unwrap_err(), CertificateError::NotAllowed { what: "an issuer revokes issuers" });
    }

    #[test]
    fn neither_a_member_nor_another_mesh_revokes_anybody() {
        let other = SecretKey::from_bytes(&[2; 32]);

        assert!(list(&[7], &[]).sign_as_mesh(&other).verify(mesh_key().mesh()).is_err());
        assert!(list(&[7], &[]).sign(&Issuer::of(&other)).verify(mesh_key().mesh()).is_err());
    }

    #[test]
    fn an_issuer_revokes_in_its_time_and_neither_before_nor_after() {
        let key = || SecretKey::from_bytes(&[3; 32]);
        let (mesh, issuer) = (mesh_key().mesh(), key().peer());
        let certificate = IssuerCertificate { mesh, issuer, not_before_unix_s: NOW - 10, expires_unix_s: NOW };
        let issuer = Issuer::new(key(), certificate.sign(&mesh_key()));
        let at = |issued_unix_s| RevocationList { issued_unix_s, ..list(&[7], &[]) }.sign(&issuer).verify(mesh).is_ok();

        assert_eq!([NOW - 11, NOW - 10, NOW - 1, NOW].map(at), [false, true, true, false]);
    }

    #[test]
    fn a_list_is_as_long_as_a_message_may_be() {
        let ids = |count: usize| (0..count).map(|n| PeerId(*blake3::hash(&n.to_le_bytes()).as_bytes())).collect();
        let of = |count| RevocationList { peers: ids(count), ..list(&[], &[]) }.sign(&Issuer::of(&mesh_key()));

        assert!(of(REVOKED_MAX).to_bytes().len() < 40_000);
        assert!(of(REVOKED_MAX).verify(mesh_key().mesh()).is_ok());
        assert!(of(REVOKED_MAX + 1).verify(mesh_key().mesh()).is_err());
    }
}
