//! How this machine becomes a member: pays the inviter a visit with its ticket, and keeps what it is given.
//!
//! ```text
//! data directory is ours ─► node key ─► visit ─► clocks agree? ─► whom to turn to, the mesh's name, the certificate: in this order
//! ```
//!
//! **Invariant:** the certificate is written last: a machine that is interrupted before is no member, and can run the same
//! command again with the same ticket.

use std::path::PathBuf;

use shoal_protocol::api::{JoinReport, JoinedView, Problem, codes, schema};
use shoal_protocol::certificate::joining::{APPROVAL_MAX_S, Refused};
use shoal_protocol::certificate::{CertificateError, Chain, MemberCertificate, Role, SecretKey, Ticket};
use shoal_protocol::config::{ADDRESSES_MAX, NAME_BYTES_MAX};
use shoal_protocol::{MeshId, PeerId};

use super::CLOCK_WORD_S;
use super::contacts::Contacts;
use crate::config::Config;
use crate::daemon::{StartError, take_data_dir};
use crate::driver::unix_time;
use crate::network::{KeyError, Visit, VisitError, load_or_create_node_key};
use crate::small_file;

/// No clock that is right stands before this: 1 November 2026, in seconds since 1970.
const FIRST_RELEASE_UNIX_S: u64 = 1_793_491_200;

/// What a person asks for.
#[derive(Debug)]
pub struct Arrival {
    /// The ticket.
    pub ticket: Ticket,
    /// What this machine would like to be called; its host's name when it is not said.
    pub wish: Option<String>,
    /// Leave the mesh it belongs to.
    pub force: bool,
}

