//! A model writes as its full forward pass says, however it is asked.
#![cfg(feature = "train")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use ds_checkpoint::{Checkpoint, newest_whole};
use ds_model::{IGNORED, LossWeights, Microbatch, OneRank, Seen, StageInput, StageModel, StagePart};
use ds_plan::generation::{GenerationPlan, Given, Sampling, job_of};
use ds_tests::job::Job;
use ds_tests::launch::summary;
use ds_tests::programs::{dsctl, program, run};
use ds_tests::ranks::{Backend, train};
use ds_worker::generate::{Ended, Law, Request, Summary, Written, generate, load_weights};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// Tokens that can come: bytes, and the end of a document.
const N_IDS: u32 = 257;
const END: u32 = 256;

/// A model that has learnt a little, in f64, where no rounding turns the greatest logit into another.
struct Trained {
    _folder: tempfile::TempDir,
    checkpoint: Checkpoint,
}

fn trained(mtp_depth: u32) -> Trained {
    let folder = tempfile::tempdir().expect("a folder");
    let job = Job::tiny(folder.path()).with("precision.compute", "f64").with("model.mtp.depth", mtp_depth);
    // Fast, so that logits differ.
    let job = job.with("train[0].learning_rate.peak", "2.0e-2").with("train[0].steps", 60);
    train(&job, folder.path(), Backend::Threads, 60, true);
    let checkpoint = open(&folder.path().join("checkpoints"));
    Trained { _folder: folder, checkpoint }
}

fn open(folder: &Path) -> Checkpoint {
    let newest = newest_whole(folder).expect("the folder reads").path.expect("a whole checkpoint");
    Checkpoint::open(&newest).expect("it opens")
}

static ONE_MODULE: LazyLock<Trained> = LazyLock::new(|| trained(1));
static TWO_MODULES: LazyLock<Trained> = LazyLock::new(|| trained(2));

/// A request on a command line.
fn write(trained: &Trained, flags: &[(&str, &str)], prompts: &[&str]) -> (Vec<Written>, Summary) {
    let given = given(flags, prompts.len());
    let job = job_of(&trained.checkpoint.state().spec_yaml, None).expect("it was trained");
    let plan = GenerationPlan::new(&given, job).unwrap_or_else(|problems| panic!("{problems}"));
    let prompts: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.bytes().map(u32::from).collect()).collect();
    let max_tokens = plan.max_tokens(&prompts.iter().map(Vec::len).collect::<Vec<_>>()).expect("it fits");
    let request = Request {
        checkpoint: &trained.checkpoint,
        ema: false,
        plan: &plan,
        prompts: &prompts,
        max_tokens,
        n_ids: N_IDS,
        end: END,
    };
    let mut told = vec![Vec::new(); prompts.len()];
    let mut tell = |row: u64, tokens: &[u32], _: Option<Ended>| {
        told[row as usize].extend_from_slice(tokens);
        Ok(())
    };
    let (written, summary) = generate(&request, &mut tell).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(told, written.iter().map(|written| written.tokens.clone()).collect::<Vec<_>>(), "all was told");
    (written, summary)
}

fn given(flags: &[(&str, &str)], n_prompts: usize) -> Given {
    let mut given = Given { n_prompts, ..Given::default() };
    for &(flag, value) in flags {
        let value = Some(value.to_owned());
        match flag {
            "max-tokens" => given.max_tokens = value,
            "temperature" => given.temperature = value,
            "top-p" => given.top_p = value,
            "seed" => given.seed = value,
            "batch" => given.batch = value,
            "ranks" => given.ranks = value,
            "pipeline" => given.pipeline = value,
            "speculate" => given.speculate = true,
            other => panic!("{other} is no flag"),
        }
    }
    given
}

/// What was written, without why it ended.
fn tokens(written: &[Written]) -> Vec<Vec<u32>> {
    written.iter().map(|written| written.tokens.clone()).collect()
}

/// The whole model on one rank.
fn model(trained: &Trained) -> StageModel {
    let config = job_of(&trained.checkpoint.state().spec_yaml, None).expect("it was trained").model;
    let model = StageModel::new(&config, StagePart::whole(&config), Device::Cpu, Kind::Double, 0).expect("a model");
    load_weights(&trained.checkpoint, &model, false).expect("weights");
    model
}

