"""Runs one command below bench/launch and reads what launch measured."""

import os
import signal
import subprocess
from pathlib import Path

from .model import Result

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
BUILD = ROOT / "build" / "bench"
WORK = BUILD / f"work-{os.getpid()}"
pinned = None  # CPUs that runs of one thread may use; None: no pinning


def clean_env(extra=None):
    """The environment without what would change an allocator or a program."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("LD_", "MALLOC", "PYTHON", "HAKMEM", "GLIBC", "MIMALLOC"))}
    return env | {"LC_ALL": "C", "TZ": "UTC"} | (extra or {})


def start(work, library, argv, env, cpus=None):
    """Starts argv below launch, in a process group of its own."""
    (work / "report").unlink(missing_ok=True)
    with open(work / "stdout", "wb") as out, open(work / "stderr", "wb") as err:
        return subprocess.Popen([BUILD / "launch", "report", library or "-", cpus or "-"] + argv,
                                cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=out,
                                stderr=err, start_new_session=True)


def stop(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def program_pid(work):
    """The pid of the program that launch has started."""
    return int((work / "report").read_text().split()[0])


def finish(work, process, timeout):
    """Waits for the command; what launch measured, as a Result."""
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        stop(process)
        return Result("timeout")
    except BaseException:  # the comparison is being stopped
        stop(process)
        raise
    lines = (work / "report").read_text().splitlines() if (work / "report").exists() else []
    if process.returncode != 0 or len(lines) != 2:
        return Result("no report", note=last_line(work / "stderr"))
    return read_report(work, dict(pair.split("=", 1) for pair in lines[1].split()))


def read_report(work, report):
    user, system = float(report["user_s"]), float(report["sys_s"])
    values = {"wall": float(report["wall_s"]), "user": user, "sys": system, "cpu": user + system,
              "rss": int(report["maxrss_kib"]), "minor": int(report["minor"]),
              "major": int(report["major"])}
    for key, name in (("last", "last_kib"), ("mean", "mean_kib")):
        if name in report:
            values[key] = int(report[name])
    series = [[int(x) for x in point.split(":")] for point in report.get("series", "").split(",")
              if point]
    code, number = int(report["exit"]), int(report["signal"])
    if number or code > 128:  # a shell passes on a signal as 128 + its number
        return Result(signal.Signals(number or code - 128).name, values, last_line(work / "stderr"),
                      series)
    if code:
        return Result(f"exit {code}", values, last_line(work / "stderr"), series)
    return Result("ok", values, series=series)


def last_line(path):
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1][:120] if lines else ""


def status_kib(pid, name):
    """A figure of /proc/PID/status, such as VmRSS, in KiB; None when the process is gone."""
    try:
        text = Path("/proc", str(pid), "status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in text.splitlines()
                 if line.startswith(name + ":")), None)
