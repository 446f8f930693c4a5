//! Numbers as people read them.

/// Bytes with a binary unit and one decimal.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64;
    let mut unit = "";
    for next in UNITS {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A number with a word of magnitude and one decimal, for example `671.0 billion`.
pub(super) fn count(n: f64) -> String {
    scaled(n, ["", " thousand", " million", " billion", " trillion"])
}

/// FLOPs with a decimal prefix and one decimal.
pub(super) fn flops(n: f64) -> String {
    const PREFIXES: [&str; 8] = [" FLOP", " kFLOP", " MFLOP", " GFLOP", " TFLOP", " PFLOP", " EFLOP", " ZFLOP"];
    scaled(n, PREFIXES)
}

fn scaled<const N: usize>(n: f64, units: [&str; N]) -> String {
    let mut value = n;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < N {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0}{}", units[0]) } else { format!("{value:.1}{}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_change_their_unit_before_they_grow_a_digit() {
        assert_eq!([0, 1023, 1024, 1_048_575, 1 << 30].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.0 GiB"]);
        assert_eq!([7.0, 999.0, 1000.0, 999_960.0].map(count), ["7", "999", "1.0 thousand", "1.0 million"]);
        assert_eq!(flops(2.497e11), "249.7 GFLOP");
        assert_eq!(count(671.03e9), "671.0 billion");
    }
}
