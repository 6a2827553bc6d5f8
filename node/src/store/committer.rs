//! The thread that writes: it takes all that waits, writes it with one fsync, and answers.
//!
//! **Invariant:** tickets are answered in the order they were handed over, each once; handing over never blocks. What
//! waits is bounded by [`WAITING_MAX`] and [`WAITING_BYTES_MAX`]; beyond that a batch is refused at once, in its turn.
//! **Not here:** files (`database.rs`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shoal_protocol::store::{Change, Ticket};

use super::StoreError;
use super::database::{Database, size};

/// Batches that may wait for the disk.
const WAITING_MAX: u64 = 65_536;
/// Bytes of changes that may wait.
const WAITING_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Batches in one transaction, so that the first is not kept waiting for all.
const GROUP_MAX: usize = 1_024;
/// The same in bytes.
const GROUP_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// A disk that was full is tried again after this long.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);
/// When nothing was handed over for this long, the database takes what stands in the log only.
const QUIET: Duration = Duration::from_secs(1);

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which.
    pub ticket: Ticket,
    /// On disk, or why not. Where the disk failed, and was not merely full, the batches of that one transaction may be
    /// found at the next start all the same: no system says what a failed fsync has written.
    pub result: Result<(), String>,
}

/// What was written since the start.
#[derive(Debug, Default)]
pub struct Counts {
    waiting: AtomicU64,
    waiting_bytes: AtomicU64,
    /// Batches on disk.
    batches: AtomicU64,
    /// Records in the log, one fsync each.
    commits: AtomicU64,
    /// Time spent in them, in microseconds.
    commit_us: AtomicU64,
    refused: AtomicU64,
    /// Why nothing can be written now, and what to do about it.
    trouble: Mutex<Option<(String, String)>>,
}

impl Counts {
    /// Why nothing can be written now, and what to do about it.
    pub fn trouble(&self) -> Option<(String, String)> {
        self.lock_trouble().clone()
    }

    fn lock_trouble(&self) -> MutexGuard<'_, Option<(String, String)>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By name.
    pub fn all(&self) -> [(&'static str, u64); 5] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("store_waiting", read(&self.waiting)),
            ("store_batches", read(&self.batches)),
            ("store_commits", read(&self.commits)),
            ("store_commit_us", read(&self.commit_us)),
            ("store_refused", read(&self.refused)),
        ]
    }
}

struct Job {
    ticket: Ticket,
    changes: Vec<Change>,
    bytes: u64,
    /// Why it was refused before it got here.
    refused: Option<String>,
}

/// The way to the thread; when it is dropped, what waits is still written.
#[derive(Debug)]
pub struct Committer {
    jobs: Option<Sender<Job>>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub(super) fn start(
        database: Database,
        answer: impl FnMut(Vec<Answer>) + Send + 'static,
    ) -> Result<Self, StoreError> {
        // Bounded by the counts; a bounded channel could not take the refusals that keep the order.
        let (jobs, received) = channel();
        let counts = Arc::new(Counts::default());
        let path = database.path().to_owned();
        let worker = Worker { database, counts: Arc::clone(&counts), closed: None };
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || worker.run(&received, answer))
            .map_err(|error| StoreError::io("start a thread for", &path, error))?;
        Ok(Self { jobs: Some(jobs), counts, thread: Some(thread) })
    }

    /// Orders a batch; its answer follows those of all earlier ones.
    pub fn persist(&self, ticket: Ticket, changes: Vec<Change>) {
        let bytes = changes.iter().map(size).sum();
        let Counts { waiting, waiting_bytes, .. } = &*self.counts;
        let waits = waiting.fetch_add(1, Ordering::Relaxed);
        let waits_bytes = waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let job = if waits >= WAITING_MAX || waits_bytes.saturating_add(bytes) > WAITING_BYTES_MAX {
            let refused = Some(format!("the disk is too slow: {waits} writes wait for it"));
            Job { ticket, changes: Vec::new(), bytes, refused }
        } else {
            Job { ticket, changes, bytes, refused: None }
        };
        // The thread ends only after this end has gone.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }

    /// What was written so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // It catches what could panic; should it have, there is nothing left to do.
            let _ = thread.join();
        }
    }
}

struct Worker {
    database: Database,
    counts: Arc<Counts>,
    /// Why nothing can be written, and when that may be looked at again.
    closed: Option<Closed>,
}

