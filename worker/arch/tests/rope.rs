//! Frequencies of rotary positions, plain and stretched.

use ds_arch::RopeConfig;

fn released() -> RopeConfig {
    RopeConfig { factor: 40.0, ..RopeConfig::plain(10_000.0) }
}

#[test]
fn without_a_factor_frequencies_are_powers_of_theta() {
    let frequencies = RopeConfig::plain(10_000.0).frequencies(4);
    assert_eq!(frequencies.len(), 2);
    assert!((frequencies[0] - 1.0).abs() < 1e-15 && (frequencies[1] - 0.01).abs() < 1e-15, "{frequencies:?}");
}

#[test]
fn fast_pairs_stay_and_slow_ones_are_divided_by_the_factor() {
    let (plain, stretched) = (RopeConfig::plain(10_000.0).frequencies(64), released().frequencies(64));
    // 64·ln(4096 / 2πr) / (2·ln 10000) is 10.47 for 32 turns and 22.51 for one.
    for pair in 0..32 {
        let shrunk = plain[pair] / stretched[pair];
        let expected = 1.0 / (1.0 - (pair as f64 - 10.0).clamp(0.0, 13.0) / 13.0 * (1.0 - 1.0 / 40.0));
        assert!((shrunk / expected - 1.0).abs() < 1e-12, "pair {pair}: {shrunk}, expected {expected}");
    }
}

#[test]
fn logits_grow_with_the_logarithm_of_the_factor() {
    let config = released();
    // The released code's softmax scale at width 192 is 0.13523.
    assert!((192_f64.powf(-0.5) * config.logit_scale() - 0.135_233_778_860_880_1).abs() < 1e-15);
    assert!((config.amplitude() - 1.0).abs() < 1e-15);
    let unequal = RopeConfig { mscale: 0.707, ..config };
    assert!((unequal.amplitude() - (0.0707 * 40_f64.ln() + 1.0) / (0.1 * 40_f64.ln() + 1.0)).abs() < 1e-15);
}
