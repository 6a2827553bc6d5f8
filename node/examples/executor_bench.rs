//! Times the sandbox alone: from handing a run over to having its report, warm, one at a time.
//!
//! `cargo run --release -p shoal-node --example executor_bench [-- MODULE.wasm]` also times that module on 1 kB of words.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shoal_node::blobs::BlobStore;
use shoal_node::executor::{Executor, ExecutorConfig, ExecutorEvent, worker};
use shoal_node::load_sampler::LoadSampler;
use shoal_node::speed::core_speed_blocking;
use shoal_protocol::id::{BlobId, PeerId, TaskId};
use shoal_protocol::message::TaskRef;
use shoal_protocol::output::Execution;
use shoal_protocol::task::report::Ending;
use shoal_protocol::task::spec::{Limits, Payload};

type Failure = Box<dyn std::error::Error>;

const RUNS: u32 = 20_000;
const PEER: PeerId = PeerId([1; 32]);
const NOOP: &str = "(module (func (export \"_start\")))";
/// Reads all input and counts where a word ends; writes nothing.
const COUNT_WORDS: &str = "(module
    (import \"wasi_snapshot_preview1\" \"fd_read\" (func $read (param i32 i32 i32 i32) (result i32)))
    (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export \"memory\") 4)
    (func (export \"_start\") (local $at i32) (local $words i32) (local $in i32)
        (loop $more
            (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 65536))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (local.set $at (i32.const 0))
            (loop $byte (if (i32.lt_u (local.get $at) (i32.load (i32.const 8))) (then
                (if (i32.gt_u (i32.load8_u offset=1024 (local.get $at)) (i32.const 32))
                    (then (local.set $words (i32.add (local.get $words) (i32.eqz (local.get $in)))) (local.set $in (i32.const 1)))
                    (else (local.set $in (i32.const 0))))
                (local.set $at (i32.add (local.get $at) (i32.const 1))) (br $byte))))
            (br_if $more (i32.load (i32.const 8))))
        (i32.store (i32.const 16) (local.get $words))
        (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 4))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))))";

fn main() -> Result<(), Failure> {
    // The sandbox's workers are this program too, and end here.
    if let Some(ended) = worker::run_if_asked() {
        std::process::exit(i32::from(ended != std::process::ExitCode::SUCCESS));
    }
    let dir = tempfile::tempdir()?;
    println!("{:28} {:>10.2}", "core speed (reference 1)", core_speed_blocking(dir.path()));
    println!("{:28} {:>10}", "resident at start, kB", resident_kb());
    let blobs = BlobStore::open(&dir.path().join("blobs"), 1 << 30)?;
    let (sender, events) = channel();
    let began = Instant::now();
    let mut config = ExecutorConfig::new(PEER, dir.path().join("compiled"));
    config.threads = 2;
    let executor = Executor::start(config, blobs.clone(), move |event| drop(sender.send(event)))?;
    println!("{:28} {:>10.1?}", "executor started in", began.elapsed());
    println!("{:28} {:>10}", "resident, idle executor, kB", resident_kb());

    let words: Vec<u8> = b"tide reef shoal kelp ".iter().copied().cycle().take(1_000).collect();
    println!("{:28} {:>10} {:>10} {:>10}", "µs", "min", "p50", "p99");
    let noop = prepare(&executor, &blobs, &events, &wat::parse_str(NOOP)?)?;
    time("empty command", &executor, &events, noop, &[])?;
    let count = prepare(&executor, &blobs, &events, &wat::parse_str(COUNT_WORDS)?)?;
    time("count words of 1 kB", &executor, &events, count, &words)?;
    let many: Vec<u8> = words.iter().copied().cycle().take(100_000).collect();
    time("count words of 100 kB", &executor, &events, count, &many)?;
    if let Some(path) = std::env::args_os().nth(1) {
        let given = prepare(&executor, &blobs, &events, &std::fs::read(path)?)?;
        time("given module on 1 kB", &executor, &events, given, &words)?;
    }
    throughput(&executor, &events, noop)?;
    aborts(&executor, &blobs, &events, noop)?;
    println!("{:28} {:>10}", "resident after, kB", resident_kb());
    memory_of_workers();
    replacements(&executor, &events, noop)?;

    let idle_before = cpu_ticks();
    std::thread::sleep(Duration::from_secs(3));
    println!("{:28} {:>10}", "idle CPU in 3 s, 10 ms ticks", cpu_ticks() - idle_before);

    let mut sampler = LoadSampler::new()?;
    let began = Instant::now();
    let samples: Vec<_> = (0..200).map(|_| sampler.sample(executor.cpu_time())).collect();
    println!("{:28} {:>10.1?}  {:?}", "one load sample", began.elapsed() / 200, samples.last());
    Ok(())
}

/// What each worker takes beside the pages of the program and of compiled code, which all share.
fn memory_of_workers() {
    for worker in workers() {
        let rollup = std::fs::read_to_string(format!("/proc/{worker}/smaps_rollup")).unwrap_or_default();
        let kb = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown");
            line.trim().to_owned()
        };
        println!("{:28} {:>10} of {} resident", "a worker's own, dirty", kb("Private_Dirty:"), kb("Rss:"));
    }
}

