//! The revocation lists: kept over restarts, and turned against whoever is in them.
//!
//! **Invariant:** a list is on disk before anybody is told that it holds.
//! **Not here:** what revoking a peer does to tasks. The protocol decides that.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shoal_protocol::audit::Happening;
use shoal_protocol::certificate::{Chain, SignedRevocations};
use shoal_protocol::{Input, MeshId, Peer, PeerId, Time, cbor};

use super::Driver;
use super::beside::Done;
use super::handle::Refusal;
use crate::small_file;

const FILE_NAME: &str = "revocations.cbor";
/// A file beyond this was not written by us: eight lists of 40 KB at most.
const FILE_BYTES_MAX: u64 = 512 * 1024;

/// Until a list that could not be written is written again; then twice as long. A disk that fails slowly must not hold up the peer.
const TRY_AGAIN: Duration = Duration::from_secs(1);
const TRY_AGAIN_MAX: Duration = Duration::from_secs(60);

/// Lists that are not on disk.
#[derive(Debug)]
pub(super) struct Unkept {
    pub(super) why: String,
    again: Time,
    pause: Duration,
}

/// Where the lists are.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE_NAME)
}

impl Driver {
    /// Those from the last run, before anybody is heard.
    pub(super) fn begin_revocations(&mut self) {
        let path = path(&self.config.data_dir);
        for list in read(&path) {
            match list.verify(self.identity.mesh) {
                Ok(verified) => self.handle(Input::Revoked(Box::new(verified))),
                Err(error) => tracing::error!(file = %path.display(), %error, "a revocation list is not believed"),
            }
        }
        self.revoked = Some(keys(&self.peer));
    }

    /// What was known before this run is in the audit log already.
    fn note_revoked(&mut self) {
        let Some(before) = &mut self.revoked else { return };
        let now = keys(&self.peer);
        let version = self.peer.revocations().lists().filter_map(|list| list.claim()).map(|(_, version)| version).max();
        for peer in now.difference(before) {
            self.audit.note(Happening::Revoked { peer: *peer, version: version.unwrap_or_default() });
        }
        *before = now;
    }

    /// Three signatures are too slow for the loop.
    pub(super) fn verify_revocations(&self, list: SignedRevocations) {
        let mesh = self.identity.mesh;
        self.beside.start(async move {
            let verified = tokio::task::spawn_blocking(move || list.verify(mesh)).await;
            Done::Judged(verified.ok().and_then(|verified| {
                let said = verified.inspect_err(|error| tracing::warn!(%error, "a revocation list is not believed"));
                said.ok().map(Box::new)
            }))
        });
    }

    /// A list that a user of this peer hands in; believed like any other.
    pub(super) fn revoke(&mut self, list: SignedRevocations) -> Result<(), Refusal> {
        let verified = list.verify(self.identity.mesh)?;
        self.handle(Input::Revoked(Box::new(verified)));
        self.unkept.as_ref().map_or(Ok(()), |unkept| Err(Refusal::NotKept(unkept.why.clone())))
    }

    /// Each second: a disk that was full may have room again.
    pub(super) fn keep_unkept_revocations(&mut self) {
        if self.unkept.as_ref().is_some_and(|unkept| unkept.again <= self.clock.now()) {
            self.write_revocations();
        }
    }

    fn write_revocations(&mut self) {
        let lists: Vec<SignedRevocations> = self.peer.revocations().lists().cloned().collect();
        let path = path(&self.config.data_dir);
        let written = small_file::replace(&path, &cbor::encode(&lists), 0o600)
            .map_err(|error| format!("{}: {error}", path.display()));
        let before = self.unkept.take();
        let Err(why) = written else { return };
        if before.is_none() {
            tracing::error!(why, "the revocation lists cannot be written: after a restart they must be heard again");
        }
        let pause = before.map_or(TRY_AGAIN, |before| (2 * before.pause).min(TRY_AGAIN_MAX));
        self.unkept = Some(Unkept { why, again: self.clock.now() + pause, pause });
    }

