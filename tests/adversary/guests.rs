//! Tasks that attack the machine that runs them: as guests, by what WASI lets them ask for, and as intruders who have
//! broken out of WebAssembly and stand in a worker process.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shoal_protocol::api::{TaskView, codes};
use shoal_protocol::task::report::LimitKind;

use super::*;

/// Wall time of the guests that would take for ever.
const WALL_MS: u64 = 300;
/// What no exit code of an honest guest is.
const GOT_IN: u32 = 99;

impl Target {
    /// A task of this module, at the peer under attack.
    async fn task(&self, module: &[u8]) -> TaskRequest {
        let module = self.client.put_blob(module.to_vec()).await.unwrap().id;
        TaskRequest {
            variants: vec![VariantRequest { name: String::new(), module, loss: 0.0 }],
            wall_ms: Some(WALL_MS),
            memory_bytes: Some(8 << 20),
            output_bytes: Some(1 << 20),
            local_only: true,
            ..TaskRequest::default()
        }
    }

    /// Runs it beside the honest user's tasks.
    async fn suffers(&self, what: &str, module: &[u8]) -> TaskView {
        let request = self.task(module).await;
        self.stands(what, self.client.run(request)).await.unwrap()
    }

    /// The worker processes of the daemon under attack.
    fn workers(&self) -> Vec<Pid> {
        let daemon = self.cluster.pid(0).unwrap().expect("the daemon lives");
        children_of(daemon)
    }
}

