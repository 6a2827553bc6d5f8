//! What a peer shows to prove that it is a member.

use serde::{Deserialize, Serialize};

use super::{CertificateError, IssuerCertificate, MemberCertificate, Signed};
use crate::id::{MeshId, PeerId};

/// A member certificate, and the certificate of the issuer that signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    #[serde(rename = "m")]
    member: Signed,
    #[serde(rename = "i")]
    issuer: Signed,
}

impl Chain {
    pub(super) fn new(member: Signed, issuer: Signed) -> Self {
        Self { member, issuer }
    }

    /// Reads what `holder` shows to a member of `mesh` at the given date, and believes it only if all of it is right.
    pub fn verify(&self, mesh: MeshId, holder: PeerId, now_unix_s: u64) -> Result<MemberCertificate, CertificateError> {
        let issuer = match IssuerCertificate::verify(&self.issuer, mesh, now_unix_s) {
            Ok(issuer) => issuer,
            Err(why) => return Err(self.not_issued(mesh, why)),
        };
        MemberCertificate::verify(&self.member, mesh, issuer.issuer, holder, now_unix_s)
    }

    /// A member of another mesh deserves a better word than "bad signature"; what it claims is used for words only.
    fn not_issued(&self, mesh: MeshId, why: CertificateError) -> CertificateError {
        let name = MemberCertificate::claimed_name(&self.member);
        match IssuerCertificate::claimed_mesh(&self.issuer) {
            Ok(claim) if claim != mesh => CertificateError::OtherMesh { name, mesh: claim },
            Ok(_) | Err(_) => CertificateError::Issuer { name, why: Box::new(why) },
        }
    }

    /// The mesh that it claims to be of: what one's own is to be checked against.
    pub fn claimed_mesh(&self) -> Result<MeshId, CertificateError> {
        IssuerCertificate::claimed_mesh(&self.issuer)
    }

    /// The key that has signed for the member, as the chain claims: true once the chain is verified.
    pub fn claimed_issuer(&self) -> Result<PeerId, CertificateError> {
        IssuerCertificate::claimed_issuer(&self.issuer)
    }

    /// The bytes to keep in a file or show to another peer.
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::cbor::encode(self)
    }

    /// Reads what [`Chain::to_bytes`] wrote; checks nothing but the form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        let unreadable = |why: String| CertificateError::Unreadable { what: "certificate", why };
        crate::cbor::decode(bytes).map_err(|error| unreadable(error.to_string()))
    }
}
