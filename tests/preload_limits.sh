#!/usr/bin/env bash
# Programs under limits on address space and data, and what the library costs a program that does next to nothing.
# HAKMEM_LIB is the shared library.
set -u
export LC_ALL=C
: "${HAKMEM_LIB:?set HAKMEM_LIB to the path of libhakmem.so}"
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# Runs the command under the library, in a subshell with the given ulimit; the output must be as expected.
#   expect NAME EXPECTED "ulimit arguments" COMMAND...
expect() {
    local name=$1 expected=$2 limit=$3 output status
    shift 3
    # shellcheck disable=SC2086
    output=$(
        ulimit -c 0
        [ -z "$limit" ] || ulimit $limit || exit 99
        exec env LD_PRELOAD="$HAKMEM_LIB" "$@" 2>&1
    )
    status=$?
    if [ $status -ne 0 ] || [ "$output" != "$expected" ]; then
        fail "$name: status $status, output '$output', expected '$expected'"
    else
        echo "ok: $name"
    fi
}

python=$(python3 -c 'import sys; print(sys.executable)') || { echo "python3 is missing"; exit 1; }
true_program=$(type -P true) cat_program=$(type -P cat)

for limit in "-v 65536" "-d 65536" "-v 65536 -d 32768" "-s 256" "-n 16"; do
    expect "true under ulimit $limit" "" "$limit" "$true_program"
    expect "python3 under ulimit $limit" "499500" "$limit" "$python" -I -S -c 'print(sum(range(1000)))'
done

# Out of memory is an exception, and the program goes on: with limits on address space, and on data.
exhaust='
held = []
try:
    while True:
        held.append(bytearray(1 << 20))
except MemoryError:
    count = len(held)
    del held
    small = [str(i) for i in range(20000)]
    assert 4 <= count <= 256, count
    print("went on", len(small), len(bytearray(2 << 20)))
'
exhaust_small='
held = []
try:
    while True:
        held.append([None] * 50)
except MemoryError:
    count = len(held)
    held = None
    print("went on", count > 10000, len([str(i) for i in range(20000)]))
'
for limit in "-v 131072" "-d 131072"; do
    expect "MemoryError under ulimit $limit" "went on 20000 2097152" "$limit" "$python" -I -S -c "$exhaust"
    expect "MemoryError with small blocks under ulimit $limit" "went on True 20000" "$limit" \
        env PYTHONMALLOC=malloc "$python" -I -S -c "$exhaust_small"
done

# Threads under an address space limit: their heaps must be modest too.
threads='
import threading
def body():
    for _ in range(50):
        [bytearray(n) for n in range(0, 3000, 7)]
threading.stack_size(256 * 1024)
all = [threading.Thread(target=body) for _ in range(16)]
for t in all: t.start()
for t in all: t.join()
print("threads done")
'
expect "16 threads under ulimit -v 131072" "threads done" "-v 131072" env PYTHONMALLOC=malloc "$python" -I -c "$threads"

# A figure in KiB from /proc/self/status of a trivial program: the median of nine runs.
#   figure NAME PRELOAD
figure() {
    for _ in 1 2 3 4 5 6 7 8 9; do
        env ${2:+LD_PRELOAD="$2"} "$cat_program" /proc/self/status | awk -v name="$1:" '$1 == name { print $2 }'
    done | sort -n | sed -n 5p
}

vm=$(figure VmSize "$HAKMEM_LIB")
peak=$(figure VmPeak "$HAKMEM_LIB")
rss=$(figure VmHWM "$HAKMEM_LIB")
system_rss=$(figure VmHWM "")
anonymous=$(figure RssAnon "$HAKMEM_LIB")
system_anonymous=$(figure RssAnon "")
echo "trivial program: VmSize $vm KiB, VmPeak $peak KiB, RSS $rss KiB (system $system_rss)," \
    "anonymous $anonymous KiB (system $system_anonymous)"
[ "$vm" -lt 65536 ] || fail "VmSize of a trivial program is $vm KiB, the limit 65536"
[ "$peak" -lt 65536 ] || fail "VmPeak of a trivial program is $peak KiB, the limit 65536"
[ "$rss" -le $((system_rss + 512)) ] || fail "RSS of a trivial program is $rss KiB, the system's $system_rss + 512 allowed"

# Strange but legal surroundings.
expect "an empty environment" "" "" env -i LD_PRELOAD="$HAKMEM_LIB" "$true_program"
expect "preloaded twice" "" "" env LD_PRELOAD="$HAKMEM_LIB:$HAKMEM_LIB" "$true_program"
expect "all standard streams closed" "" "" bash -c "exec $true_program <&- >&- 2>&-"
expect "LD_BIND_NOW" "" "" env LD_BIND_NOW=1 "$true_program"

[ $failures -eq 0 ] || { echo "preload_limits: $failures failures"; exit 1; }
echo "preload_limits: ok"
