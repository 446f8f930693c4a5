#!/usr/bin/env python3
"""Training steps of this project's worker beside those of other trainers, in turns on one machine.

    tests/bench/peers.py --config CONFIG.json --peer 'PYTHON bench_x.py' [--peer ...] [--dtype f32] [--threads 2] [--rounds 3]

Each bench is a program that takes --config, --dtype and --threads and prints one line of JSON with "peer",
"tokens_per_s", "tokens_per_s_best" and "max_rss_mib". A round runs all of them once; what is printed is the median over
rounds, and the median over rounds of our tokens/s divided by theirs. Nothing else should run meanwhile.
"""

import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = ["cargo", "run", "--quiet", "--release", "-p", "ds-worker", "--example", "speed", "--"]
# As ranks get it from their node agent.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


def run(command, options, environment):
    command = command + ["--config", options.config, "--dtype", options.dtype, "--threads", str(options.threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=ROOT, text=True)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, type=os.path.abspath)
    parser.add_argument("--peer", action="append", default=[], dest="peers", help="a command; may be repeated")
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    plain = dict(os.environ, OMP_NUM_THREADS=str(options.threads))
    benches = [(OURS, dict(plain, **ALLOCATOR))] + [(shlex.split(peer), plain) for peer in options.peers]
    rounds = []
    for number in range(options.rounds):
        rounds.append([run(command, options, environment) for command, environment in benches])
        told = ", ".join(f"{line['peer']} {line['tokens_per_s']:.0f}" for line in rounds[-1])
        print(f"round {number + 1} of {options.rounds}, tokens/s: {told}", file=sys.stderr)
    print(f"| {options.dtype}, {options.threads} threads | tokens/s, median | best step | peak MiB | ours / theirs |")
    print("|---|---|---|---|---|")
    for i in range(len(benches)):
        lines = [results[i] for results in rounds]
        median = statistics.median(line["tokens_per_s"] for line in lines)
        best = max(line["tokens_per_s_best"] for line in lines)
        ratio = statistics.median(results[0]["tokens_per_s"] / results[i]["tokens_per_s"] for results in rounds)
        peak = max(line["max_rss_mib"] for line in lines)
        print(f"| {lines[0]['peer']} | {median:.0f} | {best:.0f} | {peak:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
