"""Raw results: a journal that a stopped comparison goes on from, and CSV and JSON made of it.

The journal is a file of JSON lines: first what the comparison is, then each run as it ends.
"""

import contextlib
import csv
import json
from dataclasses import asdict, dataclass

from .model import Measure, Refused, Result

HEAD = {"allocators", "rows", "extent", "skipped", "rounds_done"}  # what every report needs


@contextlib.contextmanager
def reaching(path):
    """What the system refuses there is told in one line."""
    try:
        yield
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error


@dataclass
class Run:
    row: str
    round: int
    allocator: str
    result: Result

    @property
    def key(self):
        return self.row, self.round, self.allocator


class Journal:
    def __init__(self, path):
        self.path, self.file = path, None

    def begin(self, head):
        with reaching(self.path):
            self.file = open(self.path, "w", encoding="utf-8")
        self.write(head)

    def go_on(self):
        with reaching(self.path):
            self.file = open(self.path, "a", encoding="utf-8")

    def write(self, value):
        with reaching(self.path):
            try:
                self.file.write(json.dumps(value) + "\n")
                self.file.flush()
            except OSError:
                with contextlib.suppress(OSError):
                    self.file.close()  # or it would try again, and fail, when it goes
                raise

    def add(self, run):
        self.write({"row": run.row, "round": run.round, "allocator": run.allocator, **asdict(run.result)})

    def read(self):
        """The head and the runs so far.  A last line that was cut off does not count."""
        head, runs = None, []
        with open(self.path, encoding="utf-8") as file:
            for line in file:
                if not line.endswith("\n"):
                    break
                value = json.loads(line)
                if head is None:
                    head = value
                else:
                    result = Result(value["status"], value["values"], value["note"], value["series"])
                    runs.append(Run(value["row"], value["round"], value["allocator"], result))
        return head, runs


def describe_rows(rows):
    return [{"name": row.name, "group": row.group, "about": row.about,
             "measures": [asdict(m) for m in row.measures]} for row in rows]


def measures_of(described):
    return [Measure(**m) for m in described["measures"]]


def write_json(path, head, runs):
    value = {**head, "runs": [{"row": r.row, "round": r.round, "allocator": r.allocator,
                               **asdict(r.result)} for r in runs]}
    with reaching(path), open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.write("\n")


def write_csv(path, head, runs):
    """One line a run; the lines before the header, with a #, say what was measured on."""
    keys = sorted({key for run in runs for key in run.result.values})
    with reaching(path), open(path, "w", newline="", encoding="utf-8") as file:
        for name in ("date", "cpu", "cpus", "memory_mib", "kernel", "libc", "thp", "commit", "extent"):
            file.write(f"# {name}: {head.get(name, '')}\n")
        for name, version in head["packages"].items():
            file.write(f"# package {name}: {version}\n")
        out = csv.writer(file)
        out.writerow(["row", "round", "allocator", "status", *keys, "note"])
        for run in runs:
            out.writerow([run.row, run.round, run.allocator, run.result.status,
                          *(run.result.values.get(key, "") for key in keys), run.result.note])


def read_json(path):
    """Head and runs of a file that write_json made."""
    try:
        with reaching(path), open(path, encoding="utf-8") as file:
            value = json.load(file)
        runs = [Run(r["row"], r["round"], r["allocator"],
                    Result(r["status"], r["values"], r["note"], r["series"])) for r in value.pop("runs")]
        if not HEAD <= value.keys():
            raise KeyError(HEAD - value.keys())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{path}: not the JSON of a comparison") from error
    return value, runs
