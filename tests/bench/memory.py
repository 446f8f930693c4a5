#!/usr/bin/env python3
"""What the planner says a rank needs of memory, beside what ranks needed, on five jobs of different kinds.

    tests/bench/memory.py [--only NAME ...] [--bin target/release]

Every job has at least 1.5 GiB of tensors a rank and takes a few steps on generated text; together they take some minutes, up
to 8 GiB of memory and 4 GiB of disk. Measured is the most anonymous memory of a rank's process, less that before it made its
model, checkpoint included (`memory` in summary.json). Exits with 1 if an estimate is off by more than 10%.
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 0.10

BASE = """version: 1
kind: train
name: NAME
seed: 1
model:
  preset: bard
  hidden_size: 512
  n_layers: 6
  dense_hidden: 1536
  attention: { n_heads: 8, q_lora_rank: 256, kv_lora_rank: 128, qk_nope_dim: 64, qk_rope_dim: 32, v_head_dim: 64 }
  moe: { n_experts: 32, expert_hidden: 384 }
data: { train: train.txt, tokenizer: bytes }
train:
  - steps: 3
    sequence: 256
    batch: 8
    microbatch: 4
    learning_rate: { peak: 1.0e-3 }
checkpoint: { every: 0 }
cluster: { device: cpu, threads: 2, share_devices: true }
"""

# Each is another kind of job: what is largest differs.
JOBS = {
    # State of many experts, in FP32.
    "experts": {"model.n_layers": 7, "model.moe.expert_hidden": 512},
    # BF16 weights beside FP32 masters, BF16 moments, a large vocabulary.
    "bf16": {
        "precision.compute": "bf16",
        "precision.moments": "bf16",
        "model.vocab_size": 65536,
        "model.hidden_size": 640,
        "train[0].microbatch": 2,
    },
    # Long sequences; activations are more than the state, norms are computed again.
    "long": {
        "model.n_layers": 10,
        "model.moe.n_experts": 16,
        "model.moe.expert_hidden": 128,
        "train[0].sequence": 1024,
        "train[0].batch": 8,
        "train[0].microbatch": 8,
        "train[0].steps": 2,
        "parallel.recompute": "norms",
    },
    # Two ranks share the experts: rows travel, gradients of all else are summed.
    "exchange": {"parallel.expert": 2, "cluster.threads": 1, "model.moe.n_experts": 64, "train[0].microbatch": 4},
    # Two stages, several microbatches alive, MTP at the end.
    "pipeline": {
        "parallel.pipeline": 2,
        "cluster.threads": 1,
        "model.n_layers": 10,
        "model.moe.expert_hidden": 512,
        "train[0].microbatch": 2,
        "train[0].batch": 8,
    },
}


def text(n_bytes):
    """Words in no order: what a model makes of them does not matter here."""
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(1, 9))) for _ in range(2000)]
    return " ".join(chance.choices(words, k=n_bytes // 6))


def run(binaries, name, changes):
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        folder = pathlib.Path(folder)
        (folder / "train.txt").write_text(text(1 << 20))
        (folder / "job.yaml").write_text(BASE.replace("NAME", name))
        sets = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
        command = [binaries / "dsctl", "launch", folder / "job.yaml", "--home", folder / "home", "--format", "json", *sets]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, text=True)
        if done.returncode != 0:
            sys.exit(f"{name} failed:\n{done.stderr[-3000:]}\n{done.stdout[-3000:]}")
        plan = subprocess.run(
            [binaries / "dsctl", "plan", folder / "job.yaml", "--format", "json", *sets], stdout=subprocess.PIPE, cwd=folder, text=True
        )
        return json.loads(done.stdout)["memory"], json.loads(plan.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(JOBS), help="may be repeated")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--terms", action="store_true", help="show the terms of each estimate on stderr")
    options = parser.parse_args()
    if shutil.disk_usage(tempfile.gettempdir()).free < 6 << 30:
        sys.exit(f"{tempfile.gettempdir()} has less than 6 GiB free")
    print("| job | rank | planned MiB | measured MiB | planned / measured |")
    print("|---|---|---|---|---|")
    is_off = False
    for name in options.only or JOBS:
        ranks, plan = run(options.bin.resolve(), name, JOBS[name])
        for rank in ranks:
            planned, peak = rank["planned_bytes"], rank["peak_bytes"]
            is_off |= abs(planned / peak - 1) > LIMIT
            print(f"| {name} | {rank['rank']} | {planned / 2**20:.0f} | {peak / 2**20:.0f} | {planned / peak:.3f} |", flush=True)
            if options.terms:
                terms = plan["ranks"][rank["rank"]]["memory"]
                told = ", ".join(f"{term} {n / 2**20:.0f}" for term, n in terms.items() if n)
                print(f"{name} rank {rank['rank']}: {told}", file=sys.stderr)
    sys.exit(int(is_off))


if __name__ == "__main__":
    main()
