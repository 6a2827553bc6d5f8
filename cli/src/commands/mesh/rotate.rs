//! `shoal mesh rotate-issuer`

use core::fmt;
use std::collections::BTreeSet;
use std::path::PathBuf;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::schema;
use shoal_protocol::certificate::Signer;
use shoal_protocol::id::{MeshId, PeerId};

use super::files::{self, DataDir};
use super::revocations;
use super::vault::{self, PassphraseArguments};
use crate::Printer;
use crate::client::Client;
use crate::error::{Exit, Failure, own};

/// How long the certificate of the peer here is valid at least: as long as others are.
const OWN_S: u64 = 30 * 86_400;

/// Let another key sign for the mesh, in the place of the one before; what that signed stays valid for its time
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal mesh rotate-issuer --mesh-key /media/usb/mesh.key")]
pub struct Rotate {
    /// The mesh's key, when it is not in the data directory
    #[arg(long, value_name = "FILE")]
    mesh_key: Option<PathBuf>,
    /// The one before is in other hands: nothing that it has signed counts any more. Every peer must be admitted again
    #[arg(long)]
    stolen: bool,
    #[command(flatten)]
    passphrase: PassphraseArguments,
    /// How long the new one may sign, and what it signs is valid
    #[arg(long, default_value_t = files::ISSUER_DAYS, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    /// Where issuer.key and issuer.cert go
    #[arg(long, value_name = "DIR", env = "SHOAL_NODE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
}

impl Rotate {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let dir = DataDir::new(self.data_dir);
        let path = self.mesh_key.unwrap_or_else(|| dir.mesh_key());
        if !path.exists() {
            return Err(Failure::new(Exit::Denied, own::MESH, "the key of the mesh is not here")
                .why(format!("`{}` does not exist", path.display()))
                .fix("name it with --mesh-key"));
        }
        dir.create()?;
        let mesh_key = vault::mesh_key(&path, &self.passphrase)?;
        let before = files::issuer_here(&dir)?.filter(|_| self.stolen);
        if self.stolen && before.is_none() {
            return Err(Failure::usage("there is no issuer here whose key could be stolen")
                .fix("run this where issuer.key was, with --data-dir"));
        }
        // Asked for before anything is changed: without a daemon nobody would hear of it.
        let view = if self.stolen { Some(client.revocations().await?) } else { None };
        let certificate = files::new_issuer(&dir, &mesh_key, self.days)?;
        if let (Some(view), Some(before)) = (view, before) {
            renew_own(&dir)?;
            let list =
                revocations::next(&view, certificate.mesh, Signer::Mesh, BTreeSet::new(), BTreeSet::from([before]))?;
            client.revoke(&list.sign_as_mesh(&mesh_key)).await?;
            printer.say("→ shoald here ends now; start it again, and admit every other peer anew: shoal mesh admit");
        }
        printer.show(&Rotated {
            schema: schema(),
            mesh: certificate.mesh,
            issuer: certificate.issuer,
            expires_unix_s: certificate.expires_unix_s,
            data_dir: dir.path().display().to_string(),
        })
    }
}

/// The certificate of the peer that is here, by the new issuer: by the one before it would be none any more.
fn renew_own(dir: &DataDir) -> Result<(), Failure> {
    if !dir.certificate().exists() {
        return Ok(());
    }
    let own = files::read_certificate(&dir.certificate())?;
    let (issuer, issued) = files::read_issuer(dir)?;
    let holder = files::read_key(&dir.node_key())?.peer();
    let now = files::now_unix_s()?;
    let mut certificate =
        own.verify(issued.mesh, holder, now).map_err(|error| files::not_believed(&dir.certificate(), &error))?;
    certificate.expires_unix_s = certificate.expires_unix_s.max(now.saturating_add(OWN_S)).min(issued.expires_unix_s);
    certificate.serial = files::serial()?;
    files::write_certificate(&dir.certificate(), &files::sign(&certificate, &issuer)?.to_bytes())
}

#[derive(Debug, Serialize)]
struct Rotated {
    schema: String,
    mesh: MeshId,
    issuer: PeerId,
    expires_unix_s: u64,
    data_dir: String,
}

impl fmt::Display for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "issuer {}… signs for mesh {}… from now on", self.issuer.short().bold(), self.mesh.short())?;
        write!(f, "kept in {}: issuer.key, issuer.cert", self.data_dir)
    }
}
