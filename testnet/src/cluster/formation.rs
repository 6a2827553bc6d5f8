//! Waiting until the peers see each other as they should, as their APIs tell it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use shoal_protocol::PeerId;
use shoal_protocol::api::PeerView;
use shoal_protocol::output::PeerState;

use super::error::ClusterError;
use super::{Cluster, LOOK};

/// A healthy peer answers within milliseconds; one that is frozen must not hold up the look at the others.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// The peers that run and are not frozen.
pub(super) fn awake(cluster: &Cluster) -> Vec<usize> {
    let is_awake = |index: &usize| {
        let process = &cluster.processes[*index];
        process.pid().is_some() && !process.is_frozen()
    };
    (0..cluster.peers.len()).filter(is_awake).collect()
}

/// Waits until each of these peers sees all the others of them alive, and knows their loads: then it may give them tasks.
pub(super) async fn wait_all_alive(
    cluster: &Cluster,
    awaited: &[usize],
    patience: Duration,
    show: bool,
) -> Result<(), ClusterError> {
    let began = Instant::now();
    let progress = if show { spinner() } else { ProgressBar::hidden() };
    loop {
        let mut missing = Vec::new();
        for &index in awaited {
            check_alive(cluster, index)?;
            if let Some(lack) = lacking(cluster, index, awaited).await {
                missing.push(lack);
            }
        }
        if missing.is_empty() {
            progress.finish_and_clear();
            return Ok(());
        }
        progress.set_message(format!("{} of {} peers see all others", awaited.len() - missing.len(), awaited.len()));
        give_up_after(cluster, began, patience, missing)?;
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the peer's API answers.
pub(super) async fn wait_for_api(cluster: &Cluster, index: usize, patience: Duration) -> Result<(), ClusterError> {
    let began = Instant::now();
    loop {
        check_alive(cluster, index)?;
        let Some(lack) = lacking(cluster, index, &[]).await else { return Ok(()) };
        give_up_after(cluster, began, patience, vec![lack])?;
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until `observer` believes `state` of `subject`; one it has forgotten counts as dead.
pub(super) async fn wait_for_state(
    cluster: &Cluster,
    observer: usize,
    subject: usize,
    state: PeerState,
    patience: Duration,
) -> Result<Duration, ClusterError> {
    let began = Instant::now();
    let (watched, name) = (cluster.peer(subject)?.peer, cluster.peer(subject)?.name.clone());
    loop {
        let lack = match states(cluster, observer).await {
            Err(why) => why,
            Ok(states) => match states.get(&watched) {
                Some(seen) if seen.state == state => return Ok(began.elapsed()),
                None if state == PeerState::Dead => return Ok(began.elapsed()),
                seen => {
                    format!("sees {name} {}, not {}", described(seen.map(|seen| seen.state)), described(Some(state)))
                }
            },
        };
        let missing = vec![format!("{} {lack}", cluster.peer(observer)?.name)];
        give_up_after(cluster, began, patience, missing)?;
        tokio::time::sleep(LOOK).await;
    }
}

/// A peer that has ended will never be seen; its last words say more than a timeout.
fn check_alive(cluster: &Cluster, index: usize) -> Result<(), ClusterError> {
    let process = &cluster.processes[index];
    match process.status() {
        None => Ok(()),
        Some(status) => {
            let peer = &cluster.peers[index];
            Err(ClusterError::Ended {
                name: peer.name.clone(),
                status,
                log: peer.log.clone(),
                log_end: process.log_end(),
            })
        }
    }
}

/// What one peer lacks until it sees all the others alive; nothing when it does.
async fn lacking(cluster: &Cluster, index: usize, others: &[usize]) -> Option<String> {
    let name = &cluster.peers[index].name;
    let states = match states(cluster, index).await {
        Ok(states) => states,
        Err(why) => return Some(format!("{name} {why}")),
    };
    let unseen =
        others.iter().filter(|other| **other != index).map(|other| &cluster.peers[*other]).filter_map(|other| {
            let lack = match states.get(&other.peer).map(|seen| (seen.state, is_heard(seen))) {
                Some((PeerState::Alive, true)) => return None,
                Some((PeerState::Alive, false)) => "alive, its load unknown",
                seen => described(seen.map(|(state, _)| state)),
            };
            Some(format!("{} {lack}", other.name))
        });
    let unseen: Vec<String> = unseen.collect();
    (!unseen.is_empty()).then(|| format!("{name} sees {}", unseen.join(", ")))
}

/// Neighbours tell their loads; in a large mesh not everybody known is one.
fn is_heard(seen: &PeerView) -> bool {
    seen.load.is_some() || seen.path.is_none()
}

async fn states(cluster: &Cluster, index: usize) -> Result<BTreeMap<PeerId, PeerView>, String> {
    let client = cluster.client(index).map_err(|error| error.to_string())?.with_timeout(ANSWER_PATIENCE);
    let status = client.status().await.map_err(|error| format!("gives no answer ({error})"))?;
    Ok(status.peers.into_iter().map(|view| (view.peer, view)).collect())
}

fn described(state: Option<PeerState>) -> &'static str {
    match state {
        None => "not at all",
        Some(PeerState::Alive) => "alive",
        Some(PeerState::Suspect) => "suspect",
        Some(PeerState::Dead) => "dead",
        Some(PeerState::Left) => "left",
    }
}

fn give_up_after(cluster: &Cluster, began: Instant, after: Duration, missing: Vec<String>) -> Result<(), ClusterError> {
    if began.elapsed() < after {
        return Ok(());
    }
    Err(ClusterError::TimedOut { after, missing, logs: cluster.dir().to_owned() })
}

/// Hidden by itself where standard error is not a terminal.
fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(100));
    bar.set_message("starting the peers");
    bar
}
