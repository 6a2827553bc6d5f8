//! What of this machine stands in the peer's way, as `shoal doctor` shows it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use shoal_protocol::api::{Check, SandboxPart};

use super::{Driver, unix_time};
use crate::network::SOCKET_BUFFER_BYTES;
use crate::store::{RESERVE_BYTES, free_bytes};

impl Driver {
    pub(crate) fn checks(&self) -> Vec<Check> {
        let mut checks: Vec<Check> = self.executor.sandbox().iter().map(sandbox).collect();
        checks.push(key_file(&self.config.node_key));
        checks.push(store_key(&self.config.store_key, &self.config.data_dir));
        checks.push(self.disk_check());
        checks.push(self.clock_check());
        checks.push(socket_buffers());
        checks
    }

    fn disk_check(&self) -> Check {
        let dir = &self.config.data_dir;
        let (ok, found) = match (self.committer.counts().trouble(), free_bytes(dir)) {
            (Some((why, _)), _) => (false, format!("tasks cannot be kept: {why}")),
            (None, None) => (false, format!("{} cannot be looked at", dir.display())),
            (None, Some(free)) => {
                (free > RESERVE_BYTES, format!("{} MiB are free on the disk of {}", free >> 20, dir.display()))
            }
        };
        Check {
            name: "data disk".into(),
            ok,
            found,
            why: format!(
                "kept tasks and their results, blobs and compiled modules are there; with less than {} MiB nothing new is kept",
                RESERVE_BYTES >> 20
            ),
            fix: "make room on it, or lower capacity.disk; a disk that fails is to be replaced".into(),
        }
    }

    fn clock_check(&self) -> Check {
        let certificate = &self.identity.certificate;
        let now_unix_s = unix_time().as_secs();
        let in_time = (certificate.not_before_unix_s..certificate.expires_unix_s).contains(&now_unix_s);
        let (ok, found) = match (in_time, clock_is_kept()) {
            (false, _) => (false, "this peer's own certificate is not valid at this time".to_owned()),
            (true, false) => (false, "nothing keeps the clock in step".to_owned()),
            (true, true) => (true, "kept in step".to_owned()),
        };
        Check {
            name: "clock".into(),
            ok,
            found,
            why: "certificates and deadlines of other peers are judged by this clock".into(),
            fix:
                "run a time service (`timedatectl set-ntp true`, or chrony); renew the certificate if that has expired"
                    .into(),
        }
    }
}

fn sandbox(part: &SandboxPart) -> Check {
    let (why, fix) = match part.name.as_str() {
        "files" => (
            "a task that breaks out of WebAssembly must find no files",
            "use Linux 5.13 or later with Landlock among the security modules: `lsm=landlock,…` on the kernel's command line",
        ),
        "syscalls" => (
            "a task that breaks out of WebAssembly must reach neither the network nor other programs",
            "use a kernel with seccomp filters (CONFIG_SECCOMP_FILTER), and a container runtime that allows them",
        ),
        "limits" => (
            "a task that breaks out of WebAssembly must not take all memory",
            "mount /proc, and give the daemon limits that it may lower",
        ),
        "privileges" => (
            "a worker process must have none, and win none by set-user-id programs",
            "use a kernel and a container runtime that allow PR_SET_NO_NEW_PRIVS and capset",
        ),
        _ => (
            "a worker process must not outlive the daemon",
            "use a kernel and a container runtime that allow PR_SET_PDEATHSIG",
        ),
    };
    Check {
        name: format!("sandbox: {}", part.name),
        ok: part.enforced,
        found: part.detail.clone(),
        why: format!("{why}; without it this peer declines work marked restricted"),
        fix: fix.into(),
    }
}

fn key_file(path: &Path) -> Check {
    /// Whatever lets anybody but the owner in.
    const OTHERS: u32 = 0o077;
    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o777);
    let (ok, found) = match mode {
        Ok(mode) => (mode & OTHERS == 0, format!("{} has mode {mode:04o}", path.display())),
        Err(error) => (false, format!("{} cannot be looked at: {error}", path.display())),
    };
    Check {
        name: "key file".into(),
        ok,
        found,
        why: "whoever reads it can speak as this peer".into(),
        fix: format!("chmod 600 {}; make another key if somebody else may have read it", path.display()),
    }
}

/// Where the key of the blobs is; it was good when the daemon began.
fn store_key(path: &Path, data_dir: &Path) -> Check {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
    let (ok, found) = match (device(path), device(&data_dir.join("blobs"))) {
        (Ok(key), Ok(blobs)) if key == blobs => (true, format!("{} is on the disk of the blobs", path.display())),
        (Ok(_), _) => (true, format!("{} is on a device of its own", path.display())),
        (Err(error), _) => (false, format!("{} cannot be looked at: {error}", path.display())),
    };
    Check {
        name: "store key".into(),
        ok,
        found,
        why: "blobs are sealed with it; whoever takes a disk that has both can read them".into(),
        fix: "put it back before the next start, which needs it: what is stored cannot be read without".into(),
    }
}

fn socket_buffers() -> Check {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?.trim().parse::<usize>().ok();
    let (receive, send) = (read("rmem_max"), read("wmem_max"));
    let least = receive.zip(send).map(|(receive, send)| receive.min(send));
    let found = match least {
        Some(bytes) => format!("up to {} KiB, {} KiB are wanted", bytes >> 10, SOCKET_BUFFER_BYTES >> 10),
        None => "the system does not say".to_owned(),
    };
    Check {
        name: "UDP buffers".into(),
        ok: least.is_some_and(|bytes| bytes >= SOCKET_BUFFER_BYTES),
        found,
        why: "what arrives in a burst and does not fit is lost, and large transfers are slow".into(),
        fix: format!("sysctl -w net.core.rmem_max={SOCKET_BUFFER_BYTES} net.core.wmem_max={SOCKET_BUFFER_BYTES}"),
    }
}

/// Whether the kernel is told the time by somebody.
fn clock_is_kept() -> bool {
    use nix::libc;
    #[allow(unsafe_code)] // All zeros is a question that changes nothing; the kernel fills in the rest.
    let state = unsafe {
        let mut question: libc::timex = std::mem::zeroed();
        libc::adjtimex(&raw mut question)
    };
    state >= 0 && state != libc::TIME_ERROR
}
