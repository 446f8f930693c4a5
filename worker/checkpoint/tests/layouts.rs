//! Whoever reads need not know how those who wrote were laid out.
#![expect(clippy::single_range_in_vec_init, reason = "a box of one dimension is one range")]

mod common;

use common::{Boxes, Tensor, folder, save, state, write};
use ds_checkpoint::{Checkpoint, Draft, Dtype, RecordKind};
use std::ops::Range;

/// Every non-empty range within 0..size, and an empty one.
fn ranges(size: u64) -> Vec<Range<u64>> {
    let mut all: Vec<Range<u64>> = (0..size).flat_map(|a| (a + 1..=size).map(move |b| a..b)).collect();
    all.push(size / 2..size / 2);
    all
}

#[test]
fn boxes_of_a_two_by_two_grid_read_as_any_box() {
    for dtype in [Dtype::F32, Dtype::F64, Dtype::BF16, Dtype::F16] {
        let tensor = Tensor::new("experts.3.up", RecordKind::Moment2, dtype, &[5, 7]);
        let writers: Vec<Boxes<'_>> = [(0..2, 0..4), (0..2, 4..7), (2..5, 0..4), (2..5, 4..7)]
            .into_iter()
            .map(|(rows, columns)| vec![(&tensor, vec![rows, columns])])
            .collect();
        let root = folder();
        let checkpoint = Checkpoint::open(&save(root.path(), 3, &writers).unwrap()).unwrap();
        checkpoint.verify().unwrap();
        for rows in ranges(5) {
            for columns in ranges(7) {
                let wanted = [rows.clone(), columns.clone()];
                let got = checkpoint.read("experts.3.up", RecordKind::Moment2, &wanted).unwrap();
                assert_eq!(got, (dtype, tensor.bytes(&wanted)), "{dtype:?} {wanted:?}");
            }
        }
    }
}

#[test]
fn a_ragged_tiling_of_three_dimensions_reads_whole() {
    let tensor = Tensor::new("w", RecordKind::Weight, Dtype::F32, &[4, 3, 5]);
    let first = vec![(&tensor, vec![0..1, 0..3, 0..5]), (&tensor, vec![1..4, 0..3, 3..5])];
    let second = vec![(&tensor, vec![1..4, 0..1, 0..3]), (&tensor, vec![1..4, 1..3, 0..3])];
    let root = folder();
    let checkpoint = Checkpoint::open(&save(root.path(), 1, &[first, second]).unwrap()).unwrap();
    let (_, got) = checkpoint.read("w", RecordKind::Weight, &tensor.whole()).unwrap();
    assert_eq!(got, tensor.bytes(&tensor.whole()));
    assert_eq!(checkpoint.records().len(), 1);
    assert_eq!(checkpoint.records()[0].pieces.len(), 4);
}

#[test]
fn scalars_empty_tensors_and_idle_writers_are_fine() {
    let scalar = Tensor::new("scale", RecordKind::Weight, Dtype::F64, &[]);
    let empty = Tensor::new("none", RecordKind::Weight, Dtype::F32, &[0, 4]);
    let bias = Tensor::new("gate", RecordKind::Bias, Dtype::BF16, &[3]);
    let root = folder();
    let writers = [vec![], vec![(&scalar, vec![]), (&bias, bias.whole()), (&empty, empty.whole())], vec![]];
    let path = save(root.path(), 1, &writers).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    checkpoint.verify().unwrap();
    for tensor in [&scalar, &empty, &bias] {
        let (dtype, bytes) = checkpoint.read(tensor.name, tensor.kind, &tensor.whole()).unwrap();
        assert_eq!((dtype, bytes), (tensor.dtype, tensor.bytes(&tensor.whole())), "{}", tensor.name);
    }
    let order: Vec<&str> = checkpoint.records().iter().map(|record| record.name.as_str()).collect();
    assert_eq!(order, ["gate", "none", "scale"]);
}

#[test]
fn a_checkpoint_without_tensors_keeps_its_state() {
    for writers in [vec![], vec![vec![]]] {
        let root = folder();
        let checkpoint = Checkpoint::open(&save(root.path(), 9, &writers).unwrap()).unwrap();
        checkpoint.verify().unwrap();
        assert!(checkpoint.records().is_empty());
        let got = checkpoint.state();
        let hash = blake3::hash(state(9).spec_yaml.as_bytes()).to_hex().to_string();
        assert_eq!(*got, ds_checkpoint::TrainState { spec_hash: hash, ..state(9) });
    }
}

#[test]
fn kinds_of_one_name_are_apart_and_what_is_missing_is_named() {
    let weight = Tensor::new("w", RecordKind::Weight, Dtype::F32, &[2]);
    let moment = Tensor::new("w", RecordKind::Moment1, Dtype::F64, &[2]);
    let root = folder();
    let path = save(root.path(), 1, &[vec![(&moment, moment.whole()), (&weight, weight.whole())]]).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.read("w", RecordKind::Weight, &[0..2]).unwrap().0, Dtype::F32);
    assert_eq!(checkpoint.read("w", RecordKind::Moment1, &[0..2]).unwrap().0, Dtype::F64);
    let text = checkpoint.read("w", RecordKind::Bias, &[0..2]).unwrap_err().to_string();
    assert!(text.contains("no bias of w; of that name it has weight, moment1"), "{text}");
    let text = checkpoint.read("w", RecordKind::Weight, &[0..3]).unwrap_err().to_string();
    assert!(text.contains("weight of w: range 0..3 of dimension 0 is not within 0..2"), "{text}");
    let text = checkpoint.read("w", RecordKind::Weight, &[]).unwrap_err().to_string();
    assert!(text.contains("0 ranges for 1 dimensions"), "{text}");
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    let backwards = checkpoint.read("w", RecordKind::Weight, &[2..1]);
    assert!(backwards.unwrap_err().to_string().contains("range 2..1"));
}

#[test]
fn a_shard_must_have_the_bytes_of_its_box() {
    let root = folder();
    let draft = Draft::create(root.path(), 1).unwrap();
    let range = vec![0..2, 1..3];
    let mut shard = ds_checkpoint::Shard {
        name: "w",
        kind: RecordKind::Weight,
        dtype: Dtype::F32,
        shape: &[2, 3],
        range: &range,
        bytes: &[0; 15],
    };
    let text = draft.write(0, &[shard]).unwrap_err().to_string();
    assert!(text.contains("weight of w: 15 bytes for box [0..2, 1..3], which takes 16"), "{text}");
    shard.shape = &[2, 2];
    assert!(draft.write(0, &[shard]).unwrap_err().to_string().contains("1..3 of dimension 1 is not within 0..2"));
    let huge = [u64::MAX, u64::MAX, 1];
    let none = [0..0, 0..1, 0..1];
    let shard = ds_checkpoint::Shard { shape: &huge, range: &none, bytes: &[], ..shard };
    assert!(draft.write(0, &[shard]).unwrap_err().to_string().contains("has more than"));
    let tensor = Tensor::new("w", RecordKind::Weight, Dtype::F32, &[2]);
    let twice = write(&draft, 0, &vec![(&tensor, tensor.whole()), (&tensor, tensor.whole())]);
    assert!(twice.unwrap_err().to_string().contains("overlap"));
}
