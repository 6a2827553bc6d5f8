//! The owner's side of succession: finds a successor, sends it all that the stream has on disk, and from then on every change.
//!
//! ```text
//! no successor ─► the nearest that is allowed to ─► everything, anew ─► each change, or a word ─► … ─► it is gone: no successor
//! ```
//!
//! **Invariant:** a parcel is answered when the successor has it on disk, or has all of a later moment.
//! **Not here:** taking over (`takeover.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shoal_protocol::PeerId;
use shoal_protocol::api::PeerView;
use shoal_protocol::output::PeerState;
use shoal_protocol::store::{self, Change};
use shoal_protocol::stream::succession::{Receipt, SHIPMENT_BYTES_MAX, Shipment, Tenure, WORD_EVERY, question};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::engine::Ending;
use super::keeper::Keeper;
use super::persist::{Parcel, Parcels};
use super::shipping::{ShipError, ship};
use super::status::{Note, Status};
use super::tenure::{TENURE, tenure_key};
use crate::driver::handle::Handle;
use crate::network::Network;

/// A peer that refused is asked again after this long: its configuration may have changed.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// One that was lost, after this long: it may have been started again.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Nobody takes over now; somebody may soon.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A successor that is silent for so long is replaced: with `durable = 2` nothing is acknowledged meanwhile.
const SILENT_MAX: Duration = Duration::from_secs(3);
/// Between two tries to reach it.
const RETRY: Duration = Duration::from_millis(100);

pub(super) struct Shipper {
    pub(super) name: String,
    pub(super) epoch: u64,
    pub(super) run: u64,
    pub(super) two_copies: bool,
    pub(super) me: PeerId,
    pub(super) network: Network,
    pub(super) driver: Handle,
    pub(super) keeper: Arc<Keeper>,
    pub(super) parcels: Parcels,
    pub(super) status: Arc<Status>,
    pub(super) ending: Arc<watch::Sender<Ending>>,
    /// Those whose parcels are not at a successor yet: the next that has everything has these too.
    pub(super) held: Vec<oneshot::Sender<()>>,
}

/// How far the search for a successor is.
#[derive(Default)]
struct Search {
    /// Who is not asked until when, and why.
    refused: BTreeMap<PeerId, (Instant, String)>,
}

/// What ends the following of one successor.
enum Parted {
    /// It is gone; another is looked for.
    Gone(String),
    /// It will not.
    Refused(String),
    /// It lacks what came before.
    WantsAll,
    /// The stream is another's.
    Stale(u64),
    /// The stream is ending.
    Over,
}

impl Shipper {
    /// Ships until the stream ends.
    pub(super) async fn run(mut self) {
        let mut search = Search::default();
        loop {
            let Some(successor) = self.find(&mut search).await else {
                if !self.wait_alone(&search).await {
                    return;
                }
                continue;
            };
            match self.follow(successor).await {
                Parted::Gone(why) => {
                    tracing::info!(stream = self.name, ?successor, why, "the successor is gone");
                    search.refused.insert(successor, (Instant::now() + TRY_AGAIN, why));
                }
                Parted::Refused(why) => {
                    search.refused.insert(successor, (Instant::now() + ASK_AGAIN, why));
                }
                Parted::WantsAll => {
                    let why = "it forgets at once what it is sent".to_owned();
                    search.refused.insert(successor, (Instant::now() + ASK_AGAIN, why));
                }
                Parted::Stale(epoch) => {
                    tracing::warn!(stream = self.name, epoch, "another peer has taken this stream over");
                    // Nobody receives once it is ending.
                    let _ = self.ending.send(Ending::LetGo(epoch));
                    return;
                }
                Parted::Over => return,
            }
        }
    }

    /// The nearest peer that is there and has not refused lately.
    async fn find(&self, search: &mut Search) -> Option<PeerId> {
        search.refused.retain(|_, (until, _)| *until > Instant::now());
        let peers: Vec<PeerView> = self.driver.read(|driver| driver.peer().peers(driver.now())).await.ok()?;
        let could = |peer: &&PeerView| {
            peer.peer != self.me && peer.state == PeerState::Alive && !search.refused.contains_key(&peer.peer)
        };
        let near = |peer: &&PeerView| peer.rtt_p50_ms.map_or(u64::MAX, |ms| (ms * 1_000.0) as u64);
        peers.iter().filter(could).min_by_key(near).map(|peer| peer.peer)
    }

    /// False when the stream is ending.
    async fn wait_alone(&mut self, search: &Search) -> bool {
        let refusals: Vec<&str> = search.refused.values().map(|(_, why)| why.as_str()).collect();
        if self.two_copies {
            let why = match refusals.is_empty() {
                true => "no other peer is there".to_owned(),
                false => refusals.join("; "),
            };
            self.status.note(Note::Successor, format!("nothing is acknowledged without a successor: {why}"));
            return self.pause().await;
        }
        // Nobody waits for these: whoever comes is sent everything.
        let deadline = Instant::now() + LOOK_AGAIN;
        while let Ok(received) = tokio::time::timeout_at(deadline, self.parcels.received.recv()).await {
            if received.is_none() {
                return false;
            }
        }
        true
    }

    async fn pause(&self) -> bool {
        sleep(LOOK_AGAIN).await;
        !self.parcels.received.is_closed()
    }