/// Logits behind the last token, of tokens that can come, by the full forward pass.
fn logits(model: &StageModel, ids: &[u32], mtp_depth: u32) -> Vec<f64> {
    let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    let ids_bt = Tensor::from_slice(&ids).view([1, ids.len() as i64]);
    let targets_bt = ids_bt.full_like(IGNORED);
    let mtp = (0..mtp_depth).map(|_| (ids_bt.shallow_clone(), targets_bt.shallow_clone())).collect();
    let microbatch = Microbatch { ids_bt, targets_bt, mtp };
    let mut found = None;
    let mut watch = |seen: Seen<'_>| {
        if let Seen::Logits { logits, .. } = seen {
            found.get_or_insert_with(|| logits.get(0).get(ids.len() as i64 - 1).narrow(0, 0, N_IDS.into()));
        }
    };
    let input = StageInput { microbatch: &microbatch, hidden: None };
    model.forward_watched(input, &LossWeights::default(), &OneRank, &mut watch).expect("it runs");
    Vec::<f64>::try_from(found.expect("logits")).expect("numbers")
}

/// The greatest logit of the full pass over all that stands there, token by token.
fn by_the_full_pass(trained: &Trained, mtp_depth: u32, prompt: &str, n: usize) -> Vec<u32> {
    let model = model(trained);
    let mut ids: Vec<u32> = prompt.bytes().map(u32::from).collect();
    let greedy = Sampling { temperature: 0.0, top_p: 1.0, seed: 0 };
    for _ in 0..n {
        let law = Law::new(&logits(&model, &ids, mtp_depth), greedy).expect("numbers");
        ids.push(law.draw(0.0));
    }
    ids.split_off(prompt.len())
}

const PROMPTS: [&str; 5] = ["the king loves", "a", "my lord sees the queen, 1", "q", "xyz a fool fears"];

#[test]
fn greedy_decoding_is_the_full_pass_token_by_token_on_every_grid_with_and_without_drafts() {
    for (trained, depth) in [(&*ONE_MODULE, 1), (&*TWO_MODULES, 2)] {
        let expected: Vec<Vec<u32>> =
            PROMPTS.iter().map(|prompt| by_the_full_pass(trained, depth, prompt, 16)).collect();
        assert!(expected.iter().flatten().collect::<std::collections::BTreeSet<_>>().len() > 4, "{expected:?}");
        let greedy = [("max-tokens", "16"), ("temperature", "0")];
        for (ranks, pipeline) in [("1", "1"), ("2", "1"), ("2", "2"), ("4", "2")] {
            for batch in ["16", "2"] {
                let layout = [("ranks", ranks), ("pipeline", pipeline), ("batch", batch)];
                let plain = [&greedy[..], &layout].concat();
                let (written, without) = write(trained, &plain, &PROMPTS);
                assert_eq!(tokens(&written), expected, "{layout:?}");
                let (written, with) = write(trained, &[&plain[..], &[("speculate", "")]].concat(), &PROMPTS);
                assert_eq!(tokens(&written), expected, "{layout:?}, drafts");
                assert!(with.drafts_accepted > 0 && with.drafts_accepted < with.drafts_judged, "{with:?}");
                assert!(with.rounds < without.rounds, "{with:?} {without:?}");
            }
        }
    }
}

#[test]
fn what_is_drawn_depends_on_seed_sequence_and_position_alone() {
    let flags = |more: &[(&'static str, &'static str)]| [&[("max-tokens", "20"), ("seed", "5")], more].concat();
    let (once, _) = write(&ONE_MODULE, &flags(&[]), &PROMPTS);
    for more in [&[][..], &[("batch", "2")], &[("ranks", "4"), ("pipeline", "2")], &[("ranks", "2"), ("batch", "3")]] {
        assert_eq!(write(&ONE_MODULE, &flags(more), &PROMPTS).0, once, "{more:?}");
    }
    let drafted = |more: &[(&'static str, &'static str)]| {
        write(&ONE_MODULE, &flags(&[&[("speculate", "")], more].concat()), &PROMPTS).0
    };
    assert_eq!(drafted(&[]), drafted(&[("ranks", "4"), ("pipeline", "2"), ("batch", "2")]));
    let (other, _) = write(&ONE_MODULE, &[("max-tokens", "20"), ("seed", "6")], &PROMPTS);
    assert_ne!(other, once);
    // The same prompt in two places is continued in two ways.
    let (twins, _) = write(&ONE_MODULE, &flags(&[]), &["the king", "the king"]);
    assert_ne!(twins[0], twins[1]);
}

