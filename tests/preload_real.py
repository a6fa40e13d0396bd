#!/usr/bin/env python3
"""Real programs under the preloaded library: each does the same work on the system's allocator and on ours, and what it
prints, how it exits and the files it makes must be equal.

    preload_real.py [name...]      all programs by default; HAKMEM_LIB is the shared library

A program that is not installed is a failure, with its name.  scripts/test-programs runs these with hardening too, and more.
"""

import hashlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

LIMIT_S = 240
SYSTEM_PYTHON = "/usr/bin/python3"  # the one that the package of tests is for
NOISE = ("hakmem:", "cannot be preloaded", "AddressSanitizer", "corrupt")
checks = {}


class Wrong(Exception):
    """Something differs from what it must be; the text says what."""


def check(function):
    checks[function.__name__.removeprefix("check_").replace("_", "-")] = function
    return function


def find(program):
    path = shutil.which(program)
    if path is None:
        raise Wrong(f"{program} is not installed")
    return path


def python_path():
    """The interpreter itself, not a wrapper script before it."""
    done = subprocess.run([find("python3"), "-c", "import sys; print(sys.executable)"], capture_output=True, text=True,
                          timeout=LIMIT_S, check=True)
    return done.stdout.strip()


class Side:
    """One of the two runs: a folder of its own, of the same name for both, and the environment; options are HAKMEM's."""

    def __init__(self, folder, library, options):
        self.folder = folder
        self.library = library
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C", "TZ": "UTC", "TMPDIR": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
            "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",
            "SOURCE_DATE_EPOCH": "1577836800", "PYTHONHASHSEED": "1", "PYTHONDONTWRITEBYTECODE": "1",
        }
        if library:
            self.environment |= {"LD_PRELOAD": library, **options}
        self.seen = []

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, *command, stdin="", record=True, extra=None):
        """Runs one command; its status and stdout are recorded for the comparison, and it must succeed."""
        done = subprocess.run(command, cwd=self.folder, env={**self.environment, **(extra or {})}, input=stdin.encode(),
                              capture_output=True, timeout=LIMIT_S, check=False)
        errors = done.stderr.decode(errors="replace")
        if done.returncode != 0:
            raise Wrong(f"{' '.join(map(str, command))[:200]}: status {done.returncode} "
                        f"{'with' if self.library else 'without'} the library: {errors[-2000:]}")
        if self.library and any(word in errors for word in NOISE):
            raise Wrong(f"{command[0]} wrote: {errors[-2000:]}")
        if record:
            self.seen.append((command[0], done.stdout))
        return done.stdout

    def keep(self, *names):
        """Records what these files contain."""
        for name in names:
            self.seen.append((name, hashlib.sha256((self.folder / name).read_bytes()).hexdigest()))


def compare(function, library, root, options=None):
    sides = []
    for preload in ("", library):
        folder = root / "work"
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        side = Side(folder, preload, options or {})
        function(side)
        sides.append(side)
    plain, ours = (side.seen for side in sides)
    if len(plain) != len(ours):
        raise Wrong(f"{len(plain)} results without the library, {len(ours)} with it")
    for (name, expected), (_, got) in zip(plain, ours):
        if expected != got:
            raise Wrong(f"{name}: expected {expected[-600:]!r}, got {got[-600:]!r}")


# ---- the programs ----

PYTHON_WORK = r"""
import json, re, hashlib, random, collections, threading, zlib, gc
random.seed(4)
data = [{"id": i, "name": "n%d" % random.randrange(10**6), "tags": [str(random.random()) for _ in range(i % 7)]}
        for i in range(4000)]
text = json.dumps(data)
assert json.loads(text) == data
print(hashlib.sha256(text.encode()).hexdigest())
words = re.findall(r"[a-z]+\d+|\d\.\d+", text)
print(len(words), len(re.sub(r"(\d)(\d)", r"\2\1", text)), collections.Counter(len(w) for w in words).most_common(5))
def body(out, n):
    held = {}
    for i in range(20000):
        held[(i * n) % 977] = bytes(i % 3000)
    out[n] = sum(map(len, held.values()))
out = {}
threads = [threading.Thread(target=body, args=(out, n)) for n in range(1, 7)]
for t in threads: t.start()
for t in threads: t.join()
print(sorted(out.items()))
print(zlib.crc32(zlib.compress(text.encode() * 20)))
big = 3 ** 200000
print(hashlib.sha256(big.to_bytes(50000, "little")).hexdigest())
gc.collect()
"""


