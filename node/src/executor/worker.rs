//! The loops of the executor's threads.
//!
//! **Invariant:** a panic while one task runs is that task's host failure, and the thread takes the next job.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use shoal_protocol::id::BlobId;
use shoal_protocol::output::Execution;
use shoal_protocol::task::spec::Ending;

use super::control::RunControl;
use super::modules::{PrepareError, Prepared};
use super::{ExecutorEvent, Shared, priority, run};

/// A run that was handed over.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) execution: Execution,
    pub(super) control: Arc<RunControl>,
}

/// A module to be made ready, by itself or because a run needs it.
#[derive(Debug)]
pub(super) struct PrepareRequest {
    pub(super) module: BlobId,
    pub(super) then: Option<Job>,
}

/// One run after the other.
pub(super) fn run_jobs(shared: &Shared) {
    while let Some(job) = shared.jobs.pop() {
        if job.control.is_aborted() {
            continue;
        }
        let module = job.execution.module;
        let Some(prepared) = shared.modules.load(module) else {
            // Its code was dropped to make room since it was prepared. Compiling here would hold a core of the tasks'.
            if let Err(request) = shared.to_compile.push(PrepareRequest { module, then: Some(job) })
                && let Some(job) = request.then
            {
                shared.failed(&job, Ending::HostFailed("too many modules wait to be compiled here".to_owned()));
            }
            continue;
        };
        match catch_unwind(AssertUnwindSafe(|| run::run(shared, &prepared, &job))) {
            Ok(Some(report)) => shared.finished(&job, report),
            // Aborted: whoever did that has taken it from the list.
            Ok(None) => {}
            Err(_) => {
                tracing::error!(task = %job.execution.attempt.task, "the sandbox panicked");
                shared.failed(&job, Ending::HostFailed("the sandbox failed inside this peer".to_owned()));
            }
        }
    }
}

/// Modules that are compiled already are ready at once and never wait behind a compilation.
pub(super) fn load_modules(shared: &Shared) {
    while let Some(request) = shared.to_load.pop() {
        let began = Instant::now();
        let module = request.module;
        if shared.modules.load(module).is_some() {
            shared.report(ExecutorEvent::Prepared { module, result: Ok(began.elapsed()) });
        } else if shared.to_compile.push(request).is_err() {
            let result = Err("too many modules wait to be compiled here".to_owned());
            shared.report(ExecutorEvent::Prepared { module, result });
        }
    }
}

/// One compilation after the other, behind everything else on this machine that wants a core.
pub(super) fn compile_modules(shared: &Shared) {
    priority::lower();
    while let Some(request) = shared.to_compile.pop() {
        let began = Instant::now();
        let module = request.module;
        let compiled = catch_unwind(AssertUnwindSafe(|| shared.modules.compile(module)));
        let compiled = compiled.unwrap_or_else(|_| Err(PrepareError::Host("the compiler failed".to_owned())));
        match request.then {
            None => {
                let result = compiled.map(|_| began.elapsed()).map_err(|error| error.to_string());
                shared.report(ExecutorEvent::Prepared { module, result });
            }
            Some(job) => resume(shared, job, compiled),
        }
    }
}

fn resume(shared: &Shared, job: Job, compiled: Result<Arc<Prepared>, PrepareError>) {
    match compiled {
        Ok(_) => {
            if let Err(job) = shared.jobs.push(job) {
                shared.failed(&job, Ending::HostFailed("the sandbox's queue is full".to_owned()));
            }
        }
        Err(PrepareError::Invalid(reason)) => shared.failed(&job, Ending::Invalid(reason)),
        Err(PrepareError::Host(reason)) => shared.failed(&job, Ending::HostFailed(reason)),
    }
}
