"""The row of PostgreSQL: a cluster made once, read-only pgbench, and queries with checked answers.

PostgreSQL refuses to run as root; root runs it as the user that Debian's package made.
"""

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from .allocators import InForce
from .model import SERVERS
from .process import clean_env
from .programs import checked_row
from .server import CPU, RSS, US, Failed, ask_to_end, command, measure_server, wait_for

QUERIES = """
SELECT bid, count(*), sum(abalance), md5(string_agg(aid::text, ',' ORDER BY aid))
  FROM pgbench_accounts GROUP BY bid ORDER BY bid;
WITH words AS (SELECT aid, regexp_split_to_table(md5(aid::text), '[0-9]+') AS word
  FROM pgbench_accounts WHERE aid % 7 = 0)
  SELECT word, count(*), array_agg(aid ORDER BY aid) FROM words GROUP BY word
  HAVING count(*) > 25 ORDER BY 2 DESC, 1 LIMIT 50;
SELECT jsonb_object_agg(a.aid, jsonb_build_object('b', b.bid, 'x', md5(a.aid::text)))::text
  FROM pgbench_accounts a JOIN pgbench_branches b USING (bid) WHERE a.aid < 20000;
SELECT a.aid, row_number() OVER (PARTITION BY a.bid ORDER BY md5(a.aid::text)) AS n
  FROM pgbench_accounts a ORDER BY md5(a.aid::text) LIMIT 200;
"""


def programs_dir():
    """Where Debian puts postgres itself."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else Path(shutil.which("postgres") or "/usr/bin/postgres").parent


def missing_parts():
    """What the server lacks here: the client's programs may be installed without it."""
    absent = [p for p in ("postgres", "initdb") if not (programs_dir() / p).exists()]
    if os.geteuid() == 0 and not any(user.pw_name == "postgres" for user in pwd.getpwall()):
        absent.append("the user postgres")
    return absent


def as_server_user(argv):
    if os.geteuid() != 0:
        return argv
    user = pwd.getpwnam("postgres")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] + argv


def quiet_run(argv, cwd):
    subprocess.run(argv, cwd=cwd, env=clean_env(), check=True, capture_output=True, timeout=120)


def socket_dir():
    """A short path: that of a Unix socket holds 107 bytes, and the server's user must reach it."""
    return Path(f"/tmp/hakmem-bench-{os.getpid()}")


def server_argv(data):
    return as_server_user([str(programs_dir() / "postgres"), "-D", str(data), "-k", str(socket_dir()),
                           "-c", "listen_addresses=", "-c", "shared_buffers=16MB", "-c", "fsync=off",
                           "-c", "autovacuum=off", "-c", "jit=off", "-c", "work_mem=32MB",
                           "-c", "max_parallel_workers_per_gather=0"])


def data_dir():
    return socket_dir() / "data"


def prepare(work):
    shutil.rmtree(socket_dir(), ignore_errors=True)
    socket_dir().mkdir(mode=0o755)
    if os.geteuid() == 0:
        shutil.chown(socket_dir(), "postgres", "postgres")
    quiet_run(as_server_user([str(programs_dir() / "initdb"), "-D", str(data_dir()), "-A", "trust",
                              "-U", "bench", "--no-sync"]), "/")
    server = subprocess.Popen(server_argv(data_dir()), cwd="/", env=clean_env(),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(is_ready, server, "postgres")
        quiet_run(["pgbench", "-i", "-q", "-s", "2", *client_options()], work)
    finally:
        server.terminate()
        server.wait(30)
    (work / "queries.sql").write_text(QUERIES)


def client_options():
    return ["-h", str(socket_dir()), "-U", "bench", "postgres"]


def is_ready():
    return command(None, ["psql", "-XAtc", "SELECT 1", *client_options()], timeout=5) == "1\n"


def drive(work, process, values):
    wait_for(is_ready, process, "postgres")
    answers = command(work, ["psql", "-XAtf", "queries.sql", *client_options()])
    text = command(work, ["pgbench", "-S", "-n", "-c", "4", "-t", "15000", *client_options()])
    rate = re.search(r"tps = ([0-9.]+)", text)
    if not rate or "number of failed transactions: 0" not in text:
        raise Failed("pgbench failed")
    values["us"] = 1e6 / float(rate.group(1))
    ask_to_end(work)
    return answers


def row():
    postgres = str(programs_dir() / "postgres")
    return checked_row("postgres", SERVERS, [US, CPU, RSS], prepare,
                       InForce([postgres, "--version"], {}),
                       measure_server(server_argv(data_dir()), drive), 5)


def clean_up():
    shutil.rmtree(socket_dir(), ignore_errors=True)
