//! `digit [--held-back] [--passes N]` and `digit_small …`: which digit was spoken, from 8 kHz mono WAV recordings.
//!
//! The input is one recording or several, file after file. Two variants of one question: the full one listens finely
//! and asks a small neural network; the small one listens half as finely and asks a linear model whose weights are
//! single bytes. Both are trained by `train/digit.rs` on takes 5 to 8 of six speakers; with `--held-back` they answer by
//! what was learnt without take 8, so that take 8 can judge them.

pub mod features;
pub mod full;
pub mod full_held_back;
pub mod small;
pub mod small_held_back;
pub mod wav;

use crate::{math, options, text};
use features::Listening;

pub const DIGITS: usize = 10;
pub const LISTENING_FULL: Listening = Listening { hop: 80, filters: 24, cepstra: 13, parts: 8 };
pub const LISTENING_SMALL: Listening = Listening { hop: 160, filters: 16, cepstra: 9, parts: 4 };
pub const HIDDEN: usize = 24;
/// An answer of the small variant below this confidence is worth asking the full one for. Chosen by `train/digit.rs` on
/// takes that neither had heard.
pub const UNSURE_BELOW: f64 = 0.9;

/// Each digit's score.
pub type Scores = [f64; DIGITS];

/// A neural network with one hidden layer; the constant is the last weight of each unit.
#[derive(Debug, Clone, Copy)]
pub struct Network<'a> {
    pub mean: &'a [f32],
    pub scale: &'a [f32],
    pub hidden: &'a [f32],
    pub output: &'a [f32],
}

/// A linear model whose weights are bytes.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    pub mean: &'a [f32],
    pub scale: &'a [f32],
    pub weights: &'a [i8],
    /// What a weight of 1 stands for.
    pub step: f32,
    pub bias: &'a [f32],
}

pub fn run_full(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    answer(args, input, |samples, held_back| {
        if held_back { &full_held_back::MODEL } else { &full::MODEL }.scores(samples)
    })
}

pub fn run_small(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    answer(args, input, |samples, held_back| {
        if held_back { &small_held_back::MODEL } else { &small::MODEL }.scores(samples)
    })
}

fn answer(args: &[String], input: &[u8], scores: fn(&[f64], bool) -> Scores) -> Result<Vec<u8>, String> {
    let (held_back, args) = options::flag(args, "--held-back");
    options::repeat(&args, || {
        let files = wav::files(input)?;
        let mut output = String::new();
        for (number, file) in files.iter().enumerate() {
            let samples = wav::read(file).map_err(|problem| match files.len() {
                1 => problem,
                _ => format!("recording {}: {problem}", number + 1),
            })?;
            output.push_str(&report(&shares(scores(&samples, held_back)), samples.len(), files.len() == 1));
        }
        Ok(output.into_bytes())
    })
}

impl Network<'_> {
    pub fn scores(&self, samples: &[f64]) -> Scores {
        self.judge(&features::features(samples, LISTENING_FULL))
    }

    /// The scores of a recording that [`features::features`] listened to.
    pub fn judge(&self, features: &[f64]) -> Scores {
        let inputs = normalised(features, self.mean, self.scale);
        let mut hidden = [0.0; HIDDEN];
        for (unit, weights) in hidden.iter_mut().zip(self.hidden.chunks_exact(inputs.len() + 1)) {
            *unit = dot(weights, &inputs).max(0.0);
        }
        let mut scores = [0.0; DIGITS];
        for (score, weights) in scores.iter_mut().zip(self.output.chunks_exact(HIDDEN + 1)) {
            *score = dot(weights, &hidden);
        }
        scores
    }
}

impl Linear<'_> {
    pub fn scores(&self, samples: &[f64]) -> Scores {
        self.judge(&features::features(samples, LISTENING_SMALL))
    }

    /// The scores of a recording that [`features::features`] listened to.
    pub fn judge(&self, features: &[f64]) -> Scores {
        let inputs = normalised(features, self.mean, self.scale);
        let mut scores = [0.0; DIGITS];
        for (digit, weights) in self.weights.chunks_exact(inputs.len()).enumerate() {
            let sum: f64 = weights.iter().zip(&inputs).map(|(&weight, input)| f64::from(weight) * input).sum();
            scores[digit] = sum * f64::from(self.step) + f64::from(self.bias[digit]);
        }
        scores
    }
}

/// The digit with the highest score.
pub fn best(scores: &Scores) -> usize {
    let mut best = 0;
    for digit in 1..DIGITS {
        if scores[digit] > scores[best] {
            best = digit;
        }
    }
    best
}

fn normalised(features: &[f64], mean: &[f32], scale: &[f32]) -> Vec<f64> {
    let normal = |((value, mean), scale): ((&f64, &f32), &f32)| (value - f64::from(*mean)) * f64::from(*scale);
    features.iter().zip(mean).zip(scale).map(normal).collect()
}

/// Weights with the constant last.
fn dot(weights: &[f32], inputs: &[f64]) -> f64 {
    let sum: f64 = weights.iter().zip(inputs).map(|(&weight, input)| f64::from(weight) * input).sum();
    sum + weights.last().map_or(0.0, |&constant| f64::from(constant))
}

/// Scores as shares of one.
pub fn shares(scores: Scores) -> Scores {
    let highest = scores[best(&scores)];
    let mut shares = scores.map(|score| math::exp(score - highest));
    let sum: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= sum);
    shares
}

/// A line, and when one recording was asked about, each digit's share as well.
fn report(shares: &Scores, samples: usize, alone: bool) -> String {
    let digit = best(shares);
    let confidence = text::fixed(shares[digit], 4);
    let seconds = text::fixed(samples as f64 / f64::from(wav::RATE_HZ), 3);
    let mut output = format!("digit={digit} confidence={confidence} seconds={seconds}\n");
    if !alone {
        return output;
    }
    for (digit, &share) in shares.iter().enumerate() {
        output.push_str(&format!("{digit} {}\n", text::fixed(share, 4)));
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_one_and_keep_the_order() {
        let shares = shares([1.0, 900.0, -900.0, 899.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);

        assert_eq!(best(&shares), 1);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(shares[3] > 0.2 && shares[2] == 0.0);
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        for run in [run_full, run_small] {
            assert!(run(&[], b"time,temperature\n").unwrap_err().contains("not a WAV"));
        }
    }
}
