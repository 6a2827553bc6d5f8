//! A cloud peer is killed while it runs somebody's task, and returns later.
//!
//! **Invariant:** the peer killed is nobody's home: what a home's users handed in there is answered there or not at all.

use std::time::{Duration, Instant};

use shoal_protocol::TaskId;
use shoal_protocol::certificate::Role;
use shoal_protocol::output::PeerState;

use super::board::Board;
use super::live::Live;
use crate::cluster::{Cluster, ClusterError};

/// Tasks the peer should hold when it is killed…
const HELD_WANTED: usize = 3;
/// …and as long as that does not happen in this share of the time there is, one is enough.
const PATIENT_SHARE: f64 = 0.5;
/// Time between two questions to a peer what it runs: a run takes longer.
const ASK: Duration = Duration::from_millis(2);
/// Time the homes have to notice.
const NOTICE: Duration = Duration::from_secs(30);
/// The peer stays away at least this long.
const AWAY: Duration = Duration::from_secs(2);

/// What was done, and what was seen of it while it happened.
#[derive(Debug)]
pub(super) struct Killed {
    pub(super) name: String,
    pub(super) at: Instant,
    /// Tasks it ran, as it said just before, and all that it held, as their homes knew.
    pub(super) running: usize,
    pub(super) held: Vec<TaskId>,
    /// From the kill until the last home saw it dead.
    pub(super) noticed: Duration,
    /// When it was started again, and how long it took until every home saw it alive.
    pub(super) returned_at: Instant,
    pub(super) returned_in: Duration,
}

/// Kills the cloud peer that holds most, as soon as one runs something in `window`.
pub(super) async fn kill_one(
    cluster: &Cluster,
    board: &Board,
    live: &Live,
    window: [Duration; 2],
) -> Result<Killed, ClusterError> {
    let [from, to] = window;
    while board.elapsed() < from {
        tokio::time::sleep(from.saturating_sub(board.elapsed())).await;
    }
    let patient_until = from + (to - from).mul_f64(PATIENT_SHARE);
    let (victim, running, held) = loop {
        let (index, held) = busiest(cluster, board);
        let wanted = if board.elapsed() < patient_until { HELD_WANTED } else { 1 };
        let running = if held.len() >= wanted { running(cluster, index).await } else { 0 };
        if running > 0 || board.elapsed() >= to {
            break (index, running, held);
        }
        tokio::time::sleep(ASK).await;
    };
    cluster.kill(victim)?;
    let at = Instant::now();
    let name = cluster.peers()[victim].name.clone();
    live.say(format!("! {name} is killed (-9) while it runs {running} and holds {} in all", held.len()));
    wait_for(cluster, victim, PeerState::Dead).await?;
    let noticed = at.elapsed();
    tokio::time::sleep(AWAY.saturating_sub(at.elapsed())).await;
    let returned_at = Instant::now();
    cluster.restart(victim).await?;
    wait_for(cluster, victim, PeerState::Alive).await?;
    let returned_in = returned_at.elapsed();
    live.say(format!("! {name} is back after {:.1} s", at.elapsed().as_secs_f64()));
    Ok(Killed { name, at, running, held, noticed, returned_at, returned_in })
}

/// The cloud peer that holds most, as the homes know.
fn busiest(cluster: &Cluster, board: &Board) -> (usize, Vec<TaskId>) {
    let clouds = cluster.peers().iter().enumerate().filter(|(_, peer)| peer.role == Role::Cloud);
    let loads = clouds.map(|(index, peer)| (index, board.held_by(peer.peer)));
    loads.max_by_key(|(_, held)| held.len()).unwrap_or_default()
}

/// Tasks that run at a peer at this moment, as it says itself: of short runs it does not tell their homes.
async fn running(cluster: &Cluster, index: usize) -> usize {
    let Ok(client) = cluster.client(index) else { return 0 };
    let status = client.status().await.ok();
    status.and_then(|status| status.me.load).map_or(0, |load| usize::from(load.running))
}

/// Waits until every home believes this of the peer.
async fn wait_for(cluster: &Cluster, subject: usize, state: PeerState) -> Result<(), ClusterError> {
    for home in (0..cluster.peers().len()).filter(|index| cluster.peers()[*index].role == Role::Edge) {
        cluster.wait_for_state(home, subject, state, NOTICE).await?;
    }
    Ok(())
}
