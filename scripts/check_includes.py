#!/usr/bin/env python3
"""Fails when a file includes from a room it may not lean on (docs/design/001-house.md).

A room is the longest folder below src named in ARROWS. Everybody may include base, its own room and include/velatura.
Unit tests may also include tests/support. Vendor headers are checked too: each has the rooms it may appear in.
"""
import pathlib
import re
import sys

ARROWS = {
    "base": [],
    "tensor": [],
    "image": [],
    "ops": ["tensor"],
    "backend/reference": ["ops", "tensor"],
    "backend/cpu": ["ops", "tensor"],
    "weights": ["tensor"],
    "tokenizers": [],
    "nn": ["ops", "weights", "tensor"],
    "models": ["nn", "weights", "ops", "tensor"],
    "lora": ["nn", "weights", "ops", "tensor"],
    "diffusion": ["ops", "tensor"],
    "pipelines": ["models", "lora", "diffusion", "tokenizers", "image", "nn", "weights", "ops", "tensor"],
    "engine": ["*"],
    "apps": [],
    "tests": ["*"],
    "include/velatura": [],
}
VENDORS = {
    r"oneapi/dnnl|dnnl\.": ["backend/cpu"],
    r"hwy/": ["backend/cpu", "backend/cpu/kernels"],
    r"immintrin\.h": ["backend/cpu", "backend/cpu/kernels"],
    r"png\.h|jpeglib\.h|webp/": ["image", "tests"],
    r"CLI/": ["apps"],
    r"pcre2\.h|utf8proc\.h": ["tokenizers"],
    r"sqlite3\.h": ["lora/library"],
    r"Eigen/": ["lora/tools"],
    r"sys/mman\.h|unistd\.h|fcntl\.h|sys/": ["base", "apps", "tests"],
}


def room_of(path: str) -> str:
    if path.startswith("include/velatura"):
        return "include/velatura"
    if path.startswith(("apps/", "tests/")):
        return path.split("/")[0]
    inner = path.removeprefix("src/")
    best = ""
    for room in ARROWS:
        if (inner == room or inner.startswith(room + "/")) and len(room) > len(best):
            best = room
    return best


def family_of(path: str):
    match = re.match(r"src/models/([^/]+)/", path)
    return match.group(1) if match else None


def check(root: pathlib.Path) -> list[str]:
    wrong = []
    files = [p for top in ("src", "apps", "include", "tests") for p in (root / top).rglob("*") if p.suffix in (".h", ".cc")]
    for file in sorted(files):
        path = file.relative_to(root).as_posix()
        room = room_of(path)
        if not room:
            wrong.append(f"{path}: lies in no room of scripts/check_includes.py")
            continue
        is_test = path.endswith("_test.cc")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
            if not match:
                continue
            quote, target = match.groups()
            where = f"{path}:{number}"
            for pattern, rooms in VENDORS.items():
                if re.match(pattern, target) and not any(room == r or path.startswith(f"src/{r}/") for r in rooms):
                    wrong.append(f"{where}: <{target}> may appear in {', '.join(rooms)} only")
            if quote != '"' or target.startswith(("velatura/", "embedded/")):
                continue
            goal = room_of(target if target.startswith(("apps/", "tests/")) else "src/" + target)
            if not goal:
                continue  # a file beside this one
            allowed = ARROWS[room]
            if goal in ("base", room) or "*" in allowed or goal in allowed:
                pass
            elif is_test and (goal == "tests" or goal.startswith("backend/")):
                pass
            else:
                wrong.append(f"{where}: {room} may not include {goal} ({target})")
            mine, theirs = family_of(path), family_of("src/" + target)
            if mine and theirs and mine != theirs:
                wrong.append(f"{where}: model family {mine} may not include {theirs}; move what both need to nn")
    return wrong


if __name__ == "__main__":
    errors = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(errors), file=sys.stderr)
    sys.exit(1 if errors else 0)
