//! `shoal-testnet links`: the links file to start from.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use shoal_testnet::Links;
use shoal_testnet::emulator::DEFAULT_LINKS_TOML;

use super::Failure;

/// Print the default links file, or check one
///
/// Example: shoal-testnet links > links.toml
#[derive(clap::Args)]
#[command(name = "links")]
pub(crate) struct PrintLinks {
    /// Check this file instead
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

impl PrintLinks {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self.check {
            Some(path) => {
                Links::load(&path)?;
                anstream::eprintln!("{} is a valid links file", path.display());
            }
            None => std::io::stdout()
                .write_all(DEFAULT_LINKS_TOML.as_bytes())
                .map_err(|error| Failure::file("write to", Path::new("standard output"), &error))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
