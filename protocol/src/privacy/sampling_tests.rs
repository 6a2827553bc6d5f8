//! A million draws against theory, at fixed seeds.

use super::super::bits::tests::Seeded;
use super::*;

const DRAWS: usize = 1_000_000;
/// Kolmogorov and Smirnov: a right sampler is further from theory once in 10,000 seeds; for whole numbers, less often.
const KS_MAX: f64 = 2.23;

fn draws(seed: u64, mut draw: impl FnMut(&mut Bits<'_>) -> Result<i128, SampleError>) -> Vec<i128> {
    let mut source = Seeded::new(seed);
    let mut bits = Bits::of(&mut source);
    let mut drawn: Vec<i128> = (0..DRAWS).map(|_| draw(&mut bits).unwrap()).collect();
    drawn.sort_unstable();
    drawn
}

/// The greatest distance of two distribution functions, times the root of the number of draws.
fn kolmogorov(sorted: &[i128], cdf: impl Fn(i128) -> f64) -> f64 {
    let n = sorted.len() as f64;
    let mut most: f64 = 0.0;
    for (index, x) in sorted.iter().enumerate() {
        if sorted.get(index + 1) != Some(x) {
            most = most.max(((index + 1) as f64 / n - cdf(*x)).abs());
        }
    }
    most * n.sqrt()
}

/// Pearson's statistic over the values that are expected often enough, the rest in two tails; and its degrees of freedom.
fn chi_square(sorted: &[i128], pmf: impl Fn(i128) -> f64) -> (f64, f64) {
    let n = sorted.len() as f64;
    let reach = (0..).take_while(|x| pmf(*x) * n >= 50.0).last().unwrap_or(0);
    let inside: f64 = (-reach..=reach).map(&pmf).sum();
    let count =
        |from: i128, to: i128| (sorted.partition_point(|x| *x <= to) - sorted.partition_point(|x| *x < from)) as f64;
    let mut statistic = 0.0;
    let mut cells = 0.0;
    let mut add = |seen: f64, expected: f64| {
        if expected >= 5.0 {
            statistic += (seen - expected).powi(2) / expected;
            cells += 1.0;
        }
    };
    (-reach..=reach).for_each(|x| add(count(x, x), pmf(x) * n));
    let tail = (1.0 - inside) / 2.0 * n;
    add(count(i128::MIN, -reach - 1), tail);
    add(count(reach + 1, i128::MAX), tail);
    (statistic, cells - 1.0)
}

#[track_caller]
fn fits(sorted: &[i128], pmf: impl Fn(i128) -> f64) {
    let (statistic, degrees) = chi_square(sorted, pmf);
    // Four standard deviations above its mean.
    assert!(statistic < degrees + 4.0 * (2.0 * degrees).sqrt() + 8.0, "χ² is {statistic} at {degrees} degrees");
}

fn variance(sorted: &[i128]) -> f64 {
    sorted.iter().map(|x| (*x as f64).powi(2)).sum::<f64>() / sorted.len() as f64
}

fn laplace_cdf(scale: f64) -> impl Fn(i128) -> f64 {
    let a = (-1.0 / scale).exp();
    move |x| {
        if x >= 0 { 1.0 - (-(x + 1) as f64 / scale).exp() / (1.0 + a) } else { (x as f64 / scale).exp() / (1.0 + a) }
    }
}

#[test]
fn a_discrete_laplace_is_what_the_theory_says_at_every_scale() {
    for (seed, t, s) in [(1, 1, 3), (2, 1, 1), (3, 7, 2), (4, 1_000, 1), (5, 1_000_000_007, 1_000), (6, 1 << 90, 3)] {
        let drawn = draws(seed, |bits| laplace(t, s, bits));

        let scale = t as f64 / s as f64;
        let a = (-1.0 / scale).exp();
        let distance = kolmogorov(&drawn, laplace_cdf(scale));
        assert!(distance < KS_MAX, "{t}/{s}: {distance}");
        if scale < 100.0 {
            fits(&drawn, |x| (1.0 - a) / (1.0 + a) * (a.ln() * x.unsigned_abs() as f64).exp());
        }
        // 2a/(1-a)², written so that a near 1 costs no digits.
        let expected = 0.5 / (0.5 / scale).sinh().powi(2);
        // Its fourth moment is six times the square of that, and more at small scales.
        let share = (variance(&drawn) / expected - 1.0).abs();
        assert!(share < 5.0 * (8.0 * (1.0 + 1.0 / scale) / DRAWS as f64).sqrt(), "{t}/{s}: {share}");
    }
}

#[test]
fn the_tail_of_a_discrete_laplace_is_as_long_as_it_must_be() {
    let drawn = draws(11, |bits| laplace(20, 1, bits));

    let beyond = drawn.iter().filter(|x| x.abs() > 200).count() as f64;
    let a = (-1.0f64 / 20.0).exp();
    let expected = 2.0 * a.powi(201) / (1.0 + a) * DRAWS as f64;
    assert!((beyond - expected).abs() < 5.0 * expected.sqrt(), "{beyond} of {expected}");
}

/// exp(-x²/2σ²) over its sum.
fn gaussian_pmf(variance: f64) -> impl Fn(i128) -> f64 {
    let weight = move |x: i128| (-(x as f64).powi(2) / (2.0 * variance)).exp();
    let reach = (12.0 * variance.sqrt()) as i128 + 10;
    let sum: f64 = (-reach..=reach).map(weight).sum();
    move |x| weight(x) / sum
}

/// The normal distribution; Abramowitz and Stegun 7.1.26, off by at most 1.5e-7.
fn normal_cdf(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let poly =
        t * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let upper = poly * (-x * x).exp() / 2.0;
    if z >= 0.0 { 1.0 - upper } else { upper }
}

#[test]
fn a_discrete_gaussian_is_what_the_theory_says_at_small_scales() {
    // σ² = 1/10, 1, 50/7, 400: at the smallest nearly all draws are 0.
    for (seed, p, q) in [(21u64, 1u32, 10u32), (22, 1, 1), (23, 50, 7), (24, 400, 1)] {
        let drawn = draws(seed, |bits| gaussian(&p.into(), &q.into(), bits));

        let squared = f64::from(p) / f64::from(q);
        let pmf = gaussian_pmf(squared);
        fits(&drawn, &pmf);
        let reach = (12.0 * squared.sqrt()) as i128 + 10;
        let expected: f64 = (-reach..=reach).map(|x| pmf(x) * (x as f64).powi(2)).sum();
        let fourth: f64 = (-reach..=reach).map(|x| pmf(x) * (x as f64).powi(4)).sum();
        let off = (variance(&drawn) - expected).abs();
        assert!(off < 5.0 * ((fourth - expected * expected) / DRAWS as f64).sqrt(), "σ² = {p}/{q}: {off}");
    }
}

#[test]
fn a_discrete_gaussian_is_what_the_theory_says_at_large_scales() {
    for (seed, p, q) in [(31u64, BigUint::from(1_000_000u32), 1u32), (32, BigUint::from(3u8) << 80, 7)] {
        let drawn = draws(seed, |bits| gaussian(&p, &q.into(), bits));

        let sigma = (p.to_string().parse::<f64>().unwrap() / f64::from(q)).sqrt();
        // Half a unit further: the steps of whole numbers.
        let distance = kolmogorov(&drawn, |x| normal_cdf((x as f64 + 0.5) / sigma));
        assert!(distance < KS_MAX, "{distance}");
        let share = (variance(&drawn) / sigma.powi(2) - 1.0).abs();
        assert!(share < 5.0 * (2.0 / DRAWS as f64).sqrt(), "{share}");
        let beyond = drawn.iter().filter(|x| x.unsigned_abs() as f64 > 4.0 * sigma).count();
        // 63.3 are expected.
        assert!((24..=103).contains(&beyond), "{beyond} beyond four σ");
    }
}

#[test]
fn an_event_of_probability_exp_is_as_frequent_as_it_says() {
    let mut source = Seeded::new(41);
    let mut bits = Bits::of(&mut source);
    for (numerator, denominator) in [(0u128, 1u128), (1, 3), (1, 1), (7, 2), (9, 1)] {
        let n = 200_000;
        let hits = (0..n).filter(|_| bernoulli_exp(numerator, denominator, &mut bits).unwrap()).count() as f64;

        let p = (-(numerator as f64) / denominator as f64).exp();
        let deviation = (f64::from(n) * p * (1.0 - p)).sqrt();
        assert!((hits - f64::from(n) * p).abs() <= 5.0 * deviation, "exp(-{numerator}/{denominator}): {hits} of {n}");
    }
}

#[test]
fn the_same_bits_give_the_same_noise() {
    let draw = |seed| draws(seed, |bits| laplace(1_000, 1, bits));

    assert_eq!(draw(5)[..1_000], draw(5)[..1_000]);
}