/// Why this machine is no member.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The data directory cannot be used, or a daemon uses it.
    #[error(transparent)]
    Directory(#[from] StartError),
    /// The node key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is a member already, of another mesh.
    #[error("this machine belongs to another mesh already ({mesh:?})")]
    OtherMesh {
        /// Which.
        mesh: MeshId,
        /// Its certificate.
        path: PathBuf,
    },
    /// The configuration wants another role than the ticket gives.
    #[error("node.role is `{configured}`, and the ticket is for a peer of role `{given}`")]
    OtherRole {
        /// In the configuration.
        configured: Role,
        /// In the ticket.
        given: Role,
    },
    /// The visit came to nothing.
    #[error("{error}")]
    Visit {
        /// Why.
        error: VisitError,
        /// How long ago the ticket expired, by this machine's clock.
        expired_s: Option<u64>,
    },
    /// What was given would not be believed here, because the two clocks differ.
    #[error("the clocks of the two machines differ by {}: what the inviting peer signs is not valid here", span(here_unix_s.abs_diff(*there_unix_s)))]
    Clock {
        /// The date here.
        here_unix_s: u64,
        /// The date there.
        there_unix_s: u64,
        /// What is wrong with the certificate.
        error: CertificateError,
    },
    /// What was given is not what a ticket promises.
    #[error("the certificate that was given is not valid: {0}")]
    Certificate(CertificateError),
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

impl JoinError {
    /// What a program and a person are told.
    pub fn problem(&self) -> Problem {
        let (code, detail, hint) = match self {
            Self::Directory(error) => (codes::BAD_REQUEST, String::new(), error.hint()),
            Self::Key(error) => (codes::BAD_REQUEST, String::new(), error.hint()),
            Self::OtherMesh { path, .. } => (
                codes::DENIED,
                format!("its certificate is {}", path.display()),
                "a peer belongs to one mesh: leave that one with --force, or join as another peer: --data-dir DIR"
                    .into(),
            ),
            Self::OtherRole { .. } => (
                codes::BAD_REQUEST,
                String::new(),
                "remove node.role from the configuration, or ask for a ticket of that role: `shoal invite --role`"
                    .into(),
            ),
            Self::Visit { error, expired_s } => of_visit(error, *expired_s),
            Self::Clock { here_unix_s, there_unix_s, error } => {
                (codes::CLOCK, format!("{error}; {}", clocks(*here_unix_s, *there_unix_s)), set_the_clock())
            }
            Self::Certificate(error) => (codes::TICKET, String::new(), error.hint().into()),
            Self::File { path, .. } => {
                (codes::STORE, String::new(), format!("check the owner and mode of {}", path.display()))
            }
        };
        Problem {
            code: code.into(),
            status: 0,
            title: self.to_string(),
            detail,
            hint,
            retryable: matches!(self, Self::Visit { error: VisitError::NoAnswer(_) | VisitError::BrokeOff(_), .. }),
            retry_after_ms: None,
        }
    }
}

fn of_visit(error: &VisitError, expired_s: Option<u64>) -> (&'static str, String, String) {
    let expired = || match expired_s {
        Some(ago) => format!("by the clock of this machine it expired {} ago", span(ago)),
        None => String::new(),
    };
    match error {
        VisitError::Local(_) => (codes::INTERNAL, String::new(), "check that this machine allows UDP sockets".into()),
        VisitError::NoAnswer(_) => (
            codes::NO_INVITER,
            expired(),
            "see that it is up (`shoal status` there) and that its UDP port can be reached from here; \
             `shoal invite --address HOST:PORT` names another way"
                .into(),
        ),
        VisitError::Stranger => (codes::TICKET, expired(), Refused::Unknown.hint().into()),
        VisitError::Other(_) => (codes::DENIED, String::new(), "ask for a new ticket: `shoal invite` there".into()),
        VisitError::BrokeOff(_) => {
            (codes::NO_INVITER, expired(), "run the same command again: the ticket stays good for this machine".into())
        }
        VisitError::Refused { why, clock_unix_s } => {
            let here = unix_time().as_secs();
            let detail = match why {
                Refused::Expired { .. } if here.abs_diff(*clock_unix_s) > CLOCK_WORD_S => clocks(here, *clock_unix_s),
                _ => String::new(),
            };
            let code = match why {
                Refused::Unknown | Refused::Used | Refused::Expired { .. } | Refused::WrongProof => codes::TICKET,
                Refused::Denied | Refused::NotApproved | Refused::Barred { .. } => codes::DENIED,
                Refused::NoIssuer { .. } => codes::NO_ISSUER,
                Refused::Trouble { .. } => codes::NO_INVITER,
            };
            (code, detail, why.hint().into())
        }
    }
}

/// Joins, and says how it goes.
pub async fn join(
    config: &Config,
    arrival: Arrival,
    mut report: impl FnMut(JoinReport),
) -> Result<JoinedView, JoinError> {
    let Arrival { ticket, wish, force } = arrival;
    let _data_dir = take_data_dir(&config.data_dir)?;
    check_membership(config, &ticket, force)?;
    let key = SecretKey::from_bytes(&*load_or_create_node_key(&config.node_key)?);
    let me = key.peer();
    let here = unix_time().as_secs();
    let expired_s = here.checked_sub(ticket.expires_unix_s);
    let (mesh, inviter) = (ticket.mesh, ticket.inviter);
    let mut addresses: Vec<String> = crate::network::multiaddresses(&ticket.addresses);
    let wish = wish.or_else(|| config.name.clone()).or_else(host_name);
    let wish = wish.map(|wish| wish.chars().take(NAME_BYTES_MAX / 4).collect::<String>());
    let visit = Visit { key, ticket, wish, clock_unix_s: here };
    let waiting = |words: &str| report(JoinReport::Waiting { words: words.to_owned(), patience_s: APPROVAL_MAX_S });
    let visited = visit.pay(waiting).await.map_err(|error| JoinError::Visit { error, expired_s })?;
    let there = visited.welcome.clock_unix_s;
    let certificate = believe(&visited.welcome.chain, mesh, me, there)?;

    // What worked just now first, then what the inviter says of itself, then the rest of the ticket.
    let is_near = |address: &String| address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/");
    let stays_near = is_near(&visited.address);
    addresses.splice(0..0, core::iter::once(visited.address).chain(visited.welcome.addresses));
    // Another machine's loopback is not ours.
    addresses.retain(|address| stays_near || !is_near(address));
    let mut seen = std::collections::BTreeSet::new();
    addresses.retain(|address| seen.insert(address.clone()));
    addresses.truncate(ADDRESSES_MAX);
    keep(config, &Contacts { mesh, inviter, addresses }, &visited.welcome.mesh_name, &visited.welcome.chain)?;
    Ok(view(config, certificate, visited.welcome.mesh_name, there))
}

/// A member of another mesh stays one unless it is said otherwise.
fn check_membership(config: &Config, ticket: &Ticket, force: bool) -> Result<(), JoinError> {
    if let Some(configured) = config.role.filter(|role| *role != ticket.role) {
        return Err(JoinError::OtherRole { configured, given: ticket.role });
    }
    let present = std::fs::read(&config.certificate).ok().and_then(|bytes| Chain::from_bytes(&bytes).ok());
    match present.and_then(|chain| chain.claimed_mesh().ok()) {
        Some(mesh) if mesh != ticket.mesh && !force => {
            Err(JoinError::OtherMesh { mesh, path: config.certificate.clone() })
        }
        Some(_) | None => Ok(()),
    }
}

fn believe(chain: &Chain, mesh: MeshId, me: PeerId, there_unix_s: u64) -> Result<MemberCertificate, JoinError> {
    let here_unix_s = unix_time().as_secs();
    chain.verify(mesh, me, here_unix_s).map_err(|error| match chain.verify(mesh, me, there_unix_s) {
        // Valid there and not here.
        Ok(_) => JoinError::Clock { here_unix_s, there_unix_s, error },
        Err(error) => JoinError::Certificate(error),
    })
}

fn keep(config: &Config, contacts: &Contacts, mesh_name: &str, chain: &Chain) -> Result<(), JoinError> {
    let failed = |path: PathBuf| move |source| JoinError::File { path, source };
    contacts.save(&config.data_dir).map_err(failed(config.data_dir.clone()))?;
    if !mesh_name.is_empty() {
        let path = config.data_dir.join("mesh.name");
        small_file::replace(&path, format!("{mesh_name}\n").as_bytes(), 0o644).map_err(failed(path))?;
    }
    small_file::replace(&config.certificate, &chain.to_bytes(), 0o644).map_err(failed(config.certificate.clone()))
}

fn view(config: &Config, certificate: MemberCertificate, mesh_name: String, there_unix_s: u64) -> JoinedView {
    let mut warnings = Vec::new();
    let here = unix_time().as_secs();
    if here.abs_diff(there_unix_s) > CLOCK_WORD_S {
        let apart = span(here.abs_diff(there_unix_s));
        warnings.push(format!("the clocks differ by {apart}: {} → {}", clocks(here, there_unix_s), set_the_clock()));
    }
    if config.name.as_ref().is_some_and(|name| *name != certificate.name) {
        warnings.push(format!("this peer is called {}: remove node.name from the configuration", certificate.name));
    }
    JoinedView {
        schema: schema(),
        mesh: certificate.mesh,
        mesh_name,
        peer: certificate.peer,
        name: certificate.name,
        role: certificate.role,
        labels: certificate.labels,
        expires_unix_s: certificate.expires_unix_s,
        data_dir: config.data_dir.display().to_string(),
        warnings,
    }
}

fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    name.split('.').next().map(str::to_owned).filter(|name| !name.is_empty())
}

