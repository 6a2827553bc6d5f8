//! Trains both digit models on takes 5 to 7 of every speaker and prints their accuracy on take 8.
//!
//! cargo run --release -p shoal-examples --example train_digit
//!
//! Everything is seeded and uses only this crate's arithmetic, so every machine writes the same models.
#![allow(clippy::expect_used)] // an offline tool over the data committed beside it: stopping is the right answer

mod common;

use common::array;
use shoal_examples::digit::{self, features, wav, DIGITS, HIDDEN, LISTENING_FULL, LISTENING_SMALL};
use shoal_examples::{math, text};

const SPEAKERS: [&str; 6] = ["george", "jackson", "lucas", "nicolas", "theo", "yweweler"];
const TAKES_TRAIN: [usize; 3] = [5, 6, 7];
const TAKE_HELD_BACK: usize = 8;
const SEED: u64 = 7;

fn main() {
    let heard = recordings(&TAKES_TRAIN);
    let unheard = recordings(&[TAKE_HELD_BACK]);

    let (mean, scale, hidden, output) = train_full(&heard);
    let body = [
        array("MEAN", "f32", &mean),
        array("SCALE", "f32", &scale),
        array("HIDDEN", "f32", &hidden),
        array("OUTPUT", "f32", &output),
    ];
    common::write("src/digit/full.rs", "digit", &body.join("\n"));

    let (mean, scale, weights, step, bias) = train_small(&heard);
    let body = [
        array("MEAN", "f32", &mean),
        array("SCALE", "f32", &scale),
        array("WEIGHTS", "i8", &weights),
        format!("/// What a weight of 1 stands for.\npub const STEP: f32 = {step:?};\n"),
        array("BIAS", "f32", &bias),
    ];
    common::write("src/digit/small.rs", "digit", &body.join("\n"));

    // The models that were compiled in are measured here: after a change, run this twice.
    let full = accuracy("digit      ", &heard, &unheard, digit::scores_full);
    let small = accuracy("digit_small", &heard, &unheard, digit::scores_small);
    println!("declared loss of digit_small: {}", text::fixed(full - small, 4));
}

struct Recording {
    digit: usize,
    samples: Vec<f64>,
}

fn recordings(takes: &[usize]) -> Vec<Recording> {
    let mut recordings = Vec::new();
    for take in takes {
        for speaker in SPEAKERS {
            for digit in 0..DIGITS {
                let file = common::read(&format!("data/digits/{digit}_{speaker}_{take}.wav"));
                recordings.push(Recording { digit, samples: wav::read(&file).expect("the recording is valid") });
            }
        }
    }
    recordings
}

fn accuracy(name: &str, heard: &[Recording], unheard: &[Recording], scores: fn(&[f64]) -> [f64; DIGITS]) -> f64 {
    let right = |recordings: &[Recording]| {
        recordings.iter().filter(|recording| digit::best(&scores(&recording.samples)) == recording.digit).count()
    };
    let (known, new) = (right(heard), right(unheard));
    let percent = |count: usize, of: usize| text::fixed(100.0 * count as f64 / of as f64, 1);
    println!(
        "{name}: trained on {known} of {} right ({}%), held back {new} of {} right ({}%)",
        heard.len(),
        percent(known, heard.len()),
        unheard.len(),
        percent(new, unheard.len()),
    );
    new as f64 / unheard.len() as f64
}

/// An example: normalised features and the digit.
type Example = (Vec<f64>, usize);

/// The recordings as they are, and spoken faster, slower, fainter against noise.
fn examples(
    heard: &[Recording],
    listening: features::Listening,
    random: &mut Random,
) -> (Vec<f32>, Vec<f32>, Vec<Example>) {
    let mut examples = Vec::new();
    for recording in heard {
        for speed in [0.88, 0.94, 1.0, 1.06, 1.12] {
            for noise in [0.0, 0.0005, 0.003] {
                let mut samples = respoken(&recording.samples, speed);
                let skip = random.below(80);
                samples.drain(..skip);
                samples.iter_mut().for_each(|sample| *sample += noise * random.normal());
                examples.push((features::features(&samples, listening), recording.digit));
            }
        }
    }
    let count = examples.len() as f64;
    let mut mean = vec![0.0f32; listening.features()];
    let mut scale = vec![1.0f32; listening.features()];
    for column in 0..listening.features() {
        let average = examples.iter().map(|(features, _)| features[column]).sum::<f64>() / count;
        let spread = examples
            .iter()
            .map(|(features, _)| (features[column] - average) * (features[column] - average))
            .sum::<f64>()
            / count;
        mean[column] = average as f32;
        // A column that never changes (the first cepstrum's own average) tells nothing.
        scale[column] = (1.0 / (spread.sqrt() + 1e-6)).min(1e3) as f32;
        for (features, _) in &mut examples {
            features[column] = (features[column] - f64::from(mean[column])) * f64::from(scale[column]);
        }
    }
    (mean, scale, examples)
}

