//! The first frame each side sends on the control stream. Who speaks has been shown in the handshake.
//!
//! ```text
//! dialler ── greeting ──► listener ── greeting ──► dialler
//! ```
//!
//! **Invariant:** nothing else of a peer is read before its greeting.

use shoal_protocol::message::{DecodeError, Hello};

/// Tells two runs of one peer apart, so that a restart is not taken for a second connection of the same run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run(pub(super) u64);

/// The body of this peer's first frame.
pub(super) fn greeting(run: Run) -> Vec<u8> {
    Hello { run: run.0, software: concat!("shoald ", env!("CARGO_PKG_VERSION")).to_owned() }.encode()
}

/// Reads the first frame of another.
pub(super) fn read(body: &[u8]) -> Result<Run, DecodeError> {
    Ok(Run(Hello::decode(body)?.run))
}

/// Whether what came is noise rather than the greeting of another version.
pub(super) fn is_noise(error: &DecodeError) -> bool {
    !matches!(error, DecodeError::OtherVersion { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_names_the_run() {
        assert_eq!(read(&greeting(Run(77))).unwrap(), Run(77));
    }

    #[test]
    fn another_version_is_no_noise() {
        let mut body = greeting(Run(1));
        body[0] = 9;

        assert!(!is_noise(&read(&body).unwrap_err()));
        assert!(is_noise(&read(b"\x01GET / HTTP/1.1").unwrap_err()));
    }
}
