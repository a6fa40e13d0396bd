"""Rows of real programs: what each one runs, and how its output is checked.

Each makes its input in a work directory and leaves an output whose hash must equal that of a first
run under the C library's allocator.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Callable

from . import inputs
from .allocators import InForce
from .model import MEMORY, PROGRAMS, TIME, Allocator, Measure, Result, Row
from .process import WORK, clean_env, finish, start

TIMEOUT = 120
MEASURES = [Measure("cpu", "s cpu", TIME, True), Measure("wall", "s", TIME),
            Measure("rss", "KiB", MEMORY, True), Measure("last", "KiB at end", MEMORY)]


@dataclass
class Program:
    """One row.  `argv` runs in the work directory; its stdout and the file `output` are hashed."""

    name: str
    tools: list  # must all be installed
    package: str  # what Debian has them in
    argv: list
    prepare: Callable  # prepare(work, scale) writes the input
    probe: list  # a short command of the process that allocates, to see its malloc bound
    output: str = ""
    family: bool = False  # the work is done by children of argv's process
    env: dict = field(default_factory=dict)


def missing(tools):
    return [t for t in tools if not shutil.which(t)]


def checked_row(name, group, measures, prepare, in_force, measure, seconds=3.0):
    """A row whose runs must give the output of a first run under the C library.
    measure(work, library) -> (Result, digest of the output)"""
    work = WORK / name
    expected = []

    def reference():
        work.mkdir(parents=True, exist_ok=True)
        try:
            prepare(work)
        except (OSError, subprocess.SubprocessError, LookupError) as error:
            return Result("no input", note=str(error)), None
        return measure(work, in_force.library(Allocator("glibc", ""))[0])

    def run(allocator):
        if not expected:
            result, digest = reference()
            if result.status != "ok":
                return Result("no reference", note=f"under glibc: {result.status} {result.note}")
            expected.append(digest)
        library, wrong = in_force.library(allocator)
        if wrong:
            return Result("not in force", note=wrong)
        result, digest = measure(work, library)
        if result.status == "ok" and digest != expected[0]:
            result.status = "wrong output"
        return result

    return Row(name, group, measures, run, seconds=seconds)


def program_row(program, scale):
    def measure(work, library):
        if program.output:
            (work / program.output).unlink(missing_ok=True)
        result = finish(work, start(work, library, program.argv, clean_env(program.env)), TIMEOUT)
        digest = hashlib.sha256((work / "stdout").read_bytes())
        if program.output and (work / program.output).exists():
            digest.update((work / program.output).read_bytes())
        return result, digest.hexdigest()

    return checked_row(program.name, PROGRAMS, MEASURES[:3] if program.family else MEASURES,
                       lambda work: program.prepare(work, scale),
                       InForce(program.probe, program.env), measure)


def script(file, text):
    """A prepare function that writes `text` to `file`."""
    return lambda work, scale: (work / file).write_text(inputs.sized(text, scale))


def output_of(argv):
    """What a short command prints; "" when it is not there."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


PYTHON = os.path.realpath(sys.executable)  # not a version manager's shell script
PYTHON_ENV = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def languages():
    job_py = script("job.py", inputs.PYTHON_SCRIPT)
    return [
        Program("python", [PYTHON], "python3", [PYTHON, "job.py"], job_py, [PYTHON, "-V"],
                env=PYTHON_ENV),
        Program("python_malloc", [PYTHON], "python3", [PYTHON, "job.py"], job_py, [PYTHON, "-V"],
                env=PYTHON_ENV | {"PYTHONMALLOC": "malloc"}),
        Program("node", ["node"], "nodejs", ["node", "job.js"], script("job.js", inputs.NODE_SCRIPT),
                ["node", "--version"]),
        Program("perl", ["perl"], "perl", ["perl", "job.pl"], script("job.pl", inputs.PERL_SCRIPT),
                ["perl", "-e", "1"], env={"PERL_HASH_SEED": "0"}),
        Program("lua", ["lua5.4"], "lua5.4", ["lua5.4", "job.lua"],
                script("job.lua", inputs.LUA_SCRIPT), ["lua5.4", "-v"]),
        Program("java", ["java", "javac"], "default-jdk-headless",
                ["java", "-XX:+UseSerialGC", "-Xmx256m", "-XX:-UsePerfData", "Job"], prepare_java,
                ["java", "-version"]),
    ]


def prepare_java(work, scale):
    (work / "Job.java").write_text(inputs.sized(inputs.JAVA_PROGRAM, scale))
    subprocess.run(["javac", "Job.java"], cwd=work, env=clean_env(), check=True, capture_output=True)


def tools():
    cc1 = output_of(["gcc", "-print-prog-name=cc1"])
    xz = shutil.which("xz") or "xz"
    return [
        Program("sqlite", ["sqlite3"], "sqlite3", ["sqlite3", "-batch", ":memory:", ".read job.sql"],
                script("job.sql", inputs.SQL_SCRIPT), ["sqlite3", "-version"]),
        Program("gcc", ["gcc"], "gcc", ["gcc", "-O2", "-c", "big.c", "-o", "big.o"],
                inputs.write_c_source, [cc1 or "cc1", "--version"], output="big.o",
                family=True),
        Program("clang", ["clang"], "clang", ["clang", "-O2", "-c", "big.c", "-o", "big.o"],
                lambda work, scale: inputs.write_c_source(work, 1.7 * scale), ["clang", "--version"], output="big.o"),
        Program("git", ["git"], "git", ["sh", "-c", inputs.GIT_SCRIPT], inputs.write_history,
                ["git", "--version"], family=True, env=inputs.GIT_ENV),
        Program("tar_xz", ["xz", "tar"], "xz-utils", ["sh", "-c", inputs.TAR_SCRIPT],
                lambda work, scale: inputs.write_tree(work, 2 * scale), [xz, "--version"], output="tree.xz", family=True),
        Program("ghostscript", ["gs"], "ghostscript",
                ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=ppmraw", "-r72",
                 "-sOutputFile=pages.ppm", "job.ps"],
                script("job.ps", inputs.PS_DOCUMENT), ["gs", "--version"], output="pages.ppm"),
        Program("z3", ["z3"], "z3", ["z3", "job.smt2"], inputs.write_smt_problem,
                ["z3", "--version"]),
    ]


def rows(wanted, scale=1):
    """The rows whose name wanted(name) accepts, with inputs of this size, and a line about each that cannot run."""
    made, skipped = [], []
    for program in languages() + tools():
        if not wanted(program.name):
            continue
        absent = missing(program.tools)
        if absent:
            skipped.append(f"{program.name}: {' '.join(absent)} not installed (package {program.package})")
        else:
            made.append(program_row(program, scale))
    return made, skipped
