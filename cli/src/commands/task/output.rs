//! Where a task's output goes: standard output, or the file named with `-o`.

use std::path::Path;

use base64::Engine;
use shoal_protocol::api::{OutputView, TaskView};

use crate::Printer;
use crate::client::{Client, Download};
use crate::error::{Exit, Failure, own};
use crate::interrupt;
use crate::new_file::NewFile;

/// Delivers the output of a task that is done; its bytes exactly.
pub(super) async fn deliver(
    client: &Client,
    printer: Printer,
    view: &TaskView,
    file: Option<&Path>,
) -> Result<(), Failure> {
    let bytes = match &view.output {
        Some(OutputView::Text(text)) => text.clone().into_bytes(),
        Some(OutputView::Base64(text)) => base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| {
            Failure::new(Exit::VersionMismatch, own::VERSION, "the output of the task cannot be read")
                .why(error.to_string())
        })?,
        Some(OutputView::Blob { .. }) | None => {
            let streamed = stream(printer, client.result(&view.task.to_string()).await?, file).await;
            return streamed.map_err(|failure| still_there(failure, view));
        }
    };
    let Some(path) = file else { return printer.data(&bytes) };
    if wrote_nothing(view) {
        return Ok(());
    }
    let written = NewFile::create(path).and_then(|mut out| {
        out.write(&bytes)?;
        out.keep()
    });
    written.map_err(|failure| still_there(failure, view))
}

/// A module that failed and wrote nothing leaves a file as it was before.
pub(super) fn wrote_nothing(view: &TaskView) -> bool {
    let is_empty = matches!(&view.output, Some(OutputView::Text(text) | OutputView::Base64(text)) if text.is_empty());
    is_empty && view.exit_code.is_some_and(|code| code != 0)
}

/// What was computed need not be computed again, because there was no place for it.
fn still_there(failure: Failure, view: &TaskView) -> Failure {
    match &*failure.code {
        own::WRITE => failure.fix(format!("it is still there: shoal task result {} -o ANOTHER-FILE", view.task)),
        _ => failure,
    }
}

/// Passes on bytes as they come.
pub(crate) async fn stream(printer: Printer, mut download: Download, file: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = file else {
        while let Some(bytes) = download.chunk().await? {
            printer.data(&bytes)?;
        }
        return Ok(());
    };
    let bar = printer.bar(&path.display().to_string(), download.length().unwrap_or(0));
    let writing = async {
        let mut out = NewFile::create(path)?;
        while let Some(bytes) = download.chunk().await? {
            out.write(&bytes)?;
            bar.inc(bytes.len() as u64);
        }
        bar.finish_and_clear();
        out.keep()
    };
    interrupt::stops(path, writing).await
}
