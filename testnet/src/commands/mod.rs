//! One file per verb.

mod exec;
mod links;

use std::process::ExitCode;

use shoal_testnet::{EmulatorError, LinksError};

const USAGE: u8 = 2;
const NO_CAPACITY: u8 = 75;
const BAD_CONFIGURATION: u8 = 78;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Exec(exec::Exec),
    Links(links::PrintLinks),
}

impl Command {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Exec(exec) => exec.run(),
            Self::Links(links) => links.run(),
        }
    }
}

/// What went wrong and what to do about it.
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) fix: String,
    pub(crate) code: ExitCode,
}

impl Failure {
    fn new(code: u8, what: impl ToString, fix: impl Into<String>) -> Self {
        Self { what: what.to_string(), fix: fix.into(), code: code.into() }
    }
}

impl From<LinksError> for Failure {
    fn from(error: LinksError) -> Self {
        Self::new(BAD_CONFIGURATION, &error, error.hint())
    }
}

impl From<EmulatorError> for Failure {
    fn from(error: EmulatorError) -> Self {
        let code = match error {
            EmulatorError::UnknownName { .. } | EmulatorError::DuplicateName { .. } => BAD_CONFIGURATION,
            EmulatorError::NodeCount { .. }
            | EmulatorError::NoSuchNode { .. }
            | EmulatorError::NotAPartition { .. } => USAGE,
            EmulatorError::Unavailable(_) | EmulatorError::Setup { .. } | EmulatorError::Start(_) => NO_CAPACITY,
        };
        Self::new(code, &error, error.hint())
    }
}
