//! After a start: a stream goes on here, unless another peer has taken it over meanwhile; then it is let go.
//!
//! **Invariant:** what was acknowledged here and may not have reached the one that took over is left for people.

use std::time::{Duration, Instant};

use shoal_protocol::stream::succession::{ASK_FOR, Receipt, Shipment, Tenure, question};
use shoal_protocol::{cbor, store};
use tokio::task::spawn_blocking;

use super::engine::Ending;
use super::keeper::Keeper;
use super::running::restore;
use super::tenure::TENURE;
use super::{Here, Streams, shipping};
use crate::small_file;

/// Between two questions whether this peer still owns a stream.
const ASK_EVERY: Duration = Duration::from_millis(100);

impl Streams {
    /// Goes on with what this peer owns, and watches what it would take over.
    pub(crate) fn resume(&self) {
        tokio::spawn(self.clone().watch());
        let Some(keeper) = self.opened() else { return };
        // Of those that it would take over, too.
        self.pin_modules();
        for (key, bytes) in keeper.of_kind(TENURE) {
            match store::decode::<Tenure>(&key, &bytes) {
                Ok(tenure) if tenure.owner == self.0.me && !tenure.stopped => {
                    let (streams, name) = (self.clone(), tenure.spec.name.clone());
                    self.set(&name, Here::Asked);
                    tokio::spawn(async move {
                        streams.resume_one(tenure).await;
                        streams.clear_if(&name, |here| matches!(here, Here::Asked));
                    });
                }
                Ok(tenure) => self.warn_if_not_allowed(&tenure),
                Err(error) => tracing::error!(%error, "a stream cannot be read, and is left as it is"),
            }
        }
    }

    /// Asks the successor first: it may have taken over meanwhile.
    async fn resume_one(&self, tenure: Tenure) {
        let name = tenure.spec.name.clone();
        let deadline = Instant::now() + ASK_FOR;
        while let Some(successor) = tenure.successor
            && Instant::now() < deadline
        {
            let question = Shipment { epoch: tenure.epoch, ..question(&name, tenure.run) };
            match shipping::ship(&self.0.network, successor, &question).await {
                Ok(Receipt::Stale(epoch)) => return self.let_go(&name, epoch).await,
                Ok(Receipt::Kept | Receipt::WantsAll | Receipt::Refused(_)) => break,
                Err(error) => {
                    tracing::debug!(stream = name, %error, "its successor was not reached");
                    tokio::time::sleep(ASK_EVERY).await;
                }
            }
        }
        // Whoever took over may have been lost as well, and its own successor runs the stream.
        let alive = self.alive().await.unwrap_or_default();
        if let Some(epoch) = self.ask_around(&tenure, &alive).await {
            return self.let_go(&name, epoch).await;
        }
        let _one = self.0.keeping.lock().await;
        // Meanwhile it may have been stopped, or shipped here by another owner.
        let now = self.tenure(&name).await.filter(|now| now.owner == self.0.me && !now.stopped);
        if let Some(tenure) = now {
            // Why it cannot go on is told already.
            let _ = self.begin(tenure).await;
        }
    }

    /// Another peer owns it: nothing is kept of it here until that one ships.
    pub(super) async fn let_go(&self, name: &str, epoch: u64) {
        let _one = self.0.keeping.lock().await;
        // Meanwhile that one may have shipped it.
        if self.tenure(name).await.is_none_or(|now| now.owner != self.0.me) {
            return;
        }
        tracing::warn!(stream = name, epoch, "another peer runs this stream now; letting go");
        // It may have been started again since.
        self.end(name, Ending::Stopped).await;
        let Some(keeper) = self.opened() else { return };
        if let Err(why) = self.leave_behind(name, epoch, &keeper).await {
            // It is not begun here meanwhile.
            self.set(name, Here::Owed);
            let fix = "make room, then start the daemon again: it lets go then";
            return tracing::error!(stream = name, why, fix, "its records stay here: they cannot be left for people");
        }
        if let Err(why) = keeper.write(keeper.nothing_of(name)).await {
            tracing::error!(stream = name, why, "what is left of it cannot be removed");
        }
        self.0.words().remove(name);
        self.pin_modules();
    }

    /// What was acknowledged here, was in no published window, and may not have reached the one that took over: for people. It is
    /// on disk when this returns; the error says why it is not, and then nothing may be removed.
    pub(super) async fn leave_behind(&self, name: &str, epoch: u64, keeper: &Keeper) -> Result<(), String> {
        let Some(tenure) = self.tenure(name).await.filter(|tenure| tenure.spec.durable == 1) else { return Ok(()) };
        let (lines, ending) = match restore(&tenure, keeper) {
            Ok(journal) => (journal.unpublished(), ""),
            Err(error) => {
                tracing::error!(stream = name, %error, "what it had here cannot be read, and is left as it is");
                (cbor::encode(&keeper.all_of(name).1), ".raw")
            }
        };
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.0.dir.join(format!("{name}.left-{epoch}{ending}"));
        let shown = path.display().to_string();
        let written = spawn_blocking(move || small_file::replace(&path, &lines, 0o600)).await;
        written
            .map_err(std::io::Error::other)
            .and_then(|written| written)
            .map_err(|error| format!("{shown}: {error}"))?;
        tracing::warn!(stream = name, file = shown, "records that may not have been passed on");
        Ok(())
    }
}
