//! Why a document is not believed, and what a person can do about it.

use crate::id::MeshId;

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
    /// The one that signed it may not, or not any more.
    #[error("the issuer of the certificate of `{name}` is not valid: {why}")]
    Issuer {
        /// The holder's name, as it claims.
        name: String,
        /// What is wrong with the issuer's certificate.
        why: Box<CertificateError>,
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
    /// The mesh has taken its word back.
    #[error("{who} has been revoked")]
    Revoked {
        /// Whose: a peer's name, or the issuer of its certificate.
        who: String,
    },
    /// Whoever signed it may not say that.
    #[error("a document says more than its signer may: {what}")]
    NotAllowed {
        /// What it says.
        what: &'static str,
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
    /// Whether a certificate that is `valid` between two dates, in seconds since 1970, is so now.
    pub(crate) fn check_date(
        valid: core::ops::Range<u64>,
        now_unix_s: u64,
        name: impl FnOnce() -> String,
    ) -> Result<(), Self> {
        if now_unix_s >= valid.end {
            Err(Self::Expired { name: name(), ago_s: now_unix_s - valid.end })
        } else if now_unix_s < valid.start {
            Err(Self::NotYetValid { name: name(), wait_s: valid.start - now_unix_s })
        } else {
            Ok(())
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } | Self::BadSignature { .. } | Self::TooLarge { .. } => {
                "get a new certificate with a ticket from the mesh's issuer: `shoal invite` there, `shoal join -` here"
            }
            Self::OtherMesh { .. } => "compare the mesh ids with `shoal status`; a peer belongs to one mesh",
            Self::OtherHolder { .. } => {
                "a certificate works only with the node key it names; do not copy data directories"
            }
            Self::Issuer { .. } => "have the mesh's issuer renewed where its key is: `shoal mesh rotate-issuer`",
            Self::Expired { .. } => {
                "check the clock of this machine; if it is right, get a new one: `shoal invite` there, `shoal join -` here"
            }
            Self::NotYetValid { .. } => "check the clocks of both machines",
            Self::Revoked { .. } => "make a new node key there, and ask whoever runs the mesh for a new certificate",
            Self::NotAllowed { .. } => "sign it with the mesh key",
        }
    }
}
