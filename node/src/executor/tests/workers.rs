//! Workers that die, hang or lie: the run ends with a reason, the daemon goes on, and so does the next run.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use shoal_protocol::api::SandboxPart;
use shoal_protocol::cbor;
use shoal_protocol::config::INLINE_BYTES_MAX;
use shoal_protocol::task::report::{Ending, LimitKind, RunReport};
use shoal_protocol::task::spec::{BlobRef, Payload};

use super::super::line::{Kind, Line, PACKET_BYTES_MAX};
use super::super::words::{Answer, Begin, Ended, Order, Ready};
use super::super::{Executor, ExecutorConfig, ExecutorError, WorkerProgram};
use super::fixtures::{DEADLINE, ECHO, ENDLESS, EXIT_7, NOOP, PEER, Sandbox, sleep_ms};
use crate::blobs::BlobStore;

#[track_caller]
fn assert_host_failed(ending: &Ending, reason: &str) {
    let Ending::HostFailed(why) = ending else { panic!("{ending:?}") };
    assert!(why.contains(reason), "{why}");
}

/// A signal takes its time: until it has come to every worker, these may still answer, or take an order.
fn signal(sandbox: &Sandbox, signal: Signal, is_heeded: impl Fn(&str) -> bool) {
    let workers = sandbox.workers();
    sandbox.signal_workers(signal);
    let status = |worker: &Pid| std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap_or_default();
    let deadline = Instant::now() + DEADLINE;
    while !workers.iter().all(|worker| is_heeded(&status(worker))) {
        assert!(Instant::now() < deadline, "a worker does not heed {signal}");
        std::thread::yield_now();
    }
}

fn freeze(sandbox: &Sandbox) {
    signal(sandbox, Signal::SIGSTOP, |status| status.contains("State:\tT"));
}

#[test]
fn a_worker_that_is_killed_fails_its_run_and_is_replaced() {
    let sandbox = Sandbox::new();
    let running = sandbox.execute(ENDLESS, |_| {});
    sandbox.wait_until_running(running);

    sandbox.signal_workers(Signal::SIGKILL);

    assert_host_failed(&sandbox.report_of(running).ending, "SIGKILL");
    assert_eq!(sandbox.run(EXIT_7, |_| {}).ending, Ending::Exited(7));
    assert_eq!(sandbox.executor.workers_lost(), 1);
}

#[test]
fn a_worker_that_dies_while_it_is_idle_costs_no_run() {
    // The second one has been given the same module before, and gets its order at once.
    for (module, code) in [(NOOP, 0), (EXIT_7, 7)] {
        let sandbox = Sandbox::new();
        assert_eq!(sandbox.run(EXIT_7, |_| {}).ending, Ending::Exited(7));

        // Its connection is closed with the last of its threads.
        signal(&sandbox, Signal::SIGKILL, |status| status.contains("State:\tZ") && status.contains("Threads:\t1"));

        assert_eq!(sandbox.run(module, |_| {}).ending, Ending::Exited(code));
        assert_eq!(sandbox.executor.workers_lost(), 1);
    }
}

#[test]
fn a_worker_that_does_not_answer_is_killed_when_its_time_is_over() {
    let sandbox = Sandbox::new();
    let running = sandbox.execute(ENDLESS, |execution| execution.limits.wall = Duration::from_secs(2));
    sandbox.wait_until_running(running);

    freeze(&sandbox);

    assert_eq!(sandbox.report_of(running).ending, Ending::LimitHit(LimitKind::Wall));
    assert_eq!(sandbox.run(EXIT_7, |_| {}).ending, Ending::Exited(7));
}

#[test]
fn a_worker_that_does_not_stop_is_killed_and_nothing_is_reported() {
    let sandbox = Sandbox::new();
    let running = sandbox.execute(&sleep_ms(60_000), |_| {});
    sandbox.wait_until_running(running);
    freeze(&sandbox);

    sandbox.executor.abort(running);

    assert_eq!(sandbox.run(EXIT_7, |_| {}).ending, Ending::Exited(7));
    assert!(sandbox.events().is_empty());
}

