"""Rows of servers: redis, memcached, nginx, and that of postgres.py."""

import csv
import functools
import hashlib
import os
import random
import re
import shutil
import time

from . import postgres
from .allocators import InForce
from .client import Pipelined
from .model import MEMORY, SERVERS, TIME, Measure
from .process import program_pid, status_kib
from .programs import checked_row, missing
from .server import (AFTER, CPU, RSS, US, Failed, after_quiet, ask_to_end, command, measure_server, peak_of,
                     wait_for)

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


def redis_digest(work):
    digest = command(work, REDIS_CLI + ["DEBUG", "DIGEST"])
    if len(digest.strip()) != 40:
        raise Failed("no digest")
    return digest


def await_redis(work, process):
    wait_for(lambda: command(work, REDIS_CLI + ["PING"], timeout=5) == "PONG\n", process, "redis")


def empty_and_end_redis(work, values):
    command(work, REDIS_CLI + ["FLUSHALL", "SYNC"])
    values["after"] = after_quiet(work)
    command(work, REDIS_CLI + ["SHUTDOWN", "NOSAVE"])


def drive_redis(work, process, values, scale):
    await_redis(work, process)
    command(work, REDIS_CLI + ["--pipe"], work / "load")
    digest = redis_digest(work)
    piped = redis_lines(work, "-n", str(int(60000 * scale)), "-P", "16", "-t", REDIS_TYPES)
    values["us"] = sum(1e6 / float(line["rps"]) for line in piped) / len(piped)
    single = redis_lines(work, "-n", str(int(20000 * scale)), "-c", "20", "-t", "set,get,hset")
    for name in ("p50", "p99"):
        values[name] = sum(1e3 * float(line[f"{name}_latency_ms"]) for line in single) / len(single)
    values["rss"] = peak_of(work)
    empty_and_end_redis(work, values)
    return digest


REDIS_SERVER = ["redis-server", "--port", "0", "--unixsocket", "server.sock", "--save", "", "--appendonly",
                "no", "--enable-debug-command", "yes", "--loglevel", "warning", "--activedefrag", "no"]


def redis_row(scale):
    measures = [US, Measure("p50", "us p50", TIME), Measure("p99", "us p99", TIME), CPU, RSS, AFTER]
    return checked_row("redis", SERVERS, measures, write_redis_load,
                       InForce(["redis-server", "--version"], {}),
                       measure_server(REDIS_SERVER, functools.partial(drive_redis, scale=scale)), 5)


# ---- redis: deletes, and values of other sizes in their place ----

REFILL_KEYS = 60000
REFILL_REPLIES = re.compile(r"replies: (\d+)")
REFILL_LENGTHS = [100, 250, 40, 600, 150, 400]  # of a phase's values, and up to as much again


def resp(*words):
    """A command as clients send it."""
    return f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)


def write_refill_load(work, scale):
    """The commands of each phase in a file of its own: all keys that are missing come, then 4 in 5 of all go."""
    rng, keys = random.Random(12), int(REFILL_KEYS * scale)
    absent = range(keys)
    for phase, length in enumerate(REFILL_LENGTHS):
        lines = [resp("SET", f"key{key}", "v" * rng.randrange(length, 2 * length)) for key in absent]
        absent = rng.sample(range(keys), keys * 4 // 5)
        if phase + 1 < len(REFILL_LENGTHS):
            lines += [resp("DEL", f"key{key}") for key in absent]
        (work / f"load{phase}").write_text("".join(lines), encoding="ascii")


def load_refill(work, phase):
    """How many commands the server has answered."""
    answer = REFILL_REPLIES.search(command(work, REDIS_CLI + ["--pipe"], work / f"load{phase}"))
    if answer is None:
        raise Failed("redis-cli does not count the replies")
    return int(answer.group(1))


def drive_refill(work, process, values):
    await_redis(work, process)
    begin = time.monotonic()
    requests = sum(load_refill(work, phase) for phase in range(len(REFILL_LENGTHS)))
    values["us"] = (time.monotonic() - begin) * 1e6 / max(1, requests)
    values["rss"], values["full"] = peak_of(work), status_kib(program_pid(work), "VmRSS")
    digest = redis_digest(work)
    empty_and_end_redis(work, values)
    return digest


def refill_row(scale):
    measures = [US, CPU, RSS, Measure("full", "KiB refilled", MEMORY), AFTER]
    return checked_row("redis_refill", SERVERS, measures, functools.partial(write_refill_load, scale=scale),
                       InForce(["redis-server", "--version"], {}), measure_server(REDIS_SERVER, drive_refill))


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
    ask_to_end(work)
    return "all answers"


def memcached_row():
    argv = ["memcached", "-s", "server.sock", "-m", "256", "-t", "2", "-u",
            "root" if os.geteuid() == 0 else "nobody"]
    return checked_row("memcached", SERVERS, [US, CPU, RSS, AFTER], lambda work: None,
                       InForce(["memcached", "-V"], {}), measure_server(argv, drive_memcached))


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
    ask_to_end(work)
    return digest.hexdigest()


def nginx_row():
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    argv = ["sh", "-c", f'exec {nginx} -p "$PWD/" -c nginx.conf']
    return checked_row("nginx", SERVERS, [US, CPU, RSS, AFTER], prepare_nginx,
                       InForce([nginx, "-v"], {}), measure_server(argv, drive_nginx))


# ---- all ----

def rows(wanted, scale=1):
    """The rows whose name wanted(name) accepts, redis with this much of its work, and a line about each that cannot run."""
    kinds = [("redis", ["redis-server", "redis-benchmark", "redis-cli"], "redis",
              lambda: redis_row(scale)),
             ("redis_refill", ["redis-server", "redis-cli"], "redis", lambda: refill_row(scale)),
             ("memcached", ["memcached"], "memcached", memcached_row),
             ("nginx", ["nginx"], "nginx", nginx_row),
             ("postgres", ["pgbench", "psql"], "postgresql", postgres.row)]
    made, skipped = [], []
    for name, tools, package, make in kinds:
        absent = [t for t in missing(tools) if not shutil.which(f"/usr/sbin/{t}")] if wanted(name) else []
        if wanted(name) and name == "postgres":
            absent += postgres.missing_parts()
        if absent:
            skipped.append(f"{name}: {' '.join(absent)} not installed (package {package})")
        elif wanted(name):
            made.append(make())
    return made, skipped
