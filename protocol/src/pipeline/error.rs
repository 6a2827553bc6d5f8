//! Why a pipeline has no good end.

use core::time::Duration;
use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::output::TaskError;
use crate::privacy::Refused;
use crate::task::report::{Ending, LimitKind};

/// Why a pipeline failed; each way names the stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum PipelineError {
    /// The module of a stage ended badly, as often as its stage allows.
    #[error("stage `{stage}` {}{}", how(.ending), said(.log))]
    Ended {
        /// Which, with the number of its element.
        stage: String,
        /// How.
        ending: Ending,
        /// The last that it wrote to standard error.
        log: String,
    },
    /// A task of a stage has no result.
    #[error("stage `{stage}`: {error}")]
    Task {
        /// Which.
        stage: String,
        /// Why not.
        error: TaskError,
    },
    /// The keeper of a data set does not release what a stage asks for.
    #[error("stage `{stage}`: {refused}")]
    Refused {
        /// Which.
        stage: String,
        /// Why not.
        refused: Refused,
    },
    /// What a stage is to read is more than a task may read.
    #[error("stage `{stage}` cannot be given its input: {why}")]
    Inputs {
        /// Which.
        stage: String,
        /// What is too much.
        why: String,
    },
    /// The outputs of stages are more than this peer keeps.
    #[error(
        "the outputs of pipelines that wait to be read here, and the results that are kept, have {bytes} bytes, {limit} may be (at stage `{stage}`)"
    )]
    TooMuch {
        /// Whose output was too much.
        stage: String,
        /// How much there is.
        bytes: u64,
        /// How much there may be.
        limit: u64,
    },
    /// It had not ended by its deadline, or by the end of its retention.
    #[error("the pipeline had not ended within {after:?}: {} not finished", .open.join(", "))]
    DeadlinePassed {
        /// From acceptance.
        after: Duration,
        /// Stages that had not ended.
        open: Vec<String>,
    },
    /// Its user withdrew it.
    #[error("the pipeline was cancelled")]
    Cancelled,
    /// What this peer kept of it cannot be read.
    #[error("the record of the pipeline cannot be read: {why}")]
    RecordDamaged {
        /// What is wrong with it.
        why: String,
    },
}

impl PipelineError {
    /// What a person can do about it.
    pub fn hint(&self) -> Cow<'static, str> {
        let hint = match self {
            Self::Refused { refused, .. } => return refused.hint().into(),
            Self::Ended { ending: Ending::LimitHit(_), .. } => "raise the limit of the stage, or mend its module",
            Self::Ended { .. } => {
                "run the module of the stage by itself: shoal run MODULE -i FILE; or give the stage `retries`"
            }
            Self::Task { .. } => "see the attempts with `shoal task ls` and `shoal explain TASK`",
            Self::Inputs { .. } => "reduce in two steps, or have the stages before it write less",
            Self::TooMuch { .. } => {
                "reduce earlier, so that less waits to be read, or keep results for less time (retention)"
            }
            Self::DeadlinePassed { .. } => "see what took long with `shoal pipeline status`, and give it more time",
            Self::Cancelled => "run it again if it is still wanted",
            Self::RecordDamaged { .. } => "check the disk, then run the pipeline again",
        };
        hint.into()
    }
}

fn how(ending: &Ending) -> String {
    match ending {
        Ending::Exited(code) => format!("exited with code {code}"),
        Ending::Trapped(why) => format!("trapped: {why}"),
        Ending::LimitHit(LimitKind::Memory) => "hit its limit of memory".into(),
        Ending::LimitHit(LimitKind::Wall) => "hit its limit of wall time".into(),
        Ending::LimitHit(LimitKind::Output) => "hit its limit of output".into(),
        Ending::Invalid(why) => format!("has no module that can be run: {why}"),
        Ending::HostFailed(why) => format!("was failed by its machine: {why}"),
    }
}

fn said(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!(" ({log})") }
}
