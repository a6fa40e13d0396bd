"""Rows of servers: each is started, checked, driven by a client, and stopped.

Clients run on the C library's allocator, on the same machine.  Time is microseconds a request takes
of the client's time, many in flight; memory is the server's peak, and what it keeps after its data
were dropped and two seconds went by.
"""

import contextlib
import csv
import hashlib
import os
import random
import shutil
import subprocess
import time

from .allocators import InForce
from .client import Pipelined
from .model import MEMORY, SERVERS, TIME, Measure
from .process import clean_env, finish, program_pid, start, status_kib, stop
from .programs import checked_row, missing

US = Measure("us", "us/request", TIME, True)
CPU = Measure("cpu", "s cpu", TIME)
RSS = Measure("rss", "KiB", MEMORY, True)
AFTER = Measure("after", "KiB after", MEMORY)
QUIET_S = 1.0


class Failed(Exception):
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
        with contextlib.suppress(OSError, Failed):
            if ready():
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise Failed(f"{what} does not answer")


def server_measure(argv, drive, env=None):
    """measure(work, library) for checked_row.  drive(work, process, values) -> digest; it stops the
    server at its end."""

    def measure(work, library):
        (work / "server.sock").unlink(missing_ok=True)
        process = start(work, library, argv, clean_env(env))
        values, digest, note = {}, None, ""
        try:
            digest = drive(work, process, values)
        except Failed as failure:
            note = str(failure)
        try:
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


# ---- redis ----

REDIS_TYPES = "set,get,incr,lpush,lpop,sadd,spop,hset,zadd,zpopmin,lrange_100,mset"
REDIS_CLI = ["redis-cli", "-s", "server.sock"]
REDIS_BENCHMARK = ["redis-benchmark", "-s", "server.sock", "-r", "100000", "-d", "200", "--csv"]


def write_redis_load(work):
    """Commands of a fixed data set; DEBUG DIGEST of it is the checked output."""
    rng = random.Random(4)
    with open(work / "load", "w", encoding="ascii") as out:
        for _ in range(100000):
            key, text = rng.randrange(40000), "v" * rng.randrange(8, 400)
            out.write(rng.choice([f"SET s{key} {text}\r\n", f"HSET h{key % 2000} f{key} {text}\r\n",
                                  f"RPUSH l{key % 500} {text}\r\n", f"DEL s{key}\r\n",
                                  f"ZADD z{key % 300} {key} m{key}\r\n",
                                  f"APPEND s{key} {text}\r\n"]))


def redis_lines(work, *options):
    return list(csv.DictReader(command(work, REDIS_BENCHMARK + list(options)).splitlines()))


def drive_redis(work, process, values):
    wait_for(lambda: command(work, REDIS_CLI + ["PING"], timeout=5) == "PONG\n", process, "redis")
    command(work, REDIS_CLI + ["--pipe"], work / "load")
    digest = command(work, REDIS_CLI + ["DEBUG", "DIGEST"])
    if len(digest.strip()) != 40:
        raise Failed("no digest")
    piped = redis_lines(work, "-n", "60000", "-P", "16", "-t", REDIS_TYPES)
    values["us"] = sum(1e6 / float(line["rps"]) for line in piped) / len(piped)
    single = redis_lines(work, "-n", "20000", "-c", "20", "-t", "set,get,hset")
    for name in ("p50", "p99"):
        values[name] = sum(1e3 * float(line[f"{name}_latency_ms"]) for line in single) / len(single)
    values["rss"] = peak_of(work)
    command(work, REDIS_CLI + ["FLUSHALL", "SYNC"])
    values["after"] = after_quiet(work)
    command(work, REDIS_CLI + ["SHUTDOWN", "NOSAVE"])
    return digest


def redis_row():
    argv = ["redis-server", "--port", "0", "--unixsocket", "server.sock", "--save", "", "--appendonly",
            "no", "--enable-debug-command", "yes", "--loglevel", "warning", "--activedefrag", "no"]
    measures = [US, Measure("p50", "us p50", TIME), Measure("p99", "us p99", TIME), CPU, RSS, AFTER]
    return checked_row("redis", SERVERS, measures, write_redis_load,
                       InForce(["redis-server", "--version"], {}), server_measure(argv, drive_redis), 5)


# ---- memcached ----

