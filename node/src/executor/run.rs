//! One run, as the daemon sees it: an order to a worker, and what is made of its answer.
//!
//! **Invariant:** a run ends whatever its worker does: one that does not answer in time is killed, and so is one that says
//! what it cannot mean.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use shoal_protocol::BlobId;
use shoal_protocol::config::{INLINE_BYTES_MAX, LOG_BYTES_MAX, WALL_MAX};
use shoal_protocol::residency::Labels;
use shoal_protocol::task::report::{Ending, LimitKind, RunReport};
use shoal_protocol::task::spec::{BlobRef, Limits, Payload};

use super::held::{Held, MODULES_MAX};
use super::line::{Kind, LineError, SPIN};
use super::modules::Artifact;
use super::process::{Heard, WorkerProcess};
use super::threads::Job;
use super::words::{Answer, Ended, Order, Piece, Run, Tend};
use super::{Shared, memory_file};
use crate::blobs::{BlobError, BlobReader};

/// Input that rides along with the order; more goes by way of files.
const ALONG_BYTES_MAX: usize = 32 * 1024;
/// Time that a worker has to stop by itself after an abort, or after the end of a run's time. It looks every few
/// milliseconds; the rest is for machines where it does not get a core.
const GRACE: Duration = Duration::from_secs(2);
/// A run whose end can be expected before falling asleep is worth it: the rest of that time is for waking the worker.
const SHORT: Duration = Duration::from_micros(SPIN.as_micros() as u64 / 2);
/// What is kept of a worker's account of what happened.
const REASON_CHARS_MAX: usize = 1_024;

/// A worker and what it knows.
#[derive(Debug)]
pub(super) struct Runner {
    worker: WorkerProcess,
    held: Held,
    runs: u64,
}

/// A run that the worker has been given.
#[derive(Debug)]
pub(super) struct Begun {
    limits: Limits,
    at: Instant,
    /// What it reads stays open until it is over.
    _open: Vec<Open>,
}

/// How far a run came while its order was given.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nothing has happened.
    None,
    Begun(Begun),
    Over(Ran),
}

/// What came of a run.
#[derive(Debug)]
pub(super) enum Ran {
    Over(RunReport),
    Aborted,
    /// The worker was gone before it was asked.
    NotBegun,
}

/// What comes of an order.
enum Told {
    Ended(Ended, Vec<u8>),
    Aborted,
    /// It would not stop, or said what it cannot mean, or is gone.
    Lost(Ending),
}

impl Runner {
    pub(super) fn new(worker: WorkerProcess) -> Self {
        Self { worker, held: Held::default(), runs: 0 }
    }

    /// Whether it can be given another run.
    pub(super) fn is_gone(&self) -> bool {
        self.worker.is_gone()
    }

    /// Whether the worker has loaded a module.
    pub(super) fn holds(&self, module: BlobId) -> bool {
        self.held.has(module)
    }

    /// While nothing is to be run: has the worker load what it is to hold, and drop what is not in memory any more.
    pub(super) fn tend(&mut self, shared: &Shared, index: usize) {
        let mut drop = self.held.drop_unneeded(|module| shared.modules.is_loaded(module));
        for (module, artifact) in shared.modules.ready_for(index).into_iter().take(MODULES_MAX) {
            if self.held.has(module) {
                continue;
            }
            let place = self.held.place(module);
            drop.extend(place.drop);
            let order = Tend { load: Some(place.number), drop: std::mem::take(&mut drop) };
            if self.worker.say(&Order::Tend(order), &[artifact.file.as_raw_fd()]).is_err() {
                self.worker.kill();
                return;
            }
        }
        if !drop.is_empty() && self.worker.say(&Order::Tend(Tend { load: None, drop }), &[]).is_err() {
            self.worker.kill();
        }
    }

    /// Has the worker run the module.
    pub(super) fn run(&mut self, shared: &Shared, artifact: &Artifact, job: &Job) -> Ran {
        match self.begin(shared, artifact, job) {
            Ok(begun) => self.finish(shared, job, begun),
            Err(ran) => *ran,
        }
    }

