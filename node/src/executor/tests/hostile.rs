//! Every function of preview 1 called with whatever a guest may come up with: the answer is a number or the end of the
//! run, never a panic of the host.

use std::fmt::Write;
use std::time::Duration;

use proptest::prelude::*;
use shoal_protocol::task::report::Ending;
use shoal_protocol::task::spec::Payload;

use super::fixtures::Sandbox;

/// Name, and `i` or `l` for each parameter; the exit alone returns nothing.
const SIGNATURES: [(&str, &str); 46] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "ili"),
    ("fd_advise", "illi"),
    ("fd_allocate", "ill"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "ill"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_pread", "iiili"),
    ("fd_prestat_get", "ii"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_pwrite", "iiili"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("fd_seek", "ilii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiilli"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiillii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// Bytes of one call in the input: the function, then nine parameters of eight bytes.
const CALL_BYTES: usize = 80;
/// Where the guest keeps the calls; the rest of its two pages is at the calls' mercy.
const CALLS_AT: usize = 1_024;

/// Reads calls from standard input and makes each of them.
fn caller() -> String {
    let mut text = "(module ".to_owned();
    for (index, (name, parameters)) in SIGNATURES.iter().enumerate() {
        let types: Vec<&str> = parameters.chars().map(|it| if it == 'i' { "i32" } else { "i64" }).collect();
        let result = if *name == "proc_exit" { "" } else { "(result i32)" };
        let parameters = types.join(" ");
        let import =
            format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func $f{index} (param {parameters}) {result}))");
        text.push_str(&import);
    }
    text.push_str("(memory (export \"memory\") 2) (func (export \"_start\") (local $at i32) (local $end i32)");
    // All of the input in one read.
    write!(
        text,
        "(i32.store (i32.const 0) (i32.const {CALLS_AT})) (i32.store (i32.const 4) (i32.const 8000))
        (drop (call $f20 (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (local.set $at (i32.const {CALLS_AT}))
        (local.set $end (i32.add (local.get $at) (i32.load (i32.const 8))))
        (loop (if (i32.lt_u (local.get $at) (local.get $end)) (then "
    )
    .unwrap();
    for (index, (name, parameters)) in SIGNATURES.iter().enumerate() {
        write!(text, "(if (i32.eq (i32.load8_u (local.get $at)) (i32.const {index})) (then (call $f{index} ").unwrap();
        for (position, kind) in parameters.chars().enumerate() {
            let load = if kind == 'i' { "i32.load" } else { "i64.load" };
            write!(text, "({load} offset={} (local.get $at))", 8 + 8 * position).unwrap();
        }
        text.push_str(if *name == "proc_exit" { ")))" } else { ") drop))" });
    }
    write!(text, "(local.set $at (i32.add (local.get $at) (i32.const {CALL_BYTES}))) (br 1))))))").unwrap();
    text
}

fn parameter() -> impl Strategy<Value = u64> {
    prop_oneof![
        // Descriptors, small counts, valid addresses, the edge of memory, and the ends of the number range.
        0..4_u64,
        0..2_000_u64,
        130_000..131_200_u64,
        Just(0xffff_ffff),
        Just(0xffff_fff0),
        Just(0x8000_0000),
        Just(u64::MAX),
        any::<u64>(),
    ]
}

fn call() -> impl Strategy<Value = Vec<u8>> {
    (0..SIGNATURES.len() as u8, prop::collection::vec(parameter(), 9)).prop_map(|(function, parameters)| {
        let mut bytes = vec![function, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(parameters.iter().flat_map(|parameter| parameter.to_le_bytes()));
        bytes
    })
}

#[test]
fn no_call_of_a_guest_harms_the_host() {
    let sandbox = Sandbox::new();
    let module = caller();
    sandbox.prepare(&module).unwrap();
    let id = sandbox.store(&module);

    // Calls go on after a failed one, on memory that the earlier ones have written to.
    proptest!(ProptestConfig::with_cases(1_500), |(calls in prop::collection::vec(call(), 1..12))| {
        let running = sandbox.execute_id(id, |execution| {
            execution.inputs = vec![Payload::inline(calls.concat())];
            // A call may ask to sleep for ever.
            execution.limits.wall = Duration::from_millis(20);
        });

        let ending = sandbox.report_of(running).ending;

        prop_assert!(!matches!(ending, Ending::HostFailed(_) | Ending::Invalid(_)), "{:?}", ending);
    });
}

#[test]
fn every_function_is_called_by_the_test_above() {
    let mut called = SIGNATURES.map(|(name, _)| name);
    called.sort_unstable();

    assert_eq!(called, super::super::worker::wasi::FUNCTIONS);
}

#[test]
fn bad_addresses_are_answered_with_an_error() {
    // (function, arguments that are all right but for an address outside of the one page of memory)
    for (signature, call) in [
        ("args_get\" (func $f (param i32 i32) (result i32)))", "(i32.const 65535) (i32.const 0)"),
        ("args_sizes_get\" (func $f (param i32 i32) (result i32)))", "(i32.const 65533) (i32.const 0)"),
        ("clock_time_get\" (func $f (param i32 i64 i32) (result i32)))", "(i32.const 0) (i64.const 0) (i32.const -8)"),
        (
            "fd_read\" (func $f (param i32 i32 i32 i32) (result i32)))",
            "(i32.const 0) (i32.const -4) (i32.const 1) (i32.const 0)",
        ),
        (
            "fd_write\" (func $f (param i32 i32 i32 i32) (result i32)))",
            "(i32.const 1) (i32.const 0) (i32.const 0) (i32.const 65536)",
        ),
        ("random_get\" (func $f (param i32 i32) (result i32)))", "(i32.const 1) (i32.const -1)"),
        (
            "poll_oneoff\" (func $f (param i32 i32 i32 i32) (result i32)))",
            "(i32.const 65500) (i32.const 0) (i32.const 1) (i32.const 0)",
        ),
    ] {
        let module = format!(
            "(module (import \"wasi_snapshot_preview1\" \"{signature} (memory (export \"memory\") 1)
            (func (export \"_start\") (if (i32.ne (call $f {call}) (i32.const 21)) (then unreachable))))"
        );

        let report = Sandbox::new().run(&module, |_| {});

        assert_eq!(report.ending, Ending::Exited(0), "{signature}");
    }
}

#[test]
fn without_a_memory_every_address_is_bad() {
    let module = "(module (import \"wasi_snapshot_preview1\" \"random_get\" (func $f (param i32 i32) (result i32)))
        (func (export \"_start\") (if (i32.ne (call $f (i32.const 0) (i32.const 1)) (i32.const 21)) (then unreachable))))";

    assert_eq!(Sandbox::new().run(module, |_| {}).ending, Ending::Exited(0));
}
