//! `shoal completion`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::error::Failure;
use crate::{Arguments, Printer};

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal completion bash > ~/.local/share/bash-completion/completions/shoal")]
pub struct Completion {
    /// For which shell
    #[arg(value_parser = clap::builder::EnumValueParser::<Shell>::new())]
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self, printer: Printer) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "shoal", &mut script);
        printer.data(&script)
    }
}
