//! The successor's side: keeps what owners ship.
//!
//! **Invariant:** what is answered as kept is on this disk.
//! **Not here:** finding a successor (`shipper.rs`), what a shipment may do (`shipments.rs`), taking over (`takeover.rs`).

use std::time::Instant;

use shoal_protocol::store::{self, Change};
use shoal_protocol::stream::succession::{EPOCH_MAX, Receipt, Shipment, Tenure, judge};
use shoal_protocol::stream::{BUFFER_BYTES_MAX, STREAMS_MAX, StreamSpec, of_stream};
use shoal_protocol::{BlobId, PeerId};
use tokio::task::spawn_blocking;

use super::engine::Ending;
use super::running::modules_of;
use super::shipments::{allowed, may_change, run_of, tenures};
use super::shipping::{answer, receive};
use super::tenure::PARTIAL;
use super::{Here, Streams};
use crate::network::BulkStream;

/// What one stream may have on this disk: its buffers, twice while a window is published, and its marks.
const KEPT_BYTES_MAX: u64 = 2 * BUFFER_BYTES_MAX + 16 * 1024 * 1024;

impl Streams {
    /// Answers one shipment.
    pub(crate) async fn serve(&self, from: PeerId, mut stream: BulkStream) {
        let receipt = match receive(&mut stream).await {
            Ok(shipment) => self.keep(from, shipment).await,
            Err(error) => {
                tracing::debug!(?from, %error, "a shipment did not arrive");
                return;
            }
        };
        if let Err(error) = answer(&mut stream, &receipt).await {
            tracing::debug!(?from, %error, "a receipt did not leave");
        }
    }

    async fn keep(&self, from: PeerId, shipment: Shipment) -> Receipt {
        // One at a time: what is judged must not change before it is written.
        let _one = self.0.keeping.lock().await;
        let keeper = match self.keeper().await {
            Ok(keeper) => keeper,
            Err(error) => return Receipt::Refused(error.to_string()),
        };
        let name = shipment.stream.as_str();
        let known = self.tenure(name).await;
        if shipment.epoch == 0 && self.is_partial(name) {
            return Receipt::WantsAll;
        }
        // What is known of another stream of this name says nothing of this one.
        let run = run_of(&shipment);
        let known = match known {
            Some(known) if run.is_some_and(|run| run != known.run) => {
                // Its owner had forgotten that one, and has begun another.
                if shipment.anew && known.owner != from {
                    return Receipt::Refused("it knows another stream of this name".into());
                }
                None
            }
            known => known,
        };
        if let Some(receipt) = judge(known.as_ref().map(|known| (known.epoch, known.owner)), from, &shipment) {
            return receipt;
        }
        let told = match self.acceptable(from, &shipment, known.as_ref()).await {
            Ok(told) => told,
            Err(why) => return Receipt::Refused(why),
        };
        let is_forgotten = shipment.anew && shipment.whole && told.as_ref().is_some_and(|told| told.stopped);
        if known.as_ref().is_some_and(|known| known.owner == self.0.me) {
            // It was taken over while this peer did not know: the other's epoch is the greater.
            self.end(name, Ending::LetGo(shipment.epoch)).await;
            if let Err(why) = self.leave_behind(name, shipment.epoch, &keeper).await {
                self.set(name, Here::Owed);
                return Receipt::Refused(why);
            }
            self.clear_if(name, |_| true);
        }
        if keeper.bytes_of(name) > KEPT_BYTES_MAX {
            return Receipt::Refused("what it has on disk here is too much".into());
        }
        let mut changes = if shipment.anew { keeper.nothing_of(name) } else { Vec::new() };
        let partial = of_stream(PARTIAL, name);
        match (shipment.anew, shipment.whole) {
            (true, false) => changes.push(Change::Put { bytes: store::encode(&partial, &true), key: partial }),
            (false, true) => changes.push(Change::Delete { key: partial }),
            (true, true) | (false, false) => {}
        }
        if !is_forgotten {
            changes.extend(shipment.changes.clone());
        }
        if !changes.is_empty()
            && let Err(why) = keeper.write(changes).await
        {
            return Receipt::Refused(why);
        }
        match told {
            Some(_) if is_forgotten => {
                self.0.words().remove(name);
                self.pin_modules();
                return Receipt::Kept;
            }
            Some(told) if shipment.anew => self.fetch_modules(from, &told.spec),
            Some(_) | None => {}
        }
        self.heard(name);
        Receipt::Kept
    }

    /// What it says the stream is, if it does; or why this shipment cannot be kept.
    async fn acceptable(
        &self,
        from: PeerId,
        shipment: &Shipment,
        known: Option<&Tenure>,
    ) -> Result<Option<Tenure>, String> {
        if shipment.epoch > EPOCH_MAX {
            return Err("nobody gets to such an epoch".into());
        }
        if !shipment.changes.iter().all(|change| may_change(&shipment.stream, change)) {
            return Err("it changes what is not an owner's to change".into());
        }
        let tenure = match tenures(&shipment.changes)[..] {
            [(key, bytes)] => store::decode::<Tenure>(key, bytes).map_err(|error| error.to_string())?,
            [] if shipment.anew => return Err("it does not say what the stream is".into()),
            [] => {
                // The configuration may be another one than when it came.
                known.map_or(Ok(()), |known| allowed(&self.0.take_over, &known.spec))?;
                return Ok(None);
            }
            _ => return Err("it says twice what the stream is".into()),
        };
        if tenure.spec.name != shipment.stream || tenure.epoch != shipment.epoch || tenure.owner != from {
            return Err("it contradicts itself".into());
        }
        tenure.spec.check().map_err(|error| error.to_string())?;
        if known.is_none() && self.count().await >= STREAMS_MAX {
            return Err(format!("it holds {STREAMS_MAX} streams already"));
        }
        // That it is stopped, or forgotten, is heard in any case.
        if !tenure.stopped {
            allowed(&self.0.take_over, &tenure.spec)?;
        }
        Ok(Some(tenure))
    }

    /// So that they are here when whoever has them is not.
    fn fetch_modules(&self, from: PeerId, spec: &StreamSpec) {
        let (streams, modules, name) = (self.clone(), modules_of(spec), spec.name.clone());
        tokio::spawn(async move {
            for module in modules {
                if let Err(why) = streams.fetch_module(from, module).await {
                    tracing::warn!(stream = name, %module, why, "a module of a stream that would be taken over");
                }
            }
        });
    }

    async fn fetch_module(&self, from: PeerId, module: BlobId) -> Result<(), String> {
        if self.0.blobs.stat(module).is_none() {
            self.0.driver.fetch_blob(module, Some(from.to_string())).await.map_err(|error| error.to_string())?;
        }
        let blobs = self.0.blobs.clone();
        let synced = spawn_blocking(move || blobs.make_durable(&[module])).await;
        synced.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        self.pin_modules();
        Ok(())
    }

    /// Whether what is here of a stream is not all that there is.
    pub(super) fn is_partial(&self, name: &str) -> bool {
        self.opened().is_some_and(|keeper| keeper.get(&of_stream(PARTIAL, name)).is_some())
    }

    pub(super) fn heard(&self, name: &str) {
        self.0.words().insert(name.to_owned(), Instant::now());
    }
}