@check
def check_python3(side):
    path = python_path()
    side.run(path, "-c", PYTHON_WORK)
    side.run(path, "-c", PYTHON_WORK, extra={"PYTHONMALLOC": "malloc"})


@check
def check_python3_own_tests(side):
    path = find(SYSTEM_PYTHON)
    if subprocess.run([path, "-c", "import test.test_list"], capture_output=True, check=False).returncode != 0:
        raise Wrong(f"the tests of {path} are not installed; Debian has them in libpython3.N-testsuite")
    side.run(path, "-m", "test", "test_list", "test_dict", "test_json", record=False, extra={"PYTHONMALLOC": "malloc"})


@check
def check_sqlite3(side):
    script = """
        create table t(a integer primary key, b text, c real);
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
            insert into t select i, printf('row %d %s', i * 7919 % 60013, hex(i * i)), i / 3.0 from n;
        create index t_b on t(b);
        select count(*), sum(a), max(b), round(sum(c), 3) from t;
        select substr(b, 1, 7) as k, count(*) from t group by k order by 2 desc, 1 limit 20;
        update t set b = b || b where a % 5 = 0;
        delete from t where a % 3 = 0;
        select group_concat(b) from (select b from t order by b limit 500);
        pragma integrity_check;
        vacuum;
        select count(*), total(length(b)) from t;
    """
    side.run(find("sqlite3"), "test.db", stdin=script)
    side.run(find("sqlite3"), "test.db", "select a, b from t order by c desc limit 100")


@check
def check_git(side):
    git = find("git")
    side.run(git, "init", "-q", "-b", "main", ".")
    for step in range(12):
        for number in range(60):
            lines = "".join(f"{step} {number} {(line * (number + step)) % 977}\n" for line in range(40 + step * number))
            side.write(f"dir{number % 7}/file{number}.txt", lines)
        side.run(git, "add", "-A")
        side.run(git, "commit", "-q", "-m", f"step {step}")
    side.run(git, "log", "--stat", "--format=%H %s")
    side.run(git, "diff", "HEAD~5", "HEAD")
    side.run(git, "gc", "-q", "--prune=now")
    side.run(git, "fsck", "--full", "--strict")
    side.run(git, "rev-list", "--objects", "--all")
    side.run(git, "grep", "-c", "1 2")
    side.run(git, "clone", "-q", ".", "copy")
    side.run(git, "-C", "copy", "status", "--short")


