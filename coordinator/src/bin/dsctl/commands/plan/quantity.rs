//! Large numbers as people write them: `14.8T`.

use std::str::FromStr;

/// A number of things.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantity(pub(super) f64);

const UNITS: &[(char, f64)] = &[('k', 1e3), ('M', 1e6), ('B', 1e9), ('T', 1e12)];

impl FromStr for Quantity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let with_unit = UNITS.iter().find_map(|&(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
        let (digits, factor) = with_unit.unwrap_or((text, 1.0));
        let number = digits.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
        number.map(|n| Self(n * factor)).ok_or_else(|| "write a number such as 300B or 14.8T".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_has_a_unit_or_none() {
        let read = |text: &str| text.parse::<Quantity>().map(|quantity| quantity.0);
        assert_eq!(["300B", "14.8T", "512", "2 k"].map(|text| read(text).unwrap()), [3e11, 1.48e13, 512.0, 2e3]);
        for wrong in ["", "T", "-1B", "0", "1TT", "1e400", "nan"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
