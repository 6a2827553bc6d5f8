//! Trains both digit models on takes 5 to 8 of every speaker and prints how well they do on takes they have not heard.
//!
//! cargo run --release -p shoal-examples --example train_digit
//!
//! Each take is held back in turn, and each speaker. The models that ship have heard all four takes; a second pair has
//! not heard take 8, for the answers under `--held-back`. Everything is seeded and uses only this crate's arithmetic, so
//! every machine writes the same models.
#![allow(clippy::expect_used)] // an offline tool over the data committed beside it: stopping is the right answer

mod common;

use common::array;
use common::random::Random;
use shoal_examples::digit::{self, features, wav, Linear, Network, DIGITS, HIDDEN, LISTENING_FULL, LISTENING_SMALL};
use shoal_examples::{math, text};

const SPEAKERS: [&str; 6] = ["george", "jackson", "lucas", "nicolas", "theo", "yweweler"];
const TAKES: [usize; 4] = [5, 6, 7, 8];
const TAKE_HELD_BACK: usize = 8;
const SEED: u64 = 7;
/// Ways each recording is spoken again.
const VOICES: usize = 24;
const ROUNDS: usize = 30;

fn main() {
    let recordings = recordings();
    let mut random = Random(SEED);
    let respoken: Vec<Respoken> = recordings.iter().map(|recording| respoken(recording, &mut random)).collect();

    let by_take = |take: usize| move |recording: &Recording| recording.take != take;
    let mut unheard = Vec::new();
    for take in TAKES {
        unheard.extend(judged(&recordings, &respoken, &by_take(take)));
    }
    print_accuracy("each take held back in turn   ", &unheard);
    print_cascade(&unheard);
    let mut strangers = Vec::new();
    for speaker in SPEAKERS {
        strangers.extend(judged(&recordings, &respoken, &|recording| recording.speaker != speaker));
    }
    print_accuracy("each speaker held back in turn", &strangers);

    write_models("", &recordings, &respoken, &|_| true);
    write_models("_held_back", &recordings, &respoken, &by_take(TAKE_HELD_BACK));
    let last = judged(&recordings, &respoken, &by_take(TAKE_HELD_BACK));
    print_accuracy("take 8 alone, --held-back     ", &last);
}

struct Recording {
    digit: usize,
    speaker: &'static str,
    take: usize,
    samples: Vec<f64>,
}

fn recordings() -> Vec<Recording> {
    let mut recordings = Vec::new();
    for take in TAKES {
        for speaker in SPEAKERS {
            for digit in 0..DIGITS {
                let file = common::read(&format!("data/digits/{digit}_{speaker}_{take}.wav"));
                let samples = wav::read(&file).expect("the recording is valid");
                recordings.push(Recording { digit, speaker, take, samples });
            }
        }
    }
    recordings
}

/// What a recording sounds like, spoken again and again: as the full and as the small model listen.
struct Respoken {
    full: Vec<Vec<f64>>,
    small: Vec<Vec<f64>>,
}

/// As it is, and faster or slower (and so higher or lower), fainter against noise, through another microphone, cut
/// closer or with silence around it.
fn respoken(recording: &Recording, random: &mut Random) -> Respoken {
    let mut respoken = Respoken { full: Vec::new(), small: Vec::new() };
    for voice in 0..VOICES {
        let mut samples = recording.samples.clone();
        if voice > 0 {
            let speed = 1.0 + 0.07 * random.normal().clamp(-2.2, 2.2);
            samples = at_pace(&samples, speed);
            samples.drain(..random.below(160.min(samples.len() - wav::SAMPLES_MIN + 1)));
            let silence = random.below(400);
            samples.splice(..0, std::iter::repeat_n(0.0, silence));
            let tilt = 0.15 * random.normal();
            for n in (1..samples.len()).rev() {
                samples[n] += tilt * samples[n - 1];
            }
            let gain = math::exp(0.4 * random.normal());
            let loudest = samples.iter().fold(0.0f64, |most, sample| most.max(sample.abs()));
            let noise = [0.0, 0.0, 0.002, 0.006, 0.015][random.below(5)] * loudest;
            samples.iter_mut().for_each(|sample| *sample = gain * (*sample + noise * random.normal()));
        }
        respoken.full.push(features::features(&samples, LISTENING_FULL));
        respoken.small.push(features::features(&samples, LISTENING_SMALL));
    }
    respoken
}

