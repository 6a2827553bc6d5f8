//! Whom handshakes turn away although its certificates are in order: the mesh has taken its word back.
//!
//! **Not here:** connections that exist. Whoever learns of a revocation closes those.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use shoal_protocol::PeerId;
use shoal_protocol::certificate::{CertificateError, MemberCertificate};

/// The keys that are revoked, as all handshakes see them; changed as a whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Revoked(Arc<RwLock<Keys>>);

#[derive(Debug, Default)]
struct Keys {
    peers: BTreeSet<PeerId>,
    issuers: BTreeSet<PeerId>,
}

impl Revoked {
    pub(super) fn set(&self, peers: BTreeSet<PeerId>, issuers: BTreeSet<PeerId>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Keys { peers, issuers };
    }

    /// Whether a member may come in whom `issuer` has signed for.
    pub(super) fn check(&self, member: &MemberCertificate, issuer: PeerId) -> Result<(), CertificateError> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if keys.peers.contains(&member.peer) {
            return Err(CertificateError::Revoked { who: format!("`{}`", member.name) });
        }
        if keys.issuers.contains(&issuer) {
            let who = format!("the issuer of the certificate of `{}`", member.name);
            return Err(CertificateError::Revoked { who });
        }
        Ok(())
    }
}
