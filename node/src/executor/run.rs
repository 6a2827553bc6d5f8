//! One run, from a fresh instance to its report.
//!
//! **Invariant:** what the module does is told apart from what this machine did: only the latter is
//! [`Ending::HostFailed`].

use std::cell::Cell;
use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_protocol::config::{INLINE_BYTES_MAX, WALL_MAX};
use shoal_protocol::task::spec::{BlobRef, Ending, LimitKind, Payload, RunReport};
use wasmtime::{Extern, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::Shared;
use super::guest::{Guest, MemoryMeter, Source, Stdin, Stdout, Stop, Tail};
use super::modules::Prepared;
use super::worker::Job;
use crate::blobs::BlobError;

/// What is kept of wasmtime's account of a trap.
const TRAP_CHARS_MAX: usize = 1_024;

/// Runs the module; nothing when it was aborted.
pub(super) fn run(shared: &Shared, prepared: &Prepared, job: &Job) -> Option<RunReport> {
    let execution = &job.execution;
    let stdin = match open_inputs(shared, &execution.inputs) {
        Ok(stdin) => stdin,
        Err(error) => return Some(report_of(Ending::HostFailed(format!("cannot read its input: {error}")))),
    };
    let started = Instant::now();
    let limits = &execution.limits;
    let mut store = Store::new(
        shared.modules.engine(),
        Guest {
            control: Arc::clone(&job.control),
            task: execution.attempt.task,
            args: execution.args.clone(),
            started,
            wall_end: started + limits.wall.min(WALL_MAX),
            stdin,
            stdout: Stdout::new(limits.output_bytes),
            stderr: Tail::default(),
            closed: [false; 3],
            random: None,
            steady_ns: execution.is_compared.then(Cell::default),
            memory: None,
            meter: MemoryMeter::new(limits.memory_bytes.min(shared.config.memory_bytes_max)),
        },
    );
    store.limiter(|guest| &mut guest.meter);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| {
        context.data().checkpoint()?;
        Ok(UpdateDeadline::Continue(1))
    });

    let ticking = shared.ticker.ticking();
    let ended = call(&mut store, prepared);
    drop(ticking);
    let run = started.elapsed();

    let ending = ending_of(ended, store.data())?;
    let guest = store.data_mut();
    let output = guest.stdout.take();
    let log = guest.stderr.take();
    let memory_bytes = guest.meter.peak_bytes as u64;
    // Gives the memory back before a testnet's slower machine holds the slot.
    drop(store);
    let mut report = RunReport { ending, output: Payload::inline(Vec::new()), log, run, memory_bytes };
    match keep_output(shared, output) {
        Ok(output) => report.output = output,
        Err(error) => report.ending = Ending::HostFailed(format!("cannot store its output: {error}")),
    }
    report.run = hold(shared, job, started, run)?;
    Some(report)
}

fn call(store: &mut Store<Guest>, prepared: &Prepared) -> Result<(), Failure> {
    let instance = prepared.instance.instantiate(&mut *store).map_err(Failure::Instantiating)?;
    let memory = prepared.memory.and_then(|memory| instance.get_module_export(&mut *store, &memory));
    store.data_mut().memory = memory.and_then(Extern::into_memory);
    let start = instance.get_module_export(&mut *store, &prepared.start).and_then(Extern::into_func);
    let start = start.ok_or_else(|| Failure::Instantiating(wasmtime::Error::msg("`_start` is gone")))?;
    let start = start.typed::<(), ()>(&*store).map_err(Failure::Instantiating)?;
    start.call(&mut *store, ()).map_err(Failure::Running)
}

enum Failure {
    Instantiating(wasmtime::Error),
    Running(wasmtime::Error),
}

/// How the run ended; nothing when it was aborted.
fn ending_of(ended: Result<(), Failure>, guest: &Guest) -> Option<Ending> {
    let (Failure::Instantiating(error) | Failure::Running(error)) = match &ended {
        Ok(()) => return Some(Ending::Exited(0)),
        Err(failure) => failure,
    };
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::Exit(code) => Some(Ending::Exited(*code)),
            Stop::Output => Some(Ending::LimitHit(LimitKind::Output)),
            Stop::Wall => Some(Ending::LimitHit(LimitKind::Wall)),
            Stop::Aborted => None,
            Stop::Host(reason) => Some(Ending::HostFailed(reason.clone())),
        };
    }
    let text = || format!("{error:#}").chars().take(TRAP_CHARS_MAX).collect::<String>();
    let pool_is_empty = error.downcast_ref::<PoolConcurrencyLimitError>().is_some();
    let ending = match &ended {
        _ if pool_is_empty => Ending::HostFailed(text()),
        // A guest that was refused memory and then gave up: languages do that by trapping.
        _ if guest.meter.refusals > 0 => Ending::LimitHit(LimitKind::Memory),
        Err(Failure::Instantiating(error)) if error.downcast_ref::<Trap>().is_none() => Ending::HostFailed(text()),
        _ => Ending::Trapped(text()),
    };
    Some(ending)
}

fn open_inputs(shared: &Shared, inputs: &[Payload]) -> Result<Stdin, BlobError> {
    let sources: Result<Vec<Source>, BlobError> = inputs
        .iter()
        .map(|input| match input {
            Payload::Inline(bytes) => Ok(Source::Memory(Cursor::new(bytes.clone()))),
            Payload::Blob(blob) => shared.blobs.open_read(blob.id).map(Source::Disk),
        })
        .collect();
    sources.map(Stdin::new)
}

/// Small output rides along; larger output is stored here, where whoever wants it can fetch it.
fn keep_output(shared: &Shared, output: Vec<u8>) -> Result<Payload, BlobError> {
    if output.len() as u64 <= INLINE_BYTES_MAX {
        return Ok(Payload::inline(output));
    }
    let stored = shared.blobs.put(&output)?;
    Ok(Payload::Blob(BlobRef { id: stored.id, bytes: stored.bytes, holder: shared.config.peer }))
}

/// On a testnet, occupies the slot as long as a slower machine would; nothing when the run was aborted meanwhile.
fn hold(shared: &Shared, job: &Job, started: Instant, run: Duration) -> Option<Duration> {
    let slowdown = shared.config.slowdown;
    if slowdown.is_nan() || slowdown <= 1.0 {
        return Some(run);
    }
    let held = Duration::try_from_secs_f64(run.as_secs_f64() * slowdown).unwrap_or(WALL_MAX).min(WALL_MAX);
    job.control.sleep_until(started + held).then_some(held)
}

fn report_of(ending: Ending) -> RunReport {
    RunReport { ending, output: Payload::inline(Vec::new()), log: Vec::new(), run: Duration::ZERO, memory_bytes: 0 }
}