/// Linear interpolation at another pace.
fn at_pace(samples: &[f64], speed: f64) -> Vec<f64> {
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

/// A recording that was held back: the digit, and what both models make of it.
struct Judged {
    digit: usize,
    full: usize,
    small: usize,
    confidence: f64,
}

/// Trains on the recordings that are `heard` and judges the others.
fn judged(recordings: &[Recording], respoken: &[Respoken], heard: &dyn Fn(&Recording) -> bool) -> Vec<Judged> {
    let full = FullWeights::train(&examples(recordings, respoken, heard, |respoken| &respoken.full));
    let small = SmallWeights::train(&examples(recordings, respoken, heard, |respoken| &respoken.small));
    let judge = |(recording, respoken): (&Recording, &Respoken)| {
        let shares = digit::shares(small.model().judge(&respoken.small[0]));
        let small = digit::best(&shares);
        let full = digit::best(&full.model().judge(&respoken.full[0]));
        Judged { digit: recording.digit, full, small, confidence: shares[small] }
    };
    recordings.iter().zip(respoken).filter(|(recording, _)| !heard(recording)).map(judge).collect()
}

fn percent(count: usize, of: usize) -> String {
    text::fixed(100.0 * count as f64 / of as f64, 1)
}

fn print_accuracy(name: &str, judged: &[Judged]) {
    let full = judged.iter().filter(|judged| judged.full == judged.digit).count();
    let small = judged.iter().filter(|judged| judged.small == judged.digit).count();
    let (cascade, asked) = cascade(judged, digit::UNSURE_BELOW);
    let all = judged.len();
    println!(
        "{name}: of {all} recordings full {} %, small {} % (loss {}), small then full {} % with {} % asked",
        percent(full, all),
        percent(small, all),
        text::fixed((full as f64 - small as f64) / all as f64, 4),
        percent(cascade, all),
        percent(asked, all),
    );
}

/// How many are right, and for how many the full model is asked, when it is asked below this confidence.
fn cascade(judged: &[Judged], unsure_below: f64) -> (usize, usize) {
    let asked = judged.iter().filter(|judged| judged.confidence < unsure_below).count();
    let right = judged.iter().filter(|judged| {
        let answer = if judged.confidence < unsure_below { judged.full } else { judged.small };
        answer == judged.digit
    });
    (right.count(), asked)
}

fn print_cascade(judged: &[Judged]) {
    for unsure_below in [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98] {
        let (right, asked) = cascade(judged, unsure_below);
        let (right, asked) = (percent(right, judged.len()), percent(asked, judged.len()));
        println!("  asked below {}: {right} % right, {asked} % asked", text::fixed(unsure_below, 2));
    }
}

fn write_models(ending: &str, recordings: &[Recording], respoken: &[Respoken], heard: &dyn Fn(&Recording) -> bool) {
    let full = FullWeights::train(&examples(recordings, respoken, heard, |respoken| &respoken.full));
    common::write(&format!("src/digit/full{ending}.rs"), "digit", &full.source());
    let small = SmallWeights::train(&examples(recordings, respoken, heard, |respoken| &respoken.small));
    common::write(&format!("src/digit/small{ending}.rs"), "digit", &small.source());
}

/// Normalised features and the digit, with what they were normalised by.
struct Examples {
    mean: Vec<f32>,
    scale: Vec<f32>,
    all: Vec<(Vec<f64>, usize)>,
}

fn examples(
    recordings: &[Recording],
    respoken: &[Respoken],
    heard: &dyn Fn(&Recording) -> bool,
    listen: fn(&Respoken) -> &Vec<Vec<f64>>,
) -> Examples {
    let mut all: Vec<(Vec<f64>, usize)> = Vec::new();
    for (recording, respoken) in recordings.iter().zip(respoken).filter(|(recording, _)| heard(recording)) {
        all.extend(listen(respoken).iter().map(|features| (features.clone(), recording.digit)));
    }
    let (count, width) = (all.len() as f64, all[0].0.len());
    let mut mean = vec![0.0f32; width];
    let mut scale = vec![1.0f32; width];
    for column in 0..width {
        let average = all.iter().map(|(features, _)| features[column]).sum::<f64>() / count;
        let squares = all.iter().map(|(features, _)| (features[column] - average) * (features[column] - average));
        let spread = squares.sum::<f64>() / count;
        mean[column] = average as f32;
        // A column that never changes (the first cepstrum's own average) tells nothing.
        scale[column] = (1.0 / (spread.sqrt() + 1e-6)).min(1e3) as f32;
        for (features, _) in &mut all {
            features[column] = (features[column] - f64::from(mean[column])) * f64::from(scale[column]);
        }
    }
    Examples { mean, scale, all }
}

struct FullWeights {
    mean: Vec<f32>,
    scale: Vec<f32>,
    hidden: Vec<f32>,
    output: Vec<f32>,
}

impl FullWeights {
    fn train(examples: &Examples) -> Self {
        const DECAY: f64 = 3e-4;
        let mut random = Random(SEED);
        let inputs = LISTENING_FULL.features();
        let mut order: Vec<&(Vec<f64>, usize)> = examples.all.iter().collect();

        let mut hidden: Vec<Vec<f64>> = (0..HIDDEN).map(|_| weights(&mut random, inputs + 1)).collect();
        let mut output: Vec<Vec<f64>> = (0..DIGITS).map(|_| weights(&mut random, HIDDEN + 1)).collect();
        for round in 0..ROUNDS {
            let rate = 0.01 * (1.0 - round as f64 / ROUNDS as f64);
            random.shuffle(&mut order);
            for (features, digit) in &order {
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
        let (mean, scale) = (examples.mean.clone(), examples.scale.clone());
        Self { mean, scale, hidden: flat(&hidden), output: flat(&output) }
    }

    fn model(&self) -> Network<'_> {
        Network { mean: &self.mean, scale: &self.scale, hidden: &self.hidden, output: &self.output }
    }

    fn source(&self) -> String {
        [
            "use super::Network;\n\n#[rustfmt::skip]\npub const MODEL: Network<'_> = Network { mean: &MEAN, scale: &SCALE, hidden: &HIDDEN, output: &OUTPUT };\n".to_owned(),
            array("MEAN", "f32", &self.mean),
            array("SCALE", "f32", &self.scale),
            array("HIDDEN", "f32", &self.hidden),
            array("OUTPUT", "f32", &self.output),
        ]
        .join("\n")
    }
}

struct SmallWeights {
    mean: Vec<f32>,
    scale: Vec<f32>,
    weights: Vec<i8>,
    step: f32,
    bias: Vec<f32>,
}

impl SmallWeights {
    fn train(examples: &Examples) -> Self {
        const DECAY: f64 = 1e-3;
        let mut random = Random(SEED);
        let inputs = LISTENING_SMALL.features();
        let mut order: Vec<&(Vec<f64>, usize)> = examples.all.iter().collect();

        let mut output = vec![vec![0.0; inputs + 1]; DIGITS];
        for round in 0..ROUNDS {
            let rate = 0.01 * (1.0 - round as f64 / ROUNDS as f64);
            random.shuffle(&mut order);
            for (features, digit) in &order {
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
        let bytes = output.iter().flat_map(|weights| &weights[..inputs]);
        let weights = bytes.map(|weight| (weight / step + 0.5).floor() as i8).collect();
        let bias = output.iter().map(|weights| weights[inputs] as f32).collect();
        Self { mean: examples.mean.clone(), scale: examples.scale.clone(), weights, step: step as f32, bias }
    }

    fn model(&self) -> Linear<'_> {
        let Self { mean, scale, weights, step, bias } = self;
        Linear { mean, scale, weights, step: *step, bias }
    }

    fn source(&self) -> String {
        [
            format!(
                "use super::Linear;\n\n#[rustfmt::skip]\npub const MODEL: Linear<'_> =\n    Linear {{ mean: &MEAN, scale: &SCALE, weights: &WEIGHTS, step: {:?}, bias: &BIAS }};\n",
                self.step
            ),
            array("MEAN", "f32", &self.mean),
            array("SCALE", "f32", &self.scale),
            array("WEIGHTS", "i8", &self.weights),
            array("BIAS", "f32", &self.bias),
        ]
        .join("\n")
    }
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

fn weights(random: &mut Random, count: usize) -> Vec<f64> {
    let spread = (2.0 / count as f64).sqrt();
    (0..count).map(|_| spread * random.normal()).collect()
}
