//! The files of the log: lines are appended and synced, then the head is replaced; full files are set aside by number.
//!
//! **Invariant:** a line that was written is on disk before the head knows it; the head is replaced as a whole or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use shoal_protocol::PeerId;
use shoal_protocol::audit::{Chain, Fault, Happening, Hash, Head, files};
use shoal_protocol::certificate::SecretKey;

/// A file of this size is full.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// One that is full grows on while no other can be begun; beyond this it is none of ours.
const OVERFULL_BYTES_MAX: u64 = 16 * FILE_BYTES_MAX;
/// Files of one log: 32 MiB, two months of the worst that strangers can do.
const FILES_MAX: u32 = 8;
/// A line is no longer than this: a configuration of a hundred values.
const LINE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    key: SecretKey,
    peer: PeerId,
    file: File,
    bytes: u64,
    bytes_max: u64,
    chain: Chain,
    first: u64,
    joined: BTreeSet<PeerId>,
    configuration: Option<Hash>,
}

impl Log {
    /// Goes on with the log in this directory, or begins one. What is not as it was left is set aside, and that is the first
    /// entry of what follows.
    pub(super) fn open(dir: &Path, key: SecretKey, at_unix_ms: u64) -> io::Result<Self> {
        let (peer, path) = (key.peer(), dir.join(files::LOG));
        let head = read_text(&dir.join(files::HEAD), LINE_BYTES_MAX)?;
        let head = head.map(|text| Head::read(text.trim_end_matches('\n'), Some(peer)));
        let text = read_text(&path, OVERFULL_BYTES_MAX)?;
        let has_older = !numbers(dir)?.is_empty();
        let found = match (&head, &text) {
            // Also where it was ended at its very first start, before there was anything to say.
            (None, text) if !has_older && text.as_deref().is_none_or(str::is_empty) => Ok(Found::default()),
            (None, _) => Err(Fault::NoHead),
            (Some(Err(fault)), _) => Err(fault.clone()),
            (Some(Ok(head)), text) => Found::read(text.as_deref().unwrap_or_default(), *head),
        };
        let (found, damage) = match found {
            Ok(found) => (found, None),
            Err(fault) => {
                set_aside(dir, at_unix_ms)?;
                // Numbers go on, as far as is known, so that no two entries have the same.
                let chain =
                    head.and_then(Result::ok).map_or_else(Chain::new, |head| Chain::after(head.last, head.hash));
                let first = chain.last().saturating_add(1);
                (Found { chain, first, ..Found::default() }, Some(fault.to_string()))
            }
        };
        let file = open_file(&path)?;
        // A line that was begun when the power went is none.
        file.set_len(found.bytes)?;
        let Found { bytes, chain, first, joined, configuration } = found;
        let bytes_max = FILE_BYTES_MAX;
        let mut log =
            Self { dir: dir.to_owned(), key, peer, file, bytes, bytes_max, chain, first, joined, configuration };
        log.file.seek(SeekFrom::End(0))?;
        if let Some(why) = damage {
            tracing::warn!(why, "the audit log was not as it was left; what there was is set aside");
            log.append(at_unix_ms, vec![(Happening::LogDamaged { why }, 1)])?;
        }
        Ok(log)
    }

    /// Where it stands.
    pub(super) fn head(&self) -> Head {
        self.chain.head(self.peer, self.first)
    }

    /// Members that have joined, by the file that is written to.
    pub(super) fn take_joined(&mut self) -> BTreeSet<PeerId> {
        std::mem::take(&mut self.joined)
    }

    /// The configuration of the last start, by the file that is written to.
    pub(super) fn configuration(&self) -> Option<Hash> {
        self.configuration
    }

