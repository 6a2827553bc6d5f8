//! Which peers hold the modules of a service, though nobody calls it there: so that it outlives who deployed it.
//!
//! Each peer ranks those it sees by a hash of their ids and the service's name, cloud peers before others, and holds the
//! modules if it is among the first. Who is among the first of the whole mesh is so in every view; in a mesh that nobody sees
//! as a whole, some more take themselves for one.
//!
//! **Invariant:** pure, and the same for the same view.

use super::name::ServiceName;
use crate::certificate::Role;
use crate::id::PeerId;

/// Peers that hold the modules of one service.
pub const KEEPERS: usize = 3;
/// Modules that one peer holds for services that nobody calls here, in bytes: beyond, the least important are not held.
pub const KEPT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Whether `me` is among those of `view` (itself included) that hold the modules of a service.
pub fn is_keeper(name: &ServiceName, me: (PeerId, Role), view: impl Iterator<Item = (PeerId, Role)>) -> bool {
    let rank = |(peer, role): (PeerId, Role)| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(name.as_str().as_bytes()).update(b"\0").update(&peer.0);
        (role != Role::Cloud, *hasher.finalize().as_bytes())
    };
    let mine = rank(me);
    view.filter(|other| other.0 != me.0 && rank(*other) < mine).take(KEEPERS).count() < KEEPERS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(cloud: u8, edge: u8) -> Vec<(PeerId, Role)> {
        let of = |range: core::ops::Range<u8>, role| range.map(move |n| (PeerId([n; 32]), role));
        of(0..cloud, Role::Cloud).chain(of(100..100 + edge, Role::Edge)).collect()
    }

    fn keepers(name: &str, view: &[(PeerId, Role)]) -> Vec<(PeerId, Role)> {
        let name = name.parse().unwrap();
        view.iter().copied().filter(|me| is_keeper(&name, *me, view.iter().copied())).collect()
    }

    #[test]
    fn three_hold_a_module_clouds_first_and_other_services_are_held_by_others() {
        assert_eq!(keepers("ocr", &peers(0, 40)).len(), 3);
        assert!(keepers("ocr", &peers(5, 40)).iter().all(|(_, role)| *role == Role::Cloud));
        assert_eq!(keepers("ocr", &peers(1, 40)).iter().filter(|(_, role)| *role == Role::Cloud).count(), 1);
        assert_eq!(keepers("ocr", &peers(0, 2)).len(), 2, "all there are");
        assert_ne!(keepers("ocr", &peers(0, 40)), keepers("asr", &peers(0, 40)));
    }

    #[test]
    fn who_keeps_in_the_whole_mesh_keeps_in_every_part_of_it_that_it_is_in() {
        let all = peers(4, 60);
        let name = "ocr".parse().unwrap();
        for keeper in keepers("ocr", &all) {
            for step in 1..9 {
                let part = all.iter().copied().step_by(step);
                assert!(is_keeper(&name, keeper, part));
            }
        }
    }
}
