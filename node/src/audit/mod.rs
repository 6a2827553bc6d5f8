//! Writes down what somebody may ask about later; the format and what it proves are in [`shoal_protocol::audit`].
//!
//! ```text
//! rooms ─ note() ─► a bounded queue ─► gather: the same denials are counted ─► log: lines, fsync, head ─► audit.log
//! ```
//!
//! **Invariant:** noting something never waits, and attackers fill neither memory nor disk: what is not written one by one
//! is counted, and what is lost is counted too.

mod gather;
mod log;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shoal_protocol::api::ConfigView;
use shoal_protocol::audit::{Happening, Hash};
use shoal_protocol::certificate::SecretKey;
use shoal_protocol::{Member, PeerId, TaskId};

use crate::driver::unix_time;
use gather::Gather;
use log::Log;

/// Notes on their way to the disk.
const QUEUE_MAX: usize = 256;
/// Notes that are written with one fsync.
const BATCH_MAX: usize = 64;
/// Characters of what a stranger may have said.
const WORDS_MAX: usize = 200;
/// With nothing else noted, what was lost is tried to be written this often.
const IDLE: Duration = Duration::from_secs(3_600);

/// What is written when the daemon starts.
#[derive(Debug, Clone)]
struct Beginning {
    peer: PeerId,
    configuration: Hash,
    values: BTreeMap<String, String>,
}

enum Order {
    Note(Happening),
    End,
}

/// Where notes are handed in. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    orders: SyncSender<Order>,
    lost: Arc<AtomicU64>,
}

