//! Modules ready to start: in memory, else from the cache on disk, else compiled.
//!
//! **Invariant:** what is in memory is linked and type-checked; starting it can only fail for want of memory.
//! **Not here:** on which thread that happens (`worker.rs`).

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shoal_protocol::config::MODULE_BYTES_MAX;
use shoal_protocol::id::BlobId;
use wasmtime::{Engine, ExternType, InstancePre, Linker, Module, ModuleExport};

use super::artifact::ArtifactCache;
use super::guest::Guest;
use super::{ExecutorConfig, ExecutorError, inspect, wasi};
use crate::blobs::BlobStore;

pub(super) struct Modules {
    engine: Engine,
    linker: Linker<Guest>,
    blobs: BlobStore,
    cache: ArtifactCache,
    settings: blake3::Hash,
    loaded: Mutex<Loaded>,
    modules_max: usize,
    bytes_max: u64,
}

/// The part of the executor's configuration that is about modules.
pub(super) struct ModulesConfig<'a> {
    config: &'a ExecutorConfig,
}

impl<'a> ModulesConfig<'a> {
    pub(super) fn of(config: &'a ExecutorConfig) -> Self {
        Self { config }
    }
}

/// A module that can start.
pub(super) struct Prepared {
    pub(super) instance: InstancePre<Guest>,
    pub(super) start: ModuleExport,
    pub(super) memory: Option<ModuleExport>,
    code_bytes: u64,
}

/// Why a module cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PrepareError {
    /// No peer could run it.
    #[error("the module cannot be run: {0}")]
    Invalid(String),
    /// Another peer might.
    #[error("this peer cannot prepare the module: {0}")]
    Host(String),
}

#[derive(Default)]
struct Loaded {
    modules: BTreeMap<BlobId, (u64, Arc<Prepared>)>,
    bytes: u64,
    uses: u64,
}

impl Modules {
    pub(super) fn new(engine: Engine, blobs: BlobStore, of: &ModulesConfig<'_>) -> Result<Self, ExecutorError> {
        let config = of.config;
        let failed =
            |error: wasmtime::Error| ExecutorError::Engine { threads: config.threads, reason: format!("{error:#}") };
        let mut linker = Linker::new(&engine);
        wasi::add_to_linker(&mut linker).map_err(failed)?;
        let mut settings = SettingsHasher(blake3::Hasher::new_derive_key("shoal compiled module settings v1"));
        // wasmtime's version, its settings and the processor's features.
        engine.precompile_compatibility_hash().hash(&mut settings);
        Ok(Self {
            engine,
            linker,
            blobs,
            cache: ArtifactCache::open(&config.cache_dir, config.cache_bytes_max)?,
            settings: settings.0.finalize(),
            loaded: Mutex::default(),
            modules_max: config.loaded_modules_max.max(1),
            bytes_max: config.loaded_bytes_max,
        })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn is_loaded(&self, id: BlobId) -> bool {
        self.loaded().modules.contains_key(&id)
    }

    /// From memory.
    pub(super) fn get(&self, id: BlobId) -> Option<Arc<Prepared>> {
        let mut loaded = self.loaded();
        loaded.uses += 1;
        let now = loaded.uses;
        let (used_at, prepared) = loaded.modules.get_mut(&id)?;
        *used_at = now;
        Some(Arc::clone(prepared))
    }

    /// From memory or disk: well under a millisecond.
    pub(super) fn load(&self, id: BlobId) -> Option<Arc<Prepared>> {
        if let Some(prepared) = self.get(id) {
            return Some(prepared);
        }
        let key = self.key(id);
        let code = self.cache.load(&key)?;
        #[allow(unsafe_code)] // The cache hands out nothing but what this peer's own compiler put there.
        let module = unsafe { Module::deserialize(&self.engine, &code) };
        let prepared = module.map_err(|error| PrepareError::Host(format!("{error:#}"))).and_then(|it| self.link(&it));
        match prepared {
            Ok(prepared) => Some(self.keep(id, prepared)),
            Err(error) => {
                tracing::warn!(module = %id, %error, "a compiled module is of no use: it is compiled again");
                self.cache.remove(&key);
                None
            }
        }
    }

    /// From wherever it is soonest had; may compile, for seconds.
    pub(super) fn compile(&self, id: BlobId) -> Result<Arc<Prepared>, PrepareError> {
        if let Some(prepared) = self.load(id) {
            return Ok(prepared);
        }
        if let Some(bytes) = self.blobs.stat(id).filter(|bytes| *bytes > MODULE_BYTES_MAX) {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            return Err(PrepareError::Invalid(inspect::Unfit::TooLarge { bytes }.to_string()));
        }
        let wasm = self.blobs.read(id).map_err(|error| PrepareError::Host(error.to_string()))?;
        inspect::check(&wasm).map_err(|unfit| PrepareError::Invalid(unfit.to_string()))?;
        let module = Module::from_binary(&self.engine, &wasm).map_err(invalid)?;
        drop(wasm);
        let prepared = self.link(&module)?;
        let stored = module.serialize().map_err(std::io::Error::other);
        if let Err(error) = stored.and_then(|code| self.cache.store(&self.key(id), &code)) {
            // It runs all the same; only the next start of the daemon compiles it again.
            tracing::warn!(module = %id, %error, "cannot keep a compiled module on disk");
        }
        Ok(self.keep(id, prepared))
    }

    fn link(&self, module: &Module) -> Result<Prepared, PrepareError> {
        let instance = self.linker.instantiate_pre(module).map_err(invalid)?;
        let is_command = match module.get_export("_start") {
            Some(ExternType::Func(start)) => start.params().len() == 0 && start.results().len() == 0,
            _ => false,
        };
        let start = module.get_export_index("_start").filter(|_| is_command);
        let start = start.ok_or_else(|| PrepareError::Invalid("its `_start` is not a plain function".to_owned()))?;
        let is_memory = matches!(module.get_export("memory"), Some(ExternType::Memory(_)));
        let memory = module.get_export_index("memory").filter(|_| is_memory);
        let image = module.image_range();
        let code_bytes = (image.end as usize).saturating_sub(image.start as usize) as u64;
        Ok(Prepared { instance, start, memory, code_bytes })
    }

    /// Remembers a module; the longest unused ones make room for it.
    fn keep(&self, id: BlobId, prepared: Prepared) -> Arc<Prepared> {
        let prepared = Arc::new(prepared);
        let mut loaded = self.loaded();
        loaded.uses += 1;
        let now = loaded.uses;
        loaded.bytes += prepared.code_bytes;
        if let Some((_, replaced)) = loaded.modules.insert(id, (now, Arc::clone(&prepared))) {
            loaded.bytes -= replaced.code_bytes;
        }
        while loaded.modules.len() > self.modules_max || (loaded.bytes > self.bytes_max && loaded.modules.len() > 1) {
            let oldest = loaded.modules.iter().min_by_key(|(_, (used_at, _))| *used_at).map(|(id, _)| *id);
            let Some((_, dropped)) = oldest.and_then(|id| loaded.modules.remove(&id)) else { break };
            loaded.bytes -= dropped.code_bytes;
        }
        prepared
    }

    fn key(&self, id: BlobId) -> blake3::Hash {
        blake3::keyed_hash(self.settings.as_bytes(), &id.0)
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn invalid(error: wasmtime::Error) -> PrepareError {
    PrepareError::Invalid(format!("{error:#}"))
}

/// Takes what wasmtime says about its settings into a hash that is the same in every process.
struct SettingsHasher(blake3::Hasher);

impl Hasher for SettingsHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // Only asked by hash tables.
        0
    }
}
