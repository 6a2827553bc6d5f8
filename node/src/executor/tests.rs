//! The sandbox as its driver sees it: a module and an execution in, a report out.

mod fixtures;
mod hostile;
mod workers;

use std::time::{Duration, Instant};

use shoal_protocol::config::{INLINE_BYTES_MAX, LOG_BYTES_MAX};
use shoal_protocol::id::{BlobId, TaskId};
use shoal_protocol::message::TaskRef;
use shoal_protocol::task::report::{Ending, LimitKind};
use shoal_protocol::task::spec::{BlobRef, Limits, Payload};

use super::ExecutorEvent;
use fixtures::{DEADLINE, ECHO, ENDLESS, NOOP, PEER, Sandbox};

/// What [`super::WorkerProgram`] starts in these tests: the test program has no `main` of ours.
#[test]
#[ignore = "it is a worker, which only the executor starts"]
fn this_process_as_a_worker() {
    let stdin = nix::sys::stat::fstat(std::io::stdin()).unwrap();
    if stdin.st_mode & nix::libc::S_IFMT != nix::libc::S_IFSOCK {
        return;
    }
    let ended = super::worker::serve();

    // Nothing that the test runner still wants to do is allowed in a worker.
    std::process::exit(i32::from(ended != std::process::ExitCode::SUCCESS));
}

#[test]
fn an_empty_command_exits_with_zero() {
    let sandbox = Sandbox::new();

    let report = sandbox.run(NOOP, |_| {});

    assert_eq!(report.ending, Ending::Exited(0));
    assert_eq!(report.output, Payload::inline(Vec::new()));
    assert_eq!(report.log, b"");
}

#[test]
fn input_payloads_are_one_stream() {
    let sandbox = Sandbox::new();
    let stored = sandbox.blobs.put(b"a blob, ").unwrap();

    let report = sandbox.run(ECHO, |execution| {
        execution.inputs = vec![
            Payload::inline(b"inline, ".to_vec()),
            Payload::inline(Vec::new()),
            Payload::Blob(BlobRef { id: stored.id, bytes: stored.bytes, holder: PEER }),
            Payload::inline(b"inline again".to_vec()),
        ];
    });

    assert_eq!(report.ending, Ending::Exited(0));
    assert_eq!(report.output, Payload::inline(b"inline, a blob, inline again".to_vec()));
}

#[test]
fn large_output_is_stored_as_a_blob() {
    let sandbox = Sandbox::new();
    let input: Vec<u8> = (0..INLINE_BYTES_MAX * 5).map(|i| i as u8).collect();
    let stored = sandbox.blobs.put(&input).unwrap();

    let report = sandbox.run(ECHO, |execution| {
        execution.inputs = vec![Payload::Blob(BlobRef { id: stored.id, bytes: stored.bytes, holder: PEER })];
    });

    let expected = BlobRef { id: BlobId::of(&input), bytes: input.len() as u64, holder: PEER };
    assert_eq!((report.ending, report.output), (Ending::Exited(0), Payload::Blob(expected)));
    assert_eq!(sandbox.blobs.read(expected.id).unwrap(), input);
}

#[test]
fn a_missing_input_blob_is_the_hosts_failure() {
    let sandbox = Sandbox::new();

    let report = sandbox.run(ECHO, |execution| {
        execution.inputs = vec![Payload::Blob(BlobRef { id: BlobId::of(b"nowhere"), bytes: 7, holder: PEER })];
    });

    assert!(matches!(report.ending, Ending::HostFailed(_)), "{:?}", report.ending);
}

#[test]
fn arguments_follow_the_program_name() {
    let sandbox = Sandbox::new();

    let report = sandbox.run(fixtures::ARGS, |execution| execution.args = vec!["one".into(), "zwei".into()]);

    assert_eq!(report.output, Payload::inline(b"task\0one\0zwei\0".to_vec()));
}

#[test]
fn the_exit_status_is_reported() {
    let report = Sandbox::new().run(fixtures::EXIT_7, |_| {});

    assert_eq!(report.ending, Ending::Exited(7));
}

#[test]
fn a_trap_is_reported_with_its_reason() {
    let report = Sandbox::new().run("(module (func (export \"_start\") unreachable))", |_| {});

    let Ending::Trapped(reason) = report.ending else { panic!("{:?}", report.ending) };
    assert!(reason.contains("unreachable"), "{reason}");
}

