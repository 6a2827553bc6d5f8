//! Records with the signature of whoever may deploy: an issuer of the mesh, or a member whose certificate says so.
//!
//! ```text
//! issuer.key ─────────────────────────────────► signs any service
//! node.key ─ certificate with label deploy=ocr-* ─► signs services whose name begins so
//! ```
//!
//! **Invariant:** nothing inside is looked at before its signature has been checked, but for the name and the generation that
//! it claims.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name::ServiceName;
use super::record::{RECORD_BYTES_MAX, ServiceError, ServiceRecord};
use crate::certificate::{CertificateError, Chain, Issuer, IssuerCertificate, SecretKey, Signed};
use crate::id::{MeshId, PeerId};

const SERVICE: &str = "service";
/// The label of a certificate that says which services its holder may deploy: names with commas between them, of which each
/// may end with `*`.
pub const DEPLOY_LABEL: &str = "deploy";

/// A record as it travels, and as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedService {
    #[serde(rename = "r")]
    record: Signed,
    #[serde(rename = "b")]
    by: Deployer,
}

/// Who has signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Deployer {
    /// The holder of this certificate.
    #[serde(rename = "i")]
    Issuer(Signed),
    /// A member.
    #[serde(rename = "m")]
    Member {
        #[serde(rename = "k")]
        key: PeerId,
        #[serde(rename = "c")]
        chain: Chain,
    },
}

/// A record whose signatures are right and that can be meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifiedService {
    /// Whose key has signed it.
    pub signer: PeerId,
    /// Which issuer vouches for that key; the key itself where it is an issuer's.
    pub issuer: PeerId,
    /// What it says.
    pub record: ServiceRecord,
    /// As it travels.
    pub signed: SignedService,
}

/// Why a record is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeployError {
    /// Not signed by who may.
    #[error(transparent)]
    Signature(#[from] CertificateError),
    /// Signed, and of no use.
    #[error(transparent)]
    Record(#[from] ServiceError),
}

/// Which of two records of a service holds: the one of the later generation, and of one generation the one with the greater
/// hash, everywhere. Never 0, which is none.
pub type Head = u64;

const HASH_BITS: u32 = 16;

/// Whether the labels of a certificate let its holder deploy a service.
pub fn may_deploy(labels: &BTreeMap<String, String>, name: &ServiceName) -> bool {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(beginning) => name.as_str().starts_with(beginning),
        None => name.as_str() == pattern,
    };
    labels.get(DEPLOY_LABEL).is_some_and(|names| names.split(',').map(str::trim).any(fits))
}

impl SignedService {
    /// Signs a record as an issuer.
    pub fn by_issuer(record: &ServiceRecord, issuer: &Issuer) -> Self {
        let by = Deployer::Issuer(issuer.certificate().clone());
        Self { record: Signed::new(SERVICE, record, issuer.key()), by }
    }

    /// Signs a record as the member that this chain is of.
    pub fn by_member(record: &ServiceRecord, key: &SecretKey, chain: Chain) -> Self {
        let by = Deployer::Member { key: key.peer(), chain };
        Self { record: Signed::new(SERVICE, record, key), by }
    }

    /// Reads a record of `mesh`, and believes it only if all is right. What was signed in the time of a certificate holds after
    /// it: a service is there until it is removed.
    pub fn verify(self, mesh: MeshId) -> Result<VerifiedService, DeployError> {
        if self.to_bytes().len() > RECORD_BYTES_MAX {
            return Err(CertificateError::TooLarge { what: SERVICE, limit: RECORD_BYTES_MAX }.into());
        }
        let (signer, issuer, record) = match &self.by {
            Deployer::Issuer(certificate) => {
                let issuer = IssuerCertificate::verify_undated(certificate, mesh)?;
                let record: ServiceRecord = self.record.open(SERVICE, &issuer.issuer.0)?;
                let valid = issuer.not_before_unix_s..issuer.expires_unix_s;
                CertificateError::check_date(valid, record.issued_unix_s, || record.name.to_string())?;
                (issuer.issuer, issuer.issuer, record)
            }
            Deployer::Member { key, chain } => {
                let record: ServiceRecord = self.record.open(SERVICE, &key.0)?;
                let member = chain.verify(mesh, *key, record.issued_unix_s)?;
                if !may_deploy(&member.labels, &record.name) {
                    return Err(
                        CertificateError::NotAllowed { what: "no label `deploy` of its names the service" }.into()
                    );
                }
                (*key, chain.claimed_issuer()?, record)
            }
        };
        if record.mesh != mesh {
            return Err(CertificateError::OtherMesh { name: record.name.to_string(), mesh: record.mesh }.into());
        }
        record.check()?;
        Ok(VerifiedService { signer, issuer, record, signed: self })
    }

