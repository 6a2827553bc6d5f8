//! The command line as a whole.

use std::ffi::OsString;

use clap::Parser;
use clap::error::ErrorKind;

use crate::commands::Command;
use crate::error::Failure;

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
pub struct Arguments {
    /// The daemon's API, as unix:PATH
    #[arg(long, global = true, env = "SHOAL_API", value_name = "ADDRESS", hide_env_values = true)]
    pub api: Option<String>,

    /// JSON instead of text, on standard output and for errors
    #[arg(long, global = true)]
    pub json: bool,

    /// Nothing on standard error but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,

    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// Reads them; help and versions are printed, and end the process. What is wrong with them is told as every other failure where that
    /// is to be JSON, and otherwise as people know it.
    pub fn read(given: Vec<OsString>) -> Result<Self, Failure> {
        let wants_json = given.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json");
        Self::try_parse_from(given).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
            _ if !wants_json => error.exit(),
            _ => usage(&error.render().to_string()),
        })
    }
}

/// The first line is what is wrong, the others help.
fn usage(text: &str) -> Failure {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let title = lines.next().unwrap_or("the command line is wrong");
    let fix = lines.collect::<Vec<_>>().join("\n");
    Failure::usage(title.strip_prefix("error: ").unwrap_or(title)).fix(fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_line_is_a_failure_like_others() {
        let failure = Arguments::read(["shoal", "--json", "bogus"].map(OsString::from).to_vec()).expect_err("wrong");

        assert_eq!(&*failure.title, "unrecognized subcommand 'bogus'");
        assert!(failure.fix.contains("Usage:"), "{failure}");
    }
}
