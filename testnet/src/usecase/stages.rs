//! Runs stages: on a mesh of real peers where every answer is compared with the native function's, or natively.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_cli::client::{Client, ClientError};
use shoal_examples::modules;
use shoal_protocol::api::{InputRequest, OutputView, TaskRequest, TaskView, VariantRequest};
use shoal_protocol::certificate::Role;
use shoal_protocol::task::spec::CloudUse;
use shoal_protocol::{BlobId, TaskState};
use tokio::task::JoinSet;

use super::error::UsecaseError;
use super::report::MeshUse;
use crate::cluster::{Cluster, ClusterConfig};

const CLOUDS: usize = 3;
const EDGES: usize = 2;
/// Tasks that are under way at a time.
const AT_ONCE: usize = 6;
/// A week of a city's speeds needs more than a task has by default; an edge peer has little.
const CLOUD_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
const EDGE_MEMORY_BYTES: u64 = 96 * 1024 * 1024;
/// No stage writes more.
const OUTPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A machine may be busy with other things.
const WALL: Duration = Duration::from_secs(300);

/// One question to a stage.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) module: &'static str,
    pub(super) args: Vec<String>,
    pub(super) input: Vec<u8>,
    pub(super) role: Role,
    /// What it is about, for a person.
    pub(super) about: String,
}

/// Where stages run.
#[derive(Debug)]
pub(super) struct Stages {
    mesh: Option<Mesh>,
    began: Instant,
}

#[derive(Debug)]
struct Mesh {
    cluster: Cluster,
    /// The edge peers that work is handed in at.
    homes: Vec<Arc<Home>>,
    stored: BTreeMap<&'static str, BlobId>,
    edge_tasks: usize,
    cloud_tasks: usize,
}

#[derive(Debug)]
struct Home {
    name: String,
    client: Client,
}

impl Stages {
    pub(super) async fn start(native: bool) -> Result<Self, UsecaseError> {
        let began = Instant::now();
        if native {
            return Ok(Self { mesh: None, began });
        }
        let mut config = ClusterConfig { log: "warn".into(), ..ClusterConfig::new(CLOUDS, EDGES).on_loopback() };
        // Answers are what counts here, not what slower machines would need for them.
        config.peers.iter_mut().for_each(|peer| peer.slowdown = 1.0);
        let cluster = Cluster::start(config).await?;
        let mut homes = Vec::new();
        for (index, peer) in cluster.peers().iter().enumerate().filter(|(_, peer)| peer.role == Role::Edge) {
            homes.push(Arc::new(Home { name: peer.name.clone(), client: cluster.client(index)? }));
        }
        anstream::eprintln!(
            "{CLOUDS} cloud and {EDGES} edge peers are up in {:.1} s",
            cluster.formed_in().as_secs_f64()
        );
        let mesh = Mesh { cluster, homes, stored: BTreeMap::new(), edge_tasks: 0, cloud_tasks: 0 };
        Ok(Self { mesh: Some(mesh), began })
    }

    /// The answers, in the order of the questions.
    pub(super) async fn answers(&mut self, asks: Vec<Ask>) -> Result<Vec<Vec<u8>>, UsecaseError> {
        match &mut self.mesh {
            Some(mesh) => mesh.answers(asks).await,
            None => asks.iter().map(native).collect(),
        }
    }

    /// Ends the mesh and tells what it did.
    pub(super) async fn end(self) -> Option<MeshUse> {
        let mesh = self.mesh?;
        let used = MeshUse {
            cloud_peers: CLOUDS,
            edge_peers: EDGES,
            edge_tasks: mesh.edge_tasks,
            cloud_tasks: mesh.cloud_tasks,
            answers_as_native: mesh.edge_tasks + mesh.cloud_tasks,
            seconds: self.began.elapsed().as_secs_f64(),
        };
        mesh.cluster.shutdown().await;
        Some(used)
    }
}

/// What the native function answers.
pub(super) fn native(ask: &Ask) -> Result<Vec<u8>, UsecaseError> {
    let no_answer = |why: String| UsecaseError::NoAnswer { module: ask.module, about: ask.about.clone(), why };
    let run = modules::native(ask.module).ok_or_else(|| no_answer("there is no such module".into()))?;
    run(&ask.args, &ask.input).map_err(no_answer)
}