def memcached_requests():
    """Batches of commands and the exact answers to them."""
    rng, batches = random.Random(6), []
    for _ in range(60):
        ask, answer, known = [], [], {}
        for _ in range(2000):
            key = b"key%d" % rng.randrange(30000)
            if key in known and rng.random() < 0.6:
                ask.append(b"get %s\r\n" % key)
                answer.append(b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key, len(known[key]), known[key]))
            else:
                value = rng.choice(b"abcdef").to_bytes(1, "little") * rng.randrange(10, 3000)
                known[key] = value
                ask.append(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
                answer.append(b"STORED\r\n")
        batches.append((b"".join(ask), b"".join(answer), 2000))
    return batches


def drive_memcached(work, process, values):
    batches = memcached_requests()
    client = Pipelined(work / "server.sock")
    wait_for(client.connect, process, "memcached")
    begin = time.monotonic()
    rounds = 6
    for ask, answer, _ in batches * rounds:
        if client.exchange(ask, len(answer)) != answer:
            raise Failed("memcached answers something else")
    values["us"] = (time.monotonic() - begin) * 1e6 / sum(n for _, _, n in batches) / rounds
    values["rss"] = peak_of(work)
    client.exchange(b"flush_all\r\n", len(b"OK\r\n"))
    client.close()
    values["after"] = after_quiet(work)
    process_end(work)
    return "all answers"


def process_end(work):
    """Asks the server to end, as an administrator does."""
    os.kill(program_pid(work), 15)


def memcached_row():
    argv = ["memcached", "-s", "server.sock", "-m", "256", "-t", "2", "-u",
            "root" if os.geteuid() == 0 else "nobody"]
    return checked_row("memcached", SERVERS, [US, CPU, RSS, AFTER], lambda work: None,
                       InForce(["memcached", "-V"], {}), server_measure(argv, drive_memcached))


# ---- nginx ----

NGINX_CONFIG = """
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr crit; %s
events { worker_connections 256; }
http {
    access_log off; keepalive_requests 1000000; gzip on; gzip_types text/plain; ssi on; ssi_types text/plain;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    default_type text/plain;
    server { listen unix:server.sock; location / { root site; autoindex on; } }
}
"""


def prepare_nginx(work):
    rng = random.Random(8)
    site = work / "site"
    site.mkdir(exist_ok=True)
    for i in range(40):
        text = " ".join(f"word{rng.randrange(5000)}" for _ in range(50 * (i % 8 + 1)))
        (site / f"page{i}.txt").write_text(f'{text}\n<!--#echo var="uri" -->\n')
        os.utime(site / f"page{i}.txt", (10**9, 10**9))
    (work / "nginx.conf").write_text(NGINX_CONFIG % ("user root;" if os.geteuid() == 0 else ""))


def nginx_page(client, number, gzip):
    extra = b"Accept-Encoding: gzip\r\n" if gzip else b""
    return client.http(b"GET /page%d.txt HTTP/1.1\r\nHost: bench\r\n%s\r\n" % (number, extra))


def drive_nginx(work, process, values):
    clients = [Pipelined(work / "server.sock") for _ in range(8)]
    for client in clients:
        wait_for(client.connect, process, "nginx")
    digest = hashlib.sha256(b"".join(nginx_page(clients[0], i, i % 2) for i in range(40)))
    ask = b"".join(b"GET /page%d.txt HTTP/1.1\r\nHost: bench\r\n%s\r\n"
                   % (i % 40, b"Accept-Encoding: gzip\r\n" if i % 3 == 0 else b"") for i in range(120))
    begin, rounds = time.monotonic(), 50
    for _ in range(rounds):
        for client in clients:
            client.send(ask)
        for client in clients:
            digest.update(str(client.read_http_answers(120)).encode())
    values["us"] = (time.monotonic() - begin) * 1e6 / (rounds * len(clients) * 120)
    values["rss"] = peak_of(work)
    for client in clients:
        client.close()
    values["after"] = after_quiet(work)
    process_end(work)
    return digest.hexdigest()


def nginx_row():
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    argv = ["sh", "-c", f'exec {nginx} -p "$PWD/" -c nginx.conf']
    return checked_row("nginx", SERVERS, [US, CPU, RSS, AFTER], prepare_nginx,
                       InForce([nginx, "-v"], {}), server_measure(argv, drive_nginx))


# ---- all ----

def rows(wanted):
    """The rows whose name wanted(name) accepts, and a line about each that cannot run."""
    from . import postgres  # it uses this module's parts

    kinds = [("redis", ["redis-server", "redis-benchmark", "redis-cli"], "redis", redis_row),
             ("memcached", ["memcached"], "memcached", memcached_row),
             ("nginx", ["nginx"], "nginx", nginx_row),
             ("postgres", ["pgbench", "psql"], "postgresql", postgres.row)]
    made, skipped = [], []
    for name, tools, package, make in kinds:
        absent = [t for t in missing(tools) if not shutil.which(f"/usr/sbin/{t}")] if wanted(name) else []
        if absent:
            skipped.append(f"{name}: {' '.join(absent)} not installed (package {package})")
        elif wanted(name):
            made.append(make())
    return made, skipped
