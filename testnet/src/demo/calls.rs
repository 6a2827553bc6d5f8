//! What is said to the peers' APIs, as any user would say it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shoal_cli::client::{Client, ClientError};
use shoal_examples::modules;
use shoal_protocol::api::{InputRequest, OutputView, TaskRequest, TaskView, VariantRequest};
use shoal_protocol::certificate::Role;
use shoal_protocol::task::spec::CloudUse;
use shoal_protocol::{BlobId, PeerId, TaskId};

use super::error::DemoError;
use super::mode::Mode;
use super::work::{Job, Work, deadline_of, home_of};
use crate::cluster::{Cluster, ClusterError};

/// No answer of the modules is larger.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// A peer that users are at.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) name: String,
    pub(super) peer: PeerId,
    pub(super) client: Client,
}

impl Home {
    /// Every edge peer is one.
    pub(super) fn all(cluster: &Cluster) -> Result<Vec<Self>, ClusterError> {
        let edges = cluster.peers().iter().enumerate().filter(|(_, peer)| peer.role == Role::Edge);
        edges
            .map(|(index, peer)| Ok(Self { name: peer.name.clone(), peer: peer.peer, client: cluster.client(index)? }))
            .collect()
    }

    /// The task that a key names here, known before it is handed in.
    pub(super) fn task(&self, key: &str) -> TaskId {
        TaskId::derive(self.peer, key.as_bytes())
    }

    pub(super) fn could_not(&self, doing: &'static str) -> impl FnOnce(ClientError) -> DemoError {
        move |source| DemoError::Peer { peer: self.name.clone(), doing, source }
    }
}

/// The home of a job.
pub(super) fn home<'a>(homes: &'a [Home], job: &Job) -> &'a Home {
    &homes[home_of(job.item.user) % homes.len()]
}

/// The example modules by the names they were stored under.
#[derive(Debug, Clone)]
pub(super) struct Modules(BTreeMap<&'static str, BlobId>);

impl Modules {
    /// Stores at every home what its users will ask for.
    pub(super) async fn upload(homes: &[Home], work: &Work) -> Result<Self, DemoError> {
        let mut stored = BTreeMap::new();
        for home in homes {
            for variant in work.samples().flat_map(Job::variants) {
                let Some(bytes) = modules::module_bytes(variant.module) else { continue };
                let view = home.client.put_blob(bytes).await.map_err(home.could_not("store a module"))?;
                stored.insert(variant.module, view.id);
            }
        }
        Ok(Self(stored))
    }

    /// The job as a request of its user.
    pub(super) fn request(&self, job: &Job, mode: Mode, key: String) -> TaskRequest {
        let variants = job.variants().iter().filter_map(|variant| {
            let module = *self.0.get(variant.module)?;
            Some(VariantRequest { name: variant.module.into(), module, loss: variant.loss })
        });
        let item = &job.item;
        TaskRequest {
            variants: variants.collect(),
            args: item.args.clone(),
            inputs: vec![input(&item.input)],
            deadline_ms: Some(deadline_of(item.user).as_millis() as u64),
            role: (mode == Mode::Cloud).then_some(Role::Cloud),
            cloud: Some(match mode {
                Mode::Mesh | Mode::Local => CloudUse::Fallback,
                Mode::Cloud => CloudUse::Allow,
            }),
            local_only: mode == Mode::Local,
            idempotency_key: Some(key),
            // The rush is to be worked off, not turned away.
            start_within_ms: Some(u64::MAX),
            name: format!("{} {}", item.user, item.number),
            ..TaskRequest::default()
        }
    }
}

fn input(bytes: &[u8]) -> InputRequest {
    match core::str::from_utf8(bytes) {
        Ok(text) => InputRequest::Text(text.to_owned()),
        Err(_) => InputRequest::Base64(STANDARD.encode(bytes)),
    }
}

/// What a task that has ended wrote.
pub(super) async fn output(client: &Client, view: &TaskView) -> Result<Vec<u8>, String> {
    match &view.output {
        Some(OutputView::Text(text)) => Ok(text.clone().into_bytes()),
        Some(OutputView::Base64(text)) => STANDARD.decode(text).map_err(|error| error.to_string()),
        Some(OutputView::Blob { .. }) | None => {
            let download = client.result(&view.task.to_string()).await.map_err(|error| error.to_string())?;
            let bytes = download.bytes(OUTPUT_BYTES_MAX).await.map_err(|error| error.to_string())?;
            Ok(bytes.to_vec())
        }
    }
}
