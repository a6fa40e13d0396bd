#!/usr/bin/env python3
"""The comparison itself: what goes wrong under an allocator is shown as what it is, and figures add up.

Broken allocators are made on the spot.  HAKMEM_LIB is the library, HK_TEST_SOURCE the source directory.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

SOURCE = Path(os.environ["HK_TEST_SOURCE"])
sys.dont_write_bytecode = True
sys.path.insert(0, str(SOURCE / "bench"))
from hkbench import (allocators, analysis, html, machine, measure, micro, model, process, programs,  # noqa: E402
                     readme, results_md, stats, store, text)

HAKMEM = model.Allocator("hakmem", os.environ["HAKMEM_LIB"])
GLIBC = model.Allocator("glibc", "")

# Each takes malloc's place and calls the C library's until `calls` have gone by.
BROKEN = r"""
#include <stddef.h>
#include <unistd.h>
#include <stdlib.h>
void *__libc_malloc(size_t); void __libc_free(void *); void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
static int calls;
void *malloc(size_t n) { if (calls++ > 2000) { %s } return __libc_malloc(n); }
void free(void *p) { __libc_free(p); }
void *calloc(size_t n, size_t m) { return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return __libc_realloc(p, n); }
"""

# Says that it is there, and goes no further.
WAITING = r"""
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void wait_here(void) { creat("%s", 0600); pause(); }
"""

# What ends soon, should it not be refused; the last --only and --allocators count.
SHORT = ["--quick", "--only", "^field_trivial$", "--rounds", "1", "--allocators", "glibc"]


def small_row():
    return micro.micro_row("mixed8192", 1, model.SMALL, 0.02)


def library(place, name, code):
    path = place / f"{name}.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-fno-builtin", "-O1", "-x", "c", "-", "-o", path],
                   input=code, text=True, check=True)
    return model.Allocator(name, str(path))


def run_of(row, turn, name, **values):
    return store.Run(row, turn, name, model.Result("ok", values))


class Harness(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run([SOURCE / "bench" / "build"], check=True)
        process.WORK.mkdir(parents=True)
        cls.place = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.place)
        cls.addClassCleanup(shutil.rmtree, process.WORK)

    def library(self, name, code):
        return library(self.place, name, code)

    def test_frozen_libraries_stay(self):
        library = self.library("hk", "int hk;")
        frozen, glibc = allocators.freeze([library, model.Allocator("glibc", "")])
        Path(library.library).write_text("a build replaces it")
        self.assertNotEqual(Path(frozen.library).read_bytes(), Path(library.library).read_bytes())
        self.assertEqual(glibc.library, "")

    def broken(self, name, what):
        return small_row().run(self.library(name, BROKEN % what))

    def test_good_run(self):
        for allocator in (HAKMEM, GLIBC):
            result = small_row().run(allocator)
            self.assertEqual(result.status, "ok", result)
            self.assertGreater(result.values["ns"], 0)
            self.assertGreater(result.values["rss"], 1000)
            self.assertGreater(result.values["after"], 1000)

    def test_crash_is_shown(self):
        self.assertEqual(self.broken("crashing", "abort();").status, "SIGABRT")

    def test_no_memory_is_shown(self):
        result = self.broken("empty", "return 0;")
        self.assertEqual((result.status, result.note), ("exit 3", "bench: the allocator returned NULL"))

    def test_damage_is_shown(self):
        row = micro.micro_row("replace1k", 1, model.SMALL, 0.01)
        result = row.run(self.library("twice", BROKEN % "static char same[4096]; return same;"))
        self.assertNotEqual(result.status, "ok")

    def test_hang_is_shown(self):
        hanging = self.library("hanging", BROKEN % "for (;;) pause();")
        argv = [str(process.BUILD / "micro"), "mixed8192", "1", "0.02"]
        started = process.start(process.WORK, hanging.library, argv, process.clean_env())
        self.assertEqual(process.finish(process.WORK, started, 1).status, "timeout")

    def test_cpus_that_are_not_there_are_shown(self):
        for cpus, status in (("99999", "no report"), ("x", "no report"), (",", "no report"), ("0x", "no report"),
                             (str(min(os.sched_getaffinity(0))), "ok")):
            started = process.start(process.WORK, "", ["true"], process.clean_env(), cpus)
            result = process.finish(process.WORK, started, 30)
            self.assertEqual((result.status, result.note.startswith("launch: CPUs ")), (status, status != "ok"), cpus)

    def checked(self, answers, prepare=lambda work: None):
        """A program's row, whose measured output is the next of the answers."""
        in_force = allocators.InForce(["cat", "/dev/null"], {})
        return programs.checked_row("checked", model.PROGRAMS, [], prepare, in_force,
                                    lambda work, library: (model.Result("ok"), answers.pop(0)))

    def test_wrong_output_is_shown(self):
        row = self.checked(["reference", "reference", "something else"])
        self.assertEqual([row.run(HAKMEM).status for _ in range(2)], ["ok", "wrong output"])

    def test_no_input_is_shown(self):
        def prepare(work):
            raise OSError("disk full")

        result = self.checked([], prepare).run(HAKMEM)
        self.assertEqual((result.status, result.note), ("no reference", "under glibc: no input disk full"))

    def test_program_that_does_not_take_the_library_is_shown(self):
        result = self.checked(["reference"]).run(self.library("idle", "int nothing_of_malloc;"))
        self.assertEqual(result.status, "not in force")

    def test_not_in_force_is_an_error(self):
        idle = self.library("idle", "int nothing_of_malloc;")
        with self.assertRaises(allocators.NotInForce):
            allocators.require_in_force([idle])
        allocators.require_in_force([HAKMEM, GLIBC])

    def test_command_refuses_what_is_not_in_force(self):
        idle = self.library("idle", "int nothing_of_malloc;")
        run = subprocess.run([SOURCE / "bench" / "compare", "--quick", "--only", "^pair/1$", "--with",
                              f"idle={idle.library}", "--out", self.place / "out"],
                             capture_output=True, text=True)
        self.assertEqual(run.returncode, 2, run.stderr)
        self.assertIn("not in force: idle", run.stderr)

    def test_command_writes_its_files(self):
        out = self.place / "run"
        Path(f"{out}.journal").write_text("{}\n{}\n")
        run = subprocess.run([SOURCE / "bench" / "compare", "--quick", "--only", "^field_trivial$|^pair/1$",
                              "--rounds", "2", "--with", f"hakmem={HAKMEM.library}", "--allocators",
                              "hakmem,glibc", "--out", out], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertIn(f"is kept: {out}.journal.old\n", run.stdout)
        head, runs = store.read_json(f"{out}.json")
        self.assertEqual({r.row for r in runs}, {"pair/1", "field_trivial"})
        self.assertEqual(len(runs), 8)
        for suffix, content in ((".csv", "pair/1,1,glibc,ok"), (".md", "| pair/1 |"), (".html", "pair/1")):
            self.assertIn(content, Path(f"{out}{suffix}").read_text())

    def test_resuming_runs_what_is_left(self):
        ran = []
        row = model.Row("row", model.SMALL, [micro.NS], lambda a: ran.append(a) or model.Result("ok", {"ns": 1.0}))
        journal = store.Journal(self.place / "journal")
        journal.begin({"head": 1})
        journal.add(run_of("row", 0, "glibc", ns=2.0))
        journal.file.write('{"row": "cut off')
        journal.file.close()
        head, past = journal.read()
        self.assertEqual((head, [r.key for r in past]), ({"head": 1}, [("row", 0, "glibc")]))
        for left in 3, 0:
            ran.clear()
            work = measure.Measurement([row], [HAKMEM, GLIBC], 2, 60, False, journal, journal.read()[1])
            journal.go_on()
            self.assertEqual(work.all(), "")
            journal.file.close()
            self.assertEqual((len(ran), len({r.key for r in work.runs})), (left, 4))
        self.assertEqual([r.key for r in journal.read()[1]], [r.key for r in work.runs])

    def test_a_new_journal_keeps_the_one_before(self):
        journal = store.Journal(self.place / "again.journal")
        old = self.place / "again.journal.old"
        for runs, kept in ((1, None), (0, old), (2, None), (0, old)):  # in the journal; one without runs is not kept
            self.assertEqual(journal.begin({"head": runs}), kept)
            for turn in range(runs):
                journal.add(run_of("row", turn, "glibc", ns=2.0))
            journal.file.close()
        head, past = store.Journal(old).read()
        self.assertEqual((head, len(past)), ({"head": 2}, 2))

    def test_the_time_ends_a_round_but_the_first(self):
        ran = []
        rows = [model.Row(name, model.SMALL, [micro.NS], lambda a: ran.append(a) or model.Result("ok", {"ns": 1.0}))
                for name in ("one", "two")]
        work = measure.Measurement(rows, [HAKMEM, GLIBC], 5, 0, False, store.Journal(os.devnull), [])
        work.journal.go_on()
        self.addCleanup(work.journal.file.close)
        self.assertIn("round 2 of 5: the time is up", work.all())
        self.assertEqual((len(ran), work.rounds_done), (4, 1))

    def test_hopeless_runs_are_not_repeated(self):
        ran = []
        row = model.Row("row", model.SMALL, [micro.NS], lambda a: ran.append(a) or model.Result("timeout"))
        work = measure.Measurement([row], [HAKMEM], 5, 60, False, store.Journal(os.devnull), [])
        work.journal.go_on()
        self.addCleanup(work.journal.file.close)
        work.all()
        self.assertEqual(len(ran), 1)


class Refusals(unittest.TestCase):
    """What cannot be done ends in one line and exit status 2."""

    @classmethod
    def setUpClass(cls):
        subprocess.run([SOURCE / "bench" / "build"], check=True)
        cls.place = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.place)

    def refused(self, *options, before=None):
        run = subprocess.run([SOURCE / "bench" / "compare", *SHORT, *options], capture_output=True, text=True, preexec_fn=before)
        self.assertEqual((run.returncode, len(run.stderr.splitlines())), (2, 1), f"{options}: {run.stderr}")
        return run.stderr

    def file(self, name, content):
        path = self.place / name
        path.write_text(content)
        return path

    def test_numbers(self):
        for option, value in (("--rounds", "-3"), ("--rounds", "0"), ("--rounds", "1.5"), ("--minutes", "0"),
                              ("--minutes", "nan"), ("--minutes", "x")):
            self.assertIn(f"{option}: {value} is no ", self.refused(option, value))

    def test_cpus(self):
        for cpus in ("x", "99999", "0,99999", "-1", ""):
            self.assertIn(f"--pin: {cpus} is not among the CPUs ", self.refused("--pin", cpus))

    def test_names(self):
        self.assertIn("( is no regular expression", self.refused("--only", "("))
        self.assertIn("no row matches ^none$", self.refused("--only", "^none$"))
        self.assertIn("no library, none here; there is ", self.refused("--allocators", "glibc,none,library"))
        self.assertIn("--with none=/none: no such library", self.refused("--with", "none=/none"))
        self.assertIn("--unknown", self.refused("--unknown"))

    def test_names_of_libraries(self):
        library = self.file("lib.so", "")
        for name in ("glibc", "bump", "live", "best"):
            self.assertIn(f"{name} means something else", self.refused("--with", f"{name}={library}"))
        self.assertIn("one of that name", self.refused("--with", f"a={library}", "--with", f"a={library}"))
        for item in ("=x", "a/b=x", "a,b=x"):
            self.assertIn(f"--with {item}: not NAME=PATH", self.refused("--with", item))

    def test_files_that_are_no_results(self):
        for path, why in ((self.place / "none.json", "No such file"), (self.place, "Is a directory"),
                          (self.file("text", "no JSON"), "not the JSON of a comparison"),
                          (self.file("list", "[]"), "not the JSON of a comparison"),
                          (self.file("other", '{"runs": []}'), "not the JSON of a comparison")):
            for options in (["--report", path], ["--agree", path, path]):
                self.assertIn(f"{path}: {why}", self.refused(*options))

    def test_places_where_nothing_can_be_written(self):
        (self.place / "taken.journal").mkdir()
        for out, why in ((self.file("file", "") / "out", "file: "), (self.place / "taken", "taken.journal: Is a directory"),
                         ("/", "no name")):
            self.assertIn(why, self.refused("--out", out))

    def test_journals_that_nothing_goes_on_from(self):
        run = '{"row": "r", "round": 0, "allocator": "glibc", "status": "ok", "values": {}, "note": "", "series": []}\n'
        self.assertIn("none.journal does not exist", self.refused("--resume", "--out", self.place / "none"))
        for content, why in (("", "does not say what was compared"), ('{"cut": "of', "does not say what was compared"),
                             (run, "does not say what was compared"), ('{"row": "a{"row": "b"}\n', "damaged"),
                             ('{}\n{"row": "r"}\n', "damaged"), ("{}\n[]\n", "damaged"), ("\0\n", "damaged")):
            self.file("resumed.journal", content)
            self.assertIn(why, self.refused("--resume", "--out", self.place / "resumed"))
            self.assertEqual((self.place / "resumed.journal").read_text(), content)

    def test_what_changed_before_a_resume_is_named(self):
        now = machine.describe([]) | {"rows": [], "extent": "quick", "pinned": ""}
        self.assertEqual(machine.changed(json.loads(json.dumps(now)), now), [])
        for name in now["same"]:
            self.assertEqual(machine.changed(now | {"same": now["same"] | {name: "another"}}, now), [name])
        for name, word in (("rows", "rows"), ("extent", "options"), ("pinned", "options")):
            self.assertEqual(machine.changed(now | {name: "another"}, now), [word])
        self.file("before.journal", "{}\n")
        self.assertIn("--resume: not the same as before: libraries, benchmarks, kernel, rows, options",
                      self.refused("--resume", "--out", self.place / "before"))

    def test_full_disk(self):
        with self.assertRaisesRegex(model.Refused, "^/dev/full: No space left on device$"):
            store.Journal("/dev/full").begin({"head": 1})

    def test_no_room_for_the_libraries(self):
        """The journal is written; the copy of the library meets a limit, as it would meet the end of the disk."""
        most = 32 * 1024
        self.assertGreater(Path(HAKMEM.library).stat().st_size, most)
        said = self.refused("--with", f"hakmem={HAKMEM.library}", "--allocators", "hakmem", "--out", self.place / "short",
                            before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
        self.assertRegex(said, f"^bench/compare: no copy of {HAKMEM.library} in .*: File too large$")
        self.assertTrue((self.place / "short.journal").exists())

    def test_interrupted_before_it_measures(self):
        seen = self.place / "seen"
        waiting = library(self.place, "waiting", WAITING % seen)
        for stopping in (signal.SIGINT, signal.SIGTERM):
            seen.unlink(missing_ok=True)
            run = subprocess.Popen([SOURCE / "bench" / "compare", *SHORT, "--with", f"waiting={waiting.library}", "--allocators",
                                    "waiting", "--out", self.place / "stopped"], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
            end = time.monotonic() + 60
            while not seen.exists() and time.monotonic() < end:
                time.sleep(0.02)
            run.send_signal(stopping)
            said = run.communicate(timeout=60)[1]
            self.assertEqual((run.returncode, said), (130, "bench/compare: interrupted\n"))


class Results(unittest.TestCase):
    """--results, on a copy of what it writes."""

    def setUp(self):
        self.tree = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.tree)
        shutil.copytree(SOURCE / "bench", self.tree / "bench")
        shutil.copy(SOURCE / "README.md", self.tree)
        self.files = [self.tree / name for name in ("README.md", "bench/RESULTS.md", "bench/results.csv")]
        # As of a comparison that the time has ended after its first round.
        self.rows = [{"name": row, "group": model.SMALL, "about": "",
                      "measures": [{"key": "t", "unit": unit, "kind": model.TIME, "headline": True},
                                   {"key": "rss", "unit": "KiB", "kind": model.MEMORY, "headline": True}]}
                     for row, unit, _ in readme.ROWS]
        self.head = machine.describe([]) | {"allocators": dict.fromkeys(readme.COLUMNS, ""), "rows": self.rows, "extent": "full",
                                            "skipped": [], "rounds_done": 1}
        self.runs = [run_of(row["name"], 0, name, t=1234.5, rss=2048) for row in self.rows for name in readme.COLUMNS]

    def results(self, head, runs, *options):
        out = self.tree / "full"
        store.write_json(f"{out}.json", head, runs)
        return subprocess.run([self.tree / "bench" / "compare", "--results", *(options or ["--report", f"{out}.json"])],
                              capture_output=True, text=True)

    def test_written(self):
        run = self.results(self.head, self.runs)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        page, results, csv = (path.read_text() for path in self.files)
        self.assertIn("| gcc -O2, s | 1,234 / 2 | 1,234 / 2 |", page)
        self.assertEqual(page, readme.update((SOURCE / "README.md").read_text(), results))
        self.assertIn("| gcc | s cpu | 1234 | 1234 |", results)
        self.assertIn("gcc,0,tcmalloc,ok,", csv)

    def test_refused(self):
        before = [path.read_text() for path in self.files]
        other_unit = [self.rows[0] | {"measures": self.rows[0]["measures"][1:]}] + self.rows[1:]
        for why, head, runs, *options in (
                ("RESULTS.md is of a whole --full; this is quick\n", {"extent": "quick"}, self.runs),
                ("this is full with --only\n", {"part": "--only"}, self.runs),
                ("README.md's table needs lua, perl\n", {"rows": self.rows[2:]}, self.runs),
                ("README.md's table needs hakmem\n", {"allocators": dict.fromkeys(readme.COLUMNS[1:], "")}, self.runs),
                ("not yet run under every allocator: threadchurn/4\n", {}, self.runs[:-1]),
                ("RESULTS.md has no ('Time', 'lua', 's cpu')", {"rows": other_unit}, self.runs),
                ("--results with --quick, --only, --allocators", {}, [], *SHORT)):
            run = self.results(self.head | head, runs, *options)
            self.assertEqual((run.returncode, len(run.stderr.splitlines())), (2, 1), run.stderr)
            self.assertIn(why, run.stderr)
            self.assertEqual([path.read_text() for path in self.files], before, why)


class Figures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run([SOURCE / "bench" / "build"], check=True)

    def test_interval_holds_the_median(self):
        """The intervals of samples whose true median is known hold it as often as they promise."""
        seed, hits, samples = 1, 0, 2000
        for _ in range(samples):
            values = []
            for _ in range(9):
                seed = (seed * 48271) % 2147483647
                values.append(seed / 2147483647)
            low, high = stats.interval(values)
            hits += low <= 0.5 <= high
        self.assertGreater(hits / samples, 0.95)

    def test_interval_of_few(self):
        low, high = stats.interval([12, 10, 11])
        self.assertTrue(low < 10 and high > 12)
        self.assertEqual(stats.interval([5]), (5, 5))
        self.assertEqual(stats.interval([5, 5, 5]), (5, 5))
        self.assertEqual(stats.interval(list(range(20))), (5, 14))

    def compared(self, mine, theirs):
        row = {"name": "r", "group": model.SMALL, "about": "",
               "measures": [{"key": "ns", "unit": "ns/op", "kind": model.TIME, "headline": True}]}
        head = {"allocators": {"hakmem": "", "glibc": ""}, "rows": [row]}
        runs = [run_of("r", i, "hakmem", ns=x) for i, x in enumerate(mine)]
        runs += [run_of("r", i, "glibc", ns=x) for i, x in enumerate(theirs)]
        return analysis.Analysis(head, runs)

    def test_ratio_is_taken_round_by_round(self):
        found = self.compared([10, 20, 40], [5, 10, 20])  # the machine slows down; the ratio stays
        ratio, = found.ratios_to_best(model.TIME, [model.SMALL])
        self.assertEqual((ratio.value, ratio.low, ratio.high), (2, 2, 2))
        self.assertEqual([r.row for r in found.losses()], ["r"])
        self.assertAlmostEqual(found.mean_against(model.TIME, [model.SMALL], "glibc")[0], 2)

    def test_even_is_no_loss(self):
        self.assertEqual(self.compared([10, 9, 11], [9.5, 10, 10]).losses(), [])

    def test_one_value_decides_nothing(self):
        ratio, = self.compared([20], [10]).ratios_to_best(model.TIME, [model.SMALL])
        self.assertEqual((ratio.value, ratio.lost, ratio.won), (2, False, False))

    def test_one_failure_fails_the_figure(self):
        found = self.compared([1, 1], [1, 1])
        found.results["r", "hakmem"][1].result.status = "SIGSEGV"
        self.assertEqual(text.cell_text(found.cell(found.rows[0], "hakmem", micro.NS)), "SIGSEGV")
        self.assertEqual(found.failures()[0][:5], ("hakmem", "r", 1, 2, "SIGSEGV"))
        self.assertEqual(found.ratios_to_best(model.TIME, [model.SMALL]), [])

    def test_losses_have_their_causes(self):
        with tempfile.TemporaryDirectory() as place:
            causes = Path(place, "causes")
            causes.write_text("# comment\nr|s | ns/.* | slow | on purpose\n")
            found = results_md.read_causes(causes)
        loss, = self.compared([2, 2, 2], [1, 1, 1]).losses()
        self.assertEqual(results_md.cause_of(loss, found), "slow | on purpose")
        self.assertTrue(results_md.read_causes())

    def behind(self):
        """Rows that are behind in different ways, or are not: name, key, unit, hakmem's figures over the other's."""
        rows, runs = [], []
        for name, key, unit, ratios in (("sure", "ns", "ns/op", (1.9, 2, 2.1)), ("little", "ns", "ns/op", (1.02, 1.02, 1.02)),
                                        ("beside", "walk_ns", "ns/node walked", (1.5, 1.5, 1.5)),
                                        ("unsure", "ns", "ns/op", (0.8, 1.2, 1.3)), ("near", "ns", "ns/op", (0.8, 1.04, 1.3)),
                                        ("ahead", "ns", "ns/op", (0.5, 0.5, 0.5)), ("kept/1", "after", "KiB after", (7, 8, 9)),
                                        ("kept", "last", "KiB at end", (0.5, 3, 4)),
                                        ("given", "after", "KiB after", (1, 1.04, 1.1))):
            rows.append({"name": name, "group": model.SMALL, "about": "",
                         "measures": [{"key": key, "unit": unit, "kind": model.TIME if "ns" in key else model.MEMORY,
                                       "headline": key == "ns"}]})
            for turn, ratio in enumerate(ratios):
                runs += [run_of(name, turn, "hakmem", **{key: 100 * ratio}), run_of(name, turn, "glibc", **{key: 100})]
        head = machine.describe([]) | {"allocators": {"hakmem": "", "glibc": ""}, "rows": rows, "extent": "full", "skipped": [],
                                       "rounds_done": 3}
        return analysis.Analysis(head, runs)

    def test_what_is_behind_stands_in_one_list(self):
        self.assertEqual([[r.row for r in part.ratios] for part in self.behind().behind()],
                         [["sure", "beside", "little"], ["unsure"], ["kept/1", "kept"]])

    def test_the_page_counts_what_is_behind_and_shows_what_has_no_cause(self):
        found = self.behind()
        page = results_md.page(found, [])
        self.assertIn("\n\nBehind the best other allocator: 3 figures of time and memory for certain, 2 of them by more than 5 %; "
                      "1 by more than 5 %, but not for certain; and 2 of RSS after the work by more than 5 %. "
                      "For 4 of them the cause was not looked into.\n\n## Losses\n\n3 figures: ", page)
        for line in ("## Behind by more than 5 %, not certain\n\n1 figure: ",
                     "## RSS after the work, behind by more than 5 %\n\n2 figures: ",
                     "| sure | ns/op | 2.00 | 1.75 to 2.25 | glibc | not looked into |\n",
                     "| unsure | ns/op | 1.20 | 0.54 to 1.86 | glibc | not looked into |\n"):
            self.assertIn(line, page)
        self.assertRegex(page, r"\| kept/1 \| KiB after \| 8.00 \| 5.52 to 10.48 \| glibc \| Read as the last block ")
        with tempfile.TemporaryDirectory() as place:
            html.write(Path(place, "page"), found, [], [])
            self.assertEqual(Path(place, "page").read_text().count(">not looked into<"), 4)

    def test_agreement(self):
        a, b = self.compared([10, 11, 12], [5, 5.1, 5.2]), self.compared([11, 12, 13], [8, 8.1, 8.2])
        shared, apart = analysis.agreement(a, b)
        self.assertEqual((shared, [line[2] for line in apart]), (2, ["glibc"]))


if __name__ == "__main__":
    unittest.main()
