//! What can keep the office from doing what it is asked to.

use shoal_protocol::certificate::joining::Refused;

use super::issuer::IssuerError;
use super::ledger::LedgerError;

/// Why the office does not do what it is asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfficeError {
    #[error("this peer may not sign for the mesh: {0}")]
    Issuer(#[from] IssuerError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("there are {0} invitations already")]
    Full(usize),
    #[error("this peer listens nowhere that another machine could reach")]
    NoAddress,
    #[error("the operating system gave no randomness: {0}")]
    NoEntropy(String),
    #[error("there is no such invitation")]
    NoInvitation,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the daemon could not finish this: {0}")]
    CutShort(String),
}

impl OfficeError {
    /// What a person can do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Issuer(error) => error.hint(),
            Self::Ledger(error) => error.hint(),
            Self::Full(_) => "withdraw some: `shoal mesh invitations`".into(),
            Self::NoAddress => "name one: `shoal invite --address HOST:PORT`; see `shoal config show`".into(),
            Self::NoEntropy(_) | Self::CutShort(_) => "try again".into(),
            Self::NoInvitation => "`shoal mesh invitations` lists them".into(),
            Self::Refused(why) => why.hint().into(),
        }
    }
}

impl From<OfficeError> for Refused {
    fn from(error: OfficeError) -> Self {
        match error {
            OfficeError::Refused(why) => why,
            OfficeError::Issuer(error) => Self::NoIssuer { why: error.to_string() },
            error => Self::Trouble { why: error.to_string() },
        }
    }
}
