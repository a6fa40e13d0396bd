#!/usr/bin/env python3
"""HAKMEM_LIMIT and HAKMEM_SOFT_LIMIT under a real program: it gets MemoryError at the limit and goes on, its memory stays below, and what
is wrong with a value is said in one line.

HAKMEM_LIB is the shared library.
"""

import os
import re
import subprocess
import sys

MIB = 1 << 20

EXHAUST = """
import resource
held = []
try:
    while len(held) < 2000:
        held.append(bytearray(SIZE))
except MemoryError:
    count = len(held)
    del held
    again = [bytearray(SIZE) for _ in range(count * 3 // 4)]
    print(count * SIZE, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def run(code, **options):
    environment = dict(os.environ, LD_PRELOAD=os.environ["HAKMEM_LIB"], PYTHONMALLOC="malloc")
    environment.update({f"HAKMEM_{name}": value for name, value in options.items()})
    del environment["HAKMEM_LIB"]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], env=environment, capture_output=True, text=True,
                          check=False)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def baseline():
    """The peak RSS of the interpreter alone."""
    status, output, _ = run("import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)")
    assert status == 0
    return int(output)


def check_hard():
    alone = baseline()
    for size in (3000, 100_000, 700_000, 5_000_000):
        status, output, error = run(EXHAUST.replace("SIZE", str(size)).replace("2000", "200000"), LIMIT="64M")
        assert status == 0 and error == "", (size, status, output, error)
        served, peak = map(int, output.split())
        assert 40 * MIB <= served <= 64 * MIB, (size, served)
        assert peak <= alone + 64 * MIB, (size, peak, alone)


def check_lines():
    lines = {
        "-1": "bad value for HAKMEM_LIMIT: it takes bytes (with K, M or G) or 1% to 100%; the default is kept",
        "150%": "bad value for HAKMEM_LIMIT: it takes bytes (with K, M or G) or 1% to 100%; the default is kept",
        "0%": "bad value for HAKMEM_LIMIT: it takes bytes (with K, M or G) or 1% to 100%; the default is kept",
    }
    for value, line in lines.items():
        status, output, error = run("print(len([bytearray(MIB) for i in range(100)]))".replace("MIB", str(MIB)),
                                    LIMIT=value)
        assert (status, output, error) == (0, "100", "hakmem: " + line), (value, status, output, error)


def check_share():
    """With a cgroup limit there is nothing to say; without one there is one line, and the physical memory counts."""
    status, output, error = run("print(1)", LIMIT="50%")
    assert (status, output) == (0, "1"), (status, output, error)
    no_cgroup = r"hakmem: no cgroup memory limit: a share is of the physical memory, \d+ bytes"
    assert error == "" or re.fullmatch(no_cgroup, error), error


def check_low():
    """A limit that nothing could start under: a line, and the least that makes sense; the program fails in its own way."""
    environment = dict(os.environ, LD_PRELOAD=os.environ["HAKMEM_LIB"], HAKMEM_LIMIT="4K")
    del environment["HAKMEM_LIB"]
    done = subprocess.run(["cat", "/dev/null"], env=environment, capture_output=True, text=True, check=False)
    line = "hakmem: HAKMEM_LIMIT is too low to start with: the limit is 2097152 bytes\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", line), done
    status, output, error = run("held = [bytearray(100) for i in range(100000)]; print(1)", LIMIT="4K")
    assert status != 0 and output == "" and "emory" in error, (status, output, error)


CAPPED = """
held = []
try:
    for i in range(60000):
        held.append(bytearray(1000))
except MemoryError:
    count = len(held)
    held.clear()
    print("refused after", count, len([bytearray(1000) for i in range(count // 2)]))
else:
    print("served", len(held))
"""


def check_caps():
    """Strict mode keeps the cap of a size class and goes on; normal mode serves; strict mode without a cap is normal, and says so."""
    status, output, error = run(CAPPED, CAP="1M")
    assert (status, output, error) == (0, "served 60000", ""), (status, output, error)
    status, output, error = run(CAPPED, CAP="1M", TINY_SS_SHARED="2")
    assert status == 0 and output.startswith("refused after ") and error == "", (status, output, error)
    count, again = map(int, output.split()[2:])
    assert 500 <= count <= 1 << 10 and again == count // 2, output
    status, output, error = run(CAPPED, TINY_SS_SHARED="2", LIMIT="32M")
    assert status == 0 and output.startswith("refused after ") and error == "", (status, output, error)
    status, output, error = run(CAPPED, TINY_SS_SHARED="2")
    line = "hakmem: HAKMEM_TINY_SS_SHARED=2 needs HAKMEM_CAP or HAKMEM_LIMIT: a request is always served"
    assert (status, output, error) == (0, "served 60000", line), (status, output, error)
    status, output, error = run("print(1)", TINY_SS_SHARED="2", CAP="4K")
    line = "hakmem: HAKMEM_CAP is too low for one slab of each class: the cap is 262144 bytes"
    assert (status, output, error) == (0, "1", line), (status, output, error)


def check_out_of_reach():
    """What a hard limit, less its reserve of a 32nd, makes useless is said, in a line for each; what just is not, is not."""
    granted = 64 * MIB - 2 * MIB

    def check(names, **options):
        status, output, error = run("print(1)", LIMIT="64M", **options)
        rest = f"has no effect: HAKMEM_LIMIT grants {granted} bytes, the rest is its reserve"
        lines = "\n".join(f"hakmem: HAKMEM_{name} {rest}" for name in names)
        assert (status, output, error) == (0, "1", lines), (options, status, output, error)

    for beyond in "65M", "63M", str(granted):
        check(["SOFT_LIMIT"], SOFT_LIMIT=beyond)
        check(["CAP"], CAP=beyond, TINY_SS_SHARED="2")
        check([], CAP=beyond)
        check(["CAP", "SOFT_LIMIT"], CAP=beyond, SOFT_LIMIT=beyond, TINY_SS_SHARED="2")
    below = str(granted - 1)
    check([], SOFT_LIMIT=below, CAP=below, TINY_SS_SHARED="2")


def main():
    if not os.environ.get("HAKMEM_LIB"):
        print("set HAKMEM_LIB to the path of libhakmem.so")
        return 1
    check_hard()
    check_lines()
    check_share()
    check_low()
    check_caps()
    check_out_of_reach()
    print("memory limits: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
