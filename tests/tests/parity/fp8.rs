//! E4M3: codes and scales bit for bit, and products of them.

use std::collections::BTreeSet;

use ds_arch::e4m3;
use ds_kernels::fp8::{Quantised, ScaleRule, Scaling, product, product_by_blocks, quantise};
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::Check;
use crate::compare::Furthest;
use crate::folder::{Folder, Tensors};

/// Tensors that other implementations are known to differ in.
const OTHERS: &str = "_deepgemm_mul_reciprocal";

pub(crate) fn checks(folder: &Folder) -> Vec<Check> {
    let about = folder.json("fp8.json");
    let cases = about.as_object().expect("an object of cases").clone();
    let (all, names) = (folder.clone(), cases.keys().cloned().collect::<BTreeSet<_>>());
    let each = cases.into_iter().map(|(case, about)| {
        let folder = folder.clone();
        Check::new(case.clone(), move || of_case(&folder, &case, &about))
    });
    let complete = Check::new("cases and codes", move || {
        let tensors = all.tensors("fp8.safetensors");
        let case = |key: &String| key.rsplit_once('.').expect("a case and its tensor").0.to_owned();
        let mut of: BTreeSet<String> = tensors.keys().map(case).collect();
        assert!(of.remove("e4m3fn"), "the codes themselves");
        assert_eq!(of, names, "cases of fp8.safetensors and of fp8.json");
        format!("all {} compared; {}", names.len(), codes(&tensors))
    });
    each.chain([complete]).collect()
}

fn of_case(folder: &Folder, case: &str, about: &Value) -> String {
    let prefix = format!("{case}.");
    let tensors: Tensors = folder
        .tensors("fp8.safetensors")
        .into_iter()
        .filter_map(|(key, t)| Some((key.strip_prefix(&prefix)?.to_owned(), t)))
        .filter(|(key, _)| !key.ends_with(OTHERS))
        .collect();
    match case.split_once('.').map(|(kind, _)| kind) {
        Some("act") => {
            let is_power = about["ue8m0"].as_bool().expect("ue8m0");
            let rule = if is_power { ScaleRule::PowerOfTwo } else { ScaleRule::Exact };
            codes_and_scales(&tensors, "x", "scale", Scaling::Tiles, rule)
        }
        Some("weight") => codes_and_scales(&tensors, "w", "scale_inv", Scaling::Blocks, ScaleRule::Exact),
        Some("gemm") => products(&tensors),
        _ => panic!("a case of unknown kind"),
    }
}

fn bytes(q: &Quantised) -> Tensor {
    q.codes.view_dtype(Kind::Uint8)
}

fn codes_and_scales(tensors: &Tensors, of: &str, scale: &str, scaling: Scaling, rule: ScaleRule) -> String {
    let q = quantise(&tensors[of], scaling, rule);
    assert_eq!(q.scales, tensors[scale], "scales");
    assert_eq!(bytes(&q), tensors["q_bytes"], "codes");
    assert_eq!(q.dequantise(), tensors["dequant"], "numbers of the codes");
    assert_eq!(tensors.len(), 4, "tensors of the case: {:?}", tensors.keys());
    format!("{} codes and {} scales alike", q.codes.numel(), q.scales.numel())
}

fn products(tensors: &Tensors) -> String {
    let a = quantise(&tensors["a"], Scaling::Tiles, ScaleRule::Exact);
    let b = quantise(&tensors["b"], Scaling::Blocks, ScaleRule::Exact);
    for (q, bytes_name, scales) in [(&a, "a_bytes", "a_scale"), (&b, "b_bytes", "b_scale_inv")] {
        assert_eq!(bytes(q), tensors[bytes_name], "{bytes_name}");
        assert_eq!(q.scales, tensors[scales], "{scales}");
    }
    let mut apart = Furthest::new(1e-5);
    for (name, found) in [("one product", product(&a, &b)), ("block by block", product_by_blocks(&a, &b))] {
        apart.norms(name, &found, &tensors["c_exact_f64"]);
        apart.norms(name, &found, &tensors["c_f32"]);
    }
    // What quantisation itself costs is the golden cost.
    let cost = |c: &Tensor| {
        let exact = &tensors["c_unquantised_f64"];
        (c.to_kind(Kind::Double) - exact).norm().double_value(&[]) / exact.norm().double_value(&[])
    };
    apart.see("cost of quantisation", (cost(&product(&a, &b)) - cost(&tensors["c_exact_f64"])).abs());
    assert_eq!(tensors.len(), 9, "tensors of the case: {:?}", tensors.keys());
    apart.report()
}

/// All 256 codes, and numbers at and beside every midpoint.
fn codes(tensors: &Tensors) -> String {
    let golden = |name: &str| tensors[&format!("e4m3fn.{name}")].shallow_clone();
    let (codes, values) = (golden("codes"), Vec::<f32>::try_from(golden("values")).expect("values"));
    for (code, value) in Vec::<u8>::try_from(codes).expect("codes").into_iter().zip(values) {
        let found = e4m3::decode(code);
        assert!(found.to_bits() == value.to_bits() || (found.is_nan() && value.is_nan()), "code {code:#04x}");
    }
    let probes = Vec::<f32>::try_from(golden("probe_x")).expect("probes");
    let expected = Vec::<u8>::try_from(golden("probe_bytes")).expect("codes");
    let torch = golden("probe_x").to_kind(Kind::Float8e4m3fn).view_dtype(Kind::Uint8);
    let torch = Vec::<u8>::try_from(torch).expect("codes");
    for ((x, code), torch) in probes.iter().zip(expected).zip(torch) {
        assert_eq!(e4m3::encode(*x), code, "code of {x}");
        assert_eq!(torch, code, "LibTorch's code of {x}");
    }
    format!("256 codes and {} probes alike", probes.len())
}
