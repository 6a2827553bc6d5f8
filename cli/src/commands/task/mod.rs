//! Verbs about tasks.

pub(crate) mod cancel;
pub(crate) mod explain;
pub(crate) mod inputs;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod module;
pub(crate) mod output;
pub(crate) mod request;
pub(crate) mod result;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod submit;

use shoal_protocol::api::{TaskRequest, codes};

use crate::Printer;
use crate::client::{Client, ClientError};
use crate::error::Failure;

#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    Ls(list::List),
    Show(show::Show),
    Cancel(cancel::Cancel),
    Result(result::ResultOf),
}

impl Verb {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Ls(verb) => verb.run(client, printer).await,
            Self::Show(verb) => verb.run(client, printer).await,
            Self::Cancel(verb) => verb.run(client, printer).await,
            Self::Result(verb) => verb.run(client, printer).await,
        }
    }
}

/// The failure of a request that named a task.
fn failure(error: ClientError) -> Failure {
    let unknown = error.code() == Some(codes::NO_TASK);
    let failure = Failure::from(error);
    if unknown && failure.fix.is_empty() { failure.fix("see the tasks there are: shoal task ls") } else { failure }
}

/// A submission that failed for the name of a peer deserves the names there are.
async fn refused(client: &Client, failure: Failure, request: &TaskRequest) -> Failure {
    let names: Vec<&str> = request.peer.as_deref().into_iter().collect();
    crate::commands::peer::failure(client, failure, &names).await
}