impl Mesh {
    async fn answers(&mut self, asks: Vec<Ask>) -> Result<Vec<Vec<u8>>, UsecaseError> {
        for ask in &asks {
            self.store(ask.module).await?;
            match ask.role {
                Role::Edge => self.edge_tasks += 1,
                Role::Cloud => self.cloud_tasks += 1,
            }
        }
        let mut answers = vec![Vec::new(); asks.len()];
        let mut waiting: VecDeque<(usize, Ask)> = asks.into_iter().enumerate().collect();
        let mut asked = JoinSet::new();
        loop {
            while asked.len() < AT_ONCE
                && let Some((number, ask)) = waiting.pop_front()
            {
                let home = Arc::clone(&self.homes[number % self.homes.len()]);
                let module = self.stored[ask.module];
                asked.spawn(async move { (number, answer(&home, module, ask).await) });
            }
            let Some(joined) = asked.join_next().await else { return Ok(answers) };
            let Ok((number, answer)) = joined else { continue };
            answers[number] = answer?;
        }
    }

    /// Stores a module at every peer that work is handed in at.
    async fn store(&mut self, module: &'static str) -> Result<(), UsecaseError> {
        if self.stored.contains_key(module) {
            return Ok(());
        }
        let bytes = modules::module_bytes(module).unwrap_or_default();
        for home in &self.homes {
            let view = home.client.put_blob(bytes).await.map_err(home.could_not("store a module"))?;
            self.stored.insert(module, view.id);
        }
        Ok(())
    }
}

impl Home {
    fn could_not(&self, doing: &'static str) -> impl FnOnce(ClientError) -> UsecaseError {
        let peer = self.name.clone();
        move |source| UsecaseError::Peer { peer, doing, source }
    }
}

/// The mesh's answer, once it is the native one too.
async fn answer(home: &Home, module: BlobId, ask: Ask) -> Result<Vec<u8>, UsecaseError> {
    let input = home.client.put_blob(ask.input.clone()).await.map_err(home.could_not("store an input"))?;
    let request = TaskRequest {
        variants: vec![VariantRequest { name: ask.module.into(), module, loss: 0.0 }],
        args: ask.args.clone(),
        inputs: vec![InputRequest::Blob(input.id)],
        memory_bytes: Some(match ask.role {
            Role::Cloud => CLOUD_MEMORY_BYTES,
            Role::Edge => EDGE_MEMORY_BYTES,
        }),
        output_bytes: Some(OUTPUT_BYTES_MAX),
        wall_ms: Some(WALL.as_millis() as u64),
        role: Some(ask.role),
        cloud: Some(CloudUse::Allow),
        // A batch is worked off, however long it is.
        start_within_ms: Some(u64::MAX),
        name: format!("{} {}", ask.module, ask.about),
        ..TaskRequest::default()
    };
    let view = home.client.run(request).await.map_err(home.could_not("run a task"))?;
    let no_answer = |why: String| UsecaseError::NoAnswer { module: ask.module, about: ask.about.clone(), why };
    match (view.state, view.exit_code, &view.executor) {
        (TaskState::Done, Some(0), Some(executor)) if executor.role == ask.role => {}
        (TaskState::Done, Some(0), _) => return Err(no_answer("it ran at a peer of another role".into())),
        _ => return Err(no_answer(why(&view))),
    }
    let answer = output(&home.client, &view).await.map_err(home.could_not("give a result"))?;
    let (module, about) = (ask.module, ask.about.clone());
    // Off the event loop: the natural length of some answers is seconds.
    let expected = tokio::task::spawn_blocking(move || native(&ask)).await;
    match expected.map_err(|error| no_answer_natively(module, &about, &error))? {
        Ok(expected) if expected == answer => Ok(answer),
        Ok(_) => Err(UsecaseError::WrongAnswer { module, about }),
        Err(error) => Err(error),
    }
}

fn no_answer_natively(module: &'static str, about: &str, error: &tokio::task::JoinError) -> UsecaseError {
    UsecaseError::NoAnswer { module, about: about.to_owned(), why: format!("the native function ended: {error}") }
}

async fn output(client: &Client, view: &TaskView) -> Result<Vec<u8>, ClientError> {
    if let Some(OutputView::Text(text)) = &view.output {
        return Ok(text.clone().into_bytes());
    }
    let download = client.result(&view.task.to_string()).await?;
    Ok(download.bytes(OUTPUT_BYTES_MAX as usize).await?.to_vec())
}

fn why(view: &TaskView) -> String {
    match (&view.problem, view.exit_code) {
        (Some(problem), _) => format!("{}: {} {}", problem.code, problem.title, problem.detail),
        (None, Some(code)) => format!("exit code {code}: {}", view.log.trim()),
        (None, None) => format!("it ended {:?}", view.state),
    }
}
