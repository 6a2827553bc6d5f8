//! Who may sign for a mesh: keys that its own key has certified, so that this one can be kept where nobody gets at it.

use serde::{Deserialize, Serialize};

use super::{CertificateError, SecretKey, Signed};
use crate::id::{MeshId, PeerId};

const ISSUER: &str = "issuer certificate";
/// What an issuer is called; it has no name of its own.
const NAME: &str = "the issuer";

/// What the mesh key says of an issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerCertificate {
    /// The mesh whose key signs this.
    #[serde(rename = "m")]
    pub mesh: MeshId,
    /// The key that member certificates are signed with.
    #[serde(rename = "k")]
    pub issuer: PeerId,
    /// Valid from this date on, in seconds since 1970.
    #[serde(rename = "f")]
    pub not_before_unix_s: u64,
    /// Not valid from this date on, in seconds since 1970, nor what it has signed.
    #[serde(rename = "t")]
    pub expires_unix_s: u64,
}

impl IssuerCertificate {
    /// Signs it with the mesh key.
    pub fn sign(&self, mesh_key: &SecretKey) -> Signed {
        Signed::new(ISSUER, self, mesh_key)
    }

    /// Reads one of `mesh` at the given date, and believes it only if all is right.
    pub fn verify(signed: &Signed, mesh: MeshId, now_unix_s: u64) -> Result<Self, CertificateError> {
        let certificate = Self::verify_undated(signed, mesh)?;
        let valid = certificate.not_before_unix_s..certificate.expires_unix_s;
        CertificateError::check_date(valid, now_unix_s, || NAME.to_owned())?;
        Ok(certificate)
    }

    /// The same, whatever the date.
    pub(crate) fn verify_undated(signed: &Signed, mesh: MeshId) -> Result<Self, CertificateError> {
        let certificate: Self = signed.open(ISSUER, &mesh.0)?;
        if certificate.mesh != mesh {
            return Err(CertificateError::OtherMesh { name: NAME.to_owned(), mesh: certificate.mesh });
        }
        Ok(certificate)
    }

    /// The mesh that it claims to be of: for words, and to find out what to check it against.
    pub fn claimed_mesh(signed: &Signed) -> Result<MeshId, CertificateError> {
        signed.read::<Self>(ISSUER).map(|claim| claim.mesh)
    }

    /// The key that it claims to be for: of use once its signature has been checked.
    pub(super) fn claimed_issuer(signed: &Signed) -> Result<PeerId, CertificateError> {
        signed.read::<Self>(ISSUER).map(|claim| claim.issuer)
    }
}

/// Whoever signs for a mesh.
#[derive(Debug)]
pub struct Issuer {
    key: SecretKey,
    certificate: Signed,
}

impl Issuer {
    /// The holder of `key`, for which the mesh has signed `certificate`.
    pub fn new(key: SecretKey, certificate: Signed) -> Self {
        Self { key, certificate }
    }

    /// One whose key follows from the mesh's, and that is valid for ever: for meshes that last as long as a test.
    pub fn of(mesh_key: &SecretKey) -> Self {
        let key = SecretKey::from_bytes(&blake3::derive_key("shoal issuer of a test mesh", &*mesh_key.to_bytes()));
        let (issuer, expires_unix_s) = (key.peer(), u64::MAX);
        let certificate = IssuerCertificate { mesh: mesh_key.mesh(), issuer, not_before_unix_s: 0, expires_unix_s };
        Self::new(key, certificate.sign(mesh_key))
    }

    /// The key it signs with, by its public half.
    pub fn id(&self) -> PeerId {
        self.key.peer()
    }

    pub(crate) fn key(&self) -> &SecretKey {
        &self.key
    }

    pub(crate) fn certificate(&self) -> &Signed {
        &self.certificate
    }
}
