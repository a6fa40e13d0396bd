#!/usr/bin/env python3
"""Checks the models of the concurrent parts (model/*.pml) with spin: every state that the bounds allow.

    model_check.py [--long] [MODEL...]

As it stands a model must hold.  It must also hold with the macros that a line "/* also: NAME=VALUE ... */" in it defines, and with
--long with those of a line "/* long: ... */".  With each BUG_<NAME> that it tests for, the checker must find an error: that is
how we know that it would.  Needs spin and a C compiler; without spin it is skipped.
"""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MODELS = Path(__file__).parent / "model"
DEPTH = 500_000
MEMORY_MIB = 8192


def fail(message):
    print(f"model_check: {message}", file=sys.stderr)
    sys.exit(1)


def run(command, directory):
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if result.returncode != 0:
        fail(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def search(model, macros):
    """Searches all states of the model; returns their number and the first error, or None."""
    with tempfile.TemporaryDirectory() as directory:
        run(["spin", *[f"-D{macro}" for macro in macros], "-a", str(model)], directory)
        run(["cc", "-O1", "-w", "-DSAFETY", f"-DMEMLIM={MEMORY_MIB}", "-o", "pan", "pan.c"], directory)
        output = run(["./pan", f"-m{DEPTH}"], directory)
    states = re.search(r"^ *(\d+)(?:\.\d+)?(?:e\+\d+)? states, stored", output, re.MULTILINE)
    errors = re.search(r"errors: (\d+)", output)
    if not states or not errors:
        fail(f"{model.name}: the checker said nothing of use:\n{output}")
    if errors.group(1) != "0":
        return int(states.group(1)), re.search(r"^pan:\d+: (.*)", output, re.MULTILINE).group(1)
    if "max search depth too small" in output or "out of memory" in output:
        fail(f"{model.name} {macros}: the search was cut short:\n{output}")
    return int(states.group(1)), None


def variants(text, kind):
    return [line.split() for line in re.findall(rf"/\* {kind}: (.*?) \*/", text)]


def check(model, with_long):
    """Returns the number of complaints."""
    text = model.read_text()
    complaints = 0
    for macros in [[], *variants(text, "also"), *(variants(text, "long") if with_long else [])]:
        states, error = search(model, macros)
        complaints += error is not None
        print(f"{model.stem:8} {' '.join(macros) or 'as it is':32} {states:10} states: {error or 'holds'}", flush=True)
    bugs = sorted(set(re.findall(r"\bBUG_[A-Z_]+\b", text)))
    if not bugs:
        fail(f"{model.name} has no planted bug")
    for bug in bugs:
        states, error = search(model, [bug])
        complaints += error is None
        print(f"{model.stem:8} {bug:32} {states:10} states: {error or 'NOT FOUND'}", flush=True)
    return complaints


def main():
    arguments = sys.argv[1:]
    with_long = "--long" in arguments
    names = [name for name in arguments if name != "--long"]
    models = [MODELS / f"{name}.pml" for name in names] or sorted(MODELS.glob("*.pml"))
    if shutil.which("spin") is None:
        print("model_check: no spin here: skipped")
        return 77
    if not models:
        fail("there are no models")
    return 1 if sum(check(model, with_long) for model in models) else 0


if __name__ == "__main__":
    sys.exit(main())