#[test]
fn the_processor_time_of_workers_is_known() {
    let sandbox = Sandbox::new();
    let before = sandbox.executor.cpu_time();
    let running = sandbox.execute(ENDLESS, |_| {});
    let deadline = Instant::now() + DEADLINE;

    while sandbox.executor.cpu_time() < before + Duration::from_millis(20) {
        assert!(Instant::now() < deadline, "no processor time was counted");
        std::thread::yield_now();
    }

    sandbox.executor.abort(running);
}

#[test]
fn no_worker_outlives_its_executor() {
    let mut sandbox = Sandbox::new();
    let running = sandbox.execute(ENDLESS, |_| {});
    sandbox.wait_until_running(running);
    let workers = sandbox.workers();

    sandbox.restart();

    let now = sandbox.workers();
    assert!(!workers.is_empty() && workers.iter().all(|worker| !now.contains(worker)), "{workers:?} {now:?}");
}

#[test]
fn input_reaches_a_worker_whole_whichever_way_it_goes() {
    let sandbox = Sandbox::new();
    let bytes = |count: usize, from: usize| (from..from + count).map(|at| (at % 251) as u8).collect::<Vec<u8>>();
    for count in [0, 1, 16 * 1024, 16 * 1024 + 1, 32 * 1024, 32 * 1024 + 1, 100_000, INLINE_BYTES_MAX as usize] {
        // Along with the order, in memory, and from disk, in one stream.
        let stored = sandbox.blobs.put(&bytes(1_000, 7)).unwrap();
        let report = sandbox.run(ECHO, |execution| {
            execution.inputs = vec![
                Payload::inline(bytes(count, 0)),
                Payload::Blob(BlobRef { id: stored.id, bytes: stored.bytes, holder: PEER }),
                Payload::inline(b"end".to_vec()),
            ];
        });

        assert_eq!(report.ending, Ending::Exited(0), "{count}");
        let output = match report.output {
            Payload::Inline(output) => output.to_vec(),
            Payload::Blob(blob) => sandbox.blobs.read(blob.id).unwrap().to_vec(),
        };
        assert!(output == [bytes(count, 0), bytes(1_000, 7), b"end".to_vec()].concat(), "{count}: {}", output.len());
    }
}

