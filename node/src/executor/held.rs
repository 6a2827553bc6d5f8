//! Which modules one worker has loaded, by the numbers that the daemon gave them.
//!
//! **Invariant:** a number is used once in the life of a worker, so that no order can mean another module.

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_protocol::id::BlobId;

/// Modules of one worker. The pages of their code are shared among all; this bounds the worker's tables and open files.
pub(super) const MODULES_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Held {
    modules: BTreeMap<BlobId, Module>,
    numbers: u32,
    uses: u64,
}

#[derive(Debug)]
struct Module {
    number: u32,
    used_at: u64,
    /// How long it ran last, once it has.
    ran: Option<Duration>,
}

/// How to speak of a module in the next order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: u32,
    /// It has to be loaded first.
    pub(super) load: bool,
    /// These are to make room.
    pub(super) drop: Vec<u32>,
}

impl Held {
    pub(super) fn place(&mut self, id: BlobId) -> Place {
        self.uses += 1;
        if let Some(module) = self.modules.get_mut(&id) {
            module.used_at = self.uses;
            return Place { number: module.number, load: false, drop: Vec::new() };
        }
        let mut drop = Vec::new();
        while self.modules.len() >= MODULES_MAX {
            let oldest = self.modules.iter().min_by_key(|(_, module)| module.used_at).map(|(id, _)| *id);
            drop.extend(oldest.and_then(|id| self.modules.remove(&id)).map(|module| module.number));
        }
        self.numbers = self.numbers.wrapping_add(1);
        self.modules.insert(id, Module { number: self.numbers, used_at: self.uses, ran: None });
        Place { number: self.numbers, load: true, drop }
    }

    pub(super) fn has(&self, id: BlobId) -> bool {
        self.modules.contains_key(&id)
    }

    pub(super) fn ran(&mut self, id: BlobId, run: Duration) {
        if let Some(module) = self.modules.get_mut(&id) {
            module.ran = Some(run);
        }
    }

    /// How long it ran last on this worker.
    pub(super) fn last_run(&self, id: BlobId) -> Option<Duration> {
        self.modules.get(&id)?.ran
    }

    /// Forgets those that nobody needs, by their numbers.
    pub(super) fn drop_unneeded(&mut self, is_needed: impl Fn(BlobId) -> bool) -> Vec<u32> {
        let unneeded = self.modules.iter().filter(|(id, _)| !is_needed(**id));
        let numbers = unneeded.map(|(_, module)| module.number).collect();
        self.modules.retain(|id, _| is_needed(*id));
        numbers
    }

    /// It would not load.
    pub(super) fn forget(&mut self, id: BlobId) {
        self.modules.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_module_makes_room_and_its_number_is_not_used_again() {
        let mut held = Held::default();
        let id = |n: usize| BlobId([u8::try_from(n).unwrap(); 32]);
        for n in 0..MODULES_MAX {
            assert_eq!(held.place(id(n)), Place { number: n as u32 + 1, load: true, drop: Vec::new() });
        }
        assert_eq!(held.place(id(0)), Place { number: 1, load: false, drop: Vec::new() });

        let next = MODULES_MAX as u32 + 1;
        assert_eq!(held.place(id(100)), Place { number: next, load: true, drop: vec![2] });
        assert_eq!(held.place(id(1)), Place { number: next + 1, load: true, drop: vec![3] });
    }

    #[test]
    fn what_nobody_needs_is_dropped_once() {
        let mut held = Held::default();
        let id = |n: u8| BlobId([n; 32]);
        (0..3).for_each(|n| drop(held.place(id(n))));

        assert_eq!(held.drop_unneeded(|module| module == id(1)), [1, 3]);
        assert_eq!(held.drop_unneeded(|module| module == id(1)), Vec::<u32>::new());
        assert!(held.has(id(1)) && !held.has(id(0)));
    }
}
