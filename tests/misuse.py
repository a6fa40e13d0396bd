#!/usr/bin/env python3
"""Runs every program of misuse.txt and looks at how it ended: the signal, the one line on stderr, the address in it.

    misuse.py [folder of the misuse_* programs]        default: $HAKMEM_BUILD/tests
"""

import os
import pathlib
import re
import resource
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def cases():
    """Each case's name, which is the program's and perhaps a level of hardening, its status and its pattern."""
    for line in (HERE / "misuse.txt").read_text().splitlines():
        if not re.match(r"[a-z]", line):
            continue
        name, status, pattern = line.split(None, 2)
        yield name, int(status), pattern.strip()


def complaint(folder, name, status, pattern):
    """None, or what is wrong with how the program ended."""
    program, _, level = name.partition("@")
    path = folder / program
    environment = os.environ | ({"HAKMEM_HARDEN": level} if level else {})
    if not path.exists():
        return f"{path} does not exist"
    try:
        done = subprocess.run([path], env=environment, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return "still running after 120 s"
    shell_status = done.returncode if done.returncode >= 0 else 128 - done.returncode
    announced = done.stdout.split()
    lines = done.stderr.splitlines()
    if shell_status != status:
        return f"status {shell_status}, expected {status}; stderr {done.stderr!r}"
    if len(lines) != 1 or not done.stderr.endswith("\n"):
        return f"expected one line on stderr, got {done.stderr!r}"
    if not re.fullmatch(pattern, lines[0]):
        return f"{lines[0]!r} does not match {pattern!r}"
    if len(announced) != 1:
        return f"the program did not say which address: stdout {done.stdout!r}"
    named = {int(word, 16) for word in re.findall(r"0x[0-9a-fA-F]+", lines[0])}
    if int(announced[0], 16) not in named:
        return f"{lines[0]!r} does not name {announced[0]}"
    return None


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("HAKMEM_BUILD", ".") + "/tests")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    listed = list(cases())
    failures = 0
    for name, status, pattern in listed:
        wrong = complaint(folder, name, status, pattern)
        if wrong is not None:
            failures += 1
            print(f"{name}: {wrong}")
    unlisted = {path.stem for path in HERE.glob("misuse_*.c")} - {name.partition("@")[0] for name, _, _ in listed}
    for name in sorted(unlisted):
        failures += 1
        print(f"{name}.c is not in misuse.txt")
    print(f"misuse: {len(listed)} cases, {failures} failures")
    return 1 if failures or not listed else 0


if __name__ == "__main__":
    sys.exit(main())
