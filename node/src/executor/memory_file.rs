//! Files that exist in memory only: how bytes too large for a packet reach a worker.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// A file of these bytes that nobody can change any more, at its beginning.
pub(super) fn sealed(name: &CStr, bytes: &[u8]) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Never to be executed as a program; kernels before 6.3 do not know the flag.
    let never_a_program = flags | MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let made = match memfd_create(name, never_a_program) {
        Err(Errno::EINVAL) => memfd_create(name, flags),
        made => made,
    };
    let mut file = File::from(made?);
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_sealed_file_can_be_read_and_not_changed() {
        let mut file = sealed(c"test", b"once and for all").unwrap();

        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();

        assert_eq!(text, "once and for all");
        assert!(file.write_all(b"!").is_err());
        assert!(file.set_len(3).is_err());
    }
}
