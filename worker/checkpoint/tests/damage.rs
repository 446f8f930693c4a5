//! Whatever happens to the files, it is found and named, and nothing panics.

mod common;

use std::fs;
use std::path::Path;

use common::{folder, names, save_small};
use ds_checkpoint::{Checkpoint, CheckpointError, newest_whole};

fn verify(path: &Path) -> Result<(), CheckpointError> {
    Checkpoint::open(path)?.verify()
}

/// Changes a file, asks, and puts it back.
fn with(path: &Path, change: impl Fn(&mut Vec<u8>), ask: impl Fn()) {
    let good = fs::read(path).expect("the test's files");
    let mut bad = good.clone();
    change(&mut bad);
    fs::write(path, bad).expect("the test's files");
    ask();
    fs::write(path, good).expect("the test's files");
}

#[test]
fn every_flipped_byte_of_every_file_is_found() {
    let root = folder();
    let path = save_small(root.path(), 1);
    for name in names(&path) {
        let file = path.join(&name);
        for i in 0..fs::metadata(&file).unwrap().len() as usize {
            with(
                &file,
                |bytes| bytes[i] ^= 1 << (i % 8),
                || {
                    let text = verify(&path).expect_err(&format!("byte {i} of {name}")).to_string();
                    assert!(text.contains(&name), "byte {i} of {name}: {text}");
                },
            );
        }
    }
    verify(&path).unwrap();
}

#[test]
fn damage_in_a_tensor_names_it_and_is_seen_by_who_reads() {
    let root = folder();
    let path = save_small(root.path(), 1);
    let file = path.join("part-00001.safetensors");
    let last = fs::metadata(&file).unwrap().len() as usize - 1;
    with(
        &file,
        |bytes| bytes[last] ^= 1,
        || {
            let checkpoint = Checkpoint::open(&path).unwrap();
            let kind = ds_checkpoint::RecordKind::Weight;
            for text in [
                checkpoint.verify().unwrap_err().to_string(),
                checkpoint.read("embed", kind, &[0..4, 0..6]).unwrap_err().to_string(),
                checkpoint.read("embed", kind, &[2..4, 0..6]).unwrap_err().to_string(),
                checkpoint.read("embed", kind, &[2..3, 0..1]).unwrap_err().to_string(),
            ] {
                assert!(text.contains("part-00001.safetensors: weight of embed is damaged: bytes "), "{text}");
            }
            checkpoint.read("embed", kind, &[0..2, 0..6]).unwrap();
        },
    );
}

#[test]
fn files_that_are_cut_grown_or_gone_do_not_open() {
    let root = folder();
    let path = save_small(root.path(), 1);
    for name in names(&path) {
        let file = path.join(&name);
        let length = fs::metadata(&file).unwrap().len() as usize;
        for cut in [0, 1, 7, 8, length / 2, length - 1] {
            with(
                &file,
                |bytes| bytes.truncate(cut),
                || {
                    assert!(Checkpoint::open(&path).unwrap_err().to_string().contains(&name), "{name} cut at {cut}");
                },
            );
        }
        with(
            &file,
            |bytes| bytes.push(0),
            || {
                assert!(Checkpoint::open(&path).unwrap_err().to_string().contains(&name), "{name} grown");
            },
        );
        let good = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let text = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(text.contains(&name) && text.contains("cannot be read"), "{text}");
        fs::write(&file, good).unwrap();
    }
    let cut = path.join("part-00000.safetensors");
    let length = fs::metadata(&cut).unwrap().len();
    with(
        &cut,
        |bytes| bytes.truncate(9),
        || {
            let text = Checkpoint::open(&path).unwrap_err().to_string();
            assert!(text.contains(&format!("has 9 bytes instead of {length}")), "{text}");
        },
    );
}

/// Rewrites the manifest with a checksum that fits, as a bad program would.
fn forge(path: &Path, change: impl Fn(&str) -> String) {
    let manifest = path.join("manifest.json");
    let text = fs::read_to_string(&manifest).expect("the test's files");
    let open = change(text.rsplit_once(",\"checksum\":\"").expect("the test's files").0);
    let checksum = blake3::hash(open.as_bytes()).to_hex();
    fs::write(manifest, format!("{open},\"checksum\":\"{checksum}\"}}\n")).expect("the test's files");
}

#[test]
fn a_manifest_that_lies_is_refused_though_its_checksum_fits() {
    let max = u64::MAX.to_string();
    let cases: &[(&str, String, &str)] = &[
        ("\"shape\":[4,6]", "\"shape\":[5,6]".to_owned(), "nobody wrote box [4..5, 0..6]"),
        ("\"shape\":[4,6]", "\"shape\":[3,6]".to_owned(), "2..4 of dimension 0 is not within 0..3"),
        ("\"shape\":[4,6]", format!("\"shape\":[4,{max}]"), "more than"),
        ("[[2,4],[0,6]]", "[[1,3],[0,6]]".to_owned(), "overlap"),
        ("[[2,4],[0,6]]", "[[4,2],[0,6]]".to_owned(), "range 4..2"),
        ("[[2,4],[0,6]]", "[[2,4]]".to_owned(), "1 ranges for 2 dimensions"),
        ("\"dtype\":\"f32\"", "\"dtype\":\"bf16\"".to_owned(), "48 bytes for box [0..2, 0..6], which takes 24"),
        ("\"dtype\":\"f32\"", "\"dtype\":\"i4\"".to_owned(), "manifest.json is not a checkpoint's manifest"),
        ("\"offset\":", "\"offset\":1".to_owned(), "part-00000.safetensors: its tensors do not fill it"),
        ("\"header_length\":", format!("\"header_length\":{max},\"x\":"), "unknown field `x`"),
        ("\"file\":\"part-00001", "\"file\":\"/etc/passwd".to_owned(), "which the manifest does not list"),
        ("part-00001.safetensors", "../../file".to_owned(), "which is no name in its folder"),
        ("part-00001.safetensors", "..".to_owned(), "which is no name in its folder"),
        ("\"format\":\"dsctl-checkpoint\"", "\"format\":\"x\"".to_owned(), "its format is \"x\""),
        ("\"version\":1", "\"version\":2".to_owned(), "format version 2; this program reads version 1"),
    ];
    for (from, to, expected) in cases {
        let root = folder();
        let path = save_small(root.path(), 1);
        forge(&path, |text| {
            assert!(text.contains(from), "{from} in {text}");
            text.replace(from, to)
        });
        let text = verify(&path).expect_err(to).to_string();
        assert!(text.contains(expected), "{to}: {text}");
    }
}

#[test]
fn records_are_there_once_and_in_order() {
    let root = folder();
    let path = save_small(root.path(), 1);
    forge(&path, |text| {
        let (head, records) = text.split_once("\"records\":[").unwrap();
        let record = records.strip_suffix(']').unwrap();
        format!("{head}\"records\":[{record},{record}]")
    });
    let text = verify(&path).unwrap_err().to_string();
    assert!(text.contains("weight of embed: it stands behind weight of embed"), "{text}");
}

#[test]
fn a_draft_is_no_checkpoint_even_if_only_the_rename_is_missing() {
    let root = folder();
    let path = save_small(root.path(), 1);
    let draft = root.path().join("step-00000001.tmp");
    fs::rename(&path, &draft).unwrap();
    assert!(Checkpoint::open(&draft).unwrap_err().to_string().contains("never committed"));
    let newest = newest_whole(root.path()).unwrap();
    assert_eq!((newest.path, newest.broken.len()), (None, 1));
}
