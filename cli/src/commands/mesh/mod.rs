//! Verbs about the mesh: its key, and the certificates it signs. None of them needs a daemon, but to tell others that one
//! of those is void.

pub(crate) mod admit;
pub(crate) mod files;
pub(crate) mod init;
pub(crate) mod revocations;
pub(crate) mod rotate;
pub(crate) mod status;
mod vault;

use crate::Printer;
use crate::client::Client;
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
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Init(verb) => verb.run(printer),
            Self::Admit(verb) => verb.run(printer),
            Self::RotateIssuer(verb) => verb.run(client, printer).await,
            Self::Status(verb) => verb.run(printer),
        }
    }
}
