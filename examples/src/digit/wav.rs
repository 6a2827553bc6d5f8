//! Reading the one kind of recording the digit modules take: 16-bit mono PCM at 8 kHz in a RIFF/WAVE file.

pub const RATE_HZ: u32 = 8000;
/// Ten seconds; a spoken digit lasts less than two.
pub const SAMPLES_MAX: usize = 80_000;
/// A tenth of a second: nothing shorter is a word.
pub const SAMPLES_MIN: usize = 800;

/// More recordings are asked about in several tasks.
pub const FILES_MAX: usize = 10_000;

/// Parts WAV files that stand one after another; what is not followed by another file is left whole.
pub fn files(input: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut files = Vec::new();
    let mut rest = input;
    loop {
        let end = u32_at(rest, 4).map_or(rest.len(), |length| (length as usize).saturating_add(8));
        // A recorder that was cut short never wrote its length.
        let followed = matches!(rest.get(end..), Some(next) if next.starts_with(b"RIFF"));
        if files.len() == FILES_MAX {
            return Err(format!("more than {FILES_MAX} recordings"));
        }
        if !followed || end < 12 {
            files.push(rest);
            return Ok(files);
        }
        let (file, next) = rest.split_at(end);
        files.push(file);
        rest = next;
    }
}

/// The samples as -1..1.
pub fn read(file: &[u8]) -> Result<Vec<f64>, String> {
    if file.get(..4) != Some(b"RIFF".as_slice()) || file.get(8..12) != Some(b"WAVE".as_slice()) {
        return Err("the input is not a WAV file (no RIFF/WAVE heading)".to_owned());
    }
    let mut rest = &file[12..];
    let mut known_format = false;
    while let Some((name, body, after)) = chunk(rest) {
        match name {
            [b'f', b'm', b't', b' '] => {
                check_format(body)?;
                known_format = true;
            }
            [b'd', b'a', b't', b'a'] if known_format => return samples(body),
            [b'd', b'a', b't', b'a'] => return Err("the WAV file has its samples before their format".to_owned()),
            _ => {}
        }
        rest = after;
    }
    Err("the WAV file ends before its samples".to_owned())
}

/// Splits off one chunk: its name, its body as far as the file goes, and what follows.
fn chunk(bytes: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let name = [*bytes.first()?, *bytes.get(1)?, *bytes.get(2)?, *bytes.get(3)?];
    let length = u32_at(bytes, 4)? as usize;
    let body = bytes.get(8..)?;
    let end = length.min(body.len());
    // Chunks start at even offsets.
    let next = (end + end % 2).min(body.len());
    Some((name, &body[..end], &body[next..]))
}

fn check_format(body: &[u8]) -> Result<(), String> {
    let fields = (u16_at(body, 0), u16_at(body, 2), u32_at(body, 4), u16_at(body, 14));
    match fields {
        (Some(1), Some(1), Some(RATE_HZ), Some(16)) => Ok(()),
        (Some(kind), Some(channels), Some(rate), Some(bits)) => Err(format!(
            "the recording has format {kind}, {channels} channel(s), {rate} Hz, {bits} bits; wanted: PCM (1), 1 channel, {RATE_HZ} Hz, 16 bits"
        )),
        _ => Err("the WAV file's format chunk is too short".to_owned()),
    }
}

fn samples(body: &[u8]) -> Result<Vec<f64>, String> {
    let count = body.len() / 2;
    if !(SAMPLES_MIN..=SAMPLES_MAX).contains(&count) {
        return Err(format!("the recording has {count} samples; wanted: {SAMPLES_MIN} to {SAMPLES_MAX}"));
    }
    let sample = |pair: &[u8]| f64::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0;
    Ok(body.chunks_exact(2).map(sample).collect())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16_at(bytes, at)?) | u32::from(u16_at(bytes, at + 2)?) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(rate: u32, samples: &[i16]) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        file.extend_from_slice(&rate.to_le_bytes());
        file.extend_from_slice(&(rate * 2).to_le_bytes());
        file.extend_from_slice(b"\x02\0\x10\0LIST\x03\0\0\0abc\0data");
        file.extend_from_slice(&(samples.len() as u32 * 2).to_le_bytes());
        samples.iter().for_each(|sample| file.extend_from_slice(&sample.to_le_bytes()));
        file
    }

    #[test]
    fn samples_are_read_past_other_chunks() {
        let samples = read(&recording(8000, &[-32768; 900])).unwrap();

        assert_eq!(samples, vec![-1.0; 900]);
    }

    #[test]
    fn other_recordings_are_refused_with_the_reason() {
        assert!(read(b"").unwrap_err().contains("not a WAV"));
        assert!(read(&recording(16000, &[0; 900])).unwrap_err().contains("16000 Hz"));
        assert!(read(&recording(8000, &[0; 10])).unwrap_err().contains("10 samples"));
        assert!(read(&recording(8000, &[0; 80_001])).unwrap_err().contains("80001 samples"));
    }

    #[test]
    fn files_one_after_another_are_parted() {
        let mut file = recording(8000, &[1000; 900]);
        let length = file.len() as u32 - 8;
        file[4..8].copy_from_slice(&length.to_le_bytes());
        let three = file.repeat(3);

        assert_eq!(files(&three).unwrap(), [file.as_slice(); 3]);
        assert_eq!(files(&three[..three.len() - 1]).unwrap().len(), 3);
        assert_eq!(files(b"").unwrap(), [b"".as_slice()]);
        assert_eq!(files(b"RIFF\0\0\0\0RIFF").unwrap().len(), 1);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error_or_shorter() {
        let file = recording(8000, &[100; 900]);

        for length in 0..file.len() {
            if let Ok(samples) = read(&file[..length]) {
                assert!(samples.len() < 900);
            }
        }
    }
}
