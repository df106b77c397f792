"""Writes an SD 1.5 adapter with a module of each kind of oddity: strange_adapter.py FILE."""
import json
import struct
import sys

BLOCK = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_"
MODULES = {  # rank, inputs, a value of down, one of up, alpha
    "attn2_to_k": (2, 768, 0.5, 0.25, 0.0),
    "attn1_to_q": (4, 320, 0.5, 0.0, 4.0),
    "attn2_to_v": (2, 768, float("nan"), 0.25, 100.0),
    "attn1_to_k": (2, 320, 0.5, 0.25, 2.0),
}
METADATA = {
    "ss_base_model_version": "sdxl_base_v1-0",
    "ss_network_dim": "32",
    "ss_clip_skip": "2",
    "sshs_model_hash": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}

header, data = {"__metadata__": METADATA}, b""
for name, (rank, inputs, down, up, alpha) in MODULES.items():
    tensors = {
        ".lora_down.weight": ([rank, inputs], [down] + [0.5] * (rank * inputs - 1)),
        ".lora_up.weight": ([320, rank], [up] * (320 * rank)),
        ".alpha": ([], [alpha]),
    }
    for suffix, (shape, values) in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        header[BLOCK + name + suffix] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
text = json.dumps(header).encode()
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
