//! Inviters and joiners over real sockets on loopback.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use shoal_protocol::certificate::joining::{InvitationSecret, JoinAnswer, JoinRequest, PAPERS_BYTES_MAX, Refused};
use shoal_protocol::certificate::{IssuerCertificate, MemberCertificate, Role, SecretKey, Ticket};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::*;
use crate::driver::unix_time;
use crate::joining::{Invitation, LIFE_S, Office, Verdict};
use crate::network::{Congestion, Network, NetworkConfig, NetworkEvent};

const PATIENCE: Duration = Duration::from_secs(20);

/// A peer that invites.
struct Inviter {
    mesh: SecretKey,
    office: Office,
    network: Network,
    _events: mpsc::Receiver<NetworkEvent>,
    dir: tempfile::TempDir,
}

fn write_issuer(dir: &Path, mesh: &SecretKey) {
    let key = SecretKey::from_bytes(&[7; 32]);
    let certificate = IssuerCertificate {
        mesh: mesh.mesh(),
        issuer: key.peer(),
        not_before_unix_s: 0,
        expires_unix_s: unix_time().as_secs() + 90 * 86_400,
    };
    let path = dir.join("issuer.key");
    std::fs::write(&path, *key.to_bytes()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(dir.join("issuer.cert"), certificate.sign(mesh).to_bytes()).unwrap();
}

impl Inviter {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mesh, key) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
        write_issuer(dir.path(), &mesh);
        let certificate = crate::network::tests::certificate_for(&mesh, &key);
        let office = Office::open(dir.path(), mesh.mesh(), "lab", key.peer()).unwrap();
        let config = NetworkConfig {
            announce: Vec::new(),
            reachable: true,
            relay: false,
            listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()],
            mdns: false,
            mdns_interval: Duration::from_secs(2),
            peers_max: 8,
            congestion: Congestion::default(),
            node_key: Zeroizing::new([2; 32]),
            mesh: mesh.mesh(),
            certificate: certificate.sign(&shoal_protocol::certificate::Issuer::of(&mesh)),
            office: Some(office.clone()),
        };
        let (network, events) = Network::start(config).await.unwrap();
        office.listens_at(network.local_addresses());
        Self { mesh, office, network, _events: events, dir }
    }

    async fn ticket(&self, change: impl FnOnce(&mut Invitation)) -> Ticket {
        let mut invitation = Invitation {
            role: Role::Edge,
            labels: BTreeMap::from([("site".into(), "a".into())]),
            name: None,
            ttl_s: 3_600,
            uses: 1,
            approve: false,
            life_s: LIFE_S,
            addresses: Vec::new(),
        };
        change(&mut invitation);
        let (_, ticket) = self.office.invite(invitation).await.unwrap();
        Ticket::decode(&ticket).unwrap()
    }
}

fn visit(seed: u8, ticket: &Ticket) -> Visit {
    let key = SecretKey::from_bytes(&[seed; 32]);
    Visit { key, ticket: ticket.clone(), wish: Some("cam".into()), clock_unix_s: unix_time().as_secs() }
}

async fn pay(visit: Visit) -> Result<MemberCertificate, VisitError> {
    let (mesh, me) = (visit.ticket.mesh, visit.key.peer());
    let visited = tokio::time::timeout(PATIENCE, visit.pay(|_| ())).await.expect("an answer in time")?;
    Ok(visited.welcome.chain.verify(mesh, me, unix_time().as_secs()).unwrap())
}

