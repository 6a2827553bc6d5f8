//! Tickets in the wrong hands, and strangers while somebody is invited.

use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use shoal_node::network::{Visit, VisitError, Visited};
use shoal_protocol::api::{InvitationRequest, JoinerView};
use shoal_protocol::certificate::Ticket;
use shoal_protocol::certificate::joining::{InvitationSecret, Refused};

use super::*;

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

impl Target {
    /// The attacked peer has an issuer's key, and invites.
    async fn invites(&self, change: impl FnOnce(&mut InvitationRequest)) -> Ticket {
        let issuer = SecretKey::from_bytes(&[55; 32]);
        let certificate = IssuerCertificate {
            mesh: self.mesh_key.mesh(),
            issuer: issuer.peer(),
            not_before_unix_s: 0,
            expires_unix_s: u64::MAX,
        };
        let dir = &self.cluster.peers()[0].data_dir;
        std::fs::write(dir.join("issuer.key"), *issuer.to_bytes()).unwrap();
        std::fs::set_permissions(dir.join("issuer.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(dir.join("issuer.cert"), certificate.sign(&self.mesh_key).to_bytes()).unwrap();
        let mut request = InvitationRequest {
            role: Role::Edge,
            labels: BTreeMap::new(),
            name: Some("invited".into()),
            ttl_s: 3_600,
            uses: 1,
            approve: false,
            life_s: None,
            addresses: Vec::new(),
        };
        change(&mut request);
        Ticket::decode(&self.client.invite(&request).await.unwrap().ticket.unwrap()).unwrap()
    }
}

async fn visit(seed: u8, ticket: &Ticket) -> Result<Visited, VisitError> {
    let key = SecretKey::from_bytes(&[seed; 32]);
    Visit { key, ticket: ticket.clone(), wish: None, clock_unix_s: now_unix_s() }.pay(|_| ()).await
}

#[track_caller]
fn refused(visited: Result<Visited, VisitError>) -> Refused {
    match visited {
        Err(VisitError::Refused { why, .. }) => why,
        other => panic!("no refusal: {other:?}"),
    }
}

#[test]
fn adversary_a_ticket_that_was_used_lets_no_second_machine_in() {
    run(async {
        let target = Target::new().await;
        let ticket = target.invites(|_| ()).await;
        visit(60, &ticket).await.unwrap();

        let attack = async {
            for seed in 61..66 {
                assert_eq!(refused(visit(seed, &ticket).await), Refused::Used);
            }
        };
        target.stands("a ticket that was used", attack).await;
        // Also not after the daemon was killed: what was used is on disk.
        target.cluster.kill(0).unwrap();
        target.cluster.restart(0).await.unwrap();
        assert_eq!(refused(visit(67, &ticket).await), Refused::Used);
        target.knows_no_attacker().await;
    });
}

#[test]
fn adversary_two_machines_race_for_one_ticket_and_one_wins() {
    run(async {
        let target = Target::new().await;
        let ticket = target.invites(|_| ()).await;

        let attack =
            async { tokio::join!(visit(60, &ticket), visit(61, &ticket), visit(62, &ticket), visit(63, &ticket)) };
        let (a, b, c, d) = target.stands("four machines with one ticket", attack).await;

        let (won, lost): (Vec<_>, Vec<_>) = [a, b, c, d].into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "{won:?}");
        lost.into_iter().for_each(|lost| assert_eq!(refused(lost), Refused::Used));
    });
}

#[test]
fn adversary_a_ticket_that_has_expired() {
    run(async {
        let target = Target::new().await;
        let ticket = target.invites(|request| request.ttl_s = 1).await;
        while now_unix_s() <= ticket.expires_unix_s {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        let why = refused(target.stands("an expired ticket", visit(60, &ticket)).await);

        assert!(matches!(why, Refused::Expired { .. }), "{why:?}");
    });
}

#[test]
fn adversary_a_ticket_with_a_secret_that_is_none() {
    run(async {
        let target = Target::new().await;
        let ticket = target.invites(|_| ()).await;
        let admitted = target.counter("admitted").await;
        let attack = async {
            for n in 0..50 {
                let forged = Ticket { secret: InvitationSecret::from_bytes([n; 16]), ..ticket.clone() };
                let answer = visit(60, &forged).await;
                assert!(matches!(answer, Err(VisitError::Stranger)), "{answer:?}");
            }
        };

        target.stands("made-up tickets", attack).await;

        assert_eq!(target.counter("admitted").await, admitted);
        assert!(visit(61, &ticket).await.is_ok(), "who is really invited comes in from the same address");
    });
}

#[test]
fn adversary_a_stranger_while_somebody_is_invited() {
    run(async {
        let target = Target::new().await;
        let ticket = target.invites(|_| ()).await;
        let key = SecretKey::from_bytes(&[66; 32]);
        let certificate = target.certificate(&key).sign(&Issuer::of(&key));
        let (refused, admitted) = (target.counter("strangers_refused").await, target.counter("admitted").await);
        let probe = target.probe(key, &certificate);
        let attack = async {
            if let Ok(connection) = probe.connect(target.address).unwrap().await {
                if let Ok((mut stream, _)) = connection.open_bi().await {
                    let _ = stream.write_all(b"\x00\x03\xA1\x61\x69").await;
                }
                assert!(connection.accept_bi().await.is_err(), "it is told nothing");
                connection.closed().await;
            }
        };

        target.stands("a stranger while somebody is invited", attack).await;

        target.counts("strangers_refused", refused).await;
        assert_eq!(target.counter("admitted").await, admitted);
        assert!(visit(61, &ticket).await.is_ok());
    });
}

#[test]
fn adversary_a_stolen_ticket_that_has_to_be_approved() {
    run(async {
        let target = Target::new().await;
        let ticket = target.invites(|request| request.approve = true).await;
        let denying = async {
            let deadline = Instant::now() + LONG;
            let waiting: JoinerView = loop {
                if let Some(first) = target.client.joiners().await.unwrap().items.into_iter().next() {
                    break first;
                }
                assert!(Instant::now() < deadline, "nobody waits");
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            target.client.deny(waiting.number).await.unwrap();
        };

        let (thief, ()) = target.stands("a stolen ticket", async { tokio::join!(visit(60, &ticket), denying) }).await;

        assert_eq!(refused(thief), Refused::Denied);
        assert!(target.client.invitations().await.unwrap().items[0].used.is_empty());
    });
}
