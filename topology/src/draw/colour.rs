//! Colours: from blue over yellow to red, told apart by the colour-blind too.

pub(super) const PLAIN: &str = "#8a94a6";
pub(super) const DOWN: &str = "#111111";
pub(super) const BOX: &str = "#e8edf5";
pub(super) const EDGE: &str = "#5b6577";

/// Idle is pale blue, half is yellow, the busiest is dark red.
const SCALE: [(f64, [f64; 3]); 4] = [
    (0.0, [189.0, 215.0, 238.0]),
    (0.4, [116.0, 173.0, 209.0]),
    (0.7, [253.0, 174.0, 97.0]),
    (1.0, [178.0, 24.0, 43.0]),
];

/// The colour of a share between 0 and 1.
pub(super) fn of(share: f64) -> String {
    let share = share.clamp(0.0, 1.0);
    let upper = SCALE.iter().position(|(at, _)| *at >= share).unwrap_or(SCALE.len() - 1).max(1);
    let ((low, from), (high, to)) = (SCALE[upper - 1], SCALE[upper]);
    let part = (share - low) / (high - low);
    let mix = |i: usize| (from[i] + (to[i] - from[i]) * part).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_scale_are_blue_and_red() {
        assert_eq!(of(0.0), "#bdd7ee");
        assert_eq!(of(1.0), "#b2182b");
        assert_eq!(of(7.0), of(1.0));
    }
}
