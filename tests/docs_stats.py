"""The fields of hak_stats_t are the same everywhere: in hakmem.h, in the tables of src/stats.h, in man/hakmem.3, in the
report as text and as JSON."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(os.environ.get("HK_TEST_SOURCE", Path(__file__).resolve().parent.parent))
COMMAND = os.environ.get("HK_TEST_CMD", SOURCE / "build/release/bin/hakmem")
SIZES = {"struct_bytes", "version"}  # of the library, no figures
ALONE = {"stage_acquires", "resident_bytes"}  # an array, and the ledger's sum: in no table
NO_FIELDS = {"version", "pid", "ledger", "classes"}  # of the JSON


def header_fields():
    text = (SOURCE / "include/hakmem/hakmem.h").read_text()
    body = re.search(r"typedef struct hak_stats \{(.*?)\} hak_stats_t;", text, re.DOTALL).group(1)
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL)
    fields = re.findall(r"\buint(?:32|64)_t\s+(\w+)\s*(?:\[\d+\])?;", body)
    if len(fields) != body.count(";"):
        sys.exit("docs_stats: a field of hak_stats_t is not understood")
    return fields


def table_rows(name):
    """Returns [(field, what it is)] of a table in src/stats.h; a ledger's text begins with its sign."""
    text = (SOURCE / "src/stats.h").read_text()
    body = re.search(rf"#define {name}\(X\)(.*?[^\\])\n\n", text, re.DOTALL).group(1)
    rows = re.findall(r'\bX\((\w+), ([01+-]), "([^"]*)"\)', body)
    if len(rows) != len(re.findall(r"\bX\(", body)):
        sys.exit(f"docs_stats: a row of {name} is not understood")
    return [(field, (mark + " " if mark in "+-" else "") + what) for field, mark, what in rows]


def compare(where, listed, fields):
    complaints = [f"{where}: {name} stands {listed.count(name)} times" for name in sorted(set(listed)) if listed.count(name) > 1]
    complaints += [f"{where}: {name} is missing" for name in sorted(set(fields) - set(listed))]
    complaints += [f"{where}: {name} is no field" for name in sorted(set(listed) - set(fields))]
    return complaints


def report(*options):
    done = subprocess.run([COMMAND, "run", *options, "--", "true"], capture_output=True, text=True, timeout=60, check=True)
    return done.stderr


def check_json(fields):
    lists = []  # names as often as they stand there, the innermost objects first
    json.loads(report("--json"), object_pairs_hook=lambda found: lists.append([name for name, _ in found]) or dict(found))
    figures = lists[-1]
    ledger = next(names for names in lists if "depot_bytes" in names)
    listed = [name for name in figures if name not in NO_FIELDS] + [name for name in ledger if name != "depot_bytes"]
    complaints = compare("JSON", listed, set(fields) - SIZES)
    return complaints


def check_text(figures, ledger):
    lines = re.findall(r"^ *\d+(?: KiB  |      )(.*)$", report("--stats"), re.MULTILINE)
    known = [what for _, what in figures + ledger] + ["= resident"]
    lines = [line for line in lines if not re.match(r"slabs acquired in stage (0\.5|1|2|3): ", line)]
    return compare("text", lines, known)


def main():
    fields = header_fields()
    figures, ledger = table_rows("HK_STATS_TABLE"), table_rows("HK_LEDGER_TABLE")
    in_tables = [name for name, _ in figures] + [name for name, _ in ledger if name != "depot_bytes"]
    complaints = compare("src/stats.h", in_tables, set(fields) - SIZES - ALONE)
    manual = (SOURCE / "man/hakmem.3").read_text().partition(".SS Statistics")[2].partition("\n.SS ")[0]
    complaints += compare("hakmem.3", re.findall(r"^\\fI(\w+)\\fR(?:\[\d+\])?\tT\{$", manual, re.MULTILINE), fields)
    complaints += check_json(fields)
    complaints += check_text(figures, ledger)
    print("\n".join(complaints) if complaints else f"{len(fields)} fields, the same in header, tables, hakmem.3 and both reports")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
