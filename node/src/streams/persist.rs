//! Writing what a stream must not lose: on this disk, and where its user asked for two, on its successor's too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shoal_protocol::store::Change;
use tokio::sync::{mpsc, oneshot};

use super::keeper::Keeper;

/// Parcels that wait for the successor. With `durable = 1` nobody waits for them: beyond this it is sent everything anew.
const PARCELS_MAX: usize = 256;

/// Changes that are on this disk, on their way to the successor's.
#[derive(Debug)]
pub(super) struct Parcel {
    /// Of the change: see [`Keeper::write`].
    pub(super) number: u64,
    pub(super) changes: Vec<Change>,
    /// Who waits until it is there.
    pub(super) reply: Option<oneshot::Sender<()>>,
}

/// Writes for one stream.
#[derive(Debug, Clone)]
pub(super) struct Persist {
    name: Arc<str>,
    keeper: Arc<Keeper>,
    parcels: mpsc::Sender<Parcel>,
    /// Parcels were dropped.
    behind: Arc<AtomicBool>,
    two_copies: bool,
}

/// The end that the shipper has.
#[derive(Debug)]
pub(super) struct Parcels {
    pub(super) received: mpsc::Receiver<Parcel>,
    pub(super) behind: Arc<AtomicBool>,
}

impl Persist {
    pub(super) fn new(name: &str, keeper: Arc<Keeper>, two_copies: bool) -> (Self, Parcels) {
        let (parcels, received) = mpsc::channel(PARCELS_MAX);
        let behind = Arc::new(AtomicBool::new(false));
        let persist = Self { name: name.into(), keeper, parcels, behind: Arc::clone(&behind), two_copies };
        (persist, Parcels { received, behind })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns when the changes are on as many disks as they must be; an error is of this disk, and nothing is on it then.
    pub(super) async fn write(&self, changes: Vec<Change>) -> Result<(), String> {
        let number = self.keeper.write(changes.clone()).await?;
        if !self.two_copies {
            if self.parcels.try_send(Parcel { number, changes, reply: None }).is_err() {
                self.behind.store(true, Ordering::Relaxed);
            }
            return Ok(());
        }
        let (reply, kept) = oneshot::channel();
        // Where the shipper has gone the stream is ending, and nobody is to be told that this is kept.
        let _ = self.parcels.send(Parcel { number, changes, reply: Some(reply) }).await;
        match kept.await {
            Ok(()) => Ok(()),
            Err(_) => std::future::pending().await,
        }
    }

    /// What stands under a key of this stream.
    pub(super) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.keeper.get(key)
    }
}