/// The law of the next three tokens behind a prompt, where only few can come, exactly: products of the model's laws.
fn exact(trained: &Trained, mtp_depth: u32, prompt: &str, sampling: Sampling) -> BTreeMap<Vec<u32>, f64> {
    let model = model(trained);
    let mut all = BTreeMap::from([(prompt.bytes().map(u32::from).collect::<Vec<u32>>(), 1.0)]);
    for _ in 0..3 {
        let mut longer = BTreeMap::new();
        for (ids, p) in all {
            for &(token, q) in Law::new(&logits(&model, &ids, mtp_depth), sampling).expect("numbers").tokens() {
                longer.insert([&ids[..], &[token]].concat(), p * q);
            }
        }
        all = longer;
    }
    all.into_iter().map(|(ids, p)| (ids[prompt.len()..].to_vec(), p)).collect()
}

/// Lines end with their numbers, of which a model can only guess.
const DIGITS: &str = "king, 1";

#[test]
fn what_is_written_has_the_models_distribution_with_and_without_drafts() {
    const N: usize = 2000;
    let sampling = Sampling { temperature: 1.0, top_p: 0.8, seed: 11 };
    let flags = [("max-tokens", "3"), ("temperature", "1"), ("top-p", "0.8"), ("seed", "11"), ("batch", "2000")];
    let prompts = vec![DIGITS; N];
    for (trained, depth) in [(&*ONE_MODULE, 1), (&*TWO_MODULES, 2)] {
        let exact = exact(trained, depth, DIGITS, sampling);
        for speculate in [&[][..], &[("speculate", "")]] {
            let (written, summary) = write(trained, &[&flags[..], speculate].concat(), &prompts);
            let mut counts: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
            for written in &written {
                *counts.entry(written.tokens.clone()).or_default() += 1;
            }
            assert!(counts.keys().all(|tokens| exact.contains_key(tokens)), "only what the law allows");
            // Pearson's statistic over the texts that are expected five times, and one bin for the others. It has mean
            // n and variance 2 n.
            let (likely, rare): (Vec<_>, Vec<_>) = exact.iter().partition(|(_, p)| *p * N as f64 >= 5.0);
            let seen = |tokens: &Vec<u32>| counts.get(tokens).copied().unwrap_or(0) as f64;
            let mut bins: Vec<(f64, f64)> = likely.iter().map(|(tokens, p)| (seen(tokens), **p * N as f64)).collect();
            bins.push((
                rare.iter().map(|(tokens, _)| seen(tokens)).sum(),
                rare.iter().map(|(_, p)| **p * N as f64).sum(),
            ));
            let bins: Vec<(f64, f64)> = bins.into_iter().filter(|(_, expected)| *expected >= 5.0).collect();
            let statistic: f64 = bins.iter().map(|(seen, expected)| (seen - expected).powi(2) / expected).sum();
            let n = bins.len() as f64 - 1.0;
            assert!(n > 8.0, "{} texts", bins.len());
            assert!(statistic < n + 5.0 * (2.0 * n).sqrt(), "{statistic} over {n} bins; {summary:?}");
            if !speculate.is_empty() {
                let share = summary.drafts_accepted as f64 / summary.drafts_judged as f64;
                assert!(share > 0.05 && share < 0.95, "both answers to drafts occur: {summary:?}");
            }
        }
    }
}

#[test]
fn a_token_costs_as_many_values_as_the_latent_has_in_every_layer() {
    let (_, summary) = write(&ONE_MODULE, &[("max-tokens", "2"), ("ranks", "4"), ("pipeline", "2")], &["ab"]);
    // 16 compressed and 8 rotated values, 4 layers and one module, 8 bytes each.
    assert_eq!(summary.cache_bytes_per_token, (16 + 8) * (4 + 1) * 8);
}

