//! `shoal mesh admit`

use core::fmt;
use std::path::PathBuf;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::schema;
use shoal_protocol::certificate::Role;
use shoal_protocol::id::{MeshId, PeerId};

use super::files::{self, DataDir};
use super::init::MemberArguments;
use crate::Printer;
use crate::error::Failure;

/// Admit a peer: sign a certificate for its public key
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  shoal mesh admit --key $(ssh cam-17 shoal mesh status --json | jq -r .peer) --name cam-17 -o member.cert\n  scp member.cert cam-17:/var/lib/shoal/member.cert"
)]
pub struct Admit {
    /// The peer's id: its public key, 64 hexadecimal digits (`shoal mesh status` there)
    #[arg(long, value_name = "HEX")]
    key: PeerId,
    #[command(flatten)]
    member: MemberArguments,
    /// Where the certificate goes
    #[arg(short, long, value_name = "FILE", default_value = "member.cert")]
    output: PathBuf,
    /// Where issuer.key and issuer.cert are
    #[arg(long, value_name = "DIR", env = "SHOAL_NODE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
}

impl Admit {
    pub(crate) fn run(self, printer: Printer) -> Result<(), Failure> {
        if self.member.name.is_none() {
            return Err(Failure::usage("a peer that is admitted needs a name").fix("add --name cam-17"));
        }
        let (issuer, issued) = files::read_issuer(&DataDir::new(self.data_dir))?;
        let mut certificate = self.member.certificate(issued.mesh, self.key)?;
        // It would not be believed for longer anyway.
        certificate.expires_unix_s = certificate.expires_unix_s.min(issued.expires_unix_s);
        files::write_certificate(&self.output, &files::sign(&certificate, &issuer)?.to_bytes())?;
        printer.show(&Admitted {
            schema: schema(),
            mesh: certificate.mesh,
            peer: certificate.peer,
            name: certificate.name,
            role: certificate.role,
            expires_unix_s: certificate.expires_unix_s,
            certificate: self.output.display().to_string(),
        })?;
        printer.say("→ copy it to the peer's data directory as member.cert, then start the peer there: shoal up -d");
        Ok(())
    }
}

#[derive(Debug, Serialize)]
struct Admitted {
    schema: String,
    mesh: MeshId,
    peer: PeerId,
    name: String,
    role: Role,
    expires_unix_s: u64,
    certificate: String,
}

impl fmt::Display for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} ({}…) is admitted to mesh {}…: {}",
            self.name.bold(),
            self.role,
            self.peer.short(),
            self.mesh.short(),
            self.certificate
        )
    }
}
