"""What Hugging Face's transformers makes of a folder: logits for tokens.

    python3 transformers_logits.py HF_DIR TOKENS.safetensors LOGITS.safetensors

`tokens` is [batch, sequence]; `logits` is [batch, sequence, vocabulary] in F32, computed in F32. The folder's FP8
blocks, if it has some, are dequantised by transformers. stdout names the versions.
"""

import json
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file


def main():
    folder, tokens, logits = sys.argv[1:]
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    with open(f"{folder}/config.json") as file:
        if "quantization_config" in json.load(file):
            options["quantization_config"] = transformers.FineGrainedFP8Config(dequantize=True)
    model, report = transformers.DeepseekV3ForCausalLM.from_pretrained(folder, output_loading_info=True, **options)
    missing = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if missing:
        sys.exit(f"transformers finds no weights for {missing}")
    model = model.eval().to(torch.float32)
    with torch.no_grad():
        found = model(load_file(tokens)["tokens"], use_cache=False).logits
    save_file({"logits": found.float().contiguous()}, logits)
    print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__}))


if __name__ == "__main__":
    main()
