//! Compiled modules: in memory, else from the cache on disk, else compiled by a worker.
//!
//! To the daemon they are bytes. It keeps them in sealed files that exist in memory only, and lends those to the workers
//! that run tasks; loading machine code that a stranger's module became, or even parsing it, is nothing it ever does.
//!
//! **Invariant:** bytes that one worker compiled are given to workers only, and under the name of the module that was
//! compiled: its worker saw no other module before, and none after.
//! **Not here:** on which thread that happens (`threads.rs`).

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::libc;
use shoal_protocol::config::MODULE_BYTES_MAX;
use shoal_protocol::id::BlobId;
use shoal_protocol::input::PrepareError;

use super::artifact::ArtifactCache;
use super::census::Census;
use super::line::LineError;
use super::process::{Heard, WorkerProcess, WorkerProgram};
use super::words::{Begin, Compiled};
use super::{ExecutorConfig, ExecutorError, memory_file};
use crate::blobs::BlobStore;

/// Code of one module: many times what the time for compiling allows.
const CODE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// A core's time is bounded by the kernel; this is for a compiler that waits instead of computing.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Modules {
    blobs: BlobStore,
    cache: ArtifactCache,
    program: WorkerProgram,
    census: Census,
    /// Compiler, settings and processor, as the first worker said before it saw anything of a stranger.
    settings: OnceLock<[u8; 32]>,
    loaded: Mutex<Loaded>,
    modules_max: usize,
    bytes_max: u64,
}

/// A module's machine code.
#[derive(Debug)]
pub(super) struct Artifact {
    pub(super) file: File,
    pub(super) bytes: u64,
}

#[derive(Debug, Default)]
struct Loaded {
    modules: BTreeMap<BlobId, (u64, Arc<Artifact>)>,
    /// How many workers are to hold which of them, whatever else is run; bounded by the protocol.
    kept: BTreeMap<BlobId, u16>,
    bytes: u64,
    uses: u64,
}

impl Modules {
    pub(super) fn new(blobs: BlobStore, config: &ExecutorConfig, census: Census) -> Result<Self, ExecutorError> {
        let secret = blobs.derived_key("shoal 2026-11 compiled modules");
        let cache = ArtifactCache::open(&config.cache_dir, config.cache_bytes_max, secret)?;
        Ok(Self {
            blobs,
            cache,
            program: config.worker.clone(),
            census,
            settings: OnceLock::new(),
            loaded: Mutex::default(),
            modules_max: config.loaded_modules_max.max(1),
            bytes_max: config.loaded_bytes_max,
        })
    }

    /// The first word counts; all workers are the same program.
    pub(super) fn learn_settings(&self, settings: [u8; 32]) {
        self.settings.get_or_init(|| settings);
    }

    pub(super) fn is_loaded(&self, id: BlobId) -> bool {
        self.loaded().modules.contains_key(&id)
    }

    /// Whether anything is kept of what was compiled of it.
    pub(super) fn knows(&self, id: BlobId) -> bool {
        self.is_loaded(id) || self.key(id).is_some_and(|key| self.cache.has(&key))
    }

    /// From memory: at once.
    pub(super) fn in_memory(&self, id: BlobId) -> Option<Arc<Artifact>> {
        let mut loaded = self.loaded();
        loaded.uses += 1;
        let now = loaded.uses;
        let (used_at, artifact) = loaded.modules.get_mut(&id)?;
        *used_at = now;
        Some(Arc::clone(artifact))
    }

    /// From memory or disk: well under a millisecond.
    pub(super) fn load(&self, id: BlobId) -> Option<Arc<Artifact>> {
        if let Some(artifact) = self.in_memory(id) {
            return Some(artifact);
        }
        let code = self.cache.load(&self.key(id)?)?;
        match Artifact::of(&code) {
            Ok(artifact) => Some(self.keep(id, artifact)),
            Err(error) => {
                tracing::warn!(module = %id, %error, "no memory for a compiled module");
                None
            }
        }
    }

    /// From wherever it is soonest had; may compile, for seconds. `closing` says when to give up.
    pub(super) fn compile(&self, id: BlobId, closing: impl Fn() -> bool) -> Result<(), PrepareError> {
        if self.load(id).is_some() {
            return Ok(());
        }
        if let Some(bytes) = self.blobs.stat(id).filter(|bytes| *bytes > MODULE_BYTES_MAX) {
            return Err(PrepareError::Invalid(format!("it has {bytes} bytes, the limit is {MODULE_BYTES_MAX}")));
        }
        let wasm = self.blobs.read(id).map_err(host)?;
        let code = self.compile_elsewhere(&wasm, closing)?;
        drop(wasm);
        let stored = self.key(id).map_or(Ok(()), |key| self.cache.store(&key, &code));
        if let Err(error) = stored {
            // It runs all the same; only the next start of the daemon compiles it again.
            tracing::warn!(module = %id, %error, "cannot keep a compiled module on disk");
        }
        self.keep(id, Artifact::of(&code).map_err(host)?);
        Ok(())
    }

