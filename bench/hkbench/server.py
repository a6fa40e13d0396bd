"""How a server is started, driven and stopped, and what is measured of it.

Clients run on the C library's allocator, on the same machine.  Time is microseconds a request takes
of the client's time, many in flight; memory is the server's peak, and what it keeps after its data
were dropped and a second went by.
"""

import contextlib
import os
import subprocess
import time

from .model import MEMORY, TIME, Measure
from .process import clean_env, finish, program_pid, start, status_kib, stop

US = Measure("us", "us/request", TIME, True)
CPU = Measure("cpu", "s cpu", TIME)
RSS = Measure("rss", "KiB", MEMORY, True)
AFTER = Measure("after", "KiB after", MEMORY)
QUIET_S = 1.0


class Failed(OSError):
    """The server did not answer as it should."""


def command(work, argv, stdin=os.devnull, timeout=60):
    """Runs a client to its end; its output."""
    with open(stdin, "rb") as file:
        try:
            run = subprocess.run(argv, cwd=work, env=clean_env(), stdin=file, text=True,
                                 capture_output=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"{argv[0]} hangs") from None
    if run.returncode != 0:
        raise Failed(f"{argv[0]}: {(run.stderr.strip() or 'failed').splitlines()[-1][:90]}")
    return run.stdout


def wait_for(ready, process, what):
    for _ in range(200):
        with contextlib.suppress(OSError):
            if ready():
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise Failed(f"{what} does not answer")


def measure_server(argv, drive, env=None):
    """measure(work, library) for checked_row.  drive(work, process, values) -> digest; it stops the
    server at its end."""

    def measure(work, library):
        (work / "server.sock").unlink(missing_ok=True)
        process = start(work, library, argv, clean_env(env))
        values, digest, note = {}, None, ""
        try:
            try:
                digest = drive(work, process, values)
            except OSError as failure:
                note = str(failure)
            result = finish(work, process, 10)  # without a digest: it has crashed, or it hangs
        finally:
            if process.poll() is None:
                stop(process)
        result.values.update(values)
        if result.status == "ok" and not digest:
            result.status, result.note = "no answer", note
        return result, digest

    return measure


def peak_of(work):
    return status_kib(program_pid(work), "VmHWM")


def after_quiet(work):
    time.sleep(QUIET_S)
    return status_kib(program_pid(work), "VmRSS")


def ask_to_end(work):
    """Asks the server to end, as an administrator does."""
    os.kill(program_pid(work), 15)
