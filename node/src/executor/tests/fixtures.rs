//! Small modules in text form, and a sandbox in a temporary directory.

use std::cell::Cell;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shoal_protocol::id::{BlobId, PeerId, TaskId};
use shoal_protocol::message::TaskRef;
use shoal_protocol::output::Execution;
use shoal_protocol::task::report::RunReport;
use shoal_protocol::task::spec::Limits;

use super::super::{Executor, ExecutorConfig, ExecutorEvent};
use crate::blobs::{BlobStore, Sealing};

pub(super) const DEADLINE: Duration = Duration::from_secs(60);
pub(super) const PEER: PeerId = PeerId([9; 32]);

pub(super) const NOOP: &str = "(module (func (export \"_start\")))";
pub(super) const ENDLESS: &str = "(module (func (export \"_start\") (loop br 0)))";
pub(super) const EXIT_7: &str = "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))
    (memory (export \"memory\") 1) (func (export \"_start\") (call $exit (i32.const 7))))";

macro_rules! echo_to {
    ($fd:literal) => {
        concat!(
            "(module
            (import \"wasi_snapshot_preview1\" \"fd_read\" (func $read (param i32 i32 i32 i32) (result i32)))
            (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export \"memory\") 2)
            (func (export \"_start\")
                (loop
                    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 65536))
                    (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
                    (i32.store (i32.const 4) (i32.load (i32.const 8)))
                    (if (i32.load (i32.const 8)) (then
                        (if (call $write (i32.const ",
            $fd,
            ") (i32.const 0) (i32.const 1) (i32.const 12)) (then unreachable))
                        (br 1))))))"
        )
    };
}

pub(super) const ECHO: &str = echo_to!("1");
pub(super) const ECHO_TO_STDERR: &str = echo_to!("2");

pub(super) const FLOOD_STDOUT: &str = "(module
    (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export \"memory\") 1)
    (func (export \"_start\")
        (memory.fill (i32.const 64) (i32.const 120) (i32.const 3000))
        (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 3000))
        (loop (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12))) (br 0))))";

pub(super) const ARGS: &str = "(module
    (import \"wasi_snapshot_preview1\" \"args_sizes_get\" (func $sizes (param i32 i32) (result i32)))
    (import \"wasi_snapshot_preview1\" \"args_get\" (func $args (param i32 i32) (result i32)))
    (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export \"memory\") 1)
    (func (export \"_start\")
        (if (call $sizes (i32.const 0) (i32.const 4)) (then unreachable))
        (if (call $args (i32.const 100) (i32.const 1000)) (then unreachable))
        (i32.store (i32.const 0) (i32.load (i32.const 100)))
        (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)) (then unreachable))))";

pub(super) const RANDOM: &str = "(module
    (import \"wasi_snapshot_preview1\" \"random_get\" (func $random (param i32 i32) (result i32)))
    (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export \"memory\") 1)
    (func (export \"_start\")
        (if (call $random (i32.const 64) (i32.const 20)) (then unreachable))
        (if (call $random (i32.const 84) (i32.const 12)) (then unreachable))
        (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 32))
        (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)) (then unreachable))))";

/// Sleeps on the monotonic clock.
pub(super) fn sleep_ms(ms: u64) -> String {
    format!(
        "(module
        (import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export \"memory\") 1)
        (func (export \"_start\")
            (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const {}))
            (if (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200)) (then unreachable))
            (if (i32.ne (i32.load (i32.const 200)) (i32.const 1)) (then unreachable))))",
        ms * 1_000_000
    )
}

/// An executor of one thread with stores of its own.
pub(super) struct Sandbox {
    pub(super) executor: Executor,
    pub(super) blobs: BlobStore,
    pub(super) config: ExecutorConfig,
    events: Receiver<ExecutorEvent>,
    next: Cell<u64>,
    dir: tempfile::TempDir,
}

impl Sandbox {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(&dir.path().join("blobs"), 1 << 30).unwrap();
        let mut config = ExecutorConfig::new(PEER, dir.path().join("compiled"));
        config.threads = 1;
        // Skips nothing, and marks the workers of this sandbox among those of other tests.
        config.worker.arguments.extend(["--skip".into(), dir.path().into()]);
        let (executor, events) = start(&config, &blobs);
        Self { executor, blobs, config, events, next: Cell::new(0), dir }
    }

    /// The worker processes of this sandbox.
    pub(super) fn workers(&self) -> Vec<Pid> {
        let mark = self.dir.path().as_os_str().as_bytes();
        let processes =
            std::fs::read_dir("/proc").unwrap().filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        let is_ours = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|argument| argument == mark)
        };
        processes.filter(is_ours).map(Pid::from_raw).collect()
    }

    /// Does that to every worker.
    pub(super) fn signal_workers(&self, signal: Signal) {
        let workers = self.workers();
        assert!(!workers.is_empty());
        workers.into_iter().for_each(|worker| kill(worker, signal).unwrap());
    }

    pub(super) fn restart(&mut self) {
        (self.executor, self.events) = start(&self.config, &self.blobs);
    }

    pub(super) fn forget_blobs(&mut self) {
        // Under the same key: that of compiled modules follows from it.
        let sealing = Sealing::within(&self.dir.path().join("blobs"));
        self.blobs = BlobStore::open_sealed(&self.dir.path().join("no-blobs"), 1 << 30, &sealing).unwrap();
        self.restart();
    }

    pub(super) fn cache_dir(&self) -> PathBuf {
        self.config.cache_dir.clone()
    }

    pub(super) fn blob_file(&self, id: BlobId) -> PathBuf {
        self.blobs.file_of(id)
    }

    /// Compiles a module and finds the one file that this adds to the cache.
    pub(super) fn artifact_of(&mut self, text: &str) -> PathBuf {
        let files = |dir: PathBuf| -> Vec<PathBuf> { dir.read_dir().unwrap().map(|it| it.unwrap().path()).collect() };
        let before = files(self.cache_dir());
        self.prepare(text).unwrap();
        files(self.cache_dir()).into_iter().find(|path| !before.contains(path)).unwrap()
    }

    pub(super) fn store(&self, text: &str) -> BlobId {
        self.blobs.put(&wat::parse_str(text).unwrap()).unwrap().id
    }

    pub(super) fn prepare(&self, text: &str) -> Result<Duration, String> {
        self.prepare_id(self.store(text))
    }

    #[track_caller]
    pub(super) fn prepare_id(&self, id: BlobId) -> Result<Duration, String> {
        self.executor.prepare(id);
        match self.next_event(DEADLINE) {
            ExecutorEvent::Prepared { module, result } if module == id => result.map_err(|error| error.to_string()),
            event => panic!("expected {id:?} to be prepared: {event:?}"),
        }
    }

    pub(super) fn execute(&self, text: &str, change: impl FnOnce(&mut Execution)) -> TaskRef {
        self.execute_id(self.store(text), change)
    }

    pub(super) fn execute_id(&self, module: BlobId, change: impl FnOnce(&mut Execution)) -> TaskRef {
        self.next.set(self.next.get() + 1);
        let attempt = TaskRef { task: TaskId::derive(PEER, &self.next.get().to_le_bytes()), epoch: 1 };
        let limits = Limits::default();
        let mut execution = Execution {
            attempt,
            module,
            args: Vec::new(),
            inputs: Vec::new(),
            limits,
            labels: Default::default(),
            keep_output: false,
            is_compared: false,
        };
        change(&mut execution);
        let attempt = execution.attempt;
        self.executor.execute(execution);
        attempt
    }

    #[track_caller]
    pub(super) fn run(&self, text: &str, change: impl FnOnce(&mut Execution)) -> RunReport {
        self.report_of(self.execute(text, change))
    }

    #[track_caller]
    pub(super) fn report_of(&self, running: TaskRef) -> RunReport {
        match self.next_event(DEADLINE) {
            ExecutorEvent::Finished { attempt, report } if attempt == running => report,
            event => panic!("expected {running:?} to finish: {event:?}"),
        }
    }

    #[track_caller]
    pub(super) fn next_event(&self, within: Duration) -> ExecutorEvent {
        self.events.recv_timeout(within).expect("the executor reports in time")
    }

    pub(super) fn events(&self) -> Vec<ExecutorEvent> {
        self.events.try_iter().collect()
    }

    /// Until a worker has been given the run.
    #[track_caller]
    pub(super) fn wait_until_running(&self, running: TaskRef) {
        let end = Instant::now() + DEADLINE;
        while !self.executor.shared.runs().get(&running).is_some_and(|control| control.is_running()) {
            assert!(Instant::now() < end, "{running:?} does not begin");
            std::thread::yield_now();
        }
    }
}

fn start(config: &ExecutorConfig, blobs: &BlobStore) -> (Executor, Receiver<ExecutorEvent>) {
    let (sender, events) = channel();
    // The receiver is gone when a test ends before the executor does.
    let report = move |event| drop(sender.send(event));
    (Executor::start(config.clone(), blobs.clone(), report).unwrap(), events)
}
