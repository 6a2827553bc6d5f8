//! `shoal mesh init`

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::schema;
use shoal_protocol::certificate::{MemberCertificate, Role};
use shoal_protocol::id::{MeshId, PeerId};

use super::files::{self, CLOCK_SKEW_S, DataDir};
use super::vault::{self, Passphrase, PassphraseArguments};
use crate::Printer;
use crate::error::{Exit, Failure, own};
use crate::format;

/// Found a mesh: make its key, this peer's key, and this peer's certificate
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  shoal mesh init home-lab --name nas --label site=a\n\nWhoever holds issuer.key can admit peers for 90 days; whoever holds mesh.key can make issuers: keep a copy, and\nshow it to nobody."
)]
pub struct Init {
    /// What people call the mesh
    #[arg(default_value = "home", value_parser = parse_name)]
    mesh_name: String,
    #[command(flatten)]
    member: MemberArguments,
    #[command(flatten)]
    passphrase: PassphraseArguments,
    /// Where the files go
    #[arg(long, value_name = "DIR", env = "SHOAL_NODE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
}

/// What a certificate says of its holder.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MemberArguments {
    /// The peer's name; this machine's when absent
    #[arg(long, value_parser = parse_name)]
    pub(crate) name: Option<String>,
    /// edge (near the data) or cloud (high capacity, farther away)
    #[arg(long, default_value = "edge", value_parser = parse_role)]
    pub(crate) role: Role,
    /// A fact that policy may decide by; repeat for several
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = format::parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// How long the certificate is valid
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub(crate) days: u64,
}

/// A name is a line, or a part of one, wherever it is shown.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err("a name has no control characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}

pub(super) fn parse_role(text: &str) -> Result<Role, String> {
    match text {
        "edge" => Ok(Role::Edge),
        "cloud" => Ok(Role::Cloud),
        _ => Err("expected edge or cloud".to_owned()),
    }
}

impl MemberArguments {
    /// The certificate of `peer` in `mesh`, valid from now on.
    pub(crate) fn certificate(&self, mesh: MeshId, peer: PeerId) -> Result<MemberCertificate, Failure> {
        let now = files::now_unix_s()?;
        Ok(MemberCertificate {
            mesh,
            peer,
            name: self.name.clone().unwrap_or_else(files::host_name),
            role: self.role,
            labels: self.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
            not_before_unix_s: now.saturating_sub(CLOCK_SKEW_S),
            expires_unix_s: now + Duration::from_secs(self.days * 86_400).as_secs(),
            serial: files::serial()?,
        })
    }
}

impl Init {
    pub(crate) fn run(self, printer: Printer) -> Result<(), Failure> {
        let passphrase = self.passphrase.choose()?;
        let founded = found(&DataDir::new(self.data_dir), &self.mesh_name, &self.member, passphrase.as_ref())?;
        printer.show(&founded)?;
        if passphrase.is_none() {
            printer.say("mesh.key has no passphrase: move it to where nobody gets at it; only `shoal mesh rotate-issuer` needs it");
        }
        printer.say("→ shoal up -d");
        Ok(())
    }
}

/// Founds a mesh with one member in this directory.
pub(crate) fn found(
    dir: &DataDir,
    mesh_name: &str,
    member: &MemberArguments,
    passphrase: Option<&Passphrase>,
) -> Result<Founded, Failure> {
    for path in [dir.mesh_key(), dir.certificate()] {
        if path.exists() {
            return Err(Failure::new(Exit::Usage, own::MESH, "this peer belongs to a mesh already")
                .why(format!("`{}` exists", path.display()))
                .fix("look at it with `shoal mesh status`, or found the mesh elsewhere with --data-dir"));
        }
    }
    dir.create()?;
    let node_key = files::key_or_new(&dir.node_key())?;
    let mesh_key = vault::new_mesh_key(&dir.mesh_key(), passphrase)?;
    let signed = files::new_issuer(dir, &mesh_key, files::ISSUER_DAYS).and_then(|_| {
        let (issuer, _) = files::read_issuer(dir)?;
        let certificate = member.certificate(mesh_key.mesh(), node_key.peer())?;
        Ok((files::sign(&certificate, &issuer)?, certificate))
    });
    let (chain, certificate) = match signed {
        Ok(signed) => signed,
        Err(failure) => {
            // A mesh without a member would only stand in the way of the corrected command.
            let _ = std::fs::remove_file(dir.mesh_key());
            return Err(failure);
        }
    };
    let name = dir.mesh_name();
    std::fs::write(&name, format!("{mesh_name}\n")).map_err(|error| Failure::write(&name, &error))?;
    files::write_certificate(&dir.certificate(), &chain.to_bytes())?;
    Ok(Founded {
        schema: schema(),
        mesh_name: mesh_name.to_owned(),
        mesh: mesh_key.mesh(),
        peer: node_key.peer(),
        name: certificate.name,
        role: certificate.role,
        labels: certificate.labels,
        expires_unix_s: certificate.expires_unix_s,
        data_dir: dir.path().display().to_string(),
    })
}

/// A mesh and its first member.
#[derive(Debug, Serialize)]
pub(crate) struct Founded {
    schema: String,
    mesh_name: String,
    mesh: MeshId,
    peer: PeerId,
    name: String,
    role: Role,
    labels: BTreeMap<String, String>,
    expires_unix_s: u64,
    data_dir: String,
}

impl fmt::Display for Founded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "mesh {} ({})", self.mesh_name.bold(), self.mesh)?;
        writeln!(f, "peer {} {} ({})", self.name.bold(), self.role, self.peer)?;
        write!(f, "kept in {}: mesh.key, issuer.key, issuer.cert, node.key, member.cert", self.data_dir)
    }
}
