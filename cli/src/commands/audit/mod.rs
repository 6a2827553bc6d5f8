//! Verbs about the audit log. They read its files: neither needs a daemon, and a copy of the files elsewhere will do.

pub(crate) mod date;
mod read;
mod show;
mod verify;

use crate::Printer;
use crate::error::Failure;

#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    Verify(verify::Verify),
    Show(show::Show),
}

impl Verb {
    pub(crate) fn run(self, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Verify(verb) => verb.run(printer),
            Self::Show(verb) => verb.run(printer),
        }
    }
}
