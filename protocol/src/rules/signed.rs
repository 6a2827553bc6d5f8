//! Rules with the signature of whoever may deploy them: an issuer of the mesh.
//!
//! **Invariant:** nothing inside is looked at before its signature has been checked, but for the version that it claims.

use serde::{Deserialize, Serialize};

use super::document::{RULES_BYTES_MAX, RuleError, RuleSet};
use crate::certificate::{CertificateError, Issuer, IssuerCertificate, Signed};
use crate::id::{MeshId, PeerId};

const RULES: &str = "set of rules";

/// Rules as they travel, and as they are on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRules {
    #[serde(rename = "l")]
    set: Signed,
    /// Who has signed.
    #[serde(rename = "i")]
    issuer: Signed,
}

/// Rules whose signatures are right and that can be meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifiedRules {
    /// Which issuer has signed them.
    pub signer: PeerId,
    /// What they say.
    pub set: RuleSet,
    /// As they travel.
    pub signed: SignedRules,
}

/// Why rules are not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// Not signed by who may.
    #[error(transparent)]
    Signature(#[from] CertificateError),
    /// Signed, and of no use.
    #[error(transparent)]
    Rules(#[from] RuleError),
}

/// Which of two sets holds: the one of the later version, and of one version the one with the greater hash, everywhere.
///
/// It is 47 bits of version and hash: enough to say in every ping, and never 0, which is none.
pub type Head = u64;

const HASH_BITS: u32 = 16;

impl SignedRules {
    /// Signs a set.
    pub fn sign(set: &RuleSet, issuer: &Issuer) -> Self {
        Self { set: Signed::new(RULES, set, issuer.key()), issuer: issuer.certificate().clone() }
    }

    /// Reads rules of `mesh`, and believes them only if all is right. What an issuer signed in its time holds after it: rules
    /// stay in force until others replace them.
    pub fn verify(self, mesh: MeshId) -> Result<VerifiedRules, RulesError> {
        if self.set.to_bytes().len() > RULES_BYTES_MAX {
            return Err(CertificateError::TooLarge { what: RULES, limit: RULES_BYTES_MAX }.into());
        }
        let issuer = IssuerCertificate::verify_undated(&self.issuer, mesh)?;
        let set: RuleSet = self.set.open(RULES, &issuer.issuer.0)?;
        if set.mesh != mesh {
            return Err(CertificateError::OtherMesh { name: RULES.into(), mesh: set.mesh }.into());
        }
        let valid = issuer.not_before_unix_s..issuer.expires_unix_s;
        CertificateError::check_date(valid, set.issued_unix_s, || RULES.into())?;
        set.check()?;
        Ok(VerifiedRules { signer: issuer.issuer, set, signed: self })
    }

    /// The head it claims: to pass over what is not newer, before any signature is checked.
    pub fn claim(&self) -> Option<Head> {
        let version = self.set.read::<RuleSet>(RULES).ok()?.version;
        Some(self.head(version))
    }

    fn head(&self, version: u64) -> Head {
        let [first, second, ..] = self.digest();
        version << HASH_BITS | u64::from(u16::from_be_bytes([first, second]))
    }

    /// BLAKE3 of what is signed.
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&self.set.to_bytes()).as_bytes()
    }

    /// The bytes to keep in a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::cbor::encode(self)
    }

    /// Reads what [`SignedRules::to_bytes`] wrote; checks nothing but the form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        let unreadable = |why: String| CertificateError::Unreadable { what: RULES, why };
        crate::cbor::decode(bytes).map_err(|error| unreadable(error.to_string()))
    }
}

impl VerifiedRules {
    /// What is said of it in pings.
    pub fn head(&self) -> Head {
        self.signed.head(self.set.version)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{rule, set};
    use super::*;
    use crate::certificate::SecretKey;

    fn mesh_key() -> SecretKey {
        SecretKey::from_bytes(&[1; 32])
    }

    #[test]
    fn what_an_issuer_signs_is_believed_and_nobody_elses() {
        let signed = SignedRules::sign(&set(3, vec![rule("a")]), &Issuer::of(&mesh_key()));
        let other = SecretKey::from_bytes(&[2; 32]);

        let verified = signed.clone().verify(mesh_key().mesh()).unwrap();

        assert_eq!(verified.set, set(3, vec![rule("a")]));
        assert_eq!(signed.claim(), Some(verified.head()));
        assert_eq!(SignedRules::from_bytes(&signed.to_bytes()).unwrap(), signed);
        assert!(SignedRules::sign(&set(3, Vec::new()), &Issuer::of(&other)).verify(mesh_key().mesh()).is_err());
        assert!(signed.verify(other.mesh()).is_err());
    }

    #[test]
    fn a_later_version_has_a_greater_head() {
        let head =
            |version| SignedRules::sign(&set(version, vec![rule("a")]), &Issuer::of(&mesh_key())).claim().unwrap();

        assert!((1..50).all(|version| head(version) < head(version + 1)));
    }

    #[test]
    fn rules_are_signed_in_the_issuers_time_and_are_of_use_after_it() {
        let key = || SecretKey::from_bytes(&[3; 32]);
        let (mesh, issuer) = (mesh_key().mesh(), key().peer());
        let certificate = IssuerCertificate { mesh, issuer, not_before_unix_s: 10, expires_unix_s: 20 };
        let issuer = Issuer::new(key(), certificate.sign(&mesh_key()));
        let at = |issued_unix_s| {
            let set = RuleSet { issued_unix_s, ..set(1, vec![rule("a")]) };
            SignedRules::sign(&set, &issuer).verify(mesh).is_ok()
        };

        assert_eq!([9, 10, 19, 20].map(at), [false, true, true, false]);
    }

    #[test]
    fn as_many_rules_as_there_may_be_fit_a_frame() {
        let rules: Vec<_> = (0..super::super::RULES_MAX).map(|n| rule(&format!("the rule with number {n}"))).collect();
        let of = |rules| SignedRules::sign(&set(1, rules), &Issuer::of(&mesh_key()));

        assert!(of(rules.clone()).to_bytes().len() < crate::config::FRAME_BYTES_MAX);
        assert!(of(rules.clone()).verify(mesh_key().mesh()).is_ok());
        let more = [rules, vec![rule("one more")]].concat();
        assert!(of(more).verify(mesh_key().mesh()).is_err());
    }
}