    /// Gives the order if nobody has to wait for that: the worker has the code, the input comes along, and the kernel takes it. If
    /// the run is the only one, and the last one was over before a thread could have been woken for it, its end is heard as well.
    pub(super) fn begin_at_once(&mut self, shared: &Shared, job: &Job, is_alone: bool) -> Progress {
        let Some(begun) = self.try_begin(shared, job) else { return Progress::None };
        // What takes a disk or longer is for the thread.
        let is_short = self.held.last_run(job.execution.module).is_some_and(|run| run <= SHORT);
        if !is_alone || !is_short || job.execution.keep_output || shared.config.slowdown > 1.0 {
            return Progress::Begun(begun);
        }
        match self.worker.speaks_soon() {
            // Whatever it is, it is the end.
            Some(Kind::Words) => Progress::Over(self.finish(shared, job, begun)),
            Some(Kind::Bytes) | None => Progress::Begun(begun),
        }
    }

    fn try_begin(&mut self, shared: &Shared, job: &Job) -> Option<Begun> {
        let bytes = job.execution.inputs.iter().map(|input| match input {
            Payload::Inline(bytes) => bytes.len(),
            Payload::Blob(_) => usize::MAX,
        });
        let is_light = bytes.fold(0, usize::saturating_add) <= ALONG_BYTES_MAX;
        if self.is_gone() || !is_light || !self.holds(job.execution.module) {
            return None;
        }
        let artifact = shared.modules.in_memory(job.execution.module)?;
        let Inputs { pieces, files, open } = Inputs::open(shared, &job.execution.inputs).ok()?;
        let (limits, at) = (limits(shared, job), Instant::now());
        let (order, _files) = self.order(&artifact, job, &limits, pieces, &files);
        self.worker.say_at_once(&order).ok()?;
        job.control.begun(self.worker.line(), self.runs);
        Some(Begun { limits, at, _open: open })
    }

    fn begin(&mut self, shared: &Shared, artifact: &Artifact, job: &Job) -> Result<Begun, Box<Ran>> {
        let Inputs { pieces, files, open } = Inputs::open(shared, &job.execution.inputs)
            .map_err(|why| Box::new(host_failed(format!("cannot read its input: {why}"))))?;
        let (limits, at) = (limits(shared, job), Instant::now());
        let (order, files) = self.order(artifact, job, &limits, pieces, &files);
        match self.worker.say(&order, &files) {
            Ok(()) => {}
            Err(LineError::Closed) => {
                self.worker.kill();
                return Err(Box::new(Ran::NotBegun));
            }
            Err(error) => {
                // What it holds is not known any more.
                self.worker.kill();
                let why = match error {
                    LineError::Nothing => "it takes no more orders".to_owned(),
                    error => error.to_string(),
                };
                return Err(Box::new(host_failed(format!("cannot give it to a worker: {why}"))));
            }
        }
        job.control.begun(self.worker.line(), self.runs);
        Ok(Begun { limits, at, _open: open })
    }

    /// Waits for the end of a run, and holds the slot as long as a slower machine would.
    pub(super) fn finish(&mut self, shared: &Shared, job: &Job, begun: Begun) -> Ran {
        let Begun { limits, at, _open } = begun;
        let told = self.listen(shared, job, &limits, at);
        job.control.over();
        let (ended, output) = match told {
            Told::Ended(ended, output) => (ended, output),
            Told::Aborted => return Ran::Aborted,
            Told::Lost(ending) => {
                // Killed since its time was over: it had all of it.
                let had_all = ending == Ending::LimitHit(LimitKind::Wall);
                let run = if had_all { limits.wall.min(at.elapsed()) } else { Duration::ZERO };
                return Ran::Over(RunReport { run, ..RunReport::without_run(ending) });
            }
        };
        let run = Duration::from_nanos(ended.run_ns).min(at.elapsed());
        self.held.ran(job.execution.module, run);
        match hold(shared, job, at, run) {
            Some(run) => {
                let labels = Labels::of_output(&read_by(shared, job));
                Ran::Over(report(shared, ended, run, output, &limits, job.execution.keep_output, labels))
            }
            None => Ran::Aborted,
        }
    }

