#!/usr/bin/env python3
"""Checks the CUDA kernels against torch and measures their bandwidth against a copy on the same device.

    tests/gpu/bandwidth.py [--rows 16384] [--width 7168] [--format json]
    tests/gpu/bandwidth.py --emulate LIBRARY [--rows 40] [--width 264]     no card: checks only

Needs Python with torch 2.11.0 and NVRTC (any full install has it), no Rust. LIBRARY is kernels/cpp/emulated.cpp, compiled:
c++ -std=c++17 -O1 -ffp-contract=off -shared -fPIC -o LIBRARY kernels/cpp/emulated.cpp. Exits 1 when a check fails, 0 with a
line NOT RUN where there is no card.
"""

import argparse
import json
import statistics
import sys

sys.dont_write_bytecode = True  # nothing new beside the sources

import cases
import cuda

RUNS = 20
GOAL = 0.8  # of the copy
BUSY_CYCLES = 2_000_000  # about a millisecond


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16384)
    parser.add_argument("--width", type=int, default=7168)
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument("--emulate", metavar="LIBRARY")
    options = parser.parse_args()
    import torch

    if not options.emulate and not torch.cuda.is_available():
        print("NOT RUN: no CUDA device", file=sys.stderr)
        return 0
    machine = cuda.Emulator(options.emulate) if options.emulate else cuda.Card()
    copy = None if options.emulate else bandwidth(torch, *copying(torch, options.rows, options.width))
    results = [measure(torch, case, copy) for case in cases.all_cases(machine, torch, options.rows, options.width)]
    name = "emulated" if options.emulate else torch.cuda.get_device_name()
    report = {"device": name, "rows": options.rows, "width": options.width, "copy_gb_s": copy, "kernels": results}
    print(json.dumps(report, indent=1) if options.format == "json" else table(report))
    return 0 if all(result["ok"] for result in results) else 1


def copying(torch, rows, width):
    """A copy that moves as much as the largest case."""
    source = torch.randn(rows, 2 * width, device="cuda")
    target = torch.empty_like(source)
    return lambda: target.copy_(source), cases.nbytes(source, target)


def bandwidth(torch, run, moved_bytes):
    """GB/s, the median of runs after some to warm up. The card is kept busy until a run has been asked for, so that what the
    host takes to ask does not count."""
    seconds = []
    for _ in range(RUNS + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(BUSY_CYCLES)
        start.record()
        run()
        end.record()
        end.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3)
    return moved_bytes / statistics.median(seconds[3:]) / 1e9


def measure(torch, case, copy):
    case.run()
    off, allowed = case.check()
    result = {"kernel": case.name, "moved_mb": case.moved_bytes / 1e6, "off": off, "ok": off <= allowed}
    if copy:
        result["gb_s"] = bandwidth(torch, case.run, case.moved_bytes)
        result["of_copy"] = result["gb_s"] / copy
    return result


def table(report):
    lines = [f"{report['device']}, {report['rows']} x {report['width']}"]
    if report["copy_gb_s"]:
        lines.append(f"device copy: {report['copy_gb_s']:.0f} GB/s; the goal is {GOAL:.0%} of it")
    for kernel in report["kernels"]:
        speed = f"{kernel['gb_s']:7.0f} GB/s {kernel['of_copy']:6.1%}" if "gb_s" in kernel else ""
        verdict = "ok" if kernel["ok"] else "WRONG"
        lines.append(f"{kernel['kernel']:28} {speed}  {verdict} ({kernel['off']:.1e} off)")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