fn refused(visited: Result<MemberCertificate, VisitError>) -> Refused {
    match visited {
        Err(VisitError::Refused { why, .. }) => why,
        other => panic!("no refusal: {other:?}"),
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_ticket_makes_one_member_and_no_second() {
    let inviter = Inviter::start().await;
    let ticket = inviter.ticket(|_| ()).await;

    let member = pay(visit(3, &ticket)).await.unwrap();

    assert_eq!((member.name.as_str(), member.role), ("cam", Role::Edge));
    assert_eq!(member.labels.get("site").map(String::as_str), Some("a"));
    assert_eq!(pay(visit(3, &ticket)).await.unwrap(), member, "whoever missed the answer gets it again");
    assert_eq!(refused(pay(visit(4, &ticket)).await), Refused::Used);
    let again = Office::open(inviter.dir.path(), inviter.mesh.mesh(), "lab", inviter.network.local_peer()).unwrap();
    assert_eq!(again.invitations().await.unwrap()[0].used, [member.peer], "and it is on disk");
}

#[tokio::test(flavor = "current_thread")]
async fn whoever_does_not_hold_the_ticket_is_a_stranger() {
    let inviter = Inviter::start().await;
    let ticket = inviter.ticket(|_| ()).await;
    let forged = Ticket { secret: InvitationSecret::from_bytes([9; 16]), ..ticket.clone() };
    let elsewhere = Ticket { inviter: SecretKey::from_bytes(&[9; 32]).peer(), ..ticket.clone() };
    let other_mesh = Ticket { mesh: SecretKey::from_bytes(&[9; 32]).mesh(), ..ticket };

    assert!(matches!(pay(visit(3, &forged)).await, Err(VisitError::Stranger)), "a secret that is none");
    assert!(matches!(pay(visit(3, &elsewhere)).await, Err(VisitError::Other(_))), "the inviter is pinned");
    assert!(matches!(pay(visit(3, &other_mesh)).await, Err(VisitError::Other(_))), "and so is its mesh");
}

#[tokio::test(flavor = "current_thread")]
async fn a_withdrawn_invitation_lets_nobody_in() {
    let inviter = Inviter::start().await;
    let ticket = inviter.ticket(|_| ()).await;
    inviter.office.withdraw(ticket.secret.invitation().to_string()).await.unwrap();

    assert!(matches!(pay(visit(3, &ticket)).await, Err(VisitError::Stranger)));
}

#[tokio::test(flavor = "current_thread")]
async fn wrong_proofs_are_refused_and_after_three_of_them_nobody_is_there() {
    let inviter = Inviter::start().await;
    let ticket = inviter.ticket(|_| ()).await;
    for _ in 0..3 {
        // It has seen a locator pass by, and has not got the secret.
        let onlooker = visit(3, &ticket);
        let reached = onlooker.begin().await.unwrap();
        let guess = InvitationSecret::from_bytes([9; 16]).proof_key();
        let request = JoinRequest {
            invitation: ticket.secret.invitation(),
            proof: guess.prove(&[0; 32], onlooker.key.peer(), None),
            name: None,
            clock_unix_s: 0,
        };

        let (mut send, mut receive) = reached.connection.open_bi().await.unwrap();
        wire::write(&mut send, &request).await.unwrap();
        let answer: JoinAnswer = wire::read(&mut receive, PAPERS_BYTES_MAX).await.unwrap();

        assert!(matches!(answer, JoinAnswer::Refused { why: Refused::WrongProof, .. }), "{answer:?}");
    }

    assert!(matches!(visit(3, &ticket).begin().await, Err(VisitError::Stranger)));
    assert!(inviter.office.invitations().await.unwrap()[0].used.is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn a_joiner_says_one_short_thing_or_nothing() {
    let inviter = Inviter::start().await;
    let ticket = inviter.ticket(|_| ()).await;
    let reached = visit(3, &ticket).begin().await.unwrap();

    let (mut send, mut receive) = reached.connection.open_bi().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), reached.connection.open_bi()).await.is_err(), "one stream");
    assert!(tokio::time::timeout(Duration::from_millis(50), reached.connection.open_uni()).await.is_err());
    // Announced: more than any request.
    send.write_all(&[0xFF, 0xFF]).await.unwrap();

    let said = tokio::time::timeout(PATIENCE, wire::read::<JoinAnswer>(&mut receive, PAPERS_BYTES_MAX)).await.unwrap();
    assert!(said.is_err(), "it is told nothing");
    assert!(reached.connection.close_reason().is_some());
}

#[tokio::test(flavor = "current_thread")]
async fn a_person_lets_in_whom_the_six_words_are_of() {
    let inviter = Inviter::start().await;
    let ticket = inviter.ticket(|invitation| invitation.approve = true).await;
    for (verdict, seed) in [(Verdict::Denied, 3), (Verdict::Approved, 4)] {
        let shown = std::cell::RefCell::new(String::new());
        let visiting = visit(seed, &ticket).pay(|words| *shown.borrow_mut() = words.to_owned());
        let deciding = async {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while inviter.office.joiners().is_empty() || shown.borrow().is_empty() {
                assert!(tokio::time::Instant::now() < deadline, "nobody waits");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let joiners = inviter.office.joiners();
            assert_eq!(joiners[0].words, *shown.borrow(), "both see the same");
            assert!(inviter.office.decide(joiners[0].number, verdict));
        };

        let (visited, ()) = tokio::join!(visiting, deciding);

        match verdict {
            Verdict::Approved => assert!(visited.is_ok(), "{visited:?}"),
            Verdict::Denied => {
                assert!(matches!(visited, Err(VisitError::Refused { why: Refused::Denied, .. })), "{visited:?}");
            }
        }
        assert!(inviter.office.joiners().is_empty());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn whoever_gives_up_waits_no_more() {
    let inviter = Inviter::start().await;
    let ticket = inviter.ticket(|invitation| invitation.approve = true).await;
    let waiting = tokio::spawn(visit(3, &ticket).pay(|_| ()));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while inviter.office.joiners().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "nobody waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    waiting.abort();

    while !inviter.office.joiners().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "it is still waited for");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_peer_without_the_issuer_s_key_invites_nobody() {
    let inviter = Inviter::start().await;
    let ticket = inviter.ticket(|_| ()).await;
    std::fs::remove_file(inviter.dir.path().join("issuer.key")).unwrap();

    assert!(matches!(refused(pay(visit(3, &ticket)).await), Refused::NoIssuer { .. }));
    assert!(inviter.office.invitations().await.unwrap()[0].used.is_empty(), "what could not be signed uses nothing up");
}
