//! Running a window: its records are the standard input of a task, or an input of a pipeline.
//!
//! **Invariant:** a window is tried until it has an outcome. That the mesh has no room, or nobody who may run it, is waited for;
//! that its module fails [`TRIES`] times is its outcome.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use shoal_protocol::api::{OutputView, PipelineView, Problem, ResultView, TaskView, codes};
use shoal_protocol::config::INLINE_BYTES_MAX;
use shoal_protocol::pipeline::{PipelineState, PipelineSubmission};
use shoal_protocol::stream::{ClosedKind, Pending, StreamSpec, StreamWork};
use shoal_protocol::task::durable::Keeping;
use shoal_protocol::task::spec::{BlobRef, Payload};
use shoal_protocol::{PeerId, TaskState};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::mqtt::Backoff;
use super::sink::Outcome;
use super::status::{Note, Status};
use crate::blobs::BlobStore;
use crate::driver::handle::{GivenPipeline, Handle, Submission};

/// Times a window is run whose module fails, or traps, or hits a limit.
const TRIES: u32 = 3;
/// A result that goes into one line, or message.
const RESULT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A pipeline's results are only wanted once.
const RETENTION: Duration = Duration::from_secs(60);
/// The end of a pipeline is asked for again after this long: whoever waits may be forgotten by a full list.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// And after so long without an answer: one that was forgotten before its end could be written down is answered to nobody.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What running needs.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) me: PeerId,
    pub(super) driver: Handle,
    pub(super) blobs: BlobStore,
    pub(super) spec: Arc<StreamSpec>,
    /// Names the runs of this life of the stream.
    pub(super) run: u64,
    pub(super) status: Arc<Status>,
}

/// Why there is no output.
enum Failed {
    /// By the module: again, the same is likely.
    Module(String),
    /// By the mesh: later, it may go.
    Mesh(String),
}

impl Worker {
    /// Runs a window to its outcome. Late records are their own.
    pub(super) async fn run(self, pending: Pending) -> (Pending, Outcome) {
        let outcome = match pending.closed.kind {
            ClosedKind::Late => Ok(pending.content.to_vec()),
            ClosedKind::Count | ClosedKind::Time { .. } => self.try_all(&pending).await,
        };
        (pending, outcome)
    }

