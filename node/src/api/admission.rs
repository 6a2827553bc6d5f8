//! Who may ask: the user the daemon runs as, and root; and no web page.
//!
//! The mode of the socket says the first already. What it says can be undone by one `chmod`, and whatever forwards a TCP
//! port to the socket opens it to every page of the user's browser: so both are looked at here as well.
//!
//! **Invariant:** a denied request reaches no route, and is in the audit log.

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use shoal_protocol::api::codes;
use tokio::net::UnixListener;

use super::problem::ApiError;
use crate::audit::Audit;

const ROOT: u32 = 0;

/// The user at the other end of a connection; none when the system does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller(Option<u32>);

impl axum::extract::connect_info::Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|credentials| credentials.uid()))
    }
}

/// Lets a request through, or denies it and notes that.
pub(super) async fn admit(
    State(audit): State<Audit>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let owner = nix::unistd::geteuid().as_raw();
    match may_ask(caller, owner, request.headers()) {
        Ok(()) => next.run(request).await,
        Err((who, why)) => {
            let hint = "ask as the user that shoald runs as, by its socket: `shoal status`";
            let denied =
                ApiError::new(codes::DENIED, StatusCode::FORBIDDEN, format!("{who} may not ask this peer"), hint);
            audit.api_denied(who, why.clone());
            denied.because(why).into_response()
        }
    }
}

/// Who is denied, and why. Asked of every request: words are made for those that are denied.
fn may_ask(caller: Caller, owner: u32, headers: &HeaderMap) -> Result<(), (String, String)> {
    let who = || caller.0.map_or_else(|| "an unknown user".to_owned(), |uid| format!("the user with id {uid}"));
    if caller.0.is_none_or(|uid| uid != owner && uid != ROOT) {
        return Err((who(), format!("this peer belongs to the user with id {owner}")));
    }
    let word = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if let Some(origin) = word(ORIGIN) {
        return Err((format!("a web page of {origin}"), "requests of web pages are not answered".into()));
    }
    match word(HOST) {
        Some(host) if !is_local(&host) => {
            Err((who(), format!("it asked for {host}, and this peer answers to `shoald` and `localhost`")))
        }
        _ => Ok(()),
    }
}

/// Whether no web page's own address can be this: a name without a dot, or the address of this machine (DNS rebinding
/// needs a name that an attacker can register).
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "127.0.0.1" | "[::1]") || name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: u32 = 1_000;

    fn asks(uid: Option<u32>, headers: &[(axum::http::HeaderName, &str)]) -> Result<(), (String, String)> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        may_ask(Caller(uid), OWNER, &headers)
    }

    #[test]
    fn its_owner_and_root_may_ask_and_nobody_else() {
        assert_eq!([Some(OWNER), Some(0)].map(|uid| asks(uid, &[]).is_ok()), [true, true]);
        assert_eq!([Some(OWNER + 1), None].map(|uid| asks(uid, &[]).is_ok()), [false, false]);
    }

    #[test]
    fn names_that_a_web_page_cannot_have_are_ours() {
        for host in ["shoald", "localhost", "localhost:8080", "127.0.0.1:80", "[::1]:80", ""] {
            assert_eq!(asks(Some(OWNER), &[(HOST, host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "192.0.2.1", "[2001:db8::1]", "127.0.0.1:x"] {
            assert!(asks(Some(OWNER), &[(HOST, host)]).is_err(), "{host}");
        }
    }

    #[test]
    fn a_web_page_may_not_ask_by_any_name() {
        let (who, _) = asks(Some(OWNER), &[(HOST, "localhost"), (ORIGIN, "http://localhost")]).unwrap_err();

        assert_eq!(who, "a web page of http://localhost");
    }
}
