//! `shoal policy deploy`

use core::fmt;
use std::path::PathBuf;

use serde::Serialize;
use shoal_protocol::api::policy::PolicyView;
use shoal_protocol::rules::SignedRules;

use super::file::PolicyFile;
use super::show::Shown;
use crate::Printer;
use crate::client::Client;
use crate::commands::mesh::files::{self, DataDir};
use crate::error::Failure;

/// Put business rules in force in the whole mesh, instead of those before them
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  shoal policy deploy city.toml\n\nThey hold at each peer that hears of them, from the next task on and over restarts; a peer that is away learns them when it\nis back. Only where issuer.key is: the mesh believes nobody else."
)]
pub struct Deploy {
    /// The file; `shoal policy lint` looks at it without deploying
    file: PathBuf,
    /// Where issuer.key and issuer.cert are
    #[arg(long, value_name = "DIR", env = "SHOAL_NODE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
}

impl Deploy {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let file = PolicyFile::read(&self.file)?;
        file.warnings.iter().for_each(|warning| printer.say(warning));
        let (issuer, issued) = files::read_issuer(&DataDir::new(self.data_dir))?;
        let version = client.policy().await?.version.saturating_add(1);
        let set = file.set(issued.mesh, version, files::now_unix_s()?);
        let view = client.deploy(&SignedRules::sign(&set, &issuer)).await?;
        printer.show(&Deployed(view))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Deployed(PolicyView);

impl fmt::Display for Deployed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Shown(self.0.clone()))
    }
}
