//! `512Mi`, `2G`, `100Mbit`: amounts as people write them.

/// Bytes: a whole or decimal number with an optional unit, decimal (`k M G T`) or binary (`Ki Mi Gi Ti`), with or without `B`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let scale = match unit.strip_suffix('B').unwrap_or(unit) {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    whole(number * scale)
}

/// Bits a second: a number with `bit`, `kbit`, `Mbit` or `Gbit`, with or without `/s`.
pub(super) fn bits_per_s(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let scale = match unit.strip_suffix("/s").unwrap_or(unit) {
        "" | "bit" => 1.0,
        "kbit" => 1e3,
        "Mbit" => 1e6,
        "Gbit" => 1e9,
        _ => return None,
    };
    whole(number * scale)
}

fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

/// Beyond 2^53 a real number no longer names each byte; no machine of ours has that many.
fn whole(amount: f64) -> Option<u64> {
    ((0.0..=9.0e15).contains(&amount)).then_some(amount.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        assert_eq!(bytes("512Mi"), Some(512 * 1024 * 1024));
        assert_eq!(bytes("1.5 GiB"), Some(1_610_612_736));
        assert_eq!(bytes("2G"), Some(2_000_000_000));
        assert_eq!(bytes("4096"), Some(4096));
        assert_eq!(bits_per_s("100Mbit"), Some(100_000_000));
        assert_eq!(bits_per_s("1.5Gbit/s"), Some(1_500_000_000));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "Mi", "12 parsecs", "-1Mi", "1..2", "99999999Ti", "NaN"] {
            assert_eq!(bytes(text), None, "{text}");
        }
        assert_eq!(bits_per_s("100MB"), None);
    }
}
