//! What lies on disk, read by hand as other programs would.

mod common;

use std::fs;

use common::{Tensor, folder, save};
use ds_checkpoint::{Dtype, RecordKind};
use serde_json::{Value, json};

#[test]
fn a_part_is_a_safetensors_file() {
    let embed = Tensor::new("embed", RecordKind::Weight, Dtype::F32, &[4, 6]);
    let norm = Tensor::new("norm", RecordKind::Moment1, Dtype::F64, &[3]);
    let bias = Tensor::new("gate \"0\"", RecordKind::Bias, Dtype::BF16, &[5]);
    let root = folder();
    let boxes = vec![(&bias, bias.whole()), (&embed, vec![0..2, 1..6]), (&norm, norm.whole())];
    let rest = vec![(&embed, vec![0..2, 0..1]), (&embed, vec![2..4, 0..6])];
    let path = save(root.path(), 100, &[boxes, rest]).unwrap();
    assert_eq!(path, root.path().join("step-00000100"));

    // 8 bytes of length, a JSON text padded with spaces to 8, then the tensors without gaps.
    let bytes = fs::read(path.join("part-00000.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    assert_eq!(length % 8, 0);
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    // Large elements first, so that every tensor lies aligned.
    let expected = json!({
        "moment1:norm": { "dtype": "F64", "shape": [3], "data_offsets": [0, 24] },
        "weight:embed[0:2,1:6]": { "dtype": "F32", "shape": [2, 5], "data_offsets": [24, 64] },
        "bias:gate \"0\"": { "dtype": "BF16", "shape": [5], "data_offsets": [64, 74] },
    });
    assert_eq!(header, expected);
    let data = &bytes[8 + length..];
    assert_eq!(data, [norm.bytes(&norm.whole()), embed.bytes(&[0..2, 1..6]), bias.bytes(&bias.whole())].concat());
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.tensor("bias:gate \"0\"").unwrap().data(), bias.bytes(&bias.whole()));
}

#[test]
fn the_manifest_says_where_everything_lies() {
    let embed = Tensor::new("embed", RecordKind::Weight, Dtype::F32, &[2, 3]);
    let root = folder();
    let path = save(root.path(), 7, &[vec![(&embed, vec![0..2, 0..1])], vec![(&embed, vec![0..2, 1..3])]]).unwrap();
    let text = fs::read_to_string(path.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&manifest["format"], &manifest["version"]), (&json!("dsctl-checkpoint"), &json!(1)));
    let spec_hash = blake3::hash(b"version: 1\nkind: train\n").to_hex().to_string();
    let state = json!({
        "step": 7, "next_sample": 224, "seed": u64::MAX,
        "spec_yaml": "version: 1\nkind: train\n", "spec_hash": spec_hash,
    });
    assert_eq!(manifest["state"], state);

    let record = &manifest["records"][0];
    assert_eq!(record["name"], "embed");
    assert_eq!(
        (&record["kind"], &record["dtype"], &record["shape"]),
        (&json!("weight"), &json!("f32"), &json!([2, 3]))
    );
    for (i, range) in [(0, vec![0..2, 0..1]), (1, vec![0..2, 1..3])] {
        let (piece, file) = (&record["pieces"][i], &manifest["files"][i]);
        assert_eq!(piece["range"], json!([[range[0].start, range[0].end], [range[1].start, range[1].end]]));
        assert_eq!(piece["file"], format!("part-0000{i}.safetensors"));
        let bytes = fs::read(path.join(piece["file"].as_str().unwrap())).unwrap();
        let (offset, length) = (piece["offset"].as_u64().unwrap() as usize, piece["length"].as_u64().unwrap() as usize);
        let held = &bytes[offset..offset + length];
        assert_eq!(held, embed.bytes(&range));
        assert_eq!(piece["checksum"], blake3::hash(held).to_hex().to_string());
        assert_eq!(file["length"], bytes.len());
        assert_eq!(file["header_length"], offset);
        assert_eq!(file["header_checksum"], blake3::hash(&bytes[..offset]).to_hex().to_string());
    }

    // The checksum is the last entry and covers the text before it.
    let (open, end) = text.rsplit_once(",\"checksum\":").unwrap();
    assert_eq!(end, format!("\"{}\"}}\n", blake3::hash(open.as_bytes()).to_hex()));
}
