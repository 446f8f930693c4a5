//! A commit takes exactly one save, whole, or leaves what was there.

mod common;

use std::fs;

use common::{Tensor, folder, names, save, save_small, state, write};
use ds_checkpoint::{Checkpoint, Draft, Dtype, Part, RecordKind, TrainState, newest_whole, prune};

fn tensor() -> Tensor {
    Tensor::new("w", RecordKind::Weight, Dtype::F32, &[4, 4])
}

#[test]
fn holes_are_refused_and_named() {
    let tensor = tensor();
    let root = folder();
    let writers = [vec![(&tensor, vec![0..2, 0..4])], vec![(&tensor, vec![2..4, 1..4])]];
    let text = save(root.path(), 1, &writers).unwrap_err().to_string();
    assert!(text.contains("weight of w: nobody wrote box [2..4, 0..1]: 14 of 16 elements"), "{text}");
    assert_eq!(names(root.path()), ["step-00000001.tmp"]);
}

#[test]
fn overlaps_are_refused_and_named() {
    let tensor = tensor();
    let root = folder();
    // As many elements as the tensor has, so that counting them would not tell.
    let writers = [vec![(&tensor, vec![0..3, 0..4])], vec![(&tensor, vec![2..3, 0..4])]];
    let text = save(root.path(), 1, &writers).unwrap_err().to_string();
    assert!(text.contains("box [0..3, 0..4] of part-00000.safetensors and box [2..3, 0..4] of part-00001"), "{text}");
    let replicas = [vec![(&tensor, tensor.whole())], vec![(&tensor, tensor.whole())]];
    assert!(save(root.path(), 1, &replicas).unwrap_err().to_string().contains("overlap"));
}

#[test]
fn writers_must_agree_on_a_tensor() {
    let (tensor, other) = (tensor(), Tensor::new("w", RecordKind::Weight, Dtype::F64, &[4, 4]));
    let root = folder();
    let writers = [vec![(&tensor, vec![0..2, 0..4])], vec![(&other, vec![2..4, 0..4])]];
    let text = save(root.path(), 1, &writers).unwrap_err().to_string();
    assert!(text.contains("part-00000.safetensors holds it as F32 [4, 4], part-00001.safetensors as F64"), "{text}");
}

#[test]
fn missing_and_foreign_parts_are_refused() {
    let tensor = tensor();
    let root = folder();
    let parts = |step| -> Vec<Part> {
        let draft = Draft::create(root.path(), step).unwrap();
        let rows = [0..1, 1..4];
        (0..).zip(rows).map(|(i, rows)| write(&draft, i, &vec![(&tensor, vec![rows, 0..4])]).unwrap()).collect()
    };
    let commit = |parts: Vec<Part>, state: &TrainState| {
        Draft::create(root.path(), 2).unwrap().commit(parts, state).unwrap_err().to_string()
    };
    let older = parts(1);
    let good = parts(2);
    let text = commit(vec![good[1].clone()], &state(2));
    assert!(text.contains("writer 0 should be next, but the next part is of writer 1"), "{text}");
    let text = commit(vec![good[0].clone(), good[0].clone()], &state(2));
    assert!(text.contains("writer 1 should be next, but the next part is of writer 0"), "{text}");
    assert!(commit(vec![good[0].clone()], &state(2)).contains("nobody wrote box [1..4, 0..4]"));
    assert!(commit(vec![good[0].clone(), older[1].clone()], &state(2)).contains("writer 1 wrote step 1, not 2"));
    assert!(commit(good.clone(), &state(3)).contains("the state is of step 3, the draft of 2"));
    fs::remove_file(root.path().join("step-00000002.tmp/part-00001.safetensors")).unwrap();
    assert!(commit(good.clone(), &state(2)).contains("part-00001.safetensors cannot be read"));
    // The order in which parts come in does not matter.
    let mut good = parts(2);
    good.reverse();
    Draft::create(root.path(), 2).unwrap().commit(good, &state(2)).unwrap();
    assert_eq!(names(root.path()), ["step-00000002"]);
}

#[test]
fn a_part_survives_the_network_and_garbage_does_not_panic() {
    let tensor = tensor();
    let root = folder();
    let draft = Draft::create(root.path(), 1).unwrap();
    let part = write(&draft, 0, &vec![(&tensor, tensor.whole())]).unwrap();
    let bytes = part.to_bytes();
    assert_eq!(Part::from_bytes(&bytes).unwrap(), part);
    let mut n_read = 0;
    assert!(Part::from_bytes(b"").unwrap_err().to_string().contains("does not read"));
    for i in 0..bytes.len() {
        assert!(Part::from_bytes(&bytes[..i]).is_err(), "cut at {i}");
        let mut bad = bytes.clone();
        bad[i] ^= 1 << (i % 7);
        // It reads or not; what it then says is refused, or is a harmless difference, at the commit.
        if let Ok(part) = Part::from_bytes(&bad) {
            n_read += 1;
            if Draft::create(root.path(), 1).unwrap().commit(vec![part], &state(1)).is_ok() {
                write(&Draft::create(root.path(), 1).unwrap(), 0, &vec![(&tensor, tensor.whole())]).unwrap();
            }
        }
    }
    assert!(n_read > 100, "some of it is texts and numbers, which read: {n_read}");
}