    async fn try_all(&self, pending: &Pending) -> Outcome {
        let mut backoff = Backoff::default();
        let mut tries = 0;
        loop {
            let failed = match self.try_once(pending, tries).await {
                Ok(output) => {
                    self.status.clear(Note::Work);
                    return Ok(output);
                }
                Err(failed) => failed,
            };
            match failed {
                Failed::Module(why) if tries + 1 >= TRIES => return Err(why),
                Failed::Module(_) => tries += 1,
                Failed::Mesh(why) => {
                    self.status.note(Note::Work, format!("window {} waits: {why}", pending.closed.sequence));
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }

    async fn try_once(&self, pending: &Pending, tries: u32) -> Result<Vec<u8>, Failed> {
        let name = format!("{} {}", self.spec.name, pending.closed.sequence);
        let key = format!("stream {name} {:x} {tries}", self.run);
        let payload = self.payload(&pending.content).await?;
        match &self.spec.work {
            StreamWork::Task(spec) => {
                let mut spec = spec.as_ref().clone();
                spec.inputs = vec![payload];
                let submission = Submission {
                    held: Vec::new(),
                    name,
                    spec,
                    pinned: None,
                    keeping: Keeping::default(),
                    idempotency_key: None,
                    submitter: None,
                    wait: true,
                };
                let view = self.driver.submit(submission).await.map_err(|error| Failed::Mesh(error.to_string()))?;
                self.output_of_task(view).await
            }
            StreamWork::Pipeline { spec, input } => {
                let mut spec = spec.as_ref().clone();
                for one in spec.inputs.iter_mut().filter(|one| one.name == *input) {
                    one.elements = vec![payload.clone()];
                }
                let given = GivenPipeline {
                    pinned: vec![None; spec.stages.len()],
                    submission: PipelineSubmission { name, spec, retention: RETENTION },
                    idempotency_key: Some(key),
                    submitter: None,
                };
                self.output_of_pipeline(given).await
            }
        }
    }

    async fn payload(&self, content: &Bytes) -> Result<Payload, Failed> {
        if content.len() as u64 <= INLINE_BYTES_MAX {
            return Ok(Payload::inline(content.clone()));
        }
        let (store, content, holder) = (self.blobs.clone(), content.clone(), self.me);
        let stored = spawn_blocking(move || store.put(&content)).await;
        match stored {
            Ok(Ok(stored)) => Ok(Payload::Blob(BlobRef { id: stored.id, bytes: stored.bytes, holder })),
            Ok(Err(error)) => Err(Failed::Mesh(error.to_string())),
            Err(error) => Err(Failed::Mesh(error.to_string())),
        }
    }

    async fn output_of_task(&self, view: TaskView) -> Result<Vec<u8>, Failed> {
        match (view.state, view.output, view.problem) {
            (TaskState::Done, Some(output), _) => {
                let holder = view.executor.map(|executor| executor.peer);
                self.bytes_of(output, holder).await
            }
            (TaskState::Done, None, _) => Ok(Vec::new()),
            (_, _, Some(problem)) => Err(failed(&problem)),
            (_, _, None) => Err(Failed::Mesh("its task ended without a reason".into())),
        }
    }

    async fn output_of_pipeline(&self, given: GivenPipeline) -> Result<Vec<u8>, Failed> {
        let mesh = |error: crate::driver::handle::Refusal| Failed::Mesh(error.to_string());
        let mut view: PipelineView = self.driver.submit_pipeline(given).await.map_err(mesh)?;
        while !view.state.is_final() {
            match timeout(ANSWER_MAX, self.driver.await_pipeline(view.pipeline.to_string())).await {
                Ok(asked) => view = asked.map_err(mesh)?,
                Err(_) => continue,
            }
            if !view.state.is_final() {
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
        if view.state != PipelineState::Done {
            return Err(match view.problem {
                Some(problem) => failed(&problem),
                None => Failed::Module("its pipeline was withdrawn".into()),
            });
        }
        let mut all = Vec::new();
        for ResultView { output, holder } in view.results.into_values().flatten() {
            all.extend(self.bytes_of(output, holder).await?);
        }
        Ok(all)
    }

    async fn bytes_of(&self, output: OutputView, holder: Option<PeerId>) -> Result<Vec<u8>, Failed> {
        match output {
            OutputView::Text(text) => Ok(text.into_bytes()),
            OutputView::Base64(text) => STANDARD.decode(text).map_err(|error| Failed::Mesh(error.to_string())),
            OutputView::Blob { bytes, .. } if bytes > RESULT_BYTES_MAX => {
                Err(Failed::Module(format!("its result has {bytes} bytes, {RESULT_BYTES_MAX} are allowed")))
            }
            OutputView::Blob { id, holder: held_by, .. } => {
                if self.blobs.stat(id).is_none() {
                    let from = held_by.or(holder).filter(|peer| *peer != self.me).map(|peer| peer.to_string());
                    self.driver.fetch_blob(id, from).await.map_err(|error| Failed::Mesh(error.to_string()))?;
                }
                let store = self.blobs.clone();
                let read = spawn_blocking(move || store.read(id)).await;
                match read {
                    Ok(Ok(bytes)) => Ok(bytes),
                    Ok(Err(error)) => Err(Failed::Mesh(error.to_string())),
                    Err(error) => Err(Failed::Mesh(error.to_string())),
                }
            }
        }
    }
}

fn failed(problem: &Problem) -> Failed {
    let why = match problem.detail.is_empty() {
        true => format!("{}: {}", problem.code, problem.title),
        false => format!("{}: {}: {}", problem.code, problem.title, problem.detail),
    };
    match problem.code.as_str() {
        codes::TASK_FAILED | codes::TRAPPED | codes::LIMIT_HIT | codes::INVALID_MODULE => Failed::Module(why),
        _ => Failed::Mesh(why),
    }
}