struct Closed {
    why: String,
    /// Never, where the disk failed: what a failed fsync left in memory passes for written until the next start.
    again: Option<Instant>,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>, mut answer: impl FnMut(Vec<Answer>)) {
        while let Some(first) = self.next(jobs) {
            let group = gather(first, jobs);
            let results = self.write(&group);
            let left = &self.counts;
            left.waiting.fetch_sub(group.len() as u64, Ordering::Relaxed);
            left.waiting_bytes.fetch_sub(group.iter().map(|job| job.bytes).sum(), Ordering::Relaxed);
            let pairs = group.iter().zip(results);
            answer(pairs.map(|(job, result)| Answer { ticket: job.ticket, result }).collect());
        }
    }

    /// The next batch; the database catches up while there is none, and at the end.
    fn next(&mut self, jobs: &Receiver<Job>) -> Option<Job> {
        if self.database.has_pending() {
            match jobs.recv_timeout(QUIET) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            // Nothing is lost when this fails: it stands in the log.
            if let Err(error) = self.database.checkpoint() {
                self.closed_by(&error);
            }
        }
        jobs.recv().ok()
    }

    fn write(&mut self, group: &[Job]) -> Vec<Result<(), String>> {
        let counts = Arc::clone(&self.counts);
        let batches: Vec<&[Change]> =
            group.iter().filter(|job| job.refused.is_none()).map(|job| job.changes.as_slice()).collect();
        let mut written = match self.commit(&batches) {
            Ok(answers) => answers.into_iter(),
            Err(why) => vec![Err(why); batches.len()].into_iter(),
        };
        let result = |job: &Job| match &job.refused {
            Some(why) => Err(why.clone()),
            None => written.next().unwrap_or_else(|| Err("the store did not answer".into())),
        };
        let results: Vec<_> = group.iter().map(result).collect();
        let good = results.iter().filter(|result| result.is_ok()).count() as u64;
        counts.batches.fetch_add(good, Ordering::Relaxed);
        counts.refused.fetch_add(results.len() as u64 - good, Ordering::Relaxed);
        results
    }

    fn commit(&mut self, batches: &[&[Change]]) -> Result<Vec<Result<(), String>>, String> {
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        self.ready()?;
        let begun = Instant::now();
        let written = self.database.commit(batches);
        self.counts.commits.fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counts.commit_us.fetch_add(took, Ordering::Relaxed);
        match written {
            Ok(answers) => Ok(answers.into_iter().map(|answer| answer.map_err(|error| error.to_string())).collect()),
            Err(error) => Err(self.closed_by(&error)),
        }
    }

    /// Opens the file again where that may help.
    fn ready(&mut self) -> Result<(), String> {
        let Some(closed) = &self.closed else { return Ok(()) };
        if closed.again.is_none_or(|again| Instant::now() < again) {
            return Err(closed.why.clone());
        }
        match self.database.reopen() {
            Ok(()) => {
                tracing::info!(file = %self.database.path().display(), "the task store can be written again");
                self.closed = None;
                *self.counts.lock_trouble() = None;
                Ok(())
            }
            // Nothing was being written: what keeps it from being opened now, say that too many files are open, may pass.
            Err(error) => Err(self.closed_for(&error, !error.is_about_its_content())),
        }
    }

    fn closed_by(&mut self, error: &StoreError) -> String {
        self.closed_for(error, matches!(error, StoreError::DiskFull { .. }))
    }

    fn closed_for(&mut self, error: &StoreError, may_pass: bool) -> String {
        let why = error.to_string();
        if self.closed.is_none() {
            tracing::error!(error = why, fix = error.hint(), "tasks cannot be kept");
        }
        *self.counts.lock_trouble() = Some((why.clone(), error.hint()));
        debug_assert!(!self.database.is_open() || !may_pass, "a store that failed is closed");
        self.closed = Some(Closed { why: why.clone(), again: may_pass.then(|| Instant::now() + REOPEN_PAUSE) });
        why
    }
}

/// What waits now, up to the bounds of a group.
fn gather(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.bytes;
    let mut group = vec![first];
    while group.len() < GROUP_MAX
        && bytes < GROUP_BYTES_MAX
        && let Ok(next) = jobs.try_recv()
    {
        bytes += next.bytes;
        group.push(next);
    }
    group
}
