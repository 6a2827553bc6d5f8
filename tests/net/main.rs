//! Real `shoald` processes on this machine. Build them first: `cargo build --release --bins`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a failure is the answer

mod admission;
mod at_rest;
mod bad_input;
mod blobs;
mod command_line;
mod durable;
mod faults;
mod joining;
mod mqtt;
mod nat;
mod pipelines;
mod policy;
mod privacy;
mod residency;
mod restart;
mod revocation;
mod running;
mod services;
mod store;
mod streams;
#[path = "../../testnet/tests/support/mod.rs"]
mod support;

use std::time::Duration;

use shoal_cli::client::Client;
use shoal_protocol::api::{InputRequest, OutputView, TaskRequest, TaskView, VariantRequest};
use shoal_testnet::{Cluster, ClusterConfig};

/// Longer than anything here may take, on a machine that is busy with other things.
const LONG: Duration = Duration::from_secs(60);

fn run<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(2 * LONG, story).await.expect("the story takes too long") })
}

/// A mesh on loopback whose peers run as many tasks as `change` gives them cores.
async fn mesh(cloud: usize, edge: usize, change: impl FnOnce(&mut ClusterConfig)) -> Cluster {
    let mut config = ClusterConfig::new(cloud, edge).on_loopback();
    config.peers.iter_mut().for_each(|peer| peer.slowdown = 1.0);
    change(&mut config);
    Cluster::start(config).await.unwrap()
}

/// A task of a module that is put into the peer's store first.
async fn task_of(client: &Client, module: &[u8], args: &[&str], input: &str) -> TaskRequest {
    let module = client.put_blob(module.to_vec()).await.unwrap().id;
    TaskRequest {
        variants: vec![VariantRequest { name: String::new(), module, loss: 0.0 }],
        args: args.iter().map(ToString::to_string).collect(),
        inputs: vec![InputRequest::Text(input.to_owned())],
        ..TaskRequest::default()
    }
}

fn example(name: &str) -> &'static [u8] {
    shoal_examples::modules::module_bytes(name).unwrap()
}

/// What the module of this name answers, run natively.
fn native(name: &str, args: &[&str], input: &str) -> String {
    let args: Vec<_> = args.iter().map(ToString::to_string).collect();
    let output = shoal_examples::modules::native(name).unwrap()(&args, input.as_bytes()).unwrap();
    String::from_utf8(output).unwrap()
}

#[track_caller]
fn text(view: &TaskView) -> &str {
    match &view.output {
        Some(OutputView::Text(text)) => text,
        other => panic!("no text: {other:?} in {view:?}"),
    }
}

#[track_caller]
fn executor(view: &TaskView) -> &str {
    &view.executor.as_ref().unwrap_or_else(|| panic!("nobody ran it: {view:?}")).name
}
