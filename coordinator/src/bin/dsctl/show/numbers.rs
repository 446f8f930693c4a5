//! Numbers as people read them.

/// `671.0 B`, `11.5 M`, `820`.
pub(crate) fn count(n: f64) -> String {
    let (scaled, unit) = scale(n, 1000.0, &["", " k", " M", " B", " T"]);
    match unit {
        "" => format!("{scaled:.0}"),
        unit => format!("{scaled:.1}{unit}"),
    }
}

/// `1.5 GiB`, `820 B`.
pub(crate) fn bytes(n: u64) -> String {
    let (scaled, unit) = scale(n as f64, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"]);
    match unit {
        " B" => format!("{n} B"),
        unit => format!("{scaled:.1}{unit}"),
    }
}

/// `0.8 s`, `47 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn seconds(seconds: f64) -> String {
    // A duration has no room for what is not finite, which a rate of zero gives.
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600.. => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `12%`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

fn scale(n: f64, base: f64, units: &[&'static str]) -> (f64, &'static str) {
    let mut scaled = n;
    let mut unit = 0;
    // 999.95 would be shown as 1000.0 of the smaller unit.
    while scaled.abs() >= base - 0.05 && unit + 1 < units.len() {
        scaled /= base;
        unit += 1;
    }
    (scaled, units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_the_unit_that_keeps_them_short() {
        assert_eq!(count(820.0), "820");
        assert_eq!(count(45_230.0), "45.2 k");
        assert_eq!(count(999_960.0), "1.0 M");
        assert_eq!(count(671_026_000_000.0), "671.0 B");
    }

    #[test]
    fn bytes_are_binary() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
    }

    #[test]
    fn times_have_two_units_at_most() {
        assert_eq!(seconds(0.84), "0.8 s");
        assert_eq!(seconds(59.4), "59 s");
        assert_eq!(seconds(59.6), "1 min 0 s");
        assert_eq!(seconds(7500.0), "2 h 5 min");
        assert_eq!(seconds(f64::INFINITY), "?");
    }
}
