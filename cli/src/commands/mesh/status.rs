//! `shoal mesh status`

use core::fmt;
use std::collections::BTreeMap;
use std::path::PathBuf;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::schema;
use shoal_protocol::certificate::Role;
use shoal_protocol::id::{MeshId, PeerId};

use super::files::{self, DataDir};
use crate::Printer;
use crate::error::Failure;
use crate::format;

/// Show this peer's identity and membership, from its files; makes its key when there is none
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal mesh status --json | jq -r .peer")]
pub struct Show {
    /// Where this peer's files are
    #[arg(long, value_name = "DIR", env = "SHOAL_NODE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
}

impl Show {
    pub(crate) fn run(self, printer: Printer) -> Result<(), Failure> {
        let dir = DataDir::new(self.data_dir);
        dir.create()?;
        let node_key = files::key_or_new(&dir.node_key())?;
        let path = dir.certificate();
        let member = if path.exists() { Some(Member::read(&dir, node_key.peer())?) } else { None };
        let is_member = member.is_some();
        printer.show(&Identity {
            schema: schema(),
            peer: node_key.peer(),
            data_dir: dir.path().display().to_string(),
            can_admit: dir.issuer_key().exists(),
            member,
        })?;
        if !is_member {
            printer.say("→ shoal mesh init   or, with a ticket from `shoal invite` there: shoal join -");
        }
        Ok(())
    }
}

#[derive(Debug, Serialize)]
struct Identity {
    schema: String,
    peer: PeerId,
    data_dir: String,
    can_admit: bool,
    member: Option<Member>,
}

#[derive(Debug, Serialize)]
struct Member {
    mesh: MeshId,
    name: String,
    role: Role,
    labels: BTreeMap<String, String>,
    expires_unix_s: u64,
    valid_for_s: u64,
}

impl Member {
    fn read(dir: &DataDir, peer: PeerId) -> Result<Self, Failure> {
        let path = dir.certificate();
        let chain = files::read_certificate(&path)?;
        let now = files::now_unix_s()?;
        let believed = chain.claimed_mesh().and_then(|mesh| Ok((mesh, chain.verify(mesh, peer, now)?)));
        let (mesh, certificate) = believed.map_err(|error| files::not_believed(&path, &error))?;
        Ok(Self {
            mesh,
            name: certificate.name,
            role: certificate.role,
            labels: certificate.labels,
            expires_unix_s: certificate.expires_unix_s,
            valid_for_s: certificate.expires_unix_s.saturating_sub(now),
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "peer {}", self.peer)?;
        match &self.member {
            Some(member) => {
                let labels: Vec<_> = member.labels.iter().map(|(key, value)| format!(" {key}={value}")).collect();
                writeln!(f, "name {} {}{}", member.name.bold(), member.role, labels.concat())?;
                writeln!(f, "mesh {}", member.mesh)?;
                writeln!(f, "valid for {}", format::micros(member.valid_for_s.saturating_mul(1_000_000)))?;
            }
            None => writeln!(f, "member of no mesh")?,
        }
        writeln!(f, "{}", if self.can_admit { "may admit peers" } else { "may not admit peers" })?;
        write!(f, "kept in {}", self.data_dir)
    }
}
