//! A result as it is written: one line of JSON.
//!
//! ```json
//! {"stream":"speeds","run":"5d0f…","window":17,"records":1000,"output":"…"}
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use shoal_protocol::stream::{Closed, ClosedKind};

/// What running a window came to.
pub(in crate::streams) type Outcome = Result<Vec<u8>, String>;

/// One line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::streams) struct Line {
    pub(in crate::streams) stream: String,
    /// Told apart from an earlier stream of the same name.
    pub(in crate::streams) run: String,
    /// From 0, without gaps; late records have numbers of the same row.
    pub(in crate::streams) window: u64,
    records: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_ms: Option<u64>,
    /// The window was cut: it was larger than a window may be.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    part: bool,
    /// These are records that came too late.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    late: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    /// Where it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_base64: Option<String>,
    /// Why there is no output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Line {
    pub(in crate::streams) fn new(stream: &str, run: u64, closed: &Closed, outcome: Outcome) -> Self {
        let (start_ms, end_ms) = match closed.kind {
            ClosedKind::Time { start_ms, end_ms } => (Some(start_ms), Some(end_ms)),
            ClosedKind::Count | ClosedKind::Late => (None, None),
        };
        let (output, output_base64, error) = match outcome {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => (Some(text), None, None),
                Err(error) => (None, Some(STANDARD.encode(error.as_bytes())), None),
            },
            Err(why) => (None, None, Some(why)),
        };
        Self {
            stream: stream.to_owned(),
            run: run_text(run),
            window: closed.sequence,
            records: closed.records,
            start_ms,
            end_ms,
            part: closed.cut,
            late: closed.kind == ClosedKind::Late,
            output,
            output_base64,
            error,
        }
    }

    /// With its end.
    pub(in crate::streams) fn text(&self) -> String {
        // A plain struct with text keys, which cannot fail to serialize.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

pub(super) fn run_text(run: u64) -> String {
    format!("{run:016x}")
}
