//! Ctrl-C while output goes somewhere.

use std::path::Path;

use crate::error::{Exit, Failure};
use crate::new_file::is_special;

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

/// Ctrl-C ends the writing of a file, and nothing of it is left.
pub(crate) async fn stops(path: &Path, writing: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    if is_special(path) {
        // Writing it may wait for somebody, and nothing else goes on here then.
        return writing.await;
    }
    tokio::select! {
        written = writing => written,
        _ = tokio::signal::ctrl_c() => Err(Failure::interrupted(format!("interrupted while `{}` was written", path.display()))),
    }
}
