//! `shoal peer revoke`

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::schema;
use shoal_protocol::certificate::Signer;
use shoal_protocol::id::PeerId;

use crate::Printer;
use crate::client::Client;
use crate::commands::mesh::files::{self, DataDir};
use crate::commands::mesh::revocations;
use crate::error::Failure;

/// Take a peer out of the mesh, now and for good: a lost or stolen device
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  shoal peer revoke cam-17\n\nWhat the peer was doing for others is given to others; what others did for it is dropped. To be a member again it\nneeds a new key. Only where issuer.key is: the mesh believes nobody else."
)]
pub struct Revoke {
    /// The peer: its name or id, or the beginning of either; its whole id (64 hexadecimal digits) when it was admitted
    /// by hand and is not here
    peer: String,
    /// Where issuer.key and issuer.cert are
    #[arg(long, value_name = "DIR", env = "SHOAL_NODE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
}

impl Revoke {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let (issuer, issued) = files::read_issuer(&DataDir::new(self.data_dir))?;
        let (peer, name) = find(client, &self.peer).await?;
        let view = client.revocations().await?;
        if view.peers.contains(&peer) {
            printer.say("it was revoked before");
        }
        let signer = Signer::Issuer(issuer.id());
        let list = revocations::next(&view, issued.mesh, signer, BTreeSet::from([peer]), BTreeSet::new())?;
        let held = client.revoke(&list.sign(&issuer)).await?;
        printer.show(&Revoked { schema: schema(), peer, name, version: list.version, revoked: held.peers.len() })
    }
}

/// By name among those that are known here, and those that this peer has signed for: what is lost is seldom connected.
async fn find(client: &Client, text: &str) -> Result<(PeerId, Option<String>), Failure> {
    let here = super::everyone(client).await?.into_iter().map(|view| (view.peer, view.name));
    let signed = client.members().await?.items.into_iter().map(|view| (view.peer, view.name));
    let known: BTreeMap<PeerId, String> = signed.chain(here).collect();
    if let Ok(peer) = text.parse::<PeerId>() {
        return Ok((peer, known.get(&peer).cloned()));
    }
    let exact: Vec<_> = known.iter().filter(|(_, name)| *name == text).collect();
    let fitting = || known.iter().filter(|(peer, name)| name.starts_with(text) || peer.to_string().starts_with(text));
    let found = if exact.is_empty() { fitting().collect() } else { exact };
    match found.as_slice() {
        [(peer, name)] => Ok((**peer, Some((*name).clone()))),
        [] => Err(Failure::usage(format!("no peer that is known here fits `{text}`"))
            .fix("give its whole id, 64 hexadecimal digits: whoever is away for long is not listed any more")),
        several => Err(Failure::usage(format!("`{text}` fits {} peers", several.len()))
            .fix("write more of its name or id; `shoal peers` lists them")),
    }
}

#[derive(Debug, Serialize)]
struct Revoked {
    schema: String,
    peer: PeerId,
    name: Option<String>,
    /// Of this issuer's list.
    version: u64,
    /// Keys that are revoked, this one included.
    revoked: usize,
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("a peer");
        write!(
            f,
            "{} ({}…) is {}: no peer that hears of it talks to it any more",
            name.bold(),
            self.peer.short(),
            "revoked".red()
        )
    }
}
