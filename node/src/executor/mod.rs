//! The sandbox: has task modules compiled and run by worker processes that can do nothing else.
//!
//! ```text
//! prepare ─► loader: in memory? on disk? ──no──► compiler thread ─► a worker process for this module ─► Prepared
//! execute ─► pool ─► a warm worker process, and the thread that hears it ─► fresh instance ─► Finished
//!                 abort ─► never starts        abort ─► stops within milliseconds, or is killed; nothing is reported
//! ```
//!
//! Two walls stand around a guest. Inside a worker it is WebAssembly: it reaches nothing but its arguments, its input and two
//! outputs. The worker itself (`worker/`) has no files, no network, no keys and bounded memory, so that who breaks the inner
//! wall stands before the outer one.
//!
//! **Invariant:** whatever a guest does ends as an [`shoal_protocol::task::report::Ending`], within its limits. The daemon
//! itself never parses, compiles, loads or runs what a stranger made.
//! **Not here:** which task runs when. The protocol's queue decides; the pool here only hands over.

mod artifact;
mod census;
mod control;
mod held;
mod line;
mod memory_file;
mod modules;
mod pool;
mod process;
mod queue;
mod run;
mod threads;
mod words;
pub mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use shoal_protocol::api::SandboxPart;
use shoal_protocol::id::{BlobId, PeerId};
use shoal_protocol::input::PrepareError;
use shoal_protocol::message::TaskRef;
use shoal_protocol::output::Execution;
use shoal_protocol::task::report::{Ending, RunReport};

use crate::blobs::BlobStore;
use census::Census;
use control::RunControl;
use modules::Modules;
use pool::Pool;
pub use process::WorkerProgram;
use queue::Queue;
use run::Ran;
use threads::{Job, PrepareRequest};

/// Runs handed over and not begun; the protocol's own queue is far below this.
const EXECUTIONS_QUEUED_MAX: usize = 1_024;
/// Modules waiting to be loaded or compiled.
const PREPARES_QUEUED_MAX: usize = 1_024;
/// Stack of a thread: none runs or compiles a guest.
const THREAD_STACK_BYTES: usize = 512 * 1024;

/// What the executor needs to know.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// This peer: where outputs too large to be carried along can be fetched.
    pub peer: PeerId,
    /// Tasks that run at once; one worker process each.
    pub threads: usize,
    /// Compiled modules are kept here; created with access for its owner alone.
    pub cache_dir: PathBuf,
    /// Compiled modules on disk, in bytes.
    pub cache_bytes_max: u64,
    /// Compiled modules in memory.
    pub loaded_modules_max: usize,
    /// Their machine code, in bytes.
    pub loaded_bytes_max: u64,
    /// Linear memory of one task, whatever the task asks for.
    pub memory_bytes_max: u64,
    /// Holds each slot this many times as long as the run took; 1.0 but on a testnet, where it makes a slower machine.
    pub slowdown: f64,
    /// What workers are.
    pub worker: WorkerProgram,
}

impl ExecutorConfig {
    /// Defaults for `peer` with its compiled modules in `cache_dir`: a worker for each core.
    pub fn new(peer: PeerId, cache_dir: PathBuf) -> Self {
        Self {
            peer,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            cache_dir,
            cache_bytes_max: 512 * 1024 * 1024,
            loaded_modules_max: 64,
            loaded_bytes_max: 64 * 1024 * 1024,
            memory_bytes_max: shoal_protocol::config::MEMORY_BYTES_MAX,
            slowdown: 1.0,
            worker: WorkerProgram::default(),
        }
    }
}

/// What the executor reports; called from its threads.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecutorEvent {
    /// A module can start at once, or cannot.
    Prepared {
        /// Which.
        module: BlobId,
        /// What it took, or why it cannot be run.
        result: Result<Duration, PrepareError>,
    },
    /// A run ended. Aborted ones are not reported.
    Finished {
        /// Which attempt.
        attempt: TaskRef,
        /// How.
        report: RunReport,
    },
}

