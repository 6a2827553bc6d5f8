//! What a recording sounds like as a few dozen numbers: mel cepstra, averaged over equal parts of the word.
//!
//! Trim the silence, cut into overlapping frames, power spectrum, mel filters, logarithm, cosine transform; then the
//! word, however long, is divided into the same number of parts.

use super::wav::RATE_HZ;
use crate::math;

const FRAME: usize = 256;
const BINS: usize = FRAME / 2 + 1;
/// Frames this much quieter than the loudest count as silence at either end.
const SILENCE: f64 = 0.002;

/// How fine to listen; the small variant listens less finely.
#[derive(Debug, Clone, Copy)]
pub struct Listening {
    pub hop: usize,
    pub filters: usize,
    pub cepstra: usize,
    pub parts: usize,
}

impl Listening {
    /// One value a cepstrum and part, the spread of each cepstrum, and the word's length.
    pub const fn features(&self) -> usize {
        self.cepstra * (self.parts + 1) + 1
    }
}

pub fn features(samples: &[f64], listening: Listening) -> Vec<f64> {
    let frames = trimmed(spectra(samples, listening.hop));
    let filters = mel_filters(listening.filters);
    let cepstra: Vec<Vec<f64>> = frames.iter().map(|frame| cepstrum(frame, &filters, listening.cepstra)).collect();

    let mut pooled = Vec::with_capacity(listening.features());
    for part in 0..listening.parts {
        let start = part * cepstra.len() / listening.parts;
        let end = ((part + 1) * cepstra.len() / listening.parts).max(start + 1).min(cepstra.len());
        pooled.extend(mean(&cepstra[start.min(end - 1)..end], listening.cepstra));
    }
    let average = mean(&cepstra, listening.cepstra);
    // Loudness is about the microphone, not the word: the first cepstrum only tells where the word is loud.
    for part in 0..listening.parts {
        pooled[part * listening.cepstra] -= average[0];
    }
    for (coefficient, middle) in average.iter().enumerate() {
        let squares: f64 =
            cepstra.iter().map(|frame| (frame[coefficient] - middle) * (frame[coefficient] - middle)).sum();
        pooled.push((squares / cepstra.len() as f64).sqrt());
    }
    pooled.push(math::ln(cepstra.len() as f64 * listening.hop as f64 / f64::from(RATE_HZ)));
    pooled
}

/// Power spectra of overlapping windowed frames; always at least one.
fn spectra(samples: &[f64], hop: usize) -> Vec<[f64; BINS]> {
    let window: Vec<f64> =
        (0..FRAME).map(|n| 0.5 - 0.5 * math::cos(2.0 * math::PI * n as f64 / FRAME as f64)).collect();
    let waves = Waves::new();
    let mut frames = Vec::new();
    let mut start = 0;
    while frames.is_empty() || start + FRAME <= samples.len() {
        let mut real = [0.0; FRAME];
        for (n, value) in real.iter_mut().enumerate() {
            let sample = samples.get(start + n).copied().unwrap_or(0.0);
            let before = if start + n == 0 { 0.0 } else { samples.get(start + n - 1).copied().unwrap_or(0.0) };
            // Speech falls off towards high tones; lifting them lets every filter count.
            *value = (sample - 0.95 * before) * window[n];
        }
        frames.push(waves.power(real));
        start += hop;
    }
    frames
}

/// Without the quiet frames at both ends; the loudest frame always stays.
fn trimmed(frames: Vec<[f64; BINS]>) -> Vec<[f64; BINS]> {
    let energies: Vec<f64> = frames.iter().map(|frame| frame.iter().sum()).collect();
    let loudest = energies.iter().fold(0.0, |most: f64, &energy| most.max(energy));
    let loud = |energy: &f64| *energy >= SILENCE * loudest;
    match (energies.iter().position(loud), energies.iter().rposition(loud)) {
        (Some(first), Some(last)) => frames[first..=last].to_vec(),
        _ => frames,
    }
}

