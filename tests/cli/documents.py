#!/usr/bin/env python3
"""Holds the documents to the program and the sources.

usage: documents.py --program BUILD/bin/velatura

- Every command has a heading of its name in docs/reference/command-line.md, and every flag of it stands below that
  heading or on a page that is linked there.
- Every ```cpp block of the documents is an excerpt: its lines stand in this order in one file of the sources.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs/reference/command-line.md"
EVERYWHERE = {"--help", "--help-all"}


def help_of(program: pathlib.Path, command: list[str]) -> str:
    return subprocess.run([program, *command, "--help"], text=True, capture_output=True, check=True).stdout


def commands(program: pathlib.Path, path: list[str]):
    """(path, flags) of each command that does something itself."""
    text = help_of(program, path)
    below = re.findall(r"^  ([a-z][a-z0-9-]*) ", text.partition("\nSubcommands:\n")[2], re.M)
    if not below:
        yield path, set(re.findall(r"^ +(?:-[a-zA-Z],)?(--[a-z][a-z0-9-]*)", text, re.M))
    for name in below:
        yield from commands(program, [*path, name])


def sections(text: str) -> dict[str, str]:
    """Heading of the second level → what stands below it."""
    parts = re.split(r"^## (.+)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def undocumented(program: pathlib.Path) -> list[str]:
    problems, found = [], sections(REFERENCE.read_text(encoding="utf-8"))
    for path, flags in commands(program, []):
        name = " ".join(path)
        if name not in found:
            problems.append(f"{REFERENCE.name} has no heading \"## {name}\"")
            continue
        text = found[name]
        for page in re.findall(r"\]\(([^)#]+\.md)", text):
            text += (REFERENCE.parent / page).read_text(encoding="utf-8")
        problems += [f"{REFERENCE.name}, {name}: {flag} is not explained" for flag in sorted(flags - EVERYWHERE)
                     if not re.search(re.escape(flag) + r"(?![a-z0-9-])", text)]
    return problems


def is_excerpt(excerpt: list[str], source: list[str]) -> bool:
    lines = iter(source)
    return all(line in lines for line in excerpt)


def invented_code() -> list[str]:
    sources = [[line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
               for folder in ("src", "include", "apps", "tests", "bench") for path in sorted((ROOT / folder).rglob("*"))
               if path.suffix in (".cc", ".h")]
    problems = []
    for document in [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]:
        text = document.read_text(encoding="utf-8")
        for block in re.finditer(r"^( *)```cpp\n(.*?)^ *```", text, re.M | re.S):
            excerpt = [line.strip() for line in textwrap.dedent(block[2]).splitlines() if line.strip()]
            if not any(is_excerpt(excerpt, source) for source in sources):
                line = text.count("\n", 0, block.start()) + 1
                problems.append(f"{document.relative_to(ROOT)}:{line}: no source file has these lines in this order")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, type=pathlib.Path)
    problems = undocumented(parser.parse_args().program) + invented_code()
    print("\n".join(problems) or "the documents hold")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