/// Why the sandbox cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The compiled-module cache is unusable.
    #[error("cannot use {} for compiled modules: {reason}", path.display())]
    Cache {
        /// Where.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A worker process does not start.
    #[error("cannot start a worker process of the sandbox: {0}")]
    Worker(String),
    /// The operating system refused a thread.
    #[error("cannot start a thread of the sandbox: {0}")]
    Thread(std::io::Error),
}

impl ExecutorError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Cache { .. } => "give the daemon a data directory of its own, owned by the user it runs as",
            Self::Worker(_) => "try `shoald worker --attempt open`; lift limits on processes and on address space",
            Self::Thread(_) => "lower the number of cores given to tasks, or lift the limit on threads",
        }
    }
}

/// The running sandbox; dropping it ends every run.
pub struct Executor {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

pub(crate) struct Shared {
    config: ExecutorConfig,
    blobs: BlobStore,
    modules: Modules,
    sandbox: Mutex<Vec<SandboxPart>>,
    census: Census,
    lost: AtomicU64,
    closing: AtomicBool,
    pool: Pool,
    to_load: Queue<PrepareRequest>,
    to_compile: Queue<PrepareRequest>,
    runs: Mutex<BTreeMap<TaskRef, Arc<RunControl>>>,
    events: Box<dyn Fn(ExecutorEvent) + Send + Sync>,
}

impl Executor {
    /// Starts the threads and their workers, and waits until these are ready. Takes some ten milliseconds.
    pub fn start(
        config: ExecutorConfig,
        blobs: BlobStore,
        events: impl Fn(ExecutorEvent) + Send + Sync + 'static,
    ) -> Result<Self, ExecutorError> {
        let threads = config.threads.max(1);
        let census = Census::default();
        let modules = Modules::new(blobs.clone(), &config, census.clone())?;
        let shared = Arc::new(Shared {
            blobs,
            modules,
            sandbox: Mutex::default(),
            census,
            lost: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            pool: Pool::new(threads, EXECUTIONS_QUEUED_MAX),
            to_load: Queue::new(PREPARES_QUEUED_MAX),
            to_compile: Queue::new(PREPARES_QUEUED_MAX),
            runs: Mutex::default(),
            events: Box::new(events),
            config,
        });
        let mut executor = Self { shared, threads: Vec::with_capacity(threads + 2) };
        let (started, ready) = channel();
        for index in 0..threads {
            let started = started.clone();
            executor.spawn(format!("task-{index}"), move |shared| threads::run_jobs(shared, index, &started))?;
        }
        drop(started);
        for worker in ready.iter().take(threads) {
            let worker = worker.map_err(|failure| ExecutorError::Worker(failure.to_string()))?;
            executor.shared.modules.learn_settings(worker.settings);
            *executor.shared.sandbox() = worker.parts;
        }
        executor.spawn("module-loader".to_owned(), threads::load_modules)?;
        executor.spawn("module-compiler".to_owned(), threads::compile_modules)?;
        Ok(executor)
    }

    /// What holds the workers, and what this machine lacks.
    pub fn sandbox(&self) -> Vec<SandboxPart> {
        self.shared.sandbox().clone()
    }

    /// Workers that ended before they were told to.
    pub fn workers_lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Makes a module of the blob store ready to start; answered by [`ExecutorEvent::Prepared`].
    pub fn prepare(&self, module: BlobId) {
        if self.shared.to_load.push(PrepareRequest { module, then: None }).is_err() {
            let result = Err(PrepareError::Host("too many modules wait to be compiled here".to_owned()));
            self.shared.report(ExecutorEvent::Prepared { module, result });
        }
    }

    /// Runs a module; answered by [`ExecutorEvent::Finished`] unless it is aborted.
    pub fn execute(&self, execution: Execution) {
        let attempt = execution.attempt;
        let control = Arc::new(RunControl::default());
        if self.shared.runs().insert(attempt, Arc::clone(&control)).is_some() {
            tracing::warn!(task = %attempt.task, epoch = attempt.epoch, "an attempt was handed over twice");
        }
        self.shared.hand_over(Job { execution, control });
    }