    fn compile_elsewhere(&self, wasm: &[u8], closing: impl Fn() -> bool) -> Result<Vec<u8>, PrepareError> {
        let mut worker = WorkerProcess::start(&self.program, &Begin::Compile, &self.census).map_err(host)?;
        if self.settings.get().is_some_and(|settings| *settings != worker.ready.settings) {
            return Err(PrepareError::Host("its compiler has other settings than its sandbox".to_owned()));
        }
        let file = memory_file::sealed(c"module", wasm).map_err(host)?;
        worker.say(&(), &[file.as_raw_fd()]).map_err(host)?;
        let deadline = Instant::now() + COMPILE_TIMEOUT;
        let mut code = Vec::new();
        loop {
            // Also between packets: a compiler could go on sending for ever.
            if closing() {
                return Err(host("it is shutting down"));
            }
            if Instant::now() >= deadline {
                return Err(host(format!("compiling took more than {COMPILE_TIMEOUT:?}")));
            }
            match worker.hear::<Compiled>() {
                Ok(Heard::Bytes(part)) if code.len() + part.len() <= CODE_BYTES_MAX => code.extend_from_slice(part),
                Ok(Heard::Bytes(_)) => {
                    let why = format!("its machine code has more than {CODE_BYTES_MAX} bytes");
                    return Err(PrepareError::Invalid(why));
                }
                Ok(Heard::Words(Compiled::Whole)) => return Ok(code),
                Ok(Heard::Words(Compiled::Unfit(why))) => return Err(PrepareError::Invalid(shortened(&why))),
                Ok(Heard::Words(Compiled::Failed(why))) => return Err(PrepareError::Host(shortened(&why))),
                Err(LineError::Nothing) => {}
                Err(LineError::Closed) => {
                    let how = worker.obituary();
                    return Err(match worker.signal() {
                        Some(libc::SIGXCPU) => PrepareError::Invalid(format!(
                            "compiling it takes more than {} s of a core, which is the limit",
                            super::worker::COMPILE_CPU_S
                        )),
                        Some(_) | None => PrepareError::Host(format!("the compiler's process failed: {how}")),
                    });
                }
                Err(error @ (LineError::Garbled | LineError::System(_))) => return Err(host(error)),
            }
        }
    }

    /// So many workers are to hold a module from now on; whether that is news. None gives back what it takes.
    pub(super) fn keep_ready(&self, id: BlobId, instances: u16) -> bool {
        let mut loaded = self.loaded();
        if instances > 0 {
            return loaded.kept.insert(id, instances) != Some(instances);
        }
        if loaded.kept.remove(&id).is_none() {
            return false;
        }
        if let Some((_, dropped)) = loaded.modules.remove(&id) {
            loaded.bytes -= dropped.bytes;
        }
        true
    }

    pub(super) fn is_kept_ready(&self, id: BlobId) -> bool {
        self.loaded().kept.contains_key(&id)
    }

    /// What the worker with this number is to hold, of what is in memory.
    pub(super) fn ready_for(&self, worker: usize) -> Vec<(BlobId, Arc<Artifact>)> {
        let loaded = self.loaded();
        let is_meant = |instances: u16| worker < usize::from(instances);
        let wanted = loaded.kept.iter().filter(|(_, instances)| is_meant(**instances)).map(|(id, _)| *id);
        wanted.filter_map(|id| Some((id, Arc::clone(&loaded.modules.get(&id)?.1)))).collect()
    }

    /// Forgets code that a worker would not load after all, or of a module that was removed.
    pub(super) fn forget(&self, id: BlobId) {
        let mut loaded = self.loaded();
        if let Some((_, dropped)) = loaded.modules.remove(&id) {
            loaded.bytes -= dropped.bytes;
        }
        drop(loaded);
        if let Some(key) = self.key(id) {
            self.cache.remove(&key);
        }
    }

    /// Remembers a module; the longest unused ones make room for it.
    fn keep(&self, id: BlobId, artifact: Artifact) -> Arc<Artifact> {
        let artifact = Arc::new(artifact);
        let mut loaded = self.loaded();
        loaded.uses += 1;
        let now = loaded.uses;
        loaded.bytes += artifact.bytes;
        if let Some((_, replaced)) = loaded.modules.insert(id, (now, Arc::clone(&artifact))) {
            loaded.bytes -= replaced.bytes;
        }
        while loaded.modules.len() > self.modules_max || (loaded.bytes > self.bytes_max && loaded.modules.len() > 1) {
            let rank = |id: &BlobId, used_at: u64| (loaded.kept.contains_key(id), used_at);
            let oldest = loaded.modules.iter().min_by_key(|(id, (used_at, _))| rank(id, *used_at)).map(|(id, _)| *id);
            let Some((_, dropped)) = oldest.and_then(|id| loaded.modules.remove(&id)) else { break };
            loaded.bytes -= dropped.bytes;
        }
        artifact
    }

    fn key(&self, id: BlobId) -> Option<blake3::Hash> {
        self.settings.get().map(|settings| blake3::keyed_hash(settings, &id.0))
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Artifact {
    fn of(code: &[u8]) -> std::io::Result<Self> {
        Ok(Self { file: memory_file::sealed(c"code", code)?, bytes: code.len() as u64 })
    }
}

fn host(why: impl ToString) -> PrepareError {
    PrepareError::Host(why.to_string())
}

/// What a worker says may be as long as a packet; a person needs less.
fn shortened(why: &str) -> String {
    const CHARS_MAX: usize = 1_024;
    why.chars().take(CHARS_MAX).collect()
}
