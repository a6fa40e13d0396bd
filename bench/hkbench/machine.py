"""What the figures were measured on: machine, kernel, versions."""

import hashlib
import os
import platform
import subprocess
import time
from pathlib import Path

from .allocators import PEERS, libc
from .process import BUILD, ROOT

PACKAGES = ["python3", "nodejs", "gcc", "clang", "sqlite3", "redis-server", "memcached", "nginx-core",
            "nginx", "postgresql-15", "git", "lua5.4", "perl", "z3", "ghostscript", "openjdk-17-jdk-headless",
            "xz-utils", "libc6"]


def first_line(argv):
    try:
        run = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip().splitlines()[0] if run.stdout.strip() else ""


def versions(packages):
    try:
        run = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages],
                             capture_output=True, text=True)
    except OSError:
        return {}
    return dict(line.split(" ", 1) for line in run.stdout.splitlines() if not line.endswith(" "))


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "CPU part")):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def read(path):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def fingerprint(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16] if path else ""


def describe(allocators):
    """All of it, as what JSON can hold.  `same` is what must agree before a run is gone on with."""
    memory = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines()
                  if line.startswith("MemTotal"))
    return {
        "date": time.strftime("%F %T %Z"),
        "cpu": cpu_model(), "cpus": os.cpu_count(), "memory_mib": int(memory) // 1024,
        "kernel": platform.release(), "libc": " ".join(platform.libc_ver()),
        "thp": read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "load": os.getloadavg()[0],
        "commit": first_line(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]),
        "packages": versions(PACKAGES + [package for _, package in PEERS.values()]),
        "allocators": {a.name: a.library or libc() for a in allocators},
        "same": {"libraries": {a.name: fingerprint(a.library) for a in allocators},
                 "benchmarks": {name: fingerprint(BUILD / name) for name in ("micro", "field", "launch")},
                 "kernel": platform.release()},
    }


def changed(past, head):
    """What keeps a comparison from going on, out of the heads of then and now."""
    def differ(name):
        return past.get(name) != head[name]

    then, now = past.get("same", {}), head["same"]
    parts = [name for name in now if then.get(name) != now[name]]
    return parts + ["rows"] * differ("rows") + ["options"] * (differ("extent") or differ("pinned"))
