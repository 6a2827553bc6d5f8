//! The verbs, a file each: `<noun>/<verb>.rs` holds its arguments, what it does and what it shows.

pub(crate) mod audit;
mod blob;
mod labels;
mod mesh;
mod node;
mod peer;
mod pipeline;
mod policy;
mod privacy;
mod service;
mod stream;
mod task;

use clap::Subcommand;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// What `shoal` can do.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // one is made in the life of the process
pub enum Command {
    Up(node::up::Up),
    Status(node::status::Show),
    Top(node::top::Top),
    Doctor(node::doctor::Doctor),
    Peers(peer::list::List),
    /// Other peers, one at a time
    #[command(subcommand)]
    Peer(peer::Verb),
    Ping(peer::ping::Ping),
    Rtt(peer::rtt::Rtt),
    Run(task::run::Run),
    Submit(task::submit::Submit),
    /// Tasks of this peer's users
    #[command(subcommand)]
    Task(task::Verb),
    /// Graphs of tasks: what one stage writes, another reads
    #[command(subcommand)]
    Pipeline(pipeline::Verb),
    /// Statistics that leave only within a privacy budget
    #[command(subcommand)]
    Privacy(privacy::Verb),
    /// Functions with a name, called at any peer
    #[command(subcommand)]
    Service(service::Verb),
    /// Records that come in for ever, run window by window
    #[command(subcommand)]
    Stream(stream::Verb),
    Logs(task::logs::Logs),
    Explain(task::explain::Explain),
    /// Content-addressed data
    #[command(subcommand)]
    Blob(blob::Verb),
    /// Where data may go
    #[command(subcommand)]
    Policy(policy::Verb),
    Events(node::events::Events),
    /// The daemon's configuration
    #[command(subcommand)]
    Config(node::config::Verb),
    /// The mesh this peer belongs to
    #[command(subcommand)]
    Mesh(mesh::Verb),
    Invite(mesh::invite::Invite),
    Join(mesh::join::Join),
    /// What happened here that somebody may ask about later
    #[command(subcommand)]
    Audit(audit::Verb),
    Bench(node::bench::Bench),
    Completion(node::completion::Completion),
    Version(node::version::Version),
    Shutdown(node::shutdown::Shutdown),
}

impl Command {
    /// Does it. `api` is where the daemon is, if that was said.
    pub async fn run(self, api: Option<&str>, printer: Printer) -> Result<(), Failure> {
        let client = Client::at(api)?;
        match self {
            Self::Up(verb) => verb.run(&client, printer).await,
            Self::Status(verb) => verb.run(&client, printer).await,
            Self::Top(verb) => verb.run(&client, printer).await,
            Self::Doctor(verb) => verb.run(&client, printer).await,
            Self::Peers(verb) => verb.run(&client, printer).await,
            Self::Peer(verb) => verb.run(&client, printer).await,
            Self::Ping(verb) => verb.run(&client, printer).await,
            Self::Rtt(verb) => verb.run(&client, printer).await,
            Self::Run(verb) => verb.run(&client, printer).await,
            Self::Submit(verb) => verb.run(&client, printer).await,
            Self::Task(verb) => verb.run(&client, printer).await,
            Self::Pipeline(verb) => verb.run(&client, printer).await,
            Self::Privacy(verb) => verb.run(&client, printer).await,
            Self::Service(verb) => verb.run(&client, printer).await,
            Self::Stream(verb) => verb.run(&client, printer).await,
            Self::Logs(verb) => verb.run(&client, printer).await,
            Self::Explain(verb) => verb.run(&client, printer).await,
            Self::Blob(verb) => verb.run(&client, printer).await,
            Self::Policy(verb) => verb.run(&client, printer).await,
            Self::Events(verb) => verb.run(&client, printer).await,
            Self::Config(verb) => verb.run(&client, printer).await,
            Self::Mesh(verb) => verb.run(&client, printer).await,
            Self::Invite(verb) => verb.run(&client, printer).await,
            Self::Join(verb) => verb.run(&client, printer).await,
            Self::Audit(verb) => verb.run(printer),
            Self::Bench(verb) => verb.run(&client, printer).await,
            Self::Completion(verb) => verb.run(printer),
            Self::Version(verb) => verb.run(&client, printer).await,
            Self::Shutdown(verb) => verb.run(&client, printer).await,
        }
    }
}
