"""Raw results: a journal that a stopped comparison goes on from, and CSV and JSON made of it.

The journal is a file of JSON lines: first what the comparison is, then each run as it ends.
"""

import contextlib
import csv
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

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


def run_of(value):
    """The run of what JSON held."""
    result = Result(value["status"], value["values"], value["note"], value["series"])
    return Run(value["row"], value["round"], value["allocator"], result)


class Journal:
    def __init__(self, path):
        self.path, self.file = Path(path), None

    def begin(self, head):
        """Where the journal before this one is kept, or None when that had no run."""
        kept = self.path.with_name(self.path.name + ".old")
        with reaching(self.path):
            if not self.path.is_file() or self.path.read_bytes().count(b"\n") < 2:
                kept = None
            else:
                self.path.replace(kept)
            self.file = open(self.path, "w", encoding="utf-8")
        self.write(head)
        return kept

    def go_on(self):
        """What comes is added; a last line that was cut off goes first."""
        with reaching(self.path):
            text = self.path.read_bytes()
            whole = text.rfind(b"\n") + 1
            if whole < len(text):
                os.truncate(self.path, whole)
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
        with reaching(self.path):
            lines = self.path.read_bytes().split(b"\n")[:-1]
        try:
            head, *values = map(json.loads, lines or [b"null"])
            runs = [run_of(value) for value in values]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"{self.path}: damaged; only a new comparison helps, without --resume") from error
        if not isinstance(head, dict) or "status" in head:  # or it is a run
            raise Refused(f"{self.path}: nothing to go on with: it does not say what was compared")
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
        runs = [run_of(run) for run in value.pop("runs")]
        if not HEAD <= value.keys():
            raise KeyError(HEAD - value.keys())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{path}: not the JSON of a comparison") from error
    return value, runs
