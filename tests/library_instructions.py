#!/usr/bin/env python3
"""The fast paths of malloc and free, read from the library's machine code.

Follows HAKMEM_LIB's malloc and free from their first instruction to ret with every conditional jump to a cold part not taken, as a
cached block goes.  On the way there may be no call, no push, no locked instruction and no jump elsewhere.  The numbers of
instructions are those of golden/instructions.x86_64; the file speaks of gcc's release build, and other builds only have to keep the
shape.  HK_TEST_SOURCE and HK_TEST_BUILD are the source and the build directory.
"""

import os
import platform
import re
import subprocess
import sys

LONGEST = 100  # more instructions than this are no fast path


def run(*command):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HAKMEM_")}
    environment["LC_ALL"] = "C"
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def symbol_address(library, name):
    for line in run("nm", "--dynamic", "--defined-only", library).splitlines():
        address, kind, symbol = line.split()
        if symbol.split("@")[0] == name:
            assert kind in "TW", f"{name} is no function: {line}"
            return int(address, 16)
    raise AssertionError(f"{library} has no {name}")


def instructions(library, start):
    """(address, text) from start on."""
    output = run("objdump", "--disassemble", "--no-show-raw-insn", f"--start-address={start:#x}",
                 f"--stop-address={start + 1024:#x}", library)
    found = re.findall(r"^\s*([0-9a-f]+):\t(.*)$", output, re.MULTILINE)
    assert found and int(found[0][0], 16) == start, output[:400]
    return [(int(address, 16), text.split("#")[0].strip()) for address, text in found]


def fast_path(library, name):
    path = []
    for address, text in instructions(library, symbol_address(library, name)):
        words = text.split()
        prefixed = words[0] in ("notrack", "bnd", "rep", "repz") and len(words) > 1
        mnemonic = words[1] if prefixed else words[0]
        path.append(text)
        where = f"{name} at {address:#x}: '{text}'"
        shown = "\n  ".join(path)
        assert not re.match(r"call|push|pop|enter|leave|syscall|int\b|cpuid|pause|[lsm]fence", mnemonic), f"{where}\n  {shown}"
        assert not mnemonic.startswith("lock") and "lock" not in words, where
        # xchg with memory locks the bus by itself.
        assert not (mnemonic.startswith("xchg") and "(" in text), where
        assert mnemonic != "jmp", f"{where}: the fast path does not fall through to ret\n  {shown}"
        assert not re.search(r"%rsp|%rbp", text), f"{where}: the stack is used"
        if mnemonic in ("ret", "retq"):
            return path
        if mnemonic.startswith("j"):
            target = re.search(r"\s([0-9a-f]+) <", text + " ")
            assert target and int(target.group(1), 16) != address, where
        assert len(path) < LONGEST, f"{name}: no ret after {LONGEST} instructions"
    raise AssertionError(f"{name}: no ret")


def read_golden(path):
    golden = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                name, count = line.split()
                golden[name] = int(count)
    return golden


def is_gcc_release(library, build):
    """Whether the file's numbers are meant for this build: gcc, -O2, no checks."""
    comment = run("readelf", "--string-dump=.comment", library)
    if "GCC" not in comment or "clang" in comment:
        return False
    try:
        with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as file:
            cache = dict(re.findall(r"^([A-Za-z_]+):[A-Z]+=(.*)$", file.read(), re.MULTILINE))
    except FileNotFoundError:
        return False
    flags = cache.get("CMAKE_C_FLAGS", "") + " " + cache.get("CMAKE_C_FLAGS_RELWITHDEBINFO", "")
    return (cache.get("HK_DEBUG_LEVEL") == "0" and cache.get("HK_SANITIZE", "") == "" and
            cache.get("CMAKE_BUILD_TYPE") == "RelWithDebInfo" and flags.split() == ["-O2", "-g"])


def main():
    if platform.machine() != "x86_64":
        print(f"skipped: {platform.machine()} has no numbers")
        return 77
    library = os.path.realpath(os.environ["HAKMEM_LIB"])
    source = os.environ["HK_TEST_SOURCE"]
    golden = read_golden(os.path.join(source, "tests", "golden", "instructions.x86_64"))
    assert set(golden) == {"malloc", "free"}, golden
    exact = is_gcc_release(library, os.environ.get("HK_TEST_BUILD", ""))
    failures = 0
    for name, expected in sorted(golden.items()):
        path = fast_path(library, name)
        print(f"{name}: {len(path)} instructions, {'expected' if exact else 'the gcc release build has'} {expected}")
        if exact and len(path) != expected:
            print("  " + "\n  ".join(path))
            failures += 1
        # The names of one function are one function.
        assert symbol_address(library, name) == symbol_address(library, f"hak_{name}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
