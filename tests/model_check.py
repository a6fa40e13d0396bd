#!/usr/bin/env python3
"""Checks the models of the concurrent parts (model/*.pml) with spin: every state that the bounds allow.

    model_check.py [--long] [MODEL...]

As it stands a model must hold.  It must also hold with the macros that a line "/* also: NAME=VALUE ... */" in it defines, and with
--long with those of a line "/* long: ... */".  With each BUG_<NAME> that it tests for, the checker must find an error: that is
how we know that it would.  Needs spin and a C compiler; without spin it is skipped.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MODELS = Path(__file__).parent / "model"
DEPTH = 500_000
MEMORY_MIB = 8192


class Failure(Exception):
    pass


def run(command, directory):
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if result.returncode != 0:
        raise Failure(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def search(model, macros, has_bug):
    """Searches all states of the model; returns their number and the first error, or None."""
    level = "-O0" if has_bug else "-O1"  # a bug is found soon: compiling is what takes long
    with tempfile.TemporaryDirectory() as directory:
        run(["spin", *[f"-D{macro}" for macro in macros], "-a", str(model)], directory)
        run(["cc", level, "-w", "-DSAFETY", f"-DMEMLIM={MEMORY_MIB}", "-o", "pan", "pan.c"], directory)
        output = run(["./pan", f"-m{DEPTH}"], directory)
    states = re.search(r"^ *(\d+)(?:\.\d+)?(?:e\+\d+)? states, stored", output, re.MULTILINE)
    errors = re.search(r"errors: (\d+)", output)
    if not states or not errors:
        raise Failure(f"{model.name}: the checker said nothing of use:\n{output}")
    if errors.group(1) != "0":
        return int(states.group(1)), re.search(r"^pan:\d+: (.*)", output, re.MULTILINE).group(1)
    if "max search depth too small" in output or "out of memory" in output:
        raise Failure(f"{model.name} {macros}: the search was cut short:\n{output}")
    return int(states.group(1)), None


def variants(text, kind):
    return [line.split() for line in re.findall(rf"/\* {kind}: (.*?) \*/", text)]


def searches(model, with_long):
    """What to search: (model, macros, whether an error must be found)."""
    text = model.read_text()
    whole = [[], *variants(text, "also"), *(variants(text, "long") if with_long else [])]
    bugs = sorted(set(re.findall(r"\bBUG_[A-Z_]+\b", text)))
    if not bugs:
        raise Failure(f"{model.name} has no planted bug")
    return [(model, macros, False) for macros in whole] + [(model, [bug], True) for bug in bugs]


def main():
    arguments = sys.argv[1:]
    with_long = "--long" in arguments
    names = [name for name in arguments if name != "--long"]
    models = [MODELS / f"{name}.pml" for name in names] or sorted(MODELS.glob("*.pml"))
    if shutil.which("spin") is None:
        print("model_check: no spin here: skipped")
        return 77
    if not models:
        raise Failure("there are no models")
    todo = [item for model in models for item in searches(model, with_long)]
    complaints = 0
    with ThreadPoolExecutor(1 if with_long else len(os.sched_getaffinity(0))) as pool:
        results = pool.map(lambda item: search(*item), todo)
        for (model, macros, has_bug), (states, error) in zip(todo, results):
            complaints += (error is not None) != has_bug
            verdict = error or ("NOT FOUND" if has_bug else "holds")
            print(f"{model.stem:8} {' '.join(macros) or 'as it is':40} {states:10} states: {verdict}", flush=True)
    return 1 if complaints else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"model_check: {failure}", file=sys.stderr)
        sys.exit(1)
