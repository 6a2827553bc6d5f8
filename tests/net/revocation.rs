//! Members that are members no more.

use std::collections::BTreeSet;
use std::time::Instant;

use shoal_protocol::PeerId;
use shoal_protocol::certificate::{Issuer, RevocationList, SecretKey, SignedRevocations};

use super::*;

/// What whoever holds the issuer's key of a mesh would sign.
fn list_of(mesh: &Cluster, peer: PeerId) -> SignedRevocations {
    let mesh_key = std::fs::read(mesh.dir().join("mesh.key")).unwrap();
    let mesh_key = SecretKey::from_bytes(&mesh_key.try_into().unwrap());
    let (peers, issuers) = (BTreeSet::from([peer]), BTreeSet::new());
    let list =
        RevocationList { mesh: mesh_key.mesh(), version: 1, previous: [0; 32], issued_unix_s: 0, peers, issuers };
    list.sign(&Issuer::of(&mesh_key))
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < LONG, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    began.elapsed()
}

#[test]
fn a_lost_device_is_out_of_the_mesh_after_one_command_and_stays_out() {
    run(async {
        let mesh = mesh(0, 5, |_| ()).await;
        let (asked, lost) = (mesh.client(0).unwrap(), 4);
        let victim = mesh.client(lost).unwrap().status().await.unwrap().me.peer;
        let others = || (0..4).map(|n| mesh.client(n).unwrap());

        let began = Instant::now();
        asked.revoke(&list_of(&mesh, victim)).await.unwrap();
        until("known to all", async || {
            for client in others() {
                let knows = client.revocations().await.unwrap().peers == [victim];
                let forgot = client.peers().await.unwrap().items.iter().all(|view| view.peer != victim);
                if !(knows && forgot) {
                    return false;
                }
            }
            true
        })
        .await;
        println!("a mesh of five: all know after {:?}", began.elapsed());

        // It gets no work, even where nobody else may do it.
        for client in others() {
            let mut task = task_of(&client, example("wordcount"), &[], "a b").await;
            task.peer = Some(victim.to_string());
            assert!(client.run(task).await.is_err());
        }
        // It ends by itself, and says why; and does not start again.
        until("it ends", async || mesh.ended(lost).unwrap().is_some()).await;
        assert!(mesh.last_words(lost).unwrap().contains("revoked"), "{}", mesh.last_words(lost).unwrap());
        assert!(mesh.restart(lost).await.is_err());

        // A thief makes it forget; the others do not, not even those that were started anew.
        std::fs::remove_file(mesh.peers()[lost].data_dir.join("revocations.cbor")).unwrap();
        mesh.kill(1).unwrap();
        mesh.restart(1).await.unwrap();
        mesh.start_again(lost).unwrap();
        until("it is refused", async || {
            let status = mesh.client(1).unwrap().status().await.unwrap();
            status.counters.get("strangers_refused").is_some_and(|count| *count > 0)
        })
        .await;
        for client in others() {
            assert!(client.peers().await.unwrap().items.iter().all(|view| view.peer != victim));
        }
    });
}
