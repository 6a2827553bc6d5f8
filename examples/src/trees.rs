//! Boosted symmetric trees: a sum of small decision trees, each asking the same question everywhere on one level.
//!
//! A tree of depth `d` is `d` questions ("is input `i` above `x`?") and `2^d` answers, so judging is `d` comparisons and
//! one look-up. Friedman, "Greedy function approximation: a gradient boosting machine" (2001); the symmetric form is
//! that of CatBoost (Prokhorenkova et al., 2018). `train/common/boosting.rs` grows them.
//!
//! **Invariant:** comparisons and sums in one fixed order, so every build gives the same bits.

/// A grown sum of trees.
#[derive(Debug, Clone, Copy)]
pub struct Trees<'a> {
    /// The answer before any tree.
    pub base: f32,
    pub depth: usize,
    /// `depth` questions a tree: the input's place and the value it must exceed.
    pub questions: &'a [(u8, f32)],
    /// `2^depth` answers a tree; the first question is the lowest bit of an answer's place.
    pub answers: &'a [f32],
}

impl Trees<'_> {
    /// The sum of all trees' answers; an input that is not there counts as 0.
    pub fn judge(&self, inputs: &[f64]) -> f64 {
        let mut sum = f64::from(self.base);
        let trees = self.questions.chunks_exact(self.depth).zip(self.answers.chunks_exact(1 << self.depth));
        for (questions, answers) in trees {
            let mut place = 0;
            for (level, &(input, above)) in questions.iter().enumerate() {
                let value = inputs.get(usize::from(input)).copied().unwrap_or(0.0);
                place |= usize::from(value > f64::from(above)) << level;
            }
            sum += f64::from(answers[place]);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_by_their_bits_and_summed() {
        let trees = Trees {
            base: 1.0,
            depth: 2,
            questions: &[(0, 0.5), (1, 0.5), (1, -1.0), (0, 9.0)],
            answers: &[10.0, 20.0, 30.0, 40.0, 0.0, 0.25, 0.0, 0.0],
        };

        assert_eq!(trees.judge(&[0.0, 0.0]), 11.25);
        assert_eq!(trees.judge(&[1.0, 0.0]), 21.25);
        assert_eq!(trees.judge(&[0.0, 1.0]), 31.25);
        assert_eq!(trees.judge(&[1.0, 1.0]), 41.25);
        assert_eq!(trees.judge(&[]), 11.25);
    }
}