#[test]
fn endless_recursion_traps() {
    let report = Sandbox::new().run("(module (func $f (export \"_start\") call $f))", |_| {});

    let Ending::Trapped(reason) = report.ending else { panic!("{:?}", report.ending) };
    assert!(reason.contains("stack"), "{reason}");
}

#[test]
fn an_endless_loop_hits_the_wall_limit() {
    let report = Sandbox::new().run(ENDLESS, |execution| execution.limits.wall = Duration::from_millis(30));

    assert_eq!(report.ending, Ending::LimitHit(LimitKind::Wall));
    assert!(report.run >= Duration::from_millis(30));
}

#[test]
fn an_endless_start_section_hits_the_wall_limit() {
    let module = "(module (func $s (loop br 0)) (start $s) (func (export \"_start\")))";

    let report = Sandbox::new().run(module, |execution| execution.limits.wall = Duration::from_millis(30));

    assert_eq!(report.ending, Ending::LimitHit(LimitKind::Wall));
}

#[test]
fn a_long_sleep_hits_the_wall_limit() {
    let report = Sandbox::new().run(&fixtures::sleep_ms(60_000), |execution| {
        execution.limits.wall = Duration::from_millis(30);
    });

    assert_eq!(report.ending, Ending::LimitHit(LimitKind::Wall));
}

#[test]
fn a_short_sleep_passes() {
    let report = Sandbox::new().run(&fixtures::sleep_ms(20), |_| {});

    assert_eq!(report.ending, Ending::Exited(0));
    assert!(report.run >= Duration::from_millis(20));
}

#[test]
fn an_aborted_run_stops_and_is_not_reported() {
    for module in [ENDLESS, &fixtures::sleep_ms(60_000)] {
        let sandbox = Sandbox::new();
        let running = sandbox.execute(module, |_| {});
        sandbox.wait_until_running(running);

        sandbox.executor.abort(running);

        // The one worker takes the next run only when the aborted one has stopped.
        let report = sandbox.run(NOOP, |_| {});
        assert_eq!(report.ending, Ending::Exited(0));
        assert!(sandbox.events().is_empty());
    }
}

#[test]
fn an_aborted_run_in_the_queue_never_starts() {
    let sandbox = Sandbox::new();
    let running = sandbox.execute(ENDLESS, |_| {});
    let queued = sandbox.execute(NOOP, |_| {});

    sandbox.executor.abort(queued);
    sandbox.executor.abort(running);

    let report = sandbox.run(fixtures::EXIT_7, |_| {});
    assert_eq!(report.ending, Ending::Exited(7));
    assert!(sandbox.events().is_empty());
}

#[test]
fn growing_beyond_the_memory_limit_is_not_a_trap_of_the_modules_own() {
    let grow = "(module (memory (export \"memory\") 1) (func (export \"_start\")
        (loop (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br 0))))";

    let report = Sandbox::new().run(grow, |execution| execution.limits.memory_bytes = 4 << 20);

    assert_eq!(report.ending, Ending::LimitHit(LimitKind::Memory));
    assert!(report.memory_bytes > 2 << 20 && report.memory_bytes <= 4 << 20, "{}", report.memory_bytes);
}

#[test]
fn a_refused_growth_that_the_module_copes_with_is_no_failure() {
    let grow = "(module (memory (export \"memory\") 1) (func (export \"_start\")
        (drop (memory.grow (i32.const 1000)))))";

    let report = Sandbox::new().run(grow, |execution| execution.limits.memory_bytes = 1 << 20);

    assert_eq!(report.ending, Ending::Exited(0));
    assert_eq!(report.memory_bytes, 65_536);
}

#[test]
fn a_module_that_declares_all_memory_hits_its_limit() {
    let report = Sandbox::new().run("(module (memory (export \"memory\") 65536) (func (export \"_start\")))", |_| {});

    assert_eq!(report.ending, Ending::LimitHit(LimitKind::Memory));
}

#[test]
fn memory_that_is_declared_but_not_touched_costs_nothing() {
    let module = "(module (memory (export \"memory\") 65536) (func (export \"_start\")
        (i32.store (i32.const -4) (i32.const 1))))";

    let report = Sandbox::new().run(module, |execution| execution.limits.memory_bytes = 4 << 30);

    assert_eq!(report.ending, Ending::Exited(0));
    assert_eq!(report.memory_bytes, 4 << 30);
}

