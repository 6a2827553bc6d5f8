//! From what a user writes to a task that can be placed: sizes filled in, large inputs stored, limits checked.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shoal_protocol::api::{InputRequest, LabelsRequest, TaskRequest};
use shoal_protocol::config::{
    INLINE_BYTES_MAX, INPUTS_MAX, NAME_BYTES_MAX, RETENTION_DEFAULT, RETENTION_MAX, RETENTION_MIN, VARIANTS_MAX,
    WALL_MAX,
};
use shoal_protocol::residency::Labels;
use shoal_protocol::task::durable::{Durability, Keeping};
use shoal_protocol::task::spec::{
    About, BlobRef, Limits, Loss, OutputUse, Patience, Payload, Policy, SpecError, Variant,
};
use shoal_protocol::task::verification::Verify;
use shoal_protocol::{BlobId, PeerId, TaskSpec};
use tokio::task::spawn_blocking;

use super::Api;
use super::problem::{ApiError, ApiResult};
use crate::blobs::{BlobStore, Pin, Stored};
use crate::driver::unix_time;

/// An idempotency key is a name, not a document.
const KEY_BYTES_MAX: usize = 256;

/// The task that is asked for, or why it cannot be. What it reads here is labelled as it says from then on.
pub(super) async fn build(api: &Api, request: &mut TaskRequest) -> ApiResult<TaskSpec> {
    let declared = declared(request)?;
    let spec = described(api, request).await?;
    label(api, &spec.inputs, &declared).await?;
    Ok(spec)
}

/// What a user says of the data that a task reads.
fn declared(request: &TaskRequest) -> ApiResult<Labels> {
    let (residency, class) = (request.residency.clone(), request.class.clone());
    labels(&LabelsRequest { residency, class, ttl_ms: None })
}

/// The labels that are meant.
pub(super) fn labels(request: &LabelsRequest) -> ApiResult<Labels> {
    let labels = request.labels(unix_time().as_secs());
    labels.map_err(|error| ApiError::bad_request(error.to_string(), error.hint()))
}

/// Labels the blobs among these that are here.
pub(super) async fn label(api: &Api, inputs: &[Payload], labels: &Labels) -> ApiResult<()> {
    let here: Vec<_> = inputs.iter().filter_map(Payload::blob).filter(|blob| blob.holder == api.me).collect();
    if labels.is_empty() || here.is_empty() {
        return Ok(());
    }
    let (store, labels) = (api.blobs.clone(), labels.clone());
    let labelled = spawn_blocking(move || {
        here.into_iter().try_for_each(|blob| store.label(Stored { id: blob.id, bytes: blob.bytes }, &labels))
    });
    Ok(labelled.await??)
}

/// What is said of a blob: by its manifests where it is here, and by holders elsewhere.
pub(super) async fn labels_of(api: &Api, input: &Payload) -> ApiResult<Labels> {
    let Some(blob) = input.blob() else { return Ok(Labels::default()) };
    let mut labels = api.blobs.labels(blob.id);
    if blob.holder == api.me {
        return Ok(labels);
    }
    labels.join(&api.driver.read(move |driver| driver.peer().blob_labels(blob.id)).await?);
    Ok(labels)
}

/// The task that is asked for, with what is said of everything that it would read; nothing is labelled.
pub(super) async fn described(api: &Api, request: &mut TaskRequest) -> ApiResult<TaskSpec> {
    check_names(request)?;
    let mut labels = declared(request)?;
    let variants = variants(&api.blobs, request)?;
    let inputs = inputs(api, std::mem::take(&mut request.inputs), &labels).await?;
    variants.iter().for_each(|variant| labels.join(&api.blobs.labels(variant.module)));
    for input in &inputs {
        labels.join(&labels_of(api, input).await?);
    }
    let defaults = Limits::default();
    let spec = TaskSpec {
        variants,
        args: std::mem::take(&mut request.args),
        inputs,
        limits: Limits {
            memory_bytes: request.memory_bytes.unwrap_or(defaults.memory_bytes),
            wall: request.wall_ms.map_or(defaults.wall, Duration::from_millis),
            output_bytes: request.output_bytes.unwrap_or(defaults.output_bytes),
        },
        policy: Policy {
            labels: std::mem::take(&mut request.labels),
            role: request.role,
            // What a user does not say is what the owner of this peer says.
            cloud: request.cloud.unwrap_or(api.cloud),
            local_only: request.local_only,
            peer: None,
            loss_max: loss_max(request)?,
            restricted: request.restricted,
        },
        deadline: deadline(request)?,
        lambda: request.lambda,
        expected: expected(request.expected_ms)?,
        retries: request.retries,
        priority: request.priority.unwrap_or_default(),
        verify: verify(request.verify.as_deref())?,
        output: output(request),
        about: Box::new(About {
            class: request.class.first().cloned().unwrap_or_default(),
            user: request.submitter.map(|submitter| submitter.to_string()).unwrap_or_default(),
            task: request.name.clone(),
            pipeline: String::new(),
        }),
        patience: match request.start_within_ms.map(Duration::from_millis) {
            Some(wait) if wait < WALL_MAX => Patience::Within(wait),
            None if request.durable == 0 => Patience::Bursts,
            Some(_) | None => Patience::Endless,
        },
        labels,
    };
    spec.check()?;
    Ok(spec)
}

