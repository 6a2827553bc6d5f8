//! Who floods the daemon before it has shown anything.

use std::collections::BTreeSet;
use std::net::UdpSocket;

use super::*;

const HALF_OPEN: usize = 10_000;

/// The first datagrams of so many handshakes, each valid and different, that nobody will go on with.
async fn first_datagrams(target: &Target, count: usize) -> Vec<Vec<u8>> {
    let trap = UdpSocket::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let at = trap.local_addr().unwrap();
    let key = SecretKey::from_bytes(&[66; 32]);
    let certificate = target.certificate(&key).sign(&Issuer::of(&key));
    let probe = target.probe(key, &certificate);
    let (mut caught, mut names, mut buffer) = (Vec::with_capacity(count), BTreeSet::new(), [0_u8; 2_048]);
    while caught.len() < count {
        let handshake = probe.connect(at).unwrap();
        let deadline = Instant::now() + LONG;
        loop {
            assert!(Instant::now() < deadline, "no first datagram");
            match trap.recv(&mut buffer) {
                // Its repetitions, and the words of those that gave up, go to a connection that has been named (RFC 9000, 17.2).
                Ok(length) if length >= 1_200 && names.insert(buffer[6..][..usize::from(buffer[5])].to_vec()) => {
                    break caught.push(buffer[..length].to_vec());
                }
                Ok(_) => {}
                Err(_) => tokio::task::yield_now().await,
            }
        }
        drop(handshake);
    }
    caught
}

#[test]
fn adversary_ten_thousand_half_open_handshakes_from_one_address() {
    run(async {
        let target = Target::new().await;
        let datagrams = first_datagrams(&target, HALF_OPEN).await;
        let newcomer = SecretKey::from_bytes(&[5; 32]);
        let certificate = target.certificate(&newcomer).sign(&Issuer::of(&target.mesh_key));
        let honest = Probe::new([127, 0, 0, 1].into(), newcomer, target.mesh_key.mesh(), &certificate).unwrap();

        let attack = async {
            let flood = UdpSocket::bind((ATTACKER, 0)).unwrap();
            let mut joins = Vec::new();
            for (n, datagram) in datagrams.iter().enumerate() {
                let _ = flood.send_to(datagram, target.address);
                if n % 50 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                if n % 1_000 == 999 {
                    let began = Instant::now();
                    honest.connect(target.address).unwrap().await.expect("an honest peer gets through");
                    joins.push(began.elapsed());
                }
            }
            joins
        };
        let joins = target.stands("10,000 half-open handshakes", attack).await;

        println!("honest handshakes meanwhile took up to {:?}", joins.iter().max().unwrap());
        assert!(joins.iter().all(|took| *took < Duration::from_secs(10)), "{joins:?}");
        target.audits_a_refusal().await;
    });
}

#[test]
fn adversary_flood_of_datagrams_that_mean_nothing() {
    run(async {
        let target = Target::new().await;
        let attack = async {
            let flood = UdpSocket::bind((ATTACKER, 0)).unwrap();
            for n in 0..20_000_u32 {
                // Long and short headers of QUIC, versions that do not exist, and noise.
                let mut datagram = vec![(n % 251) as u8; 20 + (n % 1_400) as usize];
                datagram[0] = (n % 256) as u8;
                let _ = flood.send_to(&datagram, target.address);
                if n % 100 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        };
        target.stands("20,000 datagrams of noise", attack).await;
    });
}

#[test]
fn adversary_that_shakes_hands_without_end() {
    run(async {
        let target = Target::new().await;
        let attack = async {
            for seed in 100..200_u8 {
                let key = SecretKey::from_bytes(&[seed; 32]);
                let certificate = target.certificate(&key).sign(&Issuer::of(&key));
                let probe = target.probe(key, &certificate);
                let Ok(connecting) = probe.connect(target.address) else { continue };
                if let Ok(Ok(connection)) = tokio::time::timeout(Duration::from_millis(200), connecting).await {
                    connection.closed().await;
                }
            }
        };
        target.stands("100 strangers one after the other", attack).await;
        target.knows_no_attacker().await;
        target.audits_a_refusal().await;
    });
}
