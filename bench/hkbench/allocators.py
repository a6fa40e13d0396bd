"""Finds the allocators to compare, and proves that a preloaded one is really in force."""

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from .model import Allocator, Refused
from .process import BUILD, ROOT, WORK, clean_env

HAKMEM = ROOT / "build" / "release" / "libhakmem.so"
LIBRARY_DIRS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
                "/usr/local/lib"]
# What Debian packages: file and package.  The first file that is there counts.
PEERS = {"mimalloc": (["libmimalloc.so.3", "libmimalloc.so.2"], "libmimalloc2.0"),
         "jemalloc": (["libjemalloc.so.2"], "libjemalloc2"),
         "tcmalloc": (["libtcmalloc_minimal.so.4"], "libtcmalloc-minimal4"),
         "tbbmalloc": (["libtbbmalloc_proxy.so.2"], "libtbbmalloc2")}
FUNCTIONS = {"malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc", "memalign",
             "malloc_usable_size"}
TAKEN = {"glibc", "bump", "live", "best"}  # columns of their own: no preload, the limits, the best other
BINDING = re.compile(r"binding file (\S+) \[0\] to (\S+) \[0\]: normal symbol `(\w+)'")
PROBE_TIMEOUT = 30


class NotInForce(Refused):
    """An allocator of the comparison does not take malloc's place."""


def find(extra, only):
    """The columns: hakmem first, then the peers, then glibc; and a line about each that is missing."""
    paths, missing = {"hakmem": str(HAKMEM) if HAKMEM.exists() else ""}, []
    for name, (files, package) in PEERS.items():
        found = [Path(d, f) for f in files for d in LIBRARY_DIRS if Path(d, f).exists()]
        paths[name] = str(found[0]) if found else ""
        if not found:
            missing.append(f"{name}: not installed (package {package})")
    named = set()
    for item in extra:
        name, _, path = item.partition("=")
        if name in TAKEN:
            raise Refused(f"--with {item}: {name} means something else in the tables")
        if not re.fullmatch(r"[\w.+-]+", name):
            raise Refused(f"--with {item}: not NAME=PATH, or a NAME of more than letters, digits and _.+-")
        if name in named:
            raise Refused(f"--with {item}: there is one of that name already")
        if not Path(path).is_file():
            raise Refused(f"--with {item}: no such library")
        named.add(name)
        paths[name] = os.path.abspath(path)
    if not paths["hakmem"]:
        missing.append(f"hakmem: {HAKMEM} is not built (cmake --preset release && cmake --build --preset release)")
    columns = [Allocator(n, p) for n, p in paths.items() if p] + [Allocator("glibc", "")]
    if only:
        unknown = set(only) - {a.name for a in columns}
        if unknown:
            raise Refused(f"--allocators: no {', '.join(sorted(unknown))} here; there is {', '.join(a.name for a in columns)}")
        columns = [a for a in columns if a.name in only]
    return columns, missing


def freeze(columns):
    """The columns with copies of libraries that a build may replace while the comparison runs."""
    frozen = []
    for a in columns:
        if a.library and str(Path(a.library).parent) not in LIBRARY_DIRS:
            folder = WORK / f"library-{a.name}"
            try:
                folder.mkdir(exist_ok=True)
                a = Allocator(a.name, shutil.copy(a.library, folder / Path(a.library).name))
            except OSError as error:
                raise Refused(f"no copy of {a.library} in {folder}: {error.strerror}") from error
        frozen.append(a)
    return frozen


def bindings(library, argv, env=None):
    """Where the loader binds the heap functions of argv: {file: {functions}}; None when it hangs."""
    env = clean_env(env) | {"LD_DEBUG": "bindings", "LD_BIND_NOW": "1"}
    if library:
        env["LD_PRELOAD"] = library
    try:
        run = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True,
                             timeout=PROBE_TIMEOUT)
    except subprocess.TimeoutExpired:
        return None
    found = [b for b in BINDING.findall(run.stderr.decode(errors="replace")) if b[2] in FUNCTIONS]
    # A program at a fixed address lends its own stub as the address of a function; such a stub
    # leads on to where the program itself finds the function.
    stubs = {(user, symbol) for user, provider, symbol in found if provider != user}
    bound = {}
    for user, provider, symbol in found:
        if user != library and (provider, symbol) not in stubs:
            bound.setdefault(os.path.realpath(provider), set()).add(symbol)
    return bound


def why_not_in_force(library, argv, env=None):
    """"" when every heap function of argv comes from library, else what is wrong."""
    bound = bindings(library, argv, env)
    if bound is None:
        return "the probe hangs"
    wrong = {p: names for p, names in bound.items() if p != os.path.realpath(library)}
    if not wrong and bound:
        return ""
    return "; ".join(f"{Path(p).name} provides {' '.join(sorted(n))}" for p, n in wrong.items()) \
        or "no heap function bound at run time (static program, or it crashes at start)"


@functools.cache
def libc():
    """The path of the C library."""
    maps = subprocess.run(["cat", "/proc/self/maps"], env=clean_env(), capture_output=True,
                          text=True, check=True).stdout
    return next(line.split()[-1] for line in maps.splitlines() if line.endswith("/libc.so.6"))


def require_in_force(allocators):
    """Raises NotInForce unless each of them takes malloc's place in a small program."""
    for a in allocators:
        if a.library:
            wrong = why_not_in_force(a.library, [str(BUILD / "field"), "trivial"])
            if wrong:
                raise NotInForce(f"not in force: {a.name} ({a.library}): {wrong}")


class InForce:
    """Looks once per allocator how a program's heap functions are bound."""

    def __init__(self, probe, env):
        self.probe, self.env, self.known = probe, env, {}

    def library(self, allocator):
        """What to preload, and what is wrong with it.  A program linked to a peer by its packager
        (redis: jemalloc) gets the C library preloaded in the glibc column."""
        if allocator.name not in self.known:
            library = allocator.library
            wrong = why_not_in_force(library, self.probe, self.env) if library else ""
            if not library and set(bindings("", self.probe, self.env) or {}) != \
                    {os.path.realpath(libc())}:
                library, wrong = libc(), why_not_in_force(libc(), self.probe, self.env)
            self.known[allocator.name] = library, wrong
        return self.known[allocator.name]
