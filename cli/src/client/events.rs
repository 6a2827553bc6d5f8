//! The daemon's news, as server-sent events.

use shoal_protocol::api::{EventView, SCHEMA};

use super::{ClientError, Download};

/// One event is never longer; a stream that says otherwise is not one of ours.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// The stream of news.
#[derive(Debug)]
pub struct EventStream {
    download: Download,
    lines: Lines,
    kind: String,
    missed: u64,
}

impl EventStream {
    pub(super) fn new(download: Download) -> Self {
        Self { download, lines: Lines::default(), kind: String::new(), missed: 0 }
    }

    /// Events that were dropped because this end was too slow to take them.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// The next event, or nothing when the daemon ends the stream.
    pub async fn next(&mut self) -> Result<Option<EventView>, ClientError> {
        loop {
            while let Some(line) = self.lines.next() {
                if let Some(event) = self.line(&line)? {
                    return Ok(Some(event));
                }
            }
            let Some(bytes) = self.download.chunk().await? else { return Ok(None) };
            self.lines.push(&bytes)?;
        }
    }

    /// Each event is one `data` line of JSON, with its kind before it when it is no news; comments keep the line open.
    fn line(&mut self, line: &str) -> Result<Option<EventView>, ClientError> {
        if line.is_empty() {
            self.kind.clear();
        } else if let Some(kind) = line.strip_prefix("event:") {
            self.kind = kind.trim().to_owned();
        } else if let Some(data) = line.strip_prefix("data:") {
            match self.kind.as_str() {
                "" | "message" => return event(data).map(Some),
                "lagged" => self.missed = self.missed.saturating_add(lagged(data)),
                _ => {}
            }
        }
        Ok(None)
    }
}

fn event(data: &str) -> Result<EventView, ClientError> {
    let event: EventView =
        serde_json::from_str(data).map_err(|error| ClientError::Malformed { why: error.to_string() })?;
    if event.schema == SCHEMA { Ok(event) } else { Err(ClientError::Schema { theirs: event.schema }) }
}

fn lagged(data: &str) -> u64 {
    #[derive(serde::Deserialize)]
    struct Lagged {
        missed: u64,
    }
    serde_json::from_str::<Lagged>(data).map_or(1, |lagged| lagged.missed)
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    start: usize,
}

impl Lines {
    fn push(&mut self, more: &[u8]) -> Result<(), ClientError> {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(more);
        if self.bytes.len() > EVENT_BYTES_MAX {
            return Err(ClientError::Malformed { why: format!("an event is longer than {EVENT_BYTES_MAX} bytes") });
        }
        Ok(())
    }

    fn next(&mut self) -> Option<String> {
        let rest = &self.bytes[self.start..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        let line = String::from_utf8_lossy(line).into_owned();
        self.start += end + 1;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_the_bytes_arrive() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();

        for piece in ["dat", "a: 1\r\n\nda", "ta: 2\n", ": note"] {
            lines.push(piece.as_bytes()).expect("short");
            seen.extend(std::iter::from_fn(|| lines.next()));
        }

        assert_eq!(seen, ["data: 1", "", "data: 2"]);
    }

    #[test]
    fn a_line_without_an_end_is_refused_at_the_limit() {
        let mut lines = Lines::default();

        assert!(lines.push(&vec![b'x'; EVENT_BYTES_MAX]).is_ok());
        assert!(lines.push(b"x").is_err());
    }
}
