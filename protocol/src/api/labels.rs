//! Labels of data in the local API, and what they let happen.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /v1/blobs?residency=eu,site:a&class=personal&ttl_ms=N` | the bytes | [`super::BlobView`], labelled before it is visible |
//! | `POST /v1/policy/check` | [`PolicyCheckRequest`] | [`PolicyCheck`]: who might run it on these data; nothing moves |

use serde::{Deserialize, Serialize};

use super::{PipelineRequest, TaskRequest, schema};
use crate::certificate::Role;
use crate::id::PeerId;
use crate::residency::{LabelError, Labels};

/// What is said of data, as people say it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelsRequest {
    /// Where it may be: regions (`eu`), and sites (`site:street-9`). Anywhere where nothing is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub residency: Vec<String>,
    /// What kind of data it is: `personal`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class: Vec<String>,
    /// It is not to be read after so many milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

impl LabelsRequest {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The labels that are meant, if they are some.
    pub fn labels(&self, now_unix_s: u64) -> Result<Labels, LabelError> {
        let labels = Labels::residing(self.residency.iter().map(String::as_str))?;
        let labels = labels.of_classes(self.class.iter().map(String::as_str))?;
        Ok(match self.ttl_ms {
            // A part of a second more than was asked for would be too long.
            Some(ms) => labels.until(now_unix_s.saturating_add(ms / 1_000)),
            None => labels,
        })
    }
}

/// What is said of data, as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelsView {
    /// Where it may be; absent where it may be anywhere, empty where it may go nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<Vec<String>>,
    /// What kinds of data it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class: Vec<String>,
    /// It is not read from this date on, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_s: Option<u64>,
}

impl LabelsView {
    /// Labels as they are shown.
    pub fn of(labels: &Labels) -> Self {
        Self {
            residency: labels.is_bound().then(|| labels.places()),
            class: labels.classes().iter().cloned().collect(),
            expires_unix_s: labels.expires_unix_s(),
        }
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is to be looked at: one of both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyCheckRequest {
    /// A task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRequest>,
    /// A pipeline, of which each stage is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineRequest>,
}

/// Who might run what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyCheck {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// The task, or each stage of the pipeline; a stage whose tasks read data with other labels stands here for each of them.
    pub subjects: Vec<PolicySubject>,
}

/// One task, and what would be decided of each peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicySubject {
    /// Of a pipeline, the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// What is said of all that it would read, and so of what it would write.
    pub labels: LabelsView,
    /// This peer first, then its neighbours by name.
    pub peers: Vec<PolicyVerdict>,
}

/// One peer in a check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyVerdict {
    /// Which.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// What its certificate says of where it is: its `residency` and its `site`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<String>,
    /// The same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Whether it might run it.
    pub allowed: bool,
    /// Why not, with the label at fault.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}
