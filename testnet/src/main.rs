//! The `shoal-testnet` command: parses, dispatches, and says what went wrong.

mod commands;

use std::process::ExitCode;

use clap::Parser;

use commands::Command;

/// Simulated messages are made by one thread and freed by another, by the million.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Many Shoal peers on one machine
#[derive(Parser)]
#[command(name = "shoal-testnet", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    match Arguments::parse().command.run() {
        Ok(code) => code,
        Err(failure) => {
            anstream::eprintln!("error: {}", failure.what);
            anstream::eprintln!("  fix  {}", failure.fix);
            failure.code
        }
    }
}
