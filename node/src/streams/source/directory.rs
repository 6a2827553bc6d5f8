//! Records from the files of a directory: each line is one, and a file that was taken is renamed to `NAME.done`.
//!
//! A file counts once it was not written to for a moment, and is taken by name. Whoever writes them renames them into place, or
//! writes names that begin with a dot or end in `.tmp` or `.part` meanwhile.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use shoal_protocol::stream::{Mark, RECORD_BYTES_MAX};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::super::intake::{Delivery, Done, Intake, Taken};
use super::super::status::{Note, Status};

/// The directory is looked at this often.
const LOOK: Duration = Duration::from_millis(500);
/// A file that was written to within this time may not be whole.
const SETTLED: Duration = Duration::from_secs(1);
/// Lines in one delivery, and bytes, unless a line is larger.
const LINES_MAX: usize = 512;
const BYTES_MAX: usize = 256 * 1024;
const DONE: &str = "done";

/// Reads until the stream ends.
pub(in crate::streams) async fn run(path: PathBuf, intake: Intake, status: Arc<Status>) {
    while !intake.is_closed() {
        match take_one(&path, &intake, &status).await {
            Ok(Some(())) => status.clear(Note::Source),
            Ok(None) => sleep(LOOK).await,
            Err(error) => {
                status.note(Note::Source, format!("{} cannot be read: {error}", path.display()));
                sleep(LOOK).await;
            }
        }
    }
}

/// The next file, if there is one.
async fn take_one(directory: &Path, intake: &Intake, status: &Status) -> io::Result<Option<()>> {
    let looked_at = directory.to_owned();
    let Some(Found { name, known_as, file }) = blocking(move || next_file(&looked_at)).await? else {
        status.connected_once();
        return Ok(None);
    };
    let mut lines = Lines { reader: io::BufReader::new(file), taken: 0 };
    let Some(Taken { place, .. }) = hand(intake, Vec::new(), Mark::File(known_as.clone(), 0)).await else {
        return Ok(None);
    };
    loop {
        let (rest, batch) = blocking(move || {
            let batch = lines.next_batch()?;
            Ok((lines, batch))
        })
        .await?;
        lines = rest;
        let Some(mut batch) = batch else { break };
        let first = lines.taken - batch.len() as u64;
        // Lines that were taken before a restart.
        batch.drain(..batch.len().min(usize::try_from(place.saturating_sub(first)).unwrap_or(usize::MAX)));
        let before = batch.len();
        batch.retain(|line| line.len() <= RECORD_BYTES_MAX);
        status.refused((before - batch.len()) as u64);
        if hand(intake, batch, Mark::File(known_as.clone(), lines.taken)).await.is_none() {
            return Ok(None);
        }
    }
    let from = directory.join(&name);
    blocking(move || {
        std::fs::rename(&from, from.with_file_name(format!("{name}.{DONE}")))?;
        std::fs::File::open(from.parent().unwrap_or(Path::new("/")))?.sync_all()
    })
    .await?;
    Ok(Some(()))
}

/// Hands lines over and waits until they are on disk; nothing when the stream ends, or its disk is full.
async fn hand(intake: &Intake, records: Vec<Bytes>, mark: Mark) -> Option<Taken> {
    loop {
        let (reply, taken) = oneshot::channel();
        let (records, mark) = (records.clone(), Some(mark.clone()));
        if !intake.hand(Delivery { records, mark, repeated: true, done: Done::Reply(reply), room: None }).await {
            return None;
        }
        match taken.await {
            Ok(Ok(taken)) => return Some(taken),
            // The stream says so in its status.
            Ok(Err(_)) => sleep(LOOK).await,
            Err(_) => return None,
        }
    }
}

/// A file that is whole.
struct Found {
    name: String,
    /// Another file of that name, later, is another one.
    known_as: String,
    file: std::fs::File,
}

fn next_file(directory: &Path) -> io::Result<Option<Found>> {
    let mut first: Option<(String, SystemTime)> = None;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let unfinished = name.starts_with('.') || [".tmp", ".part", ".done"].iter().any(|end| name.ends_with(end));
        // Only files: a pipe would keep this waiting, a link may lead anywhere.
        if unfinished || !entry.file_type()?.is_file() {
            continue;
        }
        if first.as_ref().is_some_and(|(first, _)| *first < name) {
            continue;
        }
        let written = entry.metadata()?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if SystemTime::now().duration_since(written).is_ok_and(|age| age >= SETTLED) {
            first = Some((name, written));
        }
    }
    let Some((name, written)) = first else { return Ok(None) };
    let file = std::fs::File::open(directory.join(&name))?;
    let written_ns = written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    Ok(Some(Found { known_as: format!("{name} {written_ns}"), name, file }))
}

struct Lines {
    reader: io::BufReader<std::fs::File>,
    /// Lines read so far.
    taken: u64,
}

impl Lines {
    fn next_batch(&mut self) -> io::Result<Option<Vec<Bytes>>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < LINES_MAX && bytes < BYTES_MAX {
            let mut line = Vec::new();
            // A longer one is no record, and must not fill the memory.
            if self.reader.by_ref().take(RECORD_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.len() > RECORD_BYTES_MAX && !line.ends_with(b"\n") {
                self.reader.skip_until(b'\n')?;
            }
            while line.last().is_some_and(|byte| b"\r\n".contains(byte)) {
                line.pop();
            }
            bytes += line.len();
            batch.push(line.into());
        }
        self.taken += batch.len() as u64;
        Ok((!batch.is_empty()).then_some(batch))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &Path, name: &str, age: Duration) {
        let file = std::fs::File::create(directory.join(name)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn the_first_file_that_is_whole_is_next_however_many_were_taken() {
        let dir = tempfile::tempdir().unwrap();
        let next = || next_file(dir.path()).unwrap().map(|found| found.name);
        for taken in 0..2_000 {
            file(dir.path(), &format!("{taken}.csv.{DONE}"), 2 * SETTLED);
        }
        assert_eq!(next(), None);

        file(dir.path(), "b.csv", 2 * SETTLED);
        file(dir.path(), "c.csv", 2 * SETTLED);
        file(dir.path(), "a.csv", Duration::ZERO);
        file(dir.path(), "0.csv.tmp", 2 * SETTLED);
        std::fs::create_dir(dir.path().join("0")).unwrap();
        assert_eq!(next().as_deref(), Some("b.csv"));
    }
}
