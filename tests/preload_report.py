#!/usr/bin/env python3
"""The report of a preloaded library, read as its users read it: the JSON parses, and its figures make sense.

Runs itself again under LD_PRELOAD.  HAKMEM_LIB is the shared library.
"""

import ctypes
import json
import os
import subprocess
import sys
import tempfile


def report(library, function):
    with tempfile.TemporaryFile() as file:
        status = getattr(library, function)(file.fileno())
        assert status == 0, f"{function}: {status}"
        file.seek(0)
        return file.read().decode("ascii")


def numbers(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from ((f"{key}.{name}" if name else key, number) for name, number in numbers(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield "", value


def inside():
    library = ctypes.CDLL(os.environ["HAKMEM_LIB"])
    held = [bytearray(n % 5000 + 600) for n in range(5000)] + [bytearray(32 << 20)]

    def unique(pairs):
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), f"a name twice in {names}"
        return dict(pairs)

    text = report(library, "hak_stats_json")
    parsed = json.loads(text, object_pairs_hook=unique)
    assert isinstance(parsed, dict), text[:200]
    figures = dict(numbers(parsed))
    negative = {name: number for name, number in figures.items() if number < 0}
    assert not negative, negative

    def figure(name):
        found = [number for key, number in figures.items() if key.split(".")[-1] == name]
        assert found, f"{name} is not in the report: {sorted(figures)}"
        return max(found)

    block_bytes = sum(len(block) for block in held)
    assert figure("mapped_bytes") >= block_bytes, (figure("mapped_bytes"), block_bytes)
    assert figure("committed_bytes") <= figure("mapped_bytes")
    assert figure("in_use_bytes") > 0
    ledger = dict(parsed["ledger"])
    resident, untouched = ledger.pop("resident_bytes"), ledger.pop("untouched_bytes")
    assert resident == sum(ledger.values()) - untouched, parsed["ledger"]
    assert block_bytes <= ledger["live_bytes"] and resident >= block_bytes * 9 // 10, parsed["ledger"]
    classes = parsed["classes"]
    sizes = [one["block_bytes"] for one in classes]
    assert sizes and sizes == sorted(set(sizes)) and all(one["slab_bytes"] >= one["free_bytes"] for one in classes), classes
    assert sum(one["free_bytes"] for one in classes) == parsed["slab_free_bytes"], (classes, parsed["slab_free_bytes"])
    assert report(library, "hak_stats_print").strip(), "the text report is empty"
    assert library.hak_check() == 0
    print("report: ok,", len(figures), "figures")


def main():
    if len(sys.argv) > 1:
        inside()
        return 0
    library = os.environ.get("HAKMEM_LIB")
    if not library:
        print("set HAKMEM_LIB to the path of libhakmem.so")
        return 1
    # PYTHONMALLOC: Python's own pools out of the way.
    again = dict(os.environ, LD_PRELOAD=library, PYTHONMALLOC="malloc")
    return subprocess.run([sys.executable, __file__, "inside"], env=again, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
