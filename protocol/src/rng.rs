//! The one source of chance: a small, portable generator whose seed the driver hands in.
//!
//! **Invariant:** everything random in this crate draws from a generator it was lent, so a seed decides a run.

use core::time::Duration;

use rand::RngExt;

/// The generator every part of a peer is lent.
pub type Rng = rand_pcg::Pcg64Mcg;

/// `around`, up to a quarter shorter or longer, so that peers that started together do not act together.
pub fn jittered(rng: &mut Rng, around: Duration) -> Duration {
    around.mul_f64(rng.random_range(0.75..1.25))
}

/// Some of `items`, at most `count`, each set as likely as any other.
pub fn some_of<T>(rng: &mut Rng, mut items: Vec<T>, count: usize) -> Vec<T> {
    let count = count.min(items.len());
    for i in 0..count {
        let other = rng.random_range(i..items.len());
        items.swap(i, other);
    }
    items.truncate(count);
    items
}
