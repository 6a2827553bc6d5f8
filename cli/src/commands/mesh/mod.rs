//! Verbs about the mesh: its key, the certificates it signs, and who is let in. Those about invitations ask the daemon.

pub(crate) mod admit;
pub(crate) mod files;
pub(crate) mod init;
pub(crate) mod invitations;
pub(crate) mod invite;
pub(crate) mod join;
pub(crate) mod joiners;
mod qr;
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
    Invite(invite::Invite),
    Join(join::Join),
    Invitations(invitations::Invitations),
    Joiners(joiners::Joiners),
}

impl Verb {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Init(verb) => verb.run(printer),
            Self::Admit(verb) => verb.run(printer),
            Self::RotateIssuer(verb) => verb.run(client, printer).await,
            Self::Status(verb) => verb.run(printer),
            Self::Invite(verb) => verb.run(client, printer).await,
            Self::Join(verb) => verb.run(client, printer).await,
            Self::Invitations(verb) => verb.run(client, printer).await,
            Self::Joiners(verb) => verb.run(client, printer).await,
        }
    }
}
