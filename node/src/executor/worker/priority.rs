//! Puts the calling thread behind the others.

/// Niceness of compilation: it gets what the network and running tasks leave.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// On Linux niceness belongs to a thread; elsewhere to the whole process, which must stay as it is.
#[cfg(target_os = "linux")]
pub(super) fn lower() {
    use nix::libc;
    #[allow(unsafe_code)] // Plain integers; zero names the calling thread.
    let refused = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) } != 0;
    if refused {
        tracing::debug!("compilation runs at normal priority");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lower() {}
