//! A task as its home peer knows it: where it is in its life, and how it ended.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Listing, Problem, schema};
use crate::certificate::Role;
use crate::id::{BlobId, PeerId, TaskId};
use crate::output::{TaskError, TaskResult, Timings};
use crate::placement::explain::Decision;
use crate::task::durable::Found;
use crate::task::report::{Ending, LimitKind};
use crate::task::spec::Payload;
use crate::task::{TaskState, problem};
use crate::time::micros;

/// A task, as its home peer knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Its id.
    pub task: TaskId,
    /// The name it was submitted under.
    pub name: String,
    /// Where it is in its life.
    pub state: TaskState,
    /// The latest attempt, from 1.
    pub attempt: u32,
    /// Where it runs or ran.
    pub executor: Option<ExecutorView>,
    /// Which build.
    pub variant: Option<String>,
    /// Size of its input, in bytes.
    pub input_bytes: u64,
    /// Microseconds since it was accepted.
    pub age_us: u64,
    /// Where the time went, once it is done.
    pub timings: Option<Timings>,
    /// The module's exit code, when it exited.
    pub exit_code: Option<u32>,
    /// What it wrote, when small enough to be carried here and asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputView>,
    /// The end of its standard error, as text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// Why it has no good end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// The limit it hit, when that is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitKind>,
    /// Runs that gave this answer, where runs were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<u8>,
}

impl TaskView {
    /// A task that another peer told of; `executor` is how this one knows who ran it.
    pub fn of_found(found: &Found, executor: Option<ExecutorView>) -> Self {
        let mut view = Self {
            schema: schema(),
            task: found.task,
            name: found.name.clone(),
            state: found.state,
            attempt: 0,
            executor,
            variant: None,
            input_bytes: 0,
            age_us: micros(found.age),
            timings: None,
            exit_code: None,
            output: None,
            log: String::new(),
            problem: None,
            limit: None,
            agreed: None,
        };
        if let Some(end) = &found.result {
            view.end(end, true);
        }
        view
    }

    /// Enters how it ended.
    pub fn end(&mut self, end: &Result<TaskResult, TaskError>, with_output: bool) {
        let result = match end {
            Ok(result) => result,
            Err(error) => {
                self.problem = Some(problem::of_error(error));
                return;
            }
        };
        self.attempt = result.attempts.max(self.attempt);
        self.timings = Some(result.timings);
        self.agreed = Some(result.agreed).filter(|agreed| *agreed > 0);
        self.log = String::from_utf8_lossy(&result.report.log).into_owned();
        self.output = with_output.then(|| OutputView::of(&result.report.output));
        self.problem = problem::of_ending(&result.report.ending);
        match &result.report.ending {
            Ending::Exited(code) => self.exit_code = Some(*code),
            Ending::LimitHit(limit) => self.limit = Some(*limit),
            Ending::Trapped(_) | Ending::Invalid(_) | Ending::HostFailed(_) => {}
        }
    }
}

/// Who ran a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorView {
    /// Its id.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
}

/// What a task wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputView {
    /// It is valid UTF-8.
    Text(String),
    /// It is not.
    Base64(String),
    /// It is large, or was to stay where it was made: a blob.
    Blob {
        /// The blob.
        id: BlobId,
        /// Its size.
        bytes: u64,
        /// A peer that has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        holder: Option<PeerId>,
    },
}

impl OutputView {
    /// Text where it is text.
    pub fn of(output: &Payload) -> Self {
        match output {
            Payload::Inline(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Self::Text(text.to_owned()),
                Err(_) => Self::Base64(STANDARD.encode(bytes)),
            },
            Payload::Blob(blob) => Self::Blob { id: blob.id, bytes: blob.bytes, holder: Some(blob.holder) },
        }
    }
}

/// Decisions of one task, one an attempt.
pub type Explanation = Listing<Decision>;
