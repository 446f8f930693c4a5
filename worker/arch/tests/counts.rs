//! The sizes that were published.

use ds_arch::{Counts, counts, preset};

fn of(name: &str) -> Counts {
    counts(&preset(name).expect("a preset"))
}

fn close(n: u64, billions: f64, within: f64) {
    let ours = n as f64 / 1e9;
    assert!((ours - billions).abs() <= within, "{ours} billion, published {billions}");
}

#[test]
fn deepseek_v3_has_671_billion_parameters() {
    close(of("deepseek-v3").total, 671.0, 0.05);
}

#[test]
fn mtp_adds_a_layer_of_11_and_a_half_billion_and_its_projection() {
    // The published 11.5 is the decoder layer; the projection `[d, 2d]` that feeds it is 0.1 more.
    let projection = 2 * 7168 * 7168;
    close(of("deepseek-v3").mtp - projection, 11.5, 0.05);
    close(of("deepseek-v3").mtp, 11.61, 0.005);
}

#[test]
fn deepseek_v3_activates_36_6_billion_and_37_55_with_the_embedding() {
    close(of("deepseek-v3").activated, 36.6, 0.05);
    close(of("deepseek-v3").activated_with_embedding, 37.55, 0.005);
}

#[test]
fn deepseek_v2_lite_has_15_7_billion_and_activates_2_4() {
    close(of("deepseek-v2-lite").total, 15.7, 0.05);
    // 2.45: published rounded down.
    close(of("deepseek-v2-lite").activated, 2.45, 0.005);
    assert_eq!(of("deepseek-v2-lite").mtp, 0);
}

#[test]
fn small_presets_stay_small() {
    assert!(of("bard").total < 5_000_000, "two cores train it in minutes: {}", of("bard").total);
    assert!(of("tiny").total < 200_000, "a test trains it in a second: {}", of("tiny").total);
}
