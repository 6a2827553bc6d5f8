//! Tasks: handing one in, waiting for its end, and what is left of it.

use core::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use shoal_protocol::api::{Explanation, Listing, TaskRequest, TaskView};
use shoal_protocol::placement::explain::Decision;

use super::answer::ANSWER_BYTES_MAX;
use super::body::Body;
use super::encoding::encode;
use super::{Client, ClientError, Download};

/// Longest single wait asked of the daemon; longer waits are several requests, so a frozen daemon is noticed.
const WAIT_SLICE: Duration = Duration::from_secs(20);

impl Client {
    /// Hands in a task and returns as soon as it is accepted.
    pub async fn submit(&self, request: &TaskRequest) -> Result<TaskView, ClientError> {
        debug_assert!(!request.dry_run, "a dry run is answered by a decision");
        self.post("/v1/tasks", Body::json(request)).await
    }

    /// Hands in a task and returns when it has ended, in one request; takes as long as the task does.
    pub async fn run(&self, request: TaskRequest) -> Result<TaskView, ClientError> {
        let request = TaskRequest { wait: true, dry_run: false, ..request };
        let answer = self.pool.send(Method::POST, "/v1/tasks", Body::json(&request)).await?;
        self.read(answer).await
    }

    /// Where a task would run if it were handed in now.
    pub async fn dry_run(&self, request: TaskRequest) -> Result<Decision, ClientError> {
        let request = TaskRequest { dry_run: true, wait: false, ..request };
        self.post("/v1/tasks", Body::json(&request)).await
    }

    /// The newest `limit` tasks of this peer's users, newest first.
    pub async fn tasks(&self, limit: usize) -> Result<Listing<TaskView>, ClientError> {
        self.get(&format!("/v1/tasks?limit={limit}")).await
    }

    /// A task, by id, unique prefix or `last`, as it is now.
    pub async fn task(&self, id: &str) -> Result<TaskView, ClientError> {
        self.get(&format!("/v1/tasks/{}", encode(id))).await
    }

    /// A task when it has ended, or as it is after `wait`.
    pub async fn task_after(&self, id: &str, wait: Duration) -> Result<TaskView, ClientError> {
        let path = format!("/v1/tasks/{}?wait_ms={}", encode(id), wait.as_millis());
        self.within(self.timeout + wait, self.pool.send(Method::GET, &path, Body::empty())).await
    }

    /// A task when it has ended.
    pub async fn wait(&self, id: &str) -> Result<TaskView, ClientError> {
        loop {
            let view = self.task_after(id, WAIT_SLICE).await?;
            if view.state.is_final() {
                return Ok(view);
            }
        }
    }

    /// Withdraws a task.
    pub async fn cancel(&self, id: &str) -> Result<TaskView, ClientError> {
        self.post(&format!("/v1/tasks/{}/cancel", encode(id)), Body::empty()).await
    }

    /// What a task wrote to standard output.
    pub async fn result(&self, id: &str) -> Result<Download, ClientError> {
        self.download(&format!("/v1/tasks/{}/result", encode(id))).await
    }

    /// The end of what a task wrote to standard error.
    pub async fn logs(&self, id: &str) -> Result<Bytes, ClientError> {
        self.download(&format!("/v1/tasks/{}/logs", encode(id))).await?.bytes(ANSWER_BYTES_MAX).await
    }

    /// Why a task ran where it ran: one decision an attempt.
    pub async fn explain(&self, id: &str) -> Result<Explanation, ClientError> {
        self.get(&format!("/v1/tasks/{}/explain", encode(id))).await
    }

    /// Keeps the output of a task where it stayed for so long from now; no longer, if that is nothing.
    pub async fn hold_output(&self, task: &str, lease: Duration) -> Result<(), ClientError> {
        let ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        self.order(&format!("/v1/tasks/{}/hold?ms={ms}", encode(task))).await
    }
}