/// Triangles evenly spaced on the mel scale: for each filter its first bin and weights.
fn mel_filters(count: usize) -> Vec<(usize, Vec<f64>)> {
    let mel = |hz: f64| math::ln(1.0 + hz / 700.0);
    let (low, high) = (mel(100.0), mel(3900.0));
    let edge = |n: usize| 700.0 * (math::exp(low + (high - low) * n as f64 / (count + 1) as f64) - 1.0);
    let bin_hz = f64::from(RATE_HZ) / FRAME as f64;
    let filter = |n: usize| {
        let (left, middle, right) = (edge(n), edge(n + 1), edge(n + 2));
        let weight = |bin: usize| {
            let hz = bin as f64 * bin_hz;
            ((hz - left) / (middle - left)).min((right - hz) / (right - middle)).max(0.0)
        };
        let first = (left / bin_hz) as usize;
        let last = ((right / bin_hz) as usize + 1).min(BINS - 1);
        (first, (first..=last).map(weight).collect())
    };
    (0..count).map(filter).collect()
}

fn cepstrum(frame: &[f64; BINS], filters: &[(usize, Vec<f64>)], count: usize) -> Vec<f64> {
    let loudness = |(first, weights): &(usize, Vec<f64>)| {
        let sum: f64 = weights.iter().zip(&frame[*first..]).map(|(weight, power)| weight * power).sum();
        math::ln(sum + 1e-7)
    };
    let logs: Vec<f64> = filters.iter().map(loudness).collect();
    let step = math::PI / logs.len() as f64;
    let coefficient = |k: usize| {
        let sum: f64 =
            logs.iter().enumerate().map(|(n, log)| log * math::cos(step * k as f64 * (n as f64 + 0.5))).sum();
        sum / (logs.len() as f64).sqrt()
    };
    (0..count).map(coefficient).collect()
}

fn mean(frames: &[Vec<f64>], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0; width];
    for frame in frames {
        sums.iter_mut().zip(frame).for_each(|(sum, value)| *sum += value);
    }
    sums.iter().map(|sum| sum / frames.len() as f64).collect()
}

/// The roots of unity a Fourier transform of one frame needs.
struct Waves {
    cosines: Vec<f64>,
    sines: Vec<f64>,
}

impl Waves {
    fn new() -> Self {
        let angle = |n: usize| 2.0 * math::PI * n as f64 / FRAME as f64;
        let half = 0..FRAME / 2;
        Self {
            cosines: half.clone().map(|n| math::cos(angle(n))).collect(),
            sines: half.map(|n| math::sin(angle(n))).collect(),
        }
    }

    /// Radix-2 transform in place, then squared magnitudes.
    fn power(&self, mut real: [f64; FRAME]) -> [f64; BINS] {
        let mut imaginary = [0.0; FRAME];
        let unused_bits = usize::BITS - FRAME.trailing_zeros();
        for n in 0..FRAME {
            let mirrored = n.reverse_bits() >> unused_bits;
            if n < mirrored {
                real.swap(n, mirrored);
            }
        }
        let mut length = 2;
        while length <= FRAME {
            for start in (0..FRAME).step_by(length) {
                for n in 0..length / 2 {
                    let (cosine, sine) = (self.cosines[n * FRAME / length], self.sines[n * FRAME / length]);
                    let (even, odd) = (start + n, start + n + length / 2);
                    let turned_real = real[odd] * cosine + imaginary[odd] * sine;
                    let turned_imaginary = imaginary[odd] * cosine - real[odd] * sine;
                    real[odd] = real[even] - turned_real;
                    imaginary[odd] = imaginary[even] - turned_imaginary;
                    real[even] += turned_real;
                    imaginary[even] += turned_imaginary;
                }
            }
            length *= 2;
        }
        let mut power = [0.0; BINS];
        for (n, value) in power.iter_mut().enumerate() {
            *value = real[n] * real[n] + imaginary[n] * imaginary[n];
        }
        power
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_found_in_its_bin() {
        let mut frame = [0.0; FRAME];
        for (n, value) in frame.iter_mut().enumerate() {
            *value = math::sin(2.0 * math::PI * 20.0 * n as f64 / FRAME as f64);
        }

        let power = Waves::new().power(frame);

        for (bin, value) in power.iter().enumerate() {
            let expected = if bin == 20 { (FRAME * FRAME) as f64 / 4.0 } else { 0.0 };
            assert!((value - expected).abs() < 1e-6, "bin {bin}: {value}");
        }
    }

    #[test]
    fn silence_and_the_shortest_recording_have_finite_features() {
        let listening = Listening { hop: 80, filters: 20, cepstra: 10, parts: 8 };
        for samples in [vec![0.0; 800], vec![0.0; 100], vec![1.0; 300]] {
            let features = features(&samples, listening);

            assert_eq!(features.len(), listening.features());
            assert!(features.iter().all(|value| value.is_finite()), "{features:?}");
        }
    }
}