#[test]
fn numbers_from_the_network_cannot_make_a_commit_panic() {
    let tensor = tensor();
    let root = folder();
    let draft = Draft::create(root.path(), 1).unwrap();
    let text = String::from_utf8(write(&draft, 0, &vec![(&tensor, tensor.whole())]).unwrap().to_bytes()).unwrap();
    let max = u64::MAX.to_string();
    for (from, to) in [
        ("\"shape\":[4,4]", format!("\"shape\":[{max},{max}]")),
        ("\"shape\":[4,4]", format!("\"shape\":[{}1]", "1,".repeat(100_000))),
        ("[[0,4],[0,4]]", format!("[[0,{max}],[0,4]]")),
        ("[[0,4],[0,4]]", "[[4,0],[0,4]]".to_owned()),
        ("\"length\":64", format!("\"length\":{max}")),
        ("\"header_length\":", format!("\"header_length\":{max},\"x\":")),
        ("\"file\":\"part-00000", "\"file\":\"../part-00000".to_owned()),
        ("\"name\":\"part-00000", "\"name\":\"../part-00000".to_owned()),
        ("\"writer\":0", "\"writer\":4294967295".to_owned()),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        let Ok(part) = Part::from_bytes(text.replace(from, &to).as_bytes()) else { continue };
        let refused = Draft::create(root.path(), 1).unwrap().commit(vec![part], &state(1));
        assert!(refused.is_err(), "{to:.80}");
    }
}

#[test]
fn a_second_commit_of_a_step_replaces_the_first() {
    let root = folder();
    let first = save_small(root.path(), 5);
    let tensor = tensor();
    let second = save(root.path(), 5, &[vec![(&tensor, tensor.whole())]]).unwrap();
    assert_eq!(first, second);
    assert_eq!(names(root.path()), ["step-00000005"]);
    assert_eq!(names(&second), ["manifest.json", "part-00000.safetensors"]);
    let checkpoint = Checkpoint::open(&second).unwrap();
    checkpoint.verify().unwrap();
    assert_eq!(checkpoint.records()[0].name, "w");
}

#[test]
fn a_kill_between_the_renames_of_a_second_commit_loses_nothing() {
    let root = folder();
    let path = save_small(root.path(), 5);
    let aside = root.path().join("step-00000005.old");
    fs::rename(&path, &aside).unwrap();
    let newest = newest_whole(root.path()).unwrap();
    assert_eq!(newest.path, Some(aside.clone()));
    assert_eq!(save_small(root.path(), 5), path);
    assert_eq!(names(root.path()), ["step-00000005"]);
    // And one that died before it removed what it had replaced.
    fs::create_dir(&aside).unwrap();
    let newest = newest_whole(root.path()).unwrap();
    assert_eq!((newest.path, newest.broken.len()), (Some(path.clone()), 0));
    prune(root.path(), 3).unwrap();
    assert_eq!(names(root.path()), ["step-00000005"]);
    fs::create_dir(&aside).unwrap();
    save_small(root.path(), 5);
    assert_eq!(names(root.path()), ["step-00000005"]);
}

#[test]
fn what_an_interrupted_save_of_the_step_left_is_not_committed() {
    let root = folder();
    let left = root.path().join("step-00000005.tmp");
    fs::create_dir_all(left.join("nested")).unwrap();
    fs::write(left.join("part-00000.safetensors"), "half").unwrap();
    fs::write(left.join("part-00007.safetensors"), "of a larger job").unwrap();
    fs::write(left.join("manifest.json"), "{}").unwrap();
    let path = save_small(root.path(), 5);
    assert_eq!(names(&path), ["manifest.json", "part-00000.safetensors", "part-00001.safetensors"]);
    Checkpoint::open(&path).unwrap().verify().unwrap();
}

#[test]
fn creating_a_draft_again_takes_nothing_from_who_writes() {
    let root = folder();
    let tensor = tensor();
    let stale = Draft::create(root.path(), 4).unwrap();
    write(&stale, 0, &vec![(&tensor, tensor.whole())]).unwrap();
    let draft = Draft::create(root.path(), 5).unwrap();
    assert_eq!(names(root.path()), ["step-00000005.tmp"], "the other step's draft is gone");
    let parts: Vec<Part> = std::thread::scope(|scope| {
        let work = |i: u64| {
            let (root, tensor) = (root.path(), &tensor);
            scope.spawn(move || {
                let draft = Draft::create(root, 5).unwrap();
                write(&draft, i as u32, &vec![(tensor, vec![i..i + 1, 0..4])]).unwrap()
            })
        };
        let threads: Vec<_> = (0..4).map(work).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let path = draft.folder();
    draft.commit(parts, &state(5)).unwrap();
    Checkpoint::open(&path).unwrap().verify().unwrap();
}

#[test]
fn a_disk_that_refuses_is_named_and_older_checkpoints_stay() {
    let root = folder();
    let older = save_small(root.path(), 1);
    let tensor = tensor();
    let draft = Draft::create(root.path(), 2).unwrap();
    fs::remove_dir(root.path().join("step-00000002.tmp")).unwrap();
    let text = write(&draft, 0, &vec![(&tensor, tensor.whole())]).unwrap_err().to_string();
    let path = root.path().join("step-00000002.tmp/part-00000.safetensors");
    assert!(text.starts_with(&format!("{} cannot be written", path.display())), "{text}");
    assert_eq!(newest_whole(root.path()).unwrap().path, Some(older));
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Draft::create(&file, 1).unwrap_err().to_string().contains(&file.display().to_string()));
}