/// From the death of every worker to the report of the first run after it: a new process, locked down, and the module
/// loaded into it.
fn replacements(executor: &Executor, events: &Receiver<ExecutorEvent>, noop: BlobId) -> Result<(), Failure> {
    let mut times = Vec::new();
    for number in 0..200 {
        for worker in workers() {
            // One may have ended since it was listed.
            let _ = kill(worker, Signal::SIGKILL);
        }
        let began = Instant::now();
        executor.execute(execution(number, noop, &[]));
        match events.recv()? {
            ExecutorEvent::Finished { report, .. } if report.ending == Ending::Exited(0) => times.push(began.elapsed()),
            // Told to run just before it died: the thread has replaced it already.
            ExecutorEvent::Finished { .. } => {}
            event => return Err(format!("{event:?}").into()),
        }
    }
    println!("{:28} {:>10} of 200", "replacements", times.len());
    print("worker replaced and run", times);
    Ok(())
}

/// Children of this process.
fn workers() -> Vec<Pid> {
    let children = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).ok();
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let text = tasks.filter_map(children).collect::<Vec<_>>().join(" ");
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

fn prepare(
    executor: &Executor,
    blobs: &BlobStore,
    events: &Receiver<ExecutorEvent>,
    wasm: &[u8],
) -> Result<BlobId, Failure> {
    let id = blobs.put(wasm)?.id;
    executor.prepare(id);
    match events.recv()? {
        ExecutorEvent::Prepared { result, .. } => println!("{:28} {:>10.1?}", "prepared in", result?),
        event @ ExecutorEvent::Finished { .. } => return Err(format!("{event:?}").into()),
    }
    Ok(id)
}

fn time(
    what: &str,
    executor: &Executor,
    events: &Receiver<ExecutorEvent>,
    module: BlobId,
    input: &[u8],
) -> Result<(), Failure> {
    let mut whole = Vec::new();
    let mut inside = Vec::new();
    for number in 0..RUNS {
        let began = Instant::now();
        executor.execute(execution(number, module, input));
        let ExecutorEvent::Finished { report, .. } = events.recv()? else { return Err("not a run".into()) };
        whole.push(began.elapsed());
        if report.ending != Ending::Exited(0) {
            return Err(format!("{:?}", report.ending).into());
        }
        inside.push(report.run);
    }
    print(what, whole);
    print("  of which the run itself", inside);
    Ok(())
}

fn throughput(executor: &Executor, events: &Receiver<ExecutorEvent>, module: BlobId) -> Result<(), Failure> {
    // A run that failed is quick and would flatter the figure, so each ending is looked at.
    let finish = || match events.recv()? {
        ExecutorEvent::Finished { report, .. } if report.ending == Ending::Exited(0) => Ok(()),
        event => Err::<(), Failure>(format!("{event:?}").into()),
    };
    for _ in 0..5 {
        let began = Instant::now();
        for number in 0..RUNS {
            executor.execute(execution(number, module, &[]));
            if number >= 64 {
                finish()?;
            }
        }
        for _ in 0..64 {
            finish()?;
        }
        println!("{:28} {:>10.0}", "runs a second, 64 in flight", f64::from(RUNS) / began.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The times have two humps on a busy machine, so their median says little; look at the tail.
/// From the abort of endless runs on every thread to the report of an empty command that waited behind them.
fn aborts(
    executor: &Executor,
    blobs: &BlobStore,
    events: &Receiver<ExecutorEvent>,
    noop: BlobId,
) -> Result<(), Failure> {
    let endless = wat::parse_str("(module (func (export \"_start\") (loop br 0)))")?;
    let endless = prepare(executor, blobs, events, &endless)?;
    let mut times = Vec::new();
    for number in 0..50 {
        let runs = [2 * number, 2 * number + 1].map(|number| execution(number, endless, &[]));
        runs.iter().for_each(|run| executor.execute(run.clone()));
        // Another moment between two ticks of the epoch each time.
        std::thread::sleep(Duration::from_millis(20) + Duration::from_micros(100) * number);
        let began = Instant::now();
        runs.iter().for_each(|run| executor.abort(run.attempt));
        executor.execute(execution(1_000 + number, noop, &[]));
        match events.recv()? {
            ExecutorEvent::Finished { report, .. } if report.ending == Ending::Exited(0) => {}
            event => return Err(format!("{event:?}").into()),
        }
        times.push(began.elapsed());
    }
    print("abort to next run's report", times);
    Ok(())
}

fn execution(number: u32, module: BlobId, input: &[u8]) -> Execution {
    let attempt = TaskRef { task: TaskId::derive(PEER, &number.to_le_bytes()), epoch: 0 };
    let inputs = vec![Payload::inline(input.to_vec())];
    Execution {
        attempt,
        module,
        args: Vec::new(),
        inputs,
        limits: Limits::default(),
        labels: Default::default(),
        keep_output: false,
        is_compared: false,
    }
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1e6;
    println!("{what:28} {:>10.1} {:>10.1} {:>10.1}", at(0), at(50), at(99));
}

fn resident_kb() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("unknown");
    line.trim().to_owned()
}

/// User and system time of this process, in the kernel's ticks of 10 ms.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}
