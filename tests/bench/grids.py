#!/usr/bin/env python3
"""One rank with two threads beside two ranks with one thread each: the same model, the same global batch, in turns.

    tests/bench/grids.py --config CONFIG.json [--dtype f32] [--balance forced] [--rounds 3] [--steps 8]

The config is a `config.json` of DeepSeek-V3's form. Every layout is a job of its own, as a user launches it, on the corpus
of the quickstart; what is printed is the median over rounds of a run's median step, without its first two, and the median
over rounds of its tokens/s divided by those of the one rank. Nothing else should run meanwhile.
`--balance forced` gives every expert as many tokens, as a trained router nearly does; under `loss_free` the few steps are
those of a router that has just begun, which sends most tokens to few experts, so ranks that share experts wait for each other.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH, SEQUENCE, WARMUP = 32, 256, 2
# Name, microbatch, pipeline, expert, schedule, threads of a rank.
LAYOUTS = [
    ("1 rank x 2 threads", 8, 1, 1, "1f1b", 2),
    ("expert 2, 1 thread each", 8, 1, 2, "1f1b", 1),
    ("pipeline 2, 1F1B, 16 microbatches", 2, 2, 1, "1f1b", 1),
    ("pipeline 2, ZB-H1, 16 microbatches", 2, 2, 1, "zb_h1", 1),
    ("pipeline 2, ZB-H1, 8 microbatches", 4, 2, 1, "zb_h1", 1),
    ("pipeline 2, DualPipeV, 8 microbatches", 4, 2, 1, "dualpipe_v", 1),
]


def job(config, options, layout):
    _, microbatch, pipeline, expert, schedule, threads = layout
    corpus = ROOT / "data/shakespeare"
    return {
        "version": 1, "kind": "train", "name": "grids", "seed": 1,
        "model": {
            "preset": "deepseek-v3", "vocab_size": config["vocab_size"], "hidden_size": config["hidden_size"],
            "n_layers": config["num_hidden_layers"], "n_dense_layers": config["first_k_dense_replace"],
            "dense_hidden": config["intermediate_size"],
            "attention": {
                "n_heads": config["num_attention_heads"], "q_lora_rank": config["q_lora_rank"],
                "kv_lora_rank": config["kv_lora_rank"], "qk_nope_dim": config["qk_nope_head_dim"],
                "qk_rope_dim": config["qk_rope_head_dim"], "v_head_dim": config["v_head_dim"],
                "max_positions": config["max_position_embeddings"],
            },
            "moe": {
                "n_experts": config["n_routed_experts"], "top_k": config["num_experts_per_tok"],
                "expert_hidden": config["moe_intermediate_size"], "n_shared": config["n_shared_experts"],
                "n_groups": config["n_group"], "picked_groups": config["topk_group"],
            },
            "mtp": {"depth": 0},
        },
        "data": {"train": str(corpus / "train"), "validation": str(corpus / "validation"), "tokenizer": "bytes"},
        "parallel": {"pipeline": pipeline, "expert": expert, "schedule": schedule},
        "precision": {"compute": options.dtype},
        "train": [{"steps": options.steps, "sequence": SEQUENCE, "batch": BATCH, "microbatch": microbatch,
                   "learning_rate": {"peak": 1e-3, "warmup": 2}, "clip": 1.0, "evaluate_every": 0,
                   "evaluate_bytes": 4096}],
        "balance": {"policy": options.balance},
        "checkpoint": {"every": 0, "keep": 1},
        "cluster": {"device": "cpu", "share_devices": True, "threads": threads},
    }


def tokens_per_s(config, options, layout):
    with tempfile.TemporaryDirectory() as home:
        path = pathlib.Path(home) / "job.json"  # JSON is YAML
        path.write_text(json.dumps(job(config, options, layout)))
        done = subprocess.run([options.dsctl, "launch", path, "--home", home], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"{layout[0]} failed:\n{done.stderr[-2000:]}")
        lines = [json.loads(line) for file in pathlib.Path(home).rglob("metrics.jsonl") for line in file.open()]
    steps = [line["tokens_per_second"] for line in lines if "tokens_per_second" in line]
    return statistics.median(steps[WARMUP:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16", "fp8"])
    parser.add_argument("--balance", default="forced", choices=["forced", "loss_free"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--dsctl", default=ROOT / "target/release/dsctl")
    options = parser.parse_args()
    config = json.loads(pathlib.Path(options.config).read_text())
    rounds = []
    for number in range(options.rounds):
        rounds.append([tokens_per_s(config, options, layout) for layout in LAYOUTS])
        told = ", ".join(f"{speed:.0f}" for speed in rounds[-1])
        print(f"round {number + 1} of {options.rounds}, tokens/s: {told}", file=sys.stderr)
    print(f"| {options.dtype}, {BATCH} sequences of {SEQUENCE} tokens a step | tokens/s | of one rank |")
    print("|---|---|---|")
    for i, layout in enumerate(LAYOUTS):
        ratio = statistics.median(speeds[i] / speeds[0] for speeds in rounds)
        print(f"| {layout[0]} | {statistics.median(speeds[i] for speeds in rounds):,.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
