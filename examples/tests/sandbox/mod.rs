//! Just enough of WASI preview 1 to run a command module: arguments, standard streams, an exit code.
//!
//! Not here: limits of time and memory. This runs only the modules committed beside it.

use std::fmt;
use wasmtime::{Caller, Engine, Extern, Linker, Memory, Module, Store};

const SUCCESS: i32 = 0;
const BAD_DESCRIPTOR: i32 = 8;

/// How a command ended and what it said.
#[derive(Debug, PartialEq)]
pub(crate) struct Ended {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

pub(crate) struct Sandbox {
    engine: Engine,
    module: Module,
}

impl Sandbox {
    pub(crate) fn new(wasm: &[u8]) -> Self {
        let engine = Engine::default();
        let module = Module::new(&engine, wasm).expect("the committed module compiles");
        Self { engine, module }
    }

    pub(crate) fn run(&self, args: &[String], input: &[u8]) -> Ended {
        let mut words = vec!["module".to_owned()];
        words.extend_from_slice(args);
        let command = Command { args: words, input: input.to_vec(), ..Command::default() };
        let mut store = Store::new(&self.engine, command);
        let instance =
            linker(&self.engine).instantiate(&mut store, &self.module).expect("the module needs only what is offered");
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start").expect("a command has a start");
        let code = match start.call(&mut store, ()) {
            Ok(()) => 0,
            Err(error) => error.downcast_ref::<Exit>().unwrap_or_else(|| panic!("the module trapped: {error:?}")).0,
        };
        let command = store.into_data();
        Ended { code, stdout: command.stdout, stderr: String::from_utf8(command.stderr).expect("messages are text") }
    }
}

#[derive(Default)]
struct Command {
    args: Vec<String>,
    input: Vec<u8>,
    read: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

#[derive(Debug)]
struct Exit(i32);

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "exit code {}", self.0)
    }
}

impl std::error::Error for Exit {}

fn linker(engine: &Engine) -> Linker<Command> {
    let mut linker = Linker::new(engine);
    let wasi = "wasi_snapshot_preview1";
    let mut define = || -> wasmtime::Result<()> {
        linker.func_wrap(wasi, "args_sizes_get", |mut caller: Caller<'_, Command>, count: u32, bytes: u32| {
            let args = caller.data().args.clone();
            put_u32(&mut caller, count, args.len());
            put_u32(&mut caller, bytes, args.iter().map(|arg| arg.len() + 1).sum());
            SUCCESS
        })?;
        linker.func_wrap(wasi, "args_get", |mut caller: Caller<'_, Command>, pointers: u32, text: u32| {
            let mut at = text;
            for (index, arg) in (0u32..).zip(caller.data().args.clone()) {
                put_u32(&mut caller, pointers + 4 * index, at as usize);
                put(&mut caller, at, arg.as_bytes());
                put(&mut caller, at + arg.len() as u32, &[0]);
                at += arg.len() as u32 + 1;
            }
            SUCCESS
        })?;
        linker.func_wrap(wasi, "environ_sizes_get", |mut caller: Caller<'_, Command>, count: u32, bytes: u32| {
            put_u32(&mut caller, count, 0);
            put_u32(&mut caller, bytes, 0);
            SUCCESS
        })?;
        linker.func_wrap(wasi, "environ_get", |_: u32, _: u32| SUCCESS)?;
        linker.func_wrap(
            wasi,
            "fd_read",
            |mut caller: Caller<'_, Command>, fd: u32, vectors: u32, count: u32, done: u32| {
                if fd != 0 {
                    return BAD_DESCRIPTOR;
                }
                let mut total = 0;
                for index in 0..count {
                    let (at, length) = vector(&mut caller, vectors, index);
                    let command = caller.data();
                    let end = (command.read + length).min(command.input.len());
                    let part = command.input[command.read..end].to_vec();
                    caller.data_mut().read = end;
                    put(&mut caller, at, &part);
                    total += part.len();
                }
                put_u32(&mut caller, done, total);
                SUCCESS
            },
        )?;
        linker.func_wrap(
            wasi,
            "fd_write",
            |mut caller: Caller<'_, Command>, fd: u32, vectors: u32, count: u32, done: u32| {
                let mut total = 0;
                for index in 0..count {
                    let (at, length) = vector(&mut caller, vectors, index);
                    let mut part = vec![0; length];
                    memory(&mut caller).read(&caller, at as usize, &mut part).expect("inside the memory");
                    match fd {
                        1 => caller.data_mut().stdout.extend_from_slice(&part),
                        2 => caller.data_mut().stderr.extend_from_slice(&part),
                        _ => return BAD_DESCRIPTOR,
                    }
                    total += length;
                }
                put_u32(&mut caller, done, total);
                SUCCESS
            },
        )?;
        linker.func_wrap(wasi, "proc_exit", |code: i32| -> wasmtime::Result<()> {
            Err(wasmtime::Error::new(Exit(code)))
        })?;
        Ok(())
    };
    define().expect("each function is defined once");
    linker
}

fn vector(caller: &mut Caller<'_, Command>, vectors: u32, index: u32) -> (u32, usize) {
    let mut pair = [0; 8];
    memory(caller).read(&*caller, (vectors + 8 * index) as usize, &mut pair).expect("inside the memory");
    let word = |at: usize| u32::from_le_bytes([pair[at], pair[at + 1], pair[at + 2], pair[at + 3]]);
    (word(0), word(4) as usize)
}

fn put_u32(caller: &mut Caller<'_, Command>, at: u32, value: usize) {
    put(caller, at, &(value as u32).to_le_bytes());
}

fn put(caller: &mut Caller<'_, Command>, at: u32, bytes: &[u8]) {
    memory(caller).write(caller, at as usize, bytes).expect("inside the memory");
}

fn memory(caller: &mut Caller<'_, Command>) -> Memory {
    caller.get_export("memory").and_then(Extern::into_memory).expect("a command exports its memory")
}
