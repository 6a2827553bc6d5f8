//! Who a peer is: the certificates that lead from a mesh's key to a peer's, and the record that a peer signs of itself.
//!
//! ```text
//! mesh key ──signs──► IssuerCertificate (issuer key, dates)            the mesh key is needed for this alone
//! issuer   ──signs──► MemberCertificate (node key, name, role, labels, dates)
//! node key ──signs──► PeerRecord (both of those, addresses, sequence)
//! mesh key or issuer ──signs──► RevocationList (keys that are none of them any more)
//! ```
//!
//! A new member gets its certificate by a [`Ticket`], and the next ones from its issuer (`joining.rs`).
//!
//! **Invariant:** nothing inside a signed document is looked at before its signature has been checked.
//! **Not here:** who is asked for a certificate, and when: that is the driver's handshake. The caller hands in the date.

mod chain;
mod error;
mod issuer;
pub mod joining;
mod key;
mod member;
mod record;
mod revocation;
mod signed;
mod ticket;

pub use chain::Chain;
pub use error::CertificateError;
pub use issuer::{Issuer, IssuerCertificate};
pub use key::SecretKey;
pub use member::{Member, MemberCertificate, Role};
pub use record::{PeerRecord, SignedRecord};
pub use revocation::{REVOKED_MAX, RevocationList, SignedRevocations, Signer, VerifiedRevocations};
pub use signed::Signed;
pub(crate) use signed::verify_document;
pub use ticket::{TICKET_ADDRESSES_MAX, Ticket, TicketError};

#[cfg(test)]
mod tests;
