//! Products in eight-bit floats: which matrix one belongs to, and what golden ones cost.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use ds_kernels::fp8::{ScaleRule, Scaling, product, quantise};
use ds_model::StoredParameter;
use tch::{Kind, Tensor};

/// How far sums in FP32 may be from FP64's over the same codes, relative: what `golden/fp8_blockwise` asks.
pub const SUMS: f64 = 1e-5;

/// The matrix whose numbers stand at an address, as `layer projection`; experts of a layer are one.
pub fn matrix_of(parameters: &[StoredParameter], address: usize) -> String {
    let name = parameters.iter().find_map(|p| {
        let first = p.tensor.data_ptr() as usize;
        let bytes = p.tensor.numel() * p.tensor.kind().elt_size_in_bytes();
        let row = bytes / p.logical.len();
        (first..first + bytes).contains(&address).then(|| p.logical[(address - first) / row].name.as_str())
    });
    name.map_or_else(|| "of no parameter".to_owned(), matrix)
}

/// `model.layers.3.mlp.experts.7.up_proj.weight` as `03 mlp.experts.up_proj`.
pub fn matrix(name: &str) -> String {
    let inner = name.trim_start_matches("model.layers.").trim_end_matches(".weight");
    let (layer, rest) = inner.split_once('.').unwrap_or(("", inner));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = rest.split('.').filter(|part| !is_number(part)).collect();
    format!("{layer:0>2} {}", parts.join("."))
}

/// The greatest error of a folder's products: beside FP64's of the numbers before they were quantised, and of the codes.
///
/// # Errors
/// When the folder cannot be read or has no products.
pub fn golden_errors(folder: &Path) -> Result<[f64; 2], Box<dyn Error>> {
    let tensors: BTreeMap<String, Tensor> =
        Tensor::read_safetensors(folder.join("fp8.safetensors"))?.into_iter().collect();
    let apart = |c: &Tensor, exact: &Tensor| {
        (c.to_kind(Kind::Double) - exact).norm().double_value(&[]) / exact.norm().double_value(&[])
    };
    let mut greatest = [0.0_f64; 2];
    for (name, exact) in tensors.iter().filter(|(name, _)| name.ends_with("c_unquantised_f64")) {
        let of = |what: &str| &tensors[&name.replace("c_unquantised_f64", what)];
        let a = quantise(of("a"), Scaling::Tiles, ScaleRule::Exact);
        let c = product(&a, &quantise(of("b"), Scaling::Blocks, ScaleRule::Exact));
        greatest = [greatest[0].max(apart(&c, exact)), greatest[1].max(apart(&c, of("c_exact_f64")))];
    }
    if greatest[0] > 0.0 { Ok(greatest) } else { Err("the golden folder has no products".into()) }
}
