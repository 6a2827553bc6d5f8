//! The `shoal` command: parses, dispatches, and turns failures into exit codes.

use std::process::ExitCode;

use shoal_cli::{Arguments, Printer};

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(failure) => {
            Printer::new(true, false).fail(&failure);
            return ExitCode::from(failure.exit as u8);
        }
    };
    let printer = Printer::new(arguments.json, arguments.quiet);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the system gives this process no event queue: {error}");
            return ExitCode::from(69);
        }
    };
    let outcome = runtime.block_on(arguments.command.run(arguments.api.as_deref(), printer));
    // A read of standard input that never ends must not keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            printer.fail(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}
