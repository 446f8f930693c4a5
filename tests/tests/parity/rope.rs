//! Rotary positions, plain and stretched.

use std::collections::BTreeSet;

use ds_arch::{AttentionConfig, RopeConfig};
use ds_model::rope::Rope;
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::Check;
use crate::compare::Furthest;
use crate::folder::{Folder, Tensors, device, number};

pub(crate) fn checks(folder: &Folder) -> Vec<Check> {
    let about = folder.json("yarn.json");
    let cases = about.as_object().expect("an object of cases").clone();
    let (all, names) = (folder.clone(), cases.keys().cloned().collect::<BTreeSet<_>>());
    let each = cases.into_iter().map(|(case, about)| {
        let folder = folder.clone();
        Check::new(case.clone(), move || tables(&folder, &case, &about))
    });
    let complete = Check::new("cases", move || {
        let tensors = all.tensors("yarn.safetensors");
        let of: BTreeSet<String> = tensors.keys().filter_map(|key| Some(key.split_once('.')?.0.to_owned())).collect();
        assert_eq!(of, names, "cases of yarn.safetensors and of yarn.json");
        format!("all {} compared", names.len())
    });
    each.chain([complete]).collect()
}

fn config(about: &Value) -> RopeConfig {
    let rope = &about["rope_parameters"];
    let plain = RopeConfig::plain(number(rope, "rope_theta"));
    if rope["rope_type"] != "yarn" {
        return plain;
    }
    RopeConfig {
        factor: number(rope, "factor"),
        original_positions: number(rope, "original_max_position_embeddings") as u32,
        beta_fast: number(rope, "beta_fast"),
        beta_slow: number(rope, "beta_slow"),
        mscale: number(rope, "mscale"),
        mscale_all_dim: number(rope, "mscale_all_dim"),
        ..plain
    }
}

fn tables(folder: &Folder, case: &str, about: &Value) -> String {
    let tensors = folder.tensors("yarn.safetensors");
    let golden = |name: &str| tensors[&format!("{case}.{name}")].shallow_clone();
    let (rope, dim) = (config(about), number(about, "dim") as u32);
    let mut frequencies = Furthest::new(1e-6);
    frequencies.norms("frequencies", &Tensor::from_slice(&rope.frequencies(dim)), &golden("inv_freq"));
    let scale = number(about, "qk_head_dim").powf(-0.5) * rope.logit_scale();
    frequencies.see("softmax scale", (scale / number(about, "softmax_scale") - 1.0).abs());
    frequencies.see("amplitude", (rope.amplitude() / number(about, "attention_scaling_on_cos_sin") - 1.0).abs());

    let mut apart = Furthest::new(2e-6);
    let table = |positions: &Tensor| -> Rope {
        let attention = ds_arch::preset("tiny").expect("a preset").attention;
        let attention = AttentionConfig { qk_rope_dim: dim, rope, ..attention };
        Rope::new(&attention, positions.max().int64_value(&[]) + 1, Kind::Float, device())
    };
    let positions = golden("positions");
    let (cos, sin) = table(&positions).tables();
    let (half, frequency) = (i64::from(dim / 2), golden("inv_freq"));
    let all = angles(&positions, &frequency);
    for (name, found) in [("cos_hf", &cos), ("sin_hf", &sin)] {
        let golden = golden(name).narrow(1, 0, half);
        beyond_rounding(name, &found.index_select(0, &positions), &golden, &all, &mut apart);
    }
    let positions = golden("official_positions");
    let all = angles(&positions, &frequency);
    for (name, found) in [("official_cos", &cos), ("official_sin", &sin)] {
        beyond_rounding(name, &found.index_select(0, &positions), &golden(name), &all, &mut apart);
    }
    rotations(&tensors, case, &table(&golden("rot.positions")), &mut apart);
    format!("frequencies: {}; tables: {}", frequencies.report(), apart.report())
}

/// An angle is rounded to f32, and so was the frequency in it; on either side both may fall either way. `angles` has the
/// shape of the last dimensions of what is compared; a difference counts as a share of the greatest golden element.
fn beyond_rounding(name: &str, found: &Tensor, golden: &Tensor, angles: &Tensor, apart: &mut Furthest) {
    let size = golden.abs().max().double_value(&[]);
    let off = (found.to_kind(Kind::Double) - golden).abs() / size - angles * (2.0 * f64::from(f32::EPSILON));
    apart.see(name, off.clamp_min(0.0).max().double_value(&[]));
}

/// Position times frequency, `[positions, pairs]`.
fn angles(positions: &Tensor, frequency: &Tensor) -> Tensor {
    positions.to_kind(Kind::Double).unsqueeze(1) * frequency.to_kind(Kind::Double).unsqueeze(0)
}

/// Rotated queries in both layouts, keys, and their products.
fn rotations(tensors: &Tensors, case: &str, rope: &Rope, apart: &mut Furthest) {
    let golden = |name: &str| tensors[&format!("{case}.rot.{name}")].shallow_clone();
    let (positions, golden_frequency) = (golden("positions"), &tensors[&format!("{case}.inv_freq")]);
    let whole = rope.n_positions();
    // [b, heads, positions, dim] to all positions up to the last, of which those that count are kept.
    let rotate = |x: &Tensor| {
        let x = x.transpose(1, 2);
        let mut size = x.size();
        size[1] = whole;
        let spread = Tensor::zeros(&size, (x.kind(), x.device())).index_copy(1, &positions, &x);
        rope.rotate(&spread).index_select(1, &positions).transpose(1, 2)
    };
    let (q, k) = (rotate(&golden("q")), rotate(&golden("k")));
    let all = angles(&positions, golden_frequency);
    let neighbours = all.repeat_interleave_self_int(2, -1, None::<i64>);
    beyond_rounding("rotated queries", &q, &golden("q_official_layout"), &neighbours, apart);
    let apart_halves = |x: &Tensor| {
        let part = |first: i64| x.slice(-1, first, None::<i64>, 2);
        Tensor::cat(&[part(0), part(1)], -1)
    };
    let halves = Tensor::cat(&[&all, &all], -1);
    beyond_rounding("rotated queries, halves apart", &apart_halves(&q), &golden("q_hf_layout"), &halves, apart);
    beyond_rounding("rotated keys, halves apart", &apart_halves(&k), &golden("k_hf_layout"), &halves, apart);
    // The fastest pair's angles of both sides.
    let fastest = all.select(1, 0);
    let both = fastest.unsqueeze(0) + fastest.unsqueeze(1);
    beyond_rounding("products", &q.matmul(&k.transpose(-1, -2)), &golden("scores_hf"), &both, apart);
}
