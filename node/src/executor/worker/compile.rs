//! Compiling one module, in a process of its own that ends with it: a module that breaks the compiler gains a process
//! without files or network, and cannot touch the code of any other module.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use shoal_protocol::cbor;
use wasmtime::{Engine, Module};

use super::super::line::{Kind, Line};
use super::super::words::Compiled;
use super::{inspect, modules, orders};

/// Compiles the module that comes next, and sends its code.
pub(super) fn serve(line: &Line, engine: &Engine, buffer: &mut [u8]) {
    let mut files: Vec<OwnedFd> = Vec::new();
    if line.receive_with_files(buffer, &mut files).is_err() {
        return;
    }
    let Some(file) = files.pop() else { return };
    let answer = match compile(engine, File::from(file)) {
        Ok(code) => match orders::send_bytes(line, &code) {
            Ok(()) => Compiled::Whole,
            Err(_) => return,
        },
        Err(answer) => answer,
    };
    // The daemon that does not hear this has gone.
    let _ = line.send(Kind::Words, &cbor::encode(&answer), &[]);
}

fn compile(engine: &Engine, mut file: File) -> Result<Vec<u8>, Compiled> {
    let mut wasm = Vec::new();
    file.read_to_end(&mut wasm).map_err(|error| Compiled::Failed(error.to_string()))?;
    inspect::check(&wasm).map_err(|unfit| Compiled::Unfit(unfit.to_string()))?;
    let module = Module::from_binary(engine, &wasm).map_err(|error| Compiled::Unfit(format!("{error:#}")))?;
    drop(wasm);
    let linker = modules::linker(engine).map_err(|error| Compiled::Failed(format!("{error:#}")))?;
    modules::link(&linker, &module).map_err(Compiled::Unfit)?;
    module.serialize().map_err(|error| Compiled::Failed(format!("{error:#}")))
}
