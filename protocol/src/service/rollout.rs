//! Which share of the calls a version gets that comes in.
//!
//! The record says from which date on and over which time a share grows, so every peer knows it at any moment, and nobody has
//! to be told anything more.
//!
//! **Invariant:** who is drawn for a share is also drawn for every greater one.

use serde::{Deserialize, Serialize};

/// All calls.
pub const ALL_PERMILLE: u16 = 1_000;
/// A share that takes longer to grow is no roll-out any more.
pub const OVER_S_MAX: u64 = 30 * 24 * 3_600;

/// A version on its way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its number.
    #[serde(rename = "t")]
    pub to: u32,
    /// Its share.
    #[serde(rename = "s")]
    pub growth: Growth,
}

/// How its share changes with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Growth {
    /// It stays as it is.
    #[serde(rename = "f")]
    Fixed {
        /// Of a thousand calls, how many it gets.
        #[serde(rename = "p")]
        permille: u16,
    },
    /// It grows by the same amount in each second, from none to all.
    #[serde(rename = "l")]
    Linear {
        /// From this date on, in seconds since 1970.
        #[serde(rename = "f")]
        from_unix_s: u64,
        /// For so long.
        #[serde(rename = "o")]
        over_s: u64,
    },
}

impl Rollout {
    /// Of a thousand calls, how many it gets at this date.
    pub fn permille(&self, unix_s: u64) -> u16 {
        match self.growth {
            Growth::Fixed { permille } => permille.min(ALL_PERMILLE),
            Growth::Linear { from_unix_s, over_s } => {
                let passed = unix_s.saturating_sub(from_unix_s).min(over_s);
                let share = passed.saturating_mul(u64::from(ALL_PERMILLE)).checked_div(over_s);
                share.and_then(|share| u16::try_from(share).ok()).unwrap_or(ALL_PERMILLE)
            }
        }
    }

    /// Whether it gets the call for which this was drawn.
    pub fn takes(&self, unix_s: u64, draw: u64) -> bool {
        draw % u64::from(ALL_PERMILLE) < u64::from(self.permille(unix_s))
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self.growth {
            Growth::Fixed { permille: 1..=ALL_PERMILLE } => Ok(()),
            Growth::Fixed { .. } => Err("a share is from 1 to 1000 of a thousand calls"),
            Growth::Linear { over_s: 1..=OVER_S_MAX, .. } => Ok(()),
            Growth::Linear { .. } => Err("a share grows over a time from 1 s to 30 days"),
        }
    }
}

/// What decides about a call by name: the same for the same key, wherever it is called.
pub fn draw(name: &super::ServiceName, key: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_str().as_bytes()).update(b"\0").update(key);
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn linear(from_unix_s: u64, over_s: u64) -> Rollout {
        Rollout { to: 2, growth: Growth::Linear { from_unix_s, over_s } }
    }

    #[test]
    fn a_share_grows_by_the_date_alone() {
        let rollout = linear(1_000, 600);

        assert_eq!(
            [0, 1_000, 1_001, 1_300, 1_599, 1_600, u64::MAX].map(|at| rollout.permille(at)),
            [0, 0, 1, 500, 998, 1_000, 1_000]
        );
        assert_eq!(Rollout { to: 2, growth: Growth::Fixed { permille: 100 } }.permille(0), 100);
    }

    #[test]
    fn of_many_keys_about_as_many_are_drawn_as_the_share_says() {
        let name = "ocr".parse().unwrap();
        let rollout = Rollout { to: 2, growth: Growth::Fixed { permille: 100 } };

        let drawn = (0..10_000u32).filter(|key| rollout.takes(0, draw(&name, &key.to_be_bytes()))).count();

        assert!((900..1_100).contains(&drawn), "{drawn} of 10,000");
    }

    proptest! {
        #[test]
        fn who_has_the_new_version_keeps_it_as_the_share_grows(draw: u64, from in 0u64..1 << 40, over in 1u64..OVER_S_MAX, a: u32, b: u32) {
            let rollout = linear(from, over);
            let (sooner, later) = (from + u64::from(a.min(b)), from + u64::from(a.max(b)));

            prop_assert!(rollout.permille(sooner) <= rollout.permille(later));
            prop_assert!(!rollout.takes(sooner, draw) || rollout.takes(later, draw));
        }
    }
}