/// Both clocks, and which is probably wrong.
fn clocks(here_unix_s: u64, there_unix_s: u64) -> String {
    let wrong = match (here_unix_s < FIRST_RELEASE_UNIX_S, there_unix_s < FIRST_RELEASE_UNIX_S) {
        (true, false) => "the clock of this machine is wrong: it stands before this program was released",
        (false, true) => "the clock of the inviting peer is wrong: it stands before this program was released",
        // Members whose clocks differ by more than minutes refuse each other; so those there agree.
        (_, _) => "probably that of this machine is wrong: the peers of a mesh agree on the time",
    };
    format!("here it is {}, there {}; {wrong}", utc(here_unix_s), utc(there_unix_s))
}

fn set_the_clock() -> String {
    "set the clock (`timedatectl set-ntp true`), and run the same command again: the ticket stays good for this machine"
        .into()
}

/// A time span as a person says it.
fn span(s: u64) -> String {
    match s {
        0..=119 => format!("{s} s"),
        120..=7_199 => format!("{} min", s / 60),
        7_200..=172_799 => format!("{} h", s / 3_600),
        _ => format!("{} days", s / 86_400),
    }
}

/// A date as people write it (after Howard Hinnant's `civil_from_days`).
fn utc(unix_s: u64) -> String {
    let days = unix_s / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (unix_s / 3_600 % 24, unix_s / 60 % 60, unix_s % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_826_154), "2000-02-29 12:09:14 UTC");
        assert_eq!(utc(FIRST_RELEASE_UNIX_S), "2026-11-01 00:00:00 UTC");
    }

    #[test]
    fn a_certificate_that_is_valid_there_and_not_here_is_a_matter_of_clocks() {
        let (mesh, me) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
        let there = unix_time().as_secs() + 3_600;
        let certificate = MemberCertificate {
            mesh: mesh.mesh(),
            peer: me.peer(),
            name: "cam".into(),
            role: Role::Edge,
            labels: std::collections::BTreeMap::new(),
            not_before_unix_s: there - super::super::CLOCK_SKEW_S,
            expires_unix_s: there + 86_400,
            serial: 1,
        };
        let chain = certificate.sign(&shoal_protocol::certificate::Issuer::of(&mesh));

        let error = believe(&chain, mesh.mesh(), me.peer(), there).unwrap_err();
        let problem = error.problem();
        assert_eq!(problem.code, codes::CLOCK);
        assert!(problem.title.contains("differ by 1 h") || problem.title.contains("60 min"), "{}", problem.title);
        assert!(problem.detail.contains("here it is 20"), "{}", problem.detail);
        assert!(problem.hint.contains("timedatectl"), "{}", problem.hint);

        let forged = believe(&chain, me.mesh(), me.peer(), there).unwrap_err();
        assert!(matches!(forged, JoinError::Certificate(_)), "{forged}");
    }

    #[test]
    fn the_clock_that_stands_before_the_program_is_the_wrong_one() {
        let now = FIRST_RELEASE_UNIX_S + 1;

        assert!(clocks(60, now).contains("this machine is wrong: it stands before"));
        assert!(clocks(now, 60).contains("inviting peer is wrong"));
        assert!(clocks(now, now + 4_000).contains("probably that of this machine"));
    }
}
