#!/usr/bin/env python3
"""Looks whether valgrind's memcheck finds the usual errors in a program that preloads HAKMEM, and in one linked with it.

memcheck puts its own malloc in place of the one it is told of: --soname-synonyms=somalloc=NAME.  HAKMEM_LIB is the shared library,
HK_TEST_BUILD the folder with the programs (libc_memcheck.cpp).  Skipped where there is no valgrind.
"""
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LIBRARY = "somalloc=*hakmem*"
WAYS = {"libc_memcheck": LIBRARY, "memcheck_shared": LIBRARY, "memcheck_static": "somalloc=NONE"}
FOUND = 9
ERRORS = [
    ("invalid_write", 100, "Invalid write of size 1"),
    ("invalid_write", 300000, "0 bytes after a block of size 300,000 alloc'd"),
    ("invalid_read", 100, "Invalid read of size 1"),
    ("use_after_free", 100, "50 bytes inside a block of size 100 free'd"),
    ("use_after_free", 3000000, "1,500,000 bytes inside a block of size 3,000,000 free'd"),
    ("double_free", 100, "Invalid free()"),
    ("leak", 100, "100 bytes in 1 blocks are definitely lost"),
    ("mismatched_free", 100, "Mismatched free() / delete / delete []"),
    ("uninitialised", 100, "depends on uninitialised value"),
    ("nothing", 100, None),
]


def check(task):
    """Returns a complaint, or None."""
    program, synonym, error, size, text = task
    environment = dict(os.environ)
    library = environment.pop("HAKMEM_LIB")  # it would be taken for an option
    if program.name == "libc_memcheck":
        environment["LD_PRELOAD"] = library
    command = ["valgrind", "--leak-check=full", f"--error-exitcode={FOUND}", f"--soname-synonyms={synonym}"]
    result = subprocess.run([*command, program, error, str(size)], env=environment, capture_output=True, text=True)
    status, found = (0, "ERROR SUMMARY: 0 errors") if text is None else (FOUND, text)
    if result.returncode == status and found in result.stderr:
        return None
    return f"{program.name} {error} {size}: status {result.returncode}, '{found}' expected in:\n{result.stderr}"


def main():
    if shutil.which("valgrind") is None:
        print("skipped: no valgrind here")
        return 77
    folder = Path(os.environ["HK_TEST_BUILD"]) / "tests"
    tasks = [(folder / program, synonym, *error) for program, synonym in WAYS.items() for error in ERRORS]
    with ThreadPoolExecutor(2) as pool:
        complaints = [complaint for complaint in pool.map(check, tasks) if complaint]
    for complaint in complaints:
        print(f"FAILED: {complaint}")
    print(f"memcheck: {len(tasks) - len(complaints)} of {len(tasks)} as expected")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
