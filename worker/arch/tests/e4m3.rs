//! Codes and blocks, against PyTorch's casts and by their laws.

use std::path::PathBuf;

use ds_arch::e4m3::{MAX, decode, decode_band, encode, encode_band, scale_of, scales_of_band};
use safetensors::SafeTensors;

/// All of a file; the larger set of `GOLDEN_DIR` where there is one.
fn golden() -> Vec<u8> {
    let ours = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fp8.safetensors");
    let path = std::env::var_os("GOLDEN_DIR")
        .map(|folder| PathBuf::from(folder).join("fp8_blockwise/fp8.safetensors"))
        .filter(|path| path.is_file())
        .unwrap_or(ours);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn singles(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let bytes = file.tensor(name).expect(name).data().chunks_exact(4);
    bytes.map(|four| f32::from_le_bytes(four.try_into().expect("four bytes"))).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn every_code_means_what_it_means_elsewhere_and_comes_back() {
    let bytes = golden();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = singles(&file, "e4m3fn.values");
    for (code, value) in (0..=255_u8).zip(values) {
        assert!(decode(code).to_bits() == value.to_bits() || decode(code).is_nan() && value.is_nan(), "{code:#x}");
        assert_eq!(encode(decode(code)), code);
    }
}

#[test]
fn numbers_at_and_beside_every_midpoint_round_to_the_nearest_even() {
    let bytes = golden();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let probes = singles(&file, "e4m3fn.probe_x");
    let codes = file.tensor("e4m3fn.probe_bytes").unwrap().data();
    assert!(probes.len() > 700 && probes.len() == codes.len());
    for (x, &code) in probes.iter().zip(codes) {
        assert_eq!(encode(*x), code, "{x}");
    }
}

#[test]
fn no_other_code_is_nearer() {
    let sizes = (0..0x7F_u8).map(decode).collect::<Vec<_>>();
    // Every 4099th single: all exponents, and no common factor with the spacing of codes.
    for x in (0..0x7F80_0000_u32).step_by(4099).map(f32::from_bits) {
        let chosen = f64::from(decode(encode(x)));
        let error = (chosen - f64::from(x)).abs();
        let best = sizes.iter().map(|&size| (f64::from(size) - f64::from(x)).abs()).fold(f64::INFINITY, f64::min);
        assert_eq!(error, best, "{x}");
        assert_eq!(encode(-x), encode(x) | 0x80);
    }
}

#[test]
fn what_is_too_large_saturates_and_what_is_no_number_stays_none() {
    for x in [MAX, 449.0, 1e30, f32::INFINITY] {
        assert_eq!((decode(encode(x)), decode(encode(-x))), (MAX, -MAX));
    }
    assert!(decode(encode(f32::NAN)).is_nan() && decode(encode(-f32::NAN)).is_nan());
}

#[test]
fn matrices_have_the_codes_scales_and_products_of_the_published_arithmetic() {
    let bytes = golden();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let cases: Vec<&str> = file.names().into_iter().filter_map(|name| name.strip_suffix(".scale_inv")).collect();
    assert!(!cases.is_empty());
    for case in cases {
        let tensor = |what: &str| format!("{case}.{what}");
        let n_columns = file.tensor(&tensor("w")).unwrap().shape()[1];
        let (values, known) = (singles(&file, &tensor("w")), singles(&file, &tensor("scale_inv")));
        let (mut scales, mut codes, mut products) = (vec![], vec![0; values.len()], vec![0.0; values.len()]);
        let band = 128 * n_columns;
        for (i, values) in values.chunks(band).enumerate() {
            let within = i * band..i * band + values.len();
            let row = scales_of_band(values, n_columns);
            encode_band(values, n_columns, &row, &mut codes[within.clone()]);
            decode_band(&codes[within.clone()], n_columns, &row, &mut products[within]);
            scales.extend(row);
        }
        assert_eq!(bits(&scales), bits(&known), "{case}");
        assert_eq!(codes, file.tensor(&tensor("q_bytes")).unwrap().data(), "{case}");
        assert_eq!(bits(&products), bits(&singles(&file, &tensor("dequant"))), "{case}");
    }
}

#[test]
fn codes_survive_the_way_through_singles_whatever_the_scale() {
    let codes: Vec<u8> = (0..=255).filter(|code| code & 0x7F != 0x7F).collect();
    let (mut values, mut again) = (vec![0.0; codes.len()], vec![0; codes.len()]);
    // Scales from so small that products just stay normal to so large that they just stay finite, of odd fractions.
    for exponent in -117..118 {
        for fraction in [1.0, 1.000_000_1, 1.333_333_3, 1.7, 1.999_999_9] {
            let scale = 2.0_f32.powi(exponent) * fraction;
            decode_band(&codes, codes.len(), &[scale, scale], &mut values);
            encode_band(&values, codes.len(), &[scale, scale], &mut again);
            assert_eq!(codes, again, "{scale:e}");
        }
    }
}

#[test]
fn blocks_of_tiny_numbers_are_scaled_by_the_smallest_scale() {
    assert_eq!(scales_of_band(&[0.0; 300], 300), [1e-4_f32 / 448.0; 3]);
    assert_eq!((scale_of(1e-5), scale_of(896.0)), (1e-4 / 448.0, 2.0));
}
