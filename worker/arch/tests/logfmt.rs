//! LogFMT by its laws, and its error beside that of eight-bit floats.

use ds_arch::logfmt::{BadLength, Bits, Levels, Rounding, TILE, decode_row, encode_row, row_bytes};
use ds_arch::{e4m3, e5m2};

/// Numbers with about the distribution of a network's activations: a normal one whose spread differs from number to number.
fn activations(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    let mut normal = || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    (0..n).map(|_| (normal() * (0.8 * normal()).exp()) as f32).collect()
}

fn there_and_back(row: &[f32], bits: Bits) -> Vec<f32> {
    let (mut bytes, mut again) = (Vec::new(), vec![f32::INFINITY; row.len()]);
    encode_row(row, bits, &mut bytes);
    assert_eq!(bytes.len(), row_bytes(row.len(), bits));
    decode_row(&bytes, bits, &mut again).expect("its own bytes");
    again
}

/// ‖a − b‖ / ‖b‖.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x).powi(2);
    (a.iter().zip(b).map(|(a, b)| square(a - b)).sum::<f64>() / b.iter().map(|&b| square(b)).sum::<f64>()).sqrt()
}

#[test]
fn least_greatest_and_zero_have_the_codes_of_the_paper() {
    let tile = [0.0, 3.5, -0.02, 100.0, -100.0, -0.0];
    for n in 3..=16 {
        let bits = Bits::new(n).expect("a number of bits");
        let levels = Levels::of(&tile, bits);
        let (sign, top) = (1_u16 << (n - 1), (1_u16 << (n - 1)) - 1);
        let codes = tile.map(|x| levels.encode(x, Rounding::Linear));
        assert_eq!([codes[0], codes[2], codes[3], codes[4], codes[5]], [0, sign | 1, top, sign | top, sign]);
        let step = (100.0_f64 / 0.02).ln() / f64::from(top - 1);
        assert!((f64::from(levels.step) - step).abs() < 1e-6 * step, "n {n}: step {} for {step}", levels.step);
    }
    assert!(Bits::new(2).is_none() && Bits::new(17).is_none());
}

#[test]
fn no_other_code_is_nearer_whatever_the_bits() {
    for (n, seed) in [(3, 1), (5, 2), (8, 3), (10, 4), (13, 5)] {
        let bits = Bits::new(n).expect("a number of bits");
        let tile = activations(TILE, seed);
        let levels = Levels::of(&tile, bits);
        let all: Vec<f32> = (0..1_u32 << n).map(|code| levels.decode(code as u16)).collect();
        for (x, found) in tile.iter().zip(there_and_back(&tile, bits)) {
            let error = |y: f32| (f64::from(y) - f64::from(*x)).abs();
            let best = all.iter().map(|&y| error(y)).fold(f64::INFINITY, f64::min);
            assert!(error(found) <= best + 1e-6 * f64::from(x.abs()), "n {n}: {x} became {found}, off {best}");
        }
    }
}

#[test]
fn rounding_between_logarithms_makes_numbers_larger_and_between_numbers_does_not() {
    let bits = Bits::new(5).expect("a number of bits");
    let tile: Vec<f32> = (1..=100_000).map(|i| i as f32 / 100_000.0).filter(|&x| x >= 0.01).collect();
    let levels = Levels::of(&tile, bits);
    let total: f64 = tile.iter().copied().map(f64::from).sum();
    let [linear, logarithmic] = [Rounding::Linear, Rounding::Logarithmic].map(|rounding| {
        let found = tile.iter().map(|&x| f64::from(levels.decode(levels.encode(x, rounding))));
        found.sum::<f64>() / total - 1.0
    });
    // Of numbers spread evenly, as many lie above the middle of two levels as below.
    let step = f64::from(levels.step);
    assert!(linear.abs() < 0.1 * logarithmic && logarithmic > 0.01 * step, "{linear:e}, {logarithmic:e}, step {step}");
}

#[test]
fn levels_reach_down_to_a_32nd_power_of_two_and_what_is_smaller_goes_to_the_nearer_of_zero_and_the_least() {
    let least = 2.0_f32.powi(-32);
    let found = there_and_back(&[1.0, 0.6 * least, -0.4 * least, 1e-30], Bits::EIGHT);
    assert!((found[0] - 1.0).abs() < 1e-5 && (found[1] / least - 1.0).abs() < 1e-5, "{found:?}");
    assert_eq!(found[2..], [0.0, 0.0]);
}

