//! `digit [--passes N]` and `digit_small [--passes N]`: which digit was spoken, from an 8 kHz mono WAV recording.
//!
//! Two variants of one question. The full one listens finely and asks a small neural network; the small one listens
//! half as finely and asks a linear model whose weights are single bytes. Both are trained by `train/digit.rs`, which
//! prints what the small one loses on recordings that neither has heard.

pub mod features;
pub mod full;
pub mod small;
pub mod wav;

use crate::{math, options, text};
use features::Listening;

pub const DIGITS: usize = 10;
pub const LISTENING_FULL: Listening = Listening { hop: 80, filters: 24, cepstra: 13, parts: 8 };
pub const LISTENING_SMALL: Listening = Listening { hop: 160, filters: 16, cepstra: 9, parts: 4 };
pub const HIDDEN: usize = 24;

pub fn run_full(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    answer(args, input, scores_full)
}

pub fn run_small(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    answer(args, input, scores_small)
}

fn answer(args: &[String], input: &[u8], scores: fn(&[f64]) -> [f64; DIGITS]) -> Result<Vec<u8>, String> {
    options::repeat(args, || {
        let samples = wav::read(input)?;
        Ok(report(&shares(scores(&samples)), samples.len()).into_bytes())
    })
}

/// Each digit's score by the neural network.
pub fn scores_full(samples: &[f64]) -> [f64; DIGITS] {
    let inputs = normalised(samples, LISTENING_FULL, &full::MEAN, &full::SCALE);
    let mut hidden = [0.0; HIDDEN];
    for (unit, weights) in hidden.iter_mut().zip(full::HIDDEN.chunks_exact(inputs.len() + 1)) {
        *unit = dot(weights, &inputs).max(0.0);
    }
    let mut scores = [0.0; DIGITS];
    for (score, weights) in scores.iter_mut().zip(full::OUTPUT.chunks_exact(HIDDEN + 1)) {
        *score = dot(weights, &hidden);
    }
    scores
}

/// Each digit's score by the linear model of bytes.
pub fn scores_small(samples: &[f64]) -> [f64; DIGITS] {
    let inputs = normalised(samples, LISTENING_SMALL, &small::MEAN, &small::SCALE);
    let mut scores = [0.0; DIGITS];
    for (digit, weights) in small::WEIGHTS.chunks_exact(inputs.len()).enumerate() {
        let sum: f64 = weights.iter().zip(&inputs).map(|(&weight, input)| f64::from(weight) * input).sum();
        scores[digit] = sum * f64::from(small::STEP) + f64::from(small::BIAS[digit]);
    }
    scores
}

/// The digit with the highest score.
pub fn best(scores: &[f64; DIGITS]) -> usize {
    let mut best = 0;
    for digit in 1..DIGITS {
        if scores[digit] > scores[best] {
            best = digit;
        }
    }
    best
}

fn normalised(samples: &[f64], listening: Listening, mean: &[f32], scale: &[f32]) -> Vec<f64> {
    let features = features::features(samples, listening);
    let normal = |((value, mean), scale): ((f64, &f32), &f32)| (value - f64::from(*mean)) * f64::from(*scale);
    features.into_iter().zip(mean).zip(scale).map(normal).collect()
}

/// Weights with the constant last.
fn dot(weights: &[f32], inputs: &[f64]) -> f64 {
    let sum: f64 = weights.iter().zip(inputs).map(|(&weight, input)| f64::from(weight) * input).sum();
    sum + weights.last().map_or(0.0, |&constant| f64::from(constant))
}

/// Scores as shares of one.
fn shares(scores: [f64; DIGITS]) -> [f64; DIGITS] {
    let highest = scores[best(&scores)];
    let mut shares = scores.map(|score| math::exp(score - highest));
    let sum: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= sum);
    shares
}

fn report(shares: &[f64; DIGITS], samples: usize) -> String {
    let digit = best(shares);
    let confidence = text::fixed(shares[digit], 4);
    let seconds = text::fixed(samples as f64 / f64::from(wav::RATE_HZ), 3);
    let mut output = format!("digit={digit} confidence={confidence} seconds={seconds}\n");
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
