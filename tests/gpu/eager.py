#!/usr/bin/env python3
"""Training steps of transformers' DeepSeek-V3 in PyTorch's eager mode; one line of JSON, as worker/examples/speed.rs prints.

    tests/gpu/eager.py --config CONFIG.json [--dtype bf16|f32] [--device cuda] [--experts grouped_mm|batched_mm|eager]

A step is forward, backward, clipping and fused AdamW; weights and moments have the dtype, there are no FP32 masters.
"""

import argparse
import json
import statistics
import time

import torch
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--experts", default="grouped_mm")
    options = parser.parse_args()
    with open(options.config) as file:
        config = json.load(file)
    bench, theta = config.pop("bench"), config.pop("rope_theta")
    torch.manual_seed(bench["seed"])
    architecture = DeepseekV3Config(**config, rope_parameters={"rope_type": "default", "rope_theta": theta})
    architecture._attn_implementation, architecture._experts_implementation = "sdpa", options.experts
    dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[options.dtype]
    model = DeepseekV3ForCausalLM(architecture).to(options.device, dtype).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=bench["lr"], betas=bench["betas"], weight_decay=bench["weight_decay"], fused=True
    )
    ids = torch.randint(config["vocab_size"], (bench["batch"], bench["seq_len"])).to(options.device)
    seconds, losses = [], []
    for _ in range(bench["warmup_steps"] + bench["steps"]):
        start = now(options.device)
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), bench["clip"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(now(options.device) - start)
        losses.append(loss.item())
    seconds, tokens = seconds[bench["warmup_steps"] :], ids.numel()
    line = {
        "peer": f"transformers, eager, {options.experts}",
        "dtype": options.dtype,
        "device": options.device,
        "torch": torch.__version__,
        "params": sum(p.numel() for p in model.parameters()),
        "tokens_per_step": tokens,
        "step_s_median": statistics.median(seconds),
        "tokens_per_s": tokens / statistics.median(seconds),
        "tokens_per_s_best": tokens / min(seconds),
        "loss_first_last": [losses[0], losses[-1]],
    }
    if options.device.startswith("cuda"):
        line["max_memory_mib"] = torch.cuda.max_memory_allocated() // 2**20
    print(json.dumps(line))


def now(device):
    """When the device has done what it was asked."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
