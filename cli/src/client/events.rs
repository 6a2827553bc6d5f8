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
}

impl EventStream {
    pub(super) fn new(download: Download) -> Self {
        Self { download, lines: Lines::default() }
    }

    /// The next event, or nothing when the daemon ends the stream.
    pub async fn next(&mut self) -> Result<Option<EventView>, ClientError> {
        loop {
            while let Some(line) = self.lines.next() {
                // Each event is one `data` line of JSON; comments keep the connection open.
                let Some(data) = line.strip_prefix("data:") else { continue };
                let event: EventView = serde_json::from_str(data.trim_start())
                    .map_err(|error| ClientError::Malformed { why: error.to_string() })?;
                if event.schema != SCHEMA {
                    return Err(ClientError::Schema { theirs: event.schema });
                }
                return Ok(Some(event));
            }
            let Some(bytes) = self.download.chunk().await? else { return Ok(None) };
            self.lines.push(&bytes)?;
        }
    }
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
