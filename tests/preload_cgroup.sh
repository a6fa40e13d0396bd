#!/usr/bin/env bash
# A program in a control group with a limit: it needs 24 MiB, in other sizes all the time, and must not be killed.  The limit is what it takes
# as long as the allocator does not look at the group's own: see docs/ASSURANCE.md.  Skipped where no group can be made.
# HAKMEM_LIB is the shared library.
set -u
: "${HAKMEM_LIB:?set HAKMEM_LIB to the path of libhakmem.so}"
limit=$((112 << 20))

if mkdir "/sys/fs/cgroup/memory/hakmem-test-$$" 2>/dev/null; then
    group=/sys/fs/cgroup/memory/hakmem-test-$$ limit_file=memory.limit_in_bytes peak_file=memory.max_usage_in_bytes
elif mkdir "/sys/fs/cgroup/hakmem-test-$$" 2>/dev/null; then
    group=/sys/fs/cgroup/hakmem-test-$$ limit_file=memory.max peak_file=memory.peak
else
    echo "skipped: no control group can be made here"
    exit 77
fi
trap 'rmdir "$group"' EXIT
if ! echo $limit >"$group/$limit_file" 2>/dev/null; then
    echo "skipped: the control group takes no limit"
    exit 77
fi

program='
import random
random.seed(1)
need = 24 << 20
for wave in range(60):
    size = random.choice([100, 1000, 5000, 30000, 70000, 500000, 3000000])
    held = [bytes([wave]) * size for _ in range(need // (size + 33))]
    random.shuffle(held)
    rest = held[: len(held) // 8]
    del held
    assert all(block[0] == wave and block[-1] == wave for block in rest)
    del rest
print("went through")
'
output=$(
    echo $BASHPID >"$group/cgroup.procs" || exit 99
    exec env LD_PRELOAD="$HAKMEM_LIB" PYTHONMALLOC=malloc python3 -s -S -c "$program" 2>&1
)
status=$?
echo "status $status, '$output', peak $(($(cat "$group/$peak_file" 2>/dev/null || echo 0) >> 20)) MiB of $((limit >> 20))"
[ $status -eq 0 ] && [ "$output" = "went through" ] || { echo "preload_cgroup: FAILED"; exit 1; }
