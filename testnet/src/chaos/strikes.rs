//! Faults made on real processes, links and disks, each undone when its time is over.
//!
//! Beside them a supervisor, as every machine has one: a daemon that ended without being told to is started again, and
//! whether it had a reason is noted.
//!
//! **Invariant:** only processes of this mesh are signalled, and when [`Field::strike`] returns the fault is over.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shoal_protocol::TaskId;

use super::book::Book;
use super::damage::{self, Records};
use super::limit;
use super::plan::{Damage, Fault, STORE_FILES, Strike, What};
use crate::cluster::{Cluster, ClusterError, LOOK};
use crate::emulator::{Emulator, Link};
use crate::promises::Promise;

/// What a daemon says with its exit code when its store is damaged.
const EXIT_DAMAGED: i32 = 65;
/// How a Rust program ends that panics.
const EXIT_PANIC: i32 = 101;
const SIGTERM: i32 = nix::sys::signal::Signal::SIGTERM as i32;
/// A daemon says within this whether it starts.
const STARTING: Duration = Duration::from_secs(10);
/// Between two starts of a daemon that ends at once.
const START_AGAIN: Duration = Duration::from_millis(500);

/// The mesh and what is wrong with it now.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) cluster: Cluster,
    pub(super) book: Book,
    shoald: PathBuf,
    calm: Vec<(usize, usize, Link)>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Peers whose process is down, or about to be, by a fault.
    down: BTreeSet<usize>,
    /// Peers that have no room, or no files, left.
    short: BTreeSet<usize>,
    /// Ways that are cut, each as often as faults cut it.
    cut: Vec<(usize, usize)>,
}

