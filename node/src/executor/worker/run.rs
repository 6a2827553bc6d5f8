//! One run, from a fresh instance to its answer.
//!
//! **Invariant:** what the module does is told apart from what this machine did: only the latter is
//! [`Ending::HostFailed`].

use std::cell::Cell;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Instant;

use shoal_protocol::config::WALL_MAX;
use shoal_protocol::task::report::{Ending, LimitKind};
use wasmtime::{Extern, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::super::line::Line;
use super::super::words::{Answer, Ended, Piece, Run};
use super::Files;
use super::guest::{Guest, MemoryMeter, Source, Stdin, Stdout, Stop, Tail};
use super::modules::{Modules, Prepared};
use super::orders::{self, Orders};
use super::ticker::Ticker;
use crate::blobs::Cipher;

/// What is kept of wasmtime's account of a trap.
const TRAP_CHARS_MAX: usize = 1_024;
/// Output that rides along with the answer; more goes before it, in packets of its own.
const ALONG_BYTES_MAX: usize = 16 * 1024;

/// The end of a run, and what is left to be taken down: the answer need not wait for that.
pub(super) struct Over {
    pub(super) answer: Answer,
    _left: Option<Store<Guest>>,
}

impl From<Answer> for Over {
    fn from(answer: Answer) -> Self {
        Self { answer, _left: None }
    }
}

/// Runs the module.
pub(super) fn run(line: &Arc<Line>, modules: &mut Modules, ticker: &Ticker, order: Run, mut files: Files) -> Over {
    order.drop.iter().for_each(|number| modules.unload(*number));
    if order.load {
        let Some(code) = orders::next_file(&mut files) else { return orders::nonsense().into() };
        if let Err(why) = modules.load(order.module, code) {
            return Answer::Unloadable(why).into();
        }
    }
    let Some(prepared) = modules.get(order.module) else { return orders::nonsense().into() };
    let Some(stdin) = open_inputs(order.inputs, &mut files) else { return orders::nonsense().into() };
    let started = Instant::now();
    let guest = Guest {
        orders: Orders::of_run(line, order.number, started),
        task: order.task,
        args: order.args,
        started,
        wall_end: started + order.wall.min(WALL_MAX),
        stdin,
        stdout: Stdout::new(order.output_bytes),
        stderr: Tail::default(),
        closed: [false; 3],
        random: None,
        steady_ns: order.is_compared.then(Cell::default),
        memory: None,
        meter: MemoryMeter::new(order.memory_bytes),
    };
    let mut store = Store::new(modules.engine(), guest);
    store.limiter(|guest| &mut guest.meter);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| {
        context.data().checkpoint()?;
        Ok(UpdateDeadline::Continue(1))
    });

    let ticking = ticker.ticking();
    let ended = call(&mut store, prepared);
    drop(ticking);
    let run = started.elapsed();

    let Some(ending) = ending_of(ended, store.data()) else { return Answer::Aborted.into() };
    let guest = store.data_mut();
    let mut output = guest.stdout.take();
    let log = guest.stderr.take();
    let memory_bytes = guest.meter.peak_bytes as u64;
    if output.len() > ALONG_BYTES_MAX {
        let output = std::mem::take(&mut output);
        // Whoever does not take it will not take the answer either.
        let _ = orders::send_bytes(line, &output);
    }
    let run_ns = u64::try_from(run.as_nanos()).unwrap_or(u64::MAX);
    let answer = Answer::Ended(Ended { ending, output, log, run_ns, memory_bytes });
    Over { answer, _left: Some(store) }
}

fn open_inputs(pieces: Vec<Piece>, files: &mut Files) -> Option<Stdin> {
    let sources = pieces.into_iter().map(|piece| match piece {
        Piece::Inline(bytes) => Some(Source::Memory(Cursor::new(bytes))),
        Piece::File => orders::next_file(files).map(Source::File),
        Piece::Sealed(key) => Some(Source::Sealed(orders::next_file(files)?, Cipher::new(&key).ok()?, 0)),
    });
    sources.collect::<Option<Vec<Source>>>().map(Stdin::new)
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