#[test]
fn a_flood_of_output_hits_its_limit_and_its_beginning_is_kept() {
    let report = Sandbox::new().run(fixtures::FLOOD_STDOUT, |execution| execution.limits.output_bytes = 10_000);

    assert_eq!(report.ending, Ending::LimitHit(LimitKind::Output));
    assert_eq!(report.output, Payload::inline(vec![b'x'; 10_000]));
}

#[test]
fn the_end_of_standard_error_is_kept() {
    let input: Vec<u8> = (0..3 * LOG_BYTES_MAX).map(|i| i as u8).collect();

    let report = Sandbox::new().run(fixtures::ECHO_TO_STDERR, |execution| {
        execution.inputs = vec![Payload::inline(input.clone())];
    });

    assert_eq!(report.ending, Ending::Exited(0));
    assert_eq!(report.log, input[2 * LOG_BYTES_MAX..]);
}

#[test]
fn random_numbers_follow_from_the_task() {
    let sandbox = Sandbox::new();
    let run = |task: u8, epoch| {
        let report = sandbox.run(fixtures::RANDOM, |execution| {
            execution.attempt = TaskRef { task: TaskId([task; 16]), epoch };
        });
        let Payload::Inline(bytes) = report.output else { panic!("32 bytes are small") };
        assert_eq!(bytes.len(), 32);
        bytes
    };

    assert_eq!(run(1, 0), run(1, 1));
    assert_ne!(run(1, 2), run(2, 0));
}

#[test]
fn modules_that_cannot_run_say_why() {
    let sandbox = Sandbox::new();
    let functions = "(func)".repeat(10_001);
    let large = format!("(module (func (export \"_start\") {}))", "nop ".repeat(600_000));
    for (module, reason) in [
        ("(module)".to_owned(), "_start"),
        ("(module (func (export \"_start\") (param i32)))".to_owned(), "_start"),
        ("(module (global (export \"_start\") i32 (i32.const 0)))".to_owned(), "_start"),
        ("(module (import \"env\" \"system\" (func)) (func (export \"_start\")))".to_owned(), "`env.system`"),
        (
            "(module (import \"wasi_snapshot_preview1\" \"fd_open\" (func)) (func (export \"_start\")))".to_owned(),
            "fd_open",
        ),
        (
            "(module (import \"wasi_snapshot_preview1\" \"fd_read\" (func)) (func (export \"_start\")))".to_owned(),
            "fd_read",
        ),
        (
            "(module (import \"wasi_snapshot_preview1\" \"fd_read\" (memory 1)) (func (export \"_start\")))".to_owned(),
            "fd_read",
        ),
        ("(module (memory i64 1) (func (export \"_start\")))".to_owned(), "memory64"),
        ("(module (table 100000 funcref) (func (export \"_start\")))".to_owned(), "table"),
        (format!("(module {functions} (func (export \"_start\")))"), "10002 functions"),
        (large, "function"),
        ("(component)".to_owned(), "component"),
    ] {
        let reason_given = sandbox.prepare(&module).unwrap_err();
        assert!(reason_given.contains(reason), "{reason_given}");
        assert!(reason_given.starts_with("the module cannot be run"), "{reason_given}");
    }
    for bytes in [&b""[..], b"#!/bin/sh", b"\0asm", b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f"] {
        let id = sandbox.blobs.put(bytes).unwrap().id;
        let reason = sandbox.prepare_id(id).unwrap_err();
        assert!(reason.contains("not a WebAssembly module"), "{reason}");
    }
}

#[test]
fn a_corrupt_module_is_not_compiled() {
    let sandbox = Sandbox::new();
    let id = sandbox.store(NOOP);
    std::fs::write(sandbox.blob_file(id), wat::parse_str(fixtures::EXIT_7).unwrap()).unwrap();

    assert!(sandbox.prepare_id(id).unwrap_err().contains("corrupt"));
    assert_eq!(sandbox.blobs.stat(id), None);
}

