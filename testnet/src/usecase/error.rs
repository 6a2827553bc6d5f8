//! Why a use could not be judged.

use std::io;
use std::path::PathBuf;

use shoal_cli::client::ClientError;

use crate::cluster::ClusterError;
use crate::plot::PlotError;

#[derive(Debug, thiserror::Error)]
pub enum UsecaseError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} holds no {wanted}", dir.display())]
    NothingFound { dir: PathBuf, wanted: &'static str },
    #[error("{}: more than {most} files", dir.display())]
    TooMany { dir: PathBuf, most: usize },
    /// `why` names the line where there is one.
    #[error("{file}: {why}")]
    BadData { file: String, why: String },
    #[error("{peer} could not {doing}: {source}")]
    Peer { peer: String, doing: &'static str, source: ClientError },
    #[error("no answer from `{module}` about {about}: {why}")]
    NoAnswer { module: &'static str, about: String, why: String },
    #[error("the mesh's answer from `{module}` about {about} is not what the native function gives")]
    WrongAnswer { module: &'static str, about: String },
    #[error(transparent)]
    Plot(#[from] PlotError),
}

impl UsecaseError {
    pub(super) fn bad(file: impl Into<String>, why: impl ToString) -> Self {
        Self::BadData { file: file.into(), why: why.to_string() }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Unreadable { .. } => "check the path and its mode".into(),
            Self::NothingFound { .. } => "`shoal-testnet usecase --help` says what is looked for".into(),
            Self::TooMany { .. } => "give a directory with fewer files to --data".into(),
            Self::BadData { .. } => "correct the file, or move it out of the directory".into(),
            Self::Peer { source, .. } => source.hint(),
            Self::NoAnswer { .. } => "run it with --native to see whether the data is the reason".into(),
            Self::WrongAnswer { .. } => "rebuild: the modules and the native functions belong to one build".into(),
            Self::Plot(_) => "run it without --plot".into(),
        }
    }
}
