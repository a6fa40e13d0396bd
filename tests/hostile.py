#!/usr/bin/env python3
"""Runs every program of hostile.txt under HAKMEM at each level, and looks at how it ended.

    hostile.py                       the test: HAKMEM_LIB is the library, HK_TEST_BUILD the build folder
    hostile.py --table               docs/MISUSE.md on stdout: HAKMEM's levels, glibc, and the packaged allocators that are installed
    hostile.py --table NAME=LIBRARY  the same, with more allocators
    hostile.py --print               hostile.txt on stdout, as things are
"""

import os
import pathlib
import re
import resource
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = pathlib.Path(os.environ.get("HK_TEST_BUILD", ROOT / "build" / "release"))
HAKMEM = os.environ.get("HAKMEM_LIB", str(BUILD / "libhakmem.so"))
LIBRARIES = pathlib.Path("/usr/lib/x86_64-linux-gnu")
PEERS = {"mimalloc": "libmimalloc.so.2", "jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4",
         "tbbmalloc": "libtbbmalloc_proxy.so.2"}
LEVELS = {"default": {}, "HARDEN=1": {"HAKMEM_HARDEN": "1"}, "HARDEN=2": {"HAKMEM_HARDEN": "2"}}
STATUSES = {0: "silent", 66: "refused", 99: "works", 77: "lacks", -6: "abort", -11: "fault", -7: "fault", -4: "fault", -5: "fault"}
MESSAGE = re.compile(r"hakmem: (.+?) of 0x[0-9a-f]+: .+")


def run(program, library, settings):
    """The outcome in a word: silent, refused, works, lacks, abort, fault, hang; with HAKMEM's message, if there is one, behind a colon."""
    environment = {"PATH": "/usr/bin:/bin", **settings}
    if library:
        environment["LD_PRELOAD"] = library
    try:
        done = subprocess.run([BUILD / "tests" / program[0], *program[1:]], env=environment, capture_output=True, text=True, errors="replace",
                              timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "hang"
    outcome = STATUSES.get(done.returncode, f"status {done.returncode}")
    first = done.stderr.splitlines()[0] if done.stderr else ""
    message = MESSAGE.fullmatch(first)
    if message:
        return f"{outcome}: {message.group(1)}"
    return f"{outcome}: {first}" if first.startswith("hakmem:") or (first and outcome == "fault") else outcome


def programs():
    """{name: the file's program and its argument}: a file that has cases is a program for each of them."""
    found = {}
    for path in HERE.glob("hostile_*.c"):
        cases = re.findall(r"^CASE\((\w+)\)", path.read_text(), re.MULTILINE)
        found |= {case: (path.stem, case) for case in cases} or {path.stem.removeprefix("hostile_"): (path.stem,)}
    return dict(sorted(found.items()))


def expectations():
    """{program: the outcomes at the levels}; outcomes are separated by '|', and one may offer several by ' or '."""
    expected = {}
    for line in (HERE / "hostile.txt").read_text().splitlines():
        if re.match(r"[a-z]", line):
            name, *outcomes = (part.strip() for part in line.split("|"))
            expected[name] = outcomes
    return expected


def test():
    expected = expectations()
    known = programs()
    failures = [f"{name} is not in hostile.txt" for name in known if name not in expected]
    for name, outcomes in expected.items():
        for (level, settings), wanted in zip(LEVELS.items(), outcomes, strict=True):
            got = run(known[name], HAKMEM, settings)
            if got not in wanted.split(" or "):
                failures.append(f"{name} at {level}: {got!r}, expected {wanted!r}")
    print("\n".join(failures + [f"hostile: {len(expected)} programs at {len(LEVELS)} levels, {len(failures)} failures"]))
    return 1 if failures or not expected else 0


def print_expectations():
    for name, program in programs().items():
        cells = [run(program, HAKMEM, settings) for settings in LEVELS.values()]
        print(f"{name:32}| " + " | ".join(f"{cell:26}" for cell in cells).rstrip())


def word(outcome):
    kind, _, message = outcome.partition(": ")
    if kind == "fault" and message:
        return "caught"
    return {"abort": "caught", "fault": "crashed", "works": "**works**", "lacks": "–"}.get(kind, kind)


def table():
    allocators = {f"HAKMEM {level}": (HAKMEM, settings) for level, settings in LEVELS.items()}
    allocators["glibc"] = ("", {})
    peers = {name: str(LIBRARIES / file) for name, file in PEERS.items()}
    peers |= dict(argument.split("=", 1) for argument in sys.argv if "=" in argument)
    allocators |= {name: (path, {}) for name, path in peers.items() if pathlib.Path(path).exists()}
    rows = {name: [word(run(program, *allocator)) for allocator in allocators.values()]
            for name, program in programs().items()}
    print((HERE / "hostile.md").read_text())
    print("| program | " + " | ".join(allocators) + " |")
    print("|---" * (len(allocators) + 1) + "|")
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")
    columns = list(zip(*rows.values(), strict=True))
    kinds = {kind.strip("*"): kind for kind in ("caught", "crashed", "refused", "silent", "**works**")} | {"does not arise": "–"}
    for name, kind in kinds.items():
        print(f"| **{name}, of {len(rows)}** | " + " | ".join(str(column.count(kind)) for column in columns) + " |")


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if "--table" in sys.argv:
        table()
    elif "--print" in sys.argv:
        print_expectations()
    else:
        return test()
    return 0


if __name__ == "__main__":
    sys.exit(main())
