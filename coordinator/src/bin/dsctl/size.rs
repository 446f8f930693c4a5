//! Amounts of memory and disk as people write them: `2G`.

use std::str::FromStr;

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// As `bytes` prints them: each is 1024 times the one before.
const UNITS: &[(&str, u32)] = &[("K", 10), ("M", 20), ("G", 30), ("T", 40)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_suffix("iB").unwrap_or(text);
        let with_unit = UNITS.iter().find_map(|&(unit, shift)| Some((bare.strip_suffix(unit)?, shift)));
        let (digits, shift) = with_unit.unwrap_or((text, 0));
        let number = digits.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
        let bytes = number.map(|n| n * (1_u64 << shift) as f64).filter(|bytes| (1.0..1e18).contains(bytes));
        bytes.map(|bytes| Self(bytes as u64)).ok_or_else(|| "write an amount such as 512M or 2G".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_binary() {
        let read = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(
            ["2G", "2GiB", "512M", "1.5K", "70000"].map(|text| read(text).unwrap()),
            [2 << 30, 2 << 30, 512 << 20, 1536, 70000]
        );
        for wrong in ["", "G", "-1G", "0", "2GB", "iB", "7iB", "nan", "1e30", "0.1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
