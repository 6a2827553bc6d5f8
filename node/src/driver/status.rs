//! This peer in one answer: itself, its neighbours, its tasks, its counters, and what a person should look at.

use std::collections::BTreeMap;

use shoal_protocol::api::{PeerView, Status, schema};
use shoal_protocol::output::PeerState;
use shoal_protocol::placement::explain::Decision;
use shoal_protocol::{BlobId, Peer, PeerId, TaskSpec, Time};

use super::handle::Refusal;
use super::{Driver, unix_time};

/// A certificate that expires within this time is worth a word.
const EXPIRY_WARNING_S: u64 = 14 * 24 * 3600;
/// Lost neighbours told of; the rest are in the listing.
const LOST_TOLD_MAX: usize = 3;

impl Driver {
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    pub(crate) fn is_prepared(&self, module: BlobId) -> bool {
        self.executor.is_prepared(module)
    }

    pub(crate) fn name_of(&self, peer: PeerId) -> String {
        let known = self.peer.peers(self.now()).into_iter().find(|view| view.peer == peer);
        known.map_or_else(|| peer.short(), |view| view.name)
    }

    pub(crate) fn dry_run(&self, mut spec: TaskSpec, pinned: Option<&str>) -> Result<Decision, Refusal> {
        if let Some(text) = pinned {
            spec.policy.peer = Some(self.peer.find_peer(text)?);
        }
        Ok(self.peer.dry_run(self.now(), &spec))
    }

    pub(crate) fn status(&self) -> Status {
        let now = self.now();
        let peers = self.peer.peers(now);
        let addresses = self.network.local_addresses();
        Status {
            schema: schema(),
            version: env!("CARGO_PKG_VERSION").into(),
            mesh_name: self.config.mesh_name.clone(),
            mesh: self.identity.mesh,
            me: self.peer.me(now),
            uptime_us: now.as_micros(),
            sandbox: self.executor.sandbox(),
            warnings: self.warnings(&peers, &addresses),
            addresses,
            peers,
            tasks: self.peer.task_counts(),
            counters: self.counters(),
        }
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let own = [
            ("frames_unreadable", self.garbage),
            ("strangers_refused", self.strangers),
            ("workers_lost", self.executor.workers_lost()),
        ];
        let all = self
            .peer
            .counters()
            .into_iter()
            .chain(self.network.counters())
            .chain(self.committer.counts().all())
            .chain(own);
        all.map(|(name, count)| (name.to_owned(), count)).collect()
    }

    fn warnings(&self, peers: &[PeerView], addresses: &[String]) -> Vec<String> {
        let mut warnings = Vec::new();
        let left_s = self.identity.certificate.expires_unix_s.saturating_sub(unix_time().as_secs());
        if left_s < EXPIRY_WARNING_S {
            let peer = self.identity.certificate.peer;
            warnings.push(format!(
                "this peer's certificate expires in {} → shoal mesh admit --key {peer} --name {}",
                ago(left_s.saturating_mul(1_000_000)),
                self.identity.certificate.name
            ));
        }
        if let Some((why, fix)) = self.committer.counts().trouble() {
            warnings.push(format!("tasks cannot be kept: {why} → {fix}"));
        }
        warnings.extend(self.damaged.iter().map(|what| format!("{what} → check the disk; submit it again")));
        if addresses.is_empty() {
            warnings.push("this peer listens nowhere yet, so others cannot find it → shoal config show".into());
        }
        let lost = peers.iter().filter(|peer| matches!(peer.state, PeerState::Suspect | PeerState::Dead));
        for peer in lost.take(LOST_TOLD_MAX) {
            let since = peer.heard_us_ago.map_or_else(|| "a while".into(), ago);
            warnings.push(format!("{} last heard {since} ago → shoal ping {}", peer.name, peer.name));
        }
        warnings
    }
}

/// A time span as a person says it.
fn ago(us: u64) -> String {
    match us / 1_000_000 {
        s @ 0..=119 => format!("{s}s"),
        s @ 120..=7_199 => format!("{}m", s / 60),
        s @ 7_200..=172_799 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}