    /// Writes these down; all are on disk when it returns, or none.
    pub(super) fn append(&mut self, at_unix_ms: u64, happenings: Vec<(Happening, u64)>) -> io::Result<()> {
        let mut chain = self.chain;
        let mut text = String::new();
        for (happening, count) in happenings {
            text += &chain.write(at_unix_ms, happening, count, &self.key);
            text.push('\n');
        }
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line must not be in the way of the next.
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::End(0))?;
            return Err(error);
        }
        self.bytes += text.len() as u64;
        self.chain = chain;
        self.write_head()?;
        if self.bytes >= self.bytes_max
            && let Err(error) = self.rotate()
        {
            // What was to be written is; the file grows until another can be begun.
            tracing::warn!(%error, "the audit log is full, and another file of it cannot be begun");
        }
        Ok(())
    }

    fn write_head(&self) -> io::Result<()> {
        let (new, path) = (self.dir.join("audit.head.new"), self.dir.join(files::HEAD));
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(self.head().write(&self.key).as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_data()?;
        fs::rename(&new, &path)
    }

    /// The file is full: it gets a number, and the oldest goes. The head knows first what will be the oldest then.
    fn rotate(&mut self) -> io::Result<()> {
        let numbers = numbers(&self.dir)?;
        let (kept, gone): (Vec<u32>, Vec<u32>) = numbers.into_iter().partition(|number| *number < FILES_MAX - 1);
        if !gone.is_empty() {
            let oldest = kept.iter().max().map_or_else(|| self.dir.join(files::LOG), |number| self.numbered(*number));
            self.first = first_of(&oldest, self.peer)?.unwrap_or(self.first);
            self.write_head()?;
        }
        for number in gone {
            fs::remove_file(self.numbered(number))?;
        }
        // There before anything moves: where it cannot be had, this one goes on, and the next append tries again.
        let (path, next) = (self.dir.join(files::LOG), self.dir.join("audit.log.new"));
        let file = File::options().create(true).truncate(true).read(true).write(true).mode(0o600).open(&next)?;
        // The oldest first, so that no two have the same number.
        for number in kept.into_iter().rev() {
            fs::rename(self.numbered(number), self.numbered(number + 1))?;
        }
        match fs::rename(&path, self.numbered(1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // It was moved the time before.
            Ok(()) | Err(_) => fs::rename(&next, &path)?,
        }
        (self.file, self.bytes) = (file, 0);
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{}.{number}", files::LOG))
    }
}

/// What is known after reading the file that is written to.
#[derive(Debug)]
struct Found {
    bytes: u64,
    chain: Chain,
    first: u64,
    joined: BTreeSet<PeerId>,
    configuration: Option<Hash>,
}

impl Default for Found {
    fn default() -> Self {
        Self { bytes: 0, chain: Chain::new(), first: 1, joined: BTreeSet::new(), configuration: None }
    }
}

impl Found {
    fn read(text: &str, head: Head) -> Result<Self, Fault> {
        let at_head = Chain::after(head.last, head.hash);
        let mut found = Self { first: head.first, ..Self::default() };
        let mut meets_head = false;
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let entry = found.chain.read(line, head.peer)?;
            // Where the file before had just become full, its last line is the one the head is of.
            let follows_head = found.bytes == 0 && entry.previous == head.hash;
            found.bytes += line.len() as u64 + 1;
            meets_head |= found.chain == at_head || follows_head;
            match entry.happening {
                Happening::Joined { peer, .. } => drop(found.joined.insert(peer)),
                Happening::Started { configuration, .. } => found.configuration = Some(configuration),
                _ => {}
            }
        }
        if found.bytes == 0 {
            // The file before was full.
            found.chain = at_head;
            return Ok(found);
        }
        match found.chain.last() {
            last if last < head.last => Err(Fault::CutEnd { expected: head.last, found: last }),
            _ if meets_head => Ok(found),
            _ => Err(Fault::OtherLog { seq: head.last }),
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}

fn read_text(path: &Path, bytes_max: u64) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    // What is no text is no line either.
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The numbers of the older files, in order.
fn numbers(dir: &Path) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        found.extend(entry?.file_name().to_str().and_then(files::number));
    }
    found.sort_unstable();
    Ok(found)
}

/// The number of the first entry of a file.
fn first_of(path: &Path, peer: PeerId) -> io::Result<Option<u64>> {
    let mut start = Vec::new();
    File::open(path)?.take(LINE_BYTES_MAX).read_to_end(&mut start)?;
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(Chain::new().read(&String::from_utf8_lossy(line), peer).ok().map(|entry| entry.seq))
}

/// Gives every file of the log a name under which it is left alone.
fn set_aside(dir: &Path, at_unix_ms: u64) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if [files::LOG, files::HEAD].contains(&name) || files::number(name).is_some() {
            fs::rename(dir.join(name), dir.join(format!("{name}.damaged-{at_unix_ms}")))?;
        }
    }
    Ok(())
}

#[cfg(test)]
impl Log {
    pub(super) fn with_files_of(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max;
        self
    }
}