    async fn follow(&mut self, successor: PeerId) -> Parted {
        if let Err(parted) = self.name_successor(successor).await {
            return parted;
        }
        let mut sent = match self.ship_all(successor).await {
            Ok(number) => number,
            Err(parted) => return parted,
        };
        self.status.clear(Note::Successor);
        tracing::info!(stream = self.name, ?successor, "has a successor");
        loop {
            let first = match timeout(WORD_EVERY, self.parcels.received.recv()).await {
                Ok(Some(parcel)) => Some(parcel),
                Ok(None) => return Parted::Over,
                Err(_) => None,
            };
            let changes = self.gather(first, sent);
            let shipped = match self.parcels.behind.swap(false, Ordering::Relaxed) {
                true => self.ship_all(successor).await.map(|number| sent = number),
                false => self.insist(successor, false, false, changes).await,
            };
            match shipped {
                Ok(()) => self.answer_all(),
                Err(Parted::WantsAll) => match self.ship_all(successor).await {
                    Ok(number) => sent = number,
                    Err(parted) => return parted,
                },
                Err(parted) => return parted,
            }
        }
    }

    /// A parcel and those that wait behind it, as far as they fit one shipment. Those that were sent with everything are
    /// there already.
    fn gather(&mut self, first: Option<Parcel>, sent: u64) -> Vec<Change> {
        let (mut changes, mut bytes) = (Vec::new(), 0);
        let mut next = first;
        while let Some(Parcel { number, changes: more, reply }) = next {
            self.held.extend(reply);
            if number > sent {
                bytes += more.iter().map(size).sum::<usize>();
                changes.extend(more);
            }
            next = if bytes < SHIPMENT_BYTES_MAX / 2 { self.parcels.received.try_recv().ok() } else { None };
        }
        changes
    }

    /// Whoever waits for what has been shipped.
    fn answer_all(&mut self) {
        for reply in self.held.drain(..) {
            // Whoever waited may have gone.
            let _ = reply.send(());
        }
    }

    /// The record says who would take over, so that this peer asks there when it is started again; under an epoch of its own,
    /// so that the one before is known to be left behind.
    async fn name_successor(&mut self, successor: PeerId) -> Result<(), Parted> {
        let key = tenure_key(&self.name);
        // Nothing is known any more once it was forgotten.
        let bytes = self.keeper.get(&key).ok_or(Parted::Over)?;
        let tenure: Tenure = store::decode(&key, &bytes).map_err(|error| Parted::Gone(error.to_string()))?;
        if tenure.successor == Some(successor) {
            return Ok(());
        }
        // Whether it would: that alone is not written down.
        self.insist(successor, true, false, vec![Change::Put { key: key.clone(), bytes }]).await?;
        let tenure = Tenure { successor: Some(successor), epoch: tenure.epoch + 1, ..tenure };
        let bytes = store::encode(&key, &tenure);
        self.keeper.write(vec![Change::Put { key, bytes }]).await.map_err(Parted::Gone)?;
        self.epoch = tenure.epoch;
        Ok(())
    }

    /// Everything there is, in pieces; the number of the last change that is in it.
    async fn ship_all(&mut self, successor: PeerId) -> Result<u64, Parted> {
        let (number, kept) = self.keeper.all_of(&self.name);
        let (mut piece, mut bytes, mut anew) = (Vec::new(), 0, true);
        // What the stream is comes first: by that the successor decides.
        let (tenure, rest): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(key, _)| key.first() == Some(&TENURE));
        for (key, record) in tenure.into_iter().chain(rest) {
            bytes += key.len() + record.len();
            piece.push(Change::Put { key, bytes: record });
            if bytes >= SHIPMENT_BYTES_MAX / 2 {
                self.insist(successor, anew, false, std::mem::take(&mut piece)).await?;
                (bytes, anew) = (0, false);
            }
        }
        self.insist(successor, anew, true, piece).await?;
        self.answer_all();
        Ok(number)
    }

    /// Ships until there is an answer, or the successor was silent for too long.
    async fn insist(&self, successor: PeerId, anew: bool, whole: bool, changes: Vec<Change>) -> Result<(), Parted> {
        let shipment = Shipment { epoch: self.epoch, anew, whole, changes, ..question(&self.name, self.run) };
        let deadline = Instant::now() + SILENT_MAX;
        loop {
            match ship(&self.network, successor, &shipment).await {
                Ok(Receipt::Kept) => return Ok(()),
                Ok(Receipt::Stale(epoch)) => return Err(Parted::Stale(epoch)),
                Ok(Receipt::WantsAll) => return Err(Parted::WantsAll),
                Ok(Receipt::Refused(why)) => return Err(Parted::Refused(why)),
                Err(ShipError::Unknown) => return Err(Parted::Refused(ShipError::Unknown.to_string())),
                Err(error) if Instant::now() >= deadline => return Err(Parted::Gone(error.to_string())),
                Err(error) => {
                    tracing::debug!(stream = self.name, %error, "the successor was not reached");
                    sleep(RETRY).await;
                }
            }
        }
    }
}

fn size(change: &Change) -> usize {
    match change {
        Change::Put { key, bytes } => key.len() + bytes.len(),
        Change::Delete { key } => key.len(),
    }
}
