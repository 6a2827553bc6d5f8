//! Documents and the signatures over them.

use core::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{CertificateError, SecretKey};

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
    pub(crate) fn new<T: Serialize>(what: &'static str, document: &T, key: &SecretKey) -> Self {
        let payload = crate::cbor::encode(document);
        let signature = key.signature(&domain_separated(what, &payload)).to_bytes().to_vec();
        Self { payload, signature }
    }

    pub(crate) fn open<T: DeserializeOwned>(
        &self,
        what: &'static str,
        signer: &[u8; 32],
    ) -> Result<T, CertificateError> {
        if !verify_document(what, &self.payload, &self.signature, signer) {
            return Err(CertificateError::BadSignature { what });
        }
        self.read(what)
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, what: &'static str) -> Result<T, CertificateError> {
        crate::cbor::decode(&self.payload)
            .map_err(|error| CertificateError::Unreadable { what, why: error.to_string() })
    }
}

impl Signed {
    /// The bytes to keep in a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::cbor::encode(self)
    }

    /// Reads what [`Signed::to_bytes`] wrote; checks nothing but the form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        let unreadable = |why: String| CertificateError::Unreadable { what: "certificate", why };
        crate::cbor::decode(bytes).map_err(|error| unreadable(error.to_string()))
    }
}

/// Whether `signer` has signed the bytes of a document of this kind.
pub(crate) fn verify_document(kind: &'static str, bytes: &[u8], signature: &[u8], signer: &[u8; 32]) -> bool {
    let (Ok(key), Ok(signature)) = (VerifyingKey::from_bytes(signer), Signature::from_slice(signature)) else {
        return false;
    };
    key.verify_strict(&domain_separated(kind, bytes), &signature).is_ok()
}

/// A signature over one kind of document must never pass for another kind.
pub(super) fn domain_separated(what: &str, payload: &[u8]) -> Vec<u8> {
    [b"shoal v1 ", what.as_bytes(), b"\0", payload].concat()
}
