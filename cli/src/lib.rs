//! The `shoal` command, and the client it talks to `shoald` with.
//!
//! [`client`] is for any program that drives a peer. The rest is the command: `commands/<noun>/<verb>.rs` each hold one
//! verb, `printer` renders a value as text or JSON, `error` turns failures into exit codes and advice.

mod arguments;
pub mod client;
pub mod commands;
pub mod error;
mod format;
mod home;
mod interrupt;
mod new_file;
mod printer;
mod programs;
mod table;
mod user;

pub use arguments::Arguments;
pub use printer::Printer;
