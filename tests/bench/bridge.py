"""How fast `dsctl import` is beside `cp -r` of the same folder on the same disk, alternating, and what memory it takes.

    cargo run --release -p ds-checkpoint --example hf_folder -- /disk/hf 20
    python3 tests/bench/bridge.py --dsctl target/release/dsctl /disk/hf /disk/work [--rounds 3] [--max-ram 2G]

Before each run the system's cache of files is dropped, where that is allowed. `cp` is timed to its end, and to the end
of a `sync` behind it: an import ends when its bytes are on the disk. One JSON line.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time


def drop_caches():
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3")
    except OSError:
        return False
    return True


def copy(source, target):
    start = time.monotonic()
    subprocess.run(["cp", "-r", source, target], check=True)
    copied = time.monotonic() - start
    os.sync()
    return copied, time.monotonic() - start


def bring_in(dsctl, source, target, max_ram):
    command = [dsctl, "import", source, target, "--max-ram", max_ram, "--format", "json"]
    start = time.monotonic()
    facts = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)
    return time.monotonic() - start, facts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("work")
    parser.add_argument("--dsctl", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-ram", default="2G")
    args = parser.parse_args()
    size = sum(entry.stat().st_size for entry in os.scandir(args.source))
    os.makedirs(args.work, exist_ok=True)
    free = shutil.disk_usage(args.work).free
    if free < 1.1 * size:
        print(f"skipped: {size} bytes are to be written, and the disk of {args.work} has {free} free", file=sys.stderr)
        return
    target, copies, synced, imports, peaks = os.path.join(args.work, "target"), [], [], [], []
    cold = True
    for _ in range(args.rounds):
        cold &= drop_caches()
        copied, with_sync = copy(args.source, target)
        shutil.rmtree(target)
        cold &= drop_caches()
        imported, facts = bring_in(args.dsctl, args.source, target, args.max_ram)
        shutil.rmtree(target)
        copies.append(copied)
        synced.append(with_sync)
        imports.append(imported)
        peaks.append(facts["peak_memory"])
        print(f"cp {copied:.1f} s, with sync {with_sync:.1f} s; import {imported:.1f} s", file=sys.stderr)
    rate = lambda seconds: round(size / statistics.median(seconds) / 1e6)
    print(json.dumps({
        "bytes": size,
        "cache_dropped": cold,
        "cp_mb_per_s": rate(copies),
        "cp_and_sync_mb_per_s": rate(synced),
        "import_mb_per_s": rate(imports),
        "import_over_cp": round(statistics.median(copies) / statistics.median(imports), 3),
        "import_over_cp_and_sync": round(statistics.median(synced) / statistics.median(imports), 3),
        "peak_anonymous_and_mapped_bytes": max(p["anonymous_and_mapped_bytes"] for p in peaks),
        "peak_noted_by_the_system_bytes": max(p["noted_by_the_system_bytes"] for p in peaks),
        "seconds": {"cp": copies, "cp_and_sync": synced, "import": imports},
    }))


if __name__ == "__main__":
    main()
