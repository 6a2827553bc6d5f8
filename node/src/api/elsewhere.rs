//! Tasks that this peer does not know: their home or its guardian may be within reach.
//!
//! **Invariant:** only a whole id is asked for elsewhere: it is derived from a secret of its user, and whoever knows it may
//! ask. A prefix is not.

use std::time::Duration;

use shoal_protocol::api::{ExecutorView, TaskView};
use shoal_protocol::output::TaskError;
use shoal_protocol::task::durable::Found;
use shoal_protocol::task::spec::Payload;
use shoal_protocol::{FindError, TaskId};
use tokio::time::{Instant, sleep, timeout};

use super::Api;
use super::problem::ApiResult;
use crate::driver::handle::Refusal;

/// The end of a task is told after this long, also where its output is still on the way.
const BRINGING: Duration = Duration::from_secs(1);
/// Between two questions whether a task elsewhere has ended.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// What this peer or another knows of a task.
pub(super) async fn find(api: &Api, task: TaskId) -> ApiResult<Option<TaskView>> {
    match api.driver.seek(task).await? {
        Some(found) => Ok(Some(shown(api, found).await?)),
        None => Ok(None),
    }
}

/// What another peer knows of a task, if it was handed in there; an error when nobody who knows it can say whether it was
/// acknowledged.
pub(super) async fn find_promised(api: &Api, task: TaskId) -> ApiResult<Option<TaskView>> {
    match api.driver.seek(task).await? {
        Some(found) if found.unpromised => {
            let why = "it was submitted at a peer that does not answer and may have refused it, or its guardian does not lead it yet".into();
            Err(Refusal::Task(TaskError::NotStored { why }).into())
        }
        Some(found) => Ok(Some(shown(api, found).await?)),
        None => Ok(None),
    }
}

/// A task of this id that is not known here; `error` where nobody knows it.
pub(super) async fn view(api: &Api, id: &str, error: FindError) -> ApiResult<TaskView> {
    let Ok(task) = id.parse::<TaskId>() else { return Err(Refusal::Find(error).into()) };
    find(api, task).await?.ok_or_else(|| Refusal::Find(error).into())
}

/// The same when it has ended, or as it was last seen at the deadline: who knows it may be away for a while.
pub(super) async fn wait_for(api: &Api, id: &str, deadline: Instant) -> ApiResult<TaskView> {
    let mut seen = None;
    loop {
        let error = FindError::None { what: "task", text: id.to_owned() };
        let view = match (view(api, id, error).await, seen) {
            (Ok(view), _) | (Err(_), Some(view)) => view,
            (Err(error), None) => return Err(error),
        };
        if view.state.is_final() || Instant::now() + ASK_AGAIN >= deadline {
            return Ok(view);
        }
        seen = Some(view);
        sleep(ASK_AGAIN).await;
    }
}

/// Its large output, if it has one, is brought here while its holder is known. That is not waited for long: who wants the bytes
/// asks for them, and waits then.
async fn shown(api: &Api, found: Found) -> ApiResult<TaskView> {
    if let Some(Ok(result)) = &found.result
        && let Payload::Blob(output) = &result.report.output
        && api.blobs.stat(output.id).is_none()
    {
        let (driver, blob, task, holder) = (api.driver.clone(), output.id, found.task, found.holder.to_string());
        let bringing = tokio::spawn(async move {
            if let Err(error) = driver.fetch_blob(blob, Some(holder)).await {
                tracing::debug!(?task, %error, "an output was not brought here");
            }
        });
        let _ = timeout(BRINGING, bringing).await;
    }
    let executor = found.result.as_ref().and_then(|result| result.as_ref().ok()).map(|result| result.executor);
    let executor = match executor {
        Some(peer) => api.driver.read(move |driver| {
            let known = driver.peer().peers(driver.now()).into_iter().find(|view| view.peer == peer);
            known.map(|view| ExecutorView { peer, name: view.name, role: view.role })
        }),
        None => return Ok(TaskView::of_found(&found, None)),
    };
    Ok(TaskView::of_found(&found, executor.await?))
}