/// Linear interpolation at another pace.
fn respoken(samples: &[f64], speed: f64) -> Vec<f64> {
    let length = (samples.len() as f64 / speed) as usize;
    let at = |n: usize| {
        let place = n as f64 * speed;
        let left = (place as usize).min(samples.len() - 1);
        let right = (left + 1).min(samples.len() - 1);
        let part = place - left as f64;
        samples[left] * (1.0 - part) + samples[right] * part
    };
    (0..length).map(at).collect()
}

fn train_full(heard: &[Recording]) -> (Vec<f32>, Vec<f32>, Vec<f32>, Vec<f32>) {
    const ROUNDS: usize = 30;
    const DECAY: f64 = 3e-4;
    let mut random = Random(SEED);
    let (mean, scale, mut examples) = examples(heard, LISTENING_FULL, &mut random);
    let inputs = LISTENING_FULL.features();

    let mut hidden: Vec<Vec<f64>> = (0..HIDDEN).map(|_| random.weights(inputs + 1)).collect();
    let mut output: Vec<Vec<f64>> = (0..DIGITS).map(|_| random.weights(HIDDEN + 1)).collect();
    for round in 0..ROUNDS {
        let rate = 0.01 * (1.0 - round as f64 / ROUNDS as f64);
        random.shuffle(&mut examples);
        for (features, digit) in &examples {
            // One input in ten is left out, so that no single one is relied on.
            let mut features: Vec<f64> =
                features.iter().map(|&value| if random.below(10) == 0 { 0.0 } else { value / 0.9 }).collect();
            features.push(1.0);
            let mut units: Vec<f64> = hidden.iter().map(|weights| product(weights, &features).max(0.0)).collect();
            units.push(1.0);
            let misses = misses(&output, &units, *digit);
            let mut back = vec![0.0; HIDDEN];
            for (weights, miss) in output.iter_mut().zip(misses) {
                for (n, weight) in weights.iter_mut().enumerate() {
                    if n < HIDDEN {
                        back[n] += *weight * miss;
                    }
                    *weight -= rate * (miss * units[n] + DECAY * *weight);
                }
            }
            for ((weights, slope), unit) in hidden.iter_mut().zip(back).zip(&units) {
                if *unit > 0.0 {
                    weights
                        .iter_mut()
                        .zip(&features)
                        .for_each(|(weight, feature)| *weight -= rate * (slope * feature + DECAY * *weight));
                }
            }
        }
    }
    (mean, scale, flat(&hidden), flat(&output))
}

fn train_small(heard: &[Recording]) -> (Vec<f32>, Vec<f32>, Vec<i8>, f32, Vec<f32>) {
    const ROUNDS: usize = 30;
    const DECAY: f64 = 1e-3;
    let mut random = Random(SEED);
    let (mean, scale, mut examples) = examples(heard, LISTENING_SMALL, &mut random);
    let inputs = LISTENING_SMALL.features();

    let mut output = vec![vec![0.0; inputs + 1]; DIGITS];
    for round in 0..ROUNDS {
        let rate = 0.01 * (1.0 - round as f64 / ROUNDS as f64);
        random.shuffle(&mut examples);
        for (features, digit) in &examples {
            let mut features = features.clone();
            features.push(1.0);
            let misses = misses(&output, &features, *digit);
            for (weights, miss) in output.iter_mut().zip(misses) {
                weights
                    .iter_mut()
                    .zip(&features)
                    .for_each(|(weight, feature)| *weight -= rate * (miss * feature + DECAY * *weight));
            }
        }
    }
    let largest =
        output.iter().flat_map(|weights| &weights[..inputs]).fold(0.0f64, |most, weight| most.max(weight.abs()));
    let step = largest / 127.0;
    let bytes = output
        .iter()
        .flat_map(|weights| &weights[..inputs])
        .map(|weight| (weight / step + 0.5).floor() as i8)
        .collect();
    let bias = output.iter().map(|weights| weights[inputs] as f32).collect();
    (mean, scale, bytes, step as f32, bias)
}

/// What each digit's share is too high by.
fn misses(output: &[Vec<f64>], units: &[f64], digit: usize) -> Vec<f64> {
    let scores: Vec<f64> = output.iter().map(|weights| product(weights, units)).collect();
    let highest = scores.iter().fold(f64::NEG_INFINITY, |most, &score| most.max(score));
    let shares: Vec<f64> = scores.iter().map(|score| math::exp(score - highest)).collect();
    let sum: f64 = shares.iter().sum();
    shares.iter().enumerate().map(|(n, share)| share / sum - f64::from(u8::from(n == digit))).collect()
}

fn product(weights: &[f64], values: &[f64]) -> f64 {
    weights.iter().zip(values).map(|(weight, value)| weight * value).sum()
}

fn flat(rows: &[Vec<f64>]) -> Vec<f32> {
    rows.iter().flatten().map(|&weight| weight as f32).collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// About normal: the sum of twelve uniform numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| (self.next() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
    }

    fn weights(&mut self, count: usize) -> Vec<f64> {
        let spread = (2.0 / count as f64).sqrt();
        (0..count).map(|_| spread * self.normal()).collect()
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for n in (1..items.len()).rev() {
            items.swap(n, self.below(n + 1));
        }
    }
}
