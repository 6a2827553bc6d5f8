//! Modules of a worker: code that another worker compiled, linked and ready to start.
//!
//! **Invariant:** code is loaded in a worker that is locked down, and nowhere else.

use std::collections::BTreeMap;
use std::fs::File;

use wasmtime::{Engine, ExternType, InstancePre, Linker, Module, ModuleExport, Result};

use super::guest::Guest;
use super::wasi;

/// What this worker has loaded, by the daemon's numbers.
pub(super) struct Modules {
    engine: Engine,
    linker: Linker<Guest>,
    loaded: BTreeMap<u32, Prepared>,
}

/// A module that can start.
pub(super) struct Prepared {
    pub(super) instance: InstancePre<Guest>,
    pub(super) start: ModuleExport,
    pub(super) memory: Option<ModuleExport>,
}

impl Modules {
    pub(super) fn new(engine: Engine) -> Result<Self> {
        let linker = linker(&engine)?;
        Ok(Self { engine, linker, loaded: BTreeMap::new() })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn get(&self, number: u32) -> Option<&Prepared> {
        self.loaded.get(&number)
    }

    pub(super) fn load(&mut self, number: u32, code: File) -> Result<(), String> {
        #[allow(unsafe_code)]
        // Whatever this code does, it does it in here. The daemon sealed the file: it does not change.
        let module = unsafe { Module::deserialize_open_file(&self.engine, code) };
        let prepared = module.map_err(|error| format!("{error:#}")).and_then(|module| link(&self.linker, &module))?;
        self.loaded.insert(number, prepared);
        Ok(())
    }

    pub(super) fn unload(&mut self, number: u32) {
        self.loaded.remove(&number);
    }
}

pub(super) fn linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// Checks that a module fits what we offer it, and finds what is needed to start it.
pub(super) fn link(linker: &Linker<Guest>, module: &Module) -> Result<Prepared, String> {
    let instance = linker.instantiate_pre(module).map_err(|error| format!("{error:#}"))?;
    let is_command = match module.get_export("_start") {
        Some(ExternType::Func(start)) => start.params().len() == 0 && start.results().len() == 0,
        _ => false,
    };
    let start = module.get_export_index("_start").filter(|_| is_command);
    let start = start.ok_or("its `_start` is not a plain function")?;
    let is_memory = matches!(module.get_export("memory"), Some(ExternType::Memory(_)));
    let memory = module.get_export_index("memory").filter(|_| is_memory);
    Ok(Prepared { instance, start, memory })
}
