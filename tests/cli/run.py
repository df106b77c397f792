#!/usr/bin/env python3
"""Runs command-line transcripts and the examples of the documentation.

usage: run.py --program BUILD/bin/velatura [--update] FILE...

A file is a transcript (*.transcript) or Markdown, whose ```console blocks are transcripts. Each file runs in one fresh
folder, with HOME and VELATURA_HOME inside it and without a terminal:

    $ velatura generate --prompt "cat face" --seed 3 --out cat.png
    cat.png  seed 3  256x256
    ? 0

Lines after a command are the expected standard output, then lines that begin with "! " the expected standard error, then
"? N" the exit code (0 where it is left out). `*` stands for anything within a line, a line of just `...` for any lines.
Lines of standard error that a transcript does not name are not compared: progress and notes go there. A command may go on
after a line that ends in a backslash. A block that begins with "# not run" is not run, and says why.
--update writes what was found where it differs.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile


def glob_equal(pattern: str, line: str) -> bool:
    parts = [re.escape(p) for p in pattern.split("*")]
    return re.fullmatch(".*".join(parts), line) is not None


def lines_match(expected, found) -> bool:
    if not expected:
        return not found
    if expected[0] == "...":
        return any(lines_match(expected[1:], found[i:]) for i in range(len(found) + 1))
    return bool(found) and glob_equal(expected[0], found[0]) and lines_match(expected[1:], found[1:])


class Case:
    def __init__(self, line: int, command: str):
        self.line, self.command, self.out, self.err, self.code = line, command, [], [], 0


def parse(lines, first: int):
    cases, i = [], 0
    while i < len(lines):
        line = lines[i]
        if line.startswith("$ "):
            command = line[2:]
            case_line = first + i
            while command.endswith("\\") and i + 1 < len(lines):
                i += 1
                command = command[:-1] + lines[i]
            cases.append(Case(case_line, command))
        elif cases and line.startswith("? "):
            cases[-1].code = int(line[2:])
        elif cases and line.startswith("! "):
            cases[-1].err.append(line[2:])
        elif cases and line:
            cases[-1].out.append(line)
        i += 1
    return cases


def blocks(path: pathlib.Path):
    """(first line number, lines) of each transcript in a file."""
    text = path.read_text(encoding="utf-8").splitlines()
    if path.suffix != ".md":
        yield 1, [l for l in text]
        return
    inside, start, block = False, 0, []
    for number, line in enumerate(text, 1):
        if not inside and line.strip() == "```console":
            inside, start, block = True, number + 1, []
        elif inside and line.strip() == "```":
            inside = False
            if not (block and block[0].startswith("# not run")):
                yield start, block
        elif inside:
            block.append(line)


def run_file(path: pathlib.Path, program: pathlib.Path, source: pathlib.Path) -> list[str]:
    problems = []
    with tempfile.TemporaryDirectory(prefix="velatura-cli-") as folder:
        tools = pathlib.Path(folder) / ".bin"
        tools.mkdir()
        (tools / "velatura").symlink_to(program)
        (pathlib.Path(folder) / "home").mkdir()
        environment = dict(os.environ, HOME=f"{folder}/home", VELATURA_HOME=f"{folder}/home/velatura",
                           XDG_CACHE_HOME=f"{folder}/home/.cache", PATH=f"{tools}:{os.environ['PATH']}",
                           SOURCE=str(source), LC_ALL="C.UTF-8",
                           OMP_WAIT_POLICY="passive")  # other tests may run beside
        environment.pop("XDG_DATA_HOME", None)
        for first, lines in blocks(path):
            for case in parse(lines, first):
                done = subprocess.run(["bash", "-c", case.command], cwd=folder, env=environment, text=True,
                                      stdin=subprocess.DEVNULL, capture_output=True, timeout=600, errors="replace")
                where = f"{path}:{case.line}: $ {case.command}"
                out, err = done.stdout.splitlines(), done.stderr.splitlines()
                if done.returncode != case.code:
                    problems.append(f"{where}\n  exit code {done.returncode}, expected {case.code}\n  stderr: " + "\n          ".join(err[-8:]))
                if not lines_match(case.out, [l for l in out if l]):
                    problems.append(f"{where}\n  standard output differs\n  expected:\n    " + "\n    ".join(case.out) + "\n  found:\n    " + "\n    ".join(out))
                for expected in case.err:
                    if not any(glob_equal(expected, line) for line in err):
                        problems.append(f"{where}\n  standard error lacks: {expected}\n  found:\n    " + "\n    ".join(err))
    return problems


def update_file(path: pathlib.Path, program: pathlib.Path, source: pathlib.Path) -> None:
    """Rewrites the expected output of a .transcript file from a run."""
    if path.suffix == ".md":
        return
    result = []
    with tempfile.TemporaryDirectory(prefix="velatura-cli-") as folder:
        (pathlib.Path(folder) / "home").mkdir()
        environment = dict(os.environ, HOME=f"{folder}/home", VELATURA_HOME=f"{folder}/home/velatura",
                           XDG_CACHE_HOME=f"{folder}/home/.cache", PATH=f"{program.parent}:{os.environ['PATH']}",
                           SOURCE=str(source), LC_ALL="C.UTF-8",
                           OMP_WAIT_POLICY="passive")  # other tests may run beside
        lines = path.read_text(encoding="utf-8").splitlines()
        head = [l for l in lines if l.startswith("#")]
        result += head
        for case in parse(lines, 1):
            done = subprocess.run(["bash", "-c", case.command], cwd=folder, env=environment, text=True,
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=600, errors="replace")
            result += ["", "$ " + case.command] + [l for l in done.stdout.splitlines() if l]
            result += ["! " + l for l in done.stderr.splitlines() if l.startswith("velatura:")]
            if done.returncode:
                result.append(f"? {done.returncode}")
    path.write_text("\n".join(result).lstrip("\n") + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, type=pathlib.Path)
    parser.add_argument("--source", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--update", action="store_true")
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    if shutil.which("bash") is None:
        sys.exit("run.py: bash is needed")
    problems, count = [], 0
    for path in arguments.files:
        if arguments.update:
            update_file(path, arguments.program.resolve(), arguments.source)
        found = run_file(path, arguments.program.resolve(), arguments.source)
        count += sum(len(parse(lines, first)) for first, lines in blocks(path))
        problems += found
    if count == 0:
        problems.append("no command was run")
    print("\n".join(problems) if problems else f"{count} commands as written")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