    /// The order, and the files that go with it.
    fn order(
        &mut self,
        artifact: &Artifact,
        job: &Job,
        limits: &Limits,
        inputs: Vec<Piece>,
        open: &[RawFd],
    ) -> (Order, Vec<RawFd>) {
        let execution = &job.execution;
        let place = self.held.place(execution.module);
        self.runs += 1;
        let code = place.load.then(|| artifact.file.as_raw_fd());
        let run = Run {
            number: self.runs,
            module: place.number,
            load: place.load,
            drop: place.drop,
            task: execution.attempt.task,
            is_compared: execution.is_compared,
            args: execution.args.clone(),
            inputs,
            memory_bytes: limits.memory_bytes,
            wall: limits.wall,
            output_bytes: limits.output_bytes,
        };
        (Order::Run(Box::new(run)), code.into_iter().chain(open.iter().copied()).collect())
    }

    /// Waits for the answer, for as long as there is reason to.
    fn listen(&mut self, shared: &Shared, job: &Job, limits: &Limits, started: Instant) -> Told {
        let output_max = usize::try_from(limits.output_bytes).unwrap_or(usize::MAX);
        let mut output = Vec::new();
        let mut stop_by = started + limits.wall + GRACE;
        let mut aborted = false;
        loop {
            // Also between packets: a worker could go on sending for ever.
            let now = Instant::now();
            if !aborted && job.control.is_aborted() {
                aborted = true;
                stop_by = stop_by.min(now + GRACE);
            }
            if now >= stop_by || shared.is_closing() {
                self.worker.kill();
                // Its time is over, whatever it did with it.
                return if aborted { Told::Aborted } else { Told::Lost(Ending::LimitHit(LimitKind::Wall)) };
            }
            match self.worker.hear::<Answer>() {
                Ok(Heard::Bytes(part)) if output.len() + part.len() <= output_max => output.extend_from_slice(part),
                Ok(Heard::Words(Answer::Ended(mut ended))) => {
                    output.append(&mut ended.output);
                    if output.len() > output_max {
                        return self.liar("more output than it may");
                    }
                    return Told::Ended(ended, output);
                }
                Ok(Heard::Words(Answer::Aborted)) if job.control.is_aborted() => return Told::Aborted,
                Ok(Heard::Words(Answer::Unloadable(why))) => {
                    let module = job.execution.module;
                    tracing::warn!(%module, why, "compiled code is of no use: it is compiled again when it is next wanted");
                    shared.modules.forget(module);
                    self.held.forget(module);
                    return Told::Lost(Ending::HostFailed("its compiled code cannot be used here".to_owned()));
                }
                Ok(Heard::Bytes(_)) => return self.liar("more output than it may"),
                Ok(Heard::Words(Answer::Aborted)) => return self.liar("that it was stopped, which nobody asked for"),
                Err(LineError::Nothing) => {}
                Err(LineError::Garbled) => return self.liar("what nobody understands"),
                Err(LineError::Closed) => {
                    let how = self.worker.obituary();
                    return lost(format!("its worker process failed: {how}"));
                }
                Err(LineError::System(error)) => {
                    self.worker.kill();
                    return lost(format!("its worker cannot be heard: {error}"));
                }
            }
        }
    }

    fn liar(&mut self, what: &str) -> Told {
        self.worker.kill();
        lost(format!("its worker process answered {what}, and was ended"))
    }
}

/// What a run may take here.
fn limits(shared: &Shared, job: &Job) -> Limits {
    let mut limits = job.execution.limits;
    limits.memory_bytes = limits.memory_bytes.min(shared.config.memory_bytes_max);
    limits.wall = limits.wall.min(WALL_MAX);
    limits
}

fn lost(why: String) -> Told {
    tracing::warn!(why, "a worker is lost");
    Told::Lost(Ending::HostFailed(why))
}