    /// Stops a run within milliseconds, or keeps it from starting; no event follows.
    pub fn abort(&self, attempt: TaskRef) {
        let control = self.shared.runs().remove(&attempt);
        if let Some(control) = control {
            control.abort();
        }
    }

    /// Whether a module starts without being loaded or compiled.
    pub fn is_prepared(&self, module: BlobId) -> bool {
        self.shared.modules.is_loaded(module)
    }

    /// Keeps so many workers with this module loaded, once it is prepared, whatever else is run; none gives its memory back.
    pub fn keep(&self, module: BlobId, instances: u16) {
        if self.shared.modules.keep_ready(module, instances) {
            self.shared.pool.nudge();
        }
    }

    /// Forgets what was compiled of modules that were removed, on a thread of its own: nobody waits for the disk.
    pub fn forget(&self, modules: impl IntoIterator<Item = BlobId>) {
        let known: Vec<BlobId> = modules.into_iter().filter(|module| self.shared.modules.knows(*module)).collect();
        if known.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let forgetting = move || known.into_iter().for_each(|module| shared.modules.forget(module));
        if let Err(error) = std::thread::Builder::new().name("module-forgetter".to_owned()).spawn(forgetting) {
            tracing::warn!(%error, "what was compiled of removed modules stays until there is no room for it");
        }
    }

    /// Processor time that the living workers have had.
    pub fn cpu_time(&self) -> Duration {
        self.shared.census.cpu_time()
    }

    fn spawn(&mut self, name: String, body: impl FnOnce(&Shared) + Send + 'static) -> Result<(), ExecutorError> {
        let shared = Arc::clone(&self.shared);
        let builder = std::thread::Builder::new().name(name).stack_size(THREAD_STACK_BYTES);
        self.threads.push(builder.spawn(move || body(&shared)).map_err(ExecutorError::Thread)?);
        Ok(())
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.pool.close();
        self.shared.to_load.close();
        self.shared.to_compile.close();
        let runs = std::mem::take(&mut *self.shared.runs());
        runs.values().for_each(|control| control.abort());
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn runs(&self) -> MutexGuard<'_, BTreeMap<TaskRef, Arc<RunControl>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sandbox(&self) -> MutexGuard<'_, Vec<SandboxPart>> {
        self.sandbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// A module is in memory: workers that are to hold it load it while nobody waits.
    fn made_ready(&self, module: BlobId) {
        if self.modules.is_kept_ready(module) {
            self.pool.nudge();
        }
    }

    fn hand_over(&self, job: Job) {
        match self.pool.push(job, |runner, job, is_alone| runner.begin_at_once(self, job, is_alone)) {
            Ok(None) => {}
            Ok(Some((job, ran))) => self.conclude(&job, ran),
            Err(job) => self.failed(&job, Ending::HostFailed("the sandbox's queue is full".to_owned())),
        }
    }

    fn conclude(&self, job: &Job, ran: Ran) {
        match ran {
            Ran::Over(report) => self.finished(job, report),
            // Whoever did that has taken it from the list.
            Ran::Aborted => {}
            Ran::NotBegun => self.failed(job, Ending::HostFailed("its workers end before they begin".to_owned())),
        }
    }

    fn workers_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn report(&self, event: ExecutorEvent) {
        (self.events)(event);
    }

    /// Reports a run, unless it was aborted meanwhile.
    fn finished(&self, job: &Job, report: RunReport) {
        let attempt = job.execution.attempt;
        let mut runs = self.runs();
        // The same attempt handed over again has another control; its entry is not ours to remove.
        if !runs.get(&attempt).is_some_and(|control| Arc::ptr_eq(control, &job.control)) {
            return;
        }
        runs.remove(&attempt);
        drop(runs);
        self.report(ExecutorEvent::Finished { attempt, report });
    }

    /// Reports a run that never began.
    fn failed(&self, job: &Job, ending: Ending) {
        self.finished(job, RunReport::without_run(ending));
    }
}
