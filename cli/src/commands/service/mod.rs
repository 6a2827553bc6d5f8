//! Verbs about services.

mod bench;
mod call;
mod deploy;
mod list;
mod record;
mod remove;
mod rollback;
mod rollout;
mod show;
mod sign;

use shoal_protocol::api::codes;
use shoal_protocol::service::ServiceName;

use crate::Printer;
use crate::client::{Client, ClientError};
use crate::error::Failure;
use crate::format::near;

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant)] // one is made in the life of the process
pub enum Verb {
    Deploy(deploy::Deploy),
    Rollout(rollout::Rollout),
    Rollback(rollback::Rollback),
    #[command(visible_alias = "list")]
    Ls(list::List),
    Show(show::Show),
    Call(call::Call),
    Remove(remove::Remove),
    Bench(bench::Bench),
}

impl Verb {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Deploy(verb) => verb.run(client, printer).await,
            Self::Rollout(verb) => verb.run(client, printer).await,
            Self::Rollback(verb) => verb.run(client, printer).await,
            Self::Ls(verb) => verb.run(client, printer).await,
            Self::Show(verb) => verb.run(client, printer).await,
            Self::Call(verb) => verb.run(client, printer).await,
            Self::Remove(verb) => verb.run(client, printer).await,
            Self::Bench(verb) => verb.run(client, printer).await,
        }
    }
}

/// The failure of a request that named a service: one that is not there was perhaps misspelt.
async fn failure(client: &Client, name: &ServiceName, error: ClientError) -> Failure {
    let unknown = error.code() == Some(codes::NO_SERVICE);
    let failure = Failure::from(error);
    if !unknown {
        return failure;
    }
    let known = client.services().await.map(|listing| listing.items).unwrap_or_default();
    match near(name.as_str(), known.iter().map(|view| view.name.as_str())).as_slice() {
        [] if known.is_empty() => failure.fix(format!("deploy it: shoal service deploy {name} MODULE")),
        [] => failure.fix("see the services there are: shoal service ls"),
        names => failure.fix(format!("did you mean {}?", names.join(" or "))),
    }
}
