//! Ctrl-C where this process does nothing but wait for a system call.

use crate::error::Exit;

/// From now on Ctrl-C ends the process at once: whoever reads its output may be slow, and while it is written nothing else
/// goes on here.
pub(crate) fn ends_at_once() {
    std::thread::spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            std::process::exit(Exit::Interrupted as i32);
        }
    });
}
