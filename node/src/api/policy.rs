//! What labels of data let happen, told before anything moves.

use std::collections::BTreeSet;

use axum::extract::{Request, State};
use shoal_protocol::api::{LabelsView, PolicyCheck, PolicyCheckRequest, PolicySubject, PolicyVerdict, schema};
use shoal_protocol::pipeline::graph::Graph;
use shoal_protocol::pipeline::labels_of;
use shoal_protocol::placement::policy::Exclusion;
use shoal_protocol::residency::{RESIDENCY, SITE};
use shoal_protocol::{Member, TaskSpec};

use super::body::{self, Json};
use super::problem::{ApiError, ApiResult};
use super::{Api, pipelines, spec};
use crate::driver::Driver;
use crate::driver::handle::Refusal;

/// A request with its inputs; larger inputs are put as blobs first.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Labels told apart of one pipeline; beyond, a person reads no list.
const SUBJECTS_MAX: usize = 64;

/// What one task would read, and where it is pinned to.
struct Subject {
    stage: Option<String>,
    spec: TaskSpec,
    pinned: Option<String>,
}

pub(super) async fn check(State(api): State<Api>, request: Request) -> ApiResult<Json<PolicyCheck>> {
    let request: PolicyCheckRequest = body::read(request, REQUEST_BYTES_MAX).await?;
    let subjects = match (request.task, request.pipeline) {
        (Some(mut task), None) => {
            let pinned = task.peer.take();
            vec![Subject { stage: None, spec: spec::described(&api, &mut task).await?, pinned }]
        }
        (None, Some(mut pipeline)) => {
            let (spec, pinned) = pipelines::build(&api, &mut pipeline, false).await?;
            let graph = Graph::of(&spec).map_err(|error| pipelines::bad_graph(&error))?;
            of_stages(&spec, &graph, &pinned)
        }
        _ => {
            let title = "a check is of one task, or of one pipeline";
            return Err(ApiError::bad_request(title, "give `task` or `pipeline`"));
        }
    };
    let checked = api.driver.read(move |driver| {
        let subjects = subjects.into_iter().map(|subject| verdicts(driver, subject));
        Ok::<_, Refusal>(PolicyCheck { schema: schema(), subjects: subjects.collect::<Result<_, Refusal>>()? })
    });
    Ok(Json(checked.await??))
}

/// Each stage, once for all its tasks that read data of the same labels.
fn of_stages(
    spec: &shoal_protocol::pipeline::spec::PipelineSpec,
    graph: &Graph,
    pinned: &[Option<String>],
) -> Vec<Subject> {
    let mut seen = BTreeSet::new();
    let mut subjects = Vec::new();
    for (node, labels) in graph.nodes.iter().zip(labels_of(spec, graph)) {
        let index = node.stage as usize;
        let Some(stage) = spec.stages.get(index) else { continue };
        if seen.insert((node.stage, labels.clone())) && subjects.len() < SUBJECTS_MAX {
            let spec = TaskSpec { labels, ..stage.task.clone() };
            let pinned = pinned.get(index).cloned().flatten();
            subjects.push(Subject { stage: Some(stage.name.clone()), spec, pinned });
        }
    }
    subjects
}

fn verdicts(driver: &Driver, subject: Subject) -> Result<PolicySubject, Refusal> {
    let Subject { stage, mut spec, pinned } = subject;
    spec.policy.peer = pinned.map(|text| driver.peer().find_peer(&text)).transpose()?;
    let me = driver.peer().me(driver.now()).peer;
    let mut peers: Vec<_> = driver.peer().check_policy(driver.now(), &spec).into_iter().map(shown).collect();
    peers.sort_by(|a, b| (a.peer != me, &a.name).cmp(&(b.peer != me, &b.name)));
    Ok(PolicySubject { stage, labels: LabelsView::of(&spec.labels), peers })
}

fn shown((member, verdict): (Member, Result<(), Exclusion>)) -> PolicyVerdict {
    PolicyVerdict {
        peer: member.peer,
        role: member.role,
        residency: member.labels.get(RESIDENCY).cloned(),
        site: member.labels.get(SITE).cloned(),
        allowed: verdict.is_ok(),
        why: verdict.err().map(|exclusion| exclusion.to_string()).unwrap_or_default(),
        name: member.name,
    }
}
