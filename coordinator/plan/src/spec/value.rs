//! One value of a spec, whatever its type: how it is written, and how it gets in and out of the types.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One value of a spec.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Whole(i128),
    Real(f64),
    Flag(bool),
    Text(String),
    Path(PathBuf),
    Time(Duration),
}

/// A type that a field can have.
pub(super) trait Slot: Sized {
    fn value(&self) -> Value;
    fn slot(value: Value) -> Option<Self>;
}

/// The value as a field's type.
pub(super) fn slot<T: Slot>(value: Value) -> T {
    T::slot(value).expect("a kind reads only what its field's type holds")
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Whole(n) => write!(f, "{n}"),
            Self::Real(x) => f.write_str(&real(*x)),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Text(text) => f.write_str(text),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Time(time) => f.write_str(&duration(*time)),
        }
    }
}

/// The shortest digits that read back the same, with a point, so that every YAML reader sees a number.
fn real(x: f64) -> String {
    let text = format!("{x:?}");
    match text.split_once('e') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0e{exponent}"),
        _ => text,
    }
}

/// In the largest unit that needs no fraction.
fn duration(time: Duration) -> String {
    let ms = time.as_millis();
    let (unit, of_ms) = [("h", 3_600_000), ("m", 60_000), ("s", 1000)]
        .into_iter()
        .find(|(_, of_ms)| ms.is_multiple_of(*of_ms))
        .filter(|_| ms > 0)
        .unwrap_or(if ms == 0 { ("s", 1) } else { ("ms", 1) });
    format!("{}{unit}", ms / of_ms)
}

macro_rules! whole_slots {
    ($($type:ty),*) => {$(
        impl Slot for $type {
            fn value(&self) -> Value {
                Value::Whole(i128::from(*self))
            }
            fn slot(value: Value) -> Option<Self> {
                let Value::Whole(n) = value else { return None };
                n.try_into().ok()
            }
        }
    )*};
}
whole_slots!(u32, u64, i32);

macro_rules! slots {
    ($($type:ty: $case:ident),*) => {$(
        impl Slot for $type {
            fn value(&self) -> Value {
                Value::$case(self.clone())
            }
            fn slot(value: Value) -> Option<Self> {
                let Value::$case(inner) = value else { return None };
                Some(inner)
            }
        }
    )*};
}
slots!(f64: Real, bool: Flag, String: Text, PathBuf: Path, Duration: Time);

impl<T: Slot> Slot for Option<T> {
    fn value(&self) -> Value {
        self.as_ref().map_or(Value::Null, Slot::value)
    }
    fn slot(value: Value) -> Option<Self> {
        if value == Value::Null { Some(None) } else { T::slot(value).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_so_that_they_read_back() {
        for (x, text) in [(1e-8, "1.0e-8"), (0.0003, "0.0003"), (2.5e-20, "2.5e-20"), (1.0, "1.0"), (1e22, "1.0e22")] {
            assert_eq!(Value::Real(x).to_string(), text);
            assert_eq!(text.parse::<f64>().unwrap(), x);
        }
    }

    #[test]
    fn durations_take_the_largest_unit_without_a_fraction() {
        for (ms, text) in
            [(0, "0s"), (500, "500ms"), (1500, "1500ms"), (30_000, "30s"), (90_000, "90s"), (600_000, "10m")]
        {
            assert_eq!(Value::Time(Duration::from_millis(ms)).to_string(), text);
        }
        assert_eq!(Value::Time(Duration::from_secs(7200)).to_string(), "2h");
    }
}
