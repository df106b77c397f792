"""Writes a folder of adapter files that are broken or were made to do harm: hostile_adapters.py FOLDER."""
import io
import json
import os
import pathlib
import struct
import sys
import zipfile

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
KEY = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
RANK, INPUTS, OUTPUTS = 2, 768, 320


def framed(header, data: bytes = b"", length=None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def floats(count: int, value: float) -> bytes:
    return struct.pack("<f", value) * count


def entries(tensors) -> tuple:
    """[(name, shape, bytes)] as a header and its data."""
    header, data = {}, b""
    for name, shape, raw in tensors:
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    return header, data


def pair(alpha=None, value=0.5):
    tensors = [
        (KEY + ".lora_down.weight", [RANK, INPUTS], floats(RANK * INPUTS, value)),
        (KEY + ".lora_up.weight", [OUTPUTS, RANK], floats(OUTPUTS * RANK, value)),
    ]
    return tensors + ([] if alpha is None else [(KEY + ".alpha", [], floats(1, alpha))])


def write(name: str, raw: bytes) -> None:
    (folder / name).write_bytes(raw)


good = pair()
header, data = entries(good)
whole = framed(header, data)
down, up = good
write("half.safetensors", framed(*entries([down])))
write("shape.safetensors", framed(*entries([down, (up[0], [OUTPUTS, RANK + 1], floats(OUTPUTS * (RANK + 1), 1.0))])))
write("rank0.safetensors", framed(*entries([(down[0], [0, INPUTS], b""), (up[0], [OUTPUTS, 0], b"")])))
write("nan_alpha.safetensors", framed(*entries(pair(float("nan")))))
write("zero_alpha.safetensors", framed(*entries(pair(0.0))))
write("negative_alpha.safetensors", framed(*entries(pair(-2.0))))
write("infinite.safetensors", framed(*entries(pair(value=float("inf")))))
write("claims.safetensors", framed(header, data, 10_000_000_000))
write("missing.safetensors", framed({**header, up[0]: {"dtype": "F32", "shape": [50000, 50000], "data_offsets": [6144, 10000006144]}}, data))
write("cut.safetensors", whole[:-100])
write("overlap.safetensors", framed({**header, up[0]: {**header[up[0]], "data_offsets": [6140, 8700]}}, data))
write("negative.safetensors", framed({down[0]: {"dtype": "F32", "shape": [-2, -768], "data_offsets": [0, 6144]}}, data[:6144]))
entry = json.dumps(header[down[0]])
twice = '{"%s": %s, "%s": %s}' % (down[0], entry, down[0].replace("lora_unet", "lora\\u005funet"), entry)
write("twice.safetensors", framed(twice.encode(), data[:6144]))
copies = [(KEY + suffix, shape, raw) for suffix, (_, shape, raw) in ((".lora_A.weight", down), (".lora_B.weight", up))]
write("spellings.safetensors", framed(*entries(good + [(n, s, raw[:-4] + floats(1, 9.0)) for n, s, raw in copies])))
write("deep.safetensors", framed(b'{"a":' + b"[" * 1000000 + b"]" * 1000000 + b"}"))
write("text.safetensors", framed(b'{"lora_unet_\xff\xfe.alpha": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}', floats(1, 1.0)))
count = 100000
million = {f"lora_unet_down_blocks_{i}_attn1_to_q.alpha": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(count)}
write("million.safetensors", framed(million))
write("page.safetensors", b"<!DOCTYPE html><html>")
write("pointer.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
write("empty.safetensors", b"")


def archive(pickle: bytes, extra=()) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", pickle)
        for name, raw in extra:
            file.writestr(name, raw)
    return stream.getvalue()


write("code.pt", archive(b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00echo\x85R."))
write("bomb.pt", archive(b"\x80\x02}." + b"\0" * (100 << 20)))
write("shards.safetensors.index.json", json.dumps({"weight_map": {down[0]: "one.safetensors", up[0]: "cut.safetensors"}}).encode())
write("one.safetensors", framed(*entries([down])))
os.mkfifo(folder / "pipe.safetensors")
(folder / "device.safetensors").symlink_to("/dev/zero")
(folder / "itself.safetensors").symlink_to("itself.safetensors")
(folder / "loop").symlink_to(".")
write("good.safetensors", whole)
os.mkfifo(folder / "good.json")