/// A file that a worker reads from.
#[derive(Debug)]
enum Open {
    Memory(File),
    /// The blob stays while it is open.
    Blob(BlobReader),
}

impl Open {
    /// The file, and how a worker is to read it: a sealed one is opened by the worker, so that what is in it is nowhere but in the
    /// memory of the task.
    fn lend(&self) -> std::io::Result<(RawFd, Piece)> {
        match self {
            Self::Memory(file) => Ok((file.as_raw_fd(), Piece::File)),
            Self::Blob(reader) => {
                let (file, key) = reader.lend()?;
                Ok((file, key.map_or(Piece::File, Piece::Sealed)))
            }
        }
    }
}

/// Standard input, as a worker gets it.
struct Inputs {
    pieces: Vec<Piece>,
    files: Vec<RawFd>,
    /// What keeps them open.
    open: Vec<Open>,
}

impl Inputs {
    fn open(shared: &Shared, inputs: &[Payload]) -> Result<Self, String> {
        let mut opened = Self { pieces: Vec::with_capacity(inputs.len()), files: Vec::new(), open: Vec::new() };
        let mut room = ALONG_BYTES_MAX;
        for input in inputs {
            let open = match input {
                Payload::Inline(bytes) if bytes.len() <= room => {
                    room -= bytes.len();
                    opened.pieces.push(Piece::Inline(bytes.to_vec()));
                    continue;
                }
                Payload::Inline(bytes) => {
                    Open::Memory(memory_file::sealed(c"input", bytes).map_err(|error| error.to_string())?)
                }
                Payload::Blob(blob) => Open::Blob(shared.blobs.open_read(blob.id).map_err(|error| error.to_string())?),
            };
            let (file, piece) = open.lend().map_err(|error| error.to_string())?;
            opened.pieces.push(piece);
            opened.files.push(file);
            opened.open.push(open);
        }
        Ok(opened)
    }
}

/// What is said of everything that a run read: by its home, and by the manifests of what was here.
fn read_by(shared: &Shared, job: &Job) -> Labels {
    let execution = &job.execution;
    let inputs = execution.inputs.iter().filter_map(Payload::blob).map(|blob| blob.id);
    let mut labels = execution.labels.clone();
    for blob in inputs.chain([execution.module]) {
        labels.join(&shared.blobs.labels(blob));
    }
    labels
}

fn report(
    shared: &Shared,
    ended: Ended,
    run: Duration,
    output: Vec<u8>,
    limits: &Limits,
    stays: bool,
    labels: Labels,
) -> RunReport {
    let Ended { ending, mut log, run_ns: _, memory_bytes, output: _ } = ended;
    log.drain(..log.len().saturating_sub(LOG_BYTES_MAX));
    let memory_bytes = memory_bytes.min(limits.memory_bytes);
    let (ending, output) = match keep_output(shared, output, stays, &labels) {
        Ok(output) => (shortened(ending), output),
        Err(error) => (Ending::HostFailed(format!("cannot store its output: {error}")), Payload::inline(Vec::new())),
    };
    RunReport { ending, output, log, run, memory_bytes, labels }
}

/// Small output rides along; larger output, and any that is to stay, is stored here, where whoever wants it can fetch it.
fn keep_output(shared: &Shared, output: Vec<u8>, stays: bool, labels: &Labels) -> Result<Payload, BlobError> {
    if output.len() as u64 <= INLINE_BYTES_MAX && !stays {
        return Ok(Payload::inline(output));
    }
    let stored = shared.blobs.put_labelled(&output, labels)?;
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

fn shortened(ending: Ending) -> Ending {
    let short = |why: String| why.chars().take(REASON_CHARS_MAX).collect();
    match ending {
        Ending::Trapped(why) => Ending::Trapped(short(why)),
        Ending::Invalid(why) => Ending::Invalid(short(why)),
        Ending::HostFailed(why) => Ending::HostFailed(short(why)),
        Ending::Exited(_) | Ending::LimitHit(_) => ending,
    }
}

fn host_failed(why: String) -> Ran {
    Ran::Over(RunReport::without_run(Ending::HostFailed(why)))
}
