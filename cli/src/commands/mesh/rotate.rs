//! `shoal mesh rotate-issuer`

use core::fmt;
use std::path::PathBuf;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::schema;
use shoal_protocol::id::{MeshId, PeerId};

use super::files::{self, DataDir};
use super::vault::{self, PassphraseArguments};
use crate::Printer;
use crate::error::{Exit, Failure, own};

/// Let another key sign for the mesh, in the place of the one before; what that signed stays valid for its time
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal mesh rotate-issuer --mesh-key /media/usb/mesh.key")]
pub struct Rotate {
    /// The mesh's key, when it is not in the data directory
    #[arg(long, value_name = "FILE")]
    mesh_key: Option<PathBuf>,
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
    pub(crate) fn run(self, printer: Printer) -> Result<(), Failure> {
        let dir = DataDir::new(self.data_dir);
        let path = self.mesh_key.unwrap_or_else(|| dir.mesh_key());
        if !path.exists() {
            return Err(Failure::new(Exit::Denied, own::MESH, "the key of the mesh is not here")
                .why(format!("`{}` does not exist", path.display()))
                .fix("name it with --mesh-key"));
        }
        dir.create()?;
        let mesh_key = vault::mesh_key(&path, &self.passphrase)?;
        let certificate = files::new_issuer(&dir, &mesh_key, self.days)?;
        printer.show(&Rotated {
            schema: schema(),
            mesh: certificate.mesh,
            issuer: certificate.issuer,
            expires_unix_s: certificate.expires_unix_s,
            data_dir: dir.path().display().to_string(),
        })
    }
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