/// The greatest loss that the answer may have, by either of the two words for it.
fn loss_max(request: &TaskRequest) -> ApiResult<Option<Loss>> {
    match (request.loss_max, request.min_accuracy) {
        (Some(_), Some(_)) => {
            Err(ApiError::bad_request("both loss_max and min_accuracy are given", "give one: accuracy is 1 - loss"))
        }
        (None, Some(accuracy)) if !(0.0..=1.0).contains(&accuracy) => {
            Err(ApiError::bad_request(format!("min_accuracy is {accuracy}"), "give a share from 0 to 1, as 0.95"))
        }
        (loss, accuracy) => Ok(loss.map(Loss::from).or_else(|| accuracy.map(Loss::of_accuracy))),
    }
}

fn deadline(request: &TaskRequest) -> ApiResult<Option<Duration>> {
    match request.deadline_ms {
        Some(0) => {
            Err(ApiError::bad_request("the deadline is now", "give the task some time, or leave the deadline out"))
        }
        ms => Ok(ms.map(Duration::from_millis)),
    }
}

/// How the task is to be kept.
pub(super) fn keeping(request: &TaskRequest) -> ApiResult<Keeping> {
    let Some(durability) = Durability::of_copies(request.durable) else {
        let title = format!("durable is {}", request.durable);
        return Err(ApiError::bad_request(title, "use 0 (in memory), 1 (on disk here), 2 (and at another peer)"));
    };
    let mut keeping = Keeping { durability, ..Keeping::default() };
    if let Some(ms) = request.retention_ms {
        keeping.retention = Duration::from_millis(ms);
        if !(RETENTION_MIN..=RETENTION_MAX).contains(&keeping.retention) {
            let title = format!("a result cannot be kept for {:?}", keeping.retention);
            let hint = format!("use {RETENTION_MIN:?} to {} h", RETENTION_MAX.as_secs() / 3_600);
            return Err(ApiError::bad_request(title, hint));
        }
    }
    Ok(keeping)
}

/// What a kept task needs is on disk before its record says so; it stays there while it is held.
pub(super) async fn make_durable(store: &BlobStore, me: PeerId, spec: &TaskSpec) -> ApiResult<Vec<Pin>> {
    let modules = spec.variants.iter().map(|variant| variant.module);
    // What stayed elsewhere is not copied for that: it may be lost with its peer.
    let inputs = spec.inputs.iter().filter_map(Payload::blob).filter(|blob| blob.holder == me).map(|blob| blob.id);
    make_blobs_durable(store, modules.chain(inputs).collect()).await
}

/// These blobs are on disk, not only in the page cache.
pub(super) async fn make_blobs_durable(store: &BlobStore, ids: Vec<BlobId>) -> ApiResult<Vec<Pin>> {
    let held = ids.iter().map(|id| store.pin(*id)).collect::<Result<Vec<_>, _>>()?;
    if !ids.iter().all(|id| store.is_durable(*id)) {
        let store = store.clone();
        spawn_blocking(move || store.make_durable(&ids)).await??;
    }
    Ok(held)
}

/// Where its output is to be.
fn output(request: &TaskRequest) -> OutputUse {
    let lease = request.retention_ms.map_or(RETENTION_DEFAULT, Duration::from_millis);
    if request.keep_output { OutputUse::Keep(lease) } else { OutputUse::Return }
}

/// How the answer is made sure of.
fn verify(text: Option<&str>) -> ApiResult<Verify> {
    let Some(text) = text else { return Ok(Verify::default()) };
    text.parse().map_err(|expected| ApiError::bad_request(format!("verify is `{text}`"), expected))
}

