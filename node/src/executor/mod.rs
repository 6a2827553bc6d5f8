//! The sandbox: compiles task modules and runs them on threads of its own.
//!
//! ```text
//! prepare ─► loader: in memory? on disk? ──no──► compiler (low priority) ─► Prepared
//! execute ─► bounded queue ─► worker thread ─► fresh instance ─► Finished
//!                 abort ─► never starts        abort ─► stops within a tick of the epoch, nothing is reported
//! ```
//!
//! **Invariant:** a guest reaches nothing but its arguments, its input and two outputs; whatever it does ends as an
//! [`shoal_protocol::task::spec::Ending`], within its limits, and leaves the worker as it was.
//! **Not here:** which task runs when. The protocol's queue decides; the queue here only hands over.

mod artifact;
mod control;
mod engine;
mod guest;
mod inspect;
mod modules;
mod priority;
mod queue;
mod run;
mod ticker;
mod wasi;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use shoal_protocol::id::{BlobId, PeerId};
use shoal_protocol::message::TaskRef;
use shoal_protocol::output::Execution;
use shoal_protocol::task::spec::{Ending, Payload, RunReport};

use crate::blobs::BlobStore;
use control::RunControl;
use modules::{Modules, ModulesConfig};
use queue::Queue;
use ticker::Ticker;
use worker::{Job, PrepareRequest};

/// Runs handed over and not begun; the protocol's own queue is far below this.
const EXECUTIONS_QUEUED_MAX: usize = 1_024;
/// Modules waiting to be loaded or compiled.
const PREPARES_QUEUED_MAX: usize = 1_024;
/// Stack of a worker: what wasm may use ([`engine::WASM_STACK_BYTES_MAX`]) and room for the host functions below it.
const WORKER_STACK_BYTES: usize = 2 * 1024 * 1024;
/// Stack of the compiler, whose recursion follows a stranger's code; overflowing it would end the process.
const COMPILER_STACK_BYTES: usize = 64 * 1024 * 1024;

/// What the executor needs to know.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// This peer: where outputs too large to be carried along can be fetched.
    pub peer: PeerId,
    /// Tasks that run at once; one thread each.
    pub threads: usize,
    /// Compiled modules are kept here; created with access for its owner alone.
    pub cache_dir: PathBuf,
    /// Compiled modules on disk, in bytes.
    pub cache_bytes_max: u64,
    /// Modules ready to start, in memory.
    pub loaded_modules_max: usize,
    /// Their machine code, in bytes.
    pub loaded_bytes_max: u64,
    /// Linear memory of one task, whatever the task asks for.
    pub memory_bytes_max: u64,
    /// Holds each slot this many times as long as the run took; 1.0 but on a testnet, where it makes a slower machine.
    pub slowdown: f64,
}

impl ExecutorConfig {
    /// Defaults for `peer` with its compiled modules in `cache_dir`: a thread for each core.
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
        }
    }
}

/// What the executor reports; called from its threads.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecutorEvent {
    /// A module can start at once, or never will.
    Prepared {
        /// Which.
        module: BlobId,
        /// What it took, or why it cannot be run.
        result: Result<Duration, String>,
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
    /// wasmtime refused its settings or the address space.
    #[error("cannot set up the sandbox for {threads} tasks at once: {reason}")]
    Engine {
        /// Tasks at once.
        threads: usize,
        /// What wasmtime said.
        reason: String,
    },
    /// The operating system refused a thread.
    #[error("cannot start a thread of the sandbox: {0}")]
    Thread(std::io::Error),
}

impl ExecutorError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Cache { .. } => "give the daemon a data directory of its own, owned by the user it runs as",
            Self::Engine { .. } => "lower the number of cores given to tasks, or lift the limit on address space",
            Self::Thread(_) => "lower the number of cores given to tasks, or lift the limit on threads",
        }
    }
}

/// The running sandbox; dropping it ends every run.
pub struct Executor {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
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
    ticker: Ticker,
    jobs: Queue<Job>,
    to_load: Queue<PrepareRequest>,
    to_compile: Queue<PrepareRequest>,
    runs: Mutex<BTreeMap<TaskRef, Arc<RunControl>>>,
    events: Box<dyn Fn(ExecutorEvent) + Send + Sync>,
}

impl Executor {
    /// Sets up the engine and starts the threads. Takes milliseconds.
    pub fn start(
        config: ExecutorConfig,
        blobs: BlobStore,
        events: impl Fn(ExecutorEvent) + Send + Sync + 'static,
    ) -> Result<Self, ExecutorError> {
        let threads = config.threads.max(1);
        let engine =
            engine::build(threads).map_err(|error| ExecutorError::Engine { threads, reason: format!("{error:#}") })?;
        let ticker = Ticker::start(engine.clone()).map_err(ExecutorError::Thread)?;
        let modules = Modules::new(engine, blobs.clone(), &ModulesConfig::of(&config))?;
        let shared = Arc::new(Shared {
            blobs,
            modules,
            ticker,
            jobs: Queue::new(EXECUTIONS_QUEUED_MAX),
            to_load: Queue::new(PREPARES_QUEUED_MAX),
            to_compile: Queue::new(PREPARES_QUEUED_MAX),
            runs: Mutex::default(),
            events: Box::new(events),
            config,
        });
        let mut executor = Self { shared, workers: Vec::with_capacity(threads) };
        for index in 0..threads {
            let worker = executor.spawn(format!("task-{index}"), WORKER_STACK_BYTES, worker::run_jobs)?;
            executor.workers.push(worker);
        }
        executor.spawn("module-loader".to_owned(), WORKER_STACK_BYTES, worker::load_modules)?;
        // Not joined: a compilation cannot be interrupted, and the process may end under it.
        executor.spawn("module-compiler".to_owned(), COMPILER_STACK_BYTES, worker::compile_modules)?;
        Ok(executor)
    }

    /// Makes a module of the blob store ready to start; answered by [`ExecutorEvent::Prepared`].
    pub fn prepare(&self, module: BlobId) {
        if self.shared.to_load.push(PrepareRequest { module, then: None }).is_err() {
            let result = Err("too many modules wait to be compiled here".to_owned());
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
        if let Err(job) = self.shared.jobs.push(Job { execution, control }) {
            self.shared.failed(&job, Ending::HostFailed("the sandbox's queue is full".to_owned()));
        }
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

    fn spawn(&self, name: String, stack: usize, body: fn(&Shared)) -> Result<JoinHandle<()>, ExecutorError> {
        let shared = Arc::clone(&self.shared);
        let builder = std::thread::Builder::new().name(name).stack_size(stack);
        builder.spawn(move || body(&shared)).map_err(ExecutorError::Thread)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shared.jobs.close();
        self.shared.to_load.close();
        self.shared.to_compile.close();
        let runs = std::mem::take(&mut *self.shared.runs());
        runs.values().for_each(|control| control.abort());
        for worker in self.workers.drain(..) {
            // A worker that panicked has nothing left to stop.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn runs(&self) -> MutexGuard<'_, BTreeMap<TaskRef, Arc<RunControl>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
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
        let output = Payload::inline(Vec::new());
        let report = RunReport { ending, output, log: Vec::new(), run: Duration::ZERO, memory_bytes: 0 };
        self.finished(job, report);
    }
}
