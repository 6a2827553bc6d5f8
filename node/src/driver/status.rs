//! This peer in one answer: itself, its neighbours, its tasks, its counters, and what a person should look at.

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_protocol::api::{PathView, PeerView, PlanView, Status, schema};
use shoal_protocol::output::PeerState;
use shoal_protocol::pipeline::graph::Graph;
use shoal_protocol::pipeline::spec::PipelineSpec;
use shoal_protocol::placement::explain::Decision;
use shoal_protocol::{BlobId, Peer, PeerId, TaskSpec, Time};

use super::Driver;
use super::handle::Refusal;
use super::revoked;

/// How long a refusal for dates is told of.
const WRONG_DATES_TOLD: Duration = Duration::from_secs(300);
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

    /// What was compiled of blobs that were removed.
    pub(crate) fn forget_code(&self, removed: Vec<BlobId>) {
        self.executor.forget(removed);
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

    pub(crate) fn plan_pipeline(
        &self,
        name: &str,
        mut spec: PipelineSpec,
        pinned: Vec<Option<String>>,
        graph: &Graph,
    ) -> Result<PlanView, Refusal> {
        for (stage, text) in spec.stages.iter_mut().zip(pinned) {
            stage.task.policy.peer = text.map(|text| self.peer.find_peer(&text)).transpose()?;
        }
        Ok(self.peer.plan_pipeline(self.now(), name, &spec, graph))
    }

    pub(crate) fn status(&self) -> Status {
        let now = self.now();
        let peers = self.peers();
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

    /// Those it knows, and how it gets to them.
    pub(crate) fn peers(&self) -> Vec<PeerView> {
        let known = self.peer.peers(self.now()).into_iter();
        known.map(|view| PeerView { path: self.path_to(view.peer), ..view }).collect()
    }

    pub(crate) fn path_to(&self, peer: PeerId) -> Option<PathView> {
        let is_relayed = self.network.is_relayed(peer)?;
        Some(if is_relayed { PathView::Relayed } else { PathView::Direct })
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let [wan, lan] = self.peer.flow_totals();
        let own = [
            ("flow_wan_bytes", wan),
            ("flow_lan_bytes", lan),
            ("frames_unreadable", self.garbage),
            ("strangers_refused", self.strangers),
            ("workers_lost", self.executor.workers_lost()),
            ("blob_bytes_fetched", self.blobs.fetched_bytes()),
            ("blob_bytes_sent", self.server.sent_bytes()),
        ];
        let all = self
            .peer
            .counters()
            .into_iter()
            .chain(self.network.counters())
            .chain(self.committer.counts().all())
            .chain(own);
        all.map(|(name, count)| (name.to_owned(), count)).chain(self.withheld.counts()).collect()
    }

    fn warnings(&self, peers: &[PeerView], addresses: &[String]) -> Vec<String> {
        let mut warnings = Vec::new();
        warnings.extend(self.renewal_warning());
        let recent = self.wrong_dates.as_ref().filter(|(at, _)| self.now().since(*at) < WRONG_DATES_TOLD);
        warnings.extend(recent.map(|(_, words)| words.clone()));
        let waiting = self.office.joiners().len();
        if waiting > 0 {
            warnings.push(format!("{waiting} machines wait to be let in → shoal mesh joiners"));
        }
        if let Some((why, fix)) = self.committer.counts().trouble() {
            warnings.push(format!("tasks cannot be kept: {why} → {fix}"));
        }
        warnings.extend(self.damaged.iter().map(|what| format!("{what} → check the disk; submit it again")));
        if let Some(revoked::Unkept { why, .. }) = &self.unkept {
            warnings.push(format!("revocations are not on disk: {why} → make room there"));
        }
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

/// What to say of a member that was refused for its dates: most often one of two clocks is wrong.
pub(super) fn wrong_dates(now: Time, address: &str, reason: &str) -> Option<(Time, String)> {
    // TLS carries words and no types; these are `CertificateError`'s.
    let at = reason.find("the certificate of `")?;
    let is_about_dates = reason.contains("` expired ") || reason.contains("` is not valid for another ");
    let words = reason.get(at..).unwrap_or_default();
    is_about_dates.then(|| (now, format!("refused {address}: {words} → check the clocks of both machines: date -u")))
}

/// A time span as a person says it.
pub(super) fn ago(us: u64) -> String {
    match us / 1_000_000 {
        s @ 0..=119 => format!("{s}s"),
        s @ 120..=7_199 => format!("{}m", s / 60),
        s @ 7_200..=172_799 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use shoal_protocol::certificate::CertificateError;

    use super::*;

    #[test]
    fn a_refusal_for_dates_is_known_by_the_words_of_its_error() {
        let name = || "cam".to_owned();
        let errors = [
            CertificateError::NotYetValid { name: name(), wait_s: 4_000 },
            CertificateError::Expired { name: name(), ago_s: 7 },
        ];
        for error in errors {
            let (_, words) = wrong_dates(Time::ZERO, "/ip4/192.0.2.1", &format!("TLS: {error}")).unwrap();
            assert!(words.contains(&error.to_string()) && words.contains("clocks"), "{words}");
        }
        let stolen = CertificateError::OtherHolder { name: name() };
        assert_eq!(wrong_dates(Time::ZERO, "/ip4/192.0.2.1", &stolen.to_string()), None);
    }
}