    /// Writes the lists down, and closes the door.
    pub(super) fn keep_revocations(&mut self) {
        self.write_revocations();
        self.note_revoked();
        let revocations = self.peer.revocations();
        self.office.bars(revocations.peers().clone());
        self.network.refuse(revocations.peers().clone(), revocations.issuers().clone());
        tracing::warn!(peers = revocations.peers().len(), issuers = revocations.issuers().len(), "revocations");
        let issuers = revocations.issuers();
        for (peer, _) in self.connected.iter().filter(|(_, issuer)| issuers.contains(issuer)) {
            self.network.disconnect(*peer, "the issuer of its certificate has been revoked");
        }
        if is_revoked(&self.identity.chain, self.identity.certificate.peer, &self.peer) {
            tracing::error!("{}", Revoked);
            self.begin_stopping();
        }
    }
}

/// Peers and issuers alike.
fn keys(peer: &Peer) -> BTreeSet<PeerId> {
    let revocations = peer.revocations();
    revocations.peers().iter().chain(revocations.issuers()).copied().collect()
}

/// What a peer that is revoked ends with.
#[derive(Debug, thiserror::Error)]
#[error("this peer has been revoked: it is no member of the mesh any more")]
pub struct Revoked;

fn is_revoked(chain: &Chain, me: PeerId, peer: &Peer) -> bool {
    let revocations = peer.revocations();
    revocations.has(me) || chain.claimed_issuer().is_ok_and(|issuer| revocations.issuers().contains(&issuer))
}

/// Whether the lists in a data directory say that this peer is a member no more.
pub(crate) fn revoked_before(data_dir: &Path, mesh: MeshId, me: PeerId, chain: &Chain) -> bool {
    let lists = read(&path(data_dir));
    let issuer = chain.claimed_issuer().ok();
    lists.into_iter().filter_map(|list| list.verify(mesh).ok()).any(|verified| {
        let list = verified.list;
        list.peers.contains(&me) || issuer.is_some_and(|issuer| list.issuers.contains(&issuer))
    })
}

fn read(path: &Path) -> Vec<SignedRevocations> {
    let without = "until a neighbour tells the revocation lists, revoked peers may connect";
    small_file::read_or_set_aside(path, FILE_BYTES_MAX, cbor::decode, without).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use shoal_protocol::certificate::{Issuer, MemberCertificate, RevocationList, Role, SecretKey};

    use super::*;

    fn chain(mesh: &SecretKey, peer: PeerId) -> Chain {
        let certificate = MemberCertificate {
            mesh: mesh.mesh(),
            peer,
            name: "nas".into(),
            role: Role::Edge,
            labels: Default::default(),
            not_before_unix_s: 0,
            expires_unix_s: u64::MAX,
            serial: 0,
        };
        certificate.sign(&Issuer::of(mesh))
    }

    #[test]
    fn what_is_written_is_read_and_says_who_is_revoked() {
        let (dir, mesh) = (tempfile::tempdir().unwrap(), SecretKey::from_bytes(&[1; 32]));
        let (lost, kept) = (PeerId([7; 32]), PeerId([8; 32]));
        let (peers, issuers) = (BTreeSet::from([lost]), BTreeSet::new());
        let list =
            RevocationList { mesh: mesh.mesh(), version: 1, previous: [0; 32], issued_unix_s: 0, peers, issuers };
        let lists = vec![list.sign(&Issuer::of(&mesh))];

        small_file::replace(&path(dir.path()), &cbor::encode(&lists), 0o600).unwrap();

        assert_eq!(read(&path(dir.path())), lists);
        let revoked = |peer| revoked_before(dir.path(), mesh.mesh(), peer, &chain(&mesh, peer));
        assert!(revoked(lost) && !revoked(kept));
    }
}
