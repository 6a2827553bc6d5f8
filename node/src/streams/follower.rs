//! The successor's side: keeps what owners ship, and takes over from one that is dead.
//!
//! **Invariant:** a stream of another peer touches here only what `streams.take_over` names. It is taken over under a greater
//! epoch that is on disk before anything is done by it.
//! **Not here:** finding a successor (`shipper.rs`).

use std::collections::BTreeSet;
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use shoal_protocol::output::PeerState;
use shoal_protocol::store::{self, Change};
use shoal_protocol::stream::succession::{
    EPOCH_MAX, REPLACED, Receipt, SILENT, START_GRACE, Shipment, TAKEOVER_STEP, Tenure, judge, question,
};
use shoal_protocol::stream::{
    BUFFER_BYTES_MAX, BrokerSpec, Key, STREAMS_MAX, SinkSpec, SourceSpec, StreamSpec, of_stream,
};
use shoal_protocol::{BlobId, PeerId};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::engine::Ending;
use super::running::modules_of;
use super::shipping::{answer, receive, ship};
use super::sink::Which;
use super::tenure::{PARTIAL, TENURE, tenure_key};
use super::{Here, Streams};
use crate::network::BulkStream;

/// Owners are looked at this often.
const LOOK: Duration = Duration::from_millis(200);
/// Peers that are asked whether somebody has taken a stream over: as many as a peer has near ones.
const ASKED_MAX: usize = 32;
/// How long for.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
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

    /// Whether what is here of a stream is not all that there is.
    fn is_partial(&self, name: &str) -> bool {
        self.opened().is_some_and(|keeper| keeper.get(&of_stream(PARTIAL, name)).is_some())
    }

    fn heard(&self, name: &str) {
        self.0.words().insert(name.to_owned(), Instant::now());
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

/// Whether an owner may change this at its successor: what the stream is, what its journal and its sinks write, each under its own key.
fn may_change(stream: &str, change: &Change) -> bool {
    let (Change::Put { key, .. } | Change::Delete { key }) = change;
    let Some(key) = Key::read(key).filter(|key| key.name == stream) else { return false };
    let is_sink = [Which::Results, Which::Late].iter().any(|which| *which as u8 == key.kind);
    match key.kind {
        TENURE => key.number.is_none() && matches!(change, Change::Put { .. }),
        _ if is_sink => key.number.is_none(),
        _ => key.is_journal(),
    }
}

/// Which life of its stream a shipment is about, as far as it says so.
fn run_of(shipment: &Shipment) -> Option<u64> {
    let told =
        || tenures(&shipment.changes).into_iter().find_map(|(key, bytes)| store::decode::<Tenure>(key, bytes).ok());
    shipment.run.or_else(|| told().map(|told| told.run))
}

/// Where these say what a stream is.
fn tenures(changes: &[Change]) -> Vec<(&[u8], &[u8])> {
    let put = changes.iter().filter_map(|change| match change {
        Change::Put { key, bytes } if key.first() == Some(&TENURE) => Some((key.as_slice(), bytes.as_slice())),
        Change::Put { .. } | Change::Delete { .. } => None,
    });
    put.collect()
}

/// Whether a stream of another peer would touch only what it may.
fn allowed(take_over: &[String], spec: &StreamSpec) -> Result<(), String> {
    let broker = |broker: &BrokerSpec| {
        let entry = format!("mqtt:{}", broker.broker);
        let password = broker.password_file().map_or(Ok(()), |path| file(take_over, path));
        if take_over.contains(&entry) { password } else { Err(not_in(&entry)) }
    };
    match &spec.source {
        SourceSpec::Mqtt(spec) => broker(spec)?,
        SourceSpec::Directory { path } => file(take_over, path)?,
        SourceSpec::Http {} | SourceSpec::Stdin {} => {}
    }
    for sink in [Some(&spec.sink), spec.late.as_ref()].into_iter().flatten() {
        match sink {
            SinkSpec::File { path } => file(take_over, path)?,
            SinkSpec::Mqtt(spec) => broker(spec)?,
        }
    }
    Ok(())
}

fn file(take_over: &[String], path: &Path) -> Result<(), String> {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let inside = take_over.iter().any(|entry| entry.starts_with('/') && path.starts_with(entry));
    if plain && inside { Ok(()) } else { Err(not_in(&path.display().to_string())) }
}

fn not_in(what: &str) -> String {
    format!("its `streams.take_over` does not have {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(take_over: &[&str], path: &str, good: bool) {
        let take_over: Vec<String> = take_over.iter().map(ToString::to_string).collect();

        assert_eq!(file(&take_over, Path::new(path)).is_ok(), good, "{path}");
    }

    #[test]
    fn an_owner_changes_its_stream_and_nothing_else() {
        let key = |kind: u8, name: &str, number: Option<u64>| {
            let number = number.map(u64::to_be_bytes);
            [&[kind][..], name.as_bytes(), &[0], number.as_ref().map_or(&[][..], |number| number)].concat()
        };
        let put = |key| Change::Put { key, bytes: Vec::new() };
        let may = |change| may_change("s", &change);

        assert!(
            [(TENURE, None), (b'b', Some(7)), (b'm', Some(7)), (b'p', None), (b'o', None), (b'q', None)]
                .into_iter()
                .all(|(kind, number)| may(put(key(kind, "s", number))))
        );
        assert!(may(Change::Delete { key: key(b'b', "s", Some(7)) }));
        let not = [
            put(key(b'b', "t", Some(7))),
            put(key(TENURE, "s", Some(7))),
            put(key(PARTIAL, "s", None)),
            put(key(b'z', "s", None)),
            put(b"ds".to_vec()),
            Change::Delete { key: key(TENURE, "s", None) },
            Change::Delete { key: key(PARTIAL, "s", None) },
        ];
        assert_eq!(not.iter().filter(|change| may_change("s", change)).collect::<Vec<_>>(), [] as [&Change; 0]);
        let twice = [put(key(TENURE, "s", None)), put(key(b'p', "s", None)), put(key(TENURE, "s", None))];
        assert_eq!(tenures(&twice).len(), 2);
    }

    #[test]
    fn only_files_in_directories_that_are_named_are_touched() {
        check(&["/srv/out"], "/srv/out/a", true);
        check(&["/srv/out"], "/srv/out/deep/a", true);
        check(&["/srv/out"], "/srv/outside/a", false);
        check(&["/srv/out"], "/srv/out/../../etc/passwd", false);
        check(&["mqtt:h:1"], "/srv/out/a", false);
        check(&[], "/srv/out/a", false);
    }
}