fn children_of(parent: u32) -> Vec<Pid> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut after_name = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).into_iter().flatten();
        after_name.nth(1) == Some(parent.to_string().as_str())
    };
    processes.filter(is_child).map(Pid::from_raw).collect()
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// Calls a function of WASI with descriptors 0 to 9, and exits with [`GOT_IN`] if any call succeeds.
fn asking(function: &str, parameters: &str, call: &str) -> Vec<u8> {
    wat(&format!(
        "(module (import \"wasi_snapshot_preview1\" \"{function}\" (func $ask (param {parameters}) (result i32)))
        (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))
        (memory (export \"memory\") 1) (data (i32.const 64) \"/etc/passwd\")
        (func (export \"_start\") (local $fd i32)
            (loop
                (if (i32.eqz {call}) (then (call $exit (i32.const {GOT_IN}))))
                (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
                (br_if 0 (i32.lt_u (local.get $fd) (i32.const 10))))))"
    ))
}

#[track_caller]
fn assert_limit(view: &TaskView, limit: LimitKind) {
    assert_eq!(view.limit, Some(limit), "{view:?}");
}

#[track_caller]
fn assert_invalid(view: &TaskView, reason: &str) {
    let problem = view.problem.as_ref().expect("a problem");
    assert_eq!(problem.code, codes::INVALID_MODULE, "{view:?}");
    assert!(problem.detail.contains(reason), "{view:?}");
}

#[test]
fn adversary_guest_that_loops() {
    run(async {
        let target = Target::new().await;
        let loops = wat("(module (func (export \"_start\") (loop br 0)))");

        assert_limit(&target.suffers("an endless loop", &loops).await, LimitKind::Wall);
    });
}

#[test]
fn adversary_guest_that_grows() {
    run(async {
        let target = Target::new().await;
        let grows = wat("(module (memory (export \"memory\") 1) (func (export \"_start\")
            (loop (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br 0))))");

        assert_limit(&target.suffers("memory without end", &grows).await, LimitKind::Memory);
    });
}

#[test]
fn adversary_guest_that_floods_its_output() {
    run(async {
        let target = Target::new().await;
        let floods = wat("(module
            (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export \"memory\") 2)
            (func (export \"_start\")
                (i32.store (i32.const 4) (i32.const 65536))
                (loop (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))))");

        assert_limit(&target.suffers("a flood of output", &floods).await, LimitKind::Output);
    });
}

#[test]
fn adversary_guest_that_opens_files_and_sockets() {
    run(async {
        let target = Target::new().await;
        let open = "(call $ask (local.get $fd) (i32.const 0) (i32.const 64) (i32.const 11) (i32.const 0)
            (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 0))";
        let opens = asking("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32", open);
        let accept = "(call $ask (local.get $fd) (i32.const 0) (i32.const 0))";
        let accepts = asking("sock_accept", "i32 i32 i32", accept);
        let send = "(call $ask (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0))";
        let sends = asking("sock_send", "i32 i32 i32 i32 i32", send);

        for (what, module) in [("opening files", opens), ("accepting connections", accepts), ("sending", sends)] {
            assert_eq!(target.suffers(what, &module).await.exit_code, Some(0), "{what}");
        }
    });
}

#[test]
fn adversary_guest_that_forks() {
    run(async {
        let target = Target::new().await;
        for (from, name) in [("wasi_snapshot_preview1", "proc_fork"), ("wasix_32v1", "proc_spawn"), ("env", "fork")] {
            let forks = wat(&format!(
                "(module (import \"{from}\" \"{name}\" (func $fork (result i32)))
                (func (export \"_start\") (loop (drop (call $fork)) (br 0))))"
            ));

            assert_invalid(&target.suffers("forking", &forks).await, name);
        }
    });
}

#[test]
fn adversary_module_that_is_too_large_or_has_too_many_functions() {
    run(async {
        let target = Target::new().await;

        let large = target.task(&vec![0; (16 << 20) + 1]).await;
        let refused = target.stands("a module of 16 MiB and a byte", target.client.run(large)).await;
        assert!(refused.is_err(), "{refused:?}");

        let many = wat(&format!("(module (func (export \"_start\")) {})", "(func)".repeat(10_000)));
        assert_invalid(&target.suffers("10,001 functions", &many).await, "10001 functions");
    });
}

#[test]
fn adversary_module_that_takes_long_to_compile() {
    run(async {
        let target = Target::new().await;

        let view = target.suffers("a compilation without end", &slow_to_compile()).await;

        assert_invalid(&view, "compiling it takes more than 2 s");
    });
}

/// Within every limit on sizes, and many times beyond the one on the compiler's time.
fn slow_to_compile() -> Vec<u8> {
    const FUNCTIONS: usize = 24;
    const STEPS: usize = 60_000;
    let leb = |mut value: usize| {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let section = |id: u8, body: Vec<u8>| [vec![id], leb(body.len()), body].concat();
    // Squares its parameter again and again: nothing that could be known before, and nothing that could be left out.
    let mut body = vec![0x00];
    body.extend([0x20, 0x00, 0x20, 0x00, 0x6c, 0x21, 0x00].repeat(STEPS));
    body.extend([0x20, 0x00, 0x0b]);
    let body = [leb(body.len()), body].concat();
    let start = vec![0x02, 0x00, 0x0b];
    let code = [leb(FUNCTIONS + 1), start, body.repeat(FUNCTIONS)].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, vec![0x02, 0x60, 0x00, 0x00, 0x60, 0x01, 0x7f, 0x01, 0x7f]),
        section(3, [leb(FUNCTIONS + 1), vec![0], vec![1; FUNCTIONS]].concat()),
        section(7, b"\x01\x06_start\x00\x00".to_vec()),
        section(10, code),
    ]
    .concat()
}

#[test]
fn adversary_worker_that_is_killed_while_it_runs() {
    run(async {
        let target = Target::new().await;
        let lost = target.counter("workers_lost").await;
        let module = wat("(module (func (export \"_start\") (loop br 0)))");
        let request = TaskRequest { wall_ms: Some(60_000), retries: Some(0), ..target.task(&module).await };
        let task = target.client.submit(&request).await.unwrap().task.to_string();
        let deadline = Instant::now() + LONG;
        while target.client.task(&task).await.unwrap().state != shoal_protocol::TaskState::Running {
            assert!(Instant::now() < deadline, "it does not run");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }

        let ended = async {
            target.workers().into_iter().for_each(|worker| kill(worker, Signal::SIGKILL).unwrap());
            target.client.wait(&task).await.unwrap()
        };
        let view = target.stands("killing every worker", ended).await;

        let told = serde_json::to_string(&view).unwrap();
        assert!(view.problem.is_some() && told.contains("SIGKILL"), "{told}");
        target.counts("workers_lost", lost).await;
    });
}

fn attempt(act: &str) -> Output {
    let shoald = shoal_testnet::cluster::beside_or_on_path("shoald").unwrap();
    Command::new(shoald).args(["worker", "--attempt", act]).output().unwrap()
}

#[test]
fn adversary_intruder_in_a_worker_is_refused_everything() {
    let acts = String::from_utf8(attempt("all").stdout).unwrap();
    assert!(acts.lines().count() >= 20, "{acts}");
    for act in acts.lines() {
        let free = attempt(&format!("free:{act}"));
        assert_eq!(free.status.code(), Some(1), "without a sandbox {act:?} succeeds: {free:?}");

        let held = attempt(act);

        // Refused, or ended in the act.
        let ended_by = held.status.signal().map(|signal| Signal::try_from(signal).unwrap());
        println!(
            "{act}: {}",
            ended_by.map_or_else(|| String::from_utf8_lossy(&held.stdout).trim().into(), |it| it.to_string())
        );
        match ended_by {
            Some(signal) => assert!(matches!(signal, Signal::SIGSYS | Signal::SIGXCPU), "{act}: {held:?}"),
            None => assert_eq!(held.status.code(), Some(0), "{act}: {held:?}"),
        }
    }
}

#[test]
fn adversary_intruder_past_the_filter_of_system_calls_finds_no_files() {
    for act in ["open", "create", "list", "own-memory"] {
        let tried = attempt(&format!("files:{act}"));

        assert_eq!(tried.status.code(), Some(0), "{act}: {tried:?}");
    }
}

#[test]
fn adversary_worker_holds_nothing_and_ends_with_its_daemon() {
    run(async {
        let target = Target::new().await;
        target.honest.tasks(&target.client).await;
        let daemon = target.cluster.pid(0).unwrap().unwrap();
        let workers = target.workers();
        assert!(!workers.is_empty());
        for worker in &workers {
            let read = |name: &str| std::fs::read(format!("/proc/{worker}/{name}")).unwrap();
            let status = String::from_utf8(read("status")).unwrap();
            for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"] {
                assert!(status.contains(line), "{line}: {status}");
            }
            assert_eq!(read("environ"), b"", "an empty environment");
            let open = std::fs::read_dir(format!("/proc/{worker}/fd")).unwrap();
            let open = open.map(|fd| std::fs::read_link(fd.unwrap().path()).unwrap().to_string_lossy().into_owned());
            for file in open {
                // The connection, the two outputs, and code.
                let known = ["socket:", "/dev/null", "/memfd:code"].iter().any(|known| file.starts_with(known));
                assert!(known, "{file}");
            }
        }
        let status = target.client.status().await.unwrap();
        assert_eq!(status.sandbox.len(), 5);
        assert!(status.sandbox.iter().all(|part| part.enforced), "{:?}", status.sandbox);
        let restricted = TaskRequest { restricted: true, ..target.honest.noop.clone() };
        assert_eq!(target.client.run(restricted).await.unwrap().exit_code, Some(0));

        target.cluster.kill(0).unwrap();

        let deadline = Instant::now() + LONG;
        let alive = |worker: &Pid| {
            let stat = std::fs::read_to_string(format!("/proc/{worker}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        while workers.iter().any(alive) {
            assert!(Instant::now() < deadline, "workers of the dead daemon {daemon} live on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}
