//! What a peer finds on its disk: good records, in any number and any place, of any content.

use core::time::Duration;

use shoal_protocol::config::PeerConfig;
use shoal_protocol::id::{BlobId, PeerId, TaskId};
use shoal_protocol::input::Input;
use shoal_protocol::output::Output;
use shoal_protocol::store::Change;
use shoal_protocol::task::durable::{Durability, Keeping};
use shoal_protocol::task::spec::{Payload, TaskSpec};
use shoal_protocol::{Member, Peer, Role, Time, store};

use crate::source::Source;

const KINDS: &[u8] = b"ticsx";

fn peer() -> Peer {
    let member = Member { peer: PeerId([1; 32]), name: "me".into(), role: Role::Edge, labels: Default::default() };
    Peer::new(member, PeerConfig::default(), 7, Time::ZERO)
}

/// An input is records: a byte for the kind, one for the task, two for the size, then the content. All of them have good
/// checksums: what a disk does to others is found by those.
pub(super) fn restored(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let mut records = Vec::new();
    while !source.is_over() && records.len() < 64 {
        let kind = KINDS[usize::from(source.below(KINDS.len() as u8))];
        let key = if kind == b's' { vec![kind] } else { [&[kind], [source.byte(); 16].as_slice()].concat() };
        let size = usize::from(source.byte()) << 8 | usize::from(source.byte());
        let content = source.take(size);
        records.push((key.clone(), store::seal(&key, content)));
    }
    let mut peer = peer();
    peer.handle(Time::ZERO, Input::Restored { records, boot: 2, unix_ms: 1_700_000_000_000 });
    let mut orders = 0;
    for second in 0..8 {
        while peer.poll_output().is_some() {
            orders += 1;
            assert!(orders < 10_000, "orders without end");
        }
        peer.handle(Time::ZERO + Duration::from_secs(second), Input::TimerFired);
    }
    while peer.poll_output().is_some() {}
    for holding in peer.holdings() {
        assert!(holding.held <= holding.max, "{holding:?}");
    }
}

/// What a home has on its disk after a task was submitted.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut peer = peer();
    peer.handle(Time::ZERO, Input::Restored { records: Vec::new(), boot: 1, unix_ms: 1_700_000_000_000 });
    while peer.poll_output().is_some() {}
    let mut spec = TaskSpec::of_module(BlobId([9; 32]), 1);
    spec.inputs = vec![Payload::inline(vec![7; 10])];
    let keeping = Keeping { durability: Durability::Disk, retention: Duration::from_secs(3_600) };
    peer.handle(
        Time::ZERO,
        Input::Submitted { task: TaskId([3; 16]), name: "kept".into(), spec: Box::new(spec), keeping },
    );
    let mut seed = Vec::new();
    while let Some(output) = peer.poll_output() {
        let Output::Persist { changes, .. } = output else { continue };
        for change in changes {
            let Change::Put { key, bytes } = change else { continue };
            let Some(kind) = KINDS.iter().position(|kind| key.first() == Some(kind)) else { continue };
            // After the version and before the checksum.
            let content = bytes.get(1..bytes.len() - 8).unwrap_or_default();
            debug_assert_eq!(store::seal(&key, content), bytes);
            seed.push(kind as u8);
            seed.extend(key.get(1));
            seed.extend((content.len() as u16).to_be_bytes());
            seed.extend(content);
        }
    }
    vec![seed]
}
