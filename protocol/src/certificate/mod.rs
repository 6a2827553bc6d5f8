//! Who a peer is: the certificates that lead from a mesh's key to a peer's, and the record that a peer signs of itself.
//!
//! ```text
//! mesh key ──signs──► IssuerCertificate (issuer key, dates)            the mesh key is needed for this alone
//! issuer   ──signs──► MemberCertificate (node key, name, role, labels, dates)
//! node key ──signs──► PeerRecord (both of those, addresses, sequence)
//! ```
//!
//! **Invariant:** nothing inside a signed document is looked at before its signature has been checked.
//! **Not here:** who is asked for a certificate, and when: that is the driver's handshake. The caller hands in the date.

mod chain;
mod error;
mod issuer;
mod key;
mod member;
mod record;
mod signed;

pub use chain::Chain;
pub use error::CertificateError;
pub use issuer::{Issuer, IssuerCertificate};
pub use key::SecretKey;
pub use member::{Member, MemberCertificate, Role};
pub use record::{PeerRecord, SignedRecord};
pub use signed::Signed;
pub(crate) use signed::verify_document;

#[cfg(test)]
mod tests;