/// The work that the user expects, if that can be an amount of work.
fn expected(ms: Option<f64>) -> ApiResult<Option<Duration>> {
    let Some(ms) = ms else { return Ok(None) };
    let expected = Duration::try_from_secs_f64(ms / 1_000.0).ok().filter(|expected| *expected <= WALL_MAX);
    match expected {
        Some(expected) => Ok(Some(expected)),
        None => Err(ApiError::bad_request(
            format!("expected_ms is {ms}"),
            format!("give milliseconds from 0 to {}", WALL_MAX.as_millis()),
        )),
    }
}

fn check_names(request: &TaskRequest) -> ApiResult<()> {
    check_name("task", &request.name)?;
    check_key(request.idempotency_key.as_deref())
}

pub(super) fn check_name(what: &str, name: &str) -> ApiResult<()> {
    if name.len() > NAME_BYTES_MAX {
        return Err(ApiError::bad_request(
            format!("the {what}'s name has {} bytes", name.len()),
            format!("use at most {NAME_BYTES_MAX}"),
        ));
    }
    Ok(())
}

pub(super) fn check_key(key: Option<&str>) -> ApiResult<()> {
    match key {
        Some(key) if key.is_empty() || key.len() > KEY_BYTES_MAX => Err(ApiError::bad_request(
            format!("the idempotency key has {} bytes", key.len()),
            format!("use 1 to {KEY_BYTES_MAX}"),
        )),
        Some(_) | None => Ok(()),
    }
}

fn variants(store: &BlobStore, request: &TaskRequest) -> ApiResult<Vec<Variant>> {
    if request.variants.is_empty() || request.variants.len() > VARIANTS_MAX {
        return Err(SpecError::Variants { count: request.variants.len(), limit: VARIANTS_MAX }.into());
    }
    let with_size = |variant: &shoal_protocol::api::VariantRequest| {
        let module_bytes = store.stat(variant.module).ok_or_else(|| ApiError::no_blob(variant.module, "the module"))?;
        Ok(Variant { name: variant.name.clone(), module: variant.module, module_bytes, loss: variant.loss })
    };
    request.variants.iter().map(with_size).collect()
}

/// What is read, with these labels where it has to be stored.
pub(super) async fn inputs(api: &Api, requests: Vec<InputRequest>, labels: &Labels) -> ApiResult<Vec<Payload>> {
    if requests.len() as u64 > INPUTS_MAX {
        let size = requests.len() as u64;
        return Err(SpecError::TooLarge { what: "number of inputs", size, limit: INPUTS_MAX }.into());
    }
    let mut inputs = Vec::with_capacity(requests.len());
    for request in requests {
        inputs.push(match request {
            InputRequest::Text(text) => Payload::inline(text.into_bytes()),
            InputRequest::Base64(text) => Payload::inline(STANDARD.decode(&text).map_err(|error| {
                ApiError::bad_request("an input is not base64", "use the standard alphabet with padding")
                    .because(error.to_string())
            })?),
            InputRequest::Blob(id) => Payload::Blob(match api.blobs.stat(id) {
                Some(bytes) => BlobRef { id, bytes, holder: api.me },
                // It may have stayed where another task left it.
                None => {
                    let known = api.driver.read(move |driver| driver.peer().blob(id)).await?;
                    known.ok_or_else(|| ApiError::no_blob(id, "the input"))?
                }
            }),
        });
    }
    let inline: u64 = inputs.iter().map(inline_bytes).sum();
    if inline <= INLINE_BYTES_MAX { Ok(inputs) } else { store_inline(api, inputs, labels).await }
}

fn inline_bytes(input: &Payload) -> u64 {
    match input {
        Payload::Inline(bytes) => bytes.len() as u64,
        Payload::Blob(_) => 0,
    }
}

/// What does not fit a frame travels as blobs.
pub(super) async fn store_inline(api: &Api, inputs: Vec<Payload>, labels: &Labels) -> ApiResult<Vec<Payload>> {
    let (store, me, labels) = (api.blobs.clone(), api.me, labels.clone());
    let stored = spawn_blocking(move || {
        let store_one = |input| match input {
            Payload::Inline(bytes) => store
                .put_labelled(&bytes, &labels)
                .map(|stored| Payload::Blob(BlobRef { id: stored.id, bytes: stored.bytes, holder: me })),
            Payload::Blob(blob) => Ok(Payload::Blob(blob)),
        };
        inputs.into_iter().map(store_one).collect::<Result<_, _>>()
    });
    Ok(stored.await??)
}
