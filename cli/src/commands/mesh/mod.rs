//! Verbs about the mesh: its key, and the certificates it signs. None of them needs a daemon.

pub(crate) mod admit;
pub(crate) mod files;
pub(crate) mod init;
pub(crate) mod rotate;
pub(crate) mod status;
mod vault;

use crate::Printer;
use crate::error::Failure;

#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    Init(init::Init),
    Admit(admit::Admit),
    #[command(name = "rotate-issuer")]
    RotateIssuer(rotate::Rotate),
    Status(status::Show),
}

impl Verb {
    pub(crate) fn run(self, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Init(verb) => verb.run(printer),
            Self::Admit(verb) => verb.run(printer),
            Self::RotateIssuer(verb) => verb.run(printer),
            Self::Status(verb) => verb.run(printer),
        }
    }
}
