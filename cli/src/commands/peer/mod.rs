//! Verbs about other peers.

pub(crate) mod label;
pub(crate) mod list;
pub(crate) mod ping;
pub(crate) mod revoke;
pub(crate) mod rtt;

use shoal_protocol::api::{PeerView, codes};

use crate::Printer;
use crate::client::{Client, ClientError};
use crate::error::Failure;
use crate::format;

/// What can be done about a peer.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    Revoke(revoke::Revoke),
    Label(label::Label),
}

impl Verb {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Revoke(verb) => verb.run(client, printer).await,
            Self::Label(verb) => verb.run(client, printer).await,
        }
    }
}

/// The failure of a request that named peers, with the names that may have been meant.
pub(crate) async fn failure(client: &Client, error: impl Into<Failure>, names: &[&str]) -> Failure {
    let failure = error.into();
    if *failure.code != *codes::NO_PEER {
        return failure;
    }
    let known = everyone(client).await.unwrap_or_default();
    let known = || known.iter().map(|peer| peer.name.as_str());
    let unknown = names.iter().find(|name| !known().any(|known| known == **name));
    let near = unknown.map(|name| format::near(name, known())).unwrap_or_default();
    if near.is_empty() {
        return failure.fix("see who is there: shoal peers");
    }
    failure.fix(format!("did you mean {}? see who is there: shoal peers", near.join(" or ")))
}

/// This peer, then the others it knows.
pub(crate) async fn everyone(client: &Client) -> Result<Vec<PeerView>, ClientError> {
    let status = client.status().await?;
    let others = client.peers().await?.items.into_iter().filter(|peer| peer.peer != status.me.peer);
    let mut peers = vec![status.me.clone()];
    peers.extend(others);
    Ok(peers)
}