#[test]
fn tiles_of_one_magnitude_of_zeros_and_of_the_smallest_numbers_come_back() {
    let smallest = f32::from_bits(1);
    for row in [vec![0.0; 200], vec![-2.0; 130], vec![smallest, -smallest, 0.0], vec![f32::MAX, -f32::MAX], vec![]] {
        for (x, found) in row.iter().zip(there_and_back(&row, Bits::TEN)) {
            assert!((f64::from(*x) - f64::from(found)).abs() <= 1e-5 * f64::from(x.abs()), "{x:e} became {found:e}");
        }
    }
}

#[test]
fn a_tile_with_an_infinity_or_nan_is_nan_and_its_neighbours_are_not() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut row = activations(2 * TILE, 1);
        row[5] = bad;
        let found = there_and_back(&row, Bits::EIGHT);
        assert!(found[..TILE].iter().all(|x| x.is_nan()) && found[TILE..].iter().all(|x| x.is_finite()));
    }
}

#[test]
fn rows_of_any_width_have_as_many_bytes_as_said_and_no_others_are_read() {
    for n in 3..=16 {
        let bits = Bits::new(n).expect("a number of bits");
        for width in [1, 2, 7, 127, 128, 129, 300] {
            assert!(apart(&there_and_back(&activations(width, 3), bits), &activations(width, 3)) < 0.7);
        }
    }
    assert_eq!((row_bytes(128, Bits::EIGHT), row_bytes(7168, Bits::TEN), row_bytes(129, Bits::TEN)), (136, 9408, 178));
    for found in [0, 135, 137] {
        let told = decode_row(&vec![0; found], Bits::EIGHT, &mut [0.0; 128]);
        assert_eq!(told, Err(BadLength { width: 128, bits: 8, expected: 136, found }));
    }
}

/// In tiles of 128 with a scale of greatest / largest number, as FP8 travels.
fn by_tiles(row: &[f32], largest: f32, cast: impl Fn(f32) -> f32) -> Vec<f32> {
    let tile = |tile: &[f32]| -> Vec<f32> {
        let scale = tile.iter().fold(1e-4_f32, |most, x| most.max(x.abs())) / largest;
        tile.iter().map(|x| cast(x / scale) * scale).collect()
    };
    row.chunks(TILE).flat_map(tile).collect()
}

#[test]
fn eight_bits_are_better_than_either_eight_bit_float_and_ten_come_near_to_sixteen() {
    let row = activations(128 * TILE, 7);
    let logfmt = [8, 10].map(|n| apart(&there_and_back(&row, Bits::new(n).expect("bits")), &row));
    let e4m3 = apart(&by_tiles(&row, e4m3::MAX, |x| e4m3::decode(e4m3::encode(x))), &row);
    let e5m2 = apart(&by_tiles(&row, e5m2::MAX, |x| e5m2::decode(e5m2::encode(x))), &row);
    let bf16 = row.iter().map(|x| f32::from_bits((x.to_bits() + 0x7fff + ((x.to_bits() >> 16) & 1)) & 0xffff_0000));
    let bf16 = apart(&bf16.collect::<Vec<_>>(), &row);
    assert!(logfmt[0] < 0.8 * e4m3 && e4m3 < 0.6 * e5m2, "LogFMT-8 {}, E4M3 {e4m3}, E5M2 {e5m2}", logfmt[0]);
    assert!(logfmt[1] < 0.3 * logfmt[0] && logfmt[1] < 4.0 * bf16, "LogFMT-10 {}, BF16 {bf16}", logfmt[1]);
}

#[test]
fn e5m2_is_the_upper_byte_of_half_precision() {
    let sizes: Vec<f32> = (0..0x7C_u8).map(e5m2::decode).collect();
    assert_eq!((sizes[1], sizes[4], sizes[0x3C], sizes[0x7B]), (1.0 / 65_536.0, 1.0 / 16_384.0, 1.0, e5m2::MAX));
    assert!((0..=255).all(|code| e5m2::decode(code).is_nan()
        || e5m2::encode(e5m2::decode(code)) == code
        || e5m2::decode(code).is_infinite()));
    for x in (0..0x7F80_0000_u32).step_by(40_993).map(f32::from_bits) {
        let error = |y: f32| (f64::from(y) - f64::from(x)).abs();
        let best = sizes.iter().map(|&size| error(size)).fold(f64::INFINITY, f64::min);
        assert_eq!(error(e5m2::decode(e5m2::encode(x))), best, "{x}");
        assert_eq!(e5m2::encode(-x), e5m2::encode(x) | 0x80);
    }
    // Ties go to the even code.
    for code in (0..0x7A_u8).step_by(2) {
        let between = |a: u8, b: u8| (e5m2::decode(a) + e5m2::decode(b)) / 2.0;
        assert_eq!(
            (e5m2::encode(between(code, code + 1)), e5m2::encode(between(code + 1, code + 2))),
            (code, code + 2)
        );
    }
    assert!(e5m2::decode(e5m2::encode(f32::NAN)).is_nan());
}
