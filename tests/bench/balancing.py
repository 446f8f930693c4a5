#!/usr/bin/env python3
"""Loss-free balancing against none: the same job, the same seeds.

    tests/bench/balancing.py [--steps N] [--seeds 1,2,3] [--dsctl target/release/dsctl] [--set KEY=VALUE ...]

Runs deploy/jobs/quickstart.yaml once for each policy and seed, and prints validation loss and MaxVio over the held-out
works (mean over MoE layers), each with mean and spread.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
WARMUP = 40


def run(dsctl, home, policy, seed, steps, sets):
    pieces = "[{shape: cosine, steps: %d, to: 2.0e-4}]" % (steps - WARMUP)
    own = {
        "seed": seed,
        "balance.policy": policy,
        "train[0].steps": steps,
        "train[0].learning_rate.pieces": pieces,
        "train[0].evaluate_every": 0,
        "checkpoint.every": 0,
    }
    arguments = [f"{key}={value}" for key, value in own.items()] + sets
    command = [dsctl, "launch", ROOT / "deploy/jobs/quickstart.yaml", "--home", home, "--format", "json"]
    for argument in arguments:
        command += ["--set", argument]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--dsctl", default=ROOT / "target/release/dsctl")
    parser.add_argument("--set", action="append", default=[], dest="sets")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as home:
        for seed in options.seeds.split(","):
            for policy in ["none", "loss_free"]:
                summary = run(options.dsctl, home, policy, seed, options.steps, options.sets)
                results.setdefault(policy, []).append(summary)
                print(f"seed {seed}, {policy}: validation {summary['validation_loss']:.4f} nats/byte, "
                      f"MaxVio {summary['maxvio_validation']:.3f}", file=sys.stderr)
    print("| policy | validation loss, nats per byte | MaxVio over the held-out works |")
    print("|---|---|---|")
    for policy, summaries in results.items():
        cells = []
        for key in ["validation_loss", "maxvio_validation"]:
            values = [summary[key] for summary in summaries]
            cells.append(f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})")
        print(f"| {policy} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