impl Field {
    pub(super) fn new(cluster: Cluster, shoald: PathBuf, book: Book) -> Result<Self, ClusterError> {
        let calm = match cluster.emulator() {
            Some(emulator) => ways(cluster.peers().len())
                .map(|(from, to)| Ok((from, to, emulator.link(from, to)?)))
                .collect::<Result<_, ClusterError>>()?,
            None => Vec::new(),
        };
        Ok(Self { cluster, book, shoald, calm, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done in it when a holder panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, peer: usize) -> &str {
        self.cluster.peers().get(peer).map_or("nobody", |peer| &peer.name)
    }

    /// Makes a fault and undoes it.
    pub(super) async fn strike(&self, strike: &Strike) -> Result<(), ClusterError> {
        let end = tokio::time::Instant::now() + strike.lasts;
        self.book.say(format!("FAULT for {:?}: {:?}", strike.lasts, strike.what));
        match &strike.what {
            What::Kill(peer) => {
                self.book.struck(Fault::Killed);
                self.down(*peer, || self.cluster.kill(*peer));
                tokio::time::sleep_until(end).await;
                self.up(*peer)?;
            }
            What::Stop(peer) => {
                self.state().down.insert(*peer);
                match self.cluster.stop(*peer).await {
                    Ok(status) => self.stopped(*peer, status),
                    Err(ClusterError::NotRunning { .. }) => self.book.say("it had ended already"),
                    Err(error) => return Err(error),
                }
                tokio::time::sleep_until(end).await;
                self.up(*peer)?;
            }
            What::Freeze(peer) => {
                // A peer that ends by itself meanwhile is for the supervisor.
                if self.cluster.freeze(*peer).is_ok() {
                    self.book.struck(Fault::Frozen);
                }
                tokio::time::sleep_until(end).await;
                let _ = self.cluster.thaw(*peer);
            }
            What::Partition(ways) | What::OneWay(ways) => {
                self.book.struck(strike.what.fault());
                self.cut(|cut| cut.extend(ways))?;
                tokio::time::sleep_until(end).await;
                self.cut(|cut| {
                    for way in ways {
                        if let Some(at) = cut.iter().position(|other| other == way) {
                            cut.swap_remove(at);
                        }
                    }
                })?;
            }
            What::Loss(loss) => {
                self.book.struck(Fault::Loss);
                self.weather(end, |link| Link { loss: *loss, ..link }).await?;
            }
            What::Delay(delay) => {
                self.book.struck(Fault::Delay);
                self.weather(end, |link| Link { delay: link.delay + *delay, jitter: *delay / 2, ..link }).await?;
            }
            What::FillDisk(peer) => {
                let filler = self.data_dir(*peer).join("filler");
                self.short(*peer, true);
                let written = fill(&filler);
                self.book.struck(Fault::DiskFull);
                self.book.say(format!("{written} bytes fill the disk of {}", self.name(*peer)));
                tokio::time::sleep_until(end).await;
                let _ = std::fs::remove_file(&filler);
                self.short(*peer, false);
            }
            What::LimitFiles(peer, more) => {
                self.short(*peer, true);
                let pid = self.cluster.pid(*peer)?;
                let before = pid.and_then(|pid| limit::files(pid, *more));
                if before.is_some() {
                    self.book.struck(Fault::FewFiles);
                }
                tokio::time::sleep_until(end).await;
                if let (Some(pid), Some(before)) = (pid.filter(|_| self.cluster.pid(*peer).ok() == Some(pid)), before) {
                    limit::restore(pid, before);
                }
                self.short(*peer, false);
            }
            What::Damage(peer, file, how) => self.damage(*peer, *file, *how).await?,
        }
        self.book.say(format!("over: {:?}", strike.what.fault()));
        Ok(())
    }

    /// Starts a daemon again that ended without being told to, until the caller drops this.
    pub(super) async fn supervise(&self) {
        let mut ended_at: Vec<Option<Instant>> = vec![None; self.cluster.peers().len()];
        loop {
            for (peer, ended_at) in ended_at.iter_mut().enumerate() {
                let status = self.cluster.ended(peer).ok().flatten();
                let Some(status) = status.filter(|_| !self.state().down.contains(&peer)) else {
                    *ended_at = None;
                    continue;
                };
                let at = *ended_at.get_or_insert_with(|| {
                    self.judge(peer, status);
                    Instant::now()
                });
                if at.elapsed() >= START_AGAIN {
                    *ended_at = None;
                    let _ = self.up(peer);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether a daemon that nobody stopped had a reason to end.
    fn judge(&self, peer: usize, status: ExitStatus) {
        let words = self.cluster.last_words(peer).unwrap_or_default();
        let what = format!("{} ended by itself ({status}); it said:\n{words}", self.name(peer));
        let is_crash = status.signal().is_some() || status.code() == Some(EXIT_PANIC);
        // Without room or files a daemon may say so and end; its supervisor tries again.
        let is_excused = self.state().short.contains(&peer) && !is_crash && status.code() != Some(EXIT_DAMAGED);
        match is_excused {
            true => self.book.say(what),
            false => self.book.violated(Promise::NoPanic, what),
        }
    }

    /// A daemon that is told to end hands back its work, says goodbye and ends well.
    fn stopped(&self, peer: usize, status: ExitStatus) {
        self.book.struck(Fault::Stopped);
        self.book.say(format!("{} ended: {status:?}", self.name(peer)));
        // One that was just starting, or whose start fails for want of room or files, has no word to keep yet.
        let is_young =
            status.signal() == Some(SIGTERM) || self.state().short.contains(&peer) && status.code() != Some(EXIT_PANIC);
        if !status.success() && !is_young {
            let words = self.cluster.last_words(peer).unwrap_or_default();
            let what = format!("{} was told to end and ended badly ({status}); it said:\n{words}", self.name(peer));
            self.book.violated(Promise::NoPanic, what);
        }
    }

    fn down(&self, peer: usize, end: impl FnOnce() -> Result<(), ClusterError>) {
        self.state().down.insert(peer);
        // One that has just ended by itself is down as well.
        let _ = end();
    }

    fn up(&self, peer: usize) -> Result<(), ClusterError> {
        let started = match self.cluster.start_again(peer) {
            Err(ClusterError::Running { .. }) => Ok(()),
            other => other,
        };
        self.state().down.remove(&peer);
        started
    }

    fn short(&self, peer: usize, is_short: bool) {
        let mut state = self.state();
        match is_short {
            true => drop(state.short.insert(peer)),
            false => drop(state.short.remove(&peer)),
        }
    }

    fn data_dir(&self, peer: usize) -> PathBuf {
        self.cluster.peers().get(peer).map(|peer| peer.data_dir.clone()).unwrap_or_default()
    }

    fn emulator(&self) -> Result<&Emulator, ClusterError> {
        self.cluster.emulator().ok_or(ClusterError::NotEmulated { what: "a fault of a link" })
    }

    fn cut(&self, change: impl FnOnce(&mut Vec<(usize, usize)>)) -> Result<(), ClusterError> {
        let emulator = self.emulator()?;
        let mut state = self.state();
        change(&mut state.cut);
        emulator.heal();
        for (from, to) in &state.cut {
            emulator.cut(*from, *to)?;
        }
        Ok(())
    }

    async fn weather(&self, end: tokio::time::Instant, change: impl Fn(Link) -> Link) -> Result<(), ClusterError> {
        let emulator = self.emulator()?;
        for (from, to, link) in &self.calm {
            emulator.set_link(*from, *to, change(*link))?;
        }
        tokio::time::sleep_until(end).await;
        for (from, to, link) in &self.calm {
            emulator.set_link(*from, *to, *link)?;
        }
        Ok(())
    }

    // ── A store that is not as it was left ───────────────────────────────────────────────────────────────────────

    async fn damage(&self, peer: usize, file: usize, how: Damage) -> Result<(), ClusterError> {
        self.down(peer, || self.cluster.kill(peer));
        let dir = self.data_dir(peer);
        let tasks: Vec<TaskId> = self.book.read().tasks.keys().copied().collect();
        let before = store_of(&dir, &tasks)?;
        let path = dir.join(STORE_FILES.get(file).copied().unwrap_or_default());
        let bytes = std::fs::read(&path).map_err(failed("read", &path))?;
        let damaged = damage::apply(bytes, &tasks, how);
        std::fs::write(&path, &damaged).map_err(failed("write", &path))?;
        self.book.struck(Fault::DamagedStore);
        self.cluster.start_again(peer)?;
        if !self.refuses(peer).await? {
            // It hit nothing that is used: then nothing is lost either, and nothing is excused.
            self.book.say(format!("{} starts: nothing it needs was damaged", self.name(peer)));
            self.state().down.remove(&peer);
            return Ok(());
        }
        let said = self.repair(peer).await?;
        self.book.say(format!("{} refused its store; repair: {}", self.name(peer), said.replace('\n', "; ")));
        let mut lost = before.missing_from(&store_of(&dir, &tasks)?);
        // What the repair does not trust counts as well.
        lost.extend(said.lines().filter_map(|line| line.trim().parse::<TaskId>().ok()));
        // So does its say in councils that it has not heard of yet: those of tasks older than the store.
        lost.extend(self.book.open_with_a_council());
        self.book.say(format!("copies destroyed: {lost:?}"));
        self.book.destroyed(peer, lost);
        self.up(peer)
    }

    /// Whether the daemon that was just started refuses its store; every other end is a violation.
    async fn refuses(&self, peer: usize) -> Result<bool, ClusterError> {
        let deadline = Instant::now() + STARTING;
        let client = self.cluster.client(peer)?.with_timeout(Duration::from_secs(1));
        loop {
            if let Some(status) = self.cluster.ended(peer)? {
                if status.code() != Some(EXIT_DAMAGED) {
                    self.judge(peer, status);
                }
                return Ok(true);
            }
            if client.status().await.is_ok() || Instant::now() > deadline {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn repair(&self, peer: usize) -> Result<String, ClusterError> {
        let mut command = std::process::Command::new(&self.shoald);
        let config = self.cluster.peers().get(peer).map(|peer| peer.config.clone()).unwrap_or_default();
        command.arg("repair-store").arg("--config").arg(config).env_remove("SHOAL_CONFIG");
        let failed = |source| ClusterError::Spawn { name: "shoald repair-store".into(), source };
        let done = tokio::task::spawn_blocking(move || command.output()).await;
        let output = done.map_err(std::io::Error::other).and_then(|output| output).map_err(failed)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            self.book.violated(Promise::NoPanic, format!("repair-store of {}: {words}", self.name(peer)));
        }
        Ok(said)
    }
}

/// What of these tasks lies in a store.
fn store_of(dir: &Path, tasks: &[TaskId]) -> Result<Records, ClusterError> {
    let mut records = Records::default();
    for path in STORE_FILES.map(|name| dir.join(name)) {
        match std::fs::read(&path) {
            Ok(bytes) => records.add(&bytes, tasks),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("read", &path)(error)),
        }
    }
    Ok(records)
}

/// Every way there is.
fn ways(peers: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..peers).flat_map(move |a| (0..peers).map(move |b| (a, b))).filter(|(a, b)| a != b)
}

/// Writes until there is no room; how much that was.
fn fill(path: &Path) -> u64 {
    let Ok(mut file) = File::create(path) else { return 0 };
    // What does not fit as a whole may fit in parts.
    let mut block = vec![0x5a; 1 << 20];
    let mut written = 0;
    while !block.is_empty() {
        match file.write(&block) {
            Ok(bytes) if bytes > 0 => written += bytes as u64,
            Ok(_) | Err(_) => block.truncate(block.len() / 2),
        }
    }
    written
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ClusterError {
    move |source| ClusterError::File { doing, path: path.to_owned(), source }
}
