//! Why the demonstration could not be shown. That an answer was wrong is not among these: the report says so.

use shoal_cli::client::ClientError;

use crate::cluster::ClusterError;

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("{peer} could not {doing}: {source}")]
    Peer { peer: String, doing: &'static str, source: ClientError },
    #[error("{peer} could not {doing}: {why}")]
    Refused { peer: String, doing: &'static str, why: String },
    #[error("the computation of {user} cannot be made natively: {why}")]
    Native { user: &'static str, why: String },
    #[error("{seconds} seconds of work were asked for: {min} to {max} can be shown")]
    Seconds { seconds: u64, min: u64, max: u64 },
}

impl DemoError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Peer { source, .. } => source.hint(),
            Self::Refused { .. } => {
                "run it again; if it stays, `shoal-testnet up` starts the same mesh to look at".into()
            }
            Self::Native { .. } => "rebuild: the data and the modules belong to one build".into(),
            Self::Seconds { .. } => "give --seconds a number in that range".into(),
        }
    }
}
