//! The revocation list that follows on those a daemon holds.

use std::collections::BTreeSet;

use shoal_protocol::api::{RevocationsView, revocations_from_base64};
use shoal_protocol::certificate::{REVOKED_MAX, RevocationList, Signer};
use shoal_protocol::id::{MeshId, PeerId};

use super::files::now_unix_s;
use crate::error::{Exit, Failure, own};

/// What `signer` is to sign so that these are revoked as well. All that anybody has revoked is in it: an issuer's list is
/// dropped with the issuer.
pub(crate) fn next(
    view: &RevocationsView,
    mesh: MeshId,
    signer: Signer,
    peers: BTreeSet<PeerId>,
    issuers: BTreeSet<PeerId>,
) -> Result<RevocationList, Failure> {
    let mut lists = Vec::new();
    for list in &view.lists {
        let signed = revocations_from_base64(list).map_err(unreadable)?;
        lists.push(signed.verify(mesh).map_err(unreadable)?);
    }
    let mut list = RevocationList::following(&lists, mesh, signer, now_unix_s()?);
    list.peers.extend(view.peers.iter().copied().chain(peers));
    if signer == Signer::Mesh {
        list.issuers.extend(view.issuers.iter().copied().chain(issuers));
    }
    if list.peers.len().saturating_add(list.issuers.len()) > REVOKED_MAX {
        return Err(Failure::new(
            Exit::Denied,
            own::MESH,
            format!("{REVOKED_MAX} keys of this mesh are revoked already"),
        )
        .why("a longer list does not fit a message")
        .fix("found a new mesh with `shoal mesh init`, and let those in who are still there"));
    }
    Ok(list)
}

fn unreadable(error: shoal_protocol::certificate::CertificateError) -> Failure {
    Failure::new(Exit::BadConfiguration, own::MESH, "the daemon's revocation lists cannot be read")
        .why(error.to_string())
        .fix("run this where the daemon belongs to the mesh of issuer.cert: `shoal mesh status`")
}