#[test]
fn one_worker_runs_more_modules_than_it_holds() {
    let sandbox = Sandbox::new();
    let module = |code: u32| {
        format!(
            "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))
            (func (export \"_start\") (call $exit (i32.const {code}))))"
        )
    };

    // The second time some are still held, and some are loaded again.
    for code in (0..20).chain(0..20) {
        assert_eq!(sandbox.run(&module(code), |_| {}).ending, Ending::Exited(code));
    }
    assert_eq!(sandbox.executor.workers_lost(), 0);
}

#[test]
fn features_that_nobody_needs_are_off() {
    let sandbox = Sandbox::new();
    for (module, feature) in [
        ("(module (func $f (export \"_start\") return_call $f))", "tail calls"),
        ("(module (memory 1) (memory 1) (func (export \"_start\")))", "multiple memories"),
        ("(module (memory 1 1 shared) (func (export \"_start\")))", "threads"),
        ("(module (type (struct)) (func (export \"_start\")))", "gc"),
    ] {
        let reason = sandbox.prepare(module).unwrap_err();
        assert!(reason.starts_with("the module cannot be run"), "{feature}: {reason}");
    }
}

#[test]
fn without_a_worker_the_executor_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = BlobStore::open(&dir.path().join("blobs"), 1 << 20).unwrap();
    let worker = WorkerProgram { path: "/bin/false".into(), arguments: Vec::new() };
    let config = ExecutorConfig { worker, ..ExecutorConfig::new(PEER, dir.path().join("compiled")) };

    let error = Executor::start(config, blobs, |_| ()).unwrap_err();

    assert!(matches!(&error, ExecutorError::Worker(why) if why.contains("exit code")), "{error}");
}

/// A worker that was broken into: it gets ready, compiles what it is given to nonsense, and answers each order with the lie
/// that the task's first argument names.
#[test]
#[ignore = "it is a worker that lies, which only the test below starts"]
fn this_process_as_a_liar() {
    let stdin = std::io::stdin();
    let Ok(end) = std::os::fd::AsFd::as_fd(&stdin).try_clone_to_owned() else { return };
    let line = Line::of(end);
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    let Ok(packet) = line.receive(&mut buffer) else { return };
    let begin: Begin = cbor::decode(packet.body).unwrap();
    let parts = vec![SandboxPart { name: "files".into(), enforced: false, detail: "a liar".into() }];
    let say = |words: Vec<u8>| line.send(Kind::Words, &words, &[]).is_ok();
    say(cbor::encode(&Ready { settings: [0; 32], parts }));
    if matches!(begin, Begin::Compile) {
        let _ = line.receive(&mut buffer);
        line.send(Kind::Bytes, b"no code at all", &[]).unwrap();
        say(cbor::encode(&super::super::words::Compiled::Whole));
    }
    while let Ok(packet) = line.receive(&mut buffer) {
        let Ok(Order::Run(order)) = cbor::decode(packet.body) else { continue };
        let ended = |ending| Ended {
            ending,
            output: Vec::new(),
            log: vec![b'l'; 40_000],
            run_ns: u64::MAX,
            memory_bytes: u64::MAX,
        };
        let told = match order.args[0].as_str() {
            "noise" => say(vec![0xff; 100]),
            "flood" => std::iter::repeat_with(|| line.send(Kind::Bytes, &[0; 60_000], &[])).all(|sent| sent.is_ok()),
            "stopped" => say(cbor::encode(&Answer::Aborted)),
            "no code" => say(cbor::encode(&Answer::Unloadable("x".repeat(10_000)))),
            "short" => say(cbor::encode(&Answer::Ended(Ended { run_ns: 1, ..ended(Ending::Exited(0)) }))),
            "exaggeration" => say(cbor::encode(&Answer::Ended(ended(Ending::Trapped("t".repeat(20_000)))))),
            _ => std::process::exit(3),
        };
        if !told {
            break;
        }
    }
    std::process::exit(0);
}

#[test]
fn lies_of_a_worker_end_the_run_and_change_nothing_else() {
    let mut sandbox = Sandbox::new();
    sandbox.config.worker.arguments[0] = "executor::tests::workers::this_process_as_a_liar".into();
    sandbox.restart();
    assert!(sandbox.executor.sandbox().iter().any(|part| !part.enforced), "what it lacks is told");
    let told = |lie: &str| sandbox.run(NOOP, |execution| execution.args = vec![lie.into()]);

    // The end of a run that follows a short one is heard by who gave the order.
    let told_soon = |lie: &str| {
        assert_eq!(told("short").ending, Ending::Exited(0));
        told(lie)
    };

    for told in [&told as &dyn Fn(&str) -> RunReport, &told_soon] {
        assert_host_failed(&told("noise").ending, "what nobody understands");
        assert_host_failed(&told("flood").ending, "more output than it may");
        assert_host_failed(&told("stopped").ending, "that it was stopped");
        assert_host_failed(&told("no code").ending, "cannot be used");
        assert_host_failed(&told("exit").ending, "exit code 3");
    }

    let report = told("exaggeration");
    let Ending::Trapped(reason) = &report.ending else { panic!("{:?}", report.ending) };
    assert_eq!((reason.len(), report.log.len()), (1_024, shoal_protocol::config::LOG_BYTES_MAX));
    assert!(report.run < Duration::from_secs(60), "{:?}", report.run);
    assert!(report.memory_bytes <= sandbox.config.memory_bytes_max);
}
