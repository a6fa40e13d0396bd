"""Rows of bench/src/field: what users of allocators suffer from, beside speed."""

import re
import subprocess

from .model import FIELD, INFO, MEMORY, TIME, Measure, Result, Row
from .process import BUILD, WORK, clean_env, finish, start

FULL_TIMEOUT = 120
PAIR = re.compile(r'(\w+)=("[^"]*"|\S+)')


def memory(key, unit):
    return Measure(key, unit, MEMORY)


# Test, argument in the quick and in the other extents, measures, most rounds, seconds, about.
TABLE = [
    ("idle_return", "3", "13",
     [Measure("live_mib", "MiB live", INFO), memory("idle_mib", "MiB idle"), memory("trim_mib", "MiB trimmed"),
      memory("exit_mib", "MiB after exit")], 2, 15,
     "RSS after main freed what 4 workers made, all idle; then malloc_trim(0); then the workers' exit"),
    ("idle_threads", "500", "500",
     [memory("thread_kib", "KiB/thread"), memory("exit_mib", "MiB after exit")], 3, 1,
     "RSS of each of 500 idle threads that allocated and freed 64 sizes; RSS after their exit"),
    ("realloc_growth", "437", "437",
     [Measure("ms", "ms", TIME), memory("peak_mib", "MiB peak"), memory("after_mib", "MiB after")], 5, 1,
     "one block grown by steps of one half to 437 MiB"),
    ("fork_storm", "30", "300",
     [Measure("us_per_fork", "us/fork", TIME), memory("rss", "KiB peak"), Measure("hung", "hung", INFO),
      Measure("failed", "failed", INFO)], 3, 2, "fork with 3 busy threads, malloc in the child"),
    ("trivial", None, None, [memory("vmsize_mib", "MiB VmSize"), memory("rss_mib", "MiB RSS")], 3, 0.1,
     "a program that allocates one block"),
    ("limit", "64", "64", [Measure("result", "", INFO)], 1, 0.1, "the same under ulimit -v of 64 MiB"),
    ("startup", "200", "500", [Measure("median_us", "us/start", TIME)], 5, 0.6, "/bin/true"),
    ("double_free", None, None, [Measure("result", "", INFO)], 1, 0.1, "free(p); free(p)"),
    ("free_stack", None, None, [Measure("result", "", INFO)], 1, 0.1, "free of a stack address"),
]


def figures(text):
    """The name=value pairs of a line; what looks like a number is one."""
    found = {}
    for key, value in PAIR.findall(text):
        try:
            found[key] = float(value)
        except ValueError:
            found[key] = value.strip('"')
    return found


def field_row(test, argument, measures, rounds, seconds, about):
    argv = [str(BUILD / "field"), test] + ([argument] if argument else [])

    def run(allocator):
        result = finish(WORK, start(WORK, allocator.library, argv, clean_env()), FULL_TIMEOUT)
        if result.status == "ok":
            result.values |= figures((WORK / "stdout").read_text())
            if result.values.get("hung") or result.values.get("failed"):
                result.status = f"{result.values['hung']:.0f} hung, {result.values['failed']:.0f} failed"
        return result

    return Row(f"field_{test}", FIELD, measures, run, rounds, seconds, about)


def library_row():
    """Not preloaded: the library is looked at, and opened late, as a plugin host would."""

    def run(allocator):
        if not allocator.library:
            return Result("ok", {"tls_bytes": 0, "dlopen": "-"})
        line = subprocess.run([str(BUILD / "field"), "library", allocator.library], env=clean_env(),
                              capture_output=True, text=True, timeout=FULL_TIMEOUT)
        return Result("ok" if line.returncode == 0 else f"exit {line.returncode}",
                      figures(line.stdout))

    return Row("field_library", FIELD, [Measure("tls_bytes", "bytes TLS", MEMORY),
                                        Measure("dlopen", "", INFO)], run, 1, 0.1,
               "static TLS of the library; plain dlopen of it")


def rows(quick):
    return [field_row(test, short if quick else long, measures, rounds, seconds, about)
            for test, short, long, measures, rounds, seconds, about in TABLE] + [library_row()]