C_SOURCE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct node { struct node *left, *right; int key; };
static struct node *insert(struct node *n, int key)
{
    if (!n) { n = calloc(1, sizeof *n); if (n) n->key = key; return n; }
    if (key < n->key) n->left = insert(n->left, key); else n->right = insert(n->right, key);
    return n;
}
static long sum(const struct node *n) { return n ? n->key + sum(n->left) + sum(n->right) : 0; }
"""


@check
def check_gcc(side):
    functions = "".join(
        f"int f{i}(int x) {{ int a[{i % 9 + 2}]; for (int i = 0; i < {i % 9 + 2}; i++) a[i] = x * i + {i};"
        f" int s = 0; for (int i = 0; i < {i % 9 + 2}; i++) s += a[i] % {i + 3}; return s; }}\n" for i in range(400))
    calls = " + ".join(f"f{i}({i})" for i in range(400))
    side.write("program.c", C_SOURCE + functions +
               "int main(void) { struct node *t = NULL; for (int i = 0; i < 5000; i++) t = insert(t, i * 7919 % 5003);"
               f' printf("%ld %d\\n", sum(t), {calls}); return 0; }}\n')
    side.run(find("gcc"), "-O2", "-g", "-c", "program.c", "-o", "program.o")
    side.keep("program.o")
    side.run(find("gcc"), "program.o", "-o", "program")
    side.run("./program")
    side.write("program.cpp", "#include <map>\n#include <regex>\n#include <iostream>\n"
               "int main() { std::map<std::string, int> m; std::regex r(\"[a-z]+([0-9]+)\");"
               " for (int i = 0; i < 2000; i++) { std::string s = \"k\" + std::to_string(i * 31 % 501);"
               " if (std::regex_match(s, r)) m[s] += i; } int s = 0; for (auto &e : m) s += e.second;"
               " std::cout << m.size() << ' ' << s << '\\n'; }\n")
    side.run(find("g++"), "-O2", "program.cpp", "-o", "program_cpp")
    side.run("./program_cpp")


@check
def check_clang(side):
    side.write("program.cpp", "#include <map>\n#include <regex>\n#include <iostream>\n"
               + "".join(f"template <int N> struct s{i} {{ std::map<int, std::string> m; int f(int x)"
                         f" {{ m[x % (N + 1)] += std::to_string(x); return int(m[{i} % (N + 1)].size()); }} }};\n"
                         for i in range(40))
               + "int main() { int n = 0;" + "".join(f" n += s{i}<{i % 7}>().f({i * 31});" for i in range(40))
               + " std::cout << n << '\\n'; }\n")
    clang = find("clang++")
    side.run(clang, "-O2", "-S", "program.cpp", "-o", "program.s")
    side.keep("program.s")
    side.run(clang, "-O1", "program.cpp", "-o", "program_cpp")
    side.run("./program_cpp")


@check
def check_perl(side):
    script = r"""
        use strict; my %h; my $x = 12345;
        for my $i (1 .. 120000) {
            $x = ($x * 1103515245 + 12345) % 2147483648;
            $h{"k" . ($x % 5000)} .= chr(97 + $x % 26);
            delete $h{"k" . ($i % 5000)} if $i % 11 == 0;
        }
        my $t = join ",", map { "$_=" . length $h{$_} } sort keys %h;
        print length($t), " ", unpack("%32C*", $t), "\n";
        my $s = "abc " x 50000; my $n = () = $s =~ /b(c)/g; $s =~ s/(\w)(\w)/$2$1/g; print "$n ", unpack("%32C*", $s), "\n";
        my @a = sort { $a <=> $b } map { $_ * 7919 % 100003 } 1 .. 100000; print "@a[0..9]\n";
    """
    side.run(find("perl"), "-e", script, extra={"PERL_HASH_SEED": "0"})


@check
def check_node(side):
    script = r"""
        const crypto = require('crypto'), zlib = require('zlib');
        let m = new Map(), x = 1;
        for (let i = 0; i < 200000; i++) { x = (x * 48271) % 2147483647; m.set(x % 9000, 's' + x); }
        let text = JSON.stringify([...m].sort((a, b) => a[0] - b[0]));
        console.log(m.size, crypto.createHash('sha256').update(text).digest('hex'));
        let buffers = []; for (let i = 0; i < 3000; i++) buffers.push(Buffer.alloc(i % 5000, i % 256));
        console.log(Buffer.concat(buffers).length, zlib.inflateSync(zlib.deflateSync(text)).length);
        const { Worker, isMainThread } = require('worker_threads');
        let sum = 0, left = 3;
        for (let k = 0; k < 3; k++) {
            let w = new Worker('const {parentPort} = require("worker_threads"); let s = 0, a = [];' +
                'for (let i = 0; i < 50000; i++) { a.push({i}); s += i; } parentPort.postMessage(s + a.length);', {eval: true});
            w.on('message', v => { sum += v; });
            w.on('exit', () => { if (--left === 0) console.log(sum); });
        }
    """
    side.run(find("node"), "-e", script)


@check
def check_lua(side):
    script = r"""
        local t, x = {}, 7
        for i = 1, 300000 do
            x = (x * 48271) % 2147483647
            t[x % 20011] = (i % 3 == 0) and {i, tostring(x)} or string.rep("ab", i % 50)
        end
        local n, s = 0, 0
        for k = 0, 20010 do
            local v = t[k]
            if v then n = n + 1; s = s + (type(v) == "table" and v[1] or #v) end
        end
        print(n, s)
        local parts = {}
        for i = 1, 50000 do parts[#parts + 1] = i % 97 end
        print(#table.concat(parts, ";"), select(2, table.concat(parts, ";"):gsub("1", "2")))
        collectgarbage()
        print(collectgarbage("count") > 0)
    """
    side.run(find("lua5.4"), "-", stdin=script)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@check
def check_redis(side):
    server_path, client, benchmark = find("redis-server"), find("redis-cli"), find("redis-benchmark")
    port = free_port()
    with open(side.folder / "server.log", "wb") as log:
        server = subprocess.Popen([server_path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                                   "--daemonize", "no", "--dir", str(side.folder), "--enable-debug-command", "local"],
                                  cwd=side.folder, env=side.environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + LIMIT_S
        while True:
            if server.poll() is not None or time.monotonic() > deadline:
                raise Wrong(f"redis-server did not start: {(side.folder / 'server.log').read_text()[-1500:]}")
            try:
                socket.create_connection(("127.0.0.1", int(port)), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        if side.library and side.library not in pathlib.Path(f"/proc/{server.pid}/maps").read_text():
            raise Wrong("redis-server runs without the library")

        def cli(*words, record=True, stdin=""):
            return side.run(client, "-p", port, *words, record=record, stdin=stdin)

        cli(stdin="".join(f"SET key:{i} {'v' * (i * 7 % 900)}\nRPUSH list:{i % 50} {i}\nZADD z {i * 31 % 997} m{i}\n"
                          f"HSET hash:{i % 20} f{i} {i * i}\n" for i in range(3000)), record=False)
        cli("DBSIZE")
        cli("DEBUG", "DIGEST")
        cli("LRANGE", "list:7", "0", "-1")
        cli("ZRANGE", "z", "0", "50", "WITHSCORES")
        side.run(benchmark, "-p", port, "-n", "4000", "-c", "20", "-d", "300", "-r", "2000", "-q", "-P", "8",
                 "-t", "set,get,incr,lpush,lpop,sadd,hset,zadd,lrange_100,mset", record=False)
        cli("FLUSHALL")
        cli("SET", "after", "all")
        cli("SAVE")
        cli("DEBUG", "RELOAD")
        cli("GET", "after")
        subprocess.run([client, "-p", port, "SHUTDOWN", "NOSAVE"], env=side.environment, capture_output=True, timeout=LIMIT_S,
                       check=False)
        status = server.wait(timeout=LIMIT_S)
        if status != 0:
            raise Wrong(f"redis-server ended with status {status}: {(side.folder / 'server.log').read_text()[-1500:]}")
        log_text = (side.folder / "server.log").read_text(errors="replace")
        if side.library and any(word in log_text for word in NOISE[:3]):
            raise Wrong(f"redis-server wrote: {log_text[-1500:]}")
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGKILL)
            server.wait()


@check
def check_tar_xz(side):
    for number in range(300):
        side.write(f"tree/d{number % 11}/f{number}", "".join(f"{i * number % 4093:x} " for i in range(number * 9)))
    side.run(find("tar"), "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-cf", "tree.tar", "tree")
    side.keep("tree.tar")
    side.run(find("xz"), "-k", "-T2", "--block-size=200KiB", "-6", "tree.tar")
    side.keep("tree.tar.xz")
    side.run(find("xz"), "-t", "tree.tar.xz")
    side.run(find("tar"), "-tJf", "tree.tar.xz")
    (side.folder / "out").mkdir()
    side.run(find("tar"), "-xJf", "tree.tar.xz", "-C", "out")
    side.keep("out/tree/d3/f300" if (side.folder / "out/tree/d3/f300").exists() else "out/tree/d2/f299")


@check
def check_gs(side):
    pages = "".join(
        f"/Helvetica findfont {8 + page} scalefont setfont 50 700 moveto (page {page}) show\n"
        + "".join(f"{i * 3 % 500 + 20} {i * 7 % 700 + 20} moveto {i % 90} {i % 70} rlineto {i % 10 / 10} setgray stroke\n"
                  for i in range(600)) + "showpage\n" for page in range(1, 6))
    side.write("drawing.ps", "%!PS\n" + pages)
    side.run(find("gs"), "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pgmraw", "-r60", "-sOutputFile=page%d.pgm",
             "drawing.ps")
    side.keep(*(f"page{page}.pgm" for page in range(1, 6)))
    side.run(find("gs"), "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=txtwrite", "-sOutputFile=-", "drawing.ps")


def main():
    library = os.environ.get("HAKMEM_LIB")
    if not library or not os.path.exists(library):
        print("set HAKMEM_LIB to the path of libhakmem.so")
        return 1
    library = os.path.abspath(library)
    probe = subprocess.run(["/bin/sh", "-c", "cat /proc/self/maps"], env={"LD_PRELOAD": library, "PATH": os.environ["PATH"]},
                           capture_output=True, text=True, check=False)
    if os.path.realpath(library) not in probe.stdout:
        print(f"{library} is not loaded: {probe.stderr}")
        return 1
    wanted = sys.argv[1:] or list(checks)
    failures = []
    with tempfile.TemporaryDirectory(prefix="hakmem-real-") as root:
        for name in wanted:
            start = time.monotonic()
            try:
                compare(checks[name], library, pathlib.Path(root))
                print(f"{name}: ok ({time.monotonic() - start:.1f} s)", flush=True)
            except (Wrong, subprocess.SubprocessError) as error:
                failures.append(name)
                print(f"{name}: FAILED: {error}", flush=True)
    print(f"preload_real: {len(wanted)} programs, failed: {' '.join(failures) or 'none'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
