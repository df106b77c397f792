"""Writes an SD 1.5 LoHa on its widest layers, whose nearest LoRA takes a while: wide_loha.py FILE."""
import json
import struct
import sys

PLACES = ["down_blocks_2_attentions_0", "down_blocks_2_attentions_1", "mid_block_attentions_0",
          "up_blocks_1_attentions_0", "up_blocks_1_attentions_1", "up_blocks_1_attentions_2"]
OUT, IN, RANK = 10240, 1280, 2

header, data = {}, b""
for place in PLACES:
    for factor in ("hada_w1", "hada_w2"):
        for half, shape in (("a", [OUT, RANK]), ("b", [RANK, IN])):
            raw = b"".join(struct.pack("<f", (i * 7919 % 101 - 50) / 500) for i in range(shape[0] * shape[1]))
            header[f"lora_unet_{place}_transformer_blocks_0_ff_net_0_proj.{factor}_{half}"] = {
                "dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
text = json.dumps(header).encode()
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