#[test]
fn deeply_nested_code_does_not_exhaust_the_compiler() {
    let depth = 20_000;
    let nested = format!("(module (func (export \"_start\") {} {}))", "block ".repeat(depth), "end ".repeat(depth));
    let sums = format!(
        "(module (global $g (mut i32) (i32.const 1)) (func (export \"_start\") (local i32) {} global.set $g))",
        "local.get 0 ".to_owned() + &"global.get $g i32.add ".repeat(30_000)
    );

    for module in [nested, sums] {
        assert_eq!(Sandbox::new().run(&module, |_| {}).ending, Ending::Exited(0));
    }
}

#[test]
fn a_module_over_the_size_limit_is_refused_unread() {
    let sandbox = Sandbox::new();
    let id = sandbox.blobs.put(&vec![0; 16 * 1024 * 1024 + 1]).unwrap().id;

    assert!(sandbox.prepare_id(id).unwrap_err().contains("the limit is"));
}

#[test]
fn running_an_invalid_module_that_was_not_prepared_says_so_too() {
    let report = Sandbox::new().run("(module)", |_| {});

    assert!(matches!(report.ending, Ending::Invalid(_)), "{:?}", report.ending);
}

#[test]
fn a_module_that_is_not_stored_is_the_hosts_failure() {
    let sandbox = Sandbox::new();
    let running = sandbox.execute_id(BlobId::of(b"not here"), |_| {});

    assert!(matches!(sandbox.report_of(running).ending, Ending::HostFailed(_)));
}

#[test]
fn a_compiled_module_survives_a_restart() {
    let mut sandbox = Sandbox::new();
    sandbox.prepare(NOOP).unwrap();
    let id = sandbox.store(NOOP);

    sandbox.restart();
    // Only the compiled form is left.
    sandbox.forget_blobs();

    assert!(!sandbox.executor.is_prepared(id));
    sandbox.prepare_id(id).unwrap();
    assert!(sandbox.executor.is_prepared(id));
    let running = sandbox.execute_id(id, |_| {});
    assert_eq!(sandbox.report_of(running).ending, Ending::Exited(0));
}

#[test]
fn damaged_and_foreign_compiled_modules_are_never_loaded() {
    type Spoil = fn(&mut Sandbox, Vec<u8>) -> Vec<u8>;
    let spoil: [Spoil; 4] = [
        // One bit of the machine code.
        |_, mut file| {
            let last = file.len() - 1;
            file[last] ^= 1;
            file
        },
        // Torn.
        |_, file| file[..file.len() / 2].to_vec(),
        // Another module's artifact under this name, sealed by us.
        |sandbox, _| std::fs::read(sandbox.artifact_of(fixtures::EXIT_7)).unwrap(),
        // Somebody else's, sealed with another secret.
        |_, _| {
            let mut other = Sandbox::new();
            std::fs::read(other.artifact_of(NOOP)).unwrap()
        },
    ];
    for spoil in spoil {
        let mut sandbox = Sandbox::new();
        let path = sandbox.artifact_of(NOOP);
        let whole = std::fs::read(&path).unwrap();
        let spoiled = spoil(&mut sandbox, whole.clone());
        std::fs::write(&path, spoiled).unwrap();

        sandbox.restart();

        assert_eq!(sandbox.run(NOOP, |_| {}).ending, Ending::Exited(0));
        let code = |file: &[u8]| file.len();
        assert_eq!(code(&std::fs::read(&path).unwrap()), code(&whole));
    }
}

#[test]
fn the_cache_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let mut sandbox = Sandbox::new();
    let artifact = sandbox.artifact_of(NOOP);

    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;

    assert_eq!(mode(&sandbox.cache_dir()), 0o700);
    assert_eq!(mode(&artifact), 0o600);
}

/// Neither what a module is nor what it was made into can be seen on the disk, and nothing is left of one that was removed.
#[test]
fn compiled_code_is_sealed_and_goes_with_its_module() {
    let text = "(module (func (export \"_start\") (drop (i64.const 0x1122334455667788))))";
    let mut sandbox = Sandbox::new();
    let artifact = sandbox.artifact_of(text);
    let id = sandbox.store(text);
    let on_disk = std::fs::read(&artifact).unwrap();
    assert!(!on_disk.windows(4).any(|bytes| bytes == b"\x7fELF"), "code as a worker loads it is an ELF file");

    let copy = artifact.with_file_name("copy");
    std::fs::hard_link(&artifact, &copy).unwrap();
    sandbox.executor.forget([id]);
    let end = Instant::now() + DEADLINE;
    while artifact.exists() || sandbox.executor.is_prepared(id) {
        assert!(Instant::now() < end, "it is not forgotten");
        std::thread::yield_now();
    }

    assert_eq!(std::fs::read(&copy).unwrap()[..48], [0; 48], "its nonce is gone");
    sandbox.prepare_id(id).unwrap();
}

