//! The successor's watch: notices that an owner is silent, finds out why, and takes over from one that is dead.
//!
//! **Invariant:** a stream is taken over under a greater epoch that is on disk before anything is done by it.
//! **Not here:** keeping what owners ship (`follower.rs`), what may be taken over (`shipments.rs`).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use shoal_protocol::PeerId;
use shoal_protocol::output::PeerState;
use shoal_protocol::store::{self, Change};
use shoal_protocol::stream::succession::{REPLACED, Receipt, SILENT, START_GRACE, TAKEOVER_STEP, Tenure, question};
use tokio::time::{sleep, timeout};

use super::Streams;
use super::shipments::allowed;
use super::shipping::ship;
use super::tenure::{TENURE, tenure_key};

/// Owners are looked at this often.
const LOOK: Duration = Duration::from_millis(200);
/// Peers that are asked whether somebody has taken a stream over: as many as a peer has near ones.
const ASKED_MAX: usize = 32;
/// How long for.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

impl Streams {
    /// Watches the owners of the streams that this peer would take over, for as long as the daemon runs.
    pub(super) async fn watch(self) {
        loop {
            sleep(LOOK).await;
            let Some(keeper) = self.opened() else { continue };
            let tenures: Vec<Tenure> =
                keeper.of_kind(TENURE).iter().filter_map(|(key, bytes)| store::decode(key, bytes).ok()).collect();
            let others = tenures.into_iter().filter(|tenure| tenure.owner != self.0.me);
            let silent: Vec<_> = others
                .map(|tenure| (self.silent_for(&tenure.spec.name), tenure))
                .filter(|(silent, _)| *silent >= SILENT)
                .collect();
            if silent.is_empty() {
                continue;
            }
            let Some(alive) = self.alive().await else { return };
            for (silent, tenure) in silent {
                self.look_after(silent, tenure, &alive).await;
            }
        }
    }

    /// What is done about a copy whose owner has been silent for so long.
    async fn look_after(&self, silent: Duration, tenure: Tenure, alive: &BTreeSet<PeerId>) {
        let is_partial = self.is_partial(&tenure.spec.name);
        if alive.contains(&tenure.owner) {
            if silent >= REPLACED {
                self.ask_owner(&tenure).await;
            }
        } else if is_partial && silent >= REPLACED {
            // Nobody can go on with a part of it.
            self.drop_copy(&tenure, "its owner is gone, and it never came whole").await;
        } else if !is_partial && !tenure.stopped && allowed(&self.0.take_over, &tenure.spec).is_ok() {
            match self.ask_around(&tenure, alive).await {
                Some(_) => self.drop_copy(&tenure, "another peer took it over").await,
                None => self.take_over(tenure).await,
            }
        }
    }

    /// One that is there and does not ship has another successor, or has forgotten the stream; or it cannot go on with it, or has stopped
    /// it, and then this copy may be all there is.
    async fn ask_owner(&self, tenure: &Tenure) {
        let name = &tenure.spec.name;
        let question = question(name, tenure.run);
        let asked = timeout(ASK_TIMEOUT, ship(&self.0.network, tenure.owner, &question)).await;
        match asked {
            Ok(Ok(Receipt::Stale(epoch))) if epoch > tenure.epoch => {
                self.drop_copy(tenure, "its owner has another successor").await;
            }
            Ok(Ok(Receipt::WantsAll)) => self.drop_copy(tenure, "its owner has forgotten it").await,
            // Asked again when it has been silent for as long.
            Ok(Ok(Receipt::Stale(_) | Receipt::Kept | Receipt::Refused(_))) | Ok(Err(_)) | Err(_) => self.heard(name),
        }
    }

    /// The epoch of this stream that somebody knows of, if it is greater than this one. Peers that do not answer in time are
    /// not waited for.
    pub(super) async fn ask_around(&self, tenure: &Tenure, peers: &BTreeSet<PeerId>) -> Option<u64> {
        let mut asked = tokio::task::JoinSet::new();
        for peer in peers.iter().copied().filter(|peer| *peer != self.0.me).take(ASKED_MAX) {
            let (network, question) = (self.0.network.clone(), question(&tenure.spec.name, tenure.run));
            asked.spawn(async move { timeout(ASK_TIMEOUT, ship(&network, peer, &question)).await });
        }
        let mut greatest = None;
        while let Some(answer) = asked.join_next().await {
            if let Ok(Ok(Ok(Receipt::Stale(known)))) = answer {
                greatest = greatest.max(Some(known));
            }
        }
        greatest.filter(|known| *known > tenure.epoch)
    }

    /// Peers that are there, or may be.
    pub(super) async fn alive(&self) -> Option<BTreeSet<PeerId>> {
        self.0.driver.read(|driver| alive(&driver.peer().peers(driver.now()))).await.ok()
    }

    /// Unless another has come meanwhile.
    async fn drop_copy(&self, tenure: &Tenure, why: &str) {
        let _one = self.0.keeping.lock().await;
        let name = &tenure.spec.name;
        if self.tenure(name).await.as_ref() != Some(tenure) {
            return;
        }
        tracing::info!(stream = name, why, "its copy here is dropped");
        let Some(keeper) = self.opened() else { return };
        if let Err(why) = keeper.write(keeper.nothing_of(name)).await {
            tracing::warn!(stream = name, why, "it could not be dropped");
        }
        self.0.words().remove(name);
        self.pin_modules();
    }

    /// At the start: its configuration may be another one than before.
    pub(super) fn warn_if_not_allowed(&self, tenure: &Tenure) {
        if let Err(why) = allowed(&self.0.take_over, &tenure.spec)
            && tenure.owner != self.0.me
        {
            tracing::warn!(stream = tenure.spec.name, owner = ?tenure.owner, why, "it is not taken over here any more");
        }
    }

    async fn take_over(&self, tenure: Tenure) {
        let _one = self.0.keeping.lock().await;
        let name = tenure.spec.name.clone();
        if self.tenure(&name).await.as_ref() != Some(&tenure) {
            // Meanwhile somebody has shipped it, or stopped it.
            return;
        }
        let epoch = tenure.epoch.saturating_add(TAKEOVER_STEP);
        tracing::warn!(stream = name, owner = ?tenure.owner, epoch, "its owner is dead: taking the stream over");
        let tenure = Tenure { epoch, owner: self.0.me, successor: None, ..tenure };
        let key = tenure_key(&name);
        let bytes = store::encode(&key, &tenure);
        let Ok(keeper) = self.keeper().await else { return };
        match keeper.write(vec![Change::Put { key, bytes }]).await {
            // Why it cannot go on is told already.
            Ok(_) => drop(self.begin(tenure).await),
            Err(why) => tracing::error!(stream = name, why, "it cannot be taken over"),
        }
    }

    /// An owner that was not heard since this peer was started has until then.
    fn silent_for(&self, name: &str) -> Duration {
        self.0.words().entry(name.to_owned()).or_insert_with(|| Instant::now() + START_GRACE).elapsed()
    }
}

fn alive(peers: &[shoal_protocol::api::PeerView]) -> BTreeSet<PeerId> {
    // A suspect may still speak up.
    let is_there = |state: PeerState| matches!(state, PeerState::Alive | PeerState::Suspect);
    peers.iter().filter(|peer| is_there(peer.state)).map(|peer| peer.peer).collect()
}