    /// The service and the head it claims: to pass over what is not newer, before any signature is checked.
    pub fn claim(&self) -> Option<(ServiceName, Head)> {
        let record = self.record.read::<ServiceRecord>(SERVICE).ok()?;
        Some((record.name, self.head(record.generation)))
    }

    pub(super) fn head(&self, generation: u64) -> Head {
        let hash = blake3::hash(&self.record.to_bytes());
        let [first, second, ..] = *hash.as_bytes();
        generation << HASH_BITS | u64::from(u16::from_be_bytes([first, second]))
    }

    /// The bytes to keep in a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::cbor::encode(self)
    }

    /// Reads what [`SignedService::to_bytes`] wrote; checks nothing but the form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        let unreadable = |why: String| CertificateError::Unreadable { what: SERVICE, why };
        crate::cbor::decode(bytes).map_err(|error| unreadable(error.to_string()))
    }
}

impl VerifiedService {
    /// Which of two records of a service holds.
    pub fn head(&self) -> Head {
        self.signed.head(self.record.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{mesh_key, record};
    use super::*;
    use crate::certificate::{MemberCertificate, Role};

    fn labelled(names: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(DEPLOY_LABEL.to_owned(), names.to_owned())])
    }

    /// As a member whose certificate has these labels, from the date 1,000 to 2,000, signs it.
    fn by_member(labels: BTreeMap<String, String>, issued_unix_s: u64) -> SignedService {
        let key = SecretKey::from_bytes(&[5; 32]);
        let certificate = MemberCertificate {
            mesh: mesh_key().mesh(),
            peer: key.peer(),
            name: "build-1".into(),
            role: Role::Edge,
            labels,
            not_before_unix_s: 1_000,
            expires_unix_s: 2_000,
            serial: 1,
        };
        let record = ServiceRecord { issued_unix_s, ..record("ocr", 1) };
        SignedService::by_member(&record, &key, certificate.sign(&Issuer::of(&mesh_key())))
    }

    #[test]
    fn what_an_issuer_signs_is_believed_and_nobody_elses() {
        let signed = SignedService::by_issuer(&record("ocr", 3), &Issuer::of(&mesh_key()));
        let other = SecretKey::from_bytes(&[2; 32]);

        let verified = signed.clone().verify(mesh_key().mesh()).unwrap();

        assert_eq!(verified.record, record("ocr", 3));
        assert_eq!(signed.claim(), Some(("ocr".parse().unwrap(), verified.head())));
        assert_eq!(SignedService::from_bytes(&signed.to_bytes()).unwrap(), signed);
        let forged = SignedService::by_issuer(&record("ocr", 3), &Issuer::of(&other));
        assert!(forged.verify(mesh_key().mesh()).is_err());
        assert!(signed.verify(other.mesh()).is_err());
    }

    #[test]
    fn a_member_signs_what_its_certificate_lets_it_while_that_is_valid() {
        let verify = |signed: SignedService| signed.verify(mesh_key().mesh());

        for names in ["*", "ocr", "o*", "asr, ocr"] {
            let verified = verify(by_member(labelled(names), 1_500)).unwrap();
            assert_eq!(verified.signer, SecretKey::from_bytes(&[5; 32]).peer());
            assert_eq!(verified.issuer, Issuer::of(&mesh_key()).id());
        }
        for names in ["", "oc", "ocr2", "x*"] {
            assert!(verify(by_member(labelled(names), 1_500)).is_err(), "{names}");
        }
        assert!(verify(by_member(BTreeMap::new(), 1_500)).is_err());
        assert!(verify(by_member(labelled("*"), 999)).is_err() && verify(by_member(labelled("*"), 2_000)).is_err());
    }

    #[test]
    fn a_later_generation_has_a_greater_head() {
        let head = |generation| {
            SignedService::by_issuer(&record("ocr", generation), &Issuer::of(&mesh_key())).claim().unwrap().1
        };

        assert!((1..50).all(|generation| head(generation) < head(generation + 1)));
    }
}