#[test]
fn a_document_may_begin_with_nothing_and_end() {
    let (written, _) = write(&ONE_MODULE, &[("max-tokens", "5")], &["", "the king"]);
    assert_eq!(written.iter().map(|written| written.tokens.len()).collect::<Vec<_>>(), [5, 5]);
    assert!(written.iter().all(|written| written.ended == Ended::Limit), "{written:?}");
}

/// The text of one prompt, and all that is said about it.
fn json(home: &Path, flags: &[&str]) -> (String, Value) {
    let (code, stdout, stderr) = run(dsctl(home).args(["generate", "last", "--format", "json"]).args(flags));
    assert_eq!(code, Some(0), "{stderr}");
    let written: Value = serde_json::from_str(&stdout).expect("JSON");
    (written["sequences"][0]["text"].as_str().expect("text").to_owned(), written)
}

#[test]
fn a_launch_ends_with_what_its_model_writes_and_so_it_does_again_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let (job, sets) = Job::tiny(folder.path()).grid(2, 2, 2).with("train[0].sequence", 64).write();
    let launch = |sample: &str| {
        let mut command = dsctl(&home);
        command.args(["launch", "--sample", sample]).arg(&job).args(&sets);
        command
    };
    let (code, stdout, stderr) = run(&mut launch("the king"));
    assert_eq!(code, Some(0), "{stderr}");
    let sample = summary(&home)["sample"].clone();
    let text = sample["text"].as_str().expect("text");
    assert_eq!((&sample["prompt"], text.is_empty()), (&"the king".into(), false));
    let shown = stdout.split("what its model writes after \"the king\":\n").nth(1).expect("the sample is shown");
    assert!(shown.starts_with("  the king"), "{shown}");

    let like_a_sample = ["--prompt", "the king", "--temperature", "0.8", "--top-p", "0.95", "--seed", "1"];
    assert_eq!(json(&home, &like_a_sample).0, text);
    let greedy = ["--prompt", "the king", "--temperature", "0", "--max-tokens", "30"];
    let (alone, _) = json(&home, &greedy);
    let (drafted, said) = json(&home, &[&greedy[..], &["--speculate", "--ranks", "4", "--pipeline", "2"]].concat());
    assert_eq!(drafted, alone);
    assert!(said["drafts"]["judged"].as_u64() > Some(0) && said["tokens"] == 30, "{said}");

    let (_, stdout, stderr) = run(dsctl(&home).args(["generate", "last"]).args(greedy));
    assert_eq!(stdout, format!("the king{alone}\n"));
    assert!(stderr.contains("30 tokens in ") && stderr.contains("480 bytes of cache a token"), "{stderr}");
    let several = ["--prompt", "x", "--prompt", "the king", "--temperature", "0", "--max-tokens", "30"];
    let (_, stdout, _) = run(dsctl(&home).args(["generate", "last"]).args(several));
    let parts: Vec<&str> = stdout.split("\n\n==> prompt 2 <==\n").collect();
    assert!(parts[0].starts_with("==> prompt 1 <==\nx") && parts[1] == format!("the king{alone}\n"), "{stdout}");

    let (code, _, stderr) = run(dsctl(&home).args(["generate", "last", "--prompt", "x", "--max-tokens", "1024"]));
    assert_eq!(code, Some(64), "{stderr}");
    assert!(stderr.contains("prompt 1 has 1 tokens, which makes 1025; the model has 1024 positions"), "{stderr}");
    let (_, _, stderr) = run(dsctl(&home).args(["generate", "last", "--prompt", "x", "--max-tokens", "70"]));
    assert!(stderr.contains("trained on 64 tokens"), "{stderr}");

    // A worker that trains and cannot write.
    let worker = folder.path().join("ds-worker.sh");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = generate ] && {{ echo error: no ink >&2; exit 7; }}\nexec {} \"$@\"\n",
        program("ds-worker").display()
    );
    std::fs::write(folder.path().join("script"), script).expect("the test's folder can be written");
    let (code, ..) =
        run(std::process::Command::new("install").args(["-m", "755"]).arg(folder.path().join("script")).arg(&worker));
    assert_eq!(code, Some(0));
    let (code, _, stderr) = run(launch("the king").env("DSCTL_WORKER", &worker));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("no sample: exit status: 7: error: no ink"), "{stderr}");
    assert!(summary(&home)["sample"].is_null());
}
