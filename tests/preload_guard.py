#!/usr/bin/env python3
"""Guarded sampling: reports with both stacks, faults that are not ours, and what sampling must not change."""

import os
import pathlib
import re
import resource
import signal
import subprocess
import sys

PROGRAMS = pathlib.Path(os.environ["HK_TEST_BUILD"]) / "tests"
FAILURES = []


def run(command, every=1, **settings):
    environment = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": os.environ["HAKMEM_LIB"], "HAKMEM_GUARD_SAMPLE": str(every), **settings}
    return subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", timeout=120, check=False)


def expect(holds, what):
    if not holds:
        FAILURES.append(what)


def reported(program, number, headline, *stacks):
    """The program ends by the signal, and its report has the headline and a stack, not empty, under each title."""
    done = run([PROGRAMS / program])
    expect(done.returncode == -number, f"{program}: status {done.returncode}, stderr {done.stderr[:300]!r}")
    lines = done.stderr.splitlines()
    expect(lines and re.fullmatch(headline, lines[0]), f"{program}: {lines[:1]} does not match {headline!r}")
    for title in stacks:
        at = [i for i, line in enumerate(lines) if re.fullmatch(rf"hakmem: {title} by thread \d+:", line)]
        expect(at and at[0] + 1 < len(lines) and program in "".join(lines[at[0] + 1:at[0] + 12]), f"{program}: no stack {title!r}")


def misuse():
    both = ("done", "allocated", "freed")
    where = r"\d+ bytes (into|behind|before) the block of {} bytes at 0x[0-9a-f]+ \(thread \d+\)"
    reported("hostile_write_after_free_small", signal.SIGSEGV,
             r"hakmem: use after free of 0x[0-9a-f]+: a write " + where.format(128), *both)
    reported("hostile_read_after_free_medium", signal.SIGSEGV,
             r"hakmem: use after free of 0x[0-9a-f]+: a read " + where.format(3000), *both)
    reported("hostile_double_free_small", signal.SIGABRT,
             r"hakmem: double free of 0x[0-9a-f]+: the block is free already, " + where.format(40), *both)
    reported("hostile_double_free_other_thread", signal.SIGABRT,
             r"hakmem: double free of 0x[0-9a-f]+: the block is free already, " + where.format(40), "allocated", "freed")
    reported("hostile_free_inside_small", signal.SIGABRT,
             r"hakmem: invalid free of 0x[0-9a-f]+: an interior pointer, " + where.format(64), "done", "allocated")
    reported("hostile_overflow_medium_1", signal.SIGABRT,
             r"hakmem: overflow of 0x[0-9a-f]+: written to behind its end, found by its free, " + where.format(3000), "allocated")


def strangers():
    """Faults that are none of ours end the process, or reach the program's handler, as always."""
    null = run([sys.executable, "-c", "import ctypes; ctypes.string_at(0)"])
    expect(null.returncode == -signal.SIGSEGV and "hakmem" not in null.stderr, f"a read of NULL: {null}")
    sent = run([sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"])
    expect(sent.returncode == -signal.SIGSEGV, f"a SIGSEGV that was sent: {sent}")
    ignored = run([sys.executable, "-c", "import os, signal; signal.signal(11, signal.SIG_IGN); os.kill(os.getpid(), 11); print(1)"])
    expect(ignored.returncode == 0 and ignored.stdout == "1\n", f"a SIGSEGV that is ignored: {ignored}")
    handled = run([sys.executable, "-X", "faulthandler", "-c", "import ctypes; ctypes.string_at(0)"])
    expect("Fatal Python error: Segmentation fault" in handled.stderr, f"the program's own handler: {handled.stderr[:200]!r}")


def programs_run():
    text = "import json; d = {str(i): [i] * 5 for i in range(20000)}; assert json.loads(json.dumps(d)) == d; print('ok')"
    for every in (1, 7, 1000):
        for level in ("0", "2"):
            done = run([sys.executable, "-c", text], every, HAKMEM_HARDEN=level)
            expect(done.returncode == 0 and done.stdout == "ok\n", f"python, sampling {every}, level {level}: {done}")


def unwinding():
    """Nothing waits in the unwinder for itself."""
    for level in ("0", "1"):
        done = run([PROGRAMS / "libc_unwind"], HAKMEM_HARDEN=level)
        expect(done.returncode == 0 and done.stderr == "", f"libc_unwind, level {level}: {done}")


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    misuse()
    strangers()
    programs_run()
    unwinding()
    print("\n".join(FAILURES + [f"preload_guard: {len(FAILURES)} failures"]))
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())