#[test]
fn what_the_version_before_compiled_is_removed() {
    let mut sandbox = Sandbox::new();
    let dir = sandbox.cache_dir();
    let clear = dir.join(BlobId::of(b"a key").to_string().trim_start_matches("b3:"));
    std::fs::write(&clear, b"code in the clear").unwrap();
    std::fs::write(dir.join("secret"), [7; 32]).unwrap();

    sandbox.restart();

    assert!(!clear.exists() && !dir.join("secret").exists());
}

#[test]
fn modules_in_memory_are_bounded_and_come_back_from_disk() {
    let mut sandbox = Sandbox::new();
    sandbox.config.loaded_modules_max = 2;
    sandbox.restart();
    let modules: Vec<String> =
        (0..4).map(|i| format!("(module (func (export \"_start\") (drop (i32.const {i}))))")).collect();
    let ids: Vec<BlobId> = modules.iter().map(|module| sandbox.store(module)).collect();

    for module in &modules {
        sandbox.prepare(module).unwrap();
    }

    let in_memory: Vec<bool> = ids.iter().map(|id| sandbox.executor.is_prepared(*id)).collect();
    assert_eq!(in_memory, [false, false, true, true]);
    assert_eq!(sandbox.run(&modules[0], |_| {}).ending, Ending::Exited(0));
}

#[test]
fn a_slowed_peer_holds_the_slot_and_reports_that() {
    let mut sandbox = Sandbox::new();
    sandbox.config.slowdown = 4.0;
    sandbox.restart();

    let report = sandbox.run(&fixtures::sleep_ms(20), |_| {});

    assert_eq!(report.ending, Ending::Exited(0));
    assert!(report.run >= Duration::from_millis(80), "{:?}", report.run);
}

#[test]
fn a_held_slot_can_be_aborted() {
    let mut sandbox = Sandbox::new();
    sandbox.config.slowdown = 1e6;
    sandbox.restart();
    let held = sandbox.execute(&fixtures::sleep_ms(20), |_| {});
    sandbox.wait_until_running(held);

    sandbox.executor.abort(held);
    sandbox.config.slowdown = 1.0;
    sandbox.restart();

    assert_eq!(sandbox.run(NOOP, |_| {}).ending, Ending::Exited(0));
}

#[test]
fn nothing_of_one_run_is_left_for_the_next() {
    let sandbox = Sandbox::new();
    // Writes a byte where the next run of the same module looks for it.
    let module = "(module (memory (export \"memory\") 1) (global $g (mut i32) (i32.const 0))
        (func (export \"_start\")
            (if (i32.or (global.get $g) (i32.load8_u (i32.const 60000))) (then unreachable))
            (global.set $g (i32.const 1)) (i32.store8 (i32.const 60000) (i32.const 1))))";

    for _ in 0..20 {
        assert_eq!(sandbox.run(module, |_| {}).ending, Ending::Exited(0));
    }
}

#[test]
fn every_run_of_a_burst_is_reported_once() {
    let mut sandbox = Sandbox::new();
    sandbox.config.threads = 4;
    sandbox.restart();
    sandbox.prepare(NOOP).unwrap();

    let mut expected: Vec<TaskRef> = (0..500).map(|_| sandbox.execute(NOOP, |_| {})).collect();

    let end = Instant::now() + DEADLINE;
    let mut finished = Vec::new();
    while finished.len() < expected.len() {
        let left = end.saturating_duration_since(Instant::now());
        match sandbox.next_event(left) {
            ExecutorEvent::Finished { attempt, report } => {
                assert_eq!(report.ending, Ending::Exited(0));
                finished.push(attempt);
            }
            event @ ExecutorEvent::Prepared { .. } => panic!("{event:?}"),
        }
    }
    finished.sort();
    expected.sort();
    assert_eq!(finished, expected);
}

#[test]
fn default_limits_are_ones_the_protocol_accepts() {
    assert!(Limits::default().memory_bytes <= super::ExecutorConfig::new(PEER, "cache".into()).memory_bytes_max);
}
