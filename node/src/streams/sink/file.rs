//! Results as lines of a file.
//!
//! The file itself says what it has: the number in its last whole line. What is half written after it is cut off, and a number
//! that is there already is not written again. So a result is there once whenever the process dies, and whichever peer of the
//! same machine, or of the same file system, goes on. The file is locked: no two write to it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::mqtt::Backoff;
use super::super::status::{Note, Status};
use super::line::{Line, run_text};

/// A line that is looked for at the end of a file.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug)]
pub(in crate::streams) struct FileSink {
    path: PathBuf,
    stream: String,
    run: String,
    status: Arc<Status>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Its whole lines.
    bytes: u64,
    /// The last number of this run in it.
    last: Option<u64>,
}

impl FileSink {
    pub(super) fn new(path: PathBuf, stream: String, run: u64, status: Arc<Status>) -> Self {
        Self { path, stream, run: run_text(run), status, open: None }
    }

    pub(super) async fn publish(&mut self, sequence: u64, line: String) {
        let mut backoff = Backoff::default();
        let line = Arc::new(line);
        loop {
            match self.write(sequence, Arc::clone(&line)).await {
                Ok(()) => return self.status.clear(Note::Sink),
                Err(error) => {
                    let what = format!("{} cannot be written: {error}", self.path.display());
                    tracing::warn!(stream = self.stream, window = sequence, what);
                    self.status.note(Note::Sink, what);
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }

    async fn write(&mut self, sequence: u64, line: Arc<String>) -> io::Result<()> {
        let (path, stream, run) = (self.path.clone(), self.stream.clone(), self.run.clone());
        let open = self.open.take();
        let written = tokio::task::spawn_blocking(move || {
            let mut open = match open {
                Some(open) => open,
                None => Open::at(&path, &stream, &run)?,
            };
            open.append(sequence, line.as_bytes())?;
            Ok::<_, io::Error>(open)
        });
        // Where that failed the file is looked at anew next time.
        self.open = Some(written.await.map_err(io::Error::other)??);
        Ok(())
    }
}

impl Open {
    fn at(path: &Path, stream: &str, run: &str) -> io::Result<Self> {
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => io::Error::other("another process writes to it"),
            std::fs::TryLockError::Error(error) => error,
        })?;
        let Tail { start, end, line } = Tail::of(&mut file)?;
        file.set_len(end)?;
        // Whoever wrote the last line may have died, or failed, before it was synced; and after a sync that failed the system
        // takes it for written. So it is written again.
        let mut again = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.read_to_end(&mut again)?;
        file.seek(SeekFrom::Start(start))?;
        file.write_all(&again)?;
        file.sync_all()?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()?;
        let last = line.filter(|line| line.stream == stream && line.run == run).map(|line| line.window);
        Ok(Self { file, bytes: end, last })
    }

    fn append(&mut self, sequence: u64, line: &[u8]) -> io::Result<()> {
        if self.last.is_some_and(|last| last >= sequence) {
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(self.bytes))?;
        self.file.write_all(line)?;
        self.file.sync_data()?;
        self.bytes += line.len() as u64;
        self.last = Some(sequence);
        Ok(())
    }
}

/// The last whole line of a file: where it starts and ends, and what it says, if it is one of ours.
struct Tail {
    start: u64,
    end: u64,
    line: Option<Line>,
}

impl Tail {
    fn of(file: &mut File) -> io::Result<Self> {
        let size = file.seek(SeekFrom::End(0))?;
        let mut span: u64 = 64 * 1024;
        loop {
            let from = size.saturating_sub(span);
            file.seek(SeekFrom::Start(from))?;
            let mut tail = Vec::new();
            Read::by_ref(file).take(span).read_to_end(&mut tail)?;
            let end = tail.iter().rposition(|byte| *byte == b'\n');
            let start = end.and_then(|end| tail[..end].iter().rposition(|byte| *byte == b'\n')).map(|start| start + 1);
            let (start, end) = match (start, end) {
                (Some(start), Some(end)) => (start, end),
                (None, Some(end)) if from == 0 => (0, end),
                (None, None) if from == 0 => return Ok(Self { start: 0, end: 0, line: None }),
                (_, _) if span > 2 * LINE_BYTES_MAX => return Err(io::Error::other("its last line has no end")),
                (_, _) => {
                    span *= 4;
                    continue;
                }
            };
            let line = serde_json::from_slice(&tail[start..end]).ok();
            return Ok(Self { start: from + start as u64, end: from + end as u64 + 1, line });
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_protocol::stream::{Closed, ClosedKind};

    use super::*;

    fn line(run: u64, window: u64) -> String {
        let closed =
            Closed { sequence: window, kind: ClosedKind::Count, spans: vec![], records: 1, bytes: 1, cut: false };
        Line::new("s", run, &closed, Ok(b"out".to_vec())).text()
    }

    /// A process that writes this and dies.
    fn life(path: &Path, run: u64, windows: &[u64]) {
        let mut open = Open::at(path, "s", &run_text(run)).unwrap();
        for window in windows {
            open.append(*window, line(run, *window).as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_number_that_is_there_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        life(&path, 1, &[0, 1, 2]);
        life(&path, 1, &[2, 3]);

        let text = std::fs::read_to_string(&path).unwrap();

        assert_eq!(text, (0..4).map(|window| line(1, window)).collect::<String>());
    }

    #[test]
    fn a_half_written_line_is_cut_off_and_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let whole = line(1, 0) + &line(1, 1);
        for cut in line(1, 0).len()..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            life(&path, 1, &[1]);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn an_earlier_run_of_the_stream_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        life(&path, 1, &[0, 1, 2]);
        life(&path, 2, &[0]);

        assert!(std::fs::read_to_string(&path).unwrap().ends_with(&line(2, 0)));
    }

    #[test]
    fn two_do_not_write_to_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let _first = Open::at(&path, "s", "1").unwrap();

        assert!(Open::at(&path, "s", "1").is_err());
    }
}
