//! Where data may go, said as plainly as it can be: each label of each piece by itself, and no set is ever made smaller.
//!
//! **Not here:** anything of `shoal_protocol::residency`.

use super::{Case, Drawn, Place};

/// Whether somebody may have all of these.
pub(super) fn may_have(data: &[Drawn], who: &Place) -> bool {
    for piece in data {
        let says_something = !piece.regions.is_empty() || !piece.sites.is_empty() || !piece.classes.is_empty();
        if says_something && !who.is_aware {
            return false;
        }
        if !piece.regions.is_empty() {
            match who.region {
                None => return false,
                Some(region) if !piece.regions.contains(&region) => return false,
                Some(_) => {}
            }
        }
        if !piece.sites.is_empty() {
            match who.site {
                None => return false,
                Some(site) if !piece.sites.contains(&site) => return false,
                Some(_) => {}
            }
        }
    }
    true
}

/// Whether the labels of a case let a peer run its task.
pub(super) fn may_run(case: &Case, index: usize) -> bool {
    let home = &case.peers[0];
    if index == 0 {
        // Nothing moves where everything is.
        let all_is_here = case.data.iter().all(|piece| piece.at.is_none() || piece.at == Some(0));
        return all_is_here || may_have(&case.data, home);
    }
    let comes_home = case.keeps_output || may_have(&case.data, home);
    comes_home && may_have(&case.data, &case.peers[index])
}