impl Audit {
    /// Notes something; it is on disk soon after.
    pub(crate) fn note(&self, happening: Happening) {
        if self.orders.try_send(Order::Note(shortened(happening))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn refused(&self, address: &str, reason: &str) {
        self.note(Happening::Refused { address: address.to_owned(), reason: reason.to_owned() });
    }

    pub(crate) fn api_denied(&self, who: String, reason: String) {
        self.note(Happening::ApiDenied { who, reason });
    }

    pub(crate) fn joined(&self, member: &Member) {
        self.note(Happening::Joined { peer: member.peer, name: member.name.clone(), role: member.role });
    }

    pub(crate) fn garbage(&self, peer: PeerId, what: &impl ToString) {
        self.note(Happening::Garbage { peer, reason: what.to_string() });
    }

    pub(crate) fn banned(&self, peer: PeerId, for_s: u64) {
        let reason = "it went on flooding or talking nonsense after it was not heard".to_owned();
        self.note(Happening::Banned { peer, reason, for_s });
    }

    pub(crate) fn store_damaged(&self, task: Option<TaskId>, why: &impl ToString) {
        self.note(Happening::StoreDamaged { task, why: why.to_string() });
    }
}

fn shortened(mut happening: Happening) -> Happening {
    let shorten = |text: &mut String| {
        if let Some((end, _)) = text.char_indices().nth(WORDS_MAX) {
            text.truncate(end);
        }
    };
    match &mut happening {
        Happening::RulesRefused { reason, .. } | Happening::ServiceRefused { reason, .. } => shorten(reason),
        Happening::Refused { address, reason } => [address, reason].into_iter().for_each(shorten),
        Happening::ApiDenied { who, reason } => [who, reason].into_iter().for_each(shorten),
        Happening::Withheld { what, why, .. } => [what, why].into_iter().for_each(shorten),
        Happening::Garbage { reason: words, .. }
        | Happening::Banned { reason: words, .. }
        | Happening::Joined { name: words, .. }
        | Happening::StoreDamaged { why: words, .. }
        | Happening::LogDamaged { why: words } => shorten(words),
        Happening::StatisticReleased { dataset, query, .. } => [dataset, query].into_iter().for_each(shorten),
        Happening::StatisticRefused { dataset, why, .. } => [dataset, why].into_iter().for_each(shorten),
        Happening::Started { .. }
        | Happening::Configured { .. }
        | Happening::Stopped
        | Happening::MoreDenied
        | Happening::Revoked { .. }
        | Happening::RulesDeployed { .. }
        | Happening::ServiceDeployed { .. }
        | Happening::ServiceHeldBack { .. }
        | Happening::Mismatch { .. }
        | Happening::Lost => {}
    }
    happening
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Writing {
    thread: Option<JoinHandle<()>>,
    orders: SyncSender<Order>,
}

impl Writing {
    /// Everything that was noted is on disk when this is done.
    pub(crate) fn end(mut self) {
        // A full queue is being written; it has an end, and so has this.
        if self.orders.send(Order::End).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// Begins the log of a daemon that starts with this configuration. Where the disk does not let it, the daemon runs without
/// and says so.
pub(crate) fn start(dir: &Path, key: &SecretKey, configuration: &ConfigView) -> (Audit, Writing) {
    start_with(dir.to_owned(), SecretKey::from_bytes(&key.to_bytes()), beginning(key.peer(), configuration))
}

fn start_with(dir: PathBuf, key: SecretKey, beginning: Beginning) -> (Audit, Writing) {
    let (orders, received) = mpsc::sync_channel(QUEUE_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let audit = Audit { orders: orders.clone(), lost: Arc::clone(&lost) };
    let write = move || match Log::open(&dir, key, unix_ms()) {
        Ok(log) => Writer { log, gather: Gather::default(), lost, is_failing: false }.run(&beginning, &received),
        Err(error) => tracing::warn!(dir = %dir.display(), %error, "there is no audit log"),
    };
    let thread = std::thread::Builder::new().name("audit".into()).spawn(write);
    (audit, Writing { thread: thread.ok(), orders })
}

fn beginning(peer: PeerId, view: &ConfigView) -> Beginning {
    let is_secret = |key: &str| ["token", "secret", "passphrase"].iter().any(|word| key.contains(word));
    let shown = view.values.iter().filter(|value| !is_secret(&value.key));
    let values: BTreeMap<String, String> = shown.map(|value| (value.key.clone(), value.value.clone())).collect();
    let whole: Vec<_> = view.values.iter().map(|value| format!("{}={}\n", value.key, value.value)).collect();
    Beginning { peer, configuration: Hash::of(whole.concat().as_bytes()), values }
}

fn unix_ms() -> u64 {
    u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX)
}

struct Writer {
    log: Log,
    gather: Gather,
    lost: Arc<AtomicU64>,
    is_failing: bool,
}

impl Writer {
    fn run(mut self, beginning: &Beginning, orders: &Receiver<Order>) {
        self.begin(beginning);
        loop {
            let wait = self.gather.next().map_or(IDLE, |at| at.saturating_duration_since(Instant::now()));
            let first = orders.recv_timeout(wait);
            let mut is_over = matches!(first, Err(RecvTimeoutError::Disconnected));
            let mut batch = Vec::new();
            for order in first.into_iter().chain(orders.try_iter().take(BATCH_MAX)) {
                match order {
                    Order::Note(happening) => batch.extend(self.gather.add(Instant::now(), happening)),
                    Order::End => is_over = true,
                }
            }
            batch.extend(self.gather.due(Instant::now(), is_over));
            self.write(batch);
            if is_over {
                let head = self.log.head();
                tracing::info!(last = head.last, hash = %head.hash, "the audit log ends");
                return;
            }
        }
    }

    fn begin(&mut self, beginning: &Beginning) {
        let head = self.log.head();
        tracing::info!(last = head.last, hash = %head.hash, "the audit log goes on");
        self.gather.knows(self.log.take_joined());
        let Beginning { peer, configuration, ref values } = *beginning;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let mut batch = vec![(Happening::Started { peer, version, configuration }, 1)];
        if self.log.configuration() != Some(configuration) {
            batch.push((Happening::Configured { configuration, values: values.clone() }, 1));
        }
        self.write(batch);
    }

    fn write(&mut self, mut batch: Vec<(Happening, u64)>) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            batch.push((Happening::Lost, lost));
        }
        if batch.is_empty() {
            return;
        }
        let count = batch.iter().map(|(happening, count)| if *happening == Happening::Lost { *count } else { 1 }).sum();
        match self.log.append(unix_ms(), batch) {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                self.lost.fetch_add(count, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%error, "the audit log cannot be written");
                }
            }
        }
    }
}
