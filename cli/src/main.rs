//! The `shoal` command: parses, dispatches, and turns failures into exit codes.

use std::process::ExitCode;

use clap::Parser;
use shoal_cli::Printer;
use shoal_cli::commands::Command;

/// A peer-to-peer compute mesh at the edge: run sandboxed work on the peer where it costs least
#[derive(Debug, Parser)]
#[command(
    name = "shoal",
    version,
    propagate_version = false,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "First steps:\n  shoal up -d\n  shoal run wordcount -i README.md\n  shoal explain last")]
struct Arguments {
    /// The daemon's API, as unix:PATH
    #[arg(long, global = true, env = "SHOAL_API", value_name = "ADDRESS", hide_env_values = true)]
    api: Option<String>,

    /// JSON instead of text, on standard output and for errors
    #[arg(long, global = true)]
    json: bool,

    /// Nothing on standard error but errors
    #[arg(short, long, global = true)]
    quiet: bool,

    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
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
