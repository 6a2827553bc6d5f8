//! The loops of the executor's threads: one for each worker process, one that loads and one that has modules compiled.
//!
//! **Invariant:** a panic while one task runs is that task's host failure, and the thread takes the next job. A worker that
//! is gone is replaced before the next run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use shoal_protocol::id::BlobId;
use shoal_protocol::input::PrepareError;
use shoal_protocol::output::Execution;
use shoal_protocol::task::report::Ending;

use super::control::RunControl;
use super::modules::Artifact;
use super::pool::{Found, Seat};
use super::process::{StartFailure, WorkerProcess};
use super::run::{Ran, Runner};
use super::words::{Begin, Ready};
use super::{ExecutorEvent, Shared};

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

/// One run after the other, each by this thread's worker. Says first whether there is one.
pub(super) fn run_jobs(shared: &Shared, index: usize, started: &Sender<Result<Ready, StartFailure>>) {
    let mut runner = match start_worker(shared) {
        Ok(worker) => {
            let _ = started.send(Ok(worker.ready.clone()));
            Some(Runner::new(worker))
        }
        Err(failure) => {
            let _ = started.send(Err(failure));
            return;
        }
    };
    let (seat, mut seen) = (Arc::<Seat>::default(), 0);
    loop {
        match shared.pool.next(&seat, runner.take(), &mut seen) {
            Found::Closed(lent) => return drop(lent),
            Found::Nudge(lent) => {
                runner = lent;
                if let Some(runner) = &mut runner {
                    runner.tend(shared, index);
                }
            }
            Found::Job(lent, job) => {
                runner = lent;
                give(shared, &mut runner, job);
            }
            Found::Begun(lent, job, begun) => {
                see_through(shared, &mut runner, &job, |runner| Ok(runner.insert(lent).finish(shared, &job, begun)));
            }
        }
        refill(shared, &mut runner);
    }
}

/// Gives a run to the worker, if it can start.
fn give(shared: &Shared, runner: &mut Option<Runner>, job: Job) {
    if job.control.is_aborted() {
        return;
    }
    let module = job.execution.module;
    match shared.modules.load(module) {
        Some(artifact) => see_through(shared, runner, &job, |runner| run_one(shared, runner, &artifact, &job)),
        // Its code was dropped to make room since it was prepared. Compiling here would hold a core of the tasks'.
        None => {
            if let Err(request) = shared.to_compile.push(PrepareRequest { module, then: Some(job) })
                && let Some(job) = request.then
            {
                shared.failed(&job, Ending::HostFailed("too many modules wait to be compiled here".to_owned()));
            }
        }
    }
}

/// Reports what comes of a run.
fn see_through(
    shared: &Shared,
    runner: &mut Option<Runner>,
    job: &Job,
    run: impl FnOnce(&mut Option<Runner>) -> Result<Ran, StartFailure>,
) {
    match catch_unwind(AssertUnwindSafe(|| run(runner))) {
        Ok(Ok(ran)) => shared.conclude(job, ran),
        Ok(Err(failure)) => {
            shared.failed(job, Ending::HostFailed(format!("there is no worker to run it: {failure}")));
        }
        Err(_) => {
            tracing::error!(task = %job.execution.attempt.task, "the executor panicked");
            *runner = None;
            shared.failed(job, Ending::HostFailed("the executor failed inside this peer".to_owned()));
        }
    }
}

/// Runs a job, with another worker if the first was gone before it began: idle ones end when memory runs out.
fn run_one(shared: &Shared, runner: &mut Option<Runner>, artifact: &Artifact, job: &Job) -> Result<Ran, StartFailure> {
    if let Some(runner) = runner {
        match runner.run(shared, artifact, job) {
            Ran::NotBegun => shared.workers_lost(),
            ran => return Ok(ran),
        }
    }
    let fresh = runner.insert(Runner::new(start_worker(shared)?));
    Ok(fresh.run(shared, artifact, job))
}

/// Replaces a worker that is gone, while nobody waits for it.
fn refill(shared: &Shared, runner: &mut Option<Runner>) {
    match runner {
        Some(runner) if !runner.is_gone() => return,
        Some(_) => shared.workers_lost(),
        None => {}
    }
    if shared.is_closing() {
        return;
    }
    *runner = match start_worker(shared) {
        Ok(worker) => Some(Runner::new(worker)),
        Err(failure) => {
            // The next run tries again.
            tracing::error!(%failure, "a worker cannot be replaced");
            None
        }
    };
}

fn start_worker(shared: &Shared) -> Result<WorkerProcess, StartFailure> {
    let begin = Begin::Run { memory_bytes_max: shared.config.memory_bytes_max };
    WorkerProcess::start(&shared.config.worker, &begin, &shared.census)
}

/// Modules that are compiled already are ready at once and never wait behind a compilation.
pub(super) fn load_modules(shared: &Shared) {
    while let Some(request) = shared.to_load.pop() {
        let began = Instant::now();
        let module = request.module;
        if shared.modules.load(module).is_some() {
            shared.made_ready(module);
            shared.report(ExecutorEvent::Prepared { module, result: Ok(began.elapsed()) });
        } else if shared.to_compile.push(request).is_err() {
            let result = Err(PrepareError::Host("too many modules wait to be compiled here".to_owned()));
            shared.report(ExecutorEvent::Prepared { module, result });
        }
    }
}

/// One compilation after the other, each in a process of its own.
pub(super) fn compile_modules(shared: &Shared) {
    while let Some(request) = shared.to_compile.pop() {
        let began = Instant::now();
        let module = request.module;
        let compiled = catch_unwind(AssertUnwindSafe(|| shared.modules.compile(module, || shared.is_closing())));
        let compiled = compiled.unwrap_or_else(|_| Err(PrepareError::Host("the executor failed".to_owned())));
        match request.then {
            None => {
                shared.made_ready(module);
                let result = compiled.map(|()| began.elapsed());
                shared.report(ExecutorEvent::Prepared { module, result });
            }
            Some(job) => resume(shared, job, compiled),
        }
    }
}

fn resume(shared: &Shared, job: Job, compiled: Result<(), PrepareError>) {
    match compiled {
        Ok(()) => shared.hand_over(job),
        Err(PrepareError::Invalid(reason)) => shared.failed(&job, Ending::Invalid(reason)),
        Err(PrepareError::Host(reason)) => shared.failed(&job, Ending::HostFailed(reason)),
    }
}
