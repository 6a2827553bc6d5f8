//! Exponential, logarithm and cosine that give the same bits on every machine.
//!
//! **Invariant:** only `+ - * /`, `floor` and `sqrt` on `f64` are used; IEEE 754 defines each to the last bit, and
//! neither compiler fuses or reorders them. A platform's own functions are free to differ in the last digit.
//! The error stays below 4e-15, relative for `exp`, absolute for `ln` near 1 and `cos`.

const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
pub const PI: f64 = std::f64::consts::PI;

/// `e` to the power of `x`; 0 far below and infinity far above the representable range.
pub fn exp(x: f64) -> f64 {
    if x < -708.0 {
        return 0.0;
    }
    if x > 709.0 {
        return f64::INFINITY;
    }
    let power = (x * std::f64::consts::LOG2_E + 0.5).floor();
    let rest = (x - power * LN_2_HIGH) - power * LN_2_LOW;
    let mut sum = 1.0;
    for n in (1..=14u8).rev() {
        sum = 1.0 + sum * rest / f64::from(n);
    }
    sum * two_to(power as i64)
}

/// The natural logarithm; minus infinity for zero and anything that has no logarithm.
pub fn ln(x: f64) -> f64 {
    if x.is_nan() || x < f64::MIN_POSITIVE {
        return f64::NEG_INFINITY;
    }
    let bits = x.to_bits();
    let mut power = ((bits >> 52) as i64) - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        power += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for n in (0..=11u8).rev() {
        sum = sum * square + 1.0 / f64::from(2 * n + 1);
    }
    let power = power as f64;
    power * LN_2_HIGH + (2.0 * s * sum + power * LN_2_LOW)
}

pub fn cos(x: f64) -> f64 {
    let turns = x / (2.0 * PI);
    let mut angle = (turns - (turns + 0.5).floor()).abs() * 2.0 * PI;
    let mut sign = 1.0;
    if angle > PI / 2.0 {
        angle = PI - angle;
        sign = -1.0;
    }
    let square = angle * angle;
    let mut sum = 1.0;
    for n in (1..=11u16).rev() {
        sum = 1.0 - sum * square / f64::from(2 * n * (2 * n - 1));
    }
    sign * sum
}

pub fn sin(x: f64) -> f64 {
    cos(x - PI / 2.0)
}

/// A probability from a score: 0.5 at 0.
pub fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

fn two_to(power: i64) -> f64 {
    // exp() keeps the power within -1022..=1023.
    f64::from_bits(((power + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_platforms_own() {
        for step in -4000..4000 {
            let x = f64::from(step) * 0.0371;
            let relative = (exp(x) - x.exp()).abs() / x.exp();
            assert!(relative < 4e-15, "exp({x}): {relative:e}");
            assert!((cos(x) - x.cos()).abs() < 4e-14, "cos({x}): {} {}", cos(x), x.cos());
            assert!((sin(x) - x.sin()).abs() < 4e-14, "sin({x})");
            let positive = x.exp();
            let error = (ln(positive) - positive.ln()).abs() / positive.ln().abs().max(1.0);
            assert!(error < 4e-15, "ln({positive}): {error:e}");
        }
    }

    #[test]
    fn the_edges_are_defined() {
        assert_eq!(exp(-1e9), 0.0);
        assert_eq!(exp(1e9), f64::INFINITY);
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(ln(0.0), f64::NEG_INFINITY);
        assert_eq!(ln(-1.0), f64::NEG_INFINITY);
        assert_eq!(ln(f64::NAN), f64::NEG_INFINITY);
        assert_eq!(cos(0.0), 1.0);
    }

    #[test]
    fn bits_are_pinned() {
        let bits = [exp(1.0), exp(-20.5), ln(10.0), ln(1e-7), cos(1.0), sin(-3.0)].map(f64::to_bits);

        let pinned = [
            0x4005bf0a8b14576a,
            0x3e157a3afeed00ac,
            0x40026bb1bbb55516,
            0xc0301e3b843eaa73,
            0x3fe14a280fb5068c,
            0xbfc210386db6d55c,
        ];
        assert_eq!(bits, pinned);
    }
}
